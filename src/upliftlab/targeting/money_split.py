"""Whose coupon money was it: orders it brought, or orders that would have come anyway?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.targeting.lessons import Groundwork
from upliftlab.targeting.spend import Spent, alike, spend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from upliftlab.data.score_table import ScoreTable
    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.answer import Spend
    from upliftlab.targeting.halves import Half
    from upliftlab.targeting.price_sheet import PriceSheet

    Floats = NDArray[np.float64]

BOUGHT = ("buyers", "orders", "gmv_platform", "gmv_merchant", "kept_sales")
"""Components above 0 for whoever bought, the plainest first."""


def spends(
    half: Half,
    sheet: PriceSheet,
    likely: Floats,
    later: Mapping[str, Estimate],
    *,
    level: float,
) -> tuple[Spend, ...]:
    """Split the campaign money of every treatment, by groups of alike chance to buy.

    Money that is spent on everybody alike, such as a message, has no order and is left out.

    Args:
        half: Units that the chance to buy was not learned from.
        sheet: Prices.
        likely: Predicted chance to buy without treatment, shape (n,).
        later: Arm -> extra profit after the coupon's validity.
        level: Confidence level.
    """
    bought = _bought(half.table)
    if bought is None:
        return ()
    table, arm = half.table, half.table.arm
    per_order = replace(sheet.cost, constant=np.zeros(len(table.arms)))
    cost = per_order.of(table.y, arm)
    chances = Groundwork(lesson=half.material.lessons).chances
    found = []
    for a in range(1, len(table.arms)):
        rows = np.flatnonzero((arm == 0) | (arm == a))
        treated = arm[rows] == a
        if not cost[rows][treated].any():
            continue
        seen = Spent(
            cost=cost[rows],
            bought=bought[rows],
            profit=half.outcome[rows],
            treated=treated,
            group=alike(likely[rows], treated),
            weight=1 / chances[rows, arm[rows]].astype(np.float64),
            cluster=None if table.cluster is None else table.cluster[rows],
        )
        found.append(spend(table.arms[a], seen, later=later.get(table.arms[a]), level=level))
    return tuple(found)


def _bought(table: ScoreTable) -> NDArray[np.bool_] | None:
    name = next((each for each in BOUGHT if each in table.components), None)
    return None if name is None else table.y[:, table.components.index(name)] > 0
