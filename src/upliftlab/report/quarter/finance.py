"""What does finance sign: totals, actual against counterfactual, what is below the line?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.report import names
from upliftlab.report.numbers import NONE, percent
from upliftlab.report.parts import Section, table
from upliftlab.report.quarter.tables import DataTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from upliftlab.report.quarter.amounts import Amounts
    from upliftlab.report.quarter.tables import Value
    from upliftlab.review.reconciliation import BelowLine, Reconciliation, SignedTotal
    from upliftlab.stats.estimate import Estimate


def totals_section(totals: Sequence[SignedTotal], amounts: Amounts) -> Section:
    """What may be quoted, how final it is, and who signed."""
    signed = [each for each in totals if each.signed_by]
    who = names.listed(sorted({each.signed_by for each in signed}))
    state = (
        f"{who} signed {len(signed)} of {len(totals)} totals"
        if signed
        else f"None of the {len(totals)} totals is signed yet"
    )
    first = totals[0]
    final = (
        f"; {percent(first.booked, signed=False)} of the money behind them is booked"
        if math.isfinite(first.booked)
        else "; nobody says how much of the money behind them is booked"
    )
    moved = (
        f", and extra profit is restated by {_total(first, amounts)[5]}"
        if math.isfinite(first.restated)
        else ""
    )
    heads = (
        "total", "signed", "amount", "95 % range", "frozen", "restated by", "booked",
        "projected", "assumed",
    )  # fmt: skip
    return Section(
        key="totals",
        title="What finance may quote",
        finding=f"{state}{final}{moved}.",
        tables=(
            table(
                "Totals",
                heads,
                [_total(each, amounts) for each in totals],
                text=2,
                is_open=True,
            ),
        ),
        notes=(
            (
                "Booked: returns are final and prices measured or given. Projected: returns "
                "may still come. Assumed: priced by an assumption. Shares are of the money "
                "that the tests moved."
            ),
        ),
    )


def finance_sections(found: Reconciliation, amounts: Amounts) -> tuple[Section, ...]:
    """The steps to the books, actual against counterfactual, and what is below the line."""
    below = (_below(found.below, amounts),) if found.below else ()
    return (_steps(found, amounts), _counterfactual(found, amounts), *below)


def finance_tables(
    totals: Sequence[SignedTotal], found: Reconciliation | None, scale: float
) -> Iterator[DataTable]:
    """The same as tables of plain values."""
    columns = (
        "total", "amount", "range low", "range high", "frozen", "restated by",
        "share booked", "share projected", "share assumed", "signed by", "signed on",
    )  # fmt: skip
    rows = tuple(
        (
            each.name,
            *_ends(each.amount, scale),
            _known(each.frozen, scale),
            _known(each.restated, scale),
            _known(each.booked),
            _known(each.projected),
            _known(each.assumed),
            each.signed_by,
            each.signed_at,
        )
        for each in totals
    )
    yield DataTable(name="totals", columns=columns, rows=rows)
    if found is None:
        return
    yield DataTable(
        name="steps to the books",
        columns=("step", "amount", "range low", "range high", "note"),
        rows=tuple(
            (each.label, *_ends(each.amount, scale), each.amount.note) for each in found.steps
        ),
    )
    yield _lines_table(found, scale)
    if found.below:
        below = tuple(
            (e.name, e.kind, *_ends(e.amount, scale), _known(e.cash_value, scale), e.note)
            for e in found.below
        )
        heads = ("what", "kind", "amount", "range low", "range high", "worth in cash", "note")
        yield DataTable(name="below the line", columns=heads, rows=below)


def _total(each: SignedTotal, amounts: Amounts) -> tuple[str, ...]:
    shown = amounts.shown(each.amount)
    signed = f"{each.signed_by}, {each.signed_at}" if each.signed_by else "open"
    shares = (each.booked, each.projected, each.assumed)
    width = each.amount.ci_high - each.amount.ci_low
    return (
        each.name,
        signed,
        shown.text,
        shown.interval or NONE,
        amounts.plain(each.frozen, width=width),
        amounts.plain(each.restated, width=width),
        *(percent(share, decimals=0, signed=False) for share in shares),
    )


def _steps(found: Reconciliation, amounts: Amounts) -> Section:
    by_name = {each.name: each.amount for each in found.steps}
    reported, profit = by_name["reported"], by_name["profit"]
    start = (
        f"Of {amounts.plain(reported.estimate, width=abs(reported.estimate), signed=False)} "
        "that the platform reports for promotions, "
        if math.isfinite(reported.estimate) and reported.estimate
        else "Of what the platform reports for promotions, "
    )
    rows = [
        (each.label, (shown := amounts.shown(each.amount)).text, shown.interval or shown.note)
        for each in found.steps
    ]
    return Section(
        key="steps",
        title="From the platform's report to the books",
        finding=f"{start}{amounts.shown(profit).with_range} is extra profit.",
        tables=(table("Step by step", ("step", "amount", "range"), rows, is_open=True),),
        notes=(f"{found.basis[:1].upper()}{found.basis[1:]}.",),
    )


def _counterfactual(found: Reconciliation, amounts: Amounts) -> Section:
    rows = [
        (
            each.line.replace("_", " "),
            amounts.plain(each.actual),
            amounts.shown(each.counterfactual, signed=True).text,
            (shown := amounts.shown(each.difference)).text,
            shown.interval or NONE,
            amounts.plain(each.actual_posted),
            amounts.shown(each.counterfactual_posted).text,
            amounts.shown(each.difference_posted).text,
        )
        for each in found.lines
    ]
    heads = (
        "line", "actual, orders of the quarter", "without the tests", "difference", "range",
        "actual, booked in it", "without the tests, booked", "difference, booked",
    )  # fmt: skip
    agreed = f" agreed by {found.chart_signed_by}" if found.chart_signed_by else ""
    notes = [f"Lines and accounts by chart version {found.chart_version}{agreed}."]
    if found.unmatched:
        lost = names.listed([each.replace("_", " ") for each in found.unmatched])
        notes.append(
            f"Lines of the tests that the ledger does not have: {lost}. Name them in the "
            "chart's column test_line."
        )
    return Section(
        key="counterfactual",
        title="What was, and what would have been",
        finding=_finding(found, amounts),
        tables=(table("Line by line, on both bases", heads, rows),),
        notes=tuple(notes),
    )


def _finding(found: Reconciliation, amounts: Amounts) -> str:
    """Contribution with and without the tests, where every line of theirs has its place."""
    known = [e for e in found.lines if math.isfinite(e.difference.estimate)]
    if not known:
        return "No line of the tests is in the ledger: nothing can be compared."
    actual = sum(each.actual for each in found.lines)
    made = f"The ledger's orders of the quarter made {amounts.plain(actual)}"
    if found.unmatched:
        n = len(found.unmatched)
        return (
            f"{made}; what they would have made without the tested promotions is not known "
            f"while {names.counted(n, 'line')} of the tests {'has' if n == 1 else 'have'} no "
            "place in the ledger."
        )
    difference = math.fsum(each.difference.estimate for each in known)
    return (
        f"{made}; without the tested promotions they would have made "
        f"{amounts.plain(actual - difference)}."
    )


def _below(rows: Sequence[BelowLine], amounts: Amounts) -> Section:
    kinds = {each.kind: 0.0 for each in rows}
    for each in rows:
        kinds[each.kind] += each.amount.estimate
    told = names.listed([f"{kind} {amounts.plain(total)}" for kind, total in kinds.items()])
    cells = [
        (
            each.name,
            each.kind,
            each.note,
            (shown := amounts.shown(each.amount)).text,
            shown.interval or NONE,
            amounts.plain(each.cash_value),
        )
        for each in rows
    ]
    heads = ("what", "kind", "why it is below the line", "amount", "range", "worth in cash")
    return Section(
        key="below",
        title="Below the line",
        finding=f"Shown and in no total: {told}.",
        tables=(table("Below the line", heads, cells, text=3, is_open=True),),
    )


def _lines_table(found: Reconciliation, scale: float) -> DataTable:
    rows = tuple(
        (
            each.line,
            round(each.actual * scale, 6),
            _known(each.counterfactual.estimate, scale),
            *_ends(each.difference, scale),
            round(each.actual_posted * scale, 6),
            _known(each.counterfactual_posted.estimate, scale),
            _known(each.difference_posted.estimate, scale),
        )
        for each in found.lines
    )
    columns = (
        "line", "actual", "without the tests", "difference", "range low", "range high",
        "actual, booked", "without the tests, booked", "difference, booked",
    )  # fmt: skip
    return DataTable(name="counterfactual", columns=columns, rows=rows)


def _ends(estimate: Estimate, scale: float) -> tuple[Value, Value, Value]:
    low, high = estimate.ci_low, estimate.ci_high
    return _known(estimate.estimate, scale), _known(low, scale), _known(high, scale)


def _known(value: float, scale: float = 1.0) -> Value:
    return value * scale if math.isfinite(value) else None
