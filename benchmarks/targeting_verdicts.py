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
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One thread each: workers that each ask for all cores are six times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy import special, stats

from upliftlab.data.score_table import ScoreTable
from upliftlab.simulate import draw, preset
from upliftlab.simulate.realised import unit_components
from upliftlab.simulate.truths import unit_outcomes
from upliftlab.targeting.asked import Ask
from upliftlab.targeting.price_sheet import Prices, PriceSheet
from upliftlab.targeting.ranking import covariance
from upliftlab.targeting.run import RULE, learned_case
from upliftlab.targeting.taught import taught_by
from upliftlab.targeting.value import forward_value, pooled_value, value_of
from upliftlab.targeting.worths import picked

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.run import Case

    Floats = NDArray[np.float64]
    Array = NDArray[Any]
    Rule = Callable[[Array], Array]

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "benchmarks" / ".state" / "targeting"
DOCS = ROOT / "docs" / "certify"
LEVEL = 0.90
N = 4_000
PEOPLE = 20_000
FEATURES = (
    "is_new_customer", "is_member", "recency_days", "frequency_365", "coupon_share_365",
    "watch_minutes_28",
)  # fmt: skip

# Weak: the best rule earns one standard error of the exported rule's value (column "gain, SE").
COVERAGE = {
    "none": {"strength": 0.0},
    "weak": {"strength": 1.1},
    "strong": {"strength": 6.0},
    "none, in 500 clusters": {"strength": 0.0, "clusters": 500},
    "weak, in 500 clusters": {"strength": 1.3, "clusters": 500},
    "strong, in 500 clusters": {"strength": 6.0, "clusters": 500},
}
STUDIES: dict[str, dict[str, Any]] = {
    **{
        f"coverage, {name}": {"kind": "coverage", "runs": 2_000, "chunk": 100, **each}
        for name, each in COVERAGE.items()
    },
    **{
        f"plan, {name}": {"kind": "plan", "runs": 2_000, "chunk": 20, **each}
        for name, each in COVERAGE.items()
    },
    "verdict, no difference": {"kind": "flat", "runs": 1_000, "chunk": 5, "n": 4_000},
    "verdict, targeting_pays": {"kind": "pays", "runs": 50, "chunk": 1, "n": 800_000},
    "value, targeting_pays": {"kind": "pays", "runs": 50, "chunk": 1, "n": 200_000},
}

# The only component is profit, and the treatment's money is in it.
SHEET = PriceSheet(
    arms=("none", "coupon"),
    names=("profit",),
    profit=Prices(rates=np.ones((2, 1)), constant=np.zeros(2)),
    cost=Prices(rates=np.zeros((2, 1)), constant=np.zeros(2)),
    gmv=None,
    whose="",
    counts={},
)


