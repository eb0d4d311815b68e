"""Group-time effects next to controls with the same covariates."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DataError, DesignError, UpliftlabError
from upliftlab.panels.adjusted import adjusted
from upliftlab.panels.cross_sections import cross_sections
from upliftlab.panels.group_time import group_time
from upliftlab.panels.nuisance import Learners, design, folds, logit

METHODS = ("dr", "ipw", "reg")


@pytest.fixture(scope="module")
def panel():
    """200 units, 6 periods, cohorts 2, 4 and never, three lines, trends that hang on x."""
    return _draw(200, seed=3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("control", ["never", "not_yet"])
@pytest.mark.parametrize("base", ["universal", "varying"])
def test_without_covariates_effects_are_plain_differences(panel, method, control, base):
    """Values and standard errors are those of the engine on cohort means."""
    bare = replace(panel, x=np.empty((200, 0)))

    for anticipation in (0, 1):
        found = adjusted(
            bare, method=method, control=control, base=base, anticipation=anticipation
        )
        plain = group_time(bare, control=control, base=base, anticipation=anticipation)
        cov = plain.forms.joint(plain.moments, inference="analytic").cov
        assert found.cells == plain.cells
        assert found.att == pytest.approx(plain.att, abs=1e-12, nan_ok=True)
        assert found.std_error.ravel() == pytest.approx(
            np.sqrt(np.diag(cov)), rel=1e-9, abs=1e-12, nan_ok=True
        )


@pytest.mark.parametrize("method", METHODS)
def test_lines_together_equal_lines_alone(panel, method):
    """Solving for all components at once changes nothing, in effects and influence."""
    together = adjusted(panel, method=method)

    for k, name in enumerate(panel.names):
        alone = adjusted(panel.component(name), method=method)
        assert together.att[:, k] == pytest.approx(alone.att[:, 0], abs=1e-10, nan_ok=True)
        assert together.influence.dense()[:, :, k] == pytest.approx(
            alone.influence.dense()[:, :, 0], abs=1e-12, nan_ok=True
        )


@pytest.mark.parametrize("method", METHODS)
def test_lines_add_up_to_profit(panel, method):
    """The effect on .3 sales - cost is .3 effect on sales - effect on cost, to 1e-9."""
    price = np.array([[0.3], [-1.0], [0.0]])
    profit = adjusted(panel.with_outcome(panel.y @ price, ["profit"]), method=method)
    lines = adjusted(panel, method=method)

    assert profit.att == pytest.approx(lines.att @ price, abs=1e-9, nan_ok=True)
    assert profit.influence.dense() == pytest.approx(
        lines.influence.dense() @ price, abs=1e-9, nan_ok=True
    )


@pytest.mark.parametrize("method", METHODS)
def test_influence_is_what_one_more_unit_of_weight_changes(method):
    """The derivative of every effect by a unit's weight is that unit's influence.

    Weights enter propensity, regression and means, so this checks that the influence counts
    the estimation of all three.
    """
    small = _draw(90, seed=8)
    found = adjusted(small, method=method).influence.dense()
    bare = small.weight

    for unit in (0, 17, 44, 71):
        shift = 1e-5 * (np.arange(90) == unit)
        up = adjusted(replace(small, weight=bare + shift), method=method).att
        down = adjusted(replace(small, weight=bare - shift), method=method).att
        assert (up - down) / 2e-5 == pytest.approx(found[unit], abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("method", METHODS)
def test_influence_of_rows_is_what_their_weight_changes(method):
    """The same for repeated cross-sections, where a row is a unit."""
    y, period, start, x = _rows(400, seed=5)
    found = cross_sections(y, period, start, x=x, method=method).influence.dense()

    for row in (0, 90, 201, 399):
        att = [
            cross_sections(
                y,
                period,
                start,
                x=x,
                weight=1 + sign * 1e-5 * (np.arange(400) == row),
                method=method,
            ).att
            for sign in (1, -1)
        ]
        assert (att[0] - att[1]) / 2e-5 == pytest.approx(found[row], abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("method", METHODS)
def test_units_of_measurement_and_order_do_not_matter(panel, method):
    """Levels of units, scales of covariates and the order of rows leave effects alone."""
    rng = np.random.default_rng(0)
    order = rng.permutation(200)
    level = rng.normal(size=(200, 1, 1)) * 1e4
    other = replace(
        panel.select(order),
        y=panel.y[order] + level,
        x=panel.x[order] * [1e5, -1e-3] + [7.0, 1e4],
    )

    found, expected = adjusted(other, method=method), adjusted(panel, method=method)
    assert found.att == pytest.approx(expected.att, abs=1e-8, nan_ok=True)
    assert found.std_error == pytest.approx(expected.std_error, abs=1e-8, nan_ok=True)


def test_covariates_that_drive_trends_bias_the_plain_difference():
    """The truth is 2 after the start; plain differences miss it, all methods find it."""
    big = _draw(4000, seed=1)
    bare = replace(big, x=np.empty((4000, 0)))
    plain = _after(adjusted(bare, control="never"))

    assert abs(plain - 2) > 0.3
    for method in METHODS:
        assert _after(adjusted(big, method=method, control="never")) == pytest.approx(
            2, abs=0.15
        )


def test_one_right_model_is_enough():
    """With a wrong regression and a right propensity, dr finds the truth that reg misses."""
    rng, n = np.random.default_rng(2), 20_000
    x = rng.normal(size=(n, 1))
    treated = rng.random(n) < 1 / (1 + np.exp(-x[:, 0]))
    change = x[:, 0] ** 2 * (x[:, 0] > 0) + treated + rng.normal(size=n)
    paths = np.column_stack([np.zeros(n), change])
    curved = Panel.of_arrays(paths, np.where(treated, 1, NEVER), x=x)

    assert adjusted(curved, method="dr").att[1, 0] == pytest.approx(1, abs=0.06)
    assert abs(adjusted(curved, method="reg").att[1, 0] - 1) > 0.1


def test_clusters_add_up_influence(panel):
    """Sums by cluster are sums of the units' influence; so are squares, and linear maps."""
    cluster = np.arange(200) // 5
    found = adjusted(replace(panel, cluster=cluster), method="dr", control="never")
    dense = found.influence.dense()
    expected = np.stack([dense[cluster == g].sum(axis=0) for g in range(40)])
    maps = np.random.default_rng(1).normal(size=(3, len(found.cells)))

    assert found.influence.sums(cluster) == pytest.approx(expected, abs=1e-12)
    assert found.influence.squares(cluster) == pytest.approx((expected**2).sum(axis=0))
    mapped = np.einsum("rc,gck->grk", maps, expected)
    assert found.influence.sums(cluster, maps) == pytest.approx(mapped, abs=1e-12)
    assert found.influence.sums(np.arange(200), maps) == pytest.approx(
        np.einsum("rc,gck->grk", maps, dense), abs=1e-12
    )


