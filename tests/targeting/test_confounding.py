"""Sensitivity of a rule's gain to causes that were not seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import linprog

from upliftlab.errors import DataError, DesignError, UpliftlabError
from upliftlab.targeting.confounding import sensitivity
from upliftlab.targeting.observed import observed
from upliftlab.targeting.omitted_cause import omitted_cause, robustness_value, solved_share
from upliftlab.targeting.tilted_odds import tilted, weighted_extreme


def draw(n=2_000, *, effect=1.0, seed=0, arms=2, cluster=None):
    """Assignment by x with known probabilities, exact regressions, one unit of noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    tilt = np.exp(0.5 * x[:, None] * np.arange(arms))
    chances = tilt / tilt.sum(axis=1, keepdims=True)
    arm = (rng.random(n)[:, None] > np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)
    mean = x[:, None] + effect * np.arange(arms)
    target = mean[np.arange(n), arm] + rng.normal(size=n)
    scores = mean + (arm[:, None] == np.arange(arms)) * (target[:, None] - mean) / chances
    return observed(scores, target, arm, chances, cluster=cluster), mean, target


def test_scores_come_apart_as_they_were_put_together():
    """Residuals and regressions are found again from scores alone."""
    seen, mean, target = draw(50, arms=3)

    assert seen.predicted == pytest.approx(mean)
    assert seen.residual == pytest.approx(target - mean[np.arange(50), seen.arm])


def test_robustness_values_of_the_darfur_example():
    """Cinelli and Hazlett (2020), table 1: RV 13.9 %, at 5 % 7.6 %; estimate .097, 783 df.

    The estimate 0.09731582 and standard error 0.02325654 are those of R's sensemakr 0.1.6,
    whose summary prints 0.138776 and 0.076258 to six digits.
    """
    t = 0.09731582 / 0.02325654

    assert robustness_value(t, 783) == pytest.approx(0.138776, abs=1e-5)
    assert robustness_value(t, 783, level=0.95) == pytest.approx(0.076258, abs=1e-5)


def test_robustness_values_solve_their_equation():
    """A cause of that strength moves the estimate by exactly itself; half of it by q = 1/2."""
    for f in (1e-4, 0.3, 2.0, 500.0):
        r = solved_share(f)
        assert r * r / (1 - r) == pytest.approx(f * f, rel=1e-6)
    assert robustness_value(4, 100, q=0.5) == pytest.approx(robustness_value(2, 100))
    assert robustness_value(1.0, 100, level=0.95) == 0
    assert solved_share(0) == 0


def test_an_extreme_t_leaves_the_other_formula():
    """f = 3 above 1 / f*: (f^2 - f*^2) / (1 + f^2) with f* = t(.975, 4) / 2 = 1.388."""
    f, least = 3.0, 2.7764451 / 2

    found = robustness_value(f * math.sqrt(5), 5, level=0.95)
    assert found == pytest.approx((f * f - least**2) / (1 + f * f), abs=1e-6)


def test_the_bias_bound_holds_and_is_sharp_for_a_normal_cause():
    """Y = a u + b D + e with D = c u + v linear: bias^2 is c_y c_d / (1 - c_d) S^2.

    For a coin flip with 2 values of u the same identity is checked by its parts: the bound
    with c_y = c_d = r is S r / sqrt(1 - r).
    """
    seen, _, _ = draw(5_000)
    rule = np.ones(5_000, dtype=int)

    none = omitted_cause(seen, rule)
    some = omitted_cause(seen, rule, outcome_share=0.1, assignment_share=0.1)

    own = seen.propensity[np.arange(5_000), seen.arm]
    scale = math.sqrt((seen.residual**2).mean() * (1 / own**2).mean())
    assert none.low == none.high == pytest.approx(1.0, abs=0.1)
    assert some.high - some.low == pytest.approx(2 * scale * 0.1 / math.sqrt(0.9), rel=0.03)
    assert some.ci_low < some.low < some.high < some.ci_high


