"""How does a data frame become a panel, without a detour through an engine?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.data.panel import Panel
from upliftlab.data.panel_calendar import DATED, EMPTY, Calendar, calendar_of, starts_of
from upliftlab.errors import DataError

BLOCK = 8192
"""Rows whose outcomes are laid side by side at once."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def panel_of_frame(
    frame: Any,  # noqa: ANN401 - pandas, imported where used
    outcomes: str | Sequence[str],
    *,
    unit: str,
    period: str,
    start: str,
    cluster: str | None = None,
    weight: str | None = None,
    covariates: Sequence[str] = (),
    announced: int = 0,
) -> Panel:
    """Make a panel from a long data frame, one row per unit and period.

    Periods and starts are read by the rules of ``panel_calendar``, as all panels are. A
    unit-period without a row is NaN.

    Args:
        frame: pandas.
        outcomes: Numeric columns, in the unit that effects shall have.
        unit: Column of ids.
        period: Column of periods.
        start: Column of the first treated period, one per unit.
        cluster: Column of clusters, one per unit.
        weight: Column of weights, one per unit.
        covariates: Numeric columns; the value in the unit's first row counts.
        announced: Periods before its start in which a unit knows of it.

    Raises:
        DataError: For missing columns, repeated unit-periods, units with two starts or
            clusters, periods that are no numbers or dates or leave gaps, and outcomes that are
            no finite numbers.

    Examples:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"shop": [1, 1, 2, 2], "week": [1, 2, 1, 2],
        ...                      "cohort": [2, 2, 0, 0], "sales": [5.0, 9.0, 4.0, 4.0]})
        >>> from upliftlab.data.panel import NEVER
        >>> panel = panel_of_frame(rows, "sales", unit="shop", period="week", start="cohort")
        >>> panel.y[:, :, 0].tolist(), panel.start.tolist() == [1, NEVER]
        ([[5.0, 9.0], [4.0, 4.0]], True)
    """
    names = (outcomes,) if isinstance(outcomes, str) else tuple(outcomes)
    wanted = [unit, period, start, *names, *covariates, *filter(None, (cluster, weight))]
    for column in wanted:
        if column not in frame.columns:
            have = [str(c) for c in frame.columns]
            raise DataError.missing_column(column, "the panel", have)
    if not len(frame):
        raise DataError("the panel has no rows.")
    keys = frame[unit]
    if keys.isna().any():
        blank = int(keys.isna().sum())
        raise DataError.missing_values(unit, "panel", rows=blank, of=len(frame))
    when, calendar = _calendar(frame[period], period)
    labels = calendar.labels
    code, units = _units(keys)
    count, length = len(units), len(labels)
    slot = code * length + when
    filled = np.bincount(slot, minlength=count * length)
    if (filled > 1).any():
        row = int(np.flatnonzero(filled > 1)[0])
        raise DataError.repeated(
            f"({unit}, {period})",
            "panel",
            rows=int((filled - 1).clip(min=0).sum()),
            example=f"{units[row // length]}, {labels[row % length]}",
        )
    y = _outcomes(frame, names, slot, count, length)
    first = np.empty(count, dtype=np.int64)
    first[code[::-1]] = np.arange(len(frame))[::-1]
    begins, notes = _starts(frame[start], start, code, first, calendar, announced=announced)
    return Panel(
        y=y,
        names=names,
        periods=labels,
        start=begins,
        cluster=np.arange(count)
        if cluster is None
        else _units(_constant(frame[cluster], cluster, unit, code, first))[0],
        weight=np.ones(count)
        if weight is None
        else _weights(_constant(frame[weight], weight, unit, code, first), weight),
        x=np.column_stack([_numbers(frame[c].iloc[first], c) for c in covariates])
        if covariates
        else np.empty((count, 0)),
        units=np.asarray(units, dtype=object),
        notes=(*notes, *_gaps(filled, count, length)),
    )


def _units(keys: Any) -> tuple[Ints, Any]:  # noqa: ANN401
    """Number ids in their order; a column that is in order already needs no table of ids."""
    import pandas as pd

    values = keys.to_numpy()
    if values.dtype.kind in "iu" and (values[1:] >= values[:-1]).all():
        starts = np.flatnonzero(np.concatenate([[True], values[1:] > values[:-1]]))
        code = np.repeat(np.arange(len(starts)), np.diff([*starts, len(values)]))
        return code.astype(np.int64), values[starts]
    code, units = pd.factorize(keys, sort=True)
    return code.astype(np.int64), units


def _small_integers(column: Any) -> tuple[Ints, Ints] | None:  # noqa: ANN401
    """Positions and values of whole numbers within a short range; None for others."""
    values = column.to_numpy()
    if values.dtype.kind not in "iu":
        return None
    low = int(values.min())
    if int(values.max()) - low > 10_000:
        return None
    at = (values - low).astype(np.int64)
    present = np.flatnonzero(np.bincount(at))
    place = np.zeros(int(present[-1]) + 1, dtype=np.int64)
    place[present] = np.arange(len(present))
    return place[at], present + low


def _calendar(column: Any, name: str) -> tuple[Ints, Calendar]:  # noqa: ANN401
    """Positions of all rows, and the periods that they are positions of."""
    import pandas as pd

    if column.isna().any():
        blank = int(column.isna().sum())
        raise DataError.missing_values(name, "panel", rows=blank, of=len(column))
    if not _is_dated(column) and not pd.api.types.is_numeric_dtype(column):
        found = str(column.dtype)
        raise DataError.wrong_type(name, "panel", found=found, wanted="numbers or dates")
    code, values = _small_integers(column) or pd.factorize(column, sort=True)
    numbers = _as_numbers(pd.Series(values), name)
    if not np.isfinite(numbers).all():
        raise DataError.unreadable_values(name, "panel", rows=1, wanted="finite periods")
    dated = _is_dated(column)
    calendar = calendar_of(numbers.tolist(), column=name, kind=None, dated=dated, filled=False)
    position = calendar.at
    return position[np.asarray(code, dtype=np.int64)], calendar


