"""What do three lines in a notebook say about a plain table with an arm column?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from upliftlab.errors import DataError, UpliftlabError
from upliftlab.estimators import ab, families
from upliftlab.estimators.comparison import (
    Comparison,
    EffectRatio,
    RatioComparison,
    SegmentComparison,
    SegmentEffect,
)
from upliftlab.estimators.families import row_of, rows_of
from upliftlab.estimators.metrics import guardrail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.data.cells import Cells
    from upliftlab.data.plain import Missing, Opened, Units
    from upliftlab.estimators.ab import Theta
    from upliftlab.estimators.effects import Effects
    from upliftlab.estimators.metrics import MetricEffect
    from upliftlab.plan.metrics import Metric

    Wanted = str | Sequence[str] | Mapping[str, str | tuple[str, str]]

Correction = Literal["holm", "fdr_bh"]
Direction = Literal["up", "down"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Design:
    arm: str
    control: object
    covariates: Sequence[str]
    strata: Sequence[str]
    cluster: str | None
    theta: Theta
    missing: Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    units: Units
    control: str
    design: _Design

    @property
    def treatments(self) -> tuple[str, ...]:
        return tuple(arm for arm in self.units.arms if arm != self.control)

    @property
    def arms(self) -> tuple[str, ...]:
        return (self.control, *self.treatments)

    def effects(self, cells: Cells, **only: str) -> Effects:
        """Estimate by the product's own path, perhaps where a key has a label."""
        clustered = self.design.cluster is not None
        return ab.estimate(
            cells,
            arms=self.arms,
            control=self.control,
            covariates=self.design.covariates,
            strata=self.design.strata,
            clusters=self.units.clusters(**only) if clustered else None,
            theta=self.design.theta,
        )


def compare(
    table: object,
    metrics: Wanted,
    *,
    arm: str,
    control: object,
    covariates: Sequence[str] = (),
    strata: Sequence[str] = (),
    cluster: str | None = None,
    theta: Theta = "per_arm",
    simultaneous: bool = False,
    correct: Correction | None = None,
    level: float = 0.95,
    missing: Missing = "refuse",
) -> Comparison:
    """Compare metrics between every arm and control on a table with one row per unit.

    Means are compared by Welch's t, ratios by the delta method; covariates adjust (CUPED),
    strata post-stratify, and a cluster column gives CR2 variances with Bell-McCaffrey degrees
    of freedom. It is the estimator of a full analysis, without plan and without money.

    Args:
        table: A pandas, polars, Arrow or ibis table; it is not changed.
        metrics: Columns, ratios of sums such as "spend / visits", or a mapping of names to
            columns or pairs (numerator, denominator).
        arm: Column of the arm: text, whole numbers or yes/no.
        control: The arm compared with, as it stands in the column.
        covariates: Columns known before assignment.
        strata: Columns whose combinations are post-stratified.
        cluster: Column of what was assigned as a whole.
        theta: How covariates adjust: coefficients per arm, one set within arms, or one set
            over all units ("joint", the usual CUPED).
        simultaneous: Whether intervals hold for all arms of a metric at once.
        correct: Correct over all rows: "holm" or "fdr_bh"; intervals agree with it.
        level: Confidence level.
        missing: "refuse" raises at a gap; "drop" leaves out rows with one and counts them.

    Returns:
        One row per metric and arm; ``p_adjusted`` is NaN unless something was corrected.

    Raises:
        DataError: For gaps, missing columns, columns of the wrong kind or an unknown control.
        DesignError: When clusters hold units of several arms.
        UpliftlabError: For options that exclude each other.

    References:
        As in ``ab.estimate``; Hothorn, Bretz and Westfall (2008), *Biometrical Journal* 50(3);
        Benjamini and Yekutieli (2005), *JASA* 100(469), for intervals after selection.

    Examples:
        >>> import pandas as pd
        >>> visits = pd.DataFrame({"arm": ["old"] * 50 + ["new"] * 50,
        ...                        "orders": [0, 1] * 25 + [1, 1, 2, 0, 1] * 10})
        >>> found = compare(visits, ["orders"], arm="arm", control="old")
        >>> e = found.row("orders").effect
        >>> f"{e.estimate:+.2f} [{e.ci_low:.2f}, {e.ci_high:.2f}], {e.rel_estimate:+.0%}"
        '+0.50 [0.27, 0.73], +100%'
    """
    from upliftlab.data.plain import opened

    if simultaneous and correct is not None:
        raise UpliftlabError(
            f"simultaneous and correct={correct!r} both widen intervals; keep one of them."
        )
    design = _Design(
        arm=arm,
        control=control,
        covariates=tuple(covariates),
        strata=tuple(strata),
        cluster=cluster,
        theta=theta,
        missing=missing,
    )
    _check(design)
    with opened(table) as data:
        wanted = _metrics(metrics, data.columns)
        measured = _measure(data, design, wanted)
        effects = measured.effects(measured.units.cells())
    rows, note = rows_of(effects, wanted, measured.treatments, level), ""
    if simultaneous:
        rows, note = families.all_arms(effects, wanted, rows, level), families.ALL_ARMS
    elif correct == "holm":
        rows, note = families.holm(effects, wanted, rows, level), families.HOLM
    elif correct == "fdr_bh":
        rows, note = (
            families.false_discoveries(effects, wanted, rows, level),
            families.FALSE_DISCOVERIES,
        )
    elif correct is not None:
        raise UpliftlabError(f"correct is {correct!r}; write 'holm', 'fdr_bh' or None.")
    return _comparison(measured, effects, rows, level, note)


