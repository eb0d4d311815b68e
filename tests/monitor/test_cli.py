"""`upliftlab monitor`: a look on the command line."""

from __future__ import annotations

import json

from tests.monitor.conftest import PLAN, unit_table
from typer.testing import CliRunner

from upliftlab.cli import app
from upliftlab.cli.app import NO_VERDICT


def written(folder, table):
    table.to_parquet(folder / "units.parquet")
    text = PLAN + "data: {units: {file: units.parquet, money: fen}}\n"
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")
    return str(folder / "experiment.yaml")


def test_a_look_prints_what_to_do_and_leaves_a_page(tmp_path):
    """Text first, then where the page is; the next look continues from the state."""
    file = written(tmp_path, unit_table())
    run = CliRunner().invoke(app, ["monitor", file, "--as-of", "2026-06-12"])

    assert run.exit_code == 0, run.output
    assert "KEEP RUNNING: no stopping rule is met. Next look on 13 Jun 2026." in run.output
    assert (tmp_path / "looks.npz").is_file()
    assert (tmp_path / "report" / "looks.html").is_file()
    again = CliRunner().invoke(app, ["monitor", file, "--as-of", "2026-06-13", "--json"])
    assert len(json.loads(again.output)["looks"]) == 2


def test_a_broken_sample_ratio_has_an_exit_code(tmp_path):
    """Scripts stop on 3, as they do for the analysis."""
    table = unit_table()
    table = table.drop(table[table["arm"] == "coupon"].index[::5])
    run = CliRunner().invoke(
        app, ["monitor", written(tmp_path, table), "--as-of", "2026-06-12"]
    )

    assert run.exit_code == NO_VERDICT
    assert "NO VERDICT" in run.output
