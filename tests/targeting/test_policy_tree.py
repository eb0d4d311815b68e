"""Trees: exact on their cuts, simple where simple does, and blind to what is missing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.errors import UpliftlabError
from upliftlab.targeting.policy_tree import fit_tree
from upliftlab.targeting.rules import CONSTANT, TREE


def earned(rule, x, worth):
    """What a rule earns on the units it was learned from."""
    return worth[np.arange(len(x)), rule.arms_of(x)].sum()


def brute(x, worth, depth):
    """The most that any tree of this depth can earn, by trying all."""
    best = worth.sum(axis=0).max() if len(worth) else 0.0
    if depth == 0 or len(worth) == 0:
        return best
    for j in range(x.shape[1]):
        for cut in np.unique(x[~np.isnan(x[:, j]), j]):
            left = x[:, j] <= cut
            if left.all() or not left.any():
                continue
            parts = (brute(x[side], worth[side], depth - 1) for side in (left, ~left))
            best = max(best, sum(parts))
    return best


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 3), st.sampled_from([1, 2]))
def test_no_tree_earns_more(seed, arms, depth):
    """Depth one and two earn as much as the best of all trees, missing numbers included."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (24, 3)).astype(np.float32)
    x[rng.random((24, 3)) < 0.1] = np.nan
    worth = rng.normal(size=(24, arms))

    found = fit_tree(x, worth, depth=depth, least=0.0)

    assert earned(found, x, worth) == pytest.approx(brute(x, worth, depth))


def test_depth_three_is_no_worse_than_two():
    """An interaction of three columns needs three splits."""
    x = np.array(list(itertools.product((0, 1), repeat=3)) * 20, dtype=np.float32)
    odd = x.sum(axis=1) % 2 == 1
    worth = np.column_stack([np.zeros(len(x)), np.where(odd, 1.0, -1.0)])

    two, three = (fit_tree(x, worth, depth=d, least=0.0) for d in (2, 3))

    assert earned(three, x, worth) == 80.0
    assert earned(two, x, worth) < 80.0


def test_nobody_differs_nobody_is_split():
    """Where one arm is best for everyone, the tree is that arm."""
    x = np.arange(100.0)[:, None]
    worth = np.column_stack([np.zeros(100), np.ones(100)])

    found = fit_tree(x, worth, depth=2)

    assert (found.kind, found.arm) == (CONSTANT, 1)


def test_ends_are_not_too_small():
    """One unit with a fortune does not get an end of its own."""
    x = np.arange(200.0)[:, None]
    worth = np.column_stack([np.zeros(200), np.where(np.arange(200) == 0, 1e6, -1.0)])

    found = fit_tree(x, worth, depth=2, least=0.05)

    ends, sizes = np.unique(found.arms_of(x.astype(np.float32)), return_counts=True)
    assert found.kind == TREE
    assert ends.tolist() == [0, 1]
    assert sizes.min() >= 10


def test_the_missing_go_right():
    """A rule is false where the number is missing, as in SQL."""
    x = np.array([[1.0], [2.0], [np.nan], [np.nan]] * 10)
    worth = np.column_stack([np.zeros(40), np.where(np.isnan(x[:, 0]), 1.0, -1.0)])

    found = fit_tree(x, worth, depth=1)

    assert found.arms_of(np.array([[np.nan], [9.0]], dtype=np.float32)).tolist() == [1, 1]
    assert found.arms_of(np.array([[1.5]], dtype=np.float32)).tolist() == [0]


@pytest.mark.parametrize("depth", [-1, 4])
def test_other_depths_are_refused(depth):
    """One sentence says which depths there are."""
    with pytest.raises(UpliftlabError, match="it searches 0, 1, 2 or 3"):
        fit_tree(np.zeros((4, 1)), np.zeros((4, 2)), depth=depth)
