"""For whom did it earn? Declared segments, judged together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.profit import Profit, assess
from upliftlab.stats.multiplicity import simultaneous

if TYPE_CHECKING:
    from collections.abc import Callable

    from upliftlab.data.cells import Cells
    from upliftlab.economics import Economics
    from upliftlab.estimators.effects import Effects
    from upliftlab.experiment import Experiment
    from upliftlab.stats.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One level of a declared segment, with its profit per arm.

    Attributes:
        column: The declared column.
        level: Its level.
        share: Share of all units.
        n: Units in it, over all arms.
        profits: One per treatment; their wide interval holds over all declared segments.
        differs: Arm -> p-value that all levels of the column earn the same; empty for
            clusters, which may hold units of several levels.
    """

    column: str
    level: str
    share: float
    n: int
    profits: tuple[Profit, ...]
    differs: dict[str, float]

    @property
    def label(self) -> str:
        """Column and level, as in "is_new_customer = yes"."""
        return f"{self.column} = {self.level}"

    def profit_of(self, arm: str) -> Profit:
        """Profit of one arm in this segment."""
        return next(profit for profit in self.profits if profit.arm == arm)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "column": self.column,
            "level": self.level,
            "share": self.share,
            "n": self.n,
            "profits": [profit.to_dict() for profit in self.profits],
            "differs": dict(self.differs),
        }


def segments_of(
    experiment: Experiment,
    cells: Cells,
    economics: Economics,
    days: int | None,
    *,
    estimate: Callable[[Cells, str], Effects],
) -> tuple[Segment, ...]:
    """Estimate profit in every level of the declared segments.

    Intervals are simultaneous, per arm, over all levels of all declared segments. Levels of
    one column are independent; levels of different columns share units, and treating them as
    independent errs on the safe side.

    Args:
        experiment: The plan with its declared segments.
        cells: Moments with the segments among their keys.
        economics: Lines with prices per arm.
        days: Headline window.
        estimate: Estimates the effects in the cells of one level.

    References:
        Šidák (1967), *Journal of the American Statistical Association* 62(318), for the
        product bound under any correlation.
    """
    total = int(cells.n.sum())
    found: list[tuple[str, str, int, tuple[Profit, ...]]] = []
    for column in experiment.decide.segments:
        for level in cells.levels(column):
            part = cells.where(**{column: level})
            by_arm = part.collapse(["arm"])
            if _thin_arms(experiment, by_arm):
                continue
            n = int(by_arm.n.sum())
            profits = _profits(
                experiment,
                estimate(part, column).window(days),
                economics,
                label=f"{column} = {level}",
                window=days,
                eligible=round((experiment.eligible_customers or total) * n / total),
            )
            found.append((column, level, n, profits))
    wide = _together(found)
    differs = {
        column: {} if experiment.cluster else _differs(found, column)
        for column in experiment.decide.segments
    }
    return tuple(
        Segment(
            column=column,
            level=level,
            share=n / total,
            n=n,
            profits=tuple(wide[p.arm][i] for p in profits),
            differs=differs[column],
        )
        for i, (column, level, n, profits) in enumerate(found)
    )


def skipped_levels(experiment: Experiment, cells: Cells) -> tuple[str, ...]:
    """Say which levels of the declared segments are not shown, and why.

    Args:
        experiment: The plan with its declared segments.
        cells: Moments with the segments among their keys.
    """
    return tuple(
        f"{column} = {level} is not shown: fewer than two units in {', '.join(thin)}"
        for column in experiment.decide.segments
        for level in cells.levels(column)
        if (thin := _thin_arms(experiment, cells.where(**{column: level})))
    )


def _thin_arms(experiment: Experiment, cells: Cells) -> tuple[str, ...]:
    by_arm = cells.collapse(["arm"])
    size = {label[0]: int(n) for label, n in zip(by_arm.labels, by_arm.n, strict=True)}
    return tuple(arm.label for arm in experiment.arms if size.get(arm.label, 0) < 2)


def _profits(
    experiment: Experiment,
    effects: Effects,
    economics: Economics,
    *,
    label: str,
    window: int | None,
    eligible: int,
) -> tuple[Profit, ...]:
    return tuple(
        assess(
            effects,
            economics,
            arm=arm.label,
            window=window,
            segment=label,
            eligible=eligible,
            hurdle=float(experiment.decide.iroi_at_least),
            level=float(experiment.decide.confidence),
        )
        for arm in experiment.treatments
    )


def _together(
    found: list[tuple[str, str, int, tuple[Profit, ...]]],
) -> dict[str, list[Profit]]:
    """Widen intervals per arm to hold over all declared segments at once."""
    if not found:
        return {}
    out: dict[str, list[Profit]] = {}
    for i, profit in enumerate(found[0][3]):
        family = [profits[i] for _, _, _, profits in found]
        wide = simultaneous([p.profit for p in family], np.eye(len(family)))
        out[profit.arm] = [
            replace(p, profit_simultaneous=e) for p, e in zip(family, wide, strict=True)
        ]
    return out


def _differs(
    found: list[tuple[str, str, int, tuple[Profit, ...]]], column: str
) -> dict[str, float]:
    """Test per arm that all levels of one column earn the same.

    References:
        Cochran (1954), *Biometrics* 10(1): Q over independent estimates.
    """
    from scipy import stats

    by_arm: dict[str, list[Estimate]] = {}
    for name, _, _, profits in found:
        for each in profits:
            if name == column and each.profit.std_error > 0:
                by_arm.setdefault(each.arm, []).append(each.profit)
    out = {}
    for arm, levels in by_arm.items():
        if len(levels) < 2:
            continue
        tau = np.array([e.estimate for e in levels])
        weight = 1 / np.array([e.std_error for e in levels]) ** 2
        q = float((weight * (tau - (weight @ tau) / weight.sum()) ** 2).sum())
        out[arm] = float(stats.chi2.sf(q, len(levels) - 1))
    return out
