"""How small an effect is seen after how many weeks, and who is on when: drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.report.style import (
    ACCENT,
    CONTROL,
    GAIN,
    INK,
    LOSS,
    MUTED,
    RULE,
    SMALL,
    TEXT,
    Chart,
    Sheet,
)
from upliftlab.report.widths import shortened, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

_SHADES = (INK, GAIN, LOSS, CONTROL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One curve.

    Attributes:
        label: Written at its right end.
        x: Along.
        y: Up.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """One panel of curves.

    Attributes:
        title: What is up: a phrase with its unit.
        below: What is along.
        lines: Curves.
        level: Height of a dashed line across; NaN for none.
        level_label: Words on it.
        mark: Place of a dashed line upwards; NaN for none.
        mark_label: Words beside it.
        is_share: Whether heights are shares, from 0 to 100 %.
    """

    title: str
    below: str
    lines: tuple[Line, ...]
    level: float = math.nan
    level_label: str = ""
    mark: float = math.nan
    mark_label: str = ""
    is_share: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stretch of a time line.

    Attributes:
        label: What happens.
        start: Day it begins, counted from the first.
        days: How long it lasts.
        text: Its dates.
    """

    label: str
    start: float
    days: float
    text: str


def curves(name: str, panels: Sequence[Curves], alt: str, note: str = "") -> Chart:
    """Draw panels side by side, and under one another on a phone."""
    return Chart(name=name, alt=alt, draw=lambda width: _curves(panels, width), note=note)


def time_line(name: str, stages: Sequence[Stage], alt: str) -> Chart:
    """Draw what happens when, one bar under the other."""
    return Chart(name=name, alt=alt, draw=lambda width: _time_line(stages, width))


def who_when(
    name: str, rows: Mapping[str, Sequence[int]], periods: Sequence[str], alt: str, note: str
) -> Chart:
    """Draw one row per cluster and one square per period: empty off, filled on."""
    return Chart(
        name=name, alt=alt, draw=lambda width: _who_when(rows, periods, width), note=note
    )


def _curves(found: Sequence[Curves], width: int) -> Sheet:
    narrow = width < 600
    across = 1 if narrow else len(found)
    each = (width - 32 * (across - 1)) / across
    tall = 300.0
    sheet = Sheet(width, tall * (len(found) if narrow else 1))
    for i, panel in enumerate(found):
        left = 0.0 if narrow else i * (each + 32)
        _panel(sheet, panel, left, tall * i if narrow else 0.0, each)
    return sheet


def _panel(sheet: Sheet, panel: Curves, left: float, top: float, width: float) -> None:
    for i, words in enumerate(wrapped(panel.title, int(width / 8.8))):
        sheet.write(left, top + 10 + 17 * i, words, size=TEXT, bold=True)
    gutter, right = 58.0, 12.0
    several = len(panel.lines) > 1
    right += 64.0 if several else 0.0
    axes = sheet.panel(left + gutter, top + 58, width - gutter - right, 186)
    xs = [x for line in panel.lines for x in line.x]
    ys = [y for line in panel.lines for y in line.y if math.isfinite(y)]
    if not xs or not ys:
        sheet.write(left + gutter, top + 140, "nothing to draw", colour=MUTED)
        return
    _scale(axes, panel, xs, ys)
    for colour, line in zip(_SHADES * len(panel.lines), panel.lines, strict=False):
        axes.plot(line.x, line.y, color=colour, lw=2)
    if several:
        _name_ends(axes, panel.lines)
    _guides(axes, panel)
    sheet.write(left + gutter + (width - gutter) / 2, top + 284, panel.below, align="center",
                colour=MUTED, size=SMALL)  # fmt: skip


def _name_ends(axes: Axes, lines: Sequence[Line]) -> None:
    """Name curves at their right ends; those that end together share one label."""
    low, high = axes.get_ylim()
    near = 0.09 * (high - low)
    ends = sorted((min(max(line.y[-1], low), high), line.label) for line in lines)
    groups: list[tuple[float, list[str]]] = []
    for y, label in ends:
        if groups and y - groups[-1][0] < near:
            groups[-1][1].append(label)
        else:
            groups.append((y, [label]))
    for y, labels in groups:
        axes.annotate(shortened(", ".join(labels), 10), (lines[0].x[-1], y), xytext=(6, 0),
                      textcoords="offset points", va="center", fontsize=SMALL, color=INK,
                      annotation_clip=False)  # fmt: skip


