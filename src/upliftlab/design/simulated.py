"""How often would the test see the effect if it were run many times, by its own estimator?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.data.panel import Panel
from upliftlab.errors import DesignError
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.geo_regression import geo_regression
from upliftlab.panels.group_time import group_time
from upliftlab.panels.switchback import Switchback, draw_switchback, switchback_effect
from upliftlab.stats.clusters import arm_mean, difference
from upliftlab.stats.means import welch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """What many runs of one test said.

    Attributes:
        power: Share of runs whose interval leaves 0 out on the side of the effect.
        ci_low: Lower end of the range of that share, by Wilson.
        ci_high: Upper end.
        mean: Mean estimate.
        runs: How many.
        seed: Of the runs.
    """

    power: float
    ci_low: float
    ci_high: float
    mean: float
    runs: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "power": self.power,
            "ci_low": self.ci_low,
            "ci_high": self.ci_high,
            "mean": self.mean,
            "runs": self.runs,
            "seed": self.seed,
        }


def simulate_power(
    test: Callable[[np.random.Generator], Estimate],
    *,
    runs: int = 2000,
    seed: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Simulated:
    """Run a test many times and count how often its interval leaves 0 out.

    Every run has a generator of its own, so a run can be repeated alone.

    Args:
        test: Draws data and answers with the estimator of the analysis.
        runs: How many.
        seed: Fixes all runs.
        progress: Called with how far it is.

    Raises:
        DesignError: When there are fewer than 10 runs.

    References:
        Wilson (1927), *JASA* 22(158), for the range of a share.

    Examples:
        >>> from upliftlab.stats.estimate import interval
        >>> found = simulate_power(lambda rng: interval("x", rng.normal(2.8), 1.0), runs=400)
        >>> 0.7 < found.ci_low < found.power < found.ci_high < 0.9
        True
    """
    if runs < 10:
        raise DesignError(f"{runs} runs say nothing about power; write 200 or more.")
    hits, total = 0, 0.0
    for run in range(runs):
        if progress and run % max(1, runs // 20) == 0:
            progress(f"simulating, {run:,} of {runs:,} tests")
        found = test(np.random.default_rng((seed, run)))
        hits += found.is_above_zero
        total += found.estimate
    low, high = _wilson(hits, runs)
    return Simulated(
        power=hits / runs, ci_low=low, ci_high=high, mean=total / runs, runs=runs, seed=seed
    )


def users_test(
    control: ArrayLike, treatment: ArrayLike, *, sizes: tuple[int, int], effect: float
) -> Callable[[np.random.Generator], Estimate]:
    """Make a test that draws customers from a pilot and compares arms by Welch.

    Args:
        control: Amount of every unit of the pilot's control.
        treatment: The same of its treatment; moved so that arms differ by ``effect``.
        sizes: Units in control and in treatment.
        effect: True difference of means.
    """
    old, new = np.asarray(control, dtype=float), np.asarray(treatment, dtype=float)
    shift = effect - (new.mean() - old.mean())

    def test(rng: np.random.Generator) -> Estimate:
        x = old[rng.integers(0, len(old), sizes[0])]
        y = new[rng.integers(0, len(new), sizes[1])] + shift
        return welch(
            mean_t=float(y.mean()),
            var_t=float(y.var(ddof=1)),
            n_t=len(y),
            mean_c=float(x.mean()),
            var_c=float(x.var(ddof=1)),
            n_c=len(x),
        )

    return test


def clusters_test(
    sizes: ArrayLike, sums: ArrayLike, *, clusters: tuple[int, int], effect: float
) -> Callable[[np.random.Generator], Estimate]:
    """Make a test that draws whole clusters from a pilot and compares arms by CR2.

    Args:
        sizes: Units per cluster of the pilot, shape [G].
        sums: Sum over the units of a cluster, shape [G].
        clusters: How many in control and in treatment.
        effect: True difference per unit.
    """
    m, total = np.asarray(sizes, dtype=float), np.asarray(sums, dtype=float)

    def test(rng: np.random.Generator) -> Estimate:
        c, t = (rng.integers(0, len(m), k) for k in clusters)
        return difference(arm_mean(m[t], total[t] + effect * m[t]), arm_mean(m[c], total[c]))

    return test


def waves_test(
    draw: Callable[[np.random.Generator], Floats],
    starts: Sequence[int] | Ints,
    *,
    effect: float,
) -> Callable[[np.random.Generator], Estimate]:
    """Make a test that shuffles start dates over clusters and averages group-time effects.

    Args:
        draw: Profit of every cluster and period without treatment, shape [G, T].
        starts: First treated period of each place in the roll-out, shape [G].
        effect: True effect per unit and period.
    """
    when = np.asarray(starts)

    def test(rng: np.random.Generator) -> Estimate:
        y = draw(rng)
        mine = rng.permutation(when)
        on = np.arange(y.shape[1])[None, :] >= mine[:, None]
        found = aggregate(group_time(Panel.of_arrays(y + effect * on, mine))).joint()
        return found.estimate(found.names[0])

    return test


def blocks_test(
    draw: Callable[[np.random.Generator], Floats],
    block: Ints,
    pair: Ints,
    *,
    burn_in: int,
    effect: float,
    lasts: int = 0,
) -> Callable[[np.random.Generator], Estimate]:
    """Make a test that tosses the coins of a switchback and compares on with off.

    Args:
        draw: Outcome of every period without treatment, shape [T].
        block: Block of each period.
        pair: Pair of each period's block.
        burn_in: Periods dropped at the start of every block.
        effect: True effect per period.
        lasts: Periods for which the state before still rules.
    """
    first = np.flatnonzero(np.r_[True, np.diff(block) > 0])

    def test(rng: np.random.Generator) -> Estimate:
        on = draw_switchback(pair[first], seed=int(rng.integers(2**31)))[0][block]
        felt = on if lasts == 0 else np.r_[on[:1].repeat(lasts), on[:-lasts]]
        y = draw(rng) + effect * felt
        found = Switchback.of_periods(y, on, block, pair, burn_in=burn_in)
        return switchback_effect(found).estimate("y")

    return test


def regions_test(
    draw: Callable[[np.random.Generator], Floats],
    chosen: Sequence[int],
    *,
    window: int,
    effect: float,
) -> Callable[[np.random.Generator], Estimate]:
    """Make a test that predicts treated regions from the others and adds up the misses.

    Args:
        draw: Profit of every region and period without treatment, shape [N, T].
        chosen: Positions of the treated.
        window: Last periods, in which they are treated.
        effect: True effect per treated region and period.
    """
    from upliftlab.data.panel import NEVER

    def test(rng: np.random.Generator) -> Estimate:
        y = draw(rng).copy()
        y[np.ix_(list(chosen), range(y.shape[1] - window, y.shape[1]))] += effect
        start = np.full(len(y), NEVER)
        start[list(chosen)] = y.shape[1] - window
        found = geo_regression(Panel.of_arrays(y, start)).effect
        return found.estimate(found.names[0])

    return test


def weighted_regions_test(
    draw: Callable[[np.random.Generator], Floats],
    chosen: Sequence[int],
    *,
    window: int,
    effect: float,
    draws: int = 50,
) -> Callable[[np.random.Generator], Estimate]:
    """Make a test that weighs regions and periods, as the analysis of a geo test does.

    Args:
        draw: Profit of every region and period without treatment, shape [N, T].
        chosen: Positions of the treated.
        window: Last periods, in which they are treated.
        effect: True effect per treated region and period.
        draws: Placebo draws behind each standard error.
    """
    from upliftlab.design.region_error import found_effect

    def test(rng: np.random.Generator) -> Estimate:
        y = draw(rng).copy()
        y[np.ix_(list(chosen), range(y.shape[1] - window, y.shape[1]))] += effect
        return found_effect(y, chosen, y.shape[1] - window, draws=draws)

    return test


def _wilson(hits: int, runs: int, z: float = 1.959964) -> tuple[float, float]:
    share = hits / runs
    middle = share + z**2 / (2 * runs)
    reach = z * math.sqrt(share * (1 - share) / runs + z**2 / (4 * runs**2))
    scale = 1 + z**2 / runs
    return (middle - reach) / scale, (middle + reach) / scale
