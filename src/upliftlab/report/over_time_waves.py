"""What did each wave earn, and in which period?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names, over_time_words
from upliftlab.report.focus import money_axis
from upliftlab.report.numbers import NONE, shown_money
from upliftlab.report.over_time_plots import Grid, Square, heat_map
from upliftlab.report.parts import Section, table
from upliftlab.report.plots import Row, forest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.analysis import Analysis
    from upliftlab.report.parts import Table
    from upliftlab.report.style import Chart
    from upliftlab.rollout.answer import Cell, Rollout, Wave
    from upliftlab.stats.estimate import Estimate

MOST_SAID = 4
"""Waves that are told one by one in a sentence."""


def waves_section(analysis: Analysis, rollout: Rollout) -> Section | None:
    """Profit by wave, and by wave and period."""
    if not rollout.waves and not rollout.cells:
        return None
    finding = _waves_finding(analysis, rollout)
    charts: list[Chart] = []
    grid = _grid(analysis, rollout.cells)
    reasons = list(dict.fromkeys(c.effect.note for c in rollout.cells if _is_missing(c.effect)))
    if grid is not None:
        charts.append(heat_map("waves-by-period", grid, alt=finding, note=_grid_note(reasons)))
    known = [wave for wave in over_time_words.switched(rollout) if wave.profit is not None]
    rows = [
        Row(label=_wave_name(wave), estimate=wave.profit, text=shown.text)
        for wave in known
        if wave.profit is not None
        and (shown := shown_money(wave.profit, analysis.experiment.currency)).value
    ]
    if len(rows) > 1:
        charts.append(forest("waves", rows, money_axis(analysis, "extra profit"), alt=finding))
    tables = [_waves_table(analysis, rollout)] if rollout.waves else []
    tables += [_cells_table(analysis, rollout)] if rollout.cells else []
    return Section(
        key="waves",
        title="Wave by wave",
        finding=finding,
        charts=tuple(charts),
        tables=tuple(tables),
    )


def event_text(event: int) -> str:
    """Print periods since the change with a minus sign."""
    return f"{event}".replace("-", "−")


def _waves_finding(analysis: Analysis, rollout: Rollout) -> str:
    currency = analysis.experiment.currency
    waves = over_time_words.switched(rollout)
    said = [
        f"{over_time_words.short_period(wave.start)} "
        f"{shown_money(wave.profit, currency).with_range}"
        for wave in waves
        if wave.profit is not None and not _is_missing(wave.profit)
    ]
    many = names.counted(len(waves), "wave")
    left = sum(wave.units for wave in rollout.waves) - sum(wave.units for wave in waves)
    tail = f"{names.counted(left, rollout.unit)} never switched" if left else (
        "nobody is left that never switched"
    )  # fmt: skip
    each = names.each(analysis.experiment)
    if len(said) > MOST_SAID:
        known = [w.profit for w in waves if w.profit is not None and not _is_missing(w.profit)]
        ends = [f(known, key=lambda e: e.estimate) for f in (min, max)]
        low, high = (shown_money(end, currency).with_range for end in ends)
        return f"Extra profit per {each} of {many}: the least {low}, the most {high}; {tail}."
    if len(said) > 1:
        return f"Extra profit per {each} by first {rollout.period}: {', '.join(said)}; {tail}."
    return f"{many} switched; {tail}."


def _wave_name(wave: Wave) -> str:
    who = names.counted(wave.clusters, "cluster") if wave.clusters else f"{wave.units:,}"
    return f"from {over_time_words.short_period(wave.start)} ({who})"


def _waves_table(analysis: Analysis, rollout: Rollout) -> Table:
    rows = []
    for wave in rollout.waves:
        shown = None if wave.profit is None else shown_money(
            wave.profit, analysis.experiment.currency
        )  # fmt: skip
        rows.append(
            (
                wave.start,
                f"{wave.clusters:,}" if wave.clusters else NONE,
                f"{wave.units:,}",
                NONE if shown is None else shown.value or NONE,
                "" if shown is None else shown.interval or shown.note,
            )
        )
    each = names.each(analysis.experiment)
    return table(
        "Who switched when",
        (f"first {rollout.period}", "clusters", names.plural(rollout.unit),
         f"extra profit per {each}", "range"),
        rows,
    )  # fmt: skip


def _cells_table(analysis: Analysis, rollout: Rollout) -> Table:
    rows = []
    for cell in rollout.cells:
        shown = shown_money(cell.effect, analysis.experiment.currency)
        rows.append(
            (cell.start, cell.period, event_text(cell.event), shown.value or NONE,
             shown.interval or shown.note)
        )  # fmt: skip
    period = rollout.period
    return table(
        f"Extra profit of every wave in every {period}, per {rollout.unit}",
        ("wave", period, f"{names.plural(period)} since", "extra profit", "range"),
        rows,
        text=2,
    )


def _grid(analysis: Analysis, cells: Sequence[Cell]) -> Grid | None:
    """Place waves below one another and periods side by side, in order of time."""
    if not cells:
        return None
    place = _places(cells)
    periods = sorted(place, key=lambda label: place[label])
    waves = list(dict.fromkeys(cell.start for cell in cells))
    unit = currency_of(analysis.experiment.currency)
    column = {label: i for i, label in enumerate(periods)}
    return Grid(
        waves=[over_time_words.short_period(wave) for wave in waves],
        periods=[over_time_words.short_period(label) for label in periods],
        starts=[column.get(wave, 0) for wave in waves],
        squares={
            (waves.index(cell.start), column[cell.period]): _square(cell, unit.scale)
            for cell in cells
        },
        unit=f"{unit.main} per {names.each(analysis.experiment)}",
    )


def _places(cells: Sequence[Cell]) -> dict[str, int]:
    """Period -> its place in time, read off the periods since each wave's start."""
    by_wave: dict[str, list[Cell]] = {}
    for cell in cells:
        by_wave.setdefault(cell.start, []).append(cell)
    place: dict[str, int] = {}
    for group in sorted(by_wave.values(), key=len, reverse=True):
        gaps = [place[cell.period] - cell.event for cell in group if cell.period in place]
        for cell in group:
            place.setdefault(cell.period, cell.event + (gaps[0] if gaps else 0))
    return place


def _square(cell: Cell, scale: int) -> Square:
    value = cell.effect.estimate / scale
    is_sure = cell.effect.is_above_zero or cell.effect.is_below_zero
    return Square(value=value, text=_tiny(value), is_sure=is_sure)


def _tiny(value: float) -> str:
    """A number that fits into a square: three digits, thousands as k."""
    if not math.isfinite(value):
        return ""
    size = abs(value)
    text = f"{size:.0f}" if size >= 10 else f"{size:.2g}"
    if size >= 999.5:
        text = f"{size / 1000:.0f}k" if size >= 9_950 else f"{size / 1000:.1f}k"
    sign = "−" if value < 0 else "+" if value > 0 else ""
    return f"{sign}{text}"


def _grid_note(reasons: Sequence[str]) -> str:
    text = (
        "Blue: gain; orange: loss; bold: its own range excludes 0. The thick line is where the "
        "wave switched; before it, numbers should be 0 but for chance."
    )
    why = names.listed([reason for reason in reasons if reason])
    return f"{text} Struck through: {why or 'no number'}." if reasons else text


def _is_missing(effect: Estimate) -> bool:
    return not math.isfinite(effect.estimate)
