"""From one row per unit, with ready components, to a unit table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from upliftlab.components import ALIASES, COUNTS, MONEY
from upliftlab.data import assigned, chances, tables
from upliftlab.data.contracts import UNITS, Column
from upliftlab.data.prepared import Facts, Prepared, SetAside
from upliftlab.errors import DataError

GROSS = (
    "gmv_list",
    "gmv_platform",
    "gmv_merchant",
    "cash",
    "merchant_coupon",
    "platform_coupon",
    "creator_coupon",
    "payment_promo",
    "contact_cost",
)
"""Money that cannot be below zero; what is kept of it can, after a late refund."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.data.engine import Engine
    from upliftlab.data.plan import Plan
    from upliftlab.experiment import Source


def prepare_units(
    engine: Engine,
    source: Source | None,
    given: object | None,
    plan: Plan,
    how: tables.Reading,
) -> Prepared:
    """Read a unit table: components under our names, or any others the plan maps.

    A unit without some component has no outcome: it is set aside and counted per arm, never
    read as 0.

    Raises:
        DataError: When the table holds no component, or not what it should.
    """
    raw = tables.raw(engine, "units", source, given, how)
    mapping = dict(source.columns) if source else {}
    raw, notes = _with_ids(raw, mapping)
    names = _components(raw.columns, mapping, plan)
    if not names:
        raise DataError.no_components("units", raw.columns)
    extra = [
        Column(name=name, kind=_kind(name), may_be_negative=not _is_gross(name))
        for name in names
    ]
    extra += [Column(name=name, kind="any") for name in _before(plan, raw.columns)]
    if plan.cluster:
        extra.append(Column(name=plan.cluster, kind="id", required=True))
    meant = {column.name for column in extra}
    extra += chances.wanted(plan, meant)
    table = tables.read(
        raw,
        UNITS,
        mapping=mapping | names,
        money=source.money if source else None,
        how=how,
        extra=tuple(extra),
    )
    table = engine.materialise(table, "units")
    rows, missing = tables.quality(engine, table, UNITS, extra=extra, how=how)
    if plan.cluster and missing[plan.cluster]:
        raise DataError.missing_values(
            plan.cluster, "units", rows=missing[plan.cluster], of=rows
        )
    table = chances.kept(engine, tables.plain(table), plan, "units", meant)
    return _prepared(engine, table, tuple(names), plan, notes)


def _prepared(
    engine: Engine,
    table: ibis.Table,
    names: tuple[str, ...],
    plan: Plan,
    notes: tuple[str, ...],
) -> Prepared:
    canonical = {name: ALIASES.get(name, name) for name in names}
    table = table.rename({ours: name for name, ours in canonical.items() if ours != name})
    components = tuple(canonical.values())
    table, outside, undated = _within_run(engine, table, plan)
    single = assigned.once(engine, table, source="units", arms=plan.arms, strata=plan.strata)
    clusters = assigned.clusters(engine, single.units, plan.cluster)
    units = assigned.described(
        engine,
        single.units,
        None,
        texts=plan.texts,
        numbers=plan.numbers(single.units.columns),
        features=plan.known_before(single.units.columns),
        beside=plan.beside,
    )
    assigned.refuse_many_levels(engine, units, plan.segments)
    whole, missing, aside = _without_gaps(engine, units, components)
    sums = engine.one(
        whole.aggregate(
            **{f"l{i}": whole[n].min() for i, n in enumerate(components)},
            **{f"h{i}": whole[n].max() for i, n in enumerate(components)},
            **{f"s{i}": whole[n].cast("float64").sum() for i, n in enumerate(components)},
        )
    )
    idle = tuple(
        n for i, n in enumerate(components) if sums[f"l{i}"] == 0 and sums[f"h{i}"] == 0
    )
    return Prepared(
        engine=engine,
        assigned=whole,
        active=None,
        keys=plan.keys,
        components=tuple(n for n in components if n not in idle),
        idle=idle,
        covariates=assigned.covariates(engine, whole),
        cluster=plan.cluster,
        facts=Facts(
            assigned=single.counts,
            set_aside=(*outside, *single.set_aside, *aside),
            clusters=clusters.counts,
            cluster_size_cv=clusters.size_cv,
            missing=missing,
            as_of=plan.as_of,
            notes=(*notes, *undated),
            totals={n: float(sums[f"s{i}"] or 0.0) for i, n in enumerate(components)},
        ),
    )


