"""How does the simulated experiment look in the merchant's tables?"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.simulate.rows import coupon_rows, rows
from upliftlab.simulate.smart_coupon import draw_batches
from upliftlab.simulate.truths import Tally, summarise, tally

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from upliftlab.simulate.settings import SmartCoupon

MONEY = (
    "list", "markdown", "merchant_coupon", "platform_coupon", "creator_coupon", "pay_promo",
    "cash",
)  # fmt: skip


def write(
    settings: SmartCoupon,
    folder: Path | str,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the experiment as order-grain Parquet tables and ``truth.json``.

    Tables: assignments, users, exposures, order_lines, refunds, coupons, coupon_events and
    membership_events, in the schemas of a merchant's warehouse: ids are text, times UTC, money
    whole fen. Facts from ``settings.as_of`` on are absent. The folder appears only when
    complete, replaces an older one, and is the same to the byte for the same settings.

    Args:
        settings: The world to draw; memory does not grow with its customers.
        folder: Where the tables go.
        progress: Called after every batch with customers done and customers in all.

    Returns:
        The folder.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".simulating-", dir=folder.parent) as place:
        new, old = Path(place) / "new", Path(place) / "old"
        new.mkdir()
        tallied = _write_tables(settings, new, progress)
        found = summarise(settings, tallied).to_dict()
        (new / "truth.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    return folder


def schemas() -> dict[str, pa.Schema]:
    """Return the columns and types of every table."""
    import pyarrow as pa

    text, count, money, yes = pa.string(), pa.int32(), pa.int64(), pa.bool_()
    real, ts = pa.float64(), pa.timestamp("us", tz="UTC")
    columns: dict[str, dict[str, Any]] = {
        "assignments": {
            "experiment_id": text, "unit_id": text, "arm": text, "assigned_ts": ts,
            "propensity": real, "stratum": text,
        },
        "users": {
            "user_id": text, "is_new_customer": yes, "is_member": yes, "recency_days": real,
            "frequency_365": count, "coupon_share_365": real, "watch_minutes_28": real,
            "pre_profit_fen": money, "city_tier": text, "device": text, "age_band": text,
            "gender": text, "price_band": text, "hour": count, "days_on_app": count,
            "follows": count, "carts_28": count, "device_risk_score": count,
            "snapshot_ts": ts,
        },
        "exposures": {
            "exposure_id": text, "experiment_id": text, "unit_id": text, "event_ts": ts,
            "arm_served": text, "depth_fen": money, "threshold_fen": money, "ghost": yes,
        },
        "order_lines": {
            "line_id": text, "order_id": text, "user_id": text, "pay_ts": ts, "ship_ts": ts,
            "product_id": text, "sku_id": text, "qty": count,
            **{f"{name}_fen": money for name in (*MONEY, "settlement_base", "unit_cost")},
            "channel": text, "commission_type": text, "commission_rate_bp": count,
            "agency_rate_bp": count,
        },
        "refunds": {
            "refund_id": text, "order_id": text, "line_id": text, "type": text,
            "request_ts": ts, "refunded_ts": ts, "amount_fen": money, "qty": count,
            "restock_grade": text, "coupon_restored": yes,
        },
        "coupons": {
            "coupon_id": text, "type": text, "goal": text, "face_fen": money,
            "threshold_fen": money, "merchant_share_bp": count, "platform_share_bp": count,
            "creator_share_bp": count, "stackable": yes, "valid_from": ts, "valid_to": ts,
        },
        "coupon_events": {
            "coupon_instance_id": text, "coupon_id": text, "user_id": text, "event": text,
            "ts": ts, "order_id": text,
        },
        "membership_events": {"user_id": text, "ts": ts, "event": text},
    }  # fmt: skip
    return {name: pa.schema(list(fields.items())) for name, fields in columns.items()}


def _write_tables(
    settings: SmartCoupon, folder: Path, progress: Callable[[int, int], None] | None
) -> Tally:
    import pyarrow.parquet as pq

    tallies: list[Tally] = []
    with ExitStack() as stack:
        layout = schemas()
        writers = {
            name: stack.enter_context(
                pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd")
            )
            for name, schema in layout.items()
        }
        writers["coupons"].write_table(_table(coupon_rows(settings), layout["coupons"]))
        for number, batch in enumerate(draw_batches(settings)):
            for name, columns in rows(batch, number).items():
                writers[name].write_table(_table(columns, layout[name]))
            tallies.append(tally(batch))
            if progress is not None:
                progress(int(batch.people.index[-1]) + 1, settings.customers)
    return reduce(add, tallies)


def _table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {field.name: _typed(columns[field.name], field.type) for field in schema}, schema=schema
    )


def _typed(values: object, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values.cast(kind)
    if pa.types.is_timestamp(kind):
        return pa.array(1_000_000 * np.asarray(values, dtype=np.int64)).cast(kind)
    return pa.array(values).cast(kind)
