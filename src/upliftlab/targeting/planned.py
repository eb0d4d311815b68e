"""From a plan and prepared units to the answer: who should get what?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.components import ALIASES, at
from upliftlab.data.prepare import plan_of
from upliftlab.data.score_table import score_table
from upliftlab.economics import MERCHANT
from upliftlab.targeting.asked import asked
from upliftlab.targeting.price_sheet import price_sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from upliftlab.data.prepared import Prepared
    from upliftlab.data.score_table import ScoreTable
    from upliftlab.economics import Economics
    from upliftlab.estimators.effects import Effects
    from upliftlab.experiment import Experiment
    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.answer import Targeting
    from upliftlab.targeting.asked import Ask
    from upliftlab.targeting.halves import ScoreBook
    from upliftlab.targeting.price_sheet import PriceSheet

TOLD = frozenset({"gmv_platform", "gmv_merchant", "buyers", "orders"})
"""Components that the page speaks of beside those with a price."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What targeting is asked, and of which units.

    Attributes:
        table: Units.
        ask: Limits and words of the plan.
        sheet: Prices of the table's components.
        book: Where component scores are kept; None keeps none.
    """

    table: ScoreTable
    ask: Ask
    sheet: PriceSheet
    book: ScoreBook | None = None

    def answered(
        self,
        experiment: Experiment,
        effects: Effects,
        economics: Economics,
        tell: Callable[[str], None],
    ) -> Targeting:
        """Learn who should get what.

        Args:
            experiment: The plan.
            effects: Of all windows, for what comes after the coupon's end.
            economics: Prices.
            tell: Called with the name of each step.
        """
        from upliftlab.targeting import run as targeting

        return targeting.answer(
            self.table,
            self.ask,
            self.sheet,
            later=_later(experiment, effects, economics),
            book=self.book,
            progress=tell,
        )


def question(
    experiment: Experiment,
    prepared: Prepared,
    economics: Economics,
    *,
    own: Economics,
    book: ScoreBook | None = None,
) -> Question:
    """Read the units and the plan's target block.

    Args:
        experiment: A plan with ``target``.
        prepared: Its units.
        economics: Prices to answer at.
        own: Prices of the plan; where others are tried, nuisances stay those of the plan.
        book: Where scores are looked up, and kept for other prices.
    """
    components = _read(experiment, economics) | own.components()
    table = score_table(prepared, plan_of(experiment), components=components)
    return Question(
        table=table,
        ask=asked(experiment, assigned=table.total),
        sheet=price_sheet(
            economics,
            table.arms,
            table.components,
            idle=table.idle,
            own=None if own == economics else own,
        ),
        book=book,
    )


def _read(experiment: Experiment, economics: Economics) -> frozenset[str]:
    """Components that targeting reads: those with a price, GMV, and those with a floor."""
    assert experiment.target is not None  # noqa: S101 - asked before
    floors = {ALIASES.get(name, name) for name in experiment.target.at_least}
    return economics.components() | TOLD | floors


def _later(
    experiment: Experiment, effects: Effects, economics: Economics
) -> dict[str, Estimate]:
    """Extra profit between the shortest window and the headline, per treatment."""
    headline = experiment.follow_up if experiment.grain == "orders" else None
    shorter = [days for days in experiment.windows if headline and days < headline]
    if headline is None or not shorter:
        return {}
    control = experiment.control.label
    price = {arm.label: economics.price(MERCHANT, arm.label) for arm in experiment.arms}
    level = float(experiment.decide.confidence)
    found = {}
    for treatment in experiment.treatments:
        arm = treatment.label
        rates: dict[str, dict[str, float]] = {arm: {}, control: {}}
        for days, sign in ((headline, 1.0), (min(shorter), -1.0)):
            _add(rates[arm], price[arm], days, sign, effects)
            _add(rates[control], price[control], days, -sign, effects)
        weights = effects.weights(rates)[None]
        found[arm] = effects.linear(weights, ["later"]).estimate("later", level=level)
    return found


def _add(
    rates: dict[str, float],
    price: Mapping[str, float],
    days: int,
    sign: float,
    effects: Effects,
) -> None:
    for component, rate in price.items():
        name = at(component, days)
        if name in effects.names:
            rates[name] = rates.get(name, 0.0) + sign * rate
