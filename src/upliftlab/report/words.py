"""What does the analysis say, in the words of whoever decides?"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from upliftlab.checks import FAIL, MATURITY, PASS, WARN
from upliftlab.decision import KEEP_TESTING, NO_VERDICT, SHIP, STOP
from upliftlab.profit import merchant_lines
from upliftlab.report import names, over_time_words, who_words
from upliftlab.report.numbers import (
    NBSP,
    percent,
    shown_money,
    shown_ratio,
    spaced,
    symbol,
)
from upliftlab.tipping import FUNDING

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.checks import Check
    from upliftlab.decision import Decision
    from upliftlab.economics import Line
    from upliftlab.profit import Profit
    from upliftlab.stats.estimate import Estimate
    from upliftlab.tipping import Tipping

NOT_TO_BE_ACTED_ON = "not to be acted on"
NOTHING_FLIPS = "no single price, share or cost within reach"

_NOT_COSTS = frozenset({"sales", "cancelled", "returned", "profit"})
_P_VALUES = re.compile(r"\s*\([^()]*\bp [^()]*\)")
_SEVERAL = frozenset(
    {"cancelled", "returned", "goods_at_margin", "gift", "tax", "contact", "member_benefit"}
)
"""Lines whose names are plural."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One arm's verdict in words.

    Attributes:
        word: "ship", "ship to segment", "keep testing", "stop" or "no verdict".
        detail: Why, in a few words; empty when the word says it.
    """

    word: str
    detail: str = ""

    @property
    def text(self) -> str:
        """Word and detail as they stand in the first table."""
        return f"{self.word}: {self.detail}" if self.detail else self.word


def decisions_of(analysis: Analysis) -> dict[str, Decision]:
    """Decision per arm; a failed blocking check leaves none standing."""
    return {decision.arm: decision for decision in analysis.decisions}


def verdict_of(analysis: Analysis, arm: str) -> Verdict:
    """Say the verdict for everyone."""
    decision = decisions_of(analysis).get(arm)
    if not analysis.is_valid or decision is None or decision.verdict == NO_VERDICT:
        return Verdict(word=NO_VERDICT)
    if decision.verdict == STOP:
        return Verdict(word=STOP, detail=_why_stop(analysis, decision))
    if decision.verdict == KEEP_TESTING and _waits_for_creators(analysis, decision):
        return Verdict(word=KEEP_TESTING, detail="creators do not surely gain")
    return Verdict(word=decision.verdict)


def focus(analysis: Analysis) -> str:
    """Pick the arm whose ladder is shown first: most to decide, then most money."""

    def weight(profit: Profit) -> tuple[int, float]:
        decision = decisions_of(analysis).get(profit.arm)
        rank = 0
        if decision is not None:
            rank = {SHIP: 3, STOP: 2, KEEP_TESTING: 1}.get(decision.verdict, 0)
            rank += 4 if decision.is_buying_gmv or decision.segment else 0
        size = abs(profit.profit.estimate)
        return rank, size if math.isfinite(size) else -1.0

    return max(analysis.profits, key=weight).arm


def headline(analysis: Analysis) -> str:
    """Say what to do, arm by arm, the most certain first.

    "STOP ¥20 for everyone. GIVE ¥20 to new customers only (segment named in the plan)."
    """
    blocked = blocking(analysis)
    if blocked:
        more = f" (and {len(blocked) - 1} more)" if len(blocked) > 1 else ""
        return f"NO VERDICT: {check_text(analysis, blocked[0])}{more}."
    called = names.arm_names(analysis.experiment)
    by_word: dict[str, list[str]] = {}
    for profit in analysis.profits:
        word = verdict_of(analysis, profit.arm).word
        by_word.setdefault(word, []).append(called[profit.arm])
    whom = names.all_of(analysis.experiment)
    parts = []
    if SHIP in by_word:
        parts.append(f"SHIP {names.listed(by_word[SHIP], 'or')} to {whom}.")
    if STOP in by_word:
        parts.append(f"STOP {names.listed(by_word[STOP])} for {whom}.")
    parts += [
        f"GIVE {_called(analysis, group)[0]} to {names.audience(segment)} "
        "(segment named in the plan)."
        for segment, group in by_segment(analysis).items()
    ]
    rule = who_words.shipped(analysis)
    if rule is not None:
        parts.append(f"GIVE {who_words.short(analysis, rule)} (learned here).")
    if KEEP_TESTING in by_word:
        parts.append(f"KEEP TESTING {names.listed(by_word[KEEP_TESTING])}.")
    if NO_VERDICT in by_word:
        reasons = [d.reasons[0] for d in analysis.decisions if d.verdict == NO_VERDICT]
        tail = f": {_lower(reasons[0]).rstrip('.')}" if reasons else ""
        parts.append(f"NO VERDICT on {names.listed(by_word[NO_VERDICT])}{tail}.")
    if who_words.unproven(analysis) is not None:
        parts.append("NO LEARNED RULE is shown to earn more.")
    return " ".join(parts)


def by_segment(analysis: Analysis) -> dict[str, list[Decision]]:
    """Arms to ship to each declared segment, the largest estimate first."""
    found: dict[str, list[Decision]] = {}
    if analysis.is_valid:
        for decision in analysis.decisions:
            if decision.segment:
                found.setdefault(decision.segment, []).append(decision)
    return {segment: _by_size(group) for segment, group in found.items()}


def blocking(analysis: Analysis) -> list[Check]:
    """Failed checks that leave no verdict."""
    return [check for check in analysis.checks if check.is_blocking]


def check_text(analysis: Analysis, check: Check) -> str:
    """Give a check's sentence without its heading, its p-value and its full stop."""
    _, colon, text = check.message.partition(": ")
    plain = _P_VALUES.sub("", text if colon else check.message)
    return with_arm_names(analysis, spaced(plain)).rstrip(".")


