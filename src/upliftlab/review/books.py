"""What do the books say, in whole minor units, by account and fiscal period?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from upliftlab.data.files import text_rows
from upliftlab.errors import DataError
from upliftlab.registry.record import plain
from upliftlab.review.mistakes import BooksError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_AMOUNT = re.compile(r"^[+-]?\d+(\.\d{1,2})?$")
_BRACKETS = re.compile(r"^\((.*)\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """One period of the fiscal calendar.

    Attributes:
        name: As the books write it, such as "2026-07" or "P07".
        first: First day.
        last: Last day, included.
        quarter: Fiscal quarter it belongs to.
    """

    name: str
    first: date
    last: date
    quarter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FiscalCalendar:
    """Periods of a fiscal year, in order and without gaps."""

    periods: tuple[Period, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the periods, in order."""
        return tuple(period.name for period in self.periods)

    def of_day(self, day: date) -> Period:
        """Find the period of a day.

        Raises:
            BooksError: When the calendar does not reach it.
        """
        for period in self.periods:
            if period.first <= day <= period.last:
                return period
        raise BooksError.no_period("the ledger", day.isoformat(), self.names)

    def of_quarter(self, quarter: str) -> tuple[str, ...]:
        """Names of the periods of one fiscal quarter."""
        return tuple(p.name for p in self.periods if p.quarter == quarter)

    def place(self, name: str) -> int:
        """Position of a period; periods before the quarter are smaller."""
        return self.names.index(name)


