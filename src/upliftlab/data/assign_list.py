"""Which arm, or which wave, does each entry of a list get that is drawn as a whole?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from upliftlab.assignment.hashing import Dialect
from upliftlab.assignment.lists import Drawn, drawn
from upliftlab.assignment.statement import MISSING, SEPARATOR, Request, assignment_sql
from upliftlab.data.assign_table import (
    Written,
    columns_of,
    copied,
    free,
    reading,
    refusals,
    refuse_columns,
)
from upliftlab.errors import DataError, DesignError
from upliftlab.plan.assign import NEVER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.assignment.recipe import Recipe

MOST_ENTRIES = 200_000
"""Entries of a list drawn as a whole; more are drawn one by one."""

_TO = Dialect("duckdb")


def assign_list(
    recipe: Recipe, request: Request, source: str | Path, target: str | Path
) -> Written:
    """Write the assignment table of a list that is drawn as a whole, in blocks or in waves.

    What is drawn are clusters, where the plan has them, else units. For waves the table has one
    row per cluster: ``cluster``, ``starts_on`` (empty for never), propensity, stratum, the
    columns that were balanced and the rest: all that it takes to draw again.

    Args:
        recipe: How arms are given.
        request: What the source's columns are called; its ``table`` is not used.
        source: Parquet or CSV.
        target: Parquet or CSV to write.

    Raises:
        DataError: When a column is missing, or balanced columns are no numbers.
        DesignError: When the list is too long, or too short for its arms or waves.
        UpliftlabError: When the target is there.
    """
    place = free(Path(target))
    with duckdb.connect() as engine:
        table = reading(engine, source)
        have = columns_of(engine, table)
        refuse_columns(recipe if not recipe.waves else replace(recipe, cluster=None),
                       request, have, Path(source).name)  # fmt: skip
        for name in recipe.balance:
            if name not in have:
                raise DataError.missing_column(name, "assign.balance", have)
        base, key = _base(recipe, replace(request, table=table))
        entries = _entries(engine, recipe, base=base, key=key, table=table, request=request)
        found = drawn(
            entries["name"],
            recipe.shares,
            salt=recipe.salt,
            strata=entries["stratum"],
            balance=entries["x"],
            keep=float(recipe.keep),
        )
        _register(engine, recipe, found, entries["x"])
        query = _waves(recipe, base) if recipe.waves else _arms(recipe, request, base, key)
        rows = copied(engine, query, place)
        counts = engine.execute(
            "SELECT label, COUNT(*) FROM drawn GROUP BY 1 ORDER BY 1"
            if recipe.waves
            else f"SELECT d.label, COUNT(*) FROM ({base}) b JOIN drawn d ON b.{key} = d.entry "  # noqa: S608
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return Written(rows=rows, arms={str(a): int(n) for a, n in counts}, set_aside={})


def _base(recipe: Recipe, request: Request) -> tuple[str, str]:
    """Rows that take part, with key and stratum; arms are replaced afterwards."""
    if not recipe.waves:
        key = _TO.column(recipe.cluster or "unit")
        return assignment_sql(recipe, replace(request, names={})), key
    strata = [
        f"COALESCE({_TO.trimmed(_TO.column(name))}, {_TO.text(MISSING)})"
        for name in recipe.strata
    ]
    label = f", {_TO.text(SEPARATOR)}, ".join(strata)
    stratum = f"CONCAT({label})" if strata else "''"
    unit = _TO.trimmed(_TO.column(request.unit))
    text = (
        f"SELECT DISTINCT {unit} AS cluster, {stratum} AS stratum "  # noqa: S608 - quoted
        f"FROM {request.table} WHERE {unit} IS NOT NULL"
    )
    return text, "cluster"


def _entries(
    engine: duckdb.DuckDBPyConnection,
    recipe: Recipe,
    *,
    base: str,
    key: str,
    table: str,
    request: Request,
) -> dict[str, Any]:
    """Read the list: names, strata and the columns to balance, in the order of names."""
    with refusals("the list"):
        rows = engine.execute(
            f"SELECT {key}, MIN(stratum), MAX(stratum) FROM ({base}) b GROUP BY 1 ORDER BY 1"  # noqa: S608
        ).fetchall()
    if not rows:
        raise DataError.empty("the list to draw")
    if len(rows) > MOST_ENTRIES:
        raise DesignError(
            f"draw: {recipe.draw} found {len(rows):,} entries; a list drawn as a whole may "
            f"have {MOST_ENTRIES:,}. Write draw: each, which balances so many by itself."
        )
    mixed = [name for name, low, high in rows if low != high]
    if mixed:
        raise DesignError(
            f"{len(mixed)} clusters lie in several strata, such as {mixed[0]!r}; a cluster "
            "drawn as a whole belongs to one stratum."
        )
    names = [row[0] for row in rows]
    return {
        "name": names,
        "stratum": [row[1] for row in rows] if recipe.strata else None,
        "x": _columns(engine, recipe, names, table, request) if recipe.balance else None,
    }


def _columns(
    engine: duckdb.DuckDBPyConnection,
    recipe: Recipe,
    names: list[str],
    table: str,
    request: Request,
) -> NDArray[np.float64]:
    key = request.unit if recipe.waves or not recipe.cluster else recipe.cluster
    means = ", ".join(
        f"COALESCE(AVG(TRY_CAST({_TO.column(name)} AS DOUBLE)), 0)" for name in recipe.balance
    )
    rows = engine.execute(
        f"SELECT {_TO.trimmed(_TO.column(key))}, {means} FROM {table} GROUP BY 1"  # noqa: S608
    ).fetchall()
    found = {row[0]: row[1:] for row in rows}
    x = np.array([found[name] for name in names], dtype=np.float64)
    for i, name in enumerate(recipe.balance):
        if not np.ptp(x[:, i]):
            raise DataError(
                f"assign.balance names {name!r}, which is the same number for every entry, or "
                "no number; take it out."
            )
    return x


def _register(
    engine: duckdb.DuckDBPyConnection,
    recipe: Recipe,
    found: Drawn,
    x: NDArray[np.float64] | None,
) -> None:
    import pyarrow as pa

    shares, names = recipe.shares, found.names
    balanced = {f"x{i}": pa.array(column) for i, column in enumerate(() if x is None else x.T)}
    table = pa.table(
        balanced
        | {
            "entry": pa.array(names, pa.string()),
            "label": pa.array(found.found, pa.string()),
            "chance": pa.array([float(shares[arm]) for arm in found.found], pa.float64()),
            "drawn_with": pa.array([found.salt] * len(names), pa.string()),
        }
    )
    engine.register("drawn", table)


def _arms(recipe: Recipe, request: Request, base: str, key: str) -> str:
    """Put the drawn arms in the place of the hashed ones."""
    columns = ["unit", "arm", "assigned_at", "propensity"]
    columns += [recipe.cluster] if recipe.cluster else []
    columns += [name for name in recipe.strata if name not in columns]
    columns += ["stratum", "epoch", "salt", "plan"]
    ours = {"arm": "d.label", "propensity": "d.chance", "salt": "d.drawn_with"}
    chosen = ", ".join(
        f"{ours.get(name, f'b.{_TO.column(name)}')} "
        f"AS {_TO.column(request.names.get(name, name))}"
        for name in columns
    )
    return f"SELECT {chosen} FROM ({base}) b JOIN drawn d ON b.{key} = d.entry"  # noqa: S608


def _waves(recipe: Recipe, base: str) -> str:
    balanced = "".join(f", d.x{i} AS {_TO.column(n)}" for i, n in enumerate(recipe.balance))
    return (
        f"SELECT b.cluster, NULLIF(d.label, {_TO.text(NEVER)}) AS starts_on, "  # noqa: S608
        f"d.chance AS propensity, b.stratum{balanced}, d.drawn_with AS salt, "
        f"{_TO.text(recipe.plan)} AS plan "
        f"FROM ({base}) b JOIN drawn d ON b.cluster = d.entry ORDER BY 1"
    )
