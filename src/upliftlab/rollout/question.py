"""What is asked of a panel, priced by which plan, and what came out?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.data.panel_grain import DAYS, periods_of
from upliftlab.data.prepared import Facts
from upliftlab.errors import DataError
from upliftlab.profit import Profit, assess
from upliftlab.rollout.booked import measures_of, with_totals
from upliftlab.rollout.ledgers import Ledger
from upliftlab.rollout.rates import Tariffs, economics_of, in_tariff, tariffs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from upliftlab.checks import Check
    from upliftlab.data.panel import Panel
    from upliftlab.economics import Economics
    from upliftlab.estimators.effects import Effects
    from upliftlab.experiment import Experiment
    from upliftlab.rollout.answer import Rollout
    from upliftlab.rollout.booked import Measure

QUARTER = 91
"""Days that the total of a roll-out to everybody speaks of."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """A plan beside its panel.

    Attributes:
        experiment: The plan.
        panel: Units observed throughout, components with totals.
        economics: Lines and prices.
        tariffs: Which set of rates holds when.
        everybody: Units that a roll-out would reach where the plan does not say; those of the
            panel by default.
    """

    experiment: Experiment
    panel: Panel
    economics: Economics
    tariffs: Tariffs
    everybody: int | None = None

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        panel: Panel,
        economics: Economics | None = None,
        everybody: int | None = None,
        tariffs: Tariffs | None = None,
    ) -> Question:
        """Put a plan beside its panel; other prices than the plan's are a what-if.

        Prices that change over time hang on parts by tariff; where the tariffs are not those of
        this plan and panel alone, as with several changes, they are handed over too.

        Raises:
            DataError: When no unit was observed throughout.
            DefinitionError: When plan and panel together cannot be priced.
        """
        panel = with_totals(whole(observed(experiment, panel)))
        tariffs = tariffs or tariffs_of(experiment, panel)
        return cls(
            experiment=experiment,
            panel=panel,
            economics=economics or economics_of(experiment, panel, tariffs),
            tariffs=tariffs,
            everybody=everybody,
        )

    @property
    def arm(self) -> str:
        """The change."""
        return self.experiment.treatments[0].label

    @property
    def control(self) -> str:
        """What was before."""
        return self.experiment.control.label

    @property
    def level(self) -> float:
        """Confidence of every interval."""
        return float(self.experiment.decide.confidence)

    @property
    def period(self) -> str:
        """Length of a period."""
        return self.experiment.period or "day"

    def periods(self, days: int | None) -> int:
        """Turn days of the plan into periods of the panel, rounded up."""
        return periods_of(days, self.period)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What readers see over time, profit first."""
        return self.measured(in_tariff(self.economics, 0))

    def measured(self, economics: Economics) -> tuple[Measure, ...]:
        """The same at other prices."""
        return measures_of(economics, self.panel.names, arm=self.arm, control=self.control)

    def ledger(
        self, measures: Callable[[Economics], Sequence[Measure]] | None = None
    ) -> Ledger:
        """Book measures at the rates in force; what readers see unless said."""
        return Ledger.of(
            self.panel,
            self.economics,
            self.tariffs,
            anticipation=self.periods(self.experiment.announced),
            measures=measures or self.measured,
        )

    def price(self, effects: Effects) -> Profit:
        """Price observed and expected means; the total is a quarter of everybody."""
        here = self.everybody or len(self.panel.units)
        units = self.experiment.eligible_customers or here
        return assess(
            effects,
            self.economics,
            arm=self.arm,
            eligible=units * max(1, QUARTER // DAYS[self.period]),
            hurdle=float(self.experiment.decide.iroi_at_least),
            level=self.level,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answered:
    """What a roll-out's panel says under its plan.

    Attributes:
        panel: Components with totals.
        facts: Counts about the data.
        economics: Lines and prices.
        effects: Observed and expected means of the treated, per unit and period.
        profit: Their price.
        checks: Whether to trust it.
        rollout: The rest.
    """

    panel: Panel
    facts: Facts
    economics: Economics
    effects: Effects
    profit: Profit
    checks: tuple[Check, ...]
    rollout: Rollout


def observed(experiment: Experiment, panel: Panel) -> Panel:
    """Keep the periods that lie in the plan's ``observe``, and count the others.

    Raises:
        DataError: When none is left, or the plan asks for days that periods cannot tell.
    """
    if experiment.observe is None:
        return panel
    length = DAYS[experiment.period or "day"]
    try:
        begins = [date.fromisoformat(label) for label in panel.periods]
    except ValueError:
        raise DataError(
            f"the plan observes {experiment.observe.start} to {experiment.observe.end}, and "
            f"its periods are no dates, such as {panel.periods[0]!r}; leave observe out."
        ) from None
    last = timedelta(days=length - 1)
    inside = [
        t
        for t, day in enumerate(begins)
        if day + last >= experiment.observe.start and day <= experiment.observe.end
    ]
    if not inside:
        raise DataError(
            f"no period of the panel ({panel.periods[0]} to {panel.periods[-1]}) lies in "
            f"observe, {experiment.observe.start} to {experiment.observe.end}."
        )
    if len(inside) == len(begins):
        return panel
    first, end = inside[0], inside[-1] + 1
    told = end + periods_of(experiment.announced, experiment.period)
    moved = np.where(panel.start >= told, NEVER, np.maximum(panel.start - first, 0))
    note = f"{len(begins) - len(inside)} periods outside observe are left out"
    return replace(
        panel,
        y=panel.y[:, first:end],
        periods=panel.periods[first:end],
        start=moved,
        terms=None if panel.terms is None else panel.terms[:, first:end],
        beside=tuple(replace(each, y=each.y[first:end]) for each in panel.beside),
        notes=(*panel.notes, note),
    )


def facts_of(panel: Panel, arm: str, control: str) -> Facts:
    """Count what the page speaks of."""
    treated = panel.start < len(panel.periods)
    counts = {control: int((~treated).sum()), arm: int(treated.sum())}
    clusters = {
        control: len(np.unique(panel.cluster[~treated])),
        arm: len(np.unique(panel.cluster[treated])),
    }
    return Facts(
        assigned={name: {"": count} for name, count in counts.items()},
        clusters=clusters if len(np.unique(panel.cluster)) < len(panel.cluster) else {},
        totals={name: float(panel.y[:, :, k].sum()) for k, name in enumerate(panel.names)},
        notes=panel.notes,
    )


def whole(panel: Panel) -> Panel:
    """Keep the units that were observed in every period, and count the others."""
    gaps: NDArray[np.bool_] = np.isnan(panel.y).any(axis=(1, 2))  # type: ignore[assignment]
    if not gaps.any():
        return panel
    if gaps.all():
        raise DataError(
            "every unit of the panel has periods without rows; say that absent rows are zero, "
            "or shorten observe to the periods that units share."
        )
    note = (
        f"{int(gaps.sum()):,} of {len(gaps):,} units have periods without rows and are left "
        "out; the answer speaks of units observed throughout."
    )
    kept = panel.select(~gaps)
    return replace(kept, notes=(*kept.notes, note))
