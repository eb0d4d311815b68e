"""The command that makes the quarterly review."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upliftlab.cli.app import app, uncollected
from upliftlab.cli.registry import DEFAULT, Folder
from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from upliftlab.registry.record import Record
    from upliftlab.registry.store import Registry
    from upliftlab.report.quarter.first import Issue
    from upliftlab.report.quarter.together import Together
    from upliftlab.review.handed_in import HandedIn


Books = Annotated[
    Path | None, typer.Option(help="Books: CSV or xlsx with account_code, month, amount.")
]
Chart = Annotated[
    Path | None,
    typer.Option(help="CSV: account_code, name, line, test_line, channel, sign, vat."),
]
Ledger = Annotated[
    Path | None,
    typer.Option(help="CSV or xlsx: line, channel, ordered, posted, amount, status."),
]
Calendar = Annotated[
    Path | None,
    typer.Option(help="Fiscal calendar: period, first, last, quarter; else months."),
]
Adjustments = Annotated[
    Path | None,
    typer.Option(help="Known differences: account_code, period, amount, kind, note."),
]
Contracts = Annotated[
    Path | None,
    typer.Option(help="ROI guarantees: contract, scheme, slot, spend, gmv, target, orders."),
]
Spend = Annotated[
    Path | None,
    typer.Option(help="What the quarter spent, tested or not: mechanism, spend."),
]
Last = Annotated[
    Path | None, typer.Option(help="review.json of the last review: what moved since?")
]
LongRun = Annotated[
    Path | None, typer.Option(help="JSON: measured windows, surrogate index, pull-forward.")
]
Budget = Annotated[
    float | None,
    typer.Option(help="Next quarter's campaign money, main units; today's unless said."),
]
Target = Annotated[
    float | None, typer.Option(help="Least extra profit per unit of next quarter's money.")
]


@app.command()
def review(
    quarter: Annotated[str, typer.Option(help="Such as 2026Q3.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder of the site.")] = Path("review"),
    folder: Folder = DEFAULT,
    shop: Annotated[str, typer.Option(help="Whose experiments.")] = "",
    prepared: Annotated[str, typer.Option(help="Who prepared it.")] = "",
    signed: Annotated[str, typer.Option(help="Who signed for finance.")] = "",
    frozen: Annotated[
        str, typer.Option(help="Day the numbers are frozen; today unless said.")
    ] = "",
    books: Books = None,
    chart: Chart = None,
    ledger: Ledger = None,
    calendar: Calendar = None,
    books_currency: Annotated[
        str, typer.Option(help="Of the books; the tests' unless said.")
    ] = "",
    rate: Annotated[str, typer.Option(help="Books currency per ledger currency.")] = "",
    rate_date: Annotated[str, typer.Option(help="Day of that rate.")] = "",
    vat: Annotated[str, typer.Option(help="Of the books: included or excluded.")] = "included",
    adjustments: Adjustments = None,
    contracts: Contracts = None,
    spend: Spend = None,
    last: Last = None,
    long_run: LongRun = None,
    budget: Budget = None,
    roi_target: Target = None,
) -> None:
    """Make the review of a quarter: site, workbook, Markdown, CSV and JSON."""
    from upliftlab.registry.store import Registry
    from upliftlab.report.quarter.first import Issue

    day = frozen or datetime.now(tz=UTC).date().isoformat()
    issue = Issue(shop=shop, prepared=prepared, signed=signed, frozen=day)
    files = _handed_in(
        ledger, books, chart, calendar=calendar, adjustments=adjustments, contracts=contracts,
        currency=books_currency, rate=rate, rate_date=rate_date, vat=vat,
    )  # fmt: skip
    beside = Beside(
        files=files,
        spend=spend,
        last=last,
        long_run=long_run,
        budget=budget,
        roi_target=roi_target,
    )
    with uncollected():
        made(Registry(folder, must_exist=True), quarter, out, issue, beside)


def _handed_in(
    ledger: Path | None,
    books: Path | None,
    chart: Path | None,
    *,
    calendar: Path | None,
    adjustments: Path | None,
    contracts: Path | None,
    **basis: str,
) -> HandedIn | None:
    """The files of finance, None where there are none; refuse a part of them."""
    from upliftlab.review.handed_in import HandedIn

    if ledger and books and chart:
        return HandedIn(
            ledger=ledger,
            books=books,
            chart=chart,
            calendar=calendar,
            adjustments=adjustments,
            contracts=contracts,
            **basis,
        )
    if ledger or books or chart:
        raise UpliftlabError("books are compared with --books, --chart and --ledger together.")
    if calendar or adjustments or contracts:
        raise UpliftlabError(
            "--calendar, --adjustments and --contracts stand beside the books: give --books, "
            "--chart and --ledger too."
        )
    return None


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What a review may be given beside its registry.

    Attributes:
        files: What finance hands in.
        spend: What the quarter spent by mechanism.
        last: review.json of an earlier review.
        long_run: Results beyond the headline windows.
        budget: Of next quarter, main units.
        roi_target: Least extra profit per unit of it.
    """

    files: HandedIn | None = None
    spend: Path | None = None
    last: Path | None = None
    long_run: Path | None = None
    budget: float | None = None
    roi_target: float | None = None


