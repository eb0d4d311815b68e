"""At which z may one stop at each of several looks, and what does looking cost?

A z-statistic that gathers information has independent increments on the score scale, so the
chance to cross bounds follows by integrating its sub-density from look to look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special
from scipy.optimize import brentq

from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.stats.spending import Spending

    Floats = NDArray[np.float64]

FAR = 38.0
"""Beyond this z the normal tail is 0 in double precision."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Boundary:
    """Bounds for the z-statistic at each look.

    Attributes:
        information: Share of the planned information at each look, shape [K], increasing.
        upper: Stop for gain at z >= upper, shape [K]; infinite where nothing may be spent.
        lower: Stop at z <= lower, shape [K]: for loss in a two-sided test, for futility in a
            one-sided test with futility; minus infinity where there is none.
        is_futility: Whether ``lower`` stops for futility rather than for loss.
        is_binding: Whether ``upper`` counts on stopping at ``lower``.
        drift: For futility by spending: z expected at information 1 for the effect that the
            design is powered for; NaN otherwise.
    """

    information: Floats
    upper: Floats
    lower: Floats
    is_futility: bool = False
    is_binding: bool = True
    drift: float = float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "information": self.information.tolist(),
            "upper": [_plain(x) for x in self.upper],
            "lower": [_plain(x) for x in self.lower],
            "is_futility": self.is_futility,
            "is_binding": self.is_binding,
            "drift": _plain(self.drift),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crossing:
    """Chance of crossing each bound for the first time at each look.

    Attributes:
        upper: Shape [K].
        lower: Shape [K].
    """

    upper: Floats
    lower: Floats


def crossing(boundary: Boundary, drift: float = 0.0) -> Crossing:
    """Return the chance of first crossing each bound at each look.

    Args:
        boundary: Information and bounds.
        drift: Expected z at information 1; 0 under no effect.

    References:
        Armitage, McPherson and Rowe (1969), *Journal of the Royal Statistical Society A*
        132(2); grid of Jennison and Turnbull (2000), *Group Sequential Methods*, chapter 19.

    Examples:
        >>> looks = Boundary(information=np.array([0.5, 1.0]), upper=np.array([1.96, 1.96]),
        ...                  lower=np.array([-1.96, -1.96]))
        >>> found = crossing(looks)
        >>> round(float(found.upper.sum() + found.lower.sum()), 4)
        0.0831
    """
    path = _Path.start(boundary.information, drift)
    up, down = [], []
    for low, high in zip(boundary.lower, boundary.upper, strict=True):
        up.append(path.above(high))
        down.append(path.below(low))
        path = path.stepped(low, high)
    return Crossing(upper=np.array(up), lower=np.array(down))


def bounds_by_spending(
    spending: Spending,
    information: ArrayLike,
    *,
    alpha: float = 0.05,
    sided: int = 2,
    fractions: ArrayLike | None = None,
) -> Boundary:
    """Return bounds that spend the error by the share of planned information.

    Looks need not be planned: each bound uses the information of its own and earlier looks
    only. Past information 1 the last look spends what is left (over-run).

    Args:
        spending: How fast each side's error is spent.
        information: Information at the looks on any scale that is 1 at the plan's end, shape
            [K], increasing.
        alpha: Error of all sides together.
        sided: 2 spends half on each side, the lower bounds mirroring the upper; 1 all above.
        fractions: Shares at which error is spent where they differ from ``information``.

    References:
        Lan and DeMets (1983), *Biometrika* 70(3).

    Examples:
        >>> from upliftlab.stats.spending import Spending
        >>> looks = [0.2, 0.4, 0.6, 0.8, 1.0]
        >>> bounds_by_spending(Spending(), looks).upper.round(3)
        array([4.877, 3.357, 2.68 , 2.29 , 2.031])
    """
    times = _times(information)
    at = times if fractions is None else np.asarray(fractions, dtype=float)
    side = alpha / _sides(sided)
    steps = np.diff(spending.spent(at, side), prepend=0.0)
    path = _Path.start(times, 0.0)
    upper = np.full(len(times), np.inf)
    for k, step in enumerate(steps):
        upper[k] = path.upper_for(step)
        path = path.stepped(-upper[k] if sided == 2 else -np.inf, upper[k])
    lower = -upper if sided == 2 else np.full(len(times), -np.inf)
    return Boundary(information=times, upper=upper, lower=lower)


