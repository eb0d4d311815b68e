"""What would another rule have earned, from units whose arms were drawn with logged chances?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.checks import FAIL, INFO, PASS, WARN, Check
from upliftlab.errors import DataError, DesignError, nearest
from upliftlab.stats.estimate import Estimate, interval
from upliftlab.targeting.ranking import covariance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.integer[Any]]

FEWEST_EFFECTIVE = 200
"""Effective units below which a normal interval is not to be relied on."""

Z_WRONG = 4.0
"""Standard errors by which the mean weight may miss 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Logged:
    """Units whose arm was drawn by chance, with the chance that was logged.

    Attributes:
        outcome: Money of each unit, shape [n].
        arm: Position of its arm, shape [n].
        propensity: Logged probability of the arm that it got, shape [n].
        arms: Names, control first.
        predicted: Expected money of each unit in each arm, from other units, shape [n, A];
            None takes each arm's mean.
        cluster: What was assigned as a whole, shape [n]; None for units one by one.
    """

    outcome: Floats
    arm: Ints
    propensity: Floats
    arms: tuple[str, ...]
    predicted: Floats | None = None
    cluster: Ints | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OffPolicy:
    """What a rule that nobody ran is worth per unit.

    Attributes:
        value: Money per unit under the rule, or the difference between two rules.
        effective: Units that the estimate rests on: (sum of weights)^2 / sum of squares.
        checks: Whether chances were logged right, and whether enough units agree with the rule.
    """

    value: Estimate
    effective: float
    checks: tuple[Check, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "value": self.value.to_dict(),
            "effective": self.effective,
            "checks": [check.to_dict() for check in self.checks],
        }


def logged(
    outcome: ArrayLike,
    arm: ArrayLike,
    propensity: ArrayLike,
    *,
    arms: Sequence[str],
    predicted: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
) -> Logged:
    """Gather an exploration cell, or any log of decisions by chance.

    Args:
        outcome: Money of each unit, shape [n].
        arm: Name or position of each unit's arm, shape [n].
        propensity: Probability with which it got that arm, as logged then, shape [n].
        arms: Names, control first.
        predicted: See ``Logged``.
        cluster: See ``Logged``.

    Raises:
        DataError: When a unit has no outcome, an unknown arm or a propensity that is none.
    """
    money, chance = np.asarray(outcome, dtype=np.float64), np.asarray(propensity, dtype=float)
    given = np.asarray(arm)
    if given.dtype.kind not in "iu":
        place = {name: a for a, name in enumerate(arms)}
        strange = sorted({str(each) for each in np.unique(given)} - set(arms))
        if strange:
            raise DataError(
                f"the log has arms {strange[:10]} that nobody named; arms: {list(arms)}."
                f"{nearest(strange[0], arms)}"
            )
        given = np.array([place[str(each)] for each in given], dtype=np.int64)
    for name, column in (("arm", given), ("propensity", chance)):
        if column.shape != money.shape:
            raise DataError(
                f"the log has {money.size:,} outcomes and {column.size:,} of {name}; give one "
                "for each unit."
            )
    lost = int((~np.isfinite(money)).sum())
    if lost:
        raise DataError(
            f"{lost:,} of {money.size:,} logged units have no outcome; count what is missing "
            "as 0 only where the unit was followed, and leave the others out."
        )
    wrong = ~((chance > 0) & (chance <= 1))
    if wrong.any():
        raise DataError(
            f"{int(wrong.sum()):,} of {money.size:,} logged propensities are outside 0 to 1, "
            f"such as {chance[wrong][0]:g}; log the probability with which the unit got its "
            "arm."
        )
    return Logged(
        outcome=money,
        arm=given.astype(np.intp),
        propensity=chance,
        arms=tuple(arms),
        predicted=None if predicted is None else np.asarray(predicted, dtype=np.float64),
        cluster=None if cluster is None else np.unique(cluster, return_inverse=True)[1],
    )


def off_policy_value(
    log: Logged, rule: ArrayLike, *, name: str = "the rule", level: float = 0.95
) -> OffPolicy:
    """Estimate what a rule earns per unit from a log that another rule wrote.

    Units that happen to have the arm the rule gives them stand for those that do not, weighed
    by one over their logged chance; what is expected of each arm takes out the noise of who
    happened to agree. The rule must not have been learned from these units.

    Args:
        log: Units drawn by chance.
        rule: What the rule gives: an arm's position for each unit, shape [n], or probabilities,
            shape [n, A].
        name: Of the rule.
        level: Confidence level.

    Returns:
        Money per unit, with its interval and checks.

    Raises:
        DesignError: When the rule gives an arm that was never drawn.

    References:
        Dudik, Erhan, Langford and Li (2014), *Statistical Science* 29(4), equation 5 (doubly
        robust off-policy value).

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> arm = rng.integers(0, 2, 4_000)
        >>> money = rng.normal(2.0 * arm, 1.0)
        >>> log = logged(money, arm, np.full(4_000, 0.5), arms=("none", "coupon"))
        >>> found = off_policy_value(log, np.ones(4_000, dtype=int))
        >>> f"{found.value.estimate:.1f}, {found.checks[0].verdict}"
        '2.0, pass'
    """
    target = _probabilities(log, rule, name)
    weight = target[np.arange(len(target)), log.arm] / log.propensity
    score = _score(log, target, weight)
    return OffPolicy(
        value=_mean(score, log, f"money per unit under {name}", level),
        effective=_effective(weight),
        checks=_checks(log, weight, name),
    )


