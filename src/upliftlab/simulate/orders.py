"""Which orders did each customer really place, and what became of them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.simulate.settings import DAY

if TYPE_CHECKING:
    from upliftlab.simulate.outcomes import Potential
    from upliftlab.simulate.population import Bools, Floats, Ints
    from upliftlab.simulate.settings import SmartCoupon

FIRST_DAYS, ALL_DAYS = 14, 60
LAST_RETURN_DAYS = 35


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """One row per paid order, as the tables know it at ``as_of``; money in fen.

    Attributes:
        unit: Position of the customer.
        number: Running number of the order of this customer.
        is_early: Whether it was paid within 14 days of assignment (else on days 15-60).
        price_fen: List price less markdown.
        merchant_fen: Coupon value that the merchant pays, smart and shop coupon together.
        platform_fen: Coupon value that the platform pays.
        shop_fen: Part of ``merchant_fen`` that comes from a shop coupon.
        unit_cost_fen: Purchase price of the goods.
        redeemed: Whether the smart coupon was used.
        shipped: Whether the parcel has left.
        cancelled: Whether a cancellation has been booked.
        returned: Whether a return has been booked.
        pay_s: Seconds since 1970 of payment.
        ship_s: Same of shipping, where ``shipped``.
        refund_s: Same of the refund, where ``cancelled`` or ``returned``.
    """

    unit: Ints
    number: Ints
    is_early: Bools
    price_fen: Ints
    markdown_fen: Ints
    merchant_fen: Ints
    platform_fen: Ints
    shop_fen: Ints
    unit_cost_fen: Ints
    redeemed: Bools
    shipped: Bools
    cancelled: Bools
    returned: Bools
    pay_s: Ints
    ship_s: Ints
    refund_s: Ints

    @property
    def sales_fen(self) -> Ints:
        """Settlement base: what fees and commission are charged on."""
        return self.price_fen - self.merchant_fen

    @property
    def cash_fen(self) -> Ints:
        """What the customer paid."""
        return self.price_fen - self.merchant_fen - self.platform_fen


def draw_orders(
    settings: SmartCoupon,
    potential: Potential,
    *,
    served: Ints,
    assigned_s: Ints,
    rng: np.random.Generator,
) -> Orders:
    """Draw the orders of every customer under the arm that served them."""
    n = len(served)
    row_of, buys, follow_up = _realised(potential, served, n)
    unit, number = _numbered(buys.astype(np.int8) + follow_up)
    is_early = buys[unit] & (number == 0)
    row, arm = row_of[unit[is_early]], served[unit[is_early]]

    price = _later_price(settings, len(unit), rng)
    price[is_early] = potential.price[row, arm]
    cancelled = rng.random(len(unit), dtype=np.float32) < settings.process.cancelled
    cancelled[is_early] = potential.cancelled[row, arm]
    returned = rng.random(len(unit), dtype=np.float32) < settings.process.follow_up_returned
    returned &= ~cancelled
    returned[is_early] = potential.returned[row, arm]
    redeemed = np.zeros(len(unit), dtype=bool)
    redeemed[is_early] = potential.redeemed[row, arm]
    merchant, platform = coupon_fen(settings)
    shop_fen = np.zeros(len(unit), dtype=np.int32)
    shop_fen[is_early] = np.rint(100 * potential.shop_coupon[row])
    price_fen = whole_fen(price)
    rate = rng.uniform(0.05, 0.20, len(unit))
    orders = Orders(
        unit=unit,
        number=number,
        is_early=is_early,
        price_fen=price_fen,
        markdown_fen=np.rint(price_fen * rate / (1 - rate)).astype(np.int32),
        merchant_fen=np.where(redeemed, merchant[served[unit]], 0).astype(np.int32) + shop_fen,
        platform_fen=np.where(redeemed, platform[served[unit]], 0).astype(np.int32),
        shop_fen=shop_fen,
        unit_cost_fen=np.rint(settings.rates.goods * price_fen).astype(np.int32),
        redeemed=redeemed,
        shipped=~cancelled,
        cancelled=cancelled,
        returned=returned,
        **_clock(assigned_s[unit], is_early, cancelled, returned, rng),
    )
    return _known_at(orders, int(settings.as_of.timestamp()))


def coupon_fen(settings: SmartCoupon) -> tuple[Ints, Ints]:
    """Return what merchant and platform pay per coupon of every arm, in fen."""
    face = 100 * np.asarray(settings.depths, dtype=np.int64)
    merchant = np.rint(settings.merchant_share * face).astype(np.int64)
    return merchant, face - merchant


def whole_fen(yuan: Floats) -> Ints:
    """Return money in whole fen, the nearest.

    Examples:
        >>> whole_fen(np.array([1.254, 99.0], dtype=np.float32)).tolist()
        [125, 9900]
    """
    return np.rint(100 * yuan.astype(np.float64)).astype(np.int32)


def take_orders(orders: Orders, keep: Bools) -> Orders:
    """Return the orders where ``keep`` holds."""
    return Orders(**{name: getattr(orders, name)[keep] for name in Orders.__slots__})


def _realised(potential: Potential, served: Ints, n: int) -> tuple[Ints, Bools, Ints]:
    row_of = np.full(n, -1, dtype=np.int32)
    row_of[potential.unit] = np.arange(len(potential.unit), dtype=np.int32)
    rows, arm = np.arange(len(potential.unit)), served[potential.unit]
    buys = np.zeros(n, dtype=bool)
    buys[potential.unit] = potential.buys[rows, arm]
    follow_up = potential.follow_up_0.copy()
    follow_up[potential.unit] = potential.follow_up[rows, arm]
    return row_of, buys, follow_up


def _numbered(counts: Ints) -> tuple[Ints, Ints]:
    unit = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    starts = np.cumsum(counts, dtype=np.int64) - counts
    return unit, (np.arange(len(unit)) - starts[unit]).astype(np.int8)


def _later_price(settings: SmartCoupon, n: int, rng: np.random.Generator) -> Floats:
    process = settings.process
    log_mean = np.log(process.basket) - process.basket_spread**2 / 2
    normal = rng.standard_normal(n, dtype=np.float32)
    price: Floats = np.exp(log_mean + process.basket_spread * normal).astype(np.float32)
    return price


def _clock(
    assigned_s: Ints,
    is_early: Bools,
    cancelled: Bools,
    returned: Bools,
    rng: np.random.Generator,
) -> dict[str, Ints]:
    n = len(assigned_s)
    wait = rng.random(n)
    # Most of the reaction comes in the first days: Beta(1, 3) on the 14 days.
    early = 1 + (FIRST_DAYS * DAY - 2) * (1 - np.cbrt(1 - wait))
    late = FIRST_DAYS * DAY + ((ALL_DAYS - FIRST_DAYS) * DAY - 1) * wait
    pay_s = assigned_s + np.where(is_early, early, late).astype(np.int64)
    cancel_lag = 1 + 6 * 3_600 * rng.standard_exponential(n)
    return_lag = np.minimum(9 / 4 * rng.standard_gamma(4.0, n), LAST_RETURN_DAYS - 1) * DAY
    ship_lag = 3_600 + 44 * 3_600 * rng.random(n)
    ship_lag = np.where(returned, np.minimum(ship_lag, 0.3 * return_lag), ship_lag)
    refund_lag = np.where(cancelled, cancel_lag, return_lag)
    return {
        "pay_s": pay_s,
        "ship_s": pay_s + ship_lag.astype(np.int64),
        "refund_s": pay_s + np.ceil(refund_lag).astype(np.int64),
    }


def _known_at(orders: Orders, as_of_s: int) -> Orders:
    known = take_orders(orders, orders.pay_s < as_of_s)
    refunded = known.refund_s < as_of_s
    fields = {name: getattr(known, name) for name in Orders.__slots__}
    fields["shipped"] = known.shipped & (known.ship_s < as_of_s)
    fields["cancelled"] = known.cancelled & refunded
    fields["returned"] = known.returned & refunded
    return Orders(**fields)
