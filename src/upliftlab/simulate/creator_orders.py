"""Which order lines, refunds and ad bills add up to what creators sold each week?"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.simulate.creator_noise import creator_stream
from upliftlab.simulate.dual_commission import BP, COMPONENTS
from upliftlab.simulate.settings import DAY, SHOP_TIME

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from upliftlab.simulate.creator_settings import Rates
    from upliftlab.simulate.dual_commission import CreatorDraw, World

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

CHANNELS = ("creator_organic", "creator_ads", "shelf_organic")
SUMS = (
    ("gmv_creator_organic", "kept_creator_organic"),
    ("gmv_creator_ads", "kept_creator_ads"),
    ("gmv_shelf", "kept_shelf"),
)
BASKET_FEN = 13_000
CANCELLED = 0.4
MARKDOWN, GOODS = 0.15, 0.323
PRODUCTS = 60


def order_schemas() -> dict[str, pa.Schema]:
    """Return the columns and types of the order tables.

    Examples:
        >>> sorted(order_schemas())
        ['ad_spend', 'order_lines', 'refunds']
    """
    import pyarrow as pa

    text, count, money = pa.string(), pa.int32(), pa.int64()
    ts, yes, day = pa.timestamp("us", tz="UTC"), pa.bool_(), pa.date32()
    columns: dict[str, dict[str, Any]] = {
        "order_lines": {
            "line_id": text, "order_id": text, "creator_id": text, "pay_ts": ts, "ship_ts": ts,
            "product_id": text, "sku_id": text, "qty": count, "list_fen": money,
            "markdown_fen": money, "merchant_coupon_fen": money, "platform_coupon_fen": money,
            "creator_coupon_fen": money, "pay_promo_fen": money, "cash_fen": money,
            "settlement_base_fen": money, "unit_cost_fen": money, "channel": text,
            "commission_type": text, "commission_rate_bp": count, "agency_rate_bp": count,
        },
        "refunds": {
            "refund_id": text, "order_id": text, "line_id": text, "type": text,
            "request_ts": ts, "refunded_ts": ts, "amount_fen": money, "qty": count,
            "restock_grade": text, "coupon_restored": yes,
        },
        "ad_spend": {
            "campaign_id": text, "plan_id": text, "creator_id": text, "channel": text,
            "date": day, "spend_fen": money,
        },
    }  # fmt: skip
    return {name: pa.schema(list(fields.items())) for name, fields in columns.items()}


def creator_orders(drawn: CreatorDraw, group: int) -> dict[str, pa.Table]:
    """Return the order tables of one cluster of creators, as observed.

    Settlement bases add up to the GMV of every creator, week and channel to the fen, those
    of lines without a refund to what is kept, and spend to the week's spend. Shelf lines
    carry the creator whose audience bought.

    Args:
        drawn: The draw.
        group: Cluster.

    Examples:
        >>> from upliftlab.simulate.creator_settings import creator_preset
        >>> from upliftlab.simulate.dual_commission import draw_creators
        >>> small = draw_creators(creator_preset("A", clusters=2, creators=2))
        >>> lines = creator_orders(small, 0)["order_lines"]
        >>> sum(lines["settlement_base_fen"].to_pylist()) == int(
        ...     np.rint(small.worlds["observed"].y[:2])[:, :, [0, 1, 5]].sum()
        ... )
        True
    """
    settings = drawn.settings
    members = np.flatnonzero(drawn.cluster == group)
    world = drawn.worlds["observed"]
    y = np.rint(world.y[members]).astype(np.int64)
    rng = creator_stream(settings.seed, "orders", group)
    lines = _lines(y, rng)
    lines |= _clock(lines, settings.first_week.isoformat(), rng)
    layout = order_schemas()
    columns = {
        "order_lines": _line_columns(lines, members, world, settings.rates, rng),
        "refunds": _refund_columns(lines, members, rng),
        "ad_spend": _spend_columns(y, members, settings.first_week.isoformat()),
    }
    return {name: _table(columns[name], layout[name]) for name in columns}


def _lines(y: Ints, rng: np.random.Generator) -> dict[str, Any]:
    """Split kept and lost sales of every creator, week and channel into baskets."""
    parts = [
        (channel, lost, _amount(y, names, lost=lost))
        for channel, names in enumerate(SUMS)
        for lost in (False, True)
    ]
    amount = np.stack([part[2] for part in parts], axis=2)
    creator, week, kind = np.nonzero(amount)
    totals = amount[creator, week, kind]
    # A line needs a few fen, so small sums stay whole.
    number = np.maximum(np.rint(totals / BASKET_FEN).astype(np.int64), 1)
    owner = np.repeat(np.arange(len(totals)), number)
    channel = np.array([part[0] for part in parts])[kind][owner]
    lost = np.array([part[1] for part in parts])[kind][owner]
    cancelled = lost & (rng.random(len(owner)) < CANCELLED)
    return {
        "base": _split(totals, number, rng),
        "creator": creator[owner],
        "week": week[owner],
        "channel": channel,
        "lost": lost,
        "cancelled": cancelled,
    }


def _amount(y: Ints, names: tuple[str, str], *, lost: bool) -> Ints:
    gmv, kept = (y[:, :, COMPONENTS.index(name)] for name in names)
    return np.asarray(gmv - kept if lost else kept)


def _split(totals: Ints, number: Ints, rng: np.random.Generator) -> Ints:
    """Cut each total into that many whole parts of similar size."""
    share = rng.uniform(0.5, 1.5, int(number.sum()))
    last = np.cumsum(number)
    running = np.cumsum(share)
    before = np.repeat(np.concatenate([[0.0], running[last[:-1] - 1]]), number)
    whole = np.repeat(running[last - 1], number) - before
    cuts = np.rint((running - before) / whole * np.repeat(totals, number)).astype(np.int64)
    cuts[last - 1] = totals
    parts: Ints = np.diff(cuts, prepend=0)
    first = last[:-1]
    parts[first] = cuts[first]
    return parts


def _clock(lines: Mapping[str, Any], monday: str, rng: np.random.Generator) -> dict[str, Ints]:
    start = int(datetime.fromisoformat(monday).replace(tzinfo=SHOP_TIME).timestamp())
    count = len(lines["base"])
    pay_s = start + 7 * DAY * lines["week"] + rng.integers(0, 7 * DAY, count)
    ship_s = pay_s + rng.integers(3_600, 2 * DAY, count)
    back = np.minimum(9 / 4 * rng.standard_gamma(4.0, count) + 2, 34) * DAY
    lag = np.where(lines["cancelled"], 1 + 6 * 3_600 * rng.standard_exponential(count), back)
    return {"pay_s": pay_s, "ship_s": ship_s, "refund_s": pay_s + lag.astype(np.int64)}


def _line_columns(
    lines: Mapping[str, Any],
    members: Ints,
    world: World,
    rates: Rates,
    rng: np.random.Generator,
) -> dict[str, Any]:
    import pyarrow as pa

    base, channel, count = lines["base"], lines["channel"], len(lines["base"])
    row = members[lines["creator"]]
    share = np.stack([world.organic, world.ads, np.zeros_like(world.ads)], axis=2)
    markdown = np.rint(base * MARKDOWN / (1 - MARKDOWN)).astype(np.int64)
    product = rng.integers(0, PRODUCTS, count)
    none = np.zeros(count, dtype=np.int64)
    order_id = _order_ids(members, count)
    return {
        "line_id": [f"{order}-1" for order in order_id],
        "order_id": order_id,
        "creator_id": [f"creator_{place:04d}" for place in row],
        "pay_ts": _moments(lines["pay_s"]),
        "ship_ts": pa.array(1_000_000 * lines["ship_s"], mask=lines["cancelled"]),
        "product_id": [f"p{place:03d}" for place in product],
        "sku_id": [f"s{4 * place:04d}" for place in product],
        "qty": none + 1,
        "list_fen": base + markdown,
        "markdown_fen": markdown,
        **dict.fromkeys(
            ("merchant_coupon_fen", "platform_coupon_fen", "creator_coupon_fen"), none
        ),
        "pay_promo_fen": none,
        "cash_fen": base,
        "settlement_base_fen": base,
        "unit_cost_fen": np.rint(GOODS * base).astype(np.int64),
        "channel": [CHANNELS[code] for code in channel],
        "commission_type": [("organic", "ads", "none")[code] for code in channel],
        "commission_rate_bp": np.rint(BP * share[row, lines["week"], channel]).astype(int),
        "agency_rate_bp": np.where(channel < 2, rates.agency_bp, 0),
    }


def _refund_columns(
    lines: Mapping[str, Any], members: Ints, rng: np.random.Generator
) -> dict[str, Any]:
    lost = np.flatnonzero(lines["lost"])
    order_id = np.array(_order_ids(members, len(lines["base"])), dtype=object)[lost].tolist()
    cancelled = lines["cancelled"][lost]
    pay_s, refund_s = lines["pay_s"][lost], lines["refund_s"][lost]
    grade = np.searchsorted((0.80, 0.95), rng.random(len(lost)), side="right")
    return {
        "refund_id": [f"{order}-R" for order in order_id],
        "order_id": order_id,
        "line_id": [f"{order}-1" for order in order_id],
        "type": ["cancel_preship" if yes else "return_refund" for yes in cancelled],
        "request_ts": _moments(pay_s + (0.8 * (refund_s - pay_s)).astype(np.int64)),
        "refunded_ts": _moments(refund_s),
        "amount_fen": lines["base"][lost],
        "qty": np.ones(len(lost), dtype=np.int64),
        "restock_grade": [
            None if yes else ("A", "B", "scrap")[code]
            for yes, code in zip(cancelled, grade, strict=True)
        ],
        "coupon_restored": np.zeros(len(lost), dtype=bool),
    }


def _spend_columns(y: Ints, members: Ints, monday: str) -> dict[str, Any]:
    spend = y[:, :, COMPONENTS.index("ad_spend")]
    by_day = np.diff(np.arange(8) * spend[:, :, None] // 7, axis=2)
    row, week, weekday = (index.reshape(-1) for index in np.indices(by_day.shape))
    names = [f"{members[place]:04d}" for place in row]
    return {
        "campaign_id": [f"campaign_{name}" for name in names],
        "plan_id": [f"plan_{name}" for name in names],
        "creator_id": [f"creator_{name}" for name in names],
        "channel": ["creator_ads"] * len(names),
        "date": np.datetime64(monday, "D") + 7 * week + weekday,
        "spend_fen": by_day.reshape(-1),
    }


def _order_ids(members: Ints, count: int) -> list[str]:
    first = 7 * 10**18 + int(members[0]) * 10**12
    return [str(first + 1_000_003 * place) for place in range(count)]


def _moments(seconds: Ints) -> Ints:
    return 1_000_000 * seconds


def _table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    arrays = []
    for field in schema:
        values = columns[field.name]
        array = values if isinstance(values, pa.Array) else pa.array(values)
        arrays.append(array.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)
