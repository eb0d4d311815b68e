"""Guarantees, calibration factors, restatements, and the review beside the books."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date
from fractions import Fraction

import pytest
from tests.review.conftest import quarter, record

from upliftlab.errors import UpliftlabError
from upliftlab.registry.record import Maturity, Taken
from upliftlab.review.books import Books, calendar_months, read_chart
from upliftlab.review.calibration import Reading, calibrate, readings_of
from upliftlab.review.entries import entries_of
from upliftlab.review.guarantees import Slot, guarantee
from upliftlab.review.postings import postings_from
from upliftlab.review.quarter import review_of
from upliftlab.review.reconciliation import Signature, reconcile, steps_of
from upliftlab.review.restated import drift
from upliftlab.review.tie import Adjustment
from upliftlab.simulate.books import simulate_books
from upliftlab.stats.estimate import interval


def slot(name, spend, gmv, target, **more):
    return Slot(name=name, spend=spend, gmv=gmv, target=Fraction(target), **more)


def test_douyin_pays_the_contract_not_the_slot():
    """Spend less the sum of GMV / target over slots: a good slot offsets a bad one."""
    days = [slot("1", 100_000, 300_000, 4), slot("2", 100_000, 450_000, 5)]
    good = slot("3", 100_000, 600_000, 5)

    assert guarantee("A", "douyin", days).credit == 25_000 + 10_000
    assert guarantee("A", "douyin", [*days, good]).credit == 15_000
    assert guarantee("A", "douyin", [good]).credit == 0
    assert guarantee("A", "douyin", days, cash_share=Fraction(7, 10)).cash_value == 24_500


def test_tiktok_and_shopee_promise_nine_tenths_per_day():
    """Days without enough orders, or with an edited target, pay nothing and are named."""
    short = slot("1", 90_000, 200_000, 4, orders=21)
    few = slot("2", 90_000, 200_000, 4, orders=20)
    edited = slot("3", 90_000, 200_000, 4, orders=50, edited=True)
    owed = 90_000 - round(200_000 / 3.6)
    tiktok = guarantee("A", "tiktok", [short, few, edited])

    assert tiktok.credit == owed
    assert tiktok.void == {
        "2": "20 orders; more than 20 are needed",
        "3": "the target was edited",
    }
    assert guarantee("A", "shopee", [few]).credit == owed
    assert guarantee("A", "shopee", [replace(few, orders=4)]).void == {
        "2": "4 conversions; at least 5 are needed"
    }
    with pytest.raises(UpliftlabError) as scheme:
        guarantee("A", "tik-tok", [])

    assert str(scheme.value) == (
        "contract 'A' has scheme 'tik-tok'; known: ['douyin', 'tiktok', 'shopee']. "
        "Did you mean 'tiktok'?"
    )


def reading(test, sales, se, *, roi=4.0, ended=date(2026, 8, 31), spend_se=0.0):
    return Reading(
        channel="ads",
        test=test,
        incremental=interval("sales", sales, se**2),
        spend=interval("spend", 100.0, spend_se**2),
        reported_roi=roi,
        ended=ended,
    )


def test_a_calibration_factor_is_fieller_s_ratio():
    """Known spend: +- 1.96 se / (spend x reported); noisy spend widens it."""
    known = calibrate([reading("geo", 240.0, 30.0)])[0].kappa
    noisy = calibrate([reading("geo", 240.0, 30.0, spend_se=20.0)])[0].kappa

    assert known.estimate == pytest.approx(0.6)
    assert known.ci_high - 0.6 == pytest.approx(1.959964 * 30 / 400, abs=1e-6)
    assert noisy.ci_high - noisy.ci_low > known.ci_high - known.ci_low
    assert noisy.ci_high - 0.6 > 0.6 - noisy.ci_low


def test_several_tests_of_a_channel_are_pooled_and_may_exceed_one():
    """No direction is assumed."""
    found = calibrate([reading(f"g{i}", 440.0 + 20 * i, 30.0) for i in range(4)])[0]

    assert found.kappa.estimate > 1
    assert found.pooled is not None
    assert found.pooled.k == 4
    assert found.tests == ("g0", "g1", "g2", "g3")


def test_factors_expire():
    """Two quarters after the newest test, or when attribution changes."""
    old = calibrate([reading("geo", 240.0, 30.0)], today=date(2027, 3, 2))[0]
    still = calibrate([reading("geo", 240.0, 30.0)], today=date(2027, 3, 1))[0]
    changed = calibrate(
        [reading("geo", 240.0, 30.0)],
        today=date(2026, 10, 2),
        attribution_changed=date(2026, 10, 1),
    )[0]

    assert (old.expires, old.is_expired, still.is_expired) == ("2027-03-01", True, False)
    assert (changed.expires, changed.is_expired) == ("2026-10-01", True)


def test_reported_roi_must_be_above_zero():
    """A factor of nothing is nothing."""
    with pytest.raises(UpliftlabError) as zero:
        calibrate([reading("geo", 240.0, 30.0, roi=0.0)])

    assert str(zero.value) == (
        "test 'geo' has a reported ROI of 0; a calibration factor needs one above 0."
    )


def changed(old, effect, **more):
    """The same plan re-run: another effect, as returns mature."""
    arm = old.arms[0]
    profit = interval("profit", effect, arm.profit.std_error**2)
    verdict = "ship" if profit.is_above_zero else "keep testing"
    new = replace(arm, profit=profit, realised=profit.scaled(arm.n), verdict=verdict)
    return replace(old, arms=(new,), **more)


def test_returns_that_come_in_restate_a_test_and_flip_a_decision():
    """Moved by over a tenth of its standard error, or flipped: restated, with its money."""
    frozen = [changed(record(f"t{i}", [0.0], seed=i), 100.0, plan="p") for i in range(3)]
    shipped = Taken(experiment="t1", decision="ship", by="Wang", at="2026-10-01T00:00:00Z")
    now = [
        changed(frozen[0], 101.0),
        changed(frozen[1], 60.0, decisions=(shipped,)),
        changed(frozen[2], 95.0, plan="other"),
    ]
    found = drift([*frozen, record("gone", [1.0])], now)
    rows = {row.experiment: row for row in found.rows}

    assert (rows["t0"].is_restated, rows["t1"].is_restated, rows["t2"].is_restated) == (
        False,
        True,
        True,
    )
    assert rows["t1"].flips
    assert rows["t1"].must_revisit
    assert rows["t1"].realised_change == pytest.approx(-40_000)
    assert rows["t2"].note == "the plan was changed: this is another question"
    assert found.vanished == ("gone",)
    assert found.sentence == "2 of 3 arms restated, 1 decisions would flip"


@pytest.fixture(scope="module")
def beside_the_books():
    """A quarter of tests whose lines are those of the simulated ledger."""
    _, records = quarter(8, spread=100.0)
    records = [
        replace(r, maturity=Maturity(booked=0.8, projected=0.15, assumed=0.05)) for r in records
    ]
    found = simulate_books()
    review = review_of(records, quarter="2026Q3")
    programme = entries_of(records)
    return review, reconcile(
        review,
        steps_of(programme, records, reported=41e8),
        postings=postings_from(found.postings),
        books=Books(
            amounts={(r["account_code"], r["month"]): r["amount"] for r in found.books}
        ),
        chart=read_chart(found.chart, version="7", signed_by="Chen", signed_at="2026-01-05"),
        calendar=calendar_months(2026),
        quarter="2026Q3",
        ledger_lines={"coupon": "gift"},
        adjustments=[
            Adjustment(account="6601.07", period="2026-08", amount=0, kind="non-cash credit")
        ],
        guarantees=[guarantee("A", "douyin", [slot("1", 100_000, 300_000, 4)])],
        lifetime=[interval("lifetime value", 5e5, 1e10)],
        frozen={"realised extra profit": 1_000.0},
        signatures=[Signature(total="realised extra profit", by="Chen", at="2026-10-30")],
    )


def test_actual_less_difference_is_the_counterfactual(beside_the_books):
    """On both bases, line by line; lines that no test changes stay as they are."""
    review, found = beside_the_books
    lines = {row.line: row for row in found.lines}
    sales = next(bar.effect for bar in review.waterfall if bar.line == "sales")

    assert lines["sales"].difference.estimate == sales.estimate
    assert lines["sales"].counterfactual.estimate == lines["sales"].actual - sales.estimate
    assert lines["sales"].counterfactual.ci_high == pytest.approx(
        lines["sales"].actual - sales.ci_low
    )
    assert lines["goods"].counterfactual.estimate == lines["goods"].actual
    assert lines["goods"].difference.note == "no experiment changes it"
    assert found.unmatched == ()
    posted = sum(
        x.difference_posted.estimate for x in found.lines if x.difference.std_error > 0
    )
    assert found.steps[-1].amount.estimate == pytest.approx(posted)


def test_every_total_says_what_is_final_and_who_signed(beside_the_books):
    """Booked, projected, assumed; frozen, restated; signed or open."""
    review, found = beside_the_books
    total = found.totals[0]

    assert (total.booked, total.projected, total.assumed) == pytest.approx((0.8, 0.15, 0.05))
    assert total.restated == review.total.estimate - 1_000.0
    assert total.signed_by == "Chen"
    assert found.totals[1].signed_by == ""
    assert math.isnan(found.totals[1].frozen)


def test_below_the_line_is_shown_and_not_added(beside_the_books):
    """A guarantee's credit, a non-cash credit and lifetime value are in no total."""
    review, found = beside_the_books

    assert [row.kind for row in found.below] == [
        "ROI guarantee",
        "non-cash credit",
        "lifetime value",
    ]
    assert found.below[0].amount.estimate == 25_000
    assert found.totals[0].amount == review.total


