from __future__ import annotations

import math

import pytest

from upliftlab.errors import UpliftlabError
from upliftlab.stats.proportion import newcombe, two_proportions
from upliftlab.stats.ratio import relative_difference

# Case B3: tea-tasting tests/metrics/test_proportion.py, treatment 13/47, control 19/53.
B3 = (13, 47, 19, 53)


def test_t_on_proportions_matches_gbstats():
    """Case B1: 16/30 v 14/28, gbstats tests/frequentist/test_tests.py."""
    share = relative_difference(
        16 / 30,
        14 / 28,
        16 / 30 * 14 / 30 / 30,
        0.25 / 28,
        df_t=29,
        df_c=27,
    )
    found = two_proportions(16, 30, 14, 28)

    assert share.estimate == pytest.approx(0.06667, abs=5e-6)
    assert share.std_error == pytest.approx(0.2717, abs=5e-5)
    assert share.p_value == pytest.approx(0.80707, abs=5e-6)
    assert (found.rel_ci_low, found.rel_ci_high) == pytest.approx((-0.47767, 0.61101), abs=5e-6)


@pytest.mark.parametrize(
    ("options", "p_value"),
    [
        ({"method": "barnard"}, 0.530637102766593),
        ({"method": "boschloo"}, 0.4000169399363184),
        ({"method": "fisher"}, 0.3999948918153569),
        ({"method": "fisher", "alternative": "less"}, 0.2546303652212273),
        ({"method": "chi2"}, 0.5083165530405195),
        ({"method": "g"}, 0.5076294534617167),
        ({"method": "g", "correction": False}, 0.37976268998844287),
        ({"method": "pooled_z"}, 0.3809096823118986),
        ({"method": "chi2", "correction": False}, 0.3809096823118986),
    ],
)
def test_p_values_match_tea_tasting(options, p_value):
    """Case B3: one table, the exact, contingency and normal tests."""
    found = two_proportions(*B3, **options)

    assert found.estimate == pytest.approx(-0.0818948, abs=5e-8)
    assert found.p_value == pytest.approx(p_value, abs=1e-7)


def test_the_pooled_interval_matches_tea_tasting():
    """Case B3: normal, pooled, without correction."""
    found = two_proportions(*B3, method="pooled_z")

    assert found.ci_low == pytest.approx(-0.26508014358420723, abs=1e-12)
    assert found.ci_high == pytest.approx(0.10129050087043773, abs=1e-12)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17(8), table II, method 10.
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((10, 10, 0, 10), 0.6075, 1.0000),
    ],
)
def test_the_score_interval_matches_newcombe(table, low, high):
    """Published examples, down to tables with zeros."""
    assert newcombe(*table) == pytest.approx((low, high), abs=5.1e-5)


def test_a_borrowed_interval_is_labelled():
    """An exact test carries Newcombe's interval and says so."""
    assert "Newcombe" in two_proportions(*B3, method="fisher").note
    assert two_proportions(*B3).note == ""


def test_tables_without_an_answer():
    """No units give NaN; no successes at all give chi-square nothing to compare."""
    empty = two_proportions(0, 0, 1, 2)
    flat = two_proportions(0, 10, 0, 12, method="chi2")

    assert math.isnan(empty.estimate)
    assert empty.note == "an arm has no units"
    assert math.isnan(flat.p_value)
    assert two_proportions(0, 10, 0, 12).note.startswith("it does not vary")


def test_mistakes_raise():
    """More successes than units, and one side of a two-sided test."""
    with pytest.raises(UpliftlabError) as counts:
        two_proportions(5, 4, 1, 2)
    with pytest.raises(UpliftlabError) as side:
        two_proportions(*B3, method="chi2", alternative="less")

    assert str(counts.value) == "5 successes of 4 units; write 0 to 4."
    assert (
        str(side.value)
        == "method 'chi2' is two-sided; one side is tested by fisher, boschloo, barnard."
    )
