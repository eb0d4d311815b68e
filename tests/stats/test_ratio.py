from __future__ import annotations

import math

import pytest
from hypothesis import assume, given, strategies as st

from upliftlab.stats.estimate import critical_value
from upliftlab.stats.ratio import delta_ratio, fieller, relative_difference

Z = 1.959963984540054
# tea-tasting 1.14.0, users data of 100, as sufficient statistics (case A6).
CTRL = {"n": 53, "mean": 0.5660377358490566, "var": 0.7888243831640058}
TREAT = {"n": 47, "mean": 0.3829787234042553, "var": 0.5023126734505088}

points = st.floats(-50.0, 50.0)
variances = st.floats(1e-4, 1e3)
correlations = st.floats(-0.99, 0.99)


def rejected(ratio, num, den, var_num, var_den, cov):
    """Whether num - ratio x den differs significantly from 0."""
    spread = math.sqrt(max(0.0, var_num - 2 * ratio * cov + ratio**2 * var_den))
    return abs(num - ratio * den) > Z * spread


@pytest.mark.parametrize(
    ("moments", "shape", "low", "high"),
    [
        ((0.5, 0.2, 0.3**2, 0.15**2, 0.0), "outside", -3.7588, -0.5485),
        ((2.0, 0.2, 0.3**2, 0.15**2, 0.0), "outside", -20.980, 3.7511),
        ((-0.155, 1.058, 0.03**2, 0.01**2, -0.5 * 0.03 * 0.01), "interval", -0.20032, -0.09176),
    ],
)
def test_fieller_sets_match_the_computed_traps(moments, shape, low, high):
    """Three sets computed by arithmetic at z = 1.96; two are unbounded."""
    found = fieller(*moments)

    assert found.shape == shape
    assert found.ci_low == pytest.approx(low, rel=2e-5)
    assert found.ci_high == pytest.approx(high, rel=6e-5)
    assert found.estimate == pytest.approx(moments[0] / moments[1])


@given(points, points, variances, variances, correlations)
def test_zero_is_in_the_set_exactly_when_the_numerator_is_not_significant(
    num, den, var_num, var_den, correlation
):
    """The p-value of a Fieller ratio is the numerator's."""
    cov = correlation * math.sqrt(var_num * var_den)
    found = fieller(num, den, var_num, var_den, cov, df=25)
    assume(abs(found.p_value - 0.05) > 1e-6)

    assert found.excludes(0.0) == (found.p_value < 0.05)


@given(points, points, variances, variances, correlations, points)
def test_a_ratio_is_in_the_set_exactly_when_it_is_not_rejected(
    num, den, var_num, var_den, correlation, ratio
):
    """The set is the inversion of the test of num - ratio x den = 0."""
    cov = correlation * math.sqrt(var_num * var_den)
    found = fieller(num, den, var_num, var_den, cov)
    near = [rejected(ratio + step, num, den, var_num, var_den, cov) for step in (-1e-4, 1e-4)]
    inside = rejected(ratio, num, den, var_num, var_den, cov)
    assume(near == [inside, inside])

    assert found.excludes(ratio) == inside


@given(points, points, variances, variances, correlations, st.sampled_from([1e-6, 3.0, 1e7]))
def test_a_ratio_scales_with_its_numerator(num, den, var_num, var_den, correlation, factor):
    """Fen in place of yuan multiply the set by 100 and leave its shape."""
    cov = correlation * math.sqrt(var_num * var_den)
    assume(abs(den) > 1e-3)
    there = fieller(num, den, var_num, var_den, cov)
    scaled = fieller(num * factor, den, var_num * factor**2, var_den, cov * factor)
    assume(abs(abs(den) / math.sqrt(var_den) - Z) > 1e-6)

    assert scaled.shape == there.shape or "everything" in {scaled.shape, there.shape}
    if scaled.shape == there.shape:
        assert scaled.ci_low == pytest.approx(
            there.ci_low * factor, rel=1e-6, abs=1e-9 * factor
        )
        assert scaled.ci_high == pytest.approx(
            there.ci_high * factor, rel=1e-6, abs=1e-9 * factor
        )


@given(points, points, variances, variances)
def test_turning_the_numerator_mirrors_the_set(num, den, var_num, var_den):
    """A loss is a mirrored gain."""
    assume(abs(den) > 1e-6)
    there, back = (fieller(x, den, var_num, var_den) for x in (num, -num))

    assert back.shape == there.shape
    assert back.ci_low == pytest.approx(-there.ci_high, rel=1e-9, abs=1e-9)


