"""What do cohorts say when each is stacked with its own clean controls in one window?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.panels.fits import cr1_factor
from upliftlab.panels.two_way import clustered, require_contrast

if TYPE_CHECKING:
    from upliftlab.data.panel import Panel
    from upliftlab.panels.fits import Floats, Ints
    from upliftlab.panels.two_way import Opinion

Control = Literal["not_yet", "never"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stack:
    """One cohort and its clean controls, observed in the whole window."""

    treated: Ints
    control: Ints
    first: int  # position of the window's first period
    size: float  # unit weight of the treated


def stacked(
    panel: Panel,
    *,
    pre: int = 1,
    post: int = 1,
    by: Literal["simple", "dynamic"] = "simple",
    control: Control = "not_yet",
    anticipation: int = 0,
) -> Opinion:
    """Compare each cohort with clean controls in a window that all cohorts have.

    Cohorts without the whole window are trimmed, so the same cohorts answer at every horizon.
    Controls of a stack are weighted to the share of its treated units in all stacks. One
    regression of the stack on treated x horizon; "simple" is the plain mean over horizons
    0 .. post. Covariance: CR1 by cluster over stacks, G/(G-1) x (n-1)/(n-k) with n rows of the
    stack and k = 2 x periods of the window; t with G - 1 degrees of freedom.

    Args:
        panel: Units not observed in a whole window are left out of that stack.
        pre: Periods before the start; the last of them is the reference.
        post: Periods after the first treated one.
        by: One number, or one per horizon other than the reference.
        control: "not_yet": units untreated (and not anticipating) through the window; "never":
            never treated.
        anticipation: Periods before the start that may react; the window begins so much
            earlier and the reference moves.

    Returns:
        One estimate per component, or per component and horizon, as ``component@e1``.

    Raises:
        DesignError: When no cohort has the window and clean controls.

    References:
        Wing, Freedman and Hollingsworth (2024), *Stacked difference-in-differences*, NBER
        working paper 32054, equation 3 and table 1 (trimmed aggregate ATT).

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, 4.0], [2.0, 5.5], [1.0, 2.0], [3.0, 4.5]])
        >>> stacked(Panel.of_arrays(y, [1, 1, NEVER, NEVER]), post=0).value.round(6)
        array([2.])
    """
    require_contrast(panel, "a stacked regression")
    lead = pre + anticipation
    length = lead + post + 1
    stacks, notes = _stacks(panel, lead, post, control=control, early=anticipation)
    if not stacks:
        raise DesignError(
            f"a stacked regression needs a cohort with {lead} periods before and {post} after "
            "its start, and units that stay untreated through them; this panel has none. "
            "Choose fewer periods before or after."
        )
    reference = pre - 1
    shown = np.array([h for h in range(length) if h != reference])
    maps = np.eye(length)[shown]
    maps[:, reference] -= 1
    labels = [f"e{h - lead}" for h in shown]
    if by == "simple":
        maps = maps[shown >= lead].mean(axis=0, keepdims=True)
        labels = [""]
    value, scores, rows = _moments(panel, stacks, maps)
    groups = len(np.unique(panel.cluster[(scores != 0).any(axis=(1, 2))]))
    return clustered(
        panel,
        value,
        scores,
        labels,
        factor=cr1_factor(groups, rows * length, 2 * length),
        method="stacked regression with corrective weights, CR1",
        notes=notes,
    )


def _stacks(
    panel: Panel, lead: int, post: int, *, control: Control, early: int
) -> tuple[list[_Stack], tuple[str, ...]]:
    total = panel.shape[1]
    seen = ~np.isnan(panel.y).any(axis=2) & (panel.weight > 0)[:, None]
    out, trimmed, partial = [], [], 0
    for start in panel.cohorts():
        if start < lead or start + post >= total:
            trimmed.append(start)
            continue
        window = slice(start - lead, start + post + 1)
        complete = seen[:, window].all(axis=1)
        clean = (
            panel.start >= total if control == "never" else panel.start > start + post + early
        )
        mine = panel.start == start
        partial += int(((mine | clean) & ~complete & seen.any(axis=1)).sum())
        treated = np.flatnonzero(mine & complete)
        others = np.flatnonzero(clean & complete)
        if len(treated) == 0 or len(others) == 0:
            trimmed.append(start)
            continue
        out.append(
            _Stack(
                treated=treated,
                control=others,
                first=start - lead,
                size=float(panel.weight[treated].sum()),
            )
        )
    notes = []
    inside = [panel.periods[g] for g in trimmed if g < total]
    if inside:
        notes.append(f"cohort(s) {', '.join(map(repr, inside))} trimmed: no whole clean window")
    if partial:
        notes.append(f"{partial} unit window(s) not fully observed, left out of their stack")
    return out, tuple(notes)


def _moments(panel: Panel, stacks: list[_Stack], maps: Floats) -> tuple[Floats, Floats, int]:
    """Estimates [m, K], influences [N, m, K] and rows: treated less controls, by horizon."""
    length = maps.shape[1]
    width = panel.shape[2]
    total = sum(stack.size for stack in stacks)
    scores = np.zeros((panel.shape[0], len(maps), width))
    value = np.zeros((len(maps), width))
    rows = 0
    for sign, side in ((1.0, "treated"), (-1.0, "control")):
        parts = []
        for stack in stacks:
            units = stack.treated if side == "treated" else stack.control
            weight = panel.weight[units]
            share = weight / weight.sum() * stack.size / total
            y = panel.y[units, stack.first : stack.first + length]
            parts.append((units, share, y))
        mean = sum(np.einsum("i,itk->tk", share, y) for _, share, y in parts)
        value += sign * (maps @ mean)
        for units, share, y in parts:
            scores[units] += sign * (maps @ (share[:, None, None] * (y - mean)))
            rows += len(units)
    return value, scores, rows
