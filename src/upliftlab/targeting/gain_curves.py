"""What is gained, and at what cost, by treating the first few or nearly all?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import interval, undefined
from upliftlab.stats.joint import Joint
from upliftlab.targeting.answer import CurvePoint
from upliftlab.targeting.groups import group_effects
from upliftlab.targeting.rank_metrics import margin_effect
from upliftlab.targeting.ranking import (
    ROWS_AT_ONCE,
    Ranking,
    cluster_codes,
    column,
    corrected,
    covariance,
    middle_shares,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Moving = tuple[Floats, Floats]

COST_FALLS = "extra cost falls along the order: no curve against cost"
NO_COST = "extra cost of treating everybody is not clearly above 0"
NO_VALUE = "extra value of treating everybody is not clearly above 0: nothing to divide by"


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """A curve over the share of units treated, with the band of the whole.

    Attributes:
        name: What is shown.
        share: Share of units treated, rising, shape [m].
        joint: The values with their covariance.
        level: Confidence level of the pointwise intervals and of the band.
    """

    name: str
    share: Floats
    joint: Joint
    level: float

    @cached_property
    def critical(self) -> float:
        """Standard errors that the band reaches; NaN where nothing varies."""
        known = bool(np.isfinite(self.joint.cov).all())
        return self.joint.max_t(level=self.level) if known else float("nan")

    @property
    def value(self) -> Floats:
        """The curve, shape [m]."""
        return self.joint.value

    @property
    def std_error(self) -> Floats:
        """Pointwise standard errors, shape [m]."""
        out: Floats = np.sqrt(np.maximum(np.diag(self.joint.cov), 0.0))
        return out

    @property
    def low(self) -> Floats:
        """Lower end of the band, shape [m]."""
        out: Floats = self.value - np.nan_to_num(self.critical) * self.std_error
        return out

    @property
    def high(self) -> Floats:
        """Upper end of the band, shape [m]."""
        out: Floats = self.value + np.nan_to_num(self.critical) * self.std_error
        return out

    def estimate(self, i: int) -> Estimate:
        """Return one point with its own interval."""
        return self.joint.estimate(self.joint.names[i], level=self.level)

    def points(self) -> tuple[CurvePoint, ...]:
        """Return the points as the page shows them, over the share treated."""
        ends = zip(self.share.tolist(), self.low.tolist(), self.high.tolist(), strict=True)
        return tuple(
            CurvePoint(x=share, effect=self.estimate(i), low=low, high=high, share=share)
            for i, (share, low, high) in enumerate(ends)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CostCurve:
    """Gain against cost, both estimated, along one order of treating.

    Attributes:
        value: Extra value per unit of everybody.
        cost: Extra cost per unit of everybody.
        area: Extra value above treating at random, averaged over all budgets up to that of
            treating everybody, per unit; in money.
        aucc: The area under the curve as a share of the rectangle of treating everybody; 0.5
            at random. NaN with a note where that rectangle does not exist.
    """

    value: Curve
    cost: Curve
    area: Estimate
    aucc: Estimate

    def points(self) -> tuple[CurvePoint, ...]:
        """Return the points over money spent; the band is that of the value."""
        spend = [self.cost.estimate(i) for i in range(len(self.cost.share))]
        return tuple(
            replace(point, x=each.estimate, spend=each)
            for point, each in zip(self.value.points(), spend, strict=True)
        )


def gain_curve(
    psi: ArrayLike,
    priority: ArrayLike,
    *,
    shares: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> Curve:
    """Return the extra value per unit of everybody by share of units treated, best first.

    The band is that of the multiplier bootstrap on the influence functions with normal
    multipliers. Given the data its draws are exactly normal with the covariance of the
    influence functions, so the quantile of their largest |t| is computed instead of drawn: no
    seed and no matrix of n rows.

    Args:
        psi: Score of the effect of treating each unit, shape [n].
        priority: Shape [n]; higher is treated earlier. Equal values at the margin are treated
            in equal part.
        shares: Shares of units treated, shape [m]; by default 1%, 2%, ..., 100%.
        cluster: Units that were assigned together, shape [n].
        level: Confidence level.

    Returns:
        The curve in the unit of ``psi``; with clusters intervals and band are those of t with
        clusters - 1 df.

    References:
        Chernozhukov, Chetverikov and Kato (2013), *Annals of Statistics* 41(6), for the
        bootstrap; Sverdrup, Wu, Athey and Wager (2025), "Qini curves for multi-armed treatment
        rules", *Journal of Computational and Graphical Statistics*, for the curve.

    Examples:
        >>> curve = gain_curve([4.0, 1.0, 3.0, 0.0], [4, 2, 3, 1], shares=[0.25, 0.5, 1])
        >>> curve.value
        array([1.  , 1.75, 2.  ])
    """
    grid, ranking = _shares(shares), Ranking.of(priority)
    joint = _gains(ranking, column(psi, "psi", ranking.n), grid, cluster)
    return Curve(name="gain", share=grid, joint=joint, level=level)


def toc_curve(
    psi: ArrayLike,
    priority: ArrayLike,
    *,
    shares: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> Curve:
    """Return the mean effect of the first share of units less the mean effect of all.

    Arguments and band are those of ``gain_curve``; by default shares are 10%, ..., 100%. At
    100% the curve is 0 by definition.

    References:
        Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), *JASA* 120(549), equation 2.2.

    Examples:
        >>> curve = toc_curve([4.0, 1.0, 3.0, 0.0], [4, 2, 3, 1], shares=[0.25, 0.5])
        >>> curve.value
        array([2. , 1.5])
    """
    grid = _shares(np.arange(1, 11) / 10 if shares is None else shares)
    ranking = Ranking.of(priority)
    asked = np.append(grid, 1.0)
    gains = _gains(ranking, column(psi, "psi", ranking.n), asked, cluster)
    per_treated = np.column_stack([np.diag(1 / grid), -np.ones(len(grid))])
    joint = gains.linear(per_treated, gains.names[:-1])
    joint.value[grid == 1] = 0.0
    spread = np.diag(gains.cov)
    _steady(joint.cov, spread[:-1] / grid**2 + spread[-1])
    return Curve(name="toc", share=grid, joint=joint, level=level)


def cost_curve(
    psi: ArrayLike,
    cost: ArrayLike,
    priority: ArrayLike,
    *,
    shares: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> CostCurve:
    """Return extra value against extra cost along an order, and the area under that curve.

    Both are scores, so the uncertainty of either enters. The area is the mean over pairs of
    units of (value of the one ahead) x (cost of the one behind), a V-statistic: its influence
    function is exact and needs no grid.

    Args:
        psi: Score of the extra value of treating each unit, in minor units, shape [n].
        cost: Score of the extra cost, in minor units, shape [n].
        priority: Shape [n]; higher is treated earlier, such as value per unit of cost.
        shares: Shares of units treated, shape [m]; by default 1%, 2%, ..., 100%.
        cluster: Units that were assigned together, shape [n].
        level: Confidence level.

    References:
        Du, Lee and Ghaffarizadeh (2019), "Improve user retention with causal learning", PMLR
        104, for the area under the cost curve; Hoeffding (1948), *Annals of Mathematical
        Statistics* 19(3), for its variance.

    Examples:
        >>> scores = [4.0, 1.0, 3.0, 0.0] * 50
        >>> curve = cost_curve(scores, [1.0, 1.1, 1.0, 0.9] * 50, scores)
        >>> f"{curve.area.estimate:.3f}, {curve.aucc.estimate:.3f}"
        '0.434, 0.717'
    """
    grid, ranking = _shares(shares), Ranking.of(priority)
    value, spent = column(psi, "psi", ranking.n), column(cost, "cost", ranking.n)
    gains = _gains(ranking, value, grid, cluster)
    costs = _gains(ranking, spent, grid, cluster)
    area, aucc = _areas(ranking, value, spent, cluster=cluster, level=level)
    if _falls(ranking, spent, cluster):
        area = undefined(area.name, COST_FALLS, level=level)
        aucc = undefined(aucc.name, COST_FALLS, level=level)
    return CostCurve(
        value=Curve(name="gain", share=grid, joint=gains, level=level),
        cost=Curve(name="cost", share=grid, joint=costs, level=level),
        area=area,
        aucc=aucc,
    )


def budget_curve(
    psi: ArrayLike,
    cost: ArrayLike,
    priority: ArrayLike,
    slope: ArrayLike,
    *,
    shares: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> Curve:
    """Return extra value at the money that each share is measured to cost.

    The share that a budget pays for is itself estimated: where more was spent by chance, the
    same budget reaches fewer. The error at a budget is therefore that of value less slope times
    cost, not that of the value at a share.

    Args:
        psi: Score of the extra value of treating each unit, in minor units, shape [n].
        cost: Score of the extra cost, in minor units, shape [n].
        priority: Shape [n]; higher is treated earlier.
        slope: Extra value of the next unit of money at each share, shape [m]; NaN where it
            does not exist, and then the error is that of the value at the share.
        shares: Shares of units treated, shape [m]; by default 1%, 2%, ..., 100%.
        cluster: Units that were assigned together, shape [n].
        level: Confidence level.

    Returns:
        The curve of ``gain_curve`` with intervals and band for its height at given money.

    References:
        Sverdrup, Wu, Athey and Wager (2025), *Journal of Computational and Graphical
        Statistics*, where costs are known; Serfling (1980), section 3.3 (the delta method).

    Examples:
        >>> scores = np.array([4.0, 1.0, 3.0, 0.0] * 50)
        >>> known = budget_curve(scores, np.ones(200), scores, [3.0], shares=[0.5])
        >>> known.value.tolist(), f"{known.std_error[0]:.3f}"
        ([1.75], '0.059')
    """
    grid, ranking = _shares(shares), Ranking.of(priority)
    value, spent = column(psi, "psi", ranking.n), column(cost, "cost", ranking.n)
    rate = np.nan_to_num(np.asarray(slope, dtype=float))
    if rate.shape != grid.shape:
        raise UpliftlabError(f"slope has shape {rate.shape}; shares have {grid.shape}.")
    joint = _gains(ranking, value, grid, cluster, (spent, rate))
    return Curve(name="gain", share=grid, joint=joint, level=level)


def _shares(shares: ArrayLike | None) -> Floats:
    grid = np.arange(1, 101) / 100 if shares is None else np.asarray(shares, dtype=float)
    if grid.ndim != 1 or not grid.size or grid.min() <= 0 or grid.max() > 1:
        raise UpliftlabError(f"shares are {grid!r}; each lies above 0 and is at most 1.")
    if (np.diff(grid) <= 0).any():
        raise UpliftlabError(f"shares are {grid.tolist()}; they must rise.")
    return grid


def _gains(
    ranking: Ranking,
    score: Floats,
    grid: Floats,
    cluster: ArrayLike | None,
    priced: tuple[Floats, Floats] | None = None,
) -> Joint:
    """Gains at all shares with their covariance, from sums over pieces of the order.

    Each unit's influence at share q is part_q (score - margin_q), less its mean; at given money
    that of the cost, times the slope, is taken off. Units between two margins, or of one block
    of equals that a margin cuts, have the same parts: a piece.
    """
    piece, part = _pieces(ranking, grid)
    of_unit = np.repeat(piece, ranking.sizes)
    middle = float(score.mean())
    sums = ranking.block_sums(score - middle)
    value = part @ np.bincount(piece, weights=sums) / ranking.n + grid * middle
    # What a unit moves by is the sum of weight x score over these, [m] weights each.
    one, margin, moving = np.ones(len(grid)), np.zeros(len(grid)), []
    for each, weight in ((score, one), *(() if priced is None else ((priced[0], -priced[1]),))):
        around = each - each.mean()
        spread = np.repeat(ranking.block_sums(around) / ranking.sizes, ranking.sizes)
        margin += weight * margin_effect(ranking, np.append(0.0, np.cumsum(spread)), grid)
        moving.append((around[ranking.order], weight))
    moving.append((np.ones(ranking.n), -margin))
    if cluster is None:
        meat, groups = _unit_meat(of_unit, moving, part), ranking.n
    else:
        codes, groups = cluster_codes(cluster, ranking.n)
        meat = _clustered_meat(codes[ranking.order], of_unit, moving, part)
    cov, df = corrected(meat, n=ranking.n, groups=groups)
    _steady(cov, np.full(len(grid), float(np.mean(score**2)) / ranking.n))
    names = tuple(f"{100 * share:g}%" for share in grid)
    return Joint(names=names, value=value, cov=cov, df=np.full(len(grid), df))


def _unit_meat(piece: Ints, moving: Sequence[Moving], part: Floats) -> Floats:
    """Sum over units of the outer product of their influences."""
    n, meat, centre = len(piece), np.zeros((len(part), len(part))), np.zeros(len(part))
    for first, its_weight in moving:
        centre += its_weight * (part @ np.bincount(piece, weights=first)) / n
        for second, other_weight in moving:
            sums = np.bincount(piece, weights=first * second)
            meat += np.outer(its_weight, other_weight) * ((part * sums) @ part.T)
    return meat - n * np.outer(centre, centre)


def _steady(cov: Floats, scale: Floats) -> None:
    """Rounding is no variance: set to 0, in place, what is dust on the scale of its parts."""
    dust = np.diag(cov) <= 1e-13 * scale
    cov[dust] = cov[:, dust] = 0.0


def _pieces(ranking: Ranking, grid: Floats) -> tuple[Ints, Floats]:
    """Piece of each block [B], and part of each piece treated at each share [m, pieces]."""
    at = grid * ranking.n
    last = len(ranking.ends) - 1
    cut = np.minimum(np.searchsorted(ranking.ends, at - 1e-9 * ranking.n), last)
    begins = np.zeros(last + 2, dtype=bool)
    begins[0] = True
    begins[cut] = True
    begins[cut + 1] = True
    piece = np.cumsum(begins[:-1]) - 1
    first = np.flatnonzero(begins[:-1])
    size = ranking.sizes[first]
    # A piece of many blocks ends at or before a margin, or begins at or after one.
    part: Floats = np.clip((at[:, None] - (ranking.ends[first] - size)) / size, 0.0, 1.0)
    return piece, part


def _clustered_meat(codes: Ints, piece: Ints, moving: Sequence[Moving], part: Floats) -> Floats:
    """Sum over clusters of the outer product of their summed influences, a few at a time."""
    n = len(codes)
    by_cluster = np.argsort(codes, kind="stable")
    codes, piece = codes[by_cluster], piece[by_cluster]
    scores = [(score[by_cluster], weight) for score, weight in moving]
    centre = sum(w * (part @ np.bincount(piece, weights=s)) / n for s, w in scores)
    pieces = part.shape[1]
    step = max(1, ROWS_AT_ONCE // pieces)
    meat = np.zeros((len(part), len(part)))
    for start in range(0, int(codes[-1]) + 1, step):
        low, high = np.searchsorted(codes, [start, start + step])
        count = int(codes[high - 1]) - start + 1
        cell = (codes[low:high] - start) * pieces + piece[low:high]
        moved = -np.outer(np.bincount(codes[low:high] - start, minlength=count), centre)
        for score, weight in scores:
            sums = np.bincount(cell, weights=score[low:high], minlength=count * pieces)
            moved += weight * _treated(sums.reshape(count, pieces), part)
        meat += moved.T @ moved
    return meat


def _treated(by_piece: Floats | Ints, part: Floats) -> Floats:
    """Sum over the treated part of the order at each share: whole pieces, then one in part."""
    whole = (part == 1).sum(axis=1)
    next_one = np.minimum(whole, part.shape[1] - 1)
    rest = np.where(whole < part.shape[1], part[np.arange(len(part)), next_one], 0.0)
    summed = np.cumsum(by_piece, axis=1, dtype=float)
    before = np.where(whole > 0, summed[:, np.maximum(whole - 1, 0)], 0.0)
    return np.add(before, rest * by_piece[:, next_one], dtype=float)


def _areas(
    ranking: Ranking,
    value: Floats,
    cost: Floats,
    *,
    cluster: ArrayLike | None,
    level: float,
) -> tuple[Estimate, Estimate]:
    """Area above random in money, and the area as a share of the rectangle."""
    n = ranking.n
    values, costs = ranking.block_sums(value), ranking.block_sums(cost)
    ahead = ranking.of_units(np.cumsum(values) - values / 2) / n
    behind = ranking.of_units(costs.sum() - np.cumsum(costs) + costs / 2) / n
    all_value, all_cost = float(value.mean()), float(cost.mean())
    area = float(np.mean(cost * ahead))
    moved = np.column_stack(
        [cost * ahead + value * behind - 2 * area, value - all_value, cost - all_cost]
    )
    cov, df = covariance(moved, cluster)
    totals = [
        interval("all", each, float(cov[i, i]), df=df, level=level)
        for i, each in ((1, all_value), (2, all_cost))
    ]
    if not _is_positive(totals[1]):
        return tuple(undefined(name, NO_COST, level=level) for name in ("area", "aucc"))  # type: ignore[return-value]
    slope = np.array([1 / all_cost, -0.5, -area / all_cost**2])
    above = interval(
        "area", area / all_cost - all_value / 2, float(slope @ cov @ slope), df=df, level=level
    )
    if not _is_positive(totals[0]):
        return above, undefined("aucc", NO_VALUE, level=level)
    ratio = area / (all_value * all_cost)
    slope = ratio * np.array([1 / area if area else 0.0, -1 / all_value, -1 / all_cost])
    slope[0] = 1 / (all_value * all_cost)
    return above, interval("aucc", ratio, float(slope @ cov @ slope), df=df, level=level)


def _is_positive(total: Estimate) -> bool:
    """Clearly above 0: by its interval, or for sure."""
    return total.is_above_zero or (not total.std_error > 0 and total.estimate > 0)


def _falls(ranking: Ranking, cost: Floats, cluster: ArrayLike | None) -> bool:
    """Whether some twentieth of the order clearly costs less than nothing."""
    twentieth = np.minimum((middle_shares(ranking) * 20).astype(np.int64), 19)
    joint = group_effects(cost, twentieth, 20, cluster)
    spread = np.diag(joint.cov)
    known = bool(np.isfinite(spread).all())
    # Twentieths of one cluster each, or with one unit, say nothing for sure.
    reach = joint.max_t(level=0.95) if known and (spread > 0).any() else 0.0
    return known and bool((joint.value + reach * np.sqrt(spread) < 0).any())
