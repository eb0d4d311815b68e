"""Which days are on, how long a block should be, and how small a profit that shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.panel_grain import DAYS
from upliftlab.design.layouts import Choice, Layout
from upliftlab.design.looked import power_of_plan
from upliftlab.errors import DesignError
from upliftlab.panels.switchback import UNPAIRED, draw_switchback, weekday_pairs
from upliftlab.stats.power import detectable, power_of
from upliftlab.stats.schedule_power import carried_over, switchback_std_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.design.series import Series
    from upliftlab.experiment import Experiment

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

WEEK = 7


def pair_blocks(periods: int, length: int, *, daily: bool) -> tuple[Ints, Ints]:
    """Cut periods into blocks and pair them, days of one weekday with each other.

    Args:
        periods: In all.
        length: Periods per block.
        daily: Whether periods are days.

    Returns:
        Block and pair of every period, shape [T] each; -1 for a block without a partner.

    Examples:
        >>> block, pair = pair_blocks(14, 1, daily=True)
        >>> pair.tolist()
        [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6]
        >>> pair_blocks(6, 2, daily=True)[1].tolist()
        [0, 0, 0, 0, -1, -1]
    """
    block = np.arange(periods) // length
    whole = periods // length
    if daily and length == 1:
        pairs = weekday_pairs(np.arange(periods) % WEEK)
        return block, np.asarray(pairs, dtype=np.int64)
    of_block = np.where(np.arange(block.max() + 1) < whole - whole % 2,
                        np.arange(block.max() + 1) // 2, UNPAIRED)  # fmt: skip
    return block, np.asarray(of_block[block], dtype=np.int64)


def switchback_layout(experiment: Experiment, series: Series, *, effect: float) -> Layout:
    """Lay out a switchback, and compare lengths of blocks.

    Args:
        experiment: The plan.
        series: Profit without treatment, one row per product group; groups share the switch.
        effect: Extra profit per unit and period that is asked for, minor units; NaN for none.

    Raises:
        DesignError: When blocks are not longer than their burn-in, or too few.
    """
    power = power_of_plan(experiment)
    days = DAYS[experiment.period or "day"]
    length, burn = max(1, power.block // days), -(-power.burn_in // days)
    lasts = -(-power.lingers // days)
    if burn >= length:
        message = (
            f"blocks of the switchback last {power.block} days and {power.burn_in} of them are "
            "burn-in; blocks must be longer."
        )
        raise DesignError(message)
    periods = _periods(experiment, series, days)
    error, df, block, pair = _precision(series, periods, length, burn, days)
    wanted, alpha = float(power.power), 1 - float(experiment.decide.confidence)
    kept = carried_over(int(block.max()) + 1, length, burn_in=burn, lasts=lasts)
    starts = np.flatnonzero(np.r_[True, np.diff(block) > 0])
    is_on = draw_switchback(pair[starts], seed=power.seed)[0][block]
    since = np.arange(periods) - starts[block]
    left_out = (since < burn) | (pair == UNPAIRED)
    return Layout(
        kind="switchback",
        unit="block",
        period=experiment.period or "day",
        periods=tuple(str(t + 1) for t in range(periods)),
        rows={"the switch": tuple(np.where(left_out, 2, is_on.astype(int)).tolist())},
        std_error=error,
        df=df,
        mde=detectable(error, df=df, alpha=alpha, power=wanted) / kept,
        effect=effect,
        power=power_of(effect * kept, error, df=df, alpha=alpha),
        choices=_choices(experiment, series, effect, periods),
        details={
            "blocks": int(block.max()) + 1,
            "pairs": df + 1,
            "noise per period": float(_mean_noise(series).std()),
            "of it carried to the next period": series.share * series.persistence,
            "standard error": error,
            "of the effect that the comparison shows": kept,
        },
        notes=(
            "A coin decides which block of each pair is on; days are paired by weekday.",
            *(
                (
                    (
                        f"An effect that lingers for {power.lingers} days leaves {kept:.0%} of "
                        "itself in the comparison; the smallest profit seen counts that."
                    ),
                )
                if kept < 1
                else ()
            ),
        ),
    )


def _periods(experiment: Experiment, series: Series, days: int) -> int:
    """Periods of the test: those of the plan, else as many as the pilot has."""
    if experiment.observe is None:
        return len(series.periods)
    return ((experiment.observe.end - experiment.observe.start).days + 1) // days


def _mean_noise(series: Series) -> Floats:
    """The series that all groups share: their mean, less what weekdays add."""
    y = series.y.mean(axis=0)
    return np.asarray(y - y.mean())


def noise_of_days(series: Series, periods: int, days: int) -> tuple[Floats, Floats]:
    """Return what to expect of every period, and the covariance around it.

    Args:
        series: Profit without treatment; groups share the switch, so their mean counts.
        periods: Of the test.
        days: Days per period; single days have a pattern of the week.

    Returns:
        Level [T] and covariance [T, T] of the mean over groups, minor units.

    Raises:
        DesignError: When nothing varies.
    """
    y = series.y.mean(axis=0)
    step = WEEK if days == 1 else 1
    phase = np.arange(len(y)) % step
    pattern = np.array([y[phase == p].mean() for p in range(step)])
    rest = y - pattern[phase]
    lost = max(len(y) - step, 1)
    variance = float((rest**2).sum()) / lost
    follow = float(rest[1:] @ rest[:-1] / (rest @ rest)) if rest.any() else 0.0
    if not variance > 0:
        raise DesignError(
            "profit does not vary from day to day in the pilot; it has no power to plan."
        )
    lag = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
    covariance = variance * np.where(lag == 0, 1.0, max(follow, 0.0) ** np.maximum(lag, 1))
    return pattern[np.arange(periods) % step], covariance


def _precision(
    series: Series, periods: int, length: int, burn: int, days: int
) -> tuple[float, float, Ints, Ints]:
    """Standard error, degrees of freedom, block and pair."""
    level, covariance = noise_of_days(series, periods, days)
    block, pair = pair_blocks(periods, length, daily=days == 1)
    error = switchback_std_error(covariance, block, pair, burn_in=burn, level=level)
    return error, float(len(np.unique(pair[pair != UNPAIRED])) - 1), block, pair


def _choices(
    experiment: Experiment, series: Series, effect: float, periods: int
) -> tuple[Choice, ...]:
    """Lengths of blocks, and product groups with coins of their own."""
    power = power_of_plan(experiment)
    days = DAYS[experiment.period or "day"]
    burn, lasts = -(-power.burn_in // days), -(-power.lingers // days)
    wanted, alpha = float(power.power), 1 - float(experiment.decide.confidence)
    groups = len(series.labels)
    found = []
    for length in (1, 2, 3, 4, 7, 14):
        if length <= burn or periods // length < 4:
            continue
        error, df, block, _ = _precision(series, periods, length, burn, days)
        kept = carried_over(int(block.max()) + 1, length, burn_in=burn, lasts=lasts)
        for own in (
            (False, True) if groups > 1 and length == max(1, power.block // days) else (False,)
        ):
            scale = math.sqrt(groups) if own else 1.0
            # Groups with coins of their own: noise that they do not share averages out.
            spread = error if not own else _own_error(series, periods, length, burn, days)
            freedom = df if not own else groups * (df + 1) - 1
            mde = detectable(spread, df=freedom, alpha=alpha, power=wanted) / kept
            total = mde * periods / 2 * groups
            found.append(
                Choice(
                    label=f"blocks of {length} {experiment.period or 'day'}"
                    + ("s" if length > 1 else "")
                    + (f", {groups} product groups with coins of their own" if own else ""),
                    mde=mde,
                    total=total,
                    share=mde / abs(series.mean) if series.mean else math.nan,
                    power=power_of(effect * kept, spread, df=freedom, alpha=alpha),
                    note="product x time"
                    if scale > 1
                    else ("as planned" if length == max(1, power.block // days) else ""),
                )
            )
    return tuple(sorted(found, key=lambda choice: choice.mde))


def _own_error(series: Series, periods: int, length: int, burn: int, days: int) -> float:
    """Standard error where every group tosses its own coins: groups' errors averaged."""
    from dataclasses import replace

    variances = []
    for row in series.y:
        alone = replace(series, y=row[None])
        variances.append(_precision(alone, periods, length, burn, days)[0] ** 2)
    return math.sqrt(sum(variances)) / len(variances)
