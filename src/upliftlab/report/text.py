"""The first screen for a terminal: at most 100 columns, complete without colour."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.report import names, words
from upliftlab.report.changes import changes_section
from upliftlab.report.first_screen import first_screen
from upliftlab.report.numbers import NBSP
from upliftlab.report.over_time_facts import facts_over_time
from upliftlab.report.widths import columns, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.analysis import Analysis
    from upliftlab.report.first_screen import FirstScreen
    from upliftlab.report.parts import Section

WIDTH = 100


def render_text(analysis: Analysis) -> str:
    """Print the first screen; where units switched over time, also when and why it earned.

    Args:
        analysis: What the experiment said.

    Returns:
        Lines of at most 100 columns; Chinese characters count as two.
    """
    screen = first_screen(analysis)
    lines = [
        *wrapped_lines(" · ".join((screen.title, *screen.facts))),
        "=" * WIDTH,
        *wrapped_lines(screen.headline, indent=" "),
    ]
    if screen.is_blocked:
        lines += wrapped_lines(f"The numbers below are {words.NOT_TO_BE_ACTED_ON}.", indent=" ")
    lines += ["=" * WIDTH, *_money(screen), *_ladder(screen)]
    for text in (
        screen.flips,
        screen.roi,
        f"Can we trust it? {screen.trust}",
        f"What this profit counts: {screen.counts}",
        f"Next: {screen.next_step}. Decision recorded: none yet",
    ):
        lines += wrapped_lines(text, indent=" ")
    if analysis.changes:
        lines += _section(replace(changes_section(analysis), charts=()))
    for each in analysis.changes or (analysis,):
        if each.rollout is not None:
            for section in facts_over_time(each, each.rollout):
                lines += _section(_named(section, each) if analysis.changes else section)
    return "\n".join(line.rstrip() for line in lines).replace(NBSP, " ") + "\n"


def _named(section: Section, analysis: Analysis) -> Section:
    """A section of one of several changes."""
    arm = analysis.profits[0].arm
    called = names.arm_names(analysis.experiment)[arm]
    return replace(section, title=f"{called}: {section.title}")


def _section(section: Section) -> list[str]:
    """A finding and the tables that a terminal has room for."""
    lines = ["", f" {section.title.upper()}", *wrapped_lines(section.finding, indent=" ")]
    for each in section.tables:
        rows = [tuple(_one_line(cell) for cell in row) for row in (each.columns, *each.rows)]
        lines += ["", *wrapped_lines(f"{each.caption}:", indent=" ")]
        lines += aligned(_fitted(rows), right=set(each.numeric))
    for note in section.notes:
        lines += wrapped_lines(note, indent="   ")
    return lines


def _fitted(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Cut the widest columns until a row fits; what they say whole stands on the page."""
    wide = [max(columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    room = WIDTH - 1 - 2 * (len(wide) - 1)
    while sum(wide) > room:
        wide[wide.index(max(wide))] -= 1
    return [tuple(shortened(cell, most) for cell, most in zip(row, wide, strict=True))
            for row in rows]  # fmt: skip


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _money(screen: FirstScreen) -> list[str]:
    rows = [(screen.total, "extra profit", screen.level, "verdict")]
    rows += [
        (f"  {row.who}", row.money.text, row.money.interval, row.verdict) for row in screen.rows
    ]
    tail = " · ".join(text for text in (screen.more, screen.basis) if text)
    return [*aligned(rows, right={1, 2}), *wrapped_lines(f"({tail})", indent="  ")]


def _ladder(screen: FirstScreen) -> list[str]:
    rows = [(f"Where the {screen.ladder_of} lift went", *screen.windows)]
    remarks = []
    for row in screen.ladder:
        cells = [
            f"{cell.text} ({cell.interval})" if cell.interval else cell.text
            for cell in row.cells
        ]
        rows.append((f"  {row.label}", *cells))
        if row.remark and row.is_profit:
            remarks += wrapped_lines(row.remark, indent="    ")
    return [*aligned(rows, right=set(range(1, len(rows[0])))), *remarks]


def aligned(rows: Sequence[Sequence[str]], *, right: set[int]) -> list[str]:
    """Align columns; what does not fit is cut in the first and wrapped in the last."""
    wide = [max(columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    spare = WIDTH - 1 - sum(wide[1:-1]) - 2 * (len(wide) - 1)
    last = 0 if len(wide) - 1 in right else 1
    if last:
        wide[-1] = min(wide[-1], max(18, spare - wide[0]))
    else:
        spare -= wide[-1]
    wide[0] = min(wide[0], max(16, spare - (wide[-1] if last else 0)))
    out = []
    for row in rows:
        *front, tail = row
        texts = textwrap.wrap(tail, wide[-1]) or [""] if last else [tail]
        cells = [
            _padded(cell, wide[i], right=i in right)
            for i, cell in enumerate([*front, texts[0]])
        ]
        out.append(" " + "  ".join(cells))
        lead = " " * (1 + sum(wide[:-1]) + 2 * (len(wide) - 1))
        out += [lead + text for text in texts[1:]]
    return out


def _padded(text: str, width: int, *, right: bool) -> str:
    cut = shortened(text, width)
    room = " " * (width - columns(cut))
    return room + cut if right else cut + room


def wrapped_lines(text: str, indent: str = "") -> list[str]:
    """Break at spaces, measured in columns; a word that is too long is cut into pieces."""
    out = [indent]
    for word in text.replace(NBSP, "\x00").split(" "):
        for piece in _pieces(word.replace("\x00", NBSP), WIDTH - columns(indent) - 2):
            fits = columns(f"{out[-1]} {piece}") <= WIDTH
            if out[-1].strip() and not fits:
                out.append(indent + "  " + piece)
            else:
                out[-1] += piece if not out[-1].strip() else f" {piece}"
    return out


def _pieces(word: str, most: int) -> list[str]:
    out = [""]
    for char in word:
        if columns(out[-1] + char) > most:
            out.append("")
        out[-1] += char
    return out
