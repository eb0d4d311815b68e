"""The command that makes the quarterly review."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upliftlab.cli.app import app
from upliftlab.cli.registry import DEFAULT, Folder

if TYPE_CHECKING:
    from upliftlab.registry.store import Registry
    from upliftlab.report.quarter.first import Issue


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
) -> None:
    """Make the review of a quarter: site, workbook, Markdown, CSV and JSON."""
    from upliftlab.registry.store import Registry
    from upliftlab.report.quarter.first import Issue

    day = frozen or datetime.now(tz=UTC).date().isoformat()
    issue = Issue(shop=shop, prepared=prepared, signed=signed, frozen=day)
    made(Registry(folder, must_exist=True), quarter, out, issue)


def made(store: Registry, quarter: str, out: Path, issue: Issue) -> None:
    """Write the review and print its first lines."""
    from upliftlab.registry.mistakes import RegistryError
    from upliftlab.report.quarter import write_review
    from upliftlab.report.quarter.first import first_of
    from upliftlab.review.programme import programme

    records = store.records(quarter)
    if not records:
        have = {each.quarter for each in store.entries() if each.quarter}
        raise RegistryError.no_quarter(quarter, have)
    found = programme(records, quarter)
    damage = store.damage()
    written = write_review(
        found, out, issue=issue, damage=damage, today=date.fromisoformat(issue.frozen)
    )
    first = first_of(found, issue, damage=damage)
    for text in (first.title, first.headline, first.on, *(f"{h} {t}" for h, t in first.lines)):
        if text:
            typer.echo(text)
    for each in damage:
        typer.echo(f"damaged: {each.text}", err=True)
    typer.echo(f"page: {written['html']}")
