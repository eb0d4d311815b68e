"""What does the room see in the first ten seconds of the review?"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.registry.record import READ, RUNNING, STOPPED, VOID
from upliftlab.report.numbers import NBSP, percent, shown_ratio, symbol
from upliftlab.report.quarter.amounts import Amounts, result_name, whom
from upliftlab.report.quarter.grids import page_of, share
from upliftlab.report.quarter.together import lines_of, trust_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.registry.damage import Damage
    from upliftlab.report.quarter.together import Together
    from upliftlab.review.programme import Programme, Result

MOST_DECISIONS = 6
_RUNGS = {
    "gmv_platform": "extra GMV on the platform's dashboard",
    "gmv_merchant": "extra GMV the shop books",
    "kept_sales": "kept after returns",
    "profit": "after all costs = extra profit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """Who made this review, for whom, and when its numbers were frozen.

    Attributes:
        shop: Whose experiments.
        prepared: Who prepared it.
        signed: Who signed for finance; empty while open.
        frozen: Day on which the numbers were frozen, ISO date.
    """

    shop: str = ""
    prepared: str = ""
    signed: str = ""
    frozen: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One decision on the first screen."""

    name: str
    link: str
    worth: str
    reach: str
    proposed: str
    whom: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """Everything above the fold, as text.

    Attributes:
        title: "Incrementality review, 2026 Q3".
        facts: Shop, currency, frozen when, by whom, signed by whom.
        headline: What the quarter earned.
        alarm: Why no total should be trusted; empty when nothing.
        on: On how much money, and per unit of it.
        ladder: (words, amount, range) from the dashboard down to profit.
        trust: How far to trust it, a line each.
        asked: Decisions of the day.
        more: How many more wait below; empty for none.
        lines: (heading, text) under the decisions.
    """

    title: str
    facts: tuple[str, ...]
    headline: str
    alarm: str
    on: str
    ladder: tuple[tuple[str, str, str], ...]
    trust: tuple[str, ...]
    asked: tuple[Asked, ...]
    more: str
    lines: tuple[tuple[str, str], ...]


def first_of(
    programme: Programme,
    issue: Issue,
    *,
    damage: Sequence[Damage] = (),
    together: Together | None = None,
) -> First:
    """Gather the first screen of a review.

    Args:
        programme: The quarter's experiments and their sums.
        issue: Who made it and when.
        damage: Files of the registry that could not be read.
        together: The tests read together: corrected sum, coverage, books, next tests.
    """
    amounts = Amounts(currency=programme.currency, outcome=programme.outcome)
    asked = programme.asked
    hidden = len(asked) - MOST_DECISIONS
    more = () if together is None else lines_of(together)
    return First(
        title=f"Incrementality review, {quarter_name(programme.quarter)}",
        facts=_facts(programme, issue),
        headline=_headline(programme, amounts),
        alarm=_alarm(programme),
        on=_on(programme, amounts),
        ladder=_ladder(programme, amounts),
        trust=(
            *(() if together is None else trust_of(together)),
            *_trust(programme, damage),
        ),
        asked=tuple(_asked(each, amounts) for each in asked[:MOST_DECISIONS]),
        more=f"and {hidden} more below" if hidden > 0 else "",
        lines=(("Experiments:", experiments_text(programme)), *more),
    )


def quarter_name(quarter: str) -> str:
    """Print a quarter.

    Examples:
        >>> quarter_name("2026Q3").split()
        ['2026', 'Q3']
    """
    return quarter.replace("Q", f"{NBSP}Q") if quarter else "all quarters"


def experiments_text(programme: Programme) -> str:
    """Count what became of the experiments that started.

    Examples:
        >>> from upliftlab.review.programme import programme
        >>> experiments_text(programme([], "2026Q3"))
        'none started'
    """
    n = len(programme.records)
    if not n:
        return "none started"
    told = [
        f"{programme.counts[status]:,} {status}"
        for status in (READ, VOID, STOPPED, RUNNING)
        if programme.counts.get(status)
    ]
    return f"of {n:,} started: {', '.join(told)}"


