"""From a plan to what its test would show."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from upliftlab.design import design
from upliftlab.design.looked import looks_of
from upliftlab.errors import DataError, DefinitionError, DesignError
from upliftlab.experiment import Experiment
from upliftlab.monitor.rules import bound_of, rules_of
from upliftlab.stats.power import TwoMeans

PLAN = """
name: spring
kind: smart_coupon
run: {start: 2026-10-05, end: 2026-10-18}
follow_up: 14 days
returns_final_after: 21 days
eligible_customers: 1200000
arms: {none: {share: 50%, control: true}, ten: {share: 50%, coupon: 10, over: 99}}
costs: {margin: 35%}
power:
  weekly: 60000
  effects: {profit: 0.10 yuan, conversion: 0.5 points}
  stated: {profit: {mean: 2.78, sd: 14.2}, conversion: {mean: 8.4%}}
  belief: {sd: 0.2}
"""


def plan(text=PLAN, **changes):
    for old, new in changes.get("swap", {}).items():
        assert old in text
        text = text.replace(old, new)
    return Experiment.from_text(text)


def test_stated_means_give_the_closed_form():
    """Twice the units that one arm needs, in whole weeks, and a year's worth of words."""
    found = design(plan())
    n = TwoMeans(sd=1420.0).size(10.0)

    assert found.needed == pytest.approx(2 * n)
    assert found.planned == 120_000
    assert found.needed_days == 7 * math.ceil(2 * n / 60_000)
    assert found.verdict == "no realistic test" if found.needed_days > 182 else "run it"
    profit = found.size("profit", "ten")
    assert profit.power == pytest.approx(TwoMeans(sd=1420.0).power(10.0, 60_000))
    assert profit.mde == pytest.approx(TwoMeans(sd=1420.0).effect(60_000))
    conversion = found.size("conversion", "ten")
    sd = math.sqrt(0.084 * 0.916)
    assert conversion.n == pytest.approx(2 * TwoMeans(sd=sd).size(0.005))
    json.dumps(found.to_dict(), allow_nan=False)


def test_shares_arms_correlation_and_looks_all_count():
    """Unequal shares, a correlation of 60 %, three arms and four looks."""
    text = PLAN.replace(
        "{none: {share: 50%, control: true}, ten: {share: 50%, coupon: 10, over: 99}}",
        "{none: {share: 40%, control: true}, ten: {share: 30%, coupon: 10, over: 99},"
        " twenty: {share: 30%, coupon: 20, over: 99}}",
    ).replace("{mean: 2.78, sd: 14.2}", "{mean: 2.78, sd: 14.2, correlation: 60%}")
    once = design(plan(text))
    looked = design(plan(text, swap={"weekly: 60000": "weekly: 60000\n  looks: 4"}))

    size = once.size("profit", "ten")
    assert 0.025 < size.alpha < 0.05
    alone = TwoMeans(sd=1420.0 * 0.8, ratio=0.75, alpha=size.alpha)
    assert size.n == pytest.approx(alone.size(10.0) / 0.4)
    assert looked.inflation == pytest.approx(1.024, abs=0.01)
    assert looked.size("profit", "ten").n == pytest.approx(size.n * looked.inflation, rel=1e-3)
    assert once.best_shares["none"] == pytest.approx(math.sqrt(2) / (2 + math.sqrt(2)))


@pytest.mark.parametrize(
    "looks",
    [
        "{planned: 120000, method: group_sequential}",
        "{planned: 120000, method: group_sequential, spending: pocock}",
        "{planned: 120000, every: 2 days}",
        "{planned: 120000, every: 14 days}",
    ],
)
def test_a_plan_that_says_how_it_is_looked_at_is_sized_for_those_looks(looks):
    """40,000 paths of z with the drift of the larger sample: four in five cross at some look.

    The bounds are those of the monitor, so the promise is what `upliftlab monitor` keeps.
    """
    experiment = plan(PLAN + f"looks: {looks}\n")
    found, rules = design(experiment), rules_of(experiment)
    at = [k / looks_of(experiment) for k in range(1, looks_of(experiment) + 1)]
    bounds = np.array([bound_of(rules, f, at[:k]) for k, f in enumerate(at)])
    step = np.diff([0.0, *at])
    drift = math.sqrt(found.inflation) * (1.959964 + 0.841621)
    noise = np.random.default_rng(7).normal(size=(40_000, len(at)))
    score = np.cumsum(drift * step + noise * np.sqrt(step), axis=1)
    seen = (score / np.sqrt(at) > bounds).any(axis=1).mean()

    assert seen == pytest.approx(0.8, abs=0.007)
    assert found.planned == 120_000
    assert found.needed == pytest.approx(design(plan()).needed * found.inflation, rel=1e-3)


