"""What do incremental customers bring later, and what was only pulled forward?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.registry.record import plain
from upliftlab.stats.estimate import Estimate, interval
from upliftlab.stats.ratio import fieller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from upliftlab.stats.surrogate import SurrogateIndex

MEASURED, INDEX = "measured", "surrogate index"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """Lifetime value of incremental customers: a line of its own, below the headline.

    Attributes:
        name: Which experiment or mechanism.
        method: "measured" on a long window, or "surrogate index".
        horizon: Days from assignment.
        beyond: Days already in the headline.
        amount: Extra profit between ``beyond`` and ``horizon``, minor units, discounted.
        rate: Yearly discount rate.
        model: What it rests on, in one sentence.
        bypass: Direct effect against its sign that would take the interval to 0; 0 where it is
            there already, NaN where it was measured.
    """

    name: str
    method: str
    horizon: int
    beyond: int
    amount: Estimate
    rate: float
    model: str
    bypass: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def lifetime_measured(
    name: str,
    effects: Sequence[float],
    cov: ArrayLike,
    days: Sequence[int],
    *,
    units: float,
    beyond: int,
    rate: float = 0.0,
    level: float = 0.95,
) -> Lifetime:
    """Add up the effects of later stretches of a long window.

    Args:
        name: Which experiment.
        effects: Extra profit per assigned unit in each stretch, shape (T,).
        cov: Their covariance, shape (T, T).
        days: Last day of each stretch from assignment, shape (T,).
        units: Assigned units.
        beyond: Days in the headline: stretches that end later count here.
        rate: Yearly discount rate; each stretch is discounted from its middle.
        level: Confidence level.

    Raises:
        UpliftlabError: When no stretch reaches beyond the headline.

    Examples:
        >>> found = lifetime_measured("jacket", [3.0, 1.0, 0.5], np.eye(3) * 0.01,
        ...                           [60, 120, 180], units=1000, beyond=60)
        >>> f"{found.amount.estimate:.0f} +- {found.amount.std_error:.0f}"
        '1500 +- 141'
    """
    last = np.asarray(days, dtype=float)
    later = last > beyond
    if not later.any():
        raise UpliftlabError(
            f"lifetime value of {name!r} needs a stretch that ends after day {beyond}; its "
            f"stretches end on days {list(days)}."
        )
    first = np.concatenate([[0.0], last[:-1]])
    weight = np.where(later, (1 + rate) ** (-(first + last) / 2 / 365), 0.0) * units
    value = float(weight @ np.asarray(effects, dtype=float))
    variance = float(weight @ np.asarray(cov, dtype=float) @ weight)
    return Lifetime(
        name=name,
        method=MEASURED,
        horizon=int(last.max()),
        beyond=beyond,
        amount=interval(f"lifetime value of {name}", value, variance, level=level),
        rate=rate,
        model=f"measured on assigned units up to day {int(last.max())}",
        bypass=math.nan,
    )


def lifetime_from_index(
    name: str,
    index: SurrogateIndex,
    early: ArrayLike,
    cov: ArrayLike,
    *,
    units: float,
    beyond: int,
    rate: float = 0.0,
    level: float = 0.95,
) -> Lifetime:
    """Carry early effects to the horizon of a surrogate index.

    Args:
        name: Which experiment.
        index: Learned on a history whose long-run outcome starts after ``beyond``.
        early: Effects on the early outcomes, per assigned unit, shape (K,).
        cov: Their covariance, shape (K, K).
        units: Assigned units.
        beyond: Days in the headline.
        rate: Yearly discount rate, from the middle of the stretch.
        level: Confidence level.
    """
    per = (1 + rate) ** (-(beyond + index.horizon) / 2 / 365)
    title = f"lifetime value of {name}"
    found = index.effect(early, cov, units=units * per, name=title, level=level)
    return Lifetime(
        name=name,
        method=INDEX,
        horizon=index.horizon,
        beyond=beyond,
        amount=found,
        rate=rate,
        model=index.model,
        bypass=index.bypass(found),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PullForward:
    """What later quarters gave back.

    Attributes:
        by_quarter: Effect of each quarter since assignment, in total money or orders.
        cumulative: Running totals with their intervals.
        fraction: Share of the first quarter's gain that later ones took back: above 0 is pulled
            forward, below 0 is a habit that stays.
        sentence: What follows.
    """

    by_quarter: tuple[Estimate, ...]
    cumulative: tuple[Estimate, ...]
    fraction: Estimate
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def pull_forward(
    effects: ArrayLike, cov: ArrayLike, *, names: Sequence[str] = (), level: float = 0.95
) -> PullForward:
    """Return what was pulled forward: - later effects / effect of the first quarter.

    Args:
        effects: Effect per quarter since assignment, the treated quarter first, shape (Q,).
        cov: Joint covariance, shape (Q, Q).
        names: Of the quarters.
        level: Confidence level.

    Raises:
        UpliftlabError: With fewer than two quarters.

    Examples:
        >>> found = pull_forward([100.0, -30.0], [[25.0, -5.0], [-5.0, 25.0]])
        >>> f"{found.fraction.estimate:.0%}", f"{found.cumulative[1].estimate:.0f}"
        ('30%', '70')
    """
    y, v = np.asarray(effects, dtype=float), np.asarray(cov, dtype=float)
    if y.ndim != 1 or len(y) < 2 or v.shape != (len(y), len(y)):
        raise UpliftlabError(
            f"pull-forward needs two quarters with their covariance; it got effects of shape "
            f"{y.shape} and covariance of shape {v.shape}."
        )
    titles = list(names) or [f"quarter {q + 1}" for q in range(len(y))]
    rows = [
        interval(titles[q], float(y[q]), float(v[q, q]), level=level) for q in range(len(y))
    ]
    running = [
        interval(
            f"up to {titles[q]}",
            float(y[: q + 1].sum()),
            float(v[: q + 1, : q + 1].sum()),
            level=level,
        )
        for q in range(len(y))
    ]
    later = float(v[1:, 1:].sum())
    fraction = fieller(
        -float(y[1:].sum()),
        float(y[0]),
        later,
        float(v[0, 0]),
        -float(v[0, 1:].sum()),
        level=level,
        name="pulled forward",
    )
    return PullForward(
        by_quarter=tuple(rows),
        cumulative=tuple(running),
        fraction=fraction,
        sentence=_sentence(fraction),
    )


def _sentence(fraction: Estimate) -> str:
    if not fraction.excludes(0.0):
        return "later quarters cannot be told from 0"
    if fraction.estimate > 0:
        return f"later quarters gave back {fraction.estimate:.0%} of the gain"
    return f"later quarters added {-fraction.estimate:.0%} of the gain"
