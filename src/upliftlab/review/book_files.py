"""Ledger, books and chart as files: do they tie?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.review.books import calendar_months, minor_units, read_books, read_chart
from upliftlab.review.finance_files import rows_of
from upliftlab.review.mistakes import BooksError
from upliftlab.review.postings import BOOKED, Posting, two_bases
from upliftlab.review.tie import tie

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from upliftlab.review.books import Books, Chart, FiscalCalendar
    from upliftlab.review.postings import TwoBases
    from upliftlab.review.tie import Tie


@dataclass(frozen=True, slots=True, kw_only=True)
class BookFiles:
    """A quarter's ledger and books, as read.

    Attributes:
        postings: The ledger.
        books: As booked.
        chart: Which lines go to which account.
        calendar: Fiscal periods.
        test_lines: Line of the experiments -> line of the ledger, where names differ.
    """

    postings: tuple[Posting, ...]
    books: Books
    chart: Chart
    calendar: FiscalCalendar
    test_lines: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesTied:
    """What three files say about a quarter.

    Attributes:
        tie: Ledger against books.
        bases: The ledger by order date and by posting date.
    """

    tie: Tie
    bases: TwoBases


def read_book_files(
    ledger: Path,
    books: Path,
    chart: Path,
    *,
    quarter: str,
    calendar: FiscalCalendar | None = None,
    currency: str = "CNY",
    rate: str = "",
    rate_date: str = "",
    vat: str = "included",
) -> BookFiles:
    """Read ledger, books and chart.

    Args:
        ledger: Columns line, channel, ordered, posted, amount (two decimals), status.
        books: Columns account_code, month, amount (two decimals).
        chart: Columns account_code, line; name, channel, sign and vat where they are needed;
            test_line where experiments call the line otherwise; version, signed_by and
            signed_at of the agreement in its first row.
        quarter: Fiscal quarter.
        calendar: Its periods; by default calendar months.
        currency: Of the books.
        rate: Books currency per ledger currency.
        rate_date: Day of that rate.
        vat: "included" or "excluded".

    Raises:
        DataError: When a file or a column is not there.
        BooksError: When an amount, a month or the map cannot be used.
    """
    periods = calendar or calendar_months(int(quarter[:4]) - 1, 3)
    if not periods.of_quarter(quarter):
        raise BooksError.no_quarter(quarter, {p.quarter for p in periods.periods})
    rows = rows_of(chart, ("account_code", "line"))
    agreed = {k: rows[0][k] for k in ("version", "signed_by", "signed_at") if rows[0].get(k)}
    return BookFiles(
        postings=read_ledger(ledger),
        books=read_books(
            books, calendar=periods, currency=currency, rate=rate, rate_date=rate_date, vat=vat
        ),
        chart=read_chart(rows, **agreed),
        calendar=periods,
        test_lines={row["test_line"]: row["line"] for row in rows if row.get("test_line")},
    )


def tied(found: BookFiles, quarter: str) -> FilesTied:
    """Tie the ledger of a quarter to the books, and read it on both bases."""
    periods = found.calendar.of_quarter(quarter)
    return FilesTied(
        tie=tie(found.postings, found.books, found.chart, periods=periods),
        bases=two_bases(found.postings, found.calendar, quarter),
    )


def read_ledger(file: Path) -> tuple[Posting, ...]:
    """Read postings; an empty ``posted`` is expected money, an empty ``status`` is booked."""
    rows = rows_of(file, ("line", "ordered", "posted", "amount"))
    return tuple(
        Posting(
            line=row["line"],
            channel=row.get("channel", ""),
            ordered=row["ordered"],
            posted=row["posted"],
            amount=minor_units(row["amount"], "main", str(file), number, "amount"),
            status=row.get("status", "") or BOOKED,
        )
        for number, row in enumerate(rows, start=2)
    )
