"""What does any coupon add, and what does each further unit of depth add?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DataError, DesignError
from upliftlab.stats.joint import Joint
from upliftlab.targeting.ranking import cluster_codes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

CONTROL, ANY, DEPTH = "control", "any", "depth"


def dose_line(
    outcome: ArrayLike,
    depth: ArrayLike,
    *,
    offered: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
) -> Joint:
    """Fit outcome = control + any x offered + slope x depth by least squares.

    With depth assigned by chance ``any`` is the jump from nothing to the shallowest coupon,
    drawn on to depth 0, and ``depth`` what one more unit of depth adds, if that is the same
    everywhere; :func:`dose_curve.dose_curve` does without that.

    Args:
        outcome: Of each unit, shape [n].
        depth: 0 for control, shape [n].
        offered: Whether the unit was offered anything, shape [n]; where depth is above 0 unless
            said.
        cluster: What was assigned as a whole, shape [n].

    Returns:
        "control", "any" and "depth" with their covariance: HC1, or CR1 by cluster with
        clusters - 1 df. Without units of two depths above 0 there is no slope.

    Raises:
        DataError: When shapes differ or numbers are missing.
        DesignError: When depths do not tell the three numbers apart.

    References:
        MacKinnon and White (1985), *Journal of Econometrics* 29(3) (HC1); Liang and Zeger
        (1986), *Biometrika* 73(1) (clusters).

    Examples:
        >>> depth = np.repeat([0.0, 1.0, 2.0, 4.0], 25)
        >>> found = dose_line(np.where(depth > 0, 3.0, 1.0) + 0.5 * depth, depth)
        >>> dict(zip(found.names, found.value.round(3).tolist()))
        {'control': 1.0, 'any': 2.0, 'depth': 0.5}
    """
    y, dose = np.asarray(outcome, dtype=np.float64), np.asarray(depth, dtype=np.float64)
    some = dose > 0 if offered is None else np.asarray(offered, dtype=np.float64)
    if not y.shape == dose.shape == some.shape == (y.size,):
        raise DataError(
            f"outcome, depth and offered have shapes {y.shape}, {dose.shape} and {some.shape}; "
            "give one number per unit."
        )
    if not (np.isfinite(y).all() and np.isfinite(dose).all() and np.isfinite(some).all()):
        raise DataError("outcome or depth is missing for some units; leave them out first.")
    design: Floats = np.column_stack([np.ones(len(y)), some, dose]).astype(np.float64)
    if len(y) < 4 or np.linalg.matrix_rank(design) < 3:
        raise DesignError(
            f"depths are {np.unique(dose)[:5].tolist()}; a line needs control and at least two "
            "depths above 0."
        )
    bread = np.linalg.inv(design.T @ design)
    value = bread @ (design.T @ y)
    score = design * (y - design @ value)[:, None]
    n, terms = design.shape
    factor, df = n / (n - terms), float(n - terms)
    if cluster is not None:
        codes, count = cluster_codes(cluster, n)
        score = np.stack([np.bincount(codes, weights=s, minlength=count) for s in score.T], 1)
        factor, df = count / max(count - 1, 1) * (n - 1) / (n - terms), count - 1.0
    cov = factor * bread @ (score.T @ score) @ bread
    return Joint(names=(CONTROL, ANY, DEPTH), value=value, cov=cov, df=np.full(3, df))
