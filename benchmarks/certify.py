"""Is every interval as good as its word? Simulation studies with known truth, resumable.

Run `python -m benchmarks.certify` (or `make certify`). Finished runs are kept in
benchmarks/.state and are not repeated; results go to docs/certify/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One thread each: workers that each ask for all cores are six times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks import summary
from upliftlab.simulate import preset

if TYPE_CHECKING:
    from upliftlab.simulate.realised import Fate

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "benchmarks" / ".state"
DOCS = ROOT / "docs" / "certify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One simulated world, run many times with seeds that are fixed in advance."""

    name: str
    preset: str
    customers: int
    runs: int
    first_seed: int
    follow_up: Fate = "drawn"


STUDIES = (
    Study(
        name="decision",
        preset="gmv_up_profit_down",
        customers=1_600_000,
        runs=100,
        first_seed=300_000,
        follow_up="expected",
    ),
    Study(
        name="decision_null",
        preset="null",
        customers=1_600_000,
        runs=100,
        first_seed=310_000,
    ),
    Study(
        name="coverage",
        preset="gmv_up_profit_down",
        customers=80_000,
        runs=2_000,
        first_seed=100_000,
    ),
    Study(
        name="false_positives",
        preset="aa",
        customers=40_000,
        runs=4_000,
        first_seed=200_000,
    ),
    Study(
        name="decision_drawn",
        preset="gmv_up_profit_down",
        customers=1_600_000,
        runs=100,
        first_seed=300_000,
    ),
    Study(
        name="decision_platform_funded",
        preset="platform_funded",
        customers=1_600_000,
        runs=20,
        first_seed=320_000,
    ),
    Study(
        name="decision_srm",
        preset="srm",
        customers=1_600_000,
        runs=20,
        first_seed=330_000,
    ),
)


def main() -> None:
    """Run what is missing of each study and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[study.name for study in STUDIES])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, help="fewer runs, for a trial; nothing is written")
    chosen = parser.parse_args()
    for study in STUDIES:
        if study.name in chosen.only:
            _run(study, chosen.workers, min(chosen.runs or study.runs, study.runs))
    if not chosen.runs:
        _truths()
        _write()


def _run(study: Study, workers: int, runs: int) -> None:
    STATE.mkdir(parents=True, exist_ok=True)
    file = STATE / f"{study.name}.jsonl"
    done = {row["seed"] for row in _rows(file)}
    seeds = [study.first_seed + i for i in range(runs)]
    todo = [seed for seed in seeds if seed not in done]
    start = time.monotonic()
    with ProcessPoolExecutor(workers) as pool, file.open("a", encoding="utf-8") as out:
        jobs = ((study.preset, study.customers, study.follow_up, seed) for seed in todo)
        for i, row in enumerate(pool.map(_one, jobs), start=1):
            out.write(json.dumps(row) + "\n")
            out.flush()
            if i % 20 == 0 or i == len(todo):
                pace = (time.monotonic() - start) / i
                print(f"{study.name}: {len(done) + i}/{runs}, {pace:.2f} s each", flush=True)


def _one(job: tuple[str, int, Fate, int]) -> dict[str, Any]:
    from benchmarks.studies import answer, rejections

    name, customers, follow_up, seed = job
    world = preset(name, customers=customers, seed=seed)
    found = rejections(world) if name == "aa" else answer(world, follow_up)
    return {"seed": seed, **found}


def _truths() -> None:
    from benchmarks.studies import truth

    for name in ("gmv_up_profit_down",):
        file = STATE / f"truth_{name}.json"
        if not file.is_file():
            file.write_text(json.dumps(truth(name)), encoding="utf-8")


def _write() -> None:
    DOCS.mkdir(parents=True, exist_ok=True)
    studies = {study.name: _rows(STATE / f"{study.name}.jsonl") for study in STUDIES}
    truth = json.loads((STATE / "truth_gmv_up_profit_down.json").read_text(encoding="utf-8"))
    made = {
        "command": "make certify",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("upliftlab", "numpy", "scipy")},
    }
    text, data = summary.report(studies, truth, made)
    (DOCS / "smart_coupon.md").write_text(text, encoding="utf-8")
    (DOCS / "smart_coupon.json").write_text(json.dumps(data, indent=1), encoding="utf-8")
    print(text)


def _rows(file: Path) -> list[dict[str, Any]]:
    """Read finished runs; a line cut short by a kill is run again."""
    if not file.is_file():
        return []
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{file.name}: one unfinished line is run again", file=sys.stderr)
    return rows


if __name__ == "__main__":
    main()
