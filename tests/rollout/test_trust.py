"""Checks of a roll-out say what they looked at, and when they could not look."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from upliftlab import Experiment
from upliftlab.checks import INFO, PASS, WARN, Check
from upliftlab.data.panel import NEVER, Panel
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
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
