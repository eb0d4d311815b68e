"""What happens when a coupon plan is switched on and off from day to day?"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DefinitionError
from upliftlab.simulate.coupon_money import (
    COUPON_COMPONENTS,
    Offer,
    coupon_components,
    coupon_profit,
    whole_components,
)
from upliftlab.simulate.panel_files import panel_rows, write_truth, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

WEEK = 7
SWITCH = "coupon_on"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSwitch:
    """One simulated switchback of a coupon plan.

    Attributes:
        seed: Fixes every number; plans of one seed that differ in the reaction share all noise.
        groups: Product groups that are switched apart from each other; 1 is one shop series.
        weeks: Length; even, because days are paired between two weeks.
        start: First day, a Monday.
        lift: Extra orders while the coupon is on, as a share.
        carry_over: Part of a day's extra orders that is missing on the day after.
        orders_per_day: Orders of the whole shop on an average day without coupon.
        spread_groups: Spread (log) of the sizes of the groups.
        weekdays: Monday's to Sunday's orders against the average day.
        spread_shop: Spread of the day's shock that all groups share (log), with memory.
        spread_group: Same of each group alone, without memory.
        memory: Of the shared shock, from day to day.
        growth: Per day (log).
        offer: The coupon and the orders' money.
    """

    seed: int = 20260601
    groups: int = 6
    weeks: int = 8
    start: date = date(2026, 6, 1)
    lift: float = 0.12
    carry_over: float = 0.0
    orders_per_day: float = 2_000.0
    spread_groups: float = 0.8
    weekdays: tuple[float, ...] = (0.92, 0.90, 0.92, 0.95, 1.05, 1.15, 1.11)
    spread_shop: float = 0.08
    spread_group: float = 0.06
    memory: float = 0.5
    growth: float = 0.001
    offer: Offer = field(default_factory=Offer)

    def __post_init__(self) -> None:
        """Refuse settings that no plan can have."""
        if self.weeks < 2 or self.weeks % 2:
            fix = "write an even number, because every day is paired with one a week later"
            raise DefinitionError.unreadable("weeks", self.weeks, fix)
        if self.groups < 1 or not 0 <= self.carry_over <= 1:
            fix = "write groups of at least 1 and a carry_over from 0 to 1"
            found = (self.groups, self.carry_over)
            raise DefinitionError.unreadable("groups and carry_over", found, fix)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SwitchDraw:
    """A switchback and what would have happened under any other switching.

    Attributes:
        settings: The plan drawn.
        base: Orders without coupon, shape [N, T].
        on: When each group's coupon was on, shape [N, T].
    """

    settings: PlanSwitch
    base: Floats
    on: Bools

    def outcomes(self, on: Bools, yesterday: Bools | None = None) -> Floats:
        """Return the components under any switching, shape [N, T, K].

        Args:
            on: Who is on when, shape [N, T].
            yesterday: Who was on the day before; by default that follows from ``on``, and the
                coupon was off before the first day.
        """
        settings = self.settings
        if yesterday is None:
            yesterday = np.pad(on[:, :-1], ((0, 0), (1, 0)))
        before = np.concatenate([self.base[:, :1], self.base[:, :-1]], axis=1)
        extra = settings.lift * self.base * on
        missing = settings.carry_over * settings.lift * before * yesterday
        orders = self.base + extra - missing
        return coupon_components(settings.offer, orders, extra, on.astype(np.float64))


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchTruth:
    """True effects per group and day from the second day on; money in fen.

    Attributes:
        base: Means with the coupon always off.
        gte: Always on against always off: what the merchant decides about.
        same_day: On against off today, off yesterday: what a day brings, too much under
            carry-over.
        day_after: On against off yesterday, off today.
    """

    base: dict[str, float]
    gte: dict[str, float]
    same_day: dict[str, float]
    day_after: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = ("base", "gte", "same_day", "day_after")
        return {"unit": "fen per group and day", **{n: dict(getattr(self, n)) for n in names}}


def draw_switch(settings: PlanSwitch) -> SwitchDraw:
    """Draw a shop and its switching.

    For every pair of weeks, weekday and group a coin says in which of the two weeks the
    coupon is on, so each weekday is on in exactly half of the weeks.

    References:
        Bojinov, Simchi-Levi and Zhao (2023), *Management Science*, on switchback experiments
        with carry-over.

    Examples:
        >>> drawn = draw_switch(PlanSwitch())
        >>> drawn.on.shape, drawn.on.reshape(6, 8, 7).sum(axis=1).tolist()[0]
        ((6, 56), [4, 4, 4, 4, 4, 4, 4])
    """
    rngs = np.random.SeedSequence(settings.seed, spawn_key=(7,)).spawn(2)
    rng, coins = (np.random.default_rng(each) for each in rngs)
    count, days = settings.groups, WEEK * settings.weeks
    size = np.exp(settings.spread_groups * rng.standard_normal(count))
    size *= settings.orders_per_day / size.sum()
    shop = settings.spread_shop * rng.standard_normal(days)
    kept = np.sqrt(1 - settings.memory**2)
    for day in range(1, days):
        shop[day] = settings.memory * shop[day - 1] + kept * shop[day]
    own = settings.spread_group * rng.standard_normal((count, days))
    week = np.tile(settings.weekdays, settings.weeks)
    trend = settings.growth * np.arange(days)
    first = coins.random((count, settings.weeks // 2, WEEK)) < 0.5
    return SwitchDraw(
        settings=settings,
        base=size[:, None] * week * np.exp(trend + shop + own),
        on=np.stack([first, ~first], axis=2).reshape(count, days),
    )


def switch_panel(drawn: SwitchDraw, *, whole: bool = False) -> Panel:
    """Return the switchback as a panel whose last component is ``coupon_on``.

    The start is the first day with the coupon, which does not stay on from there.

    Examples:
        >>> switch_panel(draw_switch(PlanSwitch(weeks=2))).shape
        (6, 14, 14)
    """
    settings, y = drawn.settings, drawn.outcomes(drawn.on)
    y = whole_components(y) if whole else y
    days = drawn.on.shape[1]
    return Panel.of_arrays(
        np.concatenate([y, drawn.on[:, :, None]], axis=2),
        np.where(drawn.on.any(axis=1), drawn.on.argmax(axis=1), NEVER),
        names=(*COUPON_COMPONENTS, SWITCH),
        periods=[settings.start + timedelta(days=day) for day in range(days)],
        units=[f"group_{place:02d}" for place in range(settings.groups)],
    )


def switch_truth(drawn: SwitchDraw) -> SwitchTruth:
    """Compare a plan that is always on with one that is always off.

    Examples:
        >>> found = switch_truth(draw_switch(PlanSwitch(carry_over=0.5)))
        >>> 0 < found.gte["orders"] < found.same_day["orders"]
        True
    """
    off, on = np.zeros_like(drawn.on), np.ones_like(drawn.on)
    base = _means(drawn, drawn.outcomes(off, off))
    worlds = {"gte": (on, on), "same_day": (on, off), "day_after": (off, on)}
    effects = {
        name: {
            key: value - base[key]
            for key, value in _means(drawn, drawn.outcomes(*switching)).items()
        }
        for name, switching in worlds.items()
    }
    return SwitchTruth(base=base, **effects)


def write_switch(settings: PlanSwitch, folder: Path | str) -> Path:
    """Write ``plan_day.parquet`` (group, day, coupon_on, components) and ``truth.json``.

    Args:
        settings: The plan to draw.
        folder: Where the files go; it appears only when complete.

    Returns:
        The folder.
    """
    drawn = draw_switch(settings)

    def fill(place: Path) -> None:
        import pyarrow.parquet as pq

        panel = switch_panel(drawn, whole=True)
        panel = panel.with_outcome(panel.y[:, :, :-1], panel.names[:-1])
        rows = panel_rows(panel, unit="group", period="day", switched=(SWITCH, drawn.on))
        pq.write_table(rows, place / "plan_day.parquet", compression="zstd")
        write_truth(place, switch_truth(drawn).to_dict())

    return write_whole(folder, fill)


def _means(drawn: SwitchDraw, y: Floats) -> dict[str, float]:
    # The first day has no day before it.
    late = y[:, 1:]
    means = dict(zip(COUPON_COMPONENTS, late.mean(axis=(0, 1)).tolist(), strict=True))
    profit = coupon_profit(late, drawn.settings.offer.rates)
    return means | {"profit": float(profit.mean())}
