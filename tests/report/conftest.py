"""Analyses to report on: a coupon test on order tables, and e-mails on a unit table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from upliftlab import report, simulate
from upliftlab.analysis import run
from upliftlab.checks import FAIL, SAMPLE_RATIO, WARN, Check
from upliftlab.experiment import Experiment
from upliftlab.stats.estimate import interval, undefined
from upliftlab.targeting.answer import (
    Candidate,
    Conflict,
    CurvePoint,
    Fairness,
    Frontier,
    Group,
    Leaf,
    LeftToChance,
    RuleWorth,
    Score,
    Spend,
    Targeting,
    Trait,
)

CUSTOMERS = 6_000

PLAN = """
name: jacket-coupon
question: Does a 5, 10 or 20 yuan coupon over 99 earn profit we would not have had anyway?
owner: Li Wei
kind: smart_coupon
goal: new_customer
run: {start: 2026-06-01, end: 2026-06-14}
follow_up: 60 days
returns_final_after: 21 days
eligible_customers: 1200000
arms:
  none:      {share: 25%, control: true}
  coupon_5:  {share: 25%, coupon: 5,  over: 99}
  coupon_10: {share: 25%, coupon: 10, over: 99}
  coupon_20: {share: 25%, coupon: 20, over: 99}
who_pays: from_orders
costs: {preset: douyin_apparel, outbound: 3.2, tech_fee: 4.4%}
decide:
  worth_it: 0.05
  must_not_worsen: {return_rate: 1 point}
  segments: [is_new_customer]
data:
  as_of: 2026-12-31
  assignments: {file: assignments.parquet}
  order_lines: {file: order_lines.parquet}
  refunds: {file: refunds.parquet}
  users: {file: users.parquet}
  exposures: {file: exposures.parquet}
  coupon_events: {file: coupon_events.parquet}
