"""How often may the test be stopped early, and how much larger does that make it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.stats.confidence_sequence import multiplier
from upliftlab.stats.group_sequential import Boundary, bounds_by_spending, inflation, looks
from upliftlab.stats.spending import Spending

if TYPE_CHECKING:
    from upliftlab.experiment import Experiment
    from upliftlab.plan.looks import Looks
    from upliftlab.plan.power import Power
    from upliftlab.stats.spending import Family

MOST = 50
"""Looks that are counted one by one; more look no more often than that."""


def power_of_plan(experiment: Experiment) -> Power:
    """Return the plan's power block, or its defaults."""
    from upliftlab.plan.power import Power

    return experiment.power or Power()


def looks_of(experiment: Experiment) -> int:
    """Return how many looks are planned, the end included.

    ``looks`` of the plan says every how many days; the run says for how long, and where there
    is none the longest one that anybody would wait for. Without ``looks``, ``power.looks`` asks
    what so many would cost.
    """
    rules, power = experiment.looks, power_of_plan(experiment)
    if rules is None:
        return power.looks
    run = experiment.run
    days = power.at_most if run is None else (run.end - run.start).days + 1
    return min(MOST, max(1, days // rules.every))


def for_looks(experiment: Experiment) -> float:
    """Return the factor on the sample for stopping early, at equal shares of information.

    References:
        Jennison and Turnbull (2000), *Group Sequential Methods*, section 2.3; for always-valid
        ranges Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), *Annals of Statistics*
        52(6), equation 6, as bounds of so many looks.

    Examples:
        >>> from upliftlab.experiment import Experiment
        >>> plan = Experiment(
        ...     name="spring", kind="custom", run={"start": "2026-10-08", "end": "2026-11-04"},
        ...     arms={"none": {"share": "50%", "control": True}, "coupon": {"share": "50%"}},
        ...     looks={"planned": 40000})
        >>> looks_of(plan), round(for_looks(plan), 2)
        (4, 1.84)
    """
    number, rules = looks_of(experiment), experiment.looks
    if number == 1 and (rules is None or rules.method != "always_valid"):
        return 1.0
    error = 1 - float(experiment.decide.confidence)
    alpha = error if rules is None else error / len(experiment.treatments)
    power = power_of_plan(experiment)
    bounds = _bounds(rules, power, number, alpha)
    return inflation(bounds, power=float(power.power), alpha=alpha)


def _bounds(rules: Looks | None, power: Power, number: int, alpha: float) -> Boundary:
    """What |z| is compared with at each look."""
    at = np.asarray(looks(number))
    if rules is not None and rules.method == "always_valid":
        tuned_at = (rules.tuned_at or rules.planned) / rules.planned
        upper = multiplier(at, tuned_at=tuned_at, alpha=alpha)
        return Boundary(information=at, upper=upper, lower=-upper)
    family: Family = power.spending if rules is None else (rules.spending or "obrien_fleming")  # type: ignore[assignment]
    parameter = None if rules is None else rules.parameter
    return bounds_by_spending(Spending(family=family, parameter=parameter), at, alpha=alpha)
