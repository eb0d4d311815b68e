"""Which weighted sums of inequalities are free of the effects we do not ask about?"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DesignError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

MOST = 20_000
_ZERO = 1e-10


def vertices(rows: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return every extreme way of adding up inequalities such that only the aggregate is left.

    With inequalities rows @ tau <= ..., a sum with multipliers g >= 0 is free of nuisance when
    rows' g = c * weights for some c: these multipliers are, up to scale, the vertices of the
    dual of the linear programme in the test of Andrews, Roth and Pakes. They depend neither on
    the data nor on the size of the violation, so they are found once, by double description.
    Two-sided bounds on differences of n periods have only n + 2 of them.

    Args:
        rows: Coefficients of the effects after the start, shape [r, n]; the first n rows are
            linearly independent.
        weights: The aggregate, shape [n].

    Returns:
        Multipliers, shape [V, r], and their c, shape [V].

    References:
        Andrews, Roth and Pakes (2023), *Review of Economic Studies* 90(6), section 4; Fukuda
        and Prodon (1996), "Double description method revisited".

    Examples:
        >>> multipliers, slope = vertices(np.array([[1.0], [-1.0]]), np.array([1.0]))
        >>> multipliers.tolist(), slope.tolist()
        ([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]], [0.0, 1.0, -1.0])
    """
    found = _cached(rows.tobytes(), weights.tobytes(), rows.shape)
    return found[0].copy(), found[1].copy()


@lru_cache(maxsize=64)
def _cached(rows: bytes, weights: bytes, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    count, size = shape
    matrix = np.frombuffer(rows).reshape(shape)
    target = np.frombuffer(weights)
    # In the coordinates of the first rows, nearly every inequality touches one coordinate, so
    # that few rays exist at any time.
    turn = np.linalg.inv(matrix[:size])
    lifted = np.concatenate([matrix @ turn, [-target @ turn, target @ turn]])
    lifted[np.abs(lifted) < _ZERO] = 0.0
    rays = np.eye(count + 2)
    for j in range(size):
        rays = _cut(rays, lifted[:, j], most=j + 2)
    rays = rays[(rays[:, :count] > 0).any(axis=1)]
    return rays[:, :count], rays[:, count] - rays[:, count + 1]


def _cut(rays: Floats, equation: Floats, *, most: int) -> Floats:
    """Extreme rays, with at most so many positive entries, where the equation holds, too."""
    side = rays @ equation
    side[np.abs(side) < _ZERO] = 0.0
    up, down = np.flatnonzero(side > 0), np.flatnonzero(side < 0)
    empty = rays == 0
    made = [rays[side == 0]]
    for i in up:
        near = down[(~(empty[i] & empty[down])).sum(axis=1) <= most]
        partners = near[_adjacent(empty, int(i), near)]
        new = rays[i] * -side[partners, None] + rays[partners] * side[i]
        made.append(new / new.max(axis=1, keepdims=True))
    out = np.concatenate(made)
    out[out < _ZERO] = 0.0
    if len(out) > MOST:
        raise DesignError(
            f"these restrictions have more than {MOST} vertices; use fewer periods after the "
            "start, or leave out the sign and the shape."
        )
    return out


def _adjacent(empty: Bools, i: int, others: NDArray[np.int64]) -> Bools:
    """Which rays span a face with ray i: no third ray vanishes wherever both do."""
    both = (empty[i] & empty[others]).astype(np.float32)
    strays = both @ (~empty).astype(np.float32).T
    out: Bools = (strays == 0).sum(axis=1) == 2
    return out
