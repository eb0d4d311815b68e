"""What does a learner get to see: units, their arms, and the money that came of it?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DataError, DesignError
from upliftlab.targeting.boosting import bin_features
from upliftlab.targeting.folds import folds
from upliftlab.targeting.nuisances import expected
from upliftlab.targeting.propensity import estimated_propensity, known_propensity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.targeting.boosting import Bins

    Floats = NDArray[np.float64]
    Matrix = NDArray[np.float32]
    Ints = NDArray[np.integer[Any]]
    Flags = NDArray[np.bool_]

FEWEST = 20
"""Units of an arm below which nothing about its units can be told from others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """Units to learn from; make it with :func:`lesson`.

    Attributes:
        x: What was known before assignment, float32 [n, P]; gaps are NaN.
        target: Money that came of each unit in its arm, priced, [n].
        arm: 0 for control, [n].
        arms: Names, control first, A.
        propensity: Designed probability of each arm for each unit, [n, A]; None if unknown.
        cluster: What was assigned as a whole, [n]; None for units one by one.
        stratum: What assignment was stratified by, [n]; None for nothing.
        bought: Whether the unit bought, [n]: the first part of a two-part outcome.
        doses: Depth of each arm, [A]; None where arms have none.
        names: Columns of ``x``.
    """

    x: Matrix
    target: Floats
    arm: Ints
    arms: tuple[str, ...]
    propensity: Matrix | None
    cluster: Ints | None
    stratum: Ints | None
    bought: Flags
    doses: Floats | None
    names: tuple[str, ...]

    def take(self, rows: NDArray[Any]) -> Lesson:
        """Keep these units; every arm must keep enough of them."""
        kept = replace(
            self,
            x=self.x[rows],
            target=self.target[rows],
            arm=self.arm[rows],
            propensity=None if self.propensity is None else self.propensity[rows],
            cluster=None if self.cluster is None else self.cluster[rows],
            stratum=None if self.stratum is None else self.stratum[rows],
            bought=self.bought[rows],
        )
        _refuse_few(kept.arm, kept.arms)
        return kept

    @property
    def is_known(self) -> bool:
        """Whether probabilities of arms are known by design."""
        return self.propensity is not None

    @property
    def is_uneven(self) -> bool:
        """Whether units differ in their designed probabilities, as strata do."""
        return (
            self.propensity is not None and float(np.ptp(self.propensity, axis=0).max()) > 1e-6
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Groundwork:
    """What several learners need of one lesson, computed at most once.

    Attributes:
        lesson: What it is computed from.
        seed: Of folds.
        count: Folds that nuisances are fitted across.
    """

    lesson: Lesson
    seed: int = 1
    count: int = 2

    @cached_property
    def bins(self) -> Bins:
        """Binned features."""
        return bin_features(self.lesson.x)

    @cached_property
    def fold(self) -> Ints:
        """Folds with all arms in each; clusters stay whole."""
        lesson = self.lesson
        return folds(
            lesson.arm,
            count=self.count,
            seed=self.seed,
            cluster=lesson.cluster,
            stratum=lesson.stratum,
        )

    @cached_property
    def chances(self) -> Matrix:
        """Probability of each arm, designed or estimated on the other folds, [n, A]."""
        lesson = self.lesson
        if lesson.propensity is not None:
            return lesson.propensity
        return estimated_propensity(
            self.bins, lesson.arm, fold=self.fold, arms=lesson.arms, seed=self.seed
        ).value

    @cached_property
    def contrast(self) -> Matrix:
        """Doubly robust scores of each treatment less control, [n, A - 1]."""
        lesson, target = self.lesson, self.lesson.target.astype(np.float32)[:, None]
        psi = expected(
            self.bins,
            target,
            lesson.arm,
            fold=self.fold,
            chances=self.chances,
            prices=[[1.0]] * len(lesson.arms),
            is_pooled=lesson.is_known and len(lesson.arms) == 2,
            seed=self.seed,
        )[:, :, 0]
        rows = np.arange(len(target))
        own = psi[rows, lesson.arm]
        psi[rows, lesson.arm] += (target[:, 0] - own) / self.chances[rows, lesson.arm]
        return np.asarray(psi[:, 1:] - psi[:, :1])


def lesson(
    x: ArrayLike,
    target: ArrayLike,
    arm: ArrayLike,
    *,
    arms: Sequence[str],
    propensity: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    stratum: ArrayLike | None = None,
    bought: ArrayLike | None = None,
    doses: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> Lesson:
    """Lay out what learners learn from, and refuse what none of them could.

    Args:
        x: What was known before assignment, shape [n, P]; gaps are NaN.
        target: Money that came of each unit in its own arm, minor units, shape [n].
        arm: 0 for control, then 1, 2, ...; shape [n].
        arms: Names, control first.
        propensity: By design: [A], [S, A] with ``stratum``, or [n, A]; None if unknown.
        cluster: What was assigned as a whole, shape [n].
        stratum: Position of each unit's stratum, shape [n].
        bought: Whether the unit bought, shape [n]; where the target is not 0 unless said.
        doses: Depth of each arm, shape [A], such as coupon depth with 0 for control.
        names: Columns of ``x``.

    Raises:
        DataError: When shapes differ or a target is missing.
        DesignError: When an arm has fewer than ``FEWEST`` units, with its name and count.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> arm = rng.integers(0, 2, 100)
        >>> found = lesson(rng.normal(size=(100, 2)), 1.0 * arm, arm, propensity=[0.5, 0.5],
        ...                arms=("none", "coupon"))
        >>> found.names, found.is_known, found.is_uneven
        (('column 1', 'column 2'), True, False)
    """
    rows = np.ascontiguousarray(x, dtype=np.float32)
    money = np.asarray(target, dtype=np.float64)
    given = np.asarray(arm)
    n = len(rows)
    if rows.ndim != 2 or money.shape != (n,) or given.shape != (n,):
        raise DataError(
            f"a learner needs x [n, P], target [n] and arm [n]; they have shapes {rows.shape}, "
            f"{money.shape} and {given.shape}."
        )
    if not np.isfinite(money).all():
        lost = int((~np.isfinite(money)).sum())
        raise DataError(
            f"the target is missing for {lost:,} of {n:,} units; nothing can be learned from "
            "them. Set them aside first."
        )
    _refuse_few(given, arms)
    depth = None if doses is None else np.asarray(doses, dtype=np.float64)
    if depth is not None and depth.shape != (len(arms),):
        raise DesignError(f"doses have shape {depth.shape}; arms {list(arms)} need one each.")
    groups = None if stratum is None else np.asarray(stratum)
    known = None
    if propensity is not None:
        known = known_propensity(propensity, n, arms=arms, stratum=groups).value
    return Lesson(
        x=rows,
        target=money,
        arm=given,
        arms=tuple(arms),
        propensity=known,
        cluster=None if cluster is None else np.asarray(cluster),
        stratum=groups,
        bought=money != 0 if bought is None else np.asarray(bought, dtype=bool),
        doses=depth,
        names=tuple(names or (f"column {j + 1}" for j in range(rows.shape[1]))),
    )


def _refuse_few(arm: Ints, arms: Sequence[str]) -> None:
    counts = np.bincount(arm, minlength=len(arms))
    if len(counts) > len(arms):
        raise DesignError(
            f"arm {len(counts) - 1} has units, and {len(arms)} arms are named: {list(arms)}."
        )
    few = int(counts.argmin())
    if counts[few] < FEWEST:
        raise DesignError(
            f"arm {arms[few]!r} has {counts[few]:,} units; a learner needs at least {FEWEST} "
            "of every arm. Leave the arm out, or merge it with another."
        )
