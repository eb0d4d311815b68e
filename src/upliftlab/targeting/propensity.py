"""How likely was each arm for each unit: as designed, or as it looks?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.targeting.boosting import Shape, grow, threads_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.targeting.boosting import Bins

    Matrix = NDArray[np.float32]
    Ints = NDArray[np.integer[Any]]

FLOOR = 0.01
"""Least estimated probability of an arm; below it a single unit would count a hundredfold."""

MOST_LEARNED = 200_000
"""Units that a model of assignment is fitted on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Propensity:
    """Probability of each arm for each unit.

    Attributes:
        value: Float32 [n, A]; rows add up to 1.
        is_known: Whether by design.
        raised: Share of units of which some arm was raised to the floor.
        model: "design", "shares", "logit" or "boosted".
    """

    value: Matrix
    is_known: bool
    raised: float = 0.0
    model: str = "design"


def known_propensity(
    propensity: ArrayLike,
    n: int,
    *,
    arms: Sequence[str],
    stratum: Ints | None = None,
) -> Propensity:
    """Give every unit the probabilities of the design.

    Args:
        propensity: Shape [A] for everybody, [S, A] by stratum, or [n, A] by unit.
        n: Units.
        arms: Names of arms, control first.
        stratum: Position of each unit's stratum, shape [n]; needed for [S, A].

    Raises:
        DesignError: When probabilities do not add up to 1, or an arm has none somewhere.

    Examples:
        >>> known_propensity([0.9, 0.1], 2, arms=("none", "coupon")).value.tolist()
        [[0.8999999761581421, 0.10000000149011612], [0.8999999761581421, 0.10000000149011612]]
    """
    table = np.asarray(propensity, dtype=np.float32)
    if table.shape[-1] != len(arms):
        raise DesignError(
            f"propensities have shape {table.shape} and arms are {list(arms)}; give one "
            "probability per arm, control first."
        )
    if np.abs(table.sum(axis=-1) - 1).max() > 1e-3:
        worst = float(table.sum(axis=-1).flat[np.abs(table.sum(axis=-1) - 1).argmax()])
        raise DesignError(
            f"propensities of a unit add up to {worst:.4g}; they must add up to 1."
        )
    never = np.flatnonzero((table.reshape(-1, len(arms)) <= 0).any(axis=0))
    if len(never):
        raise DesignError(
            f"arm {arms[int(never[0])]!r} has probability 0 for some units; nothing is "
            "known of what it would do to them. Leave these units out."
        )
    if table.ndim == 1:
        return Propensity(value=np.broadcast_to(table, (n, len(arms))), is_known=True)
    if stratum is not None and len(table) != n:
        return Propensity(value=table[stratum], is_known=True)
    if len(table) != n:
        raise DesignError(
            f"propensities are given for {len(table)} strata, but no stratum of units; give "
            "stratum, or one row per unit."
        )
    return Propensity(value=table, is_known=True)


def estimated_propensity(
    bins: Bins, arm: Ints, *, fold: Ints, arms: Sequence[str], seed: int = 1
) -> Propensity:
    """Estimate how likely each arm was, for units that chance did not assign by design.

    Arm shares, a multinomial logit and boosted trees are fitted without the fold they predict;
    the one with the least log loss is used. Probabilities below ``FLOOR`` are raised to it.

    Args:
        bins: What was known of units.
        arm: Arm of each unit, shape [n].
        fold: Fold of each unit; units of fold -1 are predicted by the mean of all models.
        arms: Names of arms, control first.
        seed: Of everything random.

    References:
        Chernozhukov et al. (2018), *Econometrics Journal* 21(1), definition 3.2.
    """
    best, value, model = np.inf, np.empty((0, 0), dtype=np.float32), ""
    learns = fold >= 0
    for name, fit in (("shares", _shares), ("logit", _logit), ("boosted", _boosted)):
        found = _crossfitted(fit, bins, arm, fold=fold, count=len(arms), seed=seed)
        own = found[learns, arm[learns]].astype(np.float64)
        loss = float(-np.log(np.maximum(own, 1e-12)).mean())
        if loss < best:
            best, value, model = loss, found, name
    raised = float((value < FLOOR).any(axis=1).mean())
    value = np.maximum(value, FLOOR)
    value /= value.sum(axis=1, keepdims=True)
    return Propensity(value=value, is_known=False, raised=raised, model=model)


def _crossfitted(
    fit: Callable[..., Callable[[Matrix], NDArray[Any]]],
    bins: Bins,
    arm: Ints,
    *,
    fold: Ints,
    count: int,
    seed: int,
) -> Matrix:
    out = np.zeros((len(arm), count), dtype=np.float32)
    labels = np.unique(fold[fold >= 0])
    aside = np.flatnonzero(fold < 0)
    rng = np.random.default_rng(seed)
    for label in labels:
        rows = np.flatnonzero((fold >= 0) & (fold != label))
        if len(rows) > MOST_LEARNED:
            rows = np.sort(rng.choice(rows, MOST_LEARNED, replace=False))
        predict = fit(bins, arm, rows=rows, count=count, seed=seed)
        here = np.flatnonzero(fold == label)
        out[here] = predict(bins.x[here])
        if len(aside):
            out[aside] += predict(bins.x[aside]) / len(labels)
    return out


def _shares(
    bins: Bins, arm: Ints, *, rows: Ints, count: int, seed: int
) -> Callable[[Matrix], NDArray[Any]]:
    del bins, seed
    shares = np.bincount(arm[rows], minlength=count) / len(rows)
    return lambda x: np.broadcast_to(shares, (len(x), count))


def _logit(
    bins: Bins, arm: Ints, *, rows: Ints, count: int, seed: int
) -> Callable[[Matrix], NDArray[Any]]:
    """Fit on standardised columns; a gap is the mean, with a column that says so."""
    from sklearn.linear_model import LogisticRegression

    del count
    x = bins.x[rows]
    gappy = np.flatnonzero(np.isnan(x).any(axis=0))
    middle, spread = np.nanmean(x, axis=0), np.nanstd(x, axis=0)
    spread = np.where(spread > 0, spread, 1.0)

    def design(part: Matrix) -> Matrix:
        plain = np.nan_to_num((part - middle) / spread, nan=0.0, posinf=0.0, neginf=0.0)
        return np.hstack([plain, np.isnan(part[:, gappy])]).astype(np.float32)

    model = LogisticRegression(max_iter=1_000, tol=1e-4, random_state=seed)
    model.fit(design(x), arm[rows])
    return lambda part: np.asarray(model.predict_proba(design(part)))


def _boosted(
    bins: Bins, arm: Ints, *, rows: Ints, count: int, seed: int
) -> Callable[[Matrix], NDArray[Any]]:
    shape = Shape(trees=60, leaves=7, rate=0.05, least=max(20, len(rows) // 100))
    model = grow(bins, arm, shape=shape, rows=rows, classes=count, seed=seed)
    return lambda part: np.asarray(model.predict(part, num_threads=threads_for(len(part))))
