"""How do unit rows become cells, in as few passes as possible?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis
import numpy as np

from upliftlab.data.cells import Cells, ClusterCells
from upliftlab.stats import moments
from upliftlab.stats.clusters import bell_mccaffrey_df, size_cv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import ibis.expr.types as ir
    import pyarrow as pa
    from numpy.typing import NDArray

    from upliftlab.data.engine import Engine

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

FEW_COLUMNS = 24
"""Up to here joint moments are SQL sums; beyond, a Gram matrix over Arrow batches is faster."""


def cells(
    engine: Engine,
    units: ibis.Table,
    *,
    keys: Sequence[str],
    columns: Sequence[str],
    origin: Floats | None = None,
    few: int = FEW_COLUMNS,
) -> Cells:
    """Return the joint moments of ``columns`` in every cell of ``keys``.

    Both routes give the same numbers: sums of products of shifted columns pushed down as SQL,
    or blocks of Arrow batches multiplied where they stream by.

    Args:
        engine: Where the rows live.
        units: One row per unit.
        keys: Columns of text or whole numbers whose combinations are the cells.
        columns: Numeric columns without missing values.
        origin: About the mean of each column [K], where it is known: saves a pass.
        few: Largest number of columns for the SQL route.
    """
    if not columns:
        return _counts_only(engine, units, keys)
    if len(columns) <= few:
        return _by_sql(engine, units, keys, columns, origin)
    return _by_fold(engine, units, keys, columns)


def cluster_cells(
    engine: Engine,
    units: ibis.Table,
    *,
    keys: Sequence[str],
    cluster: str,
    columns: Sequence[str],
) -> ClusterCells:
    """Return mean vectors with their CR2 covariance for units that were assigned in clusters.

    CR2 weighs a cluster's score by 1 / (1 - m / N), so cell sizes and means come first.

    References:
        Bell and McCaffrey (2002), *Survey Methodology* 28(2), section 4.
    """
    origin = _origin(engine, units, columns)
    shifted = _shifted(units, columns, origin)
    sums = engine.materialise(
        units.group_by([*keys, cluster]).agg(
            _size=ibis._.count(), **{f"_s{i}": each.sum() for i, each in enumerate(shifted)}
        ),
        "clusters",
    )
    labels, n, gap = _cluster_totals(engine, sums, keys, len(columns))
    position = {label: i for i, label in enumerate(labels)}
    meat = np.zeros((*gap.shape, len(columns)))
    sizes: list[list[np.ndarray]] = [[] for _ in labels]
    for batch in engine.batches(sums):
        block = _matrix(batch, [f"_s{i}" for i in range(len(columns))])
        size = np.asarray(batch.column("_size").to_numpy(zero_copy_only=False), dtype=float)
        code = _codes(batch, keys, position)
        for cell in np.unique(code):
            mine = code == cell
            total, m = float(n[cell]), size[mine]
            score = block[mine] - m[:, None] * gap[cell]
            with np.errstate(divide="ignore"):
                weight = np.where(m < total, 1 / (1 - m / total), 0.0)
            meat[cell] += (score * weight[:, None]).T @ score
            sizes[cell].append(m)
    stacked = [np.concatenate(parts) for parts in sizes]
    return ClusterCells(
        keys=tuple(keys),
        labels=labels,
        names=tuple(columns),
        n=n,
        clusters=np.array([len(m) for m in stacked], dtype=np.int64),
        mean=origin + gap,
        cov=np.array(
            [
                meat[i] / n[i] ** 2 if len(m) > 1 else np.full_like(meat[i], np.nan)
                for i, m in enumerate(stacked)
            ]
        ),
        df=np.array([bell_mccaffrey_df(m) for m in stacked]),
        size_cv=np.array([size_cv(m) for m in stacked]),
    )


def _cluster_totals(
    engine: Engine, sums: ibis.Table, keys: Sequence[str], k: int
) -> tuple[tuple[tuple[str, ...], ...], Ints, Floats]:
    """Labels of cells, units [C], and means less their origin [C, K], in order of labels."""
    table = engine.fetch(
        sums.group_by(list(keys)).agg(
            _n=sums["_size"].sum().cast("int64"),
            **{f"_t{i}": sums[f"_s{i}"].sum() for i in range(k)},
        )
    )
    labels = _labels(table, keys)
    order = sorted(range(len(labels)), key=labels.__getitem__)
    n = np.asarray(table.column("_n").to_numpy(), dtype=np.int64)[order]
    totals = np.column_stack([table.column(f"_t{i}").to_numpy() for i in range(k)])[order]
    return tuple(labels[i] for i in order), n, totals / n[:, None]


def _origin(engine: Engine, units: ibis.Table, columns: Sequence[str]) -> Floats:
    """Means over all units: sums are only ever taken of columns shifted by them."""
    means = engine.one(
        units.aggregate(
            **{f"m{i}": units[name].cast("float64").mean() for i, name in enumerate(columns)}
        )
    )
    return np.array([means[f"m{i}"] or 0.0 for i in range(len(columns))])


def _shifted(units: ibis.Table, columns: Sequence[str], origin: Floats) -> list[ir.Value]:
    return [
        units[name].cast("float64") - float(c) for name, c in zip(columns, origin, strict=True)
    ]


def _counts_only(engine: Engine, units: ibis.Table, keys: Sequence[str]) -> Cells:
    table = engine.fetch(units.group_by(list(keys)).agg(_n=ibis._.count()))
    labels = _labels(table, keys)
    order = np.argsort(np.array(["\0".join(label) for label in labels], dtype=object))
    n = np.asarray(table.column("_n").to_numpy(), dtype=np.int64)[order]
    return Cells(
        keys=tuple(keys),
        labels=tuple(labels[i] for i in order),
        names=(),
        n=n,
        mean=np.zeros((len(n), 0)),
        m2=np.zeros((len(n), 0, 0)),
    )


def _by_sql(
    engine: Engine,
    units: ibis.Table,
    keys: Sequence[str],
    columns: Sequence[str],
    origin: Floats | None,
) -> Cells:
    k = len(columns)
    origin = _origin(engine, units, columns) if origin is None else origin
    shifted = _shifted(units, columns, origin)
    sums = {f"s{i}": shifted[i].sum() for i in range(k)}
    products = {
        f"p{i}_{j}": (shifted[i] * shifted[j]).sum() for i in range(k) for j in range(i, k)
    }
    table = engine.fetch(units.group_by(list(keys)).agg(_n=ibis._.count(), **sums, **products))
    n = np.asarray(table.column("_n").to_numpy(), dtype=np.int64)
    first = np.column_stack([table.column(f"s{i}").to_numpy() for i in range(k)])
    second = np.zeros((len(n), k, k))
    for i in range(k):
        for j in range(i, k):
            second[:, i, j] = second[:, j, i] = table.column(f"p{i}_{j}").to_numpy()
    gap = first / n[:, None]
    m2 = second - n[:, None, None] * gap[:, :, None] * gap[:, None, :]
    diagonal = np.einsum("cii->ci", m2)
    np.maximum(diagonal, 0.0, out=diagonal)
    parts = Cells(
        keys=tuple(keys),
        labels=_labels(table, keys),
        names=tuple(columns),
        n=n,
        mean=origin + gap,
        m2=m2,
    )
    return parts.collapse(keys)


def _by_fold(
    engine: Engine, units: ibis.Table, keys: Sequence[str], columns: Sequence[str]
) -> Cells:
    import pyarrow as pa

    labels = _counts_only(engine, units, keys).labels
    number = dict(enumerate(labels))
    chosen = units.select(
        *keys, **{f"c{i}": units[name].cast("float64") for i, name in enumerate(columns)}
    )
    schema = pa.schema(
        [
            ("cell", pa.int64()),
            ("n", pa.int64()),
            ("mean", pa.list_(pa.float64())),
            ("m2", pa.list_(pa.float64())),
        ]
    )
    table = engine.fold(chosen, _gram(tuple(keys), labels, len(columns)), schema)
    k = len(columns)
    into = np.asarray(table.column("cell").to_numpy(), dtype=np.int64)
    n, mean, m2 = moments.merge(
        np.asarray(table.column("n").to_numpy(), dtype=np.int64),
        np.array(table.column("mean").to_pylist(), dtype=float).reshape(-1, k),
        np.array(table.column("m2").to_pylist(), dtype=float).reshape(-1, k, k),
        into=into,
        groups=len(number),
    )
    return Cells(keys=tuple(keys), labels=labels, names=tuple(columns), n=n, mean=mean, m2=m2)


def _gram(
    keys: tuple[str, ...], labels: tuple[tuple[str, ...], ...], k: int
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the function that turns batches into partial moments; it travels to workers."""

    def partial(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        position = {label: i for i, label in enumerate(labels)}
        held: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}
        for batch in batches:
            block = _matrix(batch, [f"c{i}" for i in range(k)])
            code = _codes(batch, keys, position)
            for cell in np.unique(code):
                fresh = moments.of_rows(block[code == cell])
                held[int(cell)] = _added(held[int(cell)], fresh) if cell in held else fresh
        if held:
            yield pa.RecordBatch.from_pydict(
                {
                    "cell": pa.array(list(held), pa.int64()),
                    "n": pa.array([part[0] for part in held.values()], pa.int64()),
                    "mean": pa.array([part[1].tolist() for part in held.values()]),
                    "m2": pa.array([part[2].reshape(-1).tolist() for part in held.values()]),
                }
            )

    return partial


