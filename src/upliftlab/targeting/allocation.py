"""Which arm for each unit earns most within budget, return and targets?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DesignError, UpliftlabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Table = NDArray[np.floating[Any]]
    Ints = NDArray[np.intp]

STEPS = 60
ROUNDS = 40
_CLOSE = 1e-9

EASIER = (1e-4, 1e-3, 1e-2, 0.1, 0.3)
"""Shares by which prices are eased, in turn, to spend what whole units left over."""

FEW = 20_000
"""Units up to which what is left over is dealt out one by one."""

SWAPS = 200
"""Units that may change their arm once more, where there are few."""

CUTS = 60
"""Planes that may be laid under the dual of several limits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limit:
    """One thing that an allocation may not use up: the mean of ``use`` stays at or below it.

    A floor is a limit on the negative: at least N new customers is at most -N of minus them.

    Attributes:
        name: In the words of the plan.
        use: Of each unit under each arm, shape (n, A), control first.
        most: Greatest mean over units.
    """

    name: str
    use: Table
    most: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Allocation:
    """Arms that earn most within limits, and how far from the best possible they are at most.

    Attributes:
        arm: Of each unit, shape (n,).
        value: Mean of what the units earn.
        bound: No allocation within the limits has a larger mean (Lagrangian bound).
        prices: Multiplier per limit: what one more unit of it would earn.
    """

    arm: Ints
    value: float
    bound: float
    prices: tuple[float, ...]

    @property
    def gap(self) -> float:
        """How much more, per unit, the best possible could earn at most."""
        return max(self.bound - self.value, 0.0)