def _facts(programme: Programme, issue: Issue) -> tuple[str, ...]:
    parts = [
        issue.shop,
        programme.currency,
        f"frozen {issue.frozen}" if issue.frozen else "",
        f"prepared {issue.prepared}" if issue.prepared else "",
        f"finance sign-off: {issue.signed or 'open'}" if programme.currency else "",
    ]
    return tuple(part for part in parts if part)


def _headline(programme: Programme, amounts: Amounts) -> str:
    shown = amounts.shown(programme.total)
    if not shown.value:
        return f"No total: {programme.total.note}."
    doubt = ""
    if not (programme.total.is_above_zero or programme.total.is_below_zero):
        doubt = ": the data cannot tell it from 0 yet"
    return f"Experiments earned {shown.value} {amounts.what} ({_range(shown.interval)}){doubt}"


def _range(interval: str) -> str:
    return f"95{NBSP}%: {interval}" if interval else "no range"


def _alarm(programme: Programme) -> str:
    """Say so where sample ratios fail far more often than by chance."""
    known = [each for each in programme.records if math.isfinite(each.sample_ratio_p)]
    bad = sum(each.sample_ratio_p < 0.001 for each in known)
    if bad < 3 or bad <= 0.05 * len(known):
        return ""
    return (
        f"Assignment was broken: the sample ratio fails in {bad:,} of {len(known):,} "
        "experiments. Those that pass are what a broken assignment left over."
    )


def _on(programme: Programme, amounts: Amounts) -> str:
    spend = amounts.shown(programme.spend, signed=False)
    if not spend.value or not programme.currency:
        return ""
    ratio = shown_ratio(programme.iroi)
    sign = symbol(programme.currency)
    each = f" · {ratio.value} per {sign}1 ({ratio.interval})" if ratio.value else ""
    return f"on {spend.value} of campaign money{each}"


def _ladder(programme: Programme, amounts: Amounts) -> tuple[tuple[str, str, str], ...]:
    rows = []
    of = programme.review.ladder[-1].n_tests
    for rung in programme.review.ladder:
        if not math.isfinite(rung.amount.estimate):
            continue
        shown = amounts.shown(rung.amount)
        called = _RUNGS[rung.name] if programme.currency else amounts.what
        # Rungs of different tests do not lie above one another; say whose sum each is.
        called += f" ({rung.n_tests} of {of} tests)" if rung.n_tests < of else ""
        rows.append((called, shown.text, shown.interval))
    return tuple(rows)


def _trust(programme: Programme, damage: Sequence[Damage]) -> tuple[str, ...]:
    out = []
    shares = programme.maturity
    if math.isfinite(shares.booked):
        out.append(
            f"booked {share(shares.booked)} · still returning {share(shares.projected)} · "
            f"assumed {share(shares.assumed)}"
        )
    failed = [each for each in programme.records if each.sample_ratio_p < 0.001]
    if failed:
        n = len([e for e in programme.records if math.isfinite(e.sample_ratio_p)])
        out.append(
            f"sample ratio fails in {len(failed):,} of {n:,} "
            f"({percent(len(failed) / n, signed=False)}); 0.1{NBSP}% are expected by chance"
        )
    reasons = Counter(
        check.name.replace("_", " ")
        for each in programme.records
        for check in each.checks
        if check.is_blocking and check.name != "sample_ratio"
    )
    out += [f"{n} void by {name}" for name, n in reasons.most_common(2)]
    if damage:
        out.append(f"{len(damage)} damaged files in the registry: not counted")
    return tuple(out)


def _asked(each: Result, amounts: Amounts) -> Asked:
    shown = amounts.shown(each.at_stake)
    return Asked(
        name=result_name(each),
        link=f"experiments/{page_of(each.record)}",
        worth=shown.text,
        reach=shown.interval,
        proposed=each.proposed,
        whom=whom(each),
        owner=each.record.owner,
    )