def _is_dated(column: Any) -> bool:  # noqa: ANN401
    import pandas as pd

    return bool(pd.api.types.is_datetime64_any_dtype(column))


def _as_numbers(column: Any, name: str) -> Floats:  # noqa: ANN401
    """Numbers as they are, dates as days since 1970 on their own clock; NaN for empty ones."""
    if not _is_dated(column):
        numbers: Floats = column.to_numpy(np.float64, na_value=np.nan)
        return numbers
    wall = column.dt.tz_localize(None)
    within = int((wall.dropna() != wall.dropna().dt.normalize()).sum())
    if within:
        raise DataError(
            f"column {name!r} has times within a day, such as {wall.dropna().iloc[-1]}; "
            "periods are days or longer: number shorter ones in order."
        )
    days: Floats = wall.to_numpy().astype("datetime64[D]").astype(np.float64)
    days[wall.isna().to_numpy()] = np.nan
    return days


def _outcomes(
    frame: Any,  # noqa: ANN401
    names: tuple[str, ...],
    slot: Ints,
    count: int,
    length: int,
) -> Floats:
    columns = [_numbers(frame[name], name) for name in names]
    whole = len(slot) == count * length
    y: Floats = np.empty((count * length, len(names)))
    if whole and bool((slot[1:] > slot[:-1]).all()):
        # Rows of one block stay in cache while their columns are laid side by side.
        for first in range(0, len(slot), BLOCK):
            rows = slice(first, first + BLOCK)
            for k, values in enumerate(columns):
                y[rows, k] = values[rows]
    else:
        if not whole:
            y[:] = np.nan
        for k, values in enumerate(columns):
            y[slot, k] = values
    return y.reshape(count, length, len(names))


def _numbers(column: Any, name: str) -> Floats:  # noqa: ANN401
    """One outcome, refused where it is no finite number."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column):
        raise DataError.wrong_type(name, "panel", found=str(column.dtype), wanted="a number")
    values: Floats = column.to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        bad = 0 if np.isfinite(values.sum()) else int((~np.isfinite(values)).sum())
    if bad:
        raise DataError.unreadable_values(name, "panel", rows=bad, wanted="finite numbers")
    return values


def _constant(column: Any, name: str, unit: str, code: Ints, first: Ints) -> Any:  # noqa: ANN401
    """The value of each unit, which must be one and known."""
    own = column.iloc[first]
    if own.isna().any():
        raise DataError.missing_values(name, "panel", rows=int(own.isna().sum()), of=len(own))
    differs = column.to_numpy() != own.to_numpy()[code]
    if differs.any():
        raise DataError(
            f"column {name!r} has several values for {len(np.unique(code[differs]))} of "
            f"{len(own)} {unit}s; it must be one per {unit}, as it was before treatment."
        )
    return own


def _weights(column: Any, name: str) -> Floats:  # noqa: ANN401
    values = _numbers(column, name)
    light = int((values <= 0).sum())
    if light:
        raise DataError(
            f"column {name!r} weighs {light} of {len(values)} units by 0 or less; give each "
            "unit a weight above 0, or leave it out."
        )
    return values


def _starts(
    column: Any,  # noqa: ANN401
    name: str,
    code: Ints,
    first: Ints,
    calendar: Calendar,
    *,
    announced: int,
) -> tuple[Ints, tuple[str, ...]]:
    """Positions of the first treated periods, and what was decided on the way."""
    import pandas as pd

    dated = calendar.kind in DATED
    wanted = "dates, as the periods are" if dated else "periods, or empty"
    if not column.isna().all() and (
        _is_dated(column) != dated or not (dated or pd.api.types.is_numeric_dtype(column))
    ):
        raise DataError.wrong_type(name, "panel", found=str(column.dtype), wanted=wanted)
    values = (
        _as_numbers(column, name)
        if dated
        else pd.to_numeric(column).to_numpy(np.float64, na_value=np.nan)
    )
    never = ~np.isfinite(values) | ((values == 0) & (not dated))
    told = np.where(never, np.inf, values)
    several = np.unique(code[told != told[first][code]])
    if len(several):
        raise DataError(
            f"column {name!r} has several starts for {len(several)} of {len(first)} units; a "
            "treatment that is switched off and on again is a switchback, not a roll-out."
        )
    own = np.where(np.isnan(values), EMPTY, np.where(np.isinf(values), np.inf, values))[first]
    kinds, which, count = np.unique(own, return_inverse=True, return_counts=True)
    rows = {float(start): int(n) for start, n in zip(kinds, count, strict=True)}
    placed, notes = starts_of(rows, calendar, column=name, label="units", announced=announced)
    return np.array([placed[float(start)] for start in kinds], dtype=np.int64)[which], notes


def _gaps(filled: Ints, count: int, length: int) -> tuple[str, ...]:
    missing = filled.reshape(count, length) == 0
    units = int(missing.any(axis=1).sum())
    if not units:
        return ()
    cells = int(missing.sum())
    note = f"{cells:,} unit-periods of {units:,} units have no row; they are unknown, not zero"
    return (note,)
