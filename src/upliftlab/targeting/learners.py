"""Which learners are there, and what does one say each treatment adds for each unit?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import UpliftlabError, nearest
from upliftlab.targeting.boosting import grow
from upliftlab.targeting.fast_dr import default_shape, fit_fast_dr
from upliftlab.targeting.lessons import Groundwork
from upliftlab.targeting.nuisances import nuisance_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.targeting.lessons import Lesson

    Floats = NDArray[np.float64]
    Matrix = NDArray[np.float32]
    Predict = Callable[[Matrix], NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """What a learner is and when it may be used.

    The order of :data:`LEARNERS` is from the simplest to the most complex.

    Attributes:
        label: Words for readers.
        kind: "constant", "doubly_robust", "forest", "meta", "two_part" or "dose".
        econml: Name of its class in econml; empty where it is our own.
        many_arms: Whether it takes more than one treatment.
        unknown_chances: Whether it is right where assignment was not designed, given that
            all that matters to it was seen.
        uneven_chances: Whether it is right where designed probabilities differ by stratum.
        advised: Units from and to which it is advised; above it learns from a sample.
        is_slow: Whether a comparison of learners should use fewer units.
    """

    label: str
    kind: str
    econml: str = ""
    many_arms: bool = True
    unknown_chances: bool = True
    uneven_chances: bool = True
    advised: tuple[int, int] = (1_000, 100_000_000)
    is_slow: bool = False

    def refusal(self, lesson: Lesson) -> str:
        """Say why it cannot learn from this lesson; empty where it can."""
        reasons = (
            (
                not self.many_arms and len(lesson.arms) > 2,
                f"takes one treatment; there are {len(lesson.arms) - 1}",
            ),
            (self.kind == "dose" and lesson.doses is None, "needs the depth of each arm"),
            (
                self.kind == "dose" and _is_flat(lesson.doses),
                "needs depths other than control's; an arm of the same depth has no effect",
            ),
            self._few(lesson),
            (
                not self.uneven_chances and lesson.is_uneven,
                "mixes strata whose probabilities differ",
            ),
            (not self.unknown_chances and not lesson.is_known, "needs designed probabilities"),
        )
        return next((reason for holds, reason in reasons if holds), "")

    def _few(self, lesson: Lesson) -> tuple[bool, str]:
        """Whether one model of all arms would never split by the smallest: an effect of 0."""
        least, fewest = (
            nuisance_shape(len(lesson.arm)).least,
            int(np.bincount(lesson.arm).min()),
        )
        said = f"needs {least:,} units of every arm; the smallest has {fewest:,}"
        return self.econml == "SLearner" and fewest < least, said


LEARNERS: dict[str, Learner] = {
    "constant": Learner(label="the same effect for everybody", kind="constant"),
    "linear": Learner(
        label="linear doubly robust learner",
        kind="doubly_robust",
        econml="LinearDRLearner",
        advised=(500, 1_000_000),
    ),
    "dose_linear": Learner(
        label="effect of depth, linear in features",
        kind="dose",
        econml="LinearDML",
        advised=(500, 1_000_000),
    ),
    "fast": Learner(
        label="fast doubly robust learner", kind="doubly_robust", advised=(2_000, 100_000_000)
    ),
    "dr": Learner(
        label="doubly robust learner with boosted trees",
        kind="doubly_robust",
        econml="DRLearner",
        advised=(2_000, 1_000_000),
    ),
    "two_part": Learner(
        label="chance to buy times basket",
        kind="two_part",
        uneven_chances=False,
        advised=(5_000, 10_000_000),
    ),
    "s": Learner(label="S-learner", kind="meta", econml="SLearner", uneven_chances=False),
    "t": Learner(label="T-learner", kind="meta", econml="TLearner", uneven_chances=False),
    "x": Learner(label="X-learner", kind="meta", econml="XLearner", uneven_chances=False),
    "forest": Learner(
        label="doubly robust forest",
        kind="forest",
        econml="ForestDRLearner",
        advised=(2_000, 200_000),
        is_slow=True,
    ),
    "causal_forest": Learner(
        label="causal forest",
        kind="forest",
        econml="CausalForestDML",
        advised=(2_000, 200_000),
        is_slow=True,
    ),
    "dose_forest": Learner(
        label="causal forest on depth",
        kind="dose",
        econml="CausalForestDML",
        advised=(2_000, 200_000),
        is_slow=True,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A learner that has learned.

    Attributes:
        name: Key in :data:`LEARNERS`.
        names: Columns it was fitted on, P.
        treatments: How many, A - 1.
        model: The model behind it: a ``FastDR``, an econml estimator or arrays.
        note: What a reader must know, such as a sample that it learned from.
    """

    name: str
    names: tuple[str, ...]
    treatments: int
    model: Any
    _predict: Predict
    note: str = ""

    def predict(self, x: ArrayLike) -> Floats:
        """Return what each treatment adds for each unit, [n, A - 1], in the target's unit."""
        rows = np.ascontiguousarray(x, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != len(self.names):
            raise UpliftlabError(
                f"learner {self.name!r} was fitted on {len(self.names)} columns "
                f"{list(self.names)}; it was given a matrix of shape {rows.shape}."
            )
        found = np.asarray(self._predict(rows), dtype=np.float64)
        return found.reshape(len(rows), self.treatments)


def declaration(name: str) -> Learner:
    """Look up a learner.

    Raises:
        UpliftlabError: When there is none of that name.

    Examples:
        >>> declaration("forest").econml
        'ForestDRLearner'
    """
    if name not in LEARNERS:
        raise UpliftlabError(
            f"learner {name!r} is not known; learners are {list(LEARNERS)}."
            f"{nearest(name, LEARNERS)}"
        )
    return LEARNERS[name]


def fit(
    name: str, lesson: Lesson, *, groundwork: Groundwork | None = None, seed: int = 1
) -> Fitted:
    """Learn what each treatment adds for a unit.

    Designed probabilities are used as they are, by unit; others are estimated on the other
    fold. Gaps in features are imputed where a learner cannot take them. A target that never
    changes has no effect to learn: predictions are 0.

    Args:
        name: Key in :data:`LEARNERS`.
        lesson: What it learns from.
        groundwork: Of the same lesson, where it is at hand.
        seed: Of everything random.

    Raises:
        UpliftlabError: When the learner cannot learn from this lesson, with the reason.

    References:
        Kennedy (2023), *Electronic Journal of Statistics* 17(2) (DR-learner); Künzel et al.
        (2019), *PNAS* 116(10) (S, T, X); Athey, Tibshirani and Wager (2019), *Annals of
        Statistics* 47(2) (forests); Duan et al. (1983), *JBES* 1(2) (two-part models).

    Examples:
        >>> from upliftlab.targeting.lessons import lesson
        >>> rng = np.random.default_rng(0)
        >>> x, arm = rng.normal(size=(4_000, 2)), rng.integers(0, 2, 4_000)
        >>> target = arm * np.where(x[:, 0] > 0, 2.0, -1.0) + rng.normal(size=4_000)
        >>> taught = lesson(x, target, arm, arms=("none", "coupon"), propensity=[0.5, 0.5])
        >>> model = fit("fast", taught)
        >>> [round(float(v)) for v in model.predict([[1.0, 0.0], [-1.0, 0.0]])[:, 0]]
        [2, -1]
    """
    learner = declaration(name)
    reason = learner.refusal(lesson)
    if reason:
        raise UpliftlabError(f"learner {name!r} {reason}; choose another.")
    note = ""
    if len(lesson.target) > learner.advised[1]:
        note = f"learned from {learner.advised[1]:,} of {len(lesson.target):,} units"
        lesson, groundwork = sample(lesson, learner.advised[1], seed=seed), None
    if not np.ptp(lesson.target) > 0:
        note, learner = "the target never changes", LEARNERS["constant"]
        model: Any = np.zeros(len(lesson.arms) - 1)
        predict: Predict = _same(model)
    else:
        ground = groundwork or Groundwork(lesson=lesson, seed=seed)
        if learner.econml and not _tells_apart(lesson):
            note, name, learner = (
                "no column tells units apart",
                "constant",
                LEARNERS["constant"],
            )
        model, predict = _fitted(name, learner, ground)
    return Fitted(
        name=name,
        names=lesson.names,
        treatments=len(lesson.arms) - 1,
        model=model,
        _predict=predict,
        note=note,
    )


def sample(lesson: Lesson, most: int, *, seed: int = 1) -> Lesson:
    """Keep at most so many units, drawn by chance; clusters stay whole.

    Args:
        lesson: Of n units.
        most: Units to keep.
        seed: Of the draw.
    """
    if len(lesson.target) <= most:
        return lesson
    return lesson.take(sampled_rows(lesson, most, seed=seed))


def sampled_rows(lesson: Lesson, most: int, *, seed: int = 1) -> NDArray[np.intp]:
    """Return positions of the units that :func:`sample` keeps, in order."""
    n = len(lesson.target)
    if n <= most:
        return np.arange(n)
    rng = np.random.default_rng(seed)
    if lesson.cluster is None:
        return np.sort(rng.choice(n, most, replace=False))
    _, member = np.unique(lesson.cluster, return_inverse=True)
    sizes = np.bincount(member)
    order = rng.permutation(len(sizes))
    kept = np.zeros(len(sizes), dtype=bool)
    kept[order[np.cumsum(sizes[order]) <= most]] = True
    return np.flatnonzero(kept[member])


def _fitted(name: str, learner: Learner, ground: Groundwork) -> tuple[Any, Predict]:
    if learner.econml:
        from upliftlab.targeting import econml_models

        return econml_models.fit(name, ground)
    if name == "constant":
        mean = ground.contrast.mean(axis=0, dtype=np.float64)
        return mean, _same(mean)
    if name == "two_part":
        return _two_part(ground)
    model = fit_fast_dr(
        None,
        ground.contrast,
        bins=ground.bins,
        names=ground.lesson.names,
        seed=ground.seed,
        shape=default_shape(len(ground.contrast)),
    )
    return model, model.predict


def _is_flat(doses: Floats | None) -> bool:
    """Whether some treatment is as deep as control."""
    return doses is not None and bool((doses[1:] == doses[0]).any())


def _tells_apart(lesson: Lesson) -> bool:
    """Whether some column, or where it is missing, differs between units."""
    gaps = np.isnan(lesson.x)
    if (gaps.any(axis=0) & ~gaps.all(axis=0)).any():
        return True
    seen = lesson.x[:, ~gaps.any(axis=0)]
    return bool(len(seen) and seen.shape[1] and (np.ptp(seen, axis=0) > 0).any())


def _same(value: Floats) -> Predict:
    return lambda x: np.broadcast_to(value, (len(x), len(value)))


def _two_part(ground: Groundwork) -> tuple[Any, Predict]:
    """Model the chance to buy and what a buyer brings, per arm; others bring the arm's mean."""
    lesson, parts = ground.lesson, []
    for a in range(len(lesson.arms)):
        mine = np.flatnonzero(lesson.arm == a)
        buyers, others = mine[lesson.bought[mine]], mine[~lesson.bought[mine]]
        chance = _regression(ground, lesson.bought.astype(np.float32), mine)
        basket = _regression(ground, lesson.target.astype(np.float32), buyers)
        rest = float(lesson.target[others].mean()) if len(others) else 0.0
        parts.append((chance, basket, rest))

    def predict(x: Matrix) -> Floats:
        money = []
        for chance, basket, rest in parts:
            share = np.clip(chance(x), 0.0, 1.0)
            money.append(share * basket(x) + (1 - share) * rest)
        return np.stack([each - money[0] for each in money[1:]], axis=1)

    return parts, predict


def _regression(ground: Groundwork, target: Matrix, rows: NDArray[Any]) -> Predict:
    """Boost trees on these units; their mean where they are too few or do not vary."""
    shape = nuisance_shape(len(rows))
    if len(rows) < 2 * shape.least or not np.ptp(target[rows]) > 0:
        mean = float(target[rows].mean(dtype=np.float64)) if len(rows) else 0.0
        return lambda x: np.full(len(x), mean)
    model = grow(ground.bins, target, shape=shape, rows=rows, seed=ground.seed)
    return lambda x: np.asarray(model.predict(x, num_threads=1))
