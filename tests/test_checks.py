"""Each check passes, warns and fails where it should, in whole sentences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from upliftlab import checks, money_checks
from upliftlab.data.cells import Cells
from upliftlab.data.measure import Tail
from upliftlab.data.prepared import Facts, SetAside

HALVES = {"a": 0.5, "b": 0.5}


def facts(**values):
    return Facts(**({"assigned": {"a": {"": 1_000}, "b": {"": 1_000}}} | values))


def test_sample_ratio_of_three_unequal_arms():
    """60/30/10 as planned passes; the same counts against equal shares fail."""
    counts = {"a": {"": 6_010}, "b": {"": 2_980}, "c": {"": 1_010}}
    planned = checks.check_sample_ratio(counts, {"a": 0.6, "b": 0.3, "c": 0.1})
    equal = checks.check_sample_ratio(counts, dict.fromkeys("abc", 1 / 3))

    assert planned.verdict == "pass"
    assert equal.is_blocking
    assert planned.message.startswith("Sample ratio: arms have 6,010 / 2,980 / 1,010 customers")


def test_lost_units_fail_the_sample_ratio():
    """1.2 million in four arms, 1 % of the treated lost: p below 0.001."""
    counts = {"none": {"": 300_000}} | {f"c{i}": {"": 297_000} for i in range(3)}

    found = checks.check_sample_ratio(counts, dict.fromkeys(counts, 0.25))

    assert found.is_blocking
    assert found.value < 0.001


def test_strata_are_tested_with_multiplicity():
    """Two strata that are off in opposite ways cancel in the sum and fail by stratum."""
    counts = {"a": {"old": 5_300, "new": 4_700}, "b": {"old": 4_700, "new": 5_300}}

    assert checks.check_sample_ratio(counts, HALVES).is_blocking


def test_many_strata_by_chance_pass():
    """A hundred strata with one at p = 0.01: Holm does not cry wolf."""
    even = {f"s{i}": 500 for i in range(99)}
    counts = {"a": even | {"odd": 541}, "b": even | {"odd": 459}}

    assert checks.check_sample_ratio(counts, HALVES).verdict == "pass"


@pytest.mark.parametrize(
    ("rows", "verdict"), [(0, "pass"), (5, "warn"), (50, "fail")]
)  # fmt: skip
def test_units_in_two_arms(rows, verdict):
    """None passes, a few warn, more than 1 % leave no verdict."""
    aside = (SetAside(source="assignments", rule="assigned to two arms; x", rows=rows),)
    found = checks.check_cross_arm(facts(set_aside=aside if rows else ()), 2_000)

    assert found.verdict == verdict
    assert found.is_blocking == (verdict == "fail")


@pytest.mark.parametrize(
    ("missing", "verdict"),
    [({"a": 0, "b": 0}, "pass"), ({"a": 20, "b": 22}, "warn"), ({"a": 20, "b": 80}, "fail")],
)
def test_missing_outcomes(missing, verdict):
    """The same share in both arms warns, another share is attrition."""
    assert checks.check_missing(facts(missing=missing)).verdict == verdict


@pytest.mark.parametrize(
    ("coverage", "verdict"),
    [
        ({"a": (1_000, 1_000), "b": (999, 1_000)}, "pass"),
        ({"a": (900, 1_000), "b": (905, 1_000)}, "warn"),
        ({"a": (1_000, 1_000), "b": (900, 1_000)}, "fail"),
    ],
)
def test_join_coverage_per_arm(coverage, verdict):
    """Customers that the customer table does not know, compared between arms."""
    assert checks.check_coverage(facts(coverage=coverage)).verdict == verdict


@pytest.mark.parametrize(
    ("closed", "final", "said", "verdict"),
    [
        ({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, 21, "pass"),
        ({"a": 1.0, "b": 0.9}, {"a": 1.0, "b": 1.0}, 21, "fail"),
        ({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 0.5}, 21, "fail"),
        ({"a": 1.0, "b": 1.0}, {}, None, "warn"),
    ],
)
def test_maturity_is_that_of_the_worst_arm(closed, final, said, verdict):
    """Windows closed and returns booked, in every arm."""
    assert checks.check_maturity(facts(closed=closed, final=final), 60, said).verdict == verdict


def test_leakage_has_its_share():
    """A tenth of control saw a coupon."""
    found = money_checks.check_leakage(
        facts(saw_other={"a": 100}), {"a": 1_000, "b": 1_000}, "a"
    )

    assert found.message == (
        "Leakage: 10.0% of control saw or claimed a coupon; effects are diluted by about as "
        "much."
    )


def test_funding_is_compared_where_both_speak():
    """More than a point apart is a warning; the orders count."""
    found = money_checks.check_funding(
        facts(funding={"merchant": 70, "platform": 30, "creator": 0}),
        {"merchant": 0.8, "platform": 0.2},
    )

    assert found.message == (
        "Funding: orders say we paid 70.0% of coupon money, the plan says 80.0%; the orders "
        "count."
    )
    assert money_checks.check_funding(facts(), {"merchant": 0.8}) is None


def test_a_ledger_that_does_not_add_up_leaves_no_verdict():
    """One line is enough."""
    assert money_checks.check_ledger(facts(unbalanced_lines=1)).is_blocking
    assert money_checks.check_ledger(facts(unbalanced_lines=0, lines=9)).message == (
        "Ledger: all 9 order lines in the windows add up to the fen."
    )


def test_the_books():
    """Half a percent is the limit; the worst component is named; unknown ones fail."""
    totals = {"cash@60d": 1_000.0, "kept_sales@60d": 500.0}

    def of(**booked):
        return money_checks.check_reconciliation(facts(totals=totals, finance=booked), "@60d")

    assert of(cash=1_004).verdict == "pass"
    assert of(cash=1_000, kept_sales=600).message == (
        "Finance: kept_sales differs by 16.67% from the books (limit 0.5%)."
    )
    assert of(rent=5, cash=1_000).is_blocking
    assert of(cash=1_000, rent=5).message == (
        "Finance: nothing was measured to compare with 'rent'."
    )


@pytest.mark.parametrize(
    ("money", "verdict"), [(200_000.0, "pass"), (2_000.0, "fail"), (20_000_000.0, "fail")]
)
def test_yuan_and_fen_mixed_up(money, verdict):
    """100 coupons of 20 yuan are 200,000 fen; a factor of 100 is a mix-up."""
    totals = {"merchant_coupon@60d": money, "orders_redeemed@60d": 100.0}
    found = money_checks.check_money_unit(facts(totals=totals), "@60d", [2_000.0])

    assert found.verdict == verdict
    assert found.is_blocking == (verdict == "fail")


def test_coupons_without_face_value_are_not_compared():
    """Nothing to compare is no check."""
    assert money_checks.check_money_unit(facts(), "@60d", [2_000.0]) is None


def pair(gap, n=1_000):
    """Two arms whose one covariate differs by ``gap`` standard deviations."""
    return Cells(
        keys=("arm",),
        labels=(("a",), ("b",)),
        names=("x:age",),
        n=np.array([n, n]),
        mean=np.array([[0.0], [gap]]),
        m2=np.full((2, 1, 1), float(n)),
    )


def test_balance_before_the_test():
    """Equal means pass; half a standard deviation apart warns."""
    assert checks.check_balance(pair(0.0), ["x:age"], ["a", "b"], "a").verdict == "pass"
    assert checks.check_balance(pair(0.5), ["x:age"], ["a", "b"], "a").verdict == "warn"


def test_balance_of_single_units_cannot_be_judged():
    """One unit has no variance."""
    assert checks.check_balance(pair(0.5, n=1), ["x:age"], ["a", "b"], "a") is None


def tail(**values):
    base = {"n": 10_000, "skewness": 2.0, "top_share": 0.1, "largest": 5.0, "total": 1_000.0}
    return Tail(**(base | values))


def test_outliers():
    """One unit with over 5 % of an arm, or too few units for the skewness, warns."""
    assert checks.check_outliers({"a": tail()}, "profit").verdict == "pass"
    assert checks.check_outliers({"a": tail(largest=90.0)}, "profit").verdict == "warn"
    assert checks.check_outliers({"a": tail(skewness=9.0)}, "profit").verdict == "warn"


def test_outcomes_that_do_not_vary_have_no_outliers():
    """Skewness does not exist for a constant."""
    found = checks.check_outliers({"a": tail(skewness=math.nan, total=0.0)}, "profit")

    assert found.verdict == "info"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "pass"),
        ({"as_of": 81 * checks.DAY - 1}, "fail"),
        ({"as_of": None}, "warn"),
        ({"run_end": None}, "warn"),
        ({"days": None}, "warn"),
        ({"returns_final": None}, "warn"),
        ({"run_end": None, "days": None}, "info"),
    ],
)
def test_a_ready_table_is_mature_by_the_dates_of_the_plan(changes, verdict):
    """Run, 60 days and 21 for returns must be over; what nobody says is not known."""
    said = {"run_end": 0, "as_of": 81 * checks.DAY, "days": 60, "returns_final": 21}
    found = checks.check_table_maturity(**(said | changes))

    assert found.verdict == verdict
    assert found.is_blocking == (verdict == "fail")


def test_returns_that_nobody_could_read_are_not_final():
    """Without a refunds source sales are before returns."""
    found = checks.check_maturity(facts(closed={"a": 1.0}, has_refunds=False), 60, 21)

    assert found.verdict == "warn"
    assert "no refunds source: sales are before returns" in found.message


def test_events_without_a_time_leave_maturity_unknown():
    """Nobody says up to when the data speak."""
    assert checks.check_maturity(facts(), 60, 21).verdict == "warn"


@pytest.mark.parametrize(
    ("count", "spread", "verdict"), [(10, 0.5, "pass"), (9, 0.1, "warn"), (99, 0.6, "warn")]
)
def test_few_or_unequal_clusters_warn(count, spread, verdict):
    """Ten per arm of like size are enough."""
    clusters = {"clusters": {"a": 99, "b": count}, "cluster_size_cv": {"a": 0.1, "b": spread}}

    assert checks.check_clusters(facts(**clusters)).verdict == verdict
    assert checks.check_clusters(facts()) is None


def test_tests_of_units_do_not_fail_an_experiment_of_clusters():
    """What counts units is too strict there, so it warns and says why."""
    of = {"clusters": {"a": 20, "b": 20}}
    found = [
        checks.check_missing(facts(missing={"a": 20, "b": 80}, **of)),
        checks.check_coverage(facts(coverage={"a": (1_000, 1_000), "b": (900, 1_000)}, **of)),
        checks.check_balance(pair(0.5), ["x:age"], ["a", "b"], "a", clustered=True),
    ]

    for each in found:
        assert each.verdict == "warn"
        assert each.message.endswith(checks.TOO_STRICT)


def test_amounts_have_the_decimals_of_their_currency():
    """2,000 of the minor unit are 20.00 yuan and 2,000 yen."""
    stacked = facts(stacked={"a": (10, 100, 20_000)})

    assert "coupon of 20.00 on" in money_checks.check_stacking(stacked, "a").message
    assert "coupon of 2,000 on" in money_checks.check_stacking(stacked, "a", minor=1).message
