"""What does a plan with several changes say: each alone, and two of them together?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.checks import FAIL, INFO, PASS, WARN
from upliftlab.errors import DataError, DesignError
from upliftlab.panels.factorial import several_changes
from upliftlab.plan.dated_rates import RATES
from upliftlab.rollout.question import Answered, Question
from upliftlab.rollout.reassigned import is_reassigned, without_range
from upliftlab.rollout.run import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.checks import Check
    from upliftlab.data.panel import Panel
    from upliftlab.economics import Economics
    from upliftlab.experiment import Experiment
    from upliftlab.plan.parts import Arm
    from upliftlab.stats.estimate import Estimate
    from upliftlab.stats.joint import Joint

PARTS = ("organic", "ads", "agency", "coupon", "over")
"""What an arm may change."""

SIDES = ("profit", "creator", "agency", "gmv_merchant")
"""Measures of which two changes together are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """What two changes do together beyond the sum of what each does alone.

    Attributes:
        both: Arm that makes both changes.
        one: Arm that makes one of them.
        other: Arm that makes the other.
        measure: "profit", a party or a component.
        label: Words for readers.
        is_money: Whether it is an amount in minor units.
        effect: Effect of both less those of one and of the other, per unit and period.
    """

    both: str
    one: str
    other: str
    measure: str
    label: str
    is_money: bool
    effect: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "both": self.both,
            "one": self.one,
            "other": self.other,
            "measure": self.measure,
            "label": self.label,
            "is_money": self.is_money,
            "effect": self.effect.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Several:
    """What each of several changes did.

    Attributes:
        panel: All units, with totals.
        plans: The plan with one change at a time, in the order of the plan's arms.
        answers: What each says.
        joint: Extra profit of every change with one covariance: they share those they are
            compared with.
        together: What two changes do together, where an arm makes both.
    """

    panel: Panel
    plans: tuple[Experiment, ...]
    answers: tuple[Answered, ...]
    joint: Joint
    together: tuple[Together, ...]


def each_change(
    experiment: Experiment,
    panel: Panel,
    *,
    economics: Economics | None = None,
    progress: Callable[[str], None] | None = None,
) -> Several:
    """Answer a plan with several changes, each against those that never got any.

    Units that got another change are nobody's control: they are no longer untreated, and what
    they got is not what this change is compared with.

    Raises:
        DataError: When the panel does not say which change each unit got, or a change has none.
        DesignError: When nobody stays without a change.

    References:
        Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), change by change; de
        Chaisemartin and D'Haultfoeuille (2023), *Journal of Econometrics* 236(2).
    """
    asked = Question.of(experiment, panel, economics)
    labels = _labels(asked)
    idle = asked.panel.start >= len(asked.panel.periods)
    if not idle.any():
        raise DesignError(
            f"the plan has {len(experiment.treatments)} changes and no {experiment.unit} stays "
            "without one; keep some, with whom all changes are compared."
        )
    plans, answers = [], []
    for arm in experiment.treatments:
        own = labels == arm.label
        if not (own & ~idle).any():
            raise DataError(f"no {experiment.unit} of the panel gets {arm.label!r}.")
        one = experiment.replace(arms=(experiment.control, arm))
        plans.append(one)
        answers.append(
            answer(
                one,
                asked.panel.select(own | idle),
                economics=asked.economics,
                progress=progress,
                everybody=len(asked.panel.units),
                tariffs=asked.tariffs,
            )
        )
    joint, together = _jointly(asked, labels)
    if any(is_reassigned(found.profit) for found in answers):
        together = [replace(each, effect=without_range(each.effect)) for each in together]
    return Several(
        panel=asked.panel,
        plans=tuple(plans),
        answers=tuple(answers),
        joint=joint,
        together=tuple(together),
    )


