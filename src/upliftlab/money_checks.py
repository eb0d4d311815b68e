"""Does the money in the data hang together, and did control stay out of the treatment?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.checks import FAIL, INFO, LEDGER, MONEY_UNIT, PASS, WARN, Check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upliftlab.data.prepared import Facts


def check_leakage(facts: Facts, assigned: Mapping[str, int], control: str) -> Check | None:
    """Count control units that saw or claimed a coupon."""
    if control not in facts.saw_other:
        return None
    seen = facts.saw_other[control]
    share = seen / max(assigned.get(control, 0), 1)
    verdict = PASS if seen == 0 else WARN
    some = f"{share:.1%} of control saw or claimed a coupon"
    text = some if seen else "no control customer saw a coupon"
    tail = "; effects are diluted by about as much" if share > 0.01 else ""
    return Check(
        name="leakage",
        verdict=verdict,
        message=f"Leakage: {text}{tail}.",
        value=share,
        threshold=0.0,
    )


def check_stacking(facts: Facts, control: str, *, minor: int = 100) -> Check | None:
    """Ask whether control orders carry other coupons, so that depth differs from face value.

    Args:
        facts: Orders and coupon money per arm.
        control: The control arm.
        minor: Minor units in one main unit of the currency.
    """
    if control not in facts.stacked:
        return None
    redeemed, orders, money = facts.stacked[control]
    share = redeemed / orders if orders else 0.0
    if share <= 0.01:
        return Check(
            name="stacking", verdict=PASS, value=share, threshold=0.01,
            message="Stacking: control orders carry no other coupon.",
        )  # fmt: skip
    each = _amount(money / redeemed, minor)
    return Check(
        name="stacking",
        verdict=WARN,
        message=(
            f"Stacking: {share:.0%} of control orders carry another coupon of {each} on "
            "average; the test measures the coupon on top of it, at the discount really paid."
        ),
        value=share,
        threshold=0.01,
    )


def check_funding(facts: Facts, stated: Mapping[str, float] | None) -> Check | None:
    """Compare who paid for coupons according to the orders with what the plan states."""
    total = sum(facts.funding.values())
    if not total or stated is None:
        return None
    found = facts.funding.get("merchant", 0) / total
    gap = abs(found - stated.get("merchant", 0.0))
    return Check(
        name="funding_split",
        verdict=WARN if gap > 0.01 else PASS,
        message=(
            f"Funding: orders say we paid {found:.1%} of coupon money, the plan says "
            f"{stated.get('merchant', 0.0):.1%}; the orders count."
        ),
        value=gap,
        threshold=0.01,
    )


def check_ledger(facts: Facts, *, minor_unit: str = "fen") -> Check | None:
    """Ask whether list = markdown + coupons + promotion + cash holds on every line."""
    if facts.unbalanced_lines is None:
        return None
    bad = facts.unbalanced_lines
    return Check(
        name=LEDGER,
        verdict=FAIL if bad else PASS,
        message=(
            f"Ledger: {bad:,} order lines do not add up (list = markdown + coupons + "
            "promotion + cash)."
            if bad
            else f"Ledger: all {facts.lines:,} order lines in the windows add up to the "
            f"{minor_unit}."
        ),
        value=float(bad),
        threshold=0.0,
    )


def check_money_unit(
    facts: Facts,
    suffix: str,
    faces: Sequence[float],
    *,
    minor: int = 100,
    units: Sequence[str] = ("yuan", "fen"),
) -> Check | None:
    """Compare the coupon money per redeemed order with the plan's face values.

    Yuan read as fen, or fen as yuan, are wrong by a factor of a hundred, which no stacking
    and no threshold explains.

    Args:
        facts: Totals of components.
        suffix: Window of the totals, such as "@60d".
        faces: Face values of the arms' coupons, in minor units.
        minor: Minor units in one main unit of the currency.
        units: Words for its units, the main one first.
    """
    total = sum(
        facts.totals.get(f"{who}_coupon{suffix}", 0.0) for who in ("merchant", "platform")
    )
    redeemed = facts.totals.get(f"orders_redeemed{suffix}", 0.0)
    given = [face for face in faces if face > 0]
    if not redeemed or not given:
        return None
    each = total / redeemed
    typical = sum(given) / len(given)
    ratio = each / typical
    failed = not 1 / 20 < ratio < 20
    mixed = " and ".join(units) if len(units) > 1 else f"units of {units[0]}"
    tail = f": {mixed} are mixed up" if failed else ""
    return Check(
        name=MONEY_UNIT,
        verdict=FAIL if failed else PASS,
        message=(
            f"Money: a redeemed coupon is worth {_amount(each, minor)} in the orders and "
            f"{_amount(typical, minor)} on average in the plan{tail}."
        ),
        value=ratio,
        threshold=20.0,
    )


def check_reconciliation(facts: Facts, suffix: str) -> Check | None:
    """Compare component totals with what finance booked, to half a percent."""
    if not facts.finance:
        return None
    unknown = [name for name in facts.finance if {name + suffix, name}.isdisjoint(facts.totals)]
    if unknown:
        return Check(
            name="reconciliation",
            verdict=FAIL,
            message=f"Finance: nothing was measured to compare with {unknown[0]!r}.",
            threshold=0.005,
        )
    worst, where = 0.0, ""
    for component, booked in facts.finance.items():
        measured = facts.totals.get(component + suffix, facts.totals.get(component, 0.0))
        gap = abs(measured - booked) / abs(booked) if booked else abs(measured)
        if gap > worst:
            worst, where = gap, component
    failed = worst > 0.005
    detail = f"{where} differs by {worst:.2%}" if where else "no difference"
    return Check(
        name="reconciliation",
        verdict=FAIL if failed else PASS,
        message=f"Finance: {detail} from the books (limit 0.5%).",
        value=worst,
        threshold=0.005,
    )


def check_set_aside(facts: Facts) -> Check | None:
    """Say how many rows were not used, and by which rules."""
    rows = [a for a in facts.set_aside if "two arms" not in a.rule and "again" not in a.rule]
    if not rows:
        return None
    detail = "; ".join(f"{a.rows:,} rows of {a.source} {a.rule}" for a in rows)
    return Check(name="set_aside", verdict=INFO, message=f"Not used: {detail}.")


def _amount(minor_units: float, minor: int) -> str:
    """Write money in the main unit, with as many decimals as the currency has."""
    return f"{minor_units / minor:,.{len(str(minor)) - 1}f}"
