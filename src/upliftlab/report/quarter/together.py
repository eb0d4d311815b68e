"""What do all tests say together: shrunken, corrected, beside holdout and books, and next?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.report import names
from upliftlab.report.numbers import NONE, percent, shown_ratio
from upliftlab.report.parts import Part, Section, table
from upliftlab.report.quarter import charts
from upliftlab.report.quarter.amounts import Amounts, mechanism_name
from upliftlab.report.quarter.beside import (
    as_text,
    bridge_section,
    budget_section,
    drift_section,
    long_run_section,
    shift_text,
)
from upliftlab.report.quarter.finance import finance_sections, totals_section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.review.agenda import Agenda
    from upliftlab.review.calibration import Calibration
    from upliftlab.review.long_files import LongRun
    from upliftlab.review.next_quarter import NextPlan
    from upliftlab.review.quarter import Review
    from upliftlab.review.reconciliation import Reconciliation, SignedTotal
    from upliftlab.review.restated import Drift
    from upliftlab.review.tie import Tie
    from upliftlab.stats.estimate import Estimate

MOST_ROWS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """The quarter's tests read together, and what stands beside them.

    Attributes:
        review: Total, shrunken effects, corrected sum, mechanisms, holdout.
        agenda: Tests that are worth their cost, and open questions.
        factors: Calibration factors of reported ROI.
        totals: What finance may quote, and who signed.
        books: The review beside ledger and books; None where none were given.
        drift: What moved since the last review; None where none was named.
        long_run: Lifetime value and what was pulled forward; None where nobody gave it.
        plan: Where next quarter's money goes; None where no campaign's money is known.
    """

    review: Review
    agenda: Agenda
    factors: tuple[Calibration, ...] = ()
    totals: tuple[SignedTotal, ...] = ()
    books: Reconciliation | None = None
    drift: Drift | None = None
    long_run: LongRun | None = None
    plan: NextPlan | None = None

    @property
    def amounts(self) -> Amounts:
        """The unit of the review."""
        return Amounts(currency=self.review.currency, outcome=self.review.outcome)

    @property
    def tie(self) -> Tie | None:
        """Ledger against books; None where no books were given."""
        return None if self.books is None else self.books.tie


def lines_of(found: Together) -> tuple[tuple[str, str], ...]:
    """Lines of the first screen: the books, the holdout, what to test next."""
    out = []
    if found.tie is not None:
        out.append(("Ties to the books:", as_text(found.tie.sentence)))
    if math.isfinite(found.review.holdout.holdout.estimate):
        out.append(("Holdout:", found.review.holdout.sentence))
    if found.drift is not None:
        out.append(("Since the last review:", found.drift.sentence))
    if found.plan is not None and found.plan.gain.std_error > 0:
        shown = found.amounts.shown(found.plan.gain)
        shift = shift_text(found.plan, found.amounts)
        out.append(("Next quarter:", f"{shift} → {shown.value} ({shown.interval})"))
    if found.agenda.tests:
        best = found.agenda.tests[0]
        worth = found.amounts.plain(best.net, width=best.net, signed=False)
        out.append(
            (
                "Test next:",
                (
                    f"{names.counted(len(found.agenda.tests), 'test')} worth more than "
                    f"they cost; first {words(best.experiment)}, {words(best.arm)}, worth "
                    f"{worth} net"
                ),
            )
        )
    return tuple(out)


def words(name: str) -> str:
    """A name of a file or a column as readers write it."""
    return name.replace("-", " ").replace("_", " ")


def trust_of(found: Together) -> tuple[str, ...]:
    """Lines on how far to trust the sum."""
    review, amounts, out = found.review, found.amounts, []
    if math.isfinite(review.coverage.share):
        share = percent(review.coverage.share, decimals=0, signed=False)
        out.append(f"{share} of spend has a test behind it")
    raw, fair = amounts.shown(review.shipped.naive), amounts.shown(review.shipped.corrected)
    if raw.value and fair.value:
        out.append(
            f"sum of what ships, rolled out {raw.value} → corrected {fair.value} "
            f"({fair.interval})"
        )
    return tuple(out)


def parts_together(found: Together) -> tuple[Part, ...]:
    """Parts of the page that speak of all tests together, of the books, and of what is next."""
    amounts = found.amounts
    sections = (
        _shipped(found.review, amounts),
        _shrunken(found.review, amounts),
        _adds_up(found.review),
        _covered(found.review, amounts),
        _factors(found.factors),
        None if found.long_run is None else long_run_section(found.long_run, amounts),
    )
    beside = (
        totals_section(found.totals, amounts) if found.totals else None,
        _tie(found, amounts),
        *(
            ()
            if found.books is None
            else (
                *finance_sections(found.books, amounts),
                bridge_section(found.books.bases, found.tie, amounts),
            )
        ),
        None if found.drift is None else drift_section(found.drift, amounts),
    )
    return (
        Part(key="together", title="All tests together", sections=_kept(sections)),
        Part(key="finance", title="Beside the books", sections=_kept(beside)),
        Part(key="next", title="What do we do next quarter?", sections=_next(found, amounts)),
    )


def _kept(sections: Sequence[Section | None]) -> tuple[Section, ...]:
    return tuple(each for each in sections if each is not None)


def _covered(review: Review, amounts: Amounts) -> Section | None:
    """Which share of the quarter's spend has a test behind it."""
    coverage = review.coverage
    if not math.isfinite(coverage.share):
        return None
    rows = [
        (
            mechanism_name(each.name),
            "yes" if each.is_tested else "no",
            amounts.plain(each.spend, width=abs(each.spend), signed=False),
            str(each.n_tests),
        )
        for each in coverage.rows
    ]
    bare = [row[0] for row in rows if row[1] == "no"]
    rest = f"; nothing speaks for {names.listed(bare[:4])}" if bare else ""
    heads = ("mechanism", "has a test", "spent in the quarter", "tests")
    return Section(
        key="covered",
        title="Which share of spend has causal evidence",
        finding=(
            f"{percent(coverage.share, signed=False)} of "
            f"{amounts.plain(coverage.spend, width=coverage.spend, signed=False)} was spent on "
            f"mechanisms with a test that was read{rest}."
        ),
        tables=(table("Spend and evidence", heads, rows, text=2, is_open=bool(bare)),),
    )


