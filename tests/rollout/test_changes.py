"""Several changes in one plan: each against those without any, and two of them together."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pandas as pd
import pytest

from upliftlab import Experiment
from upliftlab.analysis import run
from upliftlab.data.panel import NEVER
from upliftlab.data.panel_grain import prepare_panel
from upliftlab.errors import DataError, DefinitionError, DesignError
from upliftlab.registry.from_analysis import record_of
from upliftlab.report.data import json_schema, render_json
from upliftlab.report.page import render_html
from upliftlab.report.text import render_text
from upliftlab.rollout.changes import pairs_of
from upliftlab.rollout.run import answer
from upliftlab.simulate.creator_settings import creator_preset
from upliftlab.simulate.dual_commission import creator_panel, draw_creators

PLAN = """
name: both-sides
kind: dual_commission
design: staggered
unit: creator
cluster: mcn
period: week
arms:
  single:     {organic: 20%, ads: 20%, agency: 3%, control: true}
  organic_up: {organic: 25%, ads: 20%, agency: 3%}
  ads_down:   {organic: 20%, ads: 8%, agency: 3%}
  dual:       {organic: 25%, ads: 8%, agency: 3%}
costs: {margin: 47.51%}
decide: {worth_it: 50}
"""
ARMS = np.array(["organic_up", "ads_down", "dual", ""], dtype=object)
EXTRA = 20_000
"""Fen of kept organic sales per creator and week that only both rates together bring."""


@pytest.fixture(scope="module")
def panel():
    """40 clusters of 2 creators; a quarter of them gets each change, in two waves."""
    plain = creator_panel(
        draw_creators(creator_preset("no_change", seed=3, clusters=40, creators=2))
    )
    group = plain.cluster % 4
    start = np.where(group == 3, NEVER, np.where(plain.cluster % 8 < 4, 10, 14))
    on = np.arange(len(plain.periods))[None, :] >= start[:, None]
    y = plain.y.copy()
    organic, ads = (plain.names.index(f"kept_creator_{each}") for each in ("organic", "ads"))
    y[..., organic] *= np.where(on & np.isin(group, [0, 2])[:, None], 1.2, 1.0)
    y[..., ads] *= np.where(on & np.isin(group, [1, 2])[:, None], 0.9, 1.0)
    y[..., organic] += np.where(on & (group == 2)[:, None], EXTRA, 0)
    # Twelve weeks are enough here, and whole fen.
    return replace(
        plain,
        y=np.rint(y[:, 6:18]),
        periods=plain.periods[6:18],
        start=np.where(start == NEVER, NEVER, start - 6),
        arm=ARMS[group],
    )


@pytest.fixture(scope="module")
def found(panel):
    return run(Experiment.from_text(PLAN), {"panel": panel})


def test_each_change_is_the_answer_without_the_others(found, panel):
    """Units of other changes are nobody's control: leaving them out changes nothing."""
    plan = Experiment.from_text(PLAN)
    own = panel.select((panel.arm == "dual") | (panel.start == NEVER))
    alone = answer(plan.replace(arms=(plan.control, plan.treatments[2])), own)

    one, two = found.profits[2].profit, alone.profit.profit
    assert [profit.arm for profit in found.profits] == ["organic_up", "ads_down", "dual"]
    assert one.estimate == pytest.approx(two.estimate, rel=1e-9)
    assert (one.ci_low, one.ci_high) == pytest.approx((two.ci_low, two.ci_high), rel=1e-9)
    assert {profit.rollout_n for profit in found.profits} == {len(panel.units) * 13}


def test_together_is_both_less_each(found):
    """Interaction = effect of both - effect of one - effect of the other, of every side."""
    profit = {each.arm: each.profit.estimate for each in found.profits}
    creator = {each.arm: each.parties["creator"].estimate for each in found.profits}
    told = {each.measure: each for each in found.together}

    for measure, effect in (("profit", profit), ("creator", creator)):
        beyond = effect["dual"] - effect["organic_up"] - effect["ads_down"]
        assert told[measure].effect.estimate == pytest.approx(beyond, rel=1e-9)
    assert (told["profit"].one, told["profit"].other) == ("organic_up", "ads_down")
    gap = abs(told["profit"].effect.estimate - EXTRA * (0.4751 - 0.25 - 0.03))
    assert gap < 3 * told["profit"].effect.std_error


def test_ranges_of_all_changes_at_once_are_wider(found):
    """They share those they are compared with; one range of 95 % each is not 95 % for all."""
    for each in found.profits:
        assert each.profit_simultaneous.ci_low < each.profit.ci_low
        assert each.profit_simultaneous.ci_high > each.profit.ci_high


