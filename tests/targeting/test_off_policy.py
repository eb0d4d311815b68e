"""Rules valued from logs that other rules wrote."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.errors import DataError, DesignError
from upliftlab.targeting.off_policy import logged, off_policy_value, policy_difference

ARMS = ("none", "small", "large")


def world(seed, n=3_000):
    """Chances that depend on x, outcomes that depend on x and arm."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    odds = np.exp(np.column_stack([np.zeros(n), 0.8 * x, -0.8 * x]))
    chance = odds / odds.sum(axis=1, keepdims=True)
    arm = (rng.random(n)[:, None] > np.cumsum(chance, axis=1)[:, :-1]).sum(axis=1)
    mean = np.column_stack([x, x + 1.0, x + 2.0 * x])
    y = mean[np.arange(n), arm] + rng.normal(size=n)
    return x, arm, chance[np.arange(n), arm], y, mean


def test_intervals_hold_the_value_of_a_rule_nobody_ran():
    """Two hundred logs, chances that depend on x: at least 90 of 100 hold the truth."""
    held = []
    for seed in range(200):
        x, arm, chance, y, _ = world(seed)
        log = logged(y, arm, chance, arms=ARMS)
        found = off_policy_value(log, np.where(x > 0, 2, 1))
        # E[x + 1 | x <= 0] / 2 + E[3x | x > 0] / 2
        true = 0.5 + np.sqrt(2 / np.pi) * (3 - 1) / 2
        held.append(not found.value.excludes(true))

    assert np.mean(held) >= 0.90


def test_predictions_of_other_units_make_it_surer():
    """Expected money per unit and arm takes out noise, and moves nothing on average."""
    x, arm, chance, y, mean = world(3)
    rule = np.where(x > 0, 2, 1)
    plain = off_policy_value(logged(y, arm, chance, arms=ARMS), rule)
    helped = off_policy_value(logged(y, arm, chance, arms=ARMS, predicted=mean), rule)

    assert helped.value.std_error < plain.value.std_error
    assert abs(helped.value.estimate - plain.value.estimate) < 4 * plain.value.std_error


def test_a_difference_is_surer_than_two_values():
    """Units to which both rules give the same arm cancel."""
    x, arm, chance, y, _ = world(5)
    log = logged(y, arm, chance, arms=ARMS)
    one, two = np.where(x > 0, 2, 1), np.where(x > 1.5, 2, 1)
    gap = policy_difference(log, one, two)
    first, second = off_policy_value(log, one), off_policy_value(log, two)

    assert gap.value.estimate == pytest.approx(first.value.estimate - second.value.estimate)
    assert gap.value.std_error < np.hypot(first.value.std_error, second.value.std_error)


def test_the_logging_rule_itself_is_worth_the_mean():
    """With equal chances, giving chances back is the plain mean."""
    rng = np.random.default_rng(0)
    arm = np.repeat([0, 1], 500)
    y = rng.normal(size=1_000)
    log = logged(y, arm, np.full(1_000, 0.5), arms=ARMS[:2])

    found = off_policy_value(log, np.full((1_000, 2), 0.5))
    assert found.value.estimate == pytest.approx(y.mean())


def test_wrongly_logged_chances_fail_a_check():
    """Weights must average 1."""
    x, arm, chance, y, _ = world(7)
    log = logged(y, arm, np.minimum(chance * 1.4, 1.0), arms=ARMS)

    found = off_policy_value(log, np.where(x > 0, 2, 1))
    assert found.checks[0].name == "logged_propensities"
    assert found.checks[0].verdict == "fail"


def test_few_agreeing_units_warn():
    """An interval on a handful of units is not to be relied on."""
    x, arm, chance, y, _ = world(7, n=150)
    found = off_policy_value(logged(y, arm, chance, arms=ARMS), np.where(x > 0, 2, 1))

    assert [check.verdict for check in found.checks] == ["pass", "warn"]


def test_whole_clusters_widen_the_interval():
    """Units that were drawn together count together."""
    rng = np.random.default_rng(2)
    cluster = np.repeat(np.arange(100), 20)
    arm = rng.integers(0, 2, 100)[cluster]
    y = rng.normal(size=100)[cluster] + rng.normal(size=2_000)
    alone = off_policy_value(logged(y, arm, [0.5] * 2_000, arms=ARMS[:2]), np.ones(2_000, int))
    whole = off_policy_value(
        logged(y, arm, [0.5] * 2_000, arms=ARMS[:2], cluster=cluster), np.ones(2_000, int)
    )

    assert whole.value.std_error > 2 * alone.value.std_error


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: logged([1.0], ["no"], [0.5], arms=ARMS[:2]),
            (
                "the log has arms ['no'] that nobody named; arms: ['none', 'small']. Did you "
                "mean 'none'?"
            ),
        ),
        (
            lambda: logged([1.0, 2.0], [0, 1], [0.5, 0.0], arms=ARMS),
            (
                "1 of 2 logged propensities are outside 0 to 1, such as 0; log the probability "
                "with which the unit got its arm."
            ),
        ),
        (
            lambda: logged([1.0, np.nan], [0, 1], [0.5, 0.5], arms=ARMS),
            (
                "1 of 2 logged units have no outcome; count what is missing as 0 only where "
                "the unit was followed, and leave the others out."
            ),
        ),
        (
            lambda: logged([1.0, 2.0], [0], [0.5, 0.5], arms=ARMS),
            "the log has 2 outcomes and 1 of arm; give one for each unit.",
        ),
    ],
)
def test_a_broken_log_is_refused(call, text):
    """One sentence each."""
    with pytest.raises(DataError) as caught:
        call()

    assert str(caught.value) == text


def test_an_arm_nobody_had_is_refused():
    """Nothing is known of it."""
    log = logged([1.0, 2.0], [0, 1], [0.5, 0.5], arms=ARMS)
    with pytest.raises(DesignError) as caught:
        off_policy_value(log, [2, 2], name="the new rule")

    assert str(caught.value) == (
        "the new rule gives 'large', which nobody in the log had; nothing is known of it. "
        "Drawn: ['none', 'small']."
    )
