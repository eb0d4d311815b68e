from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import interval, undefined
from upliftlab.stats.noninferiority import relative_three_state, three_state


@pytest.mark.parametrize(
    ("effect", "state"),
    [
        (0.0, "non-inferior"),
        (5.0, "non-inferior"),
        (-0.5, "non-inferior"),  # certain harm, certainly within the margin
        (-0.95, "inconclusive"),  # certain harm, and not certainly more than is accepted
        (-3.0, "inferior"),
    ],
)
def test_a_sharp_interval_gives_a_verdict(effect, state):
    """Margin 1, standard error .05."""
    assert three_state(interval("score", effect, 0.05**2), 1.0)[0] == state
    assert three_state(interval("refunds", -effect, 0.05**2), 1.0, "decrease")[0] == state


@pytest.mark.parametrize("effect", [-1.5, -0.9, 0.0, 0.9])
def test_a_wide_interval_gives_none(effect):
    """Margin 1, standard error 1: the guardrail lacks power and says so."""
    assert three_state(interval("score", effect, 1.0), 1.0)[0] == "inconclusive"


def test_a_missing_effect_is_inconclusive():
    """No interval is no proof of safety."""
    state, distance = three_state(undefined("score", "no units"), 1.0)

    assert state == "inconclusive"
    assert math.isnan(distance.p_value)
    assert distance.note == "no units"


@given(st.floats(-5, 5), st.floats(0.01, 4), st.floats(0, 3), st.sampled_from([5.0, math.inf]))
def test_non_inferior_exactly_when_one_sided_p_is_below_a_half_level(effect, var, margin, df):
    """The interval is two-sided 95 %, the test one-sided 2.5 %."""
    state, distance = three_state(interval("score", effect, var, df=df), margin)

    assert state in {"non-inferior", "inferior", "inconclusive"}
    assert distance.estimate == pytest.approx(effect + margin)
    if abs(distance.p_value - 0.025) > 1e-9:
        assert (state == "non-inferior") == (distance.p_value < 0.025)


def test_a_relative_margin_counts_the_control_mean_as_estimated():
    """The distance is mu_T - .95 mu_C: its error is sqrt(1 + .95^2), not sqrt(2)."""
    state, distance = relative_three_state(98.0, 100.0, 1.0, 1.0, margin=0.05)

    assert state == "non-inferior"
    assert distance.estimate == pytest.approx(3.0)
    assert distance.std_error == pytest.approx(math.sqrt(1 + 0.95**2))


def test_a_relative_margin_for_a_metric_that_should_not_rise():
    """The distance is 1.05 mu_C - mu_T."""
    state, distance = relative_three_state(
        102.0, 100.0, 1.0, 1.0, 0.5, margin=0.05, direction="decrease"
    )

    assert distance.estimate == pytest.approx(3.0)
    assert distance.std_error**2 == pytest.approx(1 + 1.05**2 - 2 * 1.05 * 0.5)
    assert state == "non-inferior"
    worse, _ = relative_three_state(120.0, 100.0, 1.0, 1.0, margin=0.05, direction="decrease")
    assert worse == "inferior"


def test_a_margin_of_a_loss_is_a_share_of_its_size():
    """At a baseline of -100 a margin of 5 % accepts -105."""
    _, distance = relative_three_state(-104.0, -100.0, 1.0, 1.0, margin=0.05)

    assert distance.estimate == pytest.approx(1.0)


def test_a_weak_baseline_is_labelled():
    """A share of a mean near 0 carries a label."""
    _, distance = relative_three_state(1.0, 1.0, 1.0, 1.0, margin=0.1)

    assert "unstable" in distance.note


def test_a_fixed_margin_from_the_estimated_control_is_too_strict_or_too_lax():
    """At the edge mu_T = .8 mu_C the functional holds 2.5 %; the fixed margin does not."""
    rng = np.random.default_rng(11)
    t, c = rng.normal(80.0, 1.0, 20_000), rng.normal(100.0, 2.0, 20_000)
    proper = (t - 0.8 * c) / math.sqrt(1 + 0.64 * 4) > 1.959964
    fixed = (t - c + 0.2 * c) / math.sqrt(1 + 4) > 1.959964
    state, _ = relative_three_state(float(t[0]), float(c[0]), 1.0, 4.0, margin=0.2)

    assert proper.mean() == pytest.approx(0.025, abs=0.0035)
    assert fixed.mean() < 0.017
    assert (state == "non-inferior") == bool(proper[0])


def test_a_negative_margin_raises():
    """An accepted harm is 0 or more."""
    with pytest.raises(UpliftlabError) as fixed:
        three_state(interval("score", 0.0, 1.0), -1.0)
    with pytest.raises(UpliftlabError) as relative:
        relative_three_state(1.0, 1.0, 1.0, 1.0, margin=-0.1)

    assert str(fixed.value) == "margin is -1; write the accepted harm as 0 or more."
    assert str(relative.value) == "margin is -0.1; write the accepted harm as 0 or more."
