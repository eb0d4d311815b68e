"""The review's tables as one workbook, a sheet each, however long they are."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from upliftlab.report.quarter.tables import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from upliftlab.report.quarter.tables import DataTable, Value

MOST_ROWS = 1_048_575
"""Rows of a sheet under its heading: the format has no more."""

_LONGEST = 32_767
"""Characters of one cell: the format has no more."""

_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KINDS = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_SHEET = (
    f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
    '<pane xSplit="1" ySplit="1" topLeftCell="B2" state="frozen"/>'
    "</sheetView></sheetViews><sheetData>"
)
_BEGINNING = (1980, 1, 1, 0, 0, 0)
"""The same tables give the same bytes."""


def render_workbook(tables: Sequence[DataTable]) -> bytes:
    """Print all tables as one workbook (ECMA-376, transitional), text as text.

    Written without a library: tens of thousands of rows take a second, and cells can hold
    nothing but numbers and text, never a formula.

    Examples:
        >>> from upliftlab.report.quarter.tables import DataTable
        >>> table = DataTable(name="a", columns=("who", "n"), rows=(("Li", 2), ("=1", None)))
        >>> render_workbook([table])[:2]
        b'PK'
    """
    names = [each.name[:31] for each in tables]
    numbers = range(1, len(names) + 1)
    files = {
        "[Content_Types].xml": _content_types(numbers),
        "_rels/.rels": _relations([("rId1", "officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": _workbook(names),
        "xl/_rels/workbook.xml.rels": _relations(
            [(f"rId{i}", "worksheet", f"worksheets/sheet{i}.xml") for i in numbers]
        ),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as packed:
        for name, text in files.items():
            packed.writestr(_entry(name), text)
        for i, table in zip(numbers, tables, strict=True):
            packed.writestr(_entry(f"xl/worksheets/sheet{i}.xml"), _sheet(table))
    return out.getvalue()


def _sheet(table: DataTable) -> str:
    rows = table.rows
    if len(rows) > MOST_ROWS:
        file = f"data/{table.name.replace(' ', '_')}.csv"
        rows = ((f"{len(rows):,} rows: they stand in {file}",),)
    lines = "".join(map(_row, rows))
    return f"{_SHEET}{_row(table.columns)}{lines}</sheetData></worksheet>"


def _row(values: Iterable[Value]) -> str:
    return f"<row>{''.join(map(_cell, values))}</row>"


def _cell(value: Value) -> str:
    if value is None or value == "":
        return "<c/>"
    if isinstance(value, str):
        text = escape(str(safe(value))[:_LONGEST])
        return f'<c t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
    number = float.__repr__(value) if isinstance(value, float) else str(int(value))
    return f"<c><v>{number}</v></c>"


def _workbook(names: Sequence[str]) -> str:
    sheets = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{i}" r:id="rId{i}"/>'
        for i, name in enumerate(names, start=1)
    )
    return (
        f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_LINKS}">'
        f"<sheets>{sheets}</sheets></workbook>"
    )


def _relations(links: Sequence[tuple[str, str, str]]) -> str:
    rows = "".join(
        f'<Relationship Id="{key}" Type="{_LINKS}/{kind}" Target="{target}"/>'
        for key, kind, target in links
    )
    space = f"{_PACKAGE}/relationships"
    return f'{_HEAD}<Relationships xmlns="{space}">{rows}</Relationships>'


def _content_types(numbers: Iterable[int]) -> str:
    parts = [("/xl/workbook.xml", "sheet.main"), *((_place(i), "worksheet") for i in numbers)]
    rows = "".join(
        f'<Override PartName="{name}" ContentType="{_KINDS}.{kind}+xml"/>'
        for name, kind in parts
    )
    rels = "application/vnd.openxmlformats-package.relationships+xml"
    return (
        f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
        f'<Default Extension="rels" ContentType="{rels}"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{rows}</Types>'
    )


def _place(number: int) -> str:
    return f"/xl/worksheets/sheet{number}.xml"


def _entry(name: str) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name, date_time=_BEGINNING)
    found.compress_type = zipfile.ZIP_DEFLATED
    return found
