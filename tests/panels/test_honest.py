"""Honest intervals: what the geometry, the scale and the tests must obey."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import optimize

from upliftlab.errors import DesignError
from upliftlab.panels import arp, flci
from upliftlab.panels.event_path import EventPath
from upliftlab.panels.honest import breakeven, honest_interval, largest_bend, sensitivity
from upliftlab.panels.restrictions import Restriction, differences, polyhedra
from upliftlab.panels.vertices import vertices
from upliftlab.stats.joint import Joint

KINDS = ("smoothness", "relative_magnitude", "relative_smoothness")
EXTRAS = (
    {},
    {"bias": "positive"},
    {"shape": "decreasing"},
    {"bias": "negative", "shape": "increasing"},
)


def random_path(seed, n_pre=4, n_post=3, weights=None):
    """An event path with correlated estimates and a clear effect."""
    rng = np.random.default_rng(seed)
    size = n_pre + n_post
    noise = rng.normal(size=(size, size + 4))
    beta = rng.normal(size=size) + np.r_[np.zeros(n_pre), np.full(n_post, 4.0)]
    return EventPath.of_arrays(beta, noise @ noise.T / size, n_pre, weights=weights)


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_vertices_give_the_same_statistic_as_the_linear_programme(kind, extra):
    """max over vertices equals min eta s.t. y - X nuisance <= eta sd, solved by HiGHS."""
    weights = np.array([0.5, -1.0, 2.0])
    path = random_path(3, weights=weights)
    union = polyhedra(Restriction(kind=kind, **extra), 4, 3, 0.3)
    moments = arp.conditional(path, union, alpha=0.05)
    turn = np.linalg.inv(np.stack([weights, [0, 1, 0], [0, 0, 1]]))
    for part, theta in enumerate(np.linspace(-6, 9, len(union.a))):
        a = union.a[part]
        sd = np.sqrt(np.diag(a @ path.sigma @ a.T))
        x = a[:, 4:] @ turn
        y = a @ path.beta - union.d[part] - x[:, 0] * theta
        best = optimize.linprog(
            [1, 0, 0], -np.c_[sd, x[:, 1:]], -y, bounds=[(None, None)] * 3, method="highs"
        )

        ours = (moments.value[part] - moments.slope[part] * theta).max()
        assert ours == pytest.approx(best.fun, abs=1e-8)


def test_two_sided_bounds_have_two_more_vertices_than_periods():
    """What makes the test fast: n + 2 vertices, whatever the number of periods before."""
    for n_post in (1, 2, 5, 8, 20):
        union = polyhedra(Restriction(), 3, n_post, 1.0)
        found, _ = vertices(union.a[0][:, 3:], np.full(n_post, 1 / n_post))

        assert len(found) == n_post + 2


@pytest.mark.parametrize("seed", range(20))
def test_the_frontier_solves_the_lasso(seed):
    """Coordinate descent on the same penalised variance finds the same weights."""
    rng = np.random.default_rng(seed)
    path = random_path(seed, n_pre=int(rng.integers(2, 9)), weights=rng.normal(size=3))
    base, free = flci._unbiased_for_lines(path)
    hess, grad = free @ path.sigma @ free.T, free @ path.sigma @ base
    penalty = np.abs(grad).max() * rng.uniform(0.001, 0.9)
    c = np.zeros(len(grad))
    for _ in range(20_000):
        before = c.copy()
        for j in range(len(c)):
            pull = hess[j, j] * c[j] - grad[j] - hess[j] @ c
            c[j] = np.sign(pull) * max(abs(pull) - penalty, 0) / hess[j, j]
        if np.abs(c - before).max() < 1e-14:
            break
    frontier = flci.frontier(path)

    weights, _ = frontier.at(frontier.bias[0] + np.abs(c).sum())
    assert weights == pytest.approx(base + c @ free, abs=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_the_worst_case_bias_is_the_largest_over_all_paths_with_bounded_bends(seed):
    """A linear programme over delta finds the bias that the frontier states."""
    path = random_path(seed, weights=[1.0, -2.0, 0.5])
    bends = differences(4, 3, 2)
    frontier = flci.frontier(path)
    for weights, bias in zip(frontier.weights, frontier.bias, strict=True):
        worst = optimize.linprog(
            -weights,
            np.r_[bends, -bends],
            np.ones(2 * len(bends)),
            bounds=[(None, None)] * 7,
            method="highs",
        )

        assert -worst.fun == pytest.approx(bias, rel=1e-7)


@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0, 50.0])
@pytest.mark.parametrize("df", [5.0, math.inf])
def test_the_folded_quantile_holds_its_level(shift, df):
    """P(|Z + shift| <= c) is the level, for the normal and for t."""
    from scipy import stats

    c = flci.folded_quantile(shift, level=0.9, df=df)

    law = stats.t(df) if math.isfinite(df) else stats.norm()
    assert law.cdf(c - shift) - law.cdf(-c - shift) == pytest.approx(0.9, abs=1e-10)


def test_no_other_estimator_has_a_shorter_interval():
    """Random weights that cancel lines give longer intervals than the chosen ones."""
    path = random_path(1)
    best = flci.shortest(flci.frontier(path), 0.2)
    base, free = flci._unbiased_for_lines(path)
    bends = differences(4, 3, 2)
    line = np.zeros((1, 7))
    line[0, 3] = -1.0
    shapes = np.linalg.inv(np.r_[line, bends])
    rng = np.random.default_rng(0)
    centre = best.weights - base
    for size in (0.01, 0.1, 1.0):
        for _ in range(50):
            weights = base + centre + size * rng.normal(size=3) @ free
            sd = math.sqrt(weights @ path.sigma @ weights)
            bias = 0.2 * np.abs(weights @ shapes[:, 1:]).sum()

            assert sd * flci.folded_quantile(bias / sd) >= best.half_length - 1e-9


def test_without_any_violation_the_conditional_test_is_the_usual_interval():
    """Mbar = 0 is parallel trends after the start: estimate +- 1.96 standard errors."""
    path = random_path(2)
    found = honest_interval(path, "relative_magnitude", 0.0, method="conditional")

    assert found.low == pytest.approx(path.estimate - 1.959964 * path.std_error, abs=1e-5)
    assert found.high == pytest.approx(path.estimate + 1.959964 * path.std_error, abs=1e-5)


def test_finite_degrees_of_freedom_give_the_t_interval():
    """The same with 6 degrees of freedom has the critical value of t."""
    normal = random_path(2)
    path = EventPath.of_arrays(normal.beta, normal.sigma, 4, df=6.0)
    found = honest_interval(path, "relative_magnitude", 0.0, method="conditional")
    hybrid = honest_interval(path, "relative_magnitude", 1.0)
    smooth = honest_interval(path, "smoothness", 0.5)

    assert found.high == pytest.approx(path.estimate + 2.446912 * path.std_error, abs=1e-5)
    assert hybrid.high > honest_interval(normal, "relative_magnitude", 1.0).high
    assert smooth.high > honest_interval(normal, "smoothness", 0.5).high


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["best", "conditional", "c_lf"])
def test_the_unit_of_money_does_not_matter(kind, method):
    """Fen or yuan: ends and M scale along, over twelve orders of magnitude."""
    path = random_path(4)
    m = 0.7
    one = honest_interval(path, kind, m, method=method)
    for scale in (1e-6, 1e6):
        own = m * scale if kind == "smoothness" else m
        other = honest_interval(path.divided_by(1 / scale), kind, own, method=method)

        assert other.low / scale == pytest.approx(one.low, rel=1e-6, abs=1e-6)
        assert other.high / scale == pytest.approx(one.high, rel=1e-6, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_turning_the_sign_mirrors_the_interval(seed, kind):
    """A cost is minus a gain, for negative and mixed weights, too."""
    weights = np.random.default_rng(seed).normal(size=3)
    path = random_path(seed, weights=weights)
    turned = EventPath.of_arrays(path.beta, path.sigma, 4, weights=-weights)
    there = honest_interval(path, kind, 0.8)
    back = honest_interval(turned, kind, 0.8)

    assert back.low == pytest.approx(-there.high, rel=1e-6, abs=1e-6)
    assert back.high == pytest.approx(-there.low, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("extra", [{"bias": "positive"}, {"shape": "decreasing"}])
@pytest.mark.parametrize("kind", KINDS)
def test_signs_and_shapes_turn_with_the_estimates(kind, extra):
    """Assuming a positive bias of y is assuming a negative bias of -y."""
    path = random_path(5)
    turned = EventPath.of_arrays(-path.beta, path.sigma, 4)
    words = {"positive": "negative", "decreasing": "increasing"}
    mirror = {key: words[value] for key, value in extra.items()}
    there = honest_interval(path, Restriction(kind=kind, **extra), 0.5)
    back = honest_interval(turned, Restriction(kind=kind, **mirror), 0.5)

    assert back.low == pytest.approx(-there.high, rel=1e-4, abs=1e-4)


def test_the_ends_do_not_depend_on_the_grid(monkeypatch):
    """A grid five times as fine gives the same ends."""
    path = random_path(6)
    coarse = [honest_interval(path, "relative_magnitude", m) for m in (0.3, 1.0, 3.0)]
    monkeypatch.setattr(arp, "_POINTS", 601)
    fine = [honest_interval(path, "relative_magnitude", m) for m in (0.3, 1.0, 3.0)]

    for one, two in zip(coarse, fine, strict=True):
        assert two.low == pytest.approx(one.low, abs=1e-7)
        assert two.high == pytest.approx(one.high, abs=1e-7)


def test_the_ends_are_where_the_test_turns():
    """Just inside the test accepts, just outside it rejects, in every part of the union."""
    path = random_path(7)
    union = polyhedra(Restriction(), 4, 3, 1.0)
    moments = arp.least_favourable(path, union, alpha=0.05, kappa=0.005)
    low, high = arp.accepted(moments)
    step = 1e-6 * path.std_error
    tried = np.array([low - step, low + step, high - step, high + step])
    answers = arp.accepts(moments, np.tile(tried, (len(moments.value), 1))).any(axis=0)

    assert answers.tolist() == [False, True, True, False]


def test_the_relative_interval_is_wider_than_plug_in_bounds():
    """Estimated bounds +- 1.96 standard errors ignore that the largest move is estimated."""
    path = random_path(8)
    for m in (1.0, 2.0):
        found = honest_interval(path, "relative_magnitude", m)
        moves = np.abs(differences(4, 0, 1) @ path.beta[:4]).max()
        plug_in = path.estimate - m * moves - 1.96 * path.std_error

        assert found.low < plug_in
        assert abs(found.low - plug_in) > 0.01 * path.std_error


def test_the_least_favourable_value_is_a_quantile_of_the_largest_moment():
    """Simulated largest moments exceed it as often as they should, in 1, 2 and 4 dimensions."""
    rng = np.random.default_rng(1)
    for rank in (1, 2, 4):
        root = rng.normal(size=(1, 6, rank))
        root /= np.linalg.norm(root, axis=2, keepdims=True)
        cap = arp._max_quantile(root, 0.95, math.inf)[0]
        draws = (rng.normal(size=(200_000, rank)) @ root[0].T).max(axis=1)

        assert (draws > cap).mean() == pytest.approx(0.05, abs=0.002)


def test_the_conditional_test_holds_its_size_at_the_corner():
    """With all moments 0 in expectation it rejects 5 %, not less and not more."""
    rng = np.random.default_rng(2)
    root = rng.normal(size=(1, 4, 3))
    draws = rng.normal(size=(20_000, 3)) @ root[0].T
    moments = arp.Moments(
        value=draws,
        slope=np.zeros_like(draws),
        root=np.broadcast_to(root, (len(draws), 4, 3)),
        size=0.05,
        cap=np.full(len(draws), np.inf),
    )

    rejected = ~arp.accepts(moments, np.zeros((len(draws), 1)))
    assert rejected.mean() == pytest.approx(0.05, abs=0.006)


def test_the_first_stage_rejects_even_where_two_moments_tie():
    """At a tie the conditional test never rejects; beyond the cap the first stage does."""
    tie = arp.Moments(
        value=np.array([[3.0, 3.0]]),
        slope=np.zeros((1, 2)),
        root=np.array([[[1.0, 0.0], [0.0, 1.0]]]),
        size=0.05,
        cap=np.array([2.8]),
    )

    assert not arp.accepts(tie, np.zeros((1, 1)))[0, 0]
    assert arp.accepts(replace(tie, cap=np.array([3.1])), np.zeros((1, 1)))[0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_breakeven_is_where_the_interval_reaches_the_hurdle(kind):
    """At the breakeven one end of the interval is the hurdle."""
    path = random_path(9, weights=[0.2, 0.3, 0.5])
    hurdle = path.estimate - 4 * path.std_error
    found = breakeven(path, kind, threshold=hurdle)
    at = honest_interval(path, kind, found.m)

    assert found.note == ""
    assert at.low == pytest.approx(hurdle, abs=1e-4 * path.std_error)
    assert not honest_interval(path, kind, 0.95 * found.m).contains(hurdle)


def test_a_hurdle_inside_the_plain_interval_breaks_even_at_once():
    """The decision does not need any violation to be open."""
    path = random_path(10)
    found = breakeven(path, threshold=path.estimate)

    assert found.m == 0
    assert found.note == "the interval contains the hurdle without any violation"


def test_a_hurdle_out_of_reach_has_no_breakeven():
    """NaN and a note, with the searched range."""
    found = breakeven(random_path(10), threshold=1e9, upper=3.0)

    assert math.isnan(found.m)
    assert found.note == "no violation up to m = 3 lets the interval contain 1e+09"


def test_an_aggregate_that_does_not_vary_has_no_interval():
    """NaN with the note, and no breakeven."""
    path = EventPath.of_arrays([0.1, 1.0], np.diag([1.0, 0.0]), 1)

    assert math.isnan(honest_interval(path, "smoothness", 0.1).low)
    assert honest_interval(path, "smoothness", 0.1).note == "it does not vary"
    assert math.isnan(breakeven(path).m)


def test_estimates_that_contradict_the_restriction_are_said_to():
    """A trend known to rise, and clearly falling estimates before: nothing is accepted."""
    sigma = np.eye(3) * 1e-4
    path = EventPath.of_arrays([3.0, 1.5, 9.0], sigma, 2)
    rule = Restriction(kind="smoothness", shape="increasing")
    found = honest_interval(path, rule, 0.0, method="conditional")

    assert math.isnan(found.low)
    assert found.note == "every value is rejected: the estimates do not fit the restriction"
    assert not found.contains(9.0)


def test_intervals_go_on_where_a_grid_of_twenty_standard_errors_would_end():
    """Large violations give large intervals, not cut ones."""
    path = random_path(1, weights=[0.2, 0.3, 0.5])
    found = honest_interval(path, "relative_magnitude", 500.0, method="conditional")
    half = honest_interval(path, "relative_magnitude", 250.0, method="conditional")

    assert found.high > 100 * path.std_error
    assert (found.high - found.low) / (half.high - half.low) == pytest.approx(2, abs=0.02)


def test_a_sensitivity_holds_the_plain_interval_and_growing_ones():
    """Nested restrictions give, up to the tests' power, growing intervals."""
    path = random_path(11)
    found = sensitivity(path, ms=[0.0, 0.5, 1.0, 2.0])
    lows = [each.low for each in found.intervals]

    assert found.original.high - found.estimate == pytest.approx(1.959964 * path.std_error)
    assert lows == sorted(lows, reverse=True)
    assert found.breakeven == breakeven(path)
    assert [each.m for each in sensitivity(path, "smoothness").intervals][-1] == (
        pytest.approx(largest_bend(path))
    )


