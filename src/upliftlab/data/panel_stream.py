"""How do the rows of a panel of any length become its moments, in little memory?"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ibis
import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.data.panel_blocks import Tally, cohort_moments, merged
from upliftlab.data.panel_moments import ClusterRows, PanelMoments
from upliftlab.data.panel_rows import Columns, LongRows, long_rows
from upliftlab.data.panel_table import layout_of, notes_of, refuse_trouble
from upliftlab.errors import DataError, DesignError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from upliftlab.data.engine import Engine

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MODEST = 1_500_000_000
"""Bytes that the embedded engine may take to sort; more is spilled to its folder."""

BITS = 40
"""Periods in one mask: powers of two whose sum says in which periods a unit has rows."""

MOST_SUMS = 2**28
"""Cluster x period x component sums that are held at once, 2 GiB."""


def stream_moments(
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
    absent: str = "unknown",
    calendar: str | None = None,
    announced: int = 0,
) -> PanelMoments:
    """Return the moments of a panel's cohorts in one pass over its rows, never the panel.

    Columns mean what they mean to ``read_panel``, and the numbers are those of
    ``PanelMoments.of`` its panel. With clusters or weights the engine adds up cluster x cohort
    x period. Without, rows stream by in the order of their units (they are sorted first unless
    they lie in that order) and blocks of units are multiplied; memory does not grow with rows.

    Args:
        engine: Where the rows live.
        table: One row per unit and period.
        unit: Column of the unit's id.
        period: Column of the period.
        components: Columns to be measured.
        start: Column of the first treated period.
        treated: Column of on or off, instead of ``start``.
        waves: Starts by cluster, instead of ``start``.
        cluster: Column of the unit's cluster.
        weight: Column of the unit's weight.
        absent: "zero": a period without a row is zero; "complete": units with such periods
            are left out and counted; "unknown": they are refused, as moments have no gaps.
        calendar: Kind of the periods; None takes what they look like.
        announced: Periods before its start in which a unit knows of it.

    Raises:
        DataError: As ``read_panel``.
        DesignError: For units with gaps that nobody explains.

    Examples:
        >>> import pyarrow as pa
        >>> from upliftlab.data.engine import embedded
        >>> rows = {"shop": ["a", "a", "b", "b"], "week": [1, 2, 1, 2], "sales": [5, 9, 4, 4]}
        >>> engine = embedded()
        >>> table = engine.text_table(pa.table(rows | {"cohort": [2, 2, 2, 2]}), "rows")
        >>> keys = {"unit": "shop", "period": "week", "start": "cohort"}
        >>> moments = stream_moments(engine, table, components=["sales"], **keys)
        >>> moments.mean[0, :, 0], moments.scatter[0]
        (array([4.5, 6.5]), array([[ 0.5,  2.5],
               [ 2.5, 12.5]]))
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
        absent=absent,
        calendar=calendar,
        announced=announced,
    )
    with _modest(engine):
        rows = long_rows(engine, table, columns)
        if cluster is None and weight is None:
            return _by_units(engine, rows)
        return _by_clusters(engine, rows)


def _by_units(engine: Engine, rows: LongRows) -> PanelMoments:
    """Multiply blocks of units where they stream by."""
    layout, columns = layout_of(rows), rows.columns
    function = cohort_moments(layout, zero=columns.absent == "zero")
    in_order = rows.table.order_by("u")
    # Only the embedded engine reads a table in the order of its rows.
    attempts = (rows.table, in_order) if engine.name == "duckdb" else (in_order,)
    length, width = layout.length, layout.components
    for attempt in attempts:
        found = engine.fold(attempt, function, _schema())
        parts, tally = merged(found, length * width)
        if not tally["disorder"]:
            break
    _refuse_gaps_and_trouble(engine, rows, tally)
    shape = (len(parts), length, width)
    size = np.array([n for n, _, _ in parts.values()], dtype=np.float64)
    return PanelMoments(
        names=columns.components,
        periods=rows.calendar.labels,
        start=np.array(list(parts), dtype=np.int64),
        units=size,
        weight=size.copy(),
        mean=np.array([mean for _, mean, _ in parts.values()]).reshape(shape),
        scatter=np.array([m2 for _, _, m2 in parts.values()]),
        notes=notes_of(rows, tally),
    )


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("start", pa.int64()),
            ("units", pa.int64()),
            ("numbers", pa.list_(pa.float64())),
            ("examples", pa.string()),
        ]
    )


