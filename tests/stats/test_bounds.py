from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from upliftlab.errors import UpliftlabError
from upliftlab.stats.bounds import Observed, imbens_manski, lee, manski
from upliftlab.stats.estimate import interval

outcomes = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


def seen(y, assigned):
    """Moments of the outcomes seen."""
    return Observed(assigned=assigned, observed=len(y), mean=y.mean(), variance=y.var(ddof=1))


def test_the_arm_seen_more_often_is_trimmed():
    """Ten of ten v eight of ten: a fifth of treatment goes, from either end."""
    treatment = np.arange(1.0, 11.0)
    found = lee(treatment, 10, np.full(8, 4.0) + np.tile([0.0, 1.0], 4), 10)

    assert found.low.estimate == pytest.approx(4.5 - 4.5)
    assert found.high.estimate == pytest.approx(6.5 - 4.5)
    assert found.note == "20.0% of treatment trimmed"
    assert (found.missing_t, found.missing_c) == pytest.approx((0.0, 0.2))


def test_trimming_control_mirrors_trimming_treatment():
    """Swapping the arms turns the bounds round."""
    a, b = np.arange(1.0, 11.0), np.arange(0.0, 16.0, 2.0)
    there, back = lee(a, 10, b, 10), lee(b, 10, a, 10)

    assert back.low.estimate == pytest.approx(-there.high.estimate)
    assert back.high.estimate == pytest.approx(-there.low.estimate)
    assert back.ci_low == pytest.approx(-there.ci_high)
    assert back.note == "20.0% of control trimmed"


def test_a_share_between_two_values_counts_the_edge_in_part():
    """Keeping 2.5 of 3 values weighs the third by a half."""
    found = lee([1.0, 2.0, 3.0], 3, [0.0, 0.0, 0.0, 0.0, 0.0], 6)

    # (1 + 2 + 0.5 x 3) / 2.5 and (3 + 2 + 0.5 x 1) / 2.5.
    assert found.low.estimate == pytest.approx(4.5 / 2.5)
    assert found.high.estimate == pytest.approx(5.5 / 2.5)


@given(outcomes, outcomes)
def test_without_attrition_all_bounds_are_the_difference(treatment, control):
    """When everybody is seen nothing is trimmed and nothing imputed."""
    t, c = np.array(treatment), np.array(control)
    trimmed = lee(t, len(t), c, len(c))
    worst = manski(seen(t, len(t)), seen(c, len(c)), (-100.0, 100.0))

    for found in (trimmed, worst):
        assert found.low.estimate == pytest.approx(t.mean() - c.mean(), abs=1e-9)
        assert found.high.estimate == pytest.approx(t.mean() - c.mean(), abs=1e-9)


@given(outcomes, outcomes, st.integers(0, 20), st.integers(0, 20))
def test_worst_cases_contain_the_trimmed_mean_of_the_same_arms(
    treatment, control, gone_t, gone_c
):
    """Manski's bounds are ordered and as wide as the missing shares times the range."""
    t, c = np.array(treatment), np.array(control)
    found = manski(seen(t, len(t) + gone_t), seen(c, len(c) + gone_c), (-100.0, 100.0))
    width = 200 * (gone_t / (len(t) + gone_t) + gone_c / (len(c) + gone_c))

    assert found.high.estimate - found.low.estimate == pytest.approx(width, abs=1e-9)
    assert found.missing_t == pytest.approx(gone_t / (len(t) + gone_t))


def test_the_standard_error_of_trimming_matches_simulation():
    """Lee's variance, with the estimated share, equals the spread over 1,000 trials."""
    rng = np.random.default_rng(4)
    lows, errors = [], []
    for _ in range(1000):
        t = rng.exponential(size=rng.binomial(400, 0.9))
        c = rng.exponential(size=rng.binomial(400, 0.75))
        found = lee(t, 400, c, 400)
        lows.append(found.low.estimate)
        errors.append(found.low.std_error)

    # The spread of 1,000 draws has a standard error of 2.2 %.
    assert np.mean(errors) == pytest.approx(np.std(lows), rel=0.07)


def test_the_variance_of_a_worst_case_is_that_of_the_filled_column():
    """Imputing the floor by hand gives the same mean and, for large n, the same error."""
    rng = np.random.default_rng(6)
    y = rng.normal(5.0, 2.0, 9000)
    found = manski(
        Observed(assigned=10_000, observed=9000, mean=y.mean(), variance=y.var(ddof=1)),
        Observed(assigned=10_000, observed=10_000, mean=0.0, variance=1.0),
        (0.0, 20.0),
    )
    filled = np.concatenate([y, np.zeros(1000)])

    assert found.low.estimate == pytest.approx(filled.mean())
    assert found.low.std_error**2 == pytest.approx(
        filled.var(ddof=1) / 10_000 + 1 / 10_000, rel=1e-3
    )


def test_the_interval_is_two_sided_for_a_point_and_one_sided_for_a_range():
    """Imbens and Manski: 1.96 where the bounds meet, 1.645 where they are far apart."""
    low, far = interval("low", 0.0, 1.0), interval("high", 50.0, 1.0)

    assert imbens_manski(low, low, 0.95) == pytest.approx((-1.959964, 1.959964), abs=1e-6)
    assert imbens_manski(low, far, 0.95) == pytest.approx((-1.644854, 51.644854), abs=1e-6)


def test_arms_without_outcomes_have_no_trimming_bounds():
    """Lee needs two outcomes per arm; Manski still knows the limits."""
    none = Observed(assigned=10, observed=0, mean=math.nan, variance=math.nan)
    one = Observed(assigned=2, observed=1, mean=1.0, variance=math.nan)
    missing = lee([], 10, [1.0, 2.0], 10)
    worst = manski(none, one, (0.0, 1.0))
    nobody = Observed(assigned=0, observed=0, mean=math.nan, variance=math.nan)

    assert math.isnan(missing.low.estimate)
    assert missing.note == "an arm shows fewer than two outcomes"
    assert (worst.low.estimate, worst.high.estimate) == (-1.0, 0.5)
    assert manski(nobody, none, (0.0, 1.0)).note == "an arm has no units"
    assert lee([], 0, [], 0).note == "an arm shows fewer than two outcomes"


def test_constant_bounds_have_no_interval():
    """Bounds without spread are numbers without an interval."""
    found = lee([1.0, 1.0], 2, [0.0, 0.0], 2)

    assert found.low.estimate == 1.0
    assert math.isnan(found.ci_low)


def test_impossible_counts_and_limits_raise():
    """More outcomes than units, and limits the wrong way round."""
    with pytest.raises(UpliftlabError) as counts:
        lee([1.0, 2.0], 1, [1.0, 2.0], 2)
    arm = Observed(assigned=2, observed=2, mean=0.0, variance=1.0)
    with pytest.raises(UpliftlabError) as limits:
        manski(arm, arm, (1.0, 0.0))

    assert str(counts.value) == "2 outcomes are seen of 1 units assigned."
    assert str(limits.value) == "limits are 1 and 0; write the lower one first."
