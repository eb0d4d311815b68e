"""Which experiments did a quarter have, and what do their numbers add up to?"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.decision import SHIP, SHIP_TO_SEGMENT, STOP
from upliftlab.errors import UpliftlabError
from upliftlab.registry.record import READ, RUNNING, STOPPED, VOID, Maturity, plain
from upliftlab.stats.estimate import NAN, Estimate, interval, undefined
from upliftlab.stats.ratio import fieller
from upliftlab.stats.winners_curse import correct_total

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.registry.record import Record, RecordedArm, RecordedLine, Taken

    Floats = NDArray[np.float64]

STATUSES = (READ, VOID, STOPPED, RUNNING)
PROFIT, COST = "profit", "campaign_cost"
RUNGS = ("gmv_platform", "gmv_merchant", "kept_sales", PROFIT)
NO_READ = "no experiment was read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One treatment of an experiment that was read.

    Attributes:
        record: The experiment.
        arm: The treatment.
        taken: The newest decision on it; None while it is open.
    """

    record: Record
    arm: RecordedArm
    taken: Taken | None = None

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
class LineTotal:
    """One line of the P&L over all treatments that were read.

    Attributes:
        name: Key of the line.
        label: Words for readers.
        is_campaign: Whether it is money spent on the campaigns themselves.
        effect: Extra money over the treated, with an interval.
    """

    name: str
    label: str
    is_campaign: bool
    effect: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """All experiments that started in a quarter, and the sum of those that were read.

    Attributes:
        quarter: Such as "2026Q3".
        currency: Of all amounts, in minor units; empty where the outcome is not money.
        outcome: What is added up: "profit", or the name of an imported metric.
        records: Every experiment that started, whatever became of it.
        results: Every treatment that was read and counts, the most money first.
        counts: Status -> how many experiments.
        total: Extra profit over all treated units of the tests that were read.
        spend: Campaign money over the same units, more than in control.
        iroi: ``total`` per unit of ``spend``, over the tests whose spend is known.
        ladder: Rung -> total over the tests that measured it.
        measured: Rung -> how many experiments measured it.
        lines: P&L lines that add up to ``total`` of the tests that have lines.
        maturity: Booked, still returning and assumed shares, weighted by money moved.
        winners: Sum of the treatments to ship, as if they had not been picked.
        winners_corrected: The same less the winner's curse, over all that ran.
        notes: Sentences a reader must know.
    """

    quarter: str
    currency: str
    outcome: str
    records: tuple[Record, ...]
    results: tuple[Result, ...]
    counts: Mapping[str, int]
    total: Estimate
    spend: Estimate
    iroi: Estimate
    ladder: Mapping[str, Estimate] = field(default_factory=dict)
    measured: Mapping[str, int] = field(default_factory=dict)
    lines: tuple[LineTotal, ...] = ()
    maturity: Maturity = field(default_factory=Maturity)
    winners: Estimate
    winners_corrected: Estimate
    notes: tuple[str, ...] = ()

    @property
    def asked(self) -> tuple[Result, ...]:
        """Treatments that wait for a decision, the most money first."""
        words = {SHIP, SHIP_TO_SEGMENT, STOP}
        open_ = [each for each in self.results if each.taken is None]
        return tuple(each for each in open_ if each.proposed in words)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = {
            "quarter": self.quarter,
            "currency": self.currency,
            "outcome": self.outcome,
            "counts": dict(self.counts),
            "total": self.total.to_dict(),
            "spend": self.spend.to_dict(),
            "iroi": self.iroi.to_dict(),
            "ladder": {name: each.to_dict() for name, each in self.ladder.items()},
            "lines": [plain(each) for each in self.lines],
            "maturity": plain(self.maturity),
            "winners": self.winners.to_dict(),
            "winners_corrected": self.winners_corrected.to_dict(),
            "notes": list(self.notes),
            "records": [each.id for each in self.records],
        }
        return out


