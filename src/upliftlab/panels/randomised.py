"""What did a roll-out do whose start dates were drawn at random?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.errors import DesignError
from upliftlab.panels.fits import sum_rows
from upliftlab.panels.two_way import FEW_CLUSTERS, Opinion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

By = Literal["simple", "cohort", "calendar", "eventstudy"]
Adjustment = Literal["efficient", "callaway_santanna", "sun_abraham", "none"]
Errors = Literal["adjusted", "neyman"]

ASKED_BY = "an estimate for randomised roll-outs"
EXCEEDS = "the adjustment exceeds Neyman's variance; Neyman's is shown"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Permutation:
    """A Fisher test of no effect on any unit, by redrawing start dates.

    Attributes:
        names: One per estimate, m in all.
        statistic: Estimate over its standard error, shape [m].
        p_value: Share of draws, the observed one included, that are as extreme, shape [m].
        draws: Redrawn assignments.
        seed: Seed of the draws.
    """

    names: tuple[str, ...]
    statistic: Floats
    p_value: Floats
    draws: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cohorts:
    """Assigned units (or clusters) in order, with what each cohort is."""

    y: Floats  # [N, T, K]
    code: Ints  # cohort of each unit, [N]
    starts: Ints  # start of each cohort, the never-treated last, [C]
    size: Floats  # units per cohort, [C]


def randomised(
    panel: Panel,
    *,
    by: By = "simple",
    adjustment: Adjustment = "efficient",
    errors: Errors = "neyman",
    horizons: Sequence[int] | None = None,
    price: Sequence[float] | None = None,
) -> Opinion:
    """Estimate average effects of a roll-out whose start dates were randomised.

    Effects are differences of cohort means after treatment less a coefficient times the same
    differences before it. Difference-in-differences sets the coefficient to 1; random timing
    allows any, and "efficient" takes the one with least variance. Needs random start dates and
    no anticipation. Where clusters were assigned their means are the units. Errors come from
    the assignment: "neyman" is conservative; "adjusted" takes out the part of effect
    heterogeneity that outcomes before the first start predict, is the headline of the authors'
    package, and is a little short with few units and equal effects. t intervals with
    Satterthwaite degrees of freedom over cohorts.

    Args:
        panel: Balanced; unit weights only make the means of clusters.
        by: "simple" over cells with controls; "cohort", "calendar": averages of averages;
            "eventstudy": one estimate per horizon.
        adjustment: "efficient"; "callaway_santanna" and "sun_abraham" (controls only from the
            last cohort) have coefficient 1, "none" has 0.
        errors: Which standard error.
        horizons: Of "eventstudy"; all that exist by default, -1 and less are placebos.
        price: Weights [K] of a profit whose variance is to be least: all components then share
            its coefficient and add up. By default each component has its own.

    Returns:
        One estimate per component, or per component and horizon, as ``component@e0``.

    Raises:
        DesignError: When the panel is not balanced, a cluster has several starts, or no cohort
            has a period with controls.

    References:
        Roth and Sant'Anna (2023), *Journal of Political Economy: Microeconomics* 1(4),
        equations 4-6, propositions 1 and 2.

    Examples:
        >>> from upliftlab.data.panel import Panel
        >>> y = np.array([[1.0, 4.0], [2.0, 5.5], [1.0, 2.0], [3.0, 4.5]])
        >>> panel = Panel.of_arrays(y, [1, 1, NEVER, NEVER])
        >>> randomised(panel, adjustment="callaway_santanna").value.round(6)
        array([2.])
    """
    assigned, notes = _assigned(
        panel, drop_first=adjustment in {"callaway_santanna", "sun_abraham"}
    )
    labels, after, before = _contrasts(assigned, by, horizons, last=adjustment == "sun_abraham")
    unit_price = None if price is None else _price(price, panel)
    value, sums = _estimate(assigned, after, before, adjustment, unit_price)
    cov = sums.T @ sums
    if errors == "adjusted":
        cov, said = _adjusted(assigned, after, cov, unit_price)
        notes = (*notes, *said)
    units = len(assigned.y)
    if units < FEW_CLUSTERS:
        notes = (*notes, f"{units} assigned units: prefer the permutation test")
    flat = value.T.reshape(-1)
    return Opinion(
        names=tuple(
            f"{name}@{label}" if label else name for name in panel.names for label in labels
        ),
        value=flat,
        cov=cov,
        df=_degrees(assigned, sums),
        method=f"randomised roll-out, {adjustment}, {errors} errors",
        clusters=units,
        notes=notes,
    )


def permutation_test(
    panel: Panel,
    *,
    by: By = "simple",
    adjustment: Adjustment = "efficient",
    errors: Errors = "neyman",
    horizons: Sequence[int] | None = None,
    price: Sequence[float] | None = None,
    draws: int = 999,
    seed: int = 0,
) -> Permutation:
    """Redraw start dates over units (or clusters) and compare studentised estimates.

    Exact for the hypothesis of no effect on any unit; asymptotically valid for no average
    effect, because the statistic is studentised.

    Args:
        panel: As in :func:`randomised`, like the other arguments.
        by: Which average.
        adjustment: Which coefficient; an efficient one is estimated anew in every draw.
        errors: Which standard error.
        horizons: Of "eventstudy".
        price: Weights of the profit whose coefficient is shared.
        draws: How many assignments; the smallest p-value is 1 / (draws + 1).
        seed: Seed of the draws.

    Returns:
        A p-value per estimate; NaN where the estimate has no standard error.

    Raises:
        DesignError: As in :func:`randomised`.

    References:
        Roth and Sant'Anna (2023), section 3.3; Wu and Ding (2021), *JASA* 116(536).

    Examples:
        >>> from upliftlab.data.panel import Panel
        >>> y = np.random.default_rng(0).normal(size=(8, 2)) + np.eye(2)[1] * 9
        >>> y[:4, 1] += 9
        >>> found = permutation_test(Panel.of_arrays(y, [1] * 4 + [NEVER] * 4), draws=99)
        >>> found.names, round(float(found.p_value[0]), 2)
        (('y',), 0.05)
    """
    assigned, _ = _assigned(
        panel, drop_first=adjustment in {"callaway_santanna", "sun_abraham"}
    )
    labels, after, before = _contrasts(assigned, by, horizons, last=adjustment == "sun_abraham")
    unit_price = None if price is None else _price(price, panel)
    rng = np.random.default_rng(seed)

    def statistic(code: Ints) -> Floats:
        drawn = replace(assigned, code=code)
        value, sums = _estimate(drawn, after, before, adjustment, unit_price)
        cov = sums.T @ sums
        if errors == "adjusted":
            cov, _ = _adjusted(drawn, after, cov, unit_price)
        variance = np.diag(cov)
        flat = value.T.reshape(-1)
        return np.divide(
            flat,
            np.sqrt(np.maximum(variance, 0)),
            out=np.full_like(flat, np.nan),
            where=variance > 0,
        )

    seen = statistic(assigned.code)
    extreme = np.zeros(len(seen))
    for _ in range(draws):
        drawn = statistic(rng.permutation(assigned.code))
        # Equal up to rounding counts as extreme: an exact test may not lose its ties.
        extreme += np.abs(drawn) >= np.abs(seen) * (1 - 1e-10)
    p_value = np.where(np.isnan(seen), np.nan, (1 + extreme) / (1 + draws))
    names = tuple(
        f"{name}@{label}" if label else name for name in panel.names for label in labels
    )
    return Permutation(names=names, statistic=seen, p_value=p_value, draws=draws, seed=seed)


def _assigned(panel: Panel, *, drop_first: bool) -> tuple[_Cohorts, tuple[str, ...]]:
    """Means of clusters as units; cohorts of one unit have no variance and are left out."""
    use = panel.weight > 0
    y, weight = panel.y[use], panel.weight[use]
    start, cluster = panel.start[use], panel.cluster[use]
    if np.isnan(y).any():
        raise DesignError(
            f"{ASKED_BY} needs a balanced panel; {int(np.isnan(y).any(axis=(1, 2)).sum())} "
            "unit(s) are not observed in every period. Keep units that are, and say so."
        )
    start = np.where(start >= y.shape[1], NEVER, start)
    first, code = np.unique(cluster, return_index=True, return_inverse=True)[1:]
    if (start != start[first][code]).any():
        raise DesignError(
            f"{ASKED_BY} treats clusters as assigned, but some have units with different "
            "starts; name the level that was assigned as the cluster."
        )
    if len(first) < len(y):
        mass = sum_rows(weight[:, None], code, len(first))
        flat = sum_rows(weight[:, None] * y.reshape(len(y), -1), code, len(first)) / mass
        y, start = flat.reshape(len(first), *y.shape[1:]), start[first]
    notes: tuple[str, ...] = ()
    if drop_first and (start == 0).any():
        notes = (f"{(start == 0).sum()} unit(s) treated from the first period on left out",)
        y, start = y[start > 0], start[start > 0]
    starts, code, size = np.unique(start, return_inverse=True, return_counts=True)
    if (size == 1).any():
        lost = ", ".join(
            "never" if g == NEVER else repr(panel.periods[g]) for g in starts[size == 1]
        )
        notes = (*notes, f"cohort(s) with one unit left out: {lost}")
        keep = size[code] > 1
        y, start = y[keep], start[keep]
        starts, code, size = np.unique(start, return_inverse=True, return_counts=True)
    if len(starts) < 2:
        raise DesignError(
            f"{ASKED_BY} needs two cohorts with at least two assigned units each; this panel "
            f"has {len(starts)}."
        )
    return _Cohorts(y=y, code=code, starts=starts, size=size.astype(float)), notes


def _contrasts(
    assigned: _Cohorts, by: By, horizons: Sequence[int] | None, *, last: bool
) -> tuple[list[str], Floats, Floats]:
    """Weights of cohort means that make the estimates, and of the same before, [m, C, T]."""
    starts, size = assigned.starts, assigned.size
    length = assigned.y.shape[1]
    end = min(int(starts[-1]), length)
    cells = [
        (c, t)
        for c in range(len(starts) - 1)
        for t in range(max(int(starts[c]), 0), end)
        if starts[c] < length
    ]
    if not cells:
        raise DesignError(
            f"{ASKED_BY} needs a treated period in which others are untreated; this panel has "
            "none. Add units that start later or never."
        )
    parts: list[tuple[str, list[tuple[int, int, float]]]]
    if by == "simple":
        parts = [("", [(c, t, size[c]) for c, t in cells])]
    elif by == "cohort":
        spans = {c: sum(1 for d, _ in cells if d == c) for c, _ in cells}
        parts = [("", [(c, t, size[c] / spans[c]) for c, t in cells])]
    elif by == "calendar":
        totals = {t: sum(size[c] for c, s in cells if s == t) for _, t in cells}
        parts = [("", [(c, t, size[c] / totals[t]) for c, t in cells])]
    elif by == "eventstudy":
        parts = list(_by_horizon(assigned, cells, horizons, end))
    else:
        raise DesignError(
            f"an average by {by!r} is not known; write 'simple', 'cohort', 'calendar' or "
            "'eventstudy'."
        )
    after = np.zeros((len(parts), len(starts), length))
    before = np.zeros_like(after)
    for m, (_, weighted) in enumerate(parts):
        total = sum(w for *_, w in weighted)
        for c, t, w in weighted:
            column = _against(assigned, c, t, last=last) * (w / total)
            after[m, :, t] += column
            if starts[c] > 0:
                before[m, :, starts[c] - 1] += column
    return [label for label, _ in parts], after, before


def _by_horizon(
    assigned: _Cohorts, cells: list[tuple[int, int]], horizons: Sequence[int] | None, end: int
) -> Iterator[tuple[str, list[tuple[int, int, float]]]]:
    starts = assigned.starts
    possible = sorted({t - int(starts[c]) for c, t in cells})
    for e in possible if horizons is None else horizons:
        mine = [
            (c, int(starts[c]) + e, float(assigned.size[c]))
            for c in range(len(starts) - 1)
            if starts[c] < end and 0 <= starts[c] + e < end
        ]
        if not mine:
            raise DesignError(
                f"{ASKED_BY} has no cohort with controls at horizon {e}; horizons run from "
                f"{possible[0]} to {possible[-1]}."
            )
        yield f"e{e}", mine


def _against(assigned: _Cohorts, c: int, t: int, *, last: bool) -> Floats:
    """Weights of cohort means in one period: a cohort less those that start later."""
    later = assigned.starts > max(int(assigned.starts[c]), t)
    if last:
        later &= np.arange(len(later)) == len(later) - 1
    out = np.where(later, -assigned.size / assigned.size[later].sum(), 0.0)
    out[c] += 1.0
    return out


def _scores(assigned: _Cohorts, weights: Floats) -> tuple[Floats, Floats]:
    """Value [m, K], and influences [N, m, K] whose sum of squares is Neyman's variance."""
    count, length, width = assigned.y.shape
    flat = sum_rows(assigned.y.reshape(count, -1), assigned.code, len(assigned.size))
    mean = (flat / assigned.size[:, None]).reshape(-1, length, width)
    value = np.einsum("mct,ctk->mk", weights, mean)
    out = np.empty((count, len(weights), width))
    for c, size in enumerate(assigned.size):
        units = assigned.code == c
        periods = np.flatnonzero((weights[:, c] != 0).any(axis=0))
        gap = assigned.y[np.ix_(units, periods)] - mean[c, periods]
        out[units] = (weights[:, c, periods] / np.sqrt(size * (size - 1))) @ gap
    return value, out


