"""Re-assignment of clusters: exact p-values, inverted intervals, one band."""

import math
from itertools import combinations

import numpy as np
import pytest

from upliftlab.assignment.scheme import AssignmentScheme
from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DataError, DesignError
from upliftlab.panels.cohort_forms import AdjustedDifference, group_time_forms
from upliftlab.panels.randomisation import (
    cluster_means,
    randomisation_inference,
    roll_out,
    single_wave,
)

T5 = np.repeat([10, 14, 18, NEVER], 3)


def trap_t5(rng):
    """12 clusters, 26 periods, AR(1) of .6, no effect."""
    noise = rng.normal(size=(12, 26))
    y = noise.copy()
    for t in range(1, 26):
        y[:, t] = 0.6 * y[:, t - 1] + 0.8 * noise[:, t]
    return (y + rng.normal(0, 2, size=(12, 1)))[:, :, None]


def att_by_hand(y, start, *, not_yet=False, horizon=None):
    """Callaway and Sant'Anna's cells, one loop per index; y [G, T]."""
    top = bottom = 0.0
    for g in sorted({int(s) for s in start} - {NEVER}):
        for t in range(g, y.shape[1]):
            controls = start > t if not_yet else start == NEVER
            if not controls.any() or (horizon is not None and t - g != horizon):
                continue
            change = y[:, t] - y[:, g - 1]
            cohort = start == g
            top += cohort.sum() * (change[cohort].mean() - change[controls].mean())
            bottom += cohort.sum()
    return top / bottom


@pytest.mark.parametrize("not_yet", [False, True])
def test_forms_are_the_group_time_estimator_under_every_assignment(not_yet):
    """One matrix product gives what the loops give, for each re-assignment and horizon."""
    y = trap_t5(np.random.default_rng(0))
    starts, _ = AssignmentScheme.of(T5).draws(20)
    forms = group_time_forms(
        T5, 26, controls="not_yet" if not_yet else "never", horizons=[0, 5]
    )

    value, _ = forms(y, starts)

    for r, start in enumerate(starts):
        by_hand = [
            att_by_hand(y[:, :, 0], start, not_yet=not_yet, horizon=h) for h in (None, 0, 5)
        ]
        assert value[r, :, 0] == pytest.approx(by_hand, abs=1e-12)


def test_variance_is_that_of_means_of_contracted_paths():
    """Forms evaluated on assignments and the CR2 covariance of their scores agree."""
    y = trap_t5(np.random.default_rng(1))
    forms = group_time_forms(T5, 26, horizons=[2])

    _, variance = forms(y, T5[None])
    joint = forms.scores(y, T5, names=["y"]).joint()

    assert joint.names == ("y", "y@e2")
    assert variance[0, :, 0] == pytest.approx(np.diag(joint.cov))


def test_anticipation_moves_the_base_and_frees_no_anticipating_control():
    """With two periods of anticipation the base of cohort 10 is period 7."""
    forms = group_time_forms(T5, 26, controls="not_yet", anticipation=2, horizons=[0])

    cohort_10 = forms.slope[1, 0]

    assert cohort_10[7] < 0
    assert cohort_10[8] == cohort_10[9] == 0


def test_a_base_of_all_earlier_periods_is_their_mean():
    """One cohort, one control: after minus the mean before."""
    forms = group_time_forms([2, NEVER], 4, base="mean")

    assert forms.slope[0, 0] == pytest.approx([-0.5, -0.5, 0.5, 0.5])


def test_p_value_is_the_share_of_all_assignments():
    """4 v 4 clusters: counted by hand over 70 choices with the studentised difference."""
    rng = np.random.default_rng(3)
    gain = rng.normal(size=8) + 1.2 * np.array([1, 1, 1, 1, 0, 0, 0, 0])
    y = np.stack([np.zeros(8), gain], axis=1)[:, :, None]
    start = np.array([1] * 4 + [NEVER] * 4)

    def t(chosen):
        inside = np.isin(np.arange(8), chosen)
        a, b = gain[inside], gain[~inside]
        return abs(a.mean() - b.mean()) / math.sqrt(a.var(ddof=1) / 4 + b.var(ddof=1) / 4)

    all_t = np.array([t(chosen) for chosen in combinations(range(8), 4)])
    expected = (all_t >= t(range(4)) * (1 - 1e-9)).mean()

    result = randomisation_inference(
        y, AssignmentScheme.of(start), group_time_forms(start, 2), names=["y"]
    )

    assert result.is_exact
    assert result["y"].p_value == pytest.approx(expected)


