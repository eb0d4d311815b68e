"""Every way in which a shop hands its tables over gives the same numbers."""

from __future__ import annotations

import gzip
from datetime import timedelta

import duckdb
import ibis
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from upliftlab.data.prepare import prepare
from upliftlab.errors import DataError
from upliftlab.experiment import Experiment

PLAN = """
name: small
kind: smart_coupon
run: {start: 2026-06-01, end: 2026-06-14}
follow_up: 14 days
arms:
  none: {share: 50%, control: true}
  coupon: {share: 50%, coupon: 20}
costs: {margin: 35%}
covariates: none
data:
"""

CHINESE = {
    "unit": "买家ID",
    "order_id": "订单编号",
    "line_id": "子订单编号",
    "paid_at": "支付时间",
    "list": "吊牌价",
    "markdown": "商家优惠",
    "merchant_coupon": "店铺券",
    "platform_coupon": "平台券",
    "cash": "实付",
    "channel": "渠道",
}
MAPPING = "{" + ", ".join(f"{ours}: {theirs}" for ours, theirs in CHINESE.items()) + "}"
IDS = ("6917529027641081857", "6917529027641081858")
"""Two customers who are one once their ids are floats."""


@pytest.fixture
def here(tmp_path, shop):
    """The folder of a plan, its assignments, and a function that reads what lies in it."""
    frame = shop.assignments()
    frame.loc[:1, "unit"] = IDS
    frame.to_parquet(tmp_path / "assignments.parquet")

    def read(order_lines: str, more: str = "", assignments: str = "") -> object:
        given = assignments or "{file: assignments.parquet}"
        text = f"{PLAN}  assignments: {given}\n  order_lines: {order_lines}\n{more}"
        return prepare(Experiment.from_text(text, base=tmp_path))

    read.folder = tmp_path
    return read


def exported() -> pd.DataFrame:
    """Two orders as a shop's export writes them: all text, tabs before ids, yuan."""
    return pd.DataFrame(
        {
            "买家ID": [f"\t{each}" for each in IDS],
            "订单编号": ["\t4917529027641081857", "\t4917529027641081858"],
            "子订单编号": ["\t1", "\t2"],
            "支付时间": ["2026/6/2 8:05", "2026-06-03 20:00:00"],
            "吊牌价": ["1,300.00", "130.00"],
            "商家优惠": ["0", "15"],
            "店铺券": ["10.00", "10"],
            "平台券": ["5.00", "5"],
            "实付": ["1285", "100.00"],
            "渠道": ["-", "shelf_organic"],
        }
    )


def spends(prepared) -> dict[str, int]:
    """Cash of every unit within the window, in fen."""
    rows = prepared.engine.rows(prepared.active)
    return {row["unit"]: row["cash@14d"] for row in rows}


EXPECTED = dict(zip(IDS, (128_500, 10_000), strict=True))


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8", ""), ("utf-8-sig", ""), ("gb18030", ", encoding: gb18030")],
)
def test_csv_with_chinese_headers_in_any_encoding(here, encoding, said):
    """Chinese headers, a byte-order mark, gb18030; tabs before 19-digit ids; - is a blank."""
    exported().to_csv(here.folder / "o.csv", index=False, encoding=encoding)
    found = here(f"{{file: o.csv, money: yuan, columns: {MAPPING}{said}}}")

    assert spends(found) == EXPECTED


def test_compressed_csv(here):
    """A .csv.gz is read as the CSV inside."""
    with gzip.open(here.folder / "o.csv.gz", "wt", encoding="utf-8") as file:
        file.write(exported().to_csv(index=False))

    found = here(f"{{file: o.csv.gz, money: yuan, columns: {MAPPING}}}")

    assert spends(found) == EXPECTED


def test_workbook_with_text_ids(here):
    """Spreadsheets keep 19 digits as long as the ids are text."""
    with pd.ExcelWriter(here.folder / "o.xlsx") as book:
        pd.DataFrame({"x": [1]}).to_excel(book, sheet_name="封面", index=False)
        exported().to_excel(book, sheet_name="订单", index=False)

    found = here(f"{{file: o.xlsx, sheet: 订单, money: yuan, columns: {MAPPING}}}")

    assert spends(found) == EXPECTED


def test_workbook_with_numeric_ids_is_refused(here):
    """Numbers of 19 digits have lost digits in the workbook: two customers are one."""
    frame = exported()
    frame["买家ID"] = [int(each) for each in IDS]
    frame["买家ID"] = frame["买家ID"].astype(float)
    frame.to_excel(here.folder / "o.xlsx", index=False)

    with pytest.raises(DataError) as error:
        here(f"{{file: o.xlsx, money: yuan, columns: {MAPPING}}}")

    assert str(error.value) == (
        "column '买家ID' of table 'o.xlsx' holds ids as decimal numbers, such as "
        "6917529027641081856; long ids are already rounded and two customers may share one. "
        "Export ids as text."
    )


