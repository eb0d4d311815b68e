"""Which comparisons make up the two-way fixed effects estimate, with which weights?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.panels.fits import TwoWay
from upliftlab.panels.two_way import require_contrast, used_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel

    Floats = NDArray[np.float64]

Kind = Literal[
    "treated vs never", "earlier vs later", "later vs earlier", "later vs always treated"
]
FORBIDDEN: tuple[Kind, ...] = ("later vs earlier", "later vs always treated")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """One difference-in-differences of two cohorts.

    Attributes:
        treated: Start of the units that change, as its label.
        control: Start of the units that do not, "never" or "always".
        kind: Which side is treated already; "later ..." uses treated units as controls.
        weight: Its share of the estimate; all shares add up to 1.
        estimate: Difference-in-differences per component, shape [K].
    """

    treated: str
    control: str
    kind: Kind
    weight: float
    estimate: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decomposition:
    """The two-way fixed effects estimate as an average of comparisons.

    Attributes:
        names: Components, K in all.
        comparisons: Each pair of cohorts, both ways.
        value: The weighted average, which is the estimate, shape [K].
    """

    names: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    value: Floats

    def by_kind(self) -> dict[Kind, tuple[float, Floats]]:
        """Weight and average estimate [K] of each kind."""
        out: dict[Kind, tuple[float, Floats]] = {}
        for kind in dict.fromkeys(c.kind for c in self.comparisons):
            mine = [c for c in self.comparisons if c.kind == kind]
            weight = sum(c.weight for c in mine)
            total = np.stack([c.weight * c.estimate for c in mine]).sum(axis=0)
            out[kind] = weight, total / weight
        return out

    @property
    def forbidden(self) -> float:
        """Weight of comparisons that use treated units as controls."""
        return sum(c.weight for c in self.comparisons if c.kind in FORBIDDEN)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellWeights:
    """Weights that two-way fixed effects give to effects of cohorts in periods.

    Attributes:
        starts: Cohorts, shape [C].
        weight: Weight of each treated cell, adding up to 1; 0 elsewhere, shape [C, T].
    """

    starts: NDArray[np.int64]
    weight: Floats

    @property
    def negative(self) -> float:
        """Sum of the negative weights, 0 or below."""
        return float(np.minimum(self.weight, 0.0).sum())


def bacon(panel: Panel) -> Decomposition:
    """Decompose the two-way fixed effects estimate into comparisons of two cohorts.

    Args:
        panel: Balanced; unit weights are used.

    Returns:
        All comparisons; their weighted average is :func:`upliftlab.panels.two_way.twfe`.

    Raises:
        DesignError: When the panel is not balanced, nobody is treated or nobody is a control.

    References:
        Goodman-Bacon (2021), *Journal of Econometrics* 225(2), theorem 1, equations 7-10.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, 4.0, 5.0], [2.0, 3.0, 7.0], [1.0, 2.0, 3.0]])
        >>> found = bacon(Panel.of_arrays(y, [1, 2, NEVER]))
        >>> print(found.value.round(6), round(found.forbidden, 6))
        [2.5] 0.166667
    """
    require_contrast(panel, "the Bacon decomposition")
    weight = panel.weight
    if np.isnan(panel.y[weight > 0]).any():
        raise DesignError(
            "the Bacon decomposition needs a balanced panel; some units are not observed in "
            "every period. Keep units that are."
        )
    length = panel.shape[1]
    start = np.minimum(panel.start, length)
    groups = np.unique(start[weight > 0])
    mass = np.array([weight[start == g].sum() for g in groups])
    mean = np.stack(
        [np.einsum("i,itk->tk", weight[start == g], panel.y[start == g]) for g in groups]
    )
    mean /= mass[:, None, None]
    found = [
        part
        for early, late in combinations(range(len(groups)), 2)
        for part in _pair(groups, mass / mass.sum(), mean, early, late)
    ]
    total = sum(raw for *_, raw in found)
    if total == 0:
        raise DesignError(
            "the Bacon decomposition needs units that change while others do not; in this "
            "panel none does. Add earlier periods or units that are never treated."
        )
    comparisons = tuple(
        Comparison(
            treated=panel.periods[treated],
            control=_label(panel, control),
            kind=_kind(treated, control, length),
            weight=raw / total,
            estimate=estimate,
        )
        for treated, control, estimate, raw in found
    )
    value = np.stack([c.weight * c.estimate for c in comparisons]).sum(axis=0)
    return Decomposition(names=panel.names, comparisons=comparisons, value=value)


def cell_weights(panel: Panel) -> CellWeights:
    """Return the weights of two-way fixed effects on effects of cohorts in periods.

    Negative weights turn a positive effect into a negative contribution.

    Args:
        panel: May be unbalanced.

    Returns:
        Weights that add up to 1.

    Raises:
        DesignError: When nobody is treated or nobody is a control.

    References:
        De Chaisemartin and D'Haultfoeuille (2020), *American Economic Review* 110(9),
        theorem 1.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.zeros((3, 3))
        >>> cell_weights(Panel.of_arrays(y, [1, 2, NEVER])).weight.round(3)
        array([[0. , 0.5, 0. ],
               [0. , 0. , 0.5]])
    """
    require_contrast(panel, "two-way fixed effects")
    weight, _ = used_cells(panel)
    treated = np.arange(panel.shape[1])[None, :] >= panel.start[:, None]
    left = TwoWay.of(weight).residual(treated[:, :, None].astype(float))[:, :, 0]
    own = np.where(treated, weight * left, 0.0)
    if own.sum() <= 0:
        raise DesignError(
            "two-way fixed effects need treated units that change while others do not; in this "
            "panel none does. Add earlier periods or units that are never treated."
        )
    starts = np.unique(panel.start[panel.start < panel.shape[1]])
    cells = np.stack([own[panel.start == g].sum(axis=0) for g in starts])
    return CellWeights(starts=starts, weight=cells / own.sum())


def _pair(
    groups: NDArray[np.int64], share: Floats, mean: Floats, early: int, late: int
) -> list[tuple[int, int, Floats, float]]:
    """Both comparisons of two cohorts, with weights up to a common factor."""
    length = mean.shape[1]
    first, second = int(groups[early]), int(groups[late])
    on_early, on_late = 1 - first / length, 1 - second / length
    split = share[early] * share[late]
    gap = mean[early] - mean[late]
    out = []
    if first > 0:
        # Before the later start both weights' windows end; n_k n_l (D_k - D_l)(1 - D_k).
        weight = split * (on_early - on_late) * (1 - on_early)
        estimate = gap[first:second].mean(axis=0) - gap[:first].mean(axis=0)
        out.append((first, second, estimate, float(weight)))
    if second < length:
        weight = split * on_late * (on_early - on_late)
        estimate = gap[first:second].mean(axis=0) - gap[second:].mean(axis=0)
        out.append((second, first, estimate, float(weight)))
    return out


def _kind(treated: int, control: int, length: int) -> Kind:
    if control >= length:
        return "treated vs never"
    if control == 0:
        return "later vs always treated"
    return "earlier vs later" if treated < control else "later vs earlier"


def _label(panel: Panel, control: int) -> str:
    if control >= panel.shape[1]:
        return "never"
    return "always" if control == 0 else panel.periods[control]
