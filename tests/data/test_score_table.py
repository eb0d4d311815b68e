"""Units become the arrays that scores are made of, whatever grain they came from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from upliftlab.data import measure
from upliftlab.data.prepare import plan_of, prepare
from upliftlab.data.score_table import score_table
from upliftlab.errors import DataError
from upliftlab.experiment import Experiment
from upliftlab.simulate.first_run import made

FEATURES = ["is_new_customer", "recency_days", "coupon_share_365"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three thousand customers of the targeting preset, read from order tables."""
    monkey = pytest.MonkeyPatch()
    monkey.chdir(tmp_path_factory.mktemp("world"))
    plan = Experiment(
        name="whom",
        kind="smart_coupon",
        run={"start": "2026-06-01", "end": "2026-06-14"},
        follow_up="60 days",
        returns_final_after="21 days",
        arms={
            "none": {"share": "50%", "control": True},
            "coupon_20": {"share": "50%", "coupon": 20, "over": 99},
        },
        costs={"preset": "douyin_apparel"},
        target={"features": FEATURES},
        data={"simulate": {"preset": "targeting_pays", "customers": 3_000, "seed": 11}},
    )
    yield prepare(plan, dict(made(plan, lambda _: None))), plan_of(plan)
    monkey.undo()


def test_columns_equal_the_tables_they_come_from(world):
    """Every number is the unit table's, in the order of ids, without the window's suffix."""
    prepared, plan = world
    found = score_table(prepared, plan)
    rows = prepared.engine.fetch(measure.full_units(prepared)).to_pandas().sort_values("unit")

    assert found.arms == ("none", "coupon_20")
    assert found.total == len(rows) == 3_000
    np.testing.assert_array_equal(found.arm, (rows["arm"] == "coupon_20").to_numpy())
    for k, name in enumerate(found.components):
        np.testing.assert_array_equal(found.y[:, k], rows[f"{name}@60d"].astype("float32"))
    for name in FEATURES:
        np.testing.assert_array_equal(
            found.features[name], rows[f"f:{name}"].astype("float32"), strict=False
        )


def test_only_the_components_asked_for_are_read(world):
    """Prices name what they need; the rest costs no memory."""
    found = score_table(*world, components={"kept_sales", "goods", "units"})

    assert set(found.components) == {"kept_sales", "goods"}
    assert found.y.dtype == np.float32
    assert found.y.shape == (3_000, 2)


def test_a_sample_is_a_part_of_the_whole(world):
    """The same seed takes the same units, and total still counts all."""
    whole, part = score_table(*world), score_table(*world, sample=500, seed=3)
    again = score_table(*world, sample=500, seed=3)

    assert len(part.y) == 500
    assert part.total == 3_000
    np.testing.assert_array_equal(part.y, again.y)
    mine = np.random.default_rng(3)
    keep = np.zeros(3_000, dtype=bool)
    keep[mine.choice(3_000, 500, replace=False)] = True
    np.testing.assert_array_equal(part.y, whole.take(keep).y)


def units(n=600):
    """A unit table with strata, clusters, a text feature with gaps, and an outcome."""
    rng = np.random.default_rng(0)
    shop = np.arange(n) // 10
    return pd.DataFrame(
        {
            "unit": [f"u{i:04d}" for i in range(n)],
            "arm": np.where(shop % 2 == 0, "none", "coupon"),
            "shop": [f"s{s}" for s in shop],
            "tier": np.where(shop % 3 == 0, "new", "old"),
            "city": rng.choice(np.array(["A", "B", None], dtype=object), n),
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.integers(18, 70, n)),
            "orders": rng.poisson(0.3, n),
            "profit_fen": rng.integers(-100, 500, n),
        }
    )


def unit_plan(**changes):
    arms = {"none": {"share": "50%", "control": True}, "coupon": {"share": "50%", "coupon": 20}}
    written = {
        "name": "units",
        "kind": "smart_coupon",
        "arms": arms,
        "costs": {"margin": "35%"},
        "design": "cluster_split",
        "cluster": "shop",
        "strata": ["tier"],
        "covariates": "none",
        "target": {"features": ["age", "city"]},
    }
    return Experiment(**(written | changes))


def test_texts_strata_and_clusters_are_numbered():
    """Texts keep gaps and levels; strata and clusters are codes that agree with the table."""
    plan, table = unit_plan(), units()
    found = score_table(prepare(plan, {"units": table}), plan_of(plan))

    cities = [None if pd.isna(city) else city for city in table["city"]]
    assert found.features["city"].to_pylist() == cities
    np.testing.assert_array_equal(found.features["age"], table["age"].astype("float32"))
    assert [found.strata[s] for s in found.stratum] == table["tier"].tolist()
    assert pd.crosstab(found.cluster, table["shop"]).gt(0).sum().eq(1).all()


def test_a_sample_of_clusters_takes_them_whole():
    """Shops are kept or left as they were assigned."""
    plan, table = unit_plan(), units()
    found = score_table(prepare(plan, {"units": table}), plan_of(plan), sample=95)

    sizes = np.unique(found.cluster, return_counts=True)[1]
    assert sizes.tolist() == [10] * 10
    assert len(found.y) == 100


def test_no_features_is_refused():
    """A plan without target has no column for a rule."""
    plan = unit_plan(target=None)

    with pytest.raises(DataError, match="no column that a rule may use"):
        score_table(prepare(plan, {"units": units()}), plan_of(plan))
