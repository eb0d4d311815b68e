"""Where did the money go, from the first GMV down to profit?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.report import names, words
from upliftlab.report.focus import followed, in_focus, money_axis, top_rung
from upliftlab.report.numbers import (
    NONE,
    money,
    shown_money,
    shown_share,
)
from upliftlab.report.parts import Section, table
from upliftlab.report.plots import Row, forest, waterfall

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.profit import LineEffect, Profit
    from upliftlab.report.parts import Table
    from upliftlab.report.style import Chart


def waterfall_section(analysis: Analysis) -> Section | None:
    called, first = in_focus(analysis)
    tables = [_lines_table(analysis, profit) for profit in analysis.profits]
    chart = _waterfall_chart(analysis, first)
    shown = shown_money(first.profit, analysis.experiment.currency)
    if not shown.value:
        finding = f"Extra profit of {called} does not exist: {shown.text}."
    else:
        finding = _finding(analysis, called, first)
    return Section(
        key="waterfall",
        title=f"Where the {called} money went",
        finding=finding,
        charts=() if chart is None else (chart,),
        tables=tuple(tables),
        notes=_line_notes(analysis, first),
    )


def _finding(analysis: Analysis, called: str, first: Profit) -> str:
    currency, unit = analysis.experiment.currency, names.each(analysis.experiment)
    top = top_rung(first)
    if top is None:
        said = words.cannot_tell(first.profit, currency, of=f" extra profit per {unit}")
        return f"{called}: {said}."
    return (
        f"Per {unit}{followed(first)}, {called} moved {top.label} by "
        f"{shown_money(top.effect, currency).with_range}; after {_taken(first)}all costs, "
        f"profit: {words.cannot_tell(first.profit, currency)}."
    )


def _taken(profit: Profit) -> str:
    """What lies between the first rung and costs."""
    have = {line.line for line in profit.lines}
    taken = [
        word for key, word in (("coupon", "coupons"), ("returned", "returns")) if key in have
    ]
    return "".join(f"{word}, " for word in taken[:-1]) + (f"{taken[-1]} and " if taken else "")


def waterfall_rows(analysis: Analysis, profit: Profit) -> list[Row]:
    """Bars from the first line down to profit; lines that are 0 in both arms are left out."""
    currency = analysis.experiment.currency
    width = profit.profit.ci_high - profit.profit.ci_low
    rows = [
        Row(
            label=names.line_name(line, profit) + ("*" if line.status == "assumed" else ""),
            estimate=line.effect,
            text=money(line.effect.estimate, currency, width=width),
        )
        for line in profit.lines
        if _moves(line)
    ]
    total = Row(
        label="extra profit",
        estimate=profit.profit,
        text=money(profit.profit.estimate, currency, width=width),
        is_total=True,
    )
    return [*rows, total]


def _moves(line: LineEffect) -> bool:
    return line.treatment != 0 or line.control != 0 or line.effect.estimate != 0


def _waterfall_chart(analysis: Analysis, profit: Profit) -> Chart | None:
    rows = waterfall_rows(analysis, profit)
    if len(rows) < 3 or not math.isfinite(profit.profit.estimate):
        return None
    called = names.arm_names(analysis.experiment)[profit.arm]
    top, total = rows[0], rows[-1]
    return waterfall(
        "waterfall",
        rows,
        money_axis(analysis, f"extra money{followed(profit)}"),
        alt=f"Waterfall of {called}: {top.label} {top.text} per "
        f"{names.each(analysis.experiment)}, extra profit {total.text}.",
    )


def _lines_table(analysis: Analysis, profit: Profit) -> Table:
    currency = analysis.experiment.currency
    called = names.arm_names(analysis.experiment)[profit.arm]
    width = profit.profit.ci_high - profit.profit.ci_low
    rows = []
    for line in profit.lines:
        shown = shown_money(line.effect, currency)
        rows.append(
            (
                names.line_name(line, profit),
                names.status_name(line.status),
                line.stage,
                money(line.treatment, currency, width=width),
                money(line.control, currency, width=width),
                shown.text,
                shown.interval or shown.note,
            )
        )
    against = names.against(analysis.experiment)
    total = shown_money(profit.profit, currency)
    rows.append(("extra profit", "", "", "", "", total.text, total.interval))
    return table(
        f"{called}, line by line, per {names.each(analysis.experiment)}{followed(profit)}",
        ("line", "whose price", "stage", called, against, "difference", "range"),
        rows,
        text=3,
    )


def _line_notes(analysis: Analysis, profit: Profit) -> tuple[str, ...]:
    out = []
    if any(line.status == "assumed" and _moves(line) for line in profit.lines):
        out.append("* The price of this line is assumed, not yours.")
    missing = [names.cost_name(name) for name in analysis.economics.missing]
    if missing:
        out.append(
            f"Not counted, because neither plan nor data speak of it: {', '.join(missing)}."
        )
    out += [f"{line.label}: {line.note}." for line in analysis.economics.lines if line.note]
    still = [line.label for line in profit.lines if not _moves(line)]
    if still:
        out.append(f"Counted and 0 in both arms: {', '.join(still)}.")
    return tuple(out)


def ladder_section(analysis: Analysis) -> Section | None:
    called, first = in_focus(analysis)
    if len(first.ladder) < 2:
        return None
    windows = _by_window(analysis, first.arm)
    currency = analysis.experiment.currency
    rows = [
        Row(
            label=names.window_of(analysis.experiment, profit.window),
            estimate=found.effect,
            text=shown_money(found.effect, currency).text,
            group=rung.label,
            is_grey=profit.window != first.window,
        )
        for rung in first.ladder
        for profit in windows
        if (found := profit.rung(rung.name)) is not None
    ]
    top, last = first.ladder[0], first.ladder[-1]
    shares = shown_share(top.effect), shown_share(last.effect)
    finding = (
        f"{called} moved {top.label} by {shares[0].with_range}{followed(first)}, and profit by "
        f"{shares[1].with_range}."
        if all(share.value for share in shares)
        else f"With {called}, {top.label} changed by "
        f"{shown_money(top.effect, currency).with_range} per "
        f"{names.each(analysis.experiment)}, profit by "
        f"{shown_money(last.effect, currency).with_range}."
    )
    return Section(
        key="ladder",
        title="The ladder down to profit",
        finding=finding,
        charts=(forest("ladder", rows, money_axis(analysis, "extra money"), alt=finding),),
        tables=tuple(_ladder_table(analysis, profit.arm) for profit in analysis.profits),
    )


def _by_window(analysis: Analysis, arm: str) -> list[Profit]:
    found = [analysis.profit_of(arm)]
    for profits in analysis.other_windows.values():
        found += [profit for profit in profits if profit.arm == arm]
    return sorted(found, key=lambda profit: profit.window or 0)


def _ladder_table(analysis: Analysis, arm: str) -> Table:
    currency = analysis.experiment.currency
    called = names.arm_names(analysis.experiment)[arm]
    against = names.against(analysis.experiment)
    rows = []
    for profit in _by_window(analysis, arm):
        for rung in profit.ladder:
            amount, share = shown_money(rung.effect, currency), shown_share(rung.effect)
            rows.append(
                (
                    rung.label,
                    names.window_of(analysis.experiment, profit.window),
                    money(rung.control, currency, signed=False,
                          width=rung.effect.ci_high - rung.effect.ci_low),
                    amount.text,
                    amount.interval,
                    share.value or NONE,
                    share.interval or share.note,
                )
            )  # fmt: skip
    return table(
        f"The ladder of {called}, per {names.each(analysis.experiment)}",
        ("rung", "window", against, "difference", "range", "share of control", "range, %"),
        rows,
        text=2,
    )
