"""From a plan to what its test would show, take and cost."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.design.answer import (
    NO_EFFECT,
    NOT_WORTH_IT,
    RUN,
    TOO_LARGE,
    Design,
)
from upliftlab.design.duration import (
    arrivals_of,
    over_time,
    planned_units,
    whole_weeks,
)
from upliftlab.design.looked import power_of_plan
from upliftlab.design.others import others_of
from upliftlab.design.over_time import design_over_time
from upliftlab.design.risks import risks_of
from upliftlab.design.sizes import Asked, best_shares, sizes_of
from upliftlab.design.spread import measured, stated
from upliftlab.design.trials import run_users
from upliftlab.design.worth import worth_of
from upliftlab.errors import DataError, DesignError
from upliftlab.plan.metrics import PROFIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from upliftlab.design.answer import Size, Worth
    from upliftlab.experiment import Experiment
    from upliftlab.lock import Lock
    from upliftlab.stats.accumulation import Arrivals


def design(
    experiment: Experiment,
    tables: Mapping[str, object] | None = None,
    *,
    simulate: int = 0,
    lock: Lock | None = None,
    progress: Callable[[str], None] | None = None,
) -> Design:
    """Say how many units a plan needs, until when, at which cost, and whether it is worth it.

    How units vary is measured in the plan's pilot (``power.pilot``), else in its own data, else
    taken from ``power.stated``; with the window, costs and metrics of the plan.

    Args:
        experiment: The plan.
        tables: Tables of the pilot from Python by source name.
        simulate: How many times to run the test by its own estimator; 0 for not at all.
        lock: What was promised; what was changed since is listed among the notes.
        progress: Called with the name of each step.

    Raises:
        DesignError: When nobody says how profit varies, or it does not vary.
        DataError: When the pilot does not hold what its plan says.
    """
    found = _designed(experiment, tables or {}, simulate, progress or (lambda _: None))
    changed = () if lock is None else lock.changes(experiment)
    if not changed:
        return found
    keys = ", ".join(change.key for change in changed)
    note = f"Changed after the plan was locked: {keys}. This is the design of the changed plan."
    return replace(found, notes=(note, *found.notes))


def _designed(
    experiment: Experiment,
    tables: Mapping[str, object],
    simulate: int,
    tell: Callable[[str], None],
) -> Design:
    tell("measuring the pilot")
    plan, given = _data(experiment, tables, tell)
    if experiment.period is not None:
        if plan is None:
            raise DesignError(
                f"experiment {experiment.name!r} switches units over time and has neither a "
                "panel nor a pilot; add power.pilot: the plan of a time without treatment."
            )
        return design_over_time(experiment, plan, given, runs=simulate, progress=tell)
    pilot = (
        stated(experiment)
        if plan is None
        else measured(experiment, plan, given, keep=simulate > 0)
    )
    tell("planning")
    asked = Asked.of(experiment, pilot)
    arrivals, source = arrivals_of(asked)
    planned = planned_units(asked, arrivals)
    sizes = sizes_of(asked, planned)
    needed = _needed(sizes)
    days = _days(arrivals, needed)
    advised = _advised(asked, arrivals, planned=planned, needed=needed, days=days)
    worth = worth_of(asked, advised)
    verdict, reasons = _verdict(asked, arrivals, needed, days, worth)
    shares, saved = best_shares(asked)
    seen = {}
    if simulate and pilot.amounts:
        seen = run_users(asked, pilot.amounts, planned=advised, runs=simulate, progress=tell)
    return Design(
        experiment=experiment,
        pilot=pilot,
        verdict=verdict,
        reasons=reasons,
        wanted=asked.power,
        planned=planned,
        needed=needed,
        needed_days=days,
        advised=advised,
        sizes=sizes,
        over_time=over_time(asked, arrivals),
        worth=worth,
        inflation=asked.inflation,
        best_shares=shares,
        saved=saved,
        simulated=seen,
        others=others_of(asked, planned if math.isfinite(planned) else advised),
        risks=risks_of(asked, planned, needed),
        notes=_notes(asked, arrivals, source),
    )


def pilot_plan(experiment: Experiment) -> Experiment | None:
    """Return the plan whose data are the pilot; None where everything is stated.

    Raises:
        DataError: When the pilot's file is not there.
    """
    from upliftlab.experiment import Experiment as Plan

    power = power_of_plan(experiment)
    path = power.pilot_file
    if path is None:
        return experiment if experiment.data is not None else None
    if not path.is_file():
        raise DataError(
            f"experiment {experiment.name!r} reads its pilot from {power.pilot!r}; no such "
            "file is there."
        )
    return Plan.from_yaml(path)


def _data(
    experiment: Experiment, tables: Mapping[str, object], tell: Callable[[str], None]
) -> tuple[Experiment | None, dict[str, object]]:
    """The plan of the pilot's data with its tables; no plan where everything is stated."""
    plan = pilot_plan(experiment)
    if tables and plan is None:
        plan = experiment
    if plan is None:
        return None, {}
    given = dict(tables)
    if not given and plan.data is not None and plan.data.simulate is not None:
        from upliftlab.simulate.first_run import made

        files = made(plan, tell)
        given = {name: path for name, path in files.items() if name not in plan.data.sources}
    return plan, given


