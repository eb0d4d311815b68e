"""How far did starters move from clean controls, horizon by horizon?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.panels.fits import cr1_factor
from upliftlab.panels.two_way import clustered, require_contrast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.panels.two_way import Opinion

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

Weighting = Literal["variance", "equal"]
Base = Literal["last", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Projection:
    """One regression: estimate [K], influences [N, K], factor, and rows that identify it."""

    value: Floats
    scores: Floats
    factor: float
    rows: int


def local_projections(
    panel: Panel,
    *,
    pre: int = 2,
    post: int = 1,
    by: Literal["simple", "dynamic"] = "simple",
    weighting: Weighting = "variance",
    base: Base = "last",
    control: Literal["not_yet", "never"] = "not_yet",
    anticipation: int = 0,
) -> Opinion:
    """Regress long differences on starting, with period effects and clean controls only.

    At horizon h units that start in t are compared with units still untreated in t + h, in
    y(t + h) less y(t - 1 - ``anticipation``). "simple" averages the outcome over horizons
    0 .. ``post`` with controls untreated through all of them. Covariance: CR1 by cluster,
    G/(G-1) x (n-1)/(n-k), k = 1 + periods with starters and controls, n rows of those periods;
    t with G - 1 degrees of freedom. Horizons have separate factors, applied to scores.

    Args:
        panel: A unit enters a difference when both ends are observed.
        pre: Horizons before the start, from -2 to -``pre`` (less ``anticipation``).
        post: Last horizon.
        by: One number, or one per horizon.
        weighting: "variance": as least squares weighs periods (never negative); "equal": each
            starter counts the same, an average effect on the treated.
        base: "last": the last period before treatment; "mean": all periods before it.
        control: "not_yet": units untreated through the horizon; "never": never treated.
        anticipation: Periods before the start that may react; they have horizons of their own.

    Returns:
        One estimate per component, or per component and horizon, as ``component@e1``; NaN with
        a note for a horizon without starters or controls.

    Raises:
        DesignError: When nobody is treated or no horizon has starters and controls.

    References:
        Dube, Girardi, Jorda and Taylor (2025), *Journal of Applied Econometrics* 40(7),
        equations 8-10 (clean controls), section 3.4 (weights), 3.6 (mean of earlier periods).

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, 4.0], [2.0, 5.5], [1.0, 2.0], [3.0, 4.5]])
        >>> local_projections(Panel.of_arrays(y, [1, 1, NEVER, NEVER]), post=0).value.round(6)
        array([2.])
    """
    require_contrast(panel, "a local projection")
    if by == "simple":
        horizons: list[tuple[int, ...]] = [tuple(range(post + 1))]
        labels = [""]
    else:
        ahead = [h for h in range(-pre, post + 1) if h != -1]
        shifted = [h - anticipation if h < -1 else h for h in ahead]
        steps = sorted({*shifted, *range(-anticipation, 0)})
        horizons, labels = [(h,) for h in steps], [f"e{h}" for h in steps]
    found = [
        _project(
            panel,
            steps,
            weighting=weighting,
            base=base,
            control=control,
            anticipation=anticipation,
        )
        for steps in horizons
    ]
    if all(np.isnan(part.value).all() for part in found):
        raise DesignError(
            "a local projection needs starters with a period before treatment and units that "
            f"stay untreated through horizon {post}; this panel has none. Choose a shorter "
            "horizon."
        )
    gone = [label for label, part in zip(labels, found, strict=True) if part.rows == 0]
    notes = (f"no starters or no clean controls at {', '.join(gone)}",) if gone else ()
    return clustered(
        panel,
        np.stack([part.value for part in found]),
        np.stack([np.sqrt(part.factor) * part.scores for part in found], axis=1),
        labels,
        method=f"local projections, {weighting} weights, clean controls, CR1",
        notes=notes,
    )


def _project(
    panel: Panel,
    steps: Sequence[int],
    *,
    weighting: Weighting,
    base: Base,
    control: str,
    anticipation: int,
) -> _Projection:
    """Weighted least squares of long differences on starting and period effects."""
    count, length, width = panel.shape
    far = max(0, *steps)
    parts = []
    for t in range(max(1 + anticipation, -min(steps)), length - far):
        change = _change(panel, t, steps, base, anticipation)
        used = ~np.isnan(change).any(axis=1) & (panel.weight > 0)
        clean = (
            panel.start >= length
            if control == "never"
            else panel.start > t + far + anticipation
        )
        treated, others = used & (panel.start == t), used & clean
        if treated.any() and others.any():
            parts.append((change, treated, others))
    if not parts:
        return _Projection(
            value=np.full(width, np.nan), scores=np.zeros((count, width)), factor=1.0, rows=0
        )
    return _weighted(panel, parts, weighting)


def _change(
    panel: Panel, t: int, steps: Sequence[int], base: Base, anticipation: int
) -> Floats:
    """Outcome at t + steps less its base, [N, K]."""
    last = t - 1 - anticipation
    before = panel.y[:, last] if base == "last" else _mean_seen(panel.y[:, : last + 1])
    out: Floats = panel.y[:, [t + h for h in steps]].mean(axis=1) - before
    return out


def _mean_seen(values: Floats) -> Floats:
    seen = ~np.isnan(values)
    total = np.where(seen, values, 0.0).sum(axis=1)
    size = seen.sum(axis=1)
    out: Floats = np.divide(total, size, out=np.full_like(total, np.nan), where=size > 0)
    return out


def _weighted(
    panel: Panel, parts: list[tuple[Floats, Bools, Bools]], weighting: Weighting
) -> _Projection:
    width = panel.shape[2]
    w = panel.weight
    heads = []
    for change, treated, others in parts:
        n1, n0 = w[treated].sum(), w[others].sum()
        mean1 = w[treated] @ change[treated] / n1
        mean0 = w[others] @ change[others] / n0
        size = n1 if weighting == "equal" else n1 * n0 / (n1 + n0)
        heads.append((n1, n0, mean1, mean0, size))
    total = sum(head[4] for head in heads)
    value = sum(size / total * (mean1 - mean0) for _, _, mean1, mean0, size in heads)
    scores = np.zeros((len(w), width))
    rows = 0
    for (change, treated, others), (n1, n0, mean1, mean0, size) in zip(
        parts, heads, strict=True
    ):
        # Residuals of the regression: the period effect is fitted with the common slope.
        middle = (n1 * (mean1 - value) + n0 * mean0) / (n1 + n0)
        pull = size / total
        scores[treated] += (pull / n1 * w[treated])[:, None] * (
            change[treated] - value - middle
        )
        scores[others] -= (pull / n0 * w[others])[:, None] * (change[others] - middle)
        rows += int(treated.sum() + others.sum())
    used = (scores != 0).any(axis=1)
    groups = len(np.unique(panel.cluster[used]))
    factor = cr1_factor(groups, rows, 1 + len(parts))
    return _Projection(value=np.asarray(value), scores=scores, factor=factor, rows=rows)
