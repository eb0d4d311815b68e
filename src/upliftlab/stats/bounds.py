"""How far can missing outcomes move a difference?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import optimize

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import NAN, Estimate, interval, undefined, upper_tail

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The range of differences that the missing outcomes allow.

    Attributes:
        name: What is bounded.
        low: Estimate of the lower bound.
        high: Estimate of the upper bound.
        ci_low: Lower end of the interval for the difference itself.
        ci_high: Its upper end.
        level: Its confidence level.
        missing_t: Share of treatment without outcome.
        missing_c: Share of control without outcome.
        note: What a reader must know; empty when nothing.
    """

    name: str
    low: Estimate
    high: Estimate
    ci_low: float = NAN
    ci_high: float = NAN
    level: float = 0.95
    missing_t: float = NAN
    missing_c: float = NAN
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One arm of which some outcomes are missing.

    Attributes:
        assigned: Units assigned.
        observed: Units with an outcome.
        mean: Mean of the outcomes seen.
        variance: Their sample variance.
    """

    assigned: int
    observed: int
    mean: float
    variance: float


def lee(
    treatment: ArrayLike,
    assigned_t: int,
    control: ArrayLike,
    assigned_c: int,
    *,
    level: float = 0.95,
    name: str = "difference",
) -> Bounds:
    """Return trimming bounds of the effect on units observed in either arm.

    Assumes that treatment moves everybody's being observed in one direction only. The arm seen
    more often is trimmed, from above and from below, to the share of the other.

    Args:
        treatment: Outcomes seen, shape [observed].
        assigned_t: Units assigned to treatment.
        control: Outcomes seen, shape [observed].
        assigned_c: Units assigned to control.
        level: Confidence level of the Imbens-Manski interval.
        name: What is bounded.

    Returns:
        Bounds with standard errors that count the estimated trimming share; NaN with a note
        where an arm shows fewer than two outcomes.

    Raises:
        UpliftlabError: When more outcomes are seen than units assigned.

    References:
        Lee (2009), *Review of Economic Studies* 76(3), propositions 2 and 3; Imbens and Manski
        (2004), *Econometrica* 72(6).

    Examples:
        >>> found = lee([1.0, 2.0, 3.0, 4.0], 4, [1.0, 2.0], 4)
        >>> found.low.estimate, found.high.estimate
        (0.0, 2.0)
    """
    y_t, y_c = np.sort(np.asarray(treatment, float)), np.sort(np.asarray(control, float))
    seen_t, seen_c = _share(len(y_t), assigned_t), _share(len(y_c), assigned_c)
    if min(len(y_t), len(y_c)) < 2:
        missing = undefined(name, "an arm shows fewer than two outcomes", level=level)
        return Bounds(name=name, low=missing, high=missing, level=level, note=missing.note)
    trim_treatment = seen_t >= seen_c
    more, fewer = (y_t, y_c) if trim_treatment else (y_c, y_t)
    kept = min(seen_t, seen_c) / max(seen_t, seen_c)
    # Variance of the log of the kept share (Lee 2009, V^p).
    of_log = (1 - seen_t) / len(y_t) + (1 - seen_c) / len(y_c)
    lowest = _trimmed(more, kept, of_log, "lowest")
    highest = _trimmed(more, kept, of_log, "highest")
    plain = (float(fewer.mean()), float(fewer.var(ddof=1)) / len(fewer))
    if trim_treatment:
        pairs = ((lowest, plain), (highest, plain))
    else:
        pairs = ((plain, highest), (plain, lowest))
    low, high = (
        interval(label, a[0] - b[0], a[1] + b[1], level=level)
        for label, (a, b) in zip((f"{name}, lower", f"{name}, upper"), pairs, strict=True)
    )
    note = f"{1 - kept:.1%} of {'treatment' if trim_treatment else 'control'} trimmed"
    return _bounds(name, low, high, missing=(1 - seen_t, 1 - seen_c), note=note)


def manski(
    treatment: Observed,
    control: Observed,
    limits: tuple[float, float],
    *,
    level: float = 0.95,
    name: str = "difference",
) -> Bounds:
    """Return worst-case bounds: missing outcomes are as low, or as high, as they can be.

    Args:
        treatment: Its moments.
        control: Its moments.
        limits: Least and greatest possible outcome.
        level: Confidence level of the Imbens-Manski interval.
        name: What is bounded.

    Returns:
        Bounds of the effect on all assigned units, without any assumption on who is missing;
        NaN with a note where an arm has no units.

    Raises:
        UpliftlabError: When more outcomes are seen than units assigned, or limits are reversed.

    References:
        Manski (1990), *American Economic Review* 80(2); Horowitz and Manski (2000),
        *Journal of the American Statistical Association* 95(449).

    Examples:
        >>> arm = Observed(assigned=10, observed=8, mean=0.5, variance=0.25)
        >>> found = manski(arm, arm, (0.0, 1.0))
        >>> round(found.low.estimate, 6), round(found.high.estimate, 6)
        (-0.2, 0.2)
    """
    floor, ceiling = limits
    if not floor <= ceiling:
        raise UpliftlabError(
            f"limits are {floor:g} and {ceiling:g}; write the lower one first."
        )
    if min(treatment.assigned, control.assigned) == 0:
        missing = undefined(name, "an arm has no units", level=level)
        return Bounds(name=name, low=missing, high=missing, level=level, note=missing.note)
    t_low, t_high = _filled(treatment, floor), _filled(treatment, ceiling)
    c_low, c_high = _filled(control, floor), _filled(control, ceiling)
    low = interval(f"{name}, lower", t_low[0] - c_high[0], t_low[1] + c_high[1], level=level)
    high = interval(f"{name}, upper", t_high[0] - c_low[0], t_high[1] + c_low[1], level=level)
    seen = (arm.observed / arm.assigned for arm in (treatment, control))
    missing_t, missing_c = (1 - share for share in seen)
    return _bounds(name, low, high, missing=(missing_t, missing_c), note="")


def imbens_manski(low: Estimate, high: Estimate, level: float) -> tuple[float, float]:
    """Return the interval that covers the bounded number, not the whole range, at ``level``.

    References:
        Imbens and Manski (2004), *Econometrica* 72(6).

    Examples:
        >>> point = interval("a", 0.0, 1.0)
        >>> [round(end, 4) for end in imbens_manski(point, point, 0.95)]
        [-1.96, 1.96]
    """
    if not (low.std_error > 0 and high.std_error > 0):
        return NAN, NAN
    gap = max(0.0, high.estimate - low.estimate) / max(low.std_error, high.std_error)
    reach = optimize.brentq(
        lambda c: upper_tail(c + gap) + upper_tail(c) - (1 - level), 0.0, 40.0
    )
    return low.estimate - reach * low.std_error, high.estimate + reach * high.std_error


def _bounds(
    name: str, low: Estimate, high: Estimate, *, missing: tuple[float, float], note: str
) -> Bounds:
    ci_low, ci_high = imbens_manski(low, high, low.level)
    return Bounds(
        name=name,
        low=low,
        high=high,
        ci_low=ci_low,
        ci_high=ci_high,
        level=low.level,
        missing_t=missing[0],
        missing_c=missing[1],
        note=note,
    )


def _share(observed: int, assigned: int) -> float:
    if observed > assigned:
        raise UpliftlabError(f"{observed} outcomes are seen of {assigned} units assigned.")
    return observed / assigned if assigned > 0 else 0.0


def _trimmed(
    values: Floats, kept: float, of_log: float, end: Literal["lowest", "highest"]
) -> tuple[float, float]:
    """Mean of the kept end of sorted values and its variance; the edge value counts in part."""
    ordered = values if end == "lowest" else values[::-1]
    mass = kept * len(ordered)
    weight = np.clip(mass - np.arange(len(ordered)), 0.0, 1.0)
    mean = float(weight @ ordered) / mass
    spread = float(weight @ (ordered - mean) ** 2) / mass
    edge = float(ordered[min(math.ceil(mass), len(ordered)) - 1])
    pull = (edge - mean) ** 2
    sampled = (spread + pull * (1 - kept)) / mass
    return mean, sampled + pull * of_log


def _filled(arm: Observed, value: float) -> tuple[float, float]:
    """Mean over all assigned, missing outcomes set to a value, and its variance."""
    share = _share(arm.observed, arm.assigned)
    if arm.observed == 0:
        return value, 0.0
    mean = share * arm.mean + (1 - share) * value
    spread = share * arm.variance if arm.observed > 1 else 0.0
    return mean, (spread + share * (1 - share) * (arm.mean - value) ** 2) / arm.assigned
