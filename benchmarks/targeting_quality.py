"""How much profit do learned rules earn, by the default learner and by econml's forests?

Run as ``python -m benchmarks.targeting_quality --seeds 20 --trees 100``. What each learner
earned on each seed is kept in benchmarks/.state and not repeated; results go to
docs/benchmarks/targeting_quality.md and .json, with the seeds on which all learners have run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One thread for every learner: two that wait for one lock burn twice the time.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from scipy import special, stats

from upliftlab.targeting.boosting import bin_features
from upliftlab.targeting.fast_dr import fit_fast_dr
from upliftlab.targeting.scores import component_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "benchmarks" / ".state" / "quality"
DOCS = ROOT / "docs" / "benchmarks"
UNITS, TRUTH = 50_000, 100_000
"""Units learned on, and fresh units on which the true profit of a rule is averaged."""

MARGIN, COUPON = 0.35, 3.0
DEFAULT, FOREST, CAUSAL = "default", "ForestDRLearner", "CausalForestDML"
LEAF = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Customers of a coupon test, and what the coupon truly earns on each.

    Eleven normal columns and one flag; logit purchase whose lift hangs on new customers and two
    columns, lognormal basket, coupon paid on redemption only. Constants are set so that the
    moments are those of the process in the literature review: sd of the gain .56 (.553), best
    rule .225 (.231), coupon for all .079 (.079), GMV lift 1.03 (1.02), 72 % (72 %) of coupon
    money on orders that would have come anyway.
    """

    x: Floats
    arm: NDArray[np.int64]
    gmv: Floats
    cost: Floats
    gain: Floats


def world(seed: int, n: int) -> World:
    """Draw customers."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 11))
    new = rng.random(n) < 0.3
    lift = 0.211 + 0.246 * new + 0.299 * z[:, 2] + 0.293 * np.sign(z[:, 3])
    level = -1.895 + 0.5 * (0.6 * z[:, 0] + 0.4 * z[:, 1]) - 0.8 * new
    p0, p1 = special.expit(level), special.expit(level + lift)
    basket = np.exp(3.235 + 0.426 * z[:, 4] + 0.15 * z[:, 1])
    redeem = 0.42 + 0.37 * special.expit(1.2 * z[:, 5] + 0.17)
    gain = MARGIN * (p1 - p0) * basket - COUPON * redeem * p1
    arm = rng.integers(0, 2, n)
    buys = rng.random(n) < np.where(arm == 1, p1, p0)
    noise = np.exp(0.4 * rng.normal(size=n) - 0.08)
    uses = (arm == 1) & buys & (rng.random(n) < redeem)
    return World(
        x=np.column_stack([z, new]),
        arm=arm,
        gmv=buys * basket * noise,
        cost=COUPON * uses,
        gain=gain,
    )


def by_default(data: World, seed: int, _: int) -> Callable[[Floats], Floats]:
    """Score both components, price them, and fit small trees."""
    bins = bin_features(data.x)
    scores = component_scores(
        data.x,
        np.column_stack([data.gmv, data.cost]),
        data.arm,
        [0.5, 0.5],
        arms=("none", "coupon"),
        components=("gmv", "cost"),
        prices=[MARGIN, -1.0],
        bins=bins,
        seed=seed,
    )
    model = fit_fast_dr(None, scores.worth([MARGIN, -1.0]).contrast, bins=bins)
    return lambda x: model.predict(x)[:, 0].astype(np.float64)


def by_forest(data: World, seed: int, trees: int) -> Callable[[Floats], Floats]:
    """Fit econml's doubly robust forest on profit."""
    from econml.dr import ForestDRLearner
    from sklearn.dummy import DummyClassifier

    model = ForestDRLearner(
        model_regression=_regressor(),
        model_propensity=DummyClassifier(strategy="prior"),
        n_estimators=trees,
        min_samples_leaf=LEAF,
        cv=3,
        n_jobs=1,
        random_state=seed,
    )
    model.fit(MARGIN * data.gmv - data.cost, data.arm, X=data.x)
    return lambda x: np.asarray(model.effect(x), dtype=np.float64).ravel()


