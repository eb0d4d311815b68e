"""What may a gain be if unseen causes tilt the odds of treatment by a factor?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DesignError, UpliftlabError
from upliftlab.stats.estimate import critical_value
from upliftlab.targeting.observed import Bounds, error_of, rules_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from upliftlab.targeting.observed import Observed

    Floats = NDArray[np.float64]
    Ints = NDArray[np.integer[Any]]


def tilted(
    seen: Observed,
    policy: ArrayLike,
    gamma: float,
    *,
    against: ArrayLike | None = None,
    level: float = 0.95,
) -> Bounds:
    """Bound a rule's gain if unseen causes tilt the odds of arms by at most a factor.

    1 / e may be anything from 1 + (1 / e - 1) / gamma to 1 + (1 / e - 1) gamma; weighted means
    of residuals are the largest where large residuals have the large weights, from some
    residual on. Arms are bounded one by one. At the bounds their derivative in the weights'
    threshold is 0, so the sampling error is that of weighted means with these weights.

    Args:
        seen: Units.
        policy: Arm of each unit under the rule, shape [n].
        gamma: At least 1.
        against: Arm under the other rule, shape [n]; control for all unless said.
        level: Confidence level; each end has half of the rest.

    Returns:
        Bounds per unit of everybody.

    Raises:
        UpliftlabError: When gamma is below 1.
        DesignError: When nobody had the arm that a rule gives.

    References:
        Tan (2006), *JASA* 101(476), section 3; Zhao, Small and Bhattacharya (2019), *JRSS B*
        81(4) (weights in a box; with regressions, their augmented estimator).

    Examples:
        >>> from upliftlab.targeting.observed import observed
        >>> rng = np.random.default_rng(0)
        >>> arm = rng.integers(0, 2, 2_000)
        >>> money = 1.0 * arm + rng.normal(size=2_000)
        >>> scores = np.where(arm[:, None] == [0, 1], 2 * money[:, None], 0.0)
        >>> seen = observed(scores, money, arm, np.full((2_000, 2), 0.5))
        >>> found = tilted(seen, np.ones(2_000, dtype=int), 1.5)
        >>> f"{found.low:.1f} to {found.high:.1f}"
        '0.7 to 1.4'
    """
    if not gamma >= 1:
        raise UpliftlabError(f"gamma is {gamma:g}; write a factor of at least 1.")
    rule, other = rules_of(seen, policy, against)
    if not (rule != other).any():
        return Bounds(gamma=gamma, low=0.0, high=0.0, ci_low=0.0, ci_high=0.0)
    low, low_error = _extreme(seen, rule, other, gamma=gamma, sign=-1)
    high, high_error = _extreme(seen, rule, other, gamma=gamma, sign=1)
    z = critical_value(level=level)
    return Bounds(
        gamma=gamma,
        low=low,
        high=high,
        ci_low=low - z * low_error,
        ci_high=high + z * high_error,
    )


def weighted_extreme(value: Floats, low: Floats, high: Floats) -> tuple[float, Floats]:
    """Return the largest weighted mean with weights between two bounds, and the weights.

    Large values have their high weight and the others their low one, from some value on.

    Args:
        value: Shape [m].
        low: Least weights, above 0, shape [m].
        high: Largest weights, shape [m].

    References:
        Zhao, Small and Bhattacharya (2019), *JRSS B* 81(4) (weights of the extreme).

    Examples:
        >>> mean, weight = weighted_extreme(np.array([0.0, 1.0]), np.ones(2), np.full(2, 3.0))
        >>> mean, weight.tolist()
        (0.75, [1.0, 3.0])
    """
    order = np.argsort(-value, kind="stable")
    v, a, b = value[order], low[order], high[order]
    top = np.concatenate([[0.0], np.cumsum((b - a) * v)]) + (a * v).sum()
    mass = np.concatenate([[0.0], np.cumsum(b - a)]) + a.sum()
    cut = int(np.argmax(top / mass))
    weight = low.copy()
    weight[order[:cut]] = high[order[:cut]]
    return float(top[cut] / mass[cut]), weight


def _extreme(
    seen: Observed, rule: Ints, other: Ints, *, gamma: float, sign: int
) -> tuple[float, float]:
    """Return the most (sign 1) or least (-1) gain per unit, and its standard error."""
    rows, differs = np.arange(len(rule)), rule != other
    expected = seen.predicted[rows, rule] - seen.predicted[rows, other]
    influence = np.where(differs, expected, 0.0)
    among = int(differs.sum())
    for arms, side in ((rule, 1), (other, -1)):
        mine = np.flatnonzero(differs & (seen.arm == arms))
        if not len(mine):
            raise DesignError(
                "no unit that the rules treat differently had the arm that one of them gives; "
                "nothing is known of it."
            )
        odds = 1 / seen.propensity[mine, arms[mine]] - 1
        mean, weight = weighted_extreme(
            sign * side * seen.residual[mine], 1 + odds / gamma, 1 + odds * gamma
        )
        mean *= sign * side
        influence[differs] += side * mean
        push = weight * (seen.residual[mine] - mean) * among / weight.sum()
        influence[mine] += side * push
    return float(influence.mean()), error_of(influence, seen)