def noninferiority(
    table: object,
    metrics: Wanted,
    *,
    margin: float | str,
    direction: Direction = "up",
    arm: str,
    control: object,
    covariates: Sequence[str] = (),
    strata: Sequence[str] = (),
    cluster: str | None = None,
    theta: Theta = "per_arm",
    level: float = 0.95,
    missing: Missing = "refuse",
) -> Comparison:
    """Judge whether metrics got worse by more than a margin: no, yes, or not known.

    ``margin`` is the accepted harm, 0 or more: a number in the metric's unit, "1 point" of a
    share, or a share of control such as "2%", whose mean then counts as estimated.
    ``direction`` says which way is better; each side is tested at half of 1 - ``level``. The
    other arguments are those of ``compare``.

    Returns:
        Rows whose ``state`` is "non-inferior", "inferior" or "inconclusive".

    References:
        Piaggio et al. (2012), *JAMA* 308(24), figure 1.

    Examples:
        >>> import pandas as pd
        >>> visits = pd.DataFrame({"arm": ["old", "new"] * 200, "refund": [0, 0, 0, 1] * 100})
        >>> found = noninferiority(visits, ["refund"], margin="1 point", direction="down",
        ...                        arm="arm", control="old")
        >>> found.row("refund").state
        'inferior'
    """
    from upliftlab.data.plain import opened
    from upliftlab.plan.quantities import Money, parse_margin

    read = parse_margin(margin) if isinstance(margin, str) else float(margin)
    if isinstance(read, Money):
        raise UpliftlabError(
            f"margin is {margin!r}; a plain table has no currency, so write a number like 0.5."
        )
    design = _Design(
        arm=arm,
        control=control,
        covariates=tuple(covariates),
        strata=tuple(strata),
        cluster=cluster,
        theta=theta,
        missing=missing,
    )
    _check(design)
    with opened(table) as data:
        wanted = _metrics(metrics, data.columns, direction)
        measured = _measure(data, design, wanted)
        effects = measured.effects(measured.units.cells())
    by_name = {metric.name: metric for metric in wanted}
    rows = tuple(
        guardrail(row, effects, by_name[row.metric], read)
        for row in rows_of(effects, wanted, measured.treatments, level)
    )
    return _comparison(measured, effects, rows, level, "")


