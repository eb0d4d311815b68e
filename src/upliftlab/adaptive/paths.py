"""Many simulated tests at once: what would each epoch of each have shown?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from upliftlab.adaptive.sequence import running
from upliftlab.adaptive.shares import GRID, Method, top_two

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TOGETHER = 200_000
"""Units that are drawn at once: memory stays flat."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paths:
    """Moments of every arm in every epoch of many tests, shape [R, T, A], control first.

    Attributes:
        share: Probability of the arm.
        n: Units.
        mean: Of their outcomes.
        variance: Unbiased.
        earned: Extra outcome of all units against control for everybody, shape [R].
    """

    share: Floats
    n: Floats
    mean: Floats
    variance: Floats
    earned: Floats

    def contrast(self, arm: int) -> tuple[Floats, Floats, Floats]:
        """Arm less control at the end of every epoch, as ``sequence.running`` adds it up."""
        pair = [arm, 0]
        n = self.n[:, :, pair]
        variance = (self.variance[:, :, pair] / n).sum(axis=2)
        own, other = self.share[:, :, arm], self.share[:, :, 0]
        root = np.sqrt(own * other / (own + other))
        gap = self.mean[:, :, arm] - self.mean[:, :, 0]
        return running(gap, variance, self.n.sum(axis=2), root)

    def weighted(self) -> tuple[Floats, Floats]:
        """Arm means and their variances over all epochs, as ``weighted.weigh``: [R, A]."""
        weight = _weights(self.share, self.n)
        mean = (weight * self.mean).sum(axis=1)
        return mean, (weight**2 * self.variance / self.n).sum(axis=1)


def paths(
    pool: Floats,
    *,
    method: Method,
    runs: int,
    epochs: int,
    units: int,
    floor: float,
    alike: int = 0,
    lift: Sequence[float] | None = None,
    seed: int = 1,
) -> Paths:
    """Simulate tests whose shares follow outcomes, all epochs of a chunk of tests at a time.

    The same rule as ``compare.campaign``, with exact probabilities of being best in place of
    drawn ones.

    Args:
        pool: Outcome of each unit of a population in every arm, control first, shape [N, A].
        method: How shares move.
        runs: Tests.
        epochs: Of each.
        units: Per epoch.
        floor: Least share of an arm.
        alike: Arms that all have the pool's one outcome; 0 where it has one for each.
        lift: Added to everybody's outcome in an epoch, shape [T].
        seed: Tests of one chunk, epoch and seed meet the same people under every method.
    """
    arms = alike or pool.shape[1]
    shape = (runs, epochs, arms)
    out = Paths(
        share=np.empty(shape), n=np.empty(shape), mean=np.empty(shape),
        variance=np.empty(shape), earned=np.zeros(runs),
    )  # fmt: skip
    step = max(1, TOGETHER // units)
    for chunk, first in enumerate(range(0, runs, step)):
        rows = slice(first, min(first + step, runs))
        share = np.full((rows.stop - first, arms), 1 / arms)
        for t in range(epochs):
            rng = np.random.default_rng((seed, chunk, t))
            out.share[rows, t] = share
            _epoch(out, pool, (rows, t), units, rng)
            if lift is not None:
                out.mean[rows, t] += lift[t]
            if method != "fixed":
                share = _moved(out, rows, t, method, floor)
    return out


def _epoch(
    out: Paths, pool: Floats, at: tuple[slice, int], units: int, rng: np.random.Generator
) -> None:
    """Draw one epoch of some tests and keep its moments."""
    rows, t = at
    tests, arms = rows.stop - rows.start, out.n.shape[2]
    who = rng.integers(0, len(pool), tests * units)
    n = rng.multinomial(units, out.share[rows, t])
    begins = np.r_[0, np.cumsum(n.ravel())[:-1]]
    base = pool[:, 0][who]
    y = base
    if pool.shape[1] > 1:
        arm = np.repeat(np.tile(np.arange(arms), tests), n.ravel())
        y = pool[who, arm]
        out.earned[rows] += (y - base).reshape(tests, units).sum(axis=1)
    count = n.astype(np.float64)
    mean = np.add.reduceat(y, begins).reshape(tests, arms) / count
    square = np.add.reduceat(y * y, begins).reshape(tests, arms)
    out.n[rows, t] = count
    out.mean[rows, t] = mean
    out.variance[rows, t] = (square - count * mean**2) / (count - 1)


def _weights(share: Floats, n: Floats) -> Floats:
    weight = n.sum(axis=2) / np.sqrt((1 / share).sum(axis=2))
    out: Floats = (weight / weight.sum(axis=1, keepdims=True))[:, :, None]
    return out


def _moved(out: Paths, rows: slice, t: int, method: Method, floor: float) -> Floats:
    weight = _weights(out.share[rows, : t + 1], out.n[rows, : t + 1])
    mean = (weight * out.mean[rows, : t + 1]).sum(axis=1)
    variance = weight**2 * out.variance[rows, : t + 1] / out.n[rows, : t + 1]
    best = best_of(mean, np.sqrt(variance.sum(axis=1)))
    wanted = best if method == "thompson" else np.array([top_two(row) for row in best])
    arms = best.shape[1]
    share = np.round((floor + (1 - floor * arms) * wanted) * GRID) / GRID
    share = np.maximum(share, floor)
    out_share: Floats = share / share.sum(axis=1, keepdims=True)
    return out_share


def best_of(mean: Floats, error: Floats, nodes: int = 64) -> Floats:
    """Return the probability that each of independent normal means is the largest, [R, A].

    Examples:
        >>> best_of(np.array([[0.0, 1.0]]), np.array([[1.0, 1.0]])).round(4)
        array([[0.2398, 0.7602]])
    """
    x, w = _nodes(nodes)
    out = np.empty_like(mean)
    for a in range(mean.shape[1]):
        at = mean[:, [a]] + error[:, [a]] * x
        below = np.ones_like(at)
        for b in range(mean.shape[1]):
            if b != a:
                below *= special.ndtr((at - mean[:, [b]]) / error[:, [b]])
        out[:, a] = below @ w / w.sum()
    share: Floats = out / out.sum(axis=1, keepdims=True)
    return share


@cache
def _nodes(count: int) -> tuple[Floats, Floats]:
    x, w = np.polynomial.hermite_e.hermegauss(count)
    return x, w
