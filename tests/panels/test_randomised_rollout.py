"""Roll-outs with random start dates: laws, clusters, permutations, refusals."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DesignError
from upliftlab.panels.randomised import permutation_test, randomised
from upliftlab.panels.stacked import stacked


def draw(*, units=60, length=8, width=1, effect=0.0, seed=0, persistent=True):
    """Units with lasting levels whose start is drawn at random."""
    rng = np.random.default_rng(seed)
    start = rng.permutation(np.resize([3, 5, NEVER], units))
    level = rng.normal(size=(units, 1, width)) * (2.0 if persistent else 0.0)
    y = level + rng.normal(size=(units, length, width))
    y += effect * (np.arange(length)[None, :] >= start[:, None])[:, :, None]
    return Panel.of_arrays(y, start, names=[f"line{k}" for k in range(width)])


def error(found):
    return float(np.sqrt(found.cov[0, 0]))


def test_one_cohort_and_two_periods_by_hand():
    """The coefficient is that of a regression of changes on levels within cohorts."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=(10, 2)) + rng.normal(size=(10, 1))
    panel = Panel.of_arrays(y, [1] * 4 + [NEVER] * 6)
    one, zero = y[:4], y[4:]
    cov = [np.cov(side.T) / len(side) for side in (one, zero)]
    slope = sum(c[0, 1] for c in cov) / sum(c[0, 0] for c in cov)
    gap = one.mean(axis=0) - zero.mean(axis=0)

    found = randomised(panel)

    assert found.value[0] == pytest.approx(gap[1] - slope * gap[0])
    variance = sum(c[1, 1] - 2 * slope * c[0, 1] + slope**2 * c[0, 0] for c in cov)
    assert found.cov[0, 0] == pytest.approx(variance)


def test_coefficients_of_one_and_zero_are_did_and_difference_in_means():
    """Both are special cases; without noise in levels they are the stack and the plain gap."""
    panel = draw()
    one = panel.select((panel.start == 5) | (panel.start == NEVER))
    y, treated = one.y[:, :, 0], one.start == 5
    after = y[:, 5:].mean(axis=1)

    did = randomised(one, adjustment="callaway_santanna").value[0]
    last = randomised(one, adjustment="sun_abraham").value[0]
    plain = randomised(one, adjustment="none").value[0]

    assert did == pytest.approx(stacked(one, pre=1, post=2).value[0])
    assert last == pytest.approx(did)
    assert plain == pytest.approx(after[treated].mean() - after[~treated].mean())


def test_the_efficient_coefficient_has_the_least_variance():
    """Never wider than difference-in-differences or difference in means, by Neyman's error."""
    for seed in range(10):
        for persistent in (True, False):
            panel = draw(seed=seed, persistent=persistent)
            best = error(randomised(panel))
            for other in ("callaway_santanna", "none"):
                wide = error(randomised(panel, adjustment=other))
                assert best <= wide + 1e-12


def test_the_adjusted_error_is_never_above_neymans():
    """Heterogeneity that earlier outcomes predict is taken out."""
    for by in ("simple", "cohort", "calendar"):
        panel = draw(effect=1.0, seed=3)
        assert error(randomised(panel, by=by, errors="adjusted")) < error(
            randomised(panel, by=by)
        )


def test_degrees_of_freedom_are_those_of_welch():
    """Two cohorts and no adjustment: the t-test of unequal variances."""
    from scipy import stats

    rng = np.random.default_rng(7)
    y = rng.normal(size=(14, 2)) * np.repeat([1.0, 4.0], [5, 9])[:, None]
    panel = Panel.of_arrays(y, [1] * 5 + [NEVER] * 9)
    welch = stats.ttest_ind(y[:5, 1], y[5:, 1], equal_var=False)

    row = randomised(panel, adjustment="none").estimate("y")

    assert row.df == pytest.approx(welch.df)
    assert row.p_value == pytest.approx(welch.pvalue)


