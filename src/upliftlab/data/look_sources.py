"""Which rows of each source belong to the units whose window has just closed?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis

from upliftlab.data import tables
from upliftlab.data.contracts import CONTRACTS
from upliftlab.data.ledger import DAY
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookSources:
    """The sources of an experiment as the engine sees them, nothing read yet.

    Attributes:
        engine: Where they live.
        raw: Source -> table.
        sources: The plan's sources, for names of columns and units of money.
        how: The shop's clock and currency.
    """

    engine: Engine
    raw: Mapping[str, ibis.Table]
    sources: Mapping[str, Source]
    how: tables.Reading

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
        raw = {
            name: tables.raw(engine, name, sources.get(name), given.get(name), how)
            for name in names
        }
        found = cls(engine=engine, raw=raw, sources=sources, how=how)
        found.clock(found.who)
        return found

    @property
    def who(self) -> str:
        """The source that says who was assigned when."""
        return "units" if "units" in self.raw else "assignments"

    def value(self, source: str, name: str) -> ibis.Value | None:
        """One column of a source under our kind; None where it has none."""
        given = self.sources.get(source)
        return tables.one_column(
            self.raw[source],
            CONTRACTS[source],
            name,
            mapping=dict(given.columns) if given else {},
            how=self.how,
        )

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

    def rows_by_day(self) -> dict[str, dict[int, tuple[int, int]]]:
        """Source -> shop day -> rows, and the last of their moments; one column is scanned."""
        out = {}
        for source, clock in CLOCKS.items():
            if source not in self.raw or self.value(source, clock) is None:
                continue
            moments = self.raw[source].select(t=self.clock(source)).filter(ibis._.t.notnull())
            by_day = moments.mutate(day=self.day(moments["t"])).group_by("day")
            rows = self.engine.rows(by_day.agg(n=ibis._.count(), last=ibis._.t.max()))
            out[source] = {int(r["day"]): (int(r["n"]), int(r["last"])) for r in rows}
        return out

    def last_day(self, rows: Mapping[str, Mapping[int, tuple[int, int]]]) -> int | None:
        """Last shop day of which all rows are surely there: the one before the last event."""
        facts = [rows[name] for name in ("order_lines", "orders") if rows.get(name)]
        merged = facts[0] if facts else rows.get(self.who, {})
        if not merged:
            return None
        last = before_the_gap(dict(merged)).at
        return None if last is None else (last + self.how.offset) // DAY - 1

    def units_of(self, first: int, last: int) -> ibis.Table:
        """Units with an assignment on these shop days: ``unit``, ``arm``, ``t``."""
        who = self.who
        table = self.raw[who].select(
            unit=self.value(who, "unit"), arm=self.value(who, "arm"), t=self.clock(who)
        )
        return table.filter(
            table["unit"].notnull()
            & (table["t"] >= self.second(first))
            & (table["t"] < self.second(last + 1))
        )

    def counted(self, first: int, last: int) -> dict[int, dict[str, int]]:
        """Shop day -> arm -> units first assigned on it."""
        fresh = self.units_of(first, last)
        earlier = self.units_of(-100_000, first - 1).semi_join(fresh, "unit")
        new = fresh.anti_join(earlier, "unit")
        once = new.group_by("unit").agg(t=new["t"].min(), arm=new["arm"].min())
        rows = self.engine.rows(
            once.mutate(day=self.day(once["t"])).group_by(["day", "arm"]).agg(n=ibis._.count())
        )
        out: dict[int, dict[str, int]] = {}
        for row in sorted(rows, key=lambda row: (row["day"], row["arm"])):
            out.setdefault(int(row["day"]), {})[row["arm"]] = int(row["n"])
        return out

    def of_units(self, first: int, last: int, reach: int) -> dict[str, ibis.Table]:
        """Rows of the units assigned on these days, each unit's facts up to ``reach`` days on.

        What is not the units' own is passed on as it is, and so is a source that holds nothing
        of them: an empty source would read as one that is missing.
        """
        fresh = self.units_of(first, last)
        touched = fresh.group_by("unit").agg(until=fresh["t"].min())
        touched = touched.mutate(until=self._closing(touched["until"], reach))
        touched = self.engine.materialise(touched, "touched")
        out = dict(self.raw)
        orders: ibis.Table | None = None
        for source in self.raw:
            if source in {"refunds", "ad_spend", "finance_total"}:
                continue
            if self.value(source, "unit") is None:
                continue
            is_fact = source in {"order_lines", "orders"}
            start = self.second(first) if is_fact else None
            found = self._own(source, "unit", touched, start)
            if is_fact:
                orders = self._orders(source, found)
            out[source] = self._known(source, found)
        if orders is None:
            return out
        for source in ("order_lines", "refunds"):
            if source in self.raw and out[source] is self.raw[source]:
                start = self.second(first) if source == "refunds" else None
                out[source] = self._known(source, self._own(source, "order_id", orders, start))
        return out

    def _closing(self, moment: ibis.Value, reach: int) -> ibis.Value:
        """First second after a unit's facts are read, UTC."""
        return (self.day(moment) + 1 + reach) * DAY - self.how.offset

    def _orders(self, source: str, table: ibis.Table) -> ibis.Table | None:
        """Order -> until when its unit's facts are read."""
        own = LookSources(
            engine=self.engine, raw={source: table}, sources=self.sources, how=self.how
        )
        ids = own.value(source, "order_id")
        if ids is None:
            return None
        marked = table.select(order_id=ids, until=table["_until"])
        found = marked.group_by("order_id").agg(until=marked["until"].min())
        return self.engine.materialise(found, "order_ids")

    def _own(self, source: str, key: str, wanted: ibis.Table, start: int | None) -> ibis.Table:
        """Rows of the wanted units or orders; facts from ``start`` until their units close."""
        table = self.raw[source]
        moment = None if start is None else self.value(source, CLOCKS[source])
        marks: dict[str, Any] = {"_key": self.value(source, key)}
        if moment is not None:
            marks["_moment"] = moment
        marked = table.mutate(**marks)
        if moment is not None:
            marked = marked.filter(marked["_moment"] >= start)
        ends = wanted.select(_wanted=wanted[key], _until=wanted["until"])
        found = marked.inner_join(ends, marked["_key"] == ends["_wanted"])
        if moment is not None:
            found = found.filter(found["_moment"] < found["_until"]).drop("_moment")
        return self.engine.materialise(found.drop("_key", "_wanted"), source)

    def _known(self, source: str, found: ibis.Table) -> ibis.Table:
        is_empty = self.engine.one(found.aggregate(n=ibis._.count()))["n"] == 0
        return self.raw[source] if is_empty else found.drop("_until")
