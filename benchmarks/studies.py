"""Simulated coupon tests with a known truth, one run at a time."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.data.cells import Cells
from upliftlab.decision import decide
from upliftlab.estimators import ab
from upliftlab.experiment import Experiment
from upliftlab.pricing import build
from upliftlab.profit import across_arms, assess, profit_contrasts
from upliftlab.segments import segments_of
from upliftlab.simulate import SmartCoupon, draw, preset, unit_components
from upliftlab.stats import moments
from upliftlab.stats.sample_ratio import chi_square

if TYPE_CHECKING:
    from upliftlab.economics import Economics
    from upliftlab.estimators.effects import Effects
    from upliftlab.profit import Profit
    from upliftlab.simulate import UnitComponents
    from upliftlab.simulate.realised import Fate

ARMS = ("none", "coupon_5", "coupon_10", "coupon_20")
HEADLINE = 60
TRUTH_BATCHES, TRUTH_CUSTOMERS = 8, 1_000_000

PLAN = """
name: study
kind: smart_coupon
run: {start: 2026-06-01, end: 2026-06-14}
follow_up: 60 days
returns_final_after: 21 days
arms:
  none:      {share: 25%, control: true}
  coupon_5:  {share: 25%, coupon: 5,  over: 99}
  coupon_10: {share: 25%, coupon: 10, over: 99}
  coupon_20: {share: 25%, coupon: 20, over: 99}
costs: {goods: from_orders, write_off: 8%, outbound: 3.2, packaging: 1, freight_insurance: 2.5,
        return_handling: 1.5, service: 0.6, tech_fee: 4.4%, payment_fee: 0.6%, tax: 3%,
        commission_organic: 8%}
decide: {worth_it: 0.05, segments: [is_new_customer]}
data: {simulate: {preset: gmv_up_profit_down}}
"""


@cache
def plan() -> Experiment:
    """The plan that every simulated test follows."""
    return Experiment.from_text(PLAN)


def cells_of(units: UnitComponents, arms: tuple[str, ...] = ARMS) -> tuple[Cells, list[str]]:
    """Moments by arm and by whether the customer was new, with pre-period covariates."""
    columns, names = _covariates(units)
    everything = np.column_stack([units.values, *columns])
    is_new = units.covariates["is_new_customer"].astype(int)
    labels, parts = [], []
    for a, arm in enumerate(arms):
        for level in (0, 1):
            rows = everything[(units.arms == a) & (is_new == level)]
            labels.append((arm, "yes" if level else "no"))
            parts.append(moments.of_rows(rows))
    return Cells(
        keys=("arm", "is_new_customer"),
        labels=tuple(labels),
        names=(*units.names, *names),
        n=np.array([part[0] for part in parts]),
        mean=np.stack([part[1] for part in parts]),
        m2=np.stack([part[2] for part in parts]),
    ), names


def economics(names: tuple[str, ...]) -> Economics:
    """Price vectors of the study's cost table."""
    return build(plan().costs, components={name.partition("@")[0] for name in names})


def answer(settings: SmartCoupon, follow_up: Fate = "drawn") -> dict[str, Any]:
    """Simulate one test and answer it: estimates with intervals, verdicts, checks."""
    units = unit_components(draw(settings), follow_up=follow_up)
    cells, covariates = cells_of(units)
    prices = economics(units.names)
    effects = _estimate(cells, covariates)
    plain = _estimate(cells.select(units.names), [])
    profits = _profits(effects, prices)
    segments = segments_of(
        plan(),
        cells,
        prices,
        HEADLINE,
        estimate=lambda part, _: _estimate(part, covariates),
    )
    short = effects.window(14)
    return {
        "estimates": {p.arm: _numbers(p) for p in profits},
        "plain": {p.arm: _interval(p.profit) for p in _each(plain, prices)},
        "short": {arm: _interval(assess(short, prices, arm=arm).profit) for arm in ARMS[1:]},
        "segments": {
            f"{s.label} {p.arm}": _interval(p.profit) for s in segments for p in s.profits
        },
        "verdicts": {p.arm: _verdict(p, segments) for p in profits},
        "sample_ratio": _ratio(cells),
    }


def rejections(settings: SmartCoupon) -> dict[str, Any]:
    """Simulate one A/A test and keep what false positives are counted from."""
    units = unit_components(draw(settings))
    cells, covariates = cells_of(units)
    profits = _each(_estimate(cells, covariates), economics(units.names))
    return {
        "estimates": {p.arm: _numbers(p) for p in profits},
        "sample_ratio": _ratio(cells),
    }