def test_a_hidden_cause_stays_within_its_bound():
    """u tilts treatment and money; with the true shares the bounds hold the true gain.

    Without features: e = 1/2, P(u) = 1/2, P(D | u) = 1/2 +- d: E[alpha^2] is 4 without u and
    1 / (1/4 - d^2) with it, so c_d = 1 - 4 (1/4 - d^2) = 4 d^2; c_y is its share of Var(Y | D).
    """
    rng = np.random.default_rng(1)
    n, d, b = 200_000, 0.2, 0.8
    u = rng.integers(0, 2, n)
    arm = (rng.random(n) < 0.5 + d * (2 * u - 1)).astype(int)
    target = 0.3 * arm + b * u + rng.normal(size=n)
    mean = np.array([target[arm == a].mean() for a in (0, 1)])
    scores = mean + (arm[:, None] == [0, 1]) * (target[:, None] - mean) / 0.5
    seen = observed(scores, target, arm, np.full((n, 2), 0.5))
    hidden = (0.25 - d * d) * b * b

    found = omitted_cause(
        seen,
        np.ones(n, dtype=int),
        outcome_share=hidden / (hidden + 1),
        assignment_share=4 * d**2,
    )

    assert (found.low + found.high) / 2 == pytest.approx(0.3 + 2 * d * b, abs=0.02)
    # The bound is sharp here: u moves the regression and alpha in step.
    assert found.low == pytest.approx(0.3, abs=0.02)


@given(st.integers(2, 7), st.integers(0, 10_000), st.floats(1.0, 5.0))
@settings(max_examples=40, deadline=None)
def test_weighted_extremes_are_those_of_a_linear_programme(m, seed, gamma):
    """Charnes and Cooper (1962): max w.v / w.1 over a box is a linear programme in (p, t)."""
    rng = np.random.default_rng(seed)
    value, odds = rng.normal(size=m), rng.exponential(size=m)
    low, high = 1 + odds / gamma, 1 + odds * gamma

    found, weight = weighted_extreme(value, low, high)

    box = np.vstack(
        [np.hstack([np.eye(m), -high[:, None]]), np.hstack([-np.eye(m), low[:, None]])]
    )
    best = linprog(
        np.append(-value, 0), A_ub=box, b_ub=np.zeros(2 * m),
        A_eq=[np.append(np.ones(m), 0)], b_eq=[1], bounds=[(0, None)] * (m + 1),
    )  # fmt: skip
    assert found == pytest.approx(-best.fun, abs=1e-9)
    assert (weight >= low - 1e-12).all()
    assert (weight <= high + 1e-12).all()
    assert found == pytest.approx((weight * value).sum() / weight.sum())


def test_tilted_bounds_hold_every_weighting_of_a_tiny_sample():
    """All corners of the box of weights, by brute force, for both arms at once."""
    seen, _, _ = draw(8, seed=4)
    rule = np.ones(8, dtype=int)
    own = seen.propensity[np.arange(8), seen.arm]
    ends = []
    for bits in range(2**8):
        z = np.where([bits >> i & 1 for i in range(8)], 2.0, 0.5)
        weight, side = 1 + z * (1 / own - 1), seen.arm == 1
        ends.append(
            (seen.predicted[:, 1] - seen.predicted[:, 0]).mean()
            + np.average(seen.residual[side], weights=weight[side])
            - np.average(seen.residual[~side], weights=weight[~side])
        )

    found = tilted(seen, rule, 2.0)

    assert found.low == pytest.approx(min(ends))
    assert found.high == pytest.approx(max(ends))


def test_gamma_of_one_is_the_gain_itself():
    """No tilt: bounds meet near the doubly robust gain, of the rule's own units only."""
    seen, mean, _ = draw(20_000, arms=3)
    rule = np.where(mean[:, 0] > 0, 2, 0)

    found = tilted(seen, rule, 1.0)

    assert found.low == pytest.approx(found.high)
    assert found.low == pytest.approx(2 * (rule == 2).mean(), abs=0.05)


def test_bounds_widen_with_gamma_and_turn_with_the_rules():
    """More tilt, wider bounds; the other rule against this one is the mirror image."""
    seen, mean, _ = draw(arms=3)
    rule, other = np.where(mean[:, 0] > 0, 2, 1), np.ones(2_000, dtype=int)

    narrow, wide = (tilted(seen, rule, g, against=other) for g in (1.2, 2.0))
    back = tilted(seen, other, 2.0, against=rule)

    assert wide.low < narrow.low < narrow.high < wide.high
    assert back.low == pytest.approx(-wide.high)
    assert back.ci_low == pytest.approx(-wide.ci_high)


