"""Do the written tables hold what was drawn, and nothing that could not be known yet?"""

from __future__ import annotations

import json
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from upliftlab.simulate import (
    SmartCoupon,
    draw,
    preset,
    smart_coupon,
    truth,
    unit_components,
    write,
)
from upliftlab.simulate.rows import user_ids
from upliftlab.simulate.tables import schemas

N = 6_000
WORLDS = ("gmv_up_profit_down", "immature_returns", "stacking", "leak", "srm", "fraud")
TIMES = {
    "assignments": ("assigned_ts",),
    "exposures": ("event_ts",),
    "order_lines": ("pay_ts", "ship_ts"),
    "refunds": ("request_ts", "refunded_ts"),
    "coupon_events": ("ts",),
    "membership_events": ("ts",),
}

# Components of one order, written from the names of the columns alone.
BY_ORDER = {
    "gmv_list": "list_fen",
    "gmv_platform": "list_fen - markdown_fen",
    "merchant_coupon": "merchant_coupon_fen",
    "platform_coupon": "platform_coupon_fen",
    "gmv_merchant": "settlement_base_fen",
    "cash": "cash_fen",
    "cancelled_sales": "settlement_base_fen * cancelled",
    "returned_sales": "settlement_base_fen * returned",
    "kept_sales": "settlement_base_fen * kept",
    "kept_creator_organic": "settlement_base_fen * kept * (channel = 'creator_organic')::INT",
    "goods": "unit_cost_fen * qty * kept",
    "goods_returned": "unit_cost_fen * qty * returned",
    "kept_merchant_coupon": "merchant_coupon_fen * kept",
    "kept_platform_coupon": "platform_coupon_fen * kept",
    "orders": "(line_id IS NOT NULL)::INT",
    "orders_shipped": "(ship_ts IS NOT NULL)::INT",
    "orders_cancelled": "cancelled",
    "orders_returned": "returned",
    "orders_kept": "kept",
    "orders_redeemed": "redeemed",
}

UNITS = """
    WITH flagged AS (
        SELECT l.*, a.assigned_ts,
               coalesce(r.type = 'cancel_preship', false)::INT AS cancelled,
               coalesce(r.type = 'return_refund', false)::INT AS returned,
               (r.type IS NULL)::INT AS kept,
               (e.order_id IS NOT NULL)::INT AS redeemed
        FROM order_lines l JOIN assignments a ON l.user_id = a.unit_id
        LEFT JOIN refunds r USING (line_id)
        LEFT JOIN (SELECT order_id FROM coupon_events
                   WHERE event = 'redeemed' AND coupon_id LIKE 'smart%') e
               ON e.order_id = l.order_id),
    inside AS (SELECT * FROM flagged WHERE pay_ts >= assigned_ts
               AND pay_ts < assigned_ts + INTERVAL {days} DAY)
    SELECT u.unit_id, {sums}, (count(user_id) > 0)::DOUBLE AS buyers,
           coalesce(max(kept), 0)::DOUBLE AS kept_buyers
    FROM assignments u LEFT JOIN inside ON inside.user_id = u.unit_id
    GROUP BY u.unit_id"""


@pytest.fixture(scope="module", params=WORLDS)
def world(request, tmp_path_factory):
    """Settings and folder of a written world of several batches."""
    settings = preset(request.param, customers=N)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smart_coupon, "BATCH", 2_500)
        folder = write(settings, tmp_path_factory.mktemp(request.param) / "tables")
        drawn = draw(settings)
    return settings, folder, drawn


def _rows(folder, query):
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name in schemas():
            connection.execute(f"CREATE VIEW {name} AS FROM '{folder / name}.parquet'")
        return connection.execute(query).fetchall()


def _aggregated(folder, days):
    sums = [f"coalesce(sum({sql}), 0)::DOUBLE AS {name}" for name, sql in BY_ORDER.items()]
    return _rows(folder, UNITS.format(days=days, sums=", ".join(sums)))