def segments(
    table: object,
    metric: str | Mapping[str, str | tuple[str, str]],
    *,
    by: str,
    arm: str,
    control: object,
    covariates: Sequence[str] = (),
    strata: Sequence[str] = (),
    cluster: str | None = None,
    theta: Theta = "per_arm",
    simultaneous: bool = False,
    level: float = 0.95,
    missing: Missing = "refuse",
) -> SegmentComparison:
    """Compare one metric within every level of a column and test whether effects differ.

    ``by`` is a column known before assignment; ``simultaneous`` makes intervals hold for all
    segments of an arm at once. The other arguments are those of ``compare``.

    Returns:
        One row per level and arm, and one interaction test per arm. A level in which an arm
        has fewer than two units is left out and named. Where clusters hold units of several
        levels, effects depend on each other and the test is NaN with a note.

    References:
        Welch (1951), *Biometrika* 38(3-4), for the test of equal effects; Šidák (1967), *JASA*
        62(318), for joint intervals.

    Examples:
        >>> import pandas as pd
        >>> visits = pd.DataFrame({"arm": ["old", "new"] * 100, "is_new": [0] * 100 + [1] * 100,
        ...                        "orders": [0, 0, 1, 1] * 25 + [0, 1, 1, 1] * 25})
        >>> found = segments(visits, "orders", by="is_new", arm="arm", control="old")
        >>> [f"{row.segment}: {row.found.effect.estimate:+.2f}" for row in found.rows]
        ['0: +0.00', '1: +0.50']
        >>> f"{found.interaction().p_value:.5f}"
        '0.00009'
    """
    from upliftlab.data.plain import opened

    design = _Design(
        arm=arm,
        control=control,
        covariates=tuple(covariates),
        strata=tuple(strata),
        cluster=cluster,
        theta=theta,
        missing=missing,
    )
    _check(design)
    if by == arm or by in strata:
        raise DataError(
            f"by is {by!r}, which is already the arm or a stratum; leave it out there."
        )
    with opened(table) as data:
        (wanted,) = _metrics(metric, data.columns)
        measured = _measure(data, design, (wanted,), by=by)
        cells = measured.units.cells()
        parts, left_out = _levels(cells, by, measured.arms)
        effects = {
            one: measured.effects(cells.where(**{by: one}), **{by: one}) for one in parts
        }
        spans = cluster is not None and measured.units.clusters_span(by)
    if not effects:
        raise DataError(f"no level of {by!r} has two units in every arm.")
    rows = _segment_rows(effects, wanted, measured, parts, level)
    tests = tuple(
        families.interaction(
            a, [row.found.effect for row in rows if row.found.arm == a], spans=spans
        )
        for a in measured.treatments
    )
    notes = [f"left out, an arm has fewer than two units: {', '.join(left_out)}"] * bool(
        left_out
    )
    if simultaneous:
        rows, notes = (
            families.all_segments(effects, wanted, rows, level),
            [*notes, families.ALL_SEGMENTS],
        )
    return SegmentComparison(
        rows=rows,
        interactions=tests,
        column=by,
        control=measured.control,
        n=measured.units.n,
        level=level,
        method=next(iter(effects.values())).method,
        dropped=measured.units.dropped,
        note="; ".join(notes),
    )


def ratio_of_effects(
    table: object,
    numerator: str,
    denominator: str,
    *,
    arm: str,
    control: object,
    covariates: Sequence[str] = (),
    strata: Sequence[str] = (),
    cluster: str | None = None,
    theta: Theta = "per_arm",
    level: float = 0.95,
    missing: Missing = "refuse",
) -> RatioComparison:
    """Divide the effect on one column by the effect on another, with Fieller's set.

    Profit over cost is the return on incremental spend; cost over new customers is the cost
    per incremental customer. Where the denominator may be 0 the set is two half-lines or the
    whole line, and says so. The arguments after the two columns are those of ``compare``.

    References:
        Fieller (1954), *Journal of the Royal Statistical Society B* 16(2).

    Examples:
        >>> import pandas as pd
        >>> sent = pd.DataFrame({"arm": ["old", "new"] * 100, "cost": [0, 2, 0, 1] * 50,
        ...                      "profit": [3, 6, 5, 8] * 50})
        >>> found = ratio_of_effects(sent, "profit", "cost", arm="arm", control="old")
        >>> f"{found.row().ratio.estimate:.1f} yuan per yuan"
        '2.0 yuan per yuan'
    """
    from upliftlab.data.plain import opened

    design = _Design(
        arm=arm,
        control=control,
        covariates=tuple(covariates),
        strata=tuple(strata),
        cluster=cluster,
        theta=theta,
        missing=missing,
    )
    _check(design)
    with opened(table) as data:
        wanted = _metrics([numerator, denominator], data.columns)
        if any(metric.ratio for metric in wanted) or len(wanted) != 2:
            raise UpliftlabError(
                f"numerator {numerator!r} and denominator {denominator!r} must be two columns."
            )
        measured = _measure(data, design, wanted)
        effects = measured.effects(measured.units.cells())
    return RatioComparison(
        rows=tuple(
            _effect_ratio(effects, a, numerator, denominator, level)
            for a in measured.treatments
        ),
        control=measured.control,
        n=measured.units.n,
        level=level,
        method=effects.method,
        dropped=measured.units.dropped,
        note=effects.note,
    )


def _check(design: _Design) -> None:
    """Refuse options that exclude each other or are misspelled."""
    if design.cluster is not None and design.strata:
        raise UpliftlabError("cluster and strata do not go together; leave one of them out.")
    if design.missing not in {"refuse", "drop"}:
        raise UpliftlabError(f"missing is {design.missing!r}; write 'refuse' or 'drop'.")
    if design.theta not in {"per_arm", "within", "joint"}:
        found = repr(design.theta)
        raise UpliftlabError(f"theta is {found}; write 'per_arm', 'within' or 'joint'.")
    if design.arm in design.strata:
        raise UpliftlabError(f"strata hold {design.arm!r}, which is the arm; leave it out.")


