"""From what a test has earned so far to the shares of its next epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.adaptive.log import ShareLog, log_of
from upliftlab.adaptive.sequence import Look, looks
from upliftlab.adaptive.shares import NextShares, next_shares
from upliftlab.errors import DesignError
from upliftlab.profit import profit_contrasts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from upliftlab.adaptive.weighted import Weighted
    from upliftlab.economics import Economics
    from upliftlab.estimators.metrics import MetricEffect
    from upliftlab.experiment import Experiment
    from upliftlab.stats.estimate import Estimate
    from upliftlab.stats.joint import Joint

BUYERS = "buyers"

FEWEST = 250
"""Units that the smallest arm needs before shares move: fewer say nothing of skewed profit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The next epoch of a test.

    Attributes:
        since: Its first day.
        shares: Of every arm, and why.
        profits: Extra profit per unit so far, by treatment, in minor units.
        looks: Every treatment at the end of every epoch, with ranges that hold at all looks
            and for all treatments at once; minor units.
        log: All epochs, the new one last.
    """

    since: date
    shares: NextShares
    profits: tuple[Estimate, ...]
    looks: tuple[Look, ...]
    log: ShareLog

    def look(self, arm: str) -> Look:
        """Find the latest look of an arm."""
        return [each for each in self.looks if each.arm == arm][-1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "since": self.since.isoformat(),
            "shares": self.shares.to_dict(),
            "profits": [each.to_dict() for each in self.profits],
            "looks": [each.to_dict() for each in self.looks],
            "log": self.log.to_dict(),
        }


def next_epoch(
    experiment: Experiment,
    epochs: Weighted,
    economics: Economics,
    metrics: Sequence[MetricEffect] = (),
    *,
    since: date,
    now: datetime | None = None,
) -> Move:
    """Say which shares come next, by profit so far, and log them.

    An arm with a guardrail that is worse beyond doubt loses its share; it does not come back,
    since epochs without it say nothing of it. The same data and plan give the same shares.

    Args:
        experiment: The plan, with ``assign.adapt``.
        epochs: Arm means so far, of each epoch and epochs weighed.
        economics: Prices.
        metrics: Guardrails among them.
        since: First day of the next epoch.
        now: When; the present unless said.

    Raises:
        DesignError: When an arm has too few units, or the day is not after the last epoch's.
    """
    assign = experiment.assign
    if assign is None or assign.adapt is None:
        log_of(experiment)
        message = f"experiment {experiment.name!r} keeps its shares."
        raise DesignError(message)
    adapt, log, effects = assign.adapt, log_of(experiment), epochs.effects
    few = [
        (arm, n)
        for arm, n in zip(effects.arms, effects.n, strict=True)
        if n < FEWEST and log.epochs[-1].share.get(arm, 0.0) > 0
    ]
    if few:
        raise DesignError(
            f"arm {few[0][0]!r} has {few[0][1]:,} units; shares move from {FEWEST} on in every "
            "arm. Keep the shares for another epoch."
        )
    treatments = [arm.label for arm in experiment.treatments]
    profit = profit_contrasts(effects, economics, treatments)
    moved = next_shares(
        profit,
        control=experiment.control.label,
        method=adapt.method,  # type: ignore[arg-type]
        floor=float(adapt.floor),
        prior_sd=float("inf") if adapt.prior is None else float(adapt.prior.minor),
        dropped=_dropped(log, metrics, experiment.control.label),
        seed=int(experiment.fingerprint[:8], 16) + len(log.epochs),
    )
    level = float(experiment.decide.confidence)
    profits = tuple(profit.estimate(name, level=level) for name in profit.names)
    tuned_at = planned_units(log, epochs, experiment, since)
    why = {
        "tuned_at": tuned_at,
        "method": moved.method,
        "best": dict(moved.best),
        "dropped": dict(moved.dropped),
        "profit": {each.name: [each.estimate, each.std_error] for each in profits},
        "units": dict(zip(effects.arms, effects.n, strict=True)),
    }
    return Move(
        since=since,
        shares=moved,
        profits=profits,
        looks=looks_of(experiment, epochs, economics, planned=tuned_at),
        log=log.with_epoch(since, moved.share, why, now=now),
    )


def looks_of(
    experiment: Experiment, epochs: Weighted, economics: Economics, *, planned: float
) -> tuple[Look, ...]:
    """Read every treatment at the end of every epoch, by ranges that hold at all looks.

    Args:
        experiment: The plan.
        epochs: Effects within each epoch.
        economics: Prices.
        planned: Units at which the ranges are tightest; see ``planned_units``.
    """
    arms = [arm.label for arm in experiment.arms]
    profits: list[Joint | None] = []
    units, active = [], []
    for part in epochs.parts:
        own = [arm for arm in part.arms if arm != part.control]
        profits.append(profit_contrasts(part, economics, own) if own else None)
        n = dict(zip(part.arms, part.n, strict=True))
        units.append([n.get(arm, 0) for arm in arms])
        if BUYERS in part.names:
            share = dict(zip(part.arms, part.mean[:, part.names.index(BUYERS)], strict=True))
            active.append([round(n.get(arm, 0) * share.get(arm, 0.0)) for arm in arms])
    return looks(
        profits,
        units,
        epochs.epochs,
        arms=arms,
        planned=planned,
        level=float(experiment.decide.confidence),
        active=active if len(active) == len(units) else None,
    )


def planned_units(
    log: ShareLog, epochs: Weighted, experiment: Experiment, since: date | None = None
) -> float:
    """Return the units at which ranges are tightest: fixed at the first move, then kept.

    At the first move it is what the whole run would bring at the pace of the first epoch.
    """
    held = [epoch.why["tuned_at"] for epoch in log.epochs if "tuned_at" in epoch.why]
    if held:
        return float(held[0])
    first = float(sum(epochs.parts[0].n))
    run, until = experiment.run, log.epochs[1].since if len(log.epochs) > 1 else since
    if run is None or until is None:
        return first
    return first * max(1.0, ((run.end - run.start).days + 1) / max(1, (until - run.start).days))


def _dropped(log: ShareLog, metrics: Sequence[MetricEffect], control: str) -> dict[str, str]:
    gone: dict[str, str] = {}
    for epoch in log.epochs:
        gone |= epoch.why.get("dropped", {})
    for metric in metrics:
        if metric.role == "guardrail" and metric.state == "inferior" and metric.arm != control:
            gone.setdefault(metric.arm, f"{metric.metric} is worse than it may be")
    return gone
