"""How does the effect go with time since the change, and from wave to wave?"""

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
from upliftlab.report.widths import columns, shortened, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from upliftlab.rollout.answer import Point

_STRONGEST = 0.55
"""Opacity of the strongest cell: ink on it keeps its contrast, in light and in dark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One measure over time since the change.

    Attributes:
        title: What is up: a phrase with its unit.
        points: In order of time.
        scale: Axis units per unit of the estimates.
    """

    title: str
    points: Sequence[Point]
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What happened when, in periods since the change.

    Attributes:
        period: "week" or "day".
        below: What is along.
        announced: Periods before the change in which it was known.
        ramp: Periods until it has its full effect.
        is_paired: Whether points are pairs in order of time, with no before and no after.
    """

    period: str
    below: str
    announced: int = 0
    ramp: int = 0
    is_paired: bool = False

    @property
    def base(self) -> int:
        """The period that all others are compared with."""
        return -self.announced - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """One wave in one period.

    Attributes:
        value: Its number, in the unit shown; NaN where it does not exist.
        text: The number as it fits into a square.
        is_sure: Whether its range excludes 0.
    """

    value: float
    text: str
    is_sure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Waves by periods.

    Attributes:
        waves: Labels, one per row.
        periods: Labels, one per column.
        starts: Position of each wave's first treated period.
        squares: (wave, period) positions -> what stands there.
        unit: What the numbers are: "yuan per creator and week".
    """

    waves: Sequence[str]
    periods: Sequence[str]
    starts: Sequence[int]
    squares: Mapping[tuple[int, int], Square]
    unit: str


def event_study(name: str, curves: Sequence[Curve], clock: Clock, alt: str, note: str) -> Chart:
    """Draw the first curve large and the others small, each on its own scale."""
    return Chart(
        name=name, alt=alt, draw=lambda width: _event_study(curves, clock, width), note=note
    )


def heat_map(name: str, grid: Grid, alt: str, note: str) -> Chart:
    """Draw gains and losses by wave and period; on a phone periods run downwards."""
    return Chart(name=name, alt=alt, draw=lambda width: _heat_map(grid, width), note=note)


