"""Every shipped experiment is well defined and runs as it stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from upliftlab.analysis import run
from upliftlab.experiment import Experiment

ROOT = Path(__file__).resolve().parent.parent / "experiments"
FOLDERS = sorted(path.parent for path in ROOT.glob("*/experiment.yaml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_the_definition_is_valid_and_explained(folder):
    """Question, design and verdict stand beside it."""
    plan = Experiment.from_yaml(folder / "experiment.yaml")
    text = (folder / "README.md").read_text(encoding="utf-8")

    assert plan.fingerprint
    assert all(f"**{part}.**" in text for part in ("Question", "Design", "Verdict"))


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [
        ("plain_unit_table", ["keep testing"]),
        ("smart_coupon_win_back", ["ship"]),
        ("dual_commission_staggered", ["stop"]),
        ("dual_commission_cluster", ["stop"]),
        ("smart_coupon_switchback", ["keep testing"]),
        ("smart_coupon_geo", ["keep testing"]),
        pytest.param(
            "smart_coupon_member_activation", ["keep testing", "stop"], marks=pytest.mark.slow
        ),
        pytest.param("smart_coupon_targeting", ["keep testing"], marks=pytest.mark.slow),
        pytest.param(
            "smart_coupon_new_customers",
            ["keep testing", "keep testing", "stop"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_verdict_is_the_one_written_down(name, verdicts, tmp_path):
    """Simulated data are made on first run, in a copy."""
    folder = shutil.copytree(
        ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("data", "report")
    )
    found = run(Experiment.from_yaml(folder / "experiment.yaml"))

    assert [decision.verdict for decision in found.decisions] == verdicts
    assert found.is_valid
