"""What did each test truly earn, and all that was shipped, knowing that winners were picked?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.registry.record import plain
from upliftlab.stats.estimate import Estimate, critical_value, interval, undefined
from upliftlab.stats.false_positives import false_positive_risk, true_success
from upliftlab.stats.multiplicity import bh_threshold, fcr_intervals
from upliftlab.stats.shrinkage import shrink
from upliftlab.stats.winners_curse import conditional, correct_total

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.review.entries import Entries, Entry
    from upliftlab.stats.shrinkage import Shrunken

    Floats = NDArray[np.float64]

POWER = 0.8
RATE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """One arm after looking at all of them.

    Attributes:
        entry: The arm.
        shrunken: Expected true extra profit per unit, credible interval.
        rollout: The same over the units of a roll-out.
        p_positive: Chance that it earns anything, given the whole programme.
        given_shipped: Effect given that the rule picked it; NaN with a note for others.
        adjusted: Effect with false-discovery p-value; interval only where selected.
        weight: What is left of the estimate: shrunken / raw; NaN at 0.
    """

    entry: Entry
    shrunken: Estimate
    rollout: Estimate
    p_positive: float
    given_shipped: Estimate
    adjusted: Estimate
    weight: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """What was shipped, before and after the winner's curse; over roll-out units.

    Attributes:
        n_run: Arms that were read.
        n_shipped: Arms that were shipped.
        n_against_rule: Shipped although the rule said no, or held back although it said yes.
        naive: Sum of the raw estimates of what was shipped.
        corrected: Its true sum by the flexible prior: what a review prints.
        lee_shen: By subtraction over all that ran; assumes that the rule alone decided.
        factor: Naive over corrected; NaN where the corrected total is not above 0.
    """

    n_run: int
    n_shipped: int
    n_against_rule: int
    naive: Estimate
    corrected: Estimate
    lee_shen: Estimate
    factor: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class FalsePositives:
    """How many of the wins are nothing.

    Attributes:
        wins: Arms significantly above 0.
        win_rate: Share of all arms.
        prior_success: Share of arms that truly earn, from the win rate.
        risk: Chance that a win is nothing, at 80 % power.
        expected_false: Wins that earn nothing, by the flexible prior.
        discoveries: Arms selected at a false discovery rate of 5 %.
        threshold: Largest p-value selected.
    """

    wins: int
    win_rate: float
    prior_success: float
    risk: float
    expected_false: float
    discoveries: int
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Belief:
    """The whole programme, shrunken together.

    Attributes:
        rows: One per arm, in the order of the programme.
        shipped: Corrected total of what was shipped.
        false_positives: How many wins are nothing.
        fits: Unit -> the fitted prior.
        notes: What a reader must know.
    """

    rows: tuple[Believed, ...]
    shipped: Shipped
    false_positives: FalsePositives
    fits: dict[str, Shrunken]
    notes: tuple[str, ...] = ()


def believe(programme: Entries, *, hurdle: float = 0.0, level: float = 0.95) -> Belief:
    """Shrink all arms together and correct the total of what was shipped.

    Arms of one unit (customer, creator ...) are alike: as a share of control's GMV per unit
    where every arm knows it, else in money per unit.

    Args:
        programme: All arms that were read, shipped or not.
        hurdle: Least worthwhile extra profit per unit of the shipping rule, minor units.
        level: Of the intervals.
    """
    n = len(programme.entries)
    groups: dict[str, list[int]] = {}
    for i, entry in enumerate(programme.entries):
        groups.setdefault(entry.unit, []).append(i)
    fits, notes = {}, []
    mean, draws = np.array(programme.value), []
    shrunken: list[Estimate] = [undefined("profit", "too few tests to shrink")] * n
    positive = np.full(n, math.nan)
    for unit, at in groups.items():
        part = programme.take(at)
        fit = shrink(
            part.value, part.std_error, scale=_scale(part), blocks=part.blocks, level=level
        )
        fits[unit] = fit
        mean[at], positive[at] = fit.mean, fit.p_positive
        for j, i in enumerate(at):
            shrunken[i] = _shrunken(fit, j, programme.entries[i].profit)
        if len(at) < 3:
            notes.append(f"fewer than three arms per {unit}: not corrected by shrinkage")
        draws.append((at, fit))
    weights = np.array([e.rollout_n for e in programme.entries], dtype=float)
    return Belief(
        rows=_rows(programme, shrunken, positive, hurdle),
        shipped=_shipped(programme, draws, weights, hurdle, level),
        false_positives=_false_positives(programme, positive),
        fits=fits,
        notes=tuple(notes),
    )


def threshold_of(entry: Entry, hurdle: float) -> float:
    """The rule in use as b: lower end of the interval above the hurdle, in standard errors."""
    profit = entry.profit
    return critical_value(df=profit.df, level=profit.level) + hurdle / profit.std_error


def _scale(part: Entries) -> Floats:
    baseline = np.array([e.baseline for e in part.entries])
    if len(baseline) and (np.isfinite(baseline) & (baseline > 0)).all():
        out: Floats = baseline / np.exp(np.log(baseline).mean())
        return out
    return np.ones(len(part.entries))


def _shrunken(fit: Shrunken, j: int, raw: Estimate) -> Estimate:
    found = replace(
        raw, estimate=float(fit.mean[j]), std_error=float(fit.sd[j]), p_value=math.nan
    )
    low, high = float(fit.ci_low[j]), float(fit.ci_high[j])
    if math.isnan(low):
        return replace(raw, note="too few tests to shrink")
    return replace(
        found,
        ci_low=low,
        ci_high=high,
        df=math.inf,
        level=fit.level,
        note="",
        rel_estimate=math.nan,
        rel_ci_low=math.nan,
        rel_ci_high=math.nan,
    )


def _rows(
    programme: Entries, shrunken: list[Estimate], positive: Floats, hurdle: float
) -> tuple[Believed, ...]:
    adjusted = fcr_intervals([e.profit for e in programme.entries], q=RATE)
    out = []
    for i, entry in enumerate(programme.entries):
        raw = entry.profit.estimate
        given = conditional(
            raw, entry.profit.std_error, threshold_of(entry, hurdle), name=entry.key
        )
        out.append(
            Believed(
                entry=entry,
                shrunken=shrunken[i],
                rollout=shrunken[i].scaled(entry.rollout_n or 1, name=entry.key),
                p_positive=float(positive[i]),
                given_shipped=given,
                adjusted=adjusted[i],
                weight=shrunken[i].estimate / raw if raw else math.nan,
            )
        )
    return tuple(out)


def _shipped(
    programme: Entries,
    draws: list[tuple[list[int], Shrunken]],
    weights: Floats,
    hurdle: float,
    level: float,
) -> Shipped:
    entries = programme.entries
    picked = np.array([e.is_shipped for e in entries], dtype=bool)
    b = np.array([threshold_of(e, hurdle) for e in entries])
    rule = programme.value > b * programme.std_error if len(entries) else picked
    name = "total of what was shipped"
    naive = programme.total(weights * picked, name=name, level=level) if picked.any() else None
    corrected = _corrected(draws, picked, weights, name, level)
    # A unit gets one treatment: what would ship beside a better one is no choice of the rule.
    own = [i for i, entry in enumerate(entries) if not entry.is_rival]
    w = weights[own]
    lee_shen = correct_total(
        programme.value[own] * w, programme.std_error[own] * w, b[own], level=level, name=name
    ).corrected
    against = int((picked != rule)[own].sum())
    missing = undefined(name, "nothing was shipped", level=level)
    if not picked.any():
        lee_shen = missing
    elif against:
        note = f"{against} arms were decided against the rule, which this correction assumes"
        lee_shen = replace(lee_shen, note=note)
    naive = naive or missing
    good = corrected.estimate > 0
    return Shipped(
        n_run=len(entries),
        n_shipped=int(picked.sum()),
        n_against_rule=against,
        naive=naive,
        corrected=corrected,
        lee_shen=lee_shen,
        factor=naive.estimate / corrected.estimate if good else math.nan,
    )


def _corrected(
    draws: list[tuple[list[int], Shrunken]],
    picked: NDArray[np.bool_],
    weights: Floats,
    name: str,
    level: float,
) -> Estimate:
    """Posterior of the sum: units are fitted apart, so their draws add independently."""
    parts = [
        fit.total(picked[at], weights=weights[at], name=name)
        for at, fit in draws
        if picked[at].any()
    ]
    if not parts:
        return undefined(name, "nothing was shipped", level=level)
    if len(parts) == 1:
        return parts[0]
    if any(not part.std_error > 0 for part in parts):
        return undefined(name, "too few tests of one unit to correct", level=level)
    total = sum(part.estimate for part in parts)
    return interval(name, total, sum(part.std_error**2 for part in parts), level=level)


def _false_positives(programme: Entries, positive: Floats) -> FalsePositives:
    above = np.array([e.profit.is_above_zero for e in programme.entries], dtype=bool)
    wins, n = int(above.sum()), len(above)
    rate = wins / n if n else math.nan
    success = true_success(rate, power=POWER) if n else math.nan
    p = [e.profit.p_value for e in programme.entries]
    limit = bh_threshold(p, RATE)
    return FalsePositives(
        wins=wins,
        win_rate=rate,
        prior_success=success,
        risk=false_positive_risk(success, power=POWER) if n else math.nan,
        expected_false=float((1 - positive[above]).sum()) if wins else 0.0,
        discoveries=sum(1 for each in p if each <= limit) if limit > 0 else 0,
        threshold=limit,
    )
