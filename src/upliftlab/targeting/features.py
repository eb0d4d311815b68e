"""Which numbers does a learner see for each unit, now and when new units are scored?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from upliftlab.assignment.hashing import SPACES
from upliftlab.checks import PASS, WARN, Check
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

Column: TypeAlias = Any
"""A numpy array, an Arrow array or an Arrow chunked array, [n]."""

MOST_LEVELS = 20
"""Levels of a text column that get an indicator of their own; rarer ones are "other"."""

MISSING = "(missing)"
"""Level of a text column that stands for no text."""

BLANKS = ("", "-", "--", "—", "null", "NULL", "None", "nan", "NaN")
"""Texts that stand for no text, as everywhere in this house; spaces around are dropped."""

YES = ("1", "true", "yes", "y", "是")
NO = ("0", "false", "no", "n", "否")
"""Words that are 1 and 0 in a column of numbers written as text."""


BY_UNIT = 0.5
"""Distinct texts per row above which a column names units rather than groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnCode:
    """How one column becomes numbers.

    Attributes:
        name: Column.
        kind: "number" (flags are 0 and 1), "worded" (numbers, or yes and no, stored as text),
            "date" (whole days since 1970) or "text".
        levels: Texts with an indicator, most frequent first; empty for numbers and dates.
        reference: The more frequent of two levels: 0 in the other's indicator.
        has_other: Whether rarer levels are put together: 0 in every indicator.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    reference: str = ""
    has_other: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the matrix columns it makes."""
        if self.kind != "text":
            return (self.name,)
        return tuple(f"{self.name} = {level}" for level in self.levels)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "levels": list(self.levels),
            "reference": self.reference,
            "has_other": self.has_other,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """A frozen way from raw columns to a matrix, the same for learning and for scoring.

    Numbers are stored as float32; a missing or infinite number is NaN. A rule ``x <= t`` is
    false for NaN, as a SQL CASE is for NULL. A missing text is the level "(missing)" if it was
    seen while learning. Levels without an indicator, and levels that were never seen, are 0
    in every indicator of their column.

    Attributes:
        columns: Codes of the columns used.
        dropped: Column -> why it is not used.
    """

    columns: tuple[ColumnCode, ...]
    dropped: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the matrix columns, P in all."""
        return tuple(name for code in self.columns for name in code.outputs)

    @property
    def sources(self) -> tuple[str, ...]:
        """Raw column that each matrix column comes from."""
        return tuple(code.name for code in self.columns for _ in code.outputs)

    @property
    def linear(self) -> tuple[int, ...]:
        """Positions without redundant indicators: those that always add up to 1 lose one."""
        keep: list[int] = []
        at = 0
        for code in self.columns:
            count = len(code.outputs)
            is_whole = code.kind == "text" and not (code.has_other or code.reference)
            keep.extend(range(at + is_whole, at + count))
            at += count
        return tuple(keep)

    def matrix(self, columns: Mapping[str, Column]) -> Matrix:
        """Return the matrix [n, P] of any units, float32.

        Raises:
            DataError: When a column is missing, or text stands where numbers were learned on.
        """
        have = {code.name: _column(columns, code.name) for code in self.columns}
        rows = len(next(iter(have.values()))) if have else 0
        out = np.empty((rows, len(self.names)), dtype=np.float32)
        at = 0
        for code in self.columns:
            at = _fill(out, at, code, have[code.name])
        return out

    def unseen(self, columns: Mapping[str, Column]) -> dict[str, int]:
        """Count rows per text column whose level was never seen while learning.

        Columns in which rare levels were put together cannot tell rare from new: not counted.
        """
        found = {}
        for code in self.columns:
            if code.kind == "text" and not code.has_other:
                index, levels = _texts(_column(columns, code.name), code.name)
                have = {*code.levels, code.reference}
                known = np.array([level in have for level in levels], dtype=bool)
                if not known.all():
                    found[code.name] = int((~known[index]).sum())
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "columns": [code.to_dict() for code in self.columns],
            "dropped": dict(self.dropped),
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Encoding:
        """Read what ``to_dict`` wrote."""
        codes = tuple(
            ColumnCode(
                name=each["name"],
                kind=each["kind"],
                levels=tuple(each["levels"]),
                reference=each["reference"],
                has_other=each["has_other"],
            )
            for each in found["columns"]
        )
        return cls(columns=codes, dropped=dict(found["dropped"]))


def fit_encoding(
    columns: Mapping[str, Column],
    *,
    most_levels: int = MOST_LEVELS,
    worded: Collection[str] = (),
) -> Encoding:
    """Decide how raw columns become numbers.

    Numbers, flags and dates make one column each. A text column makes one indicator per level;
    of two levels only the rarer. The ``most_levels`` most frequent levels get one, the others
    are "other": 0 in all of them. A column that does not vary, is always missing, or whose
    texts are mostly different from row to row is left out, with a reason.

    Args:
        columns: Name -> values known before assignment, [n] each: numpy or Arrow.
        most_levels: Most indicators of one column.
        worded: Columns of numbers that are stored as text where units are scored.

    Raises:
        DataError: When no column is left, or columns differ in length.

    Examples:
        >>> raw = {"days": np.array([3.0, np.nan, 9.0]), "city": np.array(["A", "B", "A"]),
        ...        "shop": np.array([1, 1, 1])}
        >>> found = fit_encoding(raw)
        >>> found.names, found.dropped
        (('days', 'city = B'), {'shop': 'does not vary'})
        >>> found.matrix({"days": np.array([5.0]), "city": np.array(["C"])})
        array([[5., 0.]], dtype=float32)
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"feature columns have different lengths: {lengths}.")
    codes, dropped = [], {}
    for name, column in columns.items():
        found = _code(name, column, most_levels, is_worded=name in worded)
        if isinstance(found, str):
            dropped[name] = found
        else:
            codes.append(found)
    if not codes:
        why = "; ".join(f"{name!r} {reason}" for name, reason in dropped.items())
        raise DataError(
            f"no column is left to tell units apart: {why or 'none was given'}. Name columns "
            "in target.features that differ between customers."
        )
    return Encoding(columns=tuple(codes), dropped=dropped)


