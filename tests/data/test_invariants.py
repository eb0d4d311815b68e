"""What must hold in every simulated world, through the whole product."""

from __future__ import annotations

import pytest

from upliftlab import analysis
from upliftlab.experiment import Experiment
from upliftlab.simulate import preset, write

SOURCES = ("assignments", "order_lines", "refunds", "users", "exposures", "coupon_events")
ARMS = {
    "none": {"share": "25%", "control": True},
    **{f"coupon_{depth}": {"share": "25%", "coupon": depth} for depth in (5, 10, 20)},
}


def plan(folder, **changes):
    written = {
        "name": "world",
        "kind": "smart_coupon",
        "run": {"start": "2026-06-01", "end": "2026-06-14"},
        "follow_up": "60 days",
        "returns_final_after": "21 days",
        "arms": ARMS,
        "costs": {"preset": "douyin_apparel"},
        "data": {name: {"file": str(folder / f"{name}.parquet")} for name in SOURCES},
    }
    return Experiment(**(written | changes))


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """Make a named world once and analyse it."""
    found = {}

    def world(name, customers=4_000):
        if name not in found:
            folder = tmp_path_factory.mktemp(name)
            write(preset(name, customers=customers, seed=7), folder)
            found[name] = analysis.run(plan(folder))
        return found[name]

    return world


def check(found, name):
    return next(each for each in found.checks if each.name == name)


def test_no_difference_passes_every_blocking_check(worlds):
    """An A/A world has its planned shares, balance, coverage, maturity and ledger."""
    found = worlds("aa")

    assert found.is_valid
    assert {check(found, n).verdict for n in (
        "sample_ratio", "balance", "join_coverage", "maturity", "ledger_identity", "cross_arm",
    )} == {"pass"}  # fmt: skip


def test_funding_changes_profit_and_not_orders(worlds):
    """Who pays for the coupon moves profit; orders and sales to customers stay."""
    ours, theirs = worlds("gmv_up_profit_down"), worlds("platform_funded")
    same = ("orders@60d", "gmv_platform@60d", "cash@60d", "orders_kept@60d")

    assert {n: ours.facts.totals[n] for n in same} == {n: theirs.facts.totals[n] for n in same}
    for arm in ("coupon_5", "coupon_10", "coupon_20"):
        assert theirs.profit_of(arm).profit.estimate > ours.profit_of(arm).profit.estimate


def test_an_immature_world_leaves_no_verdict(worlds):
    """Read 7 days after the run, windows are open and returns on their way."""
    found = worlds("immature_returns")

    assert check(found, "maturity").verdict == "fail"
    assert check(found, "maturity").is_blocking
    assert not found.is_valid


def test_coupons_that_leak_into_control_are_seen(worlds):
    """10 % of control is served a coupon: a warning with the share."""
    found = check(worlds("leak"), "leakage")

    assert found.verdict == "warn"
    assert found.value == pytest.approx(0.10, abs=0.03)


def test_stacked_coupons_are_seen(worlds):
    """30 % of everybody holds another coupon: control orders carry it too."""
    found = check(worlds("stacking"), "stacking")

    assert found.verdict == "warn"
    assert 0.10 < found.value < 0.50


def test_ledger_holds_on_every_line_of_every_world(worlds):
    """list = markdown + coupons + promotion + cash, to the fen."""
    for name in ("aa", "gmv_up_profit_down", "platform_funded", "leak", "stacking"):
        assert worlds(name).facts.unbalanced_lines == 0


@pytest.mark.slow
def test_lost_units_break_the_sample_ratio(tmp_path):
    """1 % of the treated of 1.2 million is lost: p is far below 0.001 and nothing is said."""
    write(preset("srm", customers=1_200_000, seed=7), tmp_path / "srm")
    found = analysis.run(plan(tmp_path / "srm"))

    assert check(found, "sample_ratio").is_blocking
    assert not found.is_valid


def test_a_total_of_the_books_is_compared(worlds, tmp_path):
    """Kept sales that finance booked agree to half a percent, or leave no verdict."""
    import pandas as pd

    sold = worlds("aa").facts.totals["kept_sales@60d"]
    for booked, verdict in ((sold, "pass"), (sold * 1.01, "fail")):
        books = pd.DataFrame({"component": ["kept_sales"], "amount_fen": [int(booked)]})
        path = tmp_path / f"{verdict}.parquet"
        books.to_parquet(path)
        aa = worlds("aa").experiment
        sources = {n: {"file": s.file} for n, s in aa.data.sources.items()}
        found = analysis.run(aa.replace(data=sources | {"finance_total": {"file": str(path)}}))

        assert check(found, "reconciliation").verdict == verdict