def _scale(axes: Axes, panel: Curves, xs: Sequence[float], ys: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    low, high = min(0.0, *ys), max(0.0, *ys)
    if math.isfinite(panel.level):
        high = max(high, panel.level)
    # A curve that starts far up would flatten the part that matters.
    if math.isfinite(panel.level) and panel.level > 0:
        high = min(high, 4 * panel.level + 0.0)
        high = max(high, min(ys) * 1.3)
    if panel.is_share:
        low, high = 0.0, 1.0
    room = 0.05 * (high - low) or 1.0
    axes.set_ylim(low if low == 0 else low - room, high + room)
    axes.set_xlim(min(0.0, *xs), max(xs))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    percent = panel.is_share

    def shown(y: float, _: int) -> str:
        return f"{y * 100:.0f} %" if percent else f"{y:,.10g}".replace("-", "−")

    axes.yaxis.set_major_formatter(FuncFormatter(shown))
    axes.tick_params(axis="both", labelleft=True, labelbottom=True)
    axes.axhline(0, color=MUTED, lw=1)


def _guides(axes: Axes, panel: Curves) -> None:
    if math.isfinite(panel.level):
        axes.axhline(panel.level, color=ACCENT, lw=1.2, dashes=(4, 3))
        axes.annotate(panel.level_label, (1, panel.level), xycoords=("axes fraction", "data"),
                      xytext=(-2, 4), textcoords="offset points", ha="right", va="bottom",
                      fontsize=SMALL, color=ACCENT)  # fmt: skip
    low, high = axes.get_xlim()
    if math.isfinite(panel.mark) and low <= panel.mark <= high:
        late = panel.mark > low + 0.55 * (high - low)
        axes.axvline(panel.mark, color=MUTED, lw=1, dashes=(4, 3))
        axes.annotate(panel.mark_label, (panel.mark, 1), xycoords=("data", "axes fraction"),
                      xytext=(-5 if late else 5, 10), textcoords="offset points",
                      ha="right" if late else "left", va="top", fontsize=SMALL, color=MUTED,
                      annotation_clip=False)  # fmt: skip


def _time_line(stages: Sequence[Stage], width: int) -> Sheet:
    narrow = width < 600
    step = 54.0 if narrow else 34.0
    sheet = Sheet(width, step * len(stages) + 10)
    last = max(stage.start + stage.days for stage in stages) or 1.0
    left = 8.0 if narrow else 210.0
    room = width - left - (8.0 if narrow else 190.0)
    shades = (INK, CONTROL, RULE, RULE)
    for i, stage in enumerate(stages):
        y = step * i + 14
        sheet.write(8 if narrow else 0, y, stage.label, size=TEXT)
        bar = y + (20 if narrow else -9)
        axes = sheet.panel(left, bar, room, 16)
        axes.set_xlim(0, last)
        axes.set_ylim(0, 1)
        axes.barh(0.5, max(stage.days, last / 200), left=stage.start, height=1.0,
                  color=shades[min(i, 3)], lw=0)  # fmt: skip
        sheet.write(width - 4, y, stage.text, align="right", size=SMALL, colour=MUTED)
    return sheet


def _who_when(rows: Mapping[str, Sequence[int]], periods: Sequence[str], width: int) -> Sheet:
    names = list(rows)
    shown = names if len(names) <= 40 else [names[i * len(names) // 40] for i in range(40)]
    left = 90.0 if width < 600 else 170.0
    cell = min((width - left - 8) / max(len(periods), 1), 22.0)
    tall = min(cell, 16.0)
    sheet = Sheet(width, 34 + tall * len(shown) + 8)
    axes = sheet.panel(left, 30, cell * len(periods), tall * len(shown))
    axes.set_xlim(0, len(periods))
    axes.set_ylim(len(shown), 0)
    colour = {0: RULE, 1: INK, 2: CONTROL}
    for i, name in enumerate(shown):
        for state, shade in colour.items():
            spans = [(t + 0.06, 0.88) for t, s in enumerate(rows[name]) if s == state]
            if spans:
                axes.broken_barh(spans, (i + 0.1, 0.8), facecolors=shade, lw=0)
        if tall >= 11 or i % 2 == 0:
            sheet.write(left - 8, 30 + tall * (i + 0.5), shortened(name, int(left / 8)),
                        align="right", size=min(SMALL, tall + 1), colour=MUTED)  # fmt: skip
    for t in range(0, len(periods), max(1, len(periods) // (4 if width < 600 else 8))):
        sheet.write(left + cell * (t + 0.5), 16, periods[t], align="center", size=SMALL,
                    colour=MUTED)  # fmt: skip
    return sheet
