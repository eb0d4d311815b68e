"""Predicted against true gains: slope, isotonic curve and calibration R2."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, strategies as st

from upliftlab.errors import DataError
from upliftlab.targeting.calibration import (
    NO_SPREAD,
    best_linear_predictor,
    calibration_r2,
    fit_isotonic,
    isotonic_predictions,
)


def draw(n, *, slope=1.0, seed=0):
    """Scores whose effect is slope x prediction."""
    rng = np.random.default_rng(seed)
    prediction = rng.normal(size=n)
    return 0.5 + slope * prediction + rng.exponential(size=n) - 1, prediction


def test_slope_is_least_squares_with_hc3():
    """Same slope and error as statsmodels' OLS with HC3; the mean is the average effect."""
    psi, prediction = draw(200)
    fit = sm.OLS(psi, sm.add_constant(prediction)).fit(cov_type="HC3")

    found = best_linear_predictor(psi, prediction)

    assert found.slope.estimate == pytest.approx(fit.params[1], rel=1e-12)
    assert found.slope.std_error == pytest.approx(fit.bse[1], rel=1e-12)
    assert found.mean.estimate == pytest.approx(psi.mean())
    assert found.mean.std_error == pytest.approx(psi.std(ddof=1) / np.sqrt(200))


def test_slope_within_folds_is_least_squares_with_fold_levels():
    """Fold levels as regressors, HC3: statsmodels again."""
    psi, prediction = draw(200)
    fold = np.random.default_rng(1).integers(0, 3, 200)
    columns = np.column_stack([prediction, *(fold == f for f in range(3))]).astype(float)
    fit = sm.OLS(psi, columns).fit(cov_type="HC3")

    found = best_linear_predictor(psi, prediction, fold=fold)

    assert found.slope.estimate == pytest.approx(fit.params[0], rel=1e-10)
    assert found.slope.std_error == pytest.approx(fit.bse[0], rel=1e-10)


def test_clustered_slope_is_cr1_on_clusters_less_one():
    """Same error as statsmodels' clustered covariance, G - 1 df."""
    psi, prediction = draw(300)
    cluster = np.random.default_rng(2).integers(0, 30, 300)
    fit = sm.OLS(psi, sm.add_constant(prediction)).fit(
        cov_type="cluster", cov_kwds={"groups": cluster}
    )

    found = best_linear_predictor(psi, prediction, cluster=cluster)

    assert found.slope.std_error == pytest.approx(fit.bse[1], rel=1e-12)
    assert found.slope.df == found.mean.df == 29


def test_one_sided_p_is_half_of_the_two_sided_one_for_a_positive_slope():
    """And 1 less that half for a negative slope."""
    psi, prediction = draw(100, slope=0.2)

    up, down = best_linear_predictor(psi, prediction), best_linear_predictor(psi, -prediction)

    assert up.p_positive == pytest.approx(up.slope.p_value / 2)
    assert down.p_positive == pytest.approx(1 - up.p_positive)


def test_a_useless_model_is_called_useful_in_five_percent():
    """1,000 draws without relation: one-sided p below 0.05 in 3% to 7%."""
    rng = np.random.default_rng(3)
    found = [
        best_linear_predictor(rng.exponential(size=200), rng.normal(size=200)).p_positive
        for _ in range(1000)
    ]

    assert 0.03 <= np.mean(np.array(found) < 0.05) <= 0.07


def test_predictions_twice_too_far_apart_have_slope_one_half():
    """The slope says what to shrink by, and 1 is outside of its interval."""
    psi, prediction = draw(5000)

    found = best_linear_predictor(psi, 2 * prediction)

    assert found.slope.estimate == pytest.approx(0.5, abs=0.05)
    assert not found.is_calibrated
    assert best_linear_predictor(psi, prediction).is_calibrated


@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_slope_scales_with_predictions_and_ignores_their_level(factor, shift):
    """Predictions times c divide the slope by c; a constant changes nothing."""
    psi, prediction = draw(60)

    found = best_linear_predictor(psi, prediction).slope
    other = best_linear_predictor(psi, factor * prediction + shift).slope

    assert other.estimate * factor == pytest.approx(found.estimate, rel=1e-6)
    assert other.p_value == pytest.approx(found.p_value, rel=1e-6)


def test_folds_take_away_the_pull_of_left_out_means():
    """Leave-fold-out means as predictions: slope far below 0 pooled, none within folds."""
    psi = np.random.default_rng(4).normal(size=500)
    fold = np.repeat(np.arange(5), 100)
    means = np.array([psi[fold != f].mean() for f in range(5)])[fold]

    assert best_linear_predictor(psi, means).slope.estimate == pytest.approx(-4)
    assert best_linear_predictor(psi, means, fold=fold).slope.note == NO_SPREAD


def test_a_constant_prediction_has_no_slope():
    """NaN with the reason; the mean stays."""
    found = best_linear_predictor([1.0, 2.0, 4.0], [0.3, 0.3, 0.3])

    assert np.isnan(found.slope.estimate)
    assert np.isnan(found.p_positive)
    assert found.slope.note == NO_SPREAD
    assert not found.is_calibrated
    assert found.mean.estimate == pytest.approx(7 / 3)


def test_isotonic_curve_never_falls_and_keeps_the_mean():
    """Pooled neighbours: rising values with the mean of the scores."""
    psi, prediction = draw(400, slope=0.3)

    calibrated = fit_isotonic(prediction, psi).of(prediction)

    assert (np.diff(calibrated[np.argsort(prediction)]) >= -1e-12).all()
    assert calibrated.mean() == pytest.approx(psi.mean())


def test_no_unit_s_score_enters_its_own_calibrated_prediction():
    """A huge score in fold 0 changes the other fold only."""
    psi, prediction = draw(100)
    fold = np.arange(100) % 2
    changed = psi.copy()
    changed[0] = 1e6

    before = isotonic_predictions(prediction, psi, fold)
    after = isotonic_predictions(prediction, changed, fold)

    assert (before[fold == 0] == after[fold == 0]).all()
    assert (before[fold == 1] != after[fold == 1]).any()


def test_isotonic_calibration_brings_the_slope_to_one():
    """Predictions three times too far apart: slope 1/3 before, about 1 after."""
    psi, prediction = draw(4000)
    fold = np.arange(4000) % 5

    after = isotonic_predictions(3 * prediction, psi, fold)

    found = best_linear_predictor(psi, after, fold=fold)
    assert found.slope.estimate == pytest.approx(1.0, abs=0.1)


def test_calibration_r2_is_near_one_only_for_the_right_size():
    """True predictions close to 1; five times too large below 0."""
    psi, prediction = draw(20_000)

    assert calibration_r2(psi, 0.5 + prediction).estimate > 0.9
    assert calibration_r2(psi, 5 * prediction).estimate < 0


def test_calibration_r2_of_one_number_for_all_does_not_exist():
    """NaN with the reason."""
    assert calibration_r2([1.0, 2.0], [1.0, 1.0]).note == "groups do not differ"


def test_isotonic_needs_folds():
    """One fold, or folds of another length, are refused."""
    with pytest.raises(DataError, match="at least two folds"):
        isotonic_predictions([1.0, 2.0], [1.0, 2.0], [0, 0])
