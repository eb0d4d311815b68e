"""From a plan to a verdict: the table of contents of the package."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from upliftlab import pricing
from upliftlab.adaptive import weighted
from upliftlab.adaptive.log import log_of, share_epochs
from upliftlab.data import measure as measuring
from upliftlab.data.panel_grain import prepare_panel
from upliftlab.data.prepare import plan_of, prepare, strata_of
from upliftlab.data.prepared import Prepared
from upliftlab.decision import Decision, Rules, decide
from upliftlab.dose import Dose, dose_of
from upliftlab.economics import MERCHANT
from upliftlab.errors import DesignError
from upliftlab.estimators import ab
from upliftlab.evidence import all_checks, journey_of, metrics_of, with_lock
from upliftlab.plan.words import ROLLOUT_DESIGNS
from upliftlab.profit import Profit, across_arms, assess, merchant_lines, profit_contrasts
from upliftlab.provenance import Provenance, estimand_of, provenance_of, rollout_estimand
from upliftlab.rollout import changes, run as rollout
from upliftlab.rollout.changes import checks_of_changes
from upliftlab.rollout.reassigned import is_reassigned
from upliftlab.segments import Segment, segments_of, skipped_levels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from upliftlab.checks import Check
    from upliftlab.data.cells import Cells, ClusterCells
    from upliftlab.data.measure import Tail
    from upliftlab.data.prepared import Facts
    from upliftlab.economics import Economics
    from upliftlab.estimators.effects import Effects
    from upliftlab.estimators.metrics import MetricEffect
    from upliftlab.evidence import Journey
    from upliftlab.experiment import Experiment
    from upliftlab.lock import Lock
    from upliftlab.rollout.answer import Rollout
    from upliftlab.rollout.changes import Several, Together
    from upliftlab.rollout.question import Answered
    from upliftlab.stats.joint import Joint
    from upliftlab.targeting.answer import Targeting
    from upliftlab.targeting.halves import ScoreBook
    from upliftlab.targeting.planned import Question

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Everything that one experiment said, frozen.

    Attributes:
        experiment: The plan.
        estimand: What the numbers estimate, in one sentence made from the plan.
        facts: Counts about the data.
        checks: Whether to trust them, failed ones first.
        economics: Lines and prices that the profit counts.
        effects: Arm means of the headline window with their joint covariance.
        epochs: The same within each epoch, where shares follow profit; else None.
        profits: Headline window, everyone, one per treatment in the order of the plan.
        other_windows: Days -> the same for another window.
        segments: Declared segments, each with its profit per arm.
        metrics: Metrics of the plan, and guardrails with their state.
        journey: Steps of the journey per arm.
        dose: What the tested depths say; None with fewer than two.
        decisions: One per treatment.
        rollout: What only units that switch over time can say; None for splits. Of the first
            change where a plan has several.
        changes: Where units got one of several changes over time: the analysis of each, in the
            order of the plan; empty otherwise.
        together: What two changes do together beyond what each does alone.
        targeting: Who should get what; None unless the plan asks.
        provenance: Versions, fingerprints, deviations from plan.
        notes: Sentences a reader must know.
    """

    experiment: Experiment
    estimand: str
    facts: Facts
    checks: tuple[Check, ...]
    economics: Economics
    effects: Effects
    epochs: weighted.Weighted | None = None
    profits: tuple[Profit, ...]
    other_windows: Mapping[int, tuple[Profit, ...]] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    metrics: tuple[MetricEffect, ...] = ()
    journey: tuple[Journey, ...] = ()
    dose: Dose | None = None
    decisions: tuple[Decision, ...] = ()
    rollout: Rollout | None = None
    changes: tuple[Analysis, ...] = ()
    together: tuple[Together, ...] = ()
    targeting: Targeting | None = None
    provenance: Provenance
    notes: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether no blocking check failed."""
        return not any(check.is_blocking for check in self.checks)

    def profit_of(self, arm: str) -> Profit:
        """Headline profit of one arm."""
        return next(profit for profit in self.profits if profit.arm == arm)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the published JSON schema describes them."""
        return {
            "schema_version": SCHEMA_VERSION,
            "experiment": self.experiment.to_dict(),
            "estimand": self.estimand,
            "facts": self.facts.to_dict(),
            "checks": [check.to_dict() for check in self.checks],
            "economics": self.economics.to_dict(),
            "effects": self.effects.to_dict(),
            "profits": [profit.to_dict() for profit in self.profits],
            "other_windows": {
                str(days): [profit.to_dict() for profit in profits]
                for days, profits in self.other_windows.items()
            },
            "segments": [segment.to_dict() for segment in self.segments],
            "metrics": [metric.to_dict() for metric in self.metrics],
            "journey": [step.to_dict() for step in self.journey],
            "dose": None if self.dose is None else self.dose.to_dict(),
            "decisions": [decision.to_dict() for decision in self.decisions],
            "rollout": None if self.rollout is None else self.rollout.to_dict(),
            "changes": [each.to_dict() for each in self.changes],
            "together": [each.to_dict() for each in self.together],
            "targeting": None if self.targeting is None else self.targeting.to_dict(),
            "provenance": self.provenance.to_dict(),
            "notes": list(self.notes),
        }


