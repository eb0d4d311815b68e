"""How does a number look to a reader: its sign, its currency, and no digit too many?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from upliftlab.stats.estimate import Estimate

MINUS = "\u2212"
NBSP = "\u00a0"
NONE = "–"

_SYMBOLS = {
    "CNY": "¥", "JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "KRW": "₩", "INR": "₹",
    "THB": "฿", "VND": "₫", "PHP": "₱", "HKD": "HK$", "SGD": "S$", "TWD": "NT$",
    "AUD": "A$", "CAD": "C$", "MXN": "MX$", "BRL": "R$", "MYR": "RM", "IDR": "Rp",
}  # fmt: skip
_FINEST = 6
_NOISE = 1e-9
_EXACT, _TIE = 1e9, 1e-5
_ANY = "any value: the data set no bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One estimate as readers see it.

    Attributes:
        value: The number; empty where it does not exist.
        interval: Its range for a table, without a second currency sign: "−392,000 … −55,000".
        words: Its range for a sentence: "from −¥392,000 to −¥55,000".
        note: Why number or range is missing; empty when both are there.
    """

    value: str
    interval: str
    words: str
    note: str = ""

    @property
    def text(self) -> str:
        """The number, or the note that stands where it would be."""
        return self.value or self.note or NONE

    @property
    def compact(self) -> str:
        """The number and its range, for one cell of a table."""
        return f"{self.text} ({self.interval})" if self.value and self.interval else self.text

    @property
    def with_range(self) -> str:
        """The number and its range, for a sentence."""
        if not self.value:
            return self.text
        return f"{self.value} ({self.words})" if self.words else self.value


def shown_money(estimate: Estimate, currency: str, *, signed: bool = True) -> Shown:
    """Show money that is held in minor units, to two significant digits of its range's width.

    Examples:
        >>> from upliftlab.stats.estimate import interval
        >>> lost = shown_money(interval("profit", -22_300_000, 8_600_000**2), "CNY")
        >>> lost.value, lost.interval, lost.words
        ('−¥220,000', '−390,000 … −50,000', 'from −¥390,000 to −¥50,000')
    """
    full, scale, coins, finest = _dress(currency)
    return _shown(estimate, full, signed=signed, scale=scale, coins=coins, finest=finest)


def shown_number(
    estimate: Estimate, *, signed: bool = True, scale: float = 1.0, unit: str = ""
) -> Shown:
    """Show a plain number, to two significant digits of its range's width.

    Examples:
        >>> from upliftlab.stats.estimate import interval
        >>> shown_number(interval("rate", 0.0082, 0.00325**2), scale=100, unit=" points").value
        '+0.8 points'
    """
    shown = _shown(estimate, str, signed=signed, scale=scale)
    if not unit:
        return shown
    return replace(
        shown,
        value=shown.value and shown.value + unit,
        words=shown.words + unit if estimate.shape in {"interval", "outside"} else shown.words,
    )


def shown_ratio(estimate: Estimate) -> Shown:
    """Show a ratio with two decimals: profit per yuan.

    Examples:
        >>> from upliftlab.stats.estimate import undefined
        >>> shown_ratio(undefined("iROI", "no campaign money was spent")).text
        'no campaign money was spent'
    """
    return _shown(estimate, str, step=0.01)


def shown_share(estimate: Estimate) -> Shown:
    """Show the effect as a share of control, in percent with one decimal."""
    value, low, high = estimate.rel_estimate, estimate.rel_ci_low, estimate.rel_ci_high
    if not math.isfinite(value):
        return Shown(
            value="", interval="", words="", note=estimate.note or "control is too close to 0"
        )
    if not (math.isfinite(low) and math.isfinite(high)):
        return Shown(value=percent(value), interval="", words="", note="no bounded range")
    ends = percent(low).removesuffix(f"{NBSP}%"), percent(high).removesuffix(f"{NBSP}%")
    return Shown(
        value=percent(value),
        interval=f"{ends[0]} … {ends[1]}",
        words=f"from {percent(low)} to {percent(high)}",
    )


def money(minor: float, currency: str, *, width: float = math.nan, signed: bool = True) -> str:
    """Print one amount that is held in minor units.

    Args:
        minor: The amount.
        currency: ISO 4217 code.
        width: Width of its range in minor units; decides how many digits are shown.
        signed: Whether a gain carries a plus sign.

    Examples:
        >>> money(-22_345_678, "CNY", width=8_000_000), money(2000, "CNY", signed=False)
        ('−¥223,000', '¥20')
    """
    unit = currency_of(currency)
    value = minor / unit.scale
    step = _step(width / unit.scale) if width > 0 else _exact_step(value, unit.digits)
    step = _coins(step, unit.scale)
    return _dress(currency)[0](number(value, step, signed=signed))


def percent(share: float, *, decimals: int = 1, signed: bool = True) -> str:
    """Print a share in percent; a sign is kept where the number itself rounds to 0.

    Examples:
        >>> percent(0.2023).split(), percent(0.8, decimals=0, signed=False).split()
        (['+20.2', '%'], ['80', '%'])
    """
    if not math.isfinite(share):
        return NONE
    text = f"{abs(share) * 100:,.{decimals}f}{NBSP}%"
    return _sign(share, signed=signed) + text


