"""Sample sizes from simulated customers whose outcome under every depth is known.

The full study, on four million customers, is in benchmarks/design_power.py; here 260,000 pin
the spread, and the effects are the known ones.
"""

from __future__ import annotations

import pytest

from upliftlab.simulate import SmartCoupon, draw
from upliftlab.simulate.truths import unit_outcomes
from upliftlab.stats.power import TwoMeans

DEEP = 3
"""Position of the 20 yuan coupon among the depths."""


@pytest.fixture(scope="module")
def customers():
    """Outcomes in yuan or counts under every depth."""
    drawn = draw(SmartCoupon(customers=260_000, seed=31))
    names = ("conversion", "gmv_merchant_14d", "profit_14d")
    return {name: unit_outcomes(drawn, name) for name in names}


@pytest.mark.parametrize(
    ("name", "effect", "low", "high"),
    [("conversion", 0.0164, 4_800, 4_900), ("gmv_merchant_14d", 1.137, 18_300, 19_000)],
)
def test_early_metrics_need_thousands(customers, name, effect, low, high):
    """Within 10 % of the reference for depth 20, at its known effect."""
    y = customers[name]
    n = TwoMeans(sd=y[:, 0].std(), sd_t=y[:, DEEP].std()).size(effect)

    assert 0.9 * low <= n <= 1.1 * high
    assert float((y[:, DEEP] - y[:, 0]).mean()) == pytest.approx(effect, rel=0.2)


def test_profit_needs_many_times_as_many(customers):
    """With the known effect of -0.155 yuan: 132,000 to 140,000 an arm for 14 days."""
    y = customers["profit_14d"]
    n = TwoMeans(sd=y[:, 0].std(), sd_t=y[:, DEEP].std()).size(-0.155)

    assert 0.9 * 132_000 <= n <= 1.1 * 140_000


def test_a_shallow_coupon_needs_millions(customers):
    """The known effect of depth 5, 0.031 yuan over 14 days: no realistic test."""
    y = customers["profit_14d"]
    n = TwoMeans(sd=y[:, 0].std(), sd_t=y[:, 1].std()).size(0.031)

    assert 2_500_000 < n < 4_500_000
