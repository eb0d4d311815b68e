"""Is a guardrail unharmed, harmed, or do we not know?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import Estimate, interval, upper_tail
from upliftlab.stats.ratio import UNSTABLE_BASELINE

State = Literal["non-inferior", "inferior", "inconclusive"]
Direction = Literal["increase", "decrease"]


def three_state(
    estimate: Estimate, margin: float, direction: Direction = "increase"
) -> tuple[State, Estimate]:
    """Compare an effect with the largest harm that is accepted.

    With the sign turned so that up is good:

    - ``non-inferior``: the whole interval lies above -margin; a small but certain harm within
      the margin is non-inferior.
    - ``inferior``: the whole interval lies below -margin: the harm is certainly larger than
      what was accepted.
    - ``inconclusive``: neither; also where there is no interval.

    Args:
        estimate: Treatment minus control; at level 95 % each side is tested at 2.5 %.
        margin: The accepted harm, at least 0, in the unit of the estimate.
        direction: Which way is good.

    Returns:
        The state, and the distance from the margin (above 0 is good) whose p-value is one-sided
        against "at or beyond the margin".

    Raises:
        UpliftlabError: When the margin is negative.

    References:
        Piaggio et al. (2012), *JAMA* 308(24), figure 1.

    Examples:
        >>> refunds = interval("refund rate", 0.002, 0.001**2)
        >>> state, distance = three_state(refunds, 0.005, "decrease")
        >>> f"{state}, p {distance.p_value:.4f}"
        'non-inferior, p 0.0013'
    """
    if not margin >= 0:
        raise UpliftlabError(f"margin is {margin:g}; write the accepted harm as 0 or more.")
    good = estimate if direction == "increase" else estimate.scaled(-1.0)
    distance = replace(
        good,
        name=f"{estimate.name}: distance from the margin",
        estimate=good.estimate + margin,
        ci_low=good.ci_low + margin,
        ci_high=good.ci_high + margin,
        rel_estimate=float("nan"),
        rel_ci_low=float("nan"),
        rel_ci_high=float("nan"),
    )
    distance = replace(distance, p_value=_one_sided_p(distance))
    return _state(distance), distance


def relative_three_state(
    mean_t: float,
    mean_c: float,
    var_t: float,
    var_c: float,
    cov: float = 0.0,
    *,
    margin: float,
    direction: Direction = "increase",
    df: float = math.inf,
    level: float = 0.95,
    name: str = "guardrail",
) -> tuple[State, Estimate]:
    """Compare an effect with an accepted harm that is a share of control.

    Tests mu_T - (1 - margin) mu_C (where down is good, (1 + margin) mu_C - mu_T):
    the control mean counts as estimated, which a fixed margin made from it would forget.
    With a negative baseline the margin is a share of its size.

    Args:
        mean_t: Mean of treatment.
        mean_c: Mean of control.
        var_t: Variance of the treatment mean.
        var_c: Variance of the control mean.
        cov: Their covariance.
        margin: The accepted harm as a share of control, at least 0.
        direction: Which way is good.
        df: Degrees of freedom of the variances.
        level: Two-sided level; each side is tested at half its complement.
        name: The metric.

    Returns:
        As ``three_state``; the distance is in the unit of the means.

    Raises:
        UpliftlabError: When the margin is negative.

    References:
        Pigeot, Schäfer, Röhmel and Hauschke (2003), *Statistics in Medicine* 22(6), for
        linear functionals in place of a ratio.

    Examples:
        >>> state, distance = relative_three_state(98.0, 100.0, 1.0, 1.0, margin=0.05)
        >>> f"{state}: {distance.estimate:.0f} +- {distance.std_error:.3f}"
        'non-inferior: 3 +- 1.379'
    """
    if not margin >= 0:
        raise UpliftlabError(f"margin is {margin:g}; write the accepted harm as 0 or more.")
    sign = 1.0 if direction == "increase" else -1.0
    # sign * mu_T - weight * mu_C is the distance from margin * |mu_C|.
    weight = sign - margin * math.copysign(1.0, mean_c)
    near = var_c > 0 and abs(mean_c) < 3 * math.sqrt(var_c)
    distance = interval(
        f"{name}: distance from the margin",
        sign * mean_t - weight * mean_c,
        var_t + weight**2 * var_c - 2 * sign * weight * cov,
        df=df,
        level=level,
        note=UNSTABLE_BASELINE if near else "",
    )
    distance = replace(distance, p_value=_one_sided_p(distance))
    return _state(distance), distance


def _state(distance: Estimate) -> State:
    if distance.is_above_zero:
        return "non-inferior"
    return "inferior" if distance.is_below_zero else "inconclusive"


def _one_sided_p(distance: Estimate) -> float:
    if not distance.std_error > 0:
        return float("nan")
    return upper_tail(distance.estimate / distance.std_error, df=distance.df)