def test_a_priced_coefficient_makes_lines_add_up():
    """With a price all components share one coefficient; without, each has its own."""
    panel = draw(width=2, effect=1.0)
    price = np.array([0.3, -2.0])
    profit = panel.y @ price[:, None]
    panel = panel.with_outcome(
        np.concatenate([panel.y, profit], axis=2) * 1e5, ["sales", "cost", "profit"]
    )

    for by in ("simple", "eventstudy"):
        for errors in ("neyman", "adjusted"):
            shared = randomised(panel, by=by, price=[0.0, 0.0, 1.0], errors=errors)
            own = randomised(panel, by=by, errors=errors)
            lines, alone = shared.value.reshape(3, -1), own.value.reshape(3, -1)
            assert lines[2] == pytest.approx(price @ lines[:2], rel=1e-9)
            assert lines[2] == pytest.approx(alone[2], rel=1e-9)
            assert np.abs(alone[2] - price @ alone[:2]).max() > 1.0
            exact = np.kron([*price, -1.0], np.eye(lines.shape[1]))
            left = np.diag(exact @ shared.cov @ exact.T)
            assert np.abs(left).max() < 1e-9 * np.diag(shared.cov).max()


def test_joint_errors_without_a_price_are_a_covariance():
    """Each block is that of the component alone, and no combination has negative variance."""
    panel = draw(width=3, effect=1.0, units=90)

    found = randomised(panel, by="eventstudy", errors="adjusted")
    alone = randomised(panel.component("line1"), by="eventstudy", errors="adjusted")

    assert np.linalg.eigvalsh(found.cov)[0] > -1e-12
    assert found.cov[5:10, 5:10] == pytest.approx(alone.cov)


def test_assigned_clusters_are_units_of_their_means():
    """Weighted means of clusters, then the same estimator; the count is that of clusters."""
    rng = np.random.default_rng(2)
    code = np.repeat(np.arange(30), rng.integers(1, 5, 30))
    start = np.resize([3, 5, NEVER], 30)[code]
    y, weight = rng.normal(size=(len(code), 8)), rng.uniform(1, 3, len(code))
    means = np.stack(
        [np.average(y[code == g], axis=0, weights=weight[code == g]) for g in range(30)]
    )

    found = randomised(Panel.of_arrays(y, start, cluster=code, weight=weight))
    plain = randomised(Panel.of_arrays(means, np.resize([3, 5, NEVER], 30)))

    assert found.value == pytest.approx(plain.value)
    assert found.cov == pytest.approx(plain.cov)
    assert found.clusters == 30


def test_placebos_before_the_start_are_about_zero():
    """Horizons of -1 and less can be asked for; those without controls cannot."""
    panel = draw(effect=3.0, seed=5)

    found = randomised(panel, by="eventstudy", horizons=[-1, 0], adjustment="none")

    assert abs(found.estimate("line0@e-1").estimate) < 3 * found.estimate("line0@e-1").std_error
    with pytest.raises(DesignError, match=r"no cohort with controls at horizon 9; .* 0 to 4"):
        randomised(panel, by="eventstudy", horizons=[9])


def test_a_permutation_test_counts_all_assignments_when_few():
    """Four units, two starts: the p-value is near the share of all 24 orders as extreme."""
    y = np.array([[0.0, 9.0], [1.0, 9.5], [0.5, 1.0], [1.5, 2.2]])
    start = np.array([1, 1, NEVER, NEVER])
    observed = permutation_test(Panel.of_arrays(y, start), adjustment="none", draws=1)

    def statistic(order):
        found = permutation_test(
            Panel.of_arrays(y, start[list(order)]), adjustment="none", draws=1
        )
        return abs(found.statistic[0])

    share = np.mean(
        [statistic(p) >= abs(observed.statistic[0]) - 1e-9 for p in permutations(range(4))]
    )
    found = permutation_test(Panel.of_arrays(y, start), adjustment="none", draws=499)

    assert share == pytest.approx(1 / 3)
    assert found.p_value[0] == pytest.approx(share, abs=0.07)


