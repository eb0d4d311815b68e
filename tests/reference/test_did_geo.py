"""Geo tests: a published time-based regression and a published synthetic control.

Origins, in the ``*.reference.json`` beside the data: google/matched_markets' tests (numbers of
the R package GeoexperimentsResearch) and GeoLift's walkthrough.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from upliftlab.data.panel import NEVER, Panel
from upliftlab.panels.conformal import conformal
from upliftlab.panels.geo_regression import geo_regression
from upliftlab.panels.synthetic import synthetic_control
from upliftlab.panels.synthetic_did import synthetic_did

FIRST_TEST_DAY, FIRST_COOLDOWN_DAY = "2015-02-16", "2015-03-16"


@pytest.fixture(scope="module")
def sales_and_cost(shared_data):
    """100 regions, 93 days; a region without a row sold and cost nothing that day."""
    rows = pd.read_csv(shared_data("did/tbr_salesandcost.csv"))
    cube = np.stack(
        [
            rows.pivot_table(index="geo", columns="date", values=line).fillna(0.0).to_numpy()
            for line in ("sales", "cost")
        ],
        axis=2,
    )
    days = sorted(rows["date"].unique())
    treated = rows.groupby("geo")["geo_group"].first().to_numpy() == 2
    start = np.where(treated, days.index(FIRST_TEST_DAY), NEVER)
    return Panel.of_arrays(cube, start, names=("sales", "cost"), periods=days)


@pytest.fixture(scope="module")
def numbers(shared_data):
    """Published numbers."""
    return json.loads(shared_data("did/tbr_salesandcost.reference.json").read_text())


@pytest.fixture(scope="module")
def found(sales_and_cost):
    """The regression on control sales, up to the cooldown."""
    until = sales_and_cost.periods.index(FIRST_COOLDOWN_DAY)
    return geo_regression(sales_and_cost, regress_on=["sales"], until=until)


@pytest.fixture(scope="module")
def geolift(shared_data):
    """40 cities, 105 days; Chicago and Portland from day 90 on."""
    rows = pd.read_csv(shared_data("did/geolift_test.csv"))
    sales = rows.pivot_table(index="location", columns="date", values="Y").astype(float)
    start = np.where(sales.index.isin(["chicago", "portland"]), 90, NEVER)
    return Panel.of_arrays(
        sales.to_numpy(), start, units=sales.index, periods=sales.columns, names=["y"]
    )


@pytest.fixture(scope="module")
def geolift_numbers(shared_data):
    """Numbers of the walkthrough."""
    return json.loads(shared_data("did/geolift_test.reference.json").read_text())


def test_slope_and_totals_are_published(found, numbers):
    """Slope .9997001, 147337.122 incremental sales, 50000 incremental cost."""
    sales, cost = found.effect.value

    assert found.coefficients[1, 0] == pytest.approx(numbers["slope"], abs=1e-6)
    assert sales == pytest.approx(numbers["incremental_response"], abs=1e-3)
    assert cost == pytest.approx(numbers["incremental_cost"], abs=1e-6)
    # Theirs is the median of 10,000 random draws.
    assert found.relative("sales") == pytest.approx(numbers["relative_lift"], abs=2e-4)


def test_return_on_cost_is_published(found, numbers):
    """iROAS 2.946742, one-sided 90 % limit 2.826194: the lower end at level 80 %."""
    ratio = found.per_cost("sales", "cost", level=0.8)

    assert ratio.estimate == pytest.approx(numbers["iroas"], abs=1e-5)
    assert ratio.ci_low == pytest.approx(numbers["lower"], abs=1e-5)
    assert ratio.estimate - ratio.ci_low == pytest.approx(numbers["precision"], abs=1e-5)


def test_profit_turns_at_the_break_even_margin(found):
    """Margin x 147337 - 50000: 0 at .3394; not below 0 at one-sided 90 % from .3538 on."""
    margin = found.break_even_margin("sales", "cost", level=0.8)
    at_limit = found.profit("sales", "cost", margin=margin.ci_high, level=0.8)
    at_estimate = found.profit("sales", "cost", margin=margin.estimate, level=0.8)

    assert margin.estimate == pytest.approx(0.3394, abs=5e-5)
    assert margin.ci_high == pytest.approx(0.3538, abs=5e-5)
    assert at_estimate.estimate == pytest.approx(0.0, abs=1e-6)
    assert at_limit.ci_low == pytest.approx(0.0, abs=1e-6)


def test_geolift_headline_is_reproduced(geolift, geolift_numbers):
    """Effect 155.556, 5.4 %, 4667 in total, ten weights to four digits, L2 909.489."""
    found = synthetic_control(geolift, intercept=True, inference="none")

    cohort = found.cohorts[0]
    weights = dict(zip(geolift.units[cohort.donors], cohort.unit_weights, strict=True))
    assert found.effect.value[0] == pytest.approx(geolift_numbers["att"], abs=1e-3)
    assert found.total().value[0] == pytest.approx(geolift_numbers["incremental_y"], abs=0.5)
    assert found.percent("y") == pytest.approx(geolift_numbers["percent_lift"], abs=0.05)
    assert cohort.fit.l2 == pytest.approx(geolift_numbers["l2_imbalance"], abs=1e-3)
    assert cohort.fit.scaled_l2 == pytest.approx(geolift_numbers["scaled_l2"], abs=5e-5)
    assert cohort.fit.improvement_pct == pytest.approx(
        geolift_numbers["improvement_pct"], abs=5e-3
    )
    for city, weight in geolift_numbers["weights"].items():
        assert weights[city] == pytest.approx(weight, abs=5e-5)


def test_geolift_simulated_test_is_reproduced(shared_data):
    """Ten per cent more in Chicago and Portland for 15 days: 290.007, 8700, L2 868.598."""
    rows = pd.read_csv(shared_data("did/geolift_pretest.csv"))
    printed = json.loads(shared_data("did/geolift_pretest.reference.json").read_text())
    wanted = printed["simulated_10pct_chicago_portland"]
    sales = rows.pivot_table(index="location", columns="date", values="Y").astype(float)
    treated = sales.index.isin(["chicago", "portland"])
    y, first = sales.to_numpy().copy(), sales.shape[1] - 15
    y[treated, first:] *= 1.1
    panel = Panel.of_arrays(y, np.where(treated, first, NEVER))

    found = synthetic_control(panel, intercept=True, inference="none")

    assert found.effect.value[0] == pytest.approx(wanted["att"], abs=5e-3)
    assert found.total().value[0] == pytest.approx(wanted["incremental_y"], abs=1.0)
    assert found.percent("y") == pytest.approx(wanted["pct"], abs=0.05)
    assert found.cohorts[0].fit.l2 == pytest.approx(wanted["l2"], abs=5e-3)
    assert found.cohorts[0].fit.scaled_l2 == pytest.approx(wanted["scaled_l2"], abs=5e-5)


def test_geolift_p_value_is_reproduced(geolift, geolift_numbers):
    """Random orders, mean size of residuals: .016 here, .01 printed from another seed."""
    found = conformal(geolift, intercept=True, scheme="iid", statistic="size")

    assert found.effect.p_value == pytest.approx(geolift_numbers["p_value"], abs=0.01)


def test_methods_agree_on_a_coupon_of_known_effect(shared_data):
    """Regression and SDID hold the true totals of sales and profit within 3 SE."""
    rows = pd.read_parquet(shared_data("did/synthetic_geo_coupon.parquet"))
    truth = json.loads(shared_data("did/synthetic_geo_coupon.reference.json").read_text())
    names = ("sales", "coupon_cost", "profit")
    cube = np.stack(
        [rows.pivot_table(index="geo", columns="day", values=n).to_numpy() for n in names],
        axis=2,
    )
    treated = rows.groupby("geo")["treated"].max().to_numpy() > 0
    panel = Panel.of_arrays(cube, np.where(treated, 100, NEVER), names=names)

    regression = geo_regression(panel, regress_on=["sales"])
    weighted = synthetic_did(panel, fit_on="sales", draws=60)

    for effect in (regression.effect, weighted.total()):
        for name in ("sales", "profit"):
            one = effect.estimate(name)
            assert abs(one.estimate - truth[f"{name}_total"]) < 3 * one.std_error
