"""What is each component worth, to whom, and at which stage of the journey?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from upliftlab.errors import DefinitionError
from upliftlab.lines import COST_LINES, PRESETS, STATED_KINDS, CostLine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from upliftlab.experiment import Costs

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


def build(
    costs: Costs | None,
    *,
    components: Collection[str],
    contact: Mapping[str, float] | None = None,
    ad_spend: Mapping[str, float] | None = None,
) -> Economics:
    """Turn the plan's costs and the measured components into P&L lines.

    Args:
        costs: One margin, a preset, a full table, or a preset with own lines over it.
        components: What the data hold.
        contact: Minor units per assigned unit, by arm: messages, mailings.
        ad_spend: Minor units per assigned unit, by arm: plan-level spend, taken as fixed.

    Raises:
        DefinitionError: When the costs need a component that the data do not hold.
    """
    have = frozenset(components)
    if "profit" in have:
        lines = _profit_as_given(have)
        missing: tuple[str, ...] = ()
    else:
        lines = _revenue(have)
        if not lines:
            raise DefinitionError.no_sales(have)
        if costs is None:
            raise DefinitionError.no_costs()
        stated, missing = _stated(costs, have)
        lines += stated
    lines += _arm_money("contact", "messages and mailings", "contact_cost", contact, have)
    lines += _arm_money("ad_spend", "ad spend", "ad_spend", ad_spend, have)
    lines += _transfers(have)
    vat = costs.vat if costs else "included"
    return Economics(lines=tuple(lines), missing=missing, vat=vat, measured=have)


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


def _revenue(have: frozenset[str]) -> list[Line]:
    """Sales before our coupon, the coupon, and what was lost on the way to kept sales.

    Whichever sales the data hold, the coupon stands on its own line: it is campaign money.
    """
    tops = (
        ("gmv_platform", "sales at the checkout, before coupons", "order"),
        ("gmv_merchant", "sales at the checkout, before our coupon", "order"),
        ("kept_sales", "sales kept, before our coupon", "settlement"),
    )
    found = next((top for top in tops if top[0] in have), None)
    if found is None:
        return []
    top, label, stage = found
    has_coupon = "merchant_coupon" in have
    lines = [_sales(top, label, stage, has_coupon and top != "gmv_platform")]
    if has_coupon:
        lines.append(_campaign("coupon", "our coupon money", "order", "merchant_coupon"))
    return lines + _lost(top, have) if top != "kept_sales" else lines


def _sales(top: str, label: str, stage: str, add_coupon: bool) -> Line:  # noqa: FBT001
    line = _measured("sales", label, stage, top, 1.0)
    if not add_coupon:
        return line
    return replace(line, flows={MERCHANT: {top: 1.0, "merchant_coupon": 1.0}})


def _lost(top: str, have: frozenset[str]) -> list[Line]:
    """Cancelled and returned sales; where only kept sales are known, the rest in one line."""
    named = {"cancelled": "cancelled before shipping", "returned": "returned"}
    lines = [
        _measured(name, label, "return", f"{name}_sales", -1.0)
        for name, label in named.items()
        if f"{name}_sales" in have
    ]
    if len(lines) < len(named) and "kept_sales" in have:
        terms = {top: -1.0, "kept_sales": 1.0}
        if top == "gmv_platform" and "merchant_coupon" in have:
            terms["merchant_coupon"] = 1.0
        terms |= {f"{name}_sales": 1.0 for name in named if f"{name}_sales" in have}
        rest = "cancelled and returned" if not lines else "other sales not kept"
        lines.append(
            Line(
                name="lost",
                label=rest,
                stage="return",
                flows={MERCHANT: terms},
                status="measured",
            )
        )
    return lines


def _stated(costs: Costs, have: frozenset[str]) -> tuple[list[Line], tuple[str, ...]]:
    preset = PRESETS[costs.preset] if costs.preset else {}
    lines: list[Line] = []
    absent: list[str] = []
    if costs.margin is not None:
        lines.append(_margin(float(costs.margin), have))
    for cost in COST_LINES:
        stated = costs.lines.get(cost.name, preset.get(cost.name))
        status = "given" if cost.name in costs.lines else "assumed"
        if _is_covered(cost, costs):
            continue
        if cost.measured_as in have and (stated is None or stated == "from_orders"):
            lines.append(_cost(cost, {cost.measured_as: -1.0}, "measured"))
        elif stated == "from_orders":
            if cost.name in costs.lines:
                raise DefinitionError.cost_not_in_data(cost.name, cost.measured_as, have)
            absent.append(cost.name)
        elif stated is None:
            absent.append(cost.name)
        elif not _bases(cost, have):
            if cost.name in costs.lines:
                raise DefinitionError.cost_not_in_data(cost.name, " or ".join(cost.bases), have)
            absent.append(cost.name)
        else:
            rate = _number(stated)
            lines.append(_cost(cost, dict.fromkeys(_bases(cost, have), -rate), status))
    return lines, _missing(absent, {line.name for line in lines})


def _is_covered(cost: CostLine, costs: Costs) -> bool:
    """Whether another line of the plan already charges for this one."""
    if costs.margin is not None and cost.in_margin and cost.name not in costs.lines:
        return True
    by_rate = {"commission_organic", "commission_ads"} & set(costs.lines)
    return cost.name == "commission" and bool(by_rate)


def _missing(absent: Sequence[str], found: Collection[str]) -> tuple[str, ...]:
    """Name the absent lines that a reader would expect; one kind of commission is enough."""
    expected = {cost.name for cost in COST_LINES if cost.is_expected}
    if any(name.startswith("commission") for name in found):
        expected.discard("commission")
    return tuple(name for name in absent if name in expected)


def _number(stated: object) -> float:
    """Rates are shares; money is in minor units."""
    return float(getattr(stated, "minor", stated))  # type: ignore[arg-type]


def _bases(cost: CostLine, have: frozenset[str]) -> tuple[str, ...]:
    if all(base in have for base in cost.bases):
        return cost.bases
    return tuple(base for base in cost.fallback if base in have)[:1]


def _cost(cost: CostLine, terms: Terms, status: str) -> Line:
    flows: dict[str, dict[str, float]] = {MERCHANT: terms}
    if cost.receiver:
        flows[cost.receiver] = {component: -rate for component, rate in terms.items()}
    return Line(name=cost.name, label=cost.label, stage=cost.stage, flows=flows, status=status)


def _margin(margin: float, have: frozenset[str]) -> Line:
    """Goods and all else at (1 - margin) of sales before our coupon."""
    if "kept_sales" in have:
        base = {"kept_sales": 1.0}
        coupon: tuple[str, ...] = ("kept_merchant_coupon",)
        if not {"gmv_platform", "gmv_merchant"} & have:
            # Nothing but kept sales: the coupon given beside them is the one on kept orders.
            coupon = ("kept_merchant_coupon", "merchant_coupon")
        base |= dict.fromkeys([c for c in coupon if c in have][:1], 1.0)
    elif "gmv_platform" in have:
        base = {"gmv_platform": 1.0}
    else:
        base = {"gmv_merchant": 1.0}
        if "merchant_coupon" in have:
            base["merchant_coupon"] = 1.0
    return Line(
        name="goods_at_margin",
        label=f"goods and running costs, at a margin of {margin:.1%}",
        stage="shipment",
        flows={MERCHANT: {component: -(1 - margin) * w for component, w in base.items()}},
        status="given",
    )


def _arm_money(
    name: str,
    label: str,
    component: str,
    stated: Mapping[str, float] | None,
    have: frozenset[str],
) -> list[Line]:
    """Money for messages or ads: a measured column, or the plan's amount per unit of an arm."""
    amounts = {arm: amount for arm, amount in (stated or {}).items() if amount}
    if component in have:
        if amounts:
            raise DefinitionError.both_given("the analysis", f"costs of {name}", component)
        return [_campaign(name, label, "impression", component)]
    if not amounts:
        return []
    return [
        Line(
            name=name,
            label=label,
            stage="impression",
            flows={},
            by_arm={arm: {MERCHANT: {"units": -amount}} for arm, amount in amounts.items()},
            is_campaign=True,
            note="conditional on spend" if name == "ad_spend" else "",
        )
    ]


