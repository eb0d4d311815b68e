"""What was the effect, when units and periods are both weighted to look alike?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.panels.donors import FitOn, arrange
from upliftlab.panels.shared_weights import Resampling, Weights, estimate
from upliftlab.panels.simplex import frank_wolfe, least_squares, sparsified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.panels.donors import Setting
    from upliftlab.panels.placebos import Draws, Inference
    from upliftlab.panels.synthetic_effect import SyntheticEffect

    Floats = NDArray[np.float64]

Solver = Literal["frank_wolfe", "exact"]

CONSTANT = "outcomes do not change among donors before the start: all weights are equal"
_FIRST_ROUND, _SECOND_ROUND = 100, 10_000


def synthetic_did(
    panel: Panel,
    *,
    fit_on: FitOn = None,
    solver: Solver = "frank_wolfe",
    anticipation: int = 0,
    inference: Inference = "placebo",
    draws: int = 200,
    seed: int = 0,
) -> SyntheticEffect:
    """Estimate by difference in differences, with donors and periods weighted.

    Donors are weighted to move in parallel with the treated before the start, periods before
    to predict those after among donors. Weights are fitted once, on ``fit_on``, and serve all
    components. With several starts each cohort is compared with the never treated and cohorts
    are averaged by treated unit-periods.

    Args:
        panel: Observed in full.
        fit_on: A component, a linear combination such as ``{"sales": 0.3, "cost": -1}``, or
            several components, each standardised; may be left out for one component.
        solver: ``frank_wolfe`` stops where the authors' program stops; ``exact`` goes on to
            the optimum, as the draws behind the covariance always do.
        anticipation: Periods before the start that are reported apart.
        inference: ``placebo``, ``bootstrap``, ``jackknife`` (fixed weights) or ``none``.
        draws: Number of draws of placebo and bootstrap.
        seed: Of the draws.

    Returns:
        Effects per treated unit and period, weights and fit; covariance NaN, with a note,
        where the inference is not defined.

    Raises:
        DesignError: No donor, or no two periods before a start.
        DataError: A value is missing.

    References:
        Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), *AER* 111(12), algorithm 1;
        Clarke, Pailanir, Athey and Imbens (2023), arXiv 2301.11859, for several starts.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> sales = np.array([[3.0, 4.0, 5.0, 9.0], [2, 3, 4, 5], [4, 6, 8, 9], [9, 1, 9, 1]])
        >>> panel = Panel.of_arrays(sales, [3, NEVER, NEVER, NEVER])
        >>> found = synthetic_did(panel, solver="exact", inference="none")
        >>> found.effect.value.round(2)
        array([3.12])
    """
    if solver not in {"frank_wolfe", "exact"}:
        raise DesignError(
            f"synthetic_did has solver {solver!r}; it can be 'frank_wolfe' or 'exact'."
        )
    setting = arrange(panel, asked_by="synthetic_did", fit_on=fit_on, anticipation=anticipation)

    def weigh(setting: Setting, block: int, drawn: Draws, main: Weights | None) -> Weights:
        return _weigh(setting, block, drawn, main, exact=solver == "exact")

    kind = "synthetic difference in differences"
    return estimate(
        setting, weigh, Resampling(inference=inference, draws=draws, seed=seed), method=kind
    )


def noise_level(before: Floats) -> float:
    """Return the standard deviation of first differences, before [D, T0, J], pooled over J.

    References:
        Arkhangelsky et al. (2021), *AER* 111(12), equation 5.

    Examples:
        >>> noise_level(np.array([[0.0, 1.0, 4.0]])[:, :, None])
        1.4142135623730951
    """
    steps = np.diff(before, axis=1)
    count = steps.shape[0] * steps.shape[1]
    if count < 2:
        return float(np.sqrt((steps * steps).mean()))
    return float(np.sqrt(steps.var(axis=(0, 1), ddof=1).mean()))


def _weigh(
    setting: Setting, g: int, drawn: Draws, main: Weights | None, *, exact: bool
) -> Weights:
    block = setting.blocks[g]
    size, before = len(drawn.donors), block.before
    # Weights add up to one: taking out each period's mean among donors changes no optimum.
    z = setting.z - setting.z[: setting.donors].mean(axis=0)
    noise = noise_level(setting.z[: setting.donors, :before])
    if noise == 0:
        unit = drawn.donors / drawn.donors.sum(axis=1, keepdims=True)
        return Weights(unit=unit, time=np.full((size, before), 1 / before), note=CONSTANT)
    count = len(block.treated) * (z.shape[1] - block.start)
    unit_zeta, time_zeta = count**0.25 * noise, 1e-6 * noise
    after = z[: setting.donors, block.start :].mean(axis=1, keepdims=True)
    stacked = np.concatenate([z[: setting.donors, :before], after], axis=1)
    own = z[:, :before] - z[:, :before].mean(axis=1, keepdims=True)
    rows = own.reshape(len(own), -1) / np.sqrt(before * z.shape[2])
    if main is None and not exact:
        least = (1e-5 * noise) ** 2
        flat = _periods(stacked, np.ones(setting.donors))
        unit = _two_rounds(
            rows[: setting.donors].T, drawn.treated[g, 0] @ rows, unit_zeta, least
        )
        time = _two_rounds(flat[:, :before], flat[:, before], time_zeta, least)
        return Weights(unit=unit[None], time=time[None])
    unit, time = np.zeros_like(drawn.donors), np.empty((size, before))
    for b, target in enumerate(drawn.treated[g] @ rows):
        kept = drawn.donors[b] > 0
        unit[b, kept] = least_squares(
            rows[: setting.donors][kept].T,
            target,
            ridge=unit_zeta**2 / drawn.donors[b, kept],
            start=None if main is None else _restarted(main.unit[0, kept]),
        )
        flat = _periods(stacked, drawn.donors[b])
        time[b] = least_squares(
            flat[:, :before],
            flat[:, before],
            ridge=time_zeta**2,
            start=None if main is None else main.time[0],
        )
    return Weights(unit=unit, time=time)


def _restarted(weights: Floats) -> Floats | None:
    if not weights.any():
        return None
    out: Floats = weights / weights.sum()
    return out


def _two_rounds(columns: Floats, target: Floats, zeta: float, least: float) -> Floats:
    width = columns.shape[1]
    first = frank_wolfe(
        columns,
        target,
        ridge=zeta**2,
        start=np.full(width, 1 / width),
        min_decrease=least,
        max_steps=_FIRST_ROUND,
    )
    return frank_wolfe(
        columns,
        target,
        ridge=zeta**2,
        start=sparsified(first),
        min_decrease=least,
        max_steps=_SECOND_ROUND,
    )


def _periods(stacked: Floats, count: Floats) -> Floats:
    """Return periods as columns, one row per donor drawn and component, means taken out."""
    kept = count > 0
    rows, times = stacked[kept], count[kept]
    rows = rows - np.tensordot(times, rows, 1) / times.sum()
    rows *= np.sqrt(times / (times.sum() * rows.shape[2]))[:, None, None]
    out: Floats = np.moveaxis(rows, 1, 2).reshape(-1, rows.shape[1])
    return out
