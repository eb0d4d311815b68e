"""A panel's moments without one cluster are those of the panel without its units."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.data.panel import NEVER, Panel
from upliftlab.data.panel_moments import PanelMoments
from upliftlab.errors import DesignError
from upliftlab.panels.group_time import group_time
from upliftlab.panels.left_out import without_cluster


@pytest.mark.parametrize("mixed", [False, True])
def test_effects_are_those_of_the_panel_without_the_cluster(mixed):
    """Values, covariances and df; also where clusters hold several cohorts."""
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(8), 3)
    start = np.repeat([3, 3, 4, 4, NEVER, NEVER, NEVER, 6], 3)
    start = rng.permutation(start) if mixed else start
    panel = Panel.of_arrays(
        rng.normal(size=(24, 7, 2)), start, names=("a", "b"), cluster=cluster,
        weight=rng.uniform(1, 2, size=24),
    )  # fmt: skip
    for out in (0, 4, 7):
        one = group_time(without_cluster(PanelMoments.of(panel), out))
        two = group_time(panel.select(cluster != out))
        left, right = (each.forms.joint(each.moments) for each in (one, two))

        assert one.cells == two.cells
        np.testing.assert_allclose(left.value, right.value, atol=1e-12)
        np.testing.assert_allclose(left.cov, right.cov, atol=1e-12)
        np.testing.assert_allclose(left.df, right.df, rtol=1e-9)


def test_units_that_are_their_own_clusters_have_no_sums_to_leave_out():
    """Their moments hold second moments only."""
    moments = PanelMoments.of(Panel.of_arrays(np.zeros((4, 3)), [1, 1, NEVER, NEVER]))

    with pytest.raises(DesignError, match="each unit here is its own"):
        without_cluster(moments, 0)
