"""Linear forms of cohort means: their values, and how sure we are of them together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from upliftlab.errors import DesignError, nearest
from upliftlab.stats.clusters import bell_mccaffrey_df
from upliftlab.stats.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel_moments import PanelMoments

    Floats = NDArray[np.float64]

Inference = Literal["small_sample", "analytic"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forms:
    """Functionals of the cohorts' mean paths, the same for every component.

    Attributes:
        names: One per functional, m in all.
        slope: Weight of each cohort's mean in each period, shape [m, S, T].
        share: Influence of one more unit of a cohort through estimated shares (pooled controls,
            cohort weights), shape [m, S, K].
        known: Whether the data identify the functional, shape [m]; NaN where not.
    """

    names: tuple[str, ...]
    slope: Floats
    share: Floats
    known: NDArray[np.bool_]

    def value(self, moments: PanelMoments) -> Floats:
        """Values of all functionals for all components, shape [m, K]."""
        found: Floats = np.einsum("mst,stk->mk", self.slope, moments.mean, optimize=True)
        found[~self.known] = np.nan
        return found

    def linear(self, weights: Floats, names: Sequence[str]) -> Forms:
        """Combine the functionals with fixed weights, shape [r, m]."""
        touched = weights != 0
        return Forms(
            names=tuple(names),
            slope=np.tensordot(weights, self.slope, axes=1),
            share=np.tensordot(weights, self.share, axes=1),
            known=~(touched & ~self.known[None, :]).any(axis=1),
        )

    def select(self, positions: Sequence[int]) -> Forms:
        """Keep some functionals."""
        at = list(positions)
        return Forms(
            names=tuple(self.names[i] for i in at),
            slope=self.slope[at],
            share=self.share[at],
            known=self.known[at],
        )

    def joint(
        self,
        moments: PanelMoments,
        *,
        inference: Inference = "small_sample",
        shares: Literal["fixed", "estimated"] | None = None,
    ) -> Joint:
        """Values, covariance and df of all functionals for all components together.

        Args:
            moments: Of the panel that the forms belong to.
            inference: "small_sample": CR2 by cohort with Bell-McCaffrey df per functional;
                "analytic": squared influence functions and the normal law, as R's did.
            shares: "fixed": the cohorts are as large as they are; "estimated": another draw of
                units would hold other shares. Fixed by default, estimated with "analytic".

        Returns:
            Names "functional" for one component, else "component|functional", functional by
            functional.

        References:
            Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), section 4; Bell
            and McCaffrey (2002), *Survey Methodology* 28(2).
        """
        refuse_unknown("inference", inference, get_args(Inference))
        vary = (shares or ("estimated" if inference == "analytic" else "fixed")) == "estimated"
        forms = self if vary else replace(self, share=np.zeros_like(self.share))
        if moments.rows is None:
            cov = _unit_cov(forms, moments, inference)
        else:
            cov = _cluster_cov(forms, moments, inference)
        value = self.value(moments)
        unknown = np.repeat(~self.known, value.shape[1])
        cov[unknown, :] = np.nan
        cov[:, unknown] = np.nan
        df = np.full(value.size, math.inf)
        if inference == "small_sample":
            df = degrees_of_freedom(forms, moments).ravel()
        return Joint(
            names=_names(self.names, moments.names), value=value.ravel(), cov=cov, df=df
        )


def refuse_unknown(what: str, found: str, allowed: Sequence[str]) -> None:
    """Refuse a word that is not one of the few allowed ones.

    Examples:
        >>> refuse_unknown("control", "nevr", ["never", "not_yet"])
        Traceback (most recent call last):
        upliftlab.errors.DesignError: control is 'nevr'; ... Did you mean 'never'?
    """
    if found not in allowed:
        raise DesignError(
            f"{what} is {found!r}; allowed: {list(allowed)}.{nearest(found, allowed)}"
        )


def degrees_of_freedom(forms: Forms, moments: PanelMoments) -> Floats:
    """Bell-McCaffrey df of every functional and component, shape [m, K].

    The working model: clusters of all cohorts vary alike over time, by the pooled covariance
    within cohorts. Where clusters hold several cohorts it is the number of clusters less one.
    """
    rows = moments.rows
    if rows is not None and rows.straddles:
        return np.full(
            (len(forms.names), len(moments.names)), len(np.unique(rows.cluster)) - 1.0
        )
    pooled = pooled_cov(moments)
    used = np.stack(
        [
            np.einsum("mt,ktu,mu->mk", forms.slope[:, s], pooled, forms.slope[:, s])
            for s in range(len(moments.start))
        ]
    )
    working, df = cohort_df(moments)
    used = used * working[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = used / used.sum(axis=0)
        found: Floats = 1 / np.where(used > 0, part**2 / df[:, None, None], 0.0).sum(axis=0)
    return np.where(np.isfinite(found), found, math.inf)


def cohort_df(moments: PanelMoments) -> tuple[Floats, Floats]:
    """Working variance and df of each cohort's mean, shapes [S]; df NaN for one cluster."""
    rows = moments.rows
    if rows is None:
        return 1 / moments.units, np.where(moments.units > 1, moments.units - 1, np.nan)
    cohorts = range(len(moments.start))
    sizes = [rows.size[rows.cohort == s] for s in cohorts]
    working = np.array([float((m**2).sum() / m.sum() ** 2) for m in sizes])
    return working, np.array([bell_mccaffrey_df(m) for m in sizes])


