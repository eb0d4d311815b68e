"""What is each component worth, to whom, and at which stage of the journey?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MERCHANT = "merchant"
PARTIES = (MERCHANT, "platform", "creator", "agency", "customer", "state", "carrier")

COUPONS_OF = {
    "commission": "commission_on",
    "agency_fee": "agency_on",
    "kept_creator_organic": "creator_organic",
    "kept_creator_ads": "creator_ads",
}
"""Component -> prefix of the components that say what of it hangs on each payer's coupon."""

Terms = dict[str, float]
"""Component -> rate: minor units of money per unit of the component."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the P&L: what each party gets (+) or pays (-) per unit of its components.

    Attributes:
        name: Key of the line.
        label: Words for readers.
        stage: Where in the journey it arises.
        flows: Party -> component -> rate, in minor units of money.
        by_arm: Flows that replace ``flows`` in some arms, such as contact cost.
        status: "measured" (a money column of the data), "given" (by the plan), "assumed"
            (preset).
        is_campaign: Whether it is money spent on the campaign itself, the denominator of iROI.
        note: What a reader must know; empty when nothing.
    """

    name: str
    label: str
    stage: str
    flows: Mapping[str, Mapping[str, float]]
    by_arm: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    status: str = "given"
    is_campaign: bool = False
    note: str = ""

    def terms(self, party: str, arm: str) -> Terms:
        """Return the rates of one party in one arm.

        Examples:
            >>> fee = Line(name="tech_fee", label="platform fee", stage="settlement",
            ...            flows={"merchant": {"kept_sales": -0.044}})
            >>> fee.terms("merchant", "coupon_20")
            {'kept_sales': -0.044}
        """
        return dict(self.by_arm.get(arm, self.flows).get(party, {}))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "stage": self.stage,
            "status": self.status,
            "is_campaign": self.is_campaign,
            "flows": {party: dict(terms) for party, terms in self.flows.items()},
            "by_arm": {
                arm: {party: dict(terms) for party, terms in flows.items()}
                for arm, flows in self.by_arm.items()
            },
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Economics:
    """A price vector per party and arm, line by line.

    Attributes:
        lines: In the order of a P&L; the merchant's flows add up to the merchant's profit.
        missing: Cost lines that neither plan nor data speak of.
        vat: "included" or "excluded": the basis of every amount.
        note: What a reader must know; empty when nothing.
        as_measured: The lines before a what-if on funding; empty when ``lines`` are they.
        measured: Components that the data hold; empty where nobody said.
    """

    lines: tuple[Line, ...]
    missing: tuple[str, ...] = ()
    vat: str = "included"
    note: str = ""
    as_measured: tuple[Line, ...] = ()
    measured: frozenset[str] = frozenset()

    def price(self, party: str, arm: str) -> Terms:
        """Add up one party's rates over all lines: profit is price . components."""
        out: Terms = {}
        for line in self.lines:
            for component, rate in line.terms(party, arm).items():
                out[component] = out.get(component, 0.0) + rate
        return out

    def line(self, name: str) -> Line:
        """Find one line; KeyError when there is none."""
        for line in self.lines:
            if line.name == name:
                return line
        raise KeyError(name)

    def components(self) -> frozenset[str]:
        """All components that some party's price hangs on."""
        return frozenset(
            component
            for line in self.lines
            for flows in (line.flows, *line.by_arm.values())
            for terms in flows.values()
            for component in terms
        )

    def parties(self) -> tuple[str, ...]:
        """Parties that get or pay something."""
        named = {p for x in self.lines for f in (x.flows, *x.by_arm.values()) for p in f}
        return tuple(party for party in PARTIES if party in named)

    def scaled(self, name: str, factor: float) -> Economics:
        """What if one line were ``factor`` times as large? Data are not touched."""
        self.line(name)
        return replace(
            self,
            lines=_scaled(self.lines, name, factor),
            as_measured=_scaled(self.as_measured, name, factor),
        )

    def with_funding(self, merchant_share: float) -> Economics:
        """What if the merchant paid this share of every smart coupon?

        The coupon seen by customers stays; only who pays moves, so demand components stay.
        Settlement base and everything charged on it move with the merchant's coupon.

        Examples:
            >>> coupon = Line(name="coupon", label="coupon", stage="order",
            ...               flows={"merchant": {"merchant_coupon": -1.0}})
            >>> Economics(lines=(coupon,)).with_funding(0.5).price("merchant", "a")
            {'merchant_coupon': -0.5, 'platform_coupon': -0.5}
        """
        # Rules speak of measured components, so a second what-if starts from the first lines.
        base = self.as_measured or self.lines
        rules = _funding_rules(merchant_share, self.measured)
        return replace(
            self,
            lines=tuple(
                _changed(line, lambda terms: _substitute(terms, rules)) for line in base
            ),
            as_measured=base,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "lines": [line.to_dict() for line in self.lines],
            "missing": list(self.missing),
            "vat": self.vat,
            "note": self.note,
        }


