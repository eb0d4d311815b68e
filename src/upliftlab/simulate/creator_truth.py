"""What is the right answer in a simulated change of commission rates?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.simulate.dual_commission import (
    COMPONENTS,
    World,
    creator_income,
    creator_profit,
)
from upliftlab.simulate.panel_truth import Means, PanelTruth, panel_truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.simulate.creator_settings import Rates
    from upliftlab.simulate.dual_commission import CreatorDraw

    Floats = NDArray[np.float64]

MEASURES = (
    *COMPONENTS,
    "gmv_creator",
    "gmv_shop",
    "profit",
    "profit_mechanical",
    "profit_behavioural",
    "creator_income",
    "creator_income_mechanical",
    "creator_income_behavioural",
)
"""Of effects; ``gmv_shop`` is creators and shelf, and a part "mechanical" is the change of
rates times the quantities without it, "behavioural" the rest at the new rates."""


def creator_truth(drawn: CreatorDraw) -> PanelTruth:
    """Compare the three rollouts of a draw: effects per creator-week, of ``MEASURES``.

    ``gte`` and ``base`` are of the weeks from ``settings.truth_from`` on.

    References:
        Callaway and Sant'Anna (2021), *J. Econometrics*, eq. 2.1, for ATT(g, t); here it is
        known instead of estimated.

    Examples:
        >>> from upliftlab.simulate.creator_settings import creator_preset
        >>> from upliftlab.simulate.dual_commission import draw_creators
        >>> found = creator_truth(draw_creators(creator_preset("generous", clusters=8)))
        >>> found.gte["gmv_creator"] > 0, found.gte["profit"] < 0
        (True, True)
    """
    settings = drawn.settings
    return panel_truth(
        unit_effects(drawn, "observed"),
        unit_effects(drawn, "all"),
        drawn.start,
        measures=MEASURES,
        base=_base(drawn.worlds["none"], settings.rates, settings.truth_from),
        first=settings.truth_from,
        ahead=settings.anticipation_weeks if settings.anticipation else 0,
    )


def unit_effects(drawn: CreatorDraw, world: str = "observed") -> Floats:
    """Return what one rollout changes for every creator-week, shape [N, T, measures].

    Args:
        drawn: The draw.
        world: ``observed`` or ``all``; compared with ``none``.

    Examples:
        >>> from upliftlab.simulate.creator_settings import creator_preset
        >>> from upliftlab.simulate.dual_commission import draw_creators
        >>> unit_effects(draw_creators(creator_preset("N", clusters=4))).any().item()
        False
    """
    rates, none, other = drawn.settings.rates, drawn.worlds["none"], drawn.worlds[world]
    # Quantities without the change, at its rates.
    repriced = World(y=none.y, organic=other.organic, ads=other.ads)
    change = other.y - none.y
    gmv = change[:, :, COMPONENTS.index("gmv_creator_organic")]
    gmv = gmv + change[:, :, COMPONENTS.index("gmv_creator_ads")]
    profit = [creator_profit(each, rates) for each in (none, repriced, other)]
    income = [creator_income(each) for each in (none, repriced, other)]
    derived = [gmv, gmv + change[:, :, COMPONENTS.index("gmv_shelf")]]
    for before, between, after in (profit, income):
        derived += [after - before, between - before, after - between]
    return np.concatenate([change, np.stack(derived, axis=2)], axis=2)


def _base(none: World, rates: Rates, first: int) -> Means:
    values = none.y[:, first:].mean(axis=(0, 1)).tolist()
    means = dict(zip(COMPONENTS, values, strict=True))
    creators = means["gmv_creator_organic"] + means["gmv_creator_ads"]
    return means | {
        "gmv_creator": creators,
        "gmv_shop": creators + means["gmv_shelf"],
        "profit": float(creator_profit(none, rates)[:, first:].mean()),
        "creator_income": float(creator_income(none)[:, first:].mean()),
    }
