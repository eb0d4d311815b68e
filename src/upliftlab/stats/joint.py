"""What do several estimates with one covariance say together?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.stats.estimate import Estimate, interval
from upliftlab.stats.multiplicity import max_t_critical
from upliftlab.stats.ratio import fieller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joint:
    """A vector of estimates with its covariance.

    Attributes:
        names: One per estimate, m in all.
        value: Estimates, shape [m].
        cov: Covariance, shape [m, m].
        df: Degrees of freedom of each estimate, shape [m].
    """

    names: tuple[str, ...]
    value: Floats
    cov: Floats
    df: Floats

    def linear(self, weights: Floats, names: Sequence[str]) -> Joint:
        """Return linear maps of the estimates, weights [r, m]; df is the least of those used.

        Examples:
            >>> both = Joint(names=("a", "b"), value=np.array([1.0, 2.0]),
            ...              cov=np.eye(2), df=np.array([8.0, 9.0]))
            >>> both.linear(np.array([[1.0, 1.0]]), ["sum"]).value
            array([3.])
        """
        used = np.where(weights != 0, self.df[None, :], np.inf)
        # An estimate without variance leaves only the maps that use it without one.
        lost = ~np.isfinite(np.diag(self.cov))
        cov = weights @ np.where(np.isfinite(self.cov), self.cov, 0.0) @ weights.T
        touched = (weights[:, lost] != 0).any(axis=1)
        cov[touched, :] = np.nan
        cov[:, touched] = np.nan
        return Joint(
            names=tuple(names),
            value=weights @ self.value,
            cov=cov,
            df=used.min(axis=1, initial=np.inf),
        )

    def index(self, name: str) -> int:
        """Position of one estimate."""
        return self.names.index(name)

    def estimate(self, name: str, *, level: float = 0.95) -> Estimate:
        """Return one estimate with its interval."""
        i = self.index(name)
        return interval(
            name, float(self.value[i]), float(self.cov[i, i]), df=float(self.df[i]), level=level
        )

    def ratio(
        self, numerator: str, denominator: str, *, name: str, level: float = 0.95
    ) -> Estimate:
        """Return the ratio of two estimates with its Fieller set."""
        i, j = self.index(numerator), self.index(denominator)
        return fieller(
            float(self.value[i]),
            float(self.value[j]),
            float(self.cov[i, i]),
            float(self.cov[j, j]),
            float(self.cov[i, j]),
            df=float(self.df[i]),
            level=level,
            name=name,
        )

    def correlation(self) -> Floats:
        """Correlation matrix; an estimate without variance correlates with nothing."""
        sd = np.sqrt(np.diag(self.cov))
        with np.errstate(invalid="ignore", divide="ignore"):
            out: Floats = self.cov / np.outer(sd, sd)
        out[~np.isfinite(out)] = 0.0
        np.fill_diagonal(out, 1.0)
        return out

    def max_t(self, *, level: float = 0.95) -> float:
        """Critical value of the single-step max-|t| over all estimates that vary."""
        moving = np.diag(self.cov) > 0
        if moving.sum() == 0:
            return float("nan")
        return max_t_critical(
            self.correlation()[np.ix_(moving, moving)],
            df=float(self.df[moving].min()),
            level=level,
        )
