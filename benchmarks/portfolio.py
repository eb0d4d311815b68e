"""Is the corrected total of what was shipped right? Simulated programmes of 200 tests.

Run `python -m benchmarks.portfolio`. Every finished chunk of seeds is kept in
benchmarks/.state and not repeated; results go to docs/certify/portfolio.md and .json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy import stats

from upliftlab.stats.shrinkage import shrink
from upliftlab.stats.winners_curse import correct_total, expected_bias

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "benchmarks" / ".state" / "portfolio-2"
DOCS = ROOT / "docs" / "certify"
CHUNK = 20
TESTS = 200
RANKED = 300
TOPS = (10, 20, 40)
HEADLINE = 20
SHIP = 1.96

CHOSEN = """
Chosen before this run, on programmes of other seeds (300 normal from 770,010,000, 300 t3
from 771,010,000, 600 with 80 % null from 772,010,000 on; 500 sweeps each): the centre of
effects has a prior an eighth as wide as the widest normal, not as wide as it. It covered
94.0 % instead of 93.2 % where 80 % of tests do nothing, 96.3 % instead of 96.7 % under
normal and 94.7 % instead of 95.0 % under t3 effects. Three pseudo-tests in the spike
instead of one would have given 94.7 %, 94.3 % and 95.7 % with intervals up to 9 % wider,
and was left.

An earlier version of this page, with the wider centre, had the first 300 of these
programmes. It covered 97.0 %, 94.0 % and, with 80 % null, 89.7 %, and ranked the best 40
tests alone. With twenty good tests among two hundred, as there, the best 40 are half
filled by chance whatever the ranking, and even who knows the prior gains next to nothing:
the best 20 (a tenth) are the headline now, and all three are shown. The run ended by the
clock, after whole chunks of 20, before anybody saw a result of it.

What is left: where 80 % of tests do nothing, intervals are too short by what the label
says. On the 600 other programmes the same method covered 94.0 %, so these are an unlucky
draw in part; read the interval as one of 92 %, not of 95 %.
"""

PRIORS = {"normal": 1_000_000, "t3": 2_000_000, "80 % null": 3_000_000}
"""True effects, all with variance 1, and the first seed of each."""


def programme(prior: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return effects, standard errors spread fivefold, and estimates of 200 tests."""
    rng = np.random.default_rng(seed)
    s = np.exp(rng.uniform(np.log(0.5), np.log(2.5), TESTS))
    if prior == "normal":
        a = rng.normal(size=TESTS)
    elif prior == "t3":
        a = rng.standard_t(3, size=TESTS) / np.sqrt(3)
    else:
        a = np.where(rng.random(TESTS) < 0.8, 0.0, rng.normal(size=TESTS) * np.sqrt(5))
    return a, s, a + s * rng.normal(size=TESTS)


def run_one(prior: str, seed: int) -> dict[str, float]:
    """Answer one programme: corrected totals, their hits, and what rankings earn."""
    a, s, y = programme(prior, seed)
    picked = y > SHIP * s
    true = float(a[picked].sum())
    found = shrink(y, s)
    total = found.total(picked)
    all_run = correct_total(y, s, SHIP)
    some = all_run.naive.estimate - float(expected_bias(y, s, SHIP)[picked].sum())
    plain = _normal_prior(y, s, picked)
    known = _known_prior(prior, y, s, picked)
    raw, best = np.argsort(-y, kind="stable"), found.rank()
    ideal = np.argsort(-known[3], kind="stable")
    return {
        "true": true,
        "naive": all_run.naive.estimate,
        "naive hit": _inside(all_run.naive.ci_low, all_run.naive.ci_high, true),
        "selected only": some,
        "Lee-Shen": all_run.corrected.estimate,
        "Lee-Shen hit": _inside(all_run.corrected.ci_low, all_run.corrected.ci_high, true),
        "normal prior": plain[0],
        "normal prior hit": _inside(plain[1], plain[2], true),
        "flexible prior": total.estimate,
        "flexible prior hit": _inside(total.ci_low, total.ci_high, true),
        "width": total.ci_high - total.ci_low,
        "known prior": known[0],
        "known prior hit": _inside(known[1], known[2], true),
        "known width": known[2] - known[1],
        **{f"raw {k}": float(a[raw[:k]].sum()) for k in TOPS},
        **{f"gain {k}": float(a[best[:k]].sum() - a[raw[:k]].sum()) for k in TOPS},
        **{f"ideal {k}": float(a[ideal[:k]].sum() - a[raw[:k]].sum()) for k in TOPS},
    }


