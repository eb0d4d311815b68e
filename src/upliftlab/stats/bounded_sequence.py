"""Where does the mean of a bounded outcome lie, whenever one looks, without any approximation?

Units come in batches (assignment days); what is bet on a batch is fixed by the batches before,
so counts, means and second moments of the batches are all that is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

MOST_BET = 0.5
"""Largest share of wealth that is ever bet."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batches:
    """One arm's units in order of their batches.

    Attributes:
        n: Units, shape [B].
        mean: Means, shape [B].
        m2: Sums of squared deviations from the batch's mean, shape [B].
        low: Smallest value that the plan allows.
        high: Largest value that the plan allows.
    """

    n: Floats
    mean: Floats
    m2: Floats
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(
        cls,
        n: ArrayLike,
        mean: ArrayLike,
        m2: ArrayLike,
        *,
        low: float = 0.0,
        high: float = 1.0,
    ) -> Batches:
        """Check that such moments can come from values between the bounds.

        Raises:
            UpliftlabError: When they cannot: a value lies outside what the plan declares.
        """
        size, centre, spread = (np.asarray(x, dtype=float) for x in (n, mean, m2))
        if not low < high:
            raise UpliftlabError(f"bounds are {low} to {high}; the first must be smaller.")
        slack = 1e-9 * (high - low)
        outside = (centre < low - slack) | (centre > high + slack)
        most = size * (centre - low) * (high - centre)
        if (outside | (spread > most + 1e-6 * (size + 1) * (high - low) ** 2)).any():
            raise UpliftlabError(
                f"a bounded metric has values outside {low:g} to {high:g}; correct the bounds "
                "in looks.bounded, or take the metric out."
            )
        return cls(n=size, mean=centre, m2=spread, low=low, high=high)

    def unit_scale(self) -> Batches:
        """The same outcome, moved to [0, 1]."""
        width = self.high - self.low
        return Batches(n=self.n, mean=(self.mean - self.low) / width, m2=self.m2 / width**2)

    @property
    def is_binary(self) -> bool:
        """Whether every value is one of the two bounds, so that means tell everything."""
        one = self.unit_scale()
        return bool(np.allclose(one.m2, one.n * one.mean * (1 - one.mean), atol=1e-6))


def interval(batches: Batches, *, tuned_at: float, alpha: float = 0.05) -> tuple[float, float]:
    """Return the interval after all batches: betting where outcomes are yes or no.

    Args:
        batches: One arm.
        tuned_at: Units at which it is tightest.
        alpha: Error over all looks.
    """
    if batches.is_binary:
        return betting(batches, tuned_at=tuned_at, alpha=alpha)
    return empirical_bernstein(batches, tuned_at=tuned_at, alpha=alpha)


def empirical_bernstein(
    batches: Batches, *, tuned_at: float, alpha: float = 0.05
) -> tuple[float, float]:
    """Return the predictable plug-in empirical-Bernstein interval of a bounded mean.

    References:
        Waudby-Smith and Ramdas (2024), *Journal of the Royal Statistical Society B* 86(1),
        theorem 2, with bets fixed per batch.

    Examples:
        >>> day = Batches.of([4_000, 4_000], [0.3, 0.3], [340.0, 340.0])
        >>> low, high = empirical_bernstein(day, tuned_at=8_000)
        >>> f"{low:.3f} to {high:.3f}"
        '0.290 to 0.310'
    """
    one = batches.unit_scale()
    width = batches.high - batches.low
    bets, centres = _bets(one, tuned_at, math.log(2 / alpha))
    around = one.m2 + one.n * (one.mean - centres) ** 2
    psi = -np.log1p(-bets) - bets
    weight = float((bets * one.n).sum())
    if weight == 0:
        return batches.low, batches.high
    middle = float((bets * one.n * one.mean).sum()) / weight
    reach = (math.log(2 / alpha) + float((around * psi).sum())) / weight
    low, high = max(middle - reach, 0.0), min(middle + reach, 1.0)
    return batches.low + width * low, batches.low + width * high


def betting(batches: Batches, *, tuned_at: float, alpha: float = 0.05) -> tuple[float, float]:
    """Return the hedged betting interval of the mean of a yes/no outcome.

    The wealth of a gambler who bets that the mean is above m, and of one who bets that it is
    below, each with half the money; m is left out where either has multiplied the money by
    1 / alpha.

    References:
        Waudby-Smith and Ramdas (2024), *Journal of the Royal Statistical Society B* 86(1),
        section 4.4, with bets fixed per batch.

    Raises:
        UpliftlabError: When outcomes lie between the bounds: wealth needs every value then.

    Examples:
        >>> low, high = betting(Batches.of([1_000], [0.1], [90.0]), tuned_at=1_000)
        >>> f"{low:.3f} to {high:.3f}"
        '0.071 to 0.130'
    """
    if not batches.is_binary:
        raise UpliftlabError("betting needs outcomes that are one of the two bounds.")
    one = batches.unit_scale()
    width = batches.high - batches.low
    bets, _ = _bets(one, tuned_at, math.log(2 / alpha))
    yes = one.n * one.mean
    no = one.n - yes
    goal = math.log(2 / alpha)

    def up(m: float) -> float:
        bet = np.minimum(bets, MOST_BET / m)
        return float((yes * np.log1p(bet * (1 - m)) + no * np.log1p(-bet * m)).sum()) - goal

    def down(m: float) -> float:
        bet = np.minimum(bets, MOST_BET / (1 - m))
        return float((yes * np.log1p(-bet * (1 - m)) + no * np.log1p(bet * m)).sum()) - goal

    tiny = 1e-12
    low = float(brentq(up, tiny, 1 - tiny)) if up(tiny) > 0 > up(1 - tiny) else 0.0
    high = float(brentq(down, tiny, 1 - tiny)) if down(tiny) < 0 < down(1 - tiny) else 1.0
    return batches.low + width * low, batches.low + width * high


def difference(
    treatment: Batches, control: Batches, *, tuned_at: float, alpha: float = 0.05
) -> tuple[float, float]:
    """Return an interval for treatment minus control, each arm's holding with alpha / 2.

    Args:
        treatment: Batches of the treatment.
        control: Batches of control.
        tuned_at: Units of both arms together at which it is tightest.
        alpha: Error over all looks and both arms.
    """
    share = treatment.n.sum() / (treatment.n.sum() + control.n.sum())
    t_low, t_high = interval(treatment, tuned_at=tuned_at * share, alpha=alpha / 2)
    c_low, c_high = interval(control, tuned_at=tuned_at * (1 - share), alpha=alpha / 2)
    return t_low - c_high, t_high - c_low


def _bets(one: Batches, tuned_at: float, reach: float) -> tuple[Floats, Floats]:
    """Bet per batch and centre of its variance, from the batches before it."""
    before = np.concatenate([[0.0], np.cumsum(one.n)[:-1]])
    total = np.concatenate([[0.0], np.cumsum(one.n * one.mean)[:-1]])
    squares = np.concatenate([[0.0], np.cumsum(one.m2 + one.n * one.mean**2)[:-1]])
    # Half a unit at the middle and its largest variance stand for what is not known yet.
    centre = (total + 0.5) / (before + 1)
    spread = (squares + 0.5) / (before + 1) - centre**2
    spread = np.maximum(spread, 1e-4)
    bets = np.minimum(np.sqrt(2 * reach / (spread * tuned_at)), MOST_BET)
    return bets, centre
