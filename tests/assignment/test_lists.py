"""Lists drawn as a whole: exact shares, balance, and the mechanism for inference."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from upliftlab.assignment.lists import drawn
from upliftlab.assignment.scheme import AssignmentScheme
from upliftlab.errors import DesignError

HALF = {"none": Fraction(1, 2), "coupon": Fraction(1, 2)}
CLUSTERS = [f"mcn{i}" for i in range(24)]


def test_every_stratum_has_its_shares():
    """Counts within a stratum differ from the share by less than one."""
    shares = {"a": Fraction(1, 3), "b": Fraction(1, 2), "c": Fraction(1, 6)}
    strata = ["big"] * 10 + ["small"] * 14
    found = drawn(CLUSTERS, shares, salt="spring", strata=strata).found

    for stratum, size in (("big", 10), ("small", 14)):
        seen = Counter(arm for arm, s in zip(found, strata, strict=True) if s == stratum)
        for arm, share in shares.items():
            assert abs(seen[arm] - float(share) * size) < 1


def test_every_entry_has_exactly_its_share_as_chance():
    """Rounding is by chance: over salts nobody is favoured."""
    shares = {"a": Fraction(3, 10), "b": Fraction(7, 10)}
    strata = [f"s{i // 3}" for i in range(24)]
    hits = np.zeros(24)
    for salt in range(1_000):
        found = drawn(CLUSTERS, shares, salt=f"s{salt}", strata=strata).found
        hits += [arm == "a" for arm in found]

    z = (hits - 300) / np.sqrt(1_000 * 0.21)
    assert stats.kstest(z, "norm").pvalue > 0.001
    assert np.abs(z).max() < 4.5


def test_pairs_are_split():
    """Blocks of two are matched pairs."""
    strata = [f"pair{i // 2}" for i in range(24)]
    found = drawn(CLUSTERS, HALF, salt="spring", strata=strata).found

    assert all({found[i], found[i + 1]} == {"none", "coupon"} for i in range(0, 24, 2))


def test_balanced_draws_are_more_alike_and_recorded():
    """The draw is among the best tenth, and inference re-draws from these only."""
    x = np.random.default_rng(1).normal(size=(24, 2))
    found = drawn(CLUSTERS, HALF, salt="spring", balance=x, keep=0.1)
    scheme = found.scheme

    assert scheme.unlikeness(scheme.start[None])[0] <= scheme.most_unlike
    free = AssignmentScheme.of(scheme.start).permuted(4_000, np.random.default_rng(2))
    share = (scheme.unlikeness(free) <= scheme.most_unlike).mean()
    assert 0.06 < share < 0.14
    starts, exact = scheme.draws(200, seed=3)
    assert not exact
    assert (scheme.unlikeness(starts) <= scheme.most_unlike).all()


def test_balance_of_two_arms_is_the_distance_of_mahalanobis():
    """Against the formula of Morgan and Rubin (2012), equation 2, written out."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(12, 3))
    start = np.repeat([0, 1], 6)
    gap = x[start == 1].mean(axis=0) - x[start == 0].mean(axis=0)
    cov = np.cov(x, rowvar=False) * (1 / 6 + 1 / 6)

    found = AssignmentScheme.of(start, balance=x).unlikeness(start[None])[0]
    assert found == pytest.approx(gap @ np.linalg.inv(cov) @ gap, rel=1e-10)


def test_more_waves_than_clusters_are_refused():
    """Counted, with the waves."""
    waves = {day: Fraction(1, 3) for day in ("2026-08-03", "2026-08-31", "never")}
    with pytest.raises(DesignError) as found:
        drawn(["m1", "m2"], waves, salt="spring")

    assert str(found.value) == (
        "3 arms or waves (2026-08-03, 2026-08-31, never) are drawn from 2 clusters; each needs "
        "one or more, and inference needs two."
    )


def test_an_arm_that_gets_nothing_is_refused():
    """A share of a hundredth of four clusters is none."""
    shares = {"none": Fraction(99, 100), "coupon": Fraction(1, 100)}
    with pytest.raises(DesignError) as found:
        drawn(["m1", "m2", "m3", "m4"], shares, salt="s")

    assert str(found.value) == (
        "'coupon' has a share of 0.01 and gets none of 4 clusters; give it a larger share, or "
        "draw in fewer strata."
    )
