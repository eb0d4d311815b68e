"""Proposition 99, Kansas and a geo coupon: synthetic controls against published numbers.

Origins, all in the ``*.reference.json`` beside the data: Arkhangelsky et al. (2021), table 1,
and two programs that agree to 11 digits (SDID -15.603828); augsynth's vignette (Kansas); own
generator (geo coupon, truth = realised effect on the treated).
"""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from upliftlab.data.panel import NEVER, Panel
from upliftlab.panels.conformal import conformal
from upliftlab.panels.ridge_augmented import ridge_augmented
from upliftlab.panels.synthetic import synthetic_control
from upliftlab.panels.synthetic_did import noise_level, synthetic_did
from upliftlab.panels.two_way import twfe

LINES = ("sales", "coupon_cost", "profit")


def wide(path, unit, period, value):
    """One row per unit, one column per period."""
    return pd.read_csv(path).pivot_table(index=unit, columns=period, values=value)


@pytest.fixture(scope="module")
def prop99(shared_data):
    """39 states, 31 years; California raised its cigarette tax in 1989."""
    packs = wide(shared_data("did/prop99.csv"), "state", "year", "packs_per_capita")
    start = np.where(packs.index == "California", list(packs.columns).index(1989), NEVER)
    return Panel.of_arrays(
        packs.to_numpy(), start, periods=packs.columns, units=packs.index, names=["packs"]
    )


@pytest.fixture(scope="module")
def prop99_numbers(shared_data):
    """Published and recomputed numbers."""
    return json.loads(shared_data("did/prop99.reference.json").read_text())


@pytest.fixture(scope="module")
def kansas(shared_data):
    """50 states, 105 quarters; Kansas cut its taxes in the second quarter of 2012."""
    income = wide(shared_data("did/kansas.csv"), "state", "year_qtr", "lngdpcapita")
    start = np.where(income.index == "Kansas", list(income.columns).index(2012.25), NEVER)
    return Panel.of_arrays(income.to_numpy(), start, periods=income.columns)


@pytest.fixture(scope="module")
def kansas_numbers(shared_data):
    """Numbers of augsynth's vignette."""
    return json.loads(shared_data("did/kansas.reference.json").read_text())


@pytest.fixture(scope="module")
def coupon(shared_data):
    """60 regions, 140 days, 10 regions with a coupon from day 100; profit made exact."""
    rows = pd.read_parquet(shared_data("did/synthetic_geo_coupon.parquet"))
    sales, cost = (
        rows.pivot_table(index="geo", columns="day", values=line).to_numpy()
        for line in LINES[:2]
    )
    treated = rows.groupby("geo")["treated"].max().to_numpy() > 0
    return Panel.of_arrays(
        np.stack([sales, cost, 0.35 * sales - cost], axis=2),
        np.where(treated, 100, NEVER),
        names=LINES,
    )


@pytest.fixture(scope="module")
def coupon_numbers(shared_data):
    """The truth."""
    return json.loads(shared_data("did/synthetic_geo_coupon.reference.json").read_text())


def test_prop99_is_what_the_authors_program_finds(prop99, prop99_numbers):
    """SDID -15.603828 to eight digits, period weights to six, and Nevada on top."""
    found = synthetic_did(prop99, inference="none")

    cohort = found.cohorts[0]
    top = prop99.units[cohort.donors][int(np.argmax(cohort.unit_weights))]
    assert found.effect.value[0] == pytest.approx(prop99_numbers["sdid"], abs=1e-8)
    for year, weight in prop99_numbers["time_weights"].items():
        place = prop99.periods.index(year)
        assert cohort.time_weights[place] == pytest.approx(weight, abs=1e-6)
    for state, weight in prop99_numbers["top_unit_weights"].items():
        place = list(prop99.units[cohort.donors]).index(state)
        assert cohort.unit_weights[place] == pytest.approx(weight, abs=1e-8)
    assert top == "Nevada"


