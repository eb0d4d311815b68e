"""What must reading and joining know of the experiment?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


STANDARD_COVARIATES = (
    "pre_profit",
    "pre_profit_fen",
    "recency_days",
    "frequency_365",
    "monetary_365",
    "monetary_365_fen",
    "coupon_share_365",
    "return_rate_365",
    "watch_minutes_28",
    "is_new_customer",
    "is_member",
)
"""Columns of the customer snapshot that reduce variance when the plan names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The part of an experiment that the data plane acts on.

    Attributes:
        arms: Labels of all arms.
        control: Label of the control arm.
        strata: Columns that assignment was stratified by.
        segments: Columns of the declared segments.
        covariates: Pre-period columns for variance reduction; None takes the standard ones.
        cluster: Column of the cluster, when units were assigned in clusters.
        windows: Days from assignment, ascending, the headline among them; empty without clock.
        headline: The window that the verdict is about, in days; None without a clock.
        returns_final: Days after payment from which returns are final; None if nobody says.
        run: First and last second of assignment, UTC; None without run dates.
        as_of: Up to when the data speak, UTC seconds; None to take the last event.
        stated: Party -> share of coupon cost, as the plan states it.
        features: Columns that a targeting rule may use; None takes those at hand, () none.
        beside: Columns that no rule may use, whose groups are compared under one.
        explored: Whether only units that were drawn, and not given an arm by a rule, compare.
        has_chances: Whether to read how likely each arm was, where the data say so.
        has_coupons: Whether some arm gets a coupon, whose cost order lines must then carry.
    """

    arms: tuple[str, ...]
    control: str
    strata: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    covariates: tuple[str, ...] | None = ()
    cluster: str | None = None
    windows: tuple[int, ...] = ()
    headline: int | None = None
    returns_final: int | None = None
    run: tuple[int, int] | None = None
    as_of: int | None = None
    stated: Mapping[str, float] | None = None
    has_coupons: bool = False
    explored: bool = False
    has_chances: bool = False
    features: tuple[str, ...] | None = ()
    beside: tuple[str, ...] = ()

    def numbers(self, have: Collection[str]) -> tuple[str, ...]:
        """Covariates to read: the plan's, or the standard ones among the columns at hand."""
        if self.covariates is not None:
            return self.covariates
        return tuple(name for name in STANDARD_COVARIATES if name in have)

    def known_before(self, have: Collection[str]) -> tuple[str, ...]:
        """Columns a rule may use: the plan's, or segments and standard columns at hand."""
        if self.features is not None:
            return self.features
        return tuple(name for name in (*self.segments, *STANDARD_COVARIATES) if name in have)

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns read as text labels: strata, then segments, each once."""
        return tuple(dict.fromkeys((*self.strata, *self.segments)))

    @property
    def keys(self) -> tuple[str, ...]:
        """What tells cells apart."""
        return ("arm", *self.texts)
