"""What do the orders of a day or week with a coupon bring in and cost?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.simulate.settings import OrderRates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MONEY = (
    "gmv_platform",
    "gmv_merchant",
    "merchant_coupon",
    "platform_coupon",
    "cash",
    "kept_sales",
    "kept_merchant_coupon",
    "goods",
    "goods_returned",
)
COUNTS = ("orders", "orders_shipped", "orders_returned", "orders_kept")
COUPON_COMPONENTS = (*MONEY, *COUNTS)
FEN = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One coupon, and what becomes of orders with and without it.

    Attributes:
        depth: Its value in yuan.
        merchant_share: Part of it that the merchant pays; the platform pays the rest.
        redemption: Share of orders that use it while it is on.
        basket: Yuan per order after markdown and before coupons.
        top_up: How much larger, as a share, baskets are while it is on.
        cancelled: Share of orders cancelled before they ship.
        returned: Share of shipped orders that come back.
        returned_induced: Added to it for orders that exist because of the coupon.
        rates: What an order costs.
    """

    depth: float = 10.0
    merchant_share: float = 0.8
    redemption: float = 0.66
    basket: float = 130.0
    top_up: float = 0.01
    cancelled: float = 0.14
    returned: float = 0.30
    returned_induced: float = 0.06
    rates: OrderRates = field(default_factory=OrderRates)


def coupon_components(offer: Offer, orders: Floats, induced: Floats, on: Floats) -> Floats:
    """Return the components of expected orders; money in fen, shape [..., K].

    Args:
        offer: The coupon.
        orders: All orders, shape [...].
        induced: Those of them that exist because of the coupon.
        on: 1 while the coupon is on, else 0.

    Examples:
        >>> one = np.ones(1)
        >>> y = coupon_components(Offer(), 100 * one, 0 * one, one)
        >>> dict(zip(COUPON_COMPONENTS, y[0].round().astype(int).tolist()))["merchant_coupon"]
        52800
    """
    price = offer.basket * (1 + offer.top_up * on)
    used = offer.redemption * offer.depth * on
    ours, theirs = offer.merchant_share * used, (1 - offer.merchant_share) * used
    shipped = (1 - offer.cancelled) * orders
    back = offer.returned * orders + offer.returned_induced * induced
    returned = (1 - offer.cancelled) * back
    kept = shipped - returned
    yuan = (
        price * orders,
        (price - ours) * orders,
        ours * orders,
        theirs * orders,
        (price - used) * orders,
        (price - ours) * kept,
        ours * kept,
        offer.rates.goods * price * kept,
        offer.rates.goods * price * returned,
    )
    counts = (orders, shipped, returned, kept)
    return np.stack([*(FEN * part for part in yuan), *counts], axis=-1)


def coupon_profit(y: Floats, rates: OrderRates) -> Floats:
    """Return contribution profit in fen from components, shape [..., K] to [...].

    Kept sales less fees, tax and commission, goods, parcels, handling and write-off of
    returns, and service of every order. Coupons have left the sales already.

    Examples:
        >>> y = coupon_components(Offer(), np.ones(1), np.zeros(1), np.zeros(1))
        >>> round(float(coupon_profit(y, OrderRates())[0]))
        3284
    """
    part = {name: y[..., place] for place, name in enumerate(COUPON_COMPONENTS)}
    profit: Floats = (
        (1 - rates.of_sales) * part["kept_sales"]
        - part["goods"]
        - rates.writeoff * part["goods_returned"]
        - FEN * rates.parcel * part["orders_shipped"]
        - FEN * rates.handling * part["orders_returned"]
        - FEN * rates.service * part["orders"]
    )
    return profit


def whole_components(y: Floats) -> Floats:
    """Round to whole fen and orders so that sums of the ledger still hold.

    Examples:
        >>> y = coupon_components(Offer(), np.array([7.3]), np.zeros(1), np.ones(1))
        >>> gmv, sales, ours, theirs, cash = whole_components(y)[0, :5]
        >>> bool(gmv == sales + ours and sales == cash + theirs)
        True
    """
    whole = np.rint(y)
    at = {name: place for place, name in enumerate(COUPON_COMPONENTS)}
    sales = whole[..., at["gmv_platform"]] - whole[..., at["merchant_coupon"]]
    whole[..., at["gmv_merchant"]] = sales
    whole[..., at["cash"]] = sales - whole[..., at["platform_coupon"]]
    shipped, returned = whole[..., at["orders_shipped"]], whole[..., at["orders_returned"]]
    whole[..., at["orders_kept"]] = shipped - returned
    return whole
