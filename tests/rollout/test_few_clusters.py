"""With few clusters everything that profit says comes from one law, or says nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from upliftlab import Experiment
from upliftlab.checks import WARN
from upliftlab.data.panel import NEVER, Panel
from upliftlab.decision import Rules, decide
from upliftlab.panels.group_time import group_time
from upliftlab.panels.randomisation import roll_out
from upliftlab.rollout.booked import Measure, book, measures_of
from upliftlab.rollout.counted import count_clusters
from upliftlab.rollout.reassigned import NO_RANGE, one_sided
from upliftlab.rollout.run import Answered, answer
from upliftlab.simulate.creator_settings import creator_preset
from upliftlab.simulate.dual_commission import creator_panel, draw_creators
from upliftlab.stats.estimate import interval

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
decide: {worth_it: 50, both_gain: true}
"""


def plan(extra: str = "") -> Experiment:
    """The plan of this file with more keys."""
    return Experiment.from_text(PLAN + extra)


@pytest.fixture(scope="module")
def panel():
    """12 clusters of 4 creators, 3 never treated."""
    return creator_panel(
        draw_creators(creator_preset("well_designed", seed=2, clusters=12, creators=4))
    )


@pytest.fixture(scope="module")
def told(panel):
    """Its answer."""
    return answer(plan(), panel)


def of_clusters(panel: Panel, starts: dict[int, int]) -> Panel:
    """Keep some clusters, and let each start when told."""
    kept = panel.select(np.isin(panel.cluster, list(starts)))
    start = np.array([list(starts.values())[g] for g in kept.cluster])
    return replace(kept, start=start)


def test_all_that_profit_says_has_one_law(told):
    """Ladder, total, sides, hurdle and chance agree with the re-assigned range."""
    profit = told.profit
    own = profit.profit

    assert "re-assignment" in own.note
    assert profit.rung("profit").effect == own
    assert profit.over_hurdle.ci_low == pytest.approx(own.ci_low, rel=1e-9)
    assert profit.parties["merchant"].p_value == own.p_value
    assert profit.p_positive == pytest.approx(1 - own.p_value / 2)
    assert (own.p_value <= 0.05) == (profit.p_positive >= 0.975)
    assert profit.realised.ci_low / profit.realised.estimate == pytest.approx(
        own.ci_low / own.estimate
    )


def test_creators_are_assigned_again_as_well(told):
    """Their range is that of booked income by re-assignment, and both_gain reads it."""
    asked = [m for m in _measures(told) if m.name == "creator"]
    income = roll_out(book(told.panel, asked), controls="not_yet")["creator"]
    creator = told.profit.parties["creator"]

    assert (creator.ci_low, creator.ci_high) == pytest.approx(
        (income.ci_low, income.ci_high), rel=1e-9
    )
    assert creator.p_value == income.p_value
    assert told.rollout.both_gain == max(one_sided(told.profit.profit), one_sided(creator))


def test_ratios_of_profit_have_no_range_of_another_law(told):
    """Break-even rates, tipping values and iROI keep their numbers and lose Fieller's set."""
    ratios = [*told.rollout.rates, *(each.at for each in told.profit.tipping)]

    assert ratios
    assert all(np.isnan(each.ci_low) and NO_RANGE in each.note for each in ratios)
    assert any(np.isfinite(each.estimate) for each in ratios)
    assert NO_RANGE in told.profit.iroi.note


def test_one_sided_is_half_of_two_sided():
    """On the side of the estimate, whatever the law."""
    gain, loss = interval("gain", 2.0, 1.0, df=7), interval("loss", -2.0, 1.0, df=7)

    assert one_sided(gain) == pytest.approx(gain.p_value / 2)
    assert one_sided(loss) == pytest.approx(1 - loss.p_value / 2)
    assert math.isnan(one_sided(replace(gain, p_value=math.nan)))


def test_three_against_three_has_no_range(panel):
    """The smallest p-value is 0.1: no range, no verdict, and the note says why."""
    small = of_clusters(panel, {0: 12, 1: 12, 2: 12, 3: NEVER, 4: NEVER, 5: NEVER})
    told = answer(plan("ramp: 4 weeks\n"), small)
    profit, shown = told.profit, told.rollout

    assert math.isfinite(profit.profit.estimate)
    assert profit.profit.p_value >= 0.1
    assert math.isnan(profit.profit.ci_low)
    assert math.isnan(profit.realised.ci_high)
    assert "the smallest p-value this design can give is 0.1" in profit.profit.note
    assert decide(profit, rules=Rules()).verdict == "no verdict"
    assert all(math.isnan(each.profit.ci_low) for each in shown.stretches)
    assert [wave.profit for wave in shown.waves] == [profit.profit, None]
    assert math.isnan(shown.pay_back)


