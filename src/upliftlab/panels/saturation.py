"""What happens to the treated, and to their neighbours, as more of a cluster is treated?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.stats.clusters import bell_mccaffrey_df
from upliftlab.stats.estimate import NAN
from upliftlab.stats.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

Weigh = Literal["cluster", "unit"]

TREATED, UNTREATED, WHOLE = 0, 1, 2

EFFECTS = {
    "direct": ((TREATED, 1.0, False), (UNTREATED, -1.0, False)),
    "spillover": ((UNTREATED, 1.0, False), (UNTREATED, -1.0, True)),
    "total": ((TREATED, 1.0, False), (UNTREATED, -1.0, True)),
    "overall": ((WHOLE, 1.0, False), (WHOLE, -1.0, True)),
}
"""Each effect as (which units, sign, whether of the base saturation)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SaturationMeans:
    """Means of the treated, the untreated and all units of clusters of one saturation.

    Attributes:
        saturation: Share of each cluster's units that was to be treated.
        clusters: Clusters with treated units, with untreated units, and all, shape [3].
        mean: Shape [3, K]; NaN where there are no such units.
        score: What each cluster adds to the error of the mean, scaled by CR2, shape [J, 3, K].
        df: Bell-McCaffrey degrees of freedom, shape [3]; NaN below two clusters.
    """

    saturation: float
    clusters: Ints
    mean: Floats
    score: Floats
    df: Floats


def saturation_effects(
    y: ArrayLike,
    *,
    cluster: Sequence[int] | Ints,
    treated: Sequence[bool] | Bools,
    saturation: ArrayLike,
    names: Sequence[str] = ("y",),
    base: float = 0.0,
    weigh: Weigh = "cluster",
) -> Joint:
    """Return direct, spill-over, total and overall effects at every saturation.

    Direct: treated minus untreated of the same clusters. Spill-over: untreated minus untreated
    of base clusters. Total = direct + spill-over. Overall: all units minus all of base
    clusters, what a roll-out at this saturation brings. Clusters must not affect each other.

    Args:
        y: Outcomes of units (post-period means, or changes), shape [N] or [N, K].
        cluster: Cluster of each unit, shape [N].
        treated: Whether the unit was treated, shape [N].
        saturation: Share its cluster was randomised to, shape [N].
        names: Components, K in all.
        base: The saturation that others are compared with, normally 0.
        weigh: "cluster": clusters count alike (Hudgens and Halloran); "unit": units do (Baird
            and others).

    Returns:
        Names "component@direct 50%" and so on, without effects that a saturation cannot show
        (no untreated units, no treated ones). CR2 covariance over clusters within saturations,
        NaN where a saturation has one cluster; df by Satterthwaite.

    Raises:
        DesignError: When a cluster has several saturations, or none has the base saturation.

    References:
        Hudgens and Halloran (2008), *JASA* 103(482) (their effects are untreated minus
        treated); Baird, Bohren, McIntosh and Ozler (2018), *Review of Economics and
        Statistics* 100(5); Bell and McCaffrey (2002), *Survey Methodology* 28(2).

    Examples:
        >>> y = [5.0, 1.0, 7.0, 3.0, 0.0, 0.0, 1.0, 1.0]
        >>> effects = saturation_effects(
        ...     y, cluster=[0, 0, 1, 1, 2, 2, 3, 3], treated=[1, 0, 1, 0, 0, 0, 0, 0],
        ...     saturation=[.5] * 4 + [0] * 4)
        >>> dict(zip(effects.names, effects.value.tolist()))["y@spillover 50%"]
        1.5
    """
    levels = saturation_means(
        y, cluster=cluster, treated=treated, saturation=saturation, weigh=weigh
    )
    against = next((each for each in levels if abs(each.saturation - base) < 1e-9), None)
    if against is None:
        message = (
            f"saturation effects compare with clusters at {base:.0%}; found saturations "
            f"{[each.saturation for each in levels]}: name one of them as base."
        )
        raise DesignError(message)
    rows = [(effect, each) for each in levels for effect in _shown(each, against)]
    labels = [
        f"{name}@{effect} {each.saturation:.0%}" for effect, each in rows for name in names
    ]
    # Saturations hold different clusters: their contributions are independent.
    parts = []
    for level in levels:
        weights: Floats = np.stack(
            [_weights(effect, each, level, against) for effect, each in rows]
        )
        wide: Floats = np.kron(weights, np.eye(len(names))).astype(np.float64)
        parts.append(_stacked(level).linear(wide, labels))
    return Joint(
        names=tuple(labels),
        value=np.sum([part.value for part in parts], axis=0),
        cov=np.sum([part.cov for part in parts], axis=0),
        df=_df(parts),
    )


