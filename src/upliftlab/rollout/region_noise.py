"""Are the regions that judge the range by chance as noisy as those that were treated?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.checks import FAIL, PASS, WARN, Check
from upliftlab.data.panel import NEVER
from upliftlab.rollout.regions import ENOUGH_FOR_JACKKNIFE

if TYPE_CHECKING:
    from upliftlab.data.panel import Panel

LOUD, TOO_LOUD = 1.5, 2.0
"""Times as noisy: from here the range is doubtful; from here it supports no verdict."""


def region_noise(profit: Panel, *, anticipation: int) -> Check | None:
    """Compare how much profit of both kinds of regions varied before the first change.

    With few treated regions the error is that of regions nobody treated. That is theirs too
    only where they vary as much: the largest regions of a country vary more in money than any
    set drawn from the rest. Leaving treated regions out in turn (from eight on) needs no such
    likeness, so there nothing is compared.

    References:
        Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), *AER* 111(12), section IV and
        algorithm 4.
    """
    treated = profit.start < len(profit.periods)
    if not 0 < treated.sum() < ENOUGH_FOR_JACKKNIFE:
        return None
    before = int(profit.start[treated].min()) - anticipation
    noise = noise_of(profit, before)
    ratio = math.sqrt(float(noise[treated].mean()) / float(noise[~treated].mean() or math.nan))
    if math.isnan(ratio):
        return None
    said = (
        f"Before the change, treated regions varied {ratio:.1f} times as much as the others, "
        "whose chance swings make the range"
    )
    if ratio >= TOO_LOUD:
        verdict, tail = FAIL, ": it is too narrow by about as much, and supports no verdict"
    elif ratio >= LOUD:
        verdict, tail = WARN, ": it may be too narrow; next time treat regions like the others"
    else:
        verdict, tail = PASS, ""
    return Check(
        name="region_noise",
        verdict=verdict,
        message=f"{said}{tail}.",
        value=ratio,
        threshold=LOUD,
    )


def noise_of(profit: Panel, before: int) -> np.ndarray:
    """Variance of each region's profit before, less its own mean and everybody's period."""
    y = profit.y[:, :before, 0]
    free = profit.start == NEVER
    gap = y - y.mean(axis=1, keepdims=True)
    gap = gap - gap[free].mean(axis=0)
    return np.asarray((gap**2).mean(axis=1))
