"""Orders, refunds and spend become units x periods, and nothing is lost on the way."""

from __future__ import annotations

from datetime import date, datetime

import pyarrow as pa
import pytest

from upliftlab.data.engine import embedded
from upliftlab.data.panel import NEVER
from upliftlab.data.panel_grain import _outside
from upliftlab.data.panel_orders import panel_from_orders
from upliftlab.data.panel_table import read_panel
from upliftlab.errors import DataError


@pytest.fixture(scope="module")
def engine():
    """An embedded engine, closed after use."""
    opened = embedded(threads=1)
    yield opened
    opened.close()


def at(text):
    """Shop time."""
    return datetime.fromisoformat(text)


def lines(*rows):
    """Order lines of 100 yuan base by creator a in the week of Monday 5 January 2026."""
    base = {
        "creator_id": "a",
        "pay_ts": at("2026-01-06 12:00"),
        "ship_ts": at("2026-01-07 12:00"),
        "channel": "creator_organic",
        "settlement_base_fen": 10_000,
        "cash_fen": 10_000,
        "commission_rate_bp": 2_000,
        "agency_rate_bp": 300,
        "product_id": "p",
    }
    filled = [
        {"line_id": f"L{i}", "order_id": f"O{i}"} | base | row for i, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(filled)


LINES = lines(
    {},
    {"channel": "creator_ads", "commission_rate_bp": 3_000},
    # Monday 00:30 in Shanghai is still Sunday in UTC; the shop's clock counts.
    {"pay_ts": at("2026-01-12 00:30")},
    {"creator_id": "b", "channel": "shelf_organic"},
    {"creator_id": None, "channel": "self_live_ads"},
    {"creator_id": "z"},
    {"creator_id": "b", "order_id": "O0", "settlement_base_fen": 2_500, "cash_fen": 2_500},
    {"pay_ts": None},
)

REFUNDS = pa.Table.from_pylist(
    [
        {
            "refund_id": "R0",
            "order_id": "O1",
            "line_id": "L1",
            "type": "return_refund",
            "refunded_ts": at("2026-01-20 12:00"),
            "amount_fen": 10_000,
        },
        {
            "refund_id": "R1",
            "order_id": "O3",
            "line_id": "L3",
            "type": "cancel_preship",
            "refunded_ts": at("2026-01-06 13:00"),
            "amount_fen": 10_000,
        },
    ]
)

SPEND = pa.table(
    {
        "creator_id": ["a", "c", None],
        "date": [date(2026, 1, 12), date(2026, 1, 18), date(2026, 1, 5)],
        "spend_fen": [700, 50, 9],
    }
)

ROSTER = pa.table(
    {
        "creator_id": ["a", "b", "c"],
        "cluster_id": ["north", "north", "south"],
        "starts_on": [date(2026, 1, 12), date(2026, 1, 12), None],
    }
)


def built(engine, **changes):
    """The panel of the small shop."""
    given = {"order_lines": LINES, "refunds": REFUNDS, "ad_spend": SPEND, "roster": ROSTER}
    given = {name: each for name, each in (given | changes).items() if each is not None}
    return panel_from_orders(engine, given)


@pytest.fixture(scope="module")
def small(engine):
    """The panel of the small shop, built once."""
    return built(engine)


def by_key(engine, table, key="unit"):
    """(unit or part, period) -> components that are not zero."""
    return {
        (row.pop(key), row.pop("period").isoformat()): {
            name: value
            for name, value in row.items()
            if value and not isinstance(value, str | date)
        }
        for row in engine.rows(table)
    }


def test_lines_add_up_by_creator_week_and_channel(engine, small):
    """Worked by hand: 100 yuan a line, 20 % commission organic, 30 % on ads, 3 % agency."""
    rows = by_key(engine, small.table)
    first = rows["a", "2026-01-05"]

    assert len(rows) == 3 * 2
    assert first["gmv_creator_organic"] == first["kept_creator_organic"] == 10_000
    assert first["gmv_creator_ads"] == 10_000
    assert "kept_creator_ads" not in first
    assert first["commission"] == 2_000
    assert first["agency_fee"] == 300
    assert (first["orders"], first["orders_returned"], first["orders_kept"]) == (2, 1, 1)
    assert rows["a", "2026-01-12"]["kept_creator_organic"] == 10_000
    assert rows["a", "2026-01-12"]["ad_spend"] == 700
    assert rows["b", "2026-01-05"]["gmv_shelf"] == 10_000
    assert rows["b", "2026-01-05"]["gmv_creator_organic"] == 2_500
    assert (rows["b", "2026-01-05"]["orders"], rows["b", "2026-01-05"]["orders_cancelled"]) == (
        2,
        1,
    )


def test_units_without_orders_are_zeros(engine, small):
    """A creator of the roster who sold nothing has every week; spend without sales counts."""
    rows = by_key(engine, small.table)

    assert rows["b", "2026-01-12"] == {}
    assert rows["c", "2026-01-05"] == {}
    assert rows["c", "2026-01-12"] == {"ad_spend": 50}


def test_what_belongs_to_no_unit_stands_apart(engine, small):
    """The shop's own live room, other creators, and spend that names nobody."""
    shop = by_key(engine, small.shop, "part")

    assert shop["without a creator", "2026-01-05"]["gmv_self_live"] == 10_000
    assert shop["without a creator", "2026-01-05"]["ad_spend"] == 9
    assert shop["without a creator", "2026-01-12"] == {}
    assert shop["outside the roster", "2026-01-05"]["gmv_creator_organic"] == 10_000
    assert (
        "1 creators sold or spent and are not in the roster; they are in the shop's table"
        in small.notes
    )


def test_every_paid_fen_is_somewhere(engine, small):
    """Panel and shop together hold all paid lines and all spend; the rest is counted."""
    everything = [*engine.rows(small.table), *engine.rows(small.shop)]

    assert sum(row["gmv_merchant"] for row in everything) == 6 * 10_000 + 2_500
    assert sum(row["ad_spend"] for row in everything) == 759
    for row in everything:
        assert row["kept_sales"] == sum(
            row[f"kept_{c}"] for c in ("creator_organic", "creator_ads", "self_live", "shelf")
        )
    assert [(each.rule, each.rows) for each in small.set_aside] == [("never paid", 1)]


def test_the_long_table_reads_as_a_panel(engine, small):
    """Its own columns are the keywords of read_panel."""
    panel = read_panel(engine, small.table, **small.columns)

    assert panel.units.tolist() == ["a", "b", "c"]
    assert panel.periods == ("2026-01-05", "2026-01-12")
    assert panel.start.tolist() == [1, 1, NEVER]
    assert panel.cluster.tolist() == [0, 0, 1]
    assert panel.is_balanced
    assert panel.y[0, :, panel.names.index("gmv_creator_organic")].tolist() == [10_000, 10_000]


def test_without_a_roster_those_who_sold_or_spent_are_the_units(engine):
    """And it is said."""
    found = built(engine, roster=None)

    assert {key[0] for key in by_key(engine, found.table)} == {"a", "b", "c", "z"}
    assert "no roster: creators who never sold or spent are not in the panel" in found.notes


def test_the_panel_may_end_before_the_data(engine):
    """What lies outside is set aside and counted."""
    given = {"order_lines": LINES, "ad_spend": SPEND, "roster": ROSTER}
    found = panel_from_orders(engine, given, first=date(2026, 1, 7), last=date(2026, 1, 9))

    assert {key[1] for key in by_key(engine, found.table)} == {"2026-01-05"}
    assert [(each.source, each.rule, each.rows) for each in found.set_aside] == [
        ("order_lines", "never paid", 1),
        ("order_lines", "outside the panel's periods", 1),
        ("ad_spend", "outside the panel's periods", 2),
    ]
    assert "no refunds source: sales are before cancellations and returns" in found.notes


def terms(*rows):
    base = {"creator_id": "a", "valid_from": date(2026, 1, 1), "valid_to": None}
    made = [base | {"organic_bp": 2_000, "ads_bp": 3_000} | row for row in rows]
    return pa.Table.from_pylist(made)


def test_rates_are_compared_with_the_terms(engine):
    """Creator a was raised to 25 % on the 12th and booked at 20 %; b and z agreed nothing."""
    agreed = terms(
        {"valid_to": date(2026, 1, 12)}, {"valid_from": date(2026, 1, 12), "organic_bp": 2_500}
    )
    found = built(engine, creator_terms=agreed)

    assert found.notes[:2] == (
        (
            "1 of 5 creators' order lines carry another commission rate than the terms agreed; "
            "commission is counted as booked"
        ),
        "2 of 5 creators' order lines were paid when no terms were in force",
    )


def test_terms_of_a_product_come_first(engine):
    """A special rate for the product explains what the general terms do not."""
    general, special = {"organic_bp": 100, "ads_bp": 100}, {"product_id": "p"}
    found = built(engine, creator_terms=terms(general | {"product_id": None}, special))

    assert (
        found.notes[0] == "2 of 5 creators' order lines were paid when no terms were in force"
    )


def test_overlapping_terms_are_refused(engine):
    """Two rates at once agree nothing."""
    agreed = terms({"valid_to": date(2026, 1, 13)}, {"valid_from": date(2026, 1, 12)})
    with pytest.raises(DataError) as caught:
        built(engine, creator_terms=agreed)

    assert str(caught.value) == (
        "1 terms in 'creator_terms' reach into the next terms of the same creator and product, "
        "such as those of 'a'; end each before the next begins."
    )


def test_what_the_tables_must_hold(engine):
    """A rate where a creator sold, a unit once in the roster, a known period."""
    with pytest.raises(DataError) as blank:
        built(engine, order_lines=lines({}, {"commission_rate_bp": None}))
    with pytest.raises(DataError) as twice:
        built(engine, roster=pa.concat_tables([ROSTER, ROSTER.slice(0, 1)]))
    with pytest.raises(DataError) as period:
        panel_from_orders(engine, {"order_lines": LINES}, period="fortnight")

    assert str(blank.value) == (
        "column 'commission_rate_bp' of table 'order_lines' is empty in 1 of 2 rows; it must "
        "be filled in every row."
    )
    assert str(twice.value) == (
        "table 'roster' has 1 rows whose 'unit' came before, such as 'a'; each 'unit' must "
        "come once."
    )
    assert str(period.value) == (
        "period of the panel is 'fortnight'; it must be one of ['day', 'week', 'month', "
        "'quarter', 'year']."
    )


def test_nothing_that_was_given_is_changed(engine):
    """Tables of the caller stay as they were."""
    before = LINES.to_pylist()
    panel_from_orders(engine, {"order_lines": LINES, "refunds": REFUNDS})

    assert before == LINES.to_pylist()
    assert set(REFUNDS.column("order_id").to_pylist()) == {"O1", "O3"}


def test_what_is_kept_beside_the_units_is_told(engine, small):
    """The share of kept sales that no unit's extra profit can hold."""
    told = _outside(engine, small)
    kept = [name for name in small.components if name == "kept_sales"] or [
        name for name in small.components if name.startswith("kept_")
    ]
    rows = engine.rows(small.shop)
    inside = sum(row[name] for row in engine.rows(small.table) for name in kept)
    by_part = {
        part: sum(row[name] for row in rows if row["part"] == part for name in kept)
        for part in {row["part"] for row in rows}
    }
    everything = inside + sum(by_part.values())

    assert told == tuple(
        f"{n / everything:.1%} of kept sales are {part}: what the change takes from them, or "
        "brings them, is not in extra profit"
        for part, n in sorted(by_part.items())
        if n > 0
    )
    assert told
