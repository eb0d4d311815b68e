"""Up to when do the data speak, and is every window closed and every return booked by then?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.data.ledger import DAY

if TYPE_CHECKING:
    import ibis

    from upliftlab.data.engine import Engine
    from upliftlab.data.plan import Plan


def last_event(engine: Engine, lines: ibis.Table, refunds: ibis.Table | None) -> int | None:
    """Return the second of the last payment or refund of anybody."""
    latest = [engine.one(lines.aggregate(t=lines["paid_at"].max()))["t"]]
    if refunds is not None:
        latest.append(engine.one(refunds.aggregate(t=refunds["refunded_at"].max()))["t"])
    known = [int(t) for t in latest if t is not None]
    return max(known) if known else None


def closed(
    engine: Engine, units: ibis.Table, plan: Plan, as_of: int | None
) -> dict[str, float]:
    """Return the share of each arm's units whose longest window had ended."""
    if as_of is None:
        return {}
    done = (units["assigned_at"] + plan.windows[-1] * DAY <= as_of).ifelse(1.0, 0.0)
    rows = engine.rows(units.group_by("arm").agg(share=done.mean()))
    return {row["arm"]: float(row["share"]) for row in rows}


def final(
    engine: Engine, lines: ibis.Table, units: ibis.Table, plan: Plan, as_of: int | None
) -> dict[str, float]:
    """Return the share of each arm's order lines whose returns had all been booked."""
    if as_of is None or plan.returns_final is None:
        return {}
    joined = lines.inner_join(units.select("unit", "arm"), "unit")
    done = (joined["paid_at"] + plan.returns_final * DAY <= as_of).ifelse(1.0, 0.0)
    rows = engine.rows(joined.group_by("arm").agg(share=done.mean()))
    return {row["arm"]: float(row["share"]) for row in rows}
