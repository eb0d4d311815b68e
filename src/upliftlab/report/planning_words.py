"""Which words say how large a test must be, until when, at which cost, and whether?"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from upliftlab.design.answer import NO_EFFECT, NOT_WORTH_IT, RUN, TOO_LARGE
from upliftlab.plan.metrics import PROFIT
from upliftlab.report import names
from upliftlab.report.numbers import NBSP, NONE, count, money, percent

if TYPE_CHECKING:
    from datetime import date

    from upliftlab.design.answer import Design, Size

CHIPS = {
    RUN: "ship",
    TOO_LARGE: "stop",
    NOT_WORTH_IT: "stop",
    NO_EFFECT: "no-verdict",
}
"""Verdict -> colour of its chip on the page."""


def headline(plan: Design) -> str:
    """Say what to do."""
    unit = names.plural(plan.experiment.unit)
    if plan.layout is not None:
        return _layout_headline(plan)
    if plan.verdict == NO_EFFECT:
        return (
            "NAME AN EFFECT: say which extra profit is worth seeing; below stands what the "
            "planned test would see."
        )
    if plan.verdict == TOO_LARGE:
        return f"NO REALISTIC TEST: {_why_too_large(plan)}"
    size = f"{about(plan.needed)} {unit}"
    if plan.verdict == NOT_WORTH_IT:
        return f"DO NOT RUN IT: {size} cost more than the answer is expected to be worth."
    when = f" for {weeks(plan.needed_days)}" if math.isfinite(plan.needed_days) else ""
    until = last_day(plan)
    tail = f", until {until}" if until else ""
    return f"RUN IT with {size}: assign{when or ' them'}{tail}.{_as_planned(plan)}"


def about(n: float) -> str:
    """Print how many to three digits; words where it is never.

    Examples:
        >>> about(554_102), about(2_812_345).split(), about(float("inf"))
        ('555,000', ['2.8', 'M'], 'more than there are')
    """
    if not math.isfinite(n):
        return NONE if math.isnan(n) else "more than there are"
    if n >= 1_000_000:
        return f"{n / 1e6:,.1f}{NBSP}M"
    step = 10 ** max(math.floor(math.log10(n)) - 2, 0) if n >= 1 else 1
    return count(math.ceil(n / step) * step)


def weeks(days: float) -> str:
    """Print a run in whole weeks.

    Examples:
        >>> weeks(14).split(), weeks(7).split(), weeks(3).split()
        (['2', 'weeks'], ['1', 'week'], ['3', 'days'])
    """
    if not math.isfinite(days):
        return NONE
    n = int(days)
    if n % 7:
        return f"{n}{NBSP}days" if n != 1 else f"1{NBSP}day"
    return f"{n // 7}{NBSP}week" + ("" if n == 7 else "s")


def day(found: date) -> str:
    """Print a day."""
    return f"{found.day} {found:%b} {found.year}"


def last_day(plan: Design) -> str:
    """Last day of assignment that is needed; empty without a start."""
    run = plan.experiment.run
    if run is None or not math.isfinite(plan.needed_days):
        return ""
    return day(run.start + timedelta(days=int(plan.needed_days) - 1))


def final_day(plan: Design) -> str:
    """Day on which the needed run's answer is final; empty without a start."""
    run, experiment = plan.experiment.run, plan.experiment
    if run is None or not math.isfinite(plan.needed_days):
        return ""
    wait = (experiment.follow_up or 0) + (experiment.returns_final_after or 0)
    return day(run.start + timedelta(days=int(plan.needed_days) - 1 + wait))


def amount(plan: Design, minor: float, *, per_unit: bool = False) -> str:
    """Print money: per unit with the decimals that matter, totals to two digits."""
    if minor == 0:
        return money(0, plan.experiment.currency, signed=False)
    if not math.isfinite(minor):
        return NONE if math.isnan(minor) else "no limit"
    currency = plan.experiment.currency
    if per_unit:
        width = max(abs(minor), 1e-9)
        return money(minor, currency, width=width, signed=False)
    return money(minor, currency, width=max(abs(minor), 1.0), signed=False)


def money_range(plan: Design, low: float, high: float) -> str:
    """Print a range of money per unit."""
    ends = [amount(plan, end, per_unit=True) for end in (low, high)]
    return f"{ends[0]} … {ends[1]}"


def effect_text(plan: Design, size: Size, value: float) -> str:
    """Print an effect of a metric in its unit."""
    if not math.isfinite(value):
        return NONE
    if size.is_money:
        return amount(plan, value, per_unit=True)
    if names.metric_kind(size.metric, plan.experiment) == "share":
        points = value * 100
        return f"{points:,.2f}{NBSP}points" if points < 10 else f"{points:,.0f}{NBSP}points"
    return f"{value:,.3g}"


