"""What would a quarter of some forty experiments leave in the registry, truth known?"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab import pricing
from upliftlab.analysis import run
from upliftlab.economics import MERCHANT
from upliftlab.experiment import Experiment
from upliftlab.plan.costs import Costs
from upliftlab.registry.from_analysis import record_of
from upliftlab.registry.from_plan import planned
from upliftlab.registry.record import Maturity
from upliftlab.registry.store import started, stopped
from upliftlab.registry.taking import taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from upliftlab.registry.record import Record
    from upliftlab.registry.store import Registry

    Floats = NDArray[np.float64]

RUNGS = ("gmv_platform", "gmv_merchant", "kept_sales", "orders", "orders_kept", "buyers")

DRAWN = 40_000
"""Customers drawn per world and depth; tests of any size are drawn from their moments."""

WINDOW, FINAL = 60, 21

OWNERS = ("Li Wei", "Wang Fang", "Zhao Lei", "Chen Jing")

WORLDS: Mapping[str, Mapping[str, Any]] = {
    "gmv": {"preset": "gmv_up_profit_down", "goal": "gmv"},
    "new_customer": {"preset": "gmv_up_profit_down", "goal": "new_customer"},
    "member_activation": {"preset": "gmv_up_profit_down", "goal": "member_activation"},
    "win_back": {"preset": "platform_funded", "goal": "win_back"},
    "co_funded": {"preset": "platform_funded", "goal": "gmv"},
    "no_effect": {"preset": "null", "goal": "gmv"},
    "fraud": {"preset": "fraud", "goal": "new_customer"},
}
"""World -> the simulator's preset and who is in the experiment."""

CALLED = {
    "gmv": "sitewide-coupon",
    "new_customer": "new-customer-coupon",
    "member_activation": "member-coupon",
    "win_back": "win-back-coupon",
    "co_funded": "co-funded-coupon",
    "no_effect": "checkout-coupon",
    "fraud": "referral-coupon",
}
"""World -> what its coupons are called."""

