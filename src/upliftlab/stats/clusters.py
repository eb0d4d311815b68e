"""How sure is an arm mean when whole clusters were assigned?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import NAN, Estimate, interval, satterthwaite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

ONE_CLUSTER = "an arm has fewer than two clusters"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterMean:
    """Mean vector of one arm with the CR2 covariance over its clusters.

    Attributes:
        clusters: Clusters G.
        n: Units N.
        mean: Sum over units / N, shape [K].
        cov: CR2 covariance of the mean, shape [K, K]; NaN below two clusters.
        df: Bell-McCaffrey degrees of freedom; NaN below two clusters.
        size_cv: Coefficient of variation of cluster sizes.
        note: Why there is no covariance; empty when there is one.
    """

    clusters: int
    n: float
    mean: Floats
    cov: Floats
    df: float
    size_cv: float
    note: str = ""


def arm_mean(sizes: ArrayLike, sums: ArrayLike) -> ClusterMean:
    """Return the person-weighted mean of one arm with its CR2 covariance.

    The least-squares mean with a cluster's leverage m_g / N: scores s_g = S_g - m_g mean count
    1 / (1 - m_g / N) times. For the cluster-weighted mean pass sizes of 1 and cluster means.

    Args:
        sizes: Units m_g per cluster, shape [G], each above 0.
        sums: Sums over the units of a cluster, shape [G] or [G, K].

    Returns:
        Mean, covariance and degrees of freedom; with sizes of 1 they are s^2 / N and N - 1.

    Raises:
        UpliftlabError: When a cluster has no units.

    References:
        Bell and McCaffrey (2002), *Survey Methodology* 28(2); Pustejovsky
        and Tipton (2018), *Journal of Business & Economic Statistics* 36(4).

    Examples:
        >>> arm = arm_mean([1, 1, 1, 1], [1.0, 2.0, 3.0, 4.0])
        >>> arm.mean.tolist(), round(float(arm.cov[0, 0]), 6), arm.df
        ([2.5], 0.416667, 3.0)
    """
    m = _sizes(sizes)
    columns = np.asarray(sums, dtype=float)
    columns = columns[:, None] if columns.ndim == 1 else columns
    total = float(m.sum())
    mean = columns.sum(axis=0) / total if total > 0 else np.full(columns.shape[1], NAN)
    k = columns.shape[1]
    if len(m) < 2:
        cov, df, note = np.full((k, k), NAN), NAN, ONE_CLUSTER
    else:
        scores = columns - np.outer(m, mean)
        weighted = scores / (1 - m / total)[:, None]
        cov, df, note = weighted.T @ scores / total**2, bell_mccaffrey_df(m), ""
    return ClusterMean(
        clusters=len(m), n=total, mean=mean, cov=cov, df=df, size_cv=size_cv(m), note=note
    )


def difference(
    treatment: ClusterMean,
    control: ClusterMean,
    *,
    component: int = 0,
    level: float = 0.95,
    name: str = "difference",
) -> Estimate:
    """Return treatment minus control with a t interval on the contrast's own df.

    Args:
        treatment: Its mean.
        control: Its mean.
        component: Which column.
        level: Confidence level.
        name: What the difference means.

    Returns:
        The difference with Bell-McCaffrey df under the working model of independent units;
        standard error and interval are NaN with a note if an arm has one cluster.

    References:
        Bell and McCaffrey (2002), *Survey Methodology* 28(2).

    Examples:
        >>> arm = arm_mean([2, 2, 2], [2.0, 4.0, 6.0])
        >>> effect = difference(arm, arm_mean([2, 2, 2], [1.0, 2.0, 3.0]))
        >>> f"{effect.estimate:.1f} +- {effect.std_error:.3f}, df {effect.df:.0f}"
        '1.0 +- 0.645, df 4'
    """
    return interval(
        name,
        float(treatment.mean[component] - control.mean[component]),
        float(treatment.cov[component, component] + control.cov[component, component]),
        df=satterthwaite([1 / treatment.n, 1 / control.n], [treatment.df, control.df]),
        level=level,
        note=treatment.note or control.note,
    )


def cluster_df_sums(sizes: ArrayLike) -> tuple[float, float, float, float]:
    """Return the four sums that the Bell-McCaffrey df of an arm mean needs.

    Args:
        sizes: Units m_g per cluster, shape [G].

    Returns:
        N = sum m_g, sum m_g^2, a = sum w_g m_g^2 and b = sum w_g^2 m_g^4 with
        w_g = 1 / (1 - m_g / N); infinite a and b for one cluster.

    Examples:
        >>> cluster_df_sums([1, 1])
        (2.0, 2.0, 4.0, 8.0)
    """
    m = _sizes(sizes)
    total = float(m.sum())
    if len(m) < 2:
        return total, float((m**2).sum()), math.inf, math.inf
    weighted = m**2 / (1 - m / total)
    return (
        total,
        float((m**2).sum()),
        float(weighted.sum()),
        float((weighted**2).sum()),
    )


def bell_mccaffrey_df(sizes: ArrayLike) -> float:
    """Return the Bell-McCaffrey df of an arm mean, (trace G'G)^2 / trace (G'G)^2.

    For the contrast of two arms combine them: ``satterthwaite([1/N_T, 1/N_C], [df_T, df_C])``.

    Args:
        sizes: Units m_g per cluster, shape [G].

    Returns:
        N^2 / (sum m_g^2 + (a^2 - b) / N^2): G - 1 for equal sizes, fewer for unequal ones; NaN
        below two clusters.

    References:
        Bell and McCaffrey (2002), *Survey Methodology* 28(2), for a mean of independent units.

    Examples:
        >>> [round(bell_mccaffrey_df(m), 3) for m in ([5, 5, 5, 5], [1, 1, 1, 17])]
        [3.0, 1.241]
    """
    m = _sizes(sizes)
    if len(m) < 2:
        return NAN
    total, squares, a, b = cluster_df_sums(m / m.mean())
    return total**2 / (squares + (a**2 - b) / total**2)


def size_cv(sizes: ArrayLike) -> float:
    """Return the coefficient of variation of cluster sizes, standard deviation over mean.

    The standard deviation divides by G, so that sum m_g^2 / sum m_g = mean (1 + cv^2).

    Examples:
        >>> size_cv([1, 3])
        0.5
    """
    m = _sizes(sizes)
    return float(m.std() / m.mean()) if len(m) else NAN


def _sizes(sizes: ArrayLike) -> Floats:
    m = np.asarray(sizes, dtype=float).reshape(-1)
    if not (m > 0).all():
        raise UpliftlabError(f"cluster sizes run from {m.min():g}; each must be above 0.")
    return m
