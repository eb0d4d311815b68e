"""What do unit and period effects leave, for any number of outcomes at once?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

SAME = 1e-7
RANK = 1e-9
"""Share of a column's square that effects and earlier columns must leave to keep it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoWay:
    """Row and period effects on weighted cells, factorised once for any number of outcomes.

    Eliminating the rows leaves a T x T system (a closed form where weights do not vary over
    time), so cost is linear in units and nothing iterates.

    Attributes:
        weight: Weight of each cell, 0 where it is not used, shape [N, T].
        row: Which row effect a unit has, shape [N]; its own unless it shares one.
        row_weight: Cell weights summed by row, shape [R, T].
        inverse: Pseudo-inverse of the system in the periods, shape [T, T].
    """

    weight: Floats
    row: Ints
    row_weight: Floats
    inverse: Floats

    @classmethod
    def of(cls, weight: Floats, row: Ints | None = None) -> TwoWay:
        """Factorise.

        Examples:
            >>> effects = TwoWay.of(np.ones((2, 3)))
            >>> y = np.array([[0.0, 1.0, 2.0], [5.0, 6.0, 7.0]])[:, :, None]
            >>> residual = effects.residual(y)
            >>> bool(np.abs(residual).max() < 1e-12)
            True
        """
        codes = np.arange(len(weight)) if row is None else np.asarray(row, dtype=np.int64)
        summed = weight if row is None else sum_rows(weight, codes)
        constant = bool((weight == weight[:, :1]).all())
        if row is None and constant and weight.sum() > 0:
            length = weight.shape[1]
            inverse = (np.eye(length) - 1 / length) / weight[:, 0].sum()
        else:
            inverse = _period_inverse(summed)
        return cls(weight=weight, row=codes, row_weight=summed, inverse=inverse)

    def solve(self, rows: Floats, periods: Floats) -> tuple[Floats, Floats]:
        """Solve the normal equations: sums by row [R, m] and by period [T, m] to effects."""
        total = self.row_weight.sum(axis=1)[:, None]
        share = np.divide(rows, total, out=np.zeros_like(rows), where=total > 0)
        period = self.inverse @ (periods - self.row_weight.T @ share)
        level = rows - self.row_weight @ period
        return np.divide(level, total, out=np.zeros_like(rows), where=total > 0), period

    def effects(self, values: Floats) -> tuple[Floats, Floats]:
        """Fit values [N, T, m]: row effects [R, m] and period effects [T, m]."""
        weighted = self.weight[:, :, None] * values
        rows = weighted.sum(axis=1)
        if len(self.row_weight) != len(self.row) or not (np.diff(self.row) == 1).all():
            rows = sum_rows(rows, self.row, len(self.row_weight))
        # Means are taken out first: sums of large levels would cancel in the period system.
        total = self.row_weight.sum(axis=1)[:, None]
        mean = np.divide(rows, total, out=np.zeros_like(rows), where=total > 0)
        periods = weighted.sum(axis=0) - self.row_weight.T @ mean
        extra, period = self.solve(np.zeros_like(rows), periods)
        return mean + extra, period

    def residual(self, values: Floats) -> Floats:
        """Values [N, T, m] less their fitted effects; 0 in cells that are not used."""
        level, period = self.effects(values)
        left = values - level[self.row][:, None, :] - period[None, :, :]
        return np.where(self.weight[:, :, None] > 0, left, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A regression with unit and period effects, ready for linear maps of its coefficients.

    Attributes:
        coefficient: One row per column of the design, shape [P, K]; 0 where not ``kept``.
        kept: Columns that are not a combination of effects and earlier columns, shape [P].
        null: Directions in which coefficients can move without moving the fit, shape [P, d].
    slope: Residualised columns times the inverse of their Gram matrix, shape [R, T, P].
        kind: Row of ``slope`` that a unit has, shape [N].
        residual: Weighted residuals, shape [N, T, K].
        factor: Small-sample factor G / (G - 1) x (n - 1) / (n - k).
    """

    coefficient: Floats
    kept: Bools
    null: Floats
    slope: Floats
    kind: Ints
    residual: Floats
    factor: float

    def identifies(self, weights: Floats) -> Bools:
        """Whether maps [m, P] of the coefficients have one value, shape [m]."""
        size = np.abs(weights) @ np.abs(self.null)
        moved = np.abs(weights @ self.null) > SAME * size
        return np.asarray(~moved.any(axis=1))

    def influence(self, weights: Floats) -> Floats:
        """Influence of units on maps [m, P] of the coefficients, shape [N, m, K]."""
        return by_kind(self.slope @ weights.T, self.kind, self.residual)


def regress(panel: Panel, weight: Floats, kind: Ints, design: Floats, *, more: int = 0) -> Fit:
    """Fit all components on a design [R, T, P] by kind, with unit and period effects.

    The columns are residualised by kind, the outcomes by unit (Frisch, Waugh and Lovell).
    ``more`` parameters count in k, where a convention counts some that unit effects absorb.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[0.0, 3.0], [0.0, 1.0]])
        >>> fit = regress(Panel.of_arrays(y, [1, NEVER]), np.ones((2, 2)), np.array([0, 1]),
        ...               np.array([[[0.0], [1.0]], [[0.0], [0.0]]]))
        >>> fit.coefficient.round(9)
        array([[2.]])
    """
    pooled = sum_rows(weight, kind, len(design))
    columns = TwoWay.of(pooled).residual(design)
    gram = np.einsum("rtp,rtq->pq", columns * pooled[:, :, None], columns)
    raw = np.einsum("rt,rtp->p", pooled, design**2)
    kept = independent(gram, raw)
    inverse = np.zeros_like(gram)
    inverse[np.ix_(kept, kept)] = np.linalg.inv(gram[np.ix_(kept, kept)])
    outcome = np.where(weight[:, :, None] > 0, panel.y, 0.0)
    outcome = TwoWay.of(weight).residual(outcome)
    weighted = outcome * weight[:, :, None]
    sums = sum_rows(weighted.reshape(len(weight), -1), kind, len(design))
    moment = np.einsum("rtp,rtk->pk", columns, sums.reshape(len(design), *weighted.shape[1:]))
    coefficient = inverse @ moment
    fitted = columns @ coefficient
    residual = weighted - fitted[kind] * weight[:, :, None]
    n = int((weight > 0).sum())
    k = int(kept.sum()) + int((weight > 0).any(axis=0).sum()) + more
    groups = len(np.unique(panel.cluster[(weight > 0).any(axis=1)]))
    factor = cr1_factor(groups, n, k)
    return Fit(
        coefficient=coefficient,
        kept=kept,
        null=np.eye(len(gram))[:, ~kept] - (inverse @ gram)[:, ~kept],
        slope=columns @ inverse,
        kind=kind,
        residual=residual,
        factor=factor,
    )


def cr1_factor(clusters: int, n: int, k: int) -> float:
    """Return G / (G - 1) x (n - 1) / (n - k); NaN where it does not exist.

    Examples:
        >>> round(cr1_factor(500, 2500, 6), 6)
        1.004013
    """
    if clusters < 2 or n <= k:
        return float("nan")
    return clusters / (clusters - 1) * (n - 1) / (n - k)


def sum_rows(values: Floats, code: Ints, count: int | None = None) -> Floats:
    """Sum rows [N, m] by code to [R, m].

    Examples:
        >>> sum_rows(np.array([[1.0], [2.0], [3.0]]), np.array([0, 1, 0]))
        array([[4.],
               [2.]])
    """
    size = int(code.max()) + 1 if count is None else count
    rows = len(code)
    if size == rows and (code == np.arange(rows)).all():
        return values
    picker = sparse.coo_array((np.ones(rows), (code, np.arange(rows))), shape=(size, rows))
    return np.asarray(picker.tocsr() @ values, dtype=np.float64)


def by_kind(slope: Floats, kind: Ints, residual: Floats) -> Floats:
    """Return sum over t of slope[kind, t, m] x residual[i, t, k], shape [N, m, K].

    Examples:
        >>> by_kind(np.ones((1, 2, 1)), np.array([0, 0]), np.ones((2, 2, 3))).shape
        (2, 1, 3)
    """
    count, _, width = residual.shape
    out = np.empty((count, slope.shape[2], width))
    order = np.argsort(kind, kind="stable")
    ends = np.searchsorted(kind[order], np.arange(len(slope) + 1))
    if len(slope) * 20 > count:
        for low in range(0, count, 4096):
            part = slice(low, low + 4096)
            out[part] = slope[kind[part]].transpose(0, 2, 1) @ residual[part]
        return out
    for r in range(len(slope)):
        units = order[ends[r] : ends[r + 1]]
        out[units] = slope[r].T @ residual[units]
    return out


def independent(gram: Floats, raw: Floats) -> Bools:
    """Mark columns that earlier columns do not span, from their Gram matrix and raw squares.

    Examples:
        >>> independent(np.array([[1.0, 1.0], [1.0, 1.0]]), np.ones(2))
        array([ True, False])
    """
    scale = np.sqrt(np.where(raw > 0, raw, 1.0))
    left = gram / np.outer(scale, scale)
    if len(gram) > 0 and np.linalg.eigvalsh(left)[0] > RANK:
        return np.ones(len(gram), dtype=bool)
    kept = np.zeros(len(gram), dtype=bool)
    for j in range(len(gram)):
        if left[j, j] > RANK:
            kept[j] = True
            left = left - np.outer(left[:, j], left[j, :]) / left[j, j]
    return kept


def _period_inverse(weight: Floats) -> Floats:
    """Pseudo-inverse of diag(W'1) - W' diag(1 / W1) W, on periods scaled to unit diagonal."""
    total = weight.sum(axis=1)
    share = np.divide(
        weight, total[:, None], out=np.zeros_like(weight), where=total[:, None] > 0
    )
    column = weight.sum(axis=0)
    system = np.diag(column) - weight.T @ share
    scale = 1 / np.sqrt(np.where(column > 0, column, 1.0))
    value, vector = np.linalg.eigh(system * np.outer(scale, scale))
    safe = np.where(value > RANK, 1 / np.where(value > RANK, value, 1.0), 0.0)
    inverse: Floats = scale[:, None] * ((vector * safe) @ vector.T) * scale[None, :]
    return inverse
