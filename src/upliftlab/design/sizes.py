"""What does every metric need, and what would the planned number of units show?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from upliftlab.design.answer import Size
from upliftlab.design.looked import for_looks, power_of_plan
from upliftlab.errors import DesignError
from upliftlab.plan.metrics import PROFIT
from upliftlab.plan.quantities import Rate
from upliftlab.stats.power import TwoMeans, noninferiority, size_interval
from upliftlab.stats.shares import optimal_shares, size_of_each

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.design.spread import Pilot, Spread
    from upliftlab.experiment import Experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The plan's question in numbers.

    Attributes:
        experiment: The plan.
        pilot: How units vary.
        power: Wanted.
        shares: Arm -> share of all units.
        inflation: Factor on the sample for stopping early.
    """

    experiment: Experiment
    pilot: Pilot
    power: float
    shares: Mapping[str, float]
    inflation: float

    @classmethod
    def of(cls, experiment: Experiment, pilot: Pilot) -> Asked:
        """Read the plan.

        Raises:
            DesignError: When an arm has no share.
        """
        shares = {
            arm.label: float(arm.share) if arm.share is not None else 0.0
            for arm in experiment.arms
        }
        if experiment.period is not None:
            shares = dict.fromkeys(shares, 1 / len(shares))
        empty = [label for label, share in shares.items() if not share > 0]
        if empty:
            message = (
                f"arm {empty[0]!r} of experiment {experiment.name!r} has a share of 0; "
                "every arm needs units. Give it a share, or remove it."
            )
            raise DesignError(message)
        plan = power_of_plan(experiment)
        wanted = float(plan.power)
        return cls(
            experiment=experiment,
            pilot=pilot,
            power=wanted,
            shares=shares,
            inflation=for_looks(experiment),
        )

    @property
    def level(self) -> float:
        """Confidence of the analysis."""
        return float(self.experiment.decide.confidence)

    def comparison(self, found: Spread, arm: str) -> TwoMeans:
        """Return the comparison of an arm with control, after adjustment."""
        control = self.experiment.control.label
        root = math.sqrt(max(found.kept[arm], 1e-12))
        # Power is for an improvement: where less is better, that is the left tail.
        sign = -1.0 if found.direction == "down" else 1.0
        return TwoMeans(
            sd=found.sd[control] * root,
            sd_t=found.sd[arm] * root,
            ratio=self.shares[arm] / self.shares[control],
            alpha=self.alpha(found),
            inflation=found.inflation * self.inflation,
            skewness=sign * found.skew.get(control, 0.0),
            skewness_t=sign * found.skew.get(arm, 0.0),
        )

    def alpha(self, found: Spread) -> float:
        """Size of each test: profit is shipped on the range with all arms counted."""
        if found.metric != PROFIT:
            return 1 - self.level
        order = [self.experiment.control, *self.experiment.treatments]
        variances = [found.sd[a.label] ** 2 / self.shares[a.label] for a in order]
        return size_of_each(variances, level=self.level)

    def in_control(self, units: float) -> float:
        """Units of control among all."""
        return units * self.shares[self.experiment.control.label]

    def with_clusters(self, found: Spread) -> bool:
        """Whether units are assigned in clusters."""
        return found.inflation != 1.0

    def target(self, found: Spread) -> tuple[float, str]:
        """Return the effect to be seen, absolute, and where it comes from."""
        power, decide = power_of_plan(self.experiment), self.experiment.decide
        stated = power.effects.get(found.metric)
        if stated is not None:
            size = float(stated)
            return (size * abs(found.mean) if isinstance(stated, Rate) else size), "plan"
        if found.metric == PROFIT and decide.worth_it.minor > 0:
            return float(decide.worth_it.minor), "worth_it"
        return math.nan, ""


def sizes_of(asked: Asked, planned: float) -> tuple[Size, ...]:
    """Return what every metric of every arm needs and would show."""
    return tuple(
        _size(asked, found, arm.label, planned)
        for found in asked.pilot.spreads
        for arm in asked.experiment.treatments
    )