def allocate(gain: ArrayLike, limits: Sequence[Limit] = ()) -> Allocation:
    """Solve the multiple-choice knapsack by its Lagrangian; costs may be negative.

    Every unit gets exactly one arm. The dual is convex in one multiplier per limit; each is
    found by bisection while the others rest, in turn. Units that are indifferent at the
    solution are then given their dearer arm, best return first, as long as limits hold.

    Args:
        gain: What each unit earns under each arm, shape (n, A).
        limits: What may not be used up.

    Raises:
        DesignError: When no allocation keeps a limit, with the least that is attainable, or
            when none is found that keeps all of them together.

    References:
        Sinha and Zoltners (1979), *Operations Research* 27(3); Fisher (1981), *Management
        Science* 27(1) (the bound).

    Examples:
        >>> gain = np.array([[0.0, 3.0], [0.0, 2.0], [0.0, -1.0]])
        >>> cost = Limit(name="budget", use=np.array([[0.0, 1.0]] * 3), most=1 / 3)
        >>> found = allocate(gain, [cost])
        >>> found.arm.tolist(), round(found.value, 3), round(found.gap, 9)
        ([1, 0, 0], 1.0, 0.0)
    """
    money = np.asarray(gain)
    if money.ndim != 2 or not len(money) or not np.isfinite(money).all():
        raise UpliftlabError(
            f"allocate got gains of shape {money.shape}; give finite numbers (n, A), n above 0."
        )
    _refuse_unattainable(limits)
    problem = _Problem(money=money, limits=tuple(limits))
    prices = problem.priced()
    arm = problem.rounded(prices)
    problem.refuse_passed(arm)
    return Allocation(
        arm=arm,
        value=_mean(money, arm),
        bound=problem.dual(prices),
        prices=tuple(float(price) for price in prices),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Problem:
    money: Table
    limits: tuple[Limit, ...]

    def net(self, prices: Floats) -> Table:
        """Gains less what is used up at these prices."""
        if not prices.any():
            return self.money
        out = self.money.astype(self.money.dtype, copy=True)
        for price, limit in zip(prices, self.limits, strict=True):
            if price:
                out -= (price * limit.use).astype(out.dtype, copy=False)
        return out

    def dual(self, prices: Floats) -> float:
        """Upper bound at these prices."""
        most = np.array([limit.most for limit in self.limits])
        best = self.net(prices).max(axis=1)
        return float(best.mean(dtype=np.float64) + prices @ most)

    def over(self, arm: Ints, which: int) -> float:
        """By how much a limit is passed; negative where there is room."""
        limit = self.limits[which]
        return _mean(limit.use, arm) - limit.most

    def priced(self) -> Floats:
        """Multipliers: one by one in turn, until they rest."""
        prices = np.zeros(len(self.limits))
        for _ in range(ROUNDS):
            before = prices.copy()
            for c in range(len(prices)):
                prices[c] = self._one(prices, c)
            if len(prices) < 2 or np.allclose(prices, before, rtol=1e-6, atol=1e-12):
                break
        return prices if len(prices) < 2 else self._lowest(prices)

    def _lowest(self, prices: Floats) -> Floats:
        """Go on to the least dual, where one price at a time gets stuck at an edge.

        The dual is the highest of planes, one for each allocation; the lowest point of those
        seen so far says where to look next.

        References:
            Kelley (1960), *Journal of the SIAM* 8(4) (cutting planes).
        """
        from scipy.optimize import linprog

        most = np.array([limit.most for limit in self.limits])
        best, least = prices, np.inf
        planes: list[Floats] = []
        heights: list[float] = []
        for _ in range(CUTS):
            arm = self.net(prices).argmax(axis=1)
            slope = most - np.array([_mean(limit.use, arm) for limit in self.limits])
            height = self.dual(prices)
            planes.append(np.append(slope, -1.0))
            heights.append(float(slope @ prices) - height)
            if height < least:
                best, least = prices, height
            box = [(0.0, 10 * price + 1.0) for price in best]
            found = linprog(
                np.append(np.zeros(len(most)), 1.0),
                A_ub=np.stack(planes),
                b_ub=heights,
                bounds=[*box, (None, None)],
            )
            if not found.success or found.fun is None or found.x is None:
                break
            if least - found.fun <= 1e-8 * max(1e-3, abs(least)):
                break
            prices = found.x[:-1]
        return best

    def _one(self, prices: Floats, which: int) -> float:
        """Least price of one limit at which it holds, the others given."""
        rest = prices.copy()
        rest[which] = 0.0
        base, use = self.net(rest), self.limits[which].use

        def passed(price: float) -> bool:
            arm = (base - (price * use).astype(base.dtype, copy=False)).argmax(axis=1)
            return self.over(arm, which) > 0

        if not passed(0.0):
            return 0.0
        low, high = 0.0, 1.0
        while passed(high) and high < 1e12:
            low, high = high, 4 * high
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if passed(middle) else (low, middle)
            if high - low <= 1e-9 * high:
                break
        return high

    def rounded(self, prices: Floats) -> Ints:
        """An allocation that keeps all limits, as near to the bound as whole units come."""
        arm = self.net(prices).argmax(axis=1)
        scale = prices.copy()
        for _ in range(STEPS):
            bad = [c for c in range(len(prices)) if self.over(arm, c) > _slack(self.limits[c])]
            if not bad:
                break
            scale[bad] = np.where(scale[bad] > 0, scale[bad] * 1.001, 1e-6)
            arm = self.net(scale).argmax(axis=1)
        else:
            arm = self.net(prices).argmax(axis=1)
            few = len(arm) <= FEW
            arm = self._repaired(arm, prices) if few else self._cheapest(arm)
        return self._filled(arm, prices) if prices.any() else arm

    def refuse_passed(self, arm: Ints) -> None:
        """Refuse limits that fight: what one of them needs another does not allow."""
        passed = [
            c for c in range(len(self.limits)) if self.over(arm, c) > _slack(self.limits[c])
        ]
        if not passed:
            return
        worst = max(passed, key=lambda c: self.over(arm, c))
        limit, others = self.limits[worst], [x.name for x in self.limits]
        raise DesignError(
            f"no choice of arms was found that keeps {' and '.join(others)} together: "
            f"{limit.name} is passed by {self.over(arm, worst):,.4g} per unit. Ease one."
        )

    def _cheapest(self, arm: Ints) -> Ints:
        """Give up on gains where limits fight: use least of the scarcest."""
        worst = max(range(len(self.limits)), key=lambda c: self.over(arm, c))
        least: Ints = self.limits[worst].use.argmin(axis=1)
        return least

    def _filled(self, arm: Ints, prices: Floats) -> Ints:
        """Spend what is left over on units that hardly mind which arm they get."""
        for _ in range(SWAPS if len(arm) <= FEW // 10 else 0):
            better = self._swapped(arm, prices)
            if better is arm:
                break
            arm = better
        for easier in EASIER if len(arm) <= FEW else EASIER[:1]:
            arm = self._moved(arm, self.net(prices * (1 - easier)).argmax(axis=1), prices)
        return arm

    def _swapped(self, arm: Ints, prices: Floats) -> Ints:
        """Give one unit an arm that earns more and fits: the best at these prices."""
        rows = np.arange(len(arm))
        extra = self.money - self.money[rows, arm][:, None]
        net, fits = extra.astype(np.float64), extra > _CLOSE * float(np.abs(self.money).max())
        for c, (price, limit) in enumerate(zip(prices, self.limits, strict=True)):
            moved = limit.use - limit.use[rows, arm][:, None]
            fits &= moved <= len(arm) * (_CLOSE * abs(limit.most) - self.over(arm, c))
            net -= (1 - EASIER[0]) * price * moved
        if not fits.any():
            return arm
        return _with(arm, np.where(fits, net, -np.inf))

    def _repaired(self, arm: Ints, prices: Floats) -> Ints:
        """Change one unit after the other, where few: most off what is passed, least lost."""
        rows = np.arange(len(arm))
        for _ in range(SWAPS):
            over = np.array([self.over(arm, c) for c in range(len(prices))])
            slack = np.array([_slack(limit) for limit in self.limits])
            if (over <= slack).all():
                break
            loss = self.money[rows, arm][:, None] - self.money.astype(np.float64)
            passed = np.zeros(self.money.shape)
            for c, (price, limit) in enumerate(zip(prices, self.limits, strict=True)):
                moved = limit.use - limit.use[rows, arm][:, None]
                loss += price * moved
                passed += np.maximum(over[c] + moved / len(arm), 0.0)
            less = np.maximum(over, 0.0).sum() - passed
            rate = np.where(less > 0, less / (np.maximum(loss, 0.0) + 1e-9), -np.inf)
            if not np.isfinite(rate).any():
                break
            arm = _with(arm, rate)
        return arm

    def _moved(self, arm: Ints, near: Ints, prices: Floats) -> Ints:
        """Give units their other arm, best return first, while it fits."""
        rows = np.flatnonzero(near != arm)
        rows = rows[_picked(self.money, near, rows) > _picked(self.money, arm, rows)]
        if not len(rows):
            return arm
        extra = _picked(self.money, near, rows) - _picked(self.money, arm, rows)
        n = len(arm)
        uses = np.stack(
            [(_picked(x.use, near, rows) - _picked(x.use, arm, rows)) / n for x in self.limits]
        )
        order = np.argsort(-extra / np.maximum(prices @ uses, 1e-300), kind="stable")
        room = np.array([-self.over(arm, c) for c in range(len(uses))])
        room += _CLOSE * np.abs([x.most for x in self.limits])
        out = arm.copy()
        if len(rows) <= FEW:
            chosen = rows[order[_fitting(uses[:, order], room)]]
        else:
            fits = (np.cumsum(uses[:, order], axis=1) <= room[:, None]).all(axis=0)
            chosen = rows[order[: len(rows) if fits.all() else int(np.argmin(fits))]]
        out[chosen] = near[chosen]
        return out


def _with(arm: Ints, score: Floats) -> Ints:
    """Change the one arm with the highest score, shape (n, A)."""
    unit, other = np.unravel_index(int(score.argmax()), score.shape)
    out = arm.copy()
    out[unit] = other
    return out


def _fitting(uses: Floats, room: Floats) -> NDArray[np.bool_]:
    """Take one after the other and leave out what does not fit."""
    fits = np.zeros(uses.shape[1], dtype=bool)
    left = room.copy()
    for i in range(uses.shape[1]):
        if (uses[:, i] <= left).all():
            fits[i] = True
            left -= uses[:, i]
    return fits


def _refuse_unattainable(limits: Sequence[Limit]) -> None:
    for limit in limits:
        least = float(limit.use.min(axis=1).mean(dtype=np.float64))
        if least > limit.most + _slack(limit):
            raise DesignError(
                f"{limit.name} cannot be kept: {limit.most:,.6g} per unit is asked and "
                f"{least:,.6g} is the least that any choice of arms attains. Ease it, or add "
                "an arm."
            )


def _slack(limit: Limit) -> float:
    return _CLOSE * max(1.0, abs(limit.most))


def _picked(table: Table, arm: Ints, rows: Ints) -> Floats:
    return table[rows, arm[rows]].astype(np.float64)


def _mean(table: Table, arm: Ints) -> float:
    found = np.take_along_axis(table, arm[:, None], axis=1)
    return float(found.mean(dtype=np.float64))
