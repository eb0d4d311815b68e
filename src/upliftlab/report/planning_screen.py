"""What does a reader of a design see in the first ten seconds?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.plan.metrics import PROFIT
from upliftlab.report import names, planning_words as words
from upliftlab.report.numbers import NONE, count, percent

if TYPE_CHECKING:
    from upliftlab.design.answer import Design, Size
    from upliftlab.design.layouts import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One of the four questions with its answer.

    Attributes:
        question: "How many customers?"
        text: The answer, short.
        detail: Its range, or what it rests on.
    """

    question: str
    text: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """What one metric needs.

    Attributes:
        label: Its name, with the arm where there are several.
        wanted: What is to be seen.
        needed: Units over all arms.
        interval: Their range.
        smallest: Smallest effect of the test as planned, or as advised.
        chance: Chance that this test sees what is wanted.
        chip: "large enough" or "too small".
        is_profit: Whether it is the headline.
    """

    label: str
    wanted: str
    needed: str
    interval: str
    smallest: str
    chance: str
    chip: str
    is_profit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanScreen:
    """Everything above the fold, as text.

    Attributes:
        title: Name of the experiment.
        facts: Dates, how many come by, the pilot.
        headline: What to do.
        chip: Colour of the verdict.
        answers: How many, until when, what does it cost, is it worth it.
        heading: Of the table of metrics, or of layouts.
        columns: Headings of its other columns.
        rows: Metrics, profit first.
        risk: The worst risk, with its alternative.
        next_step: What to do now.
    """

    title: str
    facts: tuple[str, ...]
    headline: str
    chip: str
    answers: tuple[Answer, ...]
    heading: str
    columns: tuple[str, ...]
    rows: tuple[MetricRow, ...]
    risk: str
    next_step: str


def plan_screen(plan: Design) -> PlanScreen:
    """Gather the first screen of a design page."""
    return PlanScreen(
        title=f"Design: {names.title(plan.experiment)}",
        facts=_facts(plan),
        headline=words.headline(plan),
        chip=words.CHIPS[plan.verdict],
        answers=(_how_many(plan), _until_when(plan), _cost(plan), _worth(plan)),
        heading=_heading(plan),
        columns=_columns(plan),
        rows=_choices(plan) or tuple(_row(plan, size) for size in plan.sizes),
        risk=_risk(plan),
        next_step=_next(plan),
    )


def _facts(plan: Design) -> tuple[str, ...]:
    pilot = plan.pilot
    measured = (
        f"measured on {names.counted(pilot.units, plan.experiment.unit)}"
        if pilot.units
        else "means and spreads stated, not measured"
    )
    parts = (names.dates(plan.experiment), measured, plan.experiment.owner)
    return tuple(part for part in parts if part)


def _heading(plan: Design) -> str:
    if plan.layout is not None:
        return "Layouts, the sharpest first"
    if not math.isfinite(plan.planned):
        return "The plan does not say how many it would assign"
    return f"With {words.about(plan.planned)} {names.plural(plan.experiment.unit)} as planned"


def _columns(plan: Design) -> tuple[str, ...]:
    if plan.layout is not None:
        return ("to be seen", "in all", "of what they earn", "smallest seen", "chance")
    return ("to be seen", "needs", "range", "smallest seen", "chance")


def _choices(plan: Design) -> tuple[MetricRow, ...]:
    """Layouts in place of metrics, where units switch over time."""
    layout = plan.layout
    if layout is None:
        return ()
    wanted = words.amount(plan, layout.effect, per_unit=True)
    each = names.each(plan.experiment)
    return tuple(
        MetricRow(
            label=f"{c.label} ({c.note})" if c.note else c.label,
            wanted=wanted if wanted == NONE else f"{wanted} per {each}",
            needed=words.amount(plan, c.total),
            interval=NONE if math.isnan(c.share) else percent(c.share, signed=False),
            smallest=words.amount(plan, c.mde, per_unit=True),
            chance=words.chance(c.power),
            chip=""
            if math.isnan(c.power)
            else ("large enough" if c.power >= plan.wanted - 1e-9 else "too small"),
            is_profit=i == 0,
        )
        for i, c in enumerate(layout.choices[:6])
    )


def _how_many(plan: Design) -> Answer:
    unit = names.plural(plan.experiment.unit)
    question = f"How many {unit}?"
    if plan.layout is not None:
        return Answer(
            question=question,
            text=_extent(plan.layout),
            detail=_within(plan, plan.layout, unit),
        )
    if math.isnan(plan.needed):
        return Answer(question=question, text="not known", detail="name an effect to be seen")
    size = words.hungriest(plan)
    low, high = size.n_low, size.n_high
    has_range = math.isfinite(low) and math.isfinite(high)
    detail = (
        f"{words.about(low)} to {words.about(high)}, as well as the pilot knows profit"
        if has_range
        else "in all arms together"
    )
    return Answer(question=question, text=words.about(plan.needed), detail=detail)


def _extent(layout: Layout) -> str:
    periods = f"{len(layout.periods)} {layout.period}s"
    if layout.kind == "switchback":
        return f"{layout.details['pairs']:,.0f} pairs of blocks, {periods}"
    if layout.kind == "geo":
        return f"{_treated(layout)} of {len(layout.rows)} regions treated"
    return f"{len(layout.rows)} {layout.unit}s, {periods}"


