"""An assignment table is written once, streams, and is the same on every engine."""

from __future__ import annotations

import shutil

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from upliftlab.assignment.recipe import recipe_of
from upliftlab.assignment.statement import Request, assignment_sql
from upliftlab.data.assign_plan import assign, statement
from upliftlab.data.assign_table import assign_file
from upliftlab.errors import DataError, UpliftlabError
from upliftlab.experiment import Experiment
from upliftlab.lock import lock_of

ARMS = {
    "none": {"share": "1/3", "control": True},
    "it's 5": {"share": "1/3"},
    "二十": {"share": "1/3"},
}
IDS = [f"\t{7_106_001_122_334_400_000 + i}" for i in range(1_500)] + ["李雷", "😀", "  ", None]


def plan(**changes):
    """A plan with everything that an assignment can have."""
    values = {
        "name": "spring",
        "kind": "custom",
        "arms": ARMS,
        "run": {"start": "2026-10-08", "end": "2026-10-21"},
        "strata": ["city"],
        "assign": {
            "layer": {"name": "coupons", "start": "10%", "share": "80%"},
            "holdout": {"share": "5%"},
            "epochs": {"2026-10-08": "20%", "2026-10-11": "100%"},
        },
    }
    return Experiment(**(values | changes))


@pytest.fixture
def people(tmp_path):
    """A small table of customers, untidy as exports are."""
    n = len(IDS)
    days = [f"2026-10-{8 + i % 7:02d} 0{i % 9}:30:00" for i in range(n)]
    city = [["北京", "sh", None][i % 3] for i in range(n)]
    table = pa.table({"open_id": IDS, "assigned_at": days, "city": city})
    place = tmp_path / "people.parquet"
    pq.write_table(table, place)
    return place


def in_python(recipe):
    """The same assignment without any engine."""
    found = {}
    for i, unit in enumerate(IDS):
        text = (unit or "").strip()
        if text and not recipe.outside(text):
            epoch = 1 if 8 + i % 7 < 11 else 2
            found[text] = (recipe.arm_of(text, epoch=epoch), epoch)
    return found


def test_the_table_says_what_python_says(people, tmp_path):
    """Arm, propensity, stratum, epoch, salt and plan of every unit."""
    experiment = plan()
    recipe = recipe_of(experiment)
    written, place = assign(experiment, ids=people, out=tmp_path / "out.parquet")
    rows = pq.read_table(place).to_pylist()

    assert {row["unit"]: (row["arm"], row["epoch"]) for row in rows} == in_python(recipe)
    for row in rows:
        share = recipe.epochs[row["epoch"] - 1].share(row["arm"], "none")
        assert row["propensity"] == float(share)
        assert (row["salt"], row["plan"]) == ("spring", experiment.fingerprint)
        assert row["stratum"] == row["city"]
    assert {row["city"] for row in rows} == {"北京", "sh", "(missing)"}
    assert written.rows == len(rows) == sum(written.arms.values())
    assert written.set_aside["without an id"] == 2
    assert written.rows + sum(written.set_aside.values()) == len(IDS)


