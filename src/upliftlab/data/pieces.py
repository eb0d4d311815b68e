"""What did units do before the test, in pieces that an assignment keeps whole?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import ibis
import numpy as np

from upliftlab.data import tables
from upliftlab.data.contracts import CONTRACTS
from upliftlab.data.measure import measure
from upliftlab.data.order_grain import prepare_orders
from upliftlab.data.prepare import plan_of, reading_of
from upliftlab.data.unit_grain import prepare_units
from upliftlab.errors import DataError, DesignError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from upliftlab.data.cells import Cells
    from upliftlab.data.engine import Engine
    from upliftlab.data.plan import Plan
    from upliftlab.data.prepared import Facts, Prepared
    from upliftlab.experiment import Experiment, Source

PIECE = "piece"
DIGITS = 3
BUCKETS = 16**DIGITS
"""Units whose hashes begin alike are one piece: 4096, whatever the number of units."""

DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """Moments of units by piece and stratum, from before the test.

    Attributes:
        cells: Keys are "piece" and the strata; names are components without a window, then
            covariates.
        covariates: Names among those of the cells.
        facts: Counts about the data.
        are_clusters: Whether pieces are clusters; buckets of hashes otherwise.
        since: First second of the rehearsed window, UTC; None without a clock.
    """

    cells: Cells
    covariates: tuple[str, ...]
    facts: Facts
    are_clusters: bool
    since: int | None = None

    @property
    def units(self) -> int:
        """How many units there are."""
        return int(self.cells.n.sum())


def pieces(
    experiment: Experiment,
    given: Mapping[str, object] | None = None,
    *,
    by: str | None = None,
    at: date | None = None,
) -> Pieces:
    """Read what units did before the test, by piece.

    A ready unit table is taken as it is. From order lines the window ends before the first day
    of the run: everybody counts as assigned ``follow_up`` days earlier, and covariates are left
    out, because a snapshot of the day before the run has seen that window.

    Args:
        experiment: The plan, with its sources.
        given: Tables from Python by source name.
        by: Column of what really moves together, where it is not the plan's cluster.
        at: First day of the rehearsed window.

    Raises:
        DataError: When there are no rows from before the test.
        DesignError: When the plan has no units to re-assign.
    """
    given = dict(given or {})
    data = experiment.data
    sources = dict(data.sources) if data else {}
    names = set(sources) | set(given)
    plan = _alone(plan_of(experiment), by)
    how = reading_of(experiment)
    engine = tables.open_engine(sources, given)
    with tables.in_utc(engine):
        if "units" in names:
            since = None
            raw = tables.raw(engine, "units", sources.get("units"), given.get("units"), how)
            mapping = dict(sources["units"].columns) if "units" in sources else {}
            label = mapping.get("arm", "arm")
            raw = raw.mutate(**{label: ibis.literal(plan.control)})
            prepared = prepare_units(engine, sources.get("units"), raw, plan, how)
        elif "order_lines" in names:
            since = _since(experiment, at, how.offset)
            given |= _everybody(engine, sources, given, plan, how=how, since=since)
            own = {name: sources[name] for name in sources if name not in given}
            plan = replace(plan, covariates=(), run=None, as_of=None)
            prepared = prepare_orders(engine, own, given, plan, how)
        else:
            raise DesignError(
                f"aa re-assigns units, and data of experiment {experiment.name!r} has "
                f"{sorted(names)}; add data.units with a table from before the test, or order "
                "lines."
            )
        found = _measured(prepared, experiment, plan)
        engine.close()
    _refuse_nothing(found, since, how.offset)
    return replace(found, since=since)


def _alone(plan: Plan, by: str | None) -> Plan:
    """The same plan with everybody in one arm, and with nothing that arms need."""
    return replace(
        plan,
        arms=(plan.control,),
        segments=(),
        features=(),
        beside=(),
        cluster=by or plan.cluster,
        strata=tuple(name for name in plan.strata if name != "epoch"),
        explored=False,
        has_coupons=False,
        stated=plan.stated or {"merchant": 1.0},
    )


def _measured(prepared: Prepared, experiment: Experiment, plan: Plan) -> Pieces:
    """Measure by piece: one pass, whatever the number of re-assignments."""
    salt = (experiment.assign.salt if experiment.assign else None) or experiment.name

    def marked(table: ibis.Table | None) -> ibis.Table | None:
        if table is None:
            return None
        if plan.cluster is not None:
            return table.mutate(**{PIECE: table[plan.cluster].cast("string")})
        # A column first: ibis cannot add a literal to a deferred text.
        text = ibis.literal(f"{salt}|").cast("string").concat(table["unit"])
        return table.mutate(**{PIECE: text.hexdigest("md5").substr(0, DIGITS)})

    keyed = replace(
        prepared,
        assigned=marked(prepared.assigned),
        active=marked(prepared.active),
        flagged=marked(prepared.flagged),
        keys=(PIECE, *plan.strata),
    )
    cells = measure(keyed)
    return Pieces(
        cells=_one_window(cells, plan.headline if prepared.active is not None else None),
        covariates=prepared.covariates,
        facts=prepared.facts,
        are_clusters=plan.cluster is not None,
    )


def _one_window(cells: Cells, days: int | None) -> Cells:
    """Keep the headline window, by plain names."""
    if days is None:
        return cells
    suffix = f"@{days}d"
    keep = [name for name in cells.names if name.endswith(suffix) or "@" not in name]
    return replace(cells.select(keep), names=tuple(name.removesuffix(suffix) for name in keep))


def _since(experiment: Experiment, at: date | None, offset: int) -> int:
    """First second of the rehearsed window: it ends with the last day before the run."""
    if at is None:
        assert experiment.run is not None  # noqa: S101 - plans that read orders have dates
        at = experiment.run.start - timedelta(days=experiment.follow_up or 0)
    midnight = datetime.combine(at, time(), tzinfo=ZoneInfo("UTC"))
    return int(midnight.timestamp()) - offset


def _everybody(
    engine: Engine,
    sources: Mapping[str, Source],
    given: Mapping[str, object],
    plan: Plan,
    *,
    how: tables.Reading,
    since: int,
) -> dict[str, Any]:
    """Everybody in one arm on one day, from the customer snapshot or the assignments."""
    name = next((n for n in ("users", "assignments") if n in sources or n in given), None)
    if name is None:
        raise DataError.missing_table("users", "aa", sorted({*sources, *given}))
    source = sources.get(name)
    raw = tables.raw(engine, name, source, given.get(name), how)
    mapping = dict(source.columns) if source else {}
    contract = CONTRACTS[name]
    column = contract.column("unit")
    wanted = [mapping[n] for n in ("unit",) if n in mapping]
    wanted += [n for n in (column.name, *column.aliases) if n in raw.columns] if column else []
    if not wanted:
        raise DataError.missing_column("unit", f"source {name!r}", raw.columns)
    extra = {n: raw[n] for n in (*plan.strata, *([plan.cluster] if plan.cluster else []))
             if n in raw.columns}  # fmt: skip
    moment = datetime.fromtimestamp(since, tz=UTC).replace(tzinfo=None)
    assigned = raw.select(
        unit=raw[wanted[0]],
        arm=ibis.literal(plan.control),
        assigned_at=ibis.literal(f"{moment:%Y-%m-%d %H:%M:%S}Z"),
        **extra,
    )
    found: dict[str, Any] = {"assignments": assigned}
    if name == "users":
        # The snapshot is of the day before the run: later than the rehearsed assignment.
        late = [n for n in ("snapshot_at", "snapshot_ts") if n in raw.columns]
        found["users"] = raw.drop(*late)
    return found


def _refuse_nothing(found: Pieces, since: int | None, offset: int) -> None:
    sums = found.cells.n @ np.abs(found.cells.mean)
    if since is not None and not sums.any():
        day = datetime.fromtimestamp(since + offset, tz=UTC).date()
        raise DataError(
            f"table 'order_lines' has no orders in the window from {day}, before the run; aa "
            "needs orders from before the test, or data.units with such a table."
        )
