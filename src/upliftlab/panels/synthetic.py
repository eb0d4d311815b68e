"""What would the treated have done, had they followed a mixture of the untreated?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.panels.donors import FitOn, arrange
from upliftlab.panels.shared_weights import Resampling, Weights, estimate
from upliftlab.panels.simplex import least_squares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.panels.donors import Setting
    from upliftlab.panels.placebos import Draws, Inference
    from upliftlab.panels.synthetic_effect import SyntheticEffect

    Floats = NDArray[np.float64]

FREE_JACKKNIFE = "the jackknife is not recommended for synthetic controls without time weights"


def synthetic_control(
    panel: Panel,
    *,
    fit_on: FitOn = None,
    intercept: bool = False,
    anticipation: int = 0,
    inference: Inference = "placebo",
    draws: int = 200,
    seed: int = 0,
) -> SyntheticEffect:
    """Compare the treated with the mixture of donors that was closest before the start.

    The weights are fitted once, on ``fit_on``, and serve all components: effects of sales,
    cost and profit add up. They mean something only where the fit before the start is good
    and no donor is touched by the treatment; look at ``cohorts[0].fit``.

    Args:
        panel: Observed in full.
        fit_on: A component, a linear combination such as ``{"sales": 0.3, "cost": -1}``, or
            several components, each standardised; may be left out for one component.
        intercept: Fit changes from each unit's own mean before the start ("fixed effects"),
            so that the treated may lie above or below all donors.
        anticipation: Periods before the start that are reported apart.
        inference: ``placebo`` (donors in the place of the treated), ``bootstrap``,
            ``jackknife`` (fixed weights) or ``none``.
        draws: Number of draws of placebo and bootstrap.
        seed: Of the draws.

    Returns:
        Effects per treated unit and period, weights and fit; covariance NaN, with a note,
        where the inference is not defined.

    Raises:
        DesignError: No donor, or no two periods before a start.
        DataError: A value is missing.

    References:
        Abadie, Diamond and Hainmueller (2010), *JASA* 105(490); Doudchenko and Imbens (2016),
        NBER 22791, and Ferman and Pinto (2021), *Quantitative Economics* 12(4), for the
        intercept.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> sales = np.array([[3.0, 4.0, 5.0, 9.0], [2, 2, 2, 2], [4, 6, 8, 9], [9, 1, 9, 1]])
        >>> panel = Panel.of_arrays(sales, [3, NEVER, NEVER, NEVER])
        >>> found = synthetic_control(panel)
        >>> found.cohorts[0].unit_weights.round(3), found.effect.value.round(3)
        (array([0.5, 0.5, 0. ]), array([3.5]))
    """
    setting = arrange(
        panel, asked_by="synthetic_control", fit_on=fit_on, anticipation=anticipation
    )

    def weigh(setting: Setting, block: int, drawn: Draws, main: Weights | None) -> Weights:
        del main
        return _weigh(setting, block, drawn, intercept=intercept)

    kind = "synthetic control" + (", unit means taken out" if intercept else "")
    return estimate(
        setting, weigh, Resampling(inference=inference, draws=draws, seed=seed), method=kind
    )


def fitted_rows(setting: Setting, block: int, *, intercept: bool) -> Floats:
    """Return what is fitted of every unit before a block's start, shape [N, before J].

    References:
        Own.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> panel = Panel.of_arrays(np.arange(8.0).reshape(2, 4), [2, NEVER])
        >>> fitted_rows(arrange(panel, asked_by="example"), 0, intercept=True)
        array([[-0.5,  0.5],
               [-0.5,  0.5]])
    """
    before = setting.z[:, : setting.blocks[block].before]
    if intercept:
        before = before - before.mean(axis=1, keepdims=True)
    return before.reshape(len(before), -1)


def _weigh(setting: Setting, block: int, drawn: Draws, *, intercept: bool) -> Weights:
    rows = fitted_rows(setting, block, intercept=intercept)
    donors = rows[: setting.donors]
    unit = np.zeros_like(drawn.donors)
    for b, target in enumerate(drawn.treated[block] @ rows):
        kept = drawn.donors[b] > 0
        unit[b, kept] = least_squares(donors[kept].T, target)
    return Weights(unit=unit, time=even_levels(setting, block, len(unit), intercept=intercept))


def even_levels(setting: Setting, block: int, size: int, *, intercept: bool) -> Floats:
    """Return equal weights of the periods before with an intercept, else zeros, [B, before].

    References:
        Arkhangelsky et al. (2021), *AER* 111(12), section 1.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> panel = Panel.of_arrays(np.arange(8.0).reshape(2, 4), [2, NEVER])
        >>> even_levels(arrange(panel, asked_by="example"), 0, 1, intercept=True)
        array([[0.5, 0.5]])
    """
    before = setting.blocks[block].before
    return np.full((size, before), 1.0 / before if intercept else 0.0)