def test_ends_of_the_interval_are_tests_of_adjusted_outcomes():
    """Taking tau off treated periods and testing for nothing is testing tau."""
    y = trap_t5(np.random.default_rng(5))
    scheme, forms = AssignmentScheme.of(T5), group_time_forms(T5, 26)
    effect = randomisation_inference(y, scheme, forms, names=["y"])["y"]

    def p(tau):
        adjusted = y - tau * scheme.treated(26)[:, :, None]
        return randomisation_inference(adjusted, scheme, forms, names=["y"])["y"].p_value

    step = 1e-6 * effect.std_error
    assert p(effect.ci_high - step) > 0.05 >= p(effect.ci_high + step)
    assert p(effect.ci_low + step) > 0.05 >= p(effect.ci_low - step)


def test_event_times_are_inverted_at_their_own_estimate():
    """The end of the interval of e3 is found again by testing adjusted outcomes."""
    y = trap_t5(np.random.default_rng(6))
    scheme, forms = AssignmentScheme.of(T5), group_time_forms(T5, 26, horizons=[3])
    effect = randomisation_inference(y, scheme, forms, names=["y"])["y@e3"]

    def p(tau):
        adjusted = y - tau * scheme.treated(26)[:, :, None]
        return randomisation_inference(adjusted, scheme, forms, names=["y"])["y@e3"].p_value

    step = 1e-6 * effect.std_error
    assert p(effect.ci_high - step) > 0.05 >= p(effect.ci_high + step)


def test_p_values_of_event_times_are_counted_on_their_own_t():
    """The share of re-assignments whose t, estimated afresh, is at least as large."""
    y = trap_t5(np.random.default_rng(6)) + 0.8 * AssignmentScheme.of(T5).treated(26)[..., None]
    scheme, forms = AssignmentScheme.of(T5), group_time_forms(T5, 26, horizons=[0, 3, 6])
    starts, _ = scheme.draws(499, 4)
    value, variance = forms(y, starts)
    t = np.abs(value / np.sqrt(variance))[:, :, 0]

    result = randomisation_inference(y, scheme, forms, names=["y"], draws=499, seed=4)

    expected = (t >= t[0] * (1 - 1e-9)).mean(axis=0)
    assert [each.p_value for each in result.estimates] == pytest.approx(expected)


def test_adding_an_effect_moves_the_interval_by_it():
    """A constant effect from the start on is taken out exactly."""
    y = trap_t5(np.random.default_rng(7))
    scheme, forms = AssignmentScheme.of(T5), group_time_forms(T5, 26)
    moved = y + 3.0 * scheme.treated(26)[:, :, None]

    before, after = (
        randomisation_inference(each, scheme, forms, names=["y"])["y"] for each in (y, moved)
    )

    assert after.ci_low - before.ci_low == pytest.approx(3.0)
    assert after.ci_high - before.ci_high == pytest.approx(3.0)


def test_estimates_of_lines_add_up_and_the_note_says_intervals_do_not():
    """Profit is the sum of its lines to 1e-9; its interval is its own."""
    rng = np.random.default_rng(8)
    lines = 1e6 * np.concatenate([trap_t5(rng), trap_t5(rng)], axis=2)
    y = np.concatenate([lines, lines.sum(axis=2, keepdims=True)], axis=2)
    forms = group_time_forms(T5, 26, horizons=[0, 1])

    result = randomisation_inference(
        y, AssignmentScheme.of(T5), forms, names=["gmv", "fee", "profit"], draws=199
    )

    for form in ("", "@e0", "@e1"):
        total = result[f"gmv{form}"].estimate + result[f"fee{form}"].estimate
        assert result[f"profit{form}"].estimate == pytest.approx(total, rel=1e-9)
    assert result["gmv"].note == "intervals of lines do not add up to the interval of their sum"


