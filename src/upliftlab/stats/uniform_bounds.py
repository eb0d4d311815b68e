"""Which bounds hold for a martingale at all times at once, and how tight are they?

Boundaries for a sum s with intrinsic time v (its variance process). Each mixture has a log
supermartingale in (s, v); its bound is where that reaches log(1 / alpha).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy import special
from scipy.optimize import brentq

if TYPE_CHECKING:
    from collections.abc import Callable

ALPHA = 0.05


def best_rho(tuned_at: float, *, alpha: float = ALPHA, sided: int = 2) -> float:
    """Return the mixture's precision that is tightest at intrinsic time ``tuned_at``.

    References:
        Howard, Ramdas, McAuliffe and Sekhon (2021), *Annals of Statistics* 49(2), section 3.5,
        with the first-order expansion of Lambert's function.

    Examples:
        >>> round(best_rho(100), 5)
        12.60056
    """
    reach = 2 * math.log(1 / (alpha if sided == 2 else 2 * alpha))
    return tuned_at / (reach + math.log1p(reach))


def normal_log_mixture(s: float, v: float, rho: float, *, sided: int = 2) -> float:
    """Return the log of the normal mixture: sub-Gaussian sums.

    References:
        Howard et al. (2021), *Annals of Statistics* 49(2), propositions 5 and 6.
    """
    if sided == 2:
        return 0.5 * math.log(rho / (v + rho)) + s * s / (2 * (v + rho))
    return (
        0.5 * math.log(4 * rho / (v + rho))
        + s * s / (2 * (v + rho))
        + float(special.log_ndtr(s / math.sqrt(v + rho)))
    )


def normal_mixture_bound(
    v: float, *, tuned_at: float, alpha: float = ALPHA, sided: int = 2
) -> float:
    """Return the bound of sub-Gaussian sums at intrinsic time v.

    Examples:
        >>> round(normal_mixture_bound(100, tuned_at=100), 5)
        30.35209
    """
    rho = best_rho(tuned_at, sided=sided)
    if sided == 2:
        return math.sqrt((v + rho) * (math.log1p(v / rho) + 2 * math.log(1 / alpha)))
    return _bound(lambda s: normal_log_mixture(s, v, rho, sided=1), v, alpha)


def gamma_exponential_log_mixture(s: float, v: float, rho: float, c: float) -> float:
    """Return the log of the gamma-exponential mixture: sums bounded on one side, scale c.

    References:
        Howard et al. (2021), *Annals of Statistics* 49(2), proposition 9.
    """
    a, b = rho / c**2, (v + rho) / c**2
    at = (c * s + v + rho) / c**2
    start = a * math.log(a) - special.gammaln(a) - math.log(special.gammainc(a, a))
    return float(
        start
        + special.gammaln(b)
        + math.log(special.gammainc(b, at))
        - b * math.log(at)
        + (c * s + v) / c**2
    )


def gamma_exponential_bound(
    v: float, *, tuned_at: float, c: float, alpha: float = ALPHA
) -> float:
    """Return the bound of sub-exponential sums at intrinsic time v.

    Examples:
        >>> round(gamma_exponential_bound(100, tuned_at=100, c=2), 5)
        33.02017
    """
    rho = best_rho(tuned_at, sided=1)
    return _bound(lambda s: gamma_exponential_log_mixture(s, v, rho, c), v, alpha)


def gamma_poisson_log_mixture(s: float, v: float, rho: float, c: float) -> float:
    """Return the log of the gamma-Poisson mixture: sums bounded above, scale c.

    References:
        Howard et al. (2021), *Annals of Statistics* 49(2), proposition 10.
    """
    a, b = rho / c**2, (v + rho) / c**2
    at = s / c + b
    start = a * math.log(a) - special.gammaln(a) - math.log(special.gammaincc(a, a))
    return float(
        start
        + special.gammaln(at)
        + math.log(special.gammaincc(at, b))
        - at * math.log(b)
        + v / c**2
    )


def gamma_poisson_bound(v: float, *, tuned_at: float, c: float, alpha: float = ALPHA) -> float:
    """Return the bound of sub-Poisson sums at intrinsic time v.

    Examples:
        >>> round(gamma_poisson_bound(100, tuned_at=100, c=2), 4)
        30.1949
    """
    rho = best_rho(tuned_at, sided=1)
    return _bound(lambda s: gamma_poisson_log_mixture(s, v, rho, c), v, alpha)


def beta_binomial_log_mixture(
    s: float, v: float, *, tuned_at: float, low: float, high: float, sided: int = 2
) -> float:
    """Return the log of the beta-binomial mixture: increments in [-low, high].

    References:
        Howard et al. (2021), *Annals of Statistics* 49(2), propositions 7 and 8.
    """
    r = max(best_rho(tuned_at, sided=sided) - low * high, 1e-3 * low * high)
    width = low + high
    x = 1.0 if sided == 2 else high / width
    start = _log_beta(r / (low * width), r / (high * width), x)
    return (
        v / (low * high) * math.log(width)
        - (v + high * s) / (high * width) * math.log(low)
        - (v - low * s) / (low * width) * math.log(high)
        + _log_beta((r + v - low * s) / (low * width), (r + v + high * s) / (high * width), x)
        - start
    )


def beta_binomial_bound(
    v: float,
    *,
    tuned_at: float,
    low: float,
    high: float,
    alpha: float = ALPHA,
    sided: int = 2,
) -> float:
    """Return the bound of sums of increments in [-low, high]; at most v / low.

    Examples:
        >>> round(beta_binomial_bound(100, tuned_at=100, low=0.2, high=0.8), 4)
        31.4308
    """

    def log_mixture(s: float) -> float:
        return beta_binomial_log_mixture(
            s, v, tuned_at=tuned_at, low=low, high=high, sided=sided
        )

    return _bound(log_mixture, v, alpha, most=v / low)


def stitched_bound(
    v: float,
    *,
    v_min: float,
    c: float = 0.0,
    alpha: float = ALPHA,
    s: float = 1.4,
    eta: float = 2.0,
) -> float:
    """Return the polynomial stitched bound of sub-gamma sums, valid from v_min on.

    References:
        Howard et al. (2021), *Annals of Statistics* 49(2), theorem 1 and equation 10.

    Examples:
        >>> round(stitched_bound(100, v_min=10, c=3), 5)
        64.48755
    """
    time = max(v, v_min)
    level = (
        s * math.log(math.log(eta * time / v_min))
        + math.log(special.zeta(s) / math.log(eta) ** s)
        + math.log(1 / alpha)
    )
    shift = (math.sqrt(eta) + 1) / 2 * c * level
    scale = (eta**0.25 + eta**-0.25) / math.sqrt(2)
    return math.sqrt(scale**2 * time * level + shift**2) + shift


def _log_beta(a: float, b: float, x: float) -> float:
    whole = float(special.betaln(a, b))
    return whole if x == 1.0 else whole + math.log(special.betainc(a, b, x))


def _bound(
    log_mixture: Callable[[float], float], v: float, alpha: float, *, most: float = math.inf
) -> float:
    """Find where the mixture reaches 1 / alpha; the largest sum where it never does."""

    def missing(s: float) -> float:
        return log_mixture(s) + math.log(alpha)

    reach = min(max(v, 1.0), most)
    while reach < most and missing(reach) < 0:
        reach = min(2 * reach, most)
    if missing(reach) < 0:
        return most
    return float(brentq(missing, 0.0, reach, xtol=1e-10))
