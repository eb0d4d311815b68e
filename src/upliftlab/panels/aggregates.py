"""What did treatment do on average: overall, by cohort, by time since it began?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.panels.forms import Forms, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.panels.forms import Inference
    from upliftlab.panels.group_time import GroupTime
    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]

Kind = Literal["simple", "group", "dynamic", "calendar", "total", "anticipation", "everything"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aggregate:
    """Averages of group-time effects.

    Attributes:
        kind: Which average.
        effects: The effects that it averages.
        keys: What the parts are: starts, event times or periods.
        parts: One functional per key.
        overall: One functional: the average over the parts.
        weights: Weight of each cell in ``overall``, shape [C]; adds up to 1 unless it is a
            total.
        observed: The same average of what the treated units were observed to have.
        note: Which cells could not be averaged; empty when none.
    """

    kind: str
    effects: GroupTime
    keys: tuple[int, ...]
    parts: Forms
    overall: Forms
    weights: Floats
    observed: Forms
    note: str = ""

    def joint(self, *, inference: Inference = "small_sample") -> Joint:
        """Overall effect of every component."""
        return self.overall.joint(self.effects.moments, inference=inference)

    def parts_joint(self, *, inference: Inference = "small_sample") -> Joint:
        """Effects of all parts and components together."""
        return self.parts.joint(self.effects.moments, inference=inference)


def aggregate(
    effects: GroupTime,
    kind: Kind = "simple",
    *,
    horizons: tuple[int, int] | None = None,
    balance: int | None = None,
) -> Aggregate:
    """Average group-time effects.

    Post-adoption means t >= g. The weeks of anticipation are neither before nor after: they
    are averaged by "anticipation" alone, and added by "everything" (totals of both).

    Args:
        effects: Of :func:`upliftlab.panels.group_time.group_time`.
        kind: "simple": over unit-periods since adoption; "group": over cohorts, each over its
            periods; "dynamic": over time since adoption; "calendar": over periods; "total":
            sum over unit-periods since adoption; "anticipation": over unit-periods between
            announcement and adoption; "everything": sum over both.
        horizons: First and last event time to keep; only with "dynamic" and "simple".
        balance: Keep cohorts observed up to this event time, and no later ones; "dynamic".

    Returns:
        Parts and overall, with the influence of estimated cohort shares.

    Raises:
        UpliftlabError: When no effect is left to average.

    References:
        Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), table 1 and section
        3.1.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> from upliftlab.panels.group_time import group_time
        >>> y = np.array([[1.0, 4.0], [3.0, 6.0], [2.0, 3.0], [4.0, 5.0]])
        >>> found = group_time(Panel.of_arrays(y, [1, 1, NEVER, NEVER]))
        >>> aggregate(found, "simple").joint().value
        array([2.])
    """
    refuse_unknown("aggregate", kind, get_args(Kind))
    kept = _kept(effects, kind, horizons, balance)
    if not kept:
        raise UpliftlabError(
            f"aggregate {kind!r} has no cohort-period to average; "
            "the panel needs treated periods with somebody untreated beside them."
        )
    part = [_key(effects, kind, c) for c in range(len(effects.cells))]
    keys = tuple(sorted({part[c] for c in kept}))
    groups = [[c for c in kept if part[c] == k] for k in keys]
    names = [_name(effects, kind, k) for k in keys]
    by_group = kind == "group"
    parts = _stacked([_weighted(effects, cells, equal=by_group) for cells in groups], names)
    per_part = np.stack([_weights(effects, cells, equal=by_group) for cells in groups])
    if kind in {"group", "dynamic", "calendar"}:
        overall, weights = _over_parts(effects, kind, parts, per_part, keys)
    else:
        overall, weights = _over_cells(effects, kind, kept)
    return Aggregate(
        kind=kind,
        effects=effects,
        keys=keys,
        parts=parts,
        overall=overall,
        weights=weights,
        observed=seen(effects, weights),
        note=_note(effects, kind, kept),
    )


def custom(
    effects: GroupTime, weights: Mapping[tuple[int, int], float], name: str
) -> Aggregate:
    """Average with given weights per (start, period), taken as fixed.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> from upliftlab.panels.group_time import group_time
        >>> y = np.array([[1.0, 4.0], [3.0, 6.0], [2.0, 3.0], [4.0, 5.0]])
        >>> found = group_time(Panel.of_arrays(y, [1, 1, NEVER, NEVER]))
        >>> custom(found, {(1, 1): 10.0}, "ten units").joint().value
        array([20.])
    """
    unknown = sorted(set(weights) - set(effects.cells))
    if unknown:
        raise UpliftlabError(
            f"aggregate {name!r} weighs {unknown}; the effects hold "
            f"{sorted(set(effects.cells))}."
        )
    vector = np.array([weights.get(cell, 0.0) for cell in effects.cells])
    overall = effects.forms.linear(vector[None], [name])
    return Aggregate(
        kind=name,
        effects=effects,
        keys=(0,),
        parts=overall,
        overall=overall,
        weights=vector,
        observed=seen(effects, vector),
    )


def seen(effects: GroupTime, weights: Floats) -> Forms:
    """The weighted sum, weights [C], of the treated units' own outcomes."""
    moments = effects.moments
    slope = np.zeros((1, len(moments.start), len(moments.periods)))
    for c in np.flatnonzero(weights):
        start, period = effects.cells[c]
        slope[0, np.searchsorted(moments.start, start), period] += weights[c]
    return Forms(
        names=("observed",),
        slope=slope,
        share=np.zeros((1, len(moments.start), len(moments.names))),
        known=np.ones(1, dtype=bool),
    )


