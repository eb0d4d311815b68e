"""How fast are group-time effects, beside the tools that do the same job, in one run?

Peers are no dependencies; those that are not installed are named. To have them, make an
environment of their own that also sees this one, and run the study with its Python:

    python -m venv ../peers
    site=$(echo ../peers/lib/python3*/site-packages)
    printf '%s\\n' "$PWD/src" "$PWD"/.venv/lib/python3*/site-packages > "$site/here.pth"
    ../peers/bin/python -m pip install diff-diff csdid differences
    ../peers/bin/python -m benchmarks.panel_speed --spark

The parts: peers, outcomes (ten beside one), stream (a Parquet file in three orders of rows)
and, with `--spark`, the same on Spark; that needs Java 17. `--only` runs one of them. Results
go to docs/benchmarks/panels.md and .json; `--small` takes a fiftieth of the units and only
prints. Every pool of threads is as large as the machine; set OPENBLAS_NUM_THREADS to change it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
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

THREADS = os.environ.get("OPENBLAS_NUM_THREADS") or str(os.cpu_count())
for _pool in ("OPENBLAS", "OMP", "MKL", "NUMEXPR", "NUMBA", "RAYON"):
    # Read when the libraries are loaded, so before them.
    os.environ[f"{_pool}_NUM_THREADS"] = THREADS
os.environ["POLARS_MAX_THREADS"] = THREADS

import numpy as np  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "benchmarks"
PEERS = {"diff-diff": "diff_diff", "csdid": "csdid", "differences": "differences"}
TEN = "upliftlab, ten outcomes"
ORDERS = ("unit", "period", "none")
COLUMNS = {"unit": "id", "period": "t", "start": "g"}


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


def upliftlab(frame: Any, outcomes: int = 1) -> Found:  # noqa: ANN401
    """All ATT(g, t) and their simple average, both with small-sample errors."""
    from upliftlab.panels.did import did

    names = [f"sales{k}" for k in range(outcomes)]
    found = did(frame, names, **COLUMNS, control="never")
    found.effects.forms.joint(found.effects.moments)
    simple = found.average()
    return {
        "att": float(simple.value[0]),
        "se": float(np.sqrt(simple.cov[0, 0])),
        "cells": len(found.effects.cells),
    }


def upliftlab_analytic(frame: Any) -> Found:  # noqa: ANN401
    """The same with the errors that peers report, to be compared with theirs."""
    from upliftlab.panels.did import did

    found = did(frame, "sales0", **COLUMNS, control="never", inference="analytic").average()
    return {"att": float(found.value[0]), "se": float(np.sqrt(found.cov[0, 0]))}


def diff_diff(frame: Any) -> Found:  # noqa: ANN401
    """CallawaySantAnna of diff-diff."""
    from diff_diff import CallawaySantAnna

    model = CallawaySantAnna(control_group="never_treated")
    args = {"outcome": "sales0", "unit": "id", "time": "t", "first_treat": "g"}
    found = model.fit(frame, **args, aggregate="simple")
    return {
        "att": float(found.overall_att),
        "se": float(found.overall_se),
        "cells": len(found.group_time_effects),
    }


def csdid(frame: Any) -> Found:  # noqa: ANN401
    """att_gt and aggte of csdid, which has no other method than dr without covariates."""
    from csdid.att_gt import ATTgt

    args = {"yname": "sales0", "tname": "t", "idname": "id", "gname": "g"}
    with contextlib.redirect_stdout(io.StringIO()):
        model = ATTgt(**args, data=frame, xformla="sales0~1")
        model = model.fit(est_method="dr", bstrap=False)
        model.aggte(typec="simple", bstrap=False, cband=False)
    return {
        "att": float(model.atte["overall_att"]),
        "se": float(model.atte["overall_se"]),
        "cells": len(model.results["att"]),
    }


def differences(frame: Any) -> Found:  # noqa: ANN401
    """ATTgt of differences, which wants NaN for never."""
    from differences import ATTgt

    data = frame.assign(g=frame.g.where(frame.g > 0)).set_index(["id", "t"])
    with contextlib.redirect_stderr(io.StringIO()):
        model = ATTgt(data=data, cohort_column="g")
        cells = model.fit("sales0", progress_bar=False)
        simple = model.aggregate("simple").to_numpy()
    return {
        "att": float(simple[0, 0]),
        "se": float(simple[0, 1]),
        "cells": len(cells.to_pandas()),
    }


TOOLS: dict[str, Callable[[Any], Found]] = {
    "upliftlab": upliftlab,
    "diff-diff": diff_diff,
    "csdid": csdid,
    "differences": differences,
    TEN: lambda frame: upliftlab(frame, 10),
}


def peers(units: int, repeat: int) -> Found:
    """Median seconds and peak memory of every tool."""
    missing = [peer for peer, name in PEERS.items() if importlib.util.find_spec(name) is None]
    frame_only = in_process("once", "nothing", str(units))["peak_gib"]
    once, broken = {}, {}
    for name in [tool for tool in TOOLS if tool not in {TEN, *missing}]:
        try:
            once[name] = in_process("once", name, str(units))
        except subprocess.CalledProcessError as problem:
            broken[name] = problem.stderr.strip().splitlines()[-1]
    if "upliftlab" in broken:
        raise SystemExit(broken["upliftlab"])
    frame = long_frame(units, 12, 1)
    rows = _interleaved(dict.fromkeys(once, frame), repeat)
    for name, row in rows.items():
        row["peak_gib"] = once[name]["peak_gib"]
        row["first_call_seconds"] = once[name]["seconds"]
    return {
        "units": units,
        "periods": 12,
        "repeat": repeat,
        "frame_gib": frame_only,
        "tools": rows,
        "analytic": upliftlab_analytic(frame),
        "missing": missing,
        "broken": broken,
    }


def ten_outcomes(units: int, repeat: int) -> Found:
    """Ten outcomes against one, by turns, with nobody else's work between."""
    frame = long_frame(units, 12, 10)
    frames = {"upliftlab": frame[["id", "t", "g", "sales0"]].copy(), TEN: frame}
    rows = _interleaved(frames, repeat)
    for name, row in rows.items():
        row["peak_gib"] = in_process("once", name, str(units))["peak_gib"]
    return {"units": units, "periods": 12, "repeat": repeat, "tools": rows}


