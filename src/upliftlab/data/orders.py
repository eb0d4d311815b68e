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

    from upliftlab.data.engine import Engine

ORDER_FLAGS = ("line_shipped", "line_cancelled", "line_returned", "line_kept")
SUMMED_ORDERS = (
    "orders",
    "orders_shipped",
    "orders_cancelled",
    "orders_returned",
    "orders_kept",
    "orders_redeemed",
    "redeemed_sales",
)


def placed(
    engine: Engine, lines: ibis.Table, units: ibis.Table, horizon: int
) -> tuple[ibis.Table, tuple[SetAside, ...]]:
    """Keep the lines that assigned units paid within the longest window.

    Args:
        engine: Where the rows live.
        lines: Priced order lines with ``unit`` and ``paid_at``.
        units: Assigned units with ``assigned_at``.
        horizon: Longest window in days.
    """
    clock = units.select("unit", "assigned_at")
    joined = lines.left_join(clock, "unit")
    joined = joined.drop(*[c for c in joined.columns if c.endswith("_right")])
    age = joined["paid_at"] - joined["assigned_at"]
    in_test = joined["assigned_at"].notnull()
    counts = engine.one(
        joined.aggregate(
            nobody=joined["unit"].isnull().ifelse(1, 0).sum(),
            unpaid=(joined["unit"].notnull() & joined["paid_at"].isnull()).ifelse(1, 0).sum(),
            other=(
                joined["unit"].notnull() & joined["paid_at"].notnull() & ~in_test
            ).ifelse(1, 0).sum(),
            early=(in_test & (age < 0)).ifelse(1, 0).sum(),
            late=(in_test & (age >= horizon * DAY)).ifelse(1, 0).sum(),
        )
    )
    rules = {
        "nobody": "without a customer id",
        "unpaid": "never paid",
        "other": "paid by customers who are not in the test",
        "early": "paid before the customer was assigned",
        "late": f"paid later than {horizon} days after assignment",
    }
    aside = tuple(
        SetAside(source="order_lines", rule=rule, rows=int(counts[name] or 0))
        for name, rule in rules.items()
        if counts[name]
    )
    inside = (age >= 0) & (age < horizon * DAY)
    return joined.filter(inside.fill_null(False)), aside


def by_unit(
    lines: ibis.Table, *, windows: Sequence[int], one_line_each: bool
) -> tuple[ibis.Table, tuple[str, ...]]:
    """Add up line components per unit and window.

    Args:
        lines: One row per line with components, ``unit``, ``order_id``, ``paid_at`` and
            ``assigned_at``.
        windows: Days from assignment, ascending; the last is the headline.
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
        shown = sums if days == windows[-1] else [c for c in sums if c not in ledger.NET_WINDOWS]
        for name in (*shown, *SUMMED_ORDERS):
            columns[at(name, days)] = inside.ifelse(orders[name], 0).sum().cast("int64")
        columns[at("buyers", days)] = inside.ifelse(1, 0).max()
        columns[at("kept_buyers", days)] = inside.ifelse(orders["orders_kept"], 0).max()
        columns[at("redeemers", days)] = inside.ifelse(orders["orders_redeemed"], 0).max()
    if len(windows) > 1:
        short, long = windows[0], windows[-1]
        early = (orders["_age"] < short * DAY).ifelse(1, 0).max()
        again = orders["_age"].between(short * DAY, long * DAY - 1).ifelse(1, 0).max()
        columns[at("came_back", long)] = early * again
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
