"""Which parts of a unit's outcome have a name: the columns that money and metrics hang on."""

from __future__ import annotations

MONEY = (
    "gmv_list",
    "gmv_platform",
    "merchant_coupon",
    "platform_coupon",
    "creator_coupon",
    "payment_promo",
    "gmv_merchant",
    "cash",
    "cancelled_sales",
    "returned_sales",
    "kept_sales",
    "kept_creator_organic",
    "kept_creator_ads",
    "kept_self_live",
    "kept_shelf",
    "goods",
    "goods_returned",
    "kept_merchant_coupon",
    "kept_platform_coupon",
    "kept_creator_coupon",
    "commission",
    "agency_fee",
    "ad_spend",
    "contact_cost",
    "net_sales_1h",
    "net_sales_7d",
    "net_sales_14d",
    "net_sales_30d",
    "redeemed_sales",
    "commission_on_merchant_coupon",
    "commission_on_platform_coupon",
    "agency_on_merchant_coupon",
    "agency_on_platform_coupon",
    "creator_organic_merchant_coupon",
    "creator_organic_platform_coupon",
    "creator_ads_merchant_coupon",
    "creator_ads_platform_coupon",
    "gmv_creator_organic",
    "gmv_creator_ads",
    "gmv_self_live",
    "gmv_shelf",
    "profit",
)
"""Components in minor units of the currency (fen) per unit."""

COUNTS = (
    "orders",
    "orders_shipped",
    "orders_cancelled",
    "orders_returned",
    "orders_kept",
    "orders_redeemed",
    "buyers",
    "kept_buyers",
    "new_customers",
    "saw",
    "claimed",
    "redeemers",
    "came_back",
    "members_joined",
    "members_activated",
    "creators_active",
    "ads_authorised",
    "posts",
    "live_minutes",
    "authorised_videos",
)
"""Components that count events, or mark a unit with 0 or 1."""

CHANNELS = ("creator_organic", "creator_ads", "self_live", "shelf")
"""Where a sale comes from: kept_<channel> and gmv_<channel> add up to kept sales and GMV."""

ALIASES = {"gmv": "gmv_platform"}
"""Short names that a plan may use: plain gmv is read as the platform's, before coupons."""

NAMES = frozenset((*MONEY, *COUNTS, *ALIASES))
"""Every component that a plan may name."""


def at(component: str, days: int | None) -> str:
    """Name a component within a window.

    Examples:
        >>> at("orders", 60)
        'orders@60d'
        >>> at("orders", None)
        'orders'
    """
    return component if days is None else f"{component}@{days}d"
