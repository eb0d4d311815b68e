"""What does a review need to know of one experiment?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from upliftlab.registry.migrate import SCHEMA_VERSION
from upliftlab.stats.estimate import NAN, Estimate, undefined

if TYPE_CHECKING:
    from collections.abc import Mapping

Status = Literal["running", "stopped", "void", "read"]

READ: Status = "read"
VOID: Status = "void"
RUNNING: Status = "running"
STOPPED: Status = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRung:
    """One step from the dashboard's GMV down to profit, per unit.

    Attributes:
        name: "gmv_platform", "gmv_merchant", "kept_sales" or "profit".
        label: Words that say whose number it is.
        control: Level in control, in minor units.
        effect: Extra per unit, in minor units.
    """

    name: str
    label: str = ""
    control: float = NAN
    effect: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLine:
    """One line of the P&L: what it adds to extra profit per unit.

    Attributes:
        name: Key of the line.
        label: Words for readers.
        stage: Where in the journey it arises.
        status: "measured", "given" or "assumed".
        is_campaign: Whether it is money spent on the campaign itself.
        treatment: Level per treated unit, in minor units.
        control: Level per control unit, in minor units.
        effect: The difference, in minor units.
    """

    name: str
    label: str = ""
    stage: str = ""
    status: str = "measured"
    is_campaign: bool = False
    treatment: float = NAN
    control: float = NAN
    effect: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedArm:
    """What one treatment earned more than control.

    Attributes:
        arm: Label of the treatment.
        title: What readers call it where the label is not for readers; empty otherwise.
        control: Label of the arm it is compared with.
        depth: Coupon amount in minor units; NaN where the treatment is no coupon.
        n: Treated units of the test.
        n_control: Units in control.
        profit: Extra profit per unit, in minor units (or in units of ``Record.outcome``).
        realised: Extra profit over the treated units of the test: what a review adds up.
        rollout: The same over the eligible units; NaN with a note where nobody says how many.
        rollout_n: Units that the roll-out total speaks of.
        spend: Campaign money over the treated units of the test, more than in control.
        iroi: Extra profit per unit of campaign money, Fieller's set.
        reported_roi: What the dashboard divides: sales of redeemed orders by coupon money.
        ladder: Platform GMV, merchant GMV, kept sales, profit; per unit.
        lines: Bars that add up to ``profit``; per unit.
        verdict: "ship", "ship to segment", "keep testing", "stop" or "no verdict".
        segment: Declared segment to ship to; empty for none.
        segment_at_stake: Roll-out total in that segment; NaN with a note without one.
        reasons: Plain sentences, the deciding one first.
        is_buying_gmv: Profit fell while GMV rose, both beyond doubt.
        p_positive: Probability that extra profit is above 0, under a flat prior.
        expected_loss: Money lost per unit on average if shipped and the truth is below 0.
    """

    arm: str
    title: str = ""
    control: str = ""
    depth: float = NAN
    n: int = 0
    n_control: int = 0
    profit: Estimate
    realised: Estimate
    rollout: Estimate = field(default_factory=lambda: undefined("rollout", "not given"))
    rollout_n: int = 0
    spend: Estimate = field(default_factory=lambda: undefined("spend", "not given"))
    iroi: Estimate = field(default_factory=lambda: undefined("iROI", "not given"))
    reported_roi: float = NAN
    ladder: tuple[RecordedRung, ...] = ()
    lines: tuple[RecordedLine, ...] = ()
    verdict: str = "no verdict"
    segment: str = ""
    segment_at_stake: Estimate = field(
        default_factory=lambda: undefined("segment", "no segment to ship to")
    )
    reasons: tuple[str, ...] = ()
    is_buying_gmv: bool = False
    p_positive: float = NAN
    expected_loss: float = NAN

    def rung(self, name: str) -> RecordedRung | None:
        """Find one rung of the ladder."""
        return next((rung for rung in self.ladder if rung.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmMeans:
    """Means of all arms with one covariance: what contrasts that share a control need.

    Attributes:
        arms: Labels, A in all; ``control`` among them.
        control: The arm that the others are compared with.
        names: What the means are of, K in all: "profit" first, priced as the arm is.
        n: Units per arm.
        mean: Per unit, in minor units, A rows of K.
        cov: Of the means, row-major over (arm, name): A K rows of A K.
        df: Degrees of freedom of each arm's variance.
    """

    arms: tuple[str, ...]
    control: str
    names: tuple[str, ...]
    n: tuple[int, ...]
    mean: tuple[tuple[float, ...], ...]
    cov: tuple[tuple[float, ...], ...]
    df: tuple[float, ...]

    def at(self, arm: str, name: str) -> int:
        """Position of one mean in ``cov``."""
        return self.arms.index(arm) * len(self.names) + self.names.index(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCheck:
    """One check of the analysis.

    Attributes:
        name: Key.
        verdict: "pass", "warn", "fail" or "info".
        message: One sentence.
        value: What was measured.
        is_blocking: Whether it left no verdict.
    """

    name: str
    verdict: str
    message: str = ""
    value: float = NAN
    is_blocking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Maturity:
    """How much of the money is booked; the three shares add up to 1 where they are known.

    Attributes:
        booked: On orders whose returns are final, at prices that are measured or given.
        projected: On orders whose returns may still come.
        assumed: On lines whose price is an assumption.
        note: Why a share is not known; empty when all are.
    """

    booked: float = NAN
    projected: float = NAN
    assumed: float = NAN
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One decision that somebody took, on an experiment or on one of its arms.

    Attributes:
        id: Content address of its file; empty before it is on disk.
        experiment: Name of the experiment.
        arm: The treatment; empty for all.
        record: Content address of the analysis that was decided on; empty for none.
        proposed: Verdict of that analysis.
        decision: "ship", "ship to segment", "keep testing" or "stop".
        by: Who decided.
        at: When, ISO 8601 in UTC.
        why: Reason in words.
        is_override: Whether it differs from what was proposed.
        expires: Last day on which an override holds, ISO date; empty for none.
        holdout: Share kept without the treatment while it runs, such as "5%"; empty for none.
    """

    id: str = ""
    experiment: str
    arm: str = ""
    record: str = ""
    proposed: str = ""
    decision: str
    by: str
    at: str
    why: str = ""
    is_override: bool = False
    expires: str = ""
    holdout: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One experiment as it stands in the registry.

    Money is in minor units of ``currency``; where ``currency`` is empty the outcome is not
    money and all amounts are in units of ``outcome``.

    Attributes:
        id: Content address: SHA-256 of the file's bytes; empty before it is on disk.
        schema_version: Of the file it was read from.
        recorded_at: When it was recorded, ISO 8601 in UTC.
        name: Of the experiment; later records of one name supersede earlier ones.
        question: In the words of whoever asks.
        owner: Who answers for the decision.
        kind: "smart_coupon", "dual_commission", "custom" ...
        goal: Which growth a coupon is for; empty for other kinds.
        design: "user_split", "cluster_split", "staggered", "geo", "switchback" ...
        mechanism: What is pooled with what: kind and goal, unless said.
        unit: What is assigned.
        outcome: What ``profit`` holds: "profit", else the name of an imported metric.
        currency: ISO 4217 code; empty where the outcome is not money.
        starts: First day, ISO date; empty where unknown.
        ends: Last day, ISO date; empty where unknown.
        quarter: Calendar quarter in which it started, such as "2026Q3".
        window: Days that a unit is followed; None where the data have no clock.
        status: "running" (started, not read), "stopped" (ended unread), "void" (read, and a
            blocking check failed) or "read".
        status_reason: Why it was stopped or is void; empty otherwise.
        arms: One per treatment, in the order of the plan; empty before it is read.
        means: Arm means with covariance; None before it is read.
        checks: Failed ones first.
        sample_ratio_p: p-value of the sample ratio; NaN where nothing was split.
        maturity: Booked, projected and assumed shares of the money.
        estimand: What the numbers estimate, in one sentence.
        layer: Experiments of one layer never share a unit; of different layers they overlap
            independently. Empty where the plan does not say.
        salt: Of the assignment hash; empty where the plan does not say.
        plan: Fingerprint of the plan.
        data: Fingerprint of what the data said.
        as_of: Up to when the data speak, ISO 8601 in UTC; empty where nobody says.
        versions: Package -> version.
        deviations: Sentences on what differs from the locked plan.
        notes: Sentences a reader must know.
        decisions: What was decided on it, newest first; kept in files of their own.
        supersedes: Content addresses of earlier records of this name, newest first.
    """

    id: str = ""
    schema_version: int = SCHEMA_VERSION
    recorded_at: str = ""
    name: str
    question: str = ""
    owner: str = ""
    kind: str = "custom"
    goal: str = ""
    design: str = "user_split"
    mechanism: str = ""
    unit: str = "customer"
    outcome: str = "profit"
    currency: str = ""
    starts: str = ""
    ends: str = ""
    quarter: str = ""
    window: int | None = None
    status: Status = "read"
    status_reason: str = ""
    arms: tuple[RecordedArm, ...] = ()
    means: ArmMeans | None = None
    checks: tuple[RecordedCheck, ...] = ()
    sample_ratio_p: float = NAN
    maturity: Maturity = field(default_factory=Maturity)
    estimand: str = ""
    layer: str = ""
    salt: str = ""
    plan: str = ""
    data: str = ""
    as_of: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    deviations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    decisions: tuple[Taken, ...] = ()
    supersedes: tuple[str, ...] = ()

    @property
    def is_read(self) -> bool:
        """Whether it has an answer that counts."""
        return self.status == READ

    def arm(self, label: str) -> RecordedArm:
        """Find one treatment."""
        return next(arm for arm in self.arms if arm.arm == label)

    def taken(self, arm: str) -> Taken | None:
        """Find the newest decision on one arm, or on the whole experiment."""
        return next((each for each in self.decisions if each.arm in {"", arm}), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; numbers that do not exist are left out."""
        out: dict[str, Any] = plain(self)
        return out


