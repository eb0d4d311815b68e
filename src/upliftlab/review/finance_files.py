"""What does finance hand in beside the books: calendar, adjustments, contracts, spend?"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING

from upliftlab.data.files import text_rows
from upliftlab.errors import DataError
from upliftlab.review.books import FiscalCalendar, Period, minor_units
from upliftlab.review.guarantees import Slot, guarantee
from upliftlab.review.mistakes import BooksError
from upliftlab.review.tie import Adjustment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from upliftlab.review.guarantees import Guarantee

_YES = frozenset({"true", "yes", "1", "y", "是"})


def rows_of(file: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Read a table as text.

    Raises:
        DataError: When the file, a row or a column that is needed is not there.
    """
    rows = text_rows(file.stem, str(file))
    if not rows:
        raise DataError.empty(file.stem)
    for column in needed:
        if column not in rows[0]:
            raise DataError.missing_column(column, str(file), rows[0].keys())
    return rows


def read_calendar(file: Path) -> FiscalCalendar:
    """Read a fiscal calendar: columns period, first, last (ISO dates) and quarter.

    Raises:
        BooksError: When a date cannot be read, or periods overlap or leave days out.
    """
    periods: list[Period] = []
    for number, row in enumerate(rows_of(file, ("period", "first", "last", "quarter")), 2):
        days = []
        for column in ("first", "last"):
            try:
                days.append(date.fromisoformat(row[column]))
            except ValueError:
                raise BooksError.no_day(str(file), number, column, row[column]) from None
        first, last = days
        if last < first or (periods and (first - periods[-1].last).days != 1):
            raise BooksError.broken_calendar(str(file), number)
        periods.append(
            Period(name=row["period"], first=first, last=last, quarter=row["quarter"])
        )
    return FiscalCalendar(periods=tuple(periods))


def read_adjustments(file: Path) -> tuple[Adjustment, ...]:
    """Read differences that finance knows of, one a row.

    Columns account_code, period, amount (books less ledger, as income, main units), kind; note
    and signed_by where there are any.
    """
    return tuple(
        Adjustment(
            account=row["account_code"],
            period=row["period"],
            amount=minor_units(row["amount"], "main", str(file), number, "amount"),
            kind=row["kind"],
            note=row.get("note", ""),
            signed_by=row.get("signed_by", ""),
        )
        for number, row in enumerate(
            rows_of(file, ("account_code", "period", "amount", "kind")), 2
        )
    )


def read_contracts(file: Path) -> tuple[Guarantee, ...]:
    """Read ROI guarantees, one row per contract and slot, and compute each contract.

    Columns contract, scheme ("douyin", "tiktok" or "shopee"), slot, spend and gmv (main units),
    target; orders, edited and cash_share (worth of a yuan of credit in cash) where needed.
    """
    needed = ("contract", "scheme", "slot", "spend", "gmv", "target")
    slots: dict[str, list[Slot]] = {}
    first: dict[str, tuple[int, dict[str, str]]] = {}
    for number, row in enumerate(rows_of(file, needed), 2):
        money = {
            name: minor_units(row[name], "main", str(file), number, name)
            for name in ("spend", "gmv")
        }
        slot = Slot(
            name=row["slot"],
            target=_exact(row["target"], file, number, "target"),
            orders=int(_exact(row.get("orders") or "0", file, number, "orders")),
            edited=row.get("edited", "").lower() in _YES,
            **money,
        )
        slots.setdefault(row["contract"], []).append(slot)
        first.setdefault(row["contract"], (number, row))
    out = []
    for name, (number, row) in first.items():
        share = _exact(row.get("cash_share") or "1", file, number, "cash_share")
        out.append(guarantee(name, row["scheme"], slots[name], cash_share=share))
    return tuple(out)


def read_spend(file: Path) -> dict[str, float]:
    """Read what the quarter spent, tested or not: columns mechanism and spend (main units).

    Returns:
        Mechanism -> minor units.
    """
    out: dict[str, float] = {}
    for number, row in enumerate(rows_of(file, ("mechanism", "spend")), 2):
        amount = minor_units(row["spend"], "main", str(file), number, "spend")
        out[row["mechanism"]] = out.get(row["mechanism"], 0.0) + amount
    return out


def _exact(text: str, file: Path, row: int, column: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise BooksError.no_number(str(file), row, column, text) from None
