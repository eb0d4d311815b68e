"""How large is the largest of several dependent |t| by chance?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import two_sided_p

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

_TOLERANCE = 1e-9

LARGE = 6
"""Statistics from which only the farthest component of each direction is kept."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaxT:
    """The law of max |T_i| for a multivariate t with common degrees of freedom.

    Attributes:
        size: Distinct statistics m: perfectly correlated ones count once.
        df: Degrees of freedom; infinite for normal statistics.
        loadings: Shape [m] where every correlation is l_i l_j, else None.
        reach: |Components| of points spread over the unit sphere, shape [points, m], used where
            there are no loadings; of large families the largest alone, shape [points, 1].
        rank: Dimension of that sphere plus one.
    """

    size: int
    df: float
    loadings: Floats | None
    reach: Floats
    rank: int

    @classmethod
    def of(cls, correlation: ArrayLike, *, df: float = math.inf) -> MaxT:
        """Prepare the law of a correlation matrix, shape [m, m]; NaN raises."""
        matrix = np.asarray(correlation, dtype=float)
        if np.isnan(matrix).any():
            raise UpliftlabError("correlation holds NaN; leave out estimates that do not vary.")
        matrix = _distinct(matrix)
        loadings = _loadings(matrix)
        reach, rank = (np.empty((0, 0)), 0) if loadings is not None else _sphere(matrix)
        return cls(size=len(matrix), df=df, loadings=loadings, reach=reach, rank=rank)

    def exceeds(self, critical: float) -> float:
        """Return P(max |T_i| > critical).

        References:
            Dunnett (1955), *JASA* 50(272), for products; Genz and Bretz (2009), *Computation of
            Multivariate Normal and t Probabilities*, for spherical-radial integration
            otherwise.

        Examples:
            >>> pair = MaxT.of([[1.0, 0.0], [0.0, 1.0]])
            >>> round(pair.exceeds(2.2365), 4)
            0.05
        """
        if self.loadings is None:
            if self.size > LARGE:
                return float(_tails(critical, self.reach, self.rank, self.df).mean())
            return _exceeds_on_sphere(critical, self.reach, self.rank, self.df)
        radius, weight = _chi_nodes(self.df)
        inside = _inside_product(critical * radius, self.loadings)
        return float(1 - weight @ inside)


def _distinct(matrix: Floats) -> Floats:
    """Drop statistics that are another one, up to sign."""
    keep: list[int] = []
    for i in range(len(matrix)):
        if all(abs(matrix[i, j]) < 1 - _TOLERANCE for j in keep):
            keep.append(i)
    return matrix[np.ix_(keep, keep)]


def _loadings(matrix: Floats) -> Floats | None:
    """Find l with correlation l_i l_j off the diagonal; None if there is none."""
    m = len(matrix)
    off = matrix - np.diag(np.diag(matrix))
    linked = np.flatnonzero(np.abs(off).max(axis=1, initial=0.0) > _TOLERANCE)
    found = np.zeros(m)
    if len(linked) == 2:
        i, j = linked
        found[i] = math.sqrt(abs(off[i, j]))
        found[j] = math.copysign(found[i], off[i, j])
    elif len(linked) > 2:
        block = off[np.ix_(linked, linked)]
        squares = _squared_loadings(block)
        if squares is None:
            return None
        first = int(np.argmax(squares))
        signs = np.where(block[first] < 0, -1.0, 1.0)
        found[linked] = signs * np.sqrt(squares)
    gap = np.outer(found, found) - matrix
    np.fill_diagonal(gap, 0.0)
    return found if np.abs(gap).max(initial=0.0) < 1e-7 else None


def _squared_loadings(block: Floats) -> Floats | None:
    """l_i^2 = r_ij r_ik / r_jk, with the pair of the largest r_jk; all r must be non-zero."""
    m = len(block)
    if np.abs(block[~np.eye(m, dtype=bool)]).min() <= _TOLERANCE:
        return None
    squares = np.empty(m)
    for i in range(m):
        others = np.delete(np.arange(m), i)
        inner = np.abs(block[np.ix_(others, others)])
        a, b = divmod(int(inner.argmax()), m - 1)
        j, k = others[a], others[b]
        squares[i] = block[i, j] * block[i, k] / block[j, k]
    valid = (squares >= 0).all() and (squares <= 1 + _TOLERANCE).all()
    return np.minimum(squares, 1.0) if valid else None


