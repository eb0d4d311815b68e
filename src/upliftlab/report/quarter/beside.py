"""What stands beside the tests: two bases, restatements, the long run, next quarter's money."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.report import names
from upliftlab.report.numbers import MINUS, NONE, percent
from upliftlab.report.parts import Section, table
from upliftlab.report.plots import Axis, Row, forest, waterfall
from upliftlab.stats.estimate import interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.report.quarter.amounts import Amounts
    from upliftlab.report.style import Chart
    from upliftlab.review.long_files import LongRun
    from upliftlab.review.next_quarter import Move, NextPlan
    from upliftlab.review.postings import BridgeRow, TwoBases
    from upliftlab.review.restated import Drift, Restated
    from upliftlab.review.tie import Tie
    from upliftlab.stats.estimate import Estimate

MOST_DRAWN = 20
MOST_ROWS = 60
OFF = "off"


def bridge_section(bases: TwoBases, tie: Tie | None, amounts: Amounts) -> Section:
    """Orders of the quarter against what was booked in it, and what stays unexplained."""
    total = bases.total
    steps = [
        ("orders placed in the quarter", total.order_basis),
        ("booked later, or not yet", -total.later),
        ("booked now for earlier orders", total.earlier),
    ]
    rows = [_bar(label, value, amounts) for label, value in steps]
    rows.append(_bar("booked in the quarter", total.accounting_basis, amounts, is_total=True))
    money = amounts.plain(total.accounting_basis - total.order_basis)
    residual = "" if tie is None else f" Ledger against books: {as_text(tie.sentence)}."
    heads = (
        "line", "orders of the quarter", "booked later", "booked for earlier orders",
        "booked in the quarter", "unexplained",
    )  # fmt: skip
    lines = [_bridge_cells(each, amounts) for each in (*bases.rows, total)]
    return Section(
        key="bases",
        title="Orders of the quarter, and what the books show of them",
        finding=(
            f"The books show {money} against the quarter's own orders: "
            f"{amounts.plain(-total.later)} is booked later or not yet, and "
            f"{amounts.plain(total.earlier)} came from earlier orders; "
            f"{_gap(bases, amounts)}.{residual}"
        ),
        charts=(
            waterfall(
                "bases",
                rows,
                Axis(title=f"contribution by date, {amounts.unit}", scale=amounts.scale),
                f"From {rows[0].text} by order date to {rows[-1].text} by posting date.",
            ),
        ),
        tables=(table("The bridge, line by line", heads, lines),),
        notes=(
            (
                "Experiments count orders by the day they were placed; books by the day they "
                "are booked. Both are the whole shop's, tested or not."
            ),
        ),
    )


def drift_section(found: Drift, amounts: Amounts) -> Section:
    """What moved since the last review, and which decisions would flip."""
    moved = [row for row in found.rows if row.is_restated]
    flips = [f"{row.experiment}, {row.arm}" for row in moved if row.flips]
    change = amounts.plain(found.total_change, width=abs(found.total_change))
    named = f": {names.listed(flips[:4])}" if flips else ""
    more = f" and {len(flips) - 4} more" if len(flips) > 4 else ""
    heads = (
        "treatment", "then", "now", "verdict then", "verdict now", "decided", "in the test",
        "moved by, standard errors", "booked then", "booked now", "note",
    )  # fmt: skip
    cells = [_drift_cells(row, amounts) for row in (moved or found.rows)[:MOST_ROWS]]
    notes = [
        (
            "Frozen plans, read again when returns had come in. Restated is what moved by more "
            "than a tenth of its standard error, or whose verdict flips."
        )
    ]
    if found.vanished:
        notes.append(f"No longer on record: {names.listed(list(found.vanished[:6]))}.")
    return Section(
        key="drift",
        title="What changed since the last review",
        finding=(
            f"{found.restated} of {names.counted(len(found.rows), 'treatment')} restated, "
            f"{found.flips} verdicts flip{named}{more}; together {change} in the tests. "
            f"{_revisit(found)}"
        ),
        charts=() if not moved else (_drift_chart(moved, amounts),),
        tables=(table("Restated", heads, cells, text=1, is_open=bool(moved)),) if cells else (),
        notes=tuple(notes),
    )


def long_run_section(found: LongRun, amounts: Amounts) -> Section:
    """Lifetime value and what was pulled forward; in no total."""
    rows = [
        Row(
            label=_called(each.name), estimate=each.amount, text=amounts.shown(each.amount).text
        )
        for each in found.lifetimes
    ]
    chart = _long_chart(rows, amounts) if rows else ()
    cells = [
        (
            each.name,
            each.method,
            f"day {each.beyond} to {each.horizon}",
            (shown := amounts.shown(each.amount)).text,
            shown.interval or shown.note or NONE,
            amounts.plain(each.bypass) if math.isfinite(each.bypass) else NONE,
        )
        for each in found.lifetimes
    ]
    heads = ("of", "how", "days", "extra profit", "range", "a direct effect that undoes it")
    tables = [table("Lifetime value", heads, cells, text=3, is_open=True)] if cells else []
    if found.pulled:
        later = [
            (name, each.name, (shown := amounts.shown(each)).text, shown.interval or NONE)
            for name, pulled in found.pulled
            for each in pulled.by_quarter
        ]
        columns = ("of", "quarter since assignment", "extra", "range")
        tables.append(table("Quarter by quarter", columns, later, text=2, is_open=True))
    said = [f"{_called(name).capitalize()}: {each.sentence}." for name, each in found.pulled]
    models = [f"{_called(each.name).capitalize()}: {each.model}." for each in found.lifetimes]
    return Section(
        key="long-run",
        title="Beyond the headline window",
        finding=" ".join([_long_finding(found, amounts), *said]),
        charts=chart,
        tables=tuple(tables),
        notes=(*models, "Not part of any total: the headline ends with its window."),
    )


def budget_section(plan: NextPlan, amounts: Amounts) -> Section:
    """Where next quarter's money goes."""
    moves = [each for each in plan.moves if each.now != each.then]
    spend = amounts.plain(plan.spend, width=plan.spend, signed=False)
    budget = amounts.plain(plan.budget, width=plan.budget, signed=False)
    gain, profit = amounts.shown(plan.gain), amounts.shown(plan.profit)
    doubt = "" if _is_sure(plan.gain) else ", which the data cannot tell from 0 yet"
    heads = (
        "campaign", "now", "then", "campaign money", "extra profit", "range",
        "chance that the change is right",
    )  # fmt: skip
    known = plan.worth_knowing
    knowing = amounts.plain(known, width=known or 1.0, signed=False)
    notes = [
        f"{spend} of a budget of {budget}; the plan is expected to earn {profit.with_range}.",
        (
            "Levels are the treatments tested, rolled out, at their shrunken profit; a "
            "campaign that nobody tested is no choice here."
        ),
        f"Knowing every response before the quarter would add {knowing} on average.",
    ]
    if math.isfinite(plan.marginal):
        notes.append(
            f"One more unit of budget would earn {plan.marginal:+.2f}.".replace("-", "−")
        )
    cells = [_move_cells(each, amounts) for each in plan.moves[:MOST_ROWS]]
    return Section(
        key="budget",
        title="Where next quarter's money goes",
        finding=(
            f"{shift_text(plan, amounts)}: {gain.with_range} more than today's levels{doubt}."
            if moves and gain.value
            else "Today's levels stay: no change within the budget is expected to earn more."
        ),
        charts=(_budget_chart(moves, plan, amounts),) if moves else (),
        tables=(table("Campaign by campaign", heads, cells, text=3),),
        notes=tuple(notes),
    )


