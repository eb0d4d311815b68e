"""Group-time effects: algebra, small samples, what cannot be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from upliftlab.data.panel import NEVER, Panel
from upliftlab.data.panel_moments import PanelMoments
from upliftlab.errors import DesignError, UpliftlabError
from upliftlab.panels.aggregates import aggregate, custom, event_time
from upliftlab.panels.group_time import group_time

STARTS = np.repeat([2, 4, NEVER], 6)


def drawn(seed: int = 0, *, width: int = 1, starts: np.ndarray = STARTS) -> Panel:
    """A small panel of noise."""
    rng = np.random.default_rng(seed)
    return Panel.of_arrays(
        rng.normal(size=(len(starts), 6, width)),
        starts,
        names=[f"c{k}" for k in range(width)],
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), margin=st.floats(0.01, 0.9))
def test_profit_lines_add_up_with_their_errors(seed: int, margin: float) -> None:
    """The effect on margin x sales - commission is the same combination of the effects."""
    panel = drawn(seed, width=2)
    profit = panel.with_outcome(panel.y @ np.array([[margin], [-1.0]]), ["profit"])
    lines = aggregate(group_time(panel), "simple").joint()
    whole = aggregate(group_time(profit), "simple").joint()
    weights = np.array([margin, -1.0])

    assert whole.value[0] == pytest.approx(weights @ lines.value, abs=1e-12)
    assert whole.cov[0, 0] == pytest.approx(weights @ lines.cov @ weights, rel=1e-9)


def test_pricing_moments_is_pricing_rows() -> None:
    """Moments of priced components are the moments of priced rows, clustered or not."""
    panel = drawn(3, width=3)
    price = np.array([[0.4, -1.0, 2.0], [1.0, 0.0, 0.5]])
    for each in (panel, replace(panel, cluster=np.arange(18) // 2)):
        rows = each.with_outcome(each.y @ price.T, ["profit", "creator"])
        one = aggregate(group_time(PanelMoments.of(each).priced(price, ("profit", "creator"))))
        other = aggregate(group_time(rows))

        assert one.joint().value == pytest.approx(other.joint().value, abs=1e-12)
        assert one.joint().cov == pytest.approx(other.joint().cov, rel=1e-9)


def test_two_groups_two_periods_is_welch_on_changes() -> None:
    """One cohort, one base: value and standard error are those of Welch on the changes."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=(20, 2))
    start = np.repeat([1, NEVER], [7, 13])
    joint = aggregate(group_time(Panel.of_arrays(y, start)), "simple").joint()
    change = y[:, 1] - y[:, 0]
    spread = change[:7].var(ddof=1) / 7 + change[7:].var(ddof=1) / 13

    assert joint.value[0] == pytest.approx(change[:7].mean() - change[7:].mean(), abs=1e-12)
    assert joint.cov[0, 0] == pytest.approx(spread, rel=1e-12)
    # Bell-McCaffrey: the working model has equal variances, so df depend on sizes alone.
    used = np.array([1 / 7, 1 / 13])
    assert joint.df[0] == pytest.approx(used.sum() ** 2 / (used**2 / np.array([6, 12])).sum())


def test_equal_clusters_are_units() -> None:
    """Clusters of two identical units give the effect and error of one unit each."""
    panel = drawn(4)
    twice = Panel.of_arrays(
        np.repeat(panel.y, 2, axis=0), np.repeat(STARTS, 2), cluster=np.repeat(np.arange(18), 2)
    )
    one, two = (aggregate(group_time(each), "dynamic").parts_joint() for each in (panel, twice))

    assert two.value == pytest.approx(one.value, abs=1e-12)
    assert two.cov == pytest.approx(one.cov, rel=1e-9)
    assert two.df == pytest.approx(one.df, rel=1e-9)


def test_weights_count_like_copies() -> None:
    """A unit of weight 3 moves the effect like three copies of it."""
    panel = drawn(5)
    weight = np.ones(18)
    weight[[0, 17]] = 3.0
    copies = np.repeat(np.arange(18), weight.astype(int))
    heavy = replace(panel, weight=weight)
    many = Panel.of_arrays(panel.y[copies], STARTS[copies])

    assert group_time(heavy).att == pytest.approx(group_time(many).att, abs=1e-12)


