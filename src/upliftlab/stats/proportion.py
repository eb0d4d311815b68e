"""By how much do two shares of successes differ?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import Estimate, interval, undefined
from upliftlab.stats.means import welch

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["t", "pooled_z", "fisher", "boschloo", "barnard", "chi2", "g"]
Alternative = Literal["two-sided", "less", "greater"]

SCORE_INTERVAL = "interval by Newcombe's score method, not the test inverted"
_EXACT = ("fisher", "boschloo", "barnard")


def two_proportions(
    successes_t: int,
    n_t: int,
    successes_c: int,
    n_c: int,
    *,
    method: Method = "t",
    correction: bool = True,
    alternative: Alternative = "two-sided",
    level: float = 0.95,
    name: str = "difference",
) -> Estimate:
    """Return the difference of two proportions with its interval and p-value.

    Args:
        successes_t: Successes in treatment.
        n_t: Its units.
        successes_c: Successes in control.
        n_c: Its units.
        method: ``t``: Welch on zeros and ones with variance p (1 - p). ``pooled_z``: one
            variance under equality, for test and interval. ``fisher``, ``boschloo``,
            ``barnard`` (pooled score): exact tests. ``chi2``, ``g``: contingency table.
        correction: Yates' continuity correction of ``chi2`` and ``g``.
        alternative: Of the exact tests; the others are two-sided.
        level: Confidence level.
        name: What the difference means.

    Returns:
        The difference; ``t`` also fills the share of control. Tests without an interval of
        their own carry Newcombe's, and the note says so. NaN with a note for an arm without
        units.

    Raises:
        UpliftlabError: When successes are not between 0 and n, or another method than an exact
            test is asked for one side.

    References:
        Newcombe (1998), *Statistics in Medicine* 17(8), method 10; Fisher (1934), *Statistical
        Methods for Research Workers*; Boschloo (1970), *Statistica Neerlandica* 24(1); Barnard
        (1945), *Nature* 156; Yates (1934), *Supplement to the JRSS* 1(2).

    Examples:
        >>> effect = two_proportions(13, 47, 19, 53, method="fisher")
        >>> f"[{effect.ci_low:.3f}, {effect.ci_high:.3f}], p {effect.p_value:.3f}"
        '[-0.254, 0.100], p 0.400'
    """
    _check(successes_t, n_t)
    _check(successes_c, n_c)
    if alternative != "two-sided" and method not in _EXACT:
        raise UpliftlabError(
            f"method {method!r} is two-sided; one side is tested by {', '.join(_EXACT)}."
        )
    if min(n_t, n_c) == 0:
        return undefined(name, "an arm has no units", level=level)
    share_t, share_c = successes_t / n_t, successes_c / n_c
    if method == "t":
        return welch(
            mean_t=share_t,
            var_t=share_t * (1 - share_t),
            n_t=n_t,
            mean_c=share_c,
            var_c=share_c * (1 - share_c),
            n_c=n_c,
            level=level,
            name=name,
        )
    if method == "pooled_z":
        pooled = (successes_t + successes_c) / (n_t + n_c)
        variance = pooled * (1 - pooled) * (1 / n_t + 1 / n_c)
        return interval(name, share_t - share_c, variance, level=level)
    table = np.array([[successes_t, successes_c], [n_t - successes_t, n_c - successes_c]])
    p = _p_value(table, method, correction=correction, alternative=alternative)
    low, high = newcombe(successes_t, n_t, successes_c, n_c, level=level)
    unpooled = share_t * (1 - share_t) / n_t + share_c * (1 - share_c) / n_c
    return Estimate(
        name=name,
        estimate=share_t - share_c,
        std_error=math.sqrt(unpooled),
        ci_low=low,
        ci_high=high,
        p_value=p,
        level=level,
        note=SCORE_INTERVAL,
    )


def newcombe(
    successes_t: int, n_t: int, successes_c: int, n_c: int, *, level: float = 0.95
) -> tuple[float, float]:
    """Return Newcombe's hybrid score interval of the difference, without correction.

    References:
        Newcombe (1998), method 10; his table II gives 56/70 - 48/80 = 0.0524 to 0.3339.

    Examples:
        >>> low, high = newcombe(56, 70, 48, 80)
        >>> f"{low:.4f} to {high:.4f}"
        '0.0524 to 0.3339'
    """
    share_t, share_c = successes_t / n_t, successes_c / n_c
    low_t, high_t = _wilson(successes_t, n_t, level)
    low_c, high_c = _wilson(successes_c, n_c, level)
    gap = share_t - share_c
    return (
        gap - math.hypot(share_t - low_t, high_c - share_c),
        gap + math.hypot(high_t - share_t, share_c - low_c),
    )


def _wilson(successes: int, n: int, level: float) -> tuple[float, float]:
    found = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def _p_value(
    table: NDArray[np.int64], method: Method, *, correction: bool, alternative: Alternative
) -> float:
    if method == "fisher":
        return float(stats.fisher_exact(table, alternative=alternative).pvalue)
    if method == "boschloo":
        return float(stats.boschloo_exact(table, alternative=alternative).pvalue)
    if method == "barnard":
        return float(stats.barnard_exact(table, alternative=alternative).pvalue)
    if table.sum(axis=1).min() == 0:
        return float("nan")
    kind: Literal["log-likelihood", "pearson"] = (
        "log-likelihood" if method == "g" else "pearson"
    )
    return float(stats.chi2_contingency(table, correction, kind).pvalue)


def _check(successes: int, n: int) -> None:
    if not 0 <= successes <= n:
        raise UpliftlabError(f"{successes} successes of {n} units; write 0 to {n}.")