ROLLOUTS: Mapping[str, Mapping[str, Any]] = {
    "generous-commission": {
        "kind": "dual_commission",
        "arms": {
            "single": {"organic": "20%", "ads": "20%", "agency": "3%", "control": True},
            "generous": {"organic": "30%", "ads": "20%", "agency": "3%"},
        },
        "preset": "generous_one_wave",
    },
    "coupon-switch": {
        "kind": "smart_coupon",
        "arms": {"off": {"control": True}, "on": {"coupon": 10, "over": 99}},
        "preset": "plan_switch",
    },
    "coupon-by-province": {
        "kind": "smart_coupon",
        "arms": {"none": {"control": True}, "coupon": {"coupon": 10, "over": 99}},
        "preset": "geo_coupon",
    },
}
"""Roll-outs of the simulators, each read once by the whole pipeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Moments of one customer's components under each depth of coupon.

    Attributes:
        depths: Coupons in yuan, 0 first.
        names: Components, K in all.
        mean: Fen or counts per customer, shape [depths, K].
        cov: Of one customer, shape [depths, K, K].
    """

    depths: tuple[int, ...]
    names: tuple[str, ...]
    mean: Floats
    cov: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One test of the simulated quarter: its plan, its sums, its truth.

    Attributes:
        plan: As written.
        world: Key of its world.
        cells: One row per arm: counts, sums and sums of products.
        profit: Arm -> true extra profit per customer, in fen.
    """

    plan: Experiment
    world: str
    cells: tuple[dict[str, Any], ...]
    profit: Mapping[str, float]


def simulated_quarter(
    registry: Registry,
    *,
    quarter: str = "2026Q3",
    tests: int = 40,
    seed: int = 1,
    progress: Callable[[str], None] | None = None,
) -> dict[str, dict[str, float]]:
    """Fill a registry with a quarter whose truth is known; the same seed, the same quarter.

    Coupon tests are drawn from the moments of the customer simulator: with a hundred thousand
    customers an arm, means are normal around the truth. Each is read by the whole pipeline.
    Two lose treated customers and are void, two are stopped, three still run; some decisions
    are signed. Roll-outs come from the creator, plan and province simulators as they are.

    Args:
        registry: Where to.
        quarter: In which all of them start.
        tests: How many in all; from 40 on, three of them are roll-outs.
        seed: Where the random numbers start.
        progress: Called with the name of each test.

    Returns:
        Experiment -> arm -> true extra profit per customer, in fen; of coupon tests.
    """
    tell = progress or (lambda _: None)
    rng = np.random.default_rng([seed, 7])
    extra = list(ROLLOUTS) if tests >= 40 else []
    records: list[Record] = []
    truth: dict[str, dict[str, float]] = {}
    for i in range(tests - len(extra)):
        drawn = draw_test(i, quarter, rng)
        tell(drawn.plan.name)
        truth[drawn.plan.name] = dict(drawn.profit)
        records.append(_record(drawn, i, quarter))
    for name in extra:
        tell(name)
        plan = _rollout_plan(name, quarter, seed)
        records.append(_dated(record_of(run(plan)), quarter))
    _sign(registry, registry.add_all(records))
    text = json.dumps(truth, ensure_ascii=False, indent=1) + "\n"
    (registry.folder / "truth.json").write_text(text, encoding="utf-8")
    return truth


def draw_test(i: int, quarter: str, rng: np.random.Generator) -> Drawn:
    """Draw the plan and the sums of one coupon test."""
    key = list(WORLDS)[int(rng.choice(len(WORLDS), p=_shares()))]
    world = moments_of(key)
    chosen = _depths(rng)
    start = _first(quarter) + timedelta(days=int(rng.integers(0, 77)))
    n = int(np.exp(rng.normal(np.log(350_000), 0.8)))
    plan = _plan(i, key, chosen, start=start, assigned=n * (len(chosen) + 1), rng=rng)
    lost = 0.015 if i in {5, 17} else 0.0
    cells = []
    for arm in plan.arms:
        at = world.depths.index(round(arm.coupon.minor / 100) if arm.coupon else 0)
        size = int(rng.poisson(n * (1 - (lost if arm.coupon else 0.0))))
        cells.append({"arm": arm.label, **sums(world, at, size, rng)})
    return Drawn(plan=plan, world=key, cells=tuple(cells), profit=_truth(plan, world))


@cache
def moments_of(key: str) -> World:
    """Draw customers of a world under every depth, the same customers each time."""
    from upliftlab.simulate import draw, preset
    from upliftlab.simulate.realised import unit_components

    base = replace(
        preset(WORLDS[key]["preset"], customers=DRAWN, seed=20260701),
        goal=WORLDS[key]["goal"],
        depths=(0, 5, 10, 20),
    )
    drawn = []
    for at in range(len(base.depths)):
        shares = tuple(float(at == each) for each in range(len(base.depths)))
        drawn.append(unit_components(draw(replace(base, shares=shares))))
    suffix = f"@{WINDOW}d"
    names = [name.removesuffix(suffix) for name in drawn[0].names]
    wanted = pricing.build(_costs(), components=set(names)).components() | set(RUNGS)
    keep = [
        k
        for k, name in enumerate(drawn[0].names)
        if name.endswith(suffix) and names[k] in wanted
    ]
    return World(
        depths=base.depths,
        names=tuple(drawn[0].names[k].removesuffix(suffix) for k in keep),
        mean=np.stack([each.values[:, keep].mean(axis=0) for each in drawn]),
        cov=np.stack([np.cov(each.values[:, keep], rowvar=False) for each in drawn]),
    )


def sums(world: World, at: int, n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Draw one arm's sums and sums of products: a mean around the truth, the spread as it is.

    Sums are kept consistent: what components add up to in every row, they add up to here.
    """
    cov = world.cov[at]
    value, vector = np.linalg.eigh(cov / n)
    root = vector * np.sqrt(np.clip(value, 0.0, None))
    mean = world.mean[at] + root @ rng.standard_normal(len(cov))
    total = np.rint(mean * n)
    products = np.rint(cov * (n - 1) + np.outer(total, total) / n)
    out: dict[str, Any] = {"n": n}
    for a, name in enumerate(world.names):
        out[f"sum:{name}"] = int(total[a])
        for b in range(a, len(world.names)):
            out[f"sum:{name}*{world.names[b]}"] = int(products[a, b])
    return out


def _record(drawn: Drawn, i: int, quarter: str) -> Record:
    """Read one test, or say that it still runs or was stopped."""
    plan = drawn.plan
    if i in {2, 21, 30}:
        return _dated(started(planned(plan)), quarter)
    if i in {9, 26}:
        why = ("the coupon could not be claimed", "the budget was spent in two days")[i == 26]
        return _dated(stopped(planned(plan), why), quarter)
    import pandas as pd

    found = record_of(run(plan, {"cells": pd.DataFrame(list(drawn.cells))}))
    return replace(
        _dated(found, quarter),
        goal=plan.goal or "",
        window=WINDOW,
        maturity=_maturity(found, quarter),
    )


def _dated(record: Record, quarter: str) -> Record:
    """Record it on the day on which the quarter is frozen, so that bytes do not change."""
    at = datetime.combine(frozen_on(quarter), datetime.min.time(), tzinfo=UTC)
    return replace(record, quarter=quarter, recorded_at=at.isoformat())


