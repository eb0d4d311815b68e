"""Tables that readers sort and filter; complete and readable without JavaScript."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from upliftlab.report import names
from upliftlab.report.numbers import NONE, p_value, percent, shown_ratio
from upliftlab.report.quarter.amounts import (
    arm_name,
    days,
    mechanism_name,
    result_name,
    title,
    whom,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.registry.record import Record
    from upliftlab.report.quarter.amounts import Amounts
    from upliftlab.review.programme import Programme, Result


MOST_ROWS = 2_000
"""Rows of a table of treatments on the page; experiments all have theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell.

    Attributes:
        text: What readers see.
        sort: What the column is sorted by; the text unless given.
        link: Where it leads; empty for nowhere.
        chip: Style of a verdict; empty for plain text.
    """

    text: str
    sort: str = ""
    link: str = ""
    chip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table to sort and filter.

    Attributes:
        key: Anchor.
        caption: What it holds.
        columns: Headings.
        numeric: Positions of columns that are aligned to the right.
        choices: Positions of columns that readers pick a value of.
        rows: Cells.
    """

    key: str
    caption: str
    columns: tuple[str, ...]
    numeric: frozenset[int]
    choices: tuple[int, ...]
    rows: tuple[tuple[Cell, ...], ...]


def page_of(record: Record) -> str:
    """File of an experiment's page inside the site."""
    return f"{record.name}--{record.id[:8] or 'new'}.html"


def programme_grid(programme: Programme, amounts: Amounts) -> Grid:
    """Every experiment that started, whatever became of it."""
    by_record: dict[int, list[Result]] = {}
    for each in programme.results:
        by_record.setdefault(id(each.record), []).append(each)
    rows = [
        _experiment(record, by_record.get(id(record), []), amounts)
        for record in programme.records
    ]
    return Grid(
        key="programme-table",
        caption="Every experiment that started in the quarter",
        columns=(
            "experiment", "mechanism", "owner", "days", "state", amounts.what, "95 % range",
            "verdict", "sample ratio p", "decided",
        ),
        numeric=frozenset({5, 6, 8}),
        choices=(1, 4, 7),
        rows=tuple(rows),
    )  # fmt: skip


def results_grid(results: Sequence[Result], amounts: Amounts) -> Grid:
    """Every treatment that was read, with spend and return."""
    return Grid(
        key="results-table",
        caption=_first("Every treatment that was read", results),
        columns=(
            "treatment", "mechanism", "n", f"{amounts.what} in the test", "95 % range",
            "rolled out", "campaign money", "extra profit per unit of it", "dashboard's ROI",
            "verdict",
        ),
        numeric=frozenset(range(2, 9)),
        choices=(1, 9),
        rows=tuple(_result(each, amounts) for each in results[:MOST_ROWS]),
    )  # fmt: skip


def decisions_grid(results: Sequence[Result], amounts: Amounts) -> Grid:
    """What is asked of the room."""
    return Grid(
        key="decide-table",
        caption=_first("Decisions asked", results),
        columns=("treatment", "for whom", "worth", "95 % range", "proposed", "owner", "why"),
        numeric=frozenset({2, 3}),
        choices=(4, 5),
        rows=tuple(
            (
                _linked(each.record, result_name(each)),
                Cell(text=whom(each)),
                _amount(each.at_stake.estimate, amounts.shown(each.at_stake).text),
                Cell(text=amounts.shown(each.at_stake).interval or NONE),
                Cell(text=each.proposed, chip=each.proposed.replace(" ", "-")),
                Cell(text=each.record.owner or NONE),
                Cell(text=_why(each)),
            )
            for each in results[:MOST_ROWS]
        ),
    )


def _why(each: Result) -> str:
    """The deciding reason, after an override that ran out; then what would ship too."""
    reason = each.arm.reasons[0] if each.arm.reasons else ""
    over = "" if each.taken is None else f"{each.why_now[:1].upper()}{each.why_now[1:]}."
    others = names.listed([arm_name(each.record, arm) for arm in each.rivals])
    beside = f"The best of those that would ship; beside it {others}." if others else ""
    return " ".join(part for part in (over, reason, beside) if part) or NONE


def _experiment(
    record: Record, results: Sequence[Result], amounts: Amounts
) -> tuple[Cell, ...]:
    total, reach, number = NONE, NONE, math.nan
    if len(results) == 1:
        shown = amounts.shown(results[0].arm.realised)
        total, reach = shown.text, shown.interval or NONE
        number = results[0].arm.realised.estimate
    elif results:
        number = math.fsum(each.arm.realised.estimate for each in results)
        total, reach = (
            amounts.plain(number, width=abs(number)),
            f"sum of {len(results)} treatments",
        )
    verdicts = [(arm_name(record, each.arm), each.arm.verdict) for each in results]
    words = {word for _, word in verdicts}
    verdict = words.pop() if len(words) == 1 else ("mixed" if words else NONE)
    decided = sorted({each.decision for each in record.decisions})
    return (
        _linked(record, title(record)),
        Cell(text=mechanism_name(record.mechanism)),
        Cell(text=record.owner or NONE),
        Cell(text=days(record) or NONE),
        Cell(text=record.status, chip="no-verdict" if record.status == "void" else ""),
        _amount(number, total),
        Cell(text=reach),
        Cell(text=verdict, chip=verdict.replace(" ", "-") if results else ""),
        _amount(record.sample_ratio_p, p_value(record.sample_ratio_p)),
        Cell(text=", ".join(decided) or NONE),
    )


def _result(each: Result, amounts: Amounts) -> tuple[Cell, ...]:
    arm = each.arm
    realised, rollout = amounts.shown(arm.realised), amounts.shown(arm.rollout)
    rolled = rollout.value or NONE
    reported = f"{arm.reported_roi:.1f}" if math.isfinite(arm.reported_roi) else NONE
    ratio = shown_ratio(arm.iroi)
    return (
        _linked(each.record, result_name(each)),
        Cell(text=mechanism_name(each.record.mechanism)),
        _amount(arm.n, f"{arm.n:,}"),
        _amount(arm.realised.estimate, realised.text),
        Cell(text=realised.interval or NONE),
        _amount(arm.rollout.estimate, rolled),
        _amount(arm.spend.estimate, amounts.shown(arm.spend, signed=False).value or NONE),
        _amount(arm.iroi.estimate, ratio.value or NONE),
        _amount(arm.reported_roi, reported),
        Cell(text=arm.verdict, chip=arm.verdict.replace(" ", "-")),
    )


def _first(caption: str, results: Sequence[Result]) -> str:
    n = len(results)
    if n <= MOST_ROWS:
        return caption
    return (
        f"{caption}: the {MOST_ROWS:,} with the most money of {n:,}; all stand in results.csv"
    )


def _linked(record: Record, text: str) -> Cell:
    return Cell(text=text, link=f"experiments/{quote(page_of(record))}")


def _amount(value: float, text: str) -> Cell:
    return Cell(text=text, sort=repr(float(value)) if math.isfinite(value) else "")


def share(value: float) -> str:
    """A share without decimals, or a dash."""
    return percent(value, decimals=0, signed=False)
