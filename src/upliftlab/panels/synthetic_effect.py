"""Which effects on which lines, found with which donors, and how sure?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.stats.joint import Joint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """What is read off B sets of weights, by component.

    Attributes:
        effect: Mean from the start on over treated unit-periods, shape [B, K].
        lead: The same over the anticipation periods, zeros without any, shape [B, K].
        horizon: By periods since the start, shape [B, H, K].
        cohort: By start, NaN where a draw has nobody of a cohort, shape [B, G, K].
    """

    effect: Floats
    lead: Floats
    horizon: Floats
    cohort: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How draws become a covariance.

    Attributes:
        size: Largest outcome of each component: what is below its rounding does not vary.
        factor: What the mean squared deviation of the draws is multiplied by.
        df: Degrees of freedom of the covariance.
    """

    size: tuple[float, ...]
    factor: float
    df: float

    def joint(self, names: tuple[str, ...], value: Floats, draws: Floats) -> Joint:
        """Return values with the covariance of draws [B, ...]; NaN for what draws lack.

        Examples:
            >>> spread = Spread(size=(3.0,), factor=1.0, df=9.0)
            >>> spread.joint(("a",), np.array([5.0]), np.array([[1.0], [3.0]])).cov
            array([[1.]])
        """
        width = len(names)
        flat = draws.reshape(len(draws), width)
        if len(flat) < 2:
            cov = np.full((width, width), np.nan)
        else:
            centred = flat - flat.mean(axis=0)
            least = 1e-13 * np.tile(self.size, width // len(self.size))
            still = np.abs(centred).max(axis=0) <= least
            centred[:, still] = 0.0
            cov = self.factor * (centred.T @ centred) / len(flat)
        return Joint(
            names=names, value=value.reshape(width), cov=cov, df=np.full(width, self.df)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """How well the donors reproduce the treated before the start.

    Attributes:
        rmse: Root mean squared gap of each component, in its unit, shape [K].
        l2: Norm of the gap in what the weights were fitted on.
        scaled_l2: ``l2`` as a share of that of equal weights; NaN where that is 0.
        improvement_pct: 100 (1 - scaled_l2).
    """

    rmse: Floats
    l2: float
    scaled_l2: float
    improvement_pct: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cohort:
    """The treated units of one start against their synthetic control.

    Attributes:
        start: Position of the first treated period.
        treated: Positions of the units in the panel.
        donors: Positions of the donors in the panel, shape [D].
        unit_weights: One per donor, shape [D].
        time_weights: One per period before (start - anticipation).
        gap: Treated minus synthetic control per period and component, the level difference
            taken out where the method does so, shape [T, K].
        effect: Mean of ``gap`` from the start on, shape [K].
        mass: Weight of the treated units.
        fit: Goodness of fit before the start.
    """

    start: int
    treated: Ints
    donors: Ints
    unit_weights: Floats
    time_weights: Floats
    gap: Floats
    effect: Floats
    mass: float
    fit: Fit

    @property
    def effective_donors(self) -> float:
        """Number of equally weighted donors with the same sum of squared weights."""
        return float(1 / (self.unit_weights**2).sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyntheticEffect:
    """Effects of all components with one set of weights, so that lines add up to profit.

    Attributes:
        effect: Mean effect per treated unit and period from the start on, by component.
        anticipated: The same for the anticipation periods; None without any.
        counterfactual: Mean outcome of the treated had they not been, shape [K].
        unit_periods: Treated weight times periods: ``effect`` times this is the total.
        cohorts: One per start.
        observed: Readings of what did happen, one row.
        draws: Readings of the draws behind the covariance, B rows.
        spread: How draws become a covariance.
        periods: Labels, T in all.
        method: How the weights were found, in reader's words.
        fitted_on: What they were fitted on.
        inference: Where the covariance comes from, with number of draws and seed.
        seed: Of the draws.
        note: What a reader must know; empty when nothing.
    """

    effect: Joint
    anticipated: Joint | None
    counterfactual: Floats
    unit_periods: float
    cohorts: tuple[Cohort, ...]
    observed: Readings
    draws: Readings
    spread: Spread
    periods: tuple[str, ...]
    method: str
    fitted_on: str
    inference: str
    seed: int
    note: str = ""

    def total(self) -> Joint:
        """Sum of the effects over treated units and periods, by component."""
        names = self.effect.names
        return self.effect.linear(self.unit_periods * np.eye(len(names)), names)

    def by_horizon(self) -> Joint:
        """Effects by periods since the start, named ``sales@e0``, ``sales@e1`` and so on.

        Each averages the cohorts that were seen that long by their treated weight.
        """
        names = tuple(
            f"{name}@e{e}"
            for e in range(self.observed.horizon.shape[1])
            for name in self.effect.names
        )
        return self.spread.joint(names, self.observed.horizon[0], self.draws.horizon)

    def by_cohort(self) -> Joint:
        """Effects by start, named ``sales@`` and the label of the first treated period.

        A cohort that is missing from a bootstrap draw has no variance.
        """
        names = tuple(
            f"{name}@{self.periods[each.start]}"
            for each in self.cohorts
            for name in self.effect.names
        )
        return self.spread.joint(names, self.observed.cohort[0], self.draws.cohort)

    def percent(self, name: str) -> float:
        """Effect in percent of what the treated would have had; NaN for nothing."""
        i = self.effect.index(name)
        base = float(self.counterfactual[i])
        return 100 * float(self.effect.value[i]) / base if base != 0 else float("nan")
