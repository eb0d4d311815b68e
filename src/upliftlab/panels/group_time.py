"""What did treatment do to each cohort in each period?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from upliftlab.data.panel import NEVER, Panel
from upliftlab.data.panel_moments import PanelMoments
from upliftlab.errors import DesignError
from upliftlab.panels.forms import Forms, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Control = Literal["not_yet", "never"]
Base = Literal["universal", "varying"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupTime:
    """ATT(g, t) of every cohort g and period t, as linear forms of the cohorts' means.

    Attributes:
        moments: Of the panel.
        cells: (start of the cohort, period), as positions in ``moments.periods``.
        base: Period that each cell's change is measured from, as position.
        forms: One functional per cell.
        control: "not_yet": whoever is untreated by then; "never": never-treated units only.
        rule: "universal": one base, the last period before anticipation; "varying": before
            treatment, the period before.
        anticipation: Periods before the start in which behaviour may already change.
        notes: What was left out, and why.
    """

    moments: PanelMoments
    cells: tuple[tuple[int, int], ...]
    base: tuple[int, ...]
    forms: Forms
    control: Control
    rule: Base
    anticipation: int
    notes: tuple[str, ...] = ()

    @property
    def att(self) -> Floats:
        """Effects per unit and period, shape [C, K]."""
        return self.forms.value(self.moments)

    def label(self, cell: int) -> str:
        """Name a cell by the labels of its periods."""
        start, period = self.cells[cell]
        return f"{self.moments.periods[start]},{self.moments.periods[period]}"


def group_time(
    data: Panel | PanelMoments,
    *,
    control: Control = "not_yet",
    base: Base = "universal",
    anticipation: int = 0,
) -> GroupTime:
    """Estimate the effect of treatment on each cohort in each period.

    ATT(g, t) = mean over g of (Y_t - Y_b) - mean over controls of (Y_t - Y_b), where b is the
    last period before g starts, less ``anticipation``. All components come from the same sums.

    Args:
        data: A balanced panel, or its moments.
        control: Who stands for what would have happened.
        base: What the change before treatment is measured from.
        anticipation: Periods before the start that are neither before nor after.

    Returns:
        One effect per cohort and period; NaN with a note where there is no control. Cohorts
        without a period before treatment have no effects, and are never controls.

    Raises:
        DesignError: When no cohort can be compared with any other, or a word is unknown.

    References:
        Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), equations 2.5 to 2.10.

    Examples:
        >>> y = np.array([[1.0, 4.0], [3.0, 6.0], [2.0, 3.0], [4.0, 5.0]])
        >>> group_time(Panel.of_arrays(y, [1, 1, NEVER, NEVER])).att
        array([[0.],
               [2.]])
    """
    refuse_unknown("control", control, get_args(Control))
    refuse_unknown("base", base, get_args(Base))
    if anticipation < 0:
        raise DesignError(
            f"anticipation is {anticipation}; it counts periods before the start, 0 or more."
        )
    moments = data if isinstance(data, PanelMoments) else PanelMoments.of(data)
    if control == "never" and moments.never is None:
        raise DesignError(
            "control 'never' needs units that are never treated and there are none; "
            "use control 'not_yet', which compares with cohorts before they start."
        )
    found = list(_cells(moments, control, base, anticipation))
    if not any(pool.size for *_, pool in found):
        raise DesignError(
            f"no cohort can be compared: starts {_starts(moments)} leave nobody untreated in "
            "any period after a start; add units that start later, or never."
        )
    forms = _forms(moments, found)
    return GroupTime(
        moments=moments,
        cells=tuple((int(moments.start[s]), t) for s, t, _, _ in found),
        base=tuple(b for _, _, b, _ in found),
        forms=forms,
        control=control,
        rule=base,
        anticipation=anticipation,
        notes=(*moments.notes, *_notes(moments, anticipation, found)),
    )


def _cells(
    moments: PanelMoments, control: Control, base: Base, anticipation: int
) -> Iterator[tuple[int, int, int, NDArray[np.int64]]]:
    """Yield cohort, period, base period and control cohorts of every cell."""
    length = len(moments.periods)
    for s, start in enumerate(moments.start):
        last = int(start) - anticipation - 1
        if start == NEVER or start >= length or last < 0:
            continue
        for t in range(length):
            post = t >= start
            if base == "varying" and not post:
                if t == 0:
                    continue
                before = t - 1
            else:
                before = last
            if control == "never":
                pool = np.array([moments.never])
            else:
                free = moments.start > max(t, before) + anticipation
                pool = np.flatnonzero(free & (np.arange(len(moments.start)) != s))
            yield s, t, before, pool


def _forms(
    moments: PanelMoments, found: list[tuple[int, int, int, NDArray[np.int64]]]
) -> Forms:
    """Turn cells into slopes and the influence of pooled shares."""
    count, cohorts, length = len(found), len(moments.start), len(moments.periods)
    slope = np.zeros((count, cohorts, length))
    share = np.zeros((count, cohorts, len(moments.names)))
    known = np.ones(count, dtype=bool)
    for c, (s, t, before, pool) in enumerate(found):
        weight = moments.weight[pool]
        known[c] = bool(pool.size)
        if not pool.size or t == before:
            continue
        slope[c, s, t] += 1.0
        slope[c, s, before] -= 1.0
        slope[c, pool, t] -= weight / weight.sum()
        slope[c, pool, before] += weight / weight.sum()
        change = moments.mean[pool, t] - moments.mean[pool, before]
        middle = (weight[:, None] * change).sum(axis=0) / weight.sum()
        share[c, pool] = -(change - middle) / weight.sum()
    names = tuple(
        f"{moments.periods[moments.start[s]]},{moments.periods[t]}" for s, t, *_ in found
    )
    return Forms(names=names, slope=slope, share=share, known=known)


def _starts(moments: PanelMoments) -> list[str]:
    return [
        "never" if start >= len(moments.periods) else moments.periods[int(start)]
        for start in moments.start
    ]


def _notes(
    moments: PanelMoments,
    anticipation: int,
    found: list[tuple[int, int, int, NDArray[np.int64]]],
) -> tuple[str, ...]:
    """Say what has no effect, and why."""
    notes = []
    early = (moments.start != NEVER) & (moments.start - anticipation - 1 < 0)
    if early.any():
        notes.append(
            f"{moments.units[early].sum():,.0f} units were treated before the first period "
            "that could serve as before; they have no effect here and serve as nobody's "
            "control."
        )
    empty = sum(1 for _, t, _, pool in found if not pool.size)
    if empty:
        notes.append(
            f"{empty} of {len(found)} cohort-periods have nobody untreated to compare with; "
            "their effects are unknown, and averages name the periods they cover."
        )
    return tuple(notes)
