"""Learners: one way to fit them all, with the design's probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from upliftlab.errors import DataError, DesignError, UpliftlabError
from upliftlab.targeting import econml_models
from upliftlab.targeting.econml_models import Design, KnownDose, KnownPropensity
from upliftlab.targeting.fast_dr import FastDR
from upliftlab.targeting.learners import LEARNERS, declaration, fit, sample
from upliftlab.targeting.lessons import Groundwork, lesson

QUICK = ("constant", "linear", "dose_linear", "fast", "dr", "two_part", "s", "t", "x")
FORESTS = ("forest", "causal_forest", "dose_forest")
SAMPLING = 0.25  # half the noise of an effect's mean over 3,000 units is 0.02 to 0.1 here


def draw(n=3_000, *, arms=2, seed=0, strata=False, gaps=False):
    """An effect of 0.7 a where x0 > 0 and -0.3 a elsewhere; strata differ in level and e."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    stratum = rng.integers(0, 2, n)
    table = np.array([[0.6, 0.4], [0.2, 0.8]]) if strata else np.full((2, arms), 1 / arms)
    chances = table[stratum]
    arm = (rng.random(n)[:, None] > np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)
    gain = np.where(x[:, 0] > 0, 0.7, -0.3)
    target = x[:, 1] + 3 * stratum * strata + arm * gain + rng.normal(size=n)
    if gaps:
        x[rng.random(n) < 0.1, 2] = np.nan
        x[:, 3] = 1.0
    names = ("none", "ten", "twenty")[:arms]
    taught = lesson(
        x, target, arm, arms=names, propensity=table if strata else table[0], stratum=stratum,
        doses=np.arange(arms),
    )  # fmt: skip
    return taught, np.stack([a * gain for a in range(1, arms)], axis=1)


@pytest.mark.parametrize("name", QUICK)
def test_every_learner_finds_who_gains(name):
    """With gaps and a constant column, predictions follow the true effect and its mean."""
    taught, gain = draw(gaps=True)

    found = fit(name, taught).predict(taught.x)

    assert found.shape == gain.shape
    assert found.mean() == pytest.approx(gain.mean(), abs=SAMPLING)
    if name != "constant":
        assert np.corrcoef(found[:, 0], gain[:, 0])[0, 1] > 0.6


@pytest.mark.parametrize("name", ["linear", "fast", "t", "dose_linear"])
def test_several_arms_get_a_column_each(name):
    """With two treatments the second gains twice the first."""
    taught, gain = draw(arms=3)

    found = fit(name, taught).predict(taught.x)

    assert found.shape == gain.shape
    assert np.corrcoef(found[:, 1], gain[:, 1])[0, 1] > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("arms", [2, 3])
@pytest.mark.parametrize("name", FORESTS)
def test_forests_find_who_gains(name, arms):
    """Both forests follow the true effect, in money, for each treatment."""
    taught, gain = draw(arms=arms, gaps=True)

    found = fit(name, taught).predict(taught.x)

    for a in range(arms - 1):
        assert np.corrcoef(found[:, a], gain[:, a])[0, 1] > 0.8
        assert found[:, a].mean() == pytest.approx(gain[:, a].mean(), abs=SAMPLING)


@pytest.mark.parametrize("name", ["constant", "linear", "fast", "dr", "dose_linear"])
def test_strata_keep_their_own_probabilities(name):
    """A stratum of high spenders treated more often does not pass for an effect.

    The stratum is not among the features; without its probabilities the effect would be
    0.2 + 3 * (0.67 - 0.20) = 1.6.
    """
    taught, gain = draw(strata=True)

    found = fit(name, taught).predict(taught.x)

    assert found.mean() == pytest.approx(gain.mean(), abs=SAMPLING)


def test_learners_that_would_mix_strata_refuse():
    """S, T, X and two-part learners know nothing of strata, and say so."""
    taught, _ = draw(strata=True)

    refused = [name for name, learner in LEARNERS.items() if learner.refusal(taught)]
    assert refused == ["two_part", "s", "t", "x"]
    with pytest.raises(UpliftlabError, match="'t' mixes strata whose probabilities differ"):
        fit("t", taught)


