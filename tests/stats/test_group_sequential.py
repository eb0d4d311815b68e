from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.errors import UpliftlabError
from upliftlab.stats.group_sequential import (
    Boundary,
    bounds_by_shape,
    bounds_by_spending,
    bounds_with_futility,
    crossing,
    drift_for_power,
    expected_information,
    inflation,
    looks,
    stagewise_p,
)
from upliftlab.stats.spending import FAMILIES, Spending

families = st.sampled_from(FAMILIES)
schedules = st.lists(st.floats(0.02, 1.0), min_size=1, max_size=6).map(
    lambda steps: (np.cumsum(steps) / sum(steps)).tolist()
)


@settings(max_examples=25, deadline=None)
@given(families, schedules)
def test_looks_at_any_times_spend_exactly_the_error(family, times):
    """Under no effect the bounds are crossed with probability alpha, half on each side."""
    found = crossing(bounds_by_spending(Spending(family=family), times, alpha=0.05))

    assert found.upper.sum() == pytest.approx(0.025, abs=2e-6)
    assert found.lower == pytest.approx(found.upper, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(families, schedules)
def test_a_bound_does_not_depend_on_later_looks(family, times):
    """The bound of a look can be computed before the next look is planned."""
    whole = bounds_by_spending(Spending(family=family), times)
    first = bounds_by_spending(Spending(family=family), times[: max(1, len(times) // 2)])

    assert whole.upper[: len(first.upper)] == pytest.approx(first.upper, abs=1e-6)


def test_simulated_paths_cross_as_often_as_integrated():
    """200,000 random walks of five looks; four standard errors."""
    rng = np.random.default_rng(20261127)
    times = np.array([0.1, 0.35, 0.4, 0.8, 1.0])
    bounds = bounds_by_spending(Spending(family="pocock"), times)
    drift, paths = 2.0, 200_000
    steps = np.diff(times, prepend=0.0)
    walk = np.cumsum(rng.normal(drift * steps, np.sqrt(steps), (paths, 5)), axis=1)
    z = walk / np.sqrt(times)
    out = (z >= bounds.upper) | (z <= bounds.lower)
    first = np.where(out.any(axis=1), out.argmax(axis=1), -1)
    up = [np.mean((first == k) & (z[:, k] > 0)) for k in range(5)]

    expected = crossing(bounds, drift).upper
    assert up == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(paths))


def test_an_over_run_spends_what_is_left():
    """A last look past the plan's end spends to alpha, no more."""
    found = crossing(bounds_by_spending(Spending(), [0.5, 1.3]))

    assert found.upper.sum() == pytest.approx(0.025, abs=1e-7)


def test_one_look_is_the_plain_test():
    """Without interim looks the bound is 1.96 and nothing is inflated."""
    plain = bounds_by_spending(Spending(), [1.0])

    assert plain.upper[0] == pytest.approx(1.959963985, abs=1e-8)
    assert inflation(plain, power=0.8) == pytest.approx(1.0, abs=1e-4)


def test_power_is_reached_at_the_drift_found():
    """The drift for 90 % power has 90 % power, and stopping early saves."""
    bounds = bounds_by_shape(looks(4))
    drift = drift_for_power(bounds, 0.9)

    assert crossing(bounds, drift).upper.sum() == pytest.approx(0.9, abs=1e-8)
    assert expected_information(bounds, drift) < expected_information(bounds)


def test_ignoring_a_non_binding_futility_bound_keeps_the_error():
    """Upper bounds alone cross with alpha under no effect; with the lower one, less."""
    late = Spending(family="hwang_shih_decani")
    found = bounds_with_futility(late, Spending(family="power"), looks(3), beta=0.2)
    alone = Boundary(
        information=found.information, upper=found.upper, lower=np.full(3, -np.inf)
    )

    assert crossing(alone).upper.sum() == pytest.approx(0.025, abs=1e-6)
    assert crossing(found).upper.sum() < 0.025
    assert crossing(found, found.drift).upper.sum() == pytest.approx(0.8, abs=1e-6)


def test_a_binding_futility_bound_lowers_the_bounds_for_gain():
    """The error saved by stopping for futility is spent on gain."""
    late = Spending(family="hwang_shih_decani")
    loose = bounds_with_futility(late, late, looks(3), beta=0.1)
    tight = bounds_with_futility(late, late, looks(3), beta=0.1, binding=True)

    assert tight.upper[-1] < loose.upper[-1]
    assert crossing(tight).upper.sum() == pytest.approx(0.025, abs=1e-6)


def test_stagewise_p_is_alpha_on_the_bound():
    """The p-value at a bound is the error spent so far, and falls with z."""
    bounds = bounds_by_spending(Spending(family="pocock"), [0.3, 0.6, 1.0])

    assert stagewise_p(bounds, float(bounds.upper[-1])) == pytest.approx(0.025, abs=1e-7)
    assert stagewise_p(bounds, 3.0) < stagewise_p(bounds, 2.0)


def test_a_look_that_may_spend_nothing_has_no_bound():
    """A family that has spent nothing by the first look cannot stop there."""
    found = bounds_by_spending(Spending(), [0.0005, 1.0])

    assert found.upper[0] == math.inf
    assert found.upper[1] == pytest.approx(1.959963985, abs=1e-6)


def test_information_that_does_not_grow_is_refused():
    """Looks are ordered by information."""
    with pytest.raises(UpliftlabError) as caught:
        bounds_by_spending(Spending(), [0.5, 0.5])

    assert str(caught.value) == (
        "information at the looks is [0.5, 0.5]; it must be above 0 and grow from look to look."
    )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: Spending(family="obf"),
            f"spending is 'obf'; allowed: {sorted(FAMILIES)}.",
        ),
        (
            lambda: Spending(family="power", parameter=-1.0),
            "power spending has exponent -1.0; it must be > 0.",
        ),
        (lambda: bounds_by_shape([1.0], sided=3), "sided is 3; allowed: 1 or 2."),
        (
            lambda: drift_for_power(bounds_by_shape([1.0]), 1.0),
            "power is 1.0; write a number between 0 and 1, such as 0.8.",
        ),
    ],
)
def test_what_makes_no_design_is_refused(make, text):
    """Whole texts, so that readers know what is allowed."""
    with pytest.raises(UpliftlabError) as caught:
        make()

    assert str(caught.value) == text