def with_arm_names(analysis: Analysis, text: str) -> str:
    """Write arms as readers know them: coupons by their amount."""
    for label, shown in names.arm_names(analysis.experiment).items():
        if shown not in {label, "control"} and ("_" in label or "-" in label):
            # A function, because a name from outside may hold a backslash.
            named = re.compile(rf"(?<![\w-]){re.escape(label)}(?![\w-])")
            text = named.sub(partial(_always, shown), text)
    return text


def flips(analysis: Analysis, arm: str) -> str:
    """Say what would turn the sign of profit."""
    if analysis.rollout is not None:
        conditions = over_time_words.flips(analysis, analysis.rollout)
        if conditions:
            return f"Flips if: {', or if '.join(conditions)}"
    found = nearest_tipping(analysis.profit_of(arm))
    if found is None:
        return f"Flips if: {NOTHING_FLIPS}"
    return f"Flips if: {tipping_text(found)}"


def nearest_tipping(profit: Profit) -> Tipping | None:
    """The share of the coupon if it can flip the sign, else the value nearest to today's."""
    reachable = [t for t in profit.tipping if t.is_reachable]
    return min(
        reachable, key=lambda t: (t.name != FUNDING, abs(t.at.estimate - t.now)), default=None
    )


def tipping_text(found: Tipping) -> str:
    """Say one tipping value as a condition."""
    at = found.at.estimate
    if found.name == FUNDING:
        side = "less" if at < found.now else "more"
        now = percent(found.now, decimals=0, signed=False)
        share = percent(at, decimals=0, signed=False)
        return f"we pay {side} than {share} of the coupon (now {now})"
    name = names.tipping_name(found.name, found.label)
    side = "lower" if at < 1 else "higher"
    verb = "are" if found.name in _SEVERAL else "is"
    return f"{name} {verb} {percent(abs(at - 1), decimals=0, signed=False)} {side}"


def return_on_money(analysis: Analysis, arm: str) -> str:
    """Set the dashboard's coupon ROI beside profit per unit of campaign money.

    Where units switched over time and creators are a party: what each side gains.
    """
    profit = analysis.profit_of(arm)
    unspent = analysis.rollout is not None and not math.isfinite(profit.iroi.estimate)
    if unspent or over_time_words.shares_sales(analysis):
        return over_time_words.both_sides(analysis)
    one = f"{symbol(analysis.experiment.currency)}1"
    shown = shown_ratio(profit.iroi)
    if not shown.value:
        return f"Profit per {one} of campaign money: {shown.text}"
    if math.isfinite(profit.attributed_roi):
        roi = f"{profit.attributed_roi:.1f}"
        return f"Dashboard coupon ROI {roi} → profit per {one}: {shown.value}"
    return f"Profit per {one} of {campaign_money(analysis)}: {shown.with_range}"


