"""What may a plan say about how large its test should be, and what the answer is worth?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from upliftlab.errors import DefinitionError
from upliftlab.plan.definition import (
    Amount,
    AmountPerUnit,
    Days,
    Definition,
    Labelled,
    MarginField,
    NamedValues,
    Share,
    Text,
    Whole,
    currency_in,
    word_in,
)
from upliftlab.plan.metrics import PROFIT, STANDARD
from upliftlab.plan.parts import nothing_chosen
from upliftlab.plan.quantities import Money, Points, Rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Finding = tuple[tuple[str | int, ...], DefinitionError]

SPENDINGS = ("obrien_fleming", "pocock")
_SIGNED = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def _half_or_more(found: object) -> Rate:
    rate = Rate.parse(found, "power")
    if not Rate.parse("50%") <= rate or not rate < Rate.parse("100%"):
        raise DefinitionError.unreadable(
            "power", str(rate), "write 50% or more, and less than 100%"
        )
    return rate


def _below_all(found: object, info: ValidationInfo) -> Rate:
    rate = Rate.parse(found, str(info.field_name))
    if not 0 <= rate.value < 1:
        fix = "write 0% or more, and less than 100%"
        raise DefinitionError.unreadable(str(info.field_name), str(rate), fix)
    return rate


def _number(found: object, info: ValidationInfo) -> float:
    what = str(info.field_name)
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    if isinstance(found, str) and found.strip().endswith("%"):
        return float(Rate.parse(found, what))
    if not isinstance(found, str) or not _SIGNED.fullmatch(found.strip()):
        fix = "write a number such as 2.78 (money in the main unit) or a share such as 8.4%"
        raise DefinitionError.unreadable(what, found, fix)
    return float(found)


def _signed_amount(found: object, info: ValidationInfo) -> Money:
    return Money.parse(found, str(info.field_name), currency=currency_in(info), per_unit=True)


def _spending(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, SPENDINGS)


_RATE = {"type": "string", "examples": ["80%"]}
PowerRate = Annotated[
    Rate, PlainValidator(_half_or_more), PlainSerializer(str), WithJsonSchema(_RATE)
]
ShareBelowAll = Annotated[
    Rate, PlainValidator(_below_all), PlainSerializer(str), WithJsonSchema(_RATE)
]
Number = Annotated[
    float,
    PlainValidator(_number),
    WithJsonSchema({"type": ["number", "string"], "examples": [2.78, "8.4%"]}),
]
SignedAmount = Annotated[
    Money,
    PlainValidator(_signed_amount),
    PlainSerializer(str),
    WithJsonSchema({"type": ["number", "string"], "examples": ["0", "-0.05"]}),
]
SpendingWord = Annotated[
    str, PlainValidator(_spending), WithJsonSchema({"enum": list(SPENDINGS)})
]


class Stated(Definition):
    """How a unit of one metric varies, where there is no pilot to measure it.

    Attributes:
        metric: Its name.
        mean: Of control per unit; money in the main unit, shares as 8.4%.
        sd: Standard deviation of a unit; of a share it follows from the mean.
        correlation: With the same number before the test: what adjustment takes out.
    """

    LABEL: ClassVar[str] = "metric"

    metric: Text
    mean: Number
    sd: Number | None = Field(default=None, examples=[14.2])
    correlation: ShareBelowAll = Rate.parse("0")

    @model_validator(mode="after")
    def _varies(self) -> Self:
        if self.sd is None and not 0 < self.mean < 1:
            raise DefinitionError.missing_key(f"power.stated.{self.metric}", "sd", "14.2")
        if self.sd is not None and not self.sd > 0:
            message = (
                f"power.stated.{self.metric}.sd is {self.sd:g}; a metric that does not vary "
                "has no power to plan: write a number above 0."
            )
            raise DefinitionError(message)
        return self

    @property
    def spread(self) -> float:
        """Standard deviation of a unit."""
        return (self.mean * (1 - self.mean)) ** 0.5 if self.sd is None else self.sd


class Belief(Definition):
    """What is believed of the effect on profit before the test: normal.

    Attributes:
        mean: Expected extra profit per unit.
        sd: Its standard deviation.
    """

    mean: SignedAmount = Field(default_factory=lambda: Money.parse("0"))
    sd: AmountPerUnit = Field(examples=["0.10"])


class Clusters(Definition):
    """Groups that are assigned together, where no pilot shows them.

    Attributes:
        number: How many there are.
        size: Units in one on average.
        cv: Coefficient of variation of their sizes.
        icc: Correlation of two units of one group.
        autocorrelation: Of a group's part from period to period.
    """

    number: Whole
    size: Number
    cv: Number = 0.0
    icc: Number
    autocorrelation: Number = 1.0


class Power(Definition):
    """How large the test should be, and what it costs and is worth.

    Attributes:
        power: Wanted chance to see the effects.
        effects: Metric -> smallest effect worth seeing: money per unit, points, or a share of
            control; profit defaults to decide.worth_it, guardrails to their margin.
        pilot: Plan of a pilot, an earlier test or a time before, whose data show how units
            vary; this plan's own data unless said.
        stated: Means and standard deviations, for metrics that no pilot shows.
        weekly: Units that come by in a week; as in the pilot unless said.
        returning: Share of a week's units that the week before has seen.
        at_most: Longest run that anyone would wait for.
        looks: What so many looks would cost, the end included, while the plan does not say in
            ``looks`` how it will be looked at; then that decides.
        spending: How the error would be spent over them.
        fixed_cost: Of running the test at all.
        unit_cost: Arm -> what each of its units costs to test, beyond what profit counts.
        belief: About extra profit per unit before the test.
        clusters: Groups that are assigned together.
        waves: In how many waves a roll-out switches.
        wave_every: Days from one wave to the next.
        block: Days that a switchback stays in one state.
        burn_in: Days dropped at the start of every block.
        lingers: Days for which the state before still rules.
        regions: How many regions of a geo test are treated.
        holdout: Share never treated, to measure the sum of everything.
        seed: Of what is simulated.
    """

    power: PowerRate = Rate.parse("80%")
    effects: NamedValues[MarginField] = Field(
        default_factory=nothing_chosen, validate_default=True
    )
    pilot: Text | None = Field(default=None, examples=["pilot/experiment.yaml"])
    stated: Annotated[tuple[Stated, ...], Labelled("metric")] = ()
    weekly: Whole | None = None
    returning: ShareBelowAll = Rate.parse("0")
    at_most: Days = 182
    looks: Whole = 1
    spending: SpendingWord = "obrien_fleming"
    fixed_cost: Amount | None = None
    unit_cost: NamedValues[AmountPerUnit] = Field(
        default_factory=nothing_chosen, validate_default=True
    )
    belief: Belief | None = None
    clusters: Clusters | None = None
    waves: Whole = 3
    wave_every: Days | None = None
    block: Days = 1
    burn_in: Days = 0
    lingers: Days = 0
    regions: Whole | None = None
    holdout: Share = Rate.parse("5%")
    seed: Whole = 1

    _base: Path = PrivateAttr(default_factory=Path)

    @property
    def pilot_file(self) -> Path | None:
        """Where the pilot's plan is; None where the plan names none."""
        return None if self.pilot is None else self._base / self.pilot

    @model_validator(mode="after")
    def _knows_its_folder(self, info: ValidationInfo) -> Self:
        self._base = Path((info.context or {}).get("base", "."))
        return self


