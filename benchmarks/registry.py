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
LIMITS = {"list, cache warm": 1.0, "list, cache lost": None, "review": 60.0}
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
    review = ["review", "--quarter", QUARTER, "--registry", folder]
    rows.append(
        step("review", [*review, "--out", str(place / "review"), "--frozen", "2026-10-30"])
    )
    pages = len(list((place / "review" / "experiments").glob("*.html")))
    return {
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


CHILD = """
import resource, sys, time
start = time.perf_counter()
from upliftlab.cli import main
sys.argv = ["upliftlab", *sys.argv[1:]]
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(f"MEASURED {wall} {used.ru_utime + used.ru_stime} {peak}", file=sys.stderr)
"""


def step(name: str, arguments: list[str]) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=True
    )
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
        f"{found['records']:,} records of {size:.1f} kB, all in one quarter; the review writes "
        f"{found['pages']:,} pages. Seconds are of whole commands in their own process, start "
        "of Python included."
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
        ]
    )


def limit(row: dict) -> str:
    most = LIMITS.get(row["what"])
    return "" if most is None else f"under {most:g} s"


if __name__ == "__main__":
    main()
