"""Which estimates can be recomputed under thousands of assignments at once?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.errors import DesignError
from upliftlab.panels.wild import ClusterScores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Controls = Literal["never", "not_yet"]
Base = Literal["last", "mean"]


class Statistic(Protocol):
    """An estimator that is evaluated under many assignments at once.

    Estimates must be linear in ``y`` and variances quadratic; for the indicator of treatment
    under the assignment itself the estimate must be 1 and the variance 0.
    """

    @property
    def forms(self) -> tuple[str, ...]:
        """Names of the functionals, F in all; the headline is the empty name."""

    def __call__(self, y: Floats, start: Ints) -> tuple[Floats, Floats]:
        """Return estimates and variances, [R, F, K] each, of y [G, T, K] for starts [R, G]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CohortForms:
    """Weighted sums over periods of cohorts' mean paths, each cluster counting alike.

    Attributes:
        forms: Functionals, F in all.
        cohorts: Starts, ``NEVER`` among them where there is one, C in all.
        clusters: Clusters of each cohort, shape [C].
        slope: Weight of each cohort's mean in each period, shape [F, C, T].
    """

    forms: tuple[str, ...]
    cohorts: tuple[int, ...]
    clusters: Ints
    slope: Floats

    def __call__(self, y: Floats, start: Ints) -> tuple[Floats, Floats]:
        """Return estimates and variances under every assignment, [R, F, K] each."""
        draws, width = len(start), y.shape[2]
        columns = len(self.forms) * width
        value, variance = np.zeros((draws, columns)), np.zeros((draws, columns))
        inside = [(start == g).astype(np.float64) for g in self.cohorts]
        for c, n in enumerate(self.clusters):
            z = self._contracted(y, c)
            level = z.mean(axis=0)
            # Sums of squares around the mean lose no digits to the level.
            z = z - level
            mean = inside[c] @ z / n
            value += mean + level
            if n > 1:
                variance += (inside[c] @ (z * z) - n * mean * mean) / (n * (n - 1.0))
            else:
                variance += _pooled(inside, z, self.clusters)
        shape = (draws, len(self.forms), width)
        return value.reshape(shape), np.maximum(variance, 0.0).reshape(shape)

    def scores(self, y: Floats, start: Ints, *, names: Sequence[str]) -> ClusterScores:
        """Contract each cluster's path to one number per functional and component.

        Args:
            y: Cluster means, shape [G, T, K].
            start: Start of each cluster, shape [G].
            names: Components, K in all.

        Returns:
            Scores for the wild bootstrap, for leaving clusters out and for a joint covariance.

        Examples:
            >>> y = np.array([[0.0, 3.0], [0.0, 5.0], [0.0, 1.0], [0.0, 2.0]])[:, :, None]
            >>> start = np.array([1, 1, NEVER, NEVER])
            >>> forms = group_time_forms(start, 2)
            >>> float(forms.scores(y, start, names=["y"]).joint().value[0])
            2.5
        """
        group = np.array([self.cohorts.index(int(g)) for g in start], dtype=np.int64)
        total = np.empty((len(y), len(self.forms) * len(names)))
        for c in range(len(self.cohorts)):
            total[group == c] = self._contracted(y[group == c], c)
        return ClusterScores(
            names=functional_names(self.forms, names),
            total=total,
            size=np.ones(len(y)),
            group=group,
            weight=np.repeat(
                (self.slope != 0).any(axis=2).T.astype(np.float64), len(names), axis=1
            ),
            is_treated=np.array([g < self.slope.shape[2] for g in self.cohorts]),
        )

    def _contracted(self, y: Floats, c: int) -> Floats:
        z: Floats = np.einsum("ft,gtk->gfk", self.slope[:, c], y, optimize=True)
        return z.reshape(len(y), -1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdjustedDifference:
    """Treated minus untreated in one wave, by weighted least squares on fixed covariates.

    Attributes:
        x: Covariates that treatment cannot move, with the constant, shape [G, P].
        size: Weight of each cluster, shape [G]: ones, or its units.
        forms: One, the headline.
    """

    x: Floats
    size: Floats
    forms: tuple[str, ...] = ("",)

    def __call__(self, y: Floats, start: Ints) -> tuple[Floats, Floats]:
        """Return estimates and HC2 variances under every assignment, [R, 1, K] each."""
        root = np.sqrt(self.size)
        basis = orthonormal(self.x * root[:, None])
        outcome = y[:, -1, :] * root[:, None]
        outcome = outcome - basis @ (basis.T @ outcome)
        treated = (start != NEVER) * root
        moved = treated - (treated @ basis) @ basis.T
        total = (moved**2).sum(axis=1, keepdims=True)
        value = moved @ outcome / total
        leverage = (basis**2).sum(axis=1) + moved**2 / total
        weight = moved**2 / np.maximum(1 - leverage, 1e-9)
        meat = (
            weight @ outcome**2
            - 2 * value * ((weight * moved) @ outcome)
            + value**2 * (weight * moved**2).sum(axis=1, keepdims=True)
        )
        return value[:, None, :], (np.maximum(meat, 0.0) / total**2)[:, None, :]


def group_time_forms(
    start: Sequence[int] | Ints,
    periods: int,
    *,
    controls: Controls = "never",
    base: Base = "last",
    anticipation: int = 0,
    horizons: Sequence[int] = (),
) -> CohortForms:
    """Return the simple ATT, and event times, as weighted sums of cohorts' mean paths.

    Cells (g, t) compare cohort g's change since its base period with that of clusters never
    treated, or not treated (nor anticipating) yet in t; cells weigh by their clusters.

    Args:
        start: Start of each cluster, shape [G].
        periods: Periods T.
        controls: Never treated or not yet treated clusters.
        base: The last period before treatment and anticipation, or the mean of all before.
        anticipation: Periods before the start that are neither before nor after.
        horizons: Periods since the start, each a functional of its own.

    Returns:
        The headline with the empty name, then "e0", "e1", ... as asked for.

    Raises:
        DesignError: When no cell has a control, or no cell lies at a horizon asked for.

    References:
        Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), equations 2.8, 2.9 and
        the aggregates of table 1.

    Examples:
        >>> group_time_forms([1, 1, NEVER, NEVER], 3, horizons=[0]).slope[1]
        array([[-1.,  1.,  0.],
               [ 1., -1.,  0.]])
    """
    cohorts, clusters = np.unique(np.asarray(start, dtype=np.int64), return_counts=True)
    cells = list(
        _cells(
            cohorts,
            clusters,
            periods=periods,
            controls=controls,
            base=base,
            anticipation=anticipation,
        )
    )
    if not cells:
        message = (
            f"re-assignment found no treated period with {controls!r} controls among starts "
            f"{[int(g) for g in cohorts if g != NEVER]}; keep some clusters untreated longer."
        )
        raise DesignError(message)
    forms = [("", cells)]
    for e in horizons:
        at = [cell for cell in cells if cell[0] == e]
        if not at:
            allowed = sorted({cell[0] for cell in cells})
            raise DesignError(f"no cohort has a control {e} periods in; allowed: {allowed}.")
        forms.append((f"e{e}", at))
    slope = [
        sum(w * row for _, w, row in chosen) / sum(w for _, w, _ in chosen)
        for _, chosen in forms
    ]
    return CohortForms(
        forms=tuple(name for name, _ in forms),
        cohorts=tuple(int(g) for g in cohorts),
        clusters=clusters.astype(np.int64),
        slope=np.stack(slope),
    )


def functional_names(forms: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Name every functional of every component, functional by functional.

    Examples:
        >>> functional_names(["", "e0"], ["gmv", "fee"])
        ('gmv', 'fee', 'gmv@e0', 'fee@e0')
    """
    return tuple(f"{name}@{form}" if form else name for form in forms for name in names)


def orthonormal(x: Floats) -> Floats:
    """Return an orthonormal basis of the columns of x, shape [G, rank].

    Examples:
        >>> orthonormal(np.ones((4, 2)))
        array([[0.5],
               [0.5],
               [0.5],
               [0.5]])
    """
    # Columns of money and constants differ by orders of magnitude; rank must not depend on it.
    left, values, _ = np.linalg.svd(x / np.linalg.norm(x, axis=0), full_matrices=False)
    basis: Floats = left[:, values > 1e-9 * values.max()]
    first = np.where(basis[0] == 0, 1.0, basis[0])
    return basis * np.sign(first)


def _cells(
    cohorts: Ints,
    clusters: Ints,
    *,
    periods: int,
    controls: Controls,
    base: Base,
    anticipation: int,
) -> Iterator[tuple[int, float, Floats]]:
    """Yield periods since the start, clusters and slope [C, T] of every cell with controls."""
    for c, start in enumerate(int(g) for g in cohorts):
        known = start - anticipation
        if start >= periods or known < 1:
            continue
        before = np.zeros(periods)
        if base == "last":
            before[known - 1] = 1.0
        else:
            before[:known] = 1.0 / known
        for t in range(start, periods):
            untreated = cohorts == NEVER if controls == "never" else cohorts - anticipation > t
            if untreated.any():
                against = np.where(untreated, clusters, 0.0) / clusters[untreated].sum()
                share = (np.arange(len(cohorts)) == c) - against
                yield (
                    t - start,
                    float(clusters[c]),
                    np.outer(share, np.eye(periods)[t] - before),
                )


def _pooled(inside: Sequence[Floats], z: Floats, clusters: Ints) -> Floats:
    """Variance within cohorts, for a cohort of one cluster, which has none of its own."""
    squares = np.zeros((len(inside[0]), z.shape[1]))
    for chosen, n in zip(inside, clusters, strict=True):
        squares += chosen @ (z * z) - (chosen @ z) ** 2 / n
    freedom = int(clusters.sum()) - len(clusters)
    return squares / freedom if freedom else np.full_like(squares, np.nan)
