"""How does the quarter look? Forest, quadrant, waterfall, calibration, holdout, maturity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.report.numbers import percent, shown_ratio
from upliftlab.report.plots import Axis, Row, draw_interval, forest, span, ticks, waterfall
from upliftlab.report.quarter.amounts import result_name, title
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
from upliftlab.report.widths import shortened
from upliftlab.stats.estimate import interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from upliftlab.report.quarter.amounts import Amounts
    from upliftlab.review.programme import Programme, Result
    from upliftlab.stats.estimate import Estimate

MOST_ROWS = 40
MOST_POINTS = 2_000
QUADRANTS = {
    (True, True): "growth",
    (True, False): "buying GMV",
    (False, True): "harvest",
    (False, False): "stop",
}
"""(GMV rises, profit rises) -> what that is."""


def forest_chart(
    results: Sequence[Result], amounts: Amounts, *, shrunken: dict[str, Estimate] | None = None
) -> Chart | None:
    """Every treatment's total with its range, the largest first; shrunken in grey below."""
    shown = [each for each in results if math.isfinite(each.arm.realised.estimate)]
    if not shown:
        return None
    rows = []
    for each in sorted(shown[:MOST_ROWS], key=lambda r: -r.arm.realised.estimate):
        total = each.arm.realised
        rows.append(
            Row(label=result_name(each), estimate=total, text=amounts.shown(total).text)
        )
        small = (shrunken or {}).get(key_of(each))
        if small is not None:
            text = amounts.shown(small).text
            rows.append(Row(label="    shrunken", estimate=small, text=text, is_grey=True))
    axis = Axis(title=f"{amounts.what} in the tests, {amounts.unit}", scale=amounts.scale)
    alt = f"{len(shown)} treatments; the largest: {rows[0].label} {rows[0].text}."
    return forest("forest", rows, axis, alt)


def waterfall_chart(programme: Programme, amounts: Amounts) -> Chart | None:
    """The quarter's lines from sales down to profit."""
    if len(programme.lines) < 2:
        return None
    total = math.fsum(line.effect.estimate for line in programme.lines)
    kept = programme.total if math.isclose(total, programme.total.estimate) else None
    last = kept or interval("profit", total, math.nan)
    width = last.ci_high - last.ci_low
    rows = [
        Row(
            label=line.label,
            estimate=line.effect,
            text=amounts.plain(line.effect.estimate, width=width),
        )
        for line in programme.lines
        if line.effect.estimate != 0
    ]
    text = amounts.plain(total, width=width)
    rows.append(Row(label="extra profit", estimate=last, text=text, is_total=True))
    axis = Axis(
        title=f"extra money of the quarter's tests, {amounts.unit}", scale=amounts.scale
    )
    alt = f"Waterfall of the quarter: {rows[0].label} {rows[0].text}, extra profit {text}."
    return waterfall("waterfall", rows, axis, alt)


def quadrant_chart(results: Sequence[Result], amounts: Amounts) -> Chart | None:
    """GMV lift against profit lift, both as totals of the test, with four named corners."""
    points = [
        (name, gmv, result.arm.realised)
        for result in results
        if (gmv := _gmv(result)) is not None
        and math.isfinite(result.arm.realised.estimate)
        and (name := result_name(result))
    ]
    if len(points) < 2:
        return None
    corner = [QUADRANTS[g.estimate > 0, p.estimate > 0] for _, g, p in points]
    buying = corner.count("buying GMV")
    alt = f"Of {len(points)} treatments, {buying} raise GMV and lower profit."
    return Chart(
        name="quadrant",
        alt=alt,
        draw=lambda width: _quadrant(points[:MOST_POINTS], amounts, width),
        note=_drawn("Every treatment is in the table above.", len(points)),
    )


def calibration_chart(results: Sequence[Result]) -> Chart | None:
    """Reported coupon ROI against extra profit per yuan spent."""
    points = [
        (result_name(each), each.arm.reported_roi, each.arm.iroi)
        for each in results
        if math.isfinite(each.arm.reported_roi)
        and math.isfinite(each.arm.iroi.estimate)
        and each.arm.iroi.shape == "interval"
    ]
    if len(points) < 2:
        return None
    best = max(points, key=lambda each: each[1])
    alt = (
        f"The dashboard's highest ROI, {best[1]:.1f} for {best[0]}, goes with extra profit per "
        f"unit spent of {shown_ratio(best[2]).text}."
    )
    return Chart(
        name="calibration",
        alt=alt,
        draw=lambda width: _calibration(points[:MOST_POINTS], width),
        note=_drawn(
            "Thin line: 95 % range. Above 0 a campaign earned more than it cost.", len(points)
        ),
    )


def holdout_chart(
    rows: Sequence[tuple[str, Estimate]], amounts: Amounts, *, name: str = "holdout"
) -> Chart:
    """Sum of the tests, corrected sum and holdout beside each other."""
    shown = [Row(label=n, estimate=e, text=amounts.shown(e).text) for n, e in rows]
    axis = Axis(title=f"{amounts.what}, {amounts.unit}", scale=amounts.scale)
    alt = "; ".join(f"{row.label}: {row.text}" for row in shown) + "."
    return forest(name, shown, axis, alt)


def maturity_chart(programme: Programme) -> Chart | None:
    """Booked, still returning and assumed shares, per experiment and over all."""
    rows = [
        (title(each), (m.booked, m.projected, m.assumed))
        for each in programme.records
        if math.isfinite((m := each.maturity).booked) and each.status == "read"
    ]
    if not rows:
        return None
    rows.sort(key=lambda each: each[1][0])
    whole = programme.maturity
    rows = [("all, by money moved", (whole.booked, whole.projected, whole.assumed)), *rows[:25]]
    alt = f"Booked over all: {percent(whole.booked, signed=False)}."
    return Chart(
        name="maturity",
        alt=alt,
        draw=lambda width: _shares(rows, width),
        note="Black: booked. Grey: returns may still come. Orange: priced by an assumption.",
    )


