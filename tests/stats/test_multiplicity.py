from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import interval, undefined
from upliftlab.stats.multiplicity import (
    adjust,
    bh_threshold,
    fcr_intervals,
    max_t_critical,
    simultaneous,
)

P_VALUES = [0.005, 0.06, 0.007, 0.04, 0.01, 0.03]
CASES = {  # case G1: statsmodels, and tea-tasting tests/test_multiplicity.py
    "bonferroni": [0.03, 0.36, 0.042, 0.24, 0.06, 0.18],
    "holm": [0.03, 0.09, 0.035, 0.09, 0.04, 0.09],
    "hochberg": [0.03, 0.06, 0.035, 0.06, 0.04, 0.06],
    "hommel": [0.025, 0.06, 0.028, 0.06, 0.04, 0.06],
    "holm-sidak": [0.0296274906, 0.087327, 0.0345134180, 0.087327, 0.03940399, 0.087327],
    "fdr_bh": [0.02, 0.06, 0.02, 0.048, 0.02, 0.045],
    "fdr_by": [0.049, 0.147, 0.049, 0.1176, 0.049, 0.11025],
}

statistics = st.lists(st.floats(-6, 6), min_size=2, max_size=5)


def equal(m, rho):
    """Equal correlation rho between m numbers."""
    return np.full((m, m), rho) + (1 - rho) * np.eye(m)


def unstructured(m, seed):
    """A correlation matrix without product structure."""
    return np.corrcoef(np.random.default_rng(seed).normal(size=(m, m + 3)))


@pytest.mark.parametrize("method", CASES)
def test_adjusted_p_values_match_statsmodels(method):
    """Case G1: six p-values under seven corrections."""
    assert adjust(P_VALUES, method) == pytest.approx(CASES[method], abs=1e-9)


def test_a_missing_p_value_does_not_count():
    """NaN stays NaN and does not make the family larger."""
    found = adjust([math.nan, *P_VALUES], "bonferroni")

    assert math.isnan(found[0])
    assert found[1:] == pytest.approx(CASES["bonferroni"])
    assert np.isnan(adjust([math.nan, math.nan])).all()


@pytest.mark.parametrize(
    ("p_values", "threshold"),
    [
        ([0.02, 0.03, 0.002, 0.001], 0.05),  # case G3: zalando/expan
        ([0.01, 0.2, 0.1, 0.02], 0.025),  # case G3: zalando/expan
        ([0.9, 0.8], 0.0),
        ([], 0.0),
    ],
)
def test_the_threshold_of_benjamini_and_hochberg(p_values, threshold):
    """The largest k q / m that the k-th smallest p-value does not exceed."""
    assert bh_threshold(p_values) == pytest.approx(threshold)


def test_bonferroni_of_four():
    """Case G3: four tests at 5 % are significant at .0125 each."""
    assert adjust([0.0125, 1.0, 1.0, 1.0], "bonferroni")[0] == pytest.approx(0.05)


@given(statistics)
def test_selected_intervals_leave_zero_out(values):
    """False-coverage intervals agree with the selection; the others are withheld."""
    family = [interval(str(i), t, 1.0, df=20) for i, t in enumerate(values)]
    found = fcr_intervals([*family, undefined("empty", "no units")], q=0.1)

    for row in found[:-1]:
        if row.shape == "interval":
            assert row.p_value <= 0.1 + 1e-12
            assert row.excludes(0.0)
        else:
            assert row.p_value > 0.1 - 1e-12
            assert "not selected" in row.note
    assert found[-1].note == "no units"


def test_selecting_everything_widens_nothing():
    """With all of m selected the level is 1 - q."""
    found = fcr_intervals([interval("a", 9.0, 1.0), interval("b", 9.0, 1.0)])

    assert [row.level for row in found] == [0.95, 0.95]
    assert found[0].ci_low == pytest.approx(9 - 1.959964, abs=1e-6)


def test_a_note_stays_when_the_interval_goes():
    """Not being selected is added to what was known before."""
    found = fcr_intervals([interval("a", 0.1, 1.0, note="immature")])

    assert found[0].note == "immature; not selected at a false discovery rate of 0.05"


