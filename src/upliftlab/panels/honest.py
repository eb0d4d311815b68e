"""Does the decision survive if trends were not parallel, and up to which violation?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from scipy import optimize

from upliftlab.errors import DesignError, nearest
from upliftlab.panels import arp, flci
from upliftlab.panels.restrictions import Kind, Restriction, differences, polyhedra
from upliftlab.stats.estimate import DOES_NOT_VARY, critical_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upliftlab.panels.event_path import EventPath

    Solver = Callable[[float], tuple[float, float]]

Method = Literal["flci", "conditional", "c_lf", "c_flci"]

EMPTY = "every value is rejected: the estimates do not fit the restriction"
_FIRST_STAGE = 0.1
_RELATIVE_LIMIT = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HonestInterval:
    """A confidence interval that allows for trends that are not parallel.

    Attributes:
        restriction: What is assumed about the trends; ``None`` where they are parallel.
        m: Size of the allowed violation: M in the unit of the effect per period for
            ``smoothness``, otherwise Mbar, a multiple of the largest violation before.
        low: Lower end.
        high: Upper end.
        level: Confidence level.
        method: How it was computed.
        note: What a reader must know; empty when nothing.
    """

    restriction: Restriction | None
    m: float
    low: float
    high: float
    level: float
    method: Method | Literal["parallel_trends"]
    note: str = ""

    def contains(self, value: float) -> bool:
        """Whether the value lies inside; an interval that does not exist holds nothing."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakeven:
    """The smallest violation at which a decision hurdle can no longer be excluded.

    Attributes:
        m: Size of the violation; NaN where the decision does not flip on the searched range.
        threshold: The hurdle, in the unit of the effect.
        searched: Largest violation that was tried.
        note: What a reader must know; empty when nothing.
    """

    m: float
    threshold: float
    searched: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """An aggregate under growing violations of parallel trends.

    Attributes:
        estimate: The aggregate under parallel trends.
        original: Its interval under parallel trends.
        intervals: One honest interval per size of the violation, in order.
        breakeven: Where the decision flips.
    """

    estimate: float
    original: HonestInterval
    intervals: tuple[HonestInterval, ...]
    breakeven: Breakeven


def honest_interval(
    path: EventPath,
    restriction: Restriction | Kind,
    m: float,
    *,
    method: Method | Literal["best"] = "best",
    level: float = 0.95,
) -> HonestInterval:
    """Return a confidence interval for the aggregate under a restriction on trends.

    Args:
        path: Effects before and after, with the aggregate; any weights, also negative ones.
        restriction: What is assumed, or just its kind.
        m: Size of the violation, at least 0.
        method: ``flci``: shortest interval of fixed length (plain ``smoothness`` only);
            ``conditional``: test of Andrews, Roth and Pakes; ``c_lf``: its hybrid with the
            least-favourable test; ``c_flci``: its hybrid with the fixed-length interval.
            ``best`` is ``flci`` for plain smoothness, ``c_flci`` for smoothness with a sign or
            shape, else ``c_lf``, the recommendations of Rambachan and Roth.
        level: Confidence level.

    Returns:
        The interval; for test inversions the hull of the accepted values. NaN with a note where
        every value is rejected or the aggregate does not vary.

    References:
        Rambachan and Roth (2023), *Review of Economic Studies* 90(5); Andrews, Roth and Pakes
        (2023), *Review of Economic Studies* 90(6). With finite ``df`` the normal distributions
        are replaced by t, an approximation.

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> path = EventPath.of_arrays([0.1, -0.2, 2.0, 2.5], np.eye(4) / 16, n_pre=2)
        >>> found = honest_interval(path, "relative_magnitude", 1.0)
        >>> f"[{found.low:.2f}, {found.high:.2f}] by {found.method}"
        '[0.98, 3.02] by c_lf'
    """
    rule = Restriction(kind=restriction) if isinstance(restriction, str) else restriction
    if not m >= 0:
        raise DesignError(
            f"an honest interval has m = {m}; the size of a violation is at least 0."
        )
    how = _method(path, rule, method)
    if path.std_error <= 0:
        return _interval(rule, m, (math.nan, math.nan), level, how, note=DOES_NOT_VARY)
    return _interval(rule, m, _solver(path, rule, how, level)(m), level, how)


