"""A roll-out is rehearsed on the time before it, by the draw of its own plan."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from upliftlab.cli import app
from upliftlab.data.assign_plan import assign
from upliftlab.errors import DesignError
from upliftlab.experiment import Experiment
from upliftlab.rehearsal import rolled
from upliftlab.rehearsal.answer import rehearse
from upliftlab.rehearsal.rolled import rolled_back

PLAN = """
name: dual
kind: custom
design: staggered
period: week
unit: creator
cluster: mcn
arms: {before: {control: true}, after: {}}
strata: [city]
costs: {margin: 40%}
waves: waves.csv
observe: {start: 2026-03-16, end: 2026-08-30}
data: {panel: {file: panel.parquet, money: yuan}}
assign:
  draw: balanced
  balance: [pre_profit]
  keep: 20%
  waves: {2026-08-03: 25%, 2026-08-17: 25%, never: 50%}
"""
WEEKS = 22


@pytest.fixture
def folder(tmp_path):
    """48 agencies of three creators in two cities that drift apart, until a week after."""
    return made(tmp_path, 48)


def made(folder, agencies, text=PLAN, weeks=WEEKS):
    """Write list and panel, and draw the waves."""
    rng = np.random.default_rng(3)
    names = [f"m{i:02d}" for i in range(agencies)]
    city = np.arange(agencies) % 2
    level = rng.lognormal(3, 0.3, agencies)
    pd.DataFrame(
        {"mcn": names, "city": np.where(city, "bj", "sh"), "pre_profit": level}
    ).to_csv(folder / "agencies.csv", index=False)
    days = pd.date_range("2026-03-16", periods=weeks, freq="7D").date
    rows = [
        (f"{name}-{k}", name, day, 100 + level[i] + 3 * city[i] * t + own[t] + noise)
        for i, name in enumerate(names)
        for own in [rng.normal(0, 10, weeks)]
        for k in range(3)
        for t, (day, noise) in enumerate(zip(days, rng.normal(0, 8, weeks), strict=True))
    ]
    pd.DataFrame(rows, columns=["unit", "mcn", "week", "kept_sales"]).to_parquet(
        folder / "panel.parquet"
    )
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")
    assign(Experiment.from_text(text, base=folder), ids=folder / "agencies.csv")
    return folder


def plan(folder):
    """The plan beside its files."""
    return Experiment.from_yaml(folder / "experiment.yaml")


def test_waves_are_moved_to_the_end_of_the_time_before(folder):
    """20 weeks before; the plan observes four weeks from its first wave, so week 16 opens."""
    found = rolled_back(plan(folder))
    starts, _ = found.scheme.draws(99, 1)

    assert found.panel.periods[-1] == "2026-07-27"
    assert sorted(set(found.panel.start.tolist()))[:2] == [16, 18]
    assert found.panel.names[0] == "profit"
    assert found.panel.y[:, :, 0] == pytest.approx(0.4 * found.panel.y[:, :, 1])
    for city in (0, 1):
        mine = np.sort(starts[:, np.arange(48) % 2 == city])
        assert (mine[:, :12] == [16] * 6 + [18] * 6).all()


def test_the_gate_opens_on_a_sound_roll_out(folder):
    """Exit code 0, a page without sample ratio, coverage and false alarms per metric."""
    done = CliRunner().invoke(app, ["aa", str(folder), "--draws", "200", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    profit = found["rows"][0]

    assert found["clusters"] == 48
    assert found["units"] == 144
    assert found["ratio_alarms"] is None
    assert found["mechanism"] == (
        "clusters drawn as a list within city, balanced on pre_profit, in 3 waves"
    )
    assert profit["metric"] == "profit"
    assert {row["metric"] for row in found["rows"]} == {"profit", "kept_sales"}
    assert profit["coverage"] > 0.92
    assert profit["false_alarms"] < 0.08
    assert 0.7 < profit["power"] <= 1
    page = (folder / "report" / "rehearsal.html").read_text(encoding="utf-8")
    assert "Go ahead" in page
    assert "Sample-ratio" not in page


def test_an_analysis_that_is_too_sure_closes_the_gate(folder, monkeypatch):
    """Standard errors half as large: coverage and p-values fail, and the exit code is 3."""
    sound = rolled._staggered

    def sure(panel, found):
        joint = sound(panel, found)
        return replace(joint, cov=joint.cov / 4)

    monkeypatch.setattr(rolled, "_staggered", sure)
    done = CliRunner().invoke(app, ["aa", str(folder), "--draws", "100"])

    assert done.exit_code == 3
    assert "Not yet: the analysis is not fit for this test." in done.stdout
    assert "Sample-ratio" not in done.stdout


def test_the_time_before_may_be_too_short(tmp_path):
    """Four weeks are observed, and two are needed before them."""
    short = made(tmp_path, 24, PLAN.replace("2026-08-30", "2026-12-20"))
    with pytest.raises(DesignError) as found:
        rehearse(plan(short))

    assert str(found.value) == (
        "aa puts the roll-out into the time before it: that has 20 periods, and the plan's "
        "waves take 20 and 2 before them. Give a panel that begins earlier, or observe less."
    )


def test_few_clusters_re_assign_themselves(tmp_path):
    """Eight against eight: the analysis is a randomisation test already."""
    few = made(tmp_path, 16)
    with pytest.raises(DesignError) as found:
        rehearse(plan(few))

    assert str(found.value) == (
        "with 8 clusters on one side the analysis re-assigns clusters itself: its p-values "
        "hold by construction, and aa has nothing to rehearse."
    )


def test_customers_options_are_refused(folder):
    """A panel has its own time before."""
    with pytest.raises(DesignError) as found:
        rehearse(plan(folder), by="mcn")

    assert str(found.value) == (
        "aa of design 'staggered' reads the time before the first wave from the plan's own "
        "panel; leave --units, --by and --at out."
    )


def test_regions_are_rehearsed_by_the_weighted_estimator(tmp_path, monkeypatch):
    """Profit alone, each re-assignment with the standard error of the analysis."""
    monkeypatch.setattr(rolled, "PLACEBOS", 20)
    text = PLAN.replace("design: staggered", "design: geo").replace("cluster: mcn\n", "")
    text = text.replace("{2026-08-03: 25%, 2026-08-17: 25%, never: 50%}",
                        "{2026-08-03: 25%, never: 75%}")  # fmt: skip
    text = text.replace("unit: creator", "unit: region")
    folder = tmp_path
    made(folder, 12, text.replace("design: geo", "design: staggered\ncluster: mcn"))
    table = pd.read_parquet(folder / "panel.parquet")
    table = table.groupby(["mcn", "week"], as_index=False)["kept_sales"].mean()
    table.rename(columns={"mcn": "unit"}).to_parquet(folder / "panel.parquet")
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")
    found = rehearse(plan(folder), draws=20)

    assert [row.metric for row in found.rows] == ["profit"]
    assert found.draws == 20
    assert found.rows[0].coverage > 0.8
    assert np.isfinite(found.rows[0].std_error)
