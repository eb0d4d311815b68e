"""What do the files that finance hands in say of a quarter that was read together?"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.errors import DataError
from upliftlab.review.book_files import read_book_files
from upliftlab.review.entries import entries_of
from upliftlab.review.finance_files import read_adjustments, read_calendar, read_contracts
from upliftlab.review.reconciliation import Signature, reconcile, steps_of, totals_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from upliftlab.registry.record import Record
    from upliftlab.review.quarter import Review
    from upliftlab.review.reconciliation import Reconciliation, SignedTotal
    from upliftlab.stats.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """Files of finance, and the basis of its books.

    Attributes:
        ledger: With order and posting periods.
        books: General ledger.
        chart: Which lines go to which account.
        calendar: Fiscal periods; calendar months unless given.
        adjustments: Differences that finance knows of.
        contracts: ROI guarantees, slot by slot.
        currency: Of the books; that of the tests unless given.
        rate: Books currency per ledger currency.
        rate_date: Day of that rate.
        vat: "included" or "excluded".
    """

    ledger: Path
    books: Path
    chart: Path
    calendar: Path | None = None
    adjustments: Path | None = None
    contracts: Path | None = None
    currency: str = ""
    rate: str = ""
    rate_date: str = ""
    vat: str = "included"


def beside_the_books(
    review: Review,
    records: Sequence[Record],
    given: HandedIn,
    *,
    lifetime: Sequence[Estimate] = (),
) -> Reconciliation:
    """Read the files and put the review beside them.

    Args:
        review: The quarter, read together.
        records: Its experiments.
        given: The files.
        lifetime: Lifetime value of incremental customers, minor units.

    Raises:
        DataError: When a file or a column is not there.
        BooksError: When an amount, a period, the map or a rate cannot be used.
    """
    own = review.currency or "CNY"
    counted = [r for r in records if r.name not in review.left_out]
    found = read_book_files(
        given.ledger,
        given.books,
        given.chart,
        quarter=review.quarter,
        calendar=None if given.calendar is None else read_calendar(given.calendar),
        currency=given.currency or own,
        rate=given.rate,
        rate_date=given.rate_date,
        vat=given.vat,
    )
    known, contracts = given.adjustments, given.contracts
    return reconcile(
        review,
        steps_of(entries_of(counted), counted, total=review.total, level=review.level),
        postings=found.postings,
        books=found.books,
        chart=found.chart,
        calendar=found.calendar,
        quarter=review.quarter,
        ledger_lines=found.test_lines,
        adjustments=() if known is None else read_adjustments(known),
        guarantees=() if contracts is None else read_contracts(contracts),
        lifetime=lifetime,
        ledger_currency=own,
    )


def signed_totals(
    review: Review, *, by: str, at: str, last: Mapping[str, Any]
) -> tuple[SignedTotal, ...]:
    """List what finance may quote: signed by whom, and against what was frozen before.

    Args:
        review: The quarter, read together.
        by: Who signed all of it; empty for nobody.
        at: ISO date of that.
        last: An earlier review, from ``read_last``; counts where it is of the same quarter.
    """
    names = [each.name for each in totals_of(review, {}, ())]
    signatures = [Signature(total=name, by=by, at=at, frozen_on=at) for name in names if by]
    frozen = {}
    if last.get("quarter") == review.quarter:
        places = (("total",), ("shipped", "corrected"), ("spend",))
        frozen = {n: _number(last, place) for n, place in zip(names, places, strict=True)}
    return totals_of(review, frozen, signatures)


def read_last(file: Path) -> Mapping[str, Any]:
    """Read an earlier review: its quarter and the addresses of its records at least.

    Raises:
        DataError: When it is not there or is no review.
    """
    if not file.exists():
        raise DataError.missing_file("last review", str(file))
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        is_one = {"quarter", "records"} <= found.keys()
    except (ValueError, AttributeError):
        is_one = False
    if not is_one:
        raise DataError(
            f"--last {str(file)!r} is no review.json: it has no quarter and records."
        )
    out: Mapping[str, Any] = found
    return out


def _number(last: Mapping[str, Any], place: tuple[str, ...]) -> float:
    found: Any = last
    for key in (*place, "estimate"):
        found = found.get(key) if isinstance(found, dict) else None
    return float(found) if isinstance(found, int | float) else math.nan
