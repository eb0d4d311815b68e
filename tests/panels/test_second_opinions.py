"""Second opinions beside group-time effects: least squares done another way, laws, refusals."""

from __future__ import annotations

import time

import numpy as np
import pytest

from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DesignError
from upliftlab.panels.bacon import bacon, cell_weights
from upliftlab.panels.fits import TwoWay, independent
from upliftlab.panels.imputation import imputation, pretrends, two_stage
from upliftlab.panels.interaction_weighted import interaction_weighted, saturated
from upliftlab.panels.local_projections import local_projections
from upliftlab.panels.stacked import stacked
from upliftlab.panels.two_way import averages, event_study, twfe
from upliftlab.simulate.creator_settings import creator_preset
from upliftlab.simulate.creator_truth import MEASURES, unit_effects
from upliftlab.simulate.dual_commission import creator_panel, draw_creators

AGAINST_DENSE = 1e-9  # both are exact; only rounding differs
ROBUST = {
    "imputation": imputation,
    "two-stage": two_stage,
    "interaction-weighted": interaction_weighted,
    "saturated": saturated,
}
ALL = {
    "twfe": twfe,
    "event study": event_study,
    **ROBUST,
    "pre-trends": pretrends,
    "stacked": stacked,
    "local projections": local_projections,
}


def draw(*, units=60, length=8, width=2, holes=0.0, seed=0, clusters=None):
    """A staggered panel with noise, unequal weights, unit levels and growing effects."""
    rng = np.random.default_rng(seed)
    start = rng.choice([3, 5, 6, NEVER], units)
    since = np.arange(length)[None, :] - start[:, None]
    y = rng.normal(size=(units, length, width)) + rng.normal(size=(units, 1, width)) * 3
    y += np.where(since >= 0, 1.0 + since, 0.0)[:, :, None]
    y[rng.random((units, length)) < holes] = np.nan
    return Panel.of_arrays(
        y,
        start,
        names=[f"line{k}" for k in range(width)],
        cluster=None if clusters is None else rng.integers(0, clusters, units),
        weight=rng.uniform(0.5, 2.0, units),
        x=rng.normal(size=(units, 1)),
    )


def dense(panel, columns, cells):
    """Weighted least squares with every dummy written out, and CR1 with k = columns + T."""
    i, t = np.nonzero(cells)
    count, length, _ = panel.shape
    design = np.column_stack(
        [columns[i, t], np.eye(count)[i], np.eye(length)[t][:, 1:]],
    )
    w = panel.weight[i]
    inverse = np.linalg.pinv((design * w[:, None]).T @ design)
    y = panel.y[i, t]
    coefficient = inverse @ (design * w[:, None]).T @ y
    residual = y - design @ coefficient
    width = columns.shape[2]
    score = (w[:, None] * design)[:, :, None] * residual[:, None, :]
    by_cluster = np.zeros((panel.cluster.max() + 1, *score.shape[1:]))
    np.add.at(by_cluster, panel.cluster[i], score)
    influence = np.einsum("pq,gqk->gpk", inverse, by_cluster)[:, :width]
    groups, n, k = len(np.unique(panel.cluster[i])), len(i), width + length
    factor = groups / (groups - 1) * (n - 1) / (n - k)
    flat = influence.transpose(0, 2, 1).reshape(len(influence), -1)
    return coefficient[:width], factor * flat.T @ flat


@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_two_way_effects_equal_a_regression_with_every_dummy(holes):
    """Estimates and the joint CR1 covariance over components, with weights and holes."""
    panel = draw(holes=holes, clusters=25)
    treated = (np.arange(8)[None, :] >= panel.start[:, None]).astype(float)[:, :, None]

    found = twfe(panel)
    coefficient, cov = dense(panel, treated, ~np.isnan(panel.y[:, :, 0]))

    assert found.value == pytest.approx(coefficient[0], abs=AGAINST_DENSE)
    assert found.cov == pytest.approx(cov, abs=AGAINST_DENSE)
    assert found.df.tolist() == [len(np.unique(panel.cluster)) - 1.0] * 2


