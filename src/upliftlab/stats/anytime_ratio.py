"""Do the arms have the sizes that the shares promise, whenever one looks?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from collections.abc import Sequence

CONCENTRATION = 10_000.0
"""How close to the promised shares the alternative is: about half a point at equal shares."""


def log_e_value(
    counts: Sequence[int], shares: Sequence[float], *, concentration: float = CONCENTRATION
) -> float:
    """Return the log evidence that the arms' sizes do not follow the shares.

    The Bayes factor of a Dirichlet mixture about the shares against the shares themselves: a
    martingale under the shares, so it may be read after every unit.

    Args:
        counts: Units per arm so far, shape [A].
        shares: Planned shares, shape [A]; they are divided by their sum.
        concentration: Prior units; fixed before the first look.

    References:
        Lindon and Malek (2022), *NeurIPS 35*, "Anytime-valid inference for multinomial count
        data", equation 6.

    Examples:
        >>> round(log_e_value([5_000, 5_000], [0.5, 0.5]), 2)
        -0.35
        >>> round(math.exp(log_e_value([5_300, 4_700], [0.5, 0.5])))
        5740
    """
    n = np.asarray(counts, dtype=float)
    share = np.asarray(shares, dtype=float)
    if len(n) != len(share) or (share <= 0).any():
        raise UpliftlabError(
            f"counts are {list(counts)} and shares {list(shares)}; every arm needs a count and "
            "a share above 0."
        )
    share = share / share.sum()
    prior = concentration * share
    return float(
        special.gammaln(concentration)
        - special.gammaln(concentration + n.sum())
        + (special.gammaln(prior + n) - special.gammaln(prior)).sum()
        - (n * np.log(share)).sum()
    )


def anytime_p(log_evidence: Sequence[float]) -> float:
    """Return the p-value after several looks: the inverse of the largest evidence so far.

    Examples:
        >>> round(anytime_p([0.0, math.log(200), -3.0]), 3)
        0.005
    """
    largest = max([0.0, *log_evidence])
    return math.exp(-largest)
