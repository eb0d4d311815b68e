"""Which rates are in force for each wave in each period, in every arm?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from upliftlab import pricing
from upliftlab.data.panel_grain import DAYS, periods_of
from upliftlab.economics import MERCHANT
from upliftlab.errors import DataError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.economics import Economics, Line
    from upliftlab.experiment import Experiment
    from upliftlab.plan.dated_rates import DatedRates
    from upliftlab.plan.parts import Arm

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

TERMS = {"organic": "commission_organic", "ads": "commission_ads", "agency": "agency"}
"""Key of an arm -> cost line whose rate it is."""

AGREED = ("organic", "ads")
"""Keys that creator_terms hold, in the order of ``Panel.terms``."""

MARK = "~"
"""Between a component and the number of the tariff that a part of it belongs to."""

DATED = "rates change over time; each period is priced at the rates then in force"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tariffs:
    """Sets of rates, and which of them holds for each wave in each period.

    A tariff is one set of rates of all arms: what treated units are paid, and what they would
    have been paid. The same wave moves through several where rates change over time.

    Attributes:
        start: Starts of the waves, never included, shape [S].
        at: Tariff of each wave and period, shape [S, T]; before a wave is told, that in which
            it is told.
        rates: Tariff by tariff: cost line -> arm -> rate.
        uneven: Periods within which some rate changes.
    """

    start: Ints
    at: Ints
    rates: tuple[Mapping[str, Mapping[str, float]], ...]
    uneven: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many sets of rates there are; 1 where rates do not change."""
        return len(self.rates)

    def of_units(self, panel: Panel) -> Ints:
        """Tariff of each unit and period, shape [N, T]."""
        found: Ints = self.at[np.searchsorted(self.start, panel.start)]
        return found

    def at_cell(self, start: int, period: int) -> int:
        """Tariff of one wave in one period."""
        return int(self.at[int(np.searchsorted(self.start, start)), period])


def tariffs_of(experiment: Experiment, panel: Panel) -> Tariffs:
    """Find the rates of every arm for each wave and period: of the plan, else as agreed.

    A rate that changes within a period counts by the days for which it holds.

    Raises:
        DataError: When no rate is in force where one is needed, or creators of one wave were
            agreed different ones and the plan states none.
    """
    ahead = periods_of(experiment.announced, experiment.period)
    start = np.unique(panel.start)
    length = len(panel.periods)
    needed = _needed(start, length, ahead)
    grids: dict[tuple[str, str], Floats] = {}
    for key, line in TERMS.items():
        found = {
            arm.label: _grid(arm, key, experiment, panel, start) for arm in experiment.arms
        }
        if all(grid is not None for grid in found.values()):
            grids |= {(line, arm): grid for arm, grid in found.items() if grid is not None}
    for (line, arm), grid in grids.items():
        _refuse_gaps(grid, needed, arm, line, panel)
    if not grids:
        return Tariffs(
            start=start, at=np.zeros((len(start), length), dtype=np.int64), rates=({},)
        )
    stacked = np.stack(list(grids.values()), axis=2)
    cells = stacked[needed]
    _, first, code = np.unique(
        np.round(cells, 12), axis=0, return_index=True, return_inverse=True
    )
    order = np.argsort(first)
    at = np.zeros(needed.shape, dtype=np.int64)
    at[needed] = np.argsort(order)[code.reshape(-1)]
    for s in range(len(start)):
        told = np.flatnonzero(needed[s])
        if len(told):
            at[s, : told[0]] = at[s, told[0]]
    return Tariffs(
        start=start,
        at=at,
        rates=tuple(_named(cells[first[i]], list(grids)) for i in order),
        uneven=_uneven(experiment, panel),
    )


def economics_of(experiment: Experiment, panel: Panel, tariffs: Tariffs) -> Economics:
    """Price the components by the plan's costs and the rates of its arms.

    Where rates change over time, the lines that they belong to hang on parts of their
    components, one for each tariff.
    """
    contact = {
        arm.label: float(arm.contact.minor)
        for arm in experiment.arms
        if arm.contact is not None
    }
    built = pricing.build(
        experiment.costs,
        components=panel.names,
        contact=contact,
        terms=tariffs.rates[0],
    )
    if tariffs.count == 1:
        return built
    return replace(built, lines=tuple(_dated(line, tariffs) for line in built.lines))


