"""How does what somebody wrote become a checked, frozen value, and every mistake a sentence?"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import core_schema

from upliftlab.errors import DefinitionError, Problem
from upliftlab.plan.quantities import (
    Margin,
    Money,
    Rate,
    parse_date,
    parse_days,
    parse_margin,
    print_days,
)

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

    from upliftlab.plan.yaml_source import Document

FROM_ORDERS = "from_orders"
"""What a plan writes where the order lines carry the number."""

K = TypeVar("K")
V = TypeVar("V")


class Definition(BaseModel):
    """Part of a plan: frozen, and strict about the keys it has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - each field reads its own
        try:
            super().__init__(**values)
        except ValidationError as error:
            owner = type(self).__name__
            found = problems_of(error, type(self), values, owner=owner, document=None)
            raise DefinitionError(*found) from None

    # Parts inside a plan are validated with it, so that all problems come at once.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


class FrozenDict(dict[K, V]):
    """A mapping that can be read, hashed and pickled, not changed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return type(self), (dict(self),)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        message = "a plan does not change; make a new one with replace(...)"
        raise TypeError(message)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


@dataclass(frozen=True, slots=True)
class Labelled:
    """A field written as ``label: {...}`` and held as a tuple of rows that know their label."""

    key: str

    def rows(self, found: object) -> object:
        """Turn a mapping into rows."""
        if isinstance(found, list | tuple) and found and isinstance(found[0], Definition):
            return tuple(found)
        if not isinstance(found, Mapping):
            fix = f"write one line for each, such as {self.key}: {{...}}"
            raise DefinitionError.unreadable(self.key, found, fix)
        return tuple(
            {self.key: label, **row} if isinstance(row, Mapping) else row
            for label, row in found.items()
        )

    def written(
        self, rows: object, handler: Callable[[object], list[dict[str, Any]]]
    ) -> object:
        """Turn rows back into a mapping."""
        return {row.pop(self.key): row for row in handler(rows)}

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        rows = handler(source)
        return core_schema.no_info_before_validator_function(
            self.rows,
            rows,
            serialization=core_schema.wrap_serializer_function_ser_schema(
                self.written, schema=rows
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "object", "additionalProperties": handler(schema)["items"]}


def text_of(found: object, info: ValidationInfo) -> str:
    """Take text as it is; a number typed in Python is not a label."""
    if not isinstance(found, str) or not found.strip():
        raise DefinitionError.unreadable(_name(info), found, "write text, or leave the key out")
    return found


def word_in(found: object, info: ValidationInfo, allowed: Collection[str]) -> str:
    """Take one of a few words."""
    if not isinstance(found, str):
        raise DefinitionError.unreadable(_name(info), found, f"write one of {sorted(allowed)}")
    if found not in allowed:
        raise DefinitionError.unknown_word(_name(info), found, allowed)
    return found


def _word_or_nothing(found: object, info: ValidationInfo) -> str:
    return "" if found == "" else text_of(found, info)


def _whole(found: object, info: ValidationInfo) -> int:
    text = str(found) if isinstance(found, int) and not isinstance(found, bool) else found
    if not isinstance(text, str) or not re.fullmatch("[0-9]{1,15}", text):
        raise DefinitionError.unreadable(
            _name(info), found, "write a whole number such as 1200000"
        )
    return int(text)


def _truth(found: object, info: ValidationInfo) -> bool:
    if isinstance(found, bool):
        return found
    if found not in {"true", "false"}:
        raise DefinitionError.unreadable(_name(info), found, "write true or false")
    return found == "true"


def _share_or_orders(found: object, info: ValidationInfo) -> Rate | str:
    return FROM_ORDERS if found == FROM_ORDERS else _share(found, info)


def _from_orders(found: object, info: ValidationInfo) -> str:
    if found != FROM_ORDERS:
        raise DefinitionError.unreadable(_name(info), found, f"write {FROM_ORDERS}")
    return FROM_ORDERS


def _share(found: object, info: ValidationInfo) -> Rate:
    rate = Rate.parse(found, _name(info))
    if not 0 <= rate.value <= 1:
        raise DefinitionError.unreadable(_name(info), str(rate), "write 0% to 100%")
    return rate


def _hurdle(found: object, info: ValidationInfo) -> Rate:
    try:
        return Rate(Rate.parse(f"{found} decimal").value)
    except DefinitionError:
        return Rate.parse(found, _name(info))


def _amount(found: object, info: ValidationInfo) -> Money:
    return _money(found, info, per_unit=False)


def _amount_per_unit(found: object, info: ValidationInfo) -> Money:
    return _money(found, info, per_unit=True)


def _money(found: object, info: ValidationInfo, *, per_unit: bool) -> Money:
    what = _name(info)
    money = Money.parse(found, what, currency=currency_in(info), per_unit=per_unit)
    if money.minor < 0:
        raise DefinitionError.unreadable(what, str(money), "write zero or more")
    return money


def _margin(found: object, info: ValidationInfo) -> Margin:
    what = _name(info)
    margin = parse_margin(found, what, currency=currency_in(info))
    if float(margin) < 0:
        raise DefinitionError.unreadable(what, str(margin), "write zero or more")
    return margin


def _days(found: object, info: ValidationInfo) -> int:
    return parse_days(found, _name(info))


def _date(found: object, info: ValidationInfo) -> date:
    return parse_date(found, _name(info))


def _columns(found: object, info: ValidationInfo) -> tuple[str, ...]:
    what = _name(info)
    if not isinstance(found, list | tuple):
        shown = found if isinstance(found, str) and found else "is_new"
        raise DefinitionError.unreadable(what, found, f"write a list such as [{shown}]")
    for each in found:
        if not isinstance(each, str) or not each.strip():
            raise DefinitionError.unreadable(what, each, "every entry must be text")
        if list(found).count(each) > 1:
            raise DefinitionError.unreadable(what, each, "each entry must come once")
    return tuple(found)


def currency_in(info: ValidationInfo) -> str:
    """Say which currency the file being read is in."""
    return str((info.context or {}).get("currency", "CNY"))


def _name(info: ValidationInfo) -> str:
    return info.field_name or "value"


_RATE_TEXT = {
    "type": "string",
    "pattern": r"^(0|[0-9.]+ *(%|percent|bp|basis points?|decimal)|[0-9]+ */ *[0-9]+)$",
    "examples": ["20%", "2000 bp", "0.2 decimal", "1/3"],
}
_MONEY_TEXT = {"type": ["number", "string"], "examples": [20, "20 yuan", "2000 fen"]}
_MARGIN_TEXT = {"type": "string", "examples": ["1 point", "2%", "0.5 yuan"]}
_DAYS_TEXT = {
    "type": "string",
    "pattern": "^[0-9]+ *(d|days?|w|weeks?)$",
    "examples": ["60 days", "2 weeks"],
}
_LIST_TEXT = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
_AS_TEXT = PlainSerializer(str)

Text = Annotated[str, PlainValidator(text_of), WithJsonSchema({"type": ["string", "number"]})]
Remark = Annotated[str, PlainValidator(_word_or_nothing), WithJsonSchema({"type": "string"})]
Whole = Annotated[
    int, PlainValidator(_whole), WithJsonSchema({"type": "integer", "minimum": 0})
]
Truth = Annotated[bool, PlainValidator(_truth), WithJsonSchema({"type": "boolean"})]
Share = Annotated[Rate, PlainValidator(_share), _AS_TEXT, WithJsonSchema(_RATE_TEXT)]
ShareOrOrders = Annotated[
    Rate | str,
    PlainValidator(_share_or_orders),
    _AS_TEXT,
    WithJsonSchema({"anyOf": [{"const": FROM_ORDERS}, _RATE_TEXT]}),
]
FromOrders = Annotated[
    str, PlainValidator(_from_orders), WithJsonSchema({"const": FROM_ORDERS})
]
Hurdle = Annotated[Rate, PlainValidator(_hurdle), _AS_TEXT, WithJsonSchema(_MONEY_TEXT)]
Amount = Annotated[Money, PlainValidator(_amount), _AS_TEXT, WithJsonSchema(_MONEY_TEXT)]
AmountPerUnit = Annotated[
    Money, PlainValidator(_amount_per_unit), _AS_TEXT, WithJsonSchema(_MONEY_TEXT)
]
MarginField = Annotated[Margin, PlainValidator(_margin), _AS_TEXT, WithJsonSchema(_MARGIN_TEXT)]
Days = Annotated[
    int, PlainValidator(_days), PlainSerializer(print_days), WithJsonSchema(_DAYS_TEXT)
]
Day = Annotated[
    date,
    PlainValidator(_date),
    PlainSerializer(date.isoformat),
    WithJsonSchema({"type": "string", "format": "date"}),
]
NamedValues = Annotated[dict[str, V], AfterValidator(FrozenDict)]
Columns = Annotated[
    tuple[str, ...],
    PlainValidator(_columns),
    PlainSerializer(list),
    WithJsonSchema(_LIST_TEXT),
]


def problems_of(
    error: ValidationError,
    model: type[Definition],
    values: object,
    *,
    owner: str,
    document: Document | None,
) -> Iterator[Problem]:
    """Turn what pydantic found into sentences with file and line.

    Args:
        error: All that pydantic found in one pass.
        model: The definition that was read.
        values: What was written, to tell paths that exist from names of types.
        owner: What to call the top level, such as ``experiment 'spring'``.
        document: Where the lines are; ``None`` for a definition made in Python.
    """
    for each in error.errors(include_url=False):
        if each["type"] == "default_factory_not_called":
            continue
        path = _written_path(each["loc"], values)
        for problem in _sentences(each, model, path, owner):
            where = ".".join(map(str, path)) or problem.where
            yield located(problem.moved(where) if path else problem, path, document)


def located(
    problem: Problem, path: tuple[str | int, ...], document: Document | None
) -> Problem:
    """Put the file and the line to a problem."""
    if document is None:
        return problem
    return replace(problem, file=document.file, line=document.line(path))


def _sentences(
    error: Any,  # noqa: ANN401 - pydantic's own dictionary
    model: type[Definition],
    path: tuple[str | int, ...],
    owner: str,
) -> tuple[Problem, ...]:
    name = str(error["loc"][-1]) if error["loc"] else owner
    kind = error["type"]
    where = ".".join(map(str, path)) or owner
    if kind == "extra_forbidden":
        around = ".".join(map(str, path[:-1])) or owner
        allowed = keys_of(_part_at(model, error["loc"][:-1]))
        return DefinitionError.unknown_key(around, name, allowed).problems
    if kind == "missing":
        part = _part_at(model, error["loc"][:-1])
        examples = part.model_fields[name].examples or [""]
        return DefinitionError.missing_key(where, name, str(examples[0])).problems
    inner = error.get("ctx", {}).get("error")
    if isinstance(inner, DefinitionError):
        return inner.problems
    if isinstance(inner, ValueError):
        return (Problem(message=str(inner), where=where),)
    fix = "write lines of keys and values under it"
    return DefinitionError.unreadable(where, error["input"], fix).problems


def keys_of(part: type[Definition]) -> list[str]:
    """List the keys that may be written for one part of a plan."""
    return [name for name in part.model_fields if name != getattr(part, "LABEL", "")]


def _part_at(model: type[Definition], loc: tuple[str | int, ...]) -> type[Definition]:
    for step in loc:
        field = model.model_fields.get(str(step))
        if field is not None:
            model = next(_parts_in(field.annotation), model)
    return model


def _parts_in(annotation: object) -> Iterator[type[Definition]]:
    if isinstance(annotation, type) and issubclass(annotation, Definition):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts_in(inner)


def _written_path(loc: tuple[str | int, ...], values: object) -> tuple[str | int, ...]:
    """Follow pydantic's path through what was written, leaving out what never was."""
    path: tuple[str | int, ...] = ()
    for step in loc:
        if isinstance(values, Mapping):
            key = list(values)[step] if isinstance(step, int) else step
            if key in values:
                path, values = (*path, key), values[key]
        elif isinstance(values, list | tuple) and isinstance(step, int):
            path, values = (*path, step), values[step]
    return path