def frozen_on(quarter: str) -> date:
    """Thirty days after the quarter's last day: restatements after it are said to be such.

    Examples:
        >>> frozen_on("2026Q3").isoformat()
        '2026-10-30'
    """
    year, number = int(quarter[:4]), int(quarter[5])
    last = date(year + number // 4, number % 4 * 3 + 1, 1) - timedelta(days=1)
    return last + timedelta(days=30)


def _maturity(record: Record, quarter: str) -> Maturity:
    """Share of orders whose returns are final when the quarter is frozen, by the calendar."""
    as_of = frozen_on(quarter)
    first, last = date.fromisoformat(record.starts), date.fromisoformat(record.ends)
    middle = first + (last - first) / 2
    ready = (as_of - middle).days - FINAL
    final = float(np.clip(ready / WINDOW, 0.0, 1.0))
    assumed = record.maturity.assumed
    return Maturity(
        booked=(1 - assumed) * final, projected=(1 - assumed) * (1 - final), assumed=assumed
    )


def _truth(plan: Experiment, world: World) -> dict[str, float]:
    """True extra profit per customer: prices of the plan times true means."""
    economics = pricing.build(plan.costs, components=set(world.names))
    worth = {}
    for arm in plan.arms:
        at = world.depths.index(round(arm.coupon.minor / 100) if arm.coupon else 0)
        price = economics.price(MERCHANT, arm.label)
        known = zip(world.names, world.mean[at], strict=True)
        worth[arm.label] = float(sum(price.get(name, 0.0) * mean for name, mean in known))
    control = plan.control.label
    return {arm.label: worth[arm.label] - worth[control] for arm in plan.treatments}


def _plan(
    i: int,
    key: str,
    depths: tuple[int, ...],
    *,
    start: date,
    assigned: int,
    rng: np.random.Generator,
) -> Experiment:
    goal = WORLDS[key]["goal"]
    arms: dict[str, Any] = {"none": {"share": 1, "control": True}}
    arms |= {f"coupon_{d}": {"share": 1, "coupon": d, "over": 99} for d in depths}
    for arm in arms.values():
        arm["share"] = f"1/{len(arms)}"
    return Experiment(
        name=f"{CALLED[key]}-{i + 1:02}",
        owner=OWNERS[int(rng.integers(len(OWNERS)))],
        kind="smart_coupon",
        goal=goal,
        run={"start": start, "end": start + timedelta(days=13)},
        eligible_customers=int(round(assigned * float(rng.uniform(1.5, 3.0)), -4)),
        arms=arms,
        costs=_costs(),
        data={"cells": {"table": "cells", "money": "fen"}},
    )


def _rollout_plan(name: str, quarter: str, seed: int) -> Experiment:
    made = ROLLOUTS[name]
    design = {
        "generous_one_wave": ("staggered", "creator", "week", 26),
        "plan_switch": ("switchback", "product group", "day", 8),
        "geo_coupon": ("geo", "province", "week", 26),
    }[made["preset"]]
    first = _first(quarter)
    first += timedelta(days=(7 - first.weekday()) % 7)
    more: dict[str, Any] = {
        "decide": {"both_gain": True},
        "cluster": "cluster",
        "ramp": "4 weeks",
    }
    if made["kind"] == "smart_coupon":
        more = {"who_pays": "from_orders"}
    costs: object = _costs()
    if made["kind"] == "dual_commission":
        costs = {"margin": "47.51%"}
    return Experiment(
        name=name,
        owner=OWNERS[seed % len(OWNERS)],
        kind=made["kind"],
        design=design[0],
        unit=design[1],
        period=design[2],
        observe={"start": first, "end": first + timedelta(days=7 * design[3] - 1)},
        returns_final_after="21 days",
        arms=made["arms"],
        costs=costs,
        data={"simulate": {"preset": made["preset"], "seed": 20260600 + seed}},
        **more,
    )


def _costs() -> Costs:
    stated: dict[str, Any] = {"preset": "douyin_apparel", "goods": "from_orders", "gift": 0}
    return Costs(**stated)


def _sign(registry: Registry, kept: list[Record]) -> None:
    """Sign what three readers decided: two as proposed, one against the verdict."""
    proposed = [
        (record, arm)
        for record in kept
        if record.status == "read"
        for arm in record.arms
        if arm.verdict in {"stop", "ship"} and record.design == "user_split"
    ]
    at = kept[0].recorded_at
    signed = [
        taken(record, arm.verdict, by=record.owner, arm=arm.arm) for record, arm in proposed[:2]
    ]
    if len(proposed) > 2:
        record, arm = proposed[2]
        other = "keep testing" if arm.verdict == "stop" else "stop"
        signed.append(
            taken(
                record, other, by="Chen Jing", arm=arm.arm,
                why="the brand's anniversary falls into the next quarter",
                expires="2099-12-31", holdout="5%",
            )
        )  # fmt: skip
    for each in signed:
        registry.decide(replace(each, at=at))


def _shares() -> list[float]:
    weights = np.array([4.0, 4.0, 2.0, 3.0, 3.0, 3.0, 1.0])
    return [float(x) for x in weights / weights.sum()]


def _depths(rng: np.random.Generator) -> tuple[int, ...]:
    options = ((5,), (10,), (20,), (10, 20), (5, 10, 20))
    return options[int(rng.choice(len(options), p=[0.1, 0.25, 0.3, 0.2, 0.15]))]


def _first(quarter: str) -> date:
    return date(int(quarter[:4]), 3 * (int(quarter[5]) - 1) + 1, 1)
