"""How does what the platform reports become what stands in the books?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.registry.record import plain
from upliftlab.review.money import ladder_of
from upliftlab.review.postings import ASSUMED, BOOKED, PROJECTED, two_bases
from upliftlab.review.tie import NON_CASH, tie
from upliftlab.stats.estimate import Estimate, interval, undefined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upliftlab.registry.record import Record
    from upliftlab.review.books import Books, Chart, FiscalCalendar
    from upliftlab.review.calibration import Calibration
    from upliftlab.review.entries import Entries
    from upliftlab.review.guarantees import Guarantee
    from upliftlab.review.postings import Posting, TwoBases
    from upliftlab.review.quarter import Review
    from upliftlab.review.restated import Drift
    from upliftlab.review.tie import Adjustment, Tie

LABELS = {
    "reported": "GMV that the platform reports for promotions",
    "gmv_platform": "platform GMV that would not have come anyway",
    "gmv_merchant": "shop GMV that would not have come anyway",
    "kept_sales": "kept after returns",
    "profit": "after all costs: extra profit",
    "posted": "of it booked in the quarter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step from the platform's report to the books, minor units.

    Attributes:
        name: Key.
        label: Words for readers.
        amount: With its interval where it is estimated; without where it is reported.
    """

    name: str
    label: str
    amount: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTotal:
    """A total that finance may quote.

    Attributes:
        name: Which total.
        amount: As it reads now.
        frozen: As it was frozen in the last review; NaN for a first review.
        restated: Now less frozen.
        booked: Share that is final.
        projected: Share on orders whose returns may still come.
        assumed: Share priced by an assumption.
        signed_by: Who signed; empty for "open".
        signed_at: ISO date.
        frozen_on: ISO date on which it was frozen; empty for not yet.
    """

    name: str
    amount: Estimate
    frozen: float
    restated: float
    booked: float
    projected: float
    assumed: float
    signed_by: str
    signed_at: str
    frozen_on: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOutcome:
    """One P&L line: what was, what would have been, and the difference.

    Attributes:
        line: P&L line of the ledger.
        actual: On order basis, minor units.
        difference: What the tested promotions added, order basis.
        counterfactual: Actual less difference, with the interval of the difference.
        actual_posted: On accounting basis.
        difference_posted: The difference as far as it is booked in the quarter, in proportion
            to the line.
        counterfactual_posted: Actual less difference, accounting basis.
    """

    line: str
    actual: int
    difference: Estimate
    counterfactual: Estimate
    actual_posted: int
    difference_posted: Estimate
    counterfactual_posted: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class BelowLine:
    """Money that is shown and not added: credits and lifetime value.

    Attributes:
        name: What it is.
        kind: "non-cash credit", "ROI guarantee" or "lifetime value".
        amount: Minor units.
        cash_value: What it is worth in cash; NaN where it is no credit.
        note: Why it is below the line.
    """

    name: str
    kind: str
    amount: Estimate
    cash_value: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who signed a total.

    Attributes:
        total: Name of the total.
        by: Who.
        at: ISO date.
        frozen_on: ISO date on which the number was frozen.
    """

    total: str
    by: str
    at: str
    frozen_on: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """A quarter's incremental profit beside the books.

    Attributes:
        quarter: Fiscal quarter.
        totals: What may be quoted, with shares and signature.
        steps: From the platform's report to the books.
        lines: Actual, counterfactual and difference by P&L line, on both bases.
        bases: The ledger on order basis and accounting basis, with the bridge.
        tie: Ledger against books, account by account.
        calibrations: Factors of reported to incremental ROI.
        below: Credits, guarantees and lifetime value: not in any total.
        drift: What moved since the last review.
        chart_version: Which map of lines to accounts.
        chart_signed_by: Who agreed to it.
        basis: Currency, VAT and rate of the books in one sentence.
        unmatched: Lines of the experiments that the ledger does not have.
    """

    quarter: str
    totals: tuple[SignedTotal, ...]
    steps: tuple[Step, ...]
    lines: tuple[LineOutcome, ...]
    bases: TwoBases
    tie: Tie
    calibrations: tuple[Calibration, ...]
    below: tuple[BelowLine, ...]
    drift: Drift | None
    chart_version: str
    chart_signed_by: str
    basis: str
    unmatched: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        own = {
            name: plain(getattr(self, name))
            for name in self.__dataclass_fields__
            if name != "calibrations"
        }
        return {**own, "calibrations": [each.to_dict() for each in self.calibrations]}


def reconcile(
    review: Review,
    steps: Sequence[Step],
    *,
    postings: Sequence[Posting],
    books: Books,
    chart: Chart,
    calendar: FiscalCalendar,
    quarter: str,
    ledger_lines: Mapping[str, str] | None = None,
    adjustments: Sequence[Adjustment] = (),
    guarantees: Sequence[Guarantee] = (),
    calibrations: Sequence[Calibration] = (),
    lifetime: Sequence[Estimate] = (),
    drift: Drift | None = None,
    frozen: Mapping[str, float] | None = None,
    signatures: Sequence[Signature] = (),
    ledger_currency: str = "CNY",
) -> Reconciliation:
    """Put a review beside the books.

    Args:
        review: The quarter, read together.
        steps: From ``steps_of``.
        postings: The ledger with order and posting periods.
        books: General ledger.
        chart: Map of lines to accounts.
        calendar: Fiscal calendar.
        quarter: Fiscal quarter of the books.
        ledger_lines: Line of the experiments -> line of the ledger, where names differ.
        adjustments: Differences that finance knows of; non-cash credits among them are listed
            below the line as well.
        guarantees: Computed per contract.
        calibrations: From ``calibrate``.
        lifetime: Lifetime value of incremental customers, minor units.
        drift: From ``drift``.
        frozen: Total -> amount frozen in the last review.
        signatures: Who signed which total.
        ledger_currency: Of the postings.
    """
    bases = two_bases(postings, calendar, quarter)
    lines, unmatched = _lines(review, bases, dict(ledger_lines or {}))
    posted = _posted(lines, unmatched, review.level)
    return Reconciliation(
        quarter=quarter,
        totals=totals_of(review, dict(frozen or {}), signatures),
        steps=(*steps, Step(name="posted", label=LABELS["posted"], amount=posted)),
        lines=lines,
        bases=bases,
        tie=tie(
            postings,
            books,
            chart,
            periods=calendar.of_quarter(quarter),
            adjustments=adjustments,
            ledger_currency=ledger_currency,
        ),
        calibrations=tuple(calibrations),
        below=_below(guarantees, adjustments, lifetime),
        drift=drift,
        chart_version=chart.version,
        chart_signed_by=chart.signed_by,
        basis=_basis(books, ledger_currency),
        unmatched=unmatched,
    )


def steps_of(
    programme: Entries,
    records: Sequence[Record],
    *,
    reported: float = math.nan,
    total: Estimate | None = None,
    level: float = 0.95,
) -> tuple[Step, ...]:
    """Return the steps from the platform's report to extra profit, over treated units.

    Args:
        programme: Arms that were read.
        records: Their experiments.
        reported: What the platform attributes to promotions, minor units; by default reported
            ROI times spend of the tests that know both.
        total: Realised extra profit, as the review has it; by default of these arms alone.
        level: Of the intervals.
    """
    by_name = {(r.name, r.id): r for r in records}
    arms = [by_name[e.experiment, e.record].arm(e.arm) for e in programme.entries]
    known = [arm.reported_roi * arm.spend.estimate for arm in arms]
    found = [value for value in known if not math.isnan(value)]
    amount, note = reported, ""
    if math.isnan(reported):
        amount = sum(found) if found else math.nan
    if math.isnan(reported) and len(found) < len(known):
        note = f"{len(known) - len(found)} arms report no ROI"
    first = replace(undefined("reported", note or "reported, not estimated"), estimate=amount)
    n = np.array([entry.n for entry in programme.entries], dtype=float)
    profit = total or programme.total(n, name="profit", level=level)
    return (
        Step(name="reported", label=LABELS["reported"], amount=first),
        *(
            Step(name=each.name, label=LABELS[each.name], amount=each.amount)
            for each in ladder_of(programme, records, profit, level=level)
        ),
    )


def _lines(
    review: Review, bases: TwoBases, names: dict[str, str]
) -> tuple[tuple[LineOutcome, ...], tuple[str, ...]]:
    effects: dict[str, list[Estimate]] = {}
    for bar in review.waterfall:
        effects.setdefault(names.get(bar.line, bar.line), []).append(bar.effect)
    out = []
    for row in bases.rows:
        found = effects.pop(row.line, [])
        difference = _sum(row.line, found, review.level)
        share = (row.order_basis - row.later) / row.order_basis if row.order_basis else math.nan
        posted = (
            difference.scaled(share)
            if share
            else undefined(row.line, "nothing of it is booked yet", level=review.level)
        )
        out.append(
            LineOutcome(
                line=row.line,
                actual=row.order_basis,
                difference=difference,
                counterfactual=_less(row.order_basis, difference),
                actual_posted=row.accounting_basis,
                difference_posted=posted,
                counterfactual_posted=_less(row.accounting_basis, posted),
            )
        )
    return tuple(out), tuple(sorted(effects))


def _sum(name: str, found: Sequence[Estimate], level: float) -> Estimate:
    if not found:
        return undefined(name, "no experiment changes it", level=level)
    if len(found) == 1:
        return replace(found[0], name=name)
    value = sum(e.estimate for e in found)
    # Parts of one line move together: the sum of their errors is the safe bound.
    error = sum(e.std_error for e in found if e.std_error > 0)
    return interval(name, value, error**2, level=level)


def _less(actual: int, difference: Estimate) -> Estimate:
    if math.isnan(difference.estimate):
        return replace(difference, estimate=float(actual))
    turned = difference.scaled(-1)
    return replace(
        turned,
        estimate=actual + turned.estimate,
        ci_low=actual + turned.ci_low,
        ci_high=actual + turned.ci_high,
        p_value=math.nan,
    )


def _posted(lines: Sequence[LineOutcome], lost: Sequence[str], level: float) -> Estimate:
    """What is booked of the tests' extra profit; nothing where a line of it has no place."""
    if lost:
        note = f"{len(lost)} lines of the tests are not in the ledger"
        return undefined("posted", note, level=level)
    known = [x.difference_posted for x in lines]
    known = [e for e in known if not math.isnan(e.estimate)]
    if not known:
        return undefined("posted", "no line of the experiments is in the ledger", level=level)
    value = sum(e.estimate for e in known)
    note = "lines in proportion to what is booked of them; no interval of its own"
    return replace(undefined("posted", note, level=level), estimate=value)


