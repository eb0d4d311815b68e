"""Where coupon money goes: sharp bounds, intervals, and what contradicts a single number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from upliftlab.targeting.spend import Spent, alike, spend


def spent(rng, n=8_000, keeps_away=0.0, clusters=None):
    """Buyers who would come anyway or are induced; some may be kept from buying."""
    share = rng.uniform(0.05, 0.4, n)
    anyway = rng.random(n) < share
    induced = rng.random(n) < 0.1
    away = anyway & (rng.random(n) < keeps_away)
    treated = rng.random(n) < 0.5
    cost = rng.gamma(2.0, 5.0, n) * (rng.random(n) < 0.7)
    with_it = (anyway & ~away) | (~anyway & induced)
    bought = np.where(treated, with_it, anyway)
    money = np.where(treated & bought, cost, 0.0)
    truth = float((cost * (anyway & with_it)).mean())
    return Spent(
        cost=money,
        bought=bought,
        profit=rng.normal(20.0, 5.0, n) * bought,
        treated=treated,
        group=alike(share, treated),
        weight=np.full(n, 2.0),
        cluster=clusters,
    ), truth  # fmt: skip


def test_bounds_are_those_of_a_linear_program():
    """Least and most money of would-be buyers, over all ways to pair the two arms."""
    cost = np.array([0.0, 0.0, 0.0, 2.0, 5.0, 9.0])
    p0 = 0.45
    found = spend(
        "c",
        Spent(
            cost=np.concatenate([cost, np.zeros(20)]),
            bought=np.concatenate([cost > 0, np.arange(20) < 9]),
            profit=np.zeros(26),
            treated=np.arange(26) < 6,
            group=np.zeros(26, dtype=int),
            weight=np.where(np.arange(26) < 6, 26 / 6, 26 / 20),
        ),
    )

    def extreme(sign):
        solved = linprog(sign * cost / 6, A_eq=[np.full(6, 1 / 6)], b_eq=[p0], bounds=(0, 1))
        return sign * solved.fun

    assert found.wasted_low == pytest.approx(extreme(1))
    assert found.wasted_high == pytest.approx(extreme(-1))


def test_groups_tighten_the_bounds():
    """Knowing who is likely to buy narrows the range, and the truth stays inside."""
    seen, truth = spent(np.random.default_rng(1), n=60_000)
    one = replace(seen, group=np.zeros(60_000, dtype=int))

    narrow, wide = spend("c", seen), spend("c", one)

    assert wide.wasted_low <= narrow.wasted_low <= truth <= narrow.wasted_high
    assert narrow.wasted_high < wide.wasted_high


def test_the_interval_covers_the_truth():
    """In 200 tests the single amount's 95 % range holds it 90 to 99 %, the bounds' always."""
    inside = held = 0
    for seed in range(200):
        seen, truth = spent(np.random.default_rng(seed), n=2_000)
        found = spend("c", seen)
        inside += not found.wasted.excludes(truth)
        held += found.interval[0] <= truth <= found.interval[1]

    assert 180 <= inside <= 198
    assert held >= 195


def test_a_coupon_that_keeps_people_away_has_no_single_amount():
    """Data against the assumption leave a note, not a number; sleeping dogs cost money."""
    seen, _ = spent(np.random.default_rng(3), n=40_000, keeps_away=0.8)

    found = spend("c", seen)

    assert np.isnan(found.wasted.estimate)
    assert "keep some from buying" in found.wasted.note
    assert 0 < found.sleeping[0] < found.sleeping[1]


def test_clusters_widen_the_error():
    """Units that share an arm count as one."""
    rng = np.random.default_rng(4)
    seen, _ = spent(rng, n=4_000)
    member = np.argsort(np.argsort(seen.cost + 1e-9 * rng.random(4_000))) // 100
    together = replace(seen, cluster=member)

    assert spend("c", together).total.std_error > 2 * spend("c", seen).total.std_error


def test_lost_profit_is_bounded_as_a_linear_program_says():
    """Least and most profit of the buyers who would stay away, whoever they are."""
    profit = np.array([1.0, 2.0, 3.0, 4.0, 8.0, -2.0, 5.0, 6.0])
    bought = np.tile([True] * 8 + [False] * 2, 60)
    money = np.tile(np.concatenate([profit, [0.0, 0.0]]), 60)
    treated = np.repeat([False, True], 600)
    found = spend(
        "c",
        Spent(
            cost=np.zeros(1_200),
            bought=np.concatenate([bought, np.arange(600) % 2 == 0]),
            profit=np.concatenate([money, np.zeros(600)]),
            treated=treated,
            group=np.zeros(1_200, dtype=int),
            weight=np.full(1_200, 2.0),
        ),
    )

    def extreme(sign, share):
        # Of ten control units eight buy; a share of units is kept away.
        solved = linprog(
            sign * profit / 10, A_eq=[np.full(8, 0.1)], b_eq=[share], bounds=(0, 1)
        )
        return sign * solved.fun

    assert found.sleeping == pytest.approx((extreme(1, 0.3), extreme(-1, 0.5)))


def test_the_interval_of_lost_profit_holds_it():
    """Some are kept from buying; in 100 tests the 95 % range of the range holds the truth."""
    held = sure = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        n = 4_000
        treated = rng.random(n) < 0.5
        anyway, away = rng.random(n) < 0.6, rng.random(n) < 0.5
        profit = rng.gamma(4.0, 5.0, n)
        bought = anyway & ~(treated & away)
        found = spend(
            "c",
            Spent(
                cost=np.zeros(n),
                bought=bought,
                profit=profit * bought,
                treated=treated,
                group=np.zeros(n, dtype=int),
                weight=np.full(n, 2.0),
            ),
        )
        # All who are kept away: 30 % of units, 20 each.
        held += found.sleeping_interval[0] <= 6.0 <= found.sleeping_interval[1]
        sure += found.sleeping[0] > 0

    assert held >= 95
    assert sure == 100


def test_chance_alone_makes_no_sleeping_dogs():
    """Ten groups in some of which fewer buy with the coupon: no least loss is claimed."""
    claimed = [
        spend("c", spent(np.random.default_rng(seed), n=4_000)[0]).sleeping[0] > 0
        for seed in range(60)
    ]

    assert sum(claimed) <= 6