def run(
    experiment: Experiment,
    tables: Mapping[str, object] | None = None,
    *,
    economics: Economics | None = None,
    scores: ScoreBook | None = None,
    lock: Lock | None = None,
    progress: Callable[[str], None] | None = None,
) -> Analysis:
    """Answer the experiment's question.

    Args:
        experiment: The plan.
        tables: Tables from Python by source name, in place of the plan's sources.
        economics: Other prices than the plan's: what-if; the data are read the same.
        scores: Component scores of targeting that are kept from run to run, so that other
            prices learn other rules and fit nothing else again.
        lock: What was promised; the page lists what was changed since.
        progress: Called with the name of each step.

    Returns:
        The analysis; numbers that do not exist are NaN with a note, and facts about the data
        that forbid a verdict are failed checks.

    Raises:
        DefinitionError: When plan and data together cannot be priced.
        DataError: When a source does not hold what the plan says.
    """
    tell = progress or (lambda _: None)
    tell("reading")
    _refuse_unbuilt(experiment)
    if experiment.design in ROLLOUT_DESIGNS:
        given = given_tables(experiment, tables, tell)
        return _over_time(experiment, given, economics, lock=lock, tell=tell)
    found = prepare(experiment, given_tables(experiment, tables, tell))
    tell("measuring")
    measured = _measured(found)
    own = economics_of(experiment, measured)
    economics = economics or own
    tell("estimating")
    asked = _question(experiment, found, economics, own=own, scores=scores)
    uneven = asked if asked is not None and asked.is_uneven else None
    by_epoch = _by_epoch(experiment, measured, measured.cells)
    effects = (
        _effects(experiment, measured, measured.cells, measured.clusters)
        if uneven is None
        else uneven.averages()
    )
    tell("pricing")
    headline = _headline(experiment)
    profits = _profits(experiment, effects, economics, headline)
    metrics = metrics_of(experiment, effects.window(headline))
    segments = () if uneven else _segments(experiment, measured, economics)
    tell("checking")
    tails = _tails(experiment, found, measured, economics, headline)
    whom = None if asked is None else asked.answered(experiment, effects, economics, tell)
    if isinstance(found, Prepared):
        found.engine.close()
    checks = all_checks(
        experiment,
        measured.facts,
        measured.cells,
        measured.covariates,
        tails,
        epochs=share_epochs(experiment),
        lock=lock,
        dealt=None if uneven is None else uneven.dealt,
    )
    return Analysis(
        experiment=experiment,
        estimand=estimand_of(
            experiment, measured.facts, headline, () if uneven else measured.covariates
        ),
        facts=measured.facts,
        checks=checks,
        economics=economics,
        effects=effects.window(headline),
        epochs=None if by_epoch is None else by_epoch.window(headline),
        profits=profits,
        other_windows={} if uneven else _other_windows(experiment, effects, economics),
        segments=segments,
        metrics=metrics,
        journey=journey_of(effects.window(headline)),
        dose=_dose(experiment, effects.window(headline), economics),
        decisions=_decisions(experiment, profits, checks, metrics, segments),
        targeting=whom,
        provenance=provenance_of(experiment, measured.cells, measured.facts, lock),
        notes=(
            *measured.facts.notes,
            *([effects.note] if effects.note else []),
            *skipped_levels(experiment, measured.cells),
        ),
    )


