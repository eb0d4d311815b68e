"""What may still be claimed after looking at many numbers at once?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import optimize

from upliftlab.stats.estimate import NAN, Estimate, critical_value, two_sided_p
from upliftlab.stats.max_t import MaxT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Method = Literal["holm", "bonferroni", "hochberg", "hommel", "holm-sidak", "fdr_bh", "fdr_by"]

_STATSMODELS = {"hochberg": "simes-hochberg"}


def adjust(p_values: ArrayLike, method: Method = "holm") -> Floats:
    """Return adjusted p-values, comparable with the unadjusted level.

    Args:
        p_values: Shape [m]; NaN stays NaN and does not count.
        method: Family-wise: ``holm``, ``bonferroni``, ``holm-sidak`` (independence),
            ``hochberg`` and ``hommel`` (positive dependence). False discoveries: ``fdr_bh``,
            ``fdr_by``.

    Returns:
        Adjusted p-values, shape [m]. They claim no matching intervals: for those use
        ``simultaneous`` or ``fcr_intervals``.

    References:
        Holm (1979), *Scandinavian Journal of Statistics* 6(2); Benjamini and Hochberg (1995),
        *Journal of the Royal Statistical Society B* 57(1), equation 1.

    Examples:
        >>> adjust([0.01, 0.04, float("nan")]).tolist()
        [0.02, 0.04, nan]
    """
    from statsmodels.stats.multitest import multipletests

    p = np.asarray(p_values, dtype=float)
    out = np.full(p.shape, NAN)
    known = ~np.isnan(p)
    if known.any():
        name = _STATSMODELS.get(method, method)
        out[known] = multipletests(p[known], method=name)[1]
    return out


def bh_threshold(p_values: ArrayLike, q: float = 0.05) -> float:
    """Return R q / m: the largest p-value that Benjamini and Hochberg would select.

    Args:
        p_values: Shape [m]; NaN does not count.
        q: False discovery rate.

    Returns:
        The threshold; 0 where nothing is selected.

    References:
        Benjamini and Hochberg (1995), equation 1.

    Examples:
        >>> bh_threshold([0.01, 0.2, 0.1, 0.02])
        0.025
    """
    p = np.asarray(p_values, dtype=float)
    p = np.sort(p[~np.isnan(p)])
    steps = q * np.arange(1, len(p) + 1) / max(len(p), 1)
    return float(np.max(steps[p <= steps], initial=0.0))


def fcr_intervals(estimates: Sequence[Estimate], *, q: float = 0.05) -> tuple[Estimate, ...]:
    """Select by Benjamini-Hochberg and widen the intervals of what was selected.

    Of the intervals shown, a share of at most q is expected to miss. They agree with the
    selection: each leaves 0 out. Valid under independence or positive dependence.

    Args:
        estimates: The whole family, not only what looks good; those without p-value do not
            count. Intervals are estimate +- t x standard error.
        q: False coverage rate.

    Returns:
        The same estimates with BH-adjusted p-values: the selected ones at level 1 - R q / m,
        the others without interval and with a note.

    References:
        Benjamini and Yekutieli (2005), *Journal of the American Statistical Association*
        100(469).

    Examples:
        >>> from upliftlab.stats.estimate import interval
        >>> found = fcr_intervals([interval("a", 4.0, 1.0), interval("b", 0.5, 1.0)])
        >>> [f"{e.name} {e.ci_low:.2f} {e.level:.3f} {e.note}".strip() for e in found]
        ['a 1.76 0.975', 'b nan 0.950 not selected at a false discovery rate of 0.05']
    """
    p = np.array([e.p_value for e in estimates])
    threshold = bh_threshold(p, q)
    rows = []
    for estimate, p_adjusted in zip(estimates, _stepped_up(p).tolist(), strict=True):
        if math.isnan(estimate.p_value):
            rows.append(estimate)
        elif estimate.p_value <= threshold:
            critical = critical_value(df=estimate.df, level=1 - threshold)
            wide = _with_reach(estimate, critical, p_adjusted)
            rows.append(replace(wide, level=1 - threshold))
        else:
            note = f"not selected at a false discovery rate of {q:g}"
            note = f"{estimate.note}; {note}" if estimate.note else note
            missing = _with_reach(estimate, NAN, p_adjusted)
            rows.append(replace(missing, shape="none", note=note))
    return tuple(rows)


def _stepped_up(p: Floats) -> Floats:
    """Adjust by Benjamini and Hochberg (1995); what ``adjust`` needs a second's import for."""
    out = p.copy()
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    raised = p[order] / (np.arange(1, len(order) + 1) / max(len(order), 1))
    out[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return out


def max_t_critical(
    correlation: ArrayLike, *, df: float = math.inf, level: float = 0.95
) -> float:
    """Return the single-step two-sided critical value of the largest |t|.

    Estimate +- value x standard error covers all m numbers at once with probability
    ``level``. An integral in one dimension where correlations are products l_i l_j (arms
    against a shared control, equal correlations, none), else a fixed point set on the sphere:
    the same answer on every run, within about 0.002 (0.01 above six statistics).

    Args:
        correlation: Joint correlation matrix, shape [m, m]; singular ones are fine.
        df: Degrees of freedom that all t share.
        level: Simultaneous confidence level.

    Returns:
        The critical value, between that of one t and Bonferroni's; NaN for an empty family.

    References:
        Dunnett (1955), *Journal of the American Statistical Association* 50(272);
        Hothorn, Bretz and Westfall (2008), *Biometrical Journal* 50(3).

    Examples:
        >>> shared_control = np.full((3, 3), 0.5) + 0.5 * np.eye(3)
        >>> round(max_t_critical(shared_control), 3)
        2.349
    """
    return _critical(MaxT.of(correlation, df=df), level)


def simultaneous(
    estimates: Sequence[Estimate], correlation: ArrayLike, df: float | None = None
) -> tuple[Estimate, ...]:
    """Return the same estimates with intervals that hold all at once.

    Args:
        estimates: The family; those without standard error are returned as they are and do not
            count. All have the level of the first that counts.
        correlation: Of all estimates, shape [m, m].
        df: Degrees of freedom that all share; by default the least of the family.

    Returns:
        Estimates with simultaneous intervals and single-step max-|t| p-values: a p-value is at
        most 1 - level exactly when the interval leaves 0 out.

    References:
        Hothorn, Bretz and Westfall (2008), *Biometrical Journal* 50(3), section 3.2.

    Examples:
        >>> from upliftlab.stats.estimate import interval
        >>> arms = [interval("5 off", 2.1, 1.0), interval("10 off", 3.0, 1.0)]
        >>> both = simultaneous(arms, [[1.0, 0.5], [0.5, 1.0]])
        >>> [f"[{e.ci_low:.2f}, {e.ci_high:.2f}] p {e.p_value:.3f}" for e in both]
        ['[-0.11, 4.31] p 0.066', '[0.79, 5.21] p 0.005']
    """
    counts = [i for i, e in enumerate(estimates) if e.std_error > 0]
    if not counts:
        return tuple(estimates)
    family = [estimates[i] for i in counts]
    shared_df = min(e.df for e in family) if df is None else df
    matrix = np.asarray(correlation, dtype=float)[np.ix_(counts, counts)]
    law = MaxT.of(matrix, df=shared_df)
    critical = _critical(law, family[0].level)
    out = list(estimates)
    for i, estimate in zip(counts, family, strict=True):
        p = _adjusted_p(law, abs(estimate.estimate) / estimate.std_error)
        joint = _with_reach(estimate, critical, p)
        out[i] = replace(joint, df=shared_df, level=family[0].level)
    return tuple(out)


def _critical(law: MaxT, level: float) -> float:
    if law.size == 0:
        return NAN
    single = critical_value(df=law.df, level=level)
    if law.size == 1:
        return single
    bonferroni = critical_value(df=law.df, level=1 - (1 - level) / law.size)
    found = optimize.brentq(
        lambda c: law.exceeds(c) - (1 - level), 0.98 * single, 1.02 * bonferroni, xtol=1e-11
    )
    return min(max(float(found), single), bonferroni)


def _adjusted_p(law: MaxT, statistic: float) -> float:
    single = two_sided_p(statistic, df=law.df)
    bonferroni = min(1.0, law.size * single)
    # Far out the bound is exact to quadrature error, and the integral would lose its digits.
    if law.size == 1 or bonferroni < 1e-8:
        return bonferroni
    return min(max(law.exceeds(statistic), single), bonferroni)


def _with_reach(estimate: Estimate, critical: float, p_value: float) -> Estimate:
    reach = critical * estimate.std_error
    return replace(
        estimate,
        ci_low=estimate.estimate - reach,
        ci_high=estimate.estimate + reach,
        p_value=p_value,
        shape="interval",
    )
