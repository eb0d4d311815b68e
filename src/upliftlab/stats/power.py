"""How likely is a test to see an effect, how small an effect, and with how many units?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from scipy import optimize, special, stats

from upliftlab.errors import DesignError
from upliftlab.stats.estimate import NAN
from upliftlab.stats.studentised import difference_skewness, with_skewness

if TYPE_CHECKING:
    from collections.abc import Callable

Law = Literal["normal", "t", "welch"]
Null = Literal["pooled", "separate", "baseline"]

MOST_UNITS = 1e15
"""Beyond this many units per arm a sample size counts as infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoMeans:
    """A comparison of two arm means before any data: how its units vary, how it will be judged.

    Attributes:
        sd: Standard deviation of a unit in control, after any adjustment.
        sd_t: The same in treatment; that of control unless given.
        ratio: Units in treatment per unit in control.
        alpha: Size of the test, of both sides together where it has two.
        sides: 2, or 1 for a test against harm only or gain only.
        law: "normal"; "t" with n_T + n_C - 2 degrees of freedom, as classical tables;
            "welch" with Welch's.
        inflation: Factor on the variance of the difference: design effect of clusters.
        skewness: Third standardised moment of a unit in control, after any adjustment; 0 where
            it is not known. Unequal arms of a skewed amount see gains and losses unequally.
        skewness_t: The same in treatment; that of control unless given.

    Examples:
        >>> plan = TwoMeans(sd=30.0)
        >>> round(plan.size(0.5)), round(plan.effect(50_000), 4)
        (56512, 0.5316)
        >>> few = TwoMeans(sd=30.0, ratio=1 / 9, skewness=4.0)
        >>> round(few.power(2.0, 18_000), 3), round(few.power(-2.0, 18_000), 3)
        (0.824, 0.791)
    """

    sd: float
    sd_t: float | None = None
    ratio: float = 1.0
    alpha: float = 0.05
    sides: int = 2
    law: Law = "normal"
    inflation: float = 1.0
    skewness: float = 0.0
    skewness_t: float | None = None

    def __post_init__(self) -> None:
        """Refuse a comparison that could never be one."""
        _refuse(self)

    def std_error(self, n: float) -> float:
        """Standard error of the difference with ``n`` units in control."""
        return math.sqrt(self.inflation * (self._own**2 / self.ratio + self.sd**2) / n)

    def power(self, effect: float, n: float) -> float:
        """Probability that a true effect is declared, with ``n`` units in control.

        With two sides both tails count, as statsmodels and R's pwr do; with one side a
        positive effect is in the direction of the test.
        """
        return power_of(
            effect,
            self.std_error(n),
            df=self._df(n),
            alpha=self.alpha,
            sides=self.sides,
            skewness=self.estimate_skewness(n),
        )

    def size(self, effect: float, power: float = 0.8) -> float:
        """Units in control that reach the power, not rounded; infinite where none do.

        Raises:
            DesignError: When the power is no probability between alpha and 1.
        """
        _refuse_power(power, self.alpha)
        if effect == 0 or (self.sides == 1 and effect < 0):
            return math.inf
        least = {"normal": 1e-9, "t": 3 / (1 + self.ratio), "welch": 2 + 1 / self.ratio}
        return solved(lambda n: self.power(effect, n), power, least[self.law])

    def effect(self, n: float, power: float = 0.8) -> float:
        """Smallest effect above 0 that is declared with the power: the MDE.

        Raises:
            DesignError: When the power is no probability between alpha and 1.
        """
        _refuse_power(power, self.alpha)
        return detectable(
            self.std_error(n),
            df=self._df(n),
            alpha=self.alpha,
            sides=self.sides,
            power=power,
            skewness=self.estimate_skewness(n),
        )

    def estimate_skewness(self, n: float) -> float:
        """Skewness of the difference with ``n`` units in control."""
        own = self.skewness if self.skewness_t is None else self.skewness_t
        if not (own or self.skewness):
            return 0.0
        units = (n * self.ratio, n)
        return difference_skewness((own, self.skewness), (self._own, self.sd), units)

    def mirrored(self) -> TwoMeans:
        """Return the same comparison seen from below: its gains are this one's losses."""
        own = None if self.skewness_t is None else -self.skewness_t
        return replace(self, skewness=-self.skewness, skewness_t=own)

    @property
    def _own(self) -> float:
        return self.sd if self.sd_t is None else self.sd_t

    def _df(self, n: float) -> float:
        if self.law == "normal":
            return math.inf
        if self.law == "t":
            return n * (1 + self.ratio) - 2
        t, c = self._own**2 / self.ratio, self.sd**2
        return (t + c) ** 2 / (t**2 / (n * self.ratio - 1) + c**2 / (n - 1))


