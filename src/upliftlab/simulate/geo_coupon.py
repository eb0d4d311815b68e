"""What happens when some provinces get a coupon and others do not?"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Literal

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
from upliftlab.simulate.panel_files import panel_rows, write_truth, write_waves, write_whole
from upliftlab.simulate.panel_truth import PanelTruth, panel_truth

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

WORLDS = ("observed", "none", "all")
DAYS = {"day": 1, "week": 7}


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoCoupon:
    """One simulated coupon by province.

    Attributes:
        seed: Fixes every number; coupons of one seed that differ in the reaction share all
            noise.
        provinces: How many there are.
        periods: How many weeks or days.
        period: ``week`` or ``day``; shocks and sizes below are per period.
        start: First day, a Monday where periods are weeks.
        starts: First treated period of each wave, from 0; one start is a simultaneous test.
        treated: Provinces that ever get the coupon, spread evenly over the waves.
        pick_largest: Whether the largest provinces get it instead of random ones.
        lift: Extra orders with the coupon, as a share.
        spread_lift: Spread of that share between provinces.
        leak: Part of the lift that untreated provinces have as soon as the first wave runs,
            because viewers and delivery addresses differ.
        ramp: Periods until the lift is complete.
        median_orders: Orders per period of the median province.
        spread_size: Spread (log) of the provinces' sizes: heavy-tailed.
        spread_nation: Spread of the period's national shock (log), with memory.
        spread_loading: Spread of how strongly provinces follow it, around 1.
        spread_province: Spread of each province's own shock (log), with memory.
        memory: Of both shocks.
        season: Size of a wave of 13 periods (log).
        offer: The coupon and the orders' money.
    """

    seed: int = 20260601
    provinces: int = 30
    periods: int = 26
    period: Literal["week", "day"] = "week"
    start: date = date(2026, 6, 1)
    starts: tuple[int, ...] = (16,)
    treated: int = 10
    pick_largest: bool = False
    lift: float = 0.10
    spread_lift: float = 0.03
    leak: float = 0.0
    ramp: int = 1
    median_orders: float = 3_000.0
    spread_size: float = 0.9
    spread_nation: float = 0.08
    spread_loading: float = 0.3
    spread_province: float = 0.05
    memory: float = 0.5
    season: float = 0.08
    offer: Offer = field(default_factory=Offer)

    def __post_init__(self) -> None:
        """Refuse settings that no test can have."""
        if self.period not in DAYS:
            raise DefinitionError.unknown_word("period", self.period, DAYS)
        starts = self.starts
        inside = bool(starts) and starts[0] >= 1 and starts[-1] < self.periods
        if not inside or sorted(set(starts)) != list(starts):
            fix = f"write rising periods from 1 to {self.periods - 1}, such as (16,)"
            raise DefinitionError.unreadable("starts", starts, fix)
        if not len(starts) <= self.treated <= self.provinces:
            fix = f"write a number from {len(starts)} (waves) to {self.provinces} (provinces)"
            raise DefinitionError.unreadable("treated", self.treated, fix)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GeoDraw:
    """The same provinces and noise under three rollouts.

    Attributes:
        settings: The world drawn.
        start: First treated period of each province, ``NEVER`` for none, shape [N].
        worlds: ``observed``, ``none`` and ``all`` (all from the first start) -> components,
            shape [N, T, K].
    """

    settings: GeoCoupon
    start: Ints
    worlds: Mapping[str, Floats]


def draw_geo(settings: GeoCoupon) -> GeoDraw:
    """Draw provinces, who gets the coupon when, and what they buy.

    References:
        Interactive fixed effects as in Xu (2017), *Political Analysis*, eq. 1: one national
        factor that provinces follow more or less strongly.

    Examples:
        >>> drawn = draw_geo(GeoCoupon())
        >>> drawn.worlds["observed"].shape, int((drawn.start == 16).sum())
        ((30, 26, 13), 10)
    """
    rngs = np.random.SeedSequence(settings.seed, spawn_key=(8,)).spawn(2)
    rng, lots = (np.random.default_rng(each) for each in rngs)
    count, periods = settings.provinces, settings.periods
    size = np.log(settings.median_orders) + settings.spread_size * rng.standard_normal(count)
    loading = 1 + settings.spread_loading * rng.standard_normal(count)
    nation = _with_memory(settings.memory, settings.spread_nation, rng, (1, periods))
    own = _with_memory(settings.memory, settings.spread_province, rng, (count, periods))
    lift = settings.lift + settings.spread_lift * rng.standard_normal(count)
    lift = lift if settings.lift else np.zeros(count)
    wave = settings.season * np.sin(2 * np.pi * np.arange(periods) / 13)
    base = np.exp(size[:, None] + loading[:, None] * (nation + wave) + own)

    mark = -size if settings.pick_largest else lots.random(count)
    chosen = np.argsort(mark)[: settings.treated]
    start = np.full(count, NEVER, dtype=np.int64)
    # Waves are mixed again, so that the largest do not all start first.
    turn = np.arange(settings.treated) * len(settings.starts) // settings.treated
    start[lots.permutation(chosen)] = np.asarray(settings.starts)[turn]
    everybody = np.full(count, settings.starts[0], dtype=np.int64)
    nobody = np.full(count, NEVER, dtype=np.int64)
    rollouts = {"observed": start, "none": nobody, "all": everybody}
    return GeoDraw(
        settings=settings,
        start=start,
        worlds={name: _world(settings, base, lift, each) for name, each in rollouts.items()},
    )


def geo_panel(drawn: GeoDraw, world: str = "observed", *, whole: bool = False) -> Panel:
    """Return one rollout as a panel of provinces x periods x components.

    Args:
        drawn: The draw.
        world: ``observed``, ``none`` or ``all``.
        whole: Whether money and orders are whole, as in the written table.

    Examples:
        >>> panel = geo_panel(draw_geo(GeoCoupon()))
        >>> panel.cohorts(), panel.periods[1]
        ((16,), '2026-06-08')
    """
    settings, y = drawn.settings, drawn.worlds[world]
    start = {
        "observed": drawn.start,
        "none": np.full_like(drawn.start, NEVER),
        "all": np.full_like(drawn.start, settings.starts[0]),
    }[world]
    step = timedelta(days=DAYS[settings.period])
    return Panel.of_arrays(
        whole_components(y) if whole else y.copy(),
        start,
        names=COUPON_COMPONENTS,
        periods=[settings.start + place * step for place in range(settings.periods)],
        units=[f"province_{place:02d}" for place in range(settings.provinces)],
    )


def geo_truth(drawn: GeoDraw) -> PanelTruth:
    """Compare the three rollouts: effects per province and period, profit among them.

    Examples:
        >>> found = geo_truth(draw_geo(GeoCoupon(lift=0.0)))
        >>> found.att["orders"], found.att["profit"] < 0
        (0.0, True)
    """
    settings = drawn.settings
    y = {name: _with_profit(drawn, world) for name, world in drawn.worlds.items()}
    measures = (*COUPON_COMPONENTS, "profit")
    first = min(settings.starts[0] + settings.ramp - 1, settings.periods - 1)
    base = y["none"][:, first:].mean(axis=(0, 1)).tolist()
    return panel_truth(
        y["observed"] - y["none"],
        y["all"] - y["none"],
        drawn.start,
        measures=measures,
        base=dict(zip(measures, base, strict=True)),
        first=first,
    )


def write_geo(settings: GeoCoupon, folder: Path | str) -> Path:
    """Write ``province_week.parquet`` (or ``_day``), ``waves.csv`` and ``truth.json``.

    Args:
        settings: The world to draw.
        folder: Where the files go; it appears only when complete.

    Returns:
        The folder.
    """
    drawn = draw_geo(settings)

    def fill(place: Path) -> None:
        import pyarrow.parquet as pq

        panel = geo_panel(drawn, whole=True)
        names = panel.units.tolist()
        rows = panel_rows(panel, unit="province", period=settings.period)
        pq.write_table(rows, place / f"province_{settings.period}.parquet", compression="zstd")
        write_waves(place / "waves.csv", panel, names, range(len(names)))
        write_truth(place, geo_truth(drawn).to_dict())

    return write_whole(folder, fill)


def _world(settings: GeoCoupon, base: Floats, lift: Floats, start: Ints) -> Floats:
    since = np.arange(settings.periods) - start[:, None]
    on = since >= 0
    reach = np.clip((since + 1) / settings.ramp, 0, 1) * on
    anywhere = np.arange(settings.periods) >= start.min()
    heard = np.where(on, reach, settings.leak * anywhere)
    extra = base * lift[:, None] * heard
    return coupon_components(settings.offer, base + extra, extra, on.astype(np.float64))


def _with_profit(drawn: GeoDraw, y: Floats) -> Floats:
    profit = coupon_profit(y, drawn.settings.offer.rates)
    return np.concatenate([y, profit[:, :, None]], axis=2)


def _with_memory(
    memory: float, spread: float, rng: np.random.Generator, shape: tuple[int, int]
) -> Floats:
    steps = spread * rng.standard_normal(shape)
    fresh = np.sqrt(1 - memory**2)
    for place in range(1, shape[1]):
        steps[:, place] = memory * steps[:, place - 1] + fresh * steps[:, place]
    return steps