def by_causal_forest(data: World, seed: int, trees: int) -> Callable[[Floats], Floats]:
    """Fit econml's causal forest on profit."""
    from econml.dml import CausalForestDML
    from sklearn.dummy import DummyClassifier

    model = CausalForestDML(
        model_y=_regressor(),
        model_t=DummyClassifier(strategy="prior"),
        discrete_treatment=True,
        n_estimators=trees,
        min_samples_leaf=LEAF,
        cv=3,
        n_jobs=1,
        random_state=seed,
    )
    model.fit(MARGIN * data.gmv - data.cost, data.arm, X=data.x)
    return lambda x: np.asarray(model.effect(x), dtype=np.float64).ravel()


LEARNERS = {DEFAULT: by_default, FOREST: by_forest, CAUSAL: by_causal_forest}


TURNS = (DEFAULT, FOREST, DEFAULT, CAUSAL, DEFAULT)
"""The default runs before, between and after the forests, so that load falls on all alike."""


def one_seed(seed: int, *, trees: int) -> None:
    """Learn rules on one draw and average their true profit over fresh units."""
    todo = [i for i in range(len(TURNS)) if not _place(seed, i, trees).exists()]
    if not todo:
        return
    data, fresh = world(seed, UNITS), world(10_000 + seed, TRUTH)
    for turn in todo:
        name = TURNS[turn]
        began, worked = time.perf_counter(), time.process_time()
        predict = LEARNERS[name](data, seed, trees)
        took = {
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time() - worked,
            "load": os.getloadavg()[0],
        }
        guess = predict(fresh.x)
        found = {
            "learner": name,
            "everybody": float(fresh.gain.mean()),
            "best": float(np.maximum(fresh.gain, 0).mean()),
            "profit": float(fresh.gain[guess > 0].sum() / TRUTH),
            "correlation": float(np.corrcoef(guess, fresh.gain)[0, 1]),
        }
        part = _place(seed, turn, trees).with_suffix(".part")
        part.write_text(json.dumps(found | took), encoding="utf-8")
        part.replace(_place(seed, turn, trees))
        print(f"seed {seed}, {trees} trees: {name} in {took['seconds']:.0f} s", flush=True)


def kept(seeds: int, trees: int) -> list[dict[str, list[dict[str, Any]]]]:
    """Read the seeds on which all learners have run: learner -> its turns."""
    rows = []
    for seed in range(1, seeds + 1):
        places = [_place(seed, turn, trees) for turn in range(len(TURNS))]
        if all(place.exists() for place in places):
            turns = [json.loads(place.read_text(encoding="utf-8")) for place in places]
            rows.append({n: [t for t in turns if t["learner"] == n] for n in LEARNERS})
    return rows


def summary(rows: list[dict[str, list[dict[str, Any]]]]) -> dict[str, dict[str, float]]:
    """Means, paired differences of the default with lower 95 % bounds, and speed."""
    mine = _each(rows, DEFAULT, "profit")
    out = {}
    for name in LEARNERS:
        profit = _each(rows, name, "profit")
        gap = 100 * (mine - profit) / profit.mean()
        reach = stats.t.ppf(0.95, len(rows) - 1) * gap.std(ddof=1) / len(rows) ** 0.5
        out[name] = {
            "profit": float(profit.mean()),
            "correlation": float(_each(rows, name, "correlation").mean()),
            "seconds": float(np.median(_each(rows, name, "seconds"))),
            "cpu": float(np.median(_each(rows, name, "cpu"))),
            "default less it, %": float(gap.mean()),
            "lower 95 %": float(gap.mean() - reach),
        }
        for what in ("seconds", "cpu"):
            ratio = _each(rows, name, what) / _each(rows, DEFAULT, what)
            out[name][f"{what}, times"] = float(np.median(ratio))
            out[name][f"{what}, least times"] = float(ratio.min())
    return out


