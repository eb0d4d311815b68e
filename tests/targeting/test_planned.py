"""Targeting asked by a plan: other prices, arms that chance dealt unevenly or nobody dealt."""

from __future__ import annotations

import numpy as np
import pytest
from tests.targeting.test_run import plan, rows

from upliftlab.analysis import run
from upliftlab.experiment import Experiment
from upliftlab.targeting import nuisances
from upliftlab.targeting.halves import ScoreBook

FLOAT32 = 2e-6
"""Sums of float32 in another order."""


@pytest.fixture
def fits(monkeypatch):
    """Names of nuisances as they are fitted."""
    seen = []
    real = nuisances.fit_shared

    def counted(*args, **more):
        seen.append(more["rows"])
        return real(*args, **more)

    monkeypatch.setattr(nuisances, "fit_shared", counted)
    return seen


def test_other_prices_fit_no_nuisance_again(fits):
    """With a book of scores a what-if learns rules only, and equals a run of its own."""
    made = Experiment(**plan(features=["city", "days"], rule="tree"))
    tables = {"units": rows(n=3_000)}
    book = ScoreBook()
    first = run(made, tables, scores=book)
    begun = len(fits)
    dearer = first.economics.scaled("coupon", 4.0)

    again = run(made, tables, economics=dearer, scores=book).targeting
    refitted = len(fits) - begun
    fresh = run(made, tables, economics=dearer).targeting

    assert refitted == 0
    assert len(fits) - begun >= begun > 0
    assert again.verdict == fresh.verdict
    assert again.sql == fresh.sql
    for name in ("tree", "everybody:c20", "response"):
        mine, its = again.worth(name).value, fresh.worth(name).value
        assert mine.estimate == pytest.approx(its.estimate, rel=FLOAT32, abs=1e-3)
        assert mine.std_error == pytest.approx(its.std_error, rel=FLOAT32)
    assert again.robustness == fresh.robustness
    # A coupon at four times its price costs three times its price more.
    before, after = (each.worth("everybody:c20") for each in (first.targeting, again))
    more = before.value.estimate - after.value.estimate
    assert more == pytest.approx(3 * before.cost.estimate, rel=1e-4)


def test_a_book_does_not_mix_up_data():
    """Other units have other scores, whatever the book holds."""
    made, book = Experiment(**plan(features=["city"], rule="tree")), ScoreBook()
    one, other = rows(n=2_000), rows(n=2_000, seed=2)
    run(made, {"units": one}, scores=book)

    found = run(made, {"units": other}, scores=book).targeting
    alone = run(made, {"units": other}).targeting

    assert np.isclose(
        found.worth("everybody:c20").value.estimate,
        alone.worth("everybody:c20").value.estimate,
        rtol=FLOAT32,
    )
