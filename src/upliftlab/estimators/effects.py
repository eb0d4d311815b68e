"""Which arm means, with which joint covariance, were measured?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.stats.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


UNITS = "units"
"""The component that is 1 for every unit: what is paid per assigned unit hangs on it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Effects:
    """Mean vectors of all arms with one joint covariance; every contrast is a linear map.

    Attributes:
        arms: Labels, A in all.
        control: The arm that the others are compared with.
        names: Components, K in all.
        n: Units per arm.
        mean: Means per unit (money in minor units), shape [A, K].
        cov: Covariance of the means, shape [A, K, A, K]; NaN for an arm whose variance is
            unknown, which leaves the functionals of other arms as they are.
        df: Degrees of freedom of each arm's variance, shape [A].
        working: Variance of each arm's mean per unit of working variance, shape [A]; given
            for clusters, where it weighs ``df`` in place of the noisy estimated variance.
        own: Covariance of each arm's mean without what arms share, such as the mean of the
            covariates over all units, shape [A, K, K]; given where they share something. It
            weighs ``df``, since in a contrast the shared part cancels.
        pieces: Working covariance of the means from each independent group of units, shape
            [S, A, K, A, K]; given where arms are not independent of each other, as observed
            and counterfactual of the same units. It weighs ``piece_df``.
        piece_df: Degrees of freedom of each group's variance, shape [S].
        estimand: What the contrasts estimate, in one sentence.
        method: How they were estimated, in reader's words.
        variance_kept: Share of the raw contrast variance left after adjustment, per component.
        plain_cov: ``cov`` without covariates, to say what adjustment left of any contrast's
            variance; None without covariates.
        note: What a reader must know; empty when nothing.
    """

    arms: tuple[str, ...]
    control: str
    names: tuple[str, ...]
    n: tuple[int, ...]
    mean: Floats
    cov: Floats
    df: Floats
    working: Floats | None = None
    own: Floats | None = None
    pieces: Floats | None = None
    piece_df: Floats | None = None
    estimand: str = ""
    method: str = ""
    variance_kept: Mapping[str, float] | None = None
    plain_cov: Floats | None = None
    note: str = ""

    def linear(self, weights: Floats, names: Sequence[str]) -> Joint:
        """Return functionals of the arm means.

        Args:
            weights: One matrix per functional, shape [m, A, K].
            names: Names of the functionals, m in all.

        Returns:
            Values, joint covariance and the Satterthwaite degrees of freedom of each; NaN
            covariance for functionals that use a mean of unknown variance, and only for them.

        References:
            Satterthwaite (1946), *Biometrics Bulletin* 2(6), equation 17; Bell and McCaffrey
            (2002), *Survey Methodology* 28(2), for clusters.
        """
        m = len(names)
        flat = weights.reshape(m, -1)
        cov = self.cov.reshape(flat.shape[1], flat.shape[1])
        unknown = np.isnan(np.diag(cov))
        known = np.where(unknown[:, None] | unknown[None, :], 0.0, cov)
        found = flat @ known @ flat.T
        lost = (flat[:, unknown] != 0).any(axis=1)
        found[lost] = np.nan
        found[:, lost] = np.nan
        return Joint(
            names=tuple(names),
            value=flat @ self.mean.reshape(-1),
            cov=found,
            df=np.where(lost, np.inf, self._df(weights)),
        )

    def variance_left(self, weights: Floats) -> float:
        """Share of one functional's variance, weights [A, K], that adjustment left.

        Returns:
            The share; NaN without covariates or without variance.

        Examples:
            >>> effects = Effects(arms=("c", "t"), control="c", names=("y",), n=(9, 9),
            ...                   mean=np.zeros((2, 1)), cov=np.eye(2).reshape(2, 1, 2, 1),
            ...                   plain_cov=4 * np.eye(2).reshape(2, 1, 2, 1),
            ...                   df=np.array([8.0, 8.0]))
            >>> effects.variance_left(np.array([[-1.0], [1.0]]))
            0.25
        """
        if self.plain_cov is None:
            return float("nan")
        before = replace(self, cov=self.plain_cov).linear(weights[None], ["before"]).cov[0, 0]
        after = self.linear(weights[None], ["after"]).cov[0, 0]
        return float(after / before) if before > 0 else float("nan")

    def weights(self, prices: Mapping[str, Mapping[str, float]]) -> Floats:
        """Lay out {arm: {component: weight}} as one matrix [A, K]; unknown names raise."""
        out = np.zeros((len(self.arms), len(self.names)))
        for arm, row in prices.items():
            for name, weight in row.items():
                out[self.arms.index(arm), self.names.index(name)] += weight
        return out

    def contrast(self, name: str, arm: str) -> Joint:
        """Return treatment minus control of one component."""
        weights = self.weights({arm: {name: 1.0}, self.control: {name: -1.0}})
        return self.linear(weights[None], [name])

    def window(self, days: int | None) -> Effects:
        """Keep the components of one window, by their plain names, beside those without one."""
        if days is None:
            return self
        suffix = f"@{days}d"
        keep = [
            (k, name.removesuffix(suffix))
            for k, name in enumerate(self.names)
            if name.endswith(suffix) or "@" not in name
        ]
        index = np.array([k for k, _ in keep], dtype=np.int64)
        kept = self.variance_kept
        return replace(
            self,
            names=tuple(name for _, name in keep),
            mean=self.mean[:, index],
            cov=self.cov[:, index][:, :, :, index],
            own=None if self.own is None else self.own[:, index][:, :, index],
            plain_cov=None
            if self.plain_cov is None
            else self.plain_cov[:, index][:, :, :, index],
            variance_kept=None
            if kept is None
            else {name: kept[self.names[k]] for k, name in keep if self.names[k] in kept},
        )

    def with_units(self) -> Effects:
        """Add the component that is 1 for every unit and does not vary."""
        if UNITS in self.names:
            return self
        stay, more = (0, 0), (0, 1)
        plain = self.plain_cov
        return replace(
            self,
            names=(*self.names, UNITS),
            mean=np.pad(self.mean, (stay, more), constant_values=1.0),
            cov=np.pad(self.cov, (stay, more, stay, more)),
            own=None if self.own is None else np.pad(self.own, (stay, more, more)),
            pieces=None
            if self.pieces is None
            else np.pad(self.pieces, (stay, stay, more, stay, more)),
            plain_cov=None if plain is None else np.pad(plain, (stay, more, stay, more)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; the covariance is kept so that readers can re-price."""
        return {
            "arms": list(self.arms),
            "control": self.control,
            "names": list(self.names),
            "n": list(self.n),
            "mean": self.mean.tolist(),
            "cov": self.cov.reshape(self.mean.size, self.mean.size).tolist(),
            "df": self.df.tolist(),
            "estimand": self.estimand,
            "method": self.method,
            "variance_kept": dict(self.variance_kept or {}),
            "note": self.note,
        }

    def _df(self, weights: Floats) -> Floats:
        if self.pieces is not None and self.piece_df is not None:
            return _combined(
                np.einsum("mak,sakbl,mbl->ms", weights, self.pieces, weights, optimize=True),
                self.piece_df,
            )
        arms = len(self.arms)
        if self.working is not None:
            used = (weights**2).sum(axis=2) * self.working[None, :]
        else:
            own = [self.cov[a, :, a] for a in range(arms)] if self.own is None else self.own
            used = np.stack(
                [
                    np.einsum("mk,kl,ml->m", weights[:, a], own[a], weights[:, a])
                    for a in range(arms)
                ],
                axis=1,
            )
        touched = (weights != 0).any(axis=2)
        used = np.where(touched, used, 0.0)
        return _combined(used, self.df)


def _combined(used: Floats, df: Floats) -> Floats:
    """Satterthwaite df of sums of independent variances, used [m, S] with df [S]."""
    # Shares keep tiny variances from underflowing.
    with np.errstate(invalid="ignore", divide="ignore"):
        share = used / used.sum(axis=1, keepdims=True)
        out = 1 / np.where(used > 0, share**2 / df[None, :], 0.0).sum(axis=1)
    return np.where(np.isfinite(out), out, np.inf)
