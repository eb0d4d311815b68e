from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from upliftlab.analysis import run
from upliftlab.economics import MERCHANT
from upliftlab.errors import DefinitionError
from upliftlab.experiment import Experiment
from upliftlab.simulate import SmartCoupon, preset, write

ORDERS = """
name: small
kind: smart_coupon
run: {{start: 2026-06-01, end: 2026-06-14}}
follow_up: 60 days
returns_final_after: 21 days
eligible_customers: 100000
arms:
  none:      {{share: 25%, control: true}}
  coupon_5:  {{share: 25%, coupon: 5,  over: 99}}
  coupon_10: {{share: 25%, coupon: 10, over: 99}}
  coupon_20: {{share: 25%, coupon: 20, over: 99}}
costs: {{preset: douyin_apparel, gift: 0}}
decide: {{must_not_worsen: {{return_rate: 2 points}}, segments: [is_new_customer]}}
data:
  assignments: {{file: {folder}/assignments.parquet}}
  order_lines: {{file: {folder}/order_lines.parquet}}
  refunds: {{file: {folder}/refunds.parquet}}
  users: {{file: {folder}/users.parquet}}
  exposures: {{file: {folder}/exposures.parquet}}
  coupon_events: {{file: {folder}/coupon_events.parquet}}
  membership_events: {{file: {folder}/membership_events.parquet}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small simulated experiment at order grain."""
    return write(SmartCoupon(customers=8_000, seed=4), tmp_path_factory.mktemp("sim") / "data")


@pytest.fixture(scope="module")
def analysis(folder):
    """Its analysis."""
    return run(Experiment.from_text(ORDERS.format(folder=folder)))


def test_the_order_grain_gives_the_effects_of_plain_pandas(folder, analysis):
    """Profit per customer, joined and added up by hand, gives the same arm means."""
    assigned = pd.read_parquet(folder / "assignments.parquet")
    lines = pd.read_parquet(folder / "order_lines.parquet")
    refunds = pd.read_parquet(folder / "refunds.parquet")
    back = refunds.set_index("line_id")["type"]
    lines["fate"] = lines["line_id"].map(back).fillna("kept")
    kept, cancelled = lines["fate"] == "kept", lines["fate"] == "cancel_preship"
    returned = lines["fate"] == "return_refund"
    base, cost = lines["settlement_base_fen"], lines["unit_cost_fen"]
    commission = (base * lines["commission_rate_bp"] / 10_000).round()
    lines["profit"] = (
        kept * (base * (1 - 0.044 - 0.006 - 0.03) - commission - cost)
        - ~cancelled * (320 + 100 + 250)
        - returned * (150 + 0.08 * cost)
        - 60
    )
    lines["inside"] = True
    by_unit = lines.groupby("user_id")["profit"].sum()
    assigned["profit"] = assigned["unit_id"].map(by_unit).fillna(0.0)
    means = assigned.groupby("arm")["profit"].mean()
    plain = run(
        analysis.experiment.replace(covariates=()),
    )
    for arm in ("coupon_5", "coupon_10", "coupon_20"):
        assert plain.profit_of(arm).profit.estimate == pytest.approx(
            means[arm] - means["none"], rel=1e-9
        )


def test_bars_add_up_at_every_window(analysis):
    """Headline and other windows, everyone and segments."""
    groups = [analysis.profits, *analysis.other_windows.values()]
    groups += [segment.profits for segment in analysis.segments]
    for profits in groups:
        for profit in profits:
            bars = math.fsum(line.effect.estimate for line in profit.lines)
            assert bars == pytest.approx(profit.profit.estimate, abs=1e-8)


def test_the_headline_window_is_the_plans_and_others_are_labelled(analysis):
    """60 days decide; 14 days are shown beside them."""
    assert {profit.window for profit in analysis.profits} == {60}
    assert list(analysis.other_windows) == [14]


def test_what_if_prices_read_no_new_numbers(analysis):
    """The same arm means under a doubled outbound cost."""
    dearer = run(analysis.experiment, economics=analysis.economics.scaled("outbound", 2.0))
    line = next(x for x in analysis.profits[0].lines if x.line == "outbound")

    assert dearer.profits[0].profit.estimate == pytest.approx(
        analysis.profits[0].profit.estimate + line.effect.estimate
    )
    np.testing.assert_allclose(dearer.effects.mean, analysis.effects.mean, rtol=1e-9, atol=1e-9)


