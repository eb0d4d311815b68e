"""What did each order line bring, before and after its refunds?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis

from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import ibis.expr.types as ir

HOUR, DAY = 3_600, 86_400

NET_WINDOWS = {
    "net_sales_1h": HOUR,
    "net_sales_7d": 7 * DAY,
    "net_sales_14d": 14 * DAY,
    "net_sales_30d": 30 * DAY,
}
"""Sales net of the refunds that arrive within this many seconds of payment."""

FUNDERS = ("merchant_coupon", "platform_coupon")
"""Coupons whose payer a what-if moves."""

CHANNEL_BUCKETS = {
    "kept_creator_organic": ("creator_organic",),
    "kept_creator_ads": ("creator_ads",),
    "kept_self_live": ("self_live_organic", "self_live_ads"),
    "kept_shelf": ("shelf_organic", "shelf_ads", "search"),
}
"""Kept sales by the channels whose commission rates differ."""

COUPONS = ("merchant_coupon", "platform_coupon", "creator_coupon")


def funded(lines: ibis.Table, *, stated: Mapping[str, float] | None) -> ibis.Table:
    """Say who paid each coupon: the lines where they say it, else the plan's stated split.

    A total beside some of its parts gives the part that is left; what is left over after
    rounding is the platform's.

    Raises:
        DataError: When neither lines nor plan say who paid.
    """
    have = set(lines.columns)
    if "coupon" not in have:
        if "merchant_coupon" not in have and {"list", "markdown", "settlement_base"} <= have:
            ours = lines["list"] - lines["markdown"] - lines["settlement_base"]
            return lines.mutate(merchant_coupon=ours)
        return lines
    creator = lines["creator_coupon"] if "creator_coupon" in have else 0
    if {"merchant_coupon", "platform_coupon"} <= have:
        return lines
    if "merchant_coupon" in have:
        rest = lines["coupon"] - lines["merchant_coupon"] - creator
        return lines.mutate(platform_coupon=rest)
    if "platform_coupon" in have:
        rest = lines["coupon"] - lines["platform_coupon"] - creator
        return lines.mutate(merchant_coupon=rest)
    if stated is None:
        raise DataError.no_funding_split()
    ours = (lines["coupon"] * stated.get("merchant", 0.0)).round().cast("int64")
    theirs = (lines["coupon"] * stated.get("creator", 0.0)).round().cast("int64")
    return lines.mutate(
        merchant_coupon=ours,
        creator_coupon=theirs,
        platform_coupon=lines["coupon"] - ours - theirs,
    )


def priced(lines: ibis.Table) -> ibis.Table:
    """Complete the amounts of order lines from the identity of the ledger.

    list - markdown - merchant coupon = settlement base; settlement base - platform coupon -
    creator coupon - payment promotion = cash.

    Raises:
        DataError: When sales cannot be derived.
    """
    have = set(lines.columns)
    zero = ibis.literal(0, "int64")
    names = (*COUPONS, "payment_promo", "markdown")
    parts = {name: lines[name] if name in have else zero for name in names}
    later = parts["platform_coupon"] + parts["creator_coupon"] + parts["payment_promo"]
    if "settlement_base" in have:
        base = lines["settlement_base"]
    elif "list" in have:
        base = lines["list"] - parts["markdown"] - parts["merchant_coupon"]
    elif "cash" in have:
        base = lines["cash"] + later
    else:
        raise DataError.missing_column("settlement_base", "source 'order_lines'", have)
    if "list" not in have:
        parts["markdown"] = zero
    elif "markdown" not in have:
        parts["markdown"] = lines["list"] - base - parts["merchant_coupon"]
    return lines.mutate(
        **parts,
        settlement_base=base,
        list=lines["list"] if "list" in have else base + parts["merchant_coupon"],
        cash=lines["cash"] if "cash" in have else base - later,
        qty=lines["qty"].fill_null(1.0) if "qty" in have else ibis.literal(1.0),
    )


def components(lines: ibis.Table, *, has_refunds: bool) -> ibis.Table:
    """Return one row per order line with every component of the ledger, in minor units.

    A refund of the whole cash reverses the whole line; a part reverses the same share of
    every reversible amount, rounded half away from zero per line. A line counts as cancelled
    when all of it was, before shipping; as returned when goods came back; a mere refund takes
    the sale away and leaves the cost of the goods.

    Args:
        lines: Priced lines, with the columns of ``refunds.beside`` if ``has_refunds``.
        has_refunds: Whether anybody knows of refunds.
    """
    none = ibis.literal(0.0)
    marks = {
        f"_{name}": lines[name] if has_refunds else none
        for name in ("refunded_share", "cancelled_part", "returned_part", "ours_part")
    }
    table = lines.mutate(**marks)
    share, cancel, back = (
        table["_refunded_share"],
        table["_cancelled_part"],
        table["_returned_part"],
    )
    base, lost = table["settlement_base"], _part(table["settlement_base"], share)
    cancelled = _part(lost, cancel)
    is_cancelled = (share >= 1) & (cancel >= 1)
    coupons = {f"kept_{name}": table[name] - _part(table[name], share) for name in COUPONS}
    out: dict[str, Any] = {
        "gmv_list": table["list"],
        "gmv_platform": table["list"] - table["markdown"],
        **{name: table[name] for name in (*COUPONS, "payment_promo")},
        "gmv_merchant": base,
        "cash": table["cash"],
        "cancelled_sales": cancelled,
        "returned_sales": lost - cancelled,
        "kept_sales": base - lost,
        **coupons,
        "line_shipped": _shipped(table, is_cancelled),
        "line_cancelled": is_cancelled.ifelse(1, 0),
        "line_returned": ((share * back) > 0).ifelse(1, 0),
        "line_kept": ((base - lost) > 0).ifelse(1, 0),
        "line_over_refunded": table["over_refunded"] if has_refunds else ibis.literal(0),
    }
    out |= _goods(table) | _by_channel(table, out["kept_sales"], coupons)
    if has_refunds:
        for name in NET_WINDOWS:
            out[name] = base - _part(lost, table[f"within_{name}"])
    for name, rate in (("commission", "commission_rate_bp"), ("agency_fee", "agency_rate_bp")):
        if rate in table.columns:
            out[name] = _rated(out["kept_sales"], table[rate])
            for payer in FUNDERS:
                part = f"{name.removesuffix('_fee')}_on_{payer}"
                out[part] = _rated(out[f"kept_{payer}"], table[rate])
    keys = ("unit", "order_id", "paid_at", "assigned_at")
    return table.select(*[name for name in keys if name in table.columns], **out)


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


def _part(amount: ir.NumericValue, share: ir.FloatingValue) -> ir.NumericValue:
    """Take a share of an amount, to the fen; the whole of it without touching a float."""
    exact = (amount.cast("float64") * share).round().cast("int64")
    return (share >= 1).ifelse(amount, exact)


def _goods(table: ibis.Table) -> dict[str, ir.NumericValue]:
    """Cost of goods that stayed away, and of those that came back."""
    if "unit_cost" not in table.columns:
        return {}
    share = table["_refunded_share"]
    goods = (table["unit_cost"] * table["qty"]).round().cast("int64")
    return {
        "goods": goods - _part(goods, share * table["_ours_part"]),
        "goods_returned": _part(goods, share * table["_returned_part"]),
    }


def _shipped(lines: ibis.Table, is_cancelled: ir.BooleanValue) -> ir.NumericValue:
    shipped = ~is_cancelled
    if "shipped_at" in lines.columns:
        shipped &= lines["shipped_at"].notnull()
    return shipped.ifelse(1, 0)


def _by_channel(
    table: ibis.Table, kept: ir.NumericValue, coupons: dict[str, ir.NumericValue]
) -> dict[str, ir.NumericValue]:
    if "channel" not in table.columns:
        return {}
    none = ibis.literal(0, "int64")
    inside = {
        bucket: table["channel"].isin(channels).fill_null(False)
        for bucket, channels in CHANNEL_BUCKETS.items()
    }
    out = {bucket: mark.ifelse(kept, none) for bucket, mark in inside.items()}
    for bucket in ("kept_creator_organic", "kept_creator_ads"):
        for payer in FUNDERS:
            part = f"{bucket.removeprefix('kept_')}_{payer}"
            out[part] = inside[bucket].ifelse(coupons[f"kept_{payer}"], none)
    return out


def _rated(base: ir.NumericValue, rate_bp: ir.NumericValue) -> ir.NumericValue:
    """Charge a rate in basis points, rounded per line as the platform's statement does."""
    # Blank rates were refused where a creator sold; elsewhere there is nobody to pay.
    return (base.cast("float64") * rate_bp.fill_null(0.0) / 10_000.0).round().cast("int64")
