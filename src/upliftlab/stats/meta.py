"""What do several estimates of one kind say together, and what will the next one say?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import optimize, special

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import NAN, Estimate, critical_value, interval, undefined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Block = tuple[Sequence[int], ArrayLike]

Method = Literal["fixed", "dl", "reml", "pm"]
SmallSample = Literal["knapp_hartung", "truncated", "none"]

ONE_STUDY = "one estimate: heterogeneity is not estimable"
NO_STUDY = "no estimates to pool"
TWO_STUDIES = "a prediction interval needs three estimates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """Several estimates read as draws around one mean.

    Attributes:
        method: ``fixed``, ``dl``, ``reml`` or ``pm``.
        k: How many estimates were pooled.
        mean: Their mean with its interval; standard error as ``small_sample`` asks.
        wald: The same mean with the plain standard error and a normal interval.
        prediction: Where the true effect of the next one lies, t with k - 2 df.
        tau2: Variance of true effects between estimates.
        tau2_low: Lower end of its Q-profile interval.
        tau2_high: Upper end; infinite where the data set no bound.
        q: Cochran's Q of the fixed effect.
        q_p: Its p-value on k - 1 df.
        i2: Share of the spread that sampling does not explain, (Q - df) / Q.
        i2_low: Lower end, from the interval of tau2.
        i2_high: Upper end.
        weights: Share of each estimate in the mean, shape (k,).
    """

    method: Method
    k: int
    mean: Estimate
    wald: Estimate
    prediction: Estimate
    tau2: float
    tau2_low: float = NAN
    tau2_high: float = NAN
    q: float = NAN
    q_p: float = NAN
    i2: float = NAN
    i2_low: float = NAN
    i2_high: float = NAN
    weights: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: NaN and infinity become None."""
        numbers = ("tau2", "tau2_low", "tau2_high", "q", "q_p", "i2", "i2_low", "i2_high")
        found = {name: getattr(self, name) for name in numbers}
        return {
            "method": self.method,
            "k": self.k,
            "mean": self.mean.to_dict(),
            "wald": self.wald.to_dict(),
            "prediction": self.prediction.to_dict(),
            **{name: v if math.isfinite(v) else None for name, v in found.items()},
            "weights": list(self.weights),
        }


def pool(
    estimates: ArrayLike,
    variances: ArrayLike,
    *,
    method: Method = "reml",
    small_sample: SmallSample = "knapp_hartung",
    blocks: Sequence[Block] = (),
    level: float = 0.95,
    name: str = "mean",
) -> Pooled:
    """Pool estimates whose true values may differ.

    Sampling variances count as known. Estimates that share a control are correlated: hand over
    their covariance matrix, and the mean weighs what they say together.

    Args:
        estimates: Shape (k,).
        variances: Sampling variances, shape (k,), or covariance, shape (k, k).
        method: How the variance between true effects is estimated: ``reml``; ``pm`` (solves
            Q = k - 1); ``dl`` (one step from the fixed effect); ``fixed`` (none).
        small_sample: ``knapp_hartung``: scaled standard error, t with k - 1 df;
            ``truncated``: the same, never smaller than the plain one; ``none``: normal. The
            fixed effect is always plain.
        blocks: (positions, covariance) of estimates with correlated errors, beside a vector of
            variances: the same as a block-diagonal matrix, at any k.
        level: Confidence level.
        name: What the mean means.

    Returns:
        The pooled mean, heterogeneity and prediction; numbers that too few estimates cannot
        give are NaN with a note.

    Raises:
        UpliftlabError: When shapes disagree or a variance is not positive.

    References:
        DerSimonian and Laird (1986), *Controlled Clinical Trials* 7(3); Paule and Mandel
        (1982), *Journal of Research of the NBS* 87(5); Viechtbauer (2005), *Journal of
        Educational and Behavioral Statistics* 30(3) (REML); Hartung and Knapp (2001),
        *Statistics in Medicine* 20(24); Viechtbauer (2007), *Statistics in Medicine* 26(1)
        (Q profile); Higgins, Thompson and Spiegelhalter (2009), *JRSS A* 172(1) (prediction).

    Examples:
        >>> found = pool([0.2, 0.5, 0.9, 0.1], [0.04, 0.05, 0.03, 0.06])
        >>> f"{found.mean.estimate:.3f} +- {found.mean.std_error:.3f}, tau2 {found.tau2:.4f}"
        '0.444 +- 0.183, tau2 0.0958'
    """
    data = _Rotated.of(estimates, variances, blocks)
    k = len(data.y)
    if k == 0:
        missing = undefined(name, NO_STUDY, level=level)
        return Pooled(
            method=method, k=0, mean=missing, wald=missing, prediction=missing, tau2=NAN
        )
    tau2 = 0.0 if method == "fixed" or k == 1 else _TAU2[method](data)
    mu, variance, q_star = data.fit(tau2)
    plain = interval(name, mu, variance, level=level)
    weights = tuple(data.shares(tau2).tolist())
    if k == 1:
        one = replace(plain, note=ONE_STUDY)
        ahead = undefined(f"next {name}", TWO_STUDIES, level=level)
        lone = NAN if method != "fixed" else 0.0
        return Pooled(
            method=method, k=1, mean=one, wald=one, prediction=ahead, tau2=lone, weights=weights
        )
    q = data.fit(0.0)[2]
    low, high = _q_profile(data, level)
    return Pooled(
        method=method,
        k=k,
        mean=_small_sample(plain, q_star, k, "none" if method == "fixed" else small_sample),
        wald=plain,
        prediction=predict(mu, variance + tau2, k, level=level, name=f"next {name}"),
        tau2=tau2,
        tau2_low=low,
        tau2_high=high,
        q=q,
        q_p=float(special.chdtrc(k - 1, q)),
        i2=max(0.0, (q - (k - 1)) / q) if q > 0 else 0.0,
        i2_low=data.share_between(low),
        i2_high=data.share_between(high),
        weights=weights,
    )


