"""What does a reader see in the first ten seconds?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from upliftlab.report import names, over_time_words, who_words, words
from upliftlab.report.numbers import Shown, count, percent, shown_money, shown_share

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.experiment import Experiment
    from upliftlab.profit import Profit, Rung
    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.answer import RuleWorth

MOST_ROWS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """One arm, for everyone or for a segment.

    Attributes:
        who: "¥20 to everyone".
        money: Total extra profit with its range.
        verdict: Words of the verdict.
        word: The verdict's key, for its colour.
    """

    who: str
    money: Shown
    verdict: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderRow:
    """One rung over all windows.

    Attributes:
        label: Whose number it is.
        cells: One per window: share of control, with its range.
        is_profit: Whether it is the last rung.
        remark: What stands beside it.
    """

    label: str
    cells: tuple[Shown, ...]
    is_profit: bool
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstScreen:
    """Everything above the fold, as text.

    Attributes:
        title: Name of the experiment with its depths.
        facts: Dates, how many, how long followed, who owns it.
        headline: What to do.
        is_blocked: Whether a failed check forbids a verdict.
        total: Heading of the money table.
        level: "95 % range".
        rows: Arms, and segments to ship to under them.
        more: How many arms stand only further down; empty for none.
        basis: On what the totals rest.
        ladder_of: The arm whose ladder is shown.
        windows: Headings of the ladder's columns.
        ladder: Rungs from the dashboard down to profit.
        flips: What would turn the sign.
        roi: The dashboard's number beside ours.
        trust: Can we trust it?
        counts: What the profit counts.
        next_step: What to do now.
    """

    title: str
    facts: tuple[str, ...]
    headline: str
    is_blocked: bool
    total: str
    level: str
    rows: tuple[VerdictRow, ...]
    more: str
    basis: str
    ladder_of: str
    windows: tuple[str, ...]
    ladder: tuple[LadderRow, ...]
    flips: str
    roi: str
    trust: str
    counts: str
    next_step: str


def first_screen(analysis: Analysis) -> FirstScreen:
    """Gather the first screen of an analysis page."""
    arm = words.focus(analysis)
    rows = _rows(analysis, arm)
    hidden = len(rows) - MOST_ROWS
    total, basis = _basis(analysis)
    shown = next((c for c in analysis.changes if c.profits[0].arm == arm), analysis)
    windows = _windows(analysis, arm)
    return FirstScreen(
        title=names.title(analysis.experiment),
        facts=_facts(analysis),
        headline=words.headline(analysis),
        is_blocked=not analysis.is_valid,
        total=total,
        level=f"{_level(analysis)} range",
        rows=tuple(rows[:MOST_ROWS] if hidden > 0 else rows),
        more=f"and {hidden} more below" if hidden > 0 else "",
        basis=basis,
        ladder_of=names.arm_names(analysis.experiment)[arm],
        windows=tuple(names.window_of(analysis.experiment, days) for days, _ in windows),
        ladder=_ladder(analysis, arm, [profit for _, profit in windows]),
        flips=words.flips(shown, arm),
        roi=words.return_on_money(shown, arm),
        trust=words.trust(analysis),
        counts=words.counted_costs(analysis),
        next_step=words.next_step(shown),
    )


def has_rollout(analysis: Analysis) -> bool:
    """Whether the plan says how many a roll-out would reach."""
    return any(math.isfinite(profit.rollout.estimate) for profit in analysis.profits)


def total_of(analysis: Analysis, profit: Profit) -> Estimate:
    """Total of a profit: roll-out where it exists, else what the test itself earned."""
    return profit.rollout if has_rollout(analysis) else profit.realised


def segment_total(analysis: Analysis, profit: Profit) -> Estimate:
    """Total of a declared segment, with the range that counts all declared segments."""
    n = profit.rollout_n if has_rollout(analysis) else profit.n
    return profit.profit_simultaneous.scaled(n) if n else replace(profit.rollout)


def ordered(analysis: Analysis, first: str) -> list[Profit]:
    """Arms with the one in focus on top, the others from the deepest down."""
    depth = {
        arm.label: float(arm.coupon.minor) if arm.coupon is not None else 0.0
        for arm in analysis.experiment.treatments
    }
    return sorted(analysis.profits, key=lambda p: (p.arm != first, -depth.get(p.arm, 0.0)))


def _rows(analysis: Analysis, first: str) -> list[VerdictRow]:
    called = names.arm_names(analysis.experiment)
    currency = analysis.experiment.currency
    decided = words.decisions_of(analysis)
    rows = []
    for profit in ordered(analysis, first):
        verdict = words.verdict_of(analysis, profit.arm)
        total = VerdictRow(
            who=f"{called[profit.arm]} to {names.all_of(analysis.experiment)}",
            money=shown_money(total_of(analysis, profit), currency),
            verdict=verdict.text,
            word=verdict.word,
        )
        rows.append(total)
        if analysis.rollout is not None:
            rows.append(_each_row(analysis, profit))
        segment = decided[profit.arm].segment if profit.arm in decided else ""
        if segment and analysis.is_valid:
            rows.append(_segment_row(analysis, profit.arm, segment))
    rule = who_words.shipped(analysis)
    if rule is not None:
        rows.insert(min(len(rows), MOST_ROWS - 1), _rule_row(analysis, rule))
    tried = who_words.unproven(analysis)
    if tried is not None:
        rows.insert(min(len(rows), MOST_ROWS - 1), _tried_row(analysis, tried))
    return rows


def _rule_row(analysis: Analysis, rule: RuleWorth) -> VerdictRow:
    """The rule that was learned and valued on other units."""
    return VerdictRow(
        who=who_words.short(analysis, rule),
        money=shown_money(rule.total, analysis.experiment.currency),
        verdict="ship by this rule",
        word="ship to segment",
    )


def _tried_row(analysis: Analysis, rule: RuleWorth) -> VerdictRow:
    """The rule that was learned and is not to be used: what it would bring, and why not."""
    return VerdictRow(
        who=who_words.short(analysis, rule),
        money=shown_money(rule.total, analysis.experiment.currency),
        verdict=who_words.unproven_text(analysis),
        word="keep testing",
    )


def _each_row(analysis: Analysis, profit: Profit) -> VerdictRow:
    """What one unit brings in one period, under the total."""
    return VerdictRow(
        who=f"per {names.each(analysis.experiment)}",
        money=shown_money(profit.profit, analysis.experiment.currency),
        verdict="",
        word="",
    )


def _segment_row(analysis: Analysis, arm: str, label: str) -> VerdictRow:
    called = names.arm_names(analysis.experiment)[arm]
    segment = next((s for s in analysis.segments if s.label == label), None)
    decision = words.decisions_of(analysis)[arm]
    total = decision.segment_at_stake or decision.at_stake
    if segment is not None:
        total = segment_total(analysis, segment.profit_of(arm))
    return VerdictRow(
        who=f"{called} to {names.audience(label)}",
        money=shown_money(total, analysis.experiment.currency),
        verdict="ship to this segment",
        word="ship to segment",
    )


def _ladder(analysis: Analysis, arm: str, profits: list[Profit]) -> tuple[LadderRow, ...]:
    longest = max(profits, key=lambda profit: len(profit.ladder))
    return tuple(
        LadderRow(
            label=rung.label.upper() if rung.name == "profit" else rung.label,
            cells=tuple(_cell(analysis, profit.rung(rung.name)) for profit in profits),
            is_profit=rung.name == "profit",
            remark=_remark(analysis, arm, rung),
        )
        for rung in longest.ladder
    )


def _cell(analysis: Analysis, rung: Rung | None) -> Shown:
    """Share of control; where that does not exist, money per unit."""
    if rung is None:
        return Shown(value="", interval="", words="", note="–")
    share = shown_share(rung.effect)
    if share.value:
        return share
    money = shown_money(rung.effect, analysis.experiment.currency)
    if not money.value:
        return money
    return replace(money, value=f"{money.value} per {names.each(analysis.experiment)}")


def _remark(analysis: Analysis, arm: str, rung: Rung) -> str:
    if rung.name == "gmv_platform":
        has_subsidy = {"merchant_coupon", "platform_coupon"} <= set(analysis.effects.names)
        return "coupons and subsidies added back" if has_subsidy else ""
    if rung.name == "profit":
        return words.each_unit_of_money(analysis, arm)
    return ""


def _windows(analysis: Analysis, arm: str) -> list[tuple[int | None, Profit]]:
    """Every window of one arm from the shortest to the longest."""
    headline = analysis.profit_of(arm)
    found: list[tuple[int | None, Profit]] = [(headline.window, headline)]
    found += [
        (days, profit)
        for days, profits in analysis.other_windows.items()
        for profit in profits
        if profit.arm == arm
    ]
    return sorted(found, key=lambda pair: pair[0] or 0)


def _basis(analysis: Analysis) -> tuple[str, str]:
    """Heading of the totals, and what they rest on."""
    if analysis.rollout is not None:
        return _basis_over_time(analysis)
    unit = analysis.experiment.unit
    tested = names.counted(sum(analysis.effects.n), unit)
    if has_rollout(analysis):
        reached = next(p.rollout_n for p in analysis.profits if p.rollout_n)
        heading = f"If rolled out to {names.counted(reached, unit)}"
        if analysis.experiment.eligible_customers is None:
            more = "those assigned, because the plan does not say how many are eligible"
            return heading, more
        return heading, f"as if those reached were like the {tested} tested"
    sizes = [profit.n for profit in analysis.profits]
    if len(sizes) == 1 or max(sizes) - min(sizes) <= 0.02 * max(sizes):
        about = count(_two_digits(sum(sizes) / len(sizes)))
        whom = f"the {about} {names.plural(unit)} who got it"
    else:
        whom = f"the {names.plural(unit)} who got it"
    return f"In this test, for {whom}", "a roll-out total needs eligible_customers in the plan"


def _basis_over_time(analysis: Analysis) -> tuple[str, str]:
    """Heading of the totals where units switch over time, and what they rest on."""
    profit = analysis.profits[0]
    experiment = analysis.experiment
    tested = over_time_words.followed_by(analysis)
    if not has_rollout(analysis):
        done = over_time_words.unit_periods(experiment, profit.n)
        return f"In this test, over {done} since the change", (
            "a roll-out total needs eligible_customers in the plan"
        )
    heading = f"If rolled out to {over_time_words.reached(analysis, profit.rollout_n)}"
    beside = _beside(experiment)
    if experiment.eligible_customers is None:
        more = "those followed, because the plan does not say how many are eligible"
        return heading, f"{more}{beside}"
    more = f"as if those reached were like those that switched, of {tested} followed"
    return heading, f"{more}{beside}"


def _beside(experiment: Experiment) -> str:
    """What a total over everybody leaves out where groups took sales from each other."""
    if experiment.design != "staggered" or not experiment.cluster:
        return ""
    many = names.plural(experiment.unit)
    return f"; sales that {many} of one cluster take from another's are not taken off"


def _two_digits(n: float) -> float:
    step = 10 ** max(math.floor(math.log10(n)) - 1, 0) if n >= 1 else 1
    return round(n / step) * step


def _facts(analysis: Analysis) -> tuple[str, ...]:
    experiment = analysis.experiment
    if analysis.rollout is not None:
        return over_time_words.facts(analysis, analysis.rollout)
    parts = [
        names.dates(experiment),
        names.counted(sum(analysis.effects.n), experiment.unit),
        f"followed {names.window_name(experiment.follow_up)}" if experiment.follow_up else "",
        experiment.owner,
    ]
    return tuple(part for part in parts if part)


def _level(analysis: Analysis) -> str:
    return percent(float(analysis.experiment.decide.confidence), decimals=0, signed=False)
