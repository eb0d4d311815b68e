"""How does one engine keep, fetch, stream and fold a query? The only per-engine code."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import ibis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

BATCH_ROWS = 65_536
"""Rows per Arrow batch: ibis' own default of a million costs twelve times the memory."""

_SERIAL = count()


@dataclass(slots=True, kw_only=True)
class Engine:
    """A connection with four verbs that differ between engines.

    Attributes:
        backend: The ibis connection.
        name: "duckdb", "pyspark" or another ibis backend's name.
    """

    backend: Any
    name: str
    _kept: list[str] = field(default_factory=list)

    def materialise(self, expression: ibis.Table, label: str) -> ibis.Table:
        """Compute a query once and keep it until ``close``."""
        if self.name == "pyspark":
            return expression.cache()
        name = f"upliftlab_{label}_{next(_SERIAL)}"
        self._kept.append(name)
        return self.backend.create_table(name, expression, temp=True)

    def fetch(self, expression: ibis.Table) -> pa.Table:
        """Bring a small result to Python."""
        if self.name == "duckdb":
            # The compiled text over the raw connection: `to_pyarrow` would import pandas.
            return self.backend.con.execute(self._sql(expression)).to_arrow_table()
        return expression.to_pyarrow()

    def rows(self, expression: ibis.Table) -> list[dict[str, Any]]:
        """Bring a few rows to Python as dicts."""
        found: list[dict[str, Any]] = self.fetch(expression).to_pylist()
        return found

    def one(self, expression: ibis.Table) -> dict[str, Any]:
        """Bring the only row of a result to Python."""
        return self.rows(expression)[0]

    def batches(
        self, expression: ibis.Table, rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Stream a large result as Arrow batches."""
        if self.name == "duckdb":
            # A cursor of its own would not see temporary tables.
            yield from self.backend.con.execute(self._sql(expression)).to_arrow_reader(rows)
        else:
            yield from expression.to_pyarrow_batches(chunk_size=rows)

    def fold(
        self,
        expression: ibis.Table,
        function: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
        schema: pa.Schema,
    ) -> pa.Table:
        """Run a function over the rows where they live and collect what it yields."""
        import pyarrow as pa

        if self.name == "pyspark":
            frame = self.backend._session.sql(  # noqa: SLF001 - ibis has no public handle
                self.backend.compile(expression)
            )
            return frame.mapInArrow(function, _spark_schema(schema)).toArrow().cast(schema)
        return pa.Table.from_batches(function(self.batches(expression)), schema)

    def text_table(self, table: pa.Table, label: str) -> ibis.Table:
        """Register an Arrow table that was read at the edge."""
        if self.name == "pyspark":
            return self.backend.create_view(
                f"upliftlab_{label}_{next(_SERIAL)}", ibis.memtable(table), temp=True
            )
        return ibis.memtable(table)

    def close(self) -> None:
        """Drop what was kept; the caller's own tables stay."""
        for name in self._kept:
            self.backend.drop_table(name, force=True)
        self._kept.clear()

    def _sql(self, expression: ibis.Table) -> str:
        """Compile, with the frames that the query reads handed to the connection."""
        self.backend._run_pre_execute_hooks(expression)  # noqa: SLF001 - ibis has no public call
        return str(self.backend.compile(expression))


def embedded(*, threads: int | None = None) -> Engine:
    """Open the embedded engine: DuckDB in memory, spilling to a private folder, in UTC."""
    settings: dict[str, Any] = {"temp_directory": tempfile.mkdtemp(prefix="upliftlab-")}
    if threads is not None:
        settings["threads"] = threads
    backend = ibis.duckdb.connect(**settings)
    backend.raw_sql("SET TimeZone = 'UTC'")
    return Engine(backend=backend, name="duckdb")


def engine_of(table: ibis.Table) -> Engine:
    """Use the engine that already holds a table."""
    backend = table.get_backend()
    return Engine(backend=backend, name=backend.name)


def connect(url: str) -> Engine:
    """Open a team's engine by its ibis URL, such as duckdb://file.db or pyspark://."""
    backend = ibis.connect(url)
    return Engine(backend=backend, name=backend.name)


def _spark_schema(schema: pa.Schema) -> str:
    """Write an Arrow schema of integers and doubles (or lists of them) for Spark."""
    names = {"int64": "bigint", "double": "double", "string": "string"}
    parts = []
    for column in schema:
        text = str(column.type)
        if text.startswith("list<"):
            parts.append(f"`{column.name}` array<double>")
        else:
            parts.append(f"`{column.name}` {names[text]}")
    return ", ".join(parts)
