"""Waves that a plan drew in strata, or until alike, are re-assigned by the same mechanism."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from upliftlab import Experiment, run
from upliftlab.assignment.lists import drawn
from upliftlab.assignment.waves import DrawnWaves, scheme_of
from upliftlab.data.assign_plan import assign
from upliftlab.data.panel import NEVER, Panel
from upliftlab.panels.group_time import group_time
from upliftlab.panels.randomisation import roll_out
from upliftlab.rollout.reassigned import reassigned

PLAN = """
name: dual
kind: custom
design: staggered
period: week
unit: agency
cluster: mcn
arms: {before: {control: true}, after: {}}
strata: [city]
costs: {margin: 40%}
waves: waves.csv
data: {panel: {file: panel.parquet, money: yuan}}
assign:
  draw: balanced
  balance: [pre_profit]
  keep: 20%
  waves: {2026-08-03: 50%, never: 50%}
"""
DAY = "2026-08-03"


@pytest.fixture
def folder(tmp_path):
    """16 agencies of two cities, drawn by the plan, and eight weeks of what they kept."""
    rng = np.random.default_rng(5)
    names = [f"m{i:02d}" for i in range(16)]
    city = ["bj"] * 8 + ["sh"] * 8
    pre = rng.lognormal(3, 0.6, 16)
    pd.DataFrame({"mcn": names, "city": city, "pre_profit": pre}).to_csv(
        tmp_path / "agencies.csv", index=False
    )
    weeks = pd.date_range("2026-07-06", periods=8, freq="7D").date
    rows = [
        (name, week, 100 * pre[i] + rng.normal(0, 40))
        for i, name in enumerate(names)
        for week in weeks
    ]
    pd.DataFrame(rows, columns=["mcn", "week", "kept_sales"]).assign(
        unit=lambda found: found["mcn"]
    ).to_parquet(tmp_path / "panel.parquet")
    assign(plan(tmp_path), ids=tmp_path / "agencies.csv")
    return tmp_path


def plan(folder, text=PLAN):
    """The plan beside its files."""
    return Experiment.from_text(text, base=folder)


def waves_check(told):
    """Verdict and sentence of the check of waves."""
    return next((c.verdict, c.message) for c in told.checks if c.name == "waves_as_drawn")


def opinion(told):
    """What re-assignment says."""
    return next(each for each in told.rollout.opinions if each.method == "randomisation")


def test_the_plan_draws_again_as_it_drew(folder):
    """Every other draw keeps each city's half and its balance; those found are among them."""
    told = run(plan(folder))
    table = pd.read_csv(folder / "waves.csv")
    check = waves_check(told)

    assert list(table.columns) == [
        "cluster", "starts_on", "propensity", "stratum", "pre_profit", "salt", "plan",
    ]  # fmt: skip
    assert check == (
        "pass",
        (
            "Waves: all 16 mcns start when the plan drew them to (drawn as a list within city, "
            "balanced on pre_profit)."
        ),
    )
    assert opinion(told).note == (
        "clusters drawn as a list within city, balanced on pre_profit, as the plan draws them; "
        "each cluster counts once"
    )
    assert np.isfinite(opinion(told).effect.p_value)


def test_a_start_that_was_moved_by_hand_is_named(folder):
    """Who swaps two agencies after the draw is told so."""
    table = pd.read_csv(folder / "waves.csv", dtype=str, keep_default_na=False)
    one = int(np.flatnonzero(table["starts_on"] == DAY)[0])
    two = int(np.flatnonzero(table["starts_on"] == "")[0])
    table.loc[[one, two], "starts_on"] = ["", DAY]
    table.to_csv(folder / "waves.csv", index=False)
    first = min(table["cluster"][one], table["cluster"][two])

    assert waves_check(run(plan(folder))) == (
        "warn",
        (
            f"Waves: 2 of 16 mcns start otherwise than the plan drew them, such as {first!r}; "
            "who decided that also decides what is compared."
        ),
    )


def test_a_table_without_strata_cannot_be_drawn_again(folder):
    """The check names the column, and re-assignment has no number."""
    table = pd.read_csv(folder / "waves.csv", dtype=str, keep_default_na=False)
    table.drop(columns=["stratum", "pre_profit"]).to_csv(folder / "waves.csv", index=False)
    told = run(plan(folder))

    assert waves_check(told) == (
        "warn",
        (
            "Waves: the plan's waves are drawn as a list within city, balanced on pre_profit, "
            "and the table of waves has no stratum and pre_profit, which the plan draws by; "
            "re-assignment cannot draw as the plan does. `upliftlab assign` writes the table "
            "whole."
        ),
    )
    assert np.isnan(opinion(told).effect.p_value)


