"""What did many tests truly earn, when each borrows strength from the others?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import NAN, Estimate, undefined
from upliftlab.stats.mixture import Mixture, sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Block = tuple[Sequence[int], ArrayLike]

SEED = 20260101
DRAWS = 1_000
TOO_FEW = "shrinkage needs three tests"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shrunken:
    """True effects of many tests, given all of them; uncertain prior included.

    Attributes:
        mean: Expected true effect of each test, shape (n,).
        sd: Its standard deviation, shape (n,).
        ci_low: Lower end of each credible interval, shape (n,).
        ci_high: Upper end, shape (n,).
        p_positive: Chance that the true effect is above 0, shape (n,).
        p_null: Chance that it is nothing at all, shape (n,).
        null_share: Share of tests without any effect, with its interval.
        mode: Where effects of tests that do something are centred.
        spread: Standard deviation of true effects over tests.
        ahead: True effect of the next test of this kind (scale 1).
        level: Of the intervals.
    """

    mean: Floats
    sd: Floats
    ci_low: Floats
    ci_high: Floats
    p_positive: Floats
    p_null: Floats
    null_share: Estimate
    mode: Estimate
    spread: Estimate
    ahead: Estimate
    level: float
    _draws: NDArray[np.float32] = field(repr=False)

    def total(
        self, picked: ArrayLike, *, weights: ArrayLike | None = None, name: str = "total"
    ) -> Estimate:
        """Return the true sum of some tests, whatever data they were picked on.

        Given the data and the prior, picking on the data changes nothing: no further
        correction is needed, also where people overruled the rule.

        Args:
            picked: Which tests, shape (n,), boolean.
            weights: Units that each effect applies to, shape (n,); by default 1.
            name: What the sum means.

        Examples:
            >>> found = shrink([3.0, 0.1, -0.2, 0.4, 1.0], np.ones(5))
            >>> won = found.total([True, False, False, False, False])
            >>> bool(0.3 < won.estimate < 2.9), won.ci_low < won.estimate < won.ci_high
            (True, True)
        """
        on = np.asarray(picked, dtype=bool)
        w = np.ones(len(self.mean)) if weights is None else np.asarray(weights, dtype=float)
        if not on.any():
            return undefined(name, "nothing was picked", level=self.level)
        sums = self._draws[:, on].astype(float) @ w[on]
        return credible(name, sums, level=self.level, mean=float(self.mean[on] @ w[on]))

    def rank(self, weights: ArrayLike | None = None) -> NDArray[np.intp]:
        """Return positions by expected effect (times weight), best first."""
        w = 1.0 if weights is None else np.asarray(weights, dtype=float)
        out: NDArray[np.intp] = np.argsort(-(self.mean * w), kind="stable")
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the draws."""
        columns = ("mean", "sd", "ci_low", "ci_high", "p_positive", "p_null")
        numbers = ("null_share", "mode", "spread", "ahead")
        return {
            **{name: getattr(self, name).tolist() for name in columns},
            **{name: getattr(self, name).to_dict() for name in numbers},
            "level": self.level,
        }


def shrink(
    estimates: ArrayLike,
    std_errors: ArrayLike,
    *,
    scale: ArrayLike | None = None,
    blocks: Sequence[Block] = (),
    level: float = 0.95,
    seed: int = SEED,
    draws: int = DRAWS,
) -> Shrunken:
    """Estimate the true effects of tests that are alike, by a flexible prior fitted to all.

    The prior is a mixture of a spike at 0 and of normals of many widths around one centre: it
    can be normal, heavy-tailed or mostly null. Its weights and centre are sampled with the
    effects (Gibbs), so intervals know that the prior is estimated. All tests that ran belong
    in, not only those that were shipped.

    Args:
        estimates: Shape (n,).
        std_errors: Shape (n,); count as known.
        scale: What "alike" is measured in: effects divided by it are exchangeable, shape (n,);
            by default 1.
        blocks: (positions, covariance) of tests with correlated errors, such as arms that share
            a control; each test in one block at most.
        level: Of the credible intervals.
        seed: The sampler's; the same data give the same numbers.
        draws: Sweeps that are kept.

    Returns:
        Posterior of every effect; intervals are NaN with fewer than three tests.

    Raises:
        UpliftlabError: When shapes disagree or a standard error is not positive.

    References:
        Stephens (2017), *Biostatistics* 18(2): False discovery rates: a new deal (the family of
        priors); Azevedo et al. (2020), *Journal of Political Economy* 128(12): A/B Testing
        with Fat Tails.

    Examples:
        >>> found = shrink([4.0, 0.5, -0.5, 0.2, 0.8, -1.1], np.ones(6))
        >>> bool(found.mean[0] < 4.0), found.rank().tolist()[0]
        (True, 0)
    """
    y, s, unit = _checked(estimates, std_errors, scale)
    n = len(y)
    if n < 3:
        return _untouched(y, s, level)
    # Many tests pin the prior down: fewer sweeps say as much.
    kept = int(max(400, min(draws, 1.5e6 / n)))
    fitted = sample(
        y / unit,
        s / unit,
        blocks=[_scaled(block, unit) for block in blocks],
        draws=kept,
        burn_in=kept // 5,
        rng=np.random.default_rng(seed),
    )
    effects = fitted.effects * unit.astype(np.float32)
    tail = (1 - level) / 2
    low, high = np.quantile(effects, [tail, 1 - tail], axis=0)
    mean = fitted.mean * unit
    return Shrunken(
        mean=mean,
        sd=effects.std(axis=0).astype(float),
        # Quantiles of draws and a mean without sampling noise may cross for a sure null.
        ci_low=np.minimum(low, mean),
        ci_high=np.maximum(high, mean),
        p_positive=(effects > 0).mean(axis=0),
        p_null=fitted.p_null,
        null_share=credible("share without effect", fitted.weights[:, 0], level=level),
        mode=credible("centre of effects", fitted.mode, level=level),
        spread=credible("spread of effects", _spread(fitted), level=level),
        ahead=credible("next test", fitted.ahead, level=level),
        level=level,
        _draws=effects,
    )