def checks_of_changes(found: Sequence[tuple[str, tuple[Check, ...]]]) -> tuple[Check, ...]:
    """Put checks of several changes in one list: once what is common, else with its change.

    Examples:
        >>> from upliftlab.checks import Check
        >>> same = Check(name="a", verdict="pass", message="All is well.")
        >>> other = Check(name="b", verdict="warn", message="It is not.")
        >>> [c.message for c in checks_of_changes([("x", (same, other)), ("y", (same,))])]
        ['x: It is not.', 'All is well.']
    """
    order = {FAIL: 0, WARN: 1, INFO: 2, PASS: 3}
    common = set.intersection(*({(c.name, c.message) for c in checks} for _, checks in found))
    out: dict[tuple[str, str], Check] = {}
    for arm, checks in found:
        for check in checks:
            said = check.message
            if (check.name, said) not in common:
                said = f"{arm}: {said}"
            out.setdefault((check.name, said), replace(check, message=said))
    return tuple(sorted(out.values(), key=lambda check: order[check.verdict]))


def pairs_of(arms: tuple[Arm, ...], control: Arm) -> tuple[tuple[str, str, str], ...]:
    """Find arms that make the changes of two others at once: (both, one, other)."""
    changed = {arm.label: _changed(arm, control) for arm in arms}
    place = {arm.label: i for i, arm in enumerate(arms)}
    return tuple(
        (both, one, other)
        for both, one, other in permutations(changed, 3)
        if place[one] < place[other]
        and not set(changed[one]) & set(changed[other])
        and changed[one]
        and changed[other]
        and changed[both] == {**changed[one], **changed[other]}
    )


def _changed(arm: Arm, control: Arm) -> Mapping[str, object]:
    """What an arm does differently from control, and how."""
    found = {key: (_told(arm, key), _told(control, key)) for key in PARTS}
    return {key: own for key, (own, other) in found.items() if own is not None and own != other}


def _told(arm: Arm, key: str) -> object:
    return arm.told(key) if key in RATES else getattr(arm, key)


def _labels(asked: Question) -> NDArray[np.object_]:
    if asked.panel.arm is None:
        raise DataError(
            "the plan has several changes and the panel does not say who gets which; give each "
            "unit an arm."
        )
    return asked.panel.arm


def _jointly(asked: Question, labels: NDArray[np.object_]) -> tuple[Joint, list[Together]]:
    """All changes on booked money, and what two of them do together."""
    experiment = asked.experiment
    measures = asked.measures
    shown = [k for k, measure in enumerate(measures) if measure.name in SIDES]
    found = several_changes(
        _booked(asked, labels),
        labels.tolist(),
        control="not_yet",
        anticipation=asked.periods(experiment.announced),
    )
    everything = found.joint()
    width = len(measures)
    order = [found.arms.index(arm.label) * width for arm in experiment.treatments]
    joint = everything.linear(
        np.eye(len(everything.value))[order], [arm.label for arm in experiment.treatments]
    )
    together = []
    for both, one, other in pairs_of(experiment.treatments, experiment.control):
        more = found.interaction(both, one, other)
        for k in shown:
            name = more.names[k]
            together.append(
                Together(
                    both=both,
                    one=one,
                    other=other,
                    measure=measures[k].name,
                    label=measures[k].label,
                    is_money=measures[k].is_money,
                    effect=more.estimate(name, level=asked.level),
                )
            )
    return joint, together


def _booked(asked: Question, labels: NDArray[np.object_]) -> Panel:
    """Everybody's money at the rates in force for them, and one level of old ones."""
    idle = asked.panel.start >= len(asked.panel.periods)
    level = asked.ledger().level()
    y = np.zeros((*asked.panel.shape[:2], len(asked.measures)))
    for arm in asked.experiment.treatments:
        mine = (labels == arm.label) | idle
        plan = asked.experiment.replace(arms=(asked.experiment.control, arm))
        one = replace(asked, experiment=plan, panel=asked.panel.select(mine))
        y[mine] = one.ledger().column(level).y
    return asked.panel.with_outcome(y, [measure.name for measure in asked.measures])
