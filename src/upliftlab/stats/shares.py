"""How should units be shared out between arms, and how do the arms' numbers hang together?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.stats.estimate import two_sided_p
from upliftlab.stats.multiplicity import max_t_critical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def optimal_shares(
    sds: Sequence[float], costs: Sequence[float] | None = None
) -> tuple[float, ...]:
    """Return the shares that buy the least average variance of "arm less control" for money.

    With k treatments control counts k times: n_0 goes with sd_0 sqrt(k / cost_0), every other
    arm with sd / sqrt(cost).

    Args:
        sds: Standard deviation of a unit per arm, control first.
        costs: Money per unit of each arm; equal unless given. All above 0.

    Returns:
        Shares that add up to 1, in the same order.

    Raises:
        DesignError: When there is no treatment, or a number is not above 0.

    References:
        Cochran (1977), *Sampling Techniques*, section 5.5: optimum allocation; Dunnett (1955),
        *JASA* 50(272), section 6, for the square root of k.

    Examples:
        >>> [round(share, 3) for share in optimal_shares([1, 1, 1, 1, 1])]
        [0.333, 0.167, 0.167, 0.167, 0.167]
        >>> [round(share, 3) for share in optimal_shares([1, 1], [1, 4])]
        [0.667, 0.333]
    """
    spread = np.asarray(sds, dtype=float)
    price = np.ones(len(spread)) if costs is None else np.asarray(costs, dtype=float)
    if len(spread) < 2 or not (spread > 0).all() or not (price > 0).all():
        message = (
            f"optimal shares need two arms or more, with standard deviations {list(sds)} and "
            f"costs {None if costs is None else list(costs)} all above 0."
        )
        raise DesignError(message)
    weight = spread / np.sqrt(price)
    weight[0] *= math.sqrt(len(spread) - 1)
    return tuple(float(share) for share in weight / weight.sum())


def contrast_correlation(variances: Sequence[float]) -> Floats:
    """Return the correlation of "arm less control" over the arms that share one control.

    Args:
        variances: Variance of each arm's mean, control first.

    References:
        Dunnett (1955), *JASA* 50(272), section 3.

    Examples:
        >>> contrast_correlation([1.0, 1.0, 1.0]).round(3)
        array([[1. , 0.5],
               [0.5, 1. ]])
    """
    v = np.asarray(variances, dtype=float)
    cov = np.full((len(v) - 1, len(v) - 1), v[0]) + np.diag(v[1:])
    sd = np.sqrt(np.diag(cov))
    out: Floats = cov / np.outer(sd, sd)
    return out


def size_of_each(variances: Sequence[float], *, level: float = 0.95) -> float:
    """Return the size at which each of several arms is tested so that all hold together.

    It is the two-sided tail beyond the critical value of the largest |t|, the one that the
    analysis uses for ranges "with all arms counted".

    Args:
        variances: Variance of each arm's mean, control first.
        level: Simultaneous confidence level.

    Examples:
        >>> round(size_of_each([1.0, 1.0]), 4), round(size_of_each([1.0] * 4), 4)
        (0.05, 0.0188)
    """
    if len(variances) == 2:
        return 1 - level
    critical = max_t_critical(contrast_correlation(variances), level=level)
    return two_sided_p(critical)
