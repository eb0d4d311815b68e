"""Does a rule keep the plan's limits on units that it was not learned from?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.checks import FAIL, PASS, WARN, Check
from upliftlab.targeting.worths import inside_mean, joint_of, picked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.asked import Ask, Floor
    from upliftlab.targeting.taught import Material

    Floats = NDArray[np.float64]
    Ints = NDArray[np.integer]

ROOM = 0.02
"""Share of a cap, or of a floor on who is treated, that a rule of few ends may miss."""


def kept_limits(arm: Ints, half: Material, ask: Ask) -> tuple[Check, ...]:
    """Say for every limit of the plan what a rule uses of it, with its range.

    A limit is kept where the estimate is within it, in doubt where only the range is, and
    passed where the whole range lies beyond it.

    Args:
        arm: What the rule gives to each held-out unit, shape (n,).
        half: The held-out units.
        ask: Limits, per eligible unit.
    """
    n = ask.eligible or len(arm)
    return (
        *(_check(name, rows, half, ask, n) for name, rows in _asked(arm, half, ask)),
        *(_floor_check(floor, rows, half, ask, n) for floor, rows in _floors(arm, half, ask)),
    )


def _asked(arm: Ints, half: Material, ask: Ask) -> Iterator[tuple[str, Floats]]:
    """Each limit with what every unit uses of it."""
    cost = picked(half.cost.value, arm) - half.cost.value[:, 0]
    if ask.budget is not None:
        yield "budget", cost
    if ask.iroi_at_least is not None:
        profit = picked(half.profit.value, arm) - half.profit.value[:, 0]
        yield "iroi_at_least", profit - ask.iroi_at_least * cost
    if ask.at_most is not None:
        yield "at_most", (arm > 0).astype(np.float64)
    for name in ask.at_least:
        value = half.counts[name].value
        yield name, picked(value, arm) - value[:, 0]


def _floors(arm: Ints, half: Material, ask: Ask) -> Iterator[tuple[Floor, Floats]]:
    """Each floor of a segment with what every unit brings to it."""
    for floor in ask.floors:
        inside = half.segments[floor.segment]
        if floor.count:
            value = half.counts[floor.count].value
            yield floor, np.where(inside, picked(value, arm) - value[:, 0], 0.0)
        else:
            yield floor, inside_mean((arm > 0).astype(np.float64), inside)


def _floor_check(floor: Floor, rows: Floats, half: Material, ask: Ask, n: int) -> Check:
    found = joint_of({"floor": rows}, half.profit.cluster).estimate("floor", level=ask.level)
    if not floor.count:
        text = (
            f"The rule treats {found.estimate:.1%} of {ask.unit}s where {floor.segment}; the "
            f"plan asks for {floor.least:.1%}"
        )
        least = floor.least / (1 + ROOM)
        return _judged(f"floor treated: {floor.segment}", text, found, least=least)
    low, high = _ends(found)
    text = (
        f"The rule brings {found.estimate * n:,.0f} more {floor.count.replace('_', ' ')} (from "
        f"{low * n:,.0f} to {high * n:,.0f}) where {floor.segment}, over {n:,} eligible "
        f"{ask.unit}s; the plan asks for {floor.least * n:,.0f}"
    )
    name = f"floor {floor.count}: {floor.segment}"
    return _judged(name, text.replace("-", "−"), found, least=floor.least)


def _check(name: str, rows: Floats, half: Material, ask: Ask, n: int) -> Check:
    found = joint_of({name: rows}, half.profit.cluster).estimate(name, level=ask.level)
    people = f"{n:,} eligible {ask.unit}s"
    if name == "budget":
        assert ask.budget is not None  # noqa: S101 - asked for
        text = (
            f"The rule spends {_money(found, ask, n)} of the budget of "
            f"{ask.money(ask.budget * n)} over {people}"
        )
        return _judged("limit_budget", text, found, most=ask.budget)
    if name == "at_most":
        assert ask.at_most is not None  # noqa: S101 - asked for
        text = (
            f"The rule treats {found.estimate:.1%} of {ask.unit}s, of {ask.at_most:.0%} allowed"
        )
        return _judged("limit_at_most", text, found, most=ask.at_most)
    if name == "iroi_at_least":
        assert ask.iroi_at_least is not None  # noqa: S101 - asked for
        text = (
            f"Beyond {ask.iroi_at_least:.0%} of its money the rule brings "
            f"{_money(found, ask, n)} over {people}; the plan asks for 0 or more"
        )
        return _judged("limit_iroi", text, found, least=0.0)
    least = ask.at_least[name]
    low, high = _ends(found)
    text = (
        f"The rule brings {found.estimate * n:,.0f} more {name.replace('_', ' ')} (from "
        f"{low * n:,.0f} to {high * n:,.0f}) over {people}; the plan asks for {least * n:,.0f}"
    )
    return _judged(f"limit_{name}", text.replace("-", "−"), found, least=least)


def _judged(
    name: str,
    text: str,
    found: Estimate,
    *,
    most: float = math.inf,
    least: float = -math.inf,
) -> Check:
    low, high = _ends(found)
    room = ROOM * abs(most) if math.isfinite(most) else 0.0
    verdict, tail = PASS, ""
    if found.estimate > most + room or found.estimate < least:
        is_sure = low > most + room or high < least
        verdict = FAIL if is_sure else WARN
        tail = ": not kept" if is_sure else ": perhaps not kept"
    return Check(
        name=name,
        verdict=verdict,
        message=f"{text}{tail}.",
        value=found.estimate,
        threshold=most if math.isfinite(most) else least,
    )


def _ends(found: Estimate) -> tuple[float, float]:
    """Interval; the number itself where it does not vary."""
    if math.isfinite(found.ci_low) and math.isfinite(found.ci_high):
        return found.ci_low, found.ci_high
    return found.estimate, found.estimate


def _money(found: Estimate, ask: Ask, n: int) -> str:
    low, high = _ends(found)
    amount = ask.money(found.estimate * n)
    return f"{amount} (from {ask.money(low * n)} to {ask.money(high * n)})"
