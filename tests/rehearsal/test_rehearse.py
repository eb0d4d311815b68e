"""The gate opens on sound machinery and closes on broken machinery."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from upliftlab.assignment.hashing import digest
from upliftlab.assignment.recipe import recipe_of
from upliftlab.cli import app
from upliftlab.data.cells import Cells
from upliftlab.data.pieces import pieces
from upliftlab.errors import DesignError
from upliftlab.estimators import ab
from upliftlab.experiment import Experiment
from upliftlab.rehearsal.answer import rehearse
from upliftlab.rehearsal.draws import Ledger
from upliftlab.rehearsal.mechanism import mechanism_of

N = 6_000


def plan(**changes):
    """A plan whose data are one table of units."""
    values = {
        "name": "spring",
        "kind": "custom",
        "arms": {"none": {"share": "50%", "control": True}, "new": {"share": "50%"}},
        "costs": {"margin": "35%"},
        "decide": {"worth_it": "5"},
        "data": {"units": {"file": "before.csv", "money": "yuan"}},
    }
    return Experiment(**(values | changes))


def before(homes=0, seed=1):
    """What customers bought before; with homes, members of one spend alike."""
    rng = np.random.default_rng(seed)
    buys = rng.random(N) < 0.2
    home = rng.integers(max(homes, 1), size=N)
    level = np.exp(rng.normal(0, 1, max(homes, 1)))[home] if homes else 1.0
    city = rng.choice(["bj", "gz", "sh"], N)
    return pd.DataFrame(
        {
            "unit": [f"u{i}" for i in range(N)],
            "home": [f"h{h}" for h in home],
            "city": np.where(home % 2 == 0, "bj", "sh") if homes else city,
            "gmv": np.where(buys, np.round(rng.lognormal(4.8, 0.5, N) * level, 2), 0.0),
            "orders": buys.astype(int),
            "buyers": buys.astype(int),
            "pre_profit": np.round(buys * 20 + rng.normal(10, 5, N), 2),
        }
    )


@pytest.fixture(scope="module")
def sound():
    """A rehearsal of customers who are assigned one by one."""
    return rehearse(plan(strata=["city"]), {"units": before()}, draws=400, seed=1)


def test_the_gate_opens_on_sound_data(sound):
    """Uniform p-values, ranges that hold, few alarms, promised power."""
    assert sound.is_valid
    assert {check.verdict for check in sound.checks} == {"pass"}
    profit = sound.rows[0]
    assert profit.metric == "profit"
    assert 0.02 < profit.false_alarms < 0.09
    assert profit.coverage == pytest.approx(1 - profit.false_alarms, abs=0.01)
    assert 0.72 < profit.power < 0.88
    assert sum(profit.deciles) == pytest.approx(1)
    assert json.loads(json.dumps(sound.to_dict()))["passed"] is True


def test_what_is_seen_is_what_the_arithmetic_says(sound):
    """80 % power at 2.8 standard errors, of unadjusted profit from raw rows."""
    frame = before()
    profit = 0.35 * 100 * frame["gmv"]
    raw = 2 * profit.std() / np.sqrt(N)
    kept = sound.rows[0].std_error / raw

    slope = np.polyfit(frame["pre_profit"], profit, 1)
    left = (profit - np.polyval(slope, frame["pre_profit"])).std() / profit.std()
    assert kept == pytest.approx(left, rel=0.02)
    assert sound.rows[0].detectable == pytest.approx(2.80 * sound.rows[0].std_error, rel=0.06)


def test_the_gate_closes_where_clusters_are_ignored():
    """Homes move together and the analysis counts customers: too many false alarms."""
    found = rehearse(plan(), {"units": before(homes=150)}, draws=300, by="home")
    failed = {check.name for check in found.checks if check.verdict == "fail"}

    assert not found.is_valid
    assert {"p_values", "coverage", "sample_ratio"} <= failed
    assert found.rows[0].false_alarms > 0.1
    assert any("take units for independent" in n or "independent" in n for n in found.notes)


@pytest.mark.parametrize("draw", ["each", "blocks"])
def test_the_gate_opens_where_clusters_are_named(draw):
    """The same homes, drawn and analysed as homes."""
    experiment = plan(
        design="cluster_split",
        cluster="home",
        strata=["city"] if draw == "blocks" else [],
        assign={"draw": draw},
    )
    found = rehearse(experiment, {"units": before(homes=150)}, draws=300)

    assert found.is_valid, [check.message for check in found.checks]
    assert found.clusters == 150
    assert 0.01 < found.rows[0].false_alarms < 0.09


def test_ids_that_repeat_in_their_hashes_are_noticed():
    """Ids whose hashes crowd together cannot be split evenly."""
    frame = before().head(4_000)
    crowded = [f"x{i}" for i in range(60_000) if digest("spring", f"x{i}")[0] == "0"]
    frame = frame.head(len(crowded)).assign(unit=crowded[: len(frame)])
    found = rehearse(plan(), {"units": frame}, draws=100)

    assert [c.verdict for c in found.checks if c.name == "hash"] == ["fail"]


def test_arms_from_pieces_are_arms_from_rows():
    """A matrix product of moments gives what the rows give, covariates and strata included."""
    frame = before()
    experiment = plan(strata=["city"])
    found = pieces(experiment, {"units": frame})
    ledger = Ledger.of(found.cells)
    rng = np.random.default_rng(3)
    arm = rng.integers(2, size=len(ledger.n))
    flat = ledger.flat()
    added = np.stack([(arm == a).astype(float) @ flat for a in range(2)])
    cells = ledger.arms(added, ["none", "new"])

    names = sorted({label[0] for label in found.cells.labels})
    where = dict(zip(names, arm, strict=True))
    own = [where[digest("spring", unit)[:3]] for unit in frame["unit"]]
    rows = frame.assign(arm=np.where(np.array(own) == 0, "none", "new"))
    for label, n, mean, m2 in zip(cells.labels, cells.n, cells.mean, cells.m2, strict=True):
        mine = rows[(rows["arm"] == label[0]) & (rows["city"] == label[1])]
        k = cells.names.index("gmv_platform")
        assert n == len(mine)
        assert mean[k] == pytest.approx(100 * mine["gmv"].mean(), rel=1e-9)
        assert m2[k, k] == pytest.approx(1e4 * mine["gmv"].var() * (n - 1), rel=1e-9)
    assert isinstance(cells, Cells)
    effects = ab.estimate(
        cells, arms=["none", "new"], control="none", covariates=found.covariates,
        strata=["city"],
    )  # fmt: skip
    assert np.isfinite(effects.cov).all()


def test_units_per_arm_vary_as_if_each_was_drawn():
    """Buckets of hashes in fixed numbers give the binomial's spread, so alarms are as rare."""
    experiment = plan()
    found = pieces(experiment, {"units": before()})
    size = Ledger.of(found.cells).n.sum(axis=1)
    mechanism = mechanism_of(recipe_of(experiment), found, draws=2_000, seed=1)
    counts = (mechanism.drawn == 1) @ size
    z = (counts - N / 2) / np.sqrt(N / 4)

    assert z.std() == pytest.approx(1, abs=0.06)
    # Counts are whole numbers: spread them over their step before comparing with a curve.
    spread = z + np.random.default_rng(1).uniform(-0.5, 0.5, 2_000) / np.sqrt(N / 4)
    assert stats.kstest(spread, "norm").pvalue > 0.001


