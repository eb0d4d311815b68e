"""Commands before a test: who gets which arm, what is promised, does the machinery work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upliftlab.cli.app import Files, Json, app, experiments

if TYPE_CHECKING:
    from upliftlab.experiment import Experiment

File = Annotated[Path, typer.Argument(help="experiment.yaml, or a folder that holds one.")]


@app.command()
def assign(
    file: File,
    *,
    ids: Annotated[
        Path | None, typer.Option("--ids", help="Units: .parquet or .csv; default: data.users.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Table to write; default: the plan's data.assignments."),
    ] = None,
    unit: Annotated[str | None, typer.Option(help="Column of ids.")] = None,
    clock: Annotated[str | None, typer.Option(help="Column of when a unit entered.")] = None,
    at: Annotated[
        str | None, typer.Option(help="Day of assignment; default: run.start.")
    ] = None,
    sql: Annotated[
        str | None, typer.Option("--sql", help="Print SQL to paste instead: duckdb or spark.")
    ] = None,
    table: Annotated[str, typer.Option(help="Name of the table in that SQL.")] = "customers",
    as_json: Json = False,
) -> None:
    """Give every unit its arm by a salted hash of its id: as a table of any size, or as SQL."""
    from upliftlab.data.assign_plan import assign as written, statement
    from upliftlab.lock import lock_beside

    [(experiment, path)] = experiments([file])
    lock = lock_beside(path)
    if sql is not None:
        typer.echo(
            statement(
                experiment, dialect=sql, table=table, unit=unit or "unit", clock=clock, at=at,
                lock=lock, rule=_rule(experiment, path, sql),
            )
        )  # fmt: skip
        return
    found, place = written(
        experiment, ids=ids, out=out, unit=unit, clock=clock, at=at, lock=lock,
        rule=_rule(experiment, path, "duckdb"),
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"file": str(place), **found.to_dict()}, ensure_ascii=False))
        return
    arms = ", ".join(f"{arm} {n:,}" for arm, n in found.arms.items())
    typer.echo(f"wrote {place}: {found.rows:,} units ({arms})")
    for why, rows in found.set_aside.items():
        typer.echo(f"  {rows:,} left out: {why}")


@app.command()
def lock(files: Files) -> None:
    """Freeze plans: a lock beside each, so that later runs list what was changed."""
    from upliftlab.lock import refuse_shared, write_lock

    found = list(experiments(files))
    refuse_shared([experiment for experiment, _ in found])
    for experiment, path in found:
        written, place = write_lock(experiment, path)
        typer.echo(f"locked {experiment.name} ({written.plan[:12]}) in {place}")


def _rule(experiment: Experiment, path: Path, dialect: str) -> str | None:
    """Read the plan's targeting rule as SQL, without its own exploration."""
    if experiment.assign is None or experiment.assign.rule is None:
        return None
    from dataclasses import replace

    from upliftlab.targeting.exports import rule_from, sql

    exported = rule_from(path.parent / experiment.assign.rule)
    return sql(replace(exported, exploration=None), dialect)
