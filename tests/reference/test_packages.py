"""Real experiments that come with packages, so that they are always run.

``causaldata`` 0.1.5 (MIT): the National Supported Work demonstration as Dehejia and Wahba
(1999), *JASA* 94(448), use it, and Thornton (2008), *AER* 98(5), on vouchers for learning an
HIV result. Reference numbers were computed with pandas, scipy and statsmodels.
"""

from __future__ import annotations

import causaldata
import numpy as np
import pytest
import statsmodels.api as sm

from upliftlab.estimators.compare import compare, segments

NSW_PRINTED = (1794, 671)
"""Dehejia and Wahba's experimental benchmark and its heteroscedastic standard error."""


@pytest.fixture
def nsw():
    """445 workers, earnings before and after a job programme."""
    return causaldata.nsw_mixtape.load_pandas().data


@pytest.fixture
def thornton():
    """2,834 people who were offered vouchers of random value."""
    table = causaldata.thornton_hiv.load_pandas().data[["any", "got", "distvct", "tinc"]]
    return table[table["any"].notna() & table["got"].notna()]


def test_the_job_programme_is_worth_1794_dollars(nsw):
    """Welch on 185 and 260 workers: 1794.342 (SE 670.997, df 307.13, p .00789)."""
    found = compare(nsw, "re78", arm="treat", control=0).row().effect

    assert (round(found.estimate), round(found.std_error)) == NSW_PRINTED
    assert found.estimate == pytest.approx(1794.342382, abs=1e-5)
    assert found.std_error == pytest.approx(670.9965445, rel=1e-7)
    assert found.df == pytest.approx(307.1324945, rel=1e-7)
    assert found.p_value == pytest.approx(0.007892978306, rel=1e-6)


def test_cuped_on_earnings_before_is_the_reference(nsw):
    """One slope over all workers: 1747.134 (SE 668.962, df 306.92, p .00945)."""
    found = compare(
        nsw, "re78", arm="treat", control=0, covariates=["re75"], theta="joint"
    ).row()

    effect = found.effect
    assert effect.estimate == pytest.approx(1747.134025, rel=1e-6)
    assert effect.std_error == pytest.approx(668.9619103, rel=1e-6)
    assert effect.df == pytest.approx(306.9185626, rel=1e-6)
    assert effect.p_value == pytest.approx(0.009451948557, rel=1e-5)
    assert found.treatment == pytest.approx(6321.561059, rel=1e-6)
    assert found.control == pytest.approx(4574.427034, rel=1e-6)


@pytest.mark.parametrize("covariates", [["re75"], ["re74", "re75", "age", "educ", "black"]])
def test_slopes_per_arm_are_lin_s_regression(nsw, covariates):
    """OLS with interactions by statsmodels: same estimate, residual variances of its fit.

    Beside them stands what sampling the covariates costs where slopes differ (Negi and
    Wooldridge 2021, *Econometric Reviews* 40(5)); HC2 takes their mean as known, and says 649
    where this says 666 with five covariates.
    """
    x = nsw[covariates].astype(float) - nsw[covariates].astype(float).mean()
    treated = nsw.treat.astype(float)
    design = np.column_stack([np.ones(len(nsw)), treated, x, x.mul(treated, axis=0)])
    fit = sm.OLS(nsw.re78.astype(float), design).fit()
    found = compare(nsw, "re78", arm="treat", control=0, covariates=covariates).row().effect

    variance = 0.0
    for arm in (0, 1):
        residual = fit.resid[nsw.treat == arm]
        variance += (residual**2).sum() / (len(residual) - 1 - len(covariates)) / len(residual)
    gap = fit.params.to_numpy()[2 + len(covariates) :]
    variance += gap @ np.atleast_2d(x.cov()) @ gap / len(nsw)
    assert found.estimate == pytest.approx(fit.params.iloc[1], rel=1e-8)
    assert found.std_error == pytest.approx(np.sqrt(variance), rel=1e-3)


def test_vouchers_bring_people_to_learn_their_result(thornton):
    """34 % without a voucher, +45.06 points with one (SE 2.087), as Thornton prints 45."""
    found = compare(thornton, "got", arm="any", control=0)
    row = found.row()

    assert found.n == {"0": 623, "1": 2211}
    assert row.control == pytest.approx(0.3386837881, abs=1e-9)
    assert row.effect.estimate == pytest.approx(0.4505518519, abs=1e-9)
    assert row.effect.std_error == pytest.approx(0.02086528165, rel=1e-8)
    assert row.effect.df == pytest.approx(898.1587512, rel=1e-8)


def test_welch_is_least_squares_with_hc2(thornton):
    """An arm dummy with HC2 errors is Welch's test: two programs, one number."""
    fit = sm.OLS(thornton["got"], sm.add_constant(thornton["any"])).fit(cov_type="HC2")
    found = compare(thornton, "got", arm="any", control=0).row().effect

    assert found.estimate == pytest.approx(fit.params["any"], rel=1e-12)
    assert found.std_error == pytest.approx(fit.bse["any"], rel=1e-12)


def test_gaps_of_the_raw_file_are_counted_not_guessed():
    """1,986 of 4,820 rows lack an offer or an outcome; the rest is the published sample."""
    table = causaldata.thornton_hiv.load_pandas().data
    found = compare(table, "got", arm="any", control=0, missing="drop")

    assert found.dropped == {"(no arm)": 1919, "0": 56, "1": 11}
    assert sum(found.n.values()) == 2834


def test_distance_to_the_centre_does_not_change_what_vouchers_do(thornton):
    """Near and far thirds: three effects that add up to the whole, no sure difference."""
    cut = thornton["distvct"].quantile([1 / 3, 2 / 3]).to_numpy()
    third = np.searchsorted(cut, thornton["distvct"].to_numpy()).astype(str)
    found = segments(thornton.assign(third=third), "got", by="third", arm="any", control=0)

    assert sum(row.n for row in found.rows) == 2834
    assert all(row.found.effect.is_above_zero for row in found.rows)
    assert 0 < found.interaction().p_value < 1
