"""What may a plan say about who should get what?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema

from upliftlab.components import ALIASES, COUNTS, NAMES
from upliftlab.errors import DefinitionError
from upliftlab.plan.definition import (
    Amount,
    Columns,
    Definition,
    Hurdle,
    NamedValues,
    Share,
    Whole,
    word_in,
)
from upliftlab.plan.floors import SegmentFloors, split_label
from upliftlab.plan.parts import nothing_chosen
from upliftlab.plan.quantities import Rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RULES = ("choose", "tree", "model")
LEARNERS = ("choose", "fast", "linear", "forest", "causal_forest", "x", "t", "s")
DESIGNS = ("user_split", "cluster_split")


def _rule(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, RULES)


def _learner(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, LEARNERS)


RuleWord = Annotated[str, PlainValidator(_rule), WithJsonSchema({"enum": list(RULES)})]
LearnerWord = Annotated[str, PlainValidator(_learner), WithJsonSchema({"enum": list(LEARNERS)})]


class Target(Definition):
    """Who should get what, learned on one half of the units and valued on the other.

    Attributes:
        features: Columns known before assignment that a rule may use; the declared segments
            and the standard customer columns at hand unless said.
        budget: Most to spend on the treatment of all eligible units.
        iroi_at_least: Least extra profit per unit of money spent, for the whole rule.
        at_most: Largest share of units that may be treated.
        at_least: Count component -> least extra number over all eligible units.
        at_least_in: Segment, such as ``is_member = yes`` -> the same within it, and
            ``treated``, the least share of it that is treated.
        keep_random: Share of units left to chance under the rule, to measure it next time.
        fair_across: Columns whose groups are compared: who is treated, and what they gain.
        learner: Which learner ranks units; ``choose`` takes the best of several.
        rule: A small tree that can be read, a model, or the better of both.
        depth: Of the tree.
        seed: Of the split and of everything random.
    """

    features: Columns = ()
    budget: Amount | None = None
    iroi_at_least: Hurdle | None = None
    at_most: Share | None = None
    at_least: NamedValues[Whole] = Field(default_factory=nothing_chosen, validate_default=True)
    at_least_in: SegmentFloors | None = None
    keep_random: Share = Field(default_factory=lambda: Rate.parse("5%", "keep_random"))
    fair_across: Columns = ()
    learner: LearnerWord = "choose"
    rule: RuleWord = "choose"
    depth: Whole = 2
    seed: Whole = 1

    @property
    def compared(self) -> tuple[str, ...]:
        """Columns whose levels are compared or have floors, each once."""
        floored = [split_label(label)[0] for label in self.at_least_in or {}]
        return tuple(dict.fromkeys((*self.fair_across, *floored)))


def target_rules(
    valid: Mapping[str, Any],
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    """Find what contradicts a plan that asks who should get what."""
    target = valid.get("target")
    if target is None:
        return
    design = valid.get("design")
    if design not in DESIGNS:
        wanted = "design: user_split"
        yield ("target",), DefinitionError.needs_beside("target", wanted, str(design))
    yield from _moving_shares(valid.get("assign"))
    data = valid.get("data")
    if data is not None and data.grain == "cells":
        example = "{file: units.csv, money: yuan}"
        yield (
            ("data",),
            DefinitionError.missing_key("data of a plan with target", "units", example),
        )
    for key in ("features", "fair_across"):
        for name in getattr(target, key):
            message = _known_after(key, name)
            if message:
                yield ("target", key), DefinitionError(message)
    yield from _floors(target)
    yield from _empty_shares(target)
    for name in target.at_least:
        if ALIASES.get(name, name) not in COUNTS:
            yield (
                ("target", "at_least", name),
                DefinitionError.unknown_word("target.at_least", name, COUNTS),
            )
    if not 1 <= target.depth <= 3:
        fix = "write 1, 2 or 3"
        yield (
            ("target", "depth"),
            DefinitionError.unreadable("target.depth", str(target.depth), fix),
        )


def _floors(target: Target) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    """Find floors of segments that nobody could know before."""
    for label in target.at_least_in or {}:
        message = _known_after("at_least_in", split_label(label)[0])
        if message:
            yield ("target", "at_least_in", label), DefinitionError(message)


def _known_after(key: str, name: str) -> str:
    """Say why no rule may use a column, and no group be made of it; nothing where one may."""
    if name in NAMES or name in ALIASES or name == "assigned_at":
        why = "is measured after assignment; a rule may use only what was known before"
    elif name == "arm":
        why = "is what was assigned, not what was known before"
    elif name == "unit":
        why = "names single customers, of whom nothing can be learned twice"
    else:
        return ""
    return (
        f"target.{key} names {name!r}, which {why}. Take it out, or name a column of the "
        "customer snapshot."
    )


def _empty_shares(
    target: Target,
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    """Find shares that leave nobody to a rule."""
    if target.at_most is not None and float(target.at_most) <= 0:
        yield (
            ("target", "at_most"),
            DefinitionError.unreadable(
                "target.at_most", "0%", "write more than 0%: nobody would be treated"
            ),
        )
    if float(target.keep_random) >= 1:
        yield (
            ("target", "keep_random"),
            DefinitionError.unreadable(
                "target.keep_random", "100%", "write less: nobody would be treated by the rule"
            ),
        )


def _moving_shares(
    assign: Any,  # noqa: ANN401 - the plan's assign block
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    """Refuse shares that change over time, which scores would not know."""
    for key in ("epochs", "adapt"):
        if assign is not None and getattr(assign, key) is not None:
            message = (
                f"the plan has target and assign.{key}; scores take one share per arm, and "
                "here shares change over time. Leave target out, or give each epoch a plan."
            )
            yield ("target",), DefinitionError(message)
