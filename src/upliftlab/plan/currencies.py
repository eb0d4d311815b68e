"""Which currencies exist, and how many minor units make one main unit (ISO 4217)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from upliftlab.errors import DefinitionError

_NO_MINOR_UNIT = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND"
_HUNDREDTHS = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD
    CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP
    GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD
    LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB
    PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC
    SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW
"""
_DIGITS = {
    code: digits
    for digits, codes in ((0, _NO_MINOR_UNIT), (2, _HUNDREDTHS), (3, _THOUSANDTHS))
    for code in codes.split()
}
_NAMES = {
    "CNY": (("yuan", "元", "rmb"), ("fen", "分")),
    "USD": (("dollars", "dollar"), ("cents", "cent")),
    "EUR": (("euro", "euros"), ("cents", "cent")),
    "GBP": (("pounds", "pound"), ("pence", "penny")),
    "JPY": (("yen",), ()),
    "KRW": (("won",), ()),
    "THB": (("baht",), ("satang",)),
    "SGD": (("dollars", "dollar"), ("cents", "cent")),
    "HKD": (("dollars", "dollar"), ("cents", "cent")),
    "MYR": (("ringgit",), ("sen",)),
    "PHP": (("pesos", "peso"), ("centavos", "centavo")),
    "IDR": (("rupiah",), ("sen",)),
    "VND": (("dong",), ()),
}

CODES = frozenset(_DIGITS)
"""Every currency code that a plan may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Currency:
    """One currency and the words for its units.

    Attributes:
        code: ISO 4217 code.
        digits: Decimals of the main unit: 2 for CNY, 0 for JPY.
        main: The usual word for the main unit, else the code.
        minor: The usual word for the minor unit; empty where there is none.
        main_names: Every spelling of the main unit, in lower case.
        minor_names: Every spelling of the minor unit, in lower case.
    """

    code: str
    digits: int
    main: str
    minor: str
    main_names: frozenset[str]
    minor_names: frozenset[str]

    @property
    def scale(self) -> int:
        """Minor units in one main unit."""
        return int(10**self.digits)

    @property
    def units(self) -> tuple[str, ...]:
        """The words a reader is offered: ``('yuan', 'fen')``."""
        return (self.main, self.minor) if self.minor else (self.main,)

    def minor_per(self, unit: str, what: str = "money") -> int:
        """Say how many minor units one such unit is.

        Examples:
            >>> currency_of("CNY").minor_per("yuan"), currency_of("CNY").minor_per("fen")
            (100, 1)
        """
        if unit.lower() in self.main_names:
            return self.scale
        if unit.lower() in self.minor_names:
            return 1
        raise DefinitionError.unknown_word(what, unit, self.units)


@cache
def currency_of(code: str, what: str = "currency") -> Currency:
    """Look a currency up by its code.

    Raises:
        DefinitionError: When ISO 4217 has no such code.

    Examples:
        >>> currency_of("CNY").units, currency_of("JPY").digits
        (('yuan', 'fen'), 0)
    """
    if code not in _DIGITS:
        raise DefinitionError.unreadable(
            what, code, "write an ISO 4217 code such as CNY, USD or EUR"
        )
    main, minor = _NAMES.get(code, ((), ()))
    digits = _DIGITS[code]
    if digits and not minor:
        minor = (f"minor {code}",)
    return Currency(
        code=code,
        digits=digits,
        main=main[0] if main else code,
        minor=minor[0] if minor else "",
        main_names=frozenset({code.lower(), *main}),
        minor_names=frozenset(name.lower() for name in minor),
    )
