"""What does the review say, section by section?"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from upliftlab.registry.record import READ
from upliftlab.registry.taking import sentence
from upliftlab.report import names
from upliftlab.report.numbers import NONE, percent, shown_ratio
from upliftlab.report.parts import Item, Part, Section, table
from upliftlab.report.quarter import charts
from upliftlab.report.quarter.amounts import (
    Amounts,
    arm_name,
    mechanism_name,
    result_name,
    title,
)
from upliftlab.report.quarter.first import experiments_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.registry.damage import Damage
    from upliftlab.report.parts import Table
    from upliftlab.review.kinds import Mechanism
    from upliftlab.review.programme import Programme, Result

MOST_ITEMS = 40


def parts_of(
    programme: Programme, *, damage: Sequence[Damage] = (), more: Sequence[Part] = ()
) -> tuple[Part, ...]:
    """Gather the parts of the review in reading order; empty sections are left out."""
    amounts = Amounts(currency=programme.currency, outcome=programme.outcome)
    found = (
        Part(key="decide", title="What do we decide?", sections=_decide(programme, amounts)),
        Part(
            key="programme",
            title="What ran, and what did it earn?",
            sections=(
                _programme(programme),
                *_kept(_forest(programme, amounts), _quadrant(programme, amounts)),
                *_kept(_waterfall(programme, amounts)),
            ),
        ),
        Part(
            key="kinds",
            title="By mechanism",
            sections=_kept(_mechanisms(programme, amounts), _depths(programme, amounts)),
        ),
        Part(
            key="trust",
            title="How far to trust the sum?",
            sections=_kept(
                _calibration(programme),
                _maturity(programme),
                _validity(programme, damage),
            ),
        ),
        *more,
        Part(key="how", title="How", sections=(_method(programme), _plans(programme))),
    )
    return tuple(part for part in found if part.sections)


def _decide(programme: Programme, amounts: Amounts) -> tuple[Section, ...]:
    asked = programme.asked
    if not asked:
        finding = "Nothing waits for a decision: no treatment is to be shipped or stopped."
    else:
        money = math.fsum(abs(e.at_stake.estimate) for e in asked if _is(e.at_stake.estimate))
        finding = (
            f"{names.counted(len(asked), 'treatment')} wait for a decision, with "
            f"{amounts.plain(money, width=money, signed=False)} at stake."
        )
    sections = [Section(key="asked", title="Decisions asked", finding=finding)]
    taken = [(record, each) for record in programme.records for each in record.decisions]
    if taken:
        over = sum(each.is_override for _, each in taken)
        items = tuple(
            Item(
                state="warn" if each.is_override else "info",
                text=f"{title(record)}: {sentence(each)}",
            )
            for record, each in taken[:MOST_ITEMS]
        )
        finding = (
            f"{names.counted(len(taken), 'decision')} on record, {over} of them against the "
            "verdict."
        )
        sections.append(
            Section(key="taken", title="Decisions taken", finding=finding, items=items)
        )
    return tuple(sections)


def _programme(programme: Programme) -> Section:
    return Section(
        key="ran",
        title="Every experiment that started",
        finding=(
            f"{experiments_text(programme).capitalize()}; stopped and void ones count as "
            "started and add nothing to the sum."
        ),
        notes=tuple(
            f"{name} is in no sum: {why}." for name, why in programme.review.left_out.items()
        ),
    )


def _forest(programme: Programme, amounts: Amounts) -> Section | None:
    chart = charts.forest_chart(programme.results, amounts)
    if chart is None:
        return None
    n = len(programme.results)
    sure = [each for each in programme.results if _is(each.arm.realised.estimate)]
    up = sum(each.arm.realised.is_above_zero for each in sure)
    down = sum(each.arm.realised.is_below_zero for each in sure)
    shown = min(n, charts.MOST_ROWS)
    return Section(
        key="forest",
        title=f"{amounts.what.capitalize()}, test by test",
        finding=(
            f"Of {names.counted(n, 'treatment')}, {up} surely earned, {down} surely lost, and "
            f"of {n - up - down} the data cannot tell."
        ),
        charts=(chart,),
        notes=(f"The {shown} with the most money at stake of {n}; all are in the table.",)
        if n > shown
        else (),
    )


def _quadrant(programme: Programme, amounts: Amounts) -> Section | None:
    chart = charts.quadrant_chart(programme.results, amounts)
    if chart is None:
        return None
    buying = [each for each in programme.results if each.arm.is_buying_gmv]
    told = names.listed([result_name(each) for each in buying[:4]])
    more = f" and {len(buying) - 4} more" if len(buying) > 4 else ""
    finding = (
        f"{told}{more} surely lost profit while GMV surely rose: they buy GMV."
        if buying
        else "No treatment surely lost profit while GMV surely rose."
    )
    return Section(key="quadrant", title="GMV against profit", finding=finding, charts=(chart,))


def _waterfall(programme: Programme, amounts: Amounts) -> Section | None:
    chart = charts.waterfall_chart(programme, amounts)
    if chart is None:
        return None
    moved = [line for line in programme.lines if line.effect.estimate != 0]
    cost = min(moved, key=lambda line: line.effect.estimate)
    shown = amounts.shown(cost.effect)
    rows = [
        (line.label, (s := amounts.shown(line.effect)).text, s.interval or s.note)
        for line in programme.lines
    ]
    return Section(
        key="waterfall",
        title="Where the money went",
        finding=f"The largest cost of the extra sales was {cost.label}: {shown.with_range}.",
        charts=(chart,),
        tables=(table("The quarter, line by line", ("line", "extra money", "range"), rows),),
        notes=(
            (
                "Treatments of one experiment share its control: their lines vary together as "
                "their profits do."
            ),
        ),
    )


def _mechanisms(programme: Programme, amounts: Amounts) -> Section | None:
    found = sorted(programme.review.mechanisms, key=lambda each: each.name)
    if not found:
        return None
    own: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for each in programme.results:
        record = each.record
        own[record.mechanism or record.kind, record.unit].append(each)
    earned = {key: _sum(results) for key, results in own.items()}
    rows = [
        _mechanism(each, earned[each.name, each.unit], own[each.name, each.unit], amounts)
        for each in found
    ]
    best = max(found, key=lambda each: earned[each.name, each.unit])
    most = earned[best.name, best.unit]
    columns = (
        "mechanism", "experiments", "treatments", amounts.what, "campaign money",
        "per unit of it", "to ship", "mean per unit treated", "range", "next one",
    )  # fmt: skip
    return Section(
        key="mechanisms",
        title="What each mechanism earned",
        finding=(
            f"{mechanism_name(best.name).capitalize()} brought the most: "
            f"{amounts.plain(most, width=abs(most))} in the tests."
        ),
        tables=(table("By mechanism", columns, rows, is_open=True),),
        notes=(
            (
                "Mean per unit treated: random effects (REML, Knapp-Hartung) over treatments "
                "of one mechanism; next one: where a further treatment of the kind would lie. "
                "Fixed effect, DerSimonian-Laird and Paule-Mandel stand in mechanisms.csv."
            ),
        ),
    )


def _mechanism(
    found: Mechanism, earned: float, own: Sequence[Result], amounts: Amounts
) -> tuple[str, ...]:
    mean = amounts.shown(found.pooled.mean)
    spend = found.spend
    return (
        mechanism_name(found.name),
        str(found.n_tests),
        str(found.n_arms),
        amounts.plain(earned, width=abs(earned)),
        amounts.plain(spend, width=abs(spend), signed=False) if spend else NONE,
        f"{earned / spend:+.2f}".replace("-", "−") if spend > 0 else NONE,
        str(sum(each.arm.verdict == "ship" for each in own)),
        mean.text,
        mean.interval or NONE,
        amounts.shown(found.pooled.prediction).interval or NONE,
    )


def _sum(own: Sequence[Result]) -> float:
    return math.fsum(e.arm.realised.estimate for e in own if _is(e.arm.realised.estimate))


def _depths(programme: Programme, amounts: Amounts) -> Section | None:
    coupons = [each for each in programme.results if _is(each.arm.depth)]
    if not coupons:
        return None
    coupons.sort(key=lambda each: (each.record.mechanism, each.arm.depth))
    rows = []
    for each in coupons[:200]:
        rung = each.arm.rung("gmv_merchant") or each.arm.rung("gmv_platform")
        gmv = NONE if rung is None else amounts.shown(rung.effect).text
        profit = amounts.shown(each.arm.profit)
        rows.append(
            (
                title(each.record),
                mechanism_name(each.record.mechanism),
                arm_name(each.record, each.arm),
                gmv,
                profit.text,
                profit.interval,
                shown_ratio(each.arm.iroi).text,
                each.arm.verdict,
            )
        )
    losing = sum(each.arm.profit.is_below_zero for each in coupons)
    columns = (
        "experiment", "mechanism", "depth", "GMV per customer", "profit per customer", "range",
        "per unit of coupon money", "verdict",
    )  # fmt: skip
    return Section(
        key="depths",
        title="Coupons by goal and depth",
        finding=f"{losing} of {names.counted(len(coupons), 'coupon')} surely lost money.",
        tables=(table("Goal, depth, GMV and profit", columns, rows, text=3),),
    )


def _calibration(programme: Programme) -> Section | None:
    chart = charts.calibration_chart(programme.results)
    if chart is None:
        return None
    pairs = [
        each.arm
        for each in programme.results
        if _is(each.arm.reported_roi) and _is(each.arm.iroi.estimate)
    ]
    negative = sum(arm.iroi.estimate < 0 for arm in pairs)
    return Section(
        key="calibration",
        title="The dashboard's ROI against extra profit",
        finding=(
            f"The dashboard reports ROI above 1 for "
            f"{sum(arm.reported_roi > 1 for arm in pairs)} of {len(pairs)} treatments; "
            f"{negative} of them lost money."
        ),
        charts=(chart,),
    )


def _maturity(programme: Programme) -> Section | None:
    chart = charts.maturity_chart(programme)
    whole = programme.maturity
    if chart is None:
        return None
    return Section(
        key="maturity",
        title="How much of it is booked",
        finding=(
            f"{percent(whole.booked, signed=False)} of the money is booked, "
            f"{percent(whole.projected, signed=False)} may still come back, "
            f"{percent(whole.assumed, signed=False)} rests on assumed prices."
        ),
        charts=(chart,),
        notes=(f"{whole.note}.",) if whole.note else (),
    )


def _validity(programme: Programme, damage: Sequence[Damage]) -> Section:
    items = [Item(state="fail", text=f"registry: {each.text}") for each in damage]
    failed = [
        Item(state="fail", text=f"{title(record)}: {check.message}")
        for record in programme.records
        for check in record.checks
        if check.is_blocking
    ]
    warned = [
        Item(state="warn", text=f"{title(record)}: {check.message}")
        for record in programme.records
        if record.status == READ
        for check in record.checks
        if check.verdict == "warn"
    ]
    moved = [
        Item(state="warn", text=f"{title(record)}: {text}")
        for record in programme.records
        for text in record.deviations
    ]
    items += [*failed, *moved, *warned]
    hidden = len(items) - MOST_ITEMS
    ratios = [r for r in programme.records if _is(r.sample_ratio_p)]
    bad = sum(r.sample_ratio_p < 0.001 for r in ratios)
    finding = (
        f"The sample ratio fails in {bad} of {names.counted(len(ratios), 'experiment')}; "
        f"{len(failed)} blocking failures, {len(warned)} warnings, {len(moved)} deviations "
        "from plans."
    )
    if ratios and bad / len(ratios) > 0.05:
        finding += " That many do not fail by chance: assignment itself was broken."
    return Section(
        key="validity",
        title="What went wrong",
        finding=finding,
        items=tuple(items[:MOST_ITEMS]),
        notes=(f"and {hidden} more in validity.csv",) if hidden > 0 else (),
    )


def _method(programme: Programme) -> Section:
    notes = [
        (
            "The total is what the tests themselves earned: number treated times extra per "
            "unit, added over all experiments that were read. It is not a roll-out total."
        ),
        (
            "Treatments of one experiment share its control; their covariance comes from its "
            "arm means. Experiments hashed apart are independent: their overlap threatens that "
            "effects add up, not the variance. Experiments with one salt count as fully "
            "dependent. A universal holdout checks the sum and is no part of it."
        ),
        (
            "Return per unit of money: Fieller's set, so that 0 lies in it exactly when the "
            "total cannot be told from 0."
        ),
        *(f"{note}." for note in programme.notes),
    ]
    return Section(
        key="method",
        title="How the sum was made",
        finding="Only experiments that were read and passed their checks are in the sum.",
        notes=tuple(notes),
    )


def _plans(programme: Programme) -> Section:
    return Section(
        key="plans",
        title="Plans, data and records",
        finding="Each line can be had again from its plan, its data and its record.",
        tables=(_fingerprints(programme),),
    )


def _fingerprints(programme: Programme) -> Table:
    rows = [
        (
            each.name,
            each.plan[:12] or NONE,
            each.data[:12] or NONE,
            each.id[:12] or NONE,
            each.recorded_at[:16],
            str(len(each.supersedes)),
        )
        for each in programme.records[:500]
    ]
    columns = ("experiment", "plan", "data", "record", "recorded", "earlier records")
    more = len(programme.records) - 500
    caption = "Fingerprints" + (f" (500 of {len(programme.records):,})" if more > 0 else "")
    return table(caption, columns, rows, text=6)


def _kept(*sections: Section | None) -> tuple[Section, ...]:
    return tuple(each for each in sections if each is not None)


def _is(value: float) -> bool:
    return math.isfinite(value)