def upright(axes: Axes, low: float, high: float, most: int = 5) -> None:
    """Set a few round ticks on the left, and draw zero."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    room = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - room, high + room)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.10g}".replace("-", "−")))
    axes.tick_params(axis="y", labelleft=True)
    axes.axhline(0, color=MUTED, lw=1)


def _event_study(curves: Sequence[Curve], clock: Clock, width: int) -> Sheet:
    narrow = width < 600
    first, small = curves[0], curves[1:]
    across = 1 if narrow else 2
    tall, low = (330.0, 230.0) if narrow else (370.0, 240.0)
    sheet = Sheet(width, tall + low * math.ceil(len(small) / across))
    _curve(sheet, first, clock, (0.0, 0.0, float(width), tall))
    each = (width - 24 * (across - 1)) / across
    for i, curve in enumerate(small):
        left = (i % across) * (each + 24)
        _curve(sheet, curve, clock, (left, tall + low * (i // across), each, low))
    return sheet


def _curve(
    sheet: Sheet, curve: Curve, clock: Clock, box: tuple[float, float, float, float]
) -> None:
    left, top, width, height = box
    big = height > 300
    lines = wrapped(curve.title, int(width / 8.8))
    for i, line in enumerate(lines):
        sheet.write(left, top + 12 + 17 * i, line, size=TEXT, bold=True)
    gutter, head = 62.0, 24 + 17.0 * len(lines) + (18 if big else 4)
    axes = sheet.panel(left + gutter, top + head, width - gutter - 10, height - head - 58)
    _along(axes, curve.points, clock, width)
    upright(axes, *_ends(curve), most=6 if big else 4)
    if not clock.is_paired:
        _shade(axes, clock, big=big)
        axes.plot([clock.base], [0], "o", ms=7 if big else 5, mfc="none", mec=MUTED, mew=1.4)
    _band(axes, curve)
    for point in curve.points:
        _dot(axes, point, curve.scale, big=big, before=point.event < -clock.announced)
    if big and not clock.is_paired:
        _name_base(axes, clock)
    sheet.write(left + gutter + (width - gutter) / 2, top + height - 22, clock.below,
                align="center", colour=MUTED, size=SMALL)  # fmt: skip


def _name_base(axes: Axes, clock: Clock) -> None:
    """Say at the foot what everything is compared with, without leaving the panel."""
    low, high = axes.get_xlim()
    place = (clock.base - low) / (high - low)
    align = "left" if place < 0.15 else "right" if place > 0.85 else "center"
    axes.annotate("compared with", (clock.base, 0), xycoords=("data", "axes fraction"),
                  xytext=(0, 4), textcoords="offset points", ha=align, va="bottom",
                  fontsize=SMALL, color=MUTED)  # fmt: skip
    axes.plot([clock.base] * 2, [0.07, 0.5], color=MUTED, lw=0.8, dashes=(2, 3),
              transform=axes.get_xaxis_transform(), zorder=0)  # fmt: skip


def _along(axes: Axes, points: Sequence[Point], clock: Clock, width: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    events = [point.event for point in points]
    events += [] if clock.is_paired else [clock.base, 0]
    axes.set_xlim(min(events) - 0.8, max(events) + 0.8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=14 if width > 600 else 7, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f}".replace("-", "−")))
    axes.tick_params(axis="x", labelbottom=True)


def _ends(curve: Curve) -> tuple[float, float]:
    shown = [0.0]
    for point in curve.points:
        ends = (point.effect.estimate, point.effect.ci_low, point.effect.ci_high)
        shown += [x * curve.scale for x in (*ends, point.low, point.high) if math.isfinite(x)]
    return min(shown), max(shown)


def _shade(axes: Axes, clock: Clock, *, big: bool) -> None:
    """Shade the weeks that are neither before nor fully after, and name them."""
    axes.axvline(-0.5, color=INK, lw=1)
    spans = (
        ("announced", -clock.announced - 0.5, -0.5, "right", -5, 0.24),
        ("ramp", -0.5, clock.ramp - 0.5, "left", 5, 0.12),
    )
    for label, start, end, align, away, alpha in spans:
        if end <= start:
            continue
        axes.axvspan(start, end, color=CONTROL, alpha=alpha, lw=0, zorder=0)
        if big:
            axes.annotate(label, (-0.5, 1), xycoords=("data", "axes fraction"),
                          xytext=(away, 5), textcoords="offset points", ha=align, va="bottom",
                          fontsize=SMALL, color=MUTED)  # fmt: skip
    if big and not clock.ramp:
        axes.annotate("change", (-0.5, 1), xycoords=("data", "axes fraction"), xytext=(5, 5),
                      textcoords="offset points", ha="left", va="bottom", fontsize=SMALL,
                      color=MUTED)  # fmt: skip


def _band(axes: Axes, curve: Curve) -> None:
    """Shade the band that holds for all shown periods; it breaks where it is withheld."""
    for run in _runs(curve.points):
        xs = [float(point.event) for point in run]
        low = [point.low * curve.scale for point in run]
        high = [point.high * curve.scale for point in run]
        if len(run) == 1:
            xs, low, high = [xs[0] - 0.3, xs[0] + 0.3], low * 2, high * 2
        axes.fill_between(xs, low, high, color=ACCENT, alpha=0.18, lw=0, zorder=1)


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Neighbouring periods with a band; the base period between them does not break it."""
    out: list[list[Point]] = []
    last = None
    for point in points:
        if not (math.isfinite(point.low) and math.isfinite(point.high)):
            last = None
            continue
        if last is None or point.event - last > 2:
            out.append([])
        out[-1].append(point)
        last = point.event
    return out


def _dot(axes: Axes, point: Point, scale: float, *, big: bool, before: bool) -> None:
    e = point.effect
    if not math.isfinite(e.estimate):
        return
    colour = CONTROL if before else INK
    if e.shape == "interval" and math.isfinite(e.ci_low):
        axes.plot([point.event] * 2, [e.ci_low * scale, e.ci_high * scale], color=colour,
                  lw=2 if big else 1.4, solid_capstyle="butt", zorder=3)  # fmt: skip
    axes.plot([point.event], [e.estimate * scale], "o", ms=6 if big else 4, color=colour,
              zorder=4)  # fmt: skip


