"""Arm means on moments: traps with known answers, and laws that always hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from upliftlab.data.cells import Cells, ClusterCells
from upliftlab.estimators.ab import estimate
from upliftlab.estimators.effects import Effects
from upliftlab.estimators.metrics import metric_effect
from upliftlab.plan.metrics import Metric
from upliftlab.stats import clusters as cluster_stats, moments
from upliftlab.stats.joint import Joint
from upliftlab.stats.means import ArmPair, cuped_two_arms, welch


def cells_of(blocks, names=("y",), keys=("arm",)):
    """Cells from {labels: rows [N, K]}."""
    parts = [moments.of_rows(np.asarray(rows, dtype=float)) for rows in blocks.values()]
    return Cells(
        keys=tuple(keys),
        labels=tuple(label if isinstance(label, tuple) else (label,) for label in blocks),
        names=tuple(names),
        n=np.array([part[0] for part in parts]),
        mean=np.stack([part[1] for part in parts]),
        m2=np.stack([part[2] for part in parts]),
    )


def population(n, mean, covariance):
    """Moments of n units whose sample moments are exactly these."""
    return n, np.asarray(mean, dtype=float), (n - 1) * np.asarray(covariance, dtype=float)


def cells_from(parts, names):
    """Cells from {arm: (n, mean, m2)}."""
    return Cells(
        keys=("arm",),
        labels=tuple((arm,) for arm in parts),
        names=tuple(names),
        n=np.array([part[0] for part in parts.values()]),
        mean=np.stack([part[1] for part in parts.values()]),
        m2=np.stack([part[2] for part in parts.values()]),
    )


def clustered(arms):
    """Cells and cluster cells from {arm: (sizes, sums)} of one component."""
    found = {arm: cluster_stats.arm_mean(sizes, sums) for arm, (sizes, sums) in arms.items()}
    plain = cells_from(
        {arm: (int(f.n), f.mean, np.zeros((1, 1))) for arm, f in found.items()}, ["y"]
    )
    return plain, ClusterCells(
        keys=("arm",),
        labels=tuple((arm,) for arm in found),
        names=("y",),
        n=np.array([int(f.n) for f in found.values()]),
        clusters=np.array([f.clusters for f in found.values()]),
        mean=np.stack([f.mean for f in found.values()]),
        cov=np.stack([f.cov for f in found.values()]),
        df=np.array([f.df for f in found.values()]),
        size_cv=np.array([f.size_cv for f in found.values()]),
    )


def effect_of(effects, arm="t", name="y"):
    """One mean's effect with its relative form."""
    return metric_effect(effects, Metric(name=name, mean=name), arm)


A6 = {
    "c": population(53, [0.5660377358], [[0.7888243832]]),
    "t": population(47, [0.3829787234], [[0.5023126735]]),
}


def test_difference_matches_tea_tasting():
    """Case A6: tea-tasting tests/metrics/test_mean.py, two-sided Welch on 100 users."""
    found = effect_of(estimate(cells_from(A6, ["y"]), arms=["c", "t"], control="c")).effect

    assert found.estimate == pytest.approx(-0.18305901244480127, abs=1e-9)
    assert found.ci_low == pytest.approx(-0.5004359360, abs=1e-8)
    assert found.ci_high == pytest.approx(0.1343179111, abs=1e-8)
    assert found.p_value == pytest.approx(0.2551230546709908, abs=1e-8)
    assert found.df == pytest.approx(96.97004, abs=1e-4)


def test_relative_difference_is_fieller_s():
    """Case A6: the Fieller interval of the share, computed outside of this package."""
    found = effect_of(estimate(cells_from(A6, ["y"]), arms=["c", "t"], control="c")).effect

    assert found.rel_estimate == pytest.approx(-0.32340425531914896, abs=1e-9)
    assert found.rel_ci_low == pytest.approx(-0.7069559, abs=1e-6)
    assert found.rel_ci_high == pytest.approx(0.3632199, abs=1e-6)


