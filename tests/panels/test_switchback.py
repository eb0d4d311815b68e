"""Switchbacks: paired blocks, their coins, burn-in and carry-over."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from upliftlab.errors import DataError, DesignError
from upliftlab.panels.switchback import (
    UNPAIRED,
    Switchback,
    carry_over,
    draw_switchback,
    horvitz_thompson,
    horvitz_thompson_inference,
    switchback_effect,
    switchback_inference,
    weekday_pairs,
)

# Charles Darwin's 15 pairs of maize, crossed minus self-fertilised, eighths of an inch.
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def days(y, *, seed, pair=None, groups=None, **options):
    """One block a day, adjacent days paired unless said otherwise."""
    count = np.shape(y)[0 if groups is None else 1]
    pairs = np.arange(count) // 2 if pair is None else pair
    on = draw_switchback(pairs, groups=groups or 1, seed=seed)
    state = on[0] if groups is None else on
    return Switchback.of_periods(y, state, range(count), pairs, **options)


def lingering_days(rng, *, effect, linger, pairs=14):
    """A day's outcome with an effect of today's and of yesterday's state."""
    count = 2 * pairs
    on = draw_switchback(np.arange(count) // 2, seed=int(rng.integers(1 << 30)))[0]
    before = np.concatenate([[0], on[:-1]])
    y = rng.normal(size=count) + effect * on + linger * before
    return Switchback.of_periods(y, on, range(count), np.arange(count) // 2)


def test_tossing_all_coins_again_is_fishers_test_of_darwins_maize():
    """Fisher (1935, section 21): 863 of 32,768 sums reach 314 on one side, 1,726 on both."""
    y = np.array(DARWIN, dtype=float).repeat(2)
    y[1::2] = 0
    design = Switchback.of_periods(y, [1, 0] * 15, range(30), np.arange(30) // 2)

    result = switchback_inference(design, draws=40_000)

    assert result.is_exact
    assert result.draws == 32_768
    assert result["y"].p_value == pytest.approx(1726 / 32768)


def test_effect_is_the_paired_t_test():
    """Estimate, standard error, df and p of scipy's paired t-test of Darwin's maize."""
    y = np.array(DARWIN, dtype=float).repeat(2)
    y[1::2] = 0
    design = Switchback.of_periods(y, [1, 0] * 15, range(30), np.arange(30) // 2)

    effect = switchback_effect(design).estimate("y")

    assert effect.estimate == pytest.approx(314 / 15)
    assert effect.df == 14
    assert effect.p_value == pytest.approx(stats.ttest_1samp(DARWIN, 0).pvalue)


def test_all_components_share_coins_and_add_up():
    """Profit is the sum of its lines, with the joint covariance."""
    y = np.random.default_rng(0).normal(size=(28, 2))
    y = np.column_stack([y, y.sum(axis=1)])

    effect = switchback_effect(days(y, seed=1, names=["gmv", "fee", "profit"]))
    lines = effect.linear(np.array([[1.0, 1.0, 0.0]]), ["profit"])

    assert effect.value[2] == pytest.approx(effect.value[0] + effect.value[1], abs=1e-12)
    assert effect.cov[2, 2] == pytest.approx(lines.cov[0, 0])


def test_burn_in_is_dropped_from_every_block():
    """The first hours of a block count nowhere, switched or not."""
    hours = np.tile([100.0, -100.0, 1.0, 3.0], 4)
    on = np.repeat([1, 0, 0, 1], 4)
    design = Switchback.of_periods(
        hours + 5 * on, on, np.repeat(range(4), 4), np.repeat([0, 0, 1, 1], 4), burn_in=2
    )

    assert design.mean[0, :, 0].tolist() == [7.0, 2.0, 2.0, 7.0]
    assert switchback_effect(design).value[0] == pytest.approx(5.0)


def test_missing_hours_in_burn_in_do_no_harm():
    """Only kept periods need an outcome."""
    y = np.array([np.nan, 4.0, np.nan, 1.0])
    design = Switchback.of_periods(y, [1, 1, 0, 0], [0, 0, 1, 1], [0] * 4, burn_in=1)

    assert switchback_effect(design).value[0] == pytest.approx(3.0)
    with pytest.raises(DataError, match="found periods without an outcome"):
        Switchback.of_periods(y, [1, 1, 0, 0], [0, 0, 1, 1], [0] * 4)


def test_groups_with_their_own_coins_are_independent_observations():
    """3 groups x 7 pairs are 21 coins, or 3 groups."""
    y = np.random.default_rng(0).normal(size=(3, 14, 1))
    design = days(y, seed=2, groups=3)

    by_coin, by_group = (switchback_effect(design, by=by) for by in ("coin", "group"))

    assert by_coin.value[0] == pytest.approx(by_group.value[0])
    assert (by_coin.df[0], by_group.df[0]) == (20, 2)


def test_groups_that_switch_together_share_the_coin():
    """A shared schedule of 7 pairs is 7 coins however many groups there are."""
    y = np.random.default_rng(0).normal(size=(3, 14, 1))
    design = Switchback.of_periods(y, [1, 0] * 7, range(14), np.arange(14) // 2)

    assert switchback_effect(design).df[0] == 6
    with pytest.raises(DesignError, match="groups that switch together share every coin"):
        switchback_effect(design, by="group")


def test_days_pair_with_the_same_weekday():
    """In 15 days every weekday meets itself a week later; the last day is left over."""
    pair = weekday_pairs(np.arange(15) % 7)
    design = days(np.arange(15.0), seed=0, pair=pair)

    assert (pair[:7] == pair[7:14]).all()
    assert pair[14] == UNPAIRED
    assert design.note == "1 blocks without a partner are left out"
    assert switchback_effect(design).df[0] == 6


def test_one_pair_has_no_variance():
    """The estimate stays; covariance and p-value do not exist."""
    design = Switchback.of_periods([3.0, 1.0], [1, 0], [0, 1], [0, 0])

    effect = switchback_effect(design).estimate("y")
    result = switchback_inference(design)["y"]

    assert effect.estimate == 2.0
    assert math.isnan(effect.std_error)
    assert math.isnan(result.p_value)


def test_five_pairs_have_no_interval_at_95_percent():
    """32 tosses give no p-value under 2 / 32."""
    y = np.random.default_rng(0).normal(size=10)

    effect = switchback_inference(days(y, seed=0))["y"]

    assert math.isnan(effect.ci_low)
    assert effect.note == (
        "the smallest p-value this design can give is 0.0625: no interval at 95%"
    )


@pytest.mark.parametrize(
    "pair", [np.arange(28) // 2, weekday_pairs(np.arange(28) % 7)], ids=["adjacent", "weekday"]
)
def test_carry_over_is_found_exactly_without_noise(pair):
    """What yesterday's state adds is the coefficient, whatever today's does."""
    rng = np.random.default_rng(3)
    count = 28
    on = draw_switchback(pair, seed=4)[0]
    y = 7.0 + 5 * on + 2 * np.concatenate([[0], on[:-1]]) + 1e-6 * rng.normal(size=count)
    design = Switchback.of_periods(y, on, range(count), pair)

    found = carry_over(design)

    assert found.names == ("y@previous",)
    assert found.value[0] == pytest.approx(2.0, abs=1e-4)


def test_carry_over_is_hc2_of_least_squares_on_pair_differences():
    """The same coefficient and HC2 standard error as statsmodels."""
    import statsmodels.api as sm

    design = lingering_days(np.random.default_rng(5), effect=1.0, linger=0.5)
    mean, on = design.mean[0, :, 0], design.is_on[0] * 1.0
    first, second = np.arange(2, 28, 2), np.arange(3, 28, 2)
    x = np.column_stack([np.ones(13), on[first] - on[second], on[first - 1] - on[second - 1]])
    fit = sm.OLS(mean[first] - mean[second], x).fit(cov_type="HC2")

    found = carry_over(design).estimate("y@previous")

    assert found.estimate == pytest.approx(fit.params[2])
    assert found.std_error == pytest.approx(fit.bse[2])
    assert 1 < found.df < 13


def test_too_few_pairs_have_no_carry_over_test():
    """Three pairs leave nothing to estimate it from."""
    found = carry_over(days(np.arange(6.0), seed=0))

    assert np.isnan(found.value).all()


@pytest.mark.parametrize(
    ("on", "block", "pair", "message"),
    [
        ([1, 0, 0, 0], [0, 0, 1, 1], [0] * 4, "a state changes inside a block"),
        ([1, 1, 1, 1], [0, 0, 1, 1], [0] * 4, r"holds 2 blocks with \[2\] on"),
        ([1, 1, 0, 0], [0, 0, 1, 1], [-1] * 4, "has no pairs"),
        ([1, 1, 0, 1], [0, 0, 1, 0], [0] * 4, "must be longer, in order of time"),
    ],
)
def test_designs_that_are_no_switchback_are_mistakes(on, block, pair, message):
    """What was found is in the message."""
    with pytest.raises(DesignError, match=message):
        Switchback.of_periods(np.zeros(4), on, block, pair)


def test_a_burn_in_longer_than_a_block_is_a_mistake():
    """Nothing would be left of the block."""
    with pytest.raises(DesignError) as caught:
        Switchback.of_periods(np.zeros(4), [1, 1, 0, 0], [0, 0, 1, 1], [0] * 4, burn_in=2)

    assert str(caught.value) == (
        "the switchback drops 2 periods of 2 blocks, the shortest of 2; blocks must be longer, "
        "in order of time."
    )


@pytest.mark.parametrize("order", [1, 2])
def test_horvitz_thompson_is_unbiased_over_all_coins(order):
    """With carry-over, its mean over all 2^6 tosses is the total effect."""
    rng = np.random.default_rng(0)
    coin = np.array([0, 0, 1, 2, 3, 3, 4, 4, 4, 5])
    level = rng.normal(size=10)

    found = []
    for tosses in product([0, 1], repeat=6):
        on = np.array(tosses)[coin]
        before = [
            np.concatenate([[0] * lag, on[: len(on) - lag]]) for lag in range(1, order + 1)
        ]
        y = level + 2.0 * on + 2.0 * sum(before)
        found.append(horvitz_thompson(y, on, coin, order=order)[0])

    assert np.mean(found) == pytest.approx(2.0 * order + 2.0)
    with pytest.raises(DesignError, match="order 10 needs more than 10 periods"):
        horvitz_thompson(level, level > 0, coin, order=10)


def test_horvitz_thompson_p_value_is_a_share_of_all_tosses():
    """Counted by hand over 2^6 tosses on outcomes less their mean; a level does not matter."""
    rng = np.random.default_rng(1)
    coin = np.array([0, 0, 1, 2, 2, 3, 4, 4, 4, 5])
    on = np.array([1, 0, 1, 1, 0, 1])[coin]
    y = rng.normal(size=10) + 2.0 * on
    centred = y - y.mean()
    every = [
        abs(horvitz_thompson(centred, np.array(tosses)[coin], coin, order=1)[0])
        for tosses in product([0, 1], repeat=6)
    ]
    observed = abs(horvitz_thompson(centred, on, coin, order=1)[0])

    effect = horvitz_thompson_inference(y, on, coin, order=1)[0]
    lifted = horvitz_thompson_inference(y + 1e6, on, coin, order=1)[0]

    assert effect.p_value == pytest.approx((np.array(every) >= observed - 1e-9).mean())
    assert lifted.p_value == effect.p_value
    assert effect.estimate == pytest.approx(horvitz_thompson(y, on, coin, order=1)[0])


def test_under_no_effect_neither_test_rejects_too_often():
    """Smoke, 400 runs of 14 pairs: t, tossed coins and carry-over reject at most 8 %."""
    rng = np.random.default_rng(21)
    rejected = np.zeros((400, 3))
    for i in range(400):
        design = lingering_days(rng, effect=0.0, linger=0.0)
        rejected[i] = (
            switchback_effect(design).estimate("y").p_value <= 0.05,
            switchback_inference(design, draws=99, seed=i)["y"].p_value <= 0.05,
            carry_over(design).estimate("y@previous").p_value <= 0.05,
        )

    assert (rejected.mean(axis=0) <= 0.08).all()


def test_a_lingering_effect_is_seen():
    """What lingers of yesterday, at two standard deviations, is found in most runs."""
    rng = np.random.default_rng(22)
    found = [
        carry_over(lingering_days(rng, effect=1.0, linger=2.0, pairs=30))
        .estimate("y@previous")
        .p_value
        <= 0.05
        for _ in range(50)
    ]

    assert np.mean(found) > 0.8
