"""Checks of a roll-out say what they looked at, and when they could not look."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from upliftlab import Experiment
from upliftlab.analysis import run
from upliftlab.checks import INFO, PASS, WARN, Check
from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DefinitionError
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
from upliftlab.rollout.doubt import event_path
from upliftlab.rollout.run import answer
from upliftlab.simulate.creator_settings import creator_preset
from upliftlab.simulate.dual_commission import creator_panel, draw_creators

PLAN = """
name: dual-commission
kind: dual_commission
design: staggered
unit: creator
cluster: mcn
period: week
arms:
  single: {organic: 20%, ads: 20%, agency: 3%, control: true}
  dual:   {organic: 25%, ads: 8%, agency: 3%}
costs: {margin: 47.51%}
decide: {worth_it: 50}
"""


@pytest.fixture(scope="module")
def panel():
    """16 clusters of 3 creators, four of them never treated."""
    return creator_panel(
        draw_creators(creator_preset("well_designed", seed=4, clusters=16, creators=3))
    )


def check(panel: Panel, name: str, extra: str = "", confidence: str = "") -> Check:
    """One check of one panel."""
    text = PLAN.replace("worth_it: 50", f"worth_it: 50{confidence}")
    told = answer(Experiment.from_text(text + extra), panel)
    return next(each for each in told.checks if each.name == name)


def with_start(panel: Panel, cluster: int, start: int) -> Panel:
    """The panel with one cluster moved."""
    return replace(panel, start=np.where(panel.cluster == cluster, start, panel.start))


@pytest.mark.parametrize("start", [0, 3])
def test_a_wave_that_began_too_early_does_not_hide_the_placebo(panel, start):
    """Always treated, or treated in the fourth week: the others' placebo is what it was."""
    first = int(panel.cluster[panel.start < NEVER][0])
    rest = panel.select(panel.cluster != first)
    one = check(rest, "placebo_in_time")
    two = check(with_start(panel, first, start), "placebo_in_time")

    assert two.value == pytest.approx(one.value, rel=1e-9)
    assert two.message == f"{one.message} Waves that began too early for that are left out."


@pytest.mark.parametrize(
    ("starts", "why"),
    [
        ({"never": NEVER, "first": 4}, "no wave has 6 weeks before it."),
        ({"never": 20, "first": 10}, "nobody stays untreated."),
    ],
)
def test_a_placebo_that_cannot_be_tried_says_so(panel, starts, why):
    """It is a fact about the data, not a missing line."""
    start = np.where(panel.cluster % 2 == 0, starts["first"], starts["never"])
    found = check(replace(panel, start=start), "placebo_in_time")

    assert found.verdict == INFO
    assert found.message.endswith(why)
    assert math.isnan(found.value)


def test_a_base_period_in_special_days_is_a_warning(panel):
    """All effects of that wave are measured from a week of the sale."""
    start = int(panel.start.min())
    base, after = panel.periods[start - 1], panel.periods[start + 2]
    warned = check(panel, "special_days", f"special_days: {{sale: [{base}, {base}]}}\n")
    calm = check(panel, "special_days", f"special_days: {{sale: [{after}, {after}]}}\n")

    assert warned.verdict == WARN
    assert f"waves from {panel.periods[start]} are compared with" in warned.message
    assert "are compared with" not in calm.message


def test_announced_weeks_move_the_base_that_is_looked_at(panel):
    """With two announced weeks the base is the third before the start."""
    start = int(panel.start.min())
    last, base = panel.periods[start - 1], panel.periods[start - 3]
    told = "announced: 2 weeks\n"
    fine = check(panel, "special_days", f"{told}special_days: {{sale: [{last}, {last}]}}\n")
    warned = check(panel, "special_days", f"{told}special_days: {{sale: [{base}, {base}]}}\n")

    assert "are compared with" not in fine.message
    assert "are compared with" in warned.message


