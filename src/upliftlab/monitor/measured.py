"""What do the units read so far say: profit, guardrails, bounded metrics, in ranges?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upliftlab import pricing
from upliftlab.analysis import contact_of
from upliftlab.components import ALIASES, at
from upliftlab.economics import MERCHANT
from upliftlab.estimators import ab
from upliftlab.estimators.metrics import metric_effect, past_margin
from upliftlab.monitor.answer import HARM, KEEP, Reading
from upliftlab.monitor.rules import profit_reading
from upliftlab.profit import profit_contrasts
from upliftlab.stats import bounded_sequence
from upliftlab.stats.confidence_sequence import always_valid_p, multiplier, widened
from upliftlab.stats.looks import skewness_of_difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upliftlab.data.cells import Cells
    from upliftlab.economics import Economics
    from upliftlab.estimators.effects import Effects
    from upliftlab.experiment import Experiment
    from upliftlab.monitor.rules import Rules
    from upliftlab.monitor.state import State

EXACT = "range without approximation, from the bounds in the plan"
WATCHED = "always-valid range (asymptotic confidence sequence)"


def economics_of(
    experiment: Experiment, names: Sequence[str], state: State, covariates: Sequence[str]
) -> Economics:
    """Price the components; spend of a whole arm is spread over units, and taken as fixed.

    What the plan states for the whole run is spread over the planned units; what was booked so
    far, over the units assigned so far.
    """
    stated = experiment.costs.ad_spend if experiment.costs else {}
    planned = experiment.looks.planned if experiment.looks else 0
    shares = {arm.label: float(arm.share or 0) for arm in experiment.arms}
    assigned = state.assigned_by_arm
    spend = {
        arm: float(money.minor) / (planned * shares[arm])
        for arm, money in stated.items()
        if planned * shares.get(arm, 0)
    }
    spend |= {arm: x / assigned[arm] for arm, x in state.ad_spend.items() if assigned.get(arm)}
    return pricing.build(
        experiment.costs,
        components={name.partition("@")[0] for name in names} - set(covariates),
        contact=contact_of(experiment),
        ad_spend=spend,
    )


def prices_at(
    economics: Economics, arms: Sequence[str], names: Sequence[str], age: int | None
) -> dict[str, dict[str, float]]:
    """Price vectors by the names that the components have at this age."""
    have = set(names)
    out: dict[str, dict[str, float]] = {}
    for arm in arms:
        row = economics.price(MERCHANT, arm)
        out[arm] = {
            (at(name, age) if age is not None and at(name, age) in have else name): rate
            for name, rate in row.items()
        }
    return out


def effects_of(experiment: Experiment, rules: Rules, state: State) -> Effects | None:
    """Estimate the arm means of all units read so far, as the analysis would."""
    if state.cells is None:
        return None
    varying = _varying(state.cells, state.covariates)
    outcomes = [name for name in state.cells.names if name not in set(state.covariates)]
    names = [*outcomes, *varying]
    clusters = None if state.clusters is None else state.clusters.cells(names)
    found = ab.estimate(
        state.cells.select(names),
        arms=[arm.label for arm in experiment.arms],
        control=experiment.control.label,
        covariates=varying,
        strata=() if clusters is not None else experiment.strata,
        clusters=clusters,
    )
    return found.window(rules.age)


def readings_of(
    experiment: Experiment,
    rules: Rules,
    state: State,
    effects: Effects,
    *,
    fractions: Mapping[str, float],
    earlier: Mapping[str, Sequence[float]],
) -> tuple[Reading, ...]:
    """Read profit of every treatment, then guardrails, then bounded metrics."""
    assert state.cells is not None  # noqa: S101 - effects came from them
    economics = economics_of(experiment, state.cells.names, state, state.covariates)
    arms = [arm.label for arm in experiment.treatments]
    joint = profit_contrasts(effects, economics, arms)
    profits = [
        profit_reading(
            rules,
            joint.estimate(arm),
            skewness=_skewness(state, effects, arm),
            fraction=fractions[arm],
            earlier=earlier[arm],
            arm=arm,
        )
        for arm in arms
    ]
    rails = _guardrails(experiment, rules, effects, fractions)
    return (*profits, *rails, *_bounded(experiment, rules, state.cells))


def _skewness(state: State, effects: Effects, arm: str) -> float:
    """Skewness of the difference of mean profits; NaN where power sums are not known."""
    third, variance, sizes = [], 0.0, []
    for label in (arm, effects.control):
        sums, n = state.powers_of(label), effects.n[effects.arms.index(label)]
        if n < 2:
            return math.nan
        mean = sums.one / n
        third.append(sums.third_moment(n))
        variance += (sums.two / n - mean**2) / n
        sizes.append(n)
    if not variance > 0 or state.clusters is not None:
        return math.nan
    return float(skewness_of_difference((third[0], third[1]), (sizes[0], sizes[1]), variance))


def _guardrails(
    experiment: Experiment, rules: Rules, effects: Effects, fractions: Mapping[str, float]
) -> list[Reading]:
    """Guardrails raise an alarm as soon as they are worse than allowed beyond doubt."""
    out = []
    for name, margin in experiment.guardrails.items():
        metric = experiment.metric(name)
        for arm, fraction in fractions.items():
            found = metric_effect(effects, metric, arm, role="guardrail")
            if found is None:
                continue
            effect, past = found.effect, past_margin(found, effects, metric, margin)
            if not effect.std_error > 0 or not past.std_error > 0:
                out.append(Reading(name=name, arm=arm, estimate=effect.estimate))
                continue
            bound = float(
                multiplier(fraction, tuned_at=rules.tuned_at, alpha=rules.alpha_metric)
            )
            reach = float(widened(bound, effect.df))
            z = past.estimate / past.std_error
            out.append(
                Reading(
                    name=name,
                    arm=arm,
                    estimate=effect.estimate,
                    std_error=effect.std_error,
                    low=effect.estimate - reach * effect.std_error,
                    high=effect.estimate + reach * effect.std_error,
                    z=z,
                    bound=bound,
                    p=always_valid_p(
                        z, fraction, tuned_at=rules.tuned_at, alpha=rules.alpha_metric
                    ),
                    margin=float(margin),
                    state=HARM if z > float(widened(bound, past.df)) else KEEP,
                    method=WATCHED,
                )
            )
    return out


def _bounded(experiment: Experiment, rules: Rules, cells: Cells) -> list[Reading]:
    """Ranges for metrics whose bounds the plan declares, by assignment day."""
    looks = experiment.looks
    if looks is None or not looks.bounded:
        return []
    by_day = cells.collapse(["arm", "day"])
    out = []
    for name, (low, high) in looks.bounded.items():
        plain = ALIASES.get(name, name)
        named = [plain] if rules.age is None else [at(plain, rules.age), plain]
        found = next((column for column in named if column in by_day.names), None)
        if found is None:
            continue
        control = _batches(by_day, experiment.control.label, found, (low, high))
        for arm in (each.label for each in experiment.treatments):
            treated = _batches(by_day, arm, found, (low, high))
            planned = rules.planned[arm] + rules.planned[experiment.control.label]
            ends = bounded_sequence.difference(
                treated, control, tuned_at=planned * rules.tuned_at, alpha=rules.alpha_metric
            )
            gap = _mean(treated) - _mean(control)
            out.append(
                Reading(
                    name=name, arm=arm, estimate=gap, low=ends[0], high=ends[1], method=EXACT
                )
            )
    return out


def _batches(
    by_day: Cells, arm: str, column: str, ends: tuple[float, float]
) -> bounded_sequence.Batches:
    """One arm's days in order."""
    k = by_day.names.index(column)
    rows = [i for i, label in enumerate(by_day.labels) if label[0] == arm]
    return bounded_sequence.Batches.of(
        by_day.n[rows], by_day.mean[rows, k], by_day.m2[rows, k, k], low=ends[0], high=ends[1]
    )


def _mean(batches: bounded_sequence.Batches) -> float:
    return float((batches.n * batches.mean).sum() / batches.n.sum())


def _varying(cells: Cells, covariates: Sequence[str]) -> list[str]:
    """Covariates that vary over all units; others have no coefficient."""
    whole = cells.collapse([])
    spread = np.einsum("kk->k", whole.m2[0])
    return [
        name
        for name in covariates
        if name in cells.names and spread[cells.names.index(name)] > 1e-9 * max(1, whole.n[0])
    ]