def test_p_value_interval_and_band_come_from_one_inversion():
    """They never contradict each other, over many event times."""
    rng = np.random.default_rng(9)
    scheme, forms = AssignmentScheme.of(T5), group_time_forms(T5, 26, horizons=range(8))
    for _ in range(5):
        y = trap_t5(rng) + 1.5 * scheme.treated(26)[:, :, None]
        result = randomisation_inference(y, scheme, forms, names=["y"], draws=199)

        for i, effect in enumerate(result.estimates):
            assert (effect.p_value <= 0.05) == effect.excludes(0.0)
            assert result.band_low[i] <= effect.ci_low + 1e-9
            assert result.band_high[i] >= effect.ci_high - 1e-9


def test_three_against_three_has_no_interval_at_95_percent():
    """20 assignments, two of them alike up to sign: the smallest p-value is .1."""
    start = np.array([1] * 3 + [NEVER] * 3)
    y = np.stack([np.zeros(6), np.array([9.0, 10, 12, 1, 0, 2])], axis=1)[:, :, None]
    scheme, forms = AssignmentScheme.of(start), group_time_forms(start, 2)

    result = randomisation_inference(y, scheme, forms, names=["y"])
    lenient = randomisation_inference(y, scheme, forms, names=["y"], level=0.9)

    assert result.smallest_p[0] == pytest.approx(0.1)
    assert math.isnan(result["y"].ci_low)
    assert result["y"].p_value == pytest.approx(0.1)
    assert result["y"].note == (
        "the smallest p-value this design can give is 0.1: no interval at 95%"
    )
    assert lenient["y"].ci_low > 0


def test_a_cohort_of_one_cluster_borrows_its_variance():
    """Re-assignment still works where one cluster started alone."""
    start = np.array([3] + [5] * 4 + [NEVER] * 5)
    y = np.random.default_rng(2).normal(size=(10, 8, 1))

    effect = randomisation_inference(
        y, AssignmentScheme.of(start), group_time_forms(start, 8), names=["y"]
    )["y"]

    assert effect.std_error > 0
    assert effect.ci_low < effect.estimate < effect.ci_high


def test_constant_outcomes_have_no_test():
    """A line of zeros gives no number, and leaves the others alone."""
    y = np.concatenate([trap_t5(np.random.default_rng(1)), np.full((12, 26, 1), 7.3)], axis=2)

    result = randomisation_inference(
        y, AssignmentScheme.of(T5), group_time_forms(T5, 26), names=["gmv", "fee"], draws=99
    )

    assert result["fee"].note.endswith("does not vary")
    assert math.isfinite(result["gmv"].p_value)


def test_draws_keep_the_counts_of_every_block():
    """Starts are shuffled within blocks only; the first row is what was drawn."""
    start = np.array([4, 4, NEVER, NEVER, 4, NEVER, NEVER, NEVER])
    scheme = AssignmentScheme.of(start, block=list("aaaabbbb"))

    every, exact = scheme.draws(999)
    some, sampled = scheme.draws(5)

    assert scheme.count == 6 * 4
    assert exact
    assert len(np.unique(every, axis=0)) == 24
    assert (every[0] == start).all()
    assert not sampled
    assert some.shape == (6, 8)
    for starts in (every, some):
        assert ((starts[:, :4] == 4).sum(axis=1) == 2).all()
        assert ((starts[:, 4:] == 4).sum(axis=1) == 1).all()


def test_single_wave_is_the_difference_of_mean_changes():
    """The change of treated clusters minus that of untreated ones."""
    y = np.random.default_rng(4).normal(size=(12, 6))
    panel = Panel.of_arrays(y, [3] * 6 + [NEVER] * 6)
    change = y[:, 3:].mean(axis=1) - y[:, :3].mean(axis=1)

    effect = single_wave(panel)["y"]

    assert effect.estimate == pytest.approx(change[:6].mean() - change[6:].mean())
    assert effect.std_error == pytest.approx(
        math.sqrt(change[:6].var(ddof=1) / 6 + change[6:].var(ddof=1) / 6)
    )


