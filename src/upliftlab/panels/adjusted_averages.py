"""What did treatment do on average, next to controls like the treated?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.panels.aggregates import Kind
from upliftlab.panels.forms import Inference, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.panels.adjusted import AdjustedEffects
    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

SUMS = ("total", "everything")
SINGLE = ("simple", "anticipation", *SUMS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdjustedAverage:
    """Averages of adjusted effects.

    Attributes:
        kind: Which average.
        keys: What the parts are: starts, event times or periods.
        parts: Effects of all parts and components together.
        overall: Overall effect of every component.
        note: Which cells could not be averaged; empty when none.
    """

    kind: str
    keys: tuple[int, ...]
    parts: Joint
    overall: Joint
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Maps:
    """Weights of cells [R, C], and influence of one more unit of a cohort on them [R, S, K]."""

    cells: Floats
    share: Floats

    def linear(self, weights: Floats) -> _Maps:
        return _Maps(
            cells=weights @ self.cells, share=np.tensordot(weights, self.share, axes=1)
        )


def adjusted_average(
    effects: AdjustedEffects, kind: Kind = "simple", *, inference: Inference = "small_sample"
) -> AdjustedAverage:
    """Average effects that were adjusted for covariates, as ``aggregate`` does without.

    Args:
        effects: Of :func:`upliftlab.panels.adjusted.adjusted`.
        kind: As in :func:`upliftlab.panels.aggregates.aggregate`.
        inference: "analytic": squared influence with estimated cohort shares and the normal
            law, as R's did; "small_sample": cohorts as large as they are, with their own df.

    Raises:
        UpliftlabError: When no effect is left to average.

    References:
        Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), table 1 and section
        3.1.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> from upliftlab.panels.adjusted import adjusted
        >>> y = np.array([[1.0, 4.0], [3.0, 6.0], [2.0, 3.0], [4.0, 5.0]])
        >>> found = adjusted(Panel.of_arrays(y, [1, 1, NEVER, NEVER]), method="reg")
        >>> adjusted_average(found).overall.value
        array([2.])
    """
    refuse_unknown("aggregate", kind, get_args(Kind))
    refuse_unknown("inference", inference, get_args(Inference))
    kept = [c for c in range(len(effects.cells)) if _fits(effects, kind, c)]
    if not kept:
        raise UpliftlabError(
            f"aggregate {kind!r} has no cohort-period to average; "
            "the panel needs treated periods with somebody comparable beside them."
        )
    part = {c: _key(effects, kind, c) for c in kept}
    keys = tuple(sorted(set(part.values())))
    groups = [[c for c in kept if part[c] == key] for key in keys]
    found = [_averaged(effects, cells, equal=kind == "group") for cells in groups]
    maps = _Maps(
        cells=np.stack([each.cells[0] for each in found]),
        share=np.stack([each.share[0] for each in found]),
    )
    overall = _overall(effects, kind, maps, keys, kept)
    labels = [_name(effects, kind, key) for key in keys]
    return AdjustedAverage(
        kind=kind,
        keys=keys,
        parts=_joint(effects, maps, labels, inference),
        overall=_joint(effects, overall, [kind], inference),
        note=_note(effects, kept),
    )


def _fits(effects: AdjustedEffects, kind: str, cell: int) -> bool:
    start, period = effects.cells[cell]
    since = period - start
    inside = {
        "dynamic": True,
        "anticipation": -effects.anticipation <= since < 0,
        "everything": since >= -effects.anticipation,
    }.get(kind, since >= 0)
    return inside and bool(effects.known[cell])


def _key(effects: AdjustedEffects, kind: str, cell: int) -> int:
    start, period = effects.cells[cell]
    return {
        "group": start,
        "calendar": period,
        "dynamic": period - start,
        "anticipation": period - start,
    }.get(kind, 0)


def _cohorts(effects: AdjustedEffects) -> tuple[Ints, Ints, Floats]:
    """Starts that occur, cohort of every unit, and summed weight of every cohort."""
    starts, code = np.unique(effects.start, return_inverse=True)
    size = np.bincount(code, weights=effects.weight).astype(np.float64)
    return starts, code, size


def _averaged(effects: AdjustedEffects, cells: Sequence[int], *, equal: bool) -> _Maps:
    """Average cells by cohort size, whose estimation counts, or evenly."""
    starts, _, size = _cohorts(effects)
    at = np.searchsorted(starts, [effects.cells[c][0] for c in cells])
    weights = np.zeros((1, len(effects.cells)))
    share = np.zeros((1, len(starts), len(effects.names)))
    if equal:
        weights[0, list(cells)] = 1 / len(cells)
        return _Maps(cells=weights, share=share)
    total = size[at].sum()
    weights[0, list(cells)] = size[at] / total
    att = effects.att[list(cells)]
    middle = weights[0, list(cells)] @ att
    np.add.at(share[0], at, (att - middle) / total)
    return _Maps(cells=weights, share=share)


def _overall(
    effects: AdjustedEffects, kind: str, parts: _Maps, keys: Sequence[int], kept: Sequence[int]
) -> _Maps:
    """One row: over cohorts by size, over times evenly, over cells by size, or their sum."""
    starts, _, size = _cohorts(effects)
    if kind == "group":
        at = np.searchsorted(starts, keys)
        lean = size[at] / size[at].sum()
        row = parts.linear(lean[None])
        att = parts.cells @ np.where(effects.known[:, None], effects.att, 0.0)
        row.share[0, at] += (att - lean @ att) / size[at].sum()
        return row
    if kind in {"dynamic", "calendar"}:
        chosen = [kind != "dynamic" or key >= 0 for key in keys]
        lean = np.array(chosen, dtype=np.float64) / sum(chosen) if any(chosen) else np.nan
        return parts.linear(np.broadcast_to(lean, len(keys))[None])
    if kind in SUMS:
        total = np.zeros((1, len(effects.cells)))
        at = np.searchsorted(starts, [effects.cells[c][0] for c in kept])
        total[0, list(kept)] = size[at]
        return _Maps(cells=total, share=np.zeros((1, len(starts), len(effects.names))))
    return _averaged(effects, kept, equal=False)


def _joint(
    effects: AdjustedEffects, maps: _Maps, names: Sequence[str], inference: Inference
) -> Joint:
    """Maps of the cells with their covariance; estimated shares count with "analytic"."""
    if inference != "analytic" or not maps.share.any():
        return effects.joint(maps.cells, names, inference=inference)
    _, code, _ = _cohorts(effects)
    more = maps.share[:, code].transpose(1, 0, 2) * effects.weight[:, None, None]
    return effects.joint(maps.cells, names, inference=inference, more=more)


def _name(effects: AdjustedEffects, kind: str, key: int) -> str:
    if kind in {"dynamic", "anticipation"}:
        return f"e{key}"
    return effects.periods[key] if kind in {"group", "calendar"} else kind


def _note(effects: AdjustedEffects, kept: Sequence[int]) -> str:
    lost = [
        c
        for c, (start, period) in enumerate(effects.cells)
        if period >= start and not effects.known[c]
    ]
    last = max((effects.cells[c][1] for c in kept), default=math.nan)
    return (
        f"{len(lost)} cohort-periods without an effect are left out; the average covers "
        f"periods up to {effects.periods[int(last)]}."
        if lost
        else ""
    )
