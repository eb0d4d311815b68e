"""What must be kept of clusters so that later units can be added?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.cells import ClusterCells
from upliftlab.stats.clusters import bell_mccaffrey_df, size_cv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterTotals:
    """Units and sums of every cluster; units of later days add to the same clusters.

    Attributes:
        labels: (arm, cluster), G in all.
        names: Components and covariates, K in all.
        n: Units per cluster, shape [G].
        sums: Sums over the cluster's units, shape [G, K].
    """

    labels: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    n: Ints
    sums: Floats

    def __add__(self, other: ClusterTotals) -> ClusterTotals:
        """Totals of the union of two disjoint sets of units."""
        names = tuple(dict.fromkeys((*self.names, *other.names)))
        labels = tuple(sorted({*self.labels, *other.labels}))
        at = {label: i for i, label in enumerate(labels)}
        n = np.zeros(len(labels), dtype=np.int64)
        sums = np.zeros((len(labels), len(names)))
        for part in (self, other):
            rows = np.array([at[label] for label in part.labels], dtype=np.int64)
            columns = np.array([names.index(name) for name in part.names], dtype=np.int64)
            n[rows] += part.n
            sums[rows[:, None], columns[None, :]] += part.sums
        return replace(self, labels=labels, names=names, n=n, sums=sums)

    def cells(self, names: Sequence[str]) -> ClusterCells:
        """Means per arm with CR2 covariance; what no unit ever had is 0.

        References:
            Bell and McCaffrey (2002), *Survey Methodology* 28(2), section 4.
        """
        arms = sorted({arm for arm, _ in self.labels})
        absent = [name for name in names if name not in self.names]
        have = (*self.names, *absent)
        sums = np.hstack([self.sums, np.zeros((len(self.n), len(absent)))])
        sums = sums[:, [have.index(name) for name in names]]
        which = np.array([arms.index(arm) for arm, _ in self.labels])
        parts = [_arm(self.n[which == a], sums[which == a]) for a in range(len(arms))]
        sizes = [self.n[which == a] for a in range(len(arms))]
        return ClusterCells(
            keys=("arm",),
            labels=tuple((arm,) for arm in arms),
            names=tuple(names),
            n=np.array([int(size.sum()) for size in sizes], dtype=np.int64),
            clusters=np.array([len(size) for size in sizes], dtype=np.int64),
            mean=np.stack([mean for mean, _ in parts]),
            cov=np.stack([cov for _, cov in parts]),
            df=np.array([bell_mccaffrey_df(size) for size in sizes]),
            size_cv=np.array([size_cv(size) for size in sizes]),
        )


def _arm(n: Ints, sums: Floats) -> tuple[Floats, Floats]:
    total = float(n.sum())
    mean = sums.sum(axis=0) / total
    if len(n) < 2:
        return mean, np.full((sums.shape[1], sums.shape[1]), np.nan)
    score = sums - n[:, None] * mean
    weight = 1 / (1 - n / total)
    return mean, (score * weight[:, None]).T @ score / total**2
