"""How strong must an unseen cause be before a rule's gain could be nothing?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.targeting.observed import rules_of
from upliftlab.targeting.omitted_cause import omitted, omitted_cause, solved_share
from upliftlab.targeting.tilted_odds import tilted

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from upliftlab.targeting.observed import Observed

MOST_GAMMA = 100.0
"""Odds ratio beyond which no search goes."""

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """How strong an unseen cause must be to overturn a rule's gain.

    Attributes:
        gain: Per unit, against the other rule, if there is no such cause.
        robustness: Share of what is left unexplained in money and in assignment alike that a
            cause must explain to make the gain 0; NaN where rules do not differ.
        robustness_ci: The same to make it indistinguishable from 0; 0 where it already is.
        gamma: Factor on the odds of treatment that makes the gain 0; infinite beyond 100.
        gamma_ci: The same to make it indistinguishable from 0; 1 where it already is.
        level: Confidence level.
    """

    gain: float
    robustness: float
    robustness_ci: float
    gamma: float
    gamma_ci: float
    level: float = 0.95

    def sentences(self) -> tuple[str, ...]:
        """Say it in words, with numbers."""
        if math.isnan(self.robustness):
            return ("The rule treats everybody as the other does: nothing can overturn it.",)
        if self.robustness_ci == 0 and self.gamma_ci == 1:
            nothing = (
                f"The rule's gain is not distinguishable from 0 at {self.level:.0%} even if "
                "every cause of treatment was seen."
            )
            return (nothing,)
        share = (
            f"A cause that was not seen would have to explain {self.robustness:.1%} of what is "
            "left unexplained in money and as much of what is left in who was treated to make "
            f"the rule's gain 0, and {self.robustness_ci:.1%} of both to make it "
            f"indistinguishable from 0 at {self.level:.0%}."
        )
        odds = (
            f"It would have to change the odds of treatment {_factor(self.gamma)} to make the "
            f"gain 0 at worst, and {_factor(self.gamma_ci)} to make it indistinguishable "
            "from 0."
        )
        return share, odds


def sensitivity(
    seen: Observed,
    policy: ArrayLike,
    *,
    against: ArrayLike | None = None,
    level: float = 0.95,
) -> Sensitivity:
    """Find how strong an unseen cause must be to overturn a rule's gain, in two ways.

    For money that chance assigned there is nothing to overturn; this is for other data.

    Args:
        seen: Units that the rule was not learned from.
        policy: Arm of each unit under the rule, shape [n].
        against: Arm under the other rule, shape [n]; control for all unless said.
        level: Confidence level.

    References:
        See :func:`omitted_cause` and :func:`tilted`.

    Examples:
        >>> import numpy as np
        >>> from upliftlab.targeting.observed import observed
        >>> rng = np.random.default_rng(0)
        >>> arm = rng.integers(0, 2, 2_000)
        >>> money = 1.0 * arm + rng.normal(size=2_000)
        >>> scores = np.where(arm[:, None] == [0, 1], 2 * money[:, None], 0.0)
        >>> seen = observed(scores, money, arm, np.full((2_000, 2), 0.5))
        >>> found = sensitivity(seen, np.ones(2_000, dtype=int))
        >>> f"{found.robustness:.2f} {found.gamma:.1f} {found.gamma_ci:.1f}"
        '0.35 3.8 3.4'
    """
    rule, other = rules_of(seen, policy, against)
    if not (rule != other).any():
        return Sensitivity(
            gain=0.0, robustness=NAN, robustness_ci=NAN, gamma=NAN, gamma_ci=NAN, level=level
        )
    parts = omitted(seen, rule, other)
    gain, scale = float(parts.gain.mean()), float(parts.scale.mean())
    sign = math.copysign(1.0, gain)

    def by_share(share: float) -> float:
        found = omitted_cause(
            seen, rule, against=other, outcome_share=share, assignment_share=share, level=level
        )
        return found.ci_low if sign > 0 else -found.ci_high

    def by_odds(log_gamma: float) -> float:
        found = tilted(seen, rule, math.exp(log_gamma), against=other, level=level)
        return found.low if sign > 0 else -found.high

    def by_odds_surely(log_gamma: float) -> float:
        found = tilted(seen, rule, math.exp(log_gamma), against=other, level=level)
        return found.ci_low if sign > 0 else -found.ci_high

    last = math.log(MOST_GAMMA)
    return Sensitivity(
        gain=gain,
        robustness=solved_share(abs(gain) / scale) if scale > 0 else 1.0,
        robustness_ci=_crossing(by_share, 1 - 1e-9),
        gamma=_gamma(_crossing(by_odds, last), last),
        gamma_ci=_gamma(_crossing(by_odds_surely, last), last),
        level=level,
    )


def _crossing(rest: Callable[[float], float], last: float) -> float:
    """Return where a falling function of 0 to ``last`` reaches 0; an end if it does not."""
    from scipy.optimize import brentq

    if rest(0.0) <= 0:
        return 0.0
    if rest(last) > 0:
        return last
    return float(brentq(rest, 0.0, last, xtol=1e-4))


def _gamma(log_gamma: float, last: float) -> float:
    return math.inf if log_gamma >= last else math.exp(log_gamma)


def _factor(gamma: float) -> str:
    if math.isinf(gamma):
        return f"more than {MOST_GAMMA:.0f} times"
    return f"{gamma:.2f} times" if gamma > 1 else "not at all"
