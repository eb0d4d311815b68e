"""What does one source hold, in our names and kinds, and what in it cannot be used?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis

from upliftlab.data import values
from upliftlab.data.contracts import CONTRACTS, Column, Contract
from upliftlab.data.engine import Engine, connect, embedded, engine_of
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from upliftlab.experiment import Source

EDGE_ENCODINGS = ("utf-8", "utf8", "utf-8-sig")
"""Encodings the engine reads itself; any other file is read at the edge."""


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
    return connect(url)


def raw(
    engine: Engine, name: str, source: Source | None, given: object | None, how: Reading
) -> ibis.Table:
    """Return a source as the engine sees it: files, tables, SQL, or frames from Python."""
    if isinstance(given, Path):
        return engine.backend.read_parquet(str(given))
    if given is not None:
        return _from_python(engine, name, given)
    if source is None:
        raise DataError.no_source(name)
    if source.table:
        return _named(engine, name, source.table)
    if source.sql:
        return _sql(engine, name, source, how)
    return _files(engine, name, source, how)


def read(
    table: ibis.Table,
    contract: Contract,
    *,
    mapping: Mapping[str, str],
    money: str | None,
    how: Reading,
    extra: Sequence[Column] = (),
) -> ibis.Table:
    """Select a source's columns under our names and kinds.

    Beside each column that can be spoiled stands ``<name>?``, 1 where a value was there and
    could not be read: ``quality`` counts them before anything is computed.

    Raises:
        DataError: For a missing column, a column of the wrong kind, ids stored as floating
            point numbers, or money without a unit.
    """
    chosen: dict[str, Any] = {}
    for column in (*contract.columns, *extra):
        theirs = _find(column, table.columns, mapping, contract.source)
        if theirs is None:
            continue
        value = table[theirs]
        words, fits = values.WANTED[column.kind]
        if not fits(value.type()):
            raise DataError.wrong_type(
                theirs, contract.source, found=str(value.type()), wanted=words
            )
        factor = _factor(theirs, column, money, contract.source, how)
        result = values.reader(
            column.kind, name=theirs, table=contract.source, factor=factor, offset=how.offset
        )(value)
        chosen[column.name] = result
        if column.kind not in {"id", "text", "any"}:
            chosen[f"{column.name}?"] = values.spoiled(value, result).ifelse(1, 0)
    return table.select(**chosen)


def quality(engine: Engine, table: ibis.Table, contract: Contract) -> tuple[int, dict[str, int]]:
    """Count rows and unusable values, and refuse what no rule can repair.

    Returns:
        Rows, and missing values per required or money column.

    Raises:
        DataError: For an empty source, values that cannot be read, or negative amounts.
    """
    kinds = {column.name: column for column in contract.columns}
    plain = [name for name in table.columns if not name.endswith("?")]
    sums: dict[str, Any] = {"rows": ibis._.count()}
    for name in plain:
        column = kinds.get(name)
        sums[f"missing {name}"] = table[name].isnull().ifelse(1, 0).sum()
        if f"{name}?" in table.columns:
            sums[f"spoiled {name}"] = table[f"{name}?"].sum()
        if column and column.kind == "money" and not column.may_be_negative:
            sums[f"negative {name}"] = (table[name] < 0).ifelse(1, 0).sum()
            sums[f"least {name}"] = table[name].min()
    found = engine.one(table.aggregate(**sums))
    if not found["rows"]:
        raise DataError.empty(contract.source)
    for name in plain:
        if found.get(f"spoiled {name}"):
            words, _ = values.WANTED[kinds[name].kind] if name in kinds else ("numbers", None)
            raise DataError.unreadable_values(
                name, contract.source, rows=int(found[f"spoiled {name}"]), wanted=words
            )
        if found.get(f"negative {name}"):
            raise DataError.negative(
                name,
                contract.source,
                rows=int(found[f"negative {name}"]),
                of=int(found["rows"]),
                lowest=int(found[f"least {name}"]),
            )
    return int(found["rows"]), {name: int(found[f"missing {name}"] or 0) for name in plain}


def contract_of(source: str) -> Contract:
    """Look up what a source must hold."""
    return CONTRACTS[source]


def _find(
    column: Column, have: Collection[str], mapping: Mapping[str, str], source: str
) -> str | None:
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


def _factor(
    theirs: str, column: Column, money: str | None, source: str, how: Reading
) -> int:
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
        return given
    kind = type(given).__module__.partition(".")[0]
    if kind == "polars":
        return engine.text_table(given.to_arrow(), name)  # type: ignore[attr-defined]
    if kind == "pandas":
        return engine.text_table(pa.Table.from_pandas(given, preserve_index=False), name)
    if isinstance(given, pa.Table):
        return engine.text_table(given, name)
    raise DataError.unknown_table(name, type(given).__name__)


def _named(engine: Engine, name: str, table: str) -> ibis.Table:
    have = engine.backend.list_tables()
    if table not in have:
        raise DataError.missing_table(table, f"source {name!r}", have)
    return engine.backend.table(table)


def _sql(engine: Engine, name: str, source: Source, how: Reading) -> ibis.Table:
    path = _path(str(source.sql), how)
    if not path.is_file():
        raise DataError.missing_file(name, str(source.sql))
    return engine.backend.sql(path.read_text(encoding="utf-8"))


def _files(engine: Engine, name: str, source: Source, how: Reading) -> ibis.Table:
    pattern = _path(str(source.file), how)
    found = (
        [pattern]
        if pattern.is_file()
        else sorted(p for p in pattern.parent.glob(pattern.name) if p.is_file())
    )
    if not found:
        raise DataError.missing_file(name, str(source.file))
    if any(path.stat().st_size == 0 for path in found):
        raise DataError.empty(name)
    suffixes = {"".join(path.suffixes[-1:]) for path in found}
    names = [str(path) for path in found]
    if suffixes <= {".parquet", ".pq"}:
        return engine.backend.read_parquet(names if len(names) > 1 else names[0])
    encoding = (source.encoding or "utf-8").lower()
    if suffixes & {".xlsx", ".xls", ".xlsm"} or encoding not in EDGE_ENCODINGS:
        return engine.text_table(_edge(found, encoding, source.sheet), name)
    if engine.name == "duckdb":
        return engine.backend.read_csv(
            names, all_varchar=True, header=True, sample_size=-1, strict_mode=True
        )
    return engine.text_table(_edge(found, encoding, None), name)


def _path(text: str, how: Reading) -> Path:
    path = Path(text).expanduser()
    return path if path.is_absolute() or how.base is None else how.base / path


def _edge(paths: Sequence[Path], encoding: str, sheet: str | None) -> Any:  # noqa: ANN401
    """Read spreadsheets and foreign encodings as text; numbers in ids would lose digits."""
    import pandas as pd
    import pyarrow as pa

    frames = []
    for path in paths:
        if path.suffix in {".xlsx", ".xls", ".xlsm"}:
            frame = pd.read_excel(path, sheet_name=sheet or 0, dtype=object)
            frames.append(_spreadsheet_text(frame, path.name))
        else:
            try:
                frames.append(
                    pd.read_csv(path, dtype=str, keep_default_na=False, encoding=encoding)
                )
            except (UnicodeDecodeError, LookupError) as problem:
                raise DataError.encoding(path.name, encoding) from problem
    whole = pd.concat(frames, ignore_index=True).astype("string")
    return pa.Table.from_pandas(whole, preserve_index=False)


def _spreadsheet_text(frame: Any, file: str) -> Any:  # noqa: ANN401
    """Turn cells into text; a whole number of 16 digits or more has already lost some."""
    import pandas as pd

    def text(cell: object) -> object:
        if cell is None or cell is pd.NaT or (isinstance(cell, float) and cell != cell):
            return None
        if isinstance(cell, (int, float)) and not isinstance(cell, bool):
            if abs(cell) >= 10**15 and float(cell).is_integer():
                raise DataError.float_ids("a column of numbers", file, int(cell))
            return str(int(cell)) if float(cell).is_integer() else repr(float(cell))
        return str(cell)

    return frame.map(text)
