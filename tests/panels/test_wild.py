"""Restricted wild cluster bootstrap: references, laws, and where it is refused."""

import math
from itertools import product

import numpy as np
import pytest

from upliftlab.data.panel import NEVER
from upliftlab.errors import UpliftlabError
from upliftlab.panels.cohort_forms import group_time_forms
from upliftlab.panels.wild import ClusterScores, refusal, wild_bootstrap
from upliftlab.stats.clusters import arm_mean, difference

SIX_AND_SIX = [True] * 6 + [False] * 6


def two_arms(seed, *, sizes=None, columns=1, effect=0.0):
    rng = np.random.default_rng(seed)
    size = np.full(12, 5.0) if sizes is None else np.asarray(sizes, dtype=float)
    mean = rng.normal(size=(12, columns)) + effect * np.array(SIX_AND_SIX)[:, None]
    names = [f"c{k}" for k in range(columns)]
    return ClusterScores.of_two_arms(mean * size[:, None], SIX_AND_SIX, size=size, names=names)


def refitted_p(scores, tested):
    """The textbook algorithm: every draw of totals is estimated and studentised afresh."""
    treated, size, total = scores.group == 1, scores.size, scores.total[:, 0]
    share = size * treated / size[treated].sum() - size * ~treated / size[~treated].sum()

    def t(sums):
        variance = 0.0
        for arm in (treated, ~treated):
            m, n = size[arm], size[arm].sum()
            rest = sums[:, arm] - np.outer(sums[:, arm].sum(axis=1) / n, m)
            variance = variance + (rest**2 / (1 - m / n)).sum(axis=1) / n**2
        return np.abs((sums / size) @ share - tested) / np.sqrt(variance)

    low = (total - tested * size * treated).sum() / size.sum()
    fitted = size * (low + tested * treated)
    signs = np.array(list(product((1.0, -1.0), repeat=len(size))))
    observed = t(total[None])[0]
    return float((t(fitted + signs * (total - fitted)) >= observed * (1 - 1e-9)).mean())


def test_enumerated_p_value_is_that_of_wildboottest():
    """wildboottest 0.3.2, full enumeration, null imposed, 12 equal clusters: p 0.377441.

    Totals of 5 units a cluster; with equal clusters CR1 and CR2 order the draws alike.
    """
    total = [12.292, -6.688, 8.423, 0.474, 1.133, 2.293]
    total += [-10.242, -0.238, -3.928, 13.724, -1.317, -3.545]
    scores = ClusterScores.of_two_arms(total, SIX_AND_SIX, size=[5.0] * 12)

    result = wild_bootstrap(scores)

    assert result.is_exact
    assert result.draws == 4096
    assert result["y"].p_value == pytest.approx(0.377441, abs=1e-6)


@pytest.mark.parametrize("tested", [0.0, 0.7, -1.3])
def test_polynomials_equal_the_textbook_loop_with_unequal_sizes(tested):
    """Testing a value by one formula is re-estimating every draw under that null."""
    sizes = [3, 9, 4, 6, 2, 8, 5, 5, 12, 3, 4, 7]
    scores = two_arms(4, sizes=sizes, effect=0.9)
    moved = scores.total - tested * np.outer(scores.size * (scores.group == 1), [1.0])
    shifted = ClusterScores.of_two_arms(moved, SIX_AND_SIX, size=sizes, names=["c0"])

    p = wild_bootstrap(shifted).estimates[0].p_value

    assert p == pytest.approx(refitted_p(scores, tested), abs=1e-12)


def test_ends_of_the_interval_are_where_the_test_changes_its_mind():
    """Just inside the interval a value is not rejected, just outside it is."""
    sizes = [3, 9, 4, 6, 2, 8, 5, 5, 12, 3, 4, 7]
    scores = two_arms(5, sizes=sizes)
    effect = wild_bootstrap(scores).estimates[0]
    step = 1e-6 * effect.std_error

    assert refitted_p(scores, effect.ci_high - step) > 0.05
    assert refitted_p(scores, effect.ci_high + step) <= 0.05
    assert refitted_p(scores, effect.ci_low + step) > 0.05
    assert refitted_p(scores, effect.ci_low - step) <= 0.05


