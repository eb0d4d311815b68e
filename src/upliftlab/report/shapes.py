"""Which shapes is a JSON schema made of?"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
MAYBE: Schema = {"type": ["number", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}


def an_object(properties: dict[str, Schema]) -> Schema:
    """An object that holds all these keys."""
    return {"type": "object", "required": list(properties), "properties": properties}


def a_map(values: Schema) -> Schema:
    """An object whose keys come from the data."""
    return {"type": "object", "additionalProperties": values}


def a_list(name: str) -> Schema:
    """A list of what is defined under that name."""
    return {"type": "array", "items": ref(name)}


def texts() -> Schema:
    """A list of sentences or names."""
    return {"type": "array", "items": TEXT}


def ref(name: str) -> Schema:
    """What is defined under that name."""
    return {"$ref": f"#/$defs/{name}"}


def said(words: str, schema: Schema | None = None) -> Schema:
    """A schema with words on what it holds; text unless said."""
    return {"description": words, **(schema or TEXT)}
