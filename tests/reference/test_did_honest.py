"""Honest DiD and pre-trend power against the R packages HonestDiD and pretrends.

Numbers: ``*.reference.json`` beside the data (their sources: READMEs of HonestDiD,
stata-honestdid and pretrends; R values stored by HonestDiD.jl). R reports the outermost
accepted points of a grid, and its first-stage critical value comes from 1,000 draws; ours are
exact, so an end may lie up to one grid step outside R's, never inside beyond rounding.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from upliftlab.panels.event_path import EventPath
from upliftlab.panels.honest import breakeven, honest_interval, largest_bend, sensitivity
from upliftlab.panels.pretrends import joint_test, judge_trend, slope_for_power
from upliftlab.panels.restrictions import Restriction

PRINTED = 5e-4  # ehec: R prints three digits; grid step 20 se * 2 / 999 = 3.7e-4
GRID_200 = 0.0039  # Benzarti-Carloni, relative kinds: 40 se / 199
SIMULATED = 1e-4  # R takes the folded normal quantile from a million draws


@pytest.fixture
def read(shared_data):
    """Read a JSON file of the shared data."""

    def load(name):
        return json.loads(shared_data(f"did/{name}.json").read_text())

    return load


@pytest.fixture
def benzarti(read):
    """Restaurant profits around a VAT cut: 4 periods before, 4 after."""
    data = read("benzarti_carloni_eventstudy")
    return EventPath.of_arrays(data["beta"], data["sigma"], 4)


@pytest.fixture
def he_wang(read):
    """College-graduate village officials: 3 periods before, 4 after."""
    data = read("he_wang_eventstudy")
    return EventPath.of_arrays(data["beta"], data["sigma"], 3)


@pytest.fixture
def medicaid(shared_data):
    """Event study of Medicaid: states that expanded in 2014 against later or never.

    dins on state and year effects and year x expanded, 2013 the reference; clustered by state.
    """
    table = pd.read_csv(shared_data("did/ehec_medicaid.csv"))
    table = table[(table.year < 2016) & (table.yexp2 != 2015)]
    wide = table.pivot_table(index="stfips", columns="year", values="dins")
    expanded = (table.groupby("stfips").yexp2.first() == 2014).reindex(wide.index)
    return wide, expanded.to_numpy(dtype=float)


def event_study(medicaid, *, counted):
    """Coefficients and CRV1 by state; ``counted`` is the k of (n - 1) / (n - k)."""
    wide, expanded = medicaid
    states, years = wide.shape
    kept = [i for i, year in enumerate(wide.columns) if year != 2013]

    def within(a):
        return a - a.mean(axis=0) - a.mean(axis=1, keepdims=True) + a.mean()

    x = np.stack([within(np.outer(expanded, np.arange(years) == i)) for i in kept], axis=-1)
    y = within(wide.to_numpy())
    bread = np.linalg.inv(np.einsum("stk,stl->kl", x, x))
    beta = bread @ np.einsum("stk,st->k", x, y)
    scores = np.einsum("stk,st->sk", x, y - x @ beta)
    rows = states * years
    small = states / (states - 1) * (rows - 1) / (rows - counted)
    return beta, small * bread @ scores.T @ scores @ bread


def test_medicaid_event_study_matches_feols(medicaid, read):
    """Coefficients to 1e-6; standard errors with pyfixest's count of nested effects (7 + 1)."""
    beta, sigma = event_study(medicaid, counted=8)
    expected = np.array(list(read("ehec_medicaid.reference")["event_study"].values()))

    assert beta == pytest.approx(expected[:, 0], abs=1e-6)
    assert np.sqrt(np.diag(sigma)) == pytest.approx(expected[:, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("stored", "kind", "weights"),
    [
        ("RM_CLF_first", "relative_magnitude", [1.0, 0.0]),
        ("SD_FLCI_first", "smoothness", [1.0, 0.0]),
    ],
)
def test_medicaid_intervals_match_r(medicaid, read, stored, kind, weights):
    """R's fixest counts the 8 year effects and the 7 coefficients: k = 15."""
    beta, sigma = event_study(medicaid, counted=15)
    path = EventPath.of_arrays(beta, sigma, 5, weights=weights)
    for m, (low, high) in read("ehec_medicaid.reference")[stored].items():
        found = honest_interval(path, kind, float(m))

        assert found.low == pytest.approx(low, abs=PRINTED)
        assert found.high == pytest.approx(high, abs=PRINTED)


def test_medicaid_fixed_length_intervals_are_within_a_fiftieth_of_a_standard_error(
    medicaid, read
):
    """Beyond R's printed digits (three, so 5e-5 or 5e-4), at most 0.02 standard errors."""
    beta, sigma = event_study(medicaid, counted=15)
    path = EventPath.of_arrays(beta, sigma, 5)
    slack = 0.02 * path.std_error
    for m, (low, high) in read("ehec_medicaid.reference")["SD_FLCI_first"].items():
        found = honest_interval(path, "smoothness", float(m))

        assert found.low == pytest.approx(low, abs=slack + 5e-5)
        assert found.high == pytest.approx(high, abs=slack + (5e-4 if high > 0.1 else 5e-5))
        assert found.high - found.low <= high - low + 1.1e-3


def test_medicaid_average_of_two_years_matches_stata(medicaid, read):
    """Three printed digits and a grid step of 3e-4."""
    beta, sigma = event_study(medicaid, counted=15)
    path = EventPath.of_arrays(beta, sigma, 5, weights=[0.5, 0.5])
    for m, (low, high) in read("ehec_medicaid.reference")["RM_CLF_average"].items():
        found = honest_interval(path, "relative_magnitude", float(m))

        assert found.low == pytest.approx(low, abs=9e-4)
        assert found.high == pytest.approx(high, abs=9e-4)


def test_medicaid_is_wider_than_plug_in_where_it_matters(medicaid, read):
    """At Mbar = 2 plug-in bounds exclude 0; the test of Andrews, Roth and Pakes does not."""
    beta, sigma = event_study(medicaid, counted=15)
    path = EventPath.of_arrays(beta, sigma, 5)
    plug_in = read("ehec_medicaid.reference")["peer_diff_diff_3_13_RM_first"]["2"]
    found = honest_interval(path, "relative_magnitude", 2.0)

    assert plug_in[0] > 0
    assert found.contains(0.0)
    assert 1.5 < breakeven(path).m < 2


def test_benzarti_carloni_fixed_length_intervals_match_r(benzarti, read):
    """Within 0.02 standard errors, and no longer than R's beyond its simulation noise."""
    for m, (low, high) in read("benzarti_carloni_eventstudy.reference")["FLCI"].items():
        found = honest_interval(benzarti, "smoothness", float(m))

        assert found.low == pytest.approx(low, abs=0.02 * benzarti.std_error)
        assert found.high == pytest.approx(high, abs=0.02 * benzarti.std_error)
        assert found.high - found.low <= high - low + SIMULATED


def test_benzarti_carloni_conditional_smoothness_matches_r(benzarti, read):
    """R's grid steps are 0.0024 to 0.0048 here; M = 0.1 for the variants."""
    stored = read("benzarti_carloni_eventstudy.reference")
    for m, (low, high) in stored["conditional_SD"].items():
        found = honest_interval(benzarti, "smoothness", float(m), method="conditional")

        assert low - 0.002 <= found.low <= low + SIMULATED
        assert high - SIMULATED <= found.high <= high + 0.002
    low, high = stored["ARP_SD_M0_1"]
    found = honest_interval(benzarti, "smoothness", 0.1, method="conditional")
    assert low - 0.0049 <= found.low <= low
    assert high <= found.high <= high + 0.0049
    low, high = stored["CFLCI_SD_M0_1"]
    found = honest_interval(benzarti, "smoothness", 0.1, method="c_flci")
    assert found.low == pytest.approx(low, abs=0.002)
    assert found.high == pytest.approx(high, abs=0.002)


@pytest.mark.parametrize("method", ["conditional", "c_lf"])
def test_benzarti_carloni_relative_magnitudes_match_r(benzarti, read, method):
    """R's ends are the first points of its grid inside ours."""
    stored = read("benzarti_carloni_eventstudy.reference")
    key = {"conditional": "ARP_RM_Mbar1", "c_lf": "LF_RM_Mbar1"}[method]
    low, high = stored[key]
    found = honest_interval(benzarti, "relative_magnitude", 1.0, method=method)

    # R's hybrid differs from ours by its 1,000 draws; its grid step swallows the rest.
    assert low - GRID_200 - 4e-4 <= found.low <= low
    assert high <= found.high <= high + GRID_200 + 4e-4
    naive = stored["peer_diff_diff_3_13"]["RM_Mbar1_naive"]
    assert found.low < naive[0] - 0.01
    assert found.high > naive[1] + 0.005


def test_benzarti_carloni_intervals_do_not_end_with_the_grid(benzarti, read):
    """R's grid stops at 20 standard errors, where its sets are still open; ours go on."""
    stored = read("benzarti_carloni_eventstudy.reference")
    wide = honest_interval(benzarti, "relative_smoothness", 1.0, method="conditional")
    low, high = stored["ARP_SDRM_Mbar1"]
    assert high == pytest.approx(20 * benzarti.std_error, abs=1e-8)
    assert low - 2 * GRID_200 <= wide.low <= low
    assert wide.high == pytest.approx(0.5076, abs=1e-3)

    mean = EventPath.of_arrays(benzarti.beta, benzarti.sigma, 4, weights=[0.25] * 4)
    found = honest_interval(mean, "smoothness", 0.1, method="conditional")
    low, high = stored["ARP_SD_avg_M0_1"]
    assert high == pytest.approx(0.5 + 20 * mean.std_error, abs=1e-8)
    assert low - 0.018 <= found.low <= low
    assert found.high == pytest.approx(0.9883, abs=1e-3)


@pytest.mark.parametrize(
    ("rule", "m", "ends", "step"),
    [
        (Restriction(kind="smoothness", bias="positive"), 0.1, (0.11918, 0.22329), 0.0097),
        (Restriction(kind="smoothness", shape="increasing"), 0.1, (0.11918, 0.22329), 0.0097),
        (Restriction(bias="positive"), 1.0, (0.07283, 0.33346), 0.0077),
        (Restriction(shape="increasing"), 1.0, (0.07283, 0.33346), 0.0077),
        (Restriction(kind="relative_smoothness", bias="negative"), 1.0, (0.06516, 0.5), 0.0077),
        (
            Restriction(kind="relative_smoothness", shape="decreasing"),
            1.0,
            (0.06516, 0.5),
            0.0077,
        ),
    ],
)
def test_signs_and_shapes_match_r(benzarti, rule, m, ends, step):
    """HonestDiD.jl ``test/reference.jl`` (R, conditional test, 100 grid points).

    Where R's upper end was its grid limit (0.3795), only "at least 0.5" is asked for.
    """
    found = honest_interval(benzarti, rule, m, method="conditional")

    assert ends[0] - step <= found.low <= ends[0] + 1e-5
    assert found.high >= ends[1] - 1e-5
    if ends[1] < 0.5:
        assert found.high <= ends[1] + step


def test_benzarti_carloni_original_and_scale_of_m_match_r(benzarti, read):
    """The plain interval and R's upper bound for M, to 1e-8."""
    stored = read("benzarti_carloni_eventstudy.reference")
    found = sensitivity(benzarti, ms=[1.0])

    assert (found.original.low, found.original.high) == pytest.approx(
        stored["original"], abs=1e-8
    )
    assert largest_bend(benzarti) == pytest.approx(stored["M_upper_bound"], abs=1e-8)


def test_he_wang_power_matches_pretrends(he_wang, read):
    """Slope at 50 and 80 % power, Bayes factor, likelihood ratio, means after the pre-test."""
    stored = read("he_wang_eventstudy.reference")
    slope = stored["slope_for_power_50"]
    found = judge_trend(he_wang, slope * he_wang.times)
    means = list(stored["mean_after_pretest_slope50"].values())

    assert slope_for_power(he_wang, 0.5) == pytest.approx(slope, abs=1e-4)
    assert slope_for_power(he_wang, 0.8) == pytest.approx(stored["computed_slope80"], abs=1e-5)
    assert found.power == pytest.approx(stored["slope_50_power"], abs=5e-4)
    assert found.bayes_factor == pytest.approx(stored["slope50_bayes_factor"], abs=5e-4)
    assert found.likelihood_ratio == pytest.approx(stored["slope50_lr"], abs=1e-6)
    assert found.mean_after_passing == pytest.approx(means, abs=2e-5)


def test_he_wang_quadratic_trend_matches_pretrends(he_wang, read):
    """0.024 (t - reference)^2, as in the README of pretrends."""
    stored = read("he_wang_eventstudy.reference")["quadratic_0_024"]
    found = judge_trend(he_wang, 0.024 * he_wang.times**2)

    assert found.power == pytest.approx(stored["power"], abs=1e-4)
    assert found.bayes_factor == pytest.approx(stored["bayes_factor"], abs=1e-4)
    assert found.likelihood_ratio == pytest.approx(stored["lr"], abs=1e-6)


def test_lovenheim_willen_with_23_periods_after_works(read):
    """No published numbers: 9 periods before, 23 after, every kind gives finite ends."""
    data = read("lovenheim_willen_eventstudy")
    path = EventPath.of_arrays(data["beta"], data["sigma"], 9, weights=np.full(23, 1 / 23))
    for kind in ("smoothness", "relative_magnitude", "relative_smoothness"):
        found = honest_interval(path, kind, 0.1)

        assert found.low < found.high
        assert np.isfinite([found.low, found.high]).all()
    assert joint_test(path).p_value < 1e-20
