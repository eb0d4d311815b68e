"""Who was observed when, with which components, and since when were they treated?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.assignment.waves import DrawnWaves

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NEVER = int(np.iinfo(np.int32).max)
"""The start of units that are never treated: later than every period."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beside:
    """Sums of what belongs to no unit of a panel, period by period.

    Attributes:
        label: What it is, in words.
        is_shop: Whether it is the shop's own; other creators' otherwise.
        names: Components, K in all.
        y: Sums, shape [T, K].
    """

    label: str
    is_shop: bool
    names: tuple[str, ...]
    y: Floats

    def of(self, name: str) -> Floats:
        """One component over time, shape [T]."""
        found: Floats = self.y[:, self.names.index(name)]
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """Units x periods x components, and the period in which each unit's treatment started.

    Attributes:
        y: Outcomes (money in minor units), shape [N, T, K]; NaN where a unit was not observed.
        names: Components, K in all.
        periods: Labels of the periods in order, T in all.
        start: Position in ``periods`` of each unit's first treated period, shape [N];
            ``NEVER`` for units that are not treated in the panel; beyond the last for those
            whose treatment begins after the panel and was announced in it; 0 for units
            treated throughout.
        cluster: Cluster of each unit, 0 .. G - 1, shape [N]; each unit its own by default.
        weight: Weight of each unit, shape [N]; ones by default.
        x: Covariates known before treatment, shape [N, P]; none by default.
        units: Labels of the units, shape [N].
        cluster_labels: Name of each cluster, G in all; empty where they have none.
        arm: Which of several changes each unit gets, shape [N]; None where there is one.
        terms: Organic and ads rate agreed with each unit in each period, shape [N, T, 2]; NaN
            where none was in force, None where nobody says.
        beside: Sums of what belongs to no unit.
        drawn: How the plan drew clusters into waves; None where it says nothing.
        notes: What was counted and left out on the way, in sentences.
    """

    y: Floats
    names: tuple[str, ...]
    periods: tuple[str, ...]
    start: Ints
    cluster: Ints
    weight: Floats
    x: Floats
    units: NDArray[np.object_]
    cluster_labels: tuple[str, ...] = ()
    arm: NDArray[np.object_] | None = None
    terms: Floats | None = None
    beside: tuple[Beside, ...] = ()
    drawn: DrawnWaves | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of_arrays(
        cls,
        y: Floats,
        start: Sequence[int] | Ints,
        *,
        names: Sequence[str] = ("y",),
        periods: Sequence[object] | None = None,
        cluster: Sequence[int] | Ints | None = None,
        weight: Floats | None = None,
        x: Floats | None = None,
        units: Sequence[object] | None = None,
        arm: Sequence[str] | None = None,
    ) -> Panel:
        """Make a panel from arrays: y [N, T] or [N, T, K], start [N] as positions.

        Examples:
            >>> y = np.arange(8.0).reshape(4, 2)
            >>> Panel.of_arrays(y, [1, 1, NEVER, NEVER]).shape
            (4, 2, 1)
        """
        cube = np.asarray(y, dtype=np.float64)
        cube = cube[:, :, None] if cube.ndim == 2 else cube
        count, length, _ = cube.shape
        codes = (
            np.arange(count) if cluster is None else np.unique(cluster, return_inverse=True)[1]
        )
        return cls(
            y=cube,
            names=tuple(names),
            periods=tuple(str(p) for p in (range(length) if periods is None else periods)),
            start=np.asarray(start, dtype=np.int64),
            cluster=np.asarray(codes, dtype=np.int64),
            weight=np.ones(count) if weight is None else np.asarray(weight, dtype=np.float64),
            x=np.empty((count, 0)) if x is None else np.asarray(x, dtype=np.float64),
            units=np.asarray(range(count) if units is None else units, dtype=object),
            arm=None if arm is None else np.asarray(arm, dtype=object),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Units, periods, components."""
        count, length, width = self.y.shape
        return count, length, width

    @property
    def is_balanced(self) -> bool:
        """Whether every unit was observed in every period."""
        return not bool(np.isnan(self.y).any())

    def cohorts(self) -> tuple[int, ...]:
        """Starts that occur, in order, without ``NEVER``."""
        return tuple(int(g) for g in np.unique(self.start) if g != NEVER)

    def select(self, keep: NDArray[np.bool_] | Ints) -> Panel:
        """Keep some units; clusters are numbered afresh."""
        left, cluster = np.unique(self.cluster[keep], return_inverse=True)
        return replace(
            self,
            y=self.y[keep],
            start=self.start[keep],
            cluster=cluster.astype(np.int64),
            cluster_labels=tuple(self.cluster_labels[g] for g in left)
            if self.cluster_labels
            else (),
            weight=self.weight[keep],
            x=self.x[keep],
            units=self.units[keep],
            arm=None if self.arm is None else self.arm[keep],
            terms=None if self.terms is None else self.terms[keep],
        )

    def component(self, name: str) -> Panel:
        """Keep one component."""
        k = self.names.index(name)
        return replace(self, y=self.y[:, :, k : k + 1], names=(name,))

    def with_outcome(self, y: Floats, names: Sequence[str]) -> Panel:
        """Replace the outcomes, shape [N, T, K]."""
        return replace(self, y=y, names=tuple(names))
