"""Which rates were agreed with each creator in each period?"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.creator_terms import read_terms
from upliftlab.data.panel_calendar import EPOCH
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import ibis
    from numpy.typing import NDArray

    from upliftlab.data.engine import Engine
    from upliftlab.data.panel import Panel
    from upliftlab.data.tables import Reading

    Floats = NDArray[np.float64]

DAY = 86_400
BP = 10_000


def terms_of(
    engine: Engine,
    raw: ibis.Table,
    columns: Mapping[str, str],
    how: Reading,
    panel: Panel,
    *,
    days: int,
) -> tuple[Floats, tuple[str, ...]]:
    """Lay agreed rates out by unit and period.

    Where terms change within a period, its rate is the average over its time, which is exact
    for sales that are even over the period. Terms of single products are left out and counted:
    a panel has no products.

    Args:
        engine: Where rows live.
        raw: Terms as they are.
        columns: Our column -> theirs.
        how: How dates are read.
        panel: Units and periods.
        days: Length of a period.

    Returns:
        Organic and ads rate as shares, shape [N, T, 2], NaN where none is in force throughout
        the period; and what was counted on the way.

    Raises:
        DataError: For terms that overlap, or periods that are no days.
    """
    opened = _opened(panel)
    table = read_terms(engine, raw, columns, how)
    rows = engine.fetch(
        table.select("unit", "product_id", "valid_from", "valid_to", "organic_bp", "ads_bp")
    )
    general = rows.column("product_id").is_null().to_numpy()
    unit = rows.column("unit").to_pylist()
    place = {str(name): i for i, name in enumerate(panel.units)}
    at = np.array([place.get(str(name), -1) for name in unit], dtype=np.int64)
    use = general & (at >= 0)
    first, end, organic, ads = (
        np.asarray(rows.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)[use]
        for name in ("valid_from", "valid_to", "organic_bp", "ads_bp")
    )
    ads = np.where(np.isnan(ads), organic, ads)
    begins = opened * DAY - how.offset
    share = _overlap(first, end, begins, begins + days * DAY) / (days * DAY)
    found = np.zeros((len(panel.units), len(opened), 2))
    covered = np.zeros(found.shape[:2])
    np.add.at(covered, at[use], share)
    for k, rate in enumerate((organic, ads)):
        np.add.at(found[:, :, k], at[use], share * rate[:, None] / BP)
    found[covered < 1 - 1e-9] = np.nan
    special = int((~general).sum())
    notes = (
        (f"{special:,} terms of single products are left out: a panel has no products",)
        if special
        else ()
    )
    return found, notes


def _opened(panel: Panel) -> Floats:
    """First day of every period, counted from 1970-01-01."""
    try:
        opened = [date.fromisoformat(label) for label in panel.periods]
    except ValueError:
        raise DataError(
            "creator_terms hold from day to day, and the panel's periods are no dates, such as "
            f"{panel.periods[0]!r}; leave creator_terms out, or give dates."
        ) from None
    return np.array([(day - EPOCH).days for day in opened], dtype=np.float64)


def _overlap(first: Floats, end: Floats, begins: Floats, ends: Floats) -> Floats:
    """Seconds that each row of terms shares with each period, shape [rows, T]."""
    together = np.minimum(end[:, None], ends) - np.maximum(first[:, None], begins)
    shared: Floats = np.maximum(together, 0.0)
    return shared