@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_an_event_study_equals_a_regression_with_every_dummy(holes):
    """One coefficient per horizon but the reference, components outside, horizons inside."""
    panel = draw(holes=holes)
    since = np.arange(8)[None, :] - panel.start[:, None]
    horizons = [e for e in range(-6, 5) if e != -1]
    columns = np.stack([since == e for e in horizons], axis=2).astype(float)

    found = event_study(panel)
    coefficient, cov = dense(panel, columns, ~np.isnan(panel.y[:, :, 0]))

    assert found.names[:2] == ("line0@e-6", "line0@e-5")
    assert found.value == pytest.approx(coefficient.T.reshape(-1), abs=AGAINST_DENSE)
    assert found.cov == pytest.approx(cov, abs=AGAINST_DENSE)


@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_cohort_by_horizon_coefficients_equal_a_regression_with_every_dummy(holes):
    """The closed form of balanced panels and the regression of others are one estimator."""
    panel = draw(holes=holes, width=1, clusters=30)
    seen = ~np.isnan(panel.y[:, :, 0])
    cells = [(g, t) for g in (3, 5, 6) for t in range(8) if t != g - 1]
    columns = np.stack(
        [np.outer(panel.start == g, np.arange(8) == t) for g, t in cells], axis=2
    ).astype(float)
    size = np.array([panel.weight[(panel.start == g) & seen[:, t]].sum() for g, t in cells])
    after = np.array([t >= g for g, t in cells])
    share = np.where(after, size, 0.0) / size[after].sum()

    found = interaction_weighted(panel)
    coefficient, cov = dense(panel, columns, seen)

    assert found.value == pytest.approx(share @ coefficient, abs=AGAINST_DENSE)
    assert found.cov == pytest.approx(share @ cov @ share, abs=AGAINST_DENSE)


@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_imputation_equals_a_regression_on_untreated_cells(holes):
    """Dummies fitted on untreated cells predict treated ones; influences are its hat matrix."""
    panel = draw(holes=holes, width=1, units=40)
    seen = ~np.isnan(panel.y[:, :, 0])
    before = seen & (np.arange(8)[None, :] < panel.start[:, None])
    after = seen & ~before & before.any(axis=1)[:, None]
    z = np.concatenate(
        [np.eye(40)[:, None].repeat(8, 1), np.eye(8)[None].repeat(40, 0)], axis=2
    )
    w = panel.weight[:, None] * np.ones(8)
    inverse = np.linalg.pinv((z[before] * w[before][:, None]).T @ z[before])
    effect = inverse @ (z[before] * w[before][:, None]).T @ panel.y[before]
    gap = panel.y[:, :, 0] - (z @ effect)[:, :, 0]
    v = np.where(after, w, 0.0) / w[after].sum()
    v0 = -w * (z @ (inverse @ (z[after] * v[after][:, None]).sum(axis=0)))
    v = np.where(before, v0, v)
    left = np.where(before, gap, 0.0)
    for g in (3, 5, 6):
        for t in range(g, 8):
            mine = after & np.outer(panel.start == g, np.arange(8) == t)
            left[mine] = gap[mine] - (v[mine] ** 2 @ gap[mine]) / (v[mine] ** 2).sum()
    variance = ((v * left).sum(axis=1) ** 2).sum()

    found = imputation(panel)

    assert found.value[0] == pytest.approx((v[after] * gap[after]).sum(), abs=AGAINST_DENSE)
    assert found.cov[0, 0] == pytest.approx(variance, rel=1e-8)


@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_a_local_projection_is_least_squares_of_long_differences(holes):
    """Horizon 1 with period dummies written out, starters and clean controls only; CR1."""
    panel = draw(holes=holes, clusters=20)
    rows = [
        (i, t)
        for t in (3, 5, 6)
        for i in range(60)
        if (panel.start[i] == t or panel.start[i] > t + 1)
        and not np.isnan(panel.y[i, [t - 1, t + 1], 0]).any()
    ]
    i, t = np.array(rows).T
    design = np.column_stack([panel.start[i] == t, *(t == u for u in (3, 5, 6))]).astype(float)
    change, w = panel.y[i, t + 1] - panel.y[i, t - 1], panel.weight[i]
    inverse = np.linalg.inv((design * w[:, None]).T @ design)
    coefficient = inverse @ (design * w[:, None]).T @ change
    residual = change - design @ coefficient
    score = ((w[:, None] * design) @ inverse[0])[:, None] * residual
    sums = np.zeros((panel.cluster.max() + 1, 2))
    np.add.at(sums, panel.cluster[i], score)
    groups, n = len(np.unique(panel.cluster[i])), len(i)

    found = local_projections(panel, by="dynamic", post=1)
    at = [found.index(f"line{k}@e1") for k in range(2)]

    assert found.value[at] == pytest.approx(coefficient[0], abs=AGAINST_DENSE)
    factor = groups / (groups - 1) * (n - 1) / (n - 4)
    assert found.cov[np.ix_(at, at)] == pytest.approx(factor * sums.T @ sums)