def as_text(sentence: str) -> str:
    """A sentence of the ledger with the minus sign of all other numbers."""
    return sentence.replace(" -", f" {MINUS}")


def shift_text(plan: NextPlan, amounts: Amounts) -> str:
    """Name the largest changes: "Move ¥0.8 M: stop x; start y".

    Money that moves is what campaigns lose, or what others get where that is more.
    """
    moves = [each for each in plan.moves if each.now != each.then]
    more = math.fsum(max(each.spend_change, 0.0) for each in moves)
    less = math.fsum(max(-each.spend_change, 0.0) for each in moves)
    money = max(more, less)
    parts = []
    for word, own in (
        ("stop", [each for each in moves if each.then == OFF]),
        ("start", [each for each in moves if each.now == OFF]),
        ("change", [each for each in moves if OFF not in {each.now, each.then}]),
    ):
        if own:
            told = names.listed([_called(each.option) for each in own[:2]])
            parts.append(
                f"{word} {told}" + (f" and {len(own) - 2} more" if len(own) > 2 else "")
            )
    return f"Move {amounts.plain(money, width=money, signed=False)}: {'; '.join(parts)}"


def _called(option: str) -> str:
    return option.replace("-", " ").replace("_", " ")


def _bar(
    label: str, value: float, amounts: Amounts, *, is_total: bool = False, rounded: bool = False
) -> Row:
    bare = interval(label, float(value), math.nan)
    text = amounts.plain(value, width=abs(value)) if rounded else amounts.plain(value)
    return Row(label=label, estimate=bare, text=text, is_total=is_total)