def programme(records: Iterable[Record], quarter: str) -> Programme:
    """Add up the experiments of a quarter.

    Experiments are taken to be assigned independently of each other, so that their errors add
    as variances; treatments of one experiment share its control, and their covariance comes
    from its arm means.

    Args:
        records: The experiments that started in the quarter.
        quarter: Its name.

    Raises:
        UpliftlabError: When amounts of several currencies or outcomes would be added up.

    Examples:
        >>> programme([], "2026Q3").total.note
        'no experiment was read'
    """
    chosen = tuple(records)
    currency, outcome = _one_kind(chosen)
    read = [each for each in chosen if each.status == READ and each.arms]
    joint = _sums(read)
    total = joint.estimate(PROFIT)
    winners, corrected = _winners(read)
    results = [
        Result(record=record, arm=arm, taken=record.taken(arm.arm))
        for record in read
        for arm in record.arms
    ]
    found = Counter(each.status for each in chosen)
    return Programme(
        quarter=quarter,
        currency=currency,
        outcome=outcome,
        records=chosen,
        results=tuple(sorted(results, key=_by_money)),
        counts={status: found.get(status, 0) for status in STATUSES},
        total=total,
        spend=joint.estimate(COST),
        iroi=joint.iroi(),
        ladder={name: joint.estimate(name) for name in RUNGS if name in joint.names},
        measured=dict(joint.counted),
        lines=_lines(read),
        maturity=_maturity(read),
        winners=winners,
        winners_corrected=corrected,
        notes=joint.notes(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Sums over experiments with one covariance, and over how many each runs."""

    names: tuple[str, ...]
    value: Floats
    cov: Floats
    with_cost: Floats
    with_cost_cov: Floats
    experiments: int
    counted: Mapping[str, int]
    treatments: int
    alone: int

    def estimate(self, name: str) -> Estimate:
        if name not in self.names or not self.counted.get(name):
            return undefined(name, NO_READ if not self.experiments else "nobody measured it")
        i = self.names.index(name)
        return interval(name, float(self.value[i]), float(self.cov[i, i]))

    def iroi(self) -> Estimate:
        if not self.counted.get(COST):
            return undefined("iROI", "no campaign money is known")
        (num, den), cov = self.with_cost, self.with_cost_cov
        if den == 0 and cov[1, 1] == 0:
            return undefined("iROI", "no campaign money was spent")
        return fieller(
            float(num), float(den), float(cov[0, 0]), float(cov[1, 1]), float(cov[0, 1]),
            name="iROI",
        )  # fmt: skip

    def notes(self) -> tuple[str, ...]:
        out = [
            f"{name.replace('_', ' ')} over {n} of {self.experiments} experiments"
            for name, n in self.counted.items()
            if 0 < n < self.experiments
        ]
        if self.alone:
            out.append(
                f"{self.alone} experiments came without arm means: their treatments are added "
                "as if they shared no control"
            )
        return tuple(out)


def _sums(read: Sequence[Record]) -> _Sums:
    """Add up realised totals n_a (mean_a - mean_c), one covariance per experiment."""
    names = (*RUNGS, COST)
    value, cov = np.zeros(len(names)), np.zeros((len(names), len(names)))
    both, both_cov = np.zeros(2), np.zeros((2, 2))
    counted: Counter[str] = Counter()
    alone = 0
    for record in read:
        if not _has_number(record):
            continue
        if record.means is None or not math.isfinite(record.means.cov[0][0]):
            alone += 1
            for arm in record.arms:
                value[names.index(PROFIT)] += arm.realised.estimate
                cov[names.index(PROFIT), names.index(PROFIT)] += arm.realised.std_error**2
            counted[PROFIT] += 1
            continue
        have = tuple(name for name in names if name in record.means.names)
        own, own_cov = _realised(record, have)
        at = [names.index(name) for name in have]
        value[at] += own
        cov[np.ix_(at, at)] += own_cov
        counted.update(have)
        if COST in have:
            two = [have.index(PROFIT), have.index(COST)]
            both += own[two]
            both_cov += own_cov[np.ix_(two, two)]
    return _Sums(
        names=names,
        value=value,
        cov=cov,
        with_cost=both,
        with_cost_cov=both_cov,
        experiments=sum(map(_has_number, read)),
        counted={name: counted[name] for name in names},
        treatments=sum(len(each.arms) for each in read),
        alone=alone,
    )


def _has_number(record: Record) -> bool:
    return all(math.isfinite(arm.realised.estimate) for arm in record.arms)


def _realised(record: Record, names: Sequence[str]) -> tuple[Floats, Floats]:
    """Totals of several functionals over the treated units of one experiment."""
    means = record.means
    assert means is not None  # noqa: S101 - asked before
    size = {arm.arm: arm.n for arm in record.arms}
    weight = {label: float(size.get(label, 0)) for label in means.arms}
    weight[means.control] = -float(sum(size.values()))
    flat = np.array([x for row in means.mean for x in row])
    cov = np.array(means.cov)
    rows = np.zeros((len(names), len(flat)))
    for i, name in enumerate(names):
        for label in means.arms:
            rows[i, means.at(label, name)] = weight[label]
    return rows @ flat, rows @ cov @ rows.T


def _lines(read: Sequence[Record]) -> tuple[LineTotal, ...]:
    """Add up P&L lines; ranges of one experiment's treatments add as if fully dependent."""
    value: dict[str, float] = {}
    variance: dict[str, float] = {}
    first: dict[str, RecordedLine] = {}
    for record in read:
        errors: dict[str, float] = {}
        for arm in record.arms:
            for line in arm.lines:
                first.setdefault(line.name, line)
                value[line.name] = value.get(line.name, 0.0) + line.effect.estimate * arm.n
                error = line.effect.std_error
                error = error * arm.n if math.isfinite(error) else 0.0
                errors[line.name] = errors.get(line.name, 0.0) + error
        for name, error in errors.items():
            variance[name] = variance.get(name, 0.0) + error**2
    return tuple(
        LineTotal(
            name=name,
            label=line.label,
            is_campaign=line.is_campaign,
            effect=interval(name, value[name], variance[name]),
        )
        for name, line in first.items()
    )


def _maturity(read: Sequence[Record]) -> Maturity:
    """Weigh the shares of each experiment by the money its treated units moved."""
    weights, rows = [], []
    unknown = 0
    for record in read:
        if not math.isfinite(record.maturity.booked):
            unknown += 1
            continue
        moved = sum(abs(line.treatment) * arm.n for arm in record.arms for line in arm.lines)
        weights.append(moved if moved > 0 else 1.0)
        rows.append(
            (record.maturity.booked, record.maturity.projected, record.maturity.assumed)
        )
    if not rows:
        return Maturity(note="no experiment says which returns are final")
    shares = np.average(np.array(rows), axis=0, weights=np.array(weights))
    note = f"{unknown} of {len(read)} experiments do not say" if unknown else ""
    return Maturity(
        booked=float(shares[0]), projected=float(shares[1]), assumed=float(shares[2]), note=note
    )


def _winners(read: Sequence[Record]) -> tuple[Estimate, Estimate]:
    """Sum what is to ship, raw and less the winner's curse over all treatments that ran."""
    arms = [
        arm.realised
        for record in read
        for arm in record.arms
        if arm.realised.std_error > 0 and math.isfinite(arm.realised.estimate)
    ]
    if not arms:
        missing = undefined("winners", NO_READ)
        return missing, missing
    found = correct_total(
        [each.estimate for each in arms], [each.std_error for each in arms], 1.959964
    )
    return found.naive, found.corrected


def _one_kind(records: Sequence[Record]) -> tuple[str, str]:
    kinds = Counter((each.currency, each.outcome) for each in records if each.arms)
    if len(kinds) > 1:
        told = sorted(
            f"{outcome} in {currency or 'no currency'}" for currency, outcome in kinds
        )
        raise UpliftlabError(
            f"the quarter has experiments on {told}, which do not add up; review one of them: "
            "--only CNY, or --only clicks."
        )
    return next(iter(kinds), ("", PROFIT))


def _by_money(result: Result) -> float:
    size = abs(result.at_stake.estimate)
    return -size if math.isfinite(size) else math.inf


__all__ = ["NAN", "LineTotal", "Programme", "Result", "programme"]
