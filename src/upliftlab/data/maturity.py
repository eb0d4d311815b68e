"""Up to when do the data speak, and is every window closed and every return booked by then?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis

from upliftlab.data.ledger import DAY

if TYPE_CHECKING:
    from upliftlab.data.engine import Engine
    from upliftlab.data.plan import Plan

LONG_GAP = 28
"""Days without any event after which the few that follow are taken for errors."""

FEW = 0.01
"""Share of events up to which those after a long gap are few; a single one always is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastEvent:
    """The last moment that the test's own rows speak of.

    Attributes:
        at: UTC seconds; None without any event.
        strays: Later events that stand alone after a long gap, as typing errors do.
    """

    at: int | None
    strays: int = 0


def last_event(
    engine: Engine, lines: ibis.Table, refunds: ibis.Table | None, units: ibis.Table
) -> LastEvent:
    """Find the last payment or refund of assigned units, leaving out dates far behind it.

    Orders of strangers prove nothing about the test's own rows, and one date years ahead would
    make everything mature: events after four weeks without any, up to a hundredth of all,
    are counted as strays. The clock of the machine has no say, so the answer stays the same.
    """
    own = lines.filter(lines["paid_at"].notnull()).semi_join(units.select("unit"), "unit")
    times = [own.select("order_id", t=own["paid_at"])]
    if refunds is not None:
        back = refunds.semi_join(own.select("order_id").distinct(), "order_id")
        times.append(back.select("order_id", t=back["refunded_at"]))
    days: dict[int, tuple[int, int]] = {}
    for table in times:
        by_day = table.mutate(day=(table["t"] / DAY).floor().cast("int64"))
        rows = by_day.group_by("day").agg(n=ibis._.count(), last=ibis._.t.max())
        for row in engine.rows(rows):
            n, last = days.get(int(row["day"]), (0, 0))
            days[int(row["day"])] = n + int(row["n"]), max(last, int(row["last"]))
    return before_the_gap(days)


def closed(
    engine: Engine,
    units: ibis.Table,
    plan: Plan,
    as_of: int | None,
    *,
    days: int | None = None,
) -> dict[str, float]:
    """Return the share of each arm's units whose window, the headline unless said, was over."""
    days = plan.headline if days is None else days
    if as_of is None or days is None:
        return {}
    done = (units["assigned_at"] + days * DAY <= as_of).ifelse(1.0, 0.0)
    rows = engine.rows(units.group_by("arm").agg(share=done.mean()))
    return {row["arm"]: float(row["share"]) for row in rows}


def final(
    engine: Engine, lines: ibis.Table, units: ibis.Table, plan: Plan, as_of: int | None
) -> dict[str, float]:
    """Return the share of each arm's orders in the headline window with all returns booked."""
    if as_of is None or plan.returns_final is None or plan.headline is None:
        return {}
    inside = lines.filter(lines["paid_at"] - lines["assigned_at"] < plan.headline * DAY)
    joined = inside.inner_join(units.select("unit", "arm"), "unit")
    done = (joined["paid_at"] + plan.returns_final * DAY <= as_of).ifelse(1.0, 0.0)
    rows = engine.rows(joined.group_by("arm").agg(share=done.mean()))
    return {row["arm"]: float(row["share"]) for row in rows}


def before_the_gap(days: dict[int, tuple[int, int]]) -> LastEvent:
    """Walk back from the last day while what follows a long gap is next to nothing.

    Args:
        days: Day -> rows of that day, and the last of their moments.
    """
    order = sorted(days)
    few = max(1.0, FEW * sum(n for n, _ in days.values()))
    kept, after = len(order) - 1, 0
    for i in range(len(order) - 1, 0, -1):
        after += days[order[i]][0]
        if after > few:
            break
        if order[i] - order[i - 1] > LONG_GAP:
            kept = i - 1
    strays = sum(days[day][0] for day in order[kept + 1 :])
    return LastEvent(at=days[order[kept]][1] if order else None, strays=strays)
