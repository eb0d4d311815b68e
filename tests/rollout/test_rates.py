"""Rates that change over time: priced period by period, with a known truth."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from upliftlab import Experiment
from upliftlab.analysis import run
from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DataError, DefinitionError
from upliftlab.panels.aggregates import aggregate
from upliftlab.rollout.changes import each_change
from upliftlab.rollout.question import Question
from upliftlab.rollout.run import answer
from upliftlab.simulate.creator_settings import creator_preset
from upliftlab.simulate.creator_tables import creator_terms
from upliftlab.simulate.dual_commission import creator_panel, draw_creators

MONDAY = date(2026, 6, 1)
WEEKS = 12
DATES = [MONDAY + timedelta(weeks=t) for t in range(WEEKS)]
STARTS = (4, 7, NEVER)
OF_EACH = 24
NAMES = ("kept_creator_organic", "kept_creator_ads", "ad_spend")
MARGIN, AGENCY = 0.4751, 0.03

PLAN = """
name: dated
kind: dual_commission
design: staggered
unit: creator
cluster: mcn
period: week
arms:
  single: {organic: 20%, ads: 20%, agency: 3%, control: true}
  dual:   {organic: 25%, ads: 8%, agency: 3%}
costs: {margin: 47.51%}
"""
CONTROL, CHANGE = "{organic: 20%, ads: 20%, agency: 3%", "{organic: 25%, ads: 8%, agency: 3%"
EVERYBODY = (
    "{agency: 3%, rates: [{organic: 20%, ads: 20%}, "
    f"{{start: {DATES[8]}, organic: 18%, ads: 20%}}]"
)
STEP = "{agency: 3%, rates: [{organic: 25%, ads: 8%}, {after: 3 weeks, organic: 25%, ads: 12%}]"


def plan(control: str = CONTROL, change: str = CHANGE, extra: str = "") -> Experiment:
    """The plan with other rates."""
    return Experiment.from_text(PLAN.replace(CONTROL, control).replace(CHANGE, change) + extra)


def world(noise: float = 0.0) -> tuple[Panel, np.ndarray]:
    """Units with parallel trends and levels that differ by wave; and sales without the change.

    Organic sales grow by 800 and more each week since the change, sales through ads fall.
    """
    rng = np.random.default_rng(7)
    start = np.repeat(STARTS, OF_EACH)
    count = len(start)
    t = np.arange(WEEKS)
    wave = np.repeat([9_000.0, 4_000.0, 1_000.0], OF_EACH)
    level = wave[:, None] + rng.uniform(-500, 500, (count, 3))
    trend = np.stack([300 * t + 900 * np.sin(t), 150 * t, 20 * t + 5 * (t % 3)], axis=1)
    none = level[:, None, :] + trend[None] + noise * rng.normal(size=(count, WEEKS, 3))
    since = np.maximum(t[None, :] - start[:, None] + 1, 0) * (start < WEEKS)[:, None]
    y = none.copy()
    y[:, :, 0] += 800.0 * since
    y[:, :, 1] -= 350.0 * np.minimum(since, 2)
    y[:, :, 2] += 40.0 * (since > 0)
    panel = Panel.of_arrays(y, start, names=NAMES, periods=DATES, cluster=np.arange(count) // 2)
    return panel, none


def rates_in(t: int, since: int, *, everybody: bool, step: bool) -> tuple[np.ndarray, ...]:
    """Organic and ads rate without and with the change, as the two plans say them."""
    old = np.array([0.18 if everybody and t >= 8 else 0.20, 0.20])
    new = np.array([0.25, 0.12 if step and since >= 3 else 0.08])
    return old, new


def truth(panel: Panel, none: np.ndarray, **which: bool) -> dict[str, float]:
    """Average over treated creator-weeks of what prices make of both worlds."""
    found: dict[str, list[float]] = {k: [] for k in ("profit", "mechanical", "creator")}
    for i, opened in enumerate(panel.start):
        for t in range(opened, WEEKS) if opened < WEEKS else ():
            old, new = rates_in(t, t - opened, **which)
            with_it, without = panel.y[i, t], none[i, t]
            kept = MARGIN - AGENCY
            found["profit"].append(
                (kept - new) @ with_it[:2]
                - with_it[2]
                - (kept - old) @ without[:2]
                + without[2]
            )
            found["mechanical"].append((old - new) @ without[:2])
            found["creator"].append(new @ with_it[:2] - old @ without[:2])
    return {name: float(np.mean(values)) for name, values in found.items()}


CASES = {
    "nobody's rates": (CONTROL, CHANGE, {"everybody": False, "step": False}),
    "everybody's organic rate": (EVERYBODY, CHANGE, {"everybody": True, "step": False}),
    "the arm's ads rate": (CONTROL, STEP, {"everybody": False, "step": True}),
    "both": (EVERYBODY, STEP, {"everybody": True, "step": True}),
}


@pytest.mark.parametrize("what", CASES)
def test_each_period_is_priced_at_its_own_rates(what):
    """Noiseless data: profit, mechanical part and creators' income are those of the truth."""
    control, change, which = CASES[what]
    panel, none = world()
    told = answer(plan(control, change), panel)
    true = truth(panel, none, **which)
    parts = {part.name: part.effect.estimate for part in told.rollout.parts}
    exactly = {"rel": 1e-9, "abs": 1e-6}

    assert told.profit.profit.estimate == pytest.approx(true["profit"], **exactly)
    assert told.profit.mechanical.estimate == pytest.approx(true["mechanical"], **exactly)
    assert parts["mechanical"] == pytest.approx(true["mechanical"], **exactly)
    assert told.profit.parties["creator"].estimate == pytest.approx(true["creator"], **exactly)


