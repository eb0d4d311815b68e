"""Which files does a report leave behind, each whole or not at all?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from upliftlab.report.data import render_json
from upliftlab.report.markdown import render_markdown
from upliftlab.report.page import render_html
from upliftlab.report.text import render_text
from upliftlab.report.written import keep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.analysis import Analysis
    from upliftlab.targeting.answer import Targeting

FILES = {
    "html": ("index.html", render_html),
    "markdown": ("summary.md", render_markdown),
    "text": ("summary.txt", render_text),
    "json": ("analysis.json", render_json),
}
"""Form -> file name and the function that makes it."""

RULE_FILES = {
    "rule": "targeting_rule.json",
    "sql": "targeting_rule.sql",
    "spark": "targeting_rule_spark.sql",
}
"""Form of an exported rule -> file name."""


def write(
    analysis: Analysis, folder: str | Path, *, decided: Sequence[str] = ()
) -> dict[str, Path]:
    """Write the page, Markdown, text and JSON into a folder, which is made if need be.

    Everything is rendered before anything is written, and every file is written beside its
    place and then moved into it: readers see the old file or the new one, never half of one.

    Args:
        analysis: What the experiment said.
        folder: Where to.
        decided: What was decided on it, a sentence each, the newest first.

    Returns:
        Form -> path: "html", "markdown", "text" and "json"; where the plan asks who should get
        what and no failed check forbids it, also "rule", "sql" (DuckDB) and "spark". A rule
        that an earlier run left there is taken away where there is none now.
    """
    place = Path(folder)
    rendered = {form: (name, render(analysis)) for form, (name, render) in FILES.items()}
    if decided:
        rendered["html"] = (FILES["html"][0], render_html(analysis, decided=decided))
    if analysis.targeting is not None and analysis.targeting.rule and analysis.is_valid:
        rendered["rule"] = (RULE_FILES["rule"], render_rule(analysis.targeting))
        rendered["sql"] = (RULE_FILES["sql"], f"{analysis.targeting.sql}\n")
        rendered["spark"] = (RULE_FILES["spark"], f"{analysis.targeting.sql_spark}\n")
    place.mkdir(parents=True, exist_ok=True)
    for form, name in RULE_FILES.items():
        if form not in rendered:
            (place / name).unlink(missing_ok=True)
    return keep(place, rendered)


def render_rule(targeting: Targeting) -> str:
    """Print the exported rule as JSON."""
    return json.dumps(dict(targeting.rule), ensure_ascii=False, allow_nan=False) + "\n"
