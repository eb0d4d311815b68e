"""Who should get what: learn on one half, value on the other, say what it earns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.checks import FAIL
from upliftlab.errors import DataError, DesignError
from upliftlab.targeting import ends, money_split, pictures
from upliftlab.targeting.answer import LeftToChance, Targeting
from upliftlab.targeting.baselines import baselines, treat
from upliftlab.targeting.doubts import doubts
from upliftlab.targeting.exports import Exported, sql
from upliftlab.targeting.halves import levels_of, split
from upliftlab.targeting.kept import kept_limits
from upliftlab.targeting.learners import sample
from upliftlab.targeting.lessons import Groundwork
from upliftlab.targeting.rules import ConstantRule, Exploration
from upliftlab.targeting.taught import BUDGET, RETURN, TREATED, TREE, repriced, taught_by
from upliftlab.targeting.value import largest
from upliftlab.targeting.worths import Chosen, Held, fairness, joint_of, picked, worth_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.checks import Check
    from upliftlab.data.score_table import ScoreTable
    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.answer import RuleWorth
    from upliftlab.targeting.asked import Ask
    from upliftlab.targeting.baselines import Baseline
    from upliftlab.targeting.features import Encoding
    from upliftlab.targeting.halves import Half, ScoreBook
    from upliftlab.targeting.price_sheet import PriceSheet
    from upliftlab.targeting.rules import Rule
    from upliftlab.targeting.taught import Taught

    Floats = NDArray[np.float64]
    Ints = NDArray[np.integer[Any]]

RULE, EVERYBODY, NOBODY, BLOCKED = "rule", "all", "none", "blocked"
_RANK = {"fail": 0, "warn": 1, "info": 2, "pass": 3}
BASELINE_ROWS = 200_000
"""Units of the learning half that rules of thumb learn from, at most."""

WORDS = {
    "tree": "small tree",
    "model": "model",
    "random": "by chance",
    "response": "most likely to buy",
}


def answer(
    table: ScoreTable,
    ask: Ask,
    sheet: PriceSheet,
    *,
    later: Mapping[str, Estimate] | None = None,
    book: ScoreBook | None = None,
    known: Sequence[Check] = (),
    progress: Callable[[str], None] | None = None,
) -> Targeting:
    """Learn rules on one half of the units and value them on the other.

    Args:
        table: Units with what was known before assignment, arms and components.
        ask: Limits, confidence, what is left to chance.
        sheet: Prices of the table's components.
        later: Arm -> extra profit after the coupon's validity.
        book: Where component scores are looked up, and kept for other prices.
        known: Checks of the data that were made before.
        progress: Called with the name of each step.

    Raises:
        DesignError: When arms or columns leave nothing to learn from.
        DataError: When a floor counts what the data do not hold.
    """
    tell = progress or (lambda _: None)
    if len(table.arms) < 2:
        raise DesignError("targeting needs a control arm and at least one treatment.")
    _refuse_uncounted(ask, sheet)
    case = learned_case(table, ask, sheet, tell, book=book)
    first, second, taught, encoding = case.first, case.second, case.taught, case.encoding
    tell("valuing rules")
    learned = case.learned()
    tried = next(rule for rule in learned if rule.name == taught.chosen)
    verdict = case.verdict(tried)
    exported = case.exported(verdict)
    arm = exported.rule.arms_of(second.material.x)
    checks = (
        *known,
        *_worst(first.checks, second.checks),
        *taught.checks,
        *kept_limits(arm, second.material, ask),
    )
    failed = next((check for check in checks if check.verdict == FAIL), None)
    if failed is not None:
        # A rule that rests on a leak, or breaks its limits, is shown and not handed out.
        verdict = BLOCKED
    share = 1 - tried.treated[table.arms[0]]
    rules = case.with_regret((*learned, *case.constants(), *case.thumbs(share)))
    tell("drawing frontiers")
    seen = pictures.View(
        half=second, held=case.held, model=taught.model, encoding=encoding, ask=ask
    )
    spent = money_split.spends(second, sheet, case.likely(), later or {}, level=ask.level)
    tell("looking for doubts")
    found = doubts(second, ask, sheet, arm, book=book)
    return Targeting(
        verdict=verdict,
        finding=_finding(verdict, ask)
        if failed is None
        else f"No rule is given: {failed.message}",
        estimand=_estimand(verdict, exported, len(second), ask),
        learned=len(first),
        valued=len(second),
        features=tuple(dict.fromkeys(encoding.sources)),
        dropped=dict(encoding.dropped),
        learner=taught.learner,
        candidates=taught.candidates,
        rules=_in_order(rules, taught.chosen if verdict == RULE else case.constant),
        tried=taught.chosen,
        tree=ends.leaves(taught.rules.get(TREE), encoding, second.material.x, case.held),
        curve=pictures.by_share(seen),
        frontier=pictures.by_budget(seen),
        groups=pictures.groups(seen),
        traits=pictures.traits(seen),
        calibration=pictures.calibration(seen),
        importance=taught.model.importance,
        scores=pictures.cross_walk_of(seen),
        spend=spent,
        conflict=pictures.conflict(seen, first, sheet.whose),
        fairness=fairness(arm, case.held, levels_of(second.table, ask.fair_across)),
        exploration=case.left_to_chance(arm),
        robustness=found,
        rule={} if failed else exported.to_dict(),
        sql="" if failed else sql(exported),
        sql_spark="" if failed else sql(exported, "spark"),
        checks=tuple(sorted(checks, key=lambda check: _RANK[check.verdict])),
        notes=(*_notes(taught, ask), *case.chosen_on_all(verdict)),
    )


def learned_case(
    table: ScoreTable,
    ask: Ask,
    sheet: PriceSheet,
    tell: Callable[[str], None],
    *,
    book: ScoreBook | None = None,
) -> Case:
    """Split, score and learn: all that a verdict rests on."""
    tell("scoring")
    first, second, encoding = split(table, ask, sheet, book=book)
    tell("learning rules")
    taught = taught_by(first.material, ask)
    return Case(first=first, second=second, taught=taught, ask=ask, encoding=encoding)


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Both halves, what the first taught, and what the plan asks.

    Attributes:
        first: Learning half.
        second: Valuing half.
        taught: Rules.
        ask: What the plan asks.
        encoding: From columns to numbers.
    """

    first: Half
    second: Half
    taught: Taught
    ask: Ask
    encoding: Encoding

    @cached_property
    def held(self) -> Held:
        """The valuing half, as rules are judged by it."""
        return Held(
            profit=self.second.material.profit,
            cost=self.second.material.cost,
            best=self.taught.best,
            eligible=self.ask.eligible,
            level=self.ask.level,
        )

    @property
    def arms(self) -> tuple[str, ...]:
        """Labels, control first."""
        return self.held.profit.arms

    @property
    def chances(self) -> tuple[float, ...]:
        """Chance of each arm for units that are left to it."""
        return self.ask.shares or (1 / len(self.arms),) * len(self.arms)

    @cached_property
    def kept(self) -> int:
        """Arm that is best for everyone on all units of both halves; 0 is nobody.

        No rule was learned to be one of these few, so the valuing half may have its say: where
        no rule ships, twice as many units choose between everybody and nobody.
        """
        totals = [
            repriced(half.material, self.ask, self.taught.prices).sum(axis=0, dtype=np.float64)
            for half in (self.first, self.second)
        ]
        return int(np.sum(totals, axis=0).argmax())

    @property
    def constant(self) -> str:
        """Name of the best of everybody or nobody, on all units."""
        return f"everybody:{self.arms[self.kept]}" if self.kept else "nobody"

    def on_all(self) -> Estimate:
        """Value of the best treatment of everybody on all units of both halves.

        Its range counts that one of several treatments was looked for.
        """
        halves = (self.first.material.profit, self.second.material.profit)
        contrast = np.concatenate([half.contrast for half in halves])
        groups = [half.cluster for half in halves if half.cluster is not None]
        rows = dict(zip(self.arms[1:], contrast.astype(np.float64).T, strict=True))
        numbers = joint_of(rows, np.concatenate(groups) if groups else None)
        best = self.kept - 1 if self.kept else int(numbers.value.argmax())
        found = numbers.estimate(self.arms[best + 1], level=self.ask.level)
        if len(rows) < 2 or not found.std_error > 0:
            return found
        wide = numbers.max_t(level=self.ask.level) * found.std_error
        return replace(found, ci_low=found.estimate - wide, ci_high=found.estimate + wide)

    def chosen_on_all(self, verdict: str) -> tuple[str, ...]:
        """Say on what everybody or nobody was chosen, where no rule ships."""
        if verdict not in {EVERYBODY, NOBODY}:
            return ()
        found, unit = self.on_all(), self.ask.unit
        low, high = (self.ask.money(each) for each in (found.ci_low, found.ci_high))
        several = ", all arms counted" if len(self.arms) > 2 else ""
        return (
            (
                f"Between everybody and nobody all {len(self.first) + len(self.second):,} "
                f"{unit}s choose, of both halves: there {found.name} for everybody brings "
                f"{self.ask.money(found.estimate)} per {unit} (from {low} to {high}{several})."
            ),
        )

    @cached_property
    def _learned(self) -> tuple[Chosen, ...]:
        x, sources = self.second.material.x, self.encoding.sources
        return tuple(
            Chosen(
                name=name,
                label=WORDS[name],
                kind="learned",
                arm=rule.arms_of(x),
                features=tuple(dict.fromkeys(sources[j] for j in sorted(rule.used))),
            )
            for name, rule in self.taught.rules.items()
        )

    @cached_property
    def _constants(self) -> tuple[Chosen, ...]:
        n = len(self.second)
        return tuple(
            Chosen(
                name=f"everybody:{arm}" if a else "nobody",
                label=f"{arm} for everybody" if a else "nobody",
                kind="constant",
                arm=np.full(n, a),
            )
            for a, arm in enumerate(self.arms)
        )

    def learned(self) -> list[RuleWorth]:
        """Rules of the learning half, valued."""
        return [worth_of(each, self.held) for each in self._learned]

    def constants(self) -> list[RuleWorth]:
        """Nobody, and every arm for everybody."""
        return [worth_of(each, self.held) for each in self._constants]

    def with_regret(self, rules: Sequence[RuleWorth]) -> tuple[RuleWorth, ...]:
        """Say of rules that were learned, and of all or none, what the best of them has more.

        Rules of thumb are left as they are.
        """
        value, cluster = self.held.profit.value, self.held.profit.cluster
        gain = {
            each.name: picked(value, each.arm) for each in (*self._learned, *self._constants)
        }
        found = []
        for rule in rules:
            regret = None
            if rule.name in gain:
                mine = gain[rule.name]
                behind = {n: its - mine for n, its in gain.items() if n != rule.name}
                regret = largest(joint_of(behind, cluster), level=self.ask.level)
            found.append(replace(rule, regret=regret))
        return tuple(found)

    def thumbs(self, share: float) -> list[RuleWorth]:
        """Rules of thumb, for as many as the learned rule treats."""
        found = []
        for each in self._baselines:
            arm: Ints | Floats = self._by_chance(share)
            if each.name != "random":
                priority, given = each.rank(self.second.material.x)
                arm = treat(priority, given, share, seed=self.ask.seed)
            if not each.is_constant:
                chosen = Chosen(
                    name=each.name,
                    label=each.label,
                    kind="baseline",
                    arm=arm,
                    features=each.features,
                )
                found.append(worth_of(chosen, self.held))
        return found

    def likely(self) -> Floats:
        """How likely each held-out unit is to buy without treatment, shape (n,)."""
        response = next(each for each in self._baselines if each.name == "response")
        return response.rank(self.second.material.x)[0]

    @cached_property
    def _baselines(self) -> tuple[Baseline, ...]:
        few = sample(self.first.material.lessons, BASELINE_ROWS, seed=self.ask.seed)
        ground = Groundwork(lesson=few, seed=self.ask.seed)
        return baselines(few, max(self.taught.best, 1), groundwork=ground, seed=self.ask.seed)

    def _by_chance(self, share: float) -> Floats:
        """Shares of the arms where chance treats so many."""
        found = np.zeros(len(self.arms))
        found[max(self.taught.best, 1)] = share
        found[0] += 1 - share
        return found

    def verdict(self, tried: RuleWorth) -> str:
        """A rule only where it surely earns, and more than the best of all or none.

        That is the best on the learning half, and where all units say otherwise, theirs too.
        """
        earns = tried.against_best.is_above_zero and tried.value.is_above_zero
        if earns and self._leads_kept(tried):
            return RULE
        return EVERYBODY if self.kept else NOBODY

    def _leads_kept(self, tried: RuleWorth) -> bool:
        """Whether a rule surely earns more than the best of all or none on all units."""
        if self.kept in {self.taught.best, 0}:
            return True
        value, cluster = self.held.profit.value, self.held.profit.cluster
        arm = next(each.arm for each in self._learned if each.name == tried.name)
        lead = joint_of({"lead": picked(value, arm) - value[:, self.kept]}, cluster)
        return lead.estimate("lead", level=self.ask.level).is_above_zero

    def exported(self, verdict: str) -> Exported:
        """The rule that files hold: the one tried, or the best of everybody or nobody."""
        rule: Rule = ConstantRule(arm=self.kept)
        if verdict == RULE:
            rule = self.taught.rules[self.taught.chosen]
        return Exported(
            rule=rule,
            encoding=self.encoding,
            arms=self.arms,
            exploration=Exploration(
                share=self.ask.keep_random, chances=self.chances, salt=self.ask.salt
            ),
        )

    def left_to_chance(self, arm: Ints) -> LeftToChance:
        """Share left to chance, and what the rule would earn more on that share."""
        value, share = self.held.profit.value, self.ask.keep_random
        more = share * (picked(value, arm) - picked(value, np.array(self.chances)))
        numbers = joint_of({"cost": more}, self.held.profit.cluster)
        return LeftToChance(share=share, cost=numbers.estimate("cost", level=self.ask.level))


