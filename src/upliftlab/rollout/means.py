"""What did treated units have, and what would they have had without the change?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.estimators.effects import Effects
from upliftlab.panels.forms import Forms, cluster_gaps, cohort_df

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel_moments import PanelMoments
    from upliftlab.panels.aggregates import Aggregate

    Floats = NDArray[np.float64]


def observed_and_expected(average: Aggregate, *, arm: str, control: str) -> Effects:
    """Means per unit and period of the treated, observed and counterfactual.

    The counterfactual is observed less ATT, with the covariance of the two, so that prices of
    either arm can be put on either and the parts of profit add up.

    References:
        Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), for the ATT.
    """
    moments = average.effects.moments
    forms = Forms(
        names=("observed", "effect"),
        slope=np.concatenate([average.observed.slope, average.overall.slope]),
        share=np.concatenate([average.observed.share, average.overall.share]),
        known=np.concatenate([average.observed.known, average.overall.known]),
    )
    joint = forms.joint(moments)
    width = len(moments.names)
    turn = np.array([[1.0, -1.0], [1.0, 0.0]])
    value = joint.value.reshape(2, width)
    # Rounding is no effect: a count that never moves has none.
    value[1, np.abs(value[1]) <= 1e-12 * np.abs(value[0])] = 0.0
    cov = joint.cov.reshape(2, width, 2, width)
    pieces, piece_df = _pieces(forms, moments)
    total = float(_unit_periods(average))
    return Effects(
        arms=(control, arm),
        control=control,
        names=moments.names,
        n=(round(total), round(total)),
        mean=turn @ value,
        cov=np.einsum("ai,ikjl,bj->akbl", turn, cov, turn),
        df=np.full(2, np.nanmin(piece_df)),
        pieces=np.einsum("ai,sikjl,bj->sakbl", turn, pieces, turn),
        piece_df=piece_df,
        method="cohorts that switched against those that had not yet",
    )


def _unit_periods(average: Aggregate) -> float:
    """Treated unit-periods that the average is taken over, each unit by its weight."""
    effects = average.effects
    used = np.flatnonzero(average.weights)
    starts = [effects.cells[c][0] for c in used]
    at = np.searchsorted(effects.moments.start, starts)
    return float(effects.moments.weight[at].sum())


def _pieces(forms: Forms, moments: PanelMoments) -> tuple[Floats, Floats]:
    """Working covariance by cohort: all clusters vary alike, by the pooled covariance."""
    m, width, length = len(forms.names), len(moments.names), len(moments.periods)
    rows = moments.rows
    if rows is not None and rows.straddles:
        cov = forms.joint(moments).cov.reshape(1, m, width, m, width)
        return cov, np.array([len(np.unique(rows.cluster)) - 1.0])
    working, df = cohort_df(moments)
    out = np.zeros((len(moments.start), m, width, m, width))
    if rows is None:
        scatter = moments.scatter
        assert scatter is not None  # noqa: S101 - moments hold one of the two
        pooled = scatter.sum(axis=0) / max(moments.units.sum() - len(moments.start), 1.0)
        shaped = pooled.reshape(length, width, length, width)
        for s, slope in enumerate(forms.slope.transpose(1, 0, 2)):
            half = np.tensordot(slope, shaped, axes=(1, 0))
            out[s] = np.tensordot(half, slope, axes=(2, 1)).transpose(0, 1, 3, 2) * working[s]
        return out, df
    rest = cluster_gaps(moments)
    spare = max(len(rows.size) - len(moments.start), 1)
    for s, slope in enumerate(forms.slope.transpose(1, 0, 2)):
        moved = np.tensordot(rest, slope, axes=(1, 1)).transpose(0, 2, 1).reshape(len(rest), -1)
        out[s] = (moved.T @ moved / spare * working[s]).reshape(m, width, m, width)
    return out, df
