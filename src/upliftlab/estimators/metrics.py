"""How did each metric of the plan move: means, ratios and guardrails on arm means?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.plan.quantities import Rate
from upliftlab.stats.estimate import Estimate, interval, undefined
from upliftlab.stats.means import TOO_FEW
from upliftlab.stats.noninferiority import (
    Direction,
    State,
    relative_three_state,
    three_state,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.estimators.effects import Effects
    from upliftlab.experiment import Metric
    from upliftlab.plan.quantities import Margin
    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEffect:
    """How one metric moved in one arm.

    Attributes:
        metric: Its name.
        arm: The treatment.
        role: "primary", "secondary" or "guardrail".
        direction: Which way is better: "up" or "down".
        treatment: Level in the treatment arm.
        control: Level in control.
        effect: The difference, with ``rel_`` fields as a share of control.
        state: For guardrails "non-inferior", "inferior" or "inconclusive"; else empty.
        margin: How far a guardrail may move the wrong way, as written in the plan.
        p_adjusted: p-value corrected over the secondary metrics; NaN for others.
        is_planned: Whether the plan named it; others are exploratory.
    """

    metric: str
    arm: str
    role: str
    direction: str
    treatment: float
    control: float
    effect: Estimate
    state: str = ""
    margin: str = ""
    p_adjusted: float = float("nan")
    is_planned: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "metric": self.metric,
            "arm": self.arm,
            "role": self.role,
            "direction": self.direction,
            "treatment": _plain(self.treatment),
            "control": _plain(self.control),
            "effect": self.effect.to_dict(),
            "state": self.state,
            "margin": self.margin,
            "p_adjusted": _plain(self.p_adjusted),
            "is_planned": self.is_planned,
        }


def metric_effect(
    effects: Effects, metric: Metric, arm: str, *, role: str = "", level: float = 0.95
) -> MetricEffect | None:
    """Compare one metric between an arm and control.

    A ratio is the ratio of sums over the arm; its difference is linearised (delta method), so
    the number of orders per unit may vary with the treatment.

    Returns:
        The effect; None when the data do not hold the metric's components.

    References:
        Deng, Knoblich and Lu (2018), *KDD '18*, for ratios of means.
    """
    if not set(metric.components) <= set(effects.names):
        return None
    levels = [_level(effects, metric, a) for a in (arm, effects.control)]
    if min(effects.n[effects.arms.index(a)] for a in (arm, effects.control)) < 2:
        effect = undefined(metric.name, TOO_FEW, level=level)
    elif not np.isfinite(levels).all():
        effect = undefined(metric.name, "the denominator is 0 in an arm", level=level)
    else:
        pair = _linearised(effects, metric, arm)
        # The functionals measure deviations; the levels themselves are the ratios.
        joint = replace(pair, value=np.array([levels[0] - levels[1], levels[1]]))
        effect = _with_rel(joint, metric.name, level)
    return MetricEffect(
        metric=metric.name,
        arm=arm,
        role=role or metric.role,
        direction=metric.direction,
        treatment=levels[0],
        control=levels[1],
        effect=effect,
    )


def guardrail(
    found: MetricEffect, effects: Effects, metric: Metric, margin: Margin | float
) -> MetricEffect:
    """Judge a guardrail against its margin: non-inferior, inferior or inconclusive.

    A margin in points or money is absolute; a percentage is a share of control, whose mean
    counts as estimated.
    """
    direction: Direction = "increase" if metric.direction == "up" else "decrease"
    effect = found.effect
    state: State = "inconclusive"
    if isinstance(margin, Rate) and effect.std_error > 0:
        pair = _linearised(effects, metric, found.arm)
        var_c = float(pair.cov[1, 1])
        cov_tc = float(pair.cov[0, 1]) + var_c
        var_t = float(pair.cov[0, 0]) - var_c + 2 * cov_tc
        state, _ = relative_three_state(
            found.treatment,
            found.control,
            var_t,
            var_c,
            cov_tc,
            margin=float(margin),
            direction=direction,
            df=effect.df,
            level=effect.level,
            name=metric.name,
        )
    elif found.treatment == found.control:
        state = "non-inferior"
    elif effect.std_error > 0:
        state, _ = three_state(effect, float(margin), direction)
    return replace(found, role="guardrail", state=state, margin=str(margin))


def past_margin(
    found: MetricEffect, effects: Effects, metric: Metric, margin: Margin | float
) -> Estimate:
    """Return how far a guardrail lies beyond its margin; above 0 it is worse than allowed.

    A percentage is a share of control, whose mean counts as estimated.
    """
    sign = -1.0 if metric.direction == "up" else 1.0
    effect = found.effect
    if not effect.std_error > 0:
        return undefined(metric.name, effect.note or "not estimable", level=effect.level)
    if not isinstance(margin, Rate):
        return replace(
            effect, estimate=sign * effect.estimate - float(margin), ci_low=math.nan,
            ci_high=math.nan, p_value=math.nan, shape="none",
        )  # fmt: skip
    pair = _linearised(effects, metric, found.arm)
    weights = np.array([sign, -float(margin)])
    return interval(
        metric.name,
        float(weights @ np.array([found.treatment - found.control, found.control])),
        float(weights @ pair.cov @ weights),
        df=float(pair.df[0]),
        level=effect.level,
    )


def contrasts(effects: Effects, metric: Metric, arms: Sequence[str]) -> Joint:
    """Return one metric's differences from control in several arms, with their covariance.

    The values of a ratio's linearised differences are 0; its effects are in ``metric_effect``.
    """
    control = _gradient(effects, metric, effects.control)
    rows = [_gradient(effects, metric, arm) - control for arm in arms]
    return effects.linear(np.stack(rows), arms)


def _linearised(effects: Effects, metric: Metric, arm: str) -> Joint:
    """Gradient functionals of (treatment - control, control)."""
    control = _gradient(effects, metric, effects.control)
    rows = [_gradient(effects, metric, arm) - control, control]
    return effects.linear(np.stack(rows), ["effect", "control"])


def _gradient(effects: Effects, metric: Metric, arm: str) -> Floats:
    """How the metric's level in one arm moves with the means of all arms, [A, K]."""
    if metric.ratio is None:
        return effects.weights({arm: {metric.components[0]: 1.0}})
    num, den = metric.ratio
    bottom = float(effects.mean[effects.arms.index(arm), effects.names.index(den)])
    if bottom == 0:
        return np.full(effects.mean.shape, np.nan)
    return effects.weights({arm: {num: 1 / bottom}}) - effects.weights(
        {arm: {den: _level(effects, metric, arm) / bottom}}
    )


def _level(effects: Effects, metric: Metric, arm: str) -> float:
    i = effects.arms.index(arm)
    top = float(effects.mean[i, effects.names.index(metric.components[0])])
    if metric.ratio is None:
        return top
    bottom = float(effects.mean[i, effects.names.index(metric.ratio[1])])
    return top / bottom if bottom != 0 else float("nan")


def _with_rel(joint: Joint, name: str, level: float) -> Estimate:
    plain = replace(joint.estimate("effect", level=level), name=name)
    base, se = float(joint.value[1]), float(np.sqrt(joint.cov[1, 1]))
    if not abs(base) > 3 * se:
        return plain
    share = joint.ratio("effect", "control", name=name, level=level)
    if share.shape != "interval":
        return replace(plain, rel_estimate=plain.estimate / abs(base))
    # A share of the size of control: "better" stays positive where control loses money.
    share = share.scaled(math.copysign(1.0, base))
    return replace(
        plain,
        rel_estimate=share.estimate,
        rel_ci_low=share.ci_low,
        rel_ci_high=share.ci_high,
    )


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
