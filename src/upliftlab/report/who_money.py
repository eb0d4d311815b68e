"""How many to treat, how much to spend, and where does the coupon money go?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names, who_words
from upliftlab.report.numbers import NONE, money, percent, shown_money, symbol
from upliftlab.report.parts import Section, Slider, table
from upliftlab.report.who_plots import GUTTER, RIGHT, Frame, Mark, Strand, curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.analysis import Analysis
    from upliftlab.report.parts import Table
    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.answer import CurvePoint, Frontier, Spend, Targeting

_BAND = "Shaded: the band that holds for the whole curve at once. The horizontal line is 0."


def how_many(analysis: Analysis, found: Targeting) -> Section | None:
    """Extra profit by share of units treated, best first."""
    if not found.curve:
        return None
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    scale = 1 / currency_of(currency).scale
    best = max(found.curve, key=lambda p: p.effect.estimate)
    finding = (
        f"Best first, extra profit is highest with "
        f"{percent(best.x, decimals=0, signed=False)} of {names.plural(unit)} treated: "
        f"{shown_money(_banded(best), currency).with_range} per {unit} of all. The range "
        "counts the whole curve, because its highest point was looked for."
    )
    frame = Frame(
        title=f"extra profit, {currency_of(currency).main} per {unit} of all",
        below=f"share of {names.plural(unit)} treated, those with the largest predicted "
        "gain first",
        is_share=True,
        note=_BAND,
    )
    rows = [
        (percent(p.x, decimals=0, signed=False), shown_money(p.effect, currency).text,
         shown_money(p.effect, currency).interval, _ends(analysis, p))
        for p in _thinned(found.curve)
    ]  # fmt: skip
    return Section(
        key="how-many",
        title="How many to treat",
        finding=finding,
        charts=(
            curve("how-many", [_strand(found.curve, scale, "")], [Mark(x=best.x, label="most")],
                  frame, finding),
        ),
        tables=(
            table("Extra profit by share treated",
                  ("treated", f"extra profit per {unit} of all", "range", "band"), rows),
        ),
    )  # fmt: skip


def budget(analysis: Analysis, found: Targeting) -> Section | None:
    """What each budget earns, with a slider."""
    frontier = found.frontier
    if frontier is None or not frontier.points:
        return None
    finding = _budget_finding(analysis, frontier)
    currency = analysis.experiment.currency
    scale = 1 / currency_of(currency).scale
    main = currency_of(currency).main
    strands = [_strand(frontier.points, scale, "", along=scale)]
    strands += [
        _strand(points, scale, label, along=scale, banded=False)
        for label, points in frontier.comparison.items()
        if points
    ]
    marks = [Mark(x=frontier.points[frontier.best].x * scale, label="earns most")]
    if math.isfinite(frontier.planned):
        marks.append(Mark(x=frontier.planned * scale, label="the plan's budget"))
    frame = Frame(
        title=f"extra profit over all eligible, {main}",
        below=f"campaign money over all eligible, {main}",
        note=f"{_BAND} {frontier.note}".strip(),
    )
    return Section(
        key="budget",
        title="How much to spend",
        finding=finding,
        charts=(curve("budget", strands, marks, frame, finding),),
        slider=_slider(analysis, frontier),
        tables=(
            table("What each budget earns", (*_HEADS, "band"),
                  [(*_stop(analysis, p), _ends(analysis, p))
                   for p in _thinned(frontier.points)]),
        ),
    )  # fmt: skip


_HEADS = ("budget", "extra profit", "range", "treated", "the last 1 spent brings")


def _budget_finding(analysis: Analysis, frontier: Frontier) -> str:
    currency = analysis.experiment.currency
    best = frontier.points[frontier.best]
    least, most = frontier.indistinct
    # Spending nothing earns 0: it belongs to the range where the best cannot be told from it.
    low = _amount(analysis, least if best.low > 0 else 0.0)
    high = _amount(analysis, most)
    said = (
        f"Of the budgets, {_amount(analysis, best.x)} earns most: "
        f"{shown_money(_banded(best), currency).with_range}, whole curve counted; the data "
        f"cannot tell it from budgets between {low} and {high}"
    )
    if math.isfinite(frontier.target_iroi):
        one = money(frontier.target_iroi * currency_of(currency).scale, currency, width=100.0)
        said += (
            f". Spending as long as the last {symbol(currency)}1 brings {one} or more comes to "
            "the same"
        )
    if math.isfinite(frontier.planned):
        near = min(frontier.points, key=lambda p: abs(p.x - frontier.planned))
        said += (
            f". The plan's {_amount(analysis, frontier.planned)} earns "
            f"{shown_money(near.effect, currency).with_range}"
        )
    return f"{said}."


def _banded(point: CurvePoint) -> Estimate:
    """A point with the range that counts the whole curve."""
    return replace(point.effect, ci_low=point.low, ci_high=point.high)


def _slider(analysis: Analysis, frontier: Frontier) -> Slider:
    points = frontier.points
    xs = [p.x for p in points]
    drawn = [*points, *(p for strand in frontier.comparison.values() for p in strand)]
    least, most = min(p.x for p in drawn), max(p.x for p in drawn)
    wide = (most - least) or 1.0
    start = frontier.best
    if math.isfinite(frontier.planned):
        start = min(range(len(points)), key=lambda i: abs(xs[i] - frontier.planned))
    return Slider(
        label="Move the budget",
        heads=_HEADS,
        stops=tuple(_stop(analysis, p) for p in points),
        at=tuple(round((x - least) / wide, 5) for x in xs),
        start=start,
        edges=(GUTTER, RIGHT),
    )


def _stop(analysis: Analysis, point: CurvePoint) -> tuple[str, ...]:
    currency = analysis.experiment.currency
    shown = shown_money(point.effect, currency)
    share = percent(point.share, decimals=0, signed=False) if point.share >= 0 else NONE
    margin = (
        money(point.margin * currency_of(currency).scale, currency, width=100.0)
        if math.isfinite(point.margin)
        else NONE
    )
    return (_amount(analysis, point.x), shown.text, shown.interval, share, margin)


def _amount(analysis: Analysis, minor: float) -> str:
    currency = analysis.experiment.currency
    if not math.isfinite(minor):
        return NONE
    if abs(minor) < 1:
        return money(0.0, currency, signed=False)
    size = 10 ** max(math.floor(math.log10(abs(minor))) - 2, 0)
    return money(round(minor / size) * size, currency, signed=False, width=100 * size)


def _ends(analysis: Analysis, point: CurvePoint) -> str:
    if not (math.isfinite(point.low) and math.isfinite(point.high)):
        return NONE
    band = replace(point.effect, ci_low=point.low, ci_high=point.high)
    return shown_money(band, analysis.experiment.currency).interval


def _strand(
    points: Sequence[CurvePoint], scale: float, label: str, *, along: float = 1.0,
    banded: bool = True,
) -> Strand:  # fmt: skip
    kept = [p for p in points if math.isfinite(p.effect.estimate)]
    return Strand(
        label=label,
        xs=[p.x * along for p in kept],
        ys=[p.effect.estimate * scale for p in kept],
        low=[p.low * scale for p in kept] if banded else (),
        high=[p.high * scale for p in kept] if banded else (),
    )


def _thinned(points: Sequence[CurvePoint], most: int = 12) -> list[CurvePoint]:
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(i * step)] for i in range(most)]


def coupon_money(analysis: Analysis, found: Targeting) -> Section | None:
    """How much of the money went to orders that would have come anyway."""
    known = [s for s in found.spend if math.isfinite(s.wasted_low)]
    if not known:
        return None
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    called = who_words.arms(analysis)
    deepest = max(known, key=lambda s: s.total.estimate)
    total = shown_money(deepest.total, currency, signed=False)
    ends = replace(
        deepest.total, estimate=deepest.wasted_high, ci_low=deepest.interval[0],
        ci_high=deepest.interval[1],
    )  # fmt: skip
    low, high = (
        shown_money(replace(ends, estimate=x), currency, signed=False).value
        for x in (deepest.wasted_low, deepest.wasted_high)
    )
    wide = shown_money(ends, currency, signed=False).interval
    finding = (
        f"Of {total.value} coupon money per {unit} with {called[deepest.arm]}, between {low} "
        f"and {high} ({wide}) went to orders that would have come anyway"
    )
    if math.isfinite(deepest.wasted.estimate):
        point = shown_money(deepest.wasted, currency, signed=False)
        finding += (
            f"; {point.with_range}, {_share_of(deepest.wasted.estimate, deepest)}, if the "
            "coupon keeps nobody from buying"
        )
    rows = [_spend_row(analysis, s) for s in known]
    return Section(
        key="coupon-money",
        title="Where the coupon money goes",
        finding=f"{finding}.",
        tables=(
            table(
                f"Coupon money per {unit}",
                ("arm", "in all", "would have bought anyway: least", "most",
                 "range of these", "if nobody is kept from buying", "range",
                 "extra profit after the coupon's end", "range"),
                rows, is_open=True,
            ),
            *_sleeping(analysis, known),
        ),
        notes=tuple(dict.fromkeys(s.note for s in known if s.note)),
    )  # fmt: skip


def _sleeping(analysis: Analysis, known: Sequence[Spend]) -> tuple[Table, ...]:
    """What is lost on those who would buy only without the coupon: a range, never seen."""
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    rows = []
    for s in known:
        least, most = s.sleeping
        low, high = s.sleeping_interval
        if not math.isfinite(least) or not math.isfinite(most):
            continue
        ends = replace(s.total, estimate=least, ci_low=low, ci_high=high)
        first, last = (
            shown_money(replace(ends, estimate=x), currency, signed=False)
            for x in (least, most)
        )
        rows.append((who_words.arms(analysis)[s.arm], first.value, last.value, first.interval))
    if not rows:
        return ()
    return (
        table(f"Profit lost on those who would buy only without it, per {unit}",
              ("arm", "least", "most", "range of these"), rows),
    )  # fmt: skip


def _share_of(amount: float, spend: Spend) -> str:
    whole = spend.total.estimate
    return percent(amount / whole, decimals=0, signed=False) if whole > 0 else NONE


def _spend_row(analysis: Analysis, s: Spend) -> tuple[str, ...]:
    currency = analysis.experiment.currency
    ends = replace(s.total, estimate=s.wasted_low, ci_low=s.interval[0], ci_high=s.interval[1])
    point = shown_money(s.wasted, currency, signed=False)
    later = shown_money(s.later, currency)
    return (
        who_words.arms(analysis)[s.arm],
        shown_money(s.total, currency, signed=False).compact,
        shown_money(ends, currency, signed=False).value,
        shown_money(replace(ends, estimate=s.wasted_high), currency, signed=False).value,
        shown_money(ends, currency, signed=False).interval,
        point.text, point.interval, later.text, later.interval,
    )  # fmt: skip


def gmv_conflict(analysis: Analysis, found: Targeting) -> Section | None:
    """Who looks good by GMV and loses money."""
    conflict = found.conflict
    if conflict is None:
        return None
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    gmv = names.metric_name(conflict.whose, analysis.experiment)
    finding = (
        f"{percent(conflict.share, decimals=0, signed=False)} of {names.plural(unit)} buy more "
        f"with it and earn us less; choosing by {gmv} "
        f"costs {shown_money(conflict.cost, currency).with_range} per {unit} against choosing "
        "by profit."
    )
    rows = [
        (label, shown_money(e, currency).text, shown_money(e, currency).interval)
        for label, e in (
            ("those who buy more and earn us less, each", conflict.effect),
            (f"treat those whose {gmv} rises", conflict.by_gmv),
            ("treat those who earn us more", conflict.by_profit),
            ("the difference", conflict.cost),
        )
    ]
    return Section(
        key="gmv-conflict",
        title="Sales against profit",
        finding=finding,
        tables=(table(f"Extra profit per {unit}", ("", "estimate", "range"), rows,
                      is_open=True),),
    )  # fmt: skip
