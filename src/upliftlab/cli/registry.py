"""Commands of the registry: what ran, what it said, what was decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from upliftlab.cli.app import NO_VERDICT, Files, Json, app, experiments, progress
from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from upliftlab.registry.store import Registry

VARIABLE = "UPLIFTLAB_REGISTRY"

Folder = Annotated[
    Path, typer.Option("--registry", envvar=VARIABLE, help="Folder of the registry.")
]
DEFAULT = Path("registry")

registry = typer.Typer(
    help="Finished experiments on disk: list, show, verify, import, start, stop, decide.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(registry, name="registry")


@registry.command("list")
def list_(
    folder: Folder = DEFAULT,
    quarter: Annotated[str | None, typer.Option(help="Such as 2026Q3.")] = None,
    where: Annotated[
        str, typer.Option(help="A condition in SQL, such as \"status = 'void'\".")
    ] = "",
    limit: Annotated[int, typer.Option(help="Most rows to print.", min=1)] = 200,
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """List the experiments that count, one a line; damaged files are named below."""
    from upliftlab.registry.asking import listed
    from upliftlab.registry.damage import MEND, Damage, unfinished
    from upliftlab.registry.mistakes import RegistryError

    if not folder.is_dir():
        raise RegistryError.no_folder(folder)
    rows, problems = listed(folder, quarter=quarter, where=where)
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, default=str))
    else:
        for row in rows[:limit]:
            typer.echo(_line(row))
        more = f" (the first {limit} shown; --limit shows more)" if len(rows) > limit else ""
        typer.echo(f"{len(rows):,} experiments{more}")
    bad = [Damage(file=file, problem=text, fix=MEND) for file, text in problems.items()]
    found = (*bad, *unfinished(folder))
    for each in found[:20]:
        typer.echo(f"damaged: {each.text}", err=True)
    if len(found) > 20:
        typer.echo(f"and {len(found) - 20} more: upliftlab registry verify", err=True)


@registry.command()
def show(
    name: Annotated[str, typer.Argument(help="An experiment, or the start of an address.")],
    folder: Folder = DEFAULT,
) -> None:
    """Print one record as JSON, with its decisions and what it supersedes."""
    found = _opened(folder).find(name)
    typer.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=1))


@registry.command()
def verify(folder: Folder = DEFAULT, as_json: Json = False) -> None:  # noqa: FBT002
    """Read every file anew and name all damage; exit code 3 if there is any."""
    store = _opened(folder)
    found = store.verify()
    files = len(store.entries())
    if as_json:
        rows = {"files": files, "damage": [each.to_dict() for each in found]}
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        for each in found:
            typer.echo(each.text)
        sound = "all sound" if not found else f"{len(found)} to mend"
        typer.echo(f"{files:,} files: {sound}")
    if found:
        raise typer.Exit(NO_VERDICT)


@registry.command("import")
def import_(
    table: Annotated[Path, typer.Argument(help="CSV or Parquet with one row per arm.")],
    *,
    folder: Folder = DEFAULT,
    columns: Annotated[
        list[str] | None,
        typer.Option(help="ours=theirs, such as sum=clicks; once per column."),
    ] = None,
    outcome: Annotated[str, typer.Option(help="What was summed.")] = "profit",
    currency: Annotated[str, typer.Option(help="ISO 4217 code, where sums are money.")] = "",
    worth: Annotated[
        float, typer.Option(help="Minor units of money that one unit of it is worth.")
    ] = 1.0,
    kind: Annotated[str, typer.Option(help="Of all experiments of the table.")] = "custom",
    unit: Annotated[str, typer.Option(help="What was assigned.")] = "customer",
) -> None:
    """Import experiments from sums per arm: n, sum and sum_of_squares."""
    from upliftlab.registry.store import Registry
    from upliftlab.registry.sums import Sums, records_of

    how = Sums(
        outcome=outcome,
        currency=currency,
        worth=worth,
        columns=dict(_pair(each) for each in columns or []),
        kind=kind,
        unit=unit,
    )
    kept = Registry(folder).add_all(records_of(table, how))
    void = sum(each.status == "void" for each in kept)
    typer.echo(
        f"{len(kept):,} experiments on record in {folder}; {void:,} void by sample ratio"
    )


@registry.command()
def start(files: Files, folder: Folder = DEFAULT) -> None:
    """Put on record that experiments have begun: they count, read or not."""
    from upliftlab.lock import lock_beside
    from upliftlab.registry.from_plan import planned
    from upliftlab.registry.store import Registry, started

    store = Registry(folder)
    for experiment, file in experiments(files):
        found = _read_already(store, experiment.name)
        if found:
            raise found
        kept = store.add(started(planned(experiment, lock_beside(file))))
        typer.echo(f"{file}: {kept.name} is running, on record as {kept.id[:12]}")


@registry.command()
def stop(
    name: Annotated[str, typer.Argument(help="The experiment.")],
    why: Annotated[str, typer.Option(help="Why it ended unread.")],
    folder: Folder = DEFAULT,
) -> None:
    """Put on record that a started experiment ended without being read."""
    from upliftlab.registry.store import stopped

    store = _opened(folder)
    found = _read_already(store, name)
    if found:
        raise found
    kept = store.add(stopped(store.find(name), why))
    typer.echo(f"{kept.name} is stopped: {why}")


@registry.command()
def simulate(
    folder: Folder = DEFAULT,
    quarter: Annotated[str, typer.Option(help="In which all tests start.")] = "2026Q3",
    tests: Annotated[int, typer.Option(help="How many.", min=12)] = 40,
    seed: Annotated[int, typer.Option(help="Where the random numbers start.")] = 1,
) -> None:
    """Fill a registry with a simulated quarter whose truth is known (truth.json)."""
    from upliftlab.registry.store import Registry
    from upliftlab.review.simulated import simulated_quarter

    with progress() as tell:
        simulated_quarter(
            Registry(folder), quarter=quarter, tests=tests, seed=seed, progress=tell
        )
    typer.echo(f"{tests} simulated experiments of {quarter} on record in {folder}")


@app.command()
def decide(
    name: Annotated[str, typer.Argument(help="The experiment, or the start of an address.")],
    decision: Annotated[
        str, typer.Argument(help="ship, 'ship to segment', 'keep testing' or stop.")
    ],
    *,
    by: Annotated[str, typer.Option(help="Who decides.")],
    why: Annotated[str, typer.Option(help="Reason in words.")] = "",
    arm: Annotated[str, typer.Option(help="The treatment, where there are several.")] = "",
    expires: Annotated[str, typer.Option(help="Last day of an override.")] = "",
    holdout: Annotated[str, typer.Option(help="Share that stays without, such as 5%.")] = "",
    site: Annotated[
        Path | None, typer.Option("--review", help="Review whose page shows it at once.")
    ] = None,
    folder: Folder = DEFAULT,
) -> None:
    """Sign a decision on a record; against its verdict only with a reason and an end."""
    from upliftlab.registry.taking import sentence, taken

    store = _opened(folder)
    found = store.find(name)
    kept = store.decide(
        taken(found, decision, by=by, arm=arm, why=why, expires=expires, holdout=holdout)
    )
    typer.echo(f"{found.name}: {sentence(kept)}")
    if site is not None:
        from upliftlab.report.quarter.site import write_experiment

        page = write_experiment(store.find(found.id), site)
        typer.echo(f"page: {page}")


registry.command("decide")(decide)


def _opened(folder: Path) -> Registry:
    from upliftlab.registry.store import Registry

    return Registry(folder, must_exist=True)


def _read_already(store: Registry, name: str) -> UpliftlabError | None:
    from upliftlab.registry.mistakes import RegistryError

    entries = store.entries() if store.folder.is_dir() else []
    answered = [e for e in entries if e.name == name and e.status in {"read", "void"}]
    return RegistryError.already_read(name) if answered else None


def _pair(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if not equals or not ours or not theirs:
        raise UpliftlabError(f"--columns is {text!r}; write ours=theirs, such as sum=clicks.")
    return ours, theirs


def _line(row: dict[str, Any]) -> str:
    said = row["verdict"] if row["status"] in {"read", "void"} else ""
    decided = f"decided {row['decided']}" if row["decided"] else ""
    parts = [
        f"{row['quarter'] or '-':7}",
        f"{row['name'][:40]:40}",
        f"{row['status']:8}",
        f"{row['mechanism'][:28]:28}",
        row["id"][:12],
        said,
        decided,
    ]
    return "  ".join(part for part in parts if part).rstrip()