def _question(
    experiment: Experiment,
    found: Prepared | tuple[Cells, Facts],
    economics: Economics,
    *,
    own: Economics,
    scores: ScoreBook | None,
) -> Question | None:
    """Ask who should get what, where the plan does."""
    if experiment.target is None or not isinstance(found, Prepared):
        return None
    from upliftlab.targeting.planned import question

    return question(experiment, found, economics, own=own, book=scores)


def _over_time(
    experiment: Experiment,
    tables: Mapping[str, object],
    economics: Economics | None,
    *,
    lock: Lock | None,
    tell: Callable[[str], None],
) -> Analysis:
    """Answer a plan whose units switch over time."""
    panel = prepare_panel(experiment, tables, absorbing=experiment.design != "switchback")
    if len(experiment.treatments) > 1:
        found = changes.each_change(experiment, panel, economics=economics, progress=tell)
        tell("checking")
        return _several(experiment, found, lock)
    one = rollout.answer(experiment, panel, economics=economics, progress=tell)
    tell("checking")
    return _timed(experiment, one, lock)


def _timed(experiment: Experiment, found: Answered, lock: Lock | None = None) -> Analysis:
    """Judge one change over time."""
    metrics = metrics_of(experiment, found.effects)
    profits = (found.profit,)
    return Analysis(
        experiment=experiment,
        estimand=rollout_estimand(experiment, found.facts),
        facts=found.facts,
        checks=with_lock(found.checks, experiment, lock),
        economics=found.economics,
        effects=found.effects,
        profits=profits,
        metrics=metrics,
        decisions=_decisions(experiment, profits, found.checks, metrics, ()),
        rollout=found.rollout,
        provenance=provenance_of(experiment, found.panel, found.facts, lock),
        notes=found.rollout.notes,
    )


