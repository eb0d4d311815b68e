"""What a planned test says when it is run many times on noise like the pilot's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.data.panel_grain import DAYS
from upliftlab.design.blocks import noise_of_days, pair_blocks
from upliftlab.design.looked import power_of_plan
from upliftlab.design.simulated import (
    blocks_test,
    simulate_power,
    users_test,
    waves_test,
    weighted_regions_test,
)
from upliftlab.stats.power import TwoMeans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from upliftlab.design.layouts import Layout
    from upliftlab.design.series import Series
    from upliftlab.design.simulated import Simulated
    from upliftlab.design.sizes import Asked
    from upliftlab.experiment import Experiment
    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]

MOST_PER_ARM = 20_000
"""Units of an arm in a simulated test; larger ones are stood in for by one of this size."""


STRETCH = 4
"""Periods of a region's history that are drawn together."""


def run_layout(
    experiment: Experiment,
    series: Series,
    layout: Layout,
    *,
    runs: int,
    progress: Callable[[str], None] | None = None,
) -> Simulated:
    """Run a layout many times by the estimator of the analysis, on noise like the pilot's.

    The effect is the one that is asked for, else the smallest one that the layout promises to
    see. Roll-outs draw their noise from the fitted covariance, regions from the pilot's own
    periods.

    Args:
        experiment: The plan.
        series: Profit without treatment.
        layout: What is run.
        runs: How many times.
        progress: Called with how far it is.
    """
    effect = layout.effect if math.isfinite(layout.effect) else layout.mde
    make = {"staggered": _waves, "switchback": _blocks, "geo": _regions}[layout.kind]
    test = make(experiment, series, layout, effect)
    seed = power_of_plan(experiment).seed
    return simulate_power(test, runs=runs, seed=seed, progress=progress)


def run_users(
    asked: Asked,
    amounts: Mapping[str, Floats],
    *,
    planned: float,
    runs: int,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Simulated]:
    """Run every arm against control many times on customers drawn from the pilot.

    The effect is the smallest one that tests of this size promise to see without adjustment,
    so the share of tests that see it is to be compared with the wanted power.

    Args:
        asked: The plan's question in numbers.
        amounts: Profit of every unit of the pilot, by its arms.
        planned: Units over all arms.
        runs: How many times.
        progress: Called with how far it is.
    """
    control = asked.experiment.control.label
    old = next(iter(amounts.values())) if control not in amounts else amounts[control]
    out = {}
    for arm in (a.label for a in asked.experiment.treatments):
        new = amounts.get(arm, old)
        pair = np.array([asked.shares[control], asked.shares[arm]]) * planned
        pair = np.maximum(np.round(pair * min(1.0, MOST_PER_ARM / pair.max())), 2).astype(int)
        plan = TwoMeans(
            sd=float(old.std(ddof=1)),
            sd_t=float(new.std(ddof=1)),
            ratio=float(pair[1] / pair[0]),
            alpha=1 - asked.level,
            skewness=_skewness(old),
            skewness_t=_skewness(new),
        )
        effect = plan.effect(float(pair[0]), asked.power)
        test = users_test(old, new, sizes=(int(pair[0]), int(pair[1])), effect=effect)
        seed = power_of_plan(asked.experiment).seed
        out[arm] = simulate_power(test, runs=runs, seed=seed, progress=progress)
    return out


def _skewness(amounts: Floats) -> float:
    gap = amounts - amounts.mean()
    return float((gap**3).mean() / (gap**2).mean() ** 1.5)


def _waves(
    experiment: Experiment, series: Series, layout: Layout, effect: float
) -> Callable[[np.random.Generator], Estimate]:
    del experiment
    starts = np.array([s if s >= 0 else NEVER for s in layout.starts.values()])
    root = np.linalg.cholesky(series.covariance(len(layout.periods), level=False))

    def draw(rng: np.random.Generator) -> Floats:
        out: Floats = rng.normal(size=(len(starts), len(root))) @ root.T
        return out * series.scale[:, None]

    return waves_test(draw, starts, effect=effect)


def _blocks(
    experiment: Experiment, series: Series, layout: Layout, effect: float
) -> Callable[[np.random.Generator], Estimate]:
    power, days = power_of_plan(experiment), DAYS[experiment.period or "day"]
    length = max(1, power.block // days)
    level, covariance = noise_of_days(series, len(layout.periods), days)
    block, pair = pair_blocks(len(layout.periods), length, daily=days == 1)
    root = np.linalg.cholesky(covariance)
    return blocks_test(
        lambda rng: level + root @ rng.normal(size=len(root)),
        block,
        pair,
        burn_in=-(-power.burn_in // days),
        effect=effect,
        lasts=-(-power.lingers // days),
    )


def _regions(
    experiment: Experiment, series: Series, layout: Layout, effect: float
) -> Callable[[np.random.Generator], Estimate]:
    """Stretches of the time before in random order, so that neighbours stay neighbours."""
    del experiment
    length = series.y.shape[1]
    chosen = [series.labels.index(name) for name, start in layout.starts.items() if start >= 0]
    window = len(layout.periods) - length

    def draw(rng: np.random.Generator) -> Floats:
        begins = rng.integers(0, length, -(-length // STRETCH))
        at = (begins[:, None] + np.arange(STRETCH)).ravel()[:length] % length
        return series.y[:, at]

    return weighted_regions_test(draw, chosen, window=window, effect=effect)
