"""From the panel that a plan names to units x periods x components."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.components import ALIASES, COUNTS, MONEY
from upliftlab.data import tables
from upliftlab.data.contracts import PANEL, WAVES, Column
from upliftlab.data.files import path_of
from upliftlab.data.panel import Beside, Panel
from upliftlab.data.panel_arms import arms_of
from upliftlab.data.panel_orders import NOBODY, panel_from_orders
from upliftlab.data.panel_table import read_panel
from upliftlab.data.panel_waves import balanced_columns, drawn_waves
from upliftlab.data.prepare import reading_of
from upliftlab.data.terms_in_force import terms_of
from upliftlab.errors import DataError
from upliftlab.plan.sources import Source

ORDER_SOURCES = (
    "order_lines", "orders", "refunds", "ad_spend", "roster", "creator_terms",
)  # fmt: skip
"""Tables that a panel can be added up from; the first is needed."""

TERMS = "creator_terms"

DAYS = {"day": 1, "week": 7}
"""Days of a period."""

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import ibis

    from upliftlab.data.engine import Engine
    from upliftlab.data.panel_orders import OrderPanel
    from upliftlab.experiment import Experiment


def prepare_panel(
    experiment: Experiment, given: Mapping[str, object] | None = None, *, absorbing: bool = True
) -> Panel:
    """Read the panel of a roll-out, and who switched when.

    Args:
        experiment: The plan, with its sources.
        given: Tables from Python by source name; a ready ``Panel`` under "panel" is taken as
            it is, with money in minor units.
        absorbing: Whether treatment stays on; if not, its on/off is the last component.

    Raises:
        DataError: When a source does not hold what the plan says it holds.
    """
    given = dict(given or {})
    sources = dict(experiment.data.sources) if experiment.data else {}
    agreed = TERMS in sources or TERMS in given
    ready = given.pop("panel") if isinstance(given.get("panel"), Panel) else None
    if isinstance(ready, Panel) and not agreed:
        return ready
    engine = tables.open_engine(sources, given)
    with tables.in_utc(engine):
        panel = (
            ready
            if isinstance(ready, Panel)
            else _read(engine, sources, given, experiment, absorbing=absorbing)
        )
        if agreed:
            panel = _with_terms(engine, sources, given, experiment, panel)
    engine.close()
    return panel


def periods_of(days: int | None, period: str | None) -> int:
    """Turn days of a plan into periods of its panel, rounded up.

    Examples:
        >>> periods_of(10, "week"), periods_of(10, "day"), periods_of(None, "day")
        (2, 10, 0)
    """
    return -(-(days or 0) // DAYS[period or "day"])


def _read(
    engine: Engine,
    sources: Mapping[str, Source],
    given: Mapping[str, object],
    experiment: Experiment,
    *,
    absorbing: bool,
) -> Panel:
    """Read the long table, or add up orders, and who switched when."""
    how = reading_of(experiment)
    notes: tuple[str, ...] = ()
    beside: tuple[Beside, ...] = ()
    if "panel" in sources or "panel" in given:
        table, names = _long(engine, sources.get("panel"), given.get("panel"), experiment, how)
    else:
        book = _from_orders(engine, sources, given, experiment, how)
        table, names = book.table, book.components
        notes = (*book.notes, *_outside(engine, book))
        beside = _beside(engine, book)
    waves = _waves(engine, given.get("waves"), experiment, how)
    have = set(table.columns)
    if waves is None and not {"start", "treated"} & have:
        raise DataError(
            "the panel does not say who switched when; give waves (cluster, starts_on), or "
            f"a column start or treated. Columns: {sorted(have)}."
        )
    use_waves = waves is not None
    clustered = "cluster" in have
    if use_waves and not clustered:
        table = table.mutate(cluster=table["unit"])
    panel = read_panel(
        engine,
        table,
        unit="unit",
        period="period",
        components=names,
        start="start" if "start" in have and not use_waves else None,
        treated="treated"
        if "treated" in have and "start" not in have and not use_waves
        else None,
        waves=waves,
        cluster="cluster" if clustered or use_waves else None,
        weight="weight" if "weight" in have else None,
        covariates=tuple(c for c in experiment.covariates or () if c in have),
        absent="zero" if experiment.kind == "dual_commission" else "unknown",
        calendar=experiment.period,
        absorbing=absorbing,
        announced=periods_of(experiment.announced, experiment.period),
    )
    if len(experiment.treatments) > 1:
        panel = replace(panel, arm=arms_of(engine, table, waves, panel, experiment))
    drawn = drawn_waves(engine, waves, experiment)
    return replace(panel, notes=(*panel.notes, *notes), beside=beside, drawn=drawn)


def _with_terms(
    engine: Engine,
    sources: Mapping[str, Source],
    given: Mapping[str, object],
    experiment: Experiment,
    panel: Panel,
) -> Panel:
    """Put beside each unit's period the rates that were agreed for it."""
    source, how = sources.get(TERMS), reading_of(experiment)
    raw = tables.raw(engine, TERMS, source, given.get(TERMS), how)
    lines = sources.get("order_lines")
    shared = {"unit": lines.columns["unit"]} if lines and "unit" in lines.columns else {}
    columns = shared | (dict(source.columns) if source else {})
    days = DAYS[experiment.period or "day"]
    terms, notes = terms_of(engine, raw, columns, how, panel, days=days)
    return replace(panel, terms=terms, notes=(*panel.notes, *notes))


