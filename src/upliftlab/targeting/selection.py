"""Which learner ranks units best, if any does better than one effect for everybody?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DataError, UpliftlabError
from upliftlab.targeting.answer import Candidate
from upliftlab.targeting.folds import refuse_split_clusters
from upliftlab.targeting.learners import LEARNERS, declaration, fit, sample
from upliftlab.targeting.lessons import FEWEST, Groundwork
from upliftlab.targeting.ranking import covariance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.targeting.lessons import Lesson

    Floats = NDArray[np.float64]
    Ints = NDArray[np.integer[Any]]

CONSTANT = "constant"

USUAL = ("fast", "linear", "two_part", "x", "forest")
"""Learners compared unless said; the constant effect is always among them."""

TWICE = 2.0
"""Variance of a cross-fitted difference against that of independent units.

Without heterogeneity a learner's gain on held-out units is a sum over pairs of units, of which
one taught and one was predicted; over all folds every pair counts twice, as the same number.
"""

SLOW_ROWS = 20_000
"""Units that a slow learner sees in a comparison."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """What the comparison said.

    Attributes:
        chosen: Key of the learner that ranks units.
        candidates: All that were asked, the least loss first, then those not tried.
        predictions: Learner -> its predictions of units it did not learn from, [n, A - 1].
    """

    chosen: str
    candidates: tuple[Candidate, ...]
    predictions: Mapping[str, Floats] = field(default_factory=dict)


def choose(
    lesson: Lesson,
    psi: ArrayLike,
    fold: Ints,
    *,
    names: Sequence[str] = USUAL,
    slow_rows: int = SLOW_ROWS,
    seed: int = 1,
) -> Choice:
    """Compare learners on units they did not learn from, and take the simplest good one.

    Args:
        lesson: Units to learn from and to compare on.
        psi: Their doubly robust scores of each treatment less control, shape [n, A - 1], whose
            nuisances come from other folds: the same folds, or a model of other units.
        fold: Fold of each unit; clusters in one fold.
        names: Keys of :data:`LEARNERS` to compare.
        slow_rows: Most units that a slow learner learns from here.
        seed: Of everything random.

    Examples:
        >>> from upliftlab.targeting.folds import folds
        >>> from upliftlab.targeting.lessons import lesson
        >>> rng = np.random.default_rng(0)
        >>> x, arm = rng.normal(size=(6_000, 2)), rng.integers(0, 2, 6_000)
        >>> y = arm * np.where(x[:, 0] > 0, 2.0, -2.0) + rng.normal(size=6_000)
        >>> taught = lesson(x, y, arm, arms=("none", "coupon"), propensity=[0.5, 0.5])
        >>> fold = folds(arm)
        >>> psi = Groundwork(lesson=taught).contrast
        >>> choose(taught, psi, fold, names=("linear", "fast")).chosen
        'fast'
    """
    refuse_split_clusters(fold, lesson.cluster)
    wanted = [name for name in LEARNERS if name in {CONSTANT, *names}]
    for name in names:
        declaration(name)
    untried, notes = {}, {}
    predictions: dict[str, Floats] = {}
    grounds = {label: _ground(lesson, fold, label, seed) for label in np.unique(fold)}
    for name in wanted:
        learner = LEARNERS[name]
        reason = learner.refusal(lesson)
        if reason:
            untried[name] = f"not tried: {reason}"
            continue
        most = slow_rows if learner.is_slow else learner.advised[1]
        predictions[name] = _held_out(name, lesson, fold, grounds, most)
        notes[name] = _note(name, len(lesson.target), grounds, most)
    candidates, chosen = compare(psi, predictions, cluster=lesson.cluster, notes=notes)
    rest = tuple(
        Candidate(name=name, gain=float("nan"), std_error=float("nan"), note=note)
        for name, note in untried.items()
    )
    return Choice(chosen=chosen, candidates=candidates + rest, predictions=predictions)


def compare(
    psi: ArrayLike,
    predictions: Mapping[str, Floats],
    *,
    cluster: Ints | None = None,
    notes: Mapping[str, str] | None = None,
) -> tuple[tuple[Candidate, ...], str]:
    """Rank predictions by their squared distance to doubly robust scores.

    The mean of (psi - prediction)^2 is the squared error of the prediction plus noise that is
    the same for all. The simplest prediction whose loss is within one standard error of the
    least is taken; the error is that of the paired difference, so the noise drops out. Its
    variance is doubled, because what two units teach each other is one thing, not two.

    Args:
        psi: Scores of each treatment less control, shape [n, A - 1] or [n].
        predictions: Name -> predictions of the same shape, simplest first, "constant" among
            them; none may have learned from the unit that it predicts.
        cluster: What was assigned as a whole, shape [n].
        notes: Name -> what a reader must know.

    Returns:
        One candidate per prediction, least loss first, and the name of the one taken.

    Raises:
        UpliftlabError: When no prediction is called "constant".
        DataError: When shapes differ.

    References:
        Saito and Yasui (2020), *ICML* (doubly robust loss); Breiman et al. (1984),
        *Classification and Regression Trees*, section 3.4.3 (one standard error); Bates, Hastie
        and Tibshirani (2024), *JASA* 119(546), on errors of cross-validation being too small.

    Examples:
        >>> psi = np.tile([3.0, 1.0, -1.0, -3.0], 50)
        >>> half = np.tile([2.0, 2.0, -2.0, -2.0], 50)
        >>> found, name = compare(psi, {"constant": 0 * psi, "fast": half})
        >>> name, f"{found[0].gain:.0%}"
        ('fast', '80%')
    """
    if CONSTANT not in predictions:
        raise UpliftlabError(
            f"learners are compared with {CONSTANT!r}; predictions are {list(predictions)}."
        )
    scores = np.asarray(psi, dtype=np.float64).reshape(len(np.asarray(psi)), -1)
    losses = {name: _losses(scores, each, name) for name, each in predictions.items()}
    means = {name: float(each.mean()) for name, each in losses.items()}
    best, base = min(means, key=means.__getitem__), means[CONSTANT]
    errors = {
        name: _std_error(each - losses[best], cluster) if name != best else 0.0
        for name, each in losses.items()
    }
    chosen = next(name for name in predictions if means[name] - means[best] <= errors[name])
    said = notes or {}
    found = [
        Candidate(
            name=name,
            gain=1 - means[name] / base if base > 0 else 0.0,
            std_error=errors[name] / base if base > 0 else 0.0,
            is_chosen=name == chosen,
            note=said.get(name, ""),
        )
        for name in sorted(means, key=means.__getitem__)
    ]
    return tuple(found), chosen


def _losses(scores: Floats, prediction: Floats, name: str) -> Floats:
    given = np.asarray(prediction, dtype=np.float64).reshape(len(prediction), -1)
    if given.shape != scores.shape:
        raise DataError(
            f"predictions of {name!r} have shape {given.shape}; scores have {scores.shape}."
        )
    return np.asarray(((scores - given) ** 2).sum(axis=1))


def _std_error(difference: Floats, cluster: Ints | None) -> float:
    found, _ = covariance(difference - difference.mean(), cluster)
    return float(np.sqrt(TWICE * found[0, 0]))


def _ground(lesson: Lesson, fold: Ints, label: int, seed: int) -> Groundwork:
    return Groundwork(lesson=lesson.take(np.flatnonzero(fold != label)), seed=seed)


def _held_out(
    name: str, lesson: Lesson, fold: Ints, grounds: Mapping[int, Groundwork], most: int
) -> Floats:
    """Predict each fold from the others."""
    out = np.zeros((len(fold), len(lesson.arms) - 1))
    for label, ground in grounds.items():
        used = ground
        if len(ground.lesson.target) > most:
            few = sample(ground.lesson, max(most, 2 * FEWEST), seed=ground.seed)
            used = Groundwork(lesson=few, seed=ground.seed)
        here = np.flatnonzero(fold == label)
        model = fit(name, used.lesson, groundwork=used, seed=used.seed)
        out[here] = model.predict(lesson.x[here])
    return out


def _note(name: str, n: int, grounds: Mapping[int, Groundwork], most: int) -> str:
    least = min(len(ground.lesson.target) for ground in grounds.values())
    parts = []
    if least > most:
        parts.append(f"compared on what it learned from {most:,} units")
    if n < LEARNERS[name].advised[0]:
        parts.append(f"advised from {LEARNERS[name].advised[0]:,} units on")
    return "; ".join(parts)
