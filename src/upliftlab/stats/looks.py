"""From when on may one look, and how far is an estimate from normal?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

FLAT = 1e-6
"""Skewness below which a curve is a straight line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLook:
    """What the smaller arm must have before anything may be concluded.

    Attributes:
        units: Units whose window is closed.
        active: Units with an outcome other than 0.
    """

    units: int = 250
    active: int = 50

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def permitted(first: FirstLook, *, n: ArrayLike, active: ArrayLike) -> NDArray[np.bool_]:
    """Say whether a look is permitted, given the smaller arm at that look.

    Args:
        first: What is asked for.
        n: Units, any shape.
        active: Units with an outcome other than 0, shape of ``n``.

    Examples:
        >>> permitted(FirstLook(), n=[300, 2_000], active=[40, 400])
        array([False,  True])
    """
    size, some = np.asarray(n, dtype=float), np.asarray(active, dtype=float)
    return np.asarray((size >= first.units) & (some >= first.active))


def skewness_of_difference(
    third: tuple[ArrayLike, ArrayLike], n: tuple[ArrayLike, ArrayLike], variance: ArrayLike
) -> Floats:
    """Return the standardised third cumulant of a difference of two means.

    Args:
        third: Third central moments per unit of treatment and control.
        n: Units of treatment and control.
        variance: Variance of the difference.

    Examples:
        >>> skewness_of_difference((8.0, 8.0), (100, 400), 0.05).round(4).item()
        0.0671
    """
    terms = [np.asarray(t, dtype=float) / np.asarray(m, dtype=float) ** 2
             for t, m in zip(third, n, strict=True)]  # fmt: skip
    return np.asarray((terms[0] - terms[1]) / np.asarray(variance, dtype=float) ** 1.5)


def straighten(z: ArrayLike, skewness: ArrayLike) -> Floats:
    """Return the statistic with the skewness of its studentised mean taken out.

    Zero-inflated profit in arms of unequal size has nearly all its false alarms on one side;
    after this monotone cubic both tails have their share.

    Args:
        z: Estimate over standard error.
        skewness: Of the estimate, from ``skewness_of_difference``.

    References:
        Hall (1992), *Journal of the Royal Statistical Society B* 54(1), the second of the two
        transformations.

    Examples:
        >>> straighten([-2.0, 2.0], 0.1).round(4)
        array([-1.853,  2.153])
    """
    t, k = np.asarray(z, dtype=float), np.asarray(skewness, dtype=float)
    return np.asarray(t + k * t**2 / 3 + k**2 * t**3 / 27 + k / 6)


def curved(bound: ArrayLike, skewness: ArrayLike) -> Floats:
    """Return the statistic that ``straighten`` turns into ``bound``: its inverse.

    Examples:
        >>> curved(straighten([-2.0, 2.0], 0.1), 0.1).round(9)
        array([-2.,  2.])
    """
    c, k = np.asarray(bound, dtype=float), np.asarray(skewness, dtype=float)
    flat = np.abs(k) < FLAT
    safe = np.where(flat, 1.0, k)
    with np.errstate(invalid="ignore"):
        root = 3 / safe * (np.cbrt(1 + safe * (c - safe / 6)) - 1)
    return np.asarray(np.where(flat | ~np.isfinite(c), c, root))
