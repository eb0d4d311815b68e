"""How wide must an interval be to hold at every look at once?

Everything here is a factor on the standard error, so it serves whatever has an estimate and a
standard error that gathers information: means, profit, ratios, adjusted and clustered effects.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


def mixing(tuned_at: float, *, alpha: float = 0.05) -> float:
    """Return rho, the spread of the normal mixture that is tightest about ``tuned_at`` units.

    References:
        Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), *Annals of Statistics* 52(6),
        section B.2 of the supplement (equation 161 of arXiv 2103.06476v7).

    Examples:
        >>> round(mixing(5_000), 7)
        0.0398401
    """
    _refuse(tuned_at, alpha)
    reach = -2 * math.log(alpha)
    return math.sqrt((reach + math.log(reach + 1)) / tuned_at)


def multiplier(n: ArrayLike, *, tuned_at: float, alpha: float = 0.05, sided: int = 2) -> Floats:
    """Return half-width over standard error of the asymptotic confidence sequence.

    It holds at all looks at once, from a first look late enough that means are close to
    normal. Only n / tuned_at matters, so n may be units, clusters or any information. On this
    scale it is also the normal-mixture bound of sub-Gaussian sums, with the variance estimated.

    Args:
        n: Units so far, of all arms of the contrast.
        tuned_at: Units at which it is tightest, fixed before the first look.
        alpha: Error over all looks.
        sided: 2; or 1 for a bound on one side, tuned by 2 alpha.

    References:
        Waudby-Smith et al. (2024), *Annals of Statistics* 52(6), theorem 2.2 and, for one side,
        equation 134 of arXiv 2103.06476v7; Robbins (1970), *Annals of Mathematical Statistics*
        41(5), for the mixture.

    Examples:
        >>> multiplier([500, 5_000, 50_000], tuned_at=5_000).round(4)
        array([3.8551, 3.0352, 3.2417])
    """
    rho2 = mixing(tuned_at, alpha=alpha if sided == 2 else 2 * alpha) ** 2
    v = np.asarray(n, dtype=float) * rho2
    root = np.sqrt(v + 1)
    reach = np.log(root / alpha) if sided == 2 else np.log1p(root / (2 * alpha))
    with np.errstate(divide="ignore"):
        return np.asarray(np.sqrt(2 * (v + 1) / v * reach))


def e_value(z: float, n: float, *, tuned_at: float, alpha: float = 0.05) -> float:
    """Return the evidence against no effect, two-sided; its inverse is an always-valid p.

    Args:
        z: Estimate over standard error.
        n: Units so far.
        tuned_at: As for ``multiplier``.
        alpha: As for ``multiplier``; it tunes, the e-value itself has no level.

    Examples:
        >>> f"{e_value(3.0352, 5_000, tuned_at=5_000):.1f}"
        '20.0'
    """
    v = n * mixing(tuned_at, alpha=alpha) ** 2
    return math.exp(min(z * z * v / (2 * (v + 1)) - math.log1p(v) / 2, 700.0))


def always_valid_p(
    z: float, n: float, *, tuned_at: float, alpha: float = 0.05, sided: int = 2
) -> float:
    """Return the p-value that may be read at every look; below alpha where 0 is left out.

    One-sided it is against a gain; tuning stays that of ``alpha``.

    Examples:
        >>> round(always_valid_p(1.9, 5_000, tuned_at=5_000), 3)
        0.602
    """
    if math.isnan(z):
        return math.nan
    if sided == 2:
        return min(1.0, 1 / e_value(z, n, tuned_at=tuned_at, alpha=alpha))
    if z <= 0:
        return 1.0
    v = n * mixing(tuned_at, alpha=2 * alpha) ** 2
    reach = math.expm1(min(z * z * v / (2 * (v + 1)), 700.0))
    return min(1.0, math.sqrt(v + 1) / (2 * reach)) if reach > 0 else 1.0


def msprt_multiplier(
    variances: tuple[float, float], n: tuple[float, float], *, alpha: float = 0.05
) -> float:
    """Return the critical value of the mixture sequential probability ratio test.

    The prior's variance follows the sample as some platforms document it: tau = z^2 (var_T +
    var_C) / (n_T + n_C), with alpha split in halves. A prior that moves with n is not a
    martingale, so this is for comparison; ``multiplier`` is what upliftlab uses.

    References:
        Johari, Koomen, Pekelis and Walsh (2022), *Operations Research* 70(3), for a fixed tau.

    Examples:
        >>> round(msprt_multiplier((1.0, 1.0), (1_000, 1_000)), 6)
        3.584515
    """
    of_mean = variances[0] / n[0] + variances[1] / n[1]
    tau = float(special.ndtri(alpha / 2)) ** 2 * sum(variances) / sum(n)
    reach = -2 * math.log(alpha / 2) - math.log(of_mean / (of_mean + tau))
    return math.sqrt((of_mean + tau) / tau * reach)


def widened(bound: ArrayLike, df: float) -> Floats:
    """Return the bound on the t scale that has the same one-sided tail as z's.

    References:
        Jennison and Turnbull (2000), *Group Sequential Methods*, section 4.4: the significance
        level approach.

    Examples:
        >>> widened([1.959964, 3.0352], 10).round(3)
        array([2.228, 4.029])
    """
    z = np.asarray(bound, dtype=float)
    if not np.isfinite(df):
        return z
    tail = special.ndtr(-np.abs(z))
    with np.errstate(invalid="ignore"):
        t = np.where(tail > 0, -special.stdtrit(df, tail), np.inf)
    return np.asarray(np.sign(z) * t)


def normal_scale(t: float, df: float) -> float:
    """Return the z that has the same tail as a t statistic: the inverse of ``widened``.

    Examples:
        >>> round(normal_scale(2.2281, 10), 3)
        1.96
    """
    if not math.isfinite(t) or not math.isfinite(df):
        return t
    tail = float(special.stdtr(df, -abs(t)))
    return math.copysign(float(-special.ndtri(tail)) if tail > 0 else 38.0, t)


def _refuse(tuned_at: float, alpha: float) -> None:
    if not tuned_at > 0:
        raise UpliftlabError(f"tuned_at is {tuned_at}; it must be above 0.")
    if not 0 < alpha < 1:
        raise UpliftlabError(f"alpha is {alpha}; write a number between 0 and 1, such as 0.05.")