"""

HOSTILE = "<script>alert(1)</script> & 女装"


@pytest.fixture(scope="session")
def coupon(tmp_path_factory):
    """Analysis of a small simulated coupon test."""
    folder = tmp_path_factory.mktemp("orders") / "data"
    simulate.write(simulate.preset("gmv_up_profit_down", customers=CUSTOMERS, seed=11), folder)
    return run(Experiment.from_text(PLAN, base=folder))


@pytest.fixture(scope="session")
def emails():
    """Analysis of e-mails in dollars: no coupons, no window, no segments, hostile names."""
    rng = np.random.default_rng(3)
    arms = ["control", "mens", HOSTILE]
    arm = rng.choice(arms, 3_000)
    gmv = rng.exponential(40, 3_000) * (rng.random(3_000) < 0.2)
    gmv *= 1 + 0.5 * (arm == "mens")
    rows = pd.DataFrame({"customer": range(3_000), "arm": arm, "kept_sales": gmv.round(2)})
    rows["customer"] = rows["customer"].astype(str)
    plan = Experiment(
        name="autumn-mail",
        owner=HOSTILE,
        question=f"Do e-mails pay? {HOSTILE}",
        kind="custom",
        currency="USD",
        arms={
            "control": {"share": "1/3", "control": True},
            "mens": {"share": "1/3", "contact": 0.1},
            HOSTILE: {"share": "1/3", "contact": 0.1},
        },
        costs={"margin": "40%"},
        data={
            "units": {
                "file": "units.csv",
                "money": "dollars",
                "columns": {"unit": "customer", "arm": "arm", "kept_sales": "kept_sales"},
            }
        },
    )
    return run(plan, {"units": rows})


@pytest.fixture(scope="session")
def blocked(coupon):
    """Analysis whose sample ratio failed after all passing checks."""
    failed = Check(
        name=SAMPLE_RATIO,
        verdict=FAIL,
        message="Sample ratio: arms have 9 / 1 customers, planned 5 / 5 (p 1.0e-09): not so.",
        value=1e-9,
        threshold=0.001,
    )
    others = tuple(check for check in coupon.checks if check.name != SAMPLE_RATIO)
    return replace(coupon, checks=(*others, failed))


def estimated(value, error=1.0, **more):
    """An estimate in fen around a value."""
    return replace(interval("extra profit", value, error**2), **more)


@pytest.fixture(scope="session")
def chosen(coupon):
    """The coupon test with an answer to who should get it, made by hand; hostile names."""
    leaves = (
        Leaf(path=("is_new_customer = yes",), arm="coupon_20", share=0.25,
             effect=estimated(33.6, 9)),
        Leaf(path=("is_new_customer = no", f"city = {HOSTILE}"), arm="coupon_5", share=0.3,
             effect=estimated(1.2, 4)),
        Leaf(path=("is_new_customer = no", f"city is not {HOSTILE} or missing"), arm="none",
             share=0.45, effect=undefined("extra profit", "nothing is given")),
    )  # fmt: skip
    rules = tuple(
        RuleWorth(
            name=name,
            label=name,
            kind=kind,
            value=estimated(value, 2.0),
            against_best=estimated(value - 0.5, 2.2),
            cost=estimated(80.0, 1.0),
            iroi=estimated(value / 80, 0.02),
            total=estimated(value, 2.0).scaled(1_200_000),
            treated={"none": 1 - share, "coupon_20": share},
            features=("is_new_customer", HOSTILE),
            is_exported=name == "tree",
        )
        for name, kind, value, share in (
            ("tree", "learned", 8.4, 0.25),
            ("model", "learned", 8.1, 0.31),
            ("nobody", "constant", 0.0, 0.0),
            ("everybody:coupon_20", "constant", -18.6, 1.0),
            ("response", "baseline", -3.0, 0.25),
            ("random", "baseline", -4.6, 0.25),
        )
    )
    points = tuple(
        CurvePoint(
            x=i / 20,
            effect=estimated(8 - 40 * (i / 20 - 0.4) ** 2, 2.0),
            low=2 - 40 * (i / 20 - 0.4) ** 2,
            high=14 - 40 * (i / 20 - 0.4) ** 2,
            share=i / 20,
            margin=0.4 - i / 20,
            spend=estimated(80 * i / 20, 1.0),
        )
        for i in range(21)
    )
    money = tuple(replace(p, x=p.x * 9e7, effect=p.effect.scaled(1.2e6), low=p.low * 1.2e6,
                          high=p.high * 1.2e6) for p in points)  # fmt: skip
    found = Targeting(
        verdict="rule",
        finding="The tree earns more than the best of all or none.",
        estimand="Extra profit of the exported rule within 60 days.",
        learned=3_000,
        valued=3_000,
        features=("is_new_customer", HOSTILE),
        dropped={"constant": "it is the same for everyone"},
        learner="fast",
        candidates=(Candidate(name="fast", gain=0.001, std_error=0.0004, is_chosen=True),),
        rules=rules,
        tree=leaves,
        curve=points,
        frontier=Frontier(points=money, best=8, indistinct=(2e7, 6e7), target_iroi=0.0,
                          planned=4e7, comparison={"as many at random": money[:12]},
                          note="Money is counted in expectation."),
        groups=tuple(
            Group(label=f"{word} fifth", share=0.2, predicted=20.0 - 10 * i,
                  effect=estimated(18.0 - 9 * i, 6.0))
            for i, word in enumerate(("top", "second", "third", "fourth", "last"))
        ),
        traits=(Trait(feature=HOSTILE, best=0.9, worst=0.1, difference=estimated(0.8, 0.1)),),
        calibration=estimated(0.92, 0.3),
        importance={"is_new_customer": 0.8, HOSTILE: 0.2},
        scores=(Score(name="autoc", library="grf", definition="area under TOC",
                      value=estimated(3.2, 1.0)),),
        spend=(
            Spend(arm="coupon_20", total=estimated(120.0, 3.0), wasted_low=60.0,
                  wasted_high=110.0, interval=(54.0, 116.0), wasted=estimated(90.0, 3.0),
                  later=undefined("later", "no window after the coupon's end")),
        ),
        conflict=Conflict(share=0.27, effect=estimated(-12.0, 4.0), by_gmv=estimated(2.0, 3.0),
                          by_profit=estimated(8.0, 2.0), cost=estimated(6.0, 3.0)),
        fairness=(Fairness(column="is_member", level=HOSTILE, share=0.3,
                           treated=estimated(0.2, 0.01), gain=estimated(4.0, 3.0)),),
        exploration=LeftToChance(share=0.05, cost=estimated(0.4, 0.1)),
        robustness=("With a placebo treatment the rule earns nothing.",),
        rule={"version": 1, "kind": "tree", "arms": ["none", HOSTILE]},
        sql="CASE WHEN \"is_new_customer\" THEN 'coupon_20' ELSE 'none' END",
        sql_spark="CASE WHEN `is_new_customer` THEN 'coupon_20' ELSE 'none' END",
        checks=(Check(name="leakage", verdict=WARN, message=f"Column {HOSTILE} is late."),),
    )  # fmt: skip
    return replace(coupon, targeting=found)


@pytest.fixture(scope="session")
def chosen_page(chosen):
    """Its page."""
    return report.render_html(chosen)


@pytest.fixture(scope="session")
def coupon_page(coupon):
    """Its page."""
    return report.render_html(coupon)


@pytest.fixture(scope="session")
def emails_page(emails):
    """Its page."""
    return report.render_html(emails)


@pytest.fixture(scope="session")
def blocked_page(blocked):
    """Its page."""
    return report.render_html(blocked)


@pytest.fixture(scope="session")
def templates():
    """Folder of the page's templates."""
    return Path(report.__file__).parent / "templates"


PLANNED = """
name: spring-coupon
question: How many customers tell us what a 10 or a 20 yuan coupon earns?
owner: Li <b>Wei</b>
kind: smart_coupon
run: {start: 2026-10-05, end: 2026-10-18}
follow_up: 60 days
returns_final_after: 21 days
eligible_customers: 3000000
arms:
  none: {share: 40%, control: true}
  ten: {share: 30%, coupon: 10, over: 99}
  twenty: {share: 30%, coupon: 20, over: 99}
costs: {margin: 35%}
decide: {must_not_worsen: {return_rate: 2%}}
power:
  effects: {profit: 0.20 yuan, conversion: 0.5 points}
  stated:
    profit: {mean: 2.78, sd: 14.2, correlation: 40%}
    conversion: {mean: 8.4%}
    return_rate: {mean: 30%, sd: 1.1}
  weekly: 60000
  returning: 30%
  looks: 4
"""

