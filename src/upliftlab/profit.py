"""What did it earn, line by line and side by side? Effects times economics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.economics import MERCHANT
from upliftlab.stats.estimate import Estimate, expected_loss, p_positive, undefined
from upliftlab.tipping import Tipping, tipping_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.economics import Economics, Line
    from upliftlab.estimators.effects import Effects
    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]

RUNGS = (
    ("gmv_platform", "GMV on the platform's dashboard"),
    ("gmv_merchant", "GMV the shop books"),
    ("kept_sales", "sales kept after returns"),
)
"""The ladder above profit: component and words."""

COUNTED = {
    "new_customers": "cost per extra new customer",
    "members_activated": "cost per activated member",
    "members_joined": "cost per extra member",
    "orders_kept": "cost per extra kept order",
    "orders": "cost per extra order",
}
"""Counts that campaign money is divided by."""

NO_DIFFERENCE = "not applicable: both arms have the same prices"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEffect:
    """One bar of the waterfall: what a line adds to the merchant's extra profit per unit.

    Attributes:
        line: Key of the line.
        label: Words for readers.
        stage: Where in the journey it arises.
        status: "measured", "given" or "assumed".
        treatment: Money per treated unit, in minor units.
        control: Money per control unit, in minor units.
        effect: The difference, with its interval.
    """

    line: str
    label: str
    stage: str
    status: str
    treatment: float
    control: float
    effect: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "line": self.line,
            "label": self.label,
            "stage": self.stage,
            "status": self.status,
            "treatment": self.treatment,
            "control": self.control,
            "effect": self.effect.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One step of the ladder from the dashboard's GMV down to profit.

    Attributes:
        name: Component, or "profit".
        label: Words that say whose number it is.
        control: Level in control per unit, in minor units.
        effect: Per unit, with ``rel_`` fields as a share of control.
    """

    name: str
    label: str
    control: float
    effect: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "control": self.control,
            "effect": self.effect.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Profit:
    """What one arm earned more than control, per unit in minor units, and in total.

    Attributes:
        arm: The treatment.
        control: The arm compared with.
        window: Days from assignment; None where the data have no clock.
        segment: "everyone", or column and level as in "is_new_customer = yes".
        n: Units in the treatment arm.
        n_control: Units in control.
        profit: Extra profit per unit, its own interval.
        profit_simultaneous: The same with an interval that holds for all arms at once; in a
            segment, for all declared segments.
        lines: Bars of the waterfall; they add up to ``profit``.
        ladder: Platform GMV, merchant GMV, kept sales, profit.
        campaign_cost: Extra campaign money per unit: coupon and contact.
        iroi: Extra profit after all cost per unit of campaign money.
        over_hurdle: Extra profit less the plan's hurdle on campaign money, per unit.
        attributed_roi: What a dashboard shows: sales of redeemers per coupon yuan; NaN if
            unknown.
        cost_per: Campaign money per extra customer, member or order.
        average_cost_per: The same per customer, member or order of the arm, extra or not: the
            number that dashboards show.
        parties: Extra money per unit for each side.
        stages: Extra profit per unit by stage of the journey.
        mechanical: Part from other prices on what control sells anyway; NaN with a note when
            prices are the same.
        behavioural: Part from other behaviour, at the treatment's prices.
        p_positive: Probability that extra profit is above 0, under a flat prior.
        expected_loss: Money lost per unit on average if shipped and the truth is below 0.
        realised: Total over the treated units of the test.
        rollout: Total over the eligible units; NaN with a note where nobody says how many.
        rollout_n: Units that the roll-out total speaks of.
        tipping: What would turn the sign of profit.
        variance_kept: Share of the profit contrast's variance left by adjustment; NaN without.
    """

    arm: str
    control: str
    window: int | None
    segment: str
    n: int
    n_control: int
    profit: Estimate
    profit_simultaneous: Estimate
    lines: tuple[LineEffect, ...]
    ladder: tuple[Rung, ...]
    campaign_cost: Estimate
    iroi: Estimate
    over_hurdle: Estimate
    attributed_roi: float
    cost_per: Mapping[str, Estimate] = field(default_factory=dict)
    average_cost_per: Mapping[str, float] = field(default_factory=dict)
    parties: Mapping[str, Estimate] = field(default_factory=dict)
    stages: Mapping[str, Estimate] = field(default_factory=dict)
    mechanical: Estimate
    behavioural: Estimate
    p_positive: float
    expected_loss: float
    realised: Estimate
    rollout: Estimate
    rollout_n: int
    tipping: tuple[Tipping, ...] = ()
    variance_kept: float = float("nan")

    def rung(self, name: str) -> Rung | None:
        """Find one rung of the ladder."""
        return next((rung for rung in self.ladder if rung.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "arm": self.arm,
            "control": self.control,
            "window": self.window,
            "segment": self.segment,
            "n": self.n,
            "n_control": self.n_control,
            "profit": self.profit.to_dict(),
            "profit_simultaneous": self.profit_simultaneous.to_dict(),
            "lines": [line.to_dict() for line in self.lines],
            "ladder": [rung.to_dict() for rung in self.ladder],
            "campaign_cost": self.campaign_cost.to_dict(),
            "iroi": self.iroi.to_dict(),
            "over_hurdle": self.over_hurdle.to_dict(),
            "attributed_roi": _plain(self.attributed_roi),
            "cost_per": {k: e.to_dict() for k, e in self.cost_per.items()},
            "average_cost_per": {k: _plain(v) for k, v in self.average_cost_per.items()},
            "parties": {k: e.to_dict() for k, e in self.parties.items()},
            "stages": {k: e.to_dict() for k, e in self.stages.items()},
            "mechanical": self.mechanical.to_dict(),
            "behavioural": self.behavioural.to_dict(),
            "p_positive": _plain(self.p_positive),
            "expected_loss": _plain(self.expected_loss),
            "realised": self.realised.to_dict(),
            "rollout": self.rollout.to_dict(),
            "rollout_n": self.rollout_n,
            "tipping": [each.to_dict() for each in self.tipping],
            "variance_kept": _plain(self.variance_kept),
        }


def assess(
    effects: Effects,
    economics: Economics,
    *,
    arm: str,
    window: int | None = None,
    segment: str = "everyone",
    eligible: int | None = None,
    hurdle: float = 0.0,
    level: float = 0.95,
) -> Profit:
    """Price one arm's effects.

    Every number is a linear map of one vector of arm means, so lines add up to profit and all
    intervals share one covariance; ratios are Fieller's, so 0 lies in the iROI set exactly when
    profit does not differ significantly from 0.

    Args:
        effects: Arm means of one window, by plain component names.
        economics: Lines with prices per arm.
        arm: The treatment.
        window: Days, for the label.
        segment: Label of the population.
        eligible: Units a roll-out would reach.
        hurdle: Extra profit per unit of campaign money that the plan asks for.
        level: Confidence level.

    References:
        Fieller (1954), *Journal of the Royal Statistical Society B* 16(2).
    """
    effects = effects.with_units()
    book = _book(effects, economics, arm, hurdle)
    profit = _with_rel(book, "profit", level)
    same = economics.price(MERCHANT, arm) == economics.price(MERCHANT, effects.control)
    treated, control = _size(effects, arm), _size(effects, effects.control)
    return Profit(
        arm=arm,
        control=effects.control,
        window=window,
        segment=segment,
        n=treated,
        n_control=control,
        profit=profit,
        profit_simultaneous=profit,
        lines=_lines(book, effects, economics, arm, level),
        ladder=_ladder(book, profit, level),
        campaign_cost=book.estimate("cost", level=level),
        iroi=_per_cost(book, "profit", "cost", "iROI", level),
        over_hurdle=book.estimate("over hurdle", level=level),
        attributed_roi=_attributed(effects, arm),
        cost_per=_cost_per(book, level),
        average_cost_per=_average(effects, economics, arm),
        parties=_named(book, "party:", level),
        stages=_named(book, "stage:", level),
        mechanical=_split(book, "mechanical", same, level),
        behavioural=_split(book, "behavioural", same, level),
        p_positive=p_positive(profit),
        expected_loss=expected_loss(profit),
        realised=profit.scaled(treated, name="realised"),
        rollout=_rollout(profit, eligible),
        rollout_n=eligible or 0,
        tipping=tipping_values(effects, economics, arm, level=level),
        variance_kept=_variance_kept(effects, economics, arm),
    )


def _lines(
    book: Joint, effects: Effects, economics: Economics, arm: str, level: float
) -> tuple[LineEffect, ...]:
    """Every line of the merchant: its level in both arms and what it adds to profit."""
    return tuple(
        LineEffect(
            line=line.name,
            label=line.label,
            stage=line.stage,
            status=line.status,
            treatment=_level(effects, line.terms(MERCHANT, arm), arm),
            control=_level(effects, line.terms(MERCHANT, effects.control), effects.control),
            effect=book.estimate(f"line:{line.name}", level=level),
        )
        for line in merchant_lines(economics)
    )


def _cost_per(book: Joint, level: float) -> dict[str, Estimate]:
    """Campaign money per extra order, customer and so on."""
    return {
        label: _per_cost(book, "cost", f"count:{name}", label, level)
        for name, label in COUNTED.items()
        if f"count:{name}" in book.names
    }


def merchant_lines(economics: Economics) -> tuple[Line, ...]:
    """Return the lines that the merchant's profit is made of."""
    return tuple(
        line
        for line in economics.lines
        if MERCHANT in line.flows or any(MERCHANT in flows for flows in line.by_arm.values())
    )


def across_arms(profits: Sequence[Profit], joint: Joint, *, level: float) -> tuple[Profit, ...]:
    """Give every arm an interval that holds for all arms at once.

    Args:
        profits: One per arm, whole population.
        joint: Their profit contrasts with joint covariance, in the same order.
        level: Simultaneous level.

    References:
        Dunnett (1955), *Journal of the American Statistical Association* 50(272).
    """
    from upliftlab.stats.multiplicity import simultaneous

    wide = simultaneous([p.profit for p in profits], joint.correlation())
    return tuple(
        replace(profit, profit_simultaneous=replace(estimate, level=level))
        for profit, estimate in zip(profits, wide, strict=True)
    )


def profit_contrasts(effects: Effects, economics: Economics, arms: Sequence[str]) -> Joint:
    """Return the profit contrasts of several arms with their joint covariance."""
    effects = effects.with_units()
    weights = np.stack([contrast_weights(effects, economics, MERCHANT, arm) for arm in arms])
    return effects.linear(weights, list(arms))


def contrast_weights(effects: Effects, economics: Economics, party: str, arm: str) -> Floats:
    """Weights [A, K] of p_T . mu_T - p_C . mu_C for one party."""
    return _weights(
        effects,
        arm,
        economics.price(party, arm),
        economics.price(party, effects.control),
    )


def _book(effects: Effects, economics: Economics, arm: str, hurdle: float) -> Joint:
    """All functionals of one contrast with one covariance."""
    control = effects.control
    rows: dict[str, Floats] = {}
    stages: dict[str, Floats] = {}
    cost = np.zeros((len(effects.arms), len(effects.names)))
    for line in merchant_lines(economics):
        row = _weights(effects, arm, line.terms(MERCHANT, arm), line.terms(MERCHANT, control))
        rows[f"line:{line.name}"] = row
        stages[line.stage] = stages.get(line.stage, 0) + row
        if line.is_campaign:
            cost = cost - row
    rows["profit"] = contrast_weights(effects, economics, MERCHANT, arm)
    rows["cost"] = cost
    rows["over hurdle"] = rows["profit"] - hurdle * cost
    rows |= {f"stage:{name}": row for name, row in stages.items()}
    for party in economics.parties():
        rows[f"party:{party}"] = contrast_weights(effects, economics, party, arm)
    price_t, price_c = economics.price(MERCHANT, arm), economics.price(MERCHANT, control)
    rows["base:profit"] = _only(effects, control, price_c)
    rows["mechanical"] = _only(effects, control, price_t) - _only(effects, control, price_c)
    rows["behavioural"] = _weights(effects, arm, price_t, price_t)
    for name in (*(rung for rung, _ in RUNGS), *COUNTED):
        terms = rung_terms(name, effects.names)
        if terms:
            kind = "count" if name in COUNTED else "rung"
            rows[f"{kind}:{name}"] = _weights(effects, arm, terms, terms)
            rows[f"base:{name}"] = _only(effects, control, terms)
    return effects.linear(np.stack(list(rows.values())), list(rows))


def rung_terms(name: str, have: Sequence[str]) -> dict[str, float]:
    """Write a rung in measured components; GMV with and without our coupon convert.

    Examples:
        >>> rung_terms("gmv_merchant", ["gmv_platform", "merchant_coupon"])
        {'gmv_platform': 1.0, 'merchant_coupon': -1.0}
    """
    if name in have:
        return {name: 1.0}
    other, sign = {
        "gmv_merchant": ("gmv_platform", -1.0),
        "gmv_platform": ("gmv_merchant", 1.0),
    }.get(name, ("", 0.0))
    if other in have and "merchant_coupon" in have:
        return {other: 1.0, "merchant_coupon": sign}
    return {}


def _ladder(book: Joint, profit: Estimate, level: float) -> tuple[Rung, ...]:
    rungs = [
        Rung(
            name=name,
            label=label,
            control=float(book.value[book.index(f"base:{name}")]),
            effect=replace(_with_rel(book, f"rung:{name}", level, base=name), name=name),
        )
        for name, label in RUNGS
        if f"rung:{name}" in book.names
    ]
    rungs.append(
        Rung(
            name="profit",
            label="profit",
            control=float(book.value[book.index("base:profit")]),
            effect=profit,
        )
    )
    return tuple(rungs)


def _with_rel(book: Joint, name: str, level: float, base: str | None = None) -> Estimate:
    """Add the share of control by Fieller, only where control is clearly away from 0."""
    plain = book.estimate(name, level=level)
    key = f"base:{base or name}"
    i = book.index(key)
    mean, se = float(book.value[i]), float(np.sqrt(book.cov[i, i]))
    if not abs(mean) > 3 * se or se == 0:
        return plain
    share = book.ratio(name, key, name=name, level=level)
    flip = mean < 0
    if share.shape != "interval":
        return replace(plain, rel_estimate=plain.estimate / abs(mean))
    ends = (share.ci_low, share.ci_high)
    low, high = (-ends[1], -ends[0]) if flip else ends
    return replace(
        plain, rel_estimate=plain.estimate / abs(mean), rel_ci_low=low, rel_ci_high=high
    )


def _per_cost(book: Joint, num: str, den: str, name: str, level: float) -> Estimate:
    j = book.index(den)
    if book.value[j] == 0 and book.cov[j, j] == 0:
        return undefined(name, "no campaign money was spent", level=level)
    return book.ratio(num, den, name=name, level=level)


def _split(book: Joint, name: str, same: bool, level: float) -> Estimate:  # noqa: FBT001
    if same:
        return undefined(name, NO_DIFFERENCE, level=level)
    return book.estimate(name, level=level)


def _attributed(effects: Effects, arm: str) -> float:
    """Sales of orders with a coupon per yuan of our coupon, as dashboards show it."""
    if "redeemed_sales" not in effects.names or "merchant_coupon" not in effects.names:
        return float("nan")
    a = effects.arms.index(arm)
    cost = float(effects.mean[a, effects.names.index("merchant_coupon")])
    sales = float(effects.mean[a, effects.names.index("redeemed_sales")])
    return sales / cost if cost > 0 else float("nan")


def _average(effects: Effects, economics: Economics, arm: str) -> dict[str, float]:
    """Campaign money of the arm per customer, member or order of the arm."""
    a = effects.arms.index(arm)
    cost = -sum(
        _level(effects, line.terms(MERCHANT, arm), arm)
        for line in merchant_lines(economics)
        if line.is_campaign
    )
    counts = {
        label: float(effects.mean[a, effects.names.index(name)])
        for name, label in COUNTED.items()
        if name in effects.names
    }
    return {label: cost / count for label, count in counts.items() if count > 0}


def _rollout(profit: Estimate, eligible: int | None) -> Estimate:
    if eligible is None:
        return undefined("rollout", "eligible_customers not given", level=profit.level)
    return profit.scaled(eligible, name="rollout")


def _variance_kept(effects: Effects, economics: Economics, arm: str) -> float:
    return effects.variance_left(contrast_weights(effects, economics, MERCHANT, arm))


def _named(book: Joint, prefix: str, level: float) -> dict[str, Estimate]:
    return {
        name.removeprefix(prefix): book.estimate(name, level=level)
        for name in book.names
        if name.startswith(prefix)
    }


def _weights(
    effects: Effects, arm: str, treated: Mapping[str, float], control: Mapping[str, float]
) -> Floats:
    return _only(effects, arm, treated) - _only(effects, effects.control, control)


def _only(effects: Effects, arm: str, terms: Mapping[str, float]) -> Floats:
    return effects.weights({arm: dict(terms)})


def _level(effects: Effects, terms: Mapping[str, float], arm: str) -> float:
    a = effects.arms.index(arm)
    return float((effects.weights({arm: dict(terms)})[a] * effects.mean[a]).sum())


def _size(effects: Effects, arm: str) -> int:
    return effects.n[effects.arms.index(arm)]


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
