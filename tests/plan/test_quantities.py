"""Rates, points, money and days keep their unit and their exact value."""

from __future__ import annotations

import math
import pickle
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from upliftlab.errors import DefinitionError
from upliftlab.plan.currencies import CODES, currency_of
from upliftlab.plan.quantities import (
    Money,
    Points,
    Rate,
    parse_date,
    parse_days,
    parse_margin,
    print_days,
)

fractions = st.fractions(min_value=0, max_value=10, max_denominator=10_000)


@pytest.mark.parametrize(
    "text",
    [
        "20%",
        "20 %",
        "20 percent",
        "20.0%",
        "2000 bp",
        "2000 basis points",
        "0.2 decimal",
        "1/5",
    ],
)
def test_every_spelling_of_a_fifth_is_the_same_rate(text):
    """Percent, basis points, decimals and fractions of one value are equal, exactly."""
    assert Rate.parse(text) == Rate(Fraction(1, 5))


@given(fractions)
def test_a_rate_reads_back_as_it_was_printed(value):
    """Printing loses nothing: percent where it is exact, a fraction where it is not."""
    assert Rate.parse(str(Rate(value))) == Rate(value)


def test_a_rate_prints_as_people_write_it():
    """Percent without trailing zeros; a third stays a third."""
    printed = [str(Rate(Fraction(*parts))) for parts in ((1, 5), (1, 3), (3, 800), (0, 1))]

    assert printed == ["20%", "1/3", "0.375%", "0%"]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("0.5", "share is '0.5'; write 50% (or 0.5 decimal)."),
        ("20", "share is '20'; write 20% (or 0.2 decimal)."),
        ("20 yuan", ("share is '20 yuan'; write a rate in %, percent, bp, basis points or "
                    "decimal, such as 20%.")),
        ("1 point", ("share is '1 point'; write a rate in %, percent, bp, basis points or "
                    "decimal, such as 20%.")),
        ("half", "share is 'half'; write a rate such as 20%."),
        ("1e-1%", "share is '1e-1%'; write a rate such as 20%."),
        ("9" * 5000, f"share is '{'9' * 57}...'; write a rate such as 20%."),
        ("1/0", "share is '1/0'; write a rate such as 1/3."),
        ("nan", "share is 'nan'; write a rate such as 20%."),
        ("１０%", "share is '１０%'; write a rate such as 20%."),
        (None, "share is empty; write a rate such as 20%."),
        (True, "share is True (bool); write a rate such as 20%."),
        (math.nan, "share is nan (float); write a rate such as 20%."),
        (math.inf, "share is inf (float); write a rate such as 20%."),
    ],
)  # fmt: skip
def test_a_rate_without_a_clear_unit_is_refused(found, message):
    """A bare number could be percent, points or a decimal: it is never guessed."""
    with pytest.raises(DefinitionError) as error:
        Rate.parse(found, "share")

    assert str(error.value) == message


def test_a_bare_zero_is_a_rate():
    """Zero is the same in every unit."""
    assert Rate.parse("0") == Rate(Fraction(0))


@pytest.mark.parametrize("value", [0.2, Decimal("0.2"), Fraction(1, 5)])
def test_python_numbers_are_decimal_rates(value):
    """In Python 0.2 is a fifth, exactly, whatever its type."""
    assert Rate.parse(value) == Rate(Fraction(1, 5))


@given(st.integers(1, 50))
def test_equal_shares_written_as_floats_add_up_exactly(arms):
    """1 / n as a float means the fraction, so n of them make a whole."""
    assert sum(Rate.parse(1 / arms).value for _ in range(arms)) == 1


def test_points_differ_from_percent():
    """One point is a difference of 0.01; one percent is a share of control."""
    assert parse_margin("1 point") == Points(Fraction(1, 100))
    assert parse_margin("1%") == Rate(Fraction(1, 100))
    assert parse_margin("1 point") != parse_margin("1%")


@given(fractions)
def test_points_read_back_as_they_were_printed(value):
    """Printing points loses nothing where the decimal ends."""
    points = Points(Fraction(round(value * 10**6), 10**6))

    assert Points.parse(str(points)) == points


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("1", "margin is '1'; write 1 point, 2% (of control) or 0.5 yuan."),
        (0.01, "margin is 0.01 (float); write 1 point, 2% (of control) or 0.5 yuan."),
        ("5 dollars", "margin is '5 dollars'; amounts here are in CNY: write yuan or fen."),
    ],
)
def test_a_margin_without_a_clear_unit_is_refused(found, message):
    """A bare margin could be points, a share or money."""
    with pytest.raises(DefinitionError) as error:
        parse_margin(found)

    assert str(error.value) == message


@pytest.mark.parametrize(
    "text", ["20", "20.00", "20 yuan", "20元", "2000 fen", "20 CNY", "20 cny"]
)
def test_every_spelling_of_twenty_yuan_is_two_thousand_fen(text):
    """A plain number is in the main unit of the currency."""
    assert Money.parse(text).whole == 2000


@given(st.integers(-(10**12), 10**12), st.sampled_from(sorted(CODES)))
def test_money_reads_back_as_it_was_printed(minor, code):
    """Printing an amount loses nothing, in any currency."""
    money = Money(Fraction(minor), code)

    assert Money.parse(str(money), currency=code) == money


def test_currencies_differ_in_their_decimals():
    """ISO 4217: the yuan has 2, the yen none, the Kuwaiti dinar 3."""
    assert Money.parse("20", currency="JPY").whole == 20
    assert Money.parse("1.234", currency="KWD").whole == 1234
    assert currency_of("CNY").units == ("yuan", "fen")


