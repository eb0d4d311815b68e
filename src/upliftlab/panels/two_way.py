"""What does least squares with unit and period effects say, and what does it compare?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.panels.fits import regress, sum_rows
from upliftlab.stats.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.panels.fits import Fit

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

By = Literal["simple", "group", "dynamic", "calendar"]

FEW_CLUSTERS = 20
"""Below so many clusters a note says that the interval may be too short."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opinion(Joint):
    """Estimates of one method with their joint covariance, and what a reader must know.

    Attributes:
        method: The method and its small-sample convention, in reader's words.
        clusters: Clusters that carry the covariance.
        notes: What was left out, and why a number does not exist, in sentences.
    """

    method: str = ""
    clusters: int = 0
    notes: tuple[str, ...] = ()


def twfe(panel: Panel, *, controls: Floats | None = None, anticipation: int = 0) -> Opinion:
    """Regress outcomes on treatment with unit and period effects.

    A weighted average of comparisons, some of which use treated units as controls: with
    effects that differ by cohort or grow it can have the wrong sign. For comparison only.
    Covariance: CR1, G/(G-1) x (n-1)/(n-k) with k = columns + T, since unit effects are nested
    in clusters (the convention of fixest); t with G - 1 degrees of freedom.

    Args:
        panel: Units that are observed once are left out.
        controls: Columns that vary over time, shape [N, T, Q].
        anticipation: Periods before the start that are left out.

    Returns:
        One estimate per component, in the unit of the outcome.

    Raises:
        DesignError: When nobody is treated, or nobody serves as a control.

    References:
        Berge (2018), fixest; Goodman-Bacon (2021), *Journal of Econometrics* 225(2).

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, 4.0], [2.0, 5.5], [1.0, 2.0], [3.0, 4.5]])
        >>> found = twfe(Panel.of_arrays(y, [1, 1, NEVER, NEVER]))
        >>> print(found.names, found.value.round(6))
        ('y',) [2.]
    """
    require_contrast(panel, "two-way fixed effects")
    weight, notes = used_cells(panel, anticipation=anticipation)
    kind, starts = kinds(panel, weight, controls)
    design = _started(starts, panel.shape[1])[:, :, None]
    fit = regress(panel, weight, kind, with_controls(design, controls))
    if not fit.kept[0]:
        raise DesignError(
            "two-way fixed effects compare changes of treated units with changes of others; "
            "in this panel treatment is a sum of unit and period effects. Add units that are "
            "never treated, or that start in another period."
        )
    return opinion(
        panel, fit, first(1, fit), ("",), method="two-way fixed effects, CR1", notes=notes
    )


def event_study(
    panel: Panel,
    *,
    reference: int | None = None,
    controls: Floats | None = None,
    anticipation: int = 0,
) -> Opinion:
    """Regress outcomes on time since the start, with unit and period effects.

    With one start this is the usual event study; with several the coefficients of one horizon
    mix the effects of others (Sun and Abraham 2021). Conventions as in :func:`twfe`.

    Args:
        panel: Units that are observed once are left out.
        reference: Horizon that is 0 by definition; -1 - ``anticipation`` by default.
        controls: Columns that vary over time, shape [N, T, Q].
        anticipation: Periods before the start that may react; they keep coefficients.

    Returns:
        One estimate per component and horizon, named ``component@e0``; without never-treated
        units the earliest horizon is a second reference, with a note.

    Raises:
        DesignError: When nobody is treated, or nobody serves as a control.

    References:
        Berge (2018), fixest ``i()``; Sun and Abraham (2021), *Journal of Econometrics* 225(2).

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, 1.0, 4.0], [2.0, 3.0, 5.0], [1.0, 2.0, 2.0], [3.0, 3.0, 4.0]])
        >>> found = event_study(Panel.of_arrays(y, [2, 2, NEVER, NEVER]))
        >>> print(found.names, found.value.round(6))
        ('y@e-2', 'y@e0') [0. 2.]
    """
    require_contrast(panel, "an event study")
    weight, notes = used_cells(panel)
    base = -1 - anticipation if reference is None else reference
    kind, starts = kinds(panel, weight, controls)
    since = np.arange(panel.shape[1])[None, :] - starts[:, None]
    treated = starts < panel.shape[1]
    horizons = [int(e) for e in np.unique(since[treated]) if e != base]
    if treated.all() and len(horizons) > 1:
        notes = (*notes, f"without never-treated units horizon {horizons[0]} is 0 as well")
        horizons = horizons[1:]
    design = np.stack([(since == e) & treated[:, None] for e in horizons], axis=2)
    fit = regress(panel, weight, kind, with_controls(design.astype(float), controls))
    return opinion(
        panel,
        fit,
        first(len(horizons), fit),
        [f"e{e}" for e in horizons],
        method="event study with unit and period effects, CR1",
        notes=notes,
    )