def truth(name: str) -> dict[str, dict[str, float]]:
    """Effects per customer of every line, from customers who share their luck over arms."""
    sums: dict[str, np.ndarray] = {}
    names: tuple[str, ...] = ()
    new = np.zeros(2)
    for batch in range(TRUTH_BATCHES):
        world = preset(name, customers=TRUTH_CUSTOMERS, seed=900_000 + batch)
        for a, arm in enumerate(ARMS):
            shares = tuple(float(i == a) for i in range(len(ARMS)))
            units = unit_components(draw(replace(world, shares=shares)))
            names = units.names
            is_new = units.covariates["is_new_customer"].astype(bool)
            for level, mask in (
                ("all", np.ones_like(is_new)),
                ("no", ~is_new),
                ("yes", is_new),
            ):
                total = units.values[mask].sum(axis=0)
                sums[f"{arm} {level}"] = sums.get(f"{arm} {level}", 0) + total
            if a == 0:
                new += [(~is_new).sum(), is_new.sum()]
    size = {"all": new.sum(), "no": new[0], "yes": new[1]}
    means = {key: total / size[key.split()[1]] for key, total in sums.items()}
    return _true_effects(means, names)


def _true_effects(
    means: dict[str, np.ndarray], names: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    out: dict[str, dict[str, float]] = {}
    prices = economics(names)
    for level in ("all", "no", "yes"):
        effects = _fixed(np.stack([means[f"{arm} {level}"] for arm in ARMS]), names)
        for arm in ARMS[1:]:
            profit = assess(effects.window(HEADLINE), prices, arm=arm)
            key = arm if level == "all" else f"is_new_customer = {level} {arm}"
            out[key] = {name: row[0] for name, row in _numbers(profit).items()}
            short = assess(effects.window(14), prices, arm=arm)
            out[key]["profit 14 d"] = short.profit.estimate
    return out


def _fixed(mean: np.ndarray, names: tuple[str, ...]) -> Effects:
    from upliftlab.estimators.effects import Effects

    arms, k = mean.shape
    return Effects(
        arms=ARMS,
        control="none",
        names=names,
        n=(1,) * arms,
        mean=mean,
        cov=np.zeros((arms, k, arms, k)),
        df=np.full(arms, np.inf),
    )


def _estimate(cells: Cells, covariates: list[str]) -> Effects:
    return ab.estimate(cells, arms=ARMS, control="none", covariates=covariates)


def _profits(effects: Effects, prices: Economics) -> tuple[Profit, ...]:
    view = effects.window(HEADLINE)
    return across_arms(
        _each(effects, prices), profit_contrasts(view, prices, ARMS[1:]), level=0.95
    )


def _each(effects: Effects, prices: Economics) -> list[Profit]:
    view = effects.window(HEADLINE)
    return [
        assess(view, prices, arm=arm, window=HEADLINE, eligible=1_200_000) for arm in ARMS[1:]
    ]


def _ratio(cells: Cells) -> float:
    by_arm = cells.collapse(["arm"])
    counts = [int(by_arm.n[by_arm.labels.index((arm,))]) for arm in ARMS]
    return float(chi_square(counts, [0.25] * 4)[1])


def _numbers(profit: Profit) -> dict[str, list[Any]]:
    rows = {"profit": _interval(profit.profit), "iROI": _interval(profit.iroi)}
    rows["profit, all arms at once"] = _interval(profit.profit_simultaneous)
    rows |= {f"ladder: {r.name}": _interval(r.effect) for r in profit.ladder}
    rows |= {f"line: {x.line}": _interval(x.effect) for x in profit.lines}
    rows |= {f"party: {who}": _interval(e) for who, e in profit.parties.items()}
    return rows


def _interval(estimate: Any) -> list[Any]:  # noqa: ANN401
    return [
        estimate.estimate,
        estimate.ci_low,
        estimate.ci_high,
        estimate.p_value,
        estimate.shape,
    ]


def _verdict(profit: Profit, segments: Any) -> list[str]:  # noqa: ANN401
    decision = decide(profit, segments=[s.profit_of(profit.arm) for s in segments])
    buying = "buying GMV" if decision.is_buying_gmv else ""
    return [decision.verdict, decision.segment, buying]


def _covariates(units: UnitComponents) -> tuple[list[np.ndarray], list[str]]:
    columns, names = [], []
    for name in (
        "pre_profit_fen",
        "recency_days",
        "frequency_365",
        "coupon_share_365",
        "watch_minutes_28",
        "is_new_customer",
        "is_member",
    ):
        values = np.asarray(units.covariates[name], dtype=float)
        gap = np.isnan(values)
        columns.append(np.where(gap, 0.0, values))
        names.append(f"x:{name}")
        if gap.any():
            columns.append(gap.astype(float))
            names.append(f"x:{name} missing")
    return columns, names
