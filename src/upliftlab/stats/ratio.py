"""What is one number as a share of another, when both are estimated?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from upliftlab.stats.estimate import (
    DOES_NOT_VARY,
    NAN,
    Estimate,
    Shape,
    critical_value,
    interval,
    satterthwaite,
    two_sided_p,
    undefined,
)

Method = Literal["delta", "fieller", "log"]

ZERO_DENOMINATOR = "denominator is 0"
UNSTABLE_DENOMINATOR = "denominator within 3 standard errors of 0: unstable"
UNSTABLE_BASELINE = "baseline within 3 standard errors of 0: unstable"
LOG_NEEDS_ONE_SIGN = "a log ratio needs two means of the same sign"
_CLEAR_OF_ZERO = 3.0


def fieller(
    num: float,
    den: float,
    var_num: float,
    var_den: float,
    cov: float = 0.0,
    *,
    df: float = math.inf,
    level: float = 0.95,
    name: str = "ratio",
) -> Estimate:
    """Return num / den with the set of ratios that the data do not reject.

    The set is honest where the denominator may be 0: it can be two half-lines or everything.
    The p-value is that of the numerator, so 0 lies in the set exactly when the numerator does
    not differ significantly from 0.

    Args:
        num: Estimated numerator.
        den: Estimated denominator.
        var_num: Variance of the estimated numerator.
        var_den: Variance of the estimated denominator.
        cov: Their covariance.
        df: Degrees of freedom of the variances.
        level: Confidence level of the set.
        name: What the ratio means.

    Returns:
        The ratio; its standard error is the delta method's. NaN with a note for a denominator
        of 0, though the set may exist.

    References:
        Fieller (1954), *Journal of the Royal Statistical Society B* 16(2); for the
        three shapes von Luxburg and Franz (2009), *Statistica Sinica* 19(3).

    Examples:
        >>> r = fieller(0.5, 0.2, 0.3**2, 0.15**2)
        >>> f"{r.estimate:.1f}, {r.shape} of {r.ci_low:.4f} and {r.ci_high:.4f}"
        '2.5, outside of -3.7588 and -0.5485'
    """
    if math.isnan(num + den + var_num + var_den + cov) or not df > 0:
        return undefined(name, "not estimable", level=level)
    ratio = num / den if den != 0 else NAN
    notes = [] if den != 0 else [ZERO_DENOMINATOR]
    if var_num <= 0 and var_den <= 0:
        missing = undefined(name, "; ".join([*notes, DOES_NOT_VARY]), level=level)
        return replace(missing, estimate=ratio)
    if var_den > 0 and abs(den) < _CLEAR_OF_ZERO * math.sqrt(var_den):
        notes.append(UNSTABLE_DENOMINATOR)
    shape, low, high = _fieller_set(
        (num, den, var_num, var_den, cov), critical_value(df=df, level=level)
    )
    return Estimate(
        name=name,
        estimate=ratio,
        std_error=math.sqrt(_delta_variance(num, den, var_num, var_den, cov)),
        ci_low=low,
        ci_high=high,
        p_value=two_sided_p(num / math.sqrt(var_num), df=df) if var_num > 0 else NAN,
        df=df,
        level=level,
        shape=shape,
        note="; ".join(notes),
    )


def delta_ratio(
    num: float,
    den: float,
    var_num: float,
    var_den: float,
    cov: float = 0.0,
    *,
    df: float = math.inf,
    level: float = 0.95,
    name: str = "ratio",
) -> Estimate:
    """Return num / den with the symmetric interval of the delta method.

    Right for a denominator clearly away from 0, such as sessions per user; otherwise use
    ``fieller``. The arguments are those of ``fieller``, the p-value is that of the ratio.

    Returns:
        The ratio; NaN with a note for a denominator of 0.

    References:
        Deng, Knoblich and Lu (2018), *KDD '18*.

    Examples:
        >>> r = delta_ratio(5.0, 2.0, 0.04, 0.01, 0.005)
        >>> f"{r.estimate:.2f} +- {r.std_error:.4f}"
        '2.50 +- 0.1392'
    """
    if den == 0 or math.isnan(den):
        note = ZERO_DENOMINATOR if den == 0 else "not estimable"
        return undefined(name, note, level=level)
    near = var_den > 0 and abs(den) < _CLEAR_OF_ZERO * math.sqrt(var_den)
    return interval(
        name,
        num / den,
        _delta_variance(num, den, var_num, var_den, cov),
        df=df,
        level=level,
        note=UNSTABLE_DENOMINATOR if near else "",
    )


def relative_difference(
    mean_t: float,
    mean_c: float,
    var_t: float,
    var_c: float,
    cov: float = 0.0,
    *,
    df: float | None = None,
    df_t: float = math.inf,
    df_c: float = math.inf,
    level: float = 0.95,
    method: Method = "delta",
    name: str = "relative difference",
) -> Estimate:
    """Return (treatment - control) / |control|.

    Dividing by the size of the baseline keeps "better" positive where control loses money.
    The sign of the baseline is taken from its estimate: it means something only where the
    baseline is clearly away from 0, and otherwise ``note`` says so.

    Args:
        mean_t: Mean of treatment.
        mean_c: Mean of control.
        var_t: Variance of the treatment mean.
        var_c: Variance of the control mean.
        cov: Covariance of the two means.
        df: Degrees of freedom; by default Satterthwaite's from ``df_t`` and ``df_c``: of the
            difference for ``delta`` and ``fieller``, of the log ratio for ``log``.
        df_t: Degrees of freedom of ``var_t``.
        df_c: Degrees of freedom of ``var_c``.
        level: Confidence level.
        method: ``delta``: symmetric, p of the relative difference. ``fieller``: exact where the
            baseline is weak, p of the absolute difference. ``log``: interval of the log ratio
            turned back, p of the log ratio.
        name: What the share means.

    Returns:
        The share of control; NaN with a note for a baseline of 0, and for ``log`` where the
        means differ in sign.

    References:
        Fieller (1954), *JRSS B* 16(2); Deng, Knoblich and Lu (2018), *KDD '18*, for delta.

    Examples:
        >>> up = relative_difference(-5.0, -10.0, 0.5, 0.5)
        >>> f"{up.estimate:+.0%} [{up.ci_low:+.0%}, {up.ci_high:+.0%}]"
        '+50% [+35%, +65%]'
    """
    means = _Means(mean_t=mean_t, mean_c=mean_c, var_t=var_t, var_c=var_c, cov=cov)
    if df is None:
        df = means.degrees(df_t, df_c, log=method == "log")
    if mean_c == 0:
        return undefined(name, "baseline is 0", level=level)
    if method == "log":
        found = _log_difference(means, df=df, level=level, name=name)
    else:
        ratio = fieller if method == "fieller" else delta_ratio
        found = ratio(
            mean_t - mean_c,
            mean_c,
            var_t + var_c - 2 * cov,
            var_c,
            cov - var_c,
            df=df,
            level=level,
            name=name,
        )
    found = found.scaled(math.copysign(1.0, mean_c))
    near = var_c > 0 and abs(mean_c) < _CLEAR_OF_ZERO * math.sqrt(var_c)
    parts = [part for part in found.note.split("; ") if part and part != UNSTABLE_DENOMINATOR]
    return replace(found, note="; ".join([*parts, UNSTABLE_BASELINE] if near else parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Means:
    mean_t: float
    mean_c: float
    var_t: float
    var_c: float
    cov: float

    def degrees(self, df_t: float, df_c: float, *, log: bool) -> float:
        if log and self.mean_t != 0 and self.mean_c != 0:
            parts = [
                self.var_t / self.mean_t / self.mean_t,
                self.var_c / self.mean_c / self.mean_c,
            ]
        else:
            parts = [self.var_t, self.var_c]
        return satterthwaite(parts, [df_t, df_c])


def _log_difference(means: _Means, *, df: float, level: float, name: str) -> Estimate:
    if not means.mean_t * means.mean_c > 0:
        return undefined(name, LOG_NEEDS_ONE_SIGN, level=level)
    ratio = means.mean_t / means.mean_c
    variance = (
        means.var_t / means.mean_t / means.mean_t
        + means.var_c / means.mean_c / means.mean_c
        - 2 * means.cov / means.mean_t / means.mean_c
    )
    log = interval(name, math.log(ratio), variance, df=df, level=level)
    return replace(
        log,
        estimate=ratio - 1,
        std_error=ratio * log.std_error,
        ci_low=math.expm1(log.ci_low),
        ci_high=math.expm1(log.ci_high),
    )


def _delta_variance(
    num: float, den: float, var_num: float, var_den: float, cov: float
) -> float:
    if den == 0:
        return NAN
    ratio = num / den
    # Products and quotients overflow to infinity; powers would raise.
    variance = (var_num - 2 * ratio * cov + ratio * ratio * var_den) / den / den
    return max(0.0, variance) if math.isfinite(variance) else NAN


def _fieller_set(
    moments: tuple[float, float, float, float, float], critical: float
) -> tuple[Shape, float, float]:
    """Solve a r^2 - 2 b r + c <= 0 in units of the standard errors."""
    num, den, var_num, var_den, cov = moments
    unit_num = math.sqrt(var_num) if var_num > 0 else (abs(num) or 1.0)
    unit_den = math.sqrt(var_den) if var_den > 0 else (abs(den) or 1.0)
    x, y = num / unit_num, den / unit_den
    v, w = max(0.0, var_num) / unit_num**2, max(0.0, var_den) / unit_den**2
    r = cov / (unit_num * unit_den)
    t2 = critical**2
    a, b, c = y * y - t2 * w, x * y - t2 * r, x * x - t2 * v
    # b^2 - a c, multiplied out: the terms in x^2 y^2 cancel and never meet the rounding.
    discriminant = t2 * (x * x * w + y * y * v - 2 * x * y * r - t2 * (v * w - r * r))
    if discriminant <= 0 and a <= 0:
        return "everything", -math.inf, math.inf
    q = b + math.copysign(math.sqrt(max(discriminant, 0.0)), b)
    scale = unit_num / unit_den
    if a == 0:
        edge = scale * c / (2 * b)
        return ("outside", -math.inf, edge) if b > 0 else ("outside", edge, math.inf)
    roots = sorted((scale * q / a, scale * c / q if q != 0 else 0.0))
    return ("interval" if a > 0 else "outside"), roots[0], roots[1]