def test_small_samples_pay_for_few_clusters(panel):
    """Each cohort's squares grow by n / (n - 1), and df is at most the clusters' number."""
    found = adjusted(panel, control="never")
    weights = np.array([[float(t >= g) for g, t in found.cells]])
    small = found.joint(weights, ["after"])
    plain = found.joint(weights, ["after"], inference="analytic")

    assert small.names == ("sales|after", "cost|after", "orders|after")
    assert (np.diag(small.cov) > np.diag(plain.cov)).all()
    assert np.diag(small.cov) == pytest.approx(np.diag(plain.cov), rel=0.05)
    assert ((small.df > 10) & (small.df < 200)).all()
    assert np.isinf(plain.df).all()


def test_a_cohort_of_one_cluster_has_no_variance():
    """One treated cluster cannot say how treated clusters vary."""
    lone = _draw(60, seed=4)
    cluster = np.where(lone.start == 2, 0, np.arange(60) + 1)
    lone = replace(lone, cluster=np.unique(cluster, return_inverse=True)[1])

    joint = adjusted(lone, method="reg", control="never").joint()
    of_cohort = ["2," in name for name in joint.names]
    assert np.isnan(np.diag(joint.cov)[of_cohort]).any()
    assert np.isfinite(np.diag(joint.cov)[[not own for own in of_cohort]]).all()


