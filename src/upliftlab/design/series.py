"""How does profit move from period to period in a pilot without treatment?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel_grain import prepare_panel
from upliftlab.errors import DesignError
from upliftlab.rollout.booked import book
from upliftlab.rollout.question import Question
from upliftlab.rollout.run import cluster_labels
from upliftlab.rollout.switching import split_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from upliftlab.experiment import Experiment

    Floats = NDArray[np.float64]

FIXED = 1e4
"""Variance added for what stays with a cluster, in units of its noise: as good as infinite."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """Profit of clusters over periods without treatment, and how it moves.

    Attributes:
        y: Mean profit per unit of each cluster and period, minor units, shape [G, T].
        labels: Names of the clusters, G in all.
        periods: Labels of the periods, T in all.
        size: Units per cluster, shape [G].
        sd: Of a cluster's mean around its own level and the period's, minor units.
        share: Part of that variance that is carried to the next period.
        persistence: What of that part is left after one more period.
        scale: Noise of each cluster against ``sd``, mean square 1, shape [G].
    """

    y: Floats
    labels: tuple[str, ...]
    periods: tuple[str, ...]
    size: Floats
    sd: float
    share: float
    persistence: float
    scale: Floats

    @property
    def mean(self) -> float:
        """Profit per unit and period."""
        return float(np.average(self.y.mean(axis=1), weights=self.size))

    def covariance(self, periods: int, *, level: bool = True) -> Floats:
        """Covariance [T, T] of a cluster's mean over so many periods.

        Args:
            periods: T.
            level: Whether each cluster has a level of its own that nobody knows.
        """
        lag = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
        kept = np.where(lag == 0, 1.0, self.share * self.persistence**lag)
        out: Floats = self.sd**2 * (kept + (FIXED if level else 0.0))
        return out


def series_of(
    y: Floats, *, labels: tuple[str, ...], periods: tuple[str, ...], size: Floats
) -> Series:
    """Fit noise and autocorrelation to profit without treatment.

    Clusters and periods have levels of their own; what is left is noise of one period and a
    part that decays. Half the mean squared change over k periods is
    sd^2 (1 - share persistence^k); levels of clusters cancel in it.

    Args:
        y: Shape [G, T].
        labels: G in all.
        periods: T in all.
        size: Units per cluster, shape [G].

    Raises:
        DesignError: When there are fewer than three clusters and periods, or nothing varies.

    References:
        Cressie (1993), *Statistics for Spatial Data*, section 2.6: fitting a variogram by
        weighted least squares.
    """
    groups, length = y.shape
    if groups < 2 or length < 4:
        message = (
            f"the pilot has {groups} clusters and {length} periods without treatment; to plan "
            "a roll-out it needs 2 clusters and 4 periods or more."
        )
        raise DesignError(message)
    rest = y - y.mean(axis=0)
    lags = np.arange(1, max(2, (2 * length) // 3))
    # Period levels were estimated from G clusters: their squares lose one in G.
    half = np.array([np.mean((rest[:, k:] - rest[:, :-k]) ** 2) / 2 for k in lags])
    half *= groups / (groups - 1)
    if not half.max() > 0:
        message = (
            "profit does not vary in the pilot's periods without treatment; it has no power to "
            "plan."
        )
        raise DesignError(message)
    weight = length - lags
    best = (math.inf, float(np.sqrt(half.mean())), 0.0, 0.0)
    for rho in np.linspace(0.0, 0.98, 50):
        fit = _fitted(half, np.power(rho, lags), weight)
        if fit[0] < best[0]:
            best = (*fit, float(rho))
    found = Series(
        y=y, labels=labels, periods=periods, size=size, sd=best[1], share=best[2],
        persistence=best[3], scale=np.ones(groups),
    )  # fmt: skip
    return replace(found, scale=_scales(found))


def pilot_series(
    experiment: Experiment, pilot: Experiment, tables: Mapping[str, object]
) -> Series:
    """Read profit per cluster and period from a panel, where nobody is treated yet."""
    absorbing = pilot.design != "switchback"
    panel = prepare_panel(pilot, tables, absorbing=absorbing)
    if not absorbing:
        panel, is_on = split_state(panel)
    costs = experiment.costs if experiment.costs is not None else pilot.costs
    asked = Question.of(pilot.replace(costs=costs, power=None), panel)
    booked = book(asked.panel, asked.measures[:1])
    y, weight = booked.y[:, :, 0], booked.weight
    if absorbing:
        until = min(int(booked.start.min()), y.shape[1])
        y, periods = y[:, :until], booked.periods[:until]
    else:
        # A shared switch: what it adds on average is taken out, not the days.
        y = _without_switch(y, is_on)
        periods = booked.periods
    if absorbing and pilot.design != "geo":
        return _by_cluster(y, weight, booked.cluster, cluster_labels(booked), periods)
    labels = tuple(str(unit) for unit in booked.units)
    return series_of(y, labels=labels, periods=periods, size=np.ones(len(y)))


def _scales(found: Series) -> Floats:
    """Noise of each cluster: its squared changes against all clusters', drawn towards 1.

    What squared changes of equally noisy clusters would differ by is taken out by moments.
    """
    length = found.y.shape[1]
    rest = found.y - found.y.mean(axis=0)
    own = (np.diff(rest, axis=1) ** 2).mean(axis=1)
    own /= own.mean()
    step = np.diff(np.eye(length), axis=0)
    cov = step @ found.covariance(length, level=False) @ step.T
    chance = 2 * float(((cov / np.trace(cov)) ** 2).sum())
    seen = float(own.var())
    true = max(0.0, (seen - chance) / (1 + chance))
    kept = math.sqrt(true / seen) if seen > 0 else 0.0
    out: Floats = np.sqrt(1 + kept * (own - 1))
    return out


def _by_cluster(
    y: Floats,
    weight: Floats,
    cluster: NDArray[np.int64],
    labels: tuple[str, ...],
    periods: tuple[str, ...],
) -> Series:
    groups = int(cluster.max()) + 1
    size = np.bincount(cluster, weight, groups).astype(np.float64)
    means = np.stack(
        [np.bincount(cluster, weight * y[:, t], groups) / size for t in range(y.shape[1])],
        axis=1,
    )
    return series_of(means, labels=labels, periods=periods, size=size)


def _without_switch(y: Floats, is_on: NDArray[np.bool_]) -> Floats:
    out = y.copy()
    for g, on in enumerate(is_on):
        if on.any() and not on.all():
            out[g, on] += y[g, ~on].mean() - y[g, on].mean()
    return out


def _fitted(half: Floats, decay: Floats, weight: Floats) -> tuple[float, float, float]:
    """Weighted least squares of half = s - a decay with 0 <= a <= s: (misfit, sd, share)."""
    w = weight / weight.sum()
    mean_h, mean_d = float(w @ half), float(w @ decay)
    spread = float(w @ (decay - mean_d) ** 2)
    slope = -float(w @ ((decay - mean_d) * (half - mean_h))) / spread if spread > 1e-12 else 0.0
    slope = max(slope, 0.0)
    level = mean_h + slope * mean_d
    if slope > 0.999 * level:
        # The line through s = a: all of the variance is carried on.
        bent = 1 - decay
        level = float(w @ (half * bent)) / max(float(w @ bent**2), 1e-12)
        slope = 0.999 * level
    misfit = float(w @ (half - level + slope * decay) ** 2)
    return misfit, math.sqrt(max(level, 1e-12)), slope / level if level > 0 else 0.0


def shortened(found: Series, periods: int) -> Series:
    """Keep the first periods, with the noise as fitted to all."""
    return replace(found, y=found.y[:, :periods], periods=found.periods[:periods])
