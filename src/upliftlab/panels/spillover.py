"""Did creators win buyers or take them from each other, and does one of them decide?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.stats.estimate import NAN, satterthwaite
from upliftlab.stats.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.panels.wild import ClusterScores
    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stealing:
    """The same treatment read within clusters and between clusters.

    Attributes:
        within: Treated minus untreated units of the same clusters, K components.
        between: Wholly treated minus untreated clusters.
        gap: Within minus between: what units took from their neighbours, where positive.
        sentences: One per component.
    """

    within: Joint
    between: Joint
    gap: Joint
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Influence:
    """What each cluster does to the estimates.

    Attributes:
        names: Functionals, m in all.
        estimate: With everyone, shape [m].
        without: Without each cluster, shape [G, m]; NaN where its group would be empty.
        strongest: Cluster whose absence moves each estimate most, shape [m]; -1 for none.
        largest: The largest cluster.
        without_largest: Estimates without it, shape [m].
    """

    names: tuple[str, ...]
    estimate: Floats
    without: Floats
    strongest: Ints
    largest: int
    without_largest: Floats


def business_stealing(
    y: ArrayLike,
    *,
    cluster: Sequence[int] | Ints,
    treated: Sequence[bool] | Bools,
    names: Sequence[str] = ("y",),
    level: float = 0.95,
) -> Stealing:
    """Compare the contrast within clusters with the contrast between clusters.

    Where some clusters were treated in part, some wholly and some not at all. Units that win
    buyers from their cluster mates raise the contrast within, twice: they gain and the mates
    lose. Clusters count alike, and must not affect each other.

    Args:
        y: Outcomes of units (post-period means, or changes), shape [N] or [N, K].
        cluster: Cluster of each unit, shape [N].
        treated: Whether the unit was treated, shape [N].
        names: Components, K in all.
        level: Confidence level behind the sentences.

    Returns:
        Both contrasts, their difference and a sentence per component; ``between`` and ``gap``
        are NaN, and the sentences say so, without wholly treated or untreated clusters.

    Raises:
        DesignError: When no cluster holds both treated and untreated units.

    References:
        Hudgens and Halloran (2008), *JASA* 103(482); Blake and Coey (2014), *EC '14*, for
        contaminated control units of a marketplace.

    Examples:
        >>> result = business_stealing(
        ...     [9.0, 1.0, 8.0, 2.0, 6.0, 6.5, 5.0, 4.0], names=["gmv"],
        ...     cluster=[0, 0, 1, 1, 2, 3, 4, 5], treated=[1, 0, 1, 0, 1, 1, 0, 0])
        >>> [float(part.value[0]) for part in (result.within, result.between, result.gap)]
        [7.0, 1.75, 5.25]
        >>> result.sentences[0][:63]
        'gmv: the contrast within clusters is 7, that between clusters 1'
    """
    outcome = np.asarray(y, dtype=float)
    outcome = outcome[:, None] if outcome.ndim == 1 else outcome
    code = np.unique(cluster, return_inverse=True)[1]
    share, on, off = _by_cluster(outcome, code, np.asarray(treated, dtype=bool))
    mixed = (share > 0) & (share < 1)
    if not mixed.any():
        message = (
            f"business stealing compares units within clusters; none of {len(share)} clusters "
            "holds both treated and untreated units, so the cluster contrast is free of it."
        )
        raise DesignError(message)
    labels = tuple(names)
    within = _mean(labels, on[mixed] - off[mixed])
    between = _combined(_mean(labels, on[share == 1]), _mean(labels, off[share == 0]))
    gap = _combined(within, between)
    sentences = tuple(_sentence(name, within, between, gap, level=level) for name in labels)
    return Stealing(within=within, between=between, gap=gap, sentences=sentences)


def leave_one_out(scores: ClusterScores) -> Floats:
    """Return the estimates without each cluster, exactly, shape [G, m].

    Weights of groups stay as they are: only the mean of the cluster's own group moves.

    Args:
        scores: Functionals of cluster totals; units instead of clusters work alike.

    Returns:
        Estimates; NaN where a cluster is alone in a group that counts.

    Examples:
        >>> from upliftlab.panels.wild import ClusterScores
        >>> leave_one_out(ClusterScores.of_two_arms([3.0, 5.0, 1.0, 1.0], [1, 1, 0, 0]))[:, 0]
        array([4., 2., 3., 3.])
    """
    groups = len(scores.weight)
    size = np.bincount(scores.group, scores.size, groups)
    total = np.zeros((groups, scores.total.shape[1]))
    np.add.at(total, scores.group, scores.total)
    mean = total / size[:, None]
    estimate = (scores.weight * mean).sum(axis=0)
    left = (size[scores.group] - scores.size)[:, None]
    alone = (np.bincount(scores.group, minlength=groups) == 1)[scores.group]
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = (total[scores.group] - scores.total) / left - mean[scores.group]
    weight = scores.weight[scores.group]
    moved[alone] = NAN
    out: Floats = estimate + np.where(weight == 0, 0.0, weight * moved)
    return out


def influence(scores: ClusterScores, *, scale: ArrayLike | None = None) -> Influence:
    """Return what each cluster does to the estimates, and what the largest does.

    Args:
        scores: Functionals of cluster totals; units instead of clusters work alike.
        scale: What makes a cluster large, such as sales before treatment, shape [G]; its size
            by default.

    Returns:
        Estimates with everyone, without each cluster and without the largest.

    Examples:
        >>> from upliftlab.panels.wild import ClusterScores
        >>> scores = ClusterScores.of_two_arms([3.0, 90.0, 4.0, 1.0, 2.0], [1, 1, 1, 0, 0])
        >>> found = influence(scores, scale=[10.0, 500.0, 10.0, 10.0, 10.0])
        >>> float(found.estimate[0].round(2)), float(found.without_largest[0]), found.largest
        (30.83, 2.0, 1)
    """
    without = leave_one_out(scores)
    estimate = scores.joint().value
    move = np.abs(without - estimate)
    lost = np.isnan(move)
    strongest = np.where(lost.all(axis=0), -1, np.where(lost, -1.0, move).argmax(axis=0))
    largest = int(np.argmax(scores.size if scale is None else np.asarray(scale, dtype=float)))
    return Influence(
        names=scores.names,
        estimate=estimate,
        without=without,
        strongest=strongest.astype(np.int64),
        largest=largest,
        without_largest=without[largest],
    )


def _by_cluster(outcome: Floats, code: Ints, treated: Bools) -> tuple[Floats, Floats, Floats]:
    """Share treated, mean of the treated and of the untreated, per cluster."""
    count = int(code.max()) + 1
    means, sizes = [], []
    for chosen in (treated, ~treated):
        size = np.bincount(code, chosen, count)
        total = np.zeros((count, outcome.shape[1]))
        np.add.at(total, code[chosen], outcome[chosen])
        with np.errstate(invalid="ignore"):
            means.append(total / size[:, None])
        sizes.append(size)
    return sizes[0] / (sizes[0] + sizes[1]), means[0], means[1]


def _mean(names: tuple[str, ...], values: Floats) -> Joint:
    n, width = len(values), len(names)
    mean = values.mean(axis=0) if n else np.full(width, NAN)
    rest = values - mean
    cov = rest.T @ rest / (n * (n - 1)) if n > 1 else np.full((width, width), NAN)
    return Joint(names=names, value=mean, cov=cov, df=np.full(width, n - 1.0 if n > 1 else NAN))


def _combined(first: Joint, second: Joint) -> Joint:
    """First minus second, of independent clusters."""
    pairs = zip(np.diag(first.cov), np.diag(second.cov), first.df, second.df, strict=True)
    return Joint(
        names=first.names,
        value=first.value - second.value,
        cov=first.cov + second.cov,
        df=np.array([satterthwaite([a, b], [c, d]) for a, b, c, d in pairs]),
    )


def _sentence(name: str, within: Joint, between: Joint, gap: Joint, *, level: float) -> str:
    inner, outer = within.estimate(name, level=level), between.estimate(name, level=level)
    difference = gap.estimate(name, level=level)
    if np.isnan(outer.estimate):
        return (
            f"{name}: units were compared within clusters only ({inner.estimate:,.4g}); what "
            "they took from each other stays in it until whole clusters are compared."
        )
    return (
        f"{name}: the contrast within clusters is {inner.estimate:,.4g}, that between clusters "
        f"{outer.estimate:,.4g}; the difference of {difference.estimate:,.4g} (standard error "
        f"{difference.std_error:,.3g}) {_verdict(inner, difference)}"
    )


def _verdict(inner: Estimate, difference: Estimate) -> str:
    if np.isnan(difference.p_value):
        return "has too few clusters to be judged: use the cluster contrast."
    if not difference.excludes(0.0):
        return (
            f"may be chance (p {difference.p_value:.2g}), and between {difference.ci_low:,.3g} "
            f"and {difference.ci_high:,.3g} may have moved between neighbours."
        )
    if difference.estimate * inner.estimate > 0:
        return "was moved from neighbours: use the cluster contrast."
    return "is what happened to neighbours too: use the cluster contrast."
