"""What is a unit of each component worth under each arm?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.components import COUNTS
from upliftlab.economics import MERCHANT
from upliftlab.targeting.scores import price_matrix

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.economics import Economics

    Floats = NDArray[np.float64]

GMV = ("gmv_platform", "gmv_merchant")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prices:
    """One linear price of the components, per arm.

    Attributes:
        rates: Minor units of money (or counts) per unit of each component, shape (A, K).
        constant: The same per assigned unit, shape (A,): contact cost and the like.
    """

    rates: Floats
    constant: Floats

    def of(self, outcomes: NDArray[np.floating], arm: NDArray[np.integer]) -> Floats:
        """Price what was observed, each unit by its own arm; shape (n,)."""
        total: Floats = self.constant[arm]
        for a in range(len(self.constant)):
            rows = arm == a
            total[rows] += outcomes[rows] @ self.rates[a]
        return total


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PriceSheet:
    """Every price that targeting asks for, over the same components.

    Attributes:
        arms: Names, the control first.
        names: Components, in the order of the columns.
        profit: The merchant's profit.
        cost: Money spent on the campaign.
        gmv: GMV, the dashboard's where it was measured; None without one.
        whose: Component that counts as GMV; empty without one.
        counts: Count component -> its price of 1.
        guide: Profit that the trees of nuisances are grown for, where other prices are tried
            than the plan's own; None takes ``profit``.
    """

    arms: tuple[str, ...]
    names: tuple[str, ...]
    profit: Prices
    cost: Prices
    gmv: Prices | None
    whose: str
    counts: Mapping[str, Prices]
    guide: Prices | None = None

    @property
    def grown_for(self) -> Prices:
        """Prices that the trees of nuisances are grown for."""
        return self.guide or self.profit


def price_sheet(
    economics: Economics,
    arms: Sequence[str],
    names: Sequence[str],
    *,
    idle: Collection[str] = (),
    own: Economics | None = None,
) -> PriceSheet:
    """Price components by an experiment's economics.

    Args:
        economics: Lines with prices per arm.
        arms: Names, the control first.
        names: Measured components.
        idle: Components that are 0 for every unit.
        own: The plan's own, where ``economics`` tries others: nuisances stay those of the
            plan, so that scores do not hang on the prices that are tried.

    Raises:
        UpliftlabError: When a price hangs on a component that was not measured.

    Examples:
        >>> from upliftlab.economics import Economics, Line
        >>> coupon = Line(name="coupon", label="coupon", stage="order", is_campaign=True,
        ...               flows={"merchant": {"merchant_coupon": -1.0}})
        >>> sheet = price_sheet(Economics(lines=(coupon,)), ("none", "c20"),
        ...                     ("merchant_coupon", "gmv_merchant"))
        >>> sheet.profit.rates[1], sheet.cost.rates[1], sheet.gmv.rates[0]
        (array([-1.,  0.]), array([1., 0.]), array([0., 1.]))
    """

    def prices(terms: Mapping[str, Mapping[str, float]]) -> Prices:
        rates, constant = price_matrix(terms, arms=arms, components=names, idle=idle)
        return Prices(rates=rates, constant=constant)

    def counted(name: str) -> Prices:
        return prices({arm: {name: 1.0} for arm in arms})

    gmv = next((name for name in GMV if name in names), None)
    return PriceSheet(
        arms=tuple(arms),
        names=tuple(names),
        profit=prices({arm: economics.price(MERCHANT, arm) for arm in arms}),
        cost=prices({arm: _spent(economics, arm) for arm in arms}),
        gmv=None if gmv is None else counted(gmv),
        whose=gmv or "",
        counts={name: counted(name) for name in names if name in COUNTS},
        guide=None if own is None else prices({arm: own.price(MERCHANT, arm) for arm in arms}),
    )


def _spent(economics: Economics, arm: str) -> dict[str, float]:
    """Campaign money per unit of each component."""
    terms: dict[str, float] = {}
    for line in economics.lines:
        if line.is_campaign:
            for component, rate in line.terms(MERCHANT, arm).items():
                terms[component] = terms.get(component, 0.0) - rate
    return terms


def used(sheet: PriceSheet) -> tuple[int, ...]:
    """Positions of the components that profit, cost or GMV hang on."""
    parts = (sheet.profit, sheet.cost, sheet.grown_for)
    touched: Floats = np.sum([np.abs(each.rates).sum(axis=0) for each in parts], axis=0)
    if sheet.gmv is not None:
        touched = touched + sheet.gmv.rates.sum(axis=0)
    return tuple(int(i) for i in np.flatnonzero(touched))
