"""Several changes side by side: what did each earn, and what do two of them do together?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names
from upliftlab.report.focus import money_axis
from upliftlab.report.numbers import NONE, shown_money, shown_number
from upliftlab.report.parts import Part, Section, table
from upliftlab.report.plots import Row, forest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.analysis import Analysis
    from upliftlab.report.numbers import Shown
    from upliftlab.report.parts import Table
    from upliftlab.rollout.changes import Together


SHARED = (
    "Every change is compared with {units} that never got any; changes share those, so their "
    "errors are not independent."
)


def changes_section(analysis: Analysis) -> Section:
    """Extra profit of every change, and what two of them do beyond their sum."""
    called = names.arm_names(analysis.experiment)
    currency, each = analysis.experiment.currency, names.each(analysis.experiment)
    rows, detail, said = [], [], []
    for profit in analysis.profits:
        shown = shown_money(profit.profit, currency)
        wide = shown_money(profit.profit_simultaneous, currency)
        name = called[profit.arm]
        detail.append(
            (
                name,
                shown.value or NONE,
                shown.interval or shown.note,
                wide.interval or wide.note,
            )
        )
        if shown.value:
            rows.append(Row(label=name, estimate=profit.profit, text=shown.value))
            said.append(f"{name} {shown.with_range}")
    finding = f"Extra profit per {each}: {'; '.join(said)}." if said else (
        "No change has a range of extra profit."
    )  # fmt: skip
    beyond = [one for one in analysis.together if one.measure == "profit"]
    for one in beyond:
        shown = shown_money(one.effect, currency)
        pair = f"{called[one.one]} and {called[one.other]} together"
        rows.append(
            Row(label="together, beyond their sum", estimate=one.effect, text=shown.value)
        )
        finding += f" {_beyond(pair, called[one.both], one, shown)}"
    return Section(
        key="changes",
        title="The changes side by side",
        finding=finding,
        charts=(forest("changes", rows, money_axis(analysis, "extra profit"), alt=finding),)
        if rows
        else (),
        tables=(
            table(
                f"Extra profit of each change, per {each}",
                ("change", "extra profit", "range", "range that holds for all changes at once"),
                detail,
            ),
            *_together_table(analysis, called),
        ),
        notes=(SHARED.format(units=names.plural(analysis.experiment.unit)),),
    )


def one_by_one(parts: tuple[Part, ...], called: str, apart: str) -> tuple[Part, ...]:
    """Name parts, sections and charts of one change apart from those of the others."""
    return tuple(
        Part(
            key=f"{part.key}{apart}",
            title=f"{called}: {part.title}",
            sections=tuple(
                replace(
                    section,
                    key=f"{section.key}{apart}",
                    charts=tuple(
                        replace(chart, name=f"{chart.name}{apart}") for chart in section.charts
                    ),
                )
                for section in part.sections
            ),
        )
        for part in parts
    )


def _beyond(pair: str, both: str, one: Together, shown: Shown) -> str:
    """Say what two changes do together."""
    if one.effect.is_above_zero:
        return f"{pair} ({both}) earn {shown.with_range} more than the two alone add up to."
    if one.effect.is_below_zero:
        return f"{pair} ({both}) earn {shown.with_range}: less than the two alone add up to."
    return (
        f"Whether {pair} ({both}) do more or less than the two alone add up to cannot be told: "
        f"{shown.with_range}."
    )


def _together_table(analysis: Analysis, called: Mapping[str, str]) -> tuple[Table, ...]:
    if not analysis.together:
        return ()
    currency = analysis.experiment.currency
    rows = []
    for one in analysis.together:
        shown = shown_money(one.effect, currency) if one.is_money else shown_number(one.effect)
        rows.append(
            (
                f"{called[one.one]} and {called[one.other]}",
                one.label,
                shown.value or NONE,
                shown.interval or shown.note,
            )
        )
    unit = currency_of(currency).main
    caption = f"What two changes do together beyond their sum, {unit}"
    return (table(caption, ("changes", "of", "beyond their sum", "range"), rows, text=2),)
