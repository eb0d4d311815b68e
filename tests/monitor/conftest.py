from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from upliftlab.experiment import Experiment

PLAN = """
name: watched
kind: smart_coupon
run: {start: 2026-06-01, end: 2026-06-10}
follow_up: 7 days
arms:
  none:   {share: 50%, control: true}
  coupon: {share: 50%, coupon: 20, over: 99}
costs: {margin: 50%}
looks: {planned: 8000, every: 1 day}
"""
DAYS = 10


def unit_table(*, effect: float = 0.0, seed: int = 11, per_day: int = 800) -> pd.DataFrame:
    """Customers with ready sums: one in six bought, for a skewed amount in yuan."""
    rng = np.random.default_rng(seed)
    n = per_day * DAYS
    treated = rng.random(n) < 0.5
    bought = rng.random(n) < 1 / 6
    sales = bought * rng.lognormal(4.5, 0.6, n) + effect * treated * bought
    return pd.DataFrame(
        {
            "unit": [f"u{i:07d}" for i in range(n)],
            "arm": np.where(treated, "coupon", "none"),
            "assigned_at": pd.Timestamp("2026-06-01", tz="Asia/Shanghai")
            + pd.to_timedelta(np.arange(n) // per_day, unit="D")
            + pd.to_timedelta(rng.integers(0, 86_400, n), unit="s"),
            "gmv_merchant_fen": np.round(np.maximum(sales, 0) * 100).astype("int64"),
            "merchant_coupon_fen": np.zeros(n, dtype="int64"),
            "buyers": bought.astype("int64"),
        }
    )


@pytest.fixture
def plan() -> Experiment:
    return Experiment.from_text(PLAN)


@pytest.fixture(scope="session")
def units() -> pd.DataFrame:
    return unit_table()
