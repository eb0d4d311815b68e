"""Which decisions does the quarter ask for, with how much money at stake?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.registry.record import plain
from upliftlab.review.entries import is_holdout, rivals_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.registry.record import Record, RecordedArm
    from upliftlab.review.believed import Believed
    from upliftlab.stats.estimate import Estimate

NO_VERDICT = "no verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One decision that is open.

    Attributes:
        experiment: Name of the experiment.
        arm: Label of the treatment.
        proposed: What the analysis proposes.
        segment: To which segment; empty for everyone.
        owner: Who answers for it.
        worth: Extra profit over the units it would be rolled out to, as measured.
        believed: The same, shrunken with the whole programme.
        at_stake: Money lost by deciding wrongly the likelier way: the size of ``believed``.
        reason: The deciding sentence.
        why_now: Why it is asked: nothing decided yet, or an override that ran out.
        rivals: Treatments of the experiment that would ship too; a unit gets one.
        record: Content address of the analysis.
    """

    experiment: str
    arm: str
    proposed: str
    segment: str
    owner: str
    worth: Estimate
    believed: Estimate
    at_stake: float
    reason: str
    why_now: str
    rivals: tuple[str, ...]
    record: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Every experiment that started, whatever came of it.

    Attributes:
        started: All.
        read: With an answer that counts.
        void: Read, and a blocking check failed.
        stopped: Ended unread.
        running: Not read yet.
        void_reasons: Name -> reason, of void and stopped ones.
    """

    started: int
    read: int
    void: int
    stopped: int
    running: int
    void_reasons: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def decisions_asked(
    records: Sequence[Record], believed: Sequence[Believed], *, today: str = ""
) -> tuple[Asked, ...]:
    """List arms with a verdict and no decision in force, most money first.

    Of several that would ship, the best stands for all: its ``rivals`` are the others.

    Args:
        records: Experiments of the quarter.
        believed: The same arms after shrinking.
        today: ISO date; overrides whose last day is before it are asked again.
    """
    rows = {(b.entry.experiment, b.entry.arm, b.entry.record): b for b in believed}
    out = []
    for record in records:
        if not record.is_read or is_holdout(record):
            continue
        for arm in record.arms:
            why = _why_now(record, arm, today)
            row = rows.get((record.name, arm.arm, record.id))
            if row is None or row.entry.is_rival or arm.verdict == NO_VERDICT:
                continue
            if why:
                out.append(_asked(record, arm, row, why))
    return tuple(sorted(out, key=lambda a: (-a.at_stake, a.experiment, a.arm)))


def started_of(records: Sequence[Record]) -> Started:
    """Count what started: no survivorship."""
    count = dict.fromkeys(("read", "void", "stopped", "running"), 0)
    for record in records:
        count[record.status] += 1
    reasons = {r.name: r.status_reason for r in records if r.status in {"void", "stopped"}}
    return Started(started=len(records), void_reasons=reasons, **count)


def _why_now(record: Record, arm: RecordedArm, today: str) -> str:
    taken = record.taken(arm.arm)
    if taken is None:
        return "nothing decided yet"
    if taken.is_override and taken.expires and today and taken.expires < today:
        return f"the override of {taken.at[:10]} by {taken.by} ran out on {taken.expires}"
    return ""


def _asked(record: Record, arm: RecordedArm, row: Believed, why: str) -> Asked:
    rollout = arm.rollout if arm.rollout.std_error > 0 else arm.realised
    in_segment = arm.verdict == "ship to segment" and arm.segment_at_stake.std_error > 0
    # A segment's total has no place in the shrinkage over whole arms.
    worth = arm.segment_at_stake if in_segment else rollout
    believed = worth if in_segment else row.rollout
    return Asked(
        experiment=record.name,
        arm=arm.arm,
        proposed=arm.verdict,
        segment=arm.segment,
        owner=record.owner,
        worth=worth,
        believed=believed,
        at_stake=abs(believed.estimate) if believed.estimate == believed.estimate else 0.0,
        reason=arm.reasons[0] if arm.reasons else "",
        why_now=why,
        rivals=tuple(sorted(rivals_of(record))) if row.entry.is_shipped else (),
        record=record.id,
    )
