"""Amounts, rates and funding: whole fen, nobody's guess."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from upliftlab.data import values
from upliftlab.data.engine import embedded
from upliftlab.errors import DataError


def read(kind, cells, *, factor=1):
    """What a column of one kind becomes."""
    engine = embedded(threads=1)
    table = engine.text_table(pa.table({"x": cells}), "t")
    reader = values.reader(kind, name="x", table="t", factor=factor, offset=28_800)
    return [row["y"] for row in engine.rows(table.select(y=reader(table.x)))]


def test_yuan_become_fen_half_up():
    """Half a fen rounds away from zero, also where binary fractions fall short of it."""
    assert read("money", [0.285, 1.005, 1.15, 130.0, -0.285], factor=100) == [
        29, 101, 115, 13_000, -29,
    ]  # fmt: skip


def test_money_texts():
    """Thousands separators and spaces are read; blanks are missing and never 0."""
    cells = [" 1,234.50", "\t12", "-", "", "--", "null", "0"]

    assert read("money", cells, factor=100) == [123_450, 1_200, None, None, None, None, 0]


def test_amounts_around_a_billion_are_exact():
    """A billion yuan is 1e11 fen; no digit is lost."""
    assert read("money", ["1000000000.01"], factor=100) == [100_000_000_001]
    assert read("money", [1_000_000_000], factor=100) == [100_000_000_000]


@pytest.mark.parametrize("cell", ["twelve", "inf", "1e400", "1e30"])
def test_what_is_no_amount_is_missing_and_marked(cell):
    """Words, infinities and astronomic amounts never become a number."""
    assert read("money", [cell], factor=100) == [None]


def test_rates_in_basis_points_or_percent():
    """2000 and 20% are one rate; 0.2 could be two things and is not read; 0 is 0."""
    assert read("rate", ["2000", "20%", "0.5%", "0", "-", "0.2"]) == [
        2_000, 2_000, 50, 0, None, None,
    ]  # fmt: skip


def test_ids_keep_all_digits():
    """19 digits, leading tabs and letters come through as text."""
    assert read("id", ["\t6917529027641081857", "a-1", "-", None]) == [
        "6917529027641081857", "a-1", None, None,
    ]  # fmt: skip
    assert read("id", [6_917_529_027_641_081_857]) == ["6917529027641081857"]


@pytest.mark.parametrize("cells", [[1.0, 2.0], [np.nan, 1.0]])
def test_ids_as_floats_are_refused(cells):
    """A float has 15 digits; two customers may have become one."""
    with pytest.raises(DataError, match="holds ids as decimal numbers"):
        read("id", cells)


def test_flags_in_the_words_of_exports():
    """Yes and no in two languages; anything else is missing."""
    assert read("flag", ["是", "否", "TRUE", "0", "perhaps"]) == [
        True,
        False,
        True,
        False,
        None,
    ]


def told(shop, **columns):
    """Order lines with some columns replaced, or left out where None."""
    frame = shop.lines({}, {"unit": "u1", "order_id": "O1"})
    for name, cells in columns.items():
        frame = frame.drop(columns=name) if cells is None else frame.assign(**{name: cells})
    return frame


def test_fractions_of_a_fen_mean_yuan(shop):
    """Who says fen and has 100.5 meant yuan: refused with the fix."""
    with pytest.raises(DataError) as error:
        shop.prepared(order_lines=told(shop, cash_fen=[100.5, 99.0]))

    assert str(error.value) == (
        "column 'cash' of table 'order_lines' has 1 values that are no amounts of money, or "
        "fractions of a fen; correct them, or write money: yuan if the column is in yuan."
    )


def test_money_without_a_unit(shop):
    """Nobody said yuan or fen, and 100 times is a wrong number."""
    frame = told(shop).rename(columns={"cash_fen": "cash"})

    with pytest.raises(DataError) as error:
        shop.prepared(order_lines=frame)

    assert str(error.value) == (
        "table 'order_lines' has money columns ['cash'] and names no unit; add money: yuan or "
        "money: fen to data.order_lines."
    )


def test_blank_money_is_refused(shop):
    """A blank is missing, never 0."""
    with pytest.raises(DataError) as error:
        shop.prepared(order_lines=told(shop, cash_fen=[np.nan, 1.0]))

    assert str(error.value) == (
        "column 'cash' of table 'order_lines' is empty in 1 of 2 rows; it must be filled in "
        "every row."
    )


def test_negative_prices_are_refused(shop):
    """No price is below zero."""
    with pytest.raises(DataError) as error:
        shop.prepared(order_lines=told(shop, list_fen=[-13_000, 13_000]))

    assert str(error.value) == (
        "column 'list' of table 'order_lines' is below zero in 1 of 2 rows, the lowest -13000; "
        "it must be zero or more."
    )


def without_split(shop):
    """Lines with one coupon amount of 15 yuan, and cash, and no word on who paid."""
    frame = told(shop, merchant_coupon_fen=None, platform_coupon_fen=None, markdown_fen=None)
    return frame.assign(coupon_fen=1_500).drop(columns=["list_fen", "settlement_base_fen"])


def test_the_plans_split_where_lines_are_silent(shop):
    """80 % of 15 yuan are ours; sales are before our part, after the platform's."""
    plan = shop.plan(who_pays={"merchant": "80%", "platform": "20%"})
    found = shop.totals(plan, order_lines=without_split(shop))

    assert found["merchant_coupon"] == 2 * 1_200
    assert found["platform_coupon"] == 2 * 300
    assert found["gmv_merchant"] == 2 * 10_300
    assert shop.prepared(plan, order_lines=without_split(shop)).facts.funding == {}


