"""For whom did it earn: what is compared, and what is left out and said."""

from __future__ import annotations

import numpy as np
import pandas as pd

from upliftlab import Experiment, run
from upliftlab.analysis import prepare
from upliftlab.data import measure as measuring
from upliftlab.segments import skipped_levels

N = 400


def plan(**changes):
    fields = {
        "name": "whom",
        "kind": "custom",
        "arms": {"c": {"share": "50%", "control": True}, "t": {"share": "50%"}},
        "covariates": "none",
        "costs": {"margin": "35%"},
        "decide": {"segments": ["city"]},
        "data": {"units": {"file": "units.csv", "money": "fen"}},
    }
    return Experiment(**(fields | changes))


def units(city):
    rng = np.random.default_rng(0)
    at = np.arange(N)
    return pd.DataFrame(
        {
            "unit": [f"u{i}" for i in at],
            "arm": np.where(at // 4 % 2, "t", "c"),
            "hh": [f"h{i // 4}" for i in at],
            "city": city,
            "gmv_platform": rng.integers(0, 20_000, N),
        }
    )


TWO_CITIES = np.where(np.arange(N) % 2, "north", "south")


def test_levels_are_compared_where_units_are_assigned() -> None:
    """Units of two cities are independent, so the cities can be compared."""
    found = run(plan(), {"units": units(TWO_CITIES)}).segments

    assert [set(segment.differs) for segment in found] == [{"t"}, {"t"}]
    assert all(0 <= segment.differs["t"] <= 1 for segment in found)


def test_levels_that_share_clusters_are_not_compared() -> None:
    """Households that live in both cities make their estimates depend on each other."""
    clustered = plan(design="cluster_split", cluster="hh")
    found = run(clustered, {"units": units(TWO_CITIES)}).segments

    assert [segment.differs for segment in found] == [{}, {}]


def test_a_level_with_one_unit_in_an_arm_is_left_out_and_said() -> None:
    """A town with one treated customer has no interval, and is named."""
    city = TWO_CITIES.copy()
    city[:5] = "town"
    table = units(city.astype(object))
    experiment = plan()
    cells = measuring.measure(prepare(experiment, {"units": table}))

    assert [s.level for s in run(experiment, {"units": table}).segments] == ["north", "south"]
    assert skipped_levels(experiment, cells) == (
        "city = town is not shown: fewer than two units in t",
    )
