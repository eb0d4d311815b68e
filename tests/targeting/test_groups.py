"""Fifths by predicted gain: what they gained and who they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from upliftlab.errors import DataError, UpliftlabError
from upliftlab.stats.multiplicity import max_t_critical
from upliftlab.targeting.groups import (
    MOST_LEVELS,
    best_less_worst,
    clan,
    gates,
    membership,
)


def draw(n, *, seed=0, gain=1.0):
    """Scores whose effect rises with the prediction."""
    rng = np.random.default_rng(seed)
    prediction = rng.random(n)
    return gain * prediction + rng.normal(size=n), prediction


def test_groups_are_fifths_the_best_first():
    """1,000 different predictions: 200 each, means of their own scores."""
    psi, prediction = draw(1000)

    found = gates(psi, prediction)

    assert [group.label for group in found] == [
        "top fifth", "second fifth", "middle fifth", "fourth fifth", "bottom fifth",
    ]  # fmt: skip
    assert [group.share for group in found] == [0.2] * 5
    top = np.argsort(-prediction)[:200]
    assert found[0].effect.estimate == pytest.approx(psi[top].mean())
    assert found[0].predicted == pytest.approx(prediction[top].mean())


@given(st.lists(st.integers(0, 6), min_size=5, max_size=60), st.integers(2, 10))
def test_equal_predictions_stay_together(prediction, groups):
    """No two units of one prediction are in different groups, and better is never later."""
    found = membership(prediction, groups=groups)

    given_, cut = np.array(prediction), np.array(found)
    for a, b in zip(np.argsort(given_)[:-1], np.argsort(given_)[1:], strict=True):
        assert cut[a] >= cut[b]
        assert given_[a] != given_[b] or cut[a] == cut[b]


def test_one_prediction_for_all_is_one_group():
    """Nothing to compare: one group, no difference, and the reason."""
    found = gates([1.0, 2.0, 3.0], [5, 5, 5])
    gap = best_less_worst([1.0, 2.0, 3.0], [5, 5, 5])

    assert [(group.label, group.share) for group in found] == [("middle fifth", 1.0)]
    assert np.isnan(gap.estimate)
    assert gap.note == "predictions do not vary"


def test_intervals_count_all_groups():
    """Independent fifths: mean +- max-|t| x s / sqrt(n) with the least df."""
    psi, prediction = draw(500)
    top = np.argsort(-prediction)[:100]
    reach = max_t_critical(np.eye(5), df=99) * psi[top].std(ddof=1) / 10

    effect = gates(psi, prediction)[0].effect

    assert effect.ci_high - effect.estimate == pytest.approx(reach, rel=1e-6)
    assert effect.ci_high - effect.estimate > stats.t.ppf(0.975, 99) * effect.std_error


@pytest.mark.slow
def test_all_intervals_hold_at_once():
    """400 draws of 1,000 skewed scores: all five 90% intervals hold in 86% to 95%."""
    rng = np.random.default_rng(3)
    hits = []
    for _ in range(400):
        prediction = rng.random(1000)
        psi = prediction + rng.exponential(size=1000) - 1
        truth = [0.9, 0.7, 0.5, 0.3, 0.1]
        found = gates(psi, prediction, level=0.9)
        hits.append(not any(g.effect.excludes(t) for g, t in zip(found, truth, strict=True)))

    assert 0.86 <= np.mean(hits) <= 0.95


def test_clusters_join_the_groups():
    """Copies of a unit are no news; groups of one cluster are correlated."""
    psi, prediction = draw(400)
    copies = np.repeat(np.arange(400), 5)

    alone = best_less_worst(psi, prediction)
    copied = best_less_worst(psi[copies], prediction[copies], cluster=copies)

    assert copied.estimate == pytest.approx(alone.estimate)
    assert copied.std_error == pytest.approx(alone.std_error, rel=0.01)
    assert copied.df == 399


def test_best_less_worst_is_welch_s_standard_error():
    """Two halves: difference in means with the unpooled error."""
    psi, prediction = draw(200)
    order = np.argsort(-prediction)
    halves = psi[order[:100]], psi[order[100:]]

    found = best_less_worst(psi, prediction, groups=2)

    assert found.estimate == pytest.approx(halves[0].mean() - halves[1].mean())
    expected = np.sqrt(sum(half.var(ddof=1) / 100 for half in halves))
    assert found.std_error == pytest.approx(expected)


def test_groups_are_cut_within_folds():
    """Folds with models of other levels still give each its own fifths."""
    fold = np.repeat([0, 1], 100)
    prediction = np.tile(np.arange(100.0), 2) + 1000 * fold

    found = membership(prediction, fold=fold)

    assert np.bincount(found[:100]).tolist() == np.bincount(found[100:]).tolist() == [20] * 5


def test_numbers_are_compared_by_means_and_categories_by_shares():
    """Best against worst fifth, the middle counts for nothing."""
    group = np.array([0, 0, 1, 2, 2])
    features = {
        "age": np.array([20, 30, 99, 40, 60]),
        "is_new": np.array([True, False, True, False, False]),
        "city": np.array(["a", "a", "z", "a", "b"], dtype=object),
    }

    found = {t.feature: (t.best, t.worst, t.difference.estimate) for t in clan(features, group)}

    assert found == {
        "age": (25.0, 50.0, -25.0),
        "is_new": (0.5, 0.0, 0.5),
        "city: a": (1.0, 0.5, 0.5),
        "city: b": (0.0, 0.5, -0.5),
    }


def test_trait_of_one_feature_is_welch_s_difference():
    """One number: the standard error of two independent means, n instead of n - 1."""
    rng = np.random.default_rng(4)
    x, group = rng.normal(size=900), np.repeat([0, 1, 2], [500, 200, 200])

    trait = clan({"x": x}, group)[0]

    expected = np.sqrt(x[:500].var() / 500 + x[700:].var() / 200)
    assert trait.difference.std_error == pytest.approx(expected, rel=2e-3)


@pytest.mark.slow
def test_traits_count_their_number():
    """Twenty features without difference: some interval misses 0 in about 5% of draws."""
    rng = np.random.default_rng(5)
    group = np.repeat([0, 1], 150)
    misses = 0
    for _ in range(200):
        features = {str(i): rng.normal(size=300) for i in range(20)}
        misses += any(t.difference.excludes(0.0) for t in clan(features, group))

    assert misses / 200 <= 0.10


def test_missing_numbers_are_a_trait_of_their_own():
    """The mean is over known values; a second trait compares how many are missing."""
    x = np.array([1.0, np.nan, 3.0, 5.0])

    found = {t.feature: (t.best, t.worst) for t in clan({"x": x}, [0, 0, 1, 1])}

    assert found == {"x": (1.0, 4.0), "x: missing": (0.5, 0.0)}


def test_missing_levels_have_a_name():
    """None and NaN of a category are the level "missing"."""
    city = np.array(["a", None, "b", np.nan], dtype=object)

    found = {t.feature: (t.best, t.worst) for t in clan({"city": city}, [0, 0, 1, 1])}

    assert found["city: missing"] == (0.5, 0.5)


def test_rare_levels_are_one_trait():
    """Forty levels: the commonest are shown, the others together."""
    level = np.repeat(np.arange(40), np.arange(1, 41)).astype(str)
    group = np.arange(len(level)) % 2

    found = clan({"shop": pd.Series(level, dtype="category")}, group)

    assert len(found) == MOST_LEVELS + 1
    assert found[-1].feature == "shop: other"
    assert sum(trait.best for trait in found) == pytest.approx(1.0)


def test_a_feature_that_does_not_vary_has_no_interval():
    """A constant is shown with its number; it does not count in the family."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=200)
    group = np.repeat([0, 1], 100)

    constant, alone = clan({"one": np.full(200, 0.1), "x": x}, group)

    assert constant.difference.note == "it does not vary"
    single = clan({"x": x}, group)[0]
    assert alone.difference.ci_high == pytest.approx(single.difference.ci_high)