@pytest.mark.parametrize(
    ("m", "df", "value", "digits"),
    [
        # Dunnett (1964), Biometrics 20(3), two-sided 5 %, equal arms (correlation 1/2).
        (2, math.inf, 2.212, 3),
        (3, math.inf, 2.349, 3),
        (3, 20.0, 2.54, 2),
    ],
)
def test_critical_values_match_dunnett(m, df, value, digits):
    """Arms against one control: the published table."""
    assert max_t_critical(equal(m, 0.5), df=df) == pytest.approx(value, abs=0.5 * 10**-digits)


def test_critical_value_of_independent_numbers_is_sidaks():
    """Without correlation the value is the normal quantile at .95^(1/m)."""
    # 1 - 0.95^(1/5) two-sided: 2.5691 (Sidak 1967).
    assert max_t_critical(np.eye(5)) == pytest.approx(2.569, abs=1e-3)


@pytest.mark.parametrize("df", [8.0, math.inf])
def test_the_point_set_agrees_with_the_integral(df, monkeypatch):
    """Where both apply, integral and sphere give one answer within .002."""
    matrix = np.outer([0.9, 0.7, -0.5, 0.3], [0.9, 0.7, -0.5, 0.3])
    np.fill_diagonal(matrix, 1.0)
    integral = max_t_critical(matrix, df=df)
    monkeypatch.setattr("upliftlab.stats.max_t._loadings", lambda _: None)
    sphere = max_t_critical(matrix, df=df)

    assert sphere == pytest.approx(integral, abs=2e-3)


@pytest.mark.parametrize("df", [12.0, math.inf])
def test_unstructured_correlations_agree_with_simulation(df):
    """Half a million draws exceed the critical value 5 % of the time."""
    matrix = unstructured(6, 3)
    critical = max_t_critical(matrix, df=df)
    rng = np.random.default_rng(1)
    draws = rng.multivariate_normal(np.zeros(6), matrix, size=500_000)
    scale = 1.0 if math.isinf(df) else np.sqrt(rng.chisquare(df, size=len(draws)) / df)
    share = (np.abs(draws).max(axis=1) / scale > critical).mean()

    # Three binomial standard errors are 0.0009.
    assert share == pytest.approx(0.05, abs=1e-3)


def test_the_same_question_has_the_same_answer():
    """The point set is fixed: two runs agree to the last bit."""
    matrix = unstructured(5, 8)

    assert max_t_critical(matrix) == max_t_critical(matrix)


def test_perfectly_correlated_numbers_count_once():
    """A metric shown twice, also with its sign turned, costs nothing."""
    pair = equal(2, 0.3)
    doubled = np.block([[pair, -pair], [-pair, pair]])

    assert max_t_critical(doubled) == pytest.approx(max_t_critical(pair))
    assert max_t_critical(np.ones((3, 3)), df=9) == pytest.approx(2.262157, abs=1e-6)
    assert max_t_critical([[1.0]]) == pytest.approx(1.959964, abs=1e-6)
    assert math.isnan(max_t_critical(np.empty((0, 0))))


def test_a_singular_matrix_has_a_critical_value():
    """Effects that add up to another effect are a family of lower rank."""
    root = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    cov = root @ root.T
    sd = np.sqrt(np.diag(cov))
    critical = max_t_critical(cov / np.outer(sd, sd))
    draws = np.abs(np.random.default_rng(2).normal(size=(500_000, 3)) @ root.T / sd)

    assert (draws.max(axis=1) > critical).mean() == pytest.approx(0.05, abs=1e-3)


def test_one_number_may_drive_the_others():
    """A loading of 1 (a part of the family is another part plus noise) is integrated too."""
    matrix = np.array([[1.0, 0.8, 0.6], [0.8, 1.0, 0.48], [0.6, 0.48, 1.0]])
    draws = np.random.default_rng(5).multivariate_normal(np.zeros(3), matrix, size=500_000)
    critical = max_t_critical(matrix)

    assert (np.abs(draws).max(axis=1) > critical).mean() == pytest.approx(0.05, abs=1e-3)


