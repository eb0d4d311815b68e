"""What did long windows and holdouts measure, read from one JSON file?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.errors import DataError
from upliftlab.review.long_run import lifetime_from_index, lifetime_measured, pull_forward
from upliftlab.stats.surrogate import surrogate_index

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from upliftlab.review.long_run import Lifetime, PullForward

_NEEDED = {
    "measured": ("name", "effects", "cov", "days", "units", "beyond"),
    "index": ("name", "history", "late", "horizon", "effects", "cov", "units", "beyond"),
    "pull_forward": ("name", "effects", "cov"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRun:
    """What lies beyond the headline windows; no part of any total.

    Attributes:
        lifetimes: Lifetime value of incremental customers, one per experiment or mechanism.
        pulled: Experiment -> what later quarters gave back.
    """

    lifetimes: tuple[Lifetime, ...] = ()
    pulled: tuple[tuple[str, PullForward], ...] = ()


def read_long_run(file: Path) -> LongRun:
    """Read long-run results: lists "measured", "index" and "pull_forward", all in minor units.

    A row of "measured" has name, effects per assigned unit in each stretch, their cov, the last
    day of each stretch, units, and beyond: the days that the headline counts. A row of "index"
    names a CSV of past units beside the file (``history``): ``effects`` maps its early columns
    to the experiment's effects on them, and ``late`` is its long-run column. A row of
    "pull_forward" has the effect of each quarter since assignment with their cov.

    Args:
        file: The JSON file.

    Raises:
        DataError: When the file, a key or a column is not there.
    """
    if not file.exists():
        raise DataError.missing_file(file.stem, str(file))
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"long-run file {str(file)!r} is no JSON object; write lists under some of "
            f"{sorted(_NEEDED)}."
        )
    rows = {kind: _checked(file, kind, found.pop(kind, [])) for kind in _NEEDED}
    if found:
        raise DataError(
            f"long-run file {str(file)!r} has {sorted(found)}; its lists are {sorted(_NEEDED)}."
        )
    return LongRun(
        lifetimes=(
            *(_measured(row) for row in rows["measured"]),
            *(_indexed(row, file.parent) for row in rows["index"]),
        ),
        pulled=tuple(
            (
                row["name"],
                pull_forward(row["effects"], row["cov"], names=row.get("quarters", ())),
            )
            for row in rows["pull_forward"]
        ),
    )


def _checked(file: Path, kind: str, rows: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    for row in rows:
        for key in _NEEDED[kind]:
            if key not in row:
                raise DataError.missing_column(key, f"{kind!r} in {file.name}", row.keys())
    return list(rows)


def _measured(row: Mapping[str, Any]) -> Lifetime:
    return lifetime_measured(
        row["name"],
        row["effects"],
        row["cov"],
        row["days"],
        units=row["units"],
        beyond=row["beyond"],
        rate=row.get("rate", 0.0),
    )


def _indexed(row: Mapping[str, Any], folder: Path) -> Lifetime:
    import numpy as np

    from upliftlab.data.files import text_rows

    history = text_rows(row["name"], str(folder / row["history"]))
    names = list(row["effects"])
    for column in (*names, row["late"]):
        if not history or column not in history[0]:
            have = history[0].keys() if history else ()
            raise DataError.missing_column(column, f"history {row['history']!r}", have)
    early = np.array([[float(past[name]) for name in names] for past in history])
    late = np.array([float(past[row["late"]]) for past in history])
    return lifetime_from_index(
        row["name"],
        surrogate_index(early, late, names, horizon=row["horizon"]),
        list(row["effects"].values()),
        row["cov"],
        units=row["units"],
        beyond=row["beyond"],
        rate=row.get("rate", 0.0),
    )
