"""Does an order of treating beat chance: AUTOC, Qini, AUUC, uplift and profit at k?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from upliftlab.errors import UpliftlabError, nearest
from upliftlab.stats.estimate import interval
from upliftlab.targeting.ranking import Ranking, column, covariance

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]

Metric = Literal["autoc", "qini", "auuc", "uplift_at_k", "profit_at_k"]


def autoc(
    psi: ArrayLike,
    priority: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the area under the targeting operator characteristic.

    TOC(q) is the mean effect of the first share q less the mean effect of all; AUTOC is its
    plain average over q = 1/n, ..., 1. It rests on the few units treated first.

    Args:
        psi: Score of the effect of treating each unit, shape [n].
        priority: Shape [n]; higher is treated earlier. It must not be fitted on these units;
            equal values share their mean score.
        cluster: Units that were assigned together, shape [n].
        level: Confidence level.

    Returns:
        The number in the unit of ``psi``, 0 for a useless order; t interval from its influence
        function, with clusters - 1 df where there are clusters. It never depends on anything
        but the order of ``priority``.

    References:
        Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), *JASA* 120(549), equations 2.2
        and 2.4; weights as in grf's ``rank_average_treatment_effect``.

    Examples:
        >>> found = autoc([4.0, 1.0, 3.0, 0.0], [0.9, 0.2, 0.7, 0.1])
        >>> f"{found.estimate:.4f}"
        '1.0417'
    """
    return _rate("autoc", psi, priority, cluster=cluster, level=level)