def test_a_joint_result_becomes_a_path():
    """Names in order of time, the covariance reordered with them, normal unless asked."""
    cov = np.array([[4.0, 1.0, 0.5], [1.0, 9.0, 0.2], [0.5, 0.2, 1.0]])
    joint = Joint(
        names=("y@0", "y@-2", "y@1"),
        value=np.array([3.0, 0.1, 5.0]),
        cov=cov,
        df=np.array([8.0, 9.0, 7.0]),
    )
    path = EventPath.of_joint(joint, ["y@-2"], ["y@0", "y@1"], weights=[1, 1], use_df=True)

    assert path.beta.tolist() == [0.1, 3.0, 5.0]
    assert path.sigma[0].tolist() == [9.0, 1.0, 0.2]
    assert (path.estimate, path.df) == (8.0, 7.0)
    assert path.std_error == pytest.approx(math.sqrt(4 + 1 + 1))
    assert path.times.tolist() == [-1.0, 1.0, 2.0]


def test_nothing_is_mutated():
    """Estimates and covariance are as before."""
    path = random_path(12)
    beta, sigma = path.beta.copy(), path.sigma.copy()
    sensitivity(path, ms=[1.0])

    assert (path.beta == beta).all()
    assert (path.sigma == sigma).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: EventPath.of_arrays([1.0, 2.0], np.eye(3), 1),
            "an event path with 2 estimates needs a covariance of shape (2, 2); it has (3, 3).",
        ),
        (
            lambda: EventPath.of_arrays([1.0, 2.0], np.eye(2), 2),
            (
                "an event path of 2 estimates has n_pre = 2; it needs at least one period "
                "before the reference period and one after the start."
            ),
        ),
        (
            lambda: EventPath.of_arrays([1.0, 2.0], np.eye(2), 1, weights=[0.0]),
            (
                "an event path with 1 periods after the start needs as many weights, not all "
                "0; it has [0.0]."
            ),
        ),
        (
            lambda: EventPath.of_arrays([math.nan, 2.0], np.eye(2), 1),
            (
                "an event path has an estimate or covariance that is not finite; leave out the "
                "periods that were not estimated."
            ),
        ),
        (
            lambda: Restriction(kind="smooth"),
            (
                "a restriction on trends has kind 'smooth'; allowed: ['relative_magnitude', "
                "'relative_smoothness', 'smoothness']. Did you mean 'smoothness'?"
            ),
        ),
        (
            lambda: honest_interval(random_path(1), "smoothness", -1.0),
            "an honest interval has m = -1.0; the size of a violation is at least 0.",
        ),
        (
            lambda: honest_interval(random_path(1), "smoothness", 1.0, method="clf"),
            (
                "an honest interval has method 'clf'; allowed: ['best', 'c_flci', 'c_lf', "
                "'conditional', 'flci']. Did you mean 'c_lf'?"
            ),
        ),
        (
            lambda: honest_interval(random_path(1, n_pre=1), "relative_smoothness", 1.0),
            (
                "relative_smoothness needs at least 2 periods before the reference period; the "
                "event path has 1. Use relative_magnitude or smoothness."
            ),
        ),
    ],
)
def test_mistakes_are_named(make, message):
    """Who asked, what was found, what is allowed."""
    with pytest.raises(DesignError) as caught:
        make()

    assert str(caught.value) == message


