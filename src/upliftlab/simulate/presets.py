"""Which named worlds does the simulator ship, and what does each one teach?"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from upliftlab.errors import DefinitionError
from upliftlab.simulate.settings import Process, SmartCoupon

if TYPE_CHECKING:
    from collections.abc import Mapping

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # Nothing at all moves: no reaction, and the coupon cannot be used.
        "aa": {"demand_effect": 0.0, "process": Process(redemption=0.0)},
        # Nobody reacts, but buyers still use the coupon: only money moves.
        "null": {"demand_effect": 0.0},
        "gmv_up_profit_down": {},
        "platform_funded": {"merchant_share": 0.2},
        # One deep coupon: it loses on everyone and pays on new customers.
        "targeting_pays": {"depths": (0, 20)},
        "immature_returns": {"days_after_run": 7},
        "stacking": {"shop_coupon_share": 0.30},
        "leak": {"leak": 0.10},
        "promo_event": {"promo_event": True},
        "observational": {"targeted": 1.5},
        "srm": {"lost": 0.01},
        "fraud": {"fraud": 0.02},
    }
)


def preset(name: str, *, customers: int = 100_000, seed: int = 20260601) -> SmartCoupon:
    """Return the settings of a named world; change more of them with ``dataclasses.replace``.

    Examples:
        >>> preset("platform_funded", customers=1_000).merchant_share
        0.2
    """
    if name not in PRESETS:
        raise DefinitionError.unknown_word("preset", name, PRESETS)
    return SmartCoupon(customers=customers, seed=seed, **PRESETS[name])
