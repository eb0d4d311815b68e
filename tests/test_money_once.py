"""Does money get counted once, and does a verdict rest on what the data can carry?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from upliftlab import Experiment, UpliftlabError, pricing, run
from upliftlab.profit import assess

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis

N = 4_000
TREATED = np.arange(N) % 2 == 1
SALES = np.random.default_rng(0).integers(0, 20_000, N)
UNITS = {"units": {"file": "units.csv", "money": "fen"}}
ARMS = {"c": {"share": "50%", "control": True}, "t": {"share": "50%"}}


def plan(**changes: Any) -> Experiment:
    fields: dict[str, Any] = {
        "name": "review",
        "kind": "custom",
        "arms": ARMS,
        "covariates": "none",
        "costs": {"margin": "35%"},
        "data": UNITS,
    }
    return Experiment(**(fields | changes))


def units(**columns: Any) -> pd.DataFrame:
    unit = [f"u{i}" for i in range(N)]
    return pd.DataFrame({"unit": unit, "arm": np.where(TREATED, "t", "c"), **columns})


def answer(table: pd.DataFrame, **changes: Any) -> Analysis:
    return run(plan(**changes), {"units": table})


def clustered(count: int, size: int, spread: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    for g in range(count):
        m = max(2, int(rng.lognormal(np.log(size), spread)))
        sales = 20_000 + rng.normal(0, 2_000) + rng.normal(0, 5_000, m)
        parts.append(
            pd.DataFrame(
                {
                    "arm": "t" if g % 2 else "c",
                    "hh": f"h{g}",
                    "gmv_platform": np.maximum(sales, 0).astype(int),
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    return table.assign(unit=[f"u{i}" for i in range(len(table))])


CLUSTERS = {"design": "cluster_split", "cluster": "hh"}


# ---- each amount once -------------------------------------------------------------------


@pytest.mark.parametrize("column", ["contact_cost", "ad_spend"])
def test_cost_columns_of_a_unit_table_are_charged_once_and_are_campaign_money(
    column: str,
) -> None:
    """A unit table that says what a customer was mailed for loses that money."""
    free = answer(units(gmv_platform=SALES))
    paid = answer(units(gmv_platform=SALES, **{column: np.where(TREATED, 900, 0)}))

    assert paid.profits[0].profit.estimate == pytest.approx(
        free.profits[0].profit.estimate - 900
    )
    assert paid.profits[0].campaign_cost.estimate == pytest.approx(900)


def test_a_margin_covers_goods_that_the_data_also_measure() -> None:
    """Goods are not charged by the margin and by the measured column at once."""
    goods = (SALES * 0.65).round().astype(int)
    lines = answer(units(gmv_platform=SALES, goods=goods)).economics.lines

    assert len({"goods", "goods_at_margin"} & {line.name for line in lines}) == 1


def test_stated_commission_rates_replace_the_booked_commission_of_a_preset() -> None:
    """Commission is charged by rate or as booked, never both."""
    costs = plan(
        costs={"preset": "douyin_apparel", "commission_organic": "20%", "commission_ads": "8%"}
    ).costs
    have = {
        "gmv_platform",
        "kept_sales",
        "commission",
        "kept_creator_organic",
        "kept_creator_ads",
    }
    names = {line.name for line in pricing.build(costs, components=have).lines}

    assert "commission" not in names or not {"commission_organic", "commission_ads"} & names


def test_measured_kept_sales_are_the_revenue_where_nobody_splits_what_was_lost() -> None:
    """Kept sales of half the GMV leave half the revenue."""
    kept = SALES // 2
    found = answer(units(gmv_platform=SALES, kept_sales=kept)).profits[0]
    gap = kept[TREATED].mean() - kept[~TREATED].mean()

    assert found.profit.estimate == pytest.approx(0.35 * gap)


def test_coupon_money_is_campaign_money_beside_sales_that_already_exclude_it() -> None:
    """iROI has its denominator where sales are given after the shop's coupon."""
    table = units(gmv_merchant=SALES, merchant_coupon=np.where(TREATED, 100, 0))

    assert answer(table).profits[0].campaign_cost.estimate == pytest.approx(100)


