"""The default learner finds who gains, and can be stored."""

from __future__ import annotations

import json

import numpy as np
import pytest

from upliftlab.errors import UpliftlabError
from upliftlab.targeting.boosting import bin_features
from upliftlab.targeting.fast_dr import FastDR, default_shape, fit_fast_dr


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(6_000, 3)).astype(np.float32)
    gain = np.column_stack([np.where(x[:, 0] > 0, 1.0, -1.0), np.where(x[:, 1] > 0, 2.0, 0.0)])
    return x, (gain + rng.normal(size=(6_000, 2))).astype(np.float32), gain


def test_each_treatment_has_its_own_model(data):
    """Both gains are found, each from its own column."""
    x, scores, gain = data
    found = fit_fast_dr(x, scores, names=("a", "b", "c")).predict(x)

    assert found.dtype == np.float32
    for a in range(2):
        assert np.corrcoef(found[:, a], gain[:, a])[0, 1] > 0.95


def test_models_grown_side_by_side_are_the_same_as_alone(data):
    """The labels of one treatment do not reach the other's trees."""
    x, scores, _ = data
    bins = bin_features(x)
    both = fit_fast_dr(None, scores, bins=bins).predict(x)

    for a in range(2):
        np.testing.assert_array_equal(
            both[:, a], fit_fast_dr(None, scores[:, a], bins=bins).predict(x)[:, 0]
        )


def test_a_stored_model_predicts_the_same(data):
    """JSON holds the whole model."""
    x, scores, _ = data
    model = fit_fast_dr(x, scores, names=("a", "b", "c"))
    read = FastDR.from_dict(json.loads(json.dumps(model.to_dict())))

    np.testing.assert_array_equal(read.predict(x), model.predict(x))


def test_importance_adds_up_and_leaves_noise_last(data):
    """Shares add up to 1; the column without a gain is last."""
    x, scores, _ = data
    found = fit_fast_dr(x, scores, names=("a", "b", "c")).importance

    assert sum(found.values()) == pytest.approx(1)
    assert list(found)[-1] == "c"


def test_only_the_rows_given_teach(data):
    """Scores of other rows change nothing."""
    x, scores, _ = data
    rows = np.arange(0, 6_000, 2)
    other = scores.copy()
    other[1::2] = 1e5

    one, two = (fit_fast_dr(x, s, rows=rows).predict(x) for s in (scores, other))
    np.testing.assert_array_equal(one, two)


def test_few_units_get_one_prediction():
    """Below two leaves of 500 there is nothing but the mean."""
    x = np.random.default_rng(0).normal(size=(400, 2))
    model = fit_fast_dr(x, x[:, 0])

    assert np.ptp(model.predict(x)) == 0
    assert sum(model.importance.values()) == 0
    assert default_shape(400).least == 500


def test_a_matrix_of_another_width_is_refused(data):
    """The message names the columns that the model knows."""
    x, scores, _ = data
    model = fit_fast_dr(x, scores, names=("a", "b", "c"))

    with pytest.raises(UpliftlabError, match=r"fitted on 3 columns \['a', 'b', 'c'\]"):
        model.predict(x[:, :2])
    with pytest.raises(UpliftlabError, match="one row each"):
        fit_fast_dr(x, scores[:5])
    with pytest.raises(UpliftlabError, match="needs x"):
        fit_fast_dr(None, scores)
