"""What does a boosted model of many outcomes at once predict, when all share its trees?"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike, NDArray

    Matrix = NDArray[np.float32]
    Floats = NDArray[np.float64]
    Rows = NDArray[np.integer[Any]]

T = TypeVar("T")
R = TypeVar("R")

MOST_BINS = 63
"""Bins per column: 64 values fit a cache line, and more do not rank customers better."""

CHUNK = 65_536
"""Rows whose leaves are looked up at once."""

FEW = 50_000
"""Rows up to which one thread predicts: more would wait longer than they work."""

MANY = 2_000_000
"""Rows from which one model is grown by all cores; below, models are grown side by side."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bins:
    """A matrix cut into bins once, for every model that is fitted on its rows.

    Attributes:
        x: The matrix, float32 [n, P].
        dataset: LightGBM's binned copy.
    """

    x: Matrix
    dataset: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How far a boosted model may go.

    Attributes:
        trees: Rounds.
        leaves: Leaves per tree.
        rate: Share of a leaf's mean residual that is added per round.
        least: Fewest units in a leaf.
        by_chance: Whether one threshold per column and leaf is drawn, and the best column
            taken, instead of the best threshold: smoother, where outcomes are nearly all noise
            (Geurts, Ernst and Wehenkel 2006, *Machine Learning* 63(1)).
    """

    trees: int
    leaves: int
    rate: float
    least: int
    by_chance: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedBoost:
    """Trees grown on one outcome, with leaf values of K outcomes.

    Given the trees, predictions are linear in the outcomes: the prediction of a priced sum of
    outcomes is the priced sum of their predictions.

    Attributes:
        booster: LightGBM's trees; None where nothing could be split.
        start: Mean of each outcome, shape [K].
        leaves: Values to add, shape [T, L, K].
    """

    booster: Any
    start: Floats
    leaves: Floats

    def predict(self, x: Matrix) -> Matrix:
        """Return predictions of all outcomes, float32 [n, K]."""
        out = np.tile(self.start.astype(np.float32), (len(x), 1))
        values = self.leaves.astype(np.float32)
        for begin in range(0, len(x), CHUNK):
            sums = out[begin : begin + CHUNK]
            step = np.empty_like(sums)
            found = _leaves(self.booster, x[begin : begin + CHUNK])
            for leaf, value in zip(found, values, strict=True):
                value.take(leaf.astype(np.intp), axis=0, out=step, mode="clip")
                sums += step
        return out


def bin_features(x: ArrayLike, *, most_bins: int = MOST_BINS) -> Bins:
    """Cut every column of a matrix into bins; NaN has its own.

    Args:
        x: Shape [n, P]; kept as float32.
        most_bins: Per column.
    """
    import lightgbm

    matrix = np.ascontiguousarray(x, dtype=np.float32)
    dataset = lightgbm.Dataset(
        matrix,
        params={
            "max_bin": most_bins,
            "min_data_in_bin": 3,
            "num_threads": threads_for(len(matrix)),
            "verbose": -1,
        },
        free_raw_data=False,
    )
    return Bins(x=matrix, dataset=dataset.construct())


def threads_for(rows: int) -> int:
    """Return threads that predict so many rows: one for few, else (0) one per core."""
    return 1 if rows < FEW else 0


def side_by_side(work: Callable[[T], R], tasks: Iterable[T]) -> list[R]:
    """Do independent tasks on all cores and return what they return, in order.

    Threads within one model meet after every split, and on a busy machine they mostly wait.

    Examples:
        >>> side_by_side(abs, [-1, 2])
        [1, 2]
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(work, tasks))


def grow(
    bins: Bins,
    target: NDArray[Any],
    *,
    shape: Shape,
    rows: Rows | None = None,
    weight: NDArray[Any] | None = None,
    classes: int = 0,
    seed: int = 1,
) -> Any:  # noqa: ANN401 - a LightGBM model
    """Fit LightGBM, with squared error unless there are classes, and return its booster.

    Args:
        bins: All units.
        target: What trees are grown on, shape [n] (all units, rows are taken from it).
        shape: Of the model.
        rows: Positions of the units to learn on; None for all.
        weight: Of each unit, shape [n]; None for equal weights.
        classes: How many the target counts from 0 on, for their probabilities.
        seed: Of thresholds drawn by chance; no rows or columns are sampled.
    """
    import lightgbm

    used = np.arange(len(bins.x)) if rows is None else np.sort(rows)
    # A copy of the bins even for all rows: models that are grown side by side label their own.
    data = bins.dataset.subset(used).construct()
    data.set_label(target[used])
    data.set_weight(None if weight is None else weight[used])
    kind: dict[str, Any] = {"objective": "l2"}
    if classes:
        kind = {"objective": "multiclass", "num_class": classes}
    settings = kind | {
        "num_leaves": shape.leaves,
        "learning_rate": shape.rate,
        "min_child_samples": shape.least,
        "min_child_weight": 0.0,
        "extra_trees": shape.by_chance,
        "force_row_wise": True,
        "num_threads": 1 if data.num_data() < MANY else 0,
        "deterministic": True,
        "seed": seed,
        "verbose": -1,
    }
    return lightgbm.train(settings, data, shape.trees)


