"""What data get wrong, and the whole sentence that says so."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.targeting.test_run import plan
from typer.testing import CliRunner

from upliftlab.cli import app
from upliftlab.errors import DataError, DefinitionError, DesignError, UpliftlabError
from upliftlab.experiment import Experiment
from upliftlab.targeting.exports import Exported
from upliftlab.targeting.features import check_unseen, fit_encoding
from upliftlab.targeting.folds import refuse_split_clusters
from upliftlab.targeting.policy_tree import fit_tree
from upliftlab.targeting.scores import component_scores
from upliftlab.targeting.value import value_of

N = 3_000
ARMS = ("none", "coupon")


def units(seed=0):
    """Columns, outcome and arms of a test as it should be."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 2, N)
    x = rng.normal(size=(N, 2)).astype(np.float32)
    return x, (arm + rng.normal(size=N))[:, None].astype(np.float32), arm


def checks(x, y, arm):
    """Checks of the scores, by name."""
    found = component_scores(
        x, y, arm, [0.5, 0.5], arms=ARMS, components=("profit",), names=("age", "visits")
    )
    return {check.name: check for check in found.checks}


def test_a_declared_leak_is_refused_by_the_plan():
    """A component may not steer the rule that is judged by it."""
    with pytest.raises(DefinitionError) as caught:
        Experiment(**plan(features=["merchant_coupon"]))

    assert str(caught.value) == (
        "target.features names 'merchant_coupon', which is measured after assignment; a rule "
        "may use only what was known before. Take it out, or name a column of the customer "
        "snapshot."
    )


def test_a_leak_in_the_data_fails_a_check():
    """Visits rise after the coupon: the column is named with its distance and its p."""
    x, y, arm = units()
    x[:, 1] += 0.5 * arm

    found = checks(x, y, arm)["leakage"]

    assert found.verdict == "fail"
    assert re.fullmatch(
        r"Column 'visits' differs between 'coupon' and 'none' by 0\.\d\d standard deviations, "
        r"far beyond chance \(p \de-\d+\): it was measured after assignment, or chance did not "
        r"deal the arms\. Take it out of target\.features if it is late\.",
        found.message,
    )


def test_arms_that_columns_foretell_fail_a_check():
    """Young customers who visit, and old ones who do not, got the coupon: no column alone."""
    x, y, _ = units()
    rng = np.random.default_rng(1)
    arm = (rng.random(N) < np.where(x[:, 0] * x[:, 1] > 0, 0.65, 0.35)).astype(int)

    found = checks(x, y, arm)

    assert found["leakage"].verdict == "pass"
    assert found["predictable_arms"].verdict == "fail"
    assert re.fullmatch(
        r"The arm can be told from what was known before assignment \(AUC 0\.6\d\d, p \S+\): "
        r"chance alone did not assign the customers that are left, or a column was measured "
        r"afterwards\.",
        found["predictable_arms"].message,
    )


def test_a_missing_outcome_is_refused():
    """A unit without an outcome cannot be scored."""
    x, y, arm = units()
    y[3] = np.nan

    with pytest.raises(DataError) as caught:
        checks(x, y, arm)

    assert str(caught.value) == (
        "component 'profit' has missing values; a unit without an outcome cannot be scored. "
        "Set it aside first, or correct the column."
    )


def test_missing_columns_of_units_are_no_obstacle():
    """Gaps that chance made raise nothing: scores are there, and checks pass."""
    x, y, arm = units()
    x[np.random.default_rng(2).random(x.shape) < 0.3] = np.nan

    assert {check.verdict for check in checks(x, y, arm).values()} == {"pass"}


def test_levels_that_were_never_seen_are_told():
    """Their share and names, and what they count as."""
    known = {"city": np.array(["A", "B", "A", "B"]), "days": np.arange(4.0)}
    code = fit_encoding(known)

    found = check_unseen(code, {**known, "city": np.array(["A", "Z", "Z", "B"])})

    assert found.verdict == "warn"
    assert found.message == (
        "Levels that were not there while learning: 'city' (2 customers); they count as none "
        "of the known ones."
    )


def test_levels_that_were_never_seen_are_told_while_scoring(tmp_path):
    """The command says how many rows have one; a blank is missing, not new."""
    city = np.array(["A", "B", "C"] * 100)
    code = fit_encoding({"city": city})
    gain = np.where(city == "A", 1.0, -1.0)
    rule = fit_tree(code.matrix({"city": city}), np.column_stack([0 * gain, gain]), depth=1)
    exported = Exported(rule=rule, encoding=code, arms=ARMS)
    (tmp_path / "rule.json").write_text(json.dumps(exported.to_dict()), encoding="utf-8")
    table = pa.table({"unit": ["1", "2", "3", "4"], "city": ["A", "Z", "Z", "-"]})
    pq.write_table(table, tmp_path / "new.parquet")

    done = CliRunner().invoke(
        app,
        ["score", str(tmp_path / "rule.json"), str(tmp_path / "new.parquet"), "--out",
         str(tmp_path / "scored.parquet")],
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[1:] == [
        (
            "note: 2 rows have a level of 'city' that was not there while learning; it counts "
            "as none of the known ones"
        )
    ]
    assert pq.read_table(tmp_path / "scored.parquet")["arm"].to_pylist() == [
        "coupon", "none", "none", "none"
    ]  # fmt: skip


def test_constant_columns_are_left_out_and_none_left_is_refused():
    """One is dropped with its reason; all of them leave nothing to learn from."""
    days = np.arange(4.0)
    assert fit_encoding({"days": days, "shop": np.ones(4)}).dropped == {"shop": "does not vary"}

    with pytest.raises(DataError) as caught:
        fit_encoding({"shop": np.ones(4), "city": np.array(["A"] * 4)})

    assert str(caught.value) == (
        "no column is left to tell units apart: 'shop' does not vary; 'city' does not vary. "
        "Name columns in target.features that differ between customers."
    )


def test_an_arm_of_few_units_warns_and_an_empty_one_is_refused():
    """Forty are few; none in a fold leave nothing to learn from."""
    x, y, arm = units()
    few = np.where(np.arange(N) < 40, 1, 0)
    chances = np.array([1 - 40 / N, 40 / N])

    found = component_scores(
        x, y, few, chances, arms=ARMS, components=("profit",), is_checked=True
    )
    with pytest.raises(DesignError) as caught:
        component_scores(
            x, y, np.where(np.arange(N) < 1, 1, 0), chances, arms=ARMS, components=("profit",)
        )

    assert found.checks[0].message == (
        "Arm 'coupon' has 40 customers; a rule can hardly learn who gains from it."
    )
    assert str(caught.value) == (
        "an arm has 1 units, too few for 2 folds; every fold must hold units of every arm."
    )
    assert len(arm) == N


def test_units_and_clusters_in_two_folds_are_refused():
    """Nothing is judged by what it taught, alone or with its cluster."""
    with pytest.raises(DesignError) as torn:
        refuse_split_clusters(np.array([0, 1, 1]), np.array([7, 7, 8]))
    with pytest.raises(UpliftlabError) as reused:
        value_of(
            [1, 1, 1], np.ones((3, 2)), learned_on=[0, 1], valued_on=[1, 2], rule="the tree"
        )

    assert str(torn.value) == (
        "1 clusters have units in several folds; units assigned together must stay together. "
        "Make folds with the cluster column."
    )
    assert str(reused.value) == (
        "the tree was learned from 1 of the 2 units that are to value it; its own units make "
        "any rule look good. Value it on others, or learn it again without them."
    )
