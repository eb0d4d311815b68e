"""How does one unit of each metric vary: measured in a pilot, or stated?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab import pricing
from upliftlab.analysis import contact_of
from upliftlab.checks import PASS, check_maturity
from upliftlab.components import MONEY
from upliftlab.data import measure as measuring
from upliftlab.data.prepare import prepare
from upliftlab.data.prepared import Prepared
from upliftlab.economics import MERCHANT
from upliftlab.errors import DesignError
from upliftlab.estimators import ab
from upliftlab.plan.currencies import currency_of
from upliftlab.plan.metrics import PROFIT
from upliftlab.profit import merchant_lines
from upliftlab.stats.cluster_power import icc_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.data.cells import Cells, ClusterCells
    from upliftlab.data.prepared import Facts
    from upliftlab.economics import Economics
    from upliftlab.estimators.effects import Effects
    from upliftlab.experiment import Experiment
    from upliftlab.plan.metrics import Metric
    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]

LEFT = ", adjusted"
"""Added to a metric's name for what adjustment leaves of it."""

ALWAYS = ("gmv_merchant", "conversion")
"""Shown beside profit where the data hold them: they would seem ready far too early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a unit of one metric varies, and around what.

    Attributes:
        metric: Its name.
        role: "primary", "secondary" or "guardrail".
        direction: Which way is better: "up" or "down".
        is_money: Whether it is an amount, in minor units.
        mean: Of control.
        sd: Arm -> standard deviation of a unit before adjustment.
        kept: Arm -> share of the variance of "arm less control" that adjustment leaves.
        kurtosis: Fourth standardised moment in control; NaN where only stated.
        skewness: Third one.
        skew: Arm -> third standardised moment per unit of what is compared, after adjustment;
            where clusters are assigned, their totals' times the root of the units in one.
            Empty where it is not known.
        inflation: Design effect of clusters, 1 without.
        seen: Arm -> the pilot's own effect.
        is_stated: Whether the plan states it, rather than a pilot.
    """

    metric: str
    role: str
    direction: str
    is_money: bool
    mean: float
    sd: Mapping[str, float]
    kept: Mapping[str, float]
    kurtosis: float = math.nan
    skewness: float = math.nan
    skew: Mapping[str, float] = field(default_factory=dict)
    inflation: float = 1.0
    seen: Mapping[str, Estimate] = field(default_factory=dict)
    is_stated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "metric": self.metric,
            "role": self.role,
            "direction": self.direction,
            "is_money": self.is_money,
            "mean": plain(self.mean),
            "sd": dict(self.sd),
            "variance_kept": dict(self.kept),
            "kurtosis": plain(self.kurtosis),
            "skewness": plain(self.skewness),
            "skewness_compared": {arm: plain(x) for arm, x in self.skew.items()},
            "design_effect": plain(self.inflation),
            "seen": {arm: each.to_dict() for arm, each in self.seen.items()},
            "is_stated": self.is_stated,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What a pilot, an earlier test or a time before told.

    Attributes:
        name: Of its plan; empty where everything is stated.
        units: How many it had.
        days: Days over which they came; NaN where its plan does not say.
        spreads: Profit first, then the metrics of the plan.
        campaign: Arm -> campaign money per unit beyond control's, minor units; arms that the
            pilot did not have are missing.
        cluster_size: Units per cluster; NaN without clusters.
        cluster_cv: Coefficient of variation of their sizes.
        icc: Of profit within clusters.
        clusters: How many clusters it had.
        covariates: What adjusted.
        amounts: Arm -> profit of every unit, where tests are drawn from them; not printed.
        notes: What a reader must know.
    """

    name: str = ""
    units: int = 0
    days: float = math.nan
    spreads: tuple[Spread, ...]
    campaign: Mapping[str, float] = field(default_factory=dict)
    cluster_size: float = math.nan
    cluster_cv: float = math.nan
    icc: float = math.nan
    clusters: int = 0
    covariates: tuple[str, ...] = ()
    amounts: Mapping[str, Floats] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def spread(self, metric: str) -> Spread:
        """Find one metric."""
        return next(each for each in self.spreads if each.metric == metric)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "units": self.units,
            "days": plain(self.days),
            "spreads": [each.to_dict() for each in self.spreads],
            "campaign": dict(self.campaign),
            "cluster_size": plain(self.cluster_size),
            "cluster_cv": plain(self.cluster_cv),
            "icc": plain(self.icc),
            "clusters": self.clusters,
            "covariates": list(self.covariates),
            "notes": list(self.notes),
        }


def stated(experiment: Experiment) -> Pilot:
    """Take means and standard deviations from the plan.

    Raises:
        DesignError: When the plan states nothing about profit, and has no pilot either.
    """
    rows = experiment.power.stated if experiment.power else ()
    scale = currency_of(experiment.currency).scale
    names = [row.metric for row in rows]
    if PROFIT not in names:
        message = (
            f"experiment {experiment.name!r} has neither data nor a pilot, and does not state "
            "how profit varies; add power.pilot, or power.stated: {profit: {mean: 2.78, "
            "sd: 14.2}}."
        )
        raise DesignError(message)
    arms = [arm.label for arm in experiment.arms]
    spreads = []
    for row in sorted(rows, key=lambda row: row.metric != PROFIT):
        is_money = _is_money(experiment.metric(row.metric))
        unit = scale if is_money else 1
        kept = 1 - float(row.correlation) ** 2
        spreads.append(
            Spread(
                metric=row.metric,
                role=role_of(experiment, row.metric),
                direction=experiment.metric(row.metric).direction,
                is_money=is_money,
                mean=row.mean * unit,
                sd=dict.fromkeys(arms, row.spread * unit),
                kept=dict.fromkeys(arms, kept),
                is_stated=True,
            )
        )
    return _with_stated_clusters(Pilot(spreads=tuple(spreads)), experiment)


def measured(
    experiment: Experiment,
    pilot: Experiment,
    tables: Mapping[str, object],
    *,
    keep: bool = False,
) -> Pilot:
    """Measure a pilot by the plan that is being designed: its window, metrics and costs.

    Args:
        experiment: The plan being designed.
        pilot: The plan of the data.
        tables: Tables from Python by source name.
        keep: Whether to keep the profit of every unit, to draw from.

    Raises:
        DataError: When the data do not hold what their plan says.
        DesignError: When profit does not vary in the pilot.
    """
    asked = _asked(experiment, pilot)
    found = prepare(asked, tables)
    if isinstance(found, Prepared):
        cells, facts, covariates = measuring.measure(found), found.facts, found.covariates
        clusters = measuring.measure_clusters(found, ("arm",)) if found.cluster else None
    else:
        cells, facts = found
        covariates = tuple(name for name in cells.names if name.startswith("x:"))
        clusters = None
    names = {name.partition("@")[0] for name in cells.names} - set(covariates)
    economics = pricing.build(asked.costs, components=names, contact=contact_of(asked))
    reading = _Reading(asked, cells, covariates, clusters, economics)
    spreads = [reading.spread(name) for name in _names(experiment, reading.effects)]
    units: dict[str, Floats] = {}
    if isinstance(found, Prepared):
        spreads = _shaped(found, reading, spreads, clusters)
        if keep:
            units = measuring.amounts(found, reading.amounts(spreads)[PROFIT])
        found.engine.close()
    out = Pilot(
        name=pilot.name,
        units=int(cells.n.sum()),
        days=_days(pilot),
        spreads=tuple(reading.for_plan(experiment, each) for each in spreads),
        campaign=reading.campaign(experiment),
        covariates=covariates,
        amounts=units,
        notes=_notes(asked, facts),
    )
    if clusters is None:
        return _with_stated_clusters(out, experiment)
    size = float(clusters.n.sum() / clusters.clusters.sum())
    cv = float(np.average(clusters.size_cv, weights=clusters.clusters))
    return replace(
        out,
        cluster_size=size,
        cluster_cv=cv,
        clusters=int(clusters.clusters.sum()),
        icc=icc_of(spreads[0].inflation, size, cv=cv),
    )


def role_of(experiment: Experiment, name: str) -> str:
    """Say what a metric is for in the plan."""
    if name == PROFIT:
        return "primary"
    if name in experiment.guardrails:
        return "guardrail"
    return experiment.metric(name).role


def plain(value: float) -> float | None:
    """Return a number for JSON; None where it is not finite."""
    return float(value) if math.isfinite(value) else None


class _Reading:
    """Moments of a pilot with everything needed to read any metric off them."""

    def __init__(
        self,
        pilot: Experiment,
        cells: Cells,
        covariates: Sequence[str],
        clusters: ClusterCells | None,
        economics: Economics,
    ) -> None:
        """Estimate once with and once without adjustment."""
        days = pilot.follow_up if pilot.grain == "orders" else None
        arms = [arm.label for arm in pilot.arms]
        control = pilot.control.label

        def estimate(clusters: ClusterCells | None) -> Effects:
            found = ab.estimate(
                cells, arms=arms, control=control, covariates=covariates, clusters=clusters
            )
            return found.window(days).with_units()

        self.pilot, self.cells, self.economics = pilot, cells, economics
        self.covariates = tuple(covariates)
        self.suffix = "" if days is None else f"@{days}d"
        self.effects = estimate(clusters)
        self.plain = self.effects if clusters is None else estimate(None)

    def terms(self, name: str, arm: str) -> dict[str, float]:
        """Weights of the components that make one metric of one arm, linearised."""
        if name == PROFIT:
            return self.economics.price(MERCHANT, arm)
        metric = self.pilot.metric(name)
        if metric.ratio is None:
            return {metric.components[0]: 1.0}
        top, bottom = metric.ratio
        a = self.effects.arms.index(arm)
        under = float(self.effects.mean[a, self.effects.names.index(bottom)])
        if under == 0:
            return {top: math.nan}
        over = float(self.effects.mean[a, self.effects.names.index(top)])
        return {top: 1 / under, bottom: -over / under / under}

    def spread(self, name: str) -> Spread:
        """Measure one metric in every arm of the pilot."""
        metric, control = self.pilot.metric(name), self.effects.control
        sd, kept, seen = {}, {}, {}
        for arm in self.effects.arms:
            terms = self._in_cells(name, arm)
            sd[arm] = math.sqrt(self._variance(arm, terms))
            if arm == control:
                continue
            weights = self._contrast(name, arm)
            left = self.plain.variance_left(weights)
            kept[arm] = left if math.isfinite(left) else 1.0
            joint = self.effects.linear(weights[None], [name])
            if metric.ratio is None or name == PROFIT:
                seen[arm] = joint.estimate(name, level=float(self.pilot.decide.confidence))
        inflation = 1.0
        if self.effects is not self.plain and kept:
            arm = next(iter(kept))
            weights = self._contrast(name, arm)[None]
            whole = self.effects.linear(weights, [name]).cov[0, 0]
            alone = self.plain.linear(weights, [name]).cov[0, 0]
            inflation = float(whole / alone) if alone > 0 else math.nan
        if not sd[control] > 0:
            message = (
                f"metric {name!r} does not vary among the {self._n(control):,} "
                f"{self.pilot.unit}s of arm {control!r} of the pilot; it has no power to plan. "
                f"Take a larger pilot, or state it: power.stated: {{{name}: {{mean: ..., "
                "sd: ...}}."
            )
            raise DesignError(message)
        return Spread(
            metric=name,
            role=metric.role,
            direction="up" if name == PROFIT else metric.direction,
            is_money=name == PROFIT or _is_money(metric),
            mean=self._mean(name, control),
            sd=sd,
            kept=kept,
            inflation=inflation,
            seen=seen,
        )

    def for_plan(self, experiment: Experiment, found: Spread) -> Spread:
        """Carry the pilot's numbers to the plan's arms; arms it did not have are as control."""
        base, own = found.sd[self.effects.control], found.sd
        middle = sum(found.kept.values()) / len(found.kept)
        sd = {
            arm.label: base if arm.control else own.get(arm.label, base)
            for arm in experiment.arms
        }
        kept = {arm.label: found.kept.get(arm.label, middle) for arm in experiment.treatments}
        seen = {
            arm.label: found.seen[arm.label]
            for arm in experiment.treatments
            if arm.label in found.seen
        }
        lean = found.skew.get(self.effects.control, math.nan)
        skew = {arm.label: found.skew.get(arm.label, lean) for arm in experiment.arms}
        return replace(
            found,
            role=role_of(experiment, found.metric),
            sd=sd,
            kept=kept,
            seen=seen,
            skew=skew if math.isfinite(lean) else {},
        )

    def campaign(self, experiment: Experiment) -> dict[str, float]:
        """Campaign money per unit beyond control's, for the arms that the pilot had."""
        out = {}
        lines = [line for line in merchant_lines(self.economics) if line.is_campaign]
        for arm in experiment.treatments:
            if arm.label not in self.effects.arms or arm.label == self.effects.control:
                continue
            spent = 0.0
            for line in lines:
                for label, sign in ((arm.label, -1.0), (self.effects.control, 1.0)):
                    terms = line.terms(MERCHANT, label)
                    a = self.effects.arms.index(label)
                    for component, rate in terms.items():
                        k = self.effects.names.index(component)
                        spent += sign * rate * float(self.effects.mean[a, k])
            out[arm.label] = spent
        return out

    def amounts(self, spreads: Sequence[Spread]) -> dict[str, dict[str, dict[str, float]]]:
        """Metric -> arm -> weights, as columns of the cells."""
        return {
            each.metric: {arm: self._in_cells(each.metric, arm) for arm in self.effects.arms}
            for each in spreads
        }

    def left(self, name: str, arm: str) -> dict[str, float]:
        """Weights of what adjustment leaves of a metric, as columns of the cells."""
        terms = self._in_cells(name, arm)
        if not self.covariates:
            return terms
        by_arm = self.cells.collapse(["arm"])
        m2 = by_arm.m2[by_arm.labels.index((arm,))]
        at = [by_arm.names.index(each) for each in self.covariates]
        weight = np.array([terms.get(c, 0.0) for c in by_arm.names])
        slope = np.linalg.lstsq(m2[np.ix_(at, at)], m2[at] @ weight, rcond=None)[0]
        return terms | {each: -float(b) for each, b in zip(self.covariates, slope, strict=True)}

    def _in_cells(self, name: str, arm: str) -> dict[str, float]:
        have = set(self.cells.names)
        return {
            component + self.suffix if component + self.suffix in have else component: weight
            for component, weight in self.terms(name, arm).items()
        }

    def _variance(self, arm: str, terms: Mapping[str, float]) -> float:
        by_arm = self.cells.collapse(["arm"])
        i = by_arm.labels.index((arm,))
        weight = np.array([terms.get(c, 0.0) for c in by_arm.names])
        return float(weight @ by_arm.m2[i] @ weight) / max(int(by_arm.n[i]) - 1, 1)

    def _contrast(self, name: str, arm: str) -> Floats:
        control = self.effects.control
        return self.effects.weights({arm: self.terms(name, arm)}) - self.effects.weights(
            {control: self.terms(name, control)}
        )

    def _mean(self, name: str, arm: str) -> float:
        a, metric = self.effects.arms.index(arm), self.pilot.metric(name)
        if name != PROFIT and metric.ratio is not None:
            top, bottom = (
                float(self.effects.mean[a, self.effects.names.index(part)])
                for part in metric.ratio
            )
            return top / bottom if bottom else math.nan
        weights = self.effects.weights({arm: self.terms(name, arm)})
        return float((weights[a] * self.effects.mean[a]).sum())

    def _n(self, arm: str) -> int:
        return self.effects.n[self.effects.arms.index(arm)]


