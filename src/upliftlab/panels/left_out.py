"""Which moments would a panel have without one of its clusters?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel_moments import ClusterRows
from upliftlab.errors import DesignError

if TYPE_CHECKING:
    from upliftlab.data.panel_moments import PanelMoments


def without_cluster(moments: PanelMoments, cluster: int) -> PanelMoments:
    """Take the moments of a panel again without one cluster, from the sums of the others.

    Sizes and means of its cohorts move, and a cohort that held nothing else is gone: effects of
    what is left are those of a panel that never had the cluster.

    Args:
        moments: With cluster sums; units that are their own clusters have none.
        cluster: Its number.

    Returns:
        The moments; ``units`` are the summed weights that are left.

    Raises:
        DesignError: When the moments hold no cluster sums, or nobody is left.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> from upliftlab.data.panel_moments import PanelMoments
        >>> y = np.array([[1.0, 4.0], [3.0, 6.0], [2.0, 3.0], [4.0, 5.0], [0.0, 9.0]])
        >>> panel = Panel.of_arrays(y, [1, 1, 1, NEVER, NEVER], cluster=[0, 0, 1, 2, 3])
        >>> without_cluster(PanelMoments.of(panel), 0).mean[:, :, 0]
        array([[2., 3.],
               [2., 7.]])
    """
    rows = moments.rows
    if rows is None:
        raise DesignError("leaving a cluster out needs clusters; each unit here is its own.")
    keep = rows.cluster != cluster
    if not keep.any():
        raise DesignError("leaving out the only cluster leaves nobody.")
    left, cohort = np.unique(rows.cohort[keep], return_inverse=True)
    size, total = rows.size[keep], rows.total[keep]
    weight = np.bincount(cohort, weights=size).astype(np.float64)
    summed = np.zeros((len(left), *total.shape[1:]))
    np.add.at(summed, cohort, total)
    return replace(
        moments,
        start=moments.start[left],
        units=weight,
        weight=weight,
        mean=summed / weight[:, None, None],
        rows=ClusterRows(
            cluster=rows.cluster[keep],
            cohort=cohort.astype(np.int64),
            size=size,
            total=total,
        ),
    )
