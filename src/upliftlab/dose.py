"""How deep should the coupon be, and do the data know?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.stats.estimate import Estimate, undefined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.stats.joint import Joint

NO_TURN = "profit does not change sign between the tested depths"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dose:
    """What the tested depths say about depth.

    Attributes:
        depths: Arm -> face value in minor units, shallow first, control (0) left out.
        break_even: Depth at which extra profit turns from gain to loss, by straight lines
            between neighbouring depths, with its Fieller set; NaN with a note where none does.
        best: Arm whose profit is above every other depth's and above no coupon, all compared
            at once; empty where the data cannot tell.
    """

    depths: Mapping[str, float]
    break_even: Estimate
    best: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "depths": dict(self.depths),
            "break_even": self.break_even.to_dict(),
            "best": self.best,
        }


def dose_of(depths: Mapping[str, float], joint: Joint, *, level: float = 0.95) -> Dose | None:
    """Read depth off the profit contrasts of the arms.

    Args:
        depths: Arm -> face value in minor units, for arms with a coupon.
        joint: Profit contrasts against control with joint covariance, named by arm.
        level: Confidence level.

    Returns:
        The dose; None with fewer than two depths.

    References:
        Fieller (1954), *Journal of the Royal Statistical Society B* 16(2).

    Examples:
        >>> from upliftlab.stats.joint import Joint
        >>> joint = Joint(names=("five", "twenty"), value=np.array([10.0, -20.0]),
        ...               cov=np.eye(2), df=np.array([np.inf, np.inf]))
        >>> found = dose_of({"five": 500, "twenty": 2000}, joint)
        >>> round(found.break_even.estimate), found.best
        (1000, 'five')
    """
    ordered = sorted((arm for arm in depths if arm in joint.names), key=lambda arm: depths[arm])
    if len(ordered) < 2:
        return None
    return Dose(
        depths={arm: float(depths[arm]) for arm in ordered},
        break_even=_break_even(ordered, depths, joint, level),
        best=_best(ordered, joint, level),
    )


def _break_even(
    ordered: list[str], depths: Mapping[str, float], joint: Joint, level: float
) -> Estimate:
    """Cross zero between the first neighbours whose profits have opposite signs."""
    name = "break-even depth"
    for left, right in pairwise(ordered):
        i, j = joint.index(left), joint.index(right)
        if joint.value[i] > 0 >= joint.value[j]:
            weights = np.zeros((2, len(joint.names)))
            # d* = (t_i d_j - t_j d_i) / (t_i - t_j): a ratio of two linear functionals.
            weights[0, i], weights[0, j] = depths[right], -depths[left]
            weights[1, i], weights[1, j] = 1.0, -1.0
            pair = joint.linear(weights, ["crossing", "slope"])
            return pair.ratio("crossing", "slope", name=name, level=level)
    return undefined(name, NO_TURN, level=level)


def _best(ordered: list[str], joint: Joint, level: float) -> str:
    best = max(ordered, key=lambda arm: joint.value[joint.index(arm)])
    at = joint.index(best)
    rows = np.zeros((len(ordered), len(joint.names)))
    for row, arm in enumerate(ordered):
        rows[row, at] = 1.0
        if arm != best:
            rows[row, joint.index(arm)] = -1.0
    gaps = joint.linear(rows, ordered)
    sd = np.sqrt(np.diag(gaps.cov))
    if not np.all(sd > 0):
        return ""
    reach = gaps.max_t(level=level) * sd
    return best if bool((gaps.value - reach > 0).all()) else ""
