"""Commands before a test: who gets which arm, what is promised, does the machinery work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from upliftlab.cli.app import (
    NO_VERDICT,
    Files,
    Json,
    Out,
    answered,
    app,
    experiments,
    folder_of,
    progress,
)

if TYPE_CHECKING:
    from upliftlab.assignment.recipe import Epoch
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
    from upliftlab.lock import lock_beside, lock_path, refuse_taken

    [(experiment, path)] = experiments([file])
    lock = lock_beside(path)
    refuse_taken(experiment, lock_path(path))
    if sql is not None:
        typer.echo(
            statement(
                experiment, dialect=sql, table=table, unit=unit or "unit", clock=clock, at=at,
                lock=lock, rule=_rule(experiment, path, sql), epochs=_epochs(experiment),
            )
        )  # fmt: skip
        return
    found, place = written(
        experiment, ids=ids, out=out, unit=unit, clock=clock, at=at, lock=lock,
        rule=_rule(experiment, path, "duckdb"), epochs=_epochs(experiment),
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
        written, place = write_lock(experiment, path, looks=_looks(experiment))
        typer.echo(f"locked {experiment.name} ({written.plan[:12]}) in {place}")


@app.command()
def adapt(
    file: File,
    since: Annotated[str, typer.Option("--since", help="First day of the next epoch.")],
    out: Out = None,
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Move shares towards the arms that earn, for units that enter from a day on; log why."""
    from upliftlab.adaptive.log import log_path, write_log
    from upliftlab.adaptive.move import next_epoch
    from upliftlab.errors import DesignError
    from upliftlab.plan.quantities import parse_date
    from upliftlab.report.adapting import (
        render_adapt_json,
        render_adapt_text,
        write_adapt,
    )

    [(experiment, path)] = experiments([file])
    day = parse_date(since, "--since")
    place = log_path(experiment)
    found = answered(experiment)
    if found.epochs is None:
        raise DesignError(f"experiment {experiment.name!r} keeps its shares.")
    move = next_epoch(experiment, found.epochs, found.economics, found.metrics, since=day)
    write_log(move.log, place)
    written = write_adapt(experiment, move, folder_of(out, path, experiment, many=False))
    typer.echo(render_adapt_json(move) if as_json else render_adapt_text(experiment, move))
    if not as_json:
        typer.echo(f"page: {written['html']}\nshares: {place}")


def _epochs(experiment: Experiment) -> tuple[Epoch, ...] | None:
    """Read the shares of a plan that lets them follow profit."""
    if experiment.assign is None or experiment.assign.adapt is None:
        return None
    from upliftlab.adaptive.log import log_of

    return log_of(experiment).drawn(experiment.control.label)


def _looks(experiment: Experiment) -> dict[str, object] | None:
    """What early looks are bound to, where the plan allows them."""
    if experiment.looks is None:
        return None
    from upliftlab.monitor.rules import rules_of

    return rules_of(experiment).to_dict()


@app.command()
def aa(
    file: File,
    *,
    units: Annotated[
        Path | None,
        typer.Option("--units", help="One row per unit, from before the test: .parquet, .csv."),
    ] = None,
    draws: Annotated[int, typer.Option(help="Re-assignments.", min=100)] = 2_000,
    seed: Annotated[int, typer.Option(help="Where the random numbers start.")] = 1,
    by: Annotated[
        str | None, typer.Option(help="Column of what really moves together.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="First day of the rehearsed window.")] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Rehearse a test on data from before it; exit code 3 if the machinery is not fit."""
    from upliftlab.plan.quantities import parse_date
    from upliftlab.rehearsal.answer import rehearse
    from upliftlab.report.rehearsal import (
        render_rehearsal_json,
        render_rehearsal_text,
        write_rehearsal,
    )

    [(experiment, path)] = experiments([file])
    day = None if at is None else parse_date(at, "--at")
    with progress() as tell:
        found = rehearse(
            experiment, units=units, draws=draws, seed=seed, by=by, at=day, progress=tell
        )
    written = write_rehearsal(found, folder_of(out, path, experiment, many=False))
    typer.echo(render_rehearsal_json(found) if as_json else render_rehearsal_text(found))
    if not as_json:
        typer.echo(f"page: {written['html']}")
    if not found.is_valid:
        raise typer.Exit(NO_VERDICT)


def _rule(experiment: Experiment, path: Path, dialect: str) -> str | None:
    """Read the plan's targeting rule as SQL, without its own exploration."""
    if experiment.assign is None or experiment.assign.rule is None:
        return None
    from dataclasses import replace

    from upliftlab.targeting.exports import rule_from, sql

    exported = rule_from(path.parent / experiment.assign.rule)
    return sql(replace(exported, exploration=None), dialect)
