"""One rule, one answer: Python, DuckDB, the JSON scorer and Spark, on nasty rows."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.data.rule_scorer import score_file
from upliftlab.targeting.exports import Exported, read_rule, sql
from upliftlab.targeting.features import fit_encoding
from upliftlab.targeting.rules import (
    LEAF,
    ConstantRule,
    Exploration,
    ModelRule,
    Nodes,
    TreeRule,
)

ARMS = ("无", 'it\'s "¥20"', "c'5\\")
GREATEST = float(np.finfo(np.float32).max)
NUMBERS = (
    0.0, -0.0, 0.1, 0.5, 1.0, -1.0, 16_777_216.0, 16_777_217.0, 1e-45, 1e-300, 1e300, -1e300,
    GREATEST, GREATEST * (1 + 2**-25), GREATEST * (1 + 2**-24), np.inf, -np.inf, np.nan, None,
    float(np.float32(0.1)), np.nextafter(float(np.float32(0.1)), 1), 2.5, 159.4,
)  # fmt: skip
WHOLE = (0, 1, -1, 2**24 + 1, 2**53 + 1, 2**62, -(2**63), 2**63 - 1, 159, None)
TEXTS = (
    "北京", "O'Hare", 'a"b', "a\\b", "a`b", "", " ", "-", "null", "\t北京 ", "新", "A", "a",
    "(missing)", "—", "%", None,
)  # fmt: skip
WORDS = (
    "1",
    " 2.5",
    "1,200",
    "yes",
    "No",
    "是",
    "否",
    "-",
    "",
    "abc",
    "1e3",
    "nan",
    "inf",
    None,
)
DAYS = (dt.date(1970, 1, 1), dt.date(1969, 12, 31), dt.date(2026, 2, 28), dt.date(1900, 1, 1),
        dt.date(2400, 2, 29), None)  # fmt: skip
MONEY = ("0.10", "-0.10", "99999999.99", "159.40", "0.00", None)


def columns(rng, n):
    """A table with one column of every kind and names that must be quoted."""

    def some(values, kind):
        return pa.array([values[i] for i in rng.integers(0, len(values), n)], kind)

    money = tuple(None if each is None else decimal.Decimal(each) for each in MONEY)
    narrow = [v for v in NUMBERS if v is None or not GREATEST < abs(v) < np.inf]
    return {
        "share of `all`.x": some(NUMBERS, pa.float64()),
        "select": some(narrow, pa.float32()),
        "次数": some(WHOLE, pa.int64()),
        'a "flag"': some((True, False, None), pa.bool_()),
        "price's": some(money, pa.decimal128(12, 2)),
        "since": some(DAYS, pa.date32()),
        "城市": some(TEXTS, pa.string()),
        "worded": some(WORDS, pa.string()),
        "客户": some(("u1", "u2 ", "\tu3", "007", None, *map(str, range(60))), pa.string()),
    }


def grown(rng, code, x, depth, ends):
    """A tree that splits at values of the data, exactly, or next to them."""
    rows = []

    def add(level):
        at = len(rows)
        if level == 0:
            rows.append([LEAF, 0.0, False, at, at, float(rng.choice(ends))])
            return at
        j = int(rng.integers(len(code.names)))
        seen = x[:, j][np.isfinite(x[:, j])]
        edge = float(rng.choice(seen)) if len(seen) else 0.0
        edge = float(
            rng.choice([edge, np.nextafter(edge, np.inf), np.nextafter(edge, -np.inf)])
        )
        if " = " in code.names[j]:
            edge = float(rng.choice([0.0, 0.5, 1.0, -0.1]))
        rows.append([j, edge, bool(rng.random() < 0.5), at, at, 0.0])
        rows[at][3] = add(level - 1)
        rows[at][4] = add(level - 1)
        return at

    add(depth)
    names = ("feature", "threshold", "nan_left", "left", "right", "value")
    return Nodes(**dict(zip(names, map(tuple, zip(*rows, strict=True)), strict=True)))


def case(seed, kind, n=200):
    """A rule, and units that it has not seen."""
    rng = np.random.default_rng(seed)
    raw = columns(rng, 400)
    code = fit_encoding({k: v for k, v in raw.items() if k != "客户"}, worded=["worded"])
    x = code.matrix(raw)
    if kind == "tree":
        rule = TreeRule(nodes=grown(rng, code, x, 4, range(3)))
    else:
        trees = tuple(
            tuple(grown(rng, code, x, 2, (0.1, -0.3, 0.7, 1e-17)) for _ in range(5))
            for _ in range(2)
        )
        rule = ModelRule(trees=trees, above=float(rng.choice([0.0, 0.1, -0.3])))
    explore = Exploration(share=0.3, chances=(0.5, 0.3, 0.2), salt="it's \\ spring")
    made = Exported(rule=rule, encoding=code, arms=ARMS, unit="客户", exploration=explore)
    return made, columns(rng, n)


def in_python(made, new):
    """The arm of each row by numpy, chance included."""
    arms = made.exploration.arms_of(new["客户"].to_pylist(), made.arms_of(new))
    return [ARMS[a] for a in arms]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["tree", "model"]))
def test_python_and_the_json_scorer_agree_on_nasty_rows(tmp_path_factory, seed, kind):
    """Gaps, infinities, numbers at the edge of float32, odd texts and odd names."""
    made, new = case(seed, kind)
    folder = tmp_path_factory.mktemp("rows")
    pq.write_table(pa.table(new), folder / "new.parquet")

    again = read_rule(json.dumps(made.to_dict()))
    score_file(sql(again), folder / "new.parquet", folder / "out.parquet", needs=again.needs)

    found = pq.read_table(folder / "out.parquet").column("arm").to_pylist()
    assert found == in_python(made, new)


def test_words_in_a_text_file_are_read_as_while_learning(tmp_path):
    """Ids keep their zeros, yes and no are numbers, blanks are missing, also from a CSV."""
    raw = {"vip": pa.array(["yes", "no", "是", "-"] * 50)}
    code = fit_encoding(raw, worded=["vip"])
    nodes = Nodes(
        feature=(0, LEAF, LEAF), threshold=(0.5, 0.0, 0.0), nan_left=(False,) * 3,
        left=(1, 1, 2), right=(2, 1, 2), value=(0.0, 0.0, 1.0),
    )  # fmt: skip
    explore = Exploration(share=0.5, chances=(0.5, 0.5), salt="s")
    made = Exported(rule=TreeRule(nodes=nodes), encoding=code, arms=("none", "c20"),
                    unit="id", exploration=explore)  # fmt: skip
    ids, vip = [f"{i:04d}" for i in range(80)], ["yes", "no", "是", "-"] * 20
    lines = ["id,vip", *(f"{i},{v}" for i, v in zip(ids, vip, strict=True))]
    (tmp_path / "new.csv").write_text("\n".join(lines), encoding="utf-8")

    score_file(sql(made), tmp_path / "new.csv", tmp_path / "out.parquet",
               needs=made.needs, texts=["id"])  # fmt: skip

    expected = explore.arms_of(ids, made.arms_of({"vip": pa.array(vip)}))
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["arm"] for row in rows] == [("none", "c20")[a] for a in expected]
    assert [row["id"] for row in rows] == ids


def test_chance_never_leaves_a_hole():
    """A share just below all is all; a share of nothing is nobody."""
    units = [str(i) for i in range(500)]
    ones = np.ones(500, dtype=np.intp)

    nearly = Exploration(share=1 - 1e-12, chances=(1.0, 0.0), salt="s").arms_of(units, ones)
    nobody = Exploration(share=0.0, chances=(1.0, 0.0), salt="s").arms_of(units, ones)

    assert not nearly.any()
    assert nobody.all()


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """A local Spark."""
    engine = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not here")
    session = (
        engine.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "Asia/Shanghai")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_spark_gives_every_row_the_same_arm(spark, tmp_path):
    """The Spark text of the same rules on the same rows."""
    for seed in range(6):
        made, new = case(seed, ("tree", "model")[seed % 2])
        file = tmp_path / f"{seed}.parquet"
        pq.write_table(pa.table({**new, "row": range(len(new["客户"]))}), file)

        rows = spark.read.parquet(str(file)).selectExpr("row", f"{sql(made, 'spark')} AS arm")

        found = [arm for _, arm in sorted((r["row"], r["arm"]) for r in rows.collect())]
        assert found == in_python(made, new), seed


def test_a_rule_for_everybody_needs_no_column():
    """Nothing is read and everyone gets the same arm."""
    code = fit_encoding({"days": np.arange(9.0)})
    made = Exported(rule=ConstantRule(arm=1), encoding=code, arms=ARMS)

    assert made.needs == ()
    assert sql(made) == "'it''s \"¥20\"'"
    assert sql(made, "spark") == "'it\\'s \"¥20\"'"
