"""Which of several changes does each unit of a panel get?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DataError, nearest

if TYPE_CHECKING:
    import ibis
    from numpy.typing import NDArray

    from upliftlab.data.engine import Engine
    from upliftlab.data.panel import Panel
    from upliftlab.experiment import Experiment


def arms_of(
    engine: Engine,
    table: ibis.Table,
    waves: ibis.Table | None,
    panel: Panel,
    experiment: Experiment,
) -> NDArray[np.object_]:
    """Read the change of every unit from the waves, else from the panel's own column.

    Args:
        engine: Where the rows live.
        table: Long table with ``unit``, perhaps ``cluster`` and ``arm``.
        waves: Table of ``cluster`` and perhaps ``arm``.
        panel: Units in order, with their starts.
        experiment: The plan, whose treatments are allowed.

    Returns:
        Label of the change of each unit, empty for those that never get one, shape [N].

    Raises:
        DataError: When nothing says which change, a unit has two, or the plan has no such arm.
    """
    allowed = [arm.label for arm in experiment.treatments]
    keyed = waves if waves is not None and "arm" in waves.columns else table
    if "arm" not in keyed.columns:
        raise DataError(
            f"the plan has several changes, {allowed}, and neither waves nor panel say who "
            "gets which; add a column arm."
        )
    key = "unit" if keyed is table else "cluster"
    pairs = engine.fetch(keyed.select(key, "arm").distinct())
    found: dict[str, set[str]] = {}
    for who, arm in zip(pairs.column(key).to_pylist(), pairs.column("arm").to_pylist(),
                        strict=True):  # fmt: skip
        if arm is not None and str(arm).strip():
            found.setdefault(str(who), set()).add(str(arm))
    names = (
        [str(unit) for unit in panel.units]
        if key == "unit"
        else [panel.cluster_labels[g] for g in panel.cluster]
    )
    out = np.full(len(names), "", dtype=object)
    for i in np.flatnonzero(panel.start < len(panel.periods)):
        out[i] = _one(found.get(names[i], set()), names[i], key, allowed)
    return out


def _one(found: set[str], name: str, key: str, allowed: list[str]) -> str:
    """The change of a unit that starts, which must be one of the plan's."""
    if len(found) > 1:
        raise DataError(
            f"{key} {name!r} has several arms, {sorted(found)}; each gets one change, once."
        )
    if not found:
        raise DataError(f"{key} {name!r} starts and has no arm; it is one of {allowed}.")
    (arm,) = found
    if arm not in allowed:
        raise DataError(
            f"{key} {name!r} has arm {arm!r}; the plan's changes are {allowed}."
            f"{nearest(arm, allowed)}"
        )
    return arm
