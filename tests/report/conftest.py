"""Analyses to report on: a coupon test on order tables, and e-mails on a unit table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from upliftlab import report, simulate
from upliftlab.analysis import run
from upliftlab.checks import FAIL, SAMPLE_RATIO, Check
from upliftlab.experiment import Experiment

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
