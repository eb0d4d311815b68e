"""Which regions should be treated, ranked by the smallest profit that they show."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER, Panel
from upliftlab.design.layouts import Choice, Layout
from upliftlab.design.looked import power_of_plan
from upliftlab.design.region_error import region_error
from upliftlab.errors import DesignError
from upliftlab.panels.geo_regression import geo_regression
from upliftlab.rollout.regions import ENOUGH_FOR_JACKKNIFE
from upliftlab.stats.power import detectable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.design.region_error import RegionError
    from upliftlab.design.series import Series
    from upliftlab.experiment import Experiment

    Floats = NDArray[np.float64]

MOST_SETS = 300
"""Sets of regions that are tried; beyond, a random selection of them."""

SHOWN = 8

ALARMS = 0.10
"""A set whose analysis would call an effect in more tests without one is ranked last."""

UNMATCHED = "no weights match it: false alarms"


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
    """Return the standard error of a set's total by time-based regression, and its df.

    Quick, so it narrows down sets; the analysis weighs regions. The totals of the set are
    predicted from the totals of all other regions; the last ``window`` periods before stand
    for the test.

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

    Sets are chosen on the first half of the time before, by a regression that is quick. The
    estimator of the analysis is then tried on the best of them, in windows of the time before.

    Args:
        experiment: The plan.
        series: Profit of every region without treatment.
        effect: Extra profit per region and period that is asked for, minor units; NaN for none.

    Raises:
        DesignError: When there are too few regions or periods.
    """
    power = power_of_plan(experiment)
    regions, length = series.y.shape
    treated = _treated(power.regions, regions, length)
    window = _window(experiment, length)
    wanted, alpha = float(power.power), 1 - float(experiment.decide.confidence)
    tried = []
    for chosen in _candidates(series.y, treated, window, power.seed):
        error = region_error(series.y, chosen, window)
        tried.append((error.false_alarms(alpha=alpha) > ALARMS, error.mde(wanted, alpha=alpha),
                      chosen, error))  # fmt: skip
    tried.sort(key=lambda each: each[:3])
    choices = []
    for alarms, mde, chosen, error in tried:
        earned = float(series.y[list(chosen)].mean())
        choices.append(
            Choice(
                label=", ".join(series.labels[i] for i in chosen),
                mde=mde,
                total=mde * treated * window,
                share=mde / abs(earned) if earned else math.nan,
                power=error.power(effect, alpha=alpha),
                note=UNMATCHED if alarms else "",
            )
        )
    _, mde, best, error = tried[0]
    order = [*best, *(i for i in range(regions) if i not in set(best))]
    many = len(region_sets(regions, treated, seed=power.seed))
    return Layout(
        kind="geo",
        unit="region",
        period=experiment.period or "week",
        periods=tuple(str(t + 1) for t in range(length + window)),
        rows={series.labels[i]: (0,) * length + (int(i in set(best)),) * window for i in order},
        starts={series.labels[i]: length if i in set(best) else -1 for i in order},
        std_error=error.missed,
        df=error.df,
        mde=mde,
        effect=effect,
        power=error.power(effect, alpha=alpha),
        choices=tuple(choices),
        details={
            "regions": regions,
            "treated": treated,
            "periods before": length,
            "periods of the test": window,
            "found where nothing happened, root mean square": error.missed,
            "windows without a change": error.windows,
            "standard error that the analysis reports": error.reported,
            "its standard deviation from test to test": error.varies,
            "windows side by side that would tell as much": error.apart,
            "degrees of freedom": error.df,
            "false alarms without an effect, share": error.false_alarms(alpha=alpha),
        },
        notes=_notes(series, best, many, error, alpha),
    )


def _notes(
    series: Series, best: tuple[int, ...], many: int, error: RegionError, alpha: float
) -> tuple[str, ...]:
    notes = [
        (
            f"Treated: {', '.join(series.labels[i] for i in best)}. Chosen among {many} sets: "
            f"the {SHOWN} that time-based regression predicts best on the first half of the "
            "time before, ranked by the smallest profit that the analysis shows."
        ),
        (
            "Estimator: synthetic difference in differences, as in the analysis; its precision "
            f"is what it found in {error.windows} windows of the time before, where nothing "
            f"happened, against the standard error that it reports. They overlap and tell as "
            f"much as {error.apart:.1f} side by side; power allows for it."
        ),
    ]
    alarms = error.false_alarms(alpha=alpha)
    if alarms > ALARMS:
        notes.append(
            f"No weights match these regions well: without any effect {alarms:.0%} of such "
            "tests would find one. Treat other regions, or fewer."
        )
    return tuple(notes)


def _treated(asked: int | None, regions: int, length: int) -> int:
    if regions < 4 or length < 16:
        message = (
            f"the pilot has {regions} regions and {length} periods without treatment; to "
            "choose regions it needs 4 and 16 or more."
        )
        raise DesignError(message)
    treated = asked or max(1, regions // 4)
    if not 1 <= treated <= regions - 2:
        message = (
            f"{treated} of {regions} regions would be treated; at least 2 must stay untreated."
        )
        raise DesignError(message)
    if treated < ENOUGH_FOR_JACKKNIFE and 2 * treated >= regions:
        message = (
            f"{treated} of {regions} regions would be treated; the error of a geo test is told "
            f"by as many untreated ones, so {(regions - 1) // 2} can be treated at most."
        )
        raise DesignError(message)
    return treated


def _candidates(y: Floats, treated: int, window: int, seed: int) -> list[tuple[int, ...]]:
    """Return the sets that a quick regression on the first half predicts best."""
    half = max(y.shape[1] // 2, window + 6)
    short = max(1, min(window, half - 5))
    ranked = []
    for chosen in region_sets(len(y), treated, seed=seed):
        error, df = set_error(y[:, :half], chosen, short)
        ranked.append((detectable(error, df=df), chosen))
    return [chosen for _, chosen in sorted(ranked)[:SHOWN]]


def _window(experiment: Experiment, length: int) -> int:
    """Periods of the test: as long as the plan runs, at most half as long as before."""
    if experiment.observe is None:
        return max(4, length // 4)
    from upliftlab.data.panel_grain import DAYS

    days = DAYS[experiment.period or "week"]
    whole = ((experiment.observe.end - experiment.observe.start).days + 1) // days
    return max(4, min(whole - length, length // 2))
