"""The worked example: 13,000,000 yuan of sales leave 50,000 yuan, to the fen.

Every figure of the tables below was computed by hand from the template of one order (160 yuan
list, 20 markdown, 10 merchant coupon, 5 platform coupon) and the rates in ``COSTS``.
"""

from __future__ import annotations

from functools import cache

import pandas as pd
import pyarrow as pa
import pytest

from upliftlab import economics, pricing
from upliftlab.data import ledger, refunds
from upliftlab.data.engine import embedded
from upliftlab.errors import LedgerError
from upliftlab.experiment import Costs
from upliftlab.pnl import break_even_pay_roi, per_line, pnl

ORDERS = {
    "creator_organic": 25_000,
    "creator_ads": 30_000,
    "self_live_ads": 30_000,
    "shelf_organic": 15_000,
}
STATUS = {"cancel_preship": 20, "return_refund": 30, "kept": 50}
SPEND = {"creator_ads": 65_000_000, "self_live_ads": 85_000_000}
FIXED = {"payroll": 54_000_000, "rent": 9_000_000, "software": 3_600_000, "admin": 4_995_000}
COSTS = {
    "goods": "from_orders",
    "write_off": "8%",
    "outbound": 3.2,
    "packaging": 1,
    "freight_insurance": 2.5,
    "return_handling": 1.5,
    "service": 0.6,
    "gift": 0.5,
    "tech_fee": "4.4%",
    "payment_fee": "0.6%",
    "tax": "3%",
    "commission_organic": "20%",
    "commission_ads": "20%",
    "agency": "3%",
}
NET = 5_000_000


def totals(orders=ORDERS, status=STATUS, coupon=1_000):
    """Add up the components of template orders, one per channel and status, weighted."""
    return _totals(tuple(orders.items()), tuple(status.items()), coupon)


@cache
def _totals(orders, status, coupon):
    orders, status = dict(orders), dict(status)
    engine = embedded(threads=1)
    rows = [
        {"order_id": f"{channel} {kind}", "line_id": f"{channel} {kind}", "channel": channel}
        for channel in orders
        for kind in status
    ]
    lines = pa.Table.from_pandas(
        pd.DataFrame(rows).assign(
            unit="u", paid_at=0, qty=1.0, list=16_000, markdown=2_000, merchant_coupon=coupon,
            platform_coupon=500, unit_cost=4_200, assigned_at=0,
        )
    )  # fmt: skip
    gone = [row for row in rows if not row["order_id"].endswith("kept")]
    back = pa.Table.from_pandas(
        pd.DataFrame(
            {
                "order_id": [row["order_id"] for row in gone],
                "line_id": [row["line_id"] for row in gone],
                "type": [row["order_id"].split()[1] for row in gone],
                "refunded_at": 86_400,
                "amount": 16_000 - 2_000 - coupon - 500,
                "qty": 1.0,
            }
        )
    )
    priced = ledger.priced(engine.text_table(lines, "order_lines"))
    beside = refunds.beside(priced, engine.text_table(back, "refunds"))
    found = engine.rows(ledger.components(beside, has_refunds=True))
    out = {channel: {} for channel in orders}
    for row in found:
        channel, kind = row["order_id"].split()
        count = orders[channel] * status[kind] // 100
        more = {
            "orders": 1,
            "orders_shipped": row["line_shipped"],
            "orders_returned": row["line_returned"],
        }
        for name, amount in (row | more).items():
            if isinstance(amount, int) and name not in {"paid_at", "assigned_at"}:
                out[channel][name] = out[channel].get(name, 0) + count * amount
    return out


def prices(**changes):
    """The plan's costs as price vectors, some of them changed."""
    return pricing.build(Costs(**(COSTS | changes)), components=totals()["shelf_organic"])


def sheet(quantities=None, economy=None):
    """The whole P&L."""
    return pnl(quantities or totals(), economy or prices(), spend=SPEND, fixed=FIXED)


def yuan(fen):
    return fen / 100


TABLE = {
    "goods": (-525_000, -630_000, -630_000, -315_000, -2_100_000),
    "write_off": (-25_200, -30_240, -30_240, -15_120, -100_800),
    "outbound": (-64_000, -76_800, -76_800, -38_400, -256_000),
    "packaging": (-20_000, -24_000, -24_000, -12_000, -80_000),
    "freight_insurance": (-50_000, -60_000, -60_000, -30_000, -200_000),
    "return_handling": (-11_250, -13_500, -13_500, -6_750, -45_000),
    "service": (-15_000, -18_000, -18_000, -9_000, -60_000),
    "gift": (-12_500, -15_000, -15_000, -7_500, -50_000),
    "tech_fee": (-71_500, -85_800, -85_800, -42_900, -286_000),
    "payment_fee": (-9_750, -11_700, -11_700, -5_850, -39_000),
    "tax": (-48_750, -58_500, -58_500, -29_250, -195_000),
    "commission_organic": (-325_000, 0, 0, 0, -325_000),
    "commission_ads": (0, -390_000, 0, 0, -390_000),
    "agency": (-48_750, -58_500, 0, 0, -107_250),
    "cancelled": (-650_000, -780_000, -780_000, -390_000, -2_600_000),
    "returned": (-975_000, -1_170_000, -1_170_000, -585_000, -3_900_000),
    "sales": (3_500_000, 4_200_000, 4_200_000, 2_100_000, 14_000_000),
    "coupon": (-250_000, -300_000, -300_000, -150_000, -1_000_000),
}


