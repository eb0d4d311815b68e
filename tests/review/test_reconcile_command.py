"""`upliftlab reconcile ledger.csv books.csv chart.csv`: exit code, sentence, findings."""

from __future__ import annotations

import json
from fractions import Fraction

import pandas as pd
import pytest
from typer.testing import CliRunner

from upliftlab.cli import app
from upliftlab.simulate.books import simulate_books


@pytest.fixture
def files(tmp_path):
    """Three files of a simulated quarter, with or without a planted error."""

    def written(**how):
        found = simulate_books(**how)
        ledger, books = pd.DataFrame(found.postings), pd.DataFrame(found.books)
        for frame in (ledger, books):
            frame["amount"] = [f"{amount / 100:.2f}" for amount in frame["amount"]]
        names = []
        for name, frame in (("ledger", ledger), ("books", books), ("chart", found.chart)):
            names.append(str(tmp_path / f"{name}.csv"))
            pd.DataFrame(frame).to_csv(names[-1], index=False)
        return names

    return written


def called(*words):
    return CliRunner().invoke(app, ["reconcile", *words, "--quarter", "2026Q3"])


def test_books_that_tie_end_with_exit_code_0(files):
    """One sentence and the bridge between the two bases."""
    done = called(*files())

    assert done.exit_code == 0
    assert done.output.splitlines()[0] == "ledger and books agree to the last unit"
    assert "contribution by order date" in done.output


def test_a_planted_error_ends_with_exit_code_3_and_its_place(files):
    """Account, line and month, in words and as JSON."""
    names = files(plant=("6401", "2026-09", Fraction(-5, 1000)))
    done, told = called(*names), called(*names, "--json")
    cell = json.loads(told.output)["tie"]["findings"][0]

    assert done.exit_code == told.exit_code == 3
    assert "  2026-09  6401 (goods, write_off)  ledger " in done.output
    assert (cell["account"], cell["period"]) == ("6401", "2026-09")


def test_a_chart_without_lines_is_refused(files):
    """The column that is missing, by name."""
    names = files()
    pd.DataFrame({"account_code": ["6001"]}).to_csv(names[2], index=False)
    done = called(*names)

    assert done.exit_code != 0
    assert "needs column 'line'" in str(done.exception)
