"""Which values of an aggregate survive the conditional test of moment inequalities?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from upliftlab.panels.vertices import vertices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.panels.event_path import EventPath
    from upliftlab.panels.flci import FixedLength
    from upliftlab.panels.restrictions import Union

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

_POINTS = 120
_PARALLEL = 1e-9
_HALVINGS = 40
_DIRECTIONS = 2_048
_IMPOSSIBLE = 1e-16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FirstStage:
    """An interval estimate +- half_length that must contain the value before it is tested.

    Attributes:
        estimate: Its middle.
        half_length: Half its length.
        cov: Covariance of its estimator with the moments, shape [U, V].
    """

    estimate: float
    half_length: float
    cov: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Moments value - slope * theta, at most 0 in expectation, one per vertex.

    Attributes:
        value: In units of the standard deviations of the inequalities, shape [U, V].
        slope: Shape [U, V].
        root: Loads of the moments on independent standard normals, shape [U, V, R]; the
            covariance of the moments is root @ root'.
        size: Level of the conditional test, after the first stage.
        cap: What no moment may exceed, shape [U]: the least-favourable critical value, or, for
            the conditional test alone, what has a chance of 1e-16.
        df: Degrees of freedom of the covariance.
        first: A fixed-length interval as first stage.
    """

    value: Floats
    slope: Floats
    root: Floats
    size: float
    cap: Floats
    df: float = math.inf
    first: FirstStage | None = None


def conditional(path: EventPath, union: Union, *, alpha: float) -> Moments:
    """Return the moments for the conditional test alone.

    Profiling out the nuisance effects by linear programme equals taking the maximum over the
    vertices of its dual, scaled so that the multipliers times the standard deviations of the
    inequalities add up to 1.

    References:
        Andrews, Roth and Pakes (2023), *Review of Economic Studies* 90(6), sections 3 and 4.

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> from upliftlab.panels.restrictions import Restriction, polyhedra
        >>> path = EventPath.of_arrays([0.1, 2.0], np.eye(2), 1)
        >>> moments = conditional(path, polyhedra(Restriction(), 1, 1, 1.0), alpha=0.05)
        >>> moments.value.shape
        (2, 3)
    """
    return _moments(path, union, alpha)[0]


def least_favourable(path: EventPath, union: Union, *, alpha: float, kappa: float) -> Moments:
    """Return the moments for the hybrid of conditional and least-favourable test (C-LF).

    References:
        Andrews, Roth and Pakes (2023), section 5; Rambachan and Roth (2023), section 3.3.

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> from upliftlab.panels.restrictions import Restriction, polyhedra
        >>> path = EventPath.of_arrays([0.1, 2.0], np.eye(2), 1)
        >>> union = polyhedra(Restriction(), 1, 1, 1.0)
        >>> least_favourable(path, union, alpha=0.05, kappa=0.005).cap.round(2).tolist()
        [2.81, 2.81]
    """
    moments = _moments(path, union, (alpha - kappa) / (1 - kappa))[0]
    cap = _max_quantile(moments.root, 1 - kappa, path.df)
    return Moments(
        value=moments.value,
        slope=moments.slope,
        root=moments.root,
        size=moments.size,
        cap=cap,
        df=path.df,
    )