def _several(experiment: Experiment, found: Several, lock: Lock | None) -> Analysis:
    """Judge several changes side by side, each as if it were alone."""
    each = tuple(
        _timed(plan, answered)
        for plan, answered in zip(found.plans, found.answers, strict=True)
    )
    first = each[0]
    level = float(experiment.decide.confidence)
    alone = [analysis.profits[0] for analysis in each]
    by_law = any(is_reassigned(profit) for profit in alone)
    profits = tuple(alone) if by_law else across_arms(alone, found.joint, level=level)
    checks = checks_of_changes([(a.profits[0].arm, a.checks) for a in each])
    facts = replace(
        first.facts,
        assigned={arm: n for a in each for arm, n in a.facts.assigned.items()},
        clusters={arm: n for a in each for arm, n in a.facts.clusters.items()},
    )
    metrics = tuple(metric for a in each for metric in a.metrics)
    return replace(
        first,
        experiment=experiment,
        estimand=rollout_estimand(experiment, facts),
        facts=facts,
        checks=with_lock(checks, experiment, lock),
        profits=profits,
        metrics=metrics,
        decisions=_decisions(experiment, profits, checks, metrics, ()),
        changes=each,
        together=found.together,
        provenance=provenance_of(experiment, found.panel, facts, lock),
        notes=tuple(dict.fromkeys(note for a in each for note in a.notes)),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Measured:
    cells: Cells
    facts: Facts
    covariates: tuple[str, ...]
    clusters: ClusterCells | None = None
    prepared: Prepared | None = None


def economics_of(experiment: Experiment, measured: _Measured) -> Economics:
    """Price the measured components by the plan's costs."""
    names = {name.partition("@")[0] for name in measured.cells.names}
    return pricing.build(
        experiment.costs,
        components=names - set(measured.covariates),
        contact=contact_of(experiment),
        ad_spend=_ad_spend(experiment, measured),
    )


def _decisions(
    experiment: Experiment,
    profits: Sequence[Profit],
    checks: Sequence[Check],
    metrics: Sequence[MetricEffect],
    segments: Sequence[Segment],
) -> tuple[Decision, ...]:
    """Apply the plan's rules to every arm."""
    rules = Rules(
        worth_it=float(experiment.decide.worth_it.minor),
        iroi_at_least=float(experiment.decide.iroi_at_least),
        both_gain=experiment.decide.both_gain,
    )
    return tuple(
        decide(
            profit,
            checks=checks,
            guardrails=[m for m in metrics if m.role == "guardrail" and m.arm == profit.arm],
            segments=[s.profit_of(profit.arm) for s in segments],
            rules=rules,
        )
        for profit in profits
    )


def given_tables(
    experiment: Experiment, tables: Mapping[str, object] | None, tell: Callable[[str], None]
) -> dict[str, object]:
    """Tables handed over, else the simulated ones of a plan that asks for them."""
    if tables:
        return dict(tables)
    if experiment.data is None or experiment.data.simulate is None:
        return {}
    from upliftlab.simulate.first_run import made

    files: dict[str, object] = dict(made(experiment, tell))
    return {name: path for name, path in files.items() if name not in experiment.data.sources}


def _refuse_unbuilt(experiment: Experiment) -> None:
    if experiment.design not in {"user_split", "cluster_split", *ROLLOUT_DESIGNS}:
        raise DesignError(f"design {experiment.design!r} has no estimator yet.")


def _measured(found: Prepared | tuple[Cells, Facts]) -> _Measured:
    if not isinstance(found, Prepared):
        cells, facts = found
        covariates = tuple(name for name in cells.names if name.startswith("x:"))
        return _Measured(cells=cells, facts=facts, covariates=covariates)
    cells = measuring.measure(found)
    clusters = measuring.measure_clusters(found, ("arm",)) if found.cluster else None
    return _Measured(
        cells=cells,
        facts=found.facts,
        covariates=found.covariates,
        clusters=clusters,
        prepared=found,
    )


def _headline(experiment: Experiment) -> int | None:
    return experiment.follow_up if experiment.grain == "orders" else None


def _arms(experiment: Experiment) -> list[str]:
    return [arm.label for arm in experiment.arms]


def _by_epoch(
    experiment: Experiment, measured: _Measured, cells: Cells
) -> weighted.Weighted | None:
    """Compare within epochs where shares follow profit."""
    if experiment.assign is None or experiment.assign.adapt is None:
        return None
    return weighted.estimate(
        cells,
        log_of(experiment).weighted(),
        arms=_arms(experiment),
        control=experiment.control.label,
        covariates=measured.covariates,
        strata=experiment.strata,
    )


def _effects(
    experiment: Experiment, measured: _Measured, cells: Cells, clusters: ClusterCells | None
) -> Effects:
    by_epoch = _by_epoch(experiment, measured, cells)
    if by_epoch is not None:
        return by_epoch.effects
    return ab.estimate(
        cells,
        arms=_arms(experiment),
        control=experiment.control.label,
        covariates=measured.covariates,
        strata=() if clusters is not None else strata_of(experiment),
        clusters=clusters,
    )


def _estimator(experiment: Experiment, measured: _Measured) -> Callable[[Cells, str], Effects]:
    """Make the function that estimates within one declared segment."""

    def within(cells: Cells, column: str) -> Effects:
        clusters = None
        if measured.prepared is not None and measured.prepared.cluster:
            whole = measuring.measure_clusters(measured.prepared, ("arm", column))
            level = cells.levels(column)[0]
            keep = [i for i, label in enumerate(whole.labels) if label[1] == level]
            clusters = replace(
                whole,
                keys=("arm",),
                labels=tuple((whole.labels[i][0],) for i in keep),
                n=whole.n[keep],
                clusters=whole.clusters[keep],
                mean=whole.mean[keep],
                cov=whole.cov[keep],
                df=whole.df[keep],
                size_cv=whole.size_cv[keep],
            )
        return _effects(experiment, measured, cells, clusters)

    return within


def _profits(
    experiment: Experiment, effects: Effects, economics: Economics, days: int | None
) -> tuple[Profit, ...]:
    level = float(experiment.decide.confidence)
    view = effects.window(days)
    found = [
        assess(
            view,
            economics,
            arm=arm.label,
            window=days,
            eligible=experiment.eligible_customers or sum(effects.n),
            hurdle=float(experiment.decide.iroi_at_least),
            level=level,
        )
        for arm in experiment.treatments
    ]
    return across_arms(found, _contrasts(experiment, view, economics), level=level)


def _segments(
    experiment: Experiment, measured: _Measured, economics: Economics
) -> tuple[Segment, ...]:
    return segments_of(
        experiment,
        measured.cells,
        economics,
        _headline(experiment),
        estimate=_estimator(experiment, measured),
    )


def _other_windows(
    experiment: Experiment, effects: Effects, economics: Economics
) -> dict[int, tuple[Profit, ...]]:
    others = [days for days in experiment.windows if days != _headline(experiment)]
    return {days: _profits(experiment, effects, economics, days) for days in others}


def _dose(experiment: Experiment, effects: Effects, economics: Economics) -> Dose | None:
    return dose_of(
        {arm.label: float(arm.coupon.minor) for arm in experiment.arms if arm.coupon},
        _contrasts(experiment, effects, economics),
        level=float(experiment.decide.confidence),
    )


def _contrasts(experiment: Experiment, effects: Effects, economics: Economics) -> Joint:
    return profit_contrasts(effects, economics, [arm.label for arm in experiment.treatments])


def _tails(
    experiment: Experiment,
    found: object,
    measured: _Measured,
    economics: Economics,
    days: int | None,
) -> dict[str, Tail]:
    """Describe the tail of profit per unit; cells alone cannot tell."""
    if not isinstance(found, Prepared):
        return {}
    suffix = "" if days is None else f"@{days}d"
    have = set(measured.cells.names)
    prices = {
        arm: {
            (name + suffix if name + suffix in have else name): rate
            for name, rate in economics.price(MERCHANT, arm).items()
        }
        for arm in _arms(experiment)
    }
    return measuring.tails(found, prices, measured.cells)


def contact_of(experiment: Experiment) -> dict[str, float]:
    """Minor units per assigned unit: the arm's own, else the table's for every treatment."""
    general = experiment.costs.contact if experiment.costs else None
    out = {}
    for arm in experiment.arms:
        amount = arm.contact if arm.contact is not None else general
        if amount is not None and not (arm.control and arm.contact is None):
            out[arm.label] = float(amount.minor)
    return out


def _ad_spend(experiment: Experiment, measured: _Measured) -> dict[str, float]:
    """Minor units per assigned unit: the spend table's total per arm, else the plan's."""
    stated = experiment.costs.ad_spend if experiment.costs else {}
    total = {arm: float(money.minor) for arm, money in stated.items()}
    total |= {arm: float(amount) for arm, amount in measured.facts.ad_spend.items()}
    by_arm = measured.cells.collapse(["arm"])
    units = {label[0]: int(by_arm.n[i]) for i, label in enumerate(by_arm.labels)}
    return {arm: amount / units[arm] for arm, amount in total.items() if units.get(arm)}


__all__ = [
    "SCHEMA_VERSION",
    "Analysis",
    "contact_of",
    "economics_of",
    "merchant_lines",
    "plan_of",
    "run",
]
