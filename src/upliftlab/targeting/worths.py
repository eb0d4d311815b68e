"""What is a way of choosing worth on units that it was not learned from?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.stats.estimate import undefined
from upliftlab.stats.joint import Joint
from upliftlab.targeting.answer import Fairness, RuleWorth
from upliftlab.targeting.ranking import covariance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.scores import Worth

    Floats = NDArray[np.float64]
    Ints = NDArray[np.integer[Any]]

VALUE, LEAD, COST = "value", "lead", "cost"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """Units that no rule was learned from, with what they are worth.

    Attributes:
        profit: Profit of each unit in each arm.
        cost: Campaign money of each unit in each arm.
        best: Arm that the learning half takes for the best for everyone; 0 is nobody.
        eligible: Units that a rule would reach.
        level: Confidence level.
    """

    profit: Worth
    cost: Worth
    best: int
    eligible: int
    level: float = 0.95

    def __len__(self) -> int:
        """How many units."""
        return len(self.profit.value)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """A rule and what it gives to every held-out unit.

    Attributes:
        name: Key.
        label: Words.
        kind: "constant", "learned" or "baseline".
        arm: Position of the arm, shape (n,); or shares of the arms, shape (A,), for chance.
        features: Columns used.
    """

    name: str
    label: str
    kind: str
    arm: Ints | Floats
    features: tuple[str, ...] = ()


def worth_of(rule: Chosen, held: Held) -> RuleWorth:
    """Value one rule: the mean score under it less the mean score under control.

    The rule must not have been learned from the held-out units; then scores of different units
    are exchangeable given the rule and the mean is unbiased with the usual error, over
    clusters where units were assigned in clusters.

    References:
        Dudik, Langford and Li (2011), "Doubly robust policy evaluation and learning", ICML;
        Athey and Wager (2021), *Econometrica* 89(1).
    """
    numbers = valued(rule, held)
    value = numbers.estimate(VALUE, level=held.level)
    return RuleWorth(
        name=rule.name,
        label=rule.label,
        kind=rule.kind,
        value=value,
        against_best=numbers.estimate(LEAD, level=held.level),
        cost=numbers.estimate(COST, level=held.level),
        iroi=_iroi(numbers, held.level),
        total=value.scaled(held.eligible or len(held), name="total"),
        treated=shares_of(rule, held),
        features=rule.features,
    )


def valued(rule: Chosen, held: Held) -> Joint:
    """Value, lead over the best of all or none, and campaign money, with their covariance."""
    gain = picked(held.profit.value, rule.arm)
    lead = gain - held.profit.value[:, held.best].astype(np.float64)
    gain -= held.profit.value[:, 0]
    cost = picked(held.cost.value, rule.arm) - held.cost.value[:, 0]
    return joint_of({VALUE: gain, LEAD: lead, COST: cost}, held.profit.cluster)


def joint_of(rows: Mapping[str, Floats], cluster: Ints | None) -> Joint:
    """Means of several columns of the same units, with their covariance over clusters."""
    stacked = np.column_stack(list(rows.values()))
    mean = stacked.mean(axis=0)
    cov, df = covariance(stacked - mean, cluster)
    return Joint(names=tuple(rows), value=mean, cov=cov, df=np.full(len(mean), df))


def picked(value: NDArray[np.floating[Any]], arm: Ints | Floats) -> Floats:
    """Each unit's number in the arm that it gets; in expectation where chance decides."""
    if arm.dtype.kind == "f":
        return np.asarray(value @ arm, dtype=np.float64)
    found = np.take_along_axis(value, arm[:, None].astype(np.intp), axis=1)[:, 0]
    return np.asarray(found, dtype=np.float64)


def inside_mean(values: Floats, inside: NDArray[np.bool_]) -> Floats:
    """A column whose mean, and influence on it, are those of the mean of a part.

    Args:
        values: Shape (n,).
        inside: Who belongs to the part, shape (n,); NaN where nobody does.
    """
    if not inside.any():
        return np.full(len(values), np.nan)
    mean = float(values[inside].mean())
    return np.where(inside, (values - mean) / inside.mean(), 0.0) + mean


def shares_of(rule: Chosen, held: Held) -> dict[str, float]:
    """Arm -> share of units that get it."""
    names = held.profit.arms
    if rule.arm.dtype.kind == "f":
        return dict(zip(names, map(float, rule.arm), strict=True))
    counts = np.bincount(rule.arm.astype(np.intp), minlength=len(names))
    return {name: float(n) / len(held) for name, n in zip(names, counts, strict=True)}


def fairness(
    arm: Ints, held: Held, columns: Mapping[str, NDArray[Any]], *, most: int = 12
) -> tuple[Fairness, ...]:
    """Say who is treated and what they gain, per level of each declared column.

    Args:
        arm: What the rule gives to each held-out unit, shape (n,).
        held: The units.
        columns: Column -> level of each unit, shape (n,).
        most: Levels shown per column, the most frequent first.
    """
    gain = picked(held.profit.value, arm) - held.profit.value[:, 0]
    treated = (arm > 0).astype(np.float64)
    found = []
    for column, values in columns.items():
        names, codes, counts = np.unique(
            np.asarray(values, dtype=str), return_inverse=True, return_counts=True
        )
        for level in np.argsort(-counts, kind="stable")[:most]:
            share = float(counts[level]) / len(held)
            inside = codes == level
            rows = {
                "treated": inside_mean(treated, inside),
                "gain": inside_mean(gain, inside),
            }
            numbers = joint_of(rows, held.profit.cluster)
            found.append(
                Fairness(
                    column=column,
                    level=str(names[level]),
                    share=share,
                    treated=numbers.estimate("treated", level=held.level),
                    gain=numbers.estimate("gain", level=held.level),
                )
            )
    return tuple(found)


def _iroi(numbers: Joint, level: float) -> Estimate:
    at = numbers.index(COST)
    if numbers.value[at] == 0 and numbers.cov[at, at] == 0:
        return undefined("iROI", "no campaign money is spent", level=level)
    return numbers.ratio(VALUE, COST, name="iROI", level=level)
