"""Synthetic controls: exact weights, lines that add up, draws and conformal inversion."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DataError, DesignError
from upliftlab.panels import placebos, shared_weights, simplex
from upliftlab.panels.conformal import conformal
from upliftlab.panels.donors import arrange
from upliftlab.panels.ridge_augmented import left_out_errors, ridge_augmented
from upliftlab.panels.synthetic import synthetic_control
from upliftlab.panels.synthetic_did import synthetic_did

ESTIMATORS = [synthetic_control, synthetic_did, ridge_augmented]


def factor_panel(
    seed, *, starts, donors=20, periods=24, effect=0.0, lines=1, noise=0.5, walk=True
):
    """Two common factors plus noise; the treated gain ``effect`` from their start on."""
    rng = np.random.default_rng(seed)
    units = len(starts) + donors
    paths = rng.normal(size=(2, periods))
    paths = paths.cumsum(axis=1) if walk else paths
    y = rng.normal(5, 1, size=(units, 1)) + rng.uniform(size=(units, 2)) @ paths
    cube = y[:, :, None] + noise * rng.normal(size=(units, periods, lines))
    for unit, start in enumerate(starts):
        cube[unit, start:] += effect
    names = [f"line{k}" for k in range(lines)] if lines > 1 else ["y"]
    return Panel.of_arrays(cube, [*starts, *[NEVER] * donors], names=names)


def simplex_slack(columns, target, ridge, weights):
    """How far weights are from the conditions of Karush, Kuhn and Tucker, relative."""
    slope = columns.T @ (columns @ weights - target) + ridge * weights
    reduced = slope - weights @ slope
    scale = ((columns - target[:, None]) ** 2).sum(axis=0).max() + np.max(ridge)
    return max(-reduced.min(), np.abs(reduced[weights > 0]).max()) / scale


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 30), st.sampled_from([0, 0.1, 5])
)
def test_no_other_weights_fit_better(seed, rows, width, ridge):
    """Weights are on the simplex and meet the optimality conditions."""
    rng = np.random.default_rng(seed)
    columns, target = rng.normal(size=(rows, width)), rng.normal(size=rows)
    weights = simplex.least_squares(columns, target, ridge=ridge)

    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0)
    assert simplex_slack(columns, target, ridge, weights) < 1e-9


def test_many_donors_are_solved_in_the_dual_just_as_exactly():
    """900 donors with a penalty: the same optimum as from the active set alone."""
    rng = np.random.default_rng(3)
    columns, target = rng.normal(size=(50, 900)).cumsum(axis=0), rng.normal(size=50)
    ridge = np.full(900, 200.0)

    weights = simplex.least_squares(columns, target, ridge=ridge)
    gaps = columns - target[:, None]
    slow = simplex._active_set(gaps, ridge, float((gaps**2).sum(axis=0).max()), None)

    assert simplex_slack(columns, target, ridge, weights) < 1e-10
    assert weights == pytest.approx(slow, abs=1e-8)
    assert (weights > 0).sum() > 60


def test_where_one_begins_does_not_matter():
    """From any feasible start the optimum is the same."""
    rng = np.random.default_rng(8)
    columns, target = rng.normal(size=(12, 8)), rng.normal(size=12)

    cold = simplex.least_squares(columns, target)

    for start in rng.dirichlet(np.ones(8), size=5):
        warm = simplex.least_squares(columns, target, start=start)
        assert warm == pytest.approx(cold, abs=1e-10)


def test_repeated_donors_do_no_harm():
    """Copies of a donor and donors that do not vary still give an optimum."""
    columns = np.repeat(np.array([[1.0, 2.0, 4.0], [0.0, 1.0, 1.0]]), 4, axis=1)
    weights = simplex.least_squares(columns, np.array([3.0, 0.5]))

    assert weights.sum() == pytest.approx(1.0)
    assert simplex_slack(columns, np.array([3.0, 0.5]), 0.0, weights) < 1e-12
    assert simplex.least_squares(np.ones((3, 4)), np.ones(3)) == pytest.approx(0.25)


def test_frank_wolfe_comes_close_to_the_optimum():
    """Small steps end a little above the exact optimum, never below."""
    rng = np.random.default_rng(2)
    columns, target = rng.normal(size=(20, 10)), rng.normal(size=20)
    exact = simplex.least_squares(columns, target, ridge=0.5)
    near = simplex.frank_wolfe(
        columns,
        target,
        ridge=0.5,
        start=np.full(10, 0.1),
        min_decrease=1e-10,
        max_steps=20_000,
    )

    def loss(weights):
        return ((columns @ weights - target) ** 2).sum() + 0.5 * (weights**2).sum()

    assert loss(exact) <= loss(near) <= loss(exact) + 2e-3


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_exact_mixture_is_found(estimator):
    """Treated = .7 a + .3 b + 2 after the start: the effect is 2 (SDID: penalty pulls)."""
    rng = np.random.default_rng(11)
    donors = rng.normal(size=(6, 40)).cumsum(axis=1)
    treated = 0.7 * donors[0] + 0.3 * donors[1]
    treated[30:] += 2
    panel = Panel.of_arrays(np.vstack([treated, donors]), [30] + [NEVER] * 6)

    found = estimator(panel, inference="none")

    loose = 0.6 if estimator is synthetic_did else 1e-6
    assert found.effect.value[0] == pytest.approx(2.0, abs=loose)
    assert np.isnan(found.effect.cov).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("inference", ["placebo", "bootstrap", "jackknife"])
def test_lines_add_up_with_their_errors(estimator, inference):
    """The third line is the sum of two: so are effects, draws, horizons and cohorts."""
    panel = factor_panel(5, starts=[14, 14, 18, 18], lines=3, effect=1.0)
    y = panel.y.copy()
    y[:, :, 2] = 0.3 * y[:, :, 0] - y[:, :, 1]
    panel = panel.with_outcome(y, panel.names)
    found = estimator(panel, fit_on="line2", inference=inference, draws=20, seed=7)

    mix = np.array([0.3, -1.0, -1.0])
    assert found.effect.value @ mix == pytest.approx(0.0, abs=1e-12)
    assert found.draws.effect @ mix == pytest.approx(0.0, abs=1e-12)
    assert mix @ found.effect.cov @ mix == pytest.approx(0.0, abs=1e-12)
    assert found.counterfactual @ mix == pytest.approx(0.0, abs=1e-12)
    by_horizon = found.by_horizon()
    assert by_horizon.value.reshape(-1, 3) @ mix == pytest.approx(0.0, abs=1e-12)
    assert by_horizon.names[3] == "line0@e1"
    assert found.by_cohort().value.reshape(-1, 3) @ mix == pytest.approx(0.0, abs=1e-12)
    assert found.by_cohort().names[:4] == ("line0@14", "line1@14", "line2@14", "line0@18")


def test_starts_are_averaged_by_treated_unit_periods():
    """Two starts together = each alone against the never treated, by units x periods."""
    panel = factor_panel(6, starts=[12, 12, 18], effect=2.0)
    both = synthetic_did(panel, inference="none")
    alone = [
        synthetic_did(
            panel.select((panel.start == g) | (panel.start == NEVER)), inference="none"
        )
        for g in (12, 18)
    ]

    shares = np.array([2 * 12, 1 * 6])
    wanted = shares @ [one.effect.value[0] for one in alone] / shares.sum()
    assert both.effect.value[0] == pytest.approx(wanted, abs=1e-12)
    assert both.unit_periods == 30
    assert both.by_cohort().value == pytest.approx([one.effect.value[0] for one in alone])
    assert both.total().value[0] == pytest.approx(30 * wanted)
    first = both.by_horizon().value[0]
    gaps = [one.cohorts[0].gap[one.cohorts[0].start, 0] for one in alone]
    assert first == pytest.approx((2 * gaps[0] + gaps[1]) / 3)


def test_the_jackknife_leaves_out_one_unit_and_keeps_the_weights():
    """Algorithm 3 by hand: donors' weights scaled to those left, periods' weights kept."""
    panel = factor_panel(9, starts=[16, 16, 16], donors=8)
    found = synthetic_did(panel, inference="jackknife")

    cohort, y = found.cohorts[0], panel.y[:, :, 0]
    periods = np.r_[-cohort.time_weights, np.full(8, 1 / 8)]
    estimates = []
    for out in range(11):
        left = np.array([unit for unit in range(3) if unit != out])
        unit = np.where(cohort.donors == out, 0.0, cohort.unit_weights)
        series = y[left].mean(axis=0) - unit / unit.sum() @ y[cohort.donors]
        estimates.append(series @ periods)
    wanted = 10 / 11 * ((np.array(estimates) - np.mean(estimates)) ** 2).sum()
    assert found.effect.cov[0, 0] == pytest.approx(wanted)
    assert found.effect.df[0] == 2


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_unit_drawn_twice_counts_as_two_units(estimator, monkeypatch):
    """A bootstrap draw equals the estimate on a panel with the drawn rows written out."""
    panel = factor_panel(12, starts=[16, 16], donors=5, noise=1.0)
    outside = panel.y.copy()
    outside[:2] *= 2
    panel = panel.with_outcome(outside, panel.names)
    how = {"ridge": 3.0} if estimator is ridge_augmented else {}
    how |= {"solver": "exact"} if estimator is synthetic_did else {}
    count = np.array([1, 1, 2, 0, 3, 1, 1])

    def drawn(setting, **_):
        return placebos._of_counts(
            setting, np.tile(count[setting.unit].astype(float), (2, 1)), note="", df=1.0
        )

    monkeypatch.setattr(shared_weights.placebos, "bootstrap", drawn)
    # Draws keep the penalty, which depends on the noise among donors.
    monkeypatch.setattr("upliftlab.panels.synthetic_did.noise_level", lambda _: 0.7)
    found = estimator(panel, inference="bootstrap", **how)
    written = estimator(panel.select(np.repeat(np.arange(7), count)), inference="none", **how)

    assert found.draws.effect[0, 0] == pytest.approx(written.effect.value[0], abs=1e-8)


def test_a_placebo_is_the_estimate_for_a_donor():
    """With one treated unit each donor's placebo is its own synthetic control."""
    panel = factor_panel(13, starts=[16], donors=6)
    found = synthetic_control(panel, intercept=True)

    for donor in range(6):
        swapped = Panel.of_arrays(panel.y[1:], np.where(np.arange(6) == donor, 16, NEVER))
        wanted = synthetic_control(swapped, intercept=True, inference="none").effect.value[0]
        assert found.draws.effect[donor, 0] == pytest.approx(wanted, abs=1e-9)
    assert found.effect.df[0] == 5