def test_the_flipping_share_starts_from_todays_profit_where_control_has_coupons_too() -> None:
    """Only the tested coupon changes its payer: 200 fen of it, of which we pay 90 % today.

    Each share point moves extra profit by 2 fen, whatever other coupons control holds.
    """
    ours = np.where(TREATED, 180, 100)
    theirs = np.where(TREATED, 20, 0)
    zero = np.zeros(N, dtype=int)
    table = units(
        gmv_platform=SALES + 1_000,
        gmv_merchant=SALES + 1_000 - ours,
        kept_sales=SALES + 1_000 - ours,
        cancelled_sales=zero,
        returned_sales=zero,
        merchant_coupon=ours,
        kept_merchant_coupon=ours,
        platform_coupon=theirs,
        kept_platform_coupon=theirs,
    )
    found = answer(table).profits[0]
    funding = next(t for t in found.tipping if t.name == "funding")

    assert funding.now == pytest.approx(0.9)
    assert funding.at.estimate == pytest.approx(0.9 + found.profit.estimate / 200)


def test_booked_commission_moves_with_the_base_when_funding_moves() -> None:
    """At 10 % commission, a coupon that the platform pays costs us a tenth of it.

    The same orders, once with the coupon paid by us and once by the platform: the what-if on
    the first must give what the second measures.
    """
    ours = orders_tables()
    ours["order_lines"] = ours["order_lines"].assign(
        channel="creator_organic", commission_rate_bp=1_000
    )
    lines = ours["order_lines"]
    theirs = ours | {
        "order_lines": lines.assign(
            merchant_coupon=0,
            platform_coupon=lines["merchant_coupon"],
            settlement_base=lines["list"],
        )
    }
    found = run(orders_plan(ours, as_of="2026-12-31"), ours)
    measured = run(orders_plan(theirs, as_of="2026-12-31"), theirs).profits[0].profit
    what_if = assess(found.effects, found.economics.with_funding(0.0), arm="t").profit

    assert what_if.estimate == pytest.approx(measured.estimate, abs=0.5)


# ---- designs ----------------------------------------------------------------------------


def test_clusters_of_unequal_size_are_not_a_sample_ratio_mismatch() -> None:
    """The sample ratio counts what was assigned: 20 clusters against 20."""
    found = answer(clustered(40, 500, 0.5, seed=0), **CLUSTERS)
    ratio = next(check for check in found.checks if check.name == "sample_ratio")

    assert ratio.verdict == "pass"


def test_clusters_with_units_in_both_arms_are_refused_or_leave_no_verdict() -> None:
    """A cluster that is in two arms was not assigned as a whole."""
    table = clustered(40, 50, 0.3, seed=3)
    table["arm"] = np.where(np.arange(len(table)) % 2 == 0, "c", "t")
    try:
        valid = answer(table, **CLUSTERS).is_valid
    except UpliftlabError:
        valid = False

    assert not valid


def test_cells_of_units_do_not_pass_for_a_cluster_design() -> None:
    """Moments of units know nothing of clusters, so their variance is refused."""
    table = clustered(40, 50, 0.3, seed=4)
    name = "sum:gmv_platform"
    table = table.assign(n=1, square=table["gmv_platform"].astype("int64") ** 2)
    cells = table.groupby("arm", as_index=False)[["n", "gmv_platform", "square"]].sum()
    cells = cells.rename(
        columns={"gmv_platform": name, "square": "sum:gmv_platform*gmv_platform"}
    )
    data = {"cells": {"file": "cells.csv", "money": "fen"}}

    with pytest.raises(UpliftlabError):
        run(plan(data=data, **CLUSTERS), {"cells": cells})


