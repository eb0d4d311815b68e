"""Power, smallest effects and sample sizes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats
from statsmodels.stats.power import NormalIndPower, TTestIndPower

from upliftlab.errors import DesignError
from upliftlab.stats.cluster_power import ClusterPlan, design_effect, icc_of
from upliftlab.stats.power import (
    TwoMeans,
    detectable,
    noninferiority,
    power_of,
    proportions_power,
    proportions_size,
    relative_effect,
    relative_power,
    size_interval,
)
from upliftlab.stats.shares import contrast_correlation, optimal_shares, size_of_each
from upliftlab.stats.studentised import skewed_tail

SIDES = {2: "two-sided", 1: "larger"}
EXACT = 1e-6
"""Both compute the same noncentral t; the tolerance is what is promised."""


@pytest.mark.parametrize("ratio", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.2])
@pytest.mark.parametrize("law", ["normal", "t"])
def test_power_and_size_equal_statsmodels(law, alpha, sides, ratio):
    """Same power, sample size and smallest effect wherever statsmodels has the case."""
    theirs = TTestIndPower() if law == "t" else NormalIndPower()
    ours = TwoMeans(sd=2.0, law=law, alpha=alpha, sides=sides, ratio=ratio)
    same = {"alpha": alpha, "ratio": ratio, "alternative": SIDES[sides]}

    for effect, n in ((0.2, 30), (0.6, 200), (1.4, 12)):
        wanted = theirs.power(effect_size=effect / 2.0, nobs1=n, **same)
        assert ours.power(effect, n) == pytest.approx(wanted, abs=EXACT)
    size = theirs.solve_power(effect_size=0.1, nobs1=None, power=0.85, **same)
    assert ours.size(0.2, 0.85) == pytest.approx(size, rel=EXACT)
    # Their own solver for the effect stops at about 1e-5; their power at ours is exact.
    effect = ours.effect(500, 0.9) / 2.0
    back = theirs.power(effect_size=effect, nobs1=500, **same)
    assert back == pytest.approx(0.9, abs=EXACT)


@given(
    sd=st.floats(1e-3, 1e3),
    ratio=st.floats(0.05, 20),
    power=st.floats(0.3, 0.99),
    n=st.floats(10, 1e6),
)
def test_size_effect_and_power_are_one_relation(sd, ratio, power, n):
    """What n detects needs n, and has the power that was asked for."""
    plan = TwoMeans(sd=sd, ratio=ratio, law="welch" if n * min(ratio, 1) > 5 else "normal")
    effect = plan.effect(n, power)

    assert plan.power(effect, n) == pytest.approx(power, abs=1e-6)
    assert plan.size(effect, power) == pytest.approx(n, rel=1e-4)


def test_swapping_arms_changes_nothing():
    """Treatment's spread and share take control's place."""
    plan = TwoMeans(sd=3.0, sd_t=5.0, ratio=0.25)
    other = TwoMeans(sd=5.0, sd_t=3.0, ratio=4.0)

    assert plan.size(0.4) == pytest.approx(other.size(0.4) * 4)


def test_power_keeps_its_promise_on_simulated_tests():
    """2,000 Welch tests of unequal arms: the share that reject is the power."""
    rng = np.random.default_rng(20261)
    plan = TwoMeans(sd=1.0, sd_t=2.0, ratio=0.5, law="welch")
    n = math.ceil(plan.size(0.5))
    x = rng.normal(0.0, 1.0, (2000, n))
    y = rng.normal(0.5, 2.0, (2000, round(n / 2)))
    p = stats.ttest_ind(y, x, axis=1, equal_var=False).pvalue

    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.03)


@given(z=st.floats(0.5, 4), gamma=st.floats(-0.5, 0.5))
def test_without_an_effect_skewness_moves_the_tail_as_hall_has_it(z, gamma):
    """-gamma phi(z) (2 z^2 + 1) / 6: Hall (1992), section 2.6, of a studentised mean."""
    classic = -gamma * stats.norm.pdf(z) * (2 * z**2 + 1) / 6
    assert skewed_tail(z, 0.0, gamma) == pytest.approx(classic, abs=1e-12)


@pytest.mark.parametrize(("few", "many"), [(200, 2000), (60, 180)])
def test_skewed_unequal_arms_keep_their_promise(few, many):
    """Gamma outcomes: gains and losses are each seen as often as planned, from 8,000 tests.

    Without skewness the plan is off by more than the tolerance on the side of gains.
    """
    shape, runs = 0.5, 8_000
    rng = np.random.default_rng(21)
    plan = TwoMeans(
        sd=math.sqrt(shape), ratio=few / many, law="welch", skewness=2 / math.sqrt(shape)
    )
    gain, loss = plan.effect(many), plan.mirrored().effect(many)
    mean, var = np.empty((2, runs)), np.empty((2, runs))
    for arm, n in enumerate((many, few)):
        for first in range(0, runs, 500):
            drawn = rng.gamma(shape, 1.0, (500, n))
            mean[arm, first : first + 500] = drawn.mean(axis=1)
            var[arm, first : first + 500] = drawn.var(axis=1, ddof=1) / n
    error = np.sqrt(var.sum(axis=0))
    df = error**4 / (var[0] ** 2 / (many - 1) + var[1] ** 2 / (few - 1))
    critical = stats.t.isf(0.025, df)
    gap = mean[1] - mean[0]

    assert ((gap + gain) / error > critical).mean() == pytest.approx(0.8, abs=0.02)
    assert ((gap - loss) / error < -critical).mean() == pytest.approx(0.8, abs=0.03)
    assert gain < loss
    blind = replace(plan, skewness=0.0).effect(many)
    assert ((gap + blind) / error > critical).mean() > 0.815


def test_skewed_clusters_keep_their_promise():
    """10 v 30 clusters with skewed totals, by t on the clusters' degrees of freedom."""
    rng = np.random.default_rng(22)
    plan = ClusterPlan(sd=1.0, size=1, icc=0.0, ratio=1 / 3, skewness=2.0)
    gain = plan.effect(30)
    x, y = rng.exponential(1.0, (20_000, 30)), rng.exponential(1.0, (20_000, 10))
    a, b = x.var(axis=1, ddof=1) / 30, y.var(axis=1, ddof=1) / 10
    critical = stats.t.isf(0.025, (a + b) ** 2 / (a**2 / 29 + b**2 / 9))
    t = (y.mean(axis=1) - x.mean(axis=1) + gain) / np.sqrt(a + b)

    assert (t > critical).mean() == pytest.approx(0.8, abs=0.03)


