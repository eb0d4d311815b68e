"""What does moving shares earn, and do its ranges hold? Simulated coupon tests.

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

from upliftlab.adaptive.paths import Paths, paths
from upliftlab.adaptive.sequence import ranges
from upliftlab.simulate import draw, preset
from upliftlab.simulate.truths import unit_outcomes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "benchmarks" / ".state" / "adaptive"
DOCS = ROOT / "docs" / "certify"
POOL, CHUNK, EPOCHS, UNITS, FLOOR = 400_000, 500, 8, 20_000, 0.05
FEWEST, ACTIVE = 250, 50
"""First permitted look: units, and units with an outcome, in the smaller arm."""
METHODS = ("thompson", "top_two", "fixed")
EVEN, UNEVEN = (0.0,) * EPOCHS, (0.0, 0.0, 3.0, 0.0, 0.0, 6.0, 6.0, 0.0)
WORLDS: dict[str, dict[str, Any]] = {
    "coupon, even weeks": {"preset": "gmv_up_profit_down", "lift": EVEN, "runs": 1_000},
    "coupon, uneven weeks": {"preset": "gmv_up_profit_down", "lift": UNEVEN, "runs": 1_000},
    "no reaction, even weeks": {"preset": "null", "lift": EVEN, "runs": 1_000},
    "no reaction, uneven weeks": {"preset": "null", "lift": UNEVEN, "runs": 1_000},
}
SHORT, MANY, PATHS, WITH_EFFECT = 2_000, 20, 10_000, 4_000
LOOKED: dict[str, dict[str, Any]] = {
    f"{world}, {method.replace('_', ' ')}, floor {floor:.0%}": {
        "alike": world == "no effect", "method": method, "floor": floor,
    }
    for world, floor in (("no effect", 0.05), ("no effect", 0.10), ("coupon", 0.05))
    for method in ("thompson", "top_two")
}  # fmt: skip


def main() -> None:
    """Run what is not there yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the runs")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    STATE.mkdir(parents=True, exist_ok=True)
    wanted = {name: PATHS if study["alike"] else WITH_EFFECT for name, study in LOOKED.items()}
    wanted |= {world: study["runs"] for world, study in WORLDS.items()}
    tasks = [
        (name, begin)
        for name, runs in wanted.items()
        for begin in range(0, max(CHUNK, round(runs * asked.scale)), CHUNK)
    ]
    if asked.workers == 1:
        for task in tasks:
            print(*_chunk(task), "done", flush=True)
    else:
        with ProcessPoolExecutor(max_workers=asked.workers) as pool:
            for name, begin in pool.map(_chunk, tasks):
                print(name, begin, "done", flush=True)
    _write()


def _place(name: str, begin: int) -> Path:
    plain = name.replace(", ", "-").replace(" ", "_").replace("%", "")
    return STATE / f"{plain}-{begin}.json"


def _chunk(task: tuple[str, int]) -> tuple[str, int]:
    name, begin = task
    place = _place(name, begin)
    if not place.exists():
        found = _world(name, begin) if name in WORLDS else _looked(name, begin)
        part = place.with_suffix(".part")
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(place)
    return task


@cache
def _pool(name: str) -> Floats:
    """Profit of 60 days in every arm, in yuan."""
    drawn = draw(preset(name, customers=POOL, seed=99))
    return unit_outcomes(drawn, "profit_60d")


def _world(name: str, begin: int) -> dict[str, Any]:
    """Tests of eight large epochs, read once at the end."""
    study = WORLDS[name]
    pool = _pool(study["preset"])
    means = pool.mean(axis=0)
    true = means[1:] - means[0]
    out: dict[str, Any] = {}
    for method in METHODS:
        found = paths(
            pool, method=method, runs=CHUNK, epochs=EPOCHS, units=UNITS, floor=FLOOR,
            lift=study["lift"], seed=1_000_000 + begin,
        )  # fmt: skip
        mean, variance = found.weighted()
        gap, error = _against(mean, variance)
        naive, naive_error = _against(*_pooled(found))
        out[method] = {
            "earned": found.earned.tolist(),
            "right": (mean.argmax(axis=1) == means.argmax()).tolist(),
            "held": (np.abs(gap - true) <= 1.959964 * error).tolist(),
            "pooled": (np.abs(naive - true) <= 1.959964 * naive_error).tolist(),
            "se": error.mean(axis=0).tolist(),
            "share": found.share[:, -1].mean(axis=0).tolist(),
        }
    return out


