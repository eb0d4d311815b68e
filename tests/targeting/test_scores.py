"""Scores are unbiased, linear in prices, and say when assignment was not chance."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.errors import DataError, DesignError, UpliftlabError
from upliftlab.targeting.folds import folds
from upliftlab.targeting.scores import component_scores, price_matrix

ARMS = ("none", "coupon")
PARTS = ("sales", "cost")


def draw(n=6_000, *, seed=0, chance=0.5, effect=1.0):
    """Sales with a prognostic column; the coupon adds ``effect`` and costs 1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    arm = (rng.random(n) < chance).astype(np.int8)
    sales = 3 * x[:, 0] + effect * arm + rng.normal(size=n)
    return x, np.column_stack([sales, arm]).astype(np.float32), arm


def score(x, y, arm, propensity=(0.5, 0.5), **more):
    given = {"arms": ARMS, "components": PARTS} | more
    return component_scores(x, y, arm, propensity, **given)


def test_the_effect_is_found_with_less_noise_than_a_difference_of_means():
    """The mean contrast is near 1; its standard error is far below the raw one."""
    x, y, arm = draw()
    contrast = score(x, y, arm).worth([1, 0]).contrast[:, 0]
    raw = sum(y[arm == a, 0].var() / (arm == a).sum() for a in (0, 1)) ** 0.5

    assert contrast.mean() == pytest.approx(1, abs=0.1)
    assert contrast.std() / len(x) ** 0.5 < 0.5 * raw


@pytest.mark.parametrize("nuisance", ["pooled", "per_arm"])
def test_means_of_scores_are_unbiased(nuisance):
    """Over 30 draws at chance .2, the average estimate is the effect, within 4 errors."""
    found = []
    for seed in range(30):
        x, y, arm = draw(600, seed=seed, chance=0.2)
        scores = score(x, y, arm, (0.8, 0.2), nuisance=nuisance)
        found.append(scores.worth([1, -0.5]).contrast.mean())

    assert abs(np.mean(found) - 0.5) < 4 * np.std(found) / 30**0.5


def test_prices_are_linear_and_need_no_refit():
    """Worth at a sum of prices is the sum of worths; a constant moves one arm alone."""
    x, y, arm = draw()
    scores = score(x, y, arm, prices=[0.4, -1.0])
    both = scores.worth([0.4, -1.0]).value
    apart = 0.4 * scores.worth([1, 0]).value + -1 * scores.worth([0, 1]).value
    message = scores.worth([0.4, -1.0], [0, -0.15]).value

    np.testing.assert_allclose(both, apart, atol=1e-5)
    np.testing.assert_allclose(message - both, np.tile([0, -0.15], (len(x), 1)), atol=1e-5)


def test_scores_do_not_hang_on_a_units_own_fold():
    """Changing one fold's outcomes leaves what others predict for it: the same residuals."""
    x, y, arm = draw()
    fold = folds(arm, count=2)
    other = y.copy()
    other[fold == 0] += 100
    one, two = score(x, y, arm, fold=fold), score(x, other, arm, fold=fold)
    absent = (fold == 0) & (arm == 0)

    np.testing.assert_array_equal(one.psi[absent, 1], two.psi[absent, 1])


def test_units_aside_teach_nobody():
    """Fold -1 is scored by models that never saw it."""
    x, y, arm = draw()
    fold = folds(arm, count=2)
    fold[::3] = -1
    other = y.copy()
    other[::3] = 1e4
    one, two = score(x, y, arm, fold=fold), score(x, other, arm, fold=fold)

    np.testing.assert_array_equal(one.psi[fold >= 0], two.psi[fold >= 0])
    aside = score(x, y, arm, fold=fold).worth([1, 0]).contrast[fold < 0]
    assert aside.mean() == pytest.approx(1, abs=0.15)