def _profit_as_given(have: frozenset[str]) -> list[Line]:
    """Profit with all costs in it; a coupon given beside it is shown, not charged again."""
    if "merchant_coupon" not in have:
        return [_measured("profit", "profit as given", "settlement", "profit", 1.0)]
    before = Line(
        name="profit",
        label="profit as given, before our coupon",
        stage="settlement",
        flows={MERCHANT: {"profit": 1.0, "merchant_coupon": 1.0}},
        status="measured",
    )
    return [before, _campaign("coupon", "our coupon money", "order", "merchant_coupon")]


def _campaign(name: str, label: str, stage: str, component: str) -> Line:
    return replace(_measured(name, label, stage, component, -1.0), is_campaign=True)


def _transfers(have: frozenset[str]) -> list[Line]:
    """What other parties pay each other; the merchant's profit does not hang on it."""
    lines = []
    for who in ("merchant", "platform", "creator"):
        if f"kept_{who}_coupon" not in have:
            continue
        flows = {"customer": {f"kept_{who}_coupon": 1.0}}
        if who != MERCHANT:
            flows[who] = {f"kept_{who}_coupon": -1.0}
        lines.append(
            Line(
                name=f"{who}_coupon_kept",
                label=f"coupon money that customers kept, paid by the {who}",
                stage="order",
                flows=flows,
                status="measured",
            )
        )
    return lines


def _measured(name: str, label: str, stage: str, component: str, rate: float) -> Line:
    return Line(
        name=name,
        label=label,
        stage=stage,
        flows={MERCHANT: {component: float(rate)}},
        status="measured",
    )


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


__all__ = [
    "MERCHANT",
    "PARTIES",
    "STATED_KINDS",
    "Economics",
    "Line",
    "break_even_roi",
    "build",
]
