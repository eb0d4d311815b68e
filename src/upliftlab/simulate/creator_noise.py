"""Which creators are there, what do they sell untouched, and when does each start?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.simulate.creator_settings import DualCommission

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

STREAMS = ("market", "starts", "counts", "trends", "orders")
POSTS, MINUTES = 5.0, 240.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Noise:
    """Everything that no commission changes: sales in yuan a week without any reaction.

    Attributes:
        cluster: Community of each creator, shape [N].
        trend: Growth per week of each cluster beyond the season, shape [G].
        organic: Organic sales, shape [N, T].
        ads: Sales through ads, shape [N, T].
        spend: Ad spend, shape [N, T].
        shelf: Sales of the shelf to the creator's audience: no shocks, no events, shape [N, T].
        posts: Expected posts, shape [N, T].
        minutes: Expected live minutes, shape [N, T].
        dither: Uniform that turns expected counts into whole ones, shape [N, T].
        leaves: Uniform that decides when a creator stops posting, shape [N, T].
        willing: Uniform that decides who authorises ads, shape [N].
    """

    cluster: Ints
    trend: Floats
    organic: Floats
    ads: Floats
    spend: Floats
    shelf: Floats
    posts: Floats
    minutes: Floats
    dither: Floats
    leaves: Floats
    willing: Floats


def creator_stream(seed: int, name: str, batch: int = 0) -> np.random.Generator:
    """Return the generator of one purpose and batch, independent of all others.

    Examples:
        >>> one, other = creator_stream(1, "market"), creator_stream(1, "starts")
        >>> bool(one.random() == other.random())
        False
    """
    key = (len(STREAMS), STREAMS.index(name), batch)
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=key))


def season(settings: DualCommission, *, events: bool = True) -> Floats:
    """Return the log of the season in every week, shape [T].

    Args:
        settings: The world.
        events: Whether the weeks of platform events stand out.

    Examples:
        >>> from upliftlab.simulate.creator_settings import DualCommission
        >>> season(DualCommission())[[0, 22]].round(3).tolist()
        [0.0, 0.576]
    """
    market, week = settings.market, np.arange(settings.weeks)
    wave = market.season * np.sin(2 * np.pi * week / market.season_weeks)
    logs: Floats = wave + market.growth * week
    for at, size in market.events if events else ():
        if at < settings.weeks:
            logs[at] += size
    return logs


def draw_noise(settings: DualCommission) -> Noise:
    """Draw the creators and what they sell untouched.

    Examples:
        >>> from upliftlab.simulate.creator_settings import DualCommission
        >>> draw_noise(DualCommission(clusters=3)).organic.shape
        (30, 26)
    """
    market, groups, weeks = settings.market, settings.clusters, settings.weeks
    count = groups * settings.creators
    cluster = np.repeat(np.arange(groups), settings.creators)
    rng = creator_stream(settings.seed, "market")
    size = np.log(market.median_organic) + market.spread_creators * rng.standard_normal(count)
    if settings.mega > 1:
        size[0] = np.log(settings.mega * market.median_organic)
    ads_share = market.ads_median * np.exp(market.ads_spread * rng.standard_normal(count))
    roi = market.roi_median * np.exp(market.roi_spread * rng.standard_normal(count))
    shock = market.spread_cluster * rng.standard_normal((groups, weeks))
    memory = _with_memory(market.memory, market.spread_week, rng, (count, weeks))
    ads_shock = market.ads_noise * rng.standard_normal((count, weeks))
    trend = settings.opt_in * creator_stream(settings.seed, "trends").standard_normal(groups)

    own = size[:, None] + trend[cluster, None] * np.arange(weeks)
    level = own + season(settings) + shock[cluster]
    ads = ads_share[:, None] * np.exp(level + market.ads_memory * memory + ads_shock)
    relative = np.exp(0.25 * (size - np.log(market.median_organic)))[:, None]
    rng = creator_stream(settings.seed, "counts")
    return Noise(
        cluster=cluster,
        trend=trend,
        organic=np.exp(level + memory),
        ads=ads,
        spend=ads / roi[:, None],
        shelf=market.shelf * np.exp(own + season(settings, events=False)),
        posts=POSTS * relative * np.exp(0.3 * memory),
        minutes=MINUTES * relative * np.exp(0.3 * rng.standard_normal((count, weeks))),
        dither=rng.random((count, weeks)),
        leaves=rng.random((count, weeks)),
        willing=rng.random(count),
    )


def draw_starts(settings: DualCommission, noise: Noise) -> Ints:
    """Draw the first treated week of every creator, shape [N].

    Groups are as equal as whole numbers allow. Under ``opt_in`` the clusters with the
    steepest growth, seen with error, come first; else the order is random.

    Examples:
        >>> from upliftlab.simulate.creator_settings import DualCommission
        >>> settings = DualCommission(clusters=4, creators=2, assignment="half")
        >>> sorted(draw_starts(settings, draw_noise(settings)).tolist())[:5]
        [10, 10, 10, 10, 2147483647]
    """
    options = np.array([*settings.starts, *([NEVER] * settings.has_never)], dtype=np.int64)
    if settings.assignment == "half":
        options = np.array([settings.starts[0], NEVER], dtype=np.int64)
    rng, groups = creator_stream(settings.seed, "starts"), settings.clusters
    if settings.by == "cluster":
        mark = rng.random(groups)
        if settings.opt_in:
            mark = -noise.trend - settings.opt_in * rng.standard_normal(groups)
        return np.repeat(_dealt(options, mark), settings.creators)
    marks = rng.random((groups, settings.creators))
    if settings.by == "creator_anywhere":
        return _dealt(options, marks.reshape(-1))
    return np.concatenate([_dealt(options, mark) for mark in marks])


def cohort_of(settings: DualCommission, start: Ints) -> Ints:
    """Return the wave of each creator, 0 for the first; the number of waves for never.

    Examples:
        >>> from upliftlab.simulate.creator_settings import DualCommission
        >>> cohort_of(DualCommission(), np.array([14, NEVER])).tolist()
        [1, 3]
    """
    return np.searchsorted(np.asarray(settings.starts), start).astype(np.int64)


def _dealt(options: Ints, mark: Floats) -> Ints:
    rank = np.argsort(np.argsort(mark, kind="stable"), kind="stable")
    dealt: Ints = options[rank * len(options) // len(mark)]
    return dealt


def _with_memory(
    memory: float, spread: float, rng: np.random.Generator, shape: tuple[int, int]
) -> Floats:
    steps = spread * rng.standard_normal(shape)
    # The first week has the spread that all weeks have in the long run.
    steps[:, 0] /= np.sqrt(1 - memory**2)
    for week in range(1, shape[1]):
        steps[:, week] += memory * steps[:, week - 1]
    return steps
