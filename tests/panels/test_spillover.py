"""Saturation designs, business stealing and the units that decide an answer."""

import math

import numpy as np
import pytest

from upliftlab.data.panel import NEVER
from upliftlab.errors import DesignError
from upliftlab.panels.cohort_forms import group_time_forms
from upliftlab.panels.saturation import saturation_effects, saturation_means
from upliftlab.panels.spillover import business_stealing, influence, leave_one_out
from upliftlab.panels.wild import ClusterScores
from upliftlab.stats.clusters import arm_mean, difference


def two_stage(rng, *, saturations=(0.0, 0.5, 1.0), clusters=10, units=8):
    """Clusters drawn to saturations, units within; returns keywords without outcomes."""
    share = np.repeat(saturations, clusters)
    cluster = np.repeat(np.arange(len(share)), units)
    order = rng.permuted(np.tile(np.arange(units), (len(share), 1)), axis=1)
    treated = (order < np.round(share * units)[:, None]).ravel()
    return {"cluster": cluster, "treated": treated, "saturation": share[cluster]}


def noise(rng, design, columns=1):
    cluster = design["cluster"]
    shock = rng.normal(size=(cluster.max() + 1, columns))
    return shock[cluster] + rng.normal(size=(len(cluster), columns))


def values(joint):
    return dict(zip(joint.names, joint.value.tolist(), strict=True))


def test_effects_are_those_of_the_potential_outcomes():
    """Own treatment adds 5, half a cluster treated takes 2 from everyone, all of it 3."""
    design = two_stage(np.random.default_rng(0))
    taken = {0.0: 0.0, 0.5: 2.0, 1.0: 3.0}
    y = 5.0 * design["treated"] - np.array([taken[s] for s in design["saturation"]])

    found = values(saturation_effects(y, **design))

    assert found == pytest.approx(
        {
            "y@direct 50%": 5.0,
            "y@spillover 50%": -2.0,
            "y@total 50%": 3.0,
            "y@overall 50%": 0.5,
            "y@total 100%": 2.0,
            "y@overall 100%": 2.0,
        }
    )


def test_total_is_direct_plus_spillover_with_its_covariance():
    """The identity holds for estimates and through the joint covariance, per component."""
    rng = np.random.default_rng(1)
    design = two_stage(rng, saturations=(0.0, 0.25, 0.75))
    effects = saturation_effects(noise(rng, design, 2), **design, names=["gmv", "fee"])

    for name in ("gmv", "fee"):
        row = np.zeros(len(effects.names))
        row[[effects.index(f"{name}@direct 75%"), effects.index(f"{name}@spillover 75%")]] = 1
        summed = effects.linear(row[None], ["total"])
        total = effects.estimate(f"{name}@total 75%")

        assert summed.value[0] == pytest.approx(total.estimate)
        assert math.sqrt(summed.cov[0, 0]) == pytest.approx(total.std_error)


def test_lines_add_up_to_profit():
    """Every effect of profit is the sum of the effects of its lines."""
    rng = np.random.default_rng(2)
    design = two_stage(rng)
    lines = 1e6 * noise(rng, design, 2)
    y = np.column_stack([lines, lines.sum(axis=1)])

    found = values(saturation_effects(y, **design, names=["gmv", "fee", "profit"]))

    for effect in ("direct 50%", "spillover 50%", "overall 100%"):
        parts = found[f"gmv@{effect}"] + found[f"fee@{effect}"]
        assert found[f"profit@{effect}"] == pytest.approx(parts, rel=1e-9)


@pytest.mark.parametrize("weigh", ["cluster", "unit"])
def test_overall_effect_is_the_cluster_contrast(weigh):
    """Wholly treated against untreated clusters, unequal sizes, as in stats.clusters."""
    rng = np.random.default_rng(3)
    size = np.array([3, 5, 9, 4, 7, 2, 6, 8])
    cluster = np.repeat(np.arange(8), size)
    treated = cluster < 4
    y = rng.normal(size=8)[cluster] + rng.normal(size=len(cluster))
    total = np.bincount(cluster, y)
    m, z = (size, total) if weigh == "unit" else (np.ones(8), total / size)
    known = difference(arm_mean(m[:4], z[:4]), arm_mean(m[4:], z[4:]))

    found = saturation_effects(
        y, cluster=cluster, treated=treated, saturation=treated * 1.0, weigh=weigh
    ).estimate("y@overall 100%")

    assert found.estimate == pytest.approx(known.estimate)
    assert found.std_error == pytest.approx(known.std_error)