def test_relative_difference_keeps_better_positive_where_control_loses():
    """Case A8 of gbstats: from -10 to -5 is +50 %, interval included."""
    parts = {"c": population(400, [-10.0], [[4.0]]), "t": population(400, [-5.0], [[4.0]])}
    found = effect_of(estimate(cells_from(parts, ["y"]), arms=["c", "t"], control="c")).effect

    assert found.rel_estimate == pytest.approx(0.5)
    assert 0.47 < found.rel_ci_low < 0.5 < found.rel_ci_high < 0.53


def test_ratio_metric_matches_tea_tasting_up_to_its_pooled_variance():
    """Case C5 of tea-tasting: t -1.0794048813 with one pooled variance, ours has one per arm.

    Levels are the same; where shares or variances differ between arms, one pooled variance is
    wrong under unequal allocation, so it is not offered.
    """
    parts = {
        "c": population(
            53,
            [0.5660377358, 1.9811320755],
            [[0.7888243832, 0.3955007257], [0.3955007257, 0.9804063861]],
        ),
        "t": population(
            47,
            [0.3829787234, 1.8936170213],
            [[0.5023126735, 0.1503237743], [0.1503237743, 0.7927844588]],
        ),
    }
    effects = estimate(cells_from(parts, ["orders", "sessions"]), arms=["c", "t"], control="c")
    metric = Metric(name="orders per session", ratio=("orders", "sessions"))
    found = metric_effect(effects, metric, "t")

    def variance(arm):
        n, mean, m2 = parts[arm]
        gradient = np.array([1, -mean[0] / mean[1]]) / mean[1]
        return gradient @ (m2 / (n - 1)) @ gradient

    v_c, v_t = variance("c"), variance("t")
    pooled = (52 * v_c + 46 * v_t) / 98 * (1 / 53 + 1 / 47)
    assert found.control == pytest.approx(0.2857142857, abs=1e-9)
    assert found.treatment == pytest.approx(0.2022471910, abs=1e-9)
    # Reference: statistic -1.0794048813446926, p (greater) 0.8584716347525132, df 98.
    statistic = found.effect.estimate / math.sqrt(pooled)
    assert statistic == pytest.approx(-1.0794048813446926, abs=1e-8)
    assert stats.t.sf(statistic, 98) == pytest.approx(0.8584716347525132, abs=1e-8)
    assert found.effect.std_error**2 == pytest.approx(v_c / 53 + v_t / 47, rel=1e-12)
    assert found.effect.estimate / found.effect.std_error == pytest.approx(-1.0864, abs=1e-4)


C7 = {
    "c": population(
        53,
        [5.0298113208, 3.569245283],
        [[62.7168980406, 34.5292863933], [34.5292863933, 74.8456686502]],
    ),
    "t": population(
        47,
        [5.43, 7.5880851064],
        [[250.2846782609, 409.7565826087], [409.7565826087, 936.2922114709]],
    ),
}


def test_cuped_can_turn_the_sign():
    """Case C7 of tea-tasting 1.14.0: +0.400 unadjusted, -1.3549 adjusted.

    Its slope comes from all units as one sample, arm means included: ``theta="joint"``. The
    default, a slope per arm, says -1.4034.
    """
    cells = cells_from(C7, ["revenue", "before"])
    plain = estimate(cells.select(["revenue"]), arms=["c", "t"], control="c")
    adjusted = estimate(
        cells, arms=["c", "t"], control="c", covariates=["before"], theta="joint"
    )

    assert effect_of(plain, name="revenue").effect.estimate == pytest.approx(0.4001886792)
    found = effect_of(adjusted, name="revenue")
    assert found.control == pytest.approx(5.854699824608279, abs=1e-8)
    assert found.treatment == pytest.approx(4.499806580760877, abs=1e-8)
    assert found.effect.estimate == pytest.approx(-1.3548932438474015, abs=1e-8)
    assert found.effect.p_value == pytest.approx(0.38351536684388066, abs=1e-8)
    per_arm = estimate(cells, arms=["c", "t"], control="c", covariates=["before"])
    assert effect_of(per_arm, name="revenue").effect.estimate == pytest.approx(
        -1.40338, abs=1e-5
    )