def event_time(effects: GroupTime, cell: int) -> int:
    """Periods since the start of a cell's cohort."""
    start, period = effects.cells[cell]
    return period - start


def _key(effects: GroupTime, kind: str, cell: int) -> int:
    """Which part a cell belongs to."""
    start, period = effects.cells[cell]
    return {
        "group": start,
        "calendar": period,
        "dynamic": period - start,
        "anticipation": period - start,
    }.get(kind, 0)


def _kept(
    effects: GroupTime, kind: str, horizons: tuple[int, int] | None, balance: int | None
) -> list[int]:
    """Cells that a kind averages; those without a control are left out, with a note."""
    last = len(effects.moments.periods) - 1
    first, end = horizons or (-last, last)
    out = []
    for c, (start, _) in enumerate(effects.cells):
        e = event_time(effects, c)
        fits = {
            "dynamic": True,
            "anticipation": -effects.anticipation <= e < 0,
            "everything": e >= -effects.anticipation,
        }.get(kind, e >= 0)
        if balance is not None:
            fits = fits and last - start >= balance and e <= balance
        if fits and first <= e <= end and effects.forms.known[c]:
            out.append(c)
    return out


def _cohort_of(effects: GroupTime, cells: Sequence[int]) -> NDArray[np.int64]:
    starts = [effects.cells[c][0] for c in cells]
    found: NDArray[np.int64] = np.searchsorted(effects.moments.start, starts)
    return found


def _weights(effects: GroupTime, cells: Sequence[int], *, equal: bool = False) -> Floats:
    """Weight of each cell within one part, shape [C]."""
    out = np.zeros(len(effects.cells))
    size = effects.moments.weight[_cohort_of(effects, cells)]
    out[list(cells)] = 1 / len(cells) if equal else size / size.sum()
    return out


def _weighted(effects: GroupTime, cells: Sequence[int], *, equal: bool = False) -> Forms:
    """Average cells by cohort size; the sizes are estimated unless weights are equal."""
    form = effects.forms.linear(_weights(effects, cells, equal=equal)[None], ["part"])
    if not equal:
        form.share[0] += _share_term(effects, cells)
    return form


def _share_term(effects: GroupTime, cells: Sequence[int]) -> Floats:
    """Influence of one more unit of a cohort on the weights, shape [S, K].

    With w_c = n_g(c) / D and D = sum over cells, d/dn_s of sum_c w_c a_c is the sum of
    (a_c - average) over the cells of s, divided by D.
    """
    cohort = _cohort_of(effects, cells)
    size = effects.moments.weight[cohort]
    att = effects.att[list(cells)]
    middle = (size[:, None] * att).sum(axis=0) / size.sum()
    out = np.zeros((len(effects.moments.start), att.shape[1]))
    np.add.at(out, cohort, (att - middle) / size.sum())
    return out


def _stacked(forms: Sequence[Forms], names: Sequence[str]) -> Forms:
    return Forms(
        names=tuple(names),
        slope=np.concatenate([form.slope for form in forms]),
        share=np.concatenate([form.share for form in forms]),
        known=np.concatenate([form.known for form in forms]),
    )


def _over_cells(effects: GroupTime, kind: str, kept: Sequence[int]) -> tuple[Forms, Floats]:
    """Average all cells by size, or add them up."""
    if kind in {"total", "everything"}:
        size = np.zeros(len(effects.cells))
        size[list(kept)] = effects.moments.weight[_cohort_of(effects, kept)]
        return effects.forms.linear(size[None], [kind]), size
    return _stacked([_weighted(effects, kept)], [kind]), _weights(effects, kept)


def _over_parts(
    effects: GroupTime, kind: str, parts: Forms, per_part: Floats, keys: Sequence[int]
) -> tuple[Forms, Floats]:
    """Average cohorts by size, or periods and times since the start evenly."""
    if kind == "group":
        cohort = np.searchsorted(effects.moments.start, keys)
        size = effects.moments.weight[cohort]
        lean = size / size.sum()
        form = parts.linear(lean[None], [kind])
        att = parts.value(effects.moments)
        form.share[0, cohort] += (att - lean @ att) / size.sum()
        return form, lean @ per_part
    chosen = [i for i, k in enumerate(keys) if kind != "dynamic" or k >= 0]
    lean = np.zeros(len(keys))
    lean[chosen] = 1 / len(chosen) if chosen else np.nan
    return parts.linear(lean[None], [kind]), lean @ per_part


def _name(effects: GroupTime, kind: str, key: int) -> str:
    if kind in {"dynamic", "anticipation"}:
        return f"e{key}"
    if kind in {"group", "calendar"}:
        return effects.moments.periods[key]
    return kind


def _note(effects: GroupTime, kind: str, kept: Sequence[int]) -> str:
    lost = [
        c
        for c in range(len(effects.cells))
        if not effects.forms.known[c] and (kind == "dynamic" or event_time(effects, c) >= 0)
    ]
    if not lost:
        return ""
    last = max(effects.cells[c][1] for c in kept)
    return (
        f"{len(lost)} cohort-periods without controls are left out; the average covers periods "
        f"up to {effects.moments.periods[last]}."
    )