def test_direct_effect_uses_that_both_groups_share_clusters():
    """Its standard error is that of the clusters' own differences, as in a paired test."""
    rng = np.random.default_rng(4)
    design = two_stage(rng)
    y = noise(rng, design)[:, 0]
    by_cluster = [
        y[(design["cluster"] == j) & design["treated"]].mean()
        - y[(design["cluster"] == j) & ~design["treated"]].mean()
        for j in range(10, 20)
    ]

    found = saturation_effects(y, **design).estimate("y@direct 50%")

    assert found.estimate == pytest.approx(np.mean(by_cluster))
    assert found.std_error == pytest.approx(np.std(by_cluster, ddof=1) / math.sqrt(10))
    assert found.df == pytest.approx(9)


def test_another_base_than_untreated_clusters_is_allowed():
    """Against 25 %, its own direct effect is shown as well."""
    rng = np.random.default_rng(5)
    design = two_stage(rng, saturations=(0.25, 0.75))
    effects = saturation_effects(noise(rng, design), **design, base=0.25)

    assert effects.names == (
        "y@direct 25%",
        "y@direct 75%",
        "y@spillover 75%",
        "y@total 75%",
        "y@overall 75%",
    )


def test_one_cluster_of_a_saturation_has_no_variance():
    """The number stays; its standard error does not exist; others are left alone."""
    rng = np.random.default_rng(6)
    design = two_stage(rng, saturations=(0.0, 0.5, 1.0))
    keep = (design["saturation"] < 1) | (design["cluster"] == 20)
    y = noise(rng, design)[keep]

    effects = saturation_effects(y, **{key: each[keep] for key, each in design.items()})

    assert math.isnan(effects.estimate("y@total 100%").std_error)
    assert math.isfinite(effects.estimate("y@total 100%").estimate)
    assert effects.estimate("y@total 50%").std_error > 0


def test_means_count_clusters_that_hold_such_units():
    """A wholly treated saturation has no untreated mean."""
    low, high = saturation_means(
        [1.0, 3.0, 5.0], cluster=[0, 1, 2], treated=[0, 0, 1], saturation=[0, 0, 1]
    )

    assert low.clusters.tolist() == [0, 2, 2]
    assert high.clusters.tolist() == [1, 0, 1]
    assert np.isnan(high.mean[1]).all()


def test_mistaken_saturations_are_named():
    """A cluster has one saturation, and the base must exist."""
    with pytest.raises(DesignError, match="1 clusters hold several saturations"):
        saturation_effects(
            np.zeros(3), cluster=[0, 0, 1], treated=[1, 0, 0], saturation=[0.5, 1.0, 0.0]
        )
    with pytest.raises(DesignError, match=r"compare with clusters at 0%; found .*\[0.5\]"):
        saturation_effects(np.zeros(2), cluster=[0, 0], treated=[1, 0], saturation=[0.5, 0.5])


def test_under_no_effect_saturation_tests_keep_their_size():
    """Smoke, 400 runs of 3 x 10 clusters: every effect rejects at most 8 %."""
    rng = np.random.default_rng(31)
    rejected = []
    for _ in range(400):
        design = two_stage(rng)
        effects = saturation_effects(noise(rng, design), **design)
        rejected.append([effects.estimate(name).p_value <= 0.05 for name in effects.names])

    assert (np.mean(rejected, axis=0) <= 0.08).all()


def stealing_market(rng, *, steal):
    """10 clusters each wholly treated, half treated and untreated; gain 10, part is stolen."""
    design = two_stage(rng)
    cluster, treated = design["cluster"], design["treated"]
    gain = 10.0 * treated
    of_cluster = np.bincount(cluster, gain) / 8
    y = gain - steal * of_cluster[cluster] + 0.5 * noise(rng, design)[:, 0]
    return {"y": y, "cluster": cluster, "treated": treated}