def _interleaved(frames: dict[str, Any], repeat: int) -> dict[str, Found]:
    """Run all tools in turns of random order, as one may slow the next; the first warms up."""
    rng = np.random.default_rng(2)
    names = list(frames)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    found: dict[str, Found] = {}
    for turn in range(repeat + 1):
        for name in rng.permutation(names).tolist():
            gc.collect()
            begin = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[name] = TOOLS[name](frames[name])
            passed = time.perf_counter() - begin
            print(f"{turn}/{repeat} {name}: {passed:.3f} s", file=sys.stderr, flush=True)
            if turn:
                seconds[name].append(passed)
    base = float(np.median(seconds["upliftlab"]))
    return {
        name: found[name]
        | {
            "seconds": float(np.median(each)),
            "fastest": min(each),
            "slowest": max(each),
            "ratio": float(np.median(each)) / base,
        }
        for name, each in seconds.items()
    }


def once(name: str, units: int) -> Found:
    """First call of one tool in this process: seconds with its imports, and peak memory."""
    warnings.simplefilter("ignore")
    frame = long_frame(units, 12, 10 if name == TEN else 1)
    begin = time.perf_counter()
    if name != "nothing":
        TOOLS[name](frame)
    return {"seconds": time.perf_counter() - begin, "peak_gib": peak_gib()}


def write_long(place: Path, units: int, periods: int, components: int, order: str) -> None:
    """Write a panel as Parquet: rows by unit, by period, or in no order at all.

    Components are float64 and int32 by turns; unit levels, noise and an effect.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(1)
    start = rng.choice([8, 11, 14, 0], units).astype(np.int32)
    level = rng.normal(size=units)
    turn = rng.integers(0, periods, units)
    names = [f"y{k}" for k in range(components)]
    with contextlib.ExitStack() as stack:
        writer = None
        for chunk in range(periods):
            unit, period = _keys(rng, order, (units, periods), chunk, turn)
            columns = {"unit": unit, "period": period, "start": start[unit]}
            on = (start[unit] > 0) & (period >= start[unit])
            for k, name in enumerate(names):
                value = level[unit] + on + rng.normal(size=len(unit))
                columns[name] = np.rint(1000 * value).astype(np.int32) if k % 2 else value
            table = pa.table(columns)
            writer = writer or stack.enter_context(pq.ParquetWriter(place, table.schema))
            writer.write_table(table)


def _keys(
    rng: np.random.Generator, order: str, shape: tuple[int, int], chunk: int, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Units and periods of one chunk, which has as many rows as there are units."""
    units, periods = shape
    if order == "unit":
        row = np.arange(chunk * units, (chunk + 1) * units)
        return row // periods, (row % periods + 1).astype(np.int32)
    if order == "period":
        return np.arange(units), np.full(units, chunk + 1, np.int32)
    unit = rng.permutation(units)
    return unit, ((chunk + turn[unit]) % periods + 1).astype(np.int32)


