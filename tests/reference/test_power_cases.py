"""Sample sizes and smallest effects that other programs and books print.

Sources, by case: G*Power 3.1 by way of spotify/confidence (tests of its sample-size
calculator); R's pwr; growthbook (packages/shared/src/power); Kohavi, Tang and Xu (2020),
*Trustworthy Online Controlled Experiments*; tea-tasting (tests of metrics/mean); mozanalysis
(tests of its sample-size calculation). Tolerances are the digits printed.
"""

from __future__ import annotations

import math

import pytest

from upliftlab.stats.cluster_power import design_effect
from upliftlab.stats.power import (
    TwoMeans,
    noninferiority,
    proportions_size,
    relative_effect,
    relative_power,
)


def test_t_tests_of_pwr_and_g_power():
    """Cohen's d of 0.5, 0.2 and 0.8, and two unequal arms."""
    t = TwoMeans(sd=1.0, law="t")

    assert t.size(0.5) == pytest.approx(63.7656, abs=5e-5)
    assert t.size(0.2) == pytest.approx(393.406, abs=5e-4)
    assert t.size(0.8) == pytest.approx(25.5246, abs=5e-5)
    assert t.power(0.5, 64) == pytest.approx(0.80146, abs=5e-6)
    unequal = TwoMeans(sd=1.0, law="t", ratio=2.0)
    assert unequal.power(0.5, 50) == pytest.approx(0.818063, abs=5e-7)


def test_two_proportions_of_the_textbook():
    """Pooled variance under no effect, and only the near tail counted.

    Counting the far tail as well, as G*Power does, takes 3,840.84 instead of 3,840.85.
    """
    near = {"alpha": 0.025, "sides": 1, "null": "pooled"}

    assert proportions_size(0.05, 0.055, **near) == pytest.approx(31_233.4, abs=0.05)
    assert proportions_size(0.10, 0.12, **near) == pytest.approx(3_840.85, abs=5e-3)
    assert proportions_size(0.10, 0.12, null="pooled") == pytest.approx(3_840.84, abs=5e-3)


def test_evan_millers_calculator_takes_the_variance_of_the_baseline():
    """1,030 for 20 % and 5 points; the pooled variance needs 1,094."""
    assert round(proportions_size(0.20, 0.25, null="baseline")) == 1030
    assert round(proportions_size(0.20, 0.25, null="pooled")) == 1094


def test_g_power_by_way_of_spotify():
    """Defaults alpha 5 %, power 85 %; totals of both arms, each arm rounded up."""

    def both(n):
        return 2 * math.ceil(n)

    pooled = {"null": "pooled", "power": 0.85}
    assert both(TwoMeans(sd=10.0, law="t").size(0.3, 0.85)) == 39_906
    assert both(TwoMeans(sd=10.0).size(0.3, 0.85)) == 39_904
    assert both(proportions_size(0.34, 0.343, **pooled)) == 897_348
    assert both(proportions_size(0.34, 0.343, alpha=0.14, **pooled)) == 630_710
    assert both(proportions_size(0.34, 0.343, alpha=0.14, null="pooled", power=0.67)) == 366_424
    assert both(proportions_size(0.34, 0.44, **pooled)) == 852
    assert both(proportions_size(0.34, 0.24, **pooled)) == 738


def test_three_arms_of_spotify():
    """Control against two arms of half its size, not corrected; all against all as two."""
    pooled = {"null": "pooled", "power": 0.85}
    # Their larger arm holds the higher proportion.
    control = proportions_size(0.343, 0.34, ratio=0.5, **pooled)
    assert math.ceil(control) == 673_157
    assert round(control / 2) == 336_578
    assert math.ceil(proportions_size(0.34, 0.343, **pooled)) == 448_674
    mean = TwoMeans(sd=10.0, law="t", ratio=0.5).size(0.3, 0.85)
    assert round(mean) == 29_929
    assert round(mean / 2) == 14_965
    assert math.ceil(TwoMeans(sd=10.0, law="t").size(0.3, 0.85)) == 19_953


