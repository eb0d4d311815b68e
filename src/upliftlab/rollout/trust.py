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
from upliftlab.data.panel import NEVER
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
from upliftlab.panels.pretrends import detectable_slopes, joint_test
from upliftlab.stats.clusters import size_cv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.data.panel import Panel
    from upliftlab.experiment import Experiment
    from upliftlab.panels.event_path import EventPath
    from upliftlab.panels.group_time import GroupTime
    from upliftlab.rollout.answer import Channel, Honesty

ALPHA = 0.05
PLACEBO = "placebo_in_time"
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
    """
    found = [
        _pre_trend(path, effects, honesty, experiment),
        _slopes(path, experiment, money),
        _placebo(booked, effects),
        _clusters(panel, experiment),
        _composition(panel, experiment),
        _mega(booked, effects, experiment),
        maturity(experiment, panel),
        _relabelled(channels),
        _nobody_left(effects),
        _spill_over(panel, experiment),
        _special_days(booked, effects, experiment, money),
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
            f"; the average of the first {len(path.weights[path.weights > 0])} "
            f"{experiment.period}s since it is no longer sure of its side at {flip:.2g} times "
            "the worst difference seen before"
        )
    elif apart:
        tail = "; see how far the answer survives other trends"
    words = "moved apart" if apart else "did not visibly move apart"
    return Check(
        name="pre_trend",
        verdict=WARN if apart else PASS,
        message=(
            f"Before the change, profit of switched and other {experiment.unit}s {words} "
            f"(p {p_value:.2g}){tail}."
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


def _placebo(booked: Panel, effects: GroupTime) -> Check | None:
    """Pretend that every wave began earlier, in the periods before any began."""
    first = min(booked.cohorts(), default=0) - effects.anticipation
    if first < 6:
        return None
    shift = first // 2
    early = booked.start != NEVER
    start = np.where(early, first - shift, NEVER)
    trimmed = type(booked).of_arrays(
        booked.y[:, :first],
        start,
        names=booked.names,
        periods=booked.periods[:first],
        cluster=booked.cluster,
        weight=booked.weight,
    )
    if not (start == NEVER).any():
        return None
    joint = aggregate(group_time(trimmed), "simple").joint()
    estimate = joint.estimate(joint.names[0])
    if not estimate.std_error > 0:
        return None
    bad = estimate.p_value < ALPHA
    return Check(
        name=PLACEBO,
        verdict=WARN if bad else PASS,
        message=(
            f"Pretending that the change came {shift} periods before the first wave finds "
            f"{'an effect where none can be' if bad else 'no effect'} "
            f"(p {estimate.p_value:.2g})."
        ),
        value=estimate.p_value,
        threshold=ALPHA,
    )


def _clusters(panel: Panel, experiment: Experiment) -> Check:
    """Whether there are enough clusters, and equal enough ones, for errors from variance."""
    treated = panel.start < len(panel.periods)
    sides = [np.unique(panel.cluster[side], return_counts=True) for side in (treated, ~treated)]
    counts = [len(codes) for codes, _ in sides]
    uneven = max((size_cv(sizes) for _, sizes in sides if len(sizes) > 1), default=0.0)
    few = [count for count in counts if 0 < count < FEWEST_CLUSTERS]
    word = experiment.cluster or experiment.unit
    if few or uneven > MOST_UNEQUAL:
        reason = (
            f"only {min(few)} on one side" if few else f"sizes vary a lot (CV {uneven:.2f})"
        )
        return Check(
            name="clusters",
            verdict=WARN,
            message=(
                f"{counts[0]} {word}s switched and {counts[1]} never did, {reason}: read the "
                "range by re-assignment of clusters first."
            ),
            value=float(min(few)) if few else uneven,
            threshold=float(FEWEST_CLUSTERS) if few else MOST_UNEQUAL,
        )
    return Check(
        name="clusters",
        verdict=PASS,
        message=f"{counts[0]} {word}s switched and {counts[1]} never did.",
        value=float(min(counts)),
        threshold=float(FEWEST_CLUSTERS),
    )


def _composition(panel: Panel, experiment: Experiment) -> Check | None:
    """Whether switching changed who is there."""
    if "creators_active" not in panel.names:
        return None
    only = panel.component("creators_active")
    joint = aggregate(group_time(only), "simple").joint()
    estimate = joint.estimate(joint.names[0])
    if math.isnan(estimate.std_error) or (estimate.std_error == 0 and only.y.std() > 0):
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
    if estimate.std_error == 0:
        return Check(
            name="composition",
            verdict=PASS,
            message=f"The same {experiment.unit}s were active before and after the change.",
            value=0.0,
            threshold=0.0,
        )
    gone = estimate.p_value < ALPHA
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


def _spill_over(panel: Panel, experiment: Experiment) -> Check:
    """Whether switched units could take sales from those they are compared with."""
    word = experiment.cluster or experiment.unit
    together = len(np.unique(panel.cluster)) < len(panel.cluster)
    if not together:
        return Check(
            name="spill_over",
            verdict=WARN,
            message=(
                f"{experiment.unit.capitalize()}s switched one by one. Where they share an "
                "audience, switched ones take sales from the others and the effect is too "
                "large; compare whole groups that share no audience."
            ),
            value=math.nan,
            threshold=math.nan,
        )
    starts: dict[int, set[int]] = {int(g): set() for g in np.unique(panel.cluster)}
    for g, start in zip(panel.cluster, panel.start, strict=True):
        starts[int(g)].add(int(start))
    mixed = sum(len(found) > 1 for found in starts.values())
    if mixed:
        return _stolen(panel, experiment, mixed)
    return Check(
        name="spill_over",
        verdict=INFO,
        message=(
            f"Whole {word}s were compared. Sales taken from {experiment.unit}s of other "
            f"{word}s are not seen here: the figure speaks of switching these {word}s, not of "
            "switching everybody."
        ),
        value=0.0,
        threshold=math.nan,
    )


def _stolen(panel: Panel, experiment: Experiment, mixed: int) -> Check:
    """Compare creators within mixed clusters with clusters by their treated share."""
    word = experiment.cluster or experiment.unit
    return Check(
        name="spill_over",
        verdict=WARN,
        message=(
            f"In {mixed} of {len(np.unique(panel.cluster))} {word}s some {experiment.unit}s "
            f"switched and others did not. Within a {word} switched {experiment.unit}s take "
            "sales from the others, so GMV and profit are too high; the figure is no estimate "
            "of switching everybody."
        ),
        value=float(mixed),
        threshold=0.0,
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


def _special_days(
    booked: Panel, effects: GroupTime, experiment: Experiment, money: float
) -> Check | None:
    """The answer without the periods of special days."""
    marked = {
        period
        for period in booked.periods
        for first, last in experiment.special_days.values()
        if _touches(period, first.isoformat(), last.isoformat(), experiment.period or "day")
    }
    at = [t for t, period in enumerate(booked.periods) if period in marked]
    keep = [
        c
        for c, (start, t) in enumerate(effects.cells)
        if t >= start and t not in at and effects.forms.known[c]
    ]
    if not at or not keep:
        return None
    from upliftlab.panels.aggregates import custom

    sizes = effects.moments.weight[
        np.searchsorted(effects.moments.start, [effects.cells[c][0] for c in keep])
    ]
    weights = {
        effects.cells[c]: float(w) / float(sizes.sum())
        for c, w in zip(keep, sizes, strict=True)
    }
    without = custom(effects, weights, "without special days").joint()
    estimate = without.estimate(without.names[0])
    whole = aggregate(effects, "simple").joint()
    base = whole.estimate(whole.names[0])
    turned = (estimate.is_above_zero, estimate.is_below_zero) != (
        base.is_above_zero,
        base.is_below_zero,
    )
    names = ", ".join(experiment.special_days)
    return Check(
        name="special_days",
        verdict=WARN if turned else PASS,
        message=(
            f"Without the {experiment.period}s of {names}, extra profit per "
            f"{experiment.unit} and {experiment.period} is {estimate.estimate / money:,.1f} "
            f"{experiment.currency} instead of {base.estimate / money:,.1f}"
            f"{', and its sign is no longer as sure' if turned else ''}."
        ),
        value=estimate.estimate / money,
        threshold=math.nan,
    )


def _touches(period: str, first: str, last: str, length: str) -> bool:
    try:
        begins = date.fromisoformat(period)
    except ValueError:
        return False
    ends = begins + timedelta(days=6 if length == "week" else 0)
    return begins.isoformat() <= last and ends.isoformat() >= first
