"""How far off is the estimator of a geo test where nothing happened?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from upliftlab.data.panel import NEVER, Panel
from upliftlab.panels.synthetic_did import synthetic_did
from upliftlab.rollout.regions import ENOUGH_FOR_JACKKNIFE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

WINDOWS = 12
"""Windows of the time before in which it is tried; in the later half its error is asked for."""

DRAWS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionError:
    """Precision of weighted regions for one set, per treated region and period.

    Attributes:
        missed: Root mean square of what was found in windows without a change: the true error.
        reported: Standard error that the analysis reports, on average.
        varies: Standard deviation of that standard error from test to test.
        df: Degrees of freedom that the analysis uses.
        windows: How many windows.
        apart: How many windows side by side would tell as much; they overlap.
    """

    missed: float
    reported: float
    df: float
    windows: int
    varies: float = 0.0
    apart: float = math.inf

    def power(self, effect: float, *, alpha: float = 0.05) -> float:
        """Chance that the analysis calls a true effect.

        An effect is called where the estimate exceeds its own threshold, t times a standard
        error that is another in every test; both spreads are known from few windows only,
        hence Student's t with as many degrees of freedom as there are windows ``apart``:
        that is the chance over what the windows leave open.

        References:
            Geisser (1993), *Predictive Inference*, section 2.2, for the predictive t.
        """
        gap = (abs(effect) - self._threshold(alpha)) / self._spread(alpha, 1 + 1 / self.apart)
        if not math.isfinite(self.apart):
            return float(special.ndtr(gap))
        return float(special.stdtr(self.apart, gap))

    def mde(self, power: float = 0.8, *, alpha: float = 0.05) -> float:
        """Smallest effect that is called with the power.

        Examples:
            >>> round(RegionError(missed=1.0, reported=1.0, df=1e9, windows=12).mde(), 3)
            2.802
        """
        if math.isfinite(self.apart):
            quantile = float(special.stdtrit(self.apart, power))
        else:
            quantile = float(special.ndtri(power))
        reach = self._threshold(alpha) + quantile * self._spread(alpha, 1 + 1 / self.apart)
        return max(0.0, reach)

    def false_alarms(self, *, alpha: float = 0.05) -> float:
        """Share of tests without an effect in which the analysis would call one."""
        return 2 * float(special.ndtr(-self._threshold(alpha) / self._spread(alpha)))

    def _threshold(self, alpha: float) -> float:
        return self._critical(alpha) * self.reported

    def _spread(self, alpha: float, unknown: float = 1.0) -> float:
        """Standard deviation of the estimate less its threshold, from test to test."""
        return math.sqrt(self.missed**2 + unknown * (self._critical(alpha) * self.varies) ** 2)

    def _critical(self, alpha: float) -> float:
        return -float(special.stdtrit(self.df, alpha / 2))


def region_error(
    y: Floats, chosen: Sequence[int], window: int, *, draws: int = DRAWS
) -> RegionError:
    """Try the estimator of the analysis on the time before, where every effect is 0.

    The analysis weighs regions and periods (synthetic difference in differences). Its own
    standard error is blind to a set that no weights can match, such as the largest regions;
    placebos in time are not.

    Windows begin from the middle of the time before on. What is found in them hardly depends
    on how much there was to weigh, and all are needed: they overlap. The standard error that
    the analysis reports does shrink with the history, so it is asked for in the later half of
    the windows only, whose history is nearest to that of the test.

    Args:
        y: Profit of each region and period, shape [N, T].
        chosen: Positions of the treated.
        window: Periods of the test.
        draws: Placebo draws behind each standard error.

    References:
        Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), *AER* 111(12), algorithm 4;
        Abadie, Diamond and Hainmueller (2015), *American Journal of Political Science* 59(2),
        for placebos in time.
    """
    length = y.shape[1]
    last = length - window
    first = min(last, max(2, length // 2 - window // 2))
    at = np.unique(np.linspace(first, last, WINDOWS).round().astype(int))
    asked = set(at[len(at) // 2 :].tolist())
    found = [
        found_effect(y[:, : s + window], chosen, s, draws=draws if s in asked else 0)
        for s in at.tolist()
    ]
    errors = [each.std_error for each in found if math.isfinite(each.std_error)]
    return RegionError(
        missed=math.sqrt(float(np.mean([each.estimate**2 for each in found]))),
        reported=float(np.mean(errors)) if errors else math.nan,
        varies=float(np.std(errors, ddof=1)) if len(errors) > 1 else 0.0,
        df=found[-1].df,
        windows=len(at),
        apart=windows_apart(at, window),
    )


def windows_apart(starts: Ints, window: int) -> float:
    """Return how many windows without overlap would know a variance as well.

    Means over windows that share a part p correlate by p, their squares by p squared.

    Args:
        starts: First period of each window, shape [W].
        window: Periods of each.

    Examples:
        >>> windows_apart(np.array([0, 5, 10]), 5), windows_apart(np.array([0, 0]), 5)
        (3.0, 1.0)
    """
    shared = np.maximum(0.0, 1 - np.abs(starts[:, None] - starts[None, :]) / window)
    return float(1 / (shared**2).mean())


def found_effect(y: Floats, chosen: Sequence[int], start: int, *, draws: int = 0) -> Estimate:
    """Return what the analysis would find for regions that are treated from ``start`` on.

    Args:
        y: Profit of each region and period, shape [N, T].
        chosen: Positions of the treated.
        start: First treated period.
        draws: Placebo draws; 0 for no standard error.
    """
    when = np.full(len(y), NEVER)
    when[list(chosen)] = start
    many = len(chosen) >= ENOUGH_FOR_JACKKNIFE
    found = synthetic_did(
        Panel.of_arrays(y, when),
        solver="exact",
        inference=("jackknife" if many else "placebo") if draws else "none",
        draws=max(draws, 2),
    )
    return found.effect.estimate(found.effect.names[0])
