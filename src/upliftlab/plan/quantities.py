"""How much, and of what: rates, points, money and days, never a number without its unit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from upliftlab.errors import DefinitionError
from upliftlab.plan.currencies import Currency, currency_of

_NUMBER = r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?"
_WITH_UNIT = re.compile(rf"({_NUMBER})\s*(\D*)")
_RATIO = re.compile(r"([0-9]{1,18})\s*/\s*([0-9]{1,18})")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_RATE_UNITS = {
    "%": Fraction(1, 100),
    "percent": Fraction(1, 100),
    "bp": Fraction(1, 10_000),
    "basis points": Fraction(1, 10_000),
    "basis point": Fraction(1, 10_000),
    "decimal": Fraction(1),
}
_POINT_UNITS = {"point": Fraction(1, 100), "points": Fraction(1, 100)}
_DAY_UNITS = {"d": 1, "day": 1, "days": 1, "week": 7, "weeks": 7, "w": 7}
_MOST_DAYS = 10_000
_PER_UNIT_STEP = Fraction(1, 100)


@dataclass(frozen=True, slots=True, order=True)
class Rate:
    """A share of something, held exactly.

    Attributes:
        value: 20 % is ``Fraction(1, 5)``.

    Examples:
        >>> Rate.parse("2000 bp"), float(Rate.parse("20%"))
        (Rate('20%'), 0.2)
        >>> Rate.parse("20", "commission")
        Traceback (most recent call last):
        upliftlab.errors.DefinitionError: commission is '20'; write 20% (or 0.2 decimal).
    """

    value: Fraction

    @classmethod
    def parse(cls, found: object, what: str = "rate") -> Rate:
        """Read a rate with its unit from text, or a decimal number from Python.

        Text is ``20%``, ``20 percent``, ``2000 bp``, ``2000 basis points``, ``0.2 decimal``
        or ``1/3``; only a bare ``0`` needs no unit.

        Raises:
            DefinitionError: When the unit is missing or unknown.
        """
        if isinstance(found, Rate):
            return found
        if not isinstance(found, str):
            return cls(_python_number(found, what, fix="write a rate such as 20%"))
        if ratio := _RATIO.fullmatch(found.strip()):
            return cls(_divided(ratio, found, what))
        number, unit = _number_and_unit(found, what, fix="write a rate such as 20%")
        if not unit:
            return cls(_without_unit(number, found, what))
        if unit not in _RATE_UNITS:
            fix = "write a rate in %, percent, bp, basis points or decimal, such as 20%"
            raise DefinitionError.unreadable(what, found, fix)
        return cls(number * _RATE_UNITS[unit])

    def __float__(self) -> float:
        """Give the rate as a decimal number, for arithmetic that need not be exact."""
        return float(self.value)

    def __str__(self) -> str:
        """Print as a percentage, or as a fraction where no percentage is exact."""
        return _percent(self.value)

    def __repr__(self) -> str:
        """Print as text that ``parse`` reads."""
        return f"Rate({str(self)!r})"


@dataclass(frozen=True, slots=True, order=True)
class Points:
    """A difference between two rates in percentage points, held exactly.

    Attributes:
        value: 1 point is ``Fraction(1, 100)``: from 30 % to 31 %, not to 30.3 %.

    Examples:
        >>> Points.parse("1 point"), float(Points.parse("0.5 points"))
        (Points('1 point'), 0.005)
    """

    value: Fraction

    @classmethod
    def parse(cls, found: object, what: str = "margin") -> Points:
        """Read percentage points from text.

        Raises:
            DefinitionError: When it is not a number of points.
        """
        if isinstance(found, Points):
            return found
        fix = "write percentage points such as 1 point"
        if not isinstance(found, str):
            raise DefinitionError.unreadable(what, found, fix)
        number, unit = _number_and_unit(found, what, fix=fix)
        if unit not in _POINT_UNITS:
            raise DefinitionError.unreadable(what, found, fix)
        return cls(number * _POINT_UNITS[unit])

    def __float__(self) -> float:
        """Give the difference as a decimal number: 1 point is 0.01."""
        return float(self.value)

    def __str__(self) -> str:
        """Print as ``1 point`` or ``0.5 points``."""
        number = _decimal(self.value * 100)
        return f"{number} point" if abs(self.value * 100) == 1 else f"{number} points"

    def __repr__(self) -> str:
        """Print as text that ``parse`` reads."""
        return f"Points({str(self)!r})"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of its currency, held exactly.

    Attributes:
        minor: 20 yuan is ``Fraction(2000)`` fen. Amounts of orders are whole; amounts per
            unit, such as 0.0525 yuan per customer, may be hundredths of a minor unit.
        currency: ISO 4217 code.

    Examples:
        >>> Money.parse("20"), Money.parse("2000 fen"), Money.parse("20 USD", currency="USD")
        (Money('20 CNY'), Money('20 CNY'), Money('20 USD'))
        >>> Money.parse("0.0525", per_unit=True).minor
        Fraction(21, 4)
    """

    minor: Fraction
    currency: str = "CNY"

    @classmethod
    def parse(
        cls,
        found: object,
        what: str = "amount",
        *,
        currency: str = "CNY",
        per_unit: bool = False,
    ) -> Money:
        """Read an amount; a plain number is in the main unit of the currency.

        Args:
            found: Text such as ``20``, ``20 yuan``, ``2000 fen``, ``20 CNY``, or a number.
            what: Whose amount it is, for the message.
            currency: ISO 4217 code of the file.
            per_unit: Whether it is an amount per unit, which may have two more decimals.

        Raises:
            DefinitionError: When the unit is another currency's, or the amount too fine.
        """
        if isinstance(found, Money):
            return found
        unit_of = currency_of(currency)
        fix = f"write an amount such as 20 or 20 {unit_of.main}"
        if isinstance(found, str):
            number, unit = _number_and_unit(found, what, fix=fix)
            minor = number * _minor_per(unit, unit_of, found, what)
        else:
            minor = _python_number(found, what, fix=fix) * unit_of.scale
        step = _PER_UNIT_STEP if per_unit else Fraction(1)
        if minor % step:
            decimals = unit_of.digits + (2 if per_unit else 0)
            places = f"at most {decimals} decimals" if decimals else "a whole number"
            raise DefinitionError.unreadable(what, found, f"write {places} of {unit_of.main}")
        return cls(minor, unit_of.code)

    @property
    def main(self) -> Fraction:
        """The amount in the main unit: yuan, not fen."""
        return self.minor / currency_of(self.currency).scale

    @property
    def whole(self) -> int:
        """The amount in minor units as an integer; only for amounts that are not per unit."""
        if self.minor.denominator != 1:
            raise DefinitionError.unreadable("amount", str(self), "it is not whole minor units")
        return self.minor.numerator

    def __float__(self) -> float:
        """Give the amount in minor units, the unit of all money in tables."""
        return float(self.minor)

    def __str__(self) -> str:
        """Print in the main unit with the currency's code."""
        return f"{_decimal(self.main)} {self.currency}"

    def __repr__(self) -> str:
        """Print as text that ``parse`` reads."""
        return f"Money({str(self)!r})"


