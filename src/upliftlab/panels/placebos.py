"""What else could have happened: which units would have been treated, or drawn?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import DesignError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.panels.donors import Setting

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Inference = Literal["placebo", "bootstrap", "jackknife", "none"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """B versions of who is treated and who is a donor.

    Attributes:
        donors: How often each donor is in, shape [B, D].
        treated: Mixture of units that is the treated mean of each block, shape [G, B, N];
            zeros where a block has nobody.
        mass: Treated weight of each block, shape [G, B].
        note: How they were made; why there are none.
        df: Degrees of freedom of a variance from these draws.
    """

    donors: Floats
    treated: Floats
    mass: Floats
    note: str = ""
    df: float = float("inf")

    def part(self, rows: slice | Ints) -> Draws:
        """Keep some of the draws.

        References:
            Own.

        Examples:
            >>> one = np.ones((2, 1))
            >>> Draws(donors=one, treated=one[None], mass=one[:, 0][None]).part(slice(1)).mass
            array([[1.]])
        """
        return Draws(
            donors=self.donors[rows], treated=self.treated[:, rows], mass=self.mass[:, rows]
        )


def observed(setting: Setting) -> Draws:
    """Return what did happen, as one draw.

    References:
        Own.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> from upliftlab.panels.donors import arrange
        >>> panel = Panel.of_arrays(np.arange(12.0).reshape(3, 4), [2, 2, NEVER])
        >>> observed(arrange(panel, asked_by="example")).treated
        array([[[0. , 0.5, 0.5]]])
    """
    count = np.ones((1, len(setting.unit)))
    return _of_counts(setting, count, note="", df=float("inf"))


def placebo(setting: Setting, *, draws: int, seed: int) -> Draws:
    """Pretend that donors were treated, in blocks of the true sizes.

    With one treated unit and enough draws every donor takes its place once: no chance is left.
    Valid if treated and donors vary alike; the number of donors must exceed the treated.

    Args:
        setting: Donors and blocks.
        draws: Number of draws.
        seed: Of the random choice of donors.

    References:
        Arkhangelsky et al. (2021), *AER* 111(12), algorithm 4.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> from upliftlab.panels.donors import arrange
        >>> panel = Panel.of_arrays(np.arange(12.0).reshape(3, 4), [2, NEVER, NEVER])
        >>> placebo(arrange(panel, asked_by="example"), draws=10, seed=1).donors
        array([[0., 1.],
               [1., 0.]])
    """
    sizes = [len(block.treated) for block in setting.blocks]
    count, total = setting.donors, sum(sizes)
    if len(np.unique(setting.cluster)) < len(setting.unit):
        raise DesignError(
            "placebo draws take units one by one, and here units share clusters; use "
            "inference='bootstrap', or add units up to clusters first."
        )
    if count <= total:
        return _none(
            setting, f"placebo draws need more donors than treated units: {count} and {total}"
        )
    if total == 1 and draws >= count:
        chosen = np.arange(count)[:, None]
        note = f"each of {count} donors took the treated unit's place once"
    else:
        rng = np.random.default_rng(seed)
        chosen = rng.random((draws, count)).argsort(axis=1)[:, :total]
        note = f"{draws} placebo draws from {count} donors, seed {seed}"
    rows = np.arange(len(chosen))
    donors = np.ones((len(chosen), count))
    donors[rows[:, None], chosen] = 0.0
    treated = np.zeros((len(sizes), len(chosen), len(setting.unit)))
    mass = np.empty((len(sizes), len(chosen)))
    ends = np.cumsum([0, *sizes])
    for g, block in enumerate(setting.blocks):
        treated[g, rows[:, None], chosen[:, ends[g] : ends[g + 1]]] = 1.0 / sizes[g]
        mass[g] = setting.weight[block.treated].sum()
    return Draws(donors=donors, treated=treated, mass=mass, note=note, df=float(count - 1))


def bootstrap(setting: Setting, *, draws: int, seed: int) -> Draws:
    """Draw clusters of units with replacement; a draw without donors or treated is repeated.

    Args:
        setting: Donors and blocks.
        draws: Number of draws.
        seed: Of the random draws.

    Returns:
        The draws; none, with a note, where fewer than two clusters are treated or donors.

    References:
        Arkhangelsky et al. (2021), *AER* 111(12), algorithm 2.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> from upliftlab.panels.donors import arrange
        >>> panel = Panel.of_arrays(np.arange(16.0).reshape(4, 4), [2, 2, NEVER, NEVER])
        >>> bootstrap(arrange(panel, asked_by="example"), draws=3, seed=1).donors.shape
        (3, 2)
    """
    lacking = _too_few(setting)
    if lacking:
        why = f"the bootstrap needs two clusters of treated and two of donors{lacking}"
        return _none(setting, why)
    rng = np.random.default_rng(seed)
    groups = int(setting.cluster.max()) + 1
    kept: list[Floats] = []
    while len(kept) < draws:
        count = rng.multinomial(groups, np.full(groups, 1 / groups)).astype(np.float64)
        units = count[setting.cluster]
        if units[: setting.donors].any() and units[setting.donors :].any():
            kept.append(units)
    note = f"{draws} bootstrap draws of {groups} clusters, seed {seed}"
    return _of_counts(setting, np.stack(kept), note=note, df=_fewest(setting) - 1.0)


def leave_one_out(setting: Setting) -> Draws:
    """Leave out one cluster at a time, for the jackknife.

    Returns:
        As many draws as clusters; none, with a note, where a block has one treated cluster.

    References:
        Arkhangelsky et al. (2021), *AER* 111(12), algorithm 3.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> from upliftlab.panels.donors import arrange
        >>> panel = Panel.of_arrays(np.arange(12.0).reshape(3, 4), [2, NEVER, NEVER])
        >>> leave_one_out(arrange(panel, asked_by="example")).note
        'the jackknife is not defined with one treated cluster in a block'
    """
    for block in setting.blocks:
        if len(np.unique(setting.cluster[block.treated])) < 2:
            note = "the jackknife is not defined with one treated cluster in a block"
            return _none(setting, note)
    if _too_few(setting):
        return _none(setting, "the jackknife needs two clusters of donors or more")
    groups = int(setting.cluster.max()) + 1
    count = (setting.cluster[None, :] != np.arange(groups)[:, None]).astype(np.float64)
    note = f"jackknife over {groups} clusters with fixed weights"
    return _of_counts(setting, count, note=note, df=_fewest(setting) - 1.0)


def _of_counts(setting: Setting, count: Floats, *, note: str, df: float) -> Draws:
    shape = (len(setting.blocks), *count.shape)
    treated = np.zeros(shape)
    for g, block in enumerate(setting.blocks):
        treated[g][:, block.treated] = count[:, block.treated] * setting.weight[block.treated]
    mass = treated.sum(axis=2)
    treated /= np.where(mass > 0, mass, 1.0)[:, :, None]
    return Draws(
        donors=count[:, : setting.donors], treated=treated, mass=mass, note=note, df=df
    )


def _none(setting: Setting, note: str) -> Draws:
    blocks = len(setting.blocks)
    return Draws(
        donors=np.empty((0, setting.donors)),
        treated=np.empty((blocks, 0, len(setting.unit))),
        mass=np.empty((blocks, 0)),
        note=note,
    )


def _fewest(setting: Setting) -> int:
    sides = setting.cluster[: setting.donors], setting.cluster[setting.donors :]
    return min(len(np.unique(side)) for side in sides)


def _too_few(setting: Setting) -> str:
    return f": the smaller side has {_fewest(setting)}" if _fewest(setting) < 2 else ""
