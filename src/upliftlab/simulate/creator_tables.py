"""How does the simulated change of commission look in the merchant's tables?"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.simulate.creator_orders import creator_orders, order_schemas
from upliftlab.simulate.creator_truth import creator_truth
from upliftlab.simulate.dual_commission import COMPONENTS, creator_panel, draw_creators
from upliftlab.simulate.panel_files import panel_rows, write_truth, write_waves, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from upliftlab.data.panel import Panel
    from upliftlab.simulate.creator_settings import DualCommission
    from upliftlab.simulate.dual_commission import CreatorDraw


def write_creators(
    settings: DualCommission,
    folder: Path | str,
    *,
    orders: bool = False,
    drop_inactive: bool = False,
) -> Path:
    """Write one panel of creators as files, with its truth beside it.

    ``creator_week.parquet`` (one row per creator and Monday, money in whole fen),
    ``waves.csv`` (who starts when; the cluster is the creator where creators are drawn),
    ``creator_terms.parquet`` (rates with the days from and before which they hold) and
    ``truth.json``. The folder appears only when complete and is the same to the byte for the
    same settings.

    Args:
        settings: The world to draw.
        folder: Where the files go.
        orders: Whether ``order_lines``, ``refunds`` and ``ad_spend`` are written too: about
            300 lines per creator-week, so for small panels.
        drop_inactive: Whether creator-weeks without a post have no row; their sales are lost
            from the panel, which is the trap.

    Returns:
        The folder.
    """
    drawn = draw_creators(settings)

    def fill(place: Path) -> None:
        _fill(drawn, place, drop_inactive=drop_inactive)
        if orders:
            _write_orders(drawn, place)

    return write_whole(folder, fill)


def creator_terms(drawn: CreatorDraw) -> pa.Table:
    """Return the rates of every creator over time: one row per rate that ever held.

    ``valid_to`` is the first day on which a row holds no longer, null while it holds.

    Examples:
        >>> from upliftlab.simulate.creator_settings import creator_preset
        >>> drawn = draw_creators(creator_preset("A", clusters=4, creators=2))
        >>> creator_terms(drawn).num_rows
        14
    """
    import pyarrow as pa

    settings = drawn.settings
    rates, change = settings.rates, settings.scenario
    before, after = (rates.organic_bp, rates.ads_bp), (change.organic_bp, change.ads_bp)
    rows: list[tuple[str, date, date | None, int, int]] = []
    for place, start in enumerate(drawn.start.tolist()):
        name, opened = f"creator_{place:04d}", settings.first_week
        if start == NEVER:
            rows.append((name, opened, None, *before))
            continue
        changed = opened + timedelta(weeks=start)
        rows += [(name, opened, changed, *before), (name, changed, None, *after)]
    kinds = (pa.string(), pa.date32(), pa.date32(), pa.int32(), pa.int32())
    names = ("creator_id", "valid_from", "valid_to", "organic_bp", "ads_bp")
    columns: dict[str, Any] = {
        name: pa.array(values, kind)
        for name, kind, values in zip(names, kinds, zip(*rows, strict=True), strict=True)
    }
    columns["agency_bp"] = pa.array([rates.agency_bp] * len(rows), pa.int32())
    return pa.table(columns)


def _fill(drawn: CreatorDraw, place: Path, *, drop_inactive: bool) -> None:
    import pyarrow.parquet as pq

    settings = drawn.settings
    panel = creator_panel(drawn, whole=True)
    labels = [f"mcn_{code:03d}" for code in range(settings.clusters)]
    if settings.by == "cluster":
        write_waves(place / "waves.csv", panel, labels, panel.cluster.tolist())
    else:
        write_waves(place / "waves.csv", panel, panel.units.tolist(), range(panel.shape[0]))
    if drop_inactive:
        panel = _without_inactive(panel)
    rows = panel_rows(panel, unit="creator_id", period="week", cluster=("cluster", labels))
    pq.write_table(rows, place / "creator_week.parquet", compression="zstd")
    pq.write_table(creator_terms(drawn), place / "creator_terms.parquet", compression="zstd")
    write_truth(place, creator_truth(drawn).to_dict())


def _without_inactive(panel: Panel) -> Panel:
    active = panel.y[:, :, COMPONENTS.index("creators_active")] > 0
    return replace(panel, y=np.where(active[:, :, None], panel.y, np.nan))


def _write_orders(drawn: CreatorDraw, place: Path) -> None:
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                pq.ParquetWriter(place / f"{name}.parquet", schema, compression="zstd")
            )
            for name, schema in order_schemas().items()
        }
        for group in range(drawn.settings.clusters):
            for name, table in creator_orders(drawn, group).items():
                writers[name].write_table(table)
