"""What does one batch of customers leave in each table of the merchant?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.simulate.orders import ALL_DAYS, FIRST_DAYS
from upliftlab.simulate.population import DEAL_SEEKER, Bools, Ints, covariates, stream
from upliftlab.simulate.settings import DAY

if TYPE_CHECKING:
    import pyarrow as pa

    from upliftlab.simulate.settings import SmartCoupon
    from upliftlab.simulate.smart_coupon import Draw

Columns = dict[str, Any]

ID_PRIME, ID_STEP, ID_SPREAD = 2_147_483_647, 1_103_515_245, 2_000_000_003
FIRST_USER, FIRST_ORDER, ORDER_SPREAD = 10**18, 6 * 10**18, 10**9
SALT, ORDER_NUMBERS = 1_000_003, 100
CHINA_OFFSET = 8 * 3_600
VALID_DAYS = 14
PRODUCTS = 60
NAMES: dict[str, tuple[str, ...]] = {
    "city_tier": ("tier_1", "new_tier_1", "tier_2", "tier_3", "tier_4", "tier_5"),
    "device": ("android", "ios", "harmony", "tablet"),
    "age_band": ("18-23", "24-30", "31-40", "41-50", "51+"),
    "gender": ("female", "male", "unknown"),
    "price_band": ("low", "middle", "high"),
}


def user_ids(index: Ints) -> Ints:
    """Return the 19-digit ids of customers: one to one, and without any visible order.

    Examples:
        >>> [len(str(user)) for user in user_ids(np.arange(2))]
        [19, 19]
    """
    scattered = _scattered(index)
    return FIRST_USER + scattered * ID_SPREAD + scattered * SALT % ID_SPREAD


def rows(batch: Draw, number: int) -> dict[str, Columns]:
    """Return the columns of every table, except ``coupons``, for one batch.

    Args:
        batch: Customers and their orders.
        number: Running number of the batch; fixes its random features.
    """
    settings = batch.settings
    user = _text(user_ids(batch.people.index))
    events = stream(settings.seed, number, "events")
    tables = {
        "assignments": _assignments(batch, user),
        "users": _users(batch, user, stream(settings.seed, number, "features")),
        "exposures": _exposures(batch, user, events),
        **_order_tables(batch, user, events),
        "membership_events": _membership_events(batch, user, events),
    }
    as_of = int(settings.as_of.timestamp())
    for name, ts in (
        ("exposures", "event_ts"),
        ("coupon_events", "ts"),
        ("membership_events", "ts"),
    ):
        tables[name] = _filtered(tables[name], np.asarray(tables[name][ts]) < as_of)
    return tables


def coupon_rows(settings: SmartCoupon) -> Columns:
    """Return the columns of the table of coupons."""
    merchant_bp = round(10_000 * settings.merchant_share)
    faces = [100 * depth for depth in settings.depths if depth]
    smart = len(faces)
    has_shop = settings.shop_coupon_share > 0
    n = smart + has_shop
    start = int(settings.start_ts.timestamp())
    return {
        "coupon_id": [*(f"smart_{face // 100}" for face in faces), *["shop"] * has_shop],
        "type": ["smart"] * smart + ["shop"] * has_shop,
        "goal": [settings.goal] * smart + ["gmv"] * has_shop,
        "face_fen": [*faces, *[round(100 * settings.shop_coupon)] * has_shop],
        "threshold_fen": [round(100 * settings.threshold)] * smart + [0] * has_shop,
        "merchant_share_bp": [merchant_bp] * smart + [10_000] * has_shop,
        "platform_share_bp": [10_000 - merchant_bp] * smart + [0] * has_shop,
        "creator_share_bp": [0] * n,
        "stackable": [True] * n,
        "valid_from": np.full(n, start),
        "valid_to": np.full(n, start + (settings.days + VALID_DAYS) * DAY),
    }


def _assignments(batch: Draw, user: pa.Array) -> Columns:
    return {
        "experiment_id": _constant(batch.settings.experiment_id, len(batch)),
        "unit_id": user,
        "arm": _named(batch.settings.arms, batch.arm),
        "assigned_ts": batch.assigned_s,
        "propensity": batch.propensity.astype(np.float64),
        "stratum": _named(("existing", "new"), batch.people.is_new),
    }


def _users(batch: Draw, user: pa.Array, rng: np.random.Generator) -> Columns:
    import pyarrow as pa

    people, n = batch.people, len(batch)
    known = covariates(people)
    midnight = (batch.assigned_s + CHINA_OFFSET) // DAY * DAY - CHINA_OFFSET
    risk = rng.integers(0, 60, n) + 40 * (people.segment == DEAL_SEEKER)
    return {
        "user_id": user,
        **known,
        "recency_days": pa.array(known["recency_days"], mask=people.is_new),
        **{
            name: _named(names, rng.integers(0, len(names), n)) for name, names in NAMES.items()
        },
        "hour": rng.integers(0, 24, n),
        "days_on_app": rng.integers(1, 2_000, n),
        "follows": rng.poisson(8, n),
        "carts_28": rng.poisson(2, n),
        "device_risk_score": risk,
        "snapshot_ts": midnight - 1,
    }


def _exposures(batch: Draw, user: pa.Array, rng: np.random.Generator) -> Columns:
    settings, n = batch.settings, len(batch)
    depth = 100 * np.asarray(settings.depths)[batch.served]
    return {
        "exposure_id": _suffixed(user, "-E"),
        "experiment_id": _constant(settings.experiment_id, n),
        "unit_id": user,
        "event_ts": batch.assigned_s + rng.integers(1, 600, n),
        "arm_served": _named(settings.arms, batch.served),
        "depth_fen": depth,
        "threshold_fen": np.where(depth > 0, round(100 * settings.threshold), 0),
        "ghost": depth == 0,
    }


def _order_tables(batch: Draw, user: pa.Array, rng: np.random.Generator) -> dict[str, Columns]:
    orders = batch.orders
    scattered = _scattered(batch.people.index[orders.unit])
    salted = scattered * SALT % (ORDER_SPREAD // ORDER_NUMBERS) * ORDER_NUMBERS
    order_id = _text(FIRST_ORDER + scattered * ORDER_SPREAD + salted + orders.number)
    line_id = _suffixed(order_id, "-1")
    return {
        "order_lines": _order_lines(batch, user, order_id, line_id, rng),
        "refunds": _refunds(batch, order_id, line_id, rng),
        "coupon_events": _coupon_events(batch, user, order_id, rng),
    }


def _order_lines(
    batch: Draw, user: pa.Array, order_id: pa.Array, line_id: pa.Array, rng: np.random.Generator
) -> Columns:
    import pyarrow as pa

    orders, n = batch.orders, len(batch.orders.unit)
    product = rng.integers(0, PRODUCTS, n)
    sku = 4 * product + rng.integers(0, 4, n)
    return {
        "line_id": line_id,
        "order_id": order_id,
        "user_id": user.take(pa.array(orders.unit)),
        "pay_ts": orders.pay_s,
        "ship_ts": _nullable_ts(orders.ship_s, orders.shipped),
        "product_id": _named(tuple(f"p{i:03d}" for i in range(PRODUCTS)), product),
        "sku_id": _named(tuple(f"s{i:04d}" for i in range(4 * PRODUCTS)), sku),
        "qty": np.ones(n, dtype=np.int32),
        "list_fen": orders.price_fen + orders.markdown_fen,
        "markdown_fen": orders.markdown_fen,
        "merchant_coupon_fen": orders.merchant_fen,
        "platform_coupon_fen": orders.platform_fen,
        "creator_coupon_fen": np.zeros(n, dtype=np.int64),
        "pay_promo_fen": np.zeros(n, dtype=np.int64),
        "cash_fen": orders.cash_fen,
        "settlement_base_fen": orders.sales_fen,
        "unit_cost_fen": orders.unit_cost_fen,
        "channel": _constant("creator_organic", n),
        "commission_type": _constant("organic", n),
        "commission_rate_bp": np.full(n, round(10_000 * batch.settings.rates.commission)),
        "agency_rate_bp": np.zeros(n, dtype=np.int32),
    }


def _refunds(
    batch: Draw, order_id: pa.Array, line_id: pa.Array, rng: np.random.Generator
) -> Columns:
    orders = batch.orders
    refunded = orders.cancelled | orders.returned
    grade = np.searchsorted((0.80, 0.95), rng.random(len(refunded)), side="right")
    lag = orders.refund_s - orders.pay_s
    columns = {
        "refund_id": _suffixed(order_id, "-R"),
        "order_id": order_id,
        "line_id": line_id,
        "type": _named(("return_refund", "cancel_preship"), orders.cancelled),
        "request_ts": orders.pay_s + (0.8 * lag).astype(np.int64),
        "refunded_ts": orders.refund_s,
        "amount_fen": orders.cash_fen,
        "qty": np.ones(len(refunded), dtype=np.int32),
        "restock_grade": _named(("A", "B", "scrap"), grade, known=orders.returned),
        "coupon_restored": orders.cancelled & orders.redeemed,
    }
    return _filtered(columns, refunded)


def _coupon_events(
    batch: Draw, user: pa.Array, order_id: pa.Array, rng: np.random.Generator
) -> Columns:
    import pyarrow as pa

    settings, orders, n = batch.settings, batch.orders, len(batch)
    holder = np.flatnonzero(batch.served > 0)
    buyer = orders.unit[orders.redeemed]
    claim_s = batch.assigned_s + (VALID_DAYS * DAY * rng.random(n)).astype(np.int64)
    before = orders.pay_s[orders.redeemed] - batch.assigned_s[buyer]
    claim_s[buyer] = batch.assigned_s[buyer] + (rng.random(len(buyer)) * before).astype(
        np.int64
    )
    claims = (batch.served > 0) & (rng.random(n) < 0.30)
    claims[buyer] = True
    claimer = np.flatnonzero(claims)
    restored = orders.cancelled & orders.redeemed
    shop_holder = np.flatnonzero(batch.potential.holds_shop_coupon)
    shop_used = orders.is_early & (orders.shop_fen > 0)
    # One entry per kind of event: units, label, seconds, orders, smart or shop coupon.
    kinds = (
        (holder, "issued", batch.assigned_s[holder], None, "smart"),
        (claimer, "claimed", claim_s[claimer], None, "smart"),
        (buyer, "redeemed", orders.pay_s[orders.redeemed], orders.redeemed, "smart"),
        (orders.unit[restored], "restored", orders.refund_s[restored], restored, "smart"),
        (shop_holder, "issued", batch.assigned_s[shop_holder], None, "shop"),
        (orders.unit[shop_used], "redeemed", orders.pay_s[shop_used], shop_used, "shop"),
    )
    names = (*(f"smart_{depth}" for depth in settings.depths), "shop")
    columns: dict[str, list[Any]] = {name: [] for name in (
        "coupon_instance_id", "coupon_id", "user_id", "event", "ts", "order_id")}  # fmt: skip
    for units, event, ts, mask, kind in kinds:
        users = user.take(pa.array(units))
        is_shop = kind == "shop"
        code = np.full(len(units), len(names) - 1) if is_shop else batch.served[units]
        columns["coupon_instance_id"].append(_suffixed(users, f"-{kind}"))
        columns["coupon_id"].append(_named(names, code))
        columns["user_id"].append(users)
        columns["event"].append(_constant(event, len(units)))
        columns["ts"].append(ts)
        columns["order_id"].append(
            pa.nulls(len(units), pa.string())
            if mask is None
            else order_id.filter(pa.array(mask))
        )
    ts = np.concatenate(columns.pop("ts"))
    joined = {name: pa.concat_arrays(parts) for name, parts in columns.items()}
    return joined | {"ts": ts}


def _membership_events(batch: Draw, user: pa.Array, rng: np.random.Generator) -> Columns:
    import pyarrow as pa

    potential, n = batch.potential, len(batch)
    joins = potential.joins[np.arange(n), batch.served]
    join_lag = (FIRST_DAYS * DAY * rng.random(n)).astype(np.int64)
    rest = ALL_DAYS * DAY - join_lag
    activate_lag = join_lag + (rest * rng.random(n)).astype(np.int64)
    joiner = np.flatnonzero(joins)
    active = np.flatnonzero(joins & potential.activates)
    unit = np.concatenate([joiner, active])
    return {
        "user_id": user.take(pa.array(unit)),
        "ts": batch.assigned_s[unit] + np.concatenate([join_lag[joiner], activate_lag[active]]),
        "event": _named(("join", "activate"), np.arange(len(unit)) >= len(joiner)),
    }


def _scattered(index: Ints) -> Ints:
    # One to one below the prime, so ids never collide.
    return (index.astype(np.int64) + 1) * ID_STEP % ID_PRIME


def _text(ids: Ints) -> pa.Array:
    import pyarrow as pa

    return pa.array(ids, pa.int64()).cast(pa.string())


def _suffixed(ids: pa.Array, suffix: str) -> pa.Array:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(ids, suffix, "")


def _named(
    names: tuple[str, ...], code: Ints | Bools, *, known: Bools | None = None
) -> pa.Array:
    import pyarrow as pa

    mask = None if known is None else ~known
    return pa.array(names, pa.string()).take(pa.array(code.astype(np.int64), mask=mask))


def _constant(value: str, n: int) -> pa.Array:
    import pyarrow as pa

    return pa.repeat(pa.scalar(value, pa.string()), n)


def _nullable_ts(seconds: Ints, known: Bools) -> pa.Array:
    import pyarrow as pa

    return pa.array(1_000_000 * seconds.astype(np.int64), mask=~known).cast(
        pa.timestamp("us", tz="UTC")
    )


def _filtered(columns: Columns, keep: Bools) -> Columns:
    import pyarrow as pa

    mask = pa.array(keep)
    return {
        name: values[keep] if isinstance(values, np.ndarray) else values.filter(mask)
        for name, values in columns.items()
    }
