"""Why did profit move: prices on sales that came anyway, or other behaviour?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.components import CHANNELS
from upliftlab.economics import MERCHANT
from upliftlab.rollout.answer import Channel, Part
from upliftlab.rollout.booked import SUMS
from upliftlab.rollout.rates import part_of
from upliftlab.rollout.reassigned import is_reassigned, one_sided, without_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from upliftlab.economics import Economics
    from upliftlab.estimators.effects import Effects
    from upliftlab.profit import Profit
    from upliftlab.rollout.answer import Rollout
    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]

LABELS = {
    "creator_organic": "creators' own traffic",
    "creator_ads": "creators with paid ads",
    "self_live": "our own live rooms",
    "shelf": "shelf",
}
PARTS = {
    "creator_organic": ("organic", "other sales from creators' own traffic"),
    "creator_ads": ("ads", "other sales from creators with paid ads"),
    "self_live": ("self_live", "other sales in our own live rooms"),
    "shelf": ("cannibalisation", "other sales on our shelf"),
}
RATES = {"commission_organic": "organic", "commission_ads": "ads", "agency": "agency"}
"""Cost line -> what the plan calls its rate."""


def explained(
    rollout: Rollout, effects: Effects, economics: Economics, profit: Profit, level: float
) -> Rollout:
    """Add to a roll-out where sales went, why profit moved, and at which rates it would not."""
    arm = profit.arm
    return replace(
        rollout,
        channels=channels_of(effects, arm, level),
        parts=parts_of(effects, economics, arm, level),
        rates=rates_of(effects, economics, profit, level),
        commission_per_yuan=commission_per_yuan(effects, economics, arm, level),
        both_gain=both_gain(profit),
    )


def channels_of(effects: Effects, arm: str, level: float) -> tuple[Channel, ...]:
    """Kept sales by channel: as observed, and as expected without the change."""
    have = [c for c in CHANNELS if f"kept_{c}" in effects.names]
    if not have:
        return ()
    control, treated = effects.arms.index(effects.control), effects.arms.index(arm)
    at = [effects.names.index(f"kept_{c}") for c in have]
    expected, observed = effects.mean[control, at], effects.mean[treated, at]
    return tuple(
        Channel(
            name=name,
            label=LABELS[name],
            expected=float(expected[i]),
            observed=float(observed[i]),
            effect=effects.contrast(f"kept_{name}", arm).estimate(f"kept_{name}", level=level),
            share_expected=_share(expected[i], expected.sum()),
            share_observed=_share(observed[i], observed.sum()),
        )
        for i, name in enumerate(have)
    )


def parts_of(
    effects: Effects, economics: Economics, arm: str, level: float
) -> tuple[Part, ...]:
    """Split extra profit: new prices on old sales, then other behaviour at new prices.

    p_T . mu_T - p_C . mu_C = (p_T - p_C) . mu_C + p_T . (mu_T - mu_C), the second part by the
    channel that each component belongs to. The split is exact and not unique: the interaction
    of new prices and other behaviour sits in behaviour.
    """
    control = effects.control
    new, old = (_by_channel(economics.price(MERCHANT, a), effects) for a in (arm, control))
    rows: dict[str, tuple[str, Floats]] = {}
    both = set(new) | set(old)
    shift = {c: new.get(c, 0.0) - old.get(c, 0.0) for c in both}
    if any(abs(rate) > 0 for rate in shift.values()):
        rows["mechanical"] = (
            "new rates on sales that came anyway",
            effects.weights({control: shift}),
        )
    for name, rate in new.items():
        key, label = _part_of(name)
        row = effects.weights({arm: {name: rate}, control: {name: -rate}})
        rows[key] = (label, rows[key][1] + row if key in rows else row)
    if not rows:
        return ()
    joint = effects.linear(np.stack([row for _, row in rows.values()]), list(rows))
    notes = {"mechanical": "without any change in behaviour, at the expected sales"}
    return tuple(
        Part(
            name=name,
            label=label,
            effect=joint.estimate(name, level=level),
            note=notes.get(name, ""),
        )
        for name, (label, _) in rows.items()
    )


def rates_of(
    effects: Effects, economics: Economics, profit: Profit, level: float
) -> tuple[Estimate, ...]:
    """Rates at which extra profit is 0, each alone, at the behaviour that was measured.

    Profit is linear in a rate c on base b: with V the profit at today's rate c0,
    c* = c0 + V / b; Fieller's set (Fieller 1954). Where the rate changes over time, c* is the
    one rate which, held throughout, would leave no extra profit.
    """
    found = []
    for name, label in RATES.items():
        line = next((line for line in economics.lines if line.name == name), None)
        if line is None or line.status == "measured":
            continue
        terms = line.terms(MERCHANT, profit.arm)
        base = dict.fromkeys(terms, 1.0)
        top = _profit_row(effects, economics, profit.arm) - effects.weights({profit.arm: terms})
        joint = effects.linear(np.stack([top, effects.weights({profit.arm: base})]), ["v", "b"])
        rate = joint.ratio("v", "b", name=label, level=level)
        found.append(without_range(rate) if is_reassigned(profit) else rate)
    return tuple(found)


def commission_per_yuan(
    effects: Effects, economics: Economics, arm: str, level: float
) -> Estimate | None:
    """Extra commission that we pay for each extra yuan of sales kept."""
    lines = [line for line in economics.lines if line.name.startswith("commission")]
    if not lines or "kept_sales" not in effects.names:
        return None
    paid = np.zeros_like(effects.mean)
    for line in lines:
        paid -= effects.weights({arm: line.terms(MERCHANT, arm)})
        paid += effects.weights({effects.control: line.terms(MERCHANT, effects.control)})
    kept = effects.weights({arm: {"kept_sales": 1.0}, effects.control: {"kept_sales": -1.0}})
    joint = effects.linear(np.stack([paid, kept]), ["paid", "kept"])
    return joint.ratio("paid", "kept", name="commission per extra yuan kept", level=level)


def both_gain(profit: Profit) -> float:
    """p-value that merchant and creators both gain: the larger of the two one-sided p-values.

    References:
        Berger (1982), *Technometrics* 24(4), intersection-union tests.
    """
    creator = profit.parties.get("creator")
    if creator is None:
        return math.nan
    return max(one_sided(profit.profit), one_sided(creator))


def _profit_row(effects: Effects, economics: Economics, arm: str) -> Floats:
    row: Floats = effects.weights({arm: economics.price(MERCHANT, arm)})
    return row - effects.weights({effects.control: economics.price(MERCHANT, effects.control)})


def _by_channel(price: Mapping[str, float], effects: Effects) -> dict[str, float]:
    """Write a price on totals as prices on the channels that they add up."""
    out: dict[str, float] = {}
    for name, rate in price.items():
        channels = [c for c in SUMS.get(name, ()) if c in effects.names]
        for each in channels if _adds_up(effects, name, channels) else [name]:
            out[each] = out.get(each, 0.0) + rate
    return {name: rate for name, rate in out.items() if abs(rate) > 1e-15}


def _adds_up(effects: Effects, total: str, channels: list[str]) -> bool:
    if not channels:
        return False
    at = [effects.names.index(name) for name in channels]
    whole = effects.mean[:, effects.names.index(total)]
    return bool(np.allclose(effects.mean[:, at].sum(axis=1), whole, rtol=1e-9, atol=1e-6))


def _part_of(component: str) -> tuple[str, str]:
    for channel, words in PARTS.items():
        if part_of(component)[0].endswith(channel):
            return words
    if component == "ad_spend":
        return "ad_spend", "more or less spent on ads"
    return "other", "everything else"


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan
