"""What did the units with the highest predictions gain, and who are they?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DataError, UpliftlabError
from upliftlab.stats.estimate import Estimate, interval, undefined
from upliftlab.stats.joint import Joint
from upliftlab.stats.multiplicity import simultaneous
from upliftlab.targeting.answer import Group, Trait
from upliftlab.targeting.ranking import (
    ROWS_AT_ONCE,
    Ranking,
    cluster_codes,
    column,
    corrected,
    middle_shares,
    rank_within,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    _Column = NDArray[np.floating[Any]]
    _Named = tuple[str, _Column, _Column]

MOST_LEVELS = 12
"""Levels of a category that are shown; rarer ones are one trait, "other"."""

OTHER = "other"
_PARTS = {3: "third", 4: "quarter", 5: "fifth", 10: "tenth"}
_ORDINALS = ("", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")


def membership(
    prediction: ArrayLike, *, groups: int = 5, fold: ArrayLike | None = None
) -> Ints:
    """Cut units into groups of equal size by prediction, 0 being the best.

    Equal predictions stay together, in the group of their middle rank: groups may then differ
    in size or stay empty, but never depend on the order of rows.

    Args:
        prediction: Predicted gain, made without the unit, shape [n].
        groups: How many.
        fold: Ranks are taken within each fold, shape [n]; needed where folds have models of
            their own.

    Returns:
        Group of each unit, from 0 (highest predictions), shape [n].

    Examples:
        >>> membership([0.1, 0.9, 0.5, 0.5], groups=2).tolist()
        [1, 0, 1, 1]
    """
    if groups < 2:
        raise UpliftlabError(f"groups is {groups}; write at least 2.")
    given = column(prediction, "prediction")
    behind = middle_shares(Ranking.of(given)) if fold is None else 1 - rank_within(given, fold)
    cut: Ints = np.minimum((behind * groups).astype(np.int64), groups - 1)
    return cut


def gates(
    psi: ArrayLike,
    prediction: ArrayLike,
    *,
    groups: int = 5,
    fold: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[Group, ...]:
    """Return the mean effect of each group by prediction, the best group first.

    Args:
        psi: Score of the effect of treating each unit, shape [n].
        prediction: Predicted gain, made without the unit, in the unit of ``psi``, shape [n].
        groups: How many groups of equal size; empty ones are left out.
        fold: Fold whose model predicted the unit; groups are cut within folds, shape [n].
        cluster: Units that were assigned together, shape [n].
        level: Confidence level of all intervals together.

    Returns:
        Groups with simultaneous max-|t| intervals; with clusters t with clusters - 1 df.

    References:
        Chernozhukov, Demirer, Duflo and Fernandez-Val (2025), *Econometrica* 93(4), "sorted
        group average treatment effects".

    Examples:
        >>> psi, prediction = [3.0, 5.0, 0.0, 2.0], [0.9, 0.8, 0.2, 0.1]
        >>> [f"{g.label} {g.effect.estimate:.0f}" for g in gates(psi, prediction, groups=2)]
        ['top half 4', 'bottom half 1']
    """
    predicted = column(prediction, "prediction")
    score = column(psi, "psi", len(predicted))
    group = membership(predicted, groups=groups, fold=fold)
    joint = group_effects(score, group, groups, cluster)
    each = [joint.estimate(name, level=level) for name in joint.names]
    wide = simultaneous(each, joint.correlation())
    size = np.bincount(group, minlength=groups)
    total = np.bincount(group, weights=predicted, minlength=groups)
    return tuple(
        Group(
            label=_label(int(g), groups),
            share=float(size[g] / len(group)),
            predicted=float(total[g] / size[g]),
            effect=effect,
        )
        for g, effect in zip(np.flatnonzero(size), wide, strict=True)
    )


def best_less_worst(
    psi: ArrayLike,
    prediction: ArrayLike,
    *,
    groups: int = 5,
    fold: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the mean effect of the best group less that of the worst.

    Arguments are those of ``gates``.

    Returns:
        The difference; NaN with a note where all units are in one group.

    Examples:
        >>> found = best_less_worst([3.0, 5.0, 0.0, 2.0], [0.9, 0.8, 0.2, 0.1], groups=2)
        >>> found.estimate
        3.0
    """
    group = membership(prediction, groups=groups, fold=fold)
    joint = group_effects(column(psi, "psi", len(group)), group, groups, cluster)
    if len(joint.names) < 2:
        return undefined("best less worst", "predictions do not vary", level=level)
    weights = np.zeros((1, len(joint.names)))
    weights[0, 0], weights[0, -1] = 1.0, -1.0
    return joint.linear(weights, ["best less worst"]).estimate("best less worst", level=level)


