"""The choice of a learner, on units it did not learn from."""

from __future__ import annotations

import math

import numpy as np
import pytest

from upliftlab.errors import DataError, DesignError, UpliftlabError
from upliftlab.targeting.folds import folds
from upliftlab.targeting.lessons import Groundwork, lesson
from upliftlab.targeting.selection import choose, compare


def draw(n=4_000, *, gain=1.0, seed=0, cluster=None):
    """Effects of +-gain by the sign of x0, one unit of noise, half the units treated."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    arm = rng.integers(0, 2, n) if cluster is None else cluster % 2
    target = arm * gain * np.sign(x[:, 0]) + rng.normal(size=n)
    taught = lesson(
        x, target, arm, arms=("none", "coupon"), propensity=[0.5, 0.5], cluster=cluster
    )
    ground = Groundwork(lesson=taught)
    return taught, ground.contrast, ground.fold


def test_a_learner_that_follows_the_effect_is_chosen():
    """A step in the effect: boosted trees beat a constant and a line."""
    found = choose(*draw(), names=("linear", "fast"))

    assert found.chosen == "fast"
    assert [each.name for each in found.candidates] == ["fast", "linear", "constant"]
    assert found.candidates[0].gain > 0.1
    assert found.candidates[-1].gain == 0
    assert [each.is_chosen for each in found.candidates] == [True, False, False]


def test_without_heterogeneity_the_constant_is_chosen():
    """In at least 9 of 12 samples without any effect no learner is preferred to a constant."""
    chosen = [
        choose(*draw(1_500, gain=0.0, seed=seed), names=("linear", "fast")).chosen
        for seed in range(12)
    ]

    assert chosen.count("constant") >= 9


def test_one_standard_error_favours_the_simpler():
    """A learner better by less than the error of the difference is not worth its trouble."""
    rng = np.random.default_rng(1)
    psi = rng.normal(size=400)
    slight = 0.02 * psi
    noisy = slight + rng.normal(size=400)

    found, chosen = compare(psi, {"constant": 0 * psi, "fast": slight})
    assert chosen == "fast"
    assert found[0].gain == pytest.approx(1 - 0.98**2)

    found, chosen = compare(psi, {"constant": 0 * psi, "linear": 0.04 * psi, "fast": noisy})
    assert chosen == "linear"
    assert found[-1].name == "fast"


def test_the_error_is_that_of_the_paired_difference():
    """Against the best, in the unit of the constant's loss, with twice a t-test's variance."""
    rng = np.random.default_rng(2)
    psi, near = rng.normal(size=(2, 50))
    good = 0.5 * psi

    found, _ = compare(psi, {"constant": 0 * psi, "t": near, "fast": good})

    by_name = {each.name: each for each in found}
    difference = (psi - near) ** 2 - (psi - good) ** 2
    error = math.sqrt(2 / 50) * difference.std(ddof=1) / (psi**2).mean()
    assert by_name["t"].std_error == pytest.approx(error)
    assert by_name["fast"].std_error == 0


def test_clusters_count_as_one():
    """Every unit twice, in pairs: twice the rows, the same error."""
    rng = np.random.default_rng(3)
    psi, near = rng.normal(size=(2, 80))
    once, _ = compare(psi, {"constant": 0 * psi, "fast": near})
    twice, _ = compare(
        np.repeat(psi, 2),
        {"constant": np.zeros(160), "fast": np.repeat(near, 2)},
        cluster=np.repeat(np.arange(80), 2),
    )

    assert once[1].std_error == pytest.approx(twice[1].std_error)


def test_those_not_tried_say_why():
    """A learner that refuses the lesson is listed with NaN and its reason."""
    found = choose(*draw(500), names=("linear", "dose_linear"))

    last = found.candidates[-1]
    assert last.name == "dose_linear"
    assert math.isnan(last.gain)
    assert last.note == "not tried: needs the depth of each arm"
    assert "dose_linear" not in found.predictions


def test_slow_learners_learn_from_a_sample_and_say_so():
    """A forest in the comparison sees only so many units."""
    found = choose(*draw(1_200), names=("forest",), slow_rows=200)

    note = next(each.note for each in found.candidates if each.name == "forest")
    assert note.startswith("compared on what it learned from 200 units")


def test_predictions_are_of_units_not_learned_from():
    """Changing a unit's money does not change its own prediction beyond its fold's scores."""
    taught, psi, fold = draw(600)
    moved = lesson(
        taught.x,
        np.where(fold == 0, taught.target + 50 * taught.arm, taught.target),
        taught.arm,
        arms=taught.arms,
        propensity=[0.5, 0.5],
    )

    before, after = (
        choose(each, psi, fold, names=("linear",)).predictions["linear"]
        for each in (taught, moved)
    )

    assert (before[fold == 0] == after[fold == 0]).all()
    assert abs(after[fold == 1].mean() - before[fold == 1].mean() - 50) < 1


def test_mistakes_are_refused():
    """Torn clusters, other shapes, an unknown learner, and no constant."""
    cluster = np.repeat(np.arange(100), 5)
    taught, psi, fold = draw(500, cluster=cluster)
    torn = np.arange(500) % 2
    with pytest.raises(DesignError, match="clusters have units in several folds"):
        choose(taught, psi, torn)
    with pytest.raises(UpliftlabError, match="Did you mean 'linear'"):
        choose(taught, psi, fold, names=("linaer",))
    with pytest.raises(DataError, match="predictions of 'fast' have shape"):
        compare(psi, {"constant": np.zeros(500), "fast": np.zeros(400)})
    with pytest.raises(UpliftlabError, match="compared with 'constant'"):
        compare(psi, {"fast": np.zeros(500)})
    assert len(folds(taught.arm, cluster=cluster)) == 500
