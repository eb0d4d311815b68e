"""Do rules keep their word: coverage, "no usable difference", and true value against constants?

Run `python -m benchmarks.targeting_verdicts` (part of `make certify`). Every finished chunk of
seeds is kept in benchmarks/.state and not repeated; results go to docs/certify/targeting.md and
.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One thread each: workers that each ask for all cores are six times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from upliftlab.data.score_table import ScoreTable
from upliftlab.simulate import draw, preset
from upliftlab.simulate.realised import unit_components
from upliftlab.simulate.truths import unit_outcomes
from upliftlab.targeting.asked import Ask
from upliftlab.targeting.policy_tree import fit_tree
from upliftlab.targeting.price_sheet import Prices, PriceSheet
from upliftlab.targeting.run import RULE, learned_case
from upliftlab.targeting.value import forward_value, pooled_value, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Array = NDArray[Any]
    Rule = Callable[[Array], Array]

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "benchmarks" / ".state" / "targeting"
DOCS = ROOT / "docs" / "certify"
LEVEL = 0.90
N = 4_000
FEATURES = (
    "is_new_customer", "is_member", "recency_days", "frequency_365", "coupon_share_365",
    "watch_minutes_28",
)  # fmt: skip

# Strength 1 is a gain of about one standard error of the split's value.
COVERAGE = {
    "none": {"strength": 0.0},
    "weak": {"strength": 1.0},
    "strong": {"strength": 6.0},
    "none, in 500 clusters": {"strength": 0.0, "clusters": 500},
    "weak, in 500 clusters": {"strength": 1.0, "clusters": 500},
    "strong, in 500 clusters": {"strength": 6.0, "clusters": 500},
}
STUDIES: dict[str, dict[str, Any]] = {
    **{
        f"coverage, {name}": {"kind": "coverage", "runs": 2_000, "chunk": 100, **each}
        for name, each in COVERAGE.items()
    },
    "verdict, no difference": {"kind": "flat", "runs": 1_000, "chunk": 10, "n": 10_000},
    "verdict, targeting_pays": {"kind": "pays", "runs": 50, "chunk": 2, "n": 800_000},
}


def main() -> None:
    """Run what is not there yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="studies whose name holds this")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the runs")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    STATE.mkdir(parents=True, exist_ok=True)
    tasks = [
        (name, begin, min(begin + study["chunk"], round(study["runs"] * asked.scale)))
        for name, study in STUDIES.items()
        if asked.only in name
        for begin in range(0, round(study["runs"] * asked.scale), study["chunk"])
    ]
    with ProcessPoolExecutor(max_workers=asked.workers) as pool:
        for name, begin, _ in pool.map(_chunk, tasks):
            print(f"{name}: {begin} done", flush=True)
    _write()


def _chunk(task: tuple[str, int, int]) -> tuple[str, int, int]:
    name, begin, end = task
    place = STATE / f"{name.replace(', ', '-').replace(' ', '_')}-{begin}-{end}.json"
    if not place.exists():
        run = {"coverage": coverage_run, "flat": flat_run, "pays": pays_run}
        study = STUDIES[name]
        rows = [run[study["kind"]](study, seed) for seed in range(begin, end)]
        part = place.with_suffix(".part")
        part.write_text(json.dumps(rows), encoding="utf-8")
        part.replace(place)
    return task


def coverage_run(study: dict[str, Any], seed: int) -> dict[str, float]:
    """One draw of trap T4's process: does each interval hold its rule's true value?"""
    rng = np.random.default_rng(10_000 + seed)
    x, arm, y, cluster = zero_inflated(study, rng)
    worth = known_scores(x, arm, y, cluster, rng)
    # A large population of its own, so that the truth is not blurred by the units drawn.
    people = np.random.default_rng(1).normal(size=(100_000, 5)).astype(np.float32)
    true_tau = _tau(study, people)

    def learn(rows: Array) -> Rule:
        design = np.column_stack([np.ones(len(rows)), x[rows]])
        beta = np.linalg.lstsq(design, worth[rows, 1] - worth[rows, 0], rcond=None)[0]
        return lambda who: (beta[0] + who @ beta[1:] > 0).astype(np.intp)

    def by_rows(rows: Array) -> Rule:
        rule = learn(rows)
        return lambda at: rule(x[at])

    out: dict[str, float] = {}
    half = rng.permutation(500 if cluster is not None else N) % 2 == 0
    taught = half[cluster] if cluster is not None else half
    rows = np.flatnonzero(taught)
    rules = {
        "linear": learn(rows),
        "tree": fit_tree(x[rows], worth[rows], depth=2, least=0.05).arms_of,
    }
    for name, rule in rules.items():
        found = value_of(rule(x), worth, learned_on=taught, valued_on=~taught, cluster=cluster,
                         level=LEVEL).value  # fmt: skip
        true = float((rule(people) * true_tau).mean())
        # What a rule that treats nobody earns is known exactly.
        out[f"{name} covered"] = float(not found.excludes(true) or found.std_error == 0)
        out[f"{name} width"] = 2 * found.std_error
    for name, valued in (("pooled", pooled_value), ("forward", forward_value)):
        found = valued(by_rows, worth, cluster=cluster, seed=seed, level=LEVEL).value
        out[f"{name} width"] = 2 * found.std_error
        if study["strength"] == 0:
            out[f"{name} covered"] = float(not found.excludes(0.0))
    best = float(true_tau.clip(min=0).mean())
    out["gain in SE"] = best / max(out["linear width"] / 2, 1e-9)
    return out


