"""Looks at a running test as a page, text, Markdown and JSON."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

from upliftlab.report.environment import MARKS, asset, environment
from upliftlab.report.looks_parts import looks_parts
from upliftlab.report.looks_screen import looks_screen
from upliftlab.report.markdown import document, plain, rows_of
from upliftlab.report.numbers import NBSP
from upliftlab.report.text import WIDTH
from upliftlab.report.widths import columns
from upliftlab.report.written import keep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from upliftlab.monitor.answer import Monitoring

HEADS = ("", "extra profit", "range at all looks", "")


def render_looks_html(found: Monitoring) -> str:
    """Draw the monitoring page: a whole HTML document; the same looks give the same bytes."""
    page = environment().get_template("looks.html")
    return page.render(
        screen=looks_screen(found),
        parts=looks_parts(found),
        blocked="",
        provenance=found.experiment.fingerprint,
        summary=render_looks_text(found),
        marks=MARKS,
        style=asset("style.css"),
        scripts=[asset("copy.js")],
    )


def render_looks_text(found: Monitoring) -> str:
    """Print the first screen of a running test, lines of at most 100 columns."""
    screen = looks_screen(found)
    lines = [
        *_lines(" · ".join((screen.title, *screen.facts))),
        "=" * WIDTH,
        *_lines(screen.headline, indent=" "),
        "=" * WIDTH,
    ]
    if screen.missing:
        lines += [*_lines(f"Missing: {screen.missing}.", indent=" "), ""]
    if screen.rows:
        lines += [*_aligned((HEADS, *_rows(found))), ""]
    lines += [
        *_lines(f"Next look: {screen.next_look}.", indent=" "),
        *_lines(f"Can we trust it? {screen.trust}", indent=" "),
        *_lines(f"Next: {screen.next_step}.", indent=" "),
    ]
    return "\n".join(line.rstrip() for line in lines).replace(NBSP, " ") + "\n"


def render_looks_markdown(found: Monitoring) -> str:
    """Print the first screen, then every section with its finding and tables."""
    screen = looks_screen(found)
    lines = [
        f"# {plain(screen.title)}",
        "",
        plain(" · ".join(screen.facts)),
        "",
        f"**{plain(screen.headline)}**",
        "",
    ]
    if screen.rows:
        lines += [*rows_of(HEADS, _rows(found), {1, 2}), ""]
    lines += [
        f"- Next look: {plain(screen.next_look)}",
        f"- Can we trust it? {plain(screen.trust)}",
        f"- Next: {plain(screen.next_step)}",
        "",
    ]
    return document(lines, looks_parts(found))


def render_looks_json(found: Monitoring) -> str:
    """Print everything the looks know, for machines."""
    return json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"


LOOKS_FILES = {
    "html": ("looks.html", render_looks_html),
    "markdown": ("looks.md", render_looks_markdown),
    "text": ("looks.txt", render_looks_text),
    "json": ("looks.json", render_looks_json),
}
"""Form -> file name and the function that makes it."""


def write_looks(found: Monitoring, folder: str | Path) -> dict[str, Path]:
    """Write the page, Markdown, text and JSON of the looks so far.

    Args:
        found: The looks.
        folder: Where to; made if need be.

    Returns:
        Form -> path: "html", "markdown", "text" and "json".
    """
    rendered = {form: (name, render(found)) for form, (name, render) in LOOKS_FILES.items()}
    return keep(folder, rendered)


def _lines(text: str, indent: str = "") -> list[str]:
    """Break a sentence at spaces."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ",
        break_on_hyphens=False,
    )  # fmt: skip


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Pad columns: the first and the last are text, those between numbers."""
    wide = [max(columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    out = []
    for label, *numbers, last in rows:
        cells = [" " + label + " " * (wide[0] - columns(label))]
        for width, cell in zip(wide[1:-1], numbers, strict=True):
            cells.append(" " * (width - columns(cell)) + cell)
        out.append("  ".join([*cells, last]).rstrip())
    return out


def _rows(found: Monitoring) -> list[tuple[str, ...]]:
    return [(r.label, r.value, r.ends, r.chip) for r in looks_screen(found).rows]