def main() -> None:
    """Run what is not there yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="studies whose name holds this")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the runs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--last-first", action="store_true", help="begin with the last seeds")
    asked = parser.parse_args()
    STATE.mkdir(parents=True, exist_ok=True)
    tasks = [
        (name, begin, begin + study["chunk"])
        for name, study in STUDIES.items()
        if asked.only in name
        for begin in range(0, max(1, round(study["runs"] * asked.scale)), study["chunk"])
    ]
    tasks.sort(key=lambda task: task[1] / STUDIES[task[0]]["runs"], reverse=asked.last_first)
    with ProcessPoolExecutor(max_workers=asked.workers) as pool:
        for name, begin, _ in pool.map(_chunk, tasks):
            print(f"{name}: {begin} done", flush=True)
    _write()


def _chunk(task: tuple[str, int, int]) -> tuple[str, int, int]:
    name, begin, end = task
    place = STATE / f"{name.replace(', ', '-').replace(' ', '_')}-{begin}-{end}.json"
    if not place.exists():
        run = {
            "coverage": coverage_run,
            "plan": plan_run,
            "flat": flat_run,
            "pays": pays_run,
        }
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
    people, true_tau = population(study)
    worth = known_scores(x, arm, y, cluster, rng)
    half = rng.permutation(500 if cluster is not None else N) % 2 == 0
    taught = half[cluster] if cluster is not None else half

    def learn(rows: Array) -> Rule:
        beta = _least_squares(x[rows], worth[rows, 1] - worth[rows, 0])
        return lambda who: (beta[0] + who @ beta[1:] > 0).astype(np.intp)

    def by_rows(rows: Array) -> Rule:
        rule = learn(rows)
        return lambda at: rule(x[at])

    rule = learn(np.flatnonzero(taught))
    found = value_of(rule(x), worth, learned_on=taught, valued_on=~taught, cluster=cluster,
                     level=LEVEL).value  # fmt: skip
    out = {
        "best": float(true_tau.clip(min=0).mean()),
        "split covered": _holds(found, float((rule(people) * true_tau).mean())),
        "split width": _width(found),
    }
    ways = {"pooled": pooled_value}
    if study["strength"] == 0:
        ways["forward"] = forward_value
    for name, valued in ways.items():
        found = valued(by_rows, worth, cluster=cluster, seed=seed, level=LEVEL).value
        out[f"{name} width"] = _width(found)
        if study["strength"] == 0:
            out[f"{name} covered"] = _holds(found, 0.0)
    return out


def plan_run(study: dict[str, Any], seed: int) -> dict[str, float]:
    """Intervals of a plan's rules, by the code that makes the page: scores, split, choice."""
    x, arm, y, cluster = zero_inflated(study, np.random.default_rng(90_000 + seed))
    people, true_tau = population(study)
    table = table_of({f"x{j}": x[:, j] for j in range(5)}, y, arm, cluster)
    ask = Ask(shares=(0.5, 0.5), rule="choose", learner="fast", level=LEVEL, seed=seed)
    case = learned_case(table, ask, SHEET, lambda _: None)
    taught = case.taught
    tried = next(each for each in case.learned() if each.name == taught.chosen)
    true = float((taught.rules[taught.chosen].arms_of(people) * true_tau).mean())
    constant = float(taught.best * true_tau.mean())
    kept = float(case.kept * true_tau.mean())
    is_rule = case.verdict(tried) == RULE
    named = next(each for each in case.constants() if each.name == case.constant)
    return {
        "plan covered": _holds(tried.value, true),
        "lead covered": _holds(tried.against_best, true - constant),
        "plan width": _width(tried.value),
        "is rule": float(is_rule),
        "page covered": _holds(tried.value, true) if is_rule else _holds(named.value, kept),
        "pooled width": _swapped(case, ask),
    }


@cache
def _people() -> NDArray[np.float32]:
    """A population of its own, evenly spread where effects differ: the truth is exact."""
    people = np.random.default_rng(1).normal(size=(PEOPLE, 5)).astype(np.float32)
    people[:, 0] = special.ndtri((np.arange(PEOPLE) + 0.5) / PEOPLE)
    return people


def population(study: dict[str, Any]) -> tuple[NDArray[np.float32], Floats]:
    """Everybody's columns, and what the treatment truly adds."""
    return _people(), _tau(study, _people())


def _least_squares(x: Array, y: Array) -> Floats:
    design = np.column_stack([np.ones(len(x)), x]).astype(np.float64)
    found: Floats = np.linalg.solve(design.T @ design, design.T @ y)
    return found


def _swapped(case: Case, ask: Ask) -> float:
    """Width of pooled cross-fitting: each half values the rule of the other."""
    back = taught_by(case.second.material, ask)
    gains, groups = [], []
    for half, taught in ((case.second, case.taught), (case.first, back)):
        value = half.material.profit.value
        given = taught.rules[taught.chosen].arms_of(half.material.x)
        gains.append(picked(value, given) - value[:, 0])
        groups.append(half.table.cluster)
    gain = np.concatenate(gains)
    cluster = None if groups[0] is None else np.concatenate(groups)
    found, _ = covariance(gain - gain.mean(), cluster)
    return 2 * float(found[0, 0]) ** 0.5


def _holds(found: Estimate, true: float) -> float:
    """Whether an interval holds a value; what a rule that treats nobody earns is exact."""
    if not found.std_error > 0:
        return float(found.estimate == true)
    return float(not found.excludes(true))


def _width(found: Estimate) -> float:
    """Twice the standard error; 0 where the value is exact."""
    return 2 * found.std_error if found.std_error > 0 else 0.0


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
    worth = np.empty((N, 2))
    for f in range(2):
        rows, rest = fold != f, fold == f
        beta = _least_squares(x[rows], y[rows])
        m = beta[0] + x[rest] @ beta[1:]
        for a in range(2):
            worth[rest, a] = m + (arm[rest] == a) * (y[rest] - m) / 0.5
    return worth