def policy_difference(
    log: Logged,
    rule: ArrayLike,
    other: ArrayLike,
    *,
    names: tuple[str, str] = ("the rule", "the other rule"),
    level: float = 0.95,
) -> OffPolicy:
    """Estimate what one rule earns more than another, from the same log.

    Units to which both give the same arm cancel, so the difference is surer than two values.

    Args:
        log: Units drawn by chance.
        rule: As in ``off_policy_value``.
        other: The rule that it is compared with.
        names: Of both.
        level: Confidence level.

    Raises:
        DesignError: When a rule gives an arm that was never drawn.

    Examples:
        >>> log = logged([0.0, 2.0, 1.0, 3.0], [0, 1, 0, 1], [0.5] * 4, arms=("none", "coupon"))
        >>> same = policy_difference(log, [1, 1, 1, 1], [1, 1, 1, 1])
        >>> same.value.estimate
        0.0
    """
    first, second = (
        _probabilities(log, each, name) for each, name in zip((rule, other), names, strict=True)
    )
    rows = np.arange(len(first))
    weight = (first - second)[rows, log.arm] / log.propensity
    score = _score(log, first - second, weight)
    differs = np.flatnonzero(np.abs(first - second).sum(axis=1) > 0)
    checks = [
        check
        for each, name in zip((first, second), names, strict=True)
        for check in _checks(log, each[rows, log.arm] / log.propensity, name)
    ]
    told = Check(
        name="rules_differ",
        verdict=INFO,
        message=(
            f"{names[0]} and {names[1]} differ for {len(differs):,} of {len(rows):,} units; "
            "the others say nothing about which is better."
        ),
        value=len(differs) / max(len(rows), 1),
    )
    label = f"extra money per unit of {names[0]} over {names[1]}"
    return OffPolicy(
        value=_mean(score, log, label, level),
        effective=_effective(weight),
        checks=(*checks, told),
    )


def _probabilities(log: Logged, rule: ArrayLike, name: str) -> Floats:
    given = np.asarray(rule)
    shape = (len(log.outcome), len(log.arms))
    if given.shape == shape:
        target = given.astype(np.float64)
        if (target < 0).any() or np.abs(target.sum(axis=1) - 1).max(initial=0.0) > 1e-6:
            raise DesignError(
                f"{name} gives probabilities that do not add up to 1 for every unit."
            )
    elif given.shape == shape[:1] and given.dtype.kind in "iu":
        if len(given) and (given.min() < 0 or given.max() >= shape[1]):
            raise DesignError(
                f"{name} gives arm {int(given.max())}; arms are 0 to {shape[1] - 1}: "
                f"{list(log.arms)}."
            )
        target = np.zeros(shape)
        target[np.arange(shape[0]), given] = 1.0
    else:
        raise DesignError(
            f"{name} has shape {given.shape}; give an arm's position for each of {shape[0]:,} "
            f"units, or probabilities of shape {shape}."
        )
    drawn = np.bincount(log.arm, minlength=shape[1]) > 0
    never = np.flatnonzero((target.sum(axis=0) > 0) & ~drawn)
    if len(never):
        raise DesignError(
            f"{name} gives {log.arms[int(never[0])]!r}, which nobody in the log had; nothing "
            f"is known of it. Drawn: {[log.arms[a] for a in np.flatnonzero(drawn)]}."
        )
    return target


def _score(log: Logged, target: Floats, weight: Floats) -> Floats:
    """Return each unit's doubly robust score under (differences of) probabilities."""
    rows = np.arange(len(target))
    predicted = log.predicted
    if predicted is None:
        means = _arm_means(log)
        predicted = np.broadcast_to(means, target.shape)
    if predicted.shape != target.shape:
        raise DataError(
            f"predicted has shape {predicted.shape}; the log needs {target.shape}: one number "
            "for each unit and arm."
        )
    found: Floats = (target * predicted).sum(axis=1) + weight * (
        log.outcome - predicted[rows, log.arm]
    )
    return found


def _arm_means(log: Logged) -> Floats:
    count = len(log.arms)
    inverse = 1 / log.propensity
    mass = np.bincount(log.arm, weights=inverse, minlength=count)
    total = np.bincount(log.arm, weights=inverse * log.outcome, minlength=count)
    found: Floats = np.divide(total, mass, out=np.zeros(count), where=mass > 0)
    return found


def _mean(score: Floats, log: Logged, name: str, level: float) -> Estimate:
    mean = float(score.mean())
    cov, df = covariance(score - mean, log.cluster)
    return interval(name, mean, float(cov[0, 0]), df=df, level=level)


def _effective(weight: Floats) -> float:
    squares = float((weight**2).sum())
    return float(np.abs(weight).sum() ** 2 / squares) if squares > 0 else 0.0


def _checks(log: Logged, weight: Floats, name: str) -> tuple[Check, ...]:
    mean = float(weight.mean())
    cov, _ = covariance(weight - mean, log.cluster)
    error = float(np.sqrt(cov[0, 0]))
    off = abs(mean - 1) / error if error > 0 else (0.0 if abs(mean - 1) < 1e-9 else np.inf)
    effective = _effective(weight)
    heavy = float(weight.max(initial=0.0) / max(weight.sum(), 1e-300))
    return (
        Check(
            name="logged_propensities",
            verdict=FAIL if off > Z_WRONG else PASS,
            message=(
                f"Weights of {name} average {mean:.3f}; with the chances as logged they "
                f"average 1 up to ± {Z_WRONG * error:.3f}."
            ),
            value=mean,
            threshold=1.0,
        ),
        Check(
            name="agreeing_units",
            verdict=WARN if effective < FEWEST_EFFECTIVE else PASS,
            message=(
                f"What {name} would earn rests on {effective:,.0f} effective units of "
                f"{len(weight):,}; the heaviest single one counts for {heavy:.1%}."
            ),
            value=effective,
            threshold=float(FEWEST_EFFECTIVE),
        ),
    )
