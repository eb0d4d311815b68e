"""Time-based regression: totals, profit and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm

from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DataError, DesignError
from upliftlab.panels.geo_regression import geo_regression

NAMES = ("sales", "cost", "profit")
START, PERIODS = 40, 60


def geo_panel(seed, *, fixed_cost=True, gain=20.0, spend=5.0):
    """Three treated and five control regions; profit = 0.4 sales - cost."""
    rng = np.random.default_rng(seed)
    season = 100 + 10 * rng.normal(size=PERIODS)
    size = np.array([1.0, 2.0, 1.5, 2.0, 1.0, 3.0, 1.0, 2.0])
    sales = size[:, None] * season + 2 * rng.normal(size=(8, PERIODS))
    sales[:3, START:] += gain / 3
    cost = np.zeros((8, PERIODS))
    if not fixed_cost:
        cost = 0.02 * sales + 0.3 * rng.normal(size=(8, PERIODS))
    cost[:3, START:] += spend / 3
    cube = np.stack([sales, cost, 0.4 * sales - cost], axis=2)
    return Panel.of_arrays(cube, [START] * 3 + [NEVER] * 5, names=NAMES)


def test_totals_are_least_squares_with_a_dummy_per_test_period():
    """The sum of the dummies of one regression over all periods, with its standard error."""
    panel = geo_panel(1)
    found = geo_regression(panel, regress_on=["sales"])

    y, x = panel.y[:3, :, 0].sum(axis=0), panel.y[3:, :, 0].sum(axis=0)
    dummies = np.eye(PERIODS)[:, START:]
    fit = sm.OLS(y, np.column_stack([np.ones(PERIODS), x, dummies])).fit()
    total = fit.t_test(np.r_[0, 0, np.ones(PERIODS - START)])
    one = found.effect.estimate("sales")
    assert one.estimate == pytest.approx(float(np.squeeze(total.effect)), rel=1e-9)
    assert one.std_error == pytest.approx(float(np.squeeze(total.sd)), rel=1e-8)
    assert one.df == fit.df_resid
    first = fit.t_test(np.r_[0, 0, 1, np.zeros(PERIODS - START - 1)])
    assert found.path_se[0, 0] == pytest.approx(float(np.squeeze(first.sd)), rel=1e-8)
    assert found.path[-1, 0] == pytest.approx(one.estimate)
    assert found.coefficients[:, 0] == pytest.approx(fit.params[:2], rel=1e-8)


@pytest.mark.parametrize("fixed_cost", [True, False])
@pytest.mark.parametrize(
    "regress_on", [["sales"], ["sales", "cost"], [{"sales": 0.4, "cost": -1}]]
)
def test_lines_add_up_to_profit(fixed_cost, regress_on):
    """0.4 sales - cost = profit, in totals, paths, counterfactual and covariance."""
    found = geo_regression(geo_panel(2, fixed_cost=fixed_cost), regress_on=regress_on)

    mix = np.array([0.4, -1.0, -1.0])
    size = np.abs(found.effect.value).max()
    assert found.effect.value @ mix == pytest.approx(0.0, abs=1e-11 * size)
    assert found.path @ mix == pytest.approx(0.0, abs=1e-11 * size)
    assert found.counterfactual @ mix == pytest.approx(0.0, abs=1e-8)
    assert mix @ found.effect.cov @ mix == pytest.approx(0.0, abs=1e-8)
    derived = found.profit("sales", "cost", margin=0.4)
    assert derived.estimate == pytest.approx(found.effect.estimate("profit").estimate)
    assert derived.std_error == pytest.approx(found.effect.estimate("profit").std_error)


def test_a_cost_that_only_the_test_has_is_known():
    """No cost before and among controls: no variance, and sales per cost is sales / cost."""
    found = geo_regression(geo_panel(3), regress_on=["sales", "cost"])

    cost = found.effect.estimate("cost")
    ratio, sales = found.per_cost("sales", "cost"), found.effect.estimate("sales")
    assert cost.estimate == pytest.approx(5.0 * 20)
    assert cost.note == "it does not vary"
    assert ratio.ci_low == pytest.approx(sales.ci_low / cost.estimate)
    assert found.note.startswith("cost: constant or redundant among controls, left out")
    assert found.coefficients[2].tolist() == [0.0, 0.0, 0.0]


def test_an_uncertain_cost_widens_the_ratio_by_fieller():
    """The set of ratios r is where sales - r cost does not differ from 0."""
    found = geo_regression(geo_panel(4, fixed_cost=False), regress_on=["sales"])
    ratio = found.per_cost("sales", "cost", level=0.9)

    for end in (ratio.ci_low, ratio.ci_high):
        edge = found.combined({"sales": 1.0, "cost": -end}, name="edge", level=0.9)
        assert edge.p_value == pytest.approx(0.1)
    assert found.effect.cov[1, 1] > 0


def test_break_even_margin_is_where_profit_turns():
    """Profit at the ends of the margin's interval has an end at 0."""
    found = geo_regression(geo_panel(5, fixed_cost=False), regress_on=["sales"])
    margin = found.break_even_margin("sales", "cost")

    low = found.profit("sales", "cost", margin=margin.ci_low)
    high = found.profit("sales", "cost", margin=margin.ci_high)
    assert low.ci_high == pytest.approx(0.0, abs=1e-6)
    assert high.ci_low == pytest.approx(0.0, abs=1e-6)
    even = {"sales": margin.estimate, "cost": -1.0}
    assert found.probability_above(even) == pytest.approx(0.5)


