"""Commands while a test runs: look without fooling oneself."""

from __future__ import annotations

from datetime import date
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from upliftlab.cli.app import NO_VERDICT, Json, app, experiments, progress
from upliftlab.errors import UpliftlabError

STATE = "looks.npz"


@app.command()
def monitor(
    file: Annotated[Path, typer.Argument(help="experiment.yaml, or a folder that holds one.")],
    *,
    as_of: Annotated[
        str | None,
        typer.Option(help="Last day whose facts are all there; default: the last one."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="File between looks; default: looks.npz beside the plan."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the page; default: report/.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at a running test: may one stop yet? Exit code 3 if its sample ratio is broken."""
    from upliftlab.lock import lock_beside
    from upliftlab.monitor.answer import BROKEN
    from upliftlab.monitor.run import look
    from upliftlab.report.looks import render_looks_json, render_looks_text, write_looks

    [(experiment, path)] = experiments([file])
    lock = lock_beside(path)
    with progress() as tell:
        found = look(
            experiment,
            state=state or path.parent / STATE,
            as_of=_day(as_of),
            lock=lock,
            progress=tell,
        )
    written = write_looks(found, out or path.parent / "report")
    if as_json:
        typer.echo(render_looks_json(found), nl=False)
    else:
        typer.echo(render_looks_text(found))
        typer.echo(f"page: {written['html']}")
    if found.state == BROKEN:
        raise typer.Exit(NO_VERDICT)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UpliftlabError(f"--as-of is {text!r}; write a day such as 2026-10-20.") from None
