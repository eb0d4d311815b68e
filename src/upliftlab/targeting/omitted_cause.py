"""How much of the rest must a cause left out explain to overturn a gain?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import critical_value
from upliftlab.targeting.observed import Bounds, error_of, rules_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from upliftlab.targeting.observed import Observed

    Floats = NDArray[np.float64]

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Omitted:
    """Gain and linearised scale of the bias of each unit; their means are the numbers."""

    gain: Floats
    scale: Floats


def omitted(seen: Observed, policy: ArrayLike, against: ArrayLike | None) -> Omitted:
    """Return by unit the gain of a rule over another, and the scale of what may bias it."""
    rule, other = rules_of(seen, policy, against)
    rows, differs = np.arange(len(rule)), rule != other
    to_rule = (seen.arm == rule) / seen.propensity[rows, rule]
    to_other = (seen.arm == other) / seen.propensity[rows, other]
    alpha = np.where(differs, to_rule - to_other, 0.0)
    expected = seen.predicted[rows, rule] - seen.predicted[rows, other]
    gain = np.where(differs, expected, 0.0) + alpha * seen.residual
    both = 1 / seen.propensity[rows, rule] + 1 / seen.propensity[rows, other]
    # 2 m(alpha) - alpha^2 has the mean of alpha^2 and no first-order error of e.
    spread = 2 * np.where(differs, both, 0.0) - alpha**2
    rest = np.where(differs, seen.residual**2, 0.0)
    nu2, sigma2 = float(spread.mean()), float(rest.mean())
    scale = math.sqrt(max(nu2, 0.0) * sigma2)
    if not scale > 0:
        return Omitted(gain=gain, scale=np.zeros(len(rule)))
    moved = (sigma2 * (spread - nu2) + nu2 * (rest - sigma2)) / (2 * scale)
    return Omitted(gain=gain, scale=scale + moved)


def robustness_value(
    t: float, df: float, *, q: float = 1.0, level: float | None = None
) -> float:
    """Return how much a cause left out of a regression must explain to overturn it.

    Args:
        t: Of the coefficient.
        df: Of its residuals.
        q: Share of the coefficient to take away.
        level: Confidence level at which it must become indistinguishable from what is left;
            None for the number itself.

    Returns:
        Partial R2 with outcome and treatment alike, 0 to 1.

    References:
        Cinelli and Hazlett (2020), *JRSS B* 82(1), section 4; where f exceeds 1 / f*,
        Cinelli and Hazlett (2025), *Biometrika* 112(2).

    Examples:
        >>> round(robustness_value(4.18445, 783), 4)
        0.1388
        >>> round(robustness_value(4.18445, 783, level=0.95), 4)
        0.0763
    """
    f = q * abs(t) / math.sqrt(df)
    if level is None:
        return solved_share(f)
    least = critical_value(df=df - 1, level=level) / math.sqrt(df - 1)
    if f <= least:
        return 0.0
    if f > 1 / least:
        return (f * f - least * least) / (1 + f * f)
    return solved_share(f - least)


def omitted_cause(
    seen: Observed,
    policy: ArrayLike,
    *,
    against: ArrayLike | None = None,
    outcome_share: float = 0.0,
    assignment_share: float = 0.0,
    level: float = 0.95,
) -> Bounds:
    """Bound a rule's gain if a cause explains these shares of what is left unexplained.

    The bias is at most S sqrt(c_y c_d / (1 - c_d)) with S^2 = E[(y - m)^2] E[alpha^2], over the
    units that the two rules treat differently; alpha is 1 / e in the rule's arm and -1 / e in
    the other rule's.

    Args:
        seen: Units.
        policy: Arm of each unit under the rule, shape [n].
        against: Arm under the other rule, shape [n]; control for all unless said.
        outcome_share: Share of the rest of money that the cause explains, c_y.
        assignment_share: Share of the rest of alpha that it explains, c_d.
        level: Confidence level.

    Returns:
        Bounds per unit of everybody, with gamma NaN.

    References:
        Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis (2022), NBER 30302
        (bounds by the Riesz representer, and their influence functions).
    """
    parts = omitted(seen, policy, against)
    reach = _reach(outcome_share, assignment_share)
    errors = [error_of(parts.gain - sign * reach * parts.scale, seen) for sign in (1, -1)]
    z = critical_value(level=level)
    gain, size = float(parts.gain.mean()), reach * float(parts.scale.mean())
    return Bounds(
        gamma=NAN,
        low=gain - size,
        high=gain + size,
        ci_low=gain - size - z * errors[0],
        ci_high=gain + size + z * errors[1],
    )


def solved_share(f: float) -> float:
    """Solve r^2 / (1 - r) = f^2; the textbook form loses digits for large f."""
    square = f * f
    return 2 / (1 + math.sqrt(1 + 4 / square)) if square > 0 else 0.0


def _reach(outcome_share: float, assignment_share: float) -> float:
    for share in (outcome_share, assignment_share):
        if not 0 <= share < 1:
            raise UpliftlabError(
                f"a cause cannot explain {share:g} of what is left; write 0 to below 1."
            )
    return math.sqrt(outcome_share * assignment_share / (1 - assignment_share))
