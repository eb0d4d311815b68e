"""Which assignment days are read at this look: those that closed, and those that changed?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from upliftlab.data.look_files import by_day, moved
from upliftlab.data.looks import amounts, read_days, spend_of
from upliftlab.monitor import refusals
from upliftlab.monitor.answer import OVER
from upliftlab.monitor.measured import economics_of, prices_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from upliftlab.data.look_files import Moved
    from upliftlab.data.look_sources import LookSources
    from upliftlab.data.looks import Fresh, PowerSums
    from upliftlab.experiment import Experiment
    from upliftlab.monitor.rules import Rules
    from upliftlab.monitor.state import State

EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What came or went of days that were known at the last look.

    Attributes:
        late: Source -> rows that came, of customers who had been read.
        again: Assignment days whose customers they concern.
        lost: Such days that cannot be read again, for other rows of theirs went.
        gone: Source -> day -> rows that went.
        read: Assignment days that earlier looks read.
        assigned_from: First day whose assignments must be counted again; None for none.
    """

    late: Mapping[str, int] = field(default_factory=dict)
    again: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    gone: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    read: range = range(0)
    assigned_from: int | None = None


def read_new(
    experiment: Experiment,
    rules: Rules,
    sources: LookSources,
    state: State,
    as_of: date | None,
) -> tuple[State, bool]:
    """Add the days that closed since the last look; say whether this is a new look.

    Days whose customers have new rows are taken out and read again, so that looks added up
    equal one reading of everything.

    Raises:
        DesignError: For a look before the last one, or after the end.
        DataError: When nobody can tell up to when the data speak.
    """
    if as_of is not None and state.as_of == day_number(as_of) + 1:
        return state, False
    sources = sources.counting(state.pieces)
    last = day_number(as_of) if as_of is not None else sources.last_day()
    if last is None:
        raise refusals.no_facts()
    end = last + 1
    if state.as_of is not None and end < state.as_of:
        raise refusals.backwards(iso(last), iso(state.as_of - 1))
    if state.as_of == end:
        return state, False
    if state.looks and state.looks[-1]["state"] == OVER:
        ended = experiment.run is not None and (state.next_day or 0) > day_number(
            experiment.run.end
        )
        why = "all windows are closed" if ended else "every planned unit has been read"
        raise refusals.after_the_end(str(state.looks[-1]["day"]), why)
    start, stop = _run_days(experiment, by_day(sources.pieces[sources.who].values()))
    changes = _changes(rules, sources, state, start)
    state = _counted(experiment, sources, state, changes, (start, stop, end))
    state = _again(experiment, rules, sources, state, changes)
    first = start if state.next_day is None else state.next_day
    closed = min(end - 1 - rules.reach, stop)
    found = _read(experiment, rules, sources, state, (first, closed))
    if found is not None:
        state = state.with_days(*found).with_set_aside(found[0])
    return replace(state, next_day=max(closed + 1, first)), True


def _read(
    experiment: Experiment,
    rules: Rules,
    sources: LookSources,
    state: State,
    days: tuple[int, int],
) -> tuple[Fresh, Mapping[int, Mapping[str, PowerSums]]] | None:
    """Read assignment days; None where there are no units."""
    if days[1] < days[0]:
        return None
    age = None if sources.who == "units" else rules.age
    fresh = read_days(
        experiment,
        sources,
        first=days[0],
        last=days[1],
        age=age,
        reach=rules.reach,
        as_of=sources.second(state.as_of or 0),
    )
    if fresh is None:
        return None
    economics = economics_of(experiment, fresh.cells.names, state, fresh.covariates)
    arms = [arm.label for arm in experiment.arms]
    prices = prices_at(economics, arms, fresh.cells.names, age)
    return fresh, amounts(fresh, prices)


