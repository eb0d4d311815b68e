"""What does each depth add, if deeper adds no less, or each step adds less than the last?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import UpliftlabError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]

SHAPES = ("free", "monotone", "concave", "monotone_concave")

CONTRADICTED = "no curve of this shape lies within the band: the data contradict the shape"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseCurve:
    """What each depth adds against none, under a stated shape.

    Attributes:
        depths: From the shallowest, control left out.
        value: What each depth adds: the nearest curve of the shape.
        low: Lower end of a band that holds all depths at once.
        high: Upper end; NaN at both ends where no curve of the shape lies within.
        shape: One of :data:`SHAPES`.
        level: Confidence level of the whole band, given the shape.
        note: What a reader must know; may be empty.
    """

    depths: tuple[float, ...]
    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    shape: str
    level: float
    note: str = ""


def dose_curve(
    joint: Joint, depths: Mapping[str, float], *, shape: str = "free", level: float = 0.95
) -> DoseCurve:
    """Bring the effects of depths into a shape, with the band that the shape leaves.

    The curve starts at 0 for depth 0. Values are the curve of the shape nearest to the effects
    in the metric of their covariance. The band is the free simultaneous band cut down to what
    curves of the shape within it can reach at each depth, so it covers at least as often,
    given the shape; if the shape is wrong it covers nothing that matters.

    Args:
        joint: Effects against control with their joint covariance, named by arm.
        depths: Arm -> depth, above 0 and all different.
        shape: "monotone" (deeper adds no less), "concave" (each further unit of depth adds no
            more than the one before), both, or "free".
        level: Confidence level.

    Raises:
        UpliftlabError: When the shape is not known, or depths are not above 0 and different.

    References:
        Chernozhukov, Fernández-Val and Galichon (2009), *Biometrika* 96(3) (bands brought into
        shape); Silvapulle and Sen (2005), *Constrained Statistical Inference*, section 3.8.

    Examples:
        >>> from upliftlab.stats.joint import Joint
        >>> joint = Joint(names=("five", "ten"), value=np.array([10.0, 8.0]),
        ...               cov=np.eye(2), df=np.array([np.inf, np.inf]))
        >>> found = dose_curve(joint, {"five": 5, "ten": 10}, shape="monotone")
        >>> [round(each, 3) for each in found.value]
        [9.0, 9.0]
        >>> [f"{a:.1f} to {b:.1f}" for a, b in zip(found.low, found.high)]
        ['7.8 to 10.2', '7.8 to 10.2']
    """
    if shape not in SHAPES:
        raise UpliftlabError(
            f"shape is {shape!r}; write one of {list(SHAPES)}.{nearest(shape, SHAPES)}"
        )
    ordered = sorted((arm for arm in joint.names if arm in depths), key=lambda arm: depths[arm])
    at = np.array([float(depths[arm]) for arm in ordered])
    if not len(at) or at[0] <= 0 or len(np.unique(at)) < len(at):
        raise UpliftlabError(
            f"depths are {dict(zip(ordered, at.tolist(), strict=True))}; give each arm with a "
            "coupon its depth, above 0 and different from the others."
        )
    rows = [joint.index(arm) for arm in ordered]
    value, cov = joint.value[rows], joint.cov[np.ix_(rows, rows)]
    picked = joint.linear(np.eye(len(joint.names))[rows], ordered)
    reach = picked.max_t(level=level) * np.sqrt(np.diag(cov))
    rules = _constraints(at, shape)
    low, high = _band(value - reach, value + reach, rules)
    return DoseCurve(
        depths=tuple(at.tolist()),
        value=tuple(_nearest(value, cov, rules).tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        shape=shape,
        level=level,
        note=CONTRADICTED if math.isnan(low[0]) else "",
    )


def _constraints(at: Floats, shape: str) -> Floats:
    """Return rows r with r . curve >= 0; the curve is 0 at depth 0."""
    gaps = np.diff(at, prepend=0.0)
    slopes = (np.eye(len(at)) - np.eye(len(at), k=-1)) / gaps[:, None]
    parts = []
    if "monotone" in shape:
        parts.append(slopes)
    if "concave" in shape:
        parts.append(slopes[:-1] - slopes[1:])
    return np.concatenate(parts) if parts else np.zeros((0, len(at)))


def _nearest(value: Floats, cov: Floats, rules: Floats) -> Floats:
    """Project on the cone of the shape, by the dual: curve = value + cov rules' weights."""
    from scipy.optimize import nnls

    if not len(rules) or (rules @ value >= 0).all():
        return value
    root = np.linalg.cholesky(cov)
    weights, _ = nnls(root.T @ rules.T, -np.linalg.solve(root, value))
    return np.asarray(value + cov @ rules.T @ weights)


def _band(low: Floats, high: Floats, rules: Floats) -> tuple[Floats, Floats]:
    """Cut a band down to what curves of the shape within it reach at each depth."""
    from scipy.optimize import linprog

    if not len(rules):
        return low, high
    ends = np.full((2, len(low)), np.nan)
    box = list(zip(low, high, strict=True))
    for j, aim in enumerate(np.eye(len(low))):
        for side, sign in enumerate((1, -1)):
            found = linprog(sign * aim, A_ub=-rules, b_ub=np.zeros(len(rules)), bounds=box)
            if found.success and found.fun is not None:
                ends[side, j] = sign * found.fun
    return ends[0], ends[1]
