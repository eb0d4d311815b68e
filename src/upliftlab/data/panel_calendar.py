"""Which periods does a panel have, and which of them is a unit's first treated?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.errors import DataError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

EPOCH = date(1970, 1, 1)
EMPTY = -1e300
"""How a start that is not there (null, NaN, NaT, blank) is handed on as a number."""

DATED = ("day", "week", "month", "quarter", "year")
KINDS = (*DATED, "integer")
"""What a period may be; None takes what the values look like."""

WHOLE = 1e-6
"""Share of a step by which 2004.3333 may miss its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The periods of a panel, equally spaced and in order.

    Attributes:
        column: Where they were read.
        kind: One of ``KINDS``.
        values: Values that occur, in order: numbers, or days since 1970; shape [V].
        at: Position of each of them among the periods, shape [V].
        labels: The periods, T in all; those without rows are among them.
        first: Index of the first period (days, weeks since 1970, months since year 0 ...).
        step: Index of the second period minus that of the first.
    """

    column: str
    kind: str
    values: Floats
    at: Ints
    labels: tuple[str, ...]
    first: float
    step: float

    def position(self, start: float) -> int:
        """Place a start: 0 or below for those before the first period, T for those after it.

        A date belongs to the period that contains it, which then counts as treated; a number
        to the first period that is not before it.
        """
        if self.kind in DATED:
            return math.floor((_index(_day(start), self.kind) - self.first) / self.step)
        return math.ceil((start - self.first) / self.step - WHOLE)


def calendar_of(
    values: Sequence[float], *, column: str, kind: str | None, dated: bool, filled: bool
) -> Calendar:
    """Order the values of a period column and find their spacing.

    Args:
        values: Values that occur: numbers, or days since 1970.
        column: Their column, for messages.
        kind: One of ``KINDS``; None takes what the values look like.
        dated: Whether the values are days.
        filled: Whether periods without any row are periods all the same.

    Raises:
        DataError: For a kind that does not fit, values that are not equally spaced, or
            periods that no row has.

    Examples:
        >>> found = calendar_of([2.5, 2.0], column="q", kind=None, dated=False, filled=False)
        >>> found.labels, found.step
        (('2', '2.5'), 0.5)
    """
    _refuse_kind(kind, column, dated=dated)
    ordered = np.array(sorted(set(values)), dtype=np.float64)
    chosen = kind or (_looks_like(ordered) if dated else "integer")
    if chosen == "week":
        _refuse_other_days(ordered, column)
    index = np.array([_index(_day(v), chosen) for v in ordered]) if dated else ordered
    if len(np.unique(index)) < len(index):
        twice = int(np.flatnonzero(np.diff(index) == 0)[0])
        raise DataError(
            f"period {column!r} has {_day(ordered[twice])} and {_day(ordered[twice + 1])}, "
            f"which are one {chosen}; add up the rows of each unit and {chosen} first."
        )
    step = float(np.diff(index).min()) if len(index) > 1 else 1.0
    at = np.round((index - index[0]) / step)
    if np.abs(at - (index - index[0]) / step).max(initial=0.0) > WHOLE * len(index):
        raise DataError(_uneven(column, ordered, index, chosen, dated=dated))
    length = int(at[-1]) + 1
    names = tuple(_label(index[0] + j * step, chosen) for j in range(length))
    if length > len(index) and not filled:
        raise DataError(_gaps(column, ordered, names, at, dated=dated))
    return Calendar(
        column=column,
        kind=chosen,
        values=ordered,
        at=at.astype(np.int64),
        labels=names,
        first=float(index[0]),
        step=step,
    )


def opening(day: date, kind: str) -> date:
    """Return the first day of the period of a kind that a day belongs to.

    Examples:
        >>> opening(date(2026, 1, 7), "week"), opening(date(2026, 2, 7), "quarter")
        (datetime.date(2026, 1, 5), datetime.date(2026, 1, 1))
    """
    return _opening(_index(day, kind), kind)


def starts_of(
    rows: Mapping[float, int],
    calendar: Calendar,
    *,
    column: str,
    label: str = "rows",
    announced: int = 0,
) -> tuple[dict[float, int], tuple[str, ...]]:
    """Turn the starts that occur into positions, and say what was decided on the way.

    Empty (null, NaN, NaT, blank), 0 and infinity mean never treated, also side by side. A
    start before the first period means treated throughout (position 0); one after the last
    means not treated in the panel (``NEVER``), unless it was announced in it: then the
    position is beyond the last, so that announced periods serve as nobody's control.

    Args:
        rows: Start -> rows that carry it; ``EMPTY`` for those that are not there.
        calendar: The periods.
        column: Column of the start, for messages.
        label: What ``rows`` counts.
        announced: Periods before its start in which a unit knows of it.

    Raises:
        DataError: For starts below zero, and for 0 where 0 is a period too.
    """
    signed = calendar.kind not in DATED and calendar.values[0] < 0
    wrong = {s: n for s, n in rows.items() if s != EMPTY and s < 0 and not signed}
    if wrong and calendar.kind not in DATED:
        raise DataError(
            f"start {column!r} is below zero in {sum(wrong.values()):,} {label}, such as "
            f"{_number(min(wrong))}; write the period in which treatment starts, and leave it "
            "empty for units never treated."
        )
    zero_is_period = (
        calendar.kind not in DATED and calendar.values[0] <= 0 <= calendar.values[-1]
    )
    if 0.0 in rows and zero_is_period:
        raise DataError(
            f"start {column!r} is 0 in {rows[0.0]:,} {label}, and 0 is also a period of "
            f"{calendar.column!r}; leave it empty for units never treated, or number the "
            "periods from 1."
        )
    length = len(calendar.labels)
    never = {s: n for s, n in rows.items() if _is_never(s, calendar)}
    others = {s: calendar.position(s) for s in rows if s not in never}
    placed = dict.fromkeys(never, NEVER)
    told = length + max(announced, 0)
    placed |= {s: NEVER if j >= told else max(j, 0) for s, j in others.items()}
    return placed, tuple(_decided(rows, never, others, calendar, column=column, label=label))


def _decided(
    rows: Mapping[float, int],
    never: Mapping[float, int],
    others: Mapping[float, int],
    calendar: Calendar,
    *,
    column: str,
    label: str,
) -> list[str]:
    notes = []
    if len(never) > 1:
        said = ", ".join(f"{_code(s)} in {n:,} {label}" for s, n in sorted(never.items()))
        notes.append(f"start {column!r} says never treated in several ways: {said}")
    early = {s: j for s, j in others.items() if j < 0}
    if early:
        notes.append(
            f"start {column!r} is before the first period in {_sum(rows, early):,} {label}; "
            "these units count as treated throughout"
        )
    late = {s for s, j in others.items() if j >= len(calendar.labels)}
    if late:
        notes.append(
            f"start {column!r} is after the last period in {_sum(rows, late):,} {label}; these "
            "units count as not treated in the panel"
        )
    inside = {s for s, j in others.items() if 0 <= j < len(calendar.labels)}
    between = {s for s in inside if _within(s, others[s], calendar)}
    if between:
        rule = (
            "the period that contains it counts as treated"
            if calendar.kind in DATED
            else "the next period is the first treated"
        )
        notes.append(
            f"start {column!r} lies within a period in {_sum(rows, between):,} {label}; {rule}"
        )
    return notes


def _within(start: float, position: int, calendar: Calendar) -> bool:
    """Whether a start is not the beginning of its period."""
    index = calendar.first + position * calendar.step
    if calendar.kind not in DATED:
        return abs(start - index) > WHOLE * calendar.step
    return _day(start) != _opening(index, calendar.kind)


def _sum(rows: Mapping[float, int], some: set[float] | Mapping[float, int]) -> int:
    return sum(rows[s] for s in some)


def _is_never(start: float, calendar: Calendar) -> bool:
    if start in {EMPTY, math.inf}:
        return True
    return start == 0 and calendar.kind not in DATED


def _code(start: float) -> str:
    return "empty" if start == EMPTY else _number(start)


def _refuse_kind(kind: str | None, column: str, *, dated: bool) -> None:
    if kind is not None and kind not in KINDS:
        raise DataError(
            f"calendar is {kind!r}; it must be one of {list(KINDS)}.{nearest(kind, KINDS)}"
        )
    if kind in DATED and not dated:
        raise DataError(
            f"calendar {kind!r} needs dates, and period {column!r} holds numbers; write the "
            f"first day of each {kind}, or say calendar='integer'."
        )
    if kind == "integer" and dated:
        raise DataError(
            f"calendar 'integer' needs numbers, and period {column!r} holds dates; say "
            "calendar='day' or 'week'."
        )


def _refuse_other_days(ordered: Floats, column: str) -> None:
    other = [_day(v) for v in ordered if _day(v).weekday() != 0]
    if other:
        monday = other[0] - timedelta(days=other[0].weekday())
        raise DataError(
            f"period {column!r} has {other[0]}, a {other[0]:%A}; a week is written as its "
            f"Monday, here {monday}. Add days up to weeks first; other weeks need "
            "calendar='day'."
        )


def _looks_like(days: Floats) -> str:
    """Guess the calendar of dates: Mondays are weeks, one day a month are months."""
    dates = [_day(v) for v in days]
    if len(dates) < 2:
        return "day"
    if all(d.weekday() == 0 for d in dates) and np.diff(days).min() >= 7:
        return "week"
    ends = [(d + timedelta(days=1)).day == 1 for d in dates]
    if len({d.day for d in dates}) > 1 and not all(ends):
        return "day"
    gap = float(np.diff([_index(d, "month") for d in dates]).min())
    if gap < 1:
        return "day"
    return {3.0: "quarter", 12.0: "year"}.get(gap, "month")


def _index(day: date, kind: str) -> float:
    days = (day - EPOCH).days
    if kind == "week":
        return float((days + 3) // 7)
    months = day.year * 12 + day.month - 1
    parts = {"month": months, "quarter": months // 3, "year": day.year}
    return float(parts.get(kind, days))


def _opening(index: float, kind: str) -> date:
    """Return the first day of a period."""
    whole = round(index)
    if kind == "day":
        return EPOCH + timedelta(days=whole)
    if kind == "week":
        return EPOCH + timedelta(days=whole * 7 - 3)
    months = whole * {"month": 1, "quarter": 3, "year": 12}[kind]
    return date(months // 12, months % 12 + 1, 1)


def _label(index: float, kind: str) -> str:
    if kind == "integer":
        return _number(index)
    day = _opening(index, kind)
    if kind == "quarter":
        return f"{day.year}Q{(day.month + 2) // 3}"
    return {"month": f"{day:%Y-%m}", "year": f"{day.year}"}.get(kind, day.isoformat())


def _day(value: float) -> date:
    return EPOCH + timedelta(days=math.floor(value))


def _number(value: float) -> str:
    return f"{round(value, 9):.12g}" if abs(value) < 1e12 else repr(value)


def _uneven(column: str, values: Floats, index: Floats, kind: str, *, dated: bool) -> str:
    gaps = np.diff(index)
    odd = int(np.flatnonzero(np.abs(gaps - gaps.min()) > WHOLE * gaps.min())[0])
    one, two = values[odd], values[odd + 1]
    shown = (str(_day(one)), str(_day(two))) if dated else (_number(one), _number(two))
    fix = _coded(values) if not dated else f"read them as another calendar than {kind!r}"
    return (
        f"period {column!r} is not equally spaced: most steps are {_number(gaps.min())}, and "
        f"from {shown[0]} to {shown[1]} it is {_number(gaps[odd])}; {fix}."
    )


def _gaps(column: str, values: Floats, names: Sequence[str], at: Floats, *, dated: bool) -> str:
    there = set(at.astype(int).tolist())
    lost = [name for j, name in enumerate(names) if j not in there]
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    fix = "" if dated else _coded(values)
    if not fix.startswith("write"):
        fix = "add the rows, with zeros if nothing happened in them"
    return (
        f"period {column!r} runs from {names[0]} to {names[-1]} and no row has "
        f"{', '.join(lost[:3])}{more}; {fix}."
    )


def _coded(values: Floats) -> str:
    """Say what would help: year and month (or week) written as one number leave gaps."""
    whole = all(float(v).is_integer() for v in values)
    years, rest = np.divmod(values, 100)
    if (
        whole
        and years.min() >= 1900
        and years.max() <= 2200
        and 1 <= rest.min() <= rest.max() <= 53
    ):
        return "write dates instead of year and month (or week) in one number"
    return "number them 1, 2, 3 in order"
