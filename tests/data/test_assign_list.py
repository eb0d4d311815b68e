"""Clusters drawn in blocks, balanced, or in waves; each as a table that runs read."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from upliftlab.data.assign_plan import assign, statement
from upliftlab.errors import DesignError, UpliftlabError
from upliftlab.experiment import Experiment

ARMS = {"none": {"share": "50%", "control": True}, "coupon": {"share": "50%"}}


def plan(**changes):
    """A plan that draws households in blocks of cities."""
    values = {
        "name": "spring",
        "kind": "custom",
        "arms": ARMS,
        "run": {"start": "2026-10-08", "end": "2026-10-21"},
        "design": "cluster_split",
        "cluster": "home",
        "strata": ["city"],
        "assign": {"draw": "blocks"},
    }
    return Experiment(**(values | changes))


@pytest.fixture
def people(tmp_path):
    """600 customers in 40 homes of two cities, with what they bought before."""
    rng = np.random.default_rng(1)
    home = rng.integers(40, size=600)
    table = pa.table(
        {
            "unit": [f"u{i}" for i in range(600)],
            "home": [f"h{h}" for h in home],
            "city": ["bj" if h < 16 else "sh" for h in home],
            "pre_profit": rng.lognormal(3, 1, size=600) * (1 + home / 10),
        }
    )
    pq.write_table(table, tmp_path / "people.parquet")
    return tmp_path / "people.parquet"


def homes(place):
    """Arm of every home, checked to be one."""
    found = {}
    for row in pq.read_table(place).to_pylist():
        assert found.setdefault(row["home"], row["arm"]) == row["arm"]
        assert (row["propensity"], row["stratum"]) == (0.5, row["city"])
    return found


def test_blocks_split_every_city_in_half(people, tmp_path):
    """8 of 16 homes in one city and 12 of 24 in the other."""
    _, place = assign(plan(), ids=people, out=tmp_path / "o.parquet")
    found = homes(place)

    assert Counter(found[f"h{i}"] for i in range(16)) == {"none": 8, "coupon": 8}
    assert Counter(found[f"h{i}"] for i in range(16, 40)) == {"none": 12, "coupon": 12}


def test_balanced_homes_are_alike_and_the_salt_says_which_draw(people, tmp_path):
    """The gap in what they bought before is small, and the salt gives the draw again."""
    balanced = plan(assign={"draw": "balanced", "balance": ["pre_profit"], "keep": "5%"})
    _, one = assign(balanced, ids=people, out=tmp_path / "one.parquet")
    _, two = assign(balanced, ids=people, out=tmp_path / "two.parquet")
    rows = pq.read_table(one).to_pandas()

    assert one.read_bytes() == two.read_bytes()
    assert rows["salt"].str.startswith("spring").all()
    people = pq.read_table(people).to_pandas().groupby("home")["pre_profit"].mean()
    arm = rows.drop_duplicates("home").set_index("home")["arm"]
    means = people.groupby(arm).mean()
    spread = people.std() * np.sqrt(4 / 40)
    assert abs(means["coupon"] - means["none"]) < 0.2 * spread


def test_waves_are_a_file_that_a_roll_out_reads(tmp_path):
    """One row per agency, starts in order of the plan, empty for never."""
    pq.write_table(pa.table({"mcn": [f"m{i // 5}" for i in range(80)]}), tmp_path / "c.parquet")
    staggered = Experiment(
        name="dual",
        kind="custom",
        design="staggered",
        period="week",
        cluster="mcn",
        arms={"single": {"control": True}, "dual": {}},
        waves="waves.csv",
        assign={"waves": {"2026-08-03": "25%", "2026-08-31": "25%", "never": "50%"}},
    )
    written, place = assign(staggered, ids=tmp_path / "c.parquet", out=tmp_path / "waves.csv")
    with place.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert Counter(row["starts_on"] for row in rows) == {
        "2026-08-03": 4, "2026-08-31": 4, "": 8
    }  # fmt: skip
    assert written.arms == {"2026-08-03": 4, "2026-08-31": 4, "never": 8}
    assert {row["propensity"] for row in rows} == {"0.25", "0.5"}


def test_more_waves_than_clusters_are_refused(tmp_path):
    """The sentence names the waves, and no file is left."""
    pq.write_table(pa.table({"mcn": ["m1", "m2"]}), tmp_path / "c.parquet")
    staggered = Experiment(
        name="dual",
        kind="custom",
        design="staggered",
        period="week",
        cluster="mcn",
        arms={"single": {"control": True}, "dual": {}},
        assign={"waves": {"2026-08-03": "1/3", "2026-08-31": "1/3", "never": "1/3"}},
    )
    with pytest.raises(DesignError) as found:
        assign(staggered, ids=tmp_path / "c.parquet", out=tmp_path / "waves.csv")

    assert str(found.value) == (
        "3 arms or waves (2026-08-03, 2026-08-31, never) are drawn from 2 clusters; each needs "
        "one or more, and inference needs two."
    )
    assert not (tmp_path / "waves.csv").exists()


def test_a_cluster_in_two_strata_is_refused(tmp_path):
    """A home in two cities belongs to no block."""
    table = pa.table(
        {"unit": ["a", "b", "c"], "home": ["h1", "h1", "h2"], "city": ["bj", "sh", "sh"]}
    )
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(DesignError) as found:
        assign(plan(), ids=tmp_path / "p.parquet", out=tmp_path / "o.parquet")

    assert str(found.value) == (
        "1 clusters lie in several strata, such as 'h1'; a cluster drawn as a whole belongs to "
        "one stratum."
    )


def test_a_list_has_no_sql():
    """What is drawn as a whole needs the whole."""
    with pytest.raises(UpliftlabError) as found:
        statement(plan(), dialect="spark")

    assert str(found.value) == (
        "experiment 'spring' draws a list as a whole, which no single SELECT does; write the "
        "table with --out instead."
    )
