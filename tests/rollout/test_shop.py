"""The shop's own sales beside creators that switch: shown, and never called an effect."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest

from upliftlab import Experiment
from upliftlab.analysis import run
from upliftlab.data.panel import NEVER, Beside, Panel
from upliftlab.report import json_schema, render_html, render_json
from upliftlab.rollout.shop import shop_series
from upliftlab.simulate.creator_settings import creator_preset
from upliftlab.simulate.creator_tables import write_creators

PLAN = """
name: shop
kind: dual_commission
design: staggered
unit: creator
cluster: cluster
period: week
observe: {start: 2026-05-25, end: 2026-08-02}
waves: waves.csv
arms:
  single: {organic: 20%, ads: 20%, agency: 3%, control: true}
  dual:   {organic: 25%, ads: 8%, agency: 3%}
costs: {margin: 47.51%}
data:
"""
TABLES = ("order_lines", "refunds", "ad_spend", "roster")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Orders of 16 creators, and every fifth shelf line once more in nobody's name."""
    world = creator_preset(
        "well_designed", seed=4, clusters=8, creators=2, weeks=10, starts=(4, 6, 8)
    )
    place = write_creators(world, tmp_path_factory.mktemp("shop") / "world", orders=True)
    panel = pd.read_parquet(place / "creator_week.parquet")
    panel[["creator_id", "cluster"]].drop_duplicates().to_parquet(place / "roster.parquet")
    lines = pd.read_parquet(place / "order_lines.parquet")
    own = lines[lines["channel"] == "shelf_organic"].iloc[::5].copy()
    own["line_id"], own["order_id"] = own["line_id"] + "-shop", own["order_id"] + "-shop"
    own["creator_id"] = None
    own.to_parquet(place / "own.parquet")
    pd.concat([lines, own]).to_parquet(place / "with_shop.parquet")
    return place


def answered(folder, lines: str):
    """The analysis of one table of lines."""
    files = {name: name for name in TABLES} | {"order_lines": lines}
    data = "".join(f"  {name}: {{file: {file}.parquet}}\n" for name, file in files.items())
    return run(Experiment.from_text(PLAN + data, base=folder))


def test_the_shops_own_shelf_is_shown_and_changes_no_profit(folder):
    """Its weeks are the sums of its lines; extra profit is that of the creators alone."""
    without, found = answered(folder, "order_lines"), answered(folder, "with_shop")
    (shelf,) = found.rollout.shop
    own = pd.read_parquet(folder / "own.parquet")
    day = own["pay_ts"].dt.tz_convert("Asia/Shanghai").dt.tz_localize(None)
    week = day.dt.to_period("W-SUN").dt.start_time.dt.strftime("%Y-%m-%d")
    sums = own.groupby(week)["settlement_base_fen"].sum().reindex(shelf.periods)

    assert without.rollout.shop == ()
    assert found.profits[0].to_dict() == without.profits[0].to_dict()
    assert (shelf.name, shelf.first) == ("shelf", 4)
    np.testing.assert_allclose(shelf.kept, sums.to_numpy())


def test_the_page_calls_it_no_experiment(folder):
    """Series and sentence are there, without a range; JSON fits its schema."""
    found = answered(folder, "with_shop")
    page = render_html(found)
    section = page.partition('id="shop"')[2].partition("<section")[0]

    assert "What the shop sold by itself" in page
    assert "Not an experiment. Shelf: " in section
    assert "has no range and is not in extra profit" in section
    jsonschema.validate(json.loads(render_json(found)), json_schema())


def test_a_straight_line_through_the_time_before():
    """Sales on a line before: it goes on, and the difference is what left it."""
    y = np.arange(10.0)[:, None] * 5 + 100
    y[6:] -= 12
    panel = Panel.of_arrays(np.zeros((4, 10)), [6, 6, NEVER, NEVER])
    shop = Beside(label="own", is_shop=True, names=("kept_shelf",), y=y)
    others = Beside(label="others", is_shop=False, names=("kept_shelf",), y=y)
    told = Panel(**{**_fields(panel), "beside": (shop, others)})
    (found,) = shop_series(told, anticipation=0)

    assert found.since - found.expected == pytest.approx(-12)
    assert found.before == pytest.approx(112.5)
    assert shop_series(panel, anticipation=0) == ()


def test_without_a_time_before_there_is_no_line():
    """Everybody was told in the first period."""
    panel = Panel.of_arrays(np.zeros((4, 3)), [1, 1, NEVER, NEVER])
    shop = Beside(label="own", is_shop=True, names=("kept_shelf",), y=np.ones((3, 1)))
    told = Panel(**{**_fields(panel), "beside": (shop,)})

    assert shop_series(told, anticipation=1) == ()


def _fields(panel: Panel) -> dict[str, object]:
    return {name: getattr(panel, name) for name in Panel.__dataclass_fields__}
