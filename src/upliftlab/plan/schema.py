"""Which keys and words can an editor offer while an experiment is written?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from upliftlab.plan.quantities import Money, Points, Rate

if TYPE_CHECKING:
    from upliftlab.plan.definition import Definition

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


class _PlainDefaults(GenerateJsonSchema):
    """Show defaults the way they would be written."""

    def encode_default(self, dft: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
        if isinstance(dft, Rate | Points | Money):
            return str(dft)
        if isinstance(dft, Mapping):
            return dict(dft)
        return super().encode_default(dft)


def schema_of(
    plan: type[Definition],
    *,
    rows: Mapping[str, str],
    also: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Describe a plan in JSON Schema, draft 2020-12, in the form in which it is written.

    Args:
        plan: The definition to describe.
        rows: Name of a kind of row -> the field that is written as its key.
        also: Key of the plan -> a second form in which it may be written.
    """
    schema = plan.model_json_schema(mode="validation", schema_generator=_PlainDefaults)
    parts = dict(schema["$defs"])
    for name, label in rows.items():
        parts[name] = _without(parts[name], label)
    properties = dict(schema["properties"])
    for key, form in also.items():
        known = properties[key]
        forms = known.get("anyOf", [{k: v for k, v in known.items() if k != "default"}])
        properties[key] = {"anyOf": [*forms, dict(form)]}
    return {"$schema": _DRAFT, **schema, "$defs": parts, "properties": properties}


def _without(row: Mapping[str, Any], label: str) -> dict[str, Any]:
    return {
        **row,
        "properties": {key: form for key, form in row["properties"].items() if key != label},
        "required": [key for key in row.get("required", ()) if key != label],
    }
