"""Tables of plain values on what all tests say together, and on what stands beside them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.report.quarter.finance import finance_tables
from upliftlab.report.quarter.tables import DataTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upliftlab.report.quarter.tables import Value
    from upliftlab.report.quarter.together import Together
    from upliftlab.review.next_quarter import NextPlan
    from upliftlab.review.postings import TwoBases
    from upliftlab.review.restated import Drift
    from upliftlab.review.tie import Tie


def tables_together(found: Together) -> tuple[DataTable, ...]:
    """The same as tables of plain values."""
    scale = found.amounts.scale
    arms = tuple(
        (
            each.entry.experiment,
            each.entry.arm,
            _known(each.entry.profit.estimate, scale),
            _known(each.shrunken.estimate, scale),
            _known(each.shrunken.ci_low, scale),
            _known(each.shrunken.ci_high, scale),
            _known(each.p_positive),
            _known(each.rollout.estimate, scale),
        )
        for each in found.review.arms
    )
    tests = tuple(
        (
            each.experiment,
            each.arm,
            each.per_arm,
            _known(each.mde_total, scale),
            _known(each.gross, scale),
            _known(each.cost, scale),
            _known(each.net, scale),
        )
        for each in found.agenda.tests
    )
    shrunken = (
        "experiment", "treatment", "per unit", "shrunken", "range low", "range high",
        "chance above 0", "rolled out, shrunken",
    )  # fmt: skip
    following = (
        "experiment", "treatment", "per arm", "smallest effect seen, rolled out", "worth",
        "cost", "net",
    )  # fmt: skip
    return (
        DataTable(name="shrunken", columns=shrunken, rows=arms),
        DataTable(name="next tests", columns=following, rows=tests),
        *_beside(found, scale),
    )


def _beside(found: Together, scale: float) -> Iterator[DataTable]:
    """Books, restatements, long run and plan, as far as they are there."""
    if found.totals:
        yield from finance_tables(found.totals, found.books, scale)
    if found.books is not None:
        yield _residuals(found.books.tie, scale)
        yield _bases(found.books.bases, scale)
    if found.drift is not None:
        yield _drift(found.drift, scale)
    if found.long_run is not None:
        rows = tuple(
            (
                each.name,
                each.method,
                each.beyond,
                each.horizon,
                _known(each.amount.estimate, scale),
                _known(each.amount.ci_low, scale),
                _known(each.amount.ci_high, scale),
                each.rate,
                each.model,
            )
            for each in found.long_run.lifetimes
        )
        columns = (
            "of", "how", "from day", "to day", "extra profit", "range low", "range high",
            "yearly discount", "rests on",
        )  # fmt: skip
        yield DataTable(name="long run", columns=columns, rows=rows)
    if found.plan is not None:
        yield _plan(found.plan, scale)


def _residuals(tie: Tie, scale: float) -> DataTable:
    rows = tuple(
        (
            each.account,
            each.name,
            ", ".join(each.lines),
            each.period,
            _exact(each.ledger, scale),
            _exact(each.books, scale),
            _exact(each.adjustment, scale),
            _exact(each.residual, scale),
            each.share,
            "yes" if each.is_over else "",
            each.guess,
        )
        for each in tie.cells
    )
    columns = (
        "account", "name", "lines", "period", "ledger", "books", "adjustment", "residual",
        "share of ledger", "over the limit", "looks like",
    )  # fmt: skip
    return DataTable(name="books", columns=columns, rows=rows)


def _bases(bases: TwoBases, scale: float) -> DataTable:
    rows = tuple(
        (
            each.line,
            _exact(each.order_basis, scale),
            _exact(-each.later, scale),
            _exact(each.earlier, scale),
            _exact(each.accounting_basis, scale),
            _exact(each.gap, scale),
        )
        for each in (*bases.rows, bases.total)
    )
    columns = (
        "line", "orders of the quarter", "booked later", "booked for earlier orders",
        "booked in the quarter", "unexplained",
    )  # fmt: skip
    return DataTable(name="two bases", columns=columns, rows=rows)


def _drift(drift: Drift, scale: float) -> DataTable:
    rows = tuple(
        (
            each.experiment,
            each.arm,
            _known(each.then, scale),
            _known(each.now, scale),
            _known(each.in_std_errors),
            _known(each.realised_change, scale),
            each.verdict_then,
            each.verdict_now,
            "yes" if each.is_restated else "",
            "yes" if each.flips else "",
            each.decision,
            "yes" if each.must_revisit else "",
            each.note,
        )
        for each in drift.rows
    )
    columns = (
        "experiment", "treatment", "then", "now", "moved by, standard errors", "in the test",
        "verdict then", "verdict now", "restated", "flips", "decided", "look again", "note",
    )  # fmt: skip
    return DataTable(name="restated", columns=columns, rows=rows)


def _plan(plan: NextPlan, scale: float) -> DataTable:
    rows = tuple(
        (
            each.option,
            each.group,
            each.now,
            each.then,
            each.spend_change * scale,
            each.profit_change.estimate * scale,
            _known(each.profit_change.ci_low, scale),
            _known(each.profit_change.ci_high, scale),
            _known(each.p_right),
        )
        for each in plan.moves
    )
    columns = (
        "campaign", "mechanism", "now", "then", "campaign money", "extra profit", "range low",
        "range high", "chance that it is right",
    )  # fmt: skip
    return DataTable(name="budget", columns=columns, rows=rows)


def _known(value: float, scale: float = 1.0) -> Value:
    return value * scale if math.isfinite(value) else None


def _exact(minor: int, scale: float) -> float:
    """Booked money in main units, to the last minor unit."""
    return round(minor * scale, 6)