@pytest.mark.parametrize("method", METHODS)
def test_gaps_are_compared_pairwise(panel, method):
    """A cell with gaps equals the same cell among the units seen in both of its periods."""
    y = panel.y.copy()
    rng = np.random.default_rng(6)
    y[rng.random((200, 6)) < 0.1] = np.nan
    y[3, 4, 1] = np.nan
    gappy = replace(panel, y=y)
    found = adjusted(gappy, method=method, control="never")
    seen = ~np.isnan(y).any(axis=2)

    for c, (start, period) in enumerate(found.cells):
        keep = seen[:, period] & seen[:, found.base[c]]
        part = panel.select(keep)
        alone = adjusted(part, method=method, control="never")
        here = alone.cells.index((start, period))
        assert found.att[c] == pytest.approx(alone.att[here], abs=1e-10)
        assert found.std_error[c] == pytest.approx(alone.std_error[here], abs=1e-10)
        assert found.support[c].treated == int((part.start == start).sum())
    assert "were not observed throughout" in found.notes[0]


def test_support_says_who_was_compared(panel):
    """Counts, the share of units used and the largest propensity belong to each cell."""
    found = adjusted(panel, method="dr", control="never", base="varying")
    first = found.support[0]

    assert first.treated == (panel.start == 2).sum()
    assert first.controls == (panel.start == NEVER).sum()
    assert 0 < first.highest < 0.999
    assert found.share[0] == pytest.approx((first.treated + first.controls) / 200)


def test_the_base_period_is_zero_by_definition(panel):
    """With one base, the cell of the base itself is zero, without influence."""
    found = adjusted(panel, base="universal")
    at = [c for c, (_, t) in enumerate(found.cells) if t == found.base[c]]

    assert found.att[at] == pytest.approx(0.0, abs=0)
    assert found.std_error[at] == pytest.approx(0.0, abs=0)


def test_separation_has_no_answer():
    """Where a covariate tells who is treated, ipw and dr are NaN and say why; reg is not."""
    panel = _draw(80, seed=7)
    telling = replace(panel, x=(panel.start == 2)[:, None] * 1.0 + panel.x[:, :1] * 1e-3)

    for method in ("dr", "ipw"):
        found = adjusted(telling, method=method, control="never", base="varying")
        own = [c for c, (g, _) in enumerate(found.cells) if g == 2]
        assert np.isnan(found.att[own]).all()
        assert np.isnan(found.std_error[own]).all()
        assert "separate treated from untreated" in found.support[own[0]].note
        assert "have no effect: covariates separate" in " ".join(found.notes)
    assert np.isfinite(adjusted(telling, method="reg", control="never").att).all()


def test_a_category_without_treated_units_is_no_separation():
    """Controls nobody is like get no weight; the effect is that among the others."""
    panel = _draw(300, seed=9)
    alone = (np.arange(300) % 3 == 0) & (panel.start == NEVER)
    odd = replace(panel, x=np.column_stack([panel.x[:, 0], alone]))
    rest = adjusted(
        replace(panel, x=panel.x[:, :1]).select(~alone), control="never", method="ipw"
    )
    found = adjusted(odd, control="never", method="ipw")

    assert found.att == pytest.approx(rest.att, abs=1e-6)
    assert found.std_error == pytest.approx(rest.std_error, rel=1e-4)


def test_tiny_cohorts_say_so():
    """A cohort smaller than its propensity's coefficients has no dr effect, but a note."""
    panel = _draw(120, seed=10)
    start = np.where(panel.start == 2, 4, panel.start)
    start[:2] = 2
    tiny = replace(panel, start=start)
    found = adjusted(tiny, method="dr", control="never")
    kept = adjusted(tiny, method="reg", control="never")

    assert np.isnan(found.att[[g == 2 for g, _ in found.cells]]).all()
    assert found.support[0].note == "2 treated units cannot tell a propensity of 3 coefficients"
    assert np.isfinite(kept.att).all()
    assert kept.notes[-1] == (
        "the smallest cohort has 2 units for 2 covariates; its standard errors are too small."
    )


