"""Which share should each arm have next, given what it has earned so far?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from upliftlab.errors import DesignError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]

Method = Literal["thompson", "top_two", "fixed"]
METHODS: tuple[Method, ...] = ("thompson", "top_two", "fixed")

GRID = 1_000
"""Shares are whole thousandths, so that assignment keeps them exactly."""

DRAWS = 40_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NextShares:
    """What the next epoch's shares are, and why.

    Attributes:
        share: Arm -> probability, in whole thousandths that add up to 1.
        best: Arm -> probability that it earns most, by what is known now.
        dropped: Arm -> why it has no share any more.
        method: "thompson", "top_two" or "fixed".
    """

    share: Mapping[str, float]
    best: Mapping[str, float]
    dropped: Mapping[str, str] = field(default_factory=dict)
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "share": dict(self.share),
            "best": dict(self.best),
            "dropped": dict(self.dropped),
            "method": self.method,
        }


def next_shares(
    profit: Joint,
    *,
    control: str,
    method: Method = "thompson",
    floor: float = 0.05,
    top: float = 0.5,
    prior_sd: float = float("inf"),
    dropped: Mapping[str, str] | None = None,
    seed: int = 1,
) -> NextShares:
    """Move shares towards the arms that may earn most, and keep a floor for all.

    Profit less control's is taken as normal with the estimates' covariance, times a normal
    prior around 0 if one is given. Thompson sampling gives each arm its probability of being
    the best; top-two sampling gives the leader ``top`` of the units and the rest to whoever
    may beat it, which learns more of the best arms and may earn less on the way. The floor
    keeps every arm measurable: without it an arm that was unlucky is never heard again.

    Args:
        profit: Each treatment's extra profit per unit against control.
        control: Its name; its own extra profit is 0.
        method: "thompson", "top_two", or "fixed" for equal shares of what is left.
        floor: Least share of every arm that is not dropped.
        top: Top-two: probability that the leader is given rather than its challenger.
        prior_sd: Standard deviation of the prior of an arm's extra profit, in its unit.
        dropped: Arm -> why: gets no share; never control.
        seed: Of the draws; the same estimates and seed give the same shares.

    Raises:
        DesignError: When the floor leaves nothing, control is dropped or nothing is estimated.

    References:
        Thompson (1933), *Biometrika* 25(3/4); Russo (2020), *Operations Research* 68(6),
        section 3 (top-two Thompson sampling).

    Examples:
        >>> from upliftlab.stats.joint import Joint
        >>> profit = Joint(names=("five", "twenty"), value=np.array([1.0, -4.0]),
        ...                cov=np.eye(2), df=np.full(2, np.inf))
        >>> next_shares(profit, control="none", floor=0.05).share
        {'none': 0.183, 'five': 0.767, 'twenty': 0.05}
    """
    out = dict(dropped or {})
    arms = (control, *profit.names)
    alive = [arm for arm in arms if arm not in out]
    _refuse_request(arms, out, control=control, method=method)
    _refuse_floor(floor, len(alive))
    _refuse_unknown(profit, alive)
    best = _best(profit, alive, prior_sd=prior_sd, seed=seed)
    if method == "thompson":
        wanted = best
    elif method == "top_two":
        wanted = top_two(best, top)
    else:
        wanted = np.full(len(alive), 1 / len(alive))
    mixed = floor + (1 - floor * len(alive)) * wanted
    share = dict(zip(alive, _on_grid(mixed, floor), strict=True))
    return NextShares(
        share={arm: share.get(arm, 0.0) for arm in arms},
        best={
            arm: float(p)
            for arm, p in zip(alive, best, strict=True)
        } | dict.fromkeys(out, 0.0),
        dropped=out,
        method=method,
    )  # fmt: skip


def _best(profit: Joint, alive: list[str], *, prior_sd: float, seed: int) -> Floats:
    """Return the probability that each arm is the best, control's extra profit being 0."""
    rows = [i for i, name in enumerate(profit.names) if name in alive]
    value, cov = profit.value[rows], profit.cov[np.ix_(rows, rows)]
    if np.isfinite(prior_sd):
        gain = np.linalg.solve(cov + prior_sd**2 * np.eye(len(rows)), cov).T
        value = value - gain @ value
        cov = cov - gain @ cov
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(cov + 1e-12 * np.trace(cov) * np.eye(len(rows)))
    draws = np.zeros((DRAWS, len(alive)))
    places = [alive.index(profit.names[i]) for i in rows]
    half = rng.normal(size=(DRAWS // 2, len(rows))) @ root.T
    draws[:, places] = value + np.concatenate([half, -half])
    count = np.bincount(draws.argmax(axis=1), minlength=len(alive))
    found: Floats = count / DRAWS
    return found


def top_two(best: Floats, top: float = 0.5) -> Floats:
    """Probability that top-two sampling draws each arm, in closed form.

    The first draw is the leader; the challenger is the first later draw that is another arm.
    """
    if len(best) == 1:
        return best
    # An arm that was never drawn as the best still has a chance of the order of one draw.
    p = np.maximum(best, 1 / (10 * DRAWS))
    p = p / p.sum()
    challenged = p / (1 - p)
    chance = p * (top + (1 - top) * (challenged.sum() - challenged))
    out: Floats = chance / chance.sum()
    return out


def _on_grid(share: Floats, floor: float) -> list[float]:
    """Round to thousandths by largest remainders; none falls below the floor's thousandths."""
    parts = share * GRID
    low = np.maximum(np.floor(parts), np.ceil(floor * GRID - 1e-9))
    rest = int(GRID - low.sum())
    order = np.argsort(-(parts - low), kind="stable")
    low[order[:rest] if rest > 0 else order[:0]] += 1
    for place in np.argsort(-low, kind="stable")[: max(-rest, 0)]:
        low[place] -= 1
    return [float(x) / GRID for x in low]


def _refuse_request(
    arms: tuple[str, ...], dropped: dict[str, str], *, control: str, method: str
) -> None:
    if method not in METHODS:
        raise DesignError(
            f"method is {method!r}; allowed: {sorted(METHODS)}.{nearest(method, METHODS)}"
        )
    strange = sorted(set(dropped) - set(arms))
    if strange:
        raise DesignError(
            f"{strange[0]!r} is to be dropped and is no arm; arms: {list(arms)}."
            f"{nearest(strange[0], arms)}"
        )
    if control in dropped:
        raise DesignError(
            f"control {control!r} is to be dropped; without it nothing says what an arm adds. "
            "Keep control, or stop the test."
        )


def _refuse_floor(floor: float, alive: int) -> None:
    if not 0 < floor <= 1 / alive:
        raise DesignError(
            f"the floor is {floor:.1%} for each of {alive} arms; write more than 0 and at most "
            f"{1 / alive:.1%}."
        )


def _refuse_unknown(profit: Joint, alive: list[str]) -> None:
    for i, name in enumerate(profit.names):
        if name in alive and not (np.isfinite(profit.value[i]) and profit.cov[i, i] > 0):
            raise DesignError(
                f"profit of arm {name!r} is not known yet; keep the planned shares until every "
                "arm has units with outcomes that vary."
            )
