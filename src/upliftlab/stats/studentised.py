"""How far does skewness move the chance that a t-test calls an effect?"""

from __future__ import annotations

import math

MOST = 0.5
"""A larger skewness of an estimate counts as this much: the expansion says no more there."""


def skewed_tail(critical: float, shift: float, skewness: float) -> float:
    """Return what skewness adds to P(T > critical), T being estimate over standard error.

    A skewed mean and the standard error that goes with it rise and fall together. With
    w = critical - shift the first-order term is
    -skewness phi(w) (w critical / 2 - (w^2 - 1) / 6); without an effect it is the classic
    -skewness phi(z) (2 z^2 + 1) / 6.

    Args:
        critical: Where the test begins to call an effect.
        shift: True effect over the true standard error.
        skewness: Of the estimate, in the direction of the effect; see ``MOST``.

    References:
        Hall (1992), *The Bootstrap and Edgeworth Expansion*, section 2.6, for no effect. With
        one, T = (U + shift)(1 - V / 2), where E[UV] = E[U^3] = skewness: cumulants of T - shift
        are -skewness / 2, 1 - shift skewness and -2 skewness.

    Examples:
        >>> round(skewed_tail(1.96, 2.8, 0.12), 4), round(skewed_tail(1.96, 2.8, -0.12), 4)
        (0.026, -0.026)
    """
    g = max(-MOST, min(MOST, skewness))
    w = critical - shift
    density = math.exp(-w * w / 2) / math.sqrt(2 * math.pi)
    return -g * density * (w * critical / 2 - (w * w - 1) / 6)


def difference_skewness(
    skewness: tuple[float, float], sd: tuple[float, float], n: tuple[float, float]
) -> float:
    """Return the skewness of a difference of two independent means, first less second.

    Args:
        skewness: Third standardised moment of a unit of either arm.
        sd: Standard deviation of a unit of either arm.
        n: Units of either arm.

    Examples:
        >>> round(difference_skewness((2.0, 2.0), (1.0, 1.0), (100, 100)), 6)
        0.0
        >>> round(difference_skewness((2.0, 2.0), (1.0, 1.0), (100, 1e9)), 6)
        0.2
    """
    third = [s * d**3 / m**2 for s, d, m in zip(skewness, sd, n, strict=True)]
    variance = sum(d**2 / m for d, m in zip(sd, n, strict=True))
    return (third[0] - third[1]) / variance / math.sqrt(variance)


def with_skewness(tail: float, critical: float, shift: float, skewness: float) -> float:
    """Return the probability ``tail`` of calling an effect, moved by skewness, in [0, 1]."""
    if not skewness:
        return tail
    return float(min(1.0, max(0.0, tail + skewed_tail(critical, shift, skewness))))
