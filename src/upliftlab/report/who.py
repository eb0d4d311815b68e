"""Who should get what, what does that earn, and how sure are we?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.report import names, who_words
from upliftlab.report.focus import money_axis
from upliftlab.report.numbers import (
    NONE,
    money,
    percent,
    shown_money,
    shown_number,
    shown_ratio,
)
from upliftlab.report.parts import Item, Section, table
from upliftlab.report.plots import Row, forest
from upliftlab.report.who_money import budget, coupon_money, gmv_conflict, how_many
from upliftlab.report.who_plots import Branch, tree

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.report.parts import Table
    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.answer import Group, Leaf, RuleWorth, Targeting

_KINDS = {
    "learned": "learned from this test",
    "constant": "everybody or nobody",
    "baseline": "rules of thumb, for as many as the learned rule",
}


def who(analysis: Analysis, found: Targeting) -> tuple[Section, ...]:
    """Return the sections on targeting, in the order in which questions come up."""
    sections = (
        _rules(analysis, found),
        _tree(analysis, found),
        how_many(analysis, found),
        budget(analysis, found),
        _groups(analysis, found),
        coupon_money(analysis, found),
        gmv_conflict(analysis, found),
        _belief(analysis, found),
        _copy(analysis, found),
    )
    return tuple(section for section in sections if section is not None)


def _rules(analysis: Analysis, found: Targeting) -> Section:
    finding = who_words.finding(analysis, found)
    currency = analysis.experiment.currency
    rows = [
        Row(
            label=who_words.rule_label(analysis, rule),
            estimate=rule.value,
            text=shown_money(rule.value, currency).text,
            group=_KINDS[rule.kind],
            is_grey=rule.kind != "learned",
            is_total=rule.is_exported,
        )
        for kind in _KINDS
        for rule in found.rules
        if rule.kind == kind and rule.name != "nobody"
    ]
    axis = money_axis(analysis, "extra profit against nobody")
    return Section(
        key="rules",
        title="Which rule earns most",
        finding=finding,
        charts=(forest("rules", rows, axis, alt=finding),),
        tables=_rules_tables(analysis, found),
        notes=(
            f"{found.estimand} Each range is for its own rule.",
            (
                "Rules of thumb treat as many as the learned rule does; if one of them earns "
                "the same, take the simpler."
            ),
            (
                "Regret is against the best of the learned rules, everybody and nobody; its "
                "range counts that the best was looked for."
            ),
            *found.notes,
        ),
    )


def _rules_tables(analysis: Analysis, found: Targeting) -> tuple[Table, ...]:
    currency, unit = analysis.experiment.currency, analysis.experiment.unit

    def shown(estimate: Estimate | None, *, signed: bool = True) -> str:
        if estimate is None:
            return ""
        return shown_money(estimate, currency, signed=signed).compact

    earned = [
        (
            _called(analysis, rule),
            who_words.treated_text(analysis, rule),
            shown(rule.value),
            shown(rule.against_best),
            shown(rule.regret, signed=False),
        )
        for rule in found.rules
    ]
    spent = [
        (
            _called(analysis, rule),
            shown(rule.cost),
            shown_ratio(rule.iroi).compact,
            shown(rule.total),
        )
        for rule in found.rules
    ]
    return (
        table(
            "All rules that were valued",
            ("rule", "who gets what", f"extra profit per {unit}",
             "against the best of all or none", "regret: what the best rule has more"),
            earned, text=2,
        ),
        table(
            "What they cost, and what they earn in all",
            ("rule", f"campaign money per {unit}", "extra profit per unit of it",
             "all who are eligible"),
            spent,
        ),
    )  # fmt: skip


def _called(analysis: Analysis, rule: RuleWorth) -> str:
    mark = " (exported)" if rule.is_exported else ""
    return who_words.rule_label(analysis, rule) + mark


def _tree(analysis: Analysis, found: Targeting) -> Section | None:
    if not found.tree:
        return None
    currency = analysis.experiment.currency
    called = who_words.arms(analysis)
    branches = [
        Branch(
            path=leaf.path,
            arm=called.get(leaf.arm, leaf.arm),
            share=f"{percent(leaf.share, decimals=0, signed=False)} of all",
            text=_leaf_text(analysis, leaf),
            sign=who_words.sign_of(leaf.effect),
        )
        for leaf in found.tree
    ]
    finding = who_words.tree_finding(analysis, found)
    rows = [
        (" and ".join(leaf.path) or "everyone", called.get(leaf.arm, leaf.arm),
         percent(leaf.share, signed=False), shown_money(leaf.effect, currency).text,
         shown_money(leaf.effect, currency).interval)
        for leaf in found.tree
    ]  # fmt: skip
    unit = analysis.experiment.unit
    return Section(
        key="tree",
        title="The small tree",
        finding=finding,
        charts=(
            tree("tree", branches, finding,
                 f"Extra profit per {unit} in each end, against nothing, on "
                 f"{names.plural(unit)} that the tree was not learned from."),
        ),
        tables=(
            table("Ends of the tree", ("where", "gets", f"of all {names.plural(unit)}",
                  f"extra profit per {unit} there", "range"), rows, text=2),
        ),
        notes=("A value that is missing goes to the side that the rule names.",)
        if any("missing" in " ".join(leaf.path) for leaf in found.tree) else (),
    )  # fmt: skip


def _leaf_text(analysis: Analysis, leaf: Leaf) -> str:
    shown = shown_money(leaf.effect, analysis.experiment.currency)
    if not shown.value:
        return shown.note or "nothing is given"
    return f"{shown.value} per {analysis.experiment.unit} ({shown.interval})"


def _groups(analysis: Analysis, found: Targeting) -> Section | None:
    if not found.groups:
        return None
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    finding = who_words.groups_finding(analysis, found)
    rows = [
        Row(
            label=f"{group.label} (predicted {_predicted(analysis, group)})",
            estimate=group.effect,
            text=shown_money(group.effect, currency).text,
        )
        for group in found.groups
    ]
    axis = money_axis(analysis, "extra profit")
    traits = [
        (t.feature, _plain(t.best), _plain(t.worst), shown_number(t.difference).text,
         shown_number(t.difference).interval)
        for t in found.traits
    ]  # fmt: skip
    tables = (
        (table("How the best group differs from the worst",
               ("feature", "best group", "worst group", "difference",
                "range, all features counted"), traits),)
        if traits else ()
    )  # fmt: skip
    return Section(
        key="groups",
        title="Who gains most, who least",
        finding=finding,
        charts=(forest("groups", rows, axis, alt=finding),) if rows else (),
        tables=tables,
        notes=(
            (
                "Groups were made by predicted gain; the numbers are what "
                f"{names.plural(unit)} not used for the prediction really gained. Ranges count "
                "all groups at once."
            ),
        ),
    )


def _predicted(analysis: Analysis, group: Group) -> str:
    width = 4 * group.effect.std_error
    return money(group.predicted, analysis.experiment.currency, width=width)


def _plain(value: float) -> str:
    return f"{value:,.4g}".replace("-", "−") if math.isfinite(value) else NONE


def _belief(analysis: Analysis, found: Targeting) -> Section:
    items = [Item(state=check.verdict, text=check.message) for check in found.checks]
    items += [Item(state="info", text=text) for text in found.robustness]
    tables = [
        table(
            "Learners that were compared on the learning half",
            ("learner", "explains", "standard error", "chosen", "remark"),
            [
                (c.name.replace("_", " "), percent(c.gain, decimals=2),
                 percent(c.std_error, decimals=2, signed=False),
                 "yes" if c.is_chosen else "", c.note)
                for c in found.candidates
            ],
        ),
        _fair_table(analysis, found),
        table(
            "The ranking under the definitions of other tools",
            ("metric", "tool", "definition", "value"),
            [
                (s.name.replace("_", " "), s.library, s.definition, _metric(s.value.estimate))
                for s in found.scores
            ],
            text=3,
        ),
        table(
            "What the model leans on",
            ("feature", "share of explained differences"),
            [(f, percent(v, signed=False)) for f, v in found.importance.items()],
        ),
        table(
            "Columns that no rule may use", ("column", "why"),
            list(found.dropped.items()), text=2,
        ),
    ]  # fmt: skip
    return Section(
        key="rule-trust",
        title="Can we trust the rule?",
        finding=who_words.trust(analysis, found),
        items=tuple(items),
        tables=tuple(each for each in tables if each is not None and each.rows),
    )


def _metric(value: float) -> str:
    return f"{value:,.5g}".replace("-", "−") if math.isfinite(value) else NONE


def _fair_table(analysis: Analysis, found: Targeting) -> Table | None:
    if not found.fairness:
        return None
    currency = analysis.experiment.currency
    return table(
        "How groups fare under the rule",
        ("column", "level", "of all", "treated", "range", "extra profit each", "range"),
        [
            (
                g.column, g.level, percent(g.share, signed=False),
                percent(g.treated.estimate, signed=False),
                shown_number(g.treated, scale=100, signed=False).interval,
                shown_money(g.gain, currency).text, shown_money(g.gain, currency).interval,
            )
            for g in found.fairness
        ],
        text=2,
    )  # fmt: skip


def _copy(analysis: Analysis, found: Targeting) -> Section | None:
    if not found.sql:
        return None
    rule: RuleWorth = found.exported
    used = names.listed(list(rule.features)) or "no column"
    return Section(
        key="rule-copy",
        title="Use the rule",
        finding=(f"The exported rule uses {used}; {who_words.exploration(analysis, found)}"),
        code=("The rule as SQL, for DuckDB", found.sql),
        notes=(
            (
                "Beside this page: targeting_rule.sql for DuckDB, targeting_rule_spark.sql for "
                "Spark, and targeting_rule.json, which `upliftlab score` applies to a table of "
                "any size. All give the same answer row by row."
            ),
        ),
    )
