"""What do curves, groups and rankings look like on the valuing half?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.stats.estimate import interval
from upliftlab.targeting.answer import Conflict, CurvePoint, Frontier
from upliftlab.targeting.calibration import best_linear_predictor
from upliftlab.targeting.dialects import cross_walk
from upliftlab.targeting.fast_dr import fit_fast_dr
from upliftlab.targeting.gain_curves import budget_curve, cost_curve, gain_curve
from upliftlab.targeting.groups import clan, gates, membership
from upliftlab.targeting.taught import arms_by
from upliftlab.targeting.worths import inside_mean, joint_of, picked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.answer import Group, Score, Trait
    from upliftlab.targeting.asked import Ask
    from upliftlab.targeting.fast_dr import FastDR
    from upliftlab.targeting.features import Encoding
    from upliftlab.targeting.gain_curves import CostCurve
    from upliftlab.targeting.halves import Half
    from upliftlab.targeting.worths import Held

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

SHARES = np.linspace(0.01, 1.0, 100)
GMV_ROWS = 200_000
WALK_ROWS = 200_000


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """The valuing half with predictions made without it.

    Attributes:
        half: Its units.
        held: Its scores, priced.
        model: Of what each treatment adds, learned on the other half.
        encoding: Of its columns.
        ask: What the plan asks.
    """

    half: Half
    held: Held
    model: FastDR
    encoding: Encoding
    ask: Ask

    @cached_property
    def predicted(self) -> NDArray[np.float32]:
        """What each treatment is predicted to add, shape (n, A - 1)."""
        return self.model.predict(self.half.material.x)

    @cached_property
    def arm(self) -> Ints:
        """The treatment with the largest prediction, also where it is below 0; shape (n,)."""
        best: Ints = self.predicted.argmax(axis=1) + 1
        return best

    @cached_property
    def priority(self) -> Floats:
        """The largest prediction, shape (n,)."""
        top: Floats = self.predicted.max(axis=1).astype(np.float64)
        return top

    @cached_property
    def gain(self) -> Floats:
        """Score of what the predicted treatment adds, shape (n,)."""
        value = self.held.profit.value
        return picked(value, self.arm) - value[:, 0]

    @cached_property
    def cost(self) -> Floats:
        """Score of what it costs, shape (n,)."""
        value = self.held.cost.value
        return picked(value, self.arm) - value[:, 0]


def by_share(view: View) -> tuple[CurvePoint, ...]:
    """Extra profit by share of units treated, best first."""
    curve = gain_curve(
        view.gain, view.priority, shares=SHARES, cluster=view.held.profit.cluster,
        level=view.ask.level,
    )  # fmt: skip
    return curve.points()


def by_budget(view: View) -> Frontier | None:
    """What each budget earns, best first by predicted gain."""
    if not view.cost.any():
        return None
    cluster, level = view.held.profit.cluster, view.ask.level
    found = cost_curve(
        view.gain, view.cost, view.priority, shares=SHARES, cluster=cluster, level=level
    )
    margin = _margins(found.value.value, found.cost.value)
    earned = budget_curve(
        view.gain, view.cost, view.priority, margin, shares=SHARES, cluster=cluster, level=level
    )
    found = replace(found, value=earned)
    eligible = view.held.eligible or len(view.held)
    points = _scaled(found, margin, eligible)
    value = found.value.value
    best = int(np.argmax(value))
    return Frontier(
        points=points,
        best=best,
        indistinct=_indistinct(found, points, best, view.ask.level),
        target_iroi=float(points[best].margin),
        planned=float("nan") if view.ask.budget is None else view.ask.budget * eligible,
        comparison={"as many at random": _at_random(points)},
        note="Money is what the rule is measured to spend, not face value.",
    )


def _scaled(found: CostCurve, margin: Floats, eligible: int) -> tuple[CurvePoint, ...]:
    """Points over all eligible units, with what the next unit of money brings."""
    points = []
    for i, point in enumerate(found.points()):
        spend = point.spend or interval("spend", point.x, 0.0)
        points.append(
            replace(
                point,
                x=spend.estimate * eligible,
                effect=point.effect.scaled(eligible),
                low=point.low * eligible,
                high=point.high * eligible,
                share=float(found.value.share[i]),
                margin=float(margin[i]),
                spend=spend,
            )
        )
    return tuple(points)


def _margins(value: Floats, cost: Floats) -> Floats:
    """Falling slope of profit against money: what is best first cannot get better later."""
    from sklearn.isotonic import IsotonicRegression

    gained = np.diff(value, prepend=0.0)
    spent = np.diff(cost, prepend=0.0)
    slope = np.full(len(value), np.nan)
    known = spent > 0
    if known.sum() < 2:
        return slope
    fit = IsotonicRegression(increasing=False)
    at = np.flatnonzero(known)
    fit.fit(at, gained[known] / spent[known], sample_weight=spent[known])
    slope[known] = fit.predict(at)
    return slope


def _indistinct(
    found: CostCurve, points: tuple[CurvePoint, ...], best: int, level: float
) -> tuple[float, float]:
    """Budgets whose profit the data cannot tell from the best one's."""
    joint, m = found.value.joint, len(points)
    weights = np.zeros((m, m))
    weights[:, best] = 1.0
    weights -= np.eye(m)
    differences = joint.linear(weights, [str(i) for i in range(m)])
    same = [
        i
        for i in range(m)
        if i == best or not differences.estimate(str(i), level=level).is_above_zero
    ]
    spent = [points[i].x for i in same]
    return min(spent), max(spent)


