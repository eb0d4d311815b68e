"""Do the rates that were agreed with creators, and the days they change, fit the plan?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.checks import INFO, PASS, WARN, Check
from upliftlab.rollout.booked import treated_in
from upliftlab.rollout.rates import AGREED, planned_grid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.experiment import Experiment
    from upliftlab.rollout.rates import Tariffs

    Floats = NDArray[np.float64]

EXACT = 1e-6
"""Rates that differ by less are the same: a hundredth of a basis point."""


def rate_checks(experiment: Experiment, panel: Panel, tariffs: Tariffs) -> tuple[Check, ...]:
    """Compare the plan's rates with creator_terms, and name periods of two rates."""
    found = [_within(experiment, tariffs), _compared(experiment, panel)]
    return tuple(check for check in found if check is not None)


def _within(experiment: Experiment, tariffs: Tariffs) -> Check | None:
    if not tariffs.uneven:
        return None
    many = len(tariffs.uneven)
    word = f"{many} {experiment.period}{'' if many == 1 else 's'}"
    it = "it counts" if many == 1 else "they count"
    its = "its" if many == 1 else "their"
    return Check(
        name="rates_within_period",
        verdict=INFO,
        message=(
            f"Rates change within {word} ({', '.join(tariffs.uneven)}): {it} at the average "
            f"over {its} days, exact where sales are even over them."
        ),
        value=float(many),
        threshold=0.0,
    )


def _compared(experiment: Experiment, panel: Panel) -> Check | None:
    """Whether creators were agreed what the plan states; creators of one change only."""
    if panel.terms is None or len(experiment.treatments) > 1:
        return None
    planned = {
        key: grid for key in AGREED if (grid := _planned(experiment, panel, key)) is not None
    }
    if not planned:
        return Check(
            name="agreed_rates",
            verdict=INFO,
            message="The plan states no rates: money counts at those of creator_terms.",
            value=math.nan,
            threshold=0.0,
        )
    wrong = np.zeros(panel.terms.shape, dtype=bool)
    for key, grid in planned.items():
        k = AGREED.index(key)
        gap = np.abs(panel.terms[:, :, k] - grid)
        wrong[:, :, k] = ~(gap <= EXACT)
    units = wrong.reshape(len(wrong), -1).max(axis=1)
    many, total, word = int(units.sum()), len(units), experiment.unit
    if not many:
        return Check(
            name="agreed_rates",
            verdict=PASS,
            message=(
                f"All {total:,} {word}s were agreed the plan's rates in every "
                f"{experiment.period} (creator_terms)."
            ),
            value=0.0,
            threshold=0.0,
        )
    examples = " and ".join(
        _example(panel, planned, int(i), wrong[i]) for i in np.flatnonzero(units)[:2]
    )
    return Check(
        name="agreed_rates",
        verdict=WARN,
        message=(
            f"{many:,} of {total:,} {word}s {'was' if many == 1 else 'were'} agreed other "
            f"rates than the plan's, such as {examples}; money counts at the plan's."
        ),
        value=float(many),
        threshold=0.0,
    )


def _planned(experiment: Experiment, panel: Panel, key: str) -> Floats | None:
    """What the plan states for each unit and period, shape [N, T]; None where it does not."""
    start = np.unique(panel.start)
    found = [
        planned_grid(arm, key, experiment, panel, start)
        for arm in (experiment.control, *experiment.treatments)
    ]
    if found[0] is None or found[1] is None:
        return None
    old, new = (grid[np.searchsorted(start, panel.start)] for grid in found if grid is not None)
    planned: Floats = np.where(treated_in(panel), new, old)
    return planned


def _example(
    panel: Panel, planned: Mapping[str, Floats], i: int, wrong: NDArray[np.bool_]
) -> str:
    """One creator, the first and last period in which terms differ, and by what."""
    at = np.flatnonzero(wrong.any(axis=1))
    first = int(at[0])
    k = int(np.flatnonzero(wrong[first])[0])
    agreed = math.nan if panel.terms is None else float(panel.terms[i, first, k])
    wanted = float(planned[AGREED[k]][i, first])
    span = panel.periods[first]
    if len(at) > 1:
        span = f"{span} to {panel.periods[int(at[-1])]}"
    rate = "none" if math.isnan(agreed) else f"{100 * agreed:g}%"
    return f"{str(panel.units[i])!r} ({AGREED[k]} {rate} for {100 * wanted:g}%, {span})"


__all__ = ["rate_checks"]
