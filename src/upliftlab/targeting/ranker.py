"""Which learner ranks units, and what of it can be exported?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.targeting.boosting import Shape
from upliftlab.targeting.fast_dr import FastDR, fit_fast_dr
from upliftlab.targeting.learners import fit, sampled_rows
from upliftlab.targeting.selection import choose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from upliftlab.targeting.answer import Candidate
    from upliftlab.targeting.boosting import Bins
    from upliftlab.targeting.lessons import Lesson

    Matrix = NDArray[np.float32]
    Ints = NDArray[np.integer[Any]]

FAST, CONSTANT, CHOOSE = "fast", "constant", "choose"
FEW = 20_000
"""Units of the learning half below which a linear learner is compared as well."""

COMPARED = 100_000
"""Units that learners are compared on, at most."""

COPY = Shape(trees=200, leaves=15, rate=0.1, least=20)
"""Of the trees that repeat another learner's predictions: these have no noise."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranker:
    """The model that ranks units.

    Attributes:
        model: Boosted trees: the fast learner itself, or a copy of another's predictions.
        learner: Whose predictions they are.
        candidates: Learners that were compared; empty where the plan names one.
    """

    model: FastDR
    learner: str
    candidates: tuple[Candidate, ...] = ()


def ranker(
    lessons: Lesson, contrast: Matrix, fold: Ints, *, bins: Bins, asked: str, seed: int
) -> Ranker:
    """Choose a learner by the doubly robust loss, and learn.

    A rule must be exported as SQL, so whatever learner ranks best is repeated by boosted trees.
    Where the constant effect does best the fast learner still ranks: whether its rule earns
    anything is for the other half to say.

    Args:
        lessons: Units of the learning half.
        contrast: Their scores of each treatment less control, priced, shape (n, A - 1).
        fold: Folds that the scores' nuisances were fitted on.
        bins: Their columns, binned.
        asked: Key of a learner, or "choose".
        seed: Of everything random.
    """
    candidates: tuple[Candidate, ...] = ()
    name = asked
    if asked == CHOOSE:
        tried = (FAST, "two_part", "linear") if len(contrast) < FEW else (FAST, "two_part")
        rows = sampled_rows(lessons, COMPARED, seed=seed)
        found = choose(lessons.take(rows), contrast[rows], fold[rows], names=tried, seed=seed)
        name, candidates = found.chosen, found.candidates
    if name in {FAST, CONSTANT}:
        model = fit_fast_dr(None, contrast, bins=bins, names=lessons.names, seed=seed)
        return Ranker(model=model, learner=FAST, candidates=candidates)
    predicted = fit(name, lessons, seed=seed).predict(bins.x)
    copy = fit_fast_dr(None, predicted, bins=bins, names=lessons.names, shape=COPY, seed=seed)
    return Ranker(model=copy, learner=name, candidates=candidates)