def test_imputation_two_stage_and_saturated_regression_are_one_number():
    """Without covariates in a balanced panel with one weight the three estimates are equal."""
    panel = draw()
    panel = Panel.of_arrays(panel.y, panel.start, names=panel.names)

    for by in ("simple", "group", "dynamic", "calendar"):
        one = imputation(panel, by=by).value
        assert two_stage(panel, by=by).value == pytest.approx(one, abs=AGAINST_DENSE)
        assert saturated(panel, by=by).value == pytest.approx(one, abs=AGAINST_DENSE)


def test_interacted_covariates_are_imputation_with_covariate_trends():
    """Slopes of x per period fitted on untreated cells give the saturated estimate."""
    panel = draw(width=1)
    panel = Panel.of_arrays(panel.y, panel.start, x=panel.x)
    slopes = panel.x[:, None, :] * np.eye(8)[None, :, 1:]

    found = imputation(panel, controls=slopes).value

    assert found == pytest.approx(saturated(panel).value, abs=1e-8)


@pytest.mark.parametrize("method", ALL.values(), ids=ALL.keys())
@pytest.mark.parametrize("holes", [0.0, 0.15])
def test_lines_add_up_to_profit(method, holes):
    """Every method is linear in the outcome, so lines and profit come from one fit to 1e-9."""
    panel = draw(width=2, holes=holes)
    profit = panel.y @ np.array([[0.3], [-2.0]])
    panel = panel.with_outcome(
        np.concatenate([panel.y, profit], axis=2) * 1e5, ["sales", "cost", "profit"]
    )

    found = method(panel)
    value = found.value.reshape(3, -1)
    price = np.kron([0.3, -2.0, -1.0], np.eye(value.shape[1]))

    assert value[2] == pytest.approx(0.3 * value[0] - 2.0 * value[1], rel=1e-9, abs=1e-4)
    residual_variance = np.diag(price @ found.cov @ price.T)
    assert np.abs(residual_variance).max() < 1e-9 * np.diag(found.cov).max()


