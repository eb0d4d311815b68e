"""Does the ledger tie to the books, and where not: which account, line and month?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from upliftlab.pnl import half_up
from upliftlab.registry.record import plain
from upliftlab.review.mistakes import BooksError
from upliftlab.review.postings import by_period

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from upliftlab.review.books import Account, Books, Chart
    from upliftlab.review.postings import Posting

LIMIT = Fraction(5, 1000)
VAT_RATES = (Fraction(13, 100), Fraction(9, 100), Fraction(6, 100))
NON_CASH = "non-cash credit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """A known difference between books and ledger, stated by finance.

    Attributes:
        account: Account in the books.
        period: Fiscal period.
        amount: Books less ledger, minor units of the books, signed as income.
        kind: "timing", "subsidy true-up", "non-cash credit", "return accrual" ...
        note: In finance's words.
        signed_by: Who stated it.
    """

    account: str
    period: str
    amount: int
    kind: str
    note: str = ""
    signed_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One account in one period; all amounts signed as income, in the books' currency.

    Attributes:
        account: Code.
        name: Words for readers.
        lines: Lines of the ledger that go there.
        period: Fiscal period.
        ledger: What the ledger expects there.
        adjustment: Known differences.
        books: What is booked.
        residual: Books less ledger less adjustments.
        share: Residual as a share of the ledger's amount; None where the ledger has nothing.
        is_over: Whether the residual reaches the limit.
        guess: What it looks like; empty where nothing fits.
    """

    account: str
    name: str
    lines: tuple[str, ...]
    period: str
    ledger: int
    adjustment: int
    books: int
    residual: int
    share: float | None
    is_over: bool
    guess: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """The whole comparison; nothing is hidden, however small.

    Attributes:
        cells: Every account and period.
        findings: Cells with a residual, largest first.
        ledger: Contribution of the ledger.
        books: Contribution of the books.
        adjusted: Known differences.
        residual: What is left.
        share: Size of all residuals over the size of all ledger amounts.
        limit: Tolerance.
        ties: Whether the total residual is within the tolerance and no cell reaches it.
        unmapped_lines: Ledger lines without an account, with their amount.
        unmapped_accounts: Accounts of the books that the chart does not know.
        adjustments: Known differences, as stated.
        sentence: What follows.
    """

    cells: tuple[Cell, ...]
    findings: tuple[Cell, ...]
    ledger: int
    books: int
    adjusted: int
    residual: int
    share: float
    limit: float
    ties: bool
    unmapped_lines: Mapping[str, int]
    unmapped_accounts: tuple[str, ...]
    adjustments: tuple[Adjustment, ...]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def tie(
    postings: Iterable[Posting],
    books: Books,
    chart: Chart,
    *,
    periods: Sequence[str],
    adjustments: Sequence[Adjustment] = (),
    ledger_currency: str = "CNY",
    limit: Fraction = LIMIT,
) -> Tie:
    """Compare ledger and books on the accounting basis, account by account and month by month.

    The ledger is brought to the books' basis, not the other way round: VAT taken out where the
    account has none, converted at the stated rate, rounded once per account and period.

    Args:
        postings: The ledger.
        books: As booked.
        chart: Which lines go to which account.
        periods: Fiscal periods to compare.
        adjustments: Differences that finance knows of.
        ledger_currency: Of the postings.
        limit: Share of a cell's ledger amount from which a residual is over the tolerance.

    Raises:
        BooksError: When currencies differ and no rate is given.
    """
    if books.currency != ledger_currency and books.rate is None:
        raise BooksError.no_rate(books.currency, ledger_currency)
    wanted = set(periods)
    expected, lost = _expected(postings, chart, wanted)
    known: dict[tuple[str, str], int] = {}
    for each in adjustments:
        key = (each.account, each.period)
        known[key] = known.get(key, 0) + each.amount
    accounts = {account.code: account for account in chart.accounts}
    strangers = sorted(
        {code for (code, period) in books.amounts if period in wanted and code not in accounts}
    )
    cells = []
    for code, account in accounts.items():
        for period in periods:
            exact = expected.get((code, period), Fraction(0)) / (1 + account.vat)
            ledger = half_up(exact * (books.rate or 1))
            booked = account.sign * books.amounts.get((code, period), 0)
            found = known.get((code, period), 0)
            cells.append(_cell(account, period, (ledger, booked, found), limit))
    for code in strangers:
        booked_here = {period: books.amounts.get((code, period), 0) for period in periods}
        cells += [_stranger(code, p, amount) for p, amount in booked_here.items() if amount]
    return _tie(_guessed(cells), lost, tuple(strangers), tuple(adjustments), limit)


