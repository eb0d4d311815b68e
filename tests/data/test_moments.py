"""Rows become the same cells by SQL, by batches, on DuckDB and on Spark."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from upliftlab.data.engine import Engine, embedded
from upliftlab.data.moments import FEW_COLUMNS, cells, cluster_cells
from upliftlab.stats import clusters, moments

TOLERANCE = 1e-9
"""Relative: engines add in any order, and money may sit on a large offset."""

COLUMNS = ["sales", "orders", "before"]


def units(n=4_000, seed=2):
    """Units with an arm, a day, a shop, money on a large offset, counts and a covariate."""
    rng = np.random.default_rng(seed)
    shops = rng.integers(0, 40, n)
    return pa.table(
        {
            "arm": np.where(shops % 2 == 0, "old", "new"),
            "day": rng.choice(["1", "2", "3"], n),
            "shop": np.char.add("shop ", shops.astype(str)),
            "sales": 1e9 + rng.integers(0, 10_000, n),
            "orders": rng.poisson(2, n),
            "before": rng.exponential(3, n),
        }
    )


TABLE = units()


@pytest.fixture
def engine():
    """An embedded engine, closed after use."""
    opened = embedded(threads=1)
    yield opened
    opened.close()


def assert_same(one, two):
    """Equal cells to a relative 1e-9 of each column's own scale."""
    assert one.labels == two.labels
    assert one.names == two.names
    assert one.n.tolist() == two.n.tolist()
    np.testing.assert_allclose(one.mean, two.mean, rtol=TOLERANCE)
    for a, b in zip(one.m2, two.m2, strict=True):
        scale = np.sqrt(np.outer(np.diag(b), np.diag(b)))
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * scale.max())
        assert (np.abs(a - b) <= 10 * TOLERANCE * scale + 1e-300).all()


def by_hand(keys):
    """Label -> rows, from numpy alone."""
    labels = list(zip(*(TABLE.column(key).to_pylist() for key in keys), strict=True))
    block = np.column_stack([TABLE.column(name).to_numpy() for name in COLUMNS])
    return {
        label: block[[each == label for each in labels]].astype(float)
        for label in sorted(set(labels))
    }


@pytest.mark.parametrize("few", [0, FEW_COLUMNS])
def test_cells_are_the_moments_of_their_rows(engine, few):
    """Both routes give counts, means and centred products of numpy."""
    table = engine.text_table(TABLE, "units")
    found = cells(engine, table, keys=["arm", "day"], columns=COLUMNS, few=few)
    expected = {label: moments.of_rows(rows) for label, rows in by_hand(["arm", "day"]).items()}

    assert found.labels == tuple(expected)
    assert found.n.tolist() == [part[0] for part in expected.values()]
    for i, (_, mean, m2) in enumerate(expected.values()):
        np.testing.assert_allclose(found.mean[i], mean, rtol=TOLERANCE)
        # The product of money and counts is small beside their spreads: scale by those.
        scale = np.sqrt(np.outer(np.diag(m2), np.diag(m2)))
        assert (np.abs(found.m2[i] - m2) <= TOLERANCE * scale).all()


def test_both_routes_give_the_same_numbers(engine):
    """SQL sums and folded batches agree, whatever the number of columns."""
    table = engine.text_table(TABLE, "units")
    by_sql = cells(engine, table, keys=["arm", "day"], columns=COLUMNS, few=99)
    by_fold = cells(engine, table, keys=["arm", "day"], columns=COLUMNS, few=0)

    assert_same(by_fold, by_sql)


@pytest.mark.parametrize("few", [0, 99])
def test_finer_cells_add_up_to_coarser_ones(engine, few):
    """Cells by day, added up, are cells without days."""
    table = engine.text_table(TABLE, "units")
    fine = cells(engine, table, keys=["arm", "day"], columns=COLUMNS, few=few)
    coarse = cells(engine, table, keys=["arm"], columns=COLUMNS, few=few)

    assert_same(fine.collapse(["arm"]), coarse)


def test_without_columns_cells_are_counts(engine):
    """Sample-ratio checks need counts only."""
    table = engine.text_table(TABLE, "units")
    found = cells(engine, table, keys=["arm", "day"], columns=[])

    assert found.labels == tuple(by_hand(["arm", "day"]))
    assert found.n.sum() == len(TABLE)


def test_a_frame_that_no_engine_has_seen_can_be_fetched(engine):
    """A table from Python is handed to the connection before its first query."""
    table = engine.text_table(TABLE, "units")

    assert engine.one(table.aggregate(rows=table.count()))["rows"] == len(TABLE)
    assert sum(batch.num_rows for batch in engine.batches(table, 500)) == len(TABLE)


def test_cluster_cells_are_cr2_of_every_arm(engine):
    """Means, CR2 covariance and degrees of freedom are those of arrays in memory."""
    table = engine.text_table(TABLE, "units")
    found = cluster_cells(engine, table, keys=["arm"], cluster="shop", columns=COLUMNS)
    rows = by_hand(["arm", "shop"])

    for i, (arm,) in enumerate(found.labels):
        mine = [block for label, block in rows.items() if label[0] == arm]
        shift = np.array([1e9, 0, 0])
        expected = clusters.arm_mean(
            [len(block) for block in mine],
            np.stack([(block - shift).sum(axis=0) for block in mine]),
        )
        assert found.clusters[i] == expected.clusters == 20
        assert found.df[i] == pytest.approx(expected.df, rel=TOLERANCE)
        np.testing.assert_allclose(found.mean[i] - shift, expected.mean, rtol=1e-9, atol=1e-6)
        scale = np.sqrt(np.outer(np.diag(expected.cov), np.diag(expected.cov)))
        assert (np.abs(found.cov[i] - expected.cov) <= TOLERANCE * scale).all()