def test_covariate_adjustment_is_least_squares_with_hc2():
    """The same coefficient and HC2 standard error as statsmodels on cluster means."""
    import statsmodels.api as sm

    y = np.random.default_rng(4).normal(size=(16, 6, 2))
    panel = Panel.of_arrays(y, [3] * 8 + [NEVER] * 8, names=["gmv", "fee"])
    before, after = y[:, :3].mean(axis=1), y[:, 3:].mean(axis=1)
    x = np.column_stack([np.ones(16), before, [1] * 8 + [0] * 8])
    fit = sm.OLS(after[:, 1], x).fit(cov_type="HC2")

    effect = single_wave(panel, adjust="covariate", draws=99)["fee"]

    assert effect.estimate == pytest.approx(fit.params[3])
    assert effect.std_error == pytest.approx(fit.bse[3])


def test_units_that_count_alike_give_the_contrast_of_unit_means():
    """Weighted by units, a wave is the difference of ratios of sums of changes."""
    rng = np.random.default_rng(4)
    cluster = np.repeat(np.arange(10), [1, 5, 2, 7, 3, 4, 2, 6, 1, 3])
    y = rng.normal(size=(len(cluster), 4))
    panel = Panel.of_arrays(y, np.where(cluster < 5, 2, NEVER), cluster=cluster)
    change = y[:, 2:].mean(axis=1) - y[:, :2].mean(axis=1)

    effect = single_wave(panel, weigh="unit")["y"]

    assert effect.estimate == pytest.approx(
        change[cluster < 5].mean() - change[cluster >= 5].mean()
    )
    assert effect.ci_low < effect.estimate < effect.ci_high


def test_unequal_shares_in_blocks_do_not_bias_a_single_wave():
    """Block levels of 0 and 10 (trap T3) leave an effect of 0, not 4.8."""
    start = [1] + [NEVER] * 5 + [1] * 3 + [NEVER] * 3
    level = np.repeat([0.0, 10.0], 6)
    noise = np.random.default_rng(0).normal(0, 1e-3, size=12)
    panel = Panel.of_arrays(np.stack([np.zeros(12), level + noise], axis=1), start)
    scheme = AssignmentScheme.of(start, block=np.repeat([0, 1], 6))

    result = single_wave(panel, scheme=scheme)

    assert result["y"].estimate == pytest.approx(0.0, abs=0.01)
    assert result.note == "blocks hold their starts in different shares"


def test_a_stepped_wedge_recovers_a_constant_effect():
    """All clusters start in the end; those that start later are the controls."""
    rng = np.random.default_rng(1)
    start = np.repeat([3, 5, 7, 9], 4)
    y = rng.normal(0, 0.3, size=(16, 12)) + 2.0 * (np.arange(12) >= start[:, None])

    effect = roll_out(Panel.of_arrays(y, start), controls="not_yet")["y"]

    assert effect.ci_low < 2.0 < effect.ci_high
    assert effect.ci_low > 1.0


def test_cluster_means_weigh_units():
    """A cluster's mean is weighted; clusters then count alike."""
    y = np.array([[1.0, 2.0], [4.0, 5.0], [7.0, 7.0]])
    panel = Panel.of_arrays(
        y, [1, 1, NEVER], cluster=[0, 0, 1], weight=np.array([2.0, 1.0, 5.0])
    )

    assert cluster_means(panel)[:, :, 0].tolist() == [[2.0, 3.0], [7.0, 7.0]]


def test_nothing_is_mutated():
    """Outcomes and scheme are as they were."""
    y = trap_t5(np.random.default_rng(1))
    kept, start = y.copy(), T5.copy()

    randomisation_inference(
        y, AssignmentScheme.of(start), group_time_forms(start, 26), names=["y"], draws=49
    )

    assert (y == kept).all()
    assert (start == T5).all()


def test_units_of_a_cluster_that_start_apart_are_a_mistake():
    """A scheme needs clusters that were assigned whole."""
    panel = Panel.of_arrays(np.zeros((3, 2)), [1, NEVER, NEVER], cluster=[0, 0, 1])

    with pytest.raises(DesignError, match="found 1 clusters whose units start at different"):
        AssignmentScheme.of_panel(panel)


