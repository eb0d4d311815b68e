"""Regions: what the page tells over time has the weights of the headline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from upliftlab import Experiment
from upliftlab.data.panel import NEVER, Panel
from upliftlab.errors import DesignError
from upliftlab.rollout.region_noise import region_noise
from upliftlab.rollout.run import Answered, answer
from upliftlab.simulate.creator_settings import creator_preset
from upliftlab.simulate.dual_commission import creator_panel, draw_creators

PLAN = """
name: dual-commission
kind: dual_commission
design: geo
unit: province
period: week
ramp: 4 weeks
arms:
  single: {organic: 20%, ads: 20%, agency: 3%, control: true}
  dual:   {organic: 25%, ads: 8%, agency: 3%}
costs: {margin: 47.51%}
decide: {worth_it: 50}
"""


@pytest.fixture(scope="module")
def panel():
    """20 provinces, 4 and 3 of them in two waves, with unequal weights of the treated."""
    found = creator_panel(
        draw_creators(creator_preset("well_designed", seed=9, clusters=20, creators=4))
    )
    first = np.unique(found.cluster, return_index=True)[1]
    start = np.array([12] * 4 + [17] * 3 + [NEVER] * 13)
    weight = np.where(start == 17, 2.0, 1.0)
    return replace(
        found.select(first),
        start=start,
        weight=weight,
        cluster=np.arange(20),
        cluster_labels=(),
    )


def told(panel: Panel, extra: str = "") -> Answered:
    """Its answer."""
    return answer(Experiment.from_text(PLAN + extra), panel)


@pytest.mark.parametrize("many", [False, True])
def test_stretches_and_waves_add_up_to_the_headline(panel, many):
    """Placebo draws and leave-one-out: weighted by unit-periods they are the same number."""
    if many:
        panel = replace(panel, start=np.where(np.arange(20) == 7, 17, panel.start))
    found = told(panel)
    headline = found.profit.profit
    ramp, after = (found.rollout.stretch(name) for name in ("ramp", "after_ramp"))
    assert all("not of the weighted headline" in h.note for h in found.rollout.honesty)
    trend = next(check for check in found.checks if check.name == "pre_trend")
    assert trend.verdict == "info"
    assert "of all other provinces, unweighted, " in trend.message
    mass = {
        "12": 4.0 * (26 - 12),
        "17": float(panel.weight[panel.start == 17].sum()) * (26 - 17),
    }
    waves = [wave for wave in found.rollout.waves if wave.start != "never"]

    assert ramp.total.estimate + after.total.estimate == pytest.approx(
        found.rollout.stretch("since").total.estimate, rel=1e-9
    )
    assert ramp.unit_periods + after.unit_periods == pytest.approx(sum(mass.values()))
    assert sum(
        wave.profit.estimate * each for wave, each in zip(waves, mass.values(), strict=True)
    ) == pytest.approx(headline.estimate * sum(mass.values()), rel=1e-9)
    assert all(np.isfinite(wave.profit.ci_low) for wave in waves)
    assert np.isfinite(after.profit.ci_low)


def test_one_stretch_of_everything_has_the_range_of_the_headline(panel):
    """After a ramp of no length the stretch is the headline, number and range."""
    one = panel.select(panel.start != 17)
    found = told(one)
    wave = found.rollout.waves[0].profit

    assert wave.estimate == pytest.approx(found.profit.profit.estimate, rel=1e-9)
    assert wave.std_error == pytest.approx(found.profit.profit.std_error, rel=1e-9)


def test_cells_average_to_their_wave(panel):
    """Cells have the headline's weights, and no range of their own."""
    found = told(panel)
    for wave in found.rollout.waves[:2]:
        cells = [
            c.effect for c in found.rollout.cells if c.start == wave.start and c.event >= 0
        ]
        mean = np.mean([cell.estimate for cell in cells])

        assert mean == pytest.approx(wave.profit.estimate, rel=1e-9)
        assert {cell.note for cell in cells} == {
            "one wave in one period has no range of its own here"
        }


def test_announced_weeks_are_weighted_too(panel):
    """Announced and since add up to everything, over treated weights."""
    found = told(panel, "announced: 2 weeks\n").rollout
    announced, since, both = (
        found.stretch(name) for name in ("announced", "since", "everything")
    )

    assert announced.unit_periods == pytest.approx(2 * panel.weight[panel.start < NEVER].sum())
    assert announced.total.estimate + since.total.estimate == pytest.approx(
        both.total.estimate, rel=1e-9
    )
    assert np.isfinite(announced.profit.ci_low)


def test_pay_back_reads_the_weighted_sums(panel):
    """A gain far above the noise pays back at once; none never does."""
    y = panel.y.copy()
    y[:, :, panel.names.index("kept_shelf")] = 1e5
    flat = replace(panel, y=y)
    rich = y.copy()
    at = panel.start < NEVER
    event = np.arange(26)[None, :] >= panel.start[:, None]
    rich[:, :, panel.names.index("kept_shelf")] += np.where(event & at[:, None], 1e10, 0.0)

    assert told(replace(flat, y=rich)).rollout.pay_back == 1
    assert not told(flat).rollout.pay_back < 5


def test_a_region_treated_throughout_is_refused(panel):
    """It has no before; the message says what to do."""
    early = replace(panel, start=np.where(np.arange(20) == 0, 0, panel.start))

    with pytest.raises(
        DesignError, match=r"1 of 20 regions were treated .* leave their rows out"
    ):
        told(early)


def loud(times: float) -> Panel:
    """Four of 40 regions treated after 200 periods; before, they vary so many times as much."""
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(40, 220))
    noise[:4] *= times
    start = np.array([200] * 4 + [NEVER] * 36)
    season = rng.normal(size=220)
    return Panel.of_arrays(50 + season + noise, start, names=("profit",), periods=range(220))


@pytest.mark.parametrize(
    ("times", "verdict", "said"),
    [
        (1.0, "pass", "make the range."),
        (1.75, "warn", "it may be too narrow; next time treat regions like the others."),
        (6.0, "fail", "it is too narrow by about as much, and supports no verdict."),
    ],
)
def test_placebos_must_be_as_noisy_as_treated_regions(times, verdict, said):
    """Large regions judged by small ones would call effects that are none."""
    check = region_noise(loud(times), anticipation=0)

    assert check is not None
    assert check.value == pytest.approx(times, rel=0.1)
    assert check.verdict == verdict
    assert check.is_blocking == (verdict == "fail")
    assert check.message.endswith(said)


def test_periods_after_the_news_do_not_count_as_before():
    """What regions do once they are told is no noise of before."""
    panel = loud(1.0)
    panel.y[:4, 190:] += 1e4

    assert region_noise(panel, anticipation=10).verdict == "pass"
    assert region_noise(panel, anticipation=0).verdict == "fail"


def test_loud_regions_bring_no_verdict_and_leaving_out_needs_no_likeness(panel):
    """The whole answer: with few treated regions placebos judge, from eight on they do not."""

    def checks(regions):
        start = np.array([14] * regions + [NEVER] * (20 - regions))
        y = panel.y * np.where(start == 14, 12.0, 1.0)[:, None, None]
        found = told(replace(panel, start=start, y=y, weight=np.ones(20)))
        return {each.name: each.verdict for each in found.checks}

    assert checks(4)["region_noise"] == "fail"
    assert "region_noise" not in checks(8)
