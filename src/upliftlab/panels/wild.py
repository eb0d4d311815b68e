"""How likely is a contrast of few clusters, when their residuals change sign at random?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.panels.resampled import Pivots, Resampled, inverted, refused
from upliftlab.stats.clusters import bell_mccaffrey_df
from upliftlab.stats.estimate import NAN
from upliftlab.stats.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

FEWEST = 5
"""Treated (and untreated) clusters below which the wild bootstrap is refused."""

ALL_DRAWS_UP_TO = 12
"""Clusters up to which every vector of signs is used instead of a sample."""

_WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterScores:
    """Functionals that are weighted sums of group means of cluster totals.

    Functional k is sum_c weight[c, k] (sum_j total[j, k] / sum_j size[j]), j over the clusters
    of group c: an arm, or a cohort of a roll-out whose clusters' paths are already contracted
    to one number each.

    Attributes:
        names: Functionals, m in all.
        total: Total of each cluster, shape [G, m].
        size: Units of each cluster, shape [G]; ones for cluster-weighted means.
        group: Group of each cluster, 0 .. C - 1, shape [G].
        weight: Weight of each group's mean, shape [C, m].
        is_treated: Whether the group is ever treated, shape [C].
    """

    names: tuple[str, ...]
    total: Floats
    size: Floats
    group: Ints
    weight: Floats
    is_treated: Bools

    @classmethod
    def of_two_arms(
        cls,
        total: ArrayLike,
        treated: Sequence[bool] | Bools,
        *,
        size: ArrayLike | None = None,
        names: Sequence[str] = ("y",),
    ) -> ClusterScores:
        """Make the scores of treated minus untreated clusters, total [G] or [G, m].

        Examples:
            >>> scores = ClusterScores.of_two_arms([3.0, 5.0, 1.0, 1.0], [1, 1, 0, 0])
            >>> scores.joint().value
            array([3.])
        """
        z = np.asarray(total, dtype=float)
        z = z[:, None] if z.ndim == 1 else z
        sign = np.array([[-1.0], [1.0]])
        return cls(
            names=tuple(names),
            total=z,
            size=np.ones(len(z)) if size is None else np.asarray(size, dtype=float),
            group=np.asarray(treated, dtype=bool).astype(np.int64),
            weight=np.broadcast_to(sign, (2, z.shape[1])),
            is_treated=np.array([False, True]),
        )

    def joint(self) -> Joint:
        """Return the functionals with their CR2 covariance and Bell-McCaffrey df.

        References:
            Bell and McCaffrey (2002), *Survey Methodology* 28(2); working model: one variance
            per unit in every group.

        Examples:
            >>> scores = ClusterScores.of_two_arms([3.0, 5.0, 1.0, 2.0], [1, 1, 0, 0])
            >>> joint = scores.joint()
            >>> float(joint.cov[0, 0]), float(joint.df[0])
            (1.25, 2.0)
        """
        pieces = _pieces(self)
        value = np.sum([p.weight * p.mean for p in pieces], axis=0)
        width = len(self.names)
        cov = np.zeros((width, width))
        for p in pieces:
            scaled = p.residual * p.weight / p.units
            cov += scaled.T @ (scaled * p.leverage[:, None])
        return Joint(names=self.names, value=value, cov=cov, df=_df(pieces, width))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Piece:
    """One group: its clusters, mean, residuals and CR2 factors 1 / (1 - n_j / N)."""

    members: Ints
    units: float
    size: Floats
    mean: Floats
    residual: Floats
    leverage: Floats
    weight: Floats


def wild_bootstrap(
    scores: ClusterScores,
    *,
    draws: int = 999,
    kind: Literal["rademacher", "webb"] = "rademacher",
    seed: int = 0,
    level: float = 0.95,
) -> Resampled:
    """Return p-values, intervals and band from the restricted wild cluster bootstrap.

    The null is imposed: residuals are those of the group means that satisfy it, and they are
    studentised by CR2 in every draw. Up to 12 clusters Rademacher draws are enumerated.

    Args:
        scores: Functionals of cluster totals.
        draws: Draws beside the observed one, where not enumerated.
        kind: Weights: signs, or the six points of Webb.
        seed: Of the draws.
        level: Confidence level.

    Returns:
        The reading; refused, NaN with a note, below 5 treated or 5 untreated clusters, where
        the restricted bootstrap hardly ever rejects and the unrestricted one far too often.

    Raises:
        UpliftlabError: When ``kind`` is another word.

    References:
        Cameron, Gelbach and Miller (2008), *Review of Economics and Statistics* 90(3);
        MacKinnon and Webb (2018), *Econometrics Journal* 21(2); Webb (2023), *Canadian Journal
        of Economics* 56(3), for the six points.

    Examples:
        >>> y = [3.1, 2.2, 4.0, 2.8, 3.5, 3.9, 1.0, 1.9, 0.4, 1.2, 1.5, 0.7]
        >>> result = wild_bootstrap(ClusterScores.of_two_arms(y, [True] * 6 + [False] * 6))
        >>> result.draws, result.is_exact, round(result["y"].p_value, 4)
        (4096, True, 0.0005)
    """
    if kind not in {"rademacher", "webb"}:
        message = (
            f"the wild bootstrap was asked for {kind!r} weights; allowed: rademacher, webb."
        )
        raise UpliftlabError(message)
    joint = scores.joint()
    std_error = np.sqrt(np.diag(joint.cov))
    reason = refusal(scores)
    if reason:
        return refused(scores.names, joint.value, std_error, level=level, note=reason)
    clusters = len(scores.size)
    exact = kind == "rademacher" and clusters <= ALL_DRAWS_UP_TO
    weights = _signs(clusters) if exact else _random(clusters, draws, kind, seed)
    return inverted(
        _pivots(scores, weights, joint.value, std_error),
        level=level,
        is_exact=exact,
        note=_label(scores),
    )


def refusal(scores: ClusterScores) -> str:
    """Say why the wild bootstrap is not to be used; empty if it may be.

    References:
        MacKinnon and Webb (2017), *Journal of Applied Econometrics* 32(2): few treated, or few
        untreated, clusters.

    Examples:
        >>> refusal(ClusterScores.of_two_arms([3.0, 5.0, 1.0, 1.0], [1, 1, 0, 0]))
        'wild bootstrap refused: 2 treated clusters, at least 5 are needed; use re-assignment'
    """
    used = np.asarray((scores.weight != 0).any(axis=1))
    for word, side in (("treated", scores.is_treated), ("untreated", ~scores.is_treated)):
        groups = np.flatnonzero(used & side)
        count = int(np.isin(scores.group, groups).sum())
        # Without a never-treated group the untreated are clusters that start later.
        if len(groups) and count < FEWEST:
            return (
                f"wild bootstrap refused: {count} {word} clusters, at least {FEWEST} are "
                "needed; use re-assignment"
            )
    smallest = int(np.bincount(scores.group)[used].min())
    return "" if smallest > 1 else "wild bootstrap refused: a group has one cluster"


def _label(scores: ClusterScores) -> str:
    counts = np.bincount(scores.group)
    smallest = int(counts[(scores.weight != 0).any(axis=1)].min())
    if smallest >= FEWEST:
        return ""
    return f"a group has only {smallest} clusters: wild bootstrap is a second opinion"


def _pieces(scores: ClusterScores) -> list[_Piece]:
    out = []
    for c in range(len(scores.weight)):
        members = np.flatnonzero(scores.group == c)
        size, total = scores.size[members], scores.total[members]
        units = float(size.sum())
        mean = total.sum(axis=0) / units
        with np.errstate(divide="ignore"):
            # One cluster leaves no residual: its variance is unknown, not zero.
            leverage = np.where(size < units, 1 / (1 - size / units), NAN)
        out.append(
            _Piece(
                members=members,
                units=units,
                size=size,
                mean=mean,
                residual=total - np.outer(size, mean),
                leverage=leverage,
                weight=scores.weight[c],
            )
        )
    return out


def _df(pieces: Sequence[_Piece], width: int) -> Floats:
    """Satterthwaite over the groups' Bell-McCaffrey df, per functional."""
    variance = np.stack([p.weight**2 / p.units for p in pieces])
    each = np.array([bell_mccaffrey_df(p.size) for p in pieces])
    used = variance > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        share = variance / variance.sum(axis=0)
        loss = np.where(used, share**2 / each[:, None], 0.0).sum(axis=0)
        df: Floats = 1 / loss
    return df.reshape(width)