def _known_prior(
    prior: str, y: np.ndarray, s: np.ndarray, picked: np.ndarray
) -> tuple[float, float, float, np.ndarray]:
    """Bayes with the prior that made the effects: what nobody has, and the least width."""
    grid = np.linspace(-30, 30, 6_001)
    if prior == "80 % null":
        weight = 0.2 * stats.norm.pdf(grid, scale=np.sqrt(5)) * (grid[1] - grid[0])
        weight[np.argmin(np.abs(grid))] += 0.8
    elif prior == "t3":
        weight = stats.t.pdf(grid * np.sqrt(3), 3)
    else:
        weight = stats.norm.pdf(grid)
    chance = weight * np.exp(-0.5 * ((y[:, None] - grid) / s[:, None]) ** 2)
    chance /= chance.sum(axis=1, keepdims=True)
    mean = chance @ grid
    variance = chance @ grid**2 - mean**2
    total = float(mean[picked].sum())
    reach = 1.96 * float(np.sqrt(variance[picked].sum()))
    return total, total - reach, total + reach, mean


def _normal_prior(y: np.ndarray, s: np.ndarray, picked: np.ndarray) -> tuple[float, ...]:
    """Plug-in empirical Bayes with a normal prior: the common, wrong-footed choice."""
    from upliftlab.stats.meta import pool

    found = pool(y, s**2, method="reml")
    keep = found.tau2 / (found.tau2 + s**2)
    mean = found.mean.estimate + keep * (y - found.mean.estimate)
    total = float(mean[picked].sum())
    reach = 1.96 * float(np.sqrt((keep * s**2)[picked].sum()))
    return total, total - reach, total + reach


def _inside(low: float, high: float, value: float) -> float:
    return float(low <= value <= high)


def _chunk(task: tuple[str, int]) -> str:
    prior, number = task
    path = STATE / f"{prior.replace(' ', '')}-{number:04d}.json"
    if not path.exists():
        first = PRIORS[prior] + number * CHUNK
        rows = [run_one(prior, seed) for seed in range(first, first + CHUNK)]
        part = path.with_suffix(".part")
        part.write_text(json.dumps(rows))
        part.replace(path)
    return str(path)