def test_clustered_traits_use_clusters():
    """Ten copies of each unit have the error of one."""
    rng = np.random.default_rng(7)
    x, group = rng.normal(size=200), np.repeat([0, 1], 100)
    copies = np.repeat(np.arange(200), 10)

    alone = clan({"x": x}, group)[0].difference
    copied = clan({"x": x[copies]}, group[copies], cluster=copies)[0].difference

    assert copied.std_error == pytest.approx(alone.std_error)
    assert copied.df == 199


def test_clusters_in_both_groups_are_pairs():
    """One unit of each household in either group: the error is that of the paired t-test."""
    rng = np.random.default_rng(8)
    shared = rng.normal(size=150)
    x = np.concatenate([shared + 0.1 * rng.normal(size=150), shared])
    household = np.tile(np.arange(150), 2)

    found = clan({"x": x}, np.repeat([0, 1], 150), cluster=household)[0].difference

    assert found.std_error == pytest.approx((x[:150] - x[150:]).std(ddof=1) / np.sqrt(150))


def test_one_group_has_no_traits():
    """Nobody to compare with."""
    assert clan({"x": np.arange(4.0)}, [2, 2, 2, 2]) == ()


def test_swapping_best_and_worst_turns_the_sign():
    """The difference is best less worst."""
    x = np.array([1.0, 2.0, 5.0, 9.0])

    there, back = clan({"x": x}, [0, 0, 1, 1])[0], clan({"x": x}, [1, 1, 0, 0])[0]

    assert back.difference.estimate == -there.difference.estimate
    assert back.difference.std_error == pytest.approx(there.difference.std_error)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: membership([1.0, 2.0], groups=1), UpliftlabError, "groups is 1"),
        (lambda: clan({"x": [1.0]}, [0, 1]), DataError, "feature 'x' has shape (1,)"),
    ],
)
def test_mistakes_are_named(call, error, message):
    """Too few groups and columns of other lengths."""
    with pytest.raises(error) as caught:
        call()

    assert message in str(caught.value)