def test_some_correlations_may_be_zero():
    """Two linked numbers beside an unlinked one are a product; a chain is not."""
    linked = np.array([[1.0, -0.6, 0.0], [-0.6, 1.0, 0.0], [0.0, 0.0, 1.0]])
    chain = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, 0.6], [0.0, 0.6, 1.0]])

    assert max_t_critical(linked) == pytest.approx(max_t_critical(np.abs(linked)))
    assert 2.2 < max_t_critical(chain) < max_t_critical(np.eye(3))


def test_a_nearly_equal_pair_needs_no_more_than_one_number():
    """Correlation .9999 costs almost nothing, and the steep integral stays exact."""
    assert max_t_critical(equal(3, 0.9999)) == pytest.approx(1.9600, abs=0.02)
    assert max_t_critical(equal(3, 0.9999)) > 1.959964


def test_an_undefined_correlation_raises():
    """A number that does not vary has no correlation and is left out by the caller."""
    with pytest.raises(UpliftlabError) as caught:
        max_t_critical([[1.0, math.nan], [math.nan, 1.0]])

    assert str(caught.value) == "correlation holds NaN; leave out estimates that do not vary."


@settings(max_examples=15, deadline=None)
@given(statistics, st.floats(0.0, 0.95), st.sampled_from([6.0, 40.0, math.inf]))
def test_simultaneous_intervals_and_p_values_are_one_statement(values, rho, df):
    """A max-|t| p-value is below 5 % exactly when its interval leaves 0 out."""
    family = [interval(str(i), t, 1.0, df=df) for i, t in enumerate(values)]
    found = simultaneous(family, equal(len(values), rho))

    for before, after in zip(family, found, strict=True):
        if abs(after.p_value - 0.05) > 1e-6:
            assert after.excludes(0.0) == (after.p_value < 0.05)
        assert after.ci_low <= before.ci_low
        assert before.p_value <= after.p_value + 1e-15
        assert after.p_value <= min(1.0, len(values) * before.p_value) + 1e-15


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=4, max_size=4), st.sampled_from([9.0, math.inf]))
def test_the_duality_holds_without_product_structure(values, df):
    """The point set serves critical value and p-value alike."""
    family = [interval(str(i), t, 1.0, df=df) for i, t in enumerate(values)]
    found = simultaneous(family, unstructured(4, 4))

    for row in found:
        if abs(row.p_value - 0.05) > 1e-6:
            assert row.excludes(0.0) == (row.p_value < 0.05)


@settings(max_examples=10, deadline=None)
@given(statistics, st.sampled_from([-1000.0, -1.0, 0.01]))
def test_simultaneous_intervals_scale_and_turn(values, factor):
    """Another unit or sign changes the numbers, not the p-values."""
    matrix = equal(len(values), 0.5)
    family = [interval(str(i), t, 1.0) for i, t in enumerate(values)]
    there = simultaneous(family, matrix)
    back = simultaneous([e.scaled(factor) for e in family], matrix)

    for a, b in zip(there, back, strict=True):
        assert b.p_value == pytest.approx(a.p_value, rel=1e-9)
        assert b.ci_low == pytest.approx(a.scaled(factor).ci_low, rel=1e-9, abs=1e-12)


def test_a_huge_effect_keeps_a_tiny_p_value():
    """Far out the p-value is Bonferroni's, never 0 and never below the single one."""
    found = simultaneous([interval("a", 12.0, 1.0), interval("b", 0.0, 1.0)], equal(2, 0.5))

    # 2 x P(|Z| > 12) = 2 x 3.55e-33.
    assert found[0].p_value == pytest.approx(7.1e-33, rel=0.01)
    assert found[1].p_value == pytest.approx(1.0)


def test_what_does_not_vary_is_no_part_of_the_family():
    """A constant is returned as it is and does not widen the others."""
    constant = interval("fee", 5.0, 0.0)
    matrix = np.array([[1.0, math.nan], [math.nan, 1.0]])
    found = simultaneous([interval("a", 1.0, 1.0), constant], matrix, df=30)

    assert found[1] is constant
    assert found[0].df == 30
    assert found[0].ci_high == pytest.approx(1 + 2.042272, abs=1e-6)
    assert simultaneous([constant], [[math.nan]]) == (constant,)
