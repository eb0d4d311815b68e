from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from upliftlab.stats.estimate import p_positive, two_sided_p
from upliftlab.stats.means import (
    ArmPair,
    cuped_relative,
    cuped_two_arms,
    minimum_n_for_skewness,
    pooled_theta,
    welch,
)
from upliftlab.stats.ratio import relative_difference

means = st.floats(-1e4, 1e4)
sample_variances = st.floats(1e-6, 1e6)
counts = st.integers(2, 10**6)


def moments(total, squares, n):
    """Mean and sample variance from a sum and a sum of squares."""
    return total / n, (squares - total**2 / n) / (n - 1)


def compared(treatment, control, **options):
    """Welch of two (sum, sum of squares, n)."""
    (mean_t, var_t), (mean_c, var_c) = moments(*treatment), moments(*control)
    return welch(
        mean_t=mean_t,
        var_t=var_t,
        n_t=treatment[2],
        mean_c=mean_c,
        var_c=var_c,
        n_c=control[2],
        **options,
    )


def share_of(treatment, control):
    """Relative difference of two (sum, sum of squares, n) with its own p-value."""
    (mean_t, var_t), (mean_c, var_c) = moments(*treatment), moments(*control)
    n_t, n_c = treatment[2], control[2]
    return relative_difference(
        mean_t, mean_c, var_t / n_t, var_c / n_c, df_t=n_t - 1, df_c=n_c - 1
    )


A1 = ((2422.7, 134698.29, 3461), (1396.87, 52377.9767, 3407))
A4 = ((1922.7, 94698.29, 2461), (1196.87, 37377.9767, 2507))
A5 = ((300, 869, 120), (270, 848.79, 100))


def test_relative_difference_matches_gbstats():
    """Case A1: gbstats tests/frequentist/test_tests.py."""
    found = share_of(*A1)

    assert found.estimate == pytest.approx(0.70732, abs=5e-6)
    assert found.std_error == pytest.approx(0.37879, abs=5e-6)
    assert (found.ci_low, found.ci_high) == pytest.approx((-0.03526, 1.44989), abs=5e-6)
    assert found.p_value == pytest.approx(0.06191, abs=5e-6)
    assert found.df == pytest.approx(5841.74, abs=5e-3)


def test_absolute_difference_matches_gbstats():
    """Case A2: gbstats, the same data; gbstats rounds the estimate 0.29001 to 0.29."""
    found = compared(*A1)

    assert found.estimate == pytest.approx(0.29, abs=5e-5)
    assert found.std_error == pytest.approx(0.12478, abs=5e-6)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.04538, 0.53462), abs=1.1e-5)
    assert found.p_value == pytest.approx(0.02016, abs=5e-6)
    assert found.rel_estimate == pytest.approx(0.70732, abs=5e-6)


def test_relative_difference_matches_posthog():
    """Case A4: PostHog products/experiments/stats/tests/test_frequentist.py."""
    found = share_of(*A4)

    assert found.estimate == pytest.approx(0.636467, abs=5e-7)
    assert (found.ci_low, found.ci_high) == pytest.approx((-0.0875474, 1.36048), abs=5e-6)
    assert found.p_value == pytest.approx(0.0848781, abs=5e-8)


def test_two_rows_match_gbstats():
    """Case A5: gbstats tests/test_gbstats.py, MULTI_DIMENSION 'one'."""
    found = share_of(*A5)

    assert found.estimate == pytest.approx(-0.0740741, abs=5e-8)
    assert found.p_value == pytest.approx(0.145219005, abs=1e-9)
    assert p_positive(replace(found, df=math.inf)) == pytest.approx(0.071834168, abs=1e-9)


def test_difference_matches_tea_tasting():
    """Case A6: tea-tasting 1.14.0 tests/metrics/test_mean.py, two-sided Welch."""
    found = welch(
        mean_t=0.3829787234042553,
        var_t=0.5023126734505088,
        n_t=47,
        mean_c=0.5660377358490566,
        var_c=0.7888243831640058,
        n_c=53,
        relative="log",
    )

    assert found.estimate == pytest.approx(-0.18305901244480127, abs=1e-12)
    assert found.ci_low == pytest.approx(-0.5004359360, abs=1e-8)
    assert found.ci_high == pytest.approx(0.1343179111, abs=1e-8)
    assert found.p_value == pytest.approx(0.2551230546709908, abs=1e-8)
    assert found.df == pytest.approx(96.97004, abs=5e-6)
    assert found.rel_ci_low == pytest.approx(-0.6593351111, abs=1e-8)
    assert found.rel_ci_high == pytest.approx(0.3437892095, abs=1e-8)


