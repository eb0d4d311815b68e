"""Orders of treating: AUTOC, Qini, gain and cost curves, their laws and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.errors import DataError, UpliftlabError
from upliftlab.targeting import gain_curves
from upliftlab.targeting.gain_curves import (
    budget_curve,
    cost_curve,
    gain_curve,
    toc_curve,
)
from upliftlab.targeting.rank_metrics import (
    autoc,
    auuc,
    compare,
    influence,
    profit_at_k,
    qini,
    uplift_at_k,
)
from upliftlab.targeting.ranking import Ranking, covariance, rank_within

METRICS = (autoc, qini, auuc)

scored = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(-4, 4)), min_size=2, max_size=40
).map(lambda rows: tuple(np.array(rows, dtype=float).T))


def draw(n, *, seed=0, tied=False, gain=0.3):
    """Scores with noise and a priority that knows part of the effect."""
    rng = np.random.default_rng(seed)
    priority = rng.normal(size=n)
    psi = 0.2 + gain * priority + rng.normal(size=n)
    return psi, np.round(priority) if tied else priority


@pytest.mark.parametrize("metric", METRICS)
@given(scored)
def test_only_the_order_of_the_priority_counts(metric, rows):
    """A rising transformation of the priority changes nothing."""
    psi, priority = rows

    found, same = metric(psi, priority), metric(psi, np.exp(priority) * 7 - 3)

    assert same.estimate == found.estimate
    assert same.std_error == pytest.approx(found.std_error, nan_ok=True)


@pytest.mark.parametrize("metric", METRICS)
@given(scored, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_count_even_with_ties(metric, rows, random):
    """Units of equal priority are one block, so their place in the table is nothing."""
    psi, priority = rows
    mixed = np.array(random.sample(range(len(psi)), len(psi)))

    found, same = metric(psi, priority), metric(psi[mixed], priority[mixed])

    assert same.estimate == pytest.approx(found.estimate, abs=1e-9)
    assert same.std_error == pytest.approx(found.std_error, abs=1e-9, nan_ok=True)


@given(scored)
def test_turning_the_order_round_turns_the_sign_of_qini(rows):
    """What the first gain over chance the last lose."""
    psi, priority = rows

    there, back = qini(psi, priority), qini(psi, -priority)

    assert back.estimate == pytest.approx(-there.estimate, abs=1e-9)
    assert back.std_error == pytest.approx(there.std_error, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("metric", [autoc, qini])
@given(scored, st.integers(-100, 100))
def test_an_effect_that_all_share_is_no_ranking(metric, rows, constant):
    """The same amount added to every score changes neither number nor error."""
    psi, priority = rows

    found, same = metric(psi, priority), metric(psi + constant, priority)

    assert same.estimate == pytest.approx(found.estimate, abs=1e-8)
    assert same.std_error == pytest.approx(found.std_error, abs=1e-8, nan_ok=True)


@pytest.mark.parametrize("metric", METRICS)
@given(scored, st.integers(1, 9))
def test_metrics_scale_with_money(metric, rows, factor):
    """Yuan or fen: number and error scale alike."""
    psi, priority = rows

    found, scaled = metric(psi, priority), metric(factor * psi, priority)

    assert scaled.estimate == pytest.approx(factor * found.estimate, abs=1e-8)
    assert scaled.std_error == pytest.approx(factor * found.std_error, abs=1e-8, nan_ok=True)


@pytest.mark.parametrize("metric", [autoc, qini])
def test_a_constant_priority_has_no_gain_for_sure(metric):
    """One block of equals is treating at random: 0, and it does not vary."""
    psi, _ = draw(50)

    found = metric(psi, np.ones(50))

    assert found.estimate == pytest.approx(0.0, abs=1e-12)
    assert "does not vary" in found.note


@pytest.mark.parametrize("metric", METRICS)
def test_equal_priorities_are_the_mean_over_their_orders(metric):
    """Average over many random orders of equals = the number with ties."""
    psi, priority = draw(60, tied=True)
    rng = np.random.default_rng(1)
    orders = [metric(psi, priority + 0.01 * rng.random(60)).estimate for _ in range(1500)]

    found = metric(psi, priority)

    spread = np.std(orders) / np.sqrt(len(orders))
    assert abs(np.mean(orders) - found.estimate) < 4 * spread


@given(scored)
def test_area_under_the_gain_curve_is_qini_plus_half_the_effect(rows):
    """AUUC and Qini differ by the triangle of treating at random."""
    psi, priority = rows

    found = auuc(psi, priority).estimate - qini(psi, priority).estimate

    assert found == pytest.approx(psi.mean() / 2, abs=1e-9)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("metric", ["autoc", "qini", "uplift_at_k", "profit_at_k"])
def test_standard_errors_are_those_of_the_bootstrap(metric, tied):
    """Influence function against 400 resamples of 3,000 units: within 15%."""
    psi, priority = draw(3000, tied=tied)
    rng = np.random.default_rng(2)
    resampled = []
    for _ in range(400):
        rows = rng.integers(0, 3000, 3000)
        resampled.append(influence(metric, psi[rows], priority[rows])[0])
    _, moved = influence(metric, psi, priority)

    std_error = np.sqrt(covariance(moved)[0][0, 0])

    assert std_error == pytest.approx(np.std(resampled), rel=0.15)


@pytest.mark.parametrize("gain", [0.0, 0.5])
@pytest.mark.parametrize("metric", METRICS)
def test_intervals_cover(metric, gain):
    """400 draws of 400 units with skewed noise: 95% intervals cover in 92% to 98%."""
    rng = np.random.default_rng(11)
    # Uniform effects: TOC(q) = gain (1 - q) / 2, its mean gain / 4, of q TOC gain / 12.
    truth = {autoc: gain / 4, qini: gain / 12, auuc: gain / 12 + 0.05}[metric]
    hits = []
    for _ in range(400):
        share = rng.random(400)
        psi = 0.1 + gain * (share - 0.5) + rng.exponential(size=400) - 1
        hits.append(not metric(psi, share).excludes(truth))

    assert 0.92 <= np.mean(hits) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_cover_in_certified_numbers(clustered):
    """2,000 draws: AUTOC and Qini at 95% cover at least 93.5% less chance."""
    rng = np.random.default_rng(12)
    hits = np.zeros((2000, 2))
    cluster = np.repeat(np.arange(100), 10) if clustered else None
    for i in range(2000):
        share = rng.random(1000)
        shared = np.repeat(rng.normal(size=100), 10) * (0.7 if clustered else 0)
        psi = 0.1 + 0.5 * (share - 0.5) + rng.exponential(size=1000) + shared
        hits[i] = [
            not autoc(psi, share, cluster=cluster).excludes(0.125),
            not qini(psi, share, cluster=cluster).excludes(0.5 / 12),
        ]

    assert hits.mean(axis=0).min() >= 0.935 - 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_clusters_widen_the_interval_and_set_the_df():
    """Copies of a unit are no news: ten copies have the error of one, on G - 1 df."""
    psi, priority = draw(300)
    copies = np.repeat(np.arange(300), 10)

    alone = qini(psi, priority)
    copied = qini(psi[copies], priority[copies], cluster=copies)

    assert copied.estimate == pytest.approx(alone.estimate)
    assert copied.std_error == pytest.approx(alone.std_error, rel=1e-9)
    assert copied.df == 299


def test_a_paired_difference_knows_that_both_orders_share_their_noise():
    """Two nearly equal orders differ by little, and surely."""
    psi, priority = draw(4000)
    other = priority + 0.05 * np.random.default_rng(3).normal(size=4000)

    found = compare(psi, priority, other, metric="autoc")

    assert found.estimate == pytest.approx(
        autoc(psi, priority).estimate - autoc(psi, other).estimate
    )
    assert found.std_error < 0.4 * autoc(psi, priority).std_error
    assert compare(psi, priority, priority).estimate == 0


def test_uplift_at_k_is_a_mean_and_profit_at_k_a_total():
    """The first 30%: mean per treated unit, and money over a population."""
    psi, priority = draw(1000)
    first = psi[np.argsort(-priority)[:300]]

    assert uplift_at_k(psi, priority, 0.3).estimate == pytest.approx(first.mean())
    total = profit_at_k(psi, priority, 0.3, population=50_000)
    assert total.estimate == pytest.approx(first.sum() * 50)
    assert uplift_at_k(psi, priority, 1.0).std_error == pytest.approx(
        psi.std(ddof=1) / np.sqrt(1000)
    )


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("clustered", [False, True])
def test_every_point_of_the_gain_curve_is_profit_at_k(tied, clustered):
    """Sums over pieces give the same number and error as one influence function per point."""
    psi, priority = draw(700, tied=tied)
    cluster = np.random.default_rng(4).integers(0, 60, 700) if clustered else None

    curve = gain_curve(psi, priority, shares=[0.05, 0.3, 0.31, 0.8, 1.0], cluster=cluster)

    for i, share in enumerate(curve.share):
        expected = profit_at_k(psi, priority, share, cluster=cluster)
        assert curve.value[i] == pytest.approx(expected.estimate)
        assert curve.std_error[i] == pytest.approx(expected.std_error)
        assert curve.joint.df[i] == expected.df


def test_many_clusters_are_added_up_in_parts(monkeypatch):
    """The covariance does not depend on how many clusters are held at a time."""
    psi, priority = draw(600)
    cluster = np.random.default_rng(5).integers(0, 200, 600)
    whole = gain_curve(psi, priority, cluster=cluster)
    monkeypatch.setattr(gain_curves, "ROWS_AT_ONCE", 1000)

    parts = gain_curve(psi, priority, cluster=cluster)

    assert parts.joint.cov == pytest.approx(whole.joint.cov)


def test_the_band_is_that_of_multiplier_draws():
    """The computed critical value is the quantile of 4,000 drawn multiplier processes."""
    psi, priority = draw(2000)
    shares = np.arange(1, 21) / 20
    curve = gain_curve(psi, priority, shares=shares)
    moved = np.stack([influence("profit_at_k", psi, priority, k=q)[1] for q in shares], axis=1)
    draws = np.random.default_rng(6).normal(size=(4000, 2000)) @ moved / 2000
    largest = np.abs(draws / curve.std_error).max(axis=1)

    assert curve.critical == pytest.approx(np.quantile(largest, 0.95), rel=0.03)


@pytest.mark.slow
def test_the_band_covers_the_whole_curve():
    """300 draws: the 90% band holds the true gain at all of 20 shares in 86% to 95%."""
    rng = np.random.default_rng(7)
    shares = np.arange(1, 21) / 20
    truth = 0.1 * shares + 0.5 * shares * (1 - shares) / 2
    hits = []
    for _ in range(300):
        rank = rng.random(1000)
        psi = 0.1 + 0.5 * (rank - 0.5) + rng.normal(size=1000)
        curve = gain_curve(psi, rank, shares=shares, level=0.9)
        hits.append(((curve.low <= truth) & (truth <= curve.high)).all())

    assert 0.86 <= np.mean(hits) <= 0.95


def test_points_carry_interval_and_band():
    """The page gets the share, the pointwise interval and the wider band."""
    psi, priority = draw(500)

    point = gain_curve(psi, priority, shares=[0.2, 0.6]).points()[1]

    assert (point.x, point.share) == (0.6, 0.6)
    assert point.low < point.effect.ci_low < point.effect.ci_high < point.high


def test_toc_is_gain_per_treated_less_the_mean_and_ends_in_nothing():
    """TOC(q) = G(q) / q - G(1); at q = 1 it is 0 and does not vary."""
    psi, priority = draw(800)
    shares = [0.1, 0.5, 1.0]

    toc, gain = (
        toc_curve(psi, priority, shares=shares),
        gain_curve(psi, priority, shares=shares),
    )

    assert toc.value == pytest.approx(gain.value / gain.share - psi.mean(), abs=1e-12)
    assert (toc.value[2], toc.std_error[2]) == (0.0, 0.0)
    assert toc.points()[2].low == toc.points()[2].high == 0.0


def test_area_against_cost_is_the_trapezoid_of_the_curve():
    """The closed form equals the trapezoid over every unit, divided by the rectangle."""
    psi, priority = draw(400)
    cost = 1 + 0.3 * np.random.default_rng(8).normal(size=400)
    order = np.argsort(-priority)
    x, y = np.append(0, np.cumsum(cost[order])), np.append(0, np.cumsum(psi[order]))

    found = cost_curve(psi, cost, priority)

    assert found.aucc.estimate == pytest.approx(np.trapezoid(y, x) / (x[-1] * y[-1]))
    assert found.area.estimate == pytest.approx(
        (found.aucc.estimate - 0.5) * psi.mean(), rel=1e-9
    )


def test_cost_curve_turned_round_is_the_rest_of_the_rectangle():
    """AUCC of an order and of its reverse add up to 1, with the same error."""
    psi, priority = draw(400)
    cost = np.ones(400)

    there, back = cost_curve(psi, cost, priority), cost_curve(psi, cost, -priority)

    assert there.aucc.estimate + back.aucc.estimate == pytest.approx(1.0)
    assert there.area.std_error == pytest.approx(back.area.std_error)


def test_error_of_the_cost_curve_is_that_of_the_bootstrap():
    """Area and AUCC against 300 resamples: within 15%."""
    psi, priority = draw(2000)
    cost = 1 + np.random.default_rng(9).normal(size=2000)
    rng = np.random.default_rng(10)
    resampled = []
    for _ in range(300):
        rows = rng.integers(0, 2000, 2000)
        again = gain_curves._areas(
            Ranking.of(priority[rows]), psi[rows], cost[rows], cluster=None, level=0.95
        )
        resampled.append([each.estimate for each in again])
    found = cost_curve(psi, cost, priority)

    std_errors = (found.area.std_error, found.aucc.std_error)

    assert std_errors == pytest.approx(tuple(np.std(resampled, axis=0)), rel=0.15)
    point = found.points()[49]
    assert point.x == point.spend.estimate == pytest.approx(found.cost.value[49])


def test_there_is_no_area_against_a_cost_that_is_not_there():
    """Costs around 0, costs that fall, and gains around 0 give NaN with the reason."""
    psi, priority = draw(400)
    rng = np.random.default_rng(13)

    free = cost_curve(psi, rng.normal(size=400), priority)
    drop = 1 + np.where(priority > 1, -4.0, 0.0)
    falls = cost_curve(psi, drop, priority)
    noisy = cost_curve(psi, drop + rng.normal(size=400), priority)
    useless = cost_curve(psi - psi.mean(), np.ones(400), priority)

    assert free.area.note == free.aucc.note == gain_curves.NO_COST
    assert falls.aucc.note == noisy.aucc.note == gain_curves.COST_FALLS
    assert useless.aucc.note == gain_curves.NO_VALUE
    assert useless.area.estimate == pytest.approx(qini(psi, priority).estimate, rel=1e-2)


def test_ranks_within_folds_take_away_the_level_of_folds():
    """A model of no use, means of the other folds: harmful if pooled, not if ranked."""
    psi = np.random.default_rng(14).normal(size=2000)
    fold = np.repeat([0, 1], 1000)
    means = np.array([psi[1000:].mean(), psi[:1000].mean()])[fold]

    assert qini(psi, means).estimate < 0
    assert qini(psi, rank_within(means, fold)).estimate == pytest.approx(0, abs=1e-12)


def test_inputs_stay_as_they_were():
    """Nothing that is given is changed."""
    psi, priority = draw(50)
    before = psi.copy(), priority.copy()

    gain_curve(psi, priority)
    cost_curve(psi, np.ones(50), priority)

    assert (psi == before[0]).all()
    assert (priority == before[1]).all()


def test_one_cluster_has_no_interval():
    """One cluster: the number stays, the interval does not exist."""
    psi, priority = draw(30)

    found = qini(psi, priority, cluster=np.zeros(30))

    assert np.isnan(found.std_error)
    assert found.note


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: qini([1.0, np.nan], [1, 2]), "psi holds 1 missing or infinite numbers of 2"),
        (lambda: qini([1.0, 2.0], [1, 2, 3]), "priority has shape (3,)"),
        (lambda: uplift_at_k([1.0, 2.0], [1, 2], 30), "k is 30"),
        (lambda: gain_curve([1.0, 2.0], [1, 2], shares=[0.5, 0.2]), "they must rise"),
        (lambda: gain_curve([1.0, 2.0], [1, 2], shares=[0.0]), "each lies above 0"),
        (lambda: compare([1.0, 2.0], [1, 2], [2, 1], metric="quini"), "Did you mean 'qini'?"),
        (lambda: qini([1.0, 2.0], [1, 2], cluster=[1]), "one cluster each"),
    ],
)
def test_mistakes_are_named(call, message):
    """Missing numbers, wrong lengths and shares say what was found."""
    with pytest.raises(UpliftlabError) as caught:
        call()

    assert message in str(caught.value)


def test_a_missing_score_is_a_mistake_of_the_data():
    """The message belongs to the data, not to the question."""
    with pytest.raises(DataError):
        Ranking.of([1.0, np.inf])


@settings(max_examples=30)
@given(scored, st.floats(0.02, 1.0))
def test_influence_adds_up_to_nothing(rows, k):
    """Every influence function has mean 0."""
    psi, priority = rows
    for metric in ("autoc", "qini", "auuc", "uplift_at_k", "profit_at_k"):
        _, moved = influence(metric, psi, priority, k=k)
        assert abs(moved.sum()) < 1e-7 * (1 + np.abs(moved).sum())


def frontier_hits(runs, clusters=None, n=2_000):
    """Share of runs in which 90 % intervals hold the true frontier at the money spent."""
    shares = np.array([0.2, 0.4, 0.6, 0.8])
    q = np.linspace(0, 1, 4_001)
    gained, spent = 2 * (1 - (1 - q) ** 2) - q, q + (1 - (1 - q) ** 2) / 2
    slope = (4 * (1 - shares) - 1) / (2 - shares)
    hits = np.zeros((2, len(shares)))
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        u = rng.random(n)
        member = None if clusters is None else rng.integers(0, clusters, n)
        shock = 0.0 if clusters is None else rng.normal(0, 0.7, clusters)[member]
        psi = 4 * u - 1 + rng.normal(0, 3.0, n)
        cost = 1 + u + shock + rng.normal(0, 4.0, n)
        asked = {"shares": shares, "cluster": member, "level": 0.9}
        at_share, at_money = (
            gain_curve(psi, u, **asked), budget_curve(psi, cost, u, slope, **asked)
        )  # fmt: skip
        true = np.interp(gain_curve(cost, u, **asked).value, spent, gained)
        for row, curve in enumerate((at_share, at_money)):
            each = [curve.estimate(i) for i in range(len(shares))]
            hits[row] += [not e.excludes(t) for e, t in zip(each, true, strict=True)]
    return hits / runs


@pytest.mark.parametrize("clusters", [None, 100])
def test_at_given_money_the_error_counts_what_money_buys(clusters):
    """Where costs are noisy, errors at a share cover the frontier too rarely at first."""
    at_share, at_money = frontier_hits(120, clusters)

    assert (at_money > 0.90 - 3 * 0.0274).all()
    assert at_share[0] < 0.75


def test_where_no_money_is_spent_the_error_is_that_of_the_value():
    """Without a slope, and for a cost that is the same for all, nothing is added."""
    rng = np.random.default_rng(2)
    psi, priority = rng.normal(size=500), rng.normal(size=500)

    free = budget_curve(psi, np.ones(500), priority, [np.nan, 2.0], shares=[0.3, 0.7])

    value = gain_curve(psi, priority, shares=[0.3, 0.7])
    assert free.value == pytest.approx(value.value)
    assert free.std_error == pytest.approx(value.std_error)
    with pytest.raises(UpliftlabError, match=r"slope has shape \(1,\); shares have \(2,\)"):
        budget_curve(psi, np.ones(500), priority, [1.0], shares=[0.3, 0.7])
