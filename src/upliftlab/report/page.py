"""One page that holds everything: no network, no framework, complete without JavaScript."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from upliftlab.report import words
from upliftlab.report.first_screen import first_screen
from upliftlab.report.sections import parts_of
from upliftlab.report.text import render_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.analysis import Analysis
    from upliftlab.report.parts import Part, Table

_SIGNED = re.compile(r"[+−][^ \n<>&;…]*\d(?:\xa0%)?")
_CELL, _ROW = "\x1f", "\x1e"
MARKS = {
    "pass": ("✓", "pass"),
    "warn": ("!", "warning"),
    "fail": ("✕", "failed"),
    "info": ("i", "note"),
}


def render_html(analysis: Analysis, *, decided: Sequence[str] = ()) -> str:
    """Draw the analysis page.

    Args:
        analysis: What the experiment said.
        decided: What was decided on it, a sentence each, the newest first.

    Returns:
        A whole HTML document; the same analysis gives the same bytes.
    """
    page = environment().get_template("page.html")
    parts = parts_of(analysis)
    return page.render(
        screen=first_screen(analysis),
        parts=parts,
        question=analysis.experiment.question,
        decided=list(decided),
        blocked=words.NOT_TO_BE_ACTED_ON if not analysis.is_valid else "",
        failed=[words.check_text(analysis, check) for check in words.blocking(analysis)],
        provenance=analysis.provenance,
        summary=render_text(analysis),
        marks=MARKS,
        style=asset("style.css"),
        scripts=[asset("copy.js"), *([asset("slider.js")] if _moves(parts) else [])],
    )


def render_page(
    template: str,
    *,
    screen: object,
    parts: Sequence[Part],
    provenance: object,
    summary: str,
) -> str:
    """Draw a page that has no verdict to block: a first screen of its own over sections.

    Args:
        template: Its file, which extends ``page.html``.
        screen: Everything above the fold.
        parts: Everything below.
        provenance: What its footer names.
        summary: Text that the reader may copy.
    """
    return (
        environment()
        .get_template(template)
        .render(
            screen=screen,
            parts=parts,
            blocked="",
            provenance=provenance,
            summary=summary,
            marks=MARKS,
            style=asset("style.css"),
            scripts=[asset("copy.js"), *([asset("slider.js")] if _moves(parts) else [])],
        )
    )


def _moves(parts: Sequence[Part]) -> bool:
    return any(section.slider for part in parts for section in part.sections)


@cache
def environment() -> Environment:
    """Templates of the package, with autoescape on."""
    made = Environment(
        loader=PackageLoader("upliftlab.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["drawn"] = _drawn
    made.filters["kept"] = _kept
    made.filters["body"] = _body
    return made


def asset(name: str) -> Markup:
    """A stylesheet or script of the package, which holds nothing from outside."""
    made = environment()
    assert made.loader is not None  # noqa: S101 - set above
    text, _, _ = made.loader.get_source(made, name)
    return Markup(text)  # noqa: S704


def _drawn(svg: str) -> Markup:
    """A chart, whose texts matplotlib has escaped."""
    return Markup(svg)  # noqa: S704


def _body(table: Table) -> Markup:
    """Rows of a table, escaped in one go: a page may have hundreds of cells."""
    if not table.rows:
        return Markup("")
    text = _ROW.join(_CELL.join(map(_plain, row)) for row in table.rows)
    opened = [
        "<td class=n>" if i in table.numeric else "<td>" for i in range(len(table.columns))
    ]
    lines = []
    for line in str(escape(text)).split(_ROW):
        first, *rest = line.split(_CELL)
        cells = "".join([f"{o}{c}</td>" for o, c in zip(opened[1:], rest, strict=True)])
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>\n')
    return Markup("".join(lines))  # noqa: S704


def _plain(cell: object) -> str:
    """A cell without the characters that keep cells apart."""
    return str(cell).replace(_CELL, " ").replace(_ROW, " ")


def _kept(text: str) -> Markup:
    """Text whose signed numbers are not broken at the end of a line."""
    return Markup(_SIGNED.sub(r'<span class="nb">\g<0></span>', str(escape(text))))  # noqa: S704