def _estimate(
    assigned: _Cohorts,
    after: Floats,
    before: Floats,
    adjustment: Adjustment,
    price: Floats | None,
) -> tuple[Floats, Floats]:
    """Estimates [m, K] and influences [N, K x m] (components outside, labels inside)."""
    value, score = _scores(assigned, after)
    start_value, start_score = _scores(assigned, before)
    if adjustment == "none":
        slope = np.zeros_like(value)
    elif adjustment == "efficient":
        x, z = (start_score, score) if price is None else (start_score @ price, score @ price)
        variance = (x**2).sum(axis=0)
        slope = np.divide(
            (x * z).sum(axis=0), variance, out=np.zeros(variance.shape), where=variance > 0
        )
        slope = slope if price is None else np.repeat(slope[:, None], value.shape[1], axis=1)
    else:
        slope = np.ones_like(value)
    score = score - slope * start_score
    return value - slope * start_value, score.transpose(0, 2, 1).reshape(len(score), -1)


def _degrees(assigned: _Cohorts, sums: Floats) -> Floats:
    """Satterthwaite degrees of freedom of variances that are sums over cohorts."""
    parts = sum_rows(sums**2, assigned.code, len(assigned.size))
    below = (parts**2 / (assigned.size[:, None] - 1)).sum(axis=0)
    total = parts.sum(axis=0) ** 2
    df: Floats = np.divide(total, below, out=np.full(len(total), np.nan), where=below > 0)
    return df


