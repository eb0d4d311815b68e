"""Ledger postings and general-ledger rows of one business, consistent to the fen."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from upliftlab.errors import UpliftlabError
from upliftlab.pnl import half_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ORDERS = {
    "creator_organic": 25_000,
    "creator_ads": 30_000,
    "self_live_ads": 30_000,
    "shelf_organic": 15_000,
}
SPEND = {"creator_ads": 65_000_000, "self_live_ads": 85_000_000}
FIXED = {"payroll": 54_000_000, "rent": 9_000_000, "software": 3_600_000, "admin": 4_995_000}
SALES = 13_000
KEPT = {
    "goods": -4_200,
    "tech": -572,
    "payment": -78,
    "tax": -390,
}
CREATOR = {"commission": -2_600, "agency": -390}
SHIPPED = {"outbound": -320, "packaging": -100, "insurance": -250}
RETURNED = {"returns": -13_000, "write_off": -336, "handling": -150}
PAID = {"service": -60, "gift": -50}

ACCOUNTS: tuple[tuple[str, str, tuple[tuple[str, str], ...], int], ...] = (
    ("6001", "sales", (("sales", ""),), 1),
    ("6002", "refunds and returns", (("cancelled", ""), ("returns", "")), 1),
    ("6401", "cost of goods", (("goods", ""), ("write_off", "")), -1),
    ("6601.01", "shipping", (("outbound", ""), ("packaging", "")), -1),
    ("6601.02", "freight insurance", (("insurance", ""),), -1),
    ("6601.03", "handling and service", (("handling", ""), ("service", ""), ("gift", "")), -1),
    ("6601.04", "platform fees", (("tech", ""), ("payment", "")), -1),
    ("6601.05", "creator commission", (("commission", ""),), -1),
    ("6601.06", "agency fees", (("agency", ""),), -1),
    ("6601.07", "ads for creators", (("ad_spend", "creator_ads"),), -1),
    ("6601.08", "ads for own live", (("ad_spend", ""),), -1),
    ("6403", "taxes", (("tax", ""),), -1),
    ("6602", "overheads", tuple((name, "") for name in FIXED), -1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedBooks:
    """Nine months of the 13,000,000 yuan example, month by month.

    Attributes:
        postings: Ledger rows: line, channel, ordered, posted, amount (fen), status.
        chart: Chart rows: account_code, name, line, channel, sign, vat.
        books: General-ledger rows: account_code, month, amount (fen, as the books sign it).
        months: Months with orders; the last postings fall one month later.
        planted: What was planted: account, month, amount; empty for nothing.
    """

    postings: tuple[dict[str, Any], ...]
    chart: tuple[dict[str, str], ...]
    books: tuple[dict[str, Any], ...]
    months: tuple[str, ...]
    planted: Mapping[str, Any] = field(default_factory=dict)


def simulate_books(
    *,
    year: int = 2026,
    months: int = 9,
    weights: Sequence[float] = (),
    vat: Fraction = Fraction(0),
    rate: Fraction = Fraction(1),
    plant: tuple[str, str, Fraction] | None = None,
) -> SimulatedBooks:
    """Make a ledger with both of its dates, and books that agree with it to the fen.

    Over all months the ledger is the example of 100,000 orders: sales 13,000,000 yuan,
    contribution 765,950, net profit 50,000. Seven tenths of what a receipt settles is booked
    in the month of the order, the rest in the next; of returns four tenths.

    Args:
        year: Of the first month, January.
        months: With orders.
        weights: Of the months; by default rising a little.
        vat: Rate that sales contain and the books leave out; 0 for books with VAT.
        rate: Books currency per yuan.
        plant: (account, month, share): an error of this share in one cell of the books.

    Raises:
        UpliftlabError: When the planted account or month does not exist.

    Examples:
        >>> found = simulate_books()
        >>> sum(row["amount"] for row in found.postings) / 100
        50000.0
    """
    names = [f"{year + k // 12}-{k % 12 + 1:02d}" for k in range(months + 1)]
    share = list(weights) or [8 + k for k in range(months)]
    postings: list[dict[str, Any]] = []
    for channel, orders in ORDERS.items():
        for k, fates in enumerate(_fates(orders, share)):
            postings += _month(channel, fates, names[k], names[k + 1])
    for channel, spend in SPEND.items():
        for k, amount in enumerate(_split(spend, share)):
            postings.append(_posting("ad_spend", channel, names[k], names[k], -amount))
    for line, cost in FIXED.items():
        for k, amount in enumerate(_split(cost, [1] * months)):
            postings.append(_posting(line, "", names[k], names[k], -amount))
    books = _books(postings, names, vat, rate)
    planted: dict[str, Any] = {}
    if plant is not None:
        account, month, by = plant
        if (account, month) not in books:
            raise UpliftlabError(
                f"simulate_books has no account {account!r} in month {month!r}; its accounts "
                f"are {[a[0] for a in ACCOUNTS]} and its months {names}."
            )
        error = half_up(books[account, month] * by)
        books[account, month] += error
        planted = {"account": account, "month": month, "amount": error}
    return SimulatedBooks(
        postings=tuple(postings),
        chart=tuple(_chart(vat)),
        books=tuple(
            {"account_code": a, "month": m, "amount": v} for (a, m), v in sorted(books.items())
        ),
        months=tuple(names[:-1]),
        planted=planted,
    )


def _fates(orders: int, weights: Sequence[float]) -> list[tuple[int, int, int]]:
    """Cancelled, returned and kept orders per month; each adds up to its share of the whole."""
    out, before = [], (0, 0, 0)
    done = 0
    for n in _split(orders, weights):
        done += n
        cancelled, returned, kept = _split(done, [2, 3, 5])
        out.append((cancelled - before[0], returned - before[1], kept - before[2]))
        before = (cancelled, returned, kept)
    return out


def _month(
    channel: str, fates: tuple[int, int, int], here: str, later: str
) -> list[dict[str, Any]]:
    cancelled, returned, kept = fates
    orders = sum(fates)
    out: list[dict[str, Any]] = []

    def post(line: str, each: int, count: int, now: int) -> None:
        first, second = _split(count, [now, 10 - now])
        for month, n in ((here, first), (later, second)):
            if n:
                out.append(_posting(line, channel, here, month, each * n))

    post("sales", SALES, orders, 10)
    post("cancelled", -SALES, cancelled, 10)
    for line, each in PAID.items():
        post(line, each, orders, 10)
    for line, each in SHIPPED.items():
        post(line, each, kept + returned, 9)
    for line, each in RETURNED.items():
        post(line, each, returned, 4)
    lines = KEPT | (CREATOR if channel.startswith("creator") else {})
    for line, each in lines.items():
        post(line, each, kept, 7)
    return out


def _posting(line: str, channel: str, ordered: str, posted: str, amount: int) -> dict[str, Any]:
    return {
        "line": line,
        "channel": channel,
        "ordered": ordered,
        "posted": posted,
        "amount": amount,
        "status": "booked",
    }


def _chart(vat: Fraction) -> list[dict[str, str]]:
    return [
        {
            "account_code": code,
            "name": name,
            "line": line,
            "channel": channel,
            "sign": str(sign),
            "vat": str(vat) if code in {"6001", "6002"} else "0",
        }
        for code, name, lines, sign in ACCOUNTS
        for line, channel in lines
    ]


def _books(
    postings: Sequence[Mapping[str, Any]], months: Sequence[str], vat: Fraction, rate: Fraction
) -> dict[tuple[str, str], int]:
    """What an accountant books: one amount per account and month, rounded once."""
    of = {key: (code, sign) for code, _, lines, sign in ACCOUNTS for key in lines}
    sums = {(code, m): 0 for code, _, _, _ in ACCOUNTS for m in months}
    for row in postings:
        code, sign = of.get((row["line"], row["channel"])) or of[row["line"], ""]
        sums[code, row["posted"]] += sign * row["amount"]
    return {
        (code, month): half_up(
            Fraction(amount) / (1 + (vat if code in {"6001", "6002"} else 0)) * rate
        )
        for (code, month), amount in sums.items()
    }


def _split(whole: int, weights: Sequence[float]) -> list[int]:
    """Divide whole units by weight so that parts add up: cumulative rounding."""
    total, out, done, reached = sum(Fraction(w) for w in weights), [], 0, Fraction(0)
    for weight in weights:
        reached += Fraction(weight)
        upto = half_up(whole * reached / total)
        out.append(upto - done)
        done = upto
    return out
