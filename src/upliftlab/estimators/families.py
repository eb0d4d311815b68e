"""Which intervals hold together: all arms, all segments, or what a correction selected?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DataError
from upliftlab.estimators.comparison import Interaction, SegmentEffect
from upliftlab.estimators.metrics import contrasts, metric_effect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from upliftlab.estimators.effects import Effects
    from upliftlab.estimators.metrics import MetricEffect
    from upliftlab.plan.metrics import Metric
    from upliftlab.stats.estimate import Estimate

ALL_ARMS = "intervals and adjusted p hold for all arms of a metric at once (max-|t|)"
HOLM = (
    "Holm: each interval has the level of its step and leaves out 0 exactly where adjusted p "
    "is significant; together they claim no simultaneous coverage"
)
FALSE_DISCOVERIES = (
    "Benjamini-Hochberg: intervals of the selected rows, widened for the selection "
    "(false coverage rate)"
)
ALL_SEGMENTS = "intervals and adjusted p hold for all segments of an arm at once (max-|t|)"


def rows_of(
    effects: Effects, metrics: Sequence[Metric], arms: Sequence[str], level: float
) -> tuple[MetricEffect, ...]:
    return tuple(row_of(effects, metric, arm, level) for metric in metrics for arm in arms)


def row_of(effects: Effects, metric: Metric, arm: str, level: float) -> MetricEffect:
    found = metric_effect(effects, metric, arm, level=level)
    if found is None:
        raise DataError.missing_column(metric.components[0], metric.name, effects.names)
    return found


def _widened(
    row: MetricEffect, wide: Estimate, again: Callable[[float], MetricEffect]
) -> MetricEffect:
    """Give a row the reach of its corrected estimate, for the relative interval too."""
    from upliftlab.stats.estimate import two_sided_p

    if not wide.std_error > 0:
        return row
    critical = (wide.ci_high - wide.ci_low) / 2 / wide.std_error
    found = again(1 - two_sided_p(critical, df=row.effect.df))
    return replace(
        found,
        effect=replace(
            found.effect, ci_low=wide.ci_low, ci_high=wide.ci_high, level=wide.level
        ),
        p_adjusted=wide.p_value,
    )


def all_arms(
    effects: Effects, metrics: Sequence[Metric], rows: tuple[MetricEffect, ...], level: float
) -> tuple[MetricEffect, ...]:
    from upliftlab.stats.multiplicity import simultaneous

    out: list[MetricEffect] = []
    for metric in metrics:
        family = [row for row in rows if row.metric == metric.name]
        joint = contrasts(effects, metric, [row.arm for row in family])
        wide = simultaneous([row.effect for row in family], joint.correlation())
        for row, estimate in zip(family, wide, strict=True):
            again = _again(effects, metric, row.arm)
            out.append(_widened(row, replace(estimate, level=level), again))
    return tuple(out)


def _again(effects: Effects, metric: Metric, arm: str) -> Callable[[float], MetricEffect]:
    return lambda level: row_of(effects, metric, arm, level)


def holm(
    effects: Effects, metrics: Sequence[Metric], rows: tuple[MetricEffect, ...], level: float
) -> tuple[MetricEffect, ...]:
    """Adjust p step by step; from the first step that fails on, all have its level."""
    from upliftlab.stats.multiplicity import adjust

    by_name = {metric.name: metric for metric in metrics}
    p = np.array([row.effect.p_value for row in rows])
    adjusted = adjust(p, "holm")
    order = [int(i) for i in np.argsort(p) if not np.isnan(p[i])]
    out = list(rows)
    alpha, step = 1 - level, 0
    for rank, i in enumerate(order):
        if rank and p[order[rank - 1]] <= alpha / (len(order) - step) and step == rank - 1:
            step = rank
        own = 1 - alpha / (len(order) - step)
        found = row_of(effects, by_name[rows[i].metric], rows[i].arm, own)
        out[i] = replace(found, p_adjusted=float(adjusted[i]))
    return tuple(out)


def false_discoveries(
    effects: Effects, metrics: Sequence[Metric], rows: tuple[MetricEffect, ...], level: float
) -> tuple[MetricEffect, ...]:
    from upliftlab.stats.multiplicity import fcr_intervals

    nan = float("nan")
    by_name = {metric.name: metric for metric in metrics}
    wide = fcr_intervals([row.effect for row in rows], q=1 - level)
    out = []
    for row, estimate in zip(rows, wide, strict=True):
        if estimate.shape == "none":
            bare = replace(
                estimate, p_value=row.effect.p_value, rel_ci_low=nan, rel_ci_high=nan
            )
            out.append(replace(row, effect=bare, p_adjusted=estimate.p_value))
        else:
            out.append(_widened(row, estimate, _again(effects, by_name[row.metric], row.arm)))
    return tuple(out)


def all_segments(
    effects: Mapping[str, Effects],
    metric: Metric,
    rows: tuple[SegmentEffect, ...],
    level: float,
) -> tuple[SegmentEffect, ...]:
    from upliftlab.stats.multiplicity import simultaneous

    out = list(rows)
    for arm in dict.fromkeys(row.found.arm for row in rows):
        family = [i for i, row in enumerate(rows) if row.found.arm == arm]
        wide = simultaneous([rows[i].found.effect for i in family], np.eye(len(family)))
        for i, estimate in zip(family, wide, strict=True):
            again = _again(effects[rows[i].segment], metric, arm)
            found = _widened(rows[i].found, replace(estimate, level=level), again)
            out[i] = replace(rows[i], found=found)
    return tuple(out)


def interaction(arm: str, effects: Sequence[Estimate], *, spans: bool) -> Interaction:
    """Test by Welch's F that independent estimates are equal; for two it is his t squared."""
    from scipy import stats

    nan = float("nan")
    varying = [e for e in effects if e.std_error > 0]
    note = ""
    if spans:
        note = f"{arm}: no interaction test, clusters hold units of several segments"
    elif len(varying) < 2:
        note = f"{arm}: no interaction test, fewer than two segments vary"
    if note:
        return Interaction(
            arm=arm, statistic=nan, df_between=nan, df_within=nan, p_value=nan, note=note
        )
    k = len(varying)
    tau = np.array([e.estimate for e in varying])
    weight = 1 / np.array([e.std_error for e in varying]) ** 2
    share = weight / weight.sum()
    loss = float(((1 - share) ** 2 / np.array([e.df for e in varying])).sum())
    q = float((weight * (tau - share @ tau) ** 2).sum())
    f = q / (k - 1) / (1 + 2 * (k - 2) / (k**2 - 1) * loss)
    df = (k**2 - 1) / (3 * loss) if loss > 0 else np.inf
    p = stats.f.sf(f, k - 1, df) if np.isfinite(df) else stats.chi2.sf(q, k - 1)
    return Interaction(
        arm=arm, statistic=f, df_between=float(k - 1), df_within=float(df), p_value=float(p)
    )