Margin = Rate | Points | Money
"""How far a guardrail may move: a share of control, percentage points, or money per unit."""


def parse_margin(found: object, what: str = "margin", *, currency: str = "CNY") -> Margin:
    """Read a margin: ``1 point``, ``2%`` of the control arm, or ``0.5 yuan`` per unit.

    Examples:
        >>> parse_margin("1 point"), parse_margin("2%"), parse_margin("0.5 yuan")
        (Points('1 point'), Rate('2%'), Money('0.5 CNY'))
    """
    if isinstance(found, Rate | Points | Money):
        return found
    fix = f"write 1 point, 2% (of control) or 0.5 {currency_of(currency).main}"
    if not isinstance(found, str):
        raise DefinitionError.unreadable(what, found, fix)
    unit = _number_and_unit(found, what, fix=fix)[1] if "/" not in found else "/"
    if unit in _POINT_UNITS:
        return Points.parse(found, what)
    if unit in _RATE_UNITS or unit == "/":
        return Rate.parse(found, what)
    if not unit:
        raise DefinitionError.unreadable(what, found, fix)
    return Money.parse(found, what, currency=currency, per_unit=True)


def parse_days(found: object, what: str = "duration") -> int:
    """Read a number of days from ``60 days``, ``60d`` or ``2 weeks``.

    Examples:
        >>> parse_days("60 days"), parse_days("2 weeks")
        (60, 14)
        >>> parse_days("60", "follow_up")
        Traceback (most recent call last):
        upliftlab.errors.DefinitionError: follow_up is '60'; write 60 days (or 60 weeks).
    """
    if isinstance(found, timedelta) and found == timedelta(days=found.days):
        return _in_range(found.days, found, what)
    if isinstance(found, int) and not isinstance(found, bool):
        return _in_range(found, found, what)
    fix = "write whole days such as 60 days or 2 weeks"
    if not isinstance(found, str):
        raise DefinitionError.unreadable(what, found, fix)
    number, unit = _number_and_unit(found, what, fix=fix)
    if not unit and number.denominator == 1:
        days = number.numerator
        raise DefinitionError.unreadable(what, found, f"write {days} days (or {days} weeks)")
    if unit not in _DAY_UNITS or number.denominator != 1:
        raise DefinitionError.unreadable(what, found, fix)
    return _in_range(number.numerator * _DAY_UNITS[unit], found, what)