def group_effects(
    score: Floats, group: Ints, groups: int, cluster: ArrayLike | None = None
) -> Joint:
    """Return the mean score of every group that is not empty, with joint covariance.

    Args:
        score: Shape [n].
        group: From 0, shape [n].
        groups: How many there may be.
        cluster: Units that were assigned together, shape [n].

    Examples:
        >>> found = group_effects(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]), 2)
        >>> found.value
        array([2., 5.])
    """
    size = np.bincount(group, minlength=groups)
    kept = np.flatnonzero(size)
    mean = np.bincount(group, weights=score, minlength=groups)[kept] / size[kept]
    place = np.cumsum(size > 0) - 1
    left = score - mean[place[group]]
    if cluster is None:
        squares = np.bincount(group, weights=left**2, minlength=groups)[kept]
        count = size[kept]
        with np.errstate(divide="ignore", invalid="ignore"):
            cov = np.diag(np.where(count > 1, squares / (count * (count - 1)), np.nan))
        df = np.maximum(count - 1.0, 0.0)
        cov[~np.isfinite(cov)] = np.nan
    else:
        codes, number = cluster_codes(cluster, len(score))
        cell = codes * len(kept) + place[group]
        sums = np.bincount(cell, weights=left, minlength=number * len(kept))
        moved = sums.reshape(number, -1) * (len(score) / size[kept])
        cov, one = corrected(moved.T @ moved, n=len(score), groups=number)
        df = np.full(len(kept), one)
    return Joint(names=tuple(str(g) for g in kept), value=mean, cov=cov, df=df)


