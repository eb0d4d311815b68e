"""What of a plan goes on record before there is an answer?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.registry.record import RUNNING, Record, quarter_of

if TYPE_CHECKING:
    from upliftlab.experiment import Experiment
    from upliftlab.lock import Lock


def planned(plan: Experiment, lock: Lock | None = None) -> Record:
    """Put a plan on record, as running and without an answer.

    Args:
        plan: As it is now.
        lock: As it was promised; None where it was never locked.

    Examples:
        >>> from upliftlab.experiment import Experiment
        >>> arms = {"old": {"share": "50%", "control": True}, "new": {"share": "50%"}}
        >>> planned(Experiment(name="spring", kind="custom", arms=arms)).status
        'running'
    """
    days = plan.run or plan.observe
    starts = "" if days is None else days.start.isoformat()
    assign = plan.assign
    layer = None if assign is None else assign.layer
    changes = () if lock is None else lock.changes(plan)
    return Record(
        name=plan.name,
        question=plan.question,
        owner=plan.owner,
        kind=plan.kind,
        goal=plan.goal or "",
        design=plan.design,
        mechanism=mechanism_of(plan.kind, plan.goal or ""),
        unit=plan.unit,
        currency=plan.currency,
        starts=starts,
        ends="" if days is None else days.end.isoformat(),
        quarter=quarter_of(starts),
        window=plan.follow_up,
        status=RUNNING,
        layer="" if layer is None else layer.name,
        salt="" if assign is None else assign.salt or plan.name,
        plan=plan.fingerprint,
        deviations=tuple(
            f"{each.key}: planned {each.planned or 'nothing'}, found {each.found or 'nothing'}"
            for each in changes
        ),
    )


def mechanism_of(kind: str, goal: str) -> str:
    """Name what is pooled with what.

    Examples:
        >>> mechanism_of("smart_coupon", "win_back"), mechanism_of("dual_commission", "")
        ('smart_coupon: win_back', 'dual_commission')
    """
    return f"{kind}: {goal}" if goal else kind
