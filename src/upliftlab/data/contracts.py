"""Which columns does each source have, under which names, and of which kind?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a source.

    Attributes:
        name: The name used from here on.
        kind: "id", "text", "money", "rate", "number", "time" or "flag".
        required: Whether the source cannot do without it.
        aliases: Other names under which exports carry it, first found.
        may_be_negative: Whether values below 0 are legitimate (money and numbers).
    """

    name: str
    kind: str
    required: bool = False
    aliases: tuple[str, ...] = ()
    may_be_negative: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What one source must and may hold.

    Attributes:
        source: Its key in the plan's ``data``.
        columns: What is read; other columns are passed over.
        unlocks: What an optional source adds to the analysis.
    """

    source: str
    columns: tuple[Column, ...]
    unlocks: str = ""

    def column(self, name: str) -> Column | None:
        """Find a column by its name or an alias."""
        for column in self.columns:
            if name == column.name or name in column.aliases:
                return column
        return None


_UNIT = Column(
    name="unit",
    kind="id",
    required=True,
    aliases=("unit_id", "user_id", "customer_id", "open_id", "creator_id"),
)
_ORDER = Column(name="order_id", kind="id", required=True)


def _money(name: str, *aliases: str, **more: bool) -> Column:
    return Column(name=name, kind="money", aliases=(f"{name}_fen", *aliases), **more)


ASSIGNMENTS = Contract(
    source="assignments",
    columns=(
        _UNIT,
        Column(name="arm", kind="text", required=True, aliases=("group", "variant")),
        Column(name="assigned_at", kind="time", required=True, aliases=("assigned_ts",)),
        Column(name="stratum", kind="text"),
        Column(name="propensity", kind="number"),
        Column(name="explored", kind="flag"),
    ),
)

_PLACES = ("group", "province", "geo", "shop_id")

PANEL = Contract(
    source="panel",
    columns=(
        Column(name="unit", kind="id", required=True, aliases=(*_UNIT.aliases, *_PLACES)),
        Column(
            name="period",
            kind="any",
            required=True,
            aliases=("week", "day", "date", "iso_week"),
        ),
        Column(name="cluster", kind="id", aliases=("cluster_id", "mcn", "mcn_id", "agency_id")),
        Column(name="start", kind="any", aliases=("starts_on", "cohort", "first_treated")),
        Column(name="treated", kind="flag", aliases=("on", "is_on", "coupon_on")),
        Column(name="weight", kind="number"),
        Column(name="arm", kind="id"),
    ),
)

WAVES = Contract(
    source="waves",
    columns=(
        Column(name="cluster", kind="id", required=True, aliases=("cluster_id", "mcn", "unit")),
        Column(name="starts_on", kind="any", required=True, aliases=("start", "cohort")),
        Column(name="arm", kind="id"),
        Column(name="stratum", kind="text"),
    ),
)

ORDER_LINES = Contract(
    source="order_lines",
    columns=(
        Column(name="line_id", kind="id"),
        _ORDER,
        Column(name="unit", kind="id", aliases=_UNIT.aliases),
        Column(name="paid_at", kind="time", aliases=("pay_ts", "pay_time", "paid_ts")),
        Column(name="shipped_at", kind="time", aliases=("ship_ts",)),
        Column(name="qty", kind="number"),
        _money("list", "list_price"),
        _money("markdown"),
        _money("merchant_coupon", "shop_cost_fen"),
        _money("platform_coupon", "only_platform_cost_fen"),
        _money("creator_coupon", "author_cost_fen"),
        _money("coupon", "coupon_total_fen"),
        _money("payment_promo", "pay_promo_fen", "promotion_pay_fen"),
        _money("cash"),
        _money("settlement_base"),
        _money("unit_cost"),
        Column(name="channel", kind="text"),
        Column(name="commission_rate_bp", kind="rate"),
        Column(name="agency_rate_bp", kind="rate"),
    ),
)

ORDERS = Contract(
    source="orders",
    unlocks="buyer and payment time for order lines that do not carry them",
    columns=(
        _ORDER,
        _UNIT,
        Column(name="paid_at", kind="time", required=True, aliases=("pay_ts",)),
        Column(name="shipped_at", kind="time", aliases=("ship_ts",)),
    ),
)

REFUNDS = Contract(
    source="refunds",
    unlocks="cancellations and returns: without it sales are before returns",
    columns=(
        Column(name="refund_id", kind="id"),
        _ORDER,
        Column(name="line_id", kind="id"),
        Column(name="type", kind="text"),
        Column(
            name="refunded_at",
            kind="time",
            required=True,
            aliases=("refunded_ts", "approved_ts", "request_ts"),
        ),
        _money("amount"),
        Column(name="qty", kind="number"),
    ),
)

USERS = Contract(
    source="users",
    unlocks="segments, strata and pre-period covariates",
    columns=(_UNIT, Column(name="snapshot_at", kind="time", aliases=("snapshot_ts",))),
)

EXPOSURES = Contract(
    source="exposures",
    unlocks="who saw the coupon, and whether control saw it",
    columns=(
        _UNIT,
        Column(name="at", kind="time", required=True, aliases=("event_ts", "ts")),
        Column(name="arm_served", kind="text"),
        Column(name="ghost", kind="flag"),
    ),
)

COUPON_EVENTS = Contract(
    source="coupon_events",
    unlocks="who claimed a coupon, restored coupons, leakage into control",
    columns=(
        _UNIT,
        Column(name="event", kind="text", required=True),
        Column(name="at", kind="time", required=True, aliases=("ts", "event_ts")),
    ),
)

MEMBERSHIP_EVENTS = Contract(
    source="membership_events",
    unlocks="members joined and activated",
    columns=(
        _UNIT,
        Column(name="event", kind="text", required=True),
        Column(name="at", kind="time", required=True, aliases=("ts", "event_ts")),
    ),
)

AD_SPEND = Contract(
    source="ad_spend",
    unlocks="plan-level ad spend per arm, taken as fixed",
    columns=(
        Column(name="arm", kind="text", required=True, aliases=("group", "variant")),
        Column(
            name="spend", kind="money", required=True, aliases=("spend_fen", "cost", "cost_fen")
        ),
    ),
)

FINANCE_TOTAL = Contract(
    source="finance_total",
    unlocks="reconciliation with the books",
    columns=(
        Column(name="component", kind="text", required=True, aliases=("line",)),
        Column(
            name="amount",
            kind="money",
            required=True,
            aliases=("amount_fen",),
            may_be_negative=True,
        ),
    ),
)

UNITS = Contract(
    source="units",
    columns=(
        _UNIT,
        Column(name="arm", kind="text", required=True, aliases=("group", "variant")),
        Column(name="assigned_at", kind="time"),
        Column(name="stratum", kind="text"),
    ),
)

CONTRACTS = {
    contract.source: contract
    for contract in (
        ASSIGNMENTS,
        ORDER_LINES,
        ORDERS,
        REFUNDS,
        USERS,
        EXPOSURES,
        COUPON_EVENTS,
        MEMBERSHIP_EVENTS,
        AD_SPEND,
        FINANCE_TOTAL,
        UNITS,
    )
}

REFUND_TYPES = {
    "cancel_preship": ("cancel_preship", "cancel", "cancelled", "未发货退款", "未发货仅退款"),
    "return_refund": ("return_refund", "return", "退货退款"),
    "refund_only": ("refund_only", "仅退款", "已发货仅退款"),
    "partial": ("partial", "部分退款"),
    "exchange": ("exchange", "换货"),
}
"""Kind of refund -> the words by which exports call it."""

UNUSED = ("coupons", "settlements", "cost_params")
"""Sources that a plan may name and from which no number is made yet; it is said on the page."""