def _added(
    one: tuple[int, np.ndarray, np.ndarray], two: tuple[int, np.ndarray, np.ndarray]
) -> tuple[int, np.ndarray, np.ndarray]:
    n, mean, m2 = moments.merge(
        np.array([one[0], two[0]]),
        np.stack([one[1], two[1]]),
        np.stack([one[2], two[2]]),
        into=np.array([0, 0]),
        groups=1,
    )
    return int(n[0]), mean[0], m2[0]


def _matrix(batch: pa.RecordBatch, names: Sequence[str]) -> np.ndarray:
    return np.column_stack(
        [batch.column(name).to_numpy(zero_copy_only=False) for name in names]
    ).astype(np.float64, copy=False)


def _codes(
    batch: pa.RecordBatch, keys: Sequence[str], position: dict[tuple[str, ...], int]
) -> np.ndarray:
    """Number each row's cell; dictionary codes are combined, no row is read in Python."""
    code = np.zeros(batch.num_rows, dtype=np.int64)
    parts: list[list[str]] = []
    for key in keys:
        column = batch.column(batch.schema.get_field_index(key)).dictionary_encode()
        values = _as_text(column.dictionary.to_pylist())
        code = code * len(values) + column.indices.to_numpy(zero_copy_only=False)
        parts.append(values)
    seen, inverse = np.unique(code, return_inverse=True)
    cell = np.zeros(len(seen), dtype=np.int64)
    for i, value in enumerate(seen):
        rest, label = int(value), []
        for values in reversed(parts):
            rest, at = divmod(rest, len(values))
            label.append(values[at])
        cell[i] = position[tuple(reversed(label))]
    return cell[inverse]


def _labels(table: pa.Table, keys: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    columns = [_as_text(table.column(key).to_pylist()) for key in keys]
    return tuple(zip(*columns, strict=True)) if columns else ((),) * table.num_rows


def _as_text(labels: list[str | int]) -> list[str]:
    return [label if isinstance(label, str) else str(label) for label in labels]
