"""What is the right answer in a simulated smart-coupon experiment?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.simulate.orders import whole_fen
from upliftlab.simulate.population import WIN_BACK_DAYS
from upliftlab.simulate.settings import SEGMENTS, SmartCoupon
from upliftlab.simulate.smart_coupon import Draw, draw_batches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

KINDS = ("new", "member", "not_member")
TALLIED = (
    "conversion", "gmv_platform_14d", "kept_sales_14d", "profit_14d", "profit_14d_unbooked",
    "merchant_coupon", "platform_coupon", "redeemed", "redeemer_sales", "follow_up_orders",
    "joined", "activated",
)  # fmt: skip
BOOKED_SHARES = (0.0, 0.35, 0.70, 1.0)
"""Shares of the returns of the first 14 days already booked, in ``Truth.maturity``."""

Means = dict[str, tuple[float, ...]]
Where = tuple[slice | int, slice | int, slice | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Sums of potential outcomes by latent segment, kind of customer, and lapsed or not.

    Attributes:
        n: Customers, shape (segments, kinds, 2).
        sums: Yuan or counts, shape (segments, kinds, 2, arms, outcomes in ``TALLIED``).
    """

    n: NDArray[np.float64]
    sums: NDArray[np.float64]

    def __add__(self, other: Tally) -> Tally:
        """Return the tally of both sets of customers."""
        return Tally(n=self.n + other.n, sums=self.sums + other.sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Mean outcomes per assigned customer had all of them had one arm; money in yuan.

    Orders of the first 14 days count as they turn out; those of days 15-60 count with their
    expected value, so that the truth is not blurred by draws no coupon can change.

    Attributes:
        arms: Names, the control first.
        shares: Group -> share of the customers. "all", the latent segments, "new", "existing",
            "member", "not_member" (existing ones) and "lapsed" (over 60 days, existing).
        means: Group -> outcome -> mean per arm. A ``merchant_coupon`` is counted when paid.
        iroi_60d: Incremental 60-day profit per yuan of incremental merchant coupon.
        attributed_roi: Sales of redeemers, coupons added back, per yuan of their smart coupons:
            what a dashboard shows.
        policies: Rule -> gain in 60-day profit per customer of the population when those it
            names get the arm's coupon and all others none. "oracle" gives every latent group
            its best arm.
        maturity: Share of returns booked -> effect of every arm on 14-day profit as booked.
        as_assigned: Outcome -> mean per arm in expectation as assigned, leaks included.
    """

    arms: tuple[str, ...]
    shares: Mapping[str, float]
    means: Mapping[str, Means]
    iroi_60d: tuple[float, ...]
    attributed_roi: tuple[float, ...]
    policies: Mapping[str, tuple[float, ...]]
    maturity: Mapping[float, tuple[float, ...]]
    as_assigned: Means

    def effect(self, outcome: str, arm: str, *, group: str = "all") -> float:
        """Return mean under the arm minus mean under the control."""
        means = self.means[group][outcome]
        return means[self.arms.index(arm)] - means[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; a number that does not exist is None."""
        return {
            "arms": list(self.arms),
            "unit": "yuan per assigned customer",
            "shares": dict(self.shares),
            "means": {group: _plain(means) for group, means in self.means.items()},
            "effects": {
                group: _plain({name: _against_first(row) for name, row in means.items()})
                for group, means in self.means.items()
            },
            "iroi_60d": _plain({"": self.iroi_60d})[""],
            "attributed_roi": _plain({"": self.attributed_roi})[""],
            "policies": _plain(self.policies),
            "maturity": _plain({str(share): row for share, row in self.maturity.items()}),
            "as_assigned": _plain(self.as_assigned),
        }


def truth(world: SmartCoupon | Draw, *, rounding: bool = False) -> Truth:
    """Return the true means, effects and values of rules.

    Args:
        world: Settings, of which everybody is drawn in batches, or a draw.
        rounding: Whether the money of each order is rounded to fen first, as in the tables.

    Returns:
        The truth of exactly these customers; the sampling error of a drawn population is small
        beside that of any experiment on it.

    Examples:
        >>> found = truth(SmartCoupon(customers=2_000))
        >>> found.arms
        ('none', 'coupon_5', 'coupon_10', 'coupon_20')
        >>> found.effect("merchant_coupon", "coupon_20") > 0
        True
    """
    if isinstance(world, Draw):
        return summarise(world.settings, tally(world, rounding=rounding))
    batches = (tally(batch, rounding=rounding) for batch in draw_batches(world))
    return summarise(world, reduce(add, batches))


def unit_outcomes(drawn: Draw, outcome: str, *, rounding: bool = False) -> NDArray[np.float64]:
    """Return the potential outcome of every customer under every arm, shape (n, arms).

    Args:
        drawn: The draw.
        outcome: "follow_up_orders", or a money or order outcome of ``Truth.means`` for 14 or
            60 days.
        rounding: As in ``truth``.

    Examples:
        >>> from upliftlab.simulate.smart_coupon import draw
        >>> unit_outcomes(draw(SmartCoupon(customers=50)), "profit_60d").shape
        (50, 4)
    """
    settings, potential = drawn.settings, drawn.potential
    base, per_order = _as_first_days(settings, outcome)
    early = _first_days(drawn, rounding=rounding)
    dense = np.zeros((len(drawn), len(settings.arms)))
    dense += per_order * potential.follow_up_0[:, None]
    own = sum(sign * early[name] for name, sign in base)
    dense[potential.unit] = own + per_order * potential.follow_up
    return dense


def tally(drawn: Draw, *, rounding: bool = False) -> Tally:
    """Add up the potential outcomes of a draw by group of customers."""
    people, potential, arms = drawn.people, drawn.potential, len(drawn.settings.arms)
    shape = (len(SEGMENTS), len(KINDS), 2)
    cells = math.prod(shape)
    kind = np.where(people.is_new, 0, np.where(people.is_member, 1, 2))
    lapsed = np.nan_to_num(people.recency) > WIN_BACK_DAYS
    cell = (people.segment.astype(np.int64) * len(KINDS) + kind) * 2 + lapsed
    follow_up_change = potential.follow_up - potential.follow_up_0[potential.unit, None]
    by_row = _first_days(drawn, rounding=rounding) | {"follow_up_orders": follow_up_change}
    by_customer = {
        "follow_up_orders": np.broadcast_to(potential.follow_up_0[:, None], (len(drawn), arms)),
        "joined": potential.joins,
        "activated": potential.joins & potential.activates[:, None],
    }
    sums = np.zeros((cells, arms, len(TALLIED)))
    for at, values in ((cell[potential.unit], by_row), (cell, by_customer)):
        for name, columns in values.items():
            for arm in range(arms):
                sums[:, arm, TALLIED.index(name)] += np.bincount(at, columns[:, arm], cells)
    n = np.bincount(cell, minlength=cells).astype(np.float64)
    return Tally(n=n.reshape(shape), sums=sums.reshape(*shape, arms, len(TALLIED)))


def summarise(settings: SmartCoupon, tallied: Tally) -> Truth:
    """Turn sums by group into the truth."""
    total = tallied.n.sum()
    groups = _groups(tallied)
    means = {name: _means(settings, _pick(tallied, where)) for name, where in groups.items()}
    shares = {name: float(tallied.n[where].sum() / total) for name, where in groups.items()}
    everybody = means["all"]
    cost = np.asarray(_against_first(everybody["merchant_coupon"]))
    gain = np.asarray(_against_first(everybody["profit_60d"]))
    smart = settings.merchant_share * np.asarray(settings.depths) * everybody["redeemed"]
    return Truth(
        arms=settings.arms,
        shares=shares,
        means=means,
        iroi_60d=_ratio(gain, cost),
        attributed_roi=_ratio(np.asarray(everybody["redeemer_sales"]), smart),
        policies=_policies(settings, tallied, means, shares),
        maturity=_maturity(everybody),
        as_assigned=_as_assigned(settings, everybody),
    )


def follow_up_value(settings: SmartCoupon) -> dict[str, float]:
    """Return the expected value in yuan of one order of days 15-60, at full price.

    Examples:
        >>> round(follow_up_value(SmartCoupon())["profit"], 2)
        32.84
    """
    process, rates = settings.process, settings.rates
    shipped = 1 - process.cancelled
    returned = shipped * process.follow_up_returned
    kept, basket = shipped - returned, process.basket
    goods = rates.goods * basket
    profit = kept * (basket * (1 - rates.of_sales) - goods) - shipped * rates.parcel
    profit -= returned * (rates.handling + rates.writeoff * goods) + rates.service
    return {"gmv_platform": basket, "kept_sales": kept * basket, "profit": profit}


def _first_days(drawn: Draw, *, rounding: bool) -> dict[str, NDArray[np.float64]]:
    settings, potential, rates = drawn.settings, drawn.potential, drawn.settings.rates
    buys = potential.buys
    price = potential.price.astype(np.float64)
    goods = rates.goods * price
    if rounding:
        price_fen = whole_fen(potential.price)
        price, goods = price_fen / 100, np.rint(rates.goods * price_fen) / 100
    depth = np.asarray(settings.depths, dtype=np.float64) * potential.redeemed
    merchant = settings.merchant_share * depth + potential.shop_coupon[:, None]
    sales = price - merchant
    shipped = buys & ~potential.cancelled
    kept = shipped & ~potential.returned
    margin = sales * (1 - rates.of_sales) - goods
    back = rates.handling + rates.writeoff * goods
    fixed = -rates.parcel * shipped - rates.service * buys
    return {
        "conversion": buys.astype(np.float64),
        "gmv_platform_14d": price * buys,
        "kept_sales_14d": sales * kept,
        "profit_14d": margin * kept + fixed - back * potential.returned,
        "profit_14d_unbooked": margin * shipped + fixed,
        "merchant_coupon": merchant * buys,
        "platform_coupon": (1 - settings.merchant_share) * depth,
        "redeemed": potential.redeemed.astype(np.float64),
        "redeemer_sales": price * potential.redeemed,
    }


def _as_first_days(
    settings: SmartCoupon, outcome: str
) -> tuple[tuple[tuple[str, int], ...], float]:
    if outcome == "follow_up_orders":
        return (), 1.0
    stem, _, window = outcome.rpartition("_")
    value = follow_up_value(settings)
    if outcome.startswith("gmv_merchant"):
        base: tuple[tuple[str, int], ...] = (("gmv_platform_14d", 1), ("merchant_coupon", -1))
        stem = "gmv_platform"
    elif window == "60d":
        base = ((f"{stem}_14d", 1),)
    else:
        base = ((outcome, 1),)
    return base, value[stem] if window == "60d" else 0.0


def _groups(tallied: Tally) -> dict[str, Where]:
    every = slice(None)
    groups: dict[str, Where] = {"all": (every, every, every)}
    groups |= {name: (place, every, every) for place, name in enumerate(SEGMENTS)}
    groups |= {
        "new": (every, 0, every),
        "existing": (every, slice(1, None), every),
        "member": (every, 1, every),
        "not_member": (every, 2, every),
        "lapsed": (every, every, 1),
    }
    return {name: where for name, where in groups.items() if tallied.n[where].sum() > 0}


def _pick(tallied: Tally, where: Where) -> NDArray[np.float64]:
    sums = tallied.sums[where].reshape(-1, *tallied.sums.shape[-2:]).sum(axis=0)
    means: NDArray[np.float64] = sums / tallied.n[where].sum()
    return means


def _means(settings: SmartCoupon, by_arm: NDArray[np.float64]) -> Means:
    value = follow_up_value(settings)
    mean = {name: by_arm[:, place] for place, name in enumerate(TALLIED)}
    mean["gmv_merchant_14d"] = mean["gmv_platform_14d"] - mean["merchant_coupon"]
    later = mean["follow_up_orders"]
    mean["gmv_platform_60d"] = mean["gmv_platform_14d"] + later * value["gmv_platform"]
    mean["gmv_merchant_60d"] = mean["gmv_merchant_14d"] + later * value["gmv_platform"]
    mean["kept_sales_60d"] = mean["kept_sales_14d"] + later * value["kept_sales"]
    mean["profit_60d"] = mean["profit_14d"] + later * value["profit"]
    return {name: tuple(row.tolist()) for name, row in mean.items()}


def _policies(
    settings: SmartCoupon,
    tallied: Tally,
    means: Mapping[str, Means],
    shares: Mapping[str, float],
) -> dict[str, tuple[float, ...]]:
    rules = {
        "everybody": "all",
        "new_customers_only": "new",
        "persuadables_only": "persuadable",
        "members_only": "member",
        "existing_non_members_only": "not_member",
        "lapsed_only": "lapsed",
    }
    values = {
        rule: tuple(shares[group] * x for x in _against_first(means[group]["profit_60d"]))
        for rule, group in rules.items()
        if group in means
    }
    profit = tallied.sums[..., TALLIED.index("profit_14d")]
    later = tallied.sums[..., TALLIED.index("follow_up_orders")]
    profit = profit + later * follow_up_value(settings)["profit"]
    best = (profit.max(axis=-1) - profit[..., 0]).sum() / tallied.n.sum()
    return values | {"oracle": (float(best),)}


def _maturity(means: Means) -> dict[float, tuple[float, ...]]:
    full = np.asarray(_against_first(means["profit_14d"]))
    none = np.asarray(_against_first(means["profit_14d_unbooked"]))
    return {
        share: tuple((share * full + (1 - share) * none).tolist()) for share in BOOKED_SHARES
    }


def _as_assigned(settings: SmartCoupon, means: Means) -> Means:
    return {
        name: ((1 - settings.leak) * row[0] + settings.leak * float(np.mean(row[1:])), *row[1:])
        for name, row in means.items()
    }


def _against_first(row: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(value - row[0] for value in row)


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> tuple[float, ...]:
    undefined = np.full(len(top), np.nan)
    return tuple(np.divide(top, bottom, out=undefined, where=bottom != 0).tolist())


def _plain(rows: Mapping[str, tuple[float, ...]]) -> dict[str, list[float | None]]:
    return {
        name: [None if math.isnan(value) else value for value in row]
        for name, row in rows.items()
    }
