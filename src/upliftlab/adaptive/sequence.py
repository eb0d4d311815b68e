"""Which range of an arm's profit holds however often shares are moved and looked at?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.stats.confidence_sequence import always_valid_p, multiplier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.adaptive.weighted import Epoch
    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]

FEWEST, ACTIVE = 250, 50
"""First permitted look: units, and units with an outcome, in the smaller arm."""

TOO_EARLY = f"before {FEWEST} units and {ACTIVE} with an outcome in every arm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one arm had earned, against control, by the end of an epoch.

    Attributes:
        arm: Its name.
        epoch: The last epoch that counts.
        units: Of this arm and control, over the epochs in which both had a share.
        estimate: Extra profit per unit, epochs weighed by what was known before them.
        std_error: Of it.
        ci_low: Lower end of the range that holds at all looks at once.
        ci_high: Upper end.
        p_value: Always-valid: may be read at every look.
        information: Share of the information at which the range is tightest.
        note: Why there is no range; empty when there is one.
    """

    arm: str
    epoch: str
    units: int
    estimate: float
    std_error: float
    ci_low: float
    ci_high: float
    p_value: float
    information: float
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        numbers = ("estimate", "std_error", "ci_low", "ci_high", "p_value", "information")
        plain = {
            name: value if math.isfinite(value := getattr(self, name)) else None
            for name in numbers
        }
        words = {"arm": self.arm, "epoch": self.epoch, "units": self.units, "note": self.note}
        return words | plain


def running(
    value: ArrayLike, variance: ArrayLike, units: ArrayLike, root: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Add up epochs, the last axis, with weights that no outcome can touch.

    Epoch t counts units x root of 1 / (1 / own share + 1 / control's share): shares were fixed
    before its outcomes, so sums of weight x (difference - truth) are a martingale, and every
    unit adds about the same variance (Hadad et al. 2021).

    Args:
        value: Arm less control within each epoch, shape [..., T].
        variance: Of it.
        units: Of the epoch, all arms.
        root: Root of own share x control's share / their sum; 0 where either had none.

    Returns:
        Estimate, standard error and accumulated variance of the weighted sum at the end of
        every epoch, each of shape [..., T].

    Examples:
        >>> found = running([1.0, 3.0], [0.1, 0.1], [100, 100], [0.5, 0.5])
        >>> [each.round(3).tolist() for each in found]
        [[1.0, 2.0], [0.316, 0.224], [250.0, 500.0]]
    """
    weight = np.asarray(units, dtype=float) * np.asarray(root, dtype=float)
    has = weight > 0
    total = np.cumsum(weight, axis=-1)
    gain = np.cumsum(weight * np.where(has, value, 0.0), axis=-1)
    spread = np.cumsum(weight**2 * np.where(has, variance, 0.0), axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return gain / total, np.sqrt(spread) / total, spread


def ranges(
    estimate: Floats, std_error: Floats, spread: Floats, *, horizon: ArrayLike, alpha: float
) -> tuple[Floats, Floats]:
    """Return the ends of the asymptotic confidence sequence, tightest at ``horizon``.

    Args:
        estimate: See ``running``, shape [..., T].
        std_error: Likewise.
        spread: Accumulated variance: the time on which the sequence runs.
        horizon: Accumulated variance at which it is tightest, fixed by the first look.
        alpha: Error over all looks.

    References:
        Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), *Annals of Statistics* 52(6),
        theorem 2.5, for martingales whose variance is estimated.
    """
    time = spread / np.asarray(horizon, dtype=float)
    with np.errstate(invalid="ignore"):
        reach = std_error * multiplier(time, tuned_at=1.0, alpha=alpha)
    return estimate - reach, estimate + reach


def looks(
    profits: Sequence[Joint | None],
    units: Sequence[Sequence[int]],
    epochs: Sequence[Epoch],
    *,
    arms: Sequence[str],
    planned: float,
    level: float = 0.95,
    active: Sequence[Sequence[int]] | None = None,
) -> tuple[Look, ...]:
    """Read every arm at the end of every epoch, all arms counted.

    Args:
        profits: Extra profit of the epoch's treatments, epochs in order; None where an epoch
            has no arm besides control.
        units: Of each arm in each epoch, control first, [T][A].
        epochs: Their shares.
        arms: Control, then the treatments.
        planned: Units of all arms at which ranges are to be tightest, fixed before outcomes.
        level: Of all ranges of all arms together, by Bonferroni.
        active: Units with an outcome, [T][A]; None where nobody counted them. A range begins
            at ``FEWEST`` units and ``ACTIVE`` with an outcome in the smaller arm.

    Examples:
        >>> from upliftlab.adaptive.weighted import Epoch
        >>> from upliftlab.stats.joint import Joint
        >>> gain = Joint(names=("ten",), value=np.array([1.0]), cov=np.array([[0.04]]),
        ...              df=np.array([np.inf]))
        >>> epoch = Epoch(name="1", share={"none": 0.5, "ten": 0.5})
        >>> [look] = looks([gain], [[500, 500]], [epoch], arms=["none", "ten"], planned=4_000)
        >>> round(look.ci_low, 2), round(look.ci_high, 2)
        (0.35, 1.65)
    """
    control, treatments = arms[0], arms[1:]
    alpha = (1 - level) / len(treatments)
    count = np.array([sum(row) for row in units], dtype=float)
    found = []
    for a, arm in enumerate(treatments, 1):
        root = np.array([_root(epoch, arm, control) for epoch in epochs])
        rows = [
            (np.nan, np.nan) if joint is None or arm not in joint.names else _row(joint, arm)
            for joint in profits
        ]
        root = np.where([math.isfinite(v) and s > 0 for v, s in rows], root, 0.0)
        value, variance = np.array(rows).T
        estimate, error, spread = running(value, variance, count, root)
        own = np.cumsum([(row[a], row[0]) for row in units], axis=0)
        is_ready = (own.min(axis=1) >= FEWEST) & (spread > 0)
        if active is not None:
            some = np.cumsum([(row[a], row[0]) for row in active], axis=0)
            is_ready &= some.min(axis=1) >= ACTIVE
        ready = np.flatnonzero(is_ready)
        first = int(ready[0]) if ready.size else len(epochs)
        horizon = np.nan
        if ready.size:
            horizon = spread[first] * max(planned / count[: first + 1].sum(), 1.0)
        low, high = ranges(estimate, error, spread, horizon=horizon, alpha=alpha)
        for t, epoch in enumerate(epochs):
            is_early = t < first
            z = estimate[t] / error[t] if not is_early else math.nan
            p = always_valid_p(z, spread[t] / horizon, tuned_at=1.0, alpha=alpha)
            found.append(
                Look(
                    arm=arm,
                    epoch=epoch.name,
                    units=int(own[t].sum()),
                    estimate=float(estimate[t]),
                    std_error=float(error[t]),
                    ci_low=math.nan if is_early else float(low[t]),
                    ci_high=math.nan if is_early else float(high[t]),
                    p_value=math.nan if is_early else min(1.0, p * len(treatments)),
                    information=math.nan if is_early else float(spread[t] / horizon),
                    note=TOO_EARLY if is_early else "",
                )
            )
    return tuple(found)


def _root(epoch: Epoch, arm: str, control: str) -> float:
    own, other = epoch.share.get(arm, 0.0), epoch.share.get(control, 0.0)
    return math.sqrt(own * other / (own + other)) if own > 0 and other > 0 else 0.0


def _row(joint: Joint, arm: str) -> tuple[float, float]:
    k = joint.names.index(arm)
    return float(joint.value[k]), float(joint.cov[k, k])
