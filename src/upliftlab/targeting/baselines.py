"""What would a campaign do without a model of effects: nobody, everybody, the usual lists?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.targeting.boosting import grow
from upliftlab.targeting.lessons import Groundwork
from upliftlab.targeting.nuisances import nuisance_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.targeting.lessons import Lesson

    Floats = NDArray[np.float64]
    Matrix = NDArray[np.float32]
    Ints = NDArray[np.integer[Any]]
    Rank = Callable[[Matrix], tuple[Floats, NDArray[np.int64]]]

RFM = {
    "recency": ("recency", "days_since", "last_order", "last_purchase"),
    "frequency": ("frequency", "orders", "purchases", "visits"),
    "monetary": ("monetary", "gmv", "spend", "revenue", "sales", "history"),
}
"""Words in a column's name that make it recency, frequency or money spent."""

STEPS = 5
"""Steps of each part of the RFM score."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """A way to choose units that asks for no effects.

    Attributes:
        name: Key.
        label: Words for readers.
        features: Columns that it uses.
        is_constant: Whether it treats all or nobody, whatever the share.
        note: What a reader must know.
    """

    name: str
    label: str
    _rank: Rank
    features: tuple[str, ...] = ()
    is_constant: bool = False
    note: str = ""

    def rank(self, x: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
        """Return each unit's priority (higher is treated earlier) and its arm if treated."""
        return self._rank(np.ascontiguousarray(x, dtype=np.float32))

    def arms_of(self, x: ArrayLike, share: float, *, seed: int = 1) -> NDArray[np.int64]:
        """Treat this share of units, first those of high priority; 0 is control, [n].

        Args:
            x: Features, shape [n, P].
            share: Of units; a constant rule takes no notice of it.
            seed: Decides between equal priorities.
        """
        priority, arm = self.rank(x)
        return arm if self.is_constant else treat(priority, arm, share, seed=seed)


def treat(
    priority: ArrayLike, arm: ArrayLike, share: float, *, seed: int = 1
) -> NDArray[np.int64]:
    """Give the units of highest priority their arm and all others control.

    Args:
        priority: Shape [n]; equal priorities are ordered by chance.
        arm: Arm of each unit if it is treated, shape [n], or one for all.
        share: Of units to treat; compare rules at one share.
        seed: Of that chance.

    Examples:
        >>> treat([0.1, 0.9, 0.5, 0.2], 2, 0.5).tolist()
        [0, 2, 2, 0]
    """
    given = np.asarray(priority, dtype=np.float64)
    if not 0 <= share <= 1:
        raise DesignError(f"share is {share:g}; write the share of units to treat, 0 to 1.")
    chance = np.random.default_rng(seed).random(len(given))
    order = np.lexsort((chance, -given))
    picked = order[: round(share * len(given))]
    out = np.zeros(len(given), dtype=np.int64)
    out[picked] = np.broadcast_to(np.asarray(arm, dtype=np.int64), given.shape)[picked]
    return out


def nobody() -> Baseline:
    """Treat nobody.

    Examples:
        >>> nobody().arms_of(np.zeros((3, 1)), 0.5).tolist()
        [0, 0, 0]
    """
    return _constant("nobody", "treat nobody", 0)


def everybody(arm: int, name: str) -> Baseline:
    """Give everybody one arm.

    Args:
        arm: Its position, from 1 on.
        name: Its name.

    Examples:
        >>> rule = everybody(1, "coupon_20")
        >>> rule.name, rule.arms_of(np.zeros((2, 1)), 0.5).tolist()
        ('everybody:coupon_20', [1, 1])
    """
    return _constant(f"everybody:{name}", f"{name} for everybody", arm)


def by_chance(arm: int, *, seed: int = 1) -> Baseline:
    """Treat units by chance.

    Args:
        arm: That they get.
        seed: Of the chance.
    """

    def rank(x: Matrix) -> tuple[Floats, NDArray[np.int64]]:
        return np.random.default_rng(seed).random(len(x)), np.full(len(x), arm)

    return Baseline(name="random", label="units by chance", _rank=rank)


def response(ground: Groundwork, arm: int) -> Baseline:
    """Treat first who is likely to buy without treatment: the usual response model.

    Args:
        ground: Of the lesson to learn from; only its control units are used.
        arm: That units get.
    """
    chance = _regression(ground, 0, ground.lesson.bought.astype(np.float32))

    def rank(x: Matrix) -> tuple[Floats, NDArray[np.int64]]:
        return chance(x), np.full(len(x), arm)

    return Baseline(
        name="response",
        label="likeliest to buy first",
        features=ground.lesson.names,
        _rank=rank,
    )


