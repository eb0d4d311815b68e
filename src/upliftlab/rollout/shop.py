"""What did the shop itself sell, in no creator's name, before and since the first wave?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.rollout.answer import ShopSeries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel import Beside, Panel

    Floats = NDArray[np.float64]

CHANNELS = {"self_live": "own live rooms", "shelf": "shelf"}
"""Channels that sell without a creator."""

FEWEST = 4
"""Periods before the first wave from which a straight line is drawn; else their mean."""


def shop_series(panel: Panel, *, anticipation: int) -> tuple[ShopSeries, ...]:
    """Lay the shop's own sales beside a straight line through the periods before any wave.

    An interrupted series: nobody without the change is compared with, so the difference holds
    the season and everything else of those periods. No range is given, and none exists.

    Args:
        panel: With what belongs to no unit beside it.
        anticipation: Periods before a start in which the change was known.
    """
    length = len(panel.periods)
    starts = panel.start[(panel.start > 0) & (panel.start < length)]
    first = int(starts.min()) - anticipation if len(starts) else 0
    if first < 1:
        return ()
    return tuple(
        _series(each, name, label, panel.periods, first)
        for each in panel.beside
        if each.is_shop
        for name, label in CHANNELS.items()
        if f"kept_{name}" in each.names and each.of(f"kept_{name}").any()
    )


def _series(
    beside: Beside, name: str, label: str, periods: tuple[str, ...], first: int
) -> ShopSeries:
    kept = beside.of(f"kept_{name}")
    t = np.arange(len(periods), dtype=np.float64)
    degree = 1 if first >= FEWEST else 0
    line = np.polynomial.Polynomial.fit(t[:first], kept[:first], degree)(t)
    return ShopSeries(
        name=name,
        label=label,
        periods=periods,
        kept=tuple(map(float, kept)),
        line=tuple(map(float, line)),
        first=first,
        before=float(kept[:first].mean()),
        since=float(kept[first:].mean()),
        expected=float(line[first:].mean()),
    )


__all__ = ["CHANNELS", "shop_series"]