def check_unseen(encoding: Encoding, columns: Mapping[str, Column]) -> Check:
    """Say whether units to be scored have levels that no unit had while learning."""
    found = encoding.unseen(columns)
    rows = max((len(column) for column in columns.values()), default=0)
    share = max(found.values(), default=0) / max(rows, 1)
    text = ", ".join(f"{name!r} ({count:,} customers)" for name, count in found.items())
    return Check(
        name="unseen_levels",
        verdict=WARN if found else PASS,
        message=(
            f"Levels that were not there while learning: {text}; they count as none of the "
            "known ones."
            if found
            else "Every level of the customers scored was there while learning."
        ),
        value=share,
        threshold=0.0,
    )


def _code(name: str, column: Column, most_levels: int, *, is_worded: bool) -> ColumnCode | str:
    """Return the code of a column, or why it is left out."""
    kind = "worded" if is_worded else _kind(column, name)
    if kind != "text":
        reason = _idle(_numbers(column, name, kind))
        return reason or ColumnCode(name=name, kind=kind)
    index, levels = _texts(column, name)
    counts = np.bincount(index, minlength=len(levels))
    used = [(-int(n), level) for n, level in zip(counts, levels, strict=True) if n]
    if len(used) < 2:
        return "does not vary"
    if len(used) > max(most_levels, BY_UNIT * len(index)):
        return "names single customers: its texts hardly repeat"
    order = [level for _, level in sorted(used)]
    if len(order) == 2:
        return ColumnCode(name=name, kind="text", levels=(order[1],), reference=order[0])
    return ColumnCode(
        name=name,
        kind="text",
        levels=tuple(order[:most_levels]),
        has_other=len(order) > most_levels,
    )


def _idle(values: Matrix) -> str:
    """Say why numbers tell nobody apart; nothing when they do."""
    seen = values[~np.isnan(values)]
    if not len(seen):
        return "is always missing"
    is_constant = len(seen) == len(values) and seen.min() == seen.max()
    return "does not vary" if is_constant else ""


def _column(columns: Mapping[str, Column], name: str) -> Column:
    if name not in columns:
        raise DataError.missing_column(name, "the rule", list(columns))
    return columns[name]


def _fill(out: Matrix, at: int, code: ColumnCode, column: Column) -> int:
    """Write one column's numbers into the matrix and return the next free position."""
    if code.kind != "text":
        out[:, at] = _numbers(column, code.name, code.kind)
        return at + 1
    index, levels = _texts(column, code.name)
    for level in code.levels:
        known = np.array([each == level for each in levels], dtype=np.float32)
        out[:, at] = known[index] if len(levels) else 0.0
        at += 1
    return at


