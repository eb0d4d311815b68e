"""What do p-value, interval and band say when all come from the same draws?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.stats.estimate import DOES_NOT_VARY, NAN, Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

FARTHEST = 1000.0
"""Standard errors from the estimate at which the search for an end of an interval stops."""

_NEAR = np.linspace(0.25, 10.0, 40)
_GRID = np.concatenate([_NEAR, np.geomspace(10.0, FARTHEST, 15)[1:]])
_HALVINGS = 32
# Draws that tie with what was observed must count as ties after rounding.
_TIE = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pivots:
    """The t statistic of every draw when any other value of the effect is tested.

    Testing a value u standard errors below the estimate, the observed t is u and that of draw r
    is (shift + u slope) / sqrt(v0 + u v1 + u^2 v2). All are in units of ``std_error``.

    Attributes:
        names: Functionals, m in all.
        estimate: Estimates, shape [m].
        std_error: Standard errors, shape [m].
        shift: Shape [R, m]; the first draw is what was observed.
        slope: Shape [R, m].
        v0: Shape [R, m].
        v1: Shape [R, m].
        v2: Shape [R, m].
    """

    names: tuple[str, ...]
    estimate: Floats
    std_error: Floats
    shift: Floats
    slope: Floats
    v0: Floats
    v1: Floats
    v2: Floats

    def squared_t(self, distance: Floats | float) -> Floats:
        """Return t^2 of every draw, [R, m], for a tested value per functional.

        Examples:
            >>> one = np.ones((1, 1))
            >>> pivots = Pivots(names=("a",), estimate=one[0], std_error=one[0], shift=0 * one,
            ...                 slope=one, v0=one, v1=0 * one, v2=0 * one)
            >>> float(pivots.squared_t(3.0)[0, 0])
            9.0
        """
        u = np.asarray(distance, dtype=float)
        spread = self.v1 + u * self.v2
        spread *= u
        spread += self.v0
        np.maximum(spread, 1e-12 * (1 + u * u), out=spread)
        top = self.shift + u * self.slope
        top *= top
        top /= spread
        return top


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampled:
    """Estimates whose p-values, intervals and simultaneous band come from one set of draws.

    A p-value at most 1 - level and an interval that leaves 0 out are the same event, and the
    band holds every interval. Intervals of lines do not add up to the interval of their sum.

    Attributes:
        estimates: One per functional, m in all; ``df`` is not used.
        adjusted_p: Family-wise p-values of the band, shape [m].
        band_low: Lower ends of the simultaneous band, shape [m].
        band_high: Upper ends, shape [m].
        draws: Draws, with the observed one.
        is_exact: Whether the draws are all there are.
        smallest_p: The smallest p-value the design can give, shape [m].
        note: What a reader must know.
    """

    estimates: tuple[Estimate, ...]
    adjusted_p: Floats
    band_low: Floats
    band_high: Floats
    draws: int
    is_exact: bool
    smallest_p: Floats
    note: str = ""

    def __getitem__(self, name: str) -> Estimate:
        """Return one estimate by its name."""
        return next(each for each in self.estimates if each.name == name)


def inverted(
    pivots: Pivots, *, level: float = 0.95, is_exact: bool = False, note: str = ""
) -> Resampled:
    """Return p-values, intervals and band by testing every value of the effect.

    The interval is the hull of the values that are not rejected; the p-value is the largest
    among values at least as far from the estimate as 0, on its side: with a p-value that falls
    with distance, which is the rule, these are the usual ones. The band and the adjusted
    p-values set each functional's draws against the largest t of all functionals in the same
    draw, the others tested at their estimates.

    Args:
        pivots: The statistic of every draw.
        level: Confidence level of interval and band.
        is_exact: Whether the draws are all there are.
        note: What a reader must know about all of them.

    Returns:
        The reading; interval and band are NaN with a note where the smallest attainable p-value
        exceeds 1 - level.

    References:
        Lehmann and Romano (2005), *Testing Statistical Hypotheses*, section 5.12 (inversion);
        Westfall and Young (1993), *Resampling-Based Multiple Testing* (single-step max-t).

    Examples:
        >>> from itertools import product
        >>> gain = np.array([1.0, 2.0, 3.0, 2.5, 1.5, 2.0])
        >>> signs = np.array(list(product([1.0, -1.0], repeat=6)))
        >>> result = inverted(flipped(gain[:, None], signs, names=["gain"]), is_exact=True)
        >>> result.estimates[0].p_value, float(result.smallest_p[0])
        (0.03125, 0.03125)
    """
    alpha = 1 - level + 1e-12
    width = len(pivots.names)
    moving = np.isfinite(pivots.std_error) & (pivots.std_error > 0)
    if not moving.any():
        return _motionless(pivots, level=level, is_exact=is_exact, note=note)
    active = _kept(pivots, moving)
    one = _reach(active, alpha, np.zeros((len(active.shift), 1)))
    # The band's rivals are the other functionals, each tested where it was estimated.
    rivals = active.squared_t(0.0).max(axis=1, keepdims=True)
    all_at_once = _reach(active, alpha, rivals) if len(active.names) > 1 else one
    full = {"p": one.p, "least": one.least, "adjusted": all_at_once.p}
    for key, found in {"ci": one, "band": all_at_once}.items():
        spread = np.where(found.least <= alpha, active.std_error, NAN)
        full[f"{key}_low"] = active.estimate - found.above * spread
        full[f"{key}_high"] = active.estimate + found.below * spread
    full = {key: _spread_out(value, moving, width) for key, value in full.items()}
    return Resampled(
        estimates=tuple(_estimate(pivots, full, i, level, note) for i in range(width)),
        adjusted_p=full["adjusted"],
        band_low=full["band_low"],
        band_high=full["band_high"],
        draws=len(pivots.shift),
        is_exact=is_exact,
        smallest_p=full["least"],
        note=note,
    )


def flipped(gains: Floats, signs: Floats, *, names: list[str] | tuple[str, ...]) -> Pivots:
    """Return the pivots of a mean of gains whose signs a coin decided.

    Args:
        gains: One per coin, treated minus untreated, shape [n, m].
        signs: +1 or -1 per draw and coin, shape [R, n]; the first row is all +1.
        names: Functionals, m in all.

    Returns:
        The paired t statistic under every draw.

    References:
        Fisher (1935), *The Design of Experiments*, section 21.

    Examples:
        >>> pivots = flipped(np.array([[1.0], [3.0]]), np.array([[1.0, 1.0]]), names=["gain"])
        >>> float(pivots.estimate[0]), float(pivots.std_error[0])
        (2.0, 1.0)
    """
    n, freedom = len(gains), max(len(gains) - 1.0, 1.0)
    mean = gains.mean(axis=0)
    rest = gains - mean
    squares = (rest**2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        std_error = np.sqrt(squares / (n * (n - 1.0)))
        shift = signs @ rest / n / std_error
    slope = np.broadcast_to(signs.mean(axis=1)[:, None], shift.shape)
    return Pivots(
        names=tuple(names),
        estimate=mean,
        std_error=std_error,
        shift=shift,
        slope=slope,
        v0=1 - shift**2 / freedom,
        v1=-2 * shift * slope / freedom,
        v2=(1 - slope**2) / freedom,
    )


def refused(
    names: tuple[str, ...], estimate: Floats, std_error: Floats, *, level: float, note: str
) -> Resampled:
    """Return estimates without p-value, interval and band, and why.

    Examples:
        >>> refused(("a",), np.ones(1), np.ones(1), level=0.95, note="too few").note
        'too few'
    """
    nothing = np.full(len(names), NAN)
    return Resampled(
        estimates=tuple(
            Estimate(
                name=name,
                estimate=float(value),
                std_error=float(se),
                level=level,
                shape="none",
                note=note,
            )
            for name, value, se in zip(names, estimate, std_error, strict=True)
        ),
        adjusted_p=nothing,
        band_low=nothing,
        band_high=nothing,
        draws=0,
        is_exact=False,
        smallest_p=nothing,
        note=note,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Reach:
    """Standard errors down and up, p-value at 0 and smallest p-value, per functional."""

    below: Floats
    above: Floats
    p: Floats
    least: Floats


def _reach(pivots: Pivots, alpha: float, rivals: Floats) -> _Reach:
    """Test every distance on both sides against draws no smaller than ``rivals``, [R, 1]."""
    null = pivots.estimate / pivots.std_error

    def tested(sign: float) -> Callable[[Floats], Floats]:
        return lambda u: _share(np.maximum(pivots.squared_t(sign * u), rivals), u)

    size = np.abs(null)
    at_null = _share(np.maximum(pivots.squared_t(null), rivals), null)
    above, p_above, far_above = _end(tested(1.0), alpha, size, at_null, here=null > 0)
    below, p_below, far_below = _end(tested(-1.0), alpha, size, at_null, here=null <= 0)
    return _Reach(
        below=below,
        above=above,
        p=np.where(null > 0, p_above, p_below),
        least=np.maximum(far_above, far_below),
    )


def _end(
    tested: Callable[[Floats], Floats],
    alpha: float,
    size: Floats,
    at_null: Floats,
    *,
    here: Bools,
) -> tuple[Floats, Floats, Floats]:
    """How far values are not rejected on one side; p-value at 0 if 0 lies ``here``."""
    curve = np.stack([tested(np.full(len(size), u)) for u in _GRID])
    beyond = np.where(_GRID[:, None] >= size, curve, 0.0).max(axis=0)
    p = np.maximum(at_null, beyond)
    low = np.where(curve > alpha, _GRID[:, None], 0.0).max(axis=0)
    low = np.where(here & (p > alpha), np.maximum(low, size), low)
    high = np.where(_GRID[:, None] > low, _GRID[:, None], np.inf).min(axis=0)
    high = np.where(here & (p <= alpha) & (size > low), np.minimum(high, size), high)
    high = np.where(np.isfinite(high), high, low)
    return _bisected(tested, low, high, alpha), p, curve[-1]


def _bisected(
    tested: Callable[[Floats], Floats], low: Floats, high: Floats, alpha: float
) -> Floats:
    """Where the p-value crosses alpha: not rejected at ``low``, rejected at ``high``."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        inside = tested(middle) > alpha
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def _share(squared: Floats, distance: Floats | float) -> Floats:
    """Share of draws at least as extreme as what was observed."""
    out: Floats = (squared >= np.square(distance) * (1 - _TIE)).mean(axis=0)
    return out


