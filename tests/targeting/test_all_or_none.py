"""Everybody or nobody: chosen by all units, with what the best of all rules has more."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.data.score_table import ScoreTable
from upliftlab.targeting.asked import Ask
from upliftlab.targeting.price_sheet import Prices, PriceSheet
from upliftlab.targeting.run import NOBODY, answer, learned_case

N = 400
ASK = Ask(shares=(0.5, 0.5), rule="tree", learner="fast", depth=1)


def sheet(arms):
    """Profit is the only component."""
    rates, nothing = np.ones((arms, 1)), np.zeros(arms)
    names = ("none", "coupon", "mail")[:arms]
    return PriceSheet(
        arms=names, names=("profit",), profit=Prices(rates=rates, constant=nothing),
        cost=Prices(rates=0 * rates, constant=nothing), gmv=None, whose="", counts={},
    )  # fmt: skip


def table(seed, effect, *, arms=2, n=N):
    """Units that all gain the same."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, arms, n).astype(np.int8)
    y = rng.normal(size=n) + effect * (arm > 0)
    return ScoreTable(
        features={"x": rng.normal(size=n).astype(np.float32)},
        y=y.astype(np.float32)[:, None], components=("profit",), idle=(), arm=arm,
        arms=("none", "coupon", "mail")[:arms], stratum=None, strata=(), cluster=None, total=n,
    )  # fmt: skip


def test_all_units_choose_between_everybody_and_nobody():
    """Where the halves disagree, the half that taught does not choose alone."""
    chosen, alone, both = [], [], []
    for seed in range(10):
        made = table(seed, 0.1)
        case = learned_case(made, ASK, sheet(2), lambda _: None)
        chosen.append(case.kept)
        alone.append(case.taught.best)
        scores = [half.material.profit.contrast for half in (case.first, case.second)]
        both.append(int(np.concatenate(scores).mean() > 0))

    assert chosen == both
    assert chosen != alone


def test_twice_the_units_lose_less():
    """At one standard error of half the units, all units lose half of what half of them lose.

    Scores of a half are its own, so that the choice is a sign of a normal mean: the loss is
    the effect times the chance of a wrong sign.
    """
    rng = np.random.default_rng(0)
    halves = rng.normal(1.0, 1.0, (200_000, 2))

    by_one, by_both = ((each < 0).mean() for each in (halves[:, 0], halves.mean(axis=1)))

    assert by_one == pytest.approx(0.1587, abs=0.003)
    assert by_both == pytest.approx(0.0786, abs=0.003)
    assert by_both < 0.55 * by_one


def test_the_number_of_the_chosen_constant_counts_all_units_and_arms():
    """The note names units, arm and a range that is wider where arms were looked through."""
    found = answer(table(3, 1.0), ASK, sheet(2))
    three = learned_case(
        table(3, 1.0, arms=3), Ask(shares=(1 / 3,) * 3, rule="tree", learner="fast"),
        sheet(3), lambda _: None,
    )  # fmt: skip

    on_all = three.on_all()
    assert found.verdict == "all"
    assert found.notes[-1].startswith(
        "Between everybody and nobody all 400 units choose, of both halves: there coupon for "
        "everybody brings "
    )
    assert found.exported.name == "everybody:coupon"
    assert (on_all.ci_high - on_all.ci_low) / on_all.std_error > 2 * 2.1
    assert abs(on_all.estimate - 1.0) < 4 * on_all.std_error


def test_regret_is_what_the_best_of_all_has_more():
    """Nobody's regret is about the lead of everybody; the best has none; thumbs have no say."""
    found = answer(table(3, 1.0, n=800), ASK, sheet(2))
    nobody, everybody = found.worth("nobody"), found.worth("everybody:coupon")

    assert nobody.regret.estimate == pytest.approx(
        max(rule.value.estimate for rule in found.rules if rule.kind != "baseline")
    )
    assert nobody.regret.ci_low > 0
    assert everybody.regret.ci_low == 0
    assert {rule.regret for rule in found.rules if rule.kind == "baseline"} == {None}


def test_where_nobody_should_be_treated_the_note_says_what_all_would_bring():
    """Nobody is chosen, and the loss of everybody stands beside it."""
    found = answer(table(5, -1.0), ASK, sheet(2))

    assert found.verdict == NOBODY
    assert "there coupon for everybody brings −" in found.notes[-1]
