"""How fast are group-time effects, beside the tools that do the same job, in one run?

Peers are no dependencies. Install diff-diff, csdid and differences into an environment that
also holds this package, then run `python -m benchmarks.panel_speed`; missing peers are named.
Results go to docs/benchmarks/panels.md and .json. `--only peers|stream|spark` runs a part.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "benchmarks"
PEERS = ("diff-diff", "csdid", "differences")


def long_frame(units: int, periods: int, outcomes: int) -> Any:  # noqa: ANN401 - pandas
    """Cohorts 5, 7, 9 and never; unit levels, noise and an effect of one."""
    import pandas as pd

    rng = np.random.default_rng(0)
    start = np.repeat(rng.choice([5, 7, 9, 0], units), periods)
    when = np.tile(np.arange(1, periods + 1), units)
    frame = pd.DataFrame({"id": np.repeat(np.arange(units), periods), "t": when, "g": start})
    on = (start > 0) & (when >= start)
    for k in range(outcomes):
        level = np.repeat(rng.normal(size=units), periods)
        frame[f"sales{k}"] = level + on + rng.normal(size=units * periods)
    return frame


def tools(frame: Any) -> dict[str, Callable[[], float]]:  # noqa: ANN401
    """The same job: all ATT(g, t) with standard errors, and their simple average."""
    found: dict[str, Callable[[], float]] = {"upliftlab": lambda: _ours(frame, ["sales0"])}
    with contextlib.suppress(ImportError):
        from diff_diff import CallawaySantAnna

        def diff_diff() -> float:
            model = CallawaySantAnna(control_group="never_treated")
            args = {"outcome": "sales0", "unit": "id", "time": "t", "first_treat": "g"}
            return float(model.fit(frame, **args, aggregate="simple").overall_att)

        found["diff-diff"] = diff_diff
    with contextlib.suppress(ImportError):
        from csdid.att_gt import ATTgt as Csdid

        def csdid() -> float:
            with contextlib.redirect_stdout(io.StringIO()):
                model = Csdid(
                    yname="sales0",
                    tname="t",
                    idname="id",
                    gname="g",
                    data=frame,
                    xformla="sales0~1",
                ).fit(est_method="dr", bstrap=False)
                model.aggte(typec="simple", bstrap=False, cband=False)
            return float(model.atte["overall_att"])

        found["csdid"] = csdid
    with contextlib.suppress(ImportError):
        from differences import ATTgt

        def differences() -> float:
            data = frame.assign(g=frame.g.where(frame.g > 0)).set_index(["id", "t"])
            model = ATTgt(data=data, cohort_column="g")
            with contextlib.redirect_stderr(io.StringIO()):
                model.fit("sales0", progress_bar=False)
                return float(model.aggregate("simple").iloc[0, 0])

        found["differences"] = differences
    return found


def _ours(frame: Any, outcomes: list[str]) -> float:  # noqa: ANN401
    from upliftlab.panels.did import did

    found = did(frame, outcomes, unit="id", period="t", start="g", control="never")
    found.effects.forms.joint(found.effects.moments)
    return float(found.average().value[0])


def peers(units: int, repeat: int) -> dict[str, Any]:
    """Median seconds of every tool, interleaved, and of ten outcomes against one."""
    frame = long_frame(units, 12, 10)
    jobs: dict[str, Callable[[], float]] = tools(frame)
    names = [f"sales{k}" for k in range(10)]
    jobs["upliftlab, ten outcomes"] = lambda: _ours(frame, names)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    values: dict[str, float] = {}
    for turn in range(repeat + 1):
        for name, job in jobs.items():
            begin = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    values[name] = job()
                except Exception as problem:  # noqa: BLE001 - a peer's failure is a result
                    values[name] = float("nan")
                    print(f"{name}: {type(problem).__name__}: {problem}")
            if turn:
                times[name].append(time.perf_counter() - begin)
            print(f"{name}: {time.perf_counter() - begin:.3f} s", flush=True)
    median = {name: float(np.median(each)) for name, each in times.items()}
    base = median["upliftlab"]
    return {
        "units": units,
        "periods": 12,
        "repeat": repeat,
        "seconds": median,
        "ratio": {name: each / base for name, each in median.items()},
        "simple_att": values,
        "missing": [peer for peer in PEERS if peer not in jobs],
    }


def write_long(place: Path, units: int, periods: int, components: int) -> None:
    """A Parquet file in order of periods, so that units must be brought together."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(1)
    start = rng.choice([8, 11, 14, 0], units).astype(np.int32)
    ids = np.arange(units, dtype=np.int64)
    writer = None
    for t in range(1, periods + 1):
        columns = {"unit": ids, "period": np.full(units, t, np.int32), "start": start}
        for k in range(components):
            columns[f"y{k}"] = rng.normal(size=units) + ((start > 0) & (t >= start))
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(place, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def stream(place: str, components: int, engine_url: str = "") -> dict[str, Any]:
    """From Parquet to all effects with standard errors, cell moments only."""
    from upliftlab.data.engine import connect, embedded
    from upliftlab.data.panel_stream import stream_moments
    from upliftlab.panels.aggregates import aggregate
    from upliftlab.panels.group_time import group_time

    names = [f"y{k}" for k in range(components)]
    begin = time.perf_counter()
    engine = connect(engine_url) if engine_url else embedded()
    table = engine.backend.read_parquet(place)
    moments = stream_moments(
        engine, table, unit="unit", period="period", start="start", components=names
    )
    effects = group_time(moments, control="never")
    cells = effects.forms.joint(moments)
    simple = aggregate(effects, "simple").joint()
    seconds = time.perf_counter() - begin
    engine.close()
    return {
        "seconds": seconds,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "simple": simple.value.tolist(),
        "simple_se": np.sqrt(np.diag(simple.cov)).tolist(),
        "cells": cells.value.tolist(),
        "cells_se": np.sqrt(np.diag(cells.cov)).tolist(),
    }


def in_process(*arguments: str) -> dict[str, Any]:
    """Run a part of this file in a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", "benchmarks.panel_speed", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def large(units: int, periods: int, components: int) -> dict[str, Any]:
    """Seconds and peak memory from a Parquet file on the embedded engine."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "panel.parquet"
        write_long(place, units, periods, components)
        found = in_process("--stream", str(place), str(components))
    for name in ("cells", "cells_se"):
        found.pop(name)
    return {"units": units, "periods": periods, "components": components, **found}


def both_engines(units: int, periods: int, components: int) -> dict[str, Any]:
    """The same panel on DuckDB and on Spark local: seconds and the largest difference."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "panel.parquet"
        write_long(place, units, periods, components)
        one = in_process("--stream", str(place), str(components))
        two = in_process("--stream", str(place), str(components), "spark://local[2]")
    gap = 0.0
    for name in ("simple", "simple_se", "cells", "cells_se"):
        a, b = np.array(one[name]), np.array(two[name])
        gap = max(gap, float((np.abs(a - b) / np.maximum(np.abs(a), 1e-12)).max()))
    return {
        "units": units,
        "periods": periods,
        "components": components,
        "duckdb_seconds": one["seconds"],
        "spark_seconds": two["seconds"],
        "largest_relative_difference": gap,
    }


def write(results: dict[str, Any]) -> None:
    """Write the tables under docs/benchmarks."""
    DOCS.mkdir(parents=True, exist_ok=True)
    place = DOCS / "panels.json"
    known = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    known |= results
    known["machine"] = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "versions": {name: _version(name) for name in ("upliftlab", "duckdb", "numpy", *PEERS)},
    }
    place.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Speed of group-time effects",
        "",
        f"{os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{k} {v}" for k, v in known["machine"]["versions"].items())
        + ". Made by `python -m benchmarks.panel_speed`.",
        "",
    ]
    if "peers" in known:
        lines += _peer_lines(known["peers"])
    if "large" in known:
        row = known["large"]
        size = f"{row['units']:,} units x {row['periods']} periods x {row['components']}"
        cost = f"{row['seconds']:.1f} s, peak memory {row['peak_gib']:.2f} GiB"
        where = "components from Parquet, in order of periods, on the embedded engine"
        lines += [f"{size} {where}: {cost}.", ""]
    if "spark" in known:
        row = known["spark"]
        size = f"{row['units']:,} x {row['periods']} x {row['components']} on Spark local"
        cost = f"{row['spark_seconds']:.1f} s ({row['duckdb_seconds']:.1f} s embedded)"
        gap = f"{row['largest_relative_difference']:.1e}"
        lines += [f"{size}: {cost}; largest relative difference of any number {gap}.", ""]
    (DOCS / "panels.md").write_text("\n".join(lines), encoding="utf-8")


def _peer_lines(found: dict[str, Any]) -> list[str]:
    size = f"{found['units']:,} units x {found['periods']} periods from a data frame"
    job = "all ATT(g, t) with standard errors and their simple average"
    how = f"Median of {found['repeat']} warm runs, interleaved."
    lines = [
        f"{size}: {job}. {how}",
        "",
        "| tool | seconds | times ours | simple ATT |",
        "|---|--:|--:|--:|",
    ]
    for name, seconds in found["seconds"].items():
        ratio, value = found["ratio"][name], found["simple_att"][name]
        lines.append(f"| {name} | {seconds:.3f} | {ratio:.1f} | {value:.6f} |")
    return [*lines, ""]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Run the parts asked for and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("peers", "stream", "spark"))
    parser.add_argument("--stream", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.stream:
        place, components, *engine = chosen.stream
        print(json.dumps(stream(place, int(components), *engine)))
        return
    results: dict[str, Any] = {}
    if chosen.only in {None, "peers"}:
        results["peers"] = peers(chosen.units, chosen.repeat)
    if chosen.only in {None, "stream"}:
        results["large"] = large(1_000_000, 20, 10)
    if chosen.only in {None, "spark"}:
        results["spark"] = both_engines(50_000, 12, 3)
    write(results)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