def _drawn(note: str, n: int) -> str:
    """Say so where not every point is drawn."""
    if n <= MOST_POINTS:
        return note
    return f"{note} Drawn are the {MOST_POINTS:,} with the most money at stake of {n:,}."


def key_of(result: Result) -> str:
    """Name a treatment for look-up."""
    return f"{result.record.name}/{result.arm.arm}"


def _gmv(result: Result) -> Estimate | None:
    rung = result.arm.rung("gmv_merchant") or result.arm.rung("gmv_platform")
    if rung is None or not math.isfinite(rung.effect.estimate):
        return None
    return rung.effect.scaled(result.arm.n) if result.arm.n else None


def _frame(width: int, height: float, x: str, y: str) -> tuple[Sheet, Axes]:
    sheet = Sheet(width, height)
    left = 64.0 if sheet.is_narrow else 88.0
    axes = sheet.panel(left, 34, width - left - 16, height - 34 - 52)
    sheet.write(0, 12, shortened(y, width // 7), colour=MUTED, size=SMALL)
    sheet.write((width + left) / 2, height - 12, x, align="center", colour=MUTED, size=SMALL)
    return sheet, axes


def _both_ticks(axes: Axes, x: tuple[float, float], y: tuple[float, float], most: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ticks(axes, *x, most=most)
    axes.set_ylim(*y)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.10g}".replace("-", "−")))
    axes.tick_params(axis="y", labelleft=True)
    axes.axhline(0, color=MUTED, lw=1)
    axes.axvline(0, color=MUTED, lw=1)


def _quadrant(
    points: Sequence[tuple[str, Estimate, Estimate]], amounts: Amounts, width: int
) -> Sheet:
    scale = amounts.scale
    sheet, axes = _frame(
        width,
        360 if width < 600 else 440,
        f"extra GMV the shop books, {amounts.unit}",
        f"{amounts.what}, {amounts.unit}",
    )
    xs, ys = (
        span([_point(g) for _, g, _ in points], scale),
        span([_point(p) for _, _, p in points], scale),
    )
    _both_ticks(axes, xs, ys, 3 if sheet.is_narrow else 7)
    for colour in (CONTROL, LOSS, GAIN):
        own = [(g.estimate * scale, p.estimate * scale) for _, g, p in points]
        own = [at for at, (_, _, p) in zip(own, points, strict=True) if _colour(p) == colour]
        axes.plot([x for x, _ in own], [y for _, y in own], "o", ms=7, color=colour, alpha=0.85)
    for (up, earns), word in QUADRANTS.items():
        axes.text(
            0.99 if up else 0.01, 0.99 if earns else 0.01, word, transform=axes.transAxes,
            ha="right" if up else "left", va="top" if earns else "bottom", color=MUTED,
            fontsize=14, fontweight="bold",
        )  # fmt: skip
    return sheet


def _point(estimate: Estimate) -> Estimate:
    return interval("point", estimate.estimate, math.nan)


def _calibration(points: Sequence[tuple[str, float, Estimate]], width: int) -> Sheet:
    sheet, axes = _frame(
        width,
        360 if width < 600 else 420,
        "ROI the dashboard reports",
        "extra profit per unit of campaign money",
    )
    reported = [x for _, x, _ in points]
    low, high = span([e for _, _, e in points], 1.0)
    edge = max(reported) * 1.08
    _both_ticks(axes, (0.0, edge), (low, high), 3 if sheet.is_narrow else 7)
    top = min(edge, high)
    axes.plot([0, top], [0, top], color=RULE, lw=1.2, ls=(0, (4, 3)))
    if top > 0:
        axes.text(top, top, "as reported ", ha="right", va="top", color=MUTED, fontsize=SMALL)
    for colour in (CONTROL, LOSS, GAIN):
        own = [(x, each) for _, x, each in points if _colour(each) == colour]
        at = [x for x, _ in own]
        axes.vlines(at, [e.ci_low for _, e in own], [e.ci_high for _, e in own], colour, lw=1.2)
        axes.plot(at, [e.estimate for _, e in own], "o", ms=6.5, color=colour)
    return sheet


def _colour(estimate: Estimate) -> str:
    """Blue surely earns, orange surely loses, grey cannot be told."""
    return GAIN if estimate.is_above_zero else LOSS if estimate.is_below_zero else CONTROL


def _shares(rows: Sequence[tuple[str, tuple[float, ...]]], width: int) -> Sheet:
    tall = 24.0
    sheet = Sheet(width, tall * len(rows) + 34)
    label = 130.0 if width < 600 else 300.0
    axes = sheet.panel(label, 0, width - label - 12, tall * len(rows))
    axes.set_ylim(tall * len(rows), 0)
    for i, (name, shares) in enumerate(rows):
        middle = tall * (i + 0.5)
        room = int(label / 7.6)
        sheet.write(0, middle, shortened(name, room), size=SMALL, bold=i == 0)
        start = 0.0
        for share, colour in zip(shares, (INK, CONTROL, LOSS), strict=True):
            axes.barh(middle, share, left=start, height=tall * 0.6, color=colour, lw=0)
            start += share
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1])
    axes.set_xticklabels(["0 %", "50 %", "100 %"])
    axes.tick_params(axis="x", labelbottom=True)
    return sheet


__all__ = [
    "calibration_chart",
    "draw_interval",
    "forest_chart",
    "holdout_chart",
    "key_of",
    "maturity_chart",
    "quadrant_chart",
    "waterfall_chart",
]