def qini(
    psi: ArrayLike,
    priority: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the area between the gain curve and the straight line of treating at random.

    The average of q TOC(q) over q: gain per unit of everybody, not per treated unit, and not
    divided by anything. It rests on all units. Arguments and interval are those of ``autoc``.

    References:
        Radcliffe (2007), *Direct Marketing Analytics Journal* 1; Yadlowsky and others (2025),
        equation 2.5.

    Examples:
        >>> found = qini([4.0, 1.0, 3.0, 0.0], [0.9, 0.2, 0.7, 0.1])
        >>> f"{found.estimate:.4f}"
        '0.4375'
    """
    return _rate("qini", psi, priority, cluster=cluster, level=level)


def auuc(
    psi: ArrayLike,
    priority: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the area under the gain curve: the Qini plus half the mean effect of all.

    It is not 0 for a useless order; to judge an order use ``qini``. Arguments and interval are
    those of ``autoc``.

    Examples:
        >>> found = auuc([4.0, 1.0, 3.0, 0.0], [0.9, 0.2, 0.7, 0.1])
        >>> f"{found.estimate:.4f}"
        '1.4375'
    """
    return _rate("auuc", psi, priority, cluster=cluster, level=level)


def uplift_at_k(
    psi: ArrayLike,
    priority: ArrayLike,
    k: float,
    *,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the mean effect per treated unit when the first share k is treated.

    Units of equal priority at the margin are treated in equal part.

    Args:
        psi: Score of the effect of treating each unit, shape [n].
        priority: Shape [n]; higher is treated earlier.
        k: Share of units treated, above 0 and at most 1.
        cluster: Units that were assigned together, shape [n].
        level: Confidence level.

    Examples:
        >>> found = uplift_at_k([4.0, 1.0, 3.0, 0.0], [0.9, 0.2, 0.7, 0.1], 0.5)
        >>> found.estimate
        3.5
    """
    return _rate("uplift_at_k", psi, priority, k=k, cluster=cluster, level=level)


def profit_at_k(
    worth: ArrayLike,
    priority: ArrayLike,
    k: float,
    *,
    population: float = 1.0,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the extra profit when the first share k is treated and nobody else.

    Args:
        worth: Score of the extra profit of treating each unit, in minor units of money, with
            every cost in it, shape [n].
        priority: Shape [n]; higher is treated earlier.
        k: Share of units treated, above 0 and at most 1.
        population: Units that the total is for; 1 gives profit per unit of everybody.
        cluster: Units that were assigned together, shape [n].
        level: Confidence level.

    Examples:
        >>> found = profit_at_k([400.0, 100, 300, -80], [9, 2, 7, 1], 0.5, population=1000)
        >>> found.estimate
        175000.0
    """
    found = _rate("profit_at_k", worth, priority, k=k, cluster=cluster, level=level)
    return found.scaled(population)


def compare(
    psi: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    metric: Metric = "qini",
    k: float = 0.3,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return a metric of the first order less that of the second, on the same units.

    Args:
        psi: Score of the effect of treating each unit, shape [n].
        first: A priority, shape [n].
        second: Another, shape [n].
        metric: Which number.
        k: Share of units treated, for the metrics at k.
        cluster: Units that were assigned together, shape [n].
        level: Confidence level.

    Returns:
        The difference; its interval counts that both orders are judged by the same noise.

    Examples:
        >>> found = compare([4.0, 1.0, 3.0, 0.0], [4, 2, 3, 1], [1, 3, 2, 4])
        >>> found.estimate
        0.875
    """
    score = column(psi, "psi")
    there, its_influence = influence(metric, score, first, k=k)
    other, other_influence = influence(metric, score, second, k=k)
    cov, df = covariance(its_influence - other_influence, cluster)
    return interval(
        f"{_name(metric, k)} difference", there - other, float(cov[0, 0]), df=df, level=level
    )


def influence(
    metric: Metric, psi: ArrayLike, priority: ArrayLike, *, k: float = 0.3
) -> tuple[float, Floats]:
    """Return a metric and each unit's influence on it, for covariances with other numbers.

    A metric is the mean of psi w(u) over the share u of units ahead. A unit moves it by its own
    score and by pushing others down the order. With block means t_b, ends c_b and mean weight
    W_b: IF = W_b (psi - t_b) + sum over blocks j from its own on of w(c_j) (t_j - t_(j+1)).

    Returns:
        The number and its influence in the caller's order, shape [n], mean 0.

    References:
        Serfling (1980), *Approximation Theorems of Mathematical Statistics*, section 8.1.1.

    Examples:
        >>> value, moved = influence("qini", [4.0, 1.0, 3.0, 0.0], [4, 2, 3, 1])
        >>> value, abs(round(float(moved.sum()), 12))
        (0.4375, 0.0)
    """
    if metric not in get_args(Metric):
        raise UpliftlabError(
            f"metric is {metric!r}; it is one of {list(get_args(Metric))}."
            f"{nearest(str(metric), get_args(Metric))}"
        )
    score = column(psi, "psi")
    ranking = Ranking.of(column(priority, "priority", len(score)))
    if metric in {"uplift_at_k", "profit_at_k"}:
        per = share_of(k) if metric == "uplift_at_k" else 1.0
        value, moved = _gain_at(ranking, score, share_of(k))
        return value / per, moved / per
    return _smooth(ranking, score, metric)


def share_of(k: float) -> float:
    """Check a share of units."""
    if not 0 < k <= 1:
        raise UpliftlabError(f"k is {k!r}; write a share of units above 0 and at most 1.")
    return float(k)


def margin_effect(ranking: Ranking, cumulated: Floats, shares: Floats) -> Floats:
    """Mean score of the units around each share treated, shape [m].

    A window of n^0.8 units, or the whole block of equal priority where that is larger. It only
    enters the variance, through the units that are pushed over the margin.
    """
    n = ranking.n
    reach = max(1, round(n**0.8 / 2))
    at = shares * n
    block = np.minimum(np.searchsorted(ranking.ends, at - 1e-9 * n), len(ranking.ends) - 1)
    start, end = (ranking.ends - ranking.sizes)[block], ranking.ends[block]
    wide = end - start >= 2 * reach
    low = np.where(wide, start, np.maximum(np.floor(at).astype(np.int64) - reach, 0))
    high = np.where(wide, end, np.minimum(np.ceil(at).astype(np.int64) + reach, n))
    out: Floats = (cumulated[high] - cumulated[low]) / (high - low)
    return out


def _rate(
    metric: Metric,
    psi: ArrayLike,
    priority: ArrayLike,
    *,
    k: float = 0.3,
    cluster: ArrayLike | None,
    level: float,
) -> Estimate:
    value, moved = influence(metric, psi, priority, k=k)
    cov, df = covariance(moved, cluster)
    return interval(_name(metric, k), value, float(cov[0, 0]), df=df, level=level)


def _name(metric: str, k: float) -> str:
    return metric.replace("_at_k", f"@{100 * k:g}%")


def _smooth(ranking: Ranking, score: Floats, metric: str) -> tuple[float, Floats]:
    """Metrics whose weight falls smoothly with the rank."""
    sums, sizes = ranking.block_sums(score), ranking.sizes
    weight = _block_weights(ranking, metric)
    value = float(sums @ weight) / ranking.n
    means = sums / sizes
    at_end = _weight_at(ranking.ends[:-1] / ranking.n, metric) * -np.diff(means)
    pushed = np.append(np.cumsum(at_end[::-1])[::-1], 0.0)
    moved = (score - ranking.of_units(means)) * ranking.of_units(weight)
    moved += ranking.of_units(pushed)
    return value, _steady(moved - moved.mean(), score)


def _block_weights(ranking: Ranking, metric: str) -> Floats:
    """Mean weight of the ranks of each block, shape [B]."""
    n = ranking.n
    ahead = ranking.ends - ranking.sizes
    if metric == "autoc":
        # Rank j counts in every TOC(i/n) from i = j on: 1/j + ... + 1/n, less 1 for the mean.
        tail = np.cumsum(1.0 / np.arange(n, 0, -1))[::-1]
        total = np.append(0.0, np.cumsum(tail))
        weight: Floats = (total[ranking.ends] - total[ahead]) / ranking.sizes - 1.0
        return weight
    middle: Floats = (n - (ranking.ends + ahead) / 2) / n
    return middle - 0.5 if metric == "qini" else middle


def _weight_at(share: Floats, metric: str) -> Floats:
    """Weight at a share of units ahead, of the limit in n."""
    if metric == "autoc":
        weight: Floats = -np.log(share) - 1.0
        return weight
    return 0.5 - share if metric == "qini" else 1.0 - share


def _gain_at(ranking: Ranking, score: Floats, share: float) -> tuple[float, Floats]:
    """Gain per unit of everybody at one share, with each unit's influence."""
    sums = ranking.block_sums(score)
    ahead = ranking.ends - ranking.sizes
    part = np.clip((share * ranking.n - ahead) / ranking.sizes, 0.0, 1.0)
    cumulated = np.append(0.0, np.cumsum(np.repeat(sums / ranking.sizes, ranking.sizes)))
    margin = float(margin_effect(ranking, cumulated, np.array([share]))[0])
    moved = ranking.of_units(part) * (score - margin)
    return float(sums @ part) / ranking.n, _steady(moved - moved.mean(), score)


def _steady(moved: Floats, score: Floats) -> Floats:
    """Rounding is no variance: a number that no unit moves does not vary."""
    dust = 1e-13 * float(np.abs(score).max())
    return np.zeros_like(moved) if float(np.abs(moved).max()) <= dust else moved
