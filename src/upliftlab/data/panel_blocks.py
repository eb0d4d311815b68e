"""What do rows in the order of their units add up to? Runs where the rows live.

Nothing here needs more than numpy and Arrow: on Spark these functions travel to the workers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.stats import moments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Parts = dict[int, tuple[int, Floats, Floats]]

BLOCK_ROWS = 262_144
"""Rows worked on at once: enough for fast products, few enough for 100 MB."""

COUNTERS = (
    "rows",
    "units",
    "unreadable",
    "duplicates",
    "moved_start",
    "moved_cluster",
    "moved_weight",
    "moved_covariates",
    "negative_weight",
    "odd_marks",
    "turned_off",
    "always_on",
    "unseen_start",
    "incomplete",
    "absent",
    "entered",
    "left",
    "holes",
    "disorder",
)
"""What is counted on the way; only ``rows`` and ``units`` are rows and units as such."""

NEVER = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How rows become arrays.

    Attributes:
        values: Period values that occur, in order, shape [V].
        at: Position of each among the periods, shape [V].
        length: Periods T.
        starts: Start values that occur, in order; none where rows say on or off.
        positions: Position of each start.
        components: K.
        covariates: P.
        has_weight: Whether rows carry a weight.
        has_cluster: Whether rows carry a cluster.
        never: The position that means never treated.
    """

    values: Floats
    at: Ints
    length: int
    starts: Floats
    positions: Ints
    components: int
    covariates: int = 0
    has_weight: bool = False
    has_cluster: bool = False
    never: int = NEVER


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts over blocks, and one example of each kind of trouble."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, count: int, example: object = "") -> None:
        """Add to a counter and keep its first example."""
        if count:
            self.counts[name] = self.counts.get(name, 0) + int(count)
            self.examples.setdefault(name, str(example))

    def __getitem__(self, name: str) -> int:
        return self.counts.get(name, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some units with all their rows.

    Attributes:
        units: Their ids, an Arrow array of n.
        y: Outcomes, shape [n, T, K]; zero where not seen.
        seen: Periods with a row, shape [n, T].
        start: First treated period, shape [n].
        on: On or off as told, NaN where not seen, shape [n, T]; None where starts are told.
        cluster: Ids of the clusters, an Arrow array of n, or None.
        weight: Shape [n], or None.
        x: Covariates in the first period with a row, shape [n, P].
    """

    units: Any
    y: Floats
    seen: Bools
    start: Ints
    on: Floats | None
    cluster: Any
    weight: Floats | None
    x: Floats


def blocks(
    batches: Iterator[pa.RecordBatch], layout: Layout, tally: Tally, rows: int = BLOCK_ROWS
) -> Iterator[Block]:
    """Cut a stream of rows, sorted by unit, into blocks of whole units.

    Where the rows turn out not to be sorted the stream ends early with ``disorder`` counted.
    """
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    count, last = 0, None
    for batch in batches:
        if not batch.num_rows:
            continue
        held.append(batch)
        count += batch.num_rows
        if count < rows:
            continue
        table = pa.Table.from_batches(held).combine_chunks()
        opened = _openings(table, last, tally)
        if tally["disorder"]:
            return
        cut = int(opened[-1]) or table.num_rows
        last = table.column("u")[cut - 1]
        yield _block(table.slice(0, cut), opened[opened < cut], layout, tally)
        held = table.slice(cut).to_batches()
        count = table.num_rows - cut
    if count:
        table = pa.Table.from_batches(held).combine_chunks()
        opened = _openings(table, last, tally)
        if not tally["disorder"]:
            yield _block(table, opened, layout, tally)


def cohort_moments(
    layout: Layout, *, zero: bool
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Make the function that turns sorted rows into partial moments of every cohort.

    Args:
        layout: How rows become arrays.
        zero: Whether a period without a row is a zero; else such units are left out.
    """

    def partial(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        tally = Tally()
        parts: Parts = {}
        for block in blocks(batches, layout, tally):
            _add(parts, block, zero=zero)
        numbers = [np.concatenate([mean, m2.reshape(-1)]) for _, mean, m2 in parts.values()]
        counts = np.array([tally[name] for name in COUNTERS], dtype=np.float64)
        lists = [*numbers, counts]
        edges = np.cumsum([0, *map(len, lists)]).astype(np.int32)
        said = "\n".join(f"{name}\t{text}" for name, text in tally.examples.items())
        yield pa.RecordBatch.from_pydict(
            {
                "start": pa.array([*parts, -1], pa.int64()),
                "units": pa.array([*(n for n, _, _ in parts.values()), 0], pa.int64()),
                "numbers": pa.ListArray.from_arrays(
                    pa.array(edges, pa.int32()), pa.array(np.concatenate(lists))
                ),
                "examples": pa.array([*("" for _ in parts), said], pa.string()),
            }
        )

    return partial


def merged(found: pa.Table, columns: int) -> tuple[Parts, Tally]:
    """Add up what ``cohort_moments`` yielded in one or many places.

    Args:
        found: Its rows.
        columns: Width of the moments, T K.
    """
    tally = Tally()
    groups: dict[int, list[tuple[int, Floats, Floats]]] = {}
    start = found.column("start").to_pylist()
    units = found.column("units").to_pylist()
    numbers = found.column("numbers").combine_chunks()
    for i, (at, n) in enumerate(zip(start, units, strict=True)):
        row = np.asarray(numbers[i].values)
        if at >= 0:
            m2 = row[columns:].reshape(columns, columns)
            groups.setdefault(at, []).append((n, row[:columns], m2))
            continue
        examples = dict(
            line.split("\t", 1) for line in found.column("examples")[i].as_py().splitlines()
        )
        for name, count in zip(COUNTERS, row, strict=True):
            tally.add(name, int(count), examples.get(name, ""))
    return {at: _union(parts) for at, parts in sorted(groups.items())}, tally


def _add(parts: Parts, block: Block, *, zero: bool) -> None:
    flat = block.y.reshape(len(block.y), -1)
    whole = np.ones(len(flat), dtype=bool) if zero else block.seen.all(axis=1)
    for cohort in np.unique(block.start):
        own = whole & (block.start == cohort)
        if own.any():
            fresh = moments.of_rows(flat[own])
            at = int(cohort)
            parts[at] = _union([parts[at], fresh]) if at in parts else fresh


def _union(parts: list[tuple[int, Floats, Floats]]) -> tuple[int, Floats, Floats]:
    n, mean, m2 = moments.merge(
        np.array([part[0] for part in parts]),
        np.stack([part[1] for part in parts]),
        np.stack([part[2] for part in parts]),
        into=np.zeros(len(parts), dtype=np.int64),
        groups=1,
    )
    return int(n[0]), mean[0], m2[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Rows of whole units: ``of`` is the unit of each row, ``flat`` its place in [n, T]."""

    table: Any
    opened: Ints
    of: Ints
    flat: Ints
    units: Any

    def column(self, name: str) -> Floats:
        """Return a column of numbers, NaN where there is none."""
        return np.asarray(_array(self.table.column(name).combine_chunks()), dtype=np.float64)

    def shown(self, at: int) -> str:
        """Quote the id of a unit."""
        return repr(self.units[int(at)].as_py())

    def count_moved(self, name: str, moved: Bools, tally: Tally) -> None:
        """Count units with a row that contradicts the others."""
        if moved.any():
            at = np.unique(self.of[moved])
            tally.add(name, len(at), self.shown(at[0]))


def _openings(table: pa.Table, last: Any, tally: Tally) -> Ints:  # noqa: ANN401 - any id
    """Rows on which a unit begins; a unit that was there before is counted as disorder."""
    import pyarrow.compute as pc

    unit = table.column("u").combine_chunks()
    before, after = unit.slice(0, len(unit) - 1), unit.slice(1)
    wrong = pc.any(pc.less(after, before)).as_py()
    if last is not None:
        wrong = wrong or pc.less(unit[0], last).as_py()
        # More rows than fit a block, all of one unit: it was there too often.
        tally.add("duplicates", int(bool(pc.equal(unit[0], last).as_py())), repr(last.as_py()))
    tally.add("disorder", int(bool(wrong)))
    changed = pc.fill_null(pc.not_equal(after, before), fill_value=False)
    return np.concatenate([[0], np.flatnonzero(_array(changed)) + 1]).astype(np.int64)


def _array(column: Any) -> NDArray[Any]:  # noqa: ANN401 - an Arrow array
    found: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return found


def _block(table: pa.Table, opened: Ints, layout: Layout, tally: Tally) -> Block:
    """Scatter rows into a dense array and count what does not fit."""
    size, n, length = table.num_rows, len(opened), layout.length
    of = np.repeat(np.arange(n), np.diff([*opened, size]))
    units = table.column("u").combine_chunks()
    rows = _Rows(table=table, opened=opened, of=of, flat=of, units=units.take(opened))
    period = layout.at[np.searchsorted(layout.values, rows.column("p"))]
    rows = replace(rows, flat=of * length + period)
    seen = np.bincount(rows.flat, minlength=n * length).reshape(n, length)
    tally.add("rows", size)
    tally.add("units", n)
    tally.add("unreadable", units.null_count)
    again = np.flatnonzero((seen > 1).any(axis=1))
    if len(again):
        extra = int((seen[again] - 1).clip(0).sum())
        tally.add("duplicates", extra, rows.shown(again[0]))
    values = np.empty((size, layout.components))
    for k in range(layout.components):
        values[:, k] = rows.column(f"y{k}")
    lost = ~np.isfinite(values)
    if lost.any():
        tally.add("unreadable", int(lost.any(axis=1).sum()))
        values[lost] = 0.0
    y = np.zeros((n * length, layout.components))
    y[rows.flat] = values
    there = seen > 0
    _count_gaps(there, tally)
    start, on = _starts(rows, there, layout, tally)
    weight, x = _traits(rows, layout, tally)
    return Block(
        units=rows.units,
        y=y.reshape(n, length, layout.components),
        seen=there,
        start=start,
        on=on,
        cluster=_clusters(rows, tally) if layout.has_cluster else None,
        weight=weight,
        x=x,
    )


def _count_gaps(there: Bools, tally: Tally) -> None:
    length = there.shape[1]
    complete = there.all(axis=1)
    if complete.all():
        return
    partial = there[~complete]
    first = partial.argmax(axis=1)
    last = length - 1 - partial[:, ::-1].argmax(axis=1)
    tally.add("incomplete", len(partial))
    tally.add("absent", int((~partial).sum()))
    tally.add("entered", int((first > 0).sum()))
    tally.add("left", int((last < length - 1).sum()))
    tally.add("holes", int((partial.sum(axis=1) < last - first + 1).sum()))


def _starts(
    rows: _Rows, there: Bools, layout: Layout, tally: Tally
) -> tuple[Ints, Floats | None]:
    """Place each unit's start as told, or find it as the first period that is on."""
    n, length = there.shape
    if "s" in rows.table.column_names:
        told = layout.positions[np.searchsorted(layout.starts, rows.column("s"))]
        start = told[rows.opened]
        rows.count_moved("moved_start", told != start[rows.of], tally)
        return start, None
    marks = rows.column("on")
    tally.add("unreadable", int((~np.isfinite(marks)).sum()))
    odd = np.isfinite(marks) & (marks != 0) & (marks != 1)
    if odd.any():
        tally.add("odd_marks", int(odd.sum()), f"{marks[odd][0]:g}")
    flags = np.full(n * length, np.nan)
    flags[rows.flat] = np.where(marks != 0, 1.0, 0.0)
    on = flags.reshape(n, length)
    lit = on == 1
    start = np.where(lit.any(axis=1), lit.argmax(axis=1), layout.never).astype(np.int64)
    off = ((on == 0) & (np.arange(length) > start[:, None])).any(axis=1)
    if off.any():
        tally.add("turned_off", int(off.sum()), rows.shown(np.flatnonzero(off)[0]))
    tally.add("always_on", int((lit | ~there).all(axis=1).sum()))
    begun = np.flatnonzero((start > 0) & (start < length))
    tally.add("unseen_start", int((~there[begun, start[begun] - 1]).sum()))
    return start, on


def _traits(rows: _Rows, layout: Layout, tally: Tally) -> tuple[Floats | None, Floats]:
    """Take weight and covariates from the unit's first period."""
    weight, x = None, np.empty((len(rows.opened), layout.covariates))
    if not layout.has_weight and not layout.covariates:
        return weight, x
    first = np.lexsort((rows.flat, rows.of))[rows.opened]
    if layout.has_weight:
        told = rows.column("w")
        weight = told[first]
        tally.add("unreadable", int((~np.isfinite(told)).sum()))
        tally.add("negative_weight", int((told < 0).sum()))
        rows.count_moved("moved_weight", told != weight[rows.of], tally)
    moved = np.zeros(len(rows.of), dtype=bool)
    for k in range(layout.covariates):
        told = rows.column(f"x{k}")
        x[:, k] = told[first]
        tally.add("unreadable", int((~np.isfinite(told)).sum()))
        moved |= told != x[rows.of, k]
    rows.count_moved("moved_covariates", moved, tally)
    return weight, x


def _clusters(rows: _Rows, tally: Tally) -> Any:  # noqa: ANN401 - an Arrow array
    import pyarrow.compute as pc

    told = rows.table.column("c").combine_chunks()
    tally.add("unreadable", told.null_count)
    first = told.take(rows.opened)
    moved = pc.fill_null(pc.not_equal(told, first.take(rows.of)), fill_value=False)
    rows.count_moved("moved_cluster", _array(moved), tally)
    return first
