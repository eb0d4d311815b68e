"""Orders, units and cells: three grains, the same numbers downstream."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from upliftlab import analysis
from upliftlab.data import measure
from upliftlab.data.prepare import prepare
from upliftlab.errors import DataError
from upliftlab.experiment import Experiment
from upliftlab.simulate import SmartCoupon, write

ARMS = {"none": {"share": "50%", "control": True}, "coupon": {"share": "50%", "coupon": 20}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two thousand simulated customers in two arms, and the plan over their tables."""
    folder = tmp_path_factory.mktemp("world")
    write(SmartCoupon(customers=2_000, seed=1, depths=(0, 20)), folder)
    sources = {
        name: {"file": str(folder / f"{name}.parquet")}
        for name in ("assignments", "order_lines", "refunds", "users", "exposures",
                     "coupon_events", "membership_events")
    }  # fmt: skip
    return Experiment(
        name="world",
        kind="smart_coupon",
        run={"start": "2026-06-01", "end": "2026-06-14"},
        follow_up="60 days",
        other_windows=[],
        returns_final_after="21 days",
        arms={"none": ARMS["none"], "coupon_20": ARMS["coupon"]},
        costs={"preset": "douyin_apparel", "write_off": "0%"},
        data=sources,
        decide={"segments": ["is_new_customer"]},
    )


@pytest.fixture(scope="module")
def prepared(world):
    return prepare(world)


def test_features_travel_as_they_are(world):
    """A number stays one, a gap stays a gap, and the moments do not see them."""
    names = ["is_new_customer", "recency_days", "watch_minutes_28"]
    found = prepare(world.replace(target={"features": names}))
    rows = found.engine.fetch(measure.full_units(found)).to_pandas()

    assert rows.loc[rows["is_new_customer"] == "true", "f:recency_days"].isna().all()
    assert set(rows["f:is_new_customer"]) == {0.0, 1.0}
    assert rows["f:watch_minutes_28"].dtype == float
    assert not any(name.startswith("f:") for name in measure.measure(found).names)


def as_units(prepared):
    """One row per assigned unit with every component: what a team would build itself."""
    rows = prepared.engine.fetch(measure.full_units(prepared)).to_pandas()
    names = {c: c.partition("@")[0] for c in prepared.components}
    columns = ["unit", "arm", "is_new_customer", *prepared.components]
    return rows[columns].rename(columns=names)


def as_cells(units):
    """Counts, sums and sums of products per arm and segment, as text without any rounding."""
    components = [c for c in units.columns if c not in {"unit", "arm", "is_new_customer"}]
    out = []
    for (arm, new), block in units.groupby(["arm", "is_new_customer"]):
        values = block[components].astype(object).to_numpy()
        row = {"arm": arm, "is_new_customer": new, "n": len(block)}
        for i, one in enumerate(components):
            row[f"sum:{one}"] = str(sum(map(int, values[:, i])))
            for j, two in enumerate(components[i:], start=i):
                product = sum(int(a) * int(b) for a, b in zip(values[:, i], values[:, j]))  # noqa: B905 - same array
                row[f"sum:{one}*{two}"] = str(product)
        out.append(row)
    return pd.DataFrame(out)


def by_grain(world, prepared):
    """The profit of the coupon at each grain, without covariates."""
    units = as_units(prepared)
    money = {c: f"{c}" for c in units.columns if c not in {"unit", "arm", "is_new_customer"}}
    shared = {"covariates": "none"}
    unit_plan = world.replace(
        **shared, data={"units": {"file": "u", "money": "fen", "columns": money}}
    )
    cell_plan = world.replace(**shared, data={"cells": {"file": "c", "money": "fen"}})
    return {
        "orders": analysis.run(world.replace(**shared)),
        "units": analysis.run(unit_plan, {"units": units}),
        "cells": analysis.run(cell_plan, {"cells": as_cells(units)}),
    }