def require_contrast(panel: Panel, asked_by: str) -> None:
    """Refuse a panel in which nobody is treated, or all at once.

    Raises:
        DesignError: With what was found and what is needed.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> require_contrast(Panel.of_arrays(np.ones((2, 2)), [1, NEVER]), "did")
    """
    count, length, _ = panel.shape
    inside = panel.start[panel.start < length]
    if len(inside) == 0:
        raise DesignError(
            f"{asked_by} needs treated units; none of the {count} units starts within the "
            f"{length} periods of the panel."
        )
    if len(inside) == count and len(np.unique(inside)) == 1:
        raise DesignError(
            f"{asked_by} needs controls; all {count} units start in period "
            f"{panel.periods[int(inside[0])]!r} and none is never treated. Add units that "
            "start later or never."
        )


def used_cells(
    panel: Panel, *, anticipation: int = 0, need: int = 2
) -> tuple[Floats, tuple[str, ...]]:
    """Return the weight of each cell [N, T], and notes on what is left out.

    A cell counts where every component was observed; units with fewer than ``need`` cells and
    the ``anticipation`` periods before a start have weight 0.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, np.nan, np.nan], [1.0, 2.0, 3.0]])
        >>> used_cells(Panel.of_arrays(y, [2, NEVER]))
        (array([[0., 0., 0.],
               [1., 1., 1.]]), ('1 unit(s) observed fewer than 2 times left out',))
    """
    seen: Bools = np.asarray(~np.isnan(panel.y).any(axis=2))
    if anticipation > 0:
        since = np.arange(panel.shape[1])[None, :] - panel.start[:, None]
        seen &= ~((since < 0) & (since >= -anticipation))
    few = (seen.sum(axis=1) < need) & (panel.weight > 0)
    seen[few] = False
    notes = (f"{few.sum()} unit(s) observed fewer than {need} times left out",)
    return np.where(seen, panel.weight[:, None], 0.0), notes if few.any() else ()


def kinds(
    panel: Panel, weight: Floats, values: Floats | None = None
) -> tuple[Ints, NDArray[np.int64]]:
    """Return codes [N] of units with one start and one set of cells, and the start of each.

    Units of a kind share every column that is made of starts and periods, so a design has as
    many rows as kinds; with ``values`` of their own, each unit is a kind.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> panel = Panel.of_arrays(np.ones((3, 2)), [1, NEVER, 1])
        >>> kinds(panel, np.ones((3, 2)))[0]
        array([0, 1, 0])
    """
    if values is not None:
        return np.arange(len(weight)), panel.start
    marks = [panel.start[:, None]]
    if not (weight > 0).all():
        marks.append(np.packbits(weight > 0, axis=1).astype(np.int64))
        first, code = np.unique(
            np.concatenate(marks, axis=1), axis=0, return_index=True, return_inverse=True
        )[1:]
    else:
        first, code = np.unique(panel.start, return_index=True, return_inverse=True)[1:]
    return code.reshape(-1).astype(np.int64), panel.start[first]


def with_controls(design: Floats, controls: Floats | None) -> Floats:
    """Append time-varying columns [N, T, Q] to a design whose kinds are units.

    Examples:
        >>> with_controls(np.ones((2, 3, 1)), np.zeros((2, 3, 2))).shape
        (2, 3, 3)
    """
    if controls is None:
        return design
    return np.concatenate([design, np.nan_to_num(controls)], axis=2)


def averages(
    periods: Sequence[str], starts: Ints, sizes: Floats, by: By
) -> tuple[list[str], Floats]:
    """Return weights of cells [C, T, m] that make averages, and a label for each average.

    Args:
        periods: Labels of the periods.
        starts: Start of each cohort, shape [C].
        sizes: Summed unit weights of the cells to average, 0 elsewhere, shape [C, T].
        by: "simple" over cells at or after the start, "group" the same by cohort, "calendar"
            by period, "dynamic" by time since the start, before it included.

    Returns:
        Weights per unit of unit weight: an average is the sum of weights x summed outcomes.

    Raises:
        DesignError: When ``by`` is another word.

    Examples:
        >>> averages(["a", "b"], np.array([1]), np.array([[0.0, 4.0]]), "dynamic")
        (['e0'], array([[[0.  ],
                [0.25]]]))
    """
    since = np.arange(sizes.shape[1])[None, :] - starts[:, None]
    after = (sizes > 0) & (since >= 0)
    parts: list[tuple[str, Bools]]
    if by == "simple":
        parts = [("", after)]
    elif by == "group":
        rows = np.arange(len(starts))[:, None]
        parts = [
            (periods[int(starts[c])], after & (rows == c))
            for c in np.flatnonzero(after.any(axis=1))
        ]
    elif by == "calendar":
        columns = np.arange(sizes.shape[1])[None, :]
        parts = [
            (periods[int(t)], after & (columns == t)) for t in np.flatnonzero(after.any(axis=0))
        ]
    elif by == "dynamic":
        seen = np.unique(since[sizes > 0])
        parts = [(f"e{e}", (sizes > 0) & (since == e)) for e in seen]
    else:
        raise DesignError(
            f"an average by {by!r} is not known; write 'simple', 'group', 'dynamic' or "
            "'calendar'."
        )
    totals = [sizes[cells].sum() for _, cells in parts]
    weights = np.stack(
        [cells / total for (_, cells), total in zip(parts, totals, strict=True)], axis=2
    )
    return [label for label, _ in parts], weights


