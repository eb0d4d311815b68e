"""What does the look on day 60 of a 10 M-customer test cost, against reading everything again?

Run `python -m benchmarks.looks_speed`. Tables are made by the engine in a scratch folder;
results go to docs/benchmarks/looks.md and .json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from datetime import date, timedelta
from importlib import metadata
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


def make(folder: Path, customers: int) -> Experiment:
    """Write the tables; the plan that reads them."""
    with duckdb.connect() as engine:
        for query in (ASSIGNMENTS, LINES, REFUNDS):
            engine.execute(query.format(folder=folder, n=customers, span=DAYS * 86_400))
    return Experiment.from_text(PLAN.format(customers=customers), base=folder)


def measure(customers: int) -> dict[str, Any]:
    """Read 59 days at one look, then the 60th at the next; seconds of wall clock and CPU."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        plan = make(folder, customers)
        state = folder / "looks.npz"
        out: dict[str, Any] = {"customers": customers}
        for name, days in (("everything", DAYS - 1), ("one day", DAYS)):
            as_of = START + timedelta(days=days - 1 + AGE + SETTLE)
            wall, cpu = time.perf_counter(), time.process_time()
            found = look(plan, state=state, as_of=as_of)
            out[name] = {
                "wall": time.perf_counter() - wall,
                "cpu": time.process_time() - cpu,
                "read": sum(found.now.n.values()),
            }
        out["state_mb"] = state.stat().st_size / 1e6
    out["ratio_wall"] = out["one day"]["wall"] / out["everything"]["wall"]
    out["ratio_cpu"] = out["one day"]["cpu"] / out["everything"]["cpu"]
    return out


def text(found: dict[str, Any], made: dict[str, str]) -> str:
    """The page."""
    versions = ", ".join(f"{k} {v}" for k, v in made.items() if k != "command")
    labels = {"everything": "59 days at once", "one day": "day 60, with a state"}
    rows = "\n".join(
        f"| {label} | {found[key]['read']:,} | {found[key]['wall']:.1f} "
        f"| {found[key]['cpu']:.1f} |"
        for key, label in labels.items()
    )
    return f"""# What a look costs

Made by `{made["command"]}` with {versions}.

A test of {found["customers"]:,} customers assigned over 60 days, read at 14 days plus 21 for
returns; order lines and refunds as parquet, DuckDB, {os.cpu_count()} cores. The state file has
{found["state_mb"]:.1f} MB.

| look | customers read so far | wall, s | CPU, s |
|---|--:|--:|--:|
{rows}

One more day costs {found["ratio_wall"]:.1%} of reading the first 59 by the clock on the wall,
and {found["ratio_cpu"]:.1%} of their CPU time.
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
        (DOCS / "looks.json").write_text(data, encoding="utf-8")
        (DOCS / "looks.md").write_text(text(found, made), encoding="utf-8")


if __name__ == "__main__":
    main()