def _bridge_cells(row: BridgeRow, amounts: Amounts) -> tuple[str, ...]:
    found = (row.order_basis, -row.later, row.earlier, row.accounting_basis, row.gap)
    return (_called(row.line), *(amounts.plain(value) for value in found))


def _gap(bases: TwoBases, amounts: Amounts) -> str:
    gap = sum(abs(row.gap) for row in bases.rows)
    return "nothing is unexplained" if not gap else f"{amounts.plain(gap)} is unexplained"


def _revisit(found: Drift) -> str:
    if not found.must_revisit:
        return "No decision has lost its verdict."
    n = names.counted(found.must_revisit, "decision")
    return (
        f"{n} no longer {'has' if found.must_revisit == 1 else 'have'} the verdict behind it."
    )


def _drift_cells(row: Restated, amounts: Amounts) -> tuple[str, ...]:
    error = abs(row.change / row.in_std_errors) if row.in_std_errors else abs(row.change)
    return (
        f"{_called(row.experiment)}, {row.arm}",
        amounts.plain(row.then, width=4 * error),
        amounts.plain(row.now, width=4 * error),
        row.verdict_then,
        row.verdict_now,
        (row.decision + (": look again" if row.must_revisit else "")) or NONE,
        amounts.plain(row.realised_change, width=abs(row.realised_change)),
        f"{row.in_std_errors:+.2f}".replace("-", "−")
        if math.isfinite(row.in_std_errors)
        else NONE,
        percent(row.booked_then, decimals=0, signed=False),
        percent(row.booked_now, decimals=0, signed=False),
        row.note or NONE,
    )


def _drift_chart(moved: Sequence[Restated], amounts: Amounts) -> Chart:
    rows = [
        _bar(
            f"{_called(row.experiment)}, {row.arm}", row.realised_change, amounts, rounded=True
        )
        for row in moved[:MOST_DRAWN]
    ]
    axis = Axis(
        title=f"change of {amounts.what} in the test, {amounts.unit}", scale=amounts.scale
    )
    alt = f"Largest change since the last review: {rows[0].label}, {rows[0].text}."
    return forest("drift", rows, axis, alt)


def _long_chart(rows: Sequence[Row], amounts: Amounts) -> tuple[Chart, ...]:
    axis = Axis(title=f"{amounts.what} after the headline, {amounts.unit}", scale=amounts.scale)
    alt = "; ".join(f"{row.label}: {row.text}" for row in rows[:4]) + "."
    return (forest("long-run", rows[:MOST_DRAWN], axis, alt),)


def _long_finding(found: LongRun, amounts: Amounts) -> str:
    known = [each for each in found.lifetimes if math.isfinite(each.amount.estimate)]
    if not known:
        return "No long window or index says what customers bring after the headline window."
    best = max(known, key=lambda each: abs(each.amount.estimate))
    doubt = "" if _is_sure(best.amount) else ", which the data cannot tell from 0 yet"
    return (
        f"After the headline, up to day {best.horizon}, {_called(best.name)} brings "
        f"{amounts.shown(best.amount).with_range} more ({best.method}){doubt}."
    )


def _is_sure(estimate: Estimate) -> bool:
    return estimate.is_above_zero or estimate.is_below_zero


def _budget_chart(moves: Sequence[Move], plan: NextPlan, amounts: Amounts) -> Chart:
    rows = [
        Row(
            label=f"{_called(each.option)}: {each.now} → {each.then}",
            estimate=each.profit_change,
            text=amounts.shown(each.profit_change).text,
        )
        for each in sorted(moves[:MOST_DRAWN], key=lambda m: -m.profit_change.estimate)
    ]
    rows.append(
        Row(
            label="the plan against today",
            estimate=plan.gain,
            text=amounts.shown(plan.gain).text,
            is_total=True,
        )
    )
    axis = Axis(title=f"{amounts.what} next quarter, {amounts.unit}", scale=amounts.scale)
    return forest("budget", rows, axis, f"The plan gains {rows[-1].text}; {len(moves)} change.")


def _move_cells(each: Move, amounts: Amounts) -> tuple[str, ...]:
    shown = amounts.shown(each.profit_change)
    same = each.now == each.then
    return (
        _called(each.option),
        each.now,
        each.then,
        NONE if same else amounts.plain(each.spend_change, width=abs(each.spend_change)),
        NONE if same else shown.text,
        NONE if same else shown.interval or NONE,
        NONE
        if same or not math.isfinite(each.p_right)
        else percent(each.p_right, decimals=0, signed=False),
    )
