"""How many different units does a test reach after so many days, when many come back?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import optimize

from upliftlab.errors import DesignError

WEEK = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Who comes by in a week, and how many of them have been seen before.

    Attributes:
        weekly: Different units that come by in one week.
        returning: Share of the second week's units that the first week has seen.
        pool: All units that could ever come; infinite where nobody knows.
        weekdays: Share of a week's units first seen on each day, from the run's first day on;
            seven numbers, equal unless given.

    Examples:
        >>> steady = Arrivals(weekly=70_000)
        >>> steady.seen(14)
        140000.0
        >>> loyal = Arrivals(weekly=70_000, returning=0.5, pool=400_000)
        >>> round(loyal.seen(14)), round(loyal.seen(28)), round(loyal.days_until(200_000))
        (105000, 143796, 79)
    """

    weekly: float
    returning: float = 0.0
    pool: float = math.inf
    weekdays: tuple[float, ...] = (1 / WEEK,) * WEEK

    def __post_init__(self) -> None:
        """Refuse a week in which nobody comes."""
        if not self.weekly > 0:
            raise DesignError(f"{self.weekly:g} units come by in a week; write how many.")
        if not 0 <= self.returning < 1:
            raise DesignError(
                f"{self.returning:.0%} of the second week were seen in the first; the share "
                "must be below 100 %."
            )
        if self.pool < self.weekly:
            raise DesignError(
                f"{self.weekly:,.0f} units come by in a week and the pool holds "
                f"{self.pool:,.0f}; it cannot be smaller."
            )
        if len(self.weekdays) != WEEK or not math.isclose(sum(self.weekdays), 1, abs_tol=1e-6):
            raise DesignError("weekdays needs seven shares that add up to 1.")

    def seen(self, days: float) -> float:
        """Return the different units seen within so many days of the start.

        References:
            Good and Toulmin (1956), *Biometrika* 43(1-2), and Fisher, Corbet and Williams
            (1943), *Journal of Animal Ecology* 12(1): visits as gamma-mixed Poisson; without a
            pool, growth by the power law that the first two weeks imply.
        """
        whole, rest = divmod(days, WEEK)
        part = _up_to(self.weekdays, rest)
        low, high = self._after(whole), self._after(whole + 1)
        return low + (high - low) * part

    def days_until(self, units: float, *, most: float = 3650) -> float:
        """Return the days until so many different units were seen; infinite beyond ``most``."""
        if units <= 0:
            return 0.0
        if self.seen(most) < units:
            return math.inf
        return float(optimize.brentq(lambda d: self.seen(d) - units, 0.0, most, xtol=1e-6))

    def _after(self, weeks: float) -> float:
        if weeks <= 0:
            return 0.0
        if self.returning == 0:
            return min(self.weekly * weeks, self.pool)
        if math.isinf(self.pool):
            return float(self.weekly * weeks ** math.log2(2 - self.returning))
        shape, scale = _gamma(self.weekly / self.pool, self.returning)
        return self.pool * -math.expm1(-shape * math.log1p(weeks / scale))


def _up_to(weekdays: tuple[float, ...], days: float) -> float:
    whole = int(days)
    last = weekdays[whole] * (days - whole) if whole < WEEK else 0.0
    return sum(weekdays[:whole]) + last


def _gamma(first: float, returning: float) -> tuple[float, float]:
    """Shape and scale with P(seen in a week) and the overlap of two weeks as given.

    Returns:
        (shape, scale); where weeks overlap less than chance alone makes them, the limit of
        equal visitors.
    """
    second = min(first * (2 - returning), 1 - 1e-12)
    chance = 1 - (1 - first) ** 2
    if second >= chance - 1e-12:
        scale = 1e9
        return -math.log1p(-first) * scale, scale

    def gap(log_scale: float) -> float:
        scale = math.exp(log_scale)
        shape = -math.log1p(-first) / math.log1p(1 / scale)
        return -math.expm1(-shape * math.log1p(2 / scale)) - second

    low, high = math.log(1e-12), math.log(1e9)
    if gap(low) * gap(high) > 0:
        scale = math.exp(low)
    else:
        scale = math.exp(float(optimize.brentq(gap, low, high)))
    return -math.log1p(-first) / math.log1p(1 / scale), scale
