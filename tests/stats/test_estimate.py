from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import integrate, stats

from upliftlab.stats.estimate import (
    Estimate,
    central,
    expected_loss,
    interval,
    linear,
    p_positive,
    satterthwaite,
    undefined,
)
from upliftlab.stats.ratio import fieller, relative_difference

numbers = st.floats(-1e6, 1e6)
variances = st.floats(1e-6, 1e6)
factors = st.floats(0.01, 100.0) | st.floats(-100.0, -0.01)
degrees = st.floats(2.0, 1e4) | st.just(math.inf)


@given(numbers, variances, degrees)
def test_zero_is_outside_the_interval_exactly_when_p_is_below_five_percent(value, var, df):
    """Interval and p-value are one statement."""
    found = interval("effect", value, var, df=df)

    if abs(found.p_value - 0.05) > 1e-9:
        assert found.excludes(0.0) == (found.p_value < 0.05)
    assert found.excludes(0.0) == (found.is_above_zero or found.is_below_zero)


@given(numbers, variances, factors)
def test_scaling_multiplies_all_that_has_a_unit(value, var, factor):
    """A scaled estimate is the estimate of the scaled number; its p-value stays."""
    there = interval("effect", value, var, df=30).scaled(factor)
    direct = interval("effect", value * factor, var * factor**2, df=30)

    for field in ("estimate", "std_error", "ci_low", "ci_high"):
        assert getattr(there, field) == pytest.approx(
            getattr(direct, field), rel=1e-9, abs=1e-6
        )
    assert there.p_value == pytest.approx(direct.p_value, rel=1e-6)


def test_turning_the_sign_turns_a_set_of_two_half_lines():
    """What lay outside stays outside when the axis is mirrored."""
    there = fieller(0.5, 0.2, 0.09, 0.0225)
    back = there.scaled(-1.0, "cost")

    assert back.name == "cost"
    assert back.shape == "outside"
    assert (back.ci_low, back.ci_high) == (-there.ci_high, -there.ci_low)
    assert there.excludes(-2.0)
    assert back.excludes(2.0)
    assert not back.excludes(-2.0)
    assert not back.is_above_zero
    assert not back.is_below_zero


def test_a_multiple_of_zero_has_no_uncertainty_to_show():
    """Nothing is left of an estimate that is multiplied by 0."""
    found = interval("effect", 1.0, 1.0).scaled(0.0)

    assert math.isnan(found.estimate)
    assert found.note == "multiplied by 0"


def test_a_constant_keeps_its_number_and_has_no_interval():
    """An effect that does not vary is known, but has neither interval nor p-value."""
    found = interval("fee", 5.0, 0.0)

    assert found.estimate == 5.0
    assert math.isnan(found.std_error)
    assert math.isnan(found.ci_low)
    assert math.isnan(found.p_value)
    assert (found.shape, found.note) == ("none", "it does not vary")
    assert not found.excludes(0.0)
    assert not found.is_above_zero


@pytest.mark.parametrize(
    ("value", "var", "df"),
    [(math.nan, 1.0, 5.0), (1.0, math.nan, 5.0), (1.0, 1.0, math.nan), (1.0, 1.0, 0.0)],
)
def test_what_is_not_estimable_says_so(value, var, df):
    """A missing number, variance or df gives no interval, with a reason."""
    found = interval("effect", value, var, df=df)

    assert math.isnan(found.ci_low)
    assert found.note == "not estimable"


def test_json_has_no_nan_and_no_infinity():
    """A reader of JSON meets null where a number does not exist."""
    plain = undefined("iROI", "no spend").to_dict()

    assert json.loads(json.dumps(plain, allow_nan=False))["estimate"] is None
    assert plain["df"] is None
    assert plain["note"] == "no spend"
    assert fieller(0.1, 0.1, 1.0, 1.0).to_dict()["ci_low"] is None


def test_the_share_of_control_travels_with_the_estimate():
    """A relative interval fills the rel_ fields and turns with the sign."""
    share = relative_difference(11.0, 10.0, 0.1, 0.1)
    found = interval("profit", 1.0, 0.2, rel_to=share)
    turned = found.scaled(-2.0)

    assert found.rel_estimate == pytest.approx(0.1)
    assert (found.rel_ci_low, found.rel_ci_high) == (share.ci_low, share.ci_high)
    assert (turned.rel_ci_low, turned.rel_ci_high) == (-share.ci_high, -share.ci_low)