def _at_random(points: tuple[CurvePoint, ...]) -> tuple[CurvePoint, ...]:
    """The same money on units by chance: a straight line to everybody."""
    last = points[-1]
    return tuple(
        replace(p, x=last.x * share, effect=last.effect.scaled(share), share=share)
        for p, share in ((p, float(p.share)) for p in points[::9])
    )


def groups(view: View) -> tuple[Group, ...]:
    """Fifths by predicted gain."""
    return gates(
        view.gain, view.priority, cluster=view.held.profit.cluster, level=view.ask.level
    )


def traits(view: View) -> tuple[Trait, ...]:
    """How the best fifth differs from the worst."""
    group = membership(view.priority)
    raw = {
        name: column
        if isinstance(column, np.ndarray)
        else np.array(column.to_pylist(), dtype=object)
        for name, column in view.half.table.features.items()
        if name not in view.encoding.dropped
    }
    return clan(raw, group, cluster=view.held.profit.cluster, level=view.ask.level)


def calibration(view: View) -> Estimate | None:
    """Slope of scores on predictions; None where predictions do not differ."""
    if not np.ptp(view.priority) > 0:
        return None
    return best_linear_predictor(
        view.gain, view.priority, cluster=view.held.profit.cluster, level=view.ask.level
    ).slope


def cross_walk_of(view: View) -> tuple[Score, ...]:
    """The ranking for one treatment under every definition, on at most 200,000 units."""
    arm = max(view.held.best, 1)
    rows = np.flatnonzero(np.isin(view.half.table.arm, (0, arm)))[:WALK_ROWS]
    value = view.held.profit.value
    cluster = view.held.profit.cluster
    return cross_walk(
        view.half.outcome[rows],
        (view.half.table.arm[rows] == arm).astype(np.float64),
        view.predicted[rows, arm - 1],
        psi=value[rows, arm].astype(np.float64) - value[rows, 0],
        cluster=None if cluster is None else cluster[rows],
        level=view.ask.level,
    )


def conflict(view: View, first: Half, whose: str) -> Conflict | None:
    """Who buys more and earns less, and what choosing by GMV costs."""
    if first.gmv is None:
        return None
    rows = np.arange(min(len(first), GMV_ROWS))
    by_gmv = fit_fast_dr(
        first.material.x[rows], first.gmv.contrast[rows], names=view.encoding.names,
        seed=view.ask.seed,
    )  # fmt: skip
    more = by_gmv.predict(view.half.material.x)
    chosen, wanted = arms_by(more), arms_by(view.predicted)
    torn = (chosen > 0) & (wanted == 0)
    value = view.held.profit.value
    base = value[:, 0].astype(np.float64)
    gmv_rule, profit_rule = picked(value, chosen) - base, picked(value, wanted) - base
    numbers = joint_of(
        {
            "torn": inside_mean(gmv_rule, torn),
            "gmv": gmv_rule,
            "profit": profit_rule,
            "cost": profit_rule - gmv_rule,
        },
        view.held.profit.cluster,
    )
    torn_effect, gmv, profit, cost = (
        numbers.estimate(name, level=view.ask.level) for name in numbers.names
    )
    return Conflict(
        share=float(torn.mean()),
        effect=torn_effect,
        by_gmv=gmv,
        by_profit=profit,
        cost=cost,
        whose=whose,
    )