@given(means, sample_variances, counts, means, sample_variances, counts)
def test_swapping_the_arms_flips_the_sign(mean_t, var_t, n_t, mean_c, var_c, n_c):
    """Treatment minus control is minus control minus treatment."""
    there = welch(mean_t=mean_t, var_t=var_t, n_t=n_t, mean_c=mean_c, var_c=var_c, n_c=n_c)
    back = welch(mean_t=mean_c, var_t=var_c, n_t=n_c, mean_c=mean_t, var_c=var_t, n_c=n_t)

    assert back.estimate == -there.estimate
    assert back.ci_low == pytest.approx(-there.ci_high, rel=1e-12, abs=1e-12)
    assert back.p_value == pytest.approx(there.p_value, rel=1e-12)


@given(means, sample_variances, counts, means, st.floats(0.01, 1e4))
def test_rescaling_the_metric_rescales_the_difference(mean_t, var, n, mean_c, factor):
    """Fen in place of yuan change the numbers, not the p-value or the df."""
    there = welch(mean_t=mean_t, var_t=var, n_t=n, mean_c=mean_c, var_c=2 * var, n_c=n + 5)
    scaled = welch(
        mean_t=mean_t * factor,
        var_t=var * factor**2,
        n_t=n,
        mean_c=mean_c * factor,
        var_c=2 * var * factor**2,
        n_c=n + 5,
    )

    assert scaled.std_error == pytest.approx(there.std_error * factor, rel=1e-9)
    assert scaled.df == pytest.approx(there.df, rel=1e-9)


@given(means, sample_variances, counts, means, sample_variances, counts)
def test_zero_is_left_out_exactly_when_significant(mean_t, var_t, n_t, mean_c, var_c, n_c):
    """Welch's interval is the inversion of Welch's test."""
    found = welch(mean_t=mean_t, var_t=var_t, n_t=n_t, mean_c=mean_c, var_c=var_c, n_c=n_c)

    if abs(found.p_value - 0.05) > 1e-9:
        assert found.excludes(0.0) == (found.p_value < 0.05)
    assert min(n_t, n_c) - 1 <= found.df * (1 + 1e-9)
    assert found.df <= (n_t + n_c - 2) * (1 + 1e-9)


def test_one_unit_is_not_enough():
    """An arm with one unit gives no number, and says why."""
    found = welch(mean_t=1.0, var_t=0.0, n_t=1, mean_c=1.0, var_c=1.0, n_c=9)
    pair = ArmPair(n=2, mean_y=1.0, var_y=1.0, mean_x=0.0, var_x=1.0, cov_xy=0.0)

    assert math.isnan(found.estimate)
    assert found.note == "an arm has fewer than two units"
    assert cuped_two_arms(pair, pair).note == "an arm has fewer than three units"
    assert cuped_relative(pair, pair).note == "an arm has fewer than three units"


def test_what_does_not_vary_has_no_interval():
    """Two constant arms differ by a number that has no standard error."""
    found = welch(mean_t=2.0, var_t=0.0, n_t=9, mean_c=1.0, var_c=0.0, n_c=9)

    assert found.estimate == 1.0
    assert math.isnan(found.p_value)
    assert found.note == "it does not vary"


def pair(n, y, x, xy):
    """CUPED moments from sums, sums of squares and the sum of products."""
    mean_y, var_y = moments(*y, n)
    mean_x, var_x = moments(*x, n)
    cov = (xy - y[0] * x[0] / n) / (n - 1)
    return ArmPair(n=n, mean_y=mean_y, var_y=var_y, mean_x=mean_x, var_x=var_x, cov_xy=cov)


# Case C3: gbstats tests/test_gbstats.py and models/tests.py.
C3_T = pair(3000, (222, 555), (120, 405), -10)
C3_C = pair(3001, (300, 600), (210, 415), -20)


def test_relative_cuped_uses_the_exact_gradient():
    """Case C3: theta and estimate are gbstats', the p-value .0033746 is the exact delta's."""
    found = cuped_relative(C3_T, C3_C)

    assert pooled_theta(C3_T, C3_C) == pytest.approx(-0.0732119403, abs=1e-10)
    assert found.estimate == pytest.approx(-0.281707154, abs=1e-9)
    assert found.p_value == pytest.approx(0.0033746, abs=5e-8)


def test_the_gradient_of_gbstats_gives_its_own_p_value():
    """Case C3: SE 0.0971048764 and p .003732549 with the unadjusted treatment mean."""
    theta, (t, c) = pooled_theta(C3_T, C3_C), (C3_T, C3_C)
    ours = cuped_relative(t, c)
    of_t = (t.var_y - 2 * theta * t.cov_xy + theta**2 * t.var_x) / c.mean_y**2 / t.n
    of_c = (
        c.var_y * t.mean_y**2 / c.mean_y**4
        + theta**2 * c.var_x / c.mean_y**2
        - 2 * theta * t.mean_y * c.cov_xy / c.mean_y**3
    ) / c.n
    std_error = math.sqrt(of_t + of_c)

    assert std_error == pytest.approx(0.09710487644510962, abs=1e-12)
    assert two_sided_p(ours.estimate / std_error, df=ours.df) == pytest.approx(
        0.003732549, abs=2e-8
    )


