"""Which share of each order line was refunded, when, and did the goods come back?"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import ibis

from upliftlab.data.contracts import REFUND_TYPES
from upliftlab.data.ledger import NET_WINDOWS
from upliftlab.errors import DataError

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from upliftlab.data.order_tables import OrderTables

WITHIN = tuple(f"within_{name}" for name in NET_WINDOWS)
PARTS = ("cancelled_part", "returned_part", "ours_part", *WITHIN)
"""Shares of a line's refunds: cancelled before shipping, goods returned, goods ours again by
either way, and paid out within each window."""


def read_refunds(book: OrderTables, lines: ibis.Table) -> ibis.Table | None:
    """Read refunds that moved money, each once; None where nobody knows of refunds.

    Set aside and counted: repeated refunds, exchanges, refunds that were not paid out, and
    refunds of orders that are nowhere.

    Raises:
        DataError: For kinds of refund that nothing reads.
    """
    if not book.has("refunds"):
        book.notes.append("no refunds source: sales are before cancellations and returns")
        return None
    refunds = book.read("refunds", whole=("order_id",))
    refunds = book.once(_with_kinds(book, refunds), "refund_id", "refunds")
    refunds = book.without(
        refunds,
        refunds["type"] == "exchange",
        source="refunds",
        rule="exchanged; the sale stands",
    )
    refunds = book.without(
        refunds,
        refunds["refunded_at"].isnull(),
        source="refunds",
        rule="not paid out: without a time of refund",
    )
    if book.plan.as_of is not None:
        refunds = book.without(
            refunds,
            refunds["refunded_at"] > book.plan.as_of,
            source="refunds",
            rule="later than the moment up to which the data speak",
        )
    return _of_known_orders(book, refunds, lines)


def beside(lines: ibis.Table, refunds: ibis.Table) -> ibis.Table:
    """Put each line's refunded share beside it, and what kind of refund it was.

    Refunds that name a line concern the line; others the whole order, of which every line
    gets the same share.
    """
    levels = []
    if {"line_id"} <= set(refunds.columns) & set(lines.columns):
        named = refunds["line_id"].notnull()
        levels.append(("line_id", refunds.filter(named)))
        levels.append(("order_id", refunds.filter(~named)))
    else:
        levels.append(("order_id", refunds))
    table = lines
    for key, rows in levels:
        table = _joined(table, rows, key)
    shares = [table[f"share by {key}"] for key, _ in levels]
    total = reduce(lambda one, two: one + two, shares)
    marks: dict[str, Any] = {"refunded_share": ibis.least(1.0, total)}
    marks["over_refunded"] = (total > 1 + 1e-9).ifelse(1, 0)
    for part in PARTS:
        weighed = [table[f"share by {key}"] * table[f"{part} by {key}"] for key, _ in levels]
        summed = reduce(lambda one, two: one + two, weighed)
        marks[part] = (total > 0).ifelse(summed / total, 0.0)
    marked = table.mutate(**marks)
    return marked.drop(*[name for name in marked.columns if " by " in name])


def _joined(lines: ibis.Table, refunds: ibis.Table, key: str) -> ibis.Table:
    """Add up the refunds of one key and take them as shares of what was paid under it."""
    paid = lines.group_by(key).agg(
        paid_at=lines["paid_at"].min(), cash=lines["cash"].sum(), qty=lines["qty"].sum()
    )
    sums = _sums(refunds.join(paid.rename(paid_qty="qty"), key), key)
    by_cash = sums["refunded"] / sums["cash"].cast("float64")
    by_qty = ibis.least(1.0, sums["refund_qty"] / sums["paid_qty"])
    whole = ((sums["refund_qty"] > 0) & (sums["paid_qty"] > 0)).ifelse(by_qty, 1.0)
    known = (sums["without_amount"] == 0) & (sums["cash"] > 0)
    share = known.ifelse(by_cash, whole)
    weighed_by_money = (sums["without_amount"] == 0) & (sums["refunded"] > 0)
    parts = {
        part: weighed_by_money.ifelse(
            sums[f"money {part}"] / sums["refunded"].cast("float64"),
            sums[f"rows {part}"] / sums["rows"].cast("float64"),
        )
        for part in PARTS
    }
    shares = sums.select(key, share=share, **parts)
    joined = lines.left_join(shares, key, rname="{name}_right").drop(f"{key}_right")
    values = {f"{name} by {key}": joined[name].fill_null(0.0) for name in ("share", *PARTS)}
    return joined.mutate(**values).drop("share", *PARTS)


def _sums(refunds: ibis.Table, key: str) -> ibis.Table:
    late = refunds["refunded_at"] - refunds["paid_at"]
    tests: dict[str, ir.BooleanValue] = {
        "cancelled_part": refunds["type"] == "cancel_preship",
        "returned_part": refunds["type"].isin(("return_refund", "partial")),
        "ours_part": refunds["type"].isin(("cancel_preship", "return_refund", "partial")),
        **{f"within_{name}": late <= seconds for name, seconds in NET_WINDOWS.items()},
    }
    amount = refunds["amount"].fill_null(0)
    sums: dict[str, Any] = {
        "refunded": amount.sum(),
        "rows": ibis._.count(),
        "without_amount": refunds["amount"].isnull().ifelse(1, 0).sum(),
        "refund_qty": refunds["qty"].fill_null(0.0).sum(),
        "cash": refunds["cash"].max(),
        "paid_qty": refunds["paid_qty"].max(),
    }
    for part, test in tests.items():
        sums[f"money {part}"] = test.ifelse(amount, 0).sum()
        sums[f"rows {part}"] = test.ifelse(1, 0).sum()
    return refunds.group_by(key).agg(**sums)


def _with_kinds(book: OrderTables, refunds: ibis.Table) -> ibis.Table:
    """Give every refund one of our kinds, an amount and a quantity, perhaps missing."""
    missing = {
        name: ibis.null(kind)
        for name, kind in (("amount", "int64"), ("qty", "float64"))
        if name not in refunds.columns
    }
    refunds = refunds.mutate(**missing) if missing else refunds
    if "type" not in refunds.columns:
        book.notes.append("refunds have no type: all count as returned goods")
        return refunds.mutate(type=ibis.literal("return_refund"))
    words = {word: kind for kind, words in REFUND_TYPES.items() for word in words}
    found = book.engine.rows(refunds.select("type").distinct())
    strangers = {row["type"] for row in found if row["type"] is not None} - words.keys()
    if strangers:
        raise DataError.unknown_label(strangers, "type", "refunds", list(REFUND_TYPES))
    kinds = [
        (refunds["type"].isin(words), kind)
        for kind, words in REFUND_TYPES.items()
        if kind != "return_refund"
    ]
    return refunds.mutate(type=ibis.cases(*kinds, else_="return_refund"))


def _of_known_orders(book: OrderTables, refunds: ibis.Table, lines: ibis.Table) -> ibis.Table:
    """Set refunds aside whose order, or line, is in no order line at all."""
    known = lines.select("order_id").distinct().mutate(_known=ibis.literal(1))
    joined = refunds.left_join(known, "order_id").drop("order_id_right")
    stranger = joined["_known"].isnull()
    if {"line_id"} <= set(refunds.columns) & set(lines.columns):
        ids = lines.select("line_id").distinct().mutate(_line=ibis.literal(1))
        joined = joined.left_join(ids, "line_id").drop("line_id_right")
        stranger = joined["_known"].isnull() | (
            joined["line_id"].notnull() & joined["_line"].isnull()
        )
    kept = book.without(
        joined, stranger, source="refunds", rule="of orders that no order line has"
    )
    return kept.drop(*[name for name in ("_known", "_line") if name in kept.columns])