def test_cuped_per_arm_is_the_formula_for_two_arms():
    """Moments of any number of arms give what the closed form gives for two."""
    cells = cells_from(C7, ["revenue", "before"])
    found = estimate(cells, arms=["c", "t"], control="c", covariates=["before"])

    def pair(arm):
        n, mean, m2 = C7[arm]
        cov = m2 / (n - 1)
        return ArmPair(
            n=n,
            mean_y=mean[0],
            var_y=cov[0, 0],
            mean_x=mean[1],
            var_x=cov[1, 1],
            cov_xy=cov[0, 1],
        )

    expected = cuped_two_arms(pair("t"), pair("c"), theta="per_arm")
    effect = effect_of(found, name="revenue").effect
    assert effect.estimate == pytest.approx(expected.estimate, rel=1e-9)
    assert effect.std_error == pytest.approx(expected.std_error, rel=0.02)


def test_cuped_per_arm_counts_that_coefficients_differ():
    """y_T = 2x + e, y_C = e, 500 per arm: SE .08944, not the naive .06325 (computed trap)."""
    parts = {
        "c": population(500, [0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]),
        "t": population(500, [0.0, 0.0], [[5.0, 2.0], [2.0, 1.0]]),
    }
    effects = estimate(
        cells_from(parts, ["y", "x"]), arms=["c", "t"], control="c", covariates=["x"]
    )

    assert effect_of(effects).effect.std_error == pytest.approx(0.08944, rel=2e-3)


def test_variance_kept_is_one_less_the_squared_correlation():
    """Case C8: with the best slope per arm, 1 - rho^2 of the variance is left."""
    block = [[4.0, 1.2], [1.2, 1.0]]
    parts = {"c": population(10**6, [0, 0], block), "t": population(10**6, [0, 0], block)}
    effects = estimate(
        cells_from(parts, ["y", "x"]), arms=["c", "t"], control="c", covariates=["x"]
    )

    assert effects.variance_kept["y"] == pytest.approx(1 - 1.2**2 / 4, rel=1e-6)


@pytest.mark.parametrize("theta", ["per_arm", "within", "joint"])
def test_a_constant_covariate_changes_nothing(theta):
    """A covariate that does not vary gets no coefficient, not a division by 0."""
    rng = np.random.default_rng(5)
    rows = {
        arm: np.column_stack([rng.normal(shift, 1, 50), np.ones(50)])
        for arm, shift in (("c", 0), ("t", 1))
    }
    plain = cells_of({arm: block[:, :1] for arm, block in rows.items()})
    without = estimate(plain, arms=["c", "t"], control="c")
    adjusted = estimate(
        cells_of(rows, ["y", "x"]),
        arms=["c", "t"],
        control="c",
        covariates=["x"],
        theta=theta,
    )

    expected = effect_of(without).effect.estimate
    assert effect_of(adjusted).effect.estimate == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("theta", ["per_arm", "within", "joint"])
def test_a_covariate_counts_the_same_in_fen_and_in_yuan(theta):
    """Money of sd 1e8 fen beside a covariate of sd 1 takes the coefficient of neither."""
    rng = np.random.default_rng(9)
    rows = {
        arm: np.column_stack([x @ [5, 12] + rng.normal(0, 10, 300), x])
        for arm, x in (("c", rng.normal(size=(300, 2))), ("t", rng.normal(size=(300, 2))))
    }

    def error(unit):
        blocks = {arm: block * [1, unit, 1] for arm, block in rows.items()}
        cells = cells_of(blocks, ["y", "money", "visits"])
        found = estimate(
            cells, arms=["c", "t"], control="c", covariates=["money", "visits"], theta=theta
        )
        return effect_of(found).effect.std_error

    assert error(1e8) == pytest.approx(error(1.0), rel=1e-9)
    assert error(1e8) == pytest.approx(10 * math.sqrt(2 / 300), rel=0.1)


