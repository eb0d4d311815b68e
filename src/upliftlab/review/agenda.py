"""What should be tested next, how large, and what is the answer worth?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from upliftlab.registry.record import plain
from upliftlab.stats.estimate import critical_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from upliftlab.registry.record import Record
    from upliftlab.review.believed import Believed
    from upliftlab.review.calibration import Calibration
    from upliftlab.review.quarter import Review

POWER = 0.8
SIZES = np.geomspace(1_000, 10_000_000, 161)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTest:
    """A test that would be worth its cost, minor units.

    Attributes:
        experiment: What it repeats or extends.
        arm: The treatment.
        mechanism: Its kind.
        per_arm: Units per arm, treatment and control.
        mde: Smallest effect per unit that it sees with 80 % power.
        mde_total: The same over the roll-out: its power in money.
        perfect: Worth of knowing the effect exactly.
        gross: Worth of what the test is expected to tell.
        cost: Expected loss of exposing the treated (0 where they are expected to gain).
        net: ``gross`` less ``cost``.
        p_changes_decision: Chance that it turns what we would do now.
        decide_now: What we would do without it: "ship" or "stop".
    """

    experiment: str
    arm: str
    mechanism: str
    per_arm: int
    mde: float
    mde_total: float
    perfect: float
    gross: float
    cost: float
    net: float
    p_changes_decision: float
    decide_now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One line of the learning agenda.

    Attributes:
        question: In words.
        why: What is known, and what is not.
        money: What hangs on it, minor units; NaN where nobody can say.
        proposal: What to do.
        kind: "test", "evidence", "additivity", "maturity" or "calibration".
    """

    question: str
    why: str
    money: float
    proposal: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """Next quarter's tests and questions, most money first.

    Attributes:
        tests: Worth more than they cost.
        not_worth_testing: Arms whose next test would cost more than it tells.
        questions: The learning agenda.
    """

    tests: tuple[NextTest, ...]
    not_worth_testing: tuple[NextTest, ...]
    questions: tuple[Question, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def agenda_of(
    review: Review,
    records: Iterable[Record],
    *,
    calibrations: Sequence[Calibration] = (),
    per_arm_most: int = 2_000_000,
) -> Agenda:
    """Propose tests by value of information, and list what the review could not answer.

    Args:
        review: The quarter, read together.
        records: Its experiments: spread of a unit's profit comes from their arms.
        calibrations: Factors in use; those that ran out are asked again.
        per_arm_most: Largest test that can be run.
    """
    spread = _spreads(records)
    tests = []
    for row in review.arms:
        sd = spread.get((row.entry.experiment, row.entry.arm), math.nan)
        found = next_test(row, sd, per_arm_most=per_arm_most)
        if found is not None:
            tests.append(found)
    tests.sort(key=lambda t: (-t.net, t.experiment, t.arm))
    worth = tuple(t for t in tests if t.net > 0)
    return Agenda(
        tests=worth,
        not_worth_testing=tuple(t for t in tests if t.net <= 0),
        questions=_questions(review, worth, calibrations),
    )


def next_test(row: Believed, sd: float, *, per_arm_most: int = 2_000_000) -> NextTest | None:
    """Return the most valuable size of one more test of an arm.

    Without it we ship where the shrunken effect is above 0. A test of n per arm moves the
    belief by a normal amount known in advance (preposterior analysis); its worth is what better
    decisions earn over the roll-out, less what exposing the treated is expected to cost.

    Args:
        row: The arm as believed now.
        sd: Standard deviation of a unit's profit.
        per_arm_most: Largest size considered.

    Returns:
        The test; None where the belief or the spread is unknown.

    References:
        Raiffa and Schlaifer (1961), *Applied Statistical Decision Theory*, section 5.5; Azevedo
        et al. (2020), *Journal of Political Economy* 128(12), proposition 1.
    """
    m, s = row.shrunken.estimate, row.shrunken.std_error
    units = float(row.entry.rollout_n)
    if not (s > 0 and sd > 0 and units > 0 and math.isfinite(m)):
        return None
    sizes = SIZES[np.minimum(per_arm_most, units / 2) >= SIZES]
    if not len(sizes):
        return None
    gross = units * voi(m, s, 2 * sd**2 / sizes)
    cost = sizes * max(-m, 0.0)
    best = int(np.argmax(gross - cost))
    n = sizes[best]
    error = sd * math.sqrt(2 / n)
    mde = (critical_value() + float(special.ndtri(POWER))) * error
    move = s**2 / math.sqrt(s**2 + error**2)
    return NextTest(
        experiment=row.entry.experiment,
        arm=row.entry.arm,
        mechanism=row.entry.mechanism,
        per_arm=int(n),
        mde=mde,
        mde_total=mde * units,
        perfect=float(units * voi(m, s, np.zeros(1))[0]),
        gross=float(gross[best]),
        cost=float(cost[best]),
        net=float(gross[best] - cost[best]),
        p_changes_decision=float(special.ndtr(-abs(m) / move)),
        decide_now="ship" if m > 0 else "stop",
    )


def voi(mean: float, sd: float, noise: Any) -> Any:  # noqa: ANN401 - arrays of sampling variances
    """Return what a test is worth per unit: E[max(new belief, 0)] - max(mean, 0).

    Args:
        mean: Belief now.
        sd: Its standard deviation.
        noise: Sampling variances of the tests considered, shape (k,); 0 is perfect knowledge.

    Examples:
        >>> voi(0.0, 1.0, np.array([0.0])).round(4).tolist()
        [0.3989]
    """
    move = sd**2 / np.sqrt(sd**2 + np.asarray(noise, dtype=float))
    z = mean / move
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return move * density + mean * special.ndtr(z) - max(mean, 0.0)


def _spreads(records: Iterable[Record]) -> dict[tuple[str, str], float]:
    """Standard deviation of a unit's profit, back from the standard error of the difference."""
    out = {}
    for record in records:
        for arm in record.arms:
            if arm.n > 0 and arm.n_control > 0 and arm.profit.std_error > 0:
                per = 1 / arm.n + 1 / arm.n_control
                out[record.name, arm.arm] = arm.profit.std_error / math.sqrt(per)
    return out


def _questions(
    review: Review, tests: Sequence[NextTest], calibrations: Sequence[Calibration]
) -> tuple[Question, ...]:
    found = [_of_test(test) for test in tests[:10]]
    found += [
        Question(
            question=f"Does {row.name} earn anything?",
            why="money was spent on it and no test of it was read",
            money=row.spend,
            proposal="hold out a random 5 % from the start of the quarter",
            kind="evidence",
        )
        for row in review.coverage.rows
        if not row.is_tested and row.spend > 0
    ]
    if review.holdout.agrees is not True:
        gap = review.holdout.gap.estimate
        found.append(
            Question(
                question="Do the tests add up?",
                why=f"{review.holdout.sentence}; {review.additivity.sentence}",
                money=abs(gap),
                proposal="keep a universal holdout; cross the two largest overlapping tests",
                kind="additivity",
            )
        )
    unsure = (review.maturity.projected or 0.0) + (review.maturity.assumed or 0.0)
    if unsure > 0.2:
        found.append(
            Question(
                question="What is the total once returns are final and costs measured?",
                why=f"{unsure:.0%} of the money is projected or assumed",
                money=abs(review.total.estimate) * unsure,
                proposal="re-run the frozen plans later; measure the costs that are assumed",
                kind="maturity",
            )
        )
    found += [
        Question(
            question=f"What is {each.channel}'s reported ROI worth now?",
            why=f"its factor ran out on {each.expires}",
            money=math.nan,
            proposal="repeat the geo test",
            kind="calibration",
        )
        for each in calibrations
        if each.is_expired
    ]
    return tuple(sorted(found, key=_by_money))


def _of_test(test: NextTest) -> Question:
    return Question(
        question=f"Does {test.arm} of {test.experiment} earn enough to {test.decide_now}?",
        why=f"a test turns the decision with a chance of {test.p_changes_decision:.0%}",
        money=test.net,
        proposal=f"{test.per_arm:,} units per arm",
        kind="test",
    )


def _by_money(question: Question) -> tuple[bool, float]:
    unknown = math.isnan(question.money)
    return unknown, 0.0 if unknown else -question.money