def _long(
    engine: Engine,
    source: Source | None,
    given: object | None,
    experiment: Experiment,
    how: tables.Reading,
) -> tuple[ibis.Table, tuple[str, ...]]:
    """Read the long table under our names: keys, and every component it has."""
    raw = tables.raw(engine, "panel", source, given, how)
    mapping = dict(source.columns) if source else {}
    if experiment.cluster and "cluster" not in mapping and experiment.cluster in raw.columns:
        mapping["cluster"] = experiment.cluster
    names = _components(raw.columns, mapping)
    if not names:
        raise DataError.no_components("panel", raw.columns)
    extra = tuple(
        Column(name=name, kind=_kind(name), required=True, may_be_negative=True)
        for name in names
    ) + tuple(
        Column(name=name, kind="number", required=True, may_be_negative=True)
        for name in experiment.covariates or ()
        if name not in names
    )
    money = source.money if source else None
    if source is None and isinstance(given, Path):
        money = "fen"  # what the simulator writes
    table = tables.read(raw, PANEL, mapping=mapping | names, money=money, how=how, extra=extra)
    table = engine.materialise(table, "panel")
    tables.quality(engine, table, PANEL, extra=extra, how=how)
    table = tables.plain(table)
    renamed = {ALIASES.get(name, name): name for name in names if name in ALIASES}
    return table.rename(renamed), tuple(ALIASES.get(name, name) for name in names)


def _from_orders(
    engine: Engine,
    sources: Mapping[str, Source],
    given: Mapping[str, object],
    experiment: Experiment,
    how: tables.Reading,
) -> OrderPanel:
    """Add up orders per unit and period, and what belongs to no unit."""
    lines = sources.get("order_lines")
    found = {
        name: tables.raw(engine, name, sources.get(name), given.get(name), how)
        for name in ORDER_SOURCES
        if name in sources or name in given
    }
    observe = experiment.observe
    as_of = experiment.data.as_of if experiment.data else None
    return panel_from_orders(
        engine,
        found,
        unit=lines.columns.get("unit", "creator_id") if lines else "creator_id",
        period=experiment.period or "week",
        first=observe.start if observe else None,
        last=observe.end if observe else None,
        as_of=int(as_of.timestamp()) if as_of else None,
        offset=how.offset,
        money=lines.money if lines else None,
    )


def _beside(engine: Engine, book: OrderPanel) -> tuple[Beside, ...]:
    """Sums over time of the shop's own sales, and of creators outside the roster."""
    rows = engine.rows(book.shop.order_by("part", "period"))
    parts: dict[str, list[list[float]]] = {row["part"]: [] for row in rows}
    for row in rows:
        parts[row["part"]].append([float(row[name]) for name in book.components])
    return tuple(
        Beside(label=part, is_shop=part == NOBODY, names=book.components, y=np.array(found))
        for part, found in parts.items()
    )


def _outside(engine: Engine, book: OrderPanel) -> tuple[str, ...]:
    """Say how much of what was kept belongs to no unit, and is in nobody's extra profit."""
    kept = [name for name in book.components if name.startswith("kept_")]
    whole = [name for name in kept if name == "kept_sales"] or kept
    if not whole:
        return ()
    total = sum(book.table[name].sum().cast("float64") for name in whole)
    inside = engine.one(book.table.aggregate(n=total))["n"] or 0.0
    by_part = book.shop.group_by("part").agg(
        n=sum(book.shop[name].sum().cast("float64") for name in whole)
    )
    outside = {row["part"]: float(row["n"] or 0.0) for row in engine.rows(by_part)}
    everything = inside + sum(outside.values())
    return tuple(
        f"{n / everything:.1%} of kept sales are {part}: what the change takes from them, or "
        "brings them, is not in extra profit"
        for part, n in sorted(outside.items())
        if n > 0 and everything > 0
    )


def _waves(
    engine: Engine, given: object | None, experiment: Experiment, how: tables.Reading
) -> ibis.Table | None:
    if given is None and experiment.waves is None:
        return None
    source = None if experiment.waves is None else Source(file=experiment.waves)
    if given is None and experiment.waves is not None and experiment.assign is not None:
        _refuse_undrawn(experiment.waves, how.base)
    if isinstance(given, Path):
        source, given = Source(file=str(given.absolute())), None
    raw = tables.raw(engine, "waves", source, given, how)
    mapping = {}
    if experiment.cluster and experiment.cluster in raw.columns:
        mapping["cluster"] = experiment.cluster
    extra = balanced_columns(experiment)
    table = tables.read(raw, WAVES, mapping=mapping, money=None, how=how, extra=extra)
    return tables.plain(engine.materialise(table, "waves"))


def _refuse_undrawn(file: str, base: Path | None) -> None:
    if not path_of(file, base).is_file():
        raise DataError(
            f"the plan draws its waves into {file!r}, which is not there: upliftlab assign "
            "writes it. A design before that needs power.pilot, the plan of a time without "
            "treatment."
        )


def _components(have: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Find components: what the plan maps beside the keys, else columns with our names."""
    taken = {alias for column in PANEL.columns for alias in (column.name, *column.aliases)}
    mapped = {ours: theirs for ours, theirs in mapping.items() if ours not in taken}
    plain = {
        name: column
        for name in (*MONEY, *COUNTS, *ALIASES)
        for column in (name, f"{name}_fen")
        if column in have and name not in mapped and column not in mapping.values()
    }
    return plain | mapped


def _kind(name: str) -> str:
    return "money" if ALIASES.get(name, name) in MONEY else "number"
