"""How much of the coupon money went to orders that would have come anyway?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from upliftlab.errors import DataError
from upliftlab.stats.bounds import imbens_manski
from upliftlab.stats.estimate import interval, undefined
from upliftlab.targeting.answer import Spend
from upliftlab.targeting.ranking import covariance

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]
    Ints = NDArray[np.integer[Any]]
    Flags = NDArray[np.bool_]

CONTRADICTED = (
    "fewer buy with the coupon than without it in some group, beyond chance: it does keep some "
    "from buying"
)
ASSUMES = (
    "The single amount assumes that the coupon keeps nobody from buying and that, among alike "
    "buyers, those who would have bought anyway use as much of it as others."
)
ENDS = ("low", "high")
FEWEST = 50
"""Units of either arm below which a group is put together with the next."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spent:
    """What was seen of units of one treatment and of control.

    Attributes:
        cost: Coupon money of each unit, shape (n,).
        bought: Whether it bought, shape (n,).
        profit: What it brought, shape (n,).
        treated: Whether it had the treatment, shape (n,).
        group: Group of alike units by what was known before, shape (n,).
        weight: Inverse probability of the arm it had, shape (n,).
        cluster: Units assigned together, shape (n,); None for none.
    """

    cost: Floats
    bought: Flags
    profit: Floats
    treated: Flags
    group: Ints
    weight: Floats
    cluster: Ints | None = None


def spend(
    arm: str, seen: Spent, *, later: Estimate | None = None, level: float = 0.95
) -> Spend:
    """Split coupon money into induced orders and those that would have come anyway.

    Who would have bought without the coupon is never seen beside what they cost with it; only
    both marginals are. The money of the would-be buyers, a share p0, lies between that of the
    p0 units that cost least and of the p0 that cost most (Frechet bounds of a product with an
    indicator), within groups of alike units, which tightens it.

    Args:
        arm: Name of the treatment.
        seen: Its units and those of control.
        later: Extra profit after the coupon's validity, where windows tell.
        level: Confidence level.

    References:
        Frechet (1951), *Annales de l'Universite de Lyon A* 14; Zhang and Rubin (2003),
        *JEBS* 28(4); Imbens and Manski (2004), *Econometrica* 72(6), equation 6.

    Examples:
        >>> cost = np.array([0.0] * 7 + [5.0, 10.0, 20.0] + [0.0] * 10)
        >>> treated = np.arange(20) < 10
        >>> bought = np.concatenate([cost[:10] > 0, np.arange(10) < 2])
        >>> one = np.zeros(20, dtype=int)
        >>> seen = Spent(cost=cost, bought=bought, profit=cost, treated=treated, group=one,
        ...              weight=np.full(20, 2.0))
        >>> found = spend("c20", seen)
        >>> found.total.estimate, found.wasted_low, round(found.wasted_high, 6)
        (3.5, 0.0, 3.0)
    """
    if not seen.treated.any() or seen.treated.all():
        raise DataError(
            f"{arm!r} cannot be split: it needs units with it and units of control."
        )
    groups = [seen.group == g for g in np.unique(seen.group)]
    if any(seen.treated[inside].all() or not seen.treated[inside].any() for inside in groups):
        # Groups that tell the arm were not known before it: one group is still right.
        groups = [np.ones(len(seen.group), dtype=bool)]
    parts = [_group(seen, inside, len(groups)) for inside in groups]
    total, low, high, point, least, most = (_added(parts, i) for i in range(6))
    wide, kept_away = (
        [
            _estimate(name, each, seen.cluster, level)
            for name, each in zip(ENDS, pair, strict=True)
        ]
        for pair in ((low, high), (least, most))
    )
    reach = _reach(wide[0], wide[1], level)
    return Spend(
        arm=arm,
        total=_estimate("coupon money", total, seen.cluster, level),
        wasted_low=wide[0].estimate,
        wasted_high=wide[1].estimate,
        interval=(max(reach[0], 0.0), reach[1]),
        wasted=_point(parts, point, seen.cluster, level),
        later=later or undefined("later", "no window ends with the coupon", level=level),
        sleeping=(kept_away[0].estimate, kept_away[1].estimate),
        sleeping_interval=_reach(kept_away[0], kept_away[1], level),
        note=ASSUMES,
    )