def test_a_sheet_that_is_not_there(here):
    """The error names the sheets that are."""
    exported().to_excel(here.folder / "o.xlsx", index=False, sheet_name="orders")

    with pytest.raises(DataError, match=r"has no sheet 'order'; it has \['orders'\]"):
        here("{file: o.xlsx, sheet: order, money: yuan}")


def test_the_wrong_encoding_is_named(here):
    """gb18030 bytes read as UTF-8 are an error with the fix, never mojibake."""
    exported().to_csv(here.folder / "o.csv", index=False, encoding="gb18030")

    with pytest.raises(DataError) as error:
        here(f"{{file: o.csv, money: yuan, columns: {MAPPING}}}")

    assert str(error.value) == (
        "file 'o.csv' is not utf-8; name its encoding, such as encoding: gb18030."
    )


def test_several_files_of_a_pattern_are_one_table(here, shop):
    """Monthly files lie below each other; overlapping lines count once."""
    lines = shop.lines({"unit": IDS[0]}, {"unit": IDS[1]})
    lines.to_parquet(here.folder / "o_1.parquet")
    lines.iloc[1:].to_parquet(here.folder / "o_2.parquet")
    found = here('{file: "o_*.parquet"}')

    assert spends(found) == {IDS[0]: 10_000, IDS[1]: 10_000}
    assert {each.rule: each.rows for each in found.facts.set_aside} == {
        "line_id seen before; the first row counts": 1
    }


def test_files_of_several_formats_are_refused(here, shop):
    """A pattern that finds Parquet and CSV is a slip."""
    shop.lines().to_parquet(here.folder / "o_1.parquet")
    shop.lines().to_csv(here.folder / "o_2.csv")

    with pytest.raises(DataError) as error:
        here('{file: "o_*"}')

    assert str(error.value) == (
        "table 'order_lines' finds files of several formats, ['.csv', '.parquet']; name one, "
        "such as orders_*.parquet."
    )


@pytest.fixture
def warehouse(here, shop, monkeypatch):
    """A team's engine in a file whose name is a secret, told by the environment."""
    path = here.folder / "secret-password.duckdb"
    with duckdb.connect(str(path)) as connection:
        for name, frame in shop.tables().items():
            connection.register("frame", frame)
            connection.execute(f"CREATE TABLE shop_{name} AS FROM frame")
            connection.unregister("frame")
    monkeypatch.setenv("SHOP_URL", f"duckdb://{path}")
    return path


def test_tables_and_queries_of_an_engine(here, warehouse):
    """One source is a table, the other a query; both live in the engine of the environment."""
    (here.folder / "lines.sql").write_text("SELECT * FROM shop_order_lines;\n")
    found = here(
        "{sql: lines.sql, engine: $SHOP_URL}",
        assignments="{table: shop_assignments, engine: $SHOP_URL}",
    )

    assert spends(found) == {"u0": 10_000}
    assert warehouse.exists()


@pytest.mark.usefixtures("warehouse")
def test_a_query_that_fails_says_what_the_engine_said(here):
    """The first line of the engine's message, without a traceback."""
    (here.folder / "lines.sql").write_text("SELECT * FROM nowhere")

    with pytest.raises(DataError, match=r"^table 'order_lines' could not be read") as error:
        here(
            "{sql: lines.sql, engine: $SHOP_URL}",
            assignments="{table: shop_assignments, engine: $SHOP_URL}",
        )

    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["postgres://me:hunter2@nowhere.invalid/shop", "nonsense://me:hunter2@x"]
)
def test_a_connection_never_reaches_a_message(here, monkeypatch, url):
    """A wrong connection is named by its variable; the password stays where it was."""
    monkeypatch.setenv("SHOP_URL", url)

    with pytest.raises(DataError) as error:
        here("{table: lines, engine: $SHOP_URL}", assignments="{table: a, engine: $SHOP_URL}")

    assert "the engine $SHOP_URL could not be opened" in str(error.value)
    assert "hunter2" not in str(error.value)
    assert error.value.__cause__ is None


def test_an_engine_that_nobody_set(here, monkeypatch):
    """The error says which variable to set."""
    monkeypatch.delenv("SHOP_URL", raising=False)

    with pytest.raises(DataError) as error:
        here("{table: lines, engine: $SHOP_URL}")

    assert str(error.value) == (
        "the plan reads from the engine $SHOP_URL and the environment has no SHOP_URL; set it "
        "to a connection such as duckdb://shop.db."
    )


def test_a_mapping_that_nothing_reads_is_refused(here, shop):
    """A slip in the name of one of our columns must not leave the column out."""
    shop.lines().to_parquet(here.folder / "o.parquet")

    with pytest.raises(DataError, match=r"data.order_lines.columns maps 'cahs', which nothing"):
        here("{file: o.parquet, columns: {cahs: cash_fen}}")


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "ibis"])
def test_tables_from_python(shop, kind):
    """pandas, polars, Arrow and ibis tables give the same numbers."""
    make = {
        "pandas": lambda frame: frame,
        "polars": pl.from_pandas,
        "arrow": pa.Table.from_pandas,
        "ibis": lambda frame: backend.create_table(
            f"t{id(frame)}", pa.Table.from_pandas(frame), temp=True
        ),
    }[kind]
    backend = ibis.duckdb.connect()
    tables = {name: make(frame) for name, frame in shop.tables().items()}
    found = prepare(shop.plan(), tables)

    assert found.facts.totals["kept_sales@14d"] == 10_500


