"""Could the pre-trend test have seen a trend that matters, and what does passing it do?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from upliftlab.errors import DesignError
from upliftlab.panels.group_time import GroupTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.panels.adjusted import AdjustedEffects
    from upliftlab.panels.event_path import EventPath
    from upliftlab.panels.forms import Inference

    Floats = NDArray[np.float64]

CRITICAL = 1.96
"""Critical |t| of the usual pre-test, as in the R package ``pretrends``."""
_POINTS = 2**13
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class JointTest:
    """A test that all estimates before the start are 0.

    Attributes:
        statistic: Wald statistic.
        restrictions: How many estimates it tests, the rank of their covariance.
        df: Denominator degrees of freedom; infinite means chi-square.
        p_value: P-value; NaN where nothing varies.
        note: What a reader must know; empty when nothing.
    """

    statistic: float
    restrictions: int
    df: float
    p_value: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrendPower:
    """What the pre-test says about one hypothesised difference in trends.

    Attributes:
        delta: The difference in trends, shape [n_pre + n_post].
        power: P(some |t| before the start exceeds the critical value).
        bayes_factor: P(pass | delta) / P(pass | parallel trends).
        likelihood_ratio: Density of the estimates before the start, delta over parallel trends.
        mean_after_passing: Expected estimates without any effect, given a passed pre-test; NaN
            where it never passes.
        bias: Bias of the aggregate caused by delta.
        bias_after_passing: The same, given a passed pre-test.
        note: What a reader must know; empty when nothing.
    """

    delta: Floats
    power: float
    bayes_factor: float
    likelihood_ratio: float
    mean_after_passing: Floats
    bias: float
    bias_after_passing: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectableSlopes:
    """Linear trends that the pre-test finds with a given probability.

    Attributes:
        half: Slope per period found in 50 % of samples; 0 where already no trend is "found" so
            often.
        four_fifths: Slope per period found in 80 % of samples.
        false_alarm: P(some |t| exceeds the critical value) without any trend.
        bias_half: Bias of the aggregate under the first slope, given a passed pre-test.
        bias_four_fifths: The same under the second.
    """

    half: float
    four_fifths: float
    false_alarm: float
    bias_half: float
    bias_four_fifths: float


def joint_test(path: EventPath, *, df: float | None = None) -> JointTest:
    """Test that all estimates before the start are 0 together.

    Args:
        path: Effects before and after.
        df: Denominator degrees of freedom of F; by default those of the path, infinite meaning
            chi-square.

    References:
        Wald (1943), *Transactions of the AMS* 54(3); W / q against F(q, df).

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> found = joint_test(EventPath.of_arrays([1.0, 2.0, 5.0], np.eye(3), 2))
        >>> found.statistic, round(found.p_value, 4)
        (5.0, 0.0821)
    """
    beta, sigma = _before(path)
    return _wald(beta, sigma, path.df if df is None else df)


def cells_test(
    effects: GroupTime | AdjustedEffects, *, inference: Inference = "small_sample"
) -> JointTest:
    """Test that all ATT(g, t) before treatment (and its announcement) are 0 together.

    With base "varying" and "analytic" inference it is the pre-test that R's did prints.

    Args:
        effects: Of one outcome.
        inference: As in ``Forms.joint``; "small_sample" takes F with the least of the cells'
            degrees of freedom.

    Raises:
        DesignError: When the effects are of several outcomes.

    References:
        Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), section 4.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> from upliftlab.panels.group_time import group_time
        >>> y = np.random.default_rng(0).normal(size=(40, 4))
        >>> found = cells_test(group_time(Panel.of_arrays(y, [2] * 20 + [NEVER] * 20)))
        >>> found.restrictions, found.df, round(found.p_value, 3)
        (1, 38.0, 0.953)
    """
    if effects.att.shape[1] != 1:
        raise DesignError(
            f"the test before treatment takes one outcome; these effects have "
            f"{effects.att.shape[1]}: choose one of the panel's components."
        )
    if isinstance(effects, GroupTime):
        joint = effects.forms.joint(effects.moments, inference=inference)
    else:
        joint = effects.joint(inference=inference)
    at = [
        c
        for c, (start, period) in enumerate(effects.cells)
        if period < start - effects.anticipation
        and period != effects.base[c]
        and math.isfinite(joint.value[c])
    ]
    if not at:
        note = "there are no estimates before the start"
        return JointTest(
            statistic=math.nan, restrictions=0, df=math.nan, p_value=math.nan, note=note
        )
    return _wald(joint.value[at], joint.cov[np.ix_(at, at)], float(np.min(joint.df[at])))


def _wald(beta: Floats, sigma: Floats, freedom: float) -> JointTest:
    """Wald statistic of estimates that are 0 together, on the rank of their covariance."""
    if not np.isfinite(sigma).all():
        note = "some estimate before the start has no standard error"
        return JointTest(
            statistic=math.nan, restrictions=0, df=freedom, p_value=math.nan, note=note
        )
    sd = np.sqrt(np.diag(sigma).clip(min=0.0))
    live = sd > 0
    if not live.any():
        note = "the estimates before the start do not vary"
        return JointTest(
            statistic=math.nan, restrictions=0, df=freedom, p_value=math.nan, note=note
        )
    t = beta[live] / sd[live]
    values, axes = np.linalg.eigh(sigma[np.ix_(live, live)] / np.outer(sd[live], sd[live]))
    real = values > 1e-9 * values.max()
    rank = int(real.sum())
    statistic = float(((axes[:, real].T @ t) ** 2 / values[real]).sum())
    if math.isfinite(freedom):
        p_value = float(special.fdtrc(rank, freedom, statistic / rank))
    else:
        p_value = float(special.chdtrc(rank, statistic))
    lost = len(beta) - rank
    note = f"{lost} of {len(beta)} estimates before the start add nothing" if lost else ""
    return JointTest(
        statistic=statistic, restrictions=rank, df=freedom, p_value=p_value, note=note
    )


def judge_trend(
    path: EventPath, delta: Sequence[float] | Floats, *, critical: float = CRITICAL
) -> TrendPower:
    """Say how likely the pre-test is to find a difference in trends, and what passing costs.

    The pre-test passes when no estimate before the start is significant on its own.

    Args:
        path: Effects before and after.
        delta: Difference in trends at ``path.times``, 0 at the reference period,
            shape [n_pre + n_post].
        critical: Critical value of |t| in the pre-test.

    References:
        Roth (2022), *AER: Insights* 4(3), section II.

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> path = EventPath.of_arrays([0.0, 0.0, 3.0], np.eye(3), 2)
        >>> found = judge_trend(path, 0.5 * path.times)
        >>> round(found.power, 3), found.bias, round(found.bias_after_passing, 3)
        (0.236, 0.5, 0.5)
    """
    drift = np.asarray(delta, dtype=np.float64)
    if drift.shape != path.beta.shape:
        raise DesignError(
            f"a hypothesised trend needs {len(path.beta)} values, one per estimate; it has "
            f"{len(drift)}."
        )
    beta, sigma = _before(path)
    n_pre = path.n_pre
    if not (np.diag(sigma) > 0).all():
        return _no_power(path, drift)
    reach = critical * np.sqrt(np.diag(sigma))
    passes, mean = _box(drift[:n_pre], sigma, -reach, reach)
    inverse = np.linalg.pinv(sigma, hermitian=True)
    later = drift[n_pre:] + path.sigma[n_pre:, :n_pre] @ inverse @ (mean - drift[:n_pre])
    log_ratio = drift[:n_pre] @ inverse @ (beta - drift[:n_pre] / 2)
    return TrendPower(
        delta=drift,
        power=1 - passes,
        bayes_factor=passes / _pass(np.zeros(n_pre), sigma, critical),
        likelihood_ratio=math.exp(log_ratio) if log_ratio < 700 else math.inf,
        mean_after_passing=np.concatenate([mean, later]),
        bias=float(path.weights @ drift[n_pre:]),
        bias_after_passing=float(path.weights @ later),
    )


def slope_for_power(path: EventPath, power: float, *, critical: float = CRITICAL) -> float:
    """Return the slope per period that the pre-test finds with the given probability.

    Returns:
        The positive slope, in the unit of the effect; 0 where already without a trend the
        pre-test rejects so often.

    References:
        Roth (2022), *AER: Insights* 4(3), section II.

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> path = EventPath.of_arrays([0.0, 3.0], np.eye(2), 1)
        >>> round(slope_for_power(path, 0.5), 3)
        1.96
    """
    from scipy import optimize

    if not 0 < power < 1:
        raise DesignError(f"power is {power}; write a number between 0 and 1, such as 0.8.")
    sigma = _before(path)[1]
    times = path.times[: path.n_pre]
    if not (np.diag(sigma) > 0).all():
        return math.nan

    def missing(slope: float) -> float:
        return 1 - _pass(slope * times, sigma, critical) - power

    if missing(0.0) >= 0:
        return 0.0
    # One estimate alone reaches any power here, so the joint test does, too.
    alone = critical + float(special.ndtri(0.5 + power / 2)) + 1
    top = float((alone * np.sqrt(np.diag(sigma)) / np.abs(times)).min())
    return float(optimize.brentq(missing, 0.0, top, xtol=1e-9 * top))


def detectable_slopes(path: EventPath, *, critical: float = CRITICAL) -> DetectableSlopes:
    """Return the linear trends the pre-test finds in 50 and 80 % of samples, and their bias.

    References:
        Roth (2022), *AER: Insights* 4(3), figure 2 and table 2.

    Examples:
        >>> from upliftlab.panels.event_path import EventPath
        >>> path = EventPath.of_arrays([0.0, 3.0], np.eye(2), 1)
        >>> found = detectable_slopes(path)
        >>> round(found.half, 2), round(found.four_fifths, 2), round(found.bias_half, 2)
        (1.96, 2.8, 1.96)
    """
    half = slope_for_power(path, 0.5, critical=critical)
    most = slope_for_power(path, 0.8, critical=critical)
    biases = [
        judge_trend(path, slope * path.times, critical=critical).bias_after_passing
        for slope in (half, most)
    ]
    return DetectableSlopes(
        half=half,
        four_fifths=most,
        false_alarm=judge_trend(path, 0 * path.times, critical=critical).power,
        bias_half=biases[0],
        bias_four_fifths=biases[1],
    )


def box_probability(mean: Floats, sigma: Floats, low: Floats, high: Floats) -> float:
    """Return P(low <= X <= high) for a normal vector, the same number at every call.

    Within 1e-5 for up to six well-conditioned dimensions, 5e-4 for fourteen nearly collinear.

    References:
        Genz (1992), *Journal of Computational and Graphical Statistics* 1(2), with a fixed
        low-discrepancy sequence, so that the result is smooth in its arguments.

    Examples:
        >>> one = np.ones(2)
        >>> round(box_probability(0 * one, np.eye(2), -1.96 * one, 1.96 * one), 4)
        0.9025
    """
    return _box(mean, sigma, low, high)[0]


def _no_power(path: EventPath, delta: Floats) -> TrendPower:
    return TrendPower(
        delta=delta,
        power=math.nan,
        bayes_factor=math.nan,
        likelihood_ratio=math.nan,
        mean_after_passing=np.full(len(delta), math.nan),
        bias=float(path.weights @ delta[path.n_pre :]),
        bias_after_passing=math.nan,
        note="an estimate before the start does not vary, so that it has no t",
    )


def _before(path: EventPath) -> tuple[Floats, Floats]:
    return path.beta[: path.n_pre], path.sigma[: path.n_pre, : path.n_pre]


def _pass(mean: Floats, sigma: Floats, critical: float) -> float:
    """P(every |t| <= critical)."""
    reach = critical * np.sqrt(np.diag(sigma))
    return box_probability(mean, sigma, -reach, reach)


def _box(mean: Floats, sigma: Floats, low: Floats, high: Floats) -> tuple[float, Floats]:
    """Probability of the box, and the mean inside it (NaN where the probability is 0)."""
    root, draws = _root(sigma), _sequence(len(mean))
    below, above = low - mean, high - mean
    z = np.zeros((len(draws), len(mean)))
    total = np.ones(len(draws))
    for i in range(len(mean)):
        known = z[:, :i] @ root[i, :i]
        scale = max(float(root[i, i]), _TINY * math.sqrt(sigma[i, i]))
        one = special.ndtr((below[i] - known) / scale)
        two = special.ndtr((above[i] - known) / scale)
        total *= two - one
        share = one + draws[:, i] * (two - one)
        z[:, i] = special.ndtri(share.clip(1e-300, 1 - 1e-16))
    mass = float(total.sum())
    if not mass > 0:
        return 0.0, np.full(len(mean), math.nan)
    return mass / len(draws), mean + root @ (total @ z) / mass


def _root(sigma: Floats) -> Floats:
    """Lower triangular root of a covariance that may be singular."""
    root = np.zeros_like(sigma)
    for i in range(len(sigma)):
        rest = sigma[i:, i] - root[i:, :i] @ root[i, :i]
        if rest[0] > _TINY * sigma[i, i]:
            root[i:, i] = rest / math.sqrt(rest[0])
    return root


@lru_cache(maxsize=32)
def _sequence(size: int) -> Floats:
    """Scrambled Sobol points with a fixed seed, shape [_POINTS, size]."""
    from scipy.stats import qmc

    return np.asarray(qmc.Sobol(size, seed=3).random(_POINTS))
