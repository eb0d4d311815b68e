"""Allocation is exact, uncertainty is carried through, tests are proposed by their worth."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from tests.review.conftest import quarter, record

from upliftlab.errors import DesignError
from upliftlab.review.agenda import agenda_of, next_test, voi
from upliftlab.review.next_quarter import Level, Option, plan_next
from upliftlab.review.quarter import review_of
from upliftlab.stats.estimate import interval, undefined
from upliftlab.targeting.allocation import Limit, allocate


def exactly(value):
    return replace(undefined("known", ""), estimate=value)


def option(name, *levels, group="a", now="off"):
    """Levels as (spend, profit, standard error, new customers)."""
    off = Level(name="off", spend=0.0, profit=exactly(0.0))
    rows = [
        Level(name=f"l{i}", spend=s, profit=interval(name, p, e**2), new_customers=c)
        for i, (s, p, e, c) in enumerate(levels)
    ]
    return Option(name=name, group=group, levels=(off, *rows), now=now)


def random_options(seed, n=6):
    rng = np.random.default_rng(seed)
    return [
        option(
            f"o{i}",
            *(
                (float(s), float(rng.normal(0.4 * s, 0.5 * s)), 0.3 * float(s), 10.0 * k)
                for k, s in enumerate(sorted(rng.uniform(5, 60, 2)), start=1)
            ),
            group="a" if i % 2 else "b",
            now="l0",
        )
        for i in range(n)
    ]


def by_hand(options, budget, *, roi=None, floor=0.0, customers=0.0):
    """Best of all combinations."""
    best = -math.inf
    for pick in itertools.product(*(o.levels for o in options)):
        spend = sum(x.spend for x in pick)
        profit = sum(x.profit.estimate for x in pick)
        in_b = sum(x.spend for x, o in zip(pick, options, strict=True) if o.group == "b")
        keeps = spend <= budget + 1e-9 and in_b >= floor - 1e-9
        keeps = keeps and sum(x.new_customers for x in pick) >= customers
        if keeps and (roi is None or profit >= roi * spend - 1e-9):
            best = max(best, profit)
    return best


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "limits",
    [{}, {"roi": 0.9}, {"floor": 60.0}, {"customers": 60.0}, {"roi": 0.3, "floor": 40.0}],
)
def test_the_plan_is_the_best_of_all_combinations(seed, limits):
    """3^6 plans by hand, under budget, ROI target, floor and new customers."""
    options = random_options(seed)
    best = by_hand(options, 120.0, **limits)
    asked = {
        "roi_target": limits.get("roi"),
        "floors": {"b": limits["floor"]} if "floor" in limits else None,
        "new_customers": limits.get("customers", 0.0),
    }
    if best == -math.inf:
        with pytest.raises(DesignError):
            plan_next(options, budget=120.0, draws=2, **asked)
        return
    found = plan_next(options, budget=120.0, draws=2, **asked)

    assert found.profit.estimate == pytest.approx(best, rel=1e-9)
    assert found.spend <= 120.0 + 1e-6


def test_it_never_beats_the_bound_of_the_customer_allocator():
    """The Lagrangian bound of targeting.allocation holds for the same problem."""
    options = random_options(9)
    gain = np.array([[x.profit.estimate for x in o.levels] for o in options])
    use = np.array([[x.spend for x in o.levels] for o in options])
    other = allocate(gain, [Limit(name="budget", use=use, most=120.0 / len(options))])
    found = plan_next(options, budget=120.0, draws=2)

    assert other.value * 6 <= found.profit.estimate + 1e-9 <= other.bound * 6 + 2e-9


def test_uncertainty_is_carried_through():
    """Gain with its interval, chance of being right, and what knowing would be worth."""
    sure = option("sure", (50.0, 30.0, 1.0, 0.0))
    coin = option("coin", (50.0, 1.0, 100.0, 0.0))
    found = plan_next([sure, coin], budget=200.0, draws=2000)
    moves = {m.option: m for m in found.moves}

    assert found.gain.estimate == pytest.approx(31.0)
    assert found.gain.std_error == pytest.approx(math.hypot(1, 100))
    assert moves["sure"].p_right > 0.999
    assert moves["coin"].p_right == pytest.approx(0.504, abs=0.001)
    # E[max(N(1, 100), 0)] - 1, the unit normal loss.
    assert found.worth_knowing == pytest.approx(100 * 0.3989 - 0.5, rel=0.08)
    assert found.sentence.startswith(
        "the plan is expected to earn more than today's levels, which the data cannot tell"
    )


def test_money_that_earns_nothing_is_not_spent():
    """A budget is a limit, not a target."""
    found = plan_next([option("bad", (50.0, -5.0, 1.0, 0.0), now="l0")], budget=100.0, draws=2)

    assert found.spend == 0.0
    assert found.sentence == (
        "the plan is expected to earn more than today's levels; 100% of the budget is not "
        "worth spending"
    )
    assert found.marginal == 0.0


def test_what_cannot_be_kept_is_named():
    """Whole messages: one impossible limit, and two that exclude each other."""
    options = [
        option("a", (50.0, 5.0, 1.0, 10.0)),
        option("b", (60.0, 5.0, 1.0, 0.0), group="b"),
    ]
    with pytest.raises(DesignError) as floor:
        plan_next(options, budget=200.0, floors={"b": 90.0}, draws=2)
    with pytest.raises(DesignError) as both:
        plan_next(options, budget=80.0, floors={"b": 60.0}, new_customers=10, draws=2)

    assert str(floor.value) == (
        "the floor of 'b' cannot be kept by any choice of levels: 90 is asked and 60 is the "
        "nearest. Ease it, or add a level."
    )
    assert str(both.value) == (
        "the budget, the floor of 'b', 10 new customers cannot be kept together by any choice "
        "of levels; ease one of them."
    )


def test_information_is_worth_what_better_decisions_earn():
    """Preposterior value against simulation: prior N(m, s), test with noise, then decide."""
    rng = np.random.default_rng(3)
    for m, s, noise in ((0.0, 1.0, 1.0), (-0.5, 1.0, 0.3), (0.8, 0.5, 0.2)):
        theta = rng.normal(m, s, 400_000)
        seen = theta + rng.normal(0, math.sqrt(noise), len(theta))
        belief = m + s**2 / (s**2 + noise) * (seen - m)
        earned = (theta * (belief > 0)).mean() - max(m, 0) * 1.0

        assert voi(m, s, np.array([noise]))[0] == pytest.approx(earned, abs=0.004)


def test_tests_are_proposed_by_what_they_are_worth():
    """Most worth first, with size and power in money; sure arms need no further test."""
    _, records = quarter(12, spread=60.0)
    sure = record("sure", [3000.0], seed=99)
    review = review_of([*records, sure], spend={"smart_coupon: gmv": 1e6, "creators": 5e6})
    found = agenda_of(review, [*records, sure])
    nets = [t.net for t in found.tests]

    assert nets == sorted(nets, reverse=True)
    assert all(t.gross <= t.perfect * (1 + 1e-9) for t in found.tests)
    assert all(t.mde_total == pytest.approx(t.mde * 10_000) for t in found.tests)
    by = {t.experiment: t for t in (*found.tests, *found.not_worth_testing)}
    assert by["sure"].gross < 0.01 * found.tests[0].gross
    assert by["sure"].decide_now == "ship"
    kinds = [q.kind for q in found.questions]
    assert "evidence" in kinds
    assert "additivity" in kinds
    assert found.questions[0].question == "Does creators earn anything?"
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_larger_roll_out_deserves_a_larger_test():
    """The same belief over ten times the units."""
    _, records = quarter(12, spread=60.0)
    row = review_of(records).arms[0]
    small = next_test(replace(row, entry=replace(row.entry, rollout_n=20_000)), 1000.0)
    large = next_test(replace(row, entry=replace(row.entry, rollout_n=2_000_000)), 1000.0)

    assert large.per_arm > small.per_arm
    assert large.perfect == pytest.approx(100 * small.perfect)
    assert next_test(row, math.nan) is None


def test_the_solver_prints_nothing_even_into_a_pipe():
    """C holds back what goes into a pipe until its buffer is full, or Python ends."""
    script = (
        "import ctypes\n"
        "from upliftlab.review.next_quarter import _silent\n"
        "with _silent():\n"
        "    ctypes.CDLL(None).puts(b'a solver speaks')\n"
        "print('after')\n"
    )
    plain = {key: text for key, text in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=plain
    )

    assert done.stdout == "after\n"