def test_an_unbounded_share_of_control_is_said_not_shown():
    """Two half-lines cannot be written as two ends: they are NaN with a note."""
    share = relative_difference(1.5, 0.5, 0.1, 0.1, method="fieller")
    found = interval("profit", 1.0, 0.2, rel_to=share)

    assert share.shape != "interval"
    assert math.isnan(found.rel_ci_low)
    assert "relative interval is unbounded" in found.note


def test_chance_to_be_positive_matches_gbstats():
    """Chance to win 0.071834168 of case A5: gbstats tests/test_gbstats.py, flat prior."""
    # mean 2.5 (n 120, sum of squares 869) against 2.7 (n 100, 848.79); relative, normal.
    var_t = (869 - 300**2 / 120) / 119 / 120
    var_c = (848.79 - 270**2 / 100) / 99 / 100
    share = relative_difference(2.5, 2.7, var_t, var_c, df=math.inf)

    assert p_positive(share) == pytest.approx(0.071834168, abs=1e-9)


@pytest.mark.parametrize(
    ("mean", "sd", "loss"), [(0.1, 0.05, 0.0004245351308414), (0.01, 4.5e-9, 0.0)]
)
def test_expected_loss_matches_gbstats(mean, sd, loss):
    """get_risk(.1, .05) and (.01, 4.5e-9) of gbstats, without overflow."""
    assert expected_loss(interval("effect", mean, sd**2)) == pytest.approx(loss, abs=1e-12)


@pytest.mark.parametrize("df", [3.0, 12.0, math.inf])
def test_expected_loss_is_the_integral_of_the_losses(df):
    """The closed form equals quadrature under the t distribution."""
    found = interval("effect", 1.0, 4.0, df=df)
    law = stats.norm(1.0, 2.0) if math.isinf(df) else stats.t(df, 1.0, 2.0)
    integral, _ = integrate.quad(lambda x: -x * law.pdf(x), -np.inf, 0)

    assert expected_loss(found) == pytest.approx(integral, rel=1e-7)
    assert p_positive(found) == pytest.approx(law.sf(0.0), rel=1e-12)


def test_what_has_no_spread_has_no_chance_and_no_loss():
    """Without a standard error there is no distribution; with df 1 no mean."""
    missing = undefined("profit", "no units")

    assert math.isnan(p_positive(missing))
    assert math.isnan(expected_loss(missing))
    assert all(math.isnan(end) for end in central(missing))
    assert math.isnan(expected_loss(interval("effect", 1.0, 1.0, df=1.0)))


def test_the_central_half_is_inside_the_interval():
    """The 50 % range is 0.6745 standard errors on each side."""
    low, high = central(interval("effect", 0.0, 1.0))

    assert (low, high) == pytest.approx((-0.674490, 0.674490), abs=1e-6)


def test_a_shared_control_makes_the_sum_of_totals_less_certain():
    """Trap: 3 arms and control of 1,000, sd 10: 1,095.45, not the 774.60 of independence."""
    n, var = 1000, 10.0**2 / 1000
    found = linear("sum of totals", [n, n, n, -3 * n], [0.0] * 4, (var * np.eye(4)).tolist())
    wrong = math.sqrt(3 * n**2 * 2 * var)

    assert found.std_error == pytest.approx(1095.45, abs=0.005)
    assert wrong == pytest.approx(774.60, abs=0.005)


def test_degrees_of_freedom_survive_tiny_variances():
    """Shares do not underflow where the textbook formula divides 0 by 0."""
    assert satterthwaite([1e-300, 1e-300], [10, 10]) == pytest.approx(20.0)
    assert satterthwaite([0.0, 0.0], [10, 10]) == math.inf
    assert satterthwaite([1.0, 1.0], [math.inf, math.inf]) == math.inf
    assert math.isnan(satterthwaite([math.nan, 1.0], [10, 10]))


def test_an_estimate_is_frozen():
    """Nobody changes a number after it was computed."""
    found = Estimate(name="effect", estimate=1.0)

    with pytest.raises(AttributeError):
        found.estimate = 2.0
