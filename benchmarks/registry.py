"""How fast is a registry of ten thousand analyses, and what does a kill leave?

    python -m benchmarks.registry [--records 10000]

Records are copies of the simulated quarter's, each with its own name; lists and reviews run in
processes of their own, so that their memory can be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib import metadata
from pathlib import Path

QUARTER = "2026Q3"
FEW = 400
LIMITS = {
    "list, cache warm": 1.0,
    "review, all in its quarter": 60.0,
    f"review, {FEW} in its quarter": 60.0,
    "Upworthy: import and review of every quarter": 60.0,
}
GIB = 2.0**30
SHARED = (
    "Where other work shares the cores, CPU seconds say what the command itself takes. "
    "Made by `python -m benchmarks.registry`."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="registry-"))
    try:
        found = measure(place, asked.records)
    finally:
        shutil.rmtree(place)
    (asked.out / "registry.json").write_text(json.dumps(found, indent=1) + "\n")
    (asked.out / "registry.md").write_text(page(found))
    print(page(found))


def measure(place: Path, records: int) -> dict:
    from upliftlab.registry.store import Registry
    from upliftlab.review.simulated import simulated_quarter

    small = Registry(place / "small")
    simulated_quarter(small, quarter=QUARTER, tests=20)
    kinds = [each for each in small.records() if each.arms]
    registry = Registry(place / "registry")
    start = time.perf_counter()
    registry.add_all(
        replace(kinds[i % len(kinds)], name=f"test-{i:05}", recorded_at="2026-10-30T00:00:00")
        for i in range(records)
    )
    wrote = time.perf_counter() - start
    folder = str(registry.folder)
    size = sum(f.stat().st_size for f in (registry.folder / "analyses").iterdir())
    rows = [
        told("write, one batch", wrote, 0),
        step("list, cache warm", ["registry", "list", "--registry", folder]),
        step(
            "list by SQL", ["registry", "list", "--registry", folder, "--where", "realised < 0"]
        ),
        step("verify, every byte", ["registry", "verify", "--registry", folder]),
    ]
    (registry.folder / ".index.jsonl").unlink()
    rows.append(step("list, cache lost", ["registry", "list", "--registry", folder]))
    rows.append(review("review, all in its quarter", registry.folder, place / "review"))
    pages = len(list((place / "review" / "experiments").glob("*.html")))
    mixed = Registry(place / "mixed")
    mixed.add_all(
        replace(
            kinds[i % len(kinds)],
            name=f"test-{i:05}",
            quarter=QUARTER if i < FEW else f"20{16 + i % 10}Q{1 + i % 4}",
            recorded_at="2026-10-30T00:00:00",
        )
        for i in range(records)
    )
    rows.append(review(f"review, {FEW} in its quarter", mixed.folder, place / "few"))
    archive, quarters = upworthy(place)
    rows += [archive] if archive else []
    return {
        "upworthy": quarters,
        "records": records,
        "bytes_per_record": round(size / records),
        "pages": pages,
        "rows": rows,
        "python": platform.python_version(),
        "versions": {
            name: metadata.version(name) for name in ("upliftlab", "duckdb", "jinja2")
        },
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def review(name: str, folder: Path, out: Path) -> dict:
    more = ["--registry", str(folder), "--out", str(out), "--frozen", "2026-10-30"]
    return step(name, ["review", "--quarter", QUARTER, *more])


def upworthy(place: Path) -> tuple[dict | None, list[dict]]:
    """Import the archive's tests from sums and review each of its quarters, in one process."""
    import pandas as pd

    root = Path(__file__).resolve().parent.parent.parent / "shared"
    data = Path(os.environ.get("UPLIFTLAB_SHARED", root)) / "data" / "ab"
    if not (data / "upworthy_exploratory.parquet").exists():
        print("shared data are not here: the archive is left out")
        return None, []
    table = pd.read_parquet(data / "upworthy_exploratory.parquet")
    year, week = table["test_week"] // 100, table["test_week"] % 100
    table["quarter"] = [
        f"{y}Q{min(4, max(0, w - 1) // 13 + 1)}" for y, w in zip(year, week, strict=True)
    ]
    table["arm"] = [f"package {i}" for i in table.groupby("clickability_test_id").cumcount()]
    sums = place / "upworthy.parquet"
    table[["clickability_test_id", "arm", "impressions", "clicks", "quarter"]].to_parquet(sums)
    folder = str(place / "archive")
    names = {
        "experiment": "clickability_test_id", "n": "impressions", "sum": "clicks",
        "sum_of_squares": "clicks",
    }  # fmt: skip
    how = [w for ours, theirs in names.items() for w in ("--columns", f"{ours}={theirs}")]
    commands = [
        ["registry", "import", str(sums), "--registry", folder, "--outcome", "clicks",
         "--unit", "reader", *how],
    ]  # fmt: skip
    quarters = sorted(set(table["quarter"]))
    commands += [
        ["review", "--quarter", each, "--registry", folder, "--out", str(place / each)]
        for each in quarters
    ]
    row = step("Upworthy: import and review of every quarter", commands)
    return row, [_of_quarter(place / each, each) for each in quarters]


