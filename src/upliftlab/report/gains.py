"""Who did what on the journey, who gained, and what did campaign money buy?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names, words
from upliftlab.report.focus import followed, in_focus, money_axis
from upliftlab.report.numbers import (
    NONE,
    Shown,
    money,
    percent,
    shown_money,
    shown_ratio,
)
from upliftlab.report.parts import Section, table
from upliftlab.report.plots import Row, bars, forest
from upliftlab.stats.estimate import Estimate

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.profit import Profit
    from upliftlab.report.parts import Table

_MECHANICAL = "mechanical: other prices on what control sells anyway"
_BEHAVIOURAL = "behavioural: other behaviour, at the arm's prices"


def journey_section(analysis: Analysis) -> Section | None:
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
            _stage_table(analysis),
        ),
    )


def _stage_table(analysis: Analysis) -> Table:
    """Money gained and spent at each stage of the journey, adding up to extra profit."""
    currency = analysis.experiment.currency
    stages = dict.fromkeys(line.stage for profit in analysis.profits for line in profit.lines)
    rows = [
        (
            stage,
            *(
                _cell(shown_money(profit.stages[stage], currency))
                if stage in profit.stages
                else NONE
                for profit in analysis.profits
            ),
        )
        for stage in stages
    ]
    total = (
        "extra profit",
        *(_cell(shown_money(p.profit, currency)) for p in analysis.profits),
    )
    return table(
        f"Money gained and spent at each stage, per {names.each(analysis.experiment)}",
        ("stage", *_arms(analysis)),
        [*rows, total],
        is_open=True,
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


def parties_section(analysis: Analysis) -> Section | None:
    called, first = in_focus(analysis)
    currency, unit = analysis.experiment.currency, names.each(analysis.experiment)
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
    parties = dict.fromkeys(party for profit in analysis.profits for party in profit.parties)
    detail = [
        (
            names.party_name(party),
            *(
                _cell(shown_money(profit.parties[party], currency))
                if party in profit.parties
                else NONE
                for profit in analysis.profits
            ),
        )
        for party in parties
    ]
    return Section(
        key="parties",
        title="Who gains and who pays",
        finding=finding,
        charts=(
            forest("parties", rows, money_axis(analysis, "extra money by party"), alt=finding),
        ),
        tables=(
                        table(
                f"Extra money by party, per {unit}", ("party", *_arms(analysis)), detail
            ),
        ),
        notes=(
            "Parties do not add up to 0: goods, logistics and what buyers value are outside.",
        ),
    )  # fmt: skip


def campaign_section(analysis: Analysis) -> Section:
    called, first = in_focus(analysis)
    return Section(
        key="campaign",
        title="What a yuan of campaign money bought"
        if analysis.experiment.currency == "CNY"
        else "What campaign money bought",
        finding=_campaign_finding(analysis, called, first),
        tables=(_campaign_table(analysis),),
        notes=(
            "Neither that chance nor the expected loss is evidence for stopping early.",
            *_no_split(first),
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


def _no_split(profit: Profit) -> tuple[str, ...]:
    if math.isfinite(profit.mechanical.estimate) or not profit.mechanical.note:
        return ()
    return (f"Mechanical and behavioural part: {profit.mechanical.note}.",)


def _whole(minor: float, currency: str) -> str:
    """An amount without a range, to three digits."""
    return money(minor, currency, signed=False, width=abs(minor) / 3)


def _campaign_table(analysis: Analysis) -> Table:
    columns = [_campaign_cells(analysis, profit) for profit in analysis.profits]
    names_of = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, *(column.get(name, NONE) for column in columns)) for name in names_of]
    return table("Campaign money by arm", ("", *_arms(analysis)), rows)


def _campaign_cells(analysis: Analysis, profit: Profit) -> dict[str, str]:
    currency, unit = analysis.experiment.currency, names.each(analysis.experiment)
    shown = {
        f"campaign money per {unit}": shown_money(profit.campaign_cost, currency, signed=False),
        "profit per unit of campaign money": shown_ratio(profit.iroi),
        **{k: shown_money(e, currency, signed=False) for k, e in profit.cost_per.items()},
        _MECHANICAL: shown_money(profit.mechanical, currency),
        _BEHAVIOURAL: shown_money(profit.behavioural, currency),
    }
    cells = {name: _cell(each) for name, each in shown.items()}
    for name, average in profit.average_cost_per.items():
        cells[f"{name.replace('extra ', '')}, extra or not"] = _whole(average, currency)
    cells["chance that extra profit is above 0"] = percent(profit.p_positive, signed=False)
    if math.isfinite(profit.expected_loss):
        loss = money(
            profit.expected_loss, currency, signed=False, width=profit.profit.std_error
        )
        cells[f"expected loss per {unit} if shipped"] = loss
    if math.isfinite(profit.attributed_roi):
        cells["dashboard coupon ROI"] = f"{profit.attributed_roi:.1f}"
    return cells


def _cell(shown: Shown) -> str:
    """Number and range; a reason keeps its first words, and stands whole in a note."""
    if not shown.value:
        return shown.text.partition(":")[0]
    return shown.compact


def _arms(analysis: Analysis) -> list[str]:
    called = names.arm_names(analysis.experiment)
    return [called[profit.arm] for profit in analysis.profits]
