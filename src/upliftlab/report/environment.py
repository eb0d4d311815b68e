"""What do all pages share: templates with autoescape on, stylesheets, scripts, marks?"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from upliftlab.report.parts import Table

_SIGNED = re.compile(r"[+−][^ \n<>&;…]*\d(?:\xa0%)?")
_CELL, _ROW = "\x1f", "\x1e"
MARKS = {
    "pass": ("✓", "pass"),
    "warn": ("!", "warning"),
    "fail": ("✕", "failed"),
    "info": ("i", "note"),
}


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
    made.filters["head"] = lambda table: _head(table.columns, table.numeric)
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


@cache
def _head(columns: tuple[str, ...], numeric: frozenset[int]) -> Markup:
    """Headings of a table; a review has thousands of tables of one kind."""
    cells = [
        f'<th scope="col"{" class=n" if i in numeric else ""}>{escape(column)}</th>'
        for i, column in enumerate(columns)
    ]
    return Markup("".join(cells))  # noqa: S704


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
