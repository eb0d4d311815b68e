"""How often would chance alone have drawn a roll-out that looks this good?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.assignment.scheme import AssignmentScheme
from upliftlab.data.panel import NEVER
from upliftlab.errors import DataError, DesignError
from upliftlab.panels.cohort_forms import (
    AdjustedDifference,
    Base,
    Controls,
    Statistic,
    functional_names,
    group_time_forms,
    orthonormal,
)
from upliftlab.panels.resampled import Pivots, Resampled, inverted
from upliftlab.stats.estimate import NAN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.assignment.scheme import Reassignment
    from upliftlab.data.panel import Panel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

ADDITIVITY = "intervals of lines do not add up to the interval of their sum"


def randomisation_inference(
    y: Floats,
    scheme: Reassignment,
    statistic: Statistic,
    *,
    names: Sequence[str],
    draws: int = 999,
    seed: int = 0,
    level: float = 0.95,
) -> Resampled:
    """Return p-values, intervals and band from re-assignments of the clusters.

    Values tau of a constant effect from the start on are tested: y - tau treated is the same
    under every assignment if tau is right. The p-value against no effect at all is exact.

    Args:
        y: Cluster outcomes, shape [G, T, K]; NaN is not allowed.
        scheme: How clusters were assigned, with what was drawn.
        statistic: Estimates and variances under many assignments.
        names: Components, K in all.
        draws: Re-assignments beside the observed one, where not all.
        seed: Of the re-assignments.
        level: Confidence level.

    Returns:
        One estimate per functional and component ("component", "component@e3"); NaN interval
        with a note where the smallest attainable p-value exceeds 1 - level. Inference is for
        each functional alone: intervals of lines do not add up.

    Raises:
        DataError: When outcomes are missing.
        DesignError: When the statistic does not return 1 for the indicator of treatment.

    References:
        Fisher (1935); Rosenbaum (2002), *Observational Studies* (inversion); Wu
        and Ding (2021), *JASA* 116(536): studentised statistics also hold for mean effects in
        large samples.

    Examples:
        >>> start = [1, 1, 1, 1, NEVER, NEVER, NEVER, NEVER]
        >>> gain = np.array([2.9, 3.2, 3.0, 3.3, 0.1, 0.0, 0.3, -0.2])
        >>> y = np.stack([np.zeros(8), gain], axis=1)[:, :, None]
        >>> result = randomisation_inference(
        ...     y, AssignmentScheme.of(start), group_time_forms(start, 2), names=["gmv"])
        >>> effect = result["gmv"]
        >>> f"{effect.estimate:.2f} [{effect.ci_low:.2f}, {effect.ci_high:.2f}]"
        '3.05 [2.60, 3.50]'
        >>> round(effect.p_value, 4), result.draws, result.is_exact
        (0.0286, 70, True)
    """
    if not np.isfinite(y).all():
        gaps = int((~np.isfinite(y)).any(axis=(1, 2)).sum())
        message = (
            f"re-assignment found {gaps} clusters with missing outcomes; every cluster needs "
            "every period."
        )
        raise DataError(message)
    starts, exact = scheme.draws(draws, seed)
    note = ADDITIVITY if len(names) > 1 else ""
    if scheme.shares_differ:
        note = "; ".join(
            [*filter(None, [note]), "blocks hold their starts in different shares"]
        )
    pivots = _pivots(y, scheme, starts, statistic, functional_names(statistic.forms, names))
    return inverted(pivots, level=level, is_exact=exact, note=note)


def roll_out(
    panel: Panel,
    *,
    scheme: Reassignment | None = None,
    controls: Controls = "never",
    base: Base = "last",
    anticipation: int = 0,
    horizons: Sequence[int] = (),
    draws: int = 999,
    seed: int = 0,
    level: float = 0.95,
) -> Resampled:
    """Return the effect of a randomised roll-out on cluster means, by re-assignment.

    For a stepped wedge, where all clusters start in the end, use ``controls="not_yet"``. Each
    cluster counts alike; pass cluster totals as a panel of its own for effects on totals.

    Args:
        panel: Balanced; clusters were assigned whole.
        scheme: How; complete randomisation of the panel's clusters by default.
        controls: See ``group_time_forms``, as are the next three.
        base: The base of changes.
        anticipation: Periods left out before the start.
        horizons: Event times that get their own estimate.
        draws: Re-assignments.
        seed: Of the re-assignments.
        level: Confidence level.

    Returns:
        See ``randomisation_inference``.

    Raises:
        DesignError: When no cell has a control.

    References:
        Hussey and Hughes (2007), *Contemporary Clinical Trials* 28(2), for the stepped wedge.

    Examples:
        >>> from upliftlab.data.panel import Panel
        >>> y = np.random.default_rng(1).normal(size=(9, 5))
        >>> wedge = Panel.of_arrays(y, [1, 1, 1, 2, 2, 2, 4, 4, 4])
        >>> roll_out(wedge, controls="not_yet").draws
        1000
    """
    means = cluster_means(panel)
    plan: Reassignment = AssignmentScheme.of_panel(panel) if scheme is None else scheme
    statistic = group_time_forms(
        plan.start,
        means.shape[1],
        controls=controls,
        base=base,
        anticipation=anticipation,
        horizons=horizons,
    )
    return randomisation_inference(
        means, plan, statistic, names=panel.names, draws=draws, seed=seed, level=level
    )


def single_wave(
    panel: Panel,
    *,
    scheme: AssignmentScheme | None = None,
    adjust: Literal["change", "covariate"] = "change",
    weigh: Literal["cluster", "unit"] = "cluster",
    draws: int = 999,
    seed: int = 0,
    level: float = 0.95,
) -> Resampled:
    """Return treated minus untreated clusters in one wave, by re-assignment.

    The pre-period enters as the base of changes or as covariates: the pre-period means of all
    components, the same for each component, so that estimates of lines add up. Blocks of the
    scheme are covariates too.

    Args:
        panel: Balanced; one start and never-treated clusters.
        scheme: How clusters were assigned; complete randomisation by default.
        adjust: "change" subtracts each cluster's pre-period mean; "covariate" is ANCOVA.
        weigh: Whether clusters count alike, or by the weights of their units.
        draws: Re-assignments.
        seed: Of the re-assignments.
        level: Confidence level.

    Returns:
        One estimate per component; see ``randomisation_inference``.

    Raises:
        DesignError: When clusters start at several times, or covariates leave no freedom.

    References:
        McKenzie (2012), *Journal of Development Economics* 99(2), for ANCOVA; Freedman (2008),
        *Advances in Applied Mathematics* 40(2), and Lin (2013), *Annals of Applied Statistics*
        7(1), for its meaning under randomisation.

    Examples:
        >>> from upliftlab.data.panel import Panel
        >>> y = np.random.default_rng(2).normal(size=(12, 4))
        >>> wave = Panel.of_arrays(y, [2] * 6 + [NEVER] * 6)
        >>> single_wave(wave).draws, single_wave(wave).is_exact
        (924, True)
    """
    means = cluster_means(panel)
    plan = AssignmentScheme.of_panel(panel) if scheme is None else scheme
    starts = [g for g in plan.cohorts if g != NEVER]
    if len(starts) != 1 or NEVER not in plan.cohorts or starts[0] < 1:
        message = (
            f"a single wave found starts {starts}; it needs one start after the first period "
            "and never-treated clusters, otherwise use roll_out."
        )
        raise DesignError(message)
    before, after = means[:, : starts[0]].mean(axis=1), means[:, starts[0] :].mean(axis=1)
    blocks = (plan.block[:, None] == np.unique(plan.block)[None, :]).astype(np.float64)
    x = blocks if adjust == "change" else np.column_stack([blocks, before])
    rank = orthonormal(x).shape[1]
    if len(means) - rank < 3:
        message = (
            f"a single wave adjusts {len(means)} clusters for {rank} covariates; at least 3 "
            "degrees of freedom must be left: use adjust='change' or fewer components."
        )
        raise DesignError(message)
    size = np.ones(len(means))
    if weigh == "unit":
        size = np.zeros(len(means))
        np.add.at(size, panel.cluster, panel.weight)
    outcome = (after - before if adjust == "change" else after)[:, None, :]
    wave = replace(plan, start=np.where(plan.start == NEVER, NEVER, 0))
    return randomisation_inference(
        outcome,
        wave,
        AdjustedDifference(x=x, size=size),
        names=panel.names,
        draws=draws,
        seed=seed,
        level=level,
    )


def cluster_means(panel: Panel) -> Floats:
    """Return weighted means per cluster, period and component, shape [G, T, K].

    Raises:
        DataError: When a unit was not observed in some period.

    Examples:
        >>> from upliftlab.data.panel import Panel
        >>> panel = Panel.of_arrays(np.array([[1.0], [3.0]]), [NEVER, NEVER], cluster=[0, 0])
        >>> cluster_means(panel)[:, :, 0]
        array([[2.]])
    """
    if not panel.is_balanced:
        gaps = int(np.isnan(panel.y).any(axis=(1, 2)).sum())
        message = (
            f"cluster means found {gaps} units that were not observed in every period; "
            "re-assignment needs a balanced panel: select the others."
        )
        raise DataError(message)
    count = int(panel.cluster.max()) + 1
    total = np.zeros((count, *panel.y.shape[1:]))
    np.add.at(total, panel.cluster, panel.y * panel.weight[:, None, None])
    out: Floats = total / np.bincount(panel.cluster, panel.weight, count)[:, None, None]
    return out


def _pivots(
    y: Floats,
    scheme: Reassignment,
    starts: Ints,
    statistic: Statistic,
    names: tuple[str, ...],
) -> Pivots:
    """Moments of y less its estimated effect, of treatment, and of both: t at any distance.

    With a the distance of a functional from its headline, y - tau D is (y - headline D) +
    (u se - a) D: estimate and variance are polynomials in u.
    """
    treated = scheme.treated(y.shape[1])[:, :, None]
    _check_indicator(statistic, treated, starts[:1])
    value, variance = statistic(y, starts[:1])
    headline, se = value[0, 0], np.sqrt(variance[0])
    # What rounding leaves of a constant outcome is no standard error.
    se = np.where(se > 1e-12 * np.abs(y).max(axis=(0, 1)), se, 0.0)
    # One unit of treatment is one standard error: the cross moment then loses no digits.
    scale = np.where(se > 0, se, 1.0).max(axis=0)
    rest, unit = y - treated * headline, np.broadcast_to(treated * scale, y.shape)
    shift, v0 = statistic(rest, starts)
    slope, v2 = statistic(unit, starts)
    v1 = statistic(rest + unit, starts)[1] - v0 - v2
    se = np.where(se > 0, se, NAN)
    a = (value[0] - headline) / se
    per_draw, own, cross = slope / scale, v2 / scale**2, v1 / scale / se
    flat = (len(starts), value[0].size)
    return Pivots(
        names=names,
        estimate=value[0].ravel(),
        std_error=se.ravel(),
        shift=(shift / se - a * per_draw).reshape(flat),
        slope=per_draw.reshape(flat),
        v0=(v0 / se**2 - a * cross + a**2 * own).reshape(flat),
        v1=(cross - 2 * a * own).reshape(flat),
        v2=own.reshape(flat),
    )


def _check_indicator(statistic: Statistic, treated: Floats, start: Ints) -> None:
    value, variance = statistic(treated, start)
    if np.abs(value - 1).max() > 1e-8 or not variance.max() < 1e-8:
        message = (
            f"the statistic returns {np.unique(value.round(6)).tolist()} for the indicator of "
            "treatment; only estimates of a post-adoption effect, which return 1 with no "
            "variance, can be inverted."
        )
        raise DesignError(message)
