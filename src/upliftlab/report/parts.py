"""What is a section of a page made of, whatever format it is printed in?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.report.style import Chart


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under column headings.

    Attributes:
        caption: What the table holds.
        columns: Headings.
        rows: Cells as readers see them.
        numeric: Positions of columns that are aligned to the right.
        is_open: Whether it stands open rather than folded.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    is_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of a list with a state.

    Attributes:
        state: "fail", "warn", "info" or "pass".
        text: One sentence.
    """

    state: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slider:
    """Numbers that a reader moves through; the page is complete without it.

    Attributes:
        label: What is moved.
        heads: What each number is.
        stops: The numbers as readers see them, one row per place.
        at: Where each place stands along the chart, as a share of its plotting area.
        start: Position that is shown first.
        edges: Left and right room beside the plotting area, in pixels of the chart.
    """

    label: str
    heads: tuple[str, ...]
    stops: tuple[tuple[str, ...], ...]
    at: tuple[float, ...]
    start: int
    edges: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section: a sentence that states its finding, the evidence, the detail.

    Attributes:
        key: Anchor on the page.
        title: Heading: the reader's question.
        finding: One sentence with its number.
        charts: The evidence.
        items: Lines with a state, such as checks.
        tables: The detail, folded.
        notes: What a reader must know.
        slider: Moves along the first chart; None for none.
        code: Text to copy, with its caption; empty for none.
    """

    key: str
    title: str
    finding: str
    charts: tuple[Chart, ...] = ()
    items: tuple[Item, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    slider: Slider | None = None
    code: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Several sections that answer one of the reader's questions.

    Attributes:
        key: Anchor on the page.
        title: "Why", "For whom", "Can we trust it?", "How".
        sections: In reading order.
    """

    key: str
    title: str
    sections: tuple[Section, ...]


def table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text: int = 1,
    is_open: bool = False,
) -> Table:
    """Make a table whose first columns are text and the others numbers.

    Args:
        caption: What the table holds.
        columns: Headings.
        rows: Cells.
        text: How many columns from the left are text.
        is_open: Whether it stands open rather than folded.
    """
    return Table(
        caption=caption,
        columns=tuple(columns),
        rows=tuple(tuple(row) for row in rows),
        numeric=frozenset(range(text, len(columns))),
        is_open=is_open,
    )