def test_always_valid_looks_at_the_end_alone_have_a_closed_form():
    """Bound 3.035 (case E6) in the place of 1.96: (3.0352 + .8416)^2 / 2.8016^2."""
    found = design(plan(PLAN + "looks: {planned: 120000, every: 14 days}\n"))

    assert found.inflation == pytest.approx((3.03519 + 0.841621) ** 2 / 2.801585**2, rel=1e-4)


def test_a_run_that_ends_elsewhere_than_looks_were_tuned_for_is_told():
    """400,000 units planned for looks, 120,000 in two weeks."""
    found = design(plan(PLAN + "looks: {planned: 400000}\n"))
    (risk,) = [each for each in found.risks if each.text.startswith("Early looks")]

    assert risk.state == "warn"
    assert risk.text.endswith(
        "They are tuned for 400,000 units at the end, and the run brings 120,000."
    )
    assert risk.instead == "looks.planned: 120000"


def test_looks_are_said_once():
    """A plan with looks of its own has none in power."""
    swap = {"weekly: 60000": "weekly: 60000\n  looks: 4"}
    with pytest.raises(DefinitionError) as found:
        plan(PLAN + "looks: {planned: 120000}\n", swap=swap)

    assert str(found.value).endswith(
        "the plan says in looks how it is looked at, and power.looks is 4 beside it; the "
        "design reads looks: leave power.looks out."
    )


def test_a_test_for_everybody_may_not_be_enough():
    """Depth 5 earns 0.035 per customer: millions are needed, and the answer says so."""
    found = design(plan(swap={"profit: 0.10 yuan": "profit: 0.035 yuan"}))

    assert found.verdict == "no realistic test"
    assert found.needed > 4e6
    assert "there are 1,200,000" in found.reasons[0]


def test_a_test_may_cost_more_than_it_is_worth():
    """A fixed cost above the value of perfect knowledge."""
    text = PLAN.replace("belief: {sd: 0.2}", "belief: {sd: 0.2}\n  fixed_cost: 10000000")
    found = design(plan(text, swap={"profit: 0.10 yuan": "profit: 0.2 yuan"}))

    assert found.worth.perfect == pytest.approx(1_200_000 * 20 * 0.39894, rel=1e-3)
    assert found.worth.net == pytest.approx(found.worth.information - 1e9)
    assert found.verdict == "not worth its cost"


def test_no_effect_no_size():
    """Nobody named an effect: no number of units, but the smallest effect stands."""
    text = PLAN.replace("effects: {profit: 0.10 yuan, conversion: 0.5 points}", "seed: 2")
    found = design(plan(text))

    assert found.verdict == "name an effect"
    assert math.isnan(found.needed)
    assert found.size("profit", "ten").mde > 0


@pytest.fixture(scope="module")
def pilot_tables():
    """4,000 customers whose profit before explains half of profit."""
    rng = np.random.default_rng(8)
    before = rng.gamma(1.0, 10.0, 4000)
    buys = rng.random(4000) < 0.3
    gmv = np.round(np.where(buys, 60 + 4 * before + rng.gamma(2.0, 20.0, 4000), 0.0), 2)
    arm = np.where(np.arange(4000) % 2, "ten", "none")
    units = pd.DataFrame(
        {
            "unit": [f"u{i}" for i in range(4000)],
            "arm": arm,
            "gmv_merchant": gmv,
            "buyers": buys.astype(int),
            "merchant_coupon": np.where(buys & (arm == "ten"), 8.0, 0.0),
            "spent_before": np.round(before, 4),
            "team": [f"t{i // 8}" for i in range(4000)],
        }
    )
    return {"units": units}