def print_days(days: int) -> str:
    """Print a number of days as text that ``parse_days`` reads.

    Examples:
        >>> print_days(1), print_days(60)
        ('1 day', '60 days')
    """
    return f"{days} day" if days == 1 else f"{days} days"


def parse_date(found: object, what: str = "date") -> date:
    """Read a calendar day in ISO form.

    Examples:
        >>> parse_date("2026-10-08")
        datetime.date(2026, 10, 8)
    """
    if isinstance(found, date) and not isinstance(found, datetime):
        return found
    if not isinstance(found, str) or not _ISO_DATE.fullmatch(found):
        raise DefinitionError.unreadable(what, found, "write a date such as 2026-10-08")
    try:
        return date.fromisoformat(found)
    except ValueError:
        raise DefinitionError.unreadable(
            what, found, "write a day that is in the calendar"
        ) from None


def _number_and_unit(text: str, what: str, *, fix: str) -> tuple[Fraction, str]:
    match = _WITH_UNIT.fullmatch(text.strip())
    if match is None:
        raise DefinitionError.unreadable(what, text, fix)
    return Fraction(match[1]), " ".join(match[2].lower().split())


def _without_unit(number: Fraction, found: str, what: str) -> Fraction:
    if number == 0:
        return number
    likely = number if abs(number) <= 1 else number / 100
    fix = f"write {_decimal(likely * 100)}% (or {_decimal(likely)} decimal)"
    raise DefinitionError.unreadable(what, found, fix)


def _divided(ratio: re.Match[str], found: str, what: str) -> Fraction:
    if int(ratio[2]) == 0:
        raise DefinitionError.unreadable(what, found, "write a rate such as 1/3")
    return Fraction(int(ratio[1]), int(ratio[2]))


def _minor_per(unit: str, currency: Currency, found: str, what: str) -> int:
    if not unit or unit in currency.main_names:
        return currency.scale
    if unit in currency.minor_names:
        return 1
    names = " or ".join(currency.units)
    fix = f"amounts here are in {currency.code}: write {names}"
    raise DefinitionError.unreadable(what, found, fix)


def _python_number(found: object, what: str, *, fix: str) -> Fraction:
    if isinstance(found, bool) or not isinstance(found, int | float | Decimal | Fraction):
        raise DefinitionError.unreadable(what, found, fix)
    if not math.isfinite(found):
        raise DefinitionError.unreadable(what, found, fix)
    if not isinstance(found, float):
        return Fraction(found)
    # 1 / 3 and 0.1 mean a third and a tenth, not the binary numbers next to them.
    simple = Fraction(found).limit_denominator(1_000_000)
    return simple if float(simple) == found else Fraction(repr(float(found)))


def _in_range(days: int, found: object, what: str) -> int:
    if not 0 <= days <= _MOST_DAYS:
        raise DefinitionError.unreadable(what, found, f"write 0 to {_MOST_DAYS} days")
    return days


def _percent(value: Fraction) -> str:
    percent = value * 100
    exact = percent.denominator
    for prime in (2, 5):
        while exact % prime == 0:
            exact //= prime
    if exact == 1:
        return f"{_decimal(percent)}%"
    return f"{value.numerator}/{value.denominator}"


def _decimal(value: Fraction) -> str:
    """Write out a fraction whose decimal form ends."""
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    scaled = str(abs((value * 10**digits).numerator)).rjust(digits + 1, "0")
    sign = "-" if value < 0 else ""
    return sign + (f"{scaled[:-digits]}.{scaled[-digits:]}" if digits else scaled)
