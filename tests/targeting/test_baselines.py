"""Rules without a model of effects."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.errors import DesignError
from upliftlab.targeting.baselines import (
    baselines,
    by_chance,
    everybody,
    find_rfm,
    nobody,
    response,
    rfm,
    treat,
    treated_response,
)
from upliftlab.targeting.lessons import Groundwork, lesson

NAMES = ("recency_days", "orders_90d", "gmv_90d", "age")


def draw(n=4_000, *, names=NAMES):
    """Buyers by column 1; the second treatment brings money by column 3."""
    rng = np.random.default_rng(0)
    x = rng.exponential(size=(n, 4)).astype(np.float32)
    arm = rng.integers(0, 3, n)
    buys = rng.random(n) < np.minimum(0.1 + 0.3 * x[:, 1], 1)
    target = 10.0 * buys + (arm == 2) * 20 * x[:, 3] - 1.0 * (arm == 1)
    taught = lesson(
        x, target, arm, arms=("none", "ten", "twenty"), propensity=[1 / 3] * 3, bought=buys,
        names=names,
    )  # fmt: skip
    return Groundwork(lesson=taught)


def test_all_treat_the_same_share():
    """Every rule but nobody and everybody treats as many units as it is told."""
    ground = draw()
    x = ground.lesson.x

    found = baselines(ground.lesson, 2, groundwork=ground)

    assert [each.name for each in found] == [
        "nobody", "everybody:ten", "everybody:twenty", "random", "response",
        "treated_response", "rfm",
    ]  # fmt: skip
    shares = [float((each.arms_of(x, 0.3) > 0).mean()) for each in found]
    assert shares == [0, 1, 1, *[pytest.approx(0.3)] * 4]
    assert [each.is_constant for each in found] == [True] * 3 + [False] * 4


def test_the_response_model_looks_for_buyers():
    """It ranks by the column that makes people buy, and asks control units alone."""
    ground = draw()

    priority, arm = response(ground, 1).rank(ground.lesson.x)

    assert np.corrcoef(priority, np.minimum(ground.lesson.x[:, 1], 3))[0, 1] > 0.9
    assert (arm == 1).all()


def test_treated_response_picks_each_unit_its_arm():
    """Where one arm brings more under treatment it is given, and the dear ones come first."""
    ground = draw()

    priority, arm = treated_response(ground).rank(ground.lesson.x)

    assert (arm == 2).mean() > 0.9
    assert np.corrcoef(priority, ground.lesson.x[:, 3])[0, 1] > 0.8


def test_rfm_adds_up_fifths():
    """Bought today, most often, for most: 15 points; the opposite: 3; a gap counts 1."""
    ground = draw()
    best = [0.0, 99.0, 99.0, 0.0]
    worst = [99.0, 0.0, 0.0, 0.0]
    gap = [np.nan, 99.0, 99.0, 0.0]

    rule = rfm(ground, 2)

    assert rule.rank(np.array([best, worst, gap]))[0].tolist() == [15, 3, 11]
    assert rule.features == NAMES[:3]
    assert rule.label == "best customers first (recency, frequency, monetary)"


def test_rfm_without_its_columns_ranks_by_value():
    """Columns that say nothing: units are ranked by money expected in control, with a note."""
    ground = draw(names=("V1", "V2", "V3", "V4"))

    rule = rfm(ground, 1)

    assert rule.note.startswith("no recency, frequency or money column")
    assert np.corrcoef(rule.rank(ground.lesson.x)[0], ground.lesson.x[:, 1])[0, 1] > 0.7


def test_rfm_columns_may_be_named():
    """A declared column is used whatever its name."""
    rule = rfm(draw(), 1, columns={"monetary": "age"})

    assert rule.features == ("age",)
    assert find_rfm(["history", "recency"]) == {"recency": "recency", "monetary": "history"}


def test_ties_are_broken_by_chance_alone():
    """Equal priorities: any unit may be treated, the same ones for the same seed."""
    first, again, other = (treat(np.zeros(100), 1, 0.5, seed=s) for s in (1, 1, 2))

    assert (first == again).all()
    assert (first != other).any()
    assert first.sum() == 50


def test_chance_takes_no_notice_of_features():
    """Random priorities are the same for any features, and reproducible."""
    rule = by_chance(1, seed=5)

    assert (rule.rank(np.zeros((9, 2)))[0] == rule.rank(np.ones((9, 1)))[0]).all()


def test_constant_rules_ignore_the_share():
    """Nobody is nobody, everybody everybody."""
    x = np.zeros((4, 1))

    assert nobody().arms_of(x, 0.7).tolist() == [0] * 4
    assert everybody(2, "twenty").arms_of(x, 0.1).tolist() == [2] * 4


def test_few_units_have_a_mean_only():
    """Too few units for a tree: everybody has the same priority."""
    arm = np.arange(60) % 2
    taught = lesson(
        np.random.default_rng(0).normal(size=(60, 2)), np.arange(60), arm,
        arms=("none", "coupon"), propensity=[0.5, 0.5],
    )  # fmt: skip

    assert np.ptp(response(Groundwork(lesson=taught), 1).rank(taught.x)[0]) == 0


def test_a_share_is_between_none_and_all():
    """A share of 30 is 0.3 miswritten."""
    with pytest.raises(DesignError, match="share is 30; write the share of units"):
        treat([1.0, 2.0], 1, 30)
