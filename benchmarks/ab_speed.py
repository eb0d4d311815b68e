"""How fast is a plain comparison of arms beside tea-tasting, and are the numbers the same?

tea-tasting is no dependency: make an environment of its own that also sees this one (as
benchmarks/panel_speed.py tells) and run `python -m benchmarks.ab_speed` with its Python.
Both read one Parquet file of 4 M users on DuckDB, by turns; results go to
docs/benchmarks/comparisons.md and .json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import numpy as np

from upliftlab import compare

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "benchmarks"
METRICS = ("spend", "orders", "spend / visits")
SHOWN = ("estimate", "ci_low", "ci_high", "p_value", "rel_estimate", "rel_ci_low")
PACKAGES = ("upliftlab", "tea-tasting", "ibis-framework", "duckdb", "numpy")


def users(path: Path, n: int) -> None:
    """Write users of two arms: skewed spend that the weeks before foretell."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    arm, before = rng.integers(0, 2, n), rng.exponential(10, n)
    visits = rng.poisson(3, n) + 1
    spend = before / 2 + visits * rng.exponential(3, n) + 0.1 * arm
    columns = {"arm": arm, "before": before, "visits": visits, "spend": spend}
    pq.write_table(pa.table(columns | {"orders": rng.binomial(visits, 0.2)}), path)


def ours(table: ibis.Table) -> dict[str, list[float]]:
    """Two means and a ratio, then spend again with the weeks before taken into account."""
    plain = compare(table, METRICS, arm="arm", control=0)
    adjusted = compare(
        table, ["spend"], arm="arm", control=0, covariates=["before"], theta="joint"
    )
    rows = {name: plain.to_pandas().iloc[i] for i, name in enumerate(METRICS)}
    rows["spend, adjusted"] = adjusted.to_pandas().iloc[0]
    return {name: [float(row[column]) for column in SHOWN] for name, row in rows.items()}


def theirs(table: ibis.Table) -> dict[str, list[float]]:
    """The same by tea-tasting."""
    import tea_tasting as tt

    found = tt.Experiment(
        {
            "spend": tt.Mean("spend"),
            "orders": tt.Mean("orders"),
            "spend / visits": tt.RatioOfMeans("spend", "visits"),
            "spend, adjusted": tt.Mean("spend", covariate="before"),
        },
        variant="arm",
    ).analyze(table, control=0)
    names = ("effect_size", "effect_size_ci_lower", "effect_size_ci_upper", "pvalue",
             "rel_effect_size", "rel_effect_size_ci_lower")  # fmt: skip
    return {row["metric"]: [float(row[name]) for name in names] for row in found.to_dicts()}


def by_turns(table: ibis.Table, repeat: int) -> dict[str, Any]:
    """Median seconds of warm runs by turns, and the largest relative difference."""
    jobs: dict[str, Callable[[ibis.Table], Any]] = {"upliftlab": ours, "tea-tasting": theirs}
    answers = {name: job(table) for name, job in jobs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeat):
        for name, job in jobs.items():
            began = time.perf_counter()
            job(table)
            seconds[name].append(time.perf_counter() - began)
    gaps = {
        metric: [
            abs(a - b) / abs(b)
            for a, b in zip(found, answers["tea-tasting"][metric], strict=True)
        ]
        for metric, found in answers["upliftlab"].items()
    }
    return {
        "seconds": {name: sorted(each)[repeat // 2] for name, each in seconds.items()},
        "all_seconds": seconds,
        "ratio": float(np.median(np.divide(seconds["tea-tasting"], seconds["upliftlab"]))),
        "relative_differences": {
            metric: dict(zip(SHOWN, each, strict=True)) for metric, each in gaps.items()
        },
    }


def markdown(found: dict[str, Any]) -> str:
    """Lay the results out."""
    gaps = found["relative_differences"]
    same = {
        metric: max(each for name, each in row.items() if name != "rel_ci_low")
        for metric, row in gaps.items()
    }
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    lines = [
        "# Comparing arms on a plain table, beside tea-tasting",
        "",
        (
            f"Made by `python -m benchmarks.ab_speed`; Python {platform.python_version()}, "
            f"{versions}, {os.cpu_count()} cores, load {found['load']:.1f} before."
        ),
        "",
        (
            f"{found['users']:,} users in a Parquet file, DuckDB. Two means, a ratio of sums "
            "and a mean adjusted by a covariate, with relative effects: median seconds of "
            f"{len(found['all_seconds']['upliftlab'])} warm runs by turns."
        ),
        "",
        "| tool | seconds |",
        "|---|--:|",
        *[f"| {name} | {each:.2f} |" for name, each in found["seconds"].items()],
        "",
        f"tea-tasting takes {found['ratio']:.2f} times our time (median of the pairs).",
        "",
        "Largest relative difference of effect, both ends of its range, p and relative effect;",
        "the lower end of the relative range stands apart: ours solves Fieller's equation,",
        "theirs goes by the delta method.",
        "",
        "| metric | effect, range, p, relative effect | lower end of the relative range |",
        "|---|--:|--:|",
        *[f"| {name} | {same[name]:.0e} | {gaps[name]['rel_ci_low']:.0e} |" for name in same],
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run both and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=4_000_000)
    parser.add_argument("--repeat", type=int, default=7)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "users.parquet"
        users(path, asked.users)
        table = ibis.duckdb.connect().read_parquet(path)
        found = by_turns(table, asked.repeat)
    found |= {"users": asked.users, "load": load}
    DOCS.mkdir(parents=True, exist_ok=True)
    (DOCS / "comparisons.md").write_text(markdown(found), encoding="utf-8")
    (DOCS / "comparisons.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(markdown(found))


if __name__ == "__main__":
    main()
