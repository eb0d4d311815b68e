"""Commands that answer: trust, verdicts, pages, and who gets what."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from upliftlab.cli.app import (
    Files,
    Json,
    Out,
    answered,
    app,
    exit_with,
    experiments,
    folder_of,
    json_of,
)
from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from upliftlab.analysis import Analysis


@app.command()
def check(files: Files, as_json: Json = False) -> None:  # noqa: FBT002
    """Ask whether the data can be trusted; exit code 3 if a validity check fails."""
    results = []
    for experiment, file in experiments(files):
        analysis = answered(experiment, file)
        results.append(analysis)
        if not as_json:
            typer.echo(f"{file}: {experiment.name}")
            for each in analysis.checks:
                typer.echo(f"  {each.verdict:5} {each.message}")
    if as_json:
        rows = [
            {"name": a.experiment.name, "checks": [c.to_dict() for c in a.checks]}
            for a in results
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    exit_with(results)


@app.command()
def run(
    files: Files,
    out: Out = None,
    as_json: Json = False,  # noqa: FBT002
    record: Annotated[
        Path | None,
        typer.Option("--record", envvar="UPLIFTLAB_REGISTRY", help="Registry to record it in."),
    ] = None,
) -> None:
    """Answer one or many experiments: text on the screen, page and JSON on disk."""
    from upliftlab import report

    results = []
    for experiment, file in experiments(files):
        analysis = answered(experiment, file)
        results.append(analysis)
        folder = folder_of(out, file, experiment, many=len(files) > 1)
        decided = () if record is None else _recorded(analysis, record, file, quiet=as_json)
        written = report.write(analysis, folder, decided=decided)
        if not as_json:
            typer.echo(report.render_text(analysis))
            typer.echo(f"page: {written['html']}")
    if as_json:
        typer.echo(json_of(results))
    exit_with(results)


@app.command()
def score(
    rule: Annotated[Path, typer.Argument(help="targeting_rule.json of a report folder.")],
    source: Annotated[Path, typer.Argument(help="Table of customers: .parquet or .csv.")],
    out: Annotated[Path, typer.Option("--out", help="Parquet file to write.")],
    column: Annotated[str, typer.Option(help="Name of the new column.")] = "arm",
    unit: Annotated[str | None, typer.Option(help="Column of the customer's id.")] = None,
) -> None:
    """Say for every row of a table which arm a learned rule gives, whatever its size."""
    from upliftlab.data.rule_scorer import count_where, score_file
    from upliftlab.targeting.exports import rule_from, sql, unseen_sql

    found = rule_from(rule, unit=unit)
    rows = score_file(
        sql(found), source, out, needs=found.needs, column=column, texts=found.ids
    )
    typer.echo(f"wrote {out}: {rows:,} rows with the rule's arm in {column!r}")
    unseen = count_where(source, unseen_sql(found), texts=found.ids)
    for name, count in unseen.items():
        typer.echo(
            f"note: {count:,} rows have a level of {name!r} that was not there while learning; "
            "it counts as none of the known ones"
        )


@app.command("report")
def report_(
    files: Files,
    form: Annotated[
        str, typer.Option("--format", help="html, markdown, text or json.")
    ] = "markdown",
) -> None:
    """Print one or many experiments in one format, to pipe elsewhere."""
    from upliftlab import report

    forms: dict[str, Callable[[Analysis], str]] = {
        "html": report.render_html,
        "markdown": report.render_markdown,
        "text": report.render_text,
        "json": report.render_json,
    }
    if form not in forms:
        raise UpliftlabError(f"--format is {form!r}; allowed: {sorted(forms)}.")
    results = [answered(experiment, file) for experiment, file in experiments(files)]
    for analysis in results:
        typer.echo(forms[form](analysis))
    exit_with(results)


def _recorded(analysis: Analysis, folder: Path, plan: Path, *, quiet: bool) -> tuple[str, ...]:
    """Put the analysis on record; return what was decided on it so far, a sentence each."""
    from upliftlab.lock import lock_beside
    from upliftlab.registry.from_analysis import record_of
    from upliftlab.registry.store import Registry
    from upliftlab.registry.taking import sentence

    registry = Registry(folder)
    kept = registry.add(record_of(analysis, lock_beside(plan)))
    if not quiet:
        typer.echo(f"on record in {folder} as {kept.id[:12]}")
    return tuple(map(sentence, registry.find(kept.id).decisions))
