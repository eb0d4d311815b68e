"""Streamed moments are those of the panel, by units or clusters, on DuckDB and on Spark."""

from __future__ import annotations

import math
import os
import shutil
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from upliftlab.data import panel_stream, tables
from upliftlab.data.engine import Engine, embedded
from upliftlab.data.panel import NEVER
from upliftlab.data.panel_moments import PanelMoments
from upliftlab.data.panel_orders import panel_from_orders
from upliftlab.data.panel_stream import stream_moments
from upliftlab.data.panel_table import read_panel
from upliftlab.data.values import as_seconds
from upliftlab.errors import DataError, DesignError
from upliftlab.plan.sources import Source

TOLERANCE = 1e-9
"""Relative: engines add in any order, and money may sit on a large offset."""

KEYS = {"unit": "creator", "period": "week", "components": ("gmv", "kept", "orders")}


def rows(n=600, length=5, seed=4, *, gaps=0.0):
    """Creators in 20 shops with starts by shop, money on a large offset; shuffled rows."""
    rng = np.random.default_rng(seed)
    unit, week = (each.reshape(-1) for each in np.mgrid[0:n, 0:length])
    shop = rng.integers(0, 20, n)
    start = np.array([0, 3, 4, 0])[shop % 4]
    keep = rng.permutation(n * length)[: round(n * length * (1 - gaps))]
    unit, week = unit[keep], week[keep]
    size = len(keep)
    return pa.table(
        {
            "creator": np.char.add("c", unit.astype(str)),
            "week": week + 1,
            "start": start[unit],
            "on": (start[unit] > 0) & (week + 1 >= start[unit]),
            "shop": np.char.add("店 ", shop[unit].astype(str)),
            "weight": 1.0 + shop[unit] % 3,
            "gmv": 1e9 + rng.integers(0, 100_000, size),
            "kept": rng.integers(0, 50_000, size),
            "orders": rng.poisson(2, size),
        }
    )


TABLE = rows()
GAPPY = rows(gaps=0.02)


@pytest.fixture
def engine():
    """An embedded engine, closed after use."""
    opened = embedded(threads=1)
    yield opened
    opened.close()


def streamed(engine, table=TABLE, **options):
    given = {} if "treated" in options or "waves" in options else {"start": "start"}
    return stream_moments(engine, engine.text_table(table, "rows"), **(KEYS | given | options))


def held(engine, table=TABLE, **options):
    given = {} if "treated" in options or "waves" in options else {"start": "start"}
    made = engine.text_table(table, "rows")
    return PanelMoments.of(read_panel(engine, made, **(KEYS | given | options)))


def assert_same(one, two):
    """Equal moments to a relative 1e-9 of each column's own scale."""
    assert one.names == two.names
    assert one.periods == two.periods
    assert one.start.tolist() == two.start.tolist()
    assert one.units.tolist() == two.units.tolist()
    np.testing.assert_allclose(one.weight, two.weight, rtol=TOLERANCE)
    np.testing.assert_allclose(one.mean, two.mean, rtol=TOLERANCE)
    assert (one.scatter is None) == (two.scatter is None)
    if one.scatter is not None:
        scale = np.sqrt(np.einsum("sii,sjj->sij", two.scatter, two.scatter))
        assert (np.abs(one.scatter - two.scatter) <= TOLERANCE * scale).all()
    assert (one.rows is None) == (two.rows is None)
    if one.rows is not None:
        assert one.rows.cluster.tolist() == two.rows.cluster.tolist()
        assert one.rows.cohort.tolist() == two.rows.cohort.tolist()
        np.testing.assert_allclose(one.rows.size, two.rows.size, rtol=TOLERANCE)
        np.testing.assert_allclose(one.rows.total, two.rows.total, rtol=TOLERANCE)


ROUTES = {
    "units": {},
    "units on": {"treated": "on"},
    "clusters": {"cluster": "shop"},
    "clusters on": {"cluster": "shop", "treated": "on"},
    "weights": {"weight": "weight"},
    "weighted clusters": {"cluster": "shop", "weight": "weight"},
}


@pytest.mark.parametrize("route", ROUTES)
def test_streamed_moments_are_those_of_the_panel(engine, route):
    """Nothing is lost by never holding the panel."""
    found = streamed(engine, **ROUTES[route])

    assert_same(found, held(engine, **ROUTES[route]))
    assert found.start.tolist() == [2, 3, NEVER]
    assert (found.scatter is not None) == route.startswith("units")
    assert found.notes == ()


@pytest.mark.parametrize("absent", ["zero", "complete"])
@pytest.mark.parametrize("route", ROUTES)
def test_gaps_are_zeros_or_leave_the_unit_out_and_are_counted(engine, route, absent):
    """Both routes count what the panel counts, in the same words."""
    found = streamed(engine, GAPPY, absent=absent, **ROUTES[route])
    expected = held(engine, GAPPY, absent=absent, **ROUTES[route])

    assert_same(found, expected)
    assert found.notes == expected.notes
    assert len(found.notes) >= 1