def stream(place: str, components: int, engine_name: str) -> Found:
    """From Parquet to all effects with standard errors; no unit is ever held."""
    from upliftlab.data.engine import embedded
    from upliftlab.data.panel_stream import stream_moments
    from upliftlab.panels.aggregates import aggregate
    from upliftlab.panels.group_time import group_time

    warnings.simplefilter("ignore")
    names = [f"y{k}" for k in range(components)]
    begin = time.perf_counter()
    engine = embedded() if engine_name == "duckdb" else _spark()
    table = engine.backend.read_parquet(place)
    opened = time.perf_counter()
    columns = {"unit": "unit", "period": "period", "start": "start"}
    moments = stream_moments(engine, table, components=names, **columns)
    summed = time.perf_counter()
    effects = group_time(moments, control="never")
    cells = effects.forms.joint(moments)
    simple = aggregate(effects, "simple").joint()
    ended = time.perf_counter()
    engine.close()
    found = {"open_seconds": opened - begin, "moments_seconds": summed - opened}
    found |= {"effects_seconds": ended - summed, "seconds": ended - opened}
    for label, joint in (("simple", simple), ("cells", cells)):
        found[label] = joint.value.tolist()
        found[f"{label}_se"] = np.sqrt(np.diag(joint.cov)).tolist()
        found[f"{label}_df"] = np.where(np.isfinite(joint.df), joint.df, 1e308).tolist()
    found["units_by_cohort"] = moments.units.tolist()
    return found | {"peak_gib": peak_gib()}


def _spark() -> Any:  # noqa: ANN401
    """Spark in this process, on two cores."""
    import ibis
    from pyspark.sql import SparkSession

    from upliftlab.data.engine import Engine

    # Workers import numpy and Arrow, so they run on the same Python.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": tempfile.gettempdir(),
    }
    session = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    return Engine(backend=ibis.pyspark.connect(session), name="pyspark")


def large(units: int, periods: int, components: int) -> Found:
    """Seconds and peak memory from a Parquet file, for each order of its rows."""
    rows = {}
    for order in ORDERS:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "panel.parquet"
            write_long(place, units, periods, components, order)
            found = in_process("stream", str(place), str(components), "duckdb")
            found["file_gib"] = place.stat().st_size / 2**30
        rows[order] = {key: v for key, v in found.items() if not key.startswith("cells")}
        print(f"rows by {order}: {found['seconds']:.2f} s", file=sys.stderr, flush=True)
    return {"units": units, "periods": periods, "components": components, "orders": rows}