def totals_of(
    review: Review, frozen: Mapping[str, float], signatures: Sequence[Signature]
) -> tuple[SignedTotal, ...]:
    """List what finance may quote of a quarter, how final it is, and who signed.

    Args:
        review: The quarter, read together.
        frozen: Total -> amount frozen in an earlier review of the same quarter.
        signatures: Who signed which total.
    """
    signed = {each.total: each for each in signatures}
    out = []
    for name, amount in (
        ("realised extra profit", review.total),
        ("total of what was shipped", review.shipped.corrected),
        ("campaign money", review.spend),
    ):
        by = signed.get(name)
        before = frozen.get(name, math.nan)
        out.append(
            SignedTotal(
                name=name,
                amount=amount,
                frozen=before,
                restated=amount.estimate - before,
                booked=review.maturity.booked,
                projected=review.maturity.projected,
                assumed=review.maturity.assumed,
                signed_by="" if by is None else by.by,
                signed_at="" if by is None else by.at,
                frozen_on="" if by is None else by.frozen_on,
            )
        )
    return tuple(out)


def _below(
    guarantees: Sequence[Guarantee],
    adjustments: Sequence[Adjustment],
    lifetime: Sequence[Estimate],
) -> tuple[BelowLine, ...]:
    def known(name: str, amount: float, note: str) -> Estimate:
        return replace(undefined(name, note), estimate=amount)

    out = [
        BelowLine(
            name=g.contract,
            kind="ROI guarantee",
            amount=known(g.contract, float(g.credit), "by the contract's formula"),
            cash_value=float(g.cash_value),
            note=g.note,
        )
        for g in guarantees
    ]
    out += [
        BelowLine(
            name=f"{a.account} in {a.period}",
            kind=NON_CASH,
            amount=known(a.account, float(a.amount), a.note or "stated by finance"),
            cash_value=math.nan,
            note="in the books and not cash",
        )
        for a in adjustments
        if a.kind == NON_CASH
    ]
    out += [
        BelowLine(
            name=e.name,
            kind="lifetime value",
            amount=e,
            cash_value=math.nan,
            note="own horizon; never part of the headline profit",
        )
        for e in lifetime
    ]
    return tuple(out)


def _basis(books: Books, ledger_currency: str) -> str:
    text = f"books in {books.currency}, VAT {books.vat}"
    if books.currency != ledger_currency and books.rate is not None:
        when = f" of {books.rate_date}" if books.rate_date else ", date not given"
        text += f"; ledger in {ledger_currency} at {float(books.rate):g}{when}"
    return text


SHARES = (BOOKED, PROJECTED, ASSUMED)
"""In the order in which readers see them."""
