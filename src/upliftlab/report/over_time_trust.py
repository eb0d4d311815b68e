"""Can a roll-out be believed: unequal trends, other methods, one cluster less?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names, over_time_words
from upliftlab.report.focus import in_focus, money_axis
from upliftlab.report.numbers import NONE, money, shown_money
from upliftlab.report.over_time_strips import Trial, strip, trials
from upliftlab.report.parts import Section, table
from upliftlab.report.plots import Row, forest
from upliftlab.stats.estimate import Estimate

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.report.parts import Table
    from upliftlab.rollout.answer import Honesty, Rollout

_LISTED = 5


def over_time_trust(analysis: Analysis, rollout: Rollout) -> tuple[Section, ...]:
    """Return the sections on trust that only a roll-out has."""
    found = [
        honest_section(analysis, rollout),
        opinions_section(analysis, rollout),
        without_section(analysis, rollout),
    ]
    return tuple(section for section in found if section is not None)


def honest_section(analysis: Analysis, rollout: Rollout) -> Section | None:
    """How far trends may differ until the answer flips."""
    if not rollout.honesty:
        return None
    said = [_honest_finding(analysis, each) for each in rollout.honesty]
    finding = " ".join(said)
    unit = currency_of(analysis.experiment.currency)
    found = [
        Trial(
            title=f"If {each.label}",
            below=f"m, {unit.main}" if each.restriction == over_time_words.SMOOTH else "m",
            bounds=each.bounds,
            threshold=each.threshold,
            threshold_label=over_time_words.hurdle(analysis, each.threshold),
            flips_at=each.flips_at,
            flips_text=over_time_words.allowed(analysis, each, each.flips_at),
            scale=1 / unit.scale,
            m_scale=1 / unit.scale if each.restriction == over_time_words.SMOOTH else 1.0,
        )
        for each in rollout.honesty
        if each.bounds
    ]
    note = (
        f"Up: {money_axis(analysis, 'extra profit').title}. Black: the range leaves the hurdle "
        "out, so the answer stands; grey: it does not. At m = 0 trends are parallel, or on "
        "the right drift apart in a straight line."
    )
    return Section(
        key="honest",
        title="If trends were not parallel",
        finding=finding,
        charts=(trials("honest", found, finding, note),) if found else (),
        tables=tuple(_honest_table(analysis, each) for each in rollout.honesty),
        notes=tuple(
            f"{each.note[:1].upper()}{each.note[1:].rstrip('.')}."
            for each in rollout.honesty
            if each.note
        ),
    )


def opinions_section(analysis: Analysis, rollout: Rollout) -> Section | None:
    """The headline beside what other methods say."""
    if len(rollout.opinions) < 2:
        return None
    currency, each = analysis.experiment.currency, names.each(analysis.experiment)
    known = [o for o in rollout.opinions if math.isfinite(o.effect.estimate)]
    rows = [
        Row(
            label=opinion.label,
            estimate=opinion.effect,
            text=shown_money(opinion.effect, currency).text,
            is_grey=opinion is not rollout.opinions[0],
        )
        for opinion in known
    ]
    finding = _opinions_finding(analysis, rollout)
    detail = []
    for opinion in rollout.opinions:
        shown = shown_money(opinion.effect, currency)
        remark = "; ".join(dict.fromkeys(t for t in (opinion.note, opinion.effect.note) if t))
        detail.append((opinion.label, remark, shown.value or NONE, shown.interval))
    return Section(
        key="opinions",
        title="What other methods say",
        finding=finding,
        charts=(
            forest("opinions", rows, money_axis(analysis, "extra profit"), alt=finding),
        ) if rows else (),
        tables=(
            table(
                f"Extra profit per {each} by method",
                ("method", "what differs", "extra profit", "range"),
                detail,
                text=2,
            ),
        ),
        notes=("The first method was chosen before looking; the others do not decide.",),
    )  # fmt: skip


def without_section(analysis: Analysis, rollout: Rollout) -> Section | None:
    """Whether the answer hangs on one cluster."""
    known = [each for each in rollout.without if math.isfinite(each.profit)]
    if len(known) < 2:
        return None
    currency = analysis.experiment.currency
    _, first = in_focus(analysis)
    width = first.profit.ci_high - first.profit.ci_low
    rows = [Row(label="everyone", estimate=first.profit, is_total=True,
                text=shown_money(first.profit, currency).text)]  # fmt: skip
    rows += [
        Row(
            label=f"without {each.label}",
            estimate=Estimate(name=each.label, estimate=each.profit),
            text=money(each.profit, currency, width=width),
        )
        for each in known[:_LISTED]
    ]
    rest = [each.profit for each in known[_LISTED:]]
    if rest:
        ends = [money(x, currency, width=width) for x in (min(rest), max(rest))]
        rows.append(
            Row(
                label=f"without one of the other {len(rest)}",
                estimate=Estimate(name="rest", estimate=math.nan),
                text=f"{ends[0]} … {ends[1]}",
                is_grey=True,
            )
        )
    finding = _without_finding(analysis, rollout)
    detail = [(each.label, money(each.profit, currency, width=width)) for each in known]
    each_of = names.each(analysis.experiment)
    return Section(
        key="without",
        title="Does it hang on one of them?",
        finding=finding,
        charts=(
            strip("without", rows, rest, money_axis(analysis, "extra profit"), alt=finding),
        ),
        tables=(
            table(
                f"Extra profit per {each_of} with one left out, most influential first",
                ("left out", "what remains"),
                detail,
            ),
        ),
    )


def _honest_finding(analysis: Analysis, each: Honesty) -> str:
    hurdle = over_time_words.hurdle(analysis, each.threshold)
    shown = [b for b in each.bounds if math.isfinite(b.low) and math.isfinite(b.high)]
    if not shown:
        return f"If {each.label}: no range could be computed; {each.note or 'no reason given'}."
    if shown[0].low <= each.threshold <= shown[0].high:
        if each.restriction == over_time_words.SMOOTH:
            return f"If trends may drift apart in a straight line, the range includes {hurdle}."
        return f"Even if trends were parallel the range would include {hurdle}."
    side = "above" if shown[0].low > each.threshold else "below"
    lead = f"If {each.label}, extra profit stays {side} {hurdle}"
    if each.flips_at > 0:
        return f"{lead} up to m = {over_time_words.allowed(analysis, each, each.flips_at)}."
    if each.flips_at == 0:
        return f"{lead} only if trends are parallel: the smallest m shown flips it."
    last = over_time_words.allowed(analysis, each, shown[-1].m)
    return f"{lead} at every m shown, up to {last}."


def _honest_table(analysis: Analysis, each: Honesty) -> Table:
    currency = analysis.experiment.currency
    rows = []
    for bound in each.bounds:
        m = over_time_words.allowed(analysis, each, bound.m)
        if not (math.isfinite(bound.low) and math.isfinite(bound.high)):
            rows.append((m, NONE, "no number"))
            continue
        both = Estimate(
            name="bound",
            estimate=(bound.low + bound.high) / 2,
            ci_low=bound.low,
            ci_high=bound.high,
        )
        holds = not bound.low <= each.threshold <= bound.high
        rows.append((m, shown_money(both, currency).interval, "yes" if holds else "no"))
    flip = over_time_words.allowed(analysis, each, each.flips_at)
    flip = flip if math.isfinite(each.flips_at) else "nowhere shown"
    rows.append(("flips at", flip, ""))
    return table(
        f"Range of extra profit if {each.label}",
        ("m", f"range per {names.each(analysis.experiment)}", "the answer stands"),
        rows,
    )


def _opinions_finding(analysis: Analysis, rollout: Rollout) -> str:
    currency, each = analysis.experiment.currency, names.each(analysis.experiment)
    first, *others = rollout.opinions
    known = [o.effect.estimate for o in others if math.isfinite(o.effect.estimate)]
    shown = shown_money(first.effect, currency)
    said = f"{first.label[:1].upper()}{first.label[1:]}: {shown.with_range} per {each}"
    if not known:
        return f"{said}; no other method applies."
    same = sum(math.copysign(1, x) == math.copysign(1, first.effect.estimate) for x in known)
    width = first.effect.ci_high - first.effect.ci_low
    ends = [money(x, currency, width=width) for x in (min(known), max(known))]
    if len(known) == 1:
        return f"{said}; the one other method that applies says {ends[0]}."
    return (
        f"{said}; {same} of {len(known)} other methods have the same sign, and theirs run from "
        f"{ends[0]} to {ends[1]}."
    )


def _without_finding(analysis: Analysis, rollout: Rollout) -> str:
    known = [each for each in rollout.without if math.isfinite(each.profit)]
    currency = analysis.experiment.currency
    _, first = in_focus(analysis)
    width = first.profit.ci_high - first.profit.ci_low
    values = [each.profit for each in known]
    ends = [money(x, currency, width=width) for x in (min(values), max(values))]
    turned = [e.label for e in known if e.profit * first.profit.estimate < 0]
    text = (
        f"With any one of {len(known)} left out, extra profit stays between {ends[0]} and "
        f"{ends[1]} per {names.each(analysis.experiment)}"
    )
    if turned:
        return f"{text}: its sign hangs on {names.listed(turned[:3])}."
    return f"{text}; {known[0].label} moves it most."