def test_large_offsets_do_not_blur_clusters(engine):
    """Clusters of money near 1e9 have the covariance of the money less 1e9."""
    plain = TABLE.set_column(
        TABLE.column_names.index("sales"), "sales", pa.array(TABLE["sales"].to_numpy() - 1e9)
    )
    options = {"keys": ["arm"], "cluster": "shop", "columns": ["sales"]}
    far = cluster_cells(engine, engine.text_table(TABLE, "far"), **options)
    near = cluster_cells(engine, engine.text_table(plain, "near"), **options)

    np.testing.assert_allclose(far.cov, near.cov, rtol=TOLERANCE)


def test_one_cluster_has_no_covariance(engine):
    """An arm assigned as one cluster says nothing about chance."""
    table = pa.table(
        {"arm": ["a", "a", "b", "b"], "shop": ["1", "1", "2", "3"], "y": [1, 2, 3, 5]}
    )
    found = cluster_cells(
        engine, engine.text_table(table, "one"), keys=["arm"], cluster="shop", columns=["y"]
    )

    assert np.isnan(found.cov[0]).all()
    assert np.isfinite(found.cov[1]).all()


def test_closing_an_engine_drops_what_it_kept():
    """Temporary tables do not outlive their use."""
    opened = embedded(threads=1)
    table = opened.text_table(TABLE, "units")
    cluster_cells(opened, table, keys=["arm"], cluster="shop", columns=["orders"])
    opened.close()

    names = [row[0] for row in opened.backend.raw_sql("SHOW TABLES").fetchall()]
    assert not [name for name in names if name.startswith("upliftlab")]


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """A local Spark whose workers have numpy and Arrow, and not this package."""
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not here")
    packages = Path(np.__file__).parents[1]
    folder = tmp_path_factory.mktemp("spark")
    worker = folder / "python"
    worker.write_text(
        f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{packages}" exec {sys.executable} -S "$@"\n'
    )
    worker.chmod(0o755)
    kept = os.environ.get("PYSPARK_PYTHON")
    os.environ["PYSPARK_PYTHON"] = str(worker)
    session = (
        sql.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.warehouse.dir", str(folder / "warehouse"))
        .getOrCreate()
    )
    yield session
    session.stop()
    os.environ.pop("PYSPARK_PYTHON")
    if kept is not None:
        os.environ["PYSPARK_PYTHON"] = kept


@pytest.fixture
def on_spark(spark):
    """The Spark engine through ibis, with its views dropped after use."""
    import ibis

    opened = Engine(backend=ibis.pyspark.connect(spark), name="pyspark")
    yield opened
    opened.close()


pandas_3 = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support:FutureWarning")
deprecated = pytest.mark.filterwarnings("ignore::DeprecationWarning")
unclosed = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.mark.spark
@pandas_3
@deprecated
@unclosed
@pytest.mark.parametrize("few", [0, 99])
def test_spark_gives_the_cells_of_duckdb(engine, on_spark, few):
    """SQL on Spark, and a fold on its workers, agree with DuckDB to 1e-9."""
    options = {"keys": ["arm", "day"], "columns": COLUMNS}
    here = cells(engine, engine.text_table(TABLE, "units"), few=99, **options)
    there = cells(on_spark, on_spark.text_table(TABLE, "units"), few=few, **options)

    assert_same(there, here)


@pytest.mark.spark
@pandas_3
@deprecated
@unclosed
def test_spark_gives_the_clusters_of_duckdb(engine, on_spark):
    """CR2 on Spark is CR2 on DuckDB."""
    options = {"keys": ["arm"], "cluster": "shop", "columns": COLUMNS}
    here = cluster_cells(engine, engine.text_table(TABLE, "units"), **options)
    there = cluster_cells(on_spark, on_spark.text_table(TABLE, "units"), **options)

    assert there.labels == here.labels
    np.testing.assert_allclose(there.mean, here.mean, rtol=TOLERANCE)
    for a, b in zip(there.cov, here.cov, strict=True):
        scale = np.sqrt(np.outer(np.diag(b), np.diag(b)))
        assert (np.abs(a - b) <= TOLERANCE * scale).all()
    np.testing.assert_allclose(there.df, here.df, rtol=TOLERANCE)


@pytest.mark.spark
@pandas_3
@deprecated
@unclosed
def test_a_table_on_spark_is_compared_where_it_lives(on_spark):
    """The notebook function takes a Spark table and gives what pandas gives."""
    from upliftlab.estimators.compare import compare

    options = {"arm": "arm", "control": "old", "cluster": "shop", "covariates": ["before"]}
    there = compare(on_spark.text_table(TABLE, "units"), "orders", **options).row().effect
    here = compare(TABLE, "orders", **options).row().effect

    assert there.estimate == pytest.approx(here.estimate, rel=TOLERANCE)
    assert there.std_error == pytest.approx(here.std_error, rel=TOLERANCE)