def saturation_means(
    y: ArrayLike,
    *,
    cluster: Sequence[int] | Ints,
    treated: Sequence[bool] | Bools,
    saturation: ArrayLike,
    weigh: Weigh = "cluster",
) -> tuple[SaturationMeans, ...]:
    """Return the means that ``saturation_effects`` compares, one row per saturation.

    Examples:
        >>> low, high = saturation_means([1.0, 3.0, 5.0, 9.0], cluster=[0, 1, 2, 2],
        ...                              treated=[0, 0, 1, 0], saturation=[0, 0, .5, .5])
        >>> float(low.mean[UNTREATED, 0]), high.mean[:, 0].tolist()
        (2.0, [5.0, 9.0, 7.0])
    """
    outcome = np.asarray(y, dtype=float)
    outcome = outcome[:, None] if outcome.ndim == 1 else outcome
    code = np.unique(cluster, return_inverse=True)[1]
    count = int(code.max()) + 1
    share = np.asarray(saturation, dtype=float)
    of_cluster = np.zeros(count)
    of_cluster[code] = share
    if (np.abs(of_cluster[code] - share) > 1e-9).any():
        mixed = len(np.unique(code[np.abs(of_cluster[code] - share) > 1e-9]))
        message = f"{mixed} clusters hold several saturations; a cluster gets one."
        raise DesignError(message)
    on = np.asarray(treated, dtype=bool)
    members = np.stack([on, ~on, on | ~on]).astype(np.float64)
    size: Floats = np.stack([np.bincount(code, m, count) for m in members]).astype(np.float64)
    total = np.zeros((3, count, outcome.shape[1]))
    np.add.at(total[TREATED], code, outcome * on[:, None])
    np.add.at(total[UNTREATED], code, outcome * ~on[:, None])
    total[WHOLE] = total[TREATED] + total[UNTREATED]
    if weigh == "cluster":
        total = total / np.maximum(size, 1.0)[:, :, None]
        size = (size > 0).astype(np.float64)
    return tuple(
        _level(float(each), size[:, of_cluster == each], total[:, of_cluster == each])
        for each in np.unique(of_cluster)
    )


def _level(saturation: float, size: Floats, total: Floats) -> SaturationMeans:
    width = total.shape[2]
    mean, df = np.full((3, width), NAN), np.full(3, NAN)
    score = np.zeros((size.shape[1], 3, width))
    for which in range(3):
        has = size[which] > 0
        n = size[which, has]
        if not len(n):
            continue
        mean[which] = total[which, has].sum(axis=0) / n.sum()
        rest = total[which, has] - np.outer(n, mean[which])
        if len(n) < 2:
            score[:, which] = NAN
            continue
        score[has, which] = rest / (n.sum() * np.sqrt(1 - n / n.sum()))[:, None]
        df[which] = bell_mccaffrey_df(n)
    return SaturationMeans(
        saturation=saturation,
        clusters=(size > 0).sum(axis=1),
        mean=mean,
        score=score,
        df=df,
    )


def _shown(each: SaturationMeans, against: SaturationMeans) -> list[str]:
    """Effects that the units of this saturation and of the base can show."""
    names = ["direct"] if each is against else list(EFFECTS)
    return [
        name
        for name in names
        if all(
            (against if of_base else each).clusters[which] > 0
            for which, _, of_base in EFFECTS[name]
        )
    ]


def _weights(
    effect: str, each: SaturationMeans, level: SaturationMeans, against: SaturationMeans
) -> Floats:
    """Weight of the three means of ``level`` in an effect of ``each``, shape [3]."""
    out = np.zeros(3)
    for which, sign, of_base in EFFECTS[effect]:
        if level is (against if of_base else each):
            out[which] += sign
    return out


def _stacked(level: SaturationMeans) -> Joint:
    """The three means of all components side by side."""
    scores = level.score.reshape(len(level.score), -1)
    width = level.mean.shape[1]
    return Joint(
        names=tuple(str(i) for i in range(scores.shape[1])),
        value=np.nan_to_num(level.mean).ravel(),
        cov=scores.T @ scores,
        df=level.df.repeat(width),
    )


def _df(parts: Sequence[Joint]) -> Floats:
    """Satterthwaite over saturations, each with the least df of the means it gives."""
    variance = np.stack([np.diag(part.cov) for part in parts])
    least = np.stack([part.df for part in parts])
    with np.errstate(invalid="ignore", divide="ignore"):
        share = variance / variance.sum(axis=0)
        out: Floats = 1 / (share**2 / least).sum(axis=0)
    return out