def test_a_constant_amount_with_rounding_left_in_it_gets_no_coefficient():
    """A spread of 1e-9 of an amount's size is rounding, however it correlates."""
    rng = np.random.default_rng(10)
    noise = rng.normal(size=(2, 50))
    rows = {
        arm: np.column_stack([y, 1e6 + 1e-3 * y]) for arm, y in zip("ct", noise, strict=True)
    }
    effects = estimate(
        cells_of(rows, ["y", "x"]), arms=["c", "t"], control="c", covariates=["x"]
    )

    assert effect_of(effects).effect.estimate == pytest.approx(
        noise[1].mean() - noise[0].mean()
    )


def test_lines_adjusted_for_covariates_still_add_up():
    """Coefficients are linear in the outcome: sales less goods stays margin after CUPED."""
    rng = np.random.default_rng(6)
    blocks = {}
    for arm in ("c", "t"):
        x = rng.normal(size=(80, 2))
        sales, goods = x @ [1, 2] + rng.normal(size=80), x @ [0, 1] + rng.normal(size=80)
        blocks[arm] = np.column_stack([sales, goods, sales - goods, x])
    names = ["sales", "goods", "margin", "x1", "x2"]
    effects = estimate(
        cells_of(blocks, names), arms=["c", "t"], control="c", covariates=["x1", "x2"]
    )

    value = {name: effect_of(effects, name=name).effect.estimate for name in names[:3]}
    assert value["margin"] == pytest.approx(value["sales"] - value["goods"], abs=1e-12)


def test_units_are_not_unit_days():
    """T1: unit variance 201.0; unit-days say 61.929, daily variances added 141.833."""
    days = np.array([[10, 20], [0, 0], [5, -5], [0, 8]], dtype=float)
    cells = cells_of({"t": days.sum(axis=1, keepdims=True), "c": [[0.0], [1.0]]})
    effects = estimate(cells, arms=["c", "t"], control="c")

    i = effects.arms.index("t")
    assert effects.cov[i, 0, i, 0] * 4 == pytest.approx(201.0)


def test_mechanical_and_behavioural_parts_share_one_covariance():
    """T2: 10 (SE .2) and 5 (SE 1.41421) with covariance -.2; total 15 (SE 1.280625)."""
    effects = Effects(
        arms=("c", "t"),
        control="c",
        names=("sales",),
        n=(1000, 1000),
        mean=np.array([[100.0], [110.0]]),
        cov=np.diag([4.0, 4.0]).reshape(2, 1, 2, 1),
        df=np.array([999.0, 999.0]),
    )
    price_t, price_c = 0.5, 0.4
    parts = effects.linear(
        np.stack(
            [
                effects.weights({"c": {"sales": price_t - price_c}}),
                effects.weights({"t": {"sales": price_t}, "c": {"sales": -price_t}}),
            ]
        ),
        ["mechanical", "behavioural"],
    )
    total = parts.linear(np.array([[1.0, 1.0]]), ["total"])

    assert parts.value == pytest.approx([10.0, 5.0])
    assert np.sqrt(np.diag(parts.cov)) == pytest.approx([0.2, 1.41421], abs=1e-5)
    assert parts.cov[0, 1] == pytest.approx(-0.2)
    assert total.estimate("total").estimate == pytest.approx(15.0)
    assert total.estimate("total").std_error == pytest.approx(1.280625, abs=1e-6)


def ramp_up():
    """100 T and 900 C with outcome 0 in week 1, 500 and 500 with outcome 10 in week 2."""
    sizes = {
        ("t", "1"): (100, 0),
        ("c", "1"): (900, 0),
        ("t", "2"): (500, 10),
        ("c", "2"): (500, 10),
    }
    blocks = {label: np.full((n, 1), float(y)) for label, (n, y) in sizes.items()}
    return cells_of(blocks, keys=("arm", "week"))