@pytest.fixture(scope="module")
def base():
    return sheet()


@pytest.mark.parametrize("line", TABLE)
def test_every_line_of_the_table_ties_to_the_fen(base, line):
    """Each line has the table's amount in every channel, and in total."""
    row = base.row(line)

    assert [*row.amounts.values(), row.total] == [100 * amount for amount in TABLE[line]]


def test_the_table_has_no_line_that_is_not_checked(base):
    """Every line that costs or brings something is in the table above."""
    assert {row.name for row in base.rows} == set(TABLE)


def test_the_sums_of_the_table_tie_to_the_fen(base):
    """Net sales, contribution before and after ads, and net profit."""
    assert [yuan(x) for x in base.net_sales.amounts.values()] == [
        1_625_000, 1_950_000, 1_950_000, 975_000,
    ]  # fmt: skip
    assert [yuan(x) for x in base.before_ads.amounts.values()] == [
        398_300, 477_960, 926_460, 463_230,
    ]  # fmt: skip
    assert yuan(base.before_ads.total) == 2_265_950
    assert list(base.contribution.amounts.values()) == [
        39_830_000, -17_204_000, 7_646_000, 46_323_000,
    ]  # fmt: skip
    assert base.contribution.total == 76_595_000
    assert base.net_profit == NET


def test_whole_fen_leave_no_rounding(base):
    """All per-order values are whole fen, so the ledger is the linear form."""
    assert set(base.rounding.values()) == {0}


def test_gmv_has_five_bases():
    """List, platform, merchant, cash and kept sales of the same orders, in million yuan."""
    found = totals()

    def million(name):
        return sum(column[name] for column in found.values()) / 100_000_000

    assert [
        million(x) for x in ("gmv_list", "gmv_platform", "gmv_merchant", "cash", "kept_sales")
    ] == [16.0, 14.0, 13.0, 12.5, 6.5]


def test_roi_of_the_ads_channels_depends_on_the_base():
    """5.60, 5.20, 5.00 and 2.60 are the same campaign; contribution ROI is 0.936."""
    found, spend = totals(), sum(SPEND.values())
    ads = [found[channel] for channel in SPEND]
    roi = {
        name: sum(column[name] for column in ads) / spend
        for name in ("gmv_platform", "gmv_merchant", "cash", "kept_sales")
    }

    assert list(roi.values()) == pytest.approx([5.60, 5.20, 5.00, 2.60])
    before = sheet().before_ads.amounts
    assert sum(before[c] for c in SPEND) == 140_442_000
    assert sum(before[c] for c in SPEND) / spend == pytest.approx(0.93628)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (("creator_organic", "creator_ads"), 8.16),
        (("self_live_ads", "shelf_organic"), 4.21),
        (tuple(ORDERS), 5.74),
    ],
)
def test_break_even_roi_by_channel(base, channels, expected):
    """Sales per ad yuan at which nothing is earned, per group of channels."""
    found = totals()
    contribution = sum(base.before_ads.amounts[c] for c in channels)
    sales = sum(found[c]["gmv_merchant"] for c in channels)

    assert round(break_even_pay_roi(contribution, sales), 2) == expected


def test_break_even_decides_who_earns(base):
    """Creator ads at 6.00 lose below 8.16; self-live ads at 4.59 earn above 4.21."""
    found = totals()
    roi = {c: found[c]["gmv_merchant"] / SPEND[c] for c in SPEND}

    assert roi == pytest.approx({"creator_ads": 6.00, "self_live_ads": 4.588}, abs=1e-3)
    assert base.contribution.amounts["creator_ads"] == -17_204_000
    assert base.contribution.amounts["self_live_ads"] == 7_646_000


def test_the_popular_break_even_formula_is_wrong():
    """1 - margin + (1 - returns) says 1.65 where one needs 3.51 to earn nothing."""
    margin, returned = 0.30, 0.05
    popular = 1 - margin + (1 - returned)

    assert popular == pytest.approx(1.65)
    assert round(economics.break_even_roi(margin, returned), 2) == 3.51
    assert margin * (1 - returned) * popular < 1


def test_a_channel_that_earns_nothing_never_breaks_even():
    """Without contribution no ROI pays the ads back."""
    assert break_even_pay_roi(0, 1_000) == float("inf")
    assert break_even_pay_roi(-5, 1_000) == float("inf")


