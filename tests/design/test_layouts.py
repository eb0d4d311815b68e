"""Roll-outs, switchbacks and geo tests, planned and then run many times."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from upliftlab.design.blocks import pair_blocks, switchback_layout
from upliftlab.design.region_error import region_error
from upliftlab.design.regions import geo_layout, region_sets
from upliftlab.design.series import series_of
from upliftlab.design.simulated import (
    blocks_test,
    clusters_test,
    regions_test,
    simulate_power,
    users_test,
    waves_test,
    weighted_regions_test,
)
from upliftlab.design.trials import run_layout
from upliftlab.design.waves import WavePlan, assign_waves, group_time_noise, staggered_layout
from upliftlab.errors import DefinitionError, DesignError
from upliftlab.experiment import Experiment
from upliftlab.stats.cluster_power import ClusterPlan
from upliftlab.stats.power import TwoMeans, detectable
from upliftlab.stats.schedule_power import period_covariance, switchback_std_error

SMALL = 300
"""Runs of the fast suite: four standard errors of a share of 80 % are 9 points."""
NEAR = 0.092

PLAN = """
name: next
kind: custom
design: {design}
unit: creator
{cluster}period: {period}
arms: {{old: {{control: true}}, new: {{}}}}
costs: {{margin: 35%}}
decide: {{worth_it: 0.5}}
power: {power}
"""


def plan(design, period="week", power="{waves: 3}", cluster="cluster: agency\n"):
    return Experiment.from_text(
        PLAN.format(design=design, period=period, power=power, cluster=cluster)
    )


def noise(groups, periods, *, seed, share=0.6, persistence=0.7):
    """Levels, common shocks, a part that decays, and noise of one period."""
    rng = np.random.default_rng(seed)
    lag = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
    v = np.where(lag == 0, 1.0, share * persistence**lag)
    out = rng.normal(size=(groups, periods)) @ np.linalg.cholesky(v).T
    return 100 * (out + rng.normal(0, 3, (groups, 1)) + rng.normal(0, 1, (1, periods)))


def series(groups, periods, seed=1, **how):
    return series_of(
        noise(groups, periods, seed=seed, **how) + 1000,
        labels=tuple(f"g{i}" for i in range(groups)),
        periods=tuple(map(str, range(periods))),
        size=np.full(groups, 10.0),
    )


def test_noise_is_read_off_a_pilot():
    """2,000 clusters give back what they were made with, levels and shocks aside."""
    found = series(2000, 12)

    assert found.sd == pytest.approx(100, rel=0.03)
    first = found.covariance(3, level=False)[0, 1:] / 100**2
    assert first == pytest.approx([0.42, 0.294], abs=0.03)


def test_waves_are_alike_and_complete():
    """Every group has clusters of every size, and the draw is fixed by its seed."""
    level = np.arange(40.0)
    wave = assign_waves(level, 3, seed=5)
    means = [level[wave == w].mean() for w in range(4)]

    assert np.bincount(wave).tolist() == [10] * 4
    assert max(means) - min(means) < 3
    assert (assign_waves(level, 3, seed=5) == wave).all()
    assert not (assign_waves(level, 3, seed=6) == wave).all()


def test_a_wedge_keeps_its_promise():
    """Planned from 1,500 clusters, run by 24 others through the group-time average."""
    found = series(1500, 18)
    waves = WavePlan(waves=3, before=6, each=4)
    counts = [6, 6, 6, 6]
    planned, bound = group_time_noise(waves, counts, found)
    starts = np.repeat(waves.starts(), counts)
    test = waves_test(
        lambda rng: noise(24, waves.periods, seed=rng),
        starts,
        effect=planned.mde(),
    )

    assert bound < planned.std_error
    assert simulate_power(test, runs=SMALL, seed=2).power == pytest.approx(0.8, abs=NEAR)


@pytest.mark.parametrize("length", [18, 10])
def test_a_wedge_of_unequally_noisy_clusters_keeps_its_promise(length):
    """Lognormal noise per cluster: half of them are quiet, and a few are not."""
    waves, counts = WavePlan(waves=3, before=6, each=4), [6, 6, 6, 6]

    def uneven(groups, periods, rng):
        own = rng.lognormal(-0.49, 0.7, (groups, 1))
        lag = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
        root = np.linalg.cholesky(np.where(lag == 0, 1.0, 0.6 * 0.7**lag))
        return 100 * own * (rng.normal(size=(groups, periods)) @ root.T)

    found = series_of(
        uneven(1500, length, np.random.default_rng(1)),
        labels=tuple(f"g{i}" for i in range(1500)),
        periods=tuple(map(str, range(length))), size=np.ones(1500),
    )  # fmt: skip
    planned, _ = group_time_noise(waves, counts, found)
    alike, _ = group_time_noise(waves, counts, replace(found, scale=np.ones(1500)))
    test = waves_test(
        lambda rng: uneven(24, waves.periods, rng),
        np.repeat(waves.starts(), counts),
        effect=planned.mde(),
    )

    assert planned.is_measured == (length == 18)
    assert (found.scale**2).mean() == pytest.approx(1)
    if length == 10:
        assert planned.mde() < 0.97 * alike.mde()
    assert simulate_power(test, runs=SMALL, seed=2).power == pytest.approx(0.8, abs=NEAR)


def test_a_switchback_keeps_its_promise():
    """Blocks of two days with one of burn-in, autocorrelated."""
    v = period_covariance(84, sd=1.0, autocorrelation=0.5, shape="decaying")
    block, pair = pair_blocks(84, 2, daily=True)
    error = switchback_std_error(v, block, pair, burn_in=1)
    root = np.linalg.cholesky(v)
    test = blocks_test(
        lambda rng: root @ rng.normal(size=84), block, pair, burn_in=1,
        effect=detectable(error, df=len(np.unique(pair)) - 1), lasts=1,
    )  # fmt: skip

    assert simulate_power(test, runs=SMALL, seed=3).power == pytest.approx(0.8, abs=NEAR)


def test_users_and_clusters_keep_their_promise():
    """Skewed users at shares 1 to 3, and clusters of their own sizes."""
    rng = np.random.default_rng(4)
    pool = rng.gamma(0.3, 30.0, 50_000) * (rng.random(50_000) < 0.4)
    effect = TwoMeans(sd=pool.std(), ratio=1 / 3).effect(6000)
    users = users_test(pool, pool, sizes=(6000, 2000), effect=effect)
    size, shock = np.full(3000, 20.0), rng.normal(0, 2, 3000)
    sums = 20 * shock + rng.normal(0, 8 * math.sqrt(20), 3000)
    mean = ClusterPlan(sd=math.sqrt(68), size=20, icc=4 / 68)
    clusters = clusters_test(size, sums, clusters=(14, 14), effect=mean.effect(14))

    assert simulate_power(users, runs=SMALL, seed=4).power == pytest.approx(0.8, abs=NEAR)
    assert simulate_power(clusters, runs=SMALL, seed=5).power == pytest.approx(0.8, abs=NEAR)


def test_a_geo_test_keeps_its_promise():
    """The layout of one long history, run on others of the same market."""
    size = np.linspace(0.5, 2.0, 12)

    def market(rng):
        common = 100 + 8 * rng.normal(size=40)
        return size[:, None] * (common + 5 * rng.normal(size=(12, 40)))

    from upliftlab.design.regions import set_error

    chosen = (2, 5, 9)
    errors = [set_error(market(np.random.default_rng((6, k))), chosen, 8) for k in range(40)]
    error = math.sqrt(np.mean([e**2 for e, _ in errors]))
    effect = detectable(error, df=errors[0][1]) / 24
    test = regions_test(market, chosen, window=8, effect=effect)

    assert simulate_power(test, runs=SMALL, seed=7).power == pytest.approx(0.8, abs=NEAR)


def test_a_staggered_layout_says_who_when():
    """Every cluster has a start or never; more clusters see less."""
    few = staggered_layout(plan("staggered"), series(16, 10), effect=50.0)
    many = staggered_layout(plan("staggered"), series(64, 10), effect=50.0)

    assert sorted(set(few.starts.values())) == [-1, 10, 14, 18]
    assert len(few.periods) == 22
    assert sum(few.rows["g0"]) == (0 if few.starts["g0"] < 0 else 22 - few.starts["g0"])
    assert many.mde < few.mde / 1.5
    assert few.power < many.power
    assert [c.mde for c in few.choices] == sorted(c.mde for c in few.choices)
    assert any(c.note == "as planned" for c in few.choices)


def test_a_switchback_layout_counts_what_lingers():
    """Carry-over without burn-in makes the smallest profit larger."""
    days = series(3, 56, share=0.3)
    power = "{block: 2 days, lingers: 1 day}"
    plain = switchback_layout(
        plan("switchback", "day", "{block: 2 days}", ""), days, effect=30.0
    )
    dull = switchback_layout(plan("switchback", "day", power, ""), days, effect=30.0)

    assert dull.mde == pytest.approx(
        plain.mde / dull.details["of the effect that the comparison shows"]
    )
    assert dull.power < plain.power
    assert any("product groups" in choice.label for choice in plain.choices)
    assert set(plain.rows["the switch"]) <= {0, 1, 2}


def test_regions_are_ranked_by_the_profit_they_show():
    """A region that no weights can match is not treated, and the estimator has a name."""
    rng = np.random.default_rng(8)
    common = 100 + 10 * rng.normal(size=40)
    size = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, 5.0])
    y = size[:, None] * (common + 4 * rng.normal(size=(8, 40)))
    history = series_of(
        y, labels=tuple("abcdefgh"), periods=tuple(map(str, range(40))), size=np.ones(8)
    )
    found = geo_layout(plan("geo", power="{regions: 1}", cluster=""), history, effect=5.0)
    giant = region_error(y, [7], 10)

    assert found.starts["h"] < 0
    assert giant.false_alarms() > 0.3
    assert giant.missed > 3 * found.std_error
    matched = [c.mde for c in found.choices if not c.note]
    assert matched == sorted(matched)
    assert found.choices[0].total == pytest.approx(found.mde * 10)
    assert "synthetic difference in differences" in " ".join(found.notes)
    assert len(region_sets(6, 2, seed=1)) == 15


def test_a_weighted_geo_test_keeps_its_promise():
    """Regions alike in size: tried on twelve histories, run on 80 others."""
    size = np.linspace(0.9, 1.1, 14)

    def market(rng):
        common = 100 + 8 * rng.normal(size=24)
        return size[:, None] * (common + 5 * rng.normal(size=(14, 24)))

    errors = [
        region_error(market(np.random.default_rng((6, k))), [3, 6, 9], 6) for k in range(6)
    ]
    effect = float(np.mean([each.mde() for each in errors]))
    test = weighted_regions_test(market, [3, 6, 9], window=6, effect=effect)

    assert simulate_power(test, runs=60, seed=8).power == pytest.approx(0.8, abs=0.15)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda: staggered_layout(
                plan("staggered", power="{waves: 5}"), series(8, 8), effect=1
            ),
            DesignError,
            (
                "5 waves and a group that is never treated need 12 clusters, two in each, and "
                "there are 8; plan 3 waves or fewer."
            ),
        ),
        (
            lambda: plan(
                "staggered",
                power="{waves: 9, clusters: {number: 4, size: 10, icc: 0.1}}",
            ),
            DefinitionError,
            (
                "experiment.yaml:11: power.waves is '9'; there are 4 clusters, and every wave "
                "needs one; write 4 or fewer."
            ),
        ),
        (
            lambda: switchback_layout(
                plan("switchback", "day", "{block: 2 days, burn_in: 2 days}", ""),
                series(2, 20),
                effect=1,
            ),
            DesignError,
            (
                "blocks of the switchback last 2 days and 2 of them are burn-in; blocks must "
                "be longer."
            ),
        ),
        (
            lambda: series_of(
                np.ones((4, 8)),
                labels=tuple("abcd"),
                periods=tuple("12345678"),
                size=np.ones(4),
            ),
            DesignError,
            (
                "profit does not vary in the pilot's periods without treatment; it has no "
                "power to plan."
            ),
        ),
        (
            lambda: geo_layout(
                plan("geo", power="{regions: 7}", cluster=""), series(8, 20), effect=1
            ),
            DesignError,
            "7 of 8 regions would be treated; at least 2 must stay untreated.",
        ),
        (
            lambda: geo_layout(
                plan("geo", power="{regions: 5}", cluster=""), series(9, 20), effect=1
            ),
            DesignError,
            (
                "5 of 9 regions would be treated; the error of a geo test is told by as many "
                "untreated ones, so 4 can be treated at most."
            ),
        ),
        (
            lambda: simulate_power(int, runs=5),
            DesignError,
            "5 runs say nothing about power; write 200 or more.",
        ),
    ],
)
def test_impossible_layouts_are_refused(make, kind, message):
    """One sentence: what was found, what would do."""
    with pytest.raises(kind) as found:
        make()

    assert str(found.value) == message


@pytest.mark.parametrize(
    ("lay_out", "asked", "data"),
    [
        (staggered_layout, plan("staggered"), series(24, 10, share=0.3)),
        (switchback_layout, plan("switchback", "day", "{block: 2 days}", ""), series(3, 56)),
        (geo_layout, plan("geo", power="{regions: 3}", cluster=""), series(12, 36, share=0.0)),
    ],
)
def test_layouts_can_be_run_many_times(lay_out, asked, data):
    """The smallest profit that a layout promises to see is seen about as often as promised."""
    layout = lay_out(asked, data, effect=math.nan)
    runs = 40 if layout.kind == "geo" else SMALL
    seen = run_layout(asked, data, layout, runs=runs)

    assert seen.power == pytest.approx(0.8, abs=0.15 if layout.kind == "geo" else NEAR)
