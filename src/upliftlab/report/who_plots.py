"""How much does the next customer bring, and what does the tree look like?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.report.over_time_plots import upright
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
    from collections.abc import Sequence

    from matplotlib.axes import Axes

GUTTER, RIGHT, TOP, FOOT = 62.0, 14.0, 40.0, 52.0
"""Room around the plotting area of a curve, in pixels; a marker over the chart needs it."""

TALL = 350.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Strand:
    """One curve with the band that holds for all its places at once.

    Attributes:
        label: What it is; written beside its end.
        xs: From left to right.
        ys: Its height.
        low: Lower end of the band; empty for a curve of comparison.
        high: Upper end.
    """

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place on the axis with words.

    Attributes:
        x: Where.
        label: What is there.
    """

    x: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the axes of a curve are.

    Attributes:
        title: What is up: a phrase with its unit.
        below: What is along.
        is_share: Whether the axis along is a share.
        note: How to read it.
    """

    title: str
    below: str
    is_share: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One end of a tree as it is drawn.

    Attributes:
        path: Conditions from the root.
        arm: What units there get.
        share: "31 % of all".
        text: What it brings, with its range.
        sign: 1 for gain, -1 for loss, 0 where the data cannot tell or nothing is given.
    """

    path: tuple[str, ...]
    arm: str
    share: str
    text: str
    sign: int = 0


def curve(
    name: str, strands: Sequence[Strand], marks: Sequence[Mark], frame: Frame, alt: str
) -> Chart:
    """Draw a curve with its band, others in grey beside it, and places marked."""
    return Chart(
        name=name,
        alt=alt,
        draw=lambda width: _curve(strands, marks, frame, width),
        note=frame.note,
    )


def tree(name: str, branches: Sequence[Branch], alt: str, note: str) -> Chart:
    """Draw a small tree: conditions from left to right, what each end gets and brings."""
    return Chart(name=name, alt=alt, draw=lambda width: _tree(branches, width), note=note)


def _curve(strands: Sequence[Strand], marks: Sequence[Mark], frame: Frame, width: int) -> Sheet:
    sheet = Sheet(width, TALL)
    for i, line in enumerate(wrapped(frame.title, int(width / 8.6))[:2]):
        sheet.write(0, 10 + 16 * i, line, bold=True, size=TEXT)
    axes = sheet.panel(GUTTER, TOP, width - GUTTER - RIGHT, TALL - TOP - FOOT)
    ends = [y for s in strands for y in (*s.ys, *s.low, *s.high) if math.isfinite(y)] + [0.0]
    upright(axes, min(ends), max(ends))
    most = max((x for s in strands for x in s.xs if math.isfinite(x)), default=1.0)
    least = min((x for s in strands for x in s.xs if math.isfinite(x)), default=0.0)
    axes.set_xlim(least, most)
    for strand in reversed(strands):
        _strand(axes, strand, is_first=strand is strands[0])
    _marks(axes, marks, sheet.is_narrow)
    _ticks(axes, frame, 4 if sheet.is_narrow else 8)
    for i, line in enumerate(wrapped(frame.below, int(width / 7.4))[:2]):
        sheet.write(width / 2, TALL - 24 + 15 * i, line, align="center", colour=MUTED,
                    size=SMALL)  # fmt: skip
    return sheet


def _ticks(axes: Axes, frame: Frame, most: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def shown(x: float, _: object) -> str:
        if frame.is_share:
            return f"{100 * x:.0f} %"
        return f"{x:,.10g}".replace("-", "−")

    axes.xaxis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(shown))
    axes.tick_params(axis="x", labelbottom=True)


def _strand(axes: Axes, strand: Strand, *, is_first: bool) -> None:
    if strand.low:
        axes.fill_between(strand.xs, strand.low, strand.high, color=GAIN, alpha=0.16, lw=0)
    colour, thick = (INK, 2.2) if is_first else (CONTROL, 1.6)
    axes.plot(strand.xs, strand.ys, color=colour, lw=thick, solid_capstyle="butt")
    if strand.label and strand.xs:
        at = (2 * len(strand.xs)) // 3
        left = strand.xs[at] < (axes.get_xlim()[0] + axes.get_xlim()[1]) / 2
        axes.annotate(strand.label, (strand.xs[at], strand.ys[at]),
                      xytext=(6 if left else -6, -14),
                      textcoords="offset points", ha="left" if left else "right",
                      fontsize=SMALL, color=INK if is_first else MUTED)  # fmt: skip


