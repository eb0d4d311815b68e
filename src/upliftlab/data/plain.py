"""What does a plain table from a notebook hold: arms, numbers, keys, and where are its gaps?"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any, Literal

import ibis
import numpy as np

from upliftlab.data import moments, tables, values
from upliftlab.errors import DataError, DesignError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import ibis.expr.types as ir
    from numpy.typing import NDArray

    from upliftlab.data.cells import Cells, ClusterCells
    from upliftlab.data.engine import Engine

    Floats = NDArray[np.float64]

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
    _origin: Floats

    def cells(self) -> Cells:
        """Joint moments of all numbers by arm and key."""
        found = moments.cells(
            self._engine,
            self._rows,
            keys=["arm", *map(_key, self.keys)],
            columns=[_number(name) for name in self.numbers],
            origin=self._origin,
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
        names = [_number(name) for name in numbers]
        table = self._as_it_stands(wanted, names)
        seen = _sound(self._engine, table, names)
        if not seen:
            table = self._raw.select(**{ours: value for ours, (_, value) in wanted.items()})
            seen = _seen(self._engine, table, tuple(wanted), names)
        if not seen:
            raise DataError.empty("table")
        gaps = _gaps(seen, [theirs for theirs, _ in wanted.values()])
        if gaps:
            if missing == "refuse":
                raise _has_gaps(gaps)
            table = table.filter(reduce(and_, (table[name].notnull() for name in wanted)))
        n = {_said(row): row["n"] - row["broken"] for row in seen if row["n"] > row["broken"]}
        if not n:
            raise DataError.empty("table")
        arms = _in_order(n)
        return Units(
            arms=arms,
            n={label: n[label] for label in arms},
            dropped={_said(row): row["broken"] for row in seen if row["broken"]},
            numbers=tuple(numbers),
            keys=tuple(keys),
            _engine=self._engine,
            _rows=table,
            _origin=_means(seen, len(numbers)),
        )

    def _as_it_stands(
        self, wanted: dict[str, tuple[str, ir.Value]], numbers: Sequence[str]
    ) -> ibis.Table:
        """Select arm and numbers unread: cheap, and enough where nothing is wrong with them."""
        chosen = {ours: value for ours, (_, value) in wanted.items()}
        chosen["arm"] = self._raw[wanted["arm"][0]]
        for name in numbers:
            column = self._raw[wanted[name][0]]
            is_flag = column.type().is_boolean()
            chosen[name] = column.ifelse(1.0, 0.0) if is_flag else column.cast("float64")
        return self._raw.select(**chosen)

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


def _sound(engine: Engine, table: ibis.Table, numbers: Sequence[str]) -> list[dict[str, Any]]:
    """Count rows and average numbers by arm; nothing, unless all is there, finite and tidy.

    One infinite value, or one that is no number, spoils a mean, so means tell.
    """
    kind = table["arm"].type()
    if not (kind.is_string() or kind.is_integer()):
        return []
    there = {f"there_{i}": table[name].count() for i, name in enumerate(table.columns)}
    means = {f"mean_{i}": table[name].mean() for i, name in enumerate(numbers)}
    found = table.group_by("arm").agg(n=ibis._.count(), **there, **means)
    rows = engine.rows(found.mutate(label=values.as_text(found["arm"])))
    for row in rows:
        is_full = all(row[name] == row["n"] for name in there)
        is_finite = all(math.isfinite(row[name]) for name in means) if is_full else False
        if not (is_finite and row["label"] == str(row["arm"])):
            return []
    gaps = {f"gaps_{i}": 0 for i in range(len(there))}
    return [row | gaps | {"arm": row["label"], "broken": 0} for row in rows]


def _seen(
    engine: Engine, table: ibis.Table, names: Sequence[str], numbers: Sequence[str]
) -> list[dict[str, Any]]:
    """Count rows, gaps and broken rows by arm, and average the numbers."""
    gaps = {f"gaps_{i}": _how_many(table[name].isnull()) for i, name in enumerate(names)}
    means = {f"mean_{i}": table[name].mean() for i, name in enumerate(numbers)}
    broken = _how_many(reduce(or_, (table[name].isnull() for name in names)))
    return engine.rows(
        table.group_by("arm").agg(n=ibis._.count(), broken=broken, **gaps, **means)
    )


def _how_many(is_so: ir.BooleanValue) -> ir.IntegerScalar:
    return is_so.ifelse(1, 0).sum().cast("int64")


def _gaps(seen: list[dict[str, Any]], names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Column -> (rows with a gap, rows), where there are any."""
    rows = sum(row["n"] for row in seen)
    found = {name: sum(row[f"gaps_{i}"] for row in seen) for i, name in enumerate(names)}
    return {name: (gaps, rows) for name, gaps in found.items() if gaps}


def _means(seen: list[dict[str, Any]], k: int) -> Floats:
    """About the mean of every number over all rows [K]: sums are taken around it."""
    means = np.array([[row[f"mean_{i}"] or 0.0 for i in range(k)] for row in seen], dtype=float)
    return np.average(means, axis=0, weights=[row["n"] for row in seen])


def _said(row: dict[str, Any]) -> str:
    return row["arm"] or "(no arm)"


def _in_order(labels: dict[str, int]) -> tuple[str, ...]:
    numeric = all(label.lstrip("-").isdigit() for label in labels)
    return tuple(sorted(labels, key=int) if numeric else sorted(labels))


def _number(name: str) -> str:
    return f"number {name}"


def _key(name: str) -> str:
    return f"key {name}"