def calendar_months(first_year: int, years: int = 1, *, starts: int = 1) -> FiscalCalendar:
    """Return calendar months as fiscal periods.

    Args:
        first_year: Calendar year of the first period.
        years: How many fiscal years.
        starts: Month in which the fiscal year starts; quarters count from it and are named
            after the year in which the fiscal year ends.

    Examples:
        >>> calendar = calendar_months(2026)
        >>> calendar.of_day(date(2026, 8, 14)).name, calendar.of_quarter("2026Q3")
        ('2026-08', ('2026-07', '2026-08', '2026-09'))
        >>> calendar_months(2026, starts=4).of_day(date(2026, 4, 1)).quarter
        '2027Q1'
    """
    out = []
    for k in range(12 * years):
        month = starts - 1 + k
        first = date(first_year + month // 12, month % 12 + 1, 1)
        follow = date(first_year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
        fiscal = first_year + k // 12 + (1 if starts > 1 else 0)
        out.append(
            Period(
                name=f"{first:%Y-%m}",
                first=first,
                last=follow - timedelta(days=1),
                quarter=f"{fiscal}Q{k % 12 // 3 + 1}",
            )
        )
    return FiscalCalendar(periods=tuple(out))


def weeks_445(first: date, year: int) -> FiscalCalendar:
    """Return a 4-4-5 year: twelve periods of whole weeks.

    Examples:
        >>> calendar = weeks_445(date(2026, 2, 2), 2026)
        >>> calendar.periods[2].first.isoformat(), calendar.of_day(date(2026, 5, 3)).name
        ('2026-03-30', '2026P03')
    """
    out, day = [], first
    for k in range(12):
        last = day + timedelta(weeks=5 if k % 3 == 2 else 4) - timedelta(days=1)
        name, quarter = f"{year}P{k + 1:02d}", f"{year}Q{k // 3 + 1}"
        out.append(Period(name=name, first=day, last=last, quarter=quarter))
        day = last + timedelta(days=1)
    return FiscalCalendar(periods=tuple(out))


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account of the chart, and which lines of the ledger go there.

    Attributes:
        code: As in the books.
        name: Words for readers.
        lines: (line, channel) pairs; an empty channel takes all that have no account of their
            own.
        sign: 1 where the books show income above 0, -1 where they show a cost above 0.
        vat: VAT rate that amounts of the ledger contain and the account does not; 0 where both
            have it or neither.
    """

    code: str
    name: str
    lines: tuple[tuple[str, str], ...]
    sign: int = 1
    vat: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The agreed map between ledger and books.

    Attributes:
        accounts: In the order of the chart.
        version: Which agreement this is.
        signed_by: Who agreed to it; empty for nobody.
        signed_at: ISO date of that.
    """

    accounts: tuple[Account, ...]
    version: str = "1"
    signed_by: str = ""
    signed_at: str = ""

    def __post_init__(self) -> None:
        """Refuse a line that goes to two accounts."""
        seen: dict[tuple[str, str], str] = {}
        for account in self.accounts:
            for key in account.lines:
                if key in seen:
                    raise BooksError.mapped_twice(*key, seen[key], account.code)
                seen[key] = account.code

    def account_of(self, line: str, channel: str) -> str:
        """Find the account of a line; empty where it has none."""
        found = {key: account.code for account in self.accounts for key in account.lines}
        return found.get((line, channel)) or found.get((line, ""), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Amounts as booked.

    Attributes:
        amounts: (account, period) -> minor units, signed as the books sign them.
        currency: Of the books.
        rate: Units of books currency per unit of ledger currency; None for the same currency.
        rate_date: ISO date of the rate.
        vat: "included" or "excluded", as stated by whoever handed them over.
        source: File they came from.
    """

    amounts: Mapping[tuple[str, str], int]
    currency: str = "CNY"
    rate: Fraction | None = None
    rate_date: str = ""
    vat: str = "included"
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = {
            "amounts": [[a, p, v] for (a, p), v in sorted(self.amounts.items())],
            "currency": self.currency,
            "rate": None if self.rate is None else float(self.rate),
        }
        for name in ("rate_date", "vat", "source"):
            out[name] = plain(getattr(self, name))
        return out


def read_books(
    file: str | Path,
    *,
    calendar: FiscalCalendar,
    account: str = "account_code",
    period: str = "month",
    amount: str = "amount",
    money: str = "main",
    currency: str = "CNY",
    rate: str = "",
    rate_date: str = "",
    vat: str = "included",
    sheet: str | None = None,
    encoding: str = "utf-8",
) -> Books:
    """Read the books from CSV or xlsx, one row per account and period (rows of one add up).

    Args:
        file: CSV, gb18030 CSV (say so) or xlsx.
        calendar: Periods that may occur.
        account: Column with the account code.
        period: Column with the period's name.
        amount: Column with the amount; thousands separators and (brackets) are fine.
        money: "main" (yuan, two decimals) or "minor" (fen).
        currency: Of the books.
        rate: Exchange rate as written, books currency per ledger currency.
        rate_date: ISO date of the rate.
        vat: "included" or "excluded".
        sheet: Of a workbook; by default the first.
        encoding: Of a CSV.

    Raises:
        DataError: When the file or a column is not there.
        BooksError: When an amount or a period cannot be read.
    """
    rows = text_rows("books", str(file), encoding=encoding, sheet=sheet)
    if not rows:
        raise DataError.empty("books")
    for column in (account, period, amount):
        if column not in rows[0]:
            raise DataError.missing_column(column, "books", rows[0].keys())
    out: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows, start=2):
        if row[period] not in calendar.names:
            raise BooksError.no_period(f"books {str(file)!r}", row[period], calendar.names)
        key = (row[account], row[period])
        out[key] = out.get(key, 0) + minor_units(row[amount], money, str(file), number, amount)
    return Books(
        amounts=out,
        currency=currency,
        rate=Fraction(rate) if rate else None,
        rate_date=rate_date,
        vat=vat,
        source=str(file),
    )


def minor_units(text: str, money: str, file: str, row: int, column: str) -> int:
    """Read an amount exactly: never through a binary number.

    Examples:
        >>> minor_units("(1,234.50)", "main", "gl.csv", 2, "amount")
        -123450
    """
    bare = text.replace(",", "").replace("\N{MINUS SIGN}", "-").replace(" ", "")
    inside = _BRACKETS.match(bare)
    bare = f"-{inside[1]}" if inside else bare
    whole = money == "minor"
    if bare == "":
        return 0
    if not _AMOUNT.match(bare) or (whole and "." in bare):
        raise BooksError.no_amount(file, row, column, text)
    return int(bare) if whole else int(Fraction(bare) * 100)


def read_chart(rows: Sequence[Mapping[str, str]], **signed: str) -> Chart:
    """Make a chart from rows with account_code, name, line, channel, sign, vat.

    An account with several lines has several rows.

    Examples:
        >>> chart = read_chart([
        ...     {"account_code": "6601", "line": "tech", "sign": "-1"},
        ...     {"account_code": "6601", "line": "payment", "sign": "-1"},
        ... ])
        >>> chart.account_of("payment", "shelf")
        '6601'
    """
    grouped: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        grouped.setdefault(row["account_code"], []).append(row)
    accounts = tuple(
        Account(
            code=code,
            name=found[0].get("name", ""),
            lines=tuple((row["line"], row.get("channel", "")) for row in found),
            sign=int(found[0].get("sign") or "1"),
            vat=Fraction(found[0].get("vat") or "0"),
        )
        for code, found in grouped.items()
    )
    return Chart(accounts=accounts, **signed)