@pytest.mark.parametrize("what", CASES)
def test_everything_adds_up_to_profit(what):
    """Lines, parts and waves each add up to extra profit."""
    control, change, _ = CASES[what]
    panel, _ = world(noise=400.0)
    told = answer(plan(control, change), panel)
    profit = told.profit.profit
    waves = [wave for wave in told.rollout.waves if wave.profit is not None]
    periods = [WEEKS - start for start in STARTS if start < WEEKS]
    by_wave = np.average([wave.profit.estimate for wave in waves], weights=periods)

    assert sum(x.effect.estimate for x in told.profit.lines) == pytest.approx(
        profit.estimate, rel=1e-9
    )
    assert sum(x.effect.estimate for x in told.rollout.parts) == pytest.approx(
        profit.estimate, rel=1e-9
    )
    assert by_wave == pytest.approx(profit.estimate, rel=1e-9)


@pytest.mark.parametrize("what", CASES)
def test_books_by_tariff_and_parts_by_tariff_have_one_covariance(what):
    """Value and error from booked money are those from priced components."""
    control, change, _ = CASES[what]
    panel, _ = world(noise=400.0)
    profit = answer(plan(control, change), panel).profit.profit
    booked = aggregate(Question.of(plan(control, change), panel).ledger().only().effects())
    found = booked.joint().estimate("simple")

    assert found.estimate == pytest.approx(profit.estimate, rel=1e-9)
    assert found.std_error == pytest.approx(profit.std_error, rel=1e-9)


def test_rates_that_do_not_change_change_nothing():
    """Rates dated without a change are today's answer to the last bit."""
    panel, _ = world(noise=400.0)
    same = (
        "{agency: 3%, rates: [{organic: 20%, ads: 20%}, "
        f"{{start: {DATES[8]}, organic: 20%, ads: 20%}}]"
    )
    one, two = answer(plan(), panel), answer(plan(control=same), panel)

    assert one.profit.to_dict() == two.profit.to_dict()
    assert one.rollout.to_dict() == two.rollout.to_dict()


