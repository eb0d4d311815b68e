"""Which sums of a panel does every group-time effect hang on?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.errors import DesignError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


BLOCK = 4096
"""Units whose second moments are taken at once: what a processor's cache holds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterRows:
    """Sums over the units of each cluster, cohort by cohort.

    Attributes:
        cluster: Cluster of each row, shape [J].
        cohort: Position of its cohort, shape [J]; a cluster has a row per cohort it holds.
        size: Sum of its units' weights, shape [J].
        total: Weighted sums of the outcomes, shape [J, T, K].
    """

    cluster: Ints
    cohort: Ints
    size: Floats
    total: Floats

    @property
    def straddles(self) -> bool:
        """Whether some cluster holds units of several cohorts."""
        return len(np.unique(self.cluster)) < len(self.cluster)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PanelMoments:
    """Sizes, means and second moments of cohorts: all that the engine of effects reads.

    A balanced panel is a table of cells: a cohort is a cell, and its components are
    (period x component).

    Attributes:
        names: Components, K in all.
        periods: Labels of the periods, T in all.
        start: First treated period of each cohort, shape [S]; ``NEVER`` sorts last.
        units: Units of each cohort, shape [S].
        weight: Sum of their weights, shape [S].
        mean: Weighted means, shape [S, T, K].
        scatter: Centred second moments of units, shape [S, T K, T K] with position t K + k;
            given where each unit is its own cluster with weight one.
        rows: Cluster sums; given otherwise.
        notes: What was counted and left out on the way.
    """

    names: tuple[str, ...]
    periods: tuple[str, ...]
    start: Ints
    units: Floats
    weight: Floats
    mean: Floats
    scatter: Floats | None = None
    rows: ClusterRows | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, panel: Panel) -> PanelMoments:
        """Take the moments of a balanced panel.

        Raises:
            DesignError: When some unit was not observed in some period.

        Examples:
            >>> from upliftlab.data.panel import Panel
            >>> y = np.arange(8.0).reshape(4, 2)
            >>> PanelMoments.of(Panel.of_arrays(y, [1, 1, NEVER, NEVER])).mean[:, :, 0]
            array([[1., 2.],
                   [5., 6.]])
        """
        _refuse_gaps(panel)
        start, cohort = np.unique(panel.start, return_inverse=True)
        count, length, width = panel.shape
        units = np.bincount(cohort).astype(np.float64)
        weight = np.bincount(cohort, weights=panel.weight).astype(np.float64)
        alone = _are_alone(panel)
        if not alone:
            rows = _rows(panel, cohort)
            mean = _sums(rows.total.reshape(len(rows.size), -1), rows.cohort, len(start))
            mean = (mean / weight[:, None]).reshape(-1, length, width)
            return cls(
                names=panel.names,
                periods=panel.periods,
                start=start,
                units=units,
                weight=weight,
                mean=mean,
                rows=rows,
                notes=panel.notes,
            )
        mean = np.empty((len(start), length, width))
        scatter = np.empty((len(start), length * width, length * width))
        flat = panel.y.reshape(count, -1)
        for s in range(len(start)):
            middle, scatter[s] = _centred(flat, np.flatnonzero(cohort == s))
            mean[s] = middle.reshape(length, width)
        return cls(
            names=panel.names,
            periods=panel.periods,
            start=start,
            units=units,
            weight=weight,
            mean=mean,
            scatter=scatter,
            notes=panel.notes,
        )

    @property
    def never(self) -> int | None:
        """Position of the never-treated cohort, if there is one."""
        return len(self.start) - 1 if self.start[-1] == NEVER else None

    def priced(self, price: Floats, names: tuple[str, ...]) -> PanelMoments:
        """Replace the components by linear combinations of them, price [R, K].

        Examples:
            >>> from upliftlab.data.panel import Panel
            >>> y = np.arange(16.0).reshape(4, 2, 2)
            >>> panel = Panel.of_arrays(y, [1, 1, NEVER, NEVER], names=("sales", "cost"))
            >>> moments = PanelMoments.of(panel).priced(np.array([[0.5, -1.0]]), ("profit",))
            >>> moments.mean[0, :, 0]
            array([-2., -3.])
        """
        length, width, new = len(self.periods), len(self.names), len(names)
        scatter = self.scatter
        if scatter is not None:
            shaped = scatter.reshape(-1, length, width, length, width)
            turned = np.einsum("rk,stkul,ql->struq", price, shaped, price, optimize=True)
            scatter = turned.reshape(-1, length * new, length * new)
        rows = self.rows
        if rows is not None:
            rows = replace(rows, total=rows.total @ price.T)
        return replace(self, names=names, mean=self.mean @ price.T, scatter=scatter, rows=rows)


def _centred(flat: Floats, rows: Ints) -> tuple[Floats, Floats]:
    """Mean and centred second moments of some rows, block by block.

    Blocks are shifted by the mean of the first, so that a level far from 0 costs no digits.
    """
    origin = flat[rows[:BLOCK]].mean(axis=0)
    total, gram = np.zeros(flat.shape[1]), np.zeros((flat.shape[1],) * 2)
    for first in range(0, len(rows), BLOCK):
        block = flat[rows[first : first + BLOCK]]
        block -= origin
        total += block.sum(axis=0)
        gram += block.T @ block
    shift = total / len(rows)
    gram -= np.outer(total, shift)
    return origin + shift, gram


def _are_alone(panel: Panel) -> bool:
    """Whether each unit is its own cluster, and counts once."""
    if not (panel.weight == 1).all():
        return False
    filled = np.bincount(panel.cluster, minlength=len(panel.cluster))
    return len(filled) == len(panel.cluster) and bool((filled == 1).all())


def _refuse_gaps(panel: Panel) -> None:
    if np.isfinite(panel.y.sum()):
        return
    gaps: NDArray[np.bool_] = np.isnan(panel.y).any(axis=(1, 2))  # type: ignore[assignment]
    if gaps.any():
        raise DesignError(
            f"{int(gaps.sum())} of {len(gaps)} units have periods without rows; fill them with "
            "zeros where nothing happened, keep the complete units, or compare pairwise."
        )


def _rows(panel: Panel, cohort: Ints) -> ClusterRows:
    """Add up the units of each cluster and cohort."""
    cohorts = int(cohort.max()) + 1
    pair, code = np.unique(panel.cluster * cohorts + cohort, return_inverse=True)
    flat = panel.y.reshape(len(panel.y), -1)
    weighted = flat if (panel.weight == 1).all() else flat * panel.weight[:, None]
    _, length, width = panel.shape
    return ClusterRows(
        cluster=(pair // cohorts).astype(np.int64),
        cohort=(pair % cohorts).astype(np.int64),
        size=np.bincount(code, weights=panel.weight).astype(np.float64),
        total=_sums(weighted, code, len(pair)).reshape(-1, length, width),
    )


def _sums(values: Floats, code: Ints, groups: int) -> Floats:
    """Add up rows by group, shape [groups, columns]."""
    if groups == len(code):
        out: Floats = np.empty_like(values)
        out[code] = values
        return out
    order = np.argsort(code, kind="stable")
    edges = np.searchsorted(code[order], np.arange(groups))
    summed: Floats = np.add.reduceat(values[order], edges, axis=0)
    return summed
