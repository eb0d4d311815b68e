"""The whole way: customers, assignment, outcomes, verdict; with ramp-ups, locks and rules."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from upliftlab import run
from upliftlab.assignment.recipe import recipe_of
from upliftlab.data.assign_plan import assign
from upliftlab.experiment import Experiment
from upliftlab.lock import lock_of
from upliftlab.report import json_schema, render_html, render_json

RUN = {"start": "2026-10-08", "end": "2026-10-21"}
LINES = ("order_id", "unit", "paid_at", "list_fen", "merchant_coupon_fen",
         "platform_coupon_fen", "cash_fen", "settlement_base_fen", "unit_cost_fen")  # fmt: skip


def plan(folder, **changes):
    """An order-grain plan whose assignment table is where ``assign`` writes it."""
    values = {
        "name": "spring",
        "kind": "smart_coupon",
        "arms": {
            "none": {"share": "50%", "control": True},
            "coupon": {"share": "50%", "coupon": 20, "over": 99},
        },
        "run": RUN,
        "follow_up": "14 days",
        "costs": {"margin": "35%"},
        "data": {
            "assignments": {
                "file": str(folder / "assigned.parquet"),
                "columns": {"unit": "open_id", "arm": "组别"},
            },
            "order_lines": {"file": str(folder / "lines.parquet")},
        },
    }
    return Experiment(**(values | changes))


def people(folder, n, day):
    """Ids with the day each entered."""
    table = pa.table({"open_id": [f"c{i}" for i in range(n)], "assigned_at": day})
    pq.write_table(table, folder / "people.parquet")
    return folder / "people.parquet"


def orders(folder, rows):
    """Write order lines: (unit, day, yuan, coupon yuan)."""
    frame = pd.DataFrame(
        [
            (f"o{i}", unit, f"{day} 12:00:00", yuan * 100, coupon * 100, 0,
             (yuan - coupon) * 100, (yuan - coupon) * 100, yuan * 65)
            for i, (unit, day, yuan, coupon) in enumerate(rows)
        ],
        columns=list(LINES),
    )  # fmt: skip
    pq.write_table(pa.Table.from_pandas(frame), folder / "lines.parquet")


def test_an_assigned_table_feeds_straight_into_run(tmp_path):
    """Names of columns are the plan's, and the effect is the one that was put in."""
    experiment = plan(tmp_path)
    source = people(tmp_path, 4_000, ["2026-10-08"] * 4_000)
    written, place = assign(experiment, ids=source)
    table = pq.read_table(place)
    assert place == tmp_path / "assigned.parquet"
    assert table.schema.names[:4] == ["open_id", "组别", "assigned_at", "propensity"]

    arms = dict(zip(table["open_id"].to_pylist(), table["组别"].to_pylist(), strict=True))
    orders(
        tmp_path,
        [
            (unit, f"2026-10-{9 + i % 10:02d}", 100 + 10 * (arm == "coupon"), 0)
            for i, (unit, arm) in enumerate(sorted(arms.items()))
            if i % 2
        ],
    )
    analysis = run(experiment)

    assert [check.verdict for check in analysis.checks if check.name == "sample_ratio"] == [
        "pass"
    ]
    effect = analysis.effects.contrast("gmv_platform", "coupon").estimate("gmv_platform")
    assert effect.estimate == pytest.approx(500, abs=250)
    assert written.rows == sum(analysis.effects.n) == 4_000


def test_a_ramp_up_is_read_within_its_epochs(tmp_path):
    """Sales double in the second epoch, when many more are treated: the effect is still 0.

    Trap of ramp-ups: pooled means of 10 % then 50 % treated say a third of a level too much.
    """
    ramp = {"epochs": {"2026-10-08": "20%", "2026-10-15": "100%"}}
    experiment = plan(tmp_path, assign=ramp)
    days = ["2026-10-08" if i < 3_000 else "2026-10-15" for i in range(6_000)]
    assign(experiment, ids=people(tmp_path, 6_000, days))
    orders(
        tmp_path,
        [(f"c{i}", "2026-10-16", 100 if i < 3_000 else 200, 0) for i in range(6_000)],
    )
    analysis = run(experiment)
    pooled = analysis.effects.contrast("gmv_platform", "coupon").estimate("gmv_platform")
    ratio = next(check for check in analysis.checks if check.name == "sample_ratio")

    assert pooled.estimate == pytest.approx(0, abs=1e-6)
    assert ratio.verdict == "pass"
    assert set(analysis.facts.assigned["coupon"]) == {"1", "2"}
    naive = run(experiment.replace(assign=None))
    wrong = naive.effects.contrast("gmv_platform", "coupon").estimate("gmv_platform")
    assert wrong.estimate > 3_000
    checks = {check.name: check.verdict for check in naive.checks}
    assert checks["sample_ratio"] == "fail"


def test_what_was_changed_after_the_lock_is_on_the_page_and_in_the_json(tmp_path):
    """Key, promise and present value; a warning among the checks."""
    experiment = plan(tmp_path)
    lock = lock_of(experiment.replace(data=None))
    assign(experiment, ids=people(tmp_path, 600, ["2026-10-08"] * 600), lock=lock)
    orders(tmp_path, [(f"c{i}", "2026-10-12", 100 + i % 7, 0) for i in range(600)])
    kept = run(experiment, lock=lock)
    changed = run(experiment.replace(follow_up="7 days"), lock=lock)
    never = run(experiment)

    promise = [next(c for c in a.checks if c.name == "promise") for a in (kept, changed)]
    assert [check.verdict for check in promise] == ["pass", "warn"]
    assert promise[1].message.endswith(
        "and 1 promise was changed since: follow_up from 14 days to 7 days."
    )
    found = json.loads(render_json(changed))["provenance"]["promise"]
    assert found["changes"] == [{"key": "follow_up", "planned": "14 days", "found": "7 days"}]
    assert json.loads(render_json(never))["provenance"]["promise"] is None
    page = render_html(changed)
    assert "Changed after the plan was locked" in page
    assert "The plan was not locked before the data were read." in render_html(never)
    import jsonschema

    jsonschema.validate(json.loads(render_json(changed)), json_schema())


def test_only_the_exploration_cell_compares(tmp_path):
    """A rule gives the coupon to whoever buys much; those drawn show that it does nothing."""
    experiment = plan(tmp_path, assign={"rule": "rule.json", "explore": "40%"})
    n = 4_000
    source = people(tmp_path, n, ["2026-10-08"] * n)
    rule = "CASE WHEN CAST(SUBSTR(unit, 2) AS INT) % 2 = 0 THEN 'coupon' ELSE 'none' END"
    _, place = assign(
        experiment, ids=source, unit="open_id", rule=rule.replace("unit", "open_id")
    )
    orders(tmp_path, [(f"c{i}", "2026-10-12", 300 if i % 2 == 0 else 100, 0) for i in range(n)])
    analysis = run(experiment)
    table = pq.read_table(place)

    effect = analysis.effects.contrast("gmv_platform", "coupon").estimate("gmv_platform")
    assert effect.ci_low < 0 < effect.ci_high
    assert sum(analysis.effects.n) == sum(table["explored"].to_pylist())
    assert any("exploration cell" in note for note in analysis.notes)


def test_arms_of_the_table_are_those_of_the_recipe(tmp_path):
    """What Python says of one id is what the table says."""
    experiment = plan(tmp_path)
    _, place = assign(experiment, ids=people(tmp_path, 50, ["2026-10-08"] * 50))
    recipe = recipe_of(experiment)

    for row in pq.read_table(place).to_pylist():
        assert recipe.arm_of(row["open_id"]) == row["组别"]