def bounds_by_shape(
    information: ArrayLike, *, alpha: float = 0.05, sided: int = 2, shape: float = 0.0
) -> Boundary:
    """Return bounds constant x (share of information)^(shape - 1/2).

    Args:
        information: Shares at the looks, shape [K], increasing.
        alpha: Error of all sides together.
        sided: 1 or 2.
        shape: 0 gives O'Brien and Fleming's bounds, 1/2 Pocock's.

    References:
        Wang and Tsiatis (1987), *Biometrics* 43(1); Pocock (1977), *Biometrika* 64(2);
        O'Brien and Fleming (1979), *Biometrics* 35(3).

    Examples:
        >>> bounds_by_shape([0.5, 1.0], shape=0.5).upper.round(4)
        array([2.1783, 2.1783])
        >>> bounds_by_shape([0.5, 1.0]).upper.round(3)
        array([2.797, 1.977])
    """
    times = _times(information)
    form = (times / times[-1]) ** (shape - 0.5)
    side = alpha / _sides(sided)

    def bounds(constant: float) -> Boundary:
        upper = constant * form
        lower = -upper if sided == 2 else np.full(len(times), -np.inf)
        return Boundary(information=times, upper=upper, lower=lower)

    def excess(constant: float) -> float:
        return float(crossing(bounds(constant)).upper.sum()) - side

    return bounds(float(brentq(excess, -special.ndtri(side) - 1e-6, 12.0, xtol=1e-10)))


def bounds_with_futility(
    upper: Spending,
    lower: Spending,
    information: ArrayLike,
    *,
    alpha: float = 0.025,
    beta: float = 0.2,
    binding: bool = False,
) -> Boundary:
    """Return one-sided bounds for gain and for futility that meet at the last look.

    The futility bounds spend the type II error under the effect that this design detects with
    power 1 - beta; that effect's drift is found together with them.

    Args:
        upper: How alpha is spent.
        lower: How beta is spent.
        information: Shares at the looks, shape [K], the last one 1.
        alpha: One-sided error.
        beta: 1 - power.
        binding: Whether the bounds for gain are lowered because crossing the futility bound
            ends the test; non-binding bounds stay valid if it is ignored.

    References:
        Pampallona, Tsiatis and Kim (2001), *Drug Information Journal* 35(4); Jennison and
        Turnbull (2000), *Group Sequential Methods*, section 7.3.

    Examples:
        >>> from upliftlab.stats.spending import Spending
        >>> late, early = (Spending(family="hwang_shih_decani", parameter=g) for g in (-4, -2))
        >>> found = bounds_with_futility(late, early, [1/3, 2/3, 1.0], beta=0.1)
        >>> found.upper.round(2), found.lower.round(2)
        (array([3.01, 2.55, 2.  ]), array([-0.24,  0.94,  2.  ]))
    """
    times = _times(information)
    gains = np.diff(upper.spent(times, alpha), prepend=0.0)
    losses = np.diff(lower.spent(times, beta), prepend=0.0)

    def bounds(drift: float) -> Boundary:
        return _meeting(times, gains, losses, drift, binding=binding)

    def gap(drift: float) -> float:
        found = bounds(drift)
        return float(found.lower[-1] - found.upper[-1])

    fixed = -special.ndtri(alpha) - special.ndtri(beta)
    drift = float(brentq(gap, 0.8 * fixed, 3 * fixed, xtol=1e-9))
    found = bounds(drift)
    # The last bounds meet up to the root's tolerance; make them one number.
    last = found.lower.copy()
    last[-1] = found.upper[-1]
    return replace(found, lower=np.minimum(last, found.upper))