def _against(mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    return mean[:, 1:] - mean[:, :1], np.sqrt(variance[:, 1:] + variance[:, :1])


def _pooled(found: Paths) -> tuple[Floats, Floats]:
    """Arm means of units pooled over epochs, as is often and wrongly done."""
    n = found.n.sum(axis=1)
    mean = (found.n * found.mean).sum(axis=1) / n
    gap = found.mean - mean[:, None]
    square = ((found.n - 1) * found.variance + found.n * gap**2).sum(axis=1)
    return mean, square / (n - 1) / n


def _looked(name: str, begin: int) -> dict[str, Any]:
    """Tests of twenty small epochs, looked at after each of them."""
    study = LOOKED[name]
    pool = _pool("gmv_up_profit_down")
    count = pool.shape[1]
    if study["alike"]:
        pool = np.ascontiguousarray(pool[:, :1])
    means = np.broadcast_to(pool.mean(axis=0), count)
    found = paths(
        pool, method=study["method"], runs=CHUNK, epochs=MANY, units=SHORT,
        floor=study["floor"], alike=count if study["alike"] else 0, seed=2_000_000 + begin,
    )  # fmt: skip
    active = float((pool[:, 0] != 0).mean())
    arms = range(1, count)
    out: dict[str, Any] = {}
    for level, alpha in (("each", 0.05), ("all", 0.05 / len(arms))):
        above, below = (np.zeros((CHUNK, len(arms)), dtype=bool) for _ in range(2))
        for a in arms:
            low, high = _sequence(found, a, active, alpha)
            truth = means[a] - means[0]
            above[:, a - 1] = (low > truth).any(axis=1)
            below[:, a - 1] = (high < truth).any(axis=1)
        out[level] = {"above": above.tolist(), "below": below.tolist()}
    final, error, _ = zip(*(found.contrast(a) for a in arms), strict=True)
    gap = np.stack([e[:, -1] for e in final], axis=1) - (means[1:] - means[0])
    out["fixed"] = (np.abs(gap) > 1.96 * np.stack([e[:, -1] for e in error], axis=1)).tolist()
    every = np.stack(final, axis=2) - (means[1:] - means[0])
    peeked = np.abs(every) > 1.96 * np.stack(error, axis=2)
    out["peeked"] = peeked.any(axis=1).tolist()
    out["share"] = found.share[:, -1].mean(axis=0).tolist()
    return out


def _sequence(found: Paths, arm: int, active: float, alpha: float) -> tuple[Floats, Floats]:
    """Ends of the range at every look; none before the first permitted one."""
    estimate, error, spread = found.contrast(arm)
    n = np.cumsum(found.n[:, :, [0, arm]], axis=1).min(axis=2)
    early = (n < FEWEST) | (n * active < ACTIVE)
    first = (~early).argmax(axis=1)
    rows = np.arange(len(n))
    horizon = spread[rows, first] * MANY / (first + 1)
    low, high = ranges(estimate, error, spread, horizon=horizon[:, None], alpha=alpha)
    return np.where(early, -np.inf, low), np.where(early, np.inf, high)


def _rows(name: str) -> list[dict[str, Any]]:
    files = sorted(STATE.glob(f"{_place(name, 0).stem[:-2]}-*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _write() -> None:
    found = {
        world: {method: _summary(rows, method) for method in METHODS}
        for world in WORLDS
        if (rows := _rows(world))
    }
    looked = {name: _crossed(rows) for name in LOOKED if (rows := _rows(name))}
    names = ("upliftlab", "numpy", "scipy")
    made = {
        "command": "python -m benchmarks.adaptive",
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in names},
        "pool": POOL, "epochs": EPOCHS, "units per epoch": UNITS, "floor": FLOOR,
        "looked epochs": MANY, "looked units per epoch": SHORT,
    }  # fmt: skip
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "adaptive.json").write_text(
        json.dumps({"made": made, "worlds": found, "looked": looked}, indent=1) + "\n",
        encoding="utf-8",
    )
    (DOCS / "adaptive.md").write_text(_page(made, found, looked), encoding="utf-8")


def _summary(rows: list[dict[str, Any]], method: str) -> dict[str, Any]:
    own = {
        key: np.concatenate([np.array(row[method][key]) for row in rows])
        for key in ("earned", "right", "held", "pooled")
    }
    fixed = np.concatenate([np.array(row["fixed"]["earned"]) for row in rows])
    gain, held = own["earned"] - fixed, own["held"]
    return {
        "runs": len(held),
        "earned": float(own["earned"].mean()),
        "earned_more": [
            float(gain.mean() + z * gain.std(ddof=1) / np.sqrt(len(gain)))
            for z in (-1.96, 0, 1.96)
        ],
        "right": float(own["right"].mean()),
        "coverage": held.mean(axis=0).tolist(),
        # The house rule: coverage of at least nominal less 1.5 points is not to be rejected.
        "p_below": float(stats.binom.cdf(int(held.sum(axis=0).min()), len(held), 0.935)),
        "pooled_coverage": own["pooled"].mean(axis=0).tolist(),
        "se": np.mean([row[method]["se"] for row in rows], axis=0).tolist(),
        "last_share": np.mean([row[method]["share"] for row in rows], axis=0).tolist(),
    }


def _crossed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    def joined(*path: str) -> Bools:
        parts = []
        for row in rows:
            part: Any = row
            for key in path:
                part = part[key]
            parts.append(np.array(part))
        return np.concatenate(parts)

    above, below = joined("each", "above"), joined("each", "below")
    some = (joined("all", "above") | joined("all", "below")).any(axis=1)
    worst = int((above | below).sum(axis=0).max())
    return {
        "paths": len(above),
        "above": above.mean(axis=0).tolist(),
        "below": below.mean(axis=0).tolist(),
        "either": (above | below).mean(axis=0).tolist(),
        "some_arm": float(some.mean()),
        # The house rule: at most 5 % is not to be rejected, for the worst arm and for all.
        "p_above": float(stats.binom.sf(max(worst, int(some.sum())) - 1, len(above), 0.05)),
        "end_only": joined("fixed").mean(axis=0).tolist(),
        "peeked": joined("peeked").mean(axis=0).tolist(),
        "last_share": np.mean([row["share"] for row in rows], axis=0).tolist(),
    }


def _page(made: dict[str, Any], found: dict[str, Any], looked: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    return "\n".join(
        [
            "# Shares that follow profit, against fixed shares",
            "",
            f"`{made['command']}`. {versions}. Seeds are fixed; nothing was drawn again.",
            "",
            *_fixed_page(found),
            *_looked_page(looked),
        ]
    )


def _fixed_page(found: dict[str, Any]) -> list[str]:
    heads = (
        "world", "shares", "runs", "extra profit of the test, yuan", "more than fixed (95 %)",
        "ends on the best arm", "coverage of 95 % (5 / 10 / 20)", "pooled units, wrongly",
    )  # fmt: skip
    lines = [
        "## Read once, at the end",
        "",
        (
            f"{EPOCHS} epochs of {UNITS:,} customers, arms 0, 5, 10 and 20 yuan, floor "
            f"{FLOOR:.0%}, profit of 60 days per customer of the simulated coupon test. Uneven "
            "weeks add 3 to 6 yuan to everybody of some epochs: comparisons within epochs do "
            "not see them, pooled units do."
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
                f"{_shares(row['coverage'])} | {_shares(row['pooled_coverage'])} |"
            )
    failed = _rejected(
        {
            f"{world}, {method}": row["p_below"]
            for world, methods in found.items()
            for method, row in methods.items()
        }
    )
    return [
        *lines,
        "",
        f"At least 93.5 % is rejected at 0.001 (Holm over the table) for: {failed}.",
        "",
    ]


def _looked_page(looked: dict[str, Any]) -> list[str]:
    heads = (
        "world, shares, floor", "paths", "truth above the range", "truth below it", "either",
        "some arm, all counted", "1.96 at every look", "1.96 at the end",
    )  # fmt: skip
    lines = [
        "## Looked at after every epoch",
        "",
        (
            f"{MANY} epochs of {SHORT:,} customers; a path counts if the confidence sequence "
            "ever leaves the truth out, for the arms 5 / 10 / 20 each at 95 %, and for all of "
            f"them together at 95 %. First look: {FEWEST} customers and {ACTIVE} with an "
            "outcome in the smaller arm. No effect: every arm has the profit of customers "
            "without a coupon, zero-inflated and skewed. Coupon: the arms' own profits. The "
            "last two columns are what a plain range of 95 % does. At 3 % or less the sequence "
            "is conservative: it pays for looks that nobody took."
        ),
        "",
        f"| {' | '.join(heads)} |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {name} | {row['paths']:,} | {_shares(row['below'])} | {_shares(row['above'])} | "
        f"{_shares(row['either'])} | {row['some_arm']:.1%} | {_shares(row['peeked'])} | "
        f"{_shares(row['end_only'])} |"
        for name, row in looked.items()
    ]
    failed = _rejected({name: row["p_above"] for name, row in looked.items()})
    return [
        *lines,
        "",
        f"At most 5 % is rejected at 0.001 (Holm over the table) for: {failed}.",
        "",
    ]


def _shares(row: list[float]) -> str:
    return " / ".join(f"{x:.1%}" for x in row)


def _rejected(p: dict[str, float]) -> str:
    """Names that Holm rejects at 0.001."""
    order = sorted(p, key=p.__getitem__)
    out = []
    for rank, name in enumerate(order):
        if p[name] > 0.001 / (len(order) - rank):
            break
        out.append(name)
    return "; ".join(out) or "no cell"


if __name__ == "__main__":
    main()
