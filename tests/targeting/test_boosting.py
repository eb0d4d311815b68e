"""Shared trees predict every component, and any priced sum of them, alike."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.targeting.boosting import Shape, bin_features, fit_shared, grow

SHAPE = Shape(trees=30, leaves=6, rate=0.2, least=40)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3_000, 4)).astype(np.float32)
    x[rng.random(3_000) < 0.1, 0] = np.nan
    buys = rng.random(3_000) < 0.2 + 0.3 * (x[:, 1] > 0)
    y = np.column_stack([buys * rng.lognormal(3, 1, 3_000), buys, rng.normal(size=3_000)])
    return bin_features(x), y.astype(np.float32)


@pytest.mark.parametrize("weighted", [False, True])
def test_priced_predictions_are_lightgbms_of_the_priced_outcome(data, weighted):
    """The guide's own prediction is LightGBM's, up to the precision of its sums."""
    bins, y = data
    price = np.array([0.35, -2.0, 1.0], dtype=np.float32)
    weight = np.linspace(0.5, 2, len(y)).astype(np.float32) if weighted else None
    model = fit_shared(bins, y, guide=y @ price, shape=SHAPE, weight=weight)

    ours = model.predict(bins.x) @ price
    theirs = model.booster.predict(bins.x)
    assert np.ptp(theirs) > 1
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_other_prices_need_no_other_model(data):
    """Given the trees, a sum of outcomes is predicted by the sum of predictions."""
    bins, y = data
    guide = y[:, 0]
    apart = fit_shared(bins, y, guide=guide, shape=SHAPE).predict(bins.x)
    mixed = fit_shared(bins, y @ np.float32([[3], [-1], [2]]), guide=guide, shape=SHAPE)

    np.testing.assert_allclose(
        mixed.predict(bins.x)[:, 0], apart @ np.float32([3, -1, 2]), atol=1e-3
    )


def test_only_the_rows_given_teach(data):
    """Outcomes of other rows change nothing."""
    bins, y = data
    rows = np.arange(0, 3_000, 2)
    other = y.copy()
    other[1::2] = 1e6
    one = fit_shared(bins, y, guide=y[:, 0], shape=SHAPE, rows=rows)
    two = fit_shared(bins, other, guide=other[:, 0], shape=SHAPE, rows=rows)

    np.testing.assert_array_equal(one.predict(bins.x), two.predict(bins.x))
    np.testing.assert_allclose(one.start, y[rows].mean(axis=0, dtype=float), rtol=1e-5)


def test_too_few_units_leave_means(data):
    """Without two leaves of units, every prediction is the mean."""
    bins, y = data
    model = fit_shared(bins, y, guide=y[:, 0], shape=SHAPE, rows=np.arange(60))

    np.testing.assert_allclose(
        model.predict(bins.x[:5]), np.tile(y[:60].mean(axis=0), (5, 1)), rtol=1e-5
    )


def test_a_guide_that_does_not_vary_leaves_means(data):
    """Nothing to split on is no mistake."""
    bins, y = data
    model = fit_shared(bins, y, guide=np.zeros(len(y), np.float32), shape=SHAPE)

    assert model.booster is None
    assert np.ptp(model.predict(bins.x), axis=0).max() == 0


def test_inputs_are_not_changed(data):
    """Outcomes are the same before and after."""
    bins, y = data
    before = y.copy()
    fit_shared(bins, y, guide=y[:, 0], shape=SHAPE)

    np.testing.assert_array_equal(y, before)


def test_classes_have_probabilities(data):
    """With classes, predictions are shares that add up to 1."""
    bins, y = data
    found = grow(bins, y[:, 1], shape=SHAPE, classes=2).predict(bins.x)

    np.testing.assert_allclose(found.sum(axis=1), 1)