def test_a_ramp_up_is_no_effect():
    """T3: shares that change over weeks confound pooled means (4.76190) and not strata (0)."""
    strata = estimate(ramp_up(), arms=["c", "t"], control="c", strata=["week"])
    pooled = estimate(ramp_up(), arms=["c", "t"], control="c")

    assert effect_of(strata).effect.estimate == pytest.approx(0.0, abs=1e-12)
    assert effect_of(pooled).effect.estimate == pytest.approx(4.76190, abs=1e-5)


def test_a_shared_control_makes_totals_depend():
    """Three arms and a control of 1,000, sd 10: SE of summed totals 1,095.45, not 774.60."""
    parts = {arm: population(1000, [0.0], [[100.0]]) for arm in ("a", "b", "c", "control")}
    arms = ["control", "a", "b", "c"]
    effects = estimate(cells_from(parts, ["y"]), arms=arms, control="control")
    weights = np.array([[-3000.0], [1000.0], [1000.0], [1000.0]])
    total = effects.linear(weights[None], ["total"]).estimate("total")

    assert total.std_error == pytest.approx(1095.45, abs=0.01)


def test_thin_strata_are_joined_and_said():
    """A stratum with one unit in an arm does not void the estimate."""
    rng = np.random.default_rng(7)
    blocks = {
        ("t", "a"): rng.normal(size=(50, 1)),
        ("c", "a"): rng.normal(size=(50, 1)),
        ("t", "b"): rng.normal(size=(1, 1)),
        ("c", "b"): rng.normal(size=(3, 1)),
    }
    cells = cells_of(blocks, keys=("arm", "shop"))
    effects = estimate(cells, arms=["c", "t"], control="c", strata=["shop"])

    assert "joined" in effects.note
    assert effect_of(effects).effect.std_error > 0


def test_one_unit_is_not_enough():
    """An arm with one unit gives no number, and says why."""
    cells = cells_of({"c": [[0.0], [1.0]], "t": [[1.0]]})
    found = effect_of(estimate(cells, arms=["c", "t"], control="c")).effect

    assert math.isnan(found.estimate)
    assert found.note == "an arm has fewer than two units"


THIRD_ARM = np.random.default_rng(13).normal(size=(1, 2))


@pytest.mark.parametrize("covariates", [[], ["x"]])
@pytest.mark.parametrize("keys", [("arm",), ("arm", "week")])
def test_a_third_arm_of_one_unit_is_named_and_costs_the_others_nothing(keys, covariates):
    """Its unit adds 1 of 401 to the weights and the common covariate mean, and no NaN."""
    rng = np.random.default_rng(14)
    blocks = {
        (arm, week)[: len(keys)]: np.add([3.0 * (week == "2"), 0], rng.normal(size=(100, 2)))
        for arm in "ct"
        for week in "12"
    }
    options = {"control": "c", "covariates": covariates, "strata": keys[1:]}
    alone = estimate(cells_of(blocks, ["y", "x"], keys), arms=["c", "t"], **options)
    blocks[("z", "2")[: len(keys)]] = THIRD_ARM
    both = estimate(cells_of(blocks, ["y", "x"], keys), arms=["c", "t", "z"], **options)
    expected, found = effect_of(alone).effect, effect_of(both).effect

    assert found.std_error == pytest.approx(expected.std_error, rel=0.005)
    assert found.df == pytest.approx(expected.df, rel=0.005)
    assert math.isnan(effect_of(both, arm="z").effect.std_error)
    assert both.note == "z: no interval, too few units or clusters"
    assert "y" in both.variance_kept if covariates else both.variance_kept is None


