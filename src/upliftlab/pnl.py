"""What does the whole P&L say, line by line, to the fen?"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from upliftlab.economics import MERCHANT
from upliftlab.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from upliftlab.economics import Economics

CASH_LINES = ("sales", "coupon", "cancelled", "returned")
"""Lines that add up to net sales kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a P&L in whole minor units, positive where the merchant gets money.

    Attributes:
        name: Key of the line.
        label: Words for readers.
        amounts: Column (channel, month, arm) -> minor units.
    """

    name: str
    label: str
    amounts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Sum over the columns."""
        return sum(self.amounts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pnl:
    """A P&L that adds up to the fen in both directions.

    Attributes:
        columns: Channels, months or arms.
        rows: Lines that make the contribution before ads, in the order of a P&L.
        spend: Ad spend per column, as costs (0 or below).
        fixed: Name -> fixed cost, as costs; they belong to no column.
        linear: Column -> contribution before ads as rates x components, unrounded.
        parties: Party -> column -> what it gets, rounded half up.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    spend: Row
    fixed: Mapping[str, int]
    linear: Mapping[str, Fraction]
    parties: Mapping[str, Mapping[str, int]]

    def row(self, name: str) -> Row:
        """Find one line; KeyError when there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def net_sales(self) -> Row:
        """Sales that stayed: after coupons, cancellations and returns."""
        return self._sum("net_sales", "net sales kept", self._lines(CASH_LINES))

    @property
    def before_ads(self) -> Row:
        """Contribution before ads, as the ledger books it."""
        return self._sum("before_ads", "contribution before ads", self.rows)

    @property
    def contribution(self) -> Row:
        """Contribution profit: after ads, before fixed costs."""
        parts = (self.before_ads, self.spend)
        return self._sum("contribution", "contribution profit", parts)

    @property
    def net_profit(self) -> int:
        """Contribution profit less fixed costs."""
        return self.contribution.total + sum(self.fixed.values())

    @property
    def rounding(self) -> dict[str, Fraction]:
        """Column -> what the ledger's rounding took from the unrounded linear form.

        Ledger + rounding = rates x components. At most half a fen per order line and rate.
        """
        booked = self.before_ads.amounts
        return {name: self.linear[name] - booked[name] for name in self.columns}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = (*self.rows, self.net_sales, self.before_ads, self.spend, self.contribution)
        return {
            "columns": list(self.columns),
            "rows": {row.name: dict(row.amounts) for row in rows},
            "rounding": {name: float(gap) for name, gap in self.rounding.items()},
            "fixed": dict(self.fixed),
            "net_profit": self.net_profit,
            "parties": {party: dict(by) for party, by in self.parties.items()},
        }

    def _lines(self, names: Iterable[str]) -> tuple[Row, ...]:
        wanted = set(names)
        return tuple(row for row in self.rows if row.name in wanted)

    def _sum(self, name: str, label: str, rows: Iterable[Row]) -> Row:
        listed = tuple(rows)
        return Row(
            name=name,
            label=label,
            amounts={c: sum(row.amounts[c] for row in listed) for c in self.columns},
        )


def pnl(
    totals: Mapping[str, Mapping[str, int]],
    economics: Economics,
    *,
    arm: str = "",
    spend: Mapping[str, int] | None = None,
    fixed: Mapping[str, int] | None = None,
    booked: Mapping[str, Mapping[str, int]] | None = None,
) -> Pnl:
    """Price component totals into a P&L of whole minor units.

    Every line is rate x component, rounded half up per column, unless the statement booked it
    per order line: then the booked amount stands and ``rounding`` shows the difference.

    Args:
        totals: Column -> component -> total, in minor units or counts.
        economics: Prices, line by line.
        arm: Whose terms apply, where lines differ between arms.
        spend: Column -> ad spend.
        fixed: Name -> fixed cost of the period.
        booked: Line -> column -> amount as booked, signed for the merchant.

    Raises:
        LedgerError: When a price hangs on a component that the totals do not hold.

    Examples:
        >>> from upliftlab.economics import Economics, Line
        >>> lines = tuple(
        ...     Line(name=name, label=name, stage="order", flows={"merchant": {"kept": rate}})
        ...     for name, rate in (("sales", 1.0), ("fee", -0.044))
        ... )
        >>> sheet = pnl({"shelf": {"kept": 9_999}}, Economics(lines=lines), fixed={"rent": 500})
        >>> sheet.row("fee").total, sheet.net_profit, float(sheet.rounding["shelf"])
        (-440, 9059, 0.044)
    """
    columns = tuple(totals)
    rows, linear = [], dict.fromkeys(columns, Fraction(0))
    for line in economics.lines:
        terms = line.terms(MERCHANT, arm)
        if not terms:
            continue
        exact = {c: _worth(terms, totals[c], line.name) for c in columns}
        stands = (booked or {}).get(line.name)
        amounts = dict(stands) if stands else {c: half_up(exact[c]) for c in columns}
        rows.append(Row(name=line.name, label=line.label, amounts=amounts))
        for column in columns:
            linear[column] += exact[column]
    paid = {c: -(spend or {}).get(c, 0) for c in columns}
    return Pnl(
        columns=columns,
        rows=tuple(rows),
        spend=Row(name="ad_spend", label="ad spend", amounts=paid),
        fixed={name: -cost for name, cost in (fixed or {}).items()},
        linear=linear,
        parties=_parties(totals, economics, arm),
    )


def per_line(amounts: Mapping[int, int], rate: float) -> int:
    """Charge a rate on every order line, each rounded half up, and add up.

    Args:
        amounts: Amount of a line in minor units -> how many lines have it.
        rate: Share of the amount.

    Examples:
        >>> sum(per_line({9_999: 1}, rate) for rate in (0.044, 0.006, 0.03, 0.20))
        2800
    """
    return sum(count * half_up(_exact(rate) * each) for each, count in amounts.items())


def half_up(amount: Fraction) -> int:
    """Round to whole minor units, half away from zero.

    Examples:
        >>> half_up(Fraction(5, 2)), half_up(Fraction(-5, 2))
        (3, -3)
    """
    whole = int(abs(amount) + Fraction(1, 2))
    return whole if amount >= 0 else -whole


def break_even_pay_roi(contribution: int, sales: int) -> float:
    """Return the sales per yuan of ads at which a channel earns nothing: 1 / m.

    m is the contribution before ads per yuan of paid sales of that channel, so returns, fees,
    commission and goods are all in it. One yuan of ads pays back when it brings 1 / m of sales.

    Args:
        contribution: Contribution before ads of the channel.
        sales: Its paid sales, on the basis that the ROI is quoted on.

    Returns:
        Infinity where the channel earns nothing before ads: no ROI pays back.

    Examples:
        >>> round(break_even_pay_roi(226_595_000, 1_300_000_000), 2)
        5.74
    """
    return sales / contribution if contribution > 0 else float("inf")


def _worth(terms: Mapping[str, float], totals: Mapping[str, int], line: str) -> Fraction:
    absent = [component for component in terms if component not in totals]
    if absent:
        raise LedgerError.no_component(line, absent[0], totals)
    return sum((_exact(rate) * totals[name] for name, rate in terms.items()), Fraction(0))


def _exact(rate: float) -> Fraction:
    """Take a rate as it is written: 0.044 is 44 thousandths, not the nearest binary number."""
    return Fraction(repr(float(rate)))


def _parties(
    totals: Mapping[str, Mapping[str, int]], economics: Economics, arm: str
) -> dict[str, dict[str, int]]:
    """Add up what each party gets; a flow whose component nobody measured is left out."""
    out: dict[str, dict[str, int]] = {}
    for party in economics.parties():
        price = economics.price(party, arm)
        out[party] = {
            column: half_up(
                sum(
                    (_exact(rate) * by[name] for name, rate in price.items() if name in by),
                    Fraction(0),
                )
            )
            for column, by in totals.items()
        }
    return out
