"""From a plan and prepared units to the answer: who should get what?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.checks import SAMPLE_RATIO, WARN, Check
from upliftlab.components import ALIASES, at
from upliftlab.data.prepare import plan_of
from upliftlab.data.score_table import score_table
from upliftlab.economics import MERCHANT
from upliftlab.estimators.effects import Effects
from upliftlab.targeting.asked import asked
from upliftlab.targeting.halves import ScoreBook, split
from upliftlab.targeting.price_sheet import price_sheet
from upliftlab.targeting.ranking import covariance
from upliftlab.targeting.score_checks import check_propensity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from upliftlab.data.prepared import Prepared
    from upliftlab.data.score_table import ScoreTable
    from upliftlab.economics import Economics
    from upliftlab.experiment import Experiment
    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.answer import Targeting
    from upliftlab.targeting.asked import Ask
    from upliftlab.targeting.price_sheet import PriceSheet

TOLD = frozenset({"gmv_platform", "gmv_merchant", "buyers", "orders"})
"""Components that the page speaks of beside those with a price."""


ROUNDED = 5e-4
"""How far a recorded chance may be from the plan's share: a third is written as 0.333."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What targeting is asked, and of which units.

    Attributes:
        table: Units.
        ask: Limits and words of the plan.
        sheet: Prices of the table's components.
        book: Where component scores are kept; None keeps none.
        checks: Facts about recorded chances of arms.
    """

    table: ScoreTable
    ask: Ask
    sheet: PriceSheet
    book: ScoreBook | None = None
    checks: tuple[Check, ...] = ()

    @property
    def is_uneven(self) -> bool:
        """Whether units differ in how likely each arm was, so that plain means mislead."""
        return self.table.propensity is not None or not self.ask.is_dealt

    @property
    def dealt(self) -> Check:
        """Say how arms were dealt; recorded chances that do not fit leave no verdict."""
        found = next(iter(self.checks), None)
        if found is not None:
            return replace(found, name=SAMPLE_RATIO)
        return Check(
            name="arms_not_drawn",
            verdict=WARN,
            message=(
                f"Nobody drew the arms: {self.ask.unit}s are compared after weighing them by "
                "chances estimated from the columns that a rule may use. What is not among "
                "them is not corrected; how strong it would have to be is said below."
            ),
        )

    def averages(self) -> Effects:
        """Return arm means of every component as if all units had had each arm.

        Means of doubly robust scores, with their joint covariance: right where chances of arms
        are known, or where all that drove them and money is among the columns.

        References:
            Robins, Rotnitzky and Zhao (1994), *JASA* 89(427).
        """
        table = self.table
        book = self.book or ScoreBook()
        first, second, _ = split(table, self.ask, self.sheet, book=book)
        psi = np.concatenate(
            [half.scores.psi for half in (first, second) if half.scores is not None]
        )
        rows = psi.reshape(len(psi), -1).astype(np.float64)
        mean = rows.mean(axis=0)
        groups = None
        if table.cluster is not None:
            groups = np.concatenate([first.table.cluster, second.table.cluster])
        cov, df = covariance(rows - mean, groups)
        size = (len(table.arms), len(table.components))
        stay, more = (0, 0), (0, len(table.idle))
        cube = np.pad(cov.reshape(*size, *size), (stay, more, stay, more))
        return Effects(
            arms=table.arms,
            control=table.arms[0],
            names=(*table.components, *table.idle),
            n=tuple(int(n) for n in np.bincount(table.arm, minlength=size[0])),
            mean=np.pad(mean.reshape(size), (stay, more)),
            cov=cube,
            df=np.full(size[0], df),
            pieces=cube[None],
            piece_df=np.array([df]),
            method="doubly robust scores, units weighed by how likely their arm was",
            note=self.note,
        )

    @property
    def note(self) -> str:
        """Say how arms are made comparable, where plain means would mislead."""
        if not self.is_uneven:
            return ""
        known = "recorded" if self.table.propensity is not None else "estimated"
        rest = (
            ""
            if self.ask.is_dealt
            else "; nobody drew the arms, so nothing corrects for what is not in the columns"
        )
        return (
            f"arms are compared after weighing {self.ask.unit}s by {known} chances of their "
            f"arm{rest}. Segments and other windows are not corrected and are left out"
        )

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
            later={} if self.is_uneven else _later(experiment, effects, economics),
            book=self.book,
            known=self.checks,
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
    is_dealt = experiment.assign is None or experiment.assign.is_drawn
    table = score_table(prepared, plan_of(experiment), components=components)
    ask = asked(experiment, assigned=table.total)
    if table.propensity is not None and is_dealt and _is_as_planned(table, ask):
        table = replace(table, propensity=None)
    if table.propensity is not None or not is_dealt:
        # Means of all that the page speaks of are made of scores then.
        table = replace(score_table(prepared, plan_of(experiment)), propensity=table.propensity)
        book = book or ScoreBook()
    checks: tuple[Check, ...] = ()
    if table.propensity is not None:
        checks = (
            check_propensity(
                table.propensity,
                table.arm,
                arms=table.arms,
                cluster=table.cluster,
                is_own_only=table.is_own_only,
            ),
        )
    return Question(
        table=table,
        ask=ask,
        sheet=price_sheet(
            economics,
            table.arms,
            table.components,
            idle=table.idle,
            own=None if own == economics else own,
        ),
        book=book,
        checks=checks,
    )


def _is_as_planned(table: ScoreTable, ask: Ask) -> bool:
    """Whether recorded chances are the plan's shares, the same for every unit."""
    if table.propensity is None or ask.shares is None:
        return False
    return bool(np.abs(table.propensity - np.array(ask.shares)).max() < ROUNDED)


def _read(experiment: Experiment, economics: Economics) -> frozenset[str]:
    """Components that targeting reads: those with a price, GMV, and those with a floor."""
    assert experiment.target is not None  # noqa: S101 - asked before
    target = experiment.target
    inner = [name for wanted in (target.at_least_in or {}).values() for name in wanted]
    floors = {ALIASES.get(name, name) for name in (*target.at_least, *inner)}
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
