"""What goes on record is what the analysis said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from upliftlab.analysis import run
from upliftlab.experiment import Experiment
from upliftlab.registry.from_analysis import record_of
from upliftlab.registry.reading import record_from
from upliftlab.registry.record import Record

PLAN = """
name: spring-coupon
owner: Li Wei
kind: smart_coupon
run: {start: 2026-07-06, end: 2026-07-19}
eligible_customers: 100000
arms:
  none: {share: 40%, control: true}
  ten: {share: 30%, coupon: 10, over: 99}
  twenty: {share: 30%, coupon: 20, over: 99}
costs: {margin: 35%}
data:
  units: {file: units.csv, money: yuan, columns: {unit: uid, arm: grp}}
"""


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    """A small coupon test with two depths and one control."""
    import pandas as pd

    rng = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("plan")
    arm = np.repeat(["none", "ten", "twenty"], [4_000, 3_000, 3_000])
    depth = np.repeat([0.0, 10.0, 20.0], [4_000, 3_000, 3_000])
    buys = rng.random(10_000) < 0.2 + 0.002 * depth
    sales = np.round(rng.lognormal(4.7, 0.4, 10_000), 2) * buys
    pd.DataFrame(
        {
            "uid": np.arange(10_000),
            "grp": arm,
            "gmv_platform": sales,
            "merchant_coupon": depth * buys,
        }
    ).to_csv(folder / "units.csv", index=False)
    return run(Experiment.from_text(PLAN, base=folder))


def test_a_record_says_what_the_analysis_said(analysis):
    """Profit, totals, spend, ladder and verdict are those of the analysis."""
    record = record_of(analysis)
    arm, profit = record.arm("twenty"), analysis.profit_of("twenty")

    assert (record.quarter, record.status) == ("2026Q3", "read")
    assert (record.mechanism, record.owner) == ("smart_coupon: gmv", "Li Wei")
    assert arm.profit == profit.profit
    assert arm.realised == profit.realised
    assert arm.rollout == profit.rollout
    assert arm.rollout_n == 100_000
    assert arm.spend.estimate == pytest.approx(profit.campaign_cost.estimate * profit.n)
    assert sum(line.effect.estimate for line in arm.lines) == pytest.approx(arm.profit.estimate)
    assert arm.verdict == analysis.decisions[1].verdict
    assert arm.depth == 2_000


def test_arm_means_give_back_every_contrast_and_what_they_share(analysis):
    """Differences of recorded means are the recorded effects; a shared control correlates."""
    record = record_of(analysis)
    means = record.means
    cov = np.array(means.cov)
    control = means.at("none", "profit")

    for arm in record.arms:
        i = means.at(arm.arm, "profit")
        a = means.arms.index(arm.arm)
        assert means.mean[a][0] - means.mean[0][0] == pytest.approx(arm.profit.estimate)
        variance = cov[i, i] + cov[control, control] - 2 * cov[i, control]
        assert variance == pytest.approx(arm.profit.std_error**2)
    cost = means.names.index("campaign_cost")
    spend = means.mean[means.arms.index("ten")][cost] - means.mean[0][cost]
    assert spend * record.arm("ten").n == pytest.approx(record.arm("ten").spend.estimate)


def test_a_record_survives_json(analysis):
    """What is written is read back as the same record."""
    record = record_of(analysis)
    text = json.dumps(record.to_dict(), allow_nan=False)
    again = record_from(json.loads(text))

    assert again.to_dict() == record.to_dict()
    assert again.arm("ten").profit == record.arm("ten").profit
    assert again.means == record.means


def test_keys_from_elsewhere_are_left_out():
    """A key that this version does not know is no reason to lose the record."""
    assert record_from({"name": "a", "colour": "blue"}) == Record(name="a")
