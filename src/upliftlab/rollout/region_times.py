"""When did regions earn, with the weights of the headline: by wave, by stretch, by period?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.rollout.answer import Cell, Stretch, Wave
from upliftlab.stats.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.panels.synthetic_effect import Readings, SyntheticEffect
    from upliftlab.rollout.booked import Measure
    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]

ALONE = "one wave in one period has no range of its own here"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionTimes:
    """Extra profit of weighted regions over time, at the rates in force.

    Profit is old prices on the effects, which vary from draw to draw, and new less old prices
    on what treated regions were observed to have, which is taken as fixed.

    Attributes:
        found: Effects of all components with one set of weights.
        price: Old prices, shape [K].
        shift: New less old prices on what was observed, by start and period, shape [G, T].
    """

    found: SyntheticEffect
    price: Floats
    shift: Floats

    @classmethod
    def of(cls, found: SyntheticEffect, panel: Panel, profit: Measure) -> RegionTimes:
        """Price what was found; the panel says what treated regions were observed to have."""
        before, after = (
            np.array([rates.get(name, 0.0) for name in panel.names])
            for rates in (profit.before, profit.after)
        )
        shift = np.zeros((len(found.cohorts), len(panel.periods)))
        for g, cohort in enumerate(found.cohorts):
            weight = panel.weight[cohort.treated]
            seen = np.tensordot(weight / weight.sum(), panel.y[cohort.treated], 1)
            shift[g, cohort.start :] = seen[cohort.start :] @ (after - before)
        return cls(found=found, price=before, shift=shift)

    @property
    def mass(self) -> Floats:
        """Weight of the treated seen so many periods since the change, shape [H]."""
        length = len(self.found.periods)
        return np.array(
            [
                sum(each.mass for each in self.found.cohorts if each.start + e < length)
                for e in range(self.found.observed.horizon.shape[1])
            ]
        )

    @property
    def horizon_shift(self) -> Floats:
        """The fixed part of profit by periods since the change, shape [H]."""
        out = np.zeros(len(self.mass))
        for g, cohort in enumerate(self.found.cohorts):
            own = self.shift[g, cohort.start :]
            out[: len(own)] += cohort.mass * own
        shifted: Floats = out / self.mass
        return shifted

    def joint(self, weights: Floats, fixed: Floats, kind: str) -> Joint:
        """Linear maps, weights [R, width], of one kind of readings; fixed [R] is added."""
        names = tuple(str(r) for r in range(len(weights)))
        value, draws = (
            self._read(each, kind) @ weights.T
            for each in (self.found.observed, self.found.draws)
        )
        size = float(np.abs(self.price) @ np.array(self.found.spread.size))
        spread = replace(self.found.spread, size=(size,))
        return spread.joint(names, value[0] + fixed, draws)

    def _read(self, readings: Readings, kind: str) -> Floats:
        """Old prices on readings, shape [B, width]; "over" puts the announced periods first."""
        if kind == "cohort":
            by_cohort: Floats = readings.cohort @ self.price
            return by_cohort
        horizon = readings.horizon @ self.price
        out: Floats = np.concatenate([(readings.lead @ self.price)[:, None], horizon], axis=1)
        return out


def region_waves(times: RegionTimes, waves: Sequence[Wave], level: float) -> tuple[Wave, ...]:
    """Give every wave what its regions earned against the weighted others."""
    cohorts = times.found.cohorts
    fixed = np.array([times.shift[g, each.start :].mean() for g, each in enumerate(cohorts)])
    joint = times.joint(np.eye(len(cohorts)), fixed, "cohort")
    earned = {
        times.found.periods[each.start]: replace(
            joint.estimate(name, level=level), name=times.found.periods[each.start]
        )
        for each, name in zip(cohorts, joint.names, strict=True)
    }
    return tuple(replace(wave, profit=earned.get(wave.start)) for wave in waves)


def region_stretches(
    times: RegionTimes, stretches: Sequence[Stretch], *, ahead: int, ramp: int, level: float
) -> tuple[Stretch, ...]:
    """Average profit of every stretch with the weights of the headline."""
    lead = ahead * sum(each.mass for each in times.found.cohorts)
    mass = np.concatenate([[lead], times.mass])
    event = np.concatenate([[-1], np.arange(len(times.mass))])
    within = {
        "since": event >= 0,
        "announced": event < 0,
        "ramp": (event >= 0) & (event < ramp),
        "after_ramp": event >= ramp,
        "everything": event >= -1,
    }
    shift = np.concatenate([[0.0], times.horizon_shift])
    found = []
    for stretch in stretches:
        chosen = np.where(within[stretch.name], mass, 0.0)
        total = float(chosen.sum())
        if not total:
            found.append(stretch)
            continue
        lean = chosen / total
        joint = times.joint(lean[None], np.array([lean @ shift]), "over")
        profit = replace(joint.estimate("0", level=level), name=stretch.name)
        found.append(
            replace(
                stretch,
                profit=profit,
                total=profit.scaled(total, name=f"{stretch.name} total"),
                unit_periods=total,
            )
        )
    return tuple(found)


def region_cells(times: RegionTimes) -> tuple[Cell, ...]:
    """Profit of every wave in every period, against the weighted others; without ranges."""
    periods = times.found.periods
    return tuple(
        Cell(
            start=periods[cohort.start],
            period=periods[t],
            event=t - cohort.start,
            effect=Estimate(name="cell", estimate=float(gap), shape="none", note=ALONE),
        )
        for g, cohort in enumerate(times.found.cohorts)
        for t, gap in enumerate(cohort.gap @ times.price + times.shift[g])
    )


def region_pay_back(times: RegionTimes, *, ahead: int, level: float) -> float:
    """Periods from the announcement until summed profit is surely above 0, and stays so."""
    count = len(times.mass)
    until = np.concatenate([np.full((count, 1), ahead), np.tril(np.ones((count, count)))], 1)
    joint = times.joint(until, np.cumsum(times.horizon_shift), "over")
    sure = [joint.estimate(name, level=level).is_above_zero for name in joint.names]
    late = [i for i in range(count) if all(sure[i:])]
    return float(ahead + late[0] + 1) if late else math.nan


def _mapped(read: Floats, weights: Floats) -> Floats:
    """Linear maps of each draw, shape [B, R]; NaN where a map uses what the draw lacks."""
    lost = np.isnan(read)
    out: Floats = np.where(lost, 0.0, read) @ weights.T
    out[(lost.astype(float) @ (weights != 0).T.astype(float)) > 0] = np.nan
    return out


__all__ = ["RegionTimes", "region_cells", "region_pay_back", "region_stretches", "region_waves"]
