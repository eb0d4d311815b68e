"""Can a roll-out be believed? One sentence, value and threshold each."""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.checks import (
    FAIL,
    FEWEST_CLUSTERS,
    INFO,
    MATURITY,
    MOST_UNEQUAL,
    PASS,
    WARN,
    Check,
)
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
from upliftlab.panels.pretrends import detectable_slopes, joint_test
from upliftlab.rollout.counted import count_clusters
from upliftlab.rollout.neighbours import Neighbours, neighbours_of, spill_over
from upliftlab.rollout.other_times import placebo_in_time, special_days

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.data.panel import Panel
    from upliftlab.experiment import Experiment
    from upliftlab.panels.event_path import EventPath
    from upliftlab.panels.group_time import GroupTime
    from upliftlab.rollout.answer import Channel, Honesty
    from upliftlab.rollout.counted import Counted

ALPHA = 0.05
STILL = "did not visibly move apart"
SALES = {"creator_organic": "organic sales", "creator_ads": "sales through ads"}


def rollout_checks(
    experiment: Experiment,
    *,
    panel: Panel,
    booked: Panel,
    effects: GroupTime,
    path: EventPath | None,
    honesty: Sequence[Honesty],
    channels: Sequence[Channel],
    money: float,
    more: Sequence[Check] = (),
) -> tuple[Check, ...]:
    """Run every check that a roll-out allows, failed ones first.

    Args:
        experiment: The plan.
        panel: Components.
        booked: Profit alone, at the rates in force.
        effects: On profit alone.
        path: Effects before and after; None where there are none before.
        honesty: Sensitivity to trends.
        channels: Where sales went.
        money: Minor units in one main unit.
        more: Further checks, to be sorted among these.
    """
    found = [
        *more,
        _pre_trend(path, effects, honesty, experiment),
        _slopes(path, experiment, money),
        placebo_in_time(booked, effects, experiment),
        _clusters(effects, experiment),
        _composition(panel, effects, experiment),
        _mega(booked, effects, experiment),
        maturity(experiment, panel),
        _relabelled(channels),
        _nobody_left(effects),
        spill_over(_neighbours(booked, effects, experiment), panel, experiment, money),
        special_days(booked, effects, experiment, money),
    ]
    order = {FAIL: 0, WARN: 1, INFO: 2, PASS: 3}
    return tuple(sorted((c for c in found if c is not None), key=lambda c: order[c.verdict]))


def _pre_trend(
    path: EventPath | None,
    effects: GroupTime,
    honesty: Sequence[Honesty],
    experiment: Experiment,
) -> Check | None:
    """Trends before the change; it warns, and honest bounds say whether it matters.

    Two looks, at all periods together and at a steady drift, each at half the level.
    """
    if path is None:
        return Check(
            name="pre_trend",
            verdict=WARN,
            message=(
                "Trends before the change cannot be judged: there is no second period before "
                "it, or a wave has too few clusters."
            ),
            value=math.nan,
            threshold=ALPHA,
        )
    p_value = min(1.0, 2 * min(joint_test(path).p_value, drift(effects)))
    apart = p_value < ALPHA
    flip = next(
        (h.flips_at for h in honesty if h.restriction == "relative_magnitude"), math.nan
    )
    tail = ""
    if flip > 0 and experiment.design == "staggered":
        tail = (
            f"; extra profit is no longer sure of its side at {flip:.2g} times the worst "
            "difference seen before"
        )
    elif apart:
        tail = "; see how far the answer survives other trends"
    if experiment.design == "geo":
        return _unweighted_trend(
            p_value, words="moved apart" if apart else STILL, experiment=experiment
        )
    planned = experiment.decide.trends_may_differ
    fails = apart and planned is not None and 0 < flip <= float(planned)
    if fails:
        tail += f", and the plan allows {float(planned or 0):g} times: no verdict"
    words = "moved apart" if apart else STILL
    return Check(
        name="pre_trend",
        verdict=FAIL if fails else WARN if apart else PASS,
        message=(
            f"Before the change, profit of switched and other {experiment.unit}s {words} "
            f"(p {p_value:.2g}){tail}."
        ),
        value=p_value,
        threshold=ALPHA,
    )


def _unweighted_trend(p_value: float, words: str, experiment: Experiment) -> Check:
    """By region the look is a reason to weigh, and no doubt about the weighted headline."""
    return Check(
        name="pre_trend",
        verdict=INFO,
        message=(
            f"Before the change, profit of switched and of all other {experiment.unit}s, "
            f"unweighted, {words} (p {p_value:.2g}); the headline weighs the others to move as "
            "the switched did."
        ),
        value=p_value,
        threshold=ALPHA,
    )


