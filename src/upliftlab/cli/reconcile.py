"""The command that ties a quarter's ledger and its experiments to the books."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import TYPE_CHECKING, Annotated

import typer

from upliftlab.cli.app import NO_VERDICT, Json, app

if TYPE_CHECKING:
    from upliftlab.review.book_files import FilesTied


@app.command()
def reconcile(
    ledger: Annotated[
        Path,
        typer.Argument(help="CSV or xlsx: line, channel, ordered, posted, amount, status."),
    ],
    books: Annotated[Path, typer.Argument(help="CSV or xlsx: account_code, month, amount.")],
    chart: Annotated[
        Path, typer.Argument(help="CSV or xlsx: account_code, name, line, channel, sign, vat.")
    ],
    *,
    quarter: Annotated[str, typer.Option(help="Such as 2026Q3; calendar months.")],
    currency: Annotated[str, typer.Option(help="Of the books.")] = "CNY",
    rate: Annotated[str, typer.Option(help="Books currency per ledger currency.")] = "",
    rate_date: Annotated[str, typer.Option(help="Day of that rate.")] = "",
    vat: Annotated[str, typer.Option(help="Of the books: included or excluded.")] = "included",
    registry: Annotated[
        Path | None, typer.Option(help="Registry, for what the experiments changed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare ledger and books by account and month; name every difference."""
    from upliftlab.review.book_files import read_book_files, tied

    files = read_book_files(
        ledger, books, chart, quarter=quarter,
        currency=currency, rate=rate, rate_date=rate_date, vat=vat,
    )  # fmt: skip
    found = tied(files, quarter)
    answer = {"tie": found.tie.to_dict(), "bases": found.bases.to_dict()}
    if registry is not None:
        from upliftlab.registry.store import Registry
        from upliftlab.review.agenda import agenda_of
        from upliftlab.review.quarter import review_of

        records = Registry(registry, must_exist=True).records()
        review = review_of(records, quarter=quarter)
        answer |= {
            "review": review.to_dict(),
            "agenda": agenda_of(review, [r for r in records if r.quarter == quarter]).to_dict(),
        }
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False, allow_nan=False))
    else:
        _tell(found)
    if not found.tie.ties:
        raise typer.Exit(NO_VERDICT)


def _tell(found: FilesTied) -> None:
    """Say whether the books tie, what does not, and how the two bases differ."""
    typer.echo(found.tie.sentence)
    for cell in found.tie.findings:
        place = f"{cell.period}  {cell.account} ({', '.join(cell.lines)})"
        money = [f"{x / 100:,.2f}" for x in (cell.ledger, cell.books, cell.residual)]
        typer.echo(
            f"  {place}  ledger {money[0]}  books {money[1]}  residual {money[2]}  {cell.guess}"
        )
    total = found.bases.total
    typer.echo(
        f"contribution by order date {total.order_basis / 100:,.2f} - booked later "
        f"{total.later / 100:,.2f} + from earlier orders {total.earlier / 100:,.2f} = by "
        f"posting date {total.accounting_basis / 100:,.2f}"
    )
