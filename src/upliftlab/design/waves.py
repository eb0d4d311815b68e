"""Which cluster switches in which wave, and how small a profit that shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER, Panel
from upliftlab.data.panel_grain import DAYS
from upliftlab.design.layouts import Choice, Layout
from upliftlab.design.looked import power_of_plan
from upliftlab.design.wave_noise import wave_noise
from upliftlab.errors import DesignError
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
from upliftlab.stats.schedule_power import schedule_std_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.design.series import Series
    from upliftlab.design.wave_noise import WaveNoise
    from upliftlab.experiment import Experiment

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

WAVE_WEEKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WavePlan:
    """A roll-out in waves.

    Attributes:
        waves: How many times some clusters switch; as many again are never treated.
        before: Periods before the first wave.
        each: Periods from one wave to the next, and after the last.
    """

    waves: int
    before: int
    each: int

    @property
    def periods(self) -> int:
        """Periods in all."""
        return self.before + self.waves * self.each

    def starts(self) -> list[int]:
        """First treated period of every wave, never last."""
        return [self.before + w * self.each for w in range(self.waves)] + [NEVER]


def assign_waves(level: Floats, waves: int, *, seed: int) -> Ints:
    """Share clusters out over waves and a group that is never treated, alike in profit.

    Clusters are ranked by profit before; each run of as many as there are groups is shared out
    by chance, so that every group has large and small ones.

    Args:
        level: Profit of each cluster before, shape [G].
        waves: How many times some clusters switch.
        seed: Of the shuffle.

    Returns:
        Wave of each cluster, ``waves`` for never, shape [G].

    Raises:
        DesignError: When some wave would have no cluster.

    Examples:
        >>> assign_waves(np.arange(6.0), 2, seed=1).tolist()
        [1, 0, 2, 2, 1, 0]
    """
    groups = waves + 1
    if len(level) < 2 * groups:
        message = (
            f"{waves} waves and a group that is never treated need {2 * groups} clusters, two "
            f"in each, and there are {len(level)}; plan {max(len(level) // 2 - 1, 0)} waves or "
            "fewer."
        )
        raise DesignError(message)
    rng = np.random.default_rng(seed)
    out = np.empty(len(level), dtype=np.int64)
    order = np.argsort(-np.asarray(level), kind="stable")
    for first in range(0, len(order), groups):
        block = order[first : first + groups]
        out[block] = rng.permutation(groups)[: len(block)]
    return out


def group_time_noise(
    plan: WavePlan, counts: Sequence[int], series: Series
) -> tuple[WaveNoise, float]:
    """Return the noise of the group-time average, and the best possible standard error.

    The average is a linear map of cohort means, so its error under the noise of the pilot's
    clusters is exact; clusters of unequal size or noise count as unequal.

    Args:
        plan: Waves.
        counts: Clusters per wave, never last.
        series: Noise of the pilot.

    References:
        Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2); Hussey and Hughes
        (2007), *Contemporary Clinical Trials* 28(2), for the best possible one.
    """
    starts = np.repeat(plan.starts(), counts)
    rng = np.random.default_rng(0)
    filler = rng.normal(size=(len(starts), plan.periods))
    average = aggregate(group_time(Panel.of_arrays(filler, starts)))
    cohorts = [int(s) for s in average.effects.moments.start]
    sizes = [counts[plan.starts().index(s)] for s in cohorts]
    noise = wave_noise(average.overall.slope[0], sizes, series)
    uneven = 1 + (series.size.std() / series.size.mean()) ** 2
    is_on = np.arange(plan.periods)[None, :] >= starts[:, None]
    bound = schedule_std_error(is_on, series.covariance(plan.periods))
    return noise, bound * math.sqrt(uneven)


def staggered_layout(experiment: Experiment, series: Series, *, effect: float) -> Layout:
    """Lay out a roll-out in waves, and compare it with other numbers of waves.

    Args:
        experiment: The plan.
        series: Profit without treatment.
        effect: Extra profit per unit and period that is asked for, minor units; NaN for none.

    Raises:
        DesignError: When there are too few clusters for the waves.
    """
    power = power_of_plan(experiment)
    plan = _plan(experiment, series, power.waves)
    wave = assign_waves(series.y.mean(axis=1), plan.waves, seed=power.seed)
    counts = np.bincount(wave, minlength=plan.waves + 1).tolist()
    noise, bound = group_time_noise(plan, counts, series)
    starts = {
        label: -1 if w == plan.waves else plan.starts()[w]
        for label, w in sorted(zip(series.labels, wave.tolist(), strict=True),
                               key=lambda pair: (pair[1], pair[0]))
    }  # fmt: skip
    wanted, alpha = float(power.power), 1 - float(experiment.decide.confidence)
    return Layout(
        kind="staggered",
        unit="cluster",
        period=experiment.period or "week",
        periods=tuple(str(t + 1) for t in range(plan.periods)),
        rows={
            label: tuple(int(0 <= start <= t) for t in range(plan.periods))
            for label, start in starts.items()
        },
        starts=starts,
        std_error=noise.std_error,
        bound=bound,
        df=noise.df,
        mde=noise.mde(wanted, alpha=alpha),
        effect=effect,
        power=noise.power(effect, alpha=alpha),
        choices=_choices(experiment, series, effect),
        details={
            "clusters": len(series.labels),
            "units per cluster": float(series.size.mean()),
            "noise of a cluster's mean per period": series.sd,
            "of it carried to the next period": series.share * series.persistence,
            "noise of the noisiest tenth of clusters against the average": float(
                np.quantile(series.scale, 0.9)
            ),
            "standard error": noise.std_error,
            "of the best estimator of a constant effect": bound,
            "degrees of freedom": noise.df,
        },
        notes=(
            (
                "Waves are drawn at random within runs of clusters of similar profit; the last "
                "group is never treated and stands in for the others throughout."
            ),
            (
                "The precision is that of the group-time average, the estimator of the "
                "analysis, with the noise that each cluster of the pilot has of its own."
            ),
        ),
    )


def _plan(experiment: Experiment, series: Series, waves: int, each: int = 0) -> WavePlan:
    days = DAYS[experiment.period or "week"]
    every = power_of_plan(experiment).wave_every
    step = each or max(1, (every // days) if every else WAVE_WEEKS * 7 // days)
    return WavePlan(waves=waves, before=len(series.periods), each=step)


def _choices(experiment: Experiment, series: Series, effect: float) -> tuple[Choice, ...]:
    """Other numbers of waves in the same time, the sharpest first."""
    power = power_of_plan(experiment)
    base = _plan(experiment, series, power.waves)
    span = base.waves * base.each
    wanted, alpha = float(power.power), 1 - float(experiment.decide.confidence)
    found = []
    for waves in range(1, 7):
        if 2 * (waves + 1) > len(series.labels) or span // waves < 1:
            continue
        plan = replace(base, waves=waves, each=span // waves)
        groups = len(series.labels) // (waves + 1)
        counts = [groups] * waves
        counts.append(len(series.labels) - sum(counts))
        noise, _ = group_time_noise(plan, counts, series)
        mde = noise.mde(wanted, alpha=alpha)
        treated = sum(
            c * (plan.periods - s)
            for c, s in zip(counts, plan.starts(), strict=True)
            if s != NEVER
        )
        total = mde * treated * float(series.size.mean())
        found.append(
            Choice(
                label=f"{waves} wave" + ("s" if waves > 1 else ""),
                mde=mde,
                total=total,
                share=mde / abs(series.mean) if series.mean else math.nan,
                power=noise.power(effect, alpha=alpha),
                note="as planned" if waves == power.waves else "",
            )
        )
    return tuple(sorted(found, key=lambda choice: choice.mde))
