"""From a roll-out's plan and panel to what it earned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
from upliftlab.plan.currencies import currency_of
from upliftlab.rollout.agreed import rate_checks
from upliftlab.rollout.answer import Opinion, Rollout, Stretch
from upliftlab.rollout.counted import count_clusters
from upliftlab.rollout.doubt import honesty_of, opinions_of, without_of
from upliftlab.rollout.ledgers import MOVED
from upliftlab.rollout.means import Parts, observed_and_expected
from upliftlab.rollout.on_off import switched
from upliftlab.rollout.question import Answered, Question, facts_of
from upliftlab.rollout.rates import part_of
from upliftlab.rollout.reasons import explained
from upliftlab.rollout.reassigned import (
    by_reassignment,
    drawn_check,
    is_reassigned,
    with_one_law,
)
from upliftlab.rollout.region_noise import region_noise
from upliftlab.rollout.region_times import (
    RegionTimes,
    region_cells,
    region_pay_back,
    region_stretches,
    region_waves,
)
from upliftlab.rollout.regions import region_opinions, weighted_regions
from upliftlab.rollout.shop import shop_series
from upliftlab.rollout.signs import with_reasons
from upliftlab.rollout.timing import (
    cells_of,
    paths_of,
    pay_back,
    stretches_of,
    waves_of,
)
from upliftlab.rollout.trust import rollout_checks

if TYPE_CHECKING:
    from collections.abc import Callable

    from upliftlab.checks import Check
    from upliftlab.data.panel import Panel
    from upliftlab.economics import Economics
    from upliftlab.estimators.effects import Effects
    from upliftlab.experiment import Experiment
    from upliftlab.panels.aggregates import Aggregate
    from upliftlab.panels.group_time import GroupTime
    from upliftlab.panels.synthetic_effect import SyntheticEffect
    from upliftlab.profit import Profit
    from upliftlab.rollout.rates import Tariffs

UNWEIGHTED = (
    "The picture compares regions unweighted; the headline weighs them to move as the "
    "treated did."
)

PLAINLY = "Of regions compared unweighted, not of the weighted headline."


def answer(
    experiment: Experiment,
    panel: Panel,
    *,
    economics: Economics | None = None,
    progress: Callable[[str], None] | None = None,
    everybody: int | None = None,
    tariffs: Tariffs | None = None,
) -> Answered:
    """Answer a plan whose units switched in waves, by region, or on and off.

    Args:
        experiment: The plan, with one change.
        panel: Components, and who was treated since when.
        economics: Other prices than the plan's: what-if.
        progress: Called with the name of each step.
        everybody: Units that a roll-out would reach, where the panel holds only some of them.
        tariffs: Which set of rates holds when, where ``economics`` speaks of other tariffs than
            this plan's own.

    Raises:
        DesignError: When the panel allows no comparison.
        DataError: When no unit was observed throughout.
        DefinitionError: When plan and data together cannot be priced.
    """
    tell = progress or (lambda _: None)
    if experiment.design == "switchback":
        return switched(experiment, panel, economics=economics, progress=progress)
    asked = Question.of(experiment, panel, economics, everybody, tariffs)
    tell("estimating")
    ahead = asked.periods(experiment.announced)
    effects, weighted = _means(asked, ahead)
    tell("pricing")
    profit = asked.price(effects)
    booked = asked.ledger().column()
    alone = aggregate(asked.ledger().only().effects())
    if experiment.design == "staggered":
        _refuse_two_answers(profit, alone)
    tell("doubting")
    return _answered(asked, effects, profit, booked=booked, alone=alone, weighted=weighted)


def _means(asked: Question, ahead: int) -> tuple[Effects, SyntheticEffect | None]:
    """Observed and expected means of the treated; for regions also how they were weighted."""
    if asked.experiment.design == "geo":
        return weighted_regions(
            asked.panel,
            asked.economics,
            arm=asked.arm,
            control=asked.control,
            anticipation=ahead,
        )
    average = aggregate(group_time(asked.panel, anticipation=ahead))
    parts = _parts(asked, average.effects)
    return (
        observed_and_expected(average, arm=asked.arm, control=asked.control, parts=parts),
        None,
    )


def _parts(asked: Question, effects: GroupTime) -> Parts | None:
    """Components that are priced tariff by tariff, and the tariff of each effect."""
    named = {part_of(name) for name in asked.economics.components()}
    dated = tuple(sorted(base for base in {b for b, j in named if j is not None}))
    if not dated:
        return None
    return Parts(
        components=dated,
        tariff=np.array([asked.tariffs.at_cell(*cell) for cell in effects.cells]),
        count=asked.tariffs.count,
    )


def _answered(
    asked: Question,
    effects: Effects,
    profit: Profit,
    *,
    booked: Panel,
    alone: Aggregate,
    weighted: SyntheticEffect | None,
) -> Answered:
    """Doubt the number, and say why and when it came about."""
    opinions = _opinions(asked, booked.component("profit"), alone, profit)
    if asked.experiment.design == "staggered":
        again = next(each.effect for each in opinions if each.method == "randomisation")
        profit = by_reassignment(asked, profit, again, alone.effects)
        opinions = (replace(opinions[0], effect=profit.profit), *opinions[1:])
        law = "by re-assignment of clusters" if is_reassigned(profit) else "by Student's t"
        opinions = with_reasons(opinions, law)
    threshold = _hurdle(profit, float(asked.experiment.decide.worth_it.minor))
    honesty, path = honesty_of(alone.effects, threshold=threshold, level=asked.level)
    if weighted is not None:
        honesty = tuple(replace(h, note=f"{PLAINLY} {h.note}".strip()) for h in honesty)
    over_time = _over_time(asked, alone, profit, weighted)
    profit = _summed_up(profit, over_time)
    rollout = explained(
        over_time,
        effects,
        asked.economics,
        profit,
        asked.level,
    )
    rollout = replace(rollout, opinions=opinions, honesty=honesty)
    return Answered(
        panel=asked.panel,
        facts=facts_of(asked.panel, asked.arm, asked.control),
        economics=asked.economics,
        effects=effects,
        profit=profit,
        checks=rollout_checks(
            asked.experiment,
            panel=asked.panel,
            booked=booked.component("profit"),
            effects=alone.effects,
            path=path,
            honesty=honesty,
            channels=rollout.channels,
            money=float(currency_of(asked.experiment.currency).scale),
            more=_more_checks(asked, booked.component("profit"), alone.effects.anticipation),
        ),
        rollout=rollout,
    )


def _more_checks(asked: Question, profit: Panel, ahead: int) -> tuple[Check, ...]:
    """Agreed rates, waves as drawn, and whether regions that tell the range are like others."""
    experiment = asked.experiment
    found = (
        drawn_check(asked.panel, experiment.cluster or experiment.unit),
        region_noise(profit, anticipation=ahead) if experiment.design == "geo" else None,
    )
    rates = rate_checks(experiment, asked.panel, asked.tariffs)
    return (*rates, *(check for check in found if check is not None))


def _over_time(
    asked: Question,
    alone: Aggregate,
    profit: Profit,
    weighted: SyntheticEffect | None,
) -> Rollout:
    """Waves, stretches, paths and influence: what only time can tell."""
    panel, experiment = asked.panel, asked.experiment
    counted = count_clusters(alone.effects)
    ahead, ramp = alone.effects.anticipation, asked.periods(experiment.ramp)
    found = Rollout(
        design=experiment.design,
        unit=experiment.unit,
        period=asked.period,
        clusters=(counted.switched, counted.never or counted.pool),
        waves=waves_of(alone.effects, asked.level),
        stretches=stretches_of(alone.effects, ramp, asked.level),
        paths=paths_of(asked.ledger().effects(), asked.measures, asked.level),
        cells=cells_of(alone.effects, asked.level),
        pay_back=pay_back(alone.effects, asked.level),
        without=without_of(alone, cluster_labels(panel), again=asked.ledger().only().again),
        shop=shop_series(panel, anticipation=ahead),
        notes=tuple(dict.fromkeys((*alone.effects.notes, *filter(None, [alone.note])))),
    )
    if weighted is not None:
        times = RegionTimes.of(weighted, panel, asked.measures[0])
        found = _weighted(found, times, ahead=ahead, ramp=ramp, level=asked.level)
    found = with_one_law(found, profit)
    return replace(found, stretches=_headline_first(found.stretches, profit))


def _weighted(
    found: Rollout, times: RegionTimes, *, ahead: int, ramp: int, level: float
) -> Rollout:
    """All but the picture with the weights of the headline."""
    return replace(
        found,
        waves=region_waves(times, found.waves, level),
        stretches=region_stretches(times, found.stretches, ahead=ahead, ramp=ramp, level=level),
        paths=tuple(replace(p, note=f"{UNWEIGHTED} {p.note}".strip()) for p in found.paths),
        cells=region_cells(times),
        pay_back=region_pay_back(times, ahead=ahead, level=level),
        without=(),
    )


def _opinions(
    asked: Question, one: Panel, alone: Aggregate, profit: Profit
) -> tuple[Opinion, ...]:
    """The headline first, then what other methods say."""
    ahead = alone.effects.anticipation
    others = opinions_of(one, alone, anticipation=ahead, level=asked.level)
    if asked.ledger().only().moves:
        others = (others[0], *(replace(o, note=_also(o.note, MOVED)) for o in others[1:]))
    if asked.experiment.design != "geo":
        return others
    headline = Opinion(
        method="synthetic_did",
        label="regions weighted to move as the treated did (headline)",
        effect=profit.profit,
    )
    plain = replace(others[0], label="regions that switched against those that had not yet")
    regions = region_opinions(one, anticipation=ahead, level=asked.level)
    return (headline, *regions, plain, *others[1:])


def _also(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _hurdle(profit: Profit, worth_it: float) -> float:
    """Where the verdict turns: at 0, or what is worth it where even the upper end is below."""
    sure = profit.profit.is_below_zero or profit.profit.is_above_zero
    too_small = not sure and profit.profit.ci_high < worth_it
    return worth_it if too_small else 0.0


def _headline_first(stretches: tuple[Stretch, ...], profit: Profit) -> tuple[Stretch, ...]:
    """The stretch since the change is the headline's own number."""
    return tuple(
        replace(
            each,
            profit=profit.profit,
            total=profit.profit.scaled(each.unit_periods, name="since total"),
        )
        if each.name == "since"
        else each
        for each in stretches
    )


def _summed_up(profit: Profit, rollout: Rollout) -> Profit:
    """Total of the test over unit-periods as they weigh, which need not be a whole number."""
    since = rollout.stretch("since")
    if since is None or not since.unit_periods:
        return profit
    return replace(profit, realised=replace(since.total, name="realised"))


def cluster_labels(panel: Panel) -> tuple[str, ...]:
    """Name every cluster by its first unit where clusters have no names of their own."""
    first = np.unique(panel.cluster, return_index=True)[1]
    if panel.cluster_labels:
        return panel.cluster_labels
    return tuple(f"of {panel.units[i]}" for i in first)


def _refuse_two_answers(profit: Profit, alone: Aggregate) -> None:
    """Profit from component means and from booked profit are one number."""
    booked = float(alone.joint().value[0])
    gap = abs(profit.profit.estimate - booked)
    if gap > 1e-6 * max(1.0, abs(booked)):
        raise DesignError(
            f"profit from components is {profit.profit.estimate:.6f} and from booked rows "
            f"{booked:.6f}; they must be the same number."
        )


__all__ = ["Answered", "answer"]
