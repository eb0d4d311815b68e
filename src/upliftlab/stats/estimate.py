"""What is one number, and how sure are we of it?"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

Shape = Literal["interval", "outside", "everything", "none"]

NAN = float("nan")
DOES_NOT_VARY = "it does not vary"
UNBOUNDED_RELATIVE = "relative interval is unbounded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One number with its uncertainty.

    Attributes:
        name: What is estimated.
        estimate: The number; NaN where it does not exist, and then ``note`` says why.
        std_error: Standard error, in the unit of ``estimate``.
        ci_low: Lower end of the interval; for other shapes see ``shape``.
        ci_high: Upper end of the interval.
        p_value: Two-sided, against 0 unless ``note`` names another hypothesis.
        df: Degrees of freedom of the standard error.
        level: Confidence level of the set.
        rel_estimate: The same number as a share of control.
        rel_ci_low: Lower end of that share.
        rel_ci_high: Upper end of that share.
        shape: ``interval`` is [ci_low, ci_high]; ``outside`` is everything up to ci_low and
            everything from ci_high on; ``everything`` is the whole line; ``none`` is no set.
        note: What a reader must know; empty when nothing.
    """

    name: str
    estimate: float
    std_error: float = NAN
    ci_low: float = NAN
    ci_high: float = NAN
    p_value: float = NAN
    df: float = math.inf
    level: float = 0.95
    rel_estimate: float = NAN
    rel_ci_low: float = NAN
    rel_ci_high: float = NAN
    shape: Shape = "interval"
    note: str = ""

    @property
    def is_above_zero(self) -> bool:
        """The whole set lies above 0."""
        return self.shape == "interval" and self.ci_low > 0

    @property
    def is_below_zero(self) -> bool:
        """The whole set lies below 0."""
        return self.shape == "interval" and self.ci_high < 0

    def excludes(self, value: float) -> bool:
        """Whether the set leaves the value out; no set leaves out nothing."""
        if self.shape == "interval":
            return value < self.ci_low or value > self.ci_high
        if self.shape == "outside":
            return self.ci_low < value < self.ci_high
        return False

    def scaled(self, factor: float, name: str | None = None) -> Estimate:
        """Return the estimate in another unit or with its sign turned.

        Args:
            factor: What estimate, standard error and set are multiplied by; shares of control
                keep their size and take the sign of the factor.
            name: A new name, where the number has become another.

        Examples:
            >>> cost = interval("cost", 2.0, 1.0).scaled(-100)
            >>> f"{cost.estimate:.0f} [{cost.ci_low:.0f}, {cost.ci_high:.0f}]"
            '-200 [-396, -4]'
        """
        if factor == 0:
            return undefined(name or self.name, "multiplied by 0")
        low, high = _ends(self.ci_low * factor, self.ci_high * factor, flip=factor < 0)
        sign = math.copysign(1.0, factor)
        rel_low, rel_high = _ends(
            self.rel_ci_low * sign, self.rel_ci_high * sign, flip=factor < 0
        )
        return replace(
            self,
            name=self.name if name is None else name,
            estimate=self.estimate * factor,
            std_error=self.std_error * abs(factor),
            ci_low=low,
            ci_high=high,
            rel_estimate=self.rel_estimate * sign,
            rel_ci_low=rel_low,
            rel_ci_high=rel_high,
        )

    def to_dict(self) -> dict[str, str | float | None]:
        """Plain values for JSON: NaN and infinity become None."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


def interval(
    name: str,
    estimate: float,
    variance: float,
    *,
    df: float = math.inf,
    level: float = 0.95,
    rel_to: Estimate | None = None,
    note: str = "",
) -> Estimate:
    """Return the estimate with its two-sided t interval and p-value against 0.

    Args:
        name: What is estimated.
        estimate: The number.
        variance: Variance of the estimate, not of a unit.
        df: Degrees of freedom of the variance; infinite means normal.
        level: Confidence level.
        rel_to: The same effect as a share of control, from ``ratio.relative_difference``; fills
            the ``rel_`` fields.
        note: What a reader must know.

    Returns:
        The estimate; if it does not vary its number stays, but standard error, interval and
        p-value are NaN with a note.

    References:
        Student (1908), *Biometrika* 6(1).

    Examples:
        >>> effect = interval("profit", 10.0, 4.0, df=60)
        >>> f"{effect.ci_low:.2f} to {effect.ci_high:.2f}, p {effect.p_value:.1e}"
        '6.00 to 14.00, p 5.3e-06'
    """
    if math.isnan(estimate) or math.isnan(variance) or not df > 0:
        missing = undefined(name, note or "not estimable", level=level)
        plain = replace(missing, estimate=estimate)
    elif variance <= 0:
        reason = _joined([note, DOES_NOT_VARY])
        plain = replace(undefined(name, reason, level=level), estimate=estimate)
    else:
        std_error = math.sqrt(variance)
        reach = std_error * critical_value(df=df, level=level)
        plain = Estimate(
            name=name,
            estimate=estimate,
            std_error=std_error,
            ci_low=estimate - reach,
            ci_high=estimate + reach,
            p_value=two_sided_p(estimate / std_error, df=df),
            df=df,
            level=level,
            note=note,
        )
    return plain if rel_to is None else _with_relative(plain, rel_to)


def undefined(name: str, note: str, *, level: float = 0.95) -> Estimate:
    """Return a number that does not exist, and why.

    Examples:
        >>> undefined("iROI", "no spend").note
        'no spend'
    """
    return Estimate(name=name, estimate=NAN, level=level, shape="none", note=note)


def critical_value(*, df: float = math.inf, level: float = 0.95) -> float:
    """Return the two-sided critical value of t.

    Examples:
        >>> round(critical_value(), 4), round(critical_value(df=10), 4)
        (1.96, 2.2281)
    """
    tail = (1 - level) / 2
    return float(-special.stdtrit(df, tail) if math.isfinite(df) else -special.ndtri(tail))


def two_sided_p(statistic: float, *, df: float = math.inf) -> float:
    """Return the two-sided p-value of a t statistic, exact far into the tail.

    Examples:
        >>> f"{two_sided_p(30.0):.1e}"
        '9.8e-198'
    """
    return 2 * upper_tail(abs(statistic), df=df)


def upper_tail(statistic: float, *, df: float = math.inf) -> float:
    """Return P(T > statistic), exact far into the tail; faster than ``scipy.stats.t.sf``.

    Examples:
        >>> upper_tail(0.0)
        0.5
    """
    # By symmetry the lower tail at -t: never 1 - cdf.
    return float(
        special.stdtr(df, -statistic) if math.isfinite(df) else special.ndtr(-statistic)
    )


def satterthwaite(variances: Sequence[float], dfs: Sequence[float]) -> float:
    """Return the degrees of freedom of a sum of independent estimated variances.

    With the variances of two arm means it is Welch's; with 1/N_a and Bell-McCaffrey df per arm
    it is the Bell-McCaffrey df of the contrast. Computed on shares, so tiny variances do not
    underflow.

    Args:
        variances: One per arm.
        dfs: Their degrees of freedom.

    Returns:
        The degrees of freedom; infinite where no variance is estimated.

    References:
        Satterthwaite (1946), *Biometrics Bulletin* 2(6), equation 17.

    Examples:
        >>> satterthwaite([1.0, 1.0], [10, 10])
        20.0
    """
    total = math.fsum(variances)
    if math.isnan(total) or any(math.isnan(df) for df in dfs):
        return NAN
    if total <= 0:
        return math.inf
    loss = math.fsum((v / total) ** 2 / df for v, df in zip(variances, dfs, strict=True))
    return 1 / loss if loss > 0 else math.inf


def linear(
    name: str,
    weights: Sequence[float],
    means: Sequence[float],
    covariance: Sequence[Sequence[float]],
    *,
    df: float = math.inf,
    level: float = 0.95,
) -> Estimate:
    """Return a weighted sum of means that may share a control.

    Args:
        name: What the sum means.
        weights: Shape [m].
        means: Shape [m].
        covariance: Of the means, shape [m, m].
        df: Degrees of freedom of the sum's variance.
        level: Confidence level.

    Returns:
        The estimate of ``weights . means``.

    Examples:
        >>> total = linear("total", [1, 1, -2], [3, 4, 1], np.eye(3).tolist())
        >>> total.estimate, round(total.std_error, 4)
        (5.0, 2.4495)
    """
    w, cov = np.asarray(weights, dtype=float), np.asarray(covariance, dtype=float)
    value = float(w @ np.asarray(means, dtype=float))
    return interval(name, value, float(w @ cov @ w), df=df, level=level)


def p_positive(estimate: Estimate) -> float:
    """Return P(> 0) under a flat prior, with the t distribution of the estimate.

    For estimates whose interval is estimate +- q x standard error. Not evidence for stopping
    early: it ignores how often one has looked.

    Examples:
        >>> round(p_positive(interval("profit", 1.0, 1.0)), 4)
        0.8413
    """
    if not estimate.std_error > 0:
        return NAN
    return upper_tail(-estimate.estimate / estimate.std_error, df=estimate.df)


def expected_loss(estimate: Estimate) -> float:
    """Return E[max(-X, 0)]: what we lose on average if we ship and X is below 0.

    X has the normal (or, with finite df, t) distribution of the estimate under a flat prior.

    Returns:
        The loss in the unit of the estimate, at least 0; NaN with one degree of freedom or
        fewer, where the mean does not exist.

    References:
        Raiffa and Schlaifer (1961), *Applied Statistical Decision Theory*: the unit linear-loss
        integrals of the normal and of Student's distribution.

    Examples:
        >>> round(expected_loss(interval("effect", 0.1, 0.05**2)), 9)
        0.000424535
    """
    if not estimate.std_error > 0 or not estimate.df > 1:
        return NAN
    from scipy import stats

    t = estimate.estimate / estimate.std_error
    density = float(stats.t.pdf(t, estimate.df))
    if math.isfinite(estimate.df):
        density *= (estimate.df + t * t) / (estimate.df - 1)
    return max(0.0, estimate.std_error * (density - t * upper_tail(t, df=estimate.df)))


def central(estimate: Estimate, level: float = 0.5) -> tuple[float, float]:
    """Return the central range at another level: by default the one that holds half.

    For estimates whose interval is estimate +- q x standard error.

    Examples:
        >>> low, high = central(interval("profit", 10.0, 4.0))
        >>> f"{low:.2f} to {high:.2f}"
        '8.65 to 11.35'
    """
    if not estimate.std_error > 0:
        return NAN, NAN
    reach = estimate.std_error * critical_value(df=estimate.df, level=level)
    return estimate.estimate - reach, estimate.estimate + reach


def _ends(low: float, high: float, *, flip: bool) -> tuple[float, float]:
    return (high, low) if flip else (low, high)


def _with_relative(estimate: Estimate, relative: Estimate) -> Estimate:
    bounded = relative.shape == "interval"
    unbounded = relative.shape in {"outside", "everything"}
    return replace(
        estimate,
        rel_estimate=relative.estimate,
        rel_ci_low=relative.ci_low if bounded else NAN,
        rel_ci_high=relative.ci_high if bounded else NAN,
        note=_joined([estimate.note, relative.note, UNBOUNDED_RELATIVE if unbounded else ""]),
    )


def _joined(notes: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(note for note in notes if note))
