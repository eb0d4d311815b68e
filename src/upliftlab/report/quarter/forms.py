"""The review as Markdown for a wiki, and as JSON for machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from upliftlab.report.markdown import plain, rows_of, section_lines
from upliftlab.report.numbers import NBSP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.report.parts import Part
    from upliftlab.report.quarter.first import First
    from upliftlab.report.quarter.grids import Grid
    from upliftlab.report.quarter.tables import DataTable
    from upliftlab.review.programme import Programme

SCHEMA_VERSION = 1
MOST_ROWS = 200


def render_markdown(first: First, parts: Sequence[Part], grids: dict[str, Grid]) -> str:
    """Print the first screen, then every section with its finding and tables."""
    lines = [
        f"# {plain(first.title)}",
        "",
        plain(" · ".join(first.facts)),
        "",
        f"**{plain(first.headline)}** {plain(first.on)}".rstrip(),
        "",
    ]
    if first.alarm:
        lines += [f"**{plain(first.alarm)}**", ""]
    if first.ladder:
        heads = ("From what the dashboard says to what we keep", "amount", "95 % range")
        lines += [*rows_of(heads, first.ladder, {1, 2}), ""]
    lines += [f"- {plain(text)}" for text in first.trust]
    asked = [
        (f"{e.name}, {e.whom}", e.worth, e.reach, e.proposed, e.owner) for e in first.asked
    ]
    heads5 = ("Decide today", "worth", "95 % range", "proposed", "owner")
    lines += ["", *rows_of(heads5, asked, {1, 2}), ""]
    lines += [f"- {plain(head)} {plain(text)}" for head, text in first.lines]
    lines.append("")
    for part in parts:
        lines += [f"## {plain(part.title)}", ""]
        for section in part.sections:
            lines += section_lines(section)
            if section.key in grids:
                lines += _grid(grids[section.key])
    return "\n".join(lines).replace(NBSP, " ").rstrip() + "\n"


def render_json(programme: Programme, tables: Sequence[DataTable]) -> str:
    """Print totals and all tables; amounts of ``tables`` are in main units, others in minor."""
    # Whole records stay in the registry; here are their addresses.
    found: dict[str, Any] = {"schema_version": SCHEMA_VERSION, **_finite(programme.to_dict())}
    found["tables"] = {
        each.name: [dict(zip(each.columns, row, strict=True)) for row in each.rows]
        for each in tables
    }
    return json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n"


def _grid(grid: Grid) -> list[str]:
    rows = [[cell.text for cell in row] for row in grid.rows[:MOST_ROWS]]
    more = len(grid.rows) - len(rows)
    caption = plain(grid.caption) + (f" (the first {MOST_ROWS})" if more > 0 else "")
    return [f"{caption}:", "", *rows_of(grid.columns, rows, grid.numeric), ""]


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