def test_anticipation_is_reported_apart() -> None:
    """With two weeks announced: post-adoption, anticipation and their total, each its own."""
    starts = np.repeat([4, NEVER], 5)
    y = np.zeros((10, 6))
    y[:5, 2:4] -= 1.0
    y[:5, 4:] += 3.0
    found = group_time(Panel.of_arrays(y, starts), anticipation=2)

    assert aggregate(found, "simple").joint().value[0] == pytest.approx(3.0)
    assert aggregate(found, "anticipation").joint().value[0] == pytest.approx(-1.0)
    assert aggregate(found, "everything").joint().value[0] == pytest.approx(5 * (6.0 - 2.0))


def test_total_is_the_average_times_unit_periods() -> None:
    """The total equals the simple average times the number of treated unit-periods."""
    found = group_time(drawn(6))
    simple, total = (aggregate(found, kind).joint() for kind in ("simple", "total"))
    unit_periods = 6 * 4 + 6 * 2

    assert total.value[0] == pytest.approx(unit_periods * simple.value[0], rel=1e-12)
    assert total.cov[0, 0] == pytest.approx(unit_periods**2 * simple.cov[0, 0], rel=1e-12)


def test_observed_less_effect_is_the_counterfactual() -> None:
    """Observed treated means are means over post-adoption unit-periods."""
    panel = drawn(7)
    found = aggregate(group_time(panel), "simple")
    rows = np.concatenate([panel.y[:6, 2:, 0].ravel(), panel.y[6:12, 4:, 0].ravel()])

    assert found.observed.value(found.effects.moments)[0, 0] == pytest.approx(rows.mean())


def test_without_never_treated_late_periods_are_unknown() -> None:
    """Once the last cohort starts nobody is left: NaN cells, and the average says so."""
    panel = drawn(8, starts=np.repeat([2, 4], 9))
    found = group_time(panel)
    late = [c for c, (_, t) in enumerate(found.cells) if t >= 4]
    average = aggregate(found, "simple")

    assert np.isnan(found.att[late]).all()
    assert "nobody untreated" in found.notes[-1]
    assert "up to 3" in average.note
    assert np.isfinite(average.joint().value).all()


def test_never_control_needs_never_treated() -> None:
    """Asking for controls that do not exist is a mistake."""
    with pytest.raises(DesignError, match="control 'never' needs units that are never treated"):
        group_time(drawn(9, starts=np.repeat([2, 4], 9)), control="never")


def test_everybody_at_once_cannot_be_compared() -> None:
    """All treated in the same period: nobody says what would have happened."""
    with pytest.raises(DesignError, match="no cohort can be compared"):
        group_time(drawn(9, starts=np.repeat([3], 9)))


def test_gaps_are_refused() -> None:
    """A unit without a row in some period is not averaged silently."""
    panel = drawn(10)
    panel.y[3, 1] = np.nan

    with pytest.raises(DesignError, match="1 of 18 units have periods without rows"):
        group_time(panel)


def test_always_treated_have_no_effect_and_serve_nobody() -> None:
    """Units treated from the first period are counted and left out."""
    panel = drawn(11, starts=np.repeat([0, 3, NEVER], 6))
    with_them, without = group_time(panel), group_time(panel.select(np.arange(6, 18)))

    assert with_them.att == pytest.approx(without.att)
    assert "6 units were treated before the first period" in with_them.notes[-1]


def test_one_cluster_in_a_cohort_has_no_error() -> None:
    """With a single cluster the effect is known, its error is not."""
    panel = replace(drawn(12), cluster=np.repeat([0, 1, 2, 3, 4, 5, 6], [6, 2, 2, 2, 2, 2, 2]))
    joint = aggregate(group_time(panel), "group").parts_joint()

    assert np.isfinite(joint.value).all()
    assert np.isnan(joint.cov[0, 0])
    assert np.isfinite(joint.cov[1, 1])