def each_unit_of_money(analysis: Analysis, arm: str) -> str:
    """Say what one unit of campaign money brought, beside the profit rung."""
    profit = analysis.profit_of(arm)
    currency = analysis.experiment.currency
    one, shown = f"{symbol(currency)}1", shown_ratio(profit.iroi)
    if over_time_words.shares_sales(analysis):
        return ""
    if not shown.value:
        return shown.text
    money = campaign_money(analysis)
    amount = f"{symbol(currency)}{abs(profit.iroi.estimate):.2f}"
    if profit.iroi.is_below_zero:
        return f"each {one} of {money} lost {amount}"
    if profit.iroi.is_above_zero:
        return f"each {one} of {money} earned {amount}"
    signed = shown.value[0] + amount if shown.value[0] in "+−" else amount
    return f"each {one} of {money}: {signed} (cannot be told from 0 yet)"


def campaign_money(analysis: Analysis) -> str:
    """Name what the campaign spends."""
    spent = {line.name for line in analysis.economics.lines if line.is_campaign}
    if spent == {"coupon"}:
        return "our coupon money"
    return {"contact": "contact money", "ad_spend": "ad money"}.get(
        "".join(spent) if len(spent) == 1 else "", "campaign money"
    )


def trust(analysis: Analysis) -> str:
    """Count checks, name the first that warns or fails, and say how final returns are."""
    by_verdict: dict[str, list[Check]] = {}
    for check in analysis.checks:
        by_verdict.setdefault(check.verdict, []).append(check)
    parts = []
    if FAIL in by_verdict:
        parts.append(f"{len(by_verdict[FAIL])} failed: {_first(analysis, by_verdict[FAIL])}")
    passed = len(by_verdict.get(PASS, []))
    parts.append(f"{passed} {'check passes' if passed == 1 else 'checks pass'}")
    if WARN in by_verdict:
        n = len(by_verdict[WARN])
        word = "warning" if n == 1 else "warnings"
        parts.append(f"{n} {word}: {_first(analysis, by_verdict[WARN])}")
    parts += [maturity] if (maturity := _maturity(analysis)) else []
    return " · ".join(parts)


def counted_costs(analysis: Analysis) -> str:
    """Say whose prices the profit is made of, and on which basis."""
    costs = cost_lines(analysis)
    if any(line.name == "profit" for line in merchant_lines(analysis.economics)):
        vat = f"VAT {analysis.economics.vat}, {analysis.experiment.currency}"
        more = f", and {len(costs)} more cost lines" if costs else ""
        return f"profit as the data give it{more}. {vat}"
    yours = sum(line.status != "assumed" for line in costs)
    assumed = len(costs) - yours
    missing = [names.cost_name(name) for name in analysis.economics.missing]
    named = missing if len(missing) <= 3 else [*missing[:2], f"{len(missing) - 2} more"]
    noun = "cost line" if yours == 1 else "cost lines"
    parts = [f"{yours} {noun} yours", f"{assumed} assumed"]
    parts.append(f"{len(missing)} missing ({names.listed(named)})" if missing else "0 missing")
    vat = f"VAT {analysis.economics.vat}, {analysis.experiment.currency}"
    return f"{' · '.join(parts)}. {vat}"


def cost_lines(analysis: Analysis) -> list[Line]:
    """Cost lines of the merchant, without what is sold or comes back."""
    return [line for line in merchant_lines(analysis.economics) if line.name not in _NOT_COSTS]