def test_gaps_are_a_mistake():
    """Missing outcomes are found before anything is drawn."""
    panel = Panel.of_arrays(np.array([[1.0, np.nan], [1.0, 2.0]]), [1, NEVER])

    with pytest.raises(DataError, match="found 1 units that were not observed"):
        roll_out(panel)


def test_a_statistic_without_treated_periods_cannot_be_inverted():
    """A placebo estimate returns 0 for treatment itself."""
    forms = group_time_forms([2, 2, NEVER, NEVER], 4)
    placebo = type(forms)(
        forms=("",),
        cohorts=forms.cohorts,
        clusters=forms.clusters,
        slope=np.array([[[-1.0, 1, 0, 0], [1.0, -1, 0, 0]]]),
    )
    y = np.random.default_rng(0).normal(size=(4, 4, 1))

    with pytest.raises(DesignError, match=r"returns \[0.0\] for the indicator of treatment"):
        randomisation_inference(
            y, AssignmentScheme.of([2, 2, NEVER, NEVER]), placebo, names=["y"]
        )


@pytest.mark.parametrize(
    ("start", "options", "message"),
    [
        ([1, 1, 1], {}, "found no treated period with 'never' controls"),
        ([0, NEVER], {}, "found no treated period"),
        ([1, NEVER], {"horizons": [9]}, "no cohort has a control 9 periods in; allowed"),
    ],
)
def test_designs_without_controls_are_mistakes(start, options, message):
    """The message says which starts were found."""
    with pytest.raises(DesignError, match=message):
        group_time_forms(start, 3, **options)


def test_single_wave_refuses_several_starts_and_too_many_covariates():
    """Waves belong to roll_out; covariates must leave freedom."""
    y = np.random.default_rng(0).normal(size=(6, 4, 4))
    names = ["a", "b", "c", "d"]

    with pytest.raises(DesignError, match="a single wave found starts"):
        single_wave(Panel.of_arrays(y, [1, 2, 1, NEVER, NEVER, NEVER], names=names))
    with pytest.raises(DesignError, match="adjusts 6 clusters for 5 covariates"):
        single_wave(Panel.of_arrays(y, [1] * 3 + [NEVER] * 3, names=names), adjust="covariate")


def test_a_statistic_of_ones_own_is_inverted_alike():
    """Any estimator that is linear in outcomes goes through the same door."""
    y = np.random.default_rng(0).normal(size=(12, 1, 1))
    scheme = AssignmentScheme.of([0] * 6 + [NEVER] * 6)

    result = randomisation_inference(
        y, scheme, AdjustedDifference(x=np.ones((12, 1)), size=np.ones(12)), names=["y"]
    )

    assert result["y"].estimate == pytest.approx(y[:6].mean() - y[6:].mean())


def test_trap_t5_interval_covers():
    """Smoke, 200 runs: plug-in z covers 85.4 % here, re-assignment at least 91 %."""
    rng = np.random.default_rng(12)
    scheme, forms = AssignmentScheme.of(T5), group_time_forms(T5, 26)
    hits = [
        not randomisation_inference(
            trap_t5(rng), scheme, forms, names=["y"], draws=199, seed=i
        )["y"].excludes(0.0)
        for i in range(200)
    ]

    assert np.mean(hits) >= 0.91


@pytest.mark.slow
def test_trap_t5_interval_and_band_cover_in_the_long_run():
    """2,000 runs: interval at least 93 %, band over event times 0 to 7 at least 92 %."""
    rng = np.random.default_rng(13)
    scheme, forms = AssignmentScheme.of(T5), group_time_forms(T5, 26, horizons=range(8))
    single, band = [], []
    for i in range(2000):
        result = randomisation_inference(
            trap_t5(rng), scheme, forms, names=["y"], draws=499, seed=i
        )
        single.append(not result["y"].excludes(0.0))
        band.append(((result.band_low[1:] <= 0) & (result.band_high[1:] >= 0)).all())

    assert np.mean(single) >= 0.93
    assert np.mean(band) >= 0.92