def test_probability_is_one_minus_a_one_sided_p_value():
    """Above 0 with probability 1 - p / 2 for a positive estimate; certain for a known cost."""
    found = geo_regression(geo_panel(6), regress_on=["sales"])

    p = found.effect.estimate("sales").p_value
    assert found.probability_above({"sales": 1.0}) == pytest.approx(1 - p / 2)
    assert found.probability_above({"cost": 1.0}) == 1.0
    assert found.probability_above({"cost": 1.0}, threshold=200.0) == 0.0


def test_the_window_ends_where_it_is_told_to():
    """Until leaves later periods out; the path up to there is the same."""
    panel = geo_panel(7)
    whole = geo_regression(panel, regress_on=["sales"])
    short = geo_regression(panel, regress_on=["sales"], until=50)

    assert short.effect.value == pytest.approx(whole.path[9])
    assert np.sqrt(short.effect.cov[0, 0]) == pytest.approx(whole.path_se[9, 0])
    assert short.periods == tuple(str(t) for t in range(40, 50))


def test_anticipation_is_kept_out_of_the_fit():
    """Moving the last weeks before the start changes nothing once they are left out."""
    panel = geo_panel(8)
    y = panel.y.copy()
    y[:3, 37:40] += 1000
    moved = panel.with_outcome(y, NAMES)

    plain = geo_regression(panel, regress_on=["sales"], anticipation=3).effect
    again = geo_regression(moved, regress_on=["sales"], anticipation=3).effect
    assert again.value == pytest.approx(plain.value)


def test_unit_weights_multiply():
    """A region of weight 2 counts as two regions."""
    panel = geo_panel(9)
    weight = np.array([1.0, 2, 1, 1, 1, 1, 3, 1])
    weighted = Panel.of_arrays(panel.y, panel.start, names=NAMES, weight=weight)
    written = panel.select(np.repeat(np.arange(8), weight.astype(int)))

    one = geo_regression(weighted, regress_on=["sales"]).effect
    two = geo_regression(written, regress_on=["sales"]).effect
    assert one.value == pytest.approx(two.value)
    assert one.cov == pytest.approx(two.cov)


def test_correlated_residuals_are_reported():
    """A drifting relation is in the note, white noise is not."""
    panel = geo_panel(10)
    y = panel.y.copy()
    y[0, :, 0] += 20 * np.sin(np.arange(PERIODS) / 6)
    drifting = geo_regression(panel.with_outcome(y, NAMES), regress_on=["sales"])

    assert "residuals are correlated in time (sales +0." in drifting.note
    assert drifting.autocorrelation[0] > 0.8
    assert "correlated" not in geo_regression(panel, regress_on=["sales"]).note


def test_constant_controls_leave_the_mean_before():
    """Controls that do not move predict nothing: the effect is against the mean before."""
    y = np.array([[1.0, 2, 3, 2, 1, 5, 5], [4.0] * 7])
    found = geo_regression(Panel.of_arrays(y, [5, NEVER]))

    assert found.effect.value[0] == pytest.approx(2 * (5 - 1.8))
    assert found.note.startswith("y: constant or redundant among controls, left out")


def test_constant_outcomes_have_no_error():
    """Nothing varies: effect 0 and no interval; the share of nothing is NaN."""
    found = geo_regression(Panel.of_arrays(np.full((3, 12), 7.0), [8, NEVER, NEVER]))

    assert found.effect.estimate("y").estimate == pytest.approx(0.0, abs=1e-12)
    assert found.effect.estimate("y").note == "it does not vary"
    nothing = geo_regression(Panel.of_arrays(np.zeros((3, 12)), [8, NEVER, NEVER]))
    assert math.isnan(nothing.relative("y"))


def test_what_cannot_be_regressed_is_refused():
    """No controls, several starts, too few periods, missing values, empty windows."""
    y = np.random.default_rng(1).normal(size=(4, 10))
    with pytest.raises(DesignError, match="found no control unit"):
        geo_regression(Panel.of_arrays(y, [5] * 4))
    with pytest.raises(DesignError, match="needs one start for all treated units; it found 2"):
        geo_regression(Panel.of_arrays(y, [5, 6, NEVER, NEVER]))
    with pytest.raises(DesignError, match="needs one start for all treated units; it found 0"):
        geo_regression(Panel.of_arrays(y, [NEVER] * 4))
    for start in (0, 1, 3):
        with pytest.raises(DesignError, match=f"found {start} periods before the start"):
            geo_regression(Panel.of_arrays(y, [start, NEVER, NEVER, NEVER]))
    with pytest.raises(DesignError, match="with the start at 5 it can be 6 to 10"):
        geo_regression(Panel.of_arrays(y, [5, NEVER, NEVER, NEVER]), until=5)
    holes = y.copy()
    holes[0, 0] = np.nan
    with pytest.raises(DataError, match="found 1 unit-periods without a value"):
        geo_regression(Panel.of_arrays(holes, [5, NEVER, NEVER, NEVER]))
    with pytest.raises(DesignError, match="say which, such as regress_on"):
        geo_regression(geo_panel(1))
    with pytest.raises(DataError, match="Did you mean 'sales'"):
        geo_regression(geo_panel(1), regress_on=["sale"])
    with pytest.raises(DesignError, match="has anticipation -1"):
        geo_regression(geo_panel(1), regress_on=["sales"], anticipation=-1)


@pytest.mark.slow
def test_profit_intervals_cover():
    """500 geo tests with an uncertain cost: 93 to 97 % of 95 % intervals hold the truth."""
    covered = 0
    for seed in range(500):
        found = geo_regression(geo_panel(seed, fixed_cost=False), regress_on=["sales"])
        # Per period 20 more sales, which cost 2 %, and 5 spent, over 20 periods.
        truth = 20 * (0.4 * 20 - 0.02 * 20 - 5.0)
        covered += not found.profit("sales", "cost", margin=0.4).excludes(truth)

    assert 0.93 <= covered / 500 <= 0.97