def test_prop99_to_the_optimum(prop99, prop99_numbers):
    """The exact optimum gives -15.6054, and the exact synthetic control -19.5136."""
    exact = synthetic_did(prop99, solver="exact", inference="none")
    plain = synthetic_control(prop99, inference="none")

    wanted = prop99_numbers["sdid_own_exact_qp"]
    assert exact.effect.value[0] == pytest.approx(wanted, abs=1e-6)
    wanted = prop99_numbers["sc_no_intercept"]
    assert plain.effect.value[0] == pytest.approx(wanted, abs=1e-6)


def test_prop99_with_an_intercept_is_the_paper_s_difp(prop99, prop99_numbers):
    """Table 1 prints -11.1 for the demeaned synthetic control."""
    found = synthetic_control(prop99, intercept=True, inference="none")

    wanted = prop99_numbers["paper_table1"]["DIFP"][0]
    assert found.effect.value[0] == pytest.approx(wanted, abs=0.05)


def test_prop99_placebos_are_as_wide_as_published(prop99):
    """The paper prints 8.4; programs with 200 random placebos find 9.0 and 10.9: 6 to 13."""
    found = synthetic_did(prop99)

    error = found.effect.estimate("packs").std_error
    assert 6 < error < 13
    assert found.inference == "each of 38 donors took the treated unit's place once"


def test_prop99_is_too_short_a_list_of_treated_for_other_inference(prop99):
    """With one treated unit bootstrap and jackknife do not exist: NaN, and why."""
    drawn = synthetic_did(prop99, inference="bootstrap")
    left = synthetic_did(prop99, inference="jackknife")

    assert np.isnan(drawn.effect.cov).all()
    assert "two clusters of treated" in drawn.inference
    assert np.isnan(left.effect.cov).all()
    assert left.inference == "the jackknife is not defined with one treated cluster in a block"


def test_the_jackknife_is_what_a_peer_finds(prop99):
    """California and Utah: -4.292523870930, SE 18.190550626552 (diff-diff 3.13.0)."""
    start = np.where(prop99.units == "Utah", 19, prop99.start)
    found = synthetic_did(Panel.of_arrays(prop99.y, start), inference="jackknife")

    one = found.effect.estimate("y")
    assert one.estimate == pytest.approx(-4.292523870929657, abs=1e-8)
    assert one.std_error == pytest.approx(18.19055062655186, abs=1e-7)


def test_two_hundred_placebo_draws_take_about_a_second(prop99):
    """200 random draws on Prop 99 with a second treated state, in seconds of processor time."""
    start = np.where(prop99.units == "Utah", 19, prop99.start)
    pair = Panel.of_arrays(prop99.y, start)

    before = time.process_time()
    found = synthetic_did(pair, draws=200)
    taken = time.process_time() - before

    assert len(found.draws.effect) == 200
    assert taken < 2.0


def test_prop99_conformal_p_value_and_interval_agree(prop99):
    """The interval at 90 % leaves 0 out, and p is the least that 31 shifts can give."""
    found = conformal(prop99, level=0.9).effect

    assert found.p_value == pytest.approx(1 / 31)
    assert found.ci_high < 0
    assert found.ci_low < found.estimate < found.ci_high


def test_kansas_is_what_augsynth_prints(kansas, kansas_numbers):
    """Average -0.0294, every quarter to three digits, L2 0.083, improvement 79.5 %."""
    found = synthetic_control(kansas, inference="none")

    numbers, cohort = kansas_numbers["synth"], found.cohorts[0]
    assert found.effect.value[0] == pytest.approx(numbers["att"], abs=1e-4)
    assert cohort.fit.l2 == pytest.approx(numbers["l2"], abs=1e-3)
    assert cohort.fit.improvement_pct == pytest.approx(numbers["improvement"], abs=0.1)
    for quarter, effect in numbers["by_time"].items():
        place = [float(label) for label in kansas.periods].index(float(quarter))
        assert cohort.gap[place, 0] == pytest.approx(effect, abs=6e-4)