def test_the_same_seed_gives_the_same_draws():
    """Seeds decide, and the result says which."""
    panel = factor_panel(14, starts=[16, 16])
    one, again, other = (synthetic_did(panel, draws=10, seed=s) for s in (1, 1, 2))

    assert np.array_equal(one.draws.effect, again.draws.effect)
    assert not np.array_equal(one.draws.effect, other.draws.effect)
    assert one.seed == 1
    assert one.inference == "10 placebo draws from 20 donors, seed 1"


def test_anticipation_is_reported_apart():
    """Weeks before the start move neither the weights nor the effect."""
    panel = factor_panel(15, starts=[16, 16], effect=2.0, noise=0.2)
    y = panel.y.copy()
    y[:2, 13:16] += 50
    shifted = synthetic_did(panel.with_outcome(y, panel.names), anticipation=3, draws=10)
    plain = synthetic_did(panel, anticipation=3, draws=10)

    assert shifted.effect.value == pytest.approx(plain.effect.value)
    gain = shifted.anticipated.value - plain.anticipated.value
    assert gain == pytest.approx(50.0)
    assert synthetic_did(panel, inference="none").anticipated is None


def test_sdid_of_a_thousand_units_takes_less_than_half_a_second():
    """1,000 units x 60 periods with 100 treated, point estimate, processor time."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 60)).cumsum(axis=1)
    y += rng.normal(size=(1000, 60))
    panel = Panel.of_arrays(y, [50] * 100 + [NEVER] * 900)

    before = time.process_time()
    synthetic_did(panel, inference="none")

    assert time.process_time() - before < 0.5


def test_cross_validation_prefers_what_predicts():
    """Left-out errors fall and rise again: too little and too much penalty both cost."""
    rng = np.random.default_rng(4)
    donors = rng.normal(size=(30, 15)) + rng.normal(size=(30, 1))
    donors -= donors.mean(axis=0)
    errors = left_out_errors(donors, 1.5 + rng.normal(size=15), 10.0 ** np.arange(-6, 7))

    total = errors.sum(axis=0)
    assert errors.shape == (14, 13)
    assert total.argmin() not in {0, 12}


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.floats(-3, 3),
    st.sampled_from(["block", "iid"]),
    st.sampled_from(["mean", "size"]),
    st.sampled_from([0.8, 0.9]),
)
def test_p_value_and_interval_never_contradict(seed, effect, scheme, statistic, level):
    """0 lies in the interval exactly when p exceeds 1 - level, whatever the data."""
    panel = factor_panel(seed, starts=[20], donors=5, effect=effect)
    found = conformal(
        panel,
        scheme=scheme,
        statistic=statistic,
        level=level,
        permutations=60,
        intercept=bool(seed % 2),
        seed=seed,
    ).effect

    inside = bool(found.ci_low <= 0 <= found.ci_high)
    assert inside == (found.p_value > round(1 - level, 12))


def test_a_hole_in_the_accepted_effects_is_closed_for_both():
    """0 alone is rejected (p .1 at 90 %), effects on both sides are not: p follows them."""
    found = conformal(
        factor_panel(591, starts=[20], donors=5),
        scheme="iid",
        statistic="size",
        level=0.9,
        permutations=60,
        seed=591,
        intercept=True,
    )

    assert found.p_values[found.candidates == 0].tolist() == [pytest.approx(0.1)]
    assert found.effect.p_value == pytest.approx(1 / 6)
    assert found.effect.ci_low < 0 < found.effect.ci_high


def test_too_few_periods_cannot_reject():
    """Twelve shifts give no p below 1/12: no interval at 95 %, and the reason."""
    panel = factor_panel(1, starts=[10], donors=4, periods=12)
    found = conformal(panel).effect

    assert math.isnan(found.ci_low)
    assert found.p_value >= 1 / 12
    assert found.note == "12 permutations cannot reject at level 0.95"


def test_conformal_tests_one_number_after_one_start():
    """Several starts or several numbers are refused."""
    with pytest.raises(DesignError, match="found 2 starts and 1 numbers in fit_on"):
        conformal(factor_panel(1, starts=[10, 12]))
    with pytest.raises(DesignError, match="it can be 'mean' or 'size'"):
        conformal(factor_panel(1, starts=[10]), statistic="median")
    with pytest.raises(DesignError, match="it can be 'block' or 'iid'"):
        conformal(factor_panel(1, starts=[10]), scheme="random")


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_cannot_be_compared_is_refused(estimator):
    """No donors, no treated, one period before, treated from the first, missing values."""
    name = estimator.__name__
    y = np.arange(24.0).reshape(4, 6)
    with pytest.raises(DesignError, match=f"{name} found no donor: all 4 units are treated"):
        estimator(Panel.of_arrays(y, [3, 3, 4, 4]))
    with pytest.raises(DesignError, match=f"{name} found no treated unit in 4 units"):
        estimator(Panel.of_arrays(y, [NEVER] * 4))
    with pytest.raises(DesignError, match=f"{name} found 1 period before the first start"):
        estimator(Panel.of_arrays(y, [1, NEVER, NEVER, NEVER]))
    with pytest.raises(
        DesignError, match="found 1 units treated or anticipating from the first"
    ):
        estimator(Panel.of_arrays(y, [0, 3, NEVER, NEVER]))
    with pytest.raises(
        DesignError, match="found 2 units treated or anticipating from the first"
    ):
        estimator(Panel.of_arrays(y, [3, 3, NEVER, NEVER]), anticipation=3)
    holes = y.copy()
    holes[2, [1, 4]] = np.nan
    with pytest.raises(
        DataError, match="found 2 unit-periods without a value, in 1 of 4 units"
    ):
        estimator(Panel.of_arrays(holes, [3, NEVER, NEVER, NEVER]))
    weightless = Panel.of_arrays(y, [3, NEVER, NEVER, NEVER], weight=np.array([0.0, 1, 1, 1]))
    with pytest.raises(DesignError, match="a start whose units weigh 0"):
        estimator(weightless)


def test_unclear_wishes_are_refused():
    """Unknown components, solvers, inferences and penalties name what is allowed."""
    panel = factor_panel(2, starts=[12, 12], lines=2)
    with pytest.raises(DesignError, match="say on what, such as fit_on='line0'"):
        synthetic_did(panel)
    with pytest.raises(DataError, match="Did you mean 'line1'"):
        synthetic_did(panel, fit_on="lin1")
    with pytest.raises(DesignError, match="it can be 'frank_wolfe' or 'exact'"):
        synthetic_did(panel, fit_on="line0", solver="fast")
    with pytest.raises(DesignError, match="inference is 'guess'"):
        synthetic_did(panel, fit_on="line0", inference="guess")
    with pytest.raises(DesignError, match="inference has 1 draws"):
        synthetic_did(panel, fit_on="line0", draws=1)
    with pytest.raises(DesignError, match="has ridge -1"):
        ridge_augmented(panel, fit_on="line0", ridge=-1)
    with pytest.raises(DesignError, match="has anticipation -1"):
        synthetic_did(panel, fit_on="line0", anticipation=-1)
    shared = Panel.of_arrays(panel.y, panel.start, names=panel.names, cluster=[0] * 22)
    with pytest.raises(DesignError, match="placebo draws take units one by one"):
        synthetic_did(shared, fit_on="line0")


def test_one_donor_and_more_treated_than_donors():
    """One donor has all the weight; placebos that cannot be drawn are NaN with the reason."""
    panel = factor_panel(3, starts=[12, 12, 12], donors=1)
    found = synthetic_did(panel)

    assert found.cohorts[0].unit_weights.tolist() == [1.0]
    assert found.cohorts[0].effective_donors == 1.0
    assert np.isnan(found.effect.cov).all()
    assert found.inference == "placebo draws need more donors than treated units: 1 and 3"
    left = synthetic_did(panel, inference="jackknife")
    assert left.inference == "the jackknife needs two clusters of donors or more"


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_constant_outcomes_have_an_effect_but_no_error(estimator):
    """Nothing varies: effect 0, no interval, and a note."""
    panel = Panel.of_arrays(np.full((5, 10), 3.0), [6] + [NEVER] * 4)
    found = estimator(panel)

    one = found.effect.estimate("y")
    assert one.estimate == 0
    assert math.isnan(one.ci_low)
    assert one.note == "it does not vary"
    assert found.note


def test_a_perfect_fit_is_said_to_be_ambiguous():
    """More donors than periods can reproduce the treated in many ways."""
    panel = factor_panel(4, starts=[3], donors=40, periods=8)
    found = synthetic_control(panel, intercept=True, inference="none")

    assert "weights are not unique" in found.note


def test_nothing_is_changed():
    """The panel is the same before and after."""
    panel = factor_panel(5, starts=[12, 14])
    y, start = panel.y.copy(), panel.start.copy()
    for estimator in ESTIMATORS:
        estimator(panel, draws=5)
    arrange(panel, asked_by="test")

    assert np.array_equal(panel.y, y)
    assert np.array_equal(panel.start, start)


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["placebo", "bootstrap", "jackknife"])
def test_sdid_intervals_cover(inference):
    """10 treated, 30 donors, two factors, 200 panels: at least 90 % of 95 % intervals cover."""
    covered = 0
    for seed in range(200):
        panel = factor_panel(seed, starts=[20] * 10, donors=30, effect=1.0)
        one = synthetic_did(
            panel, solver="exact", inference=inference, draws=60, seed=seed
        ).effect.estimate("y")
        covered += not one.excludes(1.0)

    assert covered / 200 >= 0.90


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "walk"), [("block", True), ("block", False), ("iid", False)]
)
def test_conformal_intervals_cover(scheme, walk):
    """One treated unit, 200 panels: at least 86 % of 90 % intervals cover.

    Random orders need factors without memory: with random walks they cover about 82 %.
    """
    covered = 0
    for seed in range(200):
        panel = factor_panel(seed, starts=[36], donors=10, periods=40, effect=1.0, walk=walk)
        found = conformal(panel, scheme=scheme, level=0.9, permutations=200, seed=seed).effect
        covered += not found.excludes(1.0)

    assert covered / 200 >= 0.86
