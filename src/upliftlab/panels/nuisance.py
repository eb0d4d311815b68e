"""Who was likely to be treated, and what would controls like them have done?"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from upliftlab.errors import DataError, DesignError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]

TRIM = 0.995
"""Controls at least this likely to be treated carry no weight (DRDID's default)."""
SEPARATED = 0.999
"""A comparison with such a propensity anywhere has no answer (the rule of R's did)."""
FLAT = 1e-15
"""Least curvature of a likelihood: categories without treated units flatten it harmlessly."""


class Learner(Protocol):
    """Anything that is fitted and then predicts, such as an estimator of scikit-learn."""

    def fit(self, x: Any, y: Any) -> Any:  # noqa: ANN401 - whatever the learner returns
        """Learn from rows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learners:
    """Learners for the doubly robust method, each fitted on units it does not predict.

    Attributes:
        outcome: Regressor with ``fit`` and ``predict``; learns the change of controls.
        propensity: Classifier with ``fit`` and ``predict_proba``; learns who is treated.
        folds: Parts of the panel; clusters stay whole.
        seed: Of the parts. Learners keep their own seeds.
    """

    outcome: Learner
    propensity: Learner
    folds: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Propensity:
    """Probability of treatment given covariates.

    Attributes:
        score: Fitted probability, shape [n].
        inverse: Inverse information, shape [p, p]; zeros where a learner gave the score.
        note: Why there is no usable score; empty otherwise.
    """

    score: Floats
    inverse: Floats
    note: str = ""

    def odds(self, treated: Booleans, weight: Floats) -> tuple[Floats, int]:
        """Weights that make controls look like the treated, and the controls trimmed."""
        keep = ~treated & (self.score < TRIM)
        odds = np.zeros(len(weight))
        odds[keep] = weight[keep] * self.score[keep] / (1 - self.score[keep])
        return odds, int((~treated).sum() - keep.sum())


def logit(x: Floats, treated: Booleans, weight: Floats) -> Propensity:
    """Fit a logit by Newton's method.

    Args:
        x: Covariates with an intercept, shape [n, p].
        treated: Who is treated, shape [n].
        weight: Weights of units, shape [n].

    Returns:
        Scores and the inverse information; a note instead where covariates tell treated from
        untreated units (some score of .999 or more, as in R's did) or units are too few.

    References:
        McCullagh and Nelder (1989), *Generalized Linear Models*, section 4.4.

    Examples:
        >>> x = np.column_stack([np.ones(4), [0.0, 0.0, 1.0, 1.0]])
        >>> logit(x, np.array([True, False, True, False]), np.ones(4)).score
        array([0.5, 0.5, 0.5, 0.5])
    """
    p = x.shape[1]
    none = np.full((p, p), np.nan)
    if treated.sum() < p:
        note = (
            f"{int(treated.sum())} treated units cannot tell a propensity of {p} coefficients"
        )
        return Propensity(score=np.full(len(x), np.nan), inverse=none, note=note)
    if p == 1:
        share = float(weight[treated].sum() / weight.sum())
        information = share * (1 - share) * float(weight.sum())
        score = np.full(len(x), share)
        return _judged(score, np.array([[1 / information]]) if information > 0 else none)
    if inverted(x.T @ x) is None:
        note = "covariates are collinear among the units compared"
        return Propensity(score=np.full(len(x), np.nan), inverse=none, note=note)
    target = treated.astype(np.float64)
    scale = weight / weight.mean()
    start = float((scale * target).mean())
    slope = np.zeros(p)
    slope[0] = np.log(start / (1 - start)) if 0 < start < 1 else 0.0
    score, step = np.full(len(x), start), np.zeros(p)
    for _ in range(60):
        curvature = scale * score * (1 - score)
        information_matrix = x.T @ (curvature[:, None] * x)
        gradient = x.T @ (scale * (target - score))
        inverse = inverted(information_matrix, limit=FLAT)
        if inverse is None or score.max() > 1 - 1e-9:
            return _judged(np.full(len(x), 1.0), none)
        step = inverse @ gradient
        # Long steps overshoot where the likelihood is flat; the cap leaves the end untouched.
        size = float(np.abs(x @ step).max())
        slope = slope + step * min(1.0, 8.0 / max(size, 1e-300))
        score = _expit(x @ slope)
        if float(gradient @ step) < 1e-10:
            break
    else:
        return _judged(np.full(len(x), 1.0), none)
    curvature = weight * score * (1 - score)
    final = inverted(x.T @ (curvature[:, None] * x), limit=FLAT)
    return _judged(score, none if final is None else final)


def inverted(gram: Floats, *, limit: float = 1e-11) -> Floats | None:
    """Invert a sum of squares; nothing where it is singular.

    The test is on correlations, so units of measurement do not matter: the least eigenvalue
    over the largest must reach ``limit``.

    Examples:
        >>> inverted(np.array([[4.0, 0.0], [0.0, 1e-12]]))
        array([[2.5e-01, 0.0e+00],
               [0.0e+00, 1.0e+12]])
        >>> inverted(np.array([[1.0, 1.0], [1.0, 1.0]])) is None
        True
    """
    diagonal = np.diag(gram)
    if not np.isfinite(gram).all() or (diagonal <= 0).any():
        return None
    scale = 1 / np.sqrt(diagonal)
    values, vectors = np.linalg.eigh(gram * np.outer(scale, scale))
    if values[0] < limit * values[-1]:
        return None
    half = vectors * (1 / np.sqrt(values)) * scale[:, None]
    out: Floats = half @ half.T
    return out


def design(x: Floats) -> Floats:
    """Check covariates, put them on one scale and add an intercept, shape [N, 1 + P].

    Raises:
        DataError: When a covariate is missing somewhere.
        DesignError: When one is constant, or a combination of the others.

    Examples:
        >>> design(np.array([[1.0], [3.0]]))
        array([[ 1., -1.],
               [ 1.,  1.]])
    """
    wrong = ~np.isfinite(x)
    if wrong.any():
        where = int(np.flatnonzero(wrong.any(axis=0))[0])
        raise DataError(
            f"covariate {where + 1} of the panel is missing or infinite for "
            f"{int(wrong[:, where].sum())} of {len(x)} units; covariates must be known for "
            "every unit: fill them before, with a column that says so, or leave such units out."
        )
    if not x.shape[1]:
        return np.ones((len(x), 1))
    middle, spread = x.mean(axis=0), x.std(axis=0)
    flat = np.flatnonzero(spread <= 1e-12 * np.maximum(np.abs(middle), 1e-300))
    if flat.size:
        raise DesignError(
            f"covariate {int(flat[0]) + 1} of the panel is the same for all {len(x)} units; "
            "it explains nothing: leave it out."
        )
    scaled = (x - middle) / spread
    together = scaled.T @ scaled / len(x)
    for j in range(1, x.shape[1] + 1):
        if inverted(together[:j, :j]) is None:
            raise DesignError(
                f"covariate {j} of the panel is a linear combination of covariates 1 to "
                f"{j - 1} and the constant; leave one of them out."
            )
    return np.column_stack([np.ones(len(x)), scaled])


def folds(cluster: Ints, start: Ints, learners: Learners) -> Ints:
    """Deal clusters into folds, cohort by cohort, shape [N].

    Examples:
        >>> parts = Learners(outcome=None, propensity=None, folds=2)
        >>> sorted(folds(np.arange(4), np.array([1, 1, 2, 2]), parts).tolist())
        [0, 0, 1, 1]
    """
    names, first, code = np.unique(cluster, return_index=True, return_inverse=True)
    if not 2 <= learners.folds <= len(names):
        raise DesignError(
            f"learners ask for {learners.folds} folds; the panel has {len(names)} clusters, "
            "which stay whole: ask for 2 folds or more, and no more folds than clusters."
        )
    rng = np.random.default_rng(learners.seed)
    order = np.lexsort((rng.random(len(names)), start[first]))
    part = np.empty(len(names), dtype=np.int64)
    part[order] = np.arange(len(names)) % learners.folds
    dealt: Ints = part[code]
    return dealt


def learned_propensity(
    x: Floats, treated: Booleans, weight: Floats, fold: Ints, learners: Learners
) -> Propensity:
    """Predict treatment in every fold from the others, by the learner given.

    References:
        Chernozhukov et al. (2018), *The Econometrics Journal* 21(1), definition 3.2; Chang
        (2020), *The Econometrics Journal* 23(2).

    Examples:
        >>> class Half:
        ...     def fit(self, x, y): return self
        ...     def predict_proba(self, x): return np.full((len(x), 2), 0.5)
        >>> who, fold = np.array([True, False, True, False]), np.array([0, 0, 1, 1])
        >>> both = Learners(outcome=Half(), propensity=Half(), folds=2)
        >>> learned_propensity(np.zeros((4, 1)), who, np.ones(4), fold, both).score
        array([0.5, 0.5, 0.5, 0.5])
    """
    score = np.full(len(x), np.nan)
    inverse = np.zeros((x.shape[1] + 1, x.shape[1] + 1))
    for part in np.unique(fold):
        here = fold == part
        if len(np.unique(treated[~here])) < 2:
            note = (
                "a fold has no treated or no control units outside of it; ask for fewer folds"
            )
            return Propensity(score=score, inverse=inverse, note=note)
        learner = _fitted(
            learners.propensity, x[~here], treated[~here].astype(np.int64), weight[~here]
        )
        score[here] = learner.predict_proba(x[here])[:, 1]
    if not np.isfinite(score).all() or (score < 0).any() or (score > 1).any():
        return Propensity(
            score=score, inverse=inverse, note="the propensity learner gave no probabilities"
        )
    # Learners may be sure about single units; only controls that all but must be treated go.
    return Propensity(score=np.minimum(score, 1 - 1e-6), inverse=inverse)


def learned_changes(
    x: Floats,
    change: Floats,
    control: Booleans,
    weight: Floats,
    *,
    fold: Ints,
    learners: Learners,
) -> Floats:
    """Predict untreated changes in every fold from controls of the others, shape [n, m].

    Examples:
        >>> class Mean:
        ...     def fit(self, x, y): self.middle = y.mean(); return self
        ...     def predict(self, x): return np.full(len(x), self.middle)
        >>> both = Learners(outcome=Mean(), propensity=Mean(), folds=2)
        >>> learned_changes(np.zeros((2, 1)), np.array([[1.0], [3.0]]), np.array([True, True]),
        ...                 np.ones(2), fold=np.array([0, 1]), learners=both).ravel()
        array([3., 1.])
    """
    found = np.full(change.shape, np.nan)
    for part in np.unique(fold):
        here, past = fold == part, (fold != part) & control
        if not past.any():
            continue
        for j in range(change.shape[1]):
            learner = _fitted(learners.outcome, x[past], change[past, j], weight[past])
            found[here, j] = learner.predict(x[here])
    return found


def _fitted(learner: Learner, x: Floats, y: NDArray[Any], weight: Floats) -> Any:  # noqa: ANN401
    fresh: Any = copy.deepcopy(learner)
    if (weight == weight[0]).all():
        fresh.fit(x, y)
    else:
        fresh.fit(x, y, sample_weight=weight)
    return fresh


def _judged(score: Floats, inverse: Floats) -> Propensity:
    """Refuse scores that leave some treated units without anybody like them."""
    note = ""
    if not np.isfinite(inverse).all():
        note = "covariates separate treated from untreated units"
    elif score.max() >= SEPARATED:
        note = f"some units were all but certain to be treated (propensity {SEPARATED} or more)"
    return Propensity(score=score, inverse=inverse, note=note)


def _expit(z: Floats) -> Floats:
    out: Floats = 1 / (1 + np.exp(-np.clip(z, -500, 500)))
    return out
