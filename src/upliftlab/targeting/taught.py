"""What does the learning half teach: which rules are there, and which one is tried?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.checks import FAIL, Check
from upliftlab.errors import DesignError
from upliftlab.plan.floors import split_label
from upliftlab.targeting.allocation import Limit, allocate
from upliftlab.targeting.boosting import fit_shared
from upliftlab.targeting.fast_dr import default_shape, fit_fast_dr
from upliftlab.targeting.policy_tree import fit_tree
from upliftlab.targeting.ranker import FAST, ranker
from upliftlab.targeting.rules import model_rule
from upliftlab.targeting.worths import joint_of, picked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.targeting.answer import Candidate
    from upliftlab.targeting.asked import Ask, Floor
    from upliftlab.targeting.boosting import Bins
    from upliftlab.targeting.fast_dr import FastDR
    from upliftlab.targeting.lessons import Lesson
    from upliftlab.targeting.rules import ModelRule, Rule
    from upliftlab.targeting.scores import Worth

    Matrix = NDArray[np.float32]
    Floats = NDArray[np.float64]

TREE, MODEL = "tree", "model"
BUDGET, RETURN, TREATED = "the budget", "the return on campaign money", "the share treated"
DEARER = 40
"""How often prices of caps rise by a half until a tree keeps them."""

ROOM = 1.02
"""Ends of a tree are large: a cap may be passed by this factor."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """One half of the units, scored.

    Attributes:
        x: What rules may use, shape (n, P).
        bins: The same, binned, once for all that is learned from it.
        profit: Profit per unit and arm.
        cost: Campaign money per unit and arm.
        counts: Count component -> its number per unit and arm.
        lessons: What each unit had and brought, for learners and rules of thumb.
        segments: Label of a segment that has a floor -> who belongs to it, shape (n,).
    """

    x: Matrix
    bins: Bins
    profit: Worth
    cost: Worth
    counts: Mapping[str, Worth]
    lessons: Lesson
    segments: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def take(self, rows: NDArray[np.intp]) -> Material:
        """Keep these units, but for bins and lessons, which stay whole."""
        return replace(
            self,
            x=self.x[rows],
            profit=self.profit.take(rows),
            cost=self.cost.take(rows),
            counts={name: worth.take(rows) for name, worth in self.counts.items()},
            segments={name: inside[rows] for name, inside in self.segments.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taught:
    """What one half taught.

    Attributes:
        best: Arm that is best for everyone, within the limits; 0 is nobody.
        rules: Name -> rule, learned on the whole half.
        chosen: Name of the rule that is tried on the other half.
        model: Predicts what each treatment adds.
        prices: Limit -> what one more unit of it would earn.
        learner: Which learner the model is.
        candidates: Learners that were compared.
        checks: Limits that cannot be kept.
    """

    best: int
    rules: Mapping[str, Rule]
    chosen: str
    model: FastDR
    prices: Mapping[str, float]
    learner: str = "fast"
    candidates: tuple[Candidate, ...] = ()
    checks: tuple[Check, ...] = ()


def taught_by(half: Material, ask: Ask) -> Taught:
    """Learn rules on one half.

    Limits become prices first: what a budget, a cap or a target costs is found on predictions
    for folds that the model has not seen, and scores are priced again with it. Trees and model
    are learned on these; of all that the plan allows, the simplest within one standard error
    of the best is tried, fold against fold.

    Args:
        half: Units to learn from.
        ask: What the plan asks.
    """
    bins = half.bins
    limits = _limits(half, ask)
    checks: tuple[Check, ...] = ()
    try:
        prices = _priced(half, bins, limits, ask) if limits else np.zeros(0)
    except DesignError as refusal:
        checks = (Check(name="limits", verdict=FAIL, message=str(refusal)),)
        prices = np.zeros(len(limits))
    worth = _repriced(half, limits, prices)
    contrast = worth[:, 1:] - worth[:, :1]
    fold = half.profit.fold
    assert fold is not None  # noqa: S101 - component_scores sets it
    ranked = ranker(
        half.lessons,
        contrast,
        fold,
        bins=bins,
        asked=FAST if prices.any() else ask.learner,
        seed=ask.seed,
    )
    inner = {floor.name for floor in ask.floors}
    firm = [limit for limit in limits if limit.most >= 0 or limit.name in inner]
    caps = firm if not checks else []
    case = _Case(half=half, limits=limits, prices=prices, caps=caps, worth=worth, bins=bins)
    chosen, depth = _chosen(case, ask)
    rules: dict[str, Rule] = {}
    if ask.rule != MODEL:
        rules[TREE] = _tree_within(half, limits, prices, caps, depth or ask.depth)
    if ask.rule != TREE:
        rules[MODEL] = _model_within(model_rule(ranked.model), half, caps)
    return Taught(
        best=int(worth.mean(axis=0, dtype=np.float64).argmax()),
        rules=rules,
        chosen=chosen,
        model=ranked.model,
        learner=ranked.learner,
        candidates=ranked.candidates,
        prices={limit.name: float(p) for limit, p in zip(limits, prices, strict=True)},
        checks=checks,
    )


def _repriced(half: Material, limits: Sequence[Limit], prices: Floats) -> Matrix:
    """Profit less what is used up of every limit, at its price."""
    worth = half.profit.value
    for price, limit in zip(prices, limits, strict=True):
        if price:
            worth = worth - (price * limit.use).astype(np.float32)
    return worth


def repriced(half: Material, ask: Ask, prices: Mapping[str, float]) -> Matrix:
    """Profit of any half less what is used up of every limit, at prices found elsewhere."""
    limits = _limits(half, ask)
    return _repriced(half, limits, np.array([prices.get(limit.name, 0.0) for limit in limits]))


def _tree_within(
    half: Material, limits: Sequence[Limit], prices: Floats, caps: Sequence[Limit], depth: int
) -> Rule:
    """The best tree whose ends keep the caps: dearer until they do."""
    for _ in range(DEARER):
        rule = fit_tree(half.x, _repriced(half, limits, prices), depth=depth)
        arm = rule.arms_of(half.x)
        if all(_used(cap, arm) <= _room(cap) for cap in caps):
            break
        capped = np.array([limit in caps for limit in limits])
        prices = np.where(capped, np.maximum(prices, 1e-3) * 1.5, prices)
    return rule


def _room(limit: Limit) -> float:
    """What a tree may use: a cap and a little more, or what a floor asks and a little less."""
    return limit.most * ROOM if limit.most >= 0 else limit.most / ROOM


def _model_within(rule: ModelRule, half: Material, firm: Sequence[Limit]) -> ModelRule:
    """The model with the gain asked for at which floors, and before them caps, are kept."""
    caps = [limit for limit in firm if limit.most >= 0]
    floors = [limit for limit in firm if limit.most < 0]
    if floors:
        rule = _model_above(rule, half, floors)
    if not caps:
        return rule
    gain = rule.gains_of(half.x)
    arm, top = gain.argmax(axis=1) + 1, gain.max(axis=1)
    order = np.argsort(-top, kind="stable")
    within = np.flatnonzero(top[order] > rule.above)
    for cap in caps:
        used = np.cumsum(picked(cap.use, arm)[order]) / len(order)
        kept = np.flatnonzero(used[within] <= cap.most)
        within = within[: kept[-1] + 1] if len(kept) else within[:0]
    if len(within) == (top > rule.above).sum():
        return rule
    # Who comes next is not treated any more, nor whoever gains as little.
    return replace(rule, above=float(top[order][len(within)]))


def _model_above(rule: ModelRule, half: Material, floors: Sequence[Limit]) -> ModelRule:
    """The model with as little gain asked for as floors need, control where they need none."""
    gain = rule.gains_of(half.x)
    arm, top = gain.argmax(axis=1) + 1, gain.max(axis=1)
    order = np.argsort(-top, kind="stable")
    needed = int((top > rule.above).sum())
    for floor in floors:
        used = np.cumsum(picked(floor.use, arm)[order]) / len(order)
        enough = np.flatnonzero(used <= floor.most)
        needed = max(needed, int(enough[0]) + 1 if len(enough) else 0)
    if needed == (top > rule.above).sum():
        return rule
    behind = top[order][needed] if needed < len(order) else top[order][-1] - 1.0
    return replace(rule, above=float(behind))


def _used(limit: Limit, arm: NDArray[np.intp]) -> float:
    return float(picked(limit.use, arm).mean())


def _limits(half: Material, ask: Ask) -> list[Limit]:
    """The plan's limits, per unit, against treating nobody."""
    profit, cost = (_extra(each) for each in (half.profit, half.cost))
    found = []
    if ask.budget is not None:
        found.append(Limit(name=BUDGET, use=cost, most=ask.budget))
    if ask.iroi_at_least is not None:
        use = ask.iroi_at_least * cost - profit
        found.append(Limit(name=RETURN, use=use, most=0.0))
    if ask.at_most is not None:
        use = np.ones_like(profit)
        use[:, 0] = 0.0
        found.append(Limit(name=TREATED, use=use, most=ask.at_most))
    for name, least in ask.at_least.items():
        use = -_extra(half.counts[name])
        found.append(Limit(name=floor_name(name), use=use, most=-least))
    return [*found, *(_floor_limit(floor, half) for floor in ask.floors)]


