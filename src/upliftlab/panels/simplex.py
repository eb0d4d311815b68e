"""Which weights, none negative and adding up to one, come closest to a target?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_STEPS_PER_COLUMN = 20
_GRAM_UP_TO = 4_000
_DUAL_FROM = 200
_DUAL_RIDGE = 1e-6


def least_squares(
    columns: Floats, target: Floats, *, ridge: Floats | float = 0.0, start: Floats | None = None
) -> Floats:
    """Minimise |columns w - target|^2 + sum ridge w^2 over the unit simplex, exactly.

    An active set method: it ends at the optimum after finitely many steps, so the result does
    not depend on a stopping rule. Many columns with a real penalty are solved in the dual.

    Args:
        columns: One column per candidate, shape [R, n].
        target: What the mixture should equal, shape [R].
        ridge: Penalty of each squared weight, one number or shape [n].
        start: Feasible weights to begin with, shape [n]; near the optimum they save time.

    Returns:
        Weights [n]; where several mixtures fit equally well, one with few non-zero weights.

    References:
        Wolfe (1976), *Mathematical Programming* 11, for the active set; Lawson and Hanson
        (1974), *Solving Least Squares Problems*, chapter 23.

    Examples:
        >>> least_squares(np.array([[0.0, 2.0, 5.0], [0.0, 2.0, 1.0]]), np.array([1.0, 2.0]))
        array([0.25, 0.75, 0.  ])
    """
    width = columns.shape[1]
    penalty = np.broadcast_to(np.asarray(ridge, dtype=np.float64), (width,))
    # Weights add up to one: moving the origin to the target changes nothing but the rounding.
    gaps = columns - target[:, None]
    square = (gaps * gaps).sum(axis=0)
    scale = float(square.max(initial=0.0) + penalty.max(initial=0.0))
    if width == 1 or scale == 0.0:
        return np.full(width, 1.0 / width)
    if width >= _DUAL_FROM and float(penalty.min()) > _DUAL_RIDGE * scale / width:
        start = _dual_newton(gaps, penalty)
    return _active_set(gaps, penalty, scale, start)


def frank_wolfe(
    columns: Floats,
    target: Floats,
    *,
    ridge: float,
    start: Floats,
    min_decrease: float,
    max_steps: int,
) -> Floats:
    """Minimise as ``least_squares`` does, by Frank-Wolfe steps, until one no longer pays.

    Stops when a step (from the second on) decreases the objective by ``min_decrease`` or less:
    near the optimum, and equal to the result of programs with the same rule.

    Args:
        columns: One column per candidate, shape [R, n].
        target: What the mixture should equal, shape [R].
        ridge: Penalty of each squared weight.
        start: Feasible weights to begin with, shape [n].
        min_decrease: Smallest decrease of the objective that is worth another step.
        max_steps: Stop here at the latest.

    Returns:
        Weights [n].

    References:
        Frank and Wolfe (1956), *Naval Research Logistics* 3; stopping rule of Arkhangelsky,
        Athey, Hirshberg, Imbens and Wager (2021), *AER* 111(12), in their R program.

    Examples:
        >>> frank_wolfe(np.eye(2), np.array([0.75, 0.25]), ridge=0.0,
        ...             start=np.array([0.5, 0.5]), min_decrease=1e-9, max_steps=100)
        array([0.75, 0.25])
    """
    weights = np.array(start, dtype=np.float64)
    width = len(weights)
    gram = columns.T @ columns if width <= _GRAM_UP_TO else None
    cross = target @ columns
    image = (columns @ weights) @ columns + ridge * weights
    diagonal = (columns * columns).sum(axis=0) + ridge
    for step in range(max_steps):
        slope = image - cross
        best = int(slope.argmin())
        along = float(weights @ image)
        fall = float(weights @ cross) - along + float(slope[best])
        bend = float(diagonal[best]) - 2 * float(image[best]) + along
        share = min(1.0, max(0.0, -fall / bend)) if bend > 0 else 0.0
        weights *= 1 - share
        weights[best] += share
        image *= 1 - share
        image += share * (columns[:, best] @ columns if gram is None else gram[best])
        image[best] += share * ridge
        if step and -share * (2 * fall + share * bend) <= min_decrease:
            break
    return weights


def sparsified(weights: Floats) -> Floats:
    """Drop weights up to a quarter of the largest and scale the rest to one.

    References:
        Arkhangelsky et al. (2021), their R program: the start of the second round.

    Examples:
        >>> sparsified(np.array([0.6, 0.3, 0.1]))
        array([0.66666667, 0.33333333, 0.        ])
    """
    kept = np.where(weights <= weights.max() / 4, 0.0, weights)
    out: Floats = kept / kept.sum()
    return out


def _active_set(gaps: Floats, ridge: Floats, scale: float, start: Floats | None) -> Floats:
    width = gaps.shape[1]
    weights = np.zeros(width)
    if start is None:
        weights[int(np.argmin((gaps * gaps).sum(axis=0) + ridge))] = 1.0
    else:
        weights[:] = start
        weights = _settle(gaps, ridge, weights, weights > 0)
    tolerance = 1e-13 * scale
    for _ in range(_STEPS_PER_COLUMN * width):
        slope = gaps.T @ (gaps @ weights) + ridge * weights
        slope -= weights @ slope
        passive = weights > 0
        entering = int(np.argmin(np.where(passive, np.inf, slope)))
        if passive.all() or slope[entering] >= -tolerance:
            break
        passive[entering] = True
        before = weights
        weights = _settle(gaps, ridge, weights, passive)
        if np.array_equal(before, weights):
            break
    return weights


def _settle(gaps: Floats, ridge: Floats, weights: Floats, passive: NDArray[np.bool_]) -> Floats:
    """Move to the optimum on the passive columns, dropping those that hit zero on the way."""
    weights = weights.copy()
    index = np.flatnonzero(passive)
    while True:
        wanted = _on_the_plane(gaps[:, index], ridge[index])
        now = weights[index]
        low = wanted <= 0
        if not low.any():
            weights[index] = wanted
            return weights
        room = now[low] / np.maximum(now[low] - wanted[low], np.finfo(float).tiny)
        share = float(min(1.0, room.min()))
        moved = now + share * (wanted - now)
        leaving = low & (moved <= 1e-15)
        leaving[np.flatnonzero(low)[int(np.argmin(room))]] = True
        moved[leaving] = 0.0
        weights[index] = moved
        index = index[~leaving]
        weights[index] /= weights[index].sum()
        if len(index) == 1:
            return weights


def _on_the_plane(gaps: Floats, ridge: Floats) -> Floats:
    """Optimum over weights of any sign that add up to one."""
    count = gaps.shape[1]
    gram = gaps.T @ gaps
    gram[np.diag_indices(count)] += ridge
    unit = float(np.trace(gram)) / count or 1.0
    system = np.empty((count + 1, count + 1))
    system[:count, :count] = gram / unit
    system[count, :count] = system[:count, count] = 1.0
    system[count, count] = 0.0
    right = np.zeros(count + 1)
    right[count] = 1.0
    try:
        solved = np.linalg.solve(system, right)
    except np.linalg.LinAlgError:
        solved = np.linalg.lstsq(system, right)[0]
    out: Floats = solved[:count]
    return out


def _dual_newton(gaps: Floats, ridge: Floats) -> Floats:
    """Solve with R + 1 unknowns in place of n: weights = max(0, (gaps' v + mu) / ridge)."""
    rows, width = gaps.shape
    dual = np.zeros(rows + 1)
    dual[:rows] = -gaps.mean(axis=1)
    full = np.vstack([gaps, np.ones(width)])
    dual[rows] = float(np.max(ridge / width - full[:rows].T @ dual[:rows]))
    eye = np.diag(np.append(np.ones(rows), 1e-12 / ridge.max()))
    last = np.append(np.zeros(rows), 1.0)

    def value(at: Floats) -> float:
        lifted = np.maximum(full.T @ at, 0.0)
        return float(at[:rows] @ at[:rows] + (lifted * lifted / ridge).sum()) / 2 - float(
            at[rows]
        )

    for _ in range(100):
        lifted = full.T @ dual
        active = lifted > 0
        slope = np.append(dual[:rows], 0.0) + full[:, active] @ (lifted[active] / ridge[active])
        slope -= last
        chosen = full[:, active]
        step = np.linalg.solve(eye + (chosen / ridge[active]) @ chosen.T, -slope)
        down, here, share = float(slope @ step), value(dual), 1.0
        while share > 1e-8 and value(dual + share * step) > here + 1e-4 * share * down:
            share /= 2
        if -down <= 1e-15 * max(1e-300, abs(here)) or share <= 1e-8:
            break
        dual = dual + share * step
    weights = np.maximum(full.T @ dual, 0.0) / ridge
    out: Floats = weights / weights.sum()
    return out