MEASURED = """
name: measured
kind: smart_coupon
run: {start: 2026-10-05, end: 2026-10-18}
arms: {none: {share: 50%, control: true}, ten: {share: 50%, coupon: 10, over: 99}}
costs: {margin: 35%}
covariates: [spent_before]
decide: {worth_it: 0.5, must_not_worsen: {conversion: 2 points}}
power: {weekly: 2000}
data: {units: {file: units.csv, money: yuan}}
"""


def test_a_pilot_is_measured_not_assumed(pilot_tables):
    """Spread, adjustment and campaign money as numpy has them."""
    found = design(Experiment.from_text(MEASURED), pilot_tables)
    units = pilot_tables["units"]
    control = units[units["arm"] == "none"]
    spread = found.pilot.spreads[0]

    assert spread.sd["none"] == pytest.approx(35 * control["gmv_merchant"].std(), rel=1e-9)
    r = np.corrcoef(control["gmv_merchant"], control["spent_before"])[0, 1]
    assert spread.kept["ten"] == pytest.approx(1 - r**2, abs=0.05)
    x = control["gmv_merchant"]
    kurtosis = ((x - x.mean()) ** 4).mean() / ((x - x.mean()) ** 2).mean() ** 2
    assert spread.kurtosis == pytest.approx(kurtosis, rel=1e-6)
    coupon = units[units["arm"] == "ten"]["merchant_coupon"].mean()
    assert found.pilot.campaign["ten"] == pytest.approx(100 * coupon, rel=1e-3)
    size = found.size("profit", "ten")
    assert size.n_low < size.n < size.n_high
    assert size.source == "worth_it"
    guard = found.size("conversion", "ten")
    assert guard.role == "guardrail"
    assert guard.alpha == pytest.approx(0.025)


def _skewness(values):
    gap = values - values.mean()
    return (gap**3).mean() / (gap**2).mean() ** 1.5


def test_skewness_is_that_of_what_is_compared(pilot_tables):
    """After adjustment for customers, of the totals of teams where teams are assigned."""
    units = pilot_tables["units"].copy()
    profit = 35 * units["gmv_merchant"] - 65 * units["merchant_coupon"]
    found = design(Experiment.from_text(MEASURED), pilot_tables).pilot.spreads[0]
    for arm in ("none", "ten"):
        mine = units["arm"] == arm
        slope = np.polyfit(units["spent_before"][mine], profit[mine], 1)
        left = profit[mine] - np.polyval(slope, units["spent_before"][mine])
        assert found.skew[arm] == pytest.approx(_skewness(left), rel=1e-6)
    assert found.skew["none"] != pytest.approx(found.skewness, rel=0.05)

    team = np.arange(4000) // 8
    units["arm"] = np.where(team % 2, "ten", "none")
    text = MEASURED.replace(
        "name: measured", "name: measured\ndesign: cluster_split\ncluster: team"
    ).replace("covariates: [spent_before]\n", "")
    found = design(Experiment.from_text(text), {"units": units}).pilot.spreads[0]
    mine = units["arm"] == "none"
    totals = profit[mine].groupby(units["team"][mine]).sum()
    assert found.skew["none"] == pytest.approx(np.sqrt(8) * _skewness(totals), rel=1e-6)


def test_unequal_arms_see_gains_and_losses_unequally(pilot_tables):
    """Few treated customers of skewed profit: losses must be larger, and the page says so."""
    text = MEASURED.replace("none: {share: 50%", "none: {share: 90%")
    text = text.replace("ten: {share: 50%", "ten: {share: 10%")
    text = text.replace("worth_it: 0.5", "worth_it: 3.2")
    found = design(Experiment.from_text(text), pilot_tables)
    size = found.size("profit", "ten")

    assert size.mde < 0.98 * size.mde_loss
    assert size.power > size.power_loss
    said = next(risk.text for risk in found.risks if risk.text.startswith("Gains and losses."))
    assert "losses must be" in said
    even = design(Experiment.from_text(MEASURED), pilot_tables)
    assert not [risk for risk in even.risks if risk.text.startswith("Gains and losses.")]