def markdown(found: dict[int, list[dict[str, list[dict[str, Any]]]]]) -> str:
    """Lay the summaries out, one table for each number of trees."""
    lines = [
        "# Quality of targeting rules: the default learner beside econml's forests",
        "",
        (
            "Made by `python -m benchmarks.targeting_quality`; Python "
            f"{platform.python_version()}, econml {metadata.version('econml')}, lightgbm "
            f"{metadata.version('lightgbm')}. {UNITS:,} customers x 12 columns, true profit "
            f"per customer on {TRUTH:,} others. All learners see the same customers and have "
            "one thread; the default runs before, between and after the forests of each seed "
            "(medians). Times are those of fitting, nuisances included, on a shared machine: "
            "CPU seconds are the fairer clock. Forests have leaves of "
            f"{LEAF} and nuisances by LightGBM; econml's own number of trees is 100 for "
            "CausalForestDML and 1,000 for ForestDRLearner."
        ),
    ]
    for trees, rows in found.items():
        lines += ["", *_table(trees, rows)]
    return "\n".join(lines) + "\n"


def _table(trees: int, rows: list[dict[str, list[dict[str, Any]]]]) -> list[str]:
    best, everybody = (_each(rows, DEFAULT, what).mean() for what in ("best", "everybody"))
    loads = [turn["load"] for row in rows for turns in row.values() for turn in turns]
    heads = ("learner", "profit", "correlation", "seconds", "CPU seconds", "default less it")
    lines = [
        f"## Forests of {trees} trees, {len(rows)} paired seeds",
        "",
        (
            f"Best possible {best:.4f}, everybody {everybody:.4f}; load of the machine "
            f"{min(loads):.1f} to {max(loads):.1f}."
        ),
        "",
        f"| {' | '.join(heads)} | lower 95 % | times faster | times less CPU |",
        "|---|" + "--:|" * (len(heads) + 2),
    ]
    for name, found in summary(rows).items():
        numbers = (
            f"| {name} | {found['profit']:.4f} | {found['correlation']:.3f} | "
            f"{found['seconds']:.1f} | {found['cpu']:.1f} |"
        )
        compared = (
            f" {found['default less it, %']:+.2f} % | {found['lower 95 %']:+.2f} % | "
            f"{found['seconds, times']:.1f} | {found['cpu, times']:.1f} |"
        )
        lines.append(numbers + (compared if name != DEFAULT else " | | | |"))
    return lines


def main() -> None:
    """Run what is not there yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trees", type=int, default=100, help="trees of either forest")
    parser.add_argument("--workers", type=int, default=2)
    wanted = parser.parse_args()
    STATE.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(max_workers=wanted.workers) as pool:
        list(pool.map(partial(one_seed, trees=wanted.trees), range(1, wanted.seeds + 1)))
    sizes = sorted({int(place.name.split("-")[0]) for place in STATE.glob("*.json")})
    found = {trees: kept(wanted.seeds, trees) for trees in sizes}
    found = {trees: rows for trees, rows in found.items() if len(rows) > 1}
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "targeting_quality.md").write_text(markdown(found), encoding="utf-8")
    numbers = {n: {"seeds": len(rows), **summary(rows)} for n, rows in found.items()}
    text = json.dumps(numbers, indent=1) + "\n"
    (DOCS / "targeting_quality.json").write_text(text, encoding="utf-8")
    print(markdown(found))


def _place(seed: int, turn: int, trees: int) -> Path:
    return STATE / f"{trees}-{seed}-{turn}-{TURNS[turn]}.json"


def _each(
    rows: list[dict[str, list[dict[str, Any]]]], name: str, what: str
) -> NDArray[np.float64]:
    """One number per seed: the median over a learner's turns."""
    return np.array([np.median([turn[what] for turn in row[name]]) for row in rows])


def _regressor() -> Any:  # noqa: ANN401 - a LightGBM regressor
    from lightgbm import LGBMRegressor

    return LGBMRegressor(
        n_estimators=100,
        num_leaves=8,
        learning_rate=0.08,
        min_child_samples=UNITS // 200,
        verbose=-1,
    )


if __name__ == "__main__":
    main()
