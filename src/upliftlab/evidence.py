"""What stands beside the verdict: checks, metrics of the plan, and the journey."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from upliftlab import checks, money_checks
from upliftlab.data.prepare import run_seconds
from upliftlab.estimators.families import false_discoveries
from upliftlab.estimators.metrics import MetricEffect, guardrail, metric_effect
from upliftlab.plan.currencies import currency_of
from upliftlab.stats.estimate import undefined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upliftlab.checks import Check
    from upliftlab.data.cells import Cells
    from upliftlab.data.measure import Tail
    from upliftlab.data.prepared import Facts
    from upliftlab.estimators.effects import Effects
    from upliftlab.experiment import Experiment
    from upliftlab.lock import Lock
    from upliftlab.plan.metrics import Metric

STEPS = (
    ("saw", "saw the coupon"),
    ("claimed", "claimed it"),
    ("buyers", "ordered"),
    ("kept_buyers", "kept an order"),
    ("came_back", "came back and ordered again"),
)

ALWAYS = (
    "conversion",
    "return_rate",
    "cancel_rate",
    "basket",
    "new_customers",
    "members_activated",
)
"""Metrics shown wherever the data hold them; exploratory unless the plan names them."""

_ORDER = {checks.FAIL: 0, checks.WARN: 1, checks.INFO: 2, checks.PASS: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """One step of one arm's journey.

    Attributes:
        arm: The arm.
        step: Key of the step.
        label: Words for readers.
        share: Share of assigned units that took it.
    """

    arm: str
    step: str
    label: str
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"arm": self.arm, "step": self.step, "label": self.label, "share": self.share}


def all_checks(
    experiment: Experiment,
    facts: Facts,
    cells: Cells,
    covariates: Sequence[str],
    tails: Mapping[str, Tail],
    *,
    epochs: Mapping[str, Mapping[str, float]] | None = None,
    lock: Lock | None = None,
    dealt: Check | None = None,
) -> tuple[Check, ...]:
    """Run every check that the data allow, failed ones first.

    Args:
        experiment: The plan.
        facts: Counts about the data.
        cells: Moments.
        covariates: Pre-period columns among them.
        tails: Arm -> shape of its profit.
        epochs: Shares by epoch, where they changed.
        lock: What was promised.
        dealt: How arms were dealt, where plain shares and plain means say nothing: it stands
            for the sample ratio and the balance of arms.
    """
    control = experiment.control.label
    arms = [arm.label for arm in experiment.arms]
    counts = {arm: sum(by.values()) for arm, by in facts.assigned.items()}
    suffix = f"@{experiment.follow_up}d" if experiment.grain == "orders" else ""
    stated = experiment.who_pays.stated
    currency = currency_of(experiment.currency)
    ran = run_seconds(experiment)
    found = [
        dealt
        or checks.check_sample_ratio(
            {arm: {"": n} for arm, n in facts.clusters.items()} or facts.assigned,
            {a.label: float(a.share) for a in experiment.arms if a.share is not None},
            of="clusters" if facts.clusters else "customers",
            epochs=None if facts.clusters else epochs,
        ),
        checks.check_clusters(facts),
        checks.check_cross_arm(facts, sum(counts.values())),
        checks.check_missing(facts),
        checks.check_coverage(facts),
        checks.check_maturity(facts, experiment.follow_up, experiment.returns_final_after)
        if experiment.grain == "orders"
        else checks.check_table_maturity(
            run_end=ran[1] if ran else None,
            as_of=facts.as_of,
            days=experiment.follow_up,
            returns_final=experiment.returns_final_after,
            zone=ZoneInfo(experiment.timezone),
        ),
        None
        if dealt
        else checks.check_balance(
            cells, covariates, arms, control, clustered=bool(facts.clusters)
        ),
        money_checks.check_leakage(facts, counts, control),
        money_checks.check_stacking(facts, control, minor=currency.scale),
        money_checks.check_funding(
            facts, None if stated is None else {who: float(x) for who, x in stated.items()}
        ),
        money_checks.check_ledger(facts, minor_unit=currency.minor or currency.main),
        money_checks.check_money_unit(
            facts,
            suffix,
            [float(arm.coupon.minor) for arm in experiment.arms if arm.coupon],
            minor=currency.scale,
            units=currency.units,
        ),
        money_checks.check_reconciliation(facts, suffix),
        checks.check_outliers(tails, "profit"),
        money_checks.check_set_aside(facts),
    ]
    return with_lock([check for check in found if check], experiment, lock)


def with_lock(
    found: Sequence[Check], experiment: Experiment, lock: Lock | None
) -> tuple[Check, ...]:
    """Add to the checks whether the plan is as it was promised, failed ones first."""
    both = list(found)
    if lock is not None:
        both.append(checks.check_promise(lock.locked_at, lock.changes(experiment)))
    return tuple(sorted(both, key=lambda check: _ORDER[check.verdict]))


def metrics_of(experiment: Experiment, effects: Effects) -> tuple[MetricEffect, ...]:
    """Measure guardrails, the plan's metrics and the usual ones.

    Secondary metrics of the plan are corrected together over metrics and arms; others are
    marked exploratory and carry no claim.

    References:
        Benjamini and Hochberg (1995), *Journal of the Royal Statistical Society B* 57(1);
        Benjamini and Yekutieli (2005), *JASA* 100(469), for intervals of the selected.
    """
    level = float(experiment.decide.confidence)
    margins = experiment.guardrails
    planned = {metric.name for metric in experiment.metrics} | set(margins)
    names = dict.fromkeys((*margins, *(m.name for m in experiment.metrics), *ALWAYS))
    found: list[MetricEffect] = []
    for arm in experiment.treatments:
        for name in names:
            metric = experiment.metric(name)
            if name == "profit":
                continue
            effect = metric_effect(effects, metric, arm.label, level=level)
            if effect is None:
                if name in margins:
                    found.append(_unmeasured(metric, arm.label, margins[name], level))
                continue
            if name in margins:
                effect = guardrail(effect, effects, metric, margins[name])
            found.append(replace(effect, is_planned=name in planned))
    return _corrected(found, experiment, effects, level)


def journey_of(effects: Effects) -> tuple[Journey, ...]:
    """Return the share of each arm's units at every step that was measured."""
    return tuple(
        Journey(
            arm=arm,
            step=step,
            label=label,
            share=float(effects.mean[a, effects.names.index(step)]),
        )
        for a, arm in enumerate(effects.arms)
        for step, label in STEPS
        if step in effects.names
    )


def _unmeasured(metric: Metric, arm: str, margin: object, level: float) -> MetricEffect:
    """Keep a promise that the data cannot judge: inconclusive, never silently dropped."""
    needs = " and ".join(metric.components)
    return MetricEffect(
        metric=metric.name,
        arm=arm,
        role="guardrail",
        direction=metric.direction,
        treatment=float("nan"),
        control=float("nan"),
        effect=undefined(metric.name, f"the data do not hold {needs}", level=level),
        state="inconclusive",
        margin=str(margin),
    )


def _corrected(
    found: list[MetricEffect], experiment: Experiment, effects: Effects, level: float
) -> tuple[MetricEffect, ...]:
    """Correct the plan's secondary metrics together; what is not selected claims no range."""
    family = [i for i, m in enumerate(found) if m.role == "secondary" and m.is_planned]
    if not family:
        return tuple(found)
    rows = tuple(found[i] for i in family)
    metrics = [experiment.metric(row.metric) for row in rows]
    out = list(found)
    for i, row in zip(family, false_discoveries(effects, metrics, rows, level), strict=True):
        out[i] = row
    return tuple(out)
