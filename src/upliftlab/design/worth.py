"""What does the test cost, what is knowing worth, and from which doubt on does it pay?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize

from upliftlab.design.answer import Worth
from upliftlab.design.looked import power_of_plan
from upliftlab.stats.information import Prior, value_of_sample, value_of_samples

if TYPE_CHECKING:
    from upliftlab.design.sizes import Asked

ASSUMED_SHARE = 0.04
"""Standard deviation of the effect, as a share of control's profit, where nobody states one."""

WORST = 0.05


def worth_of(asked: Asked, units: float, *, pays_from: bool = True) -> Worth:
    """Return cost and value of a test of so many units.

    Args:
        asked: The plan's question in numbers.
        units: Assigned, all arms.
        pays_from: Whether to look for the belief at which the test begins to pay.
    """
    belief, assumed = belief_of(asked)
    reach = float(asked.experiment.eligible_customers or 0)
    spent = _spent(asked, units)
    fixed = _fixed(asked, units)
    treated = units * sum(asked.shares[a.label] for a in asked.experiment.treatments)
    found = Worth(
        spent=spent,
        fixed=fixed,
        at_risk=treated * max(0.0, -belief.below(WORST)),
        information=math.nan,
        expected_loss=-treated * belief.mean,
        net=math.nan,
        perfect=math.nan,
        belief=(belief.mean, belief.sd),
        is_assumed=assumed,
        pays_from=math.nan,
        reach=reach,
    )
    if not math.isfinite(units):
        return replace(found, note="the plan does not say how many units the test would have")
    if not reach:
        note = (
            "eligible_customers is not in the plan: what a roll-out reaches decides the value"
        )
        return replace(found, note=note)
    information = reach * _gain(asked, belief, units)
    perfect = reach * _gain(asked, belief, math.inf)
    found = replace(
        found,
        information=information,
        perfect=perfect,
        net=information - found.expected_loss - fixed,
    )
    return replace(found, pays_from=_pays_from(asked, units, found)) if pays_from else found


def belief_of(asked: Asked) -> tuple[Prior, bool]:
    """Return the belief about extra profit, and whether it was assumed."""
    stated = power_of_plan(asked.experiment).belief
    if stated is not None:
        return Prior(mean=float(stated.mean.minor), sd=float(stated.sd.minor)), False
    found = asked.pilot.spreads[0]
    size = abs(found.mean) or found.sd[asked.experiment.control.label] / 10
    return Prior(sd=ASSUMED_SHARE * size), True


def covariance(asked: Asked, units: float) -> np.ndarray:
    """Return the covariance of all arms' extra profit from so many units, [k, k]."""
    found, control = asked.pilot.spreads[0], asked.experiment.control.label
    arms = [arm.label for arm in asked.experiment.treatments]
    each = {
        label: found.sd[label] ** 2 * found.inflation / (units * asked.shares[label])
        for label in (control, *arms)
    }
    kept = np.array([found.kept[arm] for arm in arms])
    cov = np.full((len(arms), len(arms)), each[control]) + np.diag([each[a] for a in arms])
    return np.asarray(cov * np.sqrt(np.outer(kept, kept)))


def _gain(asked: Asked, belief: Prior, units: float) -> float:
    """Expected gain per unit reached."""
    hurdle = float(asked.experiment.decide.worth_it.minor)
    arms = len(asked.experiment.treatments)
    if units <= 0:
        return 0.0
    cov = np.zeros((arms, arms)) if math.isinf(units) else covariance(asked, units)
    if arms == 1:
        return value_of_sample(belief, math.sqrt(float(cov[0, 0])), hurdle=hurdle)
    return value_of_samples(belief, cov, hurdle=hurdle, draws=2**12)


def _spent(asked: Asked, units: float) -> float:
    """Campaign money of the treated; NaN where the pilot did not have an arm."""
    arms = [arm.label for arm in asked.experiment.treatments]
    if not all(arm in asked.pilot.campaign for arm in arms):
        return math.nan
    return sum(units * asked.shares[arm] * asked.pilot.campaign[arm] for arm in arms)


def _fixed(asked: Asked, units: float) -> float:
    plan = power_of_plan(asked.experiment)
    fixed = float(plan.fixed_cost.minor) if plan.fixed_cost is not None else 0.0
    per_unit = sum(
        asked.shares[arm] * float(cost.minor) for arm, cost in plan.unit_cost.items()
    )
    return fixed + (units * per_unit if per_unit else 0.0)


def _pays_from(asked: Asked, units: float, found: Worth) -> float:
    """Least doubt at which information pays for what the test costs; 0 where it is free."""
    cost = found.expected_loss + found.fixed
    if cost <= 0:
        return 0.0

    def net(log_sd: float) -> float:
        belief = Prior(mean=found.belief[0], sd=math.exp(log_sd))
        return found.reach * _gain(asked, belief, units) - cost

    sd = asked.pilot.spreads[0].sd[asked.experiment.control.label]
    low, high = math.log(sd * 1e-6), math.log(sd)
    if net(low) > 0:
        return 0.0
    if net(high) < 0:
        return math.nan
    return math.exp(float(optimize.brentq(net, low, high, xtol=1e-3)))
