"""What did each creator sell, keep and cost in each period, from orders, refunds and spend?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import ibis

from upliftlab.data import ledger, refunds, tables
from upliftlab.data.contracts import Column, Contract
from upliftlab.data.creator_terms import compared
from upliftlab.data.order_tables import OrderTables
from upliftlab.data.panel_calendar import DATED, EPOCH, opening
from upliftlab.data.plan import Plan
from upliftlab.errors import DataError
from upliftlab.plan.sources import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.data.engine import Engine
    from upliftlab.data.prepared import SetAside

SHANGHAI = 28_800
DAY = 86_400

AD_SPEND = Contract(
    source="ad_spend",
    columns=(
        Column(name="unit", kind="id", aliases=("creator_id",)),
        Column(name="date", kind="time", required=True, aliases=("day", "at")),
        Column(
            name="spend", kind="money", required=True, aliases=("spend_fen", "cost", "cost_fen")
        ),
    ),
)

ROSTER = Contract(
    source="roster",
    columns=(
        Column(name="unit", kind="id", required=True, aliases=("creator_id",)),
        Column(name="cluster", kind="id", aliases=("cluster_id", "mcn_id", "agency_id")),
        Column(name="start", kind="any", aliases=("starts_on", "cohort", "wave")),
        Column(name="weight", kind="number"),
    ),
)

ORDER_COUNTS = {
    "orders_shipped": "line_shipped",
    "orders_cancelled": "line_cancelled",
    "orders_returned": "line_returned",
    "orders_kept": "line_kept",
}

OUTSIDE, NOBODY = "outside the roster", "without a creator"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPanel:
    """Orders as a long table, one row per unit and period, and what belongs to no unit.

    Attributes:
        table: ``unit``, ``period`` (its first day), components; ``cluster``, ``start`` and
            ``weight`` where the roster has them. Every unit has every period.
        shop: Sales that belong to no unit of the table: ``part``, ``period``, components. Part
            "without a creator" is the shop's own (where spill-over shows), "outside the roster"
            other creators'.
        components: Money in minor units, and counts.
        columns: Keyword arguments by which ``read_panel`` reads ``table``.
        set_aside: Rows not used, by rule.
        notes: What was counted on the way.
    """

    table: ibis.Table
    shop: ibis.Table
    components: tuple[str, ...]
    columns: Mapping[str, Any]
    set_aside: tuple[SetAside, ...]
    notes: tuple[str, ...]


def panel_from_orders(
    engine: Engine,
    given: Mapping[str, object],
    *,
    unit: str = "creator_id",
    period: str = "week",
    first: date | None = None,
    last: date | None = None,
    as_of: int | None = None,
    offset: int = SHANGHAI,
    money: str | None = None,
) -> OrderPanel:
    """Add up order lines, refunds and ad spend per unit and period of payment in shop time.

    A refund is booked in the period of the sale that it takes back. ``gmv_<channel>`` adds up
    to the shop's sales (settlement base) and ``kept_<channel>`` to what is left of them.
    Commission is what the lines' own rates make of kept sales. Units without orders in a
    period are zeros. Nothing is dropped: what belongs to no unit is in ``shop``.

    Args:
        engine: Where rows live or go.
        given: Tables by name: "order_lines"; perhaps "orders" (payment times), "refunds",
            "ad_spend" (by unit and date), "roster" (the units, their cluster and start),
            "creator_terms" (agreed rates by time, to compare with the lines').
        unit: Column of the unit in order lines, spend, roster and terms.
        period: "day", "week", "month", "quarter" or "year".
        first: A day of the first period; the first payment's otherwise.
        last: A day of the last period; the last payment's otherwise.
        as_of: Up to when the data speak, UTC seconds.
        offset: Shop time minus UTC, in seconds.
        money: Unit of money columns whose names do not end in ``_fen``.

    Raises:
        DataError: When a source does not hold what it should.
    """
    if period not in DATED:
        raise DataError(f"period of the panel is {period!r}; it must be one of {list(DATED)}.")
    source = Source(file="given", columns={"unit": unit}, money=money)
    sources = {"order_lines": source}
    if "refunds" in given:
        sources["refunds"] = Source(file="given", money=money)
    book = OrderTables(
        engine=engine,
        sources=sources,
        given=given,
        plan=Plan(arms=(), control="", as_of=as_of),
        how=tables.Reading(offset=offset, minor=100),
    )
    with tables.in_utc(engine):
        return _built(book, source, period, (first, last))


def _built(
    book: OrderTables, source: Source, period: str, ends: tuple[date | None, date | None]
) -> OrderPanel:
    lines = _lines(book)
    spend = _by_contract(book, AD_SPEND, source) if "ad_spend" in book.given else None
    if "creator_terms" in book.given:
        book.notes.extend(compared(book, lines, source))
    days = _periods(book, lines, spend, period, ends)
    facts = _by_order(book, lines)
    names = tuple(c for c in facts.columns if c not in {"unit", "order_id", "paid_at"})
    facts = _dated(book, facts, "paid_at", days, "order_lines")
    sums = facts.group_by("unit", "period").agg(**{name: facts[name].sum() for name in names})
    if spend is not None:
        names = (*names, "ad_spend")
        sums = _with_spend(sums, _dated(book, spend, "date", days, "ad_spend"), names)
    sums = book.engine.materialise(sums, "sums")
    roster = _roster(book, source, sums)
    periods = days.select("period").distinct()
    dense = roster.cross_join(periods)
    joined = dense.left_join(sums, ["unit", "period"])
    filled = {name: joined[name].fill_null(0).cast("int64") for name in names}
    table = joined.mutate(**filled).select(*roster.columns, "period", *names)
    extra = {name: name for name in ("cluster", "start", "weight") if name in roster.columns}
    return OrderPanel(
        table=book.engine.materialise(table, "panel"),
        shop=book.engine.materialise(_shop(sums, roster, periods, names), "shop"),
        components=names,
        columns={
            "unit": "unit",
            "period": "period",
            "components": names,
            "calendar": period,
            "absent": "zero",
            **extra,
        },
        set_aside=tuple(book.aside),
        notes=tuple(book.notes),
    )


def _lines(book: OrderTables) -> ibis.Table:
    """Read order lines with refunds beside them; they need a channel and a time of payment."""
    extra = (Column(name="product_id", kind="id"),)
    lines = book.read("order_lines", extra=extra, whole=("order_id", "channel"))
    lines = book.once(lines, "line_id", "order_lines")
    if "paid_at" not in lines.columns:
        lines = _paid(book, lines)
    if "channel" not in lines.columns:
        raise DataError.missing_column("channel", "source 'order_lines'", lines.columns)
    _refuse_blank_rates(book, lines)
    lines = book.without(
        lines, lines["paid_at"].isnull(), source="order_lines", rule="never paid"
    )
    if book.plan.as_of is not None:
        lines = book.without(
            lines,
            lines["paid_at"] > book.plan.as_of,
            source="order_lines",
            rule="later than the moment up to which the data speak",
        )
    priced = book.engine.materialise(ledger.priced(ledger.funded(lines, stated=None)), "priced")
    _note_lines(book, priced)
    refunded = refunds.read_refunds(book, priced)
    if refunded is None:
        return priced
    return book.engine.materialise(refunds.beside(priced, refunded), "lines")


def _paid(book: OrderTables, lines: ibis.Table) -> ibis.Table:
    if "orders" not in book.given:
        raise DataError.missing_column("paid_at", "source 'order_lines'", lines.columns)
    contract = Contract(
        source="orders",
        columns=(
            Column(name="order_id", kind="id", required=True),
            Column(name="paid_at", kind="time", required=True, aliases=("pay_ts",)),
        ),
    )
    header = book.once(_by_contract(book, contract, None), "order_id", "orders")
    return lines.left_join(header, "order_id").drop("order_id_right")


def _by_contract(book: OrderTables, contract: Contract, source: Source | None) -> ibis.Table:
    """Read a table that only panels have, and check it."""
    name = contract.source
    raw = tables.raw(book.engine, name, None, book.given[name], book.how)
    mapping = dict(source.columns) if source else {}
    if "unit" in mapping and mapping["unit"] not in raw.columns:
        mapping = {}
    money = source.money if source else None
    table = tables.read(raw, contract, mapping=mapping, money=money, how=book.how)
    table = book.engine.materialise(table, name)
    rows, missing = tables.quality(book.engine, table, contract, how=book.how)
    for column in contract.columns:
        if column.required and missing.get(column.name):
            raise DataError.missing_values(
                column.name, name, rows=missing[column.name], of=rows
            )
    return tables.plain(table)


def _refuse_blank_rates(book: OrderTables, lines: ibis.Table) -> None:
    """A blank rate is 0 only where no creator sold."""
    name = "commission_rate_bp"
    if name not in lines.columns:
        book.notes.append("order lines carry no commission rate: commission is not measured")
        return
    blank = lines["unit"].notnull() & lines[name].isnull()
    blank &= lines["channel"].isin(("creator_organic", "creator_ads")).fill_null(False)
    found = book.engine.one(lines.aggregate(rows=ibis._.count(), n=blank.ifelse(1, 0).sum()))
    if found["n"]:
        raise DataError.missing_values(
            name, "order_lines", rows=int(found["n"]), of=int(found["rows"])
        )


def _note_lines(book: OrderTables, lines: ibis.Table) -> None:
    """Count lines of creators' channels that name nobody, and channels of no bucket."""
    known = {each for channels in ledger.CHANNEL_BUCKETS.values() for each in channels}
    nameless = lines["unit"].isnull() & lines["channel"].isin(
        ("creator_organic", "creator_ads")
    )
    found = book.engine.one(
        lines.aggregate(
            nameless=nameless.ifelse(1, 0).sum(),
            strange=lines["channel"].isin(known).ifelse(0, 1).sum(),
        )
    )
    if found["nameless"]:
        book.notes.append(
            f"{int(found['nameless']):,} order lines of creators' channels name no creator; "
            "they stand beside the shop's own sales"
        )
    if found["strange"]:
        book.notes.append(
            f"{int(found['strange']):,} order lines have a channel of no bucket; they count in "
            "sales and in no channel"
        )


def _by_order(book: OrderTables, lines: ibis.Table) -> ibis.Table:
    """Return components per unit and order: gmv and kept by channel, and order counts."""
    buckets = [
        (lines["channel"].isin(channels), i)
        for i, channels in enumerate(ledger.CHANNEL_BUCKETS.values())
    ]
    # The ledger hands `assigned_at` through untouched; a panel has no use for a clock there.
    marked = lines.mutate(assigned_at=ibis.cases(*buckets, else_=-1))
    whole = ledger.components(marked, has_refunds="refunded_share" in lines.columns)
    gmv = {
        name.replace("kept_", "gmv_"): (whole["assigned_at"] == i).ifelse(
            whole["gmv_merchant"], 0
        )
        for i, name in enumerate(ledger.CHANNEL_BUCKETS)
    }
    whole = whole.mutate(**gmv).drop("assigned_at")
    skipped = {"unit", "order_id", "paid_at", "line_over_refunded", *ORDER_COUNTS.values()}
    sums = [name for name in whole.columns if name not in skipped]
    grouped = whole.group_by("unit", "order_id").agg(
        paid_at=whole["paid_at"].min(),
        orders=ibis.literal(1),
        orders_shipped=whole["line_shipped"].max(),
        orders_cancelled=whole["line_cancelled"].min(),
        orders_returned=whole["line_returned"].max(),
        orders_kept=whole["line_kept"].max(),
        **{name: whole[name].sum() for name in sums},
    )
    return book.engine.materialise(grouped, "orders")


def _periods(
    book: OrderTables,
    lines: ibis.Table,
    spend: ibis.Table | None,
    period: str,
    ends: tuple[date | None, date | None],
) -> ibis.Table:
    """Return every day of the panel with the first day of its period."""
    import pyarrow as pa

    found = book.engine.one(lines.aggregate(a=lines["paid_at"].min(), b=lines["paid_at"].max()))
    low, high = found["a"], found["b"]
    if spend is not None:
        more = book.engine.one(spend.aggregate(a=spend["date"].min(), b=spend["date"].max()))
        low, high = min(low, more["a"]), max(high, more["b"])
    shop = book.how.offset
    first = ends[0] or EPOCH + timedelta(days=(int(low) + shop) // DAY)
    last = ends[1] or EPOCH + timedelta(days=(int(high) + shop) // DAY)
    if last < first:
        raise DataError(f"the panel ends on {last}, before it begins on {first}.")
    first = opening(first, period)
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    while opening(days[-1] + timedelta(days=1), period) == opening(last, period):
        days.append(days[-1] + timedelta(days=1))
    made = {
        "day": [(d - EPOCH).days for d in days],
        "period": [opening(d, period) for d in days],
    }
    return book.engine.materialise(book.engine.text_table(pa.table(made), "days"), "days")


def _dated(
    book: OrderTables, table: ibis.Table, clock: str, days: ibis.Table, source: str
) -> ibis.Table:
    """Give each row its period; rows outside the panel's days are set aside and counted."""
    day = ((table[clock] + book.how.offset) / DAY).floor().cast("int64")
    joined = table.mutate(day=day).left_join(days, "day")
    return book.without(
        joined, joined["period"].isnull(), source=source, rule="outside the panel's periods"
    )


def _with_spend(sums: ibis.Table, spend: ibis.Table, names: tuple[str, ...]) -> ibis.Table:
    """Add spend per unit and period; a unit may spend without selling."""
    none = ibis.literal(0, "int64")
    one = sums.mutate(ad_spend=none)
    two = spend.select(
        "unit", "period", **{n: none for n in names if n != "ad_spend"}, ad_spend=spend["spend"]
    )
    both = ibis.union(
        *(
            t.select("unit", "period", **{n: t[n].cast("int64") for n in names})
            for t in (one, two)
        )
    )
    return both.group_by("unit", "period").agg(
        **{n: both[n].sum().cast("int64") for n in names}
    )


def _roster(book: OrderTables, source: Source, sums: ibis.Table) -> ibis.Table:
    """Return the units of the panel: those of the roster, else those that sold or spent."""
    if "roster" not in book.given:
        book.notes.append("no roster: creators who never sold or spent are not in the panel")
        return sums.filter(sums["unit"].notnull()).select("unit").distinct()
    roster = _by_contract(book, ROSTER, source)
    grouped = roster.group_by("unit").agg(n=ibis._.count())
    found = book.engine.one(
        grouped.filter(grouped["n"] > 1).aggregate(
            n=(ibis._.n - 1).sum(), example=ibis._.unit.min()
        )
    )
    if found["n"]:
        raise DataError.repeated(
            "unit", "roster", rows=int(found["n"]), example=found["example"]
        )
    strangers = sums.filter(sums["unit"].notnull()).anti_join(roster, "unit")
    count = book.engine.one(strangers.aggregate(n=strangers["unit"].nunique()))["n"]
    if count:
        book.notes.append(
            f"{int(count):,} creators sold or spent and are not in the roster; they are in the "
            "shop's table"
        )
    return book.engine.materialise(roster, "roster")


def _shop(
    sums: ibis.Table, roster: ibis.Table, periods: ibis.Table, names: tuple[str, ...]
) -> ibis.Table:
    """Add up what belongs to no unit, by part and period, zeros included."""
    others = sums.anti_join(roster, "unit")
    part = others["unit"].isnull().ifelse(NOBODY, OUTSIDE)
    others = others.mutate(part=part)
    grouped = others.group_by("part", "period").agg(**{n: others[n].sum() for n in names})
    dense = grouped.select("part").distinct().cross_join(periods)
    joined = dense.left_join(grouped, ["part", "period"])
    filled = {name: joined[name].fill_null(0).cast("int64") for name in names}
    return joined.mutate(**filled).select("part", "period", *names)
