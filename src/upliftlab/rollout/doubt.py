"""How far can the answer be believed: other methods, other trends, without single clusters?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DataError, DesignError, UpliftlabError
from upliftlab.panels.adjusted import adjusted
from upliftlab.panels.aggregates import aggregate, event_time
from upliftlab.panels.event_path import EventPath
from upliftlab.panels.group_time import group_time
from upliftlab.panels.honest import honest_interval, sensitivity
from upliftlab.panels.imputation import imputation
from upliftlab.panels.interaction_weighted import interaction_weighted
from upliftlab.panels.left_out import without_cluster
from upliftlab.panels.local_projections import local_projections
from upliftlab.panels.randomised import randomised
from upliftlab.panels.spillover import leave_one_out
from upliftlab.panels.stacked import stacked
from upliftlab.panels.two_way import twfe
from upliftlab.rollout.answer import Bound, Honesty, Opinion, Without
from upliftlab.rollout.reassigned import MOST, reassigned
from upliftlab.rollout.signs import by_signs, scores_of
from upliftlab.stats.estimate import undefined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.data.panel_moments import PanelMoments
    from upliftlab.panels.aggregates import Aggregate
    from upliftlab.panels.group_time import GroupTime
    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]
    Again = Callable[[GroupTime, PanelMoments], GroupTime]

MOST_BEFORE = 6
"""Periods before the base that sensitivity to trends looks back on."""

MOST_AFTER = 26
"""Periods since the change that it speaks of: nearly always all, so that it is the headline."""

LABELS = {
    "relative_magnitude": (
        "trends differ from one period to the next by at most m times the worst seen before"
    ),
    "smoothness": "a straight drift apart is allowed, and bends by at most m per period",
}


def opinions_of(
    profit: Panel, average: Aggregate, *, anticipation: int, level: float
) -> tuple[Opinion, ...]:
    """Estimate extra profit since the change in other ways, the headline first."""
    headline = average.joint()
    found = [
        Opinion(
            method="group_time",
            label="cohorts against those not yet switched (headline)",
            effect=headline.estimate(headline.names[0], level=level),
        )
    ]
    found += [
        _opinion(method, label, note, call, level)
        for method, label, note, call in _methods(profit, anticipation)
    ]
    if profit.x.shape[1]:
        found.insert(1, _adjusted(profit, average, level))
    found.append(_by_assignment(profit, average, level))
    found += by_signs(average, level)
    return tuple(found)


def honesty_of(
    effects: GroupTime, *, threshold: float, level: float
) -> tuple[tuple[Honesty, ...], EventPath | None]:
    """Let trends differ, and find how much it takes for the decision to flip.

    References:
        Rambachan and Roth (2023), *Review of Economic Studies* 90(5).
    """
    path = event_path(effects)
    if path is None:
        return (), None
    span = ""
    last = max(event_time(effects, c) for c in range(len(effects.cells)))
    if last >= MOST_AFTER:
        span = f"Of the average over the first {MOST_AFTER} periods since the change."
    found = []
    for kind, ms in (("relative_magnitude", (0.5, 1.0, 1.5, 2.0)), ("smoothness", None)):
        result = sensitivity(path, kind, ms=ms, level=level, threshold=threshold)  # type: ignore[arg-type]
        plain = result.original
        if kind == "smoothness":
            plain = honest_interval(path, "smoothness", 0.0, level=level)
        bounds = [Bound(m=0.0, low=plain.low, high=plain.high)]
        bounds += [
            Bound(m=each.m, low=each.low, high=each.high)
            for each in result.intervals
            if each.m > 0
        ]
        found.append(
            Honesty(
                restriction=kind,
                label=LABELS[kind],
                bounds=tuple(bounds),
                flips_at=result.breakeven.m,
                threshold=threshold,
                note=f"{span} {result.breakeven.note}".strip(),
            )
        )
    return tuple(found), path


def event_path(effects: GroupTime) -> EventPath | None:
    """Effects by time since the change, and their average over all unit-periods since.

    That average is the headline. The last periods before the change count as before; None
    where either side is missing or has no variance.
    """
    spans = (-effects.anticipation - 1 - MOST_BEFORE, MOST_AFTER - 1)
    average = aggregate(effects, "dynamic", horizons=spans)
    base = -effects.anticipation - 1
    keep = [i for i, key in enumerate(average.keys) if key != base]
    keys = [average.keys[i] for i in keep]
    joint = average.parts.select(keep).joint(effects.moments)
    before = sum(key < base for key in keys)
    if not before or before == len(keys) or not np.isfinite(joint.cov).all():
        return None
    mass = _mass(effects)
    weights = np.array([mass.get(key, 0.0) if key >= 0 else 0.0 for key in keys[before:]])
    weights /= weights.sum()
    row = np.concatenate([np.zeros(before), weights])
    mean = average.parts.select(keep).linear(row[None], ["mean"]).joint(effects.moments)
    return EventPath(
        beta=joint.value,
        sigma=joint.cov,
        n_pre=before,
        weights=weights,
        df=float(mean.df[0]),
    )


def _mass(effects: GroupTime) -> dict[int, float]:
    """Weight of the units that are seen so many periods since their change, and compared."""
    found: dict[int, float] = {}
    for c, (start, _) in enumerate(effects.cells):
        if effects.forms.known[c]:
            own = int(np.searchsorted(effects.moments.start, start))
            since = event_time(effects, c)
            found[since] = found.get(since, 0.0) + float(effects.moments.weight[own])
    return found


def without_of(
    average: Aggregate,
    labels: Sequence[str],
    *,
    again: Again | None = None,
    most: int = 12,
) -> tuple[Without, ...]:
    """Leave out one cluster at a time, the most influential first.

    Which clusters to leave out is told by the influence on their own cohort's mean; those are
    then left out of everything: cohort sizes, controls and the weights of the average.

    Args:
        average: The headline.
        labels: Name of every cluster.
        again: Makes the same effects from other moments; by the headline's rules unless said.
        most: Clusters to leave out.

    Returns:
        Profit without each; NaN where nobody can be compared any more.
    """
    scores, rows = scores_of(average), average.effects.moments.rows
    if scores is None or rows is None:
        return ()
    estimate = float(average.joint().value[0])
    ranked = np.argsort(-_moves(leave_one_out(scores)[:, 0], estimate), kind="stable")[:most]
    clusters = [int(rows.cluster[i]) for i in ranked]
    left = np.array([_left(average, cluster, again) for cluster in clusters])
    order = np.argsort(-_moves(left, estimate), kind="stable")
    return tuple(Without(label=labels[clusters[i]], profit=float(left[i])) for i in order)


def _moves(left: Floats, estimate: float) -> Floats:
    """How far each estimate is from the one with everybody; not at all where there is none."""
    moved: Floats = np.abs(np.where(np.isnan(left), estimate, left) - estimate)
    return moved


def _left(average: Aggregate, cluster: int, again: Again | None) -> float:
    """The headline as it would be had the cluster never been there."""
    effects = average.effects
    try:
        found = (again or _again)(effects, without_cluster(effects.moments, cluster))
        return float(aggregate(found).overall.value(found.moments)[0, 0])
    except UpliftlabError:
        return float("nan")


def _again(effects: GroupTime, moments: PanelMoments) -> GroupTime:
    return group_time(
        moments,
        control=effects.control,
        base=effects.rule,
        anticipation=effects.anticipation,
    )


def _methods(
    profit: Panel, anticipation: int
) -> tuple[tuple[str, str, str, Callable[[], Joint]], ...]:
    after = max(1, len(profit.periods) - min(profit.cohorts(), default=0) - 1)
    return (
        (
            "imputation",
            "imputed from untreated periods",
            "needs parallel trends in all periods",
            lambda: imputation(profit, anticipation=anticipation),
        ),
        (
            "interaction_weighted",
            "regression by cohort (Sun and Abraham)",
            "",
            lambda: interaction_weighted(profit, anticipation=anticipation),
        ),
        (
            "stacked",
            "stacked waves",
            "equal weight per wave and window",
            lambda: stacked(profit, pre=2, post=min(4, after), anticipation=anticipation),
        ),
        (
            "local_projections",
            "local projections, first periods",
            f"first {min(4, after) + 1} periods since the change",
            lambda: local_projections(
                profit, post=min(4, after), weighting="equal", anticipation=anticipation
            ),
        ),
        (
            "randomised",
            "efficient, if waves were drawn at random",
            "needs random start dates"
            if profit.drawn is None
            else "its error exchanges all clusters alike, so strata and balance make it wide",
            lambda: _randomised(profit, anticipation),
        ),
        (
            "twfe",
            "two-way fixed effects (for comparison only)",
            "wrong when effects grow or differ by wave",
            lambda: twfe(profit, anticipation=anticipation),
        ),
    )


def _randomised(profit: Panel, anticipation: int) -> Joint:
    if anticipation:
        raise DesignError(
            "it compares from the last period before the change, announced or not"
        )
    return randomised(profit)


def _opinion(
    method: str, label: str, note: str, call: Callable[[], Joint], level: float
) -> Opinion:
    try:
        joint = call()
    except DesignError as error:
        return Opinion(
            method=method, label=label, effect=undefined(method, str(error), level=level)
        )
    return Opinion(
        method=method,
        label=label,
        effect=joint.estimate(joint.names[0], level=level),
        note=note,
    )


def _adjusted(profit: Panel, average: Aggregate, level: float) -> Opinion:
    """The headline's own weights on doubly robust effects given the plan's covariates."""
    effects = average.effects
    label = "the same, given the plan's covariates (doubly robust)"
    try:
        found = adjusted(
            profit,
            control=effects.control,
            base=effects.rule,
            anticipation=effects.anticipation,
        )
        wanted = dict(zip(effects.cells, average.weights, strict=True))
        row = np.array([[wanted.get(cell, 0.0) for cell in found.cells]])
        joint = found.joint(row, ["adjusted"])
    except (DesignError, DataError) as error:
        nothing = undefined("adjusted", str(error), level=level)
        return Opinion(method="adjusted", label=label, effect=nothing)
    return Opinion(
        method="adjusted",
        label=label,
        effect=joint.estimate(joint.names[0], level=level),
        note="; ".join(found.notes),
    )


def _by_assignment(profit: Panel, average: Aggregate, level: float) -> Opinion:
    """Re-assign whole clusters to waves."""
    label = "re-assignment of clusters to waves"
    how = "if waves were drawn at random"
    if profit.drawn is not None:
        how = f"clusters {profit.drawn.words}, as the plan draws them"
    note = f"{how}; each cluster counts once"
    method = "randomisation"
    rows = average.effects.moments.rows
    few = len(profit.units) <= MOST if rows is None else len(rows.size) <= MOST
    if not few:
        nothing = undefined(method, f"more than {MOST:,} clusters need none", level=level)
        return Opinion(method=method, label=label, effect=nothing)
    try:
        result = reassigned(profit, average.effects, level=level)
    except DesignError as error:
        return Opinion(
            method=method, label=label, effect=undefined(method, str(error), level=level)
        )
    return Opinion(method=method, label=label, effect=result[profit.names[0]], note=note)


__all__ = [
    "event_path",
    "honesty_of",
    "opinions_of",
    "without_of",
]
