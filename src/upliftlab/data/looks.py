"""What do the units say whose window has closed since the last look?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import ibis
import numpy as np

from upliftlab.data import tables
from upliftlab.data.cluster_totals import ClusterTotals
from upliftlab.data.measure import amount_of, full_units, measure
from upliftlab.data.order_grain import ad_spend, prepare_orders
from upliftlab.data.order_tables import OrderTables
from upliftlab.data.prepare import plan_of
from upliftlab.data.unit_grain import prepare_units

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.data.cells import Cells
    from upliftlab.data.look_sources import LookSources
    from upliftlab.data.plan import Plan
    from upliftlab.data.prepared import Facts, Prepared
    from upliftlab.experiment import Experiment


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fresh:
    """Units of newly closed assignment days, in cells that add to those of earlier looks.

    Attributes:
        first: First shop day of assignment that was read, counted from 1970.
        last: Last one.
        cells: Moments by arm, strata and day.
        clusters: Totals of clusters; None where units were assigned one by one.
        covariates: Columns among the cells' names that were known before assignment.
        facts: Counts about the rows read.
        prepared: The units, to be priced while the engine is open.
    """

    first: int
    last: int
    cells: Cells
    clusters: ClusterTotals | None
    covariates: tuple[str, ...]
    facts: Facts
    prepared: Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSums:
    """Sums of the powers of a priced amount over one arm's units; they add.

    Attributes:
        active: Units whose amount is not 0.
        one: Sum, in minor units.
        two: Sum of squares.
        three: Sum of cubes.
    """

    active: int = 0
    one: float = 0.0
    two: float = 0.0
    three: float = 0.0

    def __add__(self, other: PowerSums) -> PowerSums:
        """Sums over the union of two disjoint sets of units."""
        return PowerSums(
            active=self.active + other.active,
            one=self.one + other.one,
            two=self.two + other.two,
            three=self.three + other.three,
        )

    def third_moment(self, n: int) -> float:
        """Third central moment over n units, those at 0 included."""
        if n == 0:
            return float("nan")
        mean = self.one / n
        return self.three / n - 3 * mean * self.two / n + 2 * mean**3


def read_days(
    experiment: Experiment,
    sources: LookSources,
    *,
    first: int,
    last: int,
    age: int | None,
    reach: int,
    as_of: int,
) -> Fresh | None:
    """Read the units assigned on shop days ``first`` to ``last`` at a fixed age.

    Only their own rows are read, through the same ledger as the analysis, so looks added up
    equal one reading of everything.

    Args:
        experiment: The plan.
        sources: Opened sources.
        first: First assignment day, counted from 1970.
        last: Last assignment day.
        age: Window in days; None for a table of ready units.
        reach: Days after assignment until which a unit's facts are read.
        as_of: First second that is not yet known.

    Returns:
        The units; None without any. Not every arm need have some on these days.

    Raises:
        DataError: When a source does not hold what the plan says.
    """
    touched = sources.of_units(first, last, reach)
    plan = replace(plan_of(experiment), as_of=as_of - 1, features=())
    present = _arms(sources, touched.given, first, last)
    if not present:
        return None
    if present <= set(plan.arms):
        plan = replace(plan, arms=tuple(arm for arm in plan.arms if arm in present))
    if age is not None:
        plan = replace(plan, windows=(age,), headline=age)
    with tables.in_utc(sources.engine):
        found = _prepared(sources, touched.given, plan)
        found = _of_days(found, sources, touched.given, plan, (first, last))
        return Fresh(
            first=first,
            last=last,
            cells=measure(found),
            clusters=_cluster_totals(found) if found.cluster else None,
            covariates=found.covariates,
            facts=_own_facts(found.facts, touched.stand_ins),
            prepared=found,
        )


def amounts(
    fresh: Fresh, prices: Mapping[str, Mapping[str, float]]
) -> dict[int, dict[str, PowerSums]]:
    """Return per shop day and arm the power sums of the amount ``prices . components``."""
    found = fresh.prepared
    table = found.active if found.active is not None else found.assigned
    x = amount_of(table, prices).cast("float64")
    priced = table.select("arm", "day", x=x).filter(ibis._.x != 0)
    rows = found.engine.rows(
        priced.group_by(["arm", "day"]).agg(
            active=ibis._.count(),
            one=ibis._.x.sum(),
            two=(ibis._.x * ibis._.x).sum(),
            three=(ibis._.x * ibis._.x * ibis._.x).sum(),
        )
    )
    out: dict[int, dict[str, PowerSums]] = {}
    for row in sorted(rows, key=lambda row: (int(row["day"]), row["arm"])):
        out.setdefault(int(row["day"]), {})[row["arm"]] = PowerSums(
            active=int(row["active"]),
            one=float(row["one"]),
            two=float(row["two"]),
            three=float(row["three"]),
        )
    return out


def spend_of(experiment: Experiment, sources: LookSources) -> dict[str, int]:
    """Return plan-level ad spend per arm so far, in minor units; empty without that source.

    Raises:
        DataError: When spend belongs to an arm that the plan does not have.
    """
    book = OrderTables(
        engine=sources.engine,
        sources=sources.sources,
        given=sources.raw,
        plan=plan_of(experiment),
        how=sources.how,
    )
    return ad_spend(book)


def _own_facts(facts: Facts, stand_ins: frozenset[str]) -> Facts:
    """Leave out what was counted of rows that only stood in."""
    own = tuple(each for each in facts.set_aside if each.source not in stand_ins)
    return replace(facts, set_aside=own)


def _arms(
    sources: LookSources, given: Mapping[str, ibis.Table], first: int, last: int
) -> set[str]:
    """Arms of the units that were first assigned on these days, and to one arm only."""
    clocks = sources.first_times(given[sources.who])
    day = sources.day(clocks["assigned_at"])
    kept = clocks.filter(day.between(first, last), clocks["arm"] == clocks["_last"])
    return {row["arm"] for row in sources.engine.rows(kept.select("arm").distinct())}


def _prepared(sources: LookSources, given: Mapping[str, ibis.Table], plan: Plan) -> Prepared:
    if sources.who == "units":
        return prepare_units(
            sources.engine, sources.sources.get("units"), given["units"], plan, sources.how
        )
    # What belongs to whole arms is no unit's.
    of_arms = {"ad_spend", "finance_total"}
    named = {name: each for name, each in sources.sources.items() if name not in of_arms}
    own = {name: table for name, table in given.items() if name not in of_arms}
    return prepare_orders(sources.engine, named, own, plan, sources.how)


def _of_days(
    found: Prepared,
    sources: LookSources,
    given: Mapping[str, ibis.Table],
    plan: Plan,
    days: tuple[int, int],
) -> Prepared:
    """Keep units first assigned on these days; put their day among the keys.

    Covariates that happen not to vary on these days stay: they do over all days.
    """
    keys = ("arm", *plan.strata, "day")
    covariates = tuple(name for name in found.assigned.columns if name.startswith("x:"))
    clocks = sources.first_times(given[sources.who]).select("unit", "assigned_at")

    def marked(table: ibis.Table) -> ibis.Table:
        if "assigned_at" not in table.columns:
            table = table.inner_join(clocks, "unit")
        day = sources.day(table["assigned_at"])
        return table.filter(day.between(*days)).mutate(day=day.cast("string"))

    return replace(
        found,
        assigned=marked(found.assigned),
        active=None if found.active is None else marked(found.active),
        flagged=None if found.flagged is None else marked(found.flagged),
        keys=keys,
        covariates=covariates,
    )


def _cluster_totals(found: Prepared) -> ClusterTotals:
    units = full_units(found)
    columns = [*found.components, *found.covariates]
    sums = {f"s{i}": units[name].cast("float64").sum() for i, name in enumerate(columns)}
    table = found.engine.fetch(
        units.group_by(["arm", str(found.cluster)]).agg(_n=ibis._.count(), **sums)
    )
    arms = table.column("arm").to_pylist()
    names = [str(each) for each in table.column(str(found.cluster)).to_pylist()]
    return ClusterTotals(
        labels=tuple(zip(arms, names, strict=True)),
        names=tuple(columns),
        n=np.asarray(table.column("_n").to_numpy(), dtype=np.int64),
        sums=np.column_stack([table.column(f"s{i}").to_numpy() for i in range(len(columns))]),
    )
