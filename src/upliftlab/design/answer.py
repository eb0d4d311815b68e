"""How many units, for how long, at which cost, and is it worth it: one frozen answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from upliftlab.design.spread import plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from upliftlab.design.layouts import Layout
    from upliftlab.design.simulated import Simulated
    from upliftlab.design.spread import Pilot
    from upliftlab.experiment import Experiment

RUN, TOO_LARGE, NOT_WORTH_IT, NO_EFFECT = (
    "run it",
    "no realistic test",
    "not worth its cost",
    "name an effect",
)
VERDICTS = (RUN, TOO_LARGE, NOT_WORTH_IT, NO_EFFECT)

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What one metric of one arm needs, and what the planned test shows.

    Money is in minor units per unit, shares are shares.

    Attributes:
        metric: Its name.
        role: "primary", "secondary" or "guardrail".
        arm: The treatment.
        is_money: Whether it is an amount.
        base: Mean of control.
        effect: What is to be seen: an effect, or for guardrails the accepted harm; NaN where
            nobody named one.
        source: Where the effect comes from: "plan", "worth_it", "margin", or "".
        alpha: Size of the test, all arms counted; one-sided for guardrails.
        n: Units over all arms that the effect needs, with the plan's shares.
        n_low: Lower end of its range, from the pilot's uncertainty about the variance.
        n_high: Upper end.
        power: Chance that the planned test sees the effect.
        mde: Smallest effect that the planned test shows with the wanted power.
        power_loss: Chance that the planned test sees a loss as large as the effect; not the
            same where unequal arms are skewed. NaN for guardrails.
        mde_loss: Smallest loss that it shows with the wanted power, as a number above 0.
        note: What a reader must know; empty when nothing.
    """

    metric: str
    role: str
    arm: str
    is_money: bool
    base: float
    effect: float
    source: str
    alpha: float
    n: float
    n_low: float = math.nan
    n_high: float = math.nan
    power: float = math.nan
    mde: float = math.nan
    power_loss: float = math.nan
    mde_loss: float = math.nan
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        words = ("metric", "role", "arm", "is_money", "source", "note")
        numbers = (
            "base", "effect", "alpha", "n", "n_low", "n_high", "power", "mde", "power_loss",
            "mde_loss",
        )  # fmt: skip
        return {name: getattr(self, name) for name in words} | {
            name: plain(getattr(self, name)) for name in numbers
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a run of so many days has shown once its windows are closed.

    Attributes:
        days: Of assignment.
        units: Assigned by then, all arms.
        mde: Arm -> smallest effect on profit per unit that is seen with the wanted power.
        power: Arm -> chance to see the effect that profit is planned for.
        ready: Day on which windows are closed and returns final; None without a start.
        spent: Campaign money of the test beyond control's, minor units.
        net: Expected net gain from testing this long, minor units; NaN without a reach.
    """

    days: int
    units: float
    mde: Mapping[str, float]
    power: Mapping[str, float]
    ready: date | None
    spent: float
    net: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "days": self.days,
            "units": plain(self.units),
            "mde": {arm: plain(x) for arm, x in self.mde.items()},
            "power": {arm: plain(x) for arm, x in self.power.items()},
            "ready": None if self.ready is None else self.ready.isoformat(),
            "spent": plain(self.spent),
            "net": plain(self.net),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What the test costs and what knowing is worth, at the planned size; minor units.

    Attributes:
        spent: Campaign money on the test's customers beyond control's.
        fixed: Of running it at all, and per unit beyond what profit counts.
        at_risk: Profit lost on the treated if the effect is as bad as one belief in twenty.
        information: Expected gain, over all that a roll-out reaches, from deciding afterwards
            rather than now.
        expected_loss: Profit that testing is expected to cost its own treated units.
        net: information - expected_loss - fixed.
        perfect: The same gain if the test were exact: no test is worth more.
        belief: (mean, sd) of the effect per unit beforehand.
        is_assumed: Whether nobody stated that belief.
        pays_from: Least standard deviation of the belief at which the test pays; NaN where it
            never does.
        reach: Units that the decision reaches.
        note: Why a number is missing; empty when none is.
    """

    spent: float
    fixed: float
    at_risk: float
    information: float
    expected_loss: float
    net: float
    perfect: float
    belief: tuple[float, float]
    is_assumed: bool
    pays_from: float
    reach: float
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = (
            "spent", "fixed", "at_risk", "information", "expected_loss", "net", "perfect",
            "pays_from", "reach",
        )  # fmt: skip
        return {name: plain(getattr(self, name)) for name in names} | {
            "belief": {"mean": plain(self.belief[0]), "sd": plain(self.belief[1])},
            "is_assumed": self.is_assumed,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """One thing that could make the numbers wrong, and what to do about it.

    Attributes:
        state: "fail", "warn", "info" or "pass".
        text: One sentence.
        instead: The alternative; empty where there is none.
    """

    state: str
    text: str
    instead: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain values, for JSON."""
        return {"state": self.state, "text": self.text, "instead": self.instead}


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What a plan's test would show, take and cost.

    Attributes:
        experiment: The plan.
        pilot: How units vary.
        verdict: "run it", "no realistic test", "not worth its cost" or "name an effect".
        reasons: Plain sentences, the deciding one first.
        wanted: Power that is wanted.
        planned: Units that the plan would assign as it stands; NaN where it does not say.
        needed: Units that profit needs; NaN without an effect, infinite where none do.
        needed_days: Days of assignment until then, in whole weeks; infinite where never.
        advised: Units that cost and value are computed for: what profit needs, in whole
            weeks, where that is within reach; else what is planned.
        sizes: Every metric and arm, profit first.
        over_time: What a run of one week, two weeks, ... shows.
        worth: Cost and value of the test.
        inflation: Factor on the sample for stopping early.
        best_shares: Shares that need fewest units for profit, or least money.
        saved: Share of the units (or money) that those shares save.
        layout: Which cluster in which wave, or which blocks or regions; None for users.
        simulated: Arm (or the layout's kind) -> what many runs of the test said; empty unless
            asked.
        others: What other ways to run it would show.
        risks: What could make the numbers wrong.
        notes: Sentences a reader must know.
    """

    experiment: Experiment
    pilot: Pilot
    verdict: str
    reasons: tuple[str, ...]
    wanted: float
    planned: float
    needed: float
    needed_days: float
    advised: float
    sizes: tuple[Size, ...]
    over_time: tuple[Moment, ...]
    worth: Worth
    inflation: float = 1.0
    best_shares: Mapping[str, float]
    saved: float
    layout: Layout | None = None
    simulated: Mapping[str, Simulated] = field(default_factory=dict)
    others: tuple[Other, ...] = ()
    risks: tuple[Risk, ...] = ()
    notes: tuple[str, ...] = ()

    def size(self, metric: str, arm: str) -> Size:
        """Find one metric of one arm."""
        return next(s for s in self.sizes if s.metric == metric and s.arm == arm)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: NaN and infinity become None."""
        return {
            "schema_version": SCHEMA_VERSION,
            "experiment": self.experiment.to_dict(),
            "plan": self.experiment.fingerprint,
            "pilot": self.pilot.to_dict(),
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "wanted_power": self.wanted,
            "planned": plain(self.planned),
            "needed": plain(self.needed),
            "needed_days": plain(self.needed_days),
            "advised": plain(self.advised),
            "sizes": [size.to_dict() for size in self.sizes],
            "over_time": [moment.to_dict() for moment in self.over_time],
            "worth": self.worth.to_dict(),
            "inflation": self.inflation,
            "best_shares": dict(self.best_shares),
            "saved": plain(self.saved),
            "layout": None if self.layout is None else self.layout.to_dict(),
            "simulated": {name: s.to_dict() for name, s in self.simulated.items()},
            "others": [other.to_dict() for other in self.others],
            "risks": [risk.to_dict() for risk in self.risks],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another way to run the test, on the same numbers.

    Attributes:
        name: Key.
        label: What it is.
        mde: Smallest effect on profit per unit it shows, minor units; NaN where unknown.
        text: What it would tell, and what it would take.
    """

    name: str
    label: str
    mde: float
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "mde": plain(self.mde),
            "text": self.text,
        }
