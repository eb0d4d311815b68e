"""The command that makes the quarterly review."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upliftlab.cli.app import app, uncollected
from upliftlab.cli.registry import DEFAULT, Folder
from upliftlab.errors import DataError, UpliftlabError

if TYPE_CHECKING:
    from upliftlab.registry.store import Registry
    from upliftlab.report.quarter.first import Issue
    from upliftlab.review.tie import Tie


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
    books: Annotated[
        Path | None, typer.Option(help="Books: CSV or xlsx with account_code, month, amount.")
    ] = None,
    chart: Annotated[
        Path | None, typer.Option(help="CSV: account_code, name, line, channel, sign, vat.")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(help="CSV: line, channel, ordered, posted, amount (minor units)."),
    ] = None,
) -> None:
    """Make the review of a quarter: site, workbook, Markdown, CSV and JSON."""
    from upliftlab.registry.store import Registry
    from upliftlab.report.quarter.first import Issue

    day = frozen or datetime.now(tz=UTC).date().isoformat()
    issue = Issue(shop=shop, prepared=prepared, signed=signed, frozen=day)
    given = (books, chart, ledger)
    if any(given) and not all(given):
        raise UpliftlabError("books are compared with --books, --chart and --ledger together.")
    tied = _tied(books, chart, ledger, quarter) if books and chart and ledger else None
    with uncollected():
        made(Registry(folder, must_exist=True), quarter, out, issue, tied)


def _tied(books: Path, chart: Path, ledger: Path, quarter: str) -> Tie:
    """Compare ledger and books over the months of the quarter."""
    from upliftlab.review.books import calendar_months, read_books, read_chart
    from upliftlab.review.postings import postings_from
    from upliftlab.review.tie import tie

    calendar = calendar_months(int(quarter[:4]))
    rows = [{**row, "amount": int(row["amount"])} for row in _csv(ledger)]
    return tie(
        postings_from(rows),
        read_books(books, calendar=calendar),
        read_chart(_csv(chart)),
        periods=calendar.of_quarter(quarter),
    )


def _csv(file: Path) -> list[dict[str, str]]:
    import csv

    if not file.exists():
        raise DataError.missing_file(file.stem, str(file))
    with file.open(encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text))


def made(
    store: Registry, quarter: str, out: Path, issue: Issue, tied: Tie | None = None
) -> None:
    """Write the review and print its first lines."""
    from upliftlab.registry.mistakes import RegistryError
    from upliftlab.report.quarter import write_review
    from upliftlab.report.quarter.first import first_of
    from upliftlab.report.quarter.together import Together
    from upliftlab.review.agenda import agenda_of
    from upliftlab.review.calibration import calibrate, readings_of
    from upliftlab.review.programme import programme
    from upliftlab.review.quarter import review_of

    records = store.records(quarter)
    if not records:
        have = {each.quarter for each in store.entries() if each.quarter}
        raise RegistryError.no_quarter(quarter, have)
    found = programme(records, quarter)
    damage = store.damage()
    today = date.fromisoformat(issue.frozen)
    read = review_of(records, quarter=quarter, today=issue.frozen)
    factors = calibrate(readings_of(records), today=today) if found.currency else ()
    agenda = agenda_of(read, records, calibrations=factors)
    together = Together(review=read, agenda=agenda, factors=factors, tie=tied)
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
