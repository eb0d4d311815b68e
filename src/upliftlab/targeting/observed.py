"""What was seen of units, and what was left over once it was accounted for?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DataError, DesignError
from upliftlab.targeting.ranking import covariance

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observed:
    """What was seen of units; make it with :func:`observed`.

    Attributes:
        residual: Money of each unit less what was expected of it in its arm, [n].
        predicted: Money expected of each unit in each arm, [n, A].
        arm: 0 for control, [n].
        propensity: Probability of each arm for each unit given what was seen, [n, A].
        cluster: Units that belong together, [n]; None for units one by one.
    """

    residual: Floats
    predicted: Floats
    arm: Ints
    propensity: Floats
    cluster: Ints | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a rule's gain may be if unseen causes tilt assignment by so much.

    Attributes:
        gamma: Most that an unseen cause multiplies or divides the odds of an arm by.
        low: Least gain per unit.
        high: Most gain per unit.
        ci_low: ``low`` less its sampling error.
        ci_high: ``high`` plus its sampling error.
    """

    gamma: float
    low: float
    high: float
    ci_low: float
    ci_high: float


def observed(
    worth: ArrayLike,
    target: ArrayLike,
    arm: ArrayLike,
    propensity: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
) -> Observed:
    """Take scores apart again into what was expected and what was left over.

    A score of the unit's own arm is m + (y - m) / e, so that y - m = (score - y) e / (1 - e).

    Args:
        worth: Priced doubly robust scores, shape [n, A].
        target: Money of each unit in its own arm, constants included, shape [n].
        arm: 0 for control, shape [n].
        propensity: That scores were made with, shape [n, A].
        cluster: Units that belong together, shape [n].

    Raises:
        DataError: When shapes differ.
        DesignError: When a unit could only have had its own arm.

    Examples:
        >>> seen = observed([[1.0, 5.0]], [3.0], [1], [[0.5, 0.5]])
        >>> seen.residual.tolist(), seen.predicted.tolist()
        ([2.0], [[1.0, 1.0]])
    """
    scores = np.asarray(worth, dtype=np.float64)
    money, given = np.asarray(target, dtype=np.float64), np.asarray(arm)
    chances = np.asarray(propensity, dtype=np.float64)
    n = len(scores)
    if money.shape != (n,) or given.shape != (n,) or chances.shape != scores.shape:
        raise DataError(
            f"worth has shape {scores.shape}; target and arm need [n] and propensity [n, A], "
            f"and have {money.shape}, {given.shape} and {chances.shape}."
        )
    rows = np.arange(n)
    own = chances[rows, given]
    if not ((own > 0) & (own < 1)).all():
        raise DesignError(
            f"{int((~((own > 0) & (own < 1))).sum()):,} units have probability 0 or 1 of the "
            "arm they had; nothing is known of them in another. Leave them out."
        )
    residual = (scores[rows, given] - money) * own / (1 - own)
    predicted = scores.copy()
    predicted[rows, given] = money - residual
    return Observed(
        residual=residual,
        predicted=predicted,
        arm=given,
        propensity=chances,
        cluster=None if cluster is None else np.asarray(cluster),
    )


def rules_of(
    seen: Observed, policy: ArrayLike, against: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the arms under a rule and under the other, control for all unless said."""
    rule = np.asarray(policy, dtype=np.int64)
    other = np.zeros_like(rule) if against is None else np.asarray(against, dtype=np.int64)
    if rule.shape != seen.arm.shape or other.shape != seen.arm.shape:
        raise DataError(
            f"a rule has shapes {rule.shape} and {other.shape}; there are "
            f"{len(seen.arm):,} units."
        )
    return rule, other


def error_of(influence: Floats, seen: Observed) -> float:
    """Return the standard error of a mean from the influence of each unit on it."""
    found, _ = covariance(influence - influence.mean(), seen.cluster)
    return float(np.sqrt(found[0, 0]))
