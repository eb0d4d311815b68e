"""What would each customer do under every depth of coupon?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.simulate.population import Bools, Floats, Ints, Population, baseline_logit
from upliftlab.simulate.settings import DAY

if TYPE_CHECKING:
    from upliftlab.simulate.settings import SmartCoupon

DRAWS = (
    "buy", "top_up", "redeem", "cancel", "return_", "pull", "repeat", "reference",
    "back", "shop", "join", "activate",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Potential:
    """Outcomes under every arm with common random numbers, one column per arm.

    Almost nobody buys in 14 days under any arm, so the wide arrays have rows only for those
    who buy under at least one; for all others every arm gives no order and ``follow_up_0``
    follow-up orders.

    Attributes:
        unit: Position of the customer of each row, shape (m,).
        buys: Whether an order is paid within 14 days, shape (m, arms).
        price: Basket in yuan after markdown and before coupons, shape (m, arms).
        redeemed: Whether the smart coupon is used, shape (m, arms).
        shop_coupon: Yuan of shop coupon used with the order, shape (m,).
        cancelled: Whether the order is cancelled before it ships, shape (m, arms).
        returned: Whether the order is shipped and returned, shape (m, arms).
        follow_up: Orders on days 15-60, shape (m, arms).
        follow_up_0: Follow-up orders without a coupon, all customers, shape (n,).
        holds_shop_coupon: Whether a shop coupon is at hand in every arm, shape (n,).
        joins: Whether a customer joins the membership, all customers, shape (n, arms).
        activates: Whether a customer who joins also activates, shape (n,).
    """

    unit: Ints
    buys: Bools
    price: Floats
    redeemed: Bools
    shop_coupon: Floats
    cancelled: Bools
    returned: Bools
    follow_up: Ints
    follow_up_0: Ints
    holds_shop_coupon: Bools
    joins: Bools
    activates: Bools


def draw_potential(
    settings: SmartCoupon, people: Population, assigned_s: Ints, rng: np.random.Generator
) -> Potential:
    """Draw what every customer would do under every arm."""
    process, n = settings.process, len(people.index)
    uniform = {name: rng.random(n, dtype=np.float32) for name in DRAWS}
    normal = rng.standard_normal(n, dtype=np.float32)
    follow_up_0 = _follow_up(settings, people, rng)

    hurdle, response = _hurdle(settings, people, assigned_s, uniform["buy"])
    holds = uniform["shop"] < settings.shop_coupon_share
    shop = np.where(holds, np.float32(settings.shop_coupon), np.float32(0))
    dense_buys = np.stack(
        [response * _strength(settings, depth + shop) > hurdle for depth in settings.depths],
        axis=1,
    )
    unit = np.flatnonzero(dense_buys.any(axis=1)).astype(np.int32)
    row = {name: values[unit] for name, values in uniform.items()}
    buys = dense_buys[unit]
    induced = buys & ~buys[:, :1]
    price = _prices(settings, normal[unit], row["top_up"])
    usable = (row["redeem"] < process.redemption)[:, None]
    has_depth = np.asarray(settings.depths) > 0
    redeemed = buys & usable & has_depth & (price >= settings.threshold)
    cancelled = buys & (
        row["cancel"][:, None] < process.cancelled + process.cancelled_induced * induced
    )
    return_rate = np.asarray(process.returned)[people.segment[unit], None]
    returned = buys & ~cancelled
    returned &= row["return_"][:, None] < return_rate + process.returned_induced * induced
    return Potential(
        unit=unit,
        buys=buys,
        price=price,
        redeemed=redeemed,
        shop_coupon=shop[unit] * usable[:, 0],
        cancelled=cancelled,
        returned=returned,
        follow_up=_follow_up_by_arm(
            settings,
            is_new=people.is_new[unit, None],
            without=follow_up_0[unit, None],
            buys=buys,
            kept=buys & ~cancelled & ~returned,
            redeemed=redeemed,
            row=row,
        ),
        follow_up_0=follow_up_0,
        holds_shop_coupon=holds,
        joins=_joins(settings, people, dense_buys, uniform["join"]),
        activates=uniform["activate"] < process.activation,
    )


def _hurdle(
    settings: SmartCoupon, people: Population, assigned_s: Ints, uniform: Floats
) -> tuple[Floats, Floats]:
    process = settings.process
    mean_response = np.asarray(process.response, dtype=np.float32)[people.segment]
    response = mean_response + np.float32(process.spread_response) * people.response
    response *= np.float32(settings.demand_effect)
    logit = baseline_logit(settings, people.segment, people.appetite)
    if settings.promo_event:
        day = (assigned_s - int(settings.start_ts.timestamp())) // DAY + 1
        event = (day >= 5) & (day <= 7)
        raised = np.minimum(2.5 / (1 + np.exp(-logit)), 0.95)
        logit = np.where(event, np.log(raised / (1 - raised)), logit)
        response = np.where(event, settings.promo_response * response, response)
    safe = np.clip(uniform, 1e-7, 1 - 1e-7)
    # U < p(d) exactly if logit(U) - logit(p(0)) < b g(d): no exponential per arm.
    return np.log(safe / (1 - safe)) - logit, response


def _strength(settings: SmartCoupon, depth: Floats) -> Floats:
    strength: Floats = 1 - np.exp(-depth / np.float32(settings.process.half_depth))
    return strength


def _prices(settings: SmartCoupon, normal: Floats, top_up: Floats) -> Floats:
    process, threshold = settings.process, settings.threshold
    log_mean = np.log(process.basket) - process.basket_spread**2 / 2
    price = np.exp(log_mean + process.basket_spread * normal).astype(np.float32)
    near = (price >= process.gaming_from * threshold) & (price < threshold)
    games = near & (top_up < process.gaming * settings.demand_effect)
    topped_up = np.where(games, np.float32(threshold), price)
    return np.stack([topped_up if depth else price for depth in settings.depths], axis=1)


def _follow_up(settings: SmartCoupon, people: Population, rng: np.random.Generator) -> Ints:
    process = settings.process
    rate = np.asarray(process.follow_up)[people.segment]
    rate = rate * np.where(people.is_new, process.follow_up_new, 1.0)
    orders: Ints = rng.poisson(rate).astype(np.int8)
    return orders


def _follow_up_by_arm(
    settings: SmartCoupon,
    *,
    is_new: Bools,
    without: Ints,
    buys: Bools,
    kept: Bools,
    redeemed: Bools,
    row: dict[str, Floats],
) -> Ints:
    process = settings.process
    buys_anyway = buys[:, :1]
    induced = buys & ~buys_anyway
    pull_rate = np.where(is_new, process.pull_forward_new, process.pull_forward)
    pulled = induced & (without > 0) & (row["pull"][:, None] < pull_rate)
    repeats = induced & is_new & kept & (row["repeat"][:, None] < process.new_repeat)
    deep = np.asarray(settings.depths) >= process.reference_depth
    loss = process.reference_loss * settings.demand_effect
    waits = redeemed & ~is_new & deep & (row["reference"][:, None] < loss)
    back = buys_anyway & ~buys & (row["back"][:, None] < process.comes_back)
    change = repeats.astype(np.int8) + back - pulled - waits
    orders: Ints = np.maximum(without + change, 0).astype(np.int8)
    return orders


def _joins(settings: SmartCoupon, people: Population, buys: Bools, uniform: Floats) -> Bools:
    process = settings.process
    can_join = ~people.is_new & ~people.is_member
    safe = np.clip(uniform, 1e-7, 1 - 1e-7)
    base = np.log(process.join_base / (1 - process.join_base))
    hurdle = (np.log(safe / (1 - safe)) - np.float32(base))[:, None]
    depths = np.asarray(settings.depths, dtype=np.float32)
    by_depth = process.join_by_depth * settings.demand_effect * _strength(settings, depths)
    pull = np.float32(process.join_by_order) * buys + by_depth.astype(np.float32)
    joins: Bools = can_join[:, None] & (pull > hurdle)
    return joins
