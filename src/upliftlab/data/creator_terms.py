"""Do order lines carry the commission rates that were agreed with each creator?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from upliftlab.data import tables
from upliftlab.data.contracts import Column, Contract
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.data.engine import Engine
    from upliftlab.data.order_tables import OrderTables
    from upliftlab.plan.sources import Source

FOREVER = 2**53
"""A second that no clock reaches: the end of terms without one."""

SOURCE = "creator_terms"

CREATOR_TERMS = Contract(
    source=SOURCE,
    columns=(
        Column(name="unit", kind="id", required=True, aliases=("creator_id",)),
        Column(name="product_id", kind="id"),
        Column(name="valid_from", kind="time", required=True),
        Column(name="valid_to", kind="time"),
        Column(name="organic_bp", kind="rate", required=True),
        Column(name="ads_bp", kind="rate"),
    ),
)


def compared(book: OrderTables, lines: ibis.Table, source: Source) -> tuple[str, ...]:
    """Count lines whose rate is not the agreed one, and lines without any terms.

    Terms hold from ``valid_from`` until just before ``valid_to``; terms of the product come
    before those of all products. Ads lines have ``ads_bp`` where it is agreed.

    Raises:
        DataError: For terms of one creator and product that overlap.
    """
    if "commission_rate_bp" not in lines.columns:
        return ()
    raw = tables.raw(book.engine, SOURCE, None, book.given[SOURCE], book.how)
    terms = read_terms(book.engine, raw, source.columns, book.how)
    sold = lines["channel"].isin(("creator_organic", "creator_ads")) & lines["unit"].notnull()
    sold = lines.filter(sold).mutate(_row=ibis.row_number())
    keys = [c for c in ("product_id",) if c in lines.columns]
    sold = sold.select("_row", "unit", "paid_at", "channel", "commission_rate_bp", *keys)
    sold = book.engine.materialise(sold, "sold")
    fits = [
        terms["valid_from"] <= sold["paid_at"],
        sold["paid_at"] < terms["valid_to"],
        terms["product_id"].isnull() | (terms["product_id"] == sold["product_id"])
        if keys
        else terms["product_id"].isnull(),
    ]
    joined = sold.left_join(terms, [sold["unit"] == terms["unit"], *fits], rname="{name}_term")
    ads = joined["channel"] == "creator_ads"
    agreed = ads.ifelse(joined["ads_bp"].fill_null(joined["organic_bp"]), joined["organic_bp"])
    named = "product_id_term" if keys else "product_id"
    special = joined[named].notnull().ifelse(1, 0)
    best = (
        joined.mutate(agreed=agreed, special=special)
        .group_by("_row")
        .agg(rate=ibis._.commission_rate_bp.max(), agreed=ibis._.agreed.argmax(ibis._.special))
    )
    found = book.engine.one(
        best.aggregate(
            lines=ibis._.count(),
            lost=best["agreed"].isnull().ifelse(1, 0).sum(),
            wrong=(best["agreed"] != best["rate"]).fill_null(False).ifelse(1, 0).sum(),
        )
    )
    of = f"of {int(found['lines']):,} creators' order lines"
    notes = []
    if found["wrong"]:
        notes.append(
            f"{int(found['wrong']):,} {of} carry another commission rate than the terms "
            "agreed; commission is counted as booked"
        )
    if found["lost"]:
        notes.append(f"{int(found['lost']):,} {of} were paid when no terms were in force")
    return tuple(notes)


def read_terms(
    engine: Engine, raw: ibis.Table, columns: Mapping[str, str], how: tables.Reading
) -> ibis.Table:
    """Read terms: whose, of which product, from when until when, and rates in basis points.

    Args:
        engine: Where rows live.
        raw: The table as it is.
        columns: Our column -> theirs.
        how: How dates are read.

    Raises:
        DataError: For terms of one creator and product that overlap, or lack what they need.
    """
    # Terms that never end, or hold for all products, leave columns without a type.
    raw = raw.drop(*[name for name in raw.columns if raw[name].type().is_null()])
    mapping = {k: v for k, v in columns.items() if v in raw.columns}
    table = tables.read(raw, CREATOR_TERMS, mapping=mapping, money=None, how=how)
    table = engine.materialise(table, "terms")
    rows, missing = tables.quality(engine, table, CREATOR_TERMS, how=how)
    for name in ("unit", "valid_from", "organic_bp"):
        if missing.get(name):
            raise DataError.missing_values(name, SOURCE, rows=missing[name], of=rows)
    table = tables.plain(table)
    given = set(table.columns)
    table = table.mutate(
        product_id=table["product_id"] if "product_id" in given else ibis.null("string"),
        ads_bp=table["ads_bp"] if "ads_bp" in given else ibis.null("float64"),
        valid_to=(table["valid_to"] if "valid_to" in given else ibis.null("int64")).fill_null(
            FOREVER
        ),
    )
    window = ibis.window(group_by=["unit", "product_id"], order_by=["valid_from", "valid_to"])
    later = table.mutate(next_from=table["valid_from"].lead().over(window))
    clash = later.filter(later["next_from"] < later["valid_to"])
    found = engine.one(clash.aggregate(n=ibis._.count(), example=ibis._.unit.min()))
    if found["n"]:
        raise DataError(
            f"{int(found['n']):,} terms in 'creator_terms' reach into the next terms of the "
            f"same creator and product, such as those of {found['example']!r}; end each before "
            "the next begins."
        )
    return table
