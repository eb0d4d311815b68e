"""The commands before a test, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys

import duckdb
import numpy as np
import pytest

PLAN = """\
name: spring-coupon
kind: smart_coupon
arms: {none: {share: 50%, control: true}, coupon: {share: 50%, coupon: 20, over: 99}}
run: {start: 2026-10-08, end: 2026-10-21}
follow_up: 14 days
costs: {margin: 35%}
assign: {layer: {name: coupons, share: 40%}}
data:
  users: {file: users.csv, columns: {unit: open_id}}
  assignments: {file: assigned.csv}
  order_lines: {file: lines.csv, money: yuan}
"""
N = 1_500


def upliftlab(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "upliftlab.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Customers, and what they ordered in September: before the test."""
    # Locks of the folders beside it are read: none of another test's are there.
    place = tmp_path_factory.mktemp("plans") / "spring"
    place.mkdir()
    rng = np.random.default_rng(1)
    (place / "experiment.yaml").write_text(PLAN, encoding="utf-8")
    users = "\n".join(["open_id", *(f"c{i}" for i in range(N))])
    (place / "users.csv").write_text(users, encoding="utf-8")
    rows = ["order_id,unit,paid_at,list,merchant_coupon,platform_coupon,cash,settlement_base"]
    for i in range(N):
        if rng.random() < 0.4:
            yuan = round(float(rng.lognormal(4.6, 0.4)), 2)
            day = f"2026-09-{26 + int(rng.integers(4)):02d} 12:00:00"
            rows.append(f"o{i},c{i},{day},{yuan},0,0,{yuan},{yuan}")
    (place / "lines.csv").write_text("\n".join(rows), encoding="utf-8")
    return place


def test_aa_rehearses_orders_of_before_the_run(folder):
    """Exit code 0, a page, and the money of September."""
    done = upliftlab("aa", folder, "--draws", 200, "--json")

    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["passed"] is True
    assert found["units"] == N
    total = duckdb.read_csv(str(folder / "lines.csv")).aggregate("SUM(list)").fetchone()[0]
    profit = next(row for row in found["rows"] if row["metric"] == "profit")
    assert profit["mean"] == pytest.approx(0.35 * 100 * total / N, rel=1e-6)
    page = (folder / "report" / "rehearsal.html").read_text(encoding="utf-8")
    assert "Go ahead" in page
    assert json.loads((folder / "report" / "rehearsal.json").read_text(encoding="utf-8"))


def test_aa_says_when_nothing_happened_before(folder):
    """Orders that begin later are no rehearsal."""
    done = upliftlab("aa", folder, "--draws", 100, "--at", "2026-06-01")

    assert done.returncode == 1
    assert done.stderr.strip() == (
        "table 'order_lines' has no orders in the window from 2026-06-01, before the run; aa "
        "needs orders from before the test, or data.units with such a table."
    )


def test_lock_then_assign_then_change(folder):
    """Locked once, assigned where the plan reads, refused once it would assign otherwise."""
    plan = folder / "experiment.yaml"
    locked = upliftlab("lock", plan)
    again = upliftlab("lock", plan)
    assigned = upliftlab("assign", plan, "--json")
    pasted = upliftlab("assign", plan, "--sql", "duckdb", "--unit", "open_id")
    plan.write_text(PLAN.replace("40%", "60%"), encoding="utf-8")
    changed = upliftlab("assign", plan, "--out", folder / "other.csv")
    plan.write_text(PLAN, encoding="utf-8")

    assert locked.returncode == 0, locked.stderr
    assert again.returncode == 1
    assert "stays as it is; the plan is as it was." in again.stderr
    found = json.loads(assigned.stdout)
    assert found["file"].endswith("assigned.csv")
    assert found["rows"] + found["set_aside"]["in other tests of the layer"] == N
    with duckdb.connect() as engine:
        engine.read_csv(str(folder / "users.csv")).create_view("customers")
        rows = engine.execute(pasted.stdout).fetchall()
    assert len(rows) == found["rows"]
    assert changed.returncode == 1
    assert "gives arms otherwise now (changed: assign.layer.share)" in changed.stderr
    assert not (folder / "other.csv").exists()