def test_a_single_wave_is_the_headline(panel):
    """Six against six in one wave: the wave's range is the headline's."""
    starts = {g: 12 if g < 6 else NEVER for g in range(12)}
    told = answer(plan(), of_clusters(panel, starts))

    assert np.isfinite(told.profit.profit.ci_low)
    assert told.rollout.waves[0].profit == told.profit.profit


def test_units_that_are_their_own_clusters_are_assigned_again(panel):
    """Three units against three units are as few as three clusters against three."""
    few = panel.select(np.arange(6) * 4)
    alone = replace(few, start=np.array([12] * 3 + [NEVER] * 3), cluster=np.arange(6))
    found = answer(plan(), alone).profit.profit

    assert math.isnan(found.ci_low)
    assert found.p_value >= 0.1


@pytest.mark.parametrize("what", ["units", "weights"])
def test_clusters_that_do_not_weigh_the_same_keep_their_range(panel, what):
    """Re-assignment counts clusters alike, so it is not the law of an average that does not."""
    uneven = replace(panel, weight=np.where(panel.cluster % 2 == 0, 3.0, 1.0))
    if what == "units":
        first = np.unique(panel.cluster, return_index=True)[1][::2]
        uneven = panel.select(np.setdiff1d(np.arange(len(panel.units)), [*first, *(first + 1)]))
    profit = answer(plan(), uneven).profit

    assert "re-assignment" not in profit.profit.note
    assert NO_RANGE not in profit.iroi.note
    assert profit.rung("profit").effect.ci_low == profit.profit.ci_low


def test_weights_that_even_clusters_out_are_honoured(panel):
    """Clusters of 4 and 2 units weigh the same when the two weigh double."""
    first = np.unique(panel.cluster, return_index=True)[1][::2]
    rest = panel.select(np.setdiff1d(np.arange(len(panel.units)), [*first, *(first + 1)]))
    size = np.bincount(rest.cluster)[rest.cluster]
    told = answer(plan(), replace(rest, weight=4.0 / size))
    again = next(o.effect for o in told.rollout.opinions if o.method == "randomisation")

    assert told.profit.profit.ci_low == again.ci_low
    assert again.estimate == pytest.approx(told.profit.profit.estimate, rel=1e-9)


def test_always_treated_clusters_count_on_neither_side(panel):
    """Nine switched, two always treated, one never: nine against one, in check and page."""
    starts = dict.fromkeys(range(9), 12) | {9: 0, 10: 0, 11: NEVER}
    counted = count_clusters(group_time(of_clusters(panel, starts).component("posts")))

    assert (counted.switched, counted.never, counted.pool) == (9, 1, 1)
    assert counted.total == 10


def test_the_smallest_pool_is_counted_without_never_treated(panel):
    """Four waves of three, none never: late effects rest on the last wave alone."""
    waves = of_clusters(panel, {g: 8 + 4 * (g // 3) for g in range(12)})
    told = answer(plan(), waves)
    check = next(each for each in told.checks if each.name == "clusters")

    assert told.rollout.clusters == (9, 3)
    assert check.verdict == WARN
    assert check.message.startswith(
        "9 mcns switched, compared with 3 or more that had not yet, only 3 on one side"
    )


def test_mixed_clusters_are_counted_once(panel):
    """Where every cluster holds both, it is not on one side and on the other."""
    start = np.where(np.arange(len(panel.units)) % 2 == 0, 12, NEVER)
    told = answer(plan(), replace(panel, start=start))
    check = next(each for each in told.checks if each.name == "clusters")

    assert check.message == "12 mcns, each with both switched and other creators."


def test_re_assignment_leaves_always_treated_clusters_where_they_are(panel):
    """The range is that of the panel without them."""
    starts = dict.fromkeys(range(5), 12) | dict.fromkeys(range(5, 10), NEVER)
    small = of_clusters(panel, starts)
    more = of_clusters(panel, starts | {10: 0, 11: 0})
    one, two = (answer(plan(), each).profit.profit for each in (small, more))

    assert (one.ci_low, one.ci_high, one.p_value) == pytest.approx(
        (two.ci_low, two.ci_high, two.p_value), rel=1e-9
    )


def _measures(told: Answered) -> tuple[Measure, ...]:
    return measures_of(told.economics, told.panel.names, arm="dual", control="single")
