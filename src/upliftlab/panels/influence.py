"""How much did each unit move each effect?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Influence on the cells of one cohort against one pool of controls, in factors.

    All estimators here are linear in the outcome, so the influence of unit i on the change from
    period b to t is ``own_i (y_it - y_ib) + shared_i' (level_t - level_b)``: one number and a
    short row per unit, whatever the number of cells and components.

    Attributes:
        rows: Units, as positions in the panel, shape [n].
        cells: Cells, as positions in the effects, shape [c].
        late: Period of each cell, shape [c].
        early: Base period of each cell, shape [c].
        own: Weight of a unit's own change, shape [n].
        shared: Weights of the estimated levels, shape [n, q].
        level: Estimated levels in each period, shape [q, T, K]; NaN in periods not used.
        offset: What learners add, shape [n, c, K]; none otherwise.
    """

    rows: Ints
    cells: Ints
    late: Ints
    early: Ints
    own: Floats
    shared: Floats
    level: Floats
    offset: Floats | None = None

    def parts(self, y: Floats) -> Iterator[tuple[slice, Floats]]:
        """Yield a few units at a time with their influence on the cells, shape [m, c, K]."""
        first = int(min(self.late.min(), self.early.min()))
        last = int(max(self.late.max(), self.early.max())) + 1
        level = self.level[:, first:last]
        for few in portions(len(self.rows), level[0].size):
            path = y[self.rows[few], first:last]
            path *= self.own[few, None, None]
            path += (self.shared[few] @ level.reshape(len(level), -1)).reshape(path.shape)
            found = path[:, self.late - first] - path[:, self.early - first]
            if self.offset is not None:
                found += self.offset[few]
            yield few, found

    def linear(self, y: Floats, weights: Floats) -> Iterator[tuple[slice, Floats]]:
        """Yield a few units at a time with their influence on linear maps, shape [m, r, K]."""
        over_time = np.zeros((len(weights), y.shape[1]))
        for j, (late, early) in enumerate(zip(self.late, self.early, strict=True)):
            over_time[:, late] += weights[:, j]
            over_time[:, early] -= weights[:, j]
        used = np.flatnonzero(over_time.any(axis=0))
        over_time = over_time[:, used]
        level = np.tensordot(over_time, self.level[:, used], axes=(1, 1)).transpose(1, 0, 2)
        for few in portions(len(self.rows), y[0].size):
            found = _combine(y[self.rows[few]][:, used], over_time)
            found *= self.own[few, None, None]
            found += (self.shared[few] @ level.reshape(len(level), -1)).reshape(found.shape)
            if self.offset is not None:
                moved = np.tensordot(self.offset[few], weights, axes=(1, 1))
                found += moved.transpose(0, 2, 1)
            yield few, found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Influence:
    """Influence functions of all cells: estimate minus truth is their sum over units.

    Attributes:
        y: Outcomes, shape [N, T, K].
        blocks: Influence in factors; cells without a block have none.
        known: Whether a cell has an effect, shape [C].
    """

    y: Floats
    blocks: tuple[Block, ...]
    known: NDArray[np.bool_]

    @property
    def rows(self) -> int:
        """Units, N in all."""
        return len(self.y)

    def dense(self) -> Floats:
        """Influence of every unit on every cell, shape [N, C, K]; NaN for unknown cells.

        References:
            Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), theorem 2.

        Examples:
            >>> nobody = Influence(y=np.zeros((2, 2, 1)), blocks=(), known=np.array([True]))
            >>> nobody.dense().shape
            (2, 1, 1)
        """
        return self.sums(np.arange(len(self.y)))

    def sums(self, cluster: Ints, weights: Floats | None = None) -> Floats:
        """Add up influence by cluster, for cells or for linear maps of them.

        Args:
            cluster: Cluster of each unit, 0 .. G - 1, shape [N].
            weights: Linear maps of cells, shape [R, C]; the cells themselves when not given.

        Returns:
            Shape [G, C, K], or [G, R, K]; NaN where a map uses an unknown cell. Beyond the
            result no more than a few units are held at a time.

        Examples:
            >>> nobody = Influence(y=np.zeros((2, 2, 1)), blocks=(), known=np.array([True]))
            >>> nobody.sums(np.array([0, 0])).ravel()
            array([0.])
        """
        groups = int(cluster.max()) + 1 if len(cluster) else 0
        columns = len(self.known) if weights is None else len(weights)
        alone = groups == len(cluster)
        out = np.zeros((groups, columns, self.y.shape[2]))
        for block in self.blocks:
            code = cluster[block.rows]
            if weights is None:
                at = _columns(block.cells)
                for few, found in block.parts(self.y):
                    _add(out, code[few], at, found, alone=alone)
            elif (part := weights[:, block.cells]).any():
                for few, found in block.linear(self.y, part):
                    _add(out, code[few], slice(None), found, alone=alone)
        lost = ~self.known if weights is None else (weights[:, ~self.known] != 0).any(axis=1)
        out[:, lost] = np.nan
        return out

    def squares(self, cluster: Ints) -> Floats:
        """Sum over clusters of squared influence, cell by cell, shape [C, K].

        Examples:
            >>> nobody = Influence(y=np.zeros((2, 2, 1)), blocks=(), known=np.array([True]))
            >>> nobody.squares(np.array([0, 0])).ravel()
            array([0.])
        """
        groups = int(cluster.max()) + 1 if len(cluster) else 0
        out = np.zeros((len(self.known), self.y.shape[2]))
        for block in self.blocks:
            if groups == len(cluster):
                for _, found in block.parts(self.y):
                    out[block.cells] += np.einsum("nck,nck->ck", found, found)
                continue
            summed = np.zeros((groups, len(block.cells), self.y.shape[2]))
            for few, found in block.parts(self.y):
                _add(summed, cluster[block.rows[few]], slice(None), found, alone=False)
            out[block.cells] = (summed**2).sum(axis=0)
        out[~self.known] = np.nan
        return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellInfluence:
    """Influence of rows of a table, cell by cell.

    Attributes:
        rows: Rows of the table.
        width: Components, K in all.
        parts: Rows and their influence, shapes [n] and [n, K], one pair per cell.
        known: Whether a cell has an effect, shape [C].
    """

    rows: int
    width: int
    parts: tuple[tuple[Ints, Floats], ...]
    known: NDArray[np.bool_]

    def dense(self) -> Floats:
        """Influence of every row on every cell, shape [n, C, K]; NaN for unknown cells."""
        return self.sums(np.arange(self.rows))

    def sums(self, cluster: Ints, weights: Floats | None = None) -> Floats:
        """Add up influence by cluster, for cells or for linear maps of them."""
        groups = int(cluster.max()) + 1 if len(cluster) else 0
        maps = np.eye(len(self.parts)) if weights is None else weights
        out = np.zeros((groups, len(maps), self.width))
        for cell, (rows, found) in enumerate(self.parts):
            touched = np.flatnonzero(maps[:, cell])
            if touched.size and len(rows):
                summed = grouped(found, cluster[rows], groups)
                out[:, touched] += summed[:, None, :] * maps[touched, cell][None, :, None]
        out[:, (maps[:, ~self.known] != 0).any(axis=1)] = np.nan
        return out

    def squares(self, cluster: Ints) -> Floats:
        """Sum over clusters of squared influence, cell by cell, shape [C, K]."""
        groups = int(cluster.max()) + 1 if len(cluster) else 0
        out = np.full((len(self.parts), self.width), np.nan)
        for cell, (rows, found) in enumerate(self.parts):
            if self.known[cell]:
                out[cell] = (grouped(found, cluster[rows], groups) ** 2).sum(axis=0)
        return out


