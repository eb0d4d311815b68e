"""Allocations: as good as the exact solution, within their limits, honest about their gap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import LinearConstraint, linprog, milp

from upliftlab.errors import DesignError
from upliftlab.targeting.allocation import Limit, allocate


def exact(gain, limits):
    """The best mean by integer programming."""
    n, arms = gain.shape
    one_arm = np.kron(np.eye(n), np.ones(arms))
    rules = [LinearConstraint(one_arm, 1, 1)]
    rules += [LinearConstraint(limit.use.ravel()[None] / n, ub=limit.most) for limit in limits]
    found = milp(-gain.ravel() / n, constraints=rules, integrality=np.ones(n * arms))
    return -found.fun if found.success else None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.floats(0.05, 0.9))
def test_a_budget_is_spent_nearly_as_well_as_possible(seed, arms, share):
    """Bound and value enclose the exact solution; costs may be negative."""
    rng = np.random.default_rng(seed)
    gain = rng.normal(size=(40, arms))
    cost = rng.normal(0.4, 0.6, size=(40, arms))
    gain[:, 0] = cost[:, 0] = 0.0
    free = cost[np.arange(40), gain.argmax(axis=1)].mean()
    least = cost.min(axis=1).mean()
    limit = Limit(name="budget", use=cost, most=least + share * (max(free, least) - least))

    found = allocate(gain, [limit])
    best = exact(gain, [limit])

    assert found.value <= best + 1e-9 <= found.bound + 2e-9
    assert cost[np.arange(40), found.arm].mean() <= limit.most + 1e-9
    # What whole units cannot reach is less than one unit's largest step.
    assert best - found.value <= np.ptp(gain) / 40 * arms


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_several_limits_hold_at_once(seed):
    """A budget, a cap on the treated and a floor on new customers."""
    rng = np.random.default_rng(seed)
    n = 600
    gain = rng.normal(0.1, 1.0, size=(n, 3))
    cost = rng.uniform(0.2, 1.0, size=(n, 3))
    new = rng.uniform(0.0, 0.3, size=(n, 3))
    gain[:, 0] = cost[:, 0] = new[:, 0] = 0.0
    treated = np.tile([0.0, 1.0, 1.0], (n, 1))
    limits = [
        Limit(name="budget", use=cost, most=0.2),
        Limit(name="at_most", use=treated, most=0.35),
        Limit(name="at_least", use=-new, most=-0.04),
    ]

    found = allocate(gain, limits)

    for limit in limits:
        assert limit.use[np.arange(n), found.arm].mean() <= limit.most + 1e-9
    assert found.gap < 0.01


def test_no_limit_no_price():
    """Without limits everyone gets the best arm and the gap is 0."""
    gain = np.array([[0.0, 1.0], [0.0, -1.0]])

    found = allocate(gain)

    assert found.arm.tolist() == [1, 0]
    assert found.gap == 0


def test_the_price_is_what_one_more_yuan_earns():
    """A budget a little larger earns its multiplier more."""
    rng = np.random.default_rng(5)
    gain = np.column_stack([np.zeros(20_000), rng.gamma(2.0, 1.0, 20_000)])
    cost = np.column_stack([np.zeros(20_000), rng.uniform(0.5, 1.5, 20_000)])

    first, more = (
        allocate(gain, [Limit(name="budget", use=cost, most=most)]) for most in (0.3, 0.31)
    )

    assert (more.value - first.value) / 0.01 == pytest.approx(first.prices[0], rel=0.03)


def test_what_nobody_can_keep_is_said():
    """The sentence names the limit and the least that is attainable."""
    new = np.column_stack([np.zeros(10), np.full(10, 0.1)])

    with pytest.raises(
        DesignError, match=r"at least 5 new customers cannot be kept.*-0\.1 is the least"
    ):
        allocate(
            np.zeros((10, 2)), [Limit(name="at least 5 new customers", use=-new, most=-0.5)]
        )


def test_limits_that_fight_are_refused_by_name():
    """Each could be kept alone; the budget buys fewer new customers than are asked."""
    use = np.tile([0.0, 1.0], (50, 1))
    limits = [
        Limit(name="the budget", use=use, most=0.2),
        Limit(name="at least 5 new customers", use=-use, most=-0.5),
    ]

    with pytest.raises(
        DesignError,
        match=r"keeps the budget and at least 5 new customers together: .* is passed",
    ):
        allocate(np.tile([0.0, 1.0], (50, 1)), limits)


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_is_that_of_the_linear_program(seed):
    """Up to five limits, return and a floor for a segment among them; and it nearly is met."""
    rng = np.random.default_rng(seed)
    n, arms = 300, 3
    gain, cost = rng.normal(0.1, 1.0, (n, arms)), rng.normal(0.4, 0.5, (n, arms))
    new = rng.normal(0.1, 0.2, (n, arms))
    treated = np.ones((n, arms))
    for table in (gain, cost, new, treated):
        table[:, 0] = 0.0
    members = (rng.random(n) < 0.3)[:, None]
    limits = [
        Limit(name="budget", use=cost, most=0.05),
        Limit(name="at_most", use=treated, most=0.35),
        Limit(name="return", use=0.8 * cost - gain, most=0.0),
        Limit(name="new", use=-new, most=-0.04),
        Limit(name="members", use=-treated * members, most=-0.1),
    ]
    one_arm = np.kron(np.eye(n), np.ones(arms))
    best = -linprog(
        -gain.ravel() / n,
        A_ub=np.stack([limit.use.ravel() / n for limit in limits]),
        b_ub=[limit.most for limit in limits],
        A_eq=one_arm,
        b_eq=np.ones(n),
        bounds=(0, 1),
    ).fun

    found = allocate(gain, limits)

    assert found.bound == pytest.approx(best, abs=1e-4)
    assert found.value > 0.98 * best
    for limit in limits:
        assert limit.use[np.arange(n), found.arm].mean() <= limit.most + 1e-9
