"""Placebo treatments and seeds."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.errors import UpliftlabError
from upliftlab.targeting.learners import fit
from upliftlab.targeting.lessons import Groundwork, lesson
from upliftlab.targeting.placebo import permuted, placebo_treatment, seed_stability


def test_a_deal_keeps_strata_and_clusters():
    """Each stratum keeps its count of every arm; each cluster has one arm."""
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(200), 3)
    stratum = cluster % 4
    arm = rng.integers(0, 3, 200)[cluster]

    found = permuted(arm, stratum=stratum, cluster=cluster, seed=3)

    assert (found != arm).any()
    for s in range(4):
        assert (np.bincount(found[stratum == s]) == np.bincount(arm[stratum == s])).all()
    assert all(len(set(found[cluster == c])) == 1 for c in range(200))


def test_deals_differ_by_seed_and_leave_the_arms_alone():
    """The same seed deals the same; the given arms are not changed."""
    arm = np.arange(50) % 2

    first, again, other = (permuted(arm, seed=s) for s in (1, 1, 2))

    assert (first == again).all()
    assert (first != other).any()
    assert (arm == np.arange(50) % 2).all()


def test_a_learned_rule_gains_nothing_on_a_placebo():
    """Held-out gain of a learned sign rule is large as it was and about 0 when dealt anew."""
    rng = np.random.default_rng(0)
    x, arm = rng.normal(size=(2_000, 2)), rng.integers(0, 2, 2_000)
    money = arm * np.sign(x[:, 0]) + rng.normal(size=2_000)
    learn = np.arange(2_000) % 2 == 0

    def gain(arms):
        half = lesson(
            x[learn], money[learn], arms[learn], arms=("none", "coupon"), propensity=[0.5, 0.5]
        )
        rule = fit("linear", half).predict(x[~learn])[:, 0] > 0
        score = 2 * (2 * arms[~learn] - 1) * money[~learn]
        return float((rule * score).mean() - max(score.mean(), 0))

    found = placebo_treatment(gain, arm, draws=9)

    assert found.gain > 0.3
    assert abs(found.mean) < 0.1
    assert found.share == pytest.approx(0.1)
    assert found.sentence().endswith("and 0 of 9 draws gain as much.")


def test_the_share_of_draws_is_a_p_value():
    """Gains that do not depend on the arms: every draw is as large, the share is 1."""
    found = placebo_treatment(lambda _: 1.0, [0, 1], draws=4)

    assert found.share == 1
    assert placebo_treatment(lambda _: 0.0, [0, 1], draws=4, gain=2.0).share == 0.2


def test_seeds_that_do_not_matter_agree():
    """A rule without chance agrees with itself."""
    found = seed_stability(lambda _: np.array([0, 1, 1, 0]), [1, 2, 3])

    assert (found.agreement, found.least, found.by_chance) == (1, 1, 0.5)
    assert found.sentence() == (
        "Rules learned with 3 seeds give 100% of units the same arm on average, and 100% at "
        "least; by chance it would be 50%. They treat 50% to 50% of units."
    )


def test_rules_by_chance_agree_as_chance_would():
    """Two thousand coin flips of 30 %: agreement is near .58, what chance gives."""
    found = seed_stability(
        lambda seed: np.random.default_rng(seed).random(2_000) < 0.3, range(1, 6)
    )

    assert found.by_chance == pytest.approx(0.58, abs=0.01)
    assert found.agreement == pytest.approx(found.by_chance, abs=0.02)


def test_a_learner_keeps_its_rule_over_seeds():
    """With a strong effect the seed of folds hardly matters."""
    rng = np.random.default_rng(0)
    x, arm = rng.normal(size=(1_500, 2)), rng.integers(0, 2, 1_500)
    money = arm * np.sign(x[:, 0]) + rng.normal(size=1_500)
    taught = lesson(x, money, arm, arms=("none", "coupon"), propensity=[0.5, 0.5])

    def rule(seed):
        ground = Groundwork(lesson=taught, seed=seed)
        return fit("linear", taught, groundwork=ground).predict(x)[:, 0] > 0

    assert seed_stability(rule, [1, 2, 3]).least > 0.95


def test_too_few_draws_or_seeds_are_refused():
    """No draw and one seed compare nothing."""
    with pytest.raises(UpliftlabError, match="draws is 0"):
        placebo_treatment(lambda _: 0.0, [0, 1], draws=0)
    with pytest.raises(UpliftlabError, match=r"seeds are \[1\]"):
        seed_stability(lambda _: [0], [1])
