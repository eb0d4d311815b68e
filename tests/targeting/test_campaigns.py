"""One budget over several campaigns, channels or creators."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.errors import DesignError, UpliftlabError
from upliftlab.stats.estimate import interval
from upliftlab.targeting.answer import CurvePoint
from upliftlab.targeting.campaigns import points_of, split_budget


def concave(rng):
    """A curve whose slope falls from point to point."""
    money = np.cumsum(rng.uniform(5, 20, 5))
    slope = np.sort(rng.uniform(-0.5, 3.0, 5))[::-1]
    profit = np.cumsum(slope * np.diff(money, prepend=0.0))
    return list(zip(money.tolist(), profit.tolist(), strict=True))


def best_by_slopes(curves, budget):
    """Steepest pieces first: the exact answer for concave curves."""
    pieces = []
    for points in curves.values():
        money, profit = np.array([(0.0, 0.0), *points]).T
        pieces += list(zip(np.diff(profit) / np.diff(money), np.diff(money), strict=True))
    total = 0.0
    for slope, length in sorted(pieces, reverse=True):
        if slope <= 0 or budget <= 0:
            break
        total += slope * min(length, budget)
        budget -= length
    return total


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(10, 250))
def test_the_split_is_that_of_the_steepest_pieces(seed, budget):
    """With falling slopes the largest profit is known; it is missed by less than a step."""
    rng = np.random.default_rng(seed)
    curves = {name: concave(rng) for name in ("search", "feed", "creator a", "creator b")}

    found = split_budget(curves, budget=budget)
    best = best_by_slopes(curves, budget)

    assert found.spend <= budget + 1e-6
    assert found.profit <= best + 1e-9 <= found.profit + found.gap + 2e-9
    assert found.profit >= best - 0.01 * max(best, 1.0)


@pytest.mark.parametrize("seed", range(6))
def test_steps_are_bought_whole(seed):
    """A campaign that brings nothing before its full price: all choices tried."""
    rng = np.random.default_rng(seed)
    price, brings = rng.uniform(5, 30, 5), rng.uniform(5, 60, 5)
    each = enumerate(zip(price, brings, strict=True))
    curves = {str(i): [(p - 1e-6, 0.0), (p, b)] for i, (p, b) in each}
    budget = 0.5 * price.sum()
    best = max(
        sum(brings[list(some)])
        for k in range(6)
        for some in itertools.combinations(range(5), k)
        if sum(price[list(some)]) <= budget
    )

    found = split_budget(curves, budget=budget)

    assert found.spend <= budget + 1e-6
    assert found.profit <= best + 1e-6 <= found.profit + found.gap + 1e-3


def test_without_a_budget_all_are_spent_to_their_top():
    """The profit-maximising budget has the price 0, whatever the shapes."""
    curves = {"a": [(10, 20), (20, 25), (30, 15)], "b": [(10, -5)]}

    found = split_budget(curves)

    assert found.portions["a"].spend == 20
    assert found.portions["a"].margin == pytest.approx(-1.0)
    assert found.portions["b"].spend == 0
    assert (found.profit, found.price) == (25, 0)


def test_floors_caps_and_returns_are_kept():
    """A creator under contract, a channel that is full, and a return for all together."""
    curves = {"a": [(10, 20), (20, 25)], "b": [(10, 2), (20, 3)]}

    kept = split_budget(curves, budget=25, at_least={"b": 8}, at_most={"a": 12})
    dear = split_budget(curves, iroi_at_least=1.2)

    assert kept.portions["b"].spend >= 8
    assert kept.portions["a"].spend <= 12
    assert dear.profit >= 1.2 * dear.spend - 1e-6
    assert dear.profit > 23


def test_a_frontier_is_a_curve():
    """Points whose money falls back are left out."""
    points = [
        CurvePoint(x=x, effect=interval("gain", y, 1.0), low=y, high=y)
        for x, y in ((1.0, 2.0), (0.5, 9.0), (2.0, 3.0))
    ]

    assert points_of(points) == [(0.0, 0.0), (1.0, 2.0), (2.0, 3.0)]


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ({"curves": {}}, UpliftlabError, "at least one campaign"),
        ({"curves": {"a": [(1, math.nan)]}}, UpliftlabError, "give \\(money, profit\\) points"),
        ({"curves": {"a": [(1, 2), (1, 3)]}}, UpliftlabError, "two profits for one amount"),
        (
            {"curves": {"a": [(1, 2)]}, "at_most": {"b": 1}},
            UpliftlabError,
            "curves of \\['a'\\]",
        ),
        ({"curves": {"a": [(1, 2)]}, "at_least": {"a": 5}}, DesignError, "must get at least 5"),
        (
            {"curves": {"a": [(9, 2)]}, "at_least": {"a": 5}, "budget": 1},
            DesignError,
            "the budget cannot be kept",
        ),
    ],
)
def test_mistakes_are_named(call, error, said):
    """One sentence says what was found and what would do."""
    with pytest.raises(error, match=said):
        split_budget(**call)
