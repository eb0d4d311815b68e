"""How a number looks to a reader."""

from __future__ import annotations

import math
import random
import re
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given, strategies as st

from upliftlab.report import numbers
from upliftlab.report.numbers import MINUS, money, number, percent, shown_money, shown_ratio
from upliftlab.stats.estimate import Estimate, interval, undefined
from upliftlab.stats.ratio import fieller

amounts = st.floats(min_value=-1e11, max_value=1e11, allow_nan=False)
errors = st.floats(min_value=1e-2, max_value=1e10)
currencies = st.sampled_from(["CNY", "USD", "JPY", "KWD", "SGD", "CHF"])


@given(amounts, errors, currencies)
def test_a_loss_carries_the_minus_sign_and_never_a_hyphen(minor, error, currency):
    """U+2212 is the only minus."""
    shown = shown_money(interval("profit", minor, error**2), currency)

    for text in (shown.value, shown.interval, shown.words):
        assert "-" not in text
    if minor <= -1:
        assert shown.value.startswith(MINUS)


@given(amounts, errors, currencies)
def test_the_currency_sign_stands_once_per_amount_and_never_in_a_table_range(
    minor, error, currency
):
    """The value has it, the range beside it does not, each end in a sentence does."""
    sign = numbers.symbol(currency)
    shown = shown_money(interval("profit", minor, error**2), currency)

    assert shown.value.count(sign) == 1
    assert sign not in shown.interval
    assert shown.words.count(sign) == 2


@given(amounts, errors)
def test_printed_money_is_the_number_to_a_tenth_of_its_range(minor, error):
    """Two significant digits of the width lose at most a twentieth of it, or half a fen."""
    estimate = interval("profit", minor, error**2)
    shown = shown_money(estimate, "CNY")
    printed = [_read(text) for text in (shown.value, *shown.interval.split(" … "))]
    width = (estimate.ci_high - estimate.ci_low) / 100

    for text, exact in zip(
        printed, (estimate.estimate, estimate.ci_low, estimate.ci_high), strict=True
    ):
        assert abs(text - exact / 100) <= max(width / 20, 0.005) * 1.0001


@given(st.floats(min_value=0.01, max_value=1e9), st.floats(min_value=1.0, max_value=1e9))
def test_a_range_above_zero_never_looks_as_if_it_touched_zero_from_below(low, width):
    """The sign of an end survives rounding, since the verdict hangs on it."""
    shown = shown_money(
        Estimate(name="p", estimate=low + width / 2, ci_low=low, ci_high=low + width), "CNY"
    )

    assert shown.interval.startswith("+")


@given(amounts, errors)
def test_turning_the_sign_turns_only_the_sign(minor, error):
    """Gains and losses are printed with the same digits."""
    there = shown_money(interval("p", minor, error**2), "CNY").value
    back = shown_money(interval("p", -minor, error**2), "CNY").value

    assert there.lstrip("+" + MINUS) == back.lstrip("+" + MINUS)


def test_the_mock_of_the_first_screen_has_these_amounts():
    """Large totals are round, per-customer money has its decimals."""
    total = shown_money(interval("profit", -22_300_000, 8_600_000**2), "CNY")
    each = shown_money(interval("profit", -15.5, 3.0**2), "CNY")

    assert (total.value, total.interval) == ("−¥220,000", "−390,000 … −50,000")
    assert (each.value, each.words) == ("−¥0.16", "from −¥0.21 to −¥0.10")


def test_money_has_all_decimals_of_its_currency_or_none():
    """¥1.30, not ¥1.3; yen have none."""
    assert money(130, "CNY", width=400) == "+¥1.30"
    assert money(130, "CNY", width=4_000) == "+¥1"
    assert money(130, "JPY", width=40) == "+¥130"


def test_percent_keeps_one_decimal_and_its_sign():
    """The mock writes +20.2 %."""
    assert percent(0.2023).replace("\xa0", " ") == "+20.2 %"
    assert percent(-0.00004).replace("\xa0", " ") == "−0.0 %"
    assert percent(math.nan) == "–"


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (fieller(0.5, 0.2, 0.3**2, 0.15**2), "at most −3.76 or at least −0.55"),
        (fieller(0.1, 0.1, 0.3**2, 0.15**2), "any value: the data set no bound"),
        (fieller(-0.155, 1.058, 0.03**2, 0.01**2), "from −0.20 to −0.09"),
    ],
)
def test_a_set_of_ratios_is_said_in_words(ratio, words):
    """Two half-lines and the whole line are not intervals (numbers: Fieller, z = 1.96)."""
    assert shown_ratio(ratio).words == words


def test_the_note_stands_where_the_number_would_be():
    """A number that does not exist says why."""
    shown = shown_money(undefined("rollout", "eligible_customers not given"), "CNY")

    assert shown.value == ""
    assert shown.text == "eligible_customers not given"


def test_counts_and_p_values_are_short():
    """1.2 M customers, 800,000 customers, p < 0.001."""
    assert numbers.count(1_200_000).replace("\xa0", " ") == "1.2 M"
    assert numbers.count(1_234_567) == "1,234,567"
    assert numbers.p_value(2e-9) == "< 0.001"
    assert number(0.0, 1.0) == "0"


def _read(text: str) -> float:
    return float(re.sub(r"[^0-9.−]", "", text).replace(MINUS, "-"))


def test_the_quick_way_rounds_as_decimals_do():
    """Floats away from a tie are rounded by the float; ties and long numbers by decimals."""
    rng = random.Random(1)  # noqa: S311 - for numbers, not for secrets
    for _ in range(3_000):
        step = 10.0 ** rng.randint(-6, 6)
        value = rng.choice([rng.uniform(0, 1e4), rng.randint(0, 999) + 0.5]) * step
        exponent = Decimal(1).scaleb(round(math.log10(step)))
        ratio = Decimal(repr(value)) / exponent
        exact = ratio.to_integral_value(ROUND_HALF_UP) * exponent

        assert number(value, step, signed=False) == f"{exact.quantize(min(exponent, 1)):,f}"
