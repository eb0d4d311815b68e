"""For whom did it earn, and did anything else get worse?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.report import names, words
from upliftlab.report.focus import followed, in_focus, money_axis
from upliftlab.report.numbers import (
    NONE,
    Shown,
    money,
    p_value,
    percent,
    shown_money,
    shown_number,
    shown_share,
)
from upliftlab.report.parts import Item, Section, table
from upliftlab.report.plots import Row, forest

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.estimators.metrics import MetricEffect
    from upliftlab.report.parts import Table
    from upliftlab.segments import Segment
    from upliftlab.stats.estimate import Estimate

_STATES = {
    "inferior": ("fail", "got worse than its margin"),
    "inconclusive": ("warn", "is not yet shown to hold"),
    "non-inferior": ("pass", "holds"),
}
"""State of a guardrail -> state of its line and words, the worst first."""


def whom(analysis: Analysis) -> tuple[Section, ...]:
    """Return the sections on segments and on other metrics."""
    silent = analysis.rollout is not None and not analysis.segments
    found = [None if silent else _segments(analysis), _metrics(analysis)]
    return tuple(section for section in found if section is not None)


def _segments(analysis: Analysis) -> Section:
    if not analysis.segments:
        named = names.listed([*analysis.experiment.decide.segments])
        return Section(
            key="segments",
            title="Segments",
            finding=f"Segments by {named} are not compared: the notes say why."
            if named
            else "The plan names no segments, so this page speaks of everyone.",
            notes=("Segments looked up after the fact would be exploratory.",),
        )
    finding = _segment_finding(analysis)
    rows = _segment_rows(analysis)
    axis = money_axis(analysis, f"extra profit{followed(analysis.profits[0])}")
    return Section(
        key="segments",
        title="Segments",
        finding=finding,
        charts=(forest("segments", rows, axis, alt=finding),) if rows else (),
        tables=(_segment_table(analysis),),
        notes=(
            "Ranges in the chart count all declared segments at once.",
            "Segments that the plan does not name are exploratory and are not shown.",
        ),
    )


def _segment_finding(analysis: Analysis) -> str:
    called, first = in_focus(analysis)
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    known = [
        (segment, segment.profit_of(first.arm).profit_simultaneous)
        for segment in analysis.segments
    ]
    known = [pair for pair in known if math.isfinite(pair[1].estimate)]
    if not known:
        return f"Extra profit of {called} does not exist in any declared segment."
    best, least = (f(known, key=lambda pair: pair[1].estimate) for f in (max, min))
    said = (
        f"With {called}, {names.group(best[0].label)} bring "
        f"{shown_money(best[1], currency).with_range} per {unit}"
    )
    if best[0] is not least[0]:
        said += f", {names.group(least[0].label)} {shown_money(least[1], currency).with_range}"
    return f"{said}."


def _segment_rows(analysis: Analysis) -> list[Row]:
    called = names.arm_names(analysis.experiment)
    currency = analysis.experiment.currency
    shown = words.focus(analysis) if len(analysis.profits) > 6 else ""
    return [
        Row(
            label=called[profit.arm],
            estimate=profit.profit_simultaneous,
            text=shown_money(profit.profit_simultaneous, currency).text,
            group=_heading(segment),
        )
        for segment in analysis.segments
        for profit in segment.profits
        if shown in {"", profit.arm}
    ]


def _heading(segment: Segment) -> str:
    words_for = names.group(segment.label)
    return f"{words_for} ({percent(segment.share, decimals=0, signed=False)} of all)"


def _segment_table(analysis: Analysis) -> Table:
    called = names.arm_names(analysis.experiment)
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    rows = []
    for segment in analysis.segments:
        for profit in segment.profits:
            own = shown_money(profit.profit, currency)
            wide = shown_money(profit.profit_simultaneous, currency)
            out = shown_money(profit.rollout, currency)
            rows.append(
                (
                    names.group(segment.label), called[profit.arm], f"{segment.n:,}",
                    own.text, own.interval, wide.interval, out.text, out.interval,
                    p_value(segment.differs.get(profit.arm, math.nan)),
                )
            )  # fmt: skip
    many = names.plural(unit)
    return table(
        "Extra profit by declared segment",
        ("segment", "arm", many, f"per {unit}", "range", "range, all segments counted",
         "if rolled out", "range", "segments differ, p"),
        rows, text=2,
    )  # fmt: skip


def _metrics(analysis: Analysis) -> Section | None:
    if not analysis.metrics:
        return None
    guardrails = [m for m in analysis.metrics if m.role == "guardrail"]
    planned = [m for m in analysis.metrics if m.role != "guardrail" and m.is_planned]
    others = [m for m in analysis.metrics if m.role != "guardrail" and not m.is_planned]
    tables = [
        _metric_table(analysis, caption, found)
        for caption, found in (
            ("Guardrails", guardrails),
            ("Metrics that the plan names", planned),
            ("Exploratory: not named in the plan, no claim rests on them", others),
        )
        if found
    ]
    return Section(
        key="metrics",
        title="Guardrails and other metrics",
        finding=_metric_finding(analysis, guardrails),
        items=tuple(
            Item(state=_STATES[m.state][0], text=_guardrail_text(analysis, m))
            for m in sorted(guardrails, key=lambda m: [*_STATES, m.state].index(m.state))
            if m.state in _STATES
        ),
        tables=tuple(tables),
    )


def _metric_finding(analysis: Analysis, guardrails: list[MetricEffect]) -> str:
    if not guardrails:
        return "The plan names no guardrails; the metrics below are beside the verdict."
    called = names.arm_names(analysis.experiment)
    said = []
    for metric in dict.fromkeys(m.metric for m in guardrails):
        states = [
            f"{_STATES[state][1]} with {names.listed(arms)}"
            for state in _STATES
            if (
                arms := [
                    called[m.arm] for m in guardrails if (m.metric, m.state) == (metric, state)
                ]
            )
        ]
        said.append(f"{names.metric_name(metric, analysis.experiment)} {'; '.join(states)}")
    text = ". ".join(said)
    return f"{text[:1].upper()}{text[1:]}."


def _guardrail_text(analysis: Analysis, m: MetricEffect) -> str:
    called = names.arm_names(analysis.experiment)[m.arm]
    shown = _effect(analysis, m)
    return (
        f"{_name(analysis, m)} with {called}: {shown.with_range}; it may get worse by "
        f"{m.margin} and {_STATES[m.state][1]}."
    )


def _metric_table(analysis: Analysis, caption: str, found: list[MetricEffect]) -> Table:
    called = names.arm_names(analysis.experiment)
    has_state = any(m.state for m in found)
    has_p = any(math.isfinite(m.p_adjusted) for m in found)
    rows = []
    for m in found:
        shown, share = _effect(analysis, m), shown_share(m.effect)
        row = [
            _name(analysis, m), called[m.arm], _level(analysis, m, m.treatment),
            _level(analysis, m, m.control), shown.text, shown.interval or shown.note,
            share.value or NONE,
        ]  # fmt: skip
        row += [p_value(m.p_adjusted)] if has_p else []
        row += (
            [f"{_STATES.get(m.state, ('', m.state))[1]} (margin {m.margin})"]
            if has_state
            else []
        )
        rows.append(row)
    heads = ["metric", "arm", "with it", "control", "difference", "range", "share of control"]
    heads += ["p, corrected"] if has_p else []
    heads += ["state"] if has_state else []
    made = table(caption, heads, rows, text=2)
    return replace(made, numeric=made.numeric - {heads.index("state")}) if has_state else made


def _name(analysis: Analysis, m: MetricEffect) -> str:
    return names.metric_name(m.metric, analysis.experiment)


def _effect(analysis: Analysis, m: MetricEffect) -> Shown:
    return metric_shown(analysis, m.metric, m.effect)


def metric_shown(analysis: Analysis, metric: str, effect: Estimate) -> Shown:
    """Show a metric's difference in its own unit: money, points or a plain number."""
    kind = names.metric_kind(metric, analysis.experiment)
    if kind == "money":
        return shown_money(effect, analysis.experiment.currency)
    if kind == "share":
        return shown_number(effect, scale=100, unit=" points")
    return shown_number(effect)


def _level(analysis: Analysis, m: MetricEffect, level: float) -> str:
    kind = names.metric_kind(m.metric, analysis.experiment)
    if not math.isfinite(level):
        return NONE
    if kind == "money":
        width = m.effect.ci_high - m.effect.ci_low
        return money(level, analysis.experiment.currency, signed=False, width=width)
    if kind == "share":
        return percent(level, signed=False)
    return f"{level:,.4g}"
