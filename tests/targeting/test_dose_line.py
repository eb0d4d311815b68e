"""A line over depths."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from upliftlab.errors import DataError, DesignError
from upliftlab.targeting.dose_line import dose_line


@pytest.mark.parametrize("clustered", [False, True])
def test_errors_are_statsmodels(clustered):
    """HC1 and CR1 of ordinary least squares."""
    rng = np.random.default_rng(4)
    depth = rng.choice([0.0, 5.0, 10.0, 20.0], 600)
    member = rng.integers(0, 40, 600)
    y = rng.gamma(2.0, 1.0 + depth / 10) + rng.normal(size=40)[member]
    design = sm.add_constant(np.column_stack([depth > 0, depth]).astype(float))
    how = {"cov_type": "cluster", "cov_kwds": {"groups": member}} if clustered else {}
    fit = sm.OLS(y, design).fit(**(how or {"cov_type": "HC1"}))

    found = dose_line(y, depth, cluster=member if clustered else None)

    assert found.value == pytest.approx(fit.params)
    assert np.sqrt(np.diag(found.cov)) == pytest.approx(fit.bse)
    assert found.df[0] == (39 if clustered else 597)


def test_a_line_needs_two_depths():
    """One depth has a jump and no slope."""
    with pytest.raises(DesignError, match="at least two depths above 0"):
        dose_line([1.0, 2.0, 3.0, 4.0, 5.0], [0, 0, 1, 1, 1])


@pytest.mark.parametrize(("y", "depth"), [([1.0, 2.0], [0.0]), ([np.nan] * 4, [0, 0, 1, 2])])
def test_what_is_no_column_is_refused(y, depth):
    """Shapes and gaps."""
    with pytest.raises(DataError):
        dose_line(y, depth)
