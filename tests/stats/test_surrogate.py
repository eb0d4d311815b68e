from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from upliftlab.errors import UpliftlabError
from upliftlab.stats.surrogate import surrogate_index

BETA = np.array([2.0, -1.0])


def history(rng, n=800):
    early = rng.gamma(2.0, 1.0, (n, 2))
    return early, early @ BETA + rng.standard_t(5, n)


def test_the_index_covers_the_long_run_it_never_saw():
    """Effect through two early outcomes: 95 % of intervals hold the true 0.3 x 2 - 0.1."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(300):
        index = surrogate_index(*history(rng), ["orders", "returns"], horizon=180)
        arms = [rng.gamma(2.0, 1.0, (2000, 2)) + shift for shift in (0.0, [0.3, 0.1])]
        early = arms[1].mean(axis=0) - arms[0].mean(axis=0)
        cov = sum(np.cov(a.T) / len(a) for a in arms)
        found = index.effect(early, cov)
        hits += found.ci_low <= 0.5 <= found.ci_high

    assert 0.91 <= hits / 300 <= 0.985


def test_both_samples_are_in_the_interval():
    """A small history widens it, a small experiment too."""
    rng = np.random.default_rng(6)
    small = surrogate_index(*history(rng, 60), ["orders", "returns"], horizon=180)
    large = surrogate_index(*history(rng, 6000), ["orders", "returns"], horizon=180)
    early, cov = np.array([0.5, 0.2]), np.eye(2) * 1e-6

    assert small.effect(early, cov).std_error > 3 * large.effect(early, cov).std_error
    assert large.effect(early, 100 * cov).std_error > large.effect(early, cov).std_error
    assert large.slope == pytest.approx(1.0, abs=0.05)


def test_cdnow_first_twelve_weeks_announce_the_next_year(shared_data):
    """Learned on half of the customers, it foretells the other half's difference.

    "Arms" are customers with and without a repeat purchase in the first twelve weeks: their
    later spend differs, and the early outcomes must say by how much.
    """
    rows = pd.read_parquet(shared_data("ab/cdnow_sample_transactions.parquet"))
    who, day, spend = rows.master_id, rows.date, rows.amount
    first = day.groupby(who).transform("min")
    age = (day - first).dt.days
    early = (age > 0) & (age <= 84)
    units = pd.DataFrame(index=pd.Index(sorted(who.unique())))
    units["orders"] = who[early].value_counts().reindex(units.index, fill_value=0)
    units["spend"] = spend[early].groupby(who[early]).sum().reindex(units.index, fill_value=0)
    late = (age > 84) & (age <= 449)
    units["late"] = spend[late].groupby(who[late]).sum().reindex(units.index, fill_value=0)
    # One customer bought 53 times, for six times the next one's money.
    raw = surrogate_index(units[["orders", "spend"]], units["late"], ["a", "b"], horizon=449)
    units[["orders", "spend"]] = np.log1p(units[["orders", "spend"]])
    half = np.random.default_rng(3).random(len(units)) < 0.5
    learn, judge = units[half], units[~half]
    columns = ["orders", "spend"]
    index = surrogate_index(learn[columns], learn["late"], columns, horizon=449)
    arms = [judge[judge.orders == 0], judge[judge.orders > 0]]
    gap = arms[1][columns].mean() - arms[0][columns].mean()
    cov = sum(np.cov(a[columns].T.to_numpy(dtype=float)) / len(a) for a in arms)
    found = index.effect(gap.to_numpy(), cov)
    actual = arms[1].late.mean() - arms[0].late.mean()
    noise = np.sqrt(sum(a.late.var() / len(a) for a in arms))

    assert len(units) > 2000
    assert raw.effect([1.0, 1.0], np.eye(2)).note == (
        "early outcomes foretell nothing out of sample: transform them, or wait"
    )
    assert index.r2 > 0.1
    assert found.is_above_zero
    assert abs(found.estimate - actual) < 1.96 * np.hypot(found.std_error, noise)


def test_what_cannot_be_learned_is_refused():
    """Whole messages."""
    rng = np.random.default_rng(1)
    early, late = history(rng, 100)
    with pytest.raises(UpliftlabError) as few:
        surrogate_index(early[:5], late[:5], ["a", "b"], horizon=90)
    with pytest.raises(UpliftlabError) as same:
        surrogate_index(early[:, [0, 0]], late, ["a", "b"], horizon=90)
    with pytest.raises(UpliftlabError) as shape:
        surrogate_index(early, late, ["a", "b"], horizon=90).effect([1.0], [[1.0]])

    assert str(few.value) == (
        "a surrogate index of ['a', 'b'] needs at least 30 units with all of them; it got "
        "early outcomes of shape (5, 2) and 5 long-run outcomes."
    )
    assert str(same.value) == (
        "early outcomes ['a', 'b'] are not independent of each other; leave one out."
    )
    assert str(shape.value) == (
        "the index has the early outcomes ['a', 'b']; it got effects of shape (1,) with "
        "covariance of shape (1, 1)."
    )