def test_funding_changes_profit_and_not_orders(tmp_path):
    """Who pays for the coupon moves money, not demand (an invariant of the simulator)."""
    results = {}
    for name in ("gmv_up_profit_down", "platform_funded"):
        world = write(preset(name, customers=4_000, seed=9), tmp_path / name)
        results[name] = run(Experiment.from_text(ORDERS.format(folder=world)))
    ours, theirs = results["gmv_up_profit_down"], results["platform_funded"]
    at = ours.effects.names.index("orders")

    np.testing.assert_allclose(ours.effects.mean[:, at], theirs.effects.mean[:, at], rtol=1e-12)
    assert theirs.profits[2].profit.estimate > ours.profits[2].profit.estimate


def test_the_what_if_share_agrees_with_a_world_of_that_share(tmp_path):
    """Re-pricing the 80 % world at 20 % is the 20 % world, to the rounding of lines."""
    worlds = {}
    for name in ("gmv_up_profit_down", "platform_funded"):
        folder = write(preset(name, customers=4_000, seed=9), tmp_path / name)
        plan = Experiment.from_text(ORDERS.format(folder=folder)).replace(covariates=())
        worlds[name] = run(plan)
    base = worlds["gmv_up_profit_down"]
    moved = run(base.experiment, economics=base.economics.with_funding(0.2))
    deep, real = moved.profits[2], worlds["platform_funded"].profits[2]

    assert deep.profit.estimate == pytest.approx(real.profit.estimate, abs=0.05)


def test_an_immature_readout_gets_no_verdict(tmp_path):
    """Seven days after the run no return is final."""
    folder = write(preset("immature_returns", customers=2_000, seed=3), tmp_path / "w")
    early = run(Experiment.from_text(ORDERS.format(folder=folder)))

    assert not early.is_valid
    assert {decision.verdict for decision in early.decisions} == {"no verdict"}
    assert early.checks[0].name == "maturity"


def test_the_analysis_is_plain_json(analysis):
    """NaN and infinity never reach the file."""
    text = json.dumps(analysis.to_dict(), allow_nan=False)

    assert json.loads(text)["schema_version"] == 1


def test_the_fingerprint_of_the_data_ignores_row_order(folder, analysis):
    """Shuffled tables say the same."""
    tables = {}
    for name in ("assignments", "order_lines", "refunds", "users"):
        frame = pd.read_parquet(folder / f"{name}.parquet")
        tables[name] = frame.sample(frac=1.0, random_state=1)
    once = run(
        analysis.experiment, {n: pd.read_parquet(folder / f"{n}.parquet") for n in tables}
    )
    again = run(analysis.experiment, tables)

    assert once.provenance.data == again.provenance.data


def test_nothing_given_is_changed(folder, analysis):
    """Inputs are equal before and after."""
    frames = {
        name: pd.read_parquet(folder / f"{name}.parquet")
        for name in ("assignments", "order_lines", "refunds", "users")
    }
    before = {name: frame.copy(deep=True) for name, frame in frames.items()}
    run(analysis.experiment, frames)

    for name, frame in frames.items():
        pd.testing.assert_frame_equal(frame, before[name])


def test_a_unit_table_from_pandas_needs_no_file():
    """Three lines in a notebook."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "unit": [str(i) for i in range(2_000)],
            "arm": np.where(np.arange(2_000) % 2, "coupon", "none"),
            "gmv_fen": rng.integers(0, 20_000, 2_000),
        }
    ).rename(columns={"gmv_fen": "gmv_platform_fen"})
    plan = Experiment(
        name="notebook",
        kind="custom",
        arms={"none": {"share": "50%", "control": True}, "coupon": {"share": "50%"}},
        costs={"margin": "40%"},
    )
    found = run(plan, {"units": frame})

    means = frame.groupby("arm")["gmv_platform_fen"].mean()
    expected = 0.4 * (means["coupon"] - means["none"])
    assert found.profits[0].profit.estimate == pytest.approx(expected)


def test_profit_without_costs_is_refused():
    """A margin is the least."""
    frame = pd.DataFrame(
        {
            "unit": ["a", "b", "c", "d"],
            "arm": ["x", "y", "x", "y"],
            "gmv_platform_fen": [1, 2, 3, 4],
        }
    )
    plan = Experiment(
        name="bare",
        kind="custom",
        arms={"x": {"share": "50%", "control": True}, "y": {"share": "50%"}},
    )

    with pytest.raises(DefinitionError, match="profit needs costs and the plan has none"):
        run(plan, {"units": frame})


def test_prices_of_the_control_arm_are_prices_too(analysis):
    """Every arm has a price vector; equal here."""
    prices = [analysis.economics.price(MERCHANT, arm) for arm in analysis.effects.arms]

    assert all(price == prices[0] for price in prices)


def test_an_analysis_is_frozen(analysis):
    """Values in, values out."""
    with pytest.raises(AttributeError):
        analysis.estimand = "other"
    assert replace(analysis, estimand="other").estimand == "other"