def _kind(column: Column, name: str) -> str:
    if isinstance(column, np.ndarray):
        kinds = {"f": "number", "i": "number", "u": "number", "b": "number", "M": "date"}
        kind = kinds.get(column.dtype.kind, "text" if column.dtype.kind in "UOT" else "")
    else:
        kind = _arrow_kind(column)
    if not kind:
        raise DataError(
            f"feature {name!r} is of a kind that no learner reads; give numbers, yes/no, text "
            "or dates."
        )
    if kind == "text" and isinstance(column, np.ndarray) and column.dtype.kind == "O":
        return _object_kind(column)
    return kind


def _arrow_kind(column: pa.Array | pa.ChunkedArray) -> str:
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind) or types.is_string(kind) or types.is_large_string(kind):
        return "text"
    if types.is_temporal(kind):
        return "date"
    is_number = types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind)
    return "number" if is_number or types.is_boolean(kind) or types.is_null(kind) else ""


def _object_kind(column: NDArray[Any]) -> str:
    """Objects are text unless everything present is a number or a flag."""
    present = [each for each in column if not _is_gap(each)]
    is_number = all(isinstance(each, int | float | np.number | np.bool_) for each in present)
    return "number" if is_number else "text"


def _numbers(column: Column, name: str, kind: str) -> Matrix:
    """Read a column as float32; what is missing or infinite is NaN."""
    found = _kind(column, name)
    if kind == "worded":
        column = _unworded(column, name) if found == "text" else column
        kind, found = "number", "number" if found == "text" else found
    if found != kind:
        raise DataError.wrong_type(name, "features", found=found, wanted=kind)
    raw = column if isinstance(column, np.ndarray) else _from_arrow(column, kind)
    if raw.dtype.kind == "M":
        days = raw.astype("datetime64[D]").astype(np.float64)
        days[np.isnat(raw)] = np.nan
        raw = days
    # Engines go through float64 too; what float32 cannot hold is missing.
    with np.errstate(over="ignore"):
        values = raw.astype(np.float64).astype(np.float32)
    values[np.isinf(values)] = np.nan
    return values


def _unworded(column: Column, name: str) -> NDArray[np.float64]:
    """Read numbers, yes and no from texts, each distinct text once."""
    index, levels = _texts(column, name)
    known = np.array([_worded(each) for each in levels] or [math.nan])
    return known[index] if len(index) else np.empty(0)


def _worded(text: str) -> float:
    if "_" in text:
        return math.nan
    try:
        return float(text.replace(",", ""))
    except ValueError:
        word = text.lower()
        return 1.0 if word in YES else 0.0 if word in NO else math.nan


def _from_arrow(column: pa.Array | pa.ChunkedArray, kind: str) -> NDArray[Any]:
    import pyarrow as pa

    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    to = pa.timestamp("s") if kind == "date" else pa.float64()
    found: NDArray[Any] = whole.cast(to, safe=False).to_numpy(zero_copy_only=False)
    return found


def _texts(column: Column, name: str) -> tuple[NDArray[np.int64], list[str]]:
    """Return each row's position in a list of levels; what is missing has a level."""
    import pyarrow as pa

    if _kind(column, name) == "number" and len(column):
        raise DataError.wrong_type(name, "features", found="number", wanted="text")
    if isinstance(column, np.ndarray):
        column = pa.array([None if _is_gap(each) else str(each) for each in column])
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_encode()
    levels = [_trimmed(each) for each in whole.dictionary.to_pylist()]
    index = whole.indices.to_numpy(zero_copy_only=False)
    if whole.null_count:
        index = np.where(np.isnan(index.astype(np.float64)), len(levels), index)
        levels.append(MISSING)
    place = {level: at for at, level in enumerate(dict.fromkeys(levels))}
    merged = np.array([place[level] for level in levels], dtype=np.int64)
    index = index.astype(np.int64)
    return (merged[index] if len(merged) else index), list(place)


def _trimmed(text: object) -> str:
    """Drop spaces around a text; what stands for no text is missing."""
    trimmed = MISSING if text is None else str(text).strip(SPACES)
    return MISSING if trimmed in BLANKS else trimmed


def _is_gap(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
