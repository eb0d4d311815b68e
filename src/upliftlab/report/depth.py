"""How deep, or which arm: GMV and profit side by side?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names
from upliftlab.report.curves import Panel, Point, panels
from upliftlab.report.focus import money_axis, top_rung
from upliftlab.report.numbers import (
    shown_money,
)
from upliftlab.report.parts import Section, table
from upliftlab.report.plots import Row, forest

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.profit import Rung
    from upliftlab.report.parts import Table
    from upliftlab.report.style import Chart
    from upliftlab.stats.estimate import Estimate


def depth_section(analysis: Analysis) -> Section | None:
    """GMV and profit side by side, by depth where arms are coupons."""
    if len(analysis.profits) < 2:
        return None
    arms = {arm.label: arm for arm in analysis.experiment.treatments}
    has_depth = all(arm.coupon is not None for arm in arms.values())
    has_depth = has_depth and len({arm.coupon for arm in arms.values()}) == len(arms)
    top = top_rung(analysis.profits[0])
    best = analysis.dose.best if analysis.dose is not None else _above_all(analysis)
    tables = (_arms_table(analysis),)
    finding = _depth_finding(analysis, best)
    if not has_depth:
        return Section(
            key="arms",
            title="Arms side by side",
            finding=finding,
            charts=_arm_charts(analysis, top, finding),
            tables=tables,
        )
    found = [
        _panel(analysis, name, rung, best if name == "profit" else "")
        for name, rung in ((top.name if top else "", top), ("profit", None))
        if name
    ]
    chart = panels(
        "depth", found, finding, "Each panel has its own scale." if len(found) > 1 else ""
    )
    return Section(
        key="depth", title="How deep", finding=finding, charts=(chart,), tables=tables
    )


def _panel(analysis: Analysis, name: str, rung: Rung | None, best: str) -> Panel:
    unit = currency_of(analysis.experiment.currency)
    turn = break_even(analysis) if name == "profit" else None
    return Panel(
        title=_rung_title(analysis, rung),
        below=f"coupon, {unit.main}",
        points=_points(analysis, name, best),
        scale=1 / unit.scale,
        mark=turn.estimate / unit.scale if turn is not None else math.nan,
        mark_label="breaks even" if turn is not None else "",
    )


def break_even(analysis: Analysis) -> Estimate | None:
    """Depth at which profit turns from gain to loss; None where the data cannot place it."""
    found = analysis.dose.break_even if analysis.dose is not None else None
    if found is None or found.shape != "interval":
        return None
    return found if math.isfinite(found.estimate) else None


def _rung_title(analysis: Analysis, rung: Rung | None) -> str:
    unit = currency_of(analysis.experiment.currency).main
    what = rung.label if rung is not None else "profit"
    return f"extra {what}, {unit} per {analysis.experiment.unit}"


def _points(analysis: Analysis, name: str, best: str) -> list[Point]:
    main = currency_of(analysis.experiment.currency).scale
    called = names.arm_names(analysis.experiment)
    points = [Point(x=0.0, label="none", estimate=None)]
    for arm in sorted(analysis.experiment.treatments, key=lambda a: float(a.coupon or 0)):
        rung = analysis.profit_of(arm.label).rung(name)
        if rung is None or arm.coupon is None:
            continue
        points.append(
            Point(
                x=float(arm.coupon) / main,
                label=called[arm.label],
                estimate=rung.effect,
                is_marked=arm.label == best,
            )
        )
    return points


def _arm_charts(analysis: Analysis, top: Rung | None, alt: str) -> tuple[Chart, ...]:
    called = names.arm_names(analysis.experiment)
    currency = analysis.experiment.currency
    out: list[Chart] = []
    for name, rung in ((top.name if top else "", top), ("profit", None)):
        if not name:
            continue
        rows = [
            Row(
                label=called[profit.arm],
                estimate=found.effect,
                text=shown_money(found.effect, currency).text,
                group=rung.label if rung else "profit",
            )
            for profit in analysis.profits
            if (found := profit.rung(name)) is not None
        ]
        what = f"extra {rung.label if rung else 'profit'}"
        out.append(
            replace(
                forest(f"arms-{name}", rows, money_axis(analysis, what), alt=alt),
                note="Own scale."
                if not out
                else "Own scale. Thin line: 95 % range; thick: 50 %.",
            )
        )
    return tuple(out)


def _above_all(analysis: Analysis) -> str:
    """The arm whose simultaneous range lies above 0 and above every other; empty for none."""
    ranges = {p.arm: p.profit_simultaneous for p in analysis.profits}
    for arm, own in ranges.items():
        others = [e.ci_high for other, e in ranges.items() if other != arm]
        if own.is_above_zero and all(own.ci_low > high for high in others):
            return arm
    return ""


def _depth_finding(analysis: Analysis, best: str) -> str:
    called = names.arm_names(analysis.experiment)
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    if best:
        shown = shown_money(analysis.profit_of(best).profit_simultaneous, currency)
        return (
            f"{called[best]} earns most: {shown.with_range} per {unit}, above every other arm."
        )
    known = [p for p in analysis.profits if math.isfinite(p.profit.estimate)]
    if not known:
        return (
            "No arm's profit exists: " + (analysis.profits[0].profit.note or "no range") + "."
        )
    most = max(known, key=lambda p: p.profit.estimate)
    top = top_rung(most)
    tail = ""
    if top is not None:
        deep = max(
            known, key=lambda p: r.effect.estimate if (r := p.rung(top.name)) else -math.inf
        )
        tail = f", while {top.label} is highest with {called[deep.arm]}"
    shown = shown_money(most.profit_simultaneous, currency)
    turn = break_even(analysis)
    if turn is not None:
        at = shown_money(turn, currency, signed=False)
        tail += f"; profit turns from gain to loss at {at.with_range}"
    return (
        f"No arm is distinguishably best: the highest profit is {called[most.arm]}'s with "
        f"{shown.with_range} per {unit}{tail}."
    )


def _arms_table(analysis: Analysis) -> Table:
    called = names.arm_names(analysis.experiment)
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    rows = []
    for profit in analysis.profits:
        own, wide = (
            shown_money(e, currency) for e in (profit.profit, profit.profit_simultaneous)
        )
        total, out = (shown_money(e, currency) for e in (profit.realised, profit.rollout))
        rows.append(
            (
                called[profit.arm], f"{profit.n:,}", own.text, own.interval, wide.interval,
                total.text, total.interval, out.text, out.interval,
            )
        )  # fmt: skip
    many = names.plural(unit)
    return table(
        "Extra profit by arm",
        (
            "arm", f"{many} in it", f"per {unit}", "range", "range, all arms counted",
            "in this test", "range", "if rolled out", "range",
        ),
        rows,
    )  # fmt: skip