def _heat_map(grid: Grid, width: int) -> Sheet:
    narrow = width < 600
    down, right = _sides(grid, narrow=narrow)
    label = min(150.0, max(columns(text) for text in down) * 7.6 + 10)
    across = (width - label) / len(right)
    tall = 34.0 if not narrow else (18.0 if len(down) <= 60 else 8.0)
    head = 22.0 if narrow else 4.0
    bottom = head + tall * len(down)
    sheet = Sheet(width, bottom + (60 if narrow else 70))
    axes = sheet.panel(label, head, width - label, tall * len(down))
    axes.set_xlim(0, len(right))
    axes.set_ylim(len(down), 0)
    most = max((abs(s.value) for s in grid.squares.values() if math.isfinite(s.value)),
               default=1.0) or 1.0  # fmt: skip
    room = min(int((across - 2) / 6.1), 9) if tall >= 14 else 0
    for (wave, period), square in grid.squares.items():
        x, y = (wave, period) if narrow else (period, wave)
        _square(axes, square, (x, y), most, room)
    for wave, start in enumerate(grid.starts):
        ends = ([wave, wave + 1], [start, start]) if narrow else (
            [start, start], [wave, wave + 1]
        )  # fmt: skip
        axes.plot(*ends, color=INK, lw=3, solid_capstyle="butt", clip_on=False)
    _names(sheet, grid, (label, head, across, tall), narrow=narrow)
    _key(sheet, grid, most, bottom + (22 if narrow else 46), width)
    return sheet


def _square(axes: Axes, square: Square, at: tuple[int, int], most: float, room: int) -> None:
    """Blue for gains, orange for losses, struck through where there is no number."""
    from matplotlib.patches import Rectangle

    x, y = at
    if not math.isfinite(square.value):
        axes.add_patch(Rectangle((x, y), 1, 1, fc="none", ec=RULE, lw=0.6))
        for a, b in ((0.0, 0.5), (0.0, 1.0), (0.5, 1.0)):
            axes.plot([x + a, x + b], [y + b, y + a], color=CONTROL, lw=0.8)
        return
    strength = _STRONGEST * abs(square.value) / most
    fill = GAIN if square.value >= 0 else LOSS
    axes.add_patch(Rectangle((x, y), 1, 1, fc=fill, alpha=strength, lw=0))
    axes.add_patch(Rectangle((x, y), 1, 1, fc="none", ec=RULE, lw=0.6))
    size = 10 if columns(square.text) <= room else 8
    if columns(square.text) * size <= room * 10:
        axes.annotate(square.text, (x + 0.5, y + 0.5), ha="center", va="center_baseline",
                      fontsize=size, color=INK,
                      fontweight="bold" if square.is_sure else "normal")  # fmt: skip


def _sides(grid: Grid, *, narrow: bool) -> tuple[Sequence[str], Sequence[str]]:
    """Labels of rows and of columns: on a phone periods run downwards."""
    if narrow:
        return grid.periods, grid.waves
    return [f"from {wave}" for wave in grid.waves], grid.periods


def _names(
    sheet: Sheet, grid: Grid, at: tuple[float, float, float, float], *, narrow: bool
) -> None:
    """Write the labels of rows on the left and of columns above or below."""
    label, head, across, tall = at
    down, right = _sides(grid, narrow=narrow)
    each_row = max(1, math.ceil(15 / tall))
    for i, text in enumerate(down):
        if i % each_row == 0:
            sheet.write(0, head + tall * (i + 0.5), shortened(text, int(label / 7)), size=SMALL)
    widest = max(columns(text) for text in right) * 7.4 + 8
    step = max(1, math.ceil(widest / across))
    y = head - 10 if narrow else head + tall * len(down) + 14
    for i, text in enumerate(right):
        if i % step == 0:
            most = max(1, int(step * across / 7.2))
            sheet.write(label + across * (i + 0.5), y, shortened(text, most), align="center",
                        size=SMALL, colour=INK if narrow else MUTED)  # fmt: skip


def _key(sheet: Sheet, grid: Grid, most: float, y: float, width: int) -> None:
    """Say what the strongest blue and orange are."""
    lead = 60.0
    axes = sheet.panel(lead, y - 8, 120, 16)
    axes.set_xlim(-1, 1)
    axes.set_ylim(0, 1)
    for i in range(12):
        start = -1 + i / 6
        middle = start + 1 / 12
        axes.axvspan(start, start + 1 / 6, color=GAIN if middle > 0 else LOSS, lw=0,
                     alpha=_STRONGEST * abs(middle))  # fmt: skip
    text = f"{most:,.0f}" if most >= 10 else f"{most:.2g}"
    sheet.write(lead - 6, y, f"−{text}", align="right", size=SMALL, colour=MUTED)
    sheet.write(lead + 126, y, f"+{text}", size=SMALL, colour=MUTED)
    unit = shortened(grid.unit, int(width / 7))
    if width < 600:
        sheet.write(0, y + 20, unit, size=SMALL, colour=MUTED)
    else:
        sheet.write(lead + 146 + 7.6 * columns(text), y, unit, size=SMALL, colour=MUTED)
