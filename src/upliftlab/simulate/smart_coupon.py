"""What happens when a merchant gives coupons of several depths to customers at random?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.simulate.orders import Orders, draw_orders
from upliftlab.simulate.outcomes import Potential, draw_potential
from upliftlab.simulate.population import (
    Bools,
    Floats,
    Ints,
    Population,
    draw_population,
    stream,
)
from upliftlab.simulate.settings import DAY, SmartCoupon

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BATCH = 2**18


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A simulated experiment: who was assigned what, and what happens under every arm.

    Attributes:
        people: Covariates and latent traits, one row per assigned customer.
        arm: Assigned arm, code into ``settings.arms``.
        served: Arm whose coupon the customer really had; differs from ``arm`` under ``leak``.
        assigned_s: Seconds since 1970 of assignment.
        propensity: Probability of the assigned arm, given the covariates.
        potential: Outcomes under every arm.
        orders: Orders under the served arm.
    """

    settings: SmartCoupon
    people: Population
    arm: Ints
    served: Ints
    assigned_s: Ints
    propensity: Floats
    potential: Potential
    orders: Orders

    def __len__(self) -> int:
        """Customers assigned."""
        return len(self.arm)


def draw(settings: SmartCoupon) -> Draw:
    """Draw a whole experiment into memory.

    The same settings give the same numbers, and worlds that differ in prices, funding or
    reaction share their customers (common random numbers).

    Examples:
        >>> drawn = draw(SmartCoupon(customers=1_000))
        >>> len(drawn), drawn.settings.arms
        (1000, ('none', 'coupon_5', 'coupon_10', 'coupon_20'))
    """
    return _together(list(draw_batches(settings)))


def draw_batches(settings: SmartCoupon) -> Iterator[Draw]:
    """Draw an experiment in batches of independent customers, so that memory stays flat."""
    for batch, first in enumerate(range(0, settings.customers, BATCH)):
        index = np.arange(first, min(first + BATCH, settings.customers), dtype=np.int64)
        yield _draw_batch(settings, batch, index)


def propensities(settings: SmartCoupon, coupon_share: Floats) -> Floats:
    """Return the probability of every arm for customers of these coupon shares.

    Args:
        settings: Their ``targeted`` is the log-odds per step of depth and unit of share.
        coupon_share: Share of last year's orders with a coupon, shape (n,).

    Returns:
        Shape (n, arms); rows add up to 1.
    """
    shares = np.asarray(settings.arm_shares, dtype=np.float32)
    if not settings.targeted:
        return np.broadcast_to(shares, (len(coupon_share), len(shares)))
    step = np.arange(len(shares), dtype=np.float32)
    keen = coupon_share - np.float32(0.4)
    odds: Floats = shares * np.exp(np.float32(settings.targeted) * keen[:, None] * step)
    total: Floats = odds.sum(axis=1, keepdims=True)
    return odds / total


def _draw_batch(settings: SmartCoupon, batch: int, index: Ints) -> Draw:
    people = draw_population(settings, index, stream(settings.seed, batch, "population"))
    rng = stream(settings.seed, batch, "assignment")
    seconds = rng.integers(0, settings.days * DAY, len(index))
    assigned_s = int(settings.start_ts.timestamp()) + seconds
    arm, propensity = _assign(settings, people.coupon_share, rng)
    served = _served(settings, arm, rng)
    vanishes = (arm > 0) & (rng.random(len(index), dtype=np.float32) < settings.lost)
    potential = draw_potential(
        settings, people, assigned_s, stream(settings.seed, batch, "outcomes")
    )
    kept = _without(vanishes, people, potential)
    stays = ~vanishes
    orders = draw_orders(
        settings,
        kept[1],
        served=served[stays],
        assigned_s=assigned_s[stays],
        rng=stream(settings.seed, batch, "orders"),
    )
    return Draw(
        settings=settings,
        people=kept[0],
        arm=arm[stays],
        served=served[stays],
        assigned_s=assigned_s[stays],
        propensity=propensity[stays],
        potential=kept[1],
        orders=orders,
    )


def _assign(
    settings: SmartCoupon, coupon_share: Floats, rng: np.random.Generator
) -> tuple[Ints, Floats]:
    probability = propensities(settings, coupon_share)
    mark = rng.random(len(coupon_share), dtype=np.float32)[:, None]
    arm = (mark >= np.cumsum(probability, axis=1)[:, :-1]).sum(axis=1).astype(np.int8)
    return arm, probability[np.arange(len(arm)), arm]


def _served(settings: SmartCoupon, arm: Ints, rng: np.random.Generator) -> Ints:
    n, treatments = len(arm), len(settings.depths) - 1
    leaks = (arm == 0) & (rng.random(n, dtype=np.float32) < settings.leak)
    return np.where(leaks, rng.integers(1, treatments + 1, n), arm).astype(np.int8)


_BY_ROW = ("buys", "price", "redeemed", "shop_coupon", "cancelled", "returned", "follow_up")
_BY_CUSTOMER = ("follow_up_0", "holds_shop_coupon", "joins", "activates")


def _without(
    vanishes: Bools, people: Population, potential: Potential
) -> tuple[Population, Potential]:
    if not vanishes.any():
        return people, potential
    stays = ~vanishes
    rows = stays[potential.unit]
    position = (np.cumsum(stays) - 1).astype(np.int32)
    fields = {name: getattr(potential, name)[rows] for name in _BY_ROW}
    fields |= {name: getattr(potential, name)[stays] for name in _BY_CUSTOMER}
    people = Population(**{name: getattr(people, name)[stays] for name in Population.__slots__})
    return people, Potential(unit=position[potential.unit[rows]], **fields)


def _together(batches: Sequence[Draw]) -> Draw:
    if len(batches) == 1:
        return batches[0]
    starts = np.cumsum([0, *(len(batch) for batch in batches)])
    own = {
        name: np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("arm", "served", "assigned_s", "propensity")
    }
    return Draw(
        settings=batches[0].settings,
        people=Population(**_stacked([batch.people for batch in batches])),
        potential=Potential(**_stacked([batch.potential for batch in batches], starts)),
        orders=Orders(**_stacked([batch.orders for batch in batches], starts)),
        **own,
    )


def _stacked(parts: Sequence[Any], starts: Ints | None = None) -> dict[str, Any]:
    names = type(parts[0]).__slots__
    stacked = {name: [getattr(part, name) for part in parts] for name in names}
    if starts is not None:
        shifted = zip(stacked["unit"], starts, strict=False)
        stacked["unit"] = [(unit + start).astype(np.int32) for unit, start in shifted]
    return {name: np.concatenate(values) for name, values in stacked.items()}
