"""What does one set of donor weights say about every line of the ledger?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.panels import placebos
from upliftlab.panels.synthetic_effect import Cohort, Fit, Readings, Spread, SyntheticEffect

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from upliftlab.panels.donors import Setting
    from upliftlab.panels.placebos import Draws, Inference
    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Weigher = Callable[[Setting, int, Draws, "Weights | None"], "Weights"]

PERFECT_FIT = (
    "donors reproduce the treated before the start to rounding: weights are not unique"
)
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Weights of donors and of periods before the start, for B draws.

    Attributes:
        unit: Donor weights, each row adds up to one, shape [B, D].
        time: Period weights: they add up to one where a level difference between treated and
            donors is taken out, and are zero where it is not, shape [B, before].
        note: What a reader must know about them.
    """

    unit: Floats
    time: Floats
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How the covariance is to be estimated.

    Attributes:
        inference: ``placebo``, ``bootstrap``, ``jackknife`` or ``none``.
        draws: Number of draws of placebo and bootstrap.
        seed: Of the draws.
    """

    inference: Inference = "placebo"
    draws: int = 200
    seed: int = 0


def estimate(
    setting: Setting, weigher: Weigher, how: Resampling, *, method: str
) -> SyntheticEffect:
    """Weigh, apply the weights to all components at once, and repeat for the draws.

    Cohorts are averaged by treated unit-periods. The same draws serve all components and all
    cohorts, so their covariance is joint.

    Args:
        setting: Donors, blocks and what to fit on.
        weigher: Finds the weights of a block from the setting, the number of the block, the
            draws, and the weights of what did happen once they are known.
        how: Kind and number of draws.
        method: What it is called, in reader's words.

    Returns:
        The effects; covariance NaN, with a note, where the inference is not defined.

    Raises:
        DesignError: An unknown inference, fewer than two draws, or a start without weight.

    References:
        Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021), *AER* 111(12), equation 2 and
        algorithms 2 to 4; Clarke, Pailanir, Athey and Imbens (2023), for several starts.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> from upliftlab.panels.donors import arrange
        >>> panel = Panel.of_arrays(np.arange(12.0).reshape(3, 4), [2, NEVER, NEVER])
        >>> def equal(setting, block, draws, main):
        ...     share = draws.donors / draws.donors.sum(axis=1, keepdims=True)
        ...     return Weights(unit=share, time=np.full((len(share), 2), 0.5))
        >>> found = estimate(arrange(panel, asked_by="example"), equal, Resampling(),
        ...                  method="difference in differences")
        >>> found.effect.value, found.cohorts[0].unit_weights
        (array([0.]), array([0.5, 0.5]))
    """
    once = placebos.observed(setting)
    if (once.mass <= 0).any():
        raise DesignError(f"{method} found a start whose units weigh 0; weigh some above 0.")
    blocks = range(len(setting.blocks))
    main = [weigher(setting, g, once, None) for g in blocks]
    point, gaps = _read(setting, once, main)
    draws = _draws(setting, how)
    if how.inference == "jackknife":
        again = [_kept(each, draws) for each in main]
    else:
        again = [weigher(setting, g, draws, main[g]) for g in blocks]
    values, _ = _read(setting, draws, again)
    spread = Spread(
        size=tuple(float(each) for each in np.abs(setting.y).max(axis=(0, 1))),
        factor=len(draws.donors) - 1.0 if how.inference == "jackknife" else 1.0,
        df=draws.df,
    )
    mass = once.mass[:, 0] * [len(setting.periods) - block.start for block in setting.blocks]
    seen = sum(m * _seen(setting, once, g) for g, m in enumerate(mass)) / mass.sum()
    leads = any(block.before < block.start for block in setting.blocks)
    names = setting.names
    cohorts = tuple(
        _cohort(setting, g, float(once.mass[g, 0]), main[g], gaps[g]) for g in blocks
    )
    effect = spread.joint(names, point.effect, values.effect)
    return SyntheticEffect(
        effect=effect,
        anticipated=spread.joint(names, point.lead, values.lead) if leads else None,
        counterfactual=seen - point.effect[0],
        unit_periods=float(mass.sum()),
        cohorts=cohorts,
        observed=point,
        draws=values,
        spread=spread,
        periods=setting.periods,
        method=method,
        fitted_on=setting.fitted_on,
        inference=draws.note,
        seed=how.seed,
        note=_notes(setting, cohorts, main, effect, how.inference, made=len(draws.donors)),
    )


def _read(
    setting: Setting, draws: Draws, weights: list[Weights]
) -> tuple[Readings, list[Floats]]:
    """Return what is read off the weights, and the gaps per block, each [B, T, K]."""
    count, length, width = setting.y.shape
    flat = setting.y.reshape(count, length * width)
    size, blocks = len(draws.donors), setting.blocks
    reach = length - blocks[0].start
    sums, masses = np.zeros((size, reach, width)), np.zeros((size, reach))
    lead, lead_mass = np.zeros((size, width)), np.zeros(size)
    cohort = np.empty((size, len(blocks), width))
    gaps = []
    for g, (block, each) in enumerate(zip(blocks, weights, strict=True)):
        mixture = draws.treated[g].copy()
        mixture[:, : setting.donors] -= each.unit
        series = (mixture @ flat).reshape(size, length, width)
        level = np.einsum("bt,btk->bk", each.time, series[:, : block.before])
        gap = series - level[:, None, :]
        mass = draws.mass[g]
        after = slice(0, length - block.start)
        sums[:, after] += mass[:, None, None] * gap[:, block.start :]
        masses[:, after] += mass[:, None]
        early = gap[:, block.before : block.start]
        lead += mass[:, None] * early.sum(axis=1)
        lead_mass += mass * early.shape[1]
        cohort[:, g] = np.where(mass[:, None] > 0, gap[:, block.start :].mean(axis=1), np.nan)
        gaps.append(gap)
    readings = Readings(
        effect=sums.sum(axis=1) / masses.sum(axis=1)[:, None],
        lead=lead / np.where(lead_mass > 0, lead_mass, 1.0)[:, None],
        horizon=sums / np.where(masses > 0, masses, np.nan)[:, :, None],
        cohort=cohort,
    )
    return readings, gaps


def _draws(setting: Setting, how: Resampling) -> Draws:
    known = ("placebo", "bootstrap", "jackknife", "none")
    if how.inference not in known:
        raise DesignError(f"inference is {how.inference!r}; it can be one of {list(known)}.")
    if how.inference == "jackknife":
        return placebos.leave_one_out(setting)
    if how.inference == "none":
        return placebos.observed(setting).part(slice(0))
    if how.draws < 2:
        raise DesignError(f"inference has {how.draws} draws; write 2 or more, such as 200.")
    make = placebos.placebo if how.inference == "placebo" else placebos.bootstrap
    return make(setting, draws=how.draws, seed=how.seed)


def _kept(main: Weights, draws: Draws) -> Weights:
    """Weights of what did happen, scaled to the donors that are left; NaN where none is."""
    unit = main.unit * draws.donors
    total = unit.sum(axis=1, keepdims=True)
    unit = np.where(total != 0, unit / np.where(total != 0, total, 1.0), np.nan)
    return Weights(unit=unit, time=np.repeat(main.time, len(unit), axis=0))


def _cohort(setting: Setting, g: int, mass: float, weights: Weights, gap: Floats) -> Cohort:
    block = setting.blocks[g]
    return Cohort(
        start=block.start,
        treated=setting.unit[block.treated],
        donors=setting.unit[: setting.donors],
        unit_weights=weights.unit[0],
        time_weights=weights.time[0],
        gap=gap[0],
        effect=gap[0, block.start :].mean(axis=0),
        mass=mass,
        fit=_fit(setting, g, weights),
    )


def _fit(setting: Setting, g: int, weights: Weights) -> Fit:
    block, count = setting.blocks[g], setting.donors
    share = setting.weight[block.treated] / setting.weight[block.treated].sum()
    levels = bool(weights.time.any())

    def gap(outcome: Floats, unit: Floats) -> Floats:
        before = outcome[:, : block.before]
        out: Floats = np.tensordot(share, before[block.treated], 1)
        out = out - np.tensordot(unit, before[:count], 1)
        return out - out.mean(axis=0) if levels else out

    l2 = float(np.linalg.norm(gap(setting.z, weights.unit[0])))
    equal = float(np.linalg.norm(gap(setting.z, np.full(count, 1.0 / count))))
    scaled = l2 / equal if equal > 0 else float("nan")
    rmse = np.sqrt((gap(setting.y, weights.unit[0]) ** 2).mean(axis=0))
    return Fit(rmse=rmse, l2=l2, scaled_l2=scaled, improvement_pct=100 * (1 - scaled))


def _seen(setting: Setting, once: Draws, g: int) -> Floats:
    """Mean outcome of a block's treated units from their start on, shape [K]."""
    after = setting.y[:, setting.blocks[g].start :].mean(axis=1)
    out: Floats = once.treated[g, 0] @ after
    return out


def _notes(
    setting: Setting,
    cohorts: tuple[Cohort, ...],
    main: list[Weights],
    effect: Joint,
    inference: Inference,
    *,
    made: int,
) -> str:
    notes = list(dict.fromkeys(each.note for each in main if each.note))
    size = float(np.abs(setting.z).max())
    if any(each.fit.l2 <= _ROUNDING * size for each in cohorts) and setting.donors > 1:
        notes.append(PERFECT_FIT)
    variance = np.diag(effect.cov)
    still = [name for name, each in zip(setting.names, variance, strict=True) if each == 0]
    if still:
        kind = "donors have" if inference == "placebo" else "draws have"
        notes.append(f"{', '.join(still)}: all {kind} the same value, so it counts as known")
    if made and np.isnan(variance).any():
        notes.append("one donor has all the weight, so it cannot be left out: no variance")
    return "; ".join(notes)
