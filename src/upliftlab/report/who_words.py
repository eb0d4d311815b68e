"""What does targeting say, in the words of whoever decides?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.checks import FAIL
from upliftlab.report import names
from upliftlab.report.numbers import percent, shown_money, shown_number, symbol

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.answer import Leaf, RuleWorth, Targeting

RULE, EVERYBODY, NOBODY, BLOCKED = "rule", "all", "none", "blocked"

_LABELS = {
    "tree": "the small tree",
    "model": "the model",
    "nobody": "nobody",
    "random": "as many at random",
    "response": "those most likely to buy",
    "rfm": "the best customers (RFM)",
    "gmv": "those whose GMV rises most",
}
_MOST_ENDS = 2
_SHORT = 56


def arms(analysis: Analysis) -> dict[str, str]:
    """Name every arm as readers know it; control is "nothing"."""
    called = dict(names.arm_names(analysis.experiment))
    called[analysis.experiment.control.label] = "nothing"
    return called


def shipped(analysis: Analysis) -> RuleWorth | None:
    """The rule to ship by: None where none is, or where something forbids it.

    A rule ships when, on units that it was not learned from, its extra profit and its lead over
    the best of everybody or nobody lie above 0, no guardrail of an arm it gives got worse, and
    no check of the rule failed.
    """
    found = analysis.targeting
    if found is None or found.verdict != RULE or not analysis.is_valid:
        return None
    rule = found.exported
    given = {arm for arm, share in rule.treated.items() if share > 0}
    worse = any(m.arm in given and m.state == "inferior" for m in analysis.metrics)
    failed = any(check.verdict == FAIL for check in found.checks)
    if worse or failed or not rule.value.is_above_zero:
        return None
    return rule


def tried(found: Targeting) -> RuleWorth | None:
    """The learned rule that was put to the test."""
    learned = [rule for rule in found.rules if rule.kind == "learned"]
    named = [rule for rule in learned if rule.name == found.tried]
    best = sorted(learned, key=lambda rule: -rule.against_best.estimate)
    return next(iter((*named, *best)), None)


def unproven(analysis: Analysis) -> RuleWorth | None:
    """The learned rule that is not shipped; None where one is, or where none was learned."""
    found = analysis.targeting
    if found is None or shipped(analysis) is not None:
        return None
    return tried(found)


def unproven_text(analysis: Analysis) -> str:
    """Say in a few words why the learned rule is not shipped."""
    found = analysis.targeting
    assert found is not None  # noqa: S101 - callers asked `unproven` before
    if found.verdict == BLOCKED or not analysis.is_valid:
        return "blocked by a check"
    if found.verdict != RULE:
        return "not shown to pay"
    return "not yet: see below"


def short(analysis: Analysis, rule: RuleWorth) -> str:
    """Say a learned rule in one line: whole where it has one short end, else how many."""
    assert analysis.targeting is not None  # noqa: S101 - callers asked before
    whole = described(analysis, analysis.targeting, rule)
    if len(whole) <= _SHORT:
        return whole
    control = analysis.experiment.control.label
    share = percent(1 - rule.treated.get(control, 0.0), decimals=0, signed=False)
    return f"by the learned rule ({share} of all)"


def next_step(analysis: Analysis) -> str:
    """Say how to use the rule."""
    assert analysis.targeting is not None  # noqa: S101 - callers asked `shipped` before
    left = analysis.targeting.exploration
    if left is None or left.share <= 0:
        return "give by targeting_rule.sql"
    share = percent(left.share, decimals=0, signed=False)
    return f"give by targeting_rule.sql and leave {share} to chance"


def rule_label(analysis: Analysis, rule: RuleWorth) -> str:
    """Name a rule."""
    name, _, arm = rule.name.partition(":")
    if name == "everybody":
        return f"{arms(analysis).get(arm, arm)} to everyone"
    words = _LABELS.get(name, rule.label)
    return f"{arms(analysis).get(arm, arm)} to {words}" if arm else words


def treated_text(analysis: Analysis, rule: RuleWorth) -> str:
    """Say who gets what: "¥20: 25 %, nothing: 75 %"."""
    called = arms(analysis)
    control = analysis.experiment.control.label
    said = [
        f"{called.get(arm, arm)}: {percent(share, decimals=0, signed=False)}"
        for arm, share in rule.treated.items()
        if arm != control and share > 0
    ]
    rest = 1 - sum(share for arm, share in rule.treated.items() if arm != control)
    if rest > 0.0005:
        said.append(f"nothing: {percent(rest, decimals=0, signed=False)}")
    return ", ".join(said)


def finding(analysis: Analysis, found: Targeting) -> str:
    """Say which rule to use and what it earns."""
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    rule = found.exported
    value = shown_money(rule.value, currency)
    valued = f"{names.counted(found.valued, unit)} that it was not learned from"
    if found.verdict == RULE:
        more = shown_money(rule.against_best, currency)
        who = _capital(described(analysis, found, rule))
        return (
            f"{who} brings {value.with_range} per {unit} on {valued}, "
            f"{more.with_range} more than the best of everybody or nobody."
        )
    if found.verdict == BLOCKED:
        return found.finding
    who = "nobody" if found.verdict == NOBODY else "everybody"
    best = tried(found)
    if best is None:
        return f"{found.finding} Treat {who}."
    control = analysis.experiment.control.label
    if best.treated.get(control, 0.0) >= 1:
        return (
            f"Within the plan's limits the learned rule treats nobody, so there is nothing to "
            f"give; without them see how many to treat. Treat {who}."
        )
    gain = shown_money(best.against_best, currency)
    return (
        f"No usable difference between {names.plural(unit)}: the learned rule brings "
        f"{gain.with_range} per {unit} more than {_constant(analysis, found)}, so treat {who}."
    )


def _constant(analysis: Analysis, found: Targeting) -> str:
    rule = found.exported
    if rule.kind != "constant":
        return "the best of everybody or nobody"
    return f"giving {rule_label(analysis, rule)}" if rule.name != "nobody" else "nobody"


def described(analysis: Analysis, found: Targeting, rule: RuleWorth) -> str:
    """Say a rule in a few words."""
    treated = sum(s for a, s in rule.treated.items() if a != analysis.experiment.control.label)
    share = f"{percent(treated, decimals=0, signed=False)} of all"
    ends = [leaf for leaf in found.tree if leaf.arm != analysis.experiment.control.label]
    if rule.name == "tree" and 0 < len(ends) <= _MOST_ENDS:
        said = " or ".join(end_words(analysis, leaf) for leaf in ends)
        return f"{said} ({share})"
    return f"{rule_label(analysis, rule)}'s choice for {share}"


def end_words(analysis: Analysis, leaf: Leaf) -> str:
    """Say what one end of the tree gets."""
    arm = arms(analysis).get(leaf.arm, leaf.arm)
    if len(leaf.path) == 1:
        known = names.audience(leaf.path[0])
        return f"{arm} to {known}"
    return f"{arm} where {' and '.join(leaf.path)}" if leaf.path else f"{arm} to everyone"


def tree_finding(analysis: Analysis, found: Targeting) -> str:
    """Say what the tree gives to whom."""
    control = analysis.experiment.control.label
    ends = [leaf for leaf in found.tree if leaf.arm != control]
    if not ends:
        return "The best small tree gives nothing to anyone."
    said = "; ".join(
        f"{end_words(analysis, leaf)} ({percent(leaf.share, decimals=0, signed=False)} of all)"
        for leaf in ends
    )
    rule = next((r for r in found.rules if r.name == "tree"), None)
    if rule is None:
        return f"{_capital(said)}."
    shown = shown_money(rule.value, analysis.experiment.currency)
    return f"{_capital(said)}: {shown.with_range} per {analysis.experiment.unit} in all."


def groups_finding(analysis: Analysis, found: Targeting) -> str:
    """Say how far apart best and worst are, and who they are."""
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    best, worst = found.groups[0], found.groups[-1]
    said = (
        f"The {best.label} gains {shown_money(best.effect, currency).with_range} per {unit}, "
        f"the {worst.label} {shown_money(worst.effect, currency).with_range}"
    )
    sure = [t for t in found.traits if t.difference.is_above_zero or t.difference.is_below_zero]
    if sure:
        said += f"; they differ most in {names.listed([t.feature for t in sure[:3]])}"
    return f"{said}."


def trust(analysis: Analysis, found: Targeting) -> str:
    """Say on what the rule rests."""
    unit = names.plural(analysis.experiment.unit)
    said = (
        f"Learned on {found.learned:,} {unit}, valued on {found.valued:,} others, from "
        f"{len(found.features)} columns known before assignment"
    )
    if found.calibration is not None and math.isfinite(found.calibration.estimate):
        slope = shown_number(found.calibration, signed=False)
        one = f"{symbol(analysis.experiment.currency)}1"
        said += f"; of each {one} of predicted difference {slope.with_range} was really seen"
    return f"{said}."


def exploration(analysis: Analysis, found: Targeting) -> str:
    """Say how much is left to chance and why."""
    left = found.exploration
    if left is None or left.share <= 0:
        return "nothing is left to chance, so next quarter it cannot be measured."
    said = percent(left.share, decimals=0, signed=False)
    cost = shown_money(left.cost, analysis.experiment.currency)
    tail = ""
    if cost.value:
        tail = f" ({cost.with_range} of profit per {analysis.experiment.unit} forgone)"
    return f"{said} is left to chance so that it can be measured next quarter{tail}."


def sign_of(effect: Estimate) -> int:
    """1 where surely a gain, -1 where surely a loss, else 0."""
    return int(effect.is_above_zero) - int(effect.is_below_zero)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
