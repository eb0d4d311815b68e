"""Can we trust it: checks, maturity, other windows, and what would flip the sign?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.checks import FAIL, INFO, PASS, WARN
from upliftlab.plan.currencies import currency_of
from upliftlab.report import names, over_time_words, words
from upliftlab.report.curves import Panel, Point, panels
from upliftlab.report.focus import in_focus, money_axis
from upliftlab.report.numbers import (
    NONE,
    count,
    percent,
    shown_money,
    shown_number,
    spaced,
)
from upliftlab.report.over_time_trust import over_time_trust
from upliftlab.report.parts import Item, Section, table
from upliftlab.report.plots import Row, forest
from upliftlab.stats.ratio import UNSTABLE_DENOMINATOR
from upliftlab.tipping import FUNDING

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.profit import Profit
    from upliftlab.report.parts import Table
    from upliftlab.report.style import Chart
    from upliftlab.stats.estimate import Estimate
    from upliftlab.tipping import Tipping

_ORDER = {FAIL: 0, WARN: 1, INFO: 2, PASS: 3}
_AGES = (
    ("net_sales_1h", 0.0, "1 hour"),
    ("net_sales_7d", 7.0, "7"),
    ("net_sales_14d", 14.0, "14"),
    ("net_sales_30d", 30.0, "30"),
)


def belief(analysis: Analysis) -> tuple[Section, ...]:
    """Return the sections on trust."""
    timed: tuple[Section, ...] = ()
    if analysis.rollout is not None:
        timed = over_time_trust(analysis, analysis.rollout)
    found = [
        _checks(analysis),
        *timed,
        _maturity(analysis),
        _windows(analysis),
        _tipping(analysis),
        _set_aside(analysis),
    ]
    return tuple(section for section in found if section is not None)


def _checks(analysis: Analysis) -> Section:
    ordered = sorted(analysis.checks, key=lambda c: (not c.is_blocking, _ORDER[c.verdict]))
    verdicts = [check.verdict for check in ordered]
    n_pass, n_warn, n_fail = (verdicts.count(v) for v in (PASS, WARN, FAIL))
    finding = f"{n_pass} pass, {n_warn} warn, {n_fail} fail"
    if blocked := words.blocking(analysis):
        finding += f": no verdict, because {words.check_text(analysis, blocked[0])}"
    elif n_warn + n_fail:
        finding += f"; first to read: {words.check_text(analysis, ordered[0])}"
    rows = [
        (
            check.name.replace("_", " "),
            check.verdict,
            f"{check.value:.4g}" if math.isfinite(check.value) else NONE,
            f"{check.threshold:.4g}" if math.isfinite(check.threshold) else NONE,
            "yes" if check.is_blocking else "no",
        )
        for check in ordered
    ]
    heads = ("check", "result", "value", "threshold", "forbids a verdict")
    return Section(
        key="checks",
        title="Checks",
        finding=f"{finding}.",
        items=tuple(
            Item(state=c.verdict, text=words.with_arm_names(analysis, spaced(c.message)))
            for c in ordered
        ),
        tables=(
            table("Values and thresholds", heads,
                  rows, text=2),
        ),
        notes=tuple(_sentence(spaced(note)) for note in analysis.notes),
    )  # fmt: skip


def _maturity(analysis: Analysis) -> Section | None:
    facts = analysis.facts
    curve = _settling(analysis)
    if not (facts.closed or facts.final or curve):
        return None
    called, first = in_focus(analysis)
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    finding = "Every window is closed" if _least(facts.closed) >= 1 else (
        f"{percent(_least(facts.closed), signed=False)} of windows are closed"
    )  # fmt: skip
    if facts.final:
        final = percent(_least(facts.final), signed=False)
        finding += f" and returns are final for {final} of orders"
    charts: tuple[Chart, ...] = ()
    if curve:
        early, late = (shown_money(curve[i][2], currency) for i in (0, -1))
        finding += (
            f"; extra sales of {called} read {early.value} per {unit} after 1 hour and "
            f"{late.value} after 30 days"
        )
        charts = (panels("maturity", [_settling_panel(analysis, curve)], f"{finding}."),)
    return Section(
        key="maturity",
        title="Maturity",
        finding=f"{finding}.",
        charts=charts,
        tables=tuple(_maturity_tables(analysis, first)),
    )


def _settling(analysis: Analysis) -> list[tuple[float, str, Estimate]]:
    """Read off what the arm in focus sold more, net of refunds booked by each age."""
    _, first = in_focus(analysis)
    return _settling_of(analysis, first.arm)


def _settling_of(analysis: Analysis, arm: str) -> list[tuple[float, str, Estimate]]:
    level = float(analysis.experiment.decide.confidence)
    return [
        (days, label, analysis.effects.contrast(name, arm).estimate(name, level=level))
        for name, days, label in _AGES
        if name in analysis.effects.names
    ]


def _settling_panel(analysis: Analysis, curve: list[tuple[float, str, Estimate]]) -> Panel:
    called, _ = in_focus(analysis)
    unit = currency_of(analysis.experiment.currency)
    final = analysis.experiment.returns_final_after
    return Panel(
        title=f"{called}: extra sales net of refunds so far, {unit.main} per "
        f"{analysis.experiment.unit}",
        below="days since the order",
        points=[Point(x=days, label=label, estimate=e) for days, label, e in curve],
        scale=1 / unit.scale,
        mark=math.nan if final is None or final > 30 else float(final),
        mark_label="returns final",
    )


def _maturity_tables(analysis: Analysis, first: Profit) -> list[Table]:
    facts, currency = analysis.facts, analysis.experiment.currency
    called = names.arm_names(analysis.experiment)
    out = []
    curve = _settling_of(analysis, first.arm)
    if curve:
        rows = []
        for profit in analysis.profits:
            shown = [shown_money(e, currency) for *_, e in _settling_of(analysis, profit.arm)]
            rows.append((called[profit.arm], *(s.compact for s in shown)))
        heads = ["1 hour" if d == 0 else names.window_name(int(d)) for d, *_ in curve]
        out.append(
            table(
                f"Extra sales net of refunds booked so far, per {analysis.experiment.unit}, by "
                "age of the order",
                ("arm", *heads),
                rows,
            )
        )
    if facts.closed or facts.final:
        rows = [
            (
                called.get(arm, arm),
                _share(facts.closed.get(arm)),
                _share(facts.final.get(arm)),
            )
            for arm in analysis.effects.arms
        ]
        how = ("arm", "windows closed", "orders whose returns are final")
        out.append(table("How final the data are", how, rows))
    return out


def _windows(analysis: Analysis) -> Section | None:
    if not analysis.other_windows:
        return None
    called, first = in_focus(analysis)
    by_arm = names.arm_names(analysis.experiment)
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    rows = [
        Row(
            label=names.window_name(profit.window) + (" (decides)" if profit is own else ""),
            estimate=profit.profit,
            text=shown_money(profit.profit, currency).text,
            group=by_arm[own.arm],
            is_grey=profit is not own,
        )
        for own in analysis.profits
        for profit in _all_windows(analysis, own)
    ]
    said = [
        f"{shown_money(profit.profit, currency).with_range} within "
        f"{names.window_name(profit.window)}"
        for profit in _all_windows(analysis, first)
    ]
    finding = f"Extra profit of {called} per {unit}: {names.listed(said)}."
    return Section(
        key="windows",
        title="Other windows",
        finding=finding,
        charts=(forest("windows", rows, money_axis(analysis, "extra profit"), alt=finding),),
        notes=("The plan's headline window decides; the others are shown for comparison.",),
    )


def _all_windows(analysis: Analysis, own: Profit) -> list[Profit]:
    others = [p for ps in analysis.other_windows.values() for p in ps if p.arm == own.arm]
    return sorted([own, *others], key=lambda p: p.window or 0)


def _tipping(analysis: Analysis) -> Section | None:
    called, first = in_focus(analysis)
    if not any(profit.tipping for profit in analysis.profits):
        return None
    nearest = words.nearest_tipping(first)
    reachable = [t for t in first.tipping if t.is_reachable]
    if nearest is None:
        finding = f"The sign of {called}'s profit flips with {words.NOTHING_FLIPS}."
    else:
        finding = f"The sign of {called}'s profit flips if {words.tipping_text(nearest)}"
        rest = len(reachable) - 1
        finding += (
            f"; {rest} other {'value is' if rest == 1 else 'values are'} within reach."
            if rest
            else "."
        )
    everything = [(p, t) for p in analysis.profits for t in p.tipping]
    tables = []
    if reachable:
        near = [(first, each) for each in reachable]
        caption = f"What would bring {called} to 0, one at a time"
        tables.append(_tipping_table(analysis, caption, near, is_open=True))
    tables.append(
        _tipping_table(analysis, "Every value, every arm, reachable or not", everything)
    )
    return Section(
        key="tipping",
        title="What flips it",
        finding=finding,
        tables=tuple(tables),
        notes=(
            "Each value is changed alone, all else as measured.",
            "Within reach: 0 to 100 % of the coupon, or 0 to 3 times a line as it is today.",
        ),
    )


def _tipping_table(
    analysis: Analysis,
    caption: str,
    found: list[tuple[Profit, Tipping]],
    *,
    is_open: bool = False,
) -> Table:
    called = names.arm_names(analysis.experiment)
    rows = []
    for profit, each in found:
        shown = _tipping_shown(each)
        note = shown[1] or each.at.note
        if each.at.note == UNSTABLE_DENOMINATOR and shown[1]:
            note = f"{shown[1]} (unstable)"
        rows.append(
            (
                called[profit.arm],
                names.tipping_name(each.name, each.label),
                percent(each.now, decimals=0, signed=False)
                if each.name == FUNDING
                else "as it is",
                shown[0],
                note,
            )
        )
    return table(
        caption,
        ("arm", "what", "now", "profit is 0 at", "range"),
        rows,
        text=2,
        is_open=is_open,
    )


def _tipping_shown(each: Tipping) -> tuple[str, str]:
    if not math.isfinite(each.at.estimate):
        return "no value", "it does not move the difference"
    if each.name == FUNDING:
        shown = shown_number(each.at, signed=False, scale=100, unit=" %")
        return percent(each.at.estimate, decimals=0, signed=False), shown.interval
    shown = shown_number(each.at, signed=False)
    return f"{shown.value} times today's", shown.interval


def _set_aside(analysis: Analysis) -> Section:
    aside = analysis.facts.set_aside
    total = sum(each.rows for each in aside)
    tested = over_time_words.followed_by(analysis)
    finding = (
        f"{count(total)} rows were set aside by {len(aside)} rules; {tested} are counted."
        if aside
        else f"No row was set aside; {tested} are counted."
    )
    called = names.arm_names(analysis.experiment)
    rows = [
        (
            each.source,
            each.rule,
            f"{each.rows:,}",
            ", ".join(f"{called.get(arm, arm)} {n:,}" for arm, n in each.arms.items()) or NONE,
        )
        for each in aside
    ]
    heads = ("table", "rule", "rows", "by arm")
    return Section(
        key="set-aside",
        title="Data that were set aside",
        finding=finding,
        tables=(table("Rows set aside, by rule", heads, rows, text=2),) if rows else (),
    )


def _share(value: float | None) -> str:
    return NONE if value is None else percent(value, signed=False)


def _least(shares: object) -> float:
    values = list(shares.values()) if isinstance(shares, dict) else []
    return min(values, default=1.0)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