def made(
    store: Registry, quarter: str, out: Path, issue: Issue, beside: Beside | None = None
) -> None:
    """Write the review and print its first lines."""
    from upliftlab.registry.mistakes import RegistryError
    from upliftlab.report.quarter import write_review
    from upliftlab.report.quarter.first import first_of
    from upliftlab.review.programme import programme

    given = beside or Beside()
    # Spend is covered by earlier tests too: then every quarter is read.
    records = store.records(quarter if given.spend is None else None)
    mine = tuple(each for each in records if each.quarter == quarter)
    if not mine:
        have = {each.quarter for each in store.entries() if each.quarter}
        raise RegistryError.no_quarter(quarter, have)
    damage = store.damage()
    today = date.fromisoformat(issue.frozen)
    together = _together(store, records, quarter, issue, given)
    found = programme(mine, quarter, review=together.review)
    written = write_review(
        found, out, issue=issue, together=together, damage=damage, today=today
    )
    first = first_of(found, issue, damage=damage, together=together)
    for text in (first.title, first.headline, first.on, *(f"{h} {t}" for h, t in first.lines)):
        if text:
            typer.echo(text)
    for each in damage:
        typer.echo(f"damaged: {each.text}", err=True)
    typer.echo(f"page: {written['html']}")


def _together(
    store: Registry, records: tuple[Record, ...], quarter: str, issue: Issue, given: Beside
) -> Together:
    """Read the quarter's tests together, and what was given beside them."""
    from upliftlab.plan.currencies import currency_of
    from upliftlab.report.quarter.together import Together
    from upliftlab.review.agenda import agenda_of
    from upliftlab.review.allocation import plan_of
    from upliftlab.review.calibration import calibrate, readings_of
    from upliftlab.review.finance_files import read_spend
    from upliftlab.review.handed_in import beside_the_books, read_last, signed_totals
    from upliftlab.review.long_files import read_long_run
    from upliftlab.review.quarter import review_of
    from upliftlab.review.restated import drift

    spend = None if given.spend is None else read_spend(given.spend)
    read = review_of(records, quarter=quarter, spend=spend, today=issue.frozen)
    mine = tuple(r for r in records if r.quarter == quarter and r.name not in read.left_out)
    today = date.fromisoformat(issue.frozen)
    factors = calibrate(readings_of(mine), today=today) if read.currency else ()
    last = None if given.last is None else read_last(given.last)
    long_run = None if given.long_run is None else read_long_run(given.long_run)
    later = () if long_run is None else tuple(each.amount for each in long_run.lifetimes)
    scale = currency_of(read.currency).scale if read.currency else 1
    money = None if given.budget is None else given.budget * scale
    target, files = given.roi_target, given.files
    return Together(
        review=read,
        agenda=agenda_of(read, mine, calibrations=factors),
        factors=factors,
        totals=signed_totals(read, by=issue.signed, at=issue.frozen, last=last or {})
        if read.currency
        else (),
        books=None if files is None else beside_the_books(read, mine, files, lifetime=later),
        drift=None
        if last is None
        else drift(store.at(last["records"]), store.records(last["quarter"])),
        long_run=long_run,
        plan=plan_of(read, mine, budget=money, roi_target=target) if read.currency else None,
    )
