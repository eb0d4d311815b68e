"""Who is compared with whom, in which period, and how many stand behind it?"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

Control = Literal["not_yet", "never"]
Base = Literal["universal", "varying"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One cell: a cohort, a period, what it is measured from, and who it is compared with.

    Attributes:
        start: Start of the cohort, as position.
        period: Period of the effect, as position.
        base: Period that the change is measured from.
        pool: Starts of the control cohorts; empty when nobody is untreated.
    """

    start: int
    period: int
    base: int
    pool: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Who stands behind one cell.

    Attributes:
        treated: Treated units (rows of the table, for cross-sections).
        controls: Control units.
        highest: Largest propensity; NaN where none was needed.
        trimmed: Controls without weight because they all but had to be treated.
        note: Why there is no effect; empty when there is one.
    """

    treated: int = 0
    controls: int = 0
    highest: float = math.nan
    trimmed: int = 0
    note: str = ""


def comparisons(
    start: Ints, length: int, *, control: Control, base: Base, anticipation: int
) -> tuple[Comparison, ...]:
    """List the cells of all cohorts that start within the panel.

    Controls "not_yet" are untreated until the later of the two periods plus ``anticipation``.
    Cohorts without a period before treatment have no cells and are never controls.

    Raises:
        DesignError: When no cohort can be compared with any other.

    Examples:
        >>> cells = comparisons(np.array([1, 2, NEVER]), 3, control="never", base="varying",
        ...                     anticipation=0)
        >>> [(c.start, c.period, c.base) for c in cells]
        [(1, 1, 0), (1, 2, 0), (2, 1, 0), (2, 2, 1)]
    """
    starts = np.unique(start)
    if control == "never" and starts[-1] != NEVER:
        raise DesignError(
            "control 'never' needs units that are never treated and there are none; "
            "use control 'not_yet', which compares with cohorts before they start."
        )
    found = []
    for g in (int(s) for s in starts if s < length and s - anticipation >= 1):
        last = g - anticipation - 1
        for t in range(1 if base == "varying" else 0, length):
            before = t - 1 if base == "varying" and t < g else last
            free = starts > max(t, before) + anticipation
            pool = (
                starts[starts == NEVER] if control == "never" else starts[free & (starts != g)]
            )
            found.append(
                Comparison(start=g, period=t, base=before, pool=tuple(int(s) for s in pool))
            )
    if not any(each.pool for each in found):
        raise DesignError(
            "no cohort can be compared: nobody is untreated in any period after a start; "
            "add units that start later, or never."
        )
    return tuple(found)


def support_notes(support: Sequence[Support], covariates: int) -> tuple[str, ...]:
    """Say how many cells have no effect and why, and where support is thin.

    Examples:
        >>> support_notes([Support(note="nobody is untreated to compare with")], 0)
        ('1 of 1 cohort-periods have no effect: nobody is untreated to compare with.',)
    """
    notes = [
        f"{count} of {len(support)} cohort-periods have no effect: {reason}."
        for reason, count in Counter(s.note for s in support if s.note).items()
    ]
    trimmed = max((s.trimmed for s in support if not s.note), default=0)
    if trimmed:
        notes.append(
            f"controls without weight in a cohort-period: at most {trimmed}; a propensity of "
            "0.995 or more has nobody to stand for."
        )
    # The rule of thumb of R's did: covariates plus intercept plus five.
    few = min((s.treated for s in support if not s.note), default=math.inf)
    if few < covariates + 6:
        notes.append(
            f"the smallest cohort has {few:.0f} units for {covariates} covariates; "
            "its standard errors are too small."
        )
    return tuple(notes)


def by_pool(
    found: Sequence[Comparison],
) -> dict[tuple[int, tuple[int, ...]], list[int]]:
    """Cells that share their cohort and its controls; zero by definition is not estimated."""
    groups: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for c, each in enumerate(found):
        if each.pool:
            groups.setdefault((each.start, each.pool), []).append(c)
    return groups
