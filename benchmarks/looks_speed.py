"""What does the look on day 60 of a 10 M-customer test cost, against reading everything again?

Run `python -m benchmarks.looks_speed`. Tables are made by the engine in a scratch folder;
results go to docs/benchmarks/looks.md and .json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb

from upliftlab.experiment import Experiment
from upliftlab.monitor.run import look

DOCS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
START, DAYS, AGE, SETTLE = date(2026, 6, 1), 60, 14, 21

PLAN = """
name: large
kind: smart_coupon
run: {{start: 2026-06-01, end: 2026-07-30}}
follow_up: 14 days
returns_final_after: 21 days
timezone: UTC
arms: {{none: {{share: 50%, control: true}}, coupon: {{share: 50%, coupon: 20, over: 99}}}}
costs: {{margin: 35%}}
looks: {{planned: {customers}, every: 1 day}}
data:
  assignments: {{file: assignments.parquet}}
  order_lines: {{file: order_lines.parquet, money: fen}}
  refunds: {{file: refunds.parquet, money: fen}}
"""

ASSIGNMENTS = """
COPY (SELECT printf('u%016x', hash(i)) AS unit,
             CASE WHEN hash(i) % 2 = 0 THEN 'none' ELSE 'coupon' END AS arm,
             TIMESTAMP '2026-06-01' + INTERVAL 1 SECOND * (i * {span} // {n}) AS assigned_at
      FROM range({n}) t(i)) TO '{folder}/assignments.parquet'
"""
LINES = """
COPY (SELECT 'o' || row_number() OVER () AS order_id, 'l' || row_number() OVER () AS line_id, *
      FROM (SELECT unit,
                   assigned_at + INTERVAL 1 SECOND * (hash(unit, 1) % 1209600)::INT AS paid_at,
                   (2000 + hash(unit, 2) % 30000)::BIGINT AS settlement_base,
                   (CASE WHEN arm = 'coupon' AND hash(unit, 4) % 3 = 0 THEN 2000 ELSE 0 END)
                     ::BIGINT AS merchant_coupon
            FROM '{folder}/assignments.parquet' WHERE hash(unit, 3) % 100 < 12)
      ORDER BY paid_at) TO '{folder}/order_lines.parquet'
"""
REFUNDS = """
COPY (SELECT 'r' || order_id AS refund_id, order_id, settlement_base AS amount,
             'return_refund' AS type,
             paid_at + INTERVAL 1 SECOND * (hash(order_id, 5) % 1500000)::INT AS refunded_at
      FROM '{folder}/order_lines.parquet' WHERE hash(order_id, 6) % 10 < 3
      ORDER BY refunded_at) TO '{folder}/refunds.parquet'
"""


def make(folder: Path, customers: int) -> None:
    """Write the tables, and the plan that reads them."""
    with duckdb.connect() as engine:
        for query in (ASSIGNMENTS, LINES, REFUNDS):
            engine.execute(query.format(folder=folder, n=customers, span=DAYS * 86_400))
    plan = PLAN.format(customers=customers)
    (folder / "experiment.yaml").write_text(plan, encoding="utf-8")


def taken(folder: str, state: str | None, days: int) -> dict[str, Any]:
    """Take one look in a process of its own; seconds of wall clock and CPU, and memory."""
    place = Path(folder)
    plan = Experiment.from_yaml(place / "experiment.yaml")
    as_of = START + timedelta(days=days - 1 + AGE + SETTLE)
    wall, cpu = time.perf_counter(), time.process_time()
    found = look(plan, state=None if state is None else place / state, as_of=as_of)
    profit = found.now.profit_of("coupon")
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "read": sum(found.now.n.values()),
        "profit_fen": None if profit is None else profit.estimate,
    }


def measure(customers: int) -> dict[str, Any]:
    """Read 59 days, then the 60th on top of them, then all 60 at once."""
    out: dict[str, Any] = {"customers": customers}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        started = time.perf_counter()
        make(folder, customers)
        out["made_s"] = time.perf_counter() - started
        for name, state, days in (
            ("before", "looks.npz", DAYS - 1),
            ("one day", "looks.npz", DAYS),
            ("everything", None, DAYS),
        ):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                out[name] = pool.submit(taken, scratch, state, days).result()
        out["state_mb"] = (folder / "looks.npz").stat().st_size / 1e6
    if not math.isclose(
        out["one day"]["profit_fen"], out["everything"]["profit_fen"], rel_tol=1e-9
    ):
        message = f"looks do not add up: {out['one day']} against {out['everything']}"
        raise ArithmeticError(message)
    for clock in ("wall", "cpu"):
        out[f"ratio_{clock}"] = out["one day"][clock] / out["everything"][clock]
    return out


def text(found: dict[str, Any], made: dict[str, str]) -> str:
    """The page."""
    versions = ", ".join(f"{k} {v}" for k, v in made.items() if k != "command")
    labels = {
        "before": "days 1 to 59, the first look",
        "one day": "day 60 on top of them, with the state",
        "everything": "days 1 to 60 at once, without a state",
    }
    rows = "\n".join(
        f"| {label} | {found[key]['read']:,} | {found[key]['wall']:.1f} "
        f"| {found[key]['cpu']:.1f} | {found[key]['peak_mb']:,.0f} |"
        for key, label in labels.items()
    )
    return f"""# What a look costs

Made by `{made["command"]}` with {versions}.

A test of {found["customers"]:,} customers with hashed ids, assigned over 60 days, read at 14
days plus 21 for returns: assignments, order lines and refunds as one Parquet file each, in
order of time; DuckDB, {os.cpu_count()} cores, each look in a process of its own. The state
file has {found["state_mb"]:.1f} MB.

| look | customers read so far | wall, s | CPU, s | peak memory, MB |
|---|--:|--:|--:|--:|
{rows}

The look at day 60 costs {found["ratio_wall"]:.1%} of reading everything again by the clock on
the wall, and {found["ratio_cpu"]:.1%} of its CPU time. Both say the same to nine digits. About
two seconds of each look go into making queries, whatever their size.
"""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=10_000_000)
    chosen = parser.parse_args()
    found = measure(chosen.customers)
    made = {
        "command": "python -m benchmarks.looks_speed",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("upliftlab", "duckdb", "ibis-framework")},
    }
    print(text(found, made))
    if chosen.customers >= 10_000_000:
        DOCS.mkdir(parents=True, exist_ok=True)
        data = json.dumps({"made": made, **found}, indent=1)
        (DOCS / "looks.json").write_text(data + "\n", encoding="utf-8")
        (DOCS / "looks.md").write_text(text(found, made), encoding="utf-8")


if __name__ == "__main__":
    main()
