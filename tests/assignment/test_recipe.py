"""A plan says who gets which arm, and every part of it is a piece of a line."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from upliftlab.assignment.recipe import ELSEWHERE, HELD, recipe_of, refuse_overlaps
from upliftlab.errors import DesignError
from upliftlab.experiment import Experiment

IDS = [f"u{i}" for i in range(8_000)]
ARMS = {
    "none": {"share": "40%", "control": True},
    "coupon_5": {"share": "35%"},
    "coupon_20": {"share": "25%"},
}
RUN = {"start": "2026-10-08", "end": "2026-10-21"}


def plan(name="spring", arms=ARMS, **assign):
    """Make a small plan that assigns."""
    return Experiment(name=name, kind="custom", arms=arms, run=RUN, assign=assign)


def counts(recipe, epoch=1):
    """Units per arm."""
    found = [recipe.arm_of(unit, epoch=epoch) for unit in IDS]
    return {arm: found.count(arm) for arm in recipe.arms}


def test_arms_have_their_shares():
    """Three arms of 8,000 ids, by chi-square."""
    recipe = recipe_of(plan())
    found = counts(recipe)

    expected = [3_200, 2_800, 2_000]
    assert stats.chisquare(list(found.values()), expected).pvalue > 0.001


def test_a_rising_share_moves_units_from_control_only():
    """Nobody changes treatment, nobody loses it."""
    recipe = recipe_of(
        plan(epochs={"2026-10-08": "10%", "2026-10-11": "40%", "2026-10-14": "100%"})
    )
    before = [recipe.arm_of(unit, epoch=1) for unit in IDS]
    for epoch in (2, 3):
        after = [recipe.arm_of(unit, epoch=epoch) for unit in IDS]
        moved = {(a, b) for a, b in zip(before, after, strict=True) if a != b}
        assert moved == {("none", "coupon_5"), ("none", "coupon_20")}
        before = after

    shares = [epoch.share("coupon_20", "none") for epoch in recipe.epochs]
    assert shares == [Fraction(1, 40), Fraction(1, 10), Fraction(1, 4)]
    assert before == [recipe_of(plan()).arm_of(unit) for unit in IDS]


def test_the_holdout_is_the_same_in_every_test_and_independent_of_arms():
    """5 % that no salt of an experiment moves."""
    one = recipe_of(plan(holdout={"share": "5%"}))
    two = recipe_of(plan("summer", holdout={"share": "5%"}, salt="other"))
    held = [unit for unit in IDS if one.outside(unit) == HELD]

    assert held == [unit for unit in IDS if two.outside(unit) == HELD]
    assert stats.binomtest(len(held), len(IDS), 0.05).pvalue > 0.001
    without = recipe_of(plan())
    arms = [without.arm_of(unit) for unit in held]
    seen = [arms.count(arm) for arm in without.arms]
    assert stats.chisquare(seen, [len(held) * s for s in (0.4, 0.35, 0.25)]).pvalue > 0.001
    assert all(one.arm_of(unit) is None for unit in held)


def test_the_holdout_can_be_read_as_a_test_of_its_own():
    """A plan salted with the holdout's salt has the held units as its control."""
    arms = {"held": {"share": "5%", "control": True}, "open": {"share": "95%"}}
    whole = recipe_of(plan("all-coupons", arms, salt="holdout:universal"))
    one = recipe_of(plan(holdout={"share": "5%"}))

    for unit in IDS[:5_000]:
        assert (whole.arm_of(unit) == "held") == (one.outside(unit) == HELD)


def test_tests_of_one_layer_share_no_unit_and_other_layers_are_independent():
    """Two tests of a layer exclude each other; another layer cuts across."""
    first = recipe_of(plan(layer={"name": "coupons", "share": "30%"}))
    second = recipe_of(plan("b", layer={"name": "coupons", "start": "30%", "share": "70%"}))
    third = recipe_of(plan("c", layer={"name": "ads", "share": "50%"}))
    part = {unit: not first.outside(unit) for unit in IDS}

    assert all(part[unit] != (not second.outside(unit)) for unit in IDS)
    assert {first.outside(unit) for unit in IDS} == {"", ELSEWHERE}
    table = np.zeros((2, 2))
    for unit in IDS:
        table[int(part[unit]), int(not third.outside(unit))] += 1
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_overlapping_parts_of_a_layer_are_refused():
    """Both tests and both parts are named."""
    one = recipe_of(plan(layer={"name": "coupons", "share": "40%"}))
    two = recipe_of(plan("b", layer={"name": "coupons", "start": "30%", "share": "20%"}))

    with pytest.raises(DesignError) as found:
        refuse_overlaps(one, two)

    assert str(found.value) == (
        "experiments 'spring' and 'b' overlap in layer 'coupons': 0% to 40% and 30% to 50%; "
        "give each a part of its own."
    )
    touching = plan("b", layer={"name": "coupons", "start": "40%", "share": "20%"})
    refuse_overlaps(one, recipe_of(touching))
    refuse_overlaps(one, recipe_of(plan("b", layer={"name": "ads", "share": "90%"})))


def test_a_share_without_any_hash_is_refused():
    """An arm that nobody could ever get is a slip."""
    arms = {"none": {"share": 1 - 1e-11, "control": True}, "new": {"share": 1e-11}}

    with pytest.raises(DesignError) as found:
        recipe_of(plan(arms=arms))

    assert str(found.value) == (
        "arm 'new' has a share of 1.0e-11, in which no hash falls; the smallest is one in 4 "
        "billion."
    )


def test_spaces_around_an_id_change_nothing():
    """Exports put tabs before long numbers."""
    recipe = recipe_of(plan())

    assert recipe.arm_of("\t7106001 ") == recipe.arm_of("7106001")