def treated_response(ground: Groundwork) -> Baseline:
    """Treat first who brings most money under treatment, each with the best arm by that.

    What they would have brought anyway is not taken off.

    Args:
        ground: Of the lesson to learn from; only its treated units are used.
    """
    lesson = ground.lesson
    money = [
        _regression(ground, a, lesson.target.astype(np.float32))
        for a in range(1, len(lesson.arms))
    ]

    def rank(x: Matrix) -> tuple[Floats, NDArray[np.int64]]:
        each = np.stack([predict(x) for predict in money], axis=1)
        return each.max(axis=1), each.argmax(axis=1) + 1

    return Baseline(
        name="treated_response",
        label="most money under treatment first",
        features=lesson.names,
        _rank=rank,
    )


def rfm(ground: Groundwork, arm: int, *, columns: Mapping[str, str] | None = None) -> Baseline:
    """Treat first who bought lately, often and for much; else who brings most untreated.

    Each part found among the columns scores 1 to 5 by fifths of the lesson's units; the scores
    add up. Without any part units are ranked by the money expected of them in control.

    Args:
        ground: Of the lesson, whose units set the thresholds.
        arm: That units get.
        columns: "recency", "frequency" or "monetary" -> column; found by name unless said.

    References:
        Hughes (1994), *Strategic Database Marketing*, chapter on RFM fifths.

    Examples:
        >>> find_rfm(["recency_days", "orders_90d", "age"])
        {'recency': 'recency_days', 'frequency': 'orders_90d'}
    """
    lesson = ground.lesson
    parts = find_rfm(lesson.names) if columns is None else dict(columns)
    if not parts:
        money = _regression(ground, 0, lesson.target.astype(np.float32))
        return Baseline(
            name="rfm",
            label="most valuable first",
            features=lesson.names,
            note="no recency, frequency or money column; ranked by money expected untreated",
            _rank=lambda x: (money(x), np.full(len(x), arm)),
        )
    at = {part: lesson.names.index(column) for part, column in parts.items()}
    steps = {
        part: np.nanquantile(lesson.x[:, j], np.arange(1, STEPS) / STEPS)
        for part, j in at.items()
    }

    def rank(x: Matrix) -> tuple[Floats, NDArray[np.int64]]:
        total = np.zeros(len(x))
        for part, j in at.items():
            step = np.searchsorted(steps[part], x[:, j]) + 1.0
            step = STEPS + 1 - step if part == "recency" else step
            total += np.where(np.isnan(x[:, j]), 1.0, step)
        return total, np.full(len(x), arm)

    return Baseline(
        name="rfm",
        label="best customers first (" + ", ".join(parts) + ")",
        features=tuple(parts.values()),
        _rank=rank,
    )


def find_rfm(names: Sequence[str]) -> dict[str, str]:
    """Find the columns of recency, frequency and money by their names; the first of each.

    Examples:
        >>> find_rfm(["V1", "V2"])
        {}
    """
    found: dict[str, str] = {}
    for part, words in RFM.items():
        for name in names:
            known = any(word in name.lower() for word in words)
            if known and name not in found.values():
                found[part] = name
                break
    return found


def baselines(
    lesson: Lesson, arm: int, *, groundwork: Groundwork | None = None, seed: int = 1
) -> tuple[Baseline, ...]:
    """Return all baselines: nobody, everybody by arm, chance, both response models, RFM.

    Args:
        lesson: What those that learn learn from.
        arm: That rules of one arm give: the best for everybody.
        groundwork: Of the same lesson, where it is at hand.
        seed: Of everything random.
    """
    ground = groundwork or Groundwork(lesson=lesson, seed=seed)
    return (
        nobody(),
        *(everybody(a, name) for a, name in enumerate(lesson.arms) if a > 0),
        by_chance(arm, seed=seed),
        response(ground, arm),
        treated_response(ground),
        rfm(ground, arm),
    )


def _constant(name: str, label: str, arm: int) -> Baseline:
    return Baseline(
        name=name,
        label=label,
        is_constant=True,
        _rank=lambda x: (np.zeros(len(x)), np.full(len(x), arm)),
    )


def _regression(ground: Groundwork, arm: int, target: Matrix) -> Callable[[Matrix], Floats]:
    rows = np.flatnonzero(ground.lesson.arm == arm)
    shape = nuisance_shape(len(rows))
    if len(rows) < 2 * shape.least or not np.ptp(target[rows]) > 0:
        mean = float(target[rows].mean(dtype=np.float64))
        return lambda x: np.full(len(x), mean)
    model = grow(ground.bins, target, shape=shape, rows=rows, seed=ground.seed)
    return lambda x: np.asarray(model.predict(x, num_threads=1), dtype=np.float64)
