"""What goes wrong before, during and after a test: a clear sentence or a check, by command."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from upliftlab.cli import app
from upliftlab.errors import UpliftlabError

PLAN = """\
name: watched
kind: smart_coupon
run: {start: 2026-06-01, end: 2026-06-10}
follow_up: 7 days
arms:
  none:   {share: 50%, control: true}
  coupon: {share: 50%, coupon: 20, over: 99}
costs: {margin: 50%}
looks: {planned: 3000, every: 1 day}
power: {weekly: 6000, effects: {profit: 1 yuan}}
data: {units: {file: units.parquet, money: fen}}
"""
WAVES = """\
name: dual
kind: custom
design: staggered
period: week
unit: creator
cluster: mcn
arms: {before: {control: true}, after: {}}
costs: {margin: 40%}
waves: waves.csv
power: {waves: 6, effects: {profit: 1 yuan}, clusters: {number: 4, size: 10, icc: 0.1}}
assign: {waves: {2026-08-03: 1/3, 2026-08-17: 1/3, never: 1/3}}
data: {panel: {file: panel.parquet, money: yuan}}
"""
LAYER = "assign: {layer: {name: coupons, start: %s, share: 60%%}}\n"


@pytest.fixture(scope="module")
def units():
    """3,000 customers over ten days, one in six of whom buys."""
    rng = np.random.default_rng(11)
    n = 3_000
    bought = rng.random(n) < 1 / 6
    return pd.DataFrame(
        {
            "unit": [f"u{i:04d}" for i in range(n)],
            "arm": np.where(rng.random(n) < 0.5, "coupon", "none"),
            "assigned_at": pd.Timestamp("2026-06-01 09:00", tz="Asia/Shanghai")
            + pd.to_timedelta(np.arange(n) // 300, unit="D"),
            "gmv_merchant_fen": np.round(bought * rng.lognormal(9.1, 0.6, n)).astype("int64"),
            "buyers": bought.astype("int64"),
        }
    )


@pytest.fixture
def folder(tmp_path, units):
    """The plan beside its customers."""
    units.to_parquet(tmp_path / "units.parquet")
    (tmp_path / "experiment.yaml").write_text(PLAN, encoding="utf-8")
    (tmp_path / "two.csv").write_text("mcn\nm1\nm2\n", encoding="utf-8")
    return tmp_path


def typed(folder, command, *more):
    """What a command said: the whole sentence of a mistake, else what it printed."""
    extra = ["--ids", str(folder / "units.parquet"), "--out", str(folder / "assigned.parquet")]
    extra = [] if command != "assign" or "--ids" in more else extra
    found = CliRunner().invoke(app, [command, str(folder / "experiment.yaml"), *extra, *more])
    if isinstance(found.exception, UpliftlabError):
        return re.sub(r"^.*experiment\.yaml:\d+: ", "", str(found.exception))
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.output


def change(folder, old, new):
    """Edit the plan."""
    file = folder / "experiment.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


EVERY = ("design", "assign", "monitor", "run")


@pytest.mark.parametrize("command", EVERY)
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "{share: 50%, control: true}\n  coupon: {share: 50%,",
            "{share: 100%, control: true}\n  coupon: {share: 0%,",
            "arms.coupon.share is '0%'; give the arm a share or remove it.",
        ),
        (
            "start: 2026-06-01, end: 2026-06-10",
            "start: 2026-06-10, end: 2026-06-01",
            "run has start 2026-06-10 after end 2026-06-01; start must not be later than end.",
        ),
        (
            "power:",
            "assign: {epochs: {2026-06-01: 50%, 2026-06-05: 20%}}\npower:",
            (
                "assign.epochs falls from 50% on 2026-06-01 to 20% on 2026-06-05; a share may "
                "only rise, because units that were treated cannot be untreated."
            ),
        ),
        (
            "power:",
            LAYER % "60%" + "power:",
            (
                "assign.layer starts at 60% and takes 60%, which ends at 120%; a layer ends at "
                "100%."
            ),
        ),
        (
            "weekly: 6000,",
            "weekly: 6000, stated: {profit: {mean: 2, sd: 0}},",
            (
                "power.stated.profit.sd is 0; a metric that does not vary has no power to "
                "plan: write a number above 0."
            ),
        ),
    ],
    ids=["share of 0", "run backwards", "ramp-up backwards", "layer too long", "no variance"],
)
def test_a_plan_that_cannot_be_is_refused_by_every_command(folder, command, old, new, said):
    """Whatever is typed first meets the same sentence."""
    change(folder, "arms:\n  none:   {", "arms:\n  none: {")
    change(folder, old, new)

    assert typed(folder, command) == said


def test_outcomes_that_do_not_vary(folder, units):
    """A design needs a spread; a look says that there is no range; an analysis no verdict."""
    units.assign(gmv_merchant_fen=1000, buyers=1).to_parquet(folder / "units.parquet")

    assert typed(folder, "design") == (
        f"metric 'profit' does not vary among the {(units['arm'] == 'none').sum():,} customers "
        "of arm 'none' of the pilot; it has no power to plan. Take a larger pilot, or state "
        "it: power.stated: {profit: {mean: ..., sd: ...}}."
    )
    looked = json.loads(typed(folder, "monitor", "--json", "--as-of", "2026-06-12"))
    assert [c["message"] for c in looked["checks"] if c["name"] == "no_range"] == [
        (
            "Range: profit of coupon against none has none (it does not vary), so no stopping "
            "rule can be met; see that sales and costs of every customer are in the data."
        )
    ]
    assert "NO VERDICT on ¥20: extra profit has no range: it does not vary." in typed(
        folder, "run"
    )


def test_more_waves_than_clusters(folder):
    """The design counts stated clusters, assign those of the list, the analysis needs both."""
    (folder / "experiment.yaml").write_text(WAVES, encoding="utf-8")
    undrawn = (
        "the plan draws its waves into 'waves.csv', which is not there: upliftlab assign "
        "writes it. A design before that needs power.pilot, the plan of a time without "
        "treatment."
    )
    pd.DataFrame(
        [
            (f"c{i}", f"m{i}", day.date(), float(i))
            for i in range(2)
            for day in pd.date_range("2026-07-06", periods=8, freq="7D")
        ],
        columns=["unit", "mcn", "week", "kept_sales"],
    ).to_parquet(folder / "panel.parquet")

    assert typed(folder, "design") == (
        "power.waves is '6'; there are 4 clusters, and every wave needs one; write 4 or fewer."
    )
    change(folder, ", clusters: {number: 4, size: 10, icc: 0.1}", "")
    assert typed(folder, "assign", "--ids", str(folder / "two.csv")) == (
        "3 arms or waves (2026-08-03, 2026-08-17, never) are drawn from 2 clusters; each needs "
        "one or more, and inference needs two."
    )
    assert typed(folder, "design") == undrawn
    assert typed(folder, "run") == undrawn


def test_a_look_after_the_end_and_one_before_the_last(folder):
    """Looks go forward, and stop with the test."""
    first = typed(folder, "monitor", "--as-of", "2026-06-15")
    back = typed(folder, "monitor", "--as-of", "2026-06-14")
    ended = typed(folder, "monitor", "--as-of", "2026-07-20")
    after = typed(folder, "monitor", "--as-of", "2026-07-21")

    assert "KEEP RUNNING: no stopping rule is met. Next look on 16 Jun 2026." in first
    assert back == (
        "a look as of 2026-06-14 was asked for, and the last look knew the facts up to "
        "2026-06-15; looks go forward in time. Leave --as-of out, or start again with another "
        "--state."
    )
    assert "ENDED: every planned customer was read" in ended
    assert after == (
        "the last look, on 2026-07-20, ended the test: all windows are closed. Its answer is "
        "the analysis: use upliftlab run."
    )


def test_overlapping_layers(folder, units):
    """Neither a lock nor an assignment takes customers of a test that is locked."""
    for name, start in (("one", "0%"), ("two", "40%")):
        (folder / name).mkdir()
        text = PLAN.replace("watched", name) + LAYER % start
        (folder / name / "experiment.yaml").write_text(text, encoding="utf-8")
    units.to_parquet(folder / "two" / "units.parquet")
    said = (
        "experiments 'two' and 'one' overlap in layer 'coupons': 40% to 100% and 0% to 60%; "
        "give each a part of its own."
    )

    assert typed(folder / "one", "lock").startswith("locked one")
    assert typed(folder / "two", "lock") == said
    assert typed(folder / "two", "assign") == said
    assert not (folder / "two" / "assigned.parquet").exists()


def test_a_plan_that_was_changed_after_its_lock(folder):
    """The design says so, assignments and looks are refused, the analysis lists it."""
    typed(folder, "lock")
    change(folder, "none:   {share: 50%", "none:   {share: 40%")
    change(folder, "coupon: {share: 50%", "coupon: {share: 60%")
    at = json.loads((folder / "experiment.lock.json").read_text(encoding="utf-8"))["locked_at"]
    notes = json.loads(typed(folder, "design", "--json"))["notes"]
    checks = json.loads(typed(folder, "run", "--json"))["checks"]

    assert notes[0] == (
        "Changed after the plan was locked: arms.coupon.share, arms.none.share. This is the "
        "design of the changed plan."
    )
    assert typed(folder, "assign") == (
        f"experiment 'watched' was locked on {at} and gives arms otherwise now (changed: "
        "arms.coupon.share, arms.none.share); units would change arms. Restore the plan, or "
        "start a new one with another name."
    )
    assert typed(folder, "monitor") == (
        "the plan changed after it was locked: arms.coupon.share, arms.none.share; looks are "
        "bound to what was locked. Put the plan back, or give the changed plan another file "
        "and lock it."
    )
    assert [c["message"] for c in checks if c["name"] == "promise"] == [
        (
            f"Plan: locked on {at}, and 2 promises were changed since: arms.coupon.share from "
            "50% to 60%; arms.none.share from 50% to 40%."
        )
    ]