def test_clusters_are_measured_too(pilot_tables):
    """Clusters without resemblance have a design effect near 1, and are counted."""
    text = MEASURED.replace(
        "name: measured", "name: measured\ndesign: cluster_split\ncluster: team"
    )
    units = pilot_tables["units"].copy()
    team = np.arange(4000) // 8
    units["arm"] = np.where(team % 2, "ten", "none")
    rng = np.random.default_rng(9)
    shock = rng.gamma(0.2, 100.0, 500)
    units["gmv_merchant"] = np.round(units["gmv_merchant"] + shock[team], 2)
    found = design(Experiment.from_text(text), {"units": units})

    assert found.pilot.clusters == 500
    assert found.pilot.cluster_size == pytest.approx(8)
    own = units["gmv_merchant"].var()
    assert found.pilot.icc == pytest.approx(2000 / own, rel=0.35)
    assert (
        found.size("profit", "ten").n
        > 1.5 * design(Experiment.from_text(MEASURED), pilot_tables).size("profit", "ten").n
    )


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (
            {"profit: {mean: 2.78, sd: 14.2}, conversion": "conversion"},
            DesignError,
            (
                "experiment 'spring' has neither data nor a pilot, and does not state how "
                "profit varies; add power.pilot, or power.stated: {profit: {mean: 2.78, "
                "sd: 14.2}}."
            ),
        ),
        (
            {"sd: 14.2": "sd: 0"},
            DefinitionError,
            (
                "experiment.yaml:13: power.stated.profit.sd is 0; a metric that does "
                "not vary has no power to plan: write a number above 0."
            ),
        ),
        (
            {
                "share: 50%, coupon": "share: 0%, coupon",
                "{share: 50%, control": "{share: 100%, control",
            },
            DefinitionError,
            "experiment.yaml:8: arms.ten.share is '0%'; give the arm a share or remove it.",
        ),
        (
            {"profit: 0.10 yuan": "profit: 1 point"},
            DefinitionError,
            (
                "experiment.yaml:12: power.effects.profit is '1 point'; profit is money: "
                "write 0.05 yuan per unit, or 2% of control."
            ),
        ),
        (
            {"weekly: 60000": "weekly: 60000\n  pilot: nowhere.yaml"},
            DataError,
            ("experiment 'spring' reads its pilot from 'nowhere.yaml'; no such file is there."),
        ),
        (
            {"belief: {sd: 0.2}": "belief: {sd: 0}"},
            DefinitionError,
            (
                "experiment.yaml:14: power.belief.sd is '0 CNY'; who is certain needs no "
                "test; write an amount above 0."
            ),
        ),
    ],
)
def test_what_cannot_be_planned_is_refused(change, kind, message):
    """One sentence with the place and the fix."""
    with pytest.raises(kind) as found:
        design(plan(swap=change))

    assert str(found.value) == message


def test_a_pilot_that_does_not_vary_is_refused(pilot_tables):
    """Zero variance is an error with the way out, never an infinite power."""
    units = pilot_tables["units"].assign(gmv_merchant=0.0, merchant_coupon=0.0)
    with pytest.raises(DesignError) as found:
        design(Experiment.from_text(MEASURED), {"units": units})

    assert str(found.value) == (
        "metric 'profit' does not vary among the 2,000 customers of arm 'none' of the pilot; "
        "it has no power to plan. Take a larger pilot, or state it: power.stated: {profit: "
        "{mean: ..., sd: ...}}."
    )


def test_a_design_can_be_run_many_times(pilot_tables):
    """Customers drawn from the pilot see the promised effect about as often as promised."""
    found = design(Experiment.from_text(MEASURED), pilot_tables, simulate=300)
    seen = found.simulated["ten"]

    assert seen.runs == 300
    assert seen.power == pytest.approx(0.8, abs=0.09)
    again = design(Experiment.from_text(MEASURED), pilot_tables, simulate=300)
    assert again.simulated["ten"].power == seen.power
