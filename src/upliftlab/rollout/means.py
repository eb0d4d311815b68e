"""What did treated units have, and what would they have had without the change?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.estimators.effects import Effects
from upliftlab.panels.aggregates import seen
from upliftlab.panels.forms import Forms, cluster_gaps, cohort_df
from upliftlab.rollout.rates import MARK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel_moments import PanelMoments
    from upliftlab.panels.aggregates import Aggregate

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Components whose price changes from tariff to tariff.

    Attributes:
        components: Their names.
        tariff: Tariff of each cell of the effects, shape [C].
        count: How many tariffs there are.
    """

    components: tuple[str, ...]
    tariff: Ints
    count: int


def observed_and_expected(
    average: Aggregate, *, arm: str, control: str, parts: Parts | None = None
) -> Effects:
    """Means per unit and period of the treated, observed and counterfactual.

    The counterfactual is observed less ATT, with the covariance of the two, so that prices of
    either arm can be put on either and the parts of profit add up.

    Args:
        average: Of group-time effects, with its weights per wave and period.
        arm: What the treated got.
        control: What they would have got.
        parts: Components of which some tariffs are priced apart: what each adds to the average.

    References:
        Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), for the ATT.
    """
    moments = average.effects.moments
    forms = _forms(average, parts)
    joint = forms.joint(moments)
    width, many = len(moments.names), len(forms.names) // 2
    turn = np.array([[1.0, -1.0], [1.0, 0.0]])
    value = joint.value.reshape(many, 2, width)
    # Rounding is no effect: a count that never moves has none.
    value[:, 1][np.abs(value[:, 1]) <= 1e-12 * np.abs(value[:, 0])] = 0.0
    cov = joint.cov.reshape(many, 2, width, many, 2, width)
    found, piece_df = _pieces(forms, moments)
    pieces = found.reshape(-1, many, 2, width, many, 2, width)
    names, at = _places(moments.names, parts)
    total = float(_unit_periods(average))
    return Effects(
        arms=(control, arm),
        control=control,
        names=names,
        n=(round(total), round(total)),
        mean=np.einsum("ai,jik->ajk", turn, value).reshape(2, -1)[:, at],
        cov=_chosen(np.einsum("ai,xikyjl,bj->axkbyl", turn, cov, turn), at),
        df=np.full(2, np.nanmin(piece_df)),
        pieces=np.stack(
            [
                _chosen(np.einsum("ai,xikyjl,bj->axkbyl", turn, each, turn), at)
                for each in pieces
            ]
        ),
        piece_df=piece_df,
        method="cohorts that switched against those that had not yet",
    )


def _forms(average: Aggregate, parts: Parts | None) -> Forms:
    """Observed and effect of the average, then what each tariff adds to both."""
    found = [average.observed, average.overall]
    for tariff in range(parts.count if parts else 0):
        own = average.weights * (parts.tariff == tariff if parts else 1.0)
        found += [
            seen(average.effects, own),
            average.effects.forms.linear(own[None], ["effect"]),
        ]
    return Forms(
        names=tuple(f"{i}" for i in range(len(found))),
        slope=np.concatenate([form.slope for form in found]),
        share=np.concatenate([form.share for form in found]),
        known=np.concatenate([form.known for form in found]),
    )


def _places(names: tuple[str, ...], parts: Parts | None) -> tuple[tuple[str, ...], list[int]]:
    """Names of components and of their parts, and where they stand among all forms."""
    width = len(names)
    at = list(range(width))
    more = (
        [] if parts is None else [(c, j) for c in parts.components for j in range(parts.count)]
    )
    at += [(1 + j) * width + names.index(c) for c, j in more]
    return (*names, *(f"{c}{MARK}{j}" for c, j in more)), at


def _chosen(cov: Floats, at: list[int]) -> Floats:
    """Keep some components of a covariance, shape [2, X, K, 2, X, K]."""
    size = cov.shape[1] * cov.shape[2]
    flat = cov.reshape(2, size, 2, size)
    kept: Floats = flat[:, at][:, :, :, at]
    return kept


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
