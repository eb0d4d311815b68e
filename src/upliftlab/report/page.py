"""One page that holds everything: no network, no framework, complete without JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.report import words
from upliftlab.report.environment import MARKS, asset, environment
from upliftlab.report.first_screen import first_screen
from upliftlab.report.sections import parts_of
from upliftlab.report.text import render_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.analysis import Analysis
    from upliftlab.report.parts import Part


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