WAVES = """
name: commission-waves
kind: custom
design: staggered
unit: creator
cluster: agency
period: week
arms: {old: {control: true}, new: {}}
costs: {margin: 35%}
decide: {worth_it: 20}
power: {waves: 3, belief: {sd: 15}, fixed_cost: 5000}
"""


@pytest.fixture(scope="session")
def planned():
    """A design from stated means: two arms, a guardrail, looks, visitors who return."""
    from upliftlab.design import design

    return design(Experiment.from_text(PLANNED))


@pytest.fixture(scope="session")
def planned_page(planned):
    """Its page."""
    from upliftlab.report.planning import render_plan_html

    return render_plan_html(planned)


@pytest.fixture(scope="session")
def laid_out():
    """A roll-out of 40 agencies in three waves, from twelve weeks before."""
    from upliftlab.data.panel import NEVER, Panel
    from upliftlab.design import design

    rng = np.random.default_rng(3)
    y = 50_000 + 9_000 * rng.normal(size=(40, 12)) + 20_000 * rng.normal(size=(40, 1))
    panel = Panel.of_arrays(
        y, [NEVER] * 40, names=("kept_sales",), units=[f"agency {i}" for i in range(40)]
    )
    return design(Experiment.from_text(WAVES), {"panel": panel})


@pytest.fixture(scope="session")
def laid_out_page(laid_out):
    """Its page."""
    from upliftlab.report.planning import render_plan_html

    return render_plan_html(laid_out)


MOVING = """
name: moving
kind: smart_coupon
run: {start: 2026-10-08, end: 2026-11-04}
arms:
  none: {share: 40%, control: true}
  five: {share: 30%, coupon: 5, over: 99}
  twenty: {share: 30%, coupon: 20, over: 99}
costs: {margin: 35%}
assign: {adapt: {method: thompson, floor: 10%}}
"""


@pytest.fixture(scope="session")
def adapted():
    """A plan whose third epoch is set: five yuan earns, twenty loses a guardrail."""
    from datetime import date

    from upliftlab.adaptive.log import first_log
    from upliftlab.adaptive.move import Move
    from upliftlab.adaptive.sequence import TOO_EARLY, Look
    from upliftlab.adaptive.shares import NextShares

    plan = Experiment.from_text(MOVING)
    why = {"units": {"none": 2_800, "five": 5_400, "twenty": 2_000}, "tuned_at": 28_000.0}
    second = {"none": 0.21, "five": 0.69, "twenty": 0.1}
    third = {"none": 0.1, "five": 0.9, "twenty": 0.0}
    log = first_log(plan)
    log = log.with_epoch(date(2026, 10, 15), second, why)
    log = log.with_epoch(date(2026, 10, 22), third, why)

    def look(arm, epoch, value, reach, note=""):
        return Look(
            arm=arm, epoch=epoch, units=4_000, estimate=value, std_error=reach / 3,
            ci_low=value - reach, ci_high=value + reach, p_value=0.01, information=0.5,
            note=note,
        )  # fmt: skip

    nan = float("nan")
    seen = (
        look("five", "1", 210.0, nan, TOO_EARLY), look("five", "2", 245.0, 138.0),
        look("twenty", "1", -70.0, nan, TOO_EARLY), look("twenty", "2", -115.0, 146.0),
    )  # fmt: skip
    shares = NextShares(
        share=third,
        best={"none": 0.001, "five": 0.999, "twenty": 0.0},
        dropped={"twenty": "return rate is worse than it may be"},
        method="thompson",
    )
    return plan, Move(since=date(2026, 10, 22), shares=shares, profits=(), looks=seen, log=log)


@pytest.fixture(scope="session")
def adapt_page(adapted):
    """Its page."""
    from upliftlab.report.adapting import render_adapt_html

    return render_adapt_html(*adapted)


@pytest.fixture(scope="session")
def watched_page():
    """The page of a running test: three looks, a guardrail and a metric with bounds."""
    from datetime import date

    from tests.monitor.conftest import PLAN, unit_table

    from upliftlab.experiment import Experiment
    from upliftlab.monitor.run import look
    from upliftlab.report.looks import render_looks_html

    text = PLAN.replace("every: 1 day", "every: 2 days, bounded: {buyers: [0, 1]}")
    text += "decide: {must_not_worsen: {buyers: 2%}}\nmetrics: {buyers: {mean: buyers}}\n"
    plan, units = Experiment.from_text(text), unit_table(effect=12.0)
    found = [look(plan, {"units": units}, as_of=date(2026, 6, day)) for day in (10, 12, 14)]
    last = found[-1]
    looks = tuple(each.now for each in found)
    return render_looks_html(replace(last, looks=looks))
