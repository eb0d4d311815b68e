"""The command line: a few lines per command, each calling the Python API.

Exit codes: 0 done; 1 a mistake in a definition or in data; 2 wrong usage; 3 done, and a
validity check failed, so there is no verdict.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from upliftlab.analysis import Analysis
    from upliftlab.experiment import Experiment

MISTAKE, NO_VERDICT = 1, 3

app = typer.Typer(
    help=(
        "What did this coupon really earn? Experiments read in incremental profit.\n\n"
        "Exit codes: 0 done; 1 a mistake in a definition or in data; 2 wrong usage; "
        "3 done, and a validity check failed, so there is no verdict."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Files = Annotated[list[Path], typer.Argument(help="experiment.yaml, or folders that hold one.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder for the page; default: report/ beside it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("experiment.yaml"),
    small: Annotated[bool, typer.Option("--small", help="The smallest definition.")] = False,  # noqa: FBT002
) -> None:
    """Write a commented definition to start from; an existing file stays as it is."""
    from upliftlab.definitions import template

    if path.exists():
        raise UpliftlabError(f"{path} is there already and stays as it is; name another file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(template("small" if small else "usual"), encoding="utf-8")
    typer.echo(f"wrote {path}; next: upliftlab validate {path}")


@app.command()
def validate(files: Files, as_json: Json = False) -> None:  # noqa: FBT002
    """Check definitions without reading data; all problems at once."""
    found = []
    for experiment, file in _experiments(files):
        found.append(
            {"file": str(file), "name": experiment.name, "plan": experiment.fingerprint}
        )
        if not as_json:
            typer.echo(
                f"{file}: {experiment.name} is well defined ({experiment.fingerprint[:12]})"
            )
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must not exist.")],
    preset: Annotated[str, typer.Option(help="Name of the world.")] = "gmv_up_profit_down",
    customers: Annotated[int, typer.Option(help="Customers assigned.", min=1)] = 100_000,
    seed: Annotated[int, typer.Option(help="Where the random numbers start.")] = 1,
) -> None:
    """Write order tables with a known truth."""
    from upliftlab.simulate import preset as world, write

    if folder.exists():
        raise UpliftlabError(
            f"{folder} is there already and stays as it is; name another folder."
        )
    settings = world(preset, customers=customers, seed=seed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _progress() as tell:
        tell("simulating")
        write(settings, folder)
    typer.echo(
        f"wrote {folder}: {customers:,} customers of {preset}; the truth is in truth.json"
    )


@app.command()
def check(files: Files, as_json: Json = False) -> None:  # noqa: FBT002
    """Ask whether the data can be trusted; exit code 3 if a validity check fails."""
    results = []
    for experiment, file in _experiments(files):
        analysis = _run(experiment)
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
    _exit(results)


@app.command()
def run(files: Files, out: Out = None, as_json: Json = False) -> None:  # noqa: FBT002
    """Answer one or many experiments: text on the screen, page and JSON on disk."""
    from upliftlab import report

    results = []
    for experiment, file in _experiments(files):
        analysis = _run(experiment)
        results.append(analysis)
        folder = _folder(out, file, experiment, many=len(files) > 1)
        written = report.write(analysis, folder)
        if not as_json:
            typer.echo(report.render_text(analysis))
            typer.echo(f"page: {written['html']}")
    if as_json:
        typer.echo(_as_json(results))
    _exit(results)


@app.command()
def score(
    rule: Annotated[Path, typer.Argument(help="targeting_rule.json of a report folder.")],
    source: Annotated[Path, typer.Argument(help="Table of customers: .parquet or .csv.")],
    out: Annotated[Path, typer.Option("--out", help="Parquet file to write.")],
    column: Annotated[str, typer.Option(help="Name of the new column.")] = "arm",
    unit: Annotated[str | None, typer.Option(help="Column of the customer's id.")] = None,
) -> None:
    """Say for every row of a table which arm a learned rule gives, whatever its size."""
    from upliftlab.data.rule_scorer import score_file
    from upliftlab.targeting.exports import rule_from, sql

    found = rule_from(rule, unit=unit)
    rows = score_file(sql(found), source, out, needs=found.needs, column=column)
    typer.echo(f"wrote {out}: {rows:,} rows with the rule's arm in {column!r}")


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
    results = [_run(experiment) for experiment, _ in _experiments(files)]
    for analysis in results:
        typer.echo(forms[form](analysis))
    _exit(results)


@app.command()
def schema(
    what: Annotated[
        str, typer.Argument(help="definition: for editors; analysis: of the JSON output.")
    ] = "definition",
) -> None:
    """Print the JSON Schema of definitions or of results."""
    if what == "definition":
        from upliftlab.experiment import json_schema
    elif what == "analysis":
        from upliftlab.report import json_schema
    else:
        raise UpliftlabError(f"schema of {what!r}; allowed: ['analysis', 'definition'].")
    typer.echo(json.dumps(json_schema(), ensure_ascii=False, indent=2))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for data and page.")] = Path(
        "demo"
    ),
    customers: Annotated[
        int | None, typer.Option(help="Fewer customers for a quick look.", min=1_000)
    ] = None,
) -> None:
    """Simulate a coupon test whose GMV rises and whose profit falls, and read its page."""
    from upliftlab import report
    from upliftlab.definitions import template
    from upliftlab.experiment import Experiment

    text = template("demo")
    if customers is not None:
        text = text.replace("customers: 1600000", f"customers: {customers}")
    out.mkdir(parents=True, exist_ok=True)
    analysis = _run(Experiment.from_text(text, name="experiment.yaml", base=out))
    (out / "experiment.yaml").write_text(text, encoding="utf-8")
    written = report.write(analysis, out)
    typer.echo(report.render_text(analysis))
    typer.echo(f"page: {written['html']}")


def main() -> None:
    """Run the command line; mistakes are one clear sentence, never a traceback."""
    try:
        app()
    except UpliftlabError as mistake:
        typer.echo(str(mistake), err=True)
        sys.exit(MISTAKE)


def _experiments(files: list[Path]) -> Iterator[tuple[Experiment, Path]]:
    """Read all definitions before anything expensive happens."""
    from upliftlab.experiment import Experiment

    paths = [path / "experiment.yaml" if path.is_dir() else path for path in files]
    plans = [Experiment.from_yaml(path) for path in paths]
    yield from zip(plans, paths, strict=True)


def _run(experiment: Experiment) -> Analysis:
    from upliftlab.analysis import run as answer

    with _progress() as tell:
        return answer(experiment, progress=tell)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show the step at work on a terminal; stay silent in pipes."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield lambda step: status.update(f"{step} …")


def _folder(out: Path | None, file: Path, experiment: Experiment, *, many: bool) -> Path:
    if out is None:
        return file.parent / "report"
    return out / experiment.name if many else out


def _as_json(results: list[Analysis]) -> str:
    rows = [analysis.to_dict() for analysis in results]
    return json.dumps(rows[0] if len(rows) == 1 else rows, ensure_ascii=False)


def _exit(results: list[Analysis]) -> None:
    if not all(analysis.is_valid for analysis in results):
        raise typer.Exit(NO_VERDICT)


if __name__ == "__main__":
    main()