def _expected(
    postings: Iterable[Posting], chart: Chart, wanted: set[str]
) -> tuple[dict[tuple[str, str], Fraction], dict[str, int]]:
    out: dict[tuple[str, str], Fraction] = {}
    lost: dict[str, int] = {}
    for (line, channel, period), amount in by_period(postings).items():
        if period not in wanted:
            continue
        code = chart.account_of(line, channel)
        if code:
            out[code, period] = out.get((code, period), Fraction(0)) + amount
        elif amount:
            lost[line] = lost.get(line, 0) + amount
    return out, lost


def _cell(
    account: Account, period: str, amounts: tuple[int, int, int], limit: Fraction
) -> Cell:
    ledger, booked, adjustment = amounts
    residual = booked - ledger - adjustment
    return Cell(
        account=account.code,
        name=account.name,
        lines=tuple(" in ".join(x for x in key if x) for key in account.lines),
        period=period,
        ledger=ledger,
        adjustment=adjustment,
        books=booked,
        residual=residual,
        share=residual / ledger if ledger else None,
        # Half a unit of rounding must not hide an error of exactly the limit.
        is_over=residual != 0 and 2 * abs(residual) + 1 >= 2 * limit * abs(ledger),
    )


def _stranger(code: str, period: str, booked: int) -> Cell:
    return Cell(
        account=code,
        name="",
        lines=(),
        period=period,
        ledger=0,
        adjustment=0,
        books=booked,
        residual=booked,
        share=None,
        is_over=True,
        guess="the chart does not know this account",
    )


def _guessed(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Say what each residual looks like."""
    open_cells = [cell for cell in cells if cell.residual]
    return tuple(
        replace(cell, guess=cell.guess or _guess(cell, open_cells)) if cell.residual else cell
        for cell in cells
    )


def _guess(cell: Cell, others: Sequence[Cell]) -> str:
    partner = _partner(cell, others)
    if partner or not cell.ledger or not cell.books:
        side = "the books have" if cell.ledger else "the ledger has"
        return partner or f"{side} nothing here"
    rates = [rate for rate in VAT_RATES if cell.books in _with_and_without(cell.ledger, rate)]
    looks = (
        ("the sign is turned", cell.residual == -2 * cell.ledger),
        ("yuan and fen are mixed up", _is_hundredfold(cell.books, cell.ledger)),
        (f"VAT of {float(max(rates, default=0)):.0%} is in one and not in the other", rates),
        ("rounding", abs(cell.residual) <= len(cell.lines) + 1),
    )
    return next((text for text, fits in looks if fits), "")


def _partner(cell: Cell, others: Sequence[Cell]) -> str:
    for other in others:
        if other is cell or other.residual != -cell.residual:
            continue
        if other.account == cell.account:
            return f"booked in {other.period} or here: both differ by the same amount"
        if other.period == cell.period:
            return f"booked on account {other.account} or here: both differ by the same amount"
    return ""


def _with_and_without(ledger: int, rate: Fraction) -> set[int]:
    return {half_up(ledger * (1 + rate)), half_up(ledger / (1 + rate))}


def _is_hundredfold(books: int, ledger: int) -> bool:
    return books == 100 * ledger or ledger == 100 * books


def _tie(
    cells: tuple[Cell, ...],
    lost: Mapping[str, int],
    strangers: tuple[str, ...],
    adjustments: tuple[Adjustment, ...],
    limit: Fraction,
) -> Tie:
    findings = tuple(
        sorted((c for c in cells if c.residual), key=lambda c: (-abs(c.residual), c.account))
    )
    ledger, books = sum(c.ledger for c in cells), sum(c.books for c in cells)
    residual = sum(c.residual for c in cells)
    size = sum(abs(c.ledger) for c in cells)
    share = sum(abs(c.residual) for c in cells) / size if size else 0.0
    over = [c for c in findings if c.is_over and c.guess != "rounding"]
    return Tie(
        cells=cells,
        findings=findings,
        ledger=ledger,
        books=books,
        adjusted=sum(c.adjustment for c in cells),
        residual=residual,
        share=share,
        limit=float(limit),
        ties=not over and not lost and share < limit,
        unmapped_lines=dict(lost),
        unmapped_accounts=strangers,
        adjustments=adjustments,
        sentence=_sentence(findings, over, lost),
    )


def _sentence(findings: Sequence[Cell], over: Sequence[Cell], lost: Mapping[str, int]) -> str:
    if lost:
        return f"ledger lines {sorted(lost)} have no account in the chart"
    if over:
        worst = over[0]
        lines = ", ".join(worst.lines) or "no line"
        more = f"; {len(over) - 1} more cells reach the limit" if len(over) > 1 else ""
        size = "" if worst.share is None else f", {abs(worst.share):.2%} of the ledger"
        guess = f": {worst.guess}" if worst.guess else ""
        return (
            f"account {worst.account} ({lines}) differs in {worst.period} by "
            f"{worst.residual / 100:,.2f}{size}{guess}{more}"
        )
    if findings:
        return f"{len(findings)} cells differ, all within the limit"
    return "ledger and books agree to the last unit"
