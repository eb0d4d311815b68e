"""What are the looks of a plan bound to, and how far must a number go to stop the test?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.monitor.answer import FUTILE, GAIN, KEEP, LOSS, Reading
from upliftlab.monitor.refusals import no_looks
from upliftlab.stats.conditional_power import conditional_power
from upliftlab.stats.confidence_sequence import (
    always_valid_p,
    multiplier,
    normal_scale,
    widened,
)
from upliftlab.stats.group_sequential import bounds_by_spending, stagewise_p
from upliftlab.stats.looks import FirstLook, curved, straighten
from upliftlab.stats.spending import Spending

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upliftlab.experiment import Experiment
    from upliftlab.stats.estimate import Estimate

LEAST_STEP = 1e-6
"""Growth of information below which there is nothing new to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything about looking that is fixed before the first look.

    Attributes:
        method: "always_valid" or "group_sequential".
        spending: How error is spent; used by group-sequential designs.
        planned: Units per arm at the plan's end.
        tuned_at: Share of the planned information at which always-valid ranges are tightest.
        first: What the smaller arm needs.
        every: Days between looks.
        age: Days from assignment at which units are read; None without a window.
        settle: Further days until returns are final.
        detect: Extra profit per unit that the test is meant to find, in minor units; or None.
        futility: Conditional power below which going on is futile; None never says so.
        alpha: Error of each treatment's profit, all looks together.
        alpha_metric: The same of each guardrail and bounded metric.
    """

    method: str
    spending: Spending
    planned: Mapping[str, float]
    tuned_at: float
    first: FirstLook
    every: int
    age: int | None
    settle: int
    detect: float | None
    futility: float | None
    alpha: float
    alpha_metric: float

    @property
    def reach(self) -> int:
        """Days from assignment until a unit is read."""
        return (self.age or 0) + self.settle

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the lock of a plan keeps them."""
        return {
            "method": self.method,
            "spending": self.spending.to_dict() if self.method != "always_valid" else None,
            "planned": dict(self.planned),
            "tuned_at": self.tuned_at,
            "first_look": self.first.to_dict(),
            "every": self.every,
            "age": self.age,
            "settle": self.settle,
            "detect": self.detect,
            "futility": self.futility,
            "alpha": self.alpha,
        }


def rules_of(experiment: Experiment) -> Rules:
    """Take the rules from the plan.

    Several treatments share the error evenly (Bonferroni), so the chance that any of them
    stops the test without an effect stays within it.

    Raises:
        DesignError: When the plan does not say how it may be looked at.
    """
    looks = experiment.looks
    if looks is None:
        raise no_looks(experiment.name)
    shares = {arm.label: float(arm.share or 0) for arm in experiment.arms}
    error = 1 - float(experiment.decide.confidence)
    family: Any = looks.spending or "obrien_fleming"
    return Rules(
        method=looks.method,
        spending=Spending(family=family, parameter=looks.parameter),
        planned={arm: looks.planned * share for arm, share in shares.items()},
        tuned_at=(looks.tuned_at or looks.planned) / looks.planned,
        first=FirstLook(units=looks.first_units, active=looks.first_active),
        every=looks.every,
        age=looks.age or experiment.follow_up,
        settle=experiment.returns_final_after or 0,
        detect=None if looks.detect is None else float(looks.detect.minor),
        futility=None if looks.futility is None else float(looks.futility),
        alpha=error / len(experiment.treatments),
        alpha_metric=error,
    )


def fraction_of(rules: Rules, n: Mapping[str, int], arm: str, control: str) -> float:
    """Return the share of the planned information about one contrast."""
    if not n.get(arm) or not n.get(control):
        return 0.0
    return _information(n, arm, control) / _information(rules.planned, arm, control)


def bound_of(rules: Rules, fraction: float, earlier: Sequence[float]) -> float:
    """Return what |z| is compared with at this look; infinite where it may not stop.

    Args:
        rules: What was fixed.
        fraction: Share of the planned information now.
        earlier: The same at earlier permitted looks, increasing.
    """
    if not fraction > 0:
        return math.inf
    if rules.method == "always_valid":
        return float(multiplier(fraction, tuned_at=rules.tuned_at, alpha=rules.alpha))
    looks = [*(f for f in earlier if f < fraction - LEAST_STEP), fraction]
    return float(bounds_by_spending(rules.spending, looks, alpha=rules.alpha).upper[-1])


def profit_reading(
    rules: Rules, estimate: Estimate, *, skewness: float, fraction: float,
    earlier: Sequence[float], arm: str,
) -> Reading:  # fmt: skip
    """Read one arm's profit: range, bound and what follows from it."""
    bound = bound_of(rules, fraction, earlier)
    if not estimate.std_error > 0:
        return Reading(name="profit", arm=arm, estimate=estimate.estimate, method=estimate.note)
    se, df = estimate.std_error, estimate.df
    skew = skewness if math.isfinite(skewness) else 0.0
    z = normal_scale(float(straighten(estimate.estimate / se, skew)), df)
    ends = curved(widened(np.array([bound, -bound]), df), skew)
    drift = None if rules.detect is None else rules.detect / se / math.sqrt(fraction)
    power = math.nan
    if drift is not None:
        last = bound_of(rules, max(1.0, fraction), [*earlier, fraction])
        power = conditional_power(z, min(fraction, 1.0), bound=last, drift=drift)
    state = GAIN if z > bound else LOSS if z < -bound else KEEP
    if state == KEEP and rules.futility is not None and power < rules.futility:
        state = FUTILE
    return Reading(
        name="profit",
        arm=arm,
        estimate=estimate.estimate,
        std_error=se,
        low=estimate.estimate - float(ends[0]) * se,
        high=estimate.estimate - float(ends[1]) * se,
        z=z,
        bound=bound,
        p=_p(rules, z, fraction, earlier),
        skewness=skewness,
        conditional_power=power,
        state=state,
        method=method_of(rules),
    )


def method_of(rules: Rules) -> str:
    """Say in reader's words how ranges are made."""
    if rules.method == "always_valid":
        return "always-valid range (asymptotic confidence sequence), corrected for skewness"
    family = rules.spending.family.replace("_", " ")
    return f"group-sequential range ({family} spending), corrected for skewness"


def _p(rules: Rules, z: float, fraction: float, earlier: Sequence[float]) -> float:
    """p-value that may be read at this look, two-sided."""
    if rules.method == "always_valid":
        return always_valid_p(z, fraction, tuned_at=rules.tuned_at, alpha=rules.alpha)
    looks = [*(f for f in earlier if f < fraction - LEAST_STEP), fraction]
    bounds = bounds_by_spending(rules.spending, looks, alpha=rules.alpha)
    return min(1.0, 2 * stagewise_p(bounds, abs(z)))


def _information(n: Mapping[str, float], arm: str, control: str) -> float:
    return 1 / (1 / n[arm] + 1 / n[control])