def portions(count: int, width: int) -> Iterator[slice]:
    """Cut rows into portions that stay in the processor's cache.

    Examples:
        >>> [(part.start, part.stop) for part in portions(2_000, 100)]
        [(0, 1280), (1280, 2000)]
    """
    size = max(64, 2**17 // max(width, 1) // 32 * 32)
    for begin in range(0, count, size):
        yield slice(begin, min(begin + size, count))


def grouped(values: Floats, code: Ints, groups: int) -> Floats:
    """Add up rows by group, shape [groups, columns].

    Examples:
        >>> grouped(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1]), 2).ravel()
        array([2., 5.])
    """
    out = np.empty((groups, values.shape[1]))
    for k in range(values.shape[1]):
        out[:, k] = np.bincount(code, weights=values[:, k], minlength=groups)
    return out


def _add(out: Floats, code: Ints, columns: slice | Ints, found: Floats, *, alone: bool) -> None:
    """Add influence of units, shape [m, c, K], to columns of the clusters' sums."""
    if not alone:
        order = np.argsort(code, kind="stable")
        code, first = np.unique(code[order], return_index=True)
        found = np.add.reduceat(found[order], first, axis=0)
    # Now every cluster comes once, so adding in place loses nothing.
    if isinstance(columns, slice):
        out[code, columns] += found
    else:
        out[code[:, None], columns[None, :]] += found


def _columns(cells: Ints) -> slice | Ints:
    """Neighbouring cells are a slice, which is faster to write to."""
    first = int(cells[0])
    if (cells == np.arange(first, first + len(cells))).all():
        return slice(first, first + len(cells))
    return cells


def _combine(y: Floats, over_time: Floats) -> Floats:
    """Weigh periods, y [n, t, K] and weights [r, t]; shape [n, r, K]."""
    if y.shape[2] == 1:
        found: Floats = (y[:, :, 0] @ over_time.T)[:, :, None]
        return found
    turned: Floats = np.tensordot(y, over_time, axes=(1, 1)).transpose(0, 2, 1)
    return np.ascontiguousarray(turned)
