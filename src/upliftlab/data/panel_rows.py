"""What does each row of a long table say: which unit, when, since when treated, how much?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis

from upliftlab.data import values
from upliftlab.data.panel_calendar import EMPTY, Calendar, calendar_of, starts_of
from upliftlab.errors import DataError, nearest

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from upliftlab.data.engine import Engine

ABSENT = ("unknown", "zero", "complete")
DAY = 86_400

NEVER_WORDS = (*values.BLANKS, "NA", "NaT", "inf", "Inf", "never", "Never")
"""Texts by which exports say that a unit is never treated, beside a blank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a long table mean what.

    Attributes:
        unit: Id of the unit.
        period: Date or number of the period.
        components: Numeric columns, K in all.
        start: Column with the period in which the unit's treatment starts.
        treated: Column that is 1 (or true) while a unit is treated, instead of ``start``.
        waves: Table of ``cluster`` and ``starts_on``, instead of ``start``.
        cluster: Id of the unit's cluster.
        weight: Weight of the unit.
        covariates: Numeric columns known before treatment.
        absent: What a period without a row of a unit means.
        calendar: Kind of the periods; None takes what they look like.
        announced: Periods before its start in which a unit knows of it.
    """

    unit: str
    period: str
    components: tuple[str, ...]
    start: str | None = None
    treated: str | None = None
    waves: ibis.Table | None = None
    cluster: str | None = None
    weight: str | None = None
    covariates: tuple[str, ...] = ()
    absent: str = "unknown"
    calendar: str | None = None
    announced: int = 0

    @property
    def numbers(self) -> dict[str, str]:
        """Columns that are read as numbers -> the names they get."""
        found = {f"y{k}": name for k, name in enumerate(self.components)}
        found |= {f"x{k}": name for k, name in enumerate(self.covariates)}
        if self.weight is not None:
            found["w"] = self.weight
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRows:
    """A long table under our names, with its calendar.

    Attributes:
        table: Columns ``u`` (unit), ``p`` (period as a number), ``s`` (start as a number) or
            ``on`` (0 or 1), ``c`` (cluster), ``w``, ``x0`` .. and ``y0`` ...
        columns: What they were called.
        calendar: The periods.
        starts: Start as a number -> position; empty with ``on``.
        notes: What was decided on the way.
    """

    table: ibis.Table
    columns: Columns
    calendar: Calendar
    starts: dict[float, int]
    notes: tuple[str, ...]


def long_rows(engine: Engine, table: ibis.Table, columns: Columns) -> LongRows:
    """Select and type what a panel needs, and read its calendar.

    Raises:
        DataError: For columns that are not there or cannot be read, a table without rows, and
            periods or starts that make no calendar.
    """
    _refuse_slips(table, columns)
    chosen = _chosen(table, columns)
    rows = table.select(**chosen)
    dated = _is_dated(table[columns.period])
    periods = _counted(engine, rows, "p")
    if not periods:
        raise DataError(f"the table of panel rows has no rows; it has {sorted(table.columns)}.")
    _refuse_lost(periods, columns, dated=dated)
    calendar = calendar_of(
        [v for v in periods if v is not None],
        column=columns.period,
        kind=columns.calendar,
        dated=dated,
        filled=columns.absent == "zero",
    )
    notes = []
    empty = len(calendar.labels) - len(calendar.values)
    if empty:
        notes.append(f"{empty} periods have no row of any unit; they are zeros")
    if columns.treated is not None:
        return LongRows(
            table=rows, columns=columns, calendar=calendar, starts={}, notes=tuple(notes)
        )
    if columns.waves is not None:
        rows, found = _with_waves(engine, rows, columns, dated=dated)
        name, label = "starts_on", "clusters"
    else:
        found = _counted(engine, rows, "s")
        name, label = str(columns.start), "rows"
    _refuse_starts(found, name, columns.period, dated=dated)
    starts, said = starts_of(
        found, calendar, column=name, label=label, announced=columns.announced
    )
    return LongRows(
        table=rows,
        columns=columns,
        calendar=calendar,
        starts=starts,
        notes=(*notes, *said),
    )


def refuse_unreadable(engine: Engine, rows: LongRows) -> None:
    """Say which values could not be used: called when a pass has met some.

    Raises:
        DataError: With every column at fault, its rows and a fix.
    """
    table, columns = rows.table, rows.columns
    _refuse_blank(engine, table, "u", "unit", columns.unit)
    if columns.cluster is not None:
        _refuse_blank(engine, table, "c", "cluster", columns.cluster)
    numbers = columns.numbers | ({} if columns.treated is None else {"on": columns.treated})
    sums: dict[str, Any] = {"of": ibis._.count()}
    for key in numbers:
        value = table[key]
        endless = value.isinf().fill_null(False)
        sums |= {f"n {key}": _count(value.isnull() | value.isnan())}
        sums |= {f"i {key}": _count(endless)}
    found = engine.one(table.aggregate(**sums))
    parts = []
    for key, name in numbers.items():
        empty, endless = int(found[f"n {key}"] or 0), int(found[f"i {key}"] or 0)
        if empty:
            parts.append(f"{name!r} is empty or not a number in {empty:,}")
        if endless:
            parts.append(f"{name!r} is infinite in {endless:,}")
    if parts:
        raise DataError(
            f"of {int(found['of']):,} rows, {' and '.join(parts)}; fill them with 0 where "
            "nothing happened, or leave these rows out and the unit counts as unobserved then."
        )


def _refuse_blank(engine: Engine, table: ibis.Table, key: str, kind: str, name: str) -> None:
    found = engine.one(table.aggregate(n=_count(table[key].isnull()), of=ibis._.count()))
    if found["n"]:
        raise DataError(
            f"{kind} {name!r} is empty in {int(found['n']):,} of {int(found['of']):,} rows; "
            f"every row belongs to a {kind}: fill it in, or leave these rows out."
        )


def _refuse_slips(table: ibis.Table, columns: Columns) -> None:
    if columns.absent not in ABSENT:
        raise DataError(
            f"absent is {columns.absent!r}; it must be one of {list(ABSENT)}."
            f"{nearest(columns.absent, ABSENT)}"
        )
    given = [
        name
        for name, value in (
            ("start", columns.start),
            ("treated", columns.treated),
            ("waves", columns.waves),
        )
        if value is not None
    ]
    if len(given) != 1:
        raise DataError(
            f"a panel needs one of start, treated or waves to know who is treated when; it got "
            f"{given or 'none'}."
        )
    if columns.waves is not None and columns.cluster is None:
        raise DataError("waves say when clusters start; name the column of the cluster too.")
    if not columns.components:
        raise DataError(
            "a panel needs at least one component; name the columns to be measured."
        )
    twice = sorted({c for c in columns.components if columns.components.count(c) > 1})
    if twice:
        raise DataError(f"component {twice[0]!r} is named twice; name it once.")
    roles = {
        "unit": columns.unit,
        "period": columns.period,
        "start": columns.start,
        "treated": columns.treated,
        "cluster": columns.cluster,
        "weight": columns.weight,
    }
    asked = [(f"{role} of the panel", name) for role, name in roles.items() if name is not None]
    asked += [("a component of the panel", name) for name in columns.components]
    asked += [("a covariate of the panel", name) for name in columns.covariates]
    for asker, name in asked:
        if name not in table.columns:
            raise DataError.missing_column(name, asker, table.columns)


def _chosen(table: ibis.Table, columns: Columns) -> dict[str, ir.Value]:
    chosen: dict[str, ir.Value] = {
        "u": _id(table, columns.unit),
        "p": _period(table[columns.period], columns.period),
    }
    if columns.cluster is not None:
        chosen["c"] = _id(table, columns.cluster)
    if columns.start is not None:
        chosen["s"] = _start(table, columns)
    if columns.treated is not None:
        chosen["on"] = _number(table, columns.treated)
    return chosen | {key: _number(table, name) for key, name in columns.numbers.items()}


def _id(table: ibis.Table, name: str) -> ir.Value:
    column = table[name]
    kind = column.type()
    if kind.is_floating() or kind.is_decimal():
        raise DataError.float_ids(name, "panel", str(kind))
    if kind.is_integer():
        return column.cast("int64")
    if kind.is_string():
        return column
    return column.cast("string")


def _number(table: ibis.Table, name: str) -> ir.Value:
    column = table[name]
    kind = column.type()
    if kind.is_boolean():
        return column.ifelse(1.0, 0.0)
    if not kind.is_numeric():
        raise DataError.wrong_type(name, "panel", found=str(kind), wanted="numbers")
    return column.cast("float64")


def _is_dated(column: ir.Value) -> bool:
    kind = column.type()
    return bool(kind.is_date() or kind.is_timestamp())


def _period(column: ir.Value, name: str) -> ir.Value:
    kind = column.type()
    if kind.is_string():
        raise DataError(
            f"period {name!r} is text, whose order nobody knows; read it as dates, or number "
            "the periods 1, 2, 3 in order."
        )
    if _is_dated(column):
        return _days(column, name)
    if not kind.is_numeric():
        raise DataError.wrong_type(name, "panel", found=str(kind), wanted="dates or numbers")
    return column.cast("float64")


def _days(column: ir.Value, name: str) -> ir.Value:
    """Return days since 1970; engines disagree on the date of a zoned time."""
    kind = column.type()
    if kind.is_timestamp() and kind.timezone:
        raise DataError(
            f"{name!r} is a time with a zone, whose date depends on the clock that reads it; "
            "write the shop's date."
        )
    seconds = column.cast("timestamp").epoch_seconds().cast("float64")
    return seconds / float(DAY)


def _start(table: ibis.Table, columns: Columns) -> ir.Value:
    name = str(columns.start)
    dated = _is_dated(table[columns.period])
    return _as_start(table[name], name, dated=dated)


def _as_start(column: ir.Value, name: str, *, dated: bool) -> ir.Value:
    """Return a start on the scale of the periods, ``EMPTY`` if none, null if unreadable."""
    kind, none = column.type(), ibis.null("float64")
    if kind.is_string():
        text = column.strip()
        blank = text.isnull() | text.isin(NEVER_WORDS)
        read = _days(text.try_cast("date"), name) if dated else text.try_cast("float64")
        return blank.ifelse(EMPTY, read)
    if _is_dated(column):
        days = _days(column, name)
        return days.fill_null(EMPTY) if dated else column.isnull().ifelse(EMPTY, none)
    if not kind.is_numeric() and not kind.is_null():
        raise DataError.wrong_type(name, "panel", found=str(kind), wanted="dates or numbers")
    number = column.cast("float64")
    if dated:
        # A code of never treated beside dates, such as 0 or infinity, is all that is allowed.
        coded = number.isnull() | number.isnan() | (number == 0) | number.isinf()
        return coded.ifelse(EMPTY, none)
    return (number.isnull() | number.isnan()).ifelse(EMPTY, number)


def _refuse_starts(found: dict[Any, int], name: str, period: str, *, dated: bool) -> None:
    """Refuse starts that are there and cannot be read on the scale of the periods."""
    if None in found:
        wanted = "dates" if dated else "numbers"
        raise DataError(
            f"start {name!r} cannot be read in {found[None]:,} of {sum(found.values()):,} "
            f"rows; period {period!r} holds {wanted}: write both the same way, and leave the "
            "start empty for units never treated."
        )


def _counted(engine: Engine, rows: ibis.Table, key: str) -> dict[Any, int]:
    """Count rows by value; None stands for what is not there or not a number."""
    found: dict[Any, int] = {}
    for row in engine.rows(rows.group_by(v=rows[key]).agg(n=ibis._.count())):
        value = row["v"]
        lost = value is None or value != value  # noqa: PLR0124 - NaN is not itself
        at = None if lost else float(value)
        found[at] = found.get(at, 0) + int(row["n"])
    return found


def _refuse_lost(periods: dict[Any, int], columns: Columns, *, dated: bool) -> None:
    endless = [v for v in periods if v is not None and v in {float("inf"), float("-inf")}]
    lost = periods.get(None, 0) + sum(periods[v] for v in endless)
    if lost:
        raise DataError(
            f"period {columns.period!r} is empty or infinite in {lost:,} of "
            f"{sum(periods.values()):,} rows; fill it in, or leave these rows out."
        )
    torn = [v for v in periods if not float(v).is_integer()]
    if torn and dated:
        raise DataError(
            f"period {columns.period!r} has times within the day; write the date on which each "
            "period begins."
        )


def _with_waves(
    engine: Engine, rows: ibis.Table, columns: Columns, *, dated: bool
) -> tuple[ibis.Table, dict[Any, int]]:
    """Give each row the start of its cluster, and count clusters by start."""
    waves = columns.waves
    assert waves is not None  # noqa: S101 - told to the type checker
    for name in ("cluster", "starts_on"):
        if name not in waves.columns:
            raise DataError.missing_column(name, "the table of waves", waves.columns)
    tidy = waves.select(
        c=_id(waves, "cluster"),
        s=_as_start(waves["starts_on"], "starts_on", dated=dated),
    )
    _refuse_waves(engine, rows, tidy, columns)
    joined = rows.inner_join(tidy, "c")
    return joined, _counted(engine, tidy.semi_join(rows.select("c").distinct(), "c"), "s")


def _refuse_waves(
    engine: Engine, rows: ibis.Table, waves: ibis.Table, columns: Columns
) -> None:
    if rows["c"].type().is_string() != waves["c"].type().is_string():
        raise DataError(
            f"cluster {columns.cluster!r} is {rows['c'].type()} and 'cluster' of the waves is "
            f"{waves['c'].type()}; write both as text or both as whole numbers."
        )
    twice = waves.group_by("c").agg(n=ibis._.count()).filter(ibis._.n > 1)
    found = engine.one(twice.aggregate(n=ibis._.count(), example=ibis._.c.min()))
    if found["n"]:
        raise DataError(
            f"{int(found['n'])} clusters have several rows in the table of waves, such as "
            f"{found['example']!r}; each cluster starts once."
        )
    _refuse_blank(engine, rows, "c", "cluster", str(columns.cluster))
    lost = rows.select("c").distinct().anti_join(waves, "c")
    found = engine.one(lost.aggregate(n=ibis._.count(), example=ibis._.c.min()))
    if found["n"]:
        raise DataError(
            f"{int(found['n'])} clusters of the panel are not in the table of waves, such as "
            f"{found['example']!r}; list them, with starts_on empty if they never start."
        )


def _count(test: ir.BooleanValue) -> ir.NumericScalar:
    return test.ifelse(1, 0).sum()