@pytest.mark.parametrize("seed", range(12))
def test_p_value_interval_and_band_never_contradict_each_other(seed):
    """p <= 5 % and an interval without 0 are one event; the band holds the interval."""
    result = wild_bootstrap(two_arms(seed, columns=6, effect=1.1))

    for i, effect in enumerate(result.estimates):
        assert (effect.p_value <= 0.05) == effect.excludes(0.0)
        assert result.band_low[i] <= effect.ci_low + 1e-9
        assert result.band_high[i] >= effect.ci_high - 1e-9
        assert (result.adjusted_p[i] <= 0.05) == (
            result.band_low[i] > 0 or result.band_high[i] < 0
        )
        assert result.adjusted_p[i] >= effect.p_value


def test_band_and_adjusted_p_values_count_the_largest_rival():
    """Draws of a functional where it is tested, of all others at their estimates."""
    scores = two_arms(3, columns=3, effect=0.8)
    result = wild_bootstrap(scores)
    treated = np.array(SIX_AND_SIX)
    signs = np.array(list(product((1.0, -1.0), repeat=12)))

    def drawn_t(k, tested):
        total = scores.total[:, k] - tested * scores.size * treated
        rest = total - scores.size * total.sum() / scores.size.sum()
        a, b = (signs * rest)[:, :6] / 5, (signs * rest)[:, 6:] / 5
        spread = np.sqrt(a.var(axis=1, ddof=1) / 6 + b.var(axis=1, ddof=1) / 6)
        return np.abs(a.mean(axis=1) - b.mean(axis=1)) / spread

    at_estimate = [drawn_t(k, each.estimate) for k, each in enumerate(result.estimates)]

    def adjusted(k, tested):
        effect = result.estimates[k]
        largest = np.maximum(np.max(at_estimate, axis=0), drawn_t(k, tested))
        observed = abs(effect.estimate - tested) / effect.std_error
        return (largest >= observed * (1 - 1e-9)).mean()

    for k, effect in enumerate(result.estimates):
        step = 1e-6 * effect.std_error
        high = result.band_high[k]

        assert result.adjusted_p[k] == pytest.approx(adjusted(k, 0.0))
        assert adjusted(k, high - step) > 0.05 >= adjusted(k, high + step)


def test_money_in_another_unit_is_the_same_money():
    """Rescaling and turning totals rescales and turns everything."""
    scores = two_arms(8, effect=0.6)
    turned = ClusterScores.of_two_arms(-100 * scores.total, SIX_AND_SIX, size=scores.size)

    effect, back = (wild_bootstrap(each).estimates[0] for each in (scores, turned))

    assert back.p_value == effect.p_value
    assert back.ci_low == pytest.approx(-100 * effect.ci_high)
    assert back.ci_high == pytest.approx(-100 * effect.ci_low)


def test_joint_of_two_arms_is_the_cluster_contrast():
    """CR2 covariance and Bell-McCaffrey df are those of stats.clusters, sizes unequal."""
    sizes = np.array([3.0, 9, 4, 6, 2, 8, 5, 5, 12, 3, 4, 7])
    scores = two_arms(2, sizes=sizes)
    known = difference(
        arm_mean(sizes[:6], scores.total[:6]), arm_mean(sizes[6:], scores.total[6:])
    )

    found = scores.joint().estimate("c0")

    assert found.estimate == pytest.approx(known.estimate)
    assert found.std_error == pytest.approx(known.std_error)
    assert found.df == pytest.approx(known.df)


@pytest.mark.parametrize(("treated", "word"), [(4, "4 treated"), (8, "4 untreated")])
def test_fewer_than_five_clusters_on_a_side_are_refused(treated, word):
    """The estimate stays, its p-value and interval do not exist, and the note says why."""
    is_treated = [True] * treated + [False] * (12 - treated)
    result = wild_bootstrap(ClusterScores.of_two_arms(np.arange(12.0), is_treated))
    effect = result["y"]

    assert math.isfinite(effect.estimate)
    assert math.isnan(effect.p_value)
    assert math.isnan(effect.ci_low)
    assert np.isnan(result.band_low).all()
    assert effect.note == (
        f"wild bootstrap refused: {word} clusters, at least 5 are needed; use re-assignment"
    )


