"""What is measured beside profit, and how far may it get worse?"""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from upliftlab.errors import DefinitionError
from upliftlab.plan.definition import Definition, MarginField, Text, word_in

ROLES = ("primary", "secondary", "guardrail")
DIRECTIONS = ("up", "down")
PROFIT = "profit"


def _role(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, ROLES)


def _direction(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, DIRECTIONS)


def _two_components(found: object, info: ValidationInfo) -> tuple[str, str]:
    if not isinstance(found, list | tuple) or len(found) != 2:
        fix = "write two components such as [orders_returned, orders_shipped]"
        raise DefinitionError.unreadable(str(info.field_name), found, fix)
    if not all(isinstance(each, str) and each for each in found):
        raise DefinitionError.unreadable(
            str(info.field_name), found, "write names of two components"
        )
    return (found[0], found[1])


Role = Annotated[str, PlainValidator(_role), WithJsonSchema({"enum": list(ROLES)})]
Direction = Annotated[
    str, PlainValidator(_direction), WithJsonSchema({"enum": list(DIRECTIONS)})
]
Ratio = Annotated[
    tuple[str, str],
    PlainValidator(_two_components),
    PlainSerializer(list),
    WithJsonSchema(
        {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}
    ),
]


class Metric(Definition):
    """A number per arm made from components: a mean, a ratio or a share of units that have any.

    Attributes:
        name: How the plan and the page call it.
        mean: Component whose mean per assigned unit is compared.
        ratio: Two components; the sum of the first over the sum of the second is compared.
        count: Component that is counted: the same as a mean, read as how many per unit.
        role: primary, secondary or guardrail; profit is primary unless a metric is.
        direction: Which way is better.
        margin: How far a guardrail may move the wrong way.
    """

    LABEL: ClassVar[str] = "name"

    name: Text
    mean: Text | None = None
    ratio: Ratio | None = None
    count: Text | None = None
    role: Role = "secondary"
    direction: Direction = "up"
    margin: MarginField | None = Field(default=None, examples=["1 point"])

    @property
    def components(self) -> tuple[str, ...]:
        """The components it is made from, the denominator last."""
        return self.ratio or (self.mean or self.count or "",)

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [form for form in ("mean", "ratio", "count") if getattr(self, form)]
        if len(given) != 1:
            raise DefinitionError.one_of(
                f"metric {self.name!r}", given, ("mean", "ratio", "count")
            )
        return self


STANDARD: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name=PROFIT, mean=PROFIT, role="primary"),
        Metric(name="conversion", mean="buyers"),
        Metric(
            name="return_rate", ratio=("orders_returned", "orders_shipped"), direction="down"
        ),
        Metric(name="cancel_rate", ratio=("orders_cancelled", "orders"), direction="down"),
        Metric(name="keep_rate", ratio=("orders_kept", "orders")),
        Metric(name="basket", ratio=("gmv_merchant", "orders")),
    )
}
"""Metrics that a plan may name without defining them."""
