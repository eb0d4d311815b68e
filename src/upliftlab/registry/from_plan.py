"""What of a plan goes on record before there is an answer?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.registry.record import RUNNING, Record, quarter_of

if TYPE_CHECKING:
    from upliftlab.experiment import Experiment


def planned(plan: Experiment) -> Record:
    """Put a plan on record, as running and without an answer.

    Examples:
        >>> from upliftlab.experiment import Experiment
        >>> arms = {"old": {"share": "50%", "control": True}, "new": {"share": "50%"}}
        >>> planned(Experiment(name="spring", kind="custom", arms=arms)).status
        'running'
    """
    days = plan.run or plan.observe
    starts = "" if days is None else days.start.isoformat()
    assigned = getattr(plan, "assignment", None)
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
        layer=str(getattr(assigned, "layer", None) or ""),
        salt=str(getattr(assigned, "salt", None) or ""),
        plan=plan.fingerprint,
    )


def mechanism_of(kind: str, goal: str) -> str:
    """Name what is pooled with what.

    Examples:
        >>> mechanism_of("smart_coupon", "win_back"), mechanism_of("dual_commission", "")
        ('smart_coupon: win_back', 'dual_commission')
    """
    return f"{kind}: {goal}" if goal else kind