def _adjusted(
    assigned: _Cohorts, after: Floats, cov: Floats, price: Floats | None
) -> tuple[Floats, tuple[str, ...]]:
    """Take out of Neyman's covariance what outcomes before the first start explain.

    With a price its own past explains every component, so lines still add up. Without, each
    component's past explains its own block, and correlations between blocks stay Neyman's.
    """
    used = (after != 0).any(axis=(0, 2))
    first = int(assigned.starts[np.flatnonzero(used)[0]])
    if first <= 0:
        return cov, ()
    width, m = assigned.y.shape[2], len(after)
    if price is not None:
        found = cov - _explained(assigned, after, first, assigned.y @ price)
        return (found, ()) if _is_covariance(found) else (cov, (EXCEEDS,))
    turn = np.zeros_like(cov)
    notes: tuple[str, ...] = ()
    for k in range(width):
        block = slice(k * m, (k + 1) * m)
        alone = replace(assigned, y=assigned.y[:, :, k : k + 1])
        plain = cov[block, block]
        found = plain - _explained(alone, after, first, assigned.y[:, :, k])
        if not _is_covariance(found):
            found, notes = plain, (EXCEEDS,)
        turn[block, block] = _root(found) @ np.linalg.pinv(_root(plain), hermitian=True)
    return turn @ cov @ turn.T, notes