def _kept(pivots: Pivots, keep: Bools) -> Pivots:
    columns = np.flatnonzero(keep)
    return Pivots(
        names=tuple(pivots.names[i] for i in columns),
        estimate=pivots.estimate[columns],
        std_error=pivots.std_error[columns],
        shift=pivots.shift[:, columns],
        slope=pivots.slope[:, columns],
        v0=pivots.v0[:, columns],
        v1=pivots.v1[:, columns],
        v2=pivots.v2[:, columns],
    )


def _spread_out(value: Floats, moving: Bools, width: int) -> Floats:
    out = np.full(width, NAN)
    out[moving] = value
    return out


def _estimate(
    pivots: Pivots, full: dict[str, Floats], i: int, level: float, note: str
) -> Estimate:
    bounded = bool(np.isfinite(full["ci_low"][i]))
    reason = ""
    if np.isnan(full["p"][i]):
        reason = DOES_NOT_VARY
    elif not bounded:
        reason = (
            f"the smallest p-value this design can give is {full['least'][i]:.3g}: "
            f"no interval at {level:.0%}"
        )
    return Estimate(
        name=pivots.names[i],
        estimate=float(pivots.estimate[i]),
        std_error=float(pivots.std_error[i]),
        ci_low=float(full["ci_low"][i]),
        ci_high=float(full["ci_high"][i]),
        p_value=float(full["p"][i]),
        level=level,
        shape="interval" if bounded else "none",
        note="; ".join(part for part in (note, reason) if part),
    )


def _motionless(pivots: Pivots, *, level: float, is_exact: bool, note: str) -> Resampled:
    out = refused(
        pivots.names,
        pivots.estimate,
        np.full(len(pivots.names), NAN),
        level=level,
        note="; ".join(part for part in (note, DOES_NOT_VARY) if part),
    )
    return Resampled(
        estimates=out.estimates,
        adjusted_p=out.adjusted_p,
        band_low=out.band_low,
        band_high=out.band_high,
        draws=len(pivots.shift),
        is_exact=is_exact,
        smallest_p=out.smallest_p,
        note=out.note,
    )
