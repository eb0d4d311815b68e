"""Are predicted gains as large, and as different, as the gains that came?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DataError
from upliftlab.stats.estimate import Estimate, interval, undefined, upper_tail
from upliftlab.targeting.groups import membership
from upliftlab.targeting.ranking import column, covariance

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

NO_SPREAD = "predictions do not vary"


@dataclass(frozen=True, slots=True, kw_only=True)
class BestLinear:
    """The straight line from predicted to true effects.

    Attributes:
        mean: Effect at the mean prediction: the average effect.
        slope: 1 when predictions are calibrated, 0 when they say nothing, below 1 when they
            are too far apart. Its p-value is two-sided against 0.
        p_positive: One-sided p-value against "the slope is 0 or less"; NaN without a slope.
        is_calibrated: Whether the interval of the slope holds 1.
    """

    mean: Estimate
    slope: Estimate
    p_positive: float
    is_calibrated: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Isotonic:
    """A rising step curve from predictions to calibrated predictions.

    Attributes:
        at: Predictions at which the curve bends, rising, shape [k].
        value: Calibrated effect there, never falling, shape [k].
    """

    at: Floats
    value: Floats

    def of(self, prediction: ArrayLike) -> Floats:
        """Calibrate predictions, shape [n]; outside of what was seen the ends hold.

        Examples:
            >>> Isotonic(at=np.array([0.0, 1.0]), value=np.array([2.0, 4.0])).of([0.5, 9.0])
            array([3., 4.])
        """
        out: Floats = np.interp(np.asarray(prediction, dtype=float), self.at, self.value)
        return out


def best_linear_predictor(
    psi: ArrayLike,
    prediction: ArrayLike,
    *,
    fold: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> BestLinear:
    """Regress the scores on held-out predictions.

    Least squares of psi on 1 and (prediction - its mean), with HC3 or, with clusters, CR1
    standard errors on clusters - 1 df.

    Args:
        psi: Score of the effect of treating each unit, shape [n].
        prediction: Predicted effect, made without the unit, in the unit of ``psi``, shape [n].
        fold: Fold whose model predicted the unit, shape [n]. Levels are then compared within
            folds: across folds a high mean outcome lowers the others' share in the training
            data and pulls the slope of a useless model below 0.
        cluster: Units that were assigned together, shape [n].
        level: Confidence level.

    Returns:
        Mean and slope; the slope is NaN with a note where predictions do not vary.

    References:
        Chernozhukov, Demirer, Duflo and Fernandez-Val (2025), *Econometrica* 93(4), theorem on
        the best linear predictor; MacKinnon and White (1985), *Journal of Econometrics* 29(3).

    Examples:
        >>> found = best_linear_predictor([0.0, 2.2, 3.8, 6.0], [1.0, 2.0, 3.0, 4.0])
        >>> f"{found.slope.estimate:.2f} +- {found.slope.std_error:.2f}"
        '1.96 +- 0.09'
    """
    guess = column(prediction, "prediction")
    score = column(psi, "psi", len(guess))
    mean = float(score.mean())
    cov, df = covariance(score - mean, cluster)
    average = interval("mean effect", mean, float(cov[0, 0]), df=df, level=level)
    x, y = _centred(guess, fold), _centred(score, fold)
    spread = float(x @ x)
    if spread <= 1e-20 * max(1.0, float(guess @ guess)):
        slope = undefined("slope", NO_SPREAD, level=level)
        return BestLinear(mean=average, slope=slope, p_positive=np.nan, is_calibrated=False)
    value = float(x @ y) / spread
    left = y - value * x
    n = len(x)
    levels = _level_leverage(n, fold)
    used = round(float(levels.sum()))
    if cluster is None:
        leverage = np.minimum(levels + x**2 / spread, 1 - 1e-12)
        variance = float(np.sum((x * left / (1 - leverage)) ** 2)) / spread**2
        df = n - used - 1.0
    else:
        cov, df = covariance(x * left * n / spread, cluster)
        variance = float(cov[0, 0]) * (n - 1) / max(n - used - 1, 1)
    slope = interval("slope", value, variance, df=df, level=level)
    p_positive = upper_tail(value / slope.std_error, df=df) if slope.std_error > 0 else np.nan
    return BestLinear(
        mean=average,
        slope=slope,
        p_positive=p_positive,
        is_calibrated=slope.std_error > 0 and not slope.excludes(1.0),
    )


def fit_isotonic(prediction: ArrayLike, psi: ArrayLike) -> Isotonic:
    """Fit the rising step curve of the scores over the predictions.

    Args:
        prediction: Shape [n].
        psi: Score of the effect of treating each unit, shape [n].

    Returns:
        A curve for new units; on the rows of the fit it is too good.

    References:
        van der Laan, Ulloa-Perez, Carone and Luedtke (2023), "Causal isotonic calibration for
        heterogeneous treatment effects", ICML.

    Examples:
        >>> fit_isotonic([1.0, 2.0, 3.0], [0.0, 3.0, 1.0]).value
        array([0., 2., 2.])
    """
    from sklearn.isotonic import IsotonicRegression

    x = column(prediction, "prediction")
    fitted = IsotonicRegression(out_of_bounds="clip").fit(x, column(psi, "psi", len(x)))
    return Isotonic(
        at=np.asarray(fitted.X_thresholds_, dtype=float),
        value=np.asarray(fitted.y_thresholds_, dtype=float),
    )


def isotonic_predictions(prediction: ArrayLike, psi: ArrayLike, fold: ArrayLike) -> Floats:
    """Calibrate each fold's predictions by a curve fitted on the other folds.

    Args:
        prediction: Predicted effect, made without the unit, shape [n].
        psi: Score of the effect of treating each unit, shape [n].
        fold: At least two, clusters whole, shape [n].

    Returns:
        Calibrated predictions, shape [n]; no unit's own score enters its own.

    Examples:
        >>> isotonic_predictions([1.0, 2.0, 1.0, 2.0], [0.0, 4.0, 1.0, 3.0], [0, 0, 1, 1])
        array([1., 3., 0., 4.])
    """
    guess = column(prediction, "prediction")
    score, folds = column(psi, "psi", len(guess)), np.asarray(fold)
    names = np.unique(folds)
    if folds.shape != guess.shape or len(names) < 2:
        raise DataError(
            f"fold has shape {folds.shape} and {len(names)} values; isotonic calibration needs "
            f"one fold for each of {len(guess):,} units, and at least two folds."
        )
    out = np.empty(len(guess))
    for name in names:
        inside = folds == name
        out[inside] = fit_isotonic(guess[~inside], score[~inside]).of(guess[inside])
    return out


def calibration_r2(
    psi: ArrayLike, prediction: ArrayLike, *, groups: int = 4, fold: ArrayLike | None = None
) -> Estimate:
    """Return how much closer group effects are to their predictions than to the mean effect.

    1 - sum share |effect - prediction| / sum share |effect - mean| over groups by prediction: 1
    is perfect, 0 no better than one number for all, negative worse. Noise in the group effects
    pulls it to 0 from either side, so it has no interval here; the slope has one.

    Args:
        psi: Score of the effect of treating each unit, shape [n].
        prediction: Predicted effect, made without the unit, shape [n].
        groups: Groups of equal size by prediction.
        fold: Groups are cut within folds, shape [n].

    Returns:
        The share; NaN with a note where all groups gain the same.

    References:
        Dwivedi and others (2020), *International Statistical Review* 88(S1), as in EconML's
        ``DRTester.evaluate_cal`` with thresholds of the same rows.

    Examples:
        >>> calibration_r2([3.0, 5.0, 0.0, 2.0], [4.0, 4.0, 1.5, 1.5], groups=2).estimate
        0.8333333333333334
    """
    guess = column(prediction, "prediction")
    score = column(psi, "psi", len(guess))
    group = membership(guess, groups=groups, fold=fold)
    size = np.bincount(group, minlength=groups)
    kept = size > 0
    gained, expected = (
        np.bincount(group, weights=each, minlength=groups)[kept] / size[kept]
        for each in (score, guess)
    )
    share = size[kept] / len(group)
    apart = float(share @ np.abs(gained - score.mean()))
    if kept.sum() < 2 or apart == 0:
        return undefined("calibration R2", "groups do not differ")
    value = 1 - float(share @ np.abs(gained - expected)) / apart
    return Estimate(
        name="calibration R2", estimate=value, shape="none", note="no interval: biased by noise"
    )


def _centred(values: Floats, fold: ArrayLike | None) -> Floats:
    if fold is None:
        around: Floats = values - values.mean()
        return around
    codes = np.unique(np.asarray(fold), return_inverse=True)[1]
    mean_of: Floats = np.bincount(codes, weights=values) / np.bincount(codes)
    centred: Floats = values - mean_of[codes]
    return centred


def _level_leverage(n: int, fold: ArrayLike | None) -> Floats:
    """Leverage of each unit on the level of its fold, shape [n]; they add up to the levels."""
    if fold is None:
        return np.full(n, 1 / n)
    _, codes, size = np.unique(np.asarray(fold), return_inverse=True, return_counts=True)
    share: Floats = (1.0 / size)[codes]
    return share
