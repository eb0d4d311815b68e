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


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One level of a declared segment, with its profit per arm.

    Attributes:
        column: The declared column.
        level: Its level.
        share: Share of all units.
        n: Units in it, over all arms.
        profits: One per treatment; their wide interval holds over all declared segments.
        differs: Arm -> p-value that all levels of the column earn the same.
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
    arms = [arm.label for arm in experiment.arms]
    total = int(cells.n.sum())
    found: list[tuple[str, str, int, tuple[Profit, ...]]] = []
    for column in experiment.decide.segments:
        for level in cells.levels(column):
            part = cells.where(**{column: level})
            by_arm = part.collapse(["arm"])
            size = {label[0]: int(by_arm.n[i]) for i, label in enumerate(by_arm.labels)}
            if any(size.get(arm, 0) < 2 for arm in arms):
                continue
            n = sum(size.values())
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
    differs = {column: _differs(found, column) for column in experiment.decide.segments}
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

    levels = [profits for name, _, _, profits in found if name == column]
    if len(levels) < 2:
        return {}
    out = {}
    for i, first in enumerate(levels[0]):
        tau = np.array([profits[i].profit.estimate for profits in levels])
        variance = np.array([profits[i].profit.std_error for profits in levels]) ** 2
        weight = 1 / variance
        q = float((weight * (tau - (weight @ tau) / weight.sum()) ** 2).sum())
        out[first.arm] = float(stats.chi2.sf(q, len(levels) - 1))
    return out