def predict(
    mean: float, variance: float, k: int, *, level: float = 0.95, name: str = "next"
) -> Estimate:
    """Return where the true value of the next one lies.

    Args:
        mean: Pooled mean.
        variance: Variance of the mean plus that between true values.
        k: How many were pooled; t has k - 2 degrees of freedom.
        level: Probability of the interval.
        name: What is predicted.

    Returns:
        The prediction; without interval, and with a note, for fewer than three.

    Examples:
        >>> ahead = predict(0.5, 0.04, 10)
        >>> f"{ahead.ci_low:.3f} to {ahead.ci_high:.3f}"
        '0.039 to 0.961'
    """
    if k < 3:
        return replace(undefined(name, TWO_STUDIES, level=level), estimate=mean)
    # A prediction has no null hypothesis.
    return replace(interval(name, mean, variance, df=k - 2, level=level), p_value=NAN)


def between_groups(pooled: tuple[Pooled, ...]) -> tuple[float, float]:
    """Return the statistic and p-value of "all groups have one mean" (chi-square, G - 1 df).

    Args:
        pooled: One per group; groups without a standard error do not count.

    References:
        Borenstein et al. (2009), *Introduction to Meta-Analysis*, chapter 19.

    Examples:
        >>> groups = (pool([1.0, 1.2], [0.1, 0.1]), pool([3.0, 3.1], [0.1, 0.1]))
        >>> q, p = between_groups(groups)
        >>> f"{q:.1f}, p {p:.4f}"
        '38.0, p 0.0000'
    """
    rows = [(g.wald.estimate, g.wald.std_error) for g in pooled if g.wald.std_error > 0]
    if len(rows) < 2:
        return NAN, NAN
    found = pool([m for m, _ in rows], [s**2 for _, s in rows], method="fixed")
    return found.q, found.q_p


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rotated:
    """Estimates turned so that their sampling errors are uncorrelated: y ~ (x mu, v + tau2)."""

    y: Floats
    x: Floats
    v: Floats
    turns: tuple[tuple[list[int], Floats], ...]

    @classmethod
    def of(
        cls, estimates: ArrayLike, variances: ArrayLike, blocks: Sequence[Block]
    ) -> _Rotated:
        y = np.asarray(estimates, dtype=float)
        v = np.asarray(variances, dtype=float)
        if y.ndim != 1 or v.shape not in {(len(y),), (len(y), len(y))}:
            raise UpliftlabError(
                f"pool got estimates of shape {y.shape} and variances of shape {v.shape}; "
                "give (k,) and (k,) or (k, k)."
            )
        if v.ndim == 2:
            blocks = [(range(len(y)), v)]
        y, x, v = y.copy(), np.ones_like(y), np.diag(v).copy() if v.ndim == 2 else v.copy()
        turns = []
        for positions, cov in blocks:
            at = [int(i) for i in positions]
            v[at], turn = np.linalg.eigh(np.asarray(cov, dtype=float))
            y[at], x[at] = turn.T @ y[at], turn.T @ x[at]
            turns.append((at, turn))
        if not (np.isfinite(y).all() and np.isfinite(v).all() and (v > 0).all()):
            raise UpliftlabError(
                "pool needs finite estimates and positive variances; leave out estimates that "
                "do not exist."
            )
        return cls(y=y, x=x, v=v, turns=tuple(turns))

    def fit(self, tau2: float) -> tuple[float, float, float]:
        """Mean, its variance, and weighted sum of squares around it."""
        w = 1 / (self.v + tau2)
        total = float(w @ self.x**2)
        mu = float(w @ (self.x * self.y)) / total
        return mu, 1 / total, float(w @ (self.y - mu * self.x) ** 2)

    def score(self, tau2: float) -> float:
        """Derivative of twice the restricted log-likelihood: y'PPy - tr P."""
        w = 1 / (self.v + tau2)
        total = w @ self.x**2
        residual = self.y - (w @ (self.x * self.y)) / total * self.x
        return float(w**2 @ residual**2 - w.sum() + (w**2 @ self.x**2) / total)

    def restricted(self, tau2: float) -> float:
        """Twice the restricted log-likelihood, up to a constant."""
        w = 1 / (self.v + tau2)
        return float(np.log(w).sum() - np.log(w @ self.x**2) - self.fit(tau2)[2])

    def trace(self) -> float:
        """Tr P at tau2 = 0, the C of DerSimonian and Laird."""
        w = 1 / self.v
        return float(w.sum() - (w**2 @ self.x**2) / (w @ self.x**2))

    def share_between(self, tau2: float) -> float:
        """Turn tau2 into I2 by the typical sampling variance (k - 1) / C."""
        if not math.isfinite(tau2):
            return 1.0 if tau2 > 0 else NAN
        return tau2 / (tau2 + (len(self.y) - 1) / self.trace())

    def shares(self, tau2: float) -> Floats:
        """Weight of each estimate in the mean; they add up to 1."""
        w = self.x / (self.v + tau2)
        for at, turn in self.turns:
            w[at] = turn @ w[at]
        out: Floats = w / w.sum()
        return out