def _shipped(review: Review, amounts: Amounts) -> Section | None:
    shipped, false = review.shipped, review.false_positives
    if not math.isfinite(shipped.corrected.estimate):
        return None
    raw, fair = amounts.shown(shipped.naive), amounts.shown(shipped.corrected)
    rows: list[tuple[str, Estimate]] = [
        ("what ships, as measured", shipped.naive),
        ("corrected: flexible prior", shipped.corrected),
        ("corrected: Lee and Shen", shipped.lee_shen),
    ]
    if math.isfinite(review.holdout.holdout.estimate):
        rows.append(("universal holdout", review.holdout.holdout))
    notes = [
        (
            f"Of {false.wins} wins, {false.expected_false:.1f} are expected to be nothing; at "
            f"a false discovery rate of 5 %, {false.discoveries} remain. From the rate of wins "
            f"alone, a win is nothing with a chance of {percent(false.risk, signed=False)}."
        ),
        _gap_text(review, amounts),
    ]
    return Section(
        key="shipped",
        title="What ships, without the winner's luck",
        finding=(
            f"Rolled out, the {names.counted(shipped.n_shipped, 'treatment')} that ship "
            f"measured {raw.with_range}; knowing that winners were picked, {fair.with_range} "
            "is left."
        ),
        charts=(charts.holdout_chart(rows, amounts),),
        notes=tuple(_sentence(note) for note in notes if note),
    )


def _gap_text(review: Review, amounts: Amounts) -> str:
    """What the holdout says of the sum, with the gap and its interval."""
    check = review.holdout
    if not check.gap.std_error > 0:
        return check.sentence
    naive, gap = amounts.shown(check.naive_gap), amounts.shown(check.gap)
    return (
        f"{check.sentence}: corrected sum less holdout {gap.with_range}; sum of wins less "
        f"holdout {naive.with_range}"
    )


