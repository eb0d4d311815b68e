from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from upliftlab.components import NAMES
from upliftlab.economics import MERCHANT, break_even_roi
from upliftlab.errors import DefinitionError
from upliftlab.experiment import Experiment
from upliftlab.lines import LEDGER_LINES, STATED_KINDS
from upliftlab.pricing import build

ORDER_COMPONENTS = {
    "gmv_platform",
    "merchant_coupon",
    "platform_coupon",
    "gmv_merchant",
    "cancelled_sales",
    "returned_sales",
    "kept_sales",
    "kept_merchant_coupon",
    "kept_platform_coupon",
    "goods",
    "goods_returned",
    "orders",
    "orders_shipped",
    "orders_returned",
    "commission",
    "agency_fee",
}


def costs(text):
    plan = Experiment.from_text(
        f"""
name: x
kind: smart_coupon
arms: {{none: {{share: 50%, control: true}}, c: {{share: 50%, coupon: 20, over: 99}}}}
costs: {text}
data: {{units: {{file: u.csv, money: yuan, columns: {{gmv: s}}}}}}
"""
    )
    return plan.costs


def test_one_margin_charges_goods_on_sales_before_our_coupon():
    """35 % of 100 yuan of sales, less the 20 yuan coupon, is 15 yuan."""
    book = build(costs("{margin: 35%}"), components={"gmv_platform", "merchant_coupon"})
    price = book.price(MERCHANT, "c")

    assert price["gmv_platform"] * 10_000 + price["merchant_coupon"] * 2_000 == pytest.approx(
        1_500
    )


def test_sales_after_our_coupon_give_the_same_profit():
    """A shop that reports sales net of its coupon has the same margin on the same goods."""
    book = build(costs("{margin: 35%}"), components={"gmv_merchant", "merchant_coupon"})
    price = book.price(MERCHANT, "c")

    assert price["gmv_merchant"] * 8_000 + price["merchant_coupon"] * 2_000 == pytest.approx(
        1_500
    )


def test_lines_of_a_preset_are_marked_assumed_and_own_lines_given():
    """Who reads the profit sees which lines are whose."""
    book = build(costs("{preset: douyin_apparel, outbound: 3.00}"), components=ORDER_COMPONENTS)

    assert book.line("outbound").status == "given"
    assert book.line("packaging").status == "assumed"
    assert book.line("goods").status == "measured"
    assert book.missing == ()


def test_what_nobody_speaks_of_is_missing():
    """A plan with one fee says what it leaves out."""
    book = build(costs("{tech_fee: 4.4%}"), components={"gmv_platform", "kept_sales", "orders"})

    assert "payment_fee" in book.missing
    assert "goods" in book.missing
    assert "tech_fee" not in book.missing


def test_a_cost_on_something_that_is_not_measured_is_refused():
    """Return handling needs returned orders."""
    with pytest.raises(
        DefinitionError, match=r"costs\.return_handling needs component 'orders_returned'"
    ):
        build(costs("{return_handling: 1.5}"), components={"gmv_platform"})


def test_profit_needs_sales():
    """Counts alone earn nothing."""
    with pytest.raises(DefinitionError, match="profit needs sales"):
        build(costs("{margin: 35%}"), components={"orders"})


def test_what_the_merchant_pays_in_fees_the_platform_gets():
    """A transfer is in two ledgers with opposite signs."""
    book = build(costs("{tech_fee: 4.4%, goods: 30%}"), components=ORDER_COMPONENTS)
    fee = book.line("tech_fee")

    assert fee.terms("merchant", "c") == {"kept_sales": -0.044}
    assert fee.terms("platform", "c") == {"kept_sales": 0.044}


@given(st.floats(0, 1), st.floats(0, 1))
def test_changing_the_funding_twice_is_changing_it_once(first, second):
    """The merchant's share is a state, not a factor."""
    book = build(costs("{preset: douyin_apparel}"), components=ORDER_COMPONENTS)
    once = book.with_funding(second).price(MERCHANT, "c")
    twice = book.with_funding(first).with_funding(second).price(MERCHANT, "c")

    for name in once.keys() | twice.keys():
        assert twice.get(name, 0) == pytest.approx(once.get(name, 0), abs=1e-9)


def test_todays_share_as_what_if_changes_no_profit():
    """At 80 % paid by the merchant, asking for 80 % is no question."""
    book = build(costs("{preset: douyin_apparel}"), components=ORDER_COMPONENTS)
    order = {
        "gmv_platform": 15_000,
        "merchant_coupon": 1_600,
        "platform_coupon": 400,
        "gmv_merchant": 13_400,
        "cancelled_sales": 0,
        "returned_sales": 0,
        "kept_sales": 13_400,
        "kept_merchant_coupon": 1_600,
        "kept_platform_coupon": 400,
        "goods": 4_000,
        "orders": 1,
        "orders_shipped": 1,
        "orders_returned": 0,
        "goods_returned": 0,
        "commission": 1_072,
        "agency_fee": 0,
    }

    def profit(economics):
        return sum(rate * order[name] for name, rate in economics.price(MERCHANT, "c").items())

    assert profit(book.with_funding(0.8)) == pytest.approx(profit(book))
    assert profit(book.with_funding(0.0)) == pytest.approx(profit(book) + 1_600 * (1 - 0.08))


def test_break_even_roi_is_not_the_popular_formula():
    """Margin 30 %, returns 5 %: 1 / (0.30 x 0.95) = 3.51; the popular formula says 1.65."""
    assert break_even_roi(0.30, 0.05) == pytest.approx(3.5088, abs=1e-4)
    assert pytest.approx(1.65) == 1 - 0.30 + (1 - 0.05)


def test_every_line_of_the_ledger_is_held_somewhere():
    """31 lines, each a component, a cost key of a plan, or outside contribution."""
    places = set(NAMES) | set(STATED_KINDS) | {"fixed"}

    assert [line.number for line in LEDGER_LINES] == list(range(1, 32))
    assert {line.held_as for line in LEDGER_LINES} <= places
