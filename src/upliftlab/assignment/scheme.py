"""Which other assignments could chance have drawn?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Protocol

import numpy as np

from upliftlab.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


MOST_TRIES = 1_000
"""Draws in a row of which none is balanced enough, after which re-randomisation gives up."""


class Clustered(Protocol):
    """A panel, as far as its assignment goes: the cluster and the start of each unit."""

    @property
    def cluster(self) -> Ints:
        """Cluster of each unit, 0 .. G - 1."""

    @property
    def start(self) -> Ints:
        """First treated period of each unit."""


class Reassignment(Protocol):
    """What could have been drawn, as far as re-assignment asks."""

    @property
    def start(self) -> Ints:
        """What each was drawn into, shape [G]."""

    @property
    def shares_differ(self) -> bool:
        """Whether blocks hold their starts in different shares."""

    def treated(self, periods: int) -> Floats:
        """Return 1 where a cluster was treated as drawn, shape [G, T]."""

    def draws(self, n: int = 999, seed: int = 0) -> tuple[Ints, bool]:
        """Return starts under other assignments, and whether these are all there are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AssignmentScheme:
    """Complete randomisation given the counts, within blocks, perhaps drawn until balanced.

    What is drawn is a start of a roll-out, or the position of an arm of a split; what draws is
    a cluster, a unit, or a bucket of units whose hashes are neighbours.

    Attributes:
        start: What each was drawn into, ``NEVER`` for never treated, shape [G].
        block: Block within which they were drawn, 0 .. B - 1, shape [G].
        balance: Columns that had to be alike, shape [G, P]; None without re-randomisation.
        most_unlike: Greatest ``unlikeness`` of a draw that was kept.
    """

    start: Ints
    block: Ints
    balance: Floats | None = None
    most_unlike: float = math.inf

    @classmethod
    def of(
        cls,
        start: Sequence[int] | Ints,
        *,
        block: Sequence[int] | Ints | None = None,
        balance: Floats | None = None,
        most_unlike: float = math.inf,
    ) -> AssignmentScheme:
        """Make a scheme from starts and, if starts were drawn in strata, their labels.

        Examples:
            >>> AssignmentScheme.of([4, 4, 9, 9]).count
            6
        """
        starts = np.asarray(start, dtype=np.int64)
        labels = np.zeros(len(starts)) if block is None else np.asarray(block)
        if labels.shape != starts.shape:
            message = (
                f"the assignment has {len(starts)} starts and {len(labels)} blocks; "
                "give one block per cluster."
            )
            raise DesignError(message)
        return cls(
            start=starts,
            block=np.unique(labels, return_inverse=True)[1].astype(np.int64),
            balance=balance,
            most_unlike=most_unlike,
        )

    @classmethod
    def of_panel(
        cls, panel: Clustered, *, block: Sequence[int] | Ints | None = None
    ) -> AssignmentScheme:
        """Make the scheme of a panel whose clusters were assigned whole; ``block`` per cluster.

        Raises:
            DesignError: When units of one cluster start at different times.

        Examples:
            >>> from upliftlab.data.panel import Panel
            >>> panel = Panel.of_arrays(np.zeros((4, 2)), [1, 1, 9, 9], cluster=[0, 0, 1, 1])
            >>> AssignmentScheme.of_panel(panel).count
            2
        """
        first = np.unique(panel.cluster, return_index=True)[1]
        starts = panel.start[first]
        mixed = np.flatnonzero(panel.start != starts[panel.cluster])
        if len(mixed):
            message = (
                f"re-assignment of clusters found {len(np.unique(panel.cluster[mixed]))} "
                "clusters whose units start at different times; assign clusters whole, or "
                "make each unit its own cluster."
            )
            raise DesignError(message)
        return cls.of(starts, block=block)

    @property
    def count(self) -> int:
        """Assignments that could have been drawn, before any was put back as unbalanced."""
        return math.prod(_arrangements(self.start[rows]) for rows in self._blocks())

    @property
    def cohorts(self) -> tuple[int, ...]:
        """Starts that occur, in order, ``NEVER`` last."""
        return tuple(int(g) for g in np.unique(self.start))

    @property
    def shares_differ(self) -> bool:
        """Whether blocks hold their starts in different shares."""
        shares = [
            [float((self.start[rows] == g).mean()) for g in self.cohorts]
            for rows in self._blocks()
        ]
        return bool(np.ptp(np.array(shares), axis=0).max() > 1e-12)

    def treated(self, periods: int) -> Floats:
        """Return 1 where a cluster was treated as drawn, shape [G, T].

        Examples:
            >>> AssignmentScheme.of([1, 9]).treated(2)
            array([[0., 1.],
                   [0., 0.]])
        """
        return treated_from(self.start, periods)

    def draws(self, n: int = 999, seed: int = 0) -> tuple[Ints, bool]:
        """Return starts under other assignments, and whether these are all there are.

        The first row is what was drawn. With at most ``n`` + 1 assignments each appears once;
        otherwise ``n`` are drawn independently. Draws that would have been put back as
        unbalanced are left out.

        Args:
            n: Assignments beside the observed one.
            seed: Of the draws.

        Returns:
            Starts, shape [R, G], and whether they are all assignments.

        References:
            Fisher (1935), *The Design of Experiments*; Phipson and Smyth (2010), *Statistical
            Applications in Genetics and Molecular Biology* 9(1): the observed one counts.

        Examples:
            >>> starts, all_of_them = AssignmentScheme.of([1, 1, 9, 9]).draws()
            >>> starts.shape, all_of_them
            ((6, 4), True)
        """
        if self.count <= n + 1:
            every = self._all()
            kept = self.unlikeness(every) <= self.most_unlike
            kept[0] = True
            return every[kept], True
        rng = np.random.default_rng(seed)
        found = [self.start[None]]
        while (have := sum(map(len, found))) < n + 1:
            wanted = min(n + 1, MOST_TRIES)
            new = self.permuted(wanted, rng)
            new = new[self.unlikeness(new) <= self.most_unlike]
            if not len(new):
                message = (
                    f"re-randomisation found no draw of {wanted} that is as balanced as was "
                    "asked; keep a larger share of draws."
                )
                raise DesignError(message)
            found.append(new[: n + 1 - have])
        return np.concatenate(found), False

    def permuted(self, n: int, rng: np.random.Generator) -> Ints:
        """Return draws whether balanced or not, shape [n, G]."""
        out = np.tile(self.start, (n, 1))
        for rows in self._blocks():
            out[:, rows] = rng.permuted(out[:, rows], axis=1)
        return out

    def unlikeness(self, starts: Ints) -> Floats:
        """Return how far the balanced columns lie apart under each draw, shape [R].

        Mahalanobis' distance between the two arms; with more, Hotelling's trace. 0 where no
        column had to be balanced.

        References:
            Morgan and Rubin (2012), *Annals of Statistics* 40(2), equation 2.

        Examples:
            >>> x = np.array([[1.0], [4.0], [2.0], [3.0]])
            >>> scheme = AssignmentScheme.of([0, 0, 1, 1], balance=x)
            >>> scheme.unlikeness(np.array([[0, 0, 1, 1], [0, 1, 0, 1]])).round(6)
            array([0. , 2.4])
        """
        if self.balance is None:
            return np.zeros(len(starts))
        x = self.balance - self.balance.mean(axis=0)
        inverse = np.linalg.pinv(np.atleast_2d(np.cov(x, rowvar=False)))
        out = np.zeros(len(starts))
        for label in self.cohorts:
            inside = (starts == label).astype(np.float64)
            size = inside.sum(axis=1)
            mean = inside @ x / size[:, None]
            out += size * np.einsum("rp,pq,rq->r", mean, inverse, mean)
        return out

    def _blocks(self) -> list[Ints]:
        return [np.flatnonzero(self.block == b) for b in range(int(self.block.max()) + 1)]

    def _all(self) -> Ints:
        blocks = self._blocks()
        within = [list(_orders(self.start[rows])) for rows in blocks]
        out = np.empty((self.count, len(self.start)), dtype=np.int64)
        for r, chosen in enumerate(product(*within)):
            for rows, order in zip(blocks, chosen, strict=True):
                out[r, rows] = order
        observed = int(np.flatnonzero((out == self.start).all(axis=1))[0])
        out[[0, observed]] = out[[observed, 0]]
        return out


def treated_from(start: Ints, periods: int) -> Floats:
    """Return 1 from each start on, shape [G, T]."""
    return (np.arange(periods)[None, :] >= start[:, None]).astype(np.float64)


def _arrangements(values: Ints) -> int:
    counts = np.unique(values, return_counts=True)[1]
    return math.factorial(len(values)) // math.prod(math.factorial(int(c)) for c in counts)


def _orders(values: Ints) -> Iterator[tuple[int, ...]]:
    """Yield every distinct order of values that repeat."""
    if len(values) == 0:
        yield ()
        return
    for first in np.unique(values):
        rest = np.delete(values, int(np.flatnonzero(values == first)[0]))
        for tail in _orders(rest):
            yield (int(first), *tail)