def _floor_limit(floor: Floor, half: Material) -> Limit:
    """What one segment must get, per unit of everybody."""
    inside = half.segments[floor.segment][:, None]
    if floor.count:
        use = np.where(inside, -_extra(half.counts[floor.count]), np.float32(0))
        return Limit(name=floor.name, use=use, most=-floor.least)
    use = np.where(inside, np.float32(-1), np.float32(0)) * np.ones_like(half.profit.value)
    use[:, 0] = 0.0
    return Limit(name=floor.name, use=use, most=-floor.least * float(inside.mean()))


def floor_name(count: str) -> str:
    """Name a floor in the words of the plan."""
    return f"at least so many {count.replace('_', ' ')}"


def _extra(worth: Worth) -> Matrix:
    return worth.value - worth.value[:, :1]


def _priced(half: Material, bins: Bins, limits: list[Limit], ask: Ask) -> Floats:
    """Multipliers at which predicted gains keep the limits."""
    _refuse_fights(half, ask)
    tables = [_extra(half.profit), *(limit.use for limit in limits)]
    first = len(tables) - len(ask.floors)
    # Who belongs to a segment is known: what is predicted is the count of anybody.
    for k, floor in enumerate(ask.floors, start=first):
        tables[k] = -_extra(half.counts[floor.count]) if floor.count else tables[k]
    predicted = _predicted(half, bins, tables, ask.seed)
    for k, floor in enumerate(ask.floors, start=first):
        inside = half.segments[floor.segment][:, None]
        predicted[k] = np.where(inside, predicted[k], 0) if floor.count else tables[k]
    asked = [
        Limit(name=limit.name, use=table, most=limit.most)
        for limit, table in zip(limits, predicted[1:], strict=True)
    ]
    for limit in asked:
        most = -float(limit.use.min(axis=1).mean(dtype=np.float64))
        if limit.most < 0 and most < -limit.most:
            n = ask.eligible or len(half.x)
            wanted, found = (f"{max(each, 0) * n:,.0f}" for each in (-limit.most, most))
            raise DesignError(
                f"{limit.name}: {wanted} more are asked for and {found} are the most that any "
                f"rule brings over {n:,} eligible {ask.unit}s. Ask for less, or test an arm "
                "that brings more."
            )
    return np.array(allocate(predicted[0], asked).prices)


