"""On how many clusters does the answer rest, on either side?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.checks import FEWEST_CLUSTERS
from upliftlab.stats.clusters import size_cv

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.panels.group_time import GroupTime

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

ALIKE = 0.05
"""Coefficient of variation up to which clusters are of one size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Clusters behind the effects since the change; units where each is its own.

    Clusters treated too early to have an effect are on neither side.

    Attributes:
        switched: Clusters of the cohorts that have an effect.
        never: Clusters that do not switch within the panel.
        pool: Fewest clusters that some effect is compared with.
        mixed: Clusters that hold units of several cohorts.
        total: Clusters on either side.
        uneven: Larger coefficient of variation of the summed weights, of the two sides.
        spread: The same of both sides together.
    """

    switched: int
    never: int
    pool: int
    mixed: int
    total: int
    uneven: float
    spread: float

    @property
    def fewest(self) -> int:
        """Clusters on the thinner side; all where some are on both."""
        return self.total if self.mixed else min(self.switched, self.pool)

    @property
    def is_few(self) -> bool:
        """Whether errors from the variance between clusters cannot be relied on."""
        return self.fewest < FEWEST_CLUSTERS

    @property
    def are_alike(self) -> bool:
        """Whether all clusters weigh the same, so that counting each once is the same."""
        return self.spread < ALIKE


def count_clusters(effects: GroupTime) -> Counted:
    """Count the clusters that effects since the change come from, and are compared with.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> from upliftlab.panels.group_time import group_time
        >>> panel = Panel.of_arrays(np.zeros((7, 4)), [0, 1, 1, 3, 3, NEVER, NEVER])
        >>> found = count_clusters(group_time(panel))
        >>> found.switched, found.never, found.pool, found.total
        (4, 2, 2, 6)
    """
    cohort, cluster, size = _rows(effects)
    moments = effects.moments
    carries = np.zeros(len(moments.start), dtype=bool)
    helps, pools = carries.copy(), []
    for c, (start, period) in enumerate(effects.cells):
        if period < start or not effects.forms.known[c]:
            continue
        own = int(np.searchsorted(moments.start, start))
        pool = (effects.forms.slope[c] < 0).any(axis=1)
        pool[own] = False
        carries[own] = True
        helps |= pool
        pools.append(_distinct(cluster[pool[cohort]]))
    never = moments.start >= len(moments.periods)
    sides = [_sizes(cluster, size, side[cohort]) for side in (carries, helps & ~carries)]
    used = carries | helps
    either = _sizes(cluster, size, used[cohort])
    return Counted(
        switched=_distinct(cluster[carries[cohort]]),
        never=_distinct(cluster[never[cohort]]),
        pool=min(pools, default=0),
        mixed=_mixed(cluster[used[cohort]]),
        total=len(either),
        uneven=max((size_cv(side) for side in sides if len(side) > 1), default=0.0),
        spread=size_cv(either),
    )


def _rows(effects: GroupTime) -> tuple[Ints, Ints, Floats]:
    """Cohort, cluster and weight of every cluster and cohort that it holds."""
    moments = effects.moments
    if moments.rows is not None:
        return moments.rows.cohort, moments.rows.cluster, moments.rows.size
    cohort = np.repeat(np.arange(len(moments.start)), moments.units.astype(np.int64))
    return cohort, np.arange(len(cohort)), np.ones(len(cohort))


def _sizes(cluster: Ints, size: Floats, chosen: Bools) -> Floats:
    """Weight of every cluster among the chosen rows."""
    code = np.unique(cluster[chosen], return_inverse=True)[1]
    return np.bincount(code, weights=size[chosen]).astype(np.float64)


def _mixed(cluster: Ints) -> int:
    """Clusters with several rows, one per cohort that they hold."""
    return int((np.unique(cluster, return_counts=True)[1] > 1).sum())


def _distinct(values: Ints) -> int:
    return len(np.unique(values))