def _by_clusters(engine: Engine, rows: LongRows) -> PanelMoments:
    """Add up cluster x cohort x period in the engine."""
    columns, calendar = rows.columns, rows.calendar
    table, tally = _placed(engine, rows)
    units = engine.materialise(_units(table, len(calendar.labels)), "units")
    cells = _cells(engine, units, rows, tally)
    if tally["duplicates"]:
        tally.counts["duplicates"] = _repeated(engine, table)
    _refuse_gaps_and_trouble(engine, rows, tally)
    if columns.absent == "complete" and tally["incomplete"]:
        table = table.semi_join(units.filter(units["n"] == len(calendar.labels)), "u")
    starts, cohort = np.unique(cells["start"], return_inverse=True)
    names, cluster = np.unique(cells["cluster"], return_inverse=True)
    pair, where = np.unique(cluster * len(starts) + cohort, return_inverse=True)
    shape = (len(pair), len(calendar.labels), len(columns.components))
    if np.prod(shape, dtype=float) > MOST_SUMS:
        raise DataError(
            f"{shape[0]:,} clusters of {columns.cluster or columns.unit!r} in {shape[1]} "
            f"periods and {shape[2]} components make over {MOST_SUMS:,} sums; where each unit "
            "is its own cluster, name no cluster and no weight."
        )
    total = np.zeros(shape)
    for batch in engine.batches(_sums(table, columns)):
        column = _arrays(batch)
        c, g = np.searchsorted(names, column["c"]), np.searchsorted(starts, column["g"])
        at = np.searchsorted(pair, c * len(starts) + g)
        for k in range(shape[2]):
            total[at, column["t"], k] = np.where(column[f"n{k}"], np.nan, column[f"y{k}"])
    if not np.isfinite(total).all():
        tally.add("unreadable", 1)
        refuse_trouble(engine, rows, tally)
    of_pair = (pair % len(starts)).astype(np.int64)
    weight = _added(cohort, cells["weight"], len(starts))
    sums = np.zeros((len(starts), *shape[1:]))
    np.add.at(sums, of_pair, total)
    return PanelMoments(
        names=columns.components,
        periods=calendar.labels,
        start=starts.astype(np.int64),
        units=_added(cohort, cells["units"], len(starts)),
        weight=weight,
        mean=sums / weight[:, None, None],
        rows=ClusterRows(
            cluster=(pair // len(starts)).astype(np.int64),
            cohort=of_pair,
            size=_added(where, cells["weight"], len(pair)),
            total=total,
        ),
        notes=notes_of(rows, tally),
    )


def _placed(engine: Engine, rows: LongRows) -> tuple[ibis.Table, Tally]:
    """Give each row its position ``t``, its unit's first treated ``g``, and a cluster."""
    import pyarrow as pa

    tally, calendar = Tally(), rows.calendar
    masks = {
        f"b{k}": [1 << int(t) % BITS if int(t) // BITS == k else 0 for t in calendar.at]
        for k in range(_words(len(calendar.labels)))
    }
    places = {"p": calendar.values, "t": calendar.at, **masks}
    table = rows.table.inner_join(engine.text_table(pa.table(places), "periods"), "p")
    if rows.columns.cluster is None:
        table = table.mutate(c=table["u"])
    if rows.columns.weight is None:
        table = table.mutate(w=ibis.literal(1, "int64").cast("float64"))
    if rows.columns.treated is not None:
        return _begun(engine, table, tally), tally
    starts = {
        "s": pa.array(list(rows.starts), pa.float64()),
        "g": pa.array(list(rows.starts.values()), pa.int64()),
    }
    return table.inner_join(engine.text_table(pa.table(starts), "starts"), "s"), tally


def _begun(engine: Engine, table: ibis.Table, tally: Tally) -> ibis.Table:
    """Find each unit's first period that is on; count units that turn off."""
    mark, t = table["on"], table["t"]
    nothing = ibis.null("int64")
    units = table.group_by("u").agg(
        first=(mark == 1).ifelse(t, nothing).min(),
        off=(mark == 0).ifelse(t, nothing).max(),
        odd=((mark != 0) & (mark != 1) & ~mark.isnan() & ~mark.isinf()).ifelse(1, 0).sum(),
        lost=(mark.isnull() | mark.isnan() | mark.isinf()).ifelse(1, 0).sum(),
        which=mark.max(),
    )
    units = engine.materialise(units, "begun")
    before = (units["first"] > 0).fill_null(False)
    seen = table.select(u=table["u"], t=table["t"] + 1)
    begun = units.filter(before).select(u=units["u"], t=units["first"])
    found = engine.one(
        units.aggregate(
            turned_off=_count(units["off"] > units["first"]),
            example=(units["off"] > units["first"]).ifelse(units["u"], None).min(),
            always_on=_count(units["off"].isnull() & units["first"].notnull()),
            odd=units["odd"].sum(),
            which=(units["odd"] > 0).ifelse(units["which"], None).max(),
            lost=units["lost"].sum(),
            begun=_count(before),
        )
    )
    known = engine.one(begun.semi_join(seen, ["u", "t"]).aggregate(n=ibis._.count()))["n"]
    tally.add("turned_off", found["turned_off"] or 0, repr(found["example"]))
    tally.add("always_on", found["always_on"] or 0)
    tally.add("odd_marks", found["odd"] or 0, f"{found['which'] or 0:g}")
    tally.add("unreadable", found["lost"] or 0)
    tally.add("unseen_start", int(found["begun"] or 0) - int(known))
    starts = units.select("u", g=units["first"].fill_null(NEVER))
    return table.inner_join(starts, "u")


def _words(length: int) -> int:
    return -(-length // BITS)


def _units(table: ibis.Table, length: int) -> ibis.Table:
    """Return one row per unit: its periods as bits, and whether it contradicts itself."""
    weight = table["w"]
    return table.group_by("u").agg(
        n=ibis._.count(),
        c=table["c"].min(),
        g=table["g"].min(),
        w=weight.max(),
        moved_c=(table["c"].min() != table["c"].max()).ifelse(1, 0),
        moved_g=(table["g"].min() != table["g"].max()).ifelse(1, 0),
        moved_w=(weight.min() != weight.max()).ifelse(1, 0),
        below=(weight.min() < 0).ifelse(1, 0),
        lost=_count(table["c"].isnull() | weight.isnull()),
        **{f"b{k}": table[f"b{k}"].sum().cast("int64") for k in range(_words(length))},
    )


def _repeated(engine: Engine, table: ibis.Table) -> int:
    """Count the rows whose unit and period came before."""
    grouped = table.group_by(["u", "t"]).agg(n=ibis._.count())
    return int(
        engine.one(grouped.filter(grouped["n"] > 1).aggregate(n=(ibis._.n - 1).sum()))["n"]
    )


def _cells(
    engine: Engine, units: ibis.Table, rows: LongRows, tally: Tally
) -> dict[str, NDArray[Any]]:
    """Count units by cluster and cohort, and what does not fit."""
    length = len(rows.calendar.labels)
    masks = [f"b{k}" for k in range(_words(length))]
    kinds = ["c", "g", "n", "moved_c", "moved_g", "moved_w", "below", "lost", *masks]
    grouped = units.group_by(kinds).agg(
        units=ibis._.count(), weight=units["w"].sum(), example=units["u"].min()
    )
    found = engine.fetch(grouped)
    column = _arrays(found)
    count, n = column["units"], column["n"]
    example = column["example"]
    bits = np.stack([(column[b][:, None] >> np.arange(BITS)) & 1 for b in masks], axis=1)
    seen = bits.reshape(len(n), -1)[:, :length].astype(bool)
    _count_seen(seen, count, tally)
    tally.add("units", int(count.sum()))
    tally.add("rows", int((n * count).sum()))
    for name, mark in (
        # A power of two added twice carries over: fewer bits than rows tell of repeated ones.
        ("duplicates", n > bits.sum(axis=(1, 2))),
        ("moved_cluster", column["moved_c"]),
        ("moved_start", column["moved_g"]),
        ("moved_weight", column["moved_w"]),
        ("negative_weight", column["below"] * n),
    ):
        wrong = np.flatnonzero(np.nan_to_num(np.asarray(mark, dtype=float)))
        if len(wrong):
            first = min(example[wrong].tolist())
            tally.add(name, int((np.asarray(mark)[wrong] * count[wrong]).sum()), repr(first))
    lost = [found.column(name).null_count for name in ("c", "example", "weight")]
    endless = ~np.isfinite(np.asarray(column["weight"], dtype=float))
    tally.add("unreadable", sum(lost) + int(column["lost"].sum()) + int(endless.sum()))
    whole = seen.all(axis=1) | (rows.columns.absent != "complete")
    return {
        "cluster": column["c"][whole],
        "start": column["g"][whole],
        "units": count[whole],
        "weight": column["weight"][whole],
    }


def _count_seen(seen: NDArray[np.bool_], count: Ints, tally: Tally) -> None:
    """Count units that enter late, leave early or have holes, from their periods."""
    length = seen.shape[1]
    partial = ~seen.all(axis=1)
    seen, count = seen[partial], count[partial]
    first, last = seen.argmax(axis=1), length - 1 - seen[:, ::-1].argmax(axis=1)
    tally.add("incomplete", int(count.sum()))
    tally.add("absent", int(((~seen).sum(axis=1) * count).sum()))
    tally.add("entered", int(count[first > 0].sum()))
    tally.add("left", int(count[last < length - 1].sum()))
    tally.add("holes", int(count[seen.sum(axis=1) < last - first + 1].sum()))


def _sums(table: ibis.Table, columns: Columns) -> ibis.Table:
    """Add up components, and their missing values, by cluster, cohort and period."""
    keys = range(len(columns.components))
    weight = 1.0 if columns.weight is None else table["w"]
    sums = {f"y{k}": (table[f"y{k}"] * weight).sum() for k in keys}
    gaps = {f"n{k}": _count(table[f"y{k}"].isnull()) for k in keys}
    return table.group_by(["c", "g", "t"]).agg(**sums, **gaps)


def _arrays(found: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401 - an Arrow table or batch
    names = found.schema.names
    return {name: np.asarray(found.column(name)) for name in names}


def _refuse_gaps_and_trouble(engine: Engine, rows: LongRows, tally: Tally) -> None:
    refuse_trouble(engine, rows, tally)
    if tally["incomplete"] and rows.columns.absent == "unknown":
        raise DesignError(
            f"{tally['incomplete']:,} of {tally['units']:,} units have periods without rows; "
            "say absent='zero' where nothing happened in them, absent='complete' to leave "
            "these units out, or read the panel and compare pairwise."
        )
    if rows.columns.absent == "complete" and tally["incomplete"] == tally["units"]:
        raise DesignError(
            f"none of the {tally['units']:,} units has a row in every period; say "
            "absent='zero' where nothing happened, or read the panel and compare pairwise."
        )


def _added(code: Ints, values: NDArray[Any], groups: int) -> Floats:
    return np.bincount(code, weights=values, minlength=groups).astype(np.float64)


def _count(test: Any) -> Any:  # noqa: ANN401 - ibis expressions
    return test.ifelse(1, 0).sum()


@contextmanager
def _modest(engine: Engine) -> Iterator[None]:
    """Let the embedded engine spill rather than fill the machine."""
    if engine.name != "duckdb":
        yield
        return
    (limit,) = engine.backend.raw_sql("SELECT current_setting('memory_limit')").fetchone()
    if _bytes(limit) <= MODEST:
        yield
        return
    engine.backend.raw_sql(f"SET memory_limit = '{MODEST // 10**6}MB'")
    try:
        yield
    finally:
        engine.backend.raw_sql(f"SET memory_limit = '{_restored(limit)}'")


def _restored(limit: str) -> str:
    """Return a size that the engine writes as before: it cuts after the first digit."""
    number, unit = limit.split()
    return f"{float(number) + 0.05:.2f} {unit}"


def _bytes(text: str) -> float:
    """Read a size as the engine writes it, such as 18.7 GiB."""
    number, unit = text.split()
    return float(number) * 1024.0 ** ["bytes", "KiB", "MiB", "GiB", "TiB"].index(unit)
