"""What is a rule worth, and on which units may that be asked?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import Estimate, interval
from upliftlab.targeting.folds import folds
from upliftlab.targeting.ranking import covariance
from upliftlab.targeting.worths import joint_of, picked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]
    Ints = NDArray[np.integer[Any]]
    Learn = Callable[[Ints], Callable[[Ints], Ints]]

POOLED = (
    "pooled over folds: each fold's rule was learned from units that value the others, so the "
    "interval is too short where units hardly differ"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Valued:
    """What a rule earns per unit against treating nobody.

    Attributes:
        value: With its interval.
        rule: What the interval belongs to.
    """

    value: Estimate
    rule: str


def value_of(
    arm: ArrayLike,
    worth: ArrayLike,
    *,
    learned_on: ArrayLike,
    valued_on: ArrayLike,
    cluster: ArrayLike | None = None,
    rule: str = "the rule",
    level: float = 0.95,
) -> Valued:
    """Value one rule on units that it was not learned from.

    Args:
        arm: What the rule gives to every unit, shape (n,).
        worth: Scores of every unit under every arm, control first, shape (n, A).
        learned_on: Positions of units, or a mask, that the rule was learned from.
        valued_on: The same for the units that value it.
        cluster: Units assigned together, shape (n,).
        rule: Its name.
        level: Confidence level.

    Raises:
        UpliftlabError: When a unit, or a cluster, both taught the rule and values it.

    References:
        Athey and Wager (2021), *Econometrica* 89(1), for doubly robust scores of policies.

    Examples:
        >>> worth = np.array([[0.0, 2.0], [0.0, -1.0], [0.0, 3.0], [0.0, 1.0]])
        >>> found = value_of([1, 1, 1, 1], worth, learned_on=[0, 1], valued_on=[2, 3])
        >>> found.value.estimate
        2.0
        >>> value_of([1, 1, 1, 1], worth, learned_on=[0, 1], valued_on=[1, 2], rule="the tree")
        Traceback (most recent call last):
        ...
        upliftlab.errors.UpliftlabError: the tree was learned from 1 of the 2 units that ...
    """
    scores, held, own = _held(worth, learned_on, valued_on, cluster, rule)
    gain = picked(scores[held], np.asarray(arm)[held]) - scores[held, 0]
    return Valued(value=_mean(gain, own, level), rule=rule)


def difference_of(
    arm: ArrayLike,
    other: ArrayLike,
    worth: ArrayLike,
    *,
    learned_on: ArrayLike,
    valued_on: ArrayLike,
    cluster: ArrayLike | None = None,
    rule: str = "the rule",
    against: str = "the other",
    level: float = 0.95,
) -> Valued:
    """Value one rule against another on units that neither was learned from.

    Both are judged by the same scores, so only units that they treat differently add noise.

    Args:
        arm: What the rule gives to every unit, shape (n,).
        other: What the other rule gives, shape (n,).
        worth: Scores of every unit under every arm, control first, shape (n, A).
        learned_on: Positions of units, or a mask, that either rule was learned from.
        valued_on: The same for the units that value them.
        cluster: Units assigned together, shape (n,).
        rule: Its name.
        against: Name of the other.
        level: Confidence level.

    Raises:
        UpliftlabError: When a unit, or a cluster, both taught a rule and values it.

    Examples:
        >>> worth = np.array([[0.0, 2.0], [0.0, -1.0], [0.0, 3.0], [0.0, 1.0]])
        >>> found = difference_of([1, 1, 1, 1], [1, 1, 0, 1], worth, learned_on=[0, 1],
        ...                       valued_on=[2, 3], rule="all", against="the list")
        >>> found.value.estimate, found.rule
        (1.5, 'all less the list')
    """
    scores, held, own = _held(worth, learned_on, valued_on, cluster, rule)
    gain = picked(scores[held], np.asarray(arm)[held])
    gain -= picked(scores[held], np.asarray(other)[held])
    return Valued(value=_mean(gain, own, level), rule=f"{rule} less {against}")


def regret_of(
    arm: ArrayLike,
    others: Mapping[str, ArrayLike],
    worth: ArrayLike,
    *,
    learned_on: ArrayLike,
    valued_on: ArrayLike,
    cluster: ArrayLike | None = None,
    rule: str = "the rule",
    level: float = 0.95,
) -> Valued:
    """Say how much less a rule earns than the best of several others, at most and at least.

    Which of them is best is not known, so the interval counts all: with simultaneous limits of
    every difference, the largest difference lies between the largest of either.

    Args:
        arm: What the rule gives to every unit, shape (n,).
        others: Name -> what that rule gives, shape (n,).
        worth: Scores of every unit under every arm, control first, shape (n, A).
        learned_on: Positions of units, or a mask, that any of the rules was learned from.
        valued_on: The same for the units that value them.
        cluster: Units assigned together, shape (n,).
        rule: Its name.
        level: Confidence level.

    Returns:
        The regret, never below 0; its estimate is that against the best on these units, which
        flatters the best. It has no standard error.

    Raises:
        UpliftlabError: When a unit, or a cluster, both taught a rule and values it.

    References:
        Hsu (1981), *Annals of Statistics* 9(5) (comparisons with the best).

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> worth = np.column_stack([np.zeros(400), rng.normal(1.0, 1.0, 400)])
        >>> found = regret_of(np.zeros(400, int), {"all": np.ones(400, int)}, worth,
        ...                   learned_on=np.arange(200), valued_on=np.arange(200, 400))
        >>> f"{found.value.estimate:.2f} [{found.value.ci_low:.2f}, {found.value.ci_high:.2f}]"
        '0.91 [0.77, 1.05]'
    """
    scores, held, own = _held(worth, learned_on, valued_on, cluster, rule)
    mine = picked(scores[held], np.asarray(arm)[held])
    behind = {
        name: picked(scores[held], np.asarray(each)[held]) - mine
        for name, each in others.items()
    }
    return Valued(value=largest(joint_of(behind, own), level=level), rule=f"regret of {rule}")


def largest(differences: Joint, *, level: float) -> Estimate:
    """Return the largest of several differences, or 0, with limits that count all of them."""
    spread = np.sqrt(np.maximum(np.diag(differences.cov), 0.0))
    critical = differences.max_t(level=level) if (spread > 0).any() else 0.0
    low, middle, high = (
        max(0.0, float((differences.value + side * critical * spread).max(initial=0.0)))
        for side in (-1, 0, 1)
    )
    return Estimate(name="regret", estimate=middle, ci_low=low, ci_high=high, level=level)


def forward_value(
    learn: Learn,
    worth: ArrayLike,
    *,
    blocks: int = 10,
    cluster: ArrayLike | None = None,
    seed: int = 1,
    level: float = 0.95,
) -> Valued:
    """Value how a rule is learned, block by block, each block by the rule of all before it.

    No unit values a rule that it helped to make, and nearly all units value one. Blocks count
    by the inverse of the standard deviation that earlier units predict for them, which makes
    the standardised sum a martingale: the interval holds also where units do not differ and
    rules change from block to block. Its variance is what the blocks show of it: predicted
    from few earlier units of skewed money it would be too small as often as too large.

    Args:
        learn: Positions to learn from -> a function from positions to arms.
        worth: Scores of every unit under every arm, control first, shape (n, A); nuisances
            from other units.
        blocks: How many; the first only teaches.
        cluster: Units assigned together, shape (n,): kept in one block.
        seed: Of the order.
        level: Confidence level.

    References:
        Luedtke and van der Laan (2016), *Annals of Statistics* 44(2), section 3 (the one-step
        online estimator).
    """
    scores = np.asarray(worth)
    fold = _blocks(len(scores), blocks, cluster, seed)
    total = weight = moved = 0.0
    for block in range(1, blocks):
        past, here = np.flatnonzero(fold < block), np.flatnonzero(fold == block)
        rule = learn(past)
        before = picked(scores[past], rule(past)) - scores[past, 0]
        gain = picked(scores[here], rule(here)) - scores[here, 0]
        spread, its_own = (
            _spread(each, None if cluster is None else np.asarray(cluster)[rows])
            for each, rows in ((before, past), (gain, here))
        )
        if spread > 0:
            total += float(gain.sum()) / spread
            weight += len(here) / spread
            moved += len(here) * (its_own / spread) ** 2
    rule_name = "rules of earlier blocks, each for its own block"
    if weight == 0:
        return Valued(value=interval("value", 0.0, float("nan"), level=level), rule=rule_name)
    return Valued(
        value=interval("value", total / weight, moved / weight**2, level=level), rule=rule_name
    )


def pooled_value(
    learn: Learn,
    worth: ArrayLike,
    *,
    count: int = 5,
    cluster: ArrayLike | None = None,
    seed: int = 1,
    level: float = 0.95,
) -> Valued:
    """Value how a rule is learned by cross-fitting; only to compare, the interval is too short.

    Args:
        learn: Positions to learn from -> a function from positions to arms.
        worth: Scores of every unit under every arm, control first, shape (n, A).
        count: Folds.
        cluster: Units assigned together, shape (n,).
        seed: Of the folds.
        level: Confidence level.
    """
    scores = np.asarray(worth)
    fold = _blocks(len(scores), count, cluster, seed)
    gain = np.zeros(len(scores))
    for f in range(count):
        rows, rest = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        gain[rest] = picked(scores[rest], learn(rows)(rest)) - scores[rest, 0]
    own = None if cluster is None else np.asarray(cluster)
    return Valued(value=_mean(gain, own, level), rule=POOLED)


def _held(
    worth: ArrayLike,
    learned_on: ArrayLike,
    valued_on: ArrayLike,
    cluster: ArrayLike | None,
    rule: str,
) -> tuple[NDArray[np.floating[Any]], Ints, Ints | None]:
    """Scores, positions of the units that value a rule, and their clusters."""
    scores = np.asarray(worth)
    taught, held = (_rows(each, len(scores)) for each in (learned_on, valued_on))
    _refuse_overlap(taught, held, cluster, rule)
    return scores, held, None if cluster is None else np.asarray(cluster)[held]


def _mean(gain: Floats, cluster: Ints | None, level: float) -> Estimate:
    mean = float(gain.mean())
    cov, df = covariance(gain - mean, cluster)
    return interval("value", mean, float(cov[0, 0]), df=df, level=level)


def _spread(gain: Floats, cluster: Ints | None) -> float:
    """Standard deviation of a unit's gain, as clusters leave it in the mean."""
    cov, _ = covariance(gain - gain.mean(), cluster)
    return float(np.sqrt(cov[0, 0] * len(gain)))


def _blocks(n: int, count: int, cluster: ArrayLike | None, seed: int) -> Ints:
    own = None if cluster is None else np.unique(np.asarray(cluster), return_inverse=True)[1]
    return folds(np.zeros(n, dtype=np.int8), count=count, seed=seed, cluster=own)


def _rows(which: ArrayLike, n: int) -> Ints:
    found = np.asarray(which)
    rows: Ints = np.flatnonzero(found) if found.dtype == np.bool_ else found.astype(np.intp)
    if len(rows) and (rows.min() < 0 or rows.max() >= n):
        raise UpliftlabError(
            f"positions run from 0 to {n - 1}; found {rows.min()} to {rows.max()}."
        )
    return rows


def _refuse_overlap(taught: Ints, held: Ints, cluster: ArrayLike | None, rule: str) -> None:
    what, left, right = "units", taught, held
    if cluster is not None:
        codes = np.asarray(cluster)
        what, left, right = "clusters", codes[taught], codes[held]
    right = np.unique(right)
    both = np.isin(right, left).sum()
    if both:
        raise UpliftlabError(
            f"{rule} was learned from {both:,} of the {len(right):,} {what} that are to value "
            "it; its own units make any rule look good. Value it on others, or learn it again "
            "without them."
        )
