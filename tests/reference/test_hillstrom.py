"""Hillstrom's e-mail test (2008): 64,000 customers, three arms, two of them mailed.

Reference numbers: ``hillstrom.reference.json`` beside the data, computed from the stored file
with pandas and scipy (Welch); spend also printed by russluber/hillstrom, tables/table3.
"""

from __future__ import annotations

import json

import pandas as pd
import pytest

from upliftlab.estimators.compare import compare, segments
from upliftlab.stats.sample_ratio import chi_square

CONTROL = "No E-Mail"
METRICS = ["visit", "conversion", "spend"]
ESTIMATE = 1e-6
"""Absolute, in the metric's unit."""
STD_ERROR = 1e-4
"""Relative."""


@pytest.fixture
def table(shared_data):
    """One row per customer."""
    return pd.read_parquet(shared_data("ab/hillstrom.parquet"))


@pytest.fixture
def reference(shared_data):
    """Numbers computed outside of this package."""
    return json.loads(shared_data("ab/hillstrom.reference.json").read_text())


def test_spend_is_what_hillstrom_s_readers_print(table):
    """Mens +0.7698 (SE 0.1452), Womens +0.4244 (SE 0.1303)."""
    found = compare(table, "spend", arm="segment", control=CONTROL)

    mens, womens = found.row(arm="Mens E-Mail").effect, found.row(arm="Womens E-Mail").effect
    assert (mens.estimate, mens.std_error) == pytest.approx((0.7698, 0.1452), abs=5e-5)
    assert (womens.estimate, womens.std_error) == pytest.approx((0.4244, 0.1303), abs=5e-5)


@pytest.mark.parametrize("control", [CONTROL, "Womens E-Mail"])
def test_every_contrast_is_welch_s(table, reference, control):
    """Estimate, SE, df, interval and p of all contrasts against both arms."""
    found = compare(table, METRICS, arm="segment", control=control)
    expected = {
        (metric, row["treated"]): row
        for metric in METRICS
        for row in reference["contrasts"][metric]
        if row["control"] == control
    }

    assert expected
    for (metric, arm), row in expected.items():
        effect = found.row(metric, arm).effect
        assert effect.estimate == pytest.approx(row["diff"], abs=ESTIMATE)
        assert effect.std_error == pytest.approx(row["welch_se"], rel=STD_ERROR)
        assert effect.df == pytest.approx(row["df"], rel=STD_ERROR)
        assert effect.p_value == pytest.approx(row["p"], rel=1e-3)
        assert (effect.ci_low, effect.ci_high) == pytest.approx(row["ci95"], abs=ESTIMATE)
        assert effect.rel_estimate == pytest.approx(row["rel_lift"], abs=ESTIMATE)


@pytest.mark.parametrize("arm", ["Mens E-Mail", "Womens E-Mail"])
@pytest.mark.parametrize("metric", METRICS)
def test_cuped_with_one_slope_over_all_units_is_the_reference(table, reference, metric, arm):
    """The reference pools the two arms that it compares: theta="joint" on those two."""
    row = reference["cuped_history_covariate"][f"{metric}|{arm}"]
    found = compare(
        table[table.segment.isin([arm, CONTROL])],
        metric,
        arm="segment",
        control=CONTROL,
        covariates=["history"],
        theta="joint",
    ).row()

    assert found.effect.estimate == pytest.approx(row["diff"], abs=ESTIMATE)
    assert found.effect.std_error == pytest.approx(row["welch_se"], rel=STD_ERROR)


@pytest.mark.parametrize("theta", ["per_arm", "within", "joint"])
def test_history_explains_nothing_of_spend(table, theta):
    """Correlation 0.02: CUPED says about 0.04 % less variance, not a gain."""
    found = compare(
        table, "spend", arm="segment", control=CONTROL, covariates=["history"], theta=theta
    )

    reduction = 1 - found.variance_kept["spend"]
    assert reduction == pytest.approx(0.0004, abs=0.0001)


@pytest.mark.parametrize("metric", ["visit", "spend"])
@pytest.mark.parametrize("column", ["mens", "channel", "zip_code", "history_segment"])
def test_segments_are_welch_s_too(table, reference, metric, column):
    """Effects within declared columns, all levels and both arms."""
    found = segments(table, metric, by=column, arm="segment", control=CONTROL)

    for row in found.rows:
        key = f"{column}={row.segment}|{metric}|{row.found.arm}"
        expected = reference["subgroup_effects"][key]
        assert row.found.effect.estimate == pytest.approx(expected["diff"], abs=ESTIMATE)
        assert row.found.effect.std_error == pytest.approx(expected["welch_se"], rel=STD_ERROR)


def test_women_s_mail_works_on_women_s_customers(table):
    """Visits by earlier women's purchases: the womens mail differs beyond doubt."""
    found = segments(table, "visit", by="womens", arm="segment", control=CONTROL)

    assert found.interaction("Womens E-Mail").p_value < 1e-10
    assert found.interaction("Mens E-Mail").p_value > 0.01


def test_arms_have_the_sizes_of_equal_shares(table, reference):
    """Sample ratio: chi-square 0.2025, p 0.904."""
    found = compare(table, "visit", arm="segment", control=CONTROL)
    statistic, p, _ = chi_square(list(found.n.values()), [1, 1, 1])

    assert statistic == pytest.approx(reference["srm"]["chi2"], abs=1e-8)
    assert p == pytest.approx(reference["srm"]["p"], abs=1e-8)