def drift_for_power(boundary: Boundary, power: float) -> float:
    """Return the expected z at information 1 at which the upper bounds are crossed so often.

    Examples:
        >>> one = bounds_by_shape([1.0])
        >>> round(drift_for_power(one, 0.8), 3)  # 1.96 + 0.842
        2.802
    """
    if not 0 < power < 1:
        raise UpliftlabError(f"power is {power}; write a number between 0 and 1, such as 0.8.")

    def missing(drift: float) -> float:
        return float(crossing(boundary, drift).upper.sum()) - power

    return float(brentq(missing, -10.0, 60.0, xtol=1e-9))


def inflation(
    boundary: Boundary, *, power: float = 0.8, alpha: float = 0.05, sided: int = 2
) -> float:
    """Return the largest sample of a design with these looks, per unit of one without.

    Args:
        boundary: Bounds with information as shares of the planned end.
        power: Chance to cross an upper bound under the effect planned for.
        alpha: Error of the test without looks, all sides together.
        sided: 1 or 2.

    References:
        Jennison and Turnbull (2000), *Group Sequential Methods*, section 2.3.

    Examples:
        >>> quarters = [0.25, 0.5, 0.75, 1.0]
        >>> round(inflation(bounds_by_shape(quarters, shape=0.5)), 3)
        1.202
    """
    fixed = float(-special.ndtri(alpha / _sides(sided)) + special.ndtri(power))
    return (drift_for_power(boundary, power) / fixed) ** 2 * float(boundary.information[-1])


def expected_information(boundary: Boundary, drift: float = 0.0) -> float:
    """Return the information at stopping, on average, as a share of the planned end.

    Examples:
        >>> round(expected_information(bounds_by_shape([0.5, 1.0], shape=0.5), 2.8), 2)
        0.79
    """
    found = crossing(boundary, drift)
    stops = (found.upper + found.lower)[:-1]
    times = boundary.information
    return float(times[-1] - (stops * (times[-1] - times[:-1])).sum())


def stagewise_p(boundary: Boundary, z: float) -> float:
    """Return the p-value for gain at the last look of ``boundary``, earlier ones not crossed.

    Outcomes are ordered by the look at which the test stopped: earlier is more extreme. Below
    alpha exactly when the bound is crossed.

    Args:
        boundary: Bounds up to and with the look at which the test stopped or stands.
        z: The statistic at that look.

    References:
        Tsiatis, Rosner and Mehta (1984), *Biometrics* 40(3).

    Examples:
        >>> looks = bounds_by_shape([0.5, 1.0], shape=0.5)
        >>> round(2 * stagewise_p(looks, float(looks.upper[-1])), 4)
        0.05
    """
    last = replace(
        boundary,
        upper=np.append(boundary.upper[:-1], z),
        lower=np.append(boundary.lower[:-1], -np.inf),
    )
    return float(crossing(last).upper.sum())


