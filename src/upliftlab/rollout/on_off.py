"""What did a plan that was switched on and off earn?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.data.prepared import Facts
from upliftlab.rollout.answer import Rollout, Stretch
from upliftlab.rollout.question import Answered, Question, observed, whole
from upliftlab.rollout.reasons import explained
from upliftlab.rollout.switching import (
    book_switch,
    design_of,
    on_and_off,
    split_state,
    switch_checks,
    switch_opinions,
    switch_path,
)
from upliftlab.rollout.trust import maturity

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.economics import Economics
    from upliftlab.experiment import Experiment
    from upliftlab.panels.switchback import Switchback
    from upliftlab.profit import Profit


def switched(
    experiment: Experiment,
    panel: Panel,
    *,
    economics: Economics | None = None,
    progress: Callable[[str], None] | None = None,
) -> Answered:
    """Answer a plan that was switched on and off.

    Raises:
        DesignError: When the schedule does not pair periods on with periods off.
    """
    tell = progress or (lambda _: None)
    panel = whole(observed(experiment, panel))
    outcomes, is_on = split_state(panel)
    asked = Question.of(experiment, outcomes, economics)
    tell("estimating")
    design = design_of(asked.panel, is_on, asked.period)
    effects = on_and_off(design, arm=asked.arm, control=asked.control)
    tell("pricing")
    profit = asked.price(effects)
    booked = design_of(book_switch(asked.panel, is_on, asked.measures), is_on, asked.period)
    rollout = explained(
        _over_time(asked, profit, booked, is_on),
        effects,
        asked.economics,
        profit,
        asked.level,
    )
    return Answered(
        panel=panel,
        facts=_facts(asked, is_on),
        economics=asked.economics,
        effects=effects,
        profit=profit,
        checks=tuple(
            check
            for check in (
                maturity(experiment, asked.panel),
                *switch_checks(experiment, booked, is_on),
            )
            if check is not None
        ),
        rollout=rollout,
    )


def _over_time(
    asked: Question, profit: Profit, booked: Switchback, is_on: NDArray[np.bool_]
) -> Rollout:
    """Gains pair by pair, and what the coins say when tossed again."""
    unit_periods = float(is_on.sum())
    units = len(asked.panel.units)
    return Rollout(
        design=asked.experiment.design,
        unit=asked.experiment.unit,
        period=asked.period,
        clusters=(units, units),
        waves=(),
        stretches=(
            Stretch(
                name="since",
                label="while the plan was on",
                profit=profit.profit,
                total=profit.profit.scaled(unit_periods, name="since total"),
                unit_periods=unit_periods,
            ),
        ),
        paths=switch_path(booked, asked.measures),
        opinions=switch_opinions(booked, asked.level),
        notes=tuple(filter(None, (*asked.panel.notes, booked.note, _unpaired(booked, asked)))),
    )


def _unpaired(booked: Switchback, asked: Question) -> str:
    """Say that totals speak of all days on, also of those that no pair speaks of."""
    alone = booked.pair < 0
    shared = len(booked.is_on) < len(asked.panel.units)
    count = int((booked.is_on & alone).sum()) * (len(asked.panel.units) if shared else 1)
    if not count:
        return ""
    return (
        f"totals count all days on; {count:,} {asked.experiment.unit}-{asked.period}s of them "
        "have no partner, and are taken to have earned what those with one did"
    )


def _facts(asked: Question, is_on: NDArray[np.bool_]) -> Facts:
    counts = {asked.control: int((~is_on).sum()), asked.arm: int(is_on.sum())}
    panel = asked.panel
    return Facts(
        assigned={name: {"": count} for name, count in counts.items()},
        totals={name: float(panel.y[:, :, k].sum()) for k, name in enumerate(panel.names)},
        notes=panel.notes,
    )
