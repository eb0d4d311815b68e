"""What does a plan consist of: its arms, its dates, who pays, and what will decide?"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema, model_validator

from upliftlab.errors import DefinitionError
from upliftlab.plan.dated_rates import RATES, DatedRates, Since, dated_problems, since
from upliftlab.plan.definition import (
    FROM_ORDERS,
    Amount,
    AmountPerUnit,
    Columns,
    Day,
    Definition,
    Hurdle,
    MarginField,
    NamedValues,
    Remark,
    Share,
    Text,
    Truth,
)
from upliftlab.plan.quantities import Rate, parse_days, print_days


def as_mapping(found: object) -> object:
    """Read ``who_pays: from_orders`` as the mapping it stands for."""
    return {FROM_ORDERS: True} if found == FROM_ORDERS else found


def without_covariates(found: object) -> object:
    """Read ``covariates: none`` as an empty list."""
    return () if found == "none" else found


def nothing_chosen() -> Any:  # noqa: ANN401 - read by the validator of its field
    """Stand for a mapping that was left out, so that its parts take their defaults."""
    return {}


def no_money() -> Any:  # noqa: ANN401 - read by the validator of its field
    """Stand for an amount that was left out, in the currency of the plan."""
    return "0"


def windows(found: object) -> tuple[int, ...]:
    """Read a list of durations."""
    fix = "write a list such as [14 days, 30 days]"
    if not isinstance(found, list | tuple):
        raise DefinitionError.unreadable("other_windows", found, fix)
    return tuple(sorted({parse_days(each, "other_windows") for each in found}))


Windows = Annotated[
    tuple[int, ...],
    PlainValidator(windows),
    PlainSerializer(lambda windows: [print_days(days) for days in windows]),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]


def confidence(found: object) -> Rate:
    """Read the confidence of intervals."""
    rate = Rate.parse(found, "confidence")
    if not Fraction(1, 2) <= rate.value < 1:
        fix = "write 50% or more, and less than 100%"
        raise DefinitionError.unreadable("confidence", str(rate), fix)
    return rate


Confidence = Annotated[
    Rate,
    PlainValidator(confidence),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["95%"]}),
]


class Arm(Definition):
    """One version of the treatment, and the share of units that gets it.

    Attributes:
        label: As the assignment table writes it.
        share: Of all assigned units; where units switch over time, ``waves`` says who when.
        control: Whether the other arms are compared with this one.
        coupon: Face value.
        over: Order value from which the coupon may be used.
        contact: Money per assigned customer, such as a mailing.
        organic: Commission on sales from a creator's own traffic.
        ads: Commission on sales where paid ads promoted the creator's content.
        agency: Service fee of the creators' agency, on both.
        rates: The same rates where they change over time, in order of time.
        note: For readers.
    """

    LABEL: ClassVar[str] = "label"

    label: Text
    share: Share | None = Field(default=None, examples=["50%"])
    control: Truth = False
    coupon: Amount | None = None
    over: Amount | None = None
    contact: AmountPerUnit | None = None
    organic: Share | None = Field(default=None, examples=["20%"])
    ads: Share | None = Field(default=None, examples=["20%"])
    agency: Share | None = Field(default=None, examples=["3%"])
    rates: tuple[DatedRates, ...] | None = None
    note: Remark = ""

    def told(self, key: str) -> Rate | tuple[Since, ...] | None:
        """One rate as the plan states it: for good, over time, or not at all."""
        once: Rate | None = getattr(self, key)
        return since(self.rates or (), key) or None if once is None else once

    @model_validator(mode="after")
    def _has_each_rate_once(self) -> Self:
        owner = f"arms.{self.label}"
        for key in RATES:
            if getattr(self, key) is not None and since(self.rates or (), key):
                raise DefinitionError.both_given(owner, key, f"rates.{key}")
        for problem in dated_problems(owner, self.rates or ()):
            raise problem
        return self

    @model_validator(mode="after")
    def _needs_a_coupon_for_a_threshold(self) -> Self:
        if self.over is not None and self.coupon is None:
            raise DefinitionError.missing_key(f"arm {self.label!r}", "coupon", "20")
        return self


class Run(Definition):
    """First and last day of assignment, both included, in the shop's time zone."""

    start: Day = Field(examples=["2026-10-08"])
    end: Day = Field(examples=["2026-10-21"])

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.end < self.start:
            raise DefinitionError.out_of_order("run", "start", self.start, "end", self.end)
        return self


class FundingSplit(Definition):
    """Who pays for the coupon: what the order lines say, what the plan states, or both.

    Written ``from_orders``, or ``{merchant: 80%, platform: 20%}``, or both at once as
    ``{from_orders: true, merchant: 80%, platform: 20%}``: then the order lines count and the
    difference is shown.

    Attributes:
        from_orders: Whether the order lines carry the split.
        merchant: Stated share of the merchant.
        platform: Stated share of the platform.
        creator: Stated share of the creator.
    """

    from_orders: Truth = False
    merchant: Share | None = None
    platform: Share | None = None
    creator: Share | None = None

    @property
    def stated(self) -> dict[str, Rate] | None:
        """Party -> stated share, or nothing when only the order lines speak."""
        parties = {name: getattr(self, name) for name in ("merchant", "platform", "creator")}
        given = {name: share for name, share in parties.items() if share is not None}
        return given or None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        stated = self.stated
        if stated is None:
            if not self.from_orders:
                raise DefinitionError.unreadable(
                    "who_pays", {}, "write from_orders or {merchant: 80%, platform: 20%}"
                )
        elif (total := sum((s.value for s in stated.values()), Fraction(0))) != 1:
            parties = list(stated.values())
            raise DefinitionError.shares("the parties of who_pays", parties, Rate(total))
        return self


class Decide(Definition):
    """The rules that turn numbers into a verdict, fixed before looking.

    Attributes:
        worth_it: Least extra profit per unit worth having.
        iroi_at_least: Least extra profit per yuan of treatment cost, at the lower bound.
        must_not_worsen: Guardrail -> how far it may move the wrong way.
        segments: Columns whose segments may be shipped to; others are exploratory.
        both_gain: Whether creators must gain as well for a change to be shipped.
        confidence: Of every interval.
        trends_may_differ: How many times the worst difference of trends seen before a change
            they may differ after it. Where they did move apart before and so much would turn
            the answer, there is no verdict; without this a warning only.
    """

    worth_it: AmountPerUnit = Field(default_factory=no_money, validate_default=True)
    iroi_at_least: Hurdle = Rate(Fraction(0))
    must_not_worsen: NamedValues[MarginField] = Field(
        default_factory=nothing_chosen, validate_default=True
    )
    segments: Columns = ()
    both_gain: Truth = False
    confidence: Confidence = Rate(Fraction(95, 100))
    trends_may_differ: Hurdle | None = None
