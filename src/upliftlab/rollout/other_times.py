"""Would the answer be the same at other times: before any change, or without sales days?"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.checks import INFO, PASS, WARN, Check
from upliftlab.data.panel import NEVER
from upliftlab.panels.aggregates import aggregate, custom
from upliftlab.panels.group_time import group_time

if TYPE_CHECKING:
    from upliftlab.data.panel import Panel
    from upliftlab.experiment import Experiment
    from upliftlab.panels.group_time import GroupTime

ALPHA = 0.05
PLACEBO = "placebo_in_time"
FEWEST_BEFORE = 6
"""Periods before a wave from which a change can be pretended among them."""


def placebo_in_time(booked: Panel, effects: GroupTime, experiment: Experiment) -> Check:
    """Pretend that waves began earlier, in the periods before any of them began.

    Waves with too few periods before them, and units treated throughout, are left out.
    """
    length, ahead = len(booked.periods), effects.anticipation
    late = booked.start - ahead >= FEWEST_BEFORE
    rest = booked.select(late)
    waves = rest.start < length
    if not waves.any():
        why = f"no wave has {FEWEST_BEFORE} {experiment.period}s before it"
        return _no_placebo(why)
    if waves.all():
        return _no_placebo("nobody stays untreated")
    first = int(rest.start[waves].min()) - ahead
    shift = first // 2
    trimmed = replace(
        rest,
        y=rest.y[:, :first],
        start=np.where(waves, first - shift, NEVER),
        periods=rest.periods[:first],
    )
    joint = aggregate(group_time(trimmed), "simple").joint()
    estimate = joint.estimate(joint.names[0])
    if not estimate.std_error > 0:
        return _no_placebo("profit does not vary, or one side has too few clusters")
    bad = estimate.p_value < ALPHA
    left = "" if late.all() else " Waves that began too early for that are left out."
    return Check(
        name=PLACEBO,
        verdict=WARN if bad else PASS,
        message=(
            f"Pretending that the change came {shift} periods before the first wave finds "
            f"{'an effect where none can be' if bad else 'no effect'} "
            f"(p {estimate.p_value:.2g}).{left}"
        ),
        value=estimate.p_value,
        threshold=ALPHA,
    )


def special_days(
    booked: Panel, effects: GroupTime, experiment: Experiment, money: float
) -> Check | None:
    """The answer without the periods of special days, and whether a wave starts from one."""
    marked = {
        t
        for t, period in enumerate(booked.periods)
        for first, last in experiment.special_days.values()
        if _touches(period, first.isoformat(), last.isoformat(), experiment.period or "day")
    }
    if not marked:
        return None
    names = ", ".join(experiment.special_days)
    said, value, turned = _without_days(effects, experiment, marked, names, money)
    based = sorted(
        {
            booked.periods[start]
            for (start, _), base, known in zip(
                effects.cells, effects.base, effects.forms.known, strict=True
            )
            if known and base in marked
        }
    )
    if based:
        said.append(
            f"The {experiment.period} that waves from {', '.join(based)} are compared with, "
            f"the last before the change, lies in {names}: all their effects are measured "
            "from it."
        )
    if not said:
        return None
    return Check(
        name="special_days",
        verdict=WARN if turned or based else PASS,
        message=" ".join(said),
        value=value,
        threshold=math.nan,
    )


def _no_placebo(why: str) -> Check:
    return Check(
        name=PLACEBO,
        verdict=INFO,
        message=f"A change pretended before the first wave cannot be tried: {why}.",
        value=math.nan,
        threshold=ALPHA,
    )


def _without_days(
    effects: GroupTime, experiment: Experiment, marked: set[int], names: str, money: float
) -> tuple[list[str], float, bool]:
    """Sentence, number, and whether its side is no longer as sure."""
    keep = [
        c
        for c, (start, t) in enumerate(effects.cells)
        if t >= start and t not in marked and effects.forms.known[c]
    ]
    if not keep:
        return [], math.nan, False
    moments, level = effects.moments, float(experiment.decide.confidence)
    sizes = moments.weight[np.searchsorted(moments.start, [effects.cells[c][0] for c in keep])]
    weights = {
        effects.cells[c]: float(w) / float(sizes.sum())
        for c, w in zip(keep, sizes, strict=True)
    }
    found = custom(effects, weights, "without special days").joint()
    without = found.estimate(found.names[0], level=level)
    whole = aggregate(effects, "simple").joint()
    base = whole.estimate(whole.names[0], level=level)
    turned = (without.is_above_zero, without.is_below_zero) != (
        base.is_above_zero,
        base.is_below_zero,
    )
    said = (
        f"Without the {experiment.period}s of {names}, extra profit per {experiment.unit} and "
        f"{experiment.period} is {without.estimate / money:,.1f} {experiment.currency} instead "
        f"of {base.estimate / money:,.1f}"
        f"{', and its sign is no longer as sure' if turned else ''}."
    )
    return [said], without.estimate / money, turned


def _touches(period: str, first: str, last: str, length: str) -> bool:
    try:
        begins = date.fromisoformat(period)
    except ValueError:
        return False
    ends = begins + timedelta(days=6 if length == "week" else 0)
    return begins.isoformat() <= last and ends.isoformat() >= first