def _within(plan: Design, layout: Layout, unit: str) -> str:
    if layout.kind == "geo":
        return f"the other {len(layout.rows) - _treated(layout)} stand in for them"
    return f"in {plan.pilot.units:,} {unit}" if plan.pilot.units else ""


def _treated(layout: Layout) -> int:
    return sum(start >= 0 for start in layout.starts.values())


def _until_when(plan: Design) -> Answer:
    until, final = words.last_day(plan), words.final_day(plan)
    if plan.layout is not None and plan.layout.kind == "geo":
        before = max(plan.layout.starts.values())
        each = plan.layout.period
        return Answer(
            question="Until when?",
            text=f"{len(plan.layout.periods) - before} {each}s of treatment",
            detail=f"after {before} {each}s without it, which the pilot has",
        )
    if plan.layout is not None:
        return Answer(
            question="Until when?",
            text=f"{len(plan.layout.periods)} {plan.layout.period}s in all",
            detail="before and after included",
        )
    if math.isnan(plan.needed_days):
        return Answer(
            question="Until when?",
            text="not known",
            detail="say how many come by: power.weekly",
        )
    if math.isinf(plan.needed_days):
        return Answer(
            question="Until when?", text="never", detail="fewer come by than are needed"
        )
    wait = (plan.experiment.follow_up or 0) + (plan.experiment.returns_final_after or 0)
    return Answer(
        question="Until when?",
        text=f"{words.weeks(plan.needed_days)}" + (f", until {until}" if until else ""),
        detail=f"final on {final}" if final else f"and {wait} days more until it is final",
    )


def _cost(plan: Design) -> Answer:
    worth = plan.worth
    spent = words.amount(plan, worth.spent)
    parts = []
    if math.isfinite(worth.spent):
        parts.append(f"{spent} of coupon money" if _has_coupons(plan) else f"{spent} spent")
    if worth.fixed:
        parts.append(f"{words.amount(plan, worth.fixed)} for running it")
    risk = words.amount(plan, worth.at_risk)
    return Answer(
        question="What would it cost?",
        text=" and ".join(parts) or "not known",
        detail=f"profit at risk {risk}: lost in one case of twenty"
        if math.isfinite(worth.at_risk)
        else worth.note,
    )


def _worth(plan: Design) -> Answer:
    worth = plan.worth
    if not math.isfinite(worth.net):
        return Answer(question="Is it worth it?", text="not known", detail=worth.note)
    sd = words.amount(plan, worth.belief[1], per_unit=True)
    how = "assumed" if worth.is_assumed else "stated"
    reach = words.reach_text(plan)
    sign = "+" if worth.net >= 0 else "−"
    return Answer(
        question="Is it worth it?",
        text=f"{'yes' if worth.net >= 0 else 'no'}: {sign}"
        f"{words.amount(plan, abs(worth.net))} expected",
        detail=f"over {reach}, if effects are ±{sd} ({how})",
    )


def _has_coupons(plan: Design) -> bool:
    return any(arm.coupon is not None for arm in plan.experiment.treatments)


def _row(plan: Design, size: Size) -> MetricRow:
    several = len(plan.experiment.treatments) > 1
    arm = names.arm_names(plan.experiment)[size.arm]
    label = words.metric_text(plan, size)
    low, high = size.n_low, size.n_high
    share = words.share_of_base(size, size.mde)
    smallest = words.effect_text(plan, size, size.mde)
    return MetricRow(
        label=f"{label}, {arm}" if several else label,
        wanted=words.source_text(plan, size),
        needed=words.about(size.n) if size.source else NONE,
        interval=f"{words.about(low)} – {words.about(high)}" if math.isfinite(low) else "",
        smallest=f"{smallest} ({share})" if share and smallest != NONE else smallest,
        chance=words.chance(size.power),
        chip=words.verdict_chip(size, plan.wanted),
        is_profit=size.metric == PROFIT,
    )


def _risk(plan: Design) -> str:
    if not plan.risks:
        return "none found"
    worst = plan.risks[0]
    warned = sum(risk.state in {"warn", "fail"} for risk in plan.risks)
    more = f" ({count(warned)} warnings in all)" if warned > 1 else ""
    tail = f" Safer: {worst.instead}." if worst.instead else ""
    return f"{worst.text}{tail}{more}"


def _next(plan: Design) -> str:
    if plan.layout is not None and plan.verdict == "no realistic test":
        return "more clusters or periods, another layout, or a larger change"
    if plan.verdict == "run it":
        run = plan.experiment.run
        long = run is not None and (run.end - run.start).days + 1 < plan.needed_days < math.inf
        first = f"set run.end to {words.last_day(plan)}, then " if long else ""
        return f"{first}lock the plan and assign"
    if plan.verdict == "no realistic test":
        return (
            "test a deeper change, a group that reacts more, or a longer horizon; or decide "
            "without a test"
        )
    if plan.verdict == "not worth its cost":
        return "decide on what is believed now, or make the test cheaper"
    return "add decide.worth_it to the plan"