def first(count: int, fit: Fit) -> Floats:
    """Return the map [count, P] that picks the first coefficients.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[0.0, 3.0], [0.0, 1.0]])
        >>> fit = regress(Panel.of_arrays(y, [1, NEVER]), np.ones((2, 2)), np.array([0, 1]),
        ...               np.array([[[0.0], [1.0]], [[0.0], [0.0]]]))
        >>> first(1, fit)
        array([[1.]])
    """
    return np.eye(len(fit.kept))[:count]


def opinion(
    panel: Panel,
    fit: Fit,
    weights: Floats,
    labels: Sequence[str],
    *,
    method: str,
    notes: tuple[str, ...] = (),
) -> Opinion:
    """Return maps [m, P] of the coefficients of a fit, for every component.

    A map that other coefficients could offset is NaN with a note.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[0.0, 3.0], [0.0, 2.0], [0.0, 1.0]])
        >>> panel = Panel.of_arrays(y, [1, 1, NEVER])
        >>> fit = regress(panel, np.ones((3, 2)), np.array([0, 0, 1]),
        ...               np.array([[[0.0], [1.0]], [[0.0], [0.0]]]))
        >>> opinion(panel, fit, first(1, fit), ("",), method="did").value.round(9)
        array([1.5])
    """
    lost = ~fit.identifies(weights)
    value = np.where(lost[:, None], np.nan, weights @ fit.coefficient)
    if lost.any():
        gone = ", ".join(
            label or "the effect" for label, x in zip(labels, lost, strict=True) if x
        )
        notes = (*notes, f"not identified apart from other columns and effects: {gone}")
    scores = fit.influence(weights)
    return clustered(
        panel, value, scores, labels, factor=fit.factor, method=method, notes=notes
    )


def clustered(
    panel: Panel,
    value: Floats,
    scores: Floats,
    labels: Sequence[str],
    *,
    factor: float = 1.0,
    method: str = "",
    notes: tuple[str, ...] = (),
) -> Opinion:
    """Return estimates [m, K] with the covariance of influences [N, m, K] summed by cluster.

    Names are ``component`` or ``component@label``, components outside, labels inside.
    Covariance is NaN with a note below two clusters.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> panel = Panel.of_arrays(np.ones((2, 2)), [1, NEVER])
        >>> found = clustered(panel, np.array([[3.0]]), np.array([[[1.0]], [[-1.0]]]), [""])
        >>> found.cov, found.df
        (array([[2.]]), array([1.]))
    """
    count = len(scores)
    flat = scores.transpose(0, 2, 1).reshape(count, -1)
    used = (flat != 0).any(axis=1)
    groups = len(np.unique(panel.cluster[used]))
    sums = sum_rows(flat, panel.cluster)
    values = value.T.reshape(-1)
    if groups < 2 or not np.isfinite(factor):
        cov = np.full((len(values), len(values)), np.nan)
        notes = (*notes, f"{groups} cluster(s) or too few cells for a covariance")
    else:
        cov = factor * (sums.T @ sums)
        if groups < FEW_CLUSTERS:
            notes = (
                *notes,
                f"{groups} clusters: the t({groups - 1}) interval may be too short",
            )
    gone = np.isnan(values)
    cov[gone, :] = np.nan
    cov[:, gone] = np.nan
    return Opinion(
        names=tuple(
            f"{name}@{label}" if label else name for name in panel.names for label in labels
        ),
        value=values,
        cov=cov,
        df=np.full(len(values), float(max(groups - 1, 1))),
        method=method,
        clusters=groups,
        notes=notes,
    )


def _started(starts: Ints, length: int) -> Floats:
    return (np.arange(length)[None, :] >= starts[:, None]).astype(float)