def test_frames_are_not_changed(shop):
    """What the caller gave is as it was."""
    tables = shop.tables(refunds=shop.refunds({}))
    before = {name: frame.copy() for name, frame in tables.items()}
    prepare(shop.plan(), tables)

    for name, frame in before.items():
        pd.testing.assert_frame_equal(tables[name], frame)


def test_something_that_is_no_table(shop):
    """A list of rows is refused by name."""
    with pytest.raises(DataError) as error:
        shop.prepared(order_lines=[1, 2])

    assert str(error.value) == (
        "table 'order_lines' is a list; give a pandas, polars, Arrow or ibis table."
    )


EDGE = pd.Timestamp("2026-06-01 05:00")
"""Five in the morning in Shanghai is 31 May in London."""


@pytest.mark.parametrize(
    "assigned",
    [
        EDGE,
        EDGE.tz_localize("Asia/Shanghai"),
        EDGE.tz_localize("Asia/Shanghai").tz_convert("UTC"),
        "2026-06-01 05:00",
        "2026-06-01T05:00:00+08:00",
        "2026-06-01 05:00:00+08",
        "2026-05-31T21:00:00Z",
        "2026/6/1 5:00",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York"])
def test_every_way_to_write_one_moment(shop, assigned, zone):
    """Shop time, zoned, text: the same second, in whatever zone the engine's session is."""
    backend = ibis.duckdb.connect()
    backend.raw_sql(f"SET TimeZone = '{zone}'")
    frame = shop.assignments().assign(assigned_at=assigned)
    table = backend.create_table("a", pa.Table.from_pandas(frame), temp=True)
    tables = shop.tables(assignments=table)
    found = prepare(shop.plan(), tables)
    second = {row["assigned_at"] for row in found.engine.rows(found.assigned)}

    assert second == {int(pd.Timestamp("2026-05-31T21:00Z").timestamp())}
    assert not [each for each in found.facts.set_aside if each.source == "assignments"]
    assert backend.raw_sql("SELECT current_setting('TimeZone')").fetchone() == (zone,)


def test_days_begin_at_the_shops_midnight(shop):
    """Assigned a minute before the run starts in Shanghai is outside it."""
    frame = shop.assignments()
    frame.loc[0, "assigned_at"] = pd.Timestamp("2026-05-31 23:59")
    frame.loc[1, "assigned_at"] = pd.Timestamp("2026-06-14 23:59:59")

    assert shop.aside(assignments=frame)["assignments: assigned outside the run dates"] == 1


def test_buyer_and_time_from_the_table_of_orders(shop):
    """Lines without buyer and time take both from the header, once per order."""
    lines = shop.lines({}, {"unit": "u1", "order_id": "O1"})
    header = lines[["order_id", "unit", "paid_at"]]
    header = pd.concat([header, header.iloc[:1]])
    found = shop.prepared(order_lines=lines.drop(columns=["unit", "paid_at"]), orders=header)

    assert spends(found) == {"u0": 10_000, "u1": 10_000}


def test_lines_without_buyer_need_the_table_of_orders(shop):
    """The error names the column that is missing."""
    lines = shop.lines().drop(columns="unit")

    with pytest.raises(
        DataError, match=r"^source 'order_lines' needs column 'unit'; the table"
    ):
        shop.prepared(order_lines=lines)


def test_lines_outside_the_windows_are_counted_by_rule(shop):
    """Every line is used or set aside under one rule."""
    day = timedelta(days=1)
    rows = [
        {},
        {"unit": None},
        {"paid_at": None},
        {"unit": "stranger"},
        {"paid_at": shop.start - day},
        {"paid_at": shop.start + 14 * day},
        {"line_id": "L0", "order_id": "O0"},
    ]
    prepared = shop.prepared(order_lines=shop.lines(*rows))
    aside = {each.rule: each.rows for each in prepared.facts.set_aside}

    assert aside == {
        "line_id seen before; the first row counts": 1,
        "without a customer id": 1,
        "never paid": 1,
        "paid by customers who are not in the test": 1,
        "paid before the customer was assigned": 1,
        "paid later than 14 days after assignment": 1,
    }
    assert prepared.facts.lines + sum(aside.values()) == len(rows)


def test_a_line_of_the_last_second_counts(shop):
    """The window is closed on the left and open on the right, to the second."""
    last = shop.start + timedelta(days=14, seconds=-1)
    found = shop.totals(order_lines=shop.lines({"paid_at": shop.start}, {"paid_at": last}))

    assert found["orders"] == 2


def test_sources_from_which_nothing_is_made_are_said(shop):
    """A plan may name settlements; the page says that no number comes from it."""
    frame = pd.DataFrame({"x": [1]})

    assert "the source 'settlements' is given and no number is made from it" in (
        shop.prepared(settlements=frame).facts.notes
    )
