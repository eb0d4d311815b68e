"""Rules are applied to files of any size; nothing is overwritten and nothing half written."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from upliftlab.data.rule_scorer import score_file
from upliftlab.errors import DataError, UpliftlabError

RULE = """CASE WHEN "days" <= 3e0 THEN 'none' ELSE 'c20' END"""


@pytest.fixture
def source(tmp_path):
    """A small table in a folder with an apostrophe in its name."""
    folder = tmp_path / "it's"
    folder.mkdir()
    pq.write_table(
        pa.table({"unit": ["a", "b", "c"], "days": [1.0, 9.0, None]}), folder / "u.parquet"
    )
    return folder / "u.parquet"


def test_every_row_gets_an_arm(source):
    """Rows stay in order, columns stay, one is added."""
    target = source.with_name("scored.parquet")

    assert score_file(RULE, source, target, needs=["days"]) == 3
    assert pq.read_table(target).to_pylist() == [
        {"unit": "a", "days": 1.0, "arm": "none"},
        {"unit": "b", "days": 9.0, "arm": "c20"},
        {"unit": "c", "days": None, "arm": "c20"},
    ]


def test_a_missing_column_is_named(source):
    """The nearest one is offered, and no file appears."""
    target = source.with_name("scored.parquet")

    with pytest.raises(DataError, match="recency_days"):
        score_file(RULE, source, target, needs=["recency_days"])
    assert not target.exists()


@pytest.mark.parametrize("target", ["u.parquet", "scored.csv"])
def test_the_source_and_other_formats_are_refused(source, target):
    """A rule is never written over its own table."""
    with pytest.raises(UpliftlabError):
        score_file(RULE, source, source.with_name(target), needs=["days"])
    assert pq.read_table(source).num_rows == 3


def test_a_column_that_is_there_is_not_overwritten(source):
    """The new column needs a name of its own."""
    with pytest.raises(DataError, match="nothing is overwritten"):
        score_file(RULE, source, source.with_name("x.parquet"), needs=[], column="Days")


def test_a_rule_that_breaks_leaves_nothing(source):
    """Text where the rule wants numbers is one sentence, and no file is left."""
    with pytest.raises(DataError, match="could not be applied"):
        score_file('CAST("unit" AS DOUBLE)', source, source.with_name("x.parquet"), needs=[])
    assert [path.name for path in source.parent.iterdir()] == ["u.parquet"]
