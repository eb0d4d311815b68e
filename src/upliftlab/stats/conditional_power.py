"""How likely is the test to end with a finding, and what would one more week be worth?

None of this is evidence for stopping early: it helps to plan, not to conclude.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from scipy import special

from upliftlab.errors import UpliftlabError

_NORMAL_TOP = 1 / math.sqrt(2 * math.pi)


def conditional_power(
    z: float, fraction: float, *, bound: float, drift: float | None = None
) -> float:
    """Return the chance that z is above ``bound`` at the plan's end, given z now.

    Args:
        z: Estimate over standard error now.
        fraction: Share of the planned information now, between 0 and 1.
        bound: Critical z at the end.
        drift: Expected z at the end under the effect assumed; None takes the current trend.

    References:
        Jennison and Turnbull (2000), *Group Sequential Methods*, section 10.2.

    Examples:
        >>> round(conditional_power(1.0, 0.5, bound=1.96), 3)  # current trend
        0.22
        >>> round(conditional_power(1.0, 0.5, bound=1.96, drift=2.8), 3)  # effect planned for
        0.582
    """
    _refuse(fraction)
    if fraction >= 1:
        return float(z >= bound)
    trend = z / math.sqrt(fraction) if drift is None else drift
    gap = z * math.sqrt(fraction) + trend * (1 - fraction) - bound
    return float(special.ndtr(gap / math.sqrt(1 - fraction)))


def predictive_power(z: float, fraction: float, *, bound: float) -> float:
    """Return the chance that z is above ``bound`` at the end, over what the effect may be.

    The effect has a flat prior, so the current estimate's own doubt is counted.

    References:
        Spiegelhalter, Freedman and Blackburn (1986), *Controlled Clinical Trials* 7(1).

    Examples:
        >>> round(predictive_power(1.0, 0.5, bound=1.96), 3)
        0.293
    """
    _refuse(fraction)
    if fraction >= 1:
        return float(z >= bound)
    return float(special.ndtr((z - bound * math.sqrt(fraction)) / math.sqrt(1 - fraction)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What deciding now would cost against what waiting would bring, in the estimate's unit.

    Attributes:
        ship_loss: Expected loss of shipping now: what is lost where the effect is below 0.
        stop_loss: Expected loss of stopping now: what is forgone where it is above 0.
        gain: Expected gain of deciding after the wait rather than now (value of information).
        reduction: Standard deviation of how far the wait will move the estimate.
    """

    ship_loss: float
    stop_loss: float
    gain: float
    reduction: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {k: v if math.isfinite(v) else None for k, v in asdict(self).items()}


def waiting(estimate: float, std_error: float, *, growth: float) -> Waiting:
    """Return expected losses now and the value of the information that waiting brings.

    Args:
        estimate: Effect now, under a flat prior.
        std_error: Its standard error.
        growth: Information after the wait over information now, at least 1.

    References:
        Raiffa and Schlaifer (1961), *Applied Statistical Decision Theory*, chapter 5.

    Examples:
        >>> found = waiting(0.1, 0.2, growth=1.5)
        >>> f"{found.ship_loss:.4f} {found.stop_loss:.4f} {found.gain:.4f}"
        '0.0396 0.1396 0.0123'
    """
    if not std_error > 0 or not growth >= 1:
        return Waiting(
            ship_loss=math.nan, stop_loss=math.nan, gain=math.nan, reduction=math.nan
        )
    moved = std_error * math.sqrt(1 - 1 / growth)
    best_now = max(estimate, 0.0)
    later = _positive_part(estimate, moved)
    above = _positive_part(estimate, std_error)
    return Waiting(
        ship_loss=above - estimate,
        stop_loss=above,
        gain=max(later - best_now, 0.0),
        reduction=moved,
    )


def _positive_part(mean: float, sd: float) -> float:
    """E[max(X, 0)] of a normal."""
    if sd <= 0:
        return max(mean, 0.0)
    t = mean / sd
    density = _NORMAL_TOP * math.exp(-t * t / 2)
    return sd * density + mean * float(special.ndtr(t))


def _refuse(fraction: float) -> None:
    if not fraction > 0:
        raise UpliftlabError(f"fraction of information is {fraction}; it must be above 0.")
