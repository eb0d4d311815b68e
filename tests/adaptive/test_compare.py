"""Simulated tests whose shares move."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.adaptive.compare import campaign, compare


@pytest.fixture(scope="module")
def pool():
    """Skewed outcomes with many zeros; the second treatment is best."""
    rng = np.random.default_rng(0)
    buys = rng.random(50_000) < 0.1
    base = buys * rng.lognormal(3.0, 0.7, 50_000)
    return base[:, None] + buys[:, None] * np.array([0.0, 1.0, 8.0])


def test_the_same_seed_is_the_same_test(pool):
    """Nothing random is left."""
    one, two = (campaign(pool, method="thompson", epochs=3, units=3_000, seed=4) for _ in "ab")

    assert one.share.tolist() == two.share.tolist()
    assert one.effects == two.effects


def test_shares_start_equal_and_follow_what_earns(pool):
    """The best arm ends with the largest share, and no arm is lost."""
    found = campaign(pool, method="thompson", epochs=6, units=5_000, floor=0.05, seed=1)

    assert found.share[0] == pytest.approx([1 / 3] * 3)
    assert found.share[-1].argmax() == 2
    assert found.share.min() >= 0.05


def test_moving_shares_earns_more_and_weeks_do_not_confound(pool):
    """Weighed intervals hold where pooled ones fail."""
    found = {
        each.method: each
        for each in compare(pool, runs=60, epochs=4, units=2_000, lift=(0, 0, 9, 0))
    }

    assert found["thompson"].earned_more.is_above_zero
    assert found["top_two"].earned_more.is_above_zero
    assert found["thompson"].coverage >= 0.88
    assert found["thompson"].pooled_coverage < 0.8
