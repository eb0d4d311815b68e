"""A quarter of simulated records with a known truth."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from tests.review.conftest import quarter, record

from upliftlab.errors import UpliftlabError
from upliftlab.registry.record import Record, RecordedArm, Taken
from upliftlab.review.quarter import review_of
from upliftlab.stats.estimate import interval


def test_three_arms_that_share_a_control_have_the_standard_error_of_the_traps_page():
    """1,000 each, SD 10: 1,095.45, where independence says 774.60."""
    found = review_of([record("shared", [1.0, 2.0, 3.0], sd=10.0)]).total
    # Totals are n x difference; n = 1,000.
    assert found.std_error == pytest.approx(1095.45, abs=0.005)
    assert math.sqrt(3 * (10 * math.sqrt(2 / 1000) * 1000) ** 2) == pytest.approx(
        774.60, abs=0.01
    )


def test_the_total_adds_up_every_test_that_was_read():
    """Losers count; void and running tests do not, and are counted."""
    _, records = quarter(6)
    void = record("void", [1e6], status="void", status_reason="sample ratio p 1e-9")
    running = Record(name="running", status="running", quarter="2026Q3")
    found = review_of([*records, void, running], quarter="2026Q3")
    by_hand = sum(r.arms[0].realised.estimate for r in records)

    assert found.total.estimate == pytest.approx(by_hand)
    assert found.total.std_error == pytest.approx(
        math.sqrt(6 * 2) * 1000 / math.sqrt(1000) * 1000
    )
    assert (found.started.started, found.started.read) == (8, 6)
    assert found.started.void_reasons == {"void": "sample ratio p 1e-9"}


def test_bars_add_up_to_the_total():
    """Sales and coupon of all arms are the realised extra profit."""
    _, records = quarter(5)
    found = review_of([*records, record("three", [50.0, 60.0], seed=9)])

    assert sum(bar.effect.estimate for bar in found.waterfall) == pytest.approx(
        found.total.estimate, rel=1e-9
    )
    assert [bar.line for bar in found.waterfall] == ["sales", "coupon"]
    assert found.waterfall[1].effect.std_error == pytest.approx(found.total.std_error, rel=1e-9)


def test_what_is_not_broken_down_has_a_bar_of_its_own():
    """An experiment without lines leaves no hole."""
    one = record("one", [50.0])
    bare = record("bare", [80.0], seed=3)
    bare = type(bare)(
        **{
            **{f: getattr(bare, f) for f in bare.__dataclass_fields__},
            "arms": tuple(
                RecordedArm(arm=a.arm, profit=a.profit, realised=a.realised, n=a.n)
                for a in bare.arms
            ),
        }
    )
    found = review_of([one, bare])

    assert found.waterfall[-1].line == "not broken down"
    assert sum(b.effect.estimate for b in found.waterfall) == pytest.approx(
        found.total.estimate
    )


def test_the_sum_of_wins_is_corrected_towards_the_truth():
    """Over 8 quarters the corrected total is nearer to the truth than the sum of wins."""
    naive, corrected, hits = [], [], 0
    for seed in range(8):
        effects, records = quarter(seed=seed)
        found = review_of(records)
        if not found.shipped.n_shipped:
            continue
        true = sum(
            10_000 * effects[i] for i, row in enumerate(found.arms) if row.entry.is_shipped
        )
        naive.append(found.shipped.naive.estimate - true)
        corrected.append(found.shipped.corrected.estimate - true)
        hits += found.shipped.corrected.ci_low <= true <= found.shipped.corrected.ci_high

    assert np.mean(naive) > 2 * abs(np.mean(corrected))
    assert hits >= len(naive) - 1
    assert found.shipped.n_against_rule == 0


def test_a_decision_against_the_rule_is_said():
    """The formula that assumes the rule says so; the flexible prior needs no rule."""
    _, records = quarter(10, spread=1.0)
    forced = Taken(
        experiment="t00",
        decision="ship",
        by="Wang",
        at="2026-08-01T00:00:00Z",
        is_override=True,
        expires="2026-09-30",
    )
    changed = [
        type(r)(
            **{**{f: getattr(r, f) for f in r.__dataclass_fields__}, "decisions": (forced,)}
        )
        if r.name == "t00"
        else r
        for r in records
    ]
    found = review_of(changed, today="2026-10-10")
    asked = {a.experiment: a for a in found.asked}

    assert found.shipped.n_against_rule == 1
    assert found.shipped.lee_shen.note.startswith("1 arms were decided against the rule")
    assert asked["t00"].why_now == "the override of 2026-08-01 by Wang ran out on 2026-09-30"
    assert len(review_of(changed, today="2026-09-30").asked) == 9


def test_a_unit_gets_one_treatment_of_an_experiment():
    """Of three that would ship the best counts, and is asked; a signed one takes its place."""
    _, records = quarter(10, spread=1.0)
    three = record("three", [300.0, 500.0, 400.0], sd=1000.0)
    found = review_of([*records, three])
    rows = {row.entry.arm: row for row in found.arms if row.entry.experiment == "three"}
    (asked,) = [a for a in found.asked if a.experiment == "three"]
    signed = Taken(experiment="three", arm="arm_0", decision="ship", by="Li", at="2026-10-01")
    after = review_of([*records, replace(three, decisions=(signed,))])

    assert [arm.verdict for arm in three.arms] == ["ship"] * 3
    assert [name for name, row in rows.items() if row.entry.is_shipped] == ["arm_1"]
    assert found.shipped.naive.estimate == pytest.approx(three.arms[1].rollout.estimate)
    assert found.shipped.n_against_rule == 0
    assert (asked.arm, asked.rivals) == ("arm_1", ("arm_0", "arm_2"))
    assert any(note.startswith("2 treatments would ship beside") for note in found.notes)
    assert after.shipped.naive.estimate == pytest.approx(three.arms[0].rollout.estimate)
    assert not [a for a in after.asked if a.experiment == "three"]


def test_what_ships_to_a_segment_is_not_counted_for_everyone():
    """Its own total stands where the decision is asked; the sum of what ships leaves it out."""
    _, records = quarter(10, spread=1.0)
    one = record("segment", [500.0])
    arm = replace(one.arms[0], verdict="ship to segment", segment="new")
    found = review_of([*records, replace(one, arms=(arm,))])

    assert found.shipped.n_shipped == review_of(records).shipped.n_shipped
    assert any(note.startswith("1 treatments ship to a segment") for note in found.notes)


def test_decisions_come_with_the_most_money_first():
    """Sorted by what is believed, over the units of the roll-out."""
    _, records = quarter(12)
    asked = review_of(records).asked

    assert [a.at_stake for a in asked] == sorted((a.at_stake for a in asked), reverse=True)
    assert asked[0].believed.estimate == pytest.approx(
        next(
            r for r in review_of(records).arms if r.entry.experiment == asked[0].experiment
        ).shrunken.estimate
        * 10_000
    )


def test_the_holdout_speaks_to_the_corrected_sum():
    """A gap with its interval; without a holdout, a note."""
    _, records = quarter(20, spread=150.0)
    none = review_of(records).holdout
    first = review_of(records).shipped.corrected
    there = review_of(records, holdout=interval("holdout", first.estimate, 1e9)).holdout
    away = review_of(records, holdout=interval("holdout", first.estimate - 1e9, 1e9)).holdout

    assert none.agrees is None
    assert none.sentence == "no universal holdout was read"
    assert there.agrees is True
    assert there.gap.std_error == pytest.approx(math.hypot(first.std_error, 1e9**0.5))
    assert away.sentence == "the tests claim more than the holdout shows"


def test_a_holdout_among_the_records_is_not_added_up():
    """It checks the sum; it is no part of it."""
    _, records = quarter(6)
    held = record("hold", [30.0], mechanism="universal_holdout", n=50_000, seed=5)
    found = review_of([*records, held])

    assert found.total.estimate == pytest.approx(review_of(records).total.estimate)
    assert found.holdout.holdout.estimate == held.arms[0].rollout.estimate


def test_one_salt_means_the_worst_covariance_unless_it_was_kept():
    """Two tests on one salt: standard errors add; a known covariance replaces the bound."""
    a = record("a", [10.0], salt="s1", layer="x", seed=1)
    b = record("b", [10.0], salt="s1", layer="y", seed=2)
    single = math.sqrt(2) * 1000 / math.sqrt(1000) * 1000
    bound = review_of([a, b]).total
    kept = review_of([a, b], covariances={("a", "b"): 0.0}).total

    assert bound.std_error == pytest.approx(2 * single)
    assert kept.std_error == pytest.approx(math.sqrt(2) * single)
    assert bound.note == "1 pairs of tests with one salt count as fully dependent"


def test_layers_say_which_tests_overlap():
    """One layer: never; two layers: hashed apart; silence: said so."""
    a, b = record("a", [1.0], layer="x"), record("b", [1.0], layer="x", seed=1)
    c, d = record("c", [1.0], layer="y", seed=2), record("d", [1.0], seed=3)
    found = review_of([a, b, c, d]).additivity

    assert found.overlaps.count == 5
    assert found.overlaps.unknown_layer == 3
    assert found.sentence == (
        "5 pairs of experiments shared units while they ran; neither an interaction nor a "
        "holdout says whether their totals add up"
    )
    measured = review_of([a, c], interactions=[interval("a x c", 5.0, 100.0)]).additivity
    assert measured.sentence == (
        "1 pairs of experiments shared units while they ran; measured interactions cannot be "
        "told from 0"
    )


def test_mechanisms_predict_their_next_test():
    """REML mean and a prediction that is wider than the mean's interval."""
    _, records = quarter(20)
    more = [record(f"w{i}", [e], mechanism="win_back", seed=i) for i, e in enumerate([5, 6, 7])]
    found = {m.name: m for m in review_of([*records, *more]).mechanisms}
    gmv = found["smart_coupon: gmv"].pooled

    assert (gmv.k, found["win_back"].pooled.k) == (20, 3)
    assert gmv.prediction.ci_low < gmv.mean.ci_low < gmv.mean.ci_high < gmv.prediction.ci_high
    assert [m.method for m in found["win_back"].others] == ["fixed", "dl", "pm"]