def test_strata_with_other_shares_are_not_confounded():
    """Ramp-up: shares by stratum, no effect; pooled shares would say several units."""
    rng = np.random.default_rng(1)
    stratum = np.repeat([0, 1], [2_000, 2_000])
    arm = (rng.random(4_000) < np.where(stratum == 1, 0.5, 0.1)).astype(int)
    y = (10.0 * stratum + rng.normal(size=4_000))[:, None].astype(np.float32)
    x = rng.normal(size=(4_000, 2))
    shares = np.array([[0.9, 0.1], [0.5, 0.5]])
    found = score(x, y, arm, shares, stratum=stratum, components=("sales",))
    contrast = found.worth([1]).contrast

    assert abs(contrast.mean()) < 4 * contrast.std() / 4_000**0.5
    wrong = score(x, y, arm, (1 - arm.mean(), arm.mean()), components=("sales",))
    assert wrong.worth([1]).contrast.mean() > 3


def test_estimated_propensities_undo_confounding():
    """Buyers got more coupons: the naive difference is far off, the score is not."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(8_000, 2)).astype(np.float32)
    arm = (rng.random(8_000) < 1 / (1 + np.exp(-x[:, 0]))).astype(int)
    y = (2 * x[:, 0] + arm + rng.normal(size=8_000))[:, None].astype(np.float32)
    found = score(x, y, arm, None, components=("sales",))

    assert y[arm == 1].mean() - y[arm == 0].mean() > 2
    assert found.worth([1]).contrast.mean() == pytest.approx(1, abs=0.12)
    assert [check.name for check in found.checks] == [
        "few_units",
        "overlap",
        "weighed_balance",
    ]
    assert found.checks[-1].verdict == "pass"


def test_three_arms_have_a_score_each():
    """Every treatment's effect is found against one control."""
    rng = np.random.default_rng(3)
    arm = rng.integers(0, 3, 9_000)
    x = rng.normal(size=(9_000, 2))
    y = (x[:, 0] + np.array([0, 1, -2])[arm] + rng.normal(size=9_000))[:, None]
    found = score(x, y, arm, [1 / 3] * 3, arms=("none", "a", "b"), components=("sales",))

    assert found.psi.shape == (9_000, 3, 1)
    np.testing.assert_allclose(found.worth([1]).contrast.mean(axis=0), [1, -2], atol=0.12)


def test_a_leaking_column_is_named():
    """Visits after assignment differ between arms; the check says which column."""
    x, y, arm = draw()
    x[:, 2] += 0.3 * arm
    checks = {c.name: c for c in score(x, y, arm, names=("a", "b", "visits")).checks}

    assert checks["leakage"].verdict == "fail"
    assert "'visits' differs between 'coupon' and 'none'" in checks["leakage"].message
    assert checks["predictable_arms"].verdict == "fail"


def test_gaps_that_hang_on_the_arm_leak_too():
    """A column missing more often in one arm was measured afterwards."""
    x, y, arm = draw()
    x[(arm == 1) & (np.arange(len(x)) % 10 == 0), 1] = np.nan
    leak = score(x, y, arm).checks[1]

    assert leak.verdict == "fail"
    assert "'column 2'" in leak.message
    assert "in what is missing" in leak.message


