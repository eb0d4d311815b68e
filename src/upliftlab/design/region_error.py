"""How far off is the estimator of a geo test where nothing happened?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special

from upliftlab.data.panel import NEVER, Panel
from upliftlab.panels.synthetic_did import synthetic_did
from upliftlab.rollout.regions import ENOUGH_FOR_JACKKNIFE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]

WINDOWS, TRIED = 12, 3
"""Windows of the time before in which it is tried, and in which its error is asked for too."""

DRAWS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionError:
    """Precision of weighted regions for one set, per treated region and period.

    Attributes:
        missed: Root mean square of what was found in windows without a change: the true error.
        reported: Standard error that the analysis reports, root mean square of its tries.
        df: Degrees of freedom that the analysis uses.
        windows: How many windows.
    """

    missed: float
    reported: float
    df: float
    windows: int

    def power(self, effect: float, *, alpha: float = 0.05) -> float:
        """Chance that the analysis calls a true effect: its own threshold, the true error."""
        return float(special.ndtr((abs(effect) - self._threshold(alpha)) / self.missed))

    def mde(self, power: float = 0.8, *, alpha: float = 0.05) -> float:
        """Smallest effect that is called with the power.

        Examples:
            >>> round(RegionError(missed=1.0, reported=1.0, df=1e9, windows=12).mde(), 3)
            2.802
        """
        reach = self._threshold(alpha)
        high = reach + 10 * self.missed
        return float(
            optimize.brentq(lambda x: self.power(x, alpha=alpha) - power, 0.0, high)
            if self.power(0.0, alpha=alpha) < power
            else 0.0
        )

    def false_alarms(self, *, alpha: float = 0.05) -> float:
        """Share of tests without an effect in which the analysis would call one."""
        return 2 * float(special.ndtr(-self._threshold(alpha) / self.missed))

    def _threshold(self, alpha: float) -> float:
        return -float(special.stdtrit(self.df, alpha / 2)) * self.reported


def region_error(
    y: Floats, chosen: Sequence[int], window: int, *, tries: int = TRIED, draws: int = DRAWS
) -> RegionError:
    """Try the estimator of the analysis on the time before, where every effect is 0.

    The analysis weighs regions and periods (synthetic difference in differences). Its own
    standard error is blind to a set that no weights can match, such as the largest regions;
    placebos in time are not.

    Args:
        y: Profit of each region and period, shape [N, T].
        chosen: Positions of the treated.
        window: Periods of the test.
        tries: Windows in which the analysis is asked for its standard error.
        draws: Placebo draws behind each.

    References:
        Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), *AER* 111(12), algorithm 4;
        Abadie, Diamond and Hainmueller (2015), *American Journal of Political Science* 59(2),
        for placebos in time.
    """
    length = y.shape[1]
    last = length - window
    first = min(last, max(2, length // 2 - window // 2))
    at = np.unique(np.linspace(first, last, WINDOWS).round().astype(int))
    asked = set(np.unique(at[np.linspace(0, len(at) - 1, tries).round().astype(int)]).tolist())
    found = [
        found_effect(y[:, : s + window], chosen, s, draws=draws if s in asked else 0)
        for s in at.tolist()
    ]
    errors = [each.std_error for each in found if math.isfinite(each.std_error)]
    return RegionError(
        missed=math.sqrt(float(np.mean([each.estimate**2 for each in found]))),
        reported=math.sqrt(float(np.mean(np.square(errors)))) if errors else math.nan,
        df=found[-1].df,
        windows=len(at),
    )


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
