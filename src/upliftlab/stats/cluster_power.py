"""How much less do units say that are assigned together?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from upliftlab.errors import DesignError
from upliftlab.stats.estimate import NAN, satterthwaite
from upliftlab.stats.power import detectable, power_of
from upliftlab.stats.studentised import difference_skewness


def design_effect(size: float, icc: float, *, cv: float = 0.0) -> float:
    """Return the factor by which clusters inflate the variance of an arm mean.

    Args:
        size: Units per cluster on average.
        icc: Correlation of two units of one cluster.
        cv: Coefficient of variation of cluster sizes.

    References:
        Eldridge, Ashby and Kerry (2006), *International Journal of Epidemiology* 35(5), for
        unequal sizes; Kish (1965), *Survey Sampling*, section 5.4.

    Examples:
        >>> round(design_effect(20, 0.05), 3), round(design_effect(20, 0.05, cv=0.5), 3)
        (1.95, 2.2)
    """
    return 1 + ((1 + cv**2) * size - 1) * icc


def icc_of(effect: float, size: float, *, cv: float = 0.0) -> float:
    """Return the correlation within clusters that a measured design effect implies.

    Examples:
        >>> round(icc_of(1.95, 20), 4)
        0.05
    """
    room = (1 + cv**2) * size - 1
    return (effect - 1) / room if room > 0 else NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """A comparison of arms to which whole clusters are assigned.

    Attributes:
        sd: Standard deviation of a unit in control.
        sd_t: The same in treatment; that of control unless given.
        size: Units per cluster on average.
        cv: Coefficient of variation of cluster sizes.
        icc: Correlation of two units of one cluster.
        ratio: Clusters in treatment per cluster in control.
        alpha: Size of the two-sided test.
        skewness: Third standardised moment of a cluster's total less its size times the mean,
            in control; 0 where it is not known.
        skewness_t: The same in treatment; that of control unless given.

    Examples:
        >>> plan = ClusterPlan(sd=30.0, size=20, icc=0.05)
        >>> clusters = plan.clusters(5.0)
        >>> math.ceil(clusters), round(plan.power(5.0, math.ceil(clusters)), 2)
        (57, 0.81)
    """

    sd: float
    sd_t: float | None = None
    size: float
    cv: float = 0.0
    icc: float
    ratio: float = 1.0
    alpha: float = 0.05
    skewness: float = 0.0
    skewness_t: float | None = None

    def __post_init__(self) -> None:
        """Refuse a plan that no clusters could follow."""
        least = -1 / (self.size - 1) if self.size > 1 else -1.0
        if not least <= self.icc <= 1:
            message = (
                f"the correlation within clusters is {self.icc:g}; with {self.size:g} units a "
                f"cluster it lies between {least:.3g} and 1."
            )
            raise DesignError(message)
        if not self.size > 0:
            raise DesignError(f"clusters have {self.size:g} units; each needs one or more.")
        if not self.sd > 0 or (self.sd_t is not None and not self.sd_t > 0):
            raise DesignError(
                "the cluster plan has a standard deviation of 0; a metric that does not vary "
                "has no power to plan."
            )

    def std_error(self, clusters: float) -> float:
        """Standard error of the difference with ``clusters`` in control."""
        own = self.sd if self.sd_t is None else self.sd_t
        effect = design_effect(self.size, self.icc, cv=self.cv)
        n = clusters * self.size
        return math.sqrt(effect * (own**2 / self.ratio + self.sd**2) / n)

    def df(self, clusters: float) -> float:
        """Degrees of freedom of the difference: Bell and McCaffrey's, from the sizes' CV."""
        arms = [clusters * self.ratio, clusters]
        each = [max(g / (1 + self.cv**2) - 1, 1.0) for g in arms]
        return satterthwaite([1 / g for g in arms], each)

    def power(self, effect: float, clusters: float) -> float:
        """Power with ``clusters`` in control, by t on the clusters' degrees of freedom."""
        return power_of(
            effect,
            self.std_error(clusters),
            df=self.df(clusters),
            alpha=self.alpha,
            skewness=self.estimate_skewness(clusters),
        )

    def effect(self, clusters: float, power: float = 0.8) -> float:
        """Smallest effect that is declared with the power."""
        return detectable(
            self.std_error(clusters),
            df=self.df(clusters),
            alpha=self.alpha,
            power=power,
            skewness=self.estimate_skewness(clusters),
        )

    def estimate_skewness(self, clusters: float) -> float:
        """Skewness of the difference with ``clusters`` in control."""
        own = self.skewness if self.skewness_t is None else self.skewness_t
        sd = self.sd if self.sd_t is None else self.sd_t
        each = (clusters * self.ratio, clusters)
        return difference_skewness((own, self.skewness), (sd, self.sd), each)

    def clusters(self, effect: float, power: float = 0.8) -> float:
        """Clusters in control that reach the power, not rounded; infinite where none do."""
        from upliftlab.stats.power import solved

        if effect == 0:
            return math.inf
        least = max(2.0, 2.0 / self.ratio)
        return solved(lambda g: self.power(effect, g), power, least)
