"""How does a raw column become ids, texts, money, numbers, flags or points in time?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis
import ibis.expr.datatypes as dt

from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    import ibis.expr.types as ir

BLANKS = ("", "-", "--", "—", "null", "NULL", "None", "nan", "NaN")
"""Texts by which exports say that a value is missing; never read as 0."""


def as_id(column: ir.Value, name: str, table: str) -> ir.Value:
    """Keep ids as text; ids that went through floating point have merged customers."""
    kind = column.type()
    if kind.is_floating() or kind.is_decimal():
        raise DataError.float_ids(name, table, str(kind))
    return as_text(column)


def as_text(column: ir.Value) -> ir.Value:
    """Trim; a blank is missing. Flags read as yes and no on every engine."""
    kind = column.type()
    if kind.is_boolean():
        return ibis.cases((column, "yes"), (~column, "no"))
    text = column.cast("string").strip()
    return text.isin(BLANKS).ifelse(ibis.null("string"), text)


def as_number(column: ir.Value) -> ir.Value:
    """Read a number as float64; blanks and not-a-number are missing."""
    kind = column.type()
    if kind.is_boolean():
        return column.ifelse(1.0, 0.0)
    if kind.is_string():
        return as_text(column).replace(",", "").try_cast("float64")
    number = column.cast("float64")
    if kind.is_floating():
        return (number.isnan() | number.isinf()).ifelse(ibis.null("float64"), number)
    return number


def as_money(column: ir.Value, *, factor: int) -> ir.Value:
    """Read money as whole minor units, rounded half away from zero.

    Args:
        column: Amounts in yuan or fen (or any currency's main or minor unit).
        factor: Minor units in one unit of the column.
    """
    if column.type().is_integer():
        return column.cast("int64") * factor
    number = as_number(column) * float(factor)
    return number.round().cast("int64")


def as_flag(column: ir.Value) -> ir.Value:
    """Read yes/no, true/false, 1/0 as a boolean."""
    kind = column.type()
    if kind.is_boolean():
        return column
    if kind.is_numeric():
        return column != 0
    text = as_text(column).lower()
    return ibis.cases(
        (text.isin(("1", "true", "yes", "y", "是")), True),
        (text.isin(("0", "false", "no", "n", "否")), False),
    )


def as_seconds(column: ir.Value, *, offset: int) -> ir.Value:
    """Read a point in time as UTC seconds since 1970.

    Values without a zone are shop time. Engines disagree on `.date()` of zoned values, so
    days are always computed from these seconds.

    Args:
        column: Timestamps, dates or ISO texts.
        offset: Shop time minus UTC, in seconds.
    """
    kind = column.type()
    if kind.is_string():
        text = as_text(column)
        zoned = text.re_search(r"(Z|[+-]\d\d:?\d\d)$")
        moment = text.try_cast(dt.Timestamp(timezone="UTC")).epoch_seconds().cast("int64")
        return moment - zoned.ifelse(0, offset)
    if kind.is_date():
        return column.cast("timestamp").epoch_seconds().cast("int64") - offset
    seconds = column.epoch_seconds().cast("int64")
    return seconds if kind.timezone else seconds - offset


def spoiled(column: ir.Value, read: ir.Value) -> ir.BooleanValue:
    """Mark values that were there but could not be read."""
    kind = column.type()
    if kind.is_string():
        return as_text(column).notnull() & read.isnull()
    if kind.is_floating():
        return column.isinf()
    return ibis.literal(False)


def reader(
    kind: str, *, name: str, table: str, factor: int, offset: int
) -> Callable[[ir.Value], ir.Value]:
    """Choose how a column of one kind is read."""
    readers: dict[str, Callable[[ir.Value], ir.Value]] = {
        "id": lambda column: as_id(column, name, table),
        "text": as_text,
        "number": as_number,
        "money": lambda column: as_money(column, factor=factor),
        "flag": as_flag,
        "time": lambda column: as_seconds(column, offset=offset),
        "any": lambda column: column,
    }
    return readers[kind]


WANTED: dict[str, tuple[str, Callable[[dt.DataType], bool]]] = {
    "id": ("ids as text or whole numbers", lambda t: t.is_string() or t.is_numeric()),
    "text": (
        "text, whole numbers or yes/no",
        lambda t: t.is_string() or t.is_integer() or t.is_boolean() or t.is_date(),
    ),
    "number": ("numbers", lambda t: t.is_numeric() or t.is_string() or t.is_boolean()),
    "money": ("amounts of money", lambda t: t.is_numeric() or t.is_string()),
    "flag": ("yes/no", lambda t: t.is_boolean() or t.is_numeric() or t.is_string()),
    "any": ("anything", lambda _: True),
    "time": (
        "timestamps, dates or ISO texts",
        lambda t: t.is_timestamp() or t.is_date() or t.is_string(),
    ),
}
"""What each kind of column may be stored as, in words and as a test."""