def test_unknown_probabilities_are_estimated():
    """Where a feature drives treatment and money, estimated chances take its share off."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4_000, 3)).astype(np.float32)
    arm = (rng.random(4_000) < 1 / (1 + np.exp(-x[:, 0]))).astype(int)
    target = 2 * x[:, 0] + 0.5 * arm + rng.normal(size=4_000)
    taught = lesson(x, target, arm, arms=("none", "coupon"))

    raw = target[arm == 1].mean() - target[arm == 0].mean()
    found = [fit(name, taught).predict(x).mean() for name in ("constant", "linear", "x")]

    assert raw > 2
    assert found == pytest.approx([0.5] * 3, abs=SAMPLING)


def test_money_is_in_the_unit_of_the_target():
    """A hundred times the money is a hundred times the effect."""
    taught, _ = draw(1_000)
    dearer = replace(taught, target=100 * taught.target)

    for name in ("linear", "fast", "x"):
        once, more = (fit(name, each).predict(taught.x) for each in (taught, dearer))
        assert more == pytest.approx(100 * once, rel=1e-3, abs=1e-2)


def test_two_part_keeps_what_a_contact_costs_those_who_do_not_buy():
    """Nobody buys more, but everybody treated costs 5: the effect is -5."""
    rng = np.random.default_rng(0)
    arm, buys = rng.integers(0, 2, 4_000), rng.random(4_000) < 0.3
    x = rng.normal(size=(4_000, 2))
    taught = lesson(
        x, 100.0 * buys - 5 * arm, arm, bought=buys, arms=("none", "call"), propensity=[0.5] * 2
    )

    assert fit("two_part", taught).predict(x).mean() == pytest.approx(-5, abs=3)


@pytest.mark.parametrize("name", ["fast", "linear", "causal_forest"])
def test_a_constant_target_has_no_effect(name):
    """Money that never changes gives zeros and a note, not a division by zero."""
    arm = np.arange(100) % 2
    x = np.random.default_rng(0).normal(size=(100, 2))
    taught = lesson(x, np.full(100, 7.0), arm, arms=("none", "coupon"), propensity=[0.5, 0.5])

    found = fit(name, taught)

    assert found.note == "the target never changes"
    assert (found.predict(x) == 0).all()


def test_a_tiny_arm_is_named():
    """An arm with too few units is refused by name, with its count."""
    arm = np.array([0] * 50 + [1] * 7)

    with pytest.raises(DesignError) as caught:
        lesson(np.zeros((57, 1)), np.zeros(57), arm, arms=("none", "coupon"))

    assert str(caught.value) == (
        "arm 'coupon' has 7 units; a learner needs at least 20 of every arm. Leave the arm "
        "out, or merge it with another."
    )


def test_a_missing_target_and_crooked_shapes_are_refused():
    """Targets must be there, one per unit."""
    arm = np.arange(60) % 2
    money = np.where(np.arange(60) == 3, np.nan, 1.0)
    with pytest.raises(DataError, match="missing for 1 of 60 units"):
        lesson(np.zeros((60, 1)), money, arm, arms=("none", "coupon"))
    with pytest.raises(DataError, match=r"shapes \(60, 1\), \(59,\)"):
        lesson(np.zeros((60, 1)), money[1:], arm, arms=("none", "coupon"))
    with pytest.raises(DesignError, match="arm 1 has units, and 1 arms are named"):
        lesson(np.zeros((60, 1)), np.zeros(60), arm, arms=("none",))
    with pytest.raises(DesignError, match=r"doses have shape \(1,\)"):
        lesson(np.zeros((60, 1)), np.zeros(60), arm, arms=("none", "coupon"), doses=[1])


def test_an_unknown_learner_and_a_wrong_matrix_are_refused():
    """The nearest name is offered; a model takes only the columns it knows."""
    with pytest.raises(UpliftlabError, match="Did you mean 'forest'"):
        declaration("forrest")
    taught, _ = draw(200)
    with pytest.raises(UpliftlabError, match="was fitted on 4 columns"):
        fit("linear", taught).predict(np.zeros((5, 3)))


def test_depth_learners_need_depths():
    """Without depths of arms there is no curve to learn."""
    taught, _ = draw(200)
    bare = lesson(taught.x, taught.target, taught.arm, arms=taught.arms, propensity=[0.5, 0.5])

    assert LEARNERS["dose_linear"].refusal(bare) == "needs the depth of each arm"


def odd(kind, n=400):
    """Lessons that data sometimes give: everything is there, little of it is usual."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    names, share, cluster = ("none", "ten", "twenty"), [1 / 3] * 3, None
    if kind == "unequal shares":
        names, share = ("none", "ten"), [0.9, 0.1]
    arm = (rng.random(n)[:, None] > np.cumsum(share)[:-1]).sum(axis=1)
    if kind == "a small arm":
        arm = np.where(np.arange(n) < 22, 2, np.minimum(arm, 1))
        share = np.bincount(arm) / n
    if kind == "missing values":
        x[rng.random((n, 3)) < 0.4] = np.nan
        x[:, 2] = np.nan
    if kind == "one gap":
        x[5, 1] = np.nan
    if kind == "constant columns":
        x[:, 1:] = 4.0
    if kind == "nothing differs":
        x[:] = 1.0
    if kind == "huge numbers":
        x[:, 0] *= 1e30
    if kind == "clusters":
        cluster = np.repeat(np.arange(n // 10), 10)
        arm = rng.permutation(np.arange(n // 10) % 3)[cluster]
    target = 100.0 * (arm + rng.normal(size=n))
    doses = np.arange(len(names))
    return lesson(x, target, arm, arms=names, propensity=share, cluster=cluster, doses=doses)


ODD = (
    "unequal shares", "a small arm", "missing values", "one gap", "constant columns",
    "nothing differs", "huge numbers", "clusters",
)  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_odd_lessons_teach_every_learner_something_finite(kind, monkeypatch):
    """Effects of 100 and 200 are found within noise, also for units like none before."""
    monkeypatch.setattr(econml_models, "TREES", 8)
    taught = odd(kind)
    unseen = np.vstack([np.full((2, 3), np.nan), np.full((2, 3), 1e30)]).astype(np.float32)

    refused = {name for name in (*QUICK, *FORESTS) if LEARNERS[name].refusal(taught)}
    assert refused == ({"s"} if kind in {"unequal shares", "a small arm"} else set())
    for name in {*QUICK, *FORESTS} - refused:
        model = fit(name, taught)
        found, beyond = model.predict(taught.x), model.predict(unseen)
        # A tenth of 400 units has a standard error of 17; 22 units have one of 22.
        assert found.mean(axis=0)[0] == pytest.approx(100, abs=60), name
        assert np.isfinite(found).all(), name
        assert np.isfinite(beyond).all(), name
        if kind == "nothing differs" and LEARNERS[name].econml:
            assert model.note == "no column tells units apart"
            assert not np.ptp(found, axis=0).any()


def test_one_model_of_all_arms_needs_enough_of_each():
    """An S-learner never splits by a tiny arm; its 0 would be no finding."""
    with pytest.raises(UpliftlabError) as caught:
        fit("s", odd("a small arm"))

    assert str(caught.value) == (
        "learner 's' needs 50 units of every arm; the smallest has 22; choose another."
    )


def test_an_arm_as_deep_as_control_is_refused():
    """A curve of depth would say that such an arm does nothing, whatever it did."""
    taught = replace(odd("clusters"), doses=np.array([5.0, 5.0, 10.0]))

    with pytest.raises(UpliftlabError) as caught:
        fit("dose_linear", taught)

    assert str(caught.value) == (
        "learner 'dose_linear' needs depths other than control's; an arm of the same depth has "
        "no effect; choose another."
    )


def test_the_fast_learner_can_be_exported():
    """Its model is the one that rules are written from."""
    taught, _ = draw(1_500)

    assert isinstance(fit("fast", taught).model, FastDR)


def test_a_fit_repeats_itself_and_changes_nothing():
    """Same seed, same predictions; the lesson is as it was."""
    taught, _ = draw(1_000)
    before = taught.x.copy(), taught.target.copy()

    first, second = (fit("linear", taught, seed=4).predict(taught.x) for _ in range(2))

    assert (first == second).all()
    assert (taught.x == before[0]).all()
    assert (taught.target == before[1]).all()


def test_samples_keep_clusters_whole():
    """A sample of clusters holds all of each cluster or nothing."""
    cluster = np.repeat(np.arange(60), 5)
    arm = cluster % 2
    taught = lesson(
        np.zeros((300, 1)), np.arange(300), arm, arms=("none", "coupon"), cluster=cluster
    )

    found = sample(taught, 200, seed=2)

    assert len(found.target) == 200
    assert set(np.bincount(found.cluster).tolist()) <= {0, 5}


def test_groundwork_keeps_clusters_in_one_fold():
    """Units assigned together learn together."""
    cluster = np.repeat(np.arange(60), 5)
    taught = lesson(
        np.random.default_rng(0).normal(size=(300, 2)), np.arange(300), cluster % 2,
        arms=("none", "coupon"), cluster=cluster, propensity=[0.5, 0.5],
    )  # fmt: skip

    fold = Groundwork(lesson=taught).fold

    assert all(len(set(fold[cluster == c])) == 1 for c in range(60))
    assert np.isfinite(fit("linear", taught).predict(taught.x)).all()


def test_known_models_read_what_they_are_given():
    """Probabilities come from the last columns; mean depths are weighted by them."""
    rows = np.array([[9.0, 0.2, 0.3, 0.5]])

    assert KnownPropensity(arms=3).predict_proba(rows).tolist() == [[0.2, 0.3, 0.5]]
    assert KnownPropensity(arms=3).predict(rows).tolist() == [2]
    levels = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 4.0]])
    assert KnownDose(levels).predict(rows)[0] == pytest.approx([1.3, 2.3])


def test_a_line_gets_no_redundant_columns():
    """Constants, copies and sums of others are left out; gaps are filled and flagged."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200))
    x = np.column_stack([a, b, a + b, np.ones(200), a]).astype(np.float32)
    x[:20, 1] = np.nan

    found = Design(x, is_linear=True).of(x)

    assert np.isfinite(found).all()
    assert np.linalg.matrix_rank(found) == found.shape[1]
