"""Precision of roll-outs and switchbacks, visitors over time, and the worth of knowing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from upliftlab.errors import DesignError
from upliftlab.stats.accumulation import Arrivals
from upliftlab.stats.information import Prior, value_of_sample, value_of_samples
from upliftlab.stats.schedule_power import (
    carried_over,
    period_covariance,
    schedule_std_error,
    stepped_wedge,
    switchback_std_error,
    weighted_std_error,
)


@pytest.mark.parametrize(
    ("clusters", "waves", "icc"), [(6, 3, 0.05), (12, 4, 0.2), (10, 2, 0.01)]
)
def test_the_wedge_equals_hussey_and_hughes(clusters, waves, icc):
    """Equation 8 of Hussey and Hughes (2007), written out."""
    x = stepped_wedge(clusters, waves).astype(float)
    i, t = x.shape
    inner, outer = (1 - icc) / 20, icc
    u, w, v = x.sum(), (x.sum(axis=0) ** 2).sum(), (x.sum(axis=1) ** 2).sum()
    above = i * inner * (inner + t * outer)
    below = (i * u - w) * inner + (u**2 + i * t * u - t * w - i * v) * outer

    found = schedule_std_error(x, period_covariance(t, sd=1.0, size=20, icc=icc))

    assert found == pytest.approx(math.sqrt(above / below), rel=1e-10)


def test_no_weights_beat_the_bound():
    """The group-time average of a wedge is no more precise than generalised least squares."""
    from upliftlab.data.panel import Panel
    from upliftlab.panels.aggregates import aggregate
    from upliftlab.panels.group_time import group_time

    x = stepped_wedge(12, 3, before=4, each=2, after=2)
    start = x.shape[1] - x.sum(axis=1)
    v = period_covariance(
        x.shape[1], sd=1.0, size=5, icc=0.3, autocorrelation=0.8, shape="decaying"
    )
    rng = np.random.default_rng(3)
    average = aggregate(group_time(Panel.of_arrays(rng.normal(size=x.shape), start)))
    exact = weighted_std_error(average.overall.slope[0], [4, 4, 4], v)
    draws = rng.multivariate_normal(np.zeros(x.shape[1]), v, size=(4000, 12))
    slope = np.repeat(average.overall.slope[0] / 4, 4, axis=0)
    seen = np.einsum("rgt,gt->r", draws, slope).std()

    assert exact == pytest.approx(seen, rel=0.05)
    assert schedule_std_error(x, v) < exact


def test_a_schedule_that_all_share_identifies_nothing():
    """Everybody switches at once: no number, not zero."""
    x = np.tile([0.0, 1.0], (4, 1))

    assert math.isnan(schedule_std_error(x, np.eye(2)))


def test_a_switchback_is_as_precise_as_its_coins_say():
    """Autocorrelated days with a weekday pattern: formula against 4,000 tosses."""
    rng = np.random.default_rng(4)
    v = period_covariance(56, sd=1.0, autocorrelation=0.6, shape="decaying")
    block = np.arange(56) // 2
    level = np.tile([0.0, 0.5, 0, 0.2, 0, 0, 0.4], 8)
    found = switchback_std_error(v, block, block // 2, burn_in=1, level=level)
    y = rng.multivariate_normal(level, v, size=4000)[:, 1::2]
    sign = rng.choice([-1, 1], size=(4000, 14))
    gain = sign * (y[:, 0::2] - y[:, 1::2])

    assert found == pytest.approx(gain.mean(axis=1).std(), rel=0.05)


def test_carry_over_eats_what_burn_in_does_not_drop():
    """Nothing is lost with enough burn-in; half of a block that never settles."""
    assert carried_over(1000, 3, burn_in=3, lasts=3) == 1.0
    assert carried_over(10**6, 3, burn_in=0, lasts=9) == pytest.approx(0.5, abs=1e-5)


def test_visitors_accumulate_as_a_mixed_poisson_process_does():
    """Counting 300,000 gamma-mixed visitors agrees with the curve fitted to two weeks."""
    rng = np.random.default_rng(5)
    pool = 300_000
    rate = rng.gamma(0.7, 0.3, pool)
    seen, counts = np.zeros(pool, bool), []
    for _ in range(8):
        seen |= rng.random(pool) < -np.expm1(-rate)
        counts.append(int(seen.sum()))
    found = Arrivals(weekly=counts[0], returning=2 - counts[1] / counts[0], pool=pool)

    assert [found.seen(7 * (w + 1)) for w in range(8)] == pytest.approx(counts, rel=0.01)
    assert found.seen(7 * 500) < pool


def test_arrivals_follow_the_week():
    """A run that starts on Saturday has its weekend first."""
    weekend = (0.3, 0.3, 0.08, 0.08, 0.08, 0.08, 0.08)
    found = Arrivals(weekly=1000, weekdays=weekend)

    assert found.seen(2) == pytest.approx(600)
    assert found.seen(9) == pytest.approx(1600)
    assert found.days_until(600) == pytest.approx(2, abs=1e-4)
    assert found.days_until(0) == 0
    assert Arrivals(weekly=10, pool=50).days_until(60) == math.inf
    assert Arrivals(weekly=10, returning=0.5).seen(28) == pytest.approx(
        10 * 4 ** math.log2(1.5)
    )


def test_the_worth_of_a_sample_is_the_mean_of_better_decisions():
    """200,000 draws of truth and estimate: deciding after less deciding before."""
    rng = np.random.default_rng(6)
    prior = Prior(mean=-0.3, sd=0.8)
    truth = rng.normal(prior.mean, prior.sd, 200_000)
    seen = truth + rng.normal(0, 0.5, truth.size)
    weight = prior.sd**2 / (prior.sd**2 + 0.25)
    posterior = prior.mean + weight * (seen - prior.mean)
    gain = np.where(posterior > 0.1, truth - 0.1, 0).mean() - max(prior.mean - 0.1, 0)

    assert value_of_sample(prior, 0.5, hurdle=0.1) == pytest.approx(gain, abs=0.003)
    one = value_of_samples(prior, np.array([[0.25]]), hurdle=0.1)
    assert one == pytest.approx(value_of_sample(prior, 0.5, hurdle=0.1), rel=0.01)
    assert math.isnan(value_of_sample(prior, math.nan))


def test_several_arms_are_worth_the_best_of_them():
    """Three arms that share a control, by simulation."""
    rng = np.random.default_rng(7)
    cov = np.full((3, 3), 0.2) + 0.2 * np.eye(3)
    prior = Prior(sd=0.5)
    truth = rng.normal(0, 0.5, (200_000, 3))
    seen = truth + rng.multivariate_normal(np.zeros(3), cov, size=200_000)
    posterior = seen @ (0.25 * np.linalg.inv(0.25 * np.eye(3) + cov)).T
    best = posterior.argmax(axis=1)
    took = np.where(posterior.max(axis=1) > 0, truth[np.arange(len(best)), best], 0)

    assert value_of_samples(prior, cov) == pytest.approx(took.mean(), abs=0.004)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: stepped_wedge(3, 5),
            (
                "a roll-out in 5 waves needs at least 5 clusters and there are 3; "
                "plan 3 waves or fewer."
            ),
        ),
        (
            lambda: switchback_std_error(np.eye(4), [0, 0, 1, 1], [0] * 4, burn_in=2),
            (
                "blocks of the switchback have 2 periods and 2 of them are burn-in; "
                "blocks must be longer."
            ),
        ),
        (
            lambda: switchback_std_error(np.eye(2), [0, 1], [0, 0]),
            "a switchback of 1 pairs has no standard error; plan two or more.",
        ),
        (
            lambda: Prior(sd=0.0),
            (
                "the prior has a standard deviation of 0; who is certain needs no test. "
                "Write one above 0."
            ),
        ),
        (
            lambda: Arrivals(weekly=100, pool=50),
            "100 units come by in a week and the pool holds 50; it cannot be smaller.",
        ),
        (
            lambda: Arrivals(weekly=0),
            "0 units come by in a week; write how many.",
        ),
    ],
)
def test_impossible_schedules_are_refused(make, message):
    """One sentence: what was found, what is needed."""
    with pytest.raises(DesignError) as found:
        make()

    assert str(found.value) == message