def test_a_third_arm_of_one_cluster_costs_the_others_nothing():
    """Two arms with clusters keep their interval and degrees of freedom beside it."""
    arms = {"c": ([2, 2, 2], [2.0, 3.0, 4.0]), "t": ([2, 3, 2], [5.0, 3.0, 6.0])}
    plain, by_cluster = clustered(arms)
    alone = effect_of(estimate(plain, arms=["c", "t"], control="c", clusters=by_cluster))
    plain, by_cluster = clustered(arms | {"z": ([5], [9.0])})
    effects = estimate(plain, arms=["c", "t", "z"], control="c", clusters=by_cluster)
    both = effect_of(effects)

    assert both.effect.std_error == pytest.approx(alone.effect.std_error)
    assert both.effect.df == pytest.approx(alone.effect.df)
    assert math.isnan(effect_of(effects, arm="z").effect.std_error)


def test_strata_that_an_arm_never_had_are_joined_to_one_that_it_had():
    """An arm that was off in weeks 1 and 2 keeps its interval, from all weeks as one."""
    rng = np.random.default_rng(15)
    blocks = {("c", week): rng.normal(size=(50, 1)) for week in "123"}
    blocks["t", "3"] = rng.normal(size=(50, 1))
    effects = estimate(
        cells_of(blocks, keys=("arm", "week")), arms=["c", "t"], control="c", strata=["week"]
    )

    assert effect_of(effects).effect.std_error > 0
    assert "3 strata were joined" in effects.note


def test_an_arm_without_clusters_has_no_variance():
    """An arm that the cluster table does not hold is unknown, not certain."""
    plain, by_cluster = clustered({"c": ([2, 2, 2], [2.0, 3.0, 4.0])})
    more = plain + cells_from({"t": (4, np.array([1.0]), np.zeros((1, 1)))}, ["y"])
    found = effect_of(estimate(more, arms=["c", "t"], control="c", clusters=by_cluster)).effect

    assert math.isnan(found.std_error)


def test_clusters_of_one_unit_are_units():
    """CR2 over clusters of size 1 is Welch's variance; df are those of equal variances."""
    rng = np.random.default_rng(8)
    rows = {"c": rng.normal(size=30), "t": rng.normal(1, 2, size=20)}
    plain, by_cluster = clustered({arm: (np.ones(len(y)), y) for arm, y in rows.items()})
    found = effect_of(estimate(plain, arms=["c", "t"], control="c", clusters=by_cluster))
    expected = welch(
        mean_t=rows["t"].mean(),
        var_t=rows["t"].var(ddof=1),
        n_t=20,
        mean_c=rows["c"].mean(),
        var_c=rows["c"].var(ddof=1),
        n_c=30,
    )

    assert found.effect.estimate == pytest.approx(expected.estimate)
    assert found.effect.std_error == pytest.approx(expected.std_error)


def coverage_of_clusters(design, runs, seed):
    """Share of 95 % intervals that hold the true effect 0; effects of 1 sd per cluster."""
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(runs):
        arms = {}
        for arm, (number, spread) in design.items():
            sizes = np.ceil(100 * np.exp(rng.normal(0, spread, number)))
            noise = rng.normal(size=number) + rng.normal(size=number) / np.sqrt(sizes) * 3
            arms[arm] = (sizes, sizes * noise)
        plain, by_cluster = clustered(arms)
        effects = estimate(plain, arms=["c", "t"], control="c", clusters=by_cluster)
        hits += not effect_of(effects).effect.excludes(0.0)
    return hits / runs


FEW_CLUSTERS = {
    "3 v 9 of equal size": {"t": (3, 0.0), "c": (9, 0.0)},
    "6 v 6 of varying size": {"t": (6, 0.6), "c": (6, 0.6)},
}


@pytest.mark.parametrize("design", FEW_CLUSTERS)
def test_few_clusters_are_covered_smoke(design):
    """200 runs at 95 %: at least 90 %, where t(G-1) falls to 91.5 and 89.0 (simulated trap)."""
    assert coverage_of_clusters(FEW_CLUSTERS[design], runs=200, seed=11) >= 0.90