def _needed(sizes: Sequence[Size]) -> float:
    """Units that profit needs in its hungriest arm."""
    found = [size.n for size in sizes if size.metric == PROFIT]
    return math.nan if any(math.isnan(n) for n in found) else max(found)


def _days(arrivals: Arrivals | None, needed: float) -> float:
    if arrivals is None or math.isnan(needed):
        return math.nan
    return whole_weeks(arrivals.days_until(needed)) if math.isfinite(needed) else math.inf


def _advised(
    asked: Asked, arrivals: Arrivals | None, *, planned: float, needed: float, days: float
) -> float:
    """Units that one would assign: what profit needs, in whole weeks; else what is planned."""
    reach = float(asked.experiment.eligible_customers or math.inf)
    longest = power_of_plan(asked.experiment).at_most
    if not math.isfinite(needed) or needed > reach:
        return planned
    if arrivals is None:
        return needed
    return min(arrivals.seen(days), reach) if days <= longest else planned


def _verdict(
    asked: Asked, arrivals: Arrivals | None, needed: float, days: float, worth: Worth
) -> tuple[str, tuple[str, ...]]:
    """Decide whether the test is worth running at all; the first that applies."""
    reach = asked.experiment.eligible_customers
    longest = power_of_plan(asked.experiment).at_most
    if math.isnan(needed):
        return NO_EFFECT, (
            (
                "Nobody said which extra profit is worth seeing: name it in decide.worth_it or "
                "power.effects.profit."
            ),
        )
    if reach and needed > reach:
        return TOO_LARGE, (
            f"Profit needs {needed:,.0f} {asked.experiment.unit}s and there are {reach:,}.",
        )
    if arrivals is not None and days > longest:
        return TOO_LARGE, (
            (
                f"Profit needs {needed:,.0f} {asked.experiment.unit}s; in {longest} days "
                f"{arrivals.seen(longest):,.0f} come by."
            ),
        )
    if worth.net < 0:
        return NOT_WORTH_IT, ("The test costs more than its answer is expected to be worth.",)
    enough = "enough come by" if arrivals is not None else "the plan allows for them"
    return RUN, (f"Profit needs {needed:,.0f} {asked.experiment.unit}s and {enough}.",)


def _notes(asked: Asked, arrivals: Arrivals | None, source: str) -> tuple[str, ...]:
    notes = list(asked.pilot.notes)
    if arrivals is None:
        notes.append(
            "How many come by in a week is not known: name it in power.weekly, and the page "
            "says until when the test must run."
        )
    else:
        notes.append(f"{arrivals.weekly:,.0f} {asked.experiment.unit}s a week, {source}.")
    absent = [
        arm.label
        for arm in asked.experiment.treatments
        if asked.pilot.units and arm.label not in asked.pilot.campaign
    ]
    if absent:
        notes.append(
            f"The pilot did not have {', '.join(absent)}: they are taken to vary as control "
            "does, and what they would spend is not known."
        )
    return tuple(notes)