def test_more_covariates_than_cluster_degrees_of_freedom_still_give_an_interval() -> None:
    """Coefficients are fitted on units; eight of them do not use up eight clusters."""
    table = clustered(16, 50, 0.2, seed=5)
    rng = np.random.default_rng(1)
    names = [f"z{j}" for j in range(8)]
    for name in names:
        table[name] = rng.normal(size=len(table))

    assert answer(table, covariates=names, **CLUSTERS).profits[0].profit.std_error > 0


def test_an_arm_with_one_unit_takes_the_interval_of_no_other_arm() -> None:
    """A third arm with one customer leaves treatment against control as it was."""
    one = pd.DataFrame({"unit": ["z"], "arm": ["z"], "gmv_platform": [5_000]})
    arms = {
        "c": {"share": "49.9%", "control": True},
        "t": {"share": "49.9%"},
        "z": {"share": "0.2%"},
    }
    alone = answer(units(gmv_platform=SALES)).profits[0].profit
    both = answer(pd.concat([units(gmv_platform=SALES), one]), arms=arms).profits[0].profit

    assert both.std_error == pytest.approx(alone.std_error)


def test_variance_kept_is_that_of_profit() -> None:
    """What adjustment gained is said of the number that it is printed beside."""
    rng = np.random.default_rng(2)
    before = rng.normal(0, 1_000, N)
    goods = rng.integers(0, 8_000, N)
    table = units(kept_sales=(SALES + before).round(), goods=goods, before=before)
    costs = {"goods": "from_orders"}
    plain = answer(table, costs=costs).profits[0]
    adjusted = answer(table, costs=costs, covariates=["before"]).profits[0]
    kept = (adjusted.profit.std_error / plain.profit.std_error) ** 2

    assert adjusted.variance_kept == pytest.approx(kept, rel=1e-3)


# ---- verdicts ---------------------------------------------------------------------------


def test_a_guardrail_that_cannot_be_measured_blocks_shipping() -> None:
    """A promise about return rates is not kept by a table without returns."""
    table = units(gmv_platform=SALES + TREATED * 2_000)
    promise = {"must_not_worsen": {"return_rate": "1 point"}}
    try:
        verdict = answer(table, decide=promise).decisions[0].verdict
    except UpliftlabError:
        verdict = "refused"

    assert verdict != "ship"


def test_a_campaign_that_saves_money_and_earns_reaches_any_hurdle() -> None:
    """Profit + 979 on cost - 300 is above 10 % of its cost beyond doubt."""
    table = units(
        gmv_platform=SALES + TREATED * 2_000, merchant_coupon=np.where(TREATED, 100, 400)
    )

    assert answer(table, decide={"iroi_at_least": "10%"}).decisions[0].verdict == "ship"


def test_a_unit_table_read_before_its_window_closed_gets_no_verdict() -> None:
    """A run that ended yesterday has no 60-day outcome."""
    found = answer(
        units(gmv_platform=SALES + TREATED * 2_000),
        follow_up="60 days",
        returns_final_after="21 days",
        run={"start": "2026-10-08", "end": "2026-10-21"},
        data={**UNITS, "as_of": "2026-10-22"},
    )

    assert found.decisions[0].verdict == "no verdict"


def test_intervals_of_secondary_metrics_agree_with_their_correction() -> None:
    """Where adjusted p is above 5 % the interval holds 0, and shares are widened alike."""
    rng = np.random.default_rng(3)
    shifts = (0.2, 0.075, 0.0, 0.0, 0.0, 0.0)
    columns = {
        f"m{i}": rng.normal(10, 1, N) + TREATED * shift for i, shift in enumerate(shifts)
    }
    found = answer(
        units(gmv_platform=SALES, **columns),
        metrics={name: {"mean": name} for name in columns},
        data={"units": {**UNITS["units"], "columns": {name: name for name in columns}}},
    )
    rows = [row for row in found.metrics if row.role == "secondary" and row.is_planned]

    for row in rows:
        low, high = row.effect.ci_low, row.effect.ci_high
        claims = bool(low > 0 or high < 0)
        assert claims == (row.p_adjusted <= 0.05), row.metric
        if claims:
            assert row.effect.rel_ci_low == pytest.approx(low / row.control, rel=0.02)


