"""How often do looks stop a test of few clusters that has no effect?

Run `python -m benchmarks.looks_clusters`. Paths of twenty looks at skewed profit of clusters of
unequal size; both arms draw from one population. Results go to docs/certify/looks_clusters.json
and, beside the looks at customers, into docs/certify/looks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy import special, stats

from benchmarks import looks
from upliftlab.stats.clusters import arm_mean, difference
from upliftlab.stats.confidence_sequence import multiplier
from upliftlab.stats.group_sequential import bounds_by_spending
from upliftlab.stats.spending import FAMILIES, Spending

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DOCS = Path(__file__).resolve().parent.parent / "docs" / "certify"
COUNTS, LOOKS, PATHS, CHUNK, SEED = (6, 10, 15, 20), 20, 10_000, 500, 20_261_128
THERE, UNEVEN, JOIN = (
    "there from the start",
    "there from the start, control with three times as many",
    "joining until there are three times as many",
)
ACTIVE, SHAPE, SHARED, PER_LOOK, SIZE_CV = 0.17, 0.8, 2.0, 60.0, 0.4
ALPHA = looks.ALPHA


def arm(rng: np.random.Generator, count: int, *, joins: bool) -> tuple[Floats, Floats]:
    """Units and profit of every cluster so far, shape [paths, clusters, looks].

    A cluster's share of buyers is everybody's; what they spend carries its own gamma factor
    (skewness 1.4), and sizes vary by 40 %.
    """
    width = 3 * count if joins else count
    sd = np.sqrt(np.log1p(SIZE_CV**2))
    rate = PER_LOOK * rng.lognormal(-(sd**2) / 2, sd, (CHUNK, width, 1))
    begins = np.zeros(width)
    if joins:
        begins[count:] = 1 + np.arange(width - count) * (LOOKS - 2) / (width - count - 1)
    here = np.arange(LOOKS) >= begins[:, None]
    units = np.where(here, 1 + rng.poisson(rate, (CHUNK, width, LOOKS)), 0)
    active = rng.binomial(units, ACTIVE)
    factor = rng.gamma(SHARED, 1 / SHARED, (CHUNK, width, 1))
    profit = factor * rng.gamma(SHAPE * np.maximum(active, 1e-9), 1 / SHAPE) * (active > 0)
    return np.cumsum(units, axis=2).astype(float), np.cumsum(profit, axis=2)


def read(units: Floats, profit: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean, CR2 variance, Bell-McCaffrey df and units of an arm at every look.

    The same as `arm_mean` and `difference`, path by path; checked on the first of a chunk.
    """
    n = units.sum(axis=1)
    mean = profit.sum(axis=1) / n
    gap = profit - units * mean[:, None]
    lever = 1 / (1 - units / n[:, None])
    variance = (gap**2 * lever).sum(axis=1) / n**2
    a = (units**2 * lever).sum(axis=1)
    b = (units**4 * lever**2).sum(axis=1)
    df = n**2 / ((units**2).sum(axis=1) + (a**2 - b) / n**2)
    return mean, variance, df, n


def chunk(count: int, seed: int, world: str) -> dict[str, list[int]]:
    """Count crossings of each method in each tail."""
    rng = np.random.default_rng((SEED, count, (THERE, JOIN, UNEVEN).index(world), seed))
    more = 3 if world == UNEVEN else 1
    raw = [arm(rng, each, joins=world == JOIN) for each in (count, more * count)]
    (m_t, v_t, df_t, n_t), (m_c, v_c, df_c, n_c) = (read(*each) for each in raw)
    z = (m_t - m_c) / np.sqrt(v_t + v_c)
    # Bell and McCaffrey's df of the contrast, under a working model of independent units.
    df = (1 / n_t + 1 / n_c) ** 2 / (1 / n_t**2 / df_t + 1 / n_c**2 / df_c)
    _check(raw, z, df)
    fraction = (n_t + n_c) / (n_t + n_c)[:, -1:].mean()
    tails = [special.stdtr(df, -z), special.stdtr(df, z)]
    out = {}
    for method, bound in bounds(fraction).items():
        up, down = ((tail <= special.ndtr(-bound)).any(axis=1) for tail in tails)
        out[method] = [int(up.sum()), int(down.sum()), int((up | down).sum())]
    return out


def bounds(fraction: Floats) -> dict[str, Floats]:
    """Bounds at every look, as normal z; infinite where a method does not look."""
    out = {
        f"confidence sequence, tuned at {label}": multiplier(
            fraction, tuned_at=part, alpha=ALPHA
        )
        for label, part in (("the end", 1.0), ("a quarter", 0.25), ("the first look", 0.05))
    }
    at = np.arange(1, 6) * LOOKS // 5 - 1
    shares = fraction.mean(axis=0)[at]
    for family in FAMILIES:
        reach = np.full(LOOKS, np.inf)
        found = bounds_by_spending(Spending(family=family), shares / shares[-1], alpha=ALPHA)
        reach[at] = found.upper
        out[f"{family}, 5 looks"] = reach
    out["peeking at 1.96"] = np.full(LOOKS, 1.959963985)
    return out


def _check(raw: list[tuple[Floats, Floats]], z: Floats, df: Floats) -> None:
    """The house's own estimator says the same on one path, at one look."""
    at = LOOKS // 2
    arms = []
    for units, profit in raw:
        there = units[0, :, at] > 0
        arms.append(arm_mean(units[0, there, at], profit[0, there, at]))
    found = difference(*arms)
    if not np.allclose([found.estimate / found.std_error, found.df], [z[0, at], df[0, at]]):
        raise AssertionError("the fast estimator is another one than that of the looks")


def cells(paths: int) -> list[dict[str, Any]]:
    """Crossing shares of all cells, with the p-values of the rule."""
    out = []
    for world in (THERE, UNEVEN, JOIN):
        for count in COUNTS:
            parts = [chunk(count, seed, world) for seed in range(paths // CHUNK)]
            for method in parts[0]:
                up, down, either = np.array([part[method] for part in parts]).sum(axis=0)
                out.append(
                    {
                        "clusters": count,
                        "world": world,
                        "method": method,
                        "form": "",
                        "paths": len(parts) * CHUNK,
                        "up": up / paths,
                        "down": down / paths,
                        "either": either / paths,
                        "p": float(stats.binom.sf(either - 1, paths, ALPHA)),
                        "p_tail": float(stats.binom.sf(max(up, down) - 1, paths, ALPHA / 2)),
                    }
                )
            print(f"{count} clusters an arm {world}", flush=True)
    return looks.judged(out)


def main() -> None:
    """Draw all paths and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, default=PATHS, help="fewer, for a trial")
    paths = parser.parse_args().paths
    rows = cells(paths)
    made = {
        "command": "python -m benchmarks.looks_clusters",
        "python": platform.python_version(),
    }
    made |= {name: metadata.version(name) for name in ("upliftlab", "numpy", "scipy")}
    found = {"made": made, "rule": looks.RULE, "rows": rows}
    if paths < PATHS:
        print("\n".join(looks.clusters_section(found)))
        return
    (DOCS / "looks_clusters.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    looks.write_page()


if __name__ == "__main__":
    main()
