"""What does the ledger say of a quarter, by order date and by posting date?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.registry.record import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from upliftlab.review.books import FiscalCalendar

PENDING = ""
"""Period of a posting that is expected and not booked yet."""

BOOKED, PROJECTED, ASSUMED = "booked", "projected", "assumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """Money of one line, with both of its dates.

    Attributes:
        line: P&L line.
        channel: Sales channel; empty for none.
        ordered: Fiscal period of the order.
        posted: Fiscal period in which it is booked; empty while it is only expected.
        amount: Minor units, above 0 where the merchant gets money.
        status: "booked", "projected" (returns may still come) or "assumed" (priced by an
            assumption).
    """

    line: str
    channel: str
    ordered: str
    posted: str
    amount: int
    status: str = BOOKED


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRow:
    """One line on both bases; order basis = accounting basis + later - earlier.

    Attributes:
        line: P&L line.
        order_basis: Orders placed in the quarter, whenever booked: what experiments measure.
        later: Of them, booked after the quarter, or not yet.
        earlier: Booked in the quarter for orders placed before.
        accounting_basis: Booked in the quarter: what the books show.
    """

    line: str
    order_basis: int
    later: int
    earlier: int
    accounting_basis: int

    @property
    def gap(self) -> int:
        """What the bridge leaves unexplained: 0, always."""
        return self.order_basis - self.later + self.earlier - self.accounting_basis


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoBases:
    """A quarter's ledger on order basis and on accounting basis, with the bridge.

    Attributes:
        quarter: Fiscal quarter.
        rows: One per line.
        total: All lines.
        shares: Booked, projected and assumed share of money moved, on order basis.
    """

    quarter: str
    rows: tuple[BridgeRow, ...]
    total: BridgeRow
    shares: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def two_bases(postings: Iterable[Posting], calendar: FiscalCalendar, quarter: str) -> TwoBases:
    """Put a quarter's ledger on both bases.

    Examples:
        >>> from upliftlab.review.books import calendar_months
        >>> rows = [
        ...     Posting(line="sales", channel="", ordered=ordered, posted=posted, amount=amount)
        ...     for ordered, posted, amount in (
        ...         ("2026-09", "2026-09", 70), ("2026-09", "2026-10", 30),
        ...         ("2026-06", "2026-07", 20))
        ... ]
        >>> found = two_bases(rows, calendar_months(2026), "2026Q3").total
        >>> found.order_basis, found.later, found.earlier, found.accounting_basis, found.gap
        (100, 30, 20, 90, 0)
    """
    inside = set(calendar.of_quarter(quarter))
    sums: dict[str, list[int]] = {}
    status = dict.fromkeys((BOOKED, PROJECTED, ASSUMED), 0)
    for p in postings:
        row = sums.setdefault(p.line, [0, 0, 0, 0])
        ordered, posted = p.ordered in inside, p.posted in inside
        row[0] += p.amount * ordered
        row[1] += p.amount * (ordered and not posted)
        row[2] += p.amount * (posted and not ordered)
        row[3] += p.amount * posted
        if ordered:
            status[p.status] += abs(p.amount)
    rows = tuple(_row(line, found) for line, found in sums.items() if any(found))
    whole = [sum(found[i] for found in sums.values()) for i in range(4)]
    moved = sum(status.values())
    return TwoBases(
        quarter=quarter,
        rows=rows,
        total=_row("contribution", whole),
        shares={name: value / moved if moved else 0.0 for name, value in status.items()},
    )


def by_period(postings: Iterable[Posting]) -> dict[tuple[str, str, str], int]:
    """Add up what is booked: (line, channel, period) -> minor units."""
    out: dict[tuple[str, str, str], int] = {}
    for p in postings:
        if p.posted != PENDING:
            key = (p.line, p.channel, p.posted)
            out[key] = out.get(key, 0) + p.amount
    return out


def postings_from(rows: Iterable[Mapping[str, Any]]) -> tuple[Posting, ...]:
    """Make postings from plain rows, such as those of ``simulate.books``."""
    return tuple(Posting(**row) for row in rows)


def _row(line: str, found: Sequence[int]) -> BridgeRow:
    order, later, earlier, accounting = found
    return BridgeRow(
        line=line,
        order_basis=order,
        later=later,
        earlier=earlier,
        accounting_basis=accounting,
    )
