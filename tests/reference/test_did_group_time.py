"""Group-time effects against R's did 2.5.1 (fixtures of its Python port's test suite)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from upliftlab import did
from upliftlab.data.panel import NEVER, Panel
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
from upliftlab.panels.pretrends import cells_test

KINDS = ("simple", "group", "dynamic", "calendar")


@pytest.mark.parametrize(
    ("control", "scenario"), [("never", "mpdta_nev_dr"), ("not_yet", "mpdta_nyt_dr")]
)
def test_minimum_wages_equal_r(shared_data: Any, control: Any, scenario: str) -> None:
    """All 12 cells and four averages of mpdta agree with R in value and standard error."""
    found = group_time(_mpdta(shared_data), control=control, base="varying")
    expected = _reference(shared_data, "mpdta")["R_did"][scenario]

    _same_cells(found, expected["att_gt"])
    for kind in KINDS:
        _same_average(found, kind, expected[kind])


@pytest.mark.parametrize(
    ("control", "scenario"), [("never", "mpdta_nev_dr"), ("not_yet", "mpdta_nyt_dr")]
)
def test_the_look_before_equals_r(shared_data: Any, control: Any, scenario: str) -> None:
    """Wald statistic of all cells before treatment: 7.79124 (p .16812), 7.79093 (.16814)."""
    found = group_time(_mpdta(shared_data), control=control, base="varying")
    expected = _reference(shared_data, "mpdta")["R_did"][scenario]["pretest_wald"]

    test = cells_test(found, inference="analytic")

    assert test.statistic == pytest.approx(expected["W"], rel=1e-6)
    assert test.p_value == pytest.approx(expected["p"], abs=6e-6)
    assert test.restrictions == 5


@pytest.mark.parametrize(
    ("name", "unit", "tolerance"),
    [("df_het", "unit", 1e-4), ("df_het_didimputation", "unit", 1e-4)],
)
def test_two_cohorts_by_state_equal_diff_diff(
    shared_data: Any, name: str, unit: str, tolerance: float
) -> None:
    """did2s' and didimputation's simulated panels, simple average with units as they are."""
    frame = pd.read_parquet(shared_data(f"did/{name}.parquet"))
    found = did(
        frame, "dep_var", unit=unit, period="year", start="g", control="never",
        base="varying", inference="analytic",
    )  # fmt: skip
    value, error = _reference(shared_data, name)["computed"]["diff_diff_cs_simple"]
    joint = found.average()

    assert joint.value[0] == pytest.approx(value, abs=1e-6)
    assert np.sqrt(joint.cov[0, 0]) == pytest.approx(error, rel=tolerance)


def test_lines_of_a_commission_plan_equal_diff_diff(shared_data: Any) -> None:
    """Simple averages of GMV, profit and commission cost, errors by shop.

    diff-diff multiplies the variance by G / (G - 1) for its G clusters, R's did does not.
    """
    frame = pd.read_parquet(shared_data("did/synthetic_creator_commission.parquet"))
    lines = ["gmv", "profit", "commission_cost"]
    found = did(
        frame, lines, unit="creator", period="week", start="cohort", cluster="shop",
        control="never", inference="analytic",
    )  # fmt: skip
    groups = frame["shop"].nunique()
    peers = _reference(shared_data, "synthetic_creator_commission")
    joint = found.average()

    for k, line in enumerate(lines):
        value, error = peers["estimates_by_peer"][f"cs_{line}"]
        assert joint.value[k] == pytest.approx(value, abs=1e-6)
        own = np.sqrt(joint.cov[k, k] * groups / (groups - 1))
        assert own == pytest.approx(error, rel=1e-4)
        assert abs(joint.value[k] - peers[line]["simple"]) <= 3 * error


def test_officers_equal_r(shared_data: Any) -> None:
    """The simple average over 7,785 officers and 72 months equals R's did with its error."""
    frame = pd.read_parquet(shared_data("did/pj_officer.parquet")).sort_values(
        ["uid", "period"]
    )
    periods = sorted(frame.period.unique())
    first = frame.groupby("uid").first_trained.first().to_numpy().astype(float)
    known = np.isfinite(first) & (first <= periods[-1])
    start = np.where(known, first - periods[0], NEVER).astype(np.int64)
    panel = Panel.of_arrays(frame.complaints.to_numpy().reshape(len(start), -1), start)
    joint = aggregate(group_time(panel, base="varying"), "simple").joint(inference="analytic")
    expected = _reference(shared_data, "pj_officer")["computed"]["diff_diff_cs_simple_notyet"]

    assert joint.value[0] == pytest.approx(expected[0], abs=1e-9)
    assert np.sqrt(joint.cov[0, 0]) == pytest.approx(expected[1], rel=1e-4)


def _same_cells(found: Any, expected: list[dict[str, float]]) -> None:
    joint = found.forms.joint(found.moments, inference="analytic")

    assert joint.value == pytest.approx([cell["att"] for cell in expected], abs=1e-6)
    assert np.sqrt(np.diag(joint.cov)) == pytest.approx([c["se"] for c in expected], rel=1e-4)


def _same_average(found: Any, kind: Any, expected: dict[str, Any]) -> None:
    average = aggregate(found, kind)
    joint = average.joint(inference="analytic")
    parts = average.parts_joint(inference="analytic")
    cells = expected["cells"]

    assert joint.value[0] == pytest.approx(expected["overall_att"], abs=1e-6)
    assert np.sqrt(joint.cov[0, 0]) == pytest.approx(expected["overall_se"], rel=1e-4)
    if cells:
        assert parts.value == pytest.approx([cell["att_egt"] for cell in cells], abs=1e-6)
        assert np.sqrt(np.diag(parts.cov)) == pytest.approx(
            [cell["se_egt"] for cell in cells], rel=1e-4
        )


def _mpdta(folder: Any) -> Panel:
    frame = pd.read_csv(folder("did/mpdta.csv")).sort_values(["countyreal", "year"])
    first = frame.groupby("countyreal").first_treat.first().to_numpy()
    return Panel.of_arrays(
        frame.lemp.to_numpy().reshape(len(first), -1),
        np.where(first == 0, NEVER, first - 2003),
        periods=range(2003, 2008),
    )


def _reference(folder: Any, name: str) -> Any:
    return json.loads(folder(f"did/{name}.reference.json").read_text(encoding="utf-8"))
