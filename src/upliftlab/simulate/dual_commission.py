"""What do creators sell when commission rates change for some of them, for all, or for none?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER, Panel
from upliftlab.simulate.creator_noise import Noise, cohort_of, draw_noise, draw_starts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from upliftlab.simulate.creator_settings import DualCommission, Rates

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MONEY = (
    "gmv_creator_organic",
    "gmv_creator_ads",
    "kept_creator_organic",
    "kept_creator_ads",
    "ad_spend",
    "gmv_shelf",
    "kept_shelf",
)
COUNTS = ("posts", "live_minutes", "creators_active", "ads_authorised")
COMPONENTS = (*MONEY, *COUNTS)
WORLDS = ("observed", "none", "all")
FEN = 100.0
BP = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """What every creator does in every week under one rollout.

    Attributes:
        y: Components as in ``COMPONENTS``, money in fen, shape [N, T, K].
        organic: Commission on organic sales, as a share, shape [N, T].
        ads: Commission on sales through ads, as a share, shape [N, T].
    """

    y: Floats
    organic: Floats
    ads: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CreatorDraw:
    """The same creators and the same noise under three rollouts.

    Attributes:
        settings: The world drawn.
        start: First treated week of each creator, ``NEVER`` for none, shape [N].
        cluster: Community of each creator, shape [N].
        worlds: ``observed``; ``none`` (nobody changes); ``all`` (everybody from the first
            start).
    """

    settings: DualCommission
    start: Ints
    cluster: Ints
    worlds: Mapping[str, World]


def draw_creators(settings: DualCommission) -> CreatorDraw:
    """Draw one panel of creators under the three rollouts, with identical noise.

    Money is exact here (fractions of a fen); it is rounded when it is written.

    References:
        Own model: organic and ads sales are log-normal with a season, shocks shared by the
        cluster, and weekly shocks with memory; see ``Scenario`` for the reactions.

    Examples:
        >>> from upliftlab.simulate.creator_settings import creator_preset
        >>> drawn = draw_creators(creator_preset("A", clusters=4))
        >>> drawn.worlds["observed"].y.shape
        (40, 26, 11)
    """
    noise = draw_noise(settings)
    start = draw_starts(settings, noise)
    count = settings.clusters * settings.creators
    rollouts = {
        "observed": start,
        "none": np.full(count, NEVER, dtype=np.int64),
        "all": np.full(count, settings.starts[0], dtype=np.int64),
    }
    strength = _strength(settings, start)
    return CreatorDraw(
        settings=settings,
        start=start,
        cluster=noise.cluster,
        worlds={
            name: _world(settings, noise, starts, strength) for name, starts in rollouts.items()
        },
    )


def creator_panel(drawn: CreatorDraw, world: str = "observed", *, whole: bool = False) -> Panel:
    """Return one rollout as a panel of creators x weeks x components.

    Args:
        drawn: The draw.
        world: ``observed``, ``none`` or ``all``; the starts are those of that rollout.
        whole: Whether money is rounded to whole fen, as in the written tables.

    Examples:
        >>> from upliftlab.simulate.creator_settings import creator_preset
        >>> panel = creator_panel(draw_creators(creator_preset("A", clusters=4)))
        >>> panel.periods[0], panel.units[0], panel.cohorts()
        ('2026-05-25', 'creator_0000', (10, 14, 18))
    """
    settings, y = drawn.settings, drawn.worlds[world].y
    start = {
        "observed": drawn.start,
        "none": np.full_like(drawn.start, NEVER),
        "all": np.full_like(drawn.start, settings.starts[0]),
    }[world]
    mondays = [settings.first_week + timedelta(weeks=week) for week in range(settings.weeks)]
    return Panel.of_arrays(
        np.rint(y) if whole else y.copy(),
        start,
        names=COMPONENTS,
        periods=mondays,
        cluster=drawn.cluster,
        units=[f"creator_{place:04d}" for place in range(len(start))],
    )


def creator_profit(world: World, rates: Rates) -> Floats:
    """Return the merchant's contribution profit of every creator-week in fen, shape [N, T].

    Kept sales of creators and shelf earn the margin; kept creator sales cost commission and
    agency fee at the rates of their channel; ads cost what is spent. What organic sales take
    from the shelf is charged by the shelf's own sales.

    Examples:
        >>> from upliftlab.simulate.creator_settings import creator_preset
        >>> drawn = draw_creators(creator_preset("N", clusters=4))
        >>> creator_profit(drawn.worlds["none"], drawn.settings.rates).shape
        (40, 26)
    """
    part = {name: world.y[:, :, place] for place, name in enumerate(COMPONENTS)}
    agency = rates.agency_bp / BP
    kept = part["kept_creator_organic"] + part["kept_creator_ads"] + part["kept_shelf"]
    profit: Floats = (
        rates.margin * kept
        - (world.organic + agency) * part["kept_creator_organic"]
        - (world.ads + agency) * part["kept_creator_ads"]
        - part["ad_spend"]
    )
    return profit


def creator_income(world: World) -> Floats:
    """Return the commission that creators earn, in fen, shape [N, T].

    Examples:
        >>> from upliftlab.simulate.creator_settings import creator_preset
        >>> drawn = draw_creators(creator_preset("N", clusters=4))
        >>> bool((creator_income(drawn.worlds["none"]) > 0).all())
        True
    """
    organic = world.y[:, :, COMPONENTS.index("kept_creator_organic")]
    ads = world.y[:, :, COMPONENTS.index("kept_creator_ads")]
    income: Floats = world.organic * organic + world.ads * ads
    return income


def authorised_share(ratio: float, exponent: Floats) -> Floats:
    """Return the share of creators who let the merchant promote their videos.

    Args:
        ratio: New ads rate over the old one.
        exponent: Elasticity of ads sales, as far as the reaction has built up.

    Examples:
        >>> authorised_share(0.25, np.array([0.0, 0.25])).round(3).tolist()
        [0.92, 0.697]
    """
    share: Floats = 0.92 * ratio ** (0.8 * exponent)
    return np.minimum(share, 1.0)


def _strength(settings: DualCommission, start: Ints) -> Floats:
    if not settings.cohort_strength:
        return np.ones(len(start))
    by_cohort = np.array([*settings.cohort_strength, 1.0])
    strength: Floats = by_cohort[cohort_of(settings, start)]
    return strength


def _world(settings: DualCommission, noise: Noise, start: Ints, strength: Floats) -> World:
    change, rates = settings.scenario, settings.rates
    since = np.arange(settings.weeks) - start[:, None]
    on = since >= 0
    react = np.where(on, np.clip((since + 1) / settings.ramp, 0, 1), 0.0)
    longer = np.clip(since - settings.ramp + 1, 0, None) * on
    react *= strength[:, None] * (1 + settings.strengthening * longer)
    early = ~on & (since >= -settings.anticipation_weeks)
    calm = 1 - settings.anticipation * early

    organic = noise.organic * (change.organic_bp / rates.organic_bp) ** (
        change.eta_organic * react
    )
    extra = organic - noise.organic
    bought = 1 + change.spend * react
    ads = noise.ads * (change.ads_bp / rates.ads_bp) ** (change.eta_ads * react)
    ads = ads * bought**settings.market.spend_power
    organic = organic * calm
    lost = _stolen(settings, organic, extra)
    moved = np.maximum(change.relabel * react * ads, lost - organic)
    shelf = np.maximum(noise.shelf - change.shelf * extra, 0)
    counts = _counts(settings, noise, react, organic / noise.organic)
    sold = organic - lost + moved, ads - moved
    yuan = (
        *sold,
        rates.keep_organic * sold[0],
        rates.keep_ads * sold[1],
        noise.spend * bought,
        shelf,
        rates.keep_shelf * shelf,
    )
    return World(
        y=np.stack([*(FEN * part for part in yuan), *counts], axis=2),
        organic=np.where(on, change.organic_bp, rates.organic_bp) / BP,
        ads=np.where(on, change.ads_bp, rates.ads_bp) / BP,
    )


def _stolen(settings: DualCommission, organic: Floats, extra: Floats) -> Floats:
    """Take incremental sales from others in proportion to theirs; nobody loses over all."""
    phi, abroad = settings.scenario.stealing, settings.cross_cluster
    if phi == 0 or not extra.any():
        return np.zeros_like(organic)
    shape = (settings.clusters, settings.creators, settings.weeks)
    sold, more = organic.reshape(shape), extra.reshape(shape)
    of_cluster = sold.sum(axis=1, keepdims=True)
    per_mate = more / (of_cluster - sold)
    share = (1 - abroad) * (per_mate.sum(axis=1, keepdims=True) - per_mate)
    if abroad:
        others = of_cluster.sum(axis=0, keepdims=True) - of_cluster
        per_other = more.sum(axis=1, keepdims=True) / others
        share = share + abroad * (per_other.sum(axis=0, keepdims=True) - per_other)
    lost: Floats = (np.minimum(phi * share, 1) * sold).reshape(organic.shape)
    return lost


def _counts(
    settings: DualCommission, noise: Noise, react: Floats, demand: Floats
) -> tuple[Floats, ...]:
    change, rates = settings.scenario, settings.rates
    goes_on = noise.leaves >= change.churn * np.minimum(react, 1)
    stays = np.cumprod(goes_on, axis=1).astype(np.float64)
    effort = np.sqrt(demand)
    # Adding one uniform before cutting keeps the mean and moves with the rate.
    posts = np.floor(noise.posts * effort + noise.dither) * stays
    minutes = np.floor(noise.minutes * effort + noise.dither) * stays
    willing = noise.willing[:, None] < authorised_share(
        change.ads_bp / rates.ads_bp, change.eta_ads * react
    )
    return posts, minutes, (posts > 0).astype(np.float64), willing * stays