def _inside_product(critical: Floats, loadings: Floats) -> Floats:
    """P(max |Z_i| <= c) for Z_i = l_i Z + sqrt(1 - l_i^2) e_i, for each c."""
    rest = np.sqrt(1 - loadings**2)
    out = np.empty(len(critical))
    for position, c in enumerate(critical):
        z, weight = _line_nodes(float(c), loadings)
        density = weight * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        inside = np.ones_like(z)
        for loading, spread in zip(loadings, rest, strict=True):
            if spread < 1e-6:
                inside *= np.abs(loading * z) <= c
            else:
                upper = special.ndtr((c - loading * z) / spread)
                inside *= upper - special.ndtr((-c - loading * z) / spread)
        out[position] = density @ inside
    return out


def _line_nodes(critical: float, loadings: Floats) -> tuple[Floats, Floats]:
    """Gauss-Legendre panels on [0, 9], cut finer where a factor falls steeply.

    The integrand is even, so each weight counts twice.
    """
    edges = [*np.linspace(0.0, 9.0, 13)]
    for loading in np.abs(loadings[np.abs(loadings) > 0.9]):
        width = math.sqrt(max(0.0, 1 - loading**2)) / loading
        edges.extend(critical / loading + width * np.arange(-8, 9, 2))
    cuts = np.unique(np.clip(edges, 0.0, 9.0))
    nodes, weights = _gauss_legendre(12)
    half = np.diff(cuts)[:, None] / 2
    z = (cuts[:-1, None] + half + half * nodes).ravel()
    return z, (2 * half * weights).ravel()


@cache
def _gauss_legendre(points: int) -> tuple[Floats, Floats]:
    """Nodes and weights on [-1, 1], solved for once."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return nodes, weights


def _chi_nodes(df: float) -> tuple[Floats, Floats]:
    """Nodes and weights for the mean over s = sqrt(chi2 / df); normal statistics need one."""
    if not math.isfinite(df):
        return np.ones(1), np.ones(1)
    from scipy import stats

    nodes, weights = _gauss_legendre(40)
    low, high = np.sqrt(stats.chi2.ppf(1e-13, df) / df), np.sqrt(stats.chi2.isf(1e-13, df) / df)
    s = (low + high) / 2 + (high - low) / 2 * nodes
    density = stats.chi2.pdf(df * s * s, df) * 2 * df * s
    mass = density * weights * (high - low) / 2
    return s, mass / mass.sum()


def _sphere(matrix: Floats) -> tuple[Floats, int]:
    """Spread points over the sphere of the correlation's range; |components| of each."""
    values, vectors = np.linalg.eigh(matrix)
    real = values > 1e-10 * values.max()
    root = vectors[:, real] * np.sqrt(values[real])
    rank = int(real.sum())
    direction = _directions(rank, 2**15 if len(matrix) <= 20 else 2**14)
    reach = np.maximum(np.abs(direction @ root.T), 1e-150)
    return (reach.max(axis=1, keepdims=True) if len(matrix) > LARGE else reach), rank


@lru_cache(maxsize=8)
def _directions(rank: int, points: int) -> Floats:
    """Points spread evenly over the unit sphere of a dimension, the same on every run."""
    from scipy import stats

    uniform = stats.qmc.Sobol(rank, scramble=True, rng=np.random.default_rng(20260101))
    normal = special.ndtri(np.clip(uniform.random(points), 1e-15, 1 - 1e-15))
    out: Floats = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return out


def _exceeds_on_sphere(critical: float, reach: Floats, rank: int, df: float) -> float:
    """Bonferroni's bound minus the overlap; given the direction the radius is chi (or F)."""
    tails = _tails(critical, reach, rank, df)
    # The mean of the sum is known, and what is left to average, the overlap, varies little.
    overlap = float((tails.sum(axis=1) - tails.max(axis=1)).mean())
    return float(reach.shape[1] * two_sided_p(critical, df=df)) - overlap


def _tails(critical: float, reach: Floats, rank: int, df: float) -> Floats:
    """P(radius takes a component beyond the critical value), given the direction."""
    squared = (critical / reach) ** 2
    if math.isfinite(df):
        beyond: Floats = special.fdtrc(rank, df, squared / rank)
    else:
        beyond = special.chdtrc(rank, squared)
    return beyond
