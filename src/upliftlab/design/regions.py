"""Which regions should be treated, ranked by the smallest profit that they show."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER, Panel
from upliftlab.design.layouts import Choice, Layout
from upliftlab.design.sizes import power_of_plan
from upliftlab.errors import DesignError
from upliftlab.panels.geo_regression import geo_regression
from upliftlab.stats.power import detectable, power_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from upliftlab.design.series import Series
    from upliftlab.experiment import Experiment

    Floats = NDArray[np.float64]

MOST_SETS = 300
"""Sets of regions that are tried; beyond, a random selection of them."""

SHOWN = 8


def region_sets(regions: int, treated: int, *, seed: int) -> list[tuple[int, ...]]:
    """Return sets of so many regions: all of them, or a random selection.

    Examples:
        >>> region_sets(4, 2, seed=1)
        [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
        >>> len(region_sets(30, 8, seed=1)) <= 300
        True
    """
    if math.comb(regions, treated) <= MOST_SETS:
        return list(combinations(range(regions), treated))
    rng = np.random.default_rng(seed)
    drawn = {
        tuple(sorted(rng.choice(regions, treated, replace=False).tolist()))
        for _ in range(MOST_SETS)
    }
    return sorted(drawn)


def set_error(y: Floats, chosen: Sequence[int], window: int) -> tuple[float, float]:
    """Return the standard error of the cumulative total of a set, and its df.

    The totals of the set are predicted from the totals of all other regions, as the regression
    of the analysis does; the last ``window`` periods before stand for the test.

    Args:
        y: Profit of each region and period, shape [N, T].
        chosen: Positions of the treated.
        window: Periods of the test.

    References:
        Kerman, Wang and Vaver (2017), "Estimating ad effectiveness using geo experiments in a
        time-based regression framework", Google, equation 6.
    """
    start = np.full(len(y), NEVER)
    start[list(chosen)] = y.shape[1] - window
    found = geo_regression(Panel.of_arrays(y, start))
    return float(np.sqrt(found.effect.cov[0, 0])), float(found.effect.df[0])


def geo_layout(experiment: Experiment, series: Series, *, effect: float) -> Layout:
    """Choose the regions that show the smallest profit, and lay them out.

    Sets are chosen on the first half of the time before. Their precision is the worse of what
    the whole of it and what its second half alone say, so that the best of many does not look
    better than it is.

    Args:
        experiment: The plan.
        series: Profit of every region without treatment.
        effect: Extra profit per region and period that is asked for, minor units; NaN for none.

    Raises:
        DesignError: When there are too few regions or periods.
    """
    power = power_of_plan(experiment)
    regions, length = series.y.shape
    if regions < 4 or length < 16:
        message = (
            f"the pilot has {regions} regions and {length} periods without treatment; to "
            "choose regions it needs 4 and 16 or more."
        )
        raise DesignError(message)
    treated = power.regions or max(1, regions // 4)
    if not 1 <= treated <= regions - 2:
        message = (
            f"{treated} of {regions} regions would be treated; at least 2 must stay untreated."
        )
        raise DesignError(message)
    window = _window(experiment, length)
    wanted, alpha = float(power.power), 1 - float(experiment.decide.confidence)
    first = sorted(_ranked(series.y, treated, window, power.seed))[:SHOWN]
    ranked = sorted((_checked_error(series.y, chosen, window), chosen) for _, chosen in first)
    choices = []
    for (error, df), chosen in ranked:
        per = error / (treated * window)
        mde = detectable(per, df=df, alpha=alpha, power=wanted)
        earned = float(series.y[list(chosen)].mean())
        choices.append(
            Choice(
                label=", ".join(series.labels[i] for i in chosen),
                mde=mde,
                total=mde * treated * window,
                share=mde / abs(earned) if earned else math.nan,
                power=power_of(effect, per, df=df, alpha=alpha),
            )
        )
    (error, df), best = ranked[0]
    per = error / (treated * window)
    names = [series.labels[i] for i in best]
    order = [*best, *(i for i in range(regions) if i not in set(best))]
    return Layout(
        kind="geo",
        unit="region",
        period=experiment.period or "week",
        periods=tuple(str(t + 1) for t in range(length + window)),
        rows={series.labels[i]: (0,) * length + (int(i in set(best)),) * window for i in order},
        starts={series.labels[i]: length if i in set(best) else -1 for i in order},
        std_error=per,
        df=df,
        mde=detectable(per, df=df, alpha=alpha, power=wanted),
        effect=effect,
        power=power_of(effect, per, df=df, alpha=alpha),
        choices=tuple(choices),
        details={
            "regions": regions,
            "treated": treated,
            "periods before": length,
            "periods of the test": window,
            "standard error": per,
            "degrees of freedom": df,
        },
        notes=(
            (
                f"Treated: {', '.join(names)}. Chosen among "
                f"{len(region_sets(regions, treated, seed=power.seed))} sets by the smallest "
                "profit that they show on the first half of the time before; the precision is "
                "the worse of the whole and the second half."
            ),
            "Precision of time-based regression: treated totals predicted from all others.",
        ),
    )


def _ranked(
    y: Floats, treated: int, window: int, seed: int
) -> Iterator[tuple[float, tuple[int, ...]]]:
    half = max(y.shape[1] // 2, window + 6)
    short = max(1, min(window, half - 5))
    for chosen in region_sets(len(y), treated, seed=seed):
        error, df = set_error(y[:, :half], chosen, short)
        yield detectable(error, df=df), chosen


def _checked_error(y: Floats, chosen: Sequence[int], window: int) -> tuple[float, float]:
    """Precision of a set that was chosen on the first half."""
    error, df = set_error(y, chosen, window)
    half = max(y.shape[1] // 2, window + 6)
    later = y[:, half:]
    short = min(window, later.shape[1] - 6)
    if short < 1:
        return error, df
    second, _ = set_error(later, chosen, short)
    return max(error, second * math.sqrt(window / short)), df


def _window(experiment: Experiment, length: int) -> int:
    """Periods of the test: as long as the plan runs, at most half as long as before."""
    if experiment.observe is None:
        return max(4, length // 4)
    from upliftlab.data.panel_grain import DAYS

    days = DAYS[experiment.period or "week"]
    whole = ((experiment.observe.end - experiment.observe.start).days + 1) // days
    return max(4, min(whole - length, length // 2))
