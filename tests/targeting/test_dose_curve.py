"""Dose curves of a stated shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize

from upliftlab.errors import UpliftlabError
from upliftlab.stats.joint import Joint
from upliftlab.targeting.dose_curve import CONTRADICTED, SHAPES, dose_curve

ARMS = ("five", "ten", "twenty", "forty")
DEPTHS = {"five": 5.0, "ten": 10.0, "twenty": 20.0, "forty": 40.0}


def joint_of(value, cov=None):
    """Effects of the first depths."""
    m = len(value)
    return Joint(
        names=ARMS[:m],
        value=np.asarray(value, dtype=float),
        cov=np.eye(m) if cov is None else cov,
        df=np.full(m, np.inf),
    )


@given(st.integers(0, 10_000), st.sampled_from(SHAPES[1:]))
@settings(max_examples=30, deadline=None)
def test_the_curve_is_the_nearest_of_its_shape(seed, shape):
    """As a general optimiser finds it, in the metric of the covariance."""
    rng = np.random.default_rng(seed)
    value, root = rng.normal(size=4), rng.normal(size=(4, 4))
    cov = root @ root.T + 0.5 * np.eye(4)

    found = np.array(dose_curve(joint_of(value, cov), DEPTHS, shape=shape).value)

    def slopes(curve):
        return np.diff(np.append(0, curve)) / np.diff([0, 5, 10, 20, 40])

    rules = []
    if "monotone" in shape:
        rules.append({"type": "ineq", "fun": slopes})
    if "concave" in shape:
        rules.append({"type": "ineq", "fun": lambda c: -np.diff(slopes(c))})

    def loss(curve):
        return (curve - value) @ np.linalg.solve(cov, curve - value)

    other = minimize(loss, np.zeros(4), constraints=rules, method="SLSQP", tol=1e-12)
    assert loss(found) <= other.fun + 1e-5
    assert all((rule["fun"](found) >= -1e-8).all() for rule in rules)


def test_equal_variances_give_pooled_neighbours():
    """Pool adjacent violators: 1, 3, 2, 4 becomes 1, 2.5, 2.5, 4."""
    found = dose_curve(joint_of([1, 3, 2, 4]), DEPTHS, shape="monotone")

    assert found.value == pytest.approx((1, 2.5, 2.5, 4))


def test_a_shape_can_only_narrow_the_band():
    """Within the free band at every depth; without a shape it is the free band."""
    free, *shaped = (dose_curve(joint_of([2, 3, 3.5, 3]), DEPTHS, shape=s) for s in SHAPES)

    reach = joint_of([2, 3, 3.5, 3]).max_t()
    assert free.low == pytest.approx(np.array([2, 3, 3.5, 3]) - reach)
    for each in shaped:
        assert all(a <= b + 1e-9 for a, b in zip(free.low, each.low, strict=True))
        assert all(a >= b - 1e-9 for a, b in zip(free.high, each.high, strict=True))


def test_data_against_the_shape_say_so():
    """A fall of ten standard errors is no rising curve: the band does not exist."""
    found = dose_curve(joint_of([20, 1]), DEPTHS, shape="monotone")

    assert all(math.isnan(each) for each in found.low + found.high)
    assert found.note == CONTRADICTED


def test_order_of_arms_does_not_matter():
    """Arms are put in order of depth."""
    turned = Joint(
        names=("ten", "five"), value=np.array([8.0, 10.0]), cov=np.diag([1.0, 4.0]),
        df=np.full(2, np.inf),
    )  # fmt: skip

    found = dose_curve(turned, DEPTHS, shape="monotone")

    assert found.depths == (5, 10)
    assert found.value == pytest.approx((8.4, 8.4))


def test_mistakes_are_refused():
    """An unknown shape and depths that are no depths."""
    with pytest.raises(UpliftlabError, match="Did you mean 'concave'"):
        dose_curve(joint_of([1, 2]), DEPTHS, shape="convave")
    with pytest.raises(UpliftlabError, match="above 0 and different"):
        dose_curve(joint_of([1, 2]), {"five": 0, "ten": 10})
