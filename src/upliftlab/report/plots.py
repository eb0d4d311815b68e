"""Where does the money go, and how sure are we? Bars and intervals, one row per number."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from upliftlab.report.style import (
    CONTROL,
    GAIN,
    INK,
    LOSS,
    MUTED,
    RULE,
    SMALL,
    Chart,
    Sheet,
)
from upliftlab.report.widths import columns, shortened, wrapped
from upliftlab.stats.estimate import central

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from upliftlab.stats.estimate import Estimate

HOW_TO_READ = "Thin line: 95 % range; thick part: its middle 50 %; the vertical line is 0."
_ROW, _LINE, _TOP, _FOOT = 30.0, 15.0, 28.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a chart.

    Attributes:
        label: What it is.
        estimate: Its number, in the unit of the axis.
        text: The number as readers see it.
        group: Heading above the first row of its group; empty for none.
        is_grey: Whether it is context and not the finding.
        is_total: Whether it is the sum of the rows above.
    """

    label: str
    estimate: Estimate
    text: str
    group: str = ""
    is_grey: bool = False
    is_total: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What the numbers are.

    Attributes:
        title: A phrase with its unit: "extra profit per customer, yuan".
        scale: Axis units per unit of the estimates: 0.01 for fen shown in yuan.
    """

    title: str
    scale: float = 1.0


def forest(name: str, rows: Sequence[Row], axis: Axis, alt: str) -> Chart:
    """Draw estimates with their ranges under one another, zero always in view."""
    return Chart(
        name=name, alt=alt, draw=lambda width: _forest(rows, axis, width), note=HOW_TO_READ
    )


def waterfall(name: str, rows: Sequence[Row], axis: Axis, alt: str) -> Chart:
    """Draw bars that start where the one before ended and add to the last, the total."""
    return Chart(
        name=name,
        alt=alt,
        draw=lambda width: _waterfall(rows, axis, width),
        note=f"Each bar starts where the one above ended. {HOW_TO_READ}",
    )


def bars(name: str, rows: Sequence[Row], alt: str) -> Chart:
    """Draw shares as bars from 0, grouped; grey is control."""
    return Chart(name=name, alt=alt, draw=lambda width: _bars(rows, width))


def draw_interval(
    axes: Axes, estimate: Estimate, y: float, scale: float, colour: str = INK
) -> None:
    """Draw a point with its thin and thick line at height y."""
    value = estimate.estimate * scale
    if not math.isfinite(value):
        return
    if estimate.shape == "interval" and math.isfinite(estimate.ci_low):
        ends = [estimate.ci_low * scale, estimate.ci_high * scale]
        axes.plot(ends, [y, y], color=colour, lw=1.2, solid_capstyle="butt")
        low, high = central(estimate)
        if math.isfinite(low):
            axes.plot([low * scale, high * scale], [y, y], color=colour, lw=4.5,
                      solid_capstyle="butt")  # fmt: skip
    axes.plot([value], [y], "o", ms=6.5, color=colour)


def span(estimates: Sequence[Estimate], scale: float) -> tuple[float, float]:
    """Range of an axis that holds all intervals and 0."""
    ends = [0.0]
    for each in estimates:
        shown = (each.estimate, each.ci_low, each.ci_high)
        ends += [x * scale for x in shown if math.isfinite(x) and each.shape == "interval"]
        ends += [each.estimate * scale] if math.isfinite(each.estimate) else []
    low, high = min(ends), max(ends)
    room = 0.04 * (high - low) or 1.0
    return low - room, high + room


def ticks(axes: Axes, low: float, high: float, most: int) -> None:
    """Set a few round ticks with a minus sign."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}".replace("-", "−")))
    axes.tick_params(axis="x", labelbottom=True)


@dataclass(frozen=True, slots=True)
class Layout:
    """Heights of rows and widths of columns of one sheet."""

    width: int
    label: float
    value: float
    tops: tuple[float, ...]
    heads: tuple[tuple[float, str], ...]
    bottom: float
    is_narrow: bool

    @property
    def plot(self) -> tuple[float, float]:
        """Left edge and width of the plotting area."""
        if self.is_narrow:
            return 8.0, self.width - 16.0
        return self.label + 12, self.width - self.label - self.value - 24


def _layout(rows: Sequence[Row], width: int, tall: float) -> Layout:
    narrow = width < 600
    y, tops, heads, last = 4.0, [], [], ""
    for row in rows:
        if row.group != last:
            y += 8 if last else 0
            heads.append((y + 12, row.group))
            y, last = y + 26, row.group
        tops.append(y)
        y += 14 + tall if narrow else tall
    widest = max(
        (max(columns(row.label), 1.12 * columns(row.group)) for row in rows), default=0
    )
    return Layout(
        width,
        min(330.0, max(110.0, widest * 7.8)),
        max((columns(row.text) for row in rows), default=0) * 7.4,
        tuple(tops),
        tuple(heads),
        y,
        narrow,
    )