def count(n: float) -> str:
    """Print how many.

    Examples:
        >>> count(800_000), count(1_200_000).split()
        ('800,000', ['1.2', 'M'])
    """
    if n >= 1_000_000 and n % 100_000 == 0:
        return f"{n / 1_000_000:.1f}".removesuffix(".0") + f"{NBSP}M"
    return f"{n:,.0f}"


def p_value(p: float) -> str:
    """Print a p-value.

    Examples:
        >>> p_value(0.0343), p_value(2e-9)
        ('0.034', '< 0.001')
    """
    if not math.isfinite(p):
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number(value: float, step: float, *, signed: bool = True) -> str:
    """Print a number rounded to multiples of a step; what rounds to 0 keeps its sign.

    Examples:
        >>> number(-223_456, 1000), number(0.1834, 0.01), number(0, 1), number(-0.002, 0.01)
        ('−223,000', '+0.18', '0', '−0.00')
    """
    return _number(value, _exponent(step), signed)


def symbol(currency: str) -> str:
    """Sign of a currency, or its code where it has none of its own."""
    return _SYMBOLS.get(currency, f"{currency}{NBSP}")


def spaced(text: str) -> str:
    """Put a no-break space before percent signs, as all other numbers have it."""
    out = []
    for i, char in enumerate(text):
        if char == "%" and i and text[i - 1].isdigit():
            out.append(NBSP)
        out.append(char)
    return "".join(out)


def _shown(
    estimate: Estimate,
    full: Callable[[str], str],
    *,
    signed: bool = True,
    scale: float = 1.0,
    coins: int = 0,
    finest: int = 0,
    step: float = 0.0,
) -> Shown:
    """Show an estimate; ``full`` adds to a bare number what it carries outside of tables."""
    value = estimate.estimate * scale
    low, high = estimate.ci_low * scale, estimate.ci_high * scale
    bounded = math.isfinite(low) and math.isfinite(high)
    if not step:
        step = _range_step(low, high) if bounded else _exact_step(value, finest)
    if coins:
        step = _coins(step, coins)
    exponent = _exponent(step)
    exists = math.isfinite(value)
    words = table = ""
    if estimate.shape == "everything":
        words = table = _ANY
    elif bounded and estimate.shape != "none":
        first, last = _number(low, exponent, signed), _number(high, exponent, signed)
        if estimate.shape == "outside":
            words = table = f"at most {full(first)} or at least {full(last)}"
        else:
            words = f"from {full(first)} to {full(last)}"
            table = f"{first} … {last}"
    return Shown(
        value=full(_number(value, exponent, signed)) if exists else "",
        interval=table,
        words=words,
        note="" if exists and table else estimate.note,
    )


@cache
def _dress(currency: str) -> tuple[Callable[[str], str], float, int, int]:
    """What puts a currency's sign on a bare number; its scale, coins and decimals."""
    unit = currency_of(currency)
    sign = symbol(currency)
    gain, loss = f"+{sign}", f"{MINUS}{sign}"

    def full(bare: str) -> str:
        if bare[0] == "+":
            return gain + bare[1:]
        return loss + bare[1:] if bare[0] == MINUS else sign + bare

    return full, 1 / unit.scale, unit.scale, unit.digits


def _range_step(low: float, high: float) -> float:
    """Two significant digits of the width, one more where an end would turn into 0."""
    if high == low:
        return _exact_step(high, 2)
    step = _step(abs(high - low))
    turned = 0 < abs(low) < 0.5 * step or 0 < abs(high) < 0.5 * step
    return step / 10 if turned else step


def _step(width: float) -> float:
    return float(10.0 ** max(math.floor(math.log10(width)) - 1, -_FINEST))


def _coins(step: float, scale: int) -> float:
    """Below one main unit, amounts have all the decimals of their currency: ¥1.30, not ¥1.3."""
    return min(step, 1 / scale) if step < 1 else step


def _exact_step(value: float, digits: int) -> float:
    """Whole numbers stay whole; others have the decimals of their currency."""
    if not math.isfinite(value) or digits == 0 or float(value).is_integer():
        return 1.0 if digits or abs(value) >= 100 or not math.isfinite(value) else 0.01
    return float(10.0**-digits)


def _number(value: float, exponent: int, signed: bool) -> str:  # noqa: FBT001 - asked for by millions
    """Print a number rounded to multiples of 10**exponent, with its sign."""
    size = abs(value)
    scaled = size * 10.0**-exponent
    if scaled < _EXACT and abs(scaled % 1 - 0.5) > _TIE:
        # No tie is near: the float rounds as its decimals do, at a fifth of the time.
        if exponent < 0:
            text = f"{size:,.{-exponent}f}"
        else:
            text = f"{round(scaled) * 10**exponent:,d}"
    else:
        text = f"{_rounded(size, exponent):,f}"
    if size > _NOISE:
        if value < 0:
            return MINUS + text
        if signed:
            return "+" + text
    return text


def _rounded(value: float, exponent: int) -> Decimal:
    step = Decimal(1).scaleb(exponent)
    scaled = (Decimal(repr(float(value))) / step).to_integral_value(ROUND_HALF_UP)
    exact = scaled * step
    return exact.quantize(step) if exponent < 0 else exact.quantize(Decimal(1))


@cache
def _exponent(step: float) -> int:
    return round(math.log10(step))


def _sign(value: float, *, signed: bool) -> str:
    if value < 0:
        return MINUS
    return "+" if signed and value > 0 else ""