def test_three_parties_may_share_a_coupon(shop):
    """Every party gets its stated part, the platform what rounding leaves."""
    plan = shop.plan(who_pays={"merchant": "1/3", "platform": "1/3", "creator": "1/3"})
    frame = without_split(shop).assign(coupon_fen=1_000)
    found = shop.totals(plan, order_lines=frame)

    assert (
        found["merchant_coupon"], found["platform_coupon"], found["creator_coupon"]
    ) == (666, 668, 666)  # fmt: skip


def test_nobody_says_who_paid(shop):
    """Neither lines nor plan: an error, never 100 % ours."""
    with pytest.raises(DataError) as error:
        shop.prepared(order_lines=without_split(shop))

    assert str(error.value) == (
        "order lines carry one coupon amount and nobody says who paid it; add columns "
        "merchant_coupon and platform_coupon, or who_pays: {merchant: 80%, platform: 20%}."
    )


def test_a_total_and_one_part_give_the_other(shop):
    """15 yuan of coupons, 10 of them ours: the platform paid 5."""
    frame = told(shop, platform_coupon_fen=None).assign(coupon_fen=1_500)
    found = shop.totals(order_lines=frame)

    assert (found["merchant_coupon"], found["platform_coupon"]) == (2_000, 1_000)


def test_a_coupon_test_without_coupon_money_is_refused(shop):
    """Arms get coupons and no line says what they cost: not a free coupon."""
    frame = told(shop, merchant_coupon_fen=None, platform_coupon_fen=None, markdown_fen=None)

    with pytest.raises(DataError) as error:
        shop.prepared(order_lines=frame)

    assert str(error.value) == (
        "arms of the plan get coupons and order lines carry no coupon amount; add columns "
        "merchant_coupon and platform_coupon, or coupon and who_pays."
    )


def test_lines_that_do_not_add_up_are_counted(shop):
    """list = markdown + coupons + promotion + cash, on every line."""
    facts = shop.prepared(order_lines=told(shop, cash_fen=[10_001, 10_000])).facts

    assert facts.unbalanced_lines == 1


def test_commission_is_rounded_per_line(shop):
    """20 % of 10,500 fen twice; the settlement rounds each line, half up."""
    frame = told(shop).assign(commission_rate_bp=[2_000, 333], channel="creator_organic")

    assert shop.totals(order_lines=frame)["commission"] == 2_100 + 350


def test_a_blank_commission_of_a_creator_is_missing(shop):
    """No rate is not 0 %; on the shelf there is nobody to pay."""
    frame = told(shop).assign(commission_rate_bp=[np.nan, 2_000])

    with pytest.raises(DataError, match=r"'commission_rate_bp' .* is empty in 1 of 2 rows"):
        shop.prepared(order_lines=frame.assign(channel="creator_ads"))
    shelf = frame.assign(channel=["shelf_organic", "creator_ads"])
    assert shop.totals(order_lines=shelf)["commission"] == 2_100


def test_shares_as_commission_are_refused(shop):
    """0.2 could be 20 % or a fifth of a basis point."""
    frame = told(shop).assign(commission_rate_bp=[0.2, 0.2])

    with pytest.raises(DataError) as error:
        shop.prepared(order_lines=frame)

    assert str(error.value) == (
        "column 'commission_rate_bp' of table 'order_lines' has 2 values that cannot be read "
        "as basis points from 1 to 10000, or percent such as 20%; correct them or leave them "
        "blank."
    )


def test_unknown_channels_are_said(shop):
    """Sales of a channel that no rate charges are a note, not a silent zero."""
    frame = told(shop).assign(channel=["creator_ads", "橱窗"])
    notes = shop.prepared(order_lines=frame).facts.notes

    assert notes[0] == (
        "1 order lines have channels ['橱窗'] that belong to no channel of the ledger; rates "
        "by channel do not charge them"
    )


def test_an_order_of_three_lines_is_one_parcel(shop):
    """Money adds up over lines; orders, parcels and returns count once."""
    lines = shop.lines(*[{"order_id": "O0"}] * 3)
    found = shop.totals(
        order_lines=lines, refunds=shop.refunds({"line_id": "L1"}, {"line_id": "L2"})
    )

    assert found["gmv_merchant"] == 31_500
    assert found["kept_sales"] == 10_500
    assert (found["orders"], found["orders_shipped"]) == (1, 1)
    assert (found["orders_returned"], found["orders_kept"]) == (1, 1)


def test_repeated_lines_that_differ_are_said(shop):
    """The same line id with two amounts: one counts, whatever the order, and a note says so."""
    frame = told(shop).assign(line_id="L0", order_id="O0", unit="u0")
    frame.loc[1, ["cash_fen", "platform_coupon_fen"]] = [9_000, 1_500]
    there, back = (shop.prepared(order_lines=f) for f in (frame, frame.iloc[::-1]))

    assert there.facts.totals == back.facts.totals
    assert there.facts.notes[0] == (
        "1 repeated rows of order_lines differ from the row with the same line_id that counts"
    )
