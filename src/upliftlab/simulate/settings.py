"""Which smart-coupon world is simulated, and what does an order cost in it?"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from upliftlab.errors import DefinitionError

Goal = Literal["gmv", "new_customer", "member_activation", "win_back"]
GOALS: tuple[Goal, ...] = ("gmv", "new_customer", "member_activation", "win_back")
SEGMENTS = ("persuadable", "sure_thing", "lost_cause", "sleeping_dog", "deal_seeker")
SHOP_TIME = ZoneInfo("Asia/Shanghai")
DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRates:
    """What one order costs the merchant: shares of sales, and yuan per parcel or order."""

    tech: float = 0.044
    payment: float = 0.006
    tax: float = 0.03
    commission: float = 0.08
    goods: float = 0.323
    outbound: float = 3.2
    packaging: float = 1.0
    insurance: float = 2.5
    handling: float = 1.5
    writeoff: float = 0.08
    service: float = 0.6

    @property
    def of_sales(self) -> float:
        """Share of kept sales that fees, tax and commission take."""
        return self.tech + self.payment + self.tax + self.commission

    @property
    def parcel(self) -> float:
        """Yuan per shipped order, kept or returned."""
        return self.outbound + self.packaging + self.insurance


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """How customers behave; tuples are ordered as ``SEGMENTS``.

    The join process is this package's own addition: an existing customer who is not a member
    joins within 14 days with logit ``logit(join_base) + join_by_order Y(d) + join_by_depth
    g(d)``, so the coupon moves joining both directly and through the extra orders; a share
    ``activation`` of those who join also activates within 60 days.
    """

    base: tuple[float, ...] = (0.060, 0.300, 0.006, 0.120, 0.050)
    response: tuple[float, ...] = (1.10, 0.06, 0.10, -0.80, 3.00)
    returned: tuple[float, ...] = (0.40, 0.27, 0.45, 0.32, 0.90)
    follow_up: tuple[float, ...] = (0.10, 0.55, 0.02, 0.25, 0.00)
    follow_up_new: float = 0.35
    spread_base: float = 0.25
    spread_response: float = 0.15
    half_depth: float = 8.0
    basket: float = 130.0
    basket_spread: float = 0.40
    gaming_from: float = 0.8
    gaming: float = 0.4
    redemption: float = 0.88
    cancelled: float = 0.14
    cancelled_induced: float = 0.06
    returned_induced: float = 0.06
    pull_forward: float = 0.55
    pull_forward_new: float = 0.15
    new_repeat: float = 0.22
    reference_depth: float = 20.0
    reference_loss: float = 0.06
    comes_back: float = 0.30
    follow_up_returned: float = 0.30
    join_base: float = 0.025
    join_by_order: float = 0.8
    join_by_depth: float = 0.3
    activation: float = 0.45


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartCoupon:
    """One simulated smart-coupon experiment: who, how deep, who pays, and what goes wrong.

    The default is a clean randomised trial of four depths in which the deepest coupon sells
    more and earns less. Every other world is a change of these fields (see ``PRESETS``).

    Attributes:
        customers: Customers assigned; under a goal other than ``gmv``, all of them eligible.
        seed: Fixes every table to the byte.
        depths: Coupon values in yuan, the control (0) first.
        shares: Probability of each depth; empty means equal.
        goal: Who may receive the coupon, and so who is in the experiment.
        merchant_share: Part of the coupon that the merchant pays; the platform pays the rest.
        threshold: Basket in yuan from which the coupon can be used.
        start: First day of assignment, in shop time (Asia/Shanghai).
        days: Days over which assignment is spread evenly.
        days_after_run: Days from the end of assignment until the tables were written; facts
            later than that are absent.
        demand_effect: Scales every reaction to the coupon (conversion, basket top-up,
            reference price); 0 means that only money moves.
        shop_coupon_share: Customers of every arm who hold a shop coupon as well.
        shop_coupon: Its value in yuan, paid by the merchant, without threshold.
        leak: Share of control customers who are served a coupon after all.
        promo_event: Whether customers assigned on days 5-7 buy 2.5 times as often and react
            to the coupon with ``promo_response`` of the usual strength.
        promo_response: See ``promo_event``.
        targeted: Log-odds per step of depth and unit of coupon share with which depth is
            assigned; 0 is a randomised trial, and the propensity is recorded.
        lost: Share of treated customers who vanish from every table.
        fraud: Share of accounts that are new, seek deals, and return 90 %.
        process: How customers behave.
        rates: What an order costs.
    """

    customers: int = 100_000
    seed: int = 20260601
    depths: tuple[int, ...] = (0, 5, 10, 20)
    shares: tuple[float, ...] = ()
    goal: Goal = "gmv"
    merchant_share: float = 0.8
    threshold: float = 99.0
    start: date = date(2026, 6, 1)
    days: int = 14
    days_after_run: int = 60 + 35
    demand_effect: float = 1.0
    shop_coupon_share: float = 0.0
    shop_coupon: float = 8.0
    leak: float = 0.0
    promo_event: bool = False
    promo_response: float = 0.4
    targeted: float = 0.0
    lost: float = 0.0
    fraud: float = 0.0
    experiment_id: str = "smart_coupon"
    process: Process = field(default_factory=Process)
    rates: OrderRates = field(default_factory=OrderRates)

    def __post_init__(self) -> None:
        """Refuse a world that could not be drawn."""
        _refuse(self)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, in the order of the depths."""
        return tuple(f"coupon_{depth}" if depth else "none" for depth in self.depths)

    @property
    def arm_shares(self) -> tuple[float, ...]:
        """Probability of every arm."""
        return self.shares or (1 / len(self.depths),) * len(self.depths)

    @property
    def start_ts(self) -> datetime:
        """Midnight of the first day, shop time."""
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=SHOP_TIME)

    @property
    def as_of(self) -> datetime:
        """Moment at which the tables were written: facts from then on are absent."""
        return self.start_ts + timedelta(days=self.days + self.days_after_run)


def _refuse(settings: SmartCoupon) -> None:
    if settings.goal not in GOALS:
        raise DefinitionError.unknown_word("goal", settings.goal, GOALS)
    for name, low, high in _RANGES:
        value = getattr(settings, name)
        if not low <= value <= high:
            fix = f"write a number from {low:g} to {high:g}"
            raise DefinitionError.unreadable(name, value, fix)
    depths, shares = settings.depths, settings.shares
    if len(depths) < 2 or depths[0] != 0 or sorted(set(depths)) != list(depths):
        fix = "write the control (0) and then rising depths in yuan, such as (0, 5, 10, 20)"
        raise DefinitionError.unreadable("depths", depths, fix)
    if shares and (len(shares) != len(depths) or abs(sum(shares) - 1) > 1e-9):
        fix = f"write {len(depths)} shares that add up to 1, or none for equal ones"
        raise DefinitionError.unreadable("shares", shares, fix)


_RANGES = (
    ("customers", 1, 1_000_000_000),
    ("days", 1, 365),
    ("days_after_run", 0, 3_650),
    ("merchant_share", 0, 1),
    ("demand_effect", 0, 2),
    ("shop_coupon_share", 0, 1),
    ("leak", 0, 1),
    ("promo_response", 0, 1),
    ("lost", 0, 1),
    ("fraud", 0, 1),
)