def _explained(assigned: _Cohorts, after: Floats, first: int, past: Floats) -> Floats:
    """Variance of the part of effects that the ``past`` [N, T] predicts, [K x m, K x m]."""
    width, m = assigned.y.shape[2], len(after)
    slopes, total = np.zeros((first, width * m)), np.zeros((first, first))
    cohorts = np.flatnonzero(assigned.starts >= first)
    for c in cohorts:
        mine = assigned.code == c
        y, early = assigned.y[mine], past[mine, :first]
        early = (early - early.mean(axis=0)) / np.sqrt(len(y) - 1)
        gap = (y - y.mean(axis=0)) / np.sqrt(len(y) - 1)
        out = np.einsum("mt,itk->ikm", after[:, c], gap).reshape(len(y), -1)
        gram = early.T @ early
        slopes += np.linalg.pinv(gram, hermitian=True) @ (early.T @ out)
        total += gram
    explained: Floats = slopes.T @ (total / len(cohorts)) @ slopes / len(assigned.y)
    return explained


def _is_covariance(matrix: Floats) -> bool:
    scale = np.sqrt(np.maximum(np.diag(matrix), 0))
    if (np.diag(matrix) < 0).any():
        return False
    size = np.where(scale > 0, scale, 1.0)
    return bool(np.linalg.eigvalsh(matrix / np.outer(size, size))[0] > -1e-8)


def _root(matrix: Floats) -> Floats:
    value, vector = np.linalg.eigh(matrix)
    root: Floats = (vector * np.sqrt(np.maximum(value, 0))) @ vector.T
    return root


def _price(price: Sequence[float], panel: Panel) -> Floats:
    out = np.asarray(price, dtype=np.float64)
    if out.shape != (len(panel.names),):
        raise DesignError(
            f"price has shape {out.shape}; it needs one weight for each of the "
            f"{len(panel.names)} components."
        )
    return out
