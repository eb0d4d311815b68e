"""The wild bootstrap as a second opinion where clusters are few."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab import Experiment
from upliftlab.data.panel import NEVER, Panel
from upliftlab.panels.wild import ClusterScores, wild_bootstrap
from upliftlab.rollout.answer import Opinion
from upliftlab.rollout.run import answer
from upliftlab.rollout.signs import with_reasons
from upliftlab.stats.estimate import interval

PLAN = """
name: few
kind: dual_commission
design: staggered
unit: creator
cluster: mcn
period: week
arms:
  single: {organic: 20%, ads: 20%, control: true}
  dual:   {organic: 20%, ads: 20%}
costs: {margin: 40%}
"""


def panel(switched: int, never: int, effect: float = 300.0) -> Panel:
    """Clusters of two creators; half of the weeks are before the change."""
    rng = np.random.default_rng(3)
    clusters = switched + never
    start = np.repeat([5] * switched + [NEVER] * never, 2)
    y = rng.normal(5_000, 800, (2 * clusters, 10, 2))
    y[start == 5, 5:] += effect
    return Panel.of_arrays(
        y,
        start,
        names=("kept_creator_organic", "kept_creator_ads"),
        cluster=np.arange(2 * clusters) // 2,
    )


def opinions(world: Panel) -> dict[str, Opinion]:
    """What each method says."""
    told = answer(Experiment.from_text(PLAN), world).rollout
    return {each.method: each for each in told.opinions}


@pytest.mark.parametrize(
    ("switched", "never", "kind"), [(5, 5, "webb"), (6, 6, "rademacher"), (7, 12, "rademacher")]
)
def test_few_clusters_are_read_by_the_wild_bootstrap(switched, never, kind):
    """One wave: the bootstrap of the difference of cluster means, before and after."""
    world = panel(switched, never)
    found = opinions(world)["wild"]
    profit = 0.2 * world.y.sum(axis=2)
    change = profit[:, 5:].mean(axis=1) - profit[:, 4]
    total = change.reshape(-1, 2).sum(axis=1)
    scores = ClusterScores.of_two_arms(
        total, [True] * switched + [False] * never, size=np.full(switched + never, 2.0)
    )
    alone = wild_bootstrap(scores, kind=kind)["y"]

    assert found.effect.estimate == pytest.approx(alone.estimate, rel=1e-9)
    assert found.effect.p_value == pytest.approx(alone.p_value)
    assert found.effect.ci_low == pytest.approx(alone.ci_low, rel=1e-6)
    assert found.note.startswith({"webb": "Webb's", "rademacher": "Rademacher"}[kind])


def test_it_is_refused_below_five_clusters():
    """No number where it would hardly ever reject, and the reason in its place."""
    found = opinions(panel(4, 8))["wild"]

    assert np.isnan(found.effect.estimate)
    assert found.effect.note == (
        "wild bootstrap refused: 4 treated clusters, at least 5 are needed; use re-assignment"
    )


def test_many_clusters_need_none():
    """Twenty against twenty: errors from the variance between clusters do."""
    assert "wild" not in opinions(panel(20, 20))


def test_a_range_that_says_something_else_says_why():
    """The headline decides, and the reason stands beside the bootstrap's number."""
    headline = Opinion(method="group_time", label="", effect=interval("profit", 10.0, 36.0))
    sure = Opinion(method="wild", label="", effect=interval("profit", 10.0, 4.0), note="x")
    same = Opinion(method="wild", label="", effect=interval("profit", 10.0, 49.0), note="x")

    told = with_reasons((headline, sure), "by re-assignment of clusters")[1].note
    back = with_reasons((sure, headline, same), "by Student's t")[2].note

    assert told == (
        "x; sure of its side where the headline is not: it takes clusters' residuals as "
        "symmetric, while the headline's range is by re-assignment of clusters, which decides"
    )
    assert back.startswith("x; not sure of the side that the headline is sure of: ")
    assert with_reasons((headline, same), "by Student's t")[1] is same