SHARES = {DAY: Fraction(1, 4), "2026-08-17": Fraction(1, 4), "never": Fraction(1, 2)}
BEGINS = np.array([3, 5, NEVER])
CITY = ["bj"] * 8 + ["sh"] * 8
NAMES = tuple(f"m{i:02d}" for i in range(16))


def of_plan(salt, x=None, keep=0.2):
    """Sixteen clusters in three waves by the plan's own draw."""
    return drawn(NAMES, SHARES, salt=salt, strata=CITY, balance=x, keep=keep)


def seen(found, y):
    """A panel whose clusters were drawn so."""
    panel = Panel.of_arrays(y, BEGINS[found.scheme.start], cluster=range(len(y)))
    return replace(panel, cluster_labels=NAMES, drawn=DrawnWaves(drawn=found, words="drawn"))


def test_re_assignments_are_the_plans_own_draws():
    """All keep the waves of each city, all are balanced, and free exchange is neither."""
    x = np.random.default_rng(1).normal(size=(16, 1))
    found = of_plan("s", x)
    starts, exact = scheme_of(
        DrawnWaves(drawn=found, words=""), NAMES, BEGINS[found.scheme.start]
    ).draws(400, 1)
    label = np.searchsorted(BEGINS, starts)
    unlike = found.scheme.unlikeness(label)

    assert not exact
    for rows in (slice(0, 8), slice(8, 16)):
        assert (np.sort(starts[:, rows]) == [3, 3, 5, 5, *[NEVER] * 4]).all()
    assert unlike.max() <= found.scheme.most_unlike
    free = found.scheme.unlikeness(found.scheme.permuted(400, np.random.default_rng(2)))
    assert (free > found.scheme.most_unlike).mean() == pytest.approx(0.8, abs=0.08)


def test_clusters_that_are_not_seen_keep_their_wave_and_their_part_in_the_balance():
    """Two clusters without data: the other fourteen move, and whole draws stay balanced."""
    x = np.random.default_rng(2).normal(size=(16, 1))
    found = of_plan("t", x)
    at = np.arange(2, 16)
    scheme = scheme_of(
        DrawnWaves(drawn=found, words=""), NAMES[2:], BEGINS[found.scheme.start[at]]
    )
    whole, _ = scheme.whole.draws(300, 3)

    assert (whole[:, :2] == found.scheme.start[:2]).all()
    assert found.scheme.unlikeness(whole).max() <= found.scheme.most_unlike
    assert len(np.unique(whole[:, 2:], axis=0)) > 200
    assert (scheme.start == BEGINS[found.scheme.start[at]]).all()


@pytest.mark.parametrize("balanced", [False, True])
def test_without_an_effect_p_values_are_uniform(balanced):
    """120 draws of the plan on clusters whose cities drift apart; free exchange is not uniform.

    Kolmogorov-Smirnov at 0.001. With the drift of the city in its reference set, exchange over
    all clusters sees far too few small p-values.
    """
    rng = np.random.default_rng(20261128)
    drift = np.repeat([0.0, 4.0], 8)[:, None] * np.arange(8)
    x = rng.normal(size=(16, 1)) if balanced else None
    own, free = [], []
    for run_ in range(120):
        found = of_plan(f"p{run_}", x)
        slope = 0.0 if x is None else x * np.arange(8)
        panel = seen(found, drift + slope + rng.normal(size=(16, 8)))
        effects = group_time(panel)
        own.append(_p(reassigned(panel, effects, level=0.95, draws=99, seed=run_)))
        free.append(_p(roll_out(panel, controls=effects.control, draws=99, seed=run_)))

    assert stats.kstest(_smoothed(own, rng), "uniform").pvalue > 0.001
    assert stats.kstest(_smoothed(free, rng), "uniform").pvalue < 1e-6


def _p(result):
    return result["y"].p_value


def _smoothed(p, rng):
    """p-values of 100 draws take 100 values; spread each over its step."""
    return np.array(p) - rng.uniform(size=len(p)) / 100
