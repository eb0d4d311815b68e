"""Ledger, books and chart as files: do they tie?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.data.files import text_rows
from upliftlab.errors import DataError
from upliftlab.review.books import calendar_months, minor_units, read_books, read_chart
from upliftlab.review.postings import BOOKED, Posting, two_bases
from upliftlab.review.tie import tie

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from upliftlab.review.postings import TwoBases
    from upliftlab.review.tie import Tie


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesTied:
    """What three files say about a quarter.

    Attributes:
        tie: Ledger against books.
        bases: The ledger by order date and by posting date.
    """

    tie: Tie
    bases: TwoBases


def read_reconciled(
    ledger: Path,
    books: Path,
    chart: Path,
    *,
    quarter: str,
    currency: str = "CNY",
    rate: str = "",
    rate_date: str = "",
    vat: str = "included",
) -> FilesTied:
    """Read ledger, books and chart, and tie them on calendar months.

    Args:
        ledger: Columns line, channel, ordered, posted, amount (two decimals), status.
        books: Columns account_code, month, amount (two decimals).
        chart: Columns account_code, line; name, channel, sign and vat where they are needed.
        quarter: Calendar quarter.
        currency: Of the books.
        rate: Books currency per ledger currency.
        rate_date: Day of that rate.
        vat: "included" or "excluded".

    Raises:
        DataError: When a file or a column is not there.
        BooksError: When an amount, a month or the map cannot be used.
    """
    calendar = calendar_months(int(quarter[:4]) - 1, 3)
    postings = read_ledger(ledger)
    booked = read_books(
        books, calendar=calendar, currency=currency, rate=rate, rate_date=rate_date, vat=vat
    )
    rows = _rows(chart, ("account_code", "line"))
    return FilesTied(
        tie=tie(postings, booked, read_chart(rows), periods=calendar.of_quarter(quarter)),
        bases=two_bases(postings, calendar, quarter),
    )


def read_ledger(file: Path) -> tuple[Posting, ...]:
    """Read postings; an empty ``posted`` is expected money, an empty ``status`` is booked."""
    rows = _rows(file, ("line", "ordered", "posted", "amount"))
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


def _rows(file: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    rows = text_rows(file.stem, str(file))
    if not rows:
        raise DataError.empty(file.stem)
    for column in needed:
        if column not in rows[0]:
            raise DataError.missing_column(column, str(file), rows[0].keys())
    return rows