def test_three_grains_give_one_profit(world, prepared):
    """The same units read as orders, as units and as cells: same effect, same interval."""
    found = by_grain(world, prepared)
    effects = {grain: each.profits[0].profit for grain, each in found.items()}

    for grain in ("units", "cells"):
        assert effects[grain].estimate == pytest.approx(effects["orders"].estimate, rel=1e-9)
        assert effects[grain].ci_low == pytest.approx(effects["orders"].ci_low, rel=1e-9)
    for grain, each in found.items():
        segments = {s.level: s.profits[0].profit.estimate for s in each.segments}
        expected = {s.level: s.profits[0].profit.estimate for s in found["orders"].segments}
        assert segments == pytest.approx(expected, rel=1e-9), grain


def test_units_that_ordered_flagged_and_absent_add_up(prepared):
    """Every assigned unit is in exactly one of three parts; absent facts are zeros."""
    cells = measure.measure(prepared)
    rows = as_units(prepared)
    names = {c.partition("@")[0]: i for i, c in enumerate(cells.names)}

    assert cells.n.sum() == len(rows) == 2_000
    for c, (arm, new) in enumerate(cells.labels):
        block = rows[(rows["arm"] == arm) & (rows["is_new_customer"] == new)]
        assert cells.n[c] == len(block)
        for name in ("kept_sales", "saw", "claimed", "orders", "goods", "members_joined"):
            mean, variance = block[name].mean(), block[name].var(ddof=0) * len(block)
            assert cells.mean[c, names[name]] == pytest.approx(mean, rel=1e-9)
            assert cells.m2[c, names[name], names[name]] == pytest.approx(variance, rel=1e-6)


def test_numbers_of_the_first_version(prepared):
    """A snapshot: totals of this seed, as first measured; speed must not change them."""
    totals = prepared.facts.totals
    snapshot = {name: int(totals[f"{name}@60d"]) for name in SNAPSHOT}

    assert snapshot == SNAPSHOT


SNAPSHOT = {
    "gmv_list": 6_732_210,
    "merchant_coupon": 89_600,
    "platform_coupon": 22_400,
    "cash": 5_772_713,
    "cancelled_sales": 697_098,
    "returned_sales": 1_406_418,
    "kept_sales": 3_691_597,
    "goods": 1_208_915,
    "goods_returned": 463_579,
    "commission": 295_325,
    "net_sales_1h": 5_670_724,
    "net_sales_14d": 3_817_538,
    "orders": 434,
    "orders_shipped": 381,
    "orders_returned": 111,
    "orders_kept": 270,
    "orders_redeemed": 56,
    "buyers": 339,
    "new_customers": 25,
    "saw": 1_011,
    "claimed": 357,
    "members_joined": 27,
}
"""Of the data plane before it was made faster; a snapshot, no reference."""


def cells_frame(**columns):
    """Two arms of 10 units with sum and sum of squares of sales in yuan."""
    frame = pd.DataFrame(
        {
            "arm": ["none", "coupon"],
            "n": [10, 10],
            "sum:gmv_merchant": [100.0, 110.0],
            "sum:gmv_merchant*gmv_merchant": [1_200.0, 1_400.0],
        }
    )
    return frame.assign(**columns)


def run_cells(frame, **source):
    plan = Experiment(
        name="cells",
        kind="custom",
        arms={"none": {"share": "50%", "control": True}, "coupon": {"share": "50%"}},
        costs={"margin": "35%"},
        data={"cells": {"file": "c"} | source},
    )
    return analysis.run(plan, {"cells": frame})


def test_cells_in_yuan_become_fen():
    """Sums times 100, products times 10,000: one yuan of effect is 35 fen of margin."""
    found = run_cells(cells_frame(), money="yuan").profits[0].profit

    assert found.estimate == pytest.approx(0.35 * 100)