def fit_shared(
    bins: Bins,
    y: NDArray[Any],
    *,
    guide: NDArray[Any],
    shape: Shape,
    rows: Rows | None = None,
    weight: NDArray[Any] | None = None,
    seed: int = 1,
) -> SharedBoost:
    """Grow trees on one outcome and refit their leaves for all outcomes.

    Each tree's leaf adds ``rate`` times the weighted mean of what the trees before it left
    over, which is what LightGBM itself does for the guide: for a guide that is a weighted sum
    of the outcomes, the same sum of predictions is LightGBM's own prediction. Trees are grown
    once, whatever the number of outcomes.

    Args:
        bins: All units, binned.
        y: Outcomes, shape [n, K].
        guide: Outcome that trees are grown on, such as profit, shape [n].
        shape: Of the model.
        rows: Positions of the units to learn on; None for all.
        weight: Of each unit, shape [n]; None for equal weights.
        seed: Of thresholds drawn by chance.

    Returns:
        The model; without enough units for a split, means alone.

    References:
        Friedman (2001), *Annals of Statistics* 29(5), algorithm 2 (least squares boosting).

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(400, 2))
        >>> y = np.column_stack([x[:, 0] > 0, rng.normal(size=400)]).astype(float)
        >>> profit = y @ [2.0, -1.0]
        >>> shape = Shape(trees=20, leaves=4, rate=0.2, least=20)
        >>> model = fit_shared(bin_features(x), y, guide=profit, shape=shape)
        >>> both = model.predict(x.astype(np.float32)) @ np.array([2.0, -1.0])
        >>> bool(np.allclose(both, model.booster.predict(x), atol=1e-5))
        True
    """
    picked = np.arange(len(bins.x)) if rows is None else np.sort(rows)
    mass = None if weight is None else weight[picked].astype(np.float64)
    # One outcome a row: each is read and written as one run of memory.
    rest = np.empty((y.shape[1], len(picked)), dtype=np.float32)
    start = np.empty(y.shape[1])
    for k in range(y.shape[1]):
        outcome = y[picked, k].astype(np.float64)
        start[k] = np.average(outcome, weights=mass)
        rest[k] = outcome - start[k]
    if len(picked) < 2 * shape.least or shape.trees == 0 or not np.ptp(guide[picked]) > 0:
        return SharedBoost(booster=None, start=start, leaves=np.zeros((0, 0, y.shape[1])))
    booster = grow(bins, guide, shape=shape, rows=picked, weight=weight, seed=seed)
    trees = booster.num_trees()
    where = np.empty((trees, len(picked)), dtype=np.uint8)
    for begin in range(0, len(picked), CHUNK):
        part = bins.x[picked[begin : begin + CHUNK]]
        where[:, begin : begin + CHUNK] = _leaves(booster, part)
    values = np.zeros((trees, shape.leaves, y.shape[1]))
    for t in range(trees):
        values[t] = _refit(rest, where[t], mass, shape)
    return SharedBoost(booster=booster, start=start, leaves=values)


def _refit(rest: Matrix, leaf: NDArray[np.uint8], mass: Floats | None, shape: Shape) -> Floats:
    """Return one tree's leaf values [L, K], and take them off what is left over."""
    # Converted once for all outcomes: numpy counts and looks up by this type.
    at = leaf.astype(np.intp)
    size = np.bincount(at, weights=mass, minlength=shape.leaves)
    values = np.zeros((shape.leaves, len(rest)))
    used = size > 0
    for k in range(len(rest)):
        part = rest[k] if mass is None else rest[k] * mass
        sums = np.bincount(at, weights=part, minlength=shape.leaves)
        values[used, k] = shape.rate * sums[used] / size[used]
        rest[k] -= values[:, k].astype(np.float32).take(at)
    return values


def _leaves(booster: Any, x: Matrix) -> NDArray[np.uint8]:  # noqa: ANN401 - a LightGBM model
    """Return the leaf of each row in each tree, [T, n]."""
    if booster is None or not len(x):
        return np.zeros((0, len(x)), dtype=np.uint8)
    found = booster.predict(x, pred_leaf=True, num_threads=1)
    return np.ascontiguousarray(found.T, dtype=np.uint8)
