"""Which sections make a design page, after its first screen?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.plan.metrics import PROFIT
from upliftlab.report import names, planning_words as words
from upliftlab.report.numbers import NBSP, NONE, count, percent
from upliftlab.report.parts import Item, Part, Section, Table, table
from upliftlab.report.planning_layout import layout_sections
from upliftlab.report.planning_plots import Curves, Line, Stage, curves, time_line

if TYPE_CHECKING:
    from upliftlab.design.answer import Design
    from upliftlab.report.style import Chart


def plan_parts(plan: Design) -> tuple[Part, ...]:
    """Return everything below the first screen, in the order in which questions come up."""
    size = tuple(s for s in (*layout_sections(plan), _sizes(plan), _shares(plan)) if s)
    when = tuple(s for s in (_duration(plan), _calendar(plan)) if s)
    how = tuple(s for s in (_pilot(plan), _simulated(plan), _method(plan)) if s)
    parts = (
        Part(key="size", title="How large", sections=size),
        Part(key="when", title="Until when", sections=when),
        Part(key="worth", title="What it costs and what it is worth", sections=(_worth(plan),)),
        Part(key="risks", title="What could go wrong", sections=_risks(plan)),
        Part(key="how", title="How it was computed", sections=how),
    )
    return tuple(part for part in parts if part.sections)


def _sizes(plan: Design) -> Section | None:
    if not plan.sizes:
        return None
    called = names.arm_names(plan.experiment)
    several = len(plan.experiment.treatments) > 1
    rows = [
        (
            words.metric_text(plan, s) + (f", {called[s.arm]}" if several else ""),
            words.source_text(plan, s),
            words.about(s.n) if s.source else NONE,
            f"{words.about(s.n_low)} – {words.about(s.n_high)}"
            if math.isfinite(s.n_low) else NONE,
            words.effect_text(plan, s, s.mde), words.share_of_base(s, s.mde) or NONE,
            words.effect_text(plan, s, s.mde_loss), words.chance(s.power),
            percent(s.alpha, decimals=2, signed=False),
        )
        for s in plan.sizes
    ]  # fmt: skip
    unit = names.plural(plan.experiment.unit)
    said = dict.fromkeys(
        f"{words.metric_text(plan, s)}: {s.note}." for s in plan.sizes if s.note
    )
    return Section(
        key="metrics",
        title="Every metric of the plan",
        finding=_sizes_finding(plan),
        tables=(
            table(
                "What each metric needs and what the planned test sees",
                ("metric", "to be seen", f"{unit} needed", "range", "smallest seen",
                 "of control", "smallest loss seen", "chance", "tested at"),
                rows, text=2, is_open=True,
            ),
        ),
        notes=(
            (
                "Smallest seen: the effect that the planned test shows with a chance of "
                f"{words.chance(plan.wanted)}; a loss may take more where a skewed amount "
                "meets unequal arms. A guardrail is shown to hold if nothing is harmed."
            ),
            *said,
        ),
    )  # fmt: skip


def _sizes_finding(plan: Design) -> str:
    profit = words.hungriest(plan)
    others = [s for s in plan.sizes if s.metric != PROFIT and math.isfinite(s.n)]
    unit = names.plural(plan.experiment.unit)
    if math.isnan(profit.n):
        seen = words.amount(plan, profit.mde, per_unit=True)
        return (
            f"As planned, extra profit is seen from {seen} per {plan.experiment.unit} on, "
            f"{words.share_of_base(profit, profit.mde)} of what control earns."
        )
    if not others:
        return f"Profit needs {words.about(profit.n)} {unit}."
    least = min(others, key=lambda s: s.n)
    times = profit.n / least.n
    called = words.metric_text(plan, least)
    if times > 1.5:
        return (
            f"Profit needs {words.about(profit.n)} {unit}, {times:,.0f} times as many as "
            f"{called}: a test that is large enough for {called} says nothing about profit."
        )
    return (
        f"Profit needs {words.about(profit.n)} {unit}; {called} needs {words.about(least.n)}."
    )


def _shares(plan: Design) -> Section | None:
    if plan.experiment.period is not None:
        return None
    called = names.arm_names(plan.experiment)
    rows = [
        (
            called[arm.label],
            NONE if arm.share is None else percent(float(arm.share), signed=False),
            percent(plan.best_shares[arm.label], signed=False),
        )
        for arm in plan.experiment.arms
    ]
    costs = plan.experiment.power.unit_cost if plan.experiment.power else {}
    what = "money" if len(costs) == len(plan.experiment.arms) else "customers"
    finding = (
        f"The plan's shares are as good as any: others would save under 2 % of the {what}."
        if plan.saved < 0.02
        else f"Other shares would save {percent(plan.saved, signed=False)} of the {what}."
    )
    return Section(
        key="shares",
        title="How to share units out",
        finding=finding,
        tables=(table("Shares", ("arm", "in the plan", "best for profit"), rows),),
    )


def _duration(plan: Design) -> Section | None:
    if not plan.over_time:
        return None
    scale = 1 / currency_of(plan.experiment.currency).scale
    called = names.arm_names(plan.experiment)
    x = tuple(m.days / 7 for m in plan.over_time)
    size = words.hungriest(plan)
    arms = list(plan.over_time[0].mde)
    mark = plan.needed_days / 7
    finding = _duration_finding(plan)
    unit = plan.experiment.unit
    mde = Curves(
        title=f"smallest extra profit that is seen, {_money(plan)} per {unit}",
        below="weeks of assignment",
        lines=tuple(
            Line(label=called[arm], x=x, y=tuple(m.mde[arm] * scale for m in plan.over_time))
            for arm in arms
        ),
        level=abs(size.effect) * scale,
        level_label="to be seen",
        mark=mark,
        mark_label=f"{mark:.0f} weeks" if math.isfinite(mark) else "",
    )
    chance = Curves(
        title="chance to see what is asked for",
        below="weeks of assignment",
        lines=tuple(
            Line(label=called[arm], x=x, y=tuple(m.power[arm] for m in plan.over_time))
            for arm in arms
        ),
        level=plan.wanted,
        level_label="wanted",
        mark=mark,
        is_share=True,
    )
    shown = (mde, chance) if math.isfinite(size.effect) else (mde,)
    return Section(
        key="duration",
        title="How it sharpens week by week",
        finding=finding,
        charts=(
            curves("duration", shown, finding,
                   "Whole weeks only, so that every weekday counts alike."),
        ),
        tables=(_weeks_table(plan, arms[0]),),
        notes=plan.notes[-2:],
    )  # fmt: skip


def _duration_finding(plan: Design) -> str:
    until, final = words.last_day(plan), words.final_day(plan)
    first = plan.over_time[0]
    arm = next(iter(first.mde))
    early = words.amount(plan, first.mde[arm], per_unit=True)
    if math.isfinite(plan.needed_days):
        when = f", until {until}; the answer is final on {final}" if until else ""
        return f"You need {words.weeks(plan.needed_days)}{when}."
    last = plan.over_time[-1]
    late = words.amount(plan, last.mde[arm], per_unit=True)
    return (
        f"After one week the test sees {early} per {plan.experiment.unit}, after "
        f"{words.weeks(last.days)} {late}."
    )


def _weeks_table(plan: Design, arm: str) -> Table:
    rows = [
        (
            words.weeks(m.days),
            words.about(m.units),
            words.amount(plan, m.mde[arm], per_unit=True),
            words.chance(m.power[arm]),
            NONE if m.ready is None else words.day(m.ready),
            words.amount(plan, m.spent),
            words.amount(plan, m.net),
        )
        for m in plan.over_time
    ]
    return table(
        "Week by week",
        ("assigned for", names.plural(plan.experiment.unit), "smallest seen", "chance",
         "final on", "spent", "expected net gain"),
        rows,
    )  # fmt: skip


def _calendar(plan: Design) -> Section | None:
    experiment = plan.experiment
    if experiment.run is None or not math.isfinite(plan.needed_days):
        return None
    from datetime import timedelta

    start, days = experiment.run.start, int(plan.needed_days)
    follow, returns = experiment.follow_up or 0, experiment.returns_final_after or 0

    def date_of(offset: int) -> str:
        return words.day(start + timedelta(days=offset))

    stages = [
        Stage(label="assign", start=0, days=days, text=f"until {date_of(days - 1)}"),
        Stage(label="follow the last ones", start=days, days=follow,
              text=f"until {date_of(days - 1 + follow)}"),
        Stage(label="returns come in", start=days + follow, days=returns,
              text=f"final on {date_of(days - 1 + follow + returns)}"),
    ]  # fmt: skip
    stages = [stage for stage in stages if stage.days]
    finding = (
        f"Assign from {words.day(start)} for {words.weeks(days)}; the answer is final "
        f"{days + follow + returns} days after the start."
    )
    return Section(
        key="calendar",
        title="The calendar",
        finding=finding,
        charts=(time_line("calendar", stages, finding),),
        notes=("Sooner there is no verdict: early profit flatters what brings more returns.",),
    )


def _worth(plan: Design) -> Section:
    worth = plan.worth
    reach = words.reach_text(plan) if worth.reach else "all who are eligible"
    rows = [
        ("campaign money on the test's own", words.amount(plan, worth.spent),
         "beyond what control gets"),
        ("running it", words.amount(plan, worth.fixed), "stated in the plan"),
        ("profit at risk", words.amount(plan, worth.at_risk),
         "lost on the treated in the worst case of twenty"),
        ("knowing", words.amount(plan, worth.information),
         f"expected gain over {reach} from deciding afterwards"),
        ("knowing for sure", words.amount(plan, worth.perfect), "no test is worth more"),
        ("profit that testing costs", words.amount(plan, worth.expected_loss),
         "expected, on the treated"),
        ("net", words.amount(plan, worth.net), "knowing, less what it costs"),
    ]  # fmt: skip
    charts: tuple[Chart, ...] = ()
    x = tuple(m.days / 7 for m in plan.over_time)
    if x and all(math.isfinite(m.net) for m in plan.over_time):
        scale = 1 / currency_of(plan.experiment.currency).scale / 1000
        lines = (Line(label="net", x=x, y=tuple(m.net * scale for m in plan.over_time)),)
        best = max(plan.over_time, key=lambda m: m.net)
        panel = Curves(
            title=f"expected net gain, thousand {_money(plan)}",
            below="weeks of assignment",
            lines=lines,
            mark=best.days / 7,
            mark_label="most" if best is not plan.over_time[-1] else "",
        )
        charts = (curves("worth", (panel,), _worth_finding(plan)),)
    notes = [f"{worth.note[:1].upper()}{worth.note[1:]}."] if worth.note else []
    notes.append("Waiting is not charged: what the answer earns, it earns from its day on.")
    if worth.is_assumed:
        sd = words.amount(plan, worth.belief[1], per_unit=True)
        notes.append(
            f"Nobody stated what is believed of the effect: ±{sd} per {plan.experiment.unit} "
            "is assumed, 4 % of control's profit. State it in power.belief."
        )
    return Section(
        key="net",
        title="Is it worth running",
        finding=_worth_finding(plan),
        charts=charts,
        tables=(
            Table(
                caption="Cost and value",
                columns=("what", "money", "meaning"),
                rows=tuple(rows),
                numeric=frozenset({1}),
                is_open=True,
            ),
        ),
        notes=tuple(notes),
    )  # fmt: skip


def _worth_finding(plan: Design) -> str:
    worth = plan.worth
    if not math.isfinite(worth.net):
        return f"What the answer is worth is not known: {worth.note}."
    net = words.amount(plan, abs(worth.net))
    verb = "gains" if worth.net >= 0 else "loses"
    text = f"Testing first {verb} {net} on average against deciding now"
    if worth.pays_from > 0:
        sd = words.amount(plan, worth.pays_from, per_unit=True)
        return f"{text}; it pays as soon as effects of ±{sd} per unit are plausible."
    if math.isnan(worth.pays_from):
        return f"{text}, whatever is believed of the effect."
    return f"{text}."


def _risks(plan: Design) -> tuple[Section, ...]:
    items = tuple(
        Item(state=r.state, text=f"{r.text} Instead: {r.instead}." if r.instead else r.text)
        for r in plan.risks
    )
    warned = sum(r.state in {"warn", "fail"} for r in plan.risks)
    found = (
        Section(
            key="risk-list",
            title="Risks, and what would be safer",
            finding=f"{count(warned)} of {count(len(items))} points need attention."
            if warned
            else "No warning; what is assumed stands below.",
            items=items,
        ),
    )
    if not plan.others:
        return found
    rows = [(o.label, words.amount(plan, o.mde, per_unit=True), o.text) for o in plan.others]
    other = Section(
        key="others",
        title="Other ways to run it",
        finding=(
            "What the same customers would show if they were used otherwise: smallest extra "
            f"profit per {plan.experiment.unit}."
        ),
        tables=(
            table("Other designs", ("design", "smallest seen", "what it tells"), rows, text=1,
                  is_open=True),
        ),
    )  # fmt: skip
    return (*found, other)


def _pilot(plan: Design) -> Section:
    pilot = plan.pilot
    rows = []
    for each in pilot.spreads:
        control = plan.experiment.control.label
        kept = sum(each.kept.values()) / max(len(each.kept), 1)
        scale = 1 / currency_of(plan.experiment.currency).scale if each.is_money else 1.0
        rows.append(
            (
                names.metric_name(each.metric, plan.experiment),
                f"{each.mean * scale:,.4g}".replace("-", "−"),
                f"{each.sd[control] * scale:,.4g}",
                percent(1 - kept, signed=False),
                NONE if math.isnan(each.kurtosis) else f"{each.kurtosis:,.1f}",
                f"{each.inflation:.2f}",
                "stated" if each.is_stated else "measured",
            )
        )
    source = (
        f"the pilot {pilot.name} of {names.counted(pilot.units, plan.experiment.unit)}"
        if pilot.units
        else "the plan's own words"
    )
    gain = 1 - sum(pilot.spreads[0].kept.values()) / max(len(pilot.spreads[0].kept), 1)
    taken = (
        f"; adjustment for what was known before takes out {percent(gain, signed=False)} of "
        "the variance of profit"
    )
    finding = f"How units vary comes from {source}{taken if gain > 0 else ''}."
    seen = [
        (names.arm_names(plan.experiment)[arm], words.amount(plan, e.estimate, per_unit=True),
         words.money_range(plan, e.ci_low, e.ci_high))
        for arm, e in pilot.spreads[0].seen.items()
    ]  # fmt: skip
    tables = [
        table(
            "How units vary",
            ("metric", "mean of control", "standard deviation", "taken out", "kurtosis",
             "design effect", "source"),
            rows,
        )
    ]  # fmt: skip
    if seen:
        tables.append(
            table("What the pilot itself saw of profit", ("arm", "extra", "range"), seen)
        )
    notes = [*pilot.notes]
    if math.isfinite(pilot.icc):
        notes.append(
            f"{pilot.clusters:,} clusters of {pilot.cluster_size:,.1f} on average (sizes vary "
            "by "
            f"{percent(pilot.cluster_cv, decimals=0, signed=False)}), correlation of profit "
            f"within clusters {pilot.icc:.3f}."
        )
    if seen:
        notes.append(
            "The pilot's own effect is not what the size is planned for: where its range holds "
            "0, the size that it implies has no upper end."
        )
    return Section(
        key="pilot",
        title="The pilot",
        finding=finding,
        tables=tuple(tables),
        notes=tuple(notes),
    )


def _simulated(plan: Design) -> Section | None:
    if not plan.simulated:
        return None
    called = names.arm_names(plan.experiment)
    promised = plan.wanted if plan.layout is None else plan.layout.power
    if plan.layout is not None and math.isnan(promised):
        promised = plan.wanted
    rows = [
        (
            called.get(name, name), count(s.runs), words.chance(promised),
            words.chance(s.power),
            f"{s.ci_low * 100:.0f} … {s.ci_high * 100:.0f}{NBSP}%", str(s.seed),
        )
        for name, s in plan.simulated.items()
    ]  # fmt: skip
    first = next(iter(plan.simulated.values()))
    return Section(
        key="simulated",
        title="The same by simulation",
        finding=(
            f"Run {count(first.runs)} times by its own estimator, the test sees its effect in "
            f"{words.chance(first.power)} of runs; {words.chance(promised)} were promised."
        ),
        tables=(
            table(
                "Simulated tests", ("test", "runs", "promised", "seen", "range", "seed"), rows
            ),
        ),
        notes=(
            (
                "Customers are drawn from the pilot, without adjustment and at most 20,000 to "
                "an arm, with the smallest effect that so many promise to see."
            ),
        )
        if plan.layout is None
        else (),
    )


LAWS = {
    "staggered": (
        "group-time averages (Callaway and Sant'Anna, 2021), run many times on the noise of "
        "the pilot's clusters"
    ),
    "switchback": "on less off over pairs of blocks, by t on their number",
    "geo": (
        "synthetic difference in differences (Arkhangelsky et al., 2021), tried on windows of "
        "the time before"
    ),
}
"""Kind of a layout -> the estimator that its precision is of."""


def _method(plan: Design) -> Section:
    level = percent(float(plan.experiment.decide.confidence), decimals=0, signed=False)
    several = len(plan.experiment.treatments) > 1
    law = (
        (
            (
                f"Two-sided tests at a confidence of {level}, by the normal law on the "
                "variance of arm means, moved by the skewness that the pilot shows. Guardrails "
                "are one-sided against their margin."
            ),
            (
                "Ranges of sizes come from the fourth moment of the pilot: a size is as "
                "uncertain as the variance it rests on."
            ),
        )
        if plan.layout is None
        else (f"Two-sided tests at a confidence of {level}: {LAWS[plan.layout.kind]}.",)
    )
    notes = [
        *law,
        (
            "The worth of knowing is the expected gain of deciding on the posterior mean "
            "rather than on the prior one (Raiffa and Schlaifer, 1961)."
        ),
    ]
    if several:
        notes.append(
            "Profit is tested with all arms counted, by the largest |t| against the shared "
            "control, as the analysis will."
        )
    if plan.inflation > 1:
        notes.append(
            f"Looks that may stop the test early make it {percent(plan.inflation - 1)} larger."
        )
    return Section(
        key="method",
        title="Method",
        finding=(
            "The design uses the estimator, the adjustment and the correction for several arms "
            "that the analysis of the same plan uses."
        ),
        notes=tuple(notes),
    )


def _money(plan: Design) -> str:
    return currency_of(plan.experiment.currency).main