def test_the_absolute_and_the_relative_adjusted_difference_are_one():
    """The share shown beside the difference is the relative result."""
    absolute, relative = cuped_two_arms(C3_T, C3_C), cuped_relative(C3_T, C3_C)

    assert absolute.estimate / C3_C.mean_y == pytest.approx(relative.estimate)
    assert absolute.rel_ci_low == pytest.approx(relative.ci_low)


def test_an_adjusted_loss_that_shrinks_is_positive():
    """Case A8: gbstats, CUPED means -9 and -4 with unadjusted baseline -10 give 0.5."""
    # The slope 1 moves -10 to -9 and -5 to -4, so the difference 5 stays.
    t = ArmPair(n=900, mean_y=-5.0, var_y=2.0, mean_x=0.0, var_x=1.0, cov_xy=1.0)
    c = replace(t, mean_y=-10.0)

    assert cuped_relative(t, c).estimate == pytest.approx(0.5)
    assert cuped_two_arms(t, c).rel_estimate == pytest.approx(0.5)
    assert cuped_relative(t, c, method="fieller").estimate == pytest.approx(0.5)


def test_a_slope_per_arm_pays_for_the_centre():
    """Trap: y_T = 2x + e, y_C = e, 500 per arm: SE .08944; without the centre .06325."""
    t = ArmPair(n=500, mean_y=0.0, var_y=5.0, mean_x=0.0, var_x=1.0, cov_xy=2.0)
    c = ArmPair(n=500, mean_y=0.0, var_y=1.0, mean_x=0.0, var_x=1.0, cov_xy=0.0)
    found = cuped_two_arms(t, c, theta="per_arm")

    # 0.08944 counts each arm's residual variance with n - 1; two parameters cost n - 2.
    assert found.std_error == pytest.approx(0.08944, abs=1e-4)
    assert found.std_error > 0.06325 * 1.3


def test_the_share_with_a_slope_per_arm_agrees_with_a_numerical_gradient():
    """The exact gradient through adjusted baseline and centre equals finite differences."""
    t = ArmPair(n=400, mean_y=5.4, var_y=9.0, mean_x=1.1, var_x=2.0, cov_xy=2.5)
    c = ArmPair(n=300, mean_y=5.0, var_y=7.0, mean_x=0.9, var_x=1.5, cov_xy=1.0)
    found = cuped_relative(t, c, theta="per_arm")
    slopes = {"t": t.cov_xy / t.var_x, "c": c.cov_xy / c.var_x}
    spread = (399 * t.var_x + 299 * c.var_x) / 698 / 700
    of = {
        k: (a.var_y - slopes[k] * a.cov_xy) * (a.n - 1) / (a.n - 2) / a.n
        for k, a in (("t", t), ("c", c))
    }
    centre = (400 * 1.1 + 300 * 0.9) / 700
    m_t, m_c = 5.4 - slopes["t"] * (1.1 - centre), 5.0 - slopes["c"] * (0.9 - centre)
    variance = (
        of["t"] / m_c**2
        + of["c"] * (m_t / m_c**2) ** 2
        + spread * (slopes["t"] / m_c - slopes["c"] * m_t / m_c**2) ** 2
    )

    assert found.estimate == pytest.approx(m_t / m_c - 1)
    assert found.std_error == pytest.approx(math.sqrt(variance), rel=1e-12)


@pytest.mark.parametrize("theta", ["pooled", "per_arm"])
def test_a_covariate_that_does_not_vary_changes_nothing(theta):
    """Without variance the slope is 0, and the result is the unadjusted one."""
    t = ArmPair(n=10**6, mean_y=1.2, var_y=2.0, mean_x=3.0, var_x=0.0, cov_xy=0.0)
    c = replace(t, mean_y=1.0, var_y=3.0)
    plain = welch(mean_t=1.2, var_t=2.0, n_t=10**6, mean_c=1.0, var_c=3.0, n_c=10**6)
    found = cuped_two_arms(t, c, theta=theta)

    assert found.estimate == pytest.approx(plain.estimate, abs=1e-12)
    assert found.std_error == pytest.approx(plain.std_error, rel=2e-6)


@given(st.floats(-0.95, 0.95))
def test_the_variance_shrinks_by_the_squared_correlation(rho):
    """Case C8: with equal arms the variance kept is 1 - rho^2."""
    arm = ArmPair(n=1000, mean_y=1.0, var_y=4.0, mean_x=0.0, var_x=9.0, cov_xy=6.0 * rho)
    found = cuped_two_arms(arm, arm)

    assert found.std_error**2 == pytest.approx((1 - rho**2) * 2 * 4.0 / 1000, rel=1e-9)


def test_skewness_asks_for_units():
    """Kohavi et al. (2014): 355 x skewness^2 units per arm."""
    assert minimum_n_for_skewness(4.0) == 5680
    assert minimum_n_for_skewness(-4.0) == 5680
    assert minimum_n_for_skewness(0.0) == 0
