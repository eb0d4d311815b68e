"""What is the right answer when units switch to something new at different times?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.data.panel import NEVER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Means = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PanelTruth:
    """The true effects per unit and period of exactly the units drawn; money in fen.

    Attributes:
        measures: What effects are of, M in all.
        base: Means in the world without change, from the first period of ``window`` on.
        gte: All units treated against none, in the same periods.
        att: Observed against none over the treated periods of treated units.
        anticipation: Same over the periods just before the start in which they react already.
        elsewhere: Same over everything else: what spills over to the untreated.
        total: Sum of observed minus none over all units and periods.
        starts: Waves that occur, C in all.
        att_gt: Mean of each wave and period, shape [C, T, M].
        horizons: Periods since the start, E in all.
        event_time: Mean over units of waves that are observed there, shape [E, M].
        window: First and last period (from 0) of ``gte`` and ``base``.
    """

    measures: tuple[str, ...]
    base: Means
    gte: Means
    att: Means
    anticipation: Means
    elsewhere: Means
    total: Means
    starts: tuple[int, ...]
    att_gt: Floats
    horizons: tuple[int, ...]
    event_time: Floats
    window: tuple[int, int]

    def cohort(self, start: int, period: int, measure: str) -> float:
        """Return ATT(g, t): the mean effect on a wave in one period."""
        at = self.starts.index(start), period, self.measures.index(measure)
        return float(self.att_gt[at])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; a number that does not exist is None."""
        named = ("base", "gte", "att", "anticipation", "elsewhere", "total")
        return {
            "unit": "fen per unit and period; total: fen",
            "window": list(self.window),
            **{name: plain(getattr(self, name)) for name in named},
            "att_gt": {
                str(start): {
                    name: self.att_gt[row, :, place].tolist()
                    for place, name in enumerate(self.measures)
                }
                for row, start in enumerate(self.starts)
            },
            "event_time": {
                str(horizon): plain(_named(self.measures, self.event_time[row]))
                for row, horizon in enumerate(self.horizons)
            },
        }


def panel_truth(
    observed: Floats,
    everybody: Floats,
    start: Ints,
    *,
    measures: Sequence[str],
    base: Means,
    first: int,
    ahead: int = 0,
) -> PanelTruth:
    """Sum up the effects of every unit and period.

    Args:
        observed: Observed minus none, shape [N, T, M].
        everybody: All minus none, shape [N, T, M].
        start: First treated period of each unit, shape [N].
        measures: Names of the effects.
        base: Means without change.
        first: First period of the window of ``gte``.
        ahead: Periods before the start in which units react already.

    References:
        Callaway and Sant'Anna (2021), *J. Econometrics*, eq. 2.1, for ATT(g, t); here it is
        known instead of estimated.

    Examples:
        >>> effect = np.array([[[0.0], [2.0], [4.0]], [[0.0], [0.0], [0.0]]])
        >>> start = np.array([1, NEVER])
        >>> found = panel_truth(effect, effect, start, measures=["y"], base={}, first=1)
        >>> found.att, found.gte, found.cohort(1, 2, "y")
        ({'y': 3.0}, {'y': 1.5}, 4.0)
    """
    names, periods = tuple(measures), observed.shape[1]
    since = np.arange(periods) - start[:, None]
    treated, early = since >= 0, (since < 0) & (since >= -ahead)
    starts = tuple(int(g) for g in np.unique(start) if g != NEVER)
    counts = np.array([(start == g).sum() for g in starts], dtype=np.int64)
    att_gt = np.stack([observed[start == g].mean(axis=0) for g in starts])
    horizons = tuple(range(-starts[-1], periods - starts[0]))
    return PanelTruth(
        measures=names,
        base=base,
        gte=_named(names, everybody[:, first:].mean(axis=(0, 1))),
        att=_mean(names, observed, treated),
        anticipation=_mean(names, observed, early),
        elsewhere=_mean(names, observed, ~treated & ~early),
        total=_named(names, observed.sum(axis=(0, 1))),
        starts=starts,
        att_gt=att_gt,
        horizons=horizons,
        event_time=_event_time(att_gt, counts, starts, horizons),
        window=(first, periods - 1),
    )


def plain(means: Mapping[str, float]) -> dict[str, float | None]:
    """Return the numbers as JSON knows them.

    Examples:
        >>> plain({"profit": 1.5, "cash": math.nan})
        {'profit': 1.5, 'cash': None}
    """
    return {name: None if math.isnan(value) else value for name, value in means.items()}


def _mean(names: tuple[str, ...], effect: Floats, where: NDArray[np.bool_]) -> Means:
    chosen = effect[where]
    return _named(names, chosen.mean(axis=0) if len(chosen) else np.full(len(names), np.nan))


def _event_time(
    att_gt: Floats, counts: Ints, starts: tuple[int, ...], horizons: tuple[int, ...]
) -> Floats:
    periods = att_gt.shape[1]
    path = np.full((len(horizons), att_gt.shape[2]), np.nan)
    for row, horizon in enumerate(horizons):
        seen = [wave for wave, start in enumerate(starts) if 0 <= start + horizon < periods]
        if seen:
            values = [att_gt[wave, starts[wave] + horizon] for wave in seen]
            path[row] = np.average(values, axis=0, weights=counts[seen])
    return path


def _named(names: tuple[str, ...], values: Floats) -> Means:
    return dict(zip(names, values.tolist(), strict=True))
