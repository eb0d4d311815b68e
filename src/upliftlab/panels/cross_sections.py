"""What did treatment do, when every period shows other units?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DataError, DefinitionError
from upliftlab.panels.adjusted import METHODS, AdjustedEffects
from upliftlab.panels.comparisons import Support, comparisons, support_notes
from upliftlab.panels.influence import CellInfluence
from upliftlab.panels.nuisance import design, inverted, logit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.panels.adjusted import Method
    from upliftlab.panels.comparisons import Base, Comparison, Control
    from upliftlab.panels.nuisance import Propensity

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]


def cross_sections(
    y: Floats,
    period: Ints,
    start: Ints,
    *,
    x: Floats | None = None,
    weight: Floats | None = None,
    cluster: Ints | None = None,
    names: Sequence[str] = ("y",),
    periods: Sequence[object] | None = None,
    method: Method = "dr",
    control: Control = "not_yet",
    base: Base = "universal",
    anticipation: int = 0,
) -> AdjustedEffects:
    """Estimate the effect on each cohort in each period from repeated cross-sections.

    Each row is a unit seen once. Who is sampled from a cohort must not change over time, in
    covariates either. "dr" is the locally efficient estimator: it also regresses treated units.

    Args:
        y: Outcomes, shape [n] or [n, K].
        period: Position of each row's period, shape [n].
        start: Position of the first treated period of each row's cohort, shape [n];
            ``NEVER`` for the never treated.
        x: Covariates, shape [n, P]; none by default.
        weight: Weight of each row; ones by default.
        cluster: Cluster of each row; each row its own by default.
        names: Components, K in all.
        periods: Labels of the periods.
        method: How controls are made comparable.
        control: Who stands for what would have happened.
        base: What the change before treatment is measured from.
        anticipation: Periods before the start that are neither before nor after.

    Returns:
        One effect per cohort and period, as from :func:`upliftlab.panels.adjusted.adjusted`;
        units are rows.

    Raises:
        DataError: When outcomes, covariates or weights are missing, or lengths differ.
        DesignError: When no cohort can be compared, or a covariate explains nothing.

    References:
        Sant'Anna and Zhao (2020), *Journal of Econometrics* 219(1), equations 2.8, 3.4 and
        theorem 2; Abadie (2005), *Review of Economic Studies* 72(1).

    Examples:
        >>> from upliftlab.data.panel import NEVER
        >>> y = np.array([1.0, 3.0, 2.0, 4.0, 4.0, 6.0, 3.0, 5.0])
        >>> period = np.array([0, 0, 0, 0, 1, 1, 1, 1])
        >>> start = np.array([1, 1, NEVER, NEVER, 1, 1, NEVER, NEVER])
        >>> cross_sections(y, period, start).att
        array([[0.],
               [2.]])
    """
    if method not in METHODS:
        raise DefinitionError.unknown_word("method", method, METHODS)
    table = _table(y, period, start, x, weight)
    if len(names) != table.y.shape[1]:
        raise DataError(
            f"outcomes of the cross-sections have {table.y.shape[1]} columns and the names are "
            f"{list(names)}; give one name per column."
        )
    labels = tuple(
        str(p) for p in (range(int(table.period.max()) + 1) if periods is None else periods)
    )
    found = comparisons(
        table.start, len(labels), control=control, base=base, anticipation=anticipation
    )
    att = np.full((len(found), table.y.shape[1]), np.nan)
    support, parts = [], []
    for c, each in enumerate(found):
        effect, part, behind = _cell(table, each, method)
        att[c] = effect
        parts.append(part)
        support.append(behind)
    codes = (
        np.arange(len(table.y))
        if cluster is None
        else np.unique(cluster, return_inverse=True)[1]
    )
    return AdjustedEffects(
        names=tuple(names),
        periods=labels,
        cells=tuple((f.start, f.period) for f in found),
        base=tuple(f.base for f in found),
        att=att,
        influence=CellInfluence(
            rows=len(table.y),
            width=table.y.shape[1],
            parts=tuple(parts),
            known=np.array([not s.note for s in support]),
        ),
        support=tuple(support),
        start=table.start,
        cluster=np.asarray(codes, dtype=np.int64),
        weight=table.weight,
        method=method,
        control=control,
        rule=base,
        anticipation=anticipation,
        notes=(
            f"repeated cross-sections: {len(table.y):,} rows, each a unit of its own.",
            *support_notes(support, table.x.shape[1] - 1),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """Rows, checked; ``x`` holds the intercept."""

    y: Floats
    period: Ints
    start: Ints
    x: Floats
    weight: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """One of the two periods of a comparison; weights are zero in the other one.

    Attributes:
        ours: Weights of the treated, adding up to one.
        theirs: Weights of the controls, adding up to one; zeros for regression.
        control_mass: Weights of the controls' regression.
        treated_mass: Weights of the treated units' regression.
    """

    ours: Floats
    theirs: Floats
    control_mass: Floats
    treated_mass: Floats


def _cell(
    table: _Table, each: Comparison, method: Method
) -> tuple[Floats, tuple[Ints, Floats], Support]:
    """Effect and influence of one cell."""
    width = table.y.shape[1]
    if each.pool and each.period == each.base:
        return np.zeros(width), (np.empty(0, dtype=np.int64), np.empty((0, width))), Support()
    inside = (table.start == each.start) | np.isin(table.start, each.pool)
    rows = np.flatnonzero(inside & np.isin(table.period, (each.period, each.base)))
    treated, late = table.start[rows] == each.start, table.period[rows] == each.period
    x, weight = table.x[rows], table.weight[rows]
    score, support = _score(x, treated, late, weight, method)
    if not each.pool:
        support = Support(note="nobody is untreated to compare with")
    effect, influence = np.zeros(width), np.zeros((len(rows), width))
    for sign, when in () if support.note else ((1.0, late), (-1.0, ~late)):
        side = _side(treated, when, weight, score)
        level = _level(table.y[rows], x, weight * treated / weight[treated].sum(), side, method)
        if level is None:
            note = "covariates are collinear in a period, or rows are too few"
            support = replace(support, note=note)
            break
        value, moved, moment = level
        effect += sign * value
        influence += sign * moved
        if score is not None:
            influence -= sign * _surprise(x, treated, weight, score) @ moment
    if support.note:
        effect.fill(np.nan)
    return effect, (rows, influence), support


def _score(
    x: Floats, treated: Booleans, late: Booleans, weight: Floats, method: Method
) -> tuple[Propensity | None, Support]:
    """Propensity over both periods, and whether it leaves somebody on every side."""
    support = Support(treated=int(treated.sum()), controls=int((~treated).sum()))
    sides = [weight * (who & when) for when in (late, ~late) for who in (treated, ~treated)]
    if min(float(side.sum()) for side in sides) <= 0:
        return None, replace(support, note="a period has no treated or no control rows")
    if method == "reg":
        return None, support
    score = logit(x, treated, weight)
    if score.note:
        return None, replace(support, note=score.note)
    odds, trimmed = score.odds(treated, weight)
    support = replace(support, highest=float(score.score.max()), trimmed=trimmed)
    if min(float(odds[late].sum()), float(odds[~late].sum())) <= 0:
        return None, replace(support, note="no control is comparable: all carry no weight")
    return score, support


def _side(treated: Booleans, when: Booleans, weight: Floats, score: Propensity | None) -> _Side:
    ours = weight * (treated & when)
    theirs = np.zeros(len(weight)) if score is None else score.odds(treated, weight)[0] * when
    return _Side(
        ours=ours / ours.sum(),
        theirs=theirs if score is None else theirs / theirs.sum(),
        control_mass=weight * (~treated & when),
        treated_mass=ours,
    )


def _level(
    y: Floats, x: Floats, ours: Floats, side: _Side, method: Method
) -> tuple[Floats, Floats, Floats] | None:
    """Level gap in one period [K], its influence [n, K] and its slope in the score [p, K]."""
    fitted = np.zeros_like(y)
    value, moved = np.zeros(y.shape[1]), np.zeros_like(y)
    balance = side.theirs @ x - ours @ x
    if method != "ipw":
        controls = _regression(y, x, side.control_mass)
        if controls is None:
            return None
        slope, gram = controls
        fitted = x @ slope
        lever = side.control_mass * (x @ (gram @ balance))
        moved += lever[:, None] * (y - fitted)
    if method == "reg":
        middle = side.ours @ y
        guess = ours @ fitted
        moved += side.ours[:, None] * (y - middle) - ours[:, None] * (fitted - guess)
        return middle - guess, moved, np.zeros_like(slope)
    rest = y - fitted
    mean_ours, mean_theirs = side.ours @ rest, side.theirs @ rest
    value = mean_ours - mean_theirs
    moved += side.ours[:, None] * (rest - mean_ours) - side.theirs[:, None] * (
        rest - mean_theirs
    )
    if method == "dr":
        treated = _regression(y, x, side.treated_mass)
        if treated is None:
            return None
        slope, gram = treated
        gap = x @ slope - fitted
        shift = ours - side.ours
        value = value + shift @ gap
        moved += ours[:, None] * (gap - ours @ gap) - side.ours[:, None] * (
            gap - side.ours @ gap
        )
        lever = side.treated_mass * (x @ (gram @ (shift @ x)))
        moved += lever[:, None] * (y - x @ slope)
    moment = x.T @ (side.theirs[:, None] * (rest - mean_theirs))
    return value, moved, moment


def _regression(y: Floats, x: Floats, mass: Floats) -> tuple[Floats, Floats] | None:
    """Slopes [p, K] and inverse design [p, p] of weighted least squares."""
    weighed = mass[:, None] * x
    gram = inverted(weighed.T @ x)
    return None if gram is None else (gram @ (weighed.T @ y), gram)


def _surprise(x: Floats, treated: Booleans, weight: Floats, score: Propensity) -> Floats:
    """Influence of each row on the coefficients of the propensity, shape [n, p]."""
    out: Floats = (weight * (treated - score.score))[:, None] * (x @ score.inverse)
    return out


def _table(
    y: Floats, period: Ints, start: Ints, x: Floats | None, weight: Floats | None
) -> _Table:
    values = np.asarray(y, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    count = len(values)
    mass = np.ones(count) if weight is None else np.asarray(weight, dtype=np.float64)
    covariates = np.empty((count, 0)) if x is None else np.asarray(x, dtype=np.float64)
    lengths = {"y": count, "period": len(period), "start": len(start)}
    lengths |= {"x": len(covariates), "weight": len(mass)}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"columns of the cross-sections have {lengths} rows; they must be equal."
        )
    if not np.isfinite(values).all() or not np.isfinite(mass).all() or (mass < 0).any():
        raise DataError(
            "outcomes or weights of the cross-sections are missing, or weights are negative; "
            "leave these rows out before."
        )
    return _Table(
        y=values,
        period=np.asarray(period, dtype=np.int64),
        start=np.asarray(start, dtype=np.int64),
        x=design(covariates),
        weight=mass,
    )
