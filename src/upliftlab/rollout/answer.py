"""What does a roll-out say? Frozen values for the page, all money in minor units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upliftlab.stats.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One period since the start, of one measure.

    Attributes:
        event: Periods since the change; negative before it.
        effect: Per unit and period, with its own interval.
        low: Lower end of the band that holds for all shown periods at once; NaN if withheld.
        high: Upper end.
    """

    event: int
    effect: Estimate
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "event": self.event,
            "effect": self.effect.to_dict(),
            "low": _plain(self.low),
            "high": _plain(self.high),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Effect on one measure over time since the change, before it included.

    Attributes:
        measure: Component or party, such as "profit", "creator", "gmv_merchant".
        label: Words for readers.
        is_money: Whether it is an amount in minor units.
        points: In order of time; the base period is 0 by construction and left out.
        note: Why the band is withheld, and which cohorts late points rest on; may be empty.
    """

    measure: str
    label: str
    is_money: bool
    points: tuple[Point, ...]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "measure": self.measure,
            "label": self.label,
            "is_money": self.is_money,
            "points": [point.to_dict() for point in self.points],
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cohort in one period: what the change did to profit per unit.

    Attributes:
        start: Label of the cohort's first treated period.
        period: Label of the period.
        event: Periods since the change.
        effect: Per unit, NaN where nobody untreated is left to compare with.
    """

    start: str
    period: str
    event: int
    effect: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "start": self.start,
            "period": self.period,
            "event": self.event,
            "effect": self.effect.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Units that switched together.

    Attributes:
        start: Label of their first treated period; "never" for those that did not switch.
        units: How many units.
        clusters: How many clusters; 0 where units switched one by one.
        profit: Extra profit per unit and period since the change; None for never.
    """

    start: str
    units: int
    clusters: int
    profit: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "start": self.start,
            "units": self.units,
            "clusters": self.clusters,
            "profit": None if self.profit is None else self.profit.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A stretch of time: announced, ramp, after the ramp, since the change, all together.

    Attributes:
        name: "announced", "ramp", "after_ramp", "since" or "everything".
        label: Words for readers.
        profit: Extra profit per unit and period in it; NaN with a note where unknown.
        total: Extra profit over all its unit-periods.
        unit_periods: How many those are.
    """

    name: str
    label: str
    profit: Estimate
    total: Estimate
    unit_periods: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "profit": self.profit.to_dict(),
            "total": self.total.to_dict(),
            "unit_periods": self.unit_periods,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One sales channel of the treated units since the change, per unit and period.

    Attributes:
        name: "creator_organic", "creator_ads", "self_live" or "shelf".
        label: Words for readers.
        expected: Sales that would have been kept without the change (counterfactual).
        observed: Sales that were kept.
        effect: The difference.
        share_expected: Share of all channels without the change.
        share_observed: Share of all channels as observed.
    """

    name: str
    label: str
    expected: float
    observed: float
    effect: Estimate
    share_expected: float
    share_observed: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "expected": _plain(self.expected),
            "observed": _plain(self.observed),
            "effect": self.effect.to_dict(),
            "share_expected": _plain(self.share_expected),
            "share_observed": _plain(self.share_observed),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One reason why profit moved, per unit and period; the parts add up to profit.

    Attributes:
        name: "mechanical", "organic", "ads", "relabelling", "cannibalisation", "ad_spend" ...
        label: Words for readers.
        effect: With its interval.
        note: What the split assumes; may be empty.
    """

    name: str
    label: str
    effect: Estimate
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "effect": self.effect.to_dict(),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What another method says about extra profit per unit and period.

    Attributes:
        method: Key, such as "imputation".
        label: Words for readers.
        effect: With its interval; NaN with a note where the method does not apply.
        note: What differs in its assumptions.
    """

    method: str
    label: str
    effect: Estimate
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "method": self.method,
            "label": self.label,
            "effect": self.effect.to_dict(),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Interval of extra profit if trends were allowed to differ by so much.

    Attributes:
        m: Allowed violation.
        low: Lower end, minor units per unit and period.
        high: Upper end.
    """

    m: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"m": self.m, "low": _plain(self.low), "high": _plain(self.high)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Honesty:
    """How far the answer survives that trends were not parallel.

    Attributes:
        restriction: "relative_magnitude" or "smoothness".
        label: Words for readers, with what one unit of m means.
        bounds: By allowed violation, 0 first: parallel trends, or a straight drift.
        flips_at: Smallest m at which the interval touches what is worth it; NaN with a note.
        threshold: The value at which the decision flips, minor units per unit and period.
        note: May be empty.
    """

    restriction: str
    label: str
    bounds: tuple[Bound, ...]
    flips_at: float
    threshold: float
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "restriction": self.restriction,
            "label": self.label,
            "bounds": [bound.to_dict() for bound in self.bounds],
            "flips_at": _plain(self.flips_at),
            "threshold": self.threshold,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Without:
    """Extra profit per unit and period with one cluster (or unit) left out.

    Attributes:
        label: Which was left out.
        profit: What remains.
    """

    label: str
    profit: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"label": self.label, "profit": _plain(self.profit)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopSeries:
    """Kept sales of a channel that sells in no unit's name, over the whole shop.

    Attributes:
        name: "self_live" or "shelf".
        label: Words for readers.
        periods: Labels of all periods.
        kept: Sales kept in each.
        line: Straight line through the periods before anybody was told.
        first: Position of the first period in which somebody was told, or switched.
        before: Mean of the periods before.
        since: Mean of the others.
        expected: Mean of the line over the others; no counterfactual of an experiment.
    """

    name: str
    label: str
    periods: tuple[str, ...]
    kept: tuple[float, ...]
    line: tuple[float, ...]
    first: int
    before: float
    since: float
    expected: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "periods": list(self.periods),
            "kept": list(self.kept),
            "line": list(self.line),
            "first": self.first,
            "before": self.before,
            "since": self.since,
            "expected": self.expected,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Everything that a roll-out says beside profit and verdict.

    Attributes:
        design: "staggered", "geo" or "switchback".
        unit: In the words of the plan.
        period: "day" or "week".
        clusters: Treated and untreated clusters (or units), as counted for inference.
        waves: Cohorts in order of their start, never last.
        stretches: Since the change first, then announced, ramp, after the ramp, everything.
        paths: Profit first, then creators' income, GMV, kept sales, channels.
        cells: Heat map of profit, cohort by period.
        channels: Where sales went; empty without channels.
        parts: Why profit moved; they add up to profit.
        rates: Break-even rates with intervals: name -> estimate (a share).
        commission_per_yuan: Extra commission paid per extra yuan kept; Fieller set.
        pay_back: Periods from announcement until summed profit is surely above 0; NaN if never.
        both_gain: p-value that merchant and creators both gain (intersection-union); NaN
            without creators.
        opinions: Other estimators, the headline first.
        honesty: Sensitivity to trends that were not parallel.
        without: Influence of single clusters, most influential first.
        shop: The shop's own channels over time, where orders tell them; not in extra profit.
        notes: What was counted and left out on the way.
    """

    design: str
    unit: str
    period: str
    clusters: tuple[int, int]
    waves: tuple[Wave, ...]
    stretches: tuple[Stretch, ...]
    paths: tuple[Path, ...]
    cells: tuple[Cell, ...] = ()
    channels: tuple[Channel, ...] = ()
    parts: tuple[Part, ...] = ()
    rates: tuple[Estimate, ...] = ()
    commission_per_yuan: Estimate | None = None
    pay_back: float = float("nan")
    both_gain: float = float("nan")
    opinions: tuple[Opinion, ...] = ()
    honesty: tuple[Honesty, ...] = ()
    without: tuple[Without, ...] = ()
    shop: tuple[ShopSeries, ...] = ()
    notes: tuple[str, ...] = ()

    def path(self, measure: str) -> Path | None:
        """Find the path of one measure."""
        return next((path for path in self.paths if path.measure == measure), None)

    def stretch(self, name: str) -> Stretch | None:
        """Find one stretch of time."""
        return next((each for each in self.stretches if each.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        listed = (
            "waves", "stretches", "paths", "cells", "channels", "parts", "rates", "opinions",
            "honesty", "without", "shop",
        )  # fmt: skip
        return {
            "design": self.design,
            "unit": self.unit,
            "period": self.period,
            "clusters": list(self.clusters),
            **{name: [each.to_dict() for each in getattr(self, name)] for name in listed},
            "commission_per_yuan": None
            if self.commission_per_yuan is None
            else self.commission_per_yuan.to_dict(),
            "pay_back": _plain(self.pay_back),
            "both_gain": _plain(self.both_gain),
            "notes": list(self.notes),
        }


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
