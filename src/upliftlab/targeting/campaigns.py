"""How is one budget best split over campaigns, channels or creators with known responses?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DesignError, UpliftlabError
from upliftlab.targeting.allocation import Limit, allocate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.targeting.answer import CurvePoint

    Floats = NDArray[np.float64]

STEPS = 400
"""Amounts per curve that are compared, beside its own points."""

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """What one campaign gets.

    Attributes:
        spend: Money.
        profit: What its curve says this brings.
        margin: Extra profit of the next unit of money; NaN at the end of its curve.
    """

    spend: float
    profit: float
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One budget over several campaigns.

    Attributes:
        portions: Name -> what it gets.
        spend: Money in all.
        profit: Profit in all.
        price: Extra profit of one more unit of budget: the least return of the last unit that
            each campaign should be asked for. 0 where the budget does not bind.
        gap: How much more any split could bring at most.
    """

    portions: Mapping[str, Portion]
    spend: float
    profit: float
    price: float
    gap: float


def split_budget(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    *,
    budget: float | None = None,
    iroi_at_least: float | None = None,
    at_least: Mapping[str, float] | None = None,
    at_most: Mapping[str, float] | None = None,
) -> Split:
    """Split a budget so that the profit of all campaigns together is largest.

    It is the allocation of arms to customers with campaigns for customers and amounts for arms.
    Curves may have steps and bends of any kind; between two points they are straight.

    Args:
        curves: Name -> (money, profit) points in any order; spending nothing brings nothing.
        budget: Most money in all; None for no limit.
        iroi_at_least: Least profit per unit of money, of all campaigns together.
        at_least: Name -> least money it must get.
        at_most: Name -> most money it may get; beyond the end of a curve nothing is known.

    Raises:
        UpliftlabError: When a curve or a name cannot be read.
        DesignError: When limits cannot be kept.

    References:
        Sinha and Zoltners (1979), *Operations Research* 27(3).

    Examples:
        >>> found = split_budget(
        ...     {"search": [(10, 30), (20, 40)], "creator": [(10, 20), (20, 38)]}, budget=20
        ... )
        >>> {name: round(each.spend) for name, each in found.portions.items()}
        {'search': 10, 'creator': 10}
        >>> found.profit, round(found.price, 2)
        (50.0, 1.8)
    """
    least, most = at_least or {}, at_most or {}
    for name in (*least, *most):
        if name not in curves:
            raise UpliftlabError(f"limits name {name!r}; there are curves of {list(curves)}.")
    if not curves:
        raise UpliftlabError("split_budget needs the curve of at least one campaign.")
    read = {name: _read(name, points) for name, points in curves.items()}
    levels = [
        _levels(name, money, (least.get(name, 0.0), most.get(name, money[-1])), budget)
        for name, (money, _) in read.items()
    ]
    wide = max(len(each) for each in levels)
    spend = np.stack([np.pad(each, (0, wide - len(each)), mode="edge") for each in levels])
    gain = np.stack([np.interp(s, *c) for s, c in zip(spend, read.values(), strict=True)])
    count = len(curves)
    limits = []
    if budget is not None:
        limits.append(Limit(name="the budget", use=spend, most=budget / count))
    if iroi_at_least is not None:
        limits.append(
            Limit(name="the return on money", use=iroi_at_least * spend - gain, most=0.0)
        )
    found = allocate(gain, limits)
    rows = np.arange(count)
    chosen, earned = spend[rows, found.arm], gain[rows, found.arm]
    portions = {
        name: Portion(spend=float(s), profit=float(p), margin=_margin(*curve, float(s)))
        for (name, curve), s, p in zip(read.items(), chosen, earned, strict=True)
    }
    return Split(
        portions=portions,
        spend=float(chosen.sum()),
        profit=float(earned.sum()),
        price=found.prices[0] if budget is not None else 0.0,
        gap=found.gap * count,
    )


def points_of(points: Iterable[CurvePoint]) -> list[tuple[float, float]]:
    """Read the (money, profit) points of a frontier, as far as money rises along it."""
    found = [(0.0, 0.0)]
    for point in points:
        if point.x > found[-1][0]:
            found.append((point.x, point.effect.estimate))
    return found


def _read(name: str, points: Sequence[tuple[float, float]]) -> tuple[Floats, Floats]:
    table = np.asarray(sorted(points), dtype=np.float64).reshape(-1, 2)
    if not len(table) or not np.isfinite(table).all() or table[0, 0] < 0:
        raise UpliftlabError(
            f"the curve of {name!r} is {list(points)!r}; give (money, profit) points, finite, "
            "with money of at least 0."
        )
    if table[0, 0] > 0:
        table = np.vstack([[0.0, 0.0], table])
    if (np.diff(table[:, 0]) <= 0).any():
        raise UpliftlabError(f"the curve of {name!r} has two profits for one amount of money.")
    return table[:, 0], table[:, 1]


def _levels(
    name: str, money: Floats, ends: tuple[float, float], budget: float | None
) -> Floats:
    low, high = max(ends[0], 0.0), min(ends[1], float(money[-1]))
    if low > high:
        raise DesignError(
            f"{name!r} must get at least {ends[0]:,.6g}; its curve and limits end at "
            f"{high:,.6g}. Ease the limit, or measure further."
        )
    if budget is not None:
        high = max(low, min(high, budget))
    inner = money[(money > low) & (money < high)]
    found: Floats = np.unique(np.concatenate([np.linspace(low, high, STEPS + 1), inner]))
    return found


def _margin(money: Floats, profit: Floats, spend: float) -> float:
    at = int(np.searchsorted(money, spend + 1e-9 * max(1.0, spend), side="right"))
    if at >= len(money):
        return NAN
    return float((profit[at] - profit[at - 1]) / (money[at] - money[at - 1]))
