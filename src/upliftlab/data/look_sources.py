"""Which rows of each source belong to the units whose window has just closed?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.datatypes as dt

from upliftlab.data import tables
from upliftlab.data.contracts import CONTRACTS
from upliftlab.data.files import are_told_apart, paths_of, read_paths
from upliftlab.data.ledger import DAY
from upliftlab.data.look_files import Piece, by_day, counted, unchanged
from upliftlab.data.maturity import before_the_gap
from upliftlab.data.prepare import reading_of
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.data.engine import Engine
    from upliftlab.experiment import Experiment, Source

CLOCKS = {
    "assignments": "assigned_at",
    "order_lines": "paid_at",
    "orders": "paid_at",
    "refunds": "refunded_at",
    "units": "assigned_at",
}
"""The column by which rows of a source arrive."""

EVENTS = {"exposures": "at", "coupon_events": "at", "membership_events": "at"}
"""The same of sources whose rows only mark units."""

FILE = "upliftlab_file"
"""Column in which the engine says where a row is from."""

EPOCH = date(1970, 1, 1)
ALL_DAYS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Touched:
    """Rows of the units of some assignment days.

    Attributes:
        given: Source -> rows.
        stand_ins: Sources without any such row, of which one foreign row stands in: an empty
            source would read as one that is missing.
    """

    given: Mapping[str, ibis.Table]
    stand_ins: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookSources:
    """The sources of an experiment as the engine sees them, nothing read yet.

    Attributes:
        engine: Where they live.
        raw: Source -> table.
        sources: The plan's sources, for names of columns and units of money.
        how: The shop's clock and currency.
        files: Source -> its files, where the engine can tell them apart.
        pieces: Source -> file -> days it holds; empty until ``counting`` has looked.
    """

    engine: Engine
    raw: Mapping[str, ibis.Table]
    sources: Mapping[str, Source]
    how: tables.Reading
    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    pieces: Mapping[str, Mapping[str, Piece]] = field(default_factory=dict)

    @classmethod
    def open(cls, experiment: Experiment, given: Mapping[str, object]) -> LookSources:
        """Open the sources; none is scanned.

        Raises:
            DataError: When units cannot be told by the day of their assignment.
        """
        sources = experiment.data.sources if experiment.data else {}
        engine = tables.open_engine(sources, given)
        how = reading_of(experiment)
        names = [name for name in CONTRACTS if name in sources or name in given]
        if not {"assignments", "units"} & set(names):
            raise DataError.no_source("assignments")
        raw, files = {}, {}
        for name in names:
            source, table = sources.get(name), given.get(name)
            raw[name] = tables.raw(engine, name, source, table, how)
            paths = _paths(name, source, table, how)
            if are_told_apart(engine, paths, source):
                files[name] = paths
        found = cls(engine=engine, raw=raw, sources=sources, how=how, files=files)
        found.clock(found.who)
        if found.value(found.who, "unit") is None:
            have = raw[found.who].columns
            raise DataError.missing_column("unit", f"looks at source {found.who!r}", have)
        return found

    @property
    def who(self) -> str:
        """The source that says who was assigned when."""
        return "units" if "units" in self.raw else "assignments"

    def value(self, source: str, name: str) -> ibis.Value | None:
        """One column of a source under our kind; None where it has none."""
        return self._of(source, self.raw[source], name)

    def clock(self, source: str) -> ibis.Value:
        """When a row of the source arrived, UTC seconds.

        Raises:
            DataError: Without such a column.
        """
        found = self.value(source, CLOCKS[source])
        if found is None:
            have = self.raw[source].columns
            raise DataError.missing_column(CLOCKS[source], f"looks at source {source!r}", have)
        return found

    def day(self, moment: ibis.Value) -> ibis.Value:
        """Shop day of a moment, counted from 1970."""
        return ((moment + self.how.offset) / DAY).floor().cast("int64")

    def second(self, day: int) -> int:
        """First second of a shop day, UTC."""
        return day * DAY - self.how.offset

    def counting(self, known: Mapping[str, Mapping[str, Piece]]) -> LookSources:
        """Count the rows of every day; files that stayed as they were are not read again.

        Args:
            known: Source -> file -> what the last look counted.
        """
        pieces = {
            source: self._counted(source, known.get(source, {}))
            for source, clock in CLOCKS.items()
            if source in self.raw and self.value(source, clock) is not None
        }
        return replace(self, pieces=pieces)

    def last_day(self) -> int | None:
        """Last shop day of which all rows are surely there: the one before the last event."""
        rows = {source: by_day(found.values()) for source, found in self.pieces.items()}
        facts = [rows[name] for name in ("order_lines", "orders") if rows.get(name)]
        merged = facts[0] if facts else rows.get(self.who, {})
        if not merged:
            return None
        last = before_the_gap(dict(merged)).at
        return None if last is None else (last + self.how.offset) // DAY - 1

    def units_of(self, first: int, last: int) -> ibis.Table:
        """Units with an assignment on these shop days: ``unit``, ``arm``, ``t``."""
        who = self.who
        table = self._within(who, first, last)
        return table.select(
            unit=self._of(who, table, "unit"),
            arm=self._of(who, table, "arm"),
            t=self._of(who, table, CLOCKS[who]),
        ).filter(ibis._.unit.notnull())

    def first_times(self, table: ibis.Table) -> ibis.Table:
        """Unit -> ``assigned_at`` of its first row among these, ``arm``, ``_last`` arm."""
        who = self.who
        rows = table.select(
            unit=self._of(who, table, "unit"),
            arm=self._of(who, table, "arm"),
            t=self._of(who, table, CLOCKS[who]),
        ).filter(ibis._.arm.notnull())
        return rows.group_by("unit").agg(
            assigned_at=rows["t"].min(), arm=rows["arm"].min(), _last=rows["arm"].max()
        )

    def counts(self, first: int, last: int) -> dict[int, dict[str, int]]:
        """Shop day -> arm -> units first assigned on it."""
        fresh = self.units_of(first, last)
        earlier = self.units_of(-ALL_DAYS, first - 1).semi_join(fresh, "unit")
        new = fresh.anti_join(earlier, "unit")
        once = new.group_by("unit").agg(t=new["t"].min(), arm=new["arm"].min())
        rows = self.engine.rows(
            once.mutate(day=self.day(once["t"])).group_by(["day", "arm"]).agg(n=ibis._.count())
        )
        out: dict[int, dict[str, int]] = {}
        for row in sorted(rows, key=lambda row: (row["day"], row["arm"])):
            out.setdefault(int(row["day"]), {})[row["arm"]] = int(row["n"])
        return out

    def of_units(self, first: int, last: int, reach: int) -> Touched:
        """Rows of the units assigned on these days, each unit's up to ``reach`` days on.

        Facts begin with the unit's day of assignment; assignments of any earlier day are
        among the rows, for only the first one counts. What is not the units' own is passed on
        as it is. So what is read of a unit depends on no other unit, and on no other look.
        """
        wanted = self._touched(first, last, reach)
        out, orders = dict(self.raw), None
        stand_ins: set[str] = set()
        rest = [name for name in self.raw if name not in {"ad_spend", "finance_total"}]
        for source in sorted(rest, key=lambda name: name in {"order_lines", "refunds"}):
            key = self._key(source, has_orders=orders is not None)
            if key == "order_id" and orders is None:
                continue
            is_fact = source in {"order_lines", "orders", "refunds"}
            days = (first, last + reach) if is_fact else (-ALL_DAYS, last + reach)
            table = self._own(source, key, wanted if key == "unit" else orders, days)
            if source in {"order_lines", "orders"} and orders is None:
                orders = self._orders(source, table)
            if self.engine.one(table.aggregate(n=ibis._.count()))["n"]:
                out[source] = table.drop("_from", "_until")
            else:
                out[source] = self.raw[source].limit(1)
                stand_ins.add(source)
        return Touched(given=out, stand_ins=frozenset(stand_ins))

    def _of(self, source: str, table: ibis.Table, name: str) -> ibis.Value | None:
        given = self.sources.get(source)
        return tables.one_column(
            table,
            CONTRACTS[source],
            name,
            mapping=dict(given.columns) if given else {},
            how=self.how,
        )

    def _counted(self, source: str, known: Mapping[str, Piece]) -> dict[str, Piece]:
        paths = self.files.get(source)
        if paths is None:
            found = self._days_of(source, self.raw[source])
            return {"": Piece(days=found.get("", {}))}
        same = unchanged(paths, known)
        fresh = [path for path in paths if path.name not in same]
        if fresh:
            given = self.sources.get(source)
            table = read_paths(self.engine, source, fresh, given, filename=FILE)
            days = self._days_of(source, table)
            same |= {path.name: counted(path, days.get(path.name, {})) for path in fresh}
        return {path.name: same[path.name] for path in paths}

    def _days_of(self, source: str, table: ibis.Table) -> dict[str, dict[int, tuple[int, int]]]:
        """File -> shop day -> rows, and the last of their moments; one column is scanned."""
        moments = table.select(
            t=self._of(source, table, CLOCKS[source]),
            file=table[FILE] if source in self.files else ibis.literal(""),
        ).filter(ibis._.t.notnull())
        grouped = moments.mutate(day=self.day(moments["t"])).group_by(["file", "day"])
        out: dict[str, dict[int, tuple[int, int]]] = {}
        for row in self.engine.rows(grouped.agg(n=ibis._.count(), last=ibis._.t.max())):
            name = Path(row["file"]).name
            out.setdefault(name, {})[int(row["day"])] = (int(row["n"]), int(row["last"]))
        return out

    def _touched(self, first: int, last: int, reach: int) -> ibis.Table:
        """Unit -> from when and until when its facts are read, UTC seconds."""
        fresh = self.units_of(first, last)
        grouped = fresh.group_by("unit").agg(t=fresh["t"].min())
        day = self.day(grouped["t"])
        found = grouped.select(
            "unit",
            start=day * DAY - self.how.offset,
            until=(day + 1 + reach) * DAY - self.how.offset,
        )
        return self.engine.materialise(found, "touched")

    def _key(self, source: str, *, has_orders: bool) -> str:
        """By which column rows are known to be a unit's: lines may leave it to their order."""
        leaves = source == "order_lines" and self.value(source, CLOCKS[source]) is None
        if self.value(source, "unit") is None or (leaves and has_orders):
            return "order_id"
        return "unit"

    def _orders(self, source: str, table: ibis.Table) -> ibis.Table | None:
        """Order -> from when and until when its unit's facts are read."""
        ids = self._of(source, table, "order_id")
        if ids is None:
            return None
        marked = table.select(order_id=ids, start=table["_from"], until=table["_until"])
        found = marked.group_by("order_id").agg(
            start=marked["start"].min(), until=marked["until"].min()
        )
        return self.engine.materialise(found, "order_ids")

    def _own(
        self, source: str, key: str, wanted: ibis.Table, days: tuple[int, int]
    ) -> ibis.Table:
        """Rows of the wanted units or orders within these days and their own times."""
        is_fact = source in {"order_lines", "orders", "refunds"}
        clock = CLOCKS.get(source) or EVENTS.get(source)
        is_dated = clock is not None and self.value(source, clock) is not None
        table = self._within(source, *days) if is_dated else self.raw[source]
        marks: dict[str, Any] = {"_key": self._of(source, table, key)}
        if is_dated:
            marks["_moment"] = self._of(source, table, str(clock))
        marked = table.mutate(**marks)
        ends = wanted.select(_wanted=wanted[key], _from=wanted["start"], _until=wanted["until"])
        found = marked.inner_join(ends, marked["_key"] == ends["_wanted"])
        if is_dated:
            found = found.filter(found["_moment"] < found["_until"])
            if is_fact:
                found = found.filter(found["_moment"] >= found["_from"])
            found = found.drop("_moment")
        return self.engine.materialise(found.drop("_key", "_wanted"), source)

    def _within(self, source: str, first: int, last: int) -> ibis.Table:
        """Rows dated on these shop days; what files say of their rows spares reading them."""
        clock = CLOCKS.get(source) or EVENTS[source]
        table = self._recent(source, first, last)
        theirs: Any = self._of(source, table, clock)
        column = self._stored(source, table, clock)
        if column is not None:
            return table.filter(
                column >= self._literal(column, first), column < self._literal(column, last + 1)
            )
        return table.filter(theirs >= self.second(first), theirs < self.second(last + 1))

    def _recent(self, source: str, first: int, last: int) -> ibis.Table:
        """A source without the files that hold other days only, if they are all made alike."""
        paths, pieces = self.files.get(source, ()), self.pieces.get(source)
        if pieces is None:
            return self.raw[source]
        met = [path for path in paths if pieces[path.name].meets(first, last)]
        if len(met) == len(paths):
            return self.raw[source]
        found = read_paths(self.engine, source, met or paths[:1], self.sources.get(source))
        return found if found.columns == self.raw[source].columns else self.raw[source]

    def _stored(self, source: str, table: ibis.Table, name: str) -> ibis.Value | None:
        """A column of times as it is stored, where its extremes spare reading; else None.

        An expression of a column hides it from the extremes that Parquet files keep.
        """
        column = CONTRACTS[source].column(name)
        given = self.sources.get(source)
        if self.engine.name != "duckdb" or column is None:
            return None
        theirs = tables.find_column(
            column, table.columns, dict(given.columns) if given else {}, source
        )
        if theirs is None or not table[theirs].type().is_timestamp():
            return None
        return table[theirs]

    def _literal(self, column: ibis.Value, day: int) -> ibis.Value:
        """First moment of a shop day, as the column tells time."""
        if column.type().timezone:
            moment = datetime.fromtimestamp(self.second(day), tz=UTC)
            return ibis.literal(moment, type=dt.Timestamp(timezone="UTC"))
        clock = datetime.combine(EPOCH + timedelta(days=day), datetime.min.time())
        return ibis.literal(clock, type=dt.Timestamp())


def _paths(
    name: str, source: Source | None, given: object | None, how: tables.Reading
) -> tuple[Path, ...]:
    """The files of a source; none where it is a table, a query or a frame."""
    if isinstance(given, Path):
        return (given,)
    if given is not None or source is None or not source.file:
        return ()
    return tuple(paths_of(name, source.file, how.base))