def _signs(clusters: int) -> Floats:
    """Every vector of signs; the first, all ones, is what was observed."""
    return np.array(list(product((1.0, -1.0), repeat=clusters)))


def _random(clusters: int, draws: int, kind: str, seed: int) -> Floats:
    points = np.array([1.0]) if kind == "rademacher" else _WEBB
    rng = np.random.default_rng(seed)
    weights = rng.choice(np.concatenate([points, -points]), size=(draws, clusters))
    return np.vstack([np.ones((1, clusters)), weights])


def _pivots(scores: ClusterScores, v: Floats, value: Floats, std_error: Floats) -> Pivots:
    """Bootstrap t as a function of the tested value; see ``Pivots``.

    Imposing theta - d moves the mean of group c by -d kappa_c, kappa_c = (b_c / N_c) /
    sum (b^2 / N), so restricted residuals are e_j + d n_j kappa_c, and all moments are
    polynomials in d.
    """
    pieces = _pieces(scores)
    pull = np.sum([p.weight**2 / p.units for p in pieces], axis=0)
    shape = (len(v), len(scores.names))
    shift, slope, v0, v1, v2 = (np.zeros(shape) for _ in range(5))
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(std_error > 0, std_error, NAN)
    for p in pieces:
        b = p.weight / p.units
        kappa = np.where(pull > 0, b / pull, 0.0)
        e = p.residual / scale
        n, w = p.size[:, None], p.leverage[:, None]
        drawn, squared = v[:, p.members], v[:, p.members] ** 2
        m0, m1 = drawn @ e / p.units, drawn @ n / p.units * kappa
        cross, own = drawn @ (w * n * e), drawn @ (w * n * n) * kappa
        whole = float((w * n * n).sum())
        shift += b * p.units * m0
        slope += b * p.units * m1
        v0 += b**2 * (squared @ (w * e * e) - 2 * cross * m0 + whole * m0**2)
        v1 += 2 * b**2 * (kappa * (squared @ (w * n * e)) - cross * m1 - own * m0)
        v1 += 2 * b**2 * whole * m0 * m1
        v2 += b**2 * (kappa**2 * (squared @ (w * n * n)) - 2 * own * m1 + whole * m1**2)
    # Distances are counted in standard errors, so the slope's unit is already right.
    return Pivots(
        names=scores.names,
        estimate=value,
        std_error=std_error,
        shift=shift,
        slope=slope,
        v0=v0,
        v1=v1,
        v2=v2,
    )
