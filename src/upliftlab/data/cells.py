"""What must be known of the rows? Moments of components per cell, that add up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.stats import moments

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """Counts, mean vectors and centred second moments of units, by cell.

    Cells partition units: each unit is in exactly one, whatever the day of its orders.

    Attributes:
        keys: Names of what tells cells apart, such as ("arm", "stratum").
        labels: One tuple of texts per cell, in the order of ``keys``; C in all.
        names: Components and covariates; K in all.
        n: Units per cell, shape [C].
        mean: Means per unit (money in minor units), shape [C, K].
        m2: Sums of products of deviations from the cell's mean, shape [C, K, K].
    """

    keys: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    n: Ints
    mean: Floats
    m2: Floats

    def __add__(self, other: Cells) -> Cells:
        """Moments of the union of two disjoint sets of units."""
        if (self.keys, self.names) != (other.keys, other.names):
            msg = (
                f"cells of {self.keys}, {self.names} do not add to {other.keys}, {other.names}"
            )
            raise ValueError(msg)
        return replace(
            self,
            labels=self.labels + other.labels,
            n=np.concatenate([self.n, other.n]),
            mean=np.concatenate([self.mean, other.mean]),
            m2=np.concatenate([self.m2, other.m2]),
        ).collapse(self.keys)

    def collapse(self, keys: Sequence[str]) -> Cells:
        """Add up cells that agree on ``keys``.

        Examples:
            >>> cells = Cells(keys=("arm", "day"), labels=(("a", "1"), ("a", "2")),
            ...               names=("y",), n=np.array([1, 1]),
            ...               mean=np.array([[1.0], [3.0]]), m2=np.zeros((2, 1, 1)))
            >>> cells.collapse(["arm"]).m2
            array([[[2.]]])
        """
        take = [self.keys.index(key) for key in keys]
        wanted = [tuple(label[i] for i in take) for label in self.labels]
        order = sorted(set(wanted))
        position = {label: i for i, label in enumerate(order)}
        n, mean, m2 = moments.merge(
            self.n,
            self.mean,
            self.m2,
            into=np.array([position[label] for label in wanted], dtype=np.int64),
            groups=len(order),
        )
        return replace(self, keys=tuple(keys), labels=tuple(order), n=n, mean=mean, m2=m2)

    def where(self, **wanted: str) -> Cells:
        """Keep the cells whose keys have these labels."""
        at = {self.keys.index(key): label for key, label in wanted.items()}
        keep = [
            i
            for i, label in enumerate(self.labels)
            if all(label[k] == value for k, value in at.items())
        ]
        return self._take(keep)

    def without(self, **unwanted: Collection[str]) -> Cells:
        """Leave out the cells whose keys have any of these labels."""
        at = {self.keys.index(key): labels for key, labels in unwanted.items()}
        keep = [
            i
            for i, label in enumerate(self.labels)
            if all(label[k] not in labels for k, labels in at.items())
        ]
        return self._take(keep)

    def select(self, names: Sequence[str]) -> Cells:
        """Keep these components, in this order."""
        k = [self.names.index(name) for name in names]
        return replace(
            self, names=tuple(names), mean=self.mean[:, k], m2=self.m2[:, k][:, :, k]
        )

    def widen(self, names: Sequence[str]) -> Cells:
        """Give every name a column; one that these units never had is 0 for all of them."""
        columns = len(names)
        at = np.array([list(names).index(name) for name in self.names], dtype=np.int64)
        mean = np.zeros((len(self.n), columns))
        m2 = np.zeros((len(self.n), columns, columns))
        mean[:, at] = self.mean
        m2[:, at[:, None], at[None, :]] = self.m2
        return replace(self, names=tuple(names), mean=mean, m2=m2)

    def levels(self, key: str) -> tuple[str, ...]:
        """Labels that occur under one key, sorted."""
        at = self.keys.index(key)
        return tuple(sorted({label[at] for label in self.labels}))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "keys": list(self.keys),
            "labels": [list(label) for label in self.labels],
            "names": list(self.names),
            "n": self.n.tolist(),
            "mean": self.mean.tolist(),
            "m2": self.m2.tolist(),
        }

    def _take(self, cells: Sequence[int]) -> Cells:
        index = np.array(cells, dtype=np.int64)
        return replace(
            self,
            labels=tuple(self.labels[i] for i in cells),
            n=self.n[index],
            mean=self.mean[index],
            m2=self.m2[index],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterCells:
    """Mean vectors of clustered units with their CR2 covariance, by cell.

    Attributes:
        keys: Names of what tells cells apart.
        labels: One tuple of texts per cell; C in all.
        names: Components and covariates; K in all.
        n: Units per cell, shape [C].
        clusters: Clusters per cell, shape [C].
        mean: Means per unit, shape [C, K].
        cov: CR2 covariance of the means, shape [C, K, K].
        df: Bell-McCaffrey degrees of freedom per cell, shape [C].
        size_cv: Coefficient of variation of cluster sizes, shape [C].
    """

    keys: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    n: Ints
    clusters: Ints
    mean: Floats
    cov: Floats
    df: Floats
    size_cv: Floats