def _in_order(rules: Sequence[RuleWorth], exported: str) -> tuple[RuleWorth, ...]:
    """The exported rule first, then by value."""
    marked = [replace(rule, is_exported=rule.name == exported) for rule in rules]
    return tuple(sorted(marked, key=lambda r: (not r.is_exported, -r.value.estimate)))


def _finding(verdict: str, ask: Ask) -> str:
    if verdict == RULE:
        return "The rule earns more than the best of everybody or nobody, beyond doubt."
    who = "everybody" if verdict == EVERYBODY else "nobody"
    return f"No rule is shown to earn more than treating {who}, at {ask.level:.0%} confidence."


def _estimand(verdict: str, exported: Exported, valued: int, ask: Ask) -> str:
    what = (
        f"this {exported.rule.kind}" if verdict == RULE else "the best of everybody or nobody"
    )
    window = f" {ask.window}" if ask.window else ""
    seen = (
        ""
        if ask.is_dealt
        else (
            " Nobody drew the arms: this is right if all that decided who was treated, and "
            "moves profit as well, is among the columns."
        )
    )
    return (
        f"Extra profit per {ask.unit}{window} if units like the {valued:,} valued are treated "
        f"by {what}, against treating nobody.{seen}"
    )


def _worst(first: Sequence[Check], second: Sequence[Check]) -> tuple[Check, ...]:
    """Each check of the two halves once: the worse of both."""
    found: dict[str, Check] = {}
    for check in (*first, *second):
        known = found.get(check.name)
        if known is None or _RANK[check.verdict] < _RANK[known.verdict]:
            found[check.name] = check
    return tuple(found.values())


def _refuse_uncounted(ask: Ask, sheet: PriceSheet) -> None:
    for name in ask.counted:
        if name not in sheet.counts:
            key = "at_least" if name in ask.at_least else "at_least_in"
            raise DataError(
                f"target.{key} asks for {name!r}, which the data do not hold; they count "
                f"{sorted(sheet.counts)}. Map a column to it, or ask for another count."
            )


def _notes(taught: Taught, ask: Ask) -> tuple[str, ...]:
    dear = [
        f"{name} at {_priced(name, price, ask)}"
        for name, price in taught.prices.items()
        if price > 0
    ]
    if not dear:
        return ()
    return (
        (
            "Limits enter as prices found on the learning half, what one more unit of each "
            f"would earn: {'; '.join(dear)}."
        ),
    )


def _priced(name: str, price: float, ask: Ask) -> str:
    if name in {BUDGET, RETURN}:
        return f"{price:.2g} per 1 of money"
    treats = {TREATED, *(floor.name for floor in ask.floors if not floor.count)}
    what = f"more {ask.unit} treated" if name in treats else "more of them"
    return f"{ask.money(price)} per one {what}"