def _refuse_fights(half: Material, ask: Ask) -> None:
    """Refuse floors of the levels of one column that treat more than may be treated at all."""
    needed: dict[str, float] = {}
    for floor in ask.floors:
        if not floor.count:
            column = split_label(floor.segment)[0]
            share = floor.least * float(half.segments[floor.segment].mean())
            needed[column] = needed.get(column, 0.0) + share
    for column, share in needed.items():
        if ask.at_most is not None and share > ask.at_most:
            raise DesignError(
                f"target.at_least_in asks by {column!r} that {share:.1%} of all {ask.unit}s "
                f"are treated, and target.at_most allows {ask.at_most:.1%}. Lower one of them."
            )


def _predicted(half: Material, bins: Bins, tables: list[Matrix], seed: int) -> list[Matrix]:
    """Predict several amounts per arm, fold by fold, on trees grown for the first."""
    fold = half.profit.fold
    assert fold is not None  # noqa: S101 - component_scores sets it
    arms = tables[0].shape[1]
    out = [np.zeros_like(table) for table in tables]
    for a in range(1, arms):
        y = np.stack([table[:, a] for table in tables], axis=1)
        for f in np.unique(fold):
            rows, rest = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
            model = fit_shared(
                bins, y, guide=y[:, 0], shape=default_shape(len(rows)), rows=rows, seed=seed
            )
            found = model.predict(half.x[rest])
            for k, table in enumerate(out):
                table[rest, a] = found[:, k]
    return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Case:
    """One half with its limits, their prices, and scores that the prices are taken off."""

    half: Material
    limits: Sequence[Limit]
    prices: Floats
    caps: Sequence[Limit]
    worth: Matrix
    bins: Bins

    def on(self, rows: NDArray[np.intp]) -> _Case:
        """The same for some of the units."""
        capped = {id(cap) for cap in self.caps}
        limits = [replace(limit, use=limit.use[rows]) for limit in self.limits]
        return replace(
            self,
            half=self.half.take(rows),
            limits=limits,
            caps=[
                own for own, old in zip(limits, self.limits, strict=True) if id(old) in capped
            ],
            worth=self.worth[rows],
        )

    def soft(self) -> Matrix:
        """Profit less the prices of what no rule is made to keep: floors and returns."""
        kept = np.array([not any(limit is cap for cap in self.caps) for limit in self.limits])
        prices = np.where(kept, self.prices, 0.0) if len(self.limits) else self.prices
        return _repriced(self.half, self.limits, prices)


