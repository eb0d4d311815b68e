"""What will a treatment do in the long run, judged by what it did at once?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.stats.estimate import Estimate, interval, undefined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

ASSUMES = (
    "the treatment reaches the long run only through these early outcomes, and they mean today "
    "what they meant in the history"
)


USELESS = "early outcomes foretell nothing out of sample: transform them, or wait"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SurrogateIndex:
    """Long-run outcome as a linear index of early outcomes, learned on a history.

    Attributes:
        names: Early outcomes, K in all.
        coefficients: Of the intercept and the early outcomes, shape (1 + K,).
        cov: Of the coefficients (HC1), shape (1 + K, 1 + K).
        n: Units of the history.
        r2: Share of the long-run outcome that early ones explain, out of sample (5 folds).
        slope: Of actual on predicted out of sample; 1 where the index is calibrated.
        horizon: Days that the long-run outcome covers.
    """

    names: tuple[str, ...]
    coefficients: Floats
    cov: Floats
    n: int
    r2: float
    slope: float
    horizon: int

    @property
    def model(self) -> str:
        """The model and its assumption in one sentence."""
        terms = " + ".join(
            f"{c:.4g} x {name}"
            for c, name in zip(self.coefficients[1:], self.names, strict=True)
        )
        return (
            f"{terms} (learned on {self.n:,} units, explains {self.r2:.0%} out of sample); "
            f"assumes that {ASSUMES}"
        )

    def effect(
        self,
        early: ArrayLike,
        cov: ArrayLike,
        *,
        units: float = 1.0,
        name: str = "long-run effect",
        level: float = 0.95,
    ) -> Estimate:
        """Return the long-run effect that the early effects announce.

        Args:
            early: Effects on the early outcomes, per unit, shape (K,).
            cov: Their covariance, from the experiment, shape (K, K).
            units: Units that it applies to.
            name: What is estimated.
            level: Confidence level.

        Returns:
            The effect; its variance has the experiment's part and the index's part. NaN with a
            note where the index foretells nothing on units it was not learned on.
        """
        d, v = np.asarray(early, dtype=float), np.asarray(cov, dtype=float)
        if d.shape != (len(self.names),) or v.shape != (len(d), len(d)):
            raise UpliftlabError(
                f"the index has the early outcomes {list(self.names)}; it got effects of shape "
                f"{d.shape} with covariance of shape {v.shape}."
            )
        if not self.r2 > 0:
            return undefined(name, USELESS, level=level)
        beta, inner = self.coefficients[1:], self.cov[1:, 1:]
        # Independent samples: the product of two uncertain things, to second order.
        variance = beta @ v @ beta + d @ inner @ d + np.trace(inner @ v)
        return interval(
            name,
            units * float(d @ beta),
            units**2 * float(variance),
            level=level,
            note=self.model,
        )

    def bypass(self, effect: Estimate) -> float:
        """Return how much of the long run may bypass the early outcomes before 0 is possible.

        In the unit of the effect: a direct effect of this size, against the sign of the
        estimate, takes the interval to 0. 0 where it is there already.
        """
        if effect.is_above_zero:
            return effect.ci_low
        return -effect.ci_high if effect.is_below_zero else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "names": list(self.names),
            "coefficients": self.coefficients.tolist(),
            "n": self.n,
            "r2": self.r2 if math.isfinite(self.r2) else None,
            "slope": self.slope if math.isfinite(self.slope) else None,
            "horizon": self.horizon,
            "model": self.model,
        }


def surrogate_index(
    early: ArrayLike, late: ArrayLike, names: Sequence[str], *, horizon: int
) -> SurrogateIndex:
    """Learn the index on a history of units with both early and long-run outcomes.

    Args:
        early: Shape (n, K); add squares or interactions as columns of their own.
        late: Long-run outcome, shape (n,), beyond what the headline counts.
        names: Of the columns.
        horizon: Days that ``late`` covers.

    Raises:
        UpliftlabError: When there are too few units or a column adds nothing.

    References:
        Athey, Chetty, Imbens and Kang (2019), NBER Working Paper 26463, section 3.

    Examples:
        >>> rng = np.random.default_rng(1)
        >>> early = rng.normal(size=(500, 1))
        >>> index = surrogate_index(early, 2 * early[:, 0] + rng.normal(size=500), ["orders"],
        ...                         horizon=180)
        >>> found = index.effect([0.5], [[0.01]])
        >>> f"{found.estimate:.2f} +- {found.std_error:.2f}"
        '1.00 +- 0.20'
    """
    x, y = np.asarray(early, dtype=float), np.asarray(late, dtype=float)
    if x.ndim != 2 or x.shape != (len(y), len(names)) or len(y) < 10 * (1 + len(names)):
        raise UpliftlabError(
            f"a surrogate index of {list(names)} needs at least {10 * (1 + len(names))} units "
            f"with all of them; it got early outcomes of shape {x.shape} and {len(y)} long-run "
            "outcomes."
        )
    design = np.column_stack([np.ones(len(y)), x])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise UpliftlabError(
            f"early outcomes {list(names)} are not independent of each other; leave one out."
        )
    beta, residual = _fit(design, y)
    bread: Floats = np.linalg.inv(design.T @ design)
    meat = (design * residual[:, None] ** 2).T @ design
    n, k = design.shape
    r2, slope = _out_of_sample(design, y)
    return SurrogateIndex(
        names=tuple(names),
        coefficients=beta,
        cov=bread @ meat @ bread * n / (n - k),
        n=n,
        r2=r2,
        slope=slope,
        horizon=horizon,
    )


def _fit(design: Floats, y: Floats) -> tuple[Floats, Floats]:
    beta = np.asarray(np.linalg.lstsq(design, y, rcond=None)[0], dtype=np.float64)
    return beta, y - design @ beta


def _out_of_sample(design: Floats, y: Floats, folds: int = 5) -> tuple[float, float]:
    """Share explained and calibration slope on units that the index was not learned on."""
    fold = np.random.default_rng(0).permutation(len(y)) % folds
    predicted = np.empty_like(y)
    for f in range(folds):
        beta, _ = _fit(design[fold != f], y[fold != f])
        predicted[fold == f] = design[fold == f] @ beta
    spread = float(((y - y.mean()) ** 2).sum())
    around = predicted - predicted.mean()
    square = float((around**2).sum())
    r2 = 1 - float(((y - predicted) ** 2).sum()) / spread if spread > 0 else math.nan
    return r2, float(around @ y) / square if square > 0 else math.nan