def test_custom_weights_must_name_cells() -> None:
    """Weights for a cohort-period that does not exist are refused."""
    with pytest.raises(UpliftlabError, match=r"weighs \[\(9, 9\)\]"):
        custom(group_time(drawn(1)), {(9, 9): 1.0}, "mine")


def test_varying_base_keeps_the_effects_after_the_start() -> None:
    """The base rule moves only what is measured before treatment."""
    panel = drawn(13)
    universal, varying = group_time(panel), group_time(panel, base="varying")
    both = dict(zip(varying.cells, varying.att[:, 0], strict=True))
    post = [c for c in range(len(universal.cells)) if event_time(universal, c) >= 0]

    assert [both[universal.cells[c]] for c in post] == pytest.approx(universal.att[post, 0])


def creators(rng: np.random.Generator, clusters: int) -> Panel:
    """Trap T5: 26 periods, AR(1) .6 with innovations .8, cluster levels of SD 2, no effect."""
    e = np.zeros((clusters, 26))
    e[:, 0] = rng.normal(size=clusters)
    for t in range(1, 26):
        e[:, t] = 0.6 * e[:, t - 1] + 0.8 * rng.normal(size=clusters)
    y = e + rng.normal(0, 2, size=(clusters, 1))
    return Panel.of_arrays(y, np.repeat([10, 14, 18, NEVER], clusters // 4))


def test_twelve_clusters_are_covered() -> None:
    """Trap T5, 300 draws of 12 clusters: the default covers; z on R's errors does not."""
    rng = np.random.default_rng(20260101)
    default, parity = [], []
    for _ in range(300):
        average = aggregate(group_time(creators(rng, 12), control="never"), "simple")
        small, plain = average.joint(), average.joint(inference="analytic")
        reach = stats.t.ppf(0.975, small.df[0]) * np.sqrt(small.cov[0, 0])
        default.append(abs(small.value[0]) <= reach)
        parity.append(abs(plain.value[0]) <= 1.96 * np.sqrt(plain.cov[0, 0]))

    assert np.mean(default) >= 0.93
    assert np.mean(parity) < 0.93


def test_a_lonely_unit_takes_only_its_own_ranges_away():
    """A wave of one unit has no variance; the other wave keeps its own, as without it."""
    y = np.random.default_rng(3).normal(size=(9, 6))
    start = np.array([2, 4, 4, 4, 4, NEVER, NEVER, NEVER, NEVER])
    found = group_time(Panel.of_arrays(y, start), control="never")
    rest = group_time(Panel.of_arrays(y[1:], start[1:]), control="never")
    own = [c for c, (s, _) in enumerate(found.cells) if s == 4]
    joint = found.forms.joint(found.moments)
    alone = rest.forms.joint(rest.moments)

    assert np.isnan(
        np.diag(joint.cov)[[c for c, (s, t) in enumerate(found.cells) if s == 2 and t != 1]]
    ).all()
    np.testing.assert_allclose(joint.cov[np.ix_(own, own)], alone.cov, rtol=1e-12)
    assert np.isnan(aggregate(found).joint().cov[0, 0])


def test_rounding_of_a_constant_is_no_variance():
    """A component that never varies has variance 0 with weights of any size."""
    start = [2, 2, 2, NEVER, NEVER, NEVER]
    weight = np.array([0.1, 0.7, 0.3, 1e-6, 3e-6, 1.1])
    found = group_time(Panel.of_arrays(np.full((6, 5), 0.1), start, weight=weight))

    assert (np.diag(found.forms.joint(found.moments).cov) == 0).all()


def test_units_that_never_change_have_no_variance_of_any_sign():
    """Levels differ between units and never over time: 0, not what rounding leaves."""
    starts = np.repeat([2, 3, 4, NEVER], [3, 5, 2, 7])
    level = np.random.default_rng(8).normal(1e3, 1e2, size=(17, 1, 2))
    found = group_time(Panel.of_arrays(np.tile(level, (1, 6, 1)), starts, names=("a", "b")))
    average = aggregate(found, "dynamic")

    assert (average.parts_joint().cov == 0).all()