def test_a_change_before_the_first_wave_is_no_tariff():
    """Everybody's rate fell before anybody switched: only the later one counts."""
    panel, _ = world(noise=400.0)
    early = EVERYBODY.replace(str(DATES[8]), str(DATES[2]))
    later = CONTROL.replace("organic: 20%", "organic: 18%")

    assert (
        answer(plan(early), panel).profit.to_dict()
        == answer(plan(later), panel).profit.to_dict()
    )


def test_break_even_is_the_one_rate_held_throughout():
    """Re-priced at it in every week, extra profit is 0."""
    panel, _ = world(noise=400.0)
    told = answer(plan(EVERYBODY, STEP), panel)
    rate = next(each for each in told.rollout.rates if each.name == "ads").estimate
    at_it = f"{{organic: 25%, ads: {100 * rate:.12f}%, agency: 3%"
    again = answer(plan(EVERYBODY, at_it), panel)

    assert abs(again.profit.profit.estimate) < 1e-6 * abs(told.profit.profit.estimate)


def test_other_methods_read_one_column_of_the_same_money():
    """Noiseless data: imputation and regression by cohort find the same extra profit."""
    panel, none = world()
    told = answer(plan(EVERYBODY, STEP), panel)
    true = truth(panel, none, everybody=True, step=True)["profit"]
    found = {each.method: each for each in told.rollout.opinions}

    for method in ("imputation", "interaction_weighted"):
        assert found[method].effect.estimate == pytest.approx(true, rel=1e-9)
        assert found[method].note.endswith("from the headline's expected sales, as fixed")


def test_one_cluster_less_is_the_panel_without_it():
    """Leaving a cluster out keeps each week at its own rates."""
    panel, _ = world(noise=400.0)
    told = answer(plan(EVERYBODY, STEP), panel)
    first = told.rollout.without[0]
    rest = panel.select(panel.units[panel.cluster * 2] != int(first.label.removeprefix("of ")))

    assert answer(plan(EVERYBODY, STEP), rest).profit.profit.estimate == pytest.approx(
        first.profit, rel=1e-9
    )


def terms(panel: Panel, **changed: object) -> pa.Table:
    """Agreed rates of every creator, as the plan's: 20/20, since the change 25/8."""
    rows = []
    for unit, start in zip(panel.units, panel.start, strict=True):
        opened = DATES[start] if start < WEEKS else None
        rows.append((str(unit), DATES[0], opened, 2000, 2000))
        if opened:
            rows.append((str(unit), opened, None, 2500, 800))
    names = ("creator_id", "valid_from", "valid_to", "organic_bp", "ads_bp")
    table = [dict(zip(names, row, strict=True)) for row in rows]
    for at, change in changed.items():
        table[int(at.removeprefix("row"))] |= change
    return pa.Table.from_pylist(table)


UNSTATED = ("{agency: 3%", "{agency: 3%")
FROM_TERMS = "data: {panel: {file: p.parquet}, creator_terms: {file: t.parquet}}\n"


def test_rates_come_from_the_terms_where_the_plan_states_none():
    """Agreed rates price the arms: the answer of the plan that states them."""
    panel, _ = world(noise=400.0)
    found = run(
        plan(*UNSTATED, extra=FROM_TERMS), {"panel": panel, "creator_terms": terms(panel)}
    )

    assert found.profits[0].to_dict() == answer(plan(), panel).profit.to_dict()