def test_covariates_that_do_not_vary_among_controls_have_no_answer():
    """Collinearity among the controls alone is a fact about a cell: NaN with a note."""
    panel = _draw(80, seed=11)
    same = np.where(panel.start == NEVER, 1.0, panel.x[:, 0])[:, None]
    found = adjusted(replace(panel, x=same), method="reg", control="never")

    assert np.isnan(found.att).all()
    assert "collinear among the controls" in found.support[0].note


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            [[np.nan], [1.0], [2.0], [3.0]],
            DataError,
            (
                "covariate 1 of the panel is missing or infinite for 1 of 4 units; covariates "
                "must be known for every unit: fill them before, with a column that says so, "
                "or leave such units out."
            ),
        ),
        (
            [[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [5.0, 5.0]],
            DesignError,
            (
                "covariate 2 of the panel is the same for all 4 units; it explains nothing: "
                "leave it out."
            ),
        ),
        (
            [[1.0, 3.0], [2.0, 5.0], [3.0, 7.0], [5.0, 11.0]],
            DesignError,
            (
                "covariate 2 of the panel is a linear combination of covariates 1 to 1 and the "
                "constant; leave one of them out."
            ),
        ),
    ],
)
def test_bad_covariates_are_refused(x, error, message):
    """Missing, constant and collinear covariates are mistakes, each with its own sentence."""
    with pytest.raises(error) as caught:
        design(np.array(x))

    assert str(caught.value) == message


def test_bad_choices_are_refused(panel):
    """Unknown methods, learners that cannot be used, and bad weights are mistakes."""
    pair = Learners(outcome=_Mean(), propensity=_Half())
    always = replace(panel, start=np.where(panel.start == NEVER, 4, panel.start))

    with pytest.raises(UpliftlabError, match="method is 'drr'; allowed"):
        adjusted(panel, method="drr")
    with pytest.raises(DesignError, match="only 'dr' stays right"):
        adjusted(panel, method="reg", learners=pair)
    with pytest.raises(DesignError, match="learners need covariates"):
        adjusted(replace(panel, x=np.empty((200, 0))), learners=pair)
    with pytest.raises(DesignError, match="learners ask for 1 folds"):
        adjusted(panel, learners=replace(pair, folds=1))
    with pytest.raises(DataError, match="missing or negative for 200 units"):
        adjusted(replace(panel, weight=np.full(200, -1.0)))
    with pytest.raises(DesignError, match="control 'never' needs units"):
        adjusted(always, control="never")
    with pytest.raises(DesignError, match="no cohort can be compared"):
        adjusted(replace(panel, start=np.full(200, 2)))
    with pytest.raises(DataError, match="must be equal"):
        cross_sections(np.ones(3), np.zeros(2, dtype=int), np.ones(3, dtype=int))
    with pytest.raises(DataError, match="give one name per column"):
        cross_sections(np.ones((2, 2)), np.array([0, 1]), np.ones(2, dtype=int))
    with pytest.raises(DataError, match="outcomes or weights of the cross-sections"):
        cross_sections(np.array([np.nan]), np.zeros(1, dtype=int), np.ones(1, dtype=int))


def test_units_treated_throughout_serve_nobody(panel):
    """Units without a period before treatment have no cells and are never controls."""
    start = panel.start.copy()
    start[:30] = 0
    early = adjusted(replace(panel, start=start))
    without = adjusted(panel.select(np.arange(200) >= 30))

    assert early.att == pytest.approx(without.att, abs=1e-12, nan_ok=True)
    assert early.notes[0].startswith("30 units were treated before the first period")


def test_a_late_period_without_controls_has_no_effect(panel):
    """Once everybody is treated, not-yet-treated controls run out: NaN with a note."""
    soon = replace(panel, start=np.where(panel.start == NEVER, 5, panel.start))
    found = adjusted(soon, control="not_yet")
    last = [c for c, (_, t) in enumerate(found.cells) if t == 5]

    assert np.isnan(found.att[last]).all()
    assert found.support[last[0]].note == "nobody is untreated to compare with"
    joint = found.joint(np.eye(len(found.cells))[:1], ["first"])
    assert np.isfinite(joint.value).all()