def _counted(
    experiment: Experiment,
    sources: LookSources,
    state: State,
    changes: Changes,
    days: tuple[int, int, int],
) -> State:
    """Count assignments of new days, and of days from the first one that changed."""
    start, stop, end = days
    to = min(end, stop + 1)
    since = start if state.counted_to is None else state.counted_to
    first = min(since, since if changes.assigned_from is None else changes.assigned_from)
    first = max(first, start)
    assigned = {day: by for day, by in state.assigned.items() if day < first or day >= to}
    if first < to:
        assigned |= sources.counts(first, to - 1)
    return replace(
        state,
        as_of=end,
        assigned=assigned if first < to else state.assigned,
        counted_to=max(since, to),
        pieces=sources.pieces,
        late={
            name: state.late.get(name, 0) + changes.late.get(name, 0)
            for name in {**state.late, **changes.late}
        },
        gone=changes.gone,
        ad_spend=spend_of(experiment, sources),
        lost=tuple(sorted({*state.lost, *changes.lost})),
    )


def _again(
    experiment: Experiment,
    rules: Rules,
    sources: LookSources,
    state: State,
    changes: Changes,
) -> State:
    """Take days that changed out of the sums, and read them again."""
    if not changes.again or state.next_day is None:
        return state
    # Totals of clusters are not kept by day.
    everything = [(min(changes.read), max(changes.read))]
    runs = everything if state.clusters is not None else _runs(changes.again)
    found = [_read(experiment, rules, sources, state, run) for run in runs]
    state = state.without_days({day for a, b in runs for day in range(a, b + 1)})
    for each in found:
        if each is not None:
            state = state.with_days(*each)
    return replace(state, again=tuple(sorted({*state.again, *changes.again})))


def _changes(rules: Rules, sources: LookSources, state: State, start: int) -> Changes:
    """Compare the rows of days known at the last look with those that are there now."""
    if state.as_of is None:
        return Changes()
    found = {
        source: moved(state.pieces.get(source, {}), now, until=state.as_of)
        for source, now in sources.pieces.items()
    }
    gone = {
        source: _still_gone(state.gone.get(source, {}), each, start)
        for source, each in found.items()
    }
    read = range(start, state.next_day or start)
    again: set[int] = set()
    late: dict[str, int] = {}
    for source, each in found.items():
        for day, rows in each.more.items():
            # An assignment may make those of later days repeated ones.
            last = read.stop - 1 if source == sources.who else min(day, read.stop - 1)
            met = range(max(start, day - rules.reach), last + 1)
            again |= set(met)
            if met:
                late[source] = late.get(source, 0) + rows
    missing = {day for by in gone.values() for day in by}
    lost = {day for day in again if missing & set(range(day, day + rules.reach + 1))}
    if lost and state.clusters is not None:
        lost, again = again, set()
    more = found[sources.who].more
    return Changes(
        late=late,
        again=frozenset(again - lost),
        lost=frozenset(lost),
        gone={source: by for source, by in gone.items() if by},
        read=read,
        assigned_from=min(more) if more else None,
    )


def _still_gone(before: Mapping[int, int], step: Moved, start: int) -> dict[int, int]:
    """Rows missing by day of the test, those that came back taken off."""
    days = {day for day in (*before, *step.gone) if day >= start}
    left = {
        day: before.get(day, 0) + step.gone.get(day, 0) - step.more.get(day, 0) for day in days
    }
    return {day: rows for day, rows in left.items() if rows > 0}


def _runs(days: Iterable[int]) -> list[tuple[int, int]]:
    """Days as runs without gaps, first and last of each.

    Examples:
        >>> _runs([3, 1, 2, 7])
        [(1, 3), (7, 7)]
    """
    out: list[tuple[int, int]] = []
    for day in sorted(days):
        if out and out[-1][1] == day - 1:
            out[-1] = (out[-1][0], day)
        else:
            out.append((day, day))
    return out


def _run_days(experiment: Experiment, rows: Mapping[int, Any]) -> tuple[int, int]:
    """First and last shop day of assignment: the plan's, else what the data have."""
    if experiment.run is not None:
        return day_number(experiment.run.start), day_number(experiment.run.end)
    return (min(rows), max(rows)) if rows else (0, 0)


def day_number(day: date) -> int:
    """Count a day from 1970."""
    return (day - EPOCH).days


def iso(day: int) -> str:
    """Write a counted day.

    Examples:
        >>> iso(day_number(date(2026, 6, 1)))
        '2026-06-01'
    """
    return (EPOCH + timedelta(days=day)).isoformat()
