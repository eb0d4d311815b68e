"""The whole review as one paper for the board: first screen, parts, a page per experiment."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from upliftlab.report.environment import MARKS, environment
from upliftlab.report.quarter.grids import page_of
from upliftlab.report.quarter.pages import page_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upliftlab.registry.record import Record
    from upliftlab.report.parts import Part
    from upliftlab.report.quarter.first import First
    from upliftlab.report.quarter.grids import Grid
    from upliftlab.review.programme import Programme

MOST_EXPERIMENTS = 200
"""Experiments with a page in the paper; no board turns more."""

MOST_ROWS = 200
"""Rows of a table in the paper."""

_LINK = re.compile(r'href="experiments/([^"]+)"')


def render_board(
    programme: Programme,
    first: First,
    parts: Sequence[Part],
    grids: Mapping[str, Grid],
    made: str,
) -> str:
    """Print the review and its experiments as one page, to be printed on paper.

    Args:
        programme: The quarter's experiments.
        first: The first screen.
        parts: Everything under it.
        grids: Tables by the section they stand in.
        made: When it was frozen.

    Returns:
        A whole HTML document that reads ``style.css`` beside it; links lead within it.
    """
    chosen = _chosen(programme)
    left = len(programme.records) - len(chosen)
    page = environment().get_template("board.html").render(
        first=first,
        parts=parts,
        grids={key: _short(grid) for key, grid in grids.items()},
        marks=MARKS,
        blocked="",
        made=made,
        records=[_values(i, record) for i, record in enumerate(chosen, start=1)],
        left=f"{left:,} more experiments have their pages in the site." if left else "",
    )  # fmt: skip
    return _LINK.sub(_within({quote(page_of(each)) for each in chosen}), page)


def _chosen(programme: Programme) -> list[Record]:
    """Most money at stake first, then those without a number, in the order they began."""
    order = {id(each.record): i for i, each in reversed(list(enumerate(programme.results)))}
    last = len(order)
    ranked = sorted(programme.records, key=lambda each: order.get(id(each), last))
    return ranked[:MOST_EXPERIMENTS]


def _values(number: int, record: Record) -> dict[str, Any]:
    return {**page_values(record), "page": quote(page_of(record)), "key": f"e{number}-"}


def _short(grid: Grid) -> Grid:
    if len(grid.rows) <= MOST_ROWS:
        return grid
    caption = f"{grid.caption}: the first {MOST_ROWS} of {len(grid.rows):,}"
    return replace(grid, rows=grid.rows[:MOST_ROWS], caption=caption)


def _within(pages: set[str]) -> Any:  # noqa: ANN401 - what re.sub takes
    def link(found: re.Match[str]) -> str:
        return f'href="#{found[1]}"' if found[1] in pages else found[0]

    return link