def test_ready_cells_have_no_units_to_re_assign():
    """Sums cannot be split again."""
    experiment = plan(data={"cells": {"file": "cells.csv", "money": "yuan"}})
    with pytest.raises(DesignError) as found:
        pieces(experiment)

    assert str(found.value) == (
        "aa re-assigns units, and data of experiment 'spring' has ['cells']; add data.units "
        "with a table from before the test, or order lines."
    )


@pytest.mark.parametrize(("by", "code"), [(None, 0), ("home", 3)])
def test_the_command_opens_and_closes_the_gate_for_clusters(tmp_path, by, code):
    """Homes drawn in blocks of cities pass; customers of the same homes do not."""
    split = "" if by else "design: cluster_split\ncluster: home\nstrata: [city]\n"
    assign = "" if by else "assign: {draw: blocks}\n"
    file = tmp_path / "experiment.yaml"
    file.write_text(
        f"name: spring\nkind: custom\n{split}{assign}"
        "arms: {none: {share: 50%, control: true}, new: {share: 50%}}\n"
        "costs: {margin: 35%}\ndata: {units: {file: before.csv, money: yuan}}\n",
        encoding="utf-8",
    )
    before(homes=150).to_csv(tmp_path / "before.csv", index=False)
    asked = ["aa", str(file), "--draws", "200", "--json", *(["--by", by] if by else [])]
    done = CliRunner().invoke(app, asked)

    assert done.exit_code == code, done.output
    assert (tmp_path / "report").is_dir()
