"""What did each wave earn in each period, where old rates change over time as well?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.data.panel_moments import PanelMoments
from upliftlab.panels.forms import Forms
from upliftlab.panels.group_time import GroupTime, group_time
from upliftlab.rollout.booked import book, prices_of, treated_in
from upliftlab.rollout.rates import in_tariff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.economics import Economics
    from upliftlab.rollout.booked import Measure
    from upliftlab.rollout.rates import Tariffs

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MOVED = (
    "rates would have changed without the change as well; that part is taken from the "
    "headline's expected sales, as fixed"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ledger:
    """Measures at the prices of every tariff, and when each holds.

    An effect on money is new prices on what happened less old prices *of the same period* on
    what would have happened. Where old prices do not change that is the effect on one booked
    column. Where they do it is not: the column before the change would be at other prices than
    after it. Then every period is booked once for each set of old prices, and each effect reads
    the book of its own period.

    Attributes:
        panel: Components.
        by_tariff: The measures at the prices of each tariff.
        tariffs: Which tariff holds when.
        anticipation: Periods in which the change was known before it.
    """

    panel: Panel
    by_tariff: tuple[tuple[Measure, ...], ...]
    tariffs: Tariffs
    anticipation: int

    @classmethod
    def of(
        cls,
        panel: Panel,
        economics: Economics,
        tariffs: Tariffs,
        *,
        anticipation: int,
        measures: Callable[[Economics], Sequence[Measure]],
    ) -> Ledger:
        """Write measures at the prices of every tariff."""
        return cls(
            panel=panel,
            by_tariff=tuple(
                tuple(measures(in_tariff(economics, j))) for j in range(tariffs.count)
            ),
            tariffs=tariffs,
            anticipation=anticipation,
        )

    def only(self, count: int = 1) -> Ledger:
        """Keep the first measures."""
        return replace(self, by_tariff=tuple(each[:count] for each in self.by_tariff))

    @property
    def before(self) -> Floats:
        """Old prices by tariff, shape [J, R, K]."""
        return np.stack(
            [prices_of(each, self.panel.names, "before") for each in self.by_tariff]
        )

    @property
    def moves(self) -> bool:
        """Whether old prices change from tariff to tariff."""
        before = self.before
        return not bool((before == before[0]).all())

    def column(self, level: Floats | None = None) -> Panel:
        """One booked column per measure, for methods that know one set of old prices.

        Where old prices change, everything is booked at their average over treated periods, and
        what they would have changed is taken at the expected sales of group-time effects.

        Args:
            level: Old prices to book at in place of their average, shape [R, K].
        """
        first, *later = self.by_tariff
        if not self.moves:
            return book(self.panel, first, later=later, tariff=self._tariff())
        before = self.before
        own = self._tariff()
        treated = treated_in(self.panel) & (self.panel.start > 0)[:, None]
        if level is None:
            level = self.level()
        after = np.stack(
            [prices_of(each, self.panel.names, "after") for each in self.by_tariff]
        )
        booked = self.panel.y @ level.T
        expected = self.panel.y - self._effects()
        for j in range(self.tariffs.count):
            at = treated & (own == j)
            booked[at] = self.panel.y[at] @ after[j].T - expected[at] @ (before[j] - level).T
        always = treated_in(self.panel) & ~treated
        booked[always] = self.panel.y[always] @ after[0].T
        return self.panel.with_outcome(booked, [measure.name for measure in first])

    def level(self) -> Floats:
        """Old prices averaged over treated unit-periods, shape [R, K]."""
        treated = treated_in(self.panel) & (self.panel.start > 0)[:, None]
        weight = np.where(treated, self.panel.weight[:, None], 0.0)
        mass = np.bincount(
            self._tariff().ravel(), weights=weight.ravel(), minlength=self.tariffs.count
        )
        averaged: Floats = np.tensordot(mass / mass.sum(), self.before, 1)
        return averaged

    def effects(self) -> GroupTime:
        """Effects on every measure, each at the prices of its own period."""
        if not self.moves:
            return group_time(self.column(), anticipation=self.anticipation)
        before = self.before
        _, first, book_of = np.unique(
            before.reshape(len(before), -1), axis=0, return_index=True, return_inverse=True
        )
        own, length = self._tariff(), len(self.panel.periods)
        books = []
        for j in first:
            old = [
                tuple(
                    replace(m, before=b.before)
                    for m, b in zip(each, self.by_tariff[j], strict=True)
                )
                for each in self.by_tariff
            ]
            books.append(book(self.panel, old[0], later=old[1:], tariff=own))
        start = self.panel.start
        late = (start >= length) & (start < NEVER)
        whole = replace(
            books[0],
            y=np.concatenate([each.y for each in books], axis=1),
            periods=tuple(
                label if i == 0 else f"{label} at the prices of book {i}"
                for i in range(len(books))
                for label in self.panel.periods
            ),
            start=np.where(late, start + (len(books) - 1) * length, start),
        )
        return self._lifted(PanelMoments.of(whole), book_of.reshape(-1), len(books))

    def again(self, effects: GroupTime, moments: PanelMoments) -> GroupTime:
        """Make the same effects from other moments, such as those without a cluster."""
        books = len(moments.periods) // len(self.panel.periods)
        if books == 1:
            return group_time(moments, anticipation=effects.anticipation)
        before = self.before
        code = np.unique(before.reshape(len(before), -1), axis=0, return_inverse=True)[1]
        return self._lifted(moments, code.reshape(-1), books)

    def _tariff(self) -> Ints:
        return self.tariffs.of_units(self.panel)

    def _effects(self) -> Floats:
        """Group-time effects on components of each treated unit's period, shape [N, T, K]."""
        found = group_time(self.panel, anticipation=self.anticipation)
        out = np.zeros(self.panel.shape)
        for (start, period), effect in zip(found.cells, found.att, strict=True):
            if period >= start and np.isfinite(effect).all():
                out[self.panel.start == start, period] = effect
        return out

    def _lifted(self, moments: PanelMoments, book_of: Ints, books: int) -> GroupTime:
        """Let each effect read the book of its period; books follow each other in time."""
        length = len(self.panel.periods)
        by_book = [
            group_time(_book(moments, i, length), anticipation=self.anticipation)
            for i in range(books)
        ]
        plain = by_book[0]
        shape = (len(plain.cells), len(moments.start), books * length)
        slope = np.zeros(shape)
        share = np.zeros((*shape[:2], len(moments.names)))
        for c, cell in enumerate(plain.cells):
            i = int(book_of[self.tariffs.at_cell(*cell)])
            slope[c, :, i * length : (i + 1) * length] = plain.forms.slope[c]
            share[c] = by_book[i].forms.share[c]
        return replace(
            plain,
            moments=moments,
            forms=Forms(
                names=plain.forms.names, slope=slope, share=share, known=plain.forms.known
            ),
        )


def _book(moments: PanelMoments, i: int, length: int) -> PanelMoments:
    """Means of one book; its effects need no second moments."""
    at = slice(i * length, (i + 1) * length)
    spare = len(moments.periods) - length
    late = (moments.start >= length) & (moments.start < NEVER)
    return replace(
        moments,
        periods=moments.periods[:length],
        start=np.where(late, moments.start - spare, moments.start),
        mean=moments.mean[:, at],
        scatter=None,
        rows=None,
    )