def clan(
    features: Mapping[str, ArrayLike],
    group: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[Trait, ...]:
    """Return how the best group differs from the worst in every feature.

    Args:
        features: Column -> values, shape [n] each. Numbers are compared by their means over
            units that have one, with a trait for missing ones; everything else by the share of
            each level.
        group: Of ``membership``: 0 is the best, the largest number the worst, shape [n].
        cluster: Units that were assigned together, shape [n].
        level: Confidence level of all differences together.

    Returns:
        Traits in the order of the features, levels by how common they are; intervals and
        p-values count the number of traits (single-step max-|t|).

    Raises:
        DataError: When a column has another length.

    References:
        Chernozhukov, Demirer, Duflo and Fernandez-Val (2025), *Econometrica* 93(4),
        "classification analysis".

    Examples:
        >>> traits = clan({"age": [20, 22, 40, 41], "city": ["a", "a", "a", "b"]}, [0, 0, 1, 1])
        >>> [f"{t.feature} {t.best:g} {t.worst:g}" for t in traits]
        ['age 21 40.5', 'city: a 1 0.5', 'city: b 0 0.5']
    """
    groups = np.asarray(group)
    ends = [np.flatnonzero(groups == g) for g in (groups.min(), groups.max())]
    rows = np.concatenate(ends)
    is_best = np.arange(len(rows)) < len(ends[0])
    codes = None if cluster is None else cluster_codes(cluster, len(groups))[0][rows]
    names, kinds = _traits(features, rows, len(groups))
    if len(ends[0]) == len(groups) or not names:
        return ()
    best, worst, cov, df = _differences(kinds, is_best, codes)
    joint = Joint(names=tuple(names), value=best - worst, cov=cov, df=np.full(len(names), df))
    # Matrix arithmetic leaves dust where a trait is the same everywhere.
    scale = np.maximum(np.abs(best), np.abs(worst)) ** 2 + 1e-300
    each = [
        interval(name, float(joint.value[i]), _clean(cov[i, i], scale[i]), df=df, level=level)
        for i, name in enumerate(names)
    ]
    wide = simultaneous(each, joint.correlation())
    return tuple(
        Trait(feature=name, best=float(b), worst=float(w), difference=found)
        for name, b, w, found in zip(names, best, worst, wide, strict=True)
    )


def _clean(variance: float, scale: float) -> float:
    return 0.0 if variance < 1e-22 * scale else float(variance)


def _label(group: int, groups: int) -> str:
    if groups == 2:
        return ("top half", "bottom half")[group]
    part = _PARTS.get(groups)
    if part is None:
        return f"group {group + 1} of {groups}"
    if group == 0:
        return f"top {part}"
    if group == groups - 1:
        return f"bottom {part}"
    if groups % 2 and group == groups // 2:
        return f"middle {part}"
    return f"{_ORDINALS[group]} {part}"


def _traits(
    features: Mapping[str, ArrayLike], rows: Ints, n: int
) -> tuple[list[str], list[tuple[_Column, _Column]]]:
    """Name and (value, weight) of every trait, of the rows asked for; weight 0 is missing."""
    names: list[str] = []
    columns: list[tuple[_Column, _Column]] = []
    for name, given in features.items():
        values = np.asarray(given)
        if values.shape != (n,):
            raise DataError(
                f"feature {name!r} has shape {values.shape}; groups have {n:,} units."
            )
        found = values[rows]
        if found.dtype.kind in "fiu":
            parts = _of_numbers(name, found.astype(np.float64))
        elif found.dtype.kind == "b":
            parts = [(name, found.astype(np.float32), _ones(found))]
        else:
            parts = _of_levels(name, found)
        names += [part[0] for part in parts]
        columns += [(part[1], part[2]) for part in parts]
    return names, columns


def _of_numbers(name: str, found: NDArray[np.float64]) -> list[_Named]:
    known = np.isfinite(found)
    if known.all():
        return [(name, found, _ones(found))]
    missing: _Named = (f"{name}: missing", (~known).astype(np.float32), _ones(found))
    if not known.any():
        return [missing]
    return [(name, np.where(known, found, 0.0), known.astype(np.float32)), missing]


def _of_levels(name: str, found: NDArray[np.generic]) -> list[_Named]:
    import pandas as pd

    codes, levels = pd.factorize(found, use_na_sentinel=False)
    empty = pd.isna(np.asarray(levels, dtype=object)).tolist()
    words = ["missing" if e else str(level) for level, e in zip(levels, empty, strict=True)]
    count = np.bincount(codes, minlength=len(words))
    common = np.argsort(-count, kind="stable")
    shown = common[:MOST_LEVELS] if len(words) > MOST_LEVELS + 1 else common
    parts = [
        (f"{name}: {words[i]}", (codes == i).astype(np.float32), _ones(found)) for i in shown
    ]
    if len(shown) < len(words):
        rest = ~np.isin(codes, shown)
        parts.append((f"{name}: {OTHER}", rest.astype(np.float32), _ones(found)))
    return parts


def _ones(found: NDArray[Any]) -> _Column:
    ones: _Column = np.broadcast_to(np.float32(1.0), found.shape)
    return ones


def _differences(
    columns: Sequence[tuple[_Column, _Column]], is_best: NDArray[np.bool_], codes: Ints | None
) -> tuple[Floats, Floats, Floats, float]:
    """Mean of both groups, covariance of the differences and its df."""
    sides = [is_best, ~is_best]
    with np.errstate(invalid="ignore", divide="ignore"):
        best, worst = (
            np.array(
                [np.dot(v[s].astype(float), w[s]) / w[s].sum(dtype=float) for v, w in columns]
            )
            for s in sides
        )
    count = np.array([[w[s].sum(dtype=float) for v, w in columns] for s in sides])
    step = max(1, ROWS_AT_ONCE // len(columns))
    groups = len(is_best) if codes is None else int(codes.max()) + 1
    meat = np.zeros((len(columns), len(columns)))
    by_cluster = np.zeros((0 if codes is None else groups, len(columns)))
    for start in range(0, len(is_best), step):
        part = slice(start, start + step)
        top = is_best[part, None]
        value, weight = (np.stack([c[i][part] for c in columns], axis=1) for i in (0, 1))
        left = weight * (value - np.where(top, best, worst))
        left /= np.where(top, count[0], -count[1])
        if codes is None:
            meat += left.T @ left
        else:
            np.add.at(by_cluster, codes[part], left)
    if codes is not None:
        groups = len(np.unique(codes))
        meat = by_cluster.T @ by_cluster
    cov, df = corrected(meat, n=1, groups=groups)
    return best, worst, cov, df