def after_fixed_length(
    path: EventPath, union: Union, first: FixedLength, *, alpha: float, kappa: float
) -> Moments:
    """Return the moments for the hybrid of fixed-length interval and conditional test.

    Args:
        path: The estimates.
        union: The restriction.
        first: The fixed-length interval with coverage 1 - kappa.
        alpha: Size of the whole test.
        kappa: Size of its first stage.

    References:
        Rambachan and Roth (2023), section 4.2.

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> from upliftlab.panels.flci import frontier, shortest
        >>> from upliftlab.panels.restrictions import Restriction, polyhedra
        >>> path = EventPath.of_arrays([0.1, 2.0], np.eye(2), 1)
        >>> union = polyhedra(Restriction(kind="smoothness"), 1, 1, 0.5)
        >>> first = shortest(frontier(path), 0.5, level=0.995)
        >>> test = after_fixed_length(path, union, first, alpha=0.05, kappa=0.005)
        >>> [round(float(end), 2) for end in accepted(test)]
        [-1.0, 5.2]
    """
    moments, loads = _moments(path, union, (alpha - kappa) / (1 - kappa))
    return Moments(
        value=moments.value,
        slope=moments.slope,
        root=moments.root,
        size=moments.size,
        cap=moments.cap,
        df=path.df,
        first=FirstStage(
            estimate=first.estimate,
            half_length=first.half_length,
            cov=loads @ path.sigma @ first.weights,
        ),
    )


