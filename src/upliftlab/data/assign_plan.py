"""From a plan to its assignment table: where the ids come from, and where the arms go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from upliftlab.assignment.recipe import recipe_of
from upliftlab.assignment.statement import Request, assignment_sql
from upliftlab.data.assign_list import assign_list
from upliftlab.data.assign_table import Written, assign_file, columns_of, reading
from upliftlab.data.contracts import ASSIGNMENTS
from upliftlab.data.files import path_of
from upliftlab.errors import DataError, DefinitionError, UpliftlabError
from upliftlab.plan.words import ROLLOUT_DESIGNS

if TYPE_CHECKING:
    from collections.abc import Collection

    from upliftlab.assignment.recipe import Epoch, Recipe
    from upliftlab.experiment import Experiment
    from upliftlab.lock import Lock

DEFAULT_NAME = "assigned.parquet"


def assign(
    experiment: Experiment,
    *,
    ids: str | Path | None = None,
    out: str | Path | None = None,
    unit: str | None = None,
    clock: str | None = None,
    at: str | None = None,
    lock: Lock | None = None,
    rule: str | None = None,
    epochs: tuple[Epoch, ...] | None = None,
) -> tuple[Written, Path]:
    """Write the assignment table of a plan, ready for ``run``.

    Args:
        experiment: The plan.
        ids: Table of units, Parquet or CSV; the plan's ``data.users`` unless said.
        out: Table to write; the plan's ``data.assignments`` unless said, with the names of
            columns that the plan gives it.
        unit: Column of ids; found by its usual names unless said.
        clock: Column that says when a unit entered; ``assigned_at`` where there is one.
        at: Day of assignment for all units; the first day of the run unless said.
        lock: The plan's lock; a plan that assigns otherwise than it promised is refused.
        rule: SQL of the plan's targeting rule, where it has one.
        epochs: Shares over time as they were logged, in place of the plan's own.

    Returns:
        What was written, and where.

    Raises:
        UpliftlabError: When something is there already, or the plan was changed after its lock.
        DataError: When the table of units does not hold what the plan needs.
    """
    recipe = recipe_of_locked(experiment, lock)
    recipe = replace(recipe, epochs=epochs or recipe.epochs)
    if experiment.design in ROLLOUT_DESIGNS and not recipe.waves:
        raise UpliftlabError(
            f"experiment {experiment.name!r} has design {experiment.design}; to draw its waves "
            "add assign: {waves: {2026-08-03: 50%, never: 50%}}."
        )
    source = _ids(experiment, ids)
    place, names = _target(experiment, out)
    with duckdb.connect() as engine:
        have = columns_of(engine, reading(engine, source))
    key = recipe.cluster if recipe.waves and recipe.cluster in have else None
    request = Request(
        table="",
        unit=unit or key or unit_column(have, source.name),
        clock=_clock(clock, have, source.name),
        at=_moment(experiment, at) if not recipe.waves else "",
        rule=rule,
        names=names,
    )
    write = assign_list if recipe.is_list else assign_file
    return write(recipe, request, source, place), place


def statement(
    experiment: Experiment,
    *,
    dialect: str,
    table: str = "customers",
    unit: str = "unit",
    clock: str | None = None,
    at: str | None = None,
    lock: Lock | None = None,
    rule: str | None = None,
    epochs: tuple[Epoch, ...] | None = None,
) -> str:
    """Write the same assignment as SQL to paste: one SELECT in one dialect.

    Raises:
        UpliftlabError: When the plan draws in blocks, which needs the whole list at once.
    """
    from upliftlab.assignment.hashing import Dialect

    recipe = recipe_of_locked(experiment, lock)
    recipe = replace(recipe, epochs=epochs or recipe.epochs)
    if recipe.draw != "each" or (experiment.assign and experiment.assign.waves):
        raise UpliftlabError(
            f"experiment {experiment.name!r} draws a list as a whole, which no single SELECT "
            "does; write the table with --out instead."
        )
    request = Request(
        table=Dialect(dialect).table(table),
        unit=unit,
        clock=clock,
        at=_moment(experiment, at),
        rule=rule,
    )
    return assignment_sql(recipe, request, dialect)


def recipe_of_locked(experiment: Experiment, lock: Lock | None) -> Recipe:
    """Take the recipe of a plan, with the fingerprint of its lock.

    Raises:
        UpliftlabError: When the plan now gives arms otherwise than it promised.
    """
    recipe = recipe_of(experiment)
    if lock is None:
        return recipe
    if recipe.to_dict() != lock.assignment:
        keys = ", ".join(
            change.key
            for change in lock.changes(experiment)
            if change.key.startswith(("arms", "assign", "run", "cluster", "strata", "name"))
        )
        raise UpliftlabError(
            f"experiment {experiment.name!r} was locked on {lock.locked_at} and gives arms "
            f"otherwise now (changed: {keys}); units would change arms. Restore the plan, or "
            "start a new one with another name."
        )
    return replace(recipe, plan=lock.plan)


def unit_column(have: Collection[str], name: str) -> str:
    """Find the column of ids by its usual names.

    Raises:
        DataError: When there is none.
    """
    column = ASSIGNMENTS.column("unit")
    for each in (column.name, *column.aliases) if column else ():
        if each in have:
            return each
    raise DataError.missing_column("unit", f"assign, reading {name},", have)


def _clock(clock: str | None, have: Collection[str], name: str) -> str | None:
    if clock is not None and clock not in have:
        raise DataError.missing_column(clock, f"assign, reading {name},", have)
    return clock or ("assigned_at" if "assigned_at" in have else None)


def _ids(experiment: Experiment, ids: str | Path | None) -> Path:
    if ids is not None:
        return Path(ids)
    users = experiment.data.users if experiment.data else None
    if users is None or users.file is None:
        raise UpliftlabError(
            f"assign of experiment {experiment.name!r} needs a table of units; name one with "
            "--ids, or add data.users: {file: customers.parquet}."
        )
    return path_of(users.file, experiment.data.base if experiment.data else None)


def _target(experiment: Experiment, out: str | Path | None) -> tuple[Path, dict[str, str]]:
    """Say where to write, under which names: the plan's where it will read them again."""
    data = experiment.data
    planned = data.assignments if data else None
    base = data.base if data else None
    place = path_of(planned.file, base) if planned and planned.file else None
    if experiment.waves is not None:
        place = path_of(experiment.waves, base)
    found = Path(out) if out is not None else place or path_of(DEFAULT_NAME, base)
    same = place is not None and found.resolve() == place.resolve()
    return found, dict(planned.columns) if planned and same else {}


def _moment(experiment: Experiment, at: str | None) -> str:
    from upliftlab.plan.quantities import parse_date

    if at is not None:
        day = parse_date(at, "--at")
    elif experiment.run is not None:
        day = experiment.run.start
    else:
        owner = f"assign of experiment {experiment.name!r}"
        example = "{start: 2026-10-08, end: 2026-10-21}"
        raise DefinitionError.missing_key(owner, "run", example)
    return f"{day.isoformat()} 00:00:00"
