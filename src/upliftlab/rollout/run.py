"""From a roll-out's plan and panel to what it earned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab import pricing
from upliftlab.checks import FEWEST_CLUSTERS
from upliftlab.data.panel import NEVER
from upliftlab.data.prepared import Facts
from upliftlab.errors import DataError, DesignError
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
from upliftlab.plan.currencies import currency_of
from upliftlab.profit import assess
from upliftlab.rollout.answer import Opinion, Rollout, Stretch
from upliftlab.rollout.booked import book, measures_of, with_totals
from upliftlab.rollout.doubt import honesty_of, opinions_of, without_of
from upliftlab.rollout.means import observed_and_expected
from upliftlab.rollout.reasons import (
    both_gain,
    channels_of,
    commission_per_yuan,
    parts_of,
    rates_of,
)
from upliftlab.rollout.regions import region_opinions, weighted_regions
from upliftlab.rollout.switching import (
    book_switch,
    design_of,
    on_and_off,
    split_state,
    switch_checks,
    switch_opinions,
    switch_path,
)
from upliftlab.rollout.timing import (
    cells_of,
    paths_of,
    pay_back,
    stretches_of,
    waves_of,
)
from upliftlab.rollout.trust import rollout_checks
from upliftlab.stats.clusters import size_cv

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from upliftlab.checks import Check
    from upliftlab.data.panel import Panel
    from upliftlab.economics import Economics
    from upliftlab.estimators.effects import Effects
    from upliftlab.experiment import Experiment
    from upliftlab.panels.aggregates import Aggregate
    from upliftlab.profit import Profit
    from upliftlab.rollout.booked import Measure

DAYS = {"day": 1, "week": 7}
ALIKE = 0.05
"""Coefficient of variation up to which clusters are of one size."""

QUARTER = 91
"""Days that the total of a roll-out to everybody speaks of."""

TERMS = {"organic": "commission_organic", "ads": "commission_ads", "agency": "agency"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """What a roll-out's panel says under its plan.

    Attributes:
        panel: Components with totals.
        facts: Counts about the data.
        economics: Lines and prices.
        effects: Observed and expected means of the treated, per unit and period.
        profit: Their price.
        checks: Whether to trust it.
        rollout: The rest.
    """

    panel: Panel
    facts: Facts
    economics: Economics
    effects: Effects
    profit: Profit
    checks: tuple[Check, ...]
    rollout: Rollout


def answer(
    experiment: Experiment,
    panel: Panel,
    *,
    economics: Economics | None = None,
    progress: Callable[[str], None] | None = None,
) -> Answered:
    """Answer a plan whose units switched in waves.

    Raises:
        DesignError: When the panel allows no comparison.
        DefinitionError: When plan and data together cannot be priced.
    """
    tell = progress or (lambda _: None)
    if experiment.design == "switchback":
        return switched(experiment, panel, economics=economics, progress=tell)
    panel = with_totals(whole(panel))
    arm, control = experiment.treatments[0].label, experiment.control.label
    level = float(experiment.decide.confidence)
    economics = economics or economics_of(experiment, panel)
    tell("estimating")
    ahead = periods_of(experiment, experiment.announced)
    average = aggregate(group_time(panel, anticipation=ahead))
    if experiment.design == "geo":
        effects, _ = weighted_regions(
            panel, economics, arm=arm, control=control, anticipation=ahead
        )
    else:
        effects = observed_and_expected(average, arm=arm, control=control)
    tell("pricing")
    profit = assess(
        effects,
        economics,
        arm=arm,
        eligible=_eligible(experiment, panel),
        hurdle=float(experiment.decide.iroi_at_least),
        level=level,
    )
    measures = measures_of(economics, panel.names, arm=arm, control=control)
    booked = book(panel, measures)
    one = booked.component("profit")
    alone = aggregate(group_time(one, anticipation=ahead))
    if experiment.design != "geo":
        _refuse_two_answers(profit, alone)
    tell("doubting")
    opinions = _opinions(experiment, one, alone, profit)
    if experiment.design == "staggered":
        profit = by_reassignment(profit, opinions, panel)
    threshold = _hurdle(profit, float(experiment.decide.worth_it.minor))
    honesty, path = honesty_of(alone.effects, threshold=threshold, level=level)
    channels = channels_of(effects, arm, level)
    rollout = replace(
        _over_time(experiment, panel, booked, measures, alone),
        parts=parts_of(effects, economics, arm, level),
        rates=rates_of(effects, economics, profit, level),
        commission_per_yuan=commission_per_yuan(effects, economics, arm, level),
        both_gain=both_gain(profit),
        opinions=opinions,
        honesty=honesty,
        channels=channels,
    )
    if experiment.design == "geo":
        rollout = replace(rollout, stretches=_headline_first(rollout.stretches, profit))
    return Answered(
        panel=panel,
        facts=facts_of(panel, arm, control),
        economics=economics,
        effects=effects,
        profit=profit,
        checks=rollout_checks(
            experiment,
            panel=panel,
            booked=one,
            effects=alone.effects,
            path=path,
            honesty=honesty,
            channels=channels,
            money=float(currency_of(experiment.currency).scale),
        ),
        rollout=rollout,
    )


def switched(
    experiment: Experiment,
    panel: Panel,
    *,
    economics: Economics | None = None,
    progress: Callable[[str], None] | None = None,
) -> Answered:
    """Answer a plan that was switched on and off.

    Raises:
        DesignError: When the schedule does not pair periods on with periods off.
    """
    tell = progress or (lambda _: None)
    panel, is_on = split_state(whole(panel))
    panel = with_totals(panel)
    arm, control = experiment.treatments[0].label, experiment.control.label
    level = float(experiment.decide.confidence)
    economics = economics or economics_of(experiment, panel)
    tell("estimating")
    effects = on_and_off(
        design_of(panel, is_on, experiment.period or "day"), arm=arm, control=control
    )
    tell("pricing")
    profit = assess(
        effects,
        economics,
        arm=arm,
        eligible=_eligible(experiment, panel),
        hurdle=float(experiment.decide.iroi_at_least),
        level=level,
    )
    measures = measures_of(economics, panel.names, arm=arm, control=control)
    booked = design_of(book_switch(panel, is_on, measures), is_on, experiment.period or "day")
    checks = switch_checks(experiment, booked, is_on)
    unit_periods = float(is_on.sum())
    rollout = Rollout(
        design=experiment.design,
        unit=experiment.unit,
        period=experiment.period or "day",
        clusters=(len(panel.units), len(panel.units)),
        waves=(),
        stretches=(
            Stretch(
                name="since",
                label="while the plan was on",
                profit=profit.profit,
                total=profit.profit.scaled(unit_periods, name="since total"),
                unit_periods=unit_periods,
            ),
        ),
        paths=switch_path(booked, measures),
        channels=channels_of(effects, arm, level),
        parts=parts_of(effects, economics, arm, level),
        rates=rates_of(effects, economics, profit, level),
        commission_per_yuan=commission_per_yuan(effects, economics, arm, level),
        both_gain=both_gain(profit),
        opinions=switch_opinions(booked, level),
        notes=tuple(filter(None, (*panel.notes, booked.note))),
    )
    counts = {control: int((~is_on).sum()), arm: int(is_on.sum())}
    facts = Facts(
        assigned={name: {"": count} for name, count in counts.items()},
        totals={name: float(panel.y[:, :, k].sum()) for k, name in enumerate(panel.names)},
        notes=panel.notes,
    )
    return Answered(
        panel=panel,
        facts=facts,
        economics=economics,
        effects=effects,
        profit=profit,
        checks=checks,
        rollout=rollout,
    )


def _hurdle(profit: Profit, worth_it: float) -> float:
    """Where the verdict turns: at 0, or what is worth it where even the upper end is below."""
    too_small = not profit.profit.is_below_zero and profit.profit.ci_high < worth_it
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


def by_reassignment(profit: Profit, opinions: tuple[Opinion, ...], panel: Panel) -> Profit:
    """With few clusters the range by re-assignment is the headline's; the number stays.

    It counts clusters alike, so it replaces the range only where clusters are of one size.
    """
    again = next(each.effect for each in opinions if each.method == "randomisation")
    treated = panel.start < len(panel.periods)
    sides = [
        np.unique(panel.cluster[side], return_counts=True)[1] for side in (treated, ~treated)
    ]
    few = any(0 < len(sizes) < FEWEST_CLUSTERS for sizes in sides)
    alike = size_cv(np.concatenate(sides)) < ALIKE
    if not (few and alike and np.isfinite(again.ci_low) and np.isfinite(again.ci_high)):
        return profit
    note = "range and p-value by re-assignment of clusters to waves: there are few of them"
    own = replace(
        profit.profit,
        ci_low=again.ci_low,
        ci_high=again.ci_high,
        p_value=again.p_value,
        rel_ci_low=float("nan"),
        rel_ci_high=float("nan"),
        note=note,
    )
    return replace(
        profit,
        profit=own,
        profit_simultaneous=own,
        realised=own.scaled(profit.n, name="realised"),
        rollout=own.scaled(profit.rollout_n, name="rollout"),
    )


def _opinions(
    experiment: Experiment, one: Panel, alone: Aggregate, profit: Profit
) -> tuple[Opinion, ...]:
    """The headline first, then what other methods say."""
    level = float(experiment.decide.confidence)
    ahead = alone.effects.anticipation
    others = opinions_of(one, alone, anticipation=ahead, level=level)
    if experiment.design != "geo":
        return others
    headline = Opinion(
        method="synthetic_did",
        label="regions weighted to move as the treated did (headline)",
        effect=profit.profit,
    )
    plain = replace(others[0], label="regions that switched against those that had not yet")
    regions = region_opinions(one, anticipation=ahead, level=level)
    return (headline, *regions, plain, *others[1:])


def economics_of(experiment: Experiment, panel: Panel) -> Economics:
    """Price the components by the plan's costs and the rates of its arms."""
    terms = {
        line: {arm.label: float(getattr(arm, key)) for arm in experiment.arms}
        for key, line in TERMS.items()
        if all(getattr(arm, key) is not None for arm in experiment.arms)
    }
    contact = {
        arm.label: float(arm.contact.minor)
        for arm in experiment.arms
        if arm.contact is not None
    }
    return pricing.build(experiment.costs, components=panel.names, contact=contact, terms=terms)