def share_of_base(size: Size, value: float) -> str:
    """Print an effect as a share of control; empty where control is near 0."""
    if not math.isfinite(value) or not abs(size.base) > 0:
        return ""
    return percent(abs(value / size.base), signed=False)


def metric_text(plan: Design, size: Size) -> str:
    """Name a metric as a reader would."""
    return (
        "PROFIT" if size.metric == PROFIT else names.metric_name(size.metric, plan.experiment)
    )


def reach_text(plan: Design) -> str:
    """Say how many the decision reaches: units, or units and periods of a quarter."""
    many, experiment = about(plan.worth.reach), plan.experiment
    if experiment.period is None:
        return f"{many} {names.plural(experiment.unit)}"
    return f"{many} {experiment.unit}-{experiment.period}s of a quarter"


def source_text(plan: Design, size: Size) -> str:
    """Say where the effect to be seen comes from."""
    if not size.source:
        return "none named"
    text = effect_text(plan, size, size.effect)
    if size.source == "margin":
        return f"holds within {text}"
    return (
        f"{text} extra" if size.metric != PROFIT else f"{text} extra per {plan.experiment.unit}"
    )


def chance(power: float) -> str:
    """Print a chance without false precision.

    Examples:
        >>> chance(0.2564).split(), chance(0.9999).split(), chance(0.001).split()
        (['26', '%'], ['over', '99', '%'], ['under', '1', '%'])
    """
    if not math.isfinite(power):
        return NONE
    if power > 0.995:
        return f"over 99{NBSP}%"
    if power < 0.01:
        return f"under 1{NBSP}%"
    return f"{power * 100:.0f}{NBSP}%"


def verdict_chip(size: Size, wanted: float) -> str:
    """Say in a word whether the planned test sees the effect."""
    if not math.isfinite(size.power):
        return ""
    return "large enough" if size.power >= wanted - 1e-9 else "too small"


def hungriest(plan: Design) -> Size:
    """Profit of the arm that needs most."""
    found = [size for size in plan.sizes if size.metric == PROFIT]
    return max(found, key=lambda s: s.n if not math.isnan(s.n) else -1.0)


def _why_too_large(plan: Design) -> str:
    unit = names.plural(plan.experiment.unit)
    size = hungriest(plan)
    text = (
        f"to see {amount(plan, abs(size.effect), per_unit=True)} extra profit per "
        f"{plan.experiment.unit} takes {about(plan.needed)} {unit}"
    )
    reach = plan.experiment.eligible_customers
    if reach and plan.needed > reach:
        return f"{text}, and {about(reach)} are eligible."
    longest = plan.over_time[-1] if plan.over_time else None
    if longest is not None:
        return f"{text}, and {about(longest.units)} come by in {weeks(longest.days)}."
    return f"{text}."


def _as_planned(plan: Design) -> str:
    """What the plan as written would see, where that is too little."""
    size = hungriest(plan)
    run = plan.experiment.run
    if run is None or not math.isfinite(size.power) or size.power >= plan.wanted - 1e-9:
        return ""
    days = (run.end - run.start).days + 1
    return (
        f" As planned ({weeks(days)}) it sees the effect with a chance of "
        f"{chance(size.power)} only."
    )


def _layout_headline(plan: Design) -> str:
    layout = plan.layout
    assert layout is not None  # noqa: S101 - asked before
    what = {
        "staggered": f"{len(layout.rows)} clusters in waves",
        "switchback": f"{len(layout.periods)} {layout.period}s on and off",
        "geo": f"{sum(s >= 0 for s in layout.starts.values())} treated regions",
    }[layout.kind]
    each = names.each(plan.experiment)
    mde = amount(plan, layout.mde, per_unit=True)
    seen = f"{what} see extra profit from {mde} per {each} on"
    if plan.verdict == NO_EFFECT:
        return f"NAME AN EFFECT: {seen}; say which one is worth seeing."
    wanted = f"the {amount(plan, layout.effect, per_unit=True)} that are asked for"
    if plan.verdict == RUN:
        return f"RUN IT: {seen}; {wanted} with a chance of {chance(layout.power)}."
    if plan.verdict == NOT_WORTH_IT:
        return f"DO NOT RUN IT: {seen}, and knowing costs more than it is worth."
    return (
        f"TOO SMALL AS LAID OUT: {seen}; {wanted} with a chance of {chance(layout.power)} only."
    )
