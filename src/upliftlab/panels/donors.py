"""Which units and periods stand in for the treated, and what must they reproduce?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.errors import DataError, DesignError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

FitOn = str | Mapping[str, float] | tuple[str, ...] | list[str] | None
"""What weights are fitted on: a component, a linear combination, or several standardised."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Units that start together, and the periods around their start.

    Attributes:
        start: Position of their first treated period.
        treated: Their positions among the used units.
        before: Number of periods before anticipation, all from the first one on.
    """

    start: int
    treated: Ints
    before: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """A panel arranged for synthetic controls: donors first, then the treated.

    Attributes:
        y: Outcomes of the used units, shape [N, T, K].
        names: Components, K in all.
        z: What the weights are fitted on, shape [N, T, J]; J = 1 unless several components
            are fitted jointly, each divided by its standard deviation among donors.
        donors: Number of donors, the first rows.
        unit: Positions of the used units in the panel, shape [N].
        weight: Weights of the used units, shape [N]; they weigh the treated.
        cluster: Clusters of the used units, numbered afresh, shape [N].
        blocks: One per start.
        periods: Labels, T in all.
        fitted_on: What ``z`` is, in words.
        x: Covariates of the used units, shape [N, P].
    """

    y: Floats
    names: tuple[str, ...]
    z: Floats
    donors: int
    unit: Ints
    weight: Floats
    cluster: Ints
    blocks: tuple[Block, ...]
    periods: tuple[str, ...]
    fitted_on: str
    x: Floats


def arrange(
    panel: Panel, *, asked_by: str, fit_on: FitOn = None, anticipation: int = 0
) -> Setting:
    """Sort a panel into donors and blocks of treated units, or say why that cannot be.

    Donors are the units that are not treated in the panel. Unit weights of the panel weigh the
    treated; how donors are weighted is what synthetic controls find out.

    Args:
        panel: Observed in full for all donors and treated.
        asked_by: Who needs it, for messages.
        fit_on: A component, a linear combination such as ``{"sales": 0.3, "cost": -1}``, or
            several components, each standardised; may be left out for one component.
        anticipation: Periods before the start that are neither before nor after.

    Returns:
        The setting.

    Raises:
        DesignError: No donor, nobody treated, or fewer than two periods before a start.
        DataError: A value is missing, or ``fit_on`` names no component.

    References:
        Abadie, Diamond and Hainmueller (2010), *JASA* 105(490), section 2.

    Examples:
        >>> from upliftlab.data.panel import Panel
        >>> panel = Panel.of_arrays(np.arange(12.0).reshape(3, 4), [2, NEVER, NEVER])
        >>> setting = arrange(panel, asked_by="example")
        >>> setting.unit.tolist(), setting.blocks[0].before, setting.fitted_on
        ([1, 2, 0], 2, 'y')
    """
    length = panel.shape[1]
    if anticipation < 0:
        raise DesignError(
            f"{asked_by} has anticipation {anticipation}; write 0 or more periods."
        )
    late = np.where(panel.start == NEVER, NEVER, panel.start - anticipation)
    donor, treated = late >= length, panel.start < length
    _check_design(panel, donor, treated, anticipation=anticipation, asked_by=asked_by)
    unit = np.concatenate([np.flatnonzero(donor), np.flatnonzero(treated)])
    y = panel.y[unit]
    _check_values(panel, y, asked_by=asked_by)
    count = int(donor.sum())
    start = panel.start[unit]
    blocks = tuple(
        Block(
            start=int(g),
            treated=np.flatnonzero((start == g) & (np.arange(len(unit)) >= count)),
            before=int(g) - anticipation,
        )
        for g in np.unique(start[count:])
    )
    earliest = min(block.before for block in blocks)
    maps, words = _maps(panel.names, y[:count, :earliest], fit_on, asked_by=asked_by)
    return Setting(
        y=y,
        names=panel.names,
        z=y @ maps,
        donors=count,
        unit=unit,
        weight=panel.weight[unit],
        cluster=np.unique(panel.cluster[unit], return_inverse=True)[1],
        blocks=blocks,
        periods=panel.periods,
        fitted_on=words,
        x=panel.x[unit],
    )


def combination(
    names: Sequence[str], wanted: str | Mapping[str, float], *, asked_by: str
) -> Floats:
    """Return the coefficients of a linear combination of components, shape [K].

    Raises:
        DataError: A name is no component.

    References:
        Own: a name means the component alone.

    Examples:
        >>> combination(["sales", "cost"], {"sales": 0.3, "cost": -1.0}, asked_by="example")
        array([ 0.3, -1. ])
    """
    terms = {wanted: 1.0} if isinstance(wanted, str) else dict(wanted)
    out = np.zeros(len(names))
    for name, factor in terms.items():
        if name not in names:
            raise DataError(
                f"{asked_by} needs component {name!r}; the panel has {list(names)}."
                f"{nearest(name, names)}"
            )
        out[list(names).index(name)] = factor
    return out


def _maps(
    names: tuple[str, ...], before: Floats, fit_on: FitOn, *, asked_by: str
) -> tuple[Floats, str]:
    if fit_on is None:
        if len(names) > 1:
            raise DesignError(
                f"{asked_by} fits one set of weights for components {list(names)}; say on "
                f"what, such as fit_on={names[0]!r} or "
                f"fit_on={{{names[0]!r}: 0.3, {names[1]!r}: -1}}."
            )
        fit_on = names[0]
    if isinstance(fit_on, str):
        return combination(names, fit_on, asked_by=asked_by)[:, None], fit_on
    if isinstance(fit_on, Mapping):
        words = " ".join(f"{factor:+g} {name}" for name, factor in fit_on.items())
        return combination(names, fit_on, asked_by=asked_by)[:, None], words
    maps = np.stack([combination(names, name, asked_by=asked_by) for name in fit_on], axis=1)
    spread = (before @ maps).std(axis=(0, 1))
    words = " and ".join(fit_on) + ", each standardised"
    return maps / np.where(spread > 0, spread, 1.0), words


def _check_design(
    panel: Panel,
    donor: NDArray[np.bool_],
    treated: NDArray[np.bool_],
    *,
    anticipation: int,
    asked_by: str,
) -> None:
    if not treated.any():
        raise DesignError(f"{asked_by} found no treated unit in {len(donor)} units.")
    if not donor.any():
        raise DesignError(
            f"{asked_by} found no donor: all {len(donor)} units are treated in the panel; "
            "use a group-time estimator with not-yet-treated controls."
        )
    first = int(panel.start[treated].min()) - anticipation
    if first < 1:
        raise DesignError(
            f"{asked_by} found {int((panel.start[treated] - anticipation < 1).sum())} units "
            "treated or anticipating from the first period on; they have no before: leave them "
            "out with panel.select."
        )
    if first < 2:
        raise DesignError(
            f"{asked_by} found 1 period before the first start; weights need 2 or more."
        )


def _check_values(panel: Panel, y: Floats, *, asked_by: str) -> None:
    missing = np.logical_not(np.isfinite(y).all(axis=2))
    if missing.any():
        raise DataError(
            f"{asked_by} found {int(missing.sum())} unit-periods without a value, in "
            f"{int(missing.any(axis=1).sum())} of {len(y)} units and {len(panel.periods)} "
            "periods; keep units that were observed throughout, or write 0 where nothing sold."
        )
