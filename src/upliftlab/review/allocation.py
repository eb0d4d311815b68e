"""Which campaigns get next quarter's money, from what this quarter's tests measured?"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.review.next_quarter import Level, Option, plan_next
from upliftlab.stats.estimate import undefined

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from upliftlab.registry.record import Record
    from upliftlab.review.believed import Believed
    from upliftlab.review.next_quarter import NextPlan
    from upliftlab.review.quarter import Review

OFF = "off"
MOST_OPTIONS = 40
"""Campaigns with the most money at stake that the plan chooses among."""

DRAWS = 200


def options_of(review: Review, records: Iterable[Record]) -> tuple[Option, ...]:
    """Turn tested campaigns into what may get money: off, or one of the treatments.

    Each level costs the test's campaign money per treated unit times the roll-out's units and
    earns the shrunken profit of the roll-out, so winners are not counted for their luck.
    Today's level is what was decided or, where nobody decided, what is to ship. Experiments
    whose campaign money is not known, or is not above 0, are no options.

    Args:
        review: The quarter, read together.
        records: Its experiments.

    Returns:
        The ``MOST_OPTIONS`` with the most expected money at stake, the largest first.
    """
    named = {(each.name, each.id): each for each in records}
    groups: dict[tuple[str, str], list[Believed]] = defaultdict(list)
    for row in review.arms:
        groups[row.entry.experiment, row.entry.record].append(row)
    found = [
        option
        for key, rows in groups.items()
        if key in named and (option := _option(named[key], rows)) is not None
    ]
    found.sort(key=lambda each: (-_stake(each), each.name))
    return tuple(found[:MOST_OPTIONS])


def plan_of(
    review: Review,
    records: Iterable[Record],
    *,
    budget: float | None = None,
    roi_target: float | None = None,
) -> NextPlan | None:
    """Allocate next quarter's campaign money over the campaigns of this one.

    Args:
        review: The quarter, read together.
        records: Its experiments.
        budget: Most that may be spent, minor units; by default what today's levels cost.
        roi_target: Least extra profit per unit of money over the whole plan.

    Returns:
        The plan; None where no campaign's money is known, or nothing runs and nobody names a
        budget.
    """
    options = options_of(review, records)
    spent = sum(
        level.spend for each in options for level in each.levels if level.name == each.now
    )
    most = spent if budget is None else budget
    if not options or not most > 0:
        return None
    return plan_next(
        options, budget=most, roi_target=roi_target, level=review.level, draws=DRAWS
    )


def _option(record: Record, rows: Sequence[Believed]) -> Option | None:
    levels = [_level(record, row) for row in rows]
    kept = [each for each in levels if each is not None]
    if not kept:
        return None
    running = [row.entry.arm for row in rows if row.entry.is_shipped]
    now = [each for each in kept if each.name in running]
    best = max(now, key=lambda each: each.profit.estimate).name if now else OFF
    nothing = replace(undefined(OFF, "nothing is spent"), estimate=0.0)
    return Option(
        name=record.name,
        group=record.mechanism or record.kind,
        levels=(Level(name=OFF, spend=0.0, profit=nothing), *kept),
        now=best,
    )


def _level(record: Record, row: Believed) -> Level | None:
    arm, profit = record.arm(row.entry.arm), row.rollout
    if not (arm.n > 0 and arm.spend.estimate > 0 and profit.std_error > 0):
        return None
    if not math.isfinite(profit.estimate):
        return None
    spend = arm.spend.estimate / arm.n * row.entry.rollout_n
    return Level(name=row.entry.arm, spend=spend, profit=profit)


def _stake(option: Option) -> float:
    return max(abs(level.profit.estimate) for level in option.levels)
