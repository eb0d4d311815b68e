"""Which lines can an order's P&L have, at which stage, and who gets the money?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One kind of cost that a plan can state or the data can measure.

    Attributes:
        name: Key in the plan's ``costs``.
        label: Words for readers.
        stage: Where in the journey it arises.
        kind: "rate" (share of the base), "money" (amount per unit of the base) or "measured".
        bases: Components that the rate multiplies; their sum is the base.
        fallback: Bases to use, first found, where ``bases`` are not measured.
        measured_as: Money component that replaces the rate; empty where none can.
        receiver: Party that gets what the merchant pays; empty for outsiders.
        in_margin: Whether one stated margin already covers it.
        is_expected: Whether a profit without it should say that it is missing.
        returned_on_refund: Whether a refund gives it back.
    """

    name: str
    label: str
    stage: str
    kind: str
    bases: tuple[str, ...]
    fallback: tuple[str, ...] = ()
    measured_as: str = "-"
    receiver: str = ""
    in_margin: bool = False
    is_expected: bool = True
    returned_on_refund: bool = True


_KEPT = ("kept_sales",)
_SALES = ("gmv_merchant", "gmv_platform")
_CREATOR = ("kept_creator_organic", "kept_creator_ads")
_ORDERS = ("orders",)
_PARCELS = ("orders_shipped",)

COST_LINES: tuple[CostLine, ...] = (
    CostLine(
        name="goods",
        label="cost of goods",
        stage="shipment",
        kind="rate",
        bases=("kept_sales", "kept_merchant_coupon"),
        fallback=(*_KEPT, *_SALES),
        measured_as="goods",
        in_margin=True,
    ),
    CostLine(
        name="write_off",
        label="markdown of returned goods",
        stage="return",
        kind="rate",
        bases=("goods_returned",),
        returned_on_refund=False,
    ),
    CostLine(
        name="outbound",
        label="outbound shipping",
        stage="shipment",
        kind="money",
        bases=_PARCELS,
        fallback=_ORDERS,
        receiver="carrier",
        in_margin=True,
        returned_on_refund=False,
    ),
    CostLine(
        name="packaging",
        label="packaging",
        stage="shipment",
        kind="money",
        bases=_PARCELS,
        fallback=_ORDERS,
        in_margin=True,
        returned_on_refund=False,
    ),
    CostLine(
        name="freight_insurance",
        label="freight insurance",
        stage="shipment",
        kind="money",
        bases=_PARCELS,
        fallback=_ORDERS,
        returned_on_refund=False,
    ),
    CostLine(
        name="return_shipping",
        is_expected=False,
        label="return shipping, uninsured",
        stage="return",
        kind="money",
        bases=("orders_returned",),
        receiver="carrier",
        returned_on_refund=False,
    ),
    CostLine(
        name="return_handling",
        label="handling of returns",
        stage="return",
        kind="money",
        bases=("orders_returned",),
        returned_on_refund=False,
    ),
    CostLine(
        name="tech_fee",
        label="platform technical service fee",
        stage="settlement",
        kind="rate",
        bases=_KEPT,
        fallback=_SALES,
        receiver="platform",
    ),
    CostLine(
        name="payment_fee",
        label="payment fee",
        stage="payment",
        kind="rate",
        bases=_KEPT,
        fallback=_SALES,
        receiver="platform",
    ),
    CostLine(
        name="commission",
        label="creator commission, as booked",
        stage="settlement",
        kind="measured",
        bases=(),
        measured_as="commission",
        receiver="creator",
    ),
    CostLine(
        name="commission_organic",
        is_expected=False,
        label="creator commission, organic rate",
        stage="settlement",
        kind="rate",
        bases=("kept_creator_organic",),
        receiver="creator",
    ),
    CostLine(
        name="commission_ads",
        is_expected=False,
        label="creator commission, ads rate",
        stage="settlement",
        kind="rate",
        bases=("kept_creator_ads",),
        receiver="creator",
    ),
    CostLine(
        name="agency",
        is_expected=False,
        label="agency service fee",
        stage="settlement",
        kind="rate",
        bases=_CREATOR,
        fallback=_CREATOR,
        measured_as="agency_fee",
        receiver="agency",
    ),
    CostLine(
        name="gift",
        is_expected=False,
        label="gifts",
        stage="shipment",
        kind="money",
        bases=_ORDERS,
        returned_on_refund=False,
    ),
    CostLine(
        name="service",
        label="customer service",
        stage="order",
        kind="money",
        bases=_ORDERS,
        returned_on_refund=False,
    ),
    CostLine(
        name="tax",
        label="taxes",
        stage="settlement",
        kind="rate",
        bases=_KEPT,
        fallback=_SALES,
        receiver="state",
    ),
    CostLine(
        name="capital",
        is_expected=False,
        label="cost of capital",
        stage="settlement",
        kind="rate",
        bases=_KEPT,
        fallback=_SALES,
    ),
    CostLine(
        name="member_benefit",
        is_expected=False,
        label="member benefits and points",
        stage="repurchase",
        kind="rate",
        bases=_KEPT,
        fallback=_SALES,
        receiver="customer",
    ),
)
"""The cost lines below sales, in the order of a P&L. Sales, coupons, cancellations and returns
are measured; contact cost and ad spend belong to arms; fixed costs are outside contribution."""