def test_growthbooks_relative_effect():
    """400,000 users over three arms; the variance of the ratio at the alternative."""
    sd, n = math.sqrt(3909.9997749994377), 400_000 / 3

    assert relative_power(0.05, mean=10.0, sd=sd, n=n) == pytest.approx(0.52144, abs=5e-6)
    assert relative_power(0.05, mean=10.0, sd=sd, n=n) == pytest.approx(0.521441, abs=5e-7)
    assert relative_effect(mean=10.0, sd=sd, n=n) == pytest.approx(0.0702724, abs=5e-8)


def test_growthbooks_sequential_power_is_a_convention_of_its_own():
    """Power 0.20596 and MDE 0.12821 at N* = 5,000 come from an inflated standard error.

    Replacing the normal quantile by the half-width of the confidence sequence gives the MDE
    0.110 and power 0.072: a sequence that must hold at every look is wider at the last one.
    """
    sd, n = math.sqrt(3909.9997749994377), 400_000 / 3
    total, tuning, alpha = 2 * n, 5_000, 0.05
    rho = math.sqrt((-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / tuning)
    half = math.sqrt(
        2 * (total * rho**2 + 1) / (total * rho**2)
        * math.log(math.sqrt(total * rho**2 + 1) / alpha)
    )  # fmt: skip
    size = 2 * (1 - 0.5 * math.erfc(-half / math.sqrt(2)))

    naive = relative_power(0.05, mean=10.0, sd=sd, n=n, alpha=size)
    assert naive == pytest.approx(0.072, abs=5e-4)
    share = relative_effect(mean=10.0, sd=sd, n=n, alpha=size)
    assert share == pytest.approx(0.110, abs=5e-4)


def test_rules_of_thumb():
    """16 variances over the squared effect, against the exact number."""
    assert round(16 * 30**2 / (0.05 * 3.75) ** 2) == 409_600
    assert math.floor(TwoMeans(sd=30.0).size(0.05 * 3.75)) == 401_861
    assert math.ceil(TwoMeans(sd=30.0).size(0.05 * 3.75)) == 401_862
    assert round(16 * 0.05 * 0.95 / 0.0025**2) == 121_600
    assert TwoMeans(sd=1.0).size(1.0) == pytest.approx(15.698, abs=5e-4)


def test_smallest_effects_per_user():
    """Standard deviations of 30 and 12.5, and margins of half a unit."""
    wide = TwoMeans(sd=30.0)

    assert wide.effect(10_000) == pytest.approx(1.18861, abs=5e-6)
    assert wide.effect(50_000) == pytest.approx(0.531563, abs=5e-7)
    assert TwoMeans(sd=12.5).effect(100_000) == pytest.approx(0.156613, abs=5e-7)
    for alpha, n in ((0.05, 56_512), (0.10, 44_514)):
        plan, distance = noninferiority(TwoMeans(sd=30.0, alpha=alpha), margin=0.5)
        assert round(plan.size(distance)) == n


def test_design_effects():
    """20 units a cluster, correlation 5 %, sizes equal and unequal."""
    assert design_effect(20, 0.05) == pytest.approx(1.95)
    assert design_effect(20, 0.05, cv=0.5) == pytest.approx(2.20, abs=5e-3)


def test_tea_tasting_on_a_hundred_users():
    """Orders of its simulated A/A data: sum 47, sum of squares 87 over 100 users."""
    sd, base = math.sqrt((87 - 47**2 / 100) / 99), 0.47
    one, two = (TwoMeans(sd=sd, law="t", sides=sides) for sides in (1, 2))

    assert one.power(0.1 * base, 5_000) == pytest.approx(0.895653144822902, abs=1e-12)
    assert one.effect(5_000) == pytest.approx(0.0402700027, abs=5e-11)
    assert one.effect(5_000) / base == pytest.approx(0.0856808568, abs=5e-11)
    assert two.effect(5_000) / base == pytest.approx(0.0965417952, abs=5e-11)
    assert math.ceil(2 * two.size(0.05)) == 8_236


def test_mozanalysis_pays_for_a_rank_test():
    """8.44 per branch is the t test's 8.06 times pi / 3, its efficiency against ranks."""
    exact = TwoMeans(sd=2.0, law="t").size(3.0)

    assert exact == pytest.approx(8.060, abs=5e-4)
    assert exact * math.pi / 3 == pytest.approx(8.44, abs=5e-3)
