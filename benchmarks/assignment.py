"""Do salted hashes split evenly and independently, and how fast are tables assigned?

Results go to docs/benchmarks/assignment.md and .json; `--small` takes a hundredth of the ids
and a tenth of the salts, and only prints. Salts are fixed in advance: spring-000 and on.
Finished salts are kept under benchmarks/.state, so a study that stops goes on where it was.

    python -m benchmarks.assignment
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from scipy import stats

from upliftlab.assignment.hashing import Dialect, edge
from upliftlab.stats.multiplicity import adjust

if TYPE_CHECKING:
    Found = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "benchmarks"
STATE = ROOT / "benchmarks" / ".state" / "assignment.json"
IDS, SALTS = 10_000_000, 100
SIZES = (10_000_000, 30_000_000, 100_000_000)
FIRST_ID = 7_106_001_122_334_400_000
ALPHA = 0.001
TO = Dialect("duckdb")

EVEN = (
    "{ids:,} ids of 19 digits that follow one another, {salts} salts fixed in advance. "
    "p-values of a sound hash are uniform: about one in twenty lies below 0.05, and none is "
    "small once all are counted (Holm)."
)
SPEED = (
    "`upliftlab assign` as a process of its own, ids from Parquet, table to Parquet: id, arm, "
    "time, propensity, stratum, epoch, salt and plan, four arms. Seconds hold start-up; those "
    "of the processor add up both cores, and do not count the time in which other jobs had "
    "them; memory is the peak of the process."
)

PLAN = """\
name: spring
kind: smart_coupon
run: {start: 2026-10-08, end: 2026-10-21}
follow_up: 14 days
arms:
  none: {share: 25%, control: true}
  coupon_5: {share: 25%, coupon: 5, over: 99}
  coupon_10: {share: 25%, coupon: 10, over: 99}
  coupon_20: {share: 25%, coupon: 20, over: 99}
costs: {margin: 35%}
"""

MEASURE = """\
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], check=False)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"rc": done.returncode, "seconds": time.perf_counter() - start,
                  "cpu": used.ru_utime + used.ru_stime, "gib": used.ru_maxrss / 2**20}))
