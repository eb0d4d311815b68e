"""When did it earn: before and since the change, by stretch of time, by wave?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names, over_time_words, words
from upliftlab.report.focus import in_focus, money_axis
from upliftlab.report.numbers import NONE, shown_money, shown_number
from upliftlab.report.over_time_plots import (
    Clock,
    Curve,
    event_study,
)
from upliftlab.report.over_time_waves import event_text, waves_section
from upliftlab.report.parts import Section, table
from upliftlab.report.plots import Row, forest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.analysis import Analysis
    from upliftlab.report.numbers import Shown
    from upliftlab.report.parts import Table
    from upliftlab.rollout.answer import Path, Rollout
    from upliftlab.stats.estimate import Estimate

PROFIT = "profit"
APART = "The change is judged on the time since it; its announcement stands apart."
BESIDE = ("creator", "gmv_merchant", "gmv_platform", "kept_sales", "ad_spend")
"""Measures that are drawn beside profit, the most important first."""
MOST_BESIDE = 4


def over_time(analysis: Analysis, rollout: Rollout) -> tuple[Section, ...]:
    """Return the sections on when the change earned."""
    found = [
        event_section(analysis, rollout),
        stretches_section(analysis, rollout),
        waves_section(analysis, rollout),
    ]
    return tuple(section for section in found if section is not None)


def event_section(analysis: Analysis, rollout: Rollout) -> Section | None:
    """Profit before and since the change, other measures beside it."""
    path = rollout.path(PROFIT)
    if path is None or not path.points:
        return None
    paired = rollout.design == "switchback"
    finding = _event_finding(analysis, rollout, path)
    others = [each for each in rollout.paths if each.measure != PROFIT and each.points]
    clock = Clock(
        period=rollout.period,
        below=_along(rollout),
        announced=over_time_words.announced(analysis.experiment),
        ramp=over_time_words.ramp(analysis.experiment),
        is_paired=paired,
    )
    chart = event_study(
        "event-study",
        [_curve(analysis, each) for each in (path, *_beside(others))],
        clock,
        alt=finding,
        note=_how_to_read(rollout, many=bool(others)),
    )
    return Section(
        key="event-study",
        title="Pair by pair" if paired else "Before and since the change",
        finding=finding,
        charts=(chart,),
        tables=(_profit_table(analysis, path), *_other_tables(analysis, others)),
        notes=(*_base_note(clock), *_notes((path, *others))),
    )


def stretches_section(analysis: Analysis, rollout: Rollout) -> Section | None:
    """Announced, ramp, after the ramp, since the change, all together."""
    if not rollout.stretches:
        return None
    currency, each = analysis.experiment.currency, names.each(analysis.experiment)
    rows, detail, said = [], [], []
    for stretch in rollout.stretches:
        shown = shown_money(stretch.profit, currency)
        total = shown_money(stretch.total, currency)
        detail.append(
            (
                stretch.label, shown.value or NONE, shown.interval or shown.note,
                total.value or NONE, total.interval or total.note,
                f"{stretch.unit_periods:,.0f}",
            )
        )  # fmt: skip
        if shown.value:
            rows.append(Row(label=stretch.label, estimate=stretch.profit, text=shown.value))
            said.append(f"{stretch.label} {shown.with_range}")
    finding = f"Extra profit per {each}: {'; '.join(said)}." if said else (
        f"Extra profit does not exist for any stretch: {rollout.stretches[0].profit.note}."
    )  # fmt: skip
    axis = money_axis(analysis, "extra profit")
    heads = (
        "when", "extra profit", "range", "in total", "its range",
        f"{rollout.unit}-{names.plural(rollout.period)}",
    )  # fmt: skip
    return Section(
        key="stretches",
        title="Stretch by stretch",
        finding=finding,
        charts=(forest("stretches", rows, axis, alt=finding),) if rows else (),
        tables=(
            table(f"Extra profit by stretch of time, per {each} and in total", heads, detail),
        ),
        notes=(APART,) if rollout.stretch("announced") else (),
    )


def _event_finding(analysis: Analysis, rollout: Rollout, path: Path) -> str:
    called, first = in_focus(analysis)
    since = rollout.stretch("since")
    profit = first.profit if since is None else since.profit
    each = names.each(analysis.experiment)
    said = words.cannot_tell(
        profit, analysis.experiment.currency, of=f" extra profit per {each}"
    )
    if rollout.design == "switchback":
        return f"While {called} was on: {said}."
    text = f"Since the change to {called}: {said}"
    known = over_time_words.announced(analysis.experiment)
    banded = [p for p in path.points if math.isfinite(p.low) and math.isfinite(p.high)]
    after = [p for p in banded if p.event >= 0]
    before = [p for p in banded if p.event < -known]
    times = names.plural(rollout.period)
    if after:
        above, below = sum(p.low > 0 for p in after), sum(p.high < 0 for p in after)
        text += f"; the band lies above 0 in {above} of {len(after)} {times} since it"
        text += f" and below in {below}" if below else ""
    if before:
        inside = sum(p.low <= 0 <= p.high for p in before)
        text += f", and includes 0 in {inside} of {len(before)} {times} before it"
        text += " was known" if known else ""
    return f"{text}."


def _curve(analysis: Analysis, path: Path) -> Curve:
    unit, each = currency_of(analysis.experiment.currency), names.each(analysis.experiment)
    if path.is_money:
        return Curve(
            title=f"{path.label}: change per {each}, {unit.main}",
            points=path.points,
            scale=1 / unit.scale,
        )
    return Curve(title=f"{path.label}: change per {each}", points=path.points)


def _beside(others: Sequence[Path]) -> list[Path]:
    """What is drawn small: creators' income, then sales; of two GMV the shop's."""
    found = {path.measure: path for path in others}
    chosen = [found[name] for name in BESIDE if name in found]
    if "gmv_merchant" in found:
        chosen = [path for path in chosen if path.measure != "gmv_platform"]
    return (chosen or list(others))[:MOST_BESIDE]


def _notes(paths: Sequence[Path]) -> list[str]:
    """What readers must know of the measures, each sentence once, with whose it is."""
    found: dict[str, list[str]] = {}
    for path in paths:
        if path.note:
            found.setdefault(path.note, []).append(path.label)
    return [
        _sentence(note if len(whose) == len(paths) else f"{names.listed(whose)}: {note}")
        for note, whose in found.items()
    ]


def _base_note(clock: Clock) -> tuple[str, ...]:
    if clock.is_paired:
        return ()
    known = " was known" if clock.announced else ""
    return (f"Everything is compared with the last {clock.period} before the change{known}.",)


def _how_to_read(rollout: Rollout, *, many: bool) -> str:
    text = (
        "Dot and line: effect with its own 95 % range; blue band: holds for all shown "
        f"{names.plural(rollout.period)} at once. Grey dots lie before the change was known."
    )
    if rollout.design == "switchback":
        text = "One dot is one pair: with the change less without it."
    return f"{text} Each panel has its own scale." if many else text


def _along(rollout: Rollout) -> str:
    times = names.plural(rollout.period)
    if rollout.design == "switchback":
        return f"pairs of {times}, with the change and without it"
    return f"{times} since the change"


def _profit_table(analysis: Analysis, path: Path) -> Table:
    currency = analysis.experiment.currency
    rows = []
    for point in path.points:
        shown = shown_money(point.effect, currency)
        rows.append(
            (event_text(point.event), shown.value or NONE, shown.interval or shown.note,
             _band(analysis, point.low, point.high))
        )  # fmt: skip
    period = analysis.experiment.period or "period"
    paired = analysis.experiment.design == "switchback"
    heading = "pair" if paired else f"{names.plural(period)} since the change"
    period = "pair" if paired else period
    return table(
        f"Extra profit by {period}, per {names.each(analysis.experiment)}",
        (heading, "extra profit", "range", "band"),
        rows,
    )


def _other_tables(analysis: Analysis, others: Sequence[Path]) -> tuple[Table, ...]:
    """All other measures in one table, one column each."""
    if not others:
        return ()
    events = sorted({point.event for path in others for point in path.points})
    found = {(path.measure, p.event): p.effect for path in others for p in path.points}
    rows = [
        (
            event_text(event),
            *(
                _shown(analysis, path, found[path.measure, event]).compact
                if (path.measure, event) in found
                else NONE
                for path in others
            ),
        )
        for event in events
    ]
    period = analysis.experiment.period or "period"
    paired = analysis.experiment.design == "switchback"
    heading = "pair" if paired else f"{names.plural(period)} since the change"
    period = "pair" if paired else period
    return (
        table(
            f"Change of everything else by {period}, per {names.each(analysis.experiment)}",
            (heading, *(path.label for path in others)),
            rows,
        ),
    )


def _shown(analysis: Analysis, path: Path, effect: Estimate) -> Shown:
    if path.is_money:
        return shown_money(effect, analysis.experiment.currency)
    return shown_number(effect)


def _band(analysis: Analysis, low: float, high: float) -> str:
    from upliftlab.stats.estimate import Estimate

    if not (math.isfinite(low) and math.isfinite(high)):
        return "withheld"
    both = Estimate(name="band", estimate=(low + high) / 2, ci_low=low, ci_high=high)
    return shown_money(both, analysis.experiment.currency).interval


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
