"""How far can the answer be pushed: unequal trends, one cluster less, the other sales?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.report.over_time_plots import upright
from upliftlab.report.plots import HOW_TO_READ, Axis, Row, begin, draw_interval, finish, span
from upliftlab.report.style import (
    ACCENT,
    CONTROL,
    INK,
    LOSS,
    MUTED,
    RULE,
    SMALL,
    TEXT,
    Chart,
    Sheet,
)
from upliftlab.report.widths import wrapped
from upliftlab.stats.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.rollout.answer import Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How one restriction on trends is given way.

    Attributes:
        title: What may differ, in words.
        below: What m is.
        bounds: Interval by m.
        threshold: What the interval is held against, in the unit of the bounds.
        threshold_label: Words for it.
        flips_at: Smallest m at which the interval touches it; NaN for none.
        flips_text: That m as readers see it.
        scale: Axis units per unit of the bounds.
        m_scale: Axis units per unit of m.
    """

    title: str
    below: str
    bounds: Sequence[Bound]
    threshold: float
    threshold_label: str
    flips_at: float = math.nan
    flips_text: str = ""
    scale: float = 1.0
    m_scale: float = 1.0


def trials(name: str, found: Sequence[Trial], alt: str, note: str) -> Chart:
    """Draw the interval against m, with the hurdle and the place where the answer flips."""
    return Chart(name=name, alt=alt, draw=lambda width: _trials(found, width), note=note)


def compared(name: str, rows: Sequence[Row], axis: Axis, alt: str) -> Chart:
    """Draw bars from 0: grey is what was expected, the other what was observed."""
    return Chart(
        name=name,
        alt=alt,
        draw=lambda width: _compared(rows, axis, width),
        note="Grey: expected without the change; blue: observed, with the 95 % range of the "
        "difference. The two bars of a channel share their scale.",
    )


def strip(name: str, rows: Sequence[Row], dots: Sequence[float], axis: Axis, alt: str) -> Chart:
    """Draw the answer, what is left of it without the most influential, and all the others.

    Args:
        name: Unique on the page.
        rows: The answer first; without a number the last, beside which the dots stand.
        dots: The answer without each of the others.
        axis: What the numbers are.
        alt: The finding.
    """
    return Chart(
        name=name,
        alt=alt,
        draw=lambda width: _strip(rows, dots, axis, width),
        note=f"One dot is the answer with one left out. {HOW_TO_READ}",
    )


