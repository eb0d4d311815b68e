"""What cancellations, returns, exchanges and mere refunds take from an order."""

from __future__ import annotations

from datetime import timedelta

import pytest

from upliftlab.errors import DataError

HALF = 5_250
"""Half of the settlement base of one line, in fen."""


def test_an_order_without_refund_is_kept(shop):
    """Sales, goods, coupons and parcels of one kept order."""
    found = shop.totals(refunds=shop.refunds({"order_id": "O0", "type": "exchange"}))

    assert found["kept_sales"] == 10_500
    assert found["goods"] == 4_000
    assert found["merchant_coupon"] == 1_000
    assert (found["orders"], found["orders_shipped"], found["orders_kept"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # kept, cancelled, returned sales, goods, goods returned, shipped, returned orders
        ("cancel_preship", (0, 10_500, 0, 0, 0, 0, 0)),
        ("return_refund", (0, 0, 10_500, 0, 4_000, 1, 1)),
        ("refund_only", (0, 0, 10_500, 4_000, 0, 1, 0)),
        ("exchange", (10_500, 0, 0, 4_000, 0, 1, 0)),
        ("退货退款", (0, 0, 10_500, 0, 4_000, 1, 1)),
        ("仅退款", (0, 0, 10_500, 4_000, 0, 1, 0)),
    ],
)
def test_each_kind_of_refund_takes_its_part(shop, kind, expected):
    """Whole refunds: who has the goods, and whether a parcel left, depends on the kind."""
    found = shop.totals(refunds=shop.refunds({"type": kind}))
    names = ("kept_sales", "cancelled_sales", "returned_sales", "goods", "goods_returned",
             "orders_shipped", "orders_returned")  # fmt: skip

    assert tuple(found[name] for name in names) == expected


def test_a_partial_refund_takes_its_share_of_everything(shop):
    """Half the cash back is half of sales, goods and coupons; the order counts as kept."""
    found = shop.totals(refunds=shop.refunds({"type": "partial", "amount_fen": 5_000}))

    assert found["returned_sales"] == HALF
    assert found["kept_sales"] == HALF
    assert (found["goods"], found["goods_returned"]) == (2_000, 2_000)
    assert found["kept_merchant_coupon"] == 500
    assert found["orders_kept"] == 1


def test_partial_refunds_of_two_kinds_are_told_apart(shop):
    """A quarter cancelled before shipping and a half returned: each where it belongs."""
    back = shop.refunds({"type": "cancel_preship", "amount_fen": 2_500}, {"amount_fen": 5_000})
    found = shop.totals(refunds=back)

    # The line's 75 % are 7,875 fen; a third of it, 2,625, was cancelled.
    assert (found["cancelled_sales"], found["returned_sales"]) == (2_625, 5_250)
    assert found["kept_sales"] == 2_625
    assert (found["orders_shipped"], found["orders_cancelled"]) == (1, 0)
    assert (found["goods"], found["goods_returned"]) == (1_000, 2_000)


def test_refunds_without_amount_count_by_quantity(shop):
    """One of four pieces back is a quarter of the line."""
    back = shop.refunds({"qty": 1}).drop(columns="amount_fen")
    found = shop.totals(order_lines=shop.lines({"qty": 4}), refunds=back)

    assert found["kept_sales"] == 10_500 - 2_625
    assert found["goods"] == 12_000


def test_refunds_without_amount_and_quantity_are_whole(shop):
    """A refund that says nothing more takes the line."""
    back = shop.refunds({}).drop(columns="amount_fen")

    assert shop.totals(refunds=back)["kept_sales"] == 0


def test_a_refund_without_line_is_shared_by_the_lines_of_its_order(shop):
    """A quarter of the order's cash is a quarter of each line; parcels count once."""
    lines = shop.lines({"order_id": "O0"}, {"order_id": "O0", "unit_cost_fen": 2_000})
    back = shop.refunds({"amount_fen": 5_000}).drop(columns="line_id")
    found = shop.totals(order_lines=lines, refunds=back)

    assert found["returned_sales"] == 2 * 2_625
    assert found["goods"] == 3_000 + 1_500
    assert (found["orders"], found["orders_shipped"], found["orders_returned"]) == (1, 1, 1)


