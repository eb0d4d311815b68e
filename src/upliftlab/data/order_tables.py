"""What does each source of the order grain hold, read once and found usable?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import ibis

from upliftlab.data import tables
from upliftlab.data.contracts import CONTRACTS, UNUSED, Column
from upliftlab.data.prepared import SetAside
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upliftlab.data.engine import Engine
    from upliftlab.data.plan import Plan
    from upliftlab.experiment import Source

MAY_BE_BLANK = {("refunds", "amount")}
"""Money columns that have a rule for blanks: such a refund counts by quantity."""


@dataclass(slots=True, kw_only=True)
class OrderTables:
    """The sources of one experiment, read once each under our names.

    Attributes:
        engine: Where the rows live.
        sources: The plan's sources.
        given: Tables from Python; they take the place of the plan's.
        plan: What reading must know of the experiment.
        how: The shop's clock and currency.
        aside: Rows not used, by rule; grows while reading.
        notes: Sentences about how the data were read; grows while reading.
    """

    engine: Engine
    sources: Mapping[str, Source]
    given: Mapping[str, object]
    plan: Plan
    how: tables.Reading
    aside: list[SetAside] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def has(self, name: str) -> bool:
        """Whether the plan or the caller gave this source."""
        return name in self.sources or name in self.given

    def read(
        self, name: str, *, extra: Sequence[Column] = (), whole: Sequence[str] = ()
    ) -> ibis.Table:
        """Read, check and return one source.

        Args:
            name: Key of the source.
            extra: Columns that the plan asks for beside the contract's, where present.
            whole: Columns that must be filled in every row.

        Raises:
            DataError: For a source that is empty, unreadable, or has gaps in money: a blank is
                missing, never 0.
        """
        source = self.sources.get(name)
        raw = tables.raw(self.engine, name, source, self.given.get(name), self.how)
        contract = CONTRACTS[name]
        mapping = dict(source.columns) if source else {}
        asked = tuple(c for c in extra if c.name in raw.columns or c.name in mapping)
        table = tables.read(
            raw,
            contract,
            mapping=mapping,
            money=source.money if source else None,
            how=self.how,
            extra=asked,
            tidy=self._tidy(name, raw),
        )
        table = self.engine.materialise(table, name)
        rows, missing = tables.quality(self.engine, table, contract, extra=asked, how=self.how)
        for column in (*contract.columns, *asked):
            is_money = column.kind == "money" and (name, column.name) not in MAY_BE_BLANK
            if missing.get(column.name, 0) and (is_money or column.name in whole):
                raise DataError.missing_values(
                    column.name, name, rows=missing[column.name], of=rows
                )
        return tables.plain(table)

    def _tidy(self, name: str, raw: ibis.Table) -> frozenset[str]:
        """Look for ids that need no trimming, in columnar files and tables only."""
        source, given = self.sources.get(name), self.given.get(name)
        if given is not None:
            is_columnar = isinstance(given, Path)
        else:
            place = str(source.file) if source and source.file else ""
            is_columnar = place.endswith(".parquet") or bool(source and source.table)
        if not is_columnar:
            return frozenset()
        mapping = dict(source.columns) if source else {}
        return tables.tidy_ids(self.engine, raw, CONTRACTS[name], mapping)

    def once(self, table: ibis.Table, key: str, source: str) -> ibis.Table:
        """Keep the first row of every key; exports that overlap repeat rows.

        Where repeated rows differ, the first in the order of their values counts, so that the
        same data give the same answer whatever the order of rows; their number is a note.
        """
        if key not in table.columns:
            return table
        counts = self.engine.one(
            table.aggregate(rows=table[key].count(), keys=table[key].nunique())
        )
        extra = int(counts["rows"]) - int(counts["keys"])
        if extra == 0:
            return table
        distinct = table.filter(table[key].notnull()).distinct()
        differing = int(self.engine.one(distinct.aggregate(n=ibis._.count()))["n"]) - int(
            counts["keys"]
        )
        if differing:
            self.notes.append(
                f"{differing:,} repeated rows of {source} differ from the row with the same "
                f"{key} that counts"
            )
        window = ibis.window(group_by=key, order_by=[c for c in table.columns if c != key])
        ranked = table.mutate(_rank=ibis.row_number().over(window))
        rule = f"{key} seen before; the first row counts"
        self.aside.append(SetAside(source=source, rule=rule, rows=extra))
        return ranked.filter((ranked["_rank"] == 0) | ranked[key].isnull()).drop("_rank")

    def without(
        self, table: ibis.Table, condition: ibis.BooleanValue, *, source: str, rule: str
    ) -> ibis.Table:
        """Set the rows aside that meet a condition, and count them."""
        mark = condition.fill_null(False)
        count = int(self.engine.one(table.aggregate(n=mark.ifelse(1, 0).sum()))["n"] or 0)
        if not count:
            return table
        self.aside.append(SetAside(source=source, rule=rule, rows=count))
        return table.filter(~mark)

    def say_unused(self) -> None:
        """Note the sources that are given and from which no number is made."""
        self.notes.extend(
            f"the source {name!r} is given and no number is made from it"
            for name in UNUSED
            if self.has(name)
        )