def test_the_page_shows_all_changes_side_by_side_and_one_by_one(found):
    """Every anchor and chart is there once; JSON fits its schema; text names the changes."""
    page = render_html(found)
    anchors = [part.partition('"')[0] for part in page.split(' id="')[1:]]

    links = {part.partition('"')[0] for part in page.split(' href="#')[1:]}
    assert len(anchors) == len(set(anchors))
    assert links <= set(anchors)
    for arm in ("organic_up", "ads_down", "dual"):
        assert f"{arm}: Over time" in page
    assert "beyond their sum" in page
    assert "THE CHANGES SIDE BY SIDE" in render_text(found)
    jsonschema.validate(json.loads(render_json(found)), json_schema())


def test_a_review_adds_changes_up_each_by_itself(found):
    """Each change has expected means of its own, so a record holds no means of one control."""
    record = record_of(found)

    assert [arm.arm for arm in record.arms] == ["organic_up", "ads_down", "dual"]
    assert record.means is None


def test_pairs_are_told_by_what_arms_change():
    """An arm that makes both changes of two others; another value is another change."""
    plan = Experiment.from_text(PLAN)
    other = Experiment.from_text(
        PLAN.replace("dual:       {organic: 25%", "dual: {organic: 26%")
    )

    assert pairs_of(plan.treatments, plan.control) == (("dual", "organic_up", "ads_down"),)
    assert pairs_of(other.treatments, other.control) == ()


def table(panel):
    """The panel as rows, in fen."""
    count, length, _ = panel.shape
    when = pd.date_range("2026-05-25", periods=length, freq="7D")
    rows = pd.DataFrame(
        panel.y.reshape(count * length, -1), columns=[f"{name}_fen" for name in panel.names]
    ).rename(columns={"creators_active_fen": "creators_active", "posts_fen": "posts",
                      "ads_authorised_fen": "ads_authorised"})  # fmt: skip
    rows["creator_id"] = np.repeat([f"c{i}" for i in range(count)], length)
    rows["week"] = np.tile(when, count)
    rows["mcn"] = np.repeat([f"m{g}" for g in panel.cluster], length)
    rows["arm"] = np.repeat(panel.arm, length)
    starts = pd.to_datetime([when[s] if s < length else None for s in panel.start])
    return rows.assign(start=np.repeat(starts, length))


def waves(panel, **changes):
    """One row per cluster."""
    rows = table(panel).drop_duplicates("mcn")
    made = {"mcn": rows.mcn, "starts_on": rows.start, "arm": rows.arm} | changes
    return pd.DataFrame(made)


def test_arms_are_read_from_waves_or_from_the_panel(panel):
    """Both say the same as the panel of arrays."""
    plan = Experiment.from_text(PLAN)
    rows = table(panel)
    by_waves = rows.drop(columns=["arm", "start"])

    for tables in ({"panel": rows}, {"panel": by_waves, "waves": waves(panel)}):
        again = prepare_panel(plan, tables)
        order = [int(str(unit)[1:]) for unit in again.units]
        assert again.arm.tolist() == panel.arm[order].tolist()
        assert again.start.tolist() == panel.start[order].tolist()


def test_who_gets_which_change_must_be_said(panel):
    """Missing, unknown and double arms are refused with what would do."""
    plan = Experiment.from_text(PLAN)
    rows = table(panel)
    wrong = rows.assign(arm=rows.arm.replace("dual", "duall"))
    double = rows.assign(arm=np.where(rows.index == 0, "dual", rows.arm))
    blank = rows.assign(arm=rows.arm.replace("dual", ""))

    for bad, said in (
        (rows.drop(columns="arm"), "add a column arm"),
        (wrong, "Did you mean 'dual'"),
        (double, "has several arms"),
        (blank, "has no arm"),
    ):
        with pytest.raises(DataError, match=said):
            run(plan, {"panel": bad})
    with pytest.raises(DataError, match="give each unit an arm"):
        run(plan, {"panel": replace(panel, arm=None)})
    with pytest.raises(DesignError, match="stays without one"):
        run(plan, {"panel": panel.select(panel.start < NEVER)})
    with pytest.raises(DataError, match="gets 'dual'"):
        run(plan, {"panel": panel.select(panel.arm != "dual")})


@pytest.mark.parametrize("design", ["geo", "switchback"])
def test_other_designs_compare_one_change(design):
    """Regions and switches take one change per plan."""
    with pytest.raises(DefinitionError, match="compares one change"):
        Experiment.from_text(PLAN.replace("staggered", design))