def in_tariff(economics: Economics, tariff: int) -> Economics:
    """Prices of one tariff on whole components.

    Examples:
        >>> from upliftlab.economics import Economics, Line
        >>> line = Line(name="commission_ads", label="", stage="settlement",
        ...             flows={"merchant": {"kept_creator_ads~0": -0.2,
        ...                                 "kept_creator_ads~1": -0.1}})
        >>> in_tariff(Economics(lines=(line,)), 1).price("merchant", "a")
        {'kept_creator_ads': -0.1}
    """

    def whole(flows: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
        return {
            party: {
                part_of(name)[0]: rate
                for name, rate in terms.items()
                if part_of(name)[1] in {None, tariff}
            }
            for party, terms in flows.items()
        }

    lines = tuple(
        replace(
            line,
            flows=whole(line.flows),
            by_arm={arm: whole(flows) for arm, flows in line.by_arm.items()},
        )
        for line in economics.lines
    )
    return replace(economics, lines=lines)


def part_of(name: str) -> tuple[str, int | None]:
    """Split the name of a component's part into component and tariff.

    Examples:
        >>> part_of("kept_creator_ads~2"), part_of("kept_shelf")
        (('kept_creator_ads', 2), ('kept_shelf', None))
    """
    base, mark, tariff = name.partition(MARK)
    return (base, int(tariff)) if mark else (base, None)


def agreed_grid(panel: Panel, key: str, start: Ints, *, is_control: bool) -> Floats | None:
    """One agreed rate by wave and period; None where nobody agreed any.

    Control is what units that have not switched were agreed in the period; where everybody has
    switched, the last of them.
    """
    if panel.terms is None or key not in AGREED:
        return None
    rate = panel.terms[:, :, AGREED.index(key)]
    length = len(panel.periods)
    on = np.arange(length)[None, :] >= panel.start[:, None]
    if is_control:
        row = _one_rate(np.where(on, np.nan, rate), panel, key)
        for t in range(1, length):
            row[t] = row[t - 1] if (on[:, t]).all() else row[t]
        return np.tile(row, (len(start), 1))
    out = np.full((len(start), length), np.nan)
    for s, opened in enumerate(start):
        own = panel.start == opened
        out[s] = _one_rate(np.where(own[:, None] & on, rate, np.nan), panel, key)
        if 0 < opened < length:
            out[s, :opened] = out[s, opened]
    return out


def planned_grid(
    arm: Arm, key: str, experiment: Experiment, panel: Panel, start: Ints
) -> Floats | None:
    """One rate of the plan by wave and period; NaN where none is in force, None if unstated."""
    told = arm.told(key)
    if told is None:
        return None
    shape = (len(start), len(panel.periods))
    if not isinstance(told, tuple):
        return np.full(shape, float(told))
    days = DAYS[experiment.period or "day"]
    rows = [row for row in arm.rates or () if getattr(row, key) is not None]
    if any(row.after is not None for row in rows):
        since = (np.arange(shape[1])[None, :] - np.minimum(start, shape[1])[:, None]) * days
        return _averaged(rows, key, since, days)
    opened = np.array([_day(label) for label in panel.periods])
    return np.tile(_averaged(rows, key, opened, days), (shape[0], 1))


def _grid(
    arm: Arm, key: str, experiment: Experiment, panel: Panel, start: Ints
) -> Floats | None:
    planned = planned_grid(arm, key, experiment, panel, start)
    if planned is not None or panel.terms is None or key not in AGREED:
        return planned
    if len(experiment.treatments) > 1:
        raise DefinitionError(
            f"arms.{arm.label} has no {key} rate; a plan with several changes states the rates "
            "of each arm, since creator_terms do not name arms."
        )
    return agreed_grid(panel, key, start, is_control=arm.control)


def _averaged(rows: Sequence[DatedRates], key: str, opened: Ints, days: int) -> Floats:
    """Rates averaged over the days of each period, NaN where some day has none."""
    found, covered = np.zeros(opened.shape), np.zeros(opened.shape)
    for row, (first, end) in zip(rows, _spans(rows), strict=True):
        held = np.minimum(end, opened + days) - np.maximum(first, opened)
        share = np.maximum(held, 0.0) / days
        covered += share
        found += np.where(share > 0, share, 0.0) * float(getattr(row, key))
    found[covered < 1 - 1e-9] = np.nan
    return found


def _spans(rows: Sequence[DatedRates]) -> Iterator[tuple[float, float]]:
    """First day of each row, and the day before which it ends."""
    opens = [
        float(row.after) if row.after is not None else _ordinal(row.start, -np.inf)
        for row in rows
    ]
    opens[0] = -np.inf if rows[0].after is not None else opens[0]
    for (first, then), row in zip(pairwise([*opens, np.inf]), rows, strict=True):
        yield first, min(then, _ordinal(row.end, np.inf) + 1)


def _ordinal(day: date | None, otherwise: float) -> float:
    return otherwise if day is None else float(day.toordinal())


def _day(label: str) -> int:
    try:
        return date.fromisoformat(label).toordinal()
    except ValueError:
        raise DataError(
            f"rates of the plan hold from day to day, and the panel's periods are no dates, "
            f"such as {label!r}; write after and a time since the change, or give dates."
        ) from None


def _needed(start: Ints, length: int, ahead: int) -> NDArray[np.bool_]:
    """Waves and periods that effects and what was announced are priced in, shape [S, T]."""
    t = np.arange(length)[None, :]
    opened = start[:, None]
    needed: NDArray[np.bool_] = (opened > 0) & (opened < length) & (t >= opened - ahead)
    if not needed.any():
        needed[0, -1] = True
    return needed


def _refuse_gaps(
    grid: Floats, needed: NDArray[np.bool_], arm: str, line: str, panel: Panel
) -> None:
    lost = np.isnan(grid) & needed
    if lost.any():
        t = int(np.argwhere(lost.any(axis=0))[0, 0])
        key = next(key for key, name in TERMS.items() if name == line)
        raise DataError(
            f"arm {arm!r} has no {key} rate in force throughout the period that begins on "
            f"{panel.periods[t]}; rates must hold without a gap while waves are followed."
        )


def _one_rate(rate: Floats, panel: Panel, key: str) -> Floats:
    """The rate that all units share in each period, NaN where one has none."""
    seen = ~np.isnan(rate)
    low = np.where(seen, rate, np.inf).min(axis=0)
    high = np.where(seen, rate, -np.inf).max(axis=0)
    apart = np.flatnonzero(high - low > 1e-9)
    if len(apart):
        t = int(apart[0])
        one, other = (int(np.flatnonzero(rate[:, t] == end[t])[0]) for end in (low, high))
        raise DataError(
            f"creator_terms give {str(panel.units[one])!r} {100 * low[t]:g}% and "
            f"{str(panel.units[other])!r} {100 * high[t]:g}% as {key} rate in "
            f"{panel.periods[t]}, in one arm of one wave; state the rates of the arms in the "
            "plan, or give commission as booked."
        )
    return np.where(np.isfinite(low), low, np.nan)


def _named(cell: Floats, keys: list[tuple[str, str]]) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    for (line, arm), rate in zip(keys, cell, strict=True):
        out.setdefault(line, {})[arm] = float(rate)
    return out


def _dated(line: Line, tariffs: Tariffs) -> Line:
    """Charge the parts of a line's components at the rates of their tariffs."""
    own = [rates.get(line.name) for rates in tariffs.rates]
    first = own[0]
    if first is None or all(rates == first for rates in own):
        return line
    by_arm = {
        arm: {
            party: {
                f"{base}{MARK}{j}": (-1 if party == MERCHANT else 1) * rates[arm]
                for base in terms
                for j, rates in enumerate(own)
                if rates is not None
            }
            for party, terms in flows.items()
        }
        for arm, flows in line.by_arm.items()
    }
    return replace(line, by_arm=by_arm, note=DATED)


def _uneven(experiment: Experiment, panel: Panel) -> tuple[str, ...]:
    """Periods within which a rate of the plan changes."""
    days = DAYS[experiment.period or "day"]
    turns = {
        row.start.toordinal()
        for arm in experiment.arms
        for row in arm.rates or ()
        if row.start is not None
    }
    if not turns or days == 1:
        return ()
    return tuple(
        label for label in panel.periods if any(0 < turn - _day(label) < days for turn in turns)
    )


__all__ = [
    "AGREED",
    "DATED",
    "TERMS",
    "Tariffs",
    "agreed_grid",
    "economics_of",
    "in_tariff",
    "part_of",
    "planned_grid",
    "tariffs_of",
]