def test_nothing_known_about_either_gives_the_whole_line():
    """With both numbers near 0 every ratio is possible, and JSON-safe ends say so."""
    found = fieller(0.1, 0.1, 1.0, 1.0)

    assert found.shape == "everything"
    assert (found.ci_low, found.ci_high) == (-math.inf, math.inf)
    assert not found.excludes(1e9)
    assert "unstable" in found.note


def test_a_known_denominator_only_rescales():
    """Without variance below the line the set is the numerator's interval, divided."""
    found = fieller(10.0, -2.0, 4.0, 0.0)

    assert found.shape == "interval"
    assert (found.ci_low, found.ci_high) == pytest.approx((-5 - Z, -5 + Z))
    assert found.note == ""


def test_a_known_numerator_has_no_p_value():
    """A constant over an estimate has a set, but nothing to test."""
    found = fieller(10.0, 5.0, 0.0, 1.0)

    assert (found.ci_low, found.ci_high) == pytest.approx((10 / (5 + Z), 10 / (5 - Z)))
    assert math.isnan(found.p_value)


def test_a_denominator_exactly_at_the_critical_value_gives_a_half_line():
    """Between interval and two half-lines lies one half-line."""
    edge = critical_value()
    up, down = fieller(5.0, edge, 1.0, 1.0), fieller(-5.0, edge, 1.0, 1.0)

    assert (up.shape, up.ci_low, down.ci_high) == ("outside", -math.inf, math.inf)
    assert up.ci_high == pytest.approx((25 - edge**2) / (10 * edge))
    assert down.ci_low == -up.ci_high
    assert not up.excludes(100.0)
    assert up.excludes(0.0)


def test_without_variance_the_ratio_is_a_number_without_interval():
    """Two constants have a ratio, and it does not vary."""
    found = fieller(1.0, 2.0, 0.0, 0.0)

    assert found.estimate == 0.5
    assert (found.shape, found.note) == ("none", "it does not vary")


def test_a_subnormal_baseline_does_not_overflow():
    """A control mean of 1e-308 has a relative effect without interval, not an exception."""
    for method in ("delta", "fieller", "log"):
        found = relative_difference(1.0, 2.3e-308, 1.0, 1.0, method=method)

        assert not found.excludes(1.0)


def test_a_denominator_of_zero_is_no_number():
    """1 / 0 is NaN with a note, though the data exclude small ratios."""
    found = fieller(5.0, 0.0, 1.0, 1.0)

    assert math.isnan(found.estimate)
    assert "denominator is 0" in found.note
    assert found.excludes(0.0)
    assert math.isnan(delta_ratio(5.0, 0.0, 1.0, 1.0).estimate)
    assert math.isnan(fieller(math.nan, 1.0, 1.0, 1.0).estimate)
    assert delta_ratio(1.0, math.nan, 1.0, 1.0).note == "not estimable"


def test_fieller_and_delta_agree_where_the_denominator_is_certain():
    """With a denominator 1,000 standard errors from 0 the two methods are one."""
    exact = fieller(5.0, 100.0, 1.0, 0.01, 0.02)
    approximate = delta_ratio(5.0, 100.0, 1.0, 0.01, 0.02)

    assert exact.ci_low == pytest.approx(approximate.ci_low, abs=1e-5)
    assert exact.std_error == pytest.approx(approximate.std_error)


def test_a_weak_denominator_is_labelled_by_both_methods():
    """Within three standard errors of 0 a ratio carries a label."""
    for method in (fieller, delta_ratio):
        assert "within 3 standard errors" in method(1.0, 2.9, 1.0, 1.0).note
        assert method(1.0, 3.1, 1.0, 1.0).note == ""


@pytest.mark.parametrize(
    ("method", "low", "high"),
    [
        ("log", -0.6593351111, 0.3437892095),  # tea-tasting 1.14.0 tests/metrics/test_mean.py
        ("fieller", -0.7069559, 0.3632199),  # computed once for the notes, case A6
        ("delta", -0.7872636, 0.1404551),  # computed once for the notes, case A6
    ],
)
def test_three_intervals_of_a_share_of_control(method, low, high):
    """tea-tasting's 100 users: the same relative effect with three intervals."""
    found = relative_difference(
        TREAT["mean"],
        CTRL["mean"],
        TREAT["var"] / TREAT["n"],
        CTRL["var"] / CTRL["n"],
        df_t=46,
        df_c=52,
        method=method,
    )

    assert found.estimate == pytest.approx(-0.32340425531914896, abs=1e-12)
    assert found.ci_low == pytest.approx(low, abs=1e-7)
    assert found.ci_high == pytest.approx(high, abs=1e-7)
    assert found.df == pytest.approx(90.72744 if method == "log" else 96.97004, abs=1e-5)