def summarise(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Coverage, bias and factor of every total; what ranking by shrunken profit gains."""
    column = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    n = len(rows)
    out: dict[str, Any] = {"programmes": n, "true": float(column["true"].mean())}
    for name in (
        "naive", "selected only", "Lee-Shen", "normal prior", "flexible prior", "known prior",
    ):  # fmt: skip
        error = column[name] - column["true"]
        out[name] = {"bias": float(error.mean()), "se": float(error.std() / np.sqrt(n))}
        if f"{name} hit" in column:
            out[name]["coverage"] = float(column[f"{name} hit"].mean())
    hits = int(column["flexible prior hit"].sum())
    out["p_below"] = float(stats.binom.cdf(hits, n, 0.935))
    reach = stats.binomtest(hits, n).proportion_ci(0.95)
    out["coverage_interval"] = [float(reach.low), float(reach.high)]
    later = column["flexible prior hit"][RANKED:]
    out["coverage of later half"] = float(later.mean()) if len(later) else None
    out["naive factor"] = float(column["naive"].sum() / column["true"].sum())
    out["width"] = float(column["width"].mean())
    out["known width"] = float(column["known width"].mean())
    out["ranking"] = {str(k): _ranking(column, k) for k in TOPS}
    return out


def _ranking(column: dict[str, np.ndarray], k: int) -> dict[str, float]:
    gain = column[f"gain {k}"][:RANKED]
    se = float(gain.std(ddof=1) / np.sqrt(len(gain)))
    return {
        "programmes": len(gain),
        "raw": float(column[f"raw {k}"][:RANKED].mean()),
        "gain": float(gain.mean()),
        "lower": float(gain.mean() - stats.t.isf(0.025, len(gain) - 1) * se),
        "known prior": float(column[f"ideal {k}"][:RANKED].mean()),
    }


def verdicts(results: dict[str, Any]) -> dict[str, str]:
    """Holm over the priors at 0.001, as in every study here."""
    order = sorted(results, key=lambda name: float(results[name]["p_below"]))
    out, failing = {}, True
    for i, name in enumerate(order):
        failing = failing and results[name]["p_below"] < 0.001 / (len(order) - i)
        out[name] = "fails" if failing else "holds"
    return out


def _label(row: dict[str, Any]) -> str:
    """Say where the data show less than 95 %, whatever the rule."""
    low, high = row["coverage_interval"]
    return f", too short: {low:.1%} to {high:.1%}" if high < 0.95 else ""


def _later(row: dict[str, Any]) -> str:
    """Programmes that no earlier version of the prior was run on."""
    later = row["coverage of later half"]
    return "" if later is None else f" ({later:.1%} of programmes from {RANKED + 1} on)"


def write(results: dict[str, Any]) -> None:
    """Write the table for readers and the numbers for programs."""
    DOCS.mkdir(parents=True, exist_ok=True)
    found = verdicts(results)
    versions = {p: metadata.version(p) for p in ("upliftlab", "numpy", "scipy")}
    versions["python"] = platform.python_version()
    command = "python -m benchmarks.portfolio"
    payload = {"command": command, "versions": versions, "verdicts": found, "results": results}
    (DOCS / "portfolio.json").write_text(json.dumps(payload, indent=1) + "\n")
    lines = [
        "# The corrected total of what was shipped: does it keep its word?",
        "",
        f"Simulated programmes of {TESTS} tests; standard errors spread fivefold (log-uniform",
        "0.5 to 2.5), true effects with variance 1 under three priors; shipped where the",
        "estimate exceeds 1.96 standard errors. A total fails when a binomial test rejects",
        "coverage of at least 93.5 % at 0.001 (Holm over the priors). Errors are mean (SE) of",
        "total less true total of what was shipped. Lee-Shen and the normal prior are shown to",
        "compare; reviews print the flexible prior. Where the interval of the coverage lies",
        "below 95 %, the verdict says so. Known prior: who knows how effects were made.",
        "",
        f"Made by `{command}`; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        (
            "| effects | runs | true total | naive factor | naive | selected only | Lee-Shen | "
            "normal prior | known prior | flexible prior | covers | width, of known prior's | "
            "verdict |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name, row in results.items():
        cells = [
            f"{row[m]['bias']:+.2f} ({row[m]['se']:.2f})"
            + (f", covers {row[m]['coverage']:.1%}" if "coverage" in row[m] else "")
            for m in ("naive", "selected only", "Lee-Shen", "normal prior", "known prior")
        ]
        best = row["flexible prior"]
        lines.append(
            f"| {name} | {row['programmes']} | {row['true']:.1f} | {row['naive factor']:.2f} | "
            + " | ".join(cells)
            + f" | {best['bias']:+.2f} ({best['se']:.2f}) | {best['coverage']:.1%}"
            f"{_later(row)} | {row['width']:.1f}, {row['width'] / row['known width']:.2f} | "
            f"{found[name]}{_label(row)} |"
        )
    lines += [
        "",
        "Ranking: true sum of the best tests by shrunken effect less that of as many by raw",
        f"estimate, paired over programmes; the best {HEADLINE} are the headline.",
        "",
        (
            "| effects | best | programmes | by raw estimate | gain of shrunken | lower 95 % | "
            "gain of known prior |"
        ),
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in results.items():
        for k, r in row["ranking"].items():
            lines.append(
                f"| {name} | {k} | {r['programmes']} | {r['raw']:.2f} | {r['gain']:+.2f} | "
                f"{r['lower']:+.2f}{'' if r['lower'] > 0 else ' (no gain shown)'} | "
                f"{r['known prior']:+.2f} |"
            )
    lines += ["", "## What was chosen, and when", CHOSEN.rstrip()]
    (DOCS / "portfolio.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Run what is missing, then write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=420)
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    STATE.mkdir(parents=True, exist_ok=True)
    chunks = range(-(-asked.runs // CHUNK))
    tasks = [(prior, number) for number in chunks for prior in PRIORS]
    with ProcessPoolExecutor(asked.workers) as workers:
        for path in workers.map(_chunk, tasks):
            print(path, flush=True)
    results = {}
    for prior in PRIORS:
        rows: list[dict[str, float]] = []
        for number in chunks:
            path = STATE / f"{prior.replace(' ', '')}-{number:04d}.json"
            rows += json.loads(path.read_text())
        results[prior] = summarise(rows)
    write(results)


if __name__ == "__main__":
    main()
