"""How does a data frame become a panel, without a detour through an engine?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DataError, nearest

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
) -> Panel:
    """Make a panel from a long data frame, one row per unit and period.

    Starts that are missing, 0 or infinite mean never; a start after the last period means not
    treated in the panel, one before the first means treated throughout. Periods are numbers or
    dates at equal distances. Unit-periods without a row are NaN.

    Args:
        frame: pandas.
        outcomes: Numeric columns, in the unit that effects shall have.
        unit: Column of ids.
        period: Column of periods.
        start: Column of the first treated period, one per unit.
        cluster: Column of clusters, one per unit.
        weight: Column of weights, one per unit.
        covariates: Numeric columns; the value in the unit's first row counts.

    Raises:
        DataError: For missing columns, repeated unit-periods, units with two starts or
            clusters, periods that are no numbers or dates or leave gaps, and outcomes that are
            no finite numbers.

    Examples:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"shop": [1, 1, 2, 2], "week": [1, 2, 1, 2],
        ...                      "cohort": [2, 2, 0, 0], "sales": [5.0, 9.0, 4.0, 4.0]})
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
    when, labels, numbers = _periods(frame[period], period)
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
    return Panel(
        y=y,
        names=names,
        periods=tuple(labels),
        start=_starts(frame[start], start, code, first, numbers),
        cluster=np.arange(count)
        if cluster is None
        else _units(_constant(frame[cluster], cluster, unit, code, first))[0],
        weight=np.ones(count)
        if weight is None
        else _constant(frame[weight], weight, unit, code, first).to_numpy(np.float64),
        x=np.column_stack([frame[c].to_numpy(np.float64)[first] for c in covariates])
        if covariates
        else np.empty((count, 0)),
        units=np.asarray(units, dtype=object),
        notes=_gaps(filled, count, length),
    )


def _units(keys: Any) -> tuple[Ints, Any]:  # noqa: ANN401
    """Number ids in their order; a column that is in order already needs no table of ids."""
    import pandas as pd

    values = keys.to_numpy()
    if values.dtype.kind in "iu":
        step = np.diff(values)
        if (step >= 0).all():
            starts = np.flatnonzero(np.concatenate([[True], step > 0]))
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


def _periods(column: Any, name: str) -> tuple[Ints, list[str], Floats]:  # noqa: ANN401
    """Positions of all rows, labels in order, and the labels as numbers."""
    import pandas as pd

    if column.isna().any():
        raise DataError.missing_values(
            name, "panel", rows=int(column.isna().sum()), of=len(column)
        )
    is_date = pd.api.types.is_datetime64_any_dtype(column)
    if not is_date and not pd.api.types.is_numeric_dtype(column):
        found = str(column.dtype)
        raise DataError.wrong_type(name, "panel", found=found, wanted="numbers or dates")
    code, values = _small_integers(column) or pd.factorize(column, sort=True)
    numbers = (
        np.asarray(values, dtype="datetime64[D]").astype(np.float64)
        if is_date
        else np.asarray(values, dtype=np.float64)
    )
    if not np.isfinite(numbers).all():
        raise DataError.unreadable_values(name, "panel", rows=1, wanted="finite periods")
    steps = np.diff(numbers)
    if len(steps) and not np.allclose(steps, steps[0], rtol=1e-6):
        months = is_date and steps.min() >= 28
        if not months:
            odd = int(np.flatnonzero(~np.isclose(steps, steps.min(), rtol=1e-6))[0])
            raise DataError(
                f"column {name!r} jumps from {_label(numbers[odd], is_date)} to "
                f"{_label(numbers[odd + 1], is_date)}; periods must be equally far apart: "
                "add the missing ones, or number the periods in order."
            )
    return code.astype(np.int64), [_label(n, is_date) for n in numbers], numbers


def _label(number: float, is_date: bool) -> str:  # noqa: FBT001
    if is_date:
        return str(np.datetime64(int(number), "D"))
    return str(int(number)) if float(number).is_integer() else str(float(number))


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


def _starts(column: Any, name: str, code: Ints, first: Ints, numbers: Floats) -> Ints:  # noqa: ANN401
    """Positions of the first treated periods."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        values = column.to_numpy().astype("datetime64[D]").astype(np.float64)
        values[column.isna().to_numpy()] = np.nan
    elif pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(np.float64, na_value=np.nan)
    else:
        hint = nearest(str(column.iloc[0]), ["0"])
        found = f"{column.dtype}{hint}"
        raise DataError.wrong_type(name, "panel", found=found, wanted="periods, or empty")
    values = np.where((values == 0) | ~np.isfinite(values), np.inf, values)
    own = values[first]
    several = np.unique(code[values != own[code]])
    if len(several):
        raise DataError(
            f"column {name!r} has several starts for {len(several)} of {len(own)} units; a "
            "treatment that is switched off and on again is a switchback, not a roll-out."
        )
    if (own < 0).any() and numbers.min() >= 0:
        raise DataError(
            f"column {name!r} has {int((own < 0).sum())} starts below 0; write 0 or nothing "
            "for never treated."
        )
    if pd.api.types.is_datetime64_any_dtype(column) and len(numbers) > 1:
        # A day belongs to the period that contains it, which then counts as treated.
        inside = np.searchsorted(numbers, own, side="right").astype(np.int64) - 1
        after = own >= numbers[-1] + (numbers[-1] - numbers[-2])
        return np.where(after, NEVER, np.maximum(inside, 0))
    at = np.searchsorted(numbers, own - 1e-9).astype(np.int64)
    return np.where(at >= len(numbers), NEVER, at)


def _gaps(filled: Ints, count: int, length: int) -> tuple[str, ...]:
    missing = filled.reshape(count, length) == 0
    units = int(missing.any(axis=1).sum())
    if not units:
        return ()
    cells = int(missing.sum())
    note = f"{cells:,} unit-periods of {units:,} units have no row; they are unknown, not zero"
    return (note,)