def accepts(moments: Moments, theta: Floats) -> Bools:
    """Say which values the test does not reject, theta [U, N], for each part of the union.

    The largest moment is compared with its distribution given that it is the largest (and, in a
    hybrid, given that the first stage did not reject); a moment of 0 or less never rejects.

    References:
        Andrews, Roth and Pakes (2023), section 3.2 and appendix D.

    Examples:
        >>> one = Moments(value=np.array([[2.0, -2.0]]), slope=np.array([[1.0, -1.0]]),
        ...               root=np.array([[[1.0], [-1.0]]]), size=0.05,
        ...               cap=np.array([np.inf]))
        >>> accepts(one, np.array([[0.0, 0.05, 3.9]])).tolist()
        [[False, True, True]]
    """
    levels = moments.value[:, None, :] - moments.slope[:, None, :] * theta[:, :, None]
    top = levels.argmax(axis=2)
    z = np.take_along_axis(levels, top[:, :, None], axis=2)[:, :, 0]
    rows = np.arange(len(levels))[:, None]
    cross = moments.root[rows, top] @ moments.root.transpose(0, 2, 1)
    variance = np.take_along_axis(cross, top[:, :, None], axis=2)[:, :, 0]
    fixed = variance < _PARALLEL**2
    unit = np.where(fixed, 1.0, variance)
    share = cross / unit[:, :, None]
    rest = levels - share * z[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = rest / (1 - share)
    low = np.where(share < 1 - _PARALLEL, ends, -np.inf).max(axis=2)
    high = np.where(share > 1 + _PARALLEL, ends, np.inf).min(axis=2)
    high = np.minimum(high, moments.cap[:, None])
    survives = z <= moments.cap[:, None]
    if moments.first is not None:
        low, high, inside = _first_stage(
            moments.first, theta, z=z, variance=unit, top=top, low=low, high=high
        )
        survives &= inside
    sd = np.sqrt(unit)
    p = _upper_share(z / sd, np.minimum(low, z) / sd, np.maximum(high, z) / sd, moments.df)
    out: Bools = survives & ((z <= 0) | (~fixed & (p >= moments.size)))
    return out


def accepted(moments: Moments) -> tuple[float, float]:
    """Return the least and the largest value that some part of the union does not reject.

    A grid of fixed relative fineness, to which the values are added at which the largest moment
    changes, finds the outermost accepted value; bisection against its rejected neighbour makes
    the ends independent of the grid. The grid spans every value that the first stage leaves,
    so that no interval ends because the grid does.

    Returns:
        NaN twice if every value is rejected.

    Examples:
        >>> one = Moments(value=np.array([[2.0, -2.0]]), slope=np.array([[1.0, -1.0]]),
        ...               root=np.array([[[1.0], [-1.0]]]), size=0.05,
        ...               cap=np.array([9.0]))
        >>> [round(end, 2) for end in accepted(one)]
        [0.04, 3.96]
    """
    low, high = _range(moments)
    keep = np.asarray(low <= high)
    if not keep.any():
        return math.nan, math.nan
    parts = _subset(moments, keep)
    grid = _grid(parts, low[keep], high[keep])
    yes = accepts(parts, grid)
    live = np.asarray(yes.any(axis=1))
    if not live.any():
        return math.nan, math.nan
    parts, grid, yes = _subset(parts, live), grid[live], yes[live]
    ends = _ends(parts, grid, yes)
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def _moments(path: EventPath, union: Union, size: float) -> tuple[Moments, Floats]:
    multipliers, slope = vertices(union.a[0][:, path.n_pre :], path.weights)
    sd = np.sqrt(np.einsum("urn,nm,urm->ur", union.a, path.sigma, union.a).clip(min=0.0))
    norm = sd @ multipliers.T
    norm[norm <= _PARALLEL * path.std_error] = 1.0
    loads = (multipliers @ union.a) / norm[:, :, None]
    moments = Moments(
        value=loads @ path.beta - (union.d @ multipliers.T) / norm,
        slope=slope / norm,
        root=_turned(loads @ _square_root(path.sigma)),
        size=size,
        cap=np.full(len(loads), -_normal_or_t(_IMPOSSIBLE, path.df)),
        df=path.df,
    )
    return moments, loads


def _normal_or_t(tail: float, df: float) -> float:
    return float(special.stdtrit(df, tail) if math.isfinite(df) else special.ndtri(tail))


def _subset(moments: Moments, keep: Bools) -> Moments:
    first = moments.first
    return Moments(
        value=moments.value[keep],
        slope=moments.slope[keep],
        root=moments.root[keep],
        size=moments.size,
        cap=moments.cap[keep],
        df=moments.df,
        first=first
        and FirstStage(
            estimate=first.estimate, half_length=first.half_length, cov=first.cov[keep]
        ),
    )


def _first_stage(
    first: FirstStage,
    theta: Floats,
    *,
    z: Floats,
    variance: Floats,
    top: NDArray[np.int64],
    low: Floats,
    high: Floats,
) -> tuple[Floats, Floats, Bools]:
    """Truncate further by estimate - half_length <= theta <= estimate + half_length."""
    share = np.take_along_axis(first.cov, top, axis=1) / variance
    gap = theta - (first.estimate - share * z)
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = (gap - first.half_length) / share, (gap + first.half_length) / share
    moves = np.abs(share) > _PARALLEL
    low = np.where(moves, np.maximum(low, np.minimum(one, two)), low)
    high = np.where(moves, np.minimum(high, np.maximum(one, two)), high)
    inside: Bools = np.abs(theta - first.estimate) <= first.half_length * (1 + 1e-12)
    return low, high, inside


def _upper_share(z: Floats, low: Floats, high: Floats, df: float) -> Floats:
    """P(Z > z | low <= Z <= high), exact in the far tail."""
    if math.isfinite(df):
        tail, end, start = (special.stdtr(df, -x) for x in (z, high, low))
        out = np.divide(tail - end, start - end, out=np.ones_like(z), where=start > end)
        return np.asarray(out)
    tail, end, start = (special.log_ndtr(-x) for x in (z, high, low))
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.log1p(-np.exp(np.minimum(end - tail, 0.0)))
        whole = np.log1p(-np.exp(np.minimum(end - start, 0.0)))
        ratio = np.exp(np.minimum(tail - start + part - whole, 0.0))
    return np.where(np.isnan(ratio), 1.0, ratio)


def _square_root(sigma: Floats) -> Floats:
    values, axes = np.linalg.eigh(sigma)
    return np.asarray(axes * np.sqrt(values.clip(min=0.0)))


def _turned(root: Floats) -> Floats:
    """The same covariances with as few independent normals as possible."""
    values, axes = np.linalg.eigh(root.transpose(0, 2, 1) @ root)
    rank = int((values > _PARALLEL * values.max(initial=1e-300)).sum(axis=1).max())
    return np.asarray(root @ axes[:, :, -max(rank, 1) :])


def _max_quantile(root: Floats, level: float, df: float) -> Floats:
    """Quantile of max(0, largest moment) with mean 0, shape [U].

    Given its direction, the largest moment is a constant times the length of a standard normal
    vector, whose distribution is known; only directions are averaged.
    """
    rank = root.shape[2]
    reach = np.stack([(part @ _directions(rank).T).max(axis=0) for part in root])
    low, high = np.zeros(len(root)), np.ones(len(root))

    def below(c: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            radius = np.where(reach > 0, c[:, None] / reach.clip(min=1e-300), np.inf)
        return np.asarray(_length_cdf(radius, rank, df).mean(axis=1))

    while (below(high) < level).any():
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        under = below(middle) < level
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return high


def _length_cdf(radius: Floats, rank: int, df: float) -> Floats:
    if math.isfinite(df):
        return np.asarray(special.fdtr(rank, df, np.minimum(radius, 1e150) ** 2 / rank))
    if rank == 2:
        return np.asarray(-np.expm1(-(np.minimum(radius, 1e150) ** 2) / 2))
    return np.asarray(special.chdtr(rank, np.minimum(radius, 1e150) ** 2))


@lru_cache(maxsize=32)
def _directions(rank: int) -> Floats:
    if rank <= 1:
        return np.array([[1.0], [-1.0]])
    if rank == 2:
        angle = np.linspace(0, 2 * np.pi, _DIRECTIONS // 4, endpoint=False)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    from scipy.stats import qmc

    draws = special.ndtri(qmc.Sobol(rank, seed=1).random(_DIRECTIONS // 2))
    both = np.concatenate([draws, -draws])
    return np.asarray(both / np.linalg.norm(both, axis=1, keepdims=True))


def _range(moments: Moments) -> tuple[Floats, Floats]:
    """Where the first stage does not reject, shape [U]; bounded, as slopes have both signs."""
    if moments.first is not None:
        middle, reach = moments.first.estimate, moments.first.half_length
        size = len(moments.value)
        return np.full(size, middle - reach), np.full(size, middle + reach)
    still = np.abs(moments.slope) <= _PARALLEL * np.abs(moments.slope).max()
    stuck = np.where(still, moments.value, -np.inf).max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = (moments.value - moments.cap[:, None]) / moments.slope
    low = np.where((moments.slope > 0) & ~still, ends, -np.inf).max(axis=1)
    high = np.where((moments.slope < 0) & ~still, ends, np.inf).min(axis=1)
    return low, np.where(stuck > moments.cap, -np.inf, high)


def _grid(moments: Moments, low: Floats, high: Floats) -> Floats:
    """Values to test, in order, shape [U, N]."""
    shares = np.linspace(0.0, 1.0, _POINTS)
    grid = low[:, None] + (high - low)[:, None] * shares
    levels = moments.value[:, None, :] - moments.slope[:, None, :] * grid[:, :, None]
    top = levels.argmax(axis=2)
    rows = np.arange(len(grid))[:, None]
    value, slope = moments.value[rows, top], moments.slope[rows, top]
    with np.errstate(divide="ignore", invalid="ignore"):
        tie = np.diff(value, axis=1) / np.diff(slope, axis=1)
    usable = (tie > grid[:, :-1]) & (tie < grid[:, 1:])
    return np.sort(np.concatenate([grid, np.where(usable, tie, grid[:, :-1])], axis=1), axis=1)


def _ends(moments: Moments, grid: Floats, yes: Bools) -> Floats:
    """The outermost accepted values of each part, lower and upper, shape [U, 2]."""
    last = grid.shape[1] - 1
    at = np.stack([yes.argmax(axis=1), last - yes[:, ::-1].argmax(axis=1)], axis=1)
    inner = np.take_along_axis(grid, at, axis=1)
    outer = np.take_along_axis(grid, (at + np.array([-1, 1])).clip(0, last), axis=1)
    for _ in range(_HALVINGS):
        middle = (inner + outer) / 2
        keep = accepts(moments, middle)
        inner, outer = np.where(keep, middle, inner), np.where(keep, outer, middle)
    return inner
