"""Clusters keep totals: units of later days add to clusters that are known already."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.data.cluster_totals import ClusterTotals
from upliftlab.stats.clusters import arm_mean


def test_totals_of_days_add_up_to_cr2_of_all_units():
    """Two days of four clusters: mean and CR2 variance of everything at once."""
    days = [
        ClusterTotals(
            labels=tuple(("a", f"c{i}") for i in range(k)),
            names=("y",),
            n=np.arange(1, k + 1),
            sums=np.arange(1.0, k + 1)[:, None] * factor,
        )
        for k, factor in ((4, 2.0), (3, 5.0))
    ]
    whole = days[0] + days[1]
    cells = whole.cells(["y"])
    plain = arm_mean(whole.n, whole.sums[:, 0])

    assert whole.n.tolist() == [2, 4, 6, 4]
    assert cells.mean[0, 0] == pytest.approx(plain.mean[0])
    assert cells.cov[0, 0, 0] == pytest.approx(plain.cov[0, 0])
    assert cells.clusters.tolist() == [4]
