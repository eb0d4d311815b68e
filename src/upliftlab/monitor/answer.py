"""What does a look say, and what did the looks before it say?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.checks import Check
    from upliftlab.experiment import Experiment
    from upliftlab.stats.conditional_power import Waiting

KEEP, WAIT, GAIN, LOSS = "keep running", "may not look yet", "gain", "loss"
HARM, BROKEN, FUTILE, OVER = "guardrail", "sample ratio", "futile", "ended"
STOPS = (BROKEN, HARM, LOSS, GAIN, FUTILE, OVER)
"""Words of a look's state, the first that applies standing for the whole test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One number of one arm at one look, with a range that holds at all looks at once.

    Attributes:
        name: "profit", a guardrail, or a bounded metric.
        arm: The treatment.
        estimate: Treatment minus control, per unit (money in minor units).
        std_error: Its standard error; NaN where the range does not come from one.
        low: Lower end of the range.
        high: Upper end.
        z: Estimate over standard error, on the normal scale, skewness taken out.
        bound: What |z| is compared with; infinite where this look may not stop.
        p: p-value that may be read at every look; NaN where there is none.
        skewness: Of the estimate; NaN where it is not known.
        conditional_power: Chance to find the effect planned for by the end; NaN without one.
        margin: For guardrails: how far it may move the wrong way; NaN for others.
        state: One of ``STOPS`` or "keep running".
        method: How the range was made, in reader's words.
    """

    name: str
    arm: str
    estimate: float
    std_error: float = math.nan
    low: float = math.nan
    high: float = math.nan
    z: float = math.nan
    bound: float = math.inf
    p: float = math.nan
    skewness: float = math.nan
    conditional_power: float = math.nan
    margin: float = math.nan
    state: str = KEEP
    method: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Reading:
        """Read back; what has no number is NaN, a bound without one is infinite."""
        texts = {"name", "arm", "state", "method"}
        values: dict[str, Any] = {
            key: value if key in texts or value is not None else math.nan
            for key, value in found.items()
        }
        if found.get("bound") is None:
            values["bound"] = math.inf
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was known and said on one day.

    Attributes:
        day: Last day whose facts are in, ISO date.
        n: Units with a closed window, per arm.
        active: Of them, units with a profit other than 0, per arm.
        assigned: Units assigned so far, per arm.
        fraction: Share of the planned information, per treatment.
        is_permitted: Whether conclusions are allowed.
        missing: What is missing for that, in one sentence; empty when permitted.
        readings: Profit of every treatment, then guardrails and bounded metrics.
        log_evidence: Of a sample ratio other than planned.
        state: One of ``STOPS``, "may not look yet" or "keep running".
    """

    day: str
    n: Mapping[str, int]
    active: Mapping[str, int]
    assigned: Mapping[str, int]
    fraction: Mapping[str, float]
    is_permitted: bool
    missing: str = ""
    readings: tuple[Reading, ...] = ()
    log_evidence: float = 0.0
    state: str = KEEP

    def profit_of(self, arm: str) -> Reading | None:
        """The profit reading of one arm."""
        return next((r for r in self.readings if r.name == "profit" and r.arm == arm), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "day": self.day,
            "n": dict(self.n),
            "active": dict(self.active),
            "assigned": dict(self.assigned),
            "fraction": {arm: plain(x) for arm, x in self.fraction.items()},
            "is_permitted": self.is_permitted,
            "missing": self.missing,
            "readings": [reading.to_dict() for reading in self.readings],
            "log_evidence": plain(self.log_evidence),
            "state": self.state,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Look:
        """Read back what ``to_dict`` wrote."""
        values = dict(found)
        values["readings"] = tuple(Reading.from_dict(each) for each in found["readings"])
        values["fraction"] = {
            arm: math.nan if x is None else x for arm, x in found["fraction"].items()
        }
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """All looks at one running test, and what to do now.

    Attributes:
        experiment: The plan.
        estimand: What the ranges are about, in one sentence made from the plan.
        looks: In order of time; the last one is now.
        state: What the test is in: the last look's, unless an earlier one had stopped it.
        stopped: Day of the look that stopped the test first; empty while it runs.
        next_look: ISO date of the next one; empty when there is none.
        first_look: ISO date from which the first look is permitted, as far as assignments
            tell; empty once it is.
        checks: Sample ratio, late rows, changes of the plan.
        waiting: Arm -> what deciding now would cost against another wait, per unit.
        sample_ratio: Days with the log evidence against the planned shares so far.
        bindings: What the looks are bound to.
        notes: Sentences a reader must know.
    """

    experiment: Experiment
    estimand: str
    looks: tuple[Look, ...]
    state: str
    stopped: str = ""
    next_look: str = ""
    first_look: str = ""
    checks: tuple[Check, ...] = ()
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    sample_ratio: tuple[tuple[str, float], ...] = ()
    bindings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def now(self) -> Look:
        """The last look."""
        return self.looks[-1]

    @property
    def has_stopped(self) -> bool:
        """Whether a stopping rule was met."""
        return self.state in STOPS

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "schema_version": 1,
            "name": self.experiment.name,
            "plan": self.experiment.fingerprint,
            "estimand": self.estimand,
            "state": self.state,
            "stopped": self.stopped,
            "next_look": self.next_look,
            "first_look": self.first_look,
            "looks": [look.to_dict() for look in self.looks],
            "checks": [check.to_dict() for check in self.checks],
            "waiting": {arm: each.to_dict() for arm, each in self.waiting.items()},
            "waiting_is": "no evidence for stopping early: it ignores how often one has looked",
            "sample_ratio": [[day, plain(value)] for day, value in self.sample_ratio],
            "fixed_horizon": None,
            "fixed_horizon_is": "withheld until the plan's end: it does not hold at many looks",
            "bindings": dict(self.bindings),
            "notes": list(self.notes),
        }


def plain(value: Any) -> Any:  # noqa: ANN401 - any field of a reading
    """Turn numbers that JSON does not have into None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
