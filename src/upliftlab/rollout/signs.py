"""What does the headline's number say when residuals of few clusters change sign at random?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.panels.wild import ClusterScores, wild_bootstrap
from upliftlab.rollout.answer import Opinion
from upliftlab.rollout.counted import count_clusters
from upliftlab.stats.estimate import undefined

if TYPE_CHECKING:
    from upliftlab.panels.aggregates import Aggregate

FEW_FOR_SIGNS = 20
"""Clusters on the thinner side below which the wild bootstrap is a second opinion."""

FEW_FOR_WEBB = 10
"""Clusters up to which signs alone give too few different draws."""


def scores_of(average: Aggregate) -> ClusterScores | None:
    """Contract every cluster's path to the number that enters the average; None per unit."""
    moments = average.effects.moments
    rows = moments.rows
    if rows is None or rows.straddles:
        return None
    slope = average.overall.slope[0]
    total = np.einsum("jt,jt->j", slope[rows.cohort], rows.total[:, :, 0])
    treated = moments.start < len(moments.periods)
    return ClusterScores(
        names=("profit",),
        total=total[:, None],
        size=rows.size,
        group=rows.cohort,
        weight=slope.any(axis=1)[:, None].astype(np.float64),
        is_treated=treated,
    )


def by_signs(average: Aggregate, level: float) -> tuple[Opinion, ...]:
    """Read the headline by the wild cluster bootstrap, where clusters are few.

    Residuals of clusters change sign at random: Rademacher signs, all of them where they are
    few enough, and the six points of Webb up to ten clusters, where signs give few values.

    References:
        MacKinnon and Webb (2018), *Econometrics Journal* 21(2); Webb (2023), *Canadian Journal
        of Economics* 56(3).
    """
    scores, counted = scores_of(average), count_clusters(average.effects)
    if scores is None or counted.fewest >= FEW_FOR_SIGNS:
        return ()
    webb = len(scores.size) <= FEW_FOR_WEBB
    found = wild_bootstrap(scores, kind="webb" if webb else "rademacher", level=level)
    effect = found["profit"]
    if not math.isfinite(effect.p_value):
        effect = undefined("wild", effect.note, level=level)
    return (
        Opinion(
            method="wild",
            label="signs of clusters' residuals tossed again (wild bootstrap)",
            effect=effect,
            note="Webb's weights" if webb else "Rademacher signs",
        ),
    )


def with_reasons(opinions: tuple[Opinion, ...], law: str) -> tuple[Opinion, ...]:
    """Say why the wild bootstrap and the headline do not say the same, where they do not."""
    own = opinions[0].effect
    sure = (own.is_above_zero, own.is_below_zero)

    def told(each: Opinion) -> Opinion:
        other = each.effect
        if each.method != "wild" or (other.is_above_zero, other.is_below_zero) == sure:
            return each
        if not math.isfinite(other.ci_low) or not math.isfinite(own.ci_low):
            return each
        why = (
            "sure of its side where the headline is not"
            if other.is_above_zero or other.is_below_zero
            else "not sure of the side that the headline is sure of"
        )
        return replace(
            each,
            note=f"{each.note}; {why}: it takes clusters' residuals as symmetric, while the "
            f"headline's range is {law}, which decides",
        )

    return tuple(told(each) for each in opinions)


__all__ = ["by_signs", "scores_of", "with_reasons"]