def _asked(experiment: Experiment, pilot: Experiment) -> Experiment:
    """The pilot's data under the window and costs of the plan that is being designed."""
    changes: dict[str, Any] = {"target": None, "power": None}
    if experiment.follow_up and pilot.grain == "orders":
        changes["follow_up"] = experiment.follow_up
        changes["other_windows"] = ()
    if experiment.costs is not None and pilot is not experiment:
        changes["costs"] = experiment.costs
    if experiment.metrics and pilot is not experiment:
        changes["metrics"] = experiment.metrics
    return pilot.replace(**changes)


def _names(experiment: Experiment, effects: Effects) -> list[str]:
    """Metrics that the pilot can show, profit first."""
    wanted = dict.fromkeys(
        (
            PROFIT,
            *experiment.guardrails,
            *(metric.name for metric in experiment.metrics),
            *(experiment.power.effects if experiment.power else ()),
            *ALWAYS,
        )
    )
    have = set(effects.names)
    return [
        name
        for name in wanted
        if name == PROFIT or set(experiment.metric(name).components) <= have
    ]


def _shaped(
    found: Prepared, reading: _Reading, spreads: list[Spread], clusters: ClusterCells | None
) -> list[Spread]:
    """Add how far units, and what is compared of them, are from normal: one pass over units."""
    whole = reading.amounts(spreads)
    arms, control = reading.effects.arms, reading.effects.control
    left = {name + LEFT: {arm: reading.left(name, arm) for arm in arms} for name in whole}
    shapes = measuring.shapes(found, whole | left, reading.cells)
    compared = {key: shape.skewness for key, shape in shapes.items()}
    if clusters is not None:
        rows = zip(clusters.labels, clusters.n / clusters.clusters, strict=True)
        root = {arm: math.sqrt(size) for (arm,), size in rows}
        totals = measuring.cluster_skewness(found, left, reading.cells)
        compared = {key: skew * root[key[1]] for key, skew in totals.items()}
    return [
        replace(
            each,
            skewness=shapes[each.metric, control].skewness,
            kurtosis=shapes[each.metric, control].kurtosis,
            skew={arm: compared[each.metric + LEFT, arm] for arm in arms},
        )
        for each in spreads
    ]