def test_large_numbers_have_an_answer():
    """Where the noncentral t runs out of digits its normal form takes over."""
    assert power_of(60.0, 1.0, df=40) == pytest.approx(1.0)
    assert detectable(1.0, df=1e12) == pytest.approx(detectable(1.0), rel=1e-9)
    assert TwoMeans(sd=1.0).size(0.0) == math.inf
    assert TwoMeans(sd=1.0, sides=1).size(-0.1) == math.inf
    assert TwoMeans(sd=1e9).size(1e-6) == math.inf
    assert math.isnan(power_of(1.0, 0.0))
    assert math.isnan(detectable(0.0))


def test_a_relative_margin_counts_control_as_estimated():
    """mu_T - (1 - m) mu_C has less variance from control, and a distance of m mu_C."""
    plan, distance = noninferiority(TwoMeans(sd=10.0), margin=0.02, baseline=50.0, truth=-0.2)

    assert distance == pytest.approx(0.8)
    assert plan.sides == 1
    assert plan.std_error(100) == pytest.approx(math.sqrt((100 + 0.98**2 * 100) / 100))


def test_a_noninferiority_plan_keeps_its_promise():
    """2,000 guardrails without any harm: the share shown non-inferior is the power."""
    rng = np.random.default_rng(20262)
    plan, distance = noninferiority(TwoMeans(sd=4.0), margin=0.05, baseline=20.0)
    n = math.ceil(plan.size(distance, 0.8))
    t, c = (rng.normal(20.0, 4.0, (2000, n)) for _ in range(2))
    gap = t.mean(axis=1) - 0.95 * c.mean(axis=1)
    se = np.sqrt(t.var(axis=1, ddof=1) / n + 0.95**2 * c.var(axis=1, ddof=1) / n)

    assert (gap / se > 1.96).mean() == pytest.approx(0.8, abs=0.03)


def test_a_relative_effect_has_the_power_asked_for():
    """The share that is found gives the power; a hopeless control gives none."""
    share = relative_effect(mean=4.0, sd=9.0, n=3000, ratio=2.0, power=0.9)

    assert relative_power(share, mean=4.0, sd=9.0, n=3000, ratio=2.0) == pytest.approx(0.9)
    assert relative_effect(mean=0.001, sd=9.0, n=10) == math.inf


def test_proportions_meet_statsmodels_where_the_variance_is_each_arms_own():
    """Two separate variances are a comparison of means."""
    n = proportions_size(0.2, 0.25, ratio=2.0)
    sd, sd_t = math.sqrt(0.16), math.sqrt(0.1875)

    assert TwoMeans(sd=sd, sd_t=sd_t, ratio=2.0).size(0.05) == pytest.approx(n)
    assert proportions_power(0.2, 0.25, n, ratio=2.0) == pytest.approx(0.8)
    assert proportions_size(0.2, 0.2) == math.inf


