from __future__ import annotations

import math

import pytest

from upliftlab.errors import UpliftlabError
from upliftlab.stats.sample_ratio import chi_square, exact_binomial, per_stratum


def test_a_famous_mismatch():
    """Case D1: 821,588 v 815,482; Kohavi, Tang and Xu (2020) give p 1.8e-6."""
    statistic, p, expected = chi_square([821_588, 815_482], [0.5, 0.5])

    assert statistic == pytest.approx(22.7744, abs=5e-5)
    assert p == pytest.approx(1.82179e-6, rel=1e-5)
    assert expected == (818_535.0, 818_535.0)


def test_a_hundred_users():
    """Case D2: 53 v 47, tea-tasting tests/metrics/test_proportion.py."""
    statistic, p, _ = chi_square([53, 47], [1, 1])

    assert statistic == pytest.approx(0.36)
    assert p == pytest.approx(0.5485062355001472, abs=1e-12)
    assert exact_binomial([53, 47], [1, 1]) == pytest.approx(0.6172994135892521, abs=1e-12)


def test_three_arms():
    """Case D3: 500, 501 and 600 of equal shares (computed from the definition)."""
    statistic, p, _ = chi_square([500, 501, 600], [1 / 3, 1 / 3, 1 / 3])

    assert statistic == pytest.approx(12.3685, abs=5e-5)
    assert p == pytest.approx(0.00206163, abs=5e-9)


def test_unequal_shares_are_not_a_mismatch():
    """1,000 v 9,000 of 10 % and 90 % is what was promised."""
    assert chi_square([1000, 9000], [0.1, 0.9])[:2] == (0.0, 1.0)
    assert exact_binomial([1, 9], [0.1, 0.9]) == pytest.approx(1.0)


def test_an_arm_without_share_is_refused():
    """Trap D5: gbstats drops it from the sum but counts its degree of freedom."""
    with pytest.raises(UpliftlabError) as caught:
        chi_square([500, 500, 0], [0.5, 0.5, 0.0])

    assert (
        str(caught.value)
        == "shares are [0.5, 0.5, 0.0]; leave an arm without a share out of the test."
    )


def test_counts_and_shares_belong_together():
    """Each arm has a count and a share; the exact test has two arms."""
    with pytest.raises(UpliftlabError) as lengths:
        chi_square([1, 2, 3], [0.5, 0.5])
    with pytest.raises(UpliftlabError) as arms:
        exact_binomial([1, 2, 3], [1, 1, 1])

    assert str(lengths.value) == "3 arms have counts and 2 have shares."
    assert str(arms.value) == "the exact test compares 2 arms; counts has 3."


def test_nobody_is_no_evidence():
    """Without units there is neither statistic nor p-value."""
    statistic, p, expected = chi_square([0, 0], [1, 1])

    assert math.isnan(statistic)
    assert math.isnan(p)
    assert expected == (0.0, 0.0)
    assert math.isnan(exact_binomial([0, 0], [1, 1]))


def test_a_ramp_up_passes_by_epoch_and_fails_pooled():
    """Trap T3: 100 v 900, then 500 v 500."""
    counts = {"epoch 1": [100, 900], "epoch 2": [500, 500]}
    rows = per_stratum(counts, {"epoch 1": [0.1, 0.9], "epoch 2": [0.5, 0.5]})
    _, pooled, _ = chi_square([600, 1400], [0.5, 0.5])

    assert [row.p_value for row in rows] == [1.0, 1.0]
    assert rows[0].expected == (100.0, 900.0)
    assert pooled < 1e-60


def test_strata_are_adjusted_by_holm():
    """The worst stratum of three counts three times; an empty one not at all."""
    counts = {"new": [560, 440], "loyal": [500, 500], "lost": [505, 495], "none": [0, 0]}
    rows = per_stratum(counts, [0.5, 0.5])

    assert [row.stratum for row in rows] == list(counts)
    assert rows[0].n == 1000
    assert rows[0].p_adjusted == pytest.approx(3 * rows[0].p_value)
    assert math.isnan(rows[3].p_adjusted)


def test_a_small_stratum_is_tested_exactly():
    """Four units: the binomial, not the chi-square, decides."""
    (row,) = per_stratum({"tiny": [4, 0]}, [0.5, 0.5])

    # 2 x 0.5^4.
    assert row.p_value == pytest.approx(0.125)
    assert row.statistic == pytest.approx(4.0)