def sensitivity(
    path: EventPath,
    restriction: Restriction | Kind = "relative_magnitude",
    *,
    ms: Sequence[float] | None = None,
    method: Method | Literal["best"] = "best",
    level: float = 0.95,
    threshold: float = 0.0,
) -> Sensitivity:
    """Return honest intervals over growing violations, and where the decision flips.

    Args:
        path: Effects before and after, with the aggregate.
        restriction: What is assumed, or just its kind.
        ms: Sizes of the violation; by default 0.5, 1, 1.5, 2 for the relative kinds and, for
            smoothness, five steps up to ``largest_bend``.
        method: See ``honest_interval``.
        level: Confidence level.
        threshold: The hurdle the decision depends on, in the unit of the effect.

    References:
        Rambachan and Roth (2023), section 5: sensitivity analysis and breakdown values.

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> path = EventPath.of_arrays([0.1, -0.2, 2.0, 2.5], np.eye(4) / 16, n_pre=2)
        >>> found = sensitivity(path, ms=[0.5, 2.0], threshold=0.5)
        >>> [round(each.low, 2) for each in found.intervals], round(found.breakeven.m, 2)
        ([1.32, 0.15], 1.59)
    """
    rule = Restriction(kind=restriction) if isinstance(restriction, str) else restriction
    sizes = _default_sizes(path, rule, level) if ms is None else ms
    reach = critical_value(df=path.df, level=level) * path.std_error
    return Sensitivity(
        estimate=path.estimate,
        original=HonestInterval(
            restriction=None,
            m=0.0,
            low=path.estimate - reach,
            high=path.estimate + reach,
            level=level,
            method="parallel_trends",
        ),
        intervals=tuple(
            honest_interval(path, rule, float(m), method=method, level=level) for m in sizes
        ),
        breakeven=breakeven(path, rule, threshold=threshold, method=method, level=level),
    )


def breakeven(
    path: EventPath,
    restriction: Restriction | Kind = "relative_magnitude",
    *,
    threshold: float = 0.0,
    method: Method | Literal["best"] = "best",
    level: float = 0.95,
    upper: float | None = None,
) -> Breakeven:
    """Return the smallest violation whose honest interval contains the decision hurdle.

    Args:
        path: Effects before and after, with the aggregate.
        restriction: What is assumed, or just its kind.
        threshold: The hurdle, in the unit of the effect: 0, or the effect that pays its cost.
        method: See ``honest_interval``.
        level: Confidence level.
        upper: Largest violation to try; by default 20 for the relative kinds and, for
            smoothness, 20 times the distance between estimate and hurdle (at least one
            standard error).

    Returns:
        The size of the violation, searched upwards in doubling steps, to 7 digits; 0 where
        already the interval without violation
        contains the hurdle; NaN, with a note, where none on the searched range does.

    References:
        Rambachan and Roth (2023), section 5 ("breakdown value").

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> path = EventPath.of_arrays([0.1, -0.2, 2.0, 2.5], np.eye(4) / 16, n_pre=2)
        >>> round(breakeven(path).m, 3)
        2.177
        >>> breakeven(path, threshold=50.0).note
        'no violation up to m = 20 lets the interval contain 50'
    """
    rule = Restriction(kind=restriction) if isinstance(restriction, str) else restriction
    how = _method(path, rule, method)
    if path.std_error <= 0:
        return Breakeven(m=math.nan, threshold=threshold, searched=0.0, note=DOES_NOT_VARY)
    distance = max(abs(path.estimate - threshold), path.std_error)
    unit = distance if rule.kind == "smoothness" else 1.0
    limit = _RELATIVE_LIMIT * unit if upper is None else upper
    solve = _solver(path, rule, how, level)

    def gap(m: float) -> float:
        low, high = solve(m)
        return limit if math.isnan(low) else max(low - threshold, threshold - high)

    if gap(0.0) <= 0:
        note = "the interval contains the hurdle without any violation"
        return Breakeven(m=0.0, threshold=threshold, searched=limit, note=note)
    found = _first(gap, start=unit / 16, limit=limit)
    note = f"no violation up to m = {limit:g} lets the interval contain {threshold:g}"
    return Breakeven(
        m=found,
        threshold=threshold,
        searched=limit,
        note=note if math.isnan(found) else "",
    )