def test_the_range_of_a_size_covers_what_larger_pilots_say():
    """Of 400 lognormal pilots 92 % or more hold the size at the true variance."""
    rng = np.random.default_rng(20263)
    truth = TwoMeans(sd=math.sqrt(math.exp(0.64) - 1) * math.exp(0.32)).size(0.1)
    hits = 0
    for _ in range(400):
        x = rng.lognormal(0.0, 0.8, 4000)
        n = TwoMeans(sd=x.std(ddof=1)).size(0.1)
        low, high = size_interval(n, kurtosis=stats.kurtosis(x, fisher=False), pilot=4000)
        hits += low <= truth <= high

    assert hits / 400 >= 0.86
    assert math.isnan(size_interval(10.0, kurtosis=0.5, pilot=100)[0])


def test_shares_are_the_best_there_are():
    """No other share of the same money has less average variance."""
    sds, costs = [2.0, 3.0, 5.0], [1.0, 2.0, 4.0]
    best = optimal_shares(sds, costs)

    def variance(shares):
        n = np.array(shares) / np.dot(shares, costs)
        return sum(sds[0] ** 2 / n[0] + sds[k] ** 2 / n[k] for k in (1, 2))

    rng = np.random.default_rng(1)
    others = [np.array(best) * rng.uniform(0.9, 1.1, 3) for _ in range(200)]
    assert min(variance(o / o.sum()) for o in others) >= variance(best)
    assert sum(best) == pytest.approx(1)


def test_several_arms_are_tested_as_the_analysis_tests_them():
    """Dunnett's critical value for three arms against an equal control is 2.349 (normal)."""
    size = size_of_each([1.0] * 4)

    assert -stats.norm.ppf(size / 2) == pytest.approx(2.349, abs=5e-4)
    assert size_of_each([1.0, 5.0]) == pytest.approx(0.05)
    assert contrast_correlation([1.0, 1.0, 3.0])[0, 1] == pytest.approx(1 / math.sqrt(8))


def test_clusters_keep_their_promise():
    """2,000 tests of 12 against 12 clusters: power within 3 points, by t on clusters."""
    from upliftlab.stats.clusters import arm_mean, difference

    rng = np.random.default_rng(20264)
    plan = ClusterPlan(sd=10.0, size=30, icc=0.08)
    effect = plan.effect(12)
    hits = 0
    for _ in range(2000):
        shock = rng.normal(0, math.sqrt(8.0), 24)
        means = (
            shock
            + rng.normal(0, math.sqrt(92.0 / 30), 24)
            + np.r_[np.full(12, effect), np.zeros(12)]
        )
        arms = [arm_mean([30] * 12, 30 * part) for part in (means[:12], means[12:])]
        hits += abs(difference(*arms).estimate) > 0 and difference(*arms).p_value < 0.05

    assert hits / 2000 == pytest.approx(0.8, abs=0.03)
    assert plan.clusters(effect) == pytest.approx(12, rel=1e-6)
    assert icc_of(design_effect(30, 0.08, cv=0.4), 30, cv=0.4) == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TwoMeans(sd=0.0),
            (
                "the comparison has sd 0; a metric that does not vary has no power to plan. "
                "Check the pilot, or state a standard deviation above 0."
            ),
        ),
        (
            lambda: TwoMeans(sd=1.0, ratio=0.0),
            (
                "the comparison has 0 units in treatment per unit in control; every arm needs "
                "a share above 0."
            ),
        ),
        (
            lambda: TwoMeans(sd=1.0).size(0.1, 0.04),
            "power is 0.04; write a number above alpha (0.05) and below 1.",
        ),
        (
            lambda: TwoMeans(sd=1.0, alpha=5.0),
            "alpha is 5; write a number such as 0.05.",
        ),
        (
            lambda: proportions_size(0.0, 0.1),
            "the proportion of control is 0; it lies between 0 and 1.",
        ),
        (
            lambda: optimal_shares([1.0, 0.0]),
            (
                "optimal shares need two arms or more, with standard deviations [1.0, 0.0] and "
                "costs None all above 0."
            ),
        ),
        (
            lambda: ClusterPlan(sd=1.0, size=10, icc=1.5),
            (
                "the correlation within clusters is 1.5; with 10 units a cluster it lies "
                "between -0.111 and 1."
            ),
        ),
        (
            lambda: ClusterPlan(sd=0.0, size=10, icc=0.1),
            (
                "the cluster plan has a standard deviation of 0; a metric that does not vary "
                "has no power to plan."
            ),
        ),
    ],
)
def test_impossible_plans_are_refused(make, message):
    """One sentence: what was found, what is needed."""
    with pytest.raises(DesignError) as found:
        make()

    assert str(found.value) == message
