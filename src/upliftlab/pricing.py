"""Which P&L lines do a plan's costs and the measured components make?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.economics import MERCHANT, Economics, Line, Terms
from upliftlab.errors import DefinitionError
from upliftlab.lines import COST_LINES, PRESETS, CostLine

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from upliftlab.plan.costs import Costs


def build(
    costs: Costs | None,
    *,
    components: Collection[str],
    contact: Mapping[str, float] | None = None,
    ad_spend: Mapping[str, float] | None = None,
    terms: Mapping[str, Mapping[str, float]] | None = None,
) -> Economics:
    """Turn the plan's costs and the measured components into P&L lines.

    Args:
        costs: One margin, a preset, a full table, or a preset with own lines over it.
        components: What the data hold.
        contact: Minor units per assigned unit, by arm: messages, mailings.
        ad_spend: Minor units per assigned unit, by arm: plan-level spend, taken as fixed.
        terms: Cost line -> arm -> rate, for the lines whose rate is what the arms differ in.

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
        stated, missing = _stated(costs, have, terms or {})
        lines += stated
    lines += _arm_money("contact", "messages and mailings", "contact_cost", contact, have)
    lines += _arm_money("ad_spend", "ad spend", "ad_spend", ad_spend, have)
    lines += _transfers(have)
    vat = costs.vat if costs else "included"
    return Economics(lines=tuple(lines), missing=missing, vat=vat, measured=have)


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


def _stated(
    costs: Costs, have: frozenset[str], terms: Mapping[str, Mapping[str, float]]
) -> tuple[list[Line], tuple[str, ...]]:
    preset = PRESETS[costs.preset] if costs.preset else {}
    lines: list[Line] = []
    absent: list[str] = []
    if costs.margin is not None:
        lines.append(_margin(float(costs.margin), have))
    for cost in COST_LINES:
        stated = costs.lines.get(cost.name, preset.get(cost.name))
        status = "given" if cost.name in costs.lines else "assumed"
        if cost.name in terms or _is_covered(cost, costs, terms):
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
    lines += [_by_arm(c, terms[c.name], have) for c in COST_LINES if c.name in terms]
    return lines, _missing(absent, {line.name for line in lines})


def _is_covered(cost: CostLine, costs: Costs, terms: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether another line of the plan already charges for this one."""
    if costs.margin is not None and cost.in_margin and cost.name not in costs.lines:
        return True
    by_rate = {"commission_organic", "commission_ads"} & {*costs.lines, *terms}
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


def _by_arm(cost: CostLine, rates: Mapping[str, float], have: frozenset[str]) -> Line:
    """Charge each arm at its own rate."""
    bases = [base for base in cost.bases if base in have]
    if not bases:
        raise DefinitionError.cost_not_in_data(cost.name, " or ".join(cost.bases), have)
    line = _cost(cost, {}, "given")
    by_arm = {}
    for arm, rate in rates.items():
        own: dict[str, dict[str, float]] = {MERCHANT: dict.fromkeys(bases, -rate)}
        if cost.receiver:
            own[cost.receiver] = dict.fromkeys(bases, rate)
        by_arm[arm] = own
    return replace(line, flows={}, by_arm=by_arm)


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
