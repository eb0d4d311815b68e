"""Which experiments did a quarter have, and what is asked about each of their treatments?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.decision import SHIP, SHIP_TO_SEGMENT, STOP
from upliftlab.registry.record import READ, RUNNING, STOPPED, VOID, plain
from upliftlab.review.entries import is_holdout
from upliftlab.review.quarter import review_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from upliftlab.registry.record import Maturity, Record, RecordedArm, Taken
    from upliftlab.review.money import Bar
    from upliftlab.review.quarter import Review
    from upliftlab.stats.estimate import Estimate

_TOTALS = (
    "quarter", "currency", "outcome", "total", "spend", "iroi", "shipped", "false_positives",
    "holdout", "additivity", "coverage", "maturity", "left_out",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One treatment of an experiment that was read.

    Attributes:
        record: The experiment.
        arm: The treatment.
        taken: The newest decision on it; None while it is open.
        why_now: Why it is asked: nothing decided yet, or an override that ran out; empty where
            it is not.
        rivals: Treatments of the experiment that would ship too; a unit gets one.
    """

    record: Record
    arm: RecordedArm
    taken: Taken | None = None
    why_now: str = ""
    rivals: tuple[RecordedArm, ...] = ()

    @property
    def is_alone(self) -> bool:
        """Whether the experiment has no other treatment."""
        return len(self.record.arms) == 1

    @property
    def at_stake(self) -> Estimate:
        """What is decided about: the roll-out total where it exists, else the test's own."""
        if self.arm.segment and math.isfinite(self.arm.segment_at_stake.estimate):
            return self.arm.segment_at_stake
        return (
            self.arm.rollout if math.isfinite(self.arm.rollout.estimate) else self.arm.realised
        )

    @property
    def proposed(self) -> str:
        """What the analysis says to do."""
        if self.arm.segment and self.arm.verdict != SHIP:
            return SHIP_TO_SEGMENT
        return self.arm.verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """All experiments that started in a quarter, read together.

    Attributes:
        review: What they say together: every sum of the page comes from it.
        records: Every experiment that started, whatever became of it.
        results: Every treatment that was read and counts, the most money first.
    """

    review: Review
    records: tuple[Record, ...]
    results: tuple[Result, ...]

    @property
    def quarter(self) -> str:
        """Such as "2026Q3"."""
        return self.review.quarter

    @property
    def currency(self) -> str:
        """Of all amounts, in minor units; empty where the outcome is not money."""
        return self.review.currency

    @property
    def outcome(self) -> str:
        """What is added up: "profit", or the name of an imported metric."""
        return self.review.outcome

    @property
    def counts(self) -> Mapping[str, int]:
        """Status -> how many experiments."""
        n = self.review.started
        return {READ: n.read, VOID: n.void, STOPPED: n.stopped, RUNNING: n.running}

    @property
    def total(self) -> Estimate:
        """Extra profit over all treated units of the tests that were read."""
        return self.review.total

    @property
    def spend(self) -> Estimate:
        """Campaign money over the same units, more than in control."""
        return self.review.spend

    @property
    def iroi(self) -> Estimate:
        """``total`` per unit of ``spend``, over the tests whose spend is known."""
        return self.review.iroi

    @property
    def lines(self) -> tuple[Bar, ...]:
        """P&L lines that add up to ``total``."""
        return self.review.waterfall

    @property
    def maturity(self) -> Maturity:
        """Booked, still returning and assumed shares, weighted by money moved."""
        return self.review.maturity

    @property
    def notes(self) -> tuple[str, ...]:
        """Rungs that not every experiment measured."""
        of = self.review.ladder[-1].n_tests
        return tuple(
            f"{each.name.replace('_', ' ')} over {each.n_tests} of {of} experiments"
            for each in self.review.ladder
            if 0 < each.n_tests < of
        )

    @property
    def asked(self) -> tuple[Result, ...]:
        """Treatments that wait for a decision, the most money first."""
        words = {SHIP, SHIP_TO_SEGMENT, STOP}
        return tuple(e for e in self.results if e.why_now and e.proposed in words)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **{name: plain(getattr(self.review, name)) for name in _TOTALS},
            "counts": dict(self.counts),
            "ladder": {each.name: plain(each.amount) for each in self.review.ladder},
            "lines": [plain(each) for each in self.lines],
            "mechanisms": [each.to_dict() for each in self.review.mechanisms],
            "notes": [*self.notes, *self.review.notes],
            "records": [each.id for each in self.records],
        }


def programme(
    records: Iterable[Record], quarter: str, *, review: Review | None = None
) -> Programme:
    """Line up the experiments of a quarter and what is asked about them.

    Args:
        records: The experiments that started in the quarter.
        quarter: Its name.
        review: The same experiments read together; read here unless given.

    Examples:
        >>> programme([], "2026Q3").total.note
        'no experiment was read'
    """
    chosen = tuple(records)
    read = review or review_of(chosen, quarter=quarter)
    asked = {(each.experiment, each.arm, each.record): each for each in read.asked}
    results = [
        Result(
            record=record,
            arm=arm,
            taken=record.taken(arm.arm),
            why_now=open_.why_now if open_ else "",
            rivals=tuple(map(record.arm, open_.rivals)) if open_ else (),
        )
        for record in chosen
        if record.is_read and record.name not in read.left_out and not is_holdout(record)
        for arm in record.arms
        for open_ in (asked.get((record.name, arm.arm, record.id)),)
    ]
    return Programme(review=read, records=chosen, results=tuple(sorted(results, key=_by_money)))


def _by_money(result: Result) -> float:
    size = abs(result.at_stake.estimate)
    return -size if math.isfinite(size) else math.inf


__all__ = ["Programme", "Result", "programme"]
