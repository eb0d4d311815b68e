"""How does a long table, one row per unit and period, become a panel?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import Panel
from upliftlab.data.panel_blocks import Block, Layout, Tally, blocks
from upliftlab.data.panel_rows import Columns, LongRows, long_rows, refuse_unreadable
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import ibis
    from numpy.typing import NDArray

    from upliftlab.data.engine import Engine

    Floats = NDArray[np.float64]

MOST_CELLS = 2**30
"""Unit x period x component values that are held at once, 8 GiB; moments need none."""


def read_panel(
    engine: Engine,
    table: ibis.Table,
    *,
    unit: str,
    period: str,
    components: Sequence[str],
    start: str | None = None,
    treated: str | None = None,
    waves: ibis.Table | None = None,
    cluster: str | None = None,
    weight: str | None = None,
    covariates: Sequence[str] = (),
    absent: str = "unknown",
    calendar: str | None = None,
    absorbing: bool = True,
    announced: int = 0,
) -> Panel:
    """Read a long table with one row per unit and period; count whatever does not fit.

    Who is treated when comes from one of three places. ``start``: the first treated period,
    where empty (null, NaN, NaT, blank), 0 and infinity mean never, a start before the first
    period means treated throughout, and one after the last not treated in the panel (its
    announced periods in the panel serve as nobody's control).
    ``treated``: on (1) or off (0), whose first on is the start. ``waves``: a table of
    ``cluster`` and ``starts_on`` with every cluster of the panel. Units come in the order of
    their ids.

    Args:
        engine: Where the rows live.
        table: One row per unit and period.
        unit: Column of the unit's id.
        period: Column of the period: dates, or numbers at equal distances.
        components: Columns to be measured; money in minor units.
        start: Column of the first treated period.
        treated: Column of on or off.
        waves: Starts by cluster.
        cluster: Column of the unit's cluster, one per unit.
        weight: Column of the unit's weight, one per unit.
        covariates: Numeric columns; the value of the unit's first period with a row counts.
        absent: What a period without a row means: "unknown" (NaN), "zero" (nothing happened),
            or "complete" (units with such periods are left out and counted).
        calendar: "day", "week" (Mondays), "month", "quarter", "year" or "integer"; None takes
            what the periods look like.
        absorbing: Whether treatment must stay on. If not, the on/off matrix becomes the last
            component, named like the column ``treated``, NaN where there is no row.
        announced: Periods before its start in which a unit knows of it.

    Raises:
        DataError: For columns, values, periods or starts that make no panel, repeated
            unit-periods, and units in two clusters, with two starts, or turning off.

    Examples:
        >>> import pyarrow as pa
        >>> from upliftlab.data.engine import embedded
        >>> rows = {"shop": ["a", "a", "b", "b"], "week": [1, 2, 1, 2], "sales": [5, 9, 4, 4]}
        >>> engine = embedded()
        >>> table = engine.text_table(pa.table(rows | {"cohort": [2, 2, 2, 2]}), "rows")
        >>> keys = {"unit": "shop", "period": "week", "start": "cohort"}
        >>> panel = read_panel(engine, table, components=["sales"], **keys)
        >>> panel.start, panel.y[:, :, 0]
        (array([1, 1]), array([[5., 9.],
               [4., 4.]]))
    """
    columns = Columns(
        unit=unit,
        period=period,
        components=tuple(components),
        start=start,
        treated=treated,
        waves=waves,
        cluster=cluster,
        weight=weight,
        covariates=tuple(covariates),
        absent=absent,
        calendar=calendar,
        announced=announced,
    )
    if not absorbing and treated is None:
        raise DataError("absorbing=False needs the column of on or off: name it as treated.")
    rows = long_rows(engine, table, columns)
    found, tally = _collected(engine, rows)
    refuse_trouble(engine, rows, tally, absorbing=absorbing)
    return _panel(found, rows, tally, absorbing=absorbing)


def layout_of(rows: LongRows) -> Layout:
    """Say how rows become arrays, in plain values that can travel to workers."""
    starts = sorted(rows.starts)
    columns = rows.columns
    return Layout(
        values=rows.calendar.values,
        at=rows.calendar.at,
        length=len(rows.calendar.labels),
        starts=np.array(starts, dtype=np.float64),
        positions=np.array([rows.starts[s] for s in starts], dtype=np.int64),
        components=len(columns.components),
        covariates=len(columns.covariates),
        has_weight=columns.weight is not None,
        has_cluster=columns.cluster is not None,
    )


def refuse_trouble(
    engine: Engine, rows: LongRows, tally: Tally, *, absorbing: bool = True
) -> None:
    """Raise what a pass over the rows has met and nobody can repair.

    Raises:
        DataError: With names, counts, an example and a fix.
    """
    columns, example = rows.columns, tally.examples
    if tally["unreadable"]:
        refuse_unreadable(engine, rows)
    if tally["duplicates"]:
        raise DataError(
            f"{tally['duplicates']:,} rows repeat a {columns.unit!r} and {columns.period!r} "
            f"that came before, such as {example['duplicates']}; add up the rows of each unit "
            "and period first."
        )
    if tally["moved_start"]:
        raise DataError(
            f"{tally['moved_start']:,} units have two starts in {columns.start!r}, such as "
            f"{example['moved_start']}; every row of a unit carries the same start."
        )
    if tally["moved_cluster"]:
        raise DataError(
            f"{tally['moved_cluster']:,} units are in two clusters of {columns.cluster!r}, "
            f"such as {example['moved_cluster']}; keep the cluster from before treatment."
        )
    if tally["moved_weight"]:
        raise DataError(
            f"weight {columns.weight!r} changes over time in {tally['moved_weight']:,} units, "
            f"such as {example['moved_weight']}; a unit has one weight: take that of its first "
            "period."
        )
    if tally["negative_weight"]:
        raise DataError(
            f"weight {columns.weight!r} is below zero in {tally['negative_weight']:,} rows; it "
            "must be zero or more."
        )
    if tally["odd_marks"]:
        raise DataError(
            f"{columns.treated!r} is neither 0 nor 1 in {tally['odd_marks']:,} rows, such as "
            f"{example['odd_marks']}; on is 1 and off is 0."
        )
    if tally["turned_off"] and absorbing:
        raise DataError(
            f"{tally['turned_off']:,} units are on and later off in {columns.treated!r}, such "
            f"as {example['turned_off']}; effects need treatment that stays on. Say "
            "absorbing=False for the on/off matrix."
        )


def notes_of(rows: LongRows, tally: Tally) -> tuple[str, ...]:
    """Say what was counted and decided on the way, in sentences."""
    notes, units = list(rows.notes), tally["units"]
    if tally["incomplete"]:
        some = f"{tally['incomplete']:,} of {units:,} units"
        notes.append(
            {
                "zero": f"{tally['absent']:,} unit-periods without a row are zeros, in {some}",
                "complete": f"{some} have periods without a row and are left out",
                "unknown": f"{some} have periods without a row, {tally['absent']:,} in all: "
                f"{tally['entered']:,} enter late, {tally['left']:,} leave early, "
                f"{tally['holes']:,} have holes between",
            }[rows.columns.absent]
        )
    if tally["always_on"]:
        notes.append(
            f"{tally['always_on']:,} units are on in every period; name a start instead if "
            f"{rows.columns.treated!r} marks a group and not the time of treatment"
        )
    if tally["unseen_start"]:
        notes.append(
            f"{tally['unseen_start']:,} units are first seen treated after a period without a "
            "row; their start may be earlier"
        )
    if tally["turned_off"]:
        notes.append(
            f"{tally['turned_off']:,} units turn off again; their start is the first period on"
        )
    if tally["moved_covariates"]:
        notes.append(
            f"covariates change over time in {tally['moved_covariates']:,} units; the value of "
            "the unit's first period counts"
        )
    return tuple(notes)


def _collected(engine: Engine, rows: LongRows) -> tuple[list[Block], Tally]:
    """Read blocks in the order of the table if that is the order of units, else sorted."""
    layout = layout_of(rows)
    for table in (rows.table, rows.table.order_by("u")):
        tally, found, cells = Tally(), [], 0
        for block in blocks(engine.batches(table), layout, tally):
            cells += block.y.size
            if cells > MOST_CELLS:
                raise DataError(
                    f"the panel has over {MOST_CELLS:,} values of {layout.components} "
                    f"components in {layout.length} periods; take its moments, which are "
                    "small, or fewer components."
                )
            found.append(block)
        if not tally["disorder"]:
            break
    return found, tally


def _panel(found: Sequence[Block], rows: LongRows, tally: Tally, *, absorbing: bool) -> Panel:
    columns = rows.columns
    seen = np.concatenate([block.seen for block in found])
    y = np.concatenate([block.y for block in found])
    if columns.absent != "zero":
        y[~seen] = np.nan
    names = columns.components
    if not absorbing and columns.treated not in names:
        on = np.concatenate([block.on for block in found if block.on is not None])
        y = np.concatenate([y, on[:, :, None]], axis=2)
        names = (*names, str(columns.treated))
    count = len(y)
    cluster, labels = (np.arange(count), ()) if columns.cluster is None else _codes(found)
    weights = [block.weight for block in found if block.weight is not None]
    panel = Panel(
        y=y,
        names=names,
        periods=rows.calendar.labels,
        start=np.concatenate([block.start for block in found]),
        cluster=cluster,
        cluster_labels=labels,
        weight=np.concatenate(weights) if weights else np.ones(count),
        x=np.concatenate([block.x for block in found]),
        units=_ids(found),
        notes=notes_of(rows, tally),
    )
    if columns.absent == "complete":
        return panel.select(~np.isnan(y).any(axis=(1, 2)))
    return panel


def _codes(found: Sequence[Block]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number clusters in the order of their ids, and name them."""
    import pyarrow as pa

    ids = pa.concat_arrays([block.cluster for block in found]).to_numpy(zero_copy_only=False)
    names, code = np.unique(ids, return_inverse=True)
    return code.astype(np.int64), tuple(map(str, names))


def _ids(found: Sequence[Block]) -> NDArray[np.object_]:
    import pyarrow as pa

    ids = pa.concat_arrays([block.units for block in found])
    return np.array(ids.to_pylist(), dtype=object)
