"""What has moved since the last review, and would a decision flip?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.registry.record import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from upliftlab.registry.record import Record, RecordedArm

MOVES = 0.10
"""Share of the standard error from which an estimate is restated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restated:
    """One arm, as frozen in the last review and as it reads now.

    Attributes:
        experiment: Name.
        arm: Label of the treatment.
        then: Extra profit per unit at the last review.
        now: The same, with the returns that have come in since.
        change: Now less then.
        in_std_errors: Change as a share of the standard error then.
        realised_change: Change of the realised total, minor units.
        verdict_then: Verdict at the last review.
        verdict_now: Verdict now.
        flips: Whether the verdicts differ.
        is_restated: Whether it moved by over 10 % of its standard error, or flips.
        decision: What was decided meanwhile; empty for nothing.
        must_revisit: Whether a decision was taken that the verdict no longer supports.
        booked_then: Share of the money that was final then.
        booked_now: And now.
        note: Why the two may not be comparable; empty where they are.
    """

    experiment: str
    arm: str
    then: float
    now: float
    change: float
    in_std_errors: float
    realised_change: float
    verdict_then: str
    verdict_now: str
    flips: bool
    is_restated: bool
    decision: str
    must_revisit: bool
    booked_then: float
    booked_now: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The restatement log of a review.

    Attributes:
        rows: Every arm of both reviews, largest change in money first.
        restated: How many moved enough to be restated.
        flips: How many verdicts differ.
        must_revisit: How many decisions no longer have their verdict.
        total_change: Change of realised profit over all rows.
        vanished: Experiments of the last review that are not in this one.
        sentence: What follows.
    """

    rows: tuple[Restated, ...]
    restated: int
    flips: int
    must_revisit: int
    total_change: float
    vanished: tuple[str, ...]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def drift(before: Iterable[Record], now: Iterable[Record]) -> Drift:
    """Compare the records that a review was frozen on with the same plans re-run.

    Args:
        before: Records of the last review.
        now: Newest records; experiments that are new are not drift.
    """
    current = {record.name: record for record in now}
    frozen = list(before)
    rows = []
    for record in frozen:
        again = current.get(record.name)
        if again is None or not record.is_read:
            continue
        new = {arm.arm: arm for arm in again.arms}
        rows += [
            _row(record, again, arm, new[arm.arm]) for arm in record.arms if arm.arm in new
        ]
    rows.sort(key=lambda row: -abs(row.realised_change))
    restated = sum(row.is_restated for row in rows)
    flips = sum(row.flips for row in rows)
    return Drift(
        rows=tuple(rows),
        restated=restated,
        flips=flips,
        must_revisit=sum(row.must_revisit for row in rows),
        total_change=math.fsum(row.realised_change for row in rows),
        vanished=tuple(sorted(r.name for r in frozen if r.name not in current)),
        sentence=f"{restated} of {len(rows)} arms restated, {flips} decisions would flip",
    )


def _row(record: Record, again: Record, before: RecordedArm, after: RecordedArm) -> Restated:
    change = after.profit.estimate - before.profit.estimate
    error = before.profit.std_error
    share = change / error if error > 0 else math.nan
    verdict = after.verdict if again.is_read else "no verdict"
    flips = before.verdict != verdict
    taken = again.taken(after.arm)
    decision = "" if taken is None else taken.decision
    return Restated(
        experiment=record.name,
        arm=before.arm,
        then=before.profit.estimate,
        now=after.profit.estimate,
        change=change,
        in_std_errors=share,
        realised_change=after.realised.estimate - before.realised.estimate,
        verdict_then=before.verdict,
        verdict_now=verdict,
        flips=flips,
        is_restated=flips or abs(share) > MOVES,
        decision=decision,
        must_revisit=flips and bool(decision) and decision != verdict,
        booked_then=record.maturity.booked,
        booked_now=again.maturity.booked,
        note=_note(record, again),
    )


def _note(record: Record, again: Record) -> str:
    notes: Sequence[str] = (
        "the plan was changed: this is another question" if record.plan != again.plan else "",
        "" if again.is_read else f"now {again.status}: {again.status_reason}",
        "the data are the same" if record.data and record.data == again.data else "",
    )
    return "; ".join(note for note in notes if note)
