"""Folds balance arms and strata, and keep clusters whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from upliftlab.errors import DesignError
from upliftlab.targeting.folds import folds, halves, refuse_bad_folds, refuse_split_clusters

ARMS = ("none", "coupon")


@given(st.integers(2, 5), st.integers(0, 50), st.integers(20, 60))
def test_every_fold_has_its_share_of_every_arm(count, seed, n):
    """Sizes within an arm differ by at most one."""
    arm = np.random.default_rng(seed).permutation(np.arange(n) % 2)
    fold = folds(arm, count=count, seed=seed)

    for a in (0, 1):
        sizes = np.bincount(fold[arm == a], minlength=count)
        assert np.ptp(sizes) <= 1


def test_strata_are_balanced():
    """A half holds half of each arm in each stratum, give or take one."""
    rng = np.random.default_rng(0)
    arm, stratum = rng.integers(0, 2, 999), rng.integers(0, 7, 999)
    learns = halves(arm, stratum=stratum, seed=2)

    for s in range(7):
        for a in (0, 1):
            mine = (stratum == s) & (arm == a)
            assert abs(learns[mine].sum() - mine.sum() / 2) <= 1


def test_clusters_stay_whole():
    """All units of a cluster are in one fold, and on one side."""
    cluster = np.repeat(np.arange(40), 5)
    arm = (cluster % 2).astype(np.int8)
    fold, learns = folds(arm, count=4, cluster=cluster), halves(arm, cluster=cluster)

    refuse_split_clusters(fold, cluster)
    refuse_split_clusters(learns.astype(int), cluster)
    assert np.bincount(fold[::5]).tolist() == [10, 10, 10, 10]
    assert learns.sum() == 100
    assert halves(arm, cluster=cluster, share=0.7).sum() == 140


def test_a_seed_is_a_split():
    """The same seed splits alike, another one differently; a share is kept."""
    arm = np.arange(1000) % 2

    assert (halves(arm, seed=1) == halves(arm, seed=1)).all()
    assert (halves(arm, seed=1) != halves(arm, seed=2)).any()
    assert halves(arm, share=0.7).sum() == 700


def test_torn_clusters_are_refused():
    """Units assigned together must stay together."""
    with pytest.raises(DesignError, match="1 clusters have units in several folds"):
        refuse_split_clusters(np.array([0, 1, 1]), np.array([7, 7, 8]))


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        (np.zeros(4, int), "at least two folds"),
        (np.array([0, 1]), "one per unit"),
        (np.array([0, 1, 0, 1]), "each arm needs some to learn from"),
    ],
)
def test_useless_folds_are_refused(fold, message):
    """A model of every arm needs units of every arm outside each fold."""
    with pytest.raises(DesignError, match=message):
        refuse_bad_folds(fold, np.array([0, 1, 0, 1]), arms=ARMS)


def test_arms_smaller_than_the_folds_are_refused():
    """Every fold must hold units of every arm."""
    with pytest.raises(DesignError, match="an arm has 1 units, too few for 2 folds"):
        folds(np.array([0, 0, 0, 1]), count=2)
    with pytest.raises(DesignError, match="fewer than two clusters"):
        halves(np.array([0, 0, 1, 1]), cluster=np.array([0, 0, 1, 1]))
