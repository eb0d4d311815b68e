"""Arm means from a test whose shares followed its outcomes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.adaptive.weighted import Epoch, estimate, weigh
from upliftlab.data.cells import Cells
from upliftlab.errors import DesignError
from upliftlab.estimators import ab

ARMS = ("none", "coupon")


def cells_of(rows, names=("y",)):
    """Cells from (arm, epoch, values) rows, values [n, K]."""
    labels, n, mean, m2 = [], [], [], []
    for arm, epoch, found in rows:
        values = np.asarray(found, dtype=float).reshape(len(found), -1)
        labels.append((arm, epoch))
        n.append(len(values))
        mean.append(values.mean(axis=0))
        centred = values - values.mean(axis=0)
        m2.append(centred.T @ centred)
    return Cells(
        keys=("arm", "epoch"), labels=tuple(labels), names=names,
        n=np.array(n), mean=np.array(mean), m2=np.array(m2),
    )  # fmt: skip


def epochs_of(*shares):
    """Epochs named "0", "1", ... with these shares of the coupon."""
    return [
        Epoch(name=str(t), share={"none": 1 - share, "coupon": share})
        for t, share in enumerate(shares)
    ]


def drawn(seed=0, shares=(0.5, 0.2, 0.8), n=400, level=(0.0, 5.0, -3.0), effect=1.0):
    """Rows of a test with another level in every epoch."""
    rng = np.random.default_rng(seed)
    return cells_of(
        [
            (
                arm,
                str(t),
                rng.normal(level[t] + effect * (arm == "coupon"), 1.0, max(2, round(k))),
            )
            for t, share in enumerate(shares)
            for arm, k in (("none", n * (1 - share)), ("coupon", n * share))
        ]
    )


def test_one_epoch_is_an_ordinary_split():
    """With one epoch nothing is weighed."""
    cells = drawn(shares=(0.3,), level=(0.0,))

    found = estimate(cells, epochs_of(0.3), arms=ARMS, control="none").effects
    plain = ab.estimate(cells, arms=ARMS, control="none")

    assert found.mean == pytest.approx(plain.mean)
    assert found.cov == pytest.approx(plain.cov)
    assert found.df == pytest.approx(plain.df)


def test_weeks_that_differ_do_not_confound_arms():
    """Trap of ramp-ups: no effect, other levels, other shares."""
    cells = cells_of(
        [
            ("coupon", "0", [0.0] * 100), ("none", "0", [0.0] * 900),
            ("coupon", "1", [10.0] * 500), ("none", "1", [10.0] * 500),
        ]
    )  # fmt: skip

    found = estimate(cells, epochs_of(0.1, 0.5), arms=ARMS, control="none").effects

    assert found.contrast("y", "coupon").value[0] == pytest.approx(0.0, abs=1e-12)
    assert ab.estimate(cells, arms=ARMS, control="none").contrast("y", "coupon").value[
        0
    ] == pytest.approx(4.7619, abs=1e-4)


def test_weights_are_known_before_outcomes():
    """Units over the root of the sum of one over the shares, whatever was measured."""
    found = estimate(drawn(), epochs_of(0.5, 0.2, 0.8), arms=ARMS, control="none")

    wanted = np.array([400 / np.sqrt(4), 400 / np.sqrt(6.25), 400 / np.sqrt(6.25)])
    assert found.weight == pytest.approx(wanted / wanted.sum())
    assert estimate(drawn(seed=9), found.epochs, arms=ARMS, control="none").weight.tolist() == (
        found.weight.tolist()
    )


@settings(max_examples=30, deadline=None)
@given(st.floats(-50, 50), st.floats(-50, 50), st.integers(0, 50))
def test_shifting_an_epoch_moves_no_contrast(first, second, seed):
    """What all arms of an epoch share cancels."""
    shares = epochs_of(0.5, 0.2, 0.8)
    one = estimate(drawn(seed), shares, arms=ARMS, control="none").effects
    two = estimate(
        drawn(seed, level=(first, second, 0.0)), shares, arms=ARMS, control="none"
    ).effects

    assert two.contrast("y", "coupon").value[0] == pytest.approx(
        one.contrast("y", "coupon").value[0], abs=1e-9
    )


def test_lines_add_up_to_the_total():
    """Linear in components, with their covariance."""
    rng = np.random.default_rng(1)
    rows = []
    for t, share in enumerate((0.5, 0.2)):
        for arm, n in (("none", round(400 * (1 - share))), ("coupon", round(400 * share))):
            pair = rng.normal(size=(n, 2))
            rows.append((arm, str(t), np.column_stack([pair, pair.sum(axis=1)])))
    cells = cells_of(rows, names=("a", "b", "total"))

    found = estimate(cells, epochs_of(0.5, 0.2), arms=ARMS, control="none").effects
    weights = found.weights({"coupon": {"a": 1, "b": 1}, "none": {"a": -1, "b": -1}})
    both = found.linear(weights[None], ["sum"])
    total = found.contrast("total", "coupon")

    assert both.value[0] == pytest.approx(total.value[0])
    assert both.cov[0, 0] == pytest.approx(total.cov[0, 0])


def test_epochs_add_up_in_any_grouping_of_calls():
    """Estimating epochs one by one and weighing them is the same."""
    shares = epochs_of(0.5, 0.2, 0.8)
    cells = drawn()
    parts = [
        ab.estimate(cells.where(epoch=str(t)), arms=ARMS, control="none") for t in range(3)
    ]

    assert weigh(parts, shares).effects.cov == pytest.approx(
        estimate(cells, shares, arms=ARMS, control="none").effects.cov
    )


def test_an_epoch_nobody_logged_is_refused():
    """Shares that are not known cannot be weighed."""
    with pytest.raises(DesignError) as caught:
        estimate(drawn(), epochs_of(0.5, 0.2), arms=ARMS, control="none")

    assert str(caught.value) == (
        "units were assigned in epoch '2', whose shares nobody logged; logged epochs: "
        "['0', '1']. Log its shares as they were, or leave its units out."
    )


def test_an_arm_that_left_is_compared_over_its_own_epochs():
    """Later weeks, at another level, say nothing of it, and its range is that of its epochs."""
    rng = np.random.default_rng(3)
    rows = [
        (arm, str(t), rng.normal(level + 2.0 * (arm == "coupon"), 1.0, 300))
        for t, level in enumerate((0.0, 40.0))
        for arm in (("none", "coupon", "big") if t == 0 else ("none", "coupon"))
    ]
    third = {"none": 1 / 3, "coupon": 1 / 3, "big": 1 / 3}
    shares = [
        Epoch(name="0", share=third),
        Epoch(name="1", share={"none": 0.5, "coupon": 0.5, "big": 0.0}),
    ]
    arms = ("none", "coupon", "big")
    cells = cells_of(rows)

    found = estimate(cells, shares, arms=arms, control="none").effects
    first = ab.estimate(cells.where(epoch="0"), arms=arms, control="none")
    second = ab.estimate(cells.where(epoch="1"), arms=arms[:2], control="none")
    weight = np.array([900 / np.sqrt(6), 600 / np.sqrt(4)])
    weight /= weight.sum()

    big, alone = found.contrast("y", "big"), first.contrast("y", "big")
    assert big.value == pytest.approx(alone.value)
    assert big.cov == pytest.approx(alone.cov)
    coupon = found.contrast("y", "coupon")
    each = [part.contrast("y", "coupon") for part in (first, second)]
    assert coupon.value[0] == pytest.approx(weight @ [e.value[0] for e in each])
    assert coupon.cov[0, 0] == pytest.approx(weight**2 @ [e.cov[0, 0] for e in each])


def test_control_without_a_share_is_refused():
    """Nothing can be compared."""
    with pytest.raises(DesignError) as caught:
        estimate(drawn(), epochs_of(0.5, 0.2, 1.0), arms=ARMS, control="none")

    assert str(caught.value) == (
        "control 'none' had no share in epoch '2'; nothing can be compared with it there. "
        "Leave the epoch out."
    )