def test_spend_without_a_test_is_named():
    """Of 10 M spent, 6 M have a test behind them."""
    _, records = quarter(4)
    spend = {"smart_coupon: gmv": 6e6, "dual_commission": 4e6}
    found = review_of(records, spend=spend).coverage

    assert found.share == pytest.approx(0.6)
    assert [(r.name, r.is_tested) for r in found.rows] == [
        ("smart_coupon: gmv", True),
        ("dual_commission", False),
    ]
    assert math.isnan(review_of(records).coverage.share)


def test_return_on_spend_is_profit_per_yuan():
    """Fieller's set of total over spend."""
    _, records = quarter(8)
    found = review_of(records)

    assert found.spend.estimate == pytest.approx(8 * 200_000)
    assert found.iroi.estimate == pytest.approx(found.total.estimate / found.spend.estimate)
    assert found.iroi.shape == "interval"


def test_other_currencies_are_left_out_by_name():
    """Yuan and clicks are not added up."""
    _, records = quarter(3)
    clicks = record("clicks", [1.0], seed=4)
    changed = type(clicks)(
        **{
            **{f: getattr(clicks, f) for f in clicks.__dataclass_fields__},
            "currency": "",
            "outcome": "clicks",
        }
    )
    found = review_of([*records, changed])

    assert found.left_out == {"clicks": "its outcome is clicks, not profit in CNY"}
    assert found.started.started == 4


def test_a_review_is_plain_values():
    """JSON without NaN, and the same again."""
    _, records = quarter(5)
    text = json.dumps(review_of(records).to_dict(), allow_nan=False, sort_keys=True)

    assert text == json.dumps(review_of(records).to_dict(), allow_nan=False, sort_keys=True)


def test_an_empty_quarter_names_those_that_are_not():
    """Whole message."""
    _, records = quarter(3)
    with pytest.raises(UpliftlabError) as empty:
        review_of(records, quarter="2026Q4")

    assert str(empty.value) == (
        "a review of '2026Q4' has no experiments; quarters with experiments: ['2026Q3']."
    )
