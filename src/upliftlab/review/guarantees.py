"""What does a platform's ROI guarantee pay back, contract by contract, below the line?"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from upliftlab.errors import UpliftlabError, nearest
from upliftlab.pnl import half_up
from upliftlab.registry.record import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

Scheme = Literal["douyin", "tiktok", "shopee"]

SCHEMES = ("douyin", "tiktok", "shopee")
PROMISED = Fraction(9, 10)
"""Share of the target that TikTok and Shopee stand for."""

ORDERS_ABOVE = 20
CONVERSIONS_FROM = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One settlement slot of a contract: a day, or a stretch with one target.

    Attributes:
        name: Day or slot.
        spend: Ad spend, minor units.
        gmv: What the platform attributes to it, minor units.
        target: ROI target that was set.
        orders: Orders (TikTok) or conversions (Shopee) of the slot.
        edited: Whether the target was edited in it, which voids the guarantee.
    """

    name: str
    spend: int
    gmv: int
    target: Fraction
    orders: int = 0
    edited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """What one contract pays back: a vendor rebate in credits, never profit of a test.

    Attributes:
        contract: Name of the contract.
        scheme: "douyin", "tiktok" or "shopee".
        spend: Over all slots.
        gmv: Attributed, over all slots.
        credit: Paid back, minor units, 0 or above.
        cash_value: ``credit`` times what a yuan of credit is worth in cash.
        slots_paid: Slots that contribute.
        void: Slot -> why it does not count.
        note: What the number is not.
    """

    contract: str
    scheme: Scheme
    spend: int
    gmv: int
    credit: int
    cash_value: int
    slots_paid: tuple[str, ...]
    void: dict[str, str]
    note: str = "non-cash credit on attributed GMV, below the line; not incremental profit"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def guarantee(
    contract: str, scheme: str, slots: Sequence[Slot], *, cash_share: Fraction = Fraction(1)
) -> Guarantee:
    """Compute the credit of one contract.

    Douyin: spend of the contract less the sum over slots of GMV / target. TikTok: per day, cost
    less GMV / (0.9 target), with more than 20 orders and no edit that day. Shopee: the same
    with at least 5 conversions. A negative sum pays nothing.

    Args:
        contract: Name.
        scheme: Whose formula.
        slots: In order.
        cash_share: What a yuan of credit is worth in cash (it expires, and buys ads only).

    Raises:
        UpliftlabError: For an unknown scheme or a target that is not above 0.

    Examples:
        >>> day = Slot(name="1 Oct", spend=100_000, gmv=300_000, target=Fraction(4), orders=30)
        >>> guarantee("A", "douyin", [day]).credit, guarantee("B", "tiktok", [day]).credit
        (25000, 16667)
    """
    if scheme not in SCHEMES:
        raise UpliftlabError(
            f"contract {contract!r} has scheme {scheme!r}; known: {list(SCHEMES)}."
            f"{nearest(scheme, SCHEMES)}"
        )
    for slot in slots:
        if slot.target <= 0:
            raise UpliftlabError(
                f"contract {contract!r} has the ROI target {slot.target} in {slot.name}; a "
                "target must be above 0."
            )
    void = {slot.name: why for slot in slots if (why := _void(scheme, slot))}
    valid = [slot for slot in slots if slot.name not in void]
    if scheme == "douyin":
        owed = sum((s.spend - Fraction(s.gmv) / s.target for s in valid), Fraction(0))
        credit = max(0, half_up(owed))
        paid = tuple(s.name for s in valid) if credit else ()
    else:
        days = {s.name: half_up(s.spend - s.gmv / (PROMISED * s.target)) for s in valid}
        credit = sum(max(0, each) for each in days.values())
        paid = tuple(name for name, each in days.items() if each > 0)
    return Guarantee(
        contract=contract,
        scheme=scheme,  # type: ignore[arg-type]
        spend=sum(s.spend for s in slots),
        gmv=sum(s.gmv for s in slots),
        credit=credit,
        cash_value=half_up(credit * cash_share),
        slots_paid=paid,
        void=void,
    )


def _void(scheme: str, slot: Slot) -> str:
    if slot.edited:
        return "the target was edited"
    if scheme == "tiktok" and slot.orders <= ORDERS_ABOVE:
        return f"{slot.orders} orders; more than {ORDERS_ABOVE} are needed"
    if scheme == "shopee" and slot.orders < CONVERSIONS_FROM:
        return f"{slot.orders} conversions; at least {CONVERSIONS_FROM} are needed"
    return ""