def pooled_cov(moments: PanelMoments) -> Floats:
    """Covariance over time within cohorts, component by component, shape [K, T, T]."""
    length, width = len(moments.periods), len(moments.names)
    rows = moments.rows
    if rows is None:
        scatter = moments.scatter
        assert scatter is not None  # noqa: S101 - moments hold one of the two
        total = scatter.sum(axis=0).reshape(length, width, length, width)
        spare = max(float(moments.units.sum()) - len(moments.start), 1.0)
        pooled: Floats = np.einsum("tkuk->ktu", total) / spare
        return pooled
    rest = cluster_gaps(moments)
    spare = max(len(rows.size) - len(moments.start), 1)
    found: Floats = np.einsum("jtk,juk->ktu", rest, rest, optimize=True) / spare
    return found


def cluster_gaps(moments: PanelMoments) -> Floats:
    """Means of clusters less those of their cohorts, shape [J, T, K]."""
    rows = moments.rows
    assert rows is not None  # noqa: S101 - called with rows only
    own = rows.total / rows.size[:, None, None]
    return _moving(own - moments.mean[rows.cohort], own)


def _moving(rest: Floats, level: Floats) -> Floats:
    """What rounding leaves of a constant is no variation."""
    found: Floats = np.where(np.abs(rest) <= 1e-13 * np.abs(level), 0.0, rest)
    return found


def _unit_cov(forms: Forms, moments: PanelMoments, inference: Inference) -> Floats:
    """Covariance from the cohorts' second moments, shape [m K, m K]."""
    length, width = len(moments.periods), len(moments.names)
    m = len(forms.names)
    scatter = moments.scatter
    assert scatter is not None  # noqa: S101 - moments hold one of the two
    out, scale = np.zeros((m, width, m, width)), np.zeros((m, width))
    for s, count in enumerate(moments.units):
        slope = forms.slope[:, s]
        if slope.any():
            own = scatter[s].reshape(length, width, length, width)
            half = np.tensordot(slope, own, axes=(1, 0))
            spread = np.tensordot(half, slope, axes=(2, 1)).transpose(0, 1, 3, 2)
            spare = count if inference == "analytic" else count - 1
            if spare > 0:
                out += spread / (count * spare)
                level = np.einsum("tktk->tk", own)
                scale += slope**2 @ level / (count * spare)
            else:
                touched = slope.any(axis=1)
                out[touched] = np.nan
                out[:, :, touched] = np.nan
        share = forms.share[:, s]
        if share.any():
            out += count * np.einsum("mk,nl->mknl", share, share)
    # Units that never move relative to themselves: what cancels leaves rounding, of any sign.
    still = np.abs(np.einsum("mkmk->mk", out)) <= 1e-14 * scale
    out[still] = 0.0
    out[:, :, still] = 0.0
    return out.reshape(m * width, m * width)


def _cluster_cov(forms: Forms, moments: PanelMoments, inference: Inference) -> Floats:
    """Covariance from cluster sums of influence, shape [m K, m K]."""
    rows = moments.rows
    assert rows is not None  # noqa: S101 - called with rows only
    rest = _moving(
        rows.total - rows.size[:, None, None] * moments.mean[rows.cohort], rows.total
    )
    small = inference == "small_sample"
    lonely = np.zeros(len(moments.start), dtype=bool)
    if small and not rows.straddles:
        spare = 1 - rows.size / moments.weight[rows.cohort]
        lonely = np.bincount(rows.cohort, minlength=len(moments.start)) < 2
        rest = rest / np.sqrt(np.where(spare > 0, spare, 1.0))[:, None, None]
    m, width = len(forms.names), len(moments.names)
    psi, scale = np.empty((len(rows.size), m, width)), np.zeros((m, width))
    for s, weight in enumerate(moments.weight):
        own = np.flatnonzero(rows.cohort == s)
        moved = np.tensordot(rest[own], forms.slope[:, s] / weight, axes=(1, 1))
        scale += (forms.slope[:, s] / weight) ** 2 @ (rest[own] ** 2).sum(axis=0)
        psi[own] = (
            moved.transpose(0, 2, 1) + rows.size[own, None, None] * forms.share[None, :, s]
        )
    flat = psi.reshape(len(psi), -1)
    if rows.straddles:
        cluster = np.unique(rows.cluster, return_inverse=True)[1]
        groups = int(cluster.max()) + 1
        summed = np.zeros((groups, flat.shape[1]))
        np.add.at(summed, cluster, flat)
        flat = summed * math.sqrt(groups / (groups - 1)) if small and groups > 1 else summed
    cov: Floats = flat.T @ flat
    # Clusters that never move relative to themselves: what cancels leaves rounding.
    still = np.diag(cov) <= 1e-24 * scale.ravel()
    cov[still] = 0.0
    cov[:, still] = 0.0
    touched = np.repeat((forms.slope[:, lonely] != 0).any(axis=(1, 2)), width)
    cov[touched, :] = np.nan
    cov[:, touched] = np.nan
    return cov


def _names(forms: Sequence[str], components: Sequence[str]) -> tuple[str, ...]:
    if len(components) == 1:
        return tuple(forms)
    return tuple(f"{component}|{form}" for form in forms for component in components)
