"""How do order lines, refunds and events become components of each unit's windows?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis

from upliftlab.components import at
from upliftlab.data import ledger
from upliftlab.data.ledger import DAY
from upliftlab.data.prepared import SetAside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.data.order_tables import OrderTables

ORDER_FLAGS = (
    "line_shipped",
    "line_cancelled",
    "line_returned",
    "line_kept",
    "line_over_refunded",
)
SUMMED_ORDERS = (
    "orders",
    "orders_shipped",
    "orders_cancelled",
    "orders_returned",
    "orders_kept",
    "orders_redeemed",
    "redeemed_sales",
)


def placed(book: OrderTables, lines: ibis.Table, units: ibis.Table) -> ibis.Table:
    """Keep the lines that assigned units paid within the longest window; count the others.

    Args:
        book: Where rows that are set aside are counted.
        lines: Priced order lines with ``unit`` and ``paid_at``.
        units: Assigned units with ``assigned_at``.
    """
    horizon, as_of = book.plan.windows[-1], book.plan.as_of
    joined = lines.left_join(units.select("unit", "assigned_at"), "unit").drop("unit_right")
    joined = book.engine.materialise(joined, "clocked")
    unit, paid, assigned = joined["unit"], joined["paid_at"], joined["assigned_at"]
    age = paid - assigned
    known = unit.notnull() & paid.notnull()
    unborn = ibis.literal(False) if as_of is None else (paid > as_of).fill_null(False)
    inside = assigned.notnull() & known & ~unborn
    rules = {
        "without a customer id": unit.isnull(),
        "never paid": unit.notnull() & paid.isnull(),
        "paid by customers who are not in the test": known & assigned.isnull(),
        "later than the moment up to which the data speak": known & assigned.notnull() & unborn,
        "paid before the customer was assigned": inside & (age < 0),
        f"paid later than {horizon} days after assignment": inside & (age >= horizon * DAY),
    }
    counts = book.engine.one(
        joined.aggregate(
            **{f"c{i}": test.ifelse(1, 0).sum() for i, test in enumerate(rules.values())}
        )
    )
    book.aside += [
        SetAside(source="order_lines", rule=rule, rows=int(counts[f"c{i}"]))
        for i, rule in enumerate(rules)
        if counts[f"c{i}"]
    ]
    return joined.filter(inside & (age >= 0) & (age < horizon * DAY))


def by_unit(
    lines: ibis.Table, *, windows: Sequence[int], headline: int, one_line_each: bool
) -> tuple[ibis.Table, tuple[str, ...]]:
    """Add up line components per unit and window.

    Args:
        lines: One row per line with components, ``unit``, ``order_id``, ``paid_at`` and
            ``assigned_at``.
        windows: Days from assignment, ascending.
        headline: The one of them that the verdict is about.
        one_line_each: Whether every order has one line, which saves a step.

    Returns:
        One row per unit that ordered, and the names of its components.
    """
    fixed = {"unit", "order_id", "paid_at", "assigned_at", *ORDER_FLAGS}
    sums = [name for name in lines.columns if name not in fixed]
    orders = lines if one_line_each else _orders(lines, sums)
    flags: dict[str, Any] = {
        "orders": ibis.literal(1),
        "orders_shipped": orders["line_shipped"],
        "orders_cancelled": orders["line_cancelled"],
        "orders_returned": orders["line_returned"],
        "orders_kept": orders["line_kept"],
        "orders_redeemed": (orders["merchant_coupon"] + orders["platform_coupon"] > 0).ifelse(
            1, 0
        ),
    }
    flags["redeemed_sales"] = flags["orders_redeemed"] * orders["gmv_platform"]
    orders = orders.mutate(**flags, _age=orders["paid_at"] - orders["assigned_at"])
    columns: dict[str, Any] = {}
    for days in windows:
        inside = orders["_age"] < days * DAY
        shown = sums if days == headline else [c for c in sums if c not in ledger.NET_WINDOWS]
        for name in (*shown, *SUMMED_ORDERS):
            columns[at(name, days)] = inside.ifelse(orders[name], 0).sum().cast("int64")
        columns[at("buyers", days)] = inside.ifelse(1, 0).max()
        columns[at("kept_buyers", days)] = inside.ifelse(orders["orders_kept"], 0).max()
        columns[at("redeemers", days)] = inside.ifelse(orders["orders_redeemed"], 0).max()
    short = windows[0]
    if short < headline:
        early = (orders["_age"] < short * DAY).ifelse(1, 0).max()
        again = orders["_age"].between(short * DAY, headline * DAY - 1).ifelse(1, 0).max()
        columns[at("came_back", headline)] = early * again
    return orders.group_by("unit").agg(**columns), tuple(columns)


def _orders(lines: ibis.Table, sums: Sequence[str]) -> ibis.Table:
    """Add up the lines of an order: shipped if any line was, cancelled if all were."""
    return lines.group_by(["unit", "order_id"]).agg(
        paid_at=lines["paid_at"].min(),
        assigned_at=lines["assigned_at"].min(),
        line_shipped=lines["line_shipped"].max(),
        line_cancelled=lines["line_cancelled"].min(),
        line_returned=lines["line_returned"].max(),
        line_kept=lines["line_kept"].max(),
        **{name: lines[name].sum() for name in sums},
    )