def _marks(axes: Axes, marks: Sequence[Mark], narrow: bool) -> None:  # noqa: FBT001
    low, high = axes.get_xlim()
    placed = [m for m in marks if math.isfinite(m.x) and low <= m.x <= high]
    for i, mark in enumerate(placed):
        axes.axvline(mark.x, color=ACCENT, lw=1, dashes=(4, 3))
        right = mark.x > (low + high) / 2
        label = shortened(mark.label, 26) if narrow else mark.label
        axes.annotate(label, (mark.x, 0), xycoords=("data", "axes fraction"),
                      xytext=(-5 if right else 5, 6 + 15 * i), textcoords="offset points",
                      ha="right" if right else "left", fontsize=SMALL,
                      color=ACCENT)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Box:
    """What of a tree stands in one rectangle of the sheet."""

    left: float
    top: float
    bottom: float
    column: float
    depth: int = 0


def _tree(branches: Sequence[Branch], width: int) -> Sheet:
    narrow = width < 600
    if narrow:
        return _list(branches, width)
    deep = max((len(b.path) for b in branches), default=0)
    row = 66.0
    sheet = Sheet(width, row * max(len(branches), 1) + 8)
    axes = sheet.panel(0, 0, width, row * max(len(branches), 1) + 8)
    axes.set_xlim(0, width)
    axes.set_ylim(row * max(len(branches), 1) + 8, 0)
    column = min(240.0, (width - 330.0) / max(deep, 1))
    _grow(sheet, axes, list(branches), _Box(0.0, 0.0, row * len(branches), column))
    return sheet


def _grow(sheet: Sheet, axes: Axes, branches: Sequence[Branch], box: _Box) -> float:
    """Draw a subtree; return the height of its root."""
    column, depth = box.column, box.depth
    if len(branches) == 1 and len(branches[0].path) == depth:
        middle = (box.top + box.bottom) / 2
        _leaf(sheet, axes, branches[0], box.left, middle)
        return middle
    groups: dict[str, list[Branch]] = {}
    for each in branches:
        groups.setdefault(each.path[depth], []).append(each)
    row = (box.bottom - box.top) / len(branches)
    heights, top = [], box.top
    for said, group in groups.items():
        bottom = top + row * len(group)
        y = _grow(sheet, axes, group, _Box(box.left + column, top, bottom, column, depth + 1))
        heights.append(y)
        axes.plot([box.left + 14, box.left + column - 6], [y, y], color=RULE, lw=1.5)
        for i, line in enumerate(wrapped(said, int((column - 26) / 7.2))[:2]):
            sheet.write(box.left + 20, y - 22 + 14 * i, line, size=SMALL)
        top = bottom
    axes.plot([box.left + 14] * 2, [min(heights), max(heights)], color=RULE, lw=1.5)
    return sum(heights) / len(heights)


def _leaf(sheet: Sheet, axes: Axes, branch: Branch, left: float, y: float) -> None:
    colour = {1: GAIN, -1: LOSS}.get(branch.sign, CONTROL)
    axes.plot([left, left], [y - 24, y + 24], color=colour, lw=5, solid_capstyle="butt")
    sheet.write(left + 12, y - 11, f"{shortened(branch.arm, 26)} · {branch.share}", bold=True)
    sheet.write(left + 12, y + 10, branch.text, colour=MUTED, size=SMALL)


def _list(branches: Sequence[Branch], width: int) -> Sheet:
    """On a phone each end stands under its conditions."""
    room = int(width / 7.0)
    rows = [(b, wrapped(" and ".join(b.path) or "everyone", room)) for b in branches]
    sheet = Sheet(width, sum(62.0 + 15 * len(lines) for _, lines in rows) + 4)
    axes = sheet.panel(0, 0, width, sheet.height)
    axes.set_xlim(0, width)
    axes.set_ylim(sheet.height, 0)
    y = 10.0
    for branch, lines in rows:
        for line in lines:
            sheet.write(0, y, line, size=SMALL)
            y += 15
        _leaf(sheet, axes, branch, 4.0, y + 20)
        y += 62
    return sheet