def _shrunken(review: Review, amounts: Amounts) -> Section | None:
    arms = [each for each in review.arms if math.isfinite(each.shrunken.estimate)]
    if not arms:
        return None
    arms.sort(key=lambda each: -each.rollout.estimate)
    rows = [
        (
            each.entry.experiment,
            each.entry.arm,
            amounts.shown(each.entry.profit).text,
            (small := amounts.shown(each.shrunken)).text,
            small.interval or NONE,
            percent(each.p_positive, decimals=0, signed=False),
            amounts.shown(each.rollout).text,
        )
        for each in arms[:MOST_ROWS]
    ]
    weights = [each.weight for each in arms if math.isfinite(each.weight)]
    middle = sorted(weights)[len(weights) // 2] if weights else math.nan
    heads = (
        "experiment", "treatment", "measured per unit", "shrunken", "range", "earns",
        "rolled out, shrunken",
    )  # fmt: skip
    shown = f" ({MOST_ROWS} of {len(arms)})" if len(arms) > MOST_ROWS else ""
    return Section(
        key="shrunken",
        title="Each test, given all the others",
        finding=(
            f"The middle test keeps {percent(middle, decimals=0, signed=False)} of what it "
            "measured once all tests are read together."
        ),
        tables=(table(f"Measured and shrunken{shown}", heads, rows, text=2),),
    )


def _adds_up(review: Review) -> Section:
    return Section(
        key="adds-up",
        title="Do the tests add up?",
        finding=_sentence(review.additivity.sentence),
        notes=tuple(_sentence(note) for note in review.notes),
    )


def _factors(factors: Sequence[Calibration]) -> Section | None:
    if not factors:
        return None
    rows = [
        (
            mechanism_name(each.channel),
            each.basis,
            (shown := shown_ratio(each.kappa)).text,
            shown.interval or shown.note or NONE,
            str(len(each.tests)),
            f"{each.expires} (over)" if each.is_expired else each.expires,
        )
        for each in factors
    ]
    first = rows[0]
    heads = ("channel", "counts", "factor", "range", "tests", "usable until")
    return Section(
        key="factors",
        title="What a reported ROI is worth",
        finding=f"One reported unit of ROI ({first[0]}) is {first[2]} incremental {first[1]}.",
        tables=(table("Calibration factors", heads, rows, text=2, is_open=True),),
        notes=(_sentence(factors[0].note),),
    )


def _tie(found: Together, amounts: Amounts) -> Section | None:
    tie = found.tie
    if tie is None:
        return None
    rows = [
        (
            each.account,
            each.name,
            each.period,
            amounts.plain(each.ledger),
            amounts.plain(each.books),
            amounts.plain(each.residual),
            each.guess or NONE,
        )
        for each in tie.findings[:MOST_ROWS]
    ]
    heads = ("account", "name", "period", "ledger", "books", "residual", "looks like")
    return Section(
        key="books",
        title="Does it tie to the books?",
        finding=_sentence(as_text(tie.sentence)),
        tables=(table("Every residual", heads, rows, text=3),) if rows else (),
    )


def _next(found: Together, amounts: Amounts) -> tuple[Section, ...]:
    tests = found.agenda.tests
    rows = [
        (
            each.experiment,
            each.arm,
            f"{each.per_arm:,}",
            amounts.plain(each.mde_total, width=abs(each.mde_total), signed=False),
            amounts.plain(each.gross, width=abs(each.gross), signed=False),
            amounts.plain(each.cost, width=abs(each.cost), signed=False),
            percent(each.p_changes_decision, decimals=0, signed=False),
            each.decide_now,
        )
        for each in tests[:MOST_ROWS]
    ]
    heads = (
        "experiment", "treatment", "per arm", "smallest effect seen, rolled out", "worth",
        "cost", "changes the decision", "without it",
    )  # fmt: skip
    finding = (
        f"{names.counted(len(tests), 'test')} would tell more than they cost."
        if tests
        else "No further test of these treatments would tell more than it costs."
    )
    plan = () if found.plan is None else (budget_section(found.plan, amounts),)
    sections = [
        *plan,
        Section(
            key="tests",
            title="Tests worth their cost",
            finding=finding,
            tables=(table("By value of information", heads, rows, text=2),) if rows else (),
        ),
    ]
    if found.agenda.questions:
        asked = [
            (
                each.question,
                each.why,
                each.proposal,
                amounts.plain(each.money, width=abs(each.money), signed=False),
            )
            for each in found.agenda.questions[:MOST_ROWS]
        ]
        columns = ("question", "why it is open", "what to do", "money on it")
        sections.append(
            Section(
                key="agenda",
                title="Learning agenda",
                finding=_sentence(f"First question: {asked[0][0]}"),
                tables=(table("Open questions", columns, asked, text=3, is_open=True),),
            )
        )
    return tuple(sections)


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return text
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
