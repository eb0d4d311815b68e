"""Do the arms have the sizes that the shares promise?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import NAN
from upliftlab.stats.multiplicity import adjust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_SMALL_EXPECTED = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumRatio:
    """Sizes of the arms of one stratum against their shares.

    Attributes:
        stratum: Its label.
        n: Units in the stratum.
        expected: Units per arm that the shares promise.
        statistic: Chi-square; NaN for a stratum without units.
        p_value: Of this stratum alone.
        p_adjusted: Holm-adjusted over the strata.
    """

    stratum: str
    n: int
    expected: tuple[float, ...]
    statistic: float
    p_value: float
    p_adjusted: float


def chi_square(
    counts: Sequence[int], shares: Sequence[float]
) -> tuple[float, float, tuple[float, ...]]:
    """Return Pearson's chi-square, its p-value and the expected counts.

    Args:
        counts: Units per arm, shape [A].
        shares: Planned shares or weights, shape [A]; they are divided by their sum.

    Returns:
        Statistic, p-value and expected counts; NaN statistic and p-value without units.

    Raises:
        UpliftlabError: When an arm has a share of 0 or less, or the lengths differ.

    References:
        Pearson (1900), *Philosophical Magazine* 50(302); for experiments Fabijan et al. (2019),
        *KDD '19*.

    Examples:
        >>> statistic, p, expected = chi_square([821_588, 815_482], [0.5, 0.5])
        >>> f"{statistic:.4f} {p:.2e} {expected[0]:.0f}"
        '22.7744 1.82e-06 818535'
    """
    observed = np.asarray(counts, dtype=float)
    expected = observed.sum() * _shares(shares, len(observed))
    promised = tuple(expected.tolist())
    if observed.sum() == 0:
        return NAN, NAN, promised
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return statistic, float(special.chdtrc(len(observed) - 1, statistic)), promised


def exact_binomial(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Return the exact two-sided p-value for two arms; NaN without units.

    Args:
        counts: Units of the two arms.
        shares: Their planned shares.

    Raises:
        UpliftlabError: When there are not two arms or a share is 0 or less.

    References:
        Fisher's exact principle: outcomes no more probable than the one seen are counted.

    Examples:
        >>> round(exact_binomial([53, 47], [1, 1]), 6)
        0.617299
    """
    if len(counts) != 2:
        raise UpliftlabError(f"the exact test compares 2 arms; counts has {len(counts)}.")
    from scipy import stats

    first, total = int(counts[0]), int(sum(counts))
    share = float(_shares(shares, 2)[0])
    return NAN if total == 0 else float(stats.binomtest(first, total, share).pvalue)


def per_stratum(
    counts_by_stratum: Mapping[str, Sequence[int]],
    shares: Sequence[float] | Mapping[str, Sequence[float]],
) -> tuple[StratumRatio, ...]:
    """Return one sample-ratio test per stratum, Holm-adjusted over the strata.

    Shares may differ by stratum, as in a ramp-up: pooled counts then fail although every epoch
    is right.

    Args:
        counts_by_stratum: Units per arm, by stratum.
        shares: Planned shares for all strata, or by stratum.

    Returns:
        One row per stratum in the given order. Two arms with fewer than five expected units use
        the exact test.

    Raises:
        UpliftlabError: When a share is 0 or less, or lengths differ.

    Examples:
        >>> ramp_up = {"week 1": [100, 900], "week 2": [500, 500]}
        >>> rows = per_stratum(ramp_up, {"week 1": [0.1, 0.9], "week 2": [0.5, 0.5]})
        >>> [row.p_adjusted for row in rows]
        [1.0, 1.0]
    """
    rows = []
    for stratum, counts in counts_by_stratum.items():
        promised = shares[stratum] if isinstance(shares, Mapping) else shares
        statistic, p, expected = chi_square(counts, promised)
        if len(counts) == 2 and min(expected) < _SMALL_EXPECTED:
            p = exact_binomial(counts, promised)
        rows.append((stratum, int(sum(counts)), expected, statistic, p))
    adjusted = adjust([row[-1] for row in rows], "holm").tolist()
    return tuple(
        StratumRatio(
            stratum=stratum,
            n=n,
            expected=expected,
            statistic=statistic,
            p_value=p,
            p_adjusted=p_adjusted,
        )
        for (stratum, n, expected, statistic, p), p_adjusted in zip(rows, adjusted, strict=True)
    )


def _shares(shares: Sequence[float], arms: int) -> Floats:
    weights: Floats = np.asarray(shares, dtype=float)
    if len(weights) != arms:
        raise UpliftlabError(f"{arms} arms have counts and {len(weights)} have shares.")
    if not (weights > 0).all():
        raise UpliftlabError(
            f"shares are {weights.tolist()}; leave an arm without a share out of the test."
        )
    normed: Floats = weights / weights.sum()
    return normed
