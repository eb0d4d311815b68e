"""What is the question, for whom, and what was promised before looking?"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticUndefined

from upliftlab.errors import DefinitionError, Problem
from upliftlab.lines import PRESETS
from upliftlab.plan.assign import Assign
from upliftlab.plan.costs import Costs
from upliftlab.plan.currencies import CODES
from upliftlab.plan.definition import (
    FROM_ORDERS,
    Columns,
    Days,
    Definition,
    FrozenDict,
    Labelled,
    Remark,
    Text,
    Whole,
    located,
    problems_of,
)
from upliftlab.plan.looks import Looks
from upliftlab.plan.metrics import PROFIT, STANDARD, Metric
from upliftlab.plan.parts import (
    Arm,
    Decide,
    FundingSplit,
    Run,
    Windows,
    as_mapping,
    nothing_chosen,
    without_covariates,
)
from upliftlab.plan.power import Power  # noqa: TC001 - pydantic reads it
from upliftlab.plan.rollout import SpecialDays  # noqa: TC001 - pydantic reads it
from upliftlab.plan.rules import broken_rules, grain_of
from upliftlab.plan.sources import Data, Simulated, Source
from upliftlab.plan.target import Target
from upliftlab.plan.words import (
    BUILT_DESIGNS,
    BUILT_KINDS,
    DEFAULT_ZONE,
    DESIGNS,
    GOALS,
    KINDS,
    CurrencyCode,
    Design,
    Goal,
    Kind,
    Name,
    Period,
    Zone,
    is_zone,
)
from upliftlab.plan.yaml_source import Document, read, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from upliftlab.plan.quantities import Margin
    from upliftlab.plan.rules import KeyPath

_ONLY_WORDS = ("owner", "question", "waves")
_ONLY_PLACES = ("file", "table", "sql", "engine", "encoding", "sheet")


def _default_goal(valid: dict[str, Any]) -> str | None:
    return "gmv" if valid.get("kind") == "smart_coupon" else None


def _default_windows(valid: dict[str, Any]) -> tuple[int, ...]:
    long_enough = (valid.get("follow_up") or 0) > 14
    return (14,) if long_enough and grain_of(valid.get("data")) == "orders" else ()


class Experiment(Definition):
    """A question written down before it is answered.

    Quantities are given as in the file (``"50%"``, ``"60 days"``, ``20``), or as Python
    numbers: 0.5 is a rate of 50 %, 60 is a number of days.

    Attributes:
        name: Of the experiment, its folder and its output: letters, digits, - and _.
        question: In the words of whoever asks.
        owner: Who answers for the decision.
        kind: What is changed; sets components, costs and page.
        goal: Which growth the coupon is for; only with smart_coupon.
        design: How it is compared; sets the estimator.
        unit: What is assigned, in the words of the page.
        cluster: Column of the groups that are assigned together; with cluster_split, and where
            clusters switch together over time.
        strata: Columns within which assignment was balanced.
        currency: ISO 4217 code of every amount.
        timezone: Of the shop; days begin at its midnight.
        run: First and last day of assignment.
        period: Length of a period of the panel; only where units switch over time.
        observe: First and last day that the panel covers.
        announced: Days before the change in which it was known: neither before nor after.
        ramp: Days after the change until it has its full effect; reported apart.
        special_days: Events by name, shown and left out as a sensitivity.
        waves: File with the first treated day of every cluster; empty means never.
        follow_up: Headline window in days, from each unit's assignment.
        returns_final_after: Days after an order until its returns are all booked.
        pre_period: Days before assignment that covariates are taken from.
        eligible_customers: Whom a roll-out would reach; the assigned unless said.
        arms: Exactly one is control; shares add up to 1.
        who_pays: Who pays for the coupon.
        costs: What an order costs.
        metrics: What is measured beside profit.
        decide: What turns numbers into a verdict.
        covariates: Columns for variance reduction; ``None`` takes those at hand.
        target: Who should get what; nothing is learned unless the plan asks.
        assign: How units get their arms; by a hash of their ids unless the plan says more.
        looks: How the test may be looked at while it runs; not at all unless the plan says.
        power: How large the test should be, and what it costs and is worth.
        data: Where the rows are.
        other_windows: Further windows in days, shown and labelled.

    Examples:
        >>> plan = Experiment(
        ...     name="spring",
        ...     kind="custom",
        ...     arms={"old": {"share": "50%", "control": True}, "new": {"share": 0.5}},
        ... )
        >>> plan.control.label, [arm.label for arm in plan.treatments]
        ('old', ['new'])
    """

    name: Name = Field(examples=["spring-coupon"])
    question: Remark = ""
    owner: Remark = ""
    kind: Kind = Field(examples=["smart_coupon"])
    goal: Goal | None = Field(default_factory=_default_goal)
    design: Design = "user_split"
    unit: Text = "customer"
    cluster: Text | None = None
    strata: Columns = ()
    currency: CurrencyCode = "CNY"
    timezone: Zone = DEFAULT_ZONE
    run: Run | None = None
    period: Period | None = Field(default=None, examples=["week"])
    observe: Run | None = None
    announced: Days | None = None
    ramp: Days | None = None
    special_days: SpecialDays = FrozenDict()
    waves: Text | None = Field(default=None, examples=["data/waves.csv"])
    follow_up: Days | None = None
    returns_final_after: Days | None = None
    pre_period: Days | None = None
    eligible_customers: Whole | None = None
    arms: Annotated[tuple[Arm, ...], Labelled("label")] = Field(
        examples=["{none: {share: 50%, control: true}, coupon: {share: 50%, coupon: 20}}"]
    )
    who_pays: Annotated[FundingSplit, BeforeValidator(as_mapping)] = FundingSplit(
        from_orders=True
    )
    costs: Costs | None = None
    metrics: Annotated[tuple[Metric, ...], Labelled("name")] = ()
    decide: Decide = Field(default_factory=nothing_chosen, validate_default=True)
    covariates: Annotated[Columns | None, BeforeValidator(without_covariates)] = None
    target: Target | None = None
    assign: Assign | None = None
    looks: Looks | None = None
    power: Power | None = None
    data: Data | None = None
    other_windows: Windows = Field(default_factory=_default_windows)

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - each field reads its own
        _fill(self, values, None, Path())

    @field_validator("*")
    @classmethod
    def _remember(cls, value: object, info: ValidationInfo) -> object:
        """Keep what could be read, so that rules are checked beside unreadable fields."""
        if info.context:
            info.context["valid"][info.field_name] = value
        return value

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read an experiment from its file.

        Paths inside the file start from the folder of the file.

        Raises:
            DefinitionError: When anything in it is wrong; all problems at once.
        """
        return cls._from_document(read_file(path), Path(path).parent)

    @classmethod
    def from_text(
        cls, text: str | bytes, name: str = "experiment.yaml", base: str | Path = "."
    ) -> Self:
        """Read an experiment from YAML text.

        Args:
            text: The YAML.
            name: What messages call the file.
            base: Folder that paths inside the text start from.

        Raises:
            DefinitionError: When anything in it is wrong; all problems at once.
        """
        return cls._from_document(read(text, name), Path(base))

    @classmethod
    def _from_document(cls, document: Document, base: Path) -> Self:
        plan = cls.__new__(cls)
        _fill(plan, document.values, document, base)
        return plan

    @property
    def control(self) -> Arm:
        """The arm that the others are compared with."""
        return next(arm for arm in self.arms if arm.control)

    @property
    def treatments(self) -> tuple[Arm, ...]:
        """All arms but control, in the order of the plan."""
        return tuple(arm for arm in self.arms if not arm.control)

    @property
    def grain(self) -> str:
        """``orders``, ``units``, ``cells`` or ``panel``; empty while the plan names no data."""
        return grain_of(self.data)

    @property
    def windows(self) -> tuple[int, ...]:
        """Windows in days, the headline first."""
        headline = () if self.follow_up is None else (self.follow_up,)
        return headline + tuple(days for days in self.other_windows if days not in headline)

    @property
    def primary(self) -> Metric:
        """The plan's first metric, never corrected for others; the verdict hangs on profit."""
        named = (metric for metric in self.metrics if metric.role == "primary")
        return next(named, STANDARD[PROFIT])

    @property
    def guardrails(self) -> dict[str, Margin]:
        """Metric -> how far it may move the wrong way."""
        from_metrics = {
            metric.name: metric.margin
            for metric in self.metrics
            if metric.role == "guardrail" and metric.margin is not None
        }
        return {**from_metrics, **self.decide.must_not_worsen}

    @property
    def fingerprint(self) -> str:
        """Hash of everything in the plan that changes a number or a decision.

        Left out are words for readers (owner, question, notes of arms), and where and how the
        bytes of the data are read (file, table, sql, engine, encoding, sheet, folder), so that
        data can move; what the data hold has its own fingerprint. The order of keys and of arms
        does not matter.
        """
        text = json.dumps(_promised(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def metric(self, name: str) -> Metric:
        """Find a metric: of the plan, a standard one, or the mean of a component."""
        declared = {metric.name: metric for metric in self.metrics}
        return declared.get(name) or STANDARD.get(name) or Metric(name=name, mean=name)

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401 - each field reads its own
        """Make the same plan with some fields changed, checked as a whole."""
        values = {name: getattr(self, name) for name in self.model_fields_set} | changes
        plan = type(self).__new__(type(self))
        _fill(plan, values, None, Path() if self.data is None else self.data.base)
        return plan

    def to_dict(self) -> dict[str, Any]:
        """Plain values that ``Experiment(**values)`` reads back as the same plan."""
        written: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return written


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One promise that was changed.

    Attributes:
        key: Dotted path in the plan.
        planned: What was promised; empty where it is new.
        found: What is there now; empty where it is gone.
    """

    key: str
    planned: str
    found: str


def deviations(planned: Experiment, found: Experiment) -> tuple[Deviation, ...]:
    """List what differs between two plans in anything that the fingerprint holds.

    Examples:
        >>> arms = {"old": {"share": "50%", "control": True}, "new": {"share": "50%"}}
        >>> before = Experiment(name="spring", kind="custom", arms=arms, follow_up="14 days")
        >>> deviations(before, before.replace(follow_up="60 days"))
        (Deviation(key='follow_up', planned='14 days', found='60 days'),)
    """
    before, after = dict(_flat(_promised(planned))), dict(_flat(_promised(found)))
    return tuple(
        Deviation(key=key, planned=before.get(key, ""), found=after.get(key, ""))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    )


def json_schema() -> dict[str, Any]:
    """Describe the file for editors: JSON Schema, draft 2020-12.

    It knows keys, words and forms of quantities; what contradicts what is found on reading.
    """
    from upliftlab.plan.schema import schema_of

    return schema_of(
        Experiment,
        rows={part.__name__: part.LABEL for part in (Arm, Metric)},
        also={
            "costs": {"type": "string", "examples": ["costs.yaml"]},
            "who_pays": {"const": FROM_ORDERS},
            "covariates": {"const": "none"},
        },
    )


def _fill(
    plan: Experiment, written: Mapping[str, Any], document: Document | None, base: Path
) -> None:
    """Validate into ``plan``; every problem of every kind in one error."""
    _refuse_unbuilt(written, document)
    context = _context(written, base)
    values, problems = _with_costs(written, document, context)
    valid: dict[str, Any] = {}
    owner = f"experiment {written.get('name')!r}" if written.get("name") else "the experiment"
    try:
        Experiment.__pydantic_validator__.validate_python(
            values, self_instance=plan, context={**context, "valid": valid}
        )
    except ValidationError as error:
        problems += problems_of(error, Experiment, values, owner=owner, document=document)
        valid |= _defaults(values)
    else:
        valid = {name: getattr(plan, name) for name in Experiment.model_fields}
    if "costs" in written and "costs" not in values:
        valid.pop("costs", None)
    for path, broken in broken_rules(values, valid):
        where = ".".join(map(str, path))
        problems += [
            located(replace(problem, where=where), path, document)
            for problem in broken.problems
        ]
    if document is not None:
        problems = _with_gaps(problems, document)
    if problems:
        in_order = sorted(dict.fromkeys(problems), key=lambda each: (each.file, each.line or 0))
        raise DefinitionError(*in_order)


def _with_gaps(problems: list[Problem], document: Document) -> list[Problem]:
    """Add the keys without a value, which Python callers may leave as ``None``."""
    fix = "write a value, or leave the key out"
    gaps = [
        located(each, path, document)
        for path in _gaps(document.values)
        for each in DefinitionError.unreadable(".".join(map(str, path)), None, fix).problems
    ]
    known = {gap.where for gap in gaps}
    return gaps + [each for each in problems if each.where not in known]


def _gaps(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    if value is None:
        yield path
    pairs = value.items() if isinstance(value, dict) else ()
    rows = enumerate(value) if isinstance(value, list) else ()
    for key, inner in (*pairs, *rows):
        yield from _gaps(inner, (*path, key))


def _refuse_unbuilt(written: Mapping[str, Any], document: Document | None) -> None:
    problems = []
    for what, known, built in (
        ("kind", KINDS, BUILT_KINDS),
        ("design", DESIGNS, BUILT_DESIGNS),
    ):
        found = written.get(what)
        if isinstance(found, str) and found in known and found not in built:
            refusal = DefinitionError.not_built(what, found, built)
            problems += [located(each, (what,), document) for each in refusal.problems]
    if problems:
        raise DefinitionError(*problems)


def _context(written: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Tell the fields in which currency, zone and folder they are read."""
    currency, timezone = written.get("currency"), written.get("timezone")
    return {
        "currency": currency if isinstance(currency, str) and currency in CODES else "CNY",
        "timezone": timezone if is_zone(timezone) else DEFAULT_ZONE,
        "base": base,
    }


def _with_costs(
    written: Mapping[str, Any], document: Document | None, context: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """Read the costs file, where ``costs`` is the path of one."""
    values = dict(written)
    place = values.get("costs")
    if not isinstance(place, str):
        return values, []
    del values["costs"]
    path = context["base"] / place
    if not path.is_file():
        refusal = DefinitionError.no_costs_file(place, PRESETS)
        return values, [located(each, ("costs",), document) for each in refusal.problems]
    try:
        source = read_file(path)
    except DefinitionError as error:
        return values, list(error.problems)
    try:
        values["costs"] = Costs.__pydantic_validator__.validate_python(
            source.values, context=dict(context)
        )
    except ValidationError as error:
        found = problems_of(error, Costs, source.values, owner="costs", document=source)
        return values, list(found)
    return values, []


def _defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: field.default
        for name, field in Experiment.model_fields.items()
        if name not in values and field.default is not PydanticUndefined
    }


def _promised(plan: Experiment) -> dict[str, Any]:
    """Everything that changes a number or a decision, as plain values."""
    promised = plan.to_dict()
    for key in _ONLY_WORDS:
        promised.pop(key, None)
    for arm in promised["arms"].values():
        del arm["note"]
    for source in promised.get("data", {}).values():
        if isinstance(source, dict):
            for key in _ONLY_PLACES:
                source.pop(key, None)
    return promised


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


__all__ = [
    "BUILT_DESIGNS",
    "BUILT_KINDS",
    "DESIGNS",
    "GOALS",
    "KINDS",
    "Arm",
    "Assign",
    "Costs",
    "Data",
    "Decide",
    "Deviation",
    "Experiment",
    "FundingSplit",
    "Looks",
    "Metric",
    "Run",
    "Simulated",
    "Source",
    "Target",
    "deviations",
    "json_schema",
]
