"""How large an effect does a roll-out in waves show when clusters are unequally noisy?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from upliftlab.stats.estimate import satterthwaite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.design.series import Series

    Floats = NDArray[np.float64]

DRAWS, FEWEST = 20_000, 4_000
"""Roll-outs drawn; fewer where clusters are many."""

MOST_NUMBERS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WaveNoise:
    """Errors and reported standard errors of many roll-outs without an effect.

    A group-time average is a linear map of cohort means, so every cluster adds one number of
    its own; its reported variance is that of these numbers within cohorts.

    Attributes:
        std_error: True standard error.
        df: Satterthwaite's degrees of freedom were clusters equally noisy.
        error: Estimate less truth of each draw, shape [R].
        reported: Its reported standard error, shape [R].
        draw_df: Its degrees of freedom, shape [R].
        is_measured: Whether clusters' own histories were drawn, rather than a model of them.
    """

    std_error: float
    df: float
    error: Floats
    reported: Floats
    draw_df: Floats
    is_measured: bool

    def power(self, effect: float, *, alpha: float = 0.05) -> float:
        """Share of roll-outs whose two-sided test calls a true effect, on its own side."""
        if not math.isfinite(effect):
            return math.nan
        found = (self.error + abs(effect)) / self.reported > stats.t.isf(
            alpha / 2, self.draw_df
        )
        return float(found.mean())

    def mde(self, power: float = 0.8, *, alpha: float = 0.05) -> float:
        """Smallest effect that is called with the power."""
        critical = stats.t.isf(alpha / 2, self.draw_df)
        return float(np.quantile(critical * self.reported - self.error, power))


def wave_noise(
    slope: Floats, counts: Sequence[int], series: Series, *, seed: int = 0
) -> WaveNoise:
    """Draw roll-outs from the pilot's clusters.

    Where the pilot is as long as the roll-out, whole histories are drawn, whatever their
    variance does over time. Where it is shorter, its fitted covariance is carried on, and each
    cluster keeps the noise of its own that the pilot shows.

    Args:
        slope: Weight of each cohort's mean in each period, shape [S, T].
        counts: Clusters per cohort, shape [S].
        series: Noise of the pilot.
        seed: Of the draws.
    """
    periods = slope.shape[1]
    is_measured = series.y.shape[1] >= periods
    size = series.size / series.size.mean()
    if is_measured:
        y = series.y[:, :periods]
        numbers = [size * ((y - y.mean(axis=0)) @ each) for each in slope]
        groups = len(size)
        numbers = [(x - x.mean()) * math.sqrt(groups / (groups - 1)) for x in numbers]
    else:
        v = series.covariance(periods, level=False)
        numbers = [size * series.scale * math.sqrt(each @ v @ each) for each in slope]
    rng = np.random.default_rng(seed)
    draws = int(np.clip(MOST_NUMBERS // sum(counts), FEWEST, DRAWS))
    error, part = np.zeros(draws), []
    for x, count in zip(numbers, counts, strict=True):
        mine = x[rng.integers(0, len(x), (draws, count))]
        if not is_measured:
            mine = mine * rng.normal(size=mine.shape)
        error += mine.mean(axis=1)
        part.append(mine.var(axis=1, ddof=1) / count)
    own = np.array(part)
    variance = own.sum(axis=0)
    less = np.array(counts)[:, None] - 1
    each = [float((x**2).mean()) / count for x, count in zip(numbers, counts, strict=True)]
    return WaveNoise(
        std_error=math.sqrt(sum(each)),
        df=satterthwaite(each, [count - 1.0 for count in counts]),
        error=error,
        reported=np.sqrt(variance),
        draw_df=variance**2 / (own**2 / less).sum(axis=0),
        is_measured=is_measured,
    )
