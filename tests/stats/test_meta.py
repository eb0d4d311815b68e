from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.errors import UpliftlabError
from upliftlab.stats.meta import between_groups, pool

effects = st.lists(st.floats(-5, 5), min_size=3, max_size=8)


def variances(k, seed=0):
    return np.random.default_rng(seed).uniform(0.05, 1.0, k)


@pytest.mark.parametrize("method", ["fixed", "dl", "reml", "pm"])
def test_a_covariance_without_correlation_is_a_vector_of_variances(method):
    """The general solution contains the simple one."""
    y, v = np.array([0.4, -0.2, 1.9, 0.8, 0.1]), variances(5)
    plain, full = pool(y, v, method=method), pool(y, np.diag(v), method=method)

    assert full.mean.estimate == pytest.approx(plain.mean.estimate, abs=1e-12)
    assert full.mean.std_error == pytest.approx(plain.mean.std_error, rel=1e-9)
    assert full.tau2 == pytest.approx(plain.tau2, abs=1e-12)
    assert full.tau2_high == pytest.approx(plain.tau2_high, rel=1e-9)
    assert sorted(full.weights) == pytest.approx(sorted(plain.weights), abs=1e-12)


def test_arms_that_share_a_control_count_for_less_than_independent_tests():
    """Generalised least squares by hand: variance 1 / (1' V^-1 1), weights V^-1 1."""
    y = np.array([1.0, 1.4, 0.6])
    cov = np.full((3, 3), 0.5) + 0.5 * np.eye(3)
    cov[2, :2] = cov[:2, 2] = 0.0
    found = pool(y, cov, method="fixed")
    inverse = np.linalg.inv(cov)

    assert found.mean.std_error == pytest.approx(math.sqrt(1 / inverse.sum()), rel=1e-12)
    assert found.mean.estimate == pytest.approx(inverse.sum(0) @ y / inverse.sum(), rel=1e-12)
    assert found.mean.std_error > pool(y, np.diag(cov), method="fixed").mean.std_error


def test_blocks_are_a_block_diagonal_matrix():
    """Five estimates, two of which share a control."""
    y, v = np.array([0.4, -0.2, 1.9, 0.8, 0.1]), variances(5)
    cov = np.diag(v)
    cov[1, 3] = cov[3, 1] = 0.04
    whole = pool(y, cov)
    parts = pool(y, v, blocks=[((1, 3), cov[np.ix_([1, 3], [1, 3])])])

    assert parts.mean.estimate == pytest.approx(whole.mean.estimate, abs=1e-12)
    assert parts.tau2 == pytest.approx(whole.tau2, rel=1e-9)
    assert parts.weights == pytest.approx(whole.weights, abs=1e-9)


@given(effects, st.floats(-100, 100), st.floats(0.1, 50))
@settings(max_examples=40, deadline=None)
def test_pooling_moves_and_stretches_with_the_data(y, shift, factor):
    """Adding a constant moves the mean only; another unit changes everything alike."""
    v = variances(len(y))
    here = pool(y, v)
    there = pool(np.array(y) * factor + shift, v * factor**2)

    assert there.mean.estimate == pytest.approx(
        here.mean.estimate * factor + shift, abs=1e-5 * (factor + abs(shift))
    )
    assert there.tau2 == pytest.approx(here.tau2 * factor**2, rel=1e-3, abs=1e-4 * factor**2)
    assert there.q == pytest.approx(here.q, rel=1e-6, abs=1e-6)


def test_reml_is_where_its_likelihood_is_highest():
    """No point of a fine grid has a higher restricted likelihood (written out here)."""
    rng = np.random.default_rng(3)
    v = rng.uniform(0.1, 2.0, 12)
    y = rng.normal(0.5, np.sqrt(v + 0.6))

    def likelihood(t):
        w = 1 / (v + t)
        mu = w @ y / w.sum()
        return -0.5 * (np.log(v + t).sum() + np.log(w.sum()) + w @ (y - mu) ** 2)

    best = max(np.linspace(0, 5, 5001), key=likelihood)

    assert pool(y, v).tau2 == pytest.approx(best, abs=1e-3)


def test_heterogeneity_interval_covers():
    """Q profile is exact for normal effects: 95 % of intervals hold the true 0.5."""
    rng = np.random.default_rng(8)
    v = variances(12, seed=1)
    hits = 0
    for _ in range(400):
        found = pool(rng.normal(1.0, np.sqrt(v + 0.5)), v, method="dl")
        hits += found.tau2_low <= 0.5 <= found.tau2_high

    assert 0.92 <= hits / 400 <= 0.98


def test_truncated_never_claims_more_than_the_plain_interval():
    """Estimates that agree by luck do not shrink the interval below Wald's."""
    y, v = [1.0, 1.01, 0.99, 1.0], [1.0, 1.0, 1.0, 1.0]
    raw, safe = pool(y, v), pool(y, v, small_sample="truncated")

    assert raw.mean.std_error < raw.wald.std_error
    assert safe.mean.ci_high - safe.mean.ci_low >= safe.wald.ci_high - safe.wald.ci_low


def test_too_few_estimates_give_no_number_and_say_why():
    """None, one, two: each lacks something by name."""
    none, one, two = pool([], []), pool([1.0], [0.5]), pool([1.0, 2.0], [0.5, 0.5])

    assert none.mean.note == "no estimates to pool"
    assert math.isnan(one.tau2)
    assert one.mean.estimate == 1.0
    assert one.mean.note == "one estimate: heterogeneity is not estimable"
    assert two.prediction.note == "a prediction interval needs three estimates"
    assert math.isnan(two.prediction.ci_low)
    assert none.to_dict()["tau2"] is None


def test_groups_with_one_mean_differ_by_chance_only():
    """Two groups: Q is the squared z of their difference."""
    a, b = pool([1.0, 1.2], [0.1, 0.2]), pool([2.0, 1.7], [0.2, 0.1])
    gap = a.wald.estimate - b.wald.estimate
    q, p = between_groups((a, b))

    assert q == pytest.approx(gap**2 / (a.wald.std_error**2 + b.wald.std_error**2), rel=1e-9)
    assert 0 < p < 1
    assert math.isnan(between_groups((a,))[0])


def test_wrong_shapes_are_refused():
    """Whole messages."""
    with pytest.raises(UpliftlabError) as shapes:
        pool([1.0, 2.0], [1.0])
    with pytest.raises(UpliftlabError) as zero:
        pool([1.0, 2.0], [1.0, 0.0])

    assert str(shapes.value) == (
        "pool got estimates of shape (2,) and variances of shape (1,); give (k,) and (k,) or "
        "(k, k)."
    )
    assert str(zero.value) == (
        "pool needs finite estimates and positive variances; leave out estimates that do not "
        "exist."
    )
