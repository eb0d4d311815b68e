"""Could switched units have taken sales from those they are compared with?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.checks import INFO, WARN, Check
from upliftlab.errors import DesignError
from upliftlab.panels.saturation import saturation_effects
from upliftlab.panels.spillover import business_stealing
from upliftlab.stats.estimate import undefined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.experiment import Experiment
    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]

NONE, PARTLY, WHOLLY = 0.0, 0.5, 1.0
"""How much of a cluster switched: nobody, some, all."""

WHY = "clusters in part, in whole and not at all switched would have to begin in one period"


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The change read inside clusters that switched in part, and between whole ones.

    Attributes:
        mixed: Clusters that hold switched and other units.
        clusters: Clusters in all.
        within: Extra profit of switched units over the others of their cluster.
        between: Wholly switched clusters over untouched ones; free of what neighbours take.
        beside: Others of partly switched clusters over units of untouched clusters: what
            switching takes from neighbours, where below 0.
    """

    mixed: int
    clusters: int
    within: Estimate
    between: Estimate
    beside: Estimate


def neighbours_of(booked: Panel, *, anticipation: int, level: float) -> Neighbours | None:
    """Compare within clusters with between clusters; None where clusters switched whole.

    Outcomes are changes of booked profit per period, after the start less before the
    announcement. It takes one start; with several, numbers are NaN with a note.

    References:
        Hudgens and Halloran (2008), *JASA* 103(482).
    """
    share = _share(booked)
    mixed = int(((share > 0) & (share < 1)).sum())
    if not mixed:
        return None
    on = booked.start < len(booked.periods)
    starts = np.unique(booked.start[on])
    first = int(starts[0])
    if len(starts) > 1 or first - anticipation < 1:
        none = undefined("neighbours", WHY, level=level)
        return Neighbours(
            mixed=mixed, clusters=len(share), within=none, between=none, beside=none
        )
    y = booked.y[:, first:, 0].mean(axis=1) - booked.y[:, : first - anticipation, 0].mean(
        axis=1
    )
    read = business_stealing(y, cluster=booked.cluster, treated=on, names=["profit"])
    return Neighbours(
        mixed=mixed,
        clusters=len(share),
        within=read.within.estimate("profit", level=level),
        between=read.between.estimate("profit", level=level),
        beside=_beside(y, booked, on, share, level),
    )


def spill_over(
    found: Neighbours | None, panel: Panel, experiment: Experiment, money: float
) -> Check:
    """Say what part of a spill-over the design sees, and that the rest is no global effect."""
    if found is not None:
        return _stolen(found, experiment, money)
    word, unit = experiment.cluster or experiment.unit, experiment.unit
    if len(np.unique(panel.cluster)) == len(panel.cluster):
        return Check(
            name="spill_over",
            verdict=WARN,
            message=(
                f"{unit.capitalize()}s switched one by one. Where they share an "
                "audience, switched ones take sales from the others and the effect is too "
                "large; compare whole groups that share no audience."
            ),
            value=math.nan,
            threshold=math.nan,
        )
    return Check(
        name="spill_over",
        verdict=INFO,
        message=(
            f"Whole {word}s were compared. Sales taken from {unit}s of other "
            f"{word}s are not seen here: the figure speaks of switching these {word}s, not of "
            "switching everybody."
        ),
        value=0.0,
        threshold=math.nan,
    )


def _stolen(found: Neighbours, experiment: Experiment, money: float) -> Check:
    word, unit = experiment.cluster or experiment.unit, experiment.unit
    said = {
        f"extra profit within such {word}s is": found.within,
        f"between {word}s that switched whole and untouched ones": found.between,
        f"and {unit}s beside switched ones earned us": found.beside,
    }
    known = _listed(said, experiment, money)
    return Check(
        name="spill_over",
        verdict=WARN,
        message=(
            f"In {found.mixed} of {found.clusters} {word}s some {unit}s "
            f"switched and others did not. Within a {word} switched {unit}s take "
            f"sales from the others, so GMV and profit are too high"
            f"{f' ({known})' if known else ''}; the figure is no estimate "
            "of switching everybody."
        ),
        value=float(found.mixed),
        threshold=0.0,
    )


def _listed(said: Mapping[str, Estimate], experiment: Experiment, money: float) -> str:
    """Print the estimates that exist, with their ranges."""
    return ", ".join(
        f"{words} {each.estimate / money:+,.1f} {experiment.currency} "
        f"({each.ci_low / money:+,.1f} to {each.ci_high / money:+,.1f})"
        for words, each in said.items()
        if math.isfinite(each.estimate) and math.isfinite(each.ci_low)
    )


def _beside(
    y: Floats, booked: Panel, on: NDArray[np.bool_], share: Floats, level: float
) -> Estimate:
    """Units that did not switch in partly switched clusters, over those of untouched ones."""
    kind = np.where(share == 0, NONE, np.where(share == 1, WHOLLY, PARTLY))
    try:
        effects = saturation_effects(
            y,
            cluster=booked.cluster,
            treated=on,
            saturation=kind[booked.cluster],
            names=["profit"],
        )
    except DesignError as error:
        return undefined("beside", str(error), level=level)
    return effects.estimate(f"profit@spillover {PARTLY:.0%}", level=level)


def _share(panel: Panel) -> Floats:
    """Switched share of each cluster, shape [G]."""
    on = panel.start < len(panel.periods)
    count = int(panel.cluster.max()) + 1
    found: Floats = np.bincount(panel.cluster, on, count) / np.bincount(
        panel.cluster, minlength=count
    )
    return found


__all__ = ["Neighbours", "neighbours_of", "spill_over"]
