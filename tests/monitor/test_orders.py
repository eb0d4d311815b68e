"""Looks at order tables: running totals per unit, whatever the day of their orders."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from upliftlab.experiment import Experiment
from upliftlab.monitor.run import look
from upliftlab.monitor.state import load

PLAN = """
name: orders
kind: smart_coupon
run: {start: 2026-06-01, end: 2026-06-02}
follow_up: 2 days
arms: {none: {share: 50%, control: true}, coupon: {share: 50%, coupon: 5, over: 0}}
costs: {margin: 50%}
covariates: none
looks: {planned: 1000, every: 1 day}
"""


def at(day: int, hour: int) -> pd.Timestamp:
    return pd.Timestamp(f"2026-06-{day:02d} {hour:02d}:00", tz="Asia/Shanghai")


def tables() -> dict[str, pd.DataFrame]:
    """Case T1: units with (day 1, day 2) = (10, 20), (0, 0), (5, -5), (0, 8) yuan.

    Two of them are assigned on the first day, two on the second; control buys nothing but one
    order a day.
    """
    paid = {"t1": [(1, 1000), (2, 2000)], "t3": [(2, 500)], "t4": [(3, 800)]}
    paid |= {"c1": [(1, 300)], "c2": [(2, 300)]}
    units = {"t1": 1, "t2": 1, "c1": 1, "t3": 2, "t4": 2, "c2": 2}
    lines = [
        {"line_id": f"{u}-{d}", "order_id": f"{u}-{d}", "unit": u, "paid_at": at(d, 12),
         "settlement_base_fen": fen, "merchant_coupon_fen": 0}
        for u, orders in paid.items()
        for d, fen in orders
    ]  # fmt: skip
    return {
        "assignments": pd.DataFrame(
            [
                {"unit": u, "arm": "coupon" if u[0] == "t" else "none", "assigned_at": at(d, 9)}
                for u, d in units.items()
            ]
        ),
        "order_lines": pd.DataFrame(lines),
        "refunds": pd.DataFrame(
            [
                {"refund_id": "r1", "order_id": "t3-2", "amount_fen": 500,
                 "type": "return_refund", "refunded_at": at(3, 12)}
            ]
        ),
    }  # fmt: skip


def test_merged_looks_have_the_variance_of_units(tmp_path):
    """Case T1: 201.0; days as units give 61.929, daily variances added 141.833."""
    state = tmp_path / "looks.npz"
    plan = Experiment.from_text(PLAN)
    one = look(plan, tables(), state=state, as_of=date(2026, 6, 3))
    assert one.now.n == {"none": 1, "coupon": 2}
    two = look(plan, tables(), state=state, as_of=date(2026, 6, 4))
    assert two.now.n == {"none": 2, "coupon": 4}

    cells = load(state).cells
    kept = cells.select(["kept_sales@2d"]).collapse(["arm"]).where(arm="coupon")
    assert len(cells.levels("day")) == 2
    assert kept.mean[0, 0] == pytest.approx(950.0)
    assert kept.m2[0, 0, 0] / (kept.n[0] - 1) == pytest.approx(201.0 * 100**2)


def test_looks_at_orders_equal_one_reading(tmp_path):
    """The cells of two looks and of one reading of both days are the same."""
    plan = Experiment.from_text(PLAN)
    for name, days in (("two", (3, 4)), ("one", (4,))):
        for day in days:
            look(plan, tables(), state=tmp_path / name, as_of=date(2026, 6, day))
    one, two = (load(tmp_path / name).cells for name in ("one", "two"))
    names = sorted({*one.names, *two.names})

    first, second = (
        c.widen([*c.names, *(n for n in names if n not in c.names)]).select(names)
        for c in (one, two)
    )
    assert first.labels == second.labels
    assert second.mean == pytest.approx(first.mean)
    assert second.m2 == pytest.approx(first.m2)
