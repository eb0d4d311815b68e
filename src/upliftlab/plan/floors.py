"""What does a plan ask for within single segments?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from upliftlab.components import ALIASES, COUNTS
from upliftlab.errors import DefinitionError, nearest
from upliftlab.plan.definition import FrozenDict
from upliftlab.plan.quantities import Rate

TREATED = "treated"
"""What a floor asks for beside counts: the share of the segment that is treated."""

_WHERE = "at_least_in"


def split_label(label: str) -> tuple[str, str]:
    """Take a segment's label apart.

    Examples:
        >>> split_label("is_member = yes")
        ('is_member', 'yes')
    """
    column, _, level = label.partition("=")
    return column.strip(), level.strip()


def _floors(found: object) -> FrozenDict[str, FrozenDict[str, int | Rate]]:
    """Read segment -> what -> how much at least."""
    fix = 'write lines such as "is_member = yes": {new_customers: 300, treated: 10%}'
    if not isinstance(found, Mapping) or not found:
        raise DefinitionError.unreadable(_WHERE, found, fix)
    out: dict[str, FrozenDict[str, int | Rate]] = {}
    for label, asked in found.items():
        column, level = split_label(str(label))
        if not column or not level or not isinstance(asked, Mapping) or not asked:
            raise DefinitionError.unreadable(_WHERE, {label: asked}, fix)
        key = f"{column} = {level}"
        if key in out:
            raise DefinitionError.unreadable(_WHERE, key, "each segment must come once")
        out[key] = FrozenDict({name: _amount(key, name, each) for name, each in asked.items()})
    return FrozenDict(out)


def _amount(segment: str, name: str, found: object) -> int | Rate:
    if name == TREATED:
        rate = found if isinstance(found, Rate) else Rate.parse(found, f"{_WHERE}.{TREATED}")
        if not 0 < rate.value <= 1:
            raise _refused(segment, name, rate, "write more than 0%, at most 100%")
        return rate
    if ALIASES.get(name, name) not in COUNTS:
        known = (TREATED, *COUNTS)
        raise _refused(
            segment, name, found, f"write one of {sorted(known)}{nearest(name, known)}"
        )
    text = str(found).strip()
    if isinstance(found, bool) or not text.isdigit() or int(text) == 0:
        raise _refused(segment, name, found, "write a whole number above 0, such as 300")
    return int(text)


def _refused(segment: str, name: str, found: object, fix: str) -> DefinitionError:
    message = f"target.{_WHERE} asks {segment!r} for {name} of {str(found)!r}; {fix}."
    return DefinitionError(message)


def _written(floors: Mapping[str, Mapping[str, int | Rate]]) -> dict[str, dict[str, int | str]]:
    return {
        label: {name: str(x) if isinstance(x, Rate) else x for name, x in asked.items()}
        for label, asked in floors.items()
    }


SegmentFloors = Annotated[
    FrozenDict[str, FrozenDict[str, int | Rate]],
    PlainValidator(_floors),
    PlainSerializer(_written),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": {"type": ["integer", "string"]},
            },
        }
    ),
]