def flat_run(study: dict[str, Any], seed: int) -> dict[str, float]:
    """One test in which the treatment does the same for everyone: nothing, or a little."""
    rng = np.random.default_rng(50_000 + seed)
    n = study["n"]
    x = rng.normal(size=(n, 6)).astype(np.float32)
    arm = rng.integers(0, 2, n)
    base = (rng.random(n) < 0.1) * rng.lognormal(3, 0.7, n) * (1 + 0.3 * (x[:, 1] > 0))
    effect = [0.0, 0.15][seed % 2]
    table = table_of({f"x{j}": x[:, j] for j in range(6)}, base + arm * effect, arm)
    return _decided(table, np.column_stack([np.zeros(n), np.full(n, effect)]), seed)


def pays_run(study: dict[str, Any], seed: int) -> dict[str, float]:
    """One test of the simulator's targeting_pays, rules valued by both potential outcomes."""
    drawn = draw(preset("targeting_pays", customers=study["n"], seed=7_000 + seed))
    units = unit_components(drawn)
    both = unit_outcomes(drawn, "profit_60d")
    arm = units.arms.astype(np.intp)
    columns = {name: units.covariates[name].astype(np.float32) for name in FEATURES}
    table = table_of(columns, both[np.arange(len(arm)), arm], arm)
    return _decided(table, both - both[:, :1], seed, with_response=True)


def table_of(
    columns: dict[str, Array], profit: Array, arm: Array, cluster: Array | None = None
) -> ScoreTable:
    """Units whose only component is their profit."""
    return ScoreTable(
        features=columns, y=np.asarray(profit, dtype=np.float32)[:, None],
        components=("profit",), idle=(), arm=arm.astype(np.int8), arms=("none", "coupon"),
        stratum=None, strata=(), cluster=cluster, total=len(arm),
    )  # fmt: skip


def _decided(
    table: ScoreTable, effect: Floats, seed: int, *, with_response: bool = False
) -> dict[str, float]:
    """Verdict, and the true value of what ships, of what was tried, and of a response model."""
    ask = Ask(shares=(0.5, 0.5), rule="choose", learner="fast", level=0.95, seed=seed)
    case = learned_case(table, ask, SHEET, lambda _: None)
    tried = next(r for r in case.learned() if r.name == case.taught.chosen)
    verdict = case.verdict(tried)
    x = case.encoding.matrix(table.features)
    taught = case.taught

    def true(rule_arm: Array) -> float:
        return float(effect[np.arange(len(x)), rule_arm].mean())

    best = max(0.0, float(effect[:, 1].mean()))
    learned = taught.rules[taught.chosen].arms_of(x)
    constant = np.full(len(x), case.kept)
    found = {
        "is rule": float(verdict == RULE),
        "learned": true(learned) - best,
        "shipped": true(learned if verdict == RULE else constant) - best,
        "best": best,
        "tried": tried.value.estimate,
        "lead_error": _width(tried.against_best) / 2,
        "effect_error": _width(case.constants()[1].value) / 2,
    }
    if with_response:
        thumbs = case.thumbs(1 - tried.treated["none"])
        found["response"] = next(t for t in thumbs if t.name == "response").value.estimate
    return found


HEADS = {
    "coverage": (
        "## Does the 90 % interval of a rule hold its true value?",
        (
            f"Trap: {N:,} units a run, profit is 0 for nine of ten and log-normal for the "
            "others, effects rise with one of five columns; rules by the sign of least "
            "squares. "
            "A rule learned on one half and valued on the other (`value_of`), beside "
            "forward-only "
            "blocks and pooled cross-fitting in five folds, whose coverage is shown where the "
            "truth is 0. Gain: what the best rule truly earns, in standard errors of the split."
        ),
        (
            "process", "runs", "gain, SE", "split covers", "forward covers", "pooled covers",
            "width, split / pooled",
        ),
    ),
    "plan": (
        "## The same by the code of a plan",
        (
            "Scores, halves, choice of tree or model, verdict, as for the page: coverage "
            "of the "
            "chosen rule's value, of its lead over the best of all or none, and of the number "
            "that the page shows for what it recommends (exact where it is nobody). Width "
            "against pooled cross-fitting of the same rules in two folds."
        ),
        (
            "process", "runs", "chosen rule covers", "its lead covers", "page covers",
            "a rule is recommended", "width, split / pooled",
        ),
    ),
    "flat": (
        "## Without usable differences",
        (
            "The treatment does the same for everybody: nothing (even seeds) or 0.15 (odd), "
            "profit zero-inflated, 6 columns. At 95 % confidence. What ships is the "
            "best of all "
            "or none unless a rule is recommended; its loss against the true best is in "
            "standard errors of the effect for everybody."
        ),
        ("effect", "runs", "units", "no usable difference is said", "true loss, SE"),
    ),
    "pays": (
        "## Where targeting pays",
        (
            "The simulator's `targeting_pays`; true values by both potential outcomes, "
            "yuan per "
            "customer; paired seeds; lower 95 % one-sided. The response model treats as "
            "many as "
            "the learned rule, those likeliest to buy first; its value is by held-out scores."
        ),
        (
            "runs", "units", "no usable difference is said", "learned rule less best constant",
            "lower 95 %", "what ships less best constant", "lower 95 % ", "response model",
            "upper 95 %",
        ),
    ),
}  # fmt: skip
"""Kind of study -> title, words and columns of its table."""


