"""What did a coupon by region earn, against regions weighted to resemble it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.economics import MERCHANT
from upliftlab.errors import DataError, DesignError
from upliftlab.estimators.effects import Effects
from upliftlab.panels.geo_regression import geo_regression
from upliftlab.panels.synthetic import synthetic_control
from upliftlab.panels.synthetic_did import synthetic_did
from upliftlab.rollout.answer import Opinion
from upliftlab.stats.estimate import undefined

if TYPE_CHECKING:
    from upliftlab.data.panel import Panel
    from upliftlab.economics import Economics
    from upliftlab.panels.synthetic_effect import SyntheticEffect

ENOUGH_FOR_JACKKNIFE = 8
"""Treated regions from which leaving one out tells the error; else placebos do."""


def weighted_regions(
    panel: Panel, economics: Economics, *, arm: str, control: str, anticipation: int
) -> tuple[Effects, SyntheticEffect]:
    """Means of treated regions, observed and expected from one set of weights.

    The weights are fitted on profit at the old prices and serve all components, so that lines
    add up to profit. Observed means are taken as fixed: the statement is about these regions
    in these periods.

    References:
        Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), *AER* 111(12).

    Raises:
        DesignError: When a region has no period before its change, or none stays untreated.
    """
    early = int((panel.start - anticipation < 1).sum())
    if early:
        raise DesignError(
            f"{early} of {len(panel.units)} regions were treated (or told) from the first "
            f"period on, {panel.periods[0]}; they have no before: leave their rows out, or "
            "begin observe earlier."
        )
    treated = panel.start < len(panel.periods)
    many = int(treated.sum()) >= ENOUGH_FOR_JACKKNIFE
    price = economics.price(MERCHANT, control)
    found = synthetic_did(
        panel,
        fit_on={name: rate for name, rate in price.items() if name in panel.names},
        anticipation=anticipation,
        inference="jackknife" if many else "placebo",
    )
    width = len(panel.names)
    cov = np.zeros((2, width, 2, width))
    cov[0, :, 0] = found.effect.cov
    total = round(found.unit_periods)
    expected = found.counterfactual
    effects = Effects(
        arms=(control, arm),
        control=control,
        names=panel.names,
        n=(total, total),
        mean=np.stack([expected, expected + found.effect.value]),
        cov=cov,
        df=found.effect.df[:2] if width > 1 else np.repeat(found.effect.df, 2),
        pieces=cov[None],
        piece_df=found.effect.df[:1],
        method="regions weighted to move as the treated did (synthetic difference in "
        f"differences), weights shared by all lines, {found.inference}",
        note=found.note,
    )
    return effects, found


def region_opinions(profit: Panel, *, anticipation: int, level: float) -> tuple[Opinion, ...]:
    """Other ways to expect what treated regions would have earned."""
    treated = profit.start < len(profit.periods)
    units = float(profit.weight[treated].sum())
    found = []
    try:
        control = synthetic_control(profit, anticipation=anticipation, draws=100)
        joint = control.effect
        effect = joint.estimate(joint.names[0], level=level)
        found.append(
            Opinion(
                method="synthetic_control",
                label="weighted regions, levels matched (synthetic control)",
                effect=effect,
                note=control.inference,
            )
        )
    except (DesignError, DataError) as error:
        found.append(_nothing("synthetic_control", "synthetic control", str(error), level))
    try:
        regression = geo_regression(profit, anticipation=anticipation)
        periods = len(regression.periods)
        total = regression.effect.estimate(regression.effect.names[0], level=level)
        found.append(
            Opinion(
                method="geo_regression",
                label="treated total predicted from control total (time-based regression)",
                effect=total.scaled(1 / (units * periods), name="profit"),
                note=regression.note,
            )
        )
    except (DesignError, DataError) as error:
        found.append(_nothing("geo_regression", "time-based regression", str(error), level))
    return tuple(found)


def _nothing(method: str, label: str, why: str, level: float) -> Opinion:
    return Opinion(method=method, label=label, effect=undefined(method, why, level=level))


__all__ = ["region_opinions", "weighted_regions"]
