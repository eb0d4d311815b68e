"""How does a raw column become ids, texts, money, numbers, flags or points in time?"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import ibis
import ibis.expr.datatypes as dt

from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    import ibis.expr.types as ir

BLANKS = ("", "-", "--", "—", "null", "NULL", "None", "nan", "NaN")
"""Texts by which exports say that a value is missing; never read as 0."""

LONGEST_BLANK = max(map(len, BLANKS))
SPACE = ord(" ")

MOST_MONEY = 9 * 10**15
"""Minor units up to which a float64 counts exactly; nobody's order is larger."""

ZONED = r":\d\d(\.\d+)?\s*([Zz]|UTC|[+-]\d\d(:?\d\d)?)$"
"""How a text says its zone: 08:00:00Z, +08, +0800 or +08:00; a date alone says none."""


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
    if kind.is_integer():
        return column.cast("string")
    text = column if kind.is_string() else column.cast("string")
    trimmed = text.strip()
    # Not by `isin`: engines turn a long list into a join that trims every row first.
    is_blank = reduce(or_, [trimmed == blank for blank in BLANKS])
    readable = is_blank.ifelse(ibis.null("string"), trimmed)
    # Trimming costs most of a scan: texts that plainly need none keep their bytes.
    return is_tidy(text).ifelse(text, readable)


def is_tidy(text: ir.StringValue) -> ir.BooleanValue:
    """Tell, cheaply, that a text is no blank and has no space around it."""
    return (
        (text.length() > LONGEST_BLANK)
        & (text.ascii_str() > SPACE)
        & (text.right(1).ascii_str() > SPACE)
    )


def as_number(column: ir.Value) -> ir.Value:
    """Read a number as float64; blanks, not-a-number and the infinite are missing."""
    kind = column.type()
    if kind.is_boolean():
        return column.ifelse(1.0, 0.0)
    if kind.is_string():
        number = as_text(column).replace(",", "").try_cast("float64")
    elif kind.is_floating():
        number = column.cast("float64")
    else:
        return column.cast("float64")
    return (number.isnan() | number.isinf()).ifelse(ibis.null("float64"), number)


def as_money(column: ir.Value, *, factor: int) -> ir.Value:
    """Read money as whole minor units, rounded half away from zero.

    A fraction of the smallest unit cannot be read: whoever said fen meant yuan. Nor can an
    amount too large to be counted exactly.

    Args:
        column: Amounts in yuan or fen (or any currency's main or minor unit).
        factor: Minor units in one unit of the column.
    """
    if column.type().is_integer():
        countable = column.between(-MOST_MONEY // factor, MOST_MONEY // factor)
        return countable.ifelse(column, ibis.null(column.type())).cast("int64") * factor
    # Four digits are kept first: 0.285 yuan is 28.5 fen, not 28.499999999999996.
    scaled = (as_number(column) * float(factor)).round(4)
    countable = scaled.between(-float(MOST_MONEY), float(MOST_MONEY))
    if factor == 1:
        countable &= scaled == scaled.round()
    return countable.ifelse(scaled, ibis.null("float64")).round().cast("int64")


def as_rate(column: ir.Value) -> ir.Value:
    """Read a rate in basis points; texts such as 20% are turned into them.

    A number between 0 and 1 could be a share or a fraction of a basis point: not readable.
    """
    number = as_number(column)
    if column.type().is_string():
        text = as_text(column)
        percent = text.endswith("%")
        share = text.replace("%", "").try_cast("float64") * 100.0
        number = percent.ifelse(share.round(6), number)
    clear = (number == 0) | number.between(1.0, 10_000.0)
    return clear.ifelse(number, ibis.null("float64"))


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
        moment = text.try_cast(dt.Timestamp(timezone="UTC")).epoch_seconds().cast("int64")
        clock = text.try_cast("timestamp").epoch_seconds().cast("int64")
        return text.re_search(ZONED).ifelse(moment, clock - offset)
    if kind.is_date():
        return column.cast("timestamp").epoch_seconds().cast("int64") - offset
    seconds = column.epoch_seconds().cast("int64")
    return seconds if kind.timezone else seconds - offset


def spoiled(column: ir.Value, read: ir.Value) -> ir.BooleanValue:
    """Mark values that were there but could not be read; not-a-number is a blank."""
    kind = column.type()
    if kind.is_string():
        return as_text(column).notnull() & read.isnull()
    if kind.is_floating():
        return column.notnull() & ~column.isnan() & read.isnull()
    return column.notnull() & read.isnull()


def reader(
    kind: str, *, name: str, table: str, factor: int, offset: int
) -> Callable[[ir.Value], ir.Value]:
    """Choose how a column of one kind is read."""
    readers: dict[str, Callable[[ir.Value], ir.Value]] = {
        "id": lambda column: as_id(column, name, table),
        "text": as_text,
        "number": as_number,
        "money": lambda column: as_money(column, factor=factor),
        "rate": as_rate,
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
    "rate": (
        "basis points from 1 to 10000, or percent such as 20%",
        lambda t: t.is_numeric() or t.is_string(),
    ),
    "money": ("amounts of money", lambda t: t.is_numeric() or t.is_string()),
    "flag": ("yes/no", lambda t: t.is_boolean() or t.is_numeric() or t.is_string()),
    "any": ("anything", lambda _: True),
    "time": (
        "timestamps, dates or ISO texts",
        lambda t: t.is_timestamp() or t.is_date() or t.is_string(),
    ),
}
"""What each kind of column may be stored as, in words and as a test."""