def both_engines(units: int, periods: int, components: int) -> Found:
    """The same panel on DuckDB and on Spark local: seconds and the largest difference."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "panel.parquet"
        write_long(place, units, periods, components, "none")
        one = in_process("stream", str(place), str(components), "duckdb")
        two = in_process("stream", str(place), str(components), "spark")
    gaps = {key: _gap(one[key], two[key]) for key in one if isinstance(one[key], list)}
    keys = ("seconds", "open_seconds")
    return {
        "units": units,
        "periods": periods,
        "components": components,
        "duckdb": {key: one[key] for key in keys},
        "spark": {key: two[key] for key in keys},
        "numbers": sum(len(one[key]) for key in gaps),
        "relative_differences": gaps,
        "largest_relative_difference": max(gaps.values()),
    }


def _gap(one: list[float], two: list[float]) -> float:
    """Largest relative difference; infinite where only one of the two is a number."""
    a, b = np.array(one), np.array(two)
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    scale = np.maximum(np.abs(a), np.abs(b))
    return float(np.nanmax(np.abs(a - b) / np.where(scale > 0, scale, 1.0)))


def peak_gib() -> float:
    """Peak memory of this process since it began.

    Linux hands the parent's peak down in `ru_maxrss`; the high-water mark begins afresh.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def in_process(*arguments: str) -> Found:
    """Run a part of this file in a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", "benchmarks.panel_speed", "--inside", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    result: Found = json.loads(done.stdout.splitlines()[-1])
    return result


def circumstances() -> Found:
    """What a reader needs to judge a run by."""
    packages = ("upliftlab", "numpy", "scipy", "pandas", "duckdb", "pyspark", *PEERS)
    return {
        "command": " ".join(["python -m benchmarks.panel_speed", *sys.argv[1:]]),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": int(THREADS),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {name: _version(name) for name in packages},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def write(results: Found) -> None:
    """Put the parts that ran in the place of earlier ones, under docs/benchmarks."""
    DOCS.mkdir(parents=True, exist_ok=True)
    place = DOCS / "panels.json"
    known = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    known = {part: known[part] for part in LINES if "run" in known.get(part, {})} | results
    place.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    lines = ["# Speed of group-time effects", "", "Made by `benchmarks/panel_speed.py`.", ""]
    for part, describe in LINES.items():
        if part in known:
            lines += [*describe(known[part]), "", _run_line(known[part]["run"]), ""]
    (DOCS / "panels.md").write_text("\n".join(lines), encoding="utf-8")


def _run_line(run: Found) -> str:
    versions = ", ".join(f"{name} {each}" for name, each in run["versions"].items())
    machine = (
        f"{run['cores']} cores, {run['threads']} threads, load {run['load_before']} before"
    )
    return f"`{run['command']}`: {machine}; Python {run['python']}, {versions}."


def _peer_lines(found: Found) -> list[str]:
    size = f"{found['units']:,} units x {found['periods']} periods"
    once = (
        f"a process that makes the frame ({found['frame_gib']:.2f} GiB) and calls the tool once"
    )
    lines = [
        "## From a data frame",
        "",
        f"{size}, never-treated controls: all ATT(g, t) with standard errors, and",
        f"their simple average. Seconds: median of {found['repeat']} warm runs, order drawn.",
        f"Memory: peak of {once}.",
        "Peers report the analytic standard error; our default is CR2 by cohort, our analytic",
        f"one {found['analytic']['se']:.8f}. We count a cohort's base period as a cell.",
        "",
        "| tool | seconds (range) | times ours | peak GiB | cells | simple ATT | its SE |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in found["tools"].items():
        answer = f"{row['cells']} | {row['att']:.8f} | {row['se']:.8f}"
        lines.append(f"| {name} | {_cost(row)} | {answer} |")
    if found["missing"]:
        lines += ["", f"Not installed: {', '.join(found['missing'])}."]
    for name, problem in found["broken"].items():
        lines += ["", f"{name} failed: {problem}"]
    return lines


def _outcome_lines(found: Found) -> list[str]:
    return [
        "## Ten outcomes against one",
        "",
        f"The same job, by turns; median of {found['repeat']} warm runs.",
        "",
        "| job | seconds (range) | times one | peak GiB |",
        "|---|--:|--:|--:|",
        *[f"| {name} | {_cost(row)} |" for name, row in found["tools"].items()],
    ]


def _cost(row: Found) -> str:
    spread = f"{row['seconds']:.3f} ({row['fastest']:.3f}–{row['slowest']:.3f})"
    return f"{spread} | {row['ratio']:.1f} | {row['peak_gib']:.2f}"


def _large_lines(found: Found) -> list[str]:
    size = f"{found['units']:,} units x {found['periods']} periods x {found['components']}"
    lines = [
        "## From a Parquet file",
        "",
        f"{size} components (float64 and int32 by turns) on",
        "the embedded engine: all ATT(g, t) and their simple average, with standard errors.",
        "Each in a process of its own, whose imports count in memory and not in seconds.",
        "",
        "| rows in order of | seconds | of which after the sums | peak GiB | file GiB |",
        "|---|--:|--:|--:|--:|",
    ]
    for order, row in found["orders"].items():
        cost = f"{row['seconds']:.1f} | {row['effects_seconds']:.2f} | {row['peak_gib']:.2f}"
        lines.append(f"| {order} | {cost} | {row['file_gib']:.2f} |")
    return lines


def _spark_lines(found: Found) -> list[str]:
    size = f"{found['units']:,} units x {found['periods']} periods x {found['components']}"
    one, two = found["duckdb"], found["spark"]
    return [
        "## On Spark",
        "",
        f"{size} components, rows in no order. Spark local on two cores:",
        f"{two['seconds']:.1f} s after {two['open_seconds']:.1f} s to start; embedded engine:",
        f"{one['seconds']:.1f} s. Largest relative difference of {found['numbers']:,} numbers:",
        f"{found['largest_relative_difference']:.1e} (values, standard errors, df, sizes).",
    ]


LINES: dict[str, Callable[[Found], list[str]]] = {
    "peers": _peer_lines,
    "outcomes": _outcome_lines,
    "stream": _large_lines,
    "spark": _spark_lines,
}


def main() -> None:
    """Run the parts asked for and write what they found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=tuple(LINES))
    parser.add_argument("--spark", action="store_true", help="also run the part on Spark")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--small", action="store_true", help="few units; write nothing")
    parser.add_argument("--inside", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        task, what, number, *engine = chosen.inside
        found = (
            once(what, int(number)) if task == "once" else stream(what, int(number), *engine)
        )
        print(json.dumps(found))
        return
    share = 50 if chosen.small else 1
    parts: dict[str, Callable[[], Found]] = {
        "peers": lambda: peers(100_000 // share, chosen.repeat),
        "outcomes": lambda: ten_outcomes(100_000 // share, chosen.repeat),
        "stream": lambda: large(1_000_000 // share, 20, 10),
        "spark": lambda: both_engines(1_000_000 // share, 20, 10),
    }
    wanted = [chosen.only] if chosen.only else ["peers", "outcomes", "stream"]
    results = {}
    for part in dict.fromkeys([*wanted, *(["spark"] if chosen.spark else [])]):
        run = circumstances()
        results[part] = {"run": run} | parts[part]()
    if not chosen.small:
        write(results)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