def _of_quarter(site: Path, quarter: str) -> dict:
    rows = json.loads((site / "review.json").read_text())["tables"]["experiments"]
    known = [each["sample ratio p"] for each in rows if each["sample ratio p"] is not None]
    page = (site / "index.html").read_text()
    return {
        "quarter": quarter,
        "tests": len(rows),
        "sample_ratio_fails": sum(p < 0.001 for p in known),
        "warned": "Assignment was broken" in page,
    }


CHILD = """
import json, resource, sys, time
start = time.perf_counter()
from upliftlab.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["upliftlab", *words]
    try:
        main()
    except SystemExit as done:
        assert not done.code, done.code
wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(f"MEASURED {wall} {used.ru_utime + used.ru_stime} {peak}", file=sys.stderr)
"""


def step(name: str, commands: list[str] | list[list[str]]) -> dict:
    """Run one command, or several after each other, in a process of its own."""
    many = [commands] if isinstance(commands[0], str) else commands
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(many)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    line = next(each for each in done.stderr.splitlines() if each.startswith("MEASURED"))
    _, wall, cpu, peak = line.split()
    return told(name, float(wall), float(cpu), float(peak) * 1024)


def told(name: str, wall: float, cpu: float, peak: float = 0.0) -> dict:
    return {"what": name, "seconds": wall, "cpu_seconds": cpu, "peak_gib": peak / GIB}


def page(found: dict) -> str:
    rows = [
        f"| {r['what']} | {r['seconds']:.2f} | {r['cpu_seconds']:.2f} | "
        f"{r['peak_gib']:.2f} | {limit(r)} |"
        for r in found["rows"]
    ]
    versions = ", ".join(f"{k} {v}" for k, v in found["versions"].items())
    size = found["bytes_per_record"] / 1000
    about = (
        f"{found['records']:,} records of {size:.1f} kB, all in one quarter unless said; "
        f"the review of all writes {found['pages']:,} pages. Seconds are of whole commands in "
        "their own process, start of Python included; the last step is eleven commands in one."
    )
    where = (
        f"Python {found['python']}, {versions}; {found['cores']} cores, load {found['load']}."
    )
    return "\n".join(
        [
            "# The registry at ten thousand analyses",
            "",
            about,
            "",
            "| step | seconds | CPU seconds | peak GiB | asked |",
            "|---|--:|--:|--:|---|",
            *rows,
            "",
            where,
            "",
            SHARED,
            "",
            *archive(found["upworthy"]),
        ]
    )


def archive(quarters: list[dict]) -> list[str]:
    """Lines on the archive's quarters: the window that was not randomised stands out."""
    if not quarters:
        return []
    rows = [
        f"| {q['quarter']} | {q['tests']} | {q['sample_ratio_fails']} | "
        f"{q['sample_ratio_fails'] / q['tests']:.1%} | {'yes' if q['warned'] else ''} |"
        for q in quarters
    ]
    return [
        "## 3,284 headline tests, quarter by quarter",
        "",
        "Imported from sums per arm (Upworthy Research Archive, exploratory set). Its",
        "authors warn of tests from June 2013 to January 2014, which were not randomised well.",
        "",
        "| quarter | tests | sample ratio fails at 0.001 | share | review warns on top |",
        "|---|--:|--:|--:|---|",
        *rows,
        "",
    ]


def limit(row: dict) -> str:
    most = LIMITS.get(row["what"])
    if most is None:
        return ""
    met = "met" if row["seconds"] < most else "not met here"
    return f"under {most:g} s: {met}"


if __name__ == "__main__":
    main()