def _within_run(
    engine: Engine, table: ibis.Table, plan: Plan
) -> tuple[ibis.Table, tuple[SetAside, ...], tuple[str, ...]]:
    """Set aside units assigned outside the run dates; a blank time tells nothing.

    The clock is dropped then: rows of one unit that differ stay refused, whichever came first.
    """
    if "assigned_at" not in table.columns:
        return table, (), ()
    if plan.run is None:
        return table.drop("assigned_at"), (), ()
    at = table["assigned_at"]
    outside = ~at.between(*plan.run).fill_null(True)
    found = engine.one(
        table.aggregate(out=outside.ifelse(1, 0).sum(), blank=at.isnull().ifelse(1, 0).sum())
    )
    rows, blank = int(found["out"] or 0), int(found["blank"] or 0)
    rule = "assigned outside the run dates"
    aside = (SetAside(source="units", rule=rule, rows=rows),) if rows else ()
    notes = (
        (f"{blank:,} units have no time of assignment; they count as assigned in the run",)
        if blank
        else ()
    )
    return table.filter(~outside).drop("assigned_at"), aside, notes


def _with_ids(raw: ibis.Table, mapping: dict[str, str]) -> tuple[ibis.Table, tuple[str, ...]]:
    """Number the rows of a table without ids: each row is one unit."""
    unit = UNITS.columns[0]
    if {unit.name, *unit.aliases} & {*raw.columns, *mapping}:
        return raw, ()
    numbered = raw.mutate(unit=ibis.row_number().cast("string"))
    return numbered, ("the table has no customer ids: each row counts as one customer",)


def _components(have: Sequence[str], mapping: dict[str, str], plan: Plan) -> dict[str, str]:
    """Find components: what the plan maps beside unit and arm, else columns with our names."""
    taken = {"unit", "arm", "stratum", plan.cluster, *_before(plan, have)}
    taken |= {alias for column in UNITS.columns for alias in column.aliases}
    taken |= {column.name for column in chances.wanted(plan)}
    mapped = {ours: theirs for ours, theirs in mapping.items() if ours not in taken}
    known = (*MONEY, *COUNTS, *ALIASES)
    plain = {
        name: column
        for name in known
        for column in (name, f"{name}_fen")
        if column in have and name not in mapped and column not in mapping.values()
    }
    return plain | mapped


def _before(plan: Plan, have: Sequence[str]) -> tuple[str, ...]:
    """Columns that were known before assignment, each once."""
    wanted = (*plan.texts, *plan.numbers(have), *plan.known_before(have), *plan.beside)
    return tuple(dict.fromkeys(wanted))


def _is_gross(name: str) -> bool:
    """Whether a component counts or adds up what happened, before anything is taken off."""
    ours = ALIASES.get(name, name)
    return ours in COUNTS or ours in GROSS


def _kind(name: str) -> str:
    return "money" if ALIASES.get(name, name) in MONEY else "number"


def _without_gaps(
    engine: Engine, units: ibis.Table, components: tuple[str, ...]
) -> tuple[ibis.Table, dict[str, int], tuple[SetAside, ...]]:
    gap = ibis.literal(False)
    for name in components:
        gap = gap | units[name].isnull()
    rows = engine.rows(units.group_by("arm").agg(n=gap.ifelse(1, 0).sum()))
    missing = {row["arm"]: int(row["n"] or 0) for row in rows}
    total = sum(missing.values())
    if not total:
        return units, missing, ()
    aside = SetAside(
        source="units", rule="without an outcome in some column", rows=total, arms=missing
    )
    return engine.materialise(units.filter(~gap), "whole"), missing, (aside,)
