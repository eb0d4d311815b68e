from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from upliftlab.errors import UpliftlabError
from upliftlab.stats.anytime_ratio import log_e_value
from upliftlab.stats.bounded_sequence import Batches, betting, empirical_bernstein, interval
from upliftlab.stats.conditional_power import conditional_power, predictive_power, waiting
from upliftlab.stats.confidence_sequence import (
    always_valid_p,
    multiplier,
    normal_scale,
    widened,
)
from upliftlab.stats.group_sequential import Boundary, crossing
from upliftlab.stats.looks import curved, skewness_of_difference, straighten

PATHS, LOOKS = 2_000, 40


def walks(rng, sizes):
    """Running count, mean, variance and third moment of zero-inflated profit, 17 % above 0."""
    fresh = np.diff(sizes, prepend=0)
    some = rng.binomial(fresh, 0.17, (PATHS, len(sizes)))
    cell = np.repeat(np.arange(some.size), some.ravel())
    x = rng.lognormal(3.0, 0.7, len(cell)) - 8.0
    one, two, three = (
        np.cumsum(np.bincount(cell, x**p, some.size).reshape(some.shape), axis=1) / sizes
        for p in (1, 2, 3)
    )
    return one, two - one**2, three - 3 * one * two + 2 * one**3


def test_ranges_hold_at_all_looks_at_five_to_ninety_five():
    """Both arms alike, 250 to 4,000 in the smaller: at most 5 % ever cross, either way."""
    rng = np.random.default_rng(20261128)
    small = np.unique(np.geomspace(250, 4_000, LOOKS).round().astype(int))
    large = small * 19
    (m_t, v_t, k_t), (m_c, v_c, k_c) = walks(rng, small), walks(rng, large)
    variance = v_t / small + v_c / large
    z = (m_t - m_c) / np.sqrt(variance)
    skew = skewness_of_difference((k_t, k_c), (small, large), variance)
    bound = multiplier(small + large, tuned_at=5_000)
    score = straighten(z, skew)
    crossed = (np.abs(score) > bound).any(axis=1).sum()
    tails = [(sign * score > bound).any(axis=1).sum() for sign in (1, -1)]

    assert stats.binom.sf(crossed - 1, PATHS, 0.05) > 0.001
    assert all(stats.binom.sf(tail - 1, PATHS, 0.025) > 0.001 for tail in tails)
    assert (np.abs(z) > 1.96).any(axis=1).mean() > 0.15
    lower = [(z < -bound).any(axis=1).sum(), tails[1]]
    assert lower[1] < lower[0]


@given(st.floats(-6, 6), st.floats(-0.4, 0.4))
def test_curving_undoes_straightening(z, skew):
    """The two maps are inverse to each other, and keep the order."""
    assert float(curved(straighten(z, skew), skew)) == pytest.approx(z, abs=1e-6)
    assert straighten(z + 0.1, skew) > straighten(z, skew)


@given(st.floats(-6, 6), st.floats(3, 500))
def test_scales_of_t_and_z_are_inverse(z, df):
    """A t bound of the same tail goes back to its z."""
    assert normal_scale(float(widened(z, df)), df) == pytest.approx(z, abs=1e-6)


@given(st.floats(0.1, 8), st.floats(10, 1e6))
def test_p_is_below_alpha_exactly_outside_the_range(z, n):
    """Duality of range and p-value, two-sided and one-sided."""
    for sided in (1, 2):
        bound = float(multiplier(n, tuned_at=5_000, sided=sided))
        p = always_valid_p(z, n, tuned_at=5_000, sided=sided)
        assert (p < 0.05) == (z > bound) or abs(z - bound) < 1e-9


def test_evidence_against_shares_is_a_martingale():
    """Its mean over all samples of 30 from the promised shares is 1."""
    share = [0.3, 0.7]
    mean = sum(
        stats.binom.pmf(k, 30, share[0]) * math.exp(log_e_value([k, 30 - k], share))
        for k in range(31)
    )

    assert mean == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("method", [betting, empirical_bernstein])
def test_bounded_ranges_hold_at_all_looks(method):
    """A rare yes/no outcome, ten batches: left out in at most 5 % of 400 sequences."""
    rng = np.random.default_rng(5)
    n = np.full(10, 300)
    missed = 0
    for _ in range(400):
        mean = rng.binomial(n, 0.04) / n
        whole = Batches.of(n, mean, n * mean * (1 - mean))
        ends = [
            method(Batches.of(n[:k], mean[:k], whole.m2[:k]), tuned_at=3_000, alpha=0.05)
            for k in (1, 3, 10)
        ]
        missed += any(not low <= 0.04 <= high for low, high in ends)

    assert stats.binom.sf(missed - 1, 400, 0.05) > 0.001


def test_bounded_ranges_move_with_the_scale():
    """An outcome from -2 to 3 has the range of the same outcome on 0 to 1, moved."""
    one = Batches.of([400, 400], [0.4, 0.5], [20.0, 20.0])
    moved = Batches.of([400, 400], [0.0, 0.5], [500.0, 500.0], low=-2, high=3)
    low, high = interval(one, tuned_at=800)

    assert interval(moved, tuned_at=800) == pytest.approx((5 * low - 2, 5 * high - 2))


def test_values_outside_the_declared_bounds_are_refused():
    """A mean above the bound cannot come from values within."""
    with pytest.raises(UpliftlabError) as caught:
        Batches.of([10], [1.2], [1.0])

    assert str(caught.value) == (
        "a bounded metric has values outside 0 to 1; correct the bounds in looks.bounded, or "
        "take the metric out."
    )


def test_conditional_power_averages_to_power():
    """Over what may be seen at half time, the chance to end above 1.96 is the power."""
    drift, grid = 2.8, np.linspace(-8, 12, 4_001)
    weight = stats.norm.pdf(grid, drift * math.sqrt(0.5)) * (grid[1] - grid[0])
    mean = sum(
        w * conditional_power(float(z), 0.5, bound=1.96, drift=drift)
        for z, w in zip(grid, weight, strict=True)
    )
    plain = Boundary(information=np.ones(1), upper=np.array([1.96]), lower=np.array([-np.inf]))

    assert mean == pytest.approx(float(crossing(plain, drift).upper[0]), abs=1e-6)


def test_predictive_power_averages_conditional_power_over_the_effect():
    """The flat prior's effect is normal about the trend."""
    z, t = 1.2, 0.4
    drift = np.linspace(-10, 14, 4_001)
    weight = stats.norm.pdf(drift, z / math.sqrt(t), 1 / math.sqrt(t)) * (drift[1] - drift[0])
    mean = sum(
        w * conditional_power(z, t, bound=2.0, drift=float(d))
        for d, w in zip(drift, weight, strict=True)
    )

    assert mean == pytest.approx(predictive_power(z, t, bound=2.0), abs=1e-6)


def test_waiting_is_worth_nothing_without_news_and_little_when_sure():
    """No new units: no gain; an effect far from 0: nothing to learn."""
    assert waiting(1.0, 0.5, growth=1.0).gain == 0
    assert waiting(5.0, 0.5, growth=2.0).gain < 1e-9
    doubt = waiting(0.0, 1.0, growth=2.0)
    assert doubt.gain == pytest.approx(math.sqrt(0.5) / math.sqrt(2 * math.pi))
    assert doubt.ship_loss == pytest.approx(doubt.stop_loss)
