"""What can be wrong with the books, their calendar or their map of accounts?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Collection


class BooksError(LedgerError):
    """The books cannot be read, or cannot be compared with the ledger."""

    @classmethod
    def no_amount(cls, file: str, row: int, column: str, found: str) -> BooksError:
        """A cell of the books is no amount of money."""
        return cls(
            f"books {file!r}, row {row}: column {column!r} is {found!r}; write an amount with "
            "at most two decimals, such as -1234.50."
        )

    @classmethod
    def no_number(cls, file: str, row: int, column: str, found: str) -> BooksError:
        """A cell of the contracts is no number."""
        return cls(
            f"contracts {file!r}, row {row}: column {column!r} is {found!r}; write a number "
            "such as 2.5."
        )

    @classmethod
    def no_period(cls, owner: str, found: str, have: Collection[str]) -> BooksError:
        """A month or day lies outside the fiscal calendar."""
        return cls(
            f"{owner} has {found!r}, which is in no period of the fiscal calendar; its periods "
            f"are {list(have)}."
        )

    @classmethod
    def mapped_twice(cls, line: str, channel: str, one: str, other: str) -> BooksError:
        """A line goes to two accounts, so the books cannot be compared."""
        where = f" in {channel}" if channel else ""
        return cls(
            f"line {line!r}{where} is mapped to accounts {one!r} and {other!r}; map it to one."
        )

    @classmethod
    def no_rate(cls, books: str, ledger: str) -> BooksError:
        """Books and ledger are in two currencies and nobody says at which rate."""
        return cls(
            f"books are in {books} and the ledger is in {ledger}; give the exchange rate and "
            "its date."
        )

    @classmethod
    def no_day(cls, file: str, row: int, column: str, found: str) -> BooksError:
        """A cell of the fiscal calendar is no day."""
        return cls(
            f"calendar {file!r}, row {row}: column {column!r} is {found!r}; write a day such "
            "as 2026-07-01."
        )

    @classmethod
    def broken_calendar(cls, file: str, row: int) -> BooksError:
        """Periods of the fiscal calendar overlap, leave days out or end before they begin."""
        return cls(
            f"calendar {file!r}, row {row}: the period does not begin on the day after the one "
            "before it, or ends before it begins; list periods in order, without gaps."
        )

    @classmethod
    def no_quarter(cls, quarter: str, have: Collection[str]) -> BooksError:
        """The fiscal calendar has no such quarter."""
        return cls(
            f"quarter {quarter!r} is not in the fiscal calendar; its quarters are "
            f"{sorted(have)}."
        )
