"""What may a plan say about units that switch at different times?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from upliftlab.errors import DefinitionError
from upliftlab.plan.definition import FrozenDict
from upliftlab.plan.quantities import parse_date, print_days
from upliftlab.plan.words import ROLLOUT_DESIGNS

KEYS = ("period", "observe", "announced", "ramp", "special_days", "waves")
"""Keys that only a roll-out has."""


def special_days(found: object) -> FrozenDict[str, tuple[date, date]]:
    """Read names with their first and last day."""
    if not isinstance(found, Mapping):
        fix = "write lines such as 618: [2026-06-16, 2026-06-20]"
        raise DefinitionError.unreadable("special_days", found, fix)
    return FrozenDict({str(name): _days_of(str(name), days) for name, days in found.items()})


SpecialDays = Annotated[
    FrozenDict[str, tuple[date, date]],
    PlainValidator(special_days),
    PlainSerializer(
        lambda named: {name: [day.isoformat() for day in days] for name, days in named.items()}
    ),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {
                "type": "array",
                "items": {"type": "string", "format": "date"},
                "minItems": 2,
                "maxItems": 2,
            },
        }
    ),
]


def rollout_rules(
    valid: Mapping[str, Any],
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    """Find what a plan with a roll-out lacks, and what a plan without one cannot have."""
    design = valid.get("design")
    if design is None:
        return
    if design in ROLLOUT_DESIGNS:
        yield from _needed(valid, str(design))
    else:
        wanted = "design: staggered"
        for key in KEYS:
            if valid.get(key):
                yield (key,), DefinitionError.needs_beside(key, wanted, str(design))
        yield from _shares(valid)
    decide = valid.get("decide")
    if design != "staggered" and decide is not None and decide.trends_may_differ is not None:
        yield (
            ("decide", "trends_may_differ"),
            DefinitionError.needs_beside(
                "decide.trends_may_differ", "design: staggered", str(design)
            ),
        )
    yield from _one_sided(valid)
    yield from _dated(valid, str(design))
    if valid.get("kind") == "dual_commission":
        yield from _rates(valid)


def _needed(
    valid: Mapping[str, Any], design: str
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    owner = f"design {design!r}"
    examples = {"period": "day" if design == "switchback" else "week"}
    for key, example in examples.items():
        if key in valid and valid[key] is None:
            yield ("design",), DefinitionError.missing_key(owner, key, example)
    yield from _no_money_per_unit(valid)
    assign = valid.get("assign")
    if valid.get("strata") and (assign is None or assign.waves is None):
        wanted = "design: user_split, or with assign.waves"
        yield ("strata",), DefinitionError.needs_beside("strata", wanted, design)
    if valid.get("follow_up"):
        wanted = "design: user_split"
        yield ("follow_up",), DefinitionError.needs_beside("follow_up", wanted, design)
    data = valid.get("data")
    from_orders = data is not None and (data.order_lines or data.simulate)
    if data is not None and data.grain != "panel" and not from_orders:
        example = "{file: data/creator_week.parquet, money: yuan}"
        yield ("data",), DefinitionError.missing_key(f"data of {owner}", "panel", example)
    arms = valid.get("arms") or ()
    if len(arms) > 2 and design != "staggered":
        labels = ", ".join(arm.label for arm in arms if not arm.control)
        message = (
            f"design {design!r} compares one change with what was before; arms {labels} are "
            "several. Write one plan for each, on the same panel."
        )
        yield ("arms",), DefinitionError(message)


def _one_sided(
    valid: Mapping[str, Any],
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    """A rate of one arm only would price the other at nothing."""
    arms = valid.get("arms") or ()
    for key in ("organic", "ads", "agency"):
        silent = [arm for arm in arms if arm.told(key) is None]
        if key != "agency" and valid.get("kind") == "dual_commission":
            continue
        if silent and len(silent) < len(arms):
            label = silent[0].label
            yield (
                ("arms", label),
                DefinitionError.missing_key(f"arms.{label}", key, "20%, or 0"),
            )


def _dated(
    valid: Mapping[str, Any], design: str
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    """Rates change over time only where waves are followed; control has no change."""
    for arm in valid.get("arms") or ():
        place = ("arms", arm.label, "rates")
        if arm.rates and design != "staggered":
            yield place, DefinitionError.needs_beside("rates", "design: staggered", design)
        for row in arm.rates or () if arm.control else ():
            if row.after is not None:
                fix = "write start and a day: control has no change that time could count from"
                yield (
                    place,
                    DefinitionError.unreadable(
                        f"arms.{arm.label}.rates.after", print_days(row.after), fix
                    ),
                )


def _no_money_per_unit(
    valid: Mapping[str, Any],
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    """Money per assigned unit has no place where units are followed over time."""
    costs = valid.get("costs")
    places: list[tuple[str | int, ...]] = [
        ("costs", key) for key in ("contact", "ad_spend") if costs and getattr(costs, key)
    ]
    places += [("arms", arm.label, "contact") for arm in valid.get("arms") or () if arm.contact]
    for path in places:
        column = "ad_spend" if path[-1] == "ad_spend" else "contact_cost"
        yield (
            path,
            DefinitionError(
                f"{'.'.join(map(str, path))} is money per assigned unit, and a roll-out "
                f"follows units over time; put it into the panel as the column {column}."
            ),
        )


def _shares(
    valid: Mapping[str, Any],
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    for arm in valid.get("arms") or ():
        if arm.share is None:
            yield (
                ("arms", arm.label),
                DefinitionError.missing_key(f"arms.{arm.label}", "share", "50%"),
            )


def _rates(
    valid: Mapping[str, Any],
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    costs, data = valid.get("costs"), valid.get("data")
    by_terms = data is not None and data.creator_terms is not None
    arms = valid.get("arms") or ()
    for arm in arms:
        for key in ("organic", "ads"):
            if arm.told(key) is None and not by_terms:
                yield (
                    ("arms", arm.label),
                    DefinitionError.missing_key(f"arms.{arm.label}", key, "20%"),
                )
    for key in ("commission_organic", "commission_ads", "agency"):
        arm_key = key.removeprefix("commission_")
        stated = any(arm.told(arm_key) is not None for arm in arms)
        if costs is not None and stated and getattr(costs, key) is not None:
            yield (
                ("costs", key),
                DefinitionError.both_given("the plan", f"arms.{arm_key}", f"costs.{key}"),
            )


def _days_of(name: str, days: object) -> tuple[date, date]:
    where = f"special_days.{name}"
    if not isinstance(days, list | tuple) or len(days) != 2:
        fix = "write its first and last day, such as [2026-06-16, 2026-06-20]"
        raise DefinitionError.unreadable(where, days, fix)
    first, last = (parse_date(day, where) for day in days)
    if last < first:
        raise DefinitionError.out_of_order(where, "its first day", first, "its last", last)
    return first, last
