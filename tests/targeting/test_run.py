"""Who should get what, from a plan and a table to a verdict, files and checks."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from upliftlab.analysis import run
from upliftlab.cli import app
from upliftlab.errors import DataError, DefinitionError, UpliftlabError
from upliftlab.experiment import Experiment
from upliftlab.report import write
from upliftlab.targeting.exports import Exported

N = 12_000


def plan(**target):
    """A coupon test on one table per unit, with a target block."""
    return {
        "name": "who",
        "kind": "smart_coupon",
        "arms": {
            "none": {"share": "50%", "control": True},
            "c20": {"share": "50%", "coupon": 20, "over": 99},
        },
        "costs": {"margin": "50%"},
        "eligible_customers": 100_000,
        "target": {"learner": "fast", **target},
        "data": {
            "units": {
                "file": "units.csv",
                "money": "yuan",
                "columns": {"unit": "uid", "arm": "grp"},
            }
        },
    }


def rows(seed=1, n=N, gain=20.0):
    """Customers of two cities: in A the coupon brings sales, in B it only costs."""
    rng = np.random.default_rng(seed)
    city = rng.choice(["A", "B"], n)
    days = rng.integers(1, 90, n)
    arm = rng.choice(["none", "c20"], n)
    treated = arm == "c20"
    bought = rng.random(n) < 0.3
    coupon = np.where(treated & bought, 8.0, 0.0)
    sales = bought * rng.gamma(2.0, 30.0, n) + treated * (city == "A") * gain
    return pd.DataFrame(
        {
            "uid": [f"u{i}" for i in range(n)],
            "grp": arm,
            "gmv": sales.round(2),
            "merchant_coupon": coupon,
            "city": city,
            "days": days,
            "same": 1,
        }
    )


def answered(table=None, experiment=None, **target):
    """The targeting part of a whole analysis."""
    target.setdefault("features", ["city", "days"])
    made = Experiment(**(experiment or plan(**target)))
    return run(made, {"units": rows() if table is None else table})


@pytest.fixture(scope="module")
def found():
    """One analysis with a clear answer."""
    return answered(features=["city", "days", "same"], fair_across=["city"], budget=400_000)


def test_the_rule_finds_who_pays(found):
    """City A gets the coupon, and the rule ships on units that it was not learned from."""
    who = found.targeting
    rule = who.exported

    assert who.verdict == "rule"
    assert who.learned + who.valued == N
    assert [(leaf.path, leaf.arm) for leaf in who.tree] == [
        (("city = A",), "c20"),
        (("city = B",), "none"),
    ] or [(leaf.path, leaf.arm) for leaf in who.tree] == [
        (("city = B",), "none"),
        (("city = A",), "c20"),
    ]
    # 0.5 x 20 yuan of sales less .3 x 8 yuan of coupon, for one half of all: 380 fen.
    assert not rule.value.excludes(380)
    assert rule.value.is_above_zero
    assert rule.total.estimate == pytest.approx(rule.value.estimate * 100_000)


def test_every_part_of_the_answer_is_there(found):
    """Curve, frontier, groups, traits, calibration, spend, conflict, fairness, doubts."""
    who = found.targeting

    assert len(who.curve) == 100
    assert who.frontier.planned == pytest.approx(40_000_000)
    assert len(who.groups) == 5
    assert {trait.feature for trait in who.traits} >= {"city: A", "city: B", "days"}
    assert who.calibration.is_above_zero
    assert who.spend[0].wasted_low <= who.spend[0].wasted_high
    assert {(each.column, each.level) for each in who.fairness} == {
        ("city", "A"),
        ("city", "B"),
    }
    assert len(who.robustness) == 2
    assert who.dropped == {"same": "does not vary"}
    assert {rule.kind for rule in who.rules} == {"learned", "constant", "baseline"}
    assert who.rules[0].is_exported


def test_values_of_the_same_units_agree(found):
    """Everybody less nobody is the same difference wherever it stands."""
    who = found.targeting
    everyone = who.worth("everybody:c20")

    assert who.curve[-1].effect.estimate == pytest.approx(everyone.value.estimate, rel=1e-6)
    assert who.frontier.points[-1].effect.estimate == pytest.approx(
        everyone.total.estimate, rel=1e-6
    )
    assert who.frontier.points[-1].x == pytest.approx(
        everyone.cost.estimate * 100_000, rel=1e-6
    )


def test_files_and_command_give_the_same_arms(found, tmp_path):
    """The JSON applied to a file by the command equals the rule in Python."""
    written = write(found, tmp_path / "report")
    new = rows(seed=9, n=2_000).rename(columns={"uid": "unit"})
    new.to_parquet(tmp_path / "new.parquet")

    done = CliRunner().invoke(
        app,
        ["score", str(written["rule"]), str(tmp_path / "new.parquet"), "--out",
         str(tmp_path / "scored.parquet"), "--column", "gets"],
    )  # fmt: skip
    rule = Exported.from_dict(json.loads(written["rule"].read_text(encoding="utf-8")))
    columns = {"city": new["city"].to_numpy(), "days": new["days"].to_numpy(dtype=float)}
    arm = rule.exploration.arms_of(new["unit"].tolist(), rule.arms_of(columns))

    assert done.exit_code == 0, done.output
    assert "2,000 rows" in done.output
    gets = pq.read_table(tmp_path / "scored.parquet")["gets"].to_pylist()
    assert gets == [rule.arms[a] for a in arm]
    assert 0.02 < np.mean(rule.arms_of(columns) != arm) < 0.03


def test_without_differences_nobody_is_told_apart():
    """Where the coupon only costs, the answer is nobody, and what the best rule brings."""
    who = answered(rows(gain=0.0)).targeting

    assert who.verdict == "none"
    assert who.exported.name == "nobody"
    assert "No rule is shown to earn more than treating nobody" in who.finding


def test_where_everybody_gains_all_are_treated():
    """A rule that treats everybody is no rule."""
    table = rows(gain=0.0)
    table["gmv"] += np.where(table["grp"] == "c20", 30.0, 0.0)

    who = answered(table).targeting

    assert who.verdict == "all"
    assert who.exported.name == "everybody:c20"


def test_a_cap_on_the_treated_is_kept():
    """At most a fifth: the multiplier is found on one half and holds on the other."""
    who = answered(at_most="20%", rule="model", features=["city", "days"]).targeting
    model = who.worth("model")

    assert 0.17 <= 1 - model.treated["none"] <= 0.215
    assert any("Limits enter as prices" in note for note in who.notes)


def test_a_tree_keeps_the_cap_too():
    """Ends that would treat too many are given nothing."""
    who = answered(at_most="30%", rule="tree").targeting

    assert 1 - who.worth("tree").treated["none"] <= 0.32


def test_a_target_beyond_reach_fails_a_check(tmp_path):
    """What cannot be kept is said, and no rule ships on it."""
    table = rows()
    table["new_customers"] = (np.arange(N) % 50 == 0).astype(int)

    found = answered(table, at_least={"new_customers": 90_000})

    who = found.targeting
    failed = [check for check in who.checks if check.verdict == "fail"]
    assert [check.name for check in failed] == ["limits", "limit_new_customers"]
    assert failed[0].message.startswith("at least so many new customers: 90,000 more are asked")
    assert "the most that any rule brings over 100,000 eligible customers" in failed[0].message
    assert who.verdict == "blocked"
    assert (who.finding, dict(who.rule), who.sql) == (
        f"No rule is given: {failed[0].message}", {}, ""
    )  # fmt: skip
    assert not {"rule", "sql", "spark"} & set(write(found, tmp_path))


def test_a_floor_of_what_nobody_counts_is_refused():
    """The data are named, not a key of a dictionary."""
    with pytest.raises(DataError) as error:
        answered(at_least={"new_customers": 1000})

    assert str(error.value) == (
        "target.at_least asks for 'new_customers', which the data do not hold; they count []. "
        "Map a column to it, or ask for another count."
    )


def test_a_cap_smaller_than_any_end_goes_to_the_model():
    """A small tree treats half of all or nobody; a tenth needs a finer rule."""
    who = answered(at_most="10%").targeting

    assert who.tried == "model"
    assert 0.07 <= 1 - who.worth("model").treated["none"] <= 0.102
    assert who.worth("model").value.is_above_zero


def test_dates_words_and_columns_beside_the_rule_are_read():
    """A date is a day, yes and no are numbers, groups are compared that no rule may use."""
    table, rng = rows(gain=0.0), np.random.default_rng(3)
    since = np.datetime64("2025-01-01") + rng.integers(0, 300, N)
    bought = (table["grp"] == "c20") & (since > np.datetime64("2025-06-01"))
    table = table.assign(
        since=since.astype("datetime64[s]"),
        gmv=table["gmv"] + np.where(bought, 60.0, 0.0),
        vip=rng.choice(["yes", "no", "-"], N),
        sex=rng.choice(["f", "m"], N),
        age=np.where(rng.random(N) < 0.1, np.nan, rng.integers(18, 70, N)),
        huge=rng.choice([np.inf, 1e300, 1.5, -2.0], N),
    )
    features = ["since", "vip", "huge"]

    found = answered(table, features=features, fair_across=["sex", "age", "since"], rule="tree")

    who = found.targeting
    exported = Exported.from_dict(who.rule)
    kinds = {code.name: code.kind for code in exported.encoding.columns}
    assert kinds == {"since": "date", "vip": "worded", "huge": "number"}
    assert any("since ≤ 2025-0" in " ".join(leaf.path) for leaf in who.tree)
    levels = {(each.column, each.level) for each in who.fairness}
    assert {("sex", "f"), ("sex", "m"), ("age", "missing")} <= levels
    assert len(levels) == 2 + 5 + 4
    assert "DATE_DIFF" in who.sql
    assert "DATEDIFF" in who.sql_spark


def test_clusters_stay_in_one_half():
    """Whole clusters teach or judge, and errors count clusters."""
    table = rows()
    table["shop"] = np.arange(N) // 60
    arm = np.where(np.random.default_rng(2).random(200) < 0.5, "none", "c20")
    table["grp"] = arm[table["shop"]]
    made = plan(features=["city", "days"]) | {"design": "cluster_split", "cluster": "shop"}

    who = answered(table, made).targeting

    assert who.learned % 60 == 0
    assert who.exported.value.df < 200


def test_what_is_measured_later_is_no_feature():
    """A component may not steer the rule that is judged by it."""
    with pytest.raises(DefinitionError, match="measured after assignment"):
        Experiment(**plan(features=["city", "merchant_coupon"]))


def test_a_column_that_knows_the_arm_is_named():
    """A feature that differs between arms beyond chance was not known before."""
    table = rows()
    table["seen"] = np.where(table["grp"] == "c20", 1.0, 0.0) + np.arange(N) % 2

    who = answered(table, features=["city", "seen"]).targeting

    said = [check for check in who.checks if check.verdict in {"fail", "warn"}]
    assert any("seen" in check.message for check in said)
    assert who.verdict == "blocked"
    assert who.finding.startswith("No rule is given: Column 'seen' differs between 'c20' and")


def test_a_column_that_is_not_there_is_named():
    """The nearest one is offered."""
    with pytest.raises(DataError, match="cty"):
        answered(features=["cty"])


def test_columns_that_tell_nobody_apart_are_refused():
    """With nothing that differs there is no rule to learn."""
    with pytest.raises(DataError, match="no column is left to tell units apart"):
        answered(features=["same"])


def test_too_few_units_are_refused():
    """An arm needs units in both halves."""
    with pytest.raises(UpliftlabError):
        answered(rows(n=60))
