"""How does econml learn from the same lesson, with the probabilities of the design?"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from upliftlab.targeting.boosting import bin_features, grow
from upliftlab.targeting.fast_dr import default_shape
from upliftlab.targeting.nuisances import nuisance_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from upliftlab.targeting.lessons import Groundwork

    Floats = NDArray[np.float64]
    Matrix = NDArray[np.float32]
    Predict = Callable[[Matrix], NDArray[Any]]

TREES = 200
"""Of a forest; econml wants a multiple of 4."""

UNDERDETERMINED = "Co-variance matrix is underdetermined"

THREADS = 2
"""Most threads of a forest."""


class KnownPropensity(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Read each unit's probabilities of arms from its own last columns, fitting nothing.

    econml hands models of assignment the features and its ``W``; a design's probabilities
    travel there, unit by unit, so that strata and blocks keep theirs.

    Examples:
        >>> rows = np.array([[7.0, 0.9, 0.1], [8.0, 0.5, 0.5]])
        >>> model = KnownPropensity(arms=2).fit(rows, np.array([0, 1]))
        >>> model.predict_proba(rows).tolist()
        [[0.9, 0.1], [0.5, 0.5]]
    """

    def __init__(self, arms: int = 2) -> None:
        self.arms = arms

    def fit(
        self, rows: Floats, arm: Floats, sample_weight: Floats | None = None
    ) -> KnownPropensity:
        """Do nothing: the design is known."""
        del rows, arm, sample_weight
        self.classes_ = np.arange(self.arms)
        return self

    def predict_proba(self, rows: Floats) -> Floats:
        """Return the last columns."""
        return np.asarray(rows[:, -self.arms :])

    def predict(self, rows: Floats) -> NDArray[np.int64]:
        """Return the likeliest arm."""
        return np.asarray(self.predict_proba(rows).argmax(axis=1))