@pytest.mark.parametrize(
    ("mean_t", "mean_c", "share"), [(-5, -10, 0.5), (-15, -10, -0.5), (3, -2, 2.5)]
)
@pytest.mark.parametrize("method", ["delta", "fieller"])
def test_better_than_a_loss_is_positive(mean_t, mean_c, share, method):
    """Negative baselines: gbstats tests/test_utils.py, TestFrequentistDiff."""
    found = relative_difference(mean_t, mean_c, 0.1, 0.1, method=method)

    assert found.estimate == pytest.approx(share)
    assert found.ci_low < share < found.ci_high


def test_a_log_ratio_needs_means_of_one_sign():
    """Two losses have a log ratio; a loss and a gain have none."""
    losses = relative_difference(-5.0, -10.0, 0.1, 0.1, method="log")
    mixed = relative_difference(3.0, -2.0, 0.1, 0.1, method="log")

    assert losses.estimate == pytest.approx(0.5)
    assert losses.ci_low < 0.5 < losses.ci_high
    assert math.isnan(mixed.estimate)
    assert mixed.note == "a log ratio needs two means of the same sign"


def test_a_baseline_near_zero_is_labelled_once():
    """Profit per unit near 0 makes a relative effect unstable, and the note says so."""
    found = relative_difference(2.0, 1.0, 0.2, 0.2)

    assert found.note == "baseline within 3 standard errors of 0: unstable"
    assert math.isnan(relative_difference(1.0, 0.0, 1.0, 1.0).estimate)
    assert relative_difference(1.0, 0.0, 1.0, 1.0, method="log").note == "baseline is 0"


@given(st.floats(1.0, 50.0), st.floats(1.0, 50.0), variances, variances, correlations)
def test_the_log_ratio_does_not_care_which_arm_is_control(m_t, m_c, var_t, var_c, correlation):
    """1 + share turns over when the arms are swapped."""
    cov = correlation * math.sqrt(var_t * var_c)
    there = relative_difference(m_t, m_c, var_t, var_c, cov, method="log")
    back = relative_difference(m_c, m_t, var_c, var_t, cov, method="log")
    assume(math.isfinite(there.ci_high) and there.ci_low > -0.999 and there.ci_high < 1e3)

    assert 1 + there.estimate == pytest.approx(1 / (1 + back.estimate), rel=1e-9)
    assert 1 + there.ci_low == pytest.approx(1 / (1 + back.ci_high), rel=1e-6)


def test_a_log_ratio_counts_the_covariance_of_the_means():
    """Means that move together have a sharper ratio: .01 + .04 - 2 x .01 on the log scale."""
    found = relative_difference(20.0, 10.0, 4.0, 4.0, 2.0, method="log")

    assert found.std_error / 2 == pytest.approx(math.sqrt(0.01 + 0.04 - 2 * 0.01))


def test_a_ratio_metric_keeps_the_covariance_of_its_parts():
    """Case C2: gbstats tests/test_gbstats.py, ratio with covariance; 0.13333, p 0.610663339."""
    means = []
    for n, m, m2, d, d2, md in (
        (120, 300, 869, 500, 800, -905),
        (100, 270, 848.79, 510, 810, -900),
    ):
        var_m, var_d = (m2 - m**2 / n) / (n - 1), (d2 - d**2 / n) / (n - 1)
        cov = (md - m * d / n) / (n - 1)
        means.append((delta_ratio(m / n, d / n, var_m / n, var_d / n, cov / n), n - 1))
    (treat, df_t), (ctrl, df_c) = means
    found = relative_difference(
        treat.estimate,
        ctrl.estimate,
        treat.std_error**2,
        ctrl.std_error**2,
        df_t=df_t,
        df_c=df_c,
    )

    assert treat.estimate == pytest.approx(0.6)
    assert ctrl.estimate == pytest.approx(0.529411765, abs=1e-9)
    assert found.estimate == pytest.approx(0.133333333, abs=1e-9)
    assert found.p_value == pytest.approx(0.610663339, abs=1e-9)