@pytest.mark.parametrize(
    ("found", "currency", "message"),
    [
        ("20.005", "CNY", "coupon is '20.005'; write at most 2 decimals of yuan."),
        ("5.5 fen", "CNY", "coupon is '5.5 fen'; write at most 2 decimals of yuan."),
        ("20.5", "JPY", "coupon is '20.5'; write a whole number of yen."),
        ("20 USD", "CNY", "coupon is '20 USD'; amounts here are in CNY: write yuan or fen."),
        ("¥20", "CNY", "coupon is '¥20'; write an amount such as 20 or 20 yuan."),
        ("1,000", "CNY", "coupon is '1,000'; write an amount such as 20 or 20 yuan."),
        ("1e3", "CNY", "coupon is '1e3'; write an amount such as 20 or 20 yuan."),
        ("1_000", "CNY", "coupon is '1_000'; write an amount such as 20 or 20 yuan."),
        ("20%", "CNY", "coupon is '20%'; amounts here are in CNY: write yuan or fen."),
        (None, "CNY", "coupon is empty; write an amount such as 20 or 20 yuan."),
        (0.001, "CNY", "coupon is 0.001 (float); write at most 2 decimals of yuan."),
    ],
)
def test_an_amount_that_is_not_whole_minor_units_is_refused(found, currency, message):
    """Amounts are exact to the fen, in the currency of the plan."""
    with pytest.raises(DefinitionError) as error:
        Money.parse(found, "coupon", currency=currency)

    assert str(error.value) == message


def test_an_amount_per_unit_may_be_finer_than_a_fen():
    """Five hundredths of a yuan per customer and finer thresholds are kept exactly."""
    assert Money.parse("0.0525", per_unit=True).minor == Fraction(525, 100)
    assert float(Money.parse("0.05", per_unit=True)) == 5.0


def test_an_amount_that_is_not_whole_has_no_whole_minor_units():
    """Nothing is rounded on the way to an integer."""
    with pytest.raises(DefinitionError) as error:
        _ = Money.parse("0.0525", per_unit=True).whole

    assert str(error.value) == "amount is '0.0525 CNY'; it is not whole minor units."


def test_an_unknown_currency_is_refused():
    """RMB is a habit, not a code."""
    with pytest.raises(DefinitionError) as error:
        currency_of("RMB")

    assert str(error.value) == (
        "currency is 'RMB'; write an ISO 4217 code such as CNY, USD or EUR."
    )


def test_a_column_of_money_may_be_in_main_or_minor_units():
    """A source says which; another currency's word is refused."""
    yuan = currency_of("CNY")

    assert (yuan.minor_per("yuan"), yuan.minor_per("fen"), yuan.minor_per("CNY")) == (
        100,
        1,
        100,
    )
    with pytest.raises(DefinitionError) as error:
        yuan.minor_per("cents", "data.units.money")
    assert str(error.value) == "data.units.money is 'cents'; allowed: ['fen', 'yuan']."


@pytest.mark.parametrize("found", ["14 days", "14 day", "14d", "2 weeks", "2w", 14])
def test_every_spelling_of_a_fortnight_is_fourteen_days(found):
    """Days and weeks are the units of a plan; in Python an integer is a number of days."""
    assert parse_days(found) == 14


def test_a_timedelta_of_whole_days_is_a_duration():
    """Python's own type is read where it is whole days."""
    assert parse_days(timedelta(days=7)) == 7


@given(st.integers(0, 10_000))
def test_days_read_back_as_they_were_printed(days):
    """Printing a duration loses nothing."""
    assert parse_days(print_days(days)) == days


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("60", "follow_up is '60'; write 60 days (or 60 weeks)."),
        ("2 months", "follow_up is '2 months'; write whole days such as 60 days or 2 weeks."),
        ("1.5 days", "follow_up is '1.5 days'; write whole days such as 60 days or 2 weeks."),
        ("-3 days", "follow_up is '-3 days'; write 0 to 10000 days."),
        ("99999 weeks", "follow_up is '99999 weeks'; write 0 to 10000 days."),
        (True, "follow_up is True (bool); write whole days such as 60 days or 2 weeks."),
        (-1, "follow_up is -1 (int); write 0 to 10000 days."),
    ],
)
def test_a_duration_without_a_clear_unit_is_refused(found, message):
    """Sixty of what? Months have no fixed length."""
    with pytest.raises(DefinitionError) as error:
        parse_days(found, "follow_up")

    assert str(error.value) == message


def test_a_date_is_an_iso_day():
    """Text and Python dates give the same day."""
    assert parse_date("2026-10-08") == parse_date(date(2026, 10, 8)) == date(2026, 10, 8)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("08/10/2026", "start is '08/10/2026'; write a date such as 2026-10-08."),
        ("20261008", "start is '20261008'; write a date such as 2026-10-08."),
        ("2026-02-30", "start is '2026-02-30'; write a day that is in the calendar."),
        (datetime(2026, 10, 8, tzinfo=None), ("start is datetime.datetime(2026, 10, 8, 0, 0) "  # noqa: DTZ001
                                "(datetime); write a date such as 2026-10-08.")),
    ],
)  # fmt: skip
def test_a_date_in_another_form_is_refused(found, message):
    """Day and month are never guessed."""
    with pytest.raises(DefinitionError) as error:
        parse_date(found, "start")

    assert str(error.value) == message


@pytest.mark.parametrize(
    "value", [Rate.parse("5%"), Points.parse("2 points"), Money.parse("9")]
)
def test_quantities_travel_and_read_back_from_themselves(value):
    """Pickle and parse give the same quantity back."""
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301
    assert parse_margin(value) is value