@pytest.mark.parametrize("days", [14, 60])
def test_tables_add_up_to_the_unit_components(world, days):
    """Aggregating the written tables gives exactly the components of the draw."""
    _, folder, drawn = world
    units = unit_components(drawn)
    found = {str(row[0]): row[1:] for row in _aggregated(folder, days)}

    inside = [place for place, name in enumerate(units.names) if name.endswith(f"@{days}d")]
    ids = [str(user) for user in user_ids(drawn.people.index)]
    assert set(found) == set(ids)
    assert (np.array([found[user] for user in ids]) == units.values[:, inside]).all()
    own = [*BY_ORDER, "buyers", "kept_buyers"]
    assert [units.names[place] for place in inside] == [f"{name}@{days}d" for name in own]


def test_every_line_satisfies_the_ledger_identity(world):
    """List price is markdown, coupons, payment promotion and cash, on every single row."""
    _, folder, _ = world
    (broken, rows, low) = _rows(
        folder,
        """SELECT count(*) FILTER (list_fen <> markdown_fen + merchant_coupon_fen
               + platform_coupon_fen + creator_coupon_fen + pay_promo_fen + cash_fen
               OR settlement_base_fen <> list_fen - markdown_fen - merchant_coupon_fen
               OR settlement_base_fen <> cash_fen + platform_coupon_fen
                  + creator_coupon_fen + pay_promo_fen),
               count(*), min(cash_fen) FROM order_lines""",
    )[0]

    assert broken == 0
    assert rows > 500
    assert low > 0


def test_markdown_is_an_eighth_of_the_list_price(world):
    """Markdown is about 12.5 % of list, and goods cost 32.3 % of the price after it."""
    _, folder, _ = world
    markdown, goods = _rows(
        folder,
        """SELECT sum(markdown_fen) / sum(list_fen),
               sum(unit_cost_fen) / sum(list_fen - markdown_fen) FROM order_lines""",
    )[0]

    assert markdown == pytest.approx(0.125, abs=0.01)
    assert goods == pytest.approx(0.323, abs=1e-4)


def test_nothing_is_known_before_it_happened(world):
    """No fact carries a time from ``as_of`` on, and clocks run forward."""
    settings, folder, _ = world

    for table, columns in TIMES.items():
        for column in columns:
            latest = pc.max(pq.read_table(folder / f"{table}.parquet")[column]).as_py()
            assert latest < settings.as_of
    ((disorder,),) = _rows(
        folder,
        """SELECT count(*) FROM order_lines l JOIN assignments a ON a.unit_id = l.user_id
           JOIN users u USING (user_id) LEFT JOIN refunds r USING (line_id)
           WHERE u.snapshot_ts >= a.assigned_ts OR l.pay_ts <= a.assigned_ts
              OR l.ship_ts <= l.pay_ts OR r.request_ts < l.pay_ts
              OR r.refunded_ts < r.request_ts OR r.request_ts < l.ship_ts
              OR (r.type = 'cancel_preship' AND l.ship_ts IS NOT NULL)
              OR (r.type = 'return_refund' AND l.ship_ts IS NULL)""",
    )
    assert disorder == 0


def test_ids_are_text_of_19_digits_and_unique(world):
    """Customers, orders and lines are unique; ids too long for a double are text."""
    _, folder, drawn = world
    users, known = _rows(
        folder,
        "SELECT count(*), count(DISTINCT user_id) FILTER (length(user_id) = 19) FROM users",
    )[0]
    lines, distinct = _rows(
        folder, "SELECT count(*), count(DISTINCT (line_id, order_id)) FROM order_lines"
    )[0]

    assert users == known == len(drawn)
    assert lines == distinct == len(drawn.orders.unit)
    strangers = "SELECT count(*) FROM order_lines ANTI JOIN users USING (user_id)"
    assert _rows(folder, strangers) == [(0,)]


def test_refunds_give_back_the_cash(world):
    """Each line is refunded at most once, by what was paid; cancelled coupons come back."""
    _, folder, _ = world
    ((odd, twice, restored, events),) = _rows(
        folder,
        """SELECT count(*) FILTER (r.amount_fen <> l.cash_fen),
               count(*) - count(DISTINCT line_id), count(*) FILTER (coupon_restored),
               (SELECT count(*) FROM coupon_events WHERE event = 'restored')
           FROM refunds r JOIN order_lines l USING (line_id)""",
    )

    assert (odd, twice) == (0, 0)
    assert restored == events


