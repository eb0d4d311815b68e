"""Commands before there is an answer: write, check and simulate definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from upliftlab.cli.app import Files, Json, answered, app, experiments, progress
from upliftlab.errors import UpliftlabError


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
    for experiment, file in experiments(files):
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
    with progress() as tell:
        tell("simulating")
        write(settings, folder)
    typer.echo(
        f"wrote {folder}: {customers:,} customers of {preset}; the truth is in truth.json"
    )


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
    tests: Annotated[
        int, typer.Option(help="Experiments of the simulated quarter; 0 leaves it out.", min=0)
    ] = 40,
) -> None:
    """Read a coupon test whose GMV rises and profit falls; then the review of its quarter."""
    from upliftlab import report
    from upliftlab.definitions import template
    from upliftlab.experiment import Experiment

    text = template("demo")
    if customers is not None:
        text = text.replace("customers: 1600000", f"customers: {customers}")
    out.mkdir(parents=True, exist_ok=True)
    analysis = answered(Experiment.from_text(text, name="experiment.yaml", base=out))
    (out / "experiment.yaml").write_text(text, encoding="utf-8")
    written = report.write(analysis, out)
    typer.echo(report.render_text(analysis))
    typer.echo(f"page: {written['html']}")
    if tests:
        _quarter(out, tests)


def _quarter(out: Path, tests: int) -> None:
    """End the demo with the review of a simulated quarter."""
    from upliftlab.cli.review import made
    from upliftlab.registry.store import Registry
    from upliftlab.report.quarter.first import Issue
    from upliftlab.review.simulated import frozen_on, simulated_quarter

    quarter = "2026Q3"
    store = Registry(out / "registry")
    with progress() as tell:
        simulated_quarter(store, quarter=quarter, tests=max(12, tests), progress=tell)
    day = frozen_on(quarter).isoformat()
    made(store, quarter, out / "review", Issue(shop="simulated shop", frozen=day))
