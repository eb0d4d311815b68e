"""The shipped example of a design, and the command that prints it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from upliftlab.cli import app

ROOT = Path(__file__).resolve().parents[2] / "experiments" / "smart_coupon_next"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The example in a copy: its pilot is simulated on first run."""
    place = tmp_path_factory.mktemp("next") / "smart_coupon_next"
    return shutil.copytree(ROOT, place, ignore=shutil.ignore_patterns("data", "report"))


def test_the_example_says_what_its_readme_says(folder):
    """Ten weeks instead of two, sixteen times as many as conversion."""
    ran = CliRunner().invoke(app, ["design", str(folder), "--json"])
    found = json.loads(ran.stdout)
    sizes = {size["metric"]: size for size in found["sizes"]}

    assert ran.exit_code == 0
    assert found["verdict"] == "run it"
    assert found["needed_days"] == 70
    assert found["needed"] == pytest.approx(555_000, rel=0.002)
    profit = sizes["profit"]
    assert [profit["n_low"], profit["n_high"]] == pytest.approx([520_000, 592_000], rel=0.003)
    assert profit["n"] / sizes["conversion"]["n"] == pytest.approx(16, abs=0.5)
    assert profit["power"] == pytest.approx(0.26, abs=0.01)
    assert (folder / "report" / "design.html").is_file()


def test_an_unknown_form_is_refused(folder):
    """One sentence with what is allowed, before anything is read."""
    ran = CliRunner().invoke(app, ["design", str(folder), "--format", "pdf"])

    assert str(ran.exception) == (
        "--format is 'pdf'; allowed: ['html', 'json', 'markdown', 'text']."
    )
