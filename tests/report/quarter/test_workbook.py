"""The workbook holds every table, opens in a spreadsheet, and runs nothing."""

from __future__ import annotations

import io
import math

import numpy as np
import openpyxl

from upliftlab.report.quarter import workbook
from upliftlab.report.quarter.tables import DataTable
from upliftlab.report.quarter.workbook import render_workbook


def opened(*tables):
    return openpyxl.load_workbook(io.BytesIO(render_workbook(tables)))


def test_cells_are_read_back_as_they_were():
    """Text, whole and broken numbers and gaps; markup is text, formulas are quoted."""
    rows = (("<b>&\x02 裙", 2, None), ("=1+1", -1e-9, np.float64(0.1)), (" x", np.int64(3), ""))
    book = opened(DataTable(name="two words", columns=("who", "n", "x"), rows=rows))
    sheet = book["two words"]

    assert [[cell.value for cell in row] for row in sheet.iter_rows()] == [
        ["who", "n", "x"],
        ["<b>& 裙", 2, None],
        ["'=1+1", -1e-9, 0.1],
        [" x", 3, None],
    ]
    assert sheet.freeze_panes == "B2"
    assert all(cell.data_type != "f" for row in sheet.iter_rows() for cell in row)


def test_many_tables_are_many_sheets_and_the_same_bytes():
    """Sheets stand in the order of the tables; nothing of the day is in the file."""
    tables = [DataTable(name=f"t{i}", columns=("x",), rows=((i,),)) for i in range(12)]

    assert opened(*tables).sheetnames == [f"t{i}" for i in range(12)]
    assert render_workbook(tables) == render_workbook(tables)


def test_what_no_sheet_holds_is_pointed_to(monkeypatch):
    """More rows than the format has stand in the CSV file, which is named."""
    monkeypatch.setattr(workbook, "MOST_ROWS", 2)
    book = opened(DataTable(name="long one", columns=("x",), rows=((1.0,), (2.0,), (math.pi,))))

    assert book["long one"]["A2"].value == "3 rows: they stand in data/long_one.csv"
