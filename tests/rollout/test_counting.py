"""Whom a roll-out's figures speak of: reasons, weights, clusters that count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from upliftlab import Experiment
from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DesignError
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
from upliftlab.rollout.doubt import without_of
from upliftlab.rollout.reasons import both_gain, explained, parts_of
from upliftlab.rollout.run import answer
from upliftlab.rollout.switching import design_of
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


def plan(extra: str = "") -> Experiment:
    """The plan of this file with more keys."""
    return Experiment.from_text(PLAN + extra)


@pytest.fixture(scope="module")
def panel():
    """24 clusters of 4 creators."""
    return creator_panel(
        draw_creators(creator_preset("well_designed", seed=11, clusters=24, creators=4))
    )


def heavier(panel: Panel) -> Panel:
    """The same units, every second cohort's weighing 2.5."""
    late = panel.start > np.median(panel.start[panel.start < NEVER])
    return replace(panel, weight=np.where(late, 2.5, 1.0))


def test_reasons_are_added_in_one_place(panel):
    """Channels, parts, rates, commission and both_gain come from one function."""
    told = answer(plan(), panel)
    blank = replace(
        told.rollout, channels=(), parts=(), rates=(), commission_per_yuan=None, both_gain=1.0
    )
    again = explained(blank, told.effects, told.economics, told.profit, 0.95)

    assert again.to_dict() == told.rollout.to_dict()
    assert again.parts == parts_of(told.effects, told.economics, "dual", 0.95)
    assert again.both_gain == both_gain(told.profit)


def test_totals_count_weights(panel):
    """Realised is the sum over weighted unit-periods, the same that stretches count."""
    weighted = heavier(panel)
    told = answer(plan(), weighted)
    event = np.arange(len(weighted.periods))[None, :] - weighted.start[:, None]
    total = float((weighted.weight[:, None] * (event >= 0)).sum())
    since = told.rollout.stretch("since")

    assert since.unit_periods == pytest.approx(total)
    assert told.effects.n[1] == round(total)
    assert told.profit.realised.estimate == pytest.approx(
        told.profit.profit.estimate * total, rel=1e-12
    )


def test_small_weights_still_have_a_total(panel):
    """Weights that add up to less than one unit-period do not round the total to nothing."""
    light = replace(panel, weight=np.full(len(panel.units), 1e-6))
    one, two = answer(plan(), panel), answer(plan(), light)

    assert two.profit.realised.estimate == pytest.approx(
        1e-6 * one.profit.realised.estimate, rel=1e-9
    )


def test_a_switchback_with_weights_is_refused():
    """Days are compared with every unit counted alike, so weights are not ignored."""
    is_on = np.tile([True, False], (3, 4))
    panel = Panel.of_arrays(np.zeros((3, 8)), np.zeros(3), weight=np.array([1.0, 2.0, 1.0]))

    with pytest.raises(DesignError, match="units of this switchback have weights"):
        design_of(panel, is_on, "week")


def test_leaving_a_cluster_out_is_the_answer_without_its_units(panel):
    """Each figure is that of a panel which never held the cluster; the first moved most."""
    weighted = replace(heavier(panel), cluster_labels=tuple(f"c{g}" for g in range(24)))
    told = answer(plan(), weighted)
    found = told.rollout.without
    moves = [abs(each.profit - told.profit.profit.estimate) for each in found]

    assert len(found) == 12
    assert moves == sorted(moves, reverse=True)
    for each in found[::4]:
        rest = weighted.select(weighted.cluster != int(each.label[1:]))
        alone = answer(plan(), rest).profit.profit.estimate
        assert each.profit == pytest.approx(alone, rel=1e-9), each.label


def test_without_the_last_to_compare_with_there_is_no_figure():
    """One never-treated cluster: left out, nobody can be compared."""
    y = np.random.default_rng(1).normal(size=(6, 6))
    panel = Panel.of_arrays(y, [3, 3, 3, 3, NEVER, NEVER], cluster=[0, 0, 1, 1, 2, 2])
    average = aggregate(group_time(panel))
    found = {each.label: each.profit for each in without_of(average, ("a", "b", "c"))}

    assert np.isnan(found["c"])
    assert np.isfinite(found["a"])


def test_those_told_before_the_panel_ends_are_not_compared_with(panel):
    """A wave that starts in the week after observe: its announced weeks move nothing."""
    last = int(panel.start[panel.start < NEVER].max())
    end = panel.periods[last - 1]
    text = f"announced: 2 weeks\nobserve: {{start: {panel.periods[0]}, end: {end}}}\n"
    y = panel.y.copy()
    y[panel.start == last, last - 2 : last] *= 100
    one, two = (answer(plan(text), each) for each in (panel, replace(panel, y=y)))

    assert two.profit.profit.estimate == pytest.approx(one.profit.profit.estimate, rel=1e-9)
    assert two.profit.profit.std_error == pytest.approx(one.profit.profit.std_error, rel=1e-6)


def test_a_wave_long_after_observe_is_nobody_s_special_case(panel):
    """Where observe ends before a wave, the answer is that of a panel without its start."""
    last = int(panel.start[panel.start < NEVER].max())
    end = panel.periods[last - 3]
    text = f"observe: {{start: {panel.periods[0]}, end: {end}}}\n"
    never = replace(panel, start=np.where(panel.start == last, NEVER, panel.start))
    one, two = (answer(plan(text), each) for each in (panel, never))

    assert one.rollout.to_dict() == two.rollout.to_dict()
    assert [wave.start for wave in one.rollout.waves].count("never") == 1


def test_told_in_the_panel_and_started_after_it_is_one_wave_of_those_left(panel):
    """Waves list who did not switch in one row, told or not."""
    last = int(panel.start[panel.start < NEVER].max())
    text = (
        f"announced: 2 weeks\nobserve: {{start: {panel.periods[0]}, "
        f"end: {panel.periods[last - 1]}}}\n"
    )
    waves = answer(plan(text), panel).rollout.waves

    assert [wave.start for wave in waves].count("never") == 1
    assert waves[-1].units == int((panel.start >= last).sum())
