from __future__ import annotations

import math

import numpy as np
import pytest

from upliftlab.errors import UpliftlabError
from upliftlab.stats.mixture import sample
from upliftlab.stats.shrinkage import james_stein, shrink


def programme(seed, *, n=200, null=0.0):
    """Effects, standard errors spread fivefold, estimates."""
    rng = np.random.default_rng(seed)
    s = np.exp(rng.uniform(np.log(0.5), np.log(2.5), n))
    a = np.where(rng.random(n) < null, 0.0, rng.normal(size=n) / math.sqrt(1 - null))
    return a, s, a + s * rng.normal(size=n)


def test_with_a_normal_prior_it_is_nearly_the_normal_answer():
    """Effects N(0, 1): posterior means are close to y / (1 + s^2), the oracle's."""
    _, s, y = programme(1, n=600)
    found = shrink(y, s)
    oracle = y / (1 + s**2)

    assert np.abs(found.mean - oracle).mean() < 0.08
    assert found.spread.ci_low < 1.0 < found.spread.ci_high
    assert np.corrcoef(found.mean, oracle)[0, 1] > 0.99


def test_mostly_nothing_is_seen_as_mostly_nothing():
    """80 % of tests do nothing: the share is covered, large effects are hardly shrunken."""
    a, s, y = programme(3, n=600, null=0.8)
    found = shrink(y, s)
    large = np.argmax(np.abs(y / s))

    assert found.null_share.ci_low < 0.8 < found.null_share.ci_high + 0.02
    assert found.mean[large] == pytest.approx(y[large], rel=0.2)
    assert found.p_null[a == 0].mean() > found.p_null[a != 0].mean() + 0.1


def test_totals_of_winners_are_covered():
    """40 programmes, a third of the size of the study in docs/certify: no bias, no misses."""
    hits, errors, naive = 0, [], []
    for seed in range(40):
        a, s, y = programme(100 + seed, n=120, null=0.5)
        picked = y > 1.96 * s
        total = shrink(y, s, draws=400).total(picked)
        true = a[picked].sum()
        hits += total.ci_low <= true <= total.ci_high
        errors.append(total.estimate - true)
        naive.append(y[picked].sum() - true)

    assert hits >= 34  # 95 % of 40, less three standard errors
    assert abs(np.mean(errors)) < 0.25 * np.mean(naive)


def test_scale_says_what_alike_means():
    """Effects in another unit come out in that unit; the draws are the same."""
    _, s, y = programme(5, n=40)
    plain, scaled = shrink(y, s), shrink(y * 100, s * 100, scale=np.full(40, 100.0))

    assert scaled.mean == pytest.approx(100 * plain.mean, rel=1e-9)
    assert scaled.ci_low == pytest.approx(100 * plain.ci_low, rel=1e-5)


def test_a_block_without_correlation_changes_nothing_but_noise():
    """Blocked and plain sampler have one target."""
    _, s, y = programme(6, n=60)
    blocks = [((i, i + 1), np.diag(s[[i, i + 1]] ** 2)) for i in range(0, 60, 2)]
    plain, blocked = shrink(y, s), shrink(y, s, blocks=blocks)

    # Chains of 6,000 sweeps agree to .012 on average; 1,000 sweeps are noisier.
    assert np.abs(plain.mean - blocked.mean).mean() < 0.06
    assert np.abs(plain.sd - blocked.sd).mean() < 0.06


def test_shared_errors_widen_the_total_of_arms_that_share_a_control():
    """Correlation .8 within pairs: the total of both arms is less certain."""
    rng = np.random.default_rng(9)
    pair = np.array([[1.0, 0.8], [0.8, 1.0]])
    a = rng.normal(0, 2, 80)
    noise = rng.multivariate_normal([0, 0], pair, 40).ravel()
    blocks = [((i, i + 1), pair) for i in range(0, 80, 2)]
    y = a + noise
    alone = shrink(y, np.ones(80)).total(np.ones(80, dtype=bool))
    joint = shrink(y, np.ones(80), blocks=blocks).total(np.ones(80, dtype=bool))

    assert joint.std_error > 1.15 * alone.std_error


def test_one_pair_given_the_prior_is_the_textbook_normal():
    """With a known normal prior and correlated errors the sampler hits the exact posterior."""
    rng = np.random.default_rng(4)
    pair = np.array([[1.0, 0.6], [0.6, 1.0]])
    a = np.concatenate([rng.normal(0, 3, 400), [0, 0]])
    noise = np.concatenate([rng.normal(size=400), [1.5, -0.5]])
    y = a + noise
    found = sample(
        y,
        np.ones(402),
        blocks=[([400, 401], pair)],
        draws=1500,
        burn_in=300,
        rng=np.random.default_rng(1),
    )
    prior = 9 * np.eye(2)
    exact = prior @ np.linalg.solve(prior + pair, y[400:])

    assert found.mean[400:] == pytest.approx(exact, abs=0.15)


def test_the_same_data_give_the_same_numbers():
    """The sampler's seed is fixed."""
    _, s, y = programme(7, n=20)

    assert shrink(y, s).mean.tolist() == shrink(y, s).mean.tolist()


def test_james_stein_factors():
    """Case J3: .737864 to zero, .601770 to the mean."""
    effects = [0.02, 0.05, -0.01, 0.08, 0.03]
    zero, to_zero = james_stein(effects, 0.03, towards="zero")
    _, to_mean = james_stein(effects, 0.03)

    assert to_zero == pytest.approx(0.737864, abs=5e-7)
    assert to_mean == pytest.approx(0.601770, abs=5e-7)
    assert zero[0] == pytest.approx(0.02 * to_zero)


def test_two_tests_are_too_few():
    """Estimates come back as they are, without interval, and say why."""
    found = shrink([1.0, 2.0], [1.0, 1.0])

    assert found.mean.tolist() == [1.0, 2.0]
    assert math.isnan(found.ci_low[0])
    assert found.spread.note == "shrinkage needs three tests"


def test_nothing_picked_has_no_total():
    """An empty sum is not 0 yuan with certainty."""
    _, s, y = programme(8, n=5)
    total = shrink(y, s).total(np.zeros(5, dtype=bool))

    assert total.note == "nothing was picked"
    assert math.isnan(total.estimate)


def test_tests_without_numbers_are_refused():
    """Whole messages."""
    with pytest.raises(UpliftlabError) as missing:
        shrink([1.0, math.nan, 2.0], [1.0, 1.0, 1.0])
    with pytest.raises(UpliftlabError) as scale:
        shrink([1.0, 1.0, 2.0], [1.0, 1.0, 1.0], scale=[1.0, 0.0, 1.0])

    assert str(missing.value) == (
        "shrink needs finite estimates and positive standard errors; leave out tests that have "
        "none."
    )
    assert str(scale.value) == "shrink needs positive scales; leave out tests that have none."
