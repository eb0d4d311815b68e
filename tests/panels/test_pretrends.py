"""Power of the pre-trend test against what a simulation finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from upliftlab.errors import DesignError
from upliftlab.panels.event_path import EventPath
from upliftlab.panels.pretrends import (
    box_probability,
    detectable_slopes,
    joint_test,
    judge_trend,
    slope_for_power,
)


def path_of(n_pre=4, n_post=2, *, seed=1, df=math.inf):
    """Correlated estimates."""
    rng = np.random.default_rng(seed)
    size = n_pre + n_post
    noise = rng.normal(size=(size, size + 3))
    return EventPath.of_arrays(rng.normal(size=size), noise @ noise.T / size, n_pre, df=df)


def test_power_and_means_after_passing_match_a_simulation():
    """Many draws: the share that fails, and the mean of those that pass."""
    path = path_of()
    delta = 0.25 * path.times
    found = judge_trend(path, delta)
    draws = np.random.default_rng(2).multivariate_normal(delta, path.sigma, size=400_000)
    sd = np.sqrt(np.diag(path.sigma))[:4]
    passed = (np.abs(draws[:, :4]) <= 1.96 * sd).all(axis=1)

    assert found.power == pytest.approx(1 - passed.mean(), abs=0.003)
    assert found.mean_after_passing == pytest.approx(draws[passed].mean(axis=0), abs=0.006)
    assert found.bias_after_passing == pytest.approx(found.mean_after_passing[4])


def test_the_slope_has_the_power_it_was_asked_for():
    """Power at the 50 % slope is 50 %, at the 80 % slope 80 %."""
    path = path_of(n_pre=5)
    for power in (0.5, 0.8):
        slope = slope_for_power(path, power)

        assert judge_trend(path, slope * path.times).power == pytest.approx(power, abs=1e-6)


def test_box_probabilities_match_scipy():
    """Against Genz' algorithm in scipy with a tight tolerance, in 2 to 8 dimensions."""
    for size in (2, 4, 8):
        rng = np.random.default_rng(size)
        noise = rng.normal(size=(size, size + 2))
        sigma, mean = noise @ noise.T / size, rng.normal(size=size) / 2
        edge = 1.96 * np.sqrt(np.diag(sigma))
        theirs = stats.multivariate_normal.cdf(
            edge, mean, sigma, lower_limit=-edge, maxpts=200_000, abseps=1e-6, rng=1
        )

        assert box_probability(mean, sigma, -edge, edge) == pytest.approx(theirs, abs=5e-4)


def test_independent_estimates_have_a_product_of_powers():
    """A closed form in six dimensions."""
    mean = np.linspace(-2, 2, 6)
    edge = np.full(6, 1.96)
    exact = np.prod(stats.norm.cdf(edge - mean) - stats.norm.cdf(-edge - mean))

    assert box_probability(mean, np.eye(6), -edge, edge) == pytest.approx(exact, abs=1e-6)


def test_factors_are_ratios_of_what_they_name():
    """Bayes factor: chances to pass; likelihood ratio: densities of the estimates before."""
    path = path_of()
    delta = 0.3 * path.times
    found = judge_trend(path, delta)
    sigma = path.sigma[:4, :4]
    ratio = stats.multivariate_normal.pdf(
        path.beta[:4], delta[:4], sigma
    ) / stats.multivariate_normal.pdf(path.beta[:4], np.zeros(4), sigma)

    assert found.likelihood_ratio == pytest.approx(ratio)
    assert found.bayes_factor == pytest.approx(
        (1 - found.power) / (1 - judge_trend(path, 0 * delta).power)
    )


def test_the_joint_test_is_wald_and_f():
    """chi-square without, F with degrees of freedom."""
    path = path_of(df=30.0)
    wald = float(path.beta[:4] @ np.linalg.solve(path.sigma[:4, :4], path.beta[:4]))
    found = joint_test(path)

    assert found.statistic == pytest.approx(wald)
    assert found.p_value == pytest.approx(stats.f.sf(wald / 4, 4, 30))
    assert joint_test(path, df=math.inf).p_value == pytest.approx(stats.chi2.sf(wald, 4))


def test_the_joint_test_does_not_depend_on_the_unit():
    """Nor on one period being in another unit than the next."""
    path = path_of()
    scale = np.array([1e-6, 1.0, 1e6, 3.0, 1.0, 1.0])
    other = EventPath.of_arrays(path.beta * scale, path.sigma * np.outer(scale, scale), 4)

    assert joint_test(other).p_value == pytest.approx(joint_test(path).p_value)


def test_estimates_that_repeat_each_other_count_once():
    """A singular covariance loses restrictions, and says so."""
    path = EventPath.of_arrays(
        [1.0, 1.0, 5.0], np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1.0]]), 2
    )
    found = joint_test(path)

    assert found.statistic == pytest.approx(1.0)
    assert found.restrictions == 1
    assert found.note == "1 of 2 estimates before the start add nothing"


def test_nothing_to_test_is_nan():
    """Estimates without variance have no test and no detectable slope."""
    path = EventPath.of_arrays([1.0, 5.0], np.diag([0.0, 1.0]), 1)

    assert math.isnan(joint_test(path).p_value)
    assert joint_test(path).note == "the estimates before the start do not vary"
    assert math.isnan(slope_for_power(path, 0.5))
    assert math.isnan(detectable_slopes(path).false_alarm)
    assert judge_trend(path, [1.0, 1.0]).note == (
        "an estimate before the start does not vary, so that it has no t"
    )


def test_collinear_estimates_have_the_power_of_one():
    """Two estimates that are multiples of each other pass or fail together."""
    double = np.outer([1.0, 2.0, 0.0], [1.0, 2.0, 0.0]) + np.diag([0, 0, 1.0])
    found = judge_trend(EventPath.of_arrays([0.0, 0.0, 0.0], double, 2), np.zeros(3))

    assert found.power == pytest.approx(0.05, abs=1e-4)


def test_an_impossible_trend_has_an_infinite_or_no_likelihood():
    """Estimates a hundred standard errors away do not overflow."""
    path = EventPath.of_arrays([-100.0, 100.0], np.eye(2), 1)

    assert judge_trend(path, [-100.0, 100.0]).likelihood_ratio == math.inf
    assert judge_trend(path, [100.0, -100.0]).likelihood_ratio == 0


def test_many_periods_find_trends_where_there_are_none():
    """With fourteen independent estimates the pre-test fails in 51 % of samples anyway."""
    found = detectable_slopes(EventPath.of_arrays(np.zeros(15), np.eye(15), 14))

    assert found.false_alarm == pytest.approx(1 - 0.95**14, abs=1e-3)
    assert found.half == 0
    assert found.four_fifths > 0


def test_slopes_scale_with_the_unit():
    """A slope in yuan is a hundredth of that in fen."""
    path = path_of()

    fen, yuan = detectable_slopes(path), detectable_slopes(path.divided_by(100.0))
    assert fen.half == pytest.approx(100 * yuan.half)
    assert fen.bias_half == pytest.approx(100 * yuan.bias_half)


def test_a_trend_of_the_wrong_length_is_refused():
    """One value per estimate."""
    with pytest.raises(DesignError) as caught:
        judge_trend(path_of(), [1.0])

    assert str(caught.value) == (
        "a hypothesised trend needs 6 values, one per estimate; it has 1."
    )


def test_power_is_a_probability():
    """80 is not 80 %."""
    with pytest.raises(DesignError) as caught:
        slope_for_power(path_of(), 80)

    assert str(caught.value) == "power is 80; write a number between 0 and 1, such as 0.8."