def break_even_roi(margin: float, return_rate: float = 0.0) -> float:
    """Return the pay ROI at which an ad yuan earns nothing: 1 / (margin x share kept).

    With price P, profit margin m on kept sales and return rate r, one yuan of paid sales
    leaves m (1 - r); spend s pays back when sales / s = 1 / (m (1 - r)). The popular
    "1 - m + (1 - r)" adds shares of different things.

    Examples:
        >>> round(break_even_roi(0.30, 0.05), 2)
        3.51
    """
    kept = margin * (1 - return_rate)
    return 1 / kept if kept > 0 else float("inf")


def _funding_rules(share: float, measured: frozenset[str]) -> dict[str, Terms]:
    """Components under another funding share, in terms of the measured ones."""
    both = ("merchant_coupon", "platform_coupon")
    coupon = dict.fromkeys(both, share)
    kept = {f"kept_{name}": weight for name, weight in coupon.items()}
    moved = {"kept_merchant_coupon": 1 - share, "kept_platform_coupon": -share}
    lost = {
        "merchant_coupon": 1 - share,
        "platform_coupon": -share,
        "kept_merchant_coupon": share - 1,
        "kept_platform_coupon": share,
    }
    rules: dict[str, Terms] = {
        "merchant_coupon": coupon,
        "platform_coupon": dict.fromkeys(both, 1 - share),
        "kept_merchant_coupon": kept,
        "kept_platform_coupon": dict.fromkeys(kept, 1 - share),
        "gmv_merchant": {
            "gmv_merchant": 1.0,
            "merchant_coupon": 1 - share,
            "platform_coupon": -share,
        },
        "kept_sales": {"kept_sales": 1.0, **moved},
        # Cancelled and returned sales only ever enter as their sum.
        "returned_sales": {"returned_sales": 1.0, **lost},
    }
    # What is charged on the settlement base moves with it, where its coupons were measured.
    for base, part in COUPONS_OF.items():
        own = {f"{part}_merchant_coupon": 1 - share, f"{part}_platform_coupon": -share}
        if own.keys() <= measured:
            rules[base] = {base: 1.0, **own}
    return rules


def _scaled(lines: tuple[Line, ...], name: str, factor: float) -> tuple[Line, ...]:
    return tuple(
        _changed(line, lambda terms: {c: factor * rate for c, rate in terms.items()})
        if line.name == name
        else line
        for line in lines
    )


def _changed(line: Line, change: Callable[[Mapping[str, float]], Terms]) -> Line:
    """Apply one change to the rates of every party in every arm."""

    def each(flows: Mapping[str, Mapping[str, float]]) -> dict[str, Terms]:
        return {party: change(terms) for party, terms in flows.items()}

    return replace(
        line,
        flows=each(line.flows),
        by_arm={arm: each(flows) for arm, flows in line.by_arm.items()},
    )


def _substitute(terms: Mapping[str, float], rules: Mapping[str, Terms]) -> Terms:
    out: Terms = {}
    for component, rate in terms.items():
        for target, weight in rules.get(component, {component: 1.0}).items():
            out[target] = out.get(target, 0.0) + rate * weight
    return {component: rate for component, rate in out.items() if rate != 0}
