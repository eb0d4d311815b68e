"""Numbers of the traps page: a = 1, b = 1.96, and 200 tests with standard normal effects."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from upliftlab.errors import UpliftlabError
from upliftlab.stats.false_positives import false_positive_risk, true_success
from upliftlab.stats.winners_curse import conditional, correct_total, expected_bias


def test_selection_adds_a_quarter_of_a_standard_error():
    """E[(X - 1) 1{X > 1.96}] = .2516, with P(selected) .1685 and E[X | selected] 2.4932."""
    bias = float(expected_bias(1.0, 1.0, 1.96))
    picked = stats.norm.sf(0.96)

    assert bias == pytest.approx(0.25164, abs=5e-6)
    assert picked == pytest.approx(0.16853, abs=5e-6)
    assert 1 + bias / picked == pytest.approx(2.49319, abs=5e-6)


def test_over_all_tests_most_of_it_goes_over_the_selected_little():
    """Subtracting only where selected removes .0557; over all tests .2240."""

    def removed(low):
        def at(x):
            return correct_total([x], [1.0], 1.96).bias * stats.norm.pdf(x - 1)

        return integrate.quad(at, low, 9.0, points=[1.96] if low < 1.96 else None)[0]

    assert removed(1.96) == pytest.approx(0.0557, abs=5e-5)
    assert removed(-8.0) == pytest.approx(0.2240, abs=1e-4)


@pytest.mark.parametrize(
    ("x", "b", "left"),
    [
        (2.0, 1.645, 1.6254),
        (2.2, 1.96, 1.8124),
        (2.5, 1.96, 2.1552),
        (3.0, 1.96, 2.7677),
        (4.0, 1.96, 3.9502),
    ],
)
def test_lee_shen_case_by_case(x, b, left):
    """Case J2: one test alone, x less the density at b - x."""
    assert correct_total([x], [1.0], b).corrected.estimate == pytest.approx(left, abs=5e-5)


def test_a_programme_of_200_tests():
    """Naive sum 21.6 too high; over the selected +16.4 is left, over all -2.7."""
    rng = np.random.default_rng(11)
    naive, some, every = [], [], []
    for _ in range(3000):
        a = rng.normal(size=200)
        x = a + rng.normal(size=200)
        picked = x > 1.96
        found = correct_total(x, np.ones(200), 1.96)
        true = a[picked].sum()
        naive.append(found.naive.estimate - true)
        every.append(found.corrected.estimate - true)
        some.append(naive[-1] - expected_bias(x[picked], 1.0, 1.96).sum())

    assert np.mean(naive) == pytest.approx(21.6, abs=0.4)
    assert np.mean(some) == pytest.approx(16.4, abs=0.4)
    assert np.mean(every) == pytest.approx(-2.7, abs=0.4)


def test_the_interval_is_that_of_the_error():
    """Its standard error is the simulated one, at the estimates as if they were true."""
    x, s = np.array([2.4, 0.5, 1.8, -1.0]), np.array([1.0, 0.5, 0.8, 2.0])
    rng = np.random.default_rng(5)
    z = x + s * rng.normal(size=(400_000, 4))
    error = (z - x) * (z > 1.96 * s) - expected_bias(z, s, 1.96)
    found = correct_total(x, s, 1.96)

    assert found.corrected.std_error == pytest.approx(error.sum(axis=1).std(), rel=5e-3)


def test_the_rule_in_use_sets_the_threshold():
    """A hurdle of 1 yuan raises b by 1 / standard error, and with it the correction."""
    x, s = np.array([3.0, 2.5]), np.array([1.0, 0.5])
    plain = correct_total(x, s, 1.96)
    hurdle = correct_total(x, s, 1.96 + 1.0 / s)

    assert (plain.n_picked, hurdle.n_picked) == (2, 2)
    assert hurdle.bias > plain.bias


def test_conditional_intervals_cover_among_winners():
    """Exact given selection: 95 % hold the truth, where the plain ones fail."""
    rng = np.random.default_rng(2)
    x = 1.0 + rng.normal(size=4000)
    x = x[x > 1.96][:400]
    hits = [(e.ci_low <= 1.0 <= e.ci_high) for e in (conditional(v, 1.0, 1.96) for v in x)]
    above = np.mean([conditional(v, 1.0, 1.96).estimate > 1.0 for v in x])

    assert 0.92 <= np.mean(hits) <= 0.98
    assert 0.43 <= above <= 0.57
    assert np.mean(np.abs(x - 1.0) <= 1.96) < 0.92


def test_far_from_the_threshold_conditioning_changes_nothing():
    """A t of 12 is not there by luck."""
    found = conditional(12.0, 1.0, 1.96)

    assert (found.estimate, found.ci_low, found.ci_high) == pytest.approx(
        (12.0, 12 - 1.959964, 12 + 1.959964), abs=1e-4
    )
    assert conditional(1.0, 1.0, 1.96).note == "the rule did not pick it"


def test_no_tests_give_no_total():
    """And a standard error of 0 is refused."""
    assert math.isnan(correct_total([], [], 1.96).corrected.estimate)
    with pytest.raises(UpliftlabError) as refused:
        correct_total([1.0], [0.0], 1.96)

    assert str(refused.value) == (
        "correct_total needs one finite estimate and one positive standard error per test; "
        "it got shapes (1,) and (1,)."
    )


@pytest.mark.parametrize(
    ("prior", "risk"),
    [(1 / 3, 0.0588), (0.20, 0.1111), (0.15, 0.1504), (0.10, 0.2195), (0.08, 0.2644)],
)
def test_false_positive_risk_case_by_case(prior, risk):
    """Case J1 (Kohavi, Deng and Vermeer 2022)."""
    assert false_positive_risk(prior) == pytest.approx(risk, abs=5e-5)


def test_wins_turn_back_into_tests_that_work():
    """The win rate of a known share gives that share back; chance alone gives 0."""
    share = 0.2
    wins = 0.8 * share + 0.025 * (1 - share)

    assert true_success(wins) == pytest.approx(share, abs=1e-12)
    assert true_success(0.01) == 0.0
    assert math.isnan(true_success(0.1, power=0.025))
    with pytest.raises(UpliftlabError) as refused:
        false_positive_risk(33)

    assert str(refused.value) == "prior_success is 33; write a share between 0 and 1."
