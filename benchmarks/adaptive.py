"""What does moving shares earn, and do its intervals hold? Simulated coupon tests.

Run `python -m benchmarks.adaptive` (part of `make certify`). Every finished chunk of seeds is
kept in benchmarks/.state and not repeated; results go to docs/certify/adaptive.md and .json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One thread each: workers that each ask for all cores are six times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy import stats

from upliftlab.adaptive.compare import campaign
from upliftlab.simulate import draw, preset
from upliftlab.simulate.truths import unit_outcomes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "benchmarks" / ".state" / "adaptive"
DOCS = ROOT / "docs" / "certify"
POOL, CHUNK, EPOCHS, UNITS, FLOOR = 400_000, 50, 8, 20_000, 0.05
METHODS = ("thompson", "top_two", "fixed")
EVEN, UNEVEN = (0.0,) * EPOCHS, (0.0, 0.0, 3.0, 0.0, 0.0, 6.0, 6.0, 0.0)
WORLDS: dict[str, dict[str, Any]] = {
    "coupon, even weeks": {"preset": "gmv_up_profit_down", "lift": EVEN, "runs": 1_000},
    "coupon, uneven weeks": {"preset": "gmv_up_profit_down", "lift": UNEVEN, "runs": 1_000},
    "no reaction, even weeks": {"preset": "null", "lift": EVEN, "runs": 2_000},
    "no reaction, uneven weeks": {"preset": "null", "lift": UNEVEN, "runs": 2_000},
}


def main() -> None:
    """Run what is not there yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the runs")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    STATE.mkdir(parents=True, exist_ok=True)
    tasks = [
        (world, begin)
        for world, study in WORLDS.items()
        for begin in range(0, round(study["runs"] * asked.scale), CHUNK)
    ]
    with ProcessPoolExecutor(max_workers=asked.workers) as pool:
        for world, begin in pool.map(_chunk, tasks):
            print(f"{world}: {begin} done", flush=True)
    _write()


def _place(world: str, begin: int) -> Path:
    return STATE / f"{world.replace(', ', '-').replace(' ', '_')}-{begin}.json"


def _chunk(task: tuple[str, int]) -> tuple[str, int]:
    world, begin = task
    place = _place(world, begin)
    if not place.exists():
        rows = [_run(world, seed) for seed in range(begin, begin + CHUNK)]
        part = place.with_suffix(".part")
        part.write_text(json.dumps(rows), encoding="utf-8")
        part.replace(place)
    return task


@cache
def _pool(name: str) -> Floats:
    """Profit of 60 days in every arm, in yuan."""
    drawn = draw(preset(name, customers=POOL, seed=99))
    return unit_outcomes(drawn, "profit_60d")


def _run(world: str, seed: int) -> dict[str, Any]:
    study = WORLDS[world]
    pool = _pool(study["preset"])
    true = pool.mean(axis=0)[1:] - pool.mean(axis=0)[0]
    out: dict[str, Any] = {}
    for method in METHODS:
        test = campaign(
            pool, method=method, epochs=EPOCHS, units=UNITS, floor=FLOOR, lift=study["lift"],
            seed=1_000_000 + seed,
        )  # fmt: skip
        out[method] = {
            "earned": test.earned,
            "right": bool(test.chosen == int(pool.mean(axis=0).argmax())),
            "held": [not e.excludes(t) for e, t in zip(test.effects, true, strict=True)],
            "pooled": [not e.excludes(t) for e, t in zip(test.pooled, true, strict=True)],
            "se": [e.std_error for e in test.effects],
            "share": test.share[-1].tolist(),
        }
    return out


def _write() -> None:
    found = {}
    for world in WORLDS:
        files = sorted(STATE.glob(f"{_place(world, 0).stem[:-2]}-*.json"))
        rows = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]
        if rows:
            found[world] = {method: _summary(rows, method) for method in METHODS}
    names = ("upliftlab", "numpy", "scipy")
    made = {
        "command": "python -m benchmarks.adaptive",
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in names},
        "pool": POOL, "epochs": EPOCHS, "units per epoch": UNITS, "floor": FLOOR,
    }  # fmt: skip
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "adaptive.json").write_text(
        json.dumps({"made": made, "worlds": found}, indent=1) + "\n", encoding="utf-8"
    )
    (DOCS / "adaptive.md").write_text(_page(made, found), encoding="utf-8")


def _summary(rows: list[dict[str, Any]], method: str) -> dict[str, Any]:
    own = [row[method] for row in rows]
    gain = np.array([row[method]["earned"] - row["fixed"]["earned"] for row in rows])
    held = np.array([row["held"] for row in own])
    worst = int(held.sum(axis=0).min())
    return {
        "runs": len(rows),
        "earned": float(np.mean([row["earned"] for row in own])),
        "earned_more": [
            float(gain.mean() + z * gain.std(ddof=1) / np.sqrt(len(gain)))
            for z in (-1.96, 0, 1.96)
        ],
        "right": float(np.mean([row["right"] for row in own])),
        "coverage": held.mean(axis=0).tolist(),
        # The house rule: coverage of at least nominal less 1.5 points is not to be rejected.
        "p_below": float(stats.binom.cdf(worst, len(rows), 0.935)),
        "pooled_coverage": np.mean([row["pooled"] for row in own], axis=0).tolist(),
        "se": np.mean([row["se"] for row in own], axis=0).tolist(),
        "last_share": np.mean([row["share"] for row in own], axis=0).tolist(),
    }


def _page(made: dict[str, Any], found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    heads = (
        "world", "shares", "runs", "extra profit of the test, yuan", "more than fixed (95 %)",
        "ends on the best arm", "coverage of 95 % (5 / 10 / 20)", "pooled units, wrongly",
    )  # fmt: skip
    lines = [
        "# Shares that follow profit, against fixed shares",
        "",
        (
            f"`{made['command']}`; {EPOCHS} epochs of {UNITS:,} customers, arms 0, 5, 10 and "
            f"20 yuan, floor {FLOOR:.0%}, profit of 60 days per customer of the simulated "
            "coupon test. Uneven weeks add 3 to 6 yuan to everybody of some epochs. "
            f"{versions}."
        ),
        "",
        f"| {' | '.join(heads)} |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for world, methods in found.items():
        for method, row in methods.items():
            low, mean, high = row["earned_more"]
            more = "" if method == "fixed" else f"{mean:+,.0f} ({low:+,.0f} to {high:+,.0f})"
            lines.append(
                f"| {world} | {method.replace('_', ' ')} | {row['runs']:,} "
                f"| {row['earned']:,.0f} | {more} | {row['right']:.1%} | "
                + " / ".join(f"{c:.1%}" for c in row["coverage"])
                + " | "
                + " / ".join(f"{c:.1%}" for c in row["pooled_coverage"])
                + " |"
            )
    failed = [
        f"{world}, {method}"
        for world, methods in found.items()
        for method, row in methods.items()
        if row["p_below"] < 0.001 / 12
    ]
    lines += [
        "",
        "Coverage at least 93.5 % is rejected at 0.001 (Holm over the table) for: "
        + ("; ".join(failed) or "no cell")
        + ".",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