def test_terms_that_step_up_in_a_wave_are_priced_by_wave():
    """One wave is raised to 30 % on a day: its own weeks cost more, by rate times its sales."""
    panel, _ = world()
    table = terms(panel).to_pylist()
    later = []
    for row in table:
        if row["valid_from"] == DATES[4]:
            later.append(row | {"valid_from": DATES[9], "organic_bp": 3000})
            row["valid_to"] = DATES[9]
    raised = pa.Table.from_pylist([*table, *later])
    given = {"panel": panel}
    one = run(plan(*UNSTATED, extra=FROM_TERMS), given | {"creator_terms": terms(panel)})
    two = run(plan(*UNSTATED, extra=FROM_TERMS), given | {"creator_terms": raised})
    first = panel.start == 4
    cells = OF_EACH * (WEEKS - 4 + WEEKS - 7)
    more = 0.05 * panel.y[first, 9:, 0].sum() / cells

    assert one.profits[0].profit.estimate - two.profits[0].profit.estimate == pytest.approx(
        more, rel=1e-9
    )


def test_terms_that_differ_within_a_wave_are_refused():
    """One creator with rates of his own: a sentence, not an average."""
    panel, _ = world()
    odd = terms(panel, row1={"organic_bp": 3000})

    with pytest.raises(DataError) as error:
        run(plan(*UNSTATED, extra=FROM_TERMS), {"panel": panel, "creator_terms": odd})

    assert str(error.value) == (
        "creator_terms give '1' 25% and '0' 30% as organic rate in 2026-06-29, in one arm of "
        "one wave; state the rates of the arms in the plan, or give commission as booked."
    )


def test_terms_with_a_gap_are_refused():
    """No rate in force is no rate of 0."""
    panel, _ = world()
    table = terms(panel).to_pylist()
    late = [
        row | {"valid_from": DATES[5]} if row["valid_from"] == DATES[4] else row
        for row in table
    ]

    with pytest.raises(DataError) as error:
        run(
            plan(*UNSTATED, extra=FROM_TERMS),
            {"panel": panel, "creator_terms": pa.Table.from_pylist(late)},
        )

    assert str(error.value) == (
        "arm 'dual' has no organic rate in force throughout the period that begins on "
        "2026-06-29; rates must hold without a gap while waves are followed."
    )


def check_of(analysis: object, name: str) -> object:
    """One check of an analysis."""
    return next(check for check in analysis.checks if check.name == name)


def test_terms_that_disagree_with_the_plan_are_named():
    """The plan's rates count, and the page says whose terms are others, and when."""
    panel, _ = world(noise=400.0)
    stated = plan(extra=FROM_TERMS)
    given = {"panel": panel}
    same = run(stated, given | {"creator_terms": terms(panel)})
    odd = terms(panel, row1={"organic_bp": 3000})
    other = run(stated, given | {"creator_terms": odd})

    assert check_of(same, "agreed_rates").verdict == "pass"
    assert check_of(same, "agreed_rates").message == (
        "All 72 creators were agreed the plan's rates in every week (creator_terms)."
    )
    assert check_of(other, "agreed_rates").verdict == "warn"
    assert check_of(other, "agreed_rates").message == (
        "1 of 72 creators was agreed other rates than the plan's, such as '0' (organic 30% for "
        "25%, 2026-06-29 to 2026-08-17); money counts at the plan's."
    )
    assert other.profits[0].to_dict() == same.profits[0].to_dict()


def test_the_simulators_terms_are_those_of_its_plan():
    """Every creator of a simulated roll-out was agreed what the plan states."""
    drawn = draw_creators(creator_preset("well_designed", seed=11, clusters=8, creators=2))
    stated = plan(extra=FROM_TERMS)
    found = run(stated, {"panel": creator_panel(drawn), "creator_terms": creator_terms(drawn)})

    assert check_of(found, "agreed_rates").verdict == "pass"


def test_a_week_in_which_a_rate_changes_counts_by_days():
    """Three days at 18 %, four at 20 %: the rate of the week, and the page says so."""
    panel, none = world()
    control = EVERYBODY.replace(str(DATES[8]), str(DATES[8] + timedelta(days=4)))
    found = run(plan(control), {"panel": panel})
    mean = truth(panel, none, everybody=True, step=False)["profit"]
    in_week = sum(none[panel.start == start, 8, 0].sum() for start in STARTS[:2])
    cells = OF_EACH * (WEEKS - 4 + WEEKS - 7)

    assert found.profits[0].profit.estimate == pytest.approx(
        mean + 0.02 * 4 / 7 * in_week / cells, rel=1e-9
    )
    assert check_of(found, "rates_within_period").message == (
        "Rates change within 1 week (2026-07-27): it counts at the average over its days, "
        "exact where sales are even over them."
    )


