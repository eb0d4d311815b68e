"""How precise is an effect when clusters switch on, or on and off, over time?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.stats.estimate import NAN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

Shape = Literal["exchangeable", "decaying"]


def period_covariance(
    periods: int,
    *,
    sd: float,
    size: float = 1.0,
    icc: float = 1.0,
    autocorrelation: float = 1.0,
    same_units: float = 0.0,
    shape: Shape = "exchangeable",
) -> Floats:
    """Return the covariance [T, T] of the means of one cluster over periods.

    Args:
        periods: T.
        sd: Standard deviation of a unit in one period.
        size: Units per cluster; with 1 the cluster's own series is meant.
        icc: Correlation of two units of a cluster in one period.
        autocorrelation: Of the cluster's part from period to period: 1 is Hussey and Hughes.
        same_units: Correlation of a unit's own part between periods, where the same units are
            followed; 0 for fresh units each period.
        shape: Whether the cluster's autocorrelation is the same at any distance, or decays.

    References:
        Hooper et al. (2016), *Statistics in Medicine* 35(26), for the block-exchangeable form;
        Kasza et al. (2019), *Statistical Methods in Medical Research* 28(3), for decay.

    Examples:
        >>> period_covariance(2, sd=1.0, size=10, icc=0.1).round(3)
        array([[0.19, 0.1 ],
               [0.1 , 0.19]])
    """
    lag = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
    across = np.where(lag == 0, 1.0, autocorrelation)
    if shape == "decaying":
        across = np.power(float(autocorrelation), lag)
    own = np.where(lag == 0, 1.0, same_units)
    out: Floats = sd**2 * (icc * across + (1 - icc) / size * own)
    return out


def schedule_std_error(is_on: ArrayLike, covariance: ArrayLike) -> float:
    """Return the standard error of a constant effect under the best weights for a schedule.

    Generalised least squares with an effect for every period and clusters that share one
    covariance: the bound that no other estimator of a constant effect beats.

    Args:
        is_on: Who is treated when, shape [G, T]; shares between 0 and 1 are allowed.
        covariance: Of a cluster's means over periods, shape [T, T].

    Returns:
        The standard error; NaN where the schedule does not identify the effect.

    References:
        Hussey and Hughes (2007), *Contemporary Clinical Trials* 28(2), equation 8, for the
        exchangeable case.

    Examples:
        >>> wedge = stepped_wedge(6, 3)
        >>> round(schedule_std_error(wedge, period_covariance(4, sd=1.0, size=20, icc=0.05)), 4)
        0.1599
    """
    x = np.asarray(is_on, dtype=float)
    inverse = np.linalg.inv(np.asarray(covariance, dtype=float))
    gap = x - x.mean(axis=0)
    information = float(np.einsum("gt,ts,gs->", gap, inverse, gap))
    return 1 / math.sqrt(information) if information > 1e-12 else NAN


def stepped_wedge(
    clusters: int, waves: int, *, before: int = 1, each: int = 1, after: int = 0
) -> Bools:
    """Return a schedule in which clusters switch on in equal waves, shape [G, T].

    Args:
        clusters: G, shared out over waves as evenly as they divide.
        waves: How many times some clusters switch.
        before: Periods before the first wave.
        each: Periods from one wave to the next.
        after: Periods added after the last wave has had its ``each``.

    Raises:
        DesignError: When there are more waves than clusters, or no period before.

    References:
        Hussey and Hughes (2007), *Contemporary Clinical Trials* 28(2).

    Examples:
        >>> stepped_wedge(4, 2).astype(int)
        array([[0, 1, 1],
               [0, 1, 1],
               [0, 0, 1],
               [0, 0, 1]])
    """
    if waves > clusters:
        message = (
            f"a roll-out in {waves} waves needs at least {waves} clusters and there are "
            f"{clusters}; plan {clusters} waves or fewer."
        )
        raise DesignError(message)
    if waves < 1 or before < 1 or each < 1 or after < 0:
        message = (
            f"a roll-out has {waves} waves, {before} periods before and {each} between waves; "
            "each must be 1 or more."
        )
        raise DesignError(message)
    wave = np.sort(np.arange(clusters) * waves // clusters)
    start = before + wave * each
    time = np.arange(before + waves * each + after)
    return np.asarray(time[None, :] >= start[:, None])


def weighted_std_error(slope: ArrayLike, clusters: ArrayLike, covariance: ArrayLike) -> float:
    """Return the standard error of a linear map of cohort means, such as a group-time average.

    Args:
        slope: Weight of each cohort's mean in each period, shape [S, T].
        clusters: Clusters per cohort, shape [S].
        covariance: Of one cluster's means over periods, shape [T, T].

    Examples:
        >>> gap = [[-1.0, 1.0], [1.0, -1.0]]
        >>> round(weighted_std_error(gap, [8, 8], np.eye(2)), 4)
        0.7071
    """
    w = np.asarray(slope, dtype=float)
    v = np.asarray(covariance, dtype=float)
    each = np.einsum("st,tu,su->s", w, v, w) / np.asarray(clusters, dtype=float)
    return math.sqrt(float(each.sum()))


def switchback_std_error(
    covariance: ArrayLike,
    block: Sequence[int] | Ints,
    pair: Sequence[int] | Ints,
    *,
    burn_in: int = 0,
    level: ArrayLike | None = None,
) -> float:
    """Return the standard error of "on minus off" over pairs of blocks decided by coins.

    Coins are independent, so differences of pairs do not covary however the series does; what
    differs between the blocks of a pair by itself, such as weekdays, adds its square.

    Args:
        covariance: Of the periods, shape [T, T].
        block: Block of each period, shape [T].
        pair: Pair of each period's block, -1 for none, shape [T].
        burn_in: Periods dropped at the start of every block.
        level: Expected outcome of each period without treatment, shape [T].

    Raises:
        DesignError: When a block is not longer than its burn-in, or fewer than two pairs.

    References:
        Bojinov, Simchi-Levi and Zhao (2023), *Management Science* 69(7), section 3; Imai, King
        and Nall (2009), *Statistical Science* 24(1), for pairs.

    Examples:
        >>> days = np.arange(28)
        >>> round(switchback_std_error(np.eye(28), days, days // 2), 4)
        0.378
    """
    v = np.asarray(covariance, dtype=float)
    blocks, pairs = np.asarray(block), np.asarray(pair)
    base = np.zeros(len(blocks)) if level is None else np.asarray(level, dtype=float)
    weights = _pair_weights(blocks, pairs, burn_in)
    noise = np.einsum("pt,tu,pu->p", weights, v, weights)
    total = float((noise + (weights @ base) ** 2).sum())
    return math.sqrt(total) / len(weights)


def carried_over(blocks: int, length: int, *, burn_in: int, lasts: int) -> float:
    """Return the share of the effect that a switchback still shows when an effect lingers.

    The effect is taken to fade in, and out, at once after ``lasts`` periods; a block follows
    one of the other state half of the time.

    Args:
        blocks: Blocks in all.
        length: Periods per block.
        burn_in: Periods dropped at the start of every block.
        lasts: Periods for which the state before still rules.

    Examples:
        >>> carried_over(28, 4, burn_in=1, lasts=2), carried_over(28, 4, burn_in=2, lasts=2)
        (0.8392857142857143, 1.0)
    """
    wrong = max(0, min(lasts, length) - burn_in) / max(length - burn_in, 1)
    return 1 - wrong / 2 * (blocks - 1) / blocks


def _pair_weights(blocks: Ints, pairs: Ints, burn_in: int) -> Floats:
    """First less second block of each pair as weights over periods, shape [P, T]."""
    rows = []
    for number in np.unique(pairs[pairs >= 0]):
        inside = np.unique(blocks[pairs == number])
        if len(inside) != 2:
            message = f"pair {number} of the switchback has {len(inside)} blocks; it needs 2."
            raise DesignError(message)
        row = np.zeros(len(blocks))
        for sign, each in zip((1.0, -1.0), inside, strict=True):
            at = np.flatnonzero(blocks == each)[burn_in:]
            if not at.size:
                message = (
                    f"blocks of the switchback have {int((blocks == each).sum())} periods and "
                    f"{burn_in} of them are burn-in; blocks must be longer."
                )
                raise DesignError(message)
            row[at] = sign / len(at)
        rows.append(row)
    if len(rows) < 2:
        message = f"a switchback of {len(rows)} pairs has no standard error; plan two or more."
        raise DesignError(message)
    return np.stack(rows)
