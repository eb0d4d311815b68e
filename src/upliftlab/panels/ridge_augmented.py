"""What was the effect, when a ridge regression corrects what the mixture of donors misses?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DataError, DesignError
from upliftlab.panels import placebos
from upliftlab.panels.donors import FitOn, arrange
from upliftlab.panels.shared_weights import Resampling, Weights, estimate
from upliftlab.panels.simplex import least_squares
from upliftlab.panels.synthetic import even_levels, fitted_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.panels.donors import Setting
    from upliftlab.panels.placebos import Draws, Inference
    from upliftlab.panels.synthetic_effect import SyntheticEffect

    Floats = NDArray[np.float64]

NEGATIVE = "some donor weights are negative: the ridge extrapolates"
_LEAST_RATIO = 1e-8
_STEPS = 20


def ridge_augmented(
    panel: Panel,
    *,
    fit_on: FitOn = None,
    ridge: float | None = None,
    intercept: bool = False,
    use_x: bool = False,
    anticipation: int = 0,
    inference: Inference = "placebo",
    draws: int = 200,
    seed: int = 0,
) -> SyntheticEffect:
    """Augment the synthetic control by ridge regression, to repair an imperfect fit.

    The correction is linear in donors as well: weights add up to one, may be negative, and
    serve all components. Use it where the plain fit before the start is poor.

    Args:
        panel: Observed in full.
        fit_on: As in ``synthetic_control``.
        ridge: Penalty in squared units of ``fit_on``; by default the largest whose error in
            leaving out one period at a time is within one standard error of the least.
        intercept: Fit changes from each unit's own mean before the start.
        use_x: Balance the panel's covariates too, each scaled to spread among donors as the
            fitted outcomes do.
        anticipation: Periods before the start that are reported apart.
        inference: ``placebo``, ``bootstrap``, ``jackknife`` or ``none``; draws keep ``ridge``.
        draws: Number of draws of placebo and bootstrap.
        seed: Of the draws.

    Returns:
        Effects per treated unit and period; ``method`` names the penalty of each start.

    Raises:
        DesignError: A penalty that is not above 0, fewer than three periods before a start
            where it is to be chosen, covariates asked for and not there, or as in
            ``synthetic_control``.
        DataError: A covariate is no finite number, or a value is missing.

    References:
        Ben-Michael, Feller and Rothstein (2021), *JASA* 116(536), equations 11 to 15 and
        section 5.3.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> sales = np.array([[3.0, 4.0, 5.0, 9.0], [2, 2, 2, 2], [4, 6, 8, 9], [9, 1, 9, 1]])
        >>> panel = Panel.of_arrays(sales, [3, NEVER, NEVER, NEVER])
        >>> found = ridge_augmented(panel, ridge=1.0, inference="none")
        >>> f"{found.effect.value[0]:.3f}, {found.method}"
        '3.500, ridge-augmented synthetic control, penalty 1'
    """
    if ridge is not None and not (ridge > 0 and math.isfinite(ridge)):
        raise DesignError(f"ridge_augmented has ridge {ridge}; write a number above 0.")
    setting = arrange(
        panel, asked_by="ridge_augmented", fit_on=fit_on, anticipation=anticipation
    )
    if use_x:
        _refuse_covariates(setting)
    else:
        setting = replace(setting, x=setting.x[:, :0])
    once = placebos.observed(setting)
    penalties = [
        _chosen(setting, g, once, intercept=intercept) if ridge is None else ridge
        for g in range(len(setting.blocks))
    ]

    def weigh(setting: Setting, block: int, drawn: Draws, main: Weights | None) -> Weights:
        del main
        return _weigh(setting, block, drawn, penalties[block], intercept=intercept)

    kind = "ridge-augmented synthetic control" + (", unit means taken out" if intercept else "")
    found = estimate(
        setting, weigh, Resampling(inference=inference, draws=draws, seed=seed), method=kind
    )
    return replace(found, method=f"{kind}, penalty {', '.join(f'{p:.6g}' for p in penalties)}")


def left_out_errors(
    donors: Floats, target: Floats, penalties: Floats, *, width: int = 1, extra: int = 0
) -> Floats:
    """Return squared errors of each left-out period and penalty, shape [periods - 1, P].

    Covariates count as periods after the last. The last of all is never left out, as in the
    authors' program.

    Args:
        donors: Centred outcomes before the start and covariates, shape [D, periods * width +
            extra].
        target: Those of the treated, shape [periods * width + extra].
        penalties: To be compared, shape [P].
        width: Numbers per period.
        extra: Covariates, the last columns.

    References:
        Ben-Michael, Feller and Rothstein (2021), *JASA* 116(536), section 5.3.

    Examples:
        >>> donors = np.array([[-1.0, -2.0, -1.0], [1.0, 2.0, 1.0]])
        >>> left_out_errors(donors, np.array([0.5, 1.0, 0.5]), np.array([0.1])).round(6)
        array([[0.],
               [0.]])
    """
    outcomes = np.arange(len(target) - extra).reshape(-1, width)
    blocks = [*outcomes, *np.arange(len(target) - extra, len(target))[:, None]]
    out = np.empty((len(blocks) - 1, len(penalties)))
    for t, test in enumerate(blocks[:-1]):
        x, x1 = np.delete(donors, test, axis=1), np.delete(target, test)
        plain = least_squares(x.T, x1)
        left, size, right = np.linalg.svd(x, full_matrices=False)
        missed = right @ (x1 - plain @ x)
        shrunk = (size * missed)[:, None] / (size[:, None] ** 2 + penalties[None, :])
        weights = plain[:, None] + left @ shrunk
        errors = target[test][:, None] - donors[:, test].T @ weights
        out[t] = (errors * errors).sum(axis=0)
    return out


def _chosen(setting: Setting, g: int, once: Draws, *, intercept: bool) -> float:
    rows = _rows(setting, g, intercept=intercept)
    centred = rows - rows[: setting.donors].mean(axis=0)
    donors, target = centred[: setting.donors], once.treated[g, 0] @ centred
    width = setting.z.shape[2]
    if setting.blocks[g].before < 3:
        raise DesignError(
            f"ridge_augmented found {setting.blocks[g].before} periods before the start; "
            "choosing the penalty needs 3 or more: write ridge=..., or use synthetic_control."
        )
    largest = float(np.linalg.norm(donors, 2)) ** 2
    if largest == 0:
        return 1.0
    penalties = largest * _LEAST_RATIO ** (np.arange(_STEPS + 1) / _STEPS)
    extra = setting.x.shape[1]
    errors = left_out_errors(donors, target, penalties, width=width, extra=extra)
    mean = errors.mean(axis=0)
    spread = errors.std(axis=0, ddof=1) / math.sqrt(len(errors))
    best = int(np.argmin(mean))
    return float(penalties[mean <= mean[best] + spread[best]].max())


def _rows(setting: Setting, g: int, *, intercept: bool) -> Floats:
    """What is balanced: fitted outcomes before the start, and covariates at their scale."""
    before = fitted_rows(setting, g, intercept=intercept)
    if not setting.x.shape[1]:
        return before
    own = before[: setting.donors] - before[: setting.donors].mean(axis=0)
    spread = setting.x[: setting.donors].std(axis=0, ddof=1)
    x = setting.x - setting.x[: setting.donors].mean(axis=0)
    scaled = np.where(spread > 0, own.std(ddof=1) / np.where(spread > 0, spread, 1.0), 0.0) * x
    return np.concatenate([before, scaled], axis=1)


def _refuse_covariates(setting: Setting) -> None:
    """Refuse covariates that are not there or no numbers."""
    if not setting.x.shape[1]:
        raise DesignError(
            "ridge_augmented is to balance covariates and the panel has none; give it x, or "
            "leave use_x out."
        )
    if setting.donors < 2:
        raise DesignError("ridge_augmented needs two donors to scale covariates; it found 1.")
    lost = int((~np.isfinite(setting.x)).any(axis=1).sum())
    if lost:
        raise DataError(
            f"ridge_augmented found {lost} of {len(setting.x)} units with a covariate that is "
            "no finite number; fill it, or leave the covariate out."
        )


def _weigh(
    setting: Setting, g: int, drawn: Draws, penalty: float, *, intercept: bool
) -> Weights:
    rows = _rows(setting, g, intercept=intercept)
    unit = np.zeros_like(drawn.donors)
    for b, count in enumerate(drawn.donors):
        kept = count > 0
        times = count[kept]
        centre = times @ rows[: setting.donors][kept] / times.sum()
        donors = rows[: setting.donors][kept] - centre
        target = drawn.treated[g, b] @ rows - drawn.treated[g, b].sum() * centre
        plain = least_squares(donors.T, target)
        scaled = donors * np.sqrt(times)[:, None]
        left, size, right = np.linalg.svd(scaled, full_matrices=False)
        missed = right @ (target - plain @ donors)
        unit[b, kept] = plain + np.sqrt(times) * (left @ (size / (size**2 + penalty) * missed))
    negative = len(unit) == 1 and bool((unit < -1e-12).any())
    return Weights(
        unit=unit,
        time=even_levels(setting, g, len(unit), intercept=intercept),
        note=NEGATIVE if negative else "",
    )
