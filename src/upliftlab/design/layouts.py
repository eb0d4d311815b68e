"""Which cluster switches when, which days are on, which regions are treated: a layout."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from upliftlab.design.spread import plain

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One set of regions, or one number of waves or days, beside others.

    Attributes:
        label: What it is.
        mde: Smallest extra profit it shows with the wanted power: per unit and period.
        total: The same as a total over the treated and the time of the test.
        share: ``total`` as a share of what the treated earn in that time.
        power: Chance to see the effect that profit is planned for.
        note: What a reader must know.
    """

    label: str
    mde: float
    total: float
    share: float
    power: float = math.nan
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "label": self.label,
            "mde": plain(self.mde),
            "total": plain(self.total),
            "share": plain(self.share),
            "power": plain(self.power),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Who or what is on when, and how precise that makes profit.

    Attributes:
        kind: "staggered", "switchback" or "geo".
        unit: What switches: "cluster", "block", "region".
        period: "day" or "week".
        periods: Labels or positions of periods, in order.
        rows: Name -> state of each period: 0 off, 1 on, 2 left out (burn-in).
        starts: Name -> position of its first treated period; negative for never.
        std_error: Of extra profit per unit and period, through the estimator of the analysis.
        bound: Of the best estimator of a constant effect; NaN where not known.
        df: Degrees of freedom.
        mde: Smallest effect per unit and period that is seen with the wanted power.
        effect: What profit is planned for; NaN where nobody said.
        power: Chance to see it.
        simulated: The same by simulation; NaN where not run.
        choices: Alternatives, best first.
        details: Name -> number, for the table of assumptions.
        notes: What a reader must know.
    """

    kind: str
    unit: str
    period: str
    periods: tuple[str, ...]
    rows: Mapping[str, tuple[int, ...]]
    starts: Mapping[str, int] = field(default_factory=dict)
    std_error: float
    bound: float = math.nan
    df: float = math.inf
    mde: float
    effect: float = math.nan
    power: float = math.nan
    simulated: float = math.nan
    choices: tuple[Choice, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        numbers = ("std_error", "bound", "df", "mde", "effect", "power", "simulated")
        return {
            "kind": self.kind,
            "unit": self.unit,
            "period": self.period,
            "periods": list(self.periods),
            "rows": {name: list(row) for name, row in self.rows.items()},
            "starts": dict(self.starts),
            **{name: plain(getattr(self, name)) for name in numbers},
            "choices": [choice.to_dict() for choice in self.choices],
            "details": {name: plain(x) for name, x in self.details.items()},
            "notes": list(self.notes),
        }