@pytest.mark.slow
@pytest.mark.parametrize("design", FEW_CLUSTERS)
def test_few_clusters_are_covered(design):
    """Coverage is not below 93.5 % by a binomial test at 0.001 over 4,000 runs."""
    runs = 4000
    covered = coverage_of_clusters(FEW_CLUSTERS[design], runs=runs, seed=12)

    assert stats.binomtest(round(covered * runs), runs, 0.935, "less").pvalue > 0.001


def rejections(runs, seed, **options):
    """A/A runs of two arms with skewed outcomes and a covariate: share with p < 0.05."""
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(runs):
        blocks = {}
        for arm, n in (("c", 300), ("t", 200)):
            x = rng.exponential(size=n)
            blocks[arm] = np.column_stack([0.7 * x + rng.exponential(size=n), x])
        cells = cells_of(blocks, ["y", "x"])
        effects = estimate(cells, arms=["c", "t"], control="c", **options)
        found += effect_of(effects).effect.p_value < 0.05
    return found


@pytest.mark.parametrize("theta", ["per_arm", "within", "joint"])
def test_a_a_tests_reject_as_often_as_promised(theta):
    """Case C9: 500 A/A runs reject at 5 %, within the central 99.9 % of the binomial."""
    runs = 500
    low, high = stats.binom.interval(0.999, runs, 0.05)

    assert low <= rejections(runs, 21, covariates=["x"], theta=theta) <= high


def test_ratio_metrics_agree_with_clustered_least_squares():
    """Case C9: the delta method is OLS of sessions' orders, clustered by user, within 1e-3."""
    import statsmodels.api as sm

    rng = np.random.default_rng(31)
    users, blocks, rows = 0, {}, []
    for arm, rate in (("c", 0.30), ("t", 0.33)):
        sessions = rng.integers(1, 8, 1500)
        habit = rng.beta(3 * rate, 3 * (1 - rate), 1500)
        orders = rng.binomial(sessions, habit)
        blocks[arm] = np.column_stack([orders, sessions])
        for s, o in zip(sessions, orders, strict=True):
            rows.extend((float(arm == "t"), float(k < o), users) for k in range(s))
            users += 1
    table = np.array(rows)
    fit = sm.OLS(table[:, 1], sm.add_constant(table[:, 0])).fit(
        cov_type="cluster", cov_kwds={"groups": table[:, 2].astype(int)}
    )
    effects = estimate(cells_of(blocks, ["orders", "sessions"]), arms=["c", "t"], control="c")
    metric = Metric(name="orders per session", ratio=("orders", "sessions"))
    found = metric_effect(effects, metric, "t").effect

    assert found.estimate == pytest.approx(fit.params[1], abs=1e-12)
    assert found.std_error == pytest.approx(fit.bse[1], rel=1e-3)


def test_adjusted_p_values_match_statsmodels():
    """Case G1: Holm of .005 .06 .007 .04 .01 .03 is .03 .09 .035 .09 .04 .09."""
    found = multipletests([0.005, 0.06, 0.007, 0.04, 0.01, 0.03], method="holm")[1]

    assert found == pytest.approx([0.03, 0.09, 0.035, 0.09, 0.04, 0.09])


def test_estimates_of_one_covariance_stay_together():
    """A contrast of the joint vector is the contrast of the effects."""
    effects = estimate(cells_from(A6, ["y"]), arms=["c", "t"], control="c")
    both = effects.linear(
        np.stack([effects.weights({"t": {"y": 1.0}}), effects.weights({"c": {"y": 1.0}})]),
        ["t", "c"],
    )

    assert isinstance(both, Joint)
    gap = both.linear(np.array([[1.0, -1.0]]), ["gap"]).estimate("gap")
    assert gap.std_error == pytest.approx(effect_of(effects).effect.std_error)