"""


def main() -> None:
    """Run both studies and write them down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", choices=("even", "speed"))
    parser.add_argument("--ids", type=int, default=IDS)
    parser.add_argument("--salts", type=int, default=SALTS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    asked = parser.parse_args()
    scale = 100 if asked.small else 1
    found: Found = {"versions": versions(), "command": " ".join(sys.argv[1:])}
    old = OUT / "assignment.json"
    if asked.only and old.exists():
        found = json.loads(old.read_text(encoding="utf-8")) | found
    if asked.only != "speed":
        found["even"] = even(
            asked.ids // scale, asked.salts // (10 if asked.small else 1), asked.small
        )
    if asked.only != "even":
        found["speed"] = [speed(size // scale) for size in asked.sizes]
    text = written(found)
    print(text)
    if not asked.small:
        OUT.mkdir(parents=True, exist_ok=True)
        (OUT / "assignment.md").write_text(text, encoding="utf-8")
        (OUT / "assignment.json").write_text(
            json.dumps(found, indent=1) + "\n", encoding="utf-8"
        )


def even(ids: int, salts: int, small: bool) -> Found:  # noqa: FBT001 - a script
    """Test each salt for uniformity and each pair of neighbours for independence."""
    kept: Found = {}
    if STATE.exists() and not small:
        kept = json.loads(STATE.read_text(encoding="utf-8"))
    start = time.perf_counter()
    for i in range(0, salts, 2):
        key = f"{ids}:{i}"
        if key not in kept:
            kept[key] = pair(ids, f"spring-{i:03d}", f"spring-{i + 1:03d}")
            if not small:
                STATE.parent.mkdir(parents=True, exist_ok=True)
                STATE.write_text(json.dumps(kept), encoding="utf-8")
            print(f"salts {i} and {i + 1}: {time.perf_counter() - start:.0f} s", flush=True)
    rows = [kept[f"{ids}:{i}"] for i in range(0, salts, 2)]
    uniform = [p for row in rows for p in row["uniform"]]
    halves = [p for row in rows for p in row["halves"]]
    joint = [row["independent"] for row in rows]
    return {
        "ids": ids,
        "salts": salts,
        "uniform": summary(uniform),
        "halves": summary(halves),
        "independent": summary(joint),
    }


def pair(ids: int, one: str, two: str) -> Found:
    """Count 10 M ids by 256 cells of each salt, by halves, and by 16 x 16 cells of both."""
    unit = f"CAST({FIRST_ID} + i AS VARCHAR)"
    with duckdb.connect() as engine:
        rows = engine.execute(
            f"SELECT SUBSTR(a, 1, 2), SUBSTR(b, 1, 2), COUNT(*) FROM (SELECT "  # noqa: S608
            f"{TO.digest(one, unit)} AS a, {TO.digest(two, unit)} AS b FROM range({ids}) t(i)) "
            "GROUP BY 1, 2"
        ).fetchall()
    table = np.zeros((256, 256))
    for a, b, n in rows:
        table[int(a, 16), int(b, 16)] = n
    first, second = table.sum(axis=1), table.sum(axis=0)
    coarse = table.reshape(16, 16, 16, 16).sum(axis=(1, 3))
    assert edge(0.5) == "80000000"  # noqa: S101 - the cut that halves tests
    halves = [stats.binomtest(int(x[:128].sum()), ids, 0.5).pvalue for x in (first, second)]
    return {
        "uniform": [float(stats.chisquare(x).pvalue) for x in (first, second)],
        "halves": [float(p) for p in halves],
        "independent": float(stats.chi2_contingency(coarse, correction=False).pvalue),
    }


def summary(p: list[float]) -> Found:
    """Least p-value, Holm-adjusted, and whether p-values are uniform themselves."""
    return {
        "tests": len(p),
        "least": min(p),
        "least_holm": float(min(adjust(p, "holm"))),
        "below_0.05": sum(x < 0.05 for x in p),
        "ks": float(stats.kstest(p, "uniform").pvalue),
    }


def speed(ids: int) -> Found:
    """Assign ids from Parquet to Parquet with the command, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "experiment.yaml").write_text(PLAN, encoding="utf-8")
        with duckdb.connect() as engine:
            engine.execute(
                f"COPY (SELECT CAST({FIRST_ID} + i AS VARCHAR) AS open_id "  # noqa: S608
                f"FROM range({ids}) t(i)) TO '{folder / 'ids.parquet'}' (FORMAT parquet)"
            )
        command = [
            sys.executable, "-m", "upliftlab.cli", "assign", str(folder),
            "--ids", str(folder / "ids.parquet"), "--out", str(folder / "out.parquet"),
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *command],
            capture_output=True, text=True, check=True, env=os.environ.copy(),
        )  # fmt: skip
        seen = json.loads(done.stdout.strip().splitlines()[-1])
        assert seen["rc"] == 0, done.stderr  # noqa: S101 - a failed run is no measurement
        with duckdb.connect() as engine:
            arms = engine.read_parquet(str(folder / "out.parquet")).aggregate(
                "arm, COUNT(*) AS n", "arm"
            )
            counts = [row[1] for row in arms.fetchall()]
        return {
            "ids": ids,
            "seconds": seen["seconds"],
            "cpu": seen["cpu"],
            "gib": seen["gib"],
            "file_gib": (folder / "out.parquet").stat().st_size / 2**30,
            "p_shares": float(stats.chisquare(counts).pvalue),
            "load": os.getloadavg()[0],
        }


def versions() -> Found:
    """What made the numbers."""
    packages = ("upliftlab", "duckdb", "numpy", "scipy")
    return {"python": platform.python_version(), "cores": os.cpu_count()} | {
        name: metadata.version(name) for name in packages
    }


def written(found: Found) -> str:
    """The page for readers."""
    lines = ["# Assignment: even, independent, fast", "", "Made by `benchmarks/assignment.py`."]
    if "even" in found:
        each = found["even"]
        lines += [
            "",
            "## Even and independent",
            "",
            EVEN.format(**each),
            "",
            "| test | tests | least p | least p, Holm | below 0.05 | are they uniform? p |",
            "|---|--:|--:|--:|--:|--:|",
        ]
        for key, words in (
            ("uniform", "256 equal cells, chi-square, per salt"),
            ("halves", "two arms of 50 %, exact, per salt"),
            ("independent", "16 x 16 cells of two neighbouring salts, chi-square"),
        ):
            row = each[key]
            lines.append(
                f"| {words} | {row['tests']} | {row['least']:.4f} | {row['least_holm']:.3f} | "
                f"{row['below_0.05']} | {row['ks']:.3f} |"
            )
    if "speed" in found:
        lines += [
            "",
            "## Speed and memory",
            "",
            SPEED,
            "",
            "| ids | seconds | of processor | peak GiB | file GiB | p of the arms' counts |",
            "|--:|--:|--:|--:|--:|--:|",
        ]
        lines += [
            f"| {row['ids']:,} | {row['seconds']:.1f} | {row['cpu']:.1f} | {row['gib']:.2f} | "
            f"{row['file_gib']:.2f} | {row['p_shares']:.3f} |"
            for row in found["speed"]
        ]
    made = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    loads = [f"{row['load']:.1f}" for row in found.get("speed", [])]
    busy = f"; load of the machine after each size {', '.join(loads)}" if loads else ""
    command = f"python -m benchmarks.assignment {found['command']}".strip()
    lines += ["", f"`{command}`: {made}{busy}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
