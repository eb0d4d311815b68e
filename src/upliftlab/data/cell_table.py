"""From a table of counts, sums and sums of products to cells: nothing returns to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.cells import Cells
from upliftlab.data.prepared import Facts
from upliftlab.errors import DataError

if TYPE_CHECKING:
    import ibis
    import pyarrow as pa

    from upliftlab.data.engine import Engine
    from upliftlab.data.plan import Plan


def read_cells(engine: Engine, raw: ibis.Table, plan: Plan) -> tuple[Cells, Facts]:
    """Read one row per cell: ``arm``, the keys, ``n``, ``sum:a`` and ``sum:a*b``.

    ``sum:a`` is the sum of component a over the cell's units and ``sum:a*b`` the sum of its
    products with b (with itself too). Money is in minor units; covariates are named ``x:...``.

    Raises:
        DataError: For a missing column, an unknown arm, an empty table or sums that no data
            can have.
    """
    table = engine.fetch(raw)
    if table.num_rows == 0:
        raise DataError.empty("cells")
    have = table.column_names
    for column in (*plan.keys, "n"):
        if column not in have:
            raise DataError.missing_column(column, "source 'cells'", have)
    names = [c.removeprefix("sum:") for c in have if c.startswith("sum:") and "*" not in c]
    if not names:
        raise DataError.no_components("cells", have)
    labels = tuple(
        zip(*(map(str, table.column(key).to_pylist()) for key in plan.keys), strict=True)
    )
    strangers = {label[0] for label in labels} - set(plan.arms)
    if strangers:
        raise DataError.unknown_arm(sorted(strangers), "cells", plan.arms)
    n = _numbers(table, "n").astype(np.int64)
    sums = np.column_stack([_numbers(table, f"sum:{name}") for name in names])
    mean = sums / np.maximum(n, 1)[:, None]
    m2 = _products(table, names) - n[:, None, None] * mean[:, :, None] * mean[:, None, :]
    if (np.einsum("cii->ci", m2) < -1e-6 * np.abs(n[:, None] * mean**2) - 1e-9).any():
        raise DataError.impossible_sums("cells")
    cells = Cells(
        keys=plan.keys, labels=labels, names=tuple(names), n=n, mean=mean, m2=m2
    ).collapse(plan.keys)
    arms = cells.collapse(["arm"])
    assigned = {label[0]: {"": int(arms.n[i])} for i, label in enumerate(arms.labels)}
    totals = {name: float(sums[:, i].sum()) for i, name in enumerate(names)}
    return cells, Facts(assigned=assigned, as_of=plan.as_of, totals=totals)


def _products(table: pa.Table, names: list[str]) -> np.ndarray:
    k = len(names)
    out = np.zeros((table.num_rows, k, k))
    for i, one in enumerate(names):
        for j, two in enumerate(names[i:], start=i):
            column = f"sum:{one}*{two}"
            if column not in table.column_names:
                column = f"sum:{two}*{one}"
            out[:, i, j] = out[:, j, i] = _numbers(table, column)
    return out


def _numbers(table: pa.Table, column: str) -> np.ndarray:
    if column not in table.column_names:
        raise DataError.missing_column(column, "source 'cells'", table.column_names)
    values = np.asarray(table.column(column).to_numpy(zero_copy_only=False))
    try:
        out = values.astype(np.float64)
    except (TypeError, ValueError) as problem:
        raise DataError.wrong_type(
            column, "cells", found=str(values.dtype), wanted="numbers"
        ) from problem
    if not np.isfinite(out).all():
        gaps = int((~np.isfinite(out)).sum())
        raise DataError.missing_values(column, "cells", rows=gaps, of=len(out))
    return out
