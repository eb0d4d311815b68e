"""Who are the customers, as they stand on the day before assignment?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from upliftlab.simulate.settings import SmartCoupon

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Ints = NDArray[np.integer[Any]]

STREAMS = ("population", "outcomes", "assignment", "orders", "features", "events")
PERSUADABLE, SURE_THING, LOST_CAUSE, SLEEPING_DOG, DEAL_SEEKER = range(5)
WIN_BACK_DAYS = 60.0
PRE_PERIODS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """One row per customer: covariates known before assignment, and latent traits.

    Attributes:
        index: Running number in the whole simulation; ids are made from it.
        recency: Days since the last order, NaN for new customers.
        watch: Minutes watched per week.
        segment: Latent; code into ``SEGMENTS``.
        appetite: Latent standard normal that moves the baseline conversion.
        response: Latent standard normal that moves the reaction to a coupon.
        pre_profit_fen: Profit of the 24 months before assignment; 0 for new customers.
    """

    index: Ints
    is_new: Bools
    is_member: Bools
    recency: Floats
    frequency: Ints
    coupon_share: Floats
    watch: Floats
    segment: Ints
    appetite: Floats
    response: Floats
    pre_profit_fen: Ints


def stream(seed: int, batch: int, name: str) -> np.random.Generator:
    """Return the generator of one purpose in one batch, independent of all others."""
    key = (batch, STREAMS.index(name))
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=key))


def draw_population(settings: SmartCoupon, index: Ints, rng: np.random.Generator) -> Population:
    """Draw customers eligible under the goal of the settings."""
    n = len(index)
    is_new, is_fraud = _newness(settings, n, rng)
    member_draw = rng.random(n, dtype=np.float32) < 0.30
    is_member = member_draw & ~is_new & (settings.goal != "member_activation")
    recency = _recency(n, rng, at_least=WIN_BACK_DAYS if settings.goal == "win_back" else 0.0)
    frequency = np.where(is_new, 0, 1 + rng.poisson(1.2, n)).astype(np.int16)
    heads, tails = (rng.standard_gamma(shape, n, dtype=np.float32) for shape in (2, 3))
    coupon_share = heads / (heads + tails)
    watch = 6 * rng.standard_gamma(1.5, n, dtype=np.float32)
    recency[is_new] = np.nan
    segment = _segments(
        is_new,
        recency=recency,
        frequency=frequency,
        coupon_share=coupon_share,
        watch=watch,
        rng=rng,
    )
    segment[is_fraud] = DEAL_SEEKER
    appetite = rng.standard_normal(n, dtype=np.float32)
    return Population(
        index=index,
        is_new=is_new,
        is_member=is_member,
        recency=recency,
        frequency=frequency,
        coupon_share=coupon_share,
        watch=watch,
        segment=segment,
        appetite=appetite,
        response=rng.standard_normal(n, dtype=np.float32),
        pre_profit_fen=_pre_profit(settings, is_new, segment, appetite, rng),
    )


def covariates(people: Population) -> dict[str, NDArray[np.float64]]:
    """Return what the users table tells about customers, as numbers; recency NaN if new."""
    return {
        "is_new_customer": people.is_new.astype(np.float64),
        "is_member": people.is_member.astype(np.float64),
        "recency_days": _rounded(people.recency, 2),
        "frequency_365": people.frequency.astype(np.float64),
        "coupon_share_365": _rounded(people.coupon_share, 4),
        "watch_minutes_28": _rounded(4 * people.watch, 2),
        "pre_profit_fen": people.pre_profit_fen.astype(np.float64),
    }


def baseline_logit(settings: SmartCoupon, segment: Ints, appetite: Floats) -> Floats:
    """Return the log-odds of an order within 14 days without any coupon."""
    base = np.asarray(settings.process.base, dtype=np.float32)
    log_odds: Floats = np.log(base / (1 - base))[segment]
    return log_odds + np.float32(settings.process.spread_base) * appetite


def _newness(settings: SmartCoupon, n: int, rng: np.random.Generator) -> tuple[Bools, Bools]:
    is_new = rng.random(n, dtype=np.float32) < 0.40
    is_fraud = rng.random(n, dtype=np.float32) < settings.fraud
    if settings.goal == "gmv":
        return is_new | is_fraud, is_fraud
    if settings.goal == "new_customer":
        return np.ones(n, dtype=bool), is_fraud
    return np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)


def _recency(n: int, rng: np.random.Generator, *, at_least: float) -> Floats:
    # Gamma(2, 30) beyond a days: the second of two events of a Poisson process, given that
    # at most one of them has happened by then.
    first, second = (rng.standard_exponential(n, dtype=np.float32) for _ in range(2))
    none_yet = rng.random(n, dtype=np.float32) < 1 / (1 + at_least / 30)
    recency: Floats = np.float32(at_least) + 30 * (first + np.where(none_yet, second, 0))
    return recency


def _segments(
    is_new: Bools,
    *,
    recency: Floats,
    frequency: Ints,
    coupon_share: Floats,
    watch: Floats,
    rng: np.random.Generator,
) -> Ints:
    new = is_new.astype(np.float32)
    waited = np.where(is_new, 120, np.minimum(recency, 120)).astype(np.float32) - 60
    keen = coupon_share - np.float32(0.4)
    watched = watch - 9
    often = np.minimum(frequency, 4).astype(np.float32)
    scores = (
        -0.2 + 2.0 * keen + 0.25 * new + 0.01 * watched,
        -0.6 + 0.55 * often - 0.010 * waited + 0.02 * watched - 1.0 * new,
        0.9 + 0.8 * new - 0.03 * watched - 1.0 * keen,
        -1.6 - 0.6 * new + 0.004 * waited - 1.5 * keen,
    )
    steps = np.cumsum(np.exp(np.stack(scores)), axis=0)
    mark = rng.random(len(new), dtype=np.float32) * steps[-1]
    segment: Ints = (mark >= steps[:-1]).sum(axis=0).astype(np.int8)
    return segment


def _pre_profit(
    settings: SmartCoupon,
    is_new: Bools,
    segment: Ints,
    appetite: Floats,
    rng: np.random.Generator,
) -> Ints:
    process = settings.process
    follow_up = np.asarray(process.follow_up, dtype=np.float32)[segment]
    orders_in_60d = follow_up + 1 / (1 + np.exp(-baseline_logit(settings, segment, appetite)))
    orders = rng.poisson(np.where(is_new, 0, PRE_PERIODS * orders_in_60d))
    noise = rng.standard_normal(len(segment), dtype=np.float32)
    fen = 3_300 * orders + 4_500 * np.sqrt(orders) * noise
    return np.rint(fen).astype(np.int32)


def _rounded(values: Floats, digits: int) -> NDArray[np.float64]:
    return np.asarray(np.round(values.astype(np.float64), digits), dtype=np.float64)