# ---- the clock --------------------------------------------------------------------------


START = pd.Timestamp("2026-10-01", tz="UTC")


def orders_tables() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    day = pd.to_timedelta(0.5 + 0.5 * (np.arange(N) % 3), unit="D")
    assigned = pd.DataFrame(
        {
            "unit": [f"u{i}" for i in range(N)],
            "arm": np.where(TREATED, "t", "c"),
            "assigned_at": START + day,
        }
    )
    who = np.flatnonzero(rng.random(N) < 0.3)
    base = rng.integers(8_000, 20_000, len(who))
    ours = np.where(TREATED[who], 600, 0)
    lines = pd.DataFrame(
        {
            "order_id": [f"o{i}" for i in who],
            "unit": [f"u{i}" for i in who],
            "paid_at": START
            + day[who]
            + pd.to_timedelta(rng.uniform(0, 13.9, len(who)), unit="D"),
            "list": base,
            "markdown": 0,
            "merchant_coupon": ours,
            "platform_coupon": 0,
            "settlement_base": base - ours,
            "cash": base - ours,
        }
    )
    back = lines[rng.random(len(lines)) < 0.4]
    refunds = pd.DataFrame(
        {
            "refund_id": back["order_id"],
            "order_id": back["order_id"],
            "type": "return_refund",
            "refunded_at": back["paid_at"] + pd.Timedelta(days=9),
            "amount": back["cash"],
        }
    )
    return {"assignments": assigned, "order_lines": lines, "refunds": refunds}


def orders_plan(tables: dict[str, pd.DataFrame], **changes: Any) -> Experiment:
    data: dict[str, Any] = {
        name: {"file": f"{name}.parquet", "money": "fen"} for name in tables
    }
    if "as_of" in changes:
        data["as_of"] = changes.pop("as_of")
    return plan(
        kind="smart_coupon",
        arms={"c": {"share": "50%", "control": True}, "t": {"share": "50%", "coupon": 6}},
        run={"start": "2026-10-01", "end": "2026-10-03"},
        follow_up="14 days",
        returns_final_after="21 days",
        data=data,
        **changes,
    )


def maturity(found: Analysis) -> str:
    return next(check.verdict for check in found.checks if check.name == "maturity")


def test_one_order_dated_years_ahead_does_not_make_returns_final() -> None:
    """Data that end on day 17 stay immature beside one typing error in a date."""
    tables = orders_tables()
    late = tables["refunds"]["refunded_at"] >= START + pd.Timedelta(days=17)
    tables["refunds"] = tables["refunds"][~late]
    stray = (
        tables["order_lines"]
        .iloc[[0]]
        .assign(order_id="stray", unit="stranger", paid_at=START + pd.Timedelta(days=4_000))
    )
    tables["order_lines"] = pd.concat([tables["order_lines"], stray])

    assert maturity(run(orders_plan(tables), tables)) != "pass"


def test_without_a_refunds_source_nobody_says_that_returns_are_final() -> None:
    """Returns that nobody could read are not booked, however late it is."""
    tables = orders_tables()
    del tables["refunds"]

    assert maturity(run(orders_plan(tables, as_of="2026-12-31"), tables)) != "pass"


def test_a_longer_window_that_is_still_open_leaves_the_headline_its_verdict() -> None:
    """A 60-day window shown beside is no reason to withhold 14 mature days."""
    tables = orders_tables()
    found = run(orders_plan(tables, as_of="2026-11-20", other_windows=["60 days"]), tables)

    assert maturity(found) == "pass"
