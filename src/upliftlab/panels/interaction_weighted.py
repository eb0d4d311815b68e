"""What does each cohort's own regression coefficient say, averaged with known weights?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.panels.fits import cr1_factor, regress, sum_rows
from upliftlab.panels.two_way import (
    averages,
    clustered,
    kinds,
    opinion,
    require_contrast,
    used_cells,
    with_controls,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.panels.two_way import By, Floats, Ints, Opinion

    Bools = NDArray[np.bool_]

METHOD = "interaction-weighted, shares of cohorts taken as known, CR1"


def interaction_weighted(
    panel: Panel,
    *,
    by: By = "simple",
    controls: Floats | None = None,
    slopes: bool = False,
    anticipation: int = 0,
) -> Opinion:
    """Regress on cohort x time since the start, then average the coefficients.

    Controls are never-treated units, else the last cohort before it starts. The reference
    horizon is -1 - ``anticipation``. In a balanced panel without controls the coefficients are
    differences of cohort means and nothing is inverted. Covariance: CR1 with the convention of
    :func:`upliftlab.panels.two_way.twfe`; cohort shares are taken as known, as fixest does.

    Args:
        panel: Cohorts without a period before the reference are left out, with a note.
        by: "simple", "group", "dynamic" (with horizons before the start) or "calendar".
        controls: Columns that vary over time, shape [N, T, Q].
        slopes: Whether to append the coefficients of ``controls``, as ``component@control0``.
        anticipation: Periods before the start that may react; they keep coefficients.

    Returns:
        One estimate per component, or per component and part, as ``component@e2``.

    Raises:
        DesignError: When nobody is treated, nobody serves as a control, or no cohort has a
            period before treatment.

    References:
        Sun and Abraham (2021), *Journal of Econometrics* 225(2), section 4.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, 4.0], [2.0, 5.5], [1.0, 2.0], [3.0, 4.5]])
        >>> interaction_weighted(Panel.of_arrays(y, [1, 1, NEVER, NEVER])).value.round(6)
        array([2.])
    """
    require_contrast(panel, "interaction weighting")
    weight, starts, notes = _with_last_as_control(panel, anticipation, "interaction weighting")
    cohorts, cell, base, lost = _own_cells(starts, weight, anticipation)
    if len(lost):
        weight = np.where(np.isin(starts, lost)[:, None], 0.0, weight)
        gone = ", ".join(repr(panel.periods[int(g)]) for g in lost)
        notes = (*notes, f"cohort(s) {gone} not observed in the reference period left out")
    sizes = np.where(cell, _sizes(starts, cohorts, weight), 0.0)
    labels, shares = averages(panel.periods, cohorts, sizes, by)
    shares = shares * sizes[:, :, None]
    if controls is None and _is_complete(weight):
        path = _paths(shares, base)
        return _by_means(
            panel, weight, starts, cohorts=cohorts, path=path, labels=labels, notes=notes
        )
    kind, of_kind = kinds(panel, weight, controls)
    of_kind = starts if controls is not None else _start_of(starts, kind, len(of_kind))
    design = _cell_columns(of_kind, cohorts, cell)
    count = design.shape[2]
    fit = regress(panel, weight, kind, with_controls(design, controls))
    wanted = shares[cell].T
    maps = np.zeros((len(wanted), len(fit.kept)))
    maps[:, :count] = wanted
    if slopes and controls is not None:
        maps = np.concatenate([maps, np.eye(len(fit.kept))[count:]])
        labels = [*labels, *(f"control{q}" for q in range(controls.shape[2]))]
    return opinion(panel, fit, maps, labels, method=METHOD, notes=notes)


def saturated(
    panel: Panel,
    *,
    by: By = "simple",
    use_x: bool = True,
    anticipation: int = 0,
) -> Opinion:
    """Regress on cohort x treated period, with covariates interacted and centred by cohort.

    Extended two-way fixed effects: not-yet-treated cells are controls; ``panel.x`` has a slope
    per period and, centred at the cohort's mean, per treated cell. Without covariates the
    estimates equal :func:`upliftlab.panels.imputation.imputation`. Covariance: CR1 with the
    convention of :func:`upliftlab.panels.two_way.twfe`; cohort shares are taken as known.

    Args:
        panel: Always-treated units are left out, with a note.
        by: "simple", "group", "dynamic" or "calendar".
        use_x: Whether to use ``panel.x``.
        anticipation: Periods before the start that are left out.

    Returns:
        One estimate per component, or per component and part, as ``component@e2``.

    Raises:
        DesignError: When nobody is treated or nobody serves as a control.

    References:
        Wooldridge (2021), *Two-way fixed effects, the two-way Mundlak regression, and
        difference-in-differences estimators*, sections 5 and 6.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, 4.0], [2.0, 5.5], [1.0, 2.0], [3.0, 4.5]])
        >>> saturated(Panel.of_arrays(y, [1, 1, NEVER, NEVER])).value.round(6)
        array([2.])
    """
    require_contrast(panel, "saturated regression")
    weight, starts, notes = _with_last_as_control(panel, anticipation, "saturated regression")
    length = panel.shape[1]
    since = np.arange(length)[None, :] - starts[:, None]
    near = (since < 0) & (since >= -anticipation) & (starts < length)[:, None]
    weight = np.where(near, 0.0, weight)
    cohorts = np.unique(starts[(weight.sum(axis=1) > 0) & (starts < length)])
    sizes = _sizes(starts, cohorts, weight)
    cell = (sizes > 0) & (np.arange(length)[None, :] >= cohorts[:, None])
    sizes = np.where(cell, sizes, 0.0)
    labels, shares = averages(panel.periods, cohorts, sizes, by)
    wanted = (shares * sizes[:, :, None])[cell].T
    more = 0
    if not use_x or panel.x.shape[1] == 0:
        kind, of_kind = kinds(panel, weight)
        design = _cell_columns(_start_of(starts, kind, len(of_kind)), cohorts, cell)
    else:
        kind = np.arange(len(starts))
        design = _with_slopes(panel.x, weight, starts, cohorts, cell)
        groups = len(np.unique(starts[(weight > 0).any(axis=1)]))
        more = groups * (1 + panel.x.shape[1]) - 1
    fit = regress(panel, weight, kind, design, more=more)
    maps = np.zeros((len(wanted), len(fit.kept)))
    maps[:, : wanted.shape[1]] = wanted
    return opinion(
        panel,
        fit,
        maps,
        labels,
        method="saturated regression (ETWFE), shares of cohorts taken as known, CR1",
        notes=notes,
    )


def _with_last_as_control(
    panel: Panel, anticipation: int, asked_by: str
) -> tuple[Floats, Ints, tuple[str, ...]]:
    """Weights of cells, starts with the control cohort as never treated, and notes."""
    weight, notes = used_cells(panel)
    length = panel.shape[1]
    starts = panel.start.copy()
    early = (starts < 1 + anticipation) & (weight > 0).any(axis=1)
    if early.any():
        weight[early] = 0.0
        notes = (*notes, f"{early.sum()} unit(s) without a period before treatment left out")
    live = (weight > 0).any(axis=1)
    if not (starts[live] < length).any():
        raise DesignError(
            f"{asked_by} needs a period before treatment; every treated unit starts in the "
            "first periods of the panel. Add earlier periods."
        )
    if not (starts[live] >= length).any():
        last = int(starts[live].max())
        said = (
            f"no never-treated units: units that start in {panel.periods[last]!r} are the "
            "controls, and periods from then on are left out"
        )
        weight[:, max(last - anticipation, 0) :] = 0.0
        starts = np.where(starts == last, length, starts)
        notes = (*notes, said)
        if not (starts[live] < length).any():
            raise DesignError(
                f"{asked_by} needs controls; all units that have a period before treatment "
                f"start in {panel.periods[last]!r}. Add units that start later or never."
            )
    weight[(weight > 0).sum(axis=1) < 2] = 0.0
    return weight, np.minimum(starts, length), notes


def _own_cells(
    starts: Ints, weight: Floats, anticipation: int
) -> tuple[Ints, Bools, Ints, Ints]:
    """Cohorts, their cells with a coefficient [C, T], reference periods, and lost cohorts."""
    length = weight.shape[1]
    cohorts = np.unique(starts[(weight > 0).any(axis=1) & (starts < length)])
    base = cohorts - 1 - anticipation
    seen = _sizes(starts, cohorts, weight) > 0
    fine = seen[np.arange(len(cohorts)), base]
    if not fine.any():
        raise DesignError(
            "interaction weighting needs a cohort that is observed in its reference period, "
            f"{1 + anticipation} before its start; this panel has none."
        )
    cell = seen & (np.arange(length)[None, :] != base[:, None])
    return cohorts[fine], cell[fine], base[fine], cohorts[~fine]


def _sizes(starts: Ints, cohorts: Ints, weight: Floats) -> Floats:
    return np.stack([weight[starts == g].sum(axis=0) for g in cohorts])


def _start_of(starts: Ints, kind: Ints, count: int) -> Ints:
    out = np.zeros(count, dtype=np.int64)
    out[kind] = starts
    return out


def _is_complete(weight: Floats) -> bool:
    """Whether each unit has one weight in all periods that anybody is observed in."""
    live = weight[:, (weight > 0).any(axis=0)]
    return bool((live == live[:, :1]).all())


def _cell_columns(starts: Ints, cohorts: Ints, cell: Bools) -> Floats:
    """One dummy per cell, for rows with these starts, shape [R, T, P]."""
    c, t = np.nonzero(cell)
    out = np.zeros((len(starts), cell.shape[1], len(c)))
    for r, start in enumerate(starts):
        mine = np.flatnonzero(cohorts[c] == start)
        out[r, t[mine], mine] = 1.0
    return out


def _with_slopes(x: Floats, weight: Floats, starts: Ints, cohorts: Ints, cell: Bools) -> Floats:
    """Cells, cells x covariates centred by cohort, and covariates x periods, [N, T, P]."""
    plain = _cell_columns(starts, cohorts, cell)
    mass = weight.sum(axis=1)
    total = mass[:, None] * x
    code = np.unique(starts, return_inverse=True)[1].reshape(-1)
    weights = sum_rows(mass[:, None], code)
    mean = np.divide(
        sum_rows(total, code),
        weights,
        out=np.zeros((len(weights), x.shape[1])),
        where=weights > 0,
    )
    centred = x - mean[code]
    length = weight.shape[1]
    parts = [plain]
    parts += [plain * centred[:, None, p : p + 1] for p in range(x.shape[1])]
    periods = np.eye(length)[:, 1:]
    parts += [x[:, p, None, None] * periods[None] for p in range(x.shape[1])]
    return np.concatenate(parts, axis=2)


def _paths(shares: Floats, base: Ints) -> Floats:
    """Weights of cohort means [C + 1, T, m], the controls last, from weights of cells."""
    path = shares.copy()
    path[np.arange(len(base)), base] -= shares.sum(axis=1)
    return np.concatenate([path, -path.sum(axis=0, keepdims=True)])


def _by_means(
    panel: Panel,
    weight: Floats,
    starts: Ints,
    *,
    cohorts: Ints,
    path: Floats,
    labels: list[str],
    notes: tuple[str, ...],
) -> Opinion:
    """Closed form: coefficients are differences of means of a cohort and the controls."""
    length = weight.shape[1]
    live = weight.max(axis=1)
    code = np.searchsorted(cohorts, starts)
    code = np.where(
        (live > 0) & (starts == length), len(cohorts), np.minimum(code, len(cohorts))
    )
    share = live / sum_rows(live[:, None], code, len(path))[code, 0]
    y = np.where(weight[:, :, None] > 0, panel.y, 0.0)
    count, _, width = y.shape
    flat = sum_rows((share[:, None, None] * y).reshape(count, -1), code, len(path))
    mean = flat.reshape(len(path), length, width)
    value = np.einsum("ctm,ctk->mk", path, mean)
    scores = np.empty((count, len(labels), width))
    for c in range(len(path)):
        units = np.flatnonzero(code == c)
        scores[units] = path[c].T @ (share[units, None, None] * (y[units] - mean[c]))
    seen = weight > 0
    periods = int(seen.any(axis=0).sum())
    groups = len(np.unique(panel.cluster[seen.any(axis=1)]))
    factor = cr1_factor(groups, int(seen.sum()), len(cohorts) * (periods - 1) + periods)
    return clustered(panel, value, scores, labels, factor=factor, method=METHOD, notes=notes)