def next_step(analysis: Analysis) -> str:
    """Say one concrete next step per kind of decision."""
    blocked = blocking(analysis)
    if blocked:
        name = blocked[0].name.replace("_", " ")
        return f"find out why the check of {name} failed, correct it or rerun, then read again"
    called = names.arm_names(analysis.experiment)
    found = decisions_of(analysis).values()
    words = {arm: verdict_of(analysis, arm).word for arm in called}
    steps = [
        f"switch to {called[group[0].arm]} for {names.audience(segment)}"
        f"{_largest(group)} and keep a 5{NBSP}% holdout"
        for segment, group in by_segment(analysis).items()
    ]
    ships = _by_size([d for d in found if words[d.arm] == SHIP])
    if ships:
        best = called[ships[0].arm]
        steps.append(
            f"give {best}{_largest(ships)} to {names.all_of(analysis.experiment)} but a "
            f"5{NBSP}% holdout"
        )
    if who_words.shipped(analysis) is not None:
        steps.append(who_words.next_step(analysis))
    stops = [called[d.arm] for d in found if words[d.arm] == STOP and not d.segment]
    if stops:
        back = "" if analysis.rollout is None else f", back to {_before(analysis)}"
        steps.append(f"switch {names.listed(stops)} off{back}")
    keep = [called[d.arm] for d in found if words[d.arm] == KEEP_TESTING]
    if keep:
        more = names.plural(analysis.experiment.unit)
        if analysis.rollout is not None:
            more = over_time_words.more_time(analysis.rollout)
        steps.append(f"run {names.listed(keep)} on with more {more}")
    unread = [called[d.arm] for d in found if words[d.arm] == NO_VERDICT]
    if unread:
        steps.append(f"find out why {names.listed(unread)} cannot be read")
    return "; ".join(steps)


def cannot_tell(estimate: Estimate, currency: str, *, of: str = "") -> str:
    """Say how an amount stands to 0, in money and never as a bare "significant".

    Examples:
        >>> from upliftlab.stats.estimate import interval
        >>> cannot_tell(interval("profit", 1000, 900**2), "CNY")
        'the data cannot tell +¥10 from 0 yet (from −¥8 to +¥28)'
    """
    shown = shown_money(estimate, currency)
    if not shown.value or not shown.words:
        return shown.text
    if estimate.is_above_zero or estimate.is_below_zero:
        return f"{shown.value}{of} ({shown.words})"
    return f"the data cannot tell {shown.value}{of} from 0 yet ({shown.words})"


def _by_size(group: list[Decision]) -> list[Decision]:
    def size(decision: Decision) -> float:
        total = (decision.segment_at_stake or decision.at_stake).estimate
        return -total if math.isfinite(total) else 0.0

    return sorted(group, key=size)


def _called(analysis: Analysis, group: list[Decision]) -> list[str]:
    called = names.arm_names(analysis.experiment)
    return [called[decision.arm] for decision in group]


def _largest(group: list[Decision]) -> str:
    return " (the largest estimate)" if len(group) > 1 else ""


def _why_stop(analysis: Analysis, decision: Decision) -> str:
    """The reason that the rules came to first."""
    worse = [
        names.metric_name(m.metric, analysis.experiment)
        for m in analysis.metrics
        if m.arm == decision.arm and m.role == "guardrail" and m.state == "inferior"
    ]
    if worse:
        return f"{names.listed(worse)} got worse"
    if decision.is_buying_gmv:
        return "it buys GMV"
    profit = analysis.profit_of(decision.arm)
    if profit.profit.is_below_zero:
        return "it loses money"
    creator = profit.parties.get("creator")
    if analysis.experiment.decide.both_gain and creator and creator.is_below_zero:
        return "creators lose"
    return "at best it earns too little"


def _waits_for_creators(analysis: Analysis, decision: Decision) -> bool:
    """Whether we surely gain, and the plan asks that creators do as well."""
    profit = analysis.profit_of(decision.arm)
    creator = profit.parties.get("creator")
    if creator is None or not analysis.experiment.decide.both_gain:
        return False
    return profit.profit.is_above_zero and not creator.is_above_zero


def _before(analysis: Analysis) -> str:
    control = analysis.experiment.control
    return control.label if control.label != "control" else "what was before"


def _maturity(analysis: Analysis) -> str:
    """How final returns are, where the warning or failure does not already say it."""
    check = next((c for c in analysis.checks if c.name == MATURITY), None)
    if check is None or check.verdict in {FAIL, WARN}:
        return ""
    final = analysis.facts.final
    if final:
        share = percent(min(final.values()), decimals=0, signed=False)
        return f"returns final for {share} of orders"
    return "all windows closed"


def _first(analysis: Analysis, checks: list[Check]) -> str:
    return check_text(analysis, checks[0])


def _always(text: str, _: re.Match[str]) -> str:
    return text


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
