"""How does one engine keep, fetch, stream and fold a query? The only per-engine code."""

from __future__ import annotations

import shutil
import sys
import tempfile
import weakref
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import ibis
from ibis.expr import datatypes as dt

from upliftlab.stats import moments

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import pyarrow as pa

BATCH_ROWS = 65_536
"""Rows per Arrow batch: ibis' own default of a million costs twelve times the memory."""

_SERIAL = count()


@dataclass(slots=True, kw_only=True, weakref_slot=True, eq=False)
class Engine:
    """A connection with four verbs that differ between engines.

    Attributes:
        backend: The ibis connection.
        name: "duckdb", "pyspark" or another ibis backend's name.
    """

    backend: Any
    name: str
    _kept: list[str] = field(default_factory=list)
    _views: list[str] = field(default_factory=list)

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
        if self.name == "pyspark":
            # Spark's own Arrow: ibis goes through pandas, where gaps turn numbers to decimals.
            return self._frame(expression).toArrow()
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
        elif self.name == "pyspark":
            yield from self.fetch(expression).to_batches(max_chunksize=rows)
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
            with _carried(function):
                found = self._frame(expression).mapInArrow(function, _spark_schema(schema))
            return found.toArrow().cast(schema)
        return pa.Table.from_batches(function(self.batches(expression)), schema)

    def text_table(self, table: pa.Table, label: str) -> ibis.Table:
        """Register an Arrow table that was read at the edge."""
        if self.name == "pyspark":
            name = f"upliftlab_{label}_{next(_SERIAL)}"
            session = self.backend._session  # noqa: SLF001 - ibis has no public handle
            session.createDataFrame(_decoded(table)).createOrReplaceTempView(name)
            self._views.append(name)
            return self.backend.table(name)
        return ibis.memtable(table)

    def zoned(self, table: ibis.Table, names: Collection[str] | None = None) -> ibis.Table:
        """Mark points in time as such on Spark, whose two kinds of times are one to ibis.

        Args:
            table: Any.
            names: Columns that may be points in time; all by default.
        """
        if self.name != "pyspark":
            return table
        from pyspark.sql.types import TimestampType

        fields = self._frame(table).schema.fields
        points = {
            field.name: dt.Timestamp(timezone="UTC")
            for field in fields
            if type(field.dataType) is TimestampType and (names is None or field.name in names)
        }
        return table.cast(points) if points else table

    def close(self) -> None:
        """Drop what was kept; the caller's own tables stay."""
        for name in self._kept:
            self.backend.drop_table(name, force=True)
        self._kept.clear()
        for name in self._views:
            self.backend._session.catalog.dropTempView(name)  # noqa: SLF001 - no public handle
        self._views.clear()

    def _frame(self, expression: ibis.Table) -> Any:  # noqa: ANN401 - a Spark data frame
        return self.backend._session.sql(self._sql(expression))  # noqa: SLF001 - no public handle

    def _sql(self, expression: ibis.Table) -> str:
        """Compile, with the frames that the query reads handed to the connection."""
        self.backend._run_pre_execute_hooks(expression)  # noqa: SLF001 - ibis has no public call
        return str(self.backend.compile(expression))


def embedded(*, threads: int | None = None) -> Engine:
    """Open the embedded engine: DuckDB in memory, spilling to a private folder, in UTC."""
    scratch = tempfile.mkdtemp(prefix="upliftlab-")
    settings: dict[str, Any] = {"temp_directory": scratch}
    if threads is not None:
        settings["threads"] = threads
    backend = ibis.duckdb.connect(**settings)
    backend.raw_sql("SET TimeZone = 'UTC'")
    engine = Engine(backend=backend, name="duckdb")
    # Spilled data are customers' data: they go with the engine, at the latest with the process.
    weakref.finalize(engine, shutil.rmtree, scratch, ignore_errors=True)
    return engine


def engine_of(table: ibis.Table) -> Engine:
    """Use the engine that already holds a table."""
    return _in_utc(table.get_backend())


def connect(url: str) -> Engine:
    """Open a team's engine by its ibis URL, such as duckdb://file.db or pyspark://."""
    return _in_utc(ibis.connect(url))


def _in_utc(backend: Any) -> Engine:  # noqa: ANN401 - ibis backends share no public type
    """Compare times in one zone; Spark reads and writes zoned times by its session's clock."""
    if backend.name == "pyspark":
        backend._session.conf.set("spark.sql.session.timeZone", "UTC")  # noqa: SLF001
    return Engine(backend=backend, name=backend.name)


@contextmanager
def _carried(function: Callable[..., Any]) -> Iterator[None]:
    """Send our code along with a function, so that workers need numpy and pyarrow only."""
    from pyspark import cloudpickle

    modules = [sys.modules[function.__module__], moments]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)  # type: ignore[no-untyped-call]


def _decoded(table: pa.Table) -> pa.Table:
    """Turn dictionary columns, such as a frame's categories, into plain ones."""
    import pyarrow as pa

    plain = [
        (column.name, getattr(column.type, "value_type", column.type))
        if pa.types.is_dictionary(column.type)
        else (column.name, column.type)
        for column in table.schema
    ]
    return table.cast(pa.schema(plain))


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