def test_learners_that_are_the_parametric_models_agree_with_them():
    """Cross-fitted least squares and logit stay near the plain dr, and are linear too."""
    linear = pytest.importorskip("sklearn.linear_model")
    panel = _draw(1500, seed=12)
    panel = replace(panel, y=panel.y[:, 1:4], periods=panel.periods[1:4])
    panel = replace(panel, start=np.where(panel.start == NEVER, NEVER, panel.start - 1))
    pair = Learners(
        outcome=linear.LinearRegression(), propensity=linear.LogisticRegression(C=1e6), folds=2
    )
    found = adjusted(panel, control="never", learners=pair)
    plain = adjusted(panel, control="never")

    assert found.att == pytest.approx(plain.att, abs=0.06)
    assert found.std_error == pytest.approx(plain.std_error, rel=0.1, abs=1e-12)
    again = adjusted(panel, control="never", learners=pair)
    assert (again.att == found.att).all()
    price = np.array([[0.3], [-1.0], [0.0]])
    profit = panel.with_outcome(panel.y @ price, ["profit"])
    priced = adjusted(profit, control="never", learners=pair)
    assert priced.att == pytest.approx(found.att @ price, abs=1e-9)
    maps = np.random.default_rng(0).normal(size=(2, len(found.cells)))
    assert found.influence.sums(found.cluster, maps) == pytest.approx(
        np.einsum("rc,nck->nrk", maps, found.influence.dense()), abs=1e-12
    )


