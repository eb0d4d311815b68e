"""Comparisons before and after, from rows that need not be the same units."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DesignError
from upliftlab.panels.two_by_two import change_in_means, triple_difference, two_by_two
from upliftlab.panels.two_way import twfe


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    flags = rng.integers(0, 2, (200, 3)).astype(float)
    x = rng.normal(size=(200, 2))
    y = rng.normal(size=(200, 2)) * (1 + flags[:, :1]) + 2 * flags.prod(axis=1)[:, None]
    return y, flags, x, rng.uniform(0.5, 2, 200), rng.integers(0, 25, 200)


@pytest.mark.parametrize("kind", ["hc0", "hc1", "hc2", "hc3", "classical", "cluster"])
def test_every_error_is_that_of_statsmodels(rows, kind):
    """Weighted, with two covariates: both outcomes at once against one at a time."""
    y, flags, x, w, g = rows
    a, b = flags[:, 0], flags[:, 1]
    design = np.column_stack([a * b, np.ones(200), a, b, x])

    found = two_by_two(
        y, a, b, names=("p", "q"), covariates=x, weight=w, cluster=g, errors=kind
    )

    for k in range(2):
        model = sm.WLS(y[:, k], design, weights=w)
        if kind == "classical":
            fit = model.fit()
        elif kind == "cluster":
            fit = model.fit(cov_type="cluster", cov_kwds={"groups": g})
        else:
            fit = model.fit(cov_type=kind.upper())
        assert found.value[k] == pytest.approx(fit.params[0])
        assert found.cov[k, k] == pytest.approx(fit.cov_params()[0, 0])
    assert found.df[0] == (24 if kind == "cluster" else 194)


def test_lines_of_cross_sections_add_up(rows):
    """The joint covariance of lines gives the error of their sum."""
    y, flags, *_ = rows
    total = y.sum(axis=1, keepdims=True)

    found = two_by_two(np.hstack([y, total]), flags[:, 0], flags[:, 1], names=("p", "q", "sum"))
    both = found.linear(np.array([[1.0, 1.0, 0.0]]), ["p + q"])

    assert both.value[0] == pytest.approx(found.value[2], abs=1e-12)
    assert both.cov[0, 0] == pytest.approx(found.cov[2, 2])


def test_the_triple_difference_is_a_difference_of_two(rows):
    """Without covariates: eight cell means, and independent variances under hc0."""
    y, flags, *_ = rows
    a, b, c = flags.T

    found = triple_difference(y, a, b, c, names=("p", "q"), errors="hc0")
    parts = [two_by_two(y[c == s], a[c == s], b[c == s], errors="hc0") for s in (1, 0)]

    assert found.value == pytest.approx(parts[0].value - parts[1].value)
    assert found.cov == pytest.approx(parts[0].cov + parts[1].cov)


def test_changes_of_pairs_are_two_way_effects():
    """In two periods: the same estimate as TWFE; Welch's error and df for independent units."""
    from scipy import stats

    rng = np.random.default_rng(3)
    y = rng.normal(size=(20, 2)) * np.array([1.0, 3.0])
    panel = Panel.of_arrays(y, [1] * 8 + [NEVER] * 12)
    change = y[:, 1] - y[:, 0]

    found = change_in_means(panel, before=0, after=1)
    welch = stats.ttest_ind(change[:8], change[8:], equal_var=False)

    assert found.value == pytest.approx(twfe(panel).value)
    assert found.value[0] / np.sqrt(found.cov[0, 0]) == pytest.approx(welch.statistic)
    assert found.df[0] == pytest.approx(welch.df)


def test_changes_by_cluster_sum_scores_within_clusters():
    """CR1 with a unit's weight, df = clusters - 1; already treated units are not controls."""
    rng = np.random.default_rng(4)
    panel = Panel.of_arrays(
        rng.normal(size=(30, 3)),
        [0] * 5 + [2] * 10 + [NEVER] * 15,
        cluster=np.arange(30) // 2,
        weight=rng.uniform(1, 2, 30),
    )

    found = change_in_means(panel, before=1, after=2)
    rest = change_in_means(panel.select(panel.start != 0), before=1, after=2)

    assert found.value == pytest.approx(rest.value)
    assert found.clusters == 13
    assert found.df[0] == 12


def test_rows_alone_in_their_cell_have_no_hc2_error():
    """Leverage 1 leaves no residual to scale: NaN for hc2, not an error that skips the row."""
    flags = ([0, 0, 1, 1, 1], [0, 1, 0, 1, 1])

    found = two_by_two([1.0, 2.0, 2.0, 5.0, 5.5], *flags, errors="hc2")

    assert found.value[0] == pytest.approx(2.25)
    assert np.isnan(found.cov).all()


def test_saturated_comparisons_have_no_error_at_all():
    """Four rows, four cells: an estimate, NaN for hc1 and classical too, with a note."""
    for kind in ("classical", "hc0", "hc1"):
        found = two_by_two([1.0, 2.0, 2.0, 5.0], [0, 0, 1, 1], [0, 1, 0, 1], errors=kind)
        assert np.isnan(found.cov).all()
        assert found.notes == ("no more rows than columns: no error",)


def test_comparisons_that_cannot_be_made_are_refused(rows):
    """An empty cell, a flag that is not one, copies of treatment, unknown errors."""
    y, flags, *_ = rows
    a, b, c = flags.T

    with pytest.raises(DesignError, match="there is none that is treated, not after"):
        two_by_two(y[(a == 0) | (b == 1)], a[(a == 0) | (b == 1)], b[(a == 0) | (b == 1)])
    with pytest.raises(DesignError, match="'after' must be true or false in every row"):
        two_by_two(y, a, b * 2)
    with pytest.raises(DesignError, match="is a combination of other columns"):
        two_by_two(y, a, b, covariates=a * b)
    with pytest.raises(DesignError, match="errors 'hc9' are not known"):
        two_by_two(y, a, b, errors="hc9")
    with pytest.raises(DesignError, match="need the cluster of each row"):
        two_by_two(y, a, b, errors="cluster")
    with pytest.raises(DesignError, match="the panel has 1 and 3"):
        change_in_means(
            Panel.of_arrays(np.ones((4, 2)), [1, NEVER, NEVER, NEVER]), before=0, after=1
        )
    holes = np.where((a * b * c)[:, None] == 1, np.nan, y)
    with pytest.raises(DesignError, match="complete rows cover every cell"):
        triple_difference(holes, a, b, c)