@pytest.fixture(scope="module")
def spark():
    """A local Spark."""
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not here")
    session = (
        sql.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.mark.spark
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support:FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_three_engines_give_the_same_arms(people, spark):
    """Python, DuckDB and Spark, bit for bit, from the SQL to paste."""
    experiment = plan()
    recipe = recipe_of(experiment)
    found = {}
    for dialect in ("duckdb", "spark"):
        text = statement(
            experiment, dialect=dialect, table="people", unit="open_id", clock="assigned_at"
        )
        if dialect == "duckdb":
            with duckdb.connect() as engine:
                engine.read_parquet(str(people)).create_view("people")
                found[dialect] = engine.execute(text).to_arrow_table().to_pylist()
        else:
            spark.read.parquet(str(people)).createOrReplaceTempView("people")
            found[dialect] = spark.sql(text).toArrow().to_pylist()

    def key(row):
        return row["unit"]

    one, two = (sorted(found[name], key=key) for name in ("duckdb", "spark"))
    assert one == two
    assert {row["unit"]: (row["arm"], row["epoch"]) for row in one} == in_python(recipe)


def test_csv_in_and_out(people, tmp_path):
    """Long numbers stay texts, whichever way they travel."""
    source = tmp_path / "people.csv"
    duckdb.sql(f"COPY (FROM read_parquet('{people}')) TO '{source}' (HEADER)")
    assign(plan(), ids=people, out=tmp_path / "a.parquet")
    assign(plan(), ids=source, out=tmp_path / "b.csv")
    one = duckdb.read_parquet(str(tmp_path / "a.parquet")).to_arrow_table().to_pylist()
    two = (
        duckdb.read_csv(str(tmp_path / "b.csv"), all_varchar=True).to_arrow_table().to_pylist()
    )

    pairs = [sorted((row["unit"], row["arm"]) for row in rows) for rows in (one, two)]
    assert pairs[0] == pairs[1]


def test_clusters_go_whole(tmp_path):
    """Members of a household share an arm; one without a household has none."""
    experiment = plan(
        design="cluster_split", cluster="household", strata=[], assign={"salt": "h"}
    )
    homes = [f"h{i // 3}" if i % 50 else None for i in range(900)]
    pq.write_table(
        pa.table({"user_id": list(range(900)), "household": homes}), tmp_path / "p.parquet"
    )
    written, place = assign(experiment, ids=tmp_path / "p.parquet", out=tmp_path / "o.parquet")
    rows = pq.read_table(place).to_pylist()

    arms = {}
    for row in rows:
        arms.setdefault(row["household"], set()).add(row["arm"])
    assert all(len(each) == 1 for each in arms.values())
    assert arms["h1"] == {recipe_of(experiment).arm_of("h1")}
    assert written.set_aside == {"without a cluster or a time": 18}


def test_nothing_is_overwritten(people, tmp_path):
    """A table that is there stays."""
    place = tmp_path / "out.parquet"
    assign(plan(), ids=people, out=place)
    before = place.read_bytes()
    with pytest.raises(UpliftlabError) as found:
        assign(plan(), ids=people, out=place)

    assert str(found.value) == (
        f"{place} is there already and stays as it is; name another file with --out."
    )
    assert place.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"id": ["a"]},
            "assign, reading p.parquet, needs column 'unit'; the table has ['id'].",
        ),
        (
            {"unit": ["a"]},
            "assign, reading p.parquet, needs column 'city'; the table has ['unit'].",
        ),
        (
            {"unit": [1.5], "city": ["a"]},
            (
                "column 'unit' of table 'p.parquet' holds ids as decimal numbers, such as "
                "'double'; long ids are already rounded and two customers may share one. "
                "Export ids as text."
            ),
        ),
        ({"unit": [" "], "city": ["a"]}, "table 'p.parquet' has no rows."),
    ],
)
def test_a_table_that_cannot_be_assigned_is_one_sentence(columns, said, tmp_path):
    """The whole text; and no file is left."""
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    with pytest.raises(DataError) as found:
        assign(plan(), ids=tmp_path / "p.parquet", out=tmp_path / "o.parquet")

    assert str(found.value) == said
    assert not (tmp_path / "o.parquet").exists()


def test_a_plan_changed_after_its_lock_assigns_nothing(people, tmp_path):
    """Units would change arms."""
    lock = lock_of(plan())
    changed = plan(assign={"salt": "other"})
    with pytest.raises(UpliftlabError) as found:
        assign(changed, ids=people, out=tmp_path / "o.parquet", lock=lock)

    assert str(found.value).startswith("experiment 'spring' was locked on ")
    assert "assign.salt" in str(found.value)
    assert not (tmp_path / "o.parquet").exists()


def test_a_locked_plan_writes_the_fingerprint_of_its_lock(people, tmp_path):
    """Data that came later change the plan's fingerprint, not the promise."""
    lock = lock_of(plan())
    later = plan(data={"units": {"file": "u.csv", "money": "yuan"}}, costs={"margin": "35%"})
    _, place = assign(later, ids=people, out=tmp_path / "o.parquet", lock=lock)

    assert pq.read_table(place)["plan"][0].as_py() == lock.plan != later.fingerprint


def test_a_rule_decides_for_all_but_the_explored(people, tmp_path):
    """Propensities are those of arms under rule and chance together."""
    experiment = plan(strata=[], assign={"rule": "rule.json", "explore": "30%"})
    request = Request(table="", unit="open_id", at="2026-10-08", rule="'none'")
    assign_file(recipe_of(experiment), request, people, tmp_path / "o.parquet")
    rows = pq.read_table(tmp_path / "o.parquet").to_pylist()

    assert all(row["arm"] == "none" for row in rows if not row["explored"])
    seen = {(row["arm"], round(row["propensity"], 12)) for row in rows}
    assert seen == {("none", 0.8), ("it's 5", 0.1), ("二十", 0.1)}
    share = sum(row["explored"] for row in rows) / len(rows)
    assert 0.25 < share < 0.35


def test_the_text_to_paste_is_one_statement():
    """No part of it is left open."""
    text = assignment_sql(recipe_of(plan()), Request(table='"people"', at="2026-10-08"))

    assert text.startswith("SELECT")
    assert text.count("(") == text.count(")")
    assert "'it''s 5'" in text
