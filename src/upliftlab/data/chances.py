"""How likely was each arm for each unit, as the assignment table says?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis
import numpy as np

from upliftlab.data.contracts import Column
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.data.engine import Engine
    from upliftlab.data.plan import Plan

    Matrix = NDArray[np.float32]

OWN = "propensity"
"""Column with the chance of the arm that a unit got."""

HELD = "_chance"
"""What it is called from reading on; of arm i it is ``_chance_i``."""


def wanted(plan: Plan, meant: Collection[str] = ()) -> list[Column]:
    """Columns to read: the chance of a unit's own arm, or of every arm by its label.

    ``propensity`` holds the chance of the arm that the unit got; ``propensity_<arm>`` that of
    one arm, for all arms or for all but one, which has the rest.

    Args:
        plan: What to read.
        meant: Columns that mean something else, such as a propensity to buy.
    """
    if not plan.has_chances:
        return []
    names = (OWN, *(f"{OWN}_{arm}" for arm in plan.arms))
    return [Column(name=name, kind="number") for name in names if name not in meant]


def kept(
    engine: Engine,
    table: ibis.Table,
    plan: Plan,
    source: str,
    meant: Collection[str] = (),
) -> ibis.Table:
    """Keep the chances of arms under names of our own, and refuse what none could be.

    Raises:
        DataError: When some are missing, outside 0 to 1, or given for some arms only.
    """
    asked = [column.name for column in wanted(plan, meant) if column.name in table.columns]
    columns = {
        f"{OWN}_{arm}": f"{HELD}_{i}"
        for i, arm in enumerate(plan.arms)
        if f"{OWN}_{arm}" in asked
    }
    lacking = [f"{OWN}_{arm}" for arm in plan.arms if f"{OWN}_{arm}" not in columns]
    if columns and len(lacking) > 1:
        raise DataError(
            f"source {source!r} has {sorted(columns)} and lacks {lacking}; give the chance of "
            "every arm, or of all but one."
        )
    if not columns and OWN in asked:
        columns = {OWN: HELD}
    stray = {OWN} & set(table.columns) - set(columns) - set(meant)
    table = table.drop(*stray)
    if not _hold_chances(engine, table, columns, source):
        return table.drop(*columns)
    return table.rename({ours: name for name, ours in columns.items()})


def _hold_chances(
    engine: Engine, table: ibis.Table, columns: Mapping[str, str], source: str
) -> bool:
    """Look at the values: whether there are any, and whether all may be chances."""
    if not columns:
        return False
    sums: dict[str, ibis.Value] = {"rows": ibis._.count()}
    for i, name in enumerate(columns):
        least = 0 if columns[name] != HELD else 1e-12
        column = table[name]
        sums[f"gap{i}"] = column.isnull().ifelse(1, 0).sum()
        sums[f"out{i}"] = ((column < least) | (column > 1)).ifelse(1, 0).sum()
        sums[f"low{i}"], sums[f"high{i}"] = column.min(), column.max()
    found = engine.one(table.aggregate(**sums))
    rows = int(found["rows"])
    if all(int(found[f"gap{i}"] or 0) == rows for i in range(len(columns))):
        return False
    for i, name in enumerate(columns):
        if found[f"gap{i}"]:
            raise DataError.missing_values(name, source, rows=int(found[f"gap{i}"]), of=rows)
        if found[f"out{i}"]:
            raise DataError(
                f"column {name!r} of table {source!r} runs from {float(found[f'low{i}']):g} to "
                f"{float(found[f'high{i}']):g}, beyond what a chance can be in "
                f"{int(found[f'out{i}']):,} of {rows:,} rows; write the chance of the arm, "
                "above 0 and at most 1."
            )
    return True


def matrix(
    columns: Mapping[str, Matrix],
    arm: NDArray[np.int8],
    arms: Sequence[str],
    given: Sequence[str],
) -> Matrix | None:
    """Lay out chances by unit and arm.

    Args:
        columns: Name of :func:`kept` -> values, [n].
        arm: Position of each unit's arm in ``arms``, [n].
        arms: Labels in the order of the columns that come out.
        given: Labels in the order that names of columns count by.

    Returns:
        Shape [n, A]; None where nothing was read. Of several arms, where only the chance of a
        unit's own is known, the rest is dealt to the others by their shares: scores do not
        hang on it.

    Examples:
        >>> own = {"_chance": np.array([0.8, 0.4], dtype=np.float32)}
        >>> arm = np.array([1, 0], dtype=np.int8)
        >>> matrix(own, arm, ("none", "coupon"), ("none", "coupon")).round(2).tolist()
        [[0.20000000298023224, 0.800000011920929], [0.4000000059604645, 0.6000000238418579]]
    """
    if not columns:
        return None
    n, rows = len(arm), np.arange(len(arm))
    out = np.empty((n, len(arms)), dtype=np.float32)
    if HELD in columns:
        share = np.bincount(arm, minlength=len(arms)) / max(n, 1)
        rest = np.maximum(1 - share[arm], 1e-12)
        own = columns[HELD]
        out[:] = ((1 - own) / rest)[:, None] * share[None, :]
        out[rows, arm] = own
        return out
    out[:] = np.nan
    for i, label in enumerate(given):
        if f"{HELD}_{i}" in columns:
            out[:, arms.index(label)] = columns[f"{HELD}_{i}"]
    lacking = np.isnan(out).all(axis=0)
    out[:, lacking] = 1 - np.nansum(out, axis=1, keepdims=True)
    return out
