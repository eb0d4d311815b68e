"""How do plain values become a record again?"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from upliftlab.registry.record import (
    ArmMeans,
    Maturity,
    Record,
    RecordedArm,
    RecordedCheck,
    RecordedLine,
    RecordedRung,
    Taken,
)
from upliftlab.stats.estimate import NAN, Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping

_ESTIMATES = frozenset(
    {"profit", "realised", "rollout", "spend", "iroi", "segment_at_stake", "effect"}
)
_NAMES = {
    kind: frozenset(each.name for each in fields(kind))
    for kind in (
        Record,
        RecordedArm,
        RecordedRung,
        RecordedLine,
        RecordedCheck,
        Maturity,
        Taken,
    )
}
_NUMBERS = {
    kind: frozenset(each.name for each in fields(kind) if each.type == "float")
    for kind in _NAMES
}
_MEASURED = {kind: tuple(_ESTIMATES & names) for kind, names in _NAMES.items()}


def record_from(values: Mapping[str, Any]) -> Record:
    """Read a record from the values that ``Record.to_dict`` wrote.

    Keys that this version does not know are left out, keys that are missing take their default.

    Examples:
        >>> record_from(Record(name="spring", owner="Li").to_dict()).owner
        'Li'
    """
    known = _known(Record, values)
    known["arms"] = tuple(_arm(each) for each in known.get("arms") or ())
    known["checks"] = tuple(_made(RecordedCheck, each) for each in known.get("checks") or ())
    known["maturity"] = _made(Maturity, known.get("maturity") or {})
    known["decisions"] = tuple(_made(Taken, each) for each in known.get("decisions") or ())
    known["means"] = _means(known.get("means"))
    for name in ("deviations", "notes", "supersedes"):
        known[name] = tuple(known.get(name) or ())
    return Record(**known)


def taken_from(values: Mapping[str, Any]) -> Taken:
    """Read a decision."""
    found: Taken = _made(Taken, values)
    return found


def estimate_from(values: Mapping[str, Any]) -> Estimate:
    """Read an estimate; what was left out is at its default, null is NaN.

    Examples:
        >>> estimate_from({"name": "iROI", "estimate": None, "shape": "none"}).shape
        'none'
    """
    known: dict[str, Any] = {**values}
    if None in known.values():
        known = {key: NAN if each is None else each for key, each in known.items()}
    if isinstance(known.get("df"), float) and math.isnan(known["df"]):
        known["df"] = math.inf
    return Estimate(**known)


def _arm(values: Mapping[str, Any]) -> RecordedArm:
    known = _known(RecordedArm, values)
    known["ladder"] = tuple(_made(RecordedRung, each) for each in known.get("ladder") or ())
    known["lines"] = tuple(_made(RecordedLine, each) for each in known.get("lines") or ())
    known["reasons"] = tuple(known.get("reasons") or ())
    return RecordedArm(**known)


def _made(kind: Any, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - one of the kinds above
    return kind(**_known(kind, values))


def _known(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - as above
    names = _NAMES[kind]
    if values.keys() <= names:
        out = {**values}
    else:
        out = {key: each for key, each in values.items() if key in names}
    if None in out.values():
        out.update((key, NAN) for key in _NUMBERS[kind] if out.get(key, 0) is None)
    for key in _MEASURED[kind]:
        value = out.get(key)
        if isinstance(value, dict):
            out[key] = estimate_from(value)
    return out


def _means(values: Mapping[str, Any] | None) -> ArmMeans | None:
    if values is None:
        return None
    return ArmMeans(
        arms=tuple(values["arms"]),
        control=values["control"],
        names=tuple(values["names"]),
        n=tuple(values["n"]),
        mean=_rows(values["mean"]),
        cov=_rows(values["cov"]),
        df=tuple(math.inf if each is None else each for each in values["df"]),
    )


def _rows(values: list[list[float | None]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(NAN if each is None else each for each in row) for row in values)
