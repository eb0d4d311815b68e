"""In which order would units be treated, and how does a mean over that order vary?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

ROWS_AT_ONCE = 2_000_000
"""Numbers of one temporary matrix; keeps memory flat however many clusters there are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranking:
    """Units from the highest priority to the lowest; equal priorities form one block.

    Attributes:
        order: Position of each unit in the caller's arrays, best first, shape [n].
        ends: Units up to and including each block, shape [B]; the last is n.
    """

    order: Ints
    ends: Ints

    @classmethod
    def of(cls, priority: ArrayLike) -> Ranking:
        """Sort once, highest first.

        Args:
            priority: Shape [n]; higher is treated earlier; finite.

        Examples:
            >>> Ranking.of([1.0, 3.0, 1.0]).ends
            array([1, 3])
        """
        given = column(priority, "priority")
        order = np.argsort(-given, kind="stable")
        changes = np.flatnonzero(np.diff(given[order]))
        return cls(order=order, ends=np.append(changes + 1, len(given)))

    @property
    def n(self) -> int:
        """Units."""
        return len(self.order)

    @property
    def sizes(self) -> Ints:
        """Units per block, shape [B]."""
        return np.diff(self.ends, prepend=0)

    def block_sums(self, score: Floats) -> Floats:
        """Sum of a score, given in the caller's order, over each block, shape [B]."""
        starts = self.ends - self.sizes
        sums: Floats = np.add.reduceat(score[self.order], starts)
        return sums

    def of_units(self, by_block: Floats) -> Floats:
        """Give every unit the number of its block, in the caller's order, shape [n]."""
        out = np.empty(self.n)
        out[self.order] = np.repeat(by_block, self.sizes)
        return out


def rank_within(priority: ArrayLike, fold: ArrayLike) -> Floats:
    """Turn a priority into its rank within each fold, from 0 (last) to 1 (first).

    Predictions of different folds come from different models: pooled, a fold with a low mean
    outcome gets high predictions from the other folds' models, which biases every metric of a
    useless model downwards. Ranks within folds have no such level.

    Args:
        priority: Shape [n].
        fold: Fold of each unit, shape [n].

    Returns:
        Mid ranks, shape [n]; equal priorities of a fold have equal ranks.

    Examples:
        >>> rank_within([1.0, 2.0, 10.0, 20.0], [0, 0, 1, 1]).tolist()
        [0.25, 0.75, 0.25, 0.75]
    """
    given, folds = column(priority, "priority"), np.asarray(fold)
    out = np.empty(len(given))
    for each in np.unique(folds):
        inside = np.flatnonzero(folds == each)
        out[inside] = 1 - middle_shares(Ranking.of(given[inside]))
    return out


def middle_shares(ranking: Ranking) -> Floats:
    """Share of units ahead of each unit, its own block counted half, shape [n].

    Examples:
        >>> middle_shares(Ranking.of([1.0, 3.0, 1.0, 0.0])).tolist()
        [0.5, 0.125, 0.5, 0.875]
    """
    return ranking.of_units((ranking.ends - ranking.sizes / 2) / ranking.n)


def covariance(influence: Floats, cluster: ArrayLike | None = None) -> tuple[Floats, float]:
    """Return the covariance of means from the influence of each unit on them.

    Args:
        influence: n times each unit's share in the estimate, mean 0; shape [n] or [n, m].
        cluster: Units that were assigned together, shape [n]; none when each was on its own.

    Returns:
        Covariance [m, m] with the correction G / (G - 1), and G - 1 degrees of freedom, where G
        counts clusters or units; NaN below two.

    References:
        Liang and Zeger (1986), *Biometrika* 73(1), equation 5.

    Examples:
        >>> found, df = covariance(np.array([-1.0, 1.0, -1.0, 1.0]))
        >>> round(float(found[0, 0]), 4), df
        (0.3333, 3.0)
    """
    rows = influence[:, None] if influence.ndim == 1 else influence
    n = len(rows)
    if cluster is not None:
        codes, count = cluster_codes(cluster, n)
        rows = np.stack(
            [np.bincount(codes, weights=each, minlength=count) for each in rows.T], axis=1
        )
    return corrected(rows.T @ rows, n=n, groups=len(rows))


def corrected(meat: Floats, *, n: int, groups: int) -> tuple[Floats, float]:
    """Turn summed squares of n times the influence into a covariance with its df."""
    if groups < 2:
        return np.full_like(meat, np.nan), float("nan")
    return meat * (groups / (groups - 1)) / n**2, float(groups - 1)


def cluster_codes(cluster: ArrayLike, n: int) -> tuple[Ints, int]:
    """Number clusters from 0, and count them."""
    labels = np.asarray(cluster)
    if labels.shape != (n,):
        raise DataError(
            f"cluster has shape {labels.shape}; scores have {n:,} units: one cluster each."
        )
    names, codes = np.unique(labels, return_inverse=True)
    return codes, len(names)


def column(values: ArrayLike, name: str, n: int | None = None) -> Floats:
    """Read a finite column of numbers; refuse anything else."""
    out = np.asarray(values, dtype=np.float64)
    if out.ndim != 1 or len(out) < 2 or (n is not None and len(out) != n):
        expected = "at least two units" if n is None else f"{n:,} units"
        raise DataError(f"{name} has shape {out.shape}; it must be one column of {expected}.")
    missing = int(out.size - np.isfinite(out).sum())
    if missing:
        raise DataError(
            f"{name} holds {missing:,} missing or infinite numbers of {out.size:,}; "
            "every unit needs a finite one."
        )
    return out