def _metrics(
    wanted: Wanted, have: Sequence[str], direction: Direction = "up"
) -> tuple[Metric, ...]:
    named: dict[str, Any]
    if isinstance(wanted, str):
        named = {wanted: wanted}
    elif isinstance(wanted, Mapping):
        named = dict(wanted)
    else:
        named = {name: name for name in wanted}
    return tuple(_metric(name, found, have, direction) for name, found in named.items())


def _metric(name: str, found: object, have: Sequence[str], direction: Direction) -> Metric:
    from upliftlab.plan.metrics import Metric

    parts = _parts(found, have)
    for column in parts:
        if column not in have:
            raise DataError.missing_column(column, f"metric {name!r}", have)
    if len(parts) == 1:
        return Metric(name=name, mean=parts[0], direction=direction)
    return Metric(name=name, ratio=(parts[0], parts[1]), direction=direction)


def _parts(found: object, have: Sequence[str]) -> tuple[str, ...]:
    """Read a column, a pair, or a ratio in text; a column's own name wins over its slash."""
    if not isinstance(found, str):
        pair = tuple(str(part) for part in found) if isinstance(found, (tuple, list)) else ()
        if len(pair) != 2:
            raise UpliftlabError(
                f"metric is {found!r}; write a column, 'a / b' or a pair (a, b)."
            )
        return pair
    if found in have or "/" not in found:
        return (found,)
    cuts = [i for i, letter in enumerate(found) if letter == "/"]
    pairs = [(found[:i].strip(), found[i + 1 :].strip()) for i in cuts]
    return next((pair for pair in pairs if set(pair) <= set(have)), pairs[0])


def _measure(
    data: Opened, design: _Design, metrics: Sequence[Metric], by: str | None = None
) -> _Measured:
    from upliftlab.data.plain import no_such_arm

    components = list(dict.fromkeys(c for metric in metrics for c in metric.components))
    shared = [name for name in design.covariates if name in components]
    if shared:
        raise UpliftlabError(
            f"covariates hold {shared}, which are compared; a covariate is known beforehand."
        )
    units = data.units(
        arm=design.arm,
        numbers=[*components, *dict.fromkeys(design.covariates)],
        keys=[*dict.fromkeys(design.strata), *([by] if by else [])],
        cluster=design.cluster,
        missing=design.missing,
    )
    control = data.label_of(design.arm, design.control)
    if control not in units.arms:
        raise no_such_arm(control, units.arms)
    if len(units.arms) < 2:
        raise DataError(
            f"column {design.arm!r} has only the arm {control!r}; two are compared."
        )
    if design.cluster is not None:
        units.refuse_split_clusters(design.cluster)
    return _Measured(units=units, control=control, design=design)


def _levels(
    cells: Cells, by: str, arms: Sequence[str]
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Level -> units, for levels with two units in every arm; and the other levels."""
    enough: dict[str, int] = {}
    rest: list[str] = []
    for level in cells.levels(by):
        part = cells.where(**{by: level}).collapse(["arm"])
        size = {label[0]: int(n) for label, n in zip(part.labels, part.n, strict=True)}
        if all(size.get(arm, 0) >= 2 for arm in arms):
            enough[level] = sum(size.values())
        else:
            rest.append(level)
    return enough, tuple(rest)


def _segment_rows(
    effects: Mapping[str, Effects],
    metric: Metric,
    measured: _Measured,
    parts: Mapping[str, int],
    level: float,
) -> tuple[SegmentEffect, ...]:
    total = sum(measured.units.n.values())
    return tuple(
        SegmentEffect(
            segment=segment,
            n=parts[segment],
            share=parts[segment] / total,
            found=row_of(within, metric, arm, level),
        )
        for segment, within in effects.items()
        for arm in measured.treatments
    )


def _effect_ratio(
    effects: Effects, arm: str, numerator: str, denominator: str, level: float
) -> EffectRatio:
    control = effects.control
    weights = [
        effects.weights({arm: {name: 1.0}, control: {name: -1.0}})
        for name in (numerator, denominator)
    ]
    joint = effects.linear(np.stack(weights), [numerator, denominator])
    return EffectRatio(
        arm=arm,
        numerator=joint.estimate(numerator, level=level),
        denominator=joint.estimate(denominator, level=level),
        ratio=joint.ratio(
            numerator, denominator, name=f"{numerator} / {denominator}", level=level
        ),
    )


def _comparison(
    measured: _Measured,
    effects: Effects,
    rows: tuple[MetricEffect, ...],
    level: float,
    note: str,
) -> Comparison:
    return Comparison(
        rows=rows,
        control=measured.control,
        n=measured.units.n,
        level=level,
        method=effects.method,
        variance_kept=dict(effects.variance_kept or {}),
        dropped=measured.units.dropped,
        note="; ".join(part for part in (effects.note, note) if part),
    )