def test_steps_lead_from_the_report_to_the_profit(beside_the_books):
    """Reported, incremental GMV, profit, booked; what nobody measures says so."""
    review, found = beside_the_books
    steps = {step.name: step.amount for step in found.steps}

    assert list(steps) == [
        "reported",
        "gmv_platform",
        "gmv_merchant",
        "kept_sales",
        "profit",
        "posted",
    ]
    assert steps["reported"].estimate == 41e8
    assert steps["profit"].estimate == pytest.approx(review.total.estimate)
    assert steps["profit"].std_error == pytest.approx(review.total.std_error)
    assert steps["kept_sales"].note == "no experiment measures it"


def test_the_books_tie_beside_the_review(beside_the_books):
    """The quarter's cells agree, and the whole is plain values."""
    _, found = beside_the_books

    assert found.tie.ties
    assert found.bases.total.gap == 0
    assert (found.chart_version, found.chart_signed_by) == ("7", "Chen")
    assert found.basis == "books in CNY, VAT included"
    json.dumps(found.to_dict(), allow_nan=False)


def test_readings_come_from_recorded_arms():
    """Sales kept, spend and the dashboard's ROI of one arm make a reading."""
    from upliftlab.registry.record import RecordedRung

    one = record("one", [50.0])
    arm = one.arms[0]
    kept = RecordedRung(name="kept_sales", control=400.0, effect=interval("kept", 300.0, 400.0))
    one = replace(one, arms=(replace(arm, ladder=(*arm.ladder, kept), reported_roi=5.0),))
    found = calibrate(readings_of([one]))[0]

    assert found.kappa.estimate == pytest.approx(300.0 * arm.n / (200.0 * arm.n) / 5.0)
    assert found.expires == "2027-01-12"
