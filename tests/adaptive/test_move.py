"""From the first shares to the verdict, as a team would do it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from upliftlab.analysis import run
from upliftlab.cli import app
from upliftlab.errors import UpliftlabError
from upliftlab.experiment import Experiment

PLAN = """
name: moving
kind: smart_coupon
run: {start: 2026-10-08, end: 2026-10-21}
arms:
  none: {share: 40%, control: true}
  five: {share: 30%, coupon: 5, over: 99}
  twenty: {share: 30%, coupon: 20, over: 99}
costs: {margin: 35%}
assign: {adapt: {method: thompson, floor: 10%}}
data:
  units: {file: units.parquet, money: yuan}
"""


def told(*arguments):
    """What the command says."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    if isinstance(done.exception, UpliftlabError):
        return str(done.exception)
    return done.output


def outcomes(assigned, seed, week=0.0):
    """Purchases of these units: five yuan helps, twenty costs more than it brings."""
    rng = np.random.default_rng(seed)
    lift = assigned.arm.map({"none": 0, "five": 25.0, "twenty": 5.0}).to_numpy()
    buys = rng.random(len(assigned)) < 0.25
    gmv = np.where(buys, rng.lognormal(4.5, 0.5, len(assigned)) + lift + week, 0.0)
    cost = assigned.arm.map({"none": 0.0, "five": 1.0, "twenty": 9.0}).to_numpy()
    return assigned.assign(gmv=gmv, merchant_coupon=np.where(buys, cost, 0.0))


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A folder in which a test ran two epochs."""
    folder = tmp_path_factory.mktemp("moving")
    plan = folder / "experiment.yaml"
    plan.write_text(PLAN, encoding="utf-8")
    n = 14_000
    days = np.repeat(pd.date_range("2026-10-08", periods=14), n // 14)
    ids = [f"c{i:06d}" for i in range(n)]
    people = folder / "customers.parquet"
    pd.DataFrame({"unit": ids, "assigned_at": days}).to_parquet(people)
    told("assign", plan, "--ids", people, "--out", folder / "first.parquet")
    first = pd.read_parquet(folder / "first.parquet")
    early = outcomes(first[first.assigned_at < "2026-10-15"], 1)
    early.to_parquet(folder / "units.parquet")
    said = told("adapt", plan, "--since", "2026-10-15", "--json")
    told("assign", plan, "--ids", people, "--out", folder / "second.parquet")
    second = pd.read_parquet(folder / "second.parquet")
    late = outcomes(second[second.epoch == 2], 2, week=60.0)
    pd.concat([early, late]).to_parquet(folder / "units.parquet")
    return folder, first, second, json.loads(said)


def test_shares_move_to_what_earns(moved):
    """Five yuan earns; the others keep their floor."""
    _, _, second, said = moved

    assert said["shares"]["share"]["five"] > 0.6
    later = second[second.epoch == 2].arm.value_counts(normalize=True)
    assert later["five"] == pytest.approx(said["shares"]["share"]["five"], abs=0.02)
    assert later.min() > 0.08


def test_a_range_for_all_looks_is_part_of_the_answer(moved):
    """Ranges are wider than those of one look; the horizon is what the run would bring."""
    folder, _, _, said = moved
    looks = {look["arm"]: look for look in said["looks"]}

    for once in said["profits"]:
        look = looks[once["name"]]
        assert look["ci_low"] < once["ci_low"] < look["estimate"]
        assert look["estimate"] == pytest.approx(once["estimate"])
    assert said["log"]["epochs"][1]["why"]["tuned_at"] == pytest.approx(14_000, rel=0.01)
    assert (folder / "report" / "adapt.html").is_file()


def test_units_that_entered_keep_their_arm(moved):
    """Moving shares shuffles nobody."""
    _, first, second, _ = moved
    both = first.merge(second[second.epoch == 1], on="unit")

    assert (both.arm_x == both.arm_y).all()


def test_chances_are_logged_with_the_unit(moved):
    """Every unit carries the probability with which it got its arm."""
    _, _, second, said = moved
    late = second[second.epoch == 2]

    for arm, share in said["shares"]["share"].items():
        assert late[late.arm == arm].propensity.unique() == pytest.approx([share])


def test_the_answer_compares_within_epochs(moved):
    """The second week buys for 60 yuan more, mostly with five: nobody calls that a gain."""
    folder, *_ = moved
    found = run(Experiment.from_yaml(folder / "experiment.yaml"))
    units = pd.read_parquet(folder / "units.parquet")
    naive = units.groupby("arm").gmv.mean()

    gain = found.effects.contrast("gmv_platform", "five").estimate("gmv_platform")
    assert naive["five"] - naive["none"] > 9.0
    assert 3.0 < gain.estimate / 100 < 9.0
    assert found.checks[0].verdict != "fail"
    ratio = next(check for check in found.checks if check.name == "sample_ratio")
    assert ratio.verdict == "pass"
    assert "epochs weighed" in found.effects.method


def test_the_same_data_give_the_same_shares(moved):
    """Nothing random is left: the second look repeats the first."""
    folder, *_, said = moved
    log = json.loads((folder / "shares.json").read_text(encoding="utf-8"))

    assert log["epochs"][1]["share"] == said["shares"]["share"]
    assert log["epochs"][1]["why"]["best"] == said["shares"]["best"]


def test_an_epoch_in_the_past_is_refused(moved):
    """One sentence."""
    folder, *_ = moved

    assert told("adapt", folder / "experiment.yaml", "--since", "2026-10-12") == (
        "the next epoch is to begin on 2026-10-12 and the last one began on 2026-10-15; units "
        "that entered have their arms. Name a later day."
    )
