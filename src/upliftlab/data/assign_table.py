"""Which arm does a plan give to every unit of a table, whatever its size?"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from upliftlab.assignment.hashing import Dialect, edge
from upliftlab.assignment.statement import Request, assignment_sql
from upliftlab.errors import DataError, UpliftlabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from upliftlab.assignment.recipe import Recipe

READERS = {".parquet": "read_parquet", ".pq": "read_parquet", ".csv": "read_csv"}
_WRITERS = {".parquet": "FORMAT parquet", ".pq": "FORMAT parquet", ".csv": "FORMAT csv, HEADER"}
_TO = Dialect("duckdb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written, counted.

    Attributes:
        rows: In the new table.
        arms: Arm -> units.
        set_aside: Why a row of the source is not in the new table -> rows.
    """

    rows: int
    arms: Mapping[str, int]
    set_aside: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"rows": self.rows, "arms": dict(self.arms), "set_aside": dict(self.set_aside)}


def assign_file(
    recipe: Recipe, request: Request, source: str | Path, target: str | Path
) -> Written:
    """Write the assignment table of a file of units.

    Rows stream through the engine, so memory does not grow with the file. The new file appears
    whole or not at all; a file that is there stays.

    Args:
        recipe: How arms are given.
        request: What the source's columns are called; its ``table`` is not used.
        source: Parquet or CSV, one row per unit; a pattern may name several.
        target: Parquet or CSV to write.

    Raises:
        DataError: When a column is missing, ids are decimal numbers, or no unit is left.
        UpliftlabError: When the target is there, or a file is of another kind.
    """
    place = free(Path(target))
    with duckdb.connect() as engine:
        table = reading(engine, source)
        have = columns_of(engine, table)
        refuse_columns(recipe, request, have, Path(source).name)
        query = assignment_sql(recipe, _with_table(request, table))
        rows = copied(engine, query, place)
        if not rows:
            place.unlink()
            raise DataError.empty(Path(source).name)
        return Written(
            rows=rows,
            arms=_by_arm(engine, place, request),
            set_aside=_set_aside(engine, recipe, request, table, rows),
        )


def reading(engine: duckdb.DuckDBPyConnection, source: str | Path) -> str:
    """Write the expression that reads a file, or all files of a pattern.

    Raises:
        DataError: When there is none.
        UpliftlabError: When it is no Parquet and no CSV.
    """
    path = Path(source)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UpliftlabError(f"assign reads .parquet or .csv; found {path.name}.")
    if not path.exists() and not any(path.parent.glob(path.name)):
        raise DataError(f"there is no file {path}; name the table of units to assign.")
    more = ", all_varchar = true" if reader == "read_csv" else ""
    del engine
    return f"{reader}({_TO.text(str(path))}{more})"


def columns_of(engine: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Name the columns of a table with their types.

    Raises:
        DataError: When the file is not what its name says.
    """
    with refusals(table):
        asked = f"DESCRIBE SELECT * FROM {table}"  # noqa: S608 - the path is quoted
        return {row[0]: row[1] for row in engine.execute(asked).fetchall()}


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turn what the engine refuses into one sentence."""
    try:
        yield
    except duckdb.Error as problem:
        first = str(problem).splitlines()[0].rstrip(".")
        raise DataError(f"the table of units could not be assigned ({first}).") from None
    finally:
        del what


def copied(engine: duckdb.DuckDBPyConnection, query: str, place: Path) -> int:
    """Write the rows of a query to a new file, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    os.close(handle)
    temporary = Path(name)
    how = _WRITERS[place.suffix.lower()]
    try:
        with refusals(place.name):
            done = engine.execute(
                f"COPY ({query}) TO {_TO.text(str(temporary))} ({how}, USE_TMP_FILE false)"
            ).fetchone()
        temporary.chmod(0o644)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    return int(done[0]) if done else 0


def free(place: Path) -> Path:
    if place.suffix.lower() not in _WRITERS:
        raise UpliftlabError(f"assign writes .parquet or .csv; found {place.name}.")
    if place.exists():
        raise UpliftlabError(
            f"{place} is there already and stays as it is; name another file with --out."
        )
    return place


def _with_table(request: Request, table: str) -> Request:
    from dataclasses import replace

    return replace(request, table=table)


def refuse_columns(
    recipe: Recipe, request: Request, have: Mapping[str, str], name: str
) -> None:
    needed = [request.unit, *([request.clock] if request.clock else [])]
    needed += [recipe.cluster] if recipe.cluster else []
    for column in (*needed, *recipe.strata):
        if column not in have:
            raise DataError.missing_column(column, f"assign, reading {name},", have)
    ids = [request.unit, *([recipe.cluster] if recipe.cluster else [])]
    for column in ids:
        kind = have[column]
        if kind in {"FLOAT", "DOUBLE"} or kind.startswith("DECIMAL"):
            raise DataError.float_ids(column, name, kind.lower())
    if len(recipe.epochs) > 1 and request.clock is None and not request.at:
        raise DataError.missing_column("assigned_at", "a plan with assign.epochs", have)


def _by_arm(engine: duckdb.DuckDBPyConnection, place: Path, request: Request) -> dict[str, int]:
    arm = _TO.column(request.names.get("arm", "arm"))
    rows = engine.execute(
        f"SELECT {arm}, COUNT(*) FROM {reading(engine, place)} GROUP BY 1 ORDER BY 1"  # noqa: S608
    ).fetchall()
    return {str(label): int(n) for label, n in rows}


def _set_aside(
    engine: duckdb.DuckDBPyConnection,
    recipe: Recipe,
    request: Request,
    table: str,
    rows: int,
) -> dict[str, int]:
    """Count why rows are missing; a pass only where something is left out."""
    unit = _TO.trimmed(_TO.column(request.unit))
    asked = {"rows": "COUNT(*)"}
    if recipe.holdout is not None:
        held = _TO.inside(_TO.digest(recipe.holdout_salt, unit), edge(0), recipe.holdout_edge)
        asked["in the universal holdout"] = f"COUNT({unit}) FILTER (NOT ({held}))"
    texts = ", ".join(asked.values())
    found = engine.execute(f"SELECT {texts} FROM {table}").fetchone()  # noqa: S608 - quoted
    counts = dict(zip(asked, found or (), strict=False))
    total = int(counts.pop("rows"))
    if total == rows:
        return {}
    blank = engine.execute(
        f"SELECT COUNT(*) - COUNT({unit}) FROM {table}"  # noqa: S608 - quoted
    ).fetchone()
    aside = {"without an id": int(blank[0]) if blank else 0, **counts}
    rest = total - rows - sum(aside.values())
    words = "in other tests of the layer" if recipe.layer else "without a cluster or a time"
    aside[words] = rest
    return {why: n for why, n in aside.items() if n}
