"""What did a switch that goes on and off by day earn?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.checks import FAIL, INFO, PASS, WARN, Check
from upliftlab.errors import DesignError
from upliftlab.estimators.effects import Effects
from upliftlab.panels.switchback import (
    Switchback,
    carry_over,
    switchback_effect,
    switchback_inference,
    weekday_pairs,
)
from upliftlab.rollout.answer import Opinion, Path, Point
from upliftlab.stats.estimate import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.experiment import Experiment
    from upliftlab.rollout.booked import Measure

    Floats = NDArray[np.float64]

FEWEST_PAIRS = 10


def split_state(panel: Panel) -> tuple[Panel, NDArray[np.bool_]]:
    """Take the on/off matrix, the last component of a switchback's panel, out of it."""
    if "treated" not in panel.names:
        raise DesignError(
            "a switchback needs the column treated (1 while the plan is on, 0 while it is off) "
            "in its panel."
        )
    at = panel.names.index("treated")
    keep = [k for k in range(len(panel.names)) if k != at]
    names = tuple(panel.names[k] for k in keep)
    return panel.with_outcome(panel.y[:, :, keep], names), panel.y[:, :, at] > 0.5


def design_of(panel: Panel, is_on: NDArray[np.bool_], period: str) -> Switchback:
    """Pair every day with the same weekday of the next free week; other periods in turn.

    Raises:
        DesignError: When units weigh unequally, or share their schedules in part.
    """
    if not (panel.weight == 1).all():
        raise DesignError(
            "units of this switchback have weights; on and off are compared day by day with "
            "every unit counted alike: leave weights out, or add units up into one."
        )
    length = len(panel.periods)
    step = 7 if period == "day" else 1
    pair = weekday_pairs(np.arange(length) % step)
    shared = bool((is_on == is_on[0]).all())
    if not shared:
        _refuse_partly_shared(is_on)
    states = is_on[0] if shared else is_on
    return Switchback.of_periods(panel.y, states, np.arange(length), pair, names=panel.names)


def _refuse_partly_shared(is_on: NDArray[np.bool_]) -> None:
    """Groups on one schedule share their coins and are one observation, not several."""
    sign = np.where(is_on == is_on[:, :1], 1, -1)
    distinct = len(np.unique(sign, axis=0))
    if distinct < len(is_on):
        raise DesignError(
            f"{len(is_on)} units follow {distinct} schedules; units that switch on the same "
            "days (or mirror each other) are one observation: add them up into one unit each."
        )


def on_and_off(design: Switchback, *, arm: str, control: str) -> Effects:
    """Means per unit and period on and off, jointly over pairs.

    References:
        Imai, King and Nall (2009), *Statistical Science* 24(1), for matched pairs.
    """
    by_coin = _means_by_coin(design)
    n, width = len(by_coin), len(design.names)
    flat = by_coin.reshape(n, 2 * width)
    mean = flat.mean(axis=0)
    rest = flat - mean
    cov = (
        rest.T @ rest / (n * (n - 1)) if n > 1 else np.full((2 * width,) * 2, np.nan)
    ).reshape(2, width, 2, width)
    units = int(design.is_on.sum())
    return Effects(
        arms=(control, arm),
        control=control,
        names=design.names,
        n=(int((~design.is_on).sum()), units),
        mean=mean.reshape(2, width),
        cov=cov,
        df=np.full(2, n - 1.0),
        pieces=cov[None],
        piece_df=np.array([n - 1.0]),
        method="days with the plan on against paired days with it off",
    )


def book_switch(panel: Panel, is_on: NDArray[np.bool_], measures: tuple[Measure, ...]) -> Panel:
    """Price every unit's period at the prices in force."""
    before = np.zeros((len(measures), len(panel.names)))
    after = before.copy()
    for row, measure in enumerate(measures):
        for name, rate in measure.before.items():
            before[row, panel.names.index(name)] = rate
        for name, rate in measure.after.items():
            after[row, panel.names.index(name)] = rate
    priced = np.where(is_on[:, :, None], panel.y @ after.T, panel.y @ before.T)
    return panel.with_outcome(priced, [measure.name for measure in measures])


def switch_opinions(booked: Switchback, level: float) -> tuple[Opinion, ...]:
    """The headline and the coins tossed again, on booked profit."""
    own = switchback_effect(booked)
    again = switchback_inference(booked, level=level)
    name = booked.names[0]
    return (
        Opinion(
            method="pairs",
            label="paired days on against off (headline)",
            effect=own.estimate(name, level=level),
        ),
        Opinion(
            method="randomisation",
            label="coins of the pairs tossed again",
            effect=again[name],
            note="exact for no effect at all",
        ),
    )


def switch_path(booked: Switchback, measures: tuple[Measure, ...]) -> tuple[Path, ...]:
    """Gain of every pair in order of time, profit first; pairs are numbered from 0."""
    gains = booked.gains()
    found = []
    for k, measure in enumerate(measures[:1]):
        points = tuple(
            Point(
                event=i,
                effect=Estimate(name=f"pair {i}", estimate=float(gain)),
                low=float("nan"),
                high=float("nan"),
            )
            for i, gain in enumerate(gains[:, k])
        )
        found.append(
            Path(
                measure=measure.name,
                label=f"{measure.label}, gain of each pair",
                is_money=measure.is_money,
                points=points,
                note="one pair has no range of its own",
            )
        )
    return tuple(found)


def switch_checks(
    experiment: Experiment, booked: Switchback, is_on: NDArray[np.bool_]
) -> tuple[Check, ...]:
    """Whether pairs suffice, on and off are balanced, and the day before lingers."""
    pairs = len(booked.gains())
    found = [
        Check(
            name="pairs",
            verdict=PASS if pairs >= FEWEST_PAIRS else WARN,
            message=f"{pairs} pairs of {experiment.period}s, one of each on and one off.",
            value=float(pairs),
            threshold=float(FEWEST_PAIRS),
        ),
        Check(
            name="share_on",
            verdict=INFO,
            message=f"The plan was on in {is_on.mean():.0%} of {experiment.period}s.",
            value=float(is_on.mean()),
            threshold=0.5,
        ),
    ]
    lingering = carry_over(booked)
    name = lingering.names[0]
    estimate = lingering.estimate(name)
    if estimate.std_error > 0:
        lingers = estimate.p_value < 0.05
        effect = booked.gains()[:, 0].mean()
        found.append(
            Check(
                name="carry_over",
                verdict=WARN if lingers else PASS,
                message=(
                    f"The {experiment.period} after an on-{experiment.period} is "
                    f"{'different' if lingers else 'not visibly different'} "
                    f"(p {estimate.p_value:.2g})"
                    + (": effects linger, use longer blocks or a burn-in." if lingers else ".")
                ),
                value=float(estimate.estimate / effect) if effect else float("nan"),
                threshold=0.05,
            )
        )
    order = {FAIL: 0, WARN: 1, INFO: 2, PASS: 3}
    return tuple(sorted(found, key=lambda check: order[check.verdict]))


def _means_by_coin(design: Switchback) -> Floats:
    """Off and on means of each coin, shape [coins, 2, K]."""
    count = int(design.pair.max()) + 1
    groups = len(design.mean)
    out = np.zeros((groups, count, 2, len(design.names)))
    for b, pair in enumerate(design.pair):
        if pair < 0:
            continue
        for g in range(groups):
            out[g, pair, int(design.is_on[g if len(design.is_on) > 1 else 0, b])] += (
                design.mean[g, b]
            )
    if design.shares_coin:
        shared: Floats = out.mean(axis=0)
        return shared
    return out.reshape(-1, 2, len(design.names))
