"""What did each customer see, claim and join within the window?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import ibis

from upliftlab.components import at
from upliftlab.data.ledger import DAY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.data.order_tables import OrderTables

CLAIMS = ("claimed", "redeemed")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Events:
    """Flags per unit, and how many units of control met a coupon.

    Attributes:
        flags: One row per unit with an event: ``unit`` and 0/1 components; None without events.
        names: The components.
        saw_other: Control -> units that saw or claimed a coupon; empty without such sources.
    """

    flags: ibis.Table | None
    names: tuple[str, ...] = ()
    saw_other: Mapping[str, int] = field(default_factory=dict)


def read_events(book: OrderTables, units: ibis.Table) -> Events:
    """Read exposures, coupon events and membership events; absent sources unlock nothing.

    Only events between a unit's assignment and the end of its headline window count.
    """
    tables: list[ibis.Table] = []
    leaks: list[ibis.Table] = []
    if book.has("exposures"):
        seen, other = _exposures(book)
        found = _flagged(book, seen, units, {"saw": ibis.literal(True), "_other": other})
        leaks.append(_leaked(book, found, units, "_other"))
        tables.append(found.drop(at("_other", _days(book))))
    if book.has("coupon_events"):
        events = book.read("coupon_events")
        claimed = events["event"].isin(CLAIMS)
        _note_restored(book, events)
        found = _flagged(book, events, units, {"claimed": claimed}, only=claimed)
        leaks.append(_leaked(book, found, units, "claimed"))
        tables.append(found)
    if book.has("membership_events"):
        events = book.read("membership_events")
        flags = {
            "members_joined": events["event"] == "join",
            "members_activated": events["event"] == "activate",
        }
        tables.append(_flagged(book, events, units, flags))
    if not tables:
        return Events(flags=None)
    flags_table, names = _together(book, tables)
    return Events(flags=flags_table, names=names, saw_other=_count(book, leaks))


def _exposures(book: OrderTables) -> tuple[ibis.Table, ibis.BooleanValue]:
    """Return real exposures and whether each served another arm than control."""
    seen = book.read("exposures")
    if "ghost" in seen.columns:
        seen = seen.filter(~seen["ghost"].fill_null(False))
    if "arm_served" not in seen.columns:
        return seen, ibis.literal(True)
    return seen, (seen["arm_served"] != book.plan.control).fill_null(True)


def _flagged(
    book: OrderTables,
    events: ibis.Table,
    units: ibis.Table,
    flags: Mapping[str, ibis.BooleanValue],
    *,
    only: ibis.BooleanValue | None = None,
) -> ibis.Table:
    """Mark units with an event of each kind between assignment and the window's end."""
    days = _days(book)
    marked = events.mutate(
        **{f"_is_{name}": value.fill_null(False).ifelse(1, 0) for name, value in flags.items()}
    )
    if only is not None:
        marked = marked.filter(only.fill_null(False))
    joined = marked.inner_join(units.select("unit", "assigned_at"), "unit")
    age = joined["at"] - joined["assigned_at"]
    inside = joined.filter((age >= 0) & (age < days * DAY))
    found = inside.group_by("unit").agg(
        **{at(name, days): inside[f"_is_{name}"].max() for name in flags}
    )
    return book.engine.materialise(found, "events")


def _leaked(book: OrderTables, found: ibis.Table, units: ibis.Table, name: str) -> ibis.Table:
    control = units.filter(units["arm"] == book.plan.control)
    met = found.filter(found[at(name, _days(book))] == 1)
    return met.semi_join(control, "unit").select("unit")


def _days(book: OrderTables) -> int:
    return book.plan.headline or book.plan.windows[-1]


def _count(book: OrderTables, leaks: list[ibis.Table]) -> dict[str, int]:
    if not leaks:
        return {}
    leaked = leaks[0].union(*leaks[1:], distinct=True) if len(leaks) > 1 else leaks[0]
    count = book.engine.one(leaked.aggregate(n=ibis._.count()))["n"]
    return {book.plan.control: int(count)}


def _note_restored(book: OrderTables, events: ibis.Table) -> None:
    restored = book.engine.one(
        events.aggregate(n=(events["event"] == "restored").ifelse(1, 0).sum())
    )["n"]
    if restored:
        book.notes.append(
            f"{int(restored):,} coupons were restored after a cancellation; only the money "
            "on order lines is counted, so a second redemption counts once per order"
        )


def _together(
    book: OrderTables, tables: list[ibis.Table]
) -> tuple[ibis.Table, tuple[str, ...]]:
    """Put the flags of several sources side by side; absent ones are 0."""
    names = tuple(n for table in tables for n in table.columns if n != "unit")
    if len(tables) == 1:
        return tables[0], names
    rows = [
        table.select(
            "unit",
            **{n: table[n] if n in table.columns else ibis.literal(0, "int8") for n in names},
        )
        for table in tables
    ]
    stacked = rows[0].union(*rows[1:])
    flags = stacked.group_by("unit").agg(**{name: stacked[name].max() for name in names})
    return book.engine.materialise(flags, "flags"), names
