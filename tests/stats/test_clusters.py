from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from upliftlab.errors import UpliftlabError
from upliftlab.stats.clusters import (
    arm_mean,
    bell_mccaffrey_df,
    cluster_df_sums,
    difference,
    size_cv,
)
from upliftlab.stats.means import welch

SIZES = st.lists(st.integers(1, 12), min_size=2, max_size=6)


def power(matrix, exponent):
    """Symmetric power of a positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def brute_force(y, treated, cluster):
    """CR2 variance and Bell-McCaffrey df of the slope, from the hat matrix itself."""
    x = np.column_stack([np.ones(len(y)), treated])
    bread = np.linalg.inv(x.T @ x)
    residual_maker = np.eye(len(y)) - x @ bread @ x.T
    residual = residual_maker @ y
    contrast = np.array([0.0, 1.0])
    columns, variance = [], 0.0
    for g in np.unique(cluster):
        rows = np.flatnonzero(cluster == g)
        adjust = power(residual_maker[np.ix_(rows, rows)], -0.5)
        weight = adjust @ x[rows] @ bread @ contrast
        variance += float(weight @ residual[rows]) ** 2
        columns.append(residual_maker[:, rows] @ weight)
    gram = np.array(columns) @ np.array(columns).T
    return variance, np.trace(gram) ** 2 / (gram**2).sum()


@pytest.mark.parametrize(
    ("sizes_t", "sizes_c"),
    [
        ([3, 3, 3], [3, 3, 3, 3]),
        ([1, 2, 7, 4], [2, 9, 3]),
        ([1] * 6, [1] * 9),
        ([8, 1], [2, 3]),
    ],
)
def test_sums_give_the_cr2_of_the_hat_matrix(sizes_t, sizes_c):
    """Variance and df equal brute force with symmetric square roots, to 1e-10."""
    rng = np.random.default_rng(7)
    sizes = [*sizes_t, *sizes_c]
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    treated = (cluster < len(sizes_t)).astype(float)
    y = rng.normal(size=len(cluster)) + rng.normal(size=len(sizes))[cluster] + treated
    variance, df = brute_force(y, treated, cluster)
    sums = np.bincount(cluster, weights=y)
    found = difference(
        arm_mean(sizes_t, sums[: len(sizes_t)]), arm_mean(sizes_c, sums[len(sizes_t) :])
    )

    assert found.estimate == pytest.approx(
        y[treated == 1].mean() - y[treated == 0].mean(), abs=1e-12
    )
    assert found.std_error**2 == pytest.approx(variance, rel=1e-10)
    assert found.df == pytest.approx(df, rel=1e-10)


def test_clusters_of_one_are_welch():
    """With m_g = 1 the covariance is s^2 / N; the df of the arm is N - 1."""
    rng = np.random.default_rng(3)
    t, c = rng.normal(size=30), rng.normal(size=30) * 3
    arm_t, arm_c = arm_mean(np.ones(30), t), arm_mean(np.ones(30), c)
    plain = welch(
        mean_t=t.mean(),
        var_t=t.var(ddof=1),
        n_t=30,
        mean_c=c.mean(),
        var_c=c.var(ddof=1),
        n_c=30,
    )

    assert arm_t.df == pytest.approx(29.0)
    assert float(arm_t.cov[0, 0]) == pytest.approx(t.var(ddof=1) / 30)
    assert difference(arm_t, arm_c).std_error == pytest.approx(plain.std_error)


@given(SIZES)
def test_the_df_lies_between_one_and_clusters_minus_one(sizes):
    """Unequal sizes cost degrees of freedom; equal ones give G - 1."""
    df = bell_mccaffrey_df(sizes)

    assert df <= len(sizes) - 1 + 1e-9
    assert df >= 1 - 1e-9
    assert bell_mccaffrey_df([5] * len(sizes)) == pytest.approx(len(sizes) - 1)


@given(SIZES, st.floats(0.001, 1000.0))
def test_the_df_does_not_depend_on_the_unit_of_size(sizes, factor):
    """Counting in thousands changes nothing."""
    scaled = [m * factor for m in sizes]

    assert bell_mccaffrey_df(scaled) == pytest.approx(bell_mccaffrey_df(sizes), rel=1e-9)


@given(SIZES, st.floats(-100.0, 100.0))
def test_components_come_with_one_joint_covariance(sizes, factor):
    """The second column is a multiple of the first: so is its row of the covariance."""
    sums = np.arange(1.0, len(sizes) + 1)
    arm = arm_mean(sizes, np.column_stack([sums, factor * sums]))

    assert arm.mean[1] == pytest.approx(factor * arm.mean[0])
    assert arm.cov[0, 1] == pytest.approx(factor * arm.cov[0, 0], rel=1e-9, abs=1e-12)
    assert arm.cov[1, 1] == pytest.approx(factor**2 * arm.cov[0, 0], rel=1e-9, abs=1e-12)


def test_the_four_sums_give_the_df():
    """N^2 / (sum m^2 + (a^2 - b) / N^2)."""
    total, squares, a, b = cluster_df_sums([2, 3, 5])

    assert (total, squares) == (10.0, 38.0)
    assert bell_mccaffrey_df([2, 3, 5]) == pytest.approx(
        total**2 / (squares + (a**2 - b) / total**2)
    )


def test_one_cluster_gives_no_uncertainty():
    """A single treated cluster has a mean, no standard error, and a note."""
    found = difference(arm_mean([10], [20.0]), arm_mean([5, 5], [3.0, 4.0]))

    assert found.estimate == pytest.approx(1.3)
    assert math.isnan(found.std_error)
    assert found.note == "an arm has fewer than two clusters"
    assert math.isnan(bell_mccaffrey_df([10]))
    assert cluster_df_sums([10]) == (10.0, 100.0, math.inf, math.inf)


def test_no_cluster_gives_no_mean():
    """An arm without clusters has no mean either."""
    arm = arm_mean([], np.empty((0, 2)))

    assert np.isnan(arm.mean).all()
    assert math.isnan(size_cv([]))


def test_the_cv_gives_the_design_effect_of_unequal_sizes():
    """sum m^2 / sum m = mean (1 + cv^2)."""
    sizes = [1.0, 4.0, 7.0]

    assert size_cv([4, 4]) == 0.0
    assert sum(m * m for m in sizes) / sum(sizes) == pytest.approx(
        4 * (1 + size_cv(sizes) ** 2)
    )


def test_an_empty_cluster_is_refused():
    """A cluster without units is not in the trial."""
    with pytest.raises(UpliftlabError) as caught:
        size_cv([3, 0])

    assert str(caught.value) == "cluster sizes run from 0; each must be above 0."
