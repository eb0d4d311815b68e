"""Ranges of an adaptive test that hold at every look."""

from __future__ import annotations

import math

import numpy as np
import pytest

from upliftlab.adaptive.paths import best_of, paths
from upliftlab.adaptive.sequence import TOO_EARLY, looks, ranges, running
from upliftlab.adaptive.shares import top_two
from upliftlab.adaptive.weighted import Epoch, weigh
from upliftlab.data.cells import Cells
from upliftlab.estimators import ab
from upliftlab.stats.confidence_sequence import multiplier
from upliftlab.stats.joint import Joint

NAMES = ("none", "five", "ten")


@pytest.fixture(scope="module")
def pool():
    """Zero-inflated, skewed profit that no arm changes."""
    rng = np.random.default_rng(3)
    profit = np.where(rng.random(100_000) < 0.2, rng.lognormal(3.0, 0.8, 100_000), 0.0)
    return np.repeat(profit[:, None], 3, axis=1)


@pytest.fixture(scope="module")
def tests(pool):
    """600 tests of twelve epochs by Thompson sampling."""
    return paths(pool, method="thompson", runs=600, epochs=12, units=1_500, floor=0.05, seed=5)


def _joint(found, run, t):
    gap = found.mean[run, t, 1:] - found.mean[run, t, 0]
    own = found.variance[run, t] / found.n[run, t]
    return Joint(
        names=NAMES[1:], value=gap, cov=np.diag(own[1:]) + own[0], df=np.full(2, np.inf)
    )


def _epochs(found, run):
    return [
        Epoch(name=str(t), share=dict(zip(NAMES, row.tolist(), strict=True)))
        for t, row in enumerate(found.share[run])
    ]


def test_the_range_is_the_martingale_s(tests):
    """Weights units x root(p q / (p + q)); half width by Waudby-Smith et al. on variance."""
    found = looks(
        [_joint(tests, 0, t) for t in range(12)],
        tests.n[0].astype(int).tolist(),
        _epochs(tests, 0),
        arms=NAMES,
        planned=18_000,
    )
    last = [look for look in found if look.arm == "ten"][-1]
    p, q = tests.share[0, :, 2], tests.share[0, :, 0]
    h = 1_500 * np.sqrt(p * q / (p + q))
    gap = tests.mean[0, :, 2] - tests.mean[0, :, 0]
    v = (tests.variance[0] / tests.n[0])[:, [0, 2]].sum(axis=1)
    spread = np.cumsum(h**2 * v)

    assert last.estimate == pytest.approx((h * gap).sum() / h.sum())
    assert last.std_error == pytest.approx(math.sqrt(spread[-1]) / h.sum())
    factor = multiplier(spread[-1] / (12 * spread[0]), tuned_at=1.0, alpha=0.025)
    assert last.ci_high - last.estimate == pytest.approx(float(factor) * last.std_error)
    assert last.units == tests.n[0][:, [0, 2]].sum()
    estimate, error, _ = tests.contrast(2)
    assert (estimate[0, -1], error[0, -1]) == pytest.approx((last.estimate, last.std_error))


def test_ranges_hold_at_all_looks_where_plain_ones_do_not(tests):
    """Smoke of the certified study: at most 8 % of 600 paths; 1.96 at every look is far off."""
    estimate, error, spread = tests.contrast(1)
    low, high = ranges(estimate, error, spread, horizon=12 * spread[:, :1], alpha=0.05)

    assert ((low > 0) | (high < 0)).any(axis=1).mean() < 0.08
    assert (np.abs(estimate) > 1.96 * error).any(axis=1).mean() > 0.15


def test_many_paths_are_what_one_test_says(tests):
    """The vectorised means are those of the estimator of the analysis."""
    run, cells = 7, []
    for t in range(12):
        n, variance = tests.n[run, t], tests.variance[run, t]
        cells.append(
            Cells(
                keys=("arm", "epoch"), names=("profit",),
                labels=tuple((name, str(t)) for name in NAMES), n=n.astype(int),
                mean=tests.mean[run, t][:, None], m2=((n - 1) * variance)[:, None, None],
            )
        )  # fmt: skip
    parts = [ab.estimate(each, arms=NAMES, control="none") for each in cells]
    found = weigh(parts, _epochs(tests, run)).effects
    mean, variance = tests.weighted()

    assert mean[run] == pytest.approx(found.mean[:, 0])
    assert variance[run] == pytest.approx([found.cov[a, 0, a, 0] for a in range(3)])


def test_shares_follow_the_rule_and_keep_the_floor(tests):
    """Probabilities of being best are those of draws; shares add up to one."""
    mean, error = np.array([[0.0, 0.3, -0.2]]), np.array([[0.4, 0.3, 0.5]])
    rng = np.random.default_rng(1)
    drawn = (mean + error * rng.normal(size=(200_000, 3))).argmax(axis=1)
    exact = best_of(mean, error)[0]

    assert exact == pytest.approx(np.bincount(drawn) / len(drawn), abs=0.005)
    assert top_two(exact).sum() == pytest.approx(1)
    assert tests.share.sum(axis=2) == pytest.approx(1)
    assert tests.share.min() > 0.045
    assert tests.share[:, -1].std() > 0.02


def test_no_range_before_the_first_permitted_look():
    """249 units, or 49 with an outcome, are too few; an arm that left keeps its own epochs."""
    gain = Joint(names=("five",), value=np.array([1.0]), cov=np.array([[0.01]]), df=np.ones(1))
    epochs = [
        Epoch(name="1", share={"none": 0.5, "five": 0.5}),
        Epoch(name="2", share={"none": 0.5, "five": 0.5}),
        Epoch(name="3", share={"none": 1.0, "five": 0.0}),
    ]
    found = looks(
        [gain, gain, None],
        [[249, 249], [249, 249], [500, 0]],
        epochs,
        arms=["none", "five"],
        planned=2_000,
    )

    assert [look.note for look in found] == [TOO_EARLY, "", ""]
    assert math.isnan(found[0].ci_low)
    assert math.isnan(found[0].p_value)
    assert found[1].ci_low > 0
    assert found[1].p_value < 0.05
    assert found[2].std_error == found[1].std_error
    few = looks(
        [gain], [[900, 900]], epochs[:1], arms=["none", "five"], planned=2_000,
        active=[[49, 300]],
    )  # fmt: skip
    assert few[0].note == TOO_EARLY


def test_an_epoch_without_an_arm_adds_nothing():
    """A weight of 0 takes an epoch out, whatever stands in it."""
    with_it = running([1.0, np.nan], [0.1, np.nan], [100, 100], [0.5, 0.0])

    assert [each.tolist() for each in with_it] == [
        [1.0, 1.0],
        pytest.approx([math.sqrt(0.1)] * 2),
        [250.0, 250.0],
    ]
