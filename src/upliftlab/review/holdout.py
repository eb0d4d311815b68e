"""Does what was withheld from some agree with the sum of what was shipped?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.registry.record import plain
from upliftlab.review.entries import is_holdout
from upliftlab.stats.estimate import Estimate, interval, undefined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.registry.record import Record

NO_HOLDOUT = "no universal holdout was read"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutCheck:
    """Sum of tests against the universal holdout, over the same units.

    Attributes:
        holdout: What everything that runs earned together, against those who got nothing.
        naive: Sum of the raw wins.
        corrected: Sum corrected for the winner's curse.
        naive_gap: Raw sum less holdout.
        gap: Corrected sum less holdout.
        agrees: Whether 0 lies in the interval of ``gap``; None where there is none.
        sentence: What follows.
    """

    holdout: Estimate
    naive: Estimate
    corrected: Estimate
    naive_gap: Estimate
    gap: Estimate
    agrees: bool | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def holdout_of(records: Sequence[Record]) -> Estimate:
    """Find the universal holdout among the records: its total over everybody eligible."""
    for record in records:
        if is_holdout(record) and record.is_read and record.arms:
            arm = record.arms[0]
            return arm.rollout if arm.rollout.std_error > 0 else arm.realised
    return undefined("universal holdout", NO_HOLDOUT)


def against_holdout(
    holdout: Estimate, naive: Estimate, corrected: Estimate, *, level: float = 0.95
) -> HoldoutCheck:
    """Compare; the holdout's units were in no test, so its error is independent of theirs.

    Examples:
        >>> rows = (interval("holdout", 160.0, 3136.0), interval("sum", 260.0, 900.0),
        ...         interval("corrected", 184.0, 2304.0))
        >>> found = against_holdout(*rows)
        >>> f"{found.gap.estimate:.0f} ({found.gap.ci_low:.0f} to {found.gap.ci_high:.0f})"
        '24 (-121 to 169)'
    """
    gap = _gap("corrected sum less holdout", corrected, holdout, level)
    raw = _gap("sum of wins less holdout", naive, holdout, level)
    agrees = None if not gap.std_error > 0 else not gap.excludes(0.0)
    if agrees is None:
        sentence = holdout.note or corrected.note or "the gap cannot be estimated"
    elif agrees:
        sentence = "the holdout agrees with the corrected sum of tests"
    elif gap.estimate > 0:
        sentence = "the tests claim more than the holdout shows"
    else:
        sentence = "the holdout shows more than the tests claim"
    return HoldoutCheck(
        holdout=holdout,
        naive=naive,
        corrected=corrected,
        naive_gap=raw,
        gap=gap,
        agrees=agrees,
        sentence=sentence,
    )


def _gap(name: str, total: Estimate, holdout: Estimate, level: float) -> Estimate:
    variance = total.std_error**2 + holdout.std_error**2
    note = "; ".join(x for x in (total.note, holdout.note) if x and x != total.note)
    return interval(name, total.estimate - holdout.estimate, variance, level=level, note=note)
