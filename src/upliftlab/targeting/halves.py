"""Which units teach and which judge, and what is each of them worth?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.targeting.features import fit_encoding
from upliftlab.targeting.folds import halves
from upliftlab.targeting.lessons import lesson
from upliftlab.targeting.price_sheet import used
from upliftlab.targeting.scores import component_scores
from upliftlab.targeting.taught import Material

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.checks import Check
    from upliftlab.data.score_table import ScoreTable
    from upliftlab.targeting.asked import Ask
    from upliftlab.targeting.features import Encoding
    from upliftlab.targeting.price_sheet import Prices, PriceSheet
    from upliftlab.targeting.scores import Scores, Worth

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Half:
    """One half: its units, its scores, and the scores priced.

    Attributes:
        table: Its units as they were read.
        material: What rules are learned from or valued on.
        gmv: GMV per unit and arm; None where no GMV was measured.
        checks: Facts about assignment and columns.
    """

    table: ScoreTable
    material: Material
    gmv: Worth | None
    checks: tuple[Check, ...]

    def __len__(self) -> int:
        """How many units."""
        return len(self.table.arm)

    @property
    def outcome(self) -> Floats:
        """Profit that each unit brought in its own arm, shape (n,)."""
        return self.material.lessons.target


def split(table: ScoreTable, ask: Ask, sheet: PriceSheet) -> tuple[Half, Half, Encoding]:
    """Cut units in two halves, whole clusters, alike in arms and strata, and score each.

    Nuisances of a half are cross-fitted within it, so nothing of the valuing half reaches a
    rule and nothing of a rule reaches the scores that value it.

    Args:
        table: All units.
        ask: What the plan asks.
        sheet: Prices, over the table's components.

    Returns:
        Learning half, valuing half, and the encoding of the columns that rules may use.
    """
    encoding = fit_encoding(table.features)
    learns = halves(table.arm, seed=ask.seed, cluster=table.cluster, stratum=table.stratum)
    first = _half(table.take(learns), ask, sheet, encoding)
    return first, _half(table.take(~learns), ask, sheet, encoding), encoding


def levels_of(table: ScoreTable, columns: Sequence[str]) -> dict[str, NDArray[np.str_]]:
    """Return columns as texts, for groups that are compared; columns not read are left out."""
    found = {}
    for name in columns:
        if name in table.features:
            raw = table.features[name]
            values = raw if isinstance(raw, np.ndarray) else raw.to_pylist()
            found[name] = np.array([_text(value) for value in values])
    return found


def _text(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return "missing"
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _half(table: ScoreTable, ask: Ask, sheet: PriceSheet, encoding: Encoding) -> Half:
    keep = list(used(sheet) + tuple(_counted(sheet, ask)))
    x = encoding.matrix(table.features)
    scores = component_scores(
        x,
        table.y[:, keep],
        table.arm,
        ask.shares,
        arms=table.arms,
        components=[sheet.names[k] for k in keep],
        names=encoding.names,
        cluster=table.cluster,
        stratum=table.stratum,
        prices=sheet.profit.rates[:, keep],
        seed=ask.seed,
    )
    material = Material(
        x=x,
        profit=_priced(scores, sheet.profit, keep),
        cost=_priced(scores, sheet.cost, keep),
        counts={name: _priced(scores, sheet.counts[name], keep) for name in ask.at_least},
        lessons=lesson(
            x,
            sheet.profit.of(table.y, table.arm),
            table.arm,
            arms=table.arms,
            propensity=ask.shares,
            cluster=table.cluster,
            stratum=table.stratum,
            names=encoding.names,
        ),
    )
    gmv = None if sheet.gmv is None else _priced(scores, sheet.gmv, keep)
    return Half(
        table=table,
        material=material,
        gmv=gmv,
        checks=scores.checks,
    )


def _counted(sheet: PriceSheet, ask: Ask) -> list[int]:
    """Positions of counts that the plan sets a floor for and no price touches."""
    priced = set(used(sheet))
    return [k for k, name in enumerate(sheet.names) if name in ask.at_least and k not in priced]


def _priced(scores: Scores, prices: Prices, keep: list[int]) -> Worth:
    return scores.worth(prices.rates[:, keep], prices.constant)
