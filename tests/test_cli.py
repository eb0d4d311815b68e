from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent

PLAN = """\
name: spring-coupon
kind: smart_coupon
arms: {none: {share: 50%, control: true}, coupon: {share: 50%, coupon: 20, over: 99}}
costs: {margin: 35%}
data:
  units:
    {file: units.csv, money: yuan,
     columns: {unit: uid, arm: grp, gmv: sales, merchant_coupon: cost}}
"""


def upliftlab(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "upliftlab.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    """A stranger's table and plan: 600 customers."""
    rng = np.random.default_rng(1)
    rows = ["uid,grp,sales,cost"]
    for i in range(600):
        treated = i % 2
        sales = round(float(rng.lognormal(4.8, 0.4)), 2) if rng.random() < 0.3 else 0
        cost = 20 if treated and sales > 99 else 0
        rows.append(f"u{i},{'coupon' if treated else 'none'},{sales},{cost}")
    (tmp_path / "units.csv").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "experiment.yaml").write_text(PLAN, encoding="utf-8")
    return tmp_path


def test_run_answers_and_writes_a_page(folder):
    """Text on the screen; page, Markdown and JSON on disk."""
    done = upliftlab("run", folder)

    assert done.returncode == 0, done.stderr
    assert "extra profit" in done.stdout
    page = folder / "report" / "index.html"
    assert page.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert json.loads((folder / "report" / "analysis.json").read_text(encoding="utf-8"))


def test_json_is_for_machines(folder):
    """Nothing but JSON on standard output."""
    done = upliftlab("run", folder, "--json")

    assert json.loads(done.stdout)["experiment"]["name"] == "spring-coupon"


def test_a_mistake_is_one_sentence_with_exit_code_1(folder):
    """No traceback, whatever is wrong."""
    plan = (folder / "experiment.yaml").read_text(encoding="utf-8").replace("sales", "seles")
    (folder / "experiment.yaml").write_text(plan, encoding="utf-8")
    done = upliftlab("run", folder)

    assert done.returncode == 1
    assert done.stderr.strip() == (
        "source 'units' needs column 'seles'; the table has ['cost', 'grp', 'sales', 'uid']. "
        "Did you mean 'sales'?"
    )


def test_all_problems_of_a_definition_are_told_at_once(folder):
    """File and line before each."""
    (folder / "experiment.yaml").write_text(
        PLAN.replace("share: 50%, coupon", "share: 40%, coupon").replace("margin", "margn"),
        encoding="utf-8",
    )
    done = upliftlab("validate", folder)

    assert done.returncode == 1
    assert "the definition has 2 problems:" in done.stderr
    assert "experiment.yaml:3: " in done.stderr
    assert "experiment.yaml:4: " in done.stderr
    assert "Did you mean 'margin'?" in done.stderr


def test_a_failed_validity_check_is_exit_code_3(folder):
    """Half of the treated are gone."""
    lines = (folder / "units.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for i, line in enumerate(lines) if ",coupon," not in line or i % 4]
    (folder / "units.csv").write_text("\n".join(kept), encoding="utf-8")
    done = upliftlab("check", folder)

    assert done.returncode == 3
    assert "fail  Sample ratio" in done.stdout


def test_init_writes_a_valid_definition_and_never_overwrites(tmp_path):
    """What is there stays as it is."""
    file = tmp_path / "plan" / "experiment.yaml"
    first = upliftlab("init", file)
    before = file.read_text(encoding="utf-8")
    again = upliftlab("init", file, "--small")

    assert first.returncode == 0
    assert upliftlab("validate", file).returncode == 0
    assert again.returncode == 1
    assert "is there already and stays as it is" in again.stderr
    assert file.read_text(encoding="utf-8") == before


def test_simulate_writes_tables_with_their_truth(tmp_path):
    """And refuses to touch a folder that exists."""
    done = upliftlab("simulate", tmp_path / "world", "--customers", "500")
    again = upliftlab("simulate", tmp_path / "world")

    assert done.returncode == 0
    assert (tmp_path / "world" / "truth.json").is_file()
    assert again.returncode == 1


def test_schema_prints_json_schema():
    """For editors, and of results."""
    for what in ("definition", "analysis"):
        done = upliftlab("schema", what)

        assert json.loads(done.stdout)["$schema"].startswith("https://json-schema.org/")


def test_report_pipes_one_format(folder):
    """Markdown to standard output."""
    done = upliftlab("report", folder, "--format", "markdown")

    assert done.returncode == 0
    assert done.stdout.lstrip().startswith("#")


def test_several_experiments_run_in_one_call(folder, tmp_path):
    """Each has its own folder under --out."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "units.csv").write_bytes((folder / "units.csv").read_bytes())
    (other / "experiment.yaml").write_text(
        PLAN.replace("spring-coupon", "autumn-coupon"), encoding="utf-8"
    )
    done = upliftlab("run", folder, other, "--out", tmp_path / "out")

    assert done.returncode == 0
    assert (tmp_path / "out" / "spring-coupon" / "index.html").is_file()
    assert (tmp_path / "out" / "autumn-coupon" / "index.html").is_file()


def test_the_demo_runs_small(tmp_path):
    """The whole way: simulate, analyse, page."""
    done = upliftlab("demo", "--out", tmp_path / "demo", "--customers", "4000", "--tests", "12")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "index.html").is_file()
    assert (tmp_path / "demo" / "review" / "index.html").is_file()


def test_secrets_stay_out_of_every_output(folder, tmp_path):
    """An engine's URL is read from the environment and is in no file and no message."""
    import os

    import duckdb

    database = tmp_path / "shop-secret-token.db"
    with duckdb.connect(str(database)) as connection:
        connection.read_csv(str(folder / "units.csv")).create("customers")
    plan = PLAN.replace("file: units.csv", "table: customers, engine: $SHOP_ENGINE")
    (folder / "experiment.yaml").write_text(plan, encoding="utf-8")
    missing = upliftlab("run", folder)
    done = subprocess.run(
        [sys.executable, "-m", "upliftlab.cli", "run", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "SHOP_ENGINE": f"duckdb://{database}"},
        check=False,
    )

    assert missing.returncode == 1
    assert "the environment has no SHOP_ENGINE" in missing.stderr
    assert done.returncode == 0, done.stderr
    written = "".join(
        path.read_text(encoding="utf-8") for path in (folder / "report").iterdir()
    )
    assert "secret-token" not in written + done.stdout + done.stderr
