"""How much profit do learned rules earn, by the default learner and by econml's forests?

Run as ``python -m benchmarks.targeting_quality --seeds 20 --out quality.jsonl``. Every seed is
one line of the file; seeds that are there are not run again. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special, stats

from upliftlab.targeting.boosting import bin_features
from upliftlab.targeting.fast_dr import fit_fast_dr
from upliftlab.targeting.scores import component_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

UNITS, TRUTH = 50_000, 200_000
"""Units learned on, and fresh units on which the true profit of a rule is averaged."""

MARGIN, COUPON = 0.35, 3.0
DEFAULT, FOREST, CAUSAL = "default", "ForestDRLearner", "CausalForestDML"
TREES, LEAF = 500, 50


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


def by_default(data: World, seed: int) -> Callable[[Floats], Floats]:
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


def by_forest(data: World, seed: int) -> Callable[[Floats], Floats]:
    """Fit econml's doubly robust forest on profit."""
    from econml.dr import ForestDRLearner
    from sklearn.dummy import DummyClassifier

    model = ForestDRLearner(
        model_regression=_regressor(),
        model_propensity=DummyClassifier(strategy="prior"),
        n_estimators=TREES,
        min_samples_leaf=LEAF,
        cv=3,
        n_jobs=-1,
        random_state=seed,
    )
    model.fit(MARGIN * data.gmv - data.cost, data.arm, X=data.x)
    return lambda x: np.asarray(model.effect(x), dtype=np.float64).ravel()


def by_causal_forest(data: World, seed: int) -> Callable[[Floats], Floats]:
    """Fit econml's causal forest on profit."""
    from econml.dml import CausalForestDML
    from sklearn.dummy import DummyClassifier

    model = CausalForestDML(
        model_y=_regressor(),
        model_t=DummyClassifier(strategy="prior"),
        discrete_treatment=True,
        n_estimators=TREES,
        min_samples_leaf=LEAF,
        cv=3,
        n_jobs=-1,
        random_state=seed,
    )
    model.fit(MARGIN * data.gmv - data.cost, data.arm, X=data.x)
    return lambda x: np.asarray(model.effect(x), dtype=np.float64).ravel()


LEARNERS = {DEFAULT: by_default, FOREST: by_forest, CAUSAL: by_causal_forest}


def one_seed(seed: int) -> dict[str, Any]:
    """Learn rules on one draw and average their true profit over fresh units."""
    data, fresh = world(seed, UNITS), world(10_000 + seed, TRUTH)
    row: dict[str, Any] = {
        "seed": seed,
        "everybody": float(fresh.gain.mean()),
        "best": float(np.maximum(fresh.gain, 0).mean()),
    }
    for name, learn in LEARNERS.items():
        began = time.perf_counter()
        predict = learn(data, seed)
        seconds = time.perf_counter() - began
        guess = predict(fresh.x)
        row[name] = {
            "profit": float(fresh.gain[guess > 0].sum() / TRUTH),
            "correlation": float(np.corrcoef(guess, fresh.gain)[0, 1]),
            "seconds": seconds,
        }
    return row


def markdown(rows: list[dict[str, Any]]) -> str:
    """Lay out means, paired differences of the default with lower 95 % bounds, and speed."""
    mine = np.array([row[DEFAULT]["profit"] for row in rows])
    seconds = np.array([row[DEFAULT]["seconds"] for row in rows])
    best = np.mean([row["best"] for row in rows])
    everybody = np.mean([row["everybody"] for row in rows])
    columns = ("learner", "profit", "correlation", "seconds", "default less it, %")
    lines = [
        (
            f"{len(rows)} paired seeds, {UNITS:,} customers x 12 columns; true profit per "
            f"customer on {TRUTH:,} others. Best possible {best:.4f}, everybody "
            f"{everybody:.4f}.\n"
        ),
        f"| {' | '.join(columns)} | lower 95 % | times faster |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in LEARNERS:
        profit = np.array([row[name]["profit"] for row in rows])
        took = np.array([row[name]["seconds"] for row in rows])
        gap = 100 * (mine - profit) / profit.mean()
        reach = stats.t.ppf(0.95, len(rows) - 1) * gap.std(ddof=1) / len(rows) ** 0.5
        compared = f"{gap.mean():+.2f} | {gap.mean() - reach:+.2f}" if name != DEFAULT else "|"
        faster = f"{np.median(took / seconds):.1f}" if name != DEFAULT else ""
        lines.append(
            f"| {name} | {profit.mean():.4f} | "
            f"{np.mean([row[name]['correlation'] for row in rows]):.3f} | "
            f"{np.median(took):.1f} | {compared} | {faster} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the seeds that are not in the file yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    wanted = parser.parse_args()
    done = []
    if wanted.out.exists():
        done = [json.loads(line) for line in wanted.out.read_text().splitlines()]
    known = {row["seed"] for row in done}
    for seed in range(1, wanted.seeds + 1):
        if seed not in known:
            done.append(one_seed(seed))
            with wanted.out.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
    print(markdown([row for row in done if row["seed"] <= wanted.seeds]))


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
