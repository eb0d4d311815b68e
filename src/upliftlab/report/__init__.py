"""What do people and machines read? One page, a terminal text, Markdown and JSON."""

from upliftlab.report.data import json_schema, render_json
from upliftlab.report.files import write
from upliftlab.report.markdown import render_markdown
from upliftlab.report.page import render_html
from upliftlab.report.text import render_text

__all__ = [
    "json_schema",
    "render_html",
    "render_json",
    "render_markdown",
    "render_text",
    "write",
]