def test_learned_curves_find_what_straight_lines_miss():
    """Boosted trees remove a bias that neither a straight line nor a logit sees."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    rng, n = np.random.default_rng(3), 1500
    x = rng.uniform(-2, 2, size=(n, 1))
    treated = rng.random(n) < np.where(np.abs(x[:, 0]) > 1, 0.7, 0.25)
    paths = np.column_stack([np.zeros(n), 2 * x[:, 0] ** 2 + treated + rng.normal(size=n)])
    curved = Panel.of_arrays(paths, np.where(treated, 1, NEVER), x=x)
    pair = Learners(
        outcome=ensemble.GradientBoostingRegressor(random_state=1, max_depth=2),
        propensity=ensemble.GradientBoostingClassifier(random_state=1, max_depth=2),
        folds=3,
    )

    found = adjusted(curved, learners=pair)
    assert abs(adjusted(curved).att[1, 0] - 1) > 0.5
    assert abs(found.att[1, 0] - 1) < 3 * found.std_error[1, 0]
    assert found.std_error[1, 0] < 0.12


def test_clusters_stay_in_one_fold():
    """Folds deal whole clusters, spread each cohort evenly, and follow the seed."""
    cluster, start = np.repeat(np.arange(40), 5), np.repeat([1] * 20 + [NEVER] * 20, 5)
    parts = Learners(outcome=_Mean(), propensity=_Half(), folds=4, seed=2)
    dealt = folds(cluster, start, parts)

    assert all(len(np.unique(dealt[cluster == g])) == 1 for g in range(40))
    assert (np.bincount(dealt[start == 1]) == 25).all()
    assert (dealt == folds(cluster, start, parts)).all()
    assert (dealt != folds(cluster, start, replace(parts, seed=3))).any()


def test_learners_without_probabilities_have_no_answer(panel):
    """A propensity learner whose numbers are no probabilities gives NaN with a note."""
    found = adjusted(panel, learners=Learners(outcome=_Mean(), propensity=_Half(2.0)))

    assert np.isnan(found.att).all()
    assert found.support[0].note == "the propensity learner gave no probabilities"


def test_logit_solves_its_score_equations():
    """Weighted residuals are orthogonal to every covariate, to rounding."""
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(500), rng.normal(size=(500, 3))])
    treated = rng.random(500) < 1 / (1 + np.exp(-x @ [-1.0, 1.0, 0.5, 0.0]))
    weight = rng.uniform(0.2, 3.0, 500)
    fit = logit(x, treated, weight)

    assert fit.note == ""
    assert x.T @ (weight * (treated - fit.score)) == pytest.approx(0, abs=1e-9)


def test_cross_sections_of_a_panel_give_its_effects(panel):
    """A panel read as rows keeps its regression effects; only its errors grow."""
    length = len(panel.periods)
    rows = cross_sections(
        panel.y.reshape(-1, 3),
        np.tile(np.arange(length), 200),
        np.repeat(panel.start, length),
        x=np.repeat(panel.x, length, axis=0),
        names=panel.names,
        method="reg",
    )
    clustered = replace(rows, cluster=np.repeat(np.arange(200), length))
    whole = adjusted(panel, method="reg")

    assert rows.att == pytest.approx(whole.att, abs=1e-10, nan_ok=True)
    assert clustered.std_error == pytest.approx(whole.std_error, abs=1e-10, nan_ok=True)
    assert rows.joint().names[:2] == ("sales|2,0", "cost|2,0")


def test_cross_sections_without_a_cohort_in_a_period_have_no_effect():
    """A period that shows no treated row gives NaN with a note, and no influence."""
    y, period, start, x = _rows(400, seed=6)
    keep = ~((start == 2) & (period == 3))
    found = cross_sections(y[keep], period[keep], start[keep], x=x[keep], base="varying")
    at = found.cells.index((2, 3))

    assert math.isnan(found.att[at, 0])
    assert math.isnan(found.std_error[at, 0])
    assert found.support[at].note == "a period has no treated or no control rows"


def test_nothing_is_changed(panel):
    """The panel is the same before and after."""
    before = panel.y.copy(), panel.x.copy(), panel.weight.copy()
    found = adjusted(panel)
    found.joint()

    assert all(
        (a == b).all() for a, b in zip(before, (panel.y, panel.x, panel.weight), strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_intervals_cover_the_truth(method):
    """95 % intervals of the average cover 2 in at least 91 % of 400 draws of 300 units."""
    covered = 0
    for seed in range(400):
        found = adjusted(_draw(300, seed=1000 + seed), method=method, control="never")
        after = np.array([[float(t >= g) for g, t in found.cells]])
        estimate = found.joint(after / after.sum(), ["after"]).estimate("sales|after")
        covered += estimate.ci_low <= 2 <= estimate.ci_high

    assert covered >= 0.91 * 400


class _Mean:
    def fit(self, _, y):
        self.middle = y.mean()
        return self

    def predict(self, x):
        return np.full(len(x), self.middle)


class _Half:
    def __init__(self, chance=0.5):
        self.chance = chance

    def fit(self, *_):
        return self

    def predict_proba(self, x):
        return np.full((len(x), 2), self.chance)


def _draw(count, *, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2))
    index = np.column_stack([0.6 * x[:, 0], 0.3 * x[:, 1], np.zeros(count)])
    pick = (index + rng.gumbel(size=(count, 3))).argmax(axis=1)
    start = np.array([2, 4, NEVER])[pick]
    time = np.arange(6)
    trend = (0.4 * x[:, :1] - 0.2 * x[:, 1:]) * time
    after = (time >= start[:, None]) * 2.0
    noise = rng.normal(size=(count, 6, 3)) * 0.7
    y = np.stack([trend + after, 0.5 * trend + 0.3 * after, trend * 0], axis=2) + noise
    y += rng.normal(size=(count, 1, 1)) * 3
    return Panel.of_arrays(y, start, names=("sales", "cost", "orders"), x=x)


def _rows(count, *, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 1))
    start = np.where(rng.random(count) < 1 / (1 + np.exp(-0.5 * x[:, 0])), 2, NEVER)
    period = rng.integers(0, 4, count)
    y = x[:, 0] * (1 + 0.3 * period) + (period >= start) + rng.normal(size=count) * 0.5
    return y, period, start, x


def _after(found):
    share = np.array([(found.start == g).sum() * float(t >= g) for g, t in found.cells])
    return float(share @ found.att[:, 0] / share.sum())