def test_a_fixed_length_interval_needs_plain_smoothness():
    """With a sign the fixed-length interval has no theory here; the tests have."""
    with pytest.raises(DesignError, match="needs smoothness alone"):
        honest_interval(random_path(1), "relative_magnitude", 1.0, method="flci")


def test_too_many_vertices_are_refused(monkeypatch):
    """Sign and shape over many periods: said at once instead of filling the memory."""
    monkeypatch.setattr("upliftlab.panels.vertices.MOST", 10)
    rows = polyhedra(Restriction(bias="positive", shape="increasing"), 2, 6, 1.0).a[0][:, 2:]
    with pytest.raises(DesignError, match="more than 10 vertices"):
        vertices(rows, np.arange(1.0, 7.0))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["relative_magnitude", "smoothness"])
def test_intervals_cover_at_the_worst_violation(kind):
    """Coverage of 95 % intervals is at least 94 % at the boundary of the restriction."""
    sigma = np.diag(np.linspace(0.5, 1.5, 10)) + 0.5
    if kind == "smoothness":
        bends = np.r_[np.zeros(4), np.ones(5)]
        line = np.zeros((1, 10))
        line[0, 4] = -1.0
        delta = np.linalg.inv(np.r_[line, differences(5, 5, 2)])[:, 1:] @ bends
    else:
        delta = np.r_[np.zeros(5) - 10.0, 10.0 * np.arange(1, 6)]
    samples = np.random.default_rng(1).multivariate_normal(delta, sigma, size=2_000)
    held = sum(
        honest_interval(
            EventPath.of_arrays(beta, sigma, 5, weights=[0.2] * 5), kind, 1.0
        ).contains(0.0)
        for beta in samples
    )

    assert held / 2_000 >= 0.94
