from __future__ import annotations

import numpy as np
import pytest

from upliftlab.errors import UpliftlabError
from upliftlab.review.long_run import lifetime_from_index, lifetime_measured, pull_forward
from upliftlab.stats.surrogate import surrogate_index


def test_lifetime_value_starts_where_the_headline_ends():
    """Days up to 60 are in the headline and not here; later money is discounted."""
    plain = lifetime_measured(
        "t", [9.0, 2.0, 1.0], np.eye(3) * 0.04, [60, 150, 240], units=100, beyond=60
    )
    later = lifetime_measured(
        "t", [9.0, 2.0, 1.0], np.eye(3) * 0.04, [60, 150, 240], units=100, beyond=60, rate=0.1
    )

    assert plain.amount.estimate == pytest.approx(300.0)
    assert plain.amount.std_error == pytest.approx(100 * 0.2 * np.sqrt(2))
    assert later.amount.estimate == pytest.approx(
        100 * (2 * 1.1 ** (-105 / 365) + 1.1 ** (-195 / 365))
    )
    with pytest.raises(UpliftlabError) as short:
        lifetime_measured("t", [9.0], [[1.0]], [60], units=1, beyond=60)

    assert str(short.value) == (
        "lifetime value of 't' needs a stretch that ends after day 60; its stretches end on "
        "days [60]."
    )


def test_an_index_states_its_model_and_what_would_break_it():
    """The sentence names its assumption; the bypass is the near end of the interval."""
    rng = np.random.default_rng(2)
    early = rng.gamma(2.0, 1.0, (500, 1))
    index = surrogate_index(
        early, 3 * early[:, 0] + rng.normal(size=500), ["orders"], horizon=360
    )
    found = lifetime_from_index("t", index, [0.2], [[1e-4]], units=1000, beyond=60)

    assert found.amount.estimate == pytest.approx(600, rel=0.05)
    assert "assumes that the treatment reaches the long run only through" in found.model
    assert found.bypass == found.amount.ci_low > 0
    assert found.method == "surrogate index"


def test_pull_forward_is_what_later_quarters_take_back():
    """Ratio of effects with Fieller's set; running totals with the joint covariance."""
    cov = [[100.0, -20.0, 0.0], [-20.0, 50.0, 0.0], [0.0, 0.0, 50.0]]
    found = pull_forward([200.0, -50.0, -30.0], cov, names=["Q1", "Q2", "Q3"])

    assert found.fraction.estimate == pytest.approx(0.4)
    assert found.fraction.excludes(0.0)
    assert [e.estimate for e in found.cumulative] == [200.0, 150.0, 120.0]
    assert found.cumulative[1].std_error == pytest.approx(np.sqrt(110.0))
    assert found.sentence == "later quarters gave back 40% of the gain"
    assert pull_forward([200.0, -5.0], np.eye(2) * 100).sentence == (
        "later quarters cannot be told from 0"
    )
    assert pull_forward([200.0, 50.0], np.eye(2)).sentence == (
        "later quarters added 25% of the gain"
    )
