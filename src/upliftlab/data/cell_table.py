"""From a table of counts, sums and sums of products to cells: nothing returns to rows."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.components import ALIASES, MONEY
from upliftlab.data.cells import Cells
from upliftlab.data.prepared import Facts
from upliftlab.data.values import BLANKS
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import ibis
    import pyarrow as pa

    from upliftlab.data.engine import Engine
    from upliftlab.data.plan import Plan
    from upliftlab.data.tables import Reading
    from upliftlab.experiment import Source


def read_cells(
    engine: Engine,
    raw: ibis.Table,
    plan: Plan,
    *,
    source: Source | None = None,
    how: Reading,
) -> tuple[Cells, Facts]:
    """Read one row per cell: ``arm``, the keys, ``n``, ``sum:a`` and ``sum:a*b``.

    ``sum:a`` is the sum of component a over the cell's units and ``sum:a*b`` the sum of its
    products with b (with itself too). Covariates are named ``x:...``. Rows of one cell add up.
    Whole numbers are exact, however large: amounts around a billion keep their variance.

    Args:
        engine: Where the table lives.
        raw: The table.
        plan: Arms and keys.
        source: The plan's source: names of columns, and the unit of money.
        how: The currency; amounts in its main unit become minor ones.

    Raises:
        DataError: For a missing column, an unknown arm, an empty table or sums that no data
            can have.
    """
    table = _renamed(engine.fetch(raw), dict(source.columns) if source else {})
    if table.num_rows == 0:
        raise DataError.empty("cells")
    have = table.column_names
    for column in (*plan.keys, "n"):
        if column not in have:
            raise DataError.missing_column(column, "source 'cells'", have)
    names = [c.removeprefix("sum:") for c in have if c.startswith("sum:") and "*" not in c]
    if not names:
        raise DataError.no_components("cells", have)
    labels = _labels(table, plan)
    n = _counts(table)
    factor = np.array(_factors(names, source, how), dtype=object)
    sums = np.stack([_numbers(table, f"sum:{name}") for name in names], axis=1) * factor
    products = _products(table, names) * factor[:, None] * factor[None, :]
    mean, m2 = _moments(n, sums, products)
    canonical = tuple(ALIASES.get(name, name) for name in names)
    whole = Cells(
        keys=plan.keys, labels=labels, names=canonical, n=n, mean=mean, m2=m2
    ).collapse(plan.keys)
    totals = {name: float(sums[:, i].sum()) for i, name in enumerate(canonical)}
    counts = _by_stratum(whole, plan)
    absent = set(plan.arms) - {arm for arm, by in counts.items() if sum(by.values())}
    if absent:
        raise DataError.arm_without_units(absent, "cells")
    return whole, Facts(assigned=counts, as_of=plan.as_of, totals=totals)


def _renamed(table: pa.Table, mapping: Mapping[str, str]) -> pa.Table:
    """Give mapped columns our names; a component may be mapped without its ``sum:``."""
    theirs: dict[str, str] = {}
    for ours, found in mapping.items():
        if found in table.column_names:
            theirs[found] = ours
        elif f"sum:{found}" not in table.column_names:
            raise DataError.missing_column(found, "source 'cells'", table.column_names)
    parts = {found: ours for ours, found in mapping.items()}

    def name(column: str) -> str:
        if column in theirs or not column.startswith("sum:"):
            return theirs.get(column, column)
        factors = column.removeprefix("sum:").split("*")
        return "sum:" + "*".join(parts.get(factor, factor) for factor in factors)

    return table.rename_columns([name(column) for column in table.column_names])


def _labels(table: pa.Table, plan: Plan) -> tuple[tuple[str, ...], ...]:
    columns = []
    for key in plan.keys:
        found = table.column(key).to_pylist()
        columns.append(["(missing)" if each is None else str(each).strip() for each in found])
    strangers = set(columns[0]) - set(plan.arms)
    if strangers:
        raise DataError.unknown_arm(sorted(strangers), "cells", plan.arms)
    return tuple(zip(*columns, strict=True))


def _counts(table: pa.Table) -> np.ndarray:
    counts = _numbers(table, "n")
    for found in counts:
        if found < 0 or found != int(found):
            raise DataError.wrong_type(
                "n", "cells", found=f"{float(found):g} in some row", wanted="a count of units"
            )
    return counts.astype(np.int64)


def _factors(names: Sequence[str], source: Source | None, how: Reading) -> list[int]:
    """Minor units in one unit of each component; counts and covariates stay as they are."""
    money = [name for name in names if ALIASES.get(name, name) in MONEY]
    unit = source.money if source else None
    if unit is None or unit in how.minor_names:
        return [1] * len(names)
    return [how.minor if name in money else 1 for name in names]


def _moments(
    n: np.ndarray, sums: np.ndarray, products: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn sums into means and centred products, in whole numbers as long as they are whole.

    n x sum(ab) - sum(a) sum(b) is exact before the one division, so nothing cancels.
    """
    count = np.array([max(int(each), 1) for each in n], dtype=object)
    mean = (sums / count[:, None]).astype(np.float64)
    centred = products * count[:, None, None] - sums[:, :, None] * sums[:, None, :]
    m2 = (centred / count[:, None, None]).astype(np.float64)
    scale = np.maximum(np.einsum("cii->ci", products).astype(np.float64), 1e-9)
    if (np.einsum("cii->ci", m2) < -1e-9 * np.abs(scale)).any():
        raise DataError.impossible_sums("cells")
    return mean, m2


def _by_stratum(cells: Cells, plan: Plan) -> dict[str, dict[str, int]]:
    found = cells.collapse(["arm", *plan.strata])
    out: dict[str, dict[str, int]] = {}
    for i, (arm, *strata) in enumerate(found.labels):
        out.setdefault(arm, {})[" · ".join(strata)] = int(found.n[i])
    return out


def _products(table: pa.Table, names: Sequence[str]) -> np.ndarray:
    k = len(names)
    out = np.zeros((table.num_rows, k, k), dtype=object)
    for i, one in enumerate(names):
        for j, two in enumerate(names[i:], start=i):
            column = f"sum:{one}*{two}"
            if column not in table.column_names:
                column = f"sum:{two}*{one}"
            out[:, i, j] = out[:, j, i] = _numbers(table, column)
    return out


def _numbers(table: pa.Table, column: str) -> np.ndarray:
    """Read a column as Python numbers: integers stay whole, everything else is a fraction."""
    if column not in table.column_names:
        raise DataError.missing_column(column, "source 'cells'", table.column_names)
    found = table.column(column).to_pylist()
    out = np.empty(len(found), dtype=object)
    gaps = 0
    for i, value in enumerate(found):
        try:
            out[i] = _number(value)
        except (TypeError, ValueError):
            raise DataError.wrong_type(
                column, "cells", found=str(table.column(column).type), wanted="numbers"
            ) from None
        gaps += out[i] is None
    if gaps:
        raise DataError.missing_values(column, "cells", rows=gaps, of=len(found))
    return out


def _number(value: Any) -> int | Fraction | None:  # noqa: ANN401 - whatever Arrow holds
    """Return a number without rounding; None for a blank or what is not a number."""
    if isinstance(value, str):
        value = value.strip().replace(",", "")
    if value is None or value in BLANKS:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    exact = Fraction(value)
    return exact.numerator if exact.denominator == 1 else exact
