"""Would the rule be there without a treatment, with another seed, or under an unseen cause?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.targeting.confounding import sensitivity
from upliftlab.targeting.halves import split
from upliftlab.targeting.learners import sampled_rows
from upliftlab.targeting.lessons import Groundwork
from upliftlab.targeting.observed import observed
from upliftlab.targeting.placebo import placebo_treatment, seed_stability
from upliftlab.targeting.taught import TREE, taught_by
from upliftlab.targeting.worths import picked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.score_table import ScoreTable
    from upliftlab.targeting.asked import Ask
    from upliftlab.targeting.halves import Half, ScoreBook
    from upliftlab.targeting.price_sheet import PriceSheet

    Ints = NDArray[np.integer[Any]]

ROWS = 40_000
"""Units of each half that rules are learned from again, at most."""

DRAWS = 3
SEEDS = 3


def doubts(
    second: Half, ask: Ask, sheet: PriceSheet, arm: Ints, *, book: ScoreBook | None = None
) -> tuple[str, ...]:
    """Say how a placebo, other seeds and, where nobody assigned, unseen causes change it.

    Trees are learned again on at most 40,000 units: the sentences speak of the procedure, not
    of the exported rule's own number.

    Args:
        second: Valuing half.
        ask: What the plan asks.
        sheet: Prices.
        arm: What the exported rule gives to the valuing half, shape (n,).
        book: Where scores are looked up, and kept for other prices.
    """
    quick = replace(
        ask, rule=TREE, depth=1, learner="fast", budget=None, iroi_at_least=None, at_most=None,
        at_least={}, floors=(),
    )  # fmt: skip
    few = second.table.take(sampled_rows(second.material.lessons, ROWS, seed=ask.seed))
    again = Again(few=few, ask=quick, sheet=sheet, book=book)
    placebo = placebo_treatment(
        again.gain,
        few.arm,
        stratum=few.stratum,
        cluster=few.cluster,
        draws=DRAWS,
        seed=ask.seed,
    )
    seeds = seed_stability(
        lambda seed: again.arms(seed, second.material.x), range(ask.seed, ask.seed + SEEDS)
    )
    size = f"On {len(few.arm):,} {ask.unit}s:"
    found = [
        f"{size} {placebo.sentence(ask.money, ask.unit)}",
        f"{size} {seeds.sentence(ask.unit)}",
    ]
    if not ask.is_dealt:
        found += _unseen(second, arm, ask)
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Again:
    """The procedure once more on a few units: with other arms, or from another seed.

    Attributes:
        few: Units.
        ask: What is asked of it.
        sheet: Prices.
        book: Where scores are looked up; None keeps none.
    """

    few: ScoreTable
    ask: Ask
    sheet: PriceSheet
    book: ScoreBook | None = None

    def gain(self, arms: Ints) -> float:
        """Lead of a tree over the best of all or none, on units it was not learned from."""
        table, ask = replace(self.few, arm=np.asarray(arms, dtype=np.int8)), self.ask
        if self.few.propensity is not None and (table.arm != self.few.arm).any():
            # Arms dealt anew have the shares of the deal, whoever the unit is.
            shares = np.bincount(table.arm, minlength=len(table.arms)) / len(table.arm)
            table = replace(table, propensity=None)
            ask = replace(ask, shares=tuple(map(float, shares)))
        first, second, _ = split(table, ask, self.sheet, is_checked=False, book=self.book)
        taught = taught_by(first.material, ask)
        arm = taught.rules[TREE].arms_of(second.material.x)
        value = second.material.profit.value
        return float((picked(value, arm) - value[:, taught.best]).mean())

    def arms(self, seed: int, x: NDArray[np.float32]) -> Ints:
        """Arms that a tree learned from another seed gives to some units."""
        ask = replace(self.ask, seed=seed)
        first, _, _ = split(self.few, ask, self.sheet, is_checked=False, book=self.book)
        return taught_by(first.material, ask).rules[TREE].arms_of(x)


def _unseen(second: Half, arm: Ints, ask: Ask) -> list[str]:
    """How strong an unseen cause must be, where assignment was not designed."""
    chances = Groundwork(lesson=second.material.lessons, seed=ask.seed).chances
    seen = observed(
        second.material.profit.value,
        second.outcome,
        second.table.arm,
        chances,
        cluster=second.table.cluster,
    )
    if (arm > 0).any():
        return list(sensitivity(seen, arm, level=ask.level).sentences())
    means = second.material.profit.value[:, 1:].mean(axis=0, dtype=np.float64)
    best = 1 + int(means.argmax())
    said = sensitivity(seen, np.full(len(arm), best), level=ask.level).sentences()
    name = second.table.arms[best]
    return [f"For {name} to everybody, against nobody as it is: {each}" for each in said]
