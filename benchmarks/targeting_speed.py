"""How fast are a million customers? Scores, rules, curves, budget and files, end to end.

Run `python -m benchmarks.targeting_speed --rows 1000000`. It prints Markdown; committed
results are in docs/benchmarks/. Every size runs in a process of its own, so that peak memory
is its own. `--rows --score 10000000` only scores, by exported SQL.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

COLUMNS = 12
DEPTHS = (0.0, 3.0)


def main() -> None:
    """Time each size in its own process, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--score", type=int, default=0, help="rows to score by exported SQL")
    parser.add_argument("--allocate", type=int, default=0, help="units to allocate arms to")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(whole(asked.one)))
        return
    found: dict[str, object] = {"command": " ".join(["python -m benchmarks.targeting_speed",
                                                     *sys.argv[1:]])}  # fmt: skip
    found["load"] = os.getloadavg()[0]
    found["cores"] = os.cpu_count()
    found["versions"] = versions()
    found["sizes"] = [alone(rows) for rows in asked.rows]
    found["scored"] = scored(asked.score) if asked.score else None
    found["allocated"] = allocated(asked.allocate) if asked.allocate else None
    print(told(found))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def alone(rows: int) -> dict[str, float]:
    """One size in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.targeting_speed", "--one", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def versions() -> dict[str, str]:
    """What did the work."""
    names = ("upliftlab", "numpy", "lightgbm", "scikit-learn", "duckdb", "pyarrow")
    return {"python": platform.python_version()} | {n: metadata.version(n) for n in names}


def told(found: dict) -> str:
    """The numbers as Markdown."""
    steps = list(STEPS.values())
    lines = [
        "# Speed of targeting",
        "",
        "Made by `benchmarks/targeting_speed.py`: simulated customers with 12 columns and two",
        "components, with a budget; scores, effects, metrics, rules, curves, frontier, checks.",
        "CPU seconds are of all threads: where other jobs share the machine they say more than",
        "the clock does.",
        "",
        f"| rows x columns | {' | '.join(steps)} | all, clock | all, CPU | peak |",
        f"|---|{'--:|' * (len(steps) + 3)}",
    ]
    for one in found["sizes"]:
        parts = " | ".join(f"{one[name]:.1f} s" for name in STEPS)
        lines.append(
            f"| {one['rows']:,} x {COLUMNS} | {parts} | {one['all']:.1f} s | "
            f"{one['cpu']:.1f} s | {one['peak']:.2f} GiB |"
        )
    for key, title in (("scored", "Scoring a Parquet file by exported SQL"),
                       ("allocated", "Allocation")):  # fmt: skip
        if found[key]:
            lines += ["", f"{title}: {found[key]}."]
    made = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    where = f"{found['cores']} cores, load {found['load']:.2f} before"
    lines += ["", f"`{found['command']}`: {where}; {made}."]
    return "\n".join(lines)


STEPS = {
    "scoring": "scoring",
    "learning rules": "rules",
    "valuing rules": "valuing",
    "drawing frontiers": "frontiers",
    "looking for doubts": "doubts",
}


def whole(rows: int) -> dict[str, float]:
    """Run everything on simulated customers; seconds per step and peak memory in GiB."""
    from upliftlab.targeting.asked import Ask
    from upliftlab.targeting.price_sheet import Prices, PriceSheet
    from upliftlab.targeting.run import answer

    table = customers(rows)
    rates = np.array([[0.35, -1.0]] * 2)
    nothing = np.zeros(2)
    sheet = PriceSheet(
        arms=table.arms,
        names=table.components,
        profit=Prices(rates=rates, constant=nothing),
        cost=Prices(rates=np.array([[0.0, 1.0]] * 2), constant=nothing),
        gmv=Prices(rates=np.array([[1.0, 0.0]] * 2), constant=nothing),
        whose="gmv_platform",
        counts={},
    )
    ask = Ask(shares=(0.5, 0.5), eligible=rows, budget=0.3)
    marks: list[tuple[str, float]] = []
    begin, spent = time.perf_counter(), time.process_time()
    answer(table, ask, sheet, progress=lambda step: marks.append((step, time.perf_counter())))
    end, spent = time.perf_counter(), time.process_time() - spent
    ends = [at for _, at in marks[1:]] + [end]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    steps = {step: to - at for (step, at), to in zip(marks, ends, strict=True)}
    return {**steps, "rows": rows, "all": end - begin, "cpu": spent, "peak": peak}


def customers(rows: int):  # noqa: ANN201 - a ScoreTable, imported when needed
    """Zero-inflated sales that new customers raise with a coupon, redeemed by buyers only."""
    from upliftlab.data.score_table import ScoreTable

    rng = np.random.default_rng(1)
    columns = {f"x{j}": rng.normal(size=rows).astype(np.float32) for j in range(COLUMNS)}
    arm = rng.integers(0, 2, rows).astype(np.int8)
    lift = 0.6 * (columns["x0"] > 0) * arm
    chance = 1 / (1 + np.exp(2.0 - 0.5 * columns["x1"] - lift))
    bought = rng.random(rows, dtype=np.float32) < chance
    gmv = bought * rng.lognormal(3.0, 0.7, rows).astype(np.float32)
    coupon = bought * arm * 3.0 * (rng.random(rows, dtype=np.float32) < 0.6)
    y = np.asfortranarray(np.column_stack([gmv, coupon]).astype(np.float32))
    return ScoreTable(
        features=columns, y=y, components=("gmv_platform", "merchant_coupon"), idle=(),
        arm=arm, arms=("none", "coupon"), stratum=None, strata=(), cluster=None, total=rows,
    )  # fmt: skip


def scored(rows: int) -> str:
    """Score a Parquet file by the SQL of a tree and of a model of 150 trees."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from upliftlab.data.rule_scorer import score_file
    from upliftlab.targeting.exports import Exported, sql
    from upliftlab.targeting.fast_dr import fit_fast_dr
    from upliftlab.targeting.features import fit_encoding
    from upliftlab.targeting.policy_tree import fit_tree
    from upliftlab.targeting.rules import model_rule

    few = customers(50_000)
    code = fit_encoding(few.features)
    x = code.matrix(few.features)
    gain = few.y[:, 0] * 0.35 - few.y[:, 1]
    contrast = np.where(few.arm == 1, 2.0, -2.0) * gain
    rules = {
        "tree": fit_tree(x, np.column_stack([0 * contrast, contrast]), depth=2),
        "model of 150 trees": model_rule(fit_fast_dr(x, contrast)),
    }
    said = [f"{rows:,} rows"]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "rows.parquet"
        step = 1_000_000
        schema = pa.schema([(f"x{j}", pa.float32()) for j in range(COLUMNS)])
        with pq.ParquetWriter(source, schema) as writer:
            for begin in range(0, rows, step):
                rng = np.random.default_rng(begin)
                n = min(step, rows - begin)
                writer.write_table(
                    pa.table([rng.normal(size=n).astype(np.float32) for _ in range(COLUMNS)],
                             schema=schema)
                )  # fmt: skip
        for name, rule in rules.items():
            text = sql(Exported(rule=rule, encoding=code, arms=few.arms))
            begin, spent = time.perf_counter(), time.process_time()
            score_file(text, source, Path(folder) / f"{name}.parquet", needs=[])
            clock, cpu = time.perf_counter() - begin, time.process_time() - spent
            said.append(f"{name} {clock:.1f} s ({cpu:.1f} s CPU)")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return f"{', '.join(said)}; peak {peak:.2f} GiB"


def allocated(units: int) -> str:
    """Give three arms within a budget, costs below 0 among them."""
    from upliftlab.targeting.allocation import Limit, allocate

    rng = np.random.default_rng(3)
    gain, cost = (
        np.column_stack([np.zeros(units), rng.normal(mean, 1.0, (units, 3))]).astype(np.float32)
        for mean in (0.0, 1.0)
    )
    begin, spent = time.perf_counter(), time.process_time()
    found = allocate(gain, [Limit(name="budget", use=cost, most=0.2)])
    clock, cpu = time.perf_counter() - begin, time.process_time() - spent
    return f"{units:,} units x 3 arms {clock:.1f} s ({cpu:.1f} s CPU), gap {found.gap:.1g} each"


if __name__ == "__main__":
    main()
