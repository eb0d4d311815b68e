"""How does the effect go with depth, and how does it settle with time?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.report.plots import HOW_TO_READ, span
from upliftlab.report.style import (
    CONTROL,
    INK,
    MUTED,
    RULE,
    SMALL,
    TEXT,
    Chart,
    Sheet,
)
from upliftlab.report.widths import wrapped
from upliftlab.stats.estimate import central

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from upliftlab.stats.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One estimate at one place of the horizontal axis.

    Attributes:
        x: Where it stands.
        label: What the axis says there.
        estimate: Its number; None for control, which stands at 0 by definition.
        is_marked: Whether it is distinguishably the best.
    """

    x: float
    label: str
    estimate: Estimate | None
    is_marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One curve with its own vertical scale.

    Attributes:
        title: What is up: a phrase with its unit.
        below: What is along.
        points: From left to right.
        scale: Axis units per unit of the estimates.
        mark: Where something changes, such as numbers becoming final; NaN for nowhere.
        mark_label: Words beside that line.
    """

    title: str
    below: str
    points: Sequence[Point]
    scale: float = 1.0
    mark: float = math.nan
    mark_label: str = ""


def panels(
    name: str, found: Sequence[Panel], alt: str, note: str = "", *, has_ranges: bool = True
) -> Chart:
    """Draw panels side by side, and under one another on a phone; each has its own scale."""
    how = HOW_TO_READ.replace("vertical", "horizontal") if has_ranges else ""
    return Chart(
        name=name,
        alt=alt,
        draw=lambda width: _draw(found, width),
        note=f"{note} {how}".strip(),
    )


def _draw(found: Sequence[Panel], width: int) -> Sheet:
    narrow = width < 600
    across = 1 if narrow else len(found)
    each = (width - 24 * (across - 1)) / across
    tall = 300.0
    sheet = Sheet(width, tall * (len(found) if narrow else 1))
    for i, panel in enumerate(found):
        left = 0.0 if narrow else i * (each + 24)
        _panel(sheet, panel, left, tall * i if narrow else 0.0, each)
    return sheet


def _panel(sheet: Sheet, panel: Panel, left: float, top: float, width: float) -> None:
    lines = wrapped(panel.title, int(width / 8.8))
    for i, line in enumerate(lines):
        sheet.write(left, top + 10 + 17 * i, line, size=TEXT, bold=True)
    gutter = 58.0
    axes = sheet.panel(left + gutter, top + 58, width - gutter - 12, 186)
    _vertical(axes, panel)
    drawn = [
        p for p in panel.points if p.estimate is None or math.isfinite(p.estimate.estimate)
    ]
    at = [0.0 if p.estimate is None else p.estimate.estimate * panel.scale for p in drawn]
    axes.plot([p.x for p in drawn], at, color=RULE, lw=1.5, zorder=1)
    for point in drawn:
        _point(axes, point, panel.scale)
    if math.isfinite(panel.mark):
        axes.axvline(panel.mark, color=MUTED, lw=1, dashes=(4, 3))
        axes.annotate(panel.mark_label, (panel.mark, 1), xycoords=("data", "axes fraction"),
                      xytext=(5, 2), textcoords="offset points", ha="left", va="top",
                      fontsize=SMALL, color=MUTED)  # fmt: skip
    axes.set_xticks([p.x for p in panel.points], [p.label for p in panel.points])
    axes.tick_params(axis="x", labelbottom=True, labelsize=SMALL, labelcolor=INK)
    xs = [p.x for p in panel.points]
    room = 0.08 * (max(xs) - min(xs)) or 1.0
    axes.set_xlim(min(xs) - room, max(xs) + room)
    sheet.write(left + gutter + (width - gutter) / 2, top + 284, panel.below, align="center",
                colour=MUTED, size=SMALL)  # fmt: skip


def _vertical(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    low, high = span([p.estimate for p in panel.points if p.estimate], panel.scale)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.10g}".replace("-", "−")))
    axes.tick_params(axis="y", labelleft=True)
    axes.axhline(0, color=MUTED, lw=1)


def _point(axes: Axes, point: Point, scale: float) -> None:
    if point.estimate is None:
        axes.plot([point.x], [0], "o", ms=7, color=CONTROL)
        return
    e = point.estimate
    if e.shape == "interval" and math.isfinite(e.ci_low):
        ends = [e.ci_low * scale, e.ci_high * scale]
        axes.plot([point.x] * 2, ends, color=INK, lw=1.2, solid_capstyle="butt")
        middle = [x * scale for x in central(e)]
        axes.plot([point.x] * 2, middle, color=INK, lw=4.5, solid_capstyle="butt")
    axes.plot([point.x], [e.estimate * scale], "o", ms=7, color=INK)
    if point.is_marked:
        axes.plot([point.x], [e.estimate * scale], "o", ms=15, mfc="none", mec=INK, mew=1.4)
        axes.annotate("best", (point.x, e.estimate * scale), xytext=(12, 8),
                      textcoords="offset points", fontsize=SMALL, color=INK)  # fmt: skip
