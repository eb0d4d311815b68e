"""How else could the clusters of a panel have been drawn into waves?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.assignment.scheme import AssignmentScheme, treated_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.assignment.lists import Drawn

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnWaves:
    """What the plan drew, beside what was found.

    Attributes:
        drawn: The list as the plan draws it; None where that cannot be told.
        words: How it is drawn, for readers.
        moved: Clusters that start otherwise than drawn.
        why: Why the draw cannot be told; empty where it can.
    """

    drawn: Drawn | None
    words: str
    moved: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WaveScheme:
    """Other draws of a whole list into waves, as a panel of some of its clusters sees them.

    Clusters of the list that the panel lacks keep their waves: they still count where draws
    are put back as unbalanced.

    Attributes:
        whole: Scheme of the list, as positions of waves.
        at: Position in the list of each cluster of the panel, shape [G].
        begins: Start in the panel of each wave, shape [A].
    """

    whole: AssignmentScheme
    at: Ints
    begins: Ints

    @property
    def start(self) -> Ints:
        """Start of each cluster as drawn, shape [G]."""
        found: Ints = self.begins[self.whole.start[self.at]]
        return found

    @property
    def shares_differ(self) -> bool:
        """Whether blocks hold their starts in different shares."""
        return AssignmentScheme.of(self.start, block=self.whole.block[self.at]).shares_differ

    def treated(self, periods: int) -> Floats:
        """Return 1 where a cluster was treated as drawn, shape [G, T]."""
        return treated_from(self.start, periods)

    def draws(self, n: int = 999, seed: int = 0) -> tuple[Ints, bool]:
        """Return starts under other draws of the list, and whether these are all there are."""
        found, exact = self.whole.draws(n, seed)
        return self.begins[found[:, self.at]], exact


def scheme_of(
    waves: DrawnWaves, names: Sequence[str], start: Ints
) -> AssignmentScheme | WaveScheme:
    """Return how clusters of a panel could have been drawn into waves by the plan.

    Where a cluster starts otherwise than drawn, the starts found are exchanged within the
    plan's blocks, and no draw is put back: balance was not what decided them.

    Args:
        waves: What the plan drew; it must be known.
        names: Clusters of the panel.
        start: Start of each in the panel, shape [G].

    References:
        Morgan and Rubin (2012), *Annals of Statistics* 40(2), section 3: only draws that would
        have been kept count.

    Examples:
        >>> from fractions import Fraction
        >>> from upliftlab.assignment.lists import drawn
        >>> shares = {"2026-08-03": Fraction(1, 2), "never": Fraction(1, 2)}
        >>> found = drawn(["a", "b", "c", "d"], shares, salt="s", strata=["n", "n", "s", "s"])
        >>> begins = np.array([4, 9])[found.scheme.start]
        >>> scheme_of(
        ...     DrawnWaves(drawn=found, words=""), found.names, begins).draws()[0].shape
        (4, 4)
    """
    drawn = waves.drawn
    assert drawn is not None  # noqa: S101 - the caller knows
    place = {name: i for i, name in enumerate(drawn.names)}
    at = np.array([place[name] for name in names], dtype=np.int64)
    label = drawn.scheme.start[at]
    begins = np.zeros(len(drawn.labels), dtype=np.int64)
    begins[label] = start
    if set(waves.moved) & set(names) or (begins[label] != start).any():
        return AssignmentScheme.of(start, block=drawn.scheme.block[at])
    return WaveScheme(whole=_fixed_but(drawn.scheme, at), at=at, begins=begins)


def _fixed_but(scheme: AssignmentScheme, at: Ints) -> AssignmentScheme:
    """The same scheme in which all others keep what they drew: blocks of one."""
    block = scheme.block.copy()
    others = np.setdiff1d(np.arange(len(block)), at)
    block[others] = block.max() + 1 + np.arange(len(others))
    return replace(scheme, block=np.unique(block, return_inverse=True)[1].astype(np.int64))
