"""What would a test show, take and cost: as a page, text, Markdown and JSON?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from upliftlab.report.markdown import document, plain, rows_of
from upliftlab.report.numbers import NBSP
from upliftlab.report.page import render_page
from upliftlab.report.planning_parts import plan_parts
from upliftlab.report.planning_screen import plan_screen
from upliftlab.report.text import WIDTH, aligned, wrapped_lines
from upliftlab.report.written import keep

if TYPE_CHECKING:
    from pathlib import Path

    from upliftlab.design.answer import Design


def render_plan_html(plan: Design) -> str:
    """Draw the design page: a whole HTML document; the same design gives the same bytes."""
    return render_page(
        "planning.html",
        screen=plan_screen(plan),
        parts=plan_parts(plan),
        provenance=plan.experiment.fingerprint,
        summary=render_plan_text(plan),
    )


def render_plan_text(plan: Design) -> str:
    """Print the first screen of a design, lines of at most 100 columns."""
    screen = plan_screen(plan)
    lines = [
        *wrapped_lines(" · ".join((screen.title, *screen.facts))),
        "=" * WIDTH,
        *wrapped_lines(screen.headline, indent=" "),
        "=" * WIDTH,
        *aligned([(a.question, a.text, a.detail) for a in screen.answers], right=set()),
        "",
        *wrapped_lines(f"{screen.heading}:", indent=" "),
    ]
    if screen.rows:
        heads = ("", *screen.columns, "")
        short = [(*row[:3], *row[4:]) for row in (heads, *_rows(plan))]
        lines += aligned(short, right={2, 3, 4})
    lines += ["", *wrapped_lines(f"Risks: {screen.risk}", indent=" ")]
    lines += wrapped_lines(f"Next: {screen.next_step}.", indent=" ")
    for note in plan.notes:
        lines += wrapped_lines(f"({note})", indent="   ")
    return "\n".join(line.rstrip() for line in lines).replace(NBSP, " ") + "\n"


def render_plan_markdown(plan: Design) -> str:
    """Print the first screen, then every section with its finding and tables."""
    screen = plan_screen(plan)
    answers = [(a.question, a.text, a.detail) for a in screen.answers]
    lines = [
        f"# {plain(screen.title)}",
        "",
        plain(" · ".join(screen.facts)),
        "",
        f"**{plain(screen.headline)}**",
        "",
        *rows_of(("", "", ""), answers, set()),
        "",
        plain(screen.heading),
        "",
        *rows_of(("", *screen.columns, ""), _rows(plan), {2, 3, 4, 5}),
        "",
        f"- Risks: {plain(screen.risk)}",
        f"- Next: {plain(screen.next_step)}",
        "",
    ]
    return document(lines, plan_parts(plan))


def render_plan_json(plan: Design) -> str:
    """Print everything a design knows, for machines."""
    return json.dumps(plan.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"


PLAN_FORMS = {
    "html": render_plan_html,
    "markdown": render_plan_markdown,
    "text": render_plan_text,
    "json": render_plan_json,
}

_NAMES = {"html": "design.html", "markdown": "design.md", "text": "design.txt",
          "json": "design.json"}  # fmt: skip


def write_plan(plan: Design, folder: str | Path) -> dict[str, Path]:
    """Write the page, Markdown, text and JSON of a design beside those of an analysis.

    Args:
        plan: What the test would show.
        folder: Where to; made if need be.

    Returns:
        Form -> path: "html", "markdown", "text" and "json".
    """
    rendered = {form: (_NAMES[form], render(plan)) for form, render in PLAN_FORMS.items()}
    return keep(folder, rendered)


def _rows(plan: Design) -> list[tuple[str, ...]]:
    return [
        (r.label, r.wanted, r.needed, r.interval, r.smallest, r.chance, r.chip)
        for r in plan_screen(plan).rows
    ]
