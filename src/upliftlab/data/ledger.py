"""What did each order line bring, before and after its refunds?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis

from upliftlab.errors import DataError

if TYPE_CHECKING:
    import ibis.expr.types as ir

HOUR, DAY = 3_600, 86_400

NET_WINDOWS = {
    "net_sales_1h": HOUR,
    "net_sales_7d": 7 * DAY,
    "net_sales_14d": 14 * DAY,
    "net_sales_30d": 30 * DAY,
}
"""Sales net of the refunds that arrive within this many seconds of payment."""

CHANNEL_BUCKETS = {
    "kept_creator_organic": ("creator_organic",),
    "kept_creator_ads": ("creator_ads",),
    "kept_self_live": ("self_live_organic", "self_live_ads"),
    "kept_shelf": ("shelf_organic", "shelf_ads", "search"),
}
"""Kept sales by the channels whose commission rates differ."""

GOODS_COME_BACK = ("cancel_preship", "return_refund", "partial")
"""Refunds after which the goods are ours again; a mere refund loses them."""


def priced(lines: ibis.Table, *, stated: dict[str, float] | None) -> ibis.Table:
    """Complete the amounts of order lines from the identity of the ledger.

    list - markdown - merchant coupon = settlement base; settlement base - platform coupon -
    creator coupon - payment promotion = cash. Who paid a coupon comes from the lines where they
    say it, else from the plan's stated split.

    Raises:
        DataError: When neither speaks, or sales cannot be derived.
    """
    have = set(lines.columns)
    if not have & {"merchant_coupon", "platform_coupon"} and "coupon" in have:
        if stated is None:
            raise DataError.no_funding_split()
        share = stated.get("merchant", 0.0)
        ours = (lines["coupon"] * share).round().cast("int64")
        lines = lines.mutate(
            merchant_coupon=ours, platform_coupon=lines["coupon"] - ours
        )
        have = set(lines.columns)
    zero = ibis.literal(0, "int64")

    def amount(name: str) -> ir.NumericValue:
        return lines[name] if name in have else zero

    parts = {
        name: amount(name)
        for name in (
            "merchant_coupon",
            "platform_coupon",
            "creator_coupon",
            "payment_promo",
            "markdown",
        )
    }
    later = parts["platform_coupon"] + parts["creator_coupon"] + parts["payment_promo"]
    if "settlement_base" in have:
        base = lines["settlement_base"]
    elif "list" in have:
        base = lines["list"] - parts["markdown"] - parts["merchant_coupon"]
    elif "cash" in have:
        base = lines["cash"] + later
    else:
        raise DataError.missing_column("settlement_base", "source 'order_lines'", have)
    listed = lines["list"] if "list" in have else base + parts["merchant_coupon"]
    parts["markdown"] = parts["markdown"] if "list" in have else zero
    return lines.mutate(
        **parts,
        settlement_base=base,
        list=listed,
        cash=lines["cash"] if "cash" in have else base - later,
        qty=lines["qty"].fill_null(1.0) if "qty" in have else ibis.literal(1.0),
    )


def refunds_by_line(refunds: ibis.Table, *, by: str) -> ibis.Table:
    """Add up refunds per order line (or per order, where they name no line)."""
    have = set(refunds.columns)
    kind = refunds["type"] if "type" in have else ibis.literal("return_refund")
    real = refunds.filter(kind.fill_null("return_refund") != "exchange")
    kind = real["type"] if "type" in have else ibis.literal("return_refund")
    kind = kind.fill_null("return_refund")
    zero = ibis.literal(0, "int64")
    value = real["amount"] if "amount" in have else ibis.null("int64")
    return real.group_by(by).agg(
        refunded=value.sum(),
        refund_rows=ibis._.count(),
        refund_without_amount=value.isnull().ifelse(1, 0).sum(),
        refund_qty=(real["qty"].fill_null(0.0).sum() if "qty" in have else zero.sum()),
        is_cancelled=kind.isin(("cancel_preship",)).ifelse(1, 0).max(),
        goods_back=kind.isin(GOODS_COME_BACK).ifelse(1, 0).max(),
        refunded_at=real["refunded_at"].max(),
    )


def components(lines: ibis.Table, *, has_refunds: bool) -> ibis.Table:
    """Return one row per order line with every component of the ledger, in minor units.

    A refund of the whole cash reverses the whole line; a part reverses the same share of
    every reversible amount, rounded half away from zero per line.
    """
    share = _refunded_share(lines) if has_refunds else ibis.literal(0.0)
    cancelled = (lines["is_cancelled"].fill_null(0) if has_refunds else ibis.literal(0)) > 0
    back = (lines["goods_back"].fill_null(0) if has_refunds else ibis.literal(0)) > 0
    table = lines.mutate(_share=share, _cancelled=cancelled, _back=back)

    def reversed_part(name: str) -> ir.NumericValue:
        exact = (table[name].cast("float64") * table._share).round().cast("int64")
        return (table._share >= 1).ifelse(table[name], exact)

    base, lost = table["settlement_base"], reversed_part("settlement_base")
    none = ibis.literal(0, "int64")
    returned = (~table._cancelled) & (table._share > 0)
    out: dict[str, Any] = {
        "gmv_list": table["list"],
        "gmv_platform": table["list"] - table["markdown"],
        "merchant_coupon": table["merchant_coupon"],
        "platform_coupon": table["platform_coupon"],
        "creator_coupon": table["creator_coupon"],
        "payment_promo": table["payment_promo"],
        "gmv_merchant": base,
        "cash": table["cash"],
        "cancelled_sales": table._cancelled.ifelse(lost, none),
        "returned_sales": returned.ifelse(lost, none),
        "kept_sales": base - lost,
        "kept_merchant_coupon": table["merchant_coupon"] - reversed_part("merchant_coupon"),
        "kept_platform_coupon": table["platform_coupon"] - reversed_part("platform_coupon"),
        "kept_creator_coupon": table["creator_coupon"] - reversed_part("creator_coupon"),
        "line_shipped": _shipped(table),
        "line_cancelled": table._cancelled.ifelse(1, 0),
        "line_returned": returned.ifelse(1, 0),
        "line_kept": ((base - lost) > 0).ifelse(1, 0),
    }
    if "unit_cost" in table.columns:
        goods = (table["unit_cost"] * table["qty"]).round().cast("int64")
        gone = (goods.cast("float64") * table._share).round().cast("int64")
        gone = table._back.ifelse((table._share >= 1).ifelse(goods, gone), none)
        out["goods"] = goods - gone
        out["goods_returned"] = table._cancelled.ifelse(none, gone)
    out |= _by_channel(table, out["kept_sales"])
    if has_refunds:
        late = table["refunded_at"] - table["paid_at"]
        for name, seconds in NET_WINDOWS.items():
            out[name] = base - (late <= seconds).fill_null(False).ifelse(lost, none)
    if "commission_rate_bp" in table.columns:
        out["commission"] = _rated(out["kept_sales"], table["commission_rate_bp"])
    if "agency_rate_bp" in table.columns:
        out["agency_fee"] = _rated(out["kept_sales"], table["agency_rate_bp"])
    kept = [name for name in ("unit", "order_id", "paid_at", "assigned_at") if name in table.columns]
    return table.select(*kept, **out)


def violations(lines: ibis.Table) -> ir.NumericScalar:
    """Count lines on which list = markdown + coupons + promotion + cash does not hold."""
    gap = lines["list"] - (
        lines["markdown"]
        + lines["merchant_coupon"]
        + lines["platform_coupon"]
        + lines["creator_coupon"]
        + lines["payment_promo"]
        + lines["cash"]
    )
    base = lines["list"] - lines["markdown"] - lines["merchant_coupon"]
    return ((gap != 0) | (base != lines["settlement_base"])).ifelse(1, 0).sum()


def _refunded_share(lines: ibis.Table) -> ir.FloatingValue:
    """Share of a line that was refunded: by cash, else by quantity, else all of it."""
    by_qty = ibis.least(1.0, lines["refund_qty"] / lines["qty"])
    whole = (lines["refund_qty"] > 0).ifelse(by_qty, 1.0)
    cash = lines["cash"].cast("float64")
    by_cash = ibis.least(1.0, lines["refunded"] / cash)
    known = (lines["refund_without_amount"] == 0) & (lines["cash"] > 0)
    some = known.ifelse(by_cash, whole)
    return lines["refund_rows"].isnull().ifelse(0.0, some)


def _shipped(lines: ibis.Table) -> ir.NumericValue:
    if "shipped_at" in lines.columns:
        return (lines["shipped_at"].notnull() & ~lines._cancelled).ifelse(1, 0)
    return lines._cancelled.ifelse(0, 1)


def _by_channel(table: ibis.Table, kept: ir.NumericValue) -> dict[str, ir.NumericValue]:
    if "channel" not in table.columns:
        return {}
    none = ibis.literal(0, "int64")
    return {
        bucket: table["channel"].isin(channels).fill_null(False).ifelse(kept, none)
        for bucket, channels in CHANNEL_BUCKETS.items()
    }


def _rated(base: ir.NumericValue, rate_bp: ir.NumericValue) -> ir.NumericValue:
    """Charge a rate in basis points, rounded per line as the platform's statement does."""
    return (base.cast("float64") * rate_bp.fill_null(0.0) / 10_000.0).round().cast("int64")
