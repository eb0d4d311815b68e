"""Does the ledger tie to the fen, and is what was planted found by name?"""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.errors import DataError, LedgerError, UpliftlabError
from upliftlab.review.books import (
    Account,
    Books,
    Chart,
    calendar_months,
    read_books,
    read_chart,
    weeks_445,
)
from upliftlab.review.postings import Posting, postings_from, two_bases
from upliftlab.review.tie import Adjustment, tie
from upliftlab.simulate.books import ACCOUNTS, simulate_books

CALENDAR = calendar_months(2026)
TEN = CALENDAR.names[:10]


def books_of(found, **more):
    return Books(
        amounts={(r["account_code"], r["month"]): r["amount"] for r in found.books}, **more
    )


def tied(found, **more):
    return tie(
        postings_from(found.postings),
        books_of(found, **more),
        read_chart(found.chart),
        periods=TEN,
    )


def total(found, *lines):
    return sum(row["amount"] for row in found.postings if row["line"] in lines)


def test_the_simulated_ledger_is_the_worked_example():
    """13,000,000 of sales, 6,500,000 kept, 765,950 contribution, 50,000 net, to the fen."""
    found = simulate_books()
    fixed = total(found, "payroll", "rent", "software", "admin")

    assert total(found, "sales") == 1_300_000_000
    assert total(found, "sales", "cancelled", "returns") == 650_000_000
    assert total(found, "goods") == -210_000_000
    assert total(found, "commission") == -71_500_000
    assert sum(row["amount"] for row in found.postings) == 5_000_000
    assert sum(row["amount"] for row in found.postings) - fixed == 76_595_000


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"vat": Fraction(13, 100)},
        {"rate": Fraction("0.1381")},
        {"vat": Fraction(13, 100), "rate": Fraction("0.1381"), "months": 7},
        {"weights": [1, 7, 1, 1, 3, 2, 9, 1, 4]},
    ],
)
def test_books_tie_to_the_last_unit(how):
    """With VAT, in dollars, with uneven months: every cell, not only the total."""
    found = simulate_books(**how)
    currency = "USD" if "rate" in how else "CNY"
    result = tied(found, currency=currency, rate=how.get("rate"), rate_date="2026-10-30")

    assert result.ties
    assert result.findings == ()
    assert result.residual == 0
    assert result.ledger == result.books
    assert result.sentence == "ledger and books agree to the last unit"


@pytest.mark.parametrize("account", [code for code, *_ in ACCOUNTS])
@pytest.mark.parametrize("share", [Fraction(5, 1000), Fraction(-5, 1000)])
def test_a_planted_half_percent_is_found_by_account_line_and_month(account, share):
    """Whatever the account: one finding, in its cell, with its amount, over the limit."""
    found = simulate_books(plant=(account, "2026-08", share))
    result = tied(found)
    cell = result.findings[0]
    sign = next(sign for code, _, _, sign in ACCOUNTS if code == account)

    assert len(result.findings) == 1
    assert (cell.account, cell.period) == (account, "2026-08")
    assert cell.residual == sign * found.planted["amount"]
    assert cell.is_over
    assert not result.ties
    assert account in result.sentence
    assert "2026-08" in result.sentence
    assert cell.lines[0].split(" in ")[0] in result.sentence


def test_the_sentence_names_what_was_planted():
    """Whole text."""
    result = tied(simulate_books(plant=("6601.05", "2026-08", Fraction(5, 1000))))

    assert result.sentence == (
        "account 6601.05 (commission) differs in 2026-08 by -486.59, 0.50% of the ledger"
    )


def test_a_smaller_error_is_shown_and_within_the_limit():
    """0.1 % is no failure, and no secret."""
    result = tied(simulate_books(plant=("6401", "2026-05", Fraction(1, 1000))))

    assert result.ties
    assert [(c.account, c.period) for c in result.findings] == [("6401", "2026-05")]
    assert result.residual != 0
    assert result.sentence == "1 cells differ, all within the limit"


def moved(change):
    """Books with a few cells changed by hand."""
    found = simulate_books()
    amounts = dict(books_of(found).amounts)
    change(amounts)
    return tie(
        postings_from(found.postings),
        Books(amounts=amounts),
        read_chart(found.chart),
        periods=TEN,
    )


def test_what_an_error_looks_like_is_said():
    """A wrong month, a wrong account, a turned sign, fen for yuan, VAT on one side."""

    def month(a):
        a["6601.04", "2026-03"] += 70_000
        a["6601.04", "2026-04"] -= 70_000

    def account(a):
        a["6601.01", "2026-03"] += 70_000
        a["6601.02", "2026-03"] -= 70_000

    def sign(a):
        a["6403", "2026-06"] *= -1

    def unit(a):
        a["6601.08", "2026-06"] *= 100

    def vat(a):
        a["6001", "2026-06"] = round(a["6001", "2026-06"] / 1.13)

    guesses = [moved(change).findings[0].guess for change in (month, account, sign, unit, vat)]

    assert guesses == [
        "booked in 2026-04 or here: both differ by the same amount",
        "booked on account 6601.02 or here: both differ by the same amount",
        "the sign is turned",
        "yuan and fen are mixed up",
        "VAT of 13% is in one and not in the other",
    ]


def test_a_known_difference_is_an_adjustment_not_a_residual():
    """Finance states a true-up: it is shown, and the rest ties."""
    found = simulate_books(plant=("6601.07", "2026-08", Fraction(5, 100)))
    amount = -found.planted["amount"]
    note = Adjustment(
        account="6601.07",
        period="2026-08",
        amount=amount,
        kind="subsidy true-up",
        signed_by="Chen",
    )
    result = tie(
        postings_from(found.postings),
        books_of(found),
        read_chart(found.chart),
        periods=TEN,
        adjustments=[note],
    )

    assert result.ties
    assert result.adjusted == amount
    assert result.books - result.ledger == amount


