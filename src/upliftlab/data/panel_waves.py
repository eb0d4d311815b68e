"""How did the plan draw the clusters of a panel into waves, and does the table agree?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.assignment.lists import drawn
from upliftlab.assignment.recipe import recipe_of
from upliftlab.assignment.waves import DrawnWaves
from upliftlab.data.contracts import Column
from upliftlab.errors import DesignError
from upliftlab.plan.assign import NEVER

if TYPE_CHECKING:
    import ibis

    from upliftlab.assignment.recipe import Recipe
    from upliftlab.data.engine import Engine
    from upliftlab.experiment import Experiment


def balanced_columns(experiment: Experiment) -> tuple[Column, ...]:
    """Columns of the table of waves that a balanced draw is told by."""
    assign = experiment.assign
    return tuple(
        Column(name=name, kind="number", may_be_negative=True)
        for name in (assign.balance if assign else ())
    )


def drawn_waves(
    engine: Engine, waves: ibis.Table | None, experiment: Experiment
) -> DrawnWaves | None:
    """Draw the list again as the plan does, and hold it against the table of waves.

    Args:
        engine: Where the table lives.
        waves: ``cluster`` and ``starts_on``, and as the plan draws ``stratum`` and the columns
            to balance; None where the panel itself says who starts when.
        experiment: The plan.

    Returns:
        The draw, or why it cannot be told; None where the plan draws no waves.
    """
    if experiment.assign is None or not experiment.assign.waves:
        return None
    recipe = recipe_of(experiment)
    words = words_of(recipe)
    needed = [*(["stratum"] if recipe.strata else []), *recipe.balance]
    have = () if waves is None else waves.columns
    lost = [name for name in needed if name not in have]
    if waves is None or lost:
        return DrawnWaves(drawn=None, words=words, why=_lacks(lost)) if lost else None
    rows = engine.rows(waves.select("cluster", "starts_on", *needed))
    found = {str(row["cluster"]): row for row in rows}
    names = sorted(found)
    try:
        again = drawn(
            names,
            recipe.shares,
            salt=recipe.salt,
            strata=[str(found[n]["stratum"]) for n in names] if recipe.strata else None,
            balance=np.array(
                [[found[n][c] for c in recipe.balance] for n in names], dtype=float
            )
            if recipe.balance
            else None,
            keep=float(recipe.keep),
        )
    except DesignError as error:
        return DrawnWaves(drawn=None, words=words, why=str(error))
    moved = tuple(
        name
        for name, label in zip(names, again.found, strict=True)
        if _label(found[name]["starts_on"]) != label
    )
    return DrawnWaves(drawn=again, words=words, moved=moved)


def words_of(recipe: Recipe) -> str:
    """Say how a list is drawn.

    Examples:
        >>> from upliftlab.assignment.recipe import _example
        >>> words_of(_example())
        'drawn as a list'
    """
    words = "drawn as a list"
    words += f" within {' and '.join(recipe.strata)}" if recipe.strata else ""
    return words + (f", balanced on {' and '.join(recipe.balance)}" if recipe.balance else "")


def _lacks(lost: list[str]) -> str:
    columns = " and ".join(lost)
    return f"the table of waves has no {columns}, which the plan draws by"


def _label(starts_on: object) -> str:
    """The plan's word for a start: its day, or never."""
    text = "" if starts_on is None else str(starts_on).strip()
    return NEVER if text in {"", "NaT", "nan", "None"} else text[:10]
