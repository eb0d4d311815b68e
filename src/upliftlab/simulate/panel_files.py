"""How does a simulated panel look as files that appear only when complete?"""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.data.panel import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel


def panel_rows(
    panel: Panel,
    *,
    unit: str,
    period: str,
    cluster: tuple[str, Sequence[str]] | None = None,
    switched: tuple[str, NDArray[np.bool_]] | None = None,
) -> pa.Table:
    """Return one row per unit and period; money and counts as whole numbers.

    Periods without any component have no row. ``starts_on`` is the first treated period, null
    for never.

    Args:
        panel: Its periods are ISO dates.
        unit: Name of the column of the unit's id.
        period: Name of the column of the period.
        cluster: Name of the column of the cluster, and the name of each cluster.
        switched: Instead of ``starts_on``, a column that says who is on when, shape [N, T].

    Examples:
        >>> from upliftlab.data.panel import Panel
        >>> panel = Panel.of_arrays([[1.0, 2.4]], [1], periods=["2026-05-25", "2026-06-01"])
        >>> rows = panel_rows(panel, unit="shop", period="week")
        >>> rows.column_names, rows["y"].to_pylist()
        (['shop', 'week', 'starts_on', 'y'], [1, 2])
    """
    import pyarrow as pa

    weeks = len(panel.periods)
    seen = ~np.isnan(panel.y).all(axis=2)
    at_unit, at_period = np.nonzero(seen)
    days = pa.array(panel.periods, pa.string()).cast(pa.date32())
    columns: dict[str, Any] = {
        unit: pa.array(panel.units.astype(str)).take(pa.array(at_unit)),
        period: days.take(pa.array(at_period)),
    }
    if cluster is not None:
        name, labels = cluster
        columns[name] = pa.array(labels).take(pa.array(panel.cluster[at_unit]))
    if switched is not None:
        columns[switched[0]] = switched[1][seen].astype(np.int64)
    else:
        unknown = (panel.start >= weeks)[at_unit]
        first = np.where(unknown, 0, panel.start[at_unit])
        columns["starts_on"] = days.take(pa.array(first, mask=unknown))
    values = np.rint(panel.y[seen])
    for place, name in enumerate(panel.names):
        missing = np.isnan(values[:, place])
        whole = np.where(missing, 0, values[:, place]).astype(np.int64)
        columns[name] = pa.array(whole, mask=missing)
    return pa.table(columns)


def write_waves(place: Path, panel: Panel, labels: Sequence[str], codes: Iterable[int]) -> None:
    """Write ``cluster, starts_on`` with one row per cluster; empty means never.

    Args:
        place: The file.
        panel: Its units of one cluster start together.
        labels: Name of each cluster.
        codes: Cluster of each unit.
    """
    starts = dict(zip(codes, panel.start.tolist(), strict=True))
    with place.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("cluster", "starts_on"))
        for code in sorted(starts):
            never = starts[code] == NEVER
            rows.writerow((labels[code], "" if never else panel.periods[starts[code]]))


def write_whole(folder: Path | str, fill: Callable[[Path], None]) -> Path:
    """Fill a new folder and put it in the place of an older one; nobody sees it half full.

    Args:
        folder: Where the files go.
        fill: Writes them into the folder that it is given.

    Returns:
        The folder.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".simulating-", dir=folder.parent) as place:
        new, old = Path(place) / "new", Path(place) / "old"
        new.mkdir()
        fill(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    return folder


def write_truth(folder: Path, found: Mapping[str, Any]) -> None:
    """Write ``truth.json`` with numbers that do not exist as null."""
    text = json.dumps(found, indent=1, allow_nan=False)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8")
