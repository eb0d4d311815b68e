"""Tables with a known truth, to see whether a method finds it."""

from __future__ import annotations

from upliftlab.simulate.presets import PRESETS, preset
from upliftlab.simulate.realised import UnitComponents, unit_components, unit_profit
from upliftlab.simulate.settings import SmartCoupon
from upliftlab.simulate.smart_coupon import Draw, draw
from upliftlab.simulate.tables import write
from upliftlab.simulate.truths import Truth, truth, unit_outcomes

__all__ = [
    "PRESETS",
    "Draw",
    "SmartCoupon",
    "Truth",
    "UnitComponents",
    "draw",
    "preset",
    "truth",
    "unit_components",
    "unit_outcomes",
    "unit_profit",
    "write",
]
