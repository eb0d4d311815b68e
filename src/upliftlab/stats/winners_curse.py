"""How much too good do winners look, because they were picked for looking good?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, special

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import Estimate, interval, undefined

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

NOTHING_RAN = "no tests"
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedTotal:
    """The sum of what was picked, and what is left of it.

    Attributes:
        naive: Sum of the estimates that the rule picked, as if they had not been picked.
        bias: What picking is expected to have added.
        corrected: ``naive`` less ``bias``, with an interval for the true sum of the picked.
        n_run: Tests that were run.
        n_picked: Tests that the rule picked.
    """

    naive: Estimate
    bias: float
    corrected: Estimate
    n_run: int
    n_picked: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "naive": self.naive.to_dict(),
            "bias": self.bias,
            "corrected": self.corrected.to_dict(),
            "n_run": self.n_run,
            "n_picked": self.n_picked,
        }


def expected_bias(effect: ArrayLike, std_error: ArrayLike, threshold: ArrayLike) -> Floats:
    """Return E[(X - a) 1{X > b s}] of one test: sd times the normal density at b - a / s.

    Args:
        effect: True effects a.
        std_error: Standard errors s.
        threshold: The rule ships when estimate / s exceeds b.

    References:
        Lee and Shen (2018), *KDD '18*, equation 3.

    Examples:
        >>> round(float(expected_bias(1.0, 1.0, 1.96)), 4)
        0.2516
    """
    a, s, b = (np.asarray(x, dtype=float) for x in (effect, std_error, threshold))
    out: Floats = s * _density(b - a / s)
    return out


def correct_total(
    estimates: ArrayLike,
    std_errors: ArrayLike,
    threshold: ArrayLike,
    *,
    level: float = 0.95,
    name: str = "total of what was shipped",
) -> CorrectedTotal:
    """Subtract the winner's curse from the sum of shipped effects, over all tests that ran.

    The correction is summed over every test, also those that were not shipped: they could have
    been. Over the shipped alone it removes a quarter of the bias of a middling test. It assumes
    that the rule alone decided, and independent errors. The plug-in leaves part of the bias of
    weak effects: ``shrinkage.shrink`` is the better answer where there are many tests.

    Args:
        estimates: Of all tests run, shape (n,).
        std_errors: Shape (n,).
        threshold: The rule in use ships test i when estimate / standard error exceeds this;
            one number, or one per test (a hurdle in money divided by the standard error).
        level: Confidence level.
        name: What the total means.

    Returns:
        Naive, bias and corrected total. The interval is of the error of the corrected total at
        the estimates as if they were true.

    Raises:
        UpliftlabError: When shapes disagree or a standard error is not positive.

    References:
        Lee and Shen (2018), *KDD '18*: Winner's Curse: Bias Estimation for Total Effects of
        Features in Online Controlled Experiments, equations 3 and 5.

    Examples:
        >>> found = correct_total([2.5, 0.3, 1.2], [1.0, 1.0, 1.0], 1.96)
        >>> f"{found.naive.estimate:.2f} less {found.bias:.2f}"
        '2.50 less 0.74'
    """
    x = np.asarray(estimates, dtype=float)
    s = np.asarray(std_errors, dtype=float)
    if x.ndim != 1 or x.shape != s.shape or not (s > 0).all() or not np.isfinite(x).all():
        raise UpliftlabError(
            "correct_total needs one finite estimate and one positive standard error per test; "
            f"it got shapes {x.shape} and {s.shape}."
        )
    if not len(x):
        missing = undefined(name, NOTHING_RAN, level=level)
        return CorrectedTotal(naive=missing, bias=0.0, corrected=missing, n_run=0, n_picked=0)
    b = np.broadcast_to(np.asarray(threshold, dtype=float), x.shape)
    picked = x > b * s
    naive = interval(name, float(x[picked].sum()), float((s[picked] ** 2).sum()), level=level)
    bias = float(expected_bias(x, s, b).sum())
    variance = float((s**2 * _error_variance(x / s, b)).sum())
    corrected = interval(name, naive.estimate - bias, variance, level=level)
    return CorrectedTotal(
        naive=naive,
        bias=bias,
        corrected=replace(corrected, note="winner's curse subtracted over all tests that ran"),
        n_run=len(x),
        n_picked=int(picked.sum()),
    )


def conditional(
    estimate: float,
    std_error: float,
    threshold: float,
    *,
    level: float = 0.95,
    name: str = "effect",
) -> Estimate:
    """Return the effect of one shipped test, given that it had to pass to be seen.

    Median-unbiased and with exact coverage among tests that passed the threshold; near it the
    interval reaches far below 0, which is the truth about a narrow win.

    Args:
        estimate: Must exceed ``threshold`` times ``std_error``.
        std_error: Of the estimate.
        threshold: The rule's b, in standard errors.
        level: Confidence level.
        name: What is estimated.

    Returns:
        The median-unbiased effect with its interval; NaN with a note for a test that did not
        pass.

    References:
        Zhong and Prentice (2008), *Biostatistics* 9(4), section 2.

    Examples:
        >>> found = conditional(2.5, 1.0, 1.96)
        >>> f"{found.estimate:.2f} [{found.ci_low:.2f}, {found.ci_high:.2f}]"
        '1.54 [-4.46, 4.33]'
    """
    if not std_error > 0 or not math.isfinite(estimate):
        return undefined(name, "not estimable", level=level)
    z = estimate / std_error
    if not z > threshold:
        return undefined(name, "the rule did not pick it", level=level)
    tail = (1 - level) / 2
    middle, low, high = (_solve(z, threshold, p) for p in (0.5, tail, 1 - tail))
    return Estimate(
        name=name,
        estimate=middle * std_error,
        std_error=std_error,
        ci_low=low * std_error,
        ci_high=high * std_error,
        level=level,
        note="given that the rule picked it",
    )


def _solve(z: float, b: float, target: float) -> float:
    """Find the mean at which a normal, cut off below b, exceeds z with chance ``target``."""

    def gap(mean: float) -> float:
        return _log_beyond(z, mean) - _log_beyond(b, mean) - math.log(target)

    low, high = z - 1.0, z + 1.0
    while gap(low) > 0:
        low -= 2 * (high - low)
    while gap(high) < 0:
        high += 2 * (high - low)
    return float(optimize.brentq(gap, low, high, xtol=1e-12))


def _log_beyond(value: float, mean: float) -> float:
    return float(special.log_ndtr(mean - value))


def _error_variance(a: Floats, b: Floats) -> Floats:
    """Variance of (X - a) 1{X > b} - density(b - X) for X ~ N(a, 1).

    The jump at b is integrated in closed form; what is smooth, by Gauss-Hermite.
    """
    cut = b - a
    above, edge = special.ndtr(-cut), _density(cut)
    first = edge  # E[e 1{e > cut}]
    second = above + cut * edge  # E[e^2 1{e > cut}]
    smooth = _density(b[:, None] - (a[:, None] + _NODES))
    mean, square = smooth @ _WEIGHTS, smooth**2 @ _WEIGHTS
    # E[e 1{e > cut} density(cut - e)]: the product of two normal densities is a third one.
    peak, half = cut / 2, math.sqrt(0.5)
    area = np.exp(-(cut**2) / 4) / (2 * math.sqrt(math.pi))
    at = (cut - peak) / half
    cross = area * (peak * special.ndtr(-at) + half * _density(at))
    out: Floats = second + square - 2 * cross - (first - mean) ** 2
    return out


def _density(z: Floats) -> Floats:
    out: Floats = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return out
