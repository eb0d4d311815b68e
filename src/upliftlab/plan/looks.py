"""What may a plan say about looking before the end?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from upliftlab.components import MONEY
from upliftlab.errors import DefinitionError
from upliftlab.plan.definition import (
    Amount,
    Days,
    Definition,
    FrozenDict,
    Share,
    Whole,
    word_in,
)
from upliftlab.plan.quantities import print_days

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

METHODS = ("always_valid", "group_sequential")
SPENDING = ("obrien_fleming", "pocock", "hwang_shih_decani", "power")
DESIGNS = ("user_split", "cluster_split")
FEWEST_UNITS, FEWEST_ACTIVE = 250, 50
"""What the smaller arm must have before a look; means of skewed profit are not normal below."""


def _method(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, METHODS)


def _spending(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, SPENDING)


def _number(found: object, info: ValidationInfo) -> float:
    name = info.field_name or "value"
    try:
        return float(str(found))
    except ValueError:
        raise DefinitionError.unreadable(name, found, "write a number such as -4") from None


def _bounds(found: object) -> FrozenDict[str, tuple[float, float]]:
    fix = "write lines such as kept_buyers: [0, 1]"
    if not hasattr(found, "items"):
        raise DefinitionError.unreadable("bounded", found, fix)
    out = {}
    for name, pair in found.items():
        try:
            low, high = (float(str(each)) for each in pair)
        except (TypeError, ValueError):
            raise DefinitionError.unreadable(f"bounded.{name}", pair, fix) from None
        if not low < high:
            fix = "write the smallest value first, then the largest"
            raise DefinitionError.unreadable(f"bounded.{name}", pair, fix)
        out[str(name)] = (low, high)
    return FrozenDict(out)


MethodWord = Annotated[str, PlainValidator(_method), WithJsonSchema({"enum": list(METHODS)})]
SpendingWord = Annotated[
    str, PlainValidator(_spending), WithJsonSchema({"enum": list(SPENDING)})
]
Number = Annotated[
    float, PlainValidator(_number), WithJsonSchema({"type": ["number", "string"]})
]
Bounds = Annotated[
    FrozenDict[str, tuple[float, float]],
    PlainValidator(_bounds),
    PlainSerializer(lambda named: {name: list(pair) for name, pair in named.items()}),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {
                "type": "array",
                "items": {"type": ["number", "string"]},
                "minItems": 2,
                "maxItems": 2,
            },
        }
    ),
]


class Looks(Definition):
    """How the test may be looked at while it runs, fixed before the first look.

    Attributes:
        planned: Units of all arms at the plan's end.
        method: ``always_valid`` looks whenever it likes; ``group_sequential`` is tighter with
            a handful of looks.
        spending: How fast a group-sequential design spends its error; ``obrien_fleming``
            unless said.
        parameter: Of Hwang, Shih and DeCani, or of the power family.
        tuned_at: Units of all arms at which always-valid ranges are tightest; ``planned``
            unless said.
        first_units: Units with a closed window that the smaller arm needs first.
        first_active: Of them, units with an outcome other than 0.
        every: Days between looks.
        age: Days from assignment at which every unit is read; ``follow_up`` unless said.
        detect: Extra profit per unit that the test is meant to find; for conditional power.
        futility: Conditional power below which going on is called futile; it never binds.
        bounded: Component -> its smallest and largest value per unit; such metrics get ranges
            without any approximation.
    """

    planned: Whole = Field(examples=["400000"])
    method: MethodWord = "always_valid"
    spending: SpendingWord | None = None
    parameter: Number | None = None
    tuned_at: Whole | None = None
    first_units: Whole = FEWEST_UNITS
    first_active: Whole = FEWEST_ACTIVE
    every: Days = 7
    age: Days | None = None
    detect: Amount | None = None
    futility: Share | None = None
    bounded: Bounds = FrozenDict()


def looks_rules(
    valid: Mapping[str, Any],
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    """Find what contradicts a plan that looks early."""
    looks = valid.get("looks")
    if looks is None:
        return
    design = valid.get("design")
    if design not in DESIGNS:
        wanted = "design: user_split"
        yield ("looks",), DefinitionError.needs_beside("looks", wanted, str(design))
    yield from _sizes(looks, valid)
    yield from _words(looks)
    windows = {valid.get("follow_up"), *(valid.get("other_windows") or ())} - {None}
    if looks.age is not None and looks.age not in windows:
        shown = ", ".join(print_days(days) for days in sorted(windows)) or "none"
        message = f"looks.age is {print_days(looks.age)}; the plan's windows are {shown}."
        yield ("looks", "age"), DefinitionError(message)
    for name in looks.bounded:
        if name in MONEY or name == "profit":
            message = (
                f"looks.bounded names {name!r}, which is money; cutting it off would answer "
                "another question than the plan's. Take it out."
            )
            yield ("looks", "bounded", name), DefinitionError(message)


def _sizes(
    looks: Looks, valid: Mapping[str, Any]
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    for key, least in (("first_units", FEWEST_UNITS), ("first_active", FEWEST_ACTIVE)):
        if getattr(looks, key) < least:
            fix = f"write {least} or more: below, ranges do not hold what they promise"
            yield (
                ("looks", key),
                DefinitionError.unreadable(f"looks.{key}", str(getattr(looks, key)), fix),
            )
    shares = [float(arm.share) for arm in valid.get("arms") or () if arm.share is not None]
    first = looks.first_units / min(shares) if shares and min(shares) > 0 else 0.0
    for key in ("planned", "tuned_at"):
        found = getattr(looks, key)
        if found is not None and found < first:
            message = (
                f"looks.{key} is {found:,}; the first permitted look needs {first:,.0f} units "
                f"({looks.first_units:,} in the smallest arm), and it cannot come later."
            )
            yield ("looks", key), DefinitionError(message)


def _words(looks: Looks) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    if looks.method == "always_valid":
        for key in ("spending", "parameter"):
            if getattr(looks, key) is not None:
                wanted = "method: group_sequential"
                yield (
                    ("looks", key),
                    DefinitionError.needs_beside(f"looks.{key}", wanted, looks.method),
                )
    elif looks.tuned_at is not None:
        wanted = "method: always_valid"
        yield (
            ("looks", "tuned_at"),
            DefinitionError.needs_beside("looks.tuned_at", wanted, looks.method),
        )
    if looks.futility is not None and looks.detect is None:
        example = "0.05 yuan"
        yield (
            ("looks", "futility"),
            DefinitionError.missing_key("looks with futility", "detect", example),
        )