@pytest.mark.slow
def test_sampling_error_of_the_bound_covers():
    """The least gain at gamma 1.5 is inside its 95 % interval 95 times in 100."""
    rule = np.ones(500, dtype=int)
    large, _, _ = draw(400_000, seed=999)
    truth = tilted(large, np.ones(400_000, dtype=int), 1.5).low

    hits = 0
    for seed in range(1_000):
        found = tilted(draw(500, seed=seed)[0], rule, 1.5)
        hits += abs(found.low - truth) <= found.low - found.ci_low

    assert hits >= 925


def test_sensitivity_finds_where_the_gain_is_gone():
    """At the flipping strengths the bounds touch 0, to the tolerance of the search."""
    seen, _, _ = draw(effect=0.6)
    rule = np.ones(2_000, dtype=int)

    found = sensitivity(seen, rule)

    share, sure = found.robustness, found.robustness_ci
    at = omitted_cause(seen, rule, outcome_share=share, assignment_share=share)
    assert at.low == pytest.approx(0, abs=1e-3)
    near = omitted_cause(seen, rule, outcome_share=sure, assignment_share=sure)
    assert near.ci_low == pytest.approx(0, abs=1e-3)
    assert tilted(seen, rule, found.gamma).low == pytest.approx(0, abs=1e-3)
    assert tilted(seen, rule, found.gamma_ci).ci_low == pytest.approx(0, abs=1e-3)
    assert 0 < sure < share < 1
    assert 1 < found.gamma_ci < found.gamma
    assert f"explain {share:.1%} of what is left unexplained" in found.sentences()[0]
    assert f"{found.gamma:.2f} times" in found.sentences()[1]


def test_a_loss_is_overturned_from_below():
    """A rule that loses is as robust as the same rule with money turned."""
    seen, _, _ = draw(effect=-0.6)

    found = sensitivity(seen, np.ones(2_000, dtype=int))

    assert found.gain < 0
    assert found.gamma > 1
    assert found.robustness > 0


def test_no_gain_and_no_difference_say_so():
    """A gain within its error has nothing to overturn; equal rules do not differ."""
    seen, _, _ = draw(300, effect=0.0, seed=2)
    unclear = sensitivity(seen, np.ones(300, dtype=int))
    same = sensitivity(seen, np.zeros(300, dtype=int))

    assert (unclear.robustness_ci, unclear.gamma_ci) == (0, 1)
    assert "not distinguishable from 0" in unclear.sentences()[0]
    assert math.isnan(same.robustness)
    assert "treats everybody as the other does" in same.sentences()[0]
    assert tilted(seen, np.zeros(300, dtype=int), 2).high == 0


def test_clusters_widen_the_error():
    """Every unit twice in pairs: the same bounds and, by pairs, the same error."""
    once, mean, target = draw(400)
    rows = np.repeat(np.arange(400), 2)
    scores = mean + (once.arm[:, None] == [0, 1]) * once.residual[:, None] / once.propensity
    twice = observed(
        scores[rows], target[rows], once.arm[rows], once.propensity[rows], cluster=rows
    )

    one = tilted(once, np.ones(400, dtype=int), 1.5)
    two = tilted(twice, np.ones(800, dtype=int), 1.5)

    assert two.low == pytest.approx(one.low)
    assert two.ci_low == pytest.approx(one.ci_low)


def test_mistakes_are_refused():
    """Certain arms, other shapes, impossible strengths, and arms that nobody had."""
    seen, _, _ = draw(20)
    with pytest.raises(DesignError, match="2 units have probability 0 or 1"):
        observed(np.zeros((2, 2)), [0, 0], [1, 1], [[0, 1], [0, 1]])
    with pytest.raises(DataError, match=r"worth has shape \(2, 2\)"):
        observed(np.zeros((2, 2)), [0, 0], [1, 1], [0.5, 0.5])
    with pytest.raises(DataError, match="there are 20 units"):
        tilted(seen, [1, 1], 2)
    with pytest.raises(UpliftlabError, match=r"gamma is 0\.5"):
        tilted(seen, np.ones(20, dtype=int), 0.5)
    with pytest.raises(UpliftlabError, match="cannot explain 1 of what is left"):
        omitted_cause(seen, np.ones(20, dtype=int), assignment_share=1.0)
    only = np.where(seen.arm == 1, 0, 1)
    with pytest.raises(DesignError, match="no unit that the rules treat differently"):
        tilted(seen, only, 2)