def _write() -> None:
    found = {name: _rows_of(name) for name in STUDIES}
    text = [
        "# Rules: coverage, verdicts and true values",
        "",
        (
            "Made by `python -m benchmarks.targeting_verdicts`; "
            f"Python {platform.python_version()}, numpy {metadata.version('numpy')}, lightgbm "
            f"{metadata.version('lightgbm')}. Seeds are fixed; no run is "
            "left out. A study with "
            "fewer runs than 2,000 (intervals) or 1,000 (no differences) is not finished."
        ),
    ]
    makers = {
        "coverage": _coverage_rows,
        "plan": _plan_rows,
        "flat": _flat_rows,
        "pays": _pays_rows,
    }
    for kind, (title, words, heads) in HEADS.items():
        names = [name for name in STUDIES if STUDIES[name]["kind"] == kind and found[name]]
        if not names:
            continue
        lines = [line for name in names for line in makers[kind](name, found[name])]
        text += ["", title, "", words, "", f"| {' | '.join(heads)} |"]
        text += ["|---" + "|--:" * (len(heads) - 1) + "|", *lines]
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


def _coverage_rows(name: str, rows: list[dict[str, float]]) -> list[str]:
    mean = _means(rows)
    gain = mean["best"] / (mean["split width"] / 2)
    return [
        (
            f"| {name.removeprefix('coverage, ')} | {len(rows):,} | {gain:.2f} | "
            f"{_percent(mean, 'split covered')} | {_percent(mean, 'forward covered')} | "
            f"{_percent(mean, 'pooled covered')} | "
            f"{mean['split width'] / mean['pooled width']:.2f} |"
        )
    ]


def _plan_rows(name: str, rows: list[dict[str, float]]) -> list[str]:
    mean = _means(rows)
    keys = ("plan covered", "lead covered", "page covered", "is rule")
    shares = " | ".join(_percent(mean, key) for key in keys)
    return [
        (
            f"| {name.removeprefix('plan, ')} | {len(rows):,} | {shares} | "
            f"{mean['plan width'] / mean['pooled width']:.2f} |"
        )
    ]


def _flat_rows(name: str, rows: list[dict[str, float]]) -> list[str]:
    out = []
    effects = sorted({row["best"] for row in rows})
    groups = {f"{effect:g}": [r for r in rows if r["best"] == effect] for effect in effects}
    for label, some in (*groups.items(), ("both", rows)):
        mean = _means(some)
        loss = -mean["shipped"] / mean["effect_error"]
        out.append(
            f"| {label} | {len(some):,} | {STUDIES[name]['n']:,} | "
            f"{100 * (1 - mean['is rule']):.1f} % | {loss:.3f} |"
        )
    return out


def _pays_rows(name: str, rows: list[dict[str, float]]) -> list[str]:
    mean = _means(rows)
    ends = [_end(rows, key, side) for key, side in
            (("learned", -1), ("shipped", -1), ("response", 1))]  # fmt: skip
    return [
        (
            f"| {len(rows):,} | {STUDIES[name]['n']:,} | {100 * (1 - mean['is rule']):.1f} % | "
            f"{mean['learned']:+.4f} | {ends[0]:+.4f} | {mean['shipped']:+.4f} | "
            f"{ends[1]:+.4f} | "
            f"{mean['response']:+.4f} | {ends[2]:+.4f} |"
        )
    ]


def _end(rows: list[dict[str, float]], key: str, side: int) -> float:
    each = np.array([row[key] for row in rows])
    if len(each) < 2:
        return float("nan")
    reach = stats.t.ppf(0.95, len(each) - 1) * each.std(ddof=1) / len(each) ** 0.5
    return float(each.mean() + side * reach)


def _percent(mean: dict[str, float], key: str) -> str:
    return f"{100 * mean[key]:.1f} %" if key in mean else ""


if __name__ == "__main__":
    main()
