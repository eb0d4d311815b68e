"""Would the plan's own analysis find effects where there are none, and see those there are?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab import pricing
from upliftlab.assignment.recipe import recipe_of
from upliftlab.checks import FAIL, PASS, WARN, Check
from upliftlab.data.pieces import BUCKETS, Pieces, pieces
from upliftlab.economics import MERCHANT
from upliftlab.errors import DesignError
from upliftlab.evidence import ALWAYS
from upliftlab.plan.currencies import currency_of
from upliftlab.plan.metrics import PROFIT
from upliftlab.rehearsal.draws import Ledger, Replies, replay
from upliftlab.rehearsal.mechanism import Mechanism, mechanism_of
from upliftlab.rehearsal.rolled import replay_waves, rolled_back
from upliftlab.stats.multiplicity import adjust

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from upliftlab.data.cells import Cells
    from upliftlab.experiment import Experiment
    from upliftlab.plan.metrics import Metric

    Floats = NDArray[np.float64]

DRAWS = 2_000
ALPHA = 0.001
"""Error of each gate, Holm-adjusted over metrics and arms."""

SLACK = 0.015
"""Coverage may fall short of its promise by this much before the gate says so."""

POWER, POWER_SLACK = 0.80, 0.03
FEW = 20
"""Clusters below which p-values take few values, and their distribution says little."""

_ORDER = {FAIL: 0, WARN: 1, PASS: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the re-assignments say about one metric in one arm.

    Attributes:
        metric: Its name.
        arm: The treatment.
        mean: Over all units; of a ratio, the ratio of sums.
        std_error: Median over re-assignments.
        false_alarms: Share that found an effect where there is none.
        coverage: Share whose range holds 0, the truth.
        p_uniform: Kolmogorov-Smirnov p-value against uniform p-values.
        p_adjusted: The same, Holm-adjusted over all rows.
        leans: "small" where p-values crowd near 0, "large" where near 1, by their mean.
        planted: Effect that the standard error promises to see in 80 % of tests.
        power: Share that saw it.
        detectable: Effect seen in 80 % of re-assignments.
        power_at_goal: Share that saw the effect that is worth it; NaN without one.
        lost: Share of re-assignments without an estimate.
        deciles: Share of p-values in each tenth, ten numbers.
    """

    metric: str
    arm: str
    mean: float
    std_error: float
    false_alarms: float
    coverage: float
    p_uniform: float
    p_adjusted: float
    leans: str
    planted: float
    power: float
    detectable: float
    power_at_goal: float
    lost: float
    deciles: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {key: _plain(value) for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """An A/A rehearsal: many re-assignments of data from before the test.

    Attributes:
        experiment: The plan.
        units: How many units were re-assigned.
        clusters: How many clusters; 0 where units are assigned one by one.
        mechanism: How they were re-assigned, in words.
        draws: How often.
        seed: Of the draws.
        level: Confidence of ranges.
        rows: One per metric and arm, profit first.
        ratio_alarms: Share of re-assignments whose sample ratio raised the alarm; NaN for
            roll-outs, whose lists are drawn in fixed numbers.
        checks: What opens or closes the gate, failed ones first.
        notes: Sentences a reader must know.
    """

    experiment: Experiment
    units: int
    clusters: int
    mechanism: str
    draws: int
    seed: int
    level: float
    rows: tuple[Row, ...]
    ratio_alarms: float
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether the gate is open: nothing failed."""
        return all(check.verdict != FAIL for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "experiment": self.experiment.name,
            "plan": self.experiment.fingerprint,
            "passed": self.is_valid,
            "units": self.units,
            "clusters": self.clusters,
            "mechanism": self.mechanism,
            "draws": self.draws,
            "seed": self.seed,
            "level": self.level,
            "ratio_alarms": _plain(self.ratio_alarms),
            "rows": [row.to_dict() for row in self.rows],
            "checks": [check.to_dict() | {"is_blocking": check.verdict == FAIL}
                       for check in self.checks],
            "notes": list(self.notes),
        }  # fmt: skip


def rehearse(
    experiment: Experiment,
    given: Mapping[str, object] | None = None,
    *,
    units: str | Path | None = None,
    draws: int = DRAWS,
    seed: int = 1,
    by: str | None = None,
    at: date | None = None,
    progress: Callable[[str], None] | None = None,
) -> Rehearsal:
    """Re-assign data from before the test many times, and ask what the analysis says.

    Nothing was done to anybody, so p-values must be uniform, ranges must hold 0 as often as
    they promise, and the sample ratio must raise its alarm once in a thousand. A constant
    effect added to treated units shows what the test would see.

    Args:
        experiment: The plan, with its sources.
        given: Tables from Python by source name.
        units: File with one row per unit, in the place of the plan's data; columns are called
            as in the plan's ``data.units``.
        draws: Re-assignments.
        seed: Of the draws.
        by: Column of what really moves together, where the analysis ignores it.
        at: First day of the rehearsed window.
        progress: Called with the name of each step.

    Raises:
        DataError: When there are no data from before the test.
        DesignError: When the plan does not split units or clusters.
    """
    tell = progress or (lambda _: None)
    tell("reading")
    if experiment.period is not None:
        if units is not None or by is not None or at is not None:
            raise DesignError(
                f"aa of design {experiment.design!r} reads the time before the first wave from "
                "the plan's own panel; leave --units, --by and --at out."
            )
        return _of_waves(experiment, given, draws=draws, seed=seed, tell=tell)
    plan = experiment if units is None else _with_units(experiment, Path(units))
    found = pieces(plan, given, by=by, at=at)
    return rehearsal_of(
        experiment, found, draws=draws, seed=seed, ignores_clusters=by is not None, tell=tell
    )


def rehearsal_of(
    experiment: Experiment,
    found: Pieces,
    *,
    draws: int = DRAWS,
    seed: int = 1,
    ignores_clusters: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Rehearsal:
    """Rehearse on pieces that were read before; see ``rehearse``."""
    recipe = recipe_of(experiment)
    unit = experiment.unit
    mechanism = mechanism_of(recipe, found, draws=draws, seed=seed, unit=unit)
    cells, metrics = _priced(experiment, found)
    clustered = found.are_clusters and not ignores_clusters
    arms = [arm.label for arm in experiment.arms]
    replies = replay(
        Ledger.of(cells),
        mechanism.drawn,
        arms=arms,
        control=experiment.control.label,
        metrics=metrics,
        covariates=found.covariates,
        clustered=clustered,
        progress=lambda share: tell(f"re-assigning {share:.0%}"),
    )
    level = float(experiment.decide.confidence)
    goal = float(experiment.decide.worth_it.minor)
    rows = _rows(replies, _means(cells, metrics), level=level, goal=goal)
    alarms = _ratio_alarms(replies.counts, mechanism.shares)
    pieces_n = len({label[0] for label in cells.labels})
    return Rehearsal(
        experiment=experiment,
        units=found.units,
        clusters=pieces_n if found.are_clusters else 0,
        mechanism=mechanism.words,
        draws=draws,
        seed=seed,
        level=level,
        rows=rows,
        ratio_alarms=float(np.mean(alarms)),
        checks=_checks(experiment, found, rows, alarms, draws=draws, level=level),
        notes=_notes(experiment, found, mechanism, clustered=clustered),
    )


def _of_waves(
    experiment: Experiment,
    given: Mapping[str, object] | None,
    *,
    draws: int,
    seed: int,
    tell: Callable[[str], None],
) -> Rehearsal:
    """Rehearse a roll-out on the time before it; see ``rehearse``."""
    found = rolled_back(experiment, given)
    replies = replay_waves(
        experiment, found, draws=draws, seed=seed,
        progress=lambda share: tell(f"re-assigning {share:.0%}"),
    )  # fmt: skip
    panel, level = found.panel, float(experiment.decide.confidence)
    goal = float(experiment.decide.worth_it.minor)
    means = panel.y.mean(axis=(0, 1)).tolist()[: len(replies.names)]
    rows = _rows(replies, means, level=level, goal=goal)
    draws = len(replies.value)
    checks = [*_analysis_checks(rows, draws, level), *_lost(rows)]
    notes = [
        f"re-assigned: {found.words}",
        (
            f"the roll-out was put into the {len(panel.periods)} periods before it, at the old "
            "prices: what it adds up to is per unit and period"
        ),
        *panel.notes,
    ]
    return Rehearsal(
        experiment=experiment,
        units=len(panel.units),
        clusters=int(panel.cluster.max()) + 1,
        mechanism=found.words,
        draws=draws,
        seed=seed,
        level=level,
        rows=rows,
        ratio_alarms=float("nan"),
        checks=tuple(sorted(checks, key=lambda check: _ORDER[check.verdict])),
        notes=tuple(notes),
    )


def _with_units(experiment: Experiment, file: Path) -> Experiment:
    """Read one row per unit from a file, in the place of the plan's data."""
    source = experiment.data.units if experiment.data else None
    money = source.money if source else None
    columns = dict(source.columns) if source else {}
    main = currency_of(experiment.currency).main
    known = {"file": str(file.resolve()), "money": money or main, "columns": columns}
    return experiment.replace(data={"units": known})


def _priced(experiment: Experiment, found: Pieces) -> tuple[Cells, list[Metric]]:
    """Put profit and the components of the plan's metrics beside the covariates."""
    cells, covariates = found.cells, set(found.covariates)
    have = [name for name in cells.names if name not in covariates]
    economics = pricing.build(
        experiment.costs, components=frozenset(have), contact={}, ad_spend={}
    )
    price = economics.price(MERCHANT, experiment.control.label)
    names = dict.fromkeys(
        [PROFIT, *experiment.guardrails, *(m.name for m in experiment.metrics),
         "gmv_platform", "gmv_merchant", *ALWAYS]
    )  # fmt: skip
    metrics = [experiment.metric(name) for name in names]
    known = [m for m in metrics if m.name == PROFIT or set(m.components) <= set(have)]
    moving = _moving(cells)
    known = [m for m in known if m.name == PROFIT or set(m.components) <= moving]
    wanted = list(dict.fromkeys(c for m in known if m.name != PROFIT for c in m.components))
    rows = np.zeros((1 + len(wanted) + len(found.covariates), len(cells.names)))
    for component, rate in price.items():
        if component in have:
            rows[0, cells.names.index(component)] += rate
    for i, name in enumerate([*wanted, *found.covariates], start=1):
        rows[i, cells.names.index(name)] = 1.0
    return (
        replace(
            cells,
            names=(PROFIT, *wanted, *found.covariates),
            mean=cells.mean @ rows.T + np.eye(len(rows))[0] * price.get("units", 0.0),
            m2=np.einsum("ik,ckl,jl->cij", rows, cells.m2, rows, optimize=True),
        ),
        known,
    )


def _moving(cells: Cells) -> set[str]:
    """Columns that are not the same number for everybody."""
    within = np.einsum("ckk->k", cells.m2) > 0
    between = np.ptp(cells.mean, axis=0) > 0
    return {name for name, moves in zip(cells.names, within | between, strict=True) if moves}


def _means(cells: Cells, metrics: Sequence[Metric]) -> list[float]:
    total = cells.n @ cells.mean
    at = {name: k for k, name in enumerate(cells.names)}
    out = []
    for metric in metrics:
        top = total[at[metric.components[0]]]
        bottom = total[at[metric.components[1]]] if metric.ratio else cells.n.sum()
        out.append(float(top / bottom) if bottom else float("nan"))
    return out


def _rows(
    replies: Replies, means: Sequence[float], *, level: float, goal: float
) -> tuple[Row, ...]:
    from scipy import stats

    tail = (1 - level) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        t = replies.value / replies.std_error
        p = np.asarray(2 * stats.t.sf(np.abs(t), replies.df))
        reach = stats.t.isf(tail, replies.df) * replies.std_error
    p[~np.isfinite(replies.std_error) | (replies.std_error <= 0)] = np.nan
    treatments = len(replies.names) // len(means)
    uniform = []
    for m in range(p.shape[1]):
        seen = p[np.isfinite(p[:, m]), m]
        uniform.append(float(stats.kstest(seen, "uniform").pvalue) if len(seen) else np.nan)
    usable = [1.0 if np.isnan(x) else x for x in uniform]
    holm = adjust(usable, "holm")
    z = stats.norm.isf(tail) + stats.norm.isf(1 - POWER)
    rows = []
    for m, (metric, arm) in enumerate(replies.names):
        good = np.isfinite(p[:, m])
        value, limit, own = replies.value[good, m], reach[good, m], p[good, m]
        error = replies.std_error[good, m]
        planted = float(z * np.median(error)) if good.any() else float("nan")
        rows.append(
            Row(
                metric=metric,
                arm=arm,
                mean=means[m // treatments],
                std_error=float(np.median(error)) if good.any() else float("nan"),
                false_alarms=float(np.mean(own < 1 - level)) if good.any() else float("nan"),
                coverage=float(np.mean(np.abs(value) <= limit)) if good.any() else float("nan"),
                p_uniform=uniform[m],
                p_adjusted=float(holm[m]) if not np.isnan(uniform[m]) else float("nan"),
                leans="small" if good.any() and np.mean(own) < 0.5 else "large",
                planted=planted,
                power=_seen(value, limit, planted),
                detectable=float(np.quantile(limit - value, POWER))
                if good.any()
                else float("nan"),
                power_at_goal=_seen(value, limit, goal)
                if metric == PROFIT and goal > 0
                else float("nan"),
                lost=1 - float(np.mean(good)),
                deciles=tuple(
                    (np.histogram(own, bins=10, range=(0, 1))[0] / max(len(own), 1)).tolist()
                ),
            )
        )
    return tuple(rows)


def _seen(value: Floats, limit: Floats, effect: float) -> float:
    """Share of re-assignments that find an effect once it is added to treated units."""
    if not len(value) or not np.isfinite(effect):
        return float("nan")
    return float(np.mean(np.abs(value + effect) > limit))


def _ratio_alarms(counts: Floats, shares: Floats) -> NDArray[np.bool_]:
    from scipy import stats

    expected = counts.sum(axis=1, keepdims=True) * (shares / shares.sum())
    statistic = ((counts - expected) ** 2 / expected).sum(axis=1)
    alarms: NDArray[np.bool_] = stats.chi2.sf(statistic, len(shares) - 1) < ALPHA
    return alarms


def _checks(
    experiment: Experiment,
    found: Pieces,
    rows: Sequence[Row],
    alarms: NDArray[np.bool_],
    *,
    draws: int,
    level: float,
) -> tuple[Check, ...]:
    from scipy import stats

    out = _analysis_checks(rows, draws, level)
    count = int(alarms.sum())
    p = float(stats.binomtest(count, len(alarms), ALPHA, alternative="greater").pvalue)
    out.append(
        Check(
            name="sample_ratio",
            verdict=FAIL if p < ALPHA else PASS,
            message=(
                f"Sample ratio: {count:,} of {draws:,} re-assignments raised the alarm; "
                f"{ALPHA * draws:.0f} are expected."
            ),
            value=count / draws,
            threshold=ALPHA,
        )
    )
    if not found.are_clusters:
        out.append(_hash(experiment, found))
    out += _lost(rows)
    return tuple(sorted(out, key=lambda check: _ORDER[check.verdict]))


def _analysis_checks(rows: Sequence[Row], draws: int, level: float) -> list[Check]:
    """What the analysis said where nothing was done."""
    return [_uniformity(rows), _coverage(rows, draws, level), _power(rows, draws)]


def _lost(rows: Sequence[Row]) -> list[Check]:
    lost = max((row.lost for row in rows), default=0.0)
    if not lost > 0:
        return []
    message = (
        f"Estimates: {lost:.1%} of re-assignments give an arm too few clusters for a range; "
        "draw a list in blocks instead."
    )
    verdict = FAIL if lost > 0.5 else WARN
    return [
        Check(name="no_estimate", verdict=verdict, message=message, value=lost, threshold=0.0)
    ]


def _uniformity(rows: Sequence[Row]) -> Check:
    worst = min(rows, key=lambda row: row.p_adjusted if np.isfinite(row.p_adjusted) else 2.0)
    failed = [row for row in rows if row.p_adjusted < ALPHA]
    eager = [row for row in failed if row.leans == "small"]
    verdict = FAIL if eager else WARN if failed else PASS
    if eager:
        names = ", ".join(f"{row.metric} ({row.arm})" for row in eager[:5])
        text = f"too many are small for {names}: tests would find effects that are not there"
        worst = min(eager, key=lambda row: row.p_adjusted)
    elif failed:
        names = ", ".join(f"{row.metric} ({row.arm})" for row in failed[:5])
        text = f"too few are small for {names}: ranges are wider than they need be"
    else:
        text = f"uniform for all {len(rows)} metrics and arms"
    return Check(
        name="p_values",
        verdict=verdict,
        message=f"p-values: {text} (worst {_shown(worst.p_adjusted)}, {worst.metric}).",
        value=worst.p_adjusted,
        threshold=ALPHA,
    )


def _coverage(rows: Sequence[Row], draws: int, level: float) -> Check:
    p = [_short(row.coverage, row.lost, draws, level - SLACK) for row in rows]
    holm = adjust(p, "holm")
    failed = [row for row, x in zip(rows, holm, strict=True) if x < ALPHA]
    worst = min(rows, key=lambda row: row.coverage if np.isfinite(row.coverage) else 2.0)
    text = "no fewer than they promise" if not failed else "fewer than they promise"
    return Check(
        name="coverage",
        verdict=FAIL if failed else PASS,
        message=(
            f"Ranges: {worst.coverage:.1%} of those of {worst.metric} hold the truth, "
            f"{text} ({level:.0%})."
        ),
        value=worst.coverage,
        threshold=level - SLACK,
    )


def _power(rows: Sequence[Row], draws: int) -> Check:
    p = [_short(row.power, row.lost, draws, POWER - POWER_SLACK) for row in rows]
    holm = adjust(p, "holm")
    failed = [row for row, x in zip(rows, holm, strict=True) if x < ALPHA]
    worst = min(rows, key=lambda row: row.power if np.isfinite(row.power) else 2.0)
    return Check(
        name="power",
        verdict=WARN if failed else PASS,
        message=(
            f"Power: an effect that should be seen in {POWER:.0%} of tests is seen in "
            f"{worst.power:.1%} for {worst.metric}, the lowest."
        ),
        value=worst.power,
        threshold=POWER - POWER_SLACK,
    )


def _short(share: float, lost: float, draws: int, least: float) -> float:
    """P-value of a share that should be at least so large."""
    from scipy import stats

    n = round(draws * (1 - lost))
    if not n or not np.isfinite(share):
        return 1.0
    return float(stats.binomtest(round(share * n), n, least, alternative="less").pvalue)


def _hash(experiment: Experiment, found: Pieces) -> Check:
    """Ask whether ids spread evenly over the first digits of their hashes."""
    from scipy import stats

    sizes = np.zeros(BUCKETS)
    for label, n in zip(found.cells.labels, found.cells.n, strict=True):
        sizes[int(label[0], 16)] += n
    p = float(stats.chisquare(sizes).pvalue)
    failed = p < ALPHA
    tail = "unevenly: are ids repeated, or hashed before?" if failed else "evenly"
    return Check(
        name="hash",
        verdict=FAIL if failed else PASS,
        message=f"Hash: {experiment.unit} ids spread {tail} over {BUCKETS:,} buckets "
        f"(p {_shown(p)}).",
        value=p,
        threshold=ALPHA,
    )


def _notes(
    experiment: Experiment, found: Pieces, mechanism: Mechanism, *, clustered: bool
) -> tuple[str, ...]:
    out = [f"re-assigned {mechanism.words}"]
    if found.are_clusters and not clustered:
        out.append("the analysis takes units for independent although they move in clusters")
    if found.are_clusters and len({label[0] for label in found.cells.labels}) < FEW:
        out.append(
            f"with fewer than {FEW} clusters p-values take few values, and their distribution "
            "says little"
        )
    if found.since is not None:
        out.append(
            f"the window is the {experiment.follow_up} days before the run, before any "
            "adjustment for earlier behaviour, so the test may see more than this"
        )
    if experiment.assign is not None and experiment.assign.epochs is not None:
        out.append("shares are those of the last epoch")
    return (*out, *found.facts.notes)


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return list(value) if isinstance(value, tuple) else value


def _shown(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
