"""Why did it earn or lose: where did the money go, with depth, along the journey, to whom?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names, words
from upliftlab.report.curves import Panel, Point, panels
from upliftlab.report.numbers import (
    NONE,
    Shown,
    money,
    percent,
    shown_money,
    shown_ratio,
    shown_share,
)
from upliftlab.report.parts import Section, table
from upliftlab.report.plots import Axis, Row, bars, forest, waterfall
from upliftlab.stats.estimate import Estimate

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.profit import LineEffect, Profit, Rung
    from upliftlab.report.parts import Table
    from upliftlab.report.style import Chart

GMV_RUNGS = ("gmv_platform", "gmv_merchant", "kept_sales")


def why(analysis: Analysis) -> tuple[Section, ...]:
    """Return the sections on where the effect went."""
    found = [
        _waterfall(analysis),
        _ladder(analysis),
        _depth(analysis),
        _journey(analysis),
        _parties(analysis),
        _campaign(analysis),
    ]
    return tuple(section for section in found if section is not None)


def money_axis(analysis: Analysis, what: str) -> Axis:
    """Axis of money per unit, in the main unit of the currency."""
    unit = currency_of(analysis.experiment.currency)
    return Axis(
        title=f"{what} per {analysis.experiment.unit}, {unit.main}", scale=1 / unit.scale
    )


def in_focus(analysis: Analysis) -> tuple[str, Profit]:
    """Name and profit of the arm whose charts are shown."""
    arm = words.focus(analysis)
    return names.arm_names(analysis.experiment)[arm], analysis.profit_of(arm)


def followed(profit: Profit) -> str:
    """Name the window of a profit at the end of a sentence."""
    return "" if profit.window is None else f" within {names.window_name(profit.window)}"


def _waterfall(analysis: Analysis) -> Section | None:
    called, first = in_focus(analysis)
    tables = [_lines_table(analysis, profit) for profit in analysis.profits]
    chart = _waterfall_chart(analysis, first)
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    shown = shown_money(first.profit, currency)
    if not shown.value:
        finding = f"Extra profit of {called} does not exist: {shown.text}."
    else:
        top = _top(first)
        tail = words.cannot_tell(first.profit, currency)
        start = f"Per {unit}{followed(first)}, {called} moved " if top else f"{called}: "
        middle = (
            f"{top.label} by {shown_money(top.effect, currency).with_range}; "
            f"after coupons, returns and all costs, profit: "
            if top
            else "extra profit "
        )
        finding = f"{start}{middle}{tail}."
    return Section(
        key="waterfall",
        title=f"Where the {called} money went",
        finding=finding,
        charts=() if chart is None else (chart,),
        tables=tuple(tables),
        notes=_line_notes(analysis, first),
    )


def _top(profit: Profit) -> Rung | None:
    return next((rung for rung in profit.ladder if rung.name != "profit"), None)


def waterfall_rows(analysis: Analysis, profit: Profit) -> list[Row]:
    """Bars from the first line down to profit; lines that are 0 in both arms are left out."""
    currency = analysis.experiment.currency
    width = profit.profit.ci_high - profit.profit.ci_low
    rows = [
        Row(
            label=names.line_name(line, profit) + ("*" if line.status == "assumed" else ""),
            estimate=line.effect,
            text=money(line.effect.estimate, currency, width=width),
        )
        for line in profit.lines
        if _moves(line)
    ]
    total = Row(
        label="extra profit",
        estimate=profit.profit,
        text=money(profit.profit.estimate, currency, width=width),
        is_total=True,
    )
    return [*rows, total]


def _moves(line: LineEffect) -> bool:
    return line.treatment != 0 or line.control != 0 or line.effect.estimate != 0


def _waterfall_chart(analysis: Analysis, profit: Profit) -> Chart | None:
    rows = waterfall_rows(analysis, profit)
    if len(rows) < 3 or not math.isfinite(profit.profit.estimate):
        return None
    called = names.arm_names(analysis.experiment)[profit.arm]
    top, total = rows[0], rows[-1]
    return waterfall(
        "waterfall",
        rows,
        money_axis(analysis, f"extra money{followed(profit)}"),
        alt=f"Waterfall of {called}: {top.label} {top.text} per {analysis.experiment.unit}, "
        f"extra profit {total.text}.",
    )


def _lines_table(analysis: Analysis, profit: Profit) -> Table:
    currency = analysis.experiment.currency
    called = names.arm_names(analysis.experiment)[profit.arm]
    width = profit.profit.ci_high - profit.profit.ci_low
    rows = []
    for line in profit.lines:
        shown = shown_money(line.effect, currency)
        rows.append(
            (
                names.line_name(line, profit),
                names.status_name(line.status),
                line.stage,
                money(line.treatment, currency, width=width),
                money(line.control, currency, width=width),
                shown.text,
                shown.interval or shown.note,
            )
        )
    total = shown_money(profit.profit, currency)
    rows.append(("extra profit", "", "", "", "", total.text, total.interval))
    return table(
        f"{called}, line by line, per {analysis.experiment.unit}{followed(profit)}",
        ("line", "whose price", "stage", called, "control", "difference", "range"),
        rows,
        text=3,
    )


def _line_notes(analysis: Analysis, profit: Profit) -> tuple[str, ...]:
    out = []
    if any(line.status == "assumed" and _moves(line) for line in profit.lines):
        out.append("* The price of this line is assumed, not yours.")
    missing = [name.replace("_", " ") for name in analysis.economics.missing]
    if missing:
        out.append(
            f"Not counted, because neither plan nor data speak of it: {', '.join(missing)}."
        )
    out += [f"{line.label}: {line.note}." for line in analysis.economics.lines if line.note]
    still = [line.label for line in profit.lines if not _moves(line)]
    if still:
        out.append(f"Counted and 0 in both arms: {', '.join(still)}.")
    return tuple(out)


def _ladder(analysis: Analysis) -> Section | None:
    called, first = in_focus(analysis)
    if len(first.ladder) < 2:
        return None
    windows = _by_window(analysis, first.arm)
    currency = analysis.experiment.currency
    rows = [
        Row(
            label=names.window_name(profit.window),
            estimate=found.effect,
            text=shown_money(found.effect, currency).text,
            group=rung.label,
            is_grey=profit.window != first.window,
        )
        for rung in first.ladder
        for profit in windows
        if (found := profit.rung(rung.name)) is not None
    ]
    top, last = first.ladder[0], first.ladder[-1]
    shares = shown_share(top.effect), shown_share(last.effect)
    finding = (
        f"{called} moved {top.label} by {shares[0].with_range}{followed(first)}, and profit by "
        f"{shares[1].with_range}."
        if all(share.value for share in shares)
        else f"With {called}, {top.label} changed by "
        f"{shown_money(top.effect, currency).with_range} per {analysis.experiment.unit}, "
        f"profit by {shown_money(last.effect, currency).with_range}."
    )
    return Section(
        key="ladder",
        title="The ladder down to profit",
        finding=finding,
        charts=(forest("ladder", rows, money_axis(analysis, "extra money"), alt=finding),),
        tables=tuple(_ladder_table(analysis, profit.arm) for profit in analysis.profits),
    )


def _by_window(analysis: Analysis, arm: str) -> list[Profit]:
    found = [analysis.profit_of(arm)]
    for profits in analysis.other_windows.values():
        found += [profit for profit in profits if profit.arm == arm]
    return sorted(found, key=lambda profit: profit.window or 0)


def _ladder_table(analysis: Analysis, arm: str) -> Table:
    currency = analysis.experiment.currency
    called = names.arm_names(analysis.experiment)[arm]
    rows = []
    for profit in _by_window(analysis, arm):
        for rung in profit.ladder:
            amount, share = shown_money(rung.effect, currency), shown_share(rung.effect)
            rows.append(
                (
                    rung.label,
                    names.window_name(profit.window),
                    money(rung.control, currency, signed=False,
                          width=rung.effect.ci_high - rung.effect.ci_low),
                    amount.text,
                    amount.interval,
                    share.value or NONE,
                    share.interval or share.note,
                )
            )  # fmt: skip
    return table(
        f"The ladder of {called}, per {analysis.experiment.unit}",
        ("rung", "window", "control", "difference", "range", "share of control", "range, %"),
        rows,
        text=2,
    )


def _depth(analysis: Analysis) -> Section | None:
    """GMV and profit side by side, by depth where arms are coupons."""
    if len(analysis.profits) < 2:
        return None
    arms = {arm.label: arm for arm in analysis.experiment.treatments}
    has_depth = all(arm.coupon is not None for arm in arms.values())
    has_depth = has_depth and len({arm.coupon for arm in arms.values()}) == len(arms)
    top = _top(analysis.profits[0])
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
    chart = panels("depth", found, finding, "Each panel has its own scale.")
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
    """Depth at which profit turns from gain to loss; None where the data show none."""
    found = analysis.dose.break_even if analysis.dose is not None else None
    return found if found is not None and math.isfinite(found.estimate) else None


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
    out = []
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
    top = _top(most)
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


def _journey(analysis: Analysis) -> Section | None:
    called = names.arm_names(analysis.experiment)
    control = analysis.experiment.control.label
    steps = list(dict.fromkeys(step.step for step in analysis.journey))
    if not steps:
        return None
    rows = [
        Row(
            label=called.get(step.arm, step.arm),
            estimate=Estimate(name=step.step, estimate=step.share),
            text=percent(_clean(step.share), signed=False),
            group=step.label,
            is_grey=step.arm == control,
        )
        for name in steps
        for step in analysis.journey
        if step.step == name
    ]
    finding = _journey_finding(analysis)
    label = {step.step: step.label for step in analysis.journey}
    share = {(step.arm, step.step): step.share for step in analysis.journey}
    detail = [
        (
            called.get(arm, arm),
            *(percent(_clean(share.get((arm, s), math.nan)), signed=False) for s in steps),
        )
        for arm in analysis.effects.arms
    ]
    return Section(
        key="journey",
        title=f"The {analysis.experiment.unit}'s journey",
        finding=finding,
        charts=(bars("journey", rows, alt=finding),),
        tables=(
            table(
                f"Share of assigned {names.plural(analysis.experiment.unit)} at each step",
                ("arm", *(label[step] for step in steps)),
                detail,
            ),
        ),
    )


def _clean(share: float) -> float:
    """Adjusted means can miss 0 by rounding errors."""
    return 0.0 if abs(share) < 1e-9 else share


def _journey_finding(analysis: Analysis) -> str:
    called, first = in_focus(analysis)
    unit = names.plural(analysis.experiment.unit)
    share = {(step.arm, step.step): step.share for step in analysis.journey}
    for step, verb in (("buyers", "ordered"), ("kept_buyers", "kept an order")):
        pair = share.get((first.control, step)), share.get((first.arm, step))
        if pair[0] is not None and pair[1] is not None:
            before, after = (percent(x, signed=False) for x in (pair[0], pair[1]))
            return f"{after} of {unit} with {called} {verb}, {before} of control."
    return f"The share of {unit} at each step of the journey, by arm."


def _parties(analysis: Analysis) -> Section | None:
    called, first = in_focus(analysis)
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    known = {
        party: effect
        for party, effect in first.parties.items()
        if math.isfinite(effect.estimate) and effect.estimate != 0
    }
    if len(known) < 2:
        return None
    order = sorted(known, key=lambda party: -known[party].estimate)
    width = max(known[party].ci_high - known[party].ci_low for party in order)
    amount = {party: money(known[party].estimate, currency, width=width) for party in order}
    rows = [Row(label=names.party_name(p), estimate=known[p], text=amount[p]) for p in order]
    said = [f"{names.party_name(p)} {amount[p]}" for p in order]
    finding = f"Per {unit}{followed(first)}, {called} brought {names.listed(said)}."
    detail = [
        (called_arm, names.party_name(party), shown.text, shown.interval or shown.note)
        for profit in analysis.profits
        for called_arm in [names.arm_names(analysis.experiment)[profit.arm]]
        for party, effect in profit.parties.items()
        for shown in [shown_money(effect, currency)]
    ]
    return Section(
        key="parties",
        title="Who gains and who pays",
        finding=finding,
        charts=(
            forest("parties", rows, money_axis(analysis, "extra money by party"), alt=finding),
        ),
        tables=(
            table(f"Extra money by party, per {unit}", ("arm", "party", "difference", "range"),
                  detail, text=2),
        ),
        notes=(
            "Parties do not add up to 0: goods, logistics and the customer's own use of the goods "
            "are outside.",
        ),
    )  # fmt: skip


def _campaign(analysis: Analysis) -> Section:
    called, first = in_focus(analysis)
    return Section(
        key="campaign",
        title="What a yuan of campaign money bought"
        if analysis.experiment.currency == "CNY"
        else "What campaign money bought",
        finding=_campaign_finding(analysis, called, first),
        tables=(_campaign_table(analysis),),
        notes=(
            "The chance of a profit above 0 and the expected loss describe this reading only; "
            "they are not evidence for stopping early.",
        ),
    )


def _campaign_finding(analysis: Analysis, called: str, first: Profit) -> str:
    currency = analysis.experiment.currency
    ratio = shown_ratio(first.iroi)
    text = (
        f"Profit per {money(currency_of(currency).scale, currency, signed=False)} of "
        f"{words.campaign_money(analysis)} with {called}: {ratio.with_range}"
    )
    per = next(iter(first.cost_per.items()), None)
    if per is not None:
        text += f"; {per[0]}: {shown_money(per[1], currency, signed=False).with_range}"
        average = first.average_cost_per.get(per[0], math.nan)
        if math.isfinite(average):
            text += f", where a dashboard's average says {_whole(average, currency)}"
    return f"{text}."


def _whole(minor: float, currency: str) -> str:
    """An amount without a range, to three digits."""
    return money(minor, currency, signed=False, width=abs(minor) / 3)


def _plain_money(minor: float, currency: str) -> Shown:
    value = _whole(minor, currency) if minor else money(0, currency)
    return Shown(value=value, interval="", words="")


def _campaign_table(analysis: Analysis) -> Table:
    currency, unit = analysis.experiment.currency, analysis.experiment.unit
    rows: list[tuple[str, str, str, str]] = []
    for profit in analysis.profits:
        called = names.arm_names(analysis.experiment)[profit.arm]
        found = [
            (
                f"campaign money per {unit}",
                shown_money(profit.campaign_cost, currency, signed=False),
            ),
            ("profit per unit of campaign money", shown_ratio(profit.iroi)),
            *((k, shown_money(e, currency, signed=False)) for k, e in profit.cost_per.items()),
            *(
                (f"{k}: average over all, extra or not", _plain_money(v, currency))
                for k, v in profit.average_cost_per.items()
            ),
            (
                "mechanical: other prices on what control sells anyway",
                shown_money(profit.mechanical, currency),
            ),
            (
                "behavioural: other behaviour, at the arm's prices",
                shown_money(profit.behavioural, currency),
            ),
        ]
        rows += [
            (called, name, s.text, s.interval or (s.note if s.value else ""))
            for name, s in found
        ]
        chance = percent(profit.p_positive, signed=False)
        rows.append((called, "chance that extra profit is above 0 (flat prior)", chance, ""))
        loss = money(
            profit.expected_loss, currency, signed=False, width=profit.profit.std_error
        )
        known = math.isfinite(profit.expected_loss)
        rows.append(
            (called, f"expected loss per {unit} if shipped", loss if known else NONE, "")
        )
        if math.isfinite(profit.attributed_roi):
            rows.append((called, "dashboard coupon ROI: sales with a coupon per coupon money",
                         f"{profit.attributed_roi:.1f}", ""))  # fmt: skip
    return table("Campaign money by arm", ("arm", "what", "number", "range"), rows, text=2)
