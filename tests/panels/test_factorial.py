"""Several changes at once: shared controls, interaction, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DesignError
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.factorial import several_changes
from upliftlab.panels.group_time import group_time

ARMS = np.repeat(["ads", "both", "organic", ""], 12)
STARTS = np.concatenate([np.tile([2, 4], 18), np.full(12, NEVER)])


def drawn(seed: int = 0, *, clustered: bool = False) -> Panel:
    """48 units, two starts per change, true effects 1, 5, 2 and two components."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(48, 6, 2))
    gain = np.repeat([1.0, 5.0, 2.0, 0.0], 12)
    y[:, :, 0] += gain[:, None] * (np.arange(6)[None, :] >= STARTS[:, None])
    cluster = np.arange(48) // 2 * 2 + STARTS % 4 // 2 if clustered else None
    return Panel.of_arrays(y, STARTS, names=("profit", "gmv"), cluster=cluster)


@pytest.mark.parametrize("clustered", [False, True])
def test_each_change_is_its_own_comparison_with_never_treated(clustered) -> None:
    """Value and error of every change are those of the panel without the other changes."""
    panel = drawn(clustered=clustered)
    joint = several_changes(panel, ARMS).joint()

    for a, name in enumerate(("ads", "both", "organic")):
        alone = panel.select(np.isin(ARMS, [name, ""]))
        own = aggregate(group_time(alone, control="never")).joint()
        at = slice(2 * a, 2 * a + 2)
        assert joint.value[at] == pytest.approx(own.value, abs=1e-12)
        assert joint.cov[at, at] == pytest.approx(own.cov, rel=1e-9)


def test_interaction_counts_the_shared_control_once() -> None:
    """Its variance is the brute-force one over cohorts, not the sum of three."""
    panel = drawn(1)
    found = several_changes(panel, ARMS)
    inter = found.interaction("both", "organic", "ads")
    joint = found.joint()
    row = np.array([-1.0, 1.0, -1.0])
    profit = np.arange(0, 6, 2)

    assert inter.value[0] == pytest.approx(row @ joint.value[profit])
    assert inter.cov[0, 0] == pytest.approx(row @ joint.cov[np.ix_(profit, profit)] @ row)
    assert joint.cov[0, 2] > 0


def test_effects_and_interaction_are_recovered() -> None:
    """Over 200 draws the truth 1, 5, 2 and interaction 2 lie within three standard errors."""
    found = [several_changes(drawn(seed), ARMS) for seed in range(200)]
    values = np.array([each.joint().value[[0, 2, 4]] for each in found])
    inter = np.array([each.interaction("both", "organic", "ads").value[0] for each in found])

    spread = values.std(axis=0) / np.sqrt(200)
    assert (np.abs(values.mean(axis=0) - [1.0, 5.0, 2.0]) < 3 * spread).all()
    assert abs(inter.mean() - 2.0) < 3 * inter.std() / np.sqrt(200)


def test_without_never_treated_changes_have_no_common_control() -> None:
    """Several changes need somebody who gets none."""
    with pytest.raises(DesignError, match="several changes need units that never get any"):
        several_changes(drawn().select(np.arange(36)), ARMS[:36])


def test_a_change_that_is_not_there_is_named() -> None:
    """The nearest label is proposed."""
    with pytest.raises(DesignError, match=r"asks for 'bot'; .* Did you mean 'both'\?"):
        several_changes(drawn(), ARMS).interaction("bot", "organic", "ads")
