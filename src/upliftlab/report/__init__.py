"""What do people and machines read? One page, a terminal text, Markdown and JSON.

Names are loaded when first used: the quarter's pages need nothing of a single analysis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upliftlab.report.data import json_schema, render_json
    from upliftlab.report.files import write
    from upliftlab.report.markdown import render_markdown
    from upliftlab.report.page import render_html
    from upliftlab.report.text import render_text

_HOME = {
    "json_schema": "data",
    "render_html": "page",
    "render_json": "data",
    "render_markdown": "markdown",
    "render_text": "text",
    "write": "files",
}

__all__ = [
    "json_schema",
    "render_html",
    "render_json",
    "render_markdown",
    "render_text",
    "write",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute can be anything
    if name not in _HOME:
        message = f"module 'upliftlab.report' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"upliftlab.report.{_HOME[name]}"), name)