def zero_inflated(study: dict[str, Any], rng: np.random.Generator) -> tuple[Any, ...]:
    """Draw trap T4's process; with clusters, units of one share arm and a common shock."""
    x = rng.normal(size=(N, 5))
    cluster = None
    arm = rng.integers(0, 2, N)
    shock = np.zeros(N)
    if study.get("clusters"):
        cluster = np.repeat(np.arange(study["clusters"]), N // study["clusters"])
        arm = rng.permutation(np.arange(study["clusters"]) % 2)[cluster]
        shock = rng.normal(0, 0.3, study["clusters"])[cluster]
    tau = _tau(study, x)
    y = (rng.random(N) < 0.1) * rng.lognormal(3, 0.7, N) / 8 + shock + arm * tau
    return x.astype(np.float32), arm, y, cluster


def _tau(study: dict[str, Any], x: Array) -> Floats:
    # Treating where x1 > .1 earns .351 x scale; the split's standard error is about .035.
    scale = 0.1 * study["strength"]
    found: Floats = scale * x[:, 0] - 0.1 * scale
    return found


def known_scores(
    x: Array, arm: Array, y: Array, cluster: Array | None, rng: np.random.Generator
) -> Floats:
    """Cross-fitted scores with the designed probability of one half."""
    groups = np.arange(N) if cluster is None else cluster
    fold = rng.permutation(int(groups.max()) + 1)[groups] % 2
    design = np.column_stack([np.ones(N), x])
    worth = np.empty((N, 2))
    for f in range(2):
        rows, rest = fold != f, fold == f
        beta = np.linalg.lstsq(design[rows], y[rows], rcond=None)[0]
        m = design[rest] @ beta
        for a in range(2):
            worth[rest, a] = m + (arm[rest] == a) * (y[rest] - m) / 0.5
    return worth


def flat_run(study: dict[str, Any], seed: int) -> dict[str, float]:
    """One test in which the treatment does the same for everyone: nothing, or a little."""
    rng = np.random.default_rng(50_000 + seed)
    n = study["n"]
    x = rng.normal(size=(n, 12)).astype(np.float32)
    arm = rng.integers(0, 2, n)
    base = (rng.random(n) < 0.1) * rng.lognormal(3, 0.7, n) * (1 + 0.3 * (x[:, 1] > 0))
    effect = [0.0, 0.15][seed % 2]
    table = table_of({f"x{j}": x[:, j] for j in range(12)}, base + arm * effect, arm)
    return _decided(table, np.column_stack([np.zeros(n), np.full(n, effect)]), seed)


def pays_run(study: dict[str, Any], seed: int) -> dict[str, float]:
    """One test of the simulator's targeting_pays, rules valued by both potential outcomes."""
    drawn = draw(preset("targeting_pays", customers=study["n"], seed=7_000 + seed))
    units = unit_components(drawn)
    both = unit_outcomes(drawn, "profit_60d")
    arm = units.arms.astype(np.intp)
    columns = {name: units.covariates[name].astype(np.float32) for name in FEATURES}
    table = table_of(columns, both[np.arange(len(arm)), arm], arm)
    return _decided(table, both - both[:, :1], seed)


def table_of(columns: dict[str, Array], profit: Array, arm: Array) -> ScoreTable:
    """Units whose only component is their profit."""
    return ScoreTable(
        features=columns, y=np.asarray(profit, dtype=np.float32)[:, None],
        components=("profit",), idle=(), arm=arm.astype(np.int8), arms=("none", "coupon"),
        stratum=None, strata=(), cluster=None, total=len(arm),
    )  # fmt: skip


def _decided(table: ScoreTable, effect: Floats, seed: int) -> dict[str, float]:
    """Verdict, and the true value of what ships, of what was tried, and of a response model."""
    one = Prices(rates=np.ones((2, 1)), constant=np.zeros(2))
    none = Prices(rates=np.zeros((2, 1)), constant=np.zeros(2))
    sheet = PriceSheet(arms=table.arms, names=table.components, profit=one, cost=none, gmv=None,
                       whose="", counts={})  # fmt: skip
    ask = Ask(shares=(0.5, 0.5), rule="choose", learner="fast", level=0.95, seed=seed)
    case = learned_case(table, ask, sheet, lambda _: None)
    tried = next(r for r in case.learned() if r.name == case.taught.chosen)
    verdict = case.verdict(tried)
    x = case.encoding.matrix(table.features)
    taught = case.taught

    def true(rule_arm: Array) -> float:
        return float(effect[np.arange(len(x)), rule_arm].mean())

    best = max(0.0, float(effect[:, 1].mean()))
    learned = taught.rules[taught.chosen].arms_of(x)
    constant = np.full(len(x), taught.best)
    thumb = next(t for t in case.thumbs(1 - tried.treated["none"]) if t.name == "response")
    return {
        "is rule": float(verdict == RULE),
        "learned": true(learned) - best,
        "shipped": true(learned if verdict == RULE else constant) - best,
        "best": best,
        "response": thumb.value.estimate,
        "tried": tried.value.estimate,
        "std_error": tried.against_best.std_error,
    }


def _write() -> None:
    found = {name: _rows_of(name) for name in STUDIES}
    text = ["# Rules: coverage, verdicts and true values", ""]
    text += [
        (
            "Made by `python -m benchmarks.targeting_verdicts`; "
            f"Python {platform.python_version()}, numpy {metadata.version('numpy')}, lightgbm "
            f"{metadata.version('lightgbm')}. Seeds are fixed; no run is left out."
        ),
        "",
        "## Does the 90 % interval of the exported rule hold its true value?",
        "",
        (
            f"{N:,} units a run: profit is 0 for nine of ten, log-normal for the others; "
            "effects rise with one of five columns. Learned on one half, valued on the other. "
            "Pooled cross-fitting stands beside, with its coverage where the truth is 0."
        ),
        "",
        (
            "| process | runs | gain, SE | linear rule | small tree | forward-only | pooled | "
            "width / pooled |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, rows in found.items():
        if rows and name.startswith("coverage"):
            text.append(_coverage_row(name.removeprefix("coverage, "), rows))
    text += ["", "## Is a rule recommended only where it earns?", ""]
    text += [
        (
            "| process | runs | units | a rule is recommended | true lead of the learned rule "
            "| lower 95 % | true loss of what ships, SE of the lead | response model's value |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, rows in found.items():
        if rows and name.startswith("verdict"):
            text.append(_verdict_row(name, rows))
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "targeting.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    summary = {
        name: {"runs": len(rows), **_means(rows)} for name, rows in found.items() if rows
    }
    (DOCS / "targeting.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def _rows_of(name: str) -> list[dict[str, float]]:
    stem = name.replace(", ", "-").replace(" ", "_")
    places = sorted(STATE.glob(f"{stem}-[0-9]*.json"))
    return [row for place in places for row in json.loads(place.read_text(encoding="utf-8"))]


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def _coverage_row(name: str, rows: list[dict[str, float]]) -> str:
    mean = _means(rows)
    share = {key: f"{100 * mean[key]:.1f} %" for key in mean if key.endswith("covered")}
    width = mean["linear width"] / mean["pooled width"]
    return (
        f"| {name} | {len(rows):,} | {mean['gain in SE']:.1f} | {share['linear covered']} | "
        f"{share['tree covered']} | {share.get('forward covered', '')} | "
        f"{share.get('pooled covered', '')} | {width:.2f} |"
    )


def _verdict_row(name: str, rows: list[dict[str, float]]) -> str:
    mean = _means(rows)
    lead = np.array([row["learned"] for row in rows])
    low = lead.mean() - 1.96 * lead.std(ddof=1) / np.sqrt(len(lead))
    loss = -mean["shipped"] / mean["std_error"]
    return (
        f"| {name.removeprefix('verdict, ')} | {len(rows):,} | {STUDIES[name]['n']:,} | "
        f"{100 * mean['is rule']:.1f} % | {lead.mean():+.4f} | {low:+.4f} | {loss:.3f} | "
        f"{mean['response']:+.4f} |"
    )


if __name__ == "__main__":
    main()