def test_composition_looks_from_the_same_base_at_the_same_level(panel):
    """Activity that falls in the announced weeks is not read as growth since."""
    rng = np.random.default_rng(7)
    active = (rng.random(panel.y.shape[:2]) < 0.8).astype(float)
    y = panel.y.copy()
    y[:, :, panel.names.index("creators_active")] = active
    moved = replace(panel, y=y)
    found = check(moved, "composition", "announced: 2 weeks\n", ", confidence: 80%")
    only = moved.component("creators_active")
    joint = aggregate(group_time(only, anticipation=2)).joint()
    estimate = joint.estimate(joint.names[0], level=0.8)

    assert found.value == pytest.approx(estimate.estimate)
    assert f"({100 * estimate.ci_low:+.1f} to {100 * estimate.ci_high:+.1f})" in found.message
    assert found.verdict == (WARN if estimate.p_value < 0.2 else PASS)


def test_composition_that_never_moves_is_told_as_such(panel):
    """Everybody active throughout: no variance is an answer, not a lack of clusters."""
    y = panel.y.copy()
    y[:, :, panel.names.index("creators_active")] = 1.0
    found = check(replace(panel, y=y), "composition")

    assert found.verdict == PASS
    assert found.message == "The same creators were active before and after the change."


def test_honest_ranges_begin_with_the_headline():
    """At m = 0 the range is the headline's own: one number, one law."""
    drawn = draw_creators(creator_preset("well_designed", seed=4, clusters=48, creators=2))
    found = answer(Experiment.from_text(PLAN), creator_panel(drawn))

    bound = found.rollout.honesty[0].bounds[0]
    own = found.profit.profit
    assert bound.m == 0
    assert (bound.low + bound.high) / 2 == pytest.approx(own.estimate, rel=1e-9)
    # Degrees of freedom come from booked profit here, from its components there.
    assert bound.high - bound.low == pytest.approx(own.ci_high - own.ci_low, rel=0.02)


def test_honest_ranges_weigh_waves_that_are_seen_longer(panel):
    """Event times weigh as unit-periods do, and later ones rest on early waves only."""
    effects = group_time(panel.component(panel.names[0]))
    path = event_path(effects)
    simple = aggregate(effects, "simple").joint()

    after = path.beta[path.n_pre :]
    assert path.weights @ after == pytest.approx(simple.value[0], rel=1e-9)
    assert path.weights[0] > path.weights[-1] > 0


def test_trends_that_moved_apart_leave_no_verdict_where_the_plan_says_so():
    """opt_in: creators who were rising anyway; planned, what was seen before turns it."""
    drawn = creator_panel(
        draw_creators(creator_preset("opt_in", seed=1, clusters=44, creators=2))
    )
    warned = run(Experiment.from_text(PLAN), {"panel": drawn})
    text = PLAN.replace("worth_it: 50", "worth_it: 50, trends_may_differ: 2")
    strict = run(Experiment.from_text(text), {"panel": drawn})
    one, two = (
        next(check for check in found.checks if check.name == "pre_trend")
        for found in (warned, strict)
    )

    assert (one.verdict, two.verdict) == ("warn", "fail")
    assert warned.is_valid
    assert not strict.is_valid
    assert "the plan allows 2 times: no verdict" in two.message
    assert strict.decisions[0].verdict == "no verdict"


def test_how_trends_may_differ_belongs_to_roll_outs():
    """A split compares arms at the same time; it has no trends to allow for."""
    text = PLAN.replace("worth_it: 50", "worth_it: 50, trends_may_differ: 1")
    with pytest.raises(DefinitionError, match=r"decide\.trends_may_differ"):
        Experiment.from_text(text.replace("design: staggered", "design: geo"))


def test_nothing_is_claimed_about_switching_everybody():
    """cross_cluster_leak: a fifth of what switched creators take comes from other clusters."""
    drawn = draw_creators(creator_preset("cross_cluster_leak", seed=2, clusters=16, creators=3))
    found = check(creator_panel(drawn), "spill_over")

    assert found.verdict == INFO
    assert "Sales taken from creators of other mcns are not seen here" in found.message
    assert "not of switching everybody" in found.message