def test_cells_with_other_names():
    """Columns are mapped as everywhere; a component is mapped once for all its sums."""
    frame = cells_frame().rename(columns={"arm": "组"})
    frame.columns = [c.replace("gmv_merchant", "销售额") for c in frame.columns]
    mapping = {"arm": "组", "gmv_merchant": "销售额"}
    found = run_cells(frame, money="yuan", columns=mapping).profits[0].profit

    assert found.estimate == pytest.approx(35.0)


def test_rows_of_one_cell_add_up():
    """Daily rows of one arm are parts of one cell."""
    twice = pd.concat([cells_frame(), cells_frame()])
    found = run_cells(twice, money="yuan")

    assert found.facts.assigned == {"none": {"": 20}, "coupon": {"": 20}}
    assert found.profits[0].profit.estimate == pytest.approx(35.0)


def test_cells_keep_their_variance_around_a_billion():
    """Whole-number sums are exact: a billion yuan on top changes no standard error."""
    rng = np.random.default_rng(1)
    small = rng.integers(0, 10_000, (2, 50))

    def frame(shift):
        values = small.astype(object) + shift
        return pd.DataFrame(
            {
                "arm": ["none", "coupon"],
                "n": [50, 50],
                "sum:gmv_merchant": [str(sum(row)) for row in values],
                "sum:gmv_merchant*gmv_merchant": [
                    str(sum(x * x for x in row)) for row in values
                ],
            }
        )

    low = run_cells(frame(0), money="fen").profits[0].profit
    high = run_cells(frame(10**11), money="fen").profits[0].profit

    assert high.std_error == pytest.approx(low.std_error, rel=1e-9)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"n": [10, -1]},
            "column 'n' of table 'cells' is -1 in some row; it must be a count of units.",
        ),
        (
            {"sum:gmv_merchant": ["100", "-"]},
            (
                "column 'sum:gmv_merchant' of table 'cells' is empty in 1 of 2 rows; "
                "it must be "
                "filled in every row."
            ),
        ),
        (
            {"sum:gmv_merchant*gmv_merchant": [10.0, 10.0]},
            (
                "table 'cells' has sums of squares below n x mean squared, which no data have; "
                "check that sum:a*a adds up squares of the same rows as sum:a."
            ),
        ),
        (
            {"arm": ["none", "voucher"]},
            (
                "table 'cells' has arms ['voucher'] that the plan does not; the plan has "
                "['coupon', 'none']."
            ),
        ),
        (
            {"arm": ["none", "none"]},
            (
                "table 'cells' has no usable unit in arms ['coupon'] of the plan; "
                "check how the "
                "table writes them, and the run dates."
            ),
        ),
        (
            {"sum:gmv_merchant": ["a", "b"]},
            "column 'sum:gmv_merchant' of table 'cells' is string; it must be numbers.",
        ),
    ],
)
def test_cells_that_cannot_be(columns, message):
    """Every impossible table of cells is refused with its reason."""
    with pytest.raises(DataError) as error:
        run_cells(cells_frame(**columns), money="fen")

    assert str(error.value).replace("large_string", "string") == message


def test_a_first_assignment_takes_everything_from_one_row(shop):
    """Assigned twice: time, stratum and cluster come from the earlier row, not from two."""
    frame = shop.assignments().assign(stratum="b")
    later = frame[:1].assign(assigned_at=shop.start + pd.Timedelta(days=2), stratum="a")
    plan = shop.plan(strata=["stratum"])
    prepared = shop.prepared(plan, assignments=pd.concat([later, frame]))
    first = next(r for r in prepared.engine.rows(prepared.assigned) if r["unit"] == "u0")

    assert first["stratum"] == "b"
    assert {each.rule for each in prepared.facts.set_aside} == {
        "assigned again to the same arm; the first counts"
    }
    assert prepared.facts.assigned["none"] == {"b": 4}


