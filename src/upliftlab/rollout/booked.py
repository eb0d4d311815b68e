"""What did each unit's period earn for each side, at the rates then in force?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.components import CHANNELS
from upliftlab.economics import MERCHANT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.economics import Economics

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

SUMS = {
    "kept_sales": tuple(f"kept_{channel}" for channel in CHANNELS),
    "gmv_merchant": tuple(f"gmv_{channel}" for channel in CHANNELS),
}
"""Totals that are the sum of their channels where the panel does not hold them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number per unit and period that readers see.

    Attributes:
        name: "profit", a party, or a component.
        label: Words for readers.
        is_money: Whether it is an amount.
        before: Rate of each component before the change.
        after: Rate of each component since the change.
    """

    name: str
    label: str
    is_money: bool
    before: Mapping[str, float]
    after: Mapping[str, float]


def with_totals(panel: Panel) -> Panel:
    """Add kept sales and GMV of all channels, where the panel holds channels only."""
    names, parts = list(panel.names), [panel.y]
    for total, channels in SUMS.items():
        have = [name for name in channels if name in panel.names]
        if total in panel.names or not have:
            continue
        at = [panel.names.index(name) for name in have]
        parts.append(panel.y[:, :, at].sum(axis=2, keepdims=True))
        names.append(total)
    if len(parts) == 1:
        return panel
    return replace(panel, y=np.concatenate(parts, axis=2), names=tuple(names))


def measures_of(
    economics: Economics, names: Sequence[str], *, arm: str, control: str
) -> tuple[Measure, ...]:
    """Profit first, then the other sides, then sales and what the plan may guard."""
    found = [_party(economics, MERCHANT, ("profit", "our profit"), (arm, control))]
    labels = {"creator": "creators' income", "agency": "agencies' income"}
    for party, label in labels.items():
        if party in economics.parties():
            found.append(_party(economics, party, (party, label), (arm, control)))
    for name, label in _SHOWN:
        if name in names:
            same = {name: 1.0}
            found.append(
                Measure(
                    name=name,
                    label=label,
                    is_money=name.startswith(("gmv", "kept", "ad_")),
                    before=same,
                    after=same,
                )
            )
    return tuple(found)


def book(
    panel: Panel,
    measures: Sequence[Measure],
    *,
    later: Sequence[Sequence[Measure]] = (),
    tariff: Ints | None = None,
) -> Panel:
    """Price every unit's period at the rates in force, shape [N, T, R].

    Treated units are paid at the new rates from their start on, everybody else at the old
    ones; an effect on this outcome is new prices on what happened less old prices on what
    would have happened.

    Args:
        panel: Components.
        measures: What is booked, at the prices of the first tariff.
        later: The same at those of further tariffs, where new rates change over time.
        tariff: Which tariff each unit's period is in, shape [N, T].
    """
    before = prices_of(measures, panel.names, "before")
    after = [prices_of(each, panel.names, "after") for each in (measures, *later)]
    booked = panel.y @ before.T
    treated = treated_in(panel)
    for j, prices in enumerate(after):
        own = treated if tariff is None else treated & (tariff == j)
        if not np.array_equal(before, prices):
            booked[own] = panel.y[own] @ prices.T
    return panel.with_outcome(booked, [measure.name for measure in measures])


def treated_in(panel: Panel) -> Bools:
    """Which units are treated in which periods, shape [N, T]."""
    found: Bools = np.arange(len(panel.periods))[None, :] >= panel.start[:, None]
    return found


_SHOWN = (
    ("gmv_platform", "GMV on the platform's dashboard"),
    ("gmv_merchant", "GMV the shop books"),
    ("kept_sales", "sales kept after returns"),
    ("kept_creator_organic", "kept sales, creators' own traffic"),
    ("kept_creator_ads", "kept sales, creators with ads"),
    ("kept_self_live", "kept sales, own live rooms"),
    ("kept_shelf", "kept sales, shelf"),
    ("ad_spend", "ad spend"),
    ("posts", "posts"),
    ("creators_active", "active creators"),
    ("ads_authorised", "creators who authorised ads"),
)


def _party(
    economics: Economics, party: str, words: tuple[str, str], arms: tuple[str, str]
) -> Measure:
    (name, label), (arm, control) = words, arms
    return Measure(
        name=name,
        label=label,
        is_money=True,
        before=economics.price(party, control),
        after=economics.price(party, arm),
    )


def prices_of(measures: Sequence[Measure], names: Sequence[str], when: str) -> Floats:
    """Rates of each measure "before" or "after" the change, shape [R, K]."""
    out = np.zeros((len(measures), len(names)))
    for row, measure in enumerate(measures):
        for name, rate in getattr(measure, when).items():
            out[row, names.index(name)] = rate
    return out