def test_coupon_events_follow_issue_claim_redeem(world):
    """Who redeems has claimed before, who claims was issued a coupon of the arm served."""
    _, folder, _ = world
    ((disorder,),) = _rows(
        folder,
        """SELECT count(*) FROM coupon_events d
           LEFT JOIN coupon_events c ON c.coupon_instance_id = d.coupon_instance_id
                AND c.event = 'claimed'
           LEFT JOIN coupon_events i ON i.coupon_instance_id = d.coupon_instance_id
                AND i.event = 'issued'
           WHERE d.event = 'redeemed' AND (i.ts IS NULL OR i.ts >= d.ts
                OR (d.coupon_id <> 'shop' AND (c.ts IS NULL OR c.ts < i.ts OR c.ts > d.ts)))""",
    )
    wrong_arm = """SELECT count(*) FROM coupon_events c
                   JOIN exposures e ON e.unit_id = c.user_id
                   WHERE c.coupon_id LIKE 'smart%'
                     AND c.coupon_id <> replace(e.arm_served, 'coupon', 'smart')"""

    assert disorder == 0
    assert _rows(folder, wrong_arm) == [(0,)]


def test_who_activates_has_joined(world):
    """Activation follows joining, and only existing non-members join."""
    _, folder, _ = world
    ((joins, strangers, unjoined),) = _rows(
        folder,
        """SELECT count(*) FILTER (m.event = 'join'),
               count(*) FILTER (u.is_member OR u.is_new_customer),
               count(*) FILTER (m.event = 'activate' AND (j.ts IS NULL OR j.ts > m.ts))
           FROM membership_events m JOIN users u USING (user_id)
           LEFT JOIN membership_events j ON j.user_id = m.user_id AND j.event = 'join'""",
    )

    assert joins > 20
    assert (strangers, unjoined) == (0, 0)


def test_columns_are_those_of_the_schemas(world):
    """Every table is written with the promised columns and types."""
    _, folder, _ = world

    for name, schema in schemas().items():
        assert pq.read_schema(folder / f"{name}.parquet").equals(schema)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["truth.json", *(f"{name}.parquet" for name in schemas())]
    )


def test_the_written_truth_is_the_truth(world):
    """``truth.json`` holds what ``truth`` returns."""
    _, folder, drawn = world
    written = json.loads((folder / "truth.json").read_text(encoding="utf-8"))

    for name, means in truth(drawn).means["all"].items():
        assert written["means"]["all"][name] == pytest.approx(list(means))


def test_coupons_name_their_funders():
    """Shares of merchant and platform add up, and a stacked shop coupon is all ours."""
    from upliftlab.simulate.rows import coupon_rows

    columns = coupon_rows(replace(preset("stacking"), merchant_share=0.2))

    assert columns["coupon_id"] == ["smart_5", "smart_10", "smart_20", "shop"]
    assert columns["merchant_share_bp"] == [2_000, 2_000, 2_000, 10_000]
    assert columns["platform_share_bp"] == [8_000, 8_000, 8_000, 0]


def test_the_same_settings_write_the_same_bytes(tmp_path):
    """Writing twice gives files that agree to the byte, also over an older folder."""
    settings = SmartCoupon(customers=2_000)
    write(replace(settings, seed=9), tmp_path / "b")
    folders = [write(settings, tmp_path / name) for name in "ab"]

    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_an_interrupted_write_leaves_what_was_there(tmp_path):
    """If writing stops half-way, no folder appears and an older one stays whole."""
    settings = SmartCoupon(customers=1_000)
    old = write(settings, tmp_path / "tables")
    before = (old / "users.parquet").read_bytes()

    def stop(done, total):
        assert (done, total) == (1_000, 1_000)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(replace(settings, seed=2), tmp_path / "tables", progress=stop)
    with pytest.raises(KeyboardInterrupt):
        write(settings, tmp_path / "new", progress=stop)

    assert [path.name for path in tmp_path.iterdir()] == ["tables"]
    assert (old / "users.parquet").read_bytes() == before


def test_cancellations_come_by_an_exponential_clock():
    """About 15 % of cancellations are booked within the hour."""
    orders = draw(SmartCoupon(customers=200_000)).orders
    lag = (orders.refund_s - orders.pay_s)[orders.cancelled]

    # 1 - exp(-1/6) = .1535
    assert (lag < 3_600).mean() == pytest.approx(0.1535, abs=4 * np.sqrt(0.13 / len(lag)))