def test_assignment_that_hangs_on_two_columns_at_once_is_found():
    """No column alone differs, but the arm can be told: chance did not assign."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(20_000, 2)).astype(np.float32)
    arm = (rng.random(20_000) < np.where(x[:, 0] * x[:, 1] > 0, 0.56, 0.44)).astype(int)
    found = score(x, x, arm)

    assert found.checks[1].verdict == "pass"
    assert found.checks[2].verdict == "fail"


@pytest.mark.parametrize("clusters", [None, 100])
def test_chance_raises_no_alarm(clusters):
    """In 30 true experiments, one by one and by cluster, no check of chance fails."""
    alarms = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        member = None if clusters is None else rng.integers(0, clusters, 2_000)
        arm = rng.integers(0, 2, 2_000)
        level = np.zeros(2_000)
        if member is not None:
            arm = (rng.permutation(clusters) % 2)[member]
            level = rng.normal(size=clusters)[member]
        x = np.column_stack([level + rng.normal(size=2_000), rng.lognormal(0, 1, 2_000)])
        found = score(x, x, arm, cluster=member, seed=seed)
        alarms += sum(check.verdict == "fail" for check in found.checks)

    assert alarms == 0


def test_few_units_in_an_arm_are_told():
    """An arm of 60 customers warns, and is scored all the same."""
    x, y, arm = draw(3_000, chance=0.02)
    found = score(x, y, arm, (0.98, 0.02))

    assert found.checks[0].verdict == "warn"
    assert np.isfinite(found.psi).all()


def test_the_same_seed_gives_the_same_scores():
    """Threads do not change a single bit."""
    x, y, arm = draw()

    np.testing.assert_array_equal(score(x, y, arm).psi, score(x, y, arm).psi)


def test_taking_rows_keeps_everything_aligned():
    """A part of the scores is the scores of that part."""
    x, y, arm = draw()
    cluster = np.arange(len(x)) // 3
    arm = (cluster % 2).astype(np.int8)
    scores = score(x, y, arm, cluster=cluster)
    part, rows = scores.take(np.arange(50)), np.arange(50)

    np.testing.assert_array_equal(
        part.worth([1, 0]).value, scores.worth([1, 0]).take(rows).value
    )
    np.testing.assert_array_equal(part.cluster, cluster[:50])


@pytest.mark.parametrize(
    ("propensity", "message"),
    [
        ((0.5, 0.4), "add up to 0.9; they must add up to 1"),
        ((1.0, 0.0), "arm 'coupon' has probability 0"),
        ((0.5, 0.25, 0.25), "one probability per arm"),
        ([[0.5, 0.5], [0.5, 0.5]], "no stratum of units"),
    ],
)
def test_impossible_propensities_are_refused(propensity, message):
    """Designs must give every arm a chance, adding up to 1."""
    with pytest.raises(DesignError, match=message):
        score(*draw(200), propensity)


def test_missing_outcomes_and_wrong_shapes_are_refused():
    """A unit without an outcome cannot be scored."""
    x, y, arm = draw(200)
    lost = y.copy()
    lost[0, 1] = np.nan

    with pytest.raises(DataError, match="component 'cost' has missing values"):
        score(x, lost, arm)
    with pytest.raises(DataError, match="scores need x"):
        score(x[:5], y, arm)
    with pytest.raises(UpliftlabError, match="nuisance is 'best'"):
        score(x, y, arm, nuisance="best")
    with pytest.raises(UpliftlabError, match="prices have shape"):
        score(x, y, arm).worth([1, 2, 3])


def test_a_price_on_an_unscored_component_is_refused():
    """Unless that component is 0 for everybody."""
    terms = {"none": {}, "coupon": {"goods": -1.0}}

    with pytest.raises(UpliftlabError, match="hangs on component 'goods'"):
        price_matrix(terms, arms=ARMS, components=PARTS)
    prices, _ = price_matrix(terms, arms=ARMS, components=PARTS, idle=("goods",))
    assert not prices.any()


def test_next_to_no_overlap_fails():
    """Where most customers could hardly have had one of the arms, no verdict is safe."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(5_000, 2)).astype(np.float32)
    arm = (rng.random(5_000) < 1 / (1 + np.exp(-6 * x[:, 0]))).astype(int)
    overlap = score(x, x, arm, None).checks[1]

    assert overlap.verdict == "fail"
    assert "next to impossible" in overlap.message


def test_arms_that_trees_cannot_split_are_no_alarm():
    """Where no split has enough units every prediction is the same, but for rounding."""
    rng = np.random.default_rng(5)
    x = np.zeros((6_000, 4), dtype=np.float32)
    for j in range(4):
        x[rng.choice(6_000, 8, replace=False), j] = 1.0
    arm = rng.integers(0, 2, 6_000).astype(np.int8)
    y = rng.normal(size=(6_000, 2)).astype(np.float32)

    told = next(c for c in score(x, y, arm).checks if c.name == "predictable_arms")

    assert (told.verdict, told.value) == ("pass", 0.5)
