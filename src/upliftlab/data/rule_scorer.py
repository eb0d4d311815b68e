"""Which arm does a rule give to every row of a file, whatever its size?"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from upliftlab.errors import DataError, UpliftlabError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ARM = "arm"
_READERS = {".parquet": "read_parquet", ".pq": "read_parquet", ".csv": "read_csv"}


def score_file(
    expression: str,
    source: str | Path,
    target: str | Path,
    *,
    needs: Collection[str],
    column: str = ARM,
    texts: Collection[str] = (),
) -> int:
    """Write a file with one more column: the arm that a rule gives to each row.

    Rows stream through the engine; memory does not grow with the file. The new file appears
    whole or not at all, and the source is left alone.

    Args:
        expression: The rule as DuckDB's SQL.
        source: Parquet or CSV.
        target: Parquet to write.
        needs: Columns that the expression asks for.
        column: Name of the new column.
        texts: Columns that a CSV must not turn into numbers: ids with leading zeros.

    Returns:
        How many rows were written.

    Raises:
        DataError: When a column is missing, or the new one is there already.
        UpliftlabError: When the files are not of a kind that can be read or written.
    """
    origin, place = Path(source), Path(target)
    reader = _READERS.get(origin.suffix.lower())
    if reader is None or place.suffix.lower() not in {".parquet", ".pq"}:
        raise UpliftlabError(
            f"score reads .parquet or .csv and writes .parquet; found {origin.name} and "
            f"{place.name}."
        )
    if not origin.exists():
        raise DataError(f"there is no file {origin}; name the table to score.")
    if place.exists() and place.samefile(origin):
        raise UpliftlabError(f"{place} is the source itself; name another file to write.")
    with duckdb.connect() as engine:
        table = _table(engine, reader, origin, texts)
        asked = f"DESCRIBE SELECT * FROM {table}"  # noqa: S608 - the path is escaped
        found = dict(row[:2] for row in _done(engine, asked).fetchall())
        _refuse_columns(list(found), needs, column, origin.name)
        _refuse_float_ids(found, texts, origin.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        query = f"SELECT *, {expression} AS {_quoted(column)} FROM {table}"  # noqa: S608 - names are quoted
        return _written(engine, query, place)


def count_where(
    source: str | Path, conditions: Mapping[str, str], *, texts: Collection[str] = ()
) -> dict[str, int]:
    """Count the rows of a file of which each condition is true.

    Args:
        source: Parquet or CSV.
        conditions: Name -> DuckDB's SQL.
        texts: Columns that a CSV must not turn into numbers.

    Returns:
        Name -> rows, where there are any.
    """
    origin = Path(source)
    if not conditions:
        return {}
    with duckdb.connect() as engine:
        table = _table(engine, _READERS[origin.suffix.lower()], origin, texts)
        counts = ", ".join(f"COUNT(*) FILTER ({each})" for each in conditions.values())
        query = f"SELECT {counts} FROM {table}"  # noqa: S608 - names are quoted
        found = _done(engine, query).fetchall()[0]
    return {name: int(n) for name, n in zip(conditions, found, strict=True) if n}


def _table(
    engine: duckdb.DuckDBPyConnection, reader: str, origin: Path, texts: Collection[str]
) -> str:
    path = f"'{_escaped(str(origin))}'"
    if reader == "read_csv" and texts:
        asked = f"DESCRIBE SELECT * FROM read_csv({path})"  # noqa: S608 - the path is escaped
        have = {row[0].lower(): row[0] for row in _done(engine, asked).fetchall()}
        kept = [have[name.lower()] for name in texts if name.lower() in have]
        if kept:
            kinds = ", ".join(f"'{_escaped(name)}': 'VARCHAR'" for name in kept)
            return f"read_csv({path}, types = {{{kinds}}})"
    return f"{reader}({path})"


def _done(engine: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyConnection:
    try:
        return engine.execute(query)
    except duckdb.Error as problem:
        raise DataError(f"the table cannot be read: {_first(problem)}.") from None


def _first(problem: duckdb.Error) -> str:
    return str(problem).splitlines()[0].rstrip(".")


def _refuse_float_ids(found: dict[str, str], texts: Collection[str], name: str) -> None:
    """An id that went through floating point is another text, so another draw."""
    kinds = {each.lower(): kind for each, kind in found.items()}
    for each in texts:
        kind = kinds.get(each.lower(), "")
        if kind.startswith(("DOUBLE", "FLOAT", "DECIMAL")):
            raise DataError.float_ids(each, name, kind.lower())


def _escaped(text: str) -> str:
    return text.replace("'", "''")


def _refuse_columns(have: list[str], needs: Collection[str], column: str, name: str) -> None:
    # DuckDB reads names without regard to case.
    known = {each.lower() for each in have}
    for each in needs:
        if each.lower() not in known:
            raise DataError.missing_column(each, name, have)
    if column.lower() in known:
        raise DataError(
            f"{name} has a column {column!r} already, and nothing is overwritten; name the "
            "new one with --column."
        )


def _written(engine: duckdb.DuckDBPyConnection, query: str, place: Path) -> int:
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        where = _escaped(str(temporary))
        done = engine.execute(
            f"COPY ({query}) TO '{where}' (FORMAT parquet, USE_TMP_FILE false)"
        ).fetchone()
        temporary.chmod(0o644)
        temporary.replace(place)
    except duckdb.Error as problem:
        raise DataError(f"the rule could not be applied: {_first(problem)}.") from None
    finally:
        temporary.unlink(missing_ok=True)
    return int(done[0]) if done else 0


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
