"""The whole report as Markdown, for a chat, a wiki or a pull request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from upliftlab.report import words
from upliftlab.report.first_screen import first_screen
from upliftlab.report.numbers import NBSP
from upliftlab.report.sections import parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.analysis import Analysis
    from upliftlab.report.first_screen import FirstScreen
    from upliftlab.report.parts import Part, Section, Table

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")
_MARKS = {"pass": "pass", "warn": "**warning**", "fail": "**failed**", "info": "note"}


def render_markdown(analysis: Analysis) -> str:
    """Print the first screen, then every section with its finding and tables.

    Args:
        analysis: What the experiment said.

    Returns:
        Markdown with tables as GitHub reads them; names from outside are escaped.
    """
    return document(_first(first_screen(analysis)), parts_of(analysis))


def document(first: Sequence[str], parts: Sequence[Part]) -> str:
    """Print the lines of a first screen, then every part."""
    lines = list(first)
    for part in parts:
        lines += [f"## {plain(part.title)}", ""]
        for section in part.sections:
            lines += section_lines(section)
    return "\n".join(lines).replace(NBSP, " ").rstrip() + "\n"


def _first(screen: FirstScreen) -> list[str]:
    lines = [
        f"# {plain(screen.title)}",
        "",
        plain(" · ".join(screen.facts)),
        "",
        f"**{plain(screen.headline)}**",
        "",
    ]
    if screen.is_blocked:
        lines += [f"The numbers below are **{words.NOT_TO_BE_ACTED_ON}**.", ""]
    money = [
        (row.who, row.money.text, row.money.interval or row.money.note, row.verdict)
        for row in screen.rows
    ]
    heads = (screen.total, "extra profit", screen.level, "verdict")
    lines += [*rows_of(heads, money, {1, 2}), ""]
    basis = " · ".join(text for text in (screen.more, screen.basis) if text)
    lines += [f"({plain(basis)})", ""]
    rungs = [
        (
            row.label,
            *(f"{c.text} ({c.interval})" if c.interval else c.text for c in row.cells),
            row.remark,
        )
        for row in screen.ladder
    ]
    columns = (f"Where the {screen.ladder_of} lift went", *screen.windows, "")
    lines += [*rows_of(columns, rungs, set(range(1, len(columns) - 1))), ""]
    for text in (
        screen.flips,
        screen.roi,
        f"Can we trust it? {screen.trust}",
        f"What this profit counts: {screen.counts}",
        f"Next: {screen.next_step}. Decision recorded: none yet",
    ):
        lines.append(f"- {plain(text)}")
    return [*lines, ""]


def section_lines(section: Section) -> list[str]:
    """Print one section: finding, lines with a state, tables, notes."""
    lines = [f"### {plain(section.title)}", "", plain(section.finding), ""]
    lines += [f"- {_MARKS[item.state]}: {plain(item.text)}" for item in section.items]
    lines += [""] if section.items else []
    for table in section.tables:
        lines += _table(table)
    for note in section.notes:
        lines += [plain(note), ""]
    return lines


def _table(table: Table) -> list[str]:
    rows = rows_of(table.columns, table.rows, table.numeric)
    return [f"{plain(table.caption)}:", "", *rows, ""]


def rows_of(
    heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: set[int] | frozenset[int]
) -> list[str]:
    """Print a table; numeric columns are aligned to the right."""
    rule = ["--:" if i in numeric else "---" for i in range(len(heads))]
    return [
        _row(heads),
        f"| {' | '.join(rule)} |",
        *(_row(row) for row in rows),
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(plain(cell) for cell in cells)} |"


def plain(text: str) -> str:
    """Escape what Markdown or HTML would read as markup, and keep one line one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split("\n")))