def _chosen(case: _Case, ask: Ask) -> tuple[str, int]:
    """The simplest rule within one standard error of the best, fold against fold.

    Rules stand in order: trees from depth one on, then the model. Each is made to keep the caps
    before it is valued, because a small tree may have no end that is small enough.

    Returns:
        Name, and depth of the tree.
    """
    tries = [(TREE, depth) for depth in range(1, ask.depth + 1)] if ask.rule != MODEL else []
    if ask.rule != TREE:
        tries.append((MODEL, 0))
    if len(tries) == 1:
        return tries[0]
    earned = np.stack([_earned(case, each, ask) for each in tries], axis=1)
    best = int(earned.mean(axis=0).argmax())
    for i, each in enumerate(tries[:best]):
        rows = {"lead": earned[:, best] - earned[:, i]}
        lead = joint_of(rows, case.half.profit.cluster).estimate("lead")
        if not lead.estimate > lead.std_error:
            return each
    return tries[best]


def _earned(case: _Case, one: tuple[str, int], ask: Ask) -> Floats:
    """What each unit is worth under a rule learned on the other folds, shape (n,)."""
    name, depth = one
    fold = case.half.profit.fold
    assert fold is not None  # noqa: S101 - component_scores sets it
    soft = case.soft()
    out = np.zeros(len(soft))
    for f in np.unique(fold):
        rows, rest = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        x = case.half.x[rest]
        if name == TREE:
            part = case.on(rows)
            arm = _tree_within(part.half, part.limits, part.prices, part.caps, depth).arms_of(x)
        else:
            contrast = case.worth[:, 1:] - case.worth[:, :1]
            model = fit_fast_dr(None, contrast, bins=case.bins, rows=rows, seed=ask.seed)
            if case.caps:
                part = case.on(rows)
                arm = _model_within(model_rule(model), part.half, part.caps).arms_of(x)
            else:
                arm = arms_by(model.predict(x))
        out[rest] = picked(soft[rest], arm)
    return out


def arms_by(gain: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """The arm with the largest predicted gain, control where none is above 0."""
    best = gain.argmax(axis=1)
    top = np.take_along_axis(gain, best[:, None], axis=1)[:, 0]
    return np.where(top > 0, best + 1, 0)