BAD_RATES = {
    "{organic: 20%, ads: 20%, rates: [{organic: 18%}]": (
        "arms.single has both 'organic' and 'rates.organic'; keep one of them."
    ),
    "{rates: [{end: 2026-07-01, organic: 20%}, {start: 2026-07-01, organic: 18%}]": (
        "arms.single.rates: the row from the beginning to 2026-07-01 reaches into the row from "
        "2026-07-01; write rows in order of time, each ending before the next begins."
    ),
    "{rates: [{end: 2026-07-01, organic: 20%}, {start: 2026-07-08, organic: 18%}]": (
        "arms.single.rates has no rates between 2026-07-01 and 2026-07-08; leave end out, so "
        "that rates hold until the next row."
    ),
    "{rates: [{organic: 20%, ads: 20%}, {start: 2026-07-08, organic: 18%}]": (
        "arms.single.rates states ['organic'] from 2026-07-08 on and ['organic', 'ads'] "
        "before; state the same rates in every row."
    ),
    "{rates: [{organic: 20%, ads: 20%}, {after: 2 weeks, organic: 18%, ads: 20%}]": (
        "arms.single.rates.after is '14 days'; write start and a day: control has no change "
        "that time could count from."
    ),
}


@pytest.mark.parametrize("control", BAD_RATES)
def test_rates_that_overlap_or_leave_a_gap_are_refused(control):
    """One clear sentence each."""
    with pytest.raises(DefinitionError) as error:
        plan(control)

    assert BAD_RATES[control] in str(error.value)


def test_rates_that_end_too_early_are_refused():
    """The plan states no rates for the last weeks."""
    panel, _ = world()
    short = "{agency: 3%, rates: [{end: 2026-08-09, organic: 20%, ads: 20%}]"

    with pytest.raises(DataError) as error:
        answer(plan(short), panel)

    assert str(error.value) == (
        "arm 'single' has no organic rate in force throughout the period that begins on "
        "2026-08-10; rates must hold without a gap while waves are followed."
    )


def test_dated_rates_need_waves():
    """By region or on and off there is no week of the change to count from."""
    text = PLAN.replace(CONTROL, EVERYBODY).replace("design: staggered", "design: geo")

    with pytest.raises(DefinitionError, match="'rates' goes with design: staggered"):
        Experiment.from_text(text)


def test_several_changes_share_everybodys_new_rate():
    """Two arms while everybody's organic rate falls: each alone and their table agree."""
    panel, _ = world(noise=400.0)
    on = panel.start < WEEKS
    arm = np.where(on, np.where(panel.cluster % 2 == 0, "dual", "more"), "")
    text = PLAN.replace(CONTROL, EVERYBODY) + "  # two changes\n"
    more = "  more:   {organic: 30%, ads: 8%, agency: 3%}\ncosts:"
    both = Experiment.from_text(text.replace("costs:", more))
    found = each_change(both, replace(panel, arm=arm.astype(object)))

    for label, told, joint in zip(
        ("dual", "more"), found.answers, found.joint.value, strict=True
    ):
        mine = panel.select((arm == label) | ~on)
        one = Experiment.from_text(
            text.replace("  dual: ", f"  {label}: ").replace(
                "organic: 25%", "organic: 30%" if label == "more" else "organic: 25%"
            )
        )
        alone = answer(one, mine).profit.profit.estimate
        assert told.profit.profit.estimate == pytest.approx(alone, rel=1e-9)
        assert joint == pytest.approx(alone, rel=1e-9)
