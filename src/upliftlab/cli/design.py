"""Commands before a test: how large, how long, at which cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from upliftlab.cli.app import Files, Out, app, experiments, folder_of, progress
from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from upliftlab.design import Design

FORMS = ("text", "markdown", "html", "json")


@app.command()
def design(
    files: Files,
    out: Out = None,
    form: Annotated[
        str, typer.Option("--format", help="Printed: text, markdown, html or json.")
    ] = "text",
    simulate: Annotated[
        int, typer.Option(help="Run the test so many times by its own estimator.", min=0)
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,  # noqa: FBT002
) -> None:
    """Say how many customers a test needs, until when, at which cost, and if it is worth it."""
    from upliftlab.design import design as planned
    from upliftlab.lock import lock_beside
    from upliftlab.report import planning

    wanted = "json" if as_json else form
    if wanted not in FORMS:
        raise UpliftlabError(f"--format is {wanted!r}; allowed: {sorted(FORMS)}.")
    for experiment, file in experiments(files):
        with progress() as tell:
            found: Design = planned(
                experiment, simulate=simulate, lock=lock_beside(file), progress=tell
            )
        folder = folder_of(out, file, experiment, many=len(files) > 1)
        written = planning.write_plan(found, folder)
        typer.echo(planning.PLAN_FORMS[wanted](found), nl=False)
        if wanted == "text":
            typer.echo(f"page: {written['html']}")