def _trials(found: Sequence[Trial], width: int) -> Sheet:
    narrow = width < 600
    across = 1 if narrow or len(found) == 1 else 2
    each = (width - 28 * (across - 1)) / across
    tall = 328.0
    sheet = Sheet(width, tall * math.ceil(len(found) / across))
    for i, trial in enumerate(found):
        _trial(sheet, trial, (i % across) * (each + 28), tall * (i // across), each)
    return sheet


def _trial(sheet: Sheet, trial: Trial, left: float, top: float, width: float) -> None:
    for i, line in enumerate(wrapped(trial.title, int(width / 8.4))):
        sheet.write(left, top + 12 + 17 * i, line, size=TEXT, bold=True)
    gutter = 62.0
    axes = sheet.panel(left + gutter, top + 84, width - gutter - 12, 168)
    shown = [b for b in trial.bounds if math.isfinite(b.low) and math.isfinite(b.high)]
    hurdle = trial.threshold * trial.scale
    ends = [0.0, hurdle, *(x * trial.scale for b in shown for x in (b.low, b.high))]
    upright(axes, min(ends), max(ends), most=5)
    xs = [b.m * trial.m_scale for b in trial.bounds] or [0.0]
    flip = trial.flips_at * trial.m_scale
    room = 0.07 * (max(xs) - min(xs)) or 0.5
    axes.set_xlim(min(xs) - room, max(xs) + room)
    for bound in shown:
        holds = not bound.low <= trial.threshold <= bound.high
        reach = [bound.low * trial.scale, bound.high * trial.scale]
        axes.plot([bound.m * trial.m_scale] * 2, reach,
                  color=INK if holds else CONTROL, lw=4 if len(shown) < 15 else 2,
                  solid_capstyle="butt")  # fmt: skip
    if trial.threshold != 0:
        axes.axhline(hurdle, color=ACCENT, lw=1.2, dashes=(5, 3))
    if math.isfinite(trial.flips_at):
        axes.axvline(flip, color=LOSS, lw=1.4, dashes=(3, 3))
        late = (flip - min(xs)) > 0.5 * (max(xs) - min(xs))
        axes.annotate(f"flips at {trial.flips_text}", (flip, 1),
                      xycoords=("data", "axes fraction"), xytext=(-5 if late else 5, 5),
                      textcoords="offset points", ha="right" if late else "left",
                      va="bottom", fontsize=SMALL, color=INK)  # fmt: skip
    longest = max(len(_short(x)) for x in xs)
    at = _few(xs, max(2, min(7, int((width - gutter - 12) / (7.5 * longest + 10)))))
    axes.set_xticks(at, [_short(x) for x in at])
    axes.tick_params(axis="x", labelbottom=True, labelsize=SMALL, labelcolor=INK)
    middle = left + gutter + (width - gutter) / 2
    for i, line in enumerate(wrapped(trial.below, int((width - 20) / 7))):
        sheet.write(middle, top + 284 + 15 * i, line, align="center", colour=MUTED,
                    size=SMALL)  # fmt: skip
    if trial.threshold != 0:
        sheet.write(left + width - 12, top + 50, f"dashed: {trial.threshold_label}",
                    align="right", colour=MUTED, size=SMALL)  # fmt: skip


def _short(x: float) -> str:
    """Three digits, and thousands written out.

    Examples:
        >>> _short(0.5), _short(43_712.0)
        ('0.5', '43,700')
    """
    return f"{float(f'{x:.3g}'):,.0f}" if abs(x) >= 1000 else f"{x:.3g}"


def _few(xs: Sequence[float], most: int) -> list[float]:
    step = max(1, math.ceil(len(xs) / most))
    return [x for i, x in enumerate(sorted(xs)) if i % step == 0]


def _compared(rows: Sequence[Row], axis: Axis, width: int) -> Sheet:
    sheet, axes, at, middles = begin(rows, width, tall=22, foot=_foot(width))
    ends = [0.0]
    for row, y in zip(rows, middles, strict=True):
        e = row.estimate
        axes.barh(y, e.estimate * axis.scale, height=11, lw=0, alpha=0.9,
                  color=CONTROL if row.is_grey else ACCENT)  # fmt: skip
        ends.append(e.estimate * axis.scale)
        if not row.is_grey and math.isfinite(e.ci_low):
            reach = [e.ci_low * axis.scale, e.ci_high * axis.scale]
            axes.plot(reach, [y, y], color=INK, lw=1.6, solid_capstyle="butt")
            ends += reach
    kept = [x for x in ends if math.isfinite(x)]
    room = 0.03 * (max(kept) - min(kept)) or 1.0
    finish(sheet, axes, at, axis, (min(kept) - (room if min(kept) < 0 else 0),
                                   max(kept) + room))  # fmt: skip
    return sheet


def _foot(width: int) -> float:
    """Room for ticks and a title that takes two lines on a phone."""
    return 62.0 if width < 600 else 46.0


def _strip(rows: Sequence[Row], dots: Sequence[float], axis: Axis, width: int) -> Sheet:
    sheet, axes, at, middles = begin(rows, width, foot=_foot(width))
    answer = rows[0].estimate
    if math.isfinite(answer.ci_low):
        axes.axvspan(answer.ci_low * axis.scale, answer.ci_high * axis.scale, color=RULE,
                     alpha=0.25, lw=0, zorder=0)  # fmt: skip
    for row, y in zip(rows, middles, strict=True):
        draw_interval(axes, row.estimate, y, axis.scale)
    places = [middles[-1] + 4 * ((i % 3) - 1) for i in range(len(dots))]
    axes.plot([x * axis.scale for x in dots], places, "o", ms=4, color=MUTED, alpha=0.6)
    loose = [Estimate(name="rest", estimate=value) for value in dots]
    finish(sheet, axes, at, axis, span([row.estimate for row in rows] + loose, axis.scale))
    return sheet
