"""One hash, the same in Python and in SQL; shares are pieces of one line."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from upliftlab.assignment.hashing import END, GRID, Dialect, digest, edge
from upliftlab.errors import UpliftlabError

IDS = [f"{7_106_001_122_334_400_000 + i}" for i in range(8_000)]


def position(salt, units):
    """First eight digits as numbers from 0 to 1."""
    return np.array([int(digest(salt, unit)[:8], 16) for unit in units]) / GRID


def test_the_hash_is_md5_of_salt_and_unit():
    """As `printf 'spring|李雷' | md5sum` of GNU coreutils says."""
    assert digest("spring", "李雷") == "9e6c8e4408d6792e56f66faa6213eaae"


@given(st.fractions(min_value=0, max_value=1))
def test_an_edge_is_within_half_a_step_of_its_share(share):
    """Shares are met on a grid of 4 billion steps."""
    found = edge(share)

    value = Fraction(1) if found == END else Fraction(int(found, 16), GRID)
    assert abs(value - share) <= Fraction(1, 2 * GRID)
    assert len(found) in {1, 8}


@given(st.fractions(min_value=0, max_value=1), st.fractions(min_value=0, max_value=1))
def test_edges_keep_the_order_of_shares(one, two):
    """Comparing texts is comparing numbers."""
    assert (edge(one) <= edge(two)) == (round(one * GRID) <= round(two * GRID))


def test_hashes_are_uniform_and_salts_independent():
    """Kolmogorov-Smirnov within a salt, chi-square of 16 x 16 between two."""
    one, two = position("spring", IDS), position("summer", IDS)
    table = np.histogram2d(one, two, bins=16, range=[[0, 1], [0, 1]])[0]

    assert stats.kstest(one, "uniform").pvalue > 0.001
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_neighbouring_salts_are_independent_too():
    """Names that differ by one letter give other draws."""
    arms = [position(f"coupon-{i}", IDS) < 0.5 for i in range(20)]
    correlation = np.corrcoef(np.array(arms))
    off = correlation[np.triu_indices(20, 1)] * np.sqrt(len(IDS))

    assert stats.kstest(off, "norm").pvalue > 0.001


def test_an_unknown_dialect_is_refused():
    """Only dialects that were tried."""
    with pytest.raises(UpliftlabError) as found:
        Dialect("oracle")

    assert (
        str(found.value) == "there is no SQL dialect 'oracle'; use one of ('duckdb', 'spark')."
    )