def james_stein(
    estimates: ArrayLike, std_error: float, *, towards: str = "mean"
) -> tuple[Floats, float]:
    """Shrink towards 0 or the common mean by the positive-part James-Stein factor.

    A plain normal prior with one standard error: for comparison only, since it over-shrinks
    rare large effects and its intervals fail where most tests do nothing.

    Args:
        estimates: Shape (k,).
        std_error: Of every estimate.
        towards: ``zero`` (k - 2) or ``mean`` (k - 3).

    Returns:
        Shrunken effects and the factor.

    References:
        Efron and Morris (1975), *JASA* 70(350), equations 1.1 and 2.2.

    Examples:
        >>> _, factor = james_stein([0.02, 0.05, -0.01, 0.08, 0.03], 0.03, towards="zero")
        >>> round(factor, 6)
        0.737864
    """
    x = np.asarray(estimates, dtype=float)
    centre = 0.0 if towards == "zero" else float(x.mean())
    spare = len(x) - (2 if towards == "zero" else 3)
    square = float(((x - centre) ** 2).sum())
    factor = max(0.0, 1 - spare * std_error**2 / square) if square > 0 else 0.0
    return centre + factor * (x - centre), factor


def credible(
    name: str, draws: ArrayLike, *, level: float = 0.95, mean: float | None = None
) -> Estimate:
    """Return the mean and central interval of draws; a posterior has no p-value.

    Examples:
        >>> round(credible("x", np.linspace(0, 1, 101)).estimate, 6)
        0.5
    """
    values = np.asarray(draws, dtype=float)
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail]).tolist()
    return Estimate(
        name=name,
        estimate=float(values.mean()) if mean is None else mean,
        std_error=float(values.std()),
        ci_low=low,
        ci_high=high,
        level=level,
    )


def _checked(
    estimates: ArrayLike, std_errors: ArrayLike, scale: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    y, s = np.asarray(estimates, dtype=float), np.asarray(std_errors, dtype=float)
    unit = np.ones_like(y) if scale is None else np.asarray(scale, dtype=float)
    if y.ndim != 1 or s.shape != y.shape or unit.shape != y.shape:
        raise UpliftlabError(
            f"shrink got estimates of shape {y.shape}, standard errors of shape {s.shape} and "
            f"scales of shape {unit.shape}; give one of each per test."
        )
    if not (np.isfinite(y).all() and (s > 0).all() and np.isfinite(s).all()):
        raise UpliftlabError(
            "shrink needs finite estimates and positive standard errors; leave out tests that "
            "have none."
        )
    if not ((unit > 0).all() and np.isfinite(unit).all()):
        raise UpliftlabError("shrink needs positive scales; leave out tests that have none.")
    return y, s, unit


def _scaled(block: Block, unit: Floats) -> tuple[list[int], Floats]:
    at = [int(i) for i in block[0]]
    return at, np.asarray(block[1], dtype=float) / np.outer(unit[at], unit[at])


def _spread(fitted: Mixture) -> Floats:
    """Standard deviation of the prior, one per sweep."""
    slabs = fitted.weights[:, 1:]
    alive = slabs.sum(axis=1)
    inner = slabs @ fitted.widths**2
    out: Floats = np.sqrt(inner + alive * (1 - alive) * fitted.mode**2)
    return out


def _untouched(y: Floats, s: Floats, level: float) -> Shrunken:
    nothing = np.full(len(y), NAN)
    missing = undefined("prior", TOO_FEW, level=level)
    return Shrunken(
        mean=y.copy(),
        sd=s.copy(),
        ci_low=nothing,
        ci_high=nothing.copy(),
        p_positive=nothing.copy(),
        p_null=nothing.copy(),
        null_share=missing,
        mode=missing,
        spread=missing,
        ahead=missing,
        level=level,
        _draws=np.full((1, len(y)), math.nan, dtype=np.float32),
    )