def maturity(experiment: Experiment, panel: Panel) -> Check | None:
    """Whether returns of the last period were final when the data were read."""
    final = experiment.returns_final_after
    if final is None:
        return None
    known = experiment.data.as_of if experiment.data else None
    last = _last_day(panel.periods[-1], experiment.period or "day")
    if known is None or last is None:
        return Check(
            name="panel_maturity",
            verdict=INFO,
            message=(
                f"Returns are final {final} days after payment; nothing says up to when these "
                "data speak (data.as_of), so whether they were final is not known."
            ),
            value=math.nan,
            threshold=float(final),
        )
    passed = (known.date() - last).days
    late = passed < final
    return Check(
        name=MATURITY,
        verdict=FAIL if late else PASS,
        message=(
            f"{passed} days have passed since the last {experiment.period}; returns are final "
            f"after {final}{': shorten observe, or read the data again later' if late else ''}."
        ),
        value=float(passed),
        threshold=float(final),
    )


def _last_day(period: str, length: str) -> date | None:
    try:
        return date.fromisoformat(period) + timedelta(days=6 if length == "week" else 0)
    except ValueError:
        return None


def drift(effects: GroupTime) -> float:
    """p-value of a steady drift through the base period, over all periods before it."""
    average = aggregate(effects, "dynamic")
    base = -effects.anticipation - 1
    before = [i for i, key in enumerate(average.keys) if key < base]
    ago = np.array([average.keys[i] - base for i in before], dtype=np.float64)
    drift = average.parts.select(before).linear((ago / (ago @ ago))[None], ["drift"])
    p_value = drift.joint(effects.moments).estimate("drift").p_value
    return 1.0 if math.isnan(p_value) else p_value


def _slopes(path: EventPath | None, experiment: Experiment, money: float) -> Check | None:
    """What trend the look before could have seen at all."""
    if path is None:
        return None
    found = detectable_slopes(path)
    if math.isnan(found.four_fifths):
        return None
    per = f"per {experiment.unit} and {experiment.period}"
    return Check(
        name="pre_trend_power",
        verdict=INFO,
        message=(
            f"A difference of trends of {found.half / money:,.1f} {experiment.currency} a "
            f"{experiment.period} {per} "
            f"would be seen in half of such tests, {found.four_fifths / money:,.1f} in four of "
            f"five; unseen, the latter would move the answer by "
            f"{found.bias_four_fifths / money:,.0f} {experiment.currency}."
        ),
        value=found.four_fifths / money,
        threshold=math.nan,
    )


def _clusters(effects: GroupTime, experiment: Experiment) -> Check:
    """Whether there are enough clusters, and equal enough ones, for errors from variance."""
    counted = count_clusters(effects)
    word = experiment.cluster or experiment.unit
    said = _said(counted, word, experiment.unit)
    if not counted.is_few and counted.uneven <= MOST_UNEQUAL:
        return Check(
            name="clusters",
            verdict=PASS,
            message=f"{said}.",
            value=float(counted.fewest),
            threshold=float(FEWEST_CLUSTERS),
        )
    reason = f"sizes vary a lot (CV {counted.uneven:.2f})"
    if counted.is_few:
        reason = f"only {counted.fewest} {'in all' if counted.mixed else 'on one side'}"
    advice = "read the range by re-assignment of clusters first"
    if counted.mixed:
        advice = "the range may be too narrow, and nobody can assign them again"
    return Check(
        name="clusters",
        verdict=WARN,
        message=f"{said}, {reason}: {advice}.",
        value=float(counted.fewest) if counted.is_few else counted.uneven,
        threshold=float(FEWEST_CLUSTERS) if counted.is_few else MOST_UNEQUAL,
    )


def _said(counted: Counted, word: str, unit: str) -> str:
    """Say who is compared with whom."""
    if counted.mixed:
        each = "each" if counted.mixed == counted.total else f"{counted.mixed} of them"
        return f"{counted.total} {word}s, {each} with both switched and other {unit}s"
    if counted.pool < counted.never or not counted.never:
        return (
            f"{counted.switched} {word}s switched, compared with {counted.pool} or more that "
            "had not yet"
        )
    return f"{counted.switched} {word}s switched and {counted.never} never did"


