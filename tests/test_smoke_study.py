"""A small study of every interval, in every run of the tests; the large one is certified."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.estimators import ab

RUNS, PER_ARM = 200, 20_000


@pytest.fixture(scope="module")
def study(make_cells):
    """200 tests of 20,000 per arm: skewed, zero-inflated profit with a pre-period covariate."""
    rng = np.random.default_rng(20260601)
    truth = 0.35 * 9.0 - 1.1
    found = []
    for _ in range(RUNS):
        rows = {}
        for arm, extra in (("none", 0.0), ("coupon", 1.0)):
            buys = rng.random(PER_ARM) < 0.08
            before = rng.exponential(5.0, PER_ARM) * (rng.random(PER_ARM) < 0.2)
            sales = buys * rng.lognormal(4.7, 0.5, PER_ARM) + before
            sales += extra * 9.0 * rng.exponential(1.0, PER_ARM)
            cost = extra * 11.0 * (rng.random(PER_ARM) < 0.1)
            rows[arm] = np.column_stack([sales, cost, before])
        cells = make_cells(rows, ("sales", "cost", "x:before"))
        effects = ab.estimate(
            cells, arms=["none", "coupon"], control="none", covariates=["x:before"]
        )
        weights = np.array(
            [
                effects.weights({"coupon": row, "none": {k: -v for k, v in row.items()}})
                for row in ({"sales": 0.35, "cost": -1.0}, {"sales": 1.0}, {"cost": 1.0})
            ]
        )
        joint = effects.linear(weights, ["profit", "sales", "cost"])
        found.append((joint, joint.ratio("profit", "cost", name="iROI")))
    return found, {"profit": truth, "sales": 9.0, "cost": 1.1}


@pytest.mark.parametrize("name", ["profit", "sales", "cost"])
def test_intervals_cover_the_truth(study, name):
    """At least 91 % of 200 intervals: smoke, not proof."""
    found, truth = study
    inside = [
        joint.estimate(name).ci_low <= truth[name] <= joint.estimate(name).ci_high
        for joint, _ in found
    ]

    assert np.mean(inside) >= 0.91


def test_fieller_sets_cover_the_true_iroi(study):
    """Extra profit over extra cost."""
    found, truth = study
    inside = [not iroi.excludes(truth["profit"] / truth["cost"]) for _, iroi in found]

    assert np.mean(inside) >= 0.91


def test_estimates_are_centred(study):
    """The mean of 200 estimates lies within four of its standard errors."""
    found, truth = study
    values = np.array([joint.value for joint, _ in found])
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))

    assert (np.abs(values.mean(axis=0) - np.array(list(truth.values()))) < 4 * error).all()
