"""What does a plain table from a notebook hold: arms, numbers, keys, and where are its gaps?"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Literal

import ibis
import numpy as np

from upliftlab.data import moments, tables, values
from upliftlab.errors import DataError, DesignError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import ibis.expr.types as ir

    from upliftlab.data.cells import Cells, ClusterCells
    from upliftlab.data.engine import Engine

Missing = Literal["refuse", "drop"]

_LABELS = "text, whole numbers or yes/no"
_EXACT = 1e15


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Unit rows without gaps, on the engine that holds them.

    Attributes:
        arms: Labels that occur, in reading order.
        n: Units per arm.
        dropped: Rows left out for a gap, per arm; empty when none were.
        numbers: Names of the numeric columns.
        keys: Names of the columns that tell cells apart.
    """

    arms: tuple[str, ...]
    n: dict[str, int]
    dropped: dict[str, int]
    numbers: tuple[str, ...]
    keys: tuple[str, ...]
    _engine: Engine
    _rows: ibis.Table

    def cells(self) -> Cells:
        """Joint moments of all numbers by arm and key."""
        found = moments.cells(
            self._engine,
            self._rows,
            keys=["arm", *map(_key, self.keys)],
            columns=[_number(name) for name in self.numbers],
        )
        return replace(found, keys=("arm", *self.keys), names=self.numbers)

    def clusters(self, **only: str) -> ClusterCells:
        """Means by arm with their covariance over clusters, perhaps where a key has a label."""
        rows = self._rows
        for key, label in only.items():
            rows = rows.filter(rows[_key(key)] == label)
        found = moments.cluster_cells(
            self._engine,
            rows,
            keys=["arm"],
            cluster="cluster",
            columns=[_number(name) for name in self.numbers],
        )
        return replace(found, names=self.numbers)

    def clusters_span(self, key: str) -> bool:
        """Whether some cluster holds units of several labels of a key."""
        return self._spanning(_key(key))[0] > 0

    def refuse_split_clusters(self, name: str) -> None:
        """Raise where a cluster holds units of several arms: it was not assigned as a whole."""
        split, of = self._spanning("arm")
        if split:
            raise DesignError(
                f"{split} of {of} clusters of {name!r} hold units of several arms; a cluster "
                "is what was assigned as a whole. Leave cluster out, or put it in strata."
            )

    def _spanning(self, column: str) -> tuple[int, int]:
        per_cluster = self._rows.group_by("cluster").agg(labels=self._rows[column].nunique())
        found = self._engine.one(
            per_cluster.aggregate(
                split=(per_cluster.labels > 1).ifelse(1, 0).sum(), of=ibis._.count()
            )
        )
        return int(found["split"] or 0), int(found["of"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A table as its engine sees it.

    Attributes:
        columns: Its column names.
    """

    columns: tuple[str, ...]
    _engine: Engine
    _raw: ibis.Table

    def units(
        self,
        *,
        arm: str,
        numbers: Sequence[str],
        keys: Sequence[str] = (),
        cluster: str | None = None,
        missing: Missing = "refuse",
    ) -> Units:
        """Read the columns that a comparison needs; every row is one unit.

        Args:
            arm: Column of the arm: text, whole numbers or yes/no.
            numbers: Numeric or yes/no columns.
            keys: Columns that tell cells apart.
            cluster: Column of what was assigned as a whole.
            missing: "refuse" raises at the first gap, "drop" leaves out rows with one.

        Raises:
            DataError: For a missing column, one of the wrong kind, gaps, or no rows.
        """
        wanted: dict[str, tuple[str, ir.Value]] = {"arm": (arm, self._label(arm, "arm"))}
        wanted |= {_key(key): (key, self._label(key, "a key")) for key in keys}
        if cluster is not None:
            wanted["cluster"] = (cluster, self._label(cluster, "cluster"))
        wanted |= {_number(name): (name, self._values(name)) for name in numbers}
        table = self._raw.select(**{ours: value for ours, (_, value) in wanted.items()})
        gaps = self._gaps(table, wanted)
        dropped: dict[str, int] = {}
        if gaps:
            if missing == "refuse":
                raise _has_gaps(gaps)
            broken = reduce(or_, (table[name].isnull() for name in wanted))
            dropped = _count(self._engine, table.filter(broken))
            table = table.filter(~broken)
        n = _count(self._engine, table)
        if not n:
            raise DataError.empty("table")
        arms = _in_order(n)
        return Units(
            arms=arms,
            n={label: n[label] for label in arms},
            dropped=dropped,
            numbers=tuple(numbers),
            keys=tuple(keys),
            _engine=self._engine,
            _rows=table,
        )

    def label_of(self, column: str, value: object) -> str:
        """Write a value as the column's labels are written: 1 is yes in a yes/no column."""
        if isinstance(value, str):
            return value.strip()
        if self._raw[column].type().is_boolean() and value in (0, 1):
            return "yes" if value else "no"
        if isinstance(value, (bool, int, np.bool_, np.integer)):
            return str(int(value))
        if isinstance(value, (float, np.floating)) and float(value).is_integer():
            return str(int(value))
        return str(value)

    def _column(self, name: str, asked_by: str) -> ir.Value:
        if name not in self.columns:
            raise DataError.missing_column(name, asked_by, self.columns)
        return self._raw[name]

    def _label(self, name: str, asked_by: str) -> ir.Value:
        """Read a label; whole numbers that a frame with gaps made decimals are read back."""
        column = self._column(name, asked_by)
        kind = column.type()
        if not (kind.is_floating() or kind.is_decimal()):
            return values.as_text(column)
        number = values.as_number(column)
        whole = (number == number.round()) & (number.abs() < _EXACT)
        broken = (number.notnull() & ~whole).ifelse(1, 0).sum()
        found = self._engine.one(self._raw.aggregate(broken=broken))
        if found["broken"]:
            raise DataError.wrong_type(name, "table", found=str(kind), wanted=_LABELS)
        return number.cast("int64").cast("string")

    def _values(self, name: str) -> ir.Value:
        column = self._column(name, "the comparison")
        kind = column.type()
        if not (kind.is_numeric() or kind.is_boolean()):
            raise DataError.wrong_type(
                name, "table", found=str(kind), wanted="numbers or yes/no"
            )
        return values.as_number(column)

    def _gaps(
        self, table: ibis.Table, wanted: dict[str, tuple[str, Any]]
    ) -> dict[str, tuple[int, int]]:
        """Column -> (rows with a gap, rows), where there are any."""
        sums = {
            f"gaps_{i}": table[ours].isnull().ifelse(1, 0).sum()
            for i, ours in enumerate(wanted)
        }
        found = self._engine.one(table.aggregate(rows=ibis._.count(), **sums))
        if not found["rows"]:
            raise DataError.empty("table")
        return {
            theirs: (int(found[f"gaps_{i}"]), int(found["rows"]))
            for i, (theirs, _) in enumerate(wanted.values())
            if found[f"gaps_{i}"]
        }


@contextmanager
def opened(given: object) -> Iterator[Opened]:
    """Hand a pandas, polars, Arrow or ibis table to its engine, and clean up after.

    Examples:
        >>> import pyarrow as pa
        >>> with opened(pa.table({"arm": ["new", "old"], "orders": [1, 0]})) as table:
        ...     table.units(arm="arm", numbers=["orders"]).n
        {'new': 1, 'old': 1}
    """
    engine = tables.open_engine({}, {"table": given})
    try:
        raw = tables.raw(engine, "table", None, given, tables.Reading(offset=0, minor=1))
        yield Opened(columns=tuple(raw.columns), _engine=engine, _raw=raw)
    finally:
        engine.close()


def no_such_arm(found: str, arms: Sequence[str]) -> DataError:
    """Say which arms there are."""
    return DataError(f"control is {found!r}; the arms are {list(arms)}.{nearest(found, arms)}")


def _has_gaps(gaps: dict[str, tuple[int, int]]) -> DataError:
    parts = [f"{column!r} in {rows} of {of} rows" for column, (rows, of) in gaps.items()]
    return DataError(
        f"values are missing: {', '.join(parts)}; fill them (0 only where the unit was "
        'observed and did nothing), or leave such rows out with missing="drop".'
    )


def _count(engine: Engine, table: ibis.Table) -> dict[str, int]:
    rows = engine.rows(table.group_by("arm").agg(n=ibis._.count()))
    return {row["arm"] or "(no arm)": int(row["n"]) for row in rows}


def _in_order(labels: dict[str, int]) -> tuple[str, ...]:
    numeric = all(label.lstrip("-").isdigit() for label in labels)
    return tuple(sorted(labels, key=int) if numeric else sorted(labels))


def _number(name: str) -> str:
    return f"number {name}"


def _key(name: str) -> str:
    return f"key {name}"