def _with_stated_clusters(pilot: Pilot, experiment: Experiment) -> Pilot:
    from upliftlab.stats.cluster_power import design_effect

    clusters = experiment.power.clusters if experiment.power else None
    if clusters is None:
        return pilot
    effect = design_effect(clusters.size, clusters.icc, cv=clusters.cv)
    return replace(
        pilot,
        cluster_size=clusters.size,
        cluster_cv=clusters.cv,
        icc=clusters.icc,
        clusters=clusters.number,
        spreads=tuple(replace(each, inflation=effect, skew={}) for each in pilot.spreads),
    )


def _notes(pilot: Experiment, facts: Facts) -> tuple[str, ...]:
    days = pilot.follow_up if pilot.grain == "orders" else None
    check = check_maturity(facts, days, pilot.returns_final_after)
    late = () if check is None or check.verdict == PASS else (f"The pilot. {check.message}",)
    return (*late, *facts.notes)


def _days(pilot: Experiment) -> float:
    if pilot.run is None:
        return math.nan
    return float((pilot.run.end - pilot.run.start).days + 1)


def _is_money(metric: Metric) -> bool:
    if metric.name == PROFIT:
        return True
    top, bottom = metric.components[0], metric.components[1:]
    return top in MONEY and not set(bottom) & set(MONEY)