def power_rules(valid: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what contradicts a plan that says how large it should be."""
    power = valid.get("power")
    if power is None:
        return
    metrics = {metric.name: metric for metric in valid.get("metrics") or ()}
    decide = valid.get("decide")
    guarded = set(decide.must_not_worsen) if decide is not None else set()
    known = {PROFIT, *STANDARD, *metrics, *guarded, *(row.metric for row in power.stated)}
    for name, effect in power.effects.items():
        path = ("power", "effects", name)
        where = ".".join(path)
        if name not in known:
            yield path, DefinitionError.unknown_word("power.effects", name, known)
        if float(effect) == 0:
            fix = "an effect of 0 is never seen; write the smallest one worth seeing"
            yield path, DefinitionError.unreadable(where, str(effect), fix)
        if name == PROFIT and isinstance(effect, Points):
            fix = "profit is money: write 0.05 yuan per unit, or 2% of control"
            yield path, DefinitionError.unreadable(where, str(effect), fix)
    yield from _costs_and_belief(valid, power)
    yield from _looks_and_waves(valid, power)


def _costs_and_belief(valid: Mapping[str, Any], power: Power) -> Iterator[Finding]:
    labels = [arm.label for arm in valid.get("arms") or ()]
    for name in power.unit_cost:
        if labels and name not in labels:
            yield (
                ("power", "unit_cost", name),
                DefinitionError.unknown_key("power.unit_cost", name, labels),
            )
    if power.belief is not None and power.belief.sd.minor == 0:
        fix = "who is certain needs no test; write an amount above 0"
        where = "power.belief.sd"
        yield (
            ("power", "belief", "sd"),
            DefinitionError.unreadable(where, str(power.belief.sd), fix),
        )


def _looks_and_waves(valid: Mapping[str, Any], power: Power) -> Iterator[Finding]:
    if valid.get("looks") is not None:
        for key, standard in (("looks", 1), ("spending", SPENDINGS[0])):
            if getattr(power, key) != standard:
                message = (
                    f"the plan says in looks how it is looked at, and power.{key} is "
                    f"{getattr(power, key)} beside it; the design reads looks: leave "
                    f"power.{key} out."
                )
                yield ("power", key), DefinitionError(message)
    if not 1 <= power.looks <= 50:
        fix = "write 1 (only at the end) to 50"
        yield (
            ("power", "looks"),
            DefinitionError.unreadable("power.looks", str(power.looks), fix),
        )
    clusters = power.clusters
    many = clusters is not None and power.waves > clusters.number
    if clusters is not None and many and valid.get("design") == "staggered":
        fix = (
            f"there are {clusters.number} clusters, and every wave needs one; write "
            f"{clusters.number} or fewer"
        )
        yield (
            ("power", "waves"),
            DefinitionError.unreadable("power.waves", str(power.waves), fix),
        )