def test_trap_t5_is_refused_for_its_three_untreated_clusters():
    """9 treated clusters in cohorts of 3 would do; 3 never-treated ones do not."""
    start = np.repeat([10, 14, 18, NEVER], 3)
    y = np.random.default_rng(0).normal(size=(12, 26, 1))

    scores = group_time_forms(start, 26).scores(y, start, names=["y"])

    assert refusal(scores).startswith("wild bootstrap refused: 3 untreated clusters")


def test_small_cohorts_are_labelled():
    """Cohorts of 3 among enough treated and untreated clusters make it a second opinion."""
    start = np.array([10] * 3 + [14] * 3 + [NEVER] * 6)
    y = np.random.default_rng(0).normal(size=(12, 26, 1))
    scores = group_time_forms(start, 26).scores(y, start, names=["y"])

    effect = wild_bootstrap(scores)["y"]

    assert effect.note == "a group has only 3 clusters: wild bootstrap is a second opinion"
    assert math.isfinite(effect.p_value)


def test_one_cluster_alone_in_a_cohort_is_refused():
    """A cohort of one has no residual, so nothing to change the sign of."""
    start = np.array([10] * 5 + [14] + [NEVER] * 6)
    y = np.random.default_rng(0).normal(size=(12, 26, 1))

    assert refusal(group_time_forms(start, 26).scores(y, start, names=["y"])) == (
        "wild bootstrap refused: a group has one cluster"
    )


def test_webb_weights_sample_six_points_and_agree_with_signs():
    """With 12 clusters six-point draws give about the p-value of all sign vectors."""
    scores = two_arms(3, effect=0.6)

    signs = wild_bootstrap(scores)["c0"].p_value
    webb = wild_bootstrap(scores, kind="webb", draws=4999)

    assert not webb.is_exact
    assert webb["c0"].p_value == pytest.approx(signs, abs=0.04)


def test_more_than_twelve_clusters_are_sampled_with_the_observed_one():
    """999 draws and the observed one; the same seed gives the same answer."""
    y = np.random.default_rng(1).normal(size=20)
    scores = ClusterScores.of_two_arms(y, [True] * 10 + [False] * 10)

    first, again = (wild_bootstrap(scores, seed=7) for _ in range(2))

    assert first.draws == 1000
    assert first["y"].p_value == again["y"].p_value
    assert first["y"].p_value >= 0.001


def test_a_component_that_does_not_vary_says_so():
    """One empty line of a P&L leaves the others alone."""
    total = np.column_stack([np.zeros(12), np.random.default_rng(0).normal(size=12)])
    scores = ClusterScores.of_two_arms(total, SIX_AND_SIX, names=["fee", "gmv"])

    result = wild_bootstrap(scores)

    assert result["fee"].note == "it does not vary"
    assert math.isnan(result["fee"].p_value)
    assert math.isfinite(result["gmv"].p_value)


def test_other_weights_are_a_mistake():
    """The message names what is allowed."""
    with pytest.raises(UpliftlabError) as caught:
        wild_bootstrap(two_arms(0), kind="mammen")

    assert str(caught.value) == (
        "the wild bootstrap was asked for 'mammen' weights; allowed: rademacher, webb."
    )


def test_interval_covers_with_unequal_clusters():
    """Smoke: 6 v 6 clusters with sizes that vary a lot, 200 runs (t(G-1) covers 89 %)."""
    rng = np.random.default_rng(11)
    hits = []
    for _ in range(200):
        size = np.round(rng.lognormal(3, 0.8, 12)) + 1
        total = size * rng.normal(size=12)
        scores = ClusterScores.of_two_arms(total, SIX_AND_SIX, size=size)
        hits.append(not wild_bootstrap(scores, kind="webb", draws=399)["y"].excludes(0.0))

    assert np.mean(hits) >= 0.91
