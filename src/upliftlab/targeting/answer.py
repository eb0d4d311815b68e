"""What does targeting say? Frozen values for the page, all money in minor units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upliftlab.checks import Check
    from upliftlab.stats.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleWorth:
    """One way to decide who gets what, and what it earns on units it was not learned on.

    Attributes:
        name: Key: "nobody", "everybody:coupon_20", "tree", "model", "response" and so on.
        label: Words for readers.
        kind: "constant", "learned" or "baseline".
        value: Extra profit per unit against treating nobody.
        against_best: The same against the best treatment of everybody or nobody, chosen on
            the learning half.
        cost: Extra money spent on the treatment, per unit.
        iroi: Extra profit per unit of money spent.
        total: Extra profit over all eligible units.
        treated: Arm -> share of units that get it.
        regret: How much more the best of the learned rules, everybody and nobody earns, per
            unit, never below 0; its range counts that the best is looked for.
        features: Columns that it uses.
        is_exported: Whether it is the rule that the page recommends and the files hold.
        note: What a reader must know; may be empty.
    """

    name: str
    label: str
    kind: str
    value: Estimate
    against_best: Estimate
    cost: Estimate
    iroi: Estimate
    total: Estimate
    treated: Mapping[str, float]
    regret: Estimate | None = None
    features: tuple[str, ...] = ()
    is_exported: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One learner in the comparison on the learning half.

    Attributes:
        name: Key of the learner.
        gain: Fall of the doubly robust loss against a constant effect, as a share; negative
            where the learner does worse than a constant.
        std_error: Of the paired difference to the best.
        is_chosen: Whether it ranks the units.
        note: Why it was not tried; may be empty.
    """

    name: str
    gain: float
    std_error: float
    is_chosen: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One place of a curve with its own interval and the band of the whole curve.

    Attributes:
        x: Share of units treated, or money spent over all eligible units.
        effect: Extra profit per unit of everybody, not of the treated.
        low: Lower end of the band.
        high: Upper end.
        share: Share of units treated there.
        margin: Extra profit of the next unit of money; NaN where it does not exist.
        spend: Money spent there, per unit of everybody; None where x is a share.
    """

    x: float
    effect: Estimate
    low: float
    high: float
    share: float = math.nan
    margin: float = math.nan
    spend: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """What each budget earns.

    Attributes:
        points: In order of budget.
        best: Position of the budget that earns most.
        indistinct: Budgets, from and to, that the data cannot tell from the best.
        target_iroi: Least return of the last unit of money at the best budget.
        planned: The plan's budget over all eligible units; NaN without one.
        comparison: Name of another order of treating -> its points.
        note: What budgets are counted in.
    """

    points: tuple[CurvePoint, ...]
    best: int
    indistinct: tuple[float, float]
    target_iroi: float
    planned: float = math.nan
    comparison: Mapping[str, tuple[CurvePoint, ...]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Units of one fifth by predicted gain, and what they really gained.

    Attributes:
        label: "top fifth" and so on.
        share: Of all units.
        predicted: Mean predicted gain.
        effect: Extra profit per unit, with an interval that counts all groups.
    """

    label: str
    share: float
    predicted: float
    effect: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Trait:
    """How the best group differs from the worst in one feature.

    Attributes:
        feature: Column, or column and level.
        best: Mean or share in the best group.
        worst: Mean or share in the worst.
        difference: Best less worst, corrected for the number of features.
    """

    feature: str
    best: float
    worst: float
    difference: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One end of the tree.

    Attributes:
        path: Conditions from the root, in words.
        arm: What units there get.
        share: Of all units.
        effect: Extra profit per unit of that arm there, on held-out units; NaN for control.
    """

    path: tuple[str, ...]
    arm: str
    share: float
    effect: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Where the money of one arm goes, per unit.

    Attributes:
        arm: Whose money.
        total: Money spent per unit.
        wasted_low: Least that went to orders that would have come anyway.
        wasted_high: Most that did.
        interval: Interval of the range at the plan's confidence.
        wasted: The amount if the coupon keeps nobody from buying; NaN where data contradict.
        later: Extra profit after the window in which the coupon was valid; NaN if unknown.
        sleeping: Least and most profit lost on units that would buy only without it; the least
            counts groups in which fewer buy with it beyond chance.
        sleeping_interval: Interval of that range at the plan's confidence.
        note: What a reader must know.
    """

    arm: str
    total: Estimate
    wasted_low: float
    wasted_high: float
    interval: tuple[float, float]
    wasted: Estimate
    later: Estimate
    sleeping: tuple[float, float] = (math.nan, math.nan)
    sleeping_interval: tuple[float, float] = (math.nan, math.nan)
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """What it costs to target on GMV instead of profit.

    Attributes:
        share: Share of units that look good by GMV and lose profit.
        effect: Extra profit per unit of those units, on held-out units.
        by_gmv: What targeting on GMV earns per unit.
        by_profit: What targeting on profit earns per unit.
        cost: The difference, paired.
        whose: Component that counts as GMV.
    """

    share: float
    effect: Estimate
    by_gmv: Estimate
    by_profit: Estimate
    cost: Estimate
    whose: str = "gmv_platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fairness:
    """How one group fares under the rule.

    Attributes:
        column: Declared column.
        level: Its level.
        share: Of all units.
        treated: Share of the group that is treated, with interval.
        gain: Extra profit per unit of the group.
    """

    column: str
    level: str
    share: float
    treated: Estimate
    gain: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftToChance:
    """What is left to chance so that the rule can be measured next time.

    Attributes:
        share: Of all units.
        cost: What the rule would earn more there, per unit of all.
    """

    share: float
    cost: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One ranking metric under one definition.

    Attributes:
        name: With its definition in the name.
        library: Whose definition.
        definition: In one sentence.
        value: The number; with standard error where it exists.
    """

    name: str
    library: str
    definition: str
    value: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Targeting:
    """Who should get what, what that earns and how sure we are.

    Attributes:
        verdict: "rule", "all" or "none"; "blocked" where a failed check forbids a rule.
        finding: Why, in one sentence.
        estimand: What the interval of the exported rule belongs to.
        learned: Units that the rules were learned on.
        valued: Units that they were valued on.
        features: Columns offered to the rules.
        dropped: Column -> why it was left out.
        learner: Which learner ranks units.
        candidates: Learners that were compared.
        rules: All rules that were valued, the exported first.
        tried: Name of the learned rule that was put to the test.
        tree: Ends of the small tree; empty where none was learned.
        curve: Extra profit by share of units treated, best first.
        frontier: What each budget earns; None where the treatment costs nothing.
        groups: Fifths by predicted gain.
        traits: Who is in the best and in the worst group.
        calibration: Slope of what was gained on what was predicted; 1 is calibrated.
        importance: Feature -> share of the model's explained variation.
        scores: Ranking metrics under their definitions.
        spend: Where the money goes, per arm.
        conflict: GMV against profit; None without GMV.
        fairness: Groups under the rule.
        exploration: What is left to chance, and what that costs; None where nothing is said.
        robustness: Sentences with numbers on placebo, seeds and confounding.
        rule: The exported rule as plain values.
        sql: The exported rule as a SQL expression of DuckDB; empty where none is given.
        sql_spark: The same in Spark's SQL.
        checks: Facts about the data that a reader of this part must know.
        notes: Sentences a reader must know.
    """

    verdict: str
    finding: str
    estimand: str
    learned: int
    valued: int
    features: tuple[str, ...]
    dropped: Mapping[str, str]
    learner: str
    candidates: tuple[Candidate, ...]
    rules: tuple[RuleWorth, ...]
    tried: str = ""
    tree: tuple[Leaf, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    frontier: Frontier | None = None
    groups: tuple[Group, ...] = ()
    traits: tuple[Trait, ...] = ()
    calibration: Estimate | None = None
    importance: Mapping[str, float] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    spend: tuple[Spend, ...] = ()
    conflict: Conflict | None = None
    fairness: tuple[Fairness, ...] = ()
    exploration: LeftToChance | None = None
    robustness: tuple[str, ...] = ()
    rule: Mapping[str, Any] = field(default_factory=dict)
    sql: str = ""
    sql_spark: str = ""
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exported(self) -> RuleWorth:
        """The rule that the page recommends."""
        return next(rule for rule in self.rules if rule.is_exported)

    def worth(self, name: str) -> RuleWorth:
        """One rule by its key; KeyError when there is none."""
        for rule in self.rules:
            if rule.name == name:
                return rule
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, but for the rule itself, which has a file of its own."""
        return {
            each.name: _plain(getattr(self, each.name))
            for each in fields(self)
            if each.name not in {"rule", "sql", "sql_spark"}
        }


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON holds
    if is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "to_dict"):
            return value.to_dict()
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