def power_of(
    effect: float,
    std_error: float,
    *,
    df: float = math.inf,
    alpha: float = 0.05,
    sides: int = 2,
    skewness: float = 0.0,
) -> float:
    """Return the power of a t or z test of one number whose standard error is known before.

    Args:
        effect: True value, in the direction of the test where it has one side.
        std_error: Of the estimate.
        df: Degrees of freedom of the standard error.
        alpha: Size, of both sides together where there are two.
        sides: 2 or 1.
        skewness: Of the estimate; see ``studentised.skewed_tail``.

    References:
        Cohen (1988), *Statistical Power Analysis*, section 12.3: the noncentral t.

    Examples:
        >>> round(power_of(2.8016, 1.0), 3)
        0.8
    """
    if not std_error > 0:
        return NAN
    tail = alpha / sides
    shift = effect / std_error
    critical = -float(special.stdtrit(df, tail) if math.isfinite(df) else special.ndtri(tail))

    def called(shift: float, skewness: float) -> float:
        plain = _beyond(critical, df, shift)
        return with_skewness(plain, critical, shift, skewness)

    return called(shift, skewness) + (called(-shift, -skewness) if sides == 2 else 0.0)


def detectable(
    std_error: float,
    *,
    df: float = math.inf,
    alpha: float = 0.05,
    sides: int = 2,
    power: float = 0.8,
    skewness: float = 0.0,
) -> float:
    """Return the smallest effect above 0 that a test of this standard error shows.

    Examples:
        >>> round(detectable(1.0), 4), round(detectable(1.0, df=10), 3)
        (2.8016, 3.11)
    """
    if not std_error > 0:
        return NAN
    rough = 2 * (-float(special.stdtrit(min(df, 1e9), alpha / sides)) + 10)

    def gap(shift: float) -> float:
        seen = power_of(shift, 1.0, df=df, alpha=alpha, sides=sides, skewness=skewness)
        return seen - power

    return std_error * float(optimize.brentq(gap, 0.0, rough, xtol=1e-12))


def noninferiority(
    plan: TwoMeans, *, margin: float, baseline: float | None = None, truth: float = 0.0
) -> tuple[TwoMeans, float]:
    """Return the one-sided comparison against an accepted harm, and the distance to be shown.

    A relative margin is tested as mu_T - (1 - margin) mu_C, so the control mean counts as
    estimated and weighs less than its share.

    Args:
        plan: The units; its two-sided alpha is halved, as the interval of the analysis does.
        margin: Accepted harm, above 0: in the unit of the metric, or a share of ``baseline``.
        baseline: Mean of control where the margin is a share of it.
        truth: The effect that is true, up being good.

    References:
        Schuirmann (1987), *Journal of Pharmacokinetics and Biopharmaceutics* 15(6);
        Hauschke et al. (1999), *Statistics in Medicine* 18(1), for relative margins.

    Examples:
        >>> plan, distance = noninferiority(TwoMeans(sd=30.0), margin=0.5)
        >>> round(plan.size(distance)), plan.alpha
        (56512, 0.025)
    """
    one = replace(plan, alpha=plan.alpha / plan.sides, sides=1)
    if baseline is None:
        return one, truth + margin
    own = plan.sd if plan.sd_t is None else plan.sd_t
    return replace(one, sd=plan.sd * (1 - margin), sd_t=own), truth + margin * abs(baseline)


def proportions_power(
    control: float,
    treatment: float,
    n: float,
    *,
    ratio: float = 1.0,
    alpha: float = 0.05,
    sides: int = 2,
    null: Null = "separate",
) -> float:
    """Return the power to tell two proportions apart, by the normal law.

    Args:
        control: Its proportion.
        treatment: The proportion to be seen.
        n: Units in control.
        ratio: Units in treatment per unit in control.
        alpha: Size.
        sides: 2 or 1.
        null: Variance under no effect: "separate" (each arm's own, which the intervals of the
            analysis use), "pooled" (the textbook's), "baseline" (control's in both arms).

    Raises:
        DesignError: When a proportion does not lie between 0 and 1.

    References:
        Fleiss, Levin and Paik (2003), *Statistical Methods for Rates and Proportions*,
        section 4.3, for "pooled".

    Examples:
        >>> round(proportions_power(0.10, 0.12, 3841, null="pooled"), 4)
        0.8
    """
    for name, p in (("control", control), ("treatment", treatment)):
        if not 0 < p < 1:
            raise DesignError(f"the proportion of {name} is {p:g}; it lies between 0 and 1.")
    own = treatment * (1 - treatment) / ratio + control * (1 - control)
    middle = (control + ratio * treatment) / (1 + ratio)
    without = {
        "separate": own,
        "pooled": middle * (1 - middle) * (1 + 1 / ratio),
        "baseline": control * (1 - control) * (1 + 1 / ratio),
    }[null]
    reach = -float(special.ndtri(alpha / sides)) * math.sqrt(without / own)
    shift = abs(treatment - control) / math.sqrt(own / n)
    found = float(special.ndtr(shift - reach))
    return found + (float(special.ndtr(-shift - reach)) if sides == 2 else 0.0)