def test_a_permutation_test_is_seeded_and_moves_whole_clusters():
    """One seed, one p-value; starts stay the same within clusters."""
    panel = draw(units=24, effect=2.0)
    code = np.repeat(np.arange(12), 2)
    start = np.resize([3, 5, NEVER], 12)[code]
    panel = Panel.of_arrays(panel.y, start, cluster=code)

    first, second = (permutation_test(panel, draws=99, seed=4) for _ in range(2))

    assert first.p_value.tolist() == second.p_value.tolist()
    assert 0.01 <= first.p_value[0] <= 1.0
    assert first.draws == 99


def test_a_clear_effect_is_found_by_permutation():
    """The smallest p-value is 1 / (draws + 1), for every component at once."""
    panel = draw(units=45, width=2, effect=5.0)

    found = permutation_test(panel, draws=199, errors="adjusted")

    assert found.names == ("line0", "line1")
    assert found.p_value == pytest.approx(np.array([1 / 200] * 2))


def test_an_outcome_that_never_varies_has_no_p_value():
    """NaN, not 1."""
    panel = draw(units=12)
    panel = panel.with_outcome(np.zeros_like(panel.y), ["y"])

    assert np.isnan(permutation_test(panel, draws=9).p_value).all()


def test_designs_that_cannot_answer_are_refused():
    """Holes, mixed clusters, one cohort, no period with controls, wrong words."""
    panel = draw(units=12)
    holes = panel.y.copy()
    holes[0, 0] = np.nan

    with pytest.raises(DesignError, match=r"1 unit\(s\) are not observed in every period"):
        randomised(Panel.of_arrays(holes, panel.start))
    with pytest.raises(DesignError, match="name the level that was assigned"):
        randomised(Panel.of_arrays(panel.y, panel.start, cluster=[0] * 12))
    with pytest.raises(DesignError, match="needs two cohorts"):
        randomised(Panel.of_arrays(panel.y, [3] * 12))
    with pytest.raises(DesignError, match="needs two cohorts"):
        randomised(Panel.of_arrays(panel.y, [3] + [NEVER] * 11))
    with pytest.raises(DesignError, match="price has shape"):
        randomised(panel, price=[1.0, 2.0])
    with pytest.raises(DesignError, match="'weekly' is not known"):
        randomised(panel, by="weekly")


def test_cohorts_of_one_unit_and_first_period_starts_are_said():
    """A cohort of one has no variance; DiD weights need a period before."""
    panel = draw(units=30)
    start = panel.start.copy()
    start[0], start[1:4] = 6, 0
    panel = Panel.of_arrays(panel.y, start)

    found = randomised(panel, adjustment="callaway_santanna")

    assert found.notes == (
        "3 unit(s) treated from the first period on left out",
        "cohort(s) with one unit left out: '6'",
    )
    assert np.isfinite(randomised(panel).value).all()


def test_few_assigned_units_point_to_the_permutation_test():
    """Below 20 the normal interval comes with a note."""
    assert randomised(draw(units=18)).notes[-1] == (
        "18 assigned units: prefer the permutation test"
    )


@pytest.mark.slow
def test_intervals_cover_and_permutations_hold_their_size():
    """1,000 re-drawn roll-outs of 60 units with one effect, where Neyman's error is exact.

    Coverage at least 93 %; of 200 permutation tests without an effect at most 20 reject at 5 %.
    """
    rng = np.random.default_rng(8)
    level = rng.normal(size=(60, 1)) * 2 + rng.normal(size=(60, 8))
    start = np.resize([3, 5, NEVER], 60)
    hits, rejected = 0, 0
    for run in range(1000):
        drawn = rng.permutation(start)
        y = level + 1.0 * (np.arange(8)[None, :] >= drawn[:, None])
        row = randomised(Panel.of_arrays(y, drawn)).estimate("y")
        hits += row.ci_low < 1.0 < row.ci_high
        if run < 200:
            test = permutation_test(Panel.of_arrays(level, drawn), draws=99, seed=run)
            rejected += test.p_value[0] <= 0.05

    assert hits >= 930
    assert rejected <= 20
