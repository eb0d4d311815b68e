"""Does the rule's gain vanish where it must, and does the rule stay where it should?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placebo:
    """Gains of the same procedure where treatment can have none.

    Attributes:
        gain: Of the procedure on the arms as they were, per unit.
        placebos: On arms dealt anew, one per draw.
        share: Share of draws, the real one counted, with a gain at least as large: a p-value.
    """

    gain: float
    placebos: tuple[float, ...]
    share: float

    @property
    def mean(self) -> float:
        """Mean gain on arms dealt anew."""
        return float(np.mean(self.placebos))

    def sentence(
        self, money: Callable[[float], str] = "{:,.2f}".format, unit: str = "unit"
    ) -> str:
        """Say it with numbers.

        Args:
            money: Writes an amount.
            unit: One of those that arms were dealt to, in the words of the page.
        """
        above = sum(each >= self.gain for each in self.placebos)
        return (
            f"With arms dealt anew by chance the same procedure gains {money(self.mean)} per "
            f"{unit} on average (from {money(min(self.placebos))} to "
            f"{money(max(self.placebos))}); with the arms as they were it gains "
            f"{money(self.gain)}, and {above} of {len(self.placebos)} draws gain as much."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """How far rules learned with several seeds agree.

    Attributes:
        seeds: Compared.
        agreement: Mean over pairs of seeds of the share of units that get the same arm.
        least: Of the least agreeing pair.
        by_chance: What rules that treat the same shares by chance would agree on.
        treated: Least and largest share of units treated.
    """

    seeds: tuple[int, ...]
    agreement: float
    least: float
    by_chance: float
    treated: tuple[float, float]

    def sentence(self, unit: str = "unit") -> str:
        """Say it with numbers, in the words of the page for a unit."""
        low, high = self.treated
        return (
            f"Rules learned with {len(self.seeds)} seeds give {self.agreement:.0%} of {unit}s "
            f"the same arm on average, and {self.least:.0%} at least; by chance it would be "
            f"{self.by_chance:.0%}. They treat {low:.0%} to {high:.0%} of {unit}s."
        )


def permuted(
    arm: ArrayLike,
    *,
    stratum: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    seed: int = 1,
) -> Ints:
    """Deal the same arms anew within each stratum; clusters stay whole.

    Args:
        arm: Arm of each unit, shape [n].
        stratum: What assignment was stratified by, shape [n]; a cluster counts for the
            stratum of its first unit.
        cluster: What was assigned as a whole, shape [n].
        seed: Of the deal.

    Examples:
        >>> permuted([0, 0, 1, 1], cluster=[7, 7, 8, 8], seed=4).tolist()
        [1, 1, 0, 0]
    """
    given = np.asarray(arm)
    strata = np.zeros(len(given), dtype=np.int64) if stratum is None else np.asarray(stratum)
    if cluster is None:
        return _dealt(given, strata, seed)
    _, first, member = np.unique(np.asarray(cluster), return_index=True, return_inverse=True)
    return np.asarray(_dealt(given[first], strata[first], seed)[member])


def placebo_treatment(
    gain_of: Callable[[Ints], float],
    arm: ArrayLike,
    *,
    stratum: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    draws: int = 5,
    gain: float | None = None,
    seed: int = 1,
) -> Placebo:
    """Learn and value rules on arms dealt anew, where no rule can gain anything.

    A gain there is the procedure's own making: units valued that it had learned from, or
    columns that know the outcome.

    Args:
        gain_of: The whole procedure: arms -> gain of its rule per unit, on held-out units.
        arm: As it was, shape [n].
        stratum: What assignment was stratified by, shape [n].
        cluster: What was assigned as a whole, shape [n].
        draws: How often to deal; each costs a whole run of the procedure.
        gain: On the arms as they were, where it is at hand.
        seed: Of the deals.

    Raises:
        UpliftlabError: When there are no draws.

    References:
        Fisher (1935), *The Design of Experiments*, chapter 2; share as in Phipson and Smyth
        (2010), *SAGMB* 9(1).

    Examples:
        >>> money = np.array([0.0, 0.0, 9.0, 9.0])
        >>> def effect(arms):
        ...     return float(money[arms == 1].mean() - money[arms == 0].mean())
        >>> found = placebo_treatment(effect, [0, 0, 1, 1], draws=20)
        >>> found.gain, max(found.placebos) <= found.gain
        (9.0, True)
    """
    if draws < 1:
        raise UpliftlabError(f"draws is {draws}; a placebo needs at least one.")
    real = gain_of(np.asarray(arm)) if gain is None else gain
    deals = range(seed, seed + draws)
    placebos = tuple(
        float(gain_of(permuted(arm, stratum=stratum, cluster=cluster, seed=each)))
        for each in deals
    )
    above = sum(each >= real for each in placebos)
    return Placebo(gain=float(real), placebos=placebos, share=(1 + above) / (1 + draws))


def seed_stability(rule_of: Callable[[int], ArrayLike], seeds: Sequence[int]) -> Stability:
    """Learn rules with several seeds and compare what they give the same units.

    Args:
        rule_of: Seed of folds and learner -> arm of each of the same units, shape [n].
        seeds: At least two; each costs a whole run.

    Raises:
        UpliftlabError: When there are fewer than two seeds.

    Examples:
        >>> rules = {1: [0, 1, 1, 0], 2: [0, 1, 1, 1]}
        >>> found = seed_stability(rules.__getitem__, [1, 2])
        >>> found.agreement, found.treated
        (0.75, (0.5, 0.75))
    """
    if len(seeds) < 2:
        raise UpliftlabError(f"seeds are {list(seeds)}; rules are compared over at least two.")
    rules = [np.asarray(rule_of(seed), dtype=np.int64) for seed in seeds]
    count = max(int(rule.max(initial=0)) for rule in rules) + 1
    shares = [np.bincount(rule, minlength=count) / len(rule) for rule in rules]
    pairs = [(i, j) for i in range(len(rules)) for j in range(i)]
    same = [float((rules[i] == rules[j]).mean()) for i, j in pairs]
    treated = [1 - float(each[0]) for each in shares]
    return Stability(
        seeds=tuple(seeds),
        agreement=float(np.mean(same)),
        least=min(same),
        by_chance=float(np.mean([shares[i] @ shares[j] for i, j in pairs])),
        treated=(min(treated), max(treated)),
    )


def _dealt(arm: Ints, stratum: Ints, seed: int) -> Ints:
    chance = np.random.default_rng(seed).random(len(arm))
    order = np.lexsort((chance, stratum))
    places = np.argsort(stratum, kind="stable")
    out = np.empty_like(arm)
    out[places] = arm[order]
    return out