def begin(
    rows: Sequence[Row], width: int, *, tall: float = _ROW, foot: float = 46
) -> tuple[Sheet, Axes, Layout, list[float]]:
    """Lay out labels and numbers; return the sheet, the plot and the height of each row."""
    at = _layout(rows, width, tall)
    sheet = Sheet(width, at.bottom + foot)
    for y, group in at.heads:
        sheet.write(0, y, shortened(group, width // 8), bold=True)
    middles = []
    for row, top in zip(rows, at.tops, strict=True):
        text_y = top + (11 if at.is_narrow else tall / 2)
        middles.append(top + (14 + tall / 2 if at.is_narrow else tall / 2))
        room = (width - at.value) / 7.6 if at.is_narrow else at.label / 7.2
        colour = MUTED if row.is_grey else INK
        sheet.write(0, text_y, shortened(row.label, int(room)), colour=colour,
                    bold=row.is_total, size=SMALL if at.is_narrow else 14)  # fmt: skip
        sheet.write(width, text_y, row.text, align="right", colour=colour,
                    bold=row.is_total, size=SMALL if at.is_narrow else 14)  # fmt: skip
    left, wide = at.plot
    axes = sheet.panel(left, 0, wide, at.bottom)
    axes.set_ylim(at.bottom, 0)
    for top in at.tops:
        # Zero is drawn beside every row but does not run through headings.
        start, end = (top + 19, top + 14 + tall) if at.is_narrow else (top, top + tall)
        axes.plot([0, 0], [start, end], color=MUTED, lw=1, solid_capstyle="butt")
    return sheet, axes, at, middles


def finish(sheet: Sheet, axes: Axes, at: Layout, axis: Axis, ends: tuple[float, float]) -> None:
    """Set the ticks under the rows and write what they are."""
    ticks(axes, *ends, most=4 if at.is_narrow else 8)
    left, wide = at.plot
    lines = wrapped(axis.title, int(at.width / 7))
    for i, line in enumerate(lines[:2] if at.is_narrow else [axis.title]):
        sheet.write(left + wide / 2, at.bottom + 30 + i * _LINE, line, align="center",
                    colour=MUTED, size=SMALL)  # fmt: skip


def _forest(rows: Sequence[Row], axis: Axis, width: int) -> Sheet:
    sheet, axes, at, middles = begin(rows, width)
    for row, y in zip(rows, middles, strict=True):
        draw_interval(axes, row.estimate, y, axis.scale, MUTED if row.is_grey else INK)
    finish(sheet, axes, at, axis, span([row.estimate for row in rows], axis.scale))
    return sheet


def _waterfall(rows: Sequence[Row], axis: Axis, width: int) -> Sheet:
    sheet, axes, at, middles = begin(rows, width)
    reached, ends = 0.0, [0.0]
    half = 7.0 if at.is_narrow else 9.0
    last = len(rows) - 1
    for i, (row, y) in enumerate(zip(rows, middles, strict=True)):
        value = row.estimate.estimate * axis.scale
        start = 0.0 if row.is_total else reached
        end = start + value
        colour = GAIN if value >= 0 else LOSS
        axes.barh(y, value, left=start, height=2 * half, color=colour, alpha=0.85, lw=0)
        moved = _moved(row.estimate, start / axis.scale)
        _whisker(axes, moved, y, axis.scale)
        if i < last:
            axes.plot([end, end], [y, middles[i + 1]], color=RULE, lw=1, zorder=0)
        reached = end
        ends += [end, moved.ci_low * axis.scale, moved.ci_high * axis.scale]
    kept = [x for x in ends if math.isfinite(x)]
    room = 0.04 * (max(kept) - min(kept)) or 1.0
    finish(sheet, axes, at, axis, (min(kept) - room, max(kept) + room))
    return sheet


def _moved(estimate: Estimate, by: float) -> Estimate:
    """The same interval, drawn around the end of its bar."""
    return replace(
        estimate,
        estimate=estimate.estimate + by,
        ci_low=estimate.ci_low + by,
        ci_high=estimate.ci_high + by,
    )


def _whisker(axes: Axes, estimate: Estimate, y: float, scale: float) -> None:
    if estimate.shape != "interval" or not math.isfinite(estimate.ci_low):
        return
    ends = [estimate.ci_low * scale, estimate.ci_high * scale]
    axes.plot(ends, [y, y], color=INK, lw=1.2, solid_capstyle="butt")
    low, high = central(estimate)
    axes.plot([low * scale, high * scale], [y, y], color=INK, lw=3.6, solid_capstyle="butt")


def _bars(rows: Sequence[Row], width: int) -> Sheet:
    sheet, axes, _, middles = begin(rows, width, tall=22, foot=4)
    for row, y in zip(rows, middles, strict=True):
        colour = CONTROL if row.is_grey else INK
        axes.barh(y, row.estimate.estimate, height=8, color=colour, lw=0)
    most = max((row.estimate.estimate for row in rows), default=1.0) or 1.0
    axes.set_xlim(0, most * 1.01)
    return sheet
