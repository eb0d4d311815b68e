"""Do two arms differ at a quantile, whenever one looks?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special
from scipy.optimize import brentq, minimize_scalar

from upliftlab.stats.uniform_bounds import beta_binomial_log_mixture

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


def quantile_p(
    treatment: ArrayLike, control: ArrayLike, quantile: float, *, tuned_at: float = 100
) -> float:
    """Return the always-valid p-value against equal quantiles of both arms.

    The evidence is that of the best common quantile: the product of the arms' mixtures,
    smallest over where it could lie.

    Args:
        treatment: Values, any order.
        control: Values, any order.
        quantile: Between 0 and 1.
        tuned_at: Units per arm at which it is sharpest.

    References:
        Howard and Ramdas (2022), *Bernoulli* 28(3), section 5.

    Examples:
        >>> a = np.arange(1.0, 1_001.0)
        >>> round(quantile_p(a + 100, a, 0.5), 7)
        0.0054947
    """
    arms = [_Arm(values, quantile, tuned_at) for values in (treatment, control)]
    low, high = sorted(arms, key=lambda arm: arm.flat[1])
    inside = high.values[(high.values >= low.flat[1]) & (high.values <= high.flat[0])]
    places = [low.flat[1], high.flat[0], *inside.tolist()]
    least = min(low.evidence(x) + high.evidence(x) for x in places)
    return min(1.0, math.exp(-least))


def double_stitched_bound(
    quantile: float,
    t: float,
    *,
    tuned_at: float,
    alpha: float = 0.05,
    delta: float = 0.5,
    s: float = 1.4,
    eta: float = 2.0,
) -> float:
    """Return the bound on a quantile's count that holds for all quantiles and times.

    References:
        Howard and Ramdas (2022), *Bernoulli* 28(3), theorem 3.

    Examples:
        >>> round(double_stitched_bound(0.5, 1_000, tuned_at=100), 5)
        68.62803
    """
    time = max(t, tuned_at)
    odds = float(special.logit(quantile))
    r = quantile
    if quantile < 0.5:
        moved = odds + 2 * delta * math.sqrt(tuned_at * eta / time)
        r = min(0.5, float(special.expit(moved)))
    spread = r * (1 - r)
    j = math.sqrt(time / tuned_at) * abs(odds) / (2 * delta) + 1
    zeta = float(special.zeta(s))
    level = (
        s * math.log(math.log(eta * time / tuned_at))
        + s * math.log(j)
        + math.log(2 * zeta * (2 * zeta + 1) / (alpha * math.log(eta) ** s))
    )
    shift = (math.sqrt(eta) + 1) / 2 * (1 - 2 * quantile) / 3 * level
    scale = (eta**0.25 + eta**-0.25) / math.sqrt(2)
    return (
        delta * math.sqrt(eta * time * spread / tuned_at)
        + math.sqrt(scale**2 * spread * time * level + shift**2)
        + shift
    )


def distribution_band(
    t: float, *, from_t: float, alpha: float = 0.05, a: float = 0.85
) -> float:
    """Return the half-width of a band for the whole distribution function, from ``from_t`` on.

    References:
        Howard and Ramdas (2022), *Bernoulli* 28(3), theorem 2.

    Examples:
        >>> round(distribution_band(1_000, from_t=100), 6)
        0.082048
    """
    if t < from_t:
        return math.inf

    def missing(c: float) -> float:
        return _least_error(c, a) - alpha

    c = float(brentq(missing, 1.0, 60.0, xtol=1e-10))
    return a * math.sqrt((math.log1p(math.log(t / from_t)) + c) / t)


def _least_error(c: float, a: float) -> float:
    """Smallest error over how finely time is cut."""

    def cut(eta: float) -> float:
        return math.sqrt(eta / 2) + math.sqrt(2 * (eta - 1) / c) - a

    most = float(brentq(cut, 1.0, 2 * a * a)) if cut(1.0) < 0 < cut(2 * a * a) else 1.0

    def error(eta: float) -> float:
        gamma = 2 / eta * (a - math.sqrt(2 * (eta - 1) / c)) ** 2
        if gamma <= 1 or eta <= 1:
            return 1e6
        return 4 * math.exp(-gamma * c) * (1 + 1 / ((gamma - 1) * math.log(eta)))

    found = minimize_scalar(
        error, bounds=(1.0, most), method="bounded", options={"xatol": 1e-12}
    )
    return float(found.fun)


class _Arm:
    """Evidence of one arm that its quantile is not at x."""

    def __init__(self, values: ArrayLike, quantile: float, tuned_at: float) -> None:
        self.values: Floats = np.sort(np.asarray(values, dtype=float))
        n = len(self.values)
        spread = quantile * (1 - quantile)

        def log_mixture(below: float) -> float:
            return beta_binomial_log_mixture(
                (below - quantile) * n,
                spread * n,
                tuned_at=tuned_at * spread,
                low=quantile,
                high=1 - quantile,
            )

        self._log_mixture = log_mixture
        self._least = float(
            minimize_scalar(
                log_mixture, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-9}
            ).x
        )
        at = self._least * n
        self.flat = (
            float(self.values[max(math.ceil(at) - 1, 0)]),
            float(self.values[min(math.floor(at), n - 1)]),
        )
        """Between these the evidence is least."""

    def evidence(self, x: float) -> float:
        n = len(self.values)
        if x < self.flat[0]:
            return self._log_mixture(float(np.searchsorted(self.values, x, side="right")) / n)
        if x > self.flat[1]:
            return self._log_mixture(float(np.searchsorted(self.values, x, side="left")) / n)
        return self._log_mixture(self._least)