def _meeting(
    times: Floats, gains: Floats, losses: Floats, drift: float, *, binding: bool
) -> Boundary:
    null, alternative = _Path.start(times, 0.0), _Path.start(times, drift)
    upper, lower = np.full(len(times), np.inf), np.full(len(times), -np.inf)
    for k, (gain, loss) in enumerate(zip(gains, losses, strict=True)):
        upper[k] = null.upper_for(gain)
        lower[k] = alternative.lower_for(loss)
        null = null.stepped(lower[k] if binding else -np.inf, upper[k])
        alternative = alternative.stepped(min(lower[k], upper[k]), upper[k])
    return Boundary(
        information=times,
        upper=upper,
        lower=lower,
        is_futility=True,
        is_binding=binding,
        drift=drift,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Path:
    """Sub-density of z among paths that have not stopped, on a grid of the last look.

    Attributes:
        times: Information at all looks.
        drift: Expected z at information 1.
        k: Looks taken.
        z: Grid of the last look, shape [M]; the start is the point 0.
        mass: Density times weight of the grid, shape [M].
    """

    times: Floats
    drift: float
    k: int
    z: Floats
    mass: Floats

    @classmethod
    def start(cls, times: Floats, drift: float) -> _Path:
        return cls(times=times, drift=drift, k=0, z=np.zeros(1), mass=np.ones(1))

    @property
    def _step(self) -> tuple[float, float, float]:
        """Root information now and before, and root of the increment."""
        now = float(self.times[self.k])
        before = float(self.times[self.k - 1]) if self.k else 0.0
        return math.sqrt(now), math.sqrt(before), math.sqrt(now - before)

    def above(self, bound: float) -> float:
        """Chance to be above the bound at the next look, without having stopped."""
        return self._beyond(bound, 1.0)

    def below(self, bound: float) -> float:
        return self._beyond(bound, -1.0)

    def _beyond(self, bound: float, sign: float) -> float:
        if not math.isfinite(bound):
            return 0.0 if bound * sign > 0 else float(self.mass.sum())
        now, before, root = self._step
        centre = self.z * before + self.drift * root**2
        return float(self.mass @ special.ndtr(sign * (centre - bound * now) / root))

    def upper_for(self, step: float) -> float:
        """Bound above which lies this much chance."""
        return self._bound_for(step, 1.0)

    def lower_for(self, step: float) -> float:
        return self._bound_for(step, -1.0)

    def _bound_for(self, step: float, sign: float) -> float:
        middle = self.drift * self._step[0]

        def missing(reach: float) -> float:
            return self._beyond(middle + sign * reach, sign) - step

        if step <= 0 or missing(FAR) > 0:
            return sign * math.inf
        if missing(-FAR) <= 0:
            return middle - sign * FAR
        return middle + sign * float(brentq(missing, -FAR, FAR, xtol=1e-11))

    def stepped(self, low: float, high: float) -> _Path:
        """Go on to the next look with those strictly between the bounds."""
        now, before, root = self._step
        later = self.times[self.k + 1 :]
        narrow = math.sqrt((float(later[0]) - now**2) / float(later[0])) if len(later) else 1.0
        z, weight = _grid(self.drift * now, low, high, _fineness(min(narrow, root / now)))
        centre = self.z * before + self.drift * root**2
        gap = (z[:, None] * now - centre[None, :]) / root
        density = np.exp(-0.5 * gap**2) @ self.mass * (now / root / math.sqrt(2 * math.pi))
        return replace(self, k=self.k + 1, z=z, mass=density * weight)


def _fineness(narrow: float) -> int:
    """Grid steps per unit, so that a step is well below the narrowest transition's width."""
    return max(20, math.ceil(3.0 / narrow))


def _grid(centre: float, low: float, high: float, r: int) -> tuple[Floats, Floats]:
    """Points and Simpson weights between the bounds, dense in the middle."""
    inner = -3 + 3 * np.arange(4 * r + 1) / (2 * r)
    tail = 3 + 4 * np.log(r / np.arange(r - 1, 0, -1))
    nodes = centre + np.concatenate([-tail[::-1], inner, tail])
    low, high = max(low, float(nodes[0])), min(high, float(nodes[-1]))
    if not low < high:
        return np.array([centre]), np.zeros(1)
    inside = nodes[(nodes > low) & (nodes < high)]
    ends = np.concatenate([[low], inside, [high]])
    width = np.diff(ends)
    points = np.empty(2 * len(width) + 1)
    points[::2], points[1::2] = ends, (ends[1:] + ends[:-1]) / 2
    weights = np.zeros(len(points))
    weights[:-1:2] += width / 6
    weights[2::2] += width / 6
    weights[1::2] = width * 4 / 6
    return points, weights


def _times(information: ArrayLike) -> Floats:
    times = np.asarray(information, dtype=float)
    if times.ndim != 1 or not len(times) or times[0] <= 0 or (np.diff(times) <= 0).any():
        raise UpliftlabError(
            f"information at the looks is {times.tolist()}; it must be above 0 and grow from "
            "look to look."
        )
    return times


def _sides(sided: int) -> int:
    if sided not in {1, 2}:
        raise UpliftlabError(f"sided is {sided}; allowed: 1 or 2.")
    return sided


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def looks(number: int) -> Sequence[float]:
    """Return equally spaced shares of information.

    Examples:
        >>> looks(4)
        [0.25, 0.5, 0.75, 1.0]
    """
    return [(k + 1) / number for k in range(number)]
