"""How long must units be assigned, and when is the answer ready?"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from upliftlab.design.answer import Moment
from upliftlab.design.looked import power_of_plan
from upliftlab.design.worth import worth_of
from upliftlab.stats.accumulation import WEEK, Arrivals

if TYPE_CHECKING:
    from datetime import date

    from upliftlab.design.sizes import Asked


def arrivals_of(asked: Asked) -> tuple[Arrivals | None, str]:
    """Return who comes by in a week, and where that is known from; None where nobody says."""
    plan, experiment = power_of_plan(asked.experiment), asked.experiment
    pool = float(experiment.eligible_customers or math.inf)
    if plan.weekly:
        weekly, source = float(plan.weekly), "as the plan says"
    elif asked.pilot.units and math.isfinite(asked.pilot.days):
        weekly = asked.pilot.units / asked.pilot.days * WEEK
        source = f"as in the pilot {asked.pilot.name}"
    else:
        return None, ""
    pool = max(pool, weekly)
    return Arrivals(weekly=weekly, returning=float(plan.returning), pool=pool), source


def planned_units(asked: Asked, arrivals: Arrivals | None) -> float:
    """Return how many units the plan as it stands would assign; NaN where it does not say."""
    experiment = asked.experiment
    if experiment.run is not None and arrivals is not None:
        return arrivals.seen((experiment.run.end - experiment.run.start).days + 1)
    if experiment.looks is not None:
        return float(experiment.looks.planned)
    if experiment.eligible_customers:
        return float(experiment.eligible_customers)
    return math.nan


def over_time(asked: Asked, arrivals: Arrivals | None) -> tuple[Moment, ...]:
    """Return what a run of every whole number of weeks shows, up to the longest one."""
    if arrivals is None:
        return ()
    weeks = max(1, power_of_plan(asked.experiment).at_most // WEEK)
    return tuple(_moment(asked, arrivals, week * WEEK) for week in range(1, weeks + 1))


def whole_weeks(days: float) -> float:
    """Round days up to whole weeks, so that every weekday counts alike.

    Examples:
        >>> whole_weeks(15.2), whole_weeks(14.0)
        (21, 14)
    """
    return math.ceil(days / WEEK - 1e-9) * WEEK if math.isfinite(days) else math.inf


def waiting(asked: Asked) -> int:
    """Days from the last assignment to the answer: follow-up, then returns."""
    experiment = asked.experiment
    return (experiment.follow_up or 0) + (experiment.returns_final_after or 0)


def ready_on(asked: Asked, days: float) -> date | None:
    """Day on which the answer of a run of so many days is final; None without a start."""
    run = asked.experiment.run
    if run is None or not math.isfinite(days):
        return None
    return run.start + timedelta(days=int(days) - 1 + waiting(asked))


def _moment(asked: Asked, arrivals: Arrivals, days: int) -> Moment:
    units, found = arrivals.seen(days), asked.pilot.spreads[0]
    in_control = asked.in_control(units)
    effect, source = asked.target(found)
    mde, power = {}, {}
    for arm in asked.experiment.treatments:
        plan = asked.comparison(found, arm.label)
        mde[arm.label] = plan.effect(in_control, asked.power)
        power[arm.label] = plan.power(effect, in_control) if source else math.nan
    worth = worth_of(asked, units, pays_from=False)
    return Moment(
        days=days,
        units=units,
        mde=mde,
        power=power,
        ready=ready_on(asked, days),
        spent=worth.spent,
        net=worth.net,
    )