GROWN = {channel: count * 115 // 100 for channel, count in ORDERS.items()}
TENTH_MORE = {channel: count * 110 // 100 for channel, count in ORDERS.items()}
DUAL = {"creator_organic": 27_500, "creator_ads": 27_600, "self_live_ads": 30_000,
        "shelf_organic": 14_700}  # fmt: skip
GENEROUS = {"creator_organic": 28_750, "creator_ads": 30_000, "self_live_ads": 30_000,
            "shelf_organic": 14_250}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "change", "expected"),
    [
        ("+1 point of returns", {"status": STATUS | {"return_refund": 31, "kept": 49}},
         -66_015.0),
        ("+1 point of cancellations", {"status": STATUS | {"cancel_preship": 21, "kept": 49}},
         -54_455.0),
        ("+1 yuan merchant coupon", {"coupon": 1_100}, -39_675.0),
        ("+10 yuan coupon, +15 % orders", {"coupon": 2_000, "orders": GROWN}, -116_370.0),
        ("+10 % orders", {"orders": TENTH_MORE}, 226_595.0),
    ],
)  # fmt: skip
def test_what_if_quantities_move(what, change, expected):
    """Other orders, coupons or returns at the same prices change profit by this much."""
    assert yuan(sheet(totals(**change)).net_profit - NET) == expected, what


def test_fee_relief_is_mechanical():
    """The technical fee falls away: control quantities at other prices, +286,000."""
    found = sheet(economy=prices().scaled("tech_fee", 0.0))

    assert found.net_profit - NET == 28_600_000


def test_dual_commission_is_mechanical():
    """25 % organic and 8 % ads on the same orders: +152,750."""
    dual = prices(commission_organic="25%", commission_ads="8%")

    assert sheet(economy=dual).net_profit - NET == 15_275_000


@pytest.mark.parametrize(
    ("orders", "rates", "sales", "net"),
    [
        (DUAL, ("25%", "8%"), 12_974_000, 168_233.60),
        (GENEROUS, ("30%", "20%"), 13_390_000, -100_291.50),
    ],
)
def test_sales_and_profit_move_apart(orders, rates, sales, net):
    """Sales fall and profit trebles; sales grow by 3 % and profit is gone."""
    economy = prices(commission_organic=rates[0], commission_ads=rates[1])
    quantities = totals(orders)
    found = sheet(quantities, economy)

    assert yuan(sum(column["gmv_merchant"] for column in quantities.values())) == sales
    assert yuan(found.net_profit) == net


def test_funding_moves_money_and_not_orders():
    """The platform pays the whole smart coupon: our profit rises, every count stays."""
    ours = prices()
    theirs = ours.with_funding(0.0)
    before, after = sheet(economy=ours), sheet(economy=theirs)

    assert after.net_profit > before.net_profit
    assert after.row("service").amounts == before.row("service").amounts
    assert after.row("outbound").amounts == before.row("outbound").amounts


def test_half_a_fen_per_line_is_shown_as_rounding():
    """9,999 fen at 4.4, 0.6, 3 and 20 %: 2,800 booked, 2,799.72 exact; 28,000 over 100,000."""
    rates = {"tech_fee": 0.044, "payment_fee": 0.006, "tax": 0.03, "commission_organic": 0.20}
    economy = economics.Economics(
        lines=tuple(
            economics.Line(name=name, label=name, stage="settlement",
                           flows={"merchant": {"kept_sales": -rate}})
            for name, rate in rates.items()
        )
    )  # fmt: skip
    lines = {9_999: 100_000}
    booked = {name: {"all": -per_line(lines, rate)} for name, rate in rates.items()}
    found = pnl({"all": {"kept_sales": 999_900_000}}, economy, booked=booked)

    assert found.before_ads.total == -280_000_000
    assert found.linear["all"] == -279_972_000
    assert found.rounding["all"] == 28_000


def test_parties_share_what_the_merchant_pays(base):
    """Creators get what the commission lines cost, agencies their service fee."""
    assert sum(base.parties["creator"].values()) == 71_500_000
    assert sum(base.parties["agency"].values()) == 10_725_000
    assert sum(base.parties["merchant"].values()) == base.before_ads.total


def test_a_price_without_its_component_is_refused():
    """A line that nobody added up is an error with the nearest name, never a zero."""
    line = economics.Line(
        name="tax", label="tax", stage="settlement", flows={"merchant": {"kept_sales": -0.03}}
    )

    with pytest.raises(LedgerError) as error:
        pnl({"all": {"kept_sale": 1}}, economics.Economics(lines=(line,)))

    assert str(error.value) == (
        "line 'tax' is charged on component 'kept_sales'; the totals have ['kept_sale']. "
        "Did you mean 'kept_sale'?"
    )
