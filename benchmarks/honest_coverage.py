"""Do honest intervals cover the truth at the worst violation that they allow?"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np

from upliftlab.panels import arp, flci
from upliftlab.panels.event_path import EventPath
from upliftlab.panels.restrictions import Restriction, Union, differences, polyhedra

N_PRE, N_POST = 5, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One restriction, at its boundary."""

    name: str
    kind: str
    method: str
    m: float
    weights: tuple[float, ...]
    delta: np.ndarray


def covariance(size: int, *, seed: int = 7) -> np.ndarray:
    """Effects against one reference period: levels with unequal noise minus a common one."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.6, 1.4, size)
    return np.diag(noise**2) + 0.5


def relative_worst(d: float, m: float) -> np.ndarray:
    """One move of d before the start, m * d in every period after it."""
    steps = np.concatenate([np.zeros(N_PRE - 1), [d], np.full(N_POST, m * d)])
    levels = np.concatenate([[0.0], np.cumsum(steps)])
    return np.delete(levels - levels[N_PRE], N_PRE)


def smooth_worst(path: EventPath, m: float) -> np.ndarray:
    """The bends of size m that push the fixed-length estimator up as far as they can."""
    weights = flci.shortest(flci.frontier(path), m).weights
    bends = differences(N_PRE, N_POST, 2)
    line = np.zeros((1, N_PRE + N_POST))
    line[0, N_PRE - 1] = -1.0
    shapes = np.linalg.inv(np.concatenate([line, bends]))
    loads = weights @ shapes[:, 1:]
    return shapes[:, 1:] @ (m * np.sign(np.where(np.abs(loads) < 1e-9, 0.0, loads)))


def cases(sigma: np.ndarray) -> list[Case]:
    """Relative magnitudes at several sizes of the violation; smoothness at several bounds."""
    out = []
    for name, weights in (("first", np.eye(N_POST)[0]), ("mean", np.full(N_POST, 1 / N_POST))):
        for d in (0.0, 1.0, 3.0, 10.0):
            out += [
                Case(
                    name=f"RM Mbar=1 d={d:g} {name} {method}",
                    kind="relative_magnitude",
                    method=method,
                    m=1.0,
                    weights=tuple(weights),
                    delta=relative_worst(d, 1.0),
                )
                for method in ("c_lf", "conditional")
            ]
        path = EventPath.of_arrays(np.zeros(len(sigma)), sigma, N_PRE, weights=weights)
        for m in (0.0, 0.2, 1.0):
            out += [
                Case(
                    name=f"SD M={m:g} {name} {method}",
                    kind="smoothness",
                    method=method,
                    m=m,
                    weights=tuple(weights),
                    delta=smooth_worst(path, m),
                )
                for method in ("flci", "c_flci", "conditional")
            ]
    return out


def coverage(case: Case, sigma: np.ndarray, *, draws: int, seed: int) -> float:
    """Share of samples in which the test does not reject the effect, which is 0.

    The interval is the hull of the values not rejected, so it covers at least as often.
    """
    rng = np.random.default_rng(seed)
    samples = rng.multivariate_normal(case.delta, sigma, size=draws)
    zero = EventPath.of_arrays(np.zeros(len(sigma)), sigma, N_PRE, weights=case.weights)
    if case.method == "flci":
        best = flci.shortest(flci.frontier(zero), case.m)
        return float((np.abs(samples @ best.weights) <= best.half_length).mean())
    union = polyhedra(Restriction(kind=case.kind), N_PRE, N_POST, case.m)
    held = np.zeros(draws, dtype=bool)
    for part in range(len(union.a)):
        one = Union(a=union.a[part : part + 1], d=union.d[part : part + 1])
        held |= _accepted(case, one, zero, samples)
    return float(held.mean())


def _accepted(case: Case, one: Union, zero: EventPath, samples: np.ndarray) -> np.ndarray:
    """Moments are linear in the estimates, so that all samples are tested at once."""

    def moments(beta: np.ndarray) -> arp.Moments:
        path = replace(zero, beta=beta)
        if case.method == "conditional":
            return arp.conditional(path, one, alpha=0.05)
        if case.method == "c_lf":
            return arp.least_favourable(path, one, alpha=0.05, kappa=0.005)
        first = flci.shortest(flci.frontier(path), case.m, level=0.995)
        return arp.after_fixed_length(path, one, first, alpha=0.05, kappa=0.005)

    origin = moments(zero.beta)
    size, draws = len(zero.beta), len(samples)
    slopes = np.stack([moments(unit).value[0] - origin.value[0] for unit in np.eye(size)])
    first = origin.first
    if first is not None:
        weights = flci.shortest(flci.frontier(zero), case.m, level=0.995).weights
        first = replace(
            first,
            estimate=(samples @ weights)[:, None],
            cov=np.broadcast_to(first.cov, (draws, first.cov.shape[1])),
        )
    every = replace(
        origin,
        value=origin.value + samples @ slopes,
        slope=np.broadcast_to(origin.slope, (draws, origin.slope.shape[1])),
        root=np.broadcast_to(origin.root, (draws, *origin.root.shape[1:])),
        cap=np.broadcast_to(origin.cap, draws),
        first=first,
    )
    return arp.accepts(every, np.zeros((draws, 1)))[:, 0]


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    sigma = covariance(N_PRE + N_POST)
    for case in cases(sigma):
        start = time.perf_counter()
        share = coverage(case, sigma, draws=asked.draws, seed=asked.seed)
        took = time.perf_counter() - start
        print(f"{case.name:34s} coverage {share:.4f}   {took:.1f} s", flush=True)


if __name__ == "__main__":
    main()
