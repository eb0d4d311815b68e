"""Who is on when, how precise that is, and which other layouts there are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.report import names, planning_words as words
from upliftlab.report.numbers import NONE, percent
from upliftlab.report.parts import Section, table
from upliftlab.report.planning_plots import who_when

if TYPE_CHECKING:
    from upliftlab.design.answer import Design
    from upliftlab.design.layouts import Layout

_TITLES = {
    "staggered": "Which cluster switches when",
    "switchback": "Which days are on",
    "geo": "Which regions are treated",
}

MONEY = ("noise", "standard error", "of the best estimator", "found where")
"""How details begin that are money per unit and period."""


def layout_sections(plan: Design) -> tuple[Section, ...]:
    """Return what only designs over time have."""
    if plan.layout is None:
        return ()
    return (_schedule(plan, plan.layout), _choices(plan, plan.layout))


def _schedule(plan: Design, layout: Layout) -> Section:
    each = names.each(plan.experiment)
    mde = words.amount(plan, layout.mde, per_unit=True)
    finding = (
        f"This layout sees extra profit from {mde} per {each} on, with a chance of "
        f"{words.chance(plan.wanted)}."
    )
    rows = [(name, _start(layout, name)) for name in layout.rows]
    numbers = [(name, _number(plan, name, value)) for name, value in layout.details.items()]
    tables = [
        table(f"Every {layout.unit}", (layout.unit, "switches"), rows, text=2),
        table("What the precision rests on", ("what", "value"), numbers),
    ]
    return Section(
        key="layout",
        title=_TITLES[layout.kind],
        finding=finding,
        charts=(
            who_when(
                "layout", layout.rows, layout.periods, finding,
                "Dark: on; light: off; grey: left out of the comparison.",
            ),
        ),
        tables=tuple(tables),
        notes=layout.notes,
    )  # fmt: skip


def _number(plan: Design, name: str, value: float) -> str:
    if name.startswith(MONEY) and not name.endswith("average"):
        return words.amount(plan, value, per_unit=True)
    if name.endswith("share"):
        return percent(value, signed=False)
    return f"{value:,.4g}"


def _choices(plan: Design, layout: Layout) -> Section:
    each = names.each(plan.experiment)
    rows = [
        (
            choice.label,
            words.amount(plan, choice.mde, per_unit=True),
            words.amount(plan, choice.total),
            NONE if math.isnan(choice.share) else percent(choice.share, signed=False),
            words.chance(choice.power),
            choice.note,
        )
        for choice in layout.choices
    ]
    best = layout.choices[0] if layout.choices else None
    finding = (
        f"Of {len(rows)} layouts {best.label} sees the smallest profit: "
        f"{words.amount(plan, best.mde, per_unit=True)} per {each}."
        if best
        else "There is no other layout to compare with."
    )
    return Section(
        key="choices",
        title="Other layouts",
        finding=finding,
        tables=(
            table(
                "Layouts by the smallest profit that they see",
                ("layout", f"per {each}", "in all", "of what they earn", "chance", "note"),
                rows, is_open=True,
            ),
        ),
    )  # fmt: skip


def _start(layout: Layout, name: str) -> str:
    if name not in layout.starts:
        return f"{sum(s == 1 for s in layout.rows[name])} {layout.period}s on"
    start = layout.starts[name]
    return "never" if start < 0 else f"from {layout.periods[start]} on"
