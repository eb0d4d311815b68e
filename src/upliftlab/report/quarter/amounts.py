"""How does an amount of the quarter look, in money or in the unit of another outcome?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names
from upliftlab.report.numbers import (
    NONE,
    Shown,
    money,
    number,
    shown_money,
    shown_number,
)

if TYPE_CHECKING:
    from upliftlab.registry.record import Record, RecordedArm
    from upliftlab.review.programme import Result
    from upliftlab.stats.estimate import Estimate

_GOALS = {
    "gmv": "more orders",
    "new_customer": "new customers",
    "member_activation": "members",
    "win_back": "win-back",
}
_KINDS = {
    "smart_coupon": "coupon",
    "dual_commission": "creator commission",
    "custom": "other",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """The unit of a review.

    Attributes:
        currency: ISO 4217 code; empty where the outcome is not money.
        outcome: "profit", or the name of an imported metric.
    """

    currency: str
    outcome: str

    @property
    def what(self) -> str:
        """What is added up: "extra profit", or "extra clicks"."""
        return f"extra {self.outcome}"

    @property
    def unit(self) -> str:
        """The unit of an axis."""
        return currency_of(self.currency).main if self.currency else self.outcome

    @property
    def scale(self) -> float:
        """Axis units per unit of the estimates."""
        return 1 / currency_of(self.currency).scale if self.currency else 1.0

    def shown(self, estimate: Estimate, *, signed: bool = True) -> Shown:
        """Show an estimate with its range."""
        if self.currency:
            return shown_money(estimate, self.currency, signed=signed)
        return shown_number(estimate, signed=signed)

    def plain(self, value: float, *, width: float = math.nan, signed: bool = True) -> str:
        """Show one amount."""
        if not math.isfinite(value):
            return NONE
        if self.currency:
            return money(value, self.currency, width=width, signed=signed)
        size = width if width > 0 else abs(value)
        step = 10.0 ** (math.floor(math.log10(size)) - 1) if size > 0 else 1.0
        return number(value, step, signed=signed)

    def main(self, value: float) -> float | None:
        """The amount in main units, for machines; None where it does not exist."""
        return value * self.scale if math.isfinite(value) else None


def arm_name(record: Record, arm: RecordedArm) -> str:
    """Name a treatment: its own title, its coupon's amount, else its label.

    Examples:
        >>> from upliftlab.registry.record import Record, RecordedArm
        >>> from upliftlab.stats.estimate import undefined
        >>> none = undefined("profit", "")
        >>> arm = RecordedArm(arm="c20", depth=2000.0, profit=none, realised=none)
        >>> arm_name(Record(name="spring", currency="CNY", arms=(arm,)), arm)
        '¥20'
    """
    if arm.title:
        return arm.title
    if math.isfinite(arm.depth) and record.currency:
        twice = sum(each.depth == arm.depth for each in record.arms) > 1
        if not twice:
            return money(arm.depth, record.currency, signed=False)
    return arm.arm


def title(record: Record) -> str:
    """Name an experiment."""
    words = record.name.replace("-", " ").replace("_", " ")
    return words[:1].upper() + words[1:]


def result_name(result: Result) -> str:
    """Name a treatment with its experiment."""
    record, arm = result.record, result.arm
    called = title(record)
    return (
        called
        if result.is_alone and not math.isfinite(arm.depth)
        else (f"{called}, {arm_name(record, arm)}")
    )


def whom(result: Result) -> str:
    """Whom the proposal speaks of."""
    segment = result.arm.segment
    return names.audience(segment) if segment and result.arm.verdict != "ship" else "everyone"


def mechanism_name(mechanism: str) -> str:
    """Name what is pooled with what.

    Examples:
        >>> mechanism_name("smart_coupon: win_back"), mechanism_name("dual_commission")
        ('coupon for win-back', 'creator commission')
    """
    kind, _, goal = mechanism.partition(": ")
    called = _KINDS.get(kind, kind.replace("_", " "))
    return f"{called} for {_GOALS.get(goal, goal.replace('_', ' '))}" if goal else called


class _Days(NamedTuple):
    start: date
    end: date


def days(record: Record) -> str:
    """Print first and last day; empty where unknown."""
    try:
        first, last = (date.fromisoformat(each) for each in (record.starts, record.ends))
    except ValueError:
        return record.starts
    return names.span(_Days(start=first, end=last))