def periods_of(experiment: Experiment, days: int | None) -> int:
    """Turn days of the plan into periods of the panel, rounded up."""
    return -(-(days or 0) // DAYS[experiment.period or "day"])


def facts_of(panel: Panel, arm: str, control: str) -> Facts:
    """Count what the page speaks of."""
    treated = panel.start < len(panel.periods)
    counts = {control: int((~treated).sum()), arm: int(treated.sum())}
    clusters = {
        control: len(np.unique(panel.cluster[~treated])),
        arm: len(np.unique(panel.cluster[treated])),
    }
    return Facts(
        assigned={name: {"": count} for name, count in counts.items()},
        clusters=clusters if len(np.unique(panel.cluster)) < len(panel.cluster) else {},
        totals={name: float(panel.y[:, :, k].sum()) for k, name in enumerate(panel.names)},
        notes=panel.notes,
    )


def whole(panel: Panel) -> Panel:
    """Keep the units that were observed in every period, and count the others."""
    gaps: NDArray[np.bool_] = np.isnan(panel.y).any(axis=(1, 2))  # type: ignore[assignment]
    if not gaps.any():
        return panel
    if gaps.all():
        raise DataError(
            "every unit of the panel has periods without rows; say that absent rows are zero, "
            "or shorten observe to the periods that units share."
        )
    note = (
        f"{int(gaps.sum()):,} of {len(gaps):,} units have periods without rows and are left "
        "out; the answer speaks of units observed throughout."
    )
    kept = panel.select(~gaps)
    return replace(kept, notes=(*kept.notes, note))


def _over_time(
    experiment: Experiment,
    panel: Panel,
    booked: Panel,
    measures: tuple[Measure, ...],
    alone: Aggregate,
) -> Rollout:
    """Waves, stretches, paths and influence: what only time can tell."""
    level = float(experiment.decide.confidence)
    treated = panel.start < len(panel.periods)
    ahead = alone.effects.anticipation
    return Rollout(
        design=experiment.design,
        unit=experiment.unit,
        period=experiment.period or "day",
        clusters=(
            len(np.unique(panel.cluster[treated])),
            len(np.unique(panel.cluster[~treated])),
        ),
        waves=waves_of(alone.effects, level),
        stretches=stretches_of(alone.effects, periods_of(experiment, experiment.ramp), level),
        paths=paths_of(group_time(booked, anticipation=ahead), measures, level),
        cells=cells_of(alone.effects, level),
        pay_back=pay_back(alone.effects, level),
        without=without_of(alone, cluster_labels(panel)),
        notes=tuple(dict.fromkeys((*alone.effects.notes, *filter(None, [alone.note])))),
    )


def cluster_labels(panel: Panel) -> tuple[str, ...]:
    """Name every cluster by its first unit where clusters have no names of their own."""
    first = np.unique(panel.cluster, return_index=True)[1]
    if panel.cluster_labels:
        return panel.cluster_labels
    return tuple(f"of {panel.units[i]}" for i in first)


def _eligible(experiment: Experiment, panel: Panel) -> int:
    """Unit-periods of one quarter, for everybody in the panel or the plan's number."""
    units = experiment.eligible_customers or len(panel.units)
    return units * max(1, QUARTER // DAYS[experiment.period or "day"])


def _refuse_two_answers(profit: Profit, alone: Aggregate) -> None:
    """Profit from component means and from booked profit are one number."""
    booked = float(alone.joint().value[0])
    gap = abs(profit.profit.estimate - booked)
    if gap > 1e-6 * max(1.0, abs(booked)):
        raise DesignError(
            f"profit from components is {profit.profit.estimate:.6f} and from booked rows "
            f"{booked:.6f}; they must be the same number."
        )


__all__ = ["NEVER", "Answered", "answer", "economics_of", "facts_of", "whole"]
