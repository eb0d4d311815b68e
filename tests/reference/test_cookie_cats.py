"""Cookie Cats (Tactile, released by DataCamp): 90,189 players, a gate at level 30 or 40.

Reference numbers: ``cookie_cats.reference.json`` beside the data, computed from the stored
file with pandas and scipy; retention also printed by DataCamp's project.
"""

from __future__ import annotations

import json

import pandas as pd
import pytest

from upliftlab.estimators.compare import compare, noninferiority
from upliftlab.stats.proportion import two_proportions
from upliftlab.stats.sample_ratio import chi_square

METRICS = ["sum_gamerounds", "retention_1", "retention_7"]


@pytest.fixture
def table(shared_data):
    """One row per player."""
    return pd.read_parquet(shared_data("ab/cookie_cats.parquet"))


@pytest.fixture
def reference(shared_data):
    """Numbers computed outside of this package."""
    return json.loads(shared_data("ab/cookie_cats.reference.json").read_text())


def test_three_metrics_are_welch_s(table, reference):
    """Rounds -1.157, one-day retention -0.0059, seven-day retention -0.0082."""
    found = compare(table, METRICS, arm="version", control="gate_30")

    for metric in METRICS:
        row, effect = reference["contrasts"][metric], found.row(metric).effect
        assert effect.estimate == pytest.approx(row["diff"], abs=1e-6)
        assert effect.std_error == pytest.approx(row["welch_se"], rel=1e-4)
        assert effect.df == pytest.approx(row["df"], rel=1e-4)
        assert effect.p_value == pytest.approx(row["p"], rel=1e-4)
        assert effect.rel_estimate == pytest.approx(row["rel_lift"], abs=1e-6)


def test_one_player_moves_the_mean_of_rounds(table, reference):
    """Without the player of 49,854 rounds the difference is -0.043, not -1.157."""
    row = reference["without_the_one_49854_round_outlier"]
    rest = table[table.sum_gamerounds < 49_854]
    effect = compare(rest, "sum_gamerounds", arm="version", control="gate_30").row().effect

    assert effect.estimate == pytest.approx(row["diff"], abs=1e-6)
    assert effect.std_error == pytest.approx(row["welch_se"], rel=1e-4)


@pytest.mark.parametrize("metric", ["retention_1", "retention_7"])
def test_retention_has_the_pooled_z_of_the_reference(table, reference, metric):
    """One variance under equality, from counts."""
    size = table.groupby("version").size()
    kept = table.groupby("version")[metric].sum()
    found = two_proportions(
        int(kept["gate_40"]),
        int(size["gate_40"]),
        int(kept["gate_30"]),
        int(size["gate_30"]),
        method="pooled_z",
    )

    expected = reference["two_proportion_z"][metric]
    assert found.estimate / found.std_error == pytest.approx(expected["z_pooled"], abs=1e-6)
    assert found.p_value == pytest.approx(expected["p"], rel=1e-6)


def test_the_sample_ratio_is_borderline(table, reference):
    """44,700 and 45,489 of an even split: p .0086, above the .001 that stops a test."""
    found = compare(table, "retention_1", arm="version", control="gate_30")
    statistic, p, _ = chi_square(list(found.n.values()), [1, 1])

    assert statistic == pytest.approx(reference["srm_50_50"]["chi2"], abs=1e-6)
    assert p == pytest.approx(0.0086, abs=5e-5)


def test_the_later_gate_is_not_proven_harmless(table):
    """Within half a point of seven-day retention nobody knows; within two points it is."""
    options = {"arm": "version", "control": "gate_30"}
    close = noninferiority(table, "retention_7", margin="0.5 points", **options)
    far = noninferiority(table, "retention_7", margin="2 points", **options)

    assert (close.row().state, far.row().state) == ("inconclusive", "non-inferior")
