"""What does one source hold, in our names and kinds, and what in it cannot be used?"""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis

from upliftlab.data import values
from upliftlab.data.engine import Engine, connect, embedded, engine_of
from upliftlab.data.files import engine_errors, path_of, read_files, said
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from upliftlab.data.contracts import Column, Contract
    from upliftlab.experiment import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How to read: the shop's clock and the currency's smallest unit.

    Attributes:
        offset: Shop time minus UTC, in seconds.
        minor: Minor units in one main unit of the currency, such as 100 fen in a yuan.
        main_unit: The word for the main unit.
        minor_unit: The word for the minor unit.
        minor_names: Words that mean the minor unit.
        base: Folder that relative file names start from.
    """

    offset: int
    minor: int
    main_unit: str = "yuan"
    minor_unit: str = "fen"
    minor_names: tuple[str, ...] = ("fen",)
    base: Path | None = None


def open_engine(sources: Mapping[str, Source], given: Mapping[str, object]) -> Engine:
    """Choose the engine: where a given table lives, else the named one, else the embedded."""
    for table in given.values():
        if isinstance(table, ibis.Table) and not isinstance(
            table.op(), ibis.expr.operations.InMemoryTable
        ):
            return engine_of(table)
    urls = {source.engine for source in sources.values() if source.engine}
    if len(urls) > 1:
        raise DataError.many_engines(sorted(urls))
    if not urls:
        return embedded()
    variable = urls.pop().removeprefix("$")
    url = os.environ.get(variable)
    if not url:
        raise DataError.engine_not_set(variable)
    try:
        return connect(url)
    except engine_errors() as problem:
        # Only the kind of problem: its text may repeat the connection and its password.
        raise DataError.engine_failed(variable, type(problem).__name__) from None


@contextmanager
def in_utc(engine: Engine) -> Iterator[None]:
    """Let the engine's session tell time in UTC, and give its own zone back afterwards.

    Engines turn zoned points in time into seconds by way of the session's zone.
    """
    if engine.name != "duckdb":
        yield
        return
    (zone,) = engine.backend.raw_sql("SELECT current_setting('TimeZone')").fetchone()
    engine.backend.raw_sql("SET TimeZone = 'UTC'")
    try:
        yield
    finally:
        quoted = zone.replace("'", "''")
        engine.backend.raw_sql(f"SET TimeZone = '{quoted}'")


def raw(
    engine: Engine, name: str, source: Source | None, given: object | None, how: Reading
) -> ibis.Table:
    """Return a source as the engine sees it: files, tables, SQL, or frames from Python."""
    if isinstance(given, Path):
        return engine.zoned(engine.backend.read_parquet(str(given)))
    if given is not None:
        return _from_python(engine, name, given)
    if source is None:
        raise DataError.no_source(name)
    if source.table:
        return engine.zoned(_named(engine, name, source.table))
    if source.sql:
        return engine.zoned(_sql(engine, name, source, how))
    return engine.zoned(read_files(engine, name, source, how.base))


def read(
    table: ibis.Table,
    contract: Contract,
    *,
    mapping: Mapping[str, str],
    money: str | None,
    how: Reading,
    extra: Sequence[Column] = (),
    tidy: Collection[str] = (),
) -> ibis.Table:
    """Select a source's columns under our names and kinds.

    Beside each column that can be spoiled stands ``<name>?``, 1 where a value was there and
    could not be read: ``quality`` counts them before anything is computed.

    Raises:
        DataError: For a missing column, a column of the wrong kind, ids stored as floating
            point numbers, or money without a unit.
    """
    _refuse_unread(contract, mapping, extra)
    chosen: dict[str, Any] = {}
    for column in (*contract.columns, *extra):
        theirs = find_column(column, table.columns, mapping, contract.source)
        if theirs is None:
            continue
        value = table[theirs]
        words, fits = values.WANTED[column.kind]
        if not fits(value.type()):
            raise DataError.wrong_type(
                theirs, contract.source, found=str(value.type()), wanted=words
            )
        factor = _factor(theirs, column, money, contract.source, how)
        reader = values.reader(
            column.kind, name=theirs, table=contract.source, factor=factor, offset=how.offset
        )
        result = value if theirs in tidy else reader(value)
        chosen[column.name] = result
        if column.kind not in {"id", "text", "any"}:
            chosen[f"{column.name}?"] = values.spoiled(value, result).ifelse(1, 0)
    return table.select(**chosen)


def one_column(
    table: ibis.Table,
    contract: Contract,
    name: str,
    *,
    mapping: Mapping[str, str],
    how: Reading,
) -> ibis.Value | None:
    """Return one id, text or time of a raw source under our kind; None where it has none.

    Raises:
        DataError: When the plan maps a column that is not there.
    """
    column = contract.column(name)
    if column is None:
        return None
    theirs = find_column(
        replace(column, required=False), table.columns, mapping, contract.source
    )
    if theirs is None:
        return None
    reader = values.reader(
        column.kind, name=theirs, table=contract.source, factor=1, offset=how.offset
    )
    return reader(table[theirs])


def tidy_ids(
    engine: Engine, table: ibis.Table, contract: Contract, mapping: Mapping[str, str]
) -> frozenset[str]:
    """Find the id columns whose texts need no trimming at all.

    Worth a look where columns are cheap to scan: copying texts through a condition costs
    several times what reading them does.
    """
    found = {
        find_column(column, table.columns, mapping, contract.source)
        for column in contract.columns
        if column.kind == "id"
    }
    names = sorted(name for name in found if name and table[name].type().is_string())
    if not names:
        return frozenset()
    tidy = {f"c{i}": values.is_tidy(table[name]).all() for i, name in enumerate(names)}
    answer = engine.one(table.aggregate(**tidy))
    return frozenset(name for i, name in enumerate(names) if answer[f"c{i}"])


def plain(table: ibis.Table) -> ibis.Table:
    """Leave out the marks that ``read`` put beside columns."""
    return table.drop(*[name for name in table.columns if name.endswith("?")])


def quality(
    engine: Engine,
    table: ibis.Table,
    contract: Contract,
    *,
    extra: Sequence[Column] = (),
    how: Reading,
) -> tuple[int, dict[str, int]]:
    """Count rows and unusable values, and refuse what no rule can repair.

    Returns:
        Rows, and missing values per column.

    Raises:
        DataError: For an empty source, values that cannot be read, or negative amounts.
    """
    kinds = {column.name: column for column in (*contract.columns, *extra)}
    names = [name for name in table.columns if not name.endswith("?")]
    signed = {
        name
        for name, column in kinds.items()
        if column.kind in {"money", "number"} and not column.may_be_negative
    }
    sums: dict[str, Any] = {"rows": ibis._.count()}
    for name in names:
        sums[f"missing {name}"] = table[name].isnull().ifelse(1, 0).sum()
        if f"{name}?" in table.columns:
            sums[f"spoiled {name}"] = table[f"{name}?"].sum()
        if name in signed:
            sums[f"negative {name}"] = (table[name] < 0).ifelse(1, 0).sum()
            sums[f"least {name}"] = table[name].min()
    found = engine.one(table.aggregate(**sums))
    rows = int(found["rows"])
    if not rows:
        raise DataError.empty(contract.source)
    for name in names:
        _refuse_spoiled(
            kinds[name], contract.source, int(found.get(f"spoiled {name}") or 0), how
        )
        below = int(found.get(f"negative {name}") or 0)
        if below:
            lowest = found[f"least {name}"]
            lowest = int(lowest) if float(lowest).is_integer() else lowest
            raise DataError.negative(name, contract.source, rows=below, of=rows, lowest=lowest)
    return rows, {name: int(found[f"missing {name}"] or 0) for name in names}


def _refuse_spoiled(column: Column, source: str, rows: int, how: Reading) -> None:
    if rows and column.kind == "money":
        units = (how.main_unit, how.minor_unit)
        raise DataError.unreadable_money(column.name, source, rows=rows, units=units)
    if rows:
        words, _ = values.WANTED[column.kind]
        raise DataError.unreadable_values(column.name, source, rows=rows, wanted=words)


def _refuse_unread(
    contract: Contract, mapping: Mapping[str, str], extra: Sequence[Column]
) -> None:
    """A mapping that nothing reads is a slip of the pen; customers may have any columns."""
    if contract.source in {"users", "units"}:
        return
    known = [column.name for column in (*contract.columns, *extra)]
    aliases = {alias for column in contract.columns for alias in column.aliases}
    for name in mapping:
        if name not in aliases and name not in known:
            raise DataError.unknown_mapping(name, contract.source, known)


def find_column(
    column: Column, have: Collection[str], mapping: Mapping[str, str], source: str
) -> str | None:
    """Say under which name a table has a column; None where it has none.

    Raises:
        DataError: When the plan maps it to a column that is not there, or it must be there.
    """
    for name in (column.name, *column.aliases):
        if name in mapping:
            if mapping[name] not in have:
                raise DataError.missing_column(mapping[name], f"source {source!r}", have)
            return mapping[name]
    taken = set(mapping.values())
    for name in (column.name, *column.aliases):
        if name in have and name not in taken:
            return name
    if column.required:
        raise DataError.missing_column(column.name, f"source {source!r}", have)
    return None


def _factor(theirs: str, column: Column, money: str | None, source: str, how: Reading) -> int:
    if column.kind != "money":
        return 1
    if theirs.endswith("_fen"):
        if money is not None and money not in how.minor_names:
            raise DataError.money_unit_clash(theirs, source, money)
        return 1
    if money is None:
        raise DataError.money_unit(source, [theirs], (how.main_unit, how.minor_unit))
    return 1 if money in how.minor_names else how.minor


def _from_python(engine: Engine, name: str, given: object) -> ibis.Table:
    import pyarrow as pa

    if isinstance(given, ibis.Table):
        return engine.zoned(given)
    kind = type(given).__module__.partition(".")[0]
    if kind == "polars" and hasattr(given, "to_arrow"):
        given = given.to_arrow()
    elif kind == "pandas" and hasattr(given, "columns"):
        given = _from_pandas(name, given)
    if not isinstance(given, pa.Table):
        raise DataError.unknown_table(name, type(given).__name__)
    points = {
        field.name
        for field in given.schema
        if pa.types.is_timestamp(field.type) and field.type.tz is not None
    }
    return engine.zoned(engine.text_table(given, name), points)


def _from_pandas(name: str, frame: Any) -> Any:  # noqa: ANN401
    """Hand a frame over as Arrow; columns of mixed kinds and repeated names are refused."""
    import pyarrow as pa

    columns = list(map(str, frame.columns))
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise DataError.wrong_type(repeated[0], name, found="there twice", wanted="there once")
    arrays = {}
    for column in frame.columns:
        try:
            arrays[str(column)] = pa.array(frame[column], from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise DataError.wrong_type(
                str(column), name, found="of mixed kinds", wanted="of one kind, such as text"
            ) from None
    return pa.table(arrays)


def _named(engine: Engine, name: str, table: str) -> ibis.Table:
    """Find a table, perhaps within a schema: shop.order_lines."""
    *schema, bare = table.split(".")
    try:
        return engine.backend.table(bare, database=".".join(schema) or None)
    except engine_errors():
        with _without_old_names():
            have = engine.backend.list_tables(database=".".join(schema) or None)
        raise DataError.missing_table(table, f"source {name!r}", have) from None


@contextmanager
def _without_old_names() -> Iterator[None]:
    """Let ibis call its engine by names that the engine is about to drop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _sql(engine: Engine, name: str, source: Source, how: Reading) -> ibis.Table:
    path = path_of(str(source.sql), how.base)
    if not path.is_file():
        raise DataError.missing_file(name, str(source.sql))
    text = path.read_text(encoding="utf-8").strip().rstrip(";")
    try:
        with _without_old_names():
            return engine.backend.sql(text)
    except engine_errors() as problem:
        raise DataError.query_failed(name, str(source.sql), said(problem)) from None
