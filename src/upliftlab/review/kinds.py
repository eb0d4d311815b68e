"""What do tests of one mechanism say together, and what will the next one say?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.stats.meta import Pooled, between_groups, pool

if TYPE_CHECKING:
    from upliftlab.review.entries import Entries
    from upliftlab.stats.meta import Method


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """Tests of one mechanism, pooled per unit.

    Attributes:
        name: The mechanism.
        unit: What profit is per.
        n_tests: Experiments.
        n_arms: Arms.
        pooled: REML mean (Knapp-Hartung, never shorter than plain), heterogeneity, and the
            prediction for the next test; minor units per unit.
        others: Means by the fixed effect, DerSimonian-Laird and Paule-Mandel, to compare.
        spend: Campaign money of these tests.
    """

    name: str
    unit: str
    n_tests: int
    n_arms: int
    pooled: Pooled
    others: tuple[Pooled, ...]
    spend: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "unit": self.unit,
            "n_tests": self.n_tests,
            "n_arms": self.n_arms,
            "pooled": self.pooled.to_dict(),
            "others": [each.to_dict() for each in self.others],
            "spend": self.spend,
        }


def mechanisms_of(programme: Entries, *, level: float = 0.95) -> tuple[Mechanism, ...]:
    """Pool what is alike: by mechanism and unit, largest spend first.

    Arms that share a control enter with their covariance. Effects are per assigned unit, so
    tests of different size speak of the same thing.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for i, entry in enumerate(programme.entries):
        groups.setdefault((entry.mechanism, entry.unit), []).append(i)
    found = [_mechanism(programme.take(at), key, level) for key, at in groups.items()]
    return tuple(sorted(found, key=lambda m: (-m.spend, m.name)))


def differ_by_mechanism(mechanisms: tuple[Mechanism, ...]) -> tuple[float, float]:
    """Return statistic and p-value of "all mechanisms of one unit earn the same"."""
    unit = mechanisms[0].unit if mechanisms else ""
    return between_groups(tuple(m.pooled for m in mechanisms if m.unit == unit))


def _mechanism(part: Entries, key: tuple[str, str], level: float) -> Mechanism:
    def pooled(method: Method) -> Pooled:
        return pool(
            part.value,
            part.std_error**2,
            method=method,
            small_sample="truncated",
            blocks=part.blocks,
            level=level,
            name=key[0],
        )

    spend = [entry.spend for entry in part.entries if entry.spend == entry.spend]
    return Mechanism(
        name=key[0],
        unit=key[1],
        n_tests=len({entry.experiment for entry in part.entries}),
        n_arms=len(part.entries),
        pooled=pooled("reml"),
        others=tuple(pooled(method) for method in ("fixed", "dl", "pm")),
        spend=float(sum(spend)),
    )
