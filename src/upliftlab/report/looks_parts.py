"""What stands below the first screen of a running test?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.monitor.answer import HARM
from upliftlab.plan.currencies import currency_of
from upliftlab.report import looks_words as words, names
from upliftlab.report.looks_plots import Band, over_looks
from upliftlab.report.numbers import NONE, count, money, p_value, percent
from upliftlab.report.parts import Item, Part, Section, table
from upliftlab.stats.anytime_ratio import anytime_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.monitor.answer import Look, Monitoring, Reading
    from upliftlab.report.parts import Table

AT_ANY_LOOK = "ranges hold at all looks at once, however often one looks"


def looks_parts(found: Monitoring) -> tuple[Part, ...]:
    """Profit over time, guardrails, trust, deciding now, how."""
    parts = (
        Part(key="profit", title="Profit so far", sections=_profit(found)),
        Part(key="rails", title="Guardrails", sections=_rails(found)),
        Part(key="trust", title="Can we trust it?", sections=_trust(found)),
        Part(key="now", title="Deciding now", sections=_now(found)),
        Part(key="how", title="How", sections=_how(found)),
    )
    return tuple(part for part in parts if part.sections)


def _profit(found: Monitoring) -> tuple[Section, ...]:
    looks = [look for look in found.looks if look.is_permitted and look.readings]
    if not looks:
        return ()
    arms = [arm.label for arm in found.experiment.treatments]
    scale = 1 / currency_of(found.experiment.currency).scale
    unit = f"{currency_of(found.experiment.currency).main} per {found.experiment.unit}"
    money_bands = [_money_band(found, looks, arm, scale, unit) for arm in arms]
    z_bands = [_z_band(found, looks, arm) for arm in arms]
    last = [r for r in looks[-1].readings if r.name == "profit"]
    finding = "; ".join(
        f"{words.arm_name(found, r.arm)} {words.amount(found, r, r.estimate)} "
        f"({words.ends(found, r)}) per {found.experiment.unit}"
        for r in last
    )
    return (
        Section(
            key="profit-over-looks",
            title="What does it earn, look by look?",
            finding=f"Extra profit now: {finding}; {AT_ANY_LOOK}.",
            charts=(
                over_looks("profit-looks", money_bands, f"Extra profit by look: {finding}.",
                           "Dots: estimates; shaded: the range that holds at all looks at "
                           "once; the horizontal line is 0."),
            ),
            tables=(_looks_table(found, looks),),
        ),
        Section(
            key="bounds",
            title="How far is it from a stopping rule?",
            finding=_distance(found, last),
            charts=(
                over_looks("bounds-looks", z_bands, "The statistic against its bounds.",
                           "Dots: estimate over its standard error, skewness taken out; "
                           "dashed: the bounds; a test stops where dots leave them."),
            ),
        ),
    )  # fmt: skip


def _money_band(
    found: Monitoring, looks: Sequence[Look], arm: str, scale: float, unit: str
) -> Band:
    rows = [look.profit_of(arm) for look in looks]
    return Band(
        title=f"{words.arm_name(found, arm)}: extra profit, {unit}",
        days=[look.day for look in looks],
        values=[_or_nan(r, "estimate") * scale for r in rows],
        low=[_or_nan(r, "low") * scale for r in rows],
        high=[_or_nan(r, "high") * scale for r in rows],
    )


def _z_band(found: Monitoring, looks: Sequence[Look], arm: str) -> Band:
    rows = [look.profit_of(arm) for look in looks]
    bounds = [_or_nan(r, "bound") for r in rows]
    finite = [b if math.isfinite(b) else math.nan for b in bounds]
    return Band(
        title=f"{words.arm_name(found, arm)}: standard errors away from 0",
        days=[look.day for look in looks],
        values=[_or_nan(r, "z") for r in rows],
        low=[-b for b in finite],
        high=finite,
        is_bound=True,
    )


def _or_nan(reading: Reading | None, name: str) -> float:
    return math.nan if reading is None else float(getattr(reading, name))


def _distance(found: Monitoring, last: Sequence[Reading]) -> str:
    parts = []
    for r in last:
        far = (
            f"{abs(r.z):.2f} of {r.bound:.2f}" if math.isfinite(r.bound) else "may not stop yet"
        )
        parts.append(f"{words.arm_name(found, r.arm)} stands at {far} standard errors")
    return "; ".join(parts) + "."


def _looks_table(found: Monitoring, looks: Sequence[Look]) -> Table:
    rows = [
        (
            words.day(look.day),
            words.arm_name(found, r.arm),
            count(sum(look.n.values())),
            percent(look.fraction[r.arm], decimals=0, signed=False),
            words.amount(found, r, r.estimate),
            words.ends(found, r),
            p_value(r.p),
            _power(r),
        )
        for look in looks
        for r in look.readings
        if r.name == "profit"
    ]
    heads = ("look", "arm", "read", "of the plan", "extra profit", "range", "p at any look",
             "chance to find it")  # fmt: skip
    return table("Every look", heads, rows, text=2)


def _power(reading: Reading) -> str:
    power = reading.conditional_power
    return percent(power, decimals=0, signed=False) if math.isfinite(power) else NONE


def _rails(found: Monitoring) -> tuple[Section, ...]:
    readings = [r for r in found.now.readings if r.name != "profit"]
    if not readings:
        return ()
    alarms = [r for r in readings if r.state == HARM]
    finding = (
        "; ".join(
            f"{names.metric_name(r.name, found.experiment)} of "
            f"{words.arm_name(found, r.arm)} is worse than allowed"
            for r in alarms
        )
        or "No guardrail is worse than the plan allows, as far as the data can tell"
    )
    rows = [
        (
            names.metric_name(r.name, found.experiment),
            words.arm_name(found, r.arm),
            words.plain_value(r),
            words.plain_ends(r),
            words.allowed(found, r),
            words.SHORT[r.state] if math.isfinite(r.margin) else words.BOUNDED,
        )
        for r in readings
    ]
    heads = ("metric", "arm", "difference", "range at all looks", "allowed", "")
    return (
        Section(
            key="guardrails",
            title="Does anything get worse?",
            finding=f"{finding}.",
            tables=(
                table("Guardrails and bounded metrics", heads, rows, text=2, is_open=True),
            ),
            notes=tuple(dict.fromkeys(r.method for r in readings if r.method)),
        ),
    )


def _trust(found: Monitoring) -> tuple[Section, ...]:
    sections = []
    if found.sample_ratio:
        evidence = [value / math.log(10) for _, value in found.sample_ratio]
        p = anytime_p([value for _, value in found.sample_ratio])
        band = Band(
            title="evidence against the planned shares, powers of ten",
            days=[day for day, _ in found.sample_ratio],
            values=evidence,
            limit=3.0,
            limit_text="above: arms are not as planned",
        )
        sizes = " / ".join(count(n) for n in found.now.assigned.values())
        verdict = "not as planned" if p <= 0.001 else "as planned so far"
        finding = f"Arms have {sizes} customers: {verdict} (p at any look {p_value(p)})."
        sections.append(
            Section(
                key="ratio",
                title="Are the arms as large as planned?",
                finding=finding,
                charts=(over_looks("ratio-days", [band], finding,
                                   "A line that climbs means that an arm loses or gains "
                                   "customers day by day."),),
            )
        )  # fmt: skip
    items = tuple(Item(state=check.verdict, text=check.message) for check in found.checks)
    if items:
        said = words.trust(found).rstrip(".")
        finding = f"{said[:1].upper()}{said[1:]}."
        sections.append(
            Section(key="checks", title="What was checked?", finding=finding, items=items)
        )
    return tuple(sections)


def _now(found: Monitoring) -> tuple[Section, ...]:
    if not found.waiting:
        return ()
    currency = found.experiment.currency
    reach = found.experiment.eligible_customers
    factor = reach or 1
    per = (
        f"for {count(reach)} {names.plural(found.experiment.unit)}" if reach else "per customer"
    )

    def shown(value: float) -> str:
        return money(
            value * factor, currency, width=abs(value * factor) or math.nan, signed=False
        )

    rows = [
        (
            words.arm_name(found, arm),
            shown(each.ship_loss),
            shown(each.stop_loss),
            shown(each.gain),
        )
        for arm, each in found.waiting.items()
    ]
    every = found.experiment.looks.every if found.experiment.looks else 7
    heads = ("arm", "shipping now would lose", "stopping now would forgo",
             f"{_more(every)} are worth")  # fmt: skip
    parts = [
        f"{words.arm_name(found, arm)}: the better choice now costs "
        f"{shown(min(each.ship_loss, each.stop_loss))} on average, {_more(every)} are "
        f"worth {shown(each.gain)}"
        for arm, each in found.waiting.items()
    ]
    return (
        Section(
            key="waiting",
            title="What would deciding now cost?",
            finding=f"{'; '.join(parts)} ({per}).",
            tables=(table(f"Expected money, {per}", heads, rows, is_open=True),),
            notes=(
                "this is no evidence for stopping early: it ignores how often one has looked",
            ),
        ),
    )


def _more(days: int) -> str:
    return "another day's units" if days == 1 else f"the units of {days} more days"


def _how(found: Monitoring) -> tuple[Section, ...]:
    bound = found.bindings
    first = bound.get("first_look") or {}
    every = int(bound.get("every") or 1)
    error = percent(float(bound.get("alpha") or 0), decimals=2, signed=False)
    needs = f"{first.get('units')} customers, {first.get('active')} with an outcome"
    rows = [
        ("method", str(bound.get("method")).replace("_", " ")),
        ("planned", " / ".join(count(x) for x in (bound.get("planned") or {}).values())),
        ("first look", f"{needs}, in the smaller arm"),
        ("age", f"{bound.get('age')} days, then {bound.get('settle')} days for returns"),
        ("looks", "every day" if every == 1 else f"every {every} days"),
        ("error", f"{error} per treatment, all looks together"),
    ]
    return (
        Section(
            key="estimand",
            title="What do the ranges speak of?",
            finding=found.estimand,
            tables=(table("Fixed before the first look", ("what", "value"), rows, text=2),),
            notes=found.notes,
        ),
    )