@pytest.mark.parametrize("route", ["units", "clusters"])
def test_unknown_gaps_are_refused(engine, route):
    """Moments have no place for what nobody knows."""
    with pytest.raises(DesignError) as caught:
        streamed(engine, GAPPY, **ROUTES[route])

    rows_each = GAPPY.group_by("creator").aggregate([("week", "count")])
    partial = sum(n < 5 for n in rows_each.column("week_count").to_pylist())
    assert str(caught.value) == (
        f"{partial} of 600 units have periods without rows; say absent='zero' where nothing "
        "happened in them, absent='complete' to leave these units out, or read the panel and "
        "compare pairwise."
    )


def test_waves_start_clusters(engine):
    """Starts by cluster give the moments of starts by unit."""
    shops = sorted(set(TABLE.column("shop").to_pylist()))
    starts = [{1: 3, 2: 4}.get(int(shop[2:]) % 4) for shop in shops]
    waves = pa.table({"cluster": shops, "starts_on": pa.array(starts, pa.int64())})
    found = streamed(engine, cluster="shop", waves=engine.text_table(waves, "waves"))

    assert_same(found, streamed(engine, cluster="shop"))


def test_rows_in_the_order_of_their_units_need_no_sorting(engine, monkeypatch):
    """Either order gives the same moments; only the other one is sorted."""
    ordered = TABLE.sort_by([("creator", "ascending"), ("week", "descending")])
    calls = []
    fold = Engine.fold
    monkeypatch.setattr(
        Engine, "fold", lambda self, *args: calls.append(1) or fold(self, *args)
    )
    found = streamed(engine, ordered)
    once = len(calls)

    assert_same(found, streamed(engine, TABLE))
    assert once == 1
    assert len(calls) == 3


def test_small_blocks_give_the_same_moments(engine, monkeypatch):
    """Moments of blocks add up."""
    whole = streamed(engine)
    monkeypatch.setattr("upliftlab.data.panel_blocks.blocks.__defaults__", (37,))

    assert_same(streamed(engine), whole)


def changed(column, values):
    """Replace the first values of a column."""
    old = TABLE.column(column).to_pylist()
    new = pa.array([*values, *old[len(values) :]], TABLE.schema.field(column).type)
    return TABLE.set_column(TABLE.schema.get_field_index(column), column, new)


TWICE = pa.concat_tables([TABLE, TABLE.slice(0, 3), TABLE.slice(0, 1)])
FIRST = TABLE.slice(0, 1).to_pylist()[0]
BLINKING = pa.array([week == 2 for week in TABLE.column("week").to_pylist()])
TROUBLE = {
    "duplicates": (TWICE, {}),
    "empty unit": (changed("creator", [None]), {}),
    "two starts": (changed("start", [3 if FIRST["start"] != 3 else 4]), {}),
    "infinite": (changed("gmv", [math.inf]), {}),
    "not a number": (changed("gmv", [math.nan, None]), {}),
    "two clusters": (changed("shop", ["店 99"]), {"cluster": "shop"}),
    "empty cluster": (changed("shop", [None]), {"cluster": "shop"}),
    "two weights": (changed("weight", [7.0]), {"weight": "weight"}),
    "empty weight": (changed("weight", [None]), {"weight": "weight"}),
    "negative weight": (
        TABLE.set_column(5, "weight", pa.array([-1.0] * len(TABLE))),
        {"weight": "weight"},
    ),
    "turns off": (TABLE.set_column(3, "on", BLINKING), {"treated": "on"}),
    "no marks": (TABLE, {"treated": "kept"}),
}


@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("clusters", [False, True])
def test_the_stream_refuses_what_the_panel_refuses(engine, trouble, clusters):
    """Whichever way the rows go, in nearly the same words."""
    table, options = TROUBLE[trouble]
    options = ({"cluster": "shop"} if clusters else {}) | options
    with pytest.raises(DataError) as here:
        held(engine, table, **options)
    with pytest.raises(DataError) as there:
        streamed(engine, table, **options)

    # Several faulty units: each route names one of them.
    assert str(there.value).split(", such as")[0] == str(here.value).split(", such as")[0]


def test_clusters_that_are_units_in_all_but_name_are_refused(engine, monkeypatch):
    """Sums of millions of clusters would not be small."""
    monkeypatch.setattr(panel_stream, "MOST_SUMS", 1_000)
    with pytest.raises(DataError) as caught:
        streamed(engine, cluster="creator")

    assert str(caught.value) == (
        "600 clusters of 'creator' in 5 periods and 3 components make over 1,000 sums; where "
        "each unit is its own cluster, name no cluster and no weight."
    )