class KnownDose(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Expect the depths of arms, and their powers, by each unit's probabilities of arms."""

    def __init__(self, levels: Floats) -> None:
        self.levels = levels

    def fit(self, rows: Floats, dose: Floats, sample_weight: Floats | None = None) -> KnownDose:
        """Do nothing: the design is known."""
        del rows, dose, sample_weight
        return self

    def predict(self, rows: Floats) -> Floats:
        """Return the mean of each power of the depth, [n] or [n, powers]."""
        levels = np.asarray(self.levels)
        mean = rows[:, -len(levels) :] @ levels
        return np.asarray(mean[:, 0] if mean.shape[1] == 1 else mean)


class KnownShare(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Give every unit the same two probabilities: those of one arm against control."""

    def fit(self, rows: Floats, arm: Floats, sample_weight: Floats | None = None) -> KnownShare:
        """Count."""
        del rows, sample_weight
        self.classes_, counts = np.unique(arm, return_counts=True)
        self.share_ = counts / counts.sum()
        return self

    def predict_proba(self, rows: Floats) -> Floats:
        """Return the shares."""
        return np.broadcast_to(self.share_, (len(rows), len(self.share_)))

    def predict(self, rows: Floats) -> NDArray[Any]:
        """Return the commoner."""
        return np.full(len(rows), self.classes_[self.share_.argmax()])


class Trees(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Our boosted trees as econml wants regressions: nuisances, or small trees on scores."""

    def __init__(self, *, is_final: bool = False, seed: int = 1) -> None:
        self.is_final = is_final
        self.seed = seed

    def fit(self, rows: Floats, target: Floats, sample_weight: Floats | None = None) -> Trees:
        """Grow them; too few units have a mean only."""
        goal = np.asarray(target, dtype=np.float64).reshape(len(rows))
        shape = default_shape(len(rows)) if self.is_final else nuisance_shape(len(rows))
        self.mean_ = float(np.average(goal, weights=sample_weight))
        self.model_ = None
        if len(rows) >= 2 * shape.least and np.ptp(goal) > 0:
            bins = bin_features(rows)
            self.model_ = grow(bins, goal, shape=shape, weight=sample_weight, seed=self.seed)
        return self

    def predict(self, rows: Floats) -> Floats:
        """Return predictions, [n]."""
        if self.model_ is None:
            return np.full(len(rows), self.mean_)
        return np.asarray(self.model_.predict(rows, num_threads=1))


def fit(name: str, ground: Groundwork) -> tuple[Any, Predict]:
    """Fit one of econml's estimators and return it with its predictions in money.

    The target is divided by its standard deviation first. Features without gaps are what all
    of them want: medians fill, and a column says where.

    Args:
        name: Key of the learner.
        ground: Of the lesson; its folds and probabilities are econml's too.
    """
    lesson = ground.lesson
    design = Design(lesson.x, is_linear=name in {"linear", "dose_linear"})
    x, scale = design.of(lesson.x), float(lesson.target.std())
    y = lesson.target / scale
    labels = range(ground.count)
    splits = [
        (np.flatnonzero(ground.fold != f), np.flatnonzero(ground.fold == f)) for f in labels
    ]
    if name in {"s", "t", "x"}:
        model = _meta(name, ground)
        model.fit(y, lesson.arm, X=x)
        return model, _of_arms(model, design, len(lesson.arms), scale)
    if name in {"dose_linear", "dose_forest"}:
        model, dose = _dose(name, ground, splits)
        chances = ground.chances.astype(np.float64)
        with warnings.catch_warnings():
            # Of a column that hardly varies; standard errors of a line are not used.
            warnings.filterwarnings("ignore", UNDERDETERMINED, UserWarning)
            model.fit(y, dose[lesson.arm][:, None], X=x, W=chances)
        return model, _of_doses(model, design, dose, scale)
    model = _robust(name, ground, splits)
    # Standard errors of a line are not used, and their warnings would be.
    extra = {"inference": None} if name == "linear" else {}
    model.fit(y, lesson.arm, X=x, W=ground.chances.astype(np.float64), **extra)
    return model, _of_arms(model, design, len(lesson.arms), scale)


class Design:
    """Features as econml takes them: without gaps, and for a line without redundancy."""

    def __init__(self, x: Matrix, *, is_linear: bool) -> None:
        self.gappy = np.flatnonzero(np.isnan(x).any(axis=0))
        seen = ~np.isnan(x).all(axis=0)
        self.middle = np.zeros(x.shape[1])
        self.middle[seen] = np.nanmedian(x[:, seen], axis=0)
        self.kept = np.arange(x.shape[1] + len(self.gappy))
        self.centre, self.spread = np.zeros(len(self.kept)), np.ones(len(self.kept))
        if is_linear:
            filled = self.of(x)
            self.centre, self.spread = filled.mean(axis=0), filled.std(axis=0)
            self.spread[~(self.spread > 0)] = 1.0
            self.kept = _independent((filled - self.centre) / self.spread)
            self.centre, self.spread = self.centre[self.kept], self.spread[self.kept]

    def of(self, x: Matrix) -> Floats:
        """Fill gaps, flag them, and scale where a line asks for it."""
        filled = np.where(np.isnan(x), self.middle, x).astype(np.float64)
        wide = np.hstack([filled, np.isnan(x[:, self.gappy])])
        return np.asarray((wide[:, self.kept] - self.centre) / self.spread)


def _independent(columns: Floats) -> NDArray[np.int64]:
    """Return columns that no others add up to; at least one."""
    from scipy.linalg import qr

    _, corner, order = qr(columns, mode="economic", pivoting=True)
    size = np.abs(np.diag(corner))
    kept = order[: max(1, int((size > 1e-6 * max(size[0], 1e-300)).sum()))]
    return np.sort(kept).astype(np.int64)


def _robust(name: str, ground: Groundwork, splits: list[Any]) -> Any:  # noqa: ANN401
    from econml import dml, dr

    n, arms, seed = len(ground.lesson.target), len(ground.lesson.arms), ground.seed
    known, trees = KnownPropensity(arms=arms), Trees(seed=seed)
    if name == "causal_forest":
        return dml.CausalForestDML(
            model_y=trees,
            model_t=known,
            discrete_treatment=True,
            cv=splits,
            drate=False,
            **_forest(n, seed),
        )
    shared = {"model_propensity": known, "model_regression": trees, "cv": splits}
    if name == "linear":
        return dr.LinearDRLearner(**shared, random_state=seed)
    if name == "dr":
        final = Trees(is_final=True, seed=seed)
        return dr.DRLearner(**shared, model_final=final, random_state=seed)
    return dr.ForestDRLearner(**shared, **_forest(n, seed))


def _meta(name: str, ground: Groundwork) -> Any:  # noqa: ANN401
    from econml import metalearners
    from sklearn.linear_model import LogisticRegression

    trees = Trees(seed=ground.seed)
    if name == "s":
        return metalearners.SLearner(overall_model=trees)
    if name == "t":
        return metalearners.TLearner(models=trees)
    chances = KnownShare() if ground.lesson.is_known else LogisticRegression(max_iter=1_000)
    final = Trees(is_final=True, seed=ground.seed)
    return metalearners.XLearner(models=trees, cate_models=final, propensity_model=chances)


def _dose(name: str, ground: Groundwork, splits: list[Any]) -> tuple[Any, Floats]:
    """Take the depth as treatment, with its square where there are three depths or more."""
    from econml import dml
    from sklearn.preprocessing import PolynomialFeatures

    doses = np.asarray(ground.lesson.doses, dtype=np.float64)
    doses = doses / max(float(np.abs(doses).max()), 1e-300)
    degree = 2 if len(np.unique(doses)) > 2 else 1
    levels = np.stack([doses**power for power in range(1, degree + 1)], axis=1)
    shared = {
        "model_y": Trees(seed=ground.seed),
        "model_t": KnownDose(levels),
        "cv": splits,
    }
    if degree > 1:
        powers = PolynomialFeatures(degree=degree, include_bias=False)
        shared["treatment_featurizer"] = powers
    if name == "dose_linear":
        return dml.LinearDML(**shared, random_state=ground.seed), doses
    forest = _forest(len(ground.lesson.target), ground.seed)
    return dml.CausalForestDML(**shared, drate=False, **forest), doses


def _forest(n: int, seed: int) -> dict[str, Any]:
    return {
        "n_estimators": TREES,
        "min_samples_leaf": int(np.clip(n // 100, 5, 50)),
        "max_samples": 0.45,
        "n_jobs": min(THREADS, os.cpu_count() or 1),
        "random_state": seed,
    }


def _of_arms(model: Any, design: Design, arms: int, scale: float) -> Predict:  # noqa: ANN401
    def predict(x: Matrix) -> Floats:
        rows = design.of(x)
        effects = [model.effect(rows, T0=0, T1=a) for a in range(1, arms)]
        return scale * np.stack([np.asarray(each).reshape(len(x)) for each in effects], axis=1)

    return predict


def _of_doses(model: Any, design: Design, doses: Floats, scale: float) -> Predict:  # noqa: ANN401
    def predict(x: Matrix) -> Floats:
        rows, one = design.of(x), np.ones((len(x), 1))
        effects = [model.effect(rows, T0=doses[0] * one, T1=depth * one) for depth in doses[1:]]
        return scale * np.stack([np.asarray(each).reshape(len(x)) for each in effects], axis=1)

    return predict