def alike(priority: ArrayLike, treated: ArrayLike, *, groups: int = 10) -> Ints:
    """Cut units into groups of alike chance to buy, none too small.

    Args:
        priority: Predicted without these units' outcomes, shape (n,).
        treated: Whether the unit had the treatment, shape (n,).
        groups: At most.
    """
    ranks = np.argsort(np.argsort(np.asarray(priority), kind="stable"), kind="stable")
    given = np.asarray(treated, dtype=bool)
    least = min(int(given.sum()), int((~given).sum()))
    count = max(1, min(groups, least // (2 * FEWEST)))
    found: Ints = (ranks * count) // max(len(ranks), 1)
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """One group: means with each unit's influence on them, over all units.

    Attributes:
        inside: Who belongs to it.
        means: Of money, least and most wasted, wasted under the assumption, and least and most
            profit lost on units that would buy only without the coupon.
        influence: Of each unit inside on each mean, shape (units inside, 6).
        share: Of all units.
        falls: z-statistic of fewer buying with it.
    """

    inside: Flags
    means: Floats
    influence: Floats
    share: float
    falls: float


def _group(seen: Spent, inside: Flags, groups: int) -> _Part:
    treated = seen.treated[inside]
    weights = seen.weight[inside]
    # Weights within the arm and group: shares of the group, whatever the arms' sizes.
    w1 = np.where(treated, weights, 0.0)
    w0 = np.where(treated, 0.0, weights)
    n = len(treated)
    w1, w0 = w1 * n / w1.sum(), w0 * n / w0.sum()
    cost, bought = seen.cost[inside], seen.bought[inside].astype(np.float64)
    p0, p1 = float((w0 * bought).mean()), float((w1 * bought).mean())
    drawn, buyers = w0 * (bought - p0), w1 * (bought - p1)
    error = np.sqrt((drawn**2).mean() / n + (buyers**2).mean() / n)
    falls = (p0 - p1) / error if error > 0 else 0.0
    mean = float((w1 * cost).mean())
    low, q_low, i_low = _tail(cost, w1, p0, least=True)
    high, q_high, i_high = _tail(cost, w1, p0, least=False)
    ratio = min(p0 / p1, 1.0) if p1 > 0 else 0.0
    move = mean / p1 if p1 > 0 else 0.0
    profit, among = seen.profit[inside], seen.bought[inside] & ~treated
    # A share that is below 0 by chance in some groups must not add up: it counts if it is sure.
    fewer, its_fewer = (p0 - p1, drawn - buyers) if falls > _sure(groups) else (0.0, 0 * drawn)
    more, its_more = (p0, drawn) if p0 <= 1 - p1 else (1 - p1, -buyers)
    lost, q_lost, i_lost = _tail(profit, w0, fewer, least=True, among=among)
    gone, q_gone, i_gone = _tail(profit, w0, more, least=False, among=among)
    influence = np.column_stack(
        [
            w1 * (cost - mean),
            i_low + q_low * drawn,
            i_high + q_high * drawn,
            ratio * w1 * (cost - mean) + move * (drawn - ratio * buyers),
            i_lost + q_lost * its_fewer,
            i_gone + q_gone * its_more,
        ]
    )
    return _Part(
        inside=inside,
        means=np.array([mean, low, high, mean * ratio, lost, gone]),
        influence=influence,
        share=n / len(inside),
        falls=falls,
    )


def _tail(
    money: Floats, weight: Floats, p: float, *, least: bool, among: Flags | None = None
) -> tuple[float, float, Floats]:
    """Mean money of the share p that has least (or most), its slope in p, its influence.

    Weights have the mean 1. Where ``among`` is given only these units are counted, and p is
    their share of all.
    """
    counted = np.ones(len(money), dtype=bool) if among is None else among
    if p <= 0 or not counted.any():
        return 0.0, 0.0, np.zeros(len(money))
    order = np.argsort(np.where(counted, money if least else -money, np.inf), kind="stable")
    mass = np.cumsum((weight * counted)[order]) / len(money)
    at = min(int(np.searchsorted(mass, p)), int(counted.sum()) - 1)
    edge = float(money[order[at]])
    # Integral of quantiles: money beyond the edge, and the edge for the rest of the share.
    beyond = np.minimum(money - edge, 0.0) if least else np.maximum(money - edge, 0.0)
    beyond = np.where(counted, beyond, 0.0)
    value = float((weight * beyond).mean())
    return value + edge * p, edge, weight * (beyond - value)


def _added(parts: list[_Part], which: int) -> tuple[float, Floats]:
    """Mean over all units and each unit's influence on it."""
    influence = np.zeros(len(parts[0].inside))
    total = float(sum(part.share * part.means[which] for part in parts))
    for part in parts:
        influence[part.inside] = part.influence[:, which] + part.means[which] - total
    return total, influence


def _reach(low: Estimate, high: Estimate, level: float) -> tuple[float, float]:
    """Interval of the amount itself, somewhere between two ends."""
    if not high.std_error > 0:
        return low.estimate, high.estimate
    # An amount of exactly 0 has no error of its own.
    ends = imbens_manski(
        low if low.std_error > 0 else replace(low, std_error=high.std_error), high, level
    )
    return ends[0] if low.std_error > 0 else low.estimate, ends[1]


def _estimate(
    name: str, found: tuple[float, Floats], cluster: Ints | None, level: float
) -> Estimate:
    value, influence = found
    cov, df = covariance(influence, cluster)
    return interval(name, value, float(cov[0, 0]), df=df, level=level)


def _point(
    parts: list[_Part], found: tuple[float, Floats], cluster: Ints | None, level: float
) -> Estimate:
    if max(part.falls for part in parts) > _sure(len(parts)):
        return undefined("wasted", CONTRADICTED, level=level)
    return _estimate("wasted", found, cluster, level)


def _sure(groups: int) -> float:
    """One-sided 5 % with all groups counted."""
    return float(special.ndtri(1 - 0.05 / groups))