@pytest.mark.parametrize("method", ALL.values(), ids=ALL.keys())
def test_order_of_units_does_not_matter_and_nothing_is_changed(method):
    """Shuffled units give the same answer, and the panel is as it was."""
    panel = draw(holes=0.1, clusters=20)
    before = panel.y.copy(), panel.start.copy(), panel.weight.copy()
    order = np.random.default_rng(1).permutation(60)

    there, back = method(panel), method(panel.select(order))

    assert back.value == pytest.approx(there.value, abs=1e-9)
    assert back.cov == pytest.approx(there.cov, abs=1e-9)
    for was, now in zip(before, (panel.y, panel.start, panel.weight), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.fixture
def heterogeneous_cohorts():
    """Effects that grow with time and by cohort, all positive, and few never-treated units."""
    start = np.repeat([3, 10, 16, NEVER], [30, 20, 20, 4])
    strength = np.repeat([3.0, 2.0, 1.0, 0.0], [30, 20, 20, 4])
    since = np.arange(20)[None, :] - start[:, None]
    effect = np.where(since >= 0, (since + 1) * strength[:, None], 0.0)
    noise = np.random.default_rng(4).normal(size=(74, 20)) * 0.5
    level = np.arange(74.0)[:, None] + np.sin(np.arange(20.0))[None, :]
    return Panel.of_arrays(level + effect + noise, start), effect[since >= 0].mean()


def test_two_way_effects_have_the_wrong_sign_when_effects_grow(heterogeneous_cohorts):
    """Every effect is positive and averages 20; TWFE says -2, twenty standard errors away."""
    panel, truth = heterogeneous_cohorts
    row = twfe(panel).estimate("y")

    assert truth == pytest.approx(20.47, abs=0.01)
    assert row.estimate == pytest.approx(-2.0, abs=0.2)
    assert (truth - row.estimate) / row.std_error > 20
    assert bacon(panel).forbidden > 0.5
    assert cell_weights(panel).negative < -0.25


@pytest.mark.parametrize("method", ROBUST.values(), ids=ROBUST.keys())
def test_second_opinions_have_the_right_size_when_effects_grow(method, heterogeneous_cohorts):
    """The same data: all others cover the truth."""
    panel, truth = heterogeneous_cohorts
    row = method(panel).estimate("y")

    assert row.estimate == pytest.approx(truth, abs=0.6)
    assert row.ci_low < truth < row.ci_high


def test_two_way_effects_misread_the_simulated_commission_plan():
    """Preset heterogeneous_cohorts, its true effects as outcome: no noise, so bias is exact.

    TWFE is 5 to 7 % off in sales and profit (the preset has too many never-treated creators
    for a wrong sign) and its event study shows trends before treatment where there are none.
    """
    drawn = draw_creators(creator_preset("heterogeneous_cohorts"))
    measures = [MEASURES.index("gmv_creator"), MEASURES.index("profit")]
    effect = unit_effects(drawn)[:, :, measures]
    panel = creator_panel(drawn).with_outcome(effect, ["sales", "profit"])
    after = np.arange(panel.shape[1])[None, :] >= panel.start[:, None]
    truth = effect[after].mean(axis=0)

    study = event_study(panel)

    for method in ROBUST.values():
        assert method(panel).value == pytest.approx(truth, rel=1e-9)
    assert (twfe(panel).value / truth > 1.05).all()
    before = study.value[study.index("profit@e-18")]
    assert np.abs(effect[~after]).max() == 0
    assert before > truth[1]


def test_methods_with_a_window_find_the_effects_of_their_window(heterogeneous_cohorts):
    """Horizon 1 is twice horizon 0, by stacking and by local projections."""
    panel, _ = heterogeneous_cohorts

    for found in (
        stacked(panel, by="dynamic"),
        local_projections(panel, by="dynamic", weighting="equal"),
    ):
        first, second = (found.value[found.index(f"y@e{h}")] for h in (0, 1))
        assert first == pytest.approx(2.14, abs=0.35)
        assert second == pytest.approx(2 * 2.14, abs=0.5)


def test_anticipation_is_neither_before_nor_after():
    """A dip in the period before the start biases what ignores it, and is shown apart."""
    start = np.repeat([4, 6, NEVER], 20)
    since = np.arange(9)[None, :] - start[:, None]
    y = np.where(since >= 0, 5.0, np.where(since == -1, -2.0, 0.0))
    panel = Panel.of_arrays(y + np.random.default_rng(0).normal(size=y.shape) * 1e-6, start)

    assert imputation(panel).value[0] > 5.2
    assert twfe(panel).value[0] > 5.2
    for method in (imputation, two_stage, interaction_weighted, saturated, stacked, twfe):
        assert method(panel, anticipation=1).value[0] == pytest.approx(5.0, abs=1e-5)
    apart = imputation(panel, by="dynamic", anticipation=1)
    assert apart.names[0] == "y@e-1"
    assert apart.value[0] == pytest.approx(-2.0, abs=1e-5)
    shown = local_projections(panel, by="dynamic", anticipation=1)
    assert shown.value[shown.index("y@e-1")] == pytest.approx(-2.0, abs=1e-5)
    assert event_study(panel, anticipation=1).estimate("y@e0").estimate == pytest.approx(5.0)


def test_comparisons_of_cohorts_add_up_to_two_way_effects():
    """Weighted units, all components, always- and never-treated cohorts."""
    base = draw()
    start = np.random.default_rng(2).choice([0, 2, 5, 7, NEVER], 60)
    panel = Panel.of_arrays(base.y, start, names=base.names, weight=base.weight)

    found = bacon(panel)

    assert found.value == pytest.approx(twfe(panel).value, abs=1e-12)
    assert sum(c.weight for c in found.comparisons) == pytest.approx(1.0)
    assert min(c.weight for c in found.comparisons) > 0
    assert {c.kind for c in found.comparisons} == {
        "treated vs never",
        "earlier vs later",
        "later vs earlier",
        "later vs always treated",
    }


def test_weights_of_cells_turn_effects_into_two_way_effects():
    """Without noise TWFE is the weighted sum of the cells' effects, also with holes."""
    panel = draw(holes=0.2, width=1)
    since = np.arange(8)[None, :] - panel.start[:, None]
    effect = np.where(since >= 0, 1.0 + since**2, 0.0)
    plain = panel.with_outcome(
        np.where(np.isnan(panel.y[:, :, 0]), np.nan, effect)[:, :, None], ["y"]
    )
    found = cell_weights(panel)
    by_cell = 1.0 + (np.arange(8)[None, :] - found.starts[:, None]) ** 2

    assert (found.weight * by_cell).sum() == pytest.approx(twfe(plain).value[0], abs=1e-9)
    assert found.weight.sum() == pytest.approx(1.0)


def test_all_treated_at_once_has_no_controls():
    """Nobody is left to compare with: an error that says what to add."""
    panel = Panel.of_arrays(np.random.default_rng(0).normal(size=(6, 4)), [2] * 6)

    for method in (*ALL.values(), bacon, cell_weights):
        with pytest.raises(DesignError) as caught:
            method(panel)
        assert str(caught.value).endswith(
            "needs controls; all 6 units start in period '2' and none is never treated. Add "
            "units that start later or never."
        )


def test_nobody_treated_is_refused():
    """A panel without a start, or with starts after its end, has no effect to estimate."""
    y = np.random.default_rng(0).normal(size=(6, 4))

    for start in ([NEVER] * 6, [4] * 6):
        with pytest.raises(
            DesignError, match="needs treated units; none of the 6 units starts"
        ):
            twfe(Panel.of_arrays(y, start))


def test_treated_from_the_first_period_on_says_nothing():
    """Always-treated units have no earlier period: nothing is left beside the never-treated."""
    y = np.random.default_rng(0).normal(size=(6, 4))
    panel = Panel.of_arrays(y, [0] * 3 + [NEVER] * 3)

    with pytest.raises(DesignError, match="is a sum of unit and period effects"):
        twfe(panel)
    with pytest.raises(DesignError, match="this panel has none"):
        imputation(panel)
    with pytest.raises(DesignError, match="every treated unit starts in the first periods"):
        interaction_weighted(panel)
    with pytest.raises(DesignError, match="in this panel none does"):
        bacon(panel)
    with pytest.raises(DesignError, match="this panel has none"):
        stacked(panel)
    with pytest.raises(DesignError, match="this panel has none"):
        local_projections(panel)


def test_always_treated_units_are_left_out_with_a_note():
    """They change nothing in methods that need a period before."""
    panel = draw(width=1)
    more = Panel.of_arrays(
        np.concatenate([panel.y, np.full((3, 8, 1), 99.0)]),
        [*panel.start, 0, 0, 0],
        weight=np.append(panel.weight, [1.0, 1.0, 1.0]),
        cluster=np.append(panel.cluster, [60, 61, 62]),
    )

    for method in ROBUST.values():
        found = method(more)
        assert found.value == pytest.approx(
            method(Panel.of_arrays(panel.y, panel.start, weight=panel.weight)).value, abs=1e-9
        )
        assert "left out" in found.notes[0]


def test_without_never_treated_units_the_last_cohort_is_the_control():
    """Said in a note; periods in which everybody is treated are left out."""
    panel = draw(width=1)
    panel = panel.select(panel.start != NEVER)

    found = interaction_weighted(panel)
    shorter = Panel.of_arrays(
        panel.y[:, :6], np.where(panel.start == 6, NEVER, panel.start), weight=panel.weight
    )

    assert found.value == pytest.approx(interaction_weighted(shorter).value, abs=1e-9)
    assert found.notes[0].startswith("no never-treated units: units that start in '6' are")
    assert "horizon -6 is 0 as well" in event_study(panel).notes[0]


def test_units_observed_once_are_left_out():
    """A unit effect takes them up, so they change nothing, and are counted."""
    panel = draw(width=1)
    y = panel.y.copy()
    y[:4, 1:] = np.nan

    found = twfe(Panel.of_arrays(y, panel.start, weight=panel.weight))
    rest = twfe(Panel.of_arrays(y[4:], panel.start[4:], weight=panel.weight[4:]))

    assert found.value == pytest.approx(rest.value, abs=1e-12)
    assert found.cov == pytest.approx(rest.cov, abs=1e-12)
    assert found.notes == ("4 unit(s) observed fewer than 2 times left out",)


def test_cells_that_nothing_untreated_reaches_are_left_out():
    """Two blocks of units and periods that never meet: each is imputed from its own side."""
    panel = draw(width=1)
    y = panel.y.copy()
    y[panel.start == 3, :3] = np.nan
    panel = Panel.of_arrays(y, panel.start, weight=panel.weight)
    gone = panel.select(panel.start != 3)

    found = imputation(panel)

    assert found.value == pytest.approx(imputation(gone).value, abs=1e-9)
    assert "treated cell(s) of" in found.notes[0]


def test_one_cluster_gives_no_covariance():
    """An estimate without a standard error, and the reason."""
    panel = draw(width=1, clusters=1)

    for method in ALL.values():
        found = method(panel)
        assert np.isfinite(found.value).all()
        assert np.isnan(found.cov).all()
        assert any("for a covariance" in note for note in found.notes)


def test_few_clusters_and_cohorts_in_one_cluster_are_said():
    """An interval from 4 clusters is not to be trusted, nor one whose cohort is a cluster."""
    panel = draw(width=1)
    code = np.unique(panel.start, return_inverse=True)[1]
    found = imputation(Panel.of_arrays(panel.y, panel.start, cluster=code))

    assert found.clusters == 4
    assert "cohort(s) '3', '5', '6' in one cluster" in found.notes[0]
    assert found.notes[1] == "4 clusters: the t(3) interval may be too short"


def test_a_control_that_repeats_treatment_leaves_no_estimate():
    """What a control could offset is NaN with a note, never the share that comes first."""
    panel = draw(width=1, holes=0.1)
    copy = (np.arange(8)[None, :] >= panel.start[:, None]).astype(float)[:, :, None]

    found = twfe(panel, controls=copy)

    assert np.isnan(found.value).all()
    assert np.isnan(found.cov).all()
    assert found.notes == ("not identified apart from other columns and effects: the effect",)


def test_starts_in_step_without_never_treated_units_leave_horizons_unidentified():
    """Starts four periods apart: horizons modulo 4 are period effects; NaN, not a choice."""
    start = np.repeat([4, 8, 12], 10)
    panel = Panel.of_arrays(np.random.default_rng(0).normal(size=(30, 16)), start)

    found = event_study(panel)

    assert np.isnan(found.value).all()
    assert found.notes[1].startswith(
        "not identified apart from other columns and effects: e-11"
    )


def test_a_cohort_without_its_reference_period_is_left_out():
    """Its coefficients would be measured from another period; the other cohorts stand."""
    panel = draw(width=1)
    y = panel.y.copy()
    y[panel.start == 3, 2] = np.nan

    found = interaction_weighted(Panel.of_arrays(y, panel.start))
    rest = interaction_weighted(Panel.of_arrays(y, panel.start).select(panel.start != 3))

    assert found.value == pytest.approx(rest.value, abs=1e-12)
    assert found.notes == ("cohort(s) '3' not observed in the reference period left out",)


def test_a_horizon_without_controls_is_missing_not_zero():
    """NaN with a note; the horizons beside it keep their numbers."""
    panel = draw(width=1)
    panel = panel.select(panel.start != NEVER)

    found = local_projections(panel, by="dynamic", post=4)

    assert np.isnan(found.estimate("line0@e3").estimate)
    assert np.isfinite(found.estimate("line0@e1").std_error)
    assert "no starters or no clean controls at e3, e4" in found.notes


def test_unbalanced_panels_have_no_bacon_decomposition():
    """The theorem is for balanced panels."""
    with pytest.raises(DesignError, match="needs a balanced panel"):
        bacon(draw(holes=0.1))


def test_an_unknown_average_is_refused():
    """The message lists what is known."""
    with pytest.raises(DesignError) as caught:
        imputation(draw(), by="weekly")

    assert str(caught.value) == (
        "an average by 'weekly' is not known; write 'simple', 'group', 'dynamic' or 'calendar'."
    )
    with pytest.raises(DesignError, match="is not known"):
        averages(["a"], np.array([0]), np.ones((1, 1)), "monthly")


def test_windows_that_are_not_fully_observed_are_counted():
    """A stack holds units observed in the whole window; late cohorts are trimmed."""
    panel = draw(width=1, holes=0.1)
    found = stacked(panel, post=2)

    assert "cohort(s) '6' trimmed: no whole clean window" in found.notes
    assert any("not fully observed" in note for note in found.notes)
    with pytest.raises(DesignError, match="Choose fewer periods"):
        stacked(panel, post=7)


def test_stacking_one_cohort_is_its_difference_in_differences():
    """With one cohort and never-treated units, by hand."""
    rng = np.random.default_rng(3)
    y = rng.normal(size=(12, 4))
    panel = Panel.of_arrays(y, [2] * 5 + [NEVER] * 7)
    change = y[:, 2:].mean(axis=1) - y[:, 1]

    found = stacked(panel, control="never")

    assert found.value[0] == pytest.approx(change[:5].mean() - change[5:].mean())


def test_effects_shared_by_a_group_are_dummies_of_the_group():
    """Row effects of a code, with holes, against least squares."""
    rng = np.random.default_rng(5)
    code = rng.integers(0, 4, 20)
    weight = np.where(rng.random((20, 5)) < 0.2, 0.0, rng.uniform(1, 2, (20, 1)))
    y = rng.normal(size=(20, 5, 1))
    i, t = np.nonzero(weight)
    design = (
        np.column_stack([np.eye(4)[code[i]], np.eye(5)[t]]) * np.sqrt(weight[i, t])[:, None]
    )
    fitted = np.linalg.pinv(design) @ (np.sqrt(weight[i, t]) * y[i, t, 0])

    level, period = TwoWay.of(weight, code).effects(y)

    left = y[i, t, 0] - level[code[i], 0] - period[t, 0]
    expected = y[i, t, 0] - fitted[code[i]] - fitted[4:][t]
    assert left == pytest.approx(expected, abs=1e-10)


def test_large_levels_do_not_eat_the_digits():
    """Money in fen with units of 10^9 keeps nine digits of an effect of 1."""
    panel = draw(width=1)
    far = panel.with_outcome(panel.y + 1e9 * (1 + np.arange(60.0))[:, None, None], ["y"])

    for method in (twfe, imputation, interaction_weighted):
        assert method(far).value == pytest.approx(method(panel).value, abs=1e-4)


def test_later_columns_are_dropped_not_earlier_ones():
    """The order of the design decides who stays."""
    x = np.random.default_rng(0).normal(size=(20, 2))
    columns = np.column_stack([x, x.sum(axis=1), np.zeros(20)])

    kept = independent(columns.T @ columns, (columns**2).sum(axis=0))

    assert kept.tolist() == [True, True, False, False]


def test_ten_thousand_units_are_quick():
    """Ten thousand units x 12 periods x 2 components: under 0.2 s of this process's time."""
    rng = np.random.default_rng(0)
    panel = Panel.of_arrays(
        rng.normal(size=(10_000, 12, 2)),
        rng.choice([5, 7, 9, NEVER], 10_000),
        names=("sales", "cost"),
    )

    for method in (twfe, imputation, interaction_weighted, saturated):
        seconds = []
        for _ in range(3):
            begin = time.process_time()
            method(panel)
            seconds.append(time.process_time() - begin)
        assert min(seconds) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("method", ROBUST.values(), ids=ROBUST.keys())
def test_intervals_cover_with_sixty_clusters(method):
    """Coverage of the simple average over 1,000 panels with autocorrelated errors, 60 units."""
    rng = np.random.default_rng(11)
    start = np.repeat([4, 6, 8, NEVER], 15)
    since = np.arange(12)[None, :] - start[:, None]
    truth = np.where(since >= 0, 1.0 + 0.5 * since, 0.0)
    target = truth[since >= 0].mean()
    hits = 0
    for _ in range(1000):
        error = rng.normal(size=(60, 12))
        for t in range(1, 12):
            error[:, t] += 0.6 * error[:, t - 1]
        row = method(Panel.of_arrays(truth + error, start)).estimate("y")
        hits += row.ci_low < target < row.ci_high

    assert hits >= 910
