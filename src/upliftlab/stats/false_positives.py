"""How likely is a win nothing at all, given how often anything works?"""

from __future__ import annotations

import math

from upliftlab.errors import UpliftlabError


def false_positive_risk(
    prior_success: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the chance that a significant win has no effect.

    A win is one side of a two-sided test, so nothing looks like a win with chance alpha / 2.

    Args:
        prior_success: Share of tests that truly work.
        alpha: Two-sided level.
        power: Chance that one that works is seen.

    Raises:
        UpliftlabError: When a share is not one.

    References:
        Kohavi, Deng and Vermeer (2022), *KDD '22*: A/B Testing Intuition Busters, section 5.

    Examples:
        >>> round(false_positive_risk(0.10), 4)
        0.2195
    """
    for what, value in (("prior_success", prior_success), ("alpha", alpha), ("power", power)):
        if not 0 <= value <= 1:
            raise UpliftlabError(f"{what} is {value!r}; write a share between 0 and 1.")
    lucky = alpha / 2 * (1 - prior_success)
    wins = lucky + power * prior_success
    return lucky / wins if wins > 0 else math.nan


def true_success(win_rate: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Return the share of tests that truly work, from the share that won.

    Args:
        win_rate: Share of tests that were significantly better.
        alpha: Two-sided level.
        power: Chance that one that works is seen.

    Returns:
        Between 0 and 1: fewer wins than chance alone gives 0.

    References:
        Kohavi, Deng and Vermeer (2022), section 5.

    Examples:
        >>> round(true_success(0.12), 4)
        0.1226
    """
    if not power > alpha / 2:
        return math.nan
    return min(1.0, max(0.0, (win_rate - alpha / 2) / (power - alpha / 2)))