def test_assignments_without_a_time_or_an_id_are_counted(shop):
    """Each has a rule of its own."""
    frame = shop.assignments()
    frame.loc[0, "assigned_at"] = pd.NaT
    frame.loc[1, "unit"] = None

    assert shop.aside(assignments=frame) == {
        "assignments: without a customer id or an arm": 1,
        "assignments: without a time of assignment": 1,
        "order_lines: paid by customers who are not in the test": 1,
    }


def test_a_cluster_without_a_name_is_refused(shop):
    """Blank clusters would be one giant cluster."""
    plan = shop.plan(design="cluster_split", cluster="household")
    frame = shop.assignments().assign(
        household=["h1", "h2", None, "h4", "h5", "h6", "h7", "h8"]
    )

    with pytest.raises(
        DataError, match=r"'household' of table 'assignments' is empty in 1 of 8"
    ):
        shop.prepared(plan, assignments=frame)


def test_a_snapshot_from_after_the_assignment_is_refused(shop):
    """What was known only afterwards cannot describe who was assigned."""
    users = pd.DataFrame(
        {"unit": ["u0"], "is_new": ["yes"], "snapshot_at": [shop.start + pd.Timedelta(days=1)]}
    )
    plan = shop.plan(decide={"segments": ["is_new"]})

    with pytest.raises(DataError) as error:
        shop.prepared(plan, users=users)

    assert str(error.value) == (
        "table 'users' describes 1 customers as they were after their assignment; segments and "
        "covariates need a snapshot from before."
    )


def test_customers_twice_in_the_snapshot_count_once(shop):
    """A repeated customer neither doubles a unit nor its orders."""
    users = pd.DataFrame({"unit": ["u0", "u0", "u1"], "is_new": ["yes", "yes", "no"]})
    plan = shop.plan(decide={"segments": ["is_new"]})
    prepared = shop.prepared(plan, users=users)

    assert prepared.facts.totals["orders@14d"] == 1
    assert prepared.facts.totals["new_customers@14d"] == 1
    assert prepared.facts.coverage == {"coupon": (1, 4), "none": (1, 4)}
    assert {each.rule for each in prepared.facts.set_aside} == {
        "unit seen before; the first row counts"
    }


def test_ad_spend_stays_at_its_arm(shop):
    """Plan-level spend has no customers: it is added up per arm."""
    spend = pd.DataFrame({"arm": ["coupon", "coupon", "none"], "spend_fen": [100, 50, 7]})

    assert shop.prepared(ad_spend=spend).facts.ad_spend == {"coupon": 150, "none": 7}


def test_ad_spend_of_an_unknown_arm(shop):
    """Spend that belongs to nobody is refused."""
    spend = pd.DataFrame({"arm": ["cupon"], "spend_fen": [100]})

    with pytest.raises(DataError, match=r"table 'ad_spend' has arms \['cupon'\] that the plan"):
        shop.prepared(ad_spend=spend)


def test_only_coupons_seen_within_the_window_are_leaks(shop):
    """Control that saw a coupon before the test is not leakage; during it is."""
    seen = pd.DataFrame(
        {
            "unit": ["u0", "u2", "u1"],
            "at": [shop.start - pd.Timedelta(days=1), *[shop.start] * 2],
            "arm_served": ["coupon"] * 3,
        }
    )
    facts = shop.prepared(exposures=seen).facts

    assert facts.saw_other == {"none": 1}
    assert facts.totals["saw@14d"] == 2


def test_restored_coupons_are_said(shop):
    """Money on order lines counts; the events of a restored coupon are a note."""
    events = pd.DataFrame(
        {
            "unit": ["u1"] * 3,
            "event": ["claimed", "restored", "redeemed"],
            "at": [shop.start + pd.Timedelta(hours=h) for h in (1, 2, 3)],
        }
    )
    facts = shop.prepared(coupon_events=events).facts

    assert facts.totals["claimed@14d"] == 1
    assert any(note.startswith("1 coupons were restored") for note in facts.notes)
