"""How do a range, a statistic and the sample ratio go from look to look?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from upliftlab.report.over_time_plots import upright
from upliftlab.report.style import ACCENT, INK, LOSS, MUTED, RULE, SMALL, TEXT, Chart, Sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_LEFT, _TOP, _FOOT, _TALL = 58.0, 34.0, 34.0, 230.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One number over the days of the looks.

    Attributes:
        title: What is up: a phrase with its unit.
        days: ISO dates.
        values: At each day; NaN where there is none.
        low: Lower ends of the range, or a lower bound.
        high: Upper ends of the range, or an upper bound.
        is_bound: Whether low and high are bounds to be crossed, rather than a range.
        limit: A line that must not be crossed upwards; NaN for none.
        limit_text: What it is.
    """

    title: str
    days: Sequence[str]
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    is_bound: bool = False
    limit: float = math.nan
    limit_text: str = ""


def over_looks(name: str, bands: Sequence[Band], alt: str, note: str) -> Chart:
    """Draw one panel per number, all on the same scale of days."""
    return Chart(name=name, alt=alt, draw=lambda width: _over_looks(bands, width), note=note)


def _over_looks(bands: Sequence[Band], width: int) -> Sheet:
    each = _TOP + _TALL + _FOOT
    sheet = Sheet(width, each * len(bands))
    for i, band in enumerate(bands):
        sheet.write(0, each * i + 14, band.title, size=TEXT if width > 600 else SMALL)
        axes = sheet.panel(_LEFT, each * i + _TOP, width - _LEFT - 14, _TALL)
        _draw(axes, band)
    return sheet


def _draw(axes: Axes, band: Band) -> None:
    at = [date.fromisoformat(day).toordinal() for day in band.days]
    ends = [x for x in (*band.low, *band.high, *band.values, 0.0) if math.isfinite(x)]
    if math.isfinite(band.limit):
        ends.append(band.limit)
    upright(axes, min(ends), max(ends))
    room = max(1.0, 0.04 * (at[-1] - at[0]))
    axes.set_xlim(at[0] - room, at[-1] + room)
    _days(axes, at)
    if band.low:
        low, high = _cut(axes, band.low), _cut(axes, band.high)
        along: Sequence[float] = at
        if len(at) == 1:
            # One look has no width of its own, and its range must be seen.
            along, low, high = [at[0] - 0.3, at[0] + 0.3], low * 2, high * 2
        if band.is_bound:
            for line in (low, high):
                axes.plot(along, line, color=LOSS, lw=1.4, ls=(0, (4, 2)))
        else:
            axes.fill_between(along, low, high, color=ACCENT, alpha=0.18, lw=0)
            for line in (low, high):
                axes.plot(along, line, color=ACCENT, lw=1)
    if math.isfinite(band.limit):
        axes.axhline(band.limit, color=LOSS, lw=1.4, ls=(0, (4, 2)))
        axes.annotate(band.limit_text, (at[0], band.limit), xytext=(2, -12),
                      textcoords="offset points", fontsize=SMALL, color=MUTED)  # fmt: skip
    axes.plot(at, band.values, color=INK, lw=1.8, marker="o", ms=4.5)
    axes.axhline(axes.get_ylim()[0], color=RULE, lw=1)


def _cut(axes: Axes, values: Sequence[float]) -> list[float]:
    """Ends that do not exist run out of the picture."""
    low, high = axes.get_ylim()
    return [min(max(x, low - 1), high + 1) if not math.isnan(x) else math.nan for x in values]


def _days(axes: Axes, at: Sequence[int]) -> None:
    """A few dates below, the first and the last among them."""
    step = max(1, math.ceil((at[-1] - at[0]) / 4))
    places = sorted({at[0], at[-1], *range(at[0], at[-1] - step // 2, step)})
    axes.set_xticks(places)
    axes.set_xticklabels([f"{date.fromordinal(x):%d %b}".lstrip("0") for x in places])
    axes.tick_params(axis="x", labelbottom=True)