def _composition(panel: Panel, effects: GroupTime, experiment: Experiment) -> Check | None:
    """Whether switching changed who is there, since the same base as profit."""
    if "creators_active" not in panel.names:
        return None
    only = panel.component("creators_active")
    level = float(experiment.decide.confidence)
    joint = aggregate(group_time(only, anticipation=effects.anticipation), "simple").joint()
    estimate = joint.estimate(joint.names[0], level=level)
    variance = float(joint.cov[0, 0])
    if math.isnan(variance) or (variance == 0 and abs(estimate.estimate) > 1e-9):
        return Check(
            name="composition",
            verdict=WARN,
            message=(
                f"Whether the change moved the share of active {experiment.unit}s cannot be "
                "judged: a wave has too few clusters."
            ),
            value=math.nan,
            threshold=ALPHA,
        )
    if variance == 0:
        return Check(
            name="composition",
            verdict=PASS,
            message=f"The same {experiment.unit}s were active before and after the change.",
            value=0.0,
            threshold=0.0,
        )
    gone = estimate.p_value < 1 - level
    return Check(
        name="composition",
        verdict=WARN if gone else PASS,
        message=(
            f"The change moved the share of active {experiment.unit}s by "
            f"{100 * estimate.estimate:+.1f} points ({100 * estimate.ci_low:+.1f} to "
            f"{100 * estimate.ci_high:+.1f}); inactive ones count as zero."
        ),
        value=estimate.estimate,
        threshold=0.0,
    )


def _neighbours(booked: Panel, effects: GroupTime, experiment: Experiment) -> Neighbours | None:
    return neighbours_of(
        booked, anticipation=effects.anticipation, level=float(experiment.decide.confidence)
    )


def _mega(booked: Panel, effects: GroupTime, experiment: Experiment) -> Check | None:
    """Whether one unit carries the answer."""
    size = np.abs(booked.y[:, :, 0]).sum(axis=1)
    share = float(size.max() / size.sum()) if size.sum() > 0 else 0.0
    limit = 0.1
    if len(size) < 20 or share <= limit:
        return None
    largest = int(size.argmax())
    rest = booked.select(np.arange(len(size)) != largest)
    ahead = effects.anticipation
    with_it = aggregate(effects, "simple").joint().value[0]
    without = aggregate(group_time(rest, anticipation=ahead), "simple").joint().value[0]
    turns = (with_it > 0) != (without > 0)
    return Check(
        name="mega_unit",
        verdict=WARN,
        message=(
            f"One {experiment.unit} makes {share:.0%} of all profit and loss; without it extra "
            f"profit is {without / with_it:.0%} of the figure shown"
            f"{' and has the other sign' if turns else ''}."
        ),
        value=share,
        threshold=limit,
    )


def _relabelled(channels: Sequence[Channel]) -> Check | None:
    """Sales through ads that fall while organic ones rise may be the same sales."""
    by_name = {channel.name: channel for channel in channels}
    organic, ads = by_name.get("creator_organic"), by_name.get("creator_ads")
    if organic is None or ads is None:
        return None
    rose, fell = organic, ads
    if ads.effect.estimate > organic.effect.estimate:
        rose, fell = ads, organic
    moved = min(rose.effect.estimate, -fell.effect.estimate)
    share = moved / fell.expected if fell.expected else math.nan
    if moved <= 0:
        return Check(
            name="relabelling",
            verdict=PASS,
            message="Organic sales and sales through ads did not move against each other.",
            value=0.0,
            threshold=0.0,
        )
    suspicious = rose.effect.is_above_zero and fell.effect.is_below_zero
    return Check(
        name="relabelling",
        verdict=WARN if suspicious else INFO,
        message=(
            f"{SALES[rose.name].capitalize()} rose while {SALES[fell.name]} fell: up to "
            f"{share:.0%} of {SALES[fell.name]} may have been relabelled; total profit counts "
            "both at their rates."
        ),
        value=share,
        threshold=0.0,
    )


def _nobody_left(effects: GroupTime) -> Check | None:
    """Cohort-periods that have no effect, and what the headline then speaks of."""
    after = [c for c, (start, t) in enumerate(effects.cells) if t >= start]
    lost = [c for c in after if not effects.forms.known[c]]
    if not lost:
        return None
    return Check(
        name="nobody_left",
        verdict=WARN,
        message=(
            f"{len(lost)} of {len(after)} cohort-periods have nobody untreated to compare "
            "with; extra profit speaks of the others only."
        ),
        value=float(len(lost)),
        threshold=0.0,
    )
