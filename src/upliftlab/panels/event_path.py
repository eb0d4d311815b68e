"""Which effects before and after the start do we see, and what aggregate is decided on?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EventPath:
    """Event-study estimates against one reference period, and a linear aggregate of them.

    Every estimate must be measured against the same reference period, the last one before the
    start, and the periods must be equally spaced; differences against a moving base are not
    an event path.

    Attributes:
        beta: Estimates in order of time without the reference period, shape [n_pre + n_post].
        sigma: Their covariance, shape [n_pre + n_post, n_pre + n_post].
        n_pre: Periods before the reference period.
        weights: Weights of the aggregate over the periods after, shape [n_post].
        df: Degrees of freedom of the covariance; infinite means normal.
    """

    beta: Floats
    sigma: Floats
    n_pre: int
    weights: Floats
    df: float = math.inf

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit together."""
        size = len(self.beta)
        if self.sigma.shape != (size, size):
            raise DesignError(
                f"an event path with {size} estimates needs a covariance of shape "
                f"{(size, size)}; it has {self.sigma.shape}."
            )
        if not 1 <= self.n_pre < size:
            raise DesignError(
                f"an event path of {size} estimates has n_pre = {self.n_pre}; it needs at "
                "least one period before the reference period and one after the start."
            )
        if self.weights.shape != (size - self.n_pre,) or not np.any(self.weights):
            raise DesignError(
                f"an event path with {size - self.n_pre} periods after the start needs as many "
                f"weights, not all 0; it has {self.weights.tolist()}."
            )
        if not (np.isfinite(self.beta).all() and np.isfinite(self.sigma).all()):
            raise DesignError(
                "an event path has an estimate or covariance that is not finite; leave out the "
                "periods that were not estimated."
            )

    @classmethod
    def of_arrays(
        cls,
        beta: Sequence[float] | Floats,
        sigma: Sequence[Sequence[float]] | Floats,
        n_pre: int,
        *,
        weights: Sequence[float] | Floats | None = None,
        df: float = math.inf,
    ) -> EventPath:
        """Make a path from arrays; by default the aggregate is the first period after.

        Examples:
            >>> EventPath.of_arrays([0.1, 0.5, 0.7], np.eye(3), n_pre=1).weights
            array([1., 0.])
        """
        values = np.asarray(beta, dtype=np.float64)
        covariance = np.asarray(sigma, dtype=np.float64)
        first = np.zeros(max(len(values) - n_pre, 0))
        first[:1] = 1.0
        return cls(
            beta=values,
            sigma=(covariance + covariance.T) / 2,
            n_pre=n_pre,
            weights=first if weights is None else np.asarray(weights, dtype=np.float64),
            df=df,
        )

    @classmethod
    def of_joint(
        cls,
        joint: Joint,
        before: Sequence[str],
        after: Sequence[str],
        *,
        weights: Sequence[float] | Floats | None = None,
        use_df: bool = False,
    ) -> EventPath:
        """Take the named estimates of a joint result, in order of time.

        Args:
            joint: Effects by horizon; make money of components first with ``Joint.linear``.
            before: Names of the horizons before the reference period.
            after: Names of the horizons from the start on.
            weights: The aggregate over ``after``.
            use_df: Whether the least degrees of freedom count; else critical values are normal.

        Examples:
            >>> from upliftlab.stats.joint import Joint
            >>> effects = Joint(names=("y@-2", "y@0"), value=np.array([0.1, 2.0]),
            ...                 cov=np.eye(2), df=np.array([9.0, 9.0]))
            >>> EventPath.of_joint(effects, ["y@-2"], ["y@0"]).n_pre
            1
        """
        rows = [joint.index(name) for name in (*before, *after)]
        df = float(joint.df[rows].min()) if use_df else math.inf
        cov = joint.cov[np.ix_(rows, rows)]
        return cls.of_arrays(joint.value[rows], cov, len(before), weights=weights, df=df)

    @property
    def n_post(self) -> int:
        """Periods from the start on."""
        return len(self.beta) - self.n_pre

    @property
    def times(self) -> Floats:
        """Periods since the reference period, shape [n_pre + n_post]."""
        before = np.arange(-self.n_pre, 0)
        return np.concatenate([before, np.arange(1, self.n_post + 1)]).astype(np.float64)

    @property
    def full_weights(self) -> Floats:
        """The aggregate's weights over all estimates, 0 before the start."""
        return np.concatenate([np.zeros(self.n_pre), self.weights])

    @property
    def estimate(self) -> float:
        """The aggregate as estimated under parallel trends."""
        return float(self.full_weights @ self.beta)

    @property
    def std_error(self) -> float:
        """Standard error of the aggregate."""
        weights = self.full_weights
        return math.sqrt(max(float(weights @ self.sigma @ weights), 0.0))

    def divided_by(self, scale: float) -> EventPath:
        """Measure the same estimates in another unit.

        Examples:
            >>> EventPath.of_arrays([1.0, 5.0], np.eye(2), 1).divided_by(10.0).estimate
            0.5
        """
        return replace(self, beta=self.beta / scale, sigma=self.sigma / scale**2)