STATED_KINDS: dict[str, str] = {line.name: line.kind for line in COST_LINES}
"""Cost key -> "rate", "money" or "measured": what a plan may write there."""

PRESETS: dict[str, dict[str, float | str]] = {
    "douyin_apparel": {
        "goods": "from_orders",
        "write_off": 0.08,
        "outbound": 320.0,
        "packaging": 100.0,
        "freight_insurance": 250.0,
        "return_handling": 150.0,
        "tech_fee": 0.044,
        "payment_fee": 0.006,
        "commission": "from_orders",
        "gift": 50.0,
        "service": 60.0,
        "tax": 0.03,
    },
}
"""Typical costs of apparel sold in live rooms; rates are shares, money is in minor units. Every
line taken from a preset is marked assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """One line that an order's full P&L can have, and where this package holds it.

    Attributes:
        number: Position in the P&L.
        label: Words for readers.
        stage: Where in the journey it arises.
        payer: Who pays it; "-" for bases.
        held_as: Component, cost key of a plan, or "fixed" for costs outside contribution.
        returned_on_refund: Whether a refund gives it back.
    """

    number: int
    label: str
    stage: str
    payer: str
    held_as: str
    returned_on_refund: bool = True


def _ledger() -> tuple[LedgerLine, ...]:
    rows = (
        ("list price", "card", "-", "gmv_list", True),
        ("merchant markdown", "card", "merchant", "gmv_platform", True),
        ("coupon paid by the merchant", "order", "merchant", "merchant_coupon", True),
        ("coupon paid by the platform", "order", "platform", "platform_coupon", True),
        ("coupon paid by the creator", "order", "creator", "creator_coupon", True),
        ("promotion of the payment channel", "payment", "channel", "payment_promo", True),
        ("cash paid by the customer", "payment", "customer", "cash", True),
        ("settlement base", "receipt", "-", "gmv_merchant", True),
        ("cancelled before shipping", "order", "-", "cancelled_sales", False),
        ("returned after receipt", "return", "-", "returned_sales", False),
        ("cost of goods", "shipment", "merchant", "goods", True),
        ("markdown of returned goods", "return", "merchant", "write_off", False),
        ("outbound shipping", "shipment", "merchant", "outbound", False),
        ("packaging", "shipment", "merchant", "packaging", False),
        ("freight insurance", "shipment", "merchant", "freight_insurance", False),
        ("return shipping, uninsured", "return", "merchant", "return_shipping", False),
        ("handling of returns", "return", "merchant", "return_handling", False),
        ("technical service fee", "settlement", "merchant", "tech_fee", True),
        ("payment fee", "payment", "merchant", "payment_fee", True),
        ("creator commission, organic", "settlement", "merchant", "commission_organic", True),
        ("creator commission, ads", "settlement", "merchant", "commission_ads", True),
        ("agency service fee", "settlement", "merchant", "agency", True),
        ("creator fixed fee and samples", "pre-live", "merchant", "fixed", False),
        ("ad spend", "impression", "merchant", "ad_spend", False),
        ("ROI credits and fee rebates", "period", "platform", "fixed", False),
        ("gifts", "shipment", "merchant", "gift", False),
        ("customer service", "order", "merchant", "service", False),
        ("taxes", "settlement", "merchant", "tax", True),
        ("payroll, rent, software", "period", "merchant", "fixed", False),
        ("cost of capital", "period", "merchant", "capital", False),
        ("member benefits and points", "repurchase", "merchant", "member_benefit", False),
    )
    return tuple(
        LedgerLine(
            number=number,
            label=label,
            stage=stage,
            payer=payer,
            held_as=held_as,
            returned_on_refund=back,
        )
        for number, (label, stage, payer, held_as, back) in enumerate(rows, start=1)
    )


LEDGER_LINES = _ledger()
"""All lines of an order's P&L. Credits are usually not cash and stay below the headline."""
