"""Which price, share or cost would have to be how different for the verdict to flip?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.economics import MERCHANT

if TYPE_CHECKING:
    from upliftlab.economics import Economics
    from upliftlab.estimators.effects import Effects
    from upliftlab.stats.estimate import Estimate

FUNDING = "funding"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tipping:
    """The value of one assumption at which extra profit is 0.

    Attributes:
        name: Line, or "funding" for the merchant's share of the coupon.
        label: Words for readers.
        now: Today's value: 1 for a line (as it is), else the share paid.
        at: Value at which extra profit is 0, with its Fieller set. For a line it is the factor
            on that line; NaN where no value does it.
        is_reachable: Whether the value is one that could happen (0 to 3 times, or 0 to 100 %).
    """

    name: str
    label: str
    now: float
    at: Estimate
    is_reachable: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "now": self.now,
            "at": self.at.to_dict(),
            "is_reachable": self.is_reachable,
        }


def tipping_values(
    effects: Effects, economics: Economics, arm: str, *, level: float = 0.95
) -> tuple[Tipping, ...]:
    """Return, for each cost line and the coupon's funding, the value that makes profit 0.

    Profit is linear in each of them, so the value is a ratio of two functionals of the same
    arm means and has a Fieller set. Nothing is estimated again.

    Args:
        effects: Arm means of one window, with the component "units".
        economics: Lines with prices per arm.
        arm: The treatment.
        level: Confidence level of the set.
    """
    found = []
    share = funding_share(effects, arm)
    if share is not None:
        found.append(_funding(effects, economics, arm, share, level))
    total = _row(effects, economics, arm)
    for line in economics.lines:
        if line.name in {"sales", "profit"} or MERCHANT not in (
            line.flows.keys() | {p for f in line.by_arm.values() for p in f}
        ):
            continue
        part = _weights(
            effects, line.terms(MERCHANT, arm), line.terms(MERCHANT, effects.control), arm
        )
        if not part.any():
            continue
        joint = effects.linear(np.stack([total - part, -part]), ["rest", "line"])
        at = joint.ratio("rest", "line", name=line.name, level=level)
        found.append(
            Tipping(
                name=line.name,
                label=line.label,
                now=1.0,
                at=at,
                is_reachable=bool(0 <= at.estimate <= 3),
            )
        )
    return tuple(found)


def funding_share(effects: Effects, arm: str) -> float | None:
    """Return the merchant's share of the arm's coupon money; None where there is no coupon."""
    names = effects.names
    if not {"merchant_coupon", "platform_coupon", "kept_sales"} <= set(names):
        return None
    a = effects.arms.index(arm)
    ours = float(effects.mean[a, names.index("merchant_coupon")])
    theirs = float(effects.mean[a, names.index("platform_coupon")])
    return ours / (ours + theirs) if ours + theirs > 0 else None


def _funding(
    effects: Effects, economics: Economics, arm: str, share: float, level: float
) -> Tipping:
    """Move who pays the tested arm's coupons, from today's profit; control stays as it is.

    Profit at share s is profit now + (s - share) x slope, so it is 0 at share - profit / slope.
    """
    free, whole = (economics.with_funding(s).price(MERCHANT, arm) for s in (0.0, 1.0))
    slope = _weights(effects, whole, {}, arm) - _weights(effects, free, {}, arm)
    rows = np.stack([share * slope - _row(effects, economics, arm), slope])
    joint = effects.linear(rows, ["distance", "slope"])
    at = joint.ratio("distance", "slope", name=FUNDING, level=level)
    return Tipping(
        name=FUNDING,
        label="our share of the coupon",
        now=share,
        at=at,
        is_reachable=bool(0 <= at.estimate <= 1),
    )


def _row(effects: Effects, economics: Economics, arm: str) -> np.ndarray:
    return _weights(
        effects,
        economics.price(MERCHANT, arm),
        economics.price(MERCHANT, effects.control),
        arm,
    )


def _weights(
    effects: Effects, treated: dict[str, float], control: dict[str, float], arm: str
) -> np.ndarray:
    have = set(effects.names)
    return effects.weights(
        {
            arm: {name: rate for name, rate in treated.items() if name in have},
            effects.control: {name: -rate for name, rate in control.items() if name in have},
        }
    )
