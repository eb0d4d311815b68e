"""A rule says the same in Python, as JSON and as SQL, row by row."""

from __future__ import annotations

import json

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.errors import UpliftlabError
from upliftlab.targeting.boosting import Shape
from upliftlab.targeting.exports import Exported, read_rule, sql
from upliftlab.targeting.fast_dr import fit_fast_dr
from upliftlab.targeting.features import fit_encoding
from upliftlab.targeting.policy_tree import fit_tree
from upliftlab.targeting.rules import ConstantRule, Exploration, model_rule

ODD = ("class", 'a "quoted" one', "客户's", "x y")
ARMS = ("none", "it's ¥20", "c'5\\")


def table(seed, n=400):
    """Columns of every kind, with gaps, infinities and odd names."""
    rng = np.random.default_rng(seed)
    days = rng.integers(0, 90, n).astype(float)
    days[rng.random(n) < 0.1] = np.nan
    share = rng.normal(size=n)
    share[rng.random(n) < 0.03] = np.inf
    share[rng.random(n) < 0.03] = -np.inf
    cities = rng.choice(["北京", "O'Hare", "a\\b", None], n)
    return {
        ODD[0]: days,
        ODD[1]: share,
        ODD[2]: pa.array(cities.tolist(), pa.string()),
        ODD[3]: rng.random(n) < 0.4,
    }


def by_sql(exported, raw, units=None):
    """The arms that DuckDB gives."""
    columns = {name: pa.array(column) for name, column in raw.items()}
    units = [str(i) for i in range(len(raw[ODD[0]]))] if units is None else units
    query = f"SELECT {sql(exported)} AS arm FROM t"  # noqa: S608 - it is what is tested
    rows = pa.table({**columns, "unit": units})
    with duckdb.connect() as engine:
        engine.register("t", rows)
        found = engine.execute(query).fetchall()
    return [arm for (arm,) in found]


def learned(kind, raw, code, seed):
    """A rule learned on noise, so that it splits anywhere."""
    rng = np.random.default_rng(seed)
    x = code.matrix(raw)
    worth = rng.normal(size=(len(x), 3)) + np.column_stack(
        [np.zeros(len(x)), *(3 * np.nan_to_num(x[:, j]) / 90 - 1 for j in (0, -1))]
    )
    if kind == "tree":
        return fit_tree(x, worth, depth=2, least=0.02)
    contrast = worth[:, 1:] - worth[:, :1]
    shape = Shape(trees=20, leaves=6, rate=0.2, least=10)
    return model_rule(fit_fast_dr(x, contrast, shape=shape))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["tree", "model"]))
def test_sql_json_and_python_agree(seed, kind):
    """Every row gets the same arm, on data the rule has not seen."""
    raw, new = table(seed), table(seed + 1)
    code = fit_encoding(raw)
    exported = Exported(rule=learned(kind, raw, code, seed), encoding=code, arms=ARMS)

    expected = [ARMS[a] for a in exported.arms_of(new)]
    again = read_rule(json.dumps(exported.to_dict()))

    assert by_sql(exported, new) == expected
    assert again == exported


def test_a_model_as_plain_trees_predicts_what_lightgbm_does():
    """Gaps go where LightGBM sends them, also where none was seen while learning."""
    raw = table(1, 3_000)
    raw[ODD[0]] = np.nan_to_num(raw[ODD[0]], nan=4.0)
    code = fit_encoding(raw)
    x = code.matrix(raw)
    model = fit_fast_dr(x, np.nan_to_num(x[:, 0]) / 10 + np.nan_to_num(x[:, 1]))
    new = code.matrix(table(2, 3_000))

    assert np.isnan(new[:, 0]).any()
    assert model_rule(model).gains_of(new)[:, 0] == pytest.approx(
        model.predict(new)[:, 0], rel=1e-5
    )


def test_chance_is_the_same_in_sql():
    """The share left to chance is drawn from the unit's id, alike everywhere."""
    raw = table(3)
    code = fit_encoding(raw)
    explore = Exploration(share=0.3, chances=(0.5, 0.3, 0.2), salt="it's spring")
    exported = Exported(rule=ConstantRule(arm=1), encoding=code, arms=ARMS, exploration=explore)
    units = [f"u{i}" for i in range(400)]

    expected = explore.arms_of(units, exported.arms_of(raw))

    assert by_sql(exported, raw, units) == [ARMS[a] for a in expected]
    assert 0.08 < (expected == 0).mean() < 0.22


def test_levels_never_seen_are_none_of_the_known():
    """A new city is treated like the rest, as in Python."""
    raw = {"city": pa.array(["A", "B", "C"] * 40)}
    code = fit_encoding(raw)
    worth = np.column_stack([np.zeros(120), np.tile([1.0, -1.0, -1.0], 40)])
    tree = fit_tree(code.matrix(raw), worth, depth=1)
    exported = Exported(rule=tree, encoding=code, arms=("no", "yes"))
    new = {"city": pa.array(["A", "Z", None])}

    assert by_sql(exported, new, ["1", "2", "3"]) == ["yes", "no", "no"]
    assert exported.arms_of(new).tolist() == [1, 0, 0]
    assert exported.columns == ("city",)


def test_spark_writes_its_own_quotes():
    """Names stand in backticks, texts with backslashes, types by Spark's names."""
    raw = table(5)
    code = fit_encoding(raw)
    exported = Exported(rule=learned("tree", raw, code, 5), encoding=code, arms=ARMS)

    text = sql(exported, "spark")

    assert '"' not in text.replace('a "quoted" one', "")
    assert "'c\\'5\\\\'" in text or "'it\\'s ¥20'" in text
    assert "VARCHAR" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "is no targeting rule of version 1"),
        ('{"upliftlab_rule": 2}', "its upliftlab_rule is 2"),
        ('{"upliftlab_rule": 1, "kind": "tree"}', "the targeting rule is damaged: KeyError"),
    ],
)
def test_other_texts_are_refused(text, said):
    """One sentence says what was found and where to take a rule from."""
    with pytest.raises(UpliftlabError, match=said):
        read_rule(text)
