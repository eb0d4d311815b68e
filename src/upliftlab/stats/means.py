"""By how much do two means differ, with or without a covariate?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from upliftlab.stats.estimate import Estimate, interval, satterthwaite, undefined
from upliftlab.stats.ratio import Method, delta_ratio, fieller, relative_difference

Theta = Literal["pooled", "per_arm"]

TOO_FEW = "an arm has fewer than two units"
_PER_SQUARED_SKEW = 355


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPair:
    """What CUPED needs to know about one arm: outcome y, pre-period covariate x.

    Attributes:
        n: Units.
        mean_y: Mean outcome.
        var_y: Sample variance of the outcome.
        mean_x: Mean covariate.
        var_x: Sample variance of the covariate.
        cov_xy: Sample covariance.
    """

    n: int
    mean_y: float
    var_y: float
    mean_x: float
    var_x: float
    cov_xy: float


def welch(
    *,
    mean_t: float,
    var_t: float,
    n_t: int,
    mean_c: float,
    var_c: float,
    n_c: int,
    level: float = 0.95,
    relative: Method = "delta",
    name: str = "difference",
) -> Estimate:
    """Return treatment minus control with Welch's t interval, and as a share of control.

    Args:
        mean_t: Mean of treatment.
        var_t: Sample variance of its units.
        n_t: Its units.
        mean_c: Mean of control.
        var_c: Sample variance of its units.
        n_c: Its units.
        level: Confidence level.
        relative: How the share of control gets its interval.
        name: What the difference means.

    Returns:
        The difference; NaN with a note if an arm has fewer than two units, without interval if
        nothing varies.

    References:
        Welch (1947), *Biometrika* 34(1-2).

    Examples:
        >>> effect = welch(mean_t=0.65, var_t=0.23, n_t=100, mean_c=0.5, var_c=0.25, n_c=100)
        >>> f"{effect.estimate:.2f} [{effect.ci_low:.3f}, {effect.ci_high:.3f}]"
        '0.15 [0.013, 0.287]'
    """
    if min(n_t, n_c) < 2:
        return undefined(name, TOO_FEW, level=level)
    of_t, of_c = var_t / n_t, var_c / n_c
    share = relative_difference(
        mean_t, mean_c, of_t, of_c, df_t=n_t - 1, df_c=n_c - 1, level=level, method=relative
    )
    return interval(
        name,
        mean_t - mean_c,
        of_t + of_c,
        df=satterthwaite([of_t, of_c], [n_t - 1, n_c - 1]),
        level=level,
        rel_to=share,
    )


def cuped_two_arms(
    treatment: ArmPair,
    control: ArmPair,
    *,
    theta: Theta = "pooled",
    level: float = 0.95,
    name: str = "difference",
) -> Estimate:
    """Return the difference in outcome left after the covariate's difference is taken out.

    Args:
        treatment: Its moments.
        control: Its moments.
        theta: ``pooled``: one slope from both arms as one sample. ``per_arm``: a slope each, at
            the pooled mean of the covariate, whose uncertainty is part of the variance.
        level: Confidence level.
        name: What the difference means.

    Returns:
        The adjusted difference, and its share of the control mean by the exact delta gradient.

    References:
        Deng, Xu, Kohavi and Walker (2013), *WSDM '13*; for a slope per arm Lin
        (2013), *Annals of Applied Statistics* 7(1), and Negi and Wooldridge (2021),
        *Econometric Reviews* 40(5), for the variance.

    Examples:
        >>> t = ArmPair(n=500, mean_y=1.2, var_y=2.0, mean_x=1.0, var_x=1.0, cov_xy=1.0)
        >>> c = ArmPair(n=500, mean_y=1.0, var_y=2.0, mean_x=1.1, var_x=1.0, cov_xy=1.0)
        >>> effect = cuped_two_arms(t, c)
        >>> f"{effect.estimate:.4f} +- {effect.std_error:.4f}"
        '0.2993 +- 0.0632'
    """
    if min(treatment.n, control.n) < 3:
        return undefined(name, "an arm has fewer than three units", level=level)
    parts = _adjusted(treatment, control, theta)
    share = delta_ratio(*parts.share(), df=parts.df, level=level)
    return interval(
        name,
        parts.difference,
        parts.variance,
        df=parts.df,
        level=level,
        rel_to=share if parts.baseline >= 0 else share.scaled(-1.0),
    )


def cuped_relative(
    treatment: ArmPair,
    control: ArmPair,
    *,
    theta: Theta = "pooled",
    method: Literal["delta", "fieller"] = "delta",
    level: float = 0.95,
    name: str = "relative difference",
) -> Estimate:
    """Return the adjusted difference as a share of the size of the control mean.

    The baseline is the unadjusted control mean under ``pooled``, the adjusted one under
    ``per_arm``. The gradient is exact: the control mean moves numerator and denominator. Some
    tools put the unadjusted treatment mean in its place and get another p-value.

    Args:
        treatment: Its moments.
        control: Its moments.
        theta: As in ``cuped_two_arms``.
        method: ``delta`` or ``fieller``.
        level: Confidence level.
        name: What the share means.

    Returns:
        The share of control; NaN with a note for a baseline of 0.

    References:
        Deng, Xu, Kohavi and Walker (2013), *WSDM '13*, and the delta method.

    Examples:
        >>> t = ArmPair(n=500, mean_y=1.2, var_y=2.0, mean_x=1.0, var_x=1.0, cov_xy=1.0)
        >>> c = ArmPair(n=500, mean_y=1.0, var_y=2.0, mean_x=1.1, var_x=1.0, cov_xy=1.0)
        >>> f"{cuped_relative(t, c).estimate:+.1%}"
        '+29.9%'
    """
    if min(treatment.n, control.n) < 3:
        return undefined(name, "an arm has fewer than three units", level=level)
    parts = _adjusted(treatment, control, theta)
    ratio = fieller if method == "fieller" else delta_ratio
    found = ratio(*parts.share(), df=parts.df, level=level, name=name)
    return found if parts.baseline >= 0 else found.scaled(-1.0)


def pooled_theta(treatment: ArmPair, control: ArmPair) -> float:
    """Return the slope of y on x with both arms as one sample; 0 where x does not vary.

    Examples:
        >>> arm = ArmPair(n=10, mean_y=0.0, var_y=1.0, mean_x=0.0, var_x=2.0, cov_xy=1.0)
        >>> pooled_theta(arm, arm)
        0.5
    """
    between = treatment.n * control.n / (treatment.n + control.n)
    gap_y, gap_x = treatment.mean_y - control.mean_y, treatment.mean_x - control.mean_x
    xx = sum((a.n - 1) * a.var_x for a in (treatment, control)) + between * gap_x**2
    xy = sum((a.n - 1) * a.cov_xy for a in (treatment, control)) + between * gap_x * gap_y
    return xy / xx if xx > 0 else 0.0


def minimum_n_for_skewness(skew: float) -> int:
    """Return the units per arm from which a 95 % interval of a skewed mean can be trusted.

    Examples:
        >>> minimum_n_for_skewness(4.0)
        5680

    References:
        Kohavi, Deng, Longbotham and Xu (2014), *KDD '14*, rule 7: 355 x skewness^2.
    """
    return math.ceil(_PER_SQUARED_SKEW * skew**2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Adjusted:
    difference: float
    variance: float
    baseline: float
    var_baseline: float
    cov_baseline: float
    df: float

    def share(self) -> tuple[float, float, float, float, float]:
        return (
            self.difference,
            self.baseline,
            self.variance,
            self.var_baseline,
            self.cov_baseline,
        )


def _adjusted(t: ArmPair, c: ArmPair, theta: Theta) -> _Adjusted:
    return _one_slope(t, c) if theta == "pooled" else _slope_per_arm(t, c)


def _one_slope(t: ArmPair, c: ArmPair) -> _Adjusted:
    slope = pooled_theta(t, c)
    of_t, of_c = (_residual_variance(a, slope) / a.n for a in (t, c))
    return _Adjusted(
        difference=(t.mean_y - c.mean_y) - slope * (t.mean_x - c.mean_x),
        variance=of_t + of_c,
        baseline=c.mean_y,
        var_baseline=c.var_y / c.n,
        cov_baseline=-(c.var_y - slope * c.cov_xy) / c.n,
        df=satterthwaite([of_t, of_c], [t.n - 1, c.n - 1]),
    )


def _slope_per_arm(t: ArmPair, c: ArmPair) -> _Adjusted:
    total = t.n + c.n
    centre = (t.n * t.mean_x + c.n * c.mean_x) / total
    spread = ((t.n - 1) * t.var_x + (c.n - 1) * c.var_x) / (total - 2) / total
    slope_t, slope_c = _slope(t), _slope(c)
    # A slope and a mean are estimated in each arm: n - 2, not n - 1.
    of_t, of_c = (
        _residual_variance(a, b) * (a.n - 1) / (a.n - 2) / a.n
        for a, b in ((t, slope_t), (c, slope_c))
    )
    adjusted_t = t.mean_y - slope_t * (t.mean_x - centre)
    adjusted_c = c.mean_y - slope_c * (c.mean_x - centre)
    return _Adjusted(
        difference=adjusted_t - adjusted_c,
        variance=of_t + of_c + (slope_t - slope_c) ** 2 * spread,
        baseline=adjusted_c,
        var_baseline=of_c + slope_c**2 * spread,
        cov_baseline=-of_c + slope_c * (slope_t - slope_c) * spread,
        df=satterthwaite([of_t, of_c], [t.n - 2, c.n - 2]),
    )


def _slope(arm: ArmPair) -> float:
    return arm.cov_xy / arm.var_x if arm.var_x > 0 else 0.0


def _residual_variance(arm: ArmPair, slope: float) -> float:
    return max(0.0, arm.var_y - 2 * slope * arm.cov_xy + slope**2 * arm.var_x)
