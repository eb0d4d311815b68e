"""What does an order cost, as far as the plan says so?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema

from upliftlab.lines import PRESETS, STATED_KINDS
from upliftlab.plan.definition import (
    Amount,
    AmountPerUnit,
    Definition,
    FromOrders,
    FrozenDict,
    NamedValues,
    Share,
    ShareOrOrders,
    word_in,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.plan.quantities import Money, Rate

VAT = ("included", "excluded")

SAID_TWICE = (
    ("margin", "preset"),
    ("margin", "goods"),
    ("commission", "commission_organic"),
    ("commission", "commission_ads"),
)
"""Pairs of keys of which a plan may have one."""


def _preset(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, PRESETS)


def _vat(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, VAT)


Preset = Annotated[str, PlainValidator(_preset), WithJsonSchema({"enum": sorted(PRESETS)})]
Vat = Annotated[str, PlainValidator(_vat), WithJsonSchema({"enum": list(VAT)})]


class Costs(Definition):
    """Cost lines: one margin, a preset, a full table, or a preset with own lines over it.

    Every line is a rate, or money per order, parcel or return; ``from_orders`` says that the
    order lines carry it. What a line is charged on stands in ``upliftlab.lines``.

    Attributes:
        margin: Profit per yuan of sales before the coupon, for all lines that it covers.
        preset: Typical costs, marked assumed; lines given beside it replace its lines.
        contact: Money per assigned customer of a treated arm, such as a mailing.
        ad_spend: Arm -> plan-level ad spend of the whole run.
        fixed: Name -> money that the treatment does not change; needed to tie to the books.
        vat: Whether amounts include value-added tax.
        vat_rate: Rate of value-added tax, to show the other basis.
    """

    margin: Share | None = None
    preset: Preset | None = None
    goods: ShareOrOrders | None = None
    write_off: Share | None = None
    outbound: AmountPerUnit | None = None
    packaging: AmountPerUnit | None = None
    freight_insurance: AmountPerUnit | None = None
    return_shipping: AmountPerUnit | None = None
    return_handling: AmountPerUnit | None = None
    tech_fee: Share | None = None
    payment_fee: Share | None = None
    commission: FromOrders | None = None
    commission_organic: Share | None = None
    commission_ads: Share | None = None
    agency: ShareOrOrders | None = None
    gift: AmountPerUnit | None = None
    service: AmountPerUnit | None = None
    tax: Share | None = None
    capital: Share | None = None
    member_benefit: Share | None = None
    contact: AmountPerUnit | None = None
    ad_spend: NamedValues[Amount] = Field(default=FrozenDict(), examples=["{coupon: 5000}"])
    fixed: NamedValues[Amount] = Field(default=FrozenDict(), examples=["{rent: 90000}"])
    vat: Vat = "included"
    vat_rate: Share | None = None

    @property
    def lines(self) -> Mapping[str, Rate | Money | str]:
        """Cost line -> what the plan says about it, for the lines that it names."""
        named = {name: getattr(self, name) for name in STATED_KINDS}
        return {name: value for name, value in named.items() if value is not None}
