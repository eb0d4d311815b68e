"""What is it worth, before a test, to know its answer?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from upliftlab.errors import DesignError
from upliftlab.stats.estimate import NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What is believed of an effect before the test: normal.

    Attributes:
        mean: Expected effect per unit.
        sd: Its standard deviation.
    """

    mean: float = 0.0
    sd: float

    def __post_init__(self) -> None:
        """Refuse a belief without any doubt."""
        if not self.sd > 0:
            message = (
                f"the prior has a standard deviation of {self.sd:g}; who is certain needs no "
                "test. Write one above 0."
            )
            raise DesignError(message)

    def below(self, probability: float) -> float:
        """Return the value that the effect falls below with this probability."""
        return self.mean + self.sd * float(special.ndtri(probability))


def value_of_sample(prior: Prior, std_error: float, *, hurdle: float = 0.0) -> float:
    """Return the expected gain per unit from deciding after the test rather than now.

    After the test the treatment is given if its posterior mean is above the hurdle; now, if its
    prior mean is.

    Args:
        prior: Belief about the effect.
        std_error: Of the test's estimate; 0 is perfect knowledge.
        hurdle: Effect from which the treatment is worth giving.

    Returns:
        Money per unit that the decision reaches, never below 0.

    References:
        Raiffa and Schlaifer (1961), *Applied Statistical Decision Theory*, section 5.4: the
        expected value of sample information with linear losses.

    Examples:
        >>> prior = Prior(sd=1.0)
        >>> round(value_of_sample(prior, 0.0), 4), round(value_of_sample(prior, 1.0), 4)
        (0.3989, 0.2821)
    """
    if not std_error >= 0:
        return NAN
    spread = prior.sd**2 / math.hypot(prior.sd, std_error)
    return unit_loss(abs(prior.mean - hurdle) / spread) * spread


def value_of_samples(
    prior: Prior, covariance: np.ndarray, *, hurdle: float = 0.0, draws: int = 2**14
) -> float:
    """Return the same for several treatments, of which the best one is then given.

    Effects are independent beforehand with the same prior; estimates share their control.

    Args:
        prior: Belief about each effect.
        covariance: Of the estimates, shape [k, k].
        hurdle: Effect from which a treatment is worth giving.
        draws: Points of a fixed low-discrepancy set; no seed, the same number on every run.

    References:
        Raiffa and Schlaifer (1961), *Applied Statistical Decision Theory*, section 5.6.

    Examples:
        >>> one = value_of_samples(Prior(sd=1.0), np.array([[1.0]]))
        >>> two = value_of_samples(Prior(sd=1.0), np.array([[1.0, 0.5], [0.5, 1.0]]))
        >>> round(one, 3), two > one
        (0.282, True)
    """
    from scipy.stats import qmc

    k = len(covariance)
    gain = prior.sd**2 * np.linalg.inv(prior.sd**2 * np.eye(k) + covariance)
    spread = gain * prior.sd**2
    values, vectors = np.linalg.eigh((spread + spread.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    points = qmc.Sobol(k, scramble=True, rng=np.random.default_rng(20260101)).random(draws)
    normal = special.ndtri(np.clip(points, 1e-12, 1 - 1e-12))
    posterior = prior.mean + normal @ root.T - hurdle
    best = np.maximum(posterior.max(axis=1), 0.0).mean()
    return float(max(best - max(prior.mean - hurdle, 0.0), 0.0))


def unit_loss(distance: float) -> float:
    """Return E[max(Z - distance, 0)] of a standard normal Z.

    Examples:
        >>> round(unit_loss(0.0), 4), round(unit_loss(1.0), 4)
        (0.3989, 0.0833)
    """
    density = math.exp(-(distance**2) / 2) / math.sqrt(2 * math.pi)
    return density - distance * float(special.ndtr(-distance))
