"""When did it earn: by wave, by time since the change, before it, and in which period?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.panels.aggregates import aggregate, custom, event_time
from upliftlab.rollout.answer import Cell, Path, Point, Stretch, Wave
from upliftlab.stats.estimate import Estimate, interval, undefined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.panels.aggregates import Aggregate
    from upliftlab.panels.forms import Forms
    from upliftlab.panels.group_time import GroupTime
    from upliftlab.rollout.booked import Measure
    from upliftlab.stats.joint import Joint


def waves_of(effects: GroupTime, level: float) -> tuple[Wave, ...]:
    """List cohorts with what each earned; profit is the first component."""
    moments = effects.moments
    rows = moments.rows
    by_start: dict[int, Estimate] = {}
    known = {effects.cells[c][0] for c in range(len(effects.cells)) if effects.forms.known[c]}
    if known:
        average = aggregate(effects, "group")
        joint = _first(average.parts, effects)
        by_start = {
            key: joint.estimate(name, level=level)
            for key, name in zip(average.keys, joint.names, strict=True)
        }
    found = []
    length = len(moments.periods)
    # Cohorts that start after the panel are one wave: those that did not switch in it.
    for start in np.unique(np.minimum(moments.start, length)):
        own = np.flatnonzero(np.minimum(moments.start, length) == start)
        inside = rows is not None and np.isin(rows.cohort, own)
        found.append(
            Wave(
                start="never" if start == length else moments.periods[int(start)],
                units=round(float(moments.units[own].sum())),
                clusters=0 if rows is None else len(np.unique(rows.cluster[inside])),
                profit=by_start.get(int(start)),
            )
        )
    return tuple(found)


def stretches_of(effects: GroupTime, ramp: int, level: float) -> tuple[Stretch, ...]:
    """Average profit since the change, before it, while it ramped up, and after."""
    last = len(effects.moments.periods)
    spans = {
        "since": ("since the change", (0, last)),
        "announced": ("announced, before the change", (-effects.anticipation, -1)),
        "ramp": ("while it ramped up", (0, ramp - 1)),
        "after_ramp": ("after it had ramped up", (ramp, last)),
        "everything": ("announced and since", (-effects.anticipation, last)),
    }
    if not effects.anticipation:
        spans.pop("announced")
        spans.pop("everything")
    if not ramp:
        spans.pop("ramp")
        spans.pop("after_ramp")
    return tuple(
        _stretch(effects, name, label, span, level) for name, (label, span) in spans.items()
    )


def paths_of(
    effects: GroupTime, measures: Sequence[Measure], level: float, *, longest: int = 26
) -> tuple[Path, ...]:
    """Follow every measure over time since the change, with a band over the shown periods."""
    average = aggregate(effects, "dynamic", horizons=(-longest, longest))
    base = -effects.anticipation - 1
    keep = [i for i, key in enumerate(average.keys) if key != base]
    keys = [average.keys[i] for i in keep]
    width = len(measures)
    joint = average.parts.select(keep).joint(effects.moments)
    return tuple(
        _path(joint, measure, keys, k, width, level, average.note)
        for k, measure in enumerate(measures)
    )


def cells_of(effects: GroupTime, level: float) -> tuple[Cell, ...]:
    """Profit of every cohort in every period."""
    joint = _first(effects.forms, effects)
    found = []
    for c, (start, period) in enumerate(effects.cells):
        estimate = joint.estimate(joint.names[c], level=level)
        if not effects.forms.known[c]:
            estimate = undefined("profit", "nobody untreated is left to compare with")
        elif period == effects.base[c]:
            estimate = Estimate(name="base", estimate=0.0)
        found.append(
            Cell(
                start=effects.moments.periods[start],
                period=effects.moments.periods[period],
                event=event_time(effects, c),
                effect=estimate,
            )
        )
    return tuple(found)


def pay_back(effects: GroupTime, level: float) -> float:
    """Periods from the announcement until summed profit is surely above 0, and stays so.

    Sums run over event time with each cohort's average effect at that time; NaN if never.
    """
    average = aggregate(effects, "dynamic")
    keep = [i for i, key in enumerate(average.keys) if key >= -effects.anticipation]
    summed = average.parts.select(keep).linear(
        np.tril(np.ones((len(keep), len(keep)))), [f"until{i}" for i in range(len(keep))]
    )
    joint = _first(summed, effects)
    sure = [joint.estimate(name, level=level).is_above_zero for name in joint.names]
    late = [i for i in range(len(sure)) if all(sure[i:])]
    return float(late[0] + 1) if late else math.nan


def _stretch(
    effects: GroupTime, name: str, label: str, span: tuple[int, int], level: float
) -> Stretch:
    moments = effects.moments
    first, last = span
    chosen = [
        c
        for c in range(len(effects.cells))
        if first <= event_time(effects, c) <= last and effects.forms.known[c]
    ]
    at = np.searchsorted(moments.start, [effects.cells[c][0] for c in chosen])
    total = float(moments.weight[at].sum()) if chosen else 0.0
    if not total:
        nothing = undefined(name, "no such periods with somebody untreated beside them")
        return Stretch(name=name, label=label, profit=nothing, total=nothing, unit_periods=0.0)
    weights = {
        effects.cells[c]: float(moments.weight[s]) / total
        for c, s in zip(chosen, at, strict=True)
    }
    average: Aggregate = custom(effects, weights, name)
    profit = _first(average.overall, effects).estimate(name, level=level)
    return Stretch(
        name=name,
        label=label,
        profit=profit,
        total=profit.scaled(total, name=f"{name} total"),
        unit_periods=total,
    )


def _path(  # noqa: PLR0917 - one row of a table with its place in it
    joint: Joint,
    measure: Measure,
    keys: Sequence[int],
    k: int,
    width: int,
    level: float,
    note: str,
) -> Path:
    at = np.arange(len(keys)) * width + k
    value, var, df = joint.value[at], np.diag(joint.cov)[at], joint.df[at]
    own = type(joint)(
        names=tuple(f"e{key}" for key in keys),
        value=value,
        cov=joint.cov[np.ix_(at, at)],
        df=df,
    )
    critical = math.nan if np.isnan(var).any() else own.max_t(level=level)
    is_still = bool((var == 0).all())
    withheld = (
        "" if np.isfinite(critical) or is_still else "too few clusters in a wave for a band"
    )
    points = []
    for i, key in enumerate(keys):
        se = math.sqrt(var[i]) if var[i] >= 0 else math.nan
        points.append(
            Point(
                event=key,
                effect=interval(f"e{key}", value[i], var[i], df=df[i], level=level),
                low=float(value[i] - critical * se),
                high=float(value[i] + critical * se),
            )
        )
    return Path(
        measure=measure.name,
        label=measure.label,
        is_money=measure.is_money,
        points=tuple(points),
        note=" ".join(filter(None, (withheld, note))),
    )


def _first(forms: Forms, effects: GroupTime) -> Joint:
    """The first component of some functionals: profit."""
    moments = effects.moments
    if len(moments.names) == 1:
        return forms.joint(moments)
    price = np.zeros((1, len(moments.names)))
    price[0, 0] = 1.0
    only = moments.priced(price, moments.names[:1])
    return type(forms)(
        names=forms.names, slope=forms.slope, share=forms.share[:, :, :1], known=forms.known
    ).joint(only)


__all__ = ["cells_of", "paths_of", "pay_back", "stretches_of", "waves_of"]