def test_stealing_inflates_the_contrast_within_clusters():
    """40 % of the gain is taken from mates: within 10, between 6, and the sentence says so."""
    result = business_stealing(
        **stealing_market(np.random.default_rng(0), steal=0.4), names=["gmv"]
    )
    within, between, gap = (
        each.estimate("gmv") for each in (result.within, result.between, result.gap)
    )

    assert within.ci_low < 10 < within.ci_high
    assert between.ci_low < 6 < between.ci_high
    assert gap.ci_low < 4 < gap.ci_high
    assert gap.std_error == pytest.approx(math.hypot(within.std_error, between.std_error))
    assert result.sentences[0].endswith("was moved from neighbours: use the cluster contrast.")


def test_gains_that_neighbours_share_are_not_called_stealing():
    """Where neighbours gain as well, the contrast within is too small."""
    result = business_stealing(**stealing_market(np.random.default_rng(0), steal=-0.4))

    assert result.gap.value[0] < 0
    assert result.sentences[0].endswith(
        "is what happened to neighbours too: use the cluster contrast."
    )


def test_a_gap_within_chance_is_called_that():
    """Without stealing the sentence gives the range that is left open."""
    result = business_stealing(**stealing_market(np.random.default_rng(1), steal=0.0))

    assert "may be chance (p" in result.sentences[0]


def test_creator_level_randomisation_alone_is_warned_about():
    """With every cluster mixed there is no cluster contrast, and the sentence says so."""
    y, cluster = [3.0, 1.0, 4.0, 1.0], [0, 0, 1, 1]

    result = business_stealing(y, cluster=cluster, treated=[1, 0, 1, 0], names=["gmv"])

    assert np.isnan(result.gap.value).all()
    assert result.sentences[0] == (
        "gmv: units were compared within clusters only (2.5); what they took from each other "
        "stays in it until whole clusters are compared."
    )


def test_too_few_clusters_are_not_judged():
    """One mixed cluster gives a gap without a standard error."""
    result = business_stealing([3.0, 1.0, 4.0, 1.0], cluster=[0, 0, 1, 2], treated=[1, 0, 1, 0])

    assert result.gap.value[0] == pytest.approx(-1.0)
    assert result.sentences[0].endswith(
        "has too few clusters to be judged: use the cluster contrast."
    )


def test_clusters_assigned_whole_have_nothing_to_compare():
    """The cluster contrast alone is free of stealing."""
    with pytest.raises(DesignError, match="none of 2 clusters holds both"):
        business_stealing([1.0, 2.0], cluster=[0, 1], treated=[1, 0])


def test_leaving_a_cluster_out_is_estimating_without_it():
    """Exact for every functional and cluster, sizes unequal."""
    rng = np.random.default_rng(0)
    size = rng.integers(1, 9, size=10).astype(float)
    treated = np.array([True] * 5 + [False] * 5)
    total = rng.normal(size=(10, 3))
    names = ["a", "b", "c"]

    found = leave_one_out(ClusterScores.of_two_arms(total, treated, size=size, names=names))

    for j in range(10):
        keep = np.arange(10) != j
        rest = ClusterScores.of_two_arms(
            total[keep], treated[keep], size=size[keep], names=names
        )
        assert found[j] == pytest.approx(rest.joint().value)


def test_the_only_cluster_of_a_cohort_cannot_be_left_out():
    """Without it the functional does not exist; functionals without it do."""
    start = np.array([1, 3, 3, NEVER, NEVER])
    y = np.random.default_rng(0).normal(size=(5, 5, 1))
    forms = group_time_forms(start, 5, horizons=[1, 2])
    scores = forms.scores(y, start, names=["y"])

    without = leave_one_out(scores)

    assert np.isnan(without[0]).all()
    assert np.isfinite(without[1:]).all()


def test_a_mega_creator_is_reported_with_and_without():
    """One creator 50 times as large decides the effect on sales."""
    sales = np.array([10.0, 12, 11, 500, 9, 10, 11, 10])
    gain = np.array([0.5, 0.2, 0.4, 60, 0.1, 0.0, 0.2, 0.1])
    scores = ClusterScores.of_two_arms(gain, [True] * 4 + [False] * 4)

    found = influence(scores, scale=sales)

    assert found.largest == 3
    assert found.strongest.tolist() == [3]
    assert found.estimate[0] == pytest.approx(15.175)
    assert found.without_largest[0] == pytest.approx(1.1 / 3 - 0.1)
