"""Which constant effects would make the weeks after the start look like any others?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.panels import placebos
from upliftlab.panels.donors import FitOn, arrange
from upliftlab.panels.simplex import least_squares
from upliftlab.stats.estimate import NAN, Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.panels.donors import Setting

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Scheme = Literal["block", "iid"]
Statistic = Literal["mean", "size"]

_GRID, _DOUBLINGS, _HALVINGS = 24, 12, 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conformal:
    """An effect with its p-value and interval from one inversion.

    Attributes:
        effect: Mean effect, interval of constant effects, and p-value of no effect; 0 lies in
            the interval exactly when ``p_value`` exceeds 1 - level.
        statistic: ``mean`` or ``size``, see ``conformal``.
        scheme: ``block``: all cyclic shifts; ``iid``: random orders.
        permutations: How many, what did happen included.
        seed: Of the random orders; without meaning for ``block``.
        candidates: Effects that were tried, in order.
        p_values: Their p-values.
    """

    effect: Estimate
    statistic: Statistic
    scheme: Scheme
    permutations: int
    seed: int
    candidates: Floats
    p_values: Floats


def conformal(
    panel: Panel,
    *,
    fit_on: FitOn = None,
    intercept: bool = False,
    anticipation: int = 0,
    scheme: Scheme = "block",
    statistic: Statistic = "mean",
    permutations: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
) -> Conformal:
    """Invert a permutation test of the residuals of a synthetic control.

    For each candidate effect the treated outcomes after the start are reduced by it, weights
    are fitted on all periods, and the residuals after the start are compared with those of
    permuted periods. Tested is what the weights are fitted on. The p-value of an effect is
    taken as the largest of those of effects at least as far out on its side, which makes the
    accepted effects an interval: p-value and interval cannot contradict each other.

    Args:
        panel: Observed in full, with one start.
        fit_on: A component or one linear combination, such as profit.
        intercept: Fit changes from each unit's own mean.
        anticipation: Periods before the start that are left out.
        scheme: ``block`` is valid for residuals that are stationary, also correlated ones, and
            has as many permutations as periods; ``iid`` needs exchangeable residuals and
            covers too rarely where they are correlated.
        statistic: ``mean``: size of the mean residual after the start; its interval lies
            around the mean effect. ``size``: mean size of the residuals, which also notices
            effects that change sign; its interval is empty where no constant effect fits.
        permutations: Number of random orders of ``iid``, what did happen included.
        level: Confidence level.
        seed: Of the random orders.

    Returns:
        The effect; without interval, with a note, where no p-value can fall below 1 - level.

    Raises:
        DesignError: Several starts, several components to fit on, or an unknown scheme.

    References:
        Chernozhukov, Wuthrich and Zhu (2021), *JASA* 116(536), section 2.2,
        also for the two statistics.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> rng = np.random.default_rng(4)
        >>> sales = rng.normal(size=(6, 40))
        >>> sales[0, 36:] += 4
        >>> panel = Panel.of_arrays(sales, [36] + [NEVER] * 5)
        >>> found = conformal(panel, level=0.9).effect
        >>> f"{found.estimate:.1f} [{found.ci_low:.1f}, {found.ci_high:.1f}] p {found.p_value}"
        '4.4 [3.3, 5.5] p 0.025'
    """
    _check(scheme, statistic, permutations, level)
    setting = arrange(panel, asked_by="conformal", fit_on=fit_on, anticipation=anticipation)
    if len(setting.blocks) > 1 or setting.z.shape[2] > 1:
        raise DesignError(
            f"conformal tests one number after one start; it found {len(setting.blocks)} "
            f"starts and {setting.z.shape[2]} numbers in fit_on."
        )
    orders = scheme, permutations, seed
    test = _test_of(setting, orders, intercept=intercept, statistic=statistic)
    after = test.after
    estimate = test.effect()
    alpha = round(1 - level, 12)
    name = setting.fitted_on
    if 1 / len(after) > alpha or not test.varies():
        why = (
            f"{len(after)} permutations cannot reject at level {level:g}"
            if test.varies()
            else "residuals do not vary"
        )
        p = test.p_value(0.0) if test.varies() else NAN
        effect = Estimate(name=name, estimate=estimate, p_value=p, level=level, note=why)
        return _result(effect, test, scheme, seed, {})
    tried = _tried(test, estimate, alpha)
    places = np.array(sorted(tried))
    chances = np.array([tried[each] for each in places])
    accepted = places[chances > alpha]
    # Accepted on both sides of 0, or at it: the same as 0 in the interval.
    p_value = float(min(chances[places <= 0].max(), chances[places >= 0].max()))
    none = "no constant effect fits: effects change over time, or the fit is poor"
    effect = Estimate(
        name=name,
        estimate=estimate,
        ci_low=_end(float(accepted.min()), float(places.min())) if len(accepted) else NAN,
        ci_high=-_end(-float(accepted.max()), -float(places.max())) if len(accepted) else NAN,
        p_value=p_value,
        level=level,
        note="" if len(accepted) else none,
    )
    return _result(effect, test, scheme, seed, tried)


def _test_of(
    setting: Setting,
    orders: tuple[Scheme, int, int],
    *,
    intercept: bool,
    statistic: Statistic,
) -> _Test:
    block = setting.blocks[0]
    scheme, permutations, seed = orders
    kept = np.r_[0 : block.before, block.start : setting.z.shape[1]]
    z = setting.z[:, kept, 0]
    # Weights add up to one: taking out each period's mean among donors changes nothing.
    z = z - z[: setting.donors].mean(axis=0)
    return _Test(
        donors=z[: setting.donors],
        treated=placebos.observed(setting).treated[0, 0] @ z,
        before=block.before,
        after=_orders(block.before, len(kept) - block.before, scheme, permutations, seed),
        intercept=intercept,
        statistic=statistic,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Test:
    """Residuals under a candidate effect against those of permuted periods."""

    donors: Floats
    treated: Floats
    before: int
    after: Ints
    intercept: bool
    statistic: Statistic

    def effect(self) -> float:
        """Mean gap after the start with weights from before it."""
        level = self.donors[:, : self.before].mean(axis=1) if self.intercept else 0.0
        own = self.treated[: self.before].mean() if self.intercept else 0.0
        donors = self.donors - np.reshape(level, (-1, 1))
        treated = self.treated - own
        weights = least_squares(donors[:, : self.before].T, treated[: self.before])
        return float((treated - weights @ donors)[self.before :].mean())

    def residuals(self, effect: float) -> Floats:
        """Gap in all periods with weights from all, the effect taken off after the start."""
        target = self.treated.copy()
        target[self.before :] -= effect
        donors = self.donors
        if self.intercept:
            target = target - target.mean()
            donors = donors - donors.mean(axis=1, keepdims=True)
        out: Floats = target - least_squares(donors.T, target) @ donors
        return out

    def varies(self) -> bool:
        """Whether there is anything to compare."""
        size = float(np.abs(self.donors).max() + np.abs(self.treated).max())
        return float(np.abs(self.residuals(0.0)).max()) > 1e-9 * size

    def p_value(self, effect: float) -> float:
        """Share of permutations with residuals at least as large after the start."""
        parts = self.residuals(effect)
        if self.statistic == "size":
            parts = np.abs(parts)
        sums = np.abs(parts[self.after].sum(axis=1))
        return float((sums >= sums[0] * (1 - 1e-10)).mean())


def _tried(test: _Test, estimate: float, alpha: float) -> dict[float, float]:
    """p-values of a grid that reaches beyond the accepted effects, ends bisected."""
    tried: dict[float, float] = {}

    def chance(effect: float) -> float:
        if effect not in tried:
            tried[effect] = test.p_value(effect)
        return tried[effect]

    chance(0.0)
    chance(estimate)
    typical = float(np.abs(test.residuals(estimate)).mean())
    reach = max(abs(estimate), typical)
    for sign in (-1.0, 1.0):
        for doubling in range(_DOUBLINGS):
            if chance(estimate + sign * reach * 2.0**doubling) <= alpha:
                break
    for place in np.linspace(min(tried), max(tried), _GRID):
        chance(float(place))
    for sign in (-1.0, 1.0):
        _bisect(tried, chance, sign, alpha)
    return tried


def _bisect(
    tried: dict[float, float], chance: Callable[[float], float], sign: float, alpha: float
) -> None:
    accepted = [sign * each for each, p in tried.items() if p > alpha]
    if not accepted:
        return
    inside = max(accepted)
    beyond = [sign * each for each in tried if sign * each > inside]
    if not beyond:
        return
    outside = min(beyond)
    for _ in range(_HALVINGS):
        if outside - inside <= 1e-4 * max(abs(inside), abs(outside)):
            break
        middle = (inside + outside) / 2
        if chance(sign * middle) > alpha:
            inside = middle
        else:
            outside = middle


def _end(accepted: float, tried: float) -> float:
    """Lower end of the interval; minus infinity if nothing that far out was rejected."""
    return -math.inf if accepted == tried else accepted


def _orders(before: int, after: int, scheme: Scheme, permutations: int, seed: int) -> Ints:
    """Positions that come after the start in each permutation, what did happen first."""
    length = before + after
    last = np.arange(before, length)
    if scheme == "block":
        return (last[None, :] + np.arange(length)[:, None]) % length
    rng = np.random.default_rng(seed)
    drawn = rng.random((permutations - 1, length)).argsort(axis=1)[:, :after]
    return np.vstack([last[None, :], drawn])


def _check(scheme: str, statistic: str, permutations: int, level: float) -> None:
    if scheme not in {"block", "iid"}:
        raise DesignError(f"conformal has scheme {scheme!r}; it can be 'block' or 'iid'.")
    if statistic not in {"mean", "size"}:
        raise DesignError(f"conformal has statistic {statistic!r}; it can be 'mean' or 'size'.")
    if permutations < 20:
        raise DesignError(f"conformal has {permutations} permutations; write 20 or more.")
    if not 0 < level < 1:
        raise DesignError(
            f"conformal has level {level}; write a number between 0 and 1, such as 0.95."
        )


def _result(
    effect: Estimate,
    test: _Test,
    scheme: Scheme,
    seed: int,
    tried: Mapping[float, float],
) -> Conformal:
    places = np.array(sorted(tried))
    return Conformal(
        effect=effect,
        statistic=test.statistic,
        scheme=scheme,
        permutations=len(test.after),
        seed=seed,
        candidates=places,
        p_values=np.array([tried[each] for each in places]),
    )
