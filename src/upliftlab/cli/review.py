"""The command that makes the quarterly review."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upliftlab.cli.app import app, uncollected
from upliftlab.cli.registry import DEFAULT, Folder
from upliftlab.errors import DataError, UpliftlabError

if TYPE_CHECKING:
    from upliftlab.registry.record import Record
    from upliftlab.registry.store import Registry
    from upliftlab.report.quarter.first import Issue
    from upliftlab.report.quarter.together import Together
    from upliftlab.review.restated import Drift


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
        typer.Option(help="CSV or xlsx: line, channel, ordered, posted, amount, status."),
    ] = None,
    last: Annotated[
        Path | None, typer.Option(help="review.json of the last review: what moved since?")
    ] = None,
    long_run: Annotated[
        Path | None, typer.Option(help="JSON: measured windows, surrogate index, pull-forward.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Next quarter's campaign money, main units; today's unless said."),
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
    given_files = (ledger, books, chart) if ledger and books and chart else None
    beside = Beside(files=given_files, last=last, long_run=long_run, budget=budget)
    with uncollected():
        made(Registry(folder, must_exist=True), quarter, out, issue, beside)


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What a review may be given beside its registry: ledger, books and chart, and so on."""

    files: tuple[Path, Path, Path] | None = None
    last: Path | None = None
    long_run: Path | None = None
    budget: float | None = None


def made(
    store: Registry, quarter: str, out: Path, issue: Issue, beside: Beside | None = None
) -> None:
    """Write the review and print its first lines."""
    from upliftlab.registry.mistakes import RegistryError
    from upliftlab.report.quarter import write_review
    from upliftlab.report.quarter.first import first_of
    from upliftlab.review.programme import programme

    records = store.records(quarter)
    if not records:
        have = {each.quarter for each in store.entries() if each.quarter}
        raise RegistryError.no_quarter(quarter, have)
    damage = store.damage()
    today = date.fromisoformat(issue.frozen)
    together = _together(store, records, quarter, today, beside or Beside())
    found = programme(records, quarter, review=together.review)
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
    store: Registry, records: tuple[Record, ...], quarter: str, today: date, beside: Beside
) -> Together:
    """Read the quarter's tests together, and what was given beside them."""
    from upliftlab.plan.currencies import currency_of
    from upliftlab.report.quarter.together import Together
    from upliftlab.review.agenda import agenda_of
    from upliftlab.review.allocation import plan_of
    from upliftlab.review.book_files import read_reconciled
    from upliftlab.review.calibration import calibrate, readings_of
    from upliftlab.review.long_files import read_long_run
    from upliftlab.review.quarter import review_of

    read = review_of(records, quarter=quarter, today=today.isoformat())
    factors = calibrate(readings_of(records), today=today) if read.currency else ()
    scale = currency_of(read.currency).scale if read.currency else 1
    money = None if beside.budget is None else beside.budget * scale
    tied = (
        None
        if beside.files is None
        else read_reconciled(*beside.files, quarter=quarter, currency=read.currency or "CNY")
    )
    return Together(
        review=read,
        agenda=agenda_of(read, records, calibrations=factors),
        factors=factors,
        tie=None if tied is None else tied.tie,
        bases=None if tied is None else tied.bases,
        drift=None if beside.last is None else _drift(store, beside.last),
        long_run=None if beside.long_run is None else read_long_run(beside.long_run),
        plan=plan_of(read, records, budget=money) if read.currency else None,
    )


def _drift(store: Registry, last: Path) -> Drift:
    """Compare the records that the last review was made of with the newest ones."""
    import json

    from upliftlab.review.restated import drift

    if not last.exists():
        raise DataError.missing_file("last review", str(last))
    try:
        found = json.loads(last.read_text(encoding="utf-8"))
        quarter, addresses = found["quarter"], found["records"]
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"--last {str(last)!r} is no review.json: it has no quarter and records."
        ) from None
    return drift(store.at(addresses), store.records(quarter))