def _dersimonian_laird(data: _Rotated) -> float:
    excess = data.fit(0.0)[2] - (len(data.y) - 1)
    return max(0.0, excess / data.trace())


def _paule_mandel(data: _Rotated) -> float:
    return _solve_q(data, float(len(data.y) - 1))


def _reml(data: _Rotated) -> float:
    # The restricted likelihood may have several peaks: look everywhere, then refine.
    grid = np.concatenate([[0.0], np.geomspace(1e-6, 1.0, 240) * _far(data)])
    best = int(np.argmax([data.restricted(float(t)) for t in grid]))
    low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    if best == 0 and data.score(0.0) <= 0:
        return 0.0
    if data.score(low) * data.score(high) >= 0:
        return float(grid[best])
    return _root(data.score, low, high)


_TAU2: dict[str, Callable[[_Rotated], float]] = {
    "dl": _dersimonian_laird,
    "pm": _paule_mandel,
    "reml": _reml,
}


def _solve_q(data: _Rotated, target: float) -> float:
    """Find the tau2 at which the weighted sum of squares is the target; 0 where it is below."""
    if data.fit(0.0)[2] <= target:
        return 0.0
    high = _far(data)
    while data.fit(high)[2] > target and high < 1e300:
        high *= 10
    return _root(lambda t: data.fit(t)[2] - target, 0.0, high)


def _q_profile(data: _Rotated, level: float) -> tuple[float, float]:
    k = len(data.y)
    tail = (1 - level) / 2
    low, high = special.chdtri(k - 1, tail), special.chdtri(k - 1, 1 - tail)
    return _solve_q(data, float(low)), _solve_q(data, float(high))


def _far(data: _Rotated) -> float:
    """A variance between effects beyond any that the data could support."""
    return 10 * float(np.max((data.y - np.median(data.y)) ** 2, initial=0.0) + data.v.max())


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    scale = max(abs(low), abs(high))
    return float(optimize.brentq(function, low, high, xtol=1e-14 * scale, rtol=1e-14))


def _small_sample(plain: Estimate, q_star: float, k: int, how: SmallSample) -> Estimate:
    if how == "none":
        return plain
    factor = q_star / (k - 1)
    if how == "truncated":
        # Knapp-Hartung alone can be shorter than Wald where estimates agree by luck.
        factor = max(1.0, factor)
    variance = factor * plain.std_error**2
    found = interval(plain.name, plain.estimate, variance, df=k - 1, level=plain.level)
    wald_reach = plain.std_error * critical_value(level=plain.level)
    if how == "truncated" and found.ci_high - found.estimate < wald_reach:
        return plain
    return found
