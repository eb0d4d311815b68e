"""Where did sales go, who gains, and why did profit move?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.report import names, over_time_words
from upliftlab.report.focus import in_focus, money_axis
from upliftlab.report.numbers import (
    NONE,
    money,
    p_value,
    percent,
    shown_money,
    shown_number,
    shown_ratio,
    symbol,
)
from upliftlab.report.over_time_strips import compared
from upliftlab.report.parts import Section, table
from upliftlab.report.plots import Row, forest, waterfall
from upliftlab.stats.estimate import Estimate

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.report.parts import Table
    from upliftlab.rollout.answer import Channel, Rollout

MOVED = (
    "Sales that only move from one channel to another change profit by the difference of their "
    "rates."
)
BOTH = (
    "The p-value is against: we or creators do not gain; it is the larger of both sides' "
    "one-sided p-values."
)
SIDES = ("merchant", "creator", "agency", "platform")


def channels_section(analysis: Analysis, rollout: Rollout) -> Section | None:
    """Sales expected without the change and observed, channel by channel."""
    if not rollout.channels:
        return None
    currency = analysis.experiment.currency
    rows = []
    for each in rollout.channels:
        shown = shown_money(each.effect, currency)
        rows += [
            Row(
                label="expected without the change",
                estimate=Estimate(name=each.name, estimate=each.expected),
                text=_level(analysis, each, each.expected),
                group=each.label,
                is_grey=True,
            ),
            Row(
                label="observed",
                estimate=_around(each),
                text=f"{_level(analysis, each, each.observed)} ({shown.text})",
                group=each.label,
            ),
        ]
    finding = _channels_finding(analysis, rollout)
    axis = money_axis(analysis, "sales kept after returns")
    return Section(
        key="channels",
        title="Where sales went",
        finding=finding,
        charts=(compared("channels", rows, axis, alt=finding),),
        tables=(_channels_table(analysis, rollout),),
        notes=(MOVED,),
    )


def sides_section(analysis: Analysis, rollout: Rollout) -> Section | None:
    """What each side gains per unit and period."""
    _, first = in_focus(analysis)
    currency, each = analysis.experiment.currency, names.each(analysis.experiment)
    order = [*SIDES, *(party for party in first.parties if party not in SIDES)]
    found = {party: first.parties[party] for party in order if party in first.parties}
    known = {party: e for party, e in found.items() if math.isfinite(e.estimate)}
    if not known:
        return None
    rows = [
        Row(
            label=names.party_name(party),
            estimate=effect,
            text=shown_money(effect, currency).text,
        )
        for party, effect in known.items()
    ]
    finding = _sides_finding(analysis, rollout)
    detail = []
    for party, effect in found.items():
        shown = shown_money(effect, currency)
        detail.append(
            (names.party_name(party), shown.value or NONE, shown.interval or shown.note)
        )
    return Section(
        key="parties",
        title="Who gains and who pays",
        finding=finding,
        charts=(
            forest("parties", rows, money_axis(analysis, "extra money by party"), alt=finding),
        ),
        tables=(
            table(f"Extra money by party, per {each}", ("party", "extra", "range"), detail),
        ),
        notes=(
            "Parties do not add up to 0: goods, logistics and what buyers value are outside.",
            *_both_note(analysis, rollout),
        ),
    )


def reasons_section(analysis: Analysis, rollout: Rollout) -> Section | None:
    """New rates on old sales, other behaviour, and at which rate profit is 0."""
    tables = []
    if len(rollout.parts) > 1:
        tables.append(_parts_table(analysis, rollout))
    more = _rates_rows(analysis, rollout)
    if more:
        heads = ("what", "now", "value", "range")
        tables.append(table("What it costs, and where it breaks even", heads, more))
    if not tables:
        return None
    called, first = in_focus(analysis)
    currency = analysis.experiment.currency
    width = first.profit.ci_high - first.profit.ci_low
    rows = [
        Row(
            label=part.label,
            estimate=part.effect,
            text=money(part.effect.estimate, currency, width=width),
        )
        for part in rollout.parts
        if math.isfinite(part.effect.estimate)
    ]
    total = Row(
        label="extra profit",
        estimate=first.profit,
        text=money(first.profit.estimate, currency, width=width),
        is_total=True,
    )
    finding = _reasons_finding(analysis, rollout)
    is_whole = len(rows) > 1 and len(rows) == len(rollout.parts)
    axis = money_axis(analysis, "extra profit")
    notes = [f"{part.label}: {part.note}." for part in rollout.parts if part.note]
    return Section(
        key="reasons",
        title=f"Why {called} moved profit",
        finding=finding,
        charts=(waterfall("reasons", [*rows, total], axis, alt=finding),) if is_whole else (),
        tables=tuple(tables),
        notes=tuple(f"{note[:1].upper()}{note[1:]}" for note in notes),
    )


def _around(channel: Channel) -> Estimate:
    """What was observed, with the range of the difference around it."""
    e = channel.effect
    return replace(
        e,
        estimate=channel.observed,
        ci_low=channel.expected + e.ci_low,
        ci_high=channel.expected + e.ci_high,
    )


def _level(analysis: Analysis, channel: Channel, value: float) -> str:
    if not math.isfinite(value):
        return NONE
    width = channel.effect.ci_high - channel.effect.ci_low
    return money(value, analysis.experiment.currency, width=width, signed=False)


def _channels_finding(analysis: Analysis, rollout: Rollout) -> str:
    currency = analysis.experiment.currency
    said = [
        f"{each.label} {shown.with_range}"
        for each in rollout.channels
        if (shown := shown_money(each.effect, currency)).value
    ]
    each = names.each(analysis.experiment)
    if not said:
        return f"No channel's change is known: {rollout.channels[0].effect.note}."
    return f"Sales kept after returns, per {each}: {'; '.join(said)}."


def _channels_table(analysis: Analysis, rollout: Rollout) -> Table:
    rows = []
    for each in rollout.channels:
        shown = shown_money(each.effect, analysis.experiment.currency)
        rows.append(
            (
                each.label,
                _level(analysis, each, each.expected),
                _level(analysis, each, each.observed),
                shown.value or NONE,
                shown.interval or shown.note,
                " → ".join(
                    percent(share, signed=False)
                    for share in (each.share_expected, each.share_observed)
                ),
            )
        )
    return table(
        f"Sales kept by channel, per {names.each(analysis.experiment)}",
        ("channel", "expected", "observed", "difference", "range", "share of all"),
        rows,
    )


def _sides_finding(analysis: Analysis, rollout: Rollout) -> str:
    _, first = in_focus(analysis)
    creator = first.parties.get("creator")
    if creator is None:
        currency = analysis.experiment.currency
        said = [
            over_time_words.side(_who(party), effect, currency)
            for party, effect in first.parties.items()
        ]
        return f"Per {names.each(analysis.experiment)}, {'; '.join(said)}."
    return f"{over_time_words.both_sides(analysis)}: {_verdict(first.profit, creator)}" + (
        f" (p {p_value(rollout.both_gain)})." if math.isfinite(rollout.both_gain) else "."
    )


def _who(party: str) -> str:
    return "we" if party == "merchant" else names.party_name(party)


def _verdict(ours: Estimate, theirs: Estimate) -> str:
    if ours.is_above_zero and theirs.is_above_zero:
        return "both sides gain"
    if ours.is_below_zero and theirs.is_below_zero:
        return "both sides lose"
    if ours.is_below_zero or theirs.is_below_zero:
        return "one side pays"
    return "that both sides gain is not shown yet"


def _both_note(analysis: Analysis, rollout: Rollout) -> tuple[str, ...]:
    _, first = in_focus(analysis)
    if "creator" not in first.parties or not math.isfinite(rollout.both_gain):
        return ()
    return (BOTH,)


def _reasons_finding(analysis: Analysis, rollout: Rollout) -> str:
    called, first = in_focus(analysis)
    currency, each = analysis.experiment.currency, names.each(analysis.experiment)
    shown = shown_money(first.profit, currency)
    if not shown.value or not rollout.parts:
        return f"Extra profit of {called} per {each}: {shown.with_range}."
    width = first.profit.ci_high - first.profit.ci_low
    said = [
        f"{part.label} {money(part.effect.estimate, currency, width=width)}"
        for part in rollout.parts
        if math.isfinite(part.effect.estimate)
    ]
    return f"Per {each}: {names.listed(said)}; together {shown.with_range} extra profit."


def _parts_table(analysis: Analysis, rollout: Rollout) -> Table:
    currency = analysis.experiment.currency
    _, first = in_focus(analysis)
    width = first.profit.ci_high - first.profit.ci_low
    rows = [
        (
            part.label,
            money(part.effect.estimate, currency, width=width) if shown.value else NONE,
            shown.interval or shown.note,
        )
        for part in rollout.parts
        for shown in (shown_money(part.effect, currency),)
    ]
    total = shown_money(first.profit, currency)
    rows.append(("extra profit", total.text, total.interval))
    each = names.each(analysis.experiment)
    return table(f"Parts of extra profit, per {each}", ("part", "extra profit", "range"), rows)


def _rates_rows(analysis: Analysis, rollout: Rollout) -> list[tuple[str, ...]]:
    """Break-even rates, commission per extra yuan, pay-back."""
    arm = analysis.experiment.treatments[0]
    one = f"{symbol(analysis.experiment.currency)}1"
    rows: list[tuple[str, ...]] = []
    for each in rollout.rates:
        now = NONE
        if each.name in over_time_words.RATES:
            now = over_time_words.rate_told(arm, each.name)
        shown = shown_number(each, signed=False, scale=100, unit=" %")
        label = over_time_words.RATES.get(each.name, each.name.replace("_", " "))
        if arm.rates and getattr(arm, each.name, None) is None:
            label = f"{label}, held throughout"
        rows.append(
            (
                f"profit is 0 at: {label}",
                now,
                percent(each.estimate, signed=False) if shown.value else NONE,
                shown.interval or shown.note,
            )
        )
    if rollout.commission_per_yuan is not None:
        ratio = shown_ratio(rollout.commission_per_yuan)
        label = f"extra commission per extra {one} of sales kept"
        rows.append((label, NONE, ratio.value or NONE, ratio.interval or ratio.note))
    if rollout.waves and (rollout.parts or math.isfinite(rollout.pay_back)):
        known = math.isfinite(rollout.pay_back)
        back = names.counted(round(rollout.pay_back), rollout.period) if known else "not yet"
        rows.append(("surely paid back, counted from the announcement", NONE, back, ""))
    return rows
