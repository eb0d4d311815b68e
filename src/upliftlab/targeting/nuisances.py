"""What does a unit's money look like before its own arm and outcome have a say?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.targeting.boosting import CHUNK, Shape, fit_shared, side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.targeting.boosting import Bins, SharedBoost

    Matrix = NDArray[np.float32]
    Cube = NDArray[np.float32]
    Ints = NDArray[np.integer[Any]]


def nuisance_shape(rows: int) -> Shape:
    """Return how far a regression on so many units may go: shallow, and slow to follow one."""
    return Shape(trees=60, leaves=8, rate=0.1, least=max(50, rows // 200))


def expected(
    bins: Bins,
    y: NDArray[Any],
    arm: Ints,
    *,
    fold: Ints,
    chances: Matrix,
    prices: ArrayLike | None,
    is_pooled: bool,
    seed: int,
) -> Cube:
    """Predict every component in every arm for each unit from other folds.

    Args:
        bins: What was known of units.
        y: Components, shape [n, K].
        arm: Arm of each unit, shape [n].
        fold: Fold of each unit; units of -1 get the mean of all models.
        chances: Probability of each arm, shape [n, A].
        prices: Shape [A, K]; trees are grown on the priced sum. None counts every component
            by its standard deviation.
        is_pooled: Whether two arms share the one regression that is best for their difference.
        seed: Of the trees.

    Returns:
        Predictions, float32 [n, A, K].

    References:
        Cao, Tsiatis and Davidian (2009), *Biometrika* 96(3): with known probabilities the
        regression is chosen by the variance of the estimate; for a difference of two arms the
        least variance has (1 - e) m_1 + e m_0, fitted with weights (1 - e) / e and its inverse.
    """
    priced = None if prices is None else _priced(y, arm, prices)
    out = np.zeros((len(y), chances.shape[1], y.shape[1]), dtype=np.float32)
    folds = np.unique(fold[fold >= 0])
    aside = np.flatnonzero(fold < 0)
    weight = _weights(arm, chances) if is_pooled else None
    groups = [slice(None)] if is_pooled else [slice(a, a + 1) for a in range(chances.shape[1])]

    def learned(task: tuple[slice, int]) -> SharedBoost:
        group, label = task
        mine = np.ones(len(arm), dtype=bool) if is_pooled else arm == group.start
        rows = np.flatnonzero(mine & (fold >= 0) & (fold != label))
        model = fit_shared(
            bins,
            y,
            guide=_standardised(y, rows) if priced is None else priced,
            shape=nuisance_shape(len(rows)),
            rows=rows,
            weight=weight,
            seed=seed,
        )
        for at in _chunks(np.flatnonzero(fold == label)):
            out[at, group] = model.predict(bins.x[at])[:, None]
        return model

    tasks = [(group, label) for group in groups for label in folds]
    models = side_by_side(learned, tasks)

    def averaged(at: Ints) -> None:
        for (group, _), model in zip(tasks, models, strict=True):
            out[at, group] += model.predict(bins.x[at])[:, None] / len(folds)

    side_by_side(averaged, _chunks(aside))
    return out


def _priced(y: NDArray[Any], arm: Ints, prices: ArrayLike) -> Matrix:
    """Price each unit's components in its own arm, float32 [n]."""
    size = (int(arm.max()) + 1, y.shape[1])
    table = np.broadcast_to(np.asarray(prices, dtype=np.float32), size)
    guide = np.zeros(len(y), dtype=np.float32)
    for k in range(y.shape[1]):
        guide += y[:, k] * table[:, k][arm]
    return guide


def _standardised(y: NDArray[Any], rows: Ints) -> Matrix:
    """Add up components in standard deviations of the units that teach, float32 [n]."""
    guide = np.zeros(len(y), dtype=np.float32)
    for k in range(y.shape[1]):
        spread = float(y[rows, k].std(dtype=np.float64))
        if spread > 0:
            guide += (y[:, k] / spread).astype(np.float32)
    return guide


def _weights(arm: Ints, chances: Matrix) -> Matrix | None:
    """Weigh units by the chance of the other arm over that of their own; None if equal."""
    own = np.where(arm == 1, chances[:, 1], chances[:, 0])
    weight = ((1 - own) / own).astype(np.float32)
    return None if np.ptp(weight) < 1e-6 else weight


def _chunks(rows: Ints) -> Iterator[Ints]:
    for begin in range(0, len(rows), CHUNK):
        yield rows[begin : begin + CHUNK]
