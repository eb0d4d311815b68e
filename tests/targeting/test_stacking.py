"""Mixtures of learners."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize

from upliftlab.errors import DataError
from upliftlab.targeting.stacking import convex_weights, stack


def draw(m, k, seed):
    """Columns that share a signal, each with noise of its own; a noisy target."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=m)
    columns = signal[:, None] * rng.uniform(0, 2, k) + rng.normal(size=(m, k))
    return columns, signal + 5 * rng.normal(size=m)


@given(st.integers(2, 6), st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_weights_are_those_of_a_general_optimiser(k, seed):
    """No worse than SLSQP on the simplex, and at least 0, adding up to 1."""
    columns, target = draw(60, k, seed)

    found = convex_weights(columns, target)

    def loss(weights):
        return ((target - columns @ weights) ** 2).mean()

    other = minimize(
        loss, np.full(k, 1 / k), bounds=[(0, 1)] * k, method="SLSQP",
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    )  # fmt: skip
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1)
    assert loss(found) <= other.fun + 1e-6


@given(st.integers(1, 6), st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_the_mixture_is_never_worse_than_the_best_single(k, seed):
    """On the units that weights are taken from."""
    columns, target = draw(40, k, seed)

    found = stack(target, {f"m{j}": columns[:, j] for j in range(k)})

    assert found.gain >= -1e-12


def test_many_arms_share_weights():
    """Scores of two treatments count alike."""
    rng = np.random.default_rng(0)
    tau = rng.normal(size=(500, 2))
    good, bad = tau, rng.normal(size=(500, 2))

    found = stack(tau + 0.1 * rng.normal(size=(500, 2)), {"good": good, "bad": bad})

    assert found.weights["good"] > 0.95
    assert found.prediction.shape == (500, 2)
    assert found.predict({"good": good[:3], "bad": bad[:3]}) == pytest.approx(
        found.prediction[:3]
    )


def test_weights_of_a_fold_come_from_the_others():
    """What a fold's own scores say does not move how it is mixed."""
    columns, target = draw(200, 3, 1)
    fold = np.arange(200) % 2
    named = {f"m{j}": columns[:, j] for j in range(3)}
    changed = np.where(fold == 0, -target, target)

    first, second = (stack(each, named, fold=fold).prediction for each in (target, changed))

    assert (first[fold == 0] == second[fold == 0]).all()
    assert not np.allclose(first[fold == 1], second[fold == 1])


def test_equal_learners_and_huge_noise_do_no_harm():
    """Copies share a weight of 1; scores a million times the effect still give weights."""
    rng = np.random.default_rng(0)
    tau = rng.normal(size=300)

    copies = stack(1e6 * rng.normal(size=300) + tau, {"a": tau, "b": tau, "c": 0 * tau})
    same = stack(tau, {"a": tau, "b": tau})

    assert sum(copies.weights.values()) == pytest.approx(1)
    assert sum(same.weights.values()) == pytest.approx(1)


def test_shapes_must_agree():
    """A prediction of other units is refused by name."""
    with pytest.raises(DataError, match="predictions of 'b' have shape"):
        stack(np.zeros(5), {"a": np.zeros(5), "b": np.zeros(4)})
