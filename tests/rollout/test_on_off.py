"""On and off by day: what totals count where some days have no partner."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab import Experiment
from upliftlab.data.panel import NEVER, Panel
from upliftlab.rollout.run import answer

PLAN = """
name: switch
kind: custom
design: switchback
unit: shop
period: day
arms:
  off: {control: true}
  on: {}
"""


@pytest.mark.parametrize(("days", "alone"), [(28, 0), (35, 6)])
def test_days_without_a_partner_are_counted_and_named(days, alone):
    """Five weeks make two pairs of weeks: the fifth is in the total and in no pair."""
    rng = np.random.default_rng(1)
    on = (np.arange(days) // 7 + np.arange(days) % 7) % 2 == 1
    y = rng.normal(100.0, 5.0, (2, days, 1)) + 10.0 * on[None, :, None]
    state = np.broadcast_to(on.astype(float)[None, :, None], (2, days, 1))
    panel = Panel.of_arrays(
        np.concatenate([y, state], axis=2), [NEVER, NEVER], names=("profit", "treated")
    )
    told = answer(Experiment.from_text(PLAN), panel)
    since = told.rollout.stretch("since")
    said = f"totals count all days on; {alone} shop-days of them have no partner"

    assert since.unit_periods == 2 * on.sum()
    assert since.total.estimate == pytest.approx(2 * on.sum() * since.profit.estimate)
    assert any(note.startswith(said) for note in told.rollout.notes) == (alone > 0)