def test_one_piece_of_a_two_line_order_is_half_of_it(shop):
    """Refunds by quantity, without line: pieces of the order, not of every line."""
    lines = shop.lines({"order_id": "O0"}, {"order_id": "O0"})
    back = shop.refunds({"qty": 1}).drop(columns=["line_id", "amount_fen"])

    assert shop.totals(order_lines=lines, refunds=back)["kept_sales"] == 10_500


def test_refunds_with_and_without_line_add_up(shop):
    """A blank line id among others concerns the order; nothing is lost."""
    lines = shop.lines({"order_id": "O0"}, {"order_id": "O0"})
    back = shop.refunds({"amount_fen": 5_000}, {"amount_fen": 4_000, "line_id": None})
    found = shop.totals(order_lines=lines, refunds=back)

    # Line 0 loses 50 % + 20 %, line 1 loses 20 %.
    assert found["returned_sales"] == 7_350 + 2_100


def test_an_order_paid_by_coupons_alone_is_refunded_whole(shop):
    """No cash to take a share of: the refund takes the line."""
    line = {"cash_fen": 0, "platform_coupon_fen": 10_500}
    found = shop.totals(order_lines=shop.lines(line), refunds=shop.refunds({"amount_fen": 0}))

    assert found["kept_sales"] == 0


def test_more_than_the_cash_is_the_whole_and_is_said(shop):
    """Refunds above the cash of a line take the line once, with a note."""
    prepared = shop.prepared(refunds=shop.refunds({"amount_fen": 12_000}))

    assert prepared.facts.totals["kept_sales@14d"] == 0
    assert prepared.facts.notes == (
        "1 order lines were refunded more than their cash; they count as refunded whole",
    )


def test_net_sales_see_only_the_refunds_of_their_time(shop):
    """A part back within the hour, the rest on day 4: each window has its own net sales."""
    paid = shop.start + timedelta(days=1)
    back = shop.refunds(
        {"amount_fen": 2_000, "refunded_at": paid + timedelta(minutes=30)},
        {"amount_fen": 8_000, "refunded_at": paid + timedelta(days=4)},
    )
    found = shop.totals(refunds=back)

    assert found["net_sales_1h"] == 10_500 - 2_100
    assert found["net_sales_7d"] == 0
    assert found["kept_sales"] == 0


def test_refunds_that_are_not_used_are_counted(shop):
    """Repeated, exchanged, unpaid and foreign refunds are set aside by rule."""
    back = shop.refunds(
        {},
        {"refund_id": "R0"},
        {"type": "exchange"},
        {"refunded_at": None},
        {"order_id": "X"},
        {"line_id": "X"},
    )

    assert shop.aside(refunds=back) == {
        "refunds: refund_id seen before; the first row counts": 1,
        "refunds: exchanged; the sale stands": 1,
        "refunds: not paid out: without a time of refund": 1,
        "refunds: of orders that no order line has": 2,
    }


def test_facts_after_the_data_speak_are_not_known_yet(shop):
    """With data as of 3 June neither the return of 5 June nor the order of 4 June exists."""
    plan = shop.plan(
        data={
            "assignments": {"file": "a"},
            "order_lines": {"file": "b"},
            "as_of": "2026-06-03",
        }
    )
    lines = shop.lines({}, {"paid_at": shop.start + timedelta(days=3)})
    prepared = shop.prepared(plan, order_lines=lines, refunds=shop.refunds({}))

    assert prepared.facts.totals["kept_sales@14d"] == 10_500
    assert {each.rule for each in prepared.facts.set_aside} == {
        "later than the moment up to which the data speak"
    }
    assert prepared.facts.closed == {"coupon": 0.0, "none": 0.0}


def test_an_unknown_kind_of_refund_is_refused(shop):
    """A word that nobody can interpret is an error, not a guess."""
    with pytest.raises(DataError) as error:
        shop.prepared(refunds=shop.refunds({"type": "价保"}))

    assert str(error.value) == (
        "column 'type' of table 'refunds' has ['价保'], which nothing reads; allowed: "
        "['cancel_preship', 'exchange', 'partial', 'refund_only', 'return_refund']."
    )


def test_no_refunds_source_is_said(shop):
    """Without refunds sales are before returns, and the page says so."""
    assert shop.prepared().facts.notes == (
        "no refunds source: sales are before cancellations and returns",
    )