def quarter_of(day: str) -> str:
    """Name the calendar quarter of an ISO date; empty for none.

    Examples:
        >>> quarter_of("2026-08-14"), quarter_of("")
        ('2026Q3', '')
    """
    if not day:
        return ""
    return f"{day[:4]}Q{(int(day[5:7]) - 1) // 3 + 1}"


_PLAIN = frozenset({str, int, bool, type(None)})
_KEEP_NAN = frozenset({"estimate"})
_ESTIMATE = tuple((each.name, each.default) for each in fields(Estimate))


def plain(value: Any) -> Any:  # noqa: ANN401 - any value of a record
    """Turn a record's value into JSON's; fields at their default are left out of estimates.

    Examples:
        >>> plain(undefined("iROI", "no spend"))
        {'name': 'iROI', 'estimate': None, 'shape': 'none', 'note': 'no spend'}
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Estimate):
        return _plain_estimate(value)
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    is_map = hasattr(value, "items")
    return {str(key): plain(each) for key, each in value.items()} if is_map else value


def _plain_estimate(value: Estimate) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, default in _ESTIMATE:
        each = getattr(value, name)
        if isinstance(each, float) and not math.isfinite(each):
            if name in _KEEP_NAN:
                out[name] = None
        elif each != default:
            out[name] = each
    return out