def test_accounts_and_lines_without_a_partner_are_named():
    """An account that the chart does not know; a line that has no account."""
    found = simulate_books()
    amounts = {**books_of(found).amounts, ("9999", "2026-03"): 12_300}
    extra = Posting(
        line="samples", channel="", ordered="2026-03", posted="2026-03", amount=-5_000
    )
    result = tie(
        [*postings_from(found.postings), extra],
        Books(amounts=amounts),
        read_chart(found.chart),
        periods=TEN,
    )

    assert result.unmapped_accounts == ("9999",)
    assert result.unmapped_lines == {"samples": -5_000}
    assert not result.ties
    assert result.sentence == "ledger lines ['samples'] have no account in the chart"


months = st.sampled_from(["2026-05", "2026-06", "2026-07", "2026-08", "2026-09", "2026-10", ""])
rows = st.builds(
    Posting,
    line=st.sampled_from(["sales", "goods"]),
    channel=st.just(""),
    ordered=months.filter(bool),
    posted=months,
    amount=st.integers(-10_000, 10_000),
)


@given(st.lists(rows, max_size=30))
@settings(max_examples=60, deadline=None)
def test_the_bridge_between_the_bases_leaves_nothing(postings):
    """Order basis - later + earlier = accounting basis, whatever the dates."""
    found = two_bases(postings, CALENDAR, "2026Q3")

    assert all(row.gap == 0 for row in found.rows)
    assert found.total.gap == 0
    assert found.total.order_basis == sum(
        p.amount for p in postings if p.ordered in {"2026-07", "2026-08", "2026-09"}
    )


def test_booked_projected_and_assumed_add_up():
    """Shares of the money moved, on order basis."""
    base = {"line": "sales", "channel": "", "ordered": "2026-09"}
    found = two_bases(
        [
            Posting(**base, posted="2026-09", amount=80),
            Posting(**base, posted="", amount=-15, status="projected"),
            Posting(**base, posted="2026-10", amount=5, status="assumed"),
        ],
        CALENDAR,
        "2026Q3",
    )

    assert found.shares == {"booked": 0.8, "projected": 0.15, "assumed": 0.05}


@pytest.mark.parametrize("form", ["csv", "gbk", "xlsx"])
def test_books_are_read_from_files(tmp_path, form):
    """CSV with separators and brackets, a gb18030 export, a workbook: the same fen."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "科目": ["6001", "6601.05", "6601.05"],
            "期间": ["2026-07", "2026-07", "2026-08"],
            "金额": ["1,234,567.89", "(1,000.10)", "12.5"],
        }
    )
    columns = {"account": "科目", "period": "期间", "amount": "金额"}
    file = tmp_path / ("gl.xlsx" if form == "xlsx" else "gl.csv")
    if form == "xlsx":
        frame.to_excel(file, index=False)
    else:
        encoding = "gb18030" if form == "gbk" else "utf-8-sig"
        file.write_bytes(frame.to_csv(index=False).encode(encoding))
    encoding = "gb18030" if form == "gbk" else "utf-8"
    found = read_books(file, calendar=CALENDAR, encoding=encoding, **columns)

    assert found.amounts == {
        ("6001", "2026-07"): 123_456_789,
        ("6601.05", "2026-07"): -100_010,
        ("6601.05", "2026-08"): 1_250,
    }


def test_what_cannot_be_read_is_refused_with_its_place(tmp_path):
    """Whole messages: amount, period, column, map, rate, plant."""
    file = tmp_path / "gl.csv"
    file.write_text("account_code,month,amount\n6001,2026-07,12.345\n")
    with pytest.raises(LedgerError) as amount:
        read_books(file, calendar=CALENDAR)
    file.write_text("account_code,month,amount\n6001,July,12.34\n")
    with pytest.raises(LedgerError) as month:
        read_books(file, calendar=weeks_445(date(2026, 2, 2), 2026))
    with pytest.raises(DataError) as column:
        read_books(file, calendar=CALENDAR, account="code")
    with pytest.raises(LedgerError) as twice:
        Chart(
            accounts=(
                Account(code="1", name="", lines=(("sales", ""),)),
                Account(code="2", name="", lines=(("sales", ""),)),
            )
        )
    with pytest.raises(LedgerError) as rate:
        tied(simulate_books(), currency="USD")
    with pytest.raises(UpliftlabError) as plant:
        simulate_books(months=1, plant=("1", "2026-01", Fraction(1)))

    assert str(amount.value) == (
        f"books {str(file)!r}, row 2: column 'amount' is '12.345'; write an amount with at "
        "most two decimals, such as -1234.50."
    )
    assert str(month.value).startswith(
        f"books {str(file)!r} has 'July', which is in no period of the fiscal calendar; its "
        "periods are ['2026P01', '2026P02',"
    )
    assert str(column.value) == (
        "books needs column 'code'; the table has ['account_code', 'amount', 'month']."
    )
    assert str(twice.value) == (
        "line 'sales' is mapped to accounts '1' and '2'; map it to one."
    )
    assert str(rate.value) == (
        "books are in USD and the ledger is in CNY; give the exchange rate and its date."
    )
    assert str(plant.value).startswith(
        "simulate_books has no account '1' in month '2026-01'; its accounts are ['6001',"
    )
