"""How did each metric of the plan move: means, ratios and guardrails on arm means?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.stats.estimate import Estimate, undefined
from upliftlab.stats.noninferiority import relative_three_state, three_state

if TYPE_CHECKING:
    from upliftlab.estimators.effects import Effects
    from upliftlab.experiment import Metric
    from upliftlab.stats.joint import Joint


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
    if not np.isfinite(levels).all():
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


def guardrail(found: MetricEffect, effects: Effects, metric: Metric, margin: object) -> MetricEffect:
    """Judge a guardrail against its margin: non-inferior, inferior or inconclusive.

    A margin in points or money is absolute; a percentage is a share of control, whose mean
    counts as estimated.
    """
    direction = "increase" if metric.direction == "up" else "decrease"
    effect = found.effect
    if not effect.std_error > 0:
        state = "inconclusive"
    elif type(margin).__name__ == "Rate":
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
            margin=float(margin),  # type: ignore[arg-type]
            direction=direction,
            df=effect.df,
            level=effect.level,
            name=metric.name,
        )
    else:
        absolute = float(getattr(margin, "minor", margin))
        state, _ = three_state(effect, absolute, direction)
    return replace(found, role="guardrail", state=state, margin=str(margin))


def _linearised(effects: Effects, metric: Metric, arm: str) -> Joint:
    """Gradient functionals of (treatment - control, control)."""
    rows = []
    for a in (arm, effects.control):
        if metric.ratio is None:
            rows.append(effects.weights({a: {metric.components[0]: 1.0}}))
            continue
        num, den = metric.ratio
        i = effects.arms.index(a)
        bottom = float(effects.mean[i, effects.names.index(den)])
        level = _level(effects, metric, a)
        rows.append(effects.weights({a: {num: 1 / bottom, den: -level / bottom}}))
    return effects.linear(np.stack([rows[0] - rows[1], rows[1]]), ["effect", "control"])


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
    if share.shape != "interval" or base < 0:
        return replace(plain, rel_estimate=plain.estimate / abs(base))
    return replace(
        plain,
        rel_estimate=share.estimate,
        rel_ci_low=share.ci_low,
        rel_ci_high=share.ci_high,
    )


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