def test_kansas_augmented_is_what_augsynth_prints(kansas, kansas_numbers):
    """Ridge-augmented -0.0401 with the cross-validated penalty, L2 0.062, 84.7 %."""
    found = ridge_augmented(kansas, inference="none")

    numbers, cohort = kansas_numbers["ridge_ascm"], found.cohorts[0]
    assert found.effect.value[0] == pytest.approx(numbers["att"], abs=1e-4)
    assert cohort.fit.l2 == pytest.approx(numbers["l2"], abs=1e-3)
    assert cohort.fit.improvement_pct == pytest.approx(numbers["improvement"], abs=0.1)
    assert cohort.unit_weights.sum() == pytest.approx(1.0)
    assert cohort.unit_weights.min() < 0


def test_kansas_with_covariates_is_what_augsynth_prints(kansas, kansas_numbers, shared_data):
    """Six averages before the start balanced as well: -0.0609, L2 0.054."""
    rows = pd.read_csv(shared_data("did/kansas.csv"))
    logged = ["revstatecapita", "revlocalcapita", "avgwklywagecapita"]
    rows[logged] = np.log(rows[logged])
    names = ["lngdpcapita", *logged, "estabscapita", "emplvlcapita"]
    x = rows[rows["year_qtr"] < 2012.25].groupby("state")[names].mean().to_numpy()
    found = ridge_augmented(replace(kansas, x=x), use_x=True, inference="none")

    numbers = kansas_numbers["ridge_covariates"]
    assert found.effect.value[0] == pytest.approx(numbers["att"], abs=5e-5)
    assert found.cohorts[0].fit.l2 == pytest.approx(numbers["l2"], abs=5e-4)


def test_prop99_difference_in_differences_and_penalty(prop99, prop99_numbers):
    """Equal weights give -27.349111; noise 5.494401 makes the penalty 10.226233."""
    before = prop99.y[prop99.start == NEVER, : prop99.periods.index("1989")]
    treated = prop99.shape[1] - prop99.periods.index("1989")
    noise = noise_level(before)

    assert twfe(prop99).value[0] == pytest.approx(prop99_numbers["did"], abs=1e-9)
    assert noise == pytest.approx(prop99_numbers["noise_level"], abs=1e-9)
    assert treated**0.25 * noise == pytest.approx(prop99_numbers["zeta"], abs=1e-9)


@pytest.mark.parametrize(
    "estimator",
    [
        synthetic_did,
        lambda panel, **how: synthetic_control(panel, intercept=True, **how),
        lambda panel, **how: ridge_augmented(panel, intercept=True, **how),
    ],
    ids=["sdid", "control", "ridge"],
)
@pytest.mark.parametrize(
    "fit_on",
    ["profit", "sales", {"sales": 0.35, "coupon_cost": -1.0}, ("sales", "profit")],
    ids=["profit", "sales", "combination", "jointly"],
)
def test_coupon_lines_add_up_and_hold_the_truth(coupon, coupon_numbers, estimator, fit_on):
    """Sales and profit within 3 SE of the truth; 0.35 sales - cost = profit to 1e-12."""
    found = estimator(coupon, fit_on=fit_on, draws=60)

    sales, cost, profit = found.effect.value
    assert 0.35 * sales - cost == pytest.approx(profit, rel=1e-12)
    for name, truth in (("sales", "sales_att"), ("profit", "profit_att")):
        one = found.effect.estimate(name)
        assert abs(one.estimate - coupon_numbers[truth]) < 3 * one.std_error
    derived = found.effect.linear(np.array([[0.35, -1.0, 0.0]]), ["p"]).cov[0, 0]
    assert derived == pytest.approx(found.effect.cov[2, 2], rel=1e-9)
    assert found.total().value[0] == pytest.approx(400 * sales)


def test_coupon_profit_is_what_a_peer_finds(coupon, coupon_numbers):
    """SDID with weights fitted on the line itself: a peer's 203.888, -38.171."""
    peers = coupon_numbers["estimates_by_peer"]
    for line in ("sales", "profit"):
        found = synthetic_did(coupon, fit_on=line, inference="none")

        place = found.effect.index(line)
        assert found.effect.value[place] == pytest.approx(peers[f"sdid_{line}"][0], abs=5e-3)
