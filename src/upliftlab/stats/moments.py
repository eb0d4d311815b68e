"""How do counts, means and centred second moments of many columns add up?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def merge(
    n: Ints, mean: Floats, m2: Floats, *, into: Ints, groups: int
) -> tuple[Ints, Floats, Floats]:
    """Add moments of disjoint parts up to moments of their unions.

    Never forms a raw sum of squares, so money of any size keeps its digits.

    Args:
        n: Rows per part, shape [P].
        mean: Means per part, shape [P, K].
        m2: Sums of products of deviations from the part's mean, shape [P, K, K].
        into: Index of the union that each part belongs to, shape [P].
        groups: Number of unions G; one without parts has n = 0.

    Returns:
        Counts [G], means [G, K] and centred second moments [G, K, K].

    References:
        Chan, Golub and LeVeque (1983), *The American Statistician* 37(3), equation 2.1.

    Examples:
        >>> n, mean = np.array([2, 1]), np.array([[1.0], [4.0]])
        >>> m2 = np.array([[[2.0]], [[0.0]]])
        >>> merge(n, mean, m2, into=np.array([0, 0]), groups=1)
        (array([3]), array([[2.]]), array([[[8.]]]))
    """
    columns = mean.shape[1]
    total = np.bincount(into, weights=n, minlength=groups).astype(np.int64)
    # Means are added as deviations from one common point: no cancellation for 1e9-offset money.
    origin = mean[0] if len(mean) else np.zeros(columns)
    weighted = np.zeros((groups, columns))
    np.add.at(weighted, into, n[:, None] * (mean - origin))
    safe = np.maximum(total, 1)[:, None]
    merged = np.where(total[:, None] > 0, origin + weighted / safe, 0.0)
    gap = mean - merged[into]
    second = np.zeros((groups, columns, columns))
    np.add.at(second, into, m2 + n[:, None, None] * gap[:, :, None] * gap[:, None, :])
    return total, merged, second


def of_rows(rows: Floats) -> tuple[int, Floats, Floats]:
    """Count, mean [K] and centred second moments [K, K] of rows [N, K].

    Examples:
        >>> of_rows(np.array([[1.0], [3.0]]))
        (2, array([2.]), array([[2.]]))
    """
    if len(rows) == 0:
        columns = rows.shape[1]
        return 0, np.zeros(columns), np.zeros((columns, columns))
    origin = rows[0]
    shifted = rows - origin
    mean = shifted.mean(axis=0)
    centred = shifted - mean
    return len(rows), origin + mean, centred.T @ centred
