"""Read an experiment's sources into unit tables, count what is set aside, ready for moments."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from upliftlab.data import tables
from upliftlab.data.cell_table import read_cells
from upliftlab.data.order_grain import prepare_orders
from upliftlab.data.plan import Plan
from upliftlab.data.unit_grain import prepare_units
from upliftlab.errors import DataError
from upliftlab.plan.currencies import currency_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.data.cells import Cells
    from upliftlab.data.engine import Engine
    from upliftlab.data.prepared import Facts, Prepared
    from upliftlab.experiment import Experiment, Source


def prepare(
    experiment: Experiment, given: Mapping[str, object] | None = None
) -> Prepared | tuple[Cells, Facts]:
    """Read the sources of an experiment, at whichever of the three grains it has.

    Args:
        experiment: The plan, with its sources.
        given: Tables from Python by source name (pandas, polars, Arrow or ibis); they take
            the place of the plan's sources.

    Returns:
        Unit tables on the engine, or ready cells with what is known of them.

    Raises:
        DataError: When a source does not hold what the plan says it holds.
    """
    given = given or {}
    sources = experiment.data.sources if experiment.data else {}
    engine = tables.open_engine(sources, given)
    plan = plan_of(experiment)
    how = reading_of(experiment)
    with tables.in_utc(engine):
        return _at_its_grain(engine, sources, given, plan, how)


def _at_its_grain(
    engine: Engine,
    sources: Mapping[str, Source],
    given: Mapping[str, object],
    plan: Plan,
    how: tables.Reading,
) -> Prepared | tuple[Cells, Facts]:
    names = set(sources) | set(given)
    if "cells" in names:
        if plan.cluster:
            raise DataError.cells_of_clusters(plan.cluster)
        source = sources.get("cells")
        raw = tables.raw(engine, "cells", source, given.get("cells"), how)
        return read_cells(engine, raw, plan, source=source, how=how)
    if "units" in names:
        return prepare_units(engine, sources.get("units"), given.get("units"), plan, how)
    return prepare_orders(engine, sources, given, plan, how)


EPOCH = "epoch"
"""Column of the assignment table that says with which shares a unit was drawn."""


def plan_of(experiment: Experiment) -> Plan:
    """Take from the experiment what reading and joining need."""
    windows = sorted({experiment.follow_up or 0, *experiment.other_windows} - {0})
    run = run_seconds(experiment)
    stated = experiment.who_pays.stated
    as_of = experiment.data.as_of if experiment.data else None
    return Plan(
        arms=tuple(arm.label for arm in experiment.arms),
        control=experiment.control.label,
        strata=strata_of(experiment),
        segments=experiment.decide.segments,
        covariates=experiment.covariates,
        cluster=experiment.cluster,
        windows=tuple(windows),
        headline=experiment.follow_up or None,
        returns_final=experiment.returns_final_after,
        run=run,
        as_of=int(as_of.timestamp()) if as_of else None,
        stated=None if not stated else {who: float(rate) for who, rate in stated.items()},
        features=() if experiment.target is None else experiment.target.features or None,
        beside=() if experiment.target is None else experiment.target.compared,
        explored=experiment.assign is not None and experiment.assign.explore is not None,
        # Of explored units the table has the chance to be explored as well.
        has_chances=experiment.target is not None
        and (experiment.assign is None or experiment.assign.explore is None),
        has_coupons=any(arm.coupon is not None for arm in experiment.arms),
    )


def strata_of(experiment: Experiment) -> tuple[str, ...]:
    """Columns within which arms are compared: the plan's, and epochs where shares change."""
    assign = experiment.assign
    moves = assign is not None and (assign.epochs is not None or assign.adapt is not None)
    return tuple(dict.fromkeys((*experiment.strata, *([EPOCH] if moves else []))))


def reading_of(experiment: Experiment) -> tables.Reading:
    """Say by which clock, in which money and from which folder sources are read."""
    currency = currency_of(experiment.currency)
    return tables.Reading(
        offset=offset_of(experiment),
        minor=currency.scale,
        main_unit=currency.main,
        minor_unit=currency.minor,
        minor_names=tuple(currency.minor_names),
        base=experiment.data.base if experiment.data else None,
    )


def offset_of(experiment: Experiment) -> int:
    """Shop time minus UTC, in seconds, on the first day of the run.

    Times without a zone are shop time. A zone whose clock changes within the run is read with
    the offset of the first day.
    """
    zone = ZoneInfo(experiment.timezone)
    day = experiment.run.start if experiment.run else datetime.now(tz=zone).date()
    offset = datetime.combine(day, time(12), tzinfo=zone).utcoffset() or timedelta()
    return int(offset.total_seconds())


def run_seconds(experiment: Experiment) -> tuple[int, int] | None:
    """First and last second of assignment, UTC; None without run dates."""
    if experiment.run is None:
        return None
    zone = ZoneInfo(experiment.timezone)
    first = datetime.combine(experiment.run.start, time(), tzinfo=zone)
    last = datetime.combine(experiment.run.end + timedelta(days=1), time(), tzinfo=zone)
    return int(first.timestamp()), int(last.timestamp()) - 1
