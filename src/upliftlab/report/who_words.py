"""What does targeting say, in the words of whoever decides?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.checks import FAIL
from upliftlab.report import names
from upliftlab.report.numbers import money, percent, shown_money, shown_number, symbol

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.answer import Leaf, RuleWorth, Targeting

RULE, EVERYBODY, NOBODY = "rule", "all", "none"

_LABELS = {
    "tree": "the small tree",
    "model": "the model",
    "nobody": "nobody",
    "random": "as many at random",
    "response": "those most likely to buy",
    "rfm": "best customers first (recency, frequency, money)",
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


def short(analysis: Analysis) -> str:
    """Say the exported rule in one line: whole where it has one short end, else how many."""
    assert analysis.targeting is not None  # noqa: S101 - callers asked `shipped` before
    whole = described(analysis, analysis.targeting)
    if len(whole) <= _SHORT:
        return whole
    rule = analysis.targeting.exported
    return f"by the learned rule ({treated_text(analysis, rule)})"


def next_step(analysis: Analysis) -> str:
    """Say how to use the rule."""
    assert analysis.targeting is not None  # noqa: S101 - callers asked `shipped` before
    share = percent(analysis.targeting.exploration[0], decimals=0, signed=False)
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
        return (
            f"{_capital(described(analysis, found))} brings {value.with_range} per {unit} "
            f"on {valued}, {more.with_range} more than the best of everybody or nobody."
        )
    who = "nobody" if found.verdict == NOBODY else "everybody"
    learned = [r for r in found.rules if r.kind == "learned"]
    if not learned:
        return f"{found.finding} Treat {who}."
    tried = max(learned, key=lambda r: r.against_best.estimate)
    gain = shown_money(tried.against_best, currency)
    return (
        f"No usable difference between {names.plural(unit)}: the best rule found brings "
        f"{gain.with_range} per {unit} more than {_constant(analysis, found)}, so treat {who}."
    )


def _constant(analysis: Analysis, found: Targeting) -> str:
    rule = found.exported
    if rule.kind != "constant":
        return "the best of everybody or nobody"
    return f"giving {rule_label(analysis, rule)}" if rule.name != "nobody" else "nobody"


def described(analysis: Analysis, found: Targeting) -> str:
    """Say the exported rule in a few words."""
    rule = found.exported
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
    share, cost = found.exploration
    if share <= 0:
        return "nothing is left to chance, so next quarter it cannot be measured."
    said = percent(share, decimals=0, signed=False)
    tail = ""
    if math.isfinite(cost):
        amount = money(cost, analysis.experiment.currency, width=abs(cost))
        tail = f", which costs {amount} per {analysis.experiment.unit}"
    return f"{said} is left to chance so that it can be measured next quarter{tail}."


def sign_of(effect: Estimate) -> int:
    """1 where surely a gain, -1 where surely a loss, else 0."""
    return int(effect.is_above_zero) - int(effect.is_below_zero)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