def best_shares(asked: Asked) -> tuple[dict[str, float], float]:
    """Return the shares that need least for profit, and the share that they save.

    Where the plan states what a unit of every arm costs, money is saved, else units.
    """
    found = asked.pilot.spreads[0]
    order = [asked.experiment.control, *asked.experiment.treatments]
    labels = [arm.label for arm in order]
    costs = power_of_plan(asked.experiment).unit_cost
    priced = all(label in costs and costs[label].minor > 0 for label in labels)
    price = [float(costs[label].minor) if priced else 1.0 for label in labels]
    sds = [found.sd[label] for label in labels]
    best = optimal_shares(sds, price)

    def needs(shares: list[float]) -> float:
        variance = sum(
            sds[0] ** 2 / shares[0] + sds[k] ** 2 / shares[k] for k in range(1, len(sds))
        )
        return variance * sum(s * p for s, p in zip(shares, price, strict=True))

    now = needs([asked.shares[label] for label in labels])
    return dict(zip(labels, best, strict=True)), 1 - needs(list(best)) / now


def _size(asked: Asked, found: Spread, arm: str, planned: float) -> Size:
    plan = asked.comparison(found, arm)
    margin = asked.experiment.guardrails.get(found.metric)
    share = asked.shares[asked.experiment.control.label]
    if margin is not None and found.metric != PROFIT:
        return _guardrail(asked, found, arm, planned)
    effect, source = asked.target(found)
    size = Size(
        metric=found.metric,
        role=found.role,
        arm=arm,
        is_money=found.is_money,
        base=found.mean,
        effect=effect,
        source=source,
        alpha=plan.alpha,
        n=math.nan,
        note="" if source else "no effect named: the smallest one the plan shows stands here",
    )
    if source:
        n = plan.size(effect, asked.power) / share
        low, high = _range(found, n, asked)
        size = replace(size, n=n, n_low=low, n_high=high)
    if math.isfinite(planned):
        in_control = planned * share
        size = replace(
            size,
            mde=plan.effect(in_control, asked.power),
            mde_loss=plan.mirrored().effect(in_control, asked.power),
            power=plan.power(effect, in_control) if source else math.nan,
            power_loss=plan.power(-effect, in_control) if source else math.nan,
        )
    return size


def _guardrail(asked: Asked, found: Spread, arm: str, planned: float) -> Size:
    """A guardrail must be shown to hold, one-sided, if nothing is harmed."""
    margin = asked.experiment.guardrails[found.metric]
    relative = isinstance(margin, Rate)
    plan, distance = noninferiority(
        replace(asked.comparison(found, arm), alpha=1 - asked.level),
        margin=float(margin),
        baseline=found.mean if relative else None,
    )
    share = asked.shares[asked.experiment.control.label]
    n = plan.size(distance, asked.power) / share if distance > 0 else math.inf
    low, high = _range(found, n, asked)
    size = Size(
        metric=found.metric,
        role="guardrail",
        arm=arm,
        is_money=found.is_money,
        base=found.mean,
        effect=distance,
        source="margin",
        alpha=plan.alpha,
        n=n,
        n_low=low,
        n_high=high,
        note="a share of control, whose mean counts as estimated" if relative else "",
    )
    if not math.isfinite(planned):
        return size
    in_control = planned * share
    return replace(
        size,
        power=plan.power(distance, in_control),
        mde=plan.effect(in_control, asked.power),
    )


def _range(found: Spread, n: float, asked: Asked) -> tuple[float, float]:
    """Range of a size, from how well the pilot knows the variance."""
    if found.is_stated or not math.isfinite(found.kurtosis) or not math.isfinite(n):
        return math.nan, math.nan
    return size_interval(n, kurtosis=found.kurtosis, pilot=asked.pilot.units, level=asked.level)