def largest_bend(path: EventPath, *, level: float = 0.95) -> float:
    """Return an upper bound on the largest change of slope before the start.

    The largest upper one-sided bound over absolute second differences before the start: a scale
    for M, not a test. NaN with fewer than two periods before the reference period.

    References:
        Rambachan and Roth (2023), replication package ``HonestDiD``, upper bound for M.

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> round(largest_bend(EventPath.of_arrays([0.3, 0.1, 2.0], np.eye(3) / 100, 2)), 3)
        0.468
    """
    if path.n_pre < 2:
        return math.nan
    bends = differences(path.n_pre, 0, 2)
    sigma = path.sigma[: path.n_pre, : path.n_pre]
    sd = np.sqrt(np.einsum("rn,nm,rm->r", bends, sigma, bends))
    one_sided = critical_value(df=path.df, level=2 * level - 1)
    return float((np.abs(bends @ path.beta[: path.n_pre]) + one_sided * sd).max())


def _method(path: EventPath, rule: Restriction, method: str) -> Method:
    if path.n_pre < rule.least_pre():
        raise DesignError(
            f"{rule.kind} needs at least {rule.least_pre()} periods before the reference "
            f"period; the event path has {path.n_pre}. Use relative_magnitude or smoothness."
        )
    smooth = rule.kind == "smoothness"
    if method == "best":
        if not smooth:
            return "c_lf"
        return "flci" if rule.is_plain else "c_flci"
    for allowed in get_args(Method):
        if allowed != method:
            continue
        if (allowed == "c_flci" and not smooth) or (
            allowed == "flci" and not (smooth and rule.is_plain)
        ):
            raise DesignError(
                f"method {method!r} needs smoothness{' alone' if method == 'flci' else ''}; "
                f"the restriction is {rule}. Use 'c_lf' or 'conditional'."
            )
        return allowed  # type: ignore[no-any-return]
    words = [*get_args(Method), "best"]
    raise DesignError(
        f"an honest interval has method {method!r}; allowed: {sorted(words)}."
        f"{nearest(method, words)}"
    )


def _solver(path: EventPath, rule: Restriction, method: Method, level: float) -> Solver:
    """Ends of the interval as a function of m, computed in standard errors of the aggregate."""
    scale = path.std_error
    unit = path.divided_by(scale)
    estimators = flci.frontier(unit) if method in {"flci", "c_flci"} else None
    size = scale if rule.kind == "smoothness" else 1.0
    alpha = 1 - level
    kappa = _FIRST_STAGE * alpha

    def solve(m: float) -> tuple[float, float]:
        own = m / size
        if estimators is not None and method == "flci":
            best = flci.shortest(estimators, own, level=level)
            low, high = best.estimate - best.half_length, best.estimate + best.half_length
            return low * scale, high * scale
        union = polyhedra(rule, unit.n_pre, unit.n_post, own)
        if estimators is not None:
            first = flci.shortest(estimators, own, level=1 - kappa)
            test = arp.after_fixed_length(unit, union, first, alpha=alpha, kappa=kappa)
        elif method == "c_lf":
            test = arp.least_favourable(unit, union, alpha=alpha, kappa=kappa)
        else:
            test = arp.conditional(unit, union, alpha=alpha)
        low, high = arp.accepted(test)
        return low * scale, high * scale

    return solve


def _interval(
    rule: Restriction,
    m: float,
    ends: tuple[float, float],
    level: float,
    method: Method,
    *,
    note: str = "",
) -> HonestInterval:
    low, high = ends
    if not note and math.isnan(low):
        note = EMPTY
    return HonestInterval(
        restriction=rule, m=m, low=low, high=high, level=level, method=method, note=note
    )


def _default_sizes(path: EventPath, rule: Restriction, level: float) -> Sequence[float]:
    if rule.kind != "smoothness":
        return (0.5, 1.0, 1.5, 2.0)
    top = largest_bend(path, level=level)
    top = path.std_error if math.isnan(top) else top
    return [top * step / 5 for step in range(6)]


def _first(gap: Callable[[float], float], *, start: float, limit: float) -> float:
    """The first size without a gap: growing steps, then a bracketed search."""
    low, high = 0.0, min(start, limit)
    while gap(high) > 0:
        if high >= limit:
            return math.nan
        low, high = high, min(2 * high, limit)
    return float(optimize.brentq(gap, low, high, xtol=1e-8 * high, rtol=1e-8))