def proportions_size(
    control: float,
    treatment: float,
    *,
    ratio: float = 1.0,
    alpha: float = 0.05,
    sides: int = 2,
    power: float = 0.8,
    null: Null = "separate",
) -> float:
    """Return the units in control at which ``proportions_power`` reaches the power.

    Examples:
        >>> round(proportions_size(0.05, 0.055, null="pooled"), 1)
        31233.4
    """
    _refuse_power(power, alpha)
    if control == treatment:
        return math.inf

    def seen(n: float) -> float:
        return proportions_power(
            control, treatment, n, ratio=ratio, alpha=alpha, sides=sides, null=null
        )

    return solved(seen, power, 1e-9)


def relative_power(
    share: float, *, mean: float, sd: float, n: float, ratio: float = 1.0, alpha: float = 0.05
) -> float:
    """Return the power to see a change of a share of control, control counted as estimated.

    Args:
        share: Change as a share of control: 0.05 is 5 % more.
        mean: Of control.
        sd: Of a unit, in both arms.
        n: Units in control.
        ratio: Units in treatment per unit in control.
        alpha: Size of the two-sided test.

    References:
        Deng, Knoblich and Lu (2018), *KDD '18*, equation 4: the delta method.

    Examples:
        >>> round(relative_power(0.05, mean=10.0, sd=3909.9997749994377**0.5, n=4e5 / 3), 5)
        0.52144
    """
    variance = sd**2 / (n * mean**2) * (1 / ratio + (1 + share) ** 2)
    return power_of(share, math.sqrt(variance), alpha=alpha)


def relative_effect(
    *,
    mean: float,
    sd: float,
    n: float,
    ratio: float = 1.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Return the smallest rise, as a share of control, that ``relative_power`` shows.

    Returns:
        The share; infinite where control itself is too uncertain for any.

    Examples:
        >>> sd = 3909.9997749994377**0.5
        >>> round(relative_effect(mean=10.0, sd=sd, n=4e5 / 3), 7)
        0.0702724
    """

    def gap(share: float) -> float:
        seen = relative_power(share, mean=mean, sd=sd, n=n, ratio=ratio, alpha=alpha)
        return seen - power

    most = 1e6
    return float(optimize.brentq(gap, 0.0, most)) if gap(most) > 0 else math.inf


def size_interval(
    n: float, *, kurtosis: float, pilot: float, level: float = 0.95
) -> tuple[float, float]:
    """Return the range of a sample size whose variance was measured in a pilot.

    The size is proportional to the variance; the logarithm of a measured variance has standard
    error sqrt((kurtosis - 1) / pilot), which heavy tails make large.

    Args:
        n: Sample size at the measured variance.
        kurtosis: Fourth standardised moment of a unit, 3 for a normal one.
        pilot: Units whose variance was measured.
        level: Confidence level.

    References:
        Cramer (1946), *Mathematical Methods of Statistics*, section 27.4: the variance of a
        sample variance.

    Examples:
        >>> [round(x) for x in size_interval(140_000, kurtosis=30.0, pilot=20_000)]
        [129932, 150848]
    """
    if not pilot > 1 or not kurtosis >= 1:
        return NAN, NAN
    reach = -special.ndtri((1 - level) / 2) * math.sqrt((kurtosis - 1) / pilot)
    return n * math.exp(-reach), n * math.exp(reach)


def _beyond(critical: float, df: float, shift: float) -> float:
    """P(T > critical) of z or the noncentral t; near normal where that one has no digits."""
    if not math.isfinite(df):
        return float(special.ndtr(shift - critical))
    exact = float(stats.nct.sf(critical, df, shift))
    if math.isfinite(exact) and df < 1e7:
        return exact
    spread = math.sqrt(1 + critical**2 / (2 * df))
    return float(special.ndtr((shift - critical * (1 - 1 / (4 * df))) / spread))


def solved(power_at: Callable[[float], float], power: float, least: float) -> float:
    """Return the least n at or above ``least`` whose power is reached; infinite where none is.

    Examples:
        >>> round(solved(lambda n: 1 - 1 / n, 0.8, 2.0), 6)
        5.0
    """
    high = max(4.0, 2 * least)
    while power_at(high) < power:
        high *= 4
        if high > MOST_UNITS:
            return math.inf
    if power_at(least) >= power:
        return least
    return float(optimize.brentq(lambda n: power_at(n) - power, least, high, rtol=1e-13))


def _refuse(plan: TwoMeans) -> None:
    for name, value in (("sd", plan.sd), ("sd_t", plan.sd_t)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            message = (
                f"the comparison has {name} {value:g}; a metric that does not vary has no "
                "power to plan. Check the pilot, or state a standard deviation above 0."
            )
            raise DesignError(message)
    if not (plan.ratio > 0 and math.isfinite(plan.ratio)):
        message = (
            f"the comparison has {plan.ratio:g} units in treatment per unit in control; "
            "every arm needs a share above 0."
        )
        raise DesignError(message)
    if not 0 < plan.alpha < 1:
        raise DesignError(f"alpha is {plan.alpha:g}; write a number such as 0.05.")


def _refuse_power(power: float, alpha: float) -> None:
    if not alpha < power < 1:
        message = f"power is {power:g}; write a number above alpha ({alpha:g}) and below 1."
        raise DesignError(message)