def test_the_engine_keeps_its_settings(engine):
    """The limit on memory holds while streaming only."""

    def limit():
        query = "SELECT current_setting('memory_limit')"
        return engine.backend.raw_sql(query).fetchone()

    before = limit()
    streamed(engine)

    assert limit() == before


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
@pytest.mark.parametrize("route", ["units", "clusters on", "weighted clusters"])
def test_spark_gives_the_moments_of_duckdb(engine, on_spark, route):
    """A fold on its workers, and SQL on Spark, agree to 1e-9, gaps counted alike."""
    there = streamed(on_spark, GAPPY, absent="zero", **ROUTES[route])
    here = streamed(engine, GAPPY, absent="zero", **ROUTES[route])

    assert_same(there, here)
    assert there.notes == here.notes


@pytest.mark.spark
@pandas_3
@deprecated
@unclosed
def test_spark_gives_the_panel_of_duckdb_and_refuses_alike(engine, on_spark):
    """The same array, to the bit; the same sentence about repeated rows."""
    options = KEYS | {"start": "start", "cluster": "shop", "absent": "zero"}
    there = read_panel(on_spark, on_spark.text_table(GAPPY, "rows"), **options)
    here = read_panel(engine, engine.text_table(GAPPY, "rows"), **options)

    np.testing.assert_array_equal(there.y, here.y)
    assert there.units.tolist() == here.units.tolist()
    assert there.start.tolist() == here.start.tolist()
    assert there.cluster.tolist() == here.cluster.tolist()
    assert there.notes == here.notes
    with pytest.raises(DataError, match="4 rows repeat a 'creator' and 'week'"):
        streamed(on_spark, TWICE)


@pytest.mark.spark
@pandas_3
@deprecated
@unclosed
def test_spark_tells_points_in_time_from_clocks(engine, on_spark):
    """Half past midnight in Shanghai is that day there, on both engines, however it is kept."""
    night = datetime(2026, 1, 5, 0, 30, tzinfo=ZoneInfo("Asia/Shanghai"))
    rows = pa.table(
        {
            "point": pa.array([night], pa.timestamp("us", "UTC")),
            "clock": pa.array([night.replace(tzinfo=None)], pa.timestamp("us")),
        }
    )
    how = tables.Reading(offset=28_800, minor=100)
    on_spark.backend._session.sql(
        "SELECT TIMESTAMP '2026-01-04 16:30:00' AS point, "
        "TIMESTAMP_NTZ '2026-01-05 00:30:00' AS clock"
    ).createOrReplaceTempView("kept_in_spark")
    source = Source(table="kept_in_spark")

    for where, given in ((engine, rows), (on_spark, rows), (on_spark, None)):
        table = tables.raw(where, "rows", source, given, how)
        read = table.select(
            **{name: as_seconds(table[name], offset=28_800) for name in ("point", "clock")}
        )
        found = where.one(read)
        assert found == {"point": night.timestamp(), "clock": night.timestamp()}


@pytest.mark.spark
@pandas_3
@deprecated
@unclosed
def test_spark_adds_orders_up_as_duckdb_does(engine, on_spark):
    """Order lines, refunds, spend and a roster give the same rows, fen by fen."""
    times = pa.array([f"2026-01-{day:02}T20:00:00Z" for day in (5, 11, 18, 20)])
    given = {
        "order_lines": pa.table(
            {
                "line_id": ["L0", "L1", "L2", "L3"],
                "order_id": ["O0", "O0", "O1", "O2"],
                "creator_id": ["a", "b", "a", None],
                "pay_ts": times,
                "channel": ["creator_organic", "creator_ads", "creator_organic", "search"],
                "settlement_base_fen": [10_000, 333, 5_000, 77],
                "cash_fen": [10_000, 333, 5_000, 77],
                "commission_rate_bp": [2_000, 1_500, 2_000, None],
            }
        ),
        "refunds": pa.table(
            {
                "refund_id": ["R0"],
                "order_id": ["O0"],
                "line_id": ["L0"],
                "type": ["partial"],
                "refunded_ts": times.slice(3),
                "amount_fen": [3_333],
            }
        ),
        "ad_spend": pa.table(
            {"creator_id": ["b"], "date": times.slice(0, 1), "spend_fen": [5]}
        ),
        "roster": pa.table({"creator_id": ["a", "b", "c"], "cluster_id": ["x", "x", "y"]}),
    }

    def rows_of(opened):
        found = panel_from_orders(opened, given)
        keys = ("unit", "part", "period")
        tables = (opened.rows(found.table), opened.rows(found.shop))
        ordered = [sorted(t, key=lambda r: [str(r.get(k)) for k in keys]) for t in tables]
        return ordered, found.components, found.set_aside, found.notes

    there, here = rows_of(on_spark), rows_of(engine)
    for one, two in zip((*there[0][0], *there[0][1]), (*here[0][0], *here[0][1]), strict=True):
        assert one == two
    assert there[1:] == here[1:]
