"""What did treated cells gain over what untreated cells say they would have been?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csgraph

from upliftlab.errors import DesignError
from upliftlab.panels.fits import TwoWay, independent, regress, sum_rows
from upliftlab.panels.two_way import (
    averages,
    clustered,
    first,
    kinds,
    opinion,
    require_contrast,
    used_cells,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.panels.two_way import By, Floats, Ints, Opinion

    Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Imputed:
    """Gaps of target cells to their imputed outcome, and what the untreated fit left."""

    gap: Floats  # [N, T, K]
    target: Floats  # weights of target cells, [N, T]
    untreated: TwoWay
    residual: Floats  # weighted, of untreated cells, [N, T, K]
    cohort: Ints  # position among starts, [N]
    starts: Ints
    controls: _Controls | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Controls:
    """Residualised columns of untreated cells, their inverse Gram, and columns of targets."""

    columns: Floats
    inverse: Floats
    ahead: Floats


def imputation(
    panel: Panel,
    *,
    by: By = "simple",
    controls: Floats | None = None,
    anticipation: int = 0,
    level: Ints | None = None,
) -> Opinion:
    """Average what treated cells gained over their imputed untreated outcome.

    Unit and period effects are fitted on untreated cells only (before ``start`` less
    ``anticipation``); the effect of a treated cell is its outcome less the two. Efficient when
    errors are homoskedastic and uncorrelated; parallel trends must hold in all periods.
    Covariance: residuals of treated cells are centred at the average of their cohort and
    period (weighted as in equation 7, by cluster), which is conservative when effects vary
    within it; no small-sample factor; t with G - 1 degrees of freedom.

    Args:
        panel: Treated units without an untreated cell are left out, with a note.
        by: "simple" over all treated cells, "group", "dynamic" (with anticipation periods as
            horizons below 0) or "calendar".
        controls: Columns that vary over time, shape [N, T, Q].
        anticipation: Periods before the start that may react: neither before nor after.
        level: Code [N] of the effect that takes the place of unit effects, such as a state.

    Returns:
        One estimate per component, or per component and part, as ``component@e2``.

    Raises:
        DesignError: When no treated cell can be imputed.

    References:
        Borusyak, Jaravel and Spiess (2024), *Review of Economic Studies* 91(6), theorems 1, 3.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, 4.0], [2.0, 5.5], [1.0, 2.0], [3.0, 4.5]])
        >>> found = imputation(Panel.of_arrays(y, [1, 1, NEVER, NEVER]))
        >>> print(found.names, found.value.round(6), found.notes[0])
        ('y',) [2.] 4 clusters: the t(3) interval may be too short
    """
    fit = _impute(panel, controls, anticipation, level)
    labels, weights = _averages(panel, fit, by)
    middle, notes = _cohort_means(panel, fit)
    left = fit.target[:, :, None] * (fit.gap - middle[fit.cohort])
    treated = _on_cells(fit, weights, left)
    return clustered(
        panel,
        _value(fit, weights),
        treated + _untreated(fit, weights),
        labels,
        method="imputation, conservative covariance by cohort and period",
        notes=(*fit.notes, *notes),
    )


def two_stage(
    panel: Panel,
    *,
    by: By = "simple",
    controls: Floats | None = None,
    anticipation: int = 0,
    level: Ints | None = None,
) -> Opinion:
    """Return the estimates of :func:`imputation` with the covariance of two-stage regression.

    Residuals of treated cells are centred at the estimate itself, not at their cohort and
    period, and the error of the first stage is carried along (a joint method of moments); no
    small-sample factor; t with G - 1 degrees of freedom. Arguments as in :func:`imputation`.

    Returns:
        One estimate per component, or per component and part, as ``component@e2``.

    Raises:
        DesignError: When no treated cell can be imputed.

    References:
        Gardner (2022), *Two-stage differences in differences*, section 3.3; Butts and Gardner
        (2022), *R Journal* 14(3).

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, 4.0], [2.0, 5.5], [1.0, 2.0], [3.0, 4.5]])
        >>> two_stage(Panel.of_arrays(y, [1, 1, NEVER, NEVER])).value.round(6)
        array([2.])
    """
    fit = _impute(panel, controls, anticipation, level)
    labels, weights = _averages(panel, fit, by)
    value = _value(fit, weights)
    treated = _on_cells(fit, weights, fit.target[:, :, None] * fit.gap)
    own = _on_cells(fit, weights, fit.target[:, :, None])
    return clustered(
        panel,
        value,
        treated - own * value[None] + _untreated(fit, weights),
        labels,
        method="two-stage regression, covariance of both stages",
        notes=fit.notes,
    )


def pretrends(
    panel: Panel,
    *,
    leads: int = 3,
    controls: Floats | None = None,
    anticipation: int = 0,
) -> Opinion:
    """Regress untreated cells on the last periods before treatment.

    The test of Borusyak, Jaravel and Spiess: it uses no treated cell, so its outcome says
    nothing about the estimate that follows. All earlier cells are the reference. Covariance:
    CR1 as in fixest, see :func:`upliftlab.panels.two_way.twfe`.

    Args:
        panel: Units that are observed once are left out.
        leads: How many periods before treatment (and anticipation) have a coefficient.
        controls: Columns that vary over time, shape [N, T, Q].
        anticipation: Periods before the start that are left out.

    Returns:
        One estimate per component and lead, named ``component@e-1``.

    Raises:
        DesignError: When nobody is treated, or nobody serves as a control.

    References:
        Borusyak, Jaravel and Spiess (2024), section 4.4, equation 9.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, 1.0, 4.0], [2.0, 3.0, 5.0], [1.0, 2.0, 2.0], [3.0, 3.0, 4.0]])
        >>> found = pretrends(Panel.of_arrays(y, [2, 2, NEVER, NEVER]), leads=1)
        >>> print(found.names, found.value.round(6))
        ('y@e-1',) [0.]
    """
    require_contrast(panel, "a test of trends before treatment")
    cells, notes = used_cells(panel, anticipation=anticipation)
    before = np.arange(panel.shape[1])[None, :] < panel.start[:, None]
    weight = np.where(before, cells, 0.0)
    weight[(weight > 0).sum(axis=1) < 2] = 0.0
    kind, starts = kinds(panel, weight, controls)
    since = np.arange(panel.shape[1])[None, :] - starts[:, None]
    horizons = [e - anticipation for e in range(-leads, 0)]
    design = np.stack([since == e for e in horizons], axis=2).astype(float)
    if controls is not None:
        design = np.concatenate([design, np.nan_to_num(controls)], axis=2)
    fit = regress(panel, weight, kind, design)
    return opinion(
        panel,
        fit,
        first(len(horizons), fit),
        [f"e{e}" for e in horizons],
        method="trends of untreated cells, CR1",
        notes=notes,
    )


def _impute(
    panel: Panel, controls: Floats | None, anticipation: int, level: Ints | None
) -> _Imputed:
    require_contrast(panel, "imputation")
    cells, notes = used_cells(panel, need=1)
    since = np.arange(panel.shape[1])[None, :] - panel.start[:, None]
    untreated = TwoWay.of(np.where(since < -anticipation, cells, 0.0), level)
    known = _identified(untreated)
    target = np.where(since >= -anticipation, cells, 0.0)
    lost = (target > 0) & ~known
    target[lost] = 0.0
    if lost.any():
        said = (
            f"{lost.sum()} treated cell(s) of {lost.any(axis=1).sum()} unit(s) left out: no "
            "untreated cell says what they would have been"
        )
        notes = (*notes, said)
    if not ((target > 0) & (since >= 0)).any():
        raise DesignError(
            "imputation needs, for some treated unit and period, untreated cells of that unit "
            "and of that period; this panel has none. Add units that start later or never, or "
            "periods before the first start."
        )
    y = np.where(cells[:, :, None] > 0, panel.y, 0.0)
    y, left = _gap(untreated, y)
    extra = None
    if controls is not None:
        extra = _columns(untreated, np.nan_to_num(controls))
        moment = np.einsum("ntq,ntk->qk", extra.columns, untreated.weight[:, :, None] * left)
        slope = extra.inverse @ moment
        y, left = y - extra.ahead @ slope, left - extra.columns @ slope
    starts, cohort = np.unique(panel.start, return_inverse=True)
    return _Imputed(
        gap=np.where(target[:, :, None] > 0, y, 0.0),
        target=target,
        untreated=untreated,
        residual=left * untreated.weight[:, :, None],
        cohort=cohort.reshape(-1),
        starts=starts,
        controls=extra,
        notes=notes,
    )


def _gap(effects: TwoWay, values: Floats) -> tuple[Floats, Floats]:
    """Values less fitted effects in every cell, and the same where the effects were fitted."""
    level, period = effects.effects(values)
    gap = values - level[effects.row][:, None, :] - period[None]
    return gap, np.where(effects.weight[:, :, None] > 0, gap, 0.0)


def _columns(effects: TwoWay, controls: Floats) -> _Controls:
    ahead, columns = _gap(effects, controls)
    weighted = columns * effects.weight[:, :, None]
    gram = np.einsum("ntp,ntq->pq", weighted, columns)
    kept = independent(gram, np.einsum("nt,ntp->p", effects.weight, controls**2))
    inverse = np.zeros_like(gram)
    inverse[np.ix_(kept, kept)] = np.linalg.inv(gram[np.ix_(kept, kept)])
    return _Controls(columns=columns, inverse=inverse, ahead=ahead)


def _identified(effects: TwoWay) -> Bools:
    """Cells whose unit and period effects hang together through untreated cells, [N, T]."""
    has = effects.row_weight > 0
    linked = has.T.astype(float) @ has.astype(float) > 0
    block = csgraph.connected_components(linked, directed=False)[1]
    block = np.where(has.any(axis=0), block, -1)
    of_row = np.where(has.any(axis=1), block[has.argmax(axis=1)], -2)
    known: Bools = of_row[effects.row][:, None] == block[None, :]
    return known


def _averages(panel: Panel, fit: _Imputed, by: By) -> tuple[list[str], Floats]:
    sizes = sum_rows(fit.target, fit.cohort, len(fit.starts))
    return averages(panel.periods, fit.starts, sizes, by)


def _value(fit: _Imputed, weights: Floats) -> Floats:
    summed = fit.target[:, :, None] * fit.gap
    flat = sum_rows(summed.reshape(len(summed), -1), fit.cohort, len(fit.starts))
    cells = flat.reshape(len(fit.starts), *summed.shape[1:])
    out: Floats = np.einsum("ctm,ctk->mk", weights, cells)
    return out


def _on_cells(fit: _Imputed, weights: Floats, left: Floats) -> Floats:
    """Sum over t of weights[cohort, t, m] x left[i, t, k], shape [N, m, K]."""
    out = np.zeros((len(left), weights.shape[2], left.shape[2]))
    for c in np.flatnonzero((weights != 0).any(axis=(1, 2))):
        units = np.flatnonzero(fit.cohort == c)
        periods = np.flatnonzero((weights[c] != 0).any(axis=1))
        out[units] = weights[c, periods].T @ left[np.ix_(units, periods)]
    return out


def _untreated(fit: _Imputed, weights: Floats) -> Floats:
    """Influence of untreated cells: -(Z0 (Z0'Z0)^-1 Z1'w)' e, without forming Z."""
    rows = _on_cells(fit, weights, fit.target[:, :, None])[:, :, 0]
    sizes = sum_rows(fit.target, fit.cohort, len(fit.starts))
    periods = np.einsum("ct,ctm->tm", sizes, weights)
    code = fit.untreated.row
    level, period = fit.untreated.solve(
        sum_rows(rows, code, len(fit.untreated.row_weight)), periods
    )
    by_unit = fit.residual.sum(axis=1)
    out: Floats = -(period.T @ fit.residual) - level[code][:, :, None] * by_unit[:, None, :]
    if fit.controls is not None:
        ahead = _on_cells(fit, weights, fit.target[:, :, None] * fit.controls.ahead)
        pull = fit.controls.inverse @ ahead.sum(axis=0).T
        out -= pull.T @ (fit.controls.columns.transpose(0, 2, 1) @ fit.residual)
    return out


def _cohort_means(panel: Panel, fit: _Imputed) -> tuple[Floats, tuple[str, ...]]:
    """Mean gap by cohort and period [C, T, K], clusters weighted by squared weight."""
    pairs = fit.cohort * (int(panel.cluster.max()) + 1) + panel.cluster
    head, code = np.unique(pairs, return_index=True, return_inverse=True)[1:]
    own = sum_rows(fit.target, code.reshape(-1), len(head))
    weighted = (fit.target[:, :, None] * fit.gap).reshape(len(fit.gap), -1)
    gains = sum_rows(weighted, code.reshape(-1), len(head)).reshape(
        len(head), *fit.gap.shape[1:]
    )
    cohort = fit.cohort[head]
    count = len(fit.starts)
    square = sum_rows(own**2, cohort, count)
    cross = sum_rows((own[:, :, None] * gains).reshape(len(head), -1), cohort, count)
    cross = cross.reshape(count, *fit.gap.shape[1:])
    mean = np.divide(
        cross, square[:, :, None], out=np.zeros_like(cross), where=square[:, :, None] > 0
    )
    clusters = sum_rows((own > 0).astype(float), cohort, count)
    alone = (clusters == 1).any(axis=1)
    names = ", ".join(repr(panel.periods[int(g)]) for g in fit.starts[alone])
    notes = (f"cohort(s) {names} in one cluster: their own error is not in the covariance",)
    return mean, notes if alone.any() else ()
