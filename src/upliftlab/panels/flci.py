"""What is the shortest interval of fixed length if the slope may change by at most m?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special

from upliftlab.panels.restrictions import differences

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.panels.event_path import EventPath

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frontier:
    """Unbiased-for-lines estimators, from least worst-case bias to least variance.

    Attributes:
        path: The estimates they weigh.
        weights: Weights of the estimators at the knots, shape [knots, n_pre + n_post]; between
            knots they are linear.
        bias: Worst-case bias at the knots for m = 1, increasing, shape [knots].
    """

    path: EventPath
    weights: Floats
    bias: Floats

    def at(self, bias: float) -> tuple[Floats, float]:
        """Weights and standard error of the estimator with this worst-case bias."""
        columns = self.weights.T
        weights = np.array([np.interp(bias, self.bias, column) for column in columns])
        return weights, math.sqrt(max(float(weights @ self.path.sigma @ weights), 0.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FixedLength:
    """The shortest interval estimate +- half_length.

    Attributes:
        weights: Weights of the estimator, shape [n_pre + n_post].
        estimate: Its value.
        std_error: Its standard error.
        bias: Its worst-case bias.
        half_length: Half the length of the interval.
    """

    weights: Floats
    estimate: float
    std_error: float
    bias: float
    half_length: float


def frontier(path: EventPath) -> Frontier:
    """Return every estimator worth using under a bound on second differences.

    The weights after the start are the aggregate's; those before are free but for one equation
    (a straight line must cancel). The worst-case bias is then m times the absolute sum of the
    estimator's loads on unit second differences, so that the trade-off with the variance is a
    lasso, whose solutions are piecewise linear and found exactly, knot by knot.

    References:
        Rambachan and Roth (2023), *Review of Economic Studies* 90(5), section 4.1;
        Osborne, Presnell and Turlach (2000), *IMA Journal of Numerical Analysis* 20(3).

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> frontier(EventPath.of_arrays([0.1, 0.2, 0.5], np.eye(3), n_pre=2)).bias
        array([1. , 1.4])
    """
    base, free = _unbiased_for_lines(path)
    constant = _later_bias(path)
    hess = free @ path.sigma @ free.T
    loads = _lasso_path(hess, free @ path.sigma @ base)
    return Frontier(
        path=path,
        weights=base + loads @ free,
        bias=constant + np.abs(loads).sum(axis=1),
    )


def shortest(estimators: Frontier, m: float, *, level: float = 0.95) -> FixedLength:
    """Return the interval with the least length among all estimators of the frontier.

    Args:
        estimators: From ``frontier``.
        m: Bound on the change of the slope between periods, in the unit of the effect.
        level: Coverage for every delta that obeys the bound.

    References:
        Rambachan and Roth (2023), equation 18; Armstrong and Kolesar (2018), *Econometrica*
        86(2).

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> path = EventPath.of_arrays([0.1, 0.2, 0.5], np.eye(3) / 100, n_pre=2)
        >>> best = shortest(frontier(path), 0.05)
        >>> f"{best.estimate:.3f} +- {best.half_length:.3f}"
        '0.597 +- 0.251'
    """
    df = estimators.path.df

    def half(bias: float) -> float:
        std_error = estimators.at(bias)[1]
        if std_error <= 0:
            return m * bias
        return std_error * folded_quantile(m * bias / std_error, level=level, df=df)

    low, high = float(estimators.bias[0]), float(estimators.bias[-1])
    places = [low, high]
    if high > low and m > 0:
        found = optimize.minimize_scalar(
            half, bounds=(low, high), method="bounded", options={"xatol": 1e-9 * (high - low)}
        )
        places.append(float(found.x))
    bias = min(places, key=half)
    weights, std_error = estimators.at(bias)
    return FixedLength(
        weights=weights,
        estimate=float(weights @ estimators.path.beta),
        std_error=std_error,
        bias=m * bias,
        half_length=half(bias),
    )


def folded_quantile(shift: float, *, level: float = 0.95, df: float = math.inf) -> float:
    """Return c with P(|Z + shift| <= c) = level for a normal (or t) variable Z.

    Examples:
        >>> round(folded_quantile(0.0), 4), round(folded_quantile(1.0), 4)
        (1.96, 2.6461)
    """
    shift = abs(shift)
    one, two = _lower_quantile(level, df), _lower_quantile((1 + level) / 2, df)

    def missing(c: float) -> float:
        return _cdf(c - shift, df) - _cdf(-c - shift, df) - level

    low, high = max(shift + one, 0.0), shift + two
    if missing(low) >= 0:
        return low
    return float(optimize.brentq(missing, low, high + 1e-9, xtol=1e-12))


def _cdf(x: float, df: float) -> float:
    return float(special.stdtr(df, x) if math.isfinite(df) else special.ndtr(x))


def _lower_quantile(p: float, df: float) -> float:
    return float(special.stdtrit(df, p) if math.isfinite(df) else special.ndtri(p))


def _unbiased_for_lines(path: EventPath) -> tuple[Floats, Floats]:
    """Weights without load on earlier bends, and the change of weights per unit of load."""
    n_pre = path.n_pre
    bends = differences(n_pre, path.n_post, 2)[: n_pre - 1, :n_pre]
    # Weights w before the start load on (last slope, bends) as w = load @ [line; bends]; the
    # load on the last slope must cancel what the weights after the start take from it.
    line = np.zeros(n_pre)
    line[-1] = -1.0
    lead = -float(path.times[n_pre:] @ path.weights)
    base = np.concatenate([lead * line, path.weights])
    free = np.concatenate([bends, np.zeros((n_pre - 1, path.n_post))], axis=1)
    return base, free


def _later_bias(path: EventPath) -> float:
    """Absolute load on bends at and after the reference period, the slope before being 0."""
    later = np.tril(np.ones((path.n_post, path.n_post)))
    return float(np.abs(path.weights @ np.cumsum(later, axis=0)).sum())


def _lasso_path(hess: Floats, grad: Floats) -> Floats:
    """Minimisers of c'Hc / 2 + g'c + lam |c|_1 at the knots of lam, from c = 0 to lam = 0."""
    size = len(grad)
    c, r = np.zeros(size), -grad
    knots = [c.copy()]
    lam = float(np.abs(r).max(initial=0.0))
    tiny = 1e-12 * lam
    active: list[int] = [] if lam == 0 else [int(np.abs(r).argmax())]
    barred = -1
    for _ in range(20 * size * size):
        if lam <= tiny or not active:
            break
        direction = np.zeros(size)
        block = hess[np.ix_(active, active)]
        direction[active] = np.linalg.lstsq(block, np.sign(r[active]), rcond=None)[0]
        fall = hess @ direction
        step, event = _next_knot(
            c, r, lam, direction=direction, fall=fall, active=active, barred=barred
        )
        c, r, lam = c + step * direction, r - step * fall, lam - step
        barred = -1
        if event in active:
            c[event], barred = 0.0, event
            active.remove(event)
        elif event >= 0:
            active.append(event)
        knots.append(c.copy())
    return np.array(knots)


def _next_knot(
    c: Floats,
    r: Floats,
    lam: float,
    *,
    direction: Floats,
    fall: Floats,
    active: list[int],
    barred: int,
) -> tuple[float, int]:
    """How far the penalty falls until a load enters or leaves, and which (-1: none)."""
    step, event = lam, -1
    for j in range(len(c)):
        if j in active:
            ways = [-c[j] / direction[j]] if direction[j] * c[j] < 0 else []
        else:
            # A load that has just left may come back only with the other sign.
            ways = [
                (lam - side * r[j]) / (1 - side * fall[j])
                for side in (1.0, -1.0)
                if side * fall[j] < 1 and not (j == barred and side * r[j] > 0)
            ]
        for way in ways:
            if way < step:
                step, event = max(float(way), 0.0), j
    return step, event
